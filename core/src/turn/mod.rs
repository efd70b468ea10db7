//! A reply on its way in: bytes become events, and the assistant message grows in place at the
//! transcript's end.
//!
//! ```text
//! transcript: … earlier messages │mark ,{"role":"assistant","content":[ block, block, │len   tail: a frame in pieces
//! ```
//! The message's end (`]}`) is written when the reply is whole. Until then the run may cut back to
//! the mark, and nothing was said.

mod blocks;
mod input;
mod open;
mod stream;
mod whole;

use crate::error::{ApiError, ApiErrorKind, Capacity, Error, Protocol, What};
use crate::json::Value;
use crate::message::{StopReason, Usage};
use crate::transcript::{Span, Transcript};
use crate::wire::{Arrived, Field, Source, Sse, error_words};
use blocks::{BlockKind, OpenBlock};
pub(crate) use input::BadInputs;
use open::OpenBlocks;
use stream::Due;
use whole::Whole;

/// Most bytes that are kept of what came instead of a reply.
const SHOWN: usize = 512;

const NO_USAGE: Usage = Usage {
    input_tokens: 0,
    output_tokens: 0,
    cache_creation_input_tokens: 0,
    cache_read_input_tokens: 0,
};

/// What a piece of a reply did, as plain data: `Run::event` lends it as an event.
#[derive(Clone, Copy, Debug)]
pub struct Happened {
    pub(crate) kind: HappenedKind,
    pub(crate) index: usize,
    pub(crate) span: Span,
}

/// As wide as what it stands beside, for it is handed from one to the next for every piece of a
/// text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum HappenedKind {
    BlockStart,
    BlockStop,
    Citation,
    Compaction,
    Input,
    /// The stop reason and the last usage; the span is the event's JSON, empty for a whole-JSON
    /// reply.
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
    /// Whether it is about the message as a whole (its start, its end, its stop reason), and no
    /// part of a block.
    pub const fn is_of_message(&self) -> bool {
        matches!(
            self.kind,
            HappenedKind::MessageStart | HappenedKind::MessageDelta | HappenedKind::MessageStop
        )
    }

    /// Whether the message grew: a block began or ended, or a piece came that is not empty. A
    /// server can send everything else for ever.
    pub fn is_progress(&self) -> bool {
        let is_of_block = self.kind.is_content()
            && !matches!(self.kind, HappenedKind::MessageDelta | HappenedKind::MessageStop);
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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Nothing came yet but white space, and so many bytes of a byte order mark.
    Unseen {
        mark: u8,
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
    /// The message is whole; what still comes is read and not looked at.
    Stopped,
}

/// The state of a reply under way.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    form: Form,
    phase: Phase,
    sse: Sse,
    /// What is still to tell of the last frame.
    due: Due,
    open: OpenBlocks,
    /// Blocks so far: the place of the next one in the message, whatever index the stream gives it.
    blocks: u16,
    /// Length of the transcript before this reply.
    pub(crate) mark: usize,
    /// Whether the message has a block.
    has_blocks: bool,
    /// Whether a text block ended that has nothing but white space.
    has_blank_text: bool,
    /// What the message's last block is, as far as it was seen.
    last: BlockKind,
    /// Calls so far: `tool_use` blocks.
    pub(crate) calls: usize,
    /// Calls whose input is no JSON object: their block was mended and they must not run.
    pub(crate) bad: BadInputs,
    pub(crate) stop: Option<StopReason>,
    pub(crate) usage: Usage,
    /// Where, in the tail, what ended the reply lies: the API's error, or the start of what came
    /// instead of a reply.
    pub(crate) failure: Span,
}

