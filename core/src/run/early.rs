//! Calls that start while their reply is still streaming, for a driver whose tools run in memory of
//! their own.
//!
//! ```text
//! transcript: … │mark ,{"role":"assistant","content":[ block, call, block, call │turn.end , block, half a blo │len
//!                └──────────── the turn: never taken back ────────────────────┘
//! ```
//! A call that started may have had its effect. Therefore the part of the reply that ends with it
//! is the run's last turn from then on, with one state for each call as in any other turn. Only the
//! results have to wait: they are stored here until the reply ends. Then they are put in their
//! places, whether the reply is complete, broke off, was cancelled, or did not fit. A
//! [snapshot](Run::snapshot) during a reply contains what would be kept if the reply broke off at
//! that moment.

use alloc::vec::Vec;
use core::time::Duration;

use super::broken::keep_part;
use super::calls::{address_bytes, blocks_in, is_sound, is_type, same_id, toolset_of};
use super::ledger::Ledger;
use super::results::{FRAME_LEN, SHORTEST};
use super::state::{CallPlaces, CallState, CallStates, FoundCalls, Sequel, Turn};
use super::table::{Input, State, Wish};
use super::{Call, CallIndex, MAX_CALLS, Run, ToolAnswer};
use crate::error::{Error, Misuse};
use crate::json::{Array, Bits, Sink, Value};
use crate::time::Instant;
use crate::tool::{EMPTY_ERROR, EMPTY_RESULT, Notice};
use crate::transcript::{Span, Transcript};
use crate::turn::{StreamEvent, StreamEventKind};

/// The number of bytes of a message before its first block.
const HEAD: usize = "{\"role\":\"assistant\",\"content\":[".len();
/// The number of bytes after its last block.
const END: usize = 2;

/// What a run knows about the calls that started before their reply was complete.
#[derive(Clone, Debug, Default)]
pub(super) struct Early {
    /// Whether a call of the current reply has started. If so, the run's turn is a part of that
    /// reply.
    has_begun: bool,
    /// Whether no further call may start before the reply ends.
    is_closed: bool,
    /// The number of bytes that must stay free: for the end of the message, and for the shortest
    /// answers to its calls.
    hold: usize,
    /// The results that wait for the end of the reply.
    results: Vec<EarlyResult>,
    /// The number of replies in a row that ended early after a call had started.
    breaks: u32,
    /// No request is sent before this instant. Zero if one may be sent now.
    pause: Instant,
}

#[derive(Clone, Debug)]
struct EarlyResult {
    call: CallIndex,
    content: Vec<u8>,
    is_error: bool,
}

/// The calls that started before their reply was complete. The results of the answered ones are in
/// [`Early::results`].
pub(super) struct StartedCalls {
    states: CallStates,
    allowed: Bits<4>,
    first: usize,
}

impl Early {
    /// Prepares for another reply.
    pub(super) fn begin_reply(&mut self) {
        let breaks = self.breaks;
        *self = Self { breaks, ..Self::default() };
    }

    pub(super) fn take_pause(&mut self) -> Option<Instant> {
        let pause = core::mem::take(&mut self.pause);
        (pause != Instant::ZERO).then_some(pause)
    }
}

