//! A reply that arrives as one JSON object. It is stored in the tail until it is complete, and then
//! reported as the same events as a stream.

use super::blocks::{OpenBlock, message_head};
use super::input::{mend_surrogates, read_input};
use super::stream::Due;
use super::{Container, Form, Phase, Reply, StreamEvent, StreamEventKind};
use crate::error::{Capacity, Error, Protocol, phrase};
use crate::history::is_blank;
use crate::json::{IS_CHIP, Kind, Object, Sink, Value};
use crate::message::BlockKind;
use crate::transcript::{Span, Transcript};
use crate::wire::{
    CONTENT, FIELDS, Field, Growth, MEMBERS, MESSAGE_ENDING, MOST_FIELDS, Parts, Source, WHOLE,
    WHOLE_ERROR, error_words, json_error, says_error,
};

/// The progress of a whole-JSON reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// The length of the body in the tail, in bytes.
    len: usize,
    next: Cursor,
}

/// What the next event reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cursor {
    /// The start of the message.
    Start,
    /// The body is still in the tail, with its content at this range. Its first block is next.
    Content(Span),
    /// The block at or after this position in the content, or else the end of the message.
    Block(usize),
    /// A part of the open block.
    Part(Values),
}

/// The ranges of the members of a block that grow in a stream, in the order of the kind's fields.
/// A missing or reported member is empty. An array's range begins at the elements that were not
/// reported yet.
type Values = [Span; MOST_FIELDS];

impl Whole {
    pub(super) const fn new() -> Self {
        Self { len: 0, next: Cursor::Start }
    }

    /// Stores bytes of the body.
    pub(super) fn take(&mut self, bytes: &[u8], t: &mut Transcript<'_>) -> Result<(), Capacity> {
        t.tail_from(t.len() + self.len).put(bytes)?;
        self.len += bytes.len();
        Ok(())
    }

    /// Adjusts the ranges after `count` bytes were inserted at `at`, into the block that has just
    /// begun.
    pub(super) fn block_grew(&mut self, at: usize, count: usize) {
        if let Cursor::Part(values) = &mut self.next {
            for value in values.iter_mut().filter(|value| value.start > at) {
                *value = value.shifted(count);
            }
        }
    }
}

impl Reply {
    /// Returns the next event of a complete body, except for those that are due.
    pub(super) fn next_of_whole(
        &mut self,
        mut whole: Whole,
        t: &mut Transcript<'_>,
        container: &mut Container,
    ) -> Result<StreamEvent, Error> {
        if let Cursor::Content(content) = whole.next {
            whole.next = Cursor::Block(self.place_content(content, t)?);
        }
        let stream_event = match &mut whole.next {
            Cursor::Part(values) => {
                let stream_event = self.part_of_block(values, t)?;
                if stream_event.kind == StreamEventKind::BlockStop {
                    whole.next = Cursor::Block(stream_event.span.end);
                }
                stream_event
            }
            Cursor::Block(at) => match block_at(*at, t) {
                Some((kind, span, values)) => {
                    whole.next = Cursor::Part(values);
                    self.open_block(None, kind, span, false)?
                }
                None => {
                    self.due = Due::MessageStop;
                    StreamEvent::of_message(StreamEventKind::MessageDelta, Span::default())
                }
            },
            Cursor::Start | Cursor::Content(_) => {
                let body = Span::new(t.len(), t.len() + whole.len);
                whole.next = Cursor::Content(self.open_whole(body, t, container)?);
                StreamEvent::of_message(StreamEventKind::MessageStart, body)
            }
        };
        self.form = Form::Whole(whole);
        Ok(stream_event)
    }

    /// Checks the body, reads everything except the content, and returns the range of the content's
    /// blocks: the inside of the array's brackets, or a string.
    fn open_whole(
        &mut self,
        body: Span,
        t: &mut Transcript<'_>,
        container: &mut Container,
    ) -> Result<Span, Error> {
        let came = Source::Tail(body);
        let mut parts = Parts::NONE;
        let lone_surrogate = match parts.read(body.of(t.whole()), WHOLE) {
            Ok(lone_surrogate) => lone_surrogate,
            Err(error) if error.at >= body.len() => return Err(Protocol::EndedEarly.into()),
            Err(error) => return Err(self.fail(json_error(error), came, t)),
        };
        if lone_surrogate {
            mend_surrogates(body.of_mut(t.whole_mut()));
        }
        let value = |i| parts.get(i).shifted(body.start).value(t.whole());
        let (error, content) = (value(WHOLE_ERROR), value(CONTENT));
        // `null` is an empty content, and a string is one text block.
        let kind = content
            .map(Value::kind)
            .filter(|kind| matches!(kind, Kind::Array | Kind::Null | Kind::String));
        let is_error = says_error(error)
            || (kind.is_none()
                && error_words(body.of(t.whole())).is_some_and(|words| !words.message.is_empty()));
        if is_error {
            return Err(self.api_error(body, t));
        }
        let Some((content, kind)) = content.zip(kind) else {
            return Err(self.fail(Protocol::NotAMessage, came, t));
        };
        if parts.has_other {
            return Err(self.fail(
                Protocol::Event { expected: phrase!("content blocks with exactly one type") },
                came,
                t,
            ));
        }
        let start = content.offset_in(t.whole()).unwrap_or(body.start);
        let end = start + content.raw().len();
        self.take_end(&parts, MESSAGE_ENDING, body.start, t, container)?;
        self.phase = Phase::Open;
        Ok(match kind {
            Kind::Array => Span::new(start + 1, end.saturating_sub(1)),
            Kind::String => Span::new(start, end),
            _ => Span::default(),
        })
    }

