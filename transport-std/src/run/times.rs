//! How long calls and replies take, measured by the run's clock.

use core::time::Duration;

use toolrunner_core::run::CallIndex;
use toolrunner_core::time::Instant;

/// The times of the calls of the last turn, and of the reply under way or the last one.
#[derive(Debug, Default)]
pub(super) struct Times {
    calls: Vec<CallTimes>,
    sent: Option<Instant>,
    first: Option<Instant>,
    end: Option<Instant>,
}

#[derive(Debug)]
struct CallTimes {
    call: CallIndex,
    start: Instant,
    end: Option<Instant>,
}

impl Times {
    /// Records that a request is sent, after all calls of the previous turn.
    pub(super) fn sends(&mut self, now: Instant) {
        self.calls.clear();
        (self.sent, self.first, self.end) = (Some(now), None, None);
    }

    /// Returns whether the first block or piece of the reply has not arrived.
    pub(super) const fn waits(&self) -> bool {
        self.first.is_none()
    }

    pub(super) const fn first_token(&mut self, now: Instant) {
        self.first = Some(now);
    }

    pub(super) const fn reply_ends(&mut self, now: Instant) {
        self.end = Some(now);
    }

    pub(super) fn call_starts(&mut self, call: CallIndex, now: Instant) {
        self.calls.retain(|known| known.call != call);
        self.calls.push(CallTimes { call, start: now, end: None });
    }

    pub(super) fn call_ends(&mut self, call: CallIndex, now: Instant) {
        if let Some(known) = self.calls.iter_mut().find(|known| known.call == call) {
            known.end = Some(now);
        }
    }

    pub(super) fn of_call(&self, call: CallIndex) -> Option<Duration> {
        let known = self.calls.iter().find(|known| known.call == call)?;
        Some(known.end?.since(known.start))
    }

    pub(super) fn to_first_token(&self) -> Option<Duration> {
        Some(self.first?.since(self.sent?))
    }

    pub(super) fn of_reply(&self) -> Option<Duration> {
        Some(self.end?.since(self.sent?))
    }

    /// Releases unused memory.
    pub(super) fn shrink_to_fit(&mut self) {
        self.calls = Vec::new();
    }
}
