//! What a run reports, as serde writes it.
#![cfg(feature = "serde-json")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde_json::{json, to_string};
use toolrunner_core::json::{Text, Value};
use toolrunner_core::message::{Block, OwnedMessage, Role, StopReason, Usage};
use toolrunner_core::policy::Limit;
use toolrunner_core::run::Outcome;

#[test]
fn reports_are_data() {
    let usage = Usage { input_tokens: 3, cache_read_input_tokens: 9, ..Usage::default() };
    assert_eq!(
        serde_json::to_value(usage).unwrap(),
        json!({"input_tokens": 3, "output_tokens": 0, "cache_creation_input_tokens": 0, "cache_read_input_tokens": 9})
    );
    // The API's own form: what was written is read again.
    let text = to_string(&usage).unwrap();
    assert_eq!(Usage::from_wire(Value::first(text.as_bytes()).unwrap()), usage);
    let outcomes = [
        (Outcome::Ended(Some(StopReason::EndTurn)), r#"{"type":"ended","stop_reason":"end_turn"}"#),
        (Outcome::Ended(None), r#"{"type":"ended","stop_reason":null}"#),
        (Outcome::Limit(Limit::InputTokens), r#"{"type":"limit","limit":"input_tokens"}"#),
        (Outcome::NeedsAnswer, r#"{"type":"needs_answer"}"#),
    ];
    for (outcome, text) in outcomes {
        assert_eq!(to_string(&outcome).unwrap(), text);
    }
    assert_eq!(to_string(&Role::User).unwrap(), r#""user""#);
}

#[test]
fn views_are_written_verbatim() {
    // Numbers, spaces, unknown members and the order of keys stay as they were received.
    let json = r#"{"role":"assistant","content":[{"z":1.0, "type":"text","text":"a\u0062","n":123456789012345678901}]}"#;
    let message = OwnedMessage::from_json(json).unwrap();
    assert_eq!(to_string(&message.view()).unwrap(), json);
    let block = message.blocks().next().unwrap();
    assert!(json.contains(&to_string(&block).unwrap()));
    let Block::Text(text) = block else { panic!("{block:?}") };
    assert_eq!(to_string(&text.text()).unwrap(), r#""ab""#);
    assert_eq!(to_string(&block.value()).unwrap(), to_string(&block).unwrap());
}

#[test]
fn a_text_is_compared_and_matched_like_a_string() {
    let (plain, escaped) = (Text::from_raw("ab"), Text::from_raw(r"a\u0062"));
    assert_eq!(plain, escaped);
    assert_ne!(plain, Text::from_raw("ac"));
    // In each direction, and with an owned text.
    let owned = "ab".to_owned();
    let (by_str, by_text, by_string) = ("ab" == escaped, escaped == "ab", escaped == owned);
    assert!(by_str && by_text && by_string);
    for text in [plain, escaped] {
        match &*text.to_str() {
            "ab" => {}
            other => panic!("{other}"),
        }
    }
}
