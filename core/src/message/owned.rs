//! Messages that own their text.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use super::{Block, Message, Role, StopReason, ToolUse, Usage};
use crate::json::{JsonError, Text, Value, check, escape};

/// The reason why a text is not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MessageError {
    /// The text is not valid JSON.
    Json(JsonError),
    /// A string contains an unpaired surrogate, which no request can carry. Contains its offset in
    /// bytes.
    LoneSurrogate(usize),
    /// The text is not an object with a role and a content.
    Shape,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(e) => write!(f, "not valid JSON: {e}"),
            Self::LoneSurrogate(at) => write!(f, "at byte {at}: unpaired surrogate"),
            Self::Shape => {
                f.write_str("not a message: expected an object with `role` and `content`")
            }
        }
    }
}

impl core::error::Error for MessageError {}

/// A message that owns its JSON text. The text is sent back to the API byte for byte as it was
/// received.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedMessage {
    json: Box<str>,
}

impl OwnedMessage {
    /// Creates a message from its JSON text. White space around the text is removed.
    ///
    /// # Errors
    /// Returns [`MessageError`] if `json` is not valid JSON, contains an unpaired surrogate, or is
    /// not an object with a role and a content. Roles and kinds of blocks are not checked, because
    /// the server may know values that are unknown here.
    pub fn from_json(json: &str) -> Result<Self, MessageError> {
        let checked = check(json.as_bytes()).map_err(MessageError::Json)?;
        if let Some(at) = checked.lone_surrogate {
            return Err(MessageError::LoneSurrogate(at));
        }
        let json = json.trim_ascii();
        let value = Value::first(json.as_bytes()).ok_or(MessageError::Shape)?;
        let message = Message::new(value).ok_or(MessageError::Shape)?;
        let has = |name| message.value().member(name).is_some_and(|value| !value.is_null());
        if !has("role") || !has("content") {
            return Err(MessageError::Shape);
        }
        Ok(Self { json: json.into() })
    }

    /// Creates a message of the user with the content `text`.
    pub fn user(text: &str) -> Self {
        Self::plain(Role::User, text)
    }

    /// Creates a message of the model with the content `text`.
    pub fn assistant(text: &str) -> Self {
        Self::plain(Role::Assistant, text)
    }

    fn plain(role: Role, text: &str) -> Self {
        let mut json = alloc::vec::Vec::with_capacity(text.len() + 40);
        json.extend_from_slice(b"{\"role\":\"");
        json.extend_from_slice(role.name().as_bytes());
        json.extend_from_slice(b"\",\"content\":\"");
        // A vector never runs out of space, and the escaped form of a text is valid UTF-8.
        let _ = escape(text).write_to(&mut json);
        json.extend_from_slice(b"\"}");
        Self { json: String::from_utf8(json).unwrap_or_default().into() }
    }

    /// Returns the JSON text.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// Returns a view of the message.
    pub fn view(&self) -> Message<'_> {
        Message(Value::first(self.json.as_bytes()).unwrap_or(Value::NULL))
    }

    /// Returns the role of the message, or `None` if the role is unknown.
    pub fn role(&self) -> Option<Role> {
        self.view().role()
    }

    /// Returns an iterator over the blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'_>> + Clone + fmt::Debug {
        self.view().blocks()
    }

    /// Returns the text of all text blocks, concatenated.
    pub fn text(&self) -> String {
        use fmt::Write;
        let mut all = String::new();
        for text in self.view().texts() {
            // Writing to a string cannot fail.
            let _ = write!(all, "{text}");
        }
        all
    }

    /// Returns an iterator over the calls that the caller must run, in order.
    pub fn tool_uses(&self) -> impl Iterator<Item = ToolUse<'_>> {
        self.view().tool_uses()
    }
}

impl From<Message<'_>> for OwnedMessage {
    /// Copies the text of the message.
    fn from(message: Message<'_>) -> Self {
        Self { json: message.value().as_json().into() }
    }
}

impl fmt::Debug for OwnedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}

/// A whole reply that owns its JSON text: a message, and the server's information about it.
#[derive(Clone, PartialEq, Eq)]
pub struct ReplyMessage {
    message: OwnedMessage,
}

impl ReplyMessage {
    /// Creates a reply from its JSON text. White space around the text is removed.
    ///
    /// # Errors
    /// Returns [`MessageError`] if `json` is not valid JSON, contains an unpaired surrogate, or is
    /// not an object with a role and a content.
    pub fn from_json(json: &str) -> Result<Self, MessageError> {
        OwnedMessage::from_json(json).map(|message| Self { message })
    }

