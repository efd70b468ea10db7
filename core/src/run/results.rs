//! Answers: one `tool_result` for each call, all of a turn in one user message, in the model's
//! order, whatever order they arrive in.

use super::calls::{call_in, toolset_of};
use super::state::{CallState, Place};
use super::table::Input;
use super::{CallIndex, Run, ToolAnswer};
use crate::error::{Capacity, Error, Misuse, Rule};
use crate::history::{breakpoints_in, wrong_content};
use crate::json::{Array, JsonError, Kind, Sink as _, Text, Value, check};
use crate::observe::Event;
use crate::tool::{EMPTY_ERROR, EMPTY_RESULT, Notice, Output};
use crate::transcript::{Span, Tail};

pub(super) const HEAD: &[u8] = b"{\"type\":\"tool_result\",\"tool_use_id\":\"";
/// Between the id and the name of the toolset, if the call has one.
pub(super) const TOOLSET: &[u8] = b"\",\"toolset_name\":\"";
pub(super) const CONTENT: &[u8] = b"\",\"content\":";
pub(super) const FAILED: &[u8] = b",\"is_error\":true}";
/// The beginning of the message that contains the results.
pub(super) const OPENING: &[u8] = b",{\"role\":\"user\",\"content\":[";
/// The end of a message whose content is an array.
pub(super) const CLOSING: &[u8] = b"]}";
const FRAME: &[u8] = b",{\"role\":\"user\",\"content\":[]}";
#[cfg(feature = "alloc")]
pub(super) const FRAME_LEN: usize = FRAME.len();

/// An answer that always fits, because space for it is reserved.
const NO_ROOM: &[u8] = b"\"Error: no room\"";
/// The number of bytes of the longest answer for which space is reserved, without the id of the
/// call: a comma, and a notice of at most 18 bytes.
pub(super) const SHORTEST: usize = 1 + HEAD.len() + CONTENT.len() + 18 + FAILED.len();

pub(super) const EMPTY: Misuse = Misuse::Json("a tool result's content must not be empty");

/// Writes an answer. It receives the names of the tool and of its toolset. An overflow is noted in
/// the output.
type WriteAnswer<'w> = dyn Fn(Text<'_>, Option<Text<'_>>, &mut Output<'_>) + 'w;

/// Where a result goes, and what surrounds it there.
///
/// ```text
///  …,{"role":"user","content":[{result}]}│
///                                     from            in order: the brackets are written again
///                                     at
/// ```
/// A result that follows the others at the end of the conversation is written over the brackets
/// that close their message, and stays there. Any other result is written behind the conversation,
/// and moves to its place once, as do the bytes after that place.
struct Slot {
    /// Where the result and what surrounds it are written.
    from: usize,
    /// Where they go.
    at: usize,
    /// What comes before the result: a comma, or the beginning of the message.
    opening: &'static [u8],
    /// What comes after it: a comma, or the end of the message.
    closing: &'static [u8],
}

/// What a result consists of, besides the constant parts.
pub(super) struct Parts<'c> {
    /// The positions of the call's id, and of the name of its toolset. Empty if it has none.
    pub(super) id: Span,
    pub(super) toolset: Span,
    pub(super) content: Content<'c>,
    pub(super) is_error: bool,
}

/// The content of a result.
pub(super) enum Content<'c> {
    Answer(ToolAnswer<'c>),
    /// This many bytes, which are already in their place.
    Written(usize),
}

impl Parts<'_> {
    /// Appends the result to a part of the tail, in which there is space for it.
    pub(super) fn write_to(&self, tail: &mut Tail<'_, '_>) -> Result<(), Capacity> {
        tail.add(HEAD);
        tail.copy(self.id);
        if self.toolset.len() > 0 {
            tail.add(TOOLSET);
            tail.copy(self.toolset);
        }
        tail.add(CONTENT);
        match self.content {
            Content::Answer(answer) => answer.write_to(tail)?,
            Content::Written(len) => tail.take_written(len),
        }
        tail.add(if self.is_error { FAILED } else { b"}" });
        Ok(())
    }
}

