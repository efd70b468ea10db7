//! The calls of a turn: started, answered, left to the caller.

use super::results::{SHORTEST, TOOLSET};
use super::state::{CallPlaces, CallState, Place, Turn};
use super::table::Input;
use super::{CallIndex, Run, ToolAnswer};
use crate::error::{Capacity, CapacityKind, Error, Misuse};
#[cfg(feature = "alloc")]
use crate::json::same;
use crate::json::{Array, Kind, Text, Value};
use crate::tool::{Notice, Output, ToolCall, ToolError};

pub(super) use crate::history::is_type;

/// A call of the last turn.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The id of the call.
    pub id: Text<'a>,
    /// The tool's name.
    pub name: Text<'a>,
    /// The toolset that the tool belongs to, if any. In this case only a member of that toolset can
    /// answer the call, even if another tool has the same name.
    pub toolset: Option<Text<'a>>,
    /// The input, a JSON object.
    pub input: Value<'a>,
    /// Whether the model's input was not a JSON object. In this case [`input`](Self::input)
    /// contains what the model wrote as a string, and no tool may run.
    pub is_bad: bool,
    /// Whether the call was answered.
    pub is_answered: bool,
}

/// A running call in the run's own memory: what the tool receives, and where it writes.
#[derive(Debug)]
pub struct CallInFlight<'a> {
    /// What the tool receives.
    pub call: ToolCall<'a>,
    /// Where the tool writes: the free tail of the transcript, less what the other calls of the
    /// turn need for an answer.
    pub out: Output<'a>,
}

/// The result of a tool, as plain data: what it left in its output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrittenResult {
    len: Result<usize, Capacity>,
    is_error: bool,
}

impl WrittenResult {
    /// Completes an output with the value that the tool returned.
    pub fn new(result: Result<(), ToolError>, mut out: Output<'_>) -> Self {
        let is_error = result.is_err();
        let fits = result.map_or_else(|error| error.write_to(&mut out), |()| Ok(()));
        Self { len: fits.and_then(|()| out.finish()).map(<[u8]>::len), is_error }
    }

    /// Returns the content in `memory`, which begins with what was written.
    ///
    /// # Errors
    /// `Capacity` if the content did not fit.
    pub fn of<'m>(&self, memory: &'m [u8]) -> Result<&'m [u8], Capacity> {
        Ok(memory.get(..self.len?).unwrap_or_default())
    }

    /// Returns whether the tool failed, or its result did not fit.
    pub const fn is_error(&self) -> bool {
        self.is_error || self.len.is_err()
    }
}

