//! A run as bytes: suspended here, and continued elsewhere, by another process or after a crash.
//!
//! A snapshot is one JSON object, so that it can be inspected and stored anywhere as text. This is
//! version 1:
//!
//! ```json
//! {"toolrunner_snapshot":1,"state":"calling","detail":"","stop":"tool_use","turn":[33,34,190,190,0,2],"answered":[0,0,0,0],
//!  "running":[1,0,0,0],"for_caller":[0,0,0,0],"bad":[0,0,0,0],"runs":true,"counts":[1,0,1,305419896,0],
//!  "usage":[120,45,0,0],"turn_usage":[120,45,0,0],"container":"","messages":[…],"sum":3735928559}
//! ```
//! **Compatibility.** A release reads every snapshot that an earlier release has written. A newer
//! format that an older release would misread gets a higher version, and the older release refuses
//! it with an error that says so. A release ignores unknown members, so that a newer release can
//! add some without a new version.
//!
//! **Changed snapshots.** `sum` is the FNV-1a hash (32 bits) of everything before it. A snapshot
//! that was damaged or edited is refused, so store the text unchanged, not as parsed JSON. The
//! first releases wrote no `sum`. A snapshot without one is checked by its content alone: either it
//! is refused, or it continues with a valid conversation. A sum does not prove who wrote a
//! snapshot.
//!
//! A snapshot contains the conversation and the state of its loop, and nothing that a program sets
//! in code: no key, no tools, no limits, no policy. The state of a message thread is part of it, in
//! the members `thread_id` and `thread`: if they are missing or do not match the conversation, the
//! next request contains the whole conversation. A partial reply is not included, and is
//! requested again. A call that was running counts as started: it is answered as cancelled, because
//! it may have had its effect. Calls that were answered keep their answers. The length of a
//! snapshot is that of the conversation, and of changes of the tools that wait to be sent, plus
//! less than [`Run::SNAPSHOT_FRAME`].

mod words;

use super::state::{CallState, CallStates, Outcome, Sequel, Turn};
use super::table::{Machine, State};
use super::thread::Thread;
use super::{CallIndex, Run};
use crate::error::{Capacity, CapacityKind, Error, Misuse};
use crate::history::is_type;
use crate::json::{Bits, Decimal, Kind, SNAPSHOT_DEPTH, Sink, Text, Value, check_to, copy, escape};
use crate::message::{Messages, Role, StopReason, Usage};
use crate::transcript::Transcript;
use crate::turn::BadInputs;
use words::{state_of, stop_of, stop_word, words_of};

const SNAPSHOT_VERSION: u32 = Run::SNAPSHOT_VERSION;

const NONE: Error = Error::Misuse(Misuse::Setting("not a run snapshot"));
/// The states of calls that a snapshot contains, and the names of their members.
const CALL_STATES: [(&str, CallState); 3] = [
    ("answered", CallState::Answered),
    ("running", CallState::Running),
    ("for_caller", CallState::ForCaller),
];
/// The member with the changes of the tools that no request contains yet. It is absent if there are
/// none.
const TOOL_CHANGES: &str = "tool_changes";
/// The members with the message thread. A snapshot of a run without a thread lacks them.
const THREAD: &str = "thread";
const THREAD_ID: &str = "thread_id";
/// [`SNAPSHOT_VERSION`] as it is compared.
const NEWEST: u64 = 2;
/// The text before the sum, which is the last member.
const SUM: &[u8] = b",\"sum\":";

impl Run<'_> {
    /// The newest version of a [`snapshot`](Self::snapshot) that this release reads. It writes
    /// version 1, unless messages of the conversation were
    /// [freed](crate::wire::MessageThread::Free): a release that reads only version 1 would take
    /// the rest for the whole conversation.
    pub const SNAPSHOT_VERSION: u32 = 2;
    /// The maximum number of bytes of a [`snapshot`](Self::snapshot) besides its messages.
    pub const SNAPSHOT_FRAME: usize = 1536;
}

