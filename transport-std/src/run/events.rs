//! Events that own their data, to be sent elsewhere or kept.

use core::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use toolrunner_core::__private::client::of_delta;
use toolrunner_core::__private::deltas;
use toolrunner_core::json::{Text, Value};
use toolrunner_core::message::{StopReason, Usage};
use toolrunner_core::observe::Event;

use super::{Run, RunEnd};
use crate::error::Error;

/// One event of a run, as data: an [`Event`] that owns everything, with the times that the run
/// measured.
///
/// It is serialized as an object with a `type`. Events of a reply have the form of the Messages
/// API's [stream](https://platform.claude.com/docs/en/build-with-claude/streaming), so that code
/// which reads that stream also reads this one:
///
/// | Event | Form |
/// |---|---|
/// | `MessageStart` | `{"type":"message_start","message":{…}}` |
/// | `BlockStart` | `{"type":"content_block_start","index":0,"content_block":{…}}` |
/// | `Text` | `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"…"}}` |
/// | `Thinking`, `Signature`, `Input`, `Citation`, `Compaction` | like `Text`, with `thinking_delta`, `signature_delta`, `input_json_delta`, `citations_delta`, `compaction_delta` |
/// | `BlockStop` | `{"type":"content_block_stop","index":0}` |
/// | `Stop` | `{"type":"message_delta","delta":{"stop_reason":"…"},"usage":{…}}`, as received if the reply is streamed |
/// | `MessageStop` | `{"type":"message_stop"}`, with `time_to_first_token_ms` and `duration_ms` |
/// | `Ping`, `Unknown` | `{"type":"ping"}`, the event as it was received |
/// | `Error` | `{"type":"error","error":{"type":"…","message":"…"}}`, with `request_id` if there is one |
///
/// The events of the run itself have types that the API does not use:
///
/// | Event | Form |
/// |---|---|
/// | `Request` | `{"type":"request","turn":1,"attempt":1}` |
/// | `Retry` | `{"type":"retry","attempt":1,"wait_ms":500,"error":"…","message":"…","request_id":"…"}` |
/// | `ToolStart` | `{"type":"tool_start","id":"…","name":"…","input":{…}}` |
/// | `ToolEnd` | `{"type":"tool_end","id":"…","name":"…","content":…,"is_error":false,"duration_ms":3}` |
/// | `Broken` | `{"type":"broken","wait_ms":500,"error":"…"}` |
/// | `Compacted` | `{"type":"compacted","before":100000,"after":2000}` |
/// | `NotCompacted` | `{"type":"not_compacted","why":"…"}` |
/// | `Finished` | `{"type":"finished","outcome":{"type":"ended","stop_reason":"end_turn"},"message":{…},"usage":{…}}` |
///
/// Times are in milliseconds. JSON that was received is written verbatim, for which the serializer
/// must be one of serde_json.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OwnedEvent {
    /// A block of the reply begins: [`Event::BlockStart`].
    BlockStart {
        /// The block's index in the message.
        index: usize,
        /// The block as it was received.
        block: Box<RawValue>,
    },
    /// A block of the reply is complete: [`Event::BlockStop`].
    BlockStop {
        /// The block's index in the message.
        index: usize,
        /// The complete block. It is not part of the serialized form.
        block: Box<RawValue>,
    },
    /// A reply broke off after one of its calls had started, and the run continues after a delay:
    /// [`Event::Broken`].
    Broken {
        /// The delay before the next request.
        wait: Duration,
        /// The reason why the reply broke off.
        error: String,
    },
    /// A citation in a text block: [`Event::Citation`].
    Citation {
        /// The block's index in the message.
        index: usize,
        /// The citation.
        citation: Box<RawValue>,
    },
    /// A summary replaced the conversation: [`Event::Compacted`].
    Compacted {
        /// The length of the transcript before, in bytes.
        before: usize,
        /// The length of the transcript now, in bytes.
        after: usize,
    },
    /// A piece of a summary that the server generates: [`Event::Compaction`].
    Compaction {
        /// The block's index in the message.
        index: usize,
        /// The piece.
        text: String,
    },
    /// The run could not continue: see [`OwnedEvent::error`].
    Error {
        /// The kind of the error. For an error of the API its own name, such as
        /// `overloaded_error`.
        kind: String,
        /// The error in words.
        message: String,
        /// The id to quote when you contact the provider. Empty if there is none.
        request_id: String,
    },
    /// The run is over. This is the last event of [`Run::into_stream`].
    Finished(RunEnd),
    /// A piece of a call's input: [`Event::Input`].
    Input {
        /// The block's index in the message.
        index: usize,
        /// The piece of JSON text.
        json: String,
    },
    /// A reply begins: [`Event::MessageStart`].
    MessageStart {
        /// The message as it was received.
        message: Box<RawValue>,
    },
    /// A reply is complete: [`Event::MessageStop`].
    MessageStop {
        /// The time from the request until the first block or piece of the reply, if the run
        /// measured it.
        time_to_first_token: Option<Duration>,
        /// The time from the request until the end of the reply, if the run measured it.
        duration: Option<Duration>,
    },
    /// A summary was received but does not replace the conversation: [`Event::NotCompacted`].
    NotCompacted {
        /// The reason, in words.
        why: &'static str,
    },
    /// The server sent a keep-alive event: [`Event::Ping`].
    Ping,
    /// A request is about to be sent: [`Event::Request`].
    Request {
        /// The number of the turn in this run, starting at 1.
        turn: u32,
        /// The number of the attempt in this turn, starting at 1.
        attempt: u32,
    },
    /// A request failed and is sent again after a delay: [`Event::Retry`].
    Retry {
        /// The number of the attempt that failed, starting at 1.
        attempt: u32,
        /// The delay before the next attempt.
        wait: Duration,
        /// The error of the failed attempt, in words.
        error: String,
        /// The server's message. **This text is not trusted**.
        message: String,
        /// The id to quote when you contact the provider. Empty if there is none.
        request_id: String,
    },
    /// The signature of a thinking block: [`Event::Signature`].
    Signature {
        /// The block's index in the message.
        index: usize,
        /// The signature.
        signature: String,
    },
    /// The stop reason of the reply, and its usage: [`Event::Stop`].
    Stop {
        /// The stop reason, or `None` if the server has not named one.
        reason: Option<StopReason>,
        /// The turn's usage.
        usage: Usage,
        /// The event as it was received, or `None` for a reply in one JSON document.
        raw: Option<Box<RawValue>>,
    },
    /// A piece of text: [`Event::Text`].
    Text {
        /// The block's index in the message.
        index: usize,
        /// The piece.
        text: String,
    },
    /// A piece of thinking: [`Event::Thinking`].
    Thinking {
        /// The block's index in the message.
        index: usize,
        /// The piece.
        text: String,
    },
    /// A call was answered: [`Event::ToolEnd`].
    ToolEnd {
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
        /// The result's content: a string or blocks.
        content: Box<RawValue>,
        /// Whether the call failed.
        is_error: bool,
        /// The time since the call's last [`ToolStart`](Self::ToolStart), which includes the
        /// decision of a gate. `None` if the call did not start, because the caller answered it.
        duration: Option<Duration>,
    },
    /// A call starts: [`Event::ToolStart`].
    ToolStart {
        /// The call's id.
        id: String,
        /// The tool's name.
        name: String,
        /// The input of the call.
        input: Box<RawValue>,
    },
    /// A delta or an event of an unknown type, which has no effect: [`Event::Unknown`].
    Unknown {
        /// The event as it was received.
        raw: Box<RawValue>,
    },
}

