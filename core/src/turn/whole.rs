//! A reply that arrives as one JSON object. It is stored in the tail until it is complete, and then
//! reported as the same events as a stream.

use super::blocks::ensure_said_by_the_model;
use super::input::{close_call, ensure_named, mend_surrogates, read_input};
use super::{Container, Form, Phase, Reply, StreamEvent, StreamEventKind};
use crate::error::{Capacity, Error, Protocol, phrase};
use crate::history::is_blank;
use crate::json::{IS_CHIP, JsonError, Kind, Object, Sink, Value, Walk, means};
use crate::transcript::{Span, Transcript};
use crate::wire::{
    BlockKind, CONTENT, FIELDS, Field, Growth, MEMBERS, MESSAGE_ENDING, MOST_FIELDS, Parts, Source,
    WHOLE, WHOLE_ERROR, error_words, json_error, says_error,
};

/// The progress of a whole-JSON reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// The length of the body in the tail, in bytes.
    len: usize,
    told: Told,
}

/// The events that have been returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// `message_start` was returned. The body is still in the tail, with its content at this range.
    Start {
        content: Span,
    },
    /// The content is at its final position, and events of this block are due.
    Block(Block),
    Blocks,
    Delta,
    Stop,
}

/// A block at its final position, with ranges that were found in one pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    kind: BlockKind,
    /// The next part to report: its start, its fields or its end.
    part: u8,
    /// The block's index in the message.
    index: u32,
    span: Span,
    /// The ranges of the members that grow in a stream, in the order of the kind's fields. A
    /// missing member is empty. An array's range holds the elements that were not reported yet.
    values: [Span; MOST_FIELDS],
}

impl Whole {
    pub(super) const fn new() -> Self {
        Self { len: 0, told: Told::Nothing }
    }

    /// Stores bytes of the body.
    pub(super) fn take(&mut self, bytes: &[u8], t: &mut Transcript<'_>) -> Result<(), Capacity> {
        t.tail_from(t.len() + self.len).put(bytes)?;
        self.len += bytes.len();
        Ok(())
    }

    /// Adjusts the ranges after `count` bytes were inserted at `at`, into the block whose events
    /// are due next.
    pub(super) fn block_grew(&mut self, at: usize, count: usize) {
        if let Told::Block(block) = &mut self.told {
            block.span.end += count;
            for value in block.values.iter_mut().filter(|value| value.start > at) {
                *value = value.shifted(count);
            }
        }
    }
}

