//! A reply that comes as one JSON object: kept in the tail until it is whole, then told as the same events a stream would give.

use super::blocks::{BlockKind, close_call};
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
    /// `message_start`; the body still lies in the tail.
    Start,
    /// The content is in its place; `parts` events of the block that begins at `at` were told.
    Block {
        at: usize,
        index: usize,
        parts: usize,
    },
    /// The citations of that block up to `next` were told.
    Citations {
        at: usize,
        index: usize,
        next: usize,
    },
    Blocks,
    Delta,
    Stop,
}

impl Told {
    const fn block(at: usize) -> Self {
        Self::Block { at, index: 0, parts: 0 }
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
                    self.open_whole(body, t, container)?;
                    (Told::Start, event(HappenedKind::MessageStart, body))
                }
                Told::Start => (self.place_content(body, t)?.map_or(Told::Blocks, Told::block), None),
                Told::Block { at, index, parts: CITATIONS } => match citations_of(at, t) {
                    Some(next) => (Told::Citations { at, index, next }, None),
                    None => (Told::Block { at, index, parts: CITATIONS + 1 }, None),
                },
                Told::Citations { at, index, next } => match next_citation(next, t) {
                    Some(span) => {
                        (Told::Citations { at, index, next: span.end }, Some(Happened { kind: HappenedKind::Citation, index, span }))
                    }
                    None => (Told::Block { at, index, parts: CITATIONS + 1 }, None),
                },
                Told::Block { at, index, parts } => {
                    let happened = self.part_of_block(at, index, parts, t)?;
                    let told = match happened {
                        Some(Happened { kind: HappenedKind::BlockStop, span, .. }) => {
                            next_element(t, span.end).map_or(Told::Blocks, |at| Told::Block { at, index: index + 1, parts: 0 })
                        }
                        _ => Told::Block { at, index, parts: parts + 1 },
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

    /// Checks the body and takes what is not content.
    fn open_whole(&mut self, body: Span, t: &mut Transcript<'_>, container: &mut Container) -> Result<(), Error> {
        let checked = check(body.of(t.whole())).map_err(|error| match error.at {
            at if at >= body.len() => Protocol::EndedEarly,
            _ => json_error(error),
        })?;
        if checked.lone_surrogate.is_some()
            && let Some(bytes) = t.whole_mut().get_mut(body.start..body.end)
        {
            mend_surrogates(bytes);
        }
        let Some(message) = Value::first(body.of(t.whole())) else { return Err(unexpected("a message")) };
        if let Some(error) = message.member("error").filter(|error| !error.is_null()) {
            let kind =
                error.member("type").and_then(Value::as_text).map_or(ApiErrorKind::Unknown, |text| ApiErrorKind::from_type(text.raw()));
            self.failure = body;
            return Err(Error::Api(ApiError { status: 200, kind, retry_after: None }));
        }
        let Some(content) = message.member("content").filter(|content| content.kind() == Kind::Array) else {
            return Err(unexpected("a message with content"));
        };
        if !content.elements().all(is_block) {
            return Err(unexpected("content blocks that have a type"));
        }
        self.stop = message.member("stop_reason").and_then(Value::as_text).map(StopReason::from_text);
        self.take_usage(message.member("usage"));
        take_container(message.member("container"), container)?;
        self.phase = Phase::Open;
        Ok(())
    }

    /// Brings the content to where it stays; gives the place of its first block.
    fn place_content(&mut self, body: Span, t: &mut Transcript<'_>) -> Result<Option<usize>, Error> {
        let content = Value::first(body.of(t.whole())).and_then(|message| message.member("content"));
        let content = content.filter(|content| content.elements().next().is_some());
        let Some((start, len)) = content.and_then(|content| Some((content.offset_in(t.whole())?, content.raw().len()))) else {
            return Ok(None);
        };
        let at = t.len();
        t.insert_tail(at, Span::new(start + 1, (start + len).saturating_sub(1)))?;
        let before: &[u8] = if at == 0 { b"{\"role\":\"assistant\",\"content\":[" } else { b",{\"role\":\"assistant\",\"content\":[" };
        t.insert(at, before)?;
        self.has_blocks = true;
        Ok(next_element(t, at + before.len()))
    }

    /// What is to be told of a block: its start, its value, its signature, its end. `None`: it has no such part.
    fn part_of_block(&mut self, at: usize, index: usize, part: usize, t: &mut Transcript<'_>) -> Result<Option<Happened>, Error> {
        let Some(block) = t.bytes().get(at..).and_then(Value::first) else { return Err(unexpected("a content block")) };
        let mut span = Span::default().with_len(block.raw().len()).shifted(at);
        let kind = kind_of(block);
        let place = |value: Value<'_>| {
            let start = value.offset_in(t.bytes()).unwrap_or(at);
            // A string without its quotes.
            let quote = usize::from(value.kind() == Kind::String);
            Span::new(start + quote, (start + value.raw().len()).saturating_sub(quote))
        };
        let tell = |kind, span| Ok(Some(Happened { kind, index, span }));
        let member =
            |name, kind| block.member(name).filter(|value| !value.is_null()).map(|value| Happened { kind, index, span: place(value) });
        match part {
            0 => {
                self.calls += usize::from(kind == BlockKind::Call);
                tell(HappenedKind::BlockStart, span)
            }
            1 => Ok(match kind {
                BlockKind::Text => member("text", HappenedKind::Text),
                BlockKind::Thinking => member("thinking", HappenedKind::Thinking),
                // JSON text, so a string keeps its quotes.
                BlockKind::Call | BlockKind::ServerCall => block.member("input").map(|value| {
                    let start = value.offset_in(t.bytes()).unwrap_or(at);
                    Happened { kind: HappenedKind::Input, index, span: Span::new(start, start + value.raw().len()) }
                }),
                BlockKind::Compaction => member("content", HappenedKind::Compaction),
                BlockKind::Other => None,
            }),
            2 if kind == BlockKind::Thinking => Ok(member("signature", HappenedKind::Signature)),
            2 => Ok(None),
            _ => {
                if matches!(kind, BlockKind::Call | BlockKind::ServerCall) {
                    let (end, bad) = close_call(t, span, None)?;
                    span.end = end;
                    if kind == BlockKind::Call
                        && let Some(bad) = bad
                    {
                        self.bad.note(self.calls.saturating_sub(1), bad);
                    }
                }
                tell(HappenedKind::BlockStop, span)
            }
        }
    }
}

/// Which part of a block its citations are.
const CITATIONS: usize = 3;

/// Where the citations of the text block at `at` begin. From there on they are found one by one, for there may be many.
fn citations_of(at: usize, t: &Transcript<'_>) -> Option<usize> {
    let block = t.bytes().get(at..).and_then(Value::first).filter(|block| kind_of(*block) == BlockKind::Text)?;
    let citations = block.member("citations").filter(|citations| citations.kind() == Kind::Array)?;
    Some(citations.offset_in(t.bytes())? + 1)
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
