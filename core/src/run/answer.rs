//! An answer to a call, as the caller gives it.

use super::results::{EMPTY, check_content};
use crate::error::{Capacity, Misuse};
use crate::json::{Sink, escape};

/// An answer to a call: the content of its result, and whether the call failed.
///
/// The content is a text, or JSON in the wire format of a `tool_result`: a string, or an array of
/// blocks such as images. The content of a failed call must be text and must not be empty.
///
/// ```
/// use toolrunner_core::run::ToolAnswer;
///
/// let text = ToolAnswer::ok("22 °C");
/// let failed = ToolAnswer::error("no sensor");
/// let blocks = ToolAnswer::ok_json(br#"[{"type":"text","text":"22 degrees"}]"#);
/// assert!(failed.is_error() && !text.is_error() && !blocks.is_error());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ToolAnswer<'a> {
    content: Content<'a>,
    is_error: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content<'a> {
    Text(&'a str),
    Json(&'a [u8]),
}

impl<'a> ToolAnswer<'a> {
    /// Creates an answer with this text. The call succeeded.
    pub const fn ok(text: &'a str) -> Self {
        Self { content: Content::Text(text), is_error: false }
    }

    /// Creates an answer with this text. The call failed, or was not allowed to run.
    pub const fn error(text: &'a str) -> Self {
        Self { content: Content::Text(text), is_error: true }
    }

    /// Creates an answer with content in wire format: a JSON string, or an array of blocks. The
    /// call succeeded.
    pub const fn ok_json(json: &'a [u8]) -> Self {
        Self { content: Content::Json(json), is_error: false }
    }

    /// Creates an answer with content in wire format: a JSON string, or an array of text blocks.
    /// The call failed, or was not allowed to run.
    pub const fn error_json(json: &'a [u8]) -> Self {
        Self { content: Content::Json(json), is_error: true }
    }

    /// Sets whether the call failed, for a program that has this as a value.
    #[must_use]
    pub const fn with_error(self, is_error: bool) -> Self {
        Self { is_error, ..self }
    }

    /// Returns whether the call failed.
    pub const fn is_error(self) -> bool {
        self.is_error
    }

    /// Checks that the API accepts this as a result.
    pub(crate) fn check(self) -> Result<(), Misuse> {
        match self.content {
            Content::Text("") if self.is_error => Err(EMPTY),
            Content::Text(_) => Ok(()),
            Content::Json(json) => check_content(json, self.is_error),
        }
    }

    /// Returns whether this is certainly content that the API accepts: a text that is not empty.
    pub(super) fn is_plain(self) -> bool {
        match self.content {
            Content::Text(text) => !text.is_empty(),
            Content::Json(json) => matches!(json, [b'"', first, ..] if *first != b'"'),
        }
    }

    /// Returns the content if it is in wire format. A text contains no blocks.
    pub(super) const fn blocks(self) -> &'a [u8] {
        match self.content {
            Content::Text(_) => b"",
            Content::Json(json) => json,
        }
    }

    /// Returns the length of the content in wire format, in bytes.
    pub(super) fn len(self) -> usize {
        match self.content {
            Content::Text(text) => escape(text).len() + 2,
            Content::Json(json) => json.len(),
        }
    }

    /// Writes the content in wire format.
    pub(crate) fn write_to<S: Sink + ?Sized>(self, sink: &mut S) -> Result<(), Capacity> {
        match self.content {
            Content::Text(text) => {
                sink.put(b"\"")?;
                escape(text).write_to(sink)?;
                sink.put(b"\"")
            }
            Content::Json(json) => sink.put(json),
        }
    }
}
