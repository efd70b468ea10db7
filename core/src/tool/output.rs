//! The buffer for a tool's result.

use core::fmt;

use super::texts::EMPTY_RESULT;
use crate::error::{Capacity, CapacityKind, Error, Misuse};
use crate::json::{self, Kind, Sink, Text, Value, escape};

/// The buffer that a tool writes its result to.
///
/// It holds the `content` of a `tool_result` in its wire format: a JSON string or an array of
/// blocks.
///
/// ```
/// use toolrunner_core::tool::{ContentBlock, Output};
/// let mut memory = [0; 160];
/// let mut out = Output::new(&mut memory);
/// out.text("21.5 \"degrees\"")?;
/// assert_eq!(out.finish()?, br#""21.5 \"degrees\"""#);
///
/// let mut out = Output::new(&mut memory);
/// out.block(ContentBlock::text("here:"))?;
/// let image = ContentBlock::image_url("https://example.org/a.png");
/// out.block(image.with(r#""cache_control":{"type":"ephemeral"}"#))?;
/// # Ok::<(), toolrunner_core::error::Error>(())
/// ```
/// Text alone becomes a string. As soon as there is a block, the content becomes an array, and text
/// becomes a text block of its own. Consecutive texts are joined. If nothing was written, the
/// result is `(no output)`. A single empty text remains an empty string.
///
/// **When it is full**, nothing is cut silently. Bytes that do not fit are counted, and every later
/// call fails. [`finish`](Self::finish) fails too and reports the size of the whole result in
/// bytes. `write!` never fails for this reason, so that all bytes are counted.
#[derive(Debug)]
pub struct Output<'a> {
    memory: Memory<'a>,
    /// The number of bytes before the result, which a growing buffer already contained.
    start: usize,
    /// The size of the result in bytes, without its closing characters.
    len: usize,
    /// The maximum size of the result in bytes, including its closing characters.
    limit: usize,
    /// The number of bytes that did not fit.
    lost: usize,
    form: Form,
}

#[derive(Debug)]
enum Memory<'a> {
    Fixed(&'a mut [u8]),
    #[cfg(feature = "alloc")]
    Growing(&'a mut alloc::vec::Vec<u8>),
}

/// An input that a gate wrote, and room to unescape it.
pub(crate) enum GateInput<'a> {
    Fixed(&'a [u8], &'a mut [u8]),
    #[cfg(feature = "alloc")]
    Growing(alloc::vec::Vec<u8>, alloc::vec::Vec<u8>),
}

impl GateInput<'_> {
    pub(crate) const NONE: Self = Self::Fixed(&[], &mut []);

    /// Returns the input and the room.
    pub(crate) fn parts(&mut self) -> (&[u8], &mut [u8]) {
        match self {
            Self::Fixed(input, scratch) => (input, scratch),
            #[cfg(feature = "alloc")]
            Self::Growing(input, scratch) => (input, scratch),
        }
    }
}

/// The JSON construct that is open at the end of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Nothing was written yet.
    Empty,
    /// A string is open.
    Text,
    /// An array is open, between two blocks.
    Blocks,
    /// An array is open, inside the text of a block.
    BlockText,
    /// Nothing is open: the whole content was written at once.
    Whole,
}

impl Form {
    /// Returns the characters that complete the JSON.
    const fn closing(self) -> &'static [u8] {
        match self {
            Self::Empty | Self::Whole => b"",
            Self::Text => b"\"",
            Self::Blocks => b"]",
            Self::BlockText => b"\"}]",
        }
    }
}

/// The beginning of a text block.
const TEXT_BLOCK: &[u8] = br#"{"type":"text","text":""#;

impl<'a> Output<'a> {
    /// Creates an output that writes to `memory` from its start. The length of `memory` is the
    /// limit.
    pub const fn new(memory: &'a mut [u8]) -> Self {
        let limit = memory.len();
        Self { memory: Memory::Fixed(memory), start: 0, len: 0, limit, lost: 0, form: Form::Empty }
    }

    /// Creates an output that appends to `memory`. There is no limit unless [`limit`](Self::limit)
    /// sets one.
    #[cfg(feature = "alloc")]
    pub const fn growing(memory: &'a mut alloc::vec::Vec<u8>) -> Self {
        let start = memory.len();
        Self {
            memory: Memory::Growing(memory),
            start,
            len: 0,
            limit: usize::MAX,
            lost: 0,
            form: Form::Empty,
        }
    }

    /// Sets the maximum size of the result in bytes of JSON. A limit above the current one has no
    /// effect.
    #[must_use]
    pub fn limit(mut self, bytes: usize) -> Self {
        self.limit = self.limit.min(bytes);
        self
    }

