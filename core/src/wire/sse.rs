//! Server-sent events out of a byte stream that may be cut anywhere. Source: the HTML standard's
//! event stream format.
//!
//! A frame that is whole in the chunk is lent from there. One that is cut is put together in the
//! transcript's tail: `[data lines so far][the line under way]`. Lines that cannot matter
//! (comments, fields other than `data` and `event`, the data of an event with an unknown name) are
//! not kept.

use super::event::{EventKind, Field, WireKind};
use super::fast;
use crate::error::Capacity;
use crate::json::{copy_down, line_end};
use crate::transcript::{Span, Transcript};

/// Where the bytes of an event lie.
#[derive(Clone, Copy)]
pub(crate) enum Source<'i> {
    Chunk(&'i [u8]),
    /// In the transcript's tail.
    Tail(Span),
}

impl<'i> Source<'i> {
    pub(crate) const fn is_empty(self) -> bool {
        match self {
            Self::Chunk(bytes) => bytes.is_empty(),
            Self::Tail(span) => span.len() == 0,
        }
    }

    pub(crate) fn bytes<'t>(self, transcript: &'t Transcript<'_>) -> &'t [u8]
    where
        'i: 't,
    {
        match self {
            Self::Chunk(bytes) => bytes,
            Self::Tail(span) => span.of(transcript.whole()),
        }
    }

    /// The part of it that `span` names.
    pub(crate) fn part(self, span: Span) -> Self {
        match self {
            Self::Chunk(data) => Self::Chunk(span.of(data)),
            Self::Tail(whole) => Self::Tail(span.shifted(whole.start)),
        }
    }

    /// Brings the bytes into the tail, where they can be lent from.
    pub(crate) fn in_tail(self, transcript: &mut Transcript<'_>) -> Result<Span, Capacity> {
        match self {
            Self::Tail(span) => Ok(span),
            Self::Chunk(data) => {
                let start = transcript.len();
                transcript.put_at(start, data)?;
                Ok(Span::new(start, start + data.len()))
            }
        }
    }
}

/// What a chunk gave.
pub(crate) enum Arrived<'i> {
    /// A text, thinking or input delta in the API's exact form: the string's content, still
    /// escaped, without half of a surrogate pair.
    Delta { index: usize, field: Field, text: &'i [u8] },
    /// An event without content in the API's exact form.
    Plain(WireKind),
    /// A frame's data, and what its name says that it is. A frame without a name may be anything.
    Frame(Option<EventKind>, Source<'i>),
}

/// The name of the frame under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Name {
    /// No `event` field, or the standard's default name, `message`.
    None,
    Known(EventKind),
    Unknown,
}

/// The decoder's state: how much lies in the tail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sse {
    data: usize,
    line: usize,
    has_data: bool,
    /// The line under way does not matter: nothing of it is kept.
    is_ignored: bool,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    name: Name,
    /// This stream names its frames.
    named: bool,
    /// A comment, a name or data was there: it is an event stream.
    seen: bool,
    /// Bytes of lines that do not matter, before anything was seen.
    skipped: usize,
}

/// The most that may come before something that only an event stream has.
const MOST_SKIPPED: usize = 16 * 1024;

impl Sse {
    pub(crate) const NEW: Self = Self {
        data: 0,
        line: 0,
        has_data: false,
        is_ignored: false,
        after_return: false,
        name: Name::None,
        named: false,
        seen: false,
        skipped: 0,
    };

    /// Whether a frame is under way.
    pub(crate) const fn is_inside(&self) -> bool {
        self.has_data || self.line > 0
    }

    /// Whether this stream names its frames: one that is an event of a message had a name. Pings
    /// and errors do not count, since gateways insert them into streams of their own form.
    pub(crate) const fn is_named(&self) -> bool {
        self.named
    }

    /// Whether anything came that only an event stream has.
    pub(crate) const fn is_stream(&self) -> bool {
        self.seen
    }

    /// Whether so much came without anything of the kind that this is another text.
    pub(crate) const fn is_other_text(&self) -> bool {
        !self.seen && self.skipped > MOST_SKIPPED
    }

