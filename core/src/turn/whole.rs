//! A reply that comes as one JSON object: kept in the tail until it is whole, then told as the same events a stream would give.

use super::blocks::{BlockKind, close_call, ensure_named};
use super::input::mend_surrogates;
use super::{Container, Form, Happened, HappenedKind, Phase, Reply, kind_of, take_container, unexpected};
use crate::error::{ApiError, ApiErrorKind, Capacity, Error, Protocol};
use crate::json::{Kind, Value, check};
use crate::message::StopReason;
use crate::transcript::{Span, Transcript};
use crate::wire::{is_block, json_error};

/// How far a whole-JSON reply is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Whole {
    /// Bytes of the body in the tail.
    len: usize,
    told: Told,
}

/// What was told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    /// `message_start`; the body still lies in the tail, with its content here.
    Start {
        content: Span,
    },
    /// The content is in its place; `parts` events of this block were told.
    Block {
        block: Block,
        index: usize,
        parts: usize,
    },
    /// The citations of that block up to `next` were told.
    Citations {
        block: Block,
        index: usize,
        next: usize,
    },
    Blocks,
    Delta,
    Stop,
}

/// A block in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Block {
    kind: BlockKind,
    span: Span,
}

impl Told {
    const fn block(block: Block) -> Self {
        Self::Block { block, index: 0, parts: 0 }
    }
}

impl Whole {
    pub(super) const fn new() -> Self {
        Self { len: 0, told: Told::Nothing }
    }

    /// Keeps bytes of the body.
    pub(super) fn take(&mut self, bytes: &[u8], t: &mut Transcript<'_>) -> Result<(), Capacity> {
        t.put_at(t.len() + self.len, bytes)?;
        self.len += bytes.len();
        Ok(())
    }
}

impl Reply {
    /// The next event of a body that is whole.
    pub(super) fn next_of_whole(&mut self, t: &mut Transcript<'_>, container: &mut Container) -> Result<Option<Happened>, Error> {
        loop {
            let Form::Whole(whole) = self.form else { return Ok(None) };
            let body = Span::new(t.len(), t.len() + whole.len);
            let event = |kind, span| Some(Happened { kind, index: 0, span });
            let (told, happened) = match whole.told {
                Told::Nothing => {
                    let content = self.open_whole(body, t, container)?;
                    (Told::Start { content }, event(HappenedKind::MessageStart, body))
                }
                Told::Start { content } => (self.place_content(content, t)?.map_or(Told::Blocks, Told::block), None),
                Told::Block { block, index, parts: CITATIONS } => match citations_of(&block, t) {
                    Some(next) => (Told::Citations { block, index, next }, None),
                    None => (Told::Block { block, index, parts: CITATIONS + 1 }, None),
                },
                Told::Citations { block, index, next } => match next_citation(next, t) {
                    Some(span) => {
                        (Told::Citations { block, index, next: span.end }, Some(Happened { kind: HappenedKind::Citation, index, span }))
                    }
                    None => (Told::Block { block, index, parts: CITATIONS + 1 }, None),
                },
                Told::Block { block, index, parts } => {
                    let happened = self.part_of_block(block, index, parts, t)?;
                    let told = match happened {
                        Some(Happened { kind: HappenedKind::BlockStop, span, .. }) => {
                            Block::at(span.end, t).map_or(Told::Blocks, |block| Told::Block { block, index: index + 1, parts: 0 })
                        }
                        _ => Told::Block { block, index, parts: parts + 1 },
                    };
                    (told, happened)
                }
                Told::Blocks => (Told::Delta, event(HappenedKind::MessageDelta, Span::default())),
                Told::Delta => {
                    self.finish(t)?;
                    (Told::Stop, event(HappenedKind::MessageStop, Span::default()))
                }
                Told::Stop => return Ok(None),
            };
            self.form = Form::Whole(Whole { told, ..whole });
            if happened.is_some() {
                return Ok(happened);
            }
        }
    }

    /// Checks the body, takes what is not content, and gives the place of the content's blocks: what stands between its brackets.
    fn open_whole(&mut self, body: Span, t: &mut Transcript<'_>, container: &mut Container) -> Result<Span, Error> {
        let checked = check(body.of(t.whole())).map_err(|error| match error.at {
            at if at >= body.len() => Protocol::EndedEarly,
            _ => json_error(error),
        })?;
        if checked.lone_surrogate.is_some()
            && let Some(bytes) = t.whole_mut().get_mut(body.start..body.end)
        {
            mend_surrogates(bytes);
        }
        let message = Value::whole(body.of(t.whole())).unwrap_or_default();
        let [error, content, stop, usage, named] = message.pick(["error", "content", "stop_reason", "usage", "container"]);
        if let Some(error) = error.filter(|error| !error.is_null()) {
            let kind =
                error.member("type").and_then(Value::as_text).map_or(ApiErrorKind::Unknown, |text| ApiErrorKind::from_type(text.raw()));
            self.failure = body;
            return Err(Error::Api(ApiError { status: 200, kind, retry_after: None }));
        }
        let Some(content) = content.filter(|content| content.kind() == Kind::Array) else {
            return Err(unexpected("a message with content"));
        };
        if !content.elements().all(is_block) {
            return Err(unexpected("content blocks that have a type"));
        }
        self.stop = stop.and_then(Value::as_text).map(StopReason::from_text);
        self.take_usage(usage);
        take_container(named, container)?;
        self.phase = Phase::Open;
        let start = content.offset_in(t.whole()).unwrap_or(body.start);
        Ok(Span::new(start + 1, (start + content.raw().len()).saturating_sub(1)))
    }

