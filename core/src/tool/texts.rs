//! All texts that the loop itself sends to the model.

use core::fmt;
use core::time::Duration;

use super::Output;
use crate::error::Capacity;
use crate::json::{
    PartFn, Sink, Text, count_parts as count, escape, number_parts as number, text_parts as text,
    write_parts,
};
use crate::schema::Explanation;
use crate::time::micros;

/// The result of a tool that wrote nothing.
pub const EMPTY_RESULT: &str = "(no output)";
/// The text of an error that has no message.
pub(crate) const EMPTY_ERROR: &str = "Error: (no message)";

/// An error that answers a call instead of its tool.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// No runnable tool has this name: `Error: Tool 'X' not found`.
    NotFound(Text<'a>),
    /// No member of the toolset with this name is runnable: `Error: Toolset 'T' member 'M' not
    /// found`.
    MemberNotFound {
        /// The toolset's name.
        toolset: Text<'a>,
        /// The member's name.
        name: Text<'a>,
    },
    /// The input does not fit the schema: `Error: invalid input for tool 'X': <path>: expected …,
    /// got …`.
    InvalidInput {
        /// The tool's name.
        name: Text<'a>,
        /// The reason.
        error: Explanation<'a>,
    },
    /// The tool panicked: `Error: tool panicked`.
    Panicked,
    /// The run was cancelled while the call was open: `Error: cancelled`.
    Cancelled,
    /// The tool exceeded its time limit: `Error: timed out after N ms`.
    TimedOut(Duration),
    /// The model's input is not a JSON object: `Error: invalid input for tool 'X': input: expected
    /// an object, got …`. If the input is not JSON, the text states the error and its position,
    /// unless the feature `input-words` is off.
    InvalidJson {
        /// The tool's name.
        name: Text<'a>,
        /// The syntax error, or `None` if the input is JSON.
        error: Option<crate::json::JsonError>,
        /// The kind of the input, if it is JSON.
        got: &'a str,
    },
    /// An earlier call of the same toolset in this turn failed: `Not executed: an earlier action in
    /// this turn failed.`
    AfterFailure,
    /// The call was answered without running it: `Error: not run`.
    NotRun,
    /// The result did not fit: `Error: the result is too large: N bytes, at most M fit`.
    TooLarge(Capacity),
    /// With the result, the request would exceed the API's limit of cache breakpoints: `Error: the
    /// request would have N cache breakpoints, at most 4 are allowed`.
    Breakpoints(usize),
}

impl Notice<'_> {
    /// Passes the text to `each`, in parts.
    fn parts(self, each: &mut PartFn<'_>) {
        const INVALID: &str = "Error: invalid input for tool '";
        // Most texts are a name or a number between two fixed parts.
        let (before, name, amount, after) = match self {
            Self::NotFound(name) => ("Error: Tool '", name, None, "' not found"),
            Self::MemberNotFound { toolset, name } => {
                each("Error: Toolset '");
                text(toolset, each);
                ("' member '", name, None, "' not found")
            }
            Self::InvalidInput { name, .. } => (INVALID, name, None, "': "),
            Self::InvalidJson { name, .. } => (INVALID, name, None, "': input: expected "),
            Self::Panicked => fixed("Error: tool panicked"),
            Self::Cancelled => fixed("Error: cancelled"),
            Self::TimedOut(limit) => {
                let amount = Some(micros(limit) / 1000);
                ("Error: timed out after ", Text::default(), amount, " ms")
            }
            Self::AfterFailure => fixed("Not executed: an earlier action in this turn failed."),
            Self::NotRun => fixed("Error: not run"),
            Self::Breakpoints(marks) => {
                let after = " cache breakpoints, at most 4 are allowed";
                ("Error: the request would have ", Text::default(), Some(wide(marks)), after)
            }
            Self::TooLarge(full) => {
                each("Error: the result is too large: ");
                count(full.needed, each);
                (" bytes, at most ", Text::default(), Some(wide(full.free)), " fit")
            }
        };
        each(before);
        match amount {
            Some(amount) => number(amount, each),
            None => text(name, each),
        }
        each(after);
        match self {
            Self::InvalidInput { error, .. } => error.parts(each),
            Self::InvalidJson { error: Some(error), .. } if cfg!(feature = "input-words") => {
                each(error.expected.of_json());
                each(" at byte ");
                count(error.at, each);
                each(", but the JSON is truncated or invalid");
            }
            Self::InvalidJson { got, .. } => {
                each("an object, got ");
                each(got);
            }
            _ => {}
        }
    }

    /// Writes the text as a JSON string with its quotes: the `content` of a tool result.
    ///
    /// # Errors
    /// Returns the sink's error. Part of the text may have been written by then.
    pub fn write_json<S: Sink + ?Sized>(self, sink: &mut S) -> Result<(), Capacity> {
        sink.put(b"\"")?;
        let mut written = Ok(());
        self.parts(&mut |part| {
            if written.is_ok() {
                written = escape(part).write_to(sink);
            }
        });
        written?;
        sink.put(b"\"")
    }

    /// Replaces the result in `out` with this text.
    ///
    /// # Errors
    /// Returns `Capacity` of [`CapacityKind::Result`](crate::error::CapacityKind::Result) if the
    /// text does not fit.
    pub fn write_to(self, out: &mut Output<'_>) -> Result<(), Capacity> {
        out.clear();
        // All parts are written even after an overflow, so that the error states the whole size.
        self.parts(&mut |part| {
            let _counted = out.text(part);
        });
        out.state()
    }
}

/// Returns a text without a name or a number, for [`Notice::parts`].
fn fixed<'a>(words: &'static str) -> (&'static str, Text<'a>, Option<u64>, &'static str) {
    (words, Text::default(), None, "")
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Writes the text as the model receives it.
impl fmt::Display for Notice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_parts(f, |each| self.parts(each))
    }
}