impl<'b> Run<'b> {
    /// Writes the run in its current state to `out`. A partial reply is left out.
    ///
    /// # Errors
    /// `Misuse` while a summary is in progress; `Capacity` if the sink is full.
    pub fn snapshot(&self, out: &mut (impl Sink + ?Sized)) -> Result<(), Error> {
        self.check_can_snapshot()?;
        #[cfg(feature = "alloc")]
        if let Some(kept) = self.as_if_broken() {
            return kept.write_snapshot(out);
        }
        self.write_snapshot(out)
    }

    /// Writes a [`snapshot`](Self::snapshot) up to its messages, for a caller that stores them
    /// elsewhere. The cost does not depend on the length of the conversation.
    ///
    /// # Errors
    /// As for [`snapshot`](Self::snapshot).
    #[doc(hidden)]
    #[cfg(feature = "alloc")]
    pub fn snapshot_frame(&self, out: &mut (impl Sink + ?Sized)) -> Result<(), Error> {
        self.check_can_snapshot()?;
        match self.as_if_broken() {
            Some(kept) => Ok(kept.write_frame(out)?),
            None => Ok(self.write_frame(out)?),
        }
    }

    fn check_can_snapshot(&self) -> Result<(), Error> {
        if self.is_compacting() {
            return Err(
                Misuse::State("cannot take a snapshot while a summary is in progress").into()
            );
        }
        Ok(())
    }

    fn write_snapshot(&self, out: &mut (impl Sink + ?Sized)) -> Result<(), Error> {
        let out = &mut HashSink { out, sum: sum(&[]) };
        self.write_frame(out)?;
        out.put(b",\"messages\":[")?;
        out.put(self.messages())?;
        out.put(b"]")?;
        #[cfg(feature = "alloc")]
        if self.has_tool_changes() {
            name(out, TOOL_CHANGES)?;
            out.put(self.changes.unsent.as_bytes())?;
        }
        let sum = out.sum;
        out.put(SUM)?;
        number(out, u64::from(sum))?;
        Ok(out.put(b"}")?)
    }

    /// Writes the members of a snapshot before its messages.
    fn write_frame(&self, out: &mut (impl Sink + ?Sized)) -> Result<(), Capacity> {
        let (state, detail) = words_of(self.machine.state());
        let Turn { mark, start, end, results_end, first, calls, ref states, ref bad, .. } =
            self.turn;
        out.put(b"{\"toolrunner_snapshot\":")?;
        number(out, u64::from(self.snapshot_version()))?;
        text(out, "state", state)?;
        text(out, "detail", detail)?;
        text(out, "stop", stop_word(self.stop_to_store()))?;
        numbers(
            out,
            "turn",
            &[mark, start, end, results_end, first, calls]
                .map(|n| u64::try_from(n).unwrap_or(u64::MAX)),
        )?;
        for (name, state) in CALL_STATES {
            numbers(out, name, &states.in_state(state).words().map(u64::from))?;
        }
        numbers(out, "bad", &bad.calls().words().map(u64::from))?;
        out.put(if self.turn.runs() { b",\"runs\":true" } else { b",\"runs\":false" })?;
        let counts = [
            self.ledger.turns,
            self.ledger.calls,
            self.ledger.repeats,
            self.ledger.fingerprint,
            self.ledger.compactions,
        ];
        numbers(out, "counts", &counts.map(u64::from))?;
        for (name, usage) in [("usage", self.ledger.usage), ("turn_usage", self.reply.usage)] {
            let Usage {
                input_tokens,
                output_tokens,
                cache_creation_input_tokens,
                cache_read_input_tokens,
            } = usage;
            numbers(
                out,
                name,
                &[
                    input_tokens,
                    output_tokens,
                    cache_creation_input_tokens,
                    cache_read_input_tokens,
                ],
            )?;
        }
        text(out, "container", &self.container)?;
        if let Some((id, values)) = self.thread.to_store(self.transcript.untouched(), self.turn.end)
        {
            // As the server wrote it: it may have escapes.
            name(out, THREAD_ID)?;
            out.put(b"\"")?;
            out.put(id.as_bytes())?;
            out.put(b"\"")?;
            numbers(out, THREAD, &values)?;
        }
        Ok(())
    }

