//! A run as bytes in fixed memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use toolrunner_core::error::{Capacity, CapacityKind, Error};
use toolrunner_core::policy::Limit;
use toolrunner_core::run::{Outcome, Run, Step, ToolAnswer};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

const REPLY: &[u8] = br#"{"content":[{"type":"tool_use","id":"t1","name":"a","input":{}},{"type":"tool_use","id":"t2","name":"a","input":{}}],"stop_reason":"tool_use"}"#;

/// Does one request, with this reply.
fn exchange(run: &mut Run<'_>, mut reply: &[u8]) {
    assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Send);
    run.head_arrived(&ReplyHead::new(200));
    while run.feed(&mut reply).unwrap().is_some() {}
    while run.end_of_body().unwrap().is_some() {}
}

#[test]
fn goes_on_in_other_memory_with_one_call_answered() {
    let (mut here, mut there, mut bytes) = ([0; 1024], [0; 1024], [0; 4096]);
    let mut run = Run::new(Transcript::new(&mut here));
    run.user("Go.").unwrap();
    exchange(&mut run, REPLY);
    assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Call);
    run.answer(0.into(), ToolAnswer::ok("one")).unwrap();
    let len = run.snapshot_into(&mut bytes).unwrap();
    assert!(len < run.messages().len() + Run::SNAPSHOT_FRAME);
    let full = run.snapshot_into(&mut [0; 100]).unwrap_err();
    assert_eq!(
        full,
        Error::Capacity(Capacity { what: CapacityKind::Snapshot, needed: len, free: 100 })
    );

    let mut again = Run::from_snapshot(&bytes[..len], Transcript::new(&mut there)).unwrap();
    assert_eq!(again.messages(), run.messages());
    assert_eq!(
        (again.step(Instant::ZERO).unwrap(), again.next_call(), again.turns()),
        (Step::Call, Some(1.into()), 1)
    );
    again.answer(1.into(), ToolAnswer::ok("two")).unwrap();
    assert_eq!(again.step(Instant::ZERO).unwrap(), Step::Send);
    assert!(again.messages().ends_with(
        br#""t1","content":"one"},{"type":"tool_result","tool_use_id":"t2","content":"two"}]}"#
    ));

    // Too little memory is reported, in bytes.
    let small = Run::from_snapshot(&bytes[..len], Transcript::new(&mut [0; 64])).unwrap_err();
    assert!(
        matches!(small, Error::Capacity(Capacity { what: CapacityKind::Transcript, .. })),
        "{small:?}"
    );
}

/// Returns the run with `REPLY` open, as text and without its checksum, as the first releases wrote
/// it.
fn snapshot() -> String {
    let (mut memory, mut bytes) = ([0; 1024], [0; 4096]);
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user("Go.").unwrap();
    exchange(&mut run, REPLY);
    let len = run.snapshot_into(&mut bytes).unwrap();
    unsummed(core::str::from_utf8(&bytes[..len]).unwrap())
}

fn unsummed(snapshot: &str) -> String {
    let (content, _) = snapshot.rsplit_once(",\"sum\":").unwrap();
    format!("{content}}}")
}

#[test]
fn is_refused_if_it_says_that_calls_need_no_answer_that_do() {
    let good = snapshot();
    assert!(Run::from_snapshot(good.as_bytes(), Transcript::new(&mut [0; 1024])).is_ok());
    // Only calls before a `fallback` block need no answer, and there is no such block.
    let bad = good.replace(",0,2],\"answered\"", ",1,2],\"answered\"");
    assert_ne!(bad, good);
    assert!(matches!(
        Run::from_snapshot(bad.as_bytes(), Transcript::new(&mut [0; 1024])),
        Err(Error::Misuse(_))
    ));
}

#[test]
fn is_refused_if_it_waits_for_answers_that_nobody_is_to_give() {
    let good = snapshot();
    for bad in [
        good.replace("\"runs\":true", "\"runs\":false"),
        good.replace("\"calling\"", "\"needs_answer\""),
    ] {
        assert_ne!(bad, good);
        assert!(matches!(
            Run::from_snapshot(bad.as_bytes(), Transcript::new(&mut [0; 1024])),
            Err(Error::Misuse(_))
        ));
    }
}