/// Copies JSON text that was checked when it was received.
fn value(value: Value<'_>) -> Box<RawValue> {
    RawValue::from_string(value.as_json().to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn text(text: Text<'_>) -> String {
    text.into()
}

fn json(json: &str) -> String {
    json.to_owned()
}

macro_rules! define_put_delta {
    ($($field:ident $kind:ident $delta:literal $value:literal $member:literal $growth:ident
        $event:ident $name:ident $read:ident;)+) => {
        impl OwnedEvent {
            /// Serializes the members of the event of a delta.
            fn put_delta<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
                match self {
                    $(Self::$event { index, $name } => {
                        map.serialize_entry("index", index)?;
                        map.serialize_entry("delta", &Delta($delta, $value, &**$name))
                    })+
                    _ => Ok(()),
                }
            }
        }
    };
}
deltas!(of_delta);
deltas!(define_put_delta);

/// The pattern of all events of deltas.
macro_rules! any_delta {
    ($($field:ident $kind:ident $delta:literal $value:literal $member:literal $growth:ident
        $event:ident $name:ident $read:ident;)+) => {
        $(Self::$event { .. })|+
    };
}

impl From<&Event<'_>> for OwnedEvent {
    /// Copies an event. It has no times: [`Run::next_owned_event`] returns events that have.
    fn from(event: &Event<'_>) -> Self {
        match *event {
            Event::BlockStart { index, block } => Self::BlockStart { index, block: value(block) },
            Event::BlockStop { index, block } => Self::BlockStop { index, block: value(block) },
            Event::Broken { wait, error } => Self::Broken { wait, error: error.to_string() },
            Event::Compacted { before, after } => Self::Compacted { before, after },
            Event::MessageStart { message } => Self::MessageStart { message: value(message) },
            Event::MessageStop => Self::MessageStop { time_to_first_token: None, duration: None },
            Event::NotCompacted { why } => Self::NotCompacted { why },
            Event::Ping => Self::Ping,
            Event::Request { turn, attempt } => Self::Request { turn, attempt },
            Event::Retry { attempt, wait, error, message, request_id } => Self::Retry {
                attempt,
                wait,
                error: error.to_string(),
                message: message.into(),
                request_id: request_id.into(),
            },
            Event::Stop { reason, usage, raw } => Self::Stop { reason, usage, raw: raw.map(value) },
            Event::ToolEnd { id, name, content, is_error } => Self::ToolEnd {
                id: id.into(),
                name: name.into(),
                content: value(content),
                is_error,
                duration: None,
            },
            Event::ToolStart { id, name, input } => {
                Self::ToolStart { id: id.into(), name: name.into(), input: value(input) }
            }
            Event::Unknown { raw } => Self::Unknown { raw: value(raw) },
            // The event of a delta, or an event that only a newer core has.
            _ => Self::of_delta(event)
                .unwrap_or_else(|| Self::Unknown { raw: RawValue::NULL.to_owned() }),
        }
    }
}

