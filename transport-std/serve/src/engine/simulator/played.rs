//! Workers and their simulated runs.

use super::*;

impl World {
    pub(super) fn hold(&mut self, server: usize, record: Record) {
        let document = Document::of(&record).unwrap();
        let calls = document.active.iter().flat_map(|active| &active.calls).map(|call| {
            let at = match call.state {
                CallState::Done => CallStage::Done,
                CallState::Waiting => CallStage::Aside,
                _ => CallStage::Open,
            };
            SimulatedCall {
                id: call.id.clone(),
                at,
                answers: call.answers.len(),
                asks: call.id.ends_with('?'),
            }
        });
        let run = Run {
            calls: calls.collect(),
            replies: 0,
            transcript: document.transcript,
            era: 0,
            is_over: false,
            has_waited: false,
        };
        let played = SimulatedWorker { worker: Worker::new(record, document), run };
        self.servers[server].workers.push(Some(played));
        let address = Address {
            server,
            life: self.servers[server].life,
            worker: self.servers[server].workers.len() - 1,
        };
        self.tell(address, Input::Begin);
        self.drive(address);
    }

    pub(super) fn played(&mut self, address: Address) -> Option<&mut SimulatedWorker> {
        let server = &mut self.servers[address.server];
        if !server.is_up || server.life != address.life {
            return None;
        }
        server.workers.get_mut(address.worker)?.as_mut()
    }

    pub(super) fn tell(&mut self, address: Address, input: Input) {
        if let Input::Stored(Ok(CommitResult::Done)) = &input
            && self.now < self.calm
            && self.chance.percent(3)
        {
            // A crash at the commit: it is stored, and nobody knows.
            return self.crash(address.server);
        }
        if self.played(address).is_none() {
            return;
        }
        let server = &mut self.servers[address.server];
        let (id, played) = (server.id, server.workers[address.worker].as_mut().unwrap());
        let mut context = Context {
            now: Timestamp(self.now),
            server: id,
            ids: &mut self.chance,
            rules: &self.rules,
        };
        let effects = played.worker.step(input, &mut context);
        for effect in effects {
            self.perform(address, effect);
        }
    }

    pub(super) fn perform(&mut self, address: Address, effect: Effect) {
        match effect {
            Effect::Commit(commit) => {
                let (wait, fate) = (self.chance.below(20), self.fate());
                if self.now < self.calm && self.chance.percent(3) {
                    // The commit is on its way when its server dies.
                    self.after(
                        wait,
                        ScheduledAction::Apply(address, commit, Fate::AppliedSilently),
                    );
                    return self.crash(address.server);
                }
                self.after(wait, ScheduledAction::Apply(address, commit, fate));
            }
            Effect::Load => {
                let wait = self.chance.below(30);
                self.after(wait, ScheduledAction::Load(address));
            }
            Effect::Proceed => {
                let wait = 10 + self.chance.below(1_500);
                let Some(played) = self.played(address) else { return };
                let era = played.run.era;
                let fact = self.reply(address);
                self.after(wait, ScheduledAction::Report(address, era, Box::new(fact)));
            }
            Effect::Allow(call) => {
                let Some(played) = self.played(address) else { return };
                let answers = played
                    .worker
                    .document()
                    .active
                    .as_ref()
                    .map_or(0, |active| active.calls[call].answers.len());
                let Some(known) = played.run.calls.get_mut(call) else { return };
                known.answers = answers;
                if self.plant == Plant::RunsWithoutLeave
                    && known_is_running(&self.servers, address, call)
                {
                    return;
                }
                self.start(address, call);
            }
            Effect::Answer(call) => {
                if let Some(call) =
                    self.played(address).and_then(|played| played.run.calls.get_mut(call))
                {
                    call.at = CallStage::Done;
                }
            }
            Effect::Cancel => {
                let Some(played) = self.played(address) else { return };
                played.run.era += 1;
                let era = played.run.era;
                let fact = Fact::Ended { end: End::Cancelled { partial: None }, patch: None };
                let wait = self.chance.below(200);
                self.after(wait, ScheduledAction::Report(address, era, Box::new(fact)));
            }
            Effect::Stop | Effect::Over(_) => {
                if let Effect::Over(record) = &effect
                    && self.plant == Plant::Nothing
                {
                    let rows =
                        now(self.store.rows(self.session, 0, 10_000, usize::MAX, Part::Events));
                    let stored: Vec<_> =
                        rows.into_iter().filter(|row| row.seq <= record.head).collect();
                    self.acknowledge(&stored);
                }
                if let Effect::Over(record) = &effect {
                    self.deliver_all(address.server, record);
                }
                self.servers[address.server].workers[address.worker] = None;
            }
        }
    }

