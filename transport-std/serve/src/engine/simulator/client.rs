//! The clients' actions, and the path of commits to the store.

use super::*;

impl World {
    pub(super) fn client(&mut self) {
        let wait = self.chance.below(3_000) + 1;
        if self.now < self.calm + 20_000 {
            self.after(wait, ScheduledAction::Client);
        }
        let server = usize::try_from(self.chance.below(2)).unwrap();
        if !self.servers[server].is_up {
            return;
        }
        let record = self.record();
        let document = Document::of(&record).unwrap();
        let change = match record.status {
            Status::Idle | Status::Error if self.messages < 4 => {
                let sent =
                    SentMessage { role: ChatRole::User, content: raw("go"), base64_image: None };
                let webhook = self.chance.percent(60).then(|| Webhook {
                    url: "http://hook".to_owned(),
                    token: None,
                    secret: None,
                    include_messages: false,
                });
                let message = Message { sent, webhook, trace_parent: None };
                self.context(server, |context| send(&record, document, &message, context)).unwrap()
            }
            Status::Running if self.chance.percent(10) => {
                self.context(server, |context| cancel(&record, document, context))
            }
            Status::Interrupted | Status::Running => {
                let open: Vec<Interrupt> = document.open_interrupts().cloned().collect();
                let Some(interrupt) =
                    open.get(usize::try_from(self.chance.below(open.len() as u64)).unwrap())
                else {
                    return;
                };
                if self.chance.percent(5) {
                    self.context(server, |context| cancel(&record, document, context))
                } else {
                    let value = match interrupt.kind {
                        InterruptKind::ToolApproval => {
                            raw(&json!({"approved": self.chance.percent(60)}))
                        }
                        InterruptKind::UserInput => raw(&json!({"answers": {"q": "a"}})),
                    };
                    let answer = Answer { interrupt_id: interrupt.interrupt_id.clone(), value };
                    self.context(server, |context| resume(&record, document, &answer, context))
                        .unwrap()
                }
            }
            _ => return,
        };
        self.send_command(server, change);
    }

    pub(super) fn send_command(&mut self, server: usize, change: Change) {
        let Change::Commit(commit) = change else { return };
        let (fate, wait, life) = (self.fate(), self.chance.below(40), self.servers[server].life);
        self.after(wait, ScheduledAction::Command(server, life, commit, fate));
    }

    pub(super) fn fate(&mut self) -> Fate {
        if self.now >= self.calm || !self.chance.percent(15) {
            return Fate::Arrives;
        }
        [Fate::Lost, Fate::AppliedSilently, Fate::AppliedLate]
            [usize::try_from(self.chance.below(3)).unwrap()]
    }

    /// Applies a commit to the store and returns the result.
    pub(super) fn store_it(&mut self, commit: Commit) -> CommitResult {
        if self.plant == Plant::LosesCommits && self.chance.percent(3) {
            return CommitResult::Done;
        }
        let mut commit = commit;
        if self.plant == Plant::NoCompareAndSet {
            let record = self.record();
            commit.expect = record.version;
            commit.fence = None;
            for (row, seq) in commit.rows.iter_mut().zip(record.head + 1..) {
                row.seq = seq;
            }
        }
        now(self.store.commit(commit))
    }

    pub(super) fn command(&mut self, server: usize, life: u64, commit: Commit, fate: Fate) {
        if fate == Fate::Lost {
            return;
        }
        let is_message = commit
            .rows
            .first()
            .is_some_and(|row| row.event.windows(14).any(|text| text == b"\"user.message\""));
        let (rows, before) = (commit.rows.clone(), self.record());
        let after = before.after(&commit);
        let takes = matches!(commit.holder, Holder::Take(_));
        if self.store_it(commit) != CommitResult::Done {
            return;
        }
        self.messages += u64::from(is_message);
        let document = Document::of(&after).unwrap();
        if is_message && document.active.is_some_and(|active| active.webhook.is_some()) {
            self.hooked.insert(document.turn);
        }
        // A crash after the commit, before the server learns of it.
        let crashes = self.now < self.calm && self.chance.percent(4);
        if crashes {
            self.crash(server);
        }
        let is_alive = self.servers[server].is_up && self.servers[server].life == life;
        if fate != Fate::Arrives || !is_alive {
            self.servers[server].is_in_doubt |= takes;
            return;
        }
        self.acknowledge(&rows);
        if takes && self.plant != Plant::ForgetsWebhooks {
            self.deliver_all(server, &after);
        }
        if takes && after.status == Status::Running {
            self.hold(server, after);
        }
    }

    pub(super) fn acknowledge(&mut self, rows: &[crate::store::Row]) {
        if self.plant == Plant::NoCompareAndSet {
            return;
        }
        self.acknowledged.extend(rows.iter().map(|row| (row.seq, row.event.clone())));
    }
}
