//! A streamed reply: the effect of each frame, depending on the current phase.

use super::blocks::OpenBlock;
use super::{Container, Phase, Reply, StreamEvent, StreamEventKind, unexpected};
use crate::error::{Error, Protocol, phrase};
use crate::transcript::{Span, Transcript};
use crate::wire::{
    DELTA_ENDING, ENCRYPTED, EventKind, Field, Growth, MESSAGE_ENDING, Parts, Source, Wire, parse,
};

/// The events that are still due, if a frame has caused more than one.
#[derive(Clone, Copy, Debug)]
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
        let mut parts = Parts::NONE;
        let wire = match name {
            // The name is sufficient for these events. The data of an error may be any text.
            Some(kind @ (EventKind::Error | EventKind::MessageStop | EventKind::Ping)) => {
                Wire::plain(kind, None)
            }
            // The end of a stream in the form of OpenAI's API.
            None if cfg!(feature = "gateways")
                && data.trim_ascii() == b"[DONE]"
                && self.may_end() =>
            {
                Wire::plain(EventKind::MessageStop, None)
            }
            None if matches!(data.trim_ascii(), b"" | b"[DONE]") => return Ok(None),
            _ => {
                // In a stream whose frames have names, frames without a name come from an
                // intermediary. They are ignored unless they report an error.
                let is_foreign = name.is_none() && self.sse.is_named();
                match parse(data, name, &mut parts) {
                    Ok(wire) if !is_foreign || wire.kind == EventKind::Error => wire,
                    Err(error) if !is_foreign => {
                        return Err(self.fail(error, Source::Tail(at), t));
                    }
                    _ => return Ok(None),
                }
            }
        };
        self.apply(&wire, &parts, at, t, container)
    }

    /// Applies an event, depending on the current phase. This match lists everything that an event
    /// may do. `at` is the range of its JSON in the tail.
    pub(super) fn apply(
        &mut self,
        wire: &Wire,
        parts: &Parts,
        at: Span,
        t: &mut Transcript<'_>,
        container: &mut Container,
    ) -> Result<Option<StreamEvent>, Error> {
        let value = wire.value.shifted(at.start);
        let (kind, span) = match (self.phase, wire.kind) {
            (_, EventKind::Ping) => (StreamEventKind::Ping, Span::default()),
            (_, EventKind::Unknown) => (StreamEventKind::Unknown, at),
            (_, EventKind::Error) => return Err(self.api_error(at, t)),
            (Phase::Start, EventKind::MessageStart) => {
                self.phase = Phase::Open;
                let stop = self.stop;
                self.take_end(parts, MESSAGE_ENDING, at.start, t, container)?;
                // Only the end of the message has a reason.
                self.stop = stop;
                (StreamEventKind::MessageStart, value)
            }
            (Phase::Start, _) => return Err(unexpected(phrase!("message_start first"))),
            (Phase::Open, EventKind::BlockStart) => {
                if self.has_just_begun(wire.index, value, t) {
                    return Ok(None);
                }
                return self.start_block(wire.index, value, wire.lone_surrogate, t).map(Some);
            }
            (Phase::Open, EventKind::BlockDelta) => {
                let more = match wire.field {
                    Field::Compaction => parts.get(ENCRYPTED).shifted(at.start),
                    _ => Span::default(),
                };
                let lone = wire.lone_surrogate;
                return self.deltas(wire.index, (wire.field, value), more, lone, t).map(Some);
            }
            (Phase::Open, EventKind::BlockStop) => match self.find(wire.index)? {
                Some(position) => return self.next_due_of(Due::BlockStop(position), t).map(Some),
                // The block has already ended.
                None => return Ok(None),
            },
            (Phase::Open, EventKind::MessageDelta) => {
                self.take_end(parts, DELTA_ENDING, at.start, t, container)?;
                (StreamEventKind::MessageDelta, at)
            }
            // A gateway may omit the end of a block. All open blocks end here.
            (Phase::Open, EventKind::MessageStop) => {
                return self.next_due_of(Due::MessageStop, t).map(Some);
            }
            // A repeated start: the message has already begun.
            (Phase::Open, EventKind::MessageStart) => return Ok(None),
            // Unreachable, because a stream is not read after it has stopped.
            (Phase::Stopped, _) => return Ok(None),
        };
        Ok(Some(StreamEvent::of_message(kind, span)))
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
            let stream_event = self.delta(index, field, value, lone, t)?;
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
    pub(super) fn next_due_of(
        &mut self,
        due: Due,
        t: &mut Transcript<'_>,
    ) -> Result<StreamEvent, Error> {
        let position = match due {
            Due::Text(text) if cfg!(feature = "gateways") => {
                return self.delta(None, Field::Text, text, false, t);
            }
            Due::BlockStop(position) => position,
            _ => 0,
        };
        let Some(block) = self.open.get(position) else {
            self.finish(t)?;
            return Ok(StreamEvent::of_message(StreamEventKind::MessageStop, Span::default()));
        };
        let mut block = *block;
        if let Some(half) = self.untold_half(&mut block, t)? {
            self.open.set(position, block);
            self.due = due;
            return Ok(half);
        }
        if matches!(due, Due::MessageStop) {
            self.due = due;
        }
        self.stop_block(position, &block, t)
    }

    /// Handles the end of the body before `message_stop`.
    pub(super) fn end_of_stream(&mut self, t: &mut Transcript<'_>) -> Result<StreamEvent, Error> {
        // A server that fails may omit the blank line after its error.
        if cfg!(feature = "gateways")
            && self.sse.is_inside()
            && let Some((name, words)) = self.sse.end(t)?
        {
            let data = words.of(t.whole());
            let mut parts = Parts::NONE;
            let is_named = name == Some(EventKind::Error);
            // Without data, the error was cut, as an incomplete object is.
            let is_error = (is_named && *data.first().unwrap_or(&b'{') != b'{')
                || parse(data, name, &mut parts)
                    .is_ok_and(|wire| is_named || wire.kind == EventKind::Error);
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
        _ => Err(unexpected(phrase!("a string in a delta"))),
    }
}