    /// Returns the fact that reports the model's reply.
    pub(super) fn reply(&mut self, address: Address) -> Fact {
        if self.chance.percent(4) {
            let error = ErrorDetail {
                kind: "overloaded_error".to_owned(),
                message: "busy".to_owned(),
                status: Some(529),
            };
            return Fact::Ended { end: End::Failed(error), patch: None };
        }
        let Some(played) = self.played(address) else { unreachable!() };
        played.run.replies += 1;
        let (from, replies) = (played.run.transcript, played.run.replies);
        let count = if replies > 3 { 0 } else { self.chance.below(4) };
        let mut calls = Vec::new();
        for _ in 0..count {
            self.calls += 1;
            let (needs_approval, asks, idempotent) =
                (self.chance.percent(20), self.chance.percent(15), self.chance.percent(25));
            let id = format!("call{}{}", self.calls, if asks { "?" } else { "" });
            if idempotent {
                self.idempotent.insert(id.clone());
            }
            let starts = !needs_approval && self.chance.percent(70);
            calls.push(NewCall {
                id,
                name: "t".to_owned(),
                input: raw(&json!({})),
                needs_approval,
                idempotent,
                starts,
            });
        }
        let text = ",x".repeat(usize::try_from(replies).unwrap());
        Fact::Reply(Reply {
            event: format!("message{}", self.chance.next()),
            has_thinking: false,
            text_blocks: Some(text_blocks("hello")),
            text: "hello".to_owned(),
            usage: Usage::default(),
            stop_reason: None,
            patch: Some(Patch { from, text }),
            frame: "{".to_owned(),
            then: if calls.is_empty() {
                Continuation::End(Stop::EndTurn)
            } else {
                Continuation::More
            },
            calls,
        })
    }

    /// Runs a tool: the only place with side effects.
    pub(super) fn start(&mut self, address: Address, call: usize) {
        let Some(known) = self.played(address).and_then(|played| played.run.calls.get_mut(call))
        else {
            return;
        };
        if known.at == CallStage::Done {
            return;
        }
        known.at = CallStage::Runs;
        let (id, answers, asks) = (known.id.clone(), known.answers, known.asks);
        let runs = self.runs.entry((id.clone(), answers)).or_default();
        *runs += 1;
        if *runs > 1 && !self.idempotent.contains(&id) {
            self.violation = Some(format!("the tool of {id} ran twice"));
        }
        let fact = if asks && answers == 0 {
            Fact::Asked { call, questions: raw(&json!([])) }
        } else {
            Fact::ToolDone { call, content: text_blocks("done"), is_error: false }
        };
        let wait = self.chance.below(3_000);
        let era = self.played(address).map_or(0, |played| played.run.era);
        self.after(wait, ScheduledAction::Report(address, era, Box::new(fact)));
    }

