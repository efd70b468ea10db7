//! Recording of contents in spans: messages in the format of the conventions, up to a limit.

use serde_json::{Value as Json, json};
use tracing::Span;

/// Records the newest of `messages` that fit in `limit` bytes, in the format of the conventions.
pub(super) fn record_messages<'a>(
    span: &Span,
    name: &'static str,
    messages: impl DoubleEndedIterator<Item = &'a Json>,
    limit: usize,
) {
    let (mut kept, mut bytes, mut is_cut) = (Vec::new(), 2, false);
    for message in messages.rev() {
        let text = in_parts(message).to_string();
        bytes += text.len() + 1;
        if bytes > limit {
            is_cut = true;
            break;
        }
        kept.push(text);
    }
    kept.reverse();
    span.record(name, format!("[{}]", kept.join(",")));
    if is_cut {
        span.record("toolrunner.content.truncated", true);
    }
}

/// Records `text`, or only that it is too long.
pub(super) fn record_text(span: &Span, name: &'static str, text: &str, limit: usize) {
    if text.len() <= limit {
        span.record(name, text);
    } else {
        span.record("toolrunner.content.truncated", true);
    }
}

/// Converts a message to the format of the conventions: a role and parts.
fn in_parts(message: &Json) -> Json {
    let parts: Vec<Json> = match &message["content"] {
        Json::String(text) => vec![json!({"type": "text", "content": text})],
        Json::Array(blocks) => blocks.iter().map(part).collect(),
        _ => Vec::new(),
    };
    let mut out = json!({"role": message["role"], "parts": parts});
    if let Some(reason) = message["stop_reason"].as_str() {
        out["finish_reason"] = reason.into();
    }
    out
}

fn part(block: &Json) -> Json {
    match block["type"].as_str().unwrap_or_default() {
        "text" => json!({"type": "text", "content": block["text"]}),
        "thinking" => json!({"type": "reasoning", "content": block["thinking"]}),
        "tool_use" => {
            json!({"type": "tool_call", "id": block["id"], "name": block["name"], "arguments": block["input"]})
        }
        "tool_result" => {
            let content = serde_json::to_vec(&block["content"]).unwrap_or_default();
            json!({"type": "tool_call_response", "id": block["tool_use_id"], "response": without_data(&content)})
        }
        kind => json!({"type": kind}),
    }
}

/// Returns a tool's content as JSON text, with only the types of blocks that are not text.
pub(super) fn without_data(content: &[u8]) -> String {
    match serde_json::from_slice(content) {
        Ok(Json::Array(blocks)) => {
            let kept = blocks.into_iter().map(|block| {
                if block["type"] == "text" { block } else { json!({"type": block["type"]}) }
            });
            Json::Array(kept.collect()).to_string()
        }
        Ok(Json::String(text)) => text,
        _ => String::from_utf8_lossy(content).into_owned(),
    }
}
