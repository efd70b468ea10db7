//! A reply on its way in: bytes become events, and the assistant message grows in place at the transcript's end.
//!
//! ```text
//! transcript: … earlier messages │mark ,{"role":"assistant","content":[ block, block, │len   tail: a frame in pieces
//! ```
//! The message's end (`]}`) is written when the reply is whole. Until then the run may cut back to the mark, and nothing was said.

mod blocks;
mod input;
mod whole;

use heapless::Vec;

use crate::error::{ApiError, ApiErrorKind, Capacity, Error, Protocol, What};
use crate::json::Value;
use crate::message::{StopReason, Usage};
use crate::transcript::{Span, Transcript};
use crate::wire::{Arrived, Field, Sse, WireKind, parse};
use blocks::{BlockKind, OpenBlock};
pub(crate) use input::BadInputs;
use whole::Whole;

/// Most blocks that may be open at once: the API has one, gateways that translate interleave a few.
pub(crate) const MAX_OPEN_BLOCKS: usize = 8;

const NO_USAGE: Usage = Usage { input_tokens: 0, output_tokens: 0, cache_creation_input_tokens: 0, cache_read_input_tokens: 0 };

/// What a piece of a reply did, as plain data: `Run::event` lends it as an event.
#[derive(Clone, Copy, Debug)]
pub struct Happened {
    pub(crate) kind: HappenedKind,
    pub(crate) index: usize,
    pub(crate) span: Span,
}

/// As wide as what it stands beside, for it is handed from one to the next for every piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum HappenedKind {
    BlockStart,
    BlockStop,
    Citation,
    Compaction,
    Input,
    /// The stop reason and the last usage; the span is the event's JSON, empty for a whole-JSON reply.
    MessageDelta,
    /// The span is the message's JSON as it came, without content in a stream.
    MessageStart,
    MessageStop,
    Ping,
    Signature,
    Text,
    Thinking,
    Unknown,
}

impl Happened {
    /// Whether it is about the message as a whole (its start, its end, its stop reason), and no part of a block.
    pub const fn is_of_message(&self) -> bool {
        matches!(self.kind, HappenedKind::MessageStart | HappenedKind::MessageDelta | HappenedKind::MessageStop)
    }

    /// Whether the message grew: a block began or ended, or a piece came that is not empty. A server can send everything else for ever.
    pub fn is_progress(&self) -> bool {
        let is_of_block = self.kind.is_content() && !matches!(self.kind, HappenedKind::MessageDelta | HappenedKind::MessageStop);
        is_of_block && self.span.len() > 0
    }
}

impl HappenedKind {
    /// What a delta of `field` is told as.
    const fn of(field: Field) -> Self {
        match field {
            Field::Citations => Self::Citation,
            Field::Compaction | Field::EncryptedContent => Self::Compaction,
            Field::Input => Self::Input,
            Field::Signature => Self::Signature,
            Field::Text => Self::Text,
            Field::Thinking => Self::Thinking,
        }
    }

    /// Whether a reader who was told cannot be made to forget it.
    pub(crate) const fn is_content(self) -> bool {
        !matches!(self, Self::MessageStart | Self::Ping | Self::Unknown)
    }
}

/// Where the bytes of an event lie.
#[derive(Clone, Copy)]
pub(super) enum Source<'i> {
    Chunk(&'i [u8]),
    Tail(Span),
}

