//! The events of a session's log, as clients see them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::store::{Row, Timestamp};

/// The contents of an event.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Detail {
    UserMessage {
        content: Box<RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        role: Option<&'static str>,
    },
    ToolConfirmation {
        tool_use_id: String,
        result: &'static str,
    },
    CustomToolResult {
        custom_tool_use_id: String,
        content: Box<RawValue>,
    },
    UserInterrupt {},
    StatusRunning {
        #[serde(skip_serializing_if = "Option::is_none")]
        trace_id: Option<String>,
    },
    StatusIdle {
        stop_reason: StopReason,
    },
    Error {
        error: ErrorDetail,
    },
    ModelRequestStart {
        #[serde(skip_serializing_if = "Option::is_none")]
        model: Option<String>,
    },
    ModelRequestEnd {
        model_request_start_id: String,
        model_usage: Usage,
        is_error: bool,
        stop_reason: Option<String>,
    },
    Thinking {},
    Message {
        content: Box<RawValue>,
    },
    ToolUse {
        name: String,
        input: Box<RawValue>,
        evaluated_permission: &'static str,
    },
    ToolResult {
        tool_use_id: String,
        content: Box<RawValue>,
        is_error: bool,
    },
}

impl Detail {
    /// Returns the event's `type`.
    const fn kind(&self) -> &'static str {
        match self {
            Self::UserMessage { .. } => "user.message",
            Self::ToolConfirmation { .. } => "user.tool_confirmation",
            Self::CustomToolResult { .. } => "user.custom_tool_result",
            Self::UserInterrupt {} => "user.interrupt",
            Self::StatusRunning { .. } => "session.status_running",
            Self::StatusIdle { .. } => "session.status_idle",
            Self::Error { .. } => "session.error",
            Self::ModelRequestStart { .. } => "span.model_request_start",
            Self::ModelRequestEnd { .. } => "span.model_request_end",
            Self::Thinking {} => "agent.thinking",
            Self::Message { .. } => "agent.message",
            Self::ToolUse { .. } => "agent.tool_use",
            Self::ToolResult { .. } => "agent.tool_result",
        }
    }
}

/// Why a session is idle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct StopReason {
    #[serde(rename = "type")]
    pub(crate) kind: Stop,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) event_ids: Vec<String>,
}

/// The kinds of reasons why a session is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stop {
    EndTurn,
    RequiresAction,
    Cancelled,
    Error,
    MaxIterations,
    Refusal,
}

/// Why a turn failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorDetail {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) message: String,
    /// The HTTP status of the model's API, if the API reported the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
}

impl ErrorDetail {
    /// Creates an error that the model's API did not report.
    pub(crate) fn new(kind: &str, message: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), message: message.into(), status: None }
    }

    /// Returns the error as the text of the session's `error` field.
    pub(crate) fn line(&self) -> String {
        let Self { kind, message, status } = self;
        match status {
            Some(status) => format!("{kind} ({status}): {message}"),
            None => message.clone(),
        }
    }
}

/// The token counts of one model request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Usage {
    pub(crate) input_tokens: u64,
    pub(crate) output_tokens: u64,
    pub(crate) cache_creation_input_tokens: u64,
    pub(crate) cache_read_input_tokens: u64,
}

impl Usage {
    pub(crate) const fn total(self) -> u64 {
        self.input_tokens
            + self.output_tokens
            + self.cache_creation_input_tokens
            + self.cache_read_input_tokens
    }
}

/// An event without a number.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pub(crate) id: String,
    pub(crate) detail: Detail,
    pub(crate) patch: Option<Patch>,
}

/// A change of the conversation that the model receives: replaces everything after a byte offset
/// with a text. The conversation is stored as JSON objects separated by commas, without brackets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Patch {
    pub(crate) from: u64,
    pub(crate) text: String,
}

impl Patch {
    /// Returns the length of the conversation after this change.
    pub(crate) fn end(&self) -> u64 {
        self.from + self.text.len() as u64
    }

    pub(crate) fn to_bytes(&self) -> Bytes {
        [&self.from.to_be_bytes()[..], self.text.as_bytes()].concat().into()
    }

    /// Applies a stored change. Returns `false` if it does not fit.
    #[must_use]
    pub(crate) fn apply(bytes: &[u8], transcript: &mut String) -> bool {
        let Some((from, text)) = bytes.split_first_chunk::<8>() else { return false };
        let (Ok(from), Ok(text)) =
            (usize::try_from(u64::from_be_bytes(*from)), core::str::from_utf8(text))
        else {
            return false;
        };
        let fits = transcript.is_char_boundary(from);
        if fits {
            transcript.truncate(from);
            transcript.push_str(text);
        }
        fits
    }
}

impl Draft {
    /// Returns the log row with this number.
    pub(crate) fn row(&self, seq: u64, turn: u64, now: Timestamp) -> Row {
        #[derive(Serialize)]
        struct Event<'a> {
            id: &'a str,
            seq: u64,
            #[serde(rename = "type")]
            kind: &'a str,
            turn: u64,
            processed_at: Timestamp,
            #[serde(flatten)]
            detail: &'a Detail,
        }
        let event = Event {
            id: &self.id,
            seq,
            kind: self.detail.kind(),
            turn,
            processed_at: now,
            detail: &self.detail,
        };
        // Maps with string keys and valid JSON texts cannot fail to serialize.
        let event = serde_json::to_vec(&event).unwrap_or_default();
        Row { seq, event: event.into(), patch: self.patch.as_ref().map(Patch::to_bytes) }
    }
}

/// A stored event, as far as this crate reads it.
#[derive(Debug, Deserialize)]
pub(crate) struct StoredEvent<'a> {
    #[serde(borrow)]
    pub(crate) id: std::borrow::Cow<'a, str>,
    pub(crate) seq: u64,
    #[serde(rename = "type", borrow)]
    pub(crate) kind: std::borrow::Cow<'a, str>,
    pub(crate) turn: u64,
    #[serde(default, borrow)]
    pub(crate) role: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, borrow)]
    pub(crate) content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(crate) name: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, borrow)]
    pub(crate) input: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(crate) tool_use_id: Option<std::borrow::Cow<'a, str>>,
    #[serde(default)]
    pub(crate) is_error: bool,
    #[serde(default)]
    pub(crate) stop_reason: Option<SeenStop>,
    #[serde(default)]
    pub(crate) error: Option<ErrorDetail>,
}

/// A stop reason: an object for a session, a string for a model request. The string is ignored.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum SeenStop {
    Session {
        #[serde(rename = "type")]
        kind: Stop,
    },
    Model(serde::de::IgnoredAny),
}

impl<'a> StoredEvent<'a> {
    /// Reads a row's event. Returns `None` if the row is not an event.
    pub(crate) fn of(row: &'a Row) -> Option<Self> {
        serde_json::from_slice(&row.event).ok()
    }

    /// Returns why the session became idle, if this event reports that.
    pub(crate) fn stop(&self) -> Option<Stop> {
        match (&*self.kind, &self.stop_reason) {
            ("session.status_idle", Some(SeenStop::Session { kind })) => Some(*kind),
            _ => None,
        }
    }
}
