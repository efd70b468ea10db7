//! The text of an error in JSON, in any of its known shapes.

use super::event::says_error;
use crate::error::ApiErrorKind;
use crate::json::{Text, Value, check};

/// The text of an error. A part that the error does not have is empty.
#[derive(Clone, Copy)]
pub(crate) struct ErrorWords<'a> {
    pub(crate) kind: Text<'a>,
    pub(crate) message: Text<'a>,
    /// The whole JSON value.
    pub(crate) body: Value<'a>,
}

impl ErrorWords<'_> {
    /// Returns the kind that the error's `type` names.
    pub(crate) fn api_kind(&self) -> ApiErrorKind {
        ApiErrorKind::from_type(self.kind.raw())
    }
}

/// Returns the text of an error in JSON: `{"error":{"type":…,"message":…}}` (the API, OpenAI),
/// `{"error":"…"}`, `{"type":…,"message":…}`, `{"message":"…"}`, `{"detail":"…"}` or `"…"`. Returns
/// `None` if `bytes` is not JSON.
pub(crate) fn error_words(bytes: &[u8]) -> Option<ErrorWords<'_>> {
    check(bytes).ok()?;
    let body = Value::first(bytes)?;
    let inner = body.member("error").filter(|error| says_error(Some(*error))).unwrap_or(body);
    let text = |name| inner.member(name).and_then(Value::as_text);
    let message = inner.as_text().or_else(|| text("message")).or_else(|| text("detail"));
    // This is the `type` of an event. It states only that the event is an error.
    let kind = text("type").filter(|kind| *kind != *"error");
    Some(ErrorWords { kind: kind.unwrap_or_default(), message: message.unwrap_or_default(), body })
}
