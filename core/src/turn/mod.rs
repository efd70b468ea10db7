//! Receiving a reply: bytes become events, and the assistant message grows in place at the end of
//! the transcript.
//!
//! ```text
//! transcript: … earlier messages │mark ,{"role":"assistant","content":[ block, block, │len   tail: a frame in pieces
//! ```
//! The end of the message (`]}`) is written when the reply is complete. Until then the run may
//! truncate the transcript to the mark, which removes the whole reply.

mod blocks;
mod input;
mod open;
mod stream;
mod whole;

use crate::error::{
    ApiError, ApiErrorKind, Capacity, CapacityKind, Error, Phrase, Protocol, phrase,
};
use crate::json::{IS_CHIP, Sink, Value};
use crate::message::{BlockKind, StopReason, Usage};
use crate::transcript::{Span, Transcript};
use crate::wire::{COUNTS, Field, Parts, Source, Sse, SseItem, deltas, error_words};
use blocks::{OpenBlock, ROOM};
pub(crate) use input::BadInputs;
use open::OpenBlocks;
use stream::Due;
use whole::Whole;

/// The maximum number of bytes that are kept of a response that is not a reply.
const SHOWN: usize = 512;

const NO_USAGE: Usage = Usage {
    input_tokens: 0,
    output_tokens: 0,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
};

/// The effect of a part of a reply, as plain data. `Run::mark_shown` and `Run::peek` return it as
/// an event.
#[derive(Clone, Copy, Debug)]
pub struct StreamEvent {
    pub(crate) kind: StreamEventKind,
    pub(crate) index: usize,
    pub(crate) span: Span,
}

macro_rules! define_kinds {
    ($($field:ident $kind:ident $delta:literal $value:literal $member:literal $growth:ident
        $event:ident $name:ident $read:ident;)+) => {
        /// The kind of an event. It is as wide as the fields next to it in [`StreamEvent`], because
        /// it is passed on for every piece of a text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(usize)]
        pub(crate) enum StreamEventKind {
            $($field,)+
            BlockStart,
            BlockStop,
            /// The stop reason and the last usage. The span is the JSON of the event, or empty for
            /// a whole-JSON reply.
            MessageDelta,
            /// The span is the JSON of the message as it arrived. In a stream it has no content.
            MessageStart,
            MessageStop,
            Ping,
            Unknown,
        }

        impl StreamEventKind {
            /// Returns the kind of event that reports a delta of `field`.
            const fn of(field: Field) -> Self {
                match field {
                    $(Field::$field => Self::$field,)+
                    Field::EncryptedContent => Self::Compaction,
                }
            }
        }
    };
}
deltas!(define_kinds);

impl StreamEvent {
    /// Creates an event that concerns no block.
    const fn of_message(kind: StreamEventKind, span: Span) -> Self {
        Self { kind, index: 0, span }
    }

    /// Returns whether the event concerns the message as a whole (its start, its end or its stop
    /// reason) and not a part of a block.
    pub const fn is_of_message(&self) -> bool {
        matches!(
            self.kind,
            StreamEventKind::MessageStart
                | StreamEventKind::MessageDelta
                | StreamEventKind::MessageStop
        )
    }

    /// Returns whether a block begins or ends, so that calls before it may start.
    pub const fn is_of_block(&self) -> bool {
        matches!(self.kind, StreamEventKind::BlockStart | StreamEventKind::BlockStop)
    }

    /// Returns whether the message grew: a block began or ended, or a non-empty piece arrived. A
    /// server can send all other events without end.
    pub fn is_progress(&self) -> bool {
        let is_of_block = self.kind.is_content()
            && !matches!(self.kind, StreamEventKind::MessageDelta | StreamEventKind::MessageStop);
        is_of_block && self.span.len() > 0
    }
}