    /// Brings the content to where it stays; gives its first block.
    fn place_content(&mut self, content: Span, t: &mut Transcript<'_>) -> Result<Option<Block>, Error> {
        if content.of(t.whole()).trim_ascii().is_empty() {
            return Ok(None);
        }
        let at = t.len();
        t.insert_tail(at, content)?;
        let before: &[u8] = if at == 0 { b"{\"role\":\"assistant\",\"content\":[" } else { b",{\"role\":\"assistant\",\"content\":[" };
        t.insert(at, before)?;
        self.has_blocks = true;
        Ok(Block::at(at + before.len(), t))
    }

    /// What is to be told of a block: its start, its value, its signature, its end. `None`: it has no such part.
    fn part_of_block(&mut self, block: Block, index: usize, part: usize, t: &mut Transcript<'_>) -> Result<Option<Happened>, Error> {
        let Block { kind, mut span } = block;
        let tell = |kind, span| Ok(Some(Happened { kind, index, span }));
        // A string without its quotes.
        let inside = |name, kind| {
            let (value, span) = block.member(name, t).filter(|(value, _)| !value.is_null())?;
            let quote = usize::from(value.kind() == Kind::String);
            Some(Happened { kind, index, span: Span::new(span.start + quote, span.end.saturating_sub(quote)) })
        };
        match part {
            0 => {
                kind.ensure_said_by_the_model()?;
                self.calls += usize::from(kind == BlockKind::Call);
                tell(HappenedKind::BlockStart, span)
            }
            1 => Ok(match kind {
                BlockKind::Text => inside("text", HappenedKind::Text),
                BlockKind::Thinking => inside("thinking", HappenedKind::Thinking),
                // JSON text, so a string keeps its quotes.
                BlockKind::Call | BlockKind::ServerCall => {
                    block.member("input", t).map(|(_, span)| Happened { kind: HappenedKind::Input, index, span })
                }
                BlockKind::Compaction => inside("content", HappenedKind::Compaction),
                BlockKind::Misplaced | BlockKind::Other => None,
            }),
            2 if kind == BlockKind::Thinking => Ok(inside("signature", HappenedKind::Signature)),
            2 => Ok(None),
            _ => {
                if matches!(kind, BlockKind::Call | BlockKind::ServerCall) {
                    let input = block.member("input", t);
                    // An input that is an object was checked with the body.
                    if input.is_none_or(|(input, _)| input.kind() != Kind::Object) {
                        let (end, bad) = close_call(t, span, input.map(|(_, place)| place))?;
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
                tell(HappenedKind::BlockStop, span)
            }
        }
    }
}

impl Block {
    /// The block at or behind `at` in the content, which is the transcript's end.
    fn at(at: usize, t: &Transcript<'_>) -> Option<Self> {
        let start = next_element(t, at)?;
        let block = t.bytes().get(start..).and_then(Value::first)?;
        Some(Self { kind: kind_of(block), span: Span::new(start, start + block.raw().len()) })
    }

    /// The value of its member of this name, and where it stands.
    fn member<'t>(&self, name: &str, t: &'t Transcript<'_>) -> Option<(Value<'t>, Span)> {
        let value = Value::whole(self.span.of(t.bytes()))?.member(name)?;
        let start = value.offset_in(t.bytes())?;
        Some((value, Span::new(start, start + value.raw().len())))
    }
}

/// Which part of a block its citations are.
const CITATIONS: usize = 3;

/// Where the citations of a text block begin. From there on they are found one by one, for there may be many.
fn citations_of(block: &Block, t: &Transcript<'_>) -> Option<usize> {
    if block.kind != BlockKind::Text {
        return None;
    }
    let (_, place) = block.member("citations", t).filter(|(list, _)| list.kind() == Kind::Array)?;
    Some(place.start + 1)
}

/// The first citation at or behind `at`.
fn next_citation(at: usize, t: &Transcript<'_>) -> Option<Span> {
    let start = next_element(t, at)?;
    let citation = t.bytes().get(start..).filter(|rest| !rest.starts_with(b"]")).and_then(Value::first)?;
    Some(Span::new(start, start + citation.raw().len()))
}

/// The place of the element at or behind `at` in the content, which is the transcript's end.
fn next_element(t: &Transcript<'_>, at: usize) -> Option<usize> {
    let rest = t.bytes().get(at..)?;
    let skipped = rest.iter().position(|byte| !matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b','))?;
    Some(at + skipped)
}