impl Reply {
    /// Returns the next event of a complete body.
    pub(super) fn next_of_whole(
        &mut self,
        t: &mut Transcript<'_>,
        container: &mut Container,
    ) -> Result<Option<StreamEvent>, Error> {
        loop {
            let Form::Whole(whole) = self.form else { return Ok(None) };
            let body = Span::new(t.len(), t.len() + whole.len);
            let event = |kind, span| Some(StreamEvent { kind, index: 0, span });
            let (told, stream_event) = match whole.told {
                Told::Nothing => {
                    let content = self.open_whole(body, t, container)?;
                    (Told::Start { content }, event(StreamEventKind::MessageStart, body))
                }
                Told::Start { content } => {
                    (self.place_content(content, t)?.map_or(Told::Blocks, Told::Block), None)
                }
                Told::Block(mut block) => {
                    let stream_event = self.part_of_block(&mut block, t)?;
                    let told = match stream_event {
                        Some(StreamEvent { kind: StreamEventKind::BlockStop, span, .. }) => {
                            Block::at(span.end, block.index.saturating_add(1), t)
                                .map_or(Told::Blocks, Told::Block)
                        }
                        _ => Told::Block(block),
                    };
                    (told, stream_event)
                }
                Told::Blocks => {
                    (Told::Delta, event(StreamEventKind::MessageDelta, Span::default()))
                }
                Told::Delta => {
                    self.finish(t)?;
                    (Told::Stop, event(StreamEventKind::MessageStop, Span::default()))
                }
                Told::Stop => return Ok(None),
            };
            self.form = Form::Whole(Whole { told, ..whole });
            if stream_event.is_some() {
                return Ok(stream_event);
            }
        }
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
        let (mut parts, mut has_blocks_only) = (Parts::NONE, true);
        let walked = Walk::new(body.of(t.whole())).and_then(|mut walk| {
            parts.read(&mut walk, WHOLE, &mut |walk| {
                has_blocks_only = true;
                if !walk.enter_array() {
                    return walk.value().map(drop);
                }
                while walk.element()? {
                    has_blocks_only &= is_block(walk)?;
                }
                Ok(())
            })?;
            walk.end()
        });
        let checked = match walked {
            Ok(checked) => checked,
            Err(error) if error.at >= body.len() => return Err(Protocol::EndedEarly.into()),
            Err(error) => return Err(self.fail(json_error(error), came, t)),
        };
        if checked.lone_surrogate.is_some()
            && let Some(bytes) = t.whole_mut().get_mut(body.start..body.end)
        {
            mend_surrogates(bytes);
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
        if !has_blocks_only {
            return Err(self.fail(
                Protocol::Event { expected: phrase!("content blocks with exactly one type") },
                came,
                t,
            ));
        }
        let start = content.offset_in(t.whole()).unwrap_or(body.start);
        let end = start + content.raw().len();
        self.take_end(&parts.ending(MESSAGE_ENDING), body.start, t, container)?;
        self.phase = Phase::Open;
        Ok(match kind {
            Kind::Array => Span::new(start + 1, end.saturating_sub(1)),
            Kind::String => Span::new(start, end),
            _ => Span::default(),
        })
    }

    /// Moves the content to its final position, and returns its first block.
    fn place_content(
        &mut self,
        content: Span,
        t: &mut Transcript<'_>,
    ) -> Result<Option<Block>, Error> {
        let inside = content.of(t.whole());
        if inside.trim_ascii().is_empty() || inside == b"\"\"" {
            return Ok(None);
        }
        let is_text = inside.starts_with(b"\"");
        let at = t.len();
        t.tail_of(content).insert_at(at)?;
        if is_text {
            t.append(b"}")?;
            t.insert(at, b"{\"type\":\"text\",\"text\":")?;
        }
        let before: &[u8] = if at == 0 {
            b"{\"role\":\"assistant\",\"content\":["
        } else {
            b",{\"role\":\"assistant\",\"content\":["
        };
        t.insert(at, before)?;
        self.has_blocks = true;
        Ok(Block::at(at + before.len(), 0, t))
    }

    /// Returns the event for the next part of a block: its start, the value of a field, an element
    /// of it, or its end. Returns `None` if the block has no such part.
    fn part_of_block(
        &mut self,
        block: &mut Block,
        t: &mut Transcript<'_>,
    ) -> Result<Option<StreamEvent>, Error> {
        let part = block.part;
        if part == 1 && block.kind.is_call() {
            block.open_input(t)?;
        }
        let index = usize::try_from(block.index).unwrap_or(usize::MAX);
        let tell = |kind, span| Ok(Some(StreamEvent { kind, index, span }));
        if let Some((field, value)) = block.field() {
            let kind = StreamEventKind::of(field);
            if field.growth() == Growth::Array
                && value.len() > 0
                && let Some(element) = next_in_array(value.start, t)
            {
                value.start = element.end;
                return tell(kind, element);
            }
            let value = *value;
            block.part += 1;
            let quote = match (field.growth(), Value::whole(value.of(t.bytes()))) {
                // Its elements were reported.
                (Growth::Array, _) | (_, None) => return Ok(None),
                // The value is JSON text, so a string keeps its quotes.
                (Growth::Json, Some(_)) => 0,
                (_, Some(json)) if json.is_null() => return Ok(None),
                (_, Some(json)) => usize::from(json.kind() == Kind::String),
            };
            return tell(kind, Span::new(value.start + quote, value.end.saturating_sub(quote)));
        }
        block.part += 1;
        let Block { kind, mut span, values: [value, ..], .. } = *block;
        match part {
            0 => {
                ensure_said_by_the_model(kind)?;
                self.calls += usize::from(kind == BlockKind::Call);
                self.last = kind;
                if !IS_CHIP && kind == BlockKind::Text {
                    let text = Value::whole(value.of(t.bytes())).and_then(Value::as_text);
                    self.has_blank_text |= text.is_none_or(is_blank);
                }
                tell(StreamEventKind::BlockStart, span)
            }
            _ => {
                if kind.is_call() {
                    // An input that is an object was checked with the body.
                    if !value.of(t.bytes()).starts_with(b"{") {
                        let (end, bad) = close_call(t, span, (value.len() > 0).then_some(value))?;
                        span.end = end;
                        if kind == BlockKind::Call
                            && let Some(bad) = bad
                        {
                            self.bad.note(self.calls.saturating_sub(1), bad);
                        }
                    }
                }
                if kind == BlockKind::ServerCall {
                    ensure_named(span, t)?;
                }
                tell(StreamEventKind::BlockStop, span)
            }
        }
    }
}

impl Block {
    /// Returns the block at or after `at` in the content, which is at the end of the transcript.
    fn at(at: usize, index: u32, t: &Transcript<'_>) -> Option<Self> {
        let start = next_element(t, at)?;
        let raw = t.bytes().get(start..).filter(|rest| rest.starts_with(b"{"))?;
        // The kind is not known before the last `type` member, so all members that any kind needs
        // are found in one pass.
        let mut members = Object::of(raw);
        let [kind, found @ ..] = members.pick(MEMBERS);
        let kind = BlockKind::of(kind);
        let mut values = [Span::default(); MOST_FIELDS];
        for (place, field) in values.iter_mut().zip(kind.fields()) {
            let value = FIELDS.iter().zip(found).find(|(other, _)| **other == field);
            let value = value.and_then(|(_, value)| value);
            let is_array = field.growth() == Growth::Array;
            let value = value.filter(|value| !is_array || value.kind() == Kind::Array);
            *place = value.and_then(|value| Span::of_value(value, t.bytes())).unwrap_or_default();
            // The elements are after the bracket.
            place.start += usize::from(is_array && place.len() > 0);
        }
        let span = Span::new(start, start + members.end());
        Some(Self { kind, part: 0, index, span, values })
    }

