//! Requests and conversations as text, for the messages of assertions and for reading.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use super::request::Request;
use crate::json::{Kind, Value, check};
use crate::message::{Block, Message, Messages, Role};

/// The messages of a transcript as text: one paragraph for each message, one line or more for each
/// block.
///
/// The argument is the text of a transcript, with or without surrounding brackets. Texts, inputs
/// and results are complete. Of an image or a document, only the size of its JSON is shown. Blocks
/// of other kinds are shown as JSON.
///
/// ```
/// use toolrunner_core::testing::Conversation;
/// let transcript = r#"{"role":"user","content":"Weather?"},
///     {"role":"assistant",
///      "content":[{"type":"tool_use","id":"t1","name":"weather","input":{"city":"Bonn"}}]},
///     {"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"Rain"}]}"#;
/// let text = "\
/// user: Weather?
/// assistant: call t1: weather {\"city\":\"Bonn\"}
/// user: result of t1: Rain
/// ";
/// assert_eq!(Conversation(transcript.as_bytes()).to_string(), text);
/// ```
#[derive(Clone, Copy)]
pub struct Conversation<'a>(pub &'a [u8]);

impl fmt::Display for Conversation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.trim_ascii();
        let inside = text.strip_prefix(b"[").and_then(|text| text.strip_suffix(b"]"));
        let messages = inside.unwrap_or(text);
        if check(&[b"[", messages, b"]"].concat()).is_err() {
            return writeln!(f, "not a transcript: {}", String::from_utf8_lossy(messages));
        }
        Messages::new(messages).try_for_each(|message| write_message(f, message))
    }
}

/// Writes the text, because the messages of assertions use `Debug`.
impl fmt::Debug for Conversation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Writes the request as text: the path without its query, the model and the other parameters, the
/// names of the tools, the system prompt, and the messages as a [`Conversation`]. Header fields are
/// not shown, because they may be secrets. A body that is not JSON is shown as it is.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        let json = self.json();
        if json.kind() != Kind::Object {
            return writeln!(f, "{path}\n{}", String::from_utf8_lossy(&self.body));
        }
        writeln!(f, "{path}")?;
        for (name, value) in json.members() {
            let name = name.to_string();
            match name.as_str() {
                "messages" => {}
                "system" => {
                    let parts = match value.as_text() {
                        Some(text) => Vec::from([text.to_string()]),
                        None => value.elements().map(|block| line_of(Block::new(block))).collect(),
                    };
                    parts.iter().try_for_each(|part| write_line(f, "system: ", part))?;
                }
                "tools" => {
                    let names: Vec<String> = value.elements().map(name_of).collect();
                    writeln!(f, "tools: {}", names.join(", "))?;
                }
                _ => match value.as_text() {
                    Some(text) => write_line(f, &format!("{name}: "), &text.to_string())?,
                    None => writeln!(f, "{name}: {value}")?,
                },
            }
        }
        write!(f, "{}", Conversation(self.transcript()))
    }
}

/// Returns the name of a tool, or its type if it has no name.
fn name_of(tool: Value<'_>) -> String {
    let text = |member| tool.member(member).and_then(Value::as_text);
    text("name").or_else(|| text("type")).unwrap_or_default().to_string()
}

fn write_message(f: &mut fmt::Formatter<'_>, message: Message<'_>) -> fmt::Result {
    let role = message.role().map_or_else(
        || message.value().member("role").unwrap_or(Value::NULL).to_string(),
        |role: Role| role.name().to_string(),
    );
    let blocks: Vec<String> = message.blocks().map(line_of).collect();
    if blocks.is_empty() {
        return writeln!(f, "{role}: {}", message.content());
    }
    blocks.iter().try_for_each(|block| write_line(f, &format!("{role}: "), block))
}

/// Writes a text of one line or more. Further lines are indented.
fn write_line(f: &mut fmt::Formatter<'_>, start: &str, text: &str) -> fmt::Result {
    writeln!(f, "{start}{}", text.replace('\n', "\n    "))
}

/// Returns a block as text.
fn line_of(block: Block<'_>) -> String {
    match block {
        Block::Text(text) => text.text().to_string(),
        Block::Thinking(thinking) => format!("thinking: {}", thinking.thinking()),
        Block::ToolUse(call) => format!("call {}: {} {}", call.id(), call.name(), call.input()),
        Block::ToolResult(result) => {
            let kind = if result.is_error() { "error of" } else { "result of" };
            let content: Vec<String> = result.content().map(line_of).collect();
            format!("{kind} {}: {}", result.tool_use_id(), content.join("\n"))
        }
        Block::Image(_) | Block::Document(_) => {
            format!("{} ({} bytes of JSON)", block.kind(), block.raw().len())
        }
        other => String::from_utf8_lossy(other.raw()).into_owned(),
    }
}
