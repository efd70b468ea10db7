//! The calls of a turn: found in the message, started, answered.

use super::results::{SHORTEST, TOOLSET};
use super::state::{CallState, Found, FoundCalls, Outcome, Place, State, Turn};
use super::{MAX_CALLS, Run};
use crate::error::{Capacity, Error, Misuse, Protocol, What};
use crate::history::{Ending, Ids, is_answerable};
#[cfg(feature = "alloc")]
use crate::json::same;
use crate::json::{Array, Kind, Text, Value};
use crate::message::{Messages, Role, StopReason};
use crate::tool::{Notice, Output, ToolCall, ToolError};
use crate::transcript::Span;
use crate::turn::BadInputs;

pub(super) use crate::history::is_type;

/// A call that waits for its answer.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its id.
    pub id: Text<'a>,
    /// The tool's name.
    pub name: Text<'a>,
    /// The toolset that the tool is a member of, if it is one: then only a member of that toolset
    /// answers it, whatever other tool has the name.
    pub toolset: Option<Text<'a>>,
    /// The input: an object.
    pub input: Value<'a>,
    /// Whether the model's input was no JSON object. Then [`input`](Self::input) holds what it
    /// wrote as a string, and no tool may run.
    pub is_bad: bool,
    /// Whether it was answered.
    pub is_answered: bool,
}

/// A call under way in the run's own memory: what the tool gets, and where it writes.
#[derive(Debug)]
pub struct Called<'a> {
    /// What the tool gets.
    pub call: ToolCall<'a>,
    /// Where it writes: the transcript's free tail, less what the other calls of the turn need for
    /// an answer.
    pub out: Output<'a>,
}

/// What a tool left in its output, as plain data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    len: Result<usize, Capacity>,
    is_error: bool,
}

impl Written {
    /// Whether the tool failed.
    pub const fn is_error(&self) -> bool {
        self.is_error || self.len.is_err()
    }
}

/// Ends an output with what the tool returned.
pub fn settle(result: Result<(), ToolError>, mut out: Output<'_>) -> Written {
    let is_error = result.is_err();
    let fits = result.map_or_else(|error| error.write_to(&mut out), |()| Ok(()));
    Written { len: fits.and_then(|()| out.finish()).map(<[u8]>::len), is_error }
}

/// What a turn knows of its calls from the start.
pub(super) struct CallsFound {
    pub(super) found: FoundCalls,
    /// Calls before the last `fallback` block.
    pub(super) first: usize,
    /// A sum over what they ask for.
    fingerprint: u32,
}