    /// Returns the field that the next part of the block reports, and its value.
    fn field(&mut self) -> Option<(Field, &mut Span)> {
        let i = usize::from(self.part.checked_sub(1)?);
        self.kind.fields().nth(i).zip(self.values.get_mut(i))
    }

    /// Makes the block's input an object, if it represents one in another form.
    fn open_input(&mut self, t: &mut Transcript<'_>) -> Result<(), Capacity> {
        // An object was checked with the body.
        if let Some(input) = self.values.first_mut()
            && input.len() > 0
            && !input.of(t.bytes()).starts_with(b"{")
            && let Some(end) = read_input(t, *input, false)?
        {
            self.span.end = (self.span.end + end).saturating_sub(input.end);
            input.end = end;
        }
        Ok(())
    }
}

/// Checks the value at the current offset, and returns whether it is a content block: an object
/// with a single type, as in a stream.
fn is_block(walk: &mut Walk<'_>) -> Result<bool, JsonError> {
    let (mut kind, mut is_one): (Option<&[u8]>, _) = (None, true);
    if !walk.enter() {
        return walk.value().map(|_| false);
    }
    while let Some(key) = walk.key()? {
        let value = walk.value()?;
        if means(key, "type") {
            is_one &= kind.is_none_or(|kind| kind == value);
            kind = Some(value);
        }
    }
    Ok(is_one && kind.is_some_and(|kind| kind.starts_with(b"\"")))
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