/// Calls at the end of a history are answered before anything is sent, so there may be no more than
/// a turn allows.
#[test]
fn refuses_a_history_that_ends_with_more_open_calls_than_can_be_answered() {
    let calls: Vec<String> = (0..200)
        .map(|i| format!(r#"{{"type":"tool_use","id":"t{i}","name":"a","input":{{}}}}"#))
        .collect();
    let history = format!(
        r#"{{"role":"user","content":"Go."}},{{"role":"assistant","content":[{}]}}"#,
        calls.join(",")
    );
    let mut here = [0; 65536];
    let mut run = Run::new(Transcript::new(&mut here));
    run.user("Hi").unwrap();
    assert_eq!(
        run.replace_history(&history).unwrap_err().to_string(),
        "calls of one turn full: 200 needed, 128 free"
    );
    assert_eq!(run.messages(), br#"{"role":"user","content":"Hi"}"#);
}

/// A history is kept as it was passed, including spaces.
#[test]
fn holds_a_history_with_spaces_that_ends_with_a_reply() {
    let (mut here, mut there, mut bytes) = ([0; 1024], [0; 1024], [0; 4096]);
    let mut run = Run::new(Transcript::new(&mut here));
    run.replace_history("[ {\"role\": \"user\", \"content\": \"Hi\"} ,\n  {\"role\": \"assistant\", \"content\": [{\"type\": \"text\", \"text\": \"Hello\"}]} ]").unwrap();
    for words in [None, Some("More.")] {
        if let Some(words) = words {
            run.user(words).unwrap();
        }
        let len = run.snapshot_into(&mut bytes).unwrap();
        let again = Run::from_snapshot(&bytes[..len], Transcript::new(&mut there)).unwrap();
        assert_eq!(again.messages(), run.messages());
    }
}

/// The oldest turn of a history with spaces is dropped, and then the last: no comma is left over.
#[test]
fn a_history_with_spaces_loses_its_turns_one_by_one() {
    let (mut here, mut there, mut bytes) = ([0; 1024], [0; 1024], [0; 4096]);
    let mut run = Run::new(Transcript::new(&mut here));
    let say = |run: &mut Run<'_>| {
        exchange(run, br#"{"content":[{"type":"text","text":"Well."}],"stop_reason":"end_turn"}"#);
    };
    run.replace_history("{\"role\":\"user\",\"content\":\"Hi\"} ,\n {\"role\":\"assistant\",\"content\":\"Hello\"} , {\"role\":\"assistant\",\"content\":\"Yes?\"}").unwrap();
    run.user("Go.").unwrap();
    say(&mut run);
    run.ask_again().unwrap();
    say(&mut run);
    while run.drop_oldest_turn() {}
    let len = run.snapshot_into(&mut bytes).unwrap();
    let mut again = Run::from_snapshot(&bytes[..len], Transcript::new(&mut there)).unwrap();
    again.ask_again().unwrap();
    assert_eq!(
        core::str::from_utf8(again.messages()).unwrap(),
        r#"{"role":"user","content":"Go."}"#
    );
}

/// A snapshot may come from anywhere, and contain false claims.
#[test]
fn no_call_that_is_not_there_was_answered() {
    let mut memory = [0; 1024];
    let stray = snapshot().replace("\"answered\":[0,", "\"answered\":[8,");
    let mut run = Run::from_snapshot(stray.as_bytes(), Transcript::new(&mut memory)).unwrap();
    run.answer(0.into(), ToolAnswer::ok("one")).unwrap();
    assert_eq!(
        [0, 1, 2, 3, 127, 128, usize::MAX].map(|i| run.is_answered(i.into())),
        [true, false, false, false, false, false, false]
    );
}

/// At a limit, no room has been reserved. The caller's answers are kept, and no tool runs without
/// room for its answer.
#[test]
fn goes_on_only_with_room_for_all_answers() {
    let (mut here, mut there, mut large, mut bytes) = ([0; 350], [0; 350], [0; 1024], [0; 4096]);
    let mut run = Run::new(Transcript::new(&mut here));
    run.limits_mut().calls = Some(0);
    run.user("Go.").unwrap();
    exchange(&mut run, REPLY);
    assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Done(Outcome::Limit(Limit::Calls)));
    run.answer(0.into(), ToolAnswer::ok("by hand, in very many words")).unwrap();
    let len = run.snapshot_into(&mut bytes).unwrap();

    let mut again = Run::from_snapshot(&bytes[..len], Transcript::new(&mut there)).unwrap();
    for _ in 0..2 {
        assert!(matches!(again.step(Instant::ZERO), Err(Error::Capacity(_))));
        assert_eq!(again.messages(), run.messages());
    }
    let mut again = Run::from_snapshot(&bytes[..len], Transcript::new(&mut large)).unwrap();
    assert_eq!(
        (again.step(Instant::ZERO).unwrap(), again.next_call()),
        (Step::Call, Some(1.into()))
    );
    again.answer(1.into(), ToolAnswer::ok("two")).unwrap();
    assert_eq!(again.step(Instant::ZERO).unwrap(), Step::Send);
}