impl Run<'_> {
    /// The reply is whole: its calls are counted, and what comes next is decided by its stop
    /// reason.
    pub(super) fn end_turn(&mut self) -> Result<(), Error> {
        let mark = self.reply.mark;
        let comma = usize::from(mark > 0);
        let calls = self.reply.calls;
        if calls > MAX_CALLS {
            return Err(Capacity { what: What::Calls, needed: calls, free: MAX_CALLS }.into());
        }
        #[cfg(feature = "alloc")]
        let begun = self.begun_early();
        #[cfg(feature = "alloc")]
        if begun.is_some() {
            self.ensure_room_for_answers(mark + comma)?;
        }
        let ending = match self.reply.stop {
            Some(StopReason::PauseTurn | StopReason::Compaction) => Ending::GoesOn,
            Some(StopReason::ToolUse) if calls > 0 => Ending::GoesOn,
            _ => Ending::Ended,
        };
        let is_kept = self.reply.is_empty()
            || self.reply.is_kept_whole()
            || self.keep_message(mark, mark + comma, ending);
        if !is_kept {
            self.reply.set_empty();
        }
        let pauses =
            matches!(self.reply.stop, Some(StopReason::PauseTurn | StopReason::Compaction));
        // The next request would be the same as this one, and so on without an end.
        if self.reply.is_empty() && pauses {
            return Err(Protocol::Event { expected: "blocks in a turn that pauses" }.into());
        }
        let end = self.transcript.len();
        // Behind a paused turn a reply may have nothing to say; then that turn is still the last.
        if self.reply.is_empty() {
            self.go_back_to_turn_before(mark);
        } else {
            let message = Span::new(mark + comma, end);
            let calls_found = if calls > 0 {
                Some(Self::find_calls(
                    message.of(self.transcript.bytes()),
                    self.transcript.grows(),
                )?)
            } else {
                None
            };
            // Field by field where it lies: a turn is too large to be made on a chip's stack first.
            let turn = &mut self.turn;
            *turn = Turn::none(mark);
            (turn.start, turn.end, turn.results_end, turn.calls) = (message.start, end, end, calls);
            turn.bad = core::mem::replace(&mut self.reply.bad, BadInputs::NONE);
            turn.runs = self.reply.stop == Some(StopReason::ToolUse);
            if let Some(CallsFound { found, first, fingerprint }) = calls_found {
                (turn.found, turn.first) = (found, first);
                self.repeats = if fingerprint == self.fingerprint {
                    self.repeats.saturating_add(1)
                } else {
                    1
                };
                self.fingerprint = fingerprint;
            }
        }
        #[cfg(feature = "alloc")]
        let closed = begun.map(|begun| self.take_over(begun));
        self.compaction_tried = false;
        self.turns = self.turns.saturating_add(1);
        self.usage.add(&self.reply.usage);
        self.attempt = 0;
        self.state = match self.reply.stop {
            _ if self.turn.is_calling() => State::Calling,
            _ if pauses => State::Ready,
            stop => State::Done(Outcome::Ended(stop)),
        };
        #[cfg(feature = "alloc")]
        {
            self.forget_breaks();
            if let Some(closed) = closed {
                self.put_results()?;
                self.close_pending(closed)?;
            }
        }
        Ok(())
    }

    /// Finds the calls of a whole message. `grows`: whether there is memory for the places of all
    /// of them.
    ///
    /// # Errors
    /// `Protocol` if one has no name or no id of its own: it could not be answered.
    pub(super) fn find_calls(message: &[u8], grows: bool) -> Result<CallsFound, Error> {
        let (mut seen, mut first) = (0, 0);
        let mut fingerprint = 0x811c_9dc5_u32;
        let mut found = FoundCalls::new();
        let mut ids = Ids::NONE;
        for (i, block) in blocks_in(message).enumerate() {
            let [kind, id, name, input, toolset] =
                block.pick(["type", "id", "name", "input", "toolset_name"]);
            let is = |name| kind.is_some_and(|kind| kind.is_text(name));
            if is("tool_use") {
                seen += 1;
                let parts = [id, name, input].map(Option::unwrap_or_default);
                for &byte in parts.iter().skip(1).flat_map(|part| part.raw()) {
                    fingerprint = (fingerprint ^ u32::from(byte)).wrapping_mul(0x0100_0193);
                }
                // The list has no gap: what is not in it is searched for.
                if let Some(place) = Found::of(parts, toolset, message) {
                    found.note(seen - 1, place, grows);
                }
                if !is_answerable([id, name], &mut ids, blocks_in(message).take(i)) {
                    return Err(Protocol::Event {
                        expected: "calls that have a name and an id of their own",
                    }
                    .into());
                }
            } else if is("fallback") {
                first = seen;
            }
        }
        Ok(CallsFound { found, first, fingerprint })
    }

    /// The last turn is the one that the first `end` bytes end with: see
    /// [`turn_before`](Self::turn_before).
    // Seldom, and a turn is large: not on the stack of those who call it.
    #[inline(never)]
    pub(super) fn go_back_to_turn_before(&mut self, end: usize) {
        self.turn = self.turn_before(end);
    }

    pub(super) fn blocks_of(&self, turn: &Turn) -> Array<'_> {
        blocks_in(turn.message(self.transcript.bytes()))
    }

    /// The turn that the first `end` bytes of the conversation end with, if nothing is known of it
    /// but what stands there: a paused one whose continuation was dropped, or one of a history that
    /// the caller gave. Its calls do not run, and are closed when something else is said.
    pub(super) fn turn_before(&self, end: usize) -> Turn {
        let bytes = self.transcript.bytes().get(..end).unwrap_or_default();
        let last =
            Messages::new(bytes).last().filter(|message| message.role() == Some(Role::Assistant));
        let Some(start) = last.and_then(|message| message.value().offset_in(bytes)) else {
            return Turn::none(end);
        };
        let mut turn = Turn { mark: self.mark_of(start), start, ..Turn::none(end) };
        let message = turn.message(bytes);
        for block in blocks_in(message) {
            if is_type(block, "tool_use") {
                // Elsewhere they are searched for: it is seldom.
                #[cfg(feature = "alloc")]
                let [id, name, input, toolset] =
                    block.pick(["id", "name", "input", "toolset_name"]);
                #[cfg(feature = "alloc")]
                if let Some(place) =
                    Found::of([id, name, input].map(Option::unwrap_or_default), toolset, message)
                {
                    turn.found.note(turn.calls, place, self.transcript.grows());
                }
                turn.calls += 1;
            } else if is_type(block, "fallback") {
                turn.first = turn.calls;
            }
        }
        // Beyond what can be counted nothing can be closed either.
        turn.calls = turn.calls.min(MAX_CALLS);
        turn
    }

    /// Where the conversation is cut to be without the message that begins at `start`: behind the
    /// one before it, and before the comma. The caller's own messages may have spaces there.
    pub(super) fn mark_of(&self, start: usize) -> usize {
        let before = self.transcript.bytes().get(..start).unwrap_or_default().trim_ascii_end();
        before.strip_suffix(b",").unwrap_or(before).trim_ascii_end().len()
    }

    /// The indices of the turn's calls that need an answer, answered or not.
    pub const fn calls(&self) -> core::ops::Range<usize> {
        self.turn.first..self.turn.calls
    }

    /// The call at `i`.
    pub fn call(&self, i: usize) -> Option<Call<'_>> {
        if !self.calls().contains(&i) {
            return None;
        }
        let [id, name, input, toolset] = call_in(&self.turn, self.transcript.bytes(), i)?;
        Some(Call {
            id: id.and_then(Value::as_text)?,
            name: name.and_then(Value::as_text).unwrap_or_default(),
            toolset: toolset.and_then(toolset_of),
            input: input?,
            is_bad: self.is_bad(i),
            is_answered: self.turn.is_answered(i),
        })
    }

    fn is_bad(&self, i: usize) -> bool {
        #[cfg(feature = "alloc")]
        if self.has_begun_early() {
            return self.reply.bad.has(i);
        }
        self.turn.bad.has(i)
    }

    /// The call at `i`, if it may be answered now.
    pub(super) fn open_call(&self, i: usize) -> Result<Call<'_>, Error> {
        self.ensure_idle()?;
        if self.is_compacting() {
            return Err(Misuse::State("a summary is under way: finish it, or stop the run").into());
        }
        Ok(self.call(i).filter(|call| !call.is_answered).ok_or(Misuse::NoSuchCall)?)
    }

    /// Whether there is a call at `i` and it was answered.
    pub fn is_answered(&self, i: usize) -> bool {
        self.calls().contains(&i) && self.turn.is_answered(i)
    }

    /// The first call that was neither started nor answered, nor left to the caller.
    pub fn next_call(&self) -> Option<usize> {
        self.calls().find(|&i| self.is_pending(i))
    }

    /// Whether the call at `i` was neither started nor answered, nor left to the caller.
    pub fn is_pending(&self, i: usize) -> bool {
        self.calls().contains(&i) && self.turn.states.is(i, CallState::Open)
    }

    /// Begins a call that runs in memory of its own, with a copy of its input, if it is
    /// [pending](Self::is_pending). Returns whether it may run: each call begins once. Its answer
    /// comes by [`answer`](Self::answer); if [`step`](Self::step) finds none, it is answered as
    /// cancelled.
    #[must_use = "a call that did not begin must not run"]
    pub fn begin_call(&mut self, i: usize) -> bool {
        self.is_pending(i) && self.turn.states.set(i, CallState::Running)
    }

    /// The first call that waits for the caller's answer.
    pub fn call_for_caller(&self) -> Option<usize> {
        self.calls().find(|&i| self.is_for_caller(i))
    }

    /// Leaves a call to the caller: no tool here answers it. The run ends with
    /// [`Outcome::NeedsAnswer`] when nothing else is to do.
    pub fn leave_to_caller(&mut self, i: usize) {
        self.turn.states.set(i, CallState::ForCaller);
    }

    /// Gives a call that was left to the caller back to the tools: it is pending again.
    pub fn give_to_tools(&mut self, i: usize) {
        let was_given = self.is_for_caller(i) && self.turn.states.set(i, CallState::Open);
        if was_given && self.state == State::Done(Outcome::NeedsAnswer) {
            self.state = State::Calling;
        }
    }

    /// Whether the call at `i` was left to the caller and is not answered.
    pub fn is_for_caller(&self, i: usize) -> bool {
        self.turn.states.is(i, CallState::ForCaller)
    }

    /// Whether calls are to be answered. What was running and abandoned is answered as cancelled.
    pub(super) fn open_calls(&mut self) -> Result<bool, Error> {
        self.set_room_aside()?;
        for i in self.calls() {
            if self.turn.states.is(i, CallState::Running) {
                self.answer_notice(i, Notice::Cancelled)?;
            }
        }
        if self.next_call().is_some() {
            return Ok(true);
        }
        if self.call_for_caller().is_some() {
            self.state = State::Done(Outcome::NeedsAnswer);
            return Ok(true);
        }
        Ok(false)
    }

    /// Before the first call of a turn: room for the shortest answer to every call, or the reply is
    /// taken back. It stays if a call of it was answered or began, for that may have had its
    /// effect: then more memory is needed.
    pub(super) fn set_room_aside(&mut self) -> Result<(), Error> {
        if self.turn.has_room {
            return Ok(());
        }
        let needed = self.reserve_for_others(usize::MAX) + self.results_frame();
        let free = self.transcript.free();
        if needed > free {
            if self.turn.answered_count() == 0 && !self.turn.is_running() {
                self.drop_reply();
            }
            return Err(Capacity { what: What::Transcript, needed, free }.into());
        }
        self.turn.has_room = true;
        Ok(())
    }

    /// Bytes that the shortest answers to all open calls but `i` need. One pass over the message,
    /// however many calls it has.
    pub(super) fn reserve_for_others(&self, i: usize) -> usize {
        if self.turn.found.len() >= self.turn.calls {
            let others = self.calls().filter(|&j| j != i && !self.turn.is_answered(j));
            return others.map(|j| self.address_len(j) + SHORTEST).sum();
        }
        let calls =
            self.blocks_of(&self.turn).filter(|block| is_type(*block, "tool_use")).enumerate();
        let others = calls
            .filter(|(j, _)| *j != i && self.calls().contains(j) && !self.turn.is_answered(*j));
        others.map(|(_, call)| address_bytes(call) + SHORTEST).sum()
    }

    /// Bytes that the calls that are to be answered keep for their shortest answers: nothing else
    /// may use them.
    pub(super) fn kept_for_answers(&self) -> usize {
        if self.turn.is_calling() {
            self.reserve_for_others(usize::MAX) + self.results_frame()
        } else {
            0
        }
    }

    /// Bytes of the id of call `i`, and of what names its toolset if it has one.
    pub(super) fn address_len(&self, i: usize) -> usize {
        match self.turn.found.get(i) {
            Some(found) if found.toolset.text_len() == 0 => found.id.text_len(),
            _ => {
                self.call(i).map_or(0, |call| address_len(call.id.raw_bytes().len(), call.toolset))
            }
        }
    }

    /// Whether a tool may run the call, or what it is answered with instead: an input that is no
    /// object never reaches a tool.
    ///
    /// # Errors
    /// `Misuse` if there is no such open call.
    pub fn refuse_bad_input(&mut self, i: usize) -> Result<bool, Error> {
        let call = self.open_call(i)?;
        if !call.is_bad {
            return Ok(false);
        }
        let written =
            call.input.member("INVALID_JSON").and_then(Value::as_text).unwrap_or_default();
        let got = match written.raw().trim_ascii_start().as_bytes().first() {
            Some(b'[') => Kind::Array,
            Some(b'\\') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') => Kind::Null,
            _ => Kind::Number,
        };
        let (error, got) = match self.turn.bad.fault(i) {
            Some(fault) => (fault, got.name()),
            None => (None, "something else"),
        };
        self.answer_bad_input(i, error, got)?;
        Ok(true)
    }

    /// Starts a call in the run's own memory, one at a time. When the tool is done: [`settle`],
    /// then [`end_call`](Self::end_call).
    ///
    /// # Errors
    /// `Misuse` if there is no such open call.
    pub fn start_call(&mut self, i: usize) -> Result<Called<'_>, Error> {
        self.start_call_with(i, None)
    }

    /// The same with another input than the model's, which the conversation keeps: a JSON object.
    ///
    /// # Errors
    /// As [`start_call`](Self::start_call).
    pub fn start_call_with<'a>(
        &'a mut self,
        i: usize,
        input: Option<Value<'a>>,
    ) -> Result<Called<'a>, Error> {
        let call = self.open_call(i)?;
        // Room to unescape in is only needed if there is an escape; it lies behind the output.
        let raw = input.unwrap_or(call.input).raw();
        let scratch = if raw.contains(&b'\\') { raw.len() } else { 0 };
        let room = self.room_for_result(i);
        self.give_to_tools(i);
        self.turn.states.set(i, CallState::Running);
        self.said = Place::NONE;
        let turn = self.turns;
        let head = self.result_head(i);
        #[cfg(feature = "alloc")]
        let room = room.min(GROWING_RESULT);
        self.transcript.reserve((head + room + scratch).min(self.transcript.free()))?;
        let used = self.transcript.len();
        let (conversation, tail) =
            self.transcript.whole_mut().split_at_mut_checked(used).ok_or(Misuse::NoSuchCall)?;
        let tail = tail.get_mut(head..).unwrap_or_default();
        let room = room.min(tail.len());
        let (out, rest) = tail.split_at_mut_checked(room).unwrap_or_default();
        let scratch = rest.get_mut(..scratch.min(rest.len())).unwrap_or_default();
        let [id, name, own, _] = call_in(&self.turn, conversation, i).ok_or(Misuse::NoSuchCall)?;
        let input = input.or(own);
        let [id, name] = [id, name].map(|value| value.and_then(Value::as_text).unwrap_or_default());
        let mut call = ToolCall::new(id, name, input.ok_or(Misuse::NoSuchCall)?, scratch);
        call.turn = turn;
        Ok(Called { call, out: Output::new(out) })
    }

    /// Commits what the tool wrote. A result that did not fit becomes one that says so.
    ///
    /// # Errors
    /// `Misuse` if the call was not started.
    pub fn end_call(&mut self, i: usize, written: Written) -> Result<(), Error> {
        self.open_call(i)?;
        if !self.turn.states.is(i, CallState::Running) {
            return Err(Misuse::NoSuchCall.into());
        }
        match written.len {
            Ok(len) if !self.is_content(i, len, written.is_error) => {
                self.answer_empty(i, written.is_error)
            }
            Ok(len) => self.commit_content(i, len, written.is_error),
            Err(full) => self.answer_notice(i, Notice::TooLarge(full)),
        }
    }
}

