//! Messages that own their text.

use alloc::boxed::Box;
use alloc::string::String;
use core::fmt;

use super::{Blocks, Message, Role, StopReason, ToolUse, Usage};
use crate::json::{JsonError, Text, Value, check, escape};

/// Why a text is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotAMessage {
    /// It is no JSON.
    Json(JsonError),
    /// It has an escape that stands for half a character, which no request can carry; the offset in
    /// bytes.
    LoneSurrogate(usize),
    /// It is no object with a role and a content.
    Shape,
}

impl fmt::Display for NotAMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(e) => write!(f, "not valid JSON: {e}"),
            Self::LoneSurrogate(at) => write!(f, "at byte {at}: half of a surrogate pair"),
            Self::Shape => {
                f.write_str("not a message: expected an object with a role and a content")
            }
        }
    }
}

impl core::error::Error for NotAMessage {}

/// A message that owns its JSON text. It goes back to the wire byte for byte as it came.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedMessage {
    json: Box<str>,
}

impl OwnedMessage {
    /// The message whose JSON is `json`. White space around it is left out.
    ///
    /// # Errors
    /// What is wrong with it. Roles and kinds of block are not judged: those that are unknown here
    /// may be known to the server.
    pub fn from_json(json: &str) -> Result<Self, NotAMessage> {
        let checked = check(json.as_bytes()).map_err(NotAMessage::Json)?;
        if let Some(at) = checked.lone_surrogate {
            return Err(NotAMessage::LoneSurrogate(at));
        }
        let json = json.trim_ascii();
        let value = Value::first(json.as_bytes()).ok_or(NotAMessage::Shape)?;
        let message = Message::new(value).ok_or(NotAMessage::Shape)?;
        let has = |name| message.value().member(name).is_some_and(|value| !value.is_null());
        if !has("role") || !has("content") {
            return Err(NotAMessage::Shape);
        }
        Ok(Self { json: json.into() })
    }

    /// A message of the user that says `text`.
    pub fn user(text: &str) -> Self {
        Self::plain(Role::User, text)
    }

    /// A message of the model that says `text`.
    pub fn assistant(text: &str) -> Self {
        Self::plain(Role::Assistant, text)
    }

    fn plain(role: Role, text: &str) -> Self {
        let mut json = alloc::vec::Vec::with_capacity(text.len() + 40);
        json.extend_from_slice(b"{\"role\":\"");
        json.extend_from_slice(role.name().as_bytes());
        json.extend_from_slice(b"\",\"content\":\"");
        // A growing vector is never full, and the escaped form of a text is a text.
        let _ = escape(text).write_to(&mut json);
        json.extend_from_slice(b"\"}");
        Self { json: String::from_utf8(json).unwrap_or_default().into() }
    }

    /// The JSON text.
    pub fn as_json(&self) -> &str {
        &self.json
    }

    /// The same message as a view.
    pub fn view(&self) -> Message<'_> {
        Message(Value::first(self.json.as_bytes()).unwrap_or(Value::NULL))
    }

    /// Who it is from; nothing if the role is unknown.
    pub fn role(&self) -> Option<Role> {
        self.view().role()
    }

    /// The blocks, in order.
    pub fn blocks(&self) -> Blocks<'_> {
        self.view().blocks()
    }

    /// All text blocks, joined.
    pub fn text(&self) -> String {
        use fmt::Write;
        let mut all = String::new();
        for text in self.view().texts() {
            // Writing to a string does not fail.
            let _ = write!(all, "{text}");
        }
        all
    }

    /// The calls that the model asks the caller to run, in order.
    pub fn tool_uses(&self) -> impl Iterator<Item = ToolUse<'_>> {
        self.view().tool_uses()
    }
}

impl From<Message<'_>> for OwnedMessage {
    /// Copies the message's text.
    fn from(message: Message<'_>) -> Self {
        Self { json: message.value().as_json().into() }
    }
}

impl fmt::Debug for OwnedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.json)
    }
}

/// A whole reply that owns its JSON text: a message, and what the server tells about it.
#[derive(Clone, PartialEq, Eq)]
pub struct ReplyMessage {
    message: OwnedMessage,
}

impl ReplyMessage {
    /// The reply whose JSON is `json`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn from_json(json: &str) -> Result<Self, NotAMessage> {
        OwnedMessage::from_json(json).map(|message| Self { message })
    }

    /// The reply as the message that goes back in the next request: its role and its content, byte
    /// for byte.
    pub fn to_message(&self) -> OwnedMessage {
        let (role, content) = (self.view().value().member("role"), self.view().content());
        let role = role.unwrap_or(Value::NULL).as_json();
        OwnedMessage {
            json: alloc::format!("{{\"role\":{role},\"content\":{}}}", content.as_json()).into(),
        }
    }

    /// The JSON text, fields that have no accessor included.
    pub fn as_json(&self) -> &str {
        self.message.as_json()
    }

    /// A field of the reply, whichever; nothing if it is missing or `null`.
    pub fn field(&self, name: &str) -> Option<Value<'_>> {
        self.view().value().member(name).filter(|value| !value.is_null())
    }

    fn text_field(&self, name: &str) -> Option<Text<'_>> {
        self.field(name).and_then(Value::as_text)
    }

    /// The server's id of the message; empty if there is none.
    pub fn id(&self) -> Text<'_> {
        self.text_field("id").unwrap_or_default()
    }

    /// The model that spoke; empty if the reply does not say.
    pub fn model(&self) -> Text<'_> {
        self.text_field("model").unwrap_or_default()
    }

    /// Why the turn ended; nothing if the reply does not say.
    pub fn stop_reason(&self) -> Option<StopReason> {
        self.text_field("stop_reason").map(StopReason::from_text)
    }

    /// Why the turn ended, as the server spells it.
    pub fn stop_reason_text(&self) -> Option<Text<'_>> {
        self.text_field("stop_reason")
    }

    /// The stop sequence that came.
    pub fn stop_sequence(&self) -> Option<Text<'_>> {
        self.text_field("stop_sequence")
    }

    /// More about a refusal.
    pub fn stop_details(&self) -> Option<Value<'_>> {
        self.field("stop_details")
    }

    /// The id of the container that code on the server ran in.
    pub fn container_id(&self) -> Option<Text<'_>> {
        self.field("container")?.member("id")?.as_text()
    }

    /// Tokens of the turn.
    pub fn usage(&self) -> Usage {
        self.field("usage").map(Usage::from_wire).unwrap_or_default()
    }

    /// The same reply as a view.
    pub fn view(&self) -> Message<'_> {
        self.message.view()
    }

    /// The blocks, in order.
    pub fn blocks(&self) -> Blocks<'_> {
        self.message.blocks()
    }

    /// All text blocks, joined.
    pub fn text(&self) -> String {
        self.message.text()
    }

    /// The calls that the model asks the caller to run, in order.
    pub fn tool_uses(&self) -> impl Iterator<Item = ToolUse<'_>> {
        self.message.tool_uses()
    }
}

impl fmt::Debug for ReplyMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.message.fmt(f)
    }
}

/// Verbatim, through `serde_json::value::RawValue`: unknown kinds and fields, numbers of any size
/// and the order of keys stay as they are. Only serde_json's own serializers and deserializers
/// carry such values. A [`serde_json::Value`] in between rounds numbers, unless the program enables
/// serde_json's feature `arbitrary_precision`.
#[cfg(feature = "serde")]
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
