//! The events of the driver's steps, as plain data.

use core::time::Duration;

use toolrunner_core::error::Error as CoreError;
use toolrunner_core::json::{Text, Value};
use toolrunner_core::run::Happened;

use crate::error::Error;
use crate::params::quoted;

/// The failure of a request that is retried, each field as a JSON string.
#[derive(Debug)]
pub(super) struct Retried {
    pub(super) message: String,
    pub(super) request_id: String,
}

impl Retried {
    pub(super) fn new(error: &Error) -> Self {
        let (message, request_id) = match error {
            Error::Api(failure) => (failure.message.clone(), failure.request_id.as_str()),
            Error::Transport(error) => (error.to_string(), ""),
            _ => (String::new(), ""),
        };
        Self { message: quoted(&message), request_id: quoted(request_id) }
    }
}

/// Returns the text of a JSON string.
pub(super) fn text_of(json: &str) -> Text<'_> {
    Value::first(json.as_bytes()).and_then(Value::as_text).unwrap_or_default()
}

/// The event of a step.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Broken {
        wait: Duration,
        error: CoreError,
    },
    Compacted {
        before: usize,
        after: usize,
    },
    Happened(Happened),
    NotCompacted(&'static str),
    Request {
        turn: u32,
        attempt: u32,
    },
    Retry {
        attempt: u32,
        wait: Duration,
        error: CoreError,
    },
    ToolEnd(usize),
    ToolStart(usize),
    /// The reply is complete and its connection free again. The caller does not receive this.
    TurnEnd,
}
