//! Requests and conversations as text, and replies that take time.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use core::time::Duration;

use toolrunner_core::testing::{
    Chunk, Conversation, Request, Script, ScriptedModel, ScriptedReply, Style,
};

const BODY: &str = r#"{"model":"m","max_tokens":9,"stream":true,"system":[{"type":"text","text":"Be brief.\nAlways."}],"tools":[{"name":"get_weather","input_schema":{"type":"object"}},{"type":"web_search_20250305"}],"metadata":{"user_id":"u"},"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AAAA"}},{"type":"text","text":"Where?"}]},{"role":"assistant","content":[{"type":"thinking","thinking":"Hm.","signature":"s"},{"type":"text","text":"Let me see.\nNow."},{"type":"tool_use","id":"t1","name":"get_weather","input":{"location":"Pa\u0072is"}},{"type":"tool_use","id":"t2","name":"get_weather","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"Sunny\n20 degrees"},{"type":"tool_result","tool_use_id":"t2","is_error":true,"content":[{"type":"text","text":"Which?"},{"type":"new_block","x":1}]}]},{"role":"user","content":[]}]}"#;

#[test]
fn a_request_is_shown_as_text_without_headers_and_query() {
    let mut request = Request::new("/v1/messages?key=sk-secret", BODY);
    request.headers.push(("x-api-key".to_owned(), "sk-secret".to_owned()));
    let expected = r#"/v1/messages
model: m
max_tokens: 9
stream: true
system: Be brief.
    Always.
tools: get_weather, web_search_20250305
metadata: {"user_id":"u"}
user: image (82 bytes of JSON)
user: Where?
assistant: thinking: Hm.
assistant: Let me see.
    Now.
assistant: call t1: get_weather {"location":"Pa\u0072is"}
assistant: call t2: get_weather {}
user: result of t1: Sunny
    20 degrees
user: error of t2: Which?
    {"type":"new_block","x":1}
user: []
"#;
    assert_eq!(request.to_string(), expected);
    let conversation = Conversation(request.transcript());
    assert!(expected.ends_with(&conversation.to_string()));
    assert_eq!(format!("{conversation:?}"), conversation.to_string());
}

#[test]
fn what_is_no_request_or_no_transcript_is_shown_as_it_is() {
    assert_eq!(Request::new("/v1/files", "a=b").to_string(), "/v1/files\na=b\n");
    assert_eq!(Conversation(b"{\"role\":").to_string(), "not a transcript: {\"role\":\n");
    assert_eq!(Conversation(b" [ ] ").to_string(), "");
    assert_eq!(Conversation(br#"[{"role":"tool","content":"x"}]"#).to_string(), "\"tool\": x\n");
}

/// Returns the pauses and the number of pieces of the reply to one request.
fn timing(reply: ScriptedReply, style: Style, stream: bool) -> (Vec<Duration>, usize, bool) {
    let mut model = ScriptedModel::new(Script::new().reply(reply)).style(style);
    let body = format!(
        r#"{{"model":"m","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#
    );
    let chunks = model.respond(Request::new("/v1/messages", body)).body;
    let waits = chunks.iter().filter_map(|chunk| match chunk {
        Chunk::Wait(wait) => Some(*wait),
        _ => None,
    });
    let waits: Vec<Duration> = waits.collect();
    let starts_late = matches!(chunks.first(), Some(Chunk::Wait(_)));
    (waits.clone(), chunks.len() - waits.len(), starts_late)
}

#[test]
fn a_reply_takes_the_time_that_it_states() {
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let style = Style { pause: second, ..Style::default() };
    for stream in [true, false] {
        let (waits, _, starts_late) = timing(ScriptedReply::text("Hi"), Style::default(), stream);
        assert!(waits.is_empty() && !starts_late);
        let (waits, pieces, starts_late) =
            timing(ScriptedReply::text("Hi").after(minute), style.clone(), stream);
        assert!(starts_late);
        assert_eq!((waits[0], waits.len()), (minute, pieces + 1));
        assert!(waits[1..].iter().all(|wait| *wait == second), "the pause of the style");
        let (waits, pieces, _) =
            timing(ScriptedReply::text("Hi").pace(minute), style.clone(), stream);
        assert_eq!(waits, vec![minute; pieces]);
        let (waits, ..) =
            timing(ScriptedReply::text("Hi").pace(Duration::ZERO), style.clone(), stream);
        assert_eq!(waits, []);
    }
}