impl Run<'_> {
    /// Returns the turn's calls that need an answer, whether or not they have one, in order.
    pub fn calls(
        &self,
    ) -> impl DoubleEndedIterator<Item = CallIndex> + ExactSizeIterator + Clone + use<> {
        self.turn.due()
    }

    /// Returns whether the turn has call `i` and it needs an answer, whether or not it has one.
    pub const fn has_call(&self, i: CallIndex) -> bool {
        self.turn.first <= i.0 && i.0 < self.turn.calls
    }

    /// Returns call `i`, or `None` if there is no such call that needs an answer.
    pub fn call(&self, i: CallIndex) -> Option<Call<'_>> {
        if !self.has_call(i) {
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

    fn is_bad(&self, i: CallIndex) -> bool {
        #[cfg(feature = "alloc")]
        if self.has_started_early() {
            return self.reply.bad.has(i.0);
        }
        self.turn.bad.has(i.0)
    }

    /// Returns call `i` if it may be answered now.
    pub(crate) fn open_call(&self, i: CallIndex) -> Result<Call<'_>, Error> {
        self.ensure_idle()?;
        if self.is_compacting() {
            return Err(
                Misuse::State("a summary is in progress: finish it, or stop the run").into()
            );
        }
        Ok(self.call(i).filter(|call| !call.is_answered).ok_or(Misuse::NoSuchCall)?)
    }

    /// Returns whether call `i` exists and was answered.
    pub fn is_answered(&self, i: CallIndex) -> bool {
        self.has_call(i) && self.turn.is_answered(i)
    }

    /// Returns the first call that was neither started nor answered nor left to the caller.
    pub fn next_call(&self) -> Option<CallIndex> {
        self.calls().find(|&i| self.is_pending(i))
    }

    /// Returns whether call `i` was neither started nor answered nor left to the caller.
    pub fn is_pending(&self, i: CallIndex) -> bool {
        self.has_call(i) && self.turn.states.is(i, CallState::Open)
    }

    /// Marks a call as started, if it is [pending](Self::is_pending), for a tool that runs in
    /// memory of its own with a copy of the input. Returns whether it may run: each call starts at
    /// most once. Answer it with [`answer`](Self::answer). If the call has no answer at the next
    /// [`step`](Self::step), it is answered as cancelled.
    #[must_use = "a call that was not started must not run"]
    pub fn mark_started(&mut self, i: CallIndex) -> bool {
        self.is_pending(i) && self.turn.states.set(i, CallState::Running)
    }

    /// Returns the first call that waits for the caller's answer.
    pub fn call_for_caller(&self) -> Option<CallIndex> {
        self.calls().find(|&i| self.is_for_caller(i))
    }

    /// Leaves call `i` to the caller, because no tool here answers it. The run ends with
    /// [`Outcome::NeedsAnswer`](super::Outcome::NeedsAnswer) when nothing else remains to be done.
    pub fn leave_to_caller(&mut self, i: CallIndex) {
        self.turn.states.set(i, CallState::ForCaller);
    }

    /// Hands call `i`, which was left to the caller, back to the tools: it is pending again.
    pub fn give_to_tools(&mut self, i: CallIndex) {
        if self.is_for_caller(i) && self.turn.states.set(i, CallState::Open) {
            // Possible in every state.
            let _ = self.machine.go(Input::ForTools);
        }
    }

    /// Allows call `i` to run without asking the gate, if it has not started. A call that was left to
    /// the caller is pending again. The next turn's calls are not affected.
    pub fn allow(&mut self, i: CallIndex) {
        self.turn.allowed.set(i.0, true);
        self.give_to_tools(i);
    }

    /// Returns whether the caller [allowed](Self::allow) call `i`.
    pub fn is_allowed(&self, i: CallIndex) -> bool {
        self.turn.allowed.has(i.0)
    }

    /// Returns whether call `i` was left to the caller and has no answer.
    pub fn is_for_caller(&self, i: CallIndex) -> bool {
        self.turn.states.is(i, CallState::ForCaller)
    }

    /// Returns whether calls must be answered. Calls that were running and abandoned are answered
    /// as cancelled.
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
            self.machine.go(Input::OnlyForCaller)?;
            return Ok(true);
        }
        Ok(false)
    }

    /// Reserves space for the shortest answer to every call before the first call of a turn runs,
    /// or discards the reply. The reply stays if one of its calls was answered or started, because
    /// that call may have had its effect: in this case more memory is needed.
    pub(super) fn set_room_aside(&mut self) -> Result<(), Error> {
        if self.turn.has_room {
            return Ok(());
        }
        let needed = self.reserve_for_others(usize::MAX) + self.results_frame();
        let free = self.transcript.free();
        if needed > free {
            if self.turn.answered_count() == 0 && !self.turn.is_running() {
                self.drop_reply()?;
            }
            return Err(Capacity { what: CapacityKind::Transcript, needed, free }.into());
        }
        self.turn.has_room = true;
        Ok(())
    }

    /// Returns the number of bytes that the shortest answers to all open calls except `i` need. One
    /// pass over the message, however many calls it has.
    pub(super) fn reserve_for_others(&self, i: usize) -> usize {
        if self.turn.found.len() >= self.turn.calls {
            let others = self.calls().filter(|&j| j.0 != i && !self.turn.is_answered(j));
            return others.map(|j| self.address_len(j) + SHORTEST).sum();
        }
        let calls =
            self.blocks_of(&self.turn).filter(|block| is_type(*block, "tool_use")).enumerate();
        let others = calls.filter(|&(j, _)| {
            j != i && self.has_call(CallIndex(j)) && !self.is_answered(CallIndex(j))
        });
        others.map(|(_, call)| address_bytes(call) + SHORTEST).sum()
    }

    /// Returns the number of bytes reserved for the shortest answers to the open calls. Nothing
    /// else may use them.
    pub(super) fn kept_for_answers(&self) -> usize {
        if self.turn.is_calling() {
            self.reserve_for_others(usize::MAX) + self.results_frame()
        } else {
            0
        }
    }

    /// Returns the number of bytes of the id of call `i`, and of the part that names its toolset if
    /// it has one.
    pub(super) fn address_len(&self, i: CallIndex) -> usize {
        match self.turn.found.get(i.0) {
            Some(found) if found.toolset.text_len() == 0 => found.id.text_len(),
            _ => {
                self.call(i).map_or(0, |call| address_len(call.id.raw_bytes().len(), call.toolset))
            }
        }
    }

    /// Answers call `i` with an error if its input is not an object, because such an input never
    /// reaches a tool. Returns whether it did. If not, a tool may run the call.
    ///
    /// # Errors
    /// `Misuse` if there is no such open call.
    pub fn refuse_bad_input(&mut self, i: CallIndex) -> Result<bool, Error> {
        let call = self.open_call(i)?;
        if !call.is_bad {
            return Ok(false);
        }
        let (error, got) = match self.turn.bad.fault(i.0) {
            Some(fault) if cfg!(feature = "input-words") => (fault, kind_of_bad(call.input).name()),
            _ => (None, "something else"),
        };
        self.answer_bad_input(i, error, got)?;
        Ok(true)
    }

    /// Starts call `i` in the run's own memory. Only one call can run there at a time. When the
    /// tool is done, call [`WrittenResult::new`], then [`end_in_place`](Self::end_in_place).
    ///
    /// # Errors
    /// `Misuse` if there is no such open call.
    pub fn start_in_place(&mut self, i: CallIndex) -> Result<CallInFlight<'_>, Error> {
        let call = self.open_call(i)?;
        // Space for unescaping is needed only if there is an escape. It is placed after the output.
        let raw = call.input.raw();
        let scratch = if raw.contains(&b'\\') { raw.len() } else { 0 };
        let room = self.room_for_result(i);
        self.give_to_tools(i);
        self.turn.states.set(i, CallState::Running);
        self.exchange.said = Place::NONE;
        let turn = self.ledger.turns;
        let head = self.content_place(i) - self.transcript.len();
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
        let [id, name, input, toolset] =
            call_in(&self.turn, conversation, i).ok_or(Misuse::NoSuchCall)?;
        let [id, name] = [id, name].map(|value| value.and_then(Value::as_text).unwrap_or_default());
        let mut call = ToolCall::new(id, name, input.ok_or(Misuse::NoSuchCall)?, scratch);
        call.toolset = toolset.and_then(toolset_of);
        call.turn = turn;
        Ok(CallInFlight { call, out: Output::new(out) })
    }

    /// Answers call `i` with what its tool wrote elsewhere: the content is at the beginning of
    /// `memory`. A result that did not fit there or does not fit here becomes an error result that
    /// says so.
    ///
    /// # Errors
    /// `Misuse` if there is no such open call.
    pub fn answer_written(
        &mut self,
        i: CallIndex,
        written: WrittenResult,
        memory: &[u8],
    ) -> Result<(), Error> {
        match written.of(memory) {
            Ok(content) => {
                self.answer_checked(i, ToolAnswer::ok_json(content).with_error(written.is_error))
            }
            Err(full) => self.answer_notice(i, Notice::TooLarge(full)),
        }
    }

    /// Makes the output of the tool the result of call `i`. A result that did not fit becomes an
    /// error result that says so.
    ///
    /// # Errors
    /// `Misuse` if the call was not started.
    pub fn end_in_place(&mut self, i: CallIndex, written: WrittenResult) -> Result<(), Error> {
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

/// The most bytes that a tool may write in place if the transcript grows. A longer result needs a
/// buffer of its own, and [`Run::answer`].
#[cfg(feature = "alloc")]
const GROWING_RESULT: usize = 1024 * 1024;

/// Returns the blocks of a message. If the message is cut off, returns the complete ones.
pub(super) fn blocks_in(message: &[u8]) -> Array<'_> {
    const HEAD: &[u8] = b"{\"role\":\"assistant\",\"content\":";
    // Messages written by this crate begin this way. A message from the caller need not: it may
    // have white space before the array.
    match message.strip_prefix(HEAD) {
        Some(content @ [b'[', ..]) => Array::inside(content),
        _ => Value::first(message)
            .and_then(|message| message.member("content"))
            .unwrap_or_default()
            .elements(),
    }
}