impl StreamEventKind {
    /// Returns whether the event is content, which cannot be taken back once it was reported.
    pub(crate) const fn is_content(self) -> bool {
        !matches!(self, Self::MessageStart | Self::Ping | Self::Unknown)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Only white space and the first `mark` bytes of a byte order mark have arrived.
    Unseen {
        mark: usize,
    },
    Stream,
    Whole(Whole),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Before `message_start`.
    Start,
    /// Between `message_start` and `message_stop`.
    Open,
    /// The message is complete. The rest of the body is read and ignored.
    Stopped,
}

/// The state of a reply that is being received.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    form: Form,
    phase: Phase,
    sse: Sse,
    /// The events of the last frame that have not been returned yet.
    due: Due,
    open: OpenBlocks,
    /// The number of blocks so far. This is the position of the next block in the message,
    /// regardless of its index in the stream.
    blocks: u16,
    /// The length of the transcript before this reply.
    pub(crate) mark: usize,
    /// Whether the message has a block.
    has_blocks: bool,
    /// Whether a text block has ended that contains only white space.
    has_blank_text: bool,
    /// The kind of the last block that has arrived.
    last: BlockKind,
    /// The number of calls so far (`tool_use` blocks).
    pub(crate) calls: usize,
    /// The calls whose input is not a JSON object. Their input was wrapped in an object, and they
    /// must not run.
    pub(crate) bad: BadInputs,
    pub(crate) stop: Option<StopReason>,
    pub(crate) usage: Usage,
    /// The range, in the tail, of the text that ended the reply: the API's error, or the start of a
    /// response that is not a reply.
    pub(crate) failure: Span,
}

impl Reply {
    pub(crate) const fn new(mark: usize) -> Self {
        Self {
            form: Form::Unseen { mark: 0 },
            phase: Phase::Start,
            sse: Sse::new(),
            due: Due::Nothing,
            open: OpenBlocks::new(),
            blocks: 0,
            mark,
            has_blocks: false,
            has_blank_text: false,
            last: BlockKind::Other,
            calls: 0,
            bad: BadInputs::NONE,
            stop: None,
            usage: NO_USAGE,
            failure: Span::new(0, 0),
        }
    }

    /// Returns whether the message has no block. Then it is not in the transcript.
    pub(crate) const fn is_empty(&self) -> bool {
        !self.has_blocks
    }

    /// Returns whether every block of the complete message is sent back, so that
    /// [`history::kept`](crate::history::kept) does not need to read all of them: each text
    /// contains more than white space, and the last block is a text or a call. Returns `false` if
    /// this is not known, as on a chip.
    pub(crate) const fn is_kept_whole(&self) -> bool {
        !IS_CHIP && !self.has_blank_text && matches!(self.last, BlockKind::Text | BlockKind::Call)
    }

    /// Records that no part of the message is in the transcript any more.
    pub(crate) const fn set_empty(&mut self) {
        self.has_blocks = false;
    }

    /// Records that the message is in the transcript, for the reply of a restored run.
    pub(crate) const fn set_restored(&mut self) {
        self.has_blocks = true;
    }

    /// Returns the offset at which the complete blocks end. Complete blocks after an incomplete one
    /// do not count. Returns `None` if there are none, or if the reply is not a stream.
    pub(crate) fn end_of_whole_blocks(&self, transcript: &Transcript<'_>) -> Option<usize> {
        if !self.is_streamed() || self.phase == Phase::Start || !self.has_blocks {
            return None;
        }
        // The end of the message is written, but the complete message was not accepted.
        #[cfg(feature = "alloc")]
        if self.phase == Phase::Stopped {
            return transcript.len().checked_sub(2);
        }
        let Some(cut) = self.open.iter().map(OpenBlock::start).min() else {
            return Some(transcript.len());
        };
        // There is no comma before the first block.
        let comma = cut.checked_sub(1)?;
        (transcript.bytes().get(comma) == Some(&b',')).then_some(comma)
    }

    /// Inserts `new` at `at` into the block that has just begun.
    pub(crate) fn grow_begun(
        &mut self,
        at: usize,
        new: &[u8],
        transcript: &mut Transcript<'_>,
    ) -> Result<(), Capacity> {
        transcript.insert(at, new)?;
        if let Form::Whole(whole) = &mut self.form {
            whole.block_grew(at, new.len());
        }
        if let Some(block) = self.open.last_mut() {
            block.grow_by(new.len());
        }
        Ok(())
    }

    /// Returns whether call `i` of the reply and every block before it are complete.
    #[cfg(feature = "alloc")]
    pub(crate) fn is_closed_up_to(&self, i: usize) -> bool {
        self.open.iter().all(|block| block.calls_before() > i)
    }

    /// Returns whether the reply is a stream, as far as is known.
    pub(crate) const fn is_streamed(&self) -> bool {
        matches!(self.form, Form::Stream)
    }

