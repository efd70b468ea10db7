//! Calls that start while their reply still streams: for a driver whose tools run in memory of their own.
//!
//! A call that was started cannot be taken back, so its reply counts as handed on. Its answer is kept beside the run until the reply is
//! whole; then it is put in its place like any other, whatever the stop reason, so that the model is told of the effect.

use super::{MAX_CALLS, Run, State};
use crate::error::Error;
use crate::policy::Limits;
use crate::time::Instant;

impl Run<'_> {
    /// Whether call `i` of the reply under way, whose block is whole, may start: its input is an object, and nothing that is known by
    /// now forbids that its result is sent. A limit that is known only at the reply's end ([`Limits::repeats`]) forbids every early start.
    pub fn may_start_early(&self, i: usize, now: Instant) -> bool {
        let Limits { turns, calls, input_tokens, output_tokens, time, repeats } = self.limits;
        let (usage, count) = (self.reply.usage, u32::try_from(self.reply.calls).unwrap_or(u32::MAX));
        self.state == State::Receiving
            && self.compacting.is_none()
            && self.reply.is_streamed()
            && i < self.reply.calls.min(MAX_CALLS)
            && !self.reply.bad.has(i)
            && turns.is_none_or(|most| self.turns.saturating_add(1) < most)
            && calls.is_none_or(|most| self.calls.saturating_add(count) <= most)
            && input_tokens.is_none_or(|most| self.usage.input_total().saturating_add(usage.input_total()) < most)
            && output_tokens.is_none_or(|most| self.usage.output_tokens.saturating_add(usage.output_tokens) < most)
            && time.is_none_or(|most| self.started.is_some_and(|start| now.since(start) < most))
            && repeats.is_none()
            && self.compaction.is_none_or(|compaction| usage.total() < compaction.threshold)
    }

    /// Says that a call of the reply under way was started: if the reply is lost, the policy decides as for one that was handed on.
    pub const fn begin_early(&mut self) {
        self.handed_on = true;
    }

    /// The reply with calls that were started is whole: sets room aside for the answers to all its calls.
    ///
    /// # Errors
    /// `Capacity` if they have none: then the reply was taken back.
    pub fn end_early(&mut self) -> Result<(), Error> {
        self.set_room_aside()
    }

    /// Whether no limit forbids that the run goes on.
    pub fn is_within_limits(&self, now: Instant) -> bool {
        self.exceeded(now).is_none()
    }
}
