//! The words of a failure that is retried.

use toolrunner_core::json::{Text, Value};

use crate::error::Error;
use crate::params::quoted;

/// The failure of a request that is retried, each field as a JSON string.
#[derive(Debug)]
pub(super) struct RetryCause {
    message: String,
    request_id: String,
}

impl RetryCause {
    pub(super) fn new(error: &Error) -> Self {
        let (message, request_id) = match error {
            Error::Api(failure) => (failure.message.clone(), failure.request_id.as_str()),
            Error::Transport(error) => (error.to_string(), ""),
            _ => (String::new(), ""),
        };
        Self { message: quoted(&message), request_id: quoted(request_id) }
    }

    pub(super) fn message(&self) -> Text<'_> {
        text_of(&self.message)
    }

    pub(super) fn request_id(&self) -> Text<'_> {
        text_of(&self.request_id)
    }
}

/// Returns the text of a JSON string.
fn text_of(json: &str) -> Text<'_> {
    Value::first(json.as_bytes()).and_then(Value::as_text).unwrap_or_default()
}
