//! Messages in the form of chat completions, which the HTTP interface uses, and their conversion
//! for the model.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

/// A message of a session.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct ChatMessage {
    pub(crate) role: ChatRole,
    /// The text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reasoning_details: Option<Vec<Value>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tool_calls: Option<Vec<ToolCall>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) tool_call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) base64_image: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) user_params: Option<Map<String, Value>>,
}

/// Who says a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ChatRole {
    System,
    #[default]
    User,
    Assistant,
    Tool,
}

/// A call in a chat message.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct ToolCall {
    pub(crate) id: String,
    #[serde(rename = "type", default = "function")]
    pub(crate) kind: String,
    pub(crate) function: Function,
}

/// What a call calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The input: a JSON object, as a string.
    pub(crate) arguments: String,
}

fn function() -> String {
    "function".to_owned()
}

impl ToolCall {
    pub(crate) fn new(id: String, name: String, arguments: String) -> Self {
        Self { id, kind: function(), function: Function { name, arguments } }
    }
}

impl ChatRole {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::System, Self::User, Self::Assistant, Self::Tool]
            .into_iter()
            .find(|role| role.name() == name)
    }
}

impl ChatMessage {
    pub(crate) fn new(role: ChatRole, content: impl Into<String>) -> Self {
        Self { role, content: Some(content.into()), ..Self::default() }
    }
}

/// A message that is sent to a session. Its content is a string or an array of blocks.
#[derive(Clone, Debug)]
pub(crate) struct SentMessage {
    pub(crate) role: ChatRole,
    /// A JSON string, or a JSON array of blocks.
    pub(crate) content: Box<RawValue>,
    pub(crate) base64_image: Option<String>,
}

impl SentMessage {
    /// Returns the blocks of the content, as a JSON array.
    pub(crate) fn blocks(&self) -> Box<RawValue> {
        let image = self.base64_image.as_deref().and_then(image_block);
        match (serde_json::from_str::<String>(self.content.get()), image) {
            (Err(_), None) => self.content.clone(),
            (Err(_), Some(image)) => {
                let mut blocks: Vec<Value> =
                    serde_json::from_str(self.content.get()).unwrap_or_default();
                blocks.push(image);
                raw(&blocks)
            }
            (Ok(text), image) => {
                let text = json!({"type": "text", "text": text});
                raw(&[Some(text), image].into_iter().flatten().collect::<Vec<_>>())
            }
        }
    }

    /// Returns the message in the form that the model receives, as JSON.
    pub(crate) fn for_model(&self, system_messages: bool) -> String {
        let role = match self.role {
            ChatRole::System if system_messages => "system",
            // What is sent to the agent is the user's turn in the conversation, whatever its role
            // says: after a message of the assistant, the API would have nothing to answer.
            ChatRole::System | ChatRole::Assistant | ChatRole::Tool | ChatRole::User => "user",
        };
        let blocks;
        let content = if self.base64_image.is_some() {
            blocks = self.blocks();
            &blocks
        } else {
            &self.content
        };
        format!("{{\"role\":\"{role}\",\"content\":{}}}", content.get())
    }
}

/// Serializes a value that cannot fail, such as a map with string keys.
pub(crate) fn raw(value: &(impl Serialize + ?Sized)) -> Box<RawValue> {
    to_raw_value(value).unwrap_or_default()
}

/// Returns the text of a content: its string, or its text blocks joined with newlines.
pub(crate) fn text_of(content: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Block {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        text: Option<String>,
    }
    if let Ok(text) = serde_json::from_str::<String>(content.get()) {
        return Some(text);
    }
    let blocks: Vec<Block> = serde_json::from_str(content.get()).ok()?;
    let texts: Vec<String> = blocks
        .into_iter()
        .filter(|block| block.kind == "text")
        .filter_map(|block| block.text)
        .collect();
    (!texts.is_empty()).then(|| texts.join("\n"))
}

/// Builds an image block from base64 data. The media type follows from the first bytes; returns
/// `None` for a type that the API does not accept.
fn image_block(data: &str) -> Option<Value> {
    let data = data.split_once(";base64,").map_or(data, |(_, data)| data);
    let types = [
        ("iVBOR", "image/png"),
        ("/9j/", "image/jpeg"),
        ("R0lGOD", "image/gif"),
        ("UklGR", "image/webp"),
    ];
    let (_, media_type) = types.into_iter().find(|(start, _)| data.starts_with(start))?;
    Some(
        json!({"type": "image", "source": {"type": "base64", "media_type": media_type, "data": data}}),
    )
}