impl Source<'_> {
    const fn is_empty(self) -> bool {
        match self {
            Self::Chunk(bytes) => bytes.is_empty(),
            Self::Tail(span) => span.len() == 0,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// No byte came yet.
    Unseen,
    Stream,
    Whole(Whole),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before `message_start`.
    Start,
    /// Between `message_start` and `message_stop`.
    Open,
    /// The message is whole; what still comes is read and not looked at.
    Stopped,
}

/// The state of a reply under way.
#[derive(Debug)]
pub(crate) struct Reply {
    form: Form,
    phase: Phase,
    sse: Sse,
    open: Vec<OpenBlock, MAX_OPEN_BLOCKS>,
    /// The least index that a new block may have.
    next_index: usize,
    /// Length of the transcript before this reply.
    pub(crate) mark: usize,
    /// Whether the message has a block.
    has_blocks: bool,
    /// Calls so far: `tool_use` blocks.
    pub(crate) calls: usize,
    /// Calls whose input is no JSON object: their block was mended and they must not run.
    pub(crate) bad: BadInputs,
    pub(crate) stop: Option<StopReason>,
    pub(crate) usage: Usage,
    /// Where, in the tail, the API's error lies that ended the reply.
    pub(crate) failure: Span,
}

impl Reply {
    pub(crate) const fn new(mark: usize) -> Self {
        Self {
            form: Form::Unseen,
            phase: Phase::Start,
            sse: Sse::NEW,
            open: Vec::new(),
            next_index: 0,
            mark,
            has_blocks: false,
            calls: 0,
            bad: BadInputs::NONE,
            stop: None,
            usage: NO_USAGE,
            failure: Span::new(0, 0),
        }
    }

    /// Whether the message has no block: then it is not in the transcript.
    pub(crate) const fn is_empty(&self) -> bool {
        !self.has_blocks
    }

    /// The reply of a run that was restored: it is in the transcript.
    pub(crate) const fn set_restored(&mut self) {
        self.has_blocks = true;
    }

    /// Where the blocks end that are whole, but for those behind one that is not; nothing if there are none, or if all was said.
    pub(crate) fn end_of_whole_blocks(&self, transcript: &Transcript<'_>) -> Option<usize> {
        if !self.is_streamed() || self.phase != Phase::Open || !self.has_blocks {
            return None;
        }
        let Some(cut) = self.open.iter().map(OpenBlock::start).min() else { return Some(transcript.len()) };
        // Before the first block there is no comma.
        let comma = cut.checked_sub(1)?;
        (transcript.bytes().get(comma) == Some(&b',')).then_some(comma)
    }

    /// Whether it comes as a stream, as far as is known.
    pub(crate) const fn is_streamed(&self) -> bool {
        matches!(self.form, Form::Stream)
    }

    /// Takes bytes, up to the first that make something happen. `input` is moved on.
    pub(crate) fn feed(
        &mut self,
        input: &mut &[u8],
        transcript: &mut Transcript<'_>,
        container: &mut Container,
    ) -> Result<Option<Happened>, Error> {
        loop {
            match self.form {
                Form::Unseen => {
                    *input = input.trim_ascii_start();
                    self.form = match input.first() {
                        None => return Ok(None),
                        Some(b'{') => Form::Whole(Whole::new()),
                        // A field's name, a comment, or a byte order mark.
                        Some(b'd' | b'e' | b'i' | b'r' | b':' | 0xef) => Form::Stream,
                        Some(_) => return Err(Protocol::NotAReply.into()),
                    };
                }
                Form::Whole(ref mut whole) => {
                    whole.take(core::mem::take(input), transcript)?;
                    return Ok(None);
                }
                Form::Stream if self.phase == Phase::Stopped => {
                    *input = &[];
                    return Ok(None);
                }
                Form::Stream => {
                    let Some(arrived) = self.sse.next(input, transcript)? else { return Ok(None) };
                    let happened = match arrived {
                        // As it is said of the same event in any other form.
                        Arrived::Delta { .. } if matches!(self.phase, Phase::Start) => return Err(unexpected("message_start first")),
                        Arrived::Delta { index, field, text } => Some(self.next_delta(index, field, text, transcript)?),
                        Arrived::Plain(kind) => self.apply(kind, false, Source::Chunk(&[]), transcript, container)?,
                        Arrived::Chunk(data) => self.event(data, Source::Chunk(data), transcript, container)?,
                        Arrived::Tail(span) => {
                            let whole = transcript.whole();
                            let wire = parse(span.of(whole))?;
                            self.apply(wire.kind, wire.lone_surrogate, Source::Tail(span), transcript, container)?
                        }
                    };
                    if happened.is_some() {
                        return Ok(happened);
                    }
                }
            }
        }
    }

    /// The body has ended. Gives what is still to tell; to be called until it gives nothing.
    pub(crate) fn end(&mut self, transcript: &mut Transcript<'_>, container: &mut Container) -> Result<Option<Happened>, Error> {
        match self.form {
            Form::Whole(_) => self.next_of_whole(transcript, container),
            _ if self.phase == Phase::Stopped => Ok(None),
            _ => Err(Protocol::EndedEarly.into()),
        }
    }

    fn event(
        &mut self,
        data: &[u8],
        source: Source<'_>,
        transcript: &mut Transcript<'_>,
        container: &mut Container,
    ) -> Result<Option<Happened>, Error> {
        let wire = parse(data)?;
        self.apply(wire.kind, wire.lone_surrogate, source, transcript, container)
    }

    /// All that an event may do, by the phase it comes in.
    fn apply(
        &mut self,
        kind: WireKind,
        lone: bool,
        source: Source<'_>,
        transcript: &mut Transcript<'_>,
        container: &mut Container,
    ) -> Result<Option<Happened>, Error> {
        match (self.phase, kind) {
            (_, WireKind::Ping) => Ok(Some(Happened { kind: HappenedKind::Ping, index: 0, span: Span::default() })),
            (_, WireKind::Unknown) => {
                let span = in_tail(source, transcript)?;
                Ok(Some(Happened { kind: HappenedKind::Unknown, index: 0, span }))
            }
            (_, WireKind::Error) => {
                self.failure = in_tail(source, transcript)?;
                let error = Value::whole(self.failure.of(transcript.whole())).and_then(|event| event.member("error"));
                let kind = error.and_then(|error| error.member("type")).and_then(Value::as_text);
                let kind = kind.map_or(ApiErrorKind::Unknown, |text| ApiErrorKind::from_type(text.raw()));
                Err(Error::Api(ApiError { status: 200, kind, retry_after: None }))
            }
            (Phase::Start, WireKind::MessageStart { message, container: named, usage }) => {
                self.phase = Phase::Open;
                let span = part_in_tail(source, message, transcript)?;
                let moved = |part: Span| Span::new(part.start.saturating_sub(message.start) + span.start, 0).with_len(part.len());
                let value = |part: Option<Span>| Value::whole(moved(part?).of(transcript.whole()));
                self.usage.take(usage);
                take_container(value(named), container)?;
                Ok(Some(Happened { kind: HappenedKind::MessageStart, index: 0, span }))
            }
            (Phase::Start, _) => Err(unexpected("message_start first")),
            (Phase::Open, WireKind::BlockStart { index, block }) => {
                let source = part(source, block);
                let span = self.start_block(index, source, lone, transcript)?;
                Ok(Some(Happened { kind: HappenedKind::BlockStart, index, span }))
            }
            (Phase::Open, WireKind::BlockDelta { index, field, value, more }) => {
                // In the order in which they stand: what is brought in first may overwrite what is before it.
                let more_first = more.is_some_and(|more| more.start < value.start);
                let value = Some((field, part(source, value)));
                let more = more.map(|more| (Field::EncryptedContent, part(source, more)));
                let both = if more_first { [more, value] } else { [value, more] };
                let mut told = Happened { kind: HappenedKind::of(field), index, span: Span::default() };
                for (field, value) in both.into_iter().flatten() {
                    let value = match field {
                        Field::Citations => Some(value),
                        _ => unquoted(value, transcript)?,
                    };
                    let Some(value) = value else { continue };
                    let before = transcript.len();
                    let happened = self.delta(index, field, value, lone, transcript)?;
                    if field != Field::EncryptedContent {
                        told = happened;
                    } else if happened.span.start <= told.span.start {
                        // What nobody can read is not told; what was told stands behind it and moved.
                        let moved = |place: usize| (place + transcript.len()).saturating_sub(before);
                        told.span = Span::new(moved(told.span.start), moved(told.span.end));
                    }
                }
                Ok(Some(told))
            }
            (Phase::Open, WireKind::BlockStop { index }) => self.stop_block(index, transcript).map(Some),
            (Phase::Open, WireKind::MessageDelta { stop, container: named, usage }) => {
                let span = in_tail(source, transcript)?;
                let value = |part: Option<Span>| Value::whole(part?.shifted(span.start).of(transcript.whole()));
                if let Some(stop) = value(stop).and_then(Value::as_text) {
                    self.stop = Some(StopReason::from_text(stop));
                }
                take_container(value(named), container)?;
                self.usage.take(usage);
                Ok(Some(Happened { kind: HappenedKind::MessageDelta, index: 0, span }))
            }
            (Phase::Open, WireKind::MessageStop) => {
                // A gateway may leave out a block's stop; what is open ends here.
                while let Some(block) = self.open.first() {
                    let index = block.index;
                    self.stop_block(index, transcript)?;
                }
                self.finish(transcript)?;
                Ok(Some(Happened { kind: HappenedKind::MessageStop, index: 0, span: Span::default() }))
            }
            (Phase::Open, WireKind::MessageStart { .. }) => Err(unexpected("one message_start")),
            // Never reached: a stream is not looked at once it has stopped.
            (Phase::Stopped, _) => Ok(None),
        }
    }

    /// Writes the message's end. A message without content is none.
    fn finish(&mut self, transcript: &mut Transcript<'_>) -> Result<(), Capacity> {
        if self.has_blocks {
            transcript.append(b"]}")?;
        }
        self.phase = Phase::Stopped;
        Ok(())
    }
}

/// Room for the id of a container that a reply names and the next request sends on.
pub(crate) type Container = heapless::String<96>;

/// Takes the id of `{"id":…}`, unless there is one: a run stays in the container that it began in, as with the official runners.
fn take_container(value: Option<Value<'_>>, container: &mut Container) -> Result<(), Capacity> {
    if !container.is_empty() {
        return Ok(());
    }
    let Some(id) = value.and_then(|value| value.member("id")).and_then(Value::as_text) else { return Ok(()) };
    let full = Capacity { what: What::Container, needed: id.raw().len(), free: container.capacity() };
    container.push_str(id.raw()).map_err(|_| full)
}

const fn unexpected(expected: &'static str) -> Error {
    Error::Protocol(Protocol::Event { expected })
}

/// The part of an event that `span` names.
fn part(source: Source<'_>, span: Span) -> Source<'_> {
    match source {
        Source::Chunk(data) => Source::Chunk(span.of(data)),
        Source::Tail(whole) => Source::Tail(span.shifted(whole.start)),
    }
}

/// The content of a JSON string; nothing for `null`.
fn unquoted<'i>(value: Source<'i>, transcript: &Transcript<'_>) -> Result<Option<Source<'i>>, Error> {
    let raw = match value {
        Source::Chunk(raw) => raw,
        Source::Tail(span) => span.of(transcript.whole()),
    };
    match (raw.first(), value) {
        (Some(b'"'), Source::Chunk(raw)) => Ok(Some(Source::Chunk(raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default()))),
        (Some(b'"'), Source::Tail(span)) => Ok(Some(Source::Tail(Span::new(span.start + 1, span.end.saturating_sub(1))))),
        (Some(b'n'), _) => Ok(None),
        _ => Err(unexpected("a string in a delta")),
    }
}

/// Brings an event's bytes into the tail, where they can be lent from.
fn in_tail(source: Source<'_>, transcript: &mut Transcript<'_>) -> Result<Span, Capacity> {
    match source {
        Source::Tail(span) => Ok(span),
        Source::Chunk(data) => {
            let start = transcript.len();
            transcript.put_at(start, data)?;
            Ok(Span::new(start, start + data.len()))
        }
    }
}

fn part_in_tail(source: Source<'_>, span: Span, transcript: &mut Transcript<'_>) -> Result<Span, Capacity> {
    in_tail(part(source, span), transcript)
}

/// What a block of this wire type is, as far as growing it goes.
fn kind_of(block: Value<'_>) -> BlockKind {
    const KINDS: [(&str, BlockKind); 9] = [
        ("text", BlockKind::Text),
        ("thinking", BlockKind::Thinking),
        ("tool_use", BlockKind::Call),
        ("server_tool_use", BlockKind::ServerCall),
        ("mcp_tool_use", BlockKind::ServerCall),
        ("compaction", BlockKind::Compaction),
        ("tool_result", BlockKind::Misplaced),
        ("tool_addition", BlockKind::Misplaced),
        ("tool_removal", BlockKind::Misplaced),
    ];
    // By meaning, not by its bytes: the run finds its calls so, and one that is not counted would stay unanswered.
    let known = block.member("type").and_then(|kind| KINDS.iter().find(|(name, _)| kind.is_text(name)));
    known.map_or(BlockKind::Other, |(_, kind)| *kind)
}
