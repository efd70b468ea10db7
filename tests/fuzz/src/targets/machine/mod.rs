//! The whole machine, driven by a sequence of operations. Requests are valid, and so is the
//! conversation whenever the run rests. No call runs twice, no call that ran is lost, and no
//! message of the caller is lost. Capacity errors are accurate. A snapshot restores the run. The
//! run ends once faults stop.

mod exchange;
mod ledger;
mod verbs;

use core::time::Duration;

use toolrunner_core::error::Error;
use toolrunner_core::message::StopReason;
use toolrunner_core::policy::{Limits, RetryPolicy};
use toolrunner_core::run::{
    CallInFlight, CallIndex, MakeRoom, OnBreak, Outcome, Run, Step, ToolAnswer, WhenFull,
    WrittenResult,
};
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::testing::{ScriptedReply, Style};
use toolrunner_core::time::Instant;
use toolrunner_core::tool::ToolError;
use toolrunner_core::transcript::Transcript;

use crate::choices::Choices;
use ledger::Ledger;

/// How often a run may be restored from its snapshot.
const RESTORES: usize = 3;

/// Runs the target, whose properties the module's documentation lists.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let fixed = choices.below(2) == 1;
    let size = 300 + choices.word() % 4000;
    let mut memory = vec![0; if fixed { size * (RESTORES + 1) } else { 0 }];
    let mut transcripts: Vec<Transcript<'_>> =
        memory.chunks_mut(size).map(Transcript::new).collect();
    while transcripts.len() <= RESTORES {
        transcripts.push(Transcript::growing());
    }
    let run = Run::new(transcripts.pop().expect("as many as that"));
    let mut machine = Machine {
        run,
        transcripts,
        fixed,
        now: Instant::ZERO,
        replies: 0,
        ledger: Ledger::default(),
        words: 0,
        drops_oldest: false,
        looked_at: Vec::new(),
    };
    machine.say();
    for _ in 0..60 {
        if choices.is_over() {
            break;
        }
        if choices.below(3) == 0 {
            machine.verb(&mut choices)
        } else {
            machine.step(&mut choices)
        }
        machine.look();
    }
    machine.end();
}

struct Machine<'b> {
    run: Run<'b>,
    /// Spare transcripts of the same size, for restored runs.
    transcripts: Vec<Transcript<'b>>,
    /// Whether the memory has a fixed size.
    fixed: bool,
    now: Instant,
    replies: usize,
    ledger: Ledger,
    /// The number of messages of the caller.
    words: usize,
    /// Whether a step may drop the oldest turns.
    drops_oldest: bool,
    /// The snapshot of the last successful check.
    looked_at: Vec<u8>,
}

