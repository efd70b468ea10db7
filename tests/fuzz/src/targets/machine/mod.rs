//! The whole machine, driven by a row of operations. What must hold: the conversation is valid whenever the run rests, no call is open
//! twice, an error of capacity tells the truth, and the run goes on to its end when the trouble does.

use toolrunner_core::error::{Error, TransportKind};
use toolrunner_core::message::StopReason;
use toolrunner_core::policy::Limits;
use toolrunner_core::run::{Compaction, MakeRoom, Outcome, Run, Step, WhenFull};
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::testing::{Reply, Request, Script, ScriptedModel, Style};
use toolrunner_core::time::Instant;
use toolrunner_core::tool::Notice;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

use super::events::reply;
use crate::choices::Choices;

const BEFORE: &[&[u8]] = &[b"{\"model\":\"m\",\"max_tokens\":9,\"messages\":["];

/// See the module.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let fixed = choices.below(2) == 1;
    let mut memory = vec![0; if fixed { 300 + choices.word() % 4000 } else { 0 }];
    let run = Run::new(if fixed { Transcript::new(&mut memory) } else { Transcript::growing() });
    let mut machine = Machine { run, now: Instant::ZERO, replies: 0 };
    let _ = machine.run.user("Hi");
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
    now: Instant,
    replies: usize,
}