    /// Reports a fact of a run, unless its era has ended.
    pub(super) fn report(&mut self, address: Address, era: u64, fact: Fact) {
        let Some(played) = self.played(address) else { return };
        if played.run.era != era || played.run.is_over {
            return;
        }
        match &fact {
            Fact::Reply(reply) => {
                played.run.transcript = reply.patch.as_ref().map_or(0, Patch::end);
                played.run.has_waited = false;
                played.run.calls = reply
                    .calls
                    .iter()
                    .map(|call| SimulatedCall {
                        id: call.id.clone(),
                        at: if call.needs_approval { CallStage::Aside } else { CallStage::Open },
                        answers: 0,
                        asks: call.id.ends_with('?'),
                    })
                    .collect();
            }
            // With a planted fault, calls of an earlier reply can still run.
            Fact::ToolDone { call, .. } | Fact::Asked { call, .. } => {
                let Some(known) = played.run.calls.get_mut(*call) else { return };
                let is_done = matches!(fact, Fact::ToolDone { .. });
                known.at = if is_done { CallStage::Done } else { CallStage::Aside };
            }
            Fact::Ended { .. } => played.run.is_over = true,
            _ => {}
        }
        let starting: Vec<usize> = match &fact {
            Fact::Reply(reply) => reply
                .calls
                .iter()
                .enumerate()
                .filter(|(_, call)| !call.starts && !call.needs_approval)
                .map(|(i, _)| i)
                .collect(),
            _ => Vec::new(),
        };
        let open: Vec<usize> = match &fact {
            Fact::Reply(reply) if self.plant == Plant::RunsWithoutLeave => {
                (0..reply.calls.len()).collect()
            }
            _ => Vec::new(),
        };
        self.tell(address, Input::Fact(fact));
        for call in starting {
            self.tell(address, Input::Fact(Fact::Starting(call)));
        }
        for call in open {
            self.start(address, call);
        }
        self.drive(address);
    }

    /// Does what a run does by itself: calls of a restored run ask the gate, and a run without
    /// running calls waits.
    pub(super) fn drive(&mut self, address: Address) {
        let Some(played) = self.played(address) else { return };
        let run = &mut played.run;
        let states: Vec<CallState> = played
            .worker
            .document()
            .active
            .iter()
            .flat_map(|active| &active.calls)
            .map(|call| call.state)
            .collect();
        let is_first = run.replies == 0;
        let open: Vec<usize> =
            (0..run.calls.len()).filter(|&i| run.calls[i].at == CallStage::Open).collect();
        if is_first && !run.has_waited {
            for i in open.iter().copied().filter(|&i| states.get(i) == Some(&CallState::Open)) {
                self.tell(address, Input::Fact(Fact::Starting(i)));
            }
        }
        let Some(played) = self.played(address) else { return };
        let run = &mut played.run;
        let waits = !run.is_over
            && run.calls.iter().all(|call| matches!(call.at, CallStage::Aside | CallStage::Done))
            && run.calls.iter().any(|call| call.at == CallStage::Aside);
        if waits {
            self.tell(address, Input::Fact(Fact::Waiting { spent: 1 }));
        }
    }

    pub(super) fn apply(&mut self, address: Address, commit: Commit, fate: Fate) {
        let rows = commit.rows.clone();
        let error = || Input::Stored(Err(StoreError::new("the store failed")));
        let (answer, is_known) = match fate {
            Fate::Arrives => {
                let committed = self.store_it(commit);
                let is_done = committed == CommitResult::Done;
                (Input::Stored(Ok(committed)), is_done)
            }
            Fate::Lost => (error(), false),
            Fate::AppliedSilently => {
                self.store_it(commit);
                (error(), false)
            }
            Fate::AppliedLate => {
                let wait = self.chance.below(400);
                // Its server may have died by then, which does not matter to the store.
                let nobody = Address { life: u64::MAX, ..address };
                self.after(
                    wait,
                    ScheduledAction::Apply(nobody, Box::new(commit), Fate::AppliedSilently),
                );
                (error(), false)
            }
        };
        if self.played(address).is_none() {
            return;
        }
        if is_known {
            self.acknowledge(&rows);
        }
        self.tell(address, answer);
        self.drive(address);
    }
}

fn known_is_running(servers: &[Server], address: Address, call: usize) -> bool {
    let played = servers[address.server].workers[address.worker].as_ref();
    played
        .and_then(|played| played.run.calls.get(call))
        .is_some_and(|call| call.at == CallStage::Runs)
}