    /// Consumes the delta at the start of `input` and returns its event, if the delta is in the
    /// exact form of the API and continues the only open block. Otherwise returns `None` and
    /// changes nothing. [`feed`](Self::feed) does the same, but where this is inlined, the event
    /// stays in registers: memory would be read in larger parts than it was just written, which
    /// takes the processor longer than everything else about a short delta.
    #[inline]
    pub(crate) fn feed_delta(
        &mut self,
        input: &mut &[u8],
        transcript: &mut Transcript<'_>,
    ) -> Option<StreamEvent> {
        let expects_delta = matches!(self.form, Form::Stream)
            && matches!(self.phase, Phase::Open)
            && matches!(self.due, Due::Nothing);
        if !expects_delta {
            return None;
        }
        let found = self.sse.fast_delta(input)?;
        // `feed` returns the error if the text does not fit.
        let stream_event =
            self.next_delta(found.index, found.field, found.text, transcript).ok()??;
        self.sse.note_delta();
        *input = input.get(found.used..).unwrap_or_default();
        Some(stream_event)
    }

    /// Consumes bytes, up to the first ones that cause an event. Advances `input`.
    pub(crate) fn feed(
        &mut self,
        input: &mut &[u8],
        transcript: &mut Transcript<'_>,
        container: &mut Container,
    ) -> Result<Option<StreamEvent>, Error> {
        loop {
            match self.form {
                Form::Unseen { mark } => {
                    let Some(form) = self.form_of(mark, input, transcript)? else {
                        return Ok(None);
                    };
                    self.form = form;
                }
                Form::Whole(ref mut whole) => {
                    whole.take(core::mem::take(input), transcript)?;
                    return Ok(None);
                }
                Form::Stream if self.phase == Phase::Stopped => {
                    *input = &[];
                    return Ok(None);
                }
                Form::Stream if !matches!(self.due, Due::Nothing) => {
                    return self.next_due(transcript).map(Some);
                }
                Form::Stream => {
                    let before = *input;
                    let Some(arrived) = self.sse.next(input, transcript)? else {
                        return if self.sse.is_other_text() {
                            Err(Protocol::NotAReply.into())
                        } else {
                            Ok(None)
                        };
                    };
                    let stream_event = match arrived {
                        // The general path returns the same error for this event.
                        SseItem::Delta { .. } if matches!(self.phase, Phase::Start) => {
                            return Err(unexpected(phrase!("message_start first")));
                        }
                        SseItem::Delta { index, field, text } => {
                            match self.next_delta(index, field, text, transcript)? {
                                Some(stream_event) => return Ok(Some(stream_event)),
                                None => {
                                    let mut tail = transcript.tail_from(transcript.len() + ROOM);
                                    tail.put(text)?;
                                    let (index, text) = (u16::try_from(index).ok(), tail.span());
                                    Some(self.delta(index, field, text, false, transcript)?)
                                }
                            }
                        }
                        SseItem::Plain(wire) => {
                            let at = Span::default();
                            self.apply(&wire, &Parts::NONE, at, transcript, container)?
                        }
                        SseItem::Frame(name, data) => {
                            self.frame(name, data, transcript, container)?
                        }
                    };
                    if !matches!(self.due, Due::Nothing) {
                        // More events are due. Leave the last byte of the frame in the input, so
                        // that the caller feeds again. The byte ends a blank line and has no
                        // meaning by itself.
                        let used = before.len().saturating_sub(input.len());
                        *input = before.get(used.saturating_sub(1)..).unwrap_or_default();
                    }
                    if stream_event.is_some() {
                        return Ok(stream_event);
                    }
                }
            }
        }
    }

