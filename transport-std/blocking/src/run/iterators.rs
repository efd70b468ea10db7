//! Iterators over a run, with owned items.

use core::time::Duration;

use toolrunner_core::__private::client::of_delta;
use toolrunner_core::__private::deltas;
use toolrunner_core::error::Error as CoreError;
use toolrunner_core::json::{Text, Value};
use toolrunner_core::message::{ReplyMessage, StopReason, Usage};
use toolrunner_core::observe::Event;

use super::Run;
use crate::error::Error;

/// The replies of a run, in order: see [`Run::turns`].
#[derive(Debug)]
pub struct Turns<'r> {
    run: &'r mut Run,
    has_failed: bool,
}

/// The events of a run, in order: see [`Run::events`].
#[derive(Debug)]
pub struct Events<'r> {
    run: &'r mut Run,
    has_failed: bool,
}

impl Run {
    /// Returns an iterator over the model's replies, each of which is complete. The calls of a
    /// reply run when the next one is asked for. To change a turn, use
    /// [`next_turn`](Self::next_turn). The iterator ends after an error; the run can continue.
    pub const fn turns(&mut self) -> Turns<'_> {
        Turns { run: self, has_failed: false }
    }

    /// Returns an iterator over the events of the run. To receive them without a copy, use
    /// [`next_event`](Self::next_event). The iterator ends after an error; the run can continue.
    pub const fn events(&mut self) -> Events<'_> {
        Events { run: self, has_failed: false }
    }
}

impl Iterator for Turns<'_> {
    type Item = Result<ReplyMessage, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let message = match self.run.next_turn() {
            Ok(turn) => turn?.message(),
            Err(error) => Err(error),
        };
        self.has_failed = message.is_err();
        Some(message)
    }
}

impl Iterator for Events<'_> {
    type Item = Result<OwnedEvent, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        match self.run.next_event() {
            Ok(event) => event.map(|event| Ok(OwnedEvent::from(&event))),
            Err(error) => {
                self.has_failed = true;
                Some(Err(error))
            }
        }
    }
}

/// One event of a run, with owned parts. Each variant has the meaning of that of [`Event`]; values
/// are JSON text.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the fields are those of `Event`, which documents them")]
pub enum OwnedEvent {
    /// A block begins.
    BlockStart { index: usize, block: String },
    /// A block is complete.
    BlockStop { index: usize, block: String },
    /// A reply broke off after one of its calls had started.
    Broken { wait: Duration, error: CoreError },
    /// A citation in a text block.
    Citation { index: usize, citation: String },
    /// A summary replaced the conversation.
    Compacted { before: usize, after: usize },
    /// A piece of a summary that the server generates.
    Compaction { index: usize, text: String },
    /// A piece of a call's input.
    Input { index: usize, json: String },
    /// A reply begins.
    MessageStart { message: String },
    /// A reply is complete.
    MessageStop,
    /// A summary was received but does not replace the conversation.
    NotCompacted { why: &'static str },
    /// The server sent a keep-alive event.
    Ping,
    /// A request is about to be sent.
    Request { turn: u32, attempt: u32 },
    /// A request failed and is sent again after a delay. The message is not trusted.
    Retry { attempt: u32, wait: Duration, error: CoreError, message: String, request_id: String },
    /// The signature of a thinking block.
    Signature { index: usize, signature: String },
    /// The stop reason of the reply, and its usage.
    Stop { reason: Option<StopReason>, usage: Usage },
    /// A piece of text.
    Text { index: usize, text: String },
    /// A piece of thinking.
    Thinking { index: usize, text: String },
    /// A call was answered.
    ToolEnd { id: String, name: String, content: String, is_error: bool },
    /// A call starts.
    ToolStart { id: String, name: String, input: String },
    /// An event that this version does not know.
    Unknown { raw: String },
}

fn value(value: Value<'_>) -> String {
    value.as_json().to_owned()
}

fn text(text: Text<'_>) -> String {
    text.to_string()
}

fn json(json: &str) -> String {
    json.to_owned()
}

deltas!(of_delta);

impl From<&Event<'_>> for OwnedEvent {
    fn from(event: &Event<'_>) -> Self {
        match *event {
            Event::BlockStart { index, block } => Self::BlockStart { index, block: value(block) },
            Event::BlockStop { index, block } => Self::BlockStop { index, block: value(block) },
            Event::Broken { wait, error } => Self::Broken { wait, error },
            Event::Compacted { before, after } => Self::Compacted { before, after },
            Event::MessageStart { message } => Self::MessageStart { message: value(message) },
            Event::MessageStop => Self::MessageStop,
            Event::NotCompacted { why } => Self::NotCompacted { why },
            Event::Ping => Self::Ping,
            Event::Request { turn, attempt } => Self::Request { turn, attempt },
            Event::Retry { attempt, wait, error, message, request_id } => Self::Retry {
                attempt,
                wait,
                error,
                message: message.to_string(),
                request_id: request_id.to_string(),
            },
            Event::Stop { reason, usage, .. } => Self::Stop { reason, usage },
            Event::ToolEnd { id, name, content, is_error } => Self::ToolEnd {
                id: id.to_string(),
                name: name.to_string(),
                content: value(content),
                is_error,
            },
            Event::ToolStart { id, name, input } => {
                Self::ToolStart { id: id.to_string(), name: name.to_string(), input: value(input) }
            }
            Event::Unknown { raw } => Self::Unknown { raw: value(raw) },
            // The event of a delta, or an event that only a newer core has.
            _ => Self::of_delta(event).unwrap_or_else(|| Self::Unknown { raw: "null".to_owned() }),
        }
    }
}
