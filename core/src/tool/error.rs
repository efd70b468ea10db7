//! The error of a tool.

use core::fmt;

use super::texts::EMPTY_ERROR;
use super::{Output, extras};
use crate::error::Capacity;
#[cfg(not(feature = "alloc"))]
use crate::json::count_parts;
use crate::json::{Array, Value, text_parts};

/// The maximum size of a formatted error text without `alloc`, in bytes.
pub(crate) const ERROR_TEXT: usize = 96;
#[cfg(not(feature = "alloc"))]
/// The end of a text that was longer than [`Self::MAX_TEXT`].
const CUT: &str = " […cut]";

/// The reason why a tool failed, in the words that the model receives.
///
/// A `ToolError`'s own text goes to the model **verbatim**. `?` converts any other error into a
/// `ToolError` with the text `Error: <Display>: <its source's Display>: …`, down to the first
/// cause. A source that the text before it already shows is left out. With `alloc` the error is
/// kept as the [`source`](Self::source), so that it can be logged.
///
/// An empty text becomes `Error: (no message)`, because the API does not accept an empty error.
#[derive(Debug)]
pub struct ToolError {
    repr: Repr,
    /// The place where the error was created, if the environment enables backtraces.
    #[cfg(feature = "std")]
    backtrace: Option<alloc::boxed::Box<std::backtrace::Backtrace>>,
}