impl Machine<'_> {
    /// What must hold whenever the run rests.
    fn look(&self) {
        if !self.run.reply_is_whole() || self.run.is_compacting() || self.run.transcript().is_empty() {
            return;
        }
        // Open calls are not judged: here they are answered, in a copy.
        let mut snapshot = Vec::new();
        self.run.snapshot(&mut snapshot).expect("a snapshot");
        let Ok(mut copy) = Run::from_snapshot(&snapshot, Transcript::growing()) else {
            panic!("its own snapshot is refused: {}", String::from_utf8_lossy(&snapshot));
        };
        copy.close_open_calls().expect("room for it");
        if let Err(invalid) = validity::check(copy.messages(), Tail::Open) {
            panic!("{invalid}: {}\n{:?}", String::from_utf8_lossy(copy.messages()), self.run);
        }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match self.run.step(self.now) {
            Ok(Step::Send) => self.exchange(choices),
            Ok(Step::Wait(until)) => self.now = until,
            Ok(Step::Call) => self.call(choices),
            Ok(Step::Receive) => drop(self.run.failed(None, self.now, 0)),
            Ok(_) | Err(Error::Misuse(_)) => drop(self.run.user("More.")),
            Err(Error::Capacity(full)) => assert!(full.needed > full.free, "{full:?}"),
            Err(other) => panic!("{other}"),
        }
    }

    fn call(&mut self, choices: &mut Choices<'_>) {
        let Some(i) = self.run.next_call() else { return };
        assert!(self.run.call(i).is_some_and(|call| !call.is_answered), "an open call is not answered");
        if self.run.refuse_bad_input(i).expect("it is open") {
            return;
        }
        match choices.below(5) {
            0 => drop(self.run.answer_not_found(i)),
            1 => self.run.leave_to_caller(i),
            // Begun, and never ended.
            2 => drop(self.run.start_call(i).map(|_| ())),
            3 => drop(self.run.answer(i, format!("\"{}\"", "x".repeat(choices.word() % 3000)).as_bytes(), true)),
            _ => drop(self.run.answer(i, br#"[{"type":"text","text":"ok"}]"#, false)),
        }
    }

    fn exchange(&mut self, choices: &mut Choices<'_>) {
        let body: Vec<u8> = self.run.body(BEFORE).pieces().flatten().copied().collect();
        let _: serde_json::Value = serde_json::from_slice(&body).expect("a request is JSON");
        let failure = match choices.below(8) {
            0 => Some(Error::Transport(choices.one_of(&[TransportKind::Closed, TransportKind::Tls, TransportKind::Timeout]))),
            1 => {
                self.run.answered(&ReplyHead::new([529, 400, 408][choices.below(3)] as u16));
                self.feed(br#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#, choices)
            }
            _ => {
                let reply = reply(choices);
                let stream = choices.below(4) > 0;
                let mut body = self.rendered(reply, Style { delta: 1 + choices.below(30), ..Style::default() }, stream);
                match choices.below(6) {
                    0 => body.truncate(choices.word() % (body.len() + 1)),
                    1 => {
                        let at = choices.word() % body.len();
                        body[at] = choices.below(256) as u8;
                    }
                    _ => {}
                }
                self.run.answered(&ReplyHead::new(200));
                self.feed(&body, choices)
            }
        };
        // Or it is dropped, and the next step finds what was abandoned.
        if let Some(error) = failure {
            if let Error::Capacity(full) = error {
                assert!(full.needed > full.free, "{full:?}");
            }
            let _ = self.run.failed(Some(error), self.now, 7);
        }
    }

    /// A reply whose ids no other has.
    fn rendered(&mut self, reply: Reply, style: Style, stream: bool) -> Vec<u8> {
        self.replies += 1;
        let mut model = ScriptedModel::new(Script::new().reply(reply)).style(style).lenient();
        let request = format!(r#"{{"model":"m","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#);
        model.respond(Request::new("/v1/messages", request)).bytes()
    }

    fn feed(&mut self, body: &[u8], choices: &mut Choices<'_>) -> Option<Error> {
        let (size, look) = (1 + choices.below(256), choices.below(2) == 1);
        for piece in body.chunks(size) {
            let mut rest = piece;
            loop {
                match self.run.feed(&mut rest) {
                    Ok(None) => break,
                    Ok(Some(happened)) if look => drop(format!("{:?}", self.run.event(happened))),
                    Ok(Some(_)) => {}
                    Err(error) => return Some(error),
                }
            }
        }
        if choices.below(12) == 1 {
            return None;
        }
        loop {
            match self.run.end_of_body() {
                Ok(None) => return None,
                Ok(Some(_)) => {}
                Err(error) => return Some(error),
            }
        }
    }

    fn verb(&mut self, choices: &mut Choices<'_>) {
        let (run, i) = (&mut self.run, choices.below(4));
        match choices.below(18) {
            0 => drop(run.user("Something else.")),
            1 => drop(run.append(r#"{"role":"user","content":"By the way, \"this\"."}"#)),
            2 => drop(run.retry()),
            3 => drop(run.replace_history(r#"[{"role":"user","content":"From the start."}]"#)),
            4 => run.stop(),
            5 => run.resume(),
            6 => drop(run.answer(i, br#""by hand""#, choices.below(2) == 1)),
            7 => drop(run.answer_notice(i, Notice::NotRun)),
            8 => drop(run.replace_result(i, br#"[{"type":"text","text":"replaced"}]"#, choices.below(2) == 1)),
            9 => drop(run.add_to_result(i, r#""cache_control":{"type":"ephemeral"}"#)),
            10 => drop(run.close_open_calls()),
            11 => {
                let some = |on: usize, most: usize| (on == 1).then(|| u32::try_from(most).unwrap_or(0));
                let (turns, calls) = (some(choices.below(3), choices.below(5)), some(choices.below(3), choices.below(7)));
                *run.limits_mut() = Limits { turns, calls, ..Limits::NONE };
            }
            12 => drop(run.drop_oldest_turn()),
            13 => {
                let then = choices.one_of(&[MakeRoom::Compact, MakeRoom::DropOldest, MakeRoom::Stop]);
                *run.when_full_mut() = WhenFull { room: [0, 300, 1500][choices.below(3)], then };
            }
            14 => *run.compaction_mut() = (choices.below(2) == 1).then_some(Compaction { threshold: 0, prompt: "Summarise." }),
            15 => drop(run.append(choices.one_of(&["{}", "[", "", "null", r#"{"role":"user"}"#, r#"{"role":"user","content":[]}"#]))),
            16 => {
                let mut snapshot = Vec::new();
                if run.snapshot(&mut snapshot).is_ok() {
                    let again = Run::from_snapshot(&snapshot, Transcript::growing());
                    assert!(again.is_ok(), "its own snapshot: {}", String::from_utf8_lossy(&snapshot));
                }
            }
            _ => drop(run.user("")),
        }
    }

    /// The trouble ends: so does the run.
    fn end(&mut self) {
        let run = &mut self.run;
        *run.limits_mut() = Limits::NONE;
        *run.compaction_mut() = None;
        *run.when_full_mut() = WhenFull::NEVER;
        let mut calm = Choices::new(&[]);
        for _ in 0..400 {
            match self.run.step(self.now) {
                Ok(Step::Send) => {
                    let body = self.rendered(Reply::text("Done."), Style::default(), true);
                    self.run.answered(&ReplyHead::new(200));
                    if let Some(error) = self.feed(&body, &mut calm) {
                        assert!(matches!(error, Error::Capacity(_)), "{error}");
                        let _ = self.run.failed(Some(error), self.now, 0);
                        if self.run.replace_history(r#"{"role":"user","content":"x"}"#).is_err() || self.run.transcript().capacity() < 1200
                        {
                            return;
                        }
                    }
                }
                Ok(Step::Wait(until)) => self.now = until,
                Ok(Step::Call) => {
                    let Some(i) = self.run.next_call() else { panic!("no call to answer: {:?}", self.run) };
                    if !self.run.refuse_bad_input(i).expect("it is open") {
                        self.run.answer(i, br#""ok""#, false).expect("room for the shortest answer");
                    }
                }
                Ok(Step::Receive) => drop(self.run.failed(None, self.now, 0)),
                Ok(Step::Done(Outcome::Ended(Some(StopReason::EndTurn)))) => return self.look(),
                Ok(Step::Done(Outcome::NeedsAnswer)) => {
                    let i = self.run.call_for_caller().expect("a call for the caller");
                    self.run.answer(i, br#""x""#, false).expect("room for the shortest answer");
                }
                Ok(Step::Done(Outcome::Stopped)) => self.run.resume(),
                Ok(Step::Done(Outcome::Ended(_))) | Err(_) => {
                    if self.run.user("Well?").is_err() {
                        let _ = self.run.replace_history(r#"{"role":"user","content":"Well?"}"#);
                    }
                }
                Ok(other) => panic!("{other:?}"),
            }
            self.look();
        }
        panic!("it does not end: {:?}", self.run);
    }
}
