//! A paused turn is sent back as the last message until the server has continued it, whatever
//! happens to the request that does so.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a test runs on a server"
)]

mod common;

use common::*;
use serde_json::Value as Json;
use toolrunner_core::error::{Error, TransportKind};
use toolrunner_core::run::{Run, Step};
use toolrunner_core::testing::{ScriptedReply, Style};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

/// Returns a run whose last turn is paused: it ends with white space and has a call.
fn paused() -> Run<'static> {
    let mut run = run();
    say(&mut run, ScriptedReply::text("Wait. ").tool_use("t1", "plain", "{}").stop("pause_turn"));
    run
}

/// Asserts that the next request sends the paused turn back unchanged.
fn assert_sent_back(run: &mut Run<'_>, what: &str) {
    let far = Instant::from_micros(60_000_000);
    assert_eq!(run.step(far), Ok(Step::Send), "{what}");
    let body: Vec<u8> = run.body(BEFORE).pieces().flatten().copied().collect();
    let body: Json = serde_json::from_slice(&body).unwrap();
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 2, "{what}: {body}");
    assert_eq!(messages[1]["content"][0]["text"], "Wait. ", "{what}");
    assert_eq!(messages[1]["content"][1]["id"], "t1", "{what}");
    assert!(body.get("compaction").is_none(), "{what}");
}

fn restored(run: &Run<'_>) -> Run<'static> {
    let mut snapshot = Vec::new();
    run.snapshot(&mut snapshot).unwrap();
    Run::from_snapshot(&snapshot, Transcript::growing()).unwrap()
}

/// Begins the request that continues the turn, and feeds a part of a reply with this stop reason.
fn begin_continuation(run: &mut Run<'_>, stop: &str) {
    assert_sent_back(run, "first");
    run.head_arrived(&ReplyHead::new(200));
    let body = rendered(ScriptedReply::text("Go on.").stop(stop), Style::default(), true);
    let end = body.windows(12).rposition(|part| part == b"message_stop").unwrap() - 8;
    feed(run, &body[..end], &mut Vec::new()).unwrap();
}

#[test]
fn after_a_failed_request_and_after_a_restart() {
    let closed = Error::Transport(TransportKind::Closed);
    type Fail = fn(&mut Run<'_>, Error);
    let fails: [(Fail, &str); 3] = [
        (
            |run, error| {
                let _ = run.failed(error, Instant::ZERO, 0);
            },
            "failed",
        ),
        (|run, _| run.abandoned(), "abandoned"),
        (
            |run, error| {
                for _ in 0..4 {
                    let _ = run.failed(error, Instant::ZERO, 0);
                    let _ = run.step(Instant::from_micros(60_000_000));
                }
                run.abandoned();
            },
            "failed for good",
        ),
    ];
    for stop in ["end_turn", "pause_turn", "tool_use"] {
        for (fail, what) in fails {
            let mut run = paused();
            run.remove_tool("other").unwrap();
            run.compact_on_server();
            begin_continuation(&mut run, stop);
            assert_sent_back(&mut restored(&run), &format!("{stop}, restored under way"));
            fail(&mut run, closed);
            let mut again = restored(&run);
            for run in [&mut run, &mut again] {
                assert_sent_back(run, &format!("{stop}, {what}"));
            }
            assert!(run.has_tool_changes(), "they wait for the end of the turn");
        }
    }
}

/// The server compacted in the middle of a turn: calls of that turn are not to be answered here.
#[test]
fn no_change_of_the_tools_follows_an_open_call() {
    let mut run = run();
    say(&mut run, ScriptedReply::text("Wait. ").tool_use("t1", "plain", "{}").stop("compaction"));
    run.remove_tool("other").unwrap();
    assert_sent_back(&mut run, "compacted");
    assert!(run.has_tool_changes());
}

#[test]
fn when_its_continuation_is_requested_again() {
    for reply in [ScriptedReply::text("Go on."), ScriptedReply::new(), ScriptedReply::text(" ")] {
        let mut run = paused();
        say(&mut run, reply);
        run.remove_tool("other").unwrap();
        run.ask_again().unwrap();
        let mut again = restored(&run);
        for run in [&mut run, &mut again] {
            assert_sent_back(run, "asked again");
        }
    }
}

/// A reply that was not complete says nothing about the turn before it.
#[test]
fn a_turn_is_not_paused_by_a_reply_that_broke_off() {
    let mut run = run();
    run.append(r#"{"role":"assistant","content":"I see. "},{"role":"user","content":"And?"}"#)
        .unwrap();
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    run.head_arrived(&ReplyHead::new(200));
    let body = rendered(ScriptedReply::text("Go on.").stop("pause_turn"), Style::default(), true);
    let end = body.windows(12).rposition(|part| part == b"message_stop").unwrap() - 8;
    feed(&mut run, &body[..end], &mut Vec::new()).unwrap();
    run.remove_tool("other").unwrap();
    assert_eq!(restored(&run).stop_reason(), None);
    run.abandoned();
    assert_eq!(run.stop_reason(), None);
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    assert!(!run.has_tool_changes(), "nothing is paused");
}
