//! Messages and their blocks, as views over the JSON text that they stand in.
//!
//! ```text
//! transcript  {"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"tool_use",…}]}
//!             └──────── Message ──────────┘ └──────────────── Message ─ … └────── Block ─────┘
//! ```
//! [`Messages`] walks the transcript, [`Message::blocks`] a message; a [`Block`] tells its kind,
//! and its view reads a field when it is asked. Nothing is allocated or copied, nothing is lost:
//! `raw()` gives the bytes of each, unknown kinds and fields included. The bytes must have been
//! [checked](crate::json::check); on others the views give nothing or nonsense, never a panic.
//!
//! With `alloc`, [`OwnedMessage`] and [`ReplyMessage`] own their text and lend the same views.

mod block;
#[cfg(feature = "alloc")]
mod owned;
mod stop;
mod usage;

pub use block::{
    Block, Blocks, BrowserState, Compaction, ContainerUpload, Document, Fallback, Image,
    McpToolListing, McpToolResult, McpToolUse, RedactedThinking, SearchResult, ServerToolResult,
    ServerToolUse, TextBlock, Thinking, ToolChange, ToolReference, ToolResult, ToolUse, Unknown,
};
#[cfg(feature = "alloc")]
pub use owned::{NotAMessage, OwnedMessage, ReplyMessage};
pub use stop::StopReason;
pub(crate) use usage::Counts;
pub use usage::Usage;

use crate::json::{Kind, Text, Value};

/// Who a message is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Role {
    /// The model.
    Assistant,
    /// Instructions in the middle of a conversation, changes of the tools among them.
    System,
    /// The caller; tool results too.
    User,
}

impl Role {
    /// The role that a JSON string names.
    pub fn from_text(text: Text<'_>) -> Option<Self> {
        [Self::Assistant, Self::System, Self::User].into_iter().find(|role| text == *role.name())
    }

    /// The name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::System => "system",
            Self::User => "user",
        }
    }
}

/// One message where it stands. Also of a whole reply, which is a message with more fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a>(Value<'a>);

impl<'a> Message<'a> {
    /// The message that `value` is; nothing if it is no object.
    pub fn new(value: Value<'a>) -> Option<Self> {
        (value.kind() == Kind::Object).then_some(Self(value))
    }

    /// The message as JSON.
    pub const fn value(self) -> Value<'a> {
        self.0
    }

    /// The bytes of the message.
    pub const fn raw(self) -> &'a [u8] {
        self.0.raw()
    }

    /// Who it is from; nothing if its role is missing or unknown.
    pub fn role(self) -> Option<Role> {
        Role::from_text(self.0.member("role")?.as_text()?)
    }

    /// The content as it stands: a string or an array.
    pub fn content(self) -> Value<'a> {
        self.0.member("content").unwrap_or(Value::NULL)
    }

    /// The blocks, in order. A content that is a plain string is one text block.
    pub fn blocks(self) -> Blocks<'a> {
        Blocks::new(self.content())
    }

    /// The calls that the model asks the caller to run, in order.
    pub fn tool_uses(self) -> impl Iterator<Item = ToolUse<'a>> {
        self.blocks().filter_map(|block| match block {
            Block::ToolUse(call) => Some(call),
            _ => None,
        })
    }

    /// The results that the message carries, in order.
    pub fn tool_results(self) -> impl Iterator<Item = ToolResult<'a>> {
        self.blocks().filter_map(|block| match block {
            Block::ToolResult(result) => Some(result),
            _ => None,
        })
    }

    /// The text of its text blocks, in order. Joined without anything between they are what the
    /// message says.
    pub fn texts(self) -> impl Iterator<Item = Text<'a>> {
        self.blocks().filter_map(|block| match block {
            Block::Text(text) => Some(text.text()),
            _ => None,
        })
    }
}

/// Iterator over the messages of a transcript: objects with commas between and no brackets around.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// The messages in `transcript`.
    pub const fn new(transcript: &'a [u8]) -> Self {
        Self { rest: transcript }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let rest = self.rest.trim_ascii_start();
        let rest = rest.strip_prefix(b",").unwrap_or(rest);
        let value = Value::first(rest)?;
        self.rest = rest.get(value.offset_in(rest)? + value.raw().len()..)?;
        Message::new(value)
    }
}