/// A function that replaces the result with blocks.
pub(super) type WriteBlocks = fn(&str, &mut Output<'_>) -> Result<(), Capacity>;

#[derive(Debug)]
enum Repr {
    Static(&'static str),
    /// Blocks, and the function that writes them: see [`extras`].
    StaticBlocks(&'static str, WriteBlocks),
    Written,
    #[cfg(not(feature = "alloc"))]
    Text(heapless::String<ERROR_TEXT>),
    #[cfg(feature = "alloc")]
    Text(alloc::string::String),
    #[cfg(feature = "alloc")]
    Blocks(alloc::string::String),
    #[cfg(feature = "alloc")]
    Source(alloc::boxed::Box<dyn core::error::Error + Send + Sync>),
}

impl ToolError {
    /// The maximum size of a formatted error text without `alloc`, in bytes.
    pub const MAX_TEXT: usize = ERROR_TEXT;

    const fn bare(repr: Repr) -> Self {
        Self {
            repr,
            #[cfg(feature = "std")]
            backtrace: None,
        }
    }

    /// Creates an error with a backtrace, if `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` enables them.
    #[cfg(feature = "alloc")]
    fn traced(repr: Repr) -> Self {
        Self {
            repr,
            #[cfg(feature = "std")]
            backtrace: {
                let trace = std::backtrace::Backtrace::capture();
                (trace.status() == std::backtrace::BacktraceStatus::Captured)
                    .then(|| alloc::boxed::Box::new(trace))
            },
        }
    }

    /// Returns the backtrace of the place where the error was created.
    ///
    /// Returns `None` unless `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` enables backtraces. An error
    /// that is a constant never has one.
    #[cfg(feature = "std")]
    pub fn backtrace(&self) -> Option<&std::backtrace::Backtrace> {
        self.backtrace.as_deref()
    }

    /// Creates an error from a static text, which goes to the model verbatim.
    pub const fn new(text: &'static str) -> Self {
        Self::bare(Repr::Static(text))
    }

    /// Creates an error from a formatted text, which goes to the model verbatim:
    /// `ToolError::format(format_args!("no sensor {n}"))`.
    ///
    /// Without `alloc` at most [`Self::MAX_TEXT`] bytes are kept, and a longer text ends with a
    /// note that it was cut. For a longer text, write it to the `Output` and return
    /// [`written`](Self::written).
    pub fn format(text: fmt::Arguments<'_>) -> Self {
        #[cfg(feature = "alloc")]
        return Self::traced(Repr::Text(alloc::fmt::format(text)));
        #[cfg(not(feature = "alloc"))]
        {
            use fmt::Write;
            let mut kept = BoundedText { text: heapless::String::new(), cut: false };
            let whole = kept.write_fmt(text).is_ok() && !kept.cut;
            if !whole {
                let _fits = kept.text.push_str(CUT);
            }
            Self::bare(Repr::Text(kept.text))
        }
    }

    /// Creates an error from content blocks: a static JSON text that is an array of blocks.
    ///
    /// Text blocks go to the model verbatim. The API accepts only text in a failed call, so if
    /// there is any other block, the model receives only the contents of the text blocks.
    pub const fn static_blocks(json: &'static str) -> Self {
        Self::bare(Repr::StaticBlocks(json, extras::enable_error_blocks()))
    }

    /// Creates an error whose text is what the tool wrote to its [`Output`].
    pub const fn written() -> Self {
        Self::bare(Repr::Written)
    }

    /// Creates an error from a text, which goes to the model verbatim.
    #[cfg(feature = "alloc")]
    pub fn text(text: impl Into<alloc::string::String>) -> Self {
        Self::traced(Repr::Text(text.into()))
    }

    /// Creates an error from content blocks: a JSON text that is an array of blocks.
    ///
    /// Text blocks go to the model verbatim. The API accepts only text in a failed call, so if
    /// there is any other block, the model receives only the contents of the text blocks.
    #[cfg(feature = "alloc")]
    pub fn blocks(json: impl Into<alloc::string::String>) -> Self {
        Self::traced(Repr::Blocks(json.into()))
    }

    /// Creates an error with the text `Error: <Display>`, followed by the texts of the error's
    /// sources. The error is kept as the [`source`](Self::source).
    #[cfg(feature = "alloc")]
    pub fn from_boxed(error: alloc::boxed::Box<dyn core::error::Error + Send + Sync>) -> Self {
        Self::traced(Repr::Source(error))
    }

    /// Creates an error from `Error: `, the error's own text and the texts of its sources, as far
    /// as they fit into [`Self::MAX_TEXT`] bytes.
    #[cfg(not(feature = "alloc"))]
    fn bounded(
        error: &dyn fmt::Display,
        mut source: Option<&(dyn core::error::Error + 'static)>,
    ) -> Self {
        use fmt::Write;
        let mut kept = BoundedText { text: heapless::String::new(), cut: false };
        let _kept = write!(kept, "Error: {error}");
        while let Some(cause) = source {
            let mut next = BoundedText { text: heapless::String::new(), cut: false };
            let _kept = write!(next, "{cause}");
            if !kept.text.ends_with(next.text.as_str()) {
                let _kept = write!(kept, ": {cause}");
            }
            source = cause.source();
        }
        if kept.cut {
            let _fits = kept.text.push_str(CUT);
        }
        Self::bare(Repr::Text(kept.text))
    }

    /// Creates the error that `?` would create from `full`.
    ///
    /// On a chip this avoids the formatter, which would be linked for this error alone.
    pub(crate) fn full(full: Capacity) -> Self {
        #[cfg(feature = "alloc")]
        return full.into();
        #[cfg(not(feature = "alloc"))]
        {
            let mut text = heapless::String::new();
            // All parts fit.
            let mut put = |part: &str| text.push_str(part).unwrap_or_default();
            ["Error: ", full.what.name(), " full: "].into_iter().for_each(&mut put);
            count_parts(full.needed, &mut put);
            put(" needed, ");
            count_parts(full.free, &mut put);
            put(" free");
            Self::bare(Repr::Text(text))
        }
    }

    /// Returns the error that this one was created from. Always `None` without `alloc`.
    pub fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.repr {
            #[cfg(feature = "alloc")]
            Repr::Source(source) => Some(&**source),
            _ => None,
        }
    }

    /// Replaces the result in `out` with this error.
    ///
    /// # Errors
    /// Returns `Capacity` of [`CapacityKind::Result`](crate::error::CapacityKind::Result) if the
    /// error does not fit.
    pub fn write_to(&self, out: &mut Output<'_>) -> Result<(), Capacity> {
        // Avoid the formatter where there is nothing to format: on a chip it would be linked for
        // this alone.
        let text = match &self.repr {
            Repr::Written => return non_empty(out),
            Repr::StaticBlocks(json, write) => return write(json, out),
            Repr::Static(text) => *text,
            Repr::Text(text) => text,
            #[cfg(feature = "alloc")]
            Repr::Blocks(json) => return write_blocks(json, out),
            #[cfg(feature = "alloc")]
            Repr::Source(_) => {
                use fmt::Write;
                out.clear();
                let _counted = write!(out, "{self}");
                return non_empty(out);
            }
        };
        out.clear();
        let _counted = out.text(text);
        non_empty(out)
    }
}

/// Replaces the result with `blocks`, or with only their text if one of them is not a text block.
pub(super) fn write_blocks(blocks: &str, out: &mut Output<'_>) -> Result<(), Capacity> {
    out.clear();
    match out.content(blocks) {
        Ok(()) => {
            if elements(blocks).any(|block| !is_text(block)) {
                out.clear();
                for text in elements(blocks)
                    .filter(|block| is_text(*block))
                    .filter_map(|block| block.member("text")?.as_text())
                {
                    text_parts(text, &mut |part| {
                        let _counted = out.text(part);
                    });
                }
            }
            non_empty(out)
        }
        Err(crate::error::Error::Capacity(full)) => Err(full),
        // Invalid blocks are written as text, so that the error is not lost.
        Err(_) => out.text(blocks),
    }
}

fn elements(blocks: &str) -> Array<'_> {
    Value::first(blocks.as_bytes()).unwrap_or_default().elements()
}

fn is_text(block: Value<'_>) -> bool {
    block.member("type").is_some_and(|kind| kind.is_text("text"))
}

fn non_empty(out: &mut Output<'_>) -> Result<(), Capacity> {
    if out.is_blank() {
        out.clear();
        return out.text(EMPTY_ERROR);
    }
    out.state()
}

/// Writes the text that the model receives. Blocks are written as JSON.
impl fmt::Display for ToolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.repr {
            Repr::Static("") => f.write_str(EMPTY_ERROR),
            Repr::Static(text) | Repr::StaticBlocks(text, _) => f.write_str(text),
            Repr::Written => f.write_str("(the error is in the tool's output)"),
            Repr::Text(text) if text.is_empty() => f.write_str(EMPTY_ERROR),
            Repr::Text(text) => f.write_str(text),
            #[cfg(feature = "alloc")]
            Repr::Blocks(text) => f.write_str(text),
            #[cfg(feature = "alloc")]
            Repr::Source(source) => f.write_str(&chain(&**source)),
        }
    }
}