/// Returns the id, the name, the input and the toolset of the `i`th call of a turn.
pub(super) fn call_in<'a>(
    turn: &Turn,
    transcript: &'a [u8],
    i: CallIndex,
) -> Option<[Option<Value<'a>>; 4]> {
    let message = turn.message(transcript);
    if let Some(CallPlaces { id, name, input, toolset }) = turn.found.get(i.0) {
        return Some([id, name, input, toolset].map(|place| place.value(message)));
    }
    let call = blocks_in(message)
        .filter(|block| is_type(*block, "tool_use"))
        .nth(i.0)
        .filter(|_| i.0 < turn.calls)?;
    Some(call.pick(["id", "name", "input", "toolset_name"]))
}

/// Returns the toolset that a call names, unless that is `null` or empty.
pub(super) fn toolset_of(value: Value<'_>) -> Option<Text<'_>> {
    value.as_text().filter(|name| !name.is_empty())
}

fn address_len(id: usize, toolset: Option<Text<'_>>) -> usize {
    id + toolset.map_or(0, |toolset| TOOLSET.len() + toolset.raw_bytes().len())
}

/// Returns whether a call has an id and a name. A call without them cannot be answered, and the API
/// would not accept the conversation again.
#[cfg(feature = "alloc")]
pub(super) fn is_sound([id, name, _]: [Value<'_>; 3]) -> bool {
    [id, name].into_iter().all(|value| value.as_text().is_some_and(|text| !text.is_empty()))
}

/// Returns whether two ids are equal, however they are escaped.
#[cfg(feature = "alloc")]
pub(super) fn same_id(id: Option<Value<'_>>, other: Option<Value<'_>>) -> bool {
    matches!([id, other].map(|id| id.and_then(Value::as_text)), [Some(id), Some(other)] if same(id, other))
}

/// Returns the number of bytes of a call's id in its raw form, without quotes, and of the part that
/// names its toolset if it has one.
pub(super) fn address_bytes(call: Value<'_>) -> usize {
    let [id, toolset] = call.pick(["id", "toolset_name"]);
    address_len(
        id.and_then(Value::as_text).map_or(0, |id| id.raw_bytes().len()),
        toolset.and_then(toolset_of),
    )
}

/// Returns the kind of an input that is JSON but not an object.
fn kind_of_bad(input: Value<'_>) -> Kind {
    let written = input.member("INVALID_JSON").and_then(Value::as_text).unwrap_or_default();
    match written.raw().trim_ascii_start().as_bytes().first() {
        Some(b'[') => Kind::Array,
        Some(b'\\') => Kind::String,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') => Kind::Null,
        _ => Kind::Number,
    }
}