impl Run<'_> {
    /// Marks call `i` of the current reply, whose block must be complete, as started, if it may
    /// start now. Returns whether it did. If so, the call runs, as after
    /// [`mark_started`](Self::mark_started), and the reply is never discarded.
    ///
    /// The call may start if its input is an object, no block before it is still open, the calls up
    /// to it have names and ids of their own, no `fallback` block came before it, the answers to
    /// all calls so far fit, and nothing that is already known forbids sending its result. A limit
    /// that can be checked only at the end of the reply
    /// ([`Limits::repeats`](crate::policy::Limits::repeats)) forbids every early start.
    pub fn mark_started_early(&mut self, i: CallIndex, now: Instant) -> bool {
        if self.early.is_closed || !self.may_start_early(i, now) {
            return false;
        }
        if !self.extend_turn(i) {
            self.early.is_closed = true;
            return false;
        }
        self.turn.states.set(i, CallState::Running)
    }

    /// Returns whether a call of the current reply has started. If so, the reply is not requested
    /// again, however it ends.
    pub fn has_started_early(&self) -> bool {
        self.machine.state() == State::Receiving && self.early.has_begun
    }

    /// Returns the calls of the reply under way so far, in order.
    pub fn early_calls(
        &self,
    ) -> impl DoubleEndedIterator<Item = CallIndex> + ExactSizeIterator + Clone + use<> {
        (0..self.early_count()).map(CallIndex)
    }

    /// Returns the number of calls of the reply under way so far.
    fn early_count(&self) -> usize {
        if self.machine.state() == State::Receiving { self.reply.calls.min(MAX_CALLS) } else { 0 }
    }

    /// Returns call `i` of the reply under way, if it has not started and the model has moved on
    /// from it: another block follows, or the reply stops for its calls. Returns `None` after a
    /// `fallback` block, and if the reply stops for another reason.
    pub fn early_call(&self, i: CallIndex) -> Option<Call<'_>> {
        let has_started = self.early.has_begun && i.0 < self.turn.calls && !self.is_pending(i);
        let may_stop = self.reply.stop.is_none_or(|stop| Wish::of(Some(stop)) == Wish::Answers);
        if i.0 >= self.early_count()
            || has_started
            || !may_stop
            || self.early.is_closed
            || !self.reply.is_closed_up_to(i.0)
        {
            return None;
        }
        let mut call = None;
        let (mut calls, mut has_moved_on) = (0, self.reply.stop.is_some());
        for block in blocks_in(self.reply_so_far()) {
            has_moved_on |= call.is_some();
            if is_type(block, "fallback") {
                return None;
            }
            if is_type(block, "tool_use") {
                if calls == i.0 {
                    call = Some(block);
                }
                calls += 1;
            }
        }
        let [id, name, input, toolset] =
            call.filter(|_| has_moved_on)?.pick(["id", "name", "input", "toolset_name"]);
        Some(Call {
            id: id.and_then(Value::as_text)?,
            name: name.and_then(Value::as_text)?,
            toolset: toolset.and_then(toolset_of),
            input: input?,
            is_bad: self.reply.bad.has(i.0),
            is_answered: false,
        })
    }

    /// Returns the message of the reply under way, which is not complete.
    pub(super) fn reply_so_far(&self) -> &[u8] {
        let reply = self.transcript.bytes().get(self.reply.mark..).unwrap_or_default();
        reply.strip_prefix(b",").unwrap_or(reply)
    }

    fn may_start_early(&self, i: CallIndex, now: Instant) -> bool {
        let count = u32::try_from(self.reply.calls).unwrap_or(u32::MAX);
        self.machine.state() == State::Receiving
            && self.summary.current.is_none()
            && !self.thread.is_unproven()
            && self.reply.is_streamed()
            && i.0 < self.reply.calls.min(MAX_CALLS)
            && !self.reply.bad.has(i.0)
            && (!self.early.has_begun || i.0 >= self.turn.calls || self.is_pending(i))
            && self.reply.is_closed_up_to(i.0)
            && self.settings.limits.repeats.is_none()
            && self.with_reply().exceeded(&self.settings.limits, count, now).is_none()
            && self
                .settings
                .compaction
                .is_none_or(|compaction| self.reply.usage.total() < compaction.threshold)
    }

    /// Returns the counters as they would be if the current reply ended now.
    fn with_reply(&self) -> Ledger {
        let mut ledger = self.ledger;
        ledger.add_turn(&self.reply.usage);
        ledger
    }

    /// Makes the part of the current reply that ends with call `i` the turn. Returns whether it
    /// could. If not, nothing changes.
    fn extend_turn(&mut self, i: CallIndex) -> bool {
        let has_begun = self.early.has_begun;
        if has_begun && i.0 < self.turn.calls {
            return true;
        }
        let mark = self.reply.mark;
        let start = mark + usize::from(mark > 0);
        let bytes = self.transcript.bytes();
        let message = bytes.get(start..).unwrap_or_default();
        let (from, known) =
            if has_begun { (self.turn.end, self.turn.calls) } else { (start + HEAD - 1, 0) };
        let mut found = if has_begun { self.turn.found.clone() } else { FoundCalls::new() };
        if found.len() != known {
            return false;
        }
        let mut end = None;
        // The iterator skips one byte: the bracket that opens the content, or the comma before the
        // next block.
        for block in Array::inside(bytes.get(from..).unwrap_or_default()) {
            let [kind, id, name, input, toolset] =
                block.pick(["type", "id", "name", "input", "toolset_name"]);
            let is = |name| kind.is_some_and(|kind| kind.is_text(name));
            if is("fallback") {
                return false;
            }
            if !is("tool_use") {
                continue;
            }
            let is_known = found.iter().any(|other| same_id(other.id.value(message), id));
            let parts = [id, name, input].map(Option::unwrap_or_default);
            let Some(place) = CallPlaces::of(parts, toolset, message) else { return false };
            if is_known || !is_sound(parts) || !found.note(found.len(), place, true) {
                return false;
            }
            if found.len() > i.0 {
                end = block.offset_in(bytes).map(|at| at + block.raw().len());
                break;
            }
        }
        let Some(end) = end else { return false };
        if !has_begun {
            let hold = END
                + FRAME_LEN
                + Array::inside(bytes.get(from..).unwrap_or_default())
                    .map(answer_len)
                    .sum::<usize>();
            if self.transcript.free() < hold {
                return false;
            }
            self.early.hold = hold;
            self.early.has_begun = true;
            self.turn = Turn { mark, start, sequel: Sequel::Results, ..Turn::none(end) };
        }
        (self.turn.end, self.turn.results_end) = (end, end);
        self.turn.calls = found.len();
        self.turn.found = found;
        true
    }

    /// Returns whether space must stay free for calls that run.
    #[inline]
    pub(super) const fn has_hold(&self) -> bool {
        self.early.hold != 0
    }

    /// Checks that the space that must stay free while calls run is free.
    #[inline]
    pub(super) fn keep_hold(&mut self, stream_event: Option<StreamEvent>) -> Result<(), Error> {
        if self.early.hold == 0 { Ok(()) } else { self.check_hold(stream_event) }
    }

    #[cold]
    fn check_hold(&mut self, stream_event: Option<StreamEvent>) -> Result<(), Error> {
        if let Some(StreamEvent { kind: StreamEventKind::BlockStop, span, .. }) = stream_event {
            self.early.hold += Value::whole(span.of(self.transcript.bytes())).map_or(0, answer_len);
        }
        let hold = self.early.hold;
        if self.machine.state() == State::Receiving && self.transcript.free() < hold {
            return Err(self.transcript.full(hold).into());
        }
        Ok(())
    }

    /// Stores the result of call `i` until its reply ends.
    ///
    /// # Errors
    /// `Misuse` if the call has not started, or already has a result.
    pub(super) fn keep_result(
        &mut self,
        i: CallIndex,
        answer: ToolAnswer<'_>,
    ) -> Result<(), Error> {
        if !self.has_call(i) || self.turn.is_answered(i) || self.is_pending(i) {
            return Err(Misuse::NoSuchCall.into());
        }
        let is_error = answer.is_error();
        let answer = match answer.check() {
            Ok(()) => answer,
            Err(_) if is_error => ToolAnswer::error(EMPTY_ERROR),
            Err(_) => ToolAnswer::ok(EMPTY_RESULT),
        };
        let mut content = Vec::with_capacity(answer.len());
        answer.write_to(&mut content)?;
        self.early.results.push(EarlyResult { call: i, content, is_error });
        self.turn.states.set(i, CallState::Answered);
        Ok(())
    }

    /// Stores a standard text of the loop as the result of call `i`, as
    /// [`keep_result`](Self::keep_result) does.
    pub(super) fn keep_notice(&mut self, i: CallIndex, notice: Notice<'_>) -> Result<(), Error> {
        let mut content = Vec::new();
        notice.write_json(&mut content)?;
        self.keep_result(i, ToolAnswer::error_json(&content))
    }

    /// Returns the result of call `i` that waits for the end of its reply: its content, and whether
    /// it is an error.
    pub(super) fn kept_result(&self, i: CallIndex) -> Option<(Value<'_>, bool)> {
        let waiting = self.early.results.iter().find(|waiting| waiting.call == i)?;
        Some((Value::whole(&waiting.content)?, waiting.is_error))
    }

    /// Puts the stored results in their places. The calls that started early must be part of the
    /// last turn.
    pub(super) fn put_results(&mut self) -> Result<(), Error> {
        let results = core::mem::take(&mut self.early.results);
        self.early.has_begun = false;
        self.early.hold = 0;
        for waiting in &results {
            self.turn.states.set(waiting.call, CallState::Running);
        }
        for EarlyResult { call, content, is_error } in results {
            self.answer_checked(call, ToolAnswer::ok_json(&content).with_error(is_error))?;
        }
        Ok(())
    }

    /// Returns the states of the calls that started, before the complete reply becomes the turn, or
    /// `None` if no call did.
    pub(super) fn begun_early(&self) -> Option<StartedCalls> {
        let first = first_of(&self.turn);
        self.early.has_begun.then(|| {
            let mut states = self.turn.states;
            for waiting in &self.early.results {
                states.set(waiting.call, CallState::Running);
            }
            StartedCalls { states, allowed: self.turn.allowed, first }
        })
    }

    /// Checks that the calls can be answered, before the complete reply becomes the turn.
    pub(super) fn ensure_room_for_answers(&self, start: usize) -> Result<(), Error> {
        let blocks =
            Array::inside(self.transcript.bytes().get(start + HEAD - 1..).unwrap_or_default());
        let needed = FRAME_LEN + blocks.map(answer_len).sum::<usize>();
        if self.transcript.free() < needed {
            Err(self.transcript.full(needed).into())
        } else {
            Ok(())
        }
    }

    /// Restores the states of the calls that started, including those before a `fallback` block,
    /// after the reply has become the turn. Returns the end of the calls that such a block forbids
    /// to start.
    pub(super) fn take_over(&mut self, begun: StartedCalls) -> usize {
        let closed = self.turn.first;
        (self.turn.states, self.turn.allowed) = (begun.states, begun.allowed);
        self.turn.first = closed.min(begun.first);
        closed
    }

    /// Ends the current reply after one of its calls had started: its complete blocks stay, its
    /// calls that did not start are answered as not run, and the run continues when the others are
    /// done.
    pub(super) fn break_off(&mut self) {
        let words = self.reply.failure.of(self.transcript.whole()).to_vec();
        let prefix = core::mem::replace(&mut self.turn, Turn::none(self.reply.mark));
        if !keep_part(self, prefix.end) {
            // Unreachable: a call that has started is complete, and its answer fits.
            self.turn = prefix;
            self.take_back();
            return;
        }
        (self.turn.states, self.turn.allowed) = (prefix.states, prefix.allowed);
        self.turn.first = self.turn.first.min(first_of(&self.turn));
        self.turn.sequel = Sequel::Results;
        // Possible, because the reply is being received.
        let _ = self.machine.go(Input::KeptCalls);
        // Each answer fits.
        let _ = self.put_results();
        let _ = self.close_pending(usize::MAX);
        let mut tail = self.transcript.tail();
        let fits = tail.put(&words).is_ok();
        self.exchange.failure = if fits { tail.span() } else { Span::default() };
    }

    /// Answers the calls before `end` that did not start as not run.
    pub(super) fn close_pending(&mut self, end: usize) -> Result<(), Error> {
        for i in self.calls() {
            if i.0 < end && self.is_pending(i) {
                self.answer_notice(i, Notice::NotRun)?;
            }
        }
        Ok(())
    }

    /// Returns how long the run waits before its next request after [`break_off`](Self::break_off),
    /// or `None` if it does not continue automatically. As many replies in a row as the policy has
    /// retries may break off, and at least one: if a server breaks every reply, the caller gets the
    /// error.
    pub(super) fn goes_on_after_break(
        &mut self,
        retry_after: Option<Duration>,
        now: Instant,
        jitter: u32,
    ) -> Option<Duration> {
        if self.early.breaks >= self.settings.retry.retries.max(1) {
            self.early.breaks = 0;
            return None;
        }
        self.early.breaks += 1;
        let wait = self.settings.retry.wait(self.early.breaks, retry_after, jitter);
        self.early.pause = now.after(wait);
        Some(wait)
    }

    /// Resets the count of broken replies after a complete one.
    pub(super) const fn forget_breaks(&mut self) {
        self.early.breaks = 0;
    }

    /// Returns the run as it would be if the current reply broke off now, or `None` if none of its
    /// calls has started.
    pub(super) fn as_if_broken(&self) -> Option<Run<'static>> {
        if !self.has_started_early() {
            return None;
        }
        let mut transcript = Transcript::growing_to(self.transcript.capacity());
        transcript.push_json(self.transcript.bytes()).ok()?;
        let mut run = Run::new(transcript);
        run.machine = self.machine;
        run.reply = self.reply.clone();
        run.reply.failure = Span::default();
        run.turn = self.turn.clone();
        run.early = self.early.clone();
        run.ledger = self.ledger;
        run.container = self.container.clone();
        run.changes.unsent = self.changes.unsent.clone();
        run.thread = self.thread.clone();
        run.break_off();
        Some(run)
    }

    /// Returns the run as it would be if its open calls were closed now, or `None` if no messages
    /// were appended after them.
    fn as_if_closed(&self) -> Option<Run<'static>> {
        let messages = self.messages();
        if !self.turn.is_open() || messages.len() <= self.turn.results_end {
            return None;
        }
        let mut transcript = Transcript::growing_to(usize::MAX);
        transcript.push_json(messages).ok()?;
        let mut run = Run::new(transcript);
        run.turn = self.turn.clone();
        run.close_open_calls().ok()?;
        Some(run)
    }

    /// Returns the conversation in a form that [`replace_history`](Self::replace_history) of
    /// another run accepts, at any time. It is [`messages`](Self::messages), with two differences:
    ///
    /// - If a call of the reply under way has started, it also contains what would be kept if the
    ///   reply broke off now: the complete blocks, and the results so far.
    /// - If messages were [appended](Self::append) after open calls, these calls have results that
    ///   say that they did not run or were cancelled. Otherwise an open call has no result yet.
    pub fn conversation(&self) -> alloc::borrow::Cow<'_, [u8]> {
        match self.as_if_broken().or_else(|| self.as_if_closed()) {
            Some(run) => run.messages().to_vec().into(),
            None => self.messages().into(),
        }
    }
}

/// Returns the first call that started, or the number of calls if none did.
pub(super) fn first_of(turn: &Turn) -> usize {
    (0..turn.calls).find(|&i| !turn.states.is(CallIndex(i), CallState::Open)).unwrap_or(turn.calls)
}

/// Returns the number of bytes that the shortest answer to a block needs, if the block is a call.
fn answer_len(block: Value<'_>) -> usize {
    if is_type(block, "tool_use") { address_bytes(block) + SHORTEST } else { 0 }
}