    /// The next frame in `input`, which is moved on. `None`: all was taken, and more is needed.
    #[inline]
    pub(crate) fn next<'i>(
        &mut self,
        input: &mut &'i [u8],
        transcript: &mut Transcript<'_>,
    ) -> Result<Option<Arrived<'i>>, Capacity> {
        loop {
            if self.is_between()
                && let Some(found) = fast::delta(input)
            {
                self.named = true;
                *input = input.get(found.used..).unwrap_or_default();
                return Ok(Some(Arrived::Delta {
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

    /// At the body's end: the frame under way, as if the blank line behind it had come.
    pub(crate) fn end(
        &mut self,
        transcript: &mut Transcript<'_>,
    ) -> Result<Option<(Option<EventKind>, Span)>, Capacity> {
        // The first ends the line under way, if there is one.
        for mut blank in [b"\n"; 2].map(<[u8; 1]>::as_slice) {
            if let Some(frame) = self.line(&mut blank, transcript)? {
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Whether nothing of a frame was seen yet, so that one may begin here.
    const fn is_between(&self) -> bool {
        !self.is_inside()
            && !self.is_ignored
            && matches!(self.name, Name::None)
            && !self.after_return
    }

    /// A step the general way: a frame that is whole, or a line of one. Out of line, for most
    /// frames come the short way.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    fn general<'i>(
        &mut self,
        input: &mut &'i [u8],
        transcript: &mut Transcript<'_>,
    ) -> Result<Option<Arrived<'i>>, Capacity> {
        if core::mem::take(&mut self.after_return)
            && let Some(rest) = input.strip_prefix(b"\n")
        {
            *input = rest;
            return Ok(None);
        }
        if self.is_between() {
            if let Some((kind, rest)) = fast::plain(input) {
                self.seen = true;
                self.named |= !matches!(kind, WireKind::Ping);
                *input = rest;
                return Ok(Some(Arrived::Plain(kind)));
            }
            if let Some(Frame { data, name, seen, used }) = whole_frame(input) {
                self.seen |= seen;
                self.skipped = self.skipped.saturating_add(used);
                *input = input.get(used..).unwrap_or_default();
                self.name = name;
                // Also a frame without data ends here, and its name with it.
                let name = self.end_of_frame();
                return Ok(name.and_then(|name| Some(Arrived::Frame(name, Source::Chunk(data?)))));
            }
        }
        Ok(self
            .line(input, transcript)?
            .map(|(name, data)| Arrived::Frame(name, Source::Tail(data))))
    }

    /// At a frame's end: what it is by its name, or nothing if its name is unknown.
    fn end_of_frame(&mut self) -> Option<Option<EventKind>> {
        match core::mem::replace(&mut self.name, Name::None) {
            Name::None => Some(None),
            Name::Known(kind) => {
                self.named |= !matches!(kind, EventKind::Ping | EventKind::Error);
                Some(Some(kind))
            }
            Name::Unknown => None,
        }
    }

    /// Takes the rest of a line, or all of `input` if the line does not end in it. Gives the frame
    /// that ended with it.
    fn line(
        &mut self,
        input: &mut &[u8],
        transcript: &mut Transcript<'_>,
    ) -> Result<Option<(Option<EventKind>, Span)>, Capacity> {
        let end = line_end(input, 0);
        let (part, rest) = input.split_at_checked(end).unwrap_or((input, &[]));
        let base = transcript.len();
        if self.line == 0
            && !self.is_ignored
            && let Some(first) = part.first()
        {
            self.seen |= *first == b':';
            self.is_ignored = match first {
                b'd' => self.name == Name::Unknown,
                first => *first != b'e',
            };
        }
        if self.is_ignored {
            self.skipped = self.skipped.saturating_add(part.len());
        } else {
            transcript.put_at(base + self.data + self.line, part)?;
            self.line += part.len();
        }
        let Some((&terminator, rest)) = rest.split_first() else {
            *input = &[];
            return Ok(None);
        };
        *input = rest;
        self.after_return = terminator == b'\r';
        Ok(self.end_of_line(transcript))
    }

    fn end_of_line(
        &mut self,
        transcript: &mut Transcript<'_>,
    ) -> Option<(Option<EventKind>, Span)> {
        let base = transcript.len();
        if core::mem::take(&mut self.is_ignored) {
            return None;
        }
        let start = base + self.data;
        let line = Span::new(start, start + core::mem::take(&mut self.line));
        let text = line.of(transcript.whole());
        if text.is_empty() {
            let data = Span::new(base, base + core::mem::take(&mut self.data));
            let has_data = core::mem::take(&mut self.has_data);
            return self.end_of_frame().filter(|_| has_data).map(|name| (name, data));
        }
        if let Some(name) = name_of(text) {
            (self.name, self.seen) = (name, true);
            return None;
        }
        if let Some(value) = field(text, b"data") {
            let (skip, len) = (text.len() - value.len(), value.len());
            let joint = usize::from(self.has_data);
            if let Some(moved) = transcript.whole_mut().get_mut(start..line.end) {
                if joint == 1
                    && let Some(first) = moved.first_mut()
                {
                    *first = b'\n';
                }
                if skip <= moved.len()
                    && let Some(moved) = moved.get_mut(joint..)
                    && let Some(skip) = skip.checked_sub(joint)
                {
                    copy_down(moved, skip);
                }
            }
            self.data += joint + len;
            (self.has_data, self.seen) = (true, true);
        }
        None
    }
}

/// The value of the field `name`, if the line is one of it: without the space that may stand before
/// it.
fn field<'l>(line: &'l [u8], name: &[u8]) -> Option<&'l [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(&[]),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

/// The name that a line gives its frame, if it gives one.
fn name_of(line: &[u8]) -> Option<Name> {
    Some(match field(line, b"event")? {
        b"" | b"message" => Name::None,
        name => EventKind::from_name(name).map_or(Name::Unknown, Name::Known),
    })
}

/// A frame that is whole in its chunk.
struct Frame<'i> {
    data: Option<&'i [u8]>,
    name: Name,
    /// As of [`Sse`].
    seen: bool,
    /// Bytes of the whole frame, blank line included.
    used: usize,
}

/// The frame that begins `input`, if it is whole and has at most one data line.
fn whole_frame(input: &[u8]) -> Option<Frame<'_>> {
    let (mut data, mut name, mut seen) = (None, Name::None, false);
    let mut at = 0;
    loop {
        let end = line_end(input, at);
        let next = match (input.get(end)?, input.get(end + 1)) {
            (b'\r', Some(b'\n')) => end + 2,
            // Alone at the chunk's end it may be half of a pair.
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
            Some(b'd') if name != Name::Unknown => {
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