    /// Writes the run in its current state to `memory`, and returns the length of the snapshot. A
    /// partial reply is left out.
    ///
    /// # Errors
    /// `Misuse` while a summary is in progress; `Capacity` of [`CapacityKind::Snapshot`], with the
    /// total number of bytes needed, if the snapshot does not fit.
    pub fn snapshot_into(&self, memory: &mut [u8]) -> Result<usize, Error> {
        let free = memory.len();
        let mut out = FixedSink { memory, len: 0 };
        self.snapshot(&mut out)?;
        if out.len > free {
            return Err(Capacity { what: CapacityKind::Snapshot, needed: out.len, free }.into());
        }
        Ok(out.len)
    }

    /// Restores the run of a snapshot over `transcript`, whose content is replaced. Limits and
    /// policies have their defaults: set them again. The time limit counts from zero.
    ///
    /// # Errors
    /// `Misuse` if `snapshot` is not a snapshot, was changed after it was written, has a newer
    /// version, or contains a conversation that the API would refuse; `Capacity` if the
    /// conversation does not fit.
    pub fn from_snapshot(snapshot: &[u8], mut transcript: Transcript<'b>) -> Result<Self, Error> {
        check_to(SNAPSHOT_DEPTH, snapshot).map_err(|_| NONE)?;
        let value = Value::first(snapshot).ok_or(NONE)?;
        let member = |name: &str| value.member(name).ok_or(NONE);
        let version = member("toolrunner_snapshot")?.as_u64();
        match version {
            Some(1..=NEWEST) => {}
            Some(0) => {
                return Err(Misuse::Setting(
                    "the snapshot has an older version than this library supports",
                )
                .into());
            }
            None => return Err(NONE),
            Some(_) => {
                return Err(Misuse::Setting(
                    "the snapshot has a newer version than this library supports",
                )
                .into());
            }
        }
        if !is_as_written(snapshot, value) {
            return Err(Misuse::Setting(
                "the snapshot was modified after it was written: its checksum does not match",
            )
            .into());
        }
        let messages = member("messages")?;
        let messages = messages
            .raw()
            .strip_prefix(b"[")
            .and_then(|rest| rest.strip_suffix(b"]"))
            .ok_or(NONE)?;
        transcript.truncate(0);
        if !messages.is_empty() {
            transcript.push_json(messages)?;
        }
        let [mark, start, end, results_end, first, calls] =
            read(member("turn")?)?.map(|n| usize::try_from(n).unwrap_or(usize::MAX));
        // A run never has more calls. The checks below visit each of them.
        if calls > Run::MAX_CALLS {
            return Err(NONE);
        }
        let mut states = CallStates::OPEN;
        // The first releases wrote a call in several states: an answer takes precedence.
        for (name, state) in CALL_STATES.into_iter().rev() {
            states.set_all(bits(member(name)?)?, state);
        }
        let bad = BadInputs::of_calls(bits(member("bad")?)?);
        let runs = member("runs")?.as_bool().ok_or(NONE)?;
        let sequel = if runs { Sequel::Results } else { Sequel::Nothing };
        let turn = Turn {
            mark,
            start,
            end,
            results_end,
            first,
            calls,
            states,
            bad,
            sequel,
            ..Turn::none(end)
        };
        let [turns, called, repeats, fingerprint, compactions] =
            read(member("counts")?)?.map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        let mut run = Self::new(transcript);
        run.turn = turn;
        (
            run.ledger.turns,
            run.ledger.calls,
            run.ledger.repeats,
            run.ledger.fingerprint,
            run.ledger.compactions,
        ) = (turns, called, repeats, fingerprint, compactions);
        run.ledger.usage = usage(member("usage")?)?;
        run.reply.usage = usage(member("turn_usage")?)?;
        run.reply.stop = stop_of(member("stop")?)?;
        if run.turn.end > run.turn.mark {
            run.reply.set_restored();
        }
        let container = member("container")?.as_text().and_then(Text::as_plain).ok_or(NONE)?;
        run.container.push_str(container).map_err(|_| NONE)?;
        let mut state = state_of(member("state")?, member("detail")?)?;
        // The first releases wrote this state while a call that waits for the caller was running.
        if state == State::Done(Outcome::NeedsAnswer) && run.turn.is_running() {
            state = State::Calling;
        }
        run.machine = Machine::at(state);
        if !run.turn_is_sound() {
            return Err(NONE);
        }
        run.check_history()?;
        if let Some(changes) = value.member(TOOL_CHANGES) {
            run.restore_tool_changes(changes)?;
        }
        run.restore_thread(value, version != Some(1));
        Ok(run)
    }

