//! Builds replies of the model from choices.

use toolrunner_core::testing::{ScriptedReply, Style};

use crate::choices::Choices;

/// Builds a reply of at most 8 blocks, the number that may be open at once. The ids of its calls
/// contain `name` twice, so that changing one byte cannot turn one id into another.
pub fn reply(choices: &mut Choices<'_>, name: &str) -> ScriptedReply {
    let mut reply = ScriptedReply::new();
    for i in 0..choices.one_of(&[1, 2, 3, 1, 2, 4, 0, 8]) {
        let id = format!("{name}-{i}-{name}-{i}");
        reply = match choices.below(12) {
            0..=2 => reply.and_text(&text(choices)),
            3 => reply.thinking(&text(choices), "c2ln"),
            4 => reply.block(&format!(r#"{{"type":"hologram","x":{}}}"#, json(choices, 3))),
            5 => reply.block(&server(choices, &id)),
            _ => reply.tool_use(
                &id,
                choices.one_of(&["plain", "nope"]),
                &format!("{{\"a\":{}}}", json(choices, 3)),
            ),
        };
    }
    match choices.below(8) {
        0 | 1 => {
            reply.stop(choices.one_of(&["max_tokens", "refusal", "end_turn", "something_new"]))
        }
        2 => reply.stop_sequence("STOP"),
        3 => reply.container("container_1"),
        4 => reply.stop(choices.one_of(&["pause_turn", "compaction", "tool_use"])),
        _ => reply,
    }
}

/// Builds a block that the server's side creates.
fn server(choices: &mut Choices<'_>, id: &str) -> String {
    let quoted = |text: String| serde_json::Value::from(text).to_string();
    match choices.below(8) {
        0 => format!(
            r#"{{"type":"server_tool_use","id":"s{id}","name":"web_search","input":{{"q":{}}}}}"#,
            json(choices, 2)
        ),
        1 => format!(
            r#"{{"type":"mcp_tool_use","id":"m{id}","name":"n","server_name":"s","input":{{"q":{}}}}}"#,
            json(choices, 2)
        ),
        2 => format!(
            r#"{{"type":"web_search_tool_result","tool_use_id":"s{id}","content":[{}]}}"#,
            json(choices, 2)
        ),
        3 => r#"{"type":"redacted_thinking","data":"ZGF0YQ=="}"#.to_owned(),
        4 => r#"{"type":"fallback","from":{"model":"a"},"to":{"model":"b"}}"#.to_owned(),
        5 => format!(
            r#"{{"type":"compaction","content":{},"encrypted_content":"ZQ=="}}"#,
            quoted(text(choices))
        ),
        6 => r#"{"type":"compaction","content":null}"#.to_owned(),
        _ => {
            let citations: Vec<String> = (0..choices.below(4))
                .map(|_| format!("{{\"cited_text\":{}}}", quoted(text(choices))))
                .collect();
            format!(
                r#"{{"type":"text","text":{},"citations":[{}]}}"#,
                quoted(text(choices)),
                citations.join(",")
            )
        }
    }
}

/// Builds a reply with flaws that no good server sends: calls with equal or missing ids, and inputs
/// that are truncated or not objects.
pub fn odd_reply(choices: &mut Choices<'_>, name: &str) -> ScriptedReply {
    let reply = reply(choices, name);
    let id = format!("{name}-9-{name}-9");
    match choices.below(9) {
        0 => reply.tool_use(&id, "plain", "{}").tool_use(&id, "plain", "{}"),
        1 => reply.tool_use("", "plain", "{}"),
        2 => reply.tool_use(&id, "", "{}"),
        3 => reply.block(&format!(r#"{{"type":"server_tool_use","id":"s{id}","input":{{}}}}"#)),
        4 => reply.block(r#"{"type":"tool_result","tool_use_id":"t","content":"x"}"#),
        5 => reply.error_event("overloaded_error", "Overloaded"),
        6 => reply.ends_early(),
        7 => reply.tool_use_cut(
            &id,
            "plain",
            choices.one_of(&["{\"a\":", "[1]", "x", "\"\\", "{\"a\":\"\\ud83d\"}"]),
        ),
        _ => reply.tool_use(&id, "plain", &json(choices, 2)),
    }
}

/// Builds the style of a reply on the wire.
pub fn style(choices: &mut Choices<'_>) -> Style {
    Style {
        delta: 1 + choices.below(40),
        pings: choices.below(2) == 1,
        comments: choices.below(2) == 1,
        interleaved: choices.below(2) == 1,
        crlf: choices.below(2) == 1,
        event_lines: choices.below(2) == 1,
        ascii: choices.below(2) == 1,
        ..Style::default()
    }
}

fn text(choices: &mut Choices<'_>) -> String {
    const PARTS: [&str; 12] =
        ["a", "word ", "\"", "\\", "\n", "\t", "\u{0}", "é", "日本", "😀", "</", "\u{2028}"];
    // Few choices, so that a short input yields many replies. The API sends no empty text block.
    let (length, first, step) =
        (1 + choices.below(40), choices.below(PARTS.len()), choices.below(PARTS.len()));
    (0..length).map(|i| PARTS[(first + i * step) % PARTS.len()]).collect()
}

/// Builds JSON with at most `levels` levels.
pub fn json(choices: &mut Choices<'_>, levels: usize) -> String {
    let quoted = |text: String| serde_json::Value::from(text).to_string();
    match choices.below(if levels == 0 { 5 } else { 7 }) {
        0 => "null".to_owned(),
        1 => choices.one_of(&["true", "false"]).to_owned(),
        2 => choices.one_of(&["0", "-1", "1.50", "1e3", "12345678901234567890", "-0.0"]).to_owned(),
        3 => choices.below(256).to_string(),
        4 => quoted(text(choices)),
        5 => {
            let elements: Vec<String> =
                (0..choices.below(4)).map(|_| json(choices, levels - 1)).collect();
            format!("[{}]", elements.join(","))
        }
        _ => {
            let members: Vec<String> = (0..choices.below(4))
                .map(|i| format!("\"m{i}\":{}", json(choices, levels - 1)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}
