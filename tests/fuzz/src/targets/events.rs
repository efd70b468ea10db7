//! A reply of any shape, as a stream in any style and as one JSON object: the same message.

use core::time::Duration;

use toolrunner_core::json::Value;
use toolrunner_core::run::{Run, Step};
use toolrunner_core::testing::{Reply, Request, Script, ScriptedModel, Style};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

use crate::choices::Choices;

/// See the module.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let style = Style {
        delta: 1 + choices.below(40),
        pings: choices.below(2) == 1,
        comments: choices.below(2) == 1,
        interleaved: choices.below(2) == 1,
        crlf: choices.below(2) == 1,
        event_lines: choices.below(2) == 1,
        ascii: choices.below(2) == 1,
        split: (choices.below(2) == 1).then(|| 1 + choices.below(200)),
        pause: Duration::ZERO,
    };
    let reply = reply(&mut choices);
    let (streamed, whole) = (message(&reply, &style, true), message(&reply, &style, false));
    assert_eq!(streamed.1, whole.1, "stop reason, usage");
    let theirs: serde_json::Value = serde_json::from_slice(&whole.0).expect("the conversation is JSON");
    let ours = Value::first(&streamed.0).expect("a conversation");
    assert!(super::json::same(ours, &theirs), "streamed {}\nwhole {theirs}", ours.as_json());
}

/// A reply of at most 8 blocks, which is how many may be open at once.
pub(crate) fn reply(choices: &mut Choices<'_>) -> Reply {
    let mut reply = Reply::new();
    for i in 0..choices.below(9) {
        reply = match choices.below(6) {
            0 | 1 => reply.and_text(&text(choices)),
            2 => reply.thinking(&text(choices), "c2ln"),
            3 => reply.block(&format!(r#"{{"type":"hologram","x":{}}}"#, json(choices, 3))),
            _ => reply.tool_use(&format!("toolu_{i}"), choices.one_of(&["plain", "nope"]), &format!("{{\"a\":{}}}", json(choices, 3))),
        };
    }
    match choices.below(5) {
        0 => reply.stop(choices.one_of(&["max_tokens", "refusal", "end_turn", "something_new"])),
        1 => reply.stop_sequence("STOP"),
        2 => reply.container("container_1"),
        _ => reply,
    }
}

fn text(choices: &mut Choices<'_>) -> String {
    const PARTS: [&str; 12] = ["a", "word ", "\"", "\\", "\n", "\t", "\u{0}", "é", "日本", "😀", "</", "\u{2028}"];
    // The API sends no empty text block.
    (0..=choices.below(40)).map(|_| choices.one_of(&PARTS)).collect()
}

/// JSON, at most so many levels deep.
pub(crate) fn json(choices: &mut Choices<'_>, levels: usize) -> String {
    let quoted = |text: String| serde_json::Value::from(text).to_string();
    match choices.below(if levels == 0 { 5 } else { 7 }) {
        0 => "null".to_owned(),
        1 => choices.one_of(&["true", "false"]).to_owned(),
        2 => choices.one_of(&["0", "-1", "1.50", "1e3", "12345678901234567890", "-0.0"]).to_owned(),
        3 => choices.below(256).to_string(),
        4 => quoted(text(choices)),
        5 => {
            let elements: Vec<String> = (0..choices.below(4)).map(|_| json(choices, levels - 1)).collect();
            format!("[{}]", elements.join(","))
        }
        _ => {
            let members: Vec<String> = (0..choices.below(4)).map(|i| format!("\"m{i}\":{}", json(choices, levels - 1))).collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

/// The conversation that a reply makes, as an array, and what else the run knows of it.
fn message(reply: &Reply, style: &Style, stream: bool) -> (Vec<u8>, String) {
    let mut model = ScriptedModel::new(Script::new().reply(reply.clone())).style(style.clone()).lenient();
    let request = format!(r#"{{"model":"m","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#);
    // The request's length counts in the usage, so it must be the same.
    let padded = format!("{request:<120}");
    let body = model.respond(Request::new("/v1/messages", padded)).bytes();
    let mut run = Run::new(Transcript::growing());
    run.user("Hi").expect("room for it");
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    run.answered(&ReplyHead::new(200));
    let mut rest = body.as_slice();
    while run.feed(&mut rest).expect("a good reply").is_some() {}
    while run.end_of_body().expect("a whole reply").is_some() {}
    let known = format!("{:?} {:?} {:?}", run.stop_reason(), run.turn_usage(), run.container());
    ([b"[", run.transcript().bytes(), b"]"].concat(), known)
}