    #[cfg(not(feature = "alloc"))]
    #[expect(clippy::unused_self, reason = "only with alloc")]
    fn restore_tool_changes(&mut self, _: Value<'_>) -> Result<(), Error> {
        Err(Misuse::Setting("the snapshot has tool changes that wait: it needs `alloc`").into())
    }

    /// Restores the message thread. With invalid values the run continues without a thread.
    #[inline(never)]
    fn restore_thread(&mut self, snapshot: Value<'_>, is_freed: bool) {
        self.transcript.mark_untouched();
        if let Some(id) = snapshot.member(THREAD_ID).and_then(Value::as_text)
            && let Some(Ok(values)) = snapshot.member(THREAD).map(read)
        {
            self.thread = Thread::restored(id.raw(), values, self.turn.end);
        }
        if is_freed {
            self.thread.set_freed();
        }
    }

    /// Returns the stop reason of the last turn, not that of a reply under way.
    fn stop_to_store(&self) -> Option<StopReason> {
        let of_reply = self.reply.stop.filter(|_| !self.machine.state().is_in_progress());
        self.turn.sent_back().or(of_reply)
    }

    const fn snapshot_version(&self) -> u32 {
        if self.thread.is_freed() { SNAPSHOT_VERSION } else { 1 }
    }

    /// Returns whether the numbers of the turn match the transcript, because a snapshot may come
    /// from anywhere.
    fn turn_is_sound(&self) -> bool {
        let Turn { mark, start, end, results_end, first, calls, .. } = self.turn;
        let bytes = self.transcript.bytes();
        let waits_for_answers = match self.machine.state() {
            State::Calling => self.turn.runs(),
            // Otherwise the calls would be sent without their answers.
            State::Ready => !self.turn.is_calling(),
            State::Done(Outcome::NeedsAnswer) => {
                self.turn.runs() && self.call_for_caller().is_some()
            }
            _ => true,
        };
        if !waits_for_answers {
            return false;
        }
        let messages = || {
            Messages::new(bytes).filter_map(|message| {
                let start = message.value().offset_in(bytes)?;
                Some((start, start + message.raw().len()))
            })
        };
        if start == end {
            let is_behind_a_message = end == 0 || messages().any(|(_, last)| last == end);
            return is_behind_a_message
                && mark == start
                && results_end == end
                && calls == 0
                && first == 0
                && self.machine.state() != State::Calling;
        }
        let at = |from: usize, to: usize| {
            Value::first(bytes.get(from..)?)
                .filter(|value| Some(value.raw().len()) == to.checked_sub(from))
        };
        let Some(message) = at(start, end) else { return false };
        let content = message.member("content").unwrap_or_default();
        let (mut found, mut behind_fallback) = (0, 0);
        for block in content.elements() {
            if is_type(block, "tool_use") {
                found += 1;
            } else if is_type(block, "fallback") {
                behind_fallback = found;
            }
        }
        let results = match results_end.checked_sub(end) {
            Some(0) => 0,
            // Another result goes directly before the brackets.
            Some(_) => match at(end.saturating_add(1), results_end)
                .and_then(|message| message.member("content"))
                .filter(|content| {
                    let at = content.offset_in(bytes);
                    at.is_some_and(|at| at + content.raw().len() + 1 == results_end)
                }) {
                Some(content) => {
                    content.elements().filter(|block| is_type(*block, "tool_result")).count()
                }
                None => return false,
            },
            None => return false,
        };
        message.member("role").unwrap_or_default().is_text(Role::Assistant.name())
            && messages().any(|(first, _)| first == start)
            && self.mark_of(start) == mark
            && found.min(Run::MAX_CALLS) == calls
            // A call before a fallback has no answer, unless it had started. A call that its gate
            // then suspended and the caller allowed is neither answered nor running.
            && first <= behind_fallback
            && results == self.turn.answered_count()
            // A call without an id could never be answered.
            && (!self.turn.runs() || self.calls().all(|i| self.call(i).is_some()))
            && self.turn.answered_before(CallIndex(first)) == 0
            && self.calls().filter(|&i| self.turn.is_answered(i)).all(|i| self.is_answered_by_its_result(i))
    }