impl Reply {
    pub(crate) const fn new(mark: usize) -> Self {
        Self {
            form: Form::Unseen { mark: 0 },
            phase: Phase::Start,
            sse: Sse::NEW,
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

    /// Whether the message has no block: then it is not in the transcript.
    pub(crate) const fn is_empty(&self) -> bool {
        !self.has_blocks
    }

    /// Whether every block of the whole message goes back, as
    /// [`history::kept`](crate::history::kept) would find by reading all of them: each text says
    /// something, and the last block is a text or a call. `false` if that is not known.
    pub(crate) const fn is_kept_whole(&self) -> bool {
        !self.has_blank_text && matches!(self.last, BlockKind::Text | BlockKind::Call)
    }

    /// Nothing of the message stays in the transcript.
    pub(crate) const fn set_empty(&mut self) {
        self.has_blocks = false;
    }

    /// The reply of a run that was restored: it is in the transcript.
    pub(crate) const fn set_restored(&mut self) {
        self.has_blocks = true;
    }

    /// Where the blocks end that are whole, but for those behind one that is not; nothing if there
    /// are none, or if all was said.
    pub(crate) fn end_of_whole_blocks(&self, transcript: &Transcript<'_>) -> Option<usize> {
        if !self.is_streamed() || self.phase == Phase::Start || !self.has_blocks {
            return None;
        }
        // The message's end is written, but something was wrong with the whole of it.
        #[cfg(feature = "alloc")]
        if self.phase == Phase::Stopped {
            return transcript.len().checked_sub(2);
        }
        let Some(cut) = self.open.iter().map(OpenBlock::start).min() else {
            return Some(transcript.len());
        };
        // Before the first block there is no comma.
        let comma = cut.checked_sub(1)?;
        (transcript.bytes().get(comma) == Some(&b',')).then_some(comma)
    }

    /// Puts `new` into the block that has just begun, at `at`.
    pub(crate) fn grow_begun(
        &mut self,
        at: usize,
        new: &[u8],
        transcript: &mut Transcript<'_>,
    ) -> Result<(), Capacity> {
        transcript.insert(at, new)?;
        match &mut self.form {
            Form::Whole(whole) => whole.block_grew(at, new.len()),
            _ => self.open.last_mut().map_or((), |block| block.grow_by(new.len())),
        }
        Ok(())
    }

    /// Whether call `i` of the reply and every block before it is whole.
    #[cfg(feature = "alloc")]
    pub(crate) fn is_closed_up_to(&self, i: usize) -> bool {
        self.open.iter().all(|block| block.calls_before() > i)
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
                    let happened = match arrived {
                        // As it is said of the same event in any other form.
                        Arrived::Delta { .. } if matches!(self.phase, Phase::Start) => {
                            return Err(unexpected("message_start first"));
                        }
                        Arrived::Delta { index, field, text } => {
                            match self.next_delta(index, field, text, transcript)? {
                                Some(happened) => return Ok(Some(happened)),
                                None => Some(self.delta(
                                    u16::try_from(index).ok(),
                                    field,
                                    Source::Chunk(text),
                                    false,
                                    transcript,
                                )?),
                            }
                        }
                        Arrived::Plain(kind) => {
                            self.apply(kind, false, Source::Chunk(&[]), transcript, container)?
                        }
                        Arrived::Frame(name, data) => {
                            self.frame(name, data, transcript, container)?
                        }
                    };
                    if !matches!(self.due, Due::Nothing) {
                        // The frame's last byte, which ended a blank line and means nothing by
                        // itself, stays: whoever feeds comes again.
                        let used = before.len().saturating_sub(input.len());
                        *input = before.get(used.saturating_sub(1)..).unwrap_or_default();
                    }
                    if happened.is_some() {
                        return Ok(happened);
                    }
                }
            }
        }
    }

    /// What the body is, by its first byte behind white space and a byte order mark. Nothing if
    /// that is not there yet.
    // Out of line, as all that comes once a reply or seldom: what takes deltas needs the registers.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    fn form_of(
        &mut self,
        mut mark: u8,
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
            if MARK.get(usize::from(mark)) == Some(first) {
                (*input, mark) = (rest, mark + 1);
                continue;
            }
            return match first {
                b'{' => Ok(Some(Form::Whole(Whole::new()))),
                // A page. A stream may begin with any field, since unknown ones are ignored.
                b'<' => Err(self.fail(Protocol::NotAReply, Source::Chunk(input), transcript)),
                b'd' | b'e' => Ok(Some(Form::Stream)),
                _ => {
                    // Perhaps a text: lines that no stream has are not put where it lies now.
                    self.fail(Protocol::NotAReply, Source::Chunk(input), transcript);
                    Ok(Some(Form::Stream))
                }
            };
        }
    }

    /// The body has ended. Gives what is still to tell; to be called until it gives nothing.
    pub(crate) fn end(
        &mut self,
        transcript: &mut Transcript<'_>,
        container: &mut Container,
    ) -> Result<Option<Happened>, Error> {
        match self.form {
            Form::Whole(_) => self.next_of_whole(transcript, container),
            Form::Unseen { .. } => Err(Protocol::EndedEarly.into()),
            Form::Stream if self.phase == Phase::Stopped => Ok(None),
            Form::Stream => self.end_of_stream(transcript),
        }
    }

    /// The error, with the start of what came kept for who wants to see it.
    #[cfg_attr(target_pointer_width = "64", inline(never))]
    fn fail(
        &mut self,
        error: Protocol,
        came: Source<'_>,
        transcript: &mut Transcript<'_>,
    ) -> Error {
        let start = came.bytes(transcript).len().min(SHOWN);
        // Where there is no room for it, it is not shown.
        self.failure = came.part(Span::new(0, start)).in_tail(transcript).unwrap_or_default();
        error.into()
    }

    /// The error that the server reports in a reply of status 200; its words lie at `words`.
    fn api_error(&mut self, words: Span, transcript: &Transcript<'_>) -> Error {
        self.failure = words;
        let kind = error_words(words.of(transcript.whole()))
            .map_or(ApiErrorKind::Unknown, |words| words.api_kind());
        Error::Api(ApiError { status: 200, kind, retry_after: None })
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

/// Takes the id of `{"id":…}`, unless there is one: a run stays in the container that it began in,
/// as with the official runners.
fn take_container(value: Option<Value<'_>>, container: &mut Container) -> Result<(), Capacity> {
    if !container.is_empty() {
        return Ok(());
    }
    let Some(id) = value.and_then(|value| value.member("id")).and_then(Value::as_text) else {
        return Ok(());
    };
    let full =
        Capacity { what: What::Container, needed: id.raw().len(), free: container.capacity() };
    container.push_str(id.raw()).map_err(|_| full)
}

const fn unexpected(expected: &'static str) -> Error {
    Error::Protocol(Protocol::Event { expected })
}

/// The kind of a block, by the value of its `type`.
fn kind_of(kind: Option<Value<'_>>) -> BlockKind {
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
    // By meaning, not by its bytes: the run finds its calls so, and one that is not counted would
    // stay unanswered.
    let known = kind.and_then(|kind| KINDS.iter().find(|(name, _)| kind.is_text(name)));
    known.map_or(BlockKind::Other, |(_, kind)| *kind)
}