    /// Moves the content to its final position, and returns where its first block begins.
    fn place_content(&mut self, content: Span, t: &mut Transcript<'_>) -> Result<usize, Capacity> {
        let at = t.len();
        let inside = content.of(t.whole());
        if inside.trim_ascii().is_empty() || inside == b"\"\"" {
            return Ok(at);
        }
        let is_text = inside.starts_with(b"\"");
        let before = message_head(at);
        let start = t.tail_of(content).append_after(before)?;
        if is_text {
            t.append(b"}")?;
            t.insert(start, b"{\"type\":\"text\",\"text\":")?;
        }
        self.has_blocks = true;
        Ok(start)
    }

    /// Returns the event for the next part of the open block: the value of a field, an element of
    /// it, or the end of the block.
    fn part_of_block(
        &mut self,
        values: &mut Values,
        t: &mut Transcript<'_>,
    ) -> Result<StreamEvent, Error> {
        if let Some(block) = self.open.only() {
            for (field, rest) in block.kind.fields().zip(values) {
                if let Some(span) = block.next_part(field, rest, t)? {
                    let kind = StreamEventKind::of(field);
                    return Ok(StreamEvent { kind, index: block.place(), span });
                }
            }
        }
        self.next_due_of(Due::BlockStop(0), t)
    }
}

impl OpenBlock {
    /// Returns the next part of a field that an event reports, and removes it from `rest`, the
    /// field's value.
    fn next_part(
        &mut self,
        field: Field,
        rest: &mut Span,
        t: &mut Transcript<'_>,
    ) -> Result<Option<Span>, Capacity> {
        if field.growth() == Growth::Array {
            let element = if rest.len() > 0 { next_in_array(rest.start, t) } else { None };
            *rest = element.map_or_else(Span::default, |element| Span::new(element.end, rest.end));
            return Ok(element);
        }
        let mut part = core::mem::take(rest);
        let Some(value) = part.value(t.bytes()) else { return Ok(None) };
        if field == Field::Input {
            // An object was checked with the body. Another form may represent an object.
            self.is_settled = value.kind() == Kind::Object;
            if !self.is_settled
                && let Ok(end) = read_input(t, part, false)?
            {
                self.is_settled = true;
                self.span.end = (self.span.end + end).saturating_sub(part.end);
                part.end = end;
            }
        } else if value.kind() == Kind::String {
            self.is_settled |=
                !IS_CHIP && field == Field::Text && !value.as_text().is_none_or(is_blank);
            part = Span::new(part.start + 1, part.end.saturating_sub(1));
        } else if value.is_null() {
            return Ok(None);
        }
        Ok(Some(part))
    }
}

/// Returns the block at or after `at` in the content, which is at the end of the transcript: its
/// kind, its range and its values.
fn block_at(at: usize, t: &Transcript<'_>) -> Option<(BlockKind, Span, Values)> {
    let start = next_element(t, at)?;
    let raw = t.bytes().get(start..).filter(|rest| rest.starts_with(b"{"))?;
    // The kind is not known before the last `type` member, so all members that any kind needs are
    // found in one pass.
    let mut members = Object::of(raw);
    let [kind, found @ ..] = members.pick(MEMBERS);
    let kind = BlockKind::of(kind);
    let mut values = Values::default();
    for (place, field) in values.iter_mut().zip(kind.fields()) {
        let value = FIELDS.iter().zip(found).find(|(other, _)| **other == field);
        let value = value.and_then(|(_, value)| value);
        let is_array = field.growth() == Growth::Array;
        let value = value.filter(|value| !is_array || value.kind() == Kind::Array);
        *place = value.and_then(|value| Span::of_value(value, t.bytes())).unwrap_or_default();
        // The elements are after the bracket.
        place.start += usize::from(is_array && place.len() > 0);
    }
    Some((kind, Span::new(start, start + members.end()), values))
}

/// Returns the range of the first element of an array at or after `at`.
fn next_in_array(at: usize, t: &Transcript<'_>) -> Option<Span> {
    let start = next_element(t, at)?;
    let element =
        t.bytes().get(start..).filter(|rest| !rest.starts_with(b"]")).and_then(Value::first)?;
    Some(Span::new(start, start + element.raw().len()))
}

/// Returns the offset of the element at or after `at` in the content, which is at the end of the
/// transcript.
fn next_element(t: &Transcript<'_>, at: usize) -> Option<usize> {
    let rest = t.bytes().get(at..)?;
    let skipped =
        rest.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b','))?;
    Some(at + skipped)
}
