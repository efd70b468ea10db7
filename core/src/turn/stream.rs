//! A streamed reply: the effect of each frame, depending on the current phase.

use super::blocks::OpenBlock;
use super::{Container, Phase, Reply, StreamEvent, StreamEventKind, unexpected};
use crate::error::{Error, Protocol};
use crate::json::check;
use crate::transcript::{Span, Transcript};
use crate::wire::{EventKind, Field, Growth, Source, WireKind, parse};

/// The events that are still due, if a frame has caused more than one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    /// The end of the block at this position among the open blocks.
    BlockStop(usize),
    /// The end of the message, preceded by the ends of all open blocks.
    MessageStop,
    /// The text that opened the only block. It is stored in the tail.
    Text(Span),
}

impl Reply {
    /// Handles a frame. Its name determines the event, or the `type` in its JSON if it has no name.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    pub(super) fn frame(
        &mut self,
        name: Option<EventKind>,
        data: Source<'_>,
        t: &mut Transcript<'_>,
        container: &mut Container,
    ) -> Result<Option<StreamEvent>, Error> {
        // This is an event stream and not another kind of text, so the stored start of the response
        // is not needed.
        self.failure = Span::default();
        let at = data.in_tail(t)?;
        let data = at.of(t.whole());
        match name {
            // The name is sufficient for these events. The data of an error may be any text.
            Some(EventKind::Error) => {
                return self.apply(&WireKind::Error, false, at, t, container);
            }
            Some(EventKind::MessageStop) => {
                return self.apply(&WireKind::MessageStop, false, at, t, container);
            }
            Some(EventKind::Ping) => {
                return self.apply(&WireKind::Ping, false, at, t, container);
            }
            // The end of a stream in the form of OpenAI's API.
            None if data.trim_ascii() == b"[DONE]" => {
                return if self.may_end() {
                    self.next_due_of(Due::MessageStop, t).map(Some)
                } else {
                    Ok(None)
                };
            }
            None if data.trim_ascii().is_empty() => return Ok(None),
            _ => {}
        }
        // In a stream whose frames have names, frames without a name come from an intermediary.
        // They are ignored unless they report an error.
        let is_foreign = name.is_none() && self.sse.is_named();
        match parse(data, name) {
            Ok(wire) if !is_foreign || matches!(wire.kind, WireKind::Error) => {
                self.apply(&wire.kind, wire.lone_surrogate, at, t, container)
            }
            Err(error) if !is_foreign => Err(self.fail(error, Source::Tail(at), t)),
            _ => Ok(None),
        }
    }

    /// Applies an event, depending on the current phase. This match lists everything that an event
    /// may do. `at` is the range of its JSON in the tail.
    pub(super) fn apply(
        &mut self,
        kind: &WireKind,
        lone: bool,
        at: Span,
        t: &mut Transcript<'_>,
        container: &mut Container,
    ) -> Result<Option<StreamEvent>, Error> {
        match (self.phase, kind) {
            (_, WireKind::Ping) => {
                Ok(Some(StreamEvent::of_message(StreamEventKind::Ping, Span::default())))
            }
            (_, WireKind::Unknown) => {
                Ok(Some(StreamEvent::of_message(StreamEventKind::Unknown, at)))
            }
            (_, WireKind::Error) => Err(self.api_error(at, t)),
            (Phase::Start, WireKind::MessageStart(message, parts)) => {
                self.phase = Phase::Open;
                self.take_end(parts, at.start, t, container)?;
                let span = message.shifted(at.start);
                Ok(Some(StreamEvent::of_message(StreamEventKind::MessageStart, span)))
            }
            (Phase::Start, _) => Err(unexpected("message_start first")),
            (Phase::Open, &WireKind::BlockStart { index, block }) => {
                let block = Source::Tail(block.shifted(at.start));
                if self.has_just_begun(index, block, t) {
                    return Ok(None);
                }
                self.start_block(index, block, lone, t).map(Some)
            }
            (Phase::Open, &WireKind::BlockDelta { index, field, value, more }) => {
                let [value, more] = [value, more].map(|span| span.shifted(at.start));
                self.deltas(index, (field, value), more, lone, t).map(Some)
            }
            (Phase::Open, &WireKind::BlockStop { index }) => match self.find(index)? {
                Some(position) => self.next_due_of(Due::BlockStop(position), t).map(Some),
                // The block has already ended.
                None => Ok(None),
            },
            (Phase::Open, WireKind::MessageDelta(parts)) => {
                self.take_end(parts, at.start, t, container)?;
                Ok(Some(StreamEvent::of_message(StreamEventKind::MessageDelta, at)))
            }
            // A gateway may omit the end of a block. All open blocks end here.
            (Phase::Open, WireKind::MessageStop) => self.next_due_of(Due::MessageStop, t).map(Some),
            // A repeated start: the message has already begun.
            (Phase::Open, WireKind::MessageStart(..)) => Ok(None),
            // Unreachable, because a stream is not read after it has stopped.
            (Phase::Stopped, _) => Ok(None),
        }
    }

    /// Handles the value of a delta, and the encrypted value of a compaction next to it.
    fn deltas(
        &mut self,
        index: Option<u16>,
        (field, value): (Field, Span),
        more: Span,
        lone: bool,
        t: &mut Transcript<'_>,
    ) -> Result<StreamEvent, Error> {
        // The values are handled in the order of their positions, because inserting the first one
        // may overwrite the bytes before it.
        let more_first = more.start < value.start;
        let value = (field, value);
        let more = (Field::EncryptedContent, more);
        let both = if more_first { [more, value] } else { [value, more] };
        let place = self
            .find(index)?
            .and_then(|position| self.open.get(position))
            .map_or_else(|| usize::from(self.blocks), OpenBlock::place);
        let mut told =
            StreamEvent { kind: StreamEventKind::of(field), index: place, span: Span::default() };
        for (field, value) in both.into_iter().filter(|(_, value)| value.len() > 0) {
            let value = match field.growth() {
                Growth::Array => Some(value),
                Growth::Json | Growth::Text | Growth::Whole => unquoted(value, t)?,
            };
            let Some(value) = value else { continue };
            let before = t.len();
            let stream_event = self.delta(index, field, Source::Tail(value), lone, t)?;
            if field != Field::EncryptedContent {
                told = stream_event;
            } else if stream_event.span.start <= told.span.start {
                // The encrypted value is not reported, because nobody can read it. The reported
                // value is stored after it and has moved.
                let moved = |place: usize| (place + t.len()).saturating_sub(before);
                told.span = Span::new(moved(told.span.start), moved(told.span.end));
            }
        }
        Ok(told)
    }

    /// Returns whether the message has everything that makes it complete: a stop reason, and no
    /// open block.
    fn may_end(&self) -> bool {
        self.phase == Phase::Open && self.stop.is_some() && self.open.is_empty()
    }

    /// Returns the next event that is due.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    pub(super) fn next_due(&mut self, t: &mut Transcript<'_>) -> Result<StreamEvent, Error> {
        let due = core::mem::replace(&mut self.due, Due::Nothing);
        self.next_due_of(due, t)
    }

    /// Returns the first event of `due`, and keeps the rest due.
    fn next_due_of(&mut self, due: Due, t: &mut Transcript<'_>) -> Result<StreamEvent, Error> {
        let stops = match due {
            Due::Text(text) => return self.delta_at(0, Field::Text, Source::Tail(text), false, t),
            Due::BlockStop(position) => Some(position),
            Due::MessageStop if !self.open.is_empty() => Some(0),
            Due::MessageStop | Due::Nothing => None,
        };
        let Some(position) = stops else {
            self.finish(t)?;
            return Ok(StreamEvent::of_message(StreamEventKind::MessageStop, Span::default()));
        };
        if let Some(half) = self.untold_half(position, t)? {
            self.due = due;
            return Ok(half);
        }
        if due == Due::MessageStop {
            self.due = due;
        }
        self.stop_block(position, t)
    }

    /// Handles the end of the body before `message_stop`.
    pub(super) fn end_of_stream(&mut self, t: &mut Transcript<'_>) -> Result<StreamEvent, Error> {
        // A server that fails may omit the blank line after its error.
        if self.sse.is_inside()
            && let Some((name, words)) = self.sse.end(t)?
        {
            let data = words.of(t.whole());
            let is_error = match name {
                Some(EventKind::Error) => !data.starts_with(b"{") || check(data).is_ok(),
                _ => matches!(parse(data, name).map(|wire| wire.kind), Ok(WireKind::Error)),
            };
            if is_error {
                return Err(self.api_error(words, t));
            }
        }
        if self.may_end() {
            return self.next_due_of(Due::MessageStop, t);
        }
        if self.sse.is_stream() {
            self.failure = Span::default();
            return Err(Protocol::EndedEarly.into());
        }
        Err(Protocol::NotAReply.into())
    }
}

/// Returns the range of the content of a JSON string, or `None` for `null`.
fn unquoted(value: Span, t: &Transcript<'_>) -> Result<Option<Span>, Error> {
    match value.of(t.whole()).first() {
        Some(b'"') => Ok(Some(Span::new(value.start + 1, value.end.saturating_sub(1)))),
        Some(b'n') => Ok(None),
        _ => Err(unexpected("a string in a delta")),
    }
}
