//! Server-sent events out of a byte stream that may be cut anywhere. Source: the HTML standard's event stream format.
//!
//! A frame that is whole in the chunk is lent from there. One that is cut is put together in the transcript's tail:
//! `[data lines so far][the line under way]`. What an event is stands in its JSON too, so its name counts little: once a stream has
//! named a frame, those without a name are none of the API's (a gateway's `[DONE]`, say) and are left out, as the official clients
//! do. In a stream that names no frame all are taken.

use super::event::{Field, WireKind};
use super::fast;
use crate::error::Capacity;
use crate::json::{copy_down, line_end};
use crate::transcript::{Span, Transcript};

/// What a chunk gave.
pub(crate) enum Arrived<'i> {
    /// A text, thinking or input delta in the API's exact form: the string's content, still escaped, without half of a surrogate pair.
    Delta { index: usize, field: Field, text: &'i [u8] },
    /// An event without content in the API's exact form.
    Plain(WireKind),
    /// A frame's data, in the chunk.
    Chunk(&'i [u8]),
    /// A frame's data, in the transcript's tail.
    Tail(Span),
}

/// The decoder's state: how much lies in the tail.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sse {
    data: usize,
    line: usize,
    has_data: bool,
    /// The line under way is a comment, of which nothing is kept.
    comment: bool,
    /// The last byte was a carriage return: a line feed that follows belongs to it.
    after_return: bool,
    started: bool,
    /// The frame under way has a name.
    has_name: bool,
    /// A frame of this stream had a name.
    named: bool,
}

impl Sse {
    pub(crate) const NEW: Self =
        Self { data: 0, line: 0, has_data: false, comment: false, after_return: false, started: false, has_name: false, named: false };

    /// Whether a frame is under way.
    pub(crate) const fn is_inside(&self) -> bool {
        self.has_data || self.line > 0
    }

    /// The next frame in `input`, which is moved on. `None`: all was taken, and more is needed.
    #[inline]
    pub(crate) fn next<'i>(&mut self, input: &mut &'i [u8], transcript: &mut Transcript<'_>) -> Result<Option<Arrived<'i>>, Capacity> {
        loop {
            if self.is_between()
                && let Some(found) = fast::delta(input)
            {
                self.named = true;
                *input = input.get(found.used..).unwrap_or_default();
                return Ok(Some(Arrived::Delta { index: found.index, field: found.field, text: found.text }));
            }
            if input.is_empty() {
                return Ok(None);
            }
            if let Some(arrived) = self.general(input, transcript)? {
                return Ok(Some(arrived));
            }
        }
    }

    /// Whether nothing of a frame was seen yet, so that one may begin here.
    const fn is_between(&self) -> bool {
        !self.is_inside() && !self.comment && self.started && !self.has_name && !self.after_return
    }

    /// A step the general way: a frame that is whole, or a line of one. Out of line, for most frames come the short way.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    fn general<'i>(&mut self, input: &mut &'i [u8], transcript: &mut Transcript<'_>) -> Result<Option<Arrived<'i>>, Capacity> {
        if core::mem::take(&mut self.after_return)
            && let Some(rest) = input.strip_prefix(b"\n")
        {
            *input = rest;
            return Ok(None);
        }
        if self.is_between() {
            if let Some((kind, rest)) = fast::plain(input) {
                self.named = true;
                *input = rest;
                return Ok(Some(Arrived::Plain(kind)));
            }
            if let Some(Frame { data, has_name, used }) = whole_frame(input) {
                *input = input.get(used..).unwrap_or_default();
                self.has_name = has_name;
                // Also a frame without data ends here, and its name with it.
                let takes = self.takes_frame();
                return Ok(data.filter(|_| takes).map(Arrived::Chunk));
            }
        }
        Ok(self.line(input, transcript)?.map(Arrived::Tail))
    }

    /// At a frame's end: whether it counts.
    const fn takes_frame(&mut self) -> bool {
        let has_name = core::mem::replace(&mut self.has_name, false);
        self.named |= has_name;
        has_name || !self.named
    }

    /// Takes the rest of a line, or all of `input` if the line does not end in it.
    fn line(&mut self, input: &mut &[u8], transcript: &mut Transcript<'_>) -> Result<Option<Span>, Capacity> {
        let end = line_end(input, 0);
        let (part, rest) = input.split_at_checked(end).unwrap_or((input, &[]));
        let base = transcript.len();
        if self.line == 0 && part.first() == Some(&b':') {
            self.comment = true;
        }
        if !self.comment {
            transcript.put_at(base + self.data + self.line, part)?;
            self.line += part.len();
        }
        let Some((&terminator, rest)) = rest.split_first() else {
            *input = &[];
            return Ok(None);
        };
        *input = rest;
        self.after_return = terminator == b'\r';
        self.end_of_line(transcript)
    }

    fn end_of_line(&mut self, transcript: &mut Transcript<'_>) -> Result<Option<Span>, Capacity> {
        let base = transcript.len();
        if core::mem::take(&mut self.comment) {
            return Ok(None);
        }
        let start = base + self.data;
        let line = Span::new(start, start + core::mem::take(&mut self.line));
        let text = line.of(transcript.whole());
        // A byte order mark may stand before the first line.
        let mark = if !self.started && text.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        self.started = true;
        let text = text.get(mark..).unwrap_or_default();
        if text.is_empty() {
            let data = Span::new(base, base + core::mem::take(&mut self.data));
            let takes = self.takes_frame();
            return Ok((core::mem::take(&mut self.has_data) && takes).then_some(data));
        }
        if is_name(text) {
            self.has_name = true;
            return Ok(None);
        }
        if let Some(value) = text.strip_prefix(b"data") {
            let colon = match value {
                [] => 0,
                [b':', b' ', ..] => 2,
                [b':', ..] => 1,
                _ => return Ok(None),
            };
            let from = Span::new(line.start + mark + b"data".len() + colon, line.end);
            let joint = usize::from(self.has_data);
            if let Some(moved) = transcript.whole_mut().get_mut(start..line.end) {
                let skip = from.start - start;
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
            self.data += joint + from.len();
            self.has_data = true;
        }
        Ok(None)
    }
}

/// Whether a line names its frame.
const fn is_name(line: &[u8]) -> bool {
    matches!(line, [b'e', b'v', b'e', b'n', b't'] | [b'e', b'v', b'e', b'n', b't', b':', ..])
}

/// A frame that is whole in its chunk.
struct Frame<'i> {
    data: Option<&'i [u8]>,
    has_name: bool,
    /// Bytes of the whole frame, blank line included.
    used: usize,
}

/// The frame that begins `input`, if it is whole and has at most one data line.
fn whole_frame(input: &[u8]) -> Option<Frame<'_>> {
    let (mut data, mut has_name) = (None, false);
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
        if line.is_empty() {
            return Some(Frame { data, has_name, used: at });
        }
        has_name |= is_name(line);
        if let Some(value) = line.strip_prefix(b"data") {
            let value = match value {
                [] => value,
                [b':', b' ', value @ ..] | [b':', value @ ..] => value,
                _ => continue,
            };
            if data.replace(value).is_some() {
                return None;
            }
        }
    }
}