    /// Determines the form of the body from its first byte after white space and a byte order mark.
    /// Returns `None` if this byte has not arrived yet.
    // Out of line, like everything that runs only once per reply or rarely, because the code for
    // deltas needs the registers.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    fn form_of(
        &mut self,
        mut mark: usize,
        input: &mut &[u8],
        transcript: &mut Transcript<'_>,
    ) -> Result<Option<Form>, Error> {
        const MARK: &[u8] = b"\xef\xbb\xbf";
        loop {
            *input = input.trim_ascii_start();
            let Some((first, rest)) = input.split_first() else {
                self.form = Form::Unseen { mark };
                return Ok(None);
            };
            if MARK.get(mark) == Some(first) {
                (*input, mark) = (rest, mark + 1);
                continue;
            }
            return match first {
                b'{' if cfg!(feature = "whole-replies") => Ok(Some(Form::Whole(Whole::new()))),
                // An HTML page. A stream, however, may begin with any field, because unknown fields
                // are ignored.
                b'<' | b'{' => {
                    Err(self.fail(Protocol::NotAReply, Source::Chunk(input), transcript))
                }
                b'd' | b'e' => Ok(Some(Form::Stream)),
                _ => {
                    // This may be another kind of text. Its start is stored now, because lines
                    // without a field of an event stream are not stored later.
                    self.fail(Protocol::NotAReply, Source::Chunk(input), transcript);
                    Ok(Some(Form::Stream))
                }
            };
        }
    }

    /// Handles the end of the body. Returns the next event that is due. Call it until it returns
    /// `None`.
    pub(crate) fn end(
        &mut self,
        transcript: &mut Transcript<'_>,
        container: &mut Container,
    ) -> Result<Option<StreamEvent>, Error> {
        if self.phase == Phase::Stopped {
            return Ok(None);
        }
        if !matches!(self.due, Due::Nothing) {
            return self.next_due(transcript).map(Some);
        }
        match self.form {
            Form::Whole(whole) if cfg!(feature = "whole-replies") => {
                self.next_of_whole(whole, transcript, container).map(Some)
            }
            Form::Whole(_) | Form::Unseen { .. } => Err(Protocol::EndedEarly.into()),
            Form::Stream => self.end_of_stream(transcript).map(Some),
        }
    }

    /// Returns the error, and stores the start of the response for display.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    fn fail(
        &mut self,
        error: Protocol,
        came: Source<'_>,
        transcript: &mut Transcript<'_>,
    ) -> Error {
        let start = came.bytes(transcript).len().min(SHOWN);
        // If there is no space for it, it is not stored.
        self.failure = came.part(Span::new(0, start)).in_tail(transcript).unwrap_or_default();
        error.into()
    }

    /// Returns the error that the server reported in a reply with status 200. `words` is the range
    /// of its text.
    fn api_error(&mut self, words: Span, transcript: &Transcript<'_>) -> Error {
        self.failure = words;
        let kind = error_words(words.of(transcript.whole()))
            .map_or(ApiErrorKind::Unknown, |words| words.api_kind());
        Error::Api(ApiError::new(200, kind, None))
    }

    /// Takes over the stop reason of a message, which is the part `ending`, its container and its
    /// usage. The JSON begins at `start`. Those that are missing stay unchanged.
    fn take_end(
        &mut self,
        parts: &Parts,
        ending: usize,
        start: usize,
        t: &Transcript<'_>,
        container: &mut Container,
    ) -> Result<(), Capacity> {
        let value = |i: usize| parts.get(i).shifted(start).value(t.whole());
        // An empty reason says nothing, and replaces nothing.
        if let Some(stop) = value(ending).and_then(Value::as_text).filter(|it| !it.is_empty()) {
            self.stop = Some(StopReason::from_text(stop));
        }
        for (i, count) in COUNTS.zip(self.usage.counts_mut()) {
            *count = value(i).and_then(Value::as_u64).unwrap_or(*count);
        }
        take_container(value(ending + 1), container)
    }

    /// Writes the end of the message. A message without content is not written.
    fn finish(&mut self, transcript: &mut Transcript<'_>) -> Result<(), Capacity> {
        if self.has_blocks {
            transcript.append(b"]}")?;
        }
        self.phase = Phase::Stopped;
        Ok(())
    }
}

/// A buffer for the id of the container that a reply names and the next request sends.
pub(crate) type Container = heapless::String<96>;

/// Stores the id in `{"id":…}`, unless an id is already stored. A run stays in the container in
/// which it began, as with the official runners.
fn take_container(value: Option<Value<'_>>, container: &mut Container) -> Result<(), Capacity> {
    if !container.is_empty() {
        return Ok(());
    }
    let Some(id) = value.and_then(|value| value.member("id")).and_then(Value::as_text) else {
        return Ok(());
    };
    let full = Capacity {
        what: CapacityKind::Container,
        needed: id.raw().len(),
        free: container.capacity(),
    };
    container.push_str(id.raw()).map_err(|_| full)
}

const fn unexpected(expected: Phrase) -> Error {
    Error::Protocol(Protocol::Event { expected })
}