/// Creates an error from the text of `error` and the texts of its sources. Use it for an error that
/// cannot be kept because it cannot move between threads.
pub fn of_chain(error: &(dyn core::error::Error + 'static)) -> ToolError {
    #[cfg(feature = "alloc")]
    return ToolError::traced(Repr::Text(chain(error)));
    #[cfg(not(feature = "alloc"))]
    ToolError::bounded(&error, error.source())
}

/// Writes the message of an error of another language as the model receives the text of a Rust
/// error.
pub fn of_message(message: &str, out: &mut Output<'_>) -> ToolError {
    if !message.is_empty() {
        // Both parts are written even after an overflow, so that the error states the whole size.
        for part in ["Error: ", message] {
            let _counted = out.text(part);
        }
    }
    ToolError::written()
}

/// Returns an error and its sources as the model receives them: `Error: a: b: c`. A source that the
/// text before it already shows is left out.
#[cfg(feature = "alloc")]
fn chain(error: &(dyn core::error::Error + 'static)) -> alloc::string::String {
    use alloc::string::ToString;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        // `str::contains` is not used because its search can panic.
        let is_shown = (0..)
            .map_while(|at| text.as_bytes().get(at..))
            .any(|rest| rest.starts_with(next.as_bytes()));
        if !is_shown {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&next);
        }
        source = cause.source();
    }
    if text.is_empty() { EMPTY_ERROR.to_string() } else { alloc::format!("Error: {text}") }
}

/// Converts an error to `Error: <Display>`, followed by the texts of its sources. With `alloc` the
/// error is kept as the [`source`](ToolError::source).
impl<E: core::error::Error + Send + Sync + 'static> From<E> for ToolError {
    fn from(error: E) -> Self {
        #[cfg(feature = "alloc")]
        return Self::from_boxed(alloc::boxed::Box::new(error));
        #[cfg(not(feature = "alloc"))]
        Self::bounded(&error, error.source())
    }
}

/// Keeps the beginning of a text and leaves room for [`CUT`].
#[cfg(not(feature = "alloc"))]
struct BoundedText {
    text: heapless::String<ERROR_TEXT>,
    cut: bool,
}

#[cfg(not(feature = "alloc"))]
impl fmt::Write for BoundedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.cut
                || self.text.len().saturating_add(c.len_utf8()).saturating_add(CUT.len())
                    > ERROR_TEXT
                || self.text.push(c).is_err()
            {
                self.cut = true;
                return Ok(());
            }
        }
        Ok(())
    }
}
