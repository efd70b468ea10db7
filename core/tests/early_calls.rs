//! Calls of a reply under way, in both forms of a reply.
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

use common::{assert_valid, rendered, run};
use toolrunner_core::observe::Event;
use toolrunner_core::run::{Run, Step, StreamEvent, ToolAnswer};
use toolrunner_core::testing::{ScriptedReply, Style};
use toolrunner_core::time::Instant;
use toolrunner_core::transport::ReplyHead;

/// Returns the calls that [`Run::early_call`] returns after each event of a body. Checks that those
/// of a whole reply appear with the end of their block, and do not start.
fn seen(run: &mut Run<'_>, body: &[u8], stream: bool) -> Vec<Vec<String>> {
    let mut seen = vec![Vec::new()];
    let mut look = |run: &mut Run<'_>, stream_event: StreamEvent| {
        let calls = run.early_calls().filter_map(|i| run.early_call(i));
        let calls: Vec<_> =
            calls.map(|call| format!("{} {}", call.id, call.input.as_json())).collect();
        if !stream {
            let is_stop = matches!(run.peek(stream_event), Event::BlockStop { .. });
            let before = seen.last().map_or(0, Vec::len);
            assert!(calls.len() <= before + usize::from(is_stop), "{:?}", run.peek(stream_event));
            for i in run.early_calls() {
                assert!(!run.mark_started_early(i, Instant::ZERO), "the reply is whole");
            }
        }
        seen.push(calls);
    };
    let mut rest = body;
    while let Some(stream_event) = run.feed(&mut rest).unwrap() {
        look(run, stream_event);
    }
    while let Some(stream_event) = run.end_of_body().unwrap() {
        look(run, stream_event);
    }
    seen
}

/// Receives a reply in one form, and returns the different results of [`seen`] in their order.
fn changes(run: &mut Run<'_>, reply: &ScriptedReply, stream: bool) -> Vec<Vec<String>> {
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    run.head_arrived(&ReplyHead::new(200));
    let mut seen = seen(run, &rendered(reply.clone(), Style::default(), stream), stream);
    seen.dedup();
    seen
}

/// The events of a whole reply are reported only when its last byte has arrived. Its calls can be
/// read meanwhile, each once its block is complete, but start only with the turn.
#[test]
#[cfg_attr(not(feature = "whole-replies"), ignore = "reads a whole reply")]
fn a_call_of_a_whole_reply_can_be_read_and_starts_with_the_turn() {
    let reply = ScriptedReply::text("Let me see.").tool_use("t1", "plain", r#"{"a":1}"#).tool_use(
        "t2",
        "plain",
        r#"{"b":2}"#,
    );
    let (first, second) = (r#"t1 {"a":1}"#, r#"t2 {"b":2}"#);
    for stream in [false, true] {
        let mut run = run();
        let expected: [&[&str]; 4] = [&[], &[first], &[first, second], &[]];
        assert_eq!(changes(&mut run, &reply, stream), expected, "{stream}");
        assert_eq!(run.step(Instant::ZERO), Ok(Step::Call));
        for i in [0, 1] {
            assert!(run.mark_started(i.into()));
            run.answer(i.into(), ToolAnswer::ok("ok")).unwrap();
        }
        assert_valid(&run);
        assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    }
}

/// The stop reason of a whole reply is known before its first block.
#[test]
#[cfg_attr(not(feature = "whole-replies"), ignore = "reads a whole reply")]
fn no_call_of_a_whole_reply_that_stops_for_another_reason_can_be_read() {
    let called = || ScriptedReply::new().tool_use("t1", "plain", "{}");
    let fallback = r#"{"type":"fallback","from":{"model":"a"},"to":{"model":"b"}}"#;
    for reply in [
        called().stop("max_tokens"),
        called().stop("end_turn"),
        called().block(fallback),
        ScriptedReply::new().block(fallback).tool_use("t1", "plain", "{}"),
    ] {
        assert_eq!(changes(&mut run(), &reply, false), [[""; 0]]);
    }
}