impl Run<'_> {
    /// Returns the number of bytes of the message around the results, if it does not exist yet.
    pub(super) fn results_frame(&self) -> usize {
        if self.turn.results_end == self.turn.end { FRAME.len() } else { 0 }
    }

    /// Returns the number of bytes before the content of a result.
    pub(super) fn result_head(&self, i: CallIndex) -> usize {
        HEAD.len() + self.address_len(i) + CONTENT.len()
    }

    /// Returns where the result of call `i` goes, and what surrounds it there.
    fn slot(&self, i: CallIndex) -> Slot {
        let turn = &self.turn;
        let len = self.transcript.len();
        let (before, all) = (turn.answered_before(i), turn.answered_count());
        let has_message = turn.results_end > turn.end;
        let is_last = before == all;
        let ends = is_last && turn.results_end == len;
        // The brackets that close the message.
        let close = if has_message { CLOSING.len() } else { 0 };
        Slot {
            from: if ends { len.saturating_sub(close) } else { len },
            at: if is_last {
                turn.results_end.saturating_sub(close)
            } else {
                self.place_after(before)
            },
            opening: if !has_message {
                OPENING
            } else if before > 0 {
                b","
            } else {
                b""
            },
            closing: if ends || !has_message {
                CLOSING
            } else if before == 0 && !is_last {
                b","
            } else {
                b""
            },
        }
    }

    /// Returns where the content of a result is written. Results that arrive in the model's order
    /// stay there; others move once.
    pub(super) fn content_place(&self, i: CallIndex) -> usize {
        let Slot { from, opening, .. } = self.slot(i);
        from + opening.len() + self.result_head(i)
    }

    /// Returns the maximum length of the content of a result that leaves enough space to answer
    /// every other call.
    pub(super) fn room_for_result(&self, i: CallIndex) -> usize {
        let others = self.reserve_for_others(i.0);
        let around = self.result_head(i) + 1 + FAILED.len() + self.results_frame();
        self.transcript.free().saturating_sub(others + around)
    }

    /// Answers call `i`.
    ///
    /// A result that does not fit becomes an error result that says so. There is always space for
    /// the answers to the other calls.
    ///
    /// # Errors
    /// `Misuse` if there is no such open call, if the API would not accept the content (see
    /// [`ToolAnswer`]), or if the request would have more than four cache breakpoints.
    pub fn answer(&mut self, i: CallIndex, answer: ToolAnswer<'_>) -> Result<(), Error> {
        answer.check()?;
        self.ensure_breakpoints_of(answer.blocks(), 0)?;
        self.answer_checked(i, answer)
    }

    /// Answers call `i` with content that an [`Output`] produced: a text is not validated again,
    /// unlike in [`answer`](Self::answer). Content that the API does not accept (no block, an empty
    /// text, an image in a failed call) becomes `(no output)` or `Error: (no message)`. With too
    /// many cache breakpoints, the call gets an error result that says so.
    ///
    /// # Errors
    /// `Misuse` if there is no such open call.
    pub fn answer_checked(&mut self, i: CallIndex, answer: ToolAnswer<'_>) -> Result<(), Error> {
        #[cfg(feature = "alloc")]
        if self.has_started_early() {
            return self.keep_result(i, answer);
        }
        self.open_call(i)?;
        self.exchange.said = Place::NONE;
        if !answer.is_plain() && answer.check().is_err() {
            return self.answer_empty(i, answer.is_error());
        }
        let (len, room) = (answer.len(), self.room_for_result(i));
        if len > room {
            let full =
                Capacity { what: crate::error::CapacityKind::Result, needed: len, free: room };
            return self.answer_notice(i, Notice::TooLarge(full));
        }
        let start = self.content_place(i);
        answer.write_to(&mut self.transcript.tail_from(start))?;
        self.commit_content(i, len, answer.is_error())
    }

    /// Commits what a tool wrote, as [`commit_result`](Self::commit_result) does. If its cache
    /// breakpoints are too many for the request, the result says so instead: the request must not
    /// have a fifth, and only the tool could remove one.
    pub(super) fn commit_content(
        &mut self,
        i: CallIndex,
        len: usize,
        is_error: bool,
    ) -> Result<(), Error> {
        let start = self.content_place(i);
        match self.excess_of(Span::new(start, start + len)) {
            Some(count) => self.answer_notice(i, Notice::Breakpoints(count)),
            None => self.commit_result(i, len, is_error),
        }
    }

    /// Answers call `i` with a standard text of the loop, or with the shortest answer if that does
    /// not fit.
    pub fn answer_notice(&mut self, i: CallIndex, notice: Notice<'_>) -> Result<(), Error> {
        #[cfg(feature = "alloc")]
        if self.has_started_early() {
            return self.keep_notice(i, notice);
        }
        self.answer_by(i, true, &|_, _, out| {
            let _noted = notice.write_to(out);
        })
    }

    /// Answers a call whose tool produced something that the API does not accept: nothing, or an
    /// error that is not text.
    pub(super) fn answer_empty(&mut self, i: CallIndex, is_error: bool) -> Result<(), Error> {
        let text = if is_error { EMPTY_ERROR } else { EMPTY_RESULT };
        self.answer_by(i, is_error, &|_, _, out| {
            let _noted = out.text(text);
        })
    }

    /// Returns whether the API accepts what a tool wrote in the tail, after the space for its head.
    pub(super) fn is_content(&self, i: CallIndex, len: usize, is_error: bool) -> bool {
        let start = self.content_place(i);
        check_content(Span::new(start, start + len).of(self.transcript.whole()), is_error).is_ok()
    }

    /// Answers call `i`, whose tool does not exist here, with an error that says so.
    ///
    /// # Errors
    /// `Misuse` if there is no such open call.
    pub fn answer_not_found(&mut self, i: CallIndex) -> Result<(), Error> {
        self.answer_by(i, true, &|name, toolset, out| {
            let notice = match toolset {
                Some(toolset) => Notice::MemberNotFound { toolset, name },
                None => Notice::NotFound(name),
            };
            let _noted = notice.write_to(out);
        })
    }

    pub(super) fn answer_bad_input(
        &mut self,
        i: CallIndex,
        error: Option<JsonError>,
        got: &str,
    ) -> Result<(), Error> {
        self.answer_by(i, true, &|name, _, out| {
            let _noted = Notice::InvalidJson { name, error, got }.write_to(out);
        })
    }

    /// Writes an answer in place. `write` receives the names of the tool and of its toolset.
    fn answer_by(
        &mut self,
        i: CallIndex,
        is_error: bool,
        write: &WriteAnswer<'_>,
    ) -> Result<(), Error> {
        let call = self.open_call(i)?;
        let names = call.name.raw_bytes().len()
            + call.toolset.map_or(0, |toolset| toolset.raw_bytes().len());
        let used = self.transcript.len();
        let head = self.content_place(i) - used;
        // Without the names, a notice has at most a few hundred bytes.
        let room = self.room_for_result(i).min(names + 512);
        self.transcript.reserve(head + room)?;
        self.exchange.said = Place::NONE;
        let mut len = None;
        if let Some((conversation, tail)) = self.transcript.whole_mut().split_at_mut_checked(used)
            && let Some([_, name, _, toolset]) = call_in(&self.turn, conversation, i)
        {
            let name = name.and_then(Value::as_text).unwrap_or_default();
            let bytes =
                tail.get_mut(head..).and_then(|rest| rest.get_mut(..room)).unwrap_or_default();
            let mut out = Output::new(bytes);
            write(name, toolset.and_then(toolset_of), &mut out);
            len = out.finish().ok().map(<[u8]>::len);
        }
        match len {
            Some(len) => self.commit_result(i, len, is_error),
            None => {
                self.transcript.tail_from(used + head).put(NO_ROOM)?;
                self.commit_result(i, NO_ROOM.len(), true)
            }
        }
    }

    /// Makes the content in the tail, after the space for its head, the result of call `i`.
    pub(super) fn commit_result(
        &mut self,
        i: CallIndex,
        len: usize,
        is_error: bool,
    ) -> Result<(), Error> {
        let call = self.call(i).ok_or(Misuse::NoSuchCall)?;
        let [id, toolset] = [call.id, call.toolset.unwrap_or_default()]
            .map(|text| place_of(text, self.transcript.bytes()));
        let Slot { from, at, opening, closing } = self.slot(i);
        // All or nothing: after this, everything fits.
        let again = self.transcript.len().saturating_sub(from);
        let around = opening.len() + self.result_head(i) + FAILED.len() + closing.len();
        self.transcript.reserve((around + len).saturating_sub(again))?;
        let behind = self.transcript.len().saturating_sub(self.turn.results_end);
        let result = Parts { id, toolset, content: Content::Written(len), is_error };
        let mut tail = self.transcript.reopen(from);
        tail.add(opening);
        result.write_to(&mut tail)?;
        tail.add(closing);
        tail.insert_at(at);
        self.turn.results_end = self.transcript.len() - behind;
        self.turn.states.set(i, CallState::Answered);
        self.ledger.calls = self.ledger.calls.saturating_add(1);
        if self.call_for_caller().is_none() {
            self.machine.go(Input::ForTools)?;
        }
        Ok(())
    }

    /// Returns where to insert a result between its `before` predecessors and the next result:
    /// before the comma of that one.
    fn place_after(&self, before: usize) -> usize {
        let start = self.turn.end + OPENING.len();
        let bytes = self.transcript.bytes();
        let last = before.checked_sub(1).and_then(|last| self.results_of(bytes).nth(last));
        last.and_then(|last| Some(last.offset_in(bytes)? + last.raw().len())).unwrap_or(start)
    }

    fn results_of<'a>(&self, bytes: &'a [u8]) -> Array<'a> {
        let from = self.turn.end + OPENING.len() - 1;
        Array::inside(bytes.get(from..self.turn.results_end).unwrap_or_default())
    }

    /// Returns the results of the last turn that exist so far, in the model's order: `tool_result`
    /// blocks.
    pub fn results(&self) -> impl Iterator<Item = Value<'_>> {
        let is_there = self.turn.results_end > self.turn.end;
        self.results_of(self.transcript.bytes()).take(if is_there {
            self.turn.answered_count()
        } else {
            0
        })
    }

    /// Returns the result of call `i`, a `tool_result` block, if the call was answered.
    pub fn result(&self, i: CallIndex) -> Option<Value<'_>> {
        if !self.has_call(i) || !self.turn.is_answered(i) {
            return None;
        }
        self.results().nth(self.turn.answered_before(i))
    }

    /// Returns the event for the answer to call `i`, if the call was answered.
    pub fn tool_end(&self, i: CallIndex) -> Option<Event<'_>> {
        #[cfg(feature = "alloc")]
        if let Some((content, is_error)) = self.kept_result(i) {
            let call = self.call(i)?;
            return Some(Event::ToolEnd { id: call.id, name: call.name, content, is_error });
        }
        let call = self.call(i).filter(|call| call.is_answered)?;
        let mut results = self.results_of(self.transcript.bytes());
        for _ in 0..self.turn.answered_before(i) {
            results.next();
        }
        let [content, is_error] = results.next_picked(["content", "is_error"])?;
        let is_error = is_error.and_then(Value::as_bool).unwrap_or(false);
        Some(Event::ToolEnd {
            id: call.id,
            name: call.name,
            content: content.unwrap_or_default(),
            is_error,
        })
    }
}