    /// Returns whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len == 0 && self.lost == 0
    }

    /// Returns whether the result has no contents. This includes a content that was set to `""` or
    /// `[]`.
    pub(crate) fn is_blank(&self) -> bool {
        let nothing = |content: &[u8]| {
            Value::first(content)
                .is_some_and(|value| value.raw() == b"\"\"" || is_empty_array(value))
        };
        self.is_empty()
            || self.is_empty_text()
            || self.is_no_block()
            || (self.form == Form::Whole && self.written(0).is_some_and(nothing))
    }

    fn is_empty_text(&self) -> bool {
        self.form == Form::Text && self.len == 1 && self.lost == 0
    }

    /// Returns whether an array was opened but has no block yet.
    fn is_no_block(&self) -> bool {
        self.form == Form::Blocks && self.len == 1 && self.lost == 0
    }

    /// Discards everything that was written, including the count of bytes that did not fit.
    pub fn clear(&mut self) {
        self.truncate(0);
        self.lost = 0;
        self.form = Form::Empty;
    }

    /// Appends text.
    ///
    /// # Errors
    /// Returns `Capacity` of [`CapacityKind::Result`] if the text does not fit, or if an earlier
    /// write did not fit.
    pub fn text(&mut self, text: &str) -> Result<(), Capacity> {
        if text.is_empty() {
            // An empty string is not the same as no result, so it is kept verbatim.
            if self.form == Form::Empty {
                self.open(Form::Text, b"\"");
            }
            return self.state();
        }
        if self.form == Form::Whole {
            self.rewrite_whole();
        }
        match self.form {
            Form::Empty | Form::Whole => self.open(Form::Text, b"\""),
            Form::Blocks => {
                let comma: &[u8] = if self.len > 1 { b"," } else { b"" };
                self.form = Form::BlockText;
                self.push(comma);
                self.push(TEXT_BLOCK);
            }
            Form::Text | Form::BlockText => {}
        }
        let _always = escape(text).write_to(&mut CountingOutput(self));
        self.state()
    }

    /// Appends a content block. A text block without text is left out, because the API does not
    /// accept it.
    ///
    /// # Errors
    /// Returns `Capacity` if the block does not fit. Returns `Misuse` if raw JSON in the block is
    /// invalid; the block is then left out.
    pub fn block(&mut self, block: super::ContentBlock<'_>) -> Result<(), Error> {
        self.open_blocks();
        let mark = self.len;
        if self.len > 1 {
            self.push(b",");
        }
        let from = self.len;
        let _always = block.write_to(&mut CountingOutput(self));
        self.state()?;
        let written = self.written(from);
        let fits = !block.has_raw() || written.is_some_and(is_block);
        if !fits || written.and_then(Value::first).is_some_and(is_empty_text_block) {
            self.truncate(mark);
        }
        if !fits {
            return Err(Misuse::Json("a content block").into());
        }
        Ok(())
    }

    /// Replaces the whole content with `json`.
    ///
    /// `json` is a string or an array of blocks in the wire format, and may be empty. It goes to
    /// the model byte for byte, with one exception: text blocks without text are removed if there
    /// are other blocks, because the API does not accept them.
    ///
    /// # Errors
    /// Returns `Capacity` if `json` does not fit. Returns `Misuse` if it is neither a string nor an
    /// array of blocks.
    pub fn content(&mut self, json: &str) -> Result<(), Error> {
        let value = json::check(json.as_bytes()).ok().and_then(|_| Value::first(json.as_bytes()));
        let value = value.filter(|value| match value.kind() {
            Kind::String => true,
            Kind::Array => value.elements().all(has_type),
            _ => false,
        });
        let value = value.ok_or(Misuse::Json(
            "a tool result's content must be a string or an array of blocks",
        ))?;
        self.clear();
        let said = || value.elements().filter(|block| !is_empty_text_block(*block));
        if said().next().is_some() && value.elements().any(is_empty_text_block) {
            self.open_blocks();
            for (i, block) in said().enumerate() {
                self.push(if i > 0 { b"," } else { b"" });
                self.push(block.raw());
            }
        } else {
            self.open(Form::Whole, value.raw());
        }
        Ok(self.state()?)
    }

    /// Replaces the whole content with a tool's input: a JSON object. For a gate that changes the
    /// input of a call, before it returns [`Verdict::Input`](crate::drive::Verdict::Input).
    ///
    /// # Errors
    /// Returns `Capacity` if `json` does not fit. Returns `Misuse` if it is not a JSON object.
    pub fn input(&mut self, json: &str) -> Result<(), Error> {
        self.clear();
        let value = json::check(json.as_bytes()).ok().and_then(|_| Value::first(json.as_bytes()));
        let value = value.filter(|value| value.kind() == Kind::Object);
        let value = value.ok_or(Misuse::Json("a tool's input must be a JSON object"))?;
        self.open(Form::Whole, value.raw());
        Ok(self.state()?)
    }

    /// Returns this output, which must be empty, for a result.
    #[inline]
    pub(crate) fn by_ref(&mut self) -> Output<'_> {
        let Self { start, len, limit, lost, form, .. } = *self;
        let memory = match &mut self.memory {
            Memory::Fixed(memory) => Memory::Fixed(memory),
            #[cfg(feature = "alloc")]
            Memory::Growing(memory) => Memory::Growing(memory),
        };
        Output { memory, start, len, limit, lost, form }
    }

    /// Moves an [`input`](Self::input) out of the way of the result, and returns it with the output
    /// for the result, which is empty.
    pub(crate) fn split_input(&mut self) -> (GateInput<'_>, Output<'_>) {
        let len = if self.state().is_ok() { self.len } else { 0 };
        let escapes = self
            .written(0)
            .and_then(|written| written.get(..len))
            .is_some_and(|written| written.contains(&b'\\'));
        let scratch = if escapes { len } else { 0 };
        match &mut self.memory {
            Memory::Fixed(memory) => {
                let end = self.limit.min(memory.len());
                let memory = memory.get_mut(..end).unwrap_or_default();
                let room = end.saturating_sub(len);
                for i in (0..len).rev() {
                    if let Some(&byte) = memory.get(i)
                        && let Some(slot) = memory.get_mut(room.saturating_add(i))
                    {
                        *slot = byte;
                    }
                }
                let (memory, input) = memory.split_at_mut_checked(room).unwrap_or_default();
                let room = room.saturating_sub(scratch);
                let (memory, scratch) = memory.split_at_mut_checked(room).unwrap_or_default();
                (GateInput::Fixed(input, scratch), Output::new(memory))
            }
            #[cfg(feature = "alloc")]
            Memory::Growing(memory) => {
                let written = memory.get(self.start..).and_then(|written| written.get(..len));
                let input = written.unwrap_or_default().to_vec();
                memory.truncate(self.start);
                let given = GateInput::Growing(input, alloc::vec![0; scratch]);
                (given, Output::growing(memory).limit(self.limit))
            }
        }
    }

    /// Returns the overflow, if there was one: the size of the whole result and the limit, in
    /// bytes.
    pub fn overflow(&self) -> Option<Capacity> {
        let needed = self.len.saturating_add(self.lost).saturating_add(self.form.closing().len());
        (self.lost > 0).then_some(Capacity { what: CapacityKind::Result, needed, free: self.limit })
    }

    /// Completes the result and returns it as one JSON value.
    ///
    /// # Errors
    /// Returns `Capacity` of [`CapacityKind::Result`] if the result did not fit.
    pub fn finish(mut self) -> Result<&'a [u8], Capacity> {
        if self.is_empty() || self.is_no_block() {
            self.clear();
            self.text(EMPTY_RESULT)?;
        }
        let closing = self.form.closing();
        self.form = Form::Whole;
        self.push(closing);
        self.state()?;
        let (start, end) = (self.start, self.start.saturating_add(self.len));
        #[cfg_attr(
            not(feature = "alloc"),
            allow(
                clippy::infallible_destructuring_match,
                reason = "one form of memory without alloc"
            )
        )]
        let memory: &'a [u8] = match self.memory {
            Memory::Fixed(memory) => memory,
            #[cfg(feature = "alloc")]
            Memory::Growing(memory) => memory,
        };
        Ok(memory.get(start..end).unwrap_or_default())
    }

    /// Returns the error of an overflow, if there was one.
    pub(crate) fn state(&self) -> Result<(), Capacity> {
        self.overflow().map_or(Ok(()), Err)
    }

    fn open(&mut self, form: Form, opening: &[u8]) {
        self.form = form;
        self.push(opening);
    }

    /// Turns the content into an array and ends the block that is open.
    fn open_blocks(&mut self) {
        if self.is_empty_text() {
            // A text block cannot hold an empty string.
            self.clear();
        }
        match self.form {
            Form::Empty => self.open(Form::Blocks, b"["),
            Form::Text => {
                // `"text` becomes `[{"type":"text","text":"text"}`.
                self.form = Form::BlockText;
                self.insert(0, b"[");
                self.replace_quote();
                self.open_blocks();
            }
            Form::BlockText => self.open(Form::Blocks, b"\"}"),
            Form::Whole => {
                self.rewrite_whole();
                self.open_blocks();
            }
            Form::Blocks => {}
        }
    }

    /// Reopens a content that was written at once, so that more can follow.
    fn rewrite_whole(&mut self) {
        if self.is_blank() {
            return self.clear();
        }
        let string = self.written(0).and_then(<[u8]>::first) == Some(&b'"');
        self.truncate(self.len.saturating_sub(1));
        self.form = if string { Form::Text } else { Form::Blocks };
    }

    /// Replaces the string's opening quote, after the `[`, with the beginning of a text block.
    fn replace_quote(&mut self) {
        // The beginning of a text block ends with that quote.
        self.insert(1, TEXT_BLOCK.strip_suffix(b"\"").unwrap_or_default());
    }

    /// Inserts `bytes` at `at`.
    fn insert(&mut self, at: usize, bytes: &[u8]) {
        let before = self.len;
        self.push(bytes);
        if self.lost > 0 {
            return;
        }
        let shift = bytes.len();
        let Some(all) = self.written_mut() else { return };
        for i in (at..before).rev() {
            if let Some(&byte) = all.get(i)
                && let Some(slot) = all.get_mut(i.saturating_add(shift))
            {
                *slot = byte;
            }
        }
        if let Some(slots) = all.get_mut(at..) {
            for (slot, &byte) in slots.iter_mut().zip(bytes) {
                *slot = byte;
            }
        }
    }

    fn push(&mut self, bytes: &[u8]) {
        let fits = self.limit.saturating_sub(self.len).saturating_sub(self.form.closing().len());
        if self.lost > 0 || bytes.len() > fits {
            self.lost = self.lost.saturating_add(bytes.len());
            return;
        }
        match &mut self.memory {
            Memory::Fixed(memory) => {
                let Some(room) =
                    memory.get_mut(self.len..).and_then(|rest| rest.get_mut(..bytes.len()))
                else {
                    return;
                };
                json::copy(room, bytes);
            }
            #[cfg(feature = "alloc")]
            Memory::Growing(memory) => memory.extend_from_slice(bytes),
        }
        self.len = self.len.saturating_add(bytes.len());
    }

    fn truncate(&mut self, len: usize) {
        self.len = len;
        #[cfg(feature = "alloc")]
        if let Memory::Growing(memory) = &mut self.memory {
            memory.truncate(self.start.saturating_add(len));
        }
    }

    fn written(&self, from: usize) -> Option<&[u8]> {
        let (start, end) = (self.start.saturating_add(from), self.start.saturating_add(self.len));
        match &self.memory {
            Memory::Fixed(memory) => memory.get(start..end),
            #[cfg(feature = "alloc")]
            Memory::Growing(memory) => memory.get(start..end),
        }
    }

    fn written_mut(&mut self) -> Option<&mut [u8]> {
        let (start, end) = (self.start, self.start.saturating_add(self.len));
        match &mut self.memory {
            Memory::Fixed(memory) => memory.get_mut(start..end),
            #[cfg(feature = "alloc")]
            Memory::Growing(memory) => memory.get_mut(start..end),
        }
    }
}

/// Appends text. Never fails: an [`Output`] that is full counts the bytes, and [`Output::finish`]
/// reports the overflow.
impl fmt::Write for Output<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let _counted = self.text(text);
        Ok(())
    }
}

/// Accepts all bytes, so that bytes that do not fit are counted to the end.
struct CountingOutput<'o, 'a>(&'o mut Output<'a>);

impl Sink for CountingOutput<'_, '_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Capacity> {
        self.0.push(bytes);
        Ok(())
    }
}

fn is_empty_array(value: Value<'_>) -> bool {
    value.kind() == Kind::Array && value.elements().next().is_none()
}

/// Returns whether `bytes` is one JSON object with a `type`.
fn is_block(bytes: &[u8]) -> bool {
    json::check(bytes).is_ok() && Value::first(bytes).is_some_and(has_type)
}

/// Returns whether a block is a text block without text.
fn is_empty_text_block(block: Value<'_>) -> bool {
    block.member("type").is_some_and(|kind| kind.is_text("text"))
        && block.member("text").and_then(Value::as_text).is_none_or(Text::is_empty)
}

fn has_type(block: Value<'_>) -> bool {
    block.member("type").is_some_and(|kind| kind.kind() == Kind::String)
}