    /// Returns the message to send back in the next request: the role and the content of the reply,
    /// byte for byte.
    pub fn to_message(&self) -> OwnedMessage {
        let (role, content) = (self.view().value().member("role"), self.view().content());
        let role = role.unwrap_or(Value::NULL).as_json();
        OwnedMessage {
            json: alloc::format!("{{\"role\":{role},\"content\":{}}}", content.as_json()).into(),
        }
    }

    /// Returns the JSON text, including fields without an accessor.
    pub fn as_json(&self) -> &str {
        self.message.as_json()
    }

    /// Returns any field of the reply by name, or `None` if the field is missing or `null`.
    pub fn field(&self, name: &str) -> Option<Value<'_>> {
        self.view().value().member(name).filter(|value| !value.is_null())
    }

    fn text_field(&self, name: &str) -> Option<Text<'_>> {
        self.field(name).and_then(Value::as_text)
    }

    /// Returns the server's id of the message. Empty if the server sent no id.
    pub fn id(&self) -> Text<'_> {
        self.text_field("id").unwrap_or_default()
    }

    /// Returns the name of the model that wrote the reply, or an empty text if the reply does not
    /// name it.
    pub fn model(&self) -> Text<'_> {
        self.text_field("model").unwrap_or_default()
    }

    /// Returns the reason why the turn ended, or `None` if the reply does not contain it.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.text_field("stop_reason").map(StopReason::from_text)
    }

    /// Returns the reason why the turn ended as the server writes it, or `None` if the reply does
    /// not contain it.
    pub fn stop_reason_text(&self) -> Option<Text<'_>> {
        self.text_field("stop_reason")
    }

    /// Returns the stop sequence that the model produced, or `None` if there is none.
    pub fn stop_sequence(&self) -> Option<Text<'_>> {
        self.text_field("stop_sequence")
    }

    /// Returns the details of a refusal, or `None` if there are none.
    pub fn stop_details(&self) -> Option<Value<'_>> {
        self.field("stop_details")
    }

    /// Returns the id of the container in which code ran on the server, or `None` if no code ran.
    pub fn container_id(&self) -> Option<Text<'_>> {
        self.field("container")?.member("id")?.as_text()
    }

    /// Returns the number of tokens that the turn used.
    pub fn usage(&self) -> Usage {
        self.field("usage").map(Usage::from_wire).unwrap_or_default()
    }

    /// Returns a view of the reply.
    pub fn view(&self) -> Message<'_> {
        self.message.view()
    }

    /// Returns an iterator over the blocks, in order.
    pub fn blocks(&self) -> impl Iterator<Item = Block<'_>> + Clone + fmt::Debug {
        self.message.blocks()
    }

    /// Returns the text of all text blocks, concatenated.
    pub fn text(&self) -> String {
        self.message.text()
    }

    /// Returns an iterator over the calls that the caller must run, in order.
    pub fn tool_uses(&self) -> impl Iterator<Item = ToolUse<'_>> {
        self.message.tool_uses()
    }
}

impl fmt::Debug for ReplyMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

/// Serializes messages verbatim through `serde_json::value::RawValue`: unknown kinds and fields,
/// numbers of any size and the order of keys are preserved. Only serde_json's own serializers and
/// deserializers support such values. A [`serde_json::Value`] in between rounds numbers, unless the
/// program enables the feature `arbitrary_precision` of serde_json.
#[cfg(feature = "serde-json")]
mod bridge {
    use alloc::boxed::Box;

    use serde::de::Error as _;
    use serde::ser::Error as _;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use serde_json::value::RawValue;

    use super::{OwnedMessage, ReplyMessage};

    macro_rules! bridge {
        ($type:ident) => {
            impl Serialize for $type {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    let raw: &RawValue =
                        serde_json::from_str(self.as_json()).map_err(S::Error::custom)?;
                    raw.serialize(serializer)
                }
            }

            impl<'de> Deserialize<'de> for $type {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    let raw = Box::<RawValue>::deserialize(deserializer)?;
                    Self::from_json(raw.get()).map_err(D::Error::custom)
                }
            }
        };
    }

    bridge!(OwnedMessage);
    bridge!(ReplyMessage);
}
