//! What a chip leaves out in the small profile is an error or a shorter text, and nothing else
//! changes.
#![cfg(all(
    feature = "testing",
    not(any(
        feature = "fast-path",
        feature = "gateways",
        feature = "input-words",
        feature = "whole-replies"
    ))
))]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{exchange, outcome, rendered, say};
use toolrunner_core::error::{Capacity, CapacityKind, Error, Protocol};
use toolrunner_core::json::Value;
use toolrunner_core::message::StopReason;
use toolrunner_core::run::{Outcome, Run};
use toolrunner_core::schema::Schema;
use toolrunner_core::testing::{ScriptedReply, Style};
use toolrunner_core::transcript::Transcript;

#[test]
fn a_streamed_reply_is_the_same() {
    let body = rendered(ScriptedReply::text("Hé \"you\"\n\u{1f321}"), Style::default(), true);
    for piece in [1, 7, body.len()] {
        let mut run = Run::new(Transcript::growing());
        run.user("Hi").unwrap();
        let (events, ended) = exchange(&mut run, 200, body.chunks(piece));
        ended.unwrap();
        assert!(events.iter().any(|event| event.contains("Text")), "{events:?}");
        assert_eq!(outcome(&mut run), Outcome::Ended(Some(StopReason::EndTurn)));
        let last = String::from_utf8(run.transcript().bytes().to_vec()).unwrap();
        assert!(last.contains(r#""text":"Hé \"you\"\n"#), "{last}");
    }
}

#[test]
fn a_whole_reply_is_refused() {
    let body = rendered(ScriptedReply::text("Hello"), Style::default(), false);
    for piece in [1, body.len()] {
        let mut run = Run::new(Transcript::growing());
        run.user("Hi").unwrap();
        let (_, ended) = exchange(&mut run, 200, body.chunks(piece));
        assert_eq!(ended.unwrap_err(), Error::Protocol(Protocol::NotAReply));
    }
    // The run continues with a stream.
    let mut run = Run::new(Transcript::growing());
    run.user("Hi").unwrap();
    say(&mut run, ScriptedReply::text("Hello"));
}

#[test]
fn an_input_error_has_no_words() {
    let input = Value::first(b"{\"a\":1}").unwrap();
    let error = Schema::INTEGER.check(input).unwrap_err();
    assert_eq!(error.explain(input).to_string(), "it does not fit the tool's schema");
}

/// Returns how a stream of these events ends.
fn ended(run: &mut Run<'_>, events: &[&str]) -> Result<(), Error> {
    const START: &str = r#"{"type":"message_start","message":{"role":"assistant","content":[]}}"#;
    let body: String =
        [START].iter().chain(events).map(|event| format!("data: {event}\n\n")).collect();
    run.user("Hi").unwrap();
    exchange(run, 200, [body.as_bytes()].into_iter()).1
}

#[test]
fn blocks_that_overlap_are_an_error() {
    let start = |index: u8| {
        format!(
            r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"text","text":""}}}}"#
        )
    };
    let mut run = Run::new(Transcript::growing());
    let full = Capacity { what: CapacityKind::OpenBlocks, needed: 2, free: 1 };
    assert_eq!(ended(&mut run, &[&start(0), &start(1)]), Err(Error::Capacity(full)));
    run.abandoned();
    // The run continues.
    say(&mut run, ScriptedReply::text("Hello"));
    let mut run = Run::new(Transcript::growing());
    let twice = ended(&mut run, &[&start(0), &start(0)]);
    assert!(matches!(twice, Err(Error::Protocol(Protocol::Event { .. }))), "{twice:?}");
}

#[test]
fn a_string_is_no_input() {
    let mut run = Run::new(Transcript::growing());
    let events = [
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"f","input":"{}"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    assert_eq!(ended(&mut run, &events), Ok(()));
    let kept = String::from_utf8(run.transcript().bytes().to_vec()).unwrap();
    assert!(kept.contains(r#""input":{"INVALID_JSON":"\"{}\""}"#), "{kept}");
}
