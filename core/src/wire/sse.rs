//! Decodes server-sent events from a byte stream that may be split at any byte. Source: the event
//! stream format in the HTML standard.
//!
//! A frame that is complete in its chunk is borrowed from the chunk. A frame that is split is
//! assembled in the transcript's tail: `[data lines so far][current line]`. Lines without effect
//! (comments, fields other than `data` and `event`, and the data of an event with an unknown name)
//! are not stored.

use super::event::{EventKind, Wire};
use super::fast::{self, FastDelta};
use super::kinds::Field;
use crate::error::Capacity;
use crate::json::{IS_CHIP, Sink, copy_down, line_end};
use crate::transcript::{Span, Transcript};

/// The location of an event's bytes.
#[derive(Clone, Copy)]
pub(crate) enum Source<'i> {
    Chunk(&'i [u8]),
    /// The bytes are in the transcript's tail.
    Tail(Span),
}

impl<'i> Source<'i> {
    pub(crate) fn bytes<'t>(self, transcript: &'t Transcript<'_>) -> &'t [u8]
    where
        'i: 't,
    {
        match self {
            Self::Chunk(bytes) => bytes,
            Self::Tail(span) => span.of(transcript.whole()),
        }
    }

    /// Returns the part at the range `span`.
    pub(crate) fn part(self, span: Span) -> Self {
        match self {
            Self::Chunk(data) => Self::Chunk(span.of(data)),
            Self::Tail(whole) => Self::Tail(span.shifted(whole.start)),
        }
    }

    /// Copies the bytes to the tail, unless they are there already, so that they can be borrowed
    /// from it. Returns their range.
    pub(crate) fn in_tail(self, transcript: &mut Transcript<'_>) -> Result<Span, Capacity> {
        match self {
            Self::Tail(span) => Ok(span),
            Self::Chunk(data) => {
                let mut tail = transcript.tail();
                tail.put(data)?;
                Ok(tail.span())
            }
        }
    }
}

/// The result of decoding a part of a chunk.
pub(crate) enum SseItem<'i> {
    /// A text, thinking or input delta in the exact form of the API. `text` is the content of the
    /// string, still escaped, without halves of surrogate pairs.
    Delta { index: usize, field: Field, text: &'i [u8] },
    /// An event without content in the exact form of the API.
    Plain(Wire),
    /// The data of a frame, and the event that its name specifies. A frame without a name may be
    /// any event.
    Frame(Option<EventKind>, Source<'i>),
}

/// The position in the lines of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// At the start of a line.
    Start,
    /// At the start of a line, after a carriage return. A line feed belongs to the same line end.
    AfterReturn,
    /// Inside a line. Contains the number of its bytes that are in the tail.
    Inside(usize),
    /// In a line without effect, which is not stored.
    Ignored,
}

/// What the lines so far say about the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Evidence {
    /// No part that is specific to an event stream was seen. `skipped` counts the bytes of other
    /// lines.
    None { skipped: usize },
    /// A comment, a name or data occurred, so this is an event stream.
    Stream,
    /// The stream's frames also have names.
    Names,
}

/// The state of the decoder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sse {
    line: Line,
    /// The number of bytes of the frame's data in the tail, or `None` before its first data line.
    data: Option<usize>,
    /// The event that the frame's name specifies. It is `None` if there is no `event` field, or if
    /// it has the standard's default value, `message`.
    name: Option<EventKind>,
    evidence: Evidence,
}

/// The maximum number of bytes before anything that occurs only in an event stream.
const MOST_SKIPPED: usize = 16 * 1024;

impl Sse {
    /// Creates the decoder of a stream.
    // Not a constant: a chip would copy all of it, including bytes that have no value.
    #[inline]
    pub(crate) const fn new() -> Self {
        Self { line: Line::Start, data: None, name: None, evidence: Evidence::None { skipped: 0 } }
    }

    /// Returns whether a frame is incomplete.
    pub(crate) const fn is_inside(&self) -> bool {
        self.data.is_some() || matches!(self.line, Line::Inside(_))
    }

    /// Returns whether the frames of this stream have names: a frame with an event of a message had
    /// one. Pings and errors do not count, because gateways insert them into streams of a different
    /// form.
    pub(crate) const fn is_named(&self) -> bool {
        matches!(self.evidence, Evidence::Names)
    }

    /// Returns whether anything occurred that occurs only in an event stream.
    pub(crate) const fn is_stream(&self) -> bool {
        !matches!(self.evidence, Evidence::None { .. })
    }

