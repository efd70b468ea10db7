//! A request to the scripted model.

use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use crate::json::{Array, Value, check};
use crate::message::Messages;

/// A request, as the server receives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The path, including the query.
    pub path: String,
    /// The header fields, in order.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// Creates a request with the header fields that every request must have.
    pub fn new(path: &str, body: impl Into<Vec<u8>>) -> Self {
        let version = ("anthropic-version".to_string(), "2023-06-01".to_string());
        Self { path: path.to_string(), headers: vec![version], body: body.into() }
    }

    /// Returns the value of a header field. The case of the name does not matter.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Returns the body as JSON, or `null` if it is not valid JSON.
    pub fn json(&self) -> Value<'_> {
        if check(&self.body).is_err() {
            return Value::NULL;
        }
        Value::first(&self.body).unwrap_or(Value::NULL)
    }

    /// Returns the messages in the format of a transcript: without surrounding brackets.
    pub fn transcript(&self) -> &[u8] {
        let messages = self.json().member("messages").unwrap_or(Value::NULL).raw();
        messages.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or_default()
    }

    /// Returns the messages.
    pub fn messages(&self) -> Messages<'_> {
        Messages::new(self.transcript())
    }

    /// Returns the tool definitions.
    pub fn tools(&self) -> Array<'_> {
        self.json().member("tools").unwrap_or(Value::NULL).elements()
    }

    /// Returns whether a tool with this name is defined.
    pub fn has_tool(&self, name: &str) -> bool {
        self.tools().any(|tool| {
            tool.member("name").and_then(Value::as_text).is_some_and(|text| text == *name)
        })
    }

    /// Returns the id of the reply whose message thread the request continues.
    pub fn continued(&self) -> Option<String> {
        let thread = self.json().member("thread")?;
        let continues = thread.member("type")?.is_text("continue");
        let id = thread.member("previous_message_id")?.as_text()?;
        continues.then(|| id.to_string())
    }

    /// Returns whether the request asks for a stream.
    pub fn stream(&self) -> bool {
        self.json().member("stream").and_then(Value::as_bool).unwrap_or(false)
    }
}