/// Converts messages into the conversation that the model receives: JSON objects separated by
/// commas. The API always accepts it: calls without a result and results without a call are left
/// out.
pub(crate) fn transcript_of(messages: &[ChatMessage], system_messages: bool) -> String {
    let mut out: Vec<Value> = Vec::new();
    let mut rest = messages.iter().peekable();
    while let Some(message) = rest.next() {
        let content = message.content.as_deref().filter(|text| !text.trim().is_empty());
        let image = message.base64_image.as_deref().and_then(image_block);
        match message.role {
            ChatRole::Assistant => {
                let mut results = Vec::new();
                while let Some(result) = rest.next_if(|next| next.role == ChatRole::Tool) {
                    results.push(result);
                }
                push_assistant(&mut out, message, content, &results);
            }
            ChatRole::System | ChatRole::User | ChatRole::Tool => {
                let role = if message.role == ChatRole::System && system_messages {
                    "system"
                } else {
                    "user"
                };
                match (content, image) {
                    (Some(text), None) => out.push(json!({"role": role, "content": text})),
                    (None, Some(image)) => out.push(json!({"role": role, "content": [image]})),
                    (Some(text), Some(image)) => out.push(
                        json!({"role": role, "content": [{"type": "text", "text": text}, image]}),
                    ),
                    (None, None) => {}
                }
            }
        }
    }
    let texts: Vec<String> = out.iter().map(Value::to_string).collect();
    texts.join(",")
}

/// Appends an assistant message, and the user message with the results of its calls.
fn push_assistant(
    out: &mut Vec<Value>,
    message: &ChatMessage,
    content: Option<&str>,
    results: &[&ChatMessage],
) {
    let text = content.map(|text| json!({"type": "text", "text": text}));
    let (mut blocks, mut answers, mut seen) = (Vec::from_iter(text), Vec::new(), HashSet::new());
    for call in message.tool_calls.iter().flatten() {
        let result = results.iter().find(|result| result.tool_call_id.as_ref() == Some(&call.id));
        let input =
            serde_json::from_str::<Value>(&call.function.arguments).ok().filter(Value::is_object);
        let (Some(result), Some(input), true) = (result, input, seen.insert(&call.id)) else {
            continue;
        };
        blocks.push(
            json!({"type": "tool_use", "id": call.id, "name": call.function.name, "input": input}),
        );
        let text = result.content.as_deref().filter(|text| !text.is_empty());
        answers.push(match text {
            Some(text) => json!({"type": "tool_result", "tool_use_id": call.id, "content": text}),
            None => json!({"type": "tool_result", "tool_use_id": call.id}),
        });
    }
    match (content, answers.is_empty()) {
        // The text is a string if there is no other block.
        (Some(text), true) => out.push(json!({"role": "assistant", "content": text})),
        (None, true) => {}
        (_, false) => {
            out.push(json!({"role": "assistant", "content": blocks}));
            out.push(json!({"role": "user", "content": answers}));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(json: Value) -> Vec<ChatMessage> {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn calls_and_results_become_blocks() {
        let state = messages(json!([
            {"role": "user", "content": "sum"},
            {"role": "assistant", "content": "", "tool_calls": [
                {"id": "a", "function": {"name": "sum", "arguments": "{\"a\":1}"}},
                {"id": "lost", "function": {"name": "sum", "arguments": "{}"}}]},
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "assistant", "content": "It is 1."},
        ]));
        let json: Value =
            serde_json::from_str(&format!("[{}]", transcript_of(&state, false))).unwrap();
        let expected = json!([
            {"role": "user", "content": "sum"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "sum", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "1"}]},
            {"role": "assistant", "content": "It is 1."},
        ]);
        assert_eq!(json, expected);
    }

    #[test]
    fn what_the_api_would_refuse_is_left_out() {
        let state = messages(json!([
            {"role": "user", "content": "  "},
            {"role": "system", "content": "Be kind."},
            {"role": "assistant", "tool_calls": [{"id": "x", "function": {"name": "f", "arguments": "{}"}}]},
            {"role": "user", "base64_image": "iVBORw0KGgo="},
        ]));
        let json: Value =
            serde_json::from_str(&format!("[{}]", transcript_of(&state, false))).unwrap();
        assert_eq!(json[0], json!({"role": "user", "content": "Be kind."}));
        assert_eq!(json[1]["content"][0]["source"]["media_type"], "image/png");
        assert_eq!(json.as_array().unwrap().len(), 2);
    }
}