/// Checks that the API accepts this content of a result: a string or an array of blocks, without
/// empty text blocks. The content of a failed call must be text and must not be empty.
pub(super) fn check_content(content: &[u8], is_error: bool) -> Result<(), Misuse> {
    const SHAPE: Misuse =
        Misuse::Json("a tool result's content must be a string or an array of blocks");
    let checked = check(content).map_err(|_| SHAPE)?;
    let value = Value::first(content).ok_or(SHAPE)?;
    if checked.lone_surrogate.is_some() {
        return Err(Misuse::Json("unpaired surrogate in a string"));
    }
    if !matches!(value.kind(), Kind::String | Kind::Array) {
        return Err(SHAPE);
    }
    match wrong_content(value, is_error) {
        None => Ok(()),
        Some(Rule::Block) => Err(SHAPE),
        Some(Rule::ErrorNotText) => Err(Misuse::Json("the content of a failed call must be text")),
        Some(_) => Err(EMPTY),
    }
}

/// Returns the number of cache breakpoints of a result, including those of its content.
pub(super) fn marks_of(result: Value<'_>) -> usize {
    let own = result.member("cache_control").is_some_and(|value| !value.is_null());
    usize::from(own) + result.member("content").map_or(0, breakpoints_in)
}

/// Returns the position of a text in the transcript, which must contain it.
fn place_of(text: Text<'_>, bytes: &[u8]) -> Span {
    let start = text.raw_bytes().as_ptr().addr().saturating_sub(bytes.as_ptr().addr());
    Span::new(start, start + text.raw_bytes().len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests may panic")]
mod tests;
