//! What the driver's steps tell, as plain data.

use core::time::Duration;

use toolrunner_core::error::Error as CoreError;
use toolrunner_core::json::{Text, Value};
use toolrunner_core::run::Happened;

use crate::error::Error;
use crate::params::quoted;

/// What a request that is sent again failed with, each as a JSON string.
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

/// The text of a JSON string.
pub(super) fn text_of(json: &str) -> Text<'_> {
    Value::first(json.as_bytes()).and_then(Value::as_text).unwrap_or_default()
}

/// What a step told.
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
    /// The reply is whole and its connection free again. Not told.
    TurnEnd,
}
