//! The caller's actions, which may happen at any time.

use core::time::Duration;
use toolrunner_core::__private::Notice;

use toolrunner_core::policy::{Limits, RetryPolicy};
use toolrunner_core::run::{CallIndex, Compaction, MakeRoom, OnBreak, ToolAnswer};
use toolrunner_core::time::Instant;
use toolrunner_core::wire::MessageThread;

use super::{Machine, restored};
use crate::choices::Choices;

impl Machine<'_> {
    pub(super) fn verb(&mut self, choices: &mut Choices<'_>) {
        let i = CallIndex::from(choices.below(4));
        match choices.below(29) {
            0 => drop(self.say()),
            1 => self.append(choices),
            // Appended messages stay.
            2 if self.run.ask_again().is_ok() => self.ledger.recount_calls(self.run.messages()),
            3 => drop(self.begin_anew()),
            4 => self.run.stop(),
            5 => self.run.resume(),
            6 => self.change_result(i, |machine| {
                machine.run.answer(i, ToolAnswer::ok("by hand")).is_ok()
            }),
            7 => self
                .change_result(i, |machine| machine.run.answer_notice(i, Notice::NotRun).is_ok()),
            8 => {
                let is_error = choices.below(2) == 1;
                self.change_result(i, |machine| {
                    machine
                        .run
                        .replace_result(
                            i,
                            ToolAnswer::ok_json(br#"[{"type":"text","text":"replaced"}]"#)
                                .with_error(is_error),
                        )
                        .is_ok()
                });
            }
            9 => drop(self.run.add_to_result(i, r#""cache_control":{"type":"ephemeral"}"#)),
            10 => drop(self.run.close_open_calls()),
            11 => self.limit(choices),
            12 => {
                self.run.drop_oldest_turn();
                if !self.run.is_compacting() {
                    // Includes the complete blocks of a reply under way once a call has started.
                    self.ledger.recount_told(&self.run.conversation());
                }
            }
            13 => self.when_full(
                choices.one_of(&[0, 300, 1500]),
                choices.one_of(&[MakeRoom::Compact, MakeRoom::DropOldest, MakeRoom::Stop]),
            ),
            14 => {
                let threshold = choices.one_of(&[0, 150]);
                *self.run.compaction_mut() = (choices.below(2) == 1)
                    .then_some(Compaction { threshold, prompt: "Summarise." });
            }
            15 => {
                let wrong = choices.one_of(&[
                    "{}",
                    "[",
                    "",
                    "null",
                    r#"{"role":"user"}"#,
                    r#"{"role":"user","content":[]}"#,
                ]);
                let _ = self.run.append(wrong).expect_err("that is not a message");
            }
            16 | 17 => self.restore(),
            18 => self.run.compact_on_server(),
            19 => self.run.set_on_break(choices.one_of(&[OnBreak::Drop, OnBreak::KeepBlocks])),
            20 => {
                let (retries, after_output) = (choices.below(4) as u32, choices.below(2) == 1);
                *self.run.retry_policy_mut() =
                    RetryPolicy { retries, after_output, ..RetryPolicy::DEFAULT };
            }
            // The clock jumps far ahead, or back if it is faulty.
            21 => self.now = self.now.after(Duration::from_secs(1 << choices.below(40))),
            22 => self.now = Instant::from_micros(self.now.as_micros() / 2),
            23 => self.change_result(i, |machine| machine.run.cap_result(i, 3).is_ok()),
            24 => self.change_result(i, |machine| {
                machine.run.replace_result(i, ToolAnswer::ok("re\"placed")).is_ok()
            }),
            25 | 26 => self.replace_history(choices),
            27 => self
                .run
                .set_message_thread(choices.one_of(&[MessageThread::Off, MessageThread::Keep])),
            // The corpus has numbers of the verbs above, so further ones are chosen here.
            _ => self.further_verb(choices),
        }
    }

    fn further_verb(&mut self, choices: &mut Choices<'_>) {
        match choices.below(6) {
            0 => drop(self.run.user("").expect_err("nothing is said")),
            1 => self.run.remove_tool(choices.one_of(&["other", "absent"])).expect("a name"),
            2 => drop(self.run.add_tool(r#"{"name":"late","input_schema":{"type":"object"}}"#)),
            3 => self.run.leave_message_thread(),
            4 => drop(self.run.prompt_json(r#"{"role":"user","content":"More."}"#)),
            _ if self.run.clear().is_ok() => self.ledger.recount(self.run.messages()),
            _ => {}
        }
    }

    fn append(&mut self, choices: &mut Choices<'_>) {
        let text = self.word();
        let more =
            choices.one_of(&["", "", " ,\n{\"role\": \"assistant\", \"content\": \"I see.\"}"]);
        if self
            .run
            .append(&format!(
                r#" {{"role":"user","content":"{text} By the way, \"this\"."}}{more}"#
            ))
            .is_ok()
        {
            self.ledger.said(text);
        }
    }

    /// Replaces the history with one that a program may have kept. It ends with a reply, and
    /// perhaps with an unanswered call.
    fn replace_history(&mut self, choices: &mut Choices<'_>) {
        let text = self.word();
        let last = choices
            .one_of(&[r#""Yes?""#, r#"[{"type": "text", "text": "Yes?"}, {"type": "tool_use", "id": "h", "name": "plain", "input": {}}]"#]);
        let history = format!(
            "[ {{\"role\": \"user\", \"content\": \"{text}\"}},\n  {{\"role\": \"assistant\", \"content\": {last}}} ]\n"
        );
        if self.run.replace_history(&history).is_ok() {
            self.ledger.recount(self.run.messages());
            self.ledger.said(text);
        }
    }

    /// Changes the answer of call `i`. A change that fails may still have had an effect.
    fn change_result(&mut self, i: CallIndex, change: impl FnOnce(&mut Self) -> bool) {
        let id = self.run.call(i).map(|call| call.id.to_string());
        let before = self.result(i);
        let changed = change(self);
        if let Some(id) = id {
            let after = self.result(i);
            assert!(changed || before.is_none() || after.is_some(), "a result is lost");
            self.ledger.answered(&id, after.as_deref());
        }
    }

    pub(super) fn result(&self, i: CallIndex) -> Option<String> {
        Some(self.run.result(i)?.member("content")?.as_json().to_owned())
    }

    fn limit(&mut self, choices: &mut Choices<'_>) {
        let mut some = |most: usize| (choices.below(4) == 1).then(|| choices.below(most) as u32);
        *self.run.limits_mut() = Limits {
            turns: some(5),
            calls: some(7),
            input_tokens: some(200).map(u64::from),
            output_tokens: some(200).map(u64::from),
            time: some(60).map(u64::from).map(Duration::from_secs),
            repeats: some(3),
        };
    }

    /// Restores the run from its snapshot, as after a crash. Later actions may apply the settings
    /// that are not part of the snapshot again.
    fn restore(&mut self) {
        if self.run.is_compacting() {
            return;
        }
        let Some(transcript) = self.transcripts.pop() else { return };
        let snapshot = self.snapshot();
        let again = restored(&snapshot, transcript);
        let mut snapshot_again = Vec::new();
        again.snapshot(&mut snapshot_again).expect("a snapshot");
        assert!(snapshot_again == snapshot, "another snapshot");
        if self.run.reply_is_whole() {
            assert_eq!(again.messages(), self.run.messages(), "another conversation");
            assert_eq!(
                (again.turns(), again.usage(), again.calls().len()),
                (self.run.turns(), self.run.usage(), self.run.calls().len())
            );
            for i in self.run.calls() {
                assert_eq!(
                    (again.is_pending(i), again.is_for_caller(i)),
                    (self.run.is_pending(i), self.run.is_for_caller(i)),
                    "call {i}"
                );
            }
        } else {
            // The complete blocks of the reply stay, as a turn, if one of its calls has started.
            assert_eq!(again.messages(), &*self.run.conversation(), "another conversation");
        }
        self.run = again;
        self.drops_oldest = false;
    }
}
