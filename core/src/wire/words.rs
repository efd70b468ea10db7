//! An error's own words, in whichever shape it comes.

use super::event::says_error;
use crate::error::ApiErrorKind;
use crate::json::{Kind, Text, Value, check};

/// What an error says. A part that it does not have is empty.
#[derive(Clone, Copy)]
pub(crate) struct ErrorWords<'a> {
    pub(crate) kind: Text<'a>,
    pub(crate) message: Text<'a>,
    /// All of it.
    pub(crate) body: Value<'a>,
}

impl ErrorWords<'_> {
    /// The kind that its `type` names.
    pub(crate) fn api_kind(&self) -> ApiErrorKind {
        ApiErrorKind::from_type(self.kind.raw())
    }
}

/// The words of an error that is JSON: `{"error":{"type":…,"message":…}}` (the API, OpenAI),
/// `{"error":"…"}`, `{"type":…,"message":…}`, `{"message":"…"}`, `{"detail":"…"}` and `"…"`.
/// Nothing if it is no JSON.
pub(crate) fn error_words(bytes: &[u8]) -> Option<ErrorWords<'_>> {
    check(bytes).ok()?;
    let body = Value::first(bytes)?;
    let inner = body.member("error").filter(|error| says_error(Some(*error))).unwrap_or(body);
    if inner.kind() == Kind::String {
        return Some(ErrorWords {
            kind: Text::default(),
            message: inner.as_text().unwrap_or_default(),
            body,
        });
    }
    let [kind, message, detail] =
        inner.pick(["type", "message", "detail"]).map(|value| value.and_then(Value::as_text));
    // The `type` of an event, which says of the error only that it is one.
    let kind = kind.filter(|kind| *kind != *"error");
    Some(ErrorWords {
        kind: kind.unwrap_or_default(),
        message: message.or(detail).unwrap_or_default(),
        body,
    })
}