    /// Returns whether so many bytes occurred without any part of an event stream that this must be
    /// another kind of text.
    pub(crate) const fn is_other_text(&self) -> bool {
        matches!(self.evidence, Evidence::None { skipped } if skipped > MOST_SKIPPED)
    }

    /// Records that something occurred that occurs only in an event stream.
    fn note_stream(&mut self) {
        if !self.is_stream() {
            self.evidence = Evidence::Stream;
        }
    }

    /// Records that bytes without effect occurred.
    fn note_skipped(&mut self, count: usize) {
        if let Evidence::None { skipped } = &mut self.evidence {
            *skipped = skipped.saturating_add(count);
        }
    }

    /// Returns the delta at the start of `input` if it takes the fast path, and else `None`. Call
    /// [`note_delta`](Self::note_delta) if it is used.
    #[inline]
    pub(crate) fn fast_delta<'i>(&self, input: &'i [u8]) -> Option<FastDelta<'i>> {
        if cfg!(feature = "fast-path") && self.is_between() { fast::delta(input) } else { None }
    }

    /// Records that a delta of the fast path was consumed.
    #[inline]
    pub(crate) const fn note_delta(&mut self) {
        self.evidence = Evidence::Names;
    }

    /// Returns the next frame in `input`, and advances `input`. Returns `None` if all bytes were
    /// consumed and more are needed.
    #[inline]
    pub(crate) fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        transcript: &mut Transcript<'_>,
    ) -> Result<Option<SseItem<'i>>, Capacity> {
        loop {
            if let Some(found) = self.fast_delta(input) {
                self.note_delta();
                *input = input.get(found.used..).unwrap_or_default();
                return Ok(Some(SseItem::Delta {
                    index: found.index,
                    field: found.field,
                    text: found.text,
                }));
            }
            if input.is_empty() {
                return Ok(None);
            }
            if let Some(arrived) = self.general(input, transcript)? {
                return Ok(Some(arrived));
            }
        }
    }

    /// Ends the current frame at the end of the body, as if a blank line followed, and returns it.
    pub(crate) fn end(
        &mut self,
        transcript: &mut Transcript<'_>,
    ) -> Result<Option<(Option<EventKind>, Span)>, Capacity> {
        // The first line feed ends the current line, if there is one.
        for mut blank in [b"\n"; 2].map(<[u8; 1]>::as_slice) {
            if let Some(frame) = self.line(&mut blank, transcript)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Returns whether the decoder is between two frames, so that a frame may begin here.
    const fn is_between(&self) -> bool {
        matches!(self.line, Line::Start) && self.data.is_none() && self.name.is_none()
    }

    /// Decodes a complete frame or one line of a frame on the general path. This is out of line
    /// because most frames take the fast path.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    fn general<'i>(
        &mut self,
        input: &mut &'i [u8],
        transcript: &mut Transcript<'_>,
    ) -> Result<Option<SseItem<'i>>, Capacity> {
        if self.line == Line::AfterReturn {
            self.line = Line::Start;
            if let Some(rest) = input.strip_prefix(b"\n") {
                *input = rest;
                return Ok(None);
            }
        }
        if self.is_between() {
            if cfg!(feature = "fast-path")
                && !IS_CHIP
                && let Some((wire, rest)) = fast::plain(input)
            {
                self.note_stream();
                if wire.kind != EventKind::Ping {
                    self.evidence = Evidence::Names;
                }
                *input = rest;
                return Ok(Some(SseItem::Plain(wire)));
            }
            if !IS_CHIP && let Some(Frame { data, name, seen, used }) = whole_frame(input) {
                if seen {
                    self.note_stream();
                } else {
                    self.note_skipped(used);
                }
                *input = input.get(used..).unwrap_or_default();
                self.name = name;
                // A frame without data ends here, too, and its name with it.
                let name = self.end_of_frame();
                return Ok(name.and_then(|name| Some(SseItem::Frame(name, Source::Chunk(data?)))));
            }
        }
        Ok(self
            .line(input, transcript)?
            .map(|(name, data)| SseItem::Frame(name, Source::Tail(data))))
    }

    /// Ends a frame. Returns the event that its name specifies, or `None` if the name is unknown.
    fn end_of_frame(&mut self) -> Option<Option<EventKind>> {
        let name = self.name.take();
        match name {
            Some(EventKind::Unknown) => return None,
            None | Some(EventKind::Ping | EventKind::Error) => {}
            Some(_) => self.evidence = Evidence::Names,
        }
        Some(name)
    }

    /// Consumes the rest of a line, or all of `input` if the line does not end in it. Returns the
    /// frame that ended with the line, if any.
    fn line(
        &mut self,
        input: &mut &[u8],
        transcript: &mut Transcript<'_>,
    ) -> Result<Option<(Option<EventKind>, Span)>, Capacity> {
        let end = line_end(input, 0);
        let (part, rest) = input.split_at_checked(end).unwrap_or((input, &[]));
        let line = match (self.line, part.first()) {
            (Line::Start | Line::AfterReturn, None) => Line::Start,
            (Line::Start | Line::AfterReturn, Some(first)) => {
                if *first == b':' {
                    self.note_stream();
                }
                let is_ignored = match first {
                    b'd' => self.name == Some(EventKind::Unknown),
                    first => *first != b'e',
                };
                if is_ignored { Line::Ignored } else { Line::Inside(0) }
            }
            (line @ (Line::Inside(_) | Line::Ignored), _) => line,
        };
        self.line = match line {
            Line::Inside(len) => {
                let end = transcript.len() + self.data.unwrap_or(0) + len;
                transcript.tail_from(end).put(part)?;
                Line::Inside(len + part.len())
            }
            Line::Ignored => {
                self.note_skipped(part.len());
                Line::Ignored
            }
            start => start,
        };
        let Some((&terminator, rest)) = rest.split_first() else {
            *input = &[];
            return Ok(None);
        };
        *input = rest;
        let frame = self.end_of_line(transcript);
        self.line = if terminator == b'\r' { Line::AfterReturn } else { Line::Start };
        Ok(frame)
    }

    fn end_of_line(
        &mut self,
        transcript: &mut Transcript<'_>,
    ) -> Option<(Option<EventKind>, Span)> {
        let base = transcript.len();
        let len = match self.line {
            Line::Inside(len) => len,
            Line::Ignored => return None,
            // A blank line ends the frame.
            Line::Start | Line::AfterReturn => {
                let data = self.data.take().map(|len| Span::new(base, base + len));
                return Some((self.end_of_frame()?, data?));
            }
        };
        let start = base + self.data.unwrap_or(0);
        let line = Span::new(start, start + len);
        let text = line.of(transcript.whole());
        if let Some(name) = name_of(text) {
            self.name = name;
            self.note_stream();
            return None;
        }
        if let Some(value) = field(text, b"data") {
            let (skip, len) = (text.len() - value.len(), value.len());
            let (joint, moved) = match (self.data, line.of_mut(transcript.whole_mut())) {
                (Some(_), [first, rest @ ..]) => {
                    *first = b'\n';
                    (1, rest)
                }
                (_, line) => (0, line),
            };
            copy_down(moved, skip.saturating_sub(joint));
            self.data = Some(self.data.unwrap_or(0) + joint + len);
            self.note_stream();
        }
        None
    }
}