    fn is_answered_by_its_result(&self, i: CallIndex) -> bool {
        let id =
            self.result(i).and_then(|result| result.member("tool_use_id")).and_then(Value::as_text);
        id.zip(self.call(i)).is_some_and(|(id, call)| id.raw() == call.id.raw())
    }
}

/// Returns whether the snapshot has no sum, or the sum of its content.
fn is_as_written(snapshot: &[u8], value: Value<'_>) -> bool {
    let Some(stated) = value.member("sum") else { return true };
    let content = value
        .raw()
        .strip_suffix(b"}")
        .and_then(|rest| rest.strip_suffix(stated.raw()))
        .and_then(|rest| rest.strip_suffix(SUM));
    content.is_some_and(|content| stated.as_u64() == Some(u64::from(sum(content))))
        && snapshot.trim_ascii().len() == value.raw().len()
}

/// Returns the FNV-1a hash (32 bits). A change of a single byte always changes it.
fn sum(bytes: &[u8]) -> u32 {
    add(0x811c_9dc5, bytes)
}

fn add(sum: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(sum, |sum, &byte| (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A sink that hashes what passes through it.
struct HashSink<'o, S: ?Sized> {
    out: &'o mut S,
    sum: u32,
}

impl<S: Sink + ?Sized> Sink for HashSink<'_, S> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Capacity> {
        self.sum = add(self.sum, bytes);
        self.out.put(bytes)
    }
}

/// A sink that writes what fits, and counts all bytes.
struct FixedSink<'m> {
    memory: &'m mut [u8],
    len: usize,
}

impl Sink for FixedSink<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Capacity> {
        if let Some(place) =
            self.memory.get_mut(self.len..).and_then(|rest| rest.get_mut(..bytes.len()))
        {
            copy(place, bytes);
        }
        self.len = self.len.saturating_add(bytes.len());
        Ok(())
    }
}

fn usage(value: Value<'_>) -> Result<Usage, Error> {
    let [input_tokens, output_tokens, cache_creation_input_tokens, cache_read_input_tokens] =
        read(value)?;
    Ok(Usage { input_tokens, output_tokens, cache_creation_input_tokens, cache_read_input_tokens })
}

fn bits(value: Value<'_>) -> Result<Bits<4>, Error> {
    let mut words = [0; 4];
    for (word, number) in words.iter_mut().zip(read::<4>(value)?) {
        *word = u32::try_from(number).map_err(|_| NONE)?;
    }
    Ok(Bits::from_words(words))
}

/// Reads an array of exactly `N` numbers.
fn read<const N: usize>(value: Value<'_>) -> Result<[u64; N], Error> {
    if value.kind() != Kind::Array || value.elements().count() != N {
        return Err(NONE);
    }
    let mut numbers = [0; N];
    for (number, element) in numbers.iter_mut().zip(value.elements()) {
        *number = element.as_u64().ok_or(NONE)?;
    }
    Ok(numbers)
}

fn number(out: &mut (impl Sink + ?Sized), number: u64) -> Result<(), Capacity> {
    out.put(Decimal::new(number).as_bytes())
}

fn name(out: &mut (impl Sink + ?Sized), name: &str) -> Result<(), Capacity> {
    out.put(b",\"")?;
    out.put(name.as_bytes())?;
    out.put(b"\":")
}

fn text(out: &mut (impl Sink + ?Sized), key: &str, value: &str) -> Result<(), Capacity> {
    name(out, key)?;
    out.put(b"\"")?;
    escape(value).write_to(out)?;
    out.put(b"\"")
}

fn numbers(out: &mut (impl Sink + ?Sized), key: &str, list: &[u64]) -> Result<(), Capacity> {
    name(out, key)?;
    for (i, each) in list.iter().enumerate() {
        out.put(if i == 0 { b"[" } else { b"," })?;
        number(out, *each)?;
    }
    out.put(b"]")
}