/// The most that a tool may write in place if the transcript grows: for more it needs a buffer of
/// its own, and [`Run::answer`].
#[cfg(feature = "alloc")]
const GROWING_RESULT: usize = 1024 * 1024;

/// The blocks of a message, which may be cut off: then those that are whole.
pub(super) fn blocks_in(message: &[u8]) -> Array<'_> {
    const HEAD: &[u8] = b"{\"role\":\"assistant\",\"content\":";
    // A message that was written here begins so; one of the caller's may not.
    match message.strip_prefix(HEAD) {
        Some(content) => Array::inside(content),
        None => Value::first(message)
            .and_then(|message| message.member("content"))
            .unwrap_or_default()
            .elements(),
    }
}

/// Id, name, input and toolset of a turn's `i`th call.
fn call_in<'a>(turn: &Turn, transcript: &'a [u8], i: usize) -> Option<[Option<Value<'a>>; 4]> {
    let message = turn.message(transcript);
    if let Some(Found { id, name, input, toolset }) = turn.found.get(i) {
        return Some([id, name, input, toolset].map(|place| place.value(message)));
    }
    let call = blocks_in(message)
        .filter(|block| is_type(*block, "tool_use"))
        .nth(i)
        .filter(|_| i < turn.calls)?;
    Some(call.pick(["id", "name", "input", "toolset_name"]))
}

