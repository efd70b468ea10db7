//! Messages and their blocks, as views of the JSON text in which they are stored.
//!
//! ```text
//! transcript  {"role":"user","content":"Hi"},{"role":"assistant","content":[{"type":"tool_use",…}]}
//!             └──────── Message ──────────┘ └──────────────── Message ─ … └────── Block ─────┘
//! ```
//! [`Messages`] iterates over the messages of a transcript, and [`Message::blocks`] over the blocks
//! of a message. A [`Block`] identifies the kind of a block and contains a view of it. The view
//! reads a field when its accessor is called. Nothing is allocated or copied, and nothing is lost:
//! `raw()` returns the bytes of each value, including unknown kinds and fields.
//!
//! The bytes must have been [checked](Value::parse). For other bytes the views return no
//! value or a wrong one, but never panic.
//!
//! With `alloc`, [`OwnedMessage`] and [`ReplyMessage`] own their text and provide the same views.

mod block;
mod kind;
#[cfg(feature = "alloc")]
mod owned;
mod stop;
mod usage;

use block::Blocks;
pub(crate) use block::KINDS;
pub use block::{
    Block, CompactionBlock, Document, Image, OtherBlock, ServerToolResult, ServerToolUse,
    TextBlock, Thinking, ToolResultBlock, ToolUse,
};
pub(crate) use kind::BlockKind;
#[cfg(feature = "alloc")]
pub use owned::{MessageError, OwnedMessage, ReplyMessage};
pub use stop::StopReason;
pub use usage::Usage;

use crate::json::{Kind, Text, Value};

/// The author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Role {
    /// The model.
    Assistant,
    /// Instructions in the middle of a conversation, including changes of the tools.
    System,
    /// The caller. Its messages also carry the tool results.
    User,
}

impl Role {
    /// Returns the role that `text` names, or `None` if it is unknown.
    pub fn from_text(text: Text<'_>) -> Option<Self> {
        [Self::Assistant, Self::System, Self::User].into_iter().find(|role| text == *role.name())
    }

    /// Returns the role as the API writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Assistant => "assistant",
            Self::System => "system",
            Self::User => "user",
        }
    }
}

/// A view of one message in its JSON text. It is also used for a whole reply, which is a message
/// with additional fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a>(Value<'a>);

impl<'a> Message<'a> {
    /// Returns a view of the message in `value`, or `None` if `value` is not an object.
    pub fn new(value: Value<'a>) -> Option<Self> {
        (value.kind() == Kind::Object).then_some(Self(value))
    }

    /// Returns the message as a JSON value.
    pub const fn value(self) -> Value<'a> {
        self.0
    }

    /// Returns the bytes of the message.
    pub const fn raw(self) -> &'a [u8] {
        self.0.raw()
    }

    /// Returns the role of the message, or `None` if the role is missing or unknown.
    pub fn role(self) -> Option<Role> {
        Role::from_text(self.0.member("role")?.as_text()?)
    }

    /// Returns the content as it is stored: a string or an array. Returns `null` if there is no
    /// content.
    pub fn content(self) -> Value<'a> {
        self.0.member("content").unwrap_or(Value::NULL)
    }

    /// Returns an iterator over the blocks, in order. If the content is a string, it counts as one
    /// text block.
    pub fn blocks(self) -> impl Iterator<Item = Block<'a>> + Clone + core::fmt::Debug + use<'a> {
        Blocks::new(self.content())
    }

    /// Returns an iterator over the calls that the caller must run, in order.
    pub fn tool_uses(self) -> impl Iterator<Item = ToolUse<'a>> {
        self.blocks().filter_map(|block| match block {
            Block::ToolUse(call) => Some(call),
            _ => None,
        })
    }

    /// Returns an iterator over the tool results in the message, in order.
    pub fn tool_results(self) -> impl Iterator<Item = ToolResultBlock<'a>> {
        self.blocks().filter_map(|block| match block {
            Block::ToolResult(result) => Some(result),
            _ => None,
        })
    }

    /// Returns an iterator over the texts of the text blocks, in order. Concatenated without a
    /// separator, they form the text of the message.
    pub fn texts(self) -> impl Iterator<Item = Text<'a>> {
        self.blocks().filter_map(|block| match block {
            Block::Text(text) => Some(text.text()),
            _ => None,
        })
    }
}

/// An iterator over the messages of a transcript: objects that are separated by commas, without
/// enclosing brackets.
#[derive(Clone, Debug)]
pub struct Messages<'a> {
    rest: &'a [u8],
}

impl<'a> Messages<'a> {
    /// Creates an iterator over the messages in `transcript`.
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
