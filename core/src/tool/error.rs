//! How a tool fails.

use core::fmt;

use super::Output;
use super::texts::EMPTY_ERROR;
use crate::error::Capacity;
#[cfg(not(feature = "alloc"))]
use crate::json::number_parts;
use crate::json::{Array, Value, text_parts};

/// Bytes of a formatted error text that are kept without `alloc`.
pub const ERROR_TEXT: usize = 96;
#[cfg(not(feature = "alloc"))]
/// What ends a text that was longer than [`ERROR_TEXT`].
const CUT: &str = " […cut]";

/// Why a tool failed, in the words that the model is to read.
///
/// A `ToolError`'s own text goes to the model **verbatim**. Any other error turns into one with `?`
/// and reads `Error: <Display>: <its source's Display>: …`, down to its first cause. A source that
/// the text before it already shows is left out. With `alloc` the error is kept as the
/// [`source`](Self::source), for a log.
///
/// An empty text reads [`EMPTY_ERROR`]: the API takes no empty error.
#[derive(Debug)]
pub struct ToolError {
    repr: Repr,
    /// Where it was made, if the environment asks for backtraces.
    #[cfg(feature = "std")]
    backtrace: Option<alloc::boxed::Box<std::backtrace::Backtrace>>,
}

#[derive(Debug)]
enum Repr {
    Static(&'static str),
    /// Blocks, and what writes them, which is so linked only where there are any.
    StaticBlocks(&'static str, fn(&str, &mut Output<'_>) -> Result<(), Capacity>),
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
    const fn bare(repr: Repr) -> Self {
        Self {
            repr,
            #[cfg(feature = "std")]
            backtrace: None,
        }
    }

    /// With a backtrace, if `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` asks for one.
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

    /// Where the error was made; nothing unless `RUST_BACKTRACE` or `RUST_LIB_BACKTRACE` asks for
    /// it. An error that is a constant has none.
    #[cfg(feature = "std")]
    pub fn backtrace(&self) -> Option<&std::backtrace::Backtrace> {
        self.backtrace.as_deref()
    }

    /// This text, verbatim.
    pub const fn new(text: &'static str) -> Self {
        Self::bare(Repr::Static(text))
    }

    /// This text, verbatim: `ToolError::format(format_args!("no sensor {n}"))`.
    ///
    /// Without `alloc` at most [`ERROR_TEXT`] bytes are kept, and a longer text says at its end
    /// that it was cut; for more, write to the `Output` and return [`written`](Self::written).
    pub fn format(text: fmt::Arguments<'_>) -> Self {
        #[cfg(feature = "alloc")]
        return Self::traced(Repr::Text(alloc::fmt::format(text)));
        #[cfg(not(feature = "alloc"))]
        {
            use fmt::Write;
            let mut kept = Bounded { text: heapless::String::new(), cut: false };
            let whole = kept.write_fmt(text).is_ok() && !kept.cut;
            if !whole {
                let _fits = kept.text.push_str(CUT);
            }
            Self::bare(Repr::Text(kept.text))
        }
    }

    /// Content blocks as JSON text, an array, verbatim. The API takes only text in a failed call:
    /// if there is any other block, what the text blocks say goes to the model, and nothing else.
    pub const fn static_blocks(json: &'static str) -> Self {
        Self::bare(Repr::StaticBlocks(json, write_blocks))
    }

    /// What the tool wrote to its [`Output`] is the error.
    pub const fn written() -> Self {
        Self::bare(Repr::Written)
    }

    /// This text, verbatim.
    #[cfg(feature = "alloc")]
    pub fn text(text: impl Into<alloc::string::String>) -> Self {
        Self::traced(Repr::Text(text.into()))
    }

    /// Content blocks as JSON text, an array, verbatim. The API takes only text in a failed call:
    /// if there is any other block, what the text blocks say goes to the model, and nothing else.
    #[cfg(feature = "alloc")]
    pub fn blocks(json: impl Into<alloc::string::String>) -> Self {
        Self::traced(Repr::Blocks(json.into()))
    }

    /// `Error: <Display>` and the texts of its sources, with the error kept as the
    /// [`source`](Self::source).
    #[cfg(feature = "alloc")]
    pub fn from_boxed(error: alloc::boxed::Box<dyn core::error::Error + Send + Sync>) -> Self {
        Self::traced(Repr::Source(error))
    }

