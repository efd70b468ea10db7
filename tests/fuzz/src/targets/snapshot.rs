//! An arbitrary snapshot is refused, or is a run that reproduces its snapshot, answers each call
//! once, sends valid requests, and ends.

use toolrunner_core::error::Error;
use toolrunner_core::message::{Messages, Role};
use toolrunner_core::run::{Compaction, Outcome, Run, Step, ToolAnswer};
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

/// Runs the target, whose properties the module's documentation lists.
pub fn run(data: &[u8]) {
    let mut memory = vec![0; data.len() + 4096];
    let in_fixed = Run::from_snapshot(data, Transcript::new(&mut memory)).is_ok();
    let loaded = Run::from_snapshot(data, Transcript::growing());
    assert_eq!(in_fixed, loaded.is_ok());
    let Ok(mut run) = loaded else { return };
    let was_valid = validity::check(run.transcript().bytes(), Tail::Open).is_ok();
    let mut first = Vec::new();
    run.snapshot(&mut first).expect("a snapshot");
    let again = Run::from_snapshot(&first, Transcript::growing()).expect("its own snapshot");
    let mut second = Vec::new();
    again.snapshot(&mut second).expect("a snapshot");
    assert_eq!(first, second, "a snapshot of a snapshot");
    let mut closed = Run::from_snapshot(&first, Transcript::growing()).expect("its own snapshot");
    let _ = closed.close_open_calls();
    if was_valid && let Err(invalid) = validity::check(closed.messages(), Tail::Open) {
        panic!("{invalid}: {}", String::from_utf8_lossy(closed.messages()));
    }
    // Messages that the caller appended may contain calls that nobody answers; then validity is not
    // guaranteed.
    let stays_valid = validity::check(closed.messages(), Tail::Closed).is_ok();
    go_on(&mut run, stays_valid);
    // Repeats this with a summary, and with a message in between.
    let mut run = again;
    *run.compaction_mut() = Some(Compaction { threshold: 0, prompt: "Summarise." });
    go_on(&mut run, stays_valid);
    let _ = (run.user("More."), run.ask_again(), run.drop_oldest_turn());
    go_on(&mut run, stays_valid);
}

/// Drives the run until it rests.
fn go_on(run: &mut Run<'_>, stays_valid: bool) {
    let mut answered = Vec::new();
    for _ in 0..400 {
        match run.step(Instant::ZERO) {
            Ok(Step::Call) => {
                let i = run.next_call().expect("a call to answer");
                assert!(run.call(i).is_some_and(|call| !call.is_answered), "call {i} is not open");
                assert!(!answered.contains(&i), "call {i} is open again");
                answered.push(i);
                if !run.refuse_bad_input(i).expect("it is open") {
                    run.answer(i, ToolAnswer::ok("ok")).expect("an answer");
                }
            }
            Ok(Step::Send) => {
                if stays_valid {
                    check_request(run);
                }
                run.head_arrived(&ReplyHead::new(200));
                let mut body =
                    &br#"{"content":[{"type":"text","text":"Done."}],"stop_reason":"end_turn"}"#[..];
                while run.feed(&mut body).expect("a good reply").is_some() {}
                while run.end_of_body().expect("a whole reply").is_some() {}
            }
            Ok(Step::Done(Outcome::NeedsAnswer)) => {
                let i = run.call_for_caller().expect("a call for the caller");
                run.answer(i, ToolAnswer::ok("by hand")).expect("an answer");
            }
            Ok(Step::Done(Outcome::Stopped | Outcome::Broken)) => run.resume(),
            Ok(Step::Done(_)) | Err(Error::Misuse(_)) => return,
            other => panic!("{other:?}"),
        }
    }
    panic!("it does not end: {run:?}");
}

fn check_request(run: &mut Run<'_>) {
    let body: Vec<u8> = run.body(&[b"["]).pieces().flatten().copied().collect();
    let messages =
        body.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]}")).expect("a body");
    let paused =
        Messages::new(messages).last().and_then(|message| message.role()) == Some(Role::Assistant);
    if let Err(invalid) = validity::check(messages, if paused { Tail::Open } else { Tail::Closed })
    {
        panic!("{invalid} is sent: {}\n{run:?}", String::from_utf8_lossy(messages));
    }
}