/// The toolset that a call names, unless that is `null` or empty.
fn toolset_of(value: Value<'_>) -> Option<Text<'_>> {
    value.as_text().filter(|name| !name.is_empty())
}

fn address_len(id: usize, toolset: Option<Text<'_>>) -> usize {
    id + toolset.map_or(0, |toolset| TOOLSET.len() + toolset.raw_bytes().len())
}

/// Whether a call has an id and a name: one that has not cannot be answered, and the API would take
/// no such conversation again.
#[cfg(feature = "alloc")]
pub(super) fn is_sound([id, name, _]: [Value<'_>; 3]) -> bool {
    [id, name].into_iter().all(|value| value.as_text().is_some_and(|text| !text.is_empty()))
}

/// Whether two ids are the same, in any spelling.
#[cfg(feature = "alloc")]
pub(super) fn same_id(id: Option<Value<'_>>, other: Option<Value<'_>>) -> bool {
    matches!([id, other].map(|id| id.and_then(Value::as_text)), [Some(id), Some(other)] if same(id, other))
}

/// Bytes of a call's id as it stands, without its quotes, and of what names its toolset if it has
/// one.
pub(super) fn address_bytes(call: Value<'_>) -> usize {
    let [id, toolset] = call.pick(["id", "toolset_name"]);
    address_len(
        id.and_then(Value::as_text).map_or(0, |id| id.raw_bytes().len()),
        toolset.and_then(toolset_of),
    )
}