impl Machine<'_> {
    /// Checks what must hold whenever the run rests.
    fn look(&mut self) {
        if self.run.is_compacting() {
            return;
        }
        self.ledger.check(&self.run.conversation());
        let snapshot = self.snapshot();
        if !self.run.reply_is_whole()
            || self.run.transcript().is_empty()
            || snapshot == self.looked_at
        {
            return;
        }
        // Open calls are not checked as they are: a copy of the run answers them.
        let mut copy = restored(&snapshot, Transcript::growing());
        self.looked_at = snapshot;
        copy.close_open_calls().expect("room for it");
        if let Err(invalid) = validity::check(copy.messages(), Tail::Open) {
            panic!("{invalid}: {}\n{:?}", String::from_utf8_lossy(copy.messages()), self.run);
        }
    }

    /// Returns the run as bytes, in any state.
    fn snapshot(&self) -> Vec<u8> {
        let mut snapshot = Vec::new();
        self.run.snapshot(&mut snapshot).expect("a snapshot");
        snapshot
    }

    /// Appends a unique message of the caller.
    fn say(&mut self) -> bool {
        let text = self.word();
        let said = self.run.user(&text).is_ok();
        if said {
            self.ledger.said(text);
        }
        said
    }

    fn word(&mut self) -> String {
        self.words += 1;
        format!("Word {}.", self.words)
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        let step = self.run.step(self.now);
        if self.drops_oldest {
            self.ledger.recount_told(&self.run.conversation());
        }
        match step {
            Ok(Step::Send) => self.exchange(choices),
            Ok(Step::Wait(until)) => self.now = until,
            Ok(Step::Call) => self.calls(choices),
            Ok(Step::Receive) => self.run.abandoned(),
            Ok(Step::Done(Outcome::NeedsAnswer)) => {
                let i = self.run.call_for_caller().expect("a call for the caller");
                match choices.below(3) {
                    0 => self.run.give_to_tools(i),
                    1 => self
                        .run
                        .answer(i, ToolAnswer::ok("by hand"))
                        .expect("room for the shortest answer"),
                    _ => drop(self.say()),
                }
            }
            Ok(Step::Done(Outcome::Stopped | Outcome::Broken)) if choices.below(2) == 0 => {
                self.run.resume();
            }
            Ok(_) | Err(Error::Misuse(_)) => drop(self.say()),
            Err(Error::Capacity(full)) => assert!(full.needed > full.free, "{full:?}"),
            Err(other) => panic!("{other}"),
        }
    }

    /// Handles some of the turn's calls, as many as may run at the same time.
    fn calls(&mut self, choices: &mut Choices<'_>) {
        let mut running = Vec::new();
        for _ in 0..=choices.below(4) {
            let Some(i) = self.run.next_call() else { break };
            let call = self.run.call(i).expect("the call that is next");
            assert!(!call.is_answered, "an open call is not answered");
            let id = call.id.to_string();
            if self.run.refuse_bad_input(i).expect("it is open") {
                continue;
            }
            match choices.below(8) {
                0 => self.run.answer_not_found(i).expect("room for the shortest answer"),
                // A gate has not decided yet.
                1 => self.run.leave_to_caller(i),
                // Started in the run's memory, and dropped.
                2 => {
                    self.begin(&id);
                    let _ = self.run.start_in_place(i).expect("it is open");
                }
                3 => self.call_in_place(i, &id, choices),
                4 | 5 => {
                    self.begin(&id);
                    assert!(self.run.mark_started(i), "it is open");
                    running.push((i, id));
                }
                _ => {
                    self.begin(&id);
                    self.answer(i, &id, choices);
                }
            }
        }
        // The calls end in any order, or never.
        while !running.is_empty() {
            let (i, id) = running.swap_remove(choices.below(running.len()));
            if choices.below(4) > 0 {
                self.answer(i, &id, choices);
            }
        }
    }

    fn begin(&mut self, id: &str) {
        self.ledger.run(id);
        self.ledger.keep(id);
    }

    /// Runs a tool that writes its result in place.
    fn call_in_place(&mut self, i: CallIndex, id: &str, choices: &mut Choices<'_>) {
        self.begin(id);
        let CallInFlight { call, mut out } = self.run.start_in_place(i).expect("it is open");
        let _ = format!("{:?} {:?}", call.id, call.input.as_json());
        let (wrote, result) = match choices.below(8) {
            // Nothing was written, or the tool failed.
            0 => (Ok(()), Ok(())),
            1 => (Ok(()), Err(ToolError::new("It \"failed\"."))),
            _ => (out.text(&"y\n".repeat(choices.word() % 800)), Ok(())),
        };
        let written = WrittenResult::new(result, out);
        self.run.end_in_place(i, written).expect("room for the shortest answer");
        let there = self.run.result(i).expect("an answered call has a result");
        assert!(self.fixed || wrote.is_ok(), "there was room");
        let content = there.member("content").map(|content| content.as_json().to_owned());
        self.ledger.answered(id, content.as_deref());
    }

    /// Answers a call whose tool has its own memory.
    fn answer(&mut self, i: CallIndex, id: &str, choices: &mut Choices<'_>) {
        let (content, is_error) = match choices.below(5) {
            0 => (format!("\"{}\"", "x".repeat(1 + choices.word() % 3000)), true),
            1 => ("[]".to_owned(), false),
            // Content that the API refuses in a failed call becomes text.
            4 => {
                self.run
                    .answer_checked(i, ToolAnswer::error_json(br#"[{"type":"image"}]"#))
                    .expect("room for the shortest answer");
                return self.ledger.answered(id, self.result(i).as_deref());
            }
            2 => (r#"[{"type":"image","source":{"type":"file","file_id":"f"}}]"#.to_owned(), false),
            _ => (r#"[{"type":"text","text":"ok"}]"#.to_owned(), false),
        };
        self.run
            .answer(i, ToolAnswer::ok_json(content.as_bytes()).with_error(is_error))
            .expect("room for the shortest answer");
        let there = self.run.result(i).expect("an answered call has a result");
        let [found, failed] =
            ["content", "is_error"].map(|name| there.member(name).unwrap_or_default());
        // A result without room becomes an error that says so.
        if found.as_json() != content {
            assert!(
                self.fixed && failed.as_bool() == Some(true),
                "{} in place of {content}",
                there.as_json()
            );
        }
        self.ledger.answered(id, Some(found.as_json()));
    }

    /// Stops all faults, and checks that the run ends.
    fn end(&mut self) {
        let run = &mut self.run;
        *run.limits_mut() = Limits::NONE;
        *run.compaction_mut() = None;
        *run.when_full_mut() = WhenFull::NEVER;
        *run.retry_policy_mut() =
            RetryPolicy { longest_wait: Duration::from_secs(8), ..RetryPolicy::DEFAULT };
        run.set_on_break(OnBreak::Drop);
        self.drops_oldest = false;
        for _ in 0..400 {
            match self.run.step(self.now) {
                Ok(Step::Send) => {
                    let body = self.rendered(ScriptedReply::text("Done."), Style::default(), true);
                    self.run.head_arrived(&toolrunner_core::transport::ReplyHead::new(200));
                    let compacts = self.run.is_compacting();
                    match self.feed_all(&body) {
                        Ok(()) if compacts => self.ledger.recount_told(self.run.messages()),
                        Ok(()) => {}
                        Err(error) => {
                            assert!(self.fixed && matches!(error, Error::Capacity(_)), "{error}");
                            let _ = self.run.failed(error, self.now, 0);
                            // An empty conversation has room for the reply, unless the memory is
                            // too small for anything.
                            if !self.begin_anew() || self.run.transcript().capacity() < 1200 {
                                return;
                            }
                        }
                    }
                }
                Ok(Step::Wait(until)) => self.now = until,
                Ok(Step::Call) => {
                    let i = self
                        .run
                        .next_call()
                        .unwrap_or_else(|| panic!("no call to answer: {:?}", self.run));
                    if !self.run.refuse_bad_input(i).expect("it is open") {
                        let id = self.run.call(i).expect("the call that is next").id.to_string();
                        self.begin(&id);
                        self.answer(i, &id, &mut Choices::new(&[3]));
                    }
                }
                Ok(Step::Receive) => self.run.abandoned(),
                Ok(Step::Done(Outcome::Ended(Some(StopReason::EndTurn)))) => return self.look(),
                Ok(Step::Done(Outcome::NeedsAnswer)) => {
                    let i = self.run.call_for_caller().expect("a call for the caller");
                    self.run.answer(i, ToolAnswer::ok("x")).expect("room for the shortest answer");
                }
                Ok(Step::Done(Outcome::Stopped)) => self.run.resume(),
                Ok(Step::Done(Outcome::Ended(_) | Outcome::Broken)) | Err(_) => {
                    if !self.say() {
                        self.begin_anew();
                    }
                }
                Ok(other) => panic!("{other:?}"),
            }
            self.look();
        }
        panic!("it does not end: {:?}", self.run);
    }

    /// Replaces the whole conversation.
    fn begin_anew(&mut self) -> bool {
        let text = self.word();
        let done =
            self.run.replace_history(&format!(r#"{{"role":"user","content":"{text}"}}"#)).is_ok();
        if done {
            self.ledger.recount(self.run.messages());
            self.ledger.said(text);
        }
        done
    }

    /// Sets the policy for nearly full memory.
    fn when_full(&mut self, room: usize, then: MakeRoom) {
        self.drops_oldest = room > 0 && then == MakeRoom::DropOldest;
        *self.run.when_full_mut() = WhenFull { room, then };
    }
}

/// Returns the run that its own snapshot restores.
fn restored<'t>(snapshot: &[u8], transcript: Transcript<'t>) -> Run<'t> {
    Run::from_snapshot(snapshot, transcript).unwrap_or_else(|error| {
        panic!("its own snapshot, {error}: {}", String::from_utf8_lossy(snapshot))
    })
}
