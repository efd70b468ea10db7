//! Every text that the loop itself tells the model, in one place.

use core::fmt;
use core::time::Duration;

use super::Output;
use crate::error::Capacity;
use crate::json::{Each, Sink, Text, escape, number_parts as number, text_parts as text};
use crate::schema::Explained;

/// What the model is told when a tool gave nothing.
pub const EMPTY_RESULT: &str = "(no output)";
/// What the model is told when a tool failed without a word.
pub const EMPTY_ERROR: &str = "Error: (no message)";

/// An answer to a call that no tool gave: always an error.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Notice<'a> {
    /// No runnable tool has this name: `Error: Tool 'X' not found`.
    NotFound(Text<'a>),
    /// The call is of a toolset's member that nothing here runs: `Error: Toolset 'T' member 'M' not
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
        /// What is wrong.
        error: Explained<'a>,
    },
    /// The tool panicked: `Error: tool panicked`.
    Panicked,
    /// The run was cancelled while the call was open: `Error: cancelled`.
    Cancelled,
    /// The tool took longer than it may: `Error: timed out after N ms`.
    TimedOut(Duration),
    /// The model's input was no JSON object: `Error: invalid input for tool 'X': input: expected an
    /// object, got …`, or what was wrong with the JSON, and where.
    InvalidJson {
        /// The tool's name.
        name: Text<'a>,
        /// What is wrong with the JSON; nothing if it is JSON.
        error: Option<crate::json::JsonError>,
        /// What it is, if it is JSON.
        got: &'a str,
    },
    /// The call was answered without running it: `Error: not run`.
    NotRun,
    /// The result had no room: `Error: the result is too large: N bytes, at most M fit`.
    TooLarge(Capacity),
    /// With the result the request would have more cache breakpoints than the API allows:
    /// `Error: the request would have N cache breakpoints, at most 4 are allowed`.
    Breakpoints(usize),
}

impl Notice<'_> {
    /// Gives the text to `each`, in parts.
    fn parts(self, each: &mut Each<'_>) -> fmt::Result {
        match self {
            Self::NotFound(name) => {
                each("Error: Tool '")?;
                text(name, each)?;
                each("' not found")
            }
            Self::MemberNotFound { toolset, name } => {
                each("Error: Toolset '")?;
                text(toolset, each)?;
                each("' member '")?;
                text(name, each)?;
                each("' not found")
            }
            Self::InvalidInput { name, error } => {
                each("Error: invalid input for tool '")?;
                text(name, each)?;
                each("': ")?;
                error.parts(each)
            }
            Self::Panicked => each("Error: tool panicked"),
            Self::Cancelled => each("Error: cancelled"),
            Self::TimedOut(limit) => {
                each("Error: timed out after ")?;
                number(
                    limit
                        .as_secs()
                        .saturating_mul(1000)
                        .saturating_add(u64::from(limit.subsec_millis())),
                    each,
                )?;
                each(" ms")
            }
            Self::InvalidJson { name, error, got } => {
                each("Error: invalid input for tool '")?;
                text(name, each)?;
                each("': input: expected ")?;
                match error {
                    Some(error) => {
                        each(error.expected)?;
                        each(" at byte ")?;
                        number(u64::try_from(error.at).unwrap_or(u64::MAX), each)?;
                        each(", got JSON that is cut off or broken there")
                    }
                    None => {
                        each("an object, got ")?;
                        each(got)
                    }
                }
            }
            Self::NotRun => each("Error: not run"),
            Self::Breakpoints(count) => {
                each("Error: the request would have ")?;
                number(u64::try_from(count).unwrap_or(u64::MAX), each)?;
                each(" cache breakpoints, at most 4 are allowed")
            }
            Self::TooLarge(full) => {
                each("Error: the result is too large: ")?;
                number(u64::try_from(full.needed).unwrap_or(u64::MAX), each)?;
                each(" bytes, at most ")?;
                number(u64::try_from(full.free).unwrap_or(u64::MAX), each)?;
                each(" fit")
            }
        }
    }

    /// Writes it as a JSON string, quotes included: a tool result's `content`.
    ///
    /// # Errors
    /// The sink's; then a part may have been written.
    pub fn write_json<S: Sink + ?Sized>(self, sink: &mut S) -> Result<(), Capacity> {
        sink.put(b"\"")?;
        let mut full = Ok(());
        // The error itself goes round the formatter's, which says nothing.
        let _told: fmt::Result = self.parts(&mut |part| {
            full = escape(part).write_to(sink);
            full.map_err(|_| fmt::Error)
        });
        full?;
        sink.put(b"\"")
    }

    /// Makes it the result in `out`, in place of what was there.
    ///
    /// # Errors
    /// `Capacity` of [`What::Result`](crate::error::What::Result).
    pub fn write_to(self, out: &mut Output<'_>) -> Result<(), Capacity> {
        out.clear();
        // Each part is tried, so that the error tells how much the whole needs.
        let _counted: fmt::Result = self.parts(&mut |part| {
            let _counted = out.text(part);
            Ok(())
        });
        out.state()
    }
}

/// The text as the model sees it.
impl fmt::Display for Notice<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts(&mut |part| f.write_str(part))
    }
}