/// Returns the value of the field `name` in a line, without the optional space before the value.
/// Returns `None` if the line has another field.
fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// Returns the event that a line specifies for its frame, like [`Sse::name`]. Returns `None` if the
/// line has another field.
fn name_of(line: &[u8]) -> Option<Option<EventKind>> {
    let name = field(line, b"event")?;
    let is_default = name.is_empty() || name == b"message";
    Some(if is_default { None } else { Some(EventKind::from_name(name)) })
}

/// A frame that is complete in its chunk.
struct Frame<'i> {
    data: Option<&'i [u8]>,
    name: Option<EventKind>,
    /// Whether the frame contains something that occurs only in an event stream, like
    /// [`Sse::is_stream`].
    seen: bool,
    /// The length of the whole frame in bytes, including the blank line.
    used: usize,
}

/// Returns the frame at the start of `input`, if it is complete and has at most one data line.
fn whole_frame(input: &[u8]) -> Option<Frame<'_>> {
    let (mut data, mut name, mut seen) = (None, None, false);
    let mut at = 0;
    loop {
        let end = line_end(input, at);
        let next = match (input.get(end)?, input.get(end + 1)) {
            (b'\r', Some(b'\n')) => end + 2,
            // At the end of the chunk, a line feed that belongs to it may still follow.
            (b'\r', None) => return None,
            _ => end + 1,
        };
        let line = input.get(at..end)?;
        at = next;
        match line.first() {
            None => return Some(Frame { data, name, seen, used: at }),
            Some(b':') => seen = true,
            Some(b'e') => {
                if let Some(named) = name_of(line) {
                    (name, seen) = (named, true);
                }
            }
            Some(b'd') if name != Some(EventKind::Unknown) => {
                if let Some(value) = field(line, b"data") {
                    seen = true;
                    if data.replace(value).is_some() {
                        return None;
                    }
                }
            }
            _ => {}
        }
    }
}