    /// The text of an error that cannot be kept, because it does not move between threads: with the
    /// texts of its sources.
    #[doc(hidden)]
    pub fn from_chain(error: &(dyn core::error::Error + 'static)) -> Self {
        #[cfg(feature = "alloc")]
        return Self::traced(Repr::Text(chain(error)));
        #[cfg(not(feature = "alloc"))]
        Self::bounded(&error, error.source())
    }

    /// `Error: `, the error's own text and those of its sources, as far as there is room.
    #[cfg(not(feature = "alloc"))]
    fn bounded(
        error: &dyn fmt::Display,
        mut source: Option<&(dyn core::error::Error + 'static)>,
    ) -> Self {
        use fmt::Write;
        let mut kept = Bounded { text: heapless::String::new(), cut: false };
        let _kept = write!(kept, "Error: {error}");
        while let Some(cause) = source {
            let mut next = Bounded { text: heapless::String::new(), cut: false };
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

    /// As `?` would make it of the same error. On a chip without the formatter, which would be
    /// linked for this alone.
    pub(crate) fn full(full: Capacity) -> Self {
        #[cfg(feature = "alloc")]
        return full.into();
        #[cfg(not(feature = "alloc"))]
        {
            let mut text = heapless::String::new();
            let mut put = |part: &str| text.push_str(part).map_err(|_| fmt::Error);
            let count = |n| u64::try_from(n).unwrap_or(u64::MAX);
            let _fits = ["Error: ", full.what.name(), " full: "]
                .into_iter()
                .try_for_each(&mut put)
                .and_then(|()| number_parts(count(full.needed), &mut put))
                .and_then(|()| put(" needed, "))
                .and_then(|()| number_parts(count(full.free), &mut put))
                .and_then(|()| put(" free"));
            Self::bare(Repr::Text(text))
        }
    }

    /// The error that this one was made from. None without `alloc`.
    pub fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match &self.repr {
            #[cfg(feature = "alloc")]
            Repr::Source(source) => Some(&**source),
            _ => None,
        }
    }

    /// Makes this error the result in `out`, in place of what was there.
    ///
    /// # Errors
    /// `Capacity` of [`What::Result`](crate::error::What::Result) if it does not fit.
    pub fn write_to(&self, out: &mut Output<'_>) -> Result<(), Capacity> {
        // Without the formatter where there is nothing to format: on a chip it would be linked for
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

/// Makes the text of `blocks` the result, or the blocks themselves if they hold nothing else.
fn write_blocks(blocks: &str, out: &mut Output<'_>) -> Result<(), Capacity> {
    out.clear();
    match out.content(blocks) {
        Ok(()) => {
            if elements(blocks).any(|block| !is_text(block)) {
                out.clear();
                for text in elements(blocks)
                    .filter(|block| is_text(*block))
                    .filter_map(|block| block.member("text")?.as_text())
                {
                    let _counted = text_parts(text, &mut |part| {
                        let _counted = out.text(part);
                        Ok(())
                    });
                }
            }
            non_empty(out)
        }
        Err(crate::error::Error::Capacity(full)) => Err(full),
        // Blocks that are none are better read as text than not at all.
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

/// What the model reads. Blocks as their JSON.
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

/// An error and its sources as the model reads them: `Error: a: b: c`. An error that shows its
/// source itself is not followed by it again.
#[cfg(feature = "alloc")]
fn chain(error: &(dyn core::error::Error + 'static)) -> alloc::string::String {
    use alloc::string::ToString;
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        // Not by `str::contains`, whose search can panic.
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

/// `Error: <Display>` and the texts of its sources. With `alloc` the error is kept as the
/// [`source`](ToolError::source).
impl<E: core::error::Error + Send + Sync + 'static> From<E> for ToolError {
    fn from(error: E) -> Self {
        #[cfg(feature = "alloc")]
        return Self::from_boxed(alloc::boxed::Box::new(error));
        #[cfg(not(feature = "alloc"))]
        Self::bounded(&error, error.source())
    }
}

/// Keeps the first part of what is written, and leaves room for [`CUT`].
#[cfg(not(feature = "alloc"))]
struct Bounded {
    text: heapless::String<ERROR_TEXT>,
    cut: bool,
}

#[cfg(not(feature = "alloc"))]
impl fmt::Write for Bounded {
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