impl OwnedEvent {
    /// Creates the event that reports an error. Its text is that of the error, which never contains
    /// a credential but may name the server and quote it.
    #[expect(clippy::needless_pass_by_value, reason = "for `unwrap_or_else`")]
    pub fn error(error: Error) -> Self {
        let api = error.api();
        let kind = match &error {
            Error::Api(failure) if !failure.kind.is_empty() => failure.kind.as_str(),
            Error::Api(failure) => failure.error.kind.name(),
            Error::Capacity(_) => "capacity",
            Error::Hook(_) => "hook",
            Error::Misuse(_) | Error::Invalid(_) => "misuse",
            Error::Protocol(_) => "protocol",
            Error::Setup(_) => "setup",
            Error::Transport(_) => "transport",
        };
        Self::Error {
            kind: kind.to_owned(),
            message: error.to_string(),
            request_id: api.map(|failure| failure.request_id.clone()).unwrap_or_default(),
        }
    }

    /// Returns the `type` of the serialized event, such as `content_block_delta`: the API sends it
    /// as the event's name too. An event that is not listed is `unknown`.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::BlockStart { .. } => "content_block_start",
            Self::BlockStop { .. } => "content_block_stop",
            Self::Broken { .. } => "broken",
            deltas!(any_delta) => "content_block_delta",
            Self::Compacted { .. } => "compacted",
            Self::Error { .. } => "error",
            Self::Finished(_) => "finished",
            Self::MessageStart { .. } => "message_start",
            Self::MessageStop { .. } => "message_stop",
            Self::NotCompacted { .. } => "not_compacted",
            Self::Ping => "ping",
            Self::Request { .. } => "request",
            Self::Retry { .. } => "retry",
            Self::Stop { .. } => "message_delta",
            Self::ToolEnd { .. } => "tool_end",
            Self::ToolStart { .. } => "tool_start",
            Self::Unknown { .. } => "unknown",
        }
    }
}

/// Serializes an object with these members.
macro_rules! object {
    ($serializer:expr, $($name:literal: $value:expr,)*) => {{
        let mut map = $serializer.serialize_map(None)?;
        $(map.serialize_entry($name, &$value)?;)*
        map
    }};
}

