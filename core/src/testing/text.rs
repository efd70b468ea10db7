//! Helpers for JSON text in scripts.

use alloc::string::{String, ToString};

use crate::json::Value;

/// Returns the text of a member, or an empty text if there is none.
pub(super) fn text_of(json: &str, member: &str) -> String {
    parse(json).member(member).and_then(Value::as_text).unwrap_or_default().to_string()
}

pub(in crate::testing) fn parse(json: &str) -> Value<'_> {
    Value::first(json.as_bytes()).unwrap_or(Value::NULL)
}
