//! What a driver asks about the run: whether a request is under way, and which calls have started.

use super::state::CallState;
use super::{CallIndex, Run};

impl Run<'_> {
    /// Returns whether a request was announced by [`Step::Send`](super::Step::Send) and neither
    /// its reply nor its failure is complete.
    pub const fn is_exchanging(&self) -> bool {
        self.machine.state().is_in_progress()
    }

    /// Returns whether call `i` has started and has no answer.
    pub fn is_running(&self, i: CallIndex) -> bool {
        self.has_call(i) && self.turn.states.is(i, CallState::Running)
    }

    /// Returns the first call that has started and has no answer.
    pub fn running_call(&self) -> Option<CallIndex> {
        self.calls().find(|&i| self.is_running(i))
    }
}