/// The `delta` of a `content_block_delta`: its type, and the name and value of its other member.
struct Delta<'d, T: ?Sized>(&'static str, &'static str, &'d T);

impl<T: Serialize + ?Sized> Serialize for Delta<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = object!(serializer, "type": self.0,);
        map.serialize_entry(self.1, self.2)?;
        map.end()
    }
}

/// The API's description of an error.
struct Failure<'e> {
    kind: &'e str,
    message: &'e str,
}

impl Serialize for Failure<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        object!(serializer, "type": self.kind, "message": self.message,).end()
    }
}

/// The `delta` of a `message_delta`.
struct StopDelta(Option<StopReason>);

impl Serialize for StopDelta {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        object!(serializer, "stop_reason": self.0,).end()
    }
}

/// Returns a duration in milliseconds, with fractions.
fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

impl Serialize for OwnedEvent {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Stop { raw: Some(raw), .. } | Self::Unknown { raw } => return raw.serialize(to),
            _ => {}
        }
        let mut map = object!(to, "type": self.name(),);
        macro_rules! put {
            ($($name:literal: $value:expr),*) => {{ $(map.serialize_entry($name, &$value)?;)* }};
        }
        match self {
            Self::BlockStart { index, block } => put!("index": index, "content_block": block),
            Self::BlockStop { index, .. } => put!("index": index),
            Self::Broken { wait, error } => put!("wait_ms": ms(*wait), "error": error),
            deltas!(any_delta) => self.put_delta(&mut map)?,
            Self::Compacted { before, after } => put!("before": before, "after": after),
            Self::Error { kind, message, request_id } => {
                put!("error": Failure { kind, message });
                if !request_id.is_empty() {
                    put!("request_id": request_id);
                }
            }
            Self::Finished(RunEnd { outcome, message, usage }) => {
                put!("outcome": outcome, "message": message, "usage": usage);
            }
            Self::MessageStart { message } => put!("message": message),
            Self::MessageStop { time_to_first_token, duration } => {
                if let Some(time) = time_to_first_token {
                    put!("time_to_first_token_ms": ms(*time));
                }
                if let Some(time) = duration {
                    put!("duration_ms": ms(*time));
                }
            }
            Self::NotCompacted { why } => put!("why": why),
            Self::Request { turn, attempt } => put!("turn": turn, "attempt": attempt),
            Self::Retry { attempt, wait, error, message, request_id } => put!(
                "attempt": attempt, "wait_ms": ms(*wait), "error": error, "message": message,
                "request_id": request_id
            ),
            Self::Stop { reason, usage, .. } => {
                put!("delta": StopDelta(*reason), "usage": usage);
            }
            Self::ToolEnd { id, name, content, is_error, duration } => {
                put!("id": id, "name": name, "content": content, "is_error": is_error);
                if let Some(time) = duration {
                    put!("duration_ms": ms(*time));
                }
            }
            Self::ToolStart { id, name, input } => put!("id": id, "name": name, "input": input),
            Self::Ping | Self::Unknown { .. } => {}
        }
        map.end()
    }
}

/// The members `outcome`, `message` (the model's last message verbatim, or `null`) and `usage`.
impl Serialize for RunEnd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { outcome, message, usage } = self;
        object!(serializer, "outcome": outcome, "message": message, "usage": usage,).end()
    }
}

impl Run {
    /// Continues to the next event, as [`next_event`](Self::next_event) does, and returns it as
    /// data, with the times of tools and replies. Returns `None` when the run is over.
    ///
    /// # Errors
    /// Returns the errors of [`next_event`](Self::next_event).
    pub async fn next_owned_event(&mut self) -> Result<Option<OwnedEvent>, Error> {
        let Some(event) = self.next_event().await? else { return Ok(None) };
        let mut owned = OwnedEvent::from(&event);
        match &mut owned {
            OwnedEvent::MessageStop { time_to_first_token, duration } => {
                *time_to_first_token = self.times.to_first_token();
                *duration = self.times.of_reply();
            }
            OwnedEvent::ToolEnd { id, duration, .. } => {
                let mut calls = self.machine.calls();
                let call = calls.find(|&i| self.machine.call(i).is_some_and(|call| call.id == *id));
                *duration = call.and_then(|call| self.times.of_call(call));
            }
            _ => {}
        }
        Ok(Some(owned))
    }
}
