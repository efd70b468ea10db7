//! What a run counts: turns, calls, tokens, time and repetitions.

use super::Run;
use crate::message::Usage;
use crate::policy::{Limit, Limits};
use crate::time::Instant;

/// The counters of a run. Most of them start again with each prompt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ledger {
    /// The model replies since the last prompt.
    pub(super) turns: u32,
    /// The calls that were answered since the last prompt.
    pub(super) calls: u32,
    /// A hash of the last turn's calls.
    pub(super) fingerprint: u32,
    /// For how many turns in a row that hash was the same.
    pub(super) repeats: u32,
    /// When the first request since the last prompt was sent.
    pub(super) started: Option<Instant>,
    /// The tokens over all prompts.
    pub(super) usage: Usage,
    /// How many times a summary replaced the conversation, over all prompts.
    pub(super) compactions: u32,
}

impl Ledger {
    pub(super) const NEW: Self = Self {
        turns: 0,
        calls: 0,
        fingerprint: 0,
        repeats: 0,
        started: None,
        usage: Usage {
            input_tokens: 0,
            output_tokens: 0,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: 0,
        },
        compactions: 0,
    };

    /// Starts a new prompt.
    pub(super) fn begin_prompt(&mut self) {
        *self = Self { usage: self.usage, compactions: self.compactions, ..Self::NEW };
    }

    /// Counts a turn.
    pub(super) fn add_turn(&mut self, usage: &Usage) {
        self.turns = self.turns.saturating_add(1);
        self.usage.add(usage);
    }

    /// Counts the calls of a turn as a repetition if they are those of the turn before.
    pub(super) fn add_calls(&mut self, fingerprint: u32) {
        self.repeats =
            if fingerprint == self.fingerprint { self.repeats.saturating_add(1) } else { 1 };
        self.fingerprint = fingerprint;
    }

    pub(super) fn add_compaction(&mut self) {
        self.compactions = self.compactions.saturating_add(1);
    }

    /// Returns the limit that forbids another request, if one does. `pending`: the calls that would
    /// run before it.
    pub(super) fn exceeded(&self, limits: &Limits, pending: u32, now: Instant) -> Option<Limit> {
        let is_spent = |most: Option<u64>, count: u64| most.is_some_and(|most| count >= most);
        let is_over = |time| self.started.is_some_and(|start| now >= start.after(time));
        // Each limit is read where it is compared: a copy of all of them takes 80 bytes of flash.
        if limits.turns.is_some_and(|most| self.turns >= most) {
            Some(Limit::Turns)
        } else if limits.calls.is_some_and(|most| self.calls.saturating_add(pending) > most) {
            Some(Limit::Calls)
        } else if is_spent(limits.input_tokens, self.usage.input_total()) {
            Some(Limit::InputTokens)
        } else if is_spent(limits.output_tokens, self.usage.output_tokens) {
            Some(Limit::OutputTokens)
        } else if limits.repeats.is_some_and(|most| self.repeats > most) {
            Some(Limit::Repeats)
        } else if limits.time.is_some_and(is_over) {
            Some(Limit::Time)
        } else {
            None
        }
    }
}

impl Run<'_> {
    /// Returns the number of model replies since the last prompt.
    pub const fn turns(&self) -> u32 {
        self.ledger.turns
    }

    /// Returns the tokens of all turns of this run, over all prompts.
    pub const fn usage(&self) -> Usage {
        self.ledger.usage
    }

    /// Returns how many times a summary has replaced the conversation.
    pub const fn compactions(&self) -> u32 {
        self.ledger.compactions
    }

    /// Returns when [`Limits::time`] ends the run, or `None` if there is no such limit or nothing
    /// was sent yet.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.ledger.started?.after(self.settings.limits.time?))
    }

    /// Returns whether the limits allow the run to continue.
    pub fn is_within_limits(&self, now: Instant) -> bool {
        self.exceeded(now).is_none()
    }

    /// Returns the limit that forbids another request, if one does.
    pub(super) fn exceeded(&self, now: Instant) -> Option<Limit> {
        self.settings.extras.limits.and_then(|look_at_limits| look_at_limits(self, now))
    }

    pub(super) fn look_at_limits(&self, now: Instant) -> Option<Limit> {
        let pending = if self.turn.runs() {
            u32::try_from(self.turn.open_count()).unwrap_or(u32::MAX)
        } else {
            0
        };
        self.ledger.exceeded(&self.settings.limits, pending, now)
    }
}
