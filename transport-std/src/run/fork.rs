//! A copy of a run, to branch from.

use core::sync::atomic::Ordering;

use toolrunner_core::__private::Options;
use toolrunner_core::__private::drive::{Exchange, Loop};
use toolrunner_core::run::Run as Machine;
use toolrunner_core::transcript::Transcript;

use super::Run;
use super::build::NEXT;
use super::concurrent::Concurrent;
use super::notes::Notes;
use super::times::Times;
use super::tools::OwnTools;
use crate::error::Error;

impl Run {
    /// Returns a copy of the run where it is, to try another continuation. Both then continue
    /// independently, with the same tools, parameters, limits, settings, gate and shared state. The
    /// copy has its own [number](Self::id) and its own [cancellation](Self::cancellation).
    ///
    /// The copy has what a [snapshot](Self::snapshot) contains: calls that have run keep their
    /// results, calls that are running are answered as cancelled in the copy, and a reply under way
    /// is requested again. **Calls that have not started run in both.** To avoid this, fork before
    /// the reply that contains them, or after [`Turn::results`](super::Turn::results). Injected
    /// messages that still wait stay with this run. The copy starts a
    /// [message thread](crate::RunBuilder::message_thread) of its own; if messages were
    /// [freed](crate::MessageThread::Free), it ends with
    /// [`Outcome::ThreadLost`](crate::Outcome::ThreadLost).
    ///
    /// ```no_run
    /// # async fn f(mut run: toolrunner_std::Run) -> Result<(), toolrunner_std::Error> {
    /// run.until_done().await?;
    /// let mut other = run.fork()?;
    /// run.user("Continue in prose.")?;
    /// other.user("Continue in verse.")?;
    /// println!("{}\n{}", run.until_done().await?.text(), other.until_done().await?.text());
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Returns the error in the run's configuration, or `Misuse` while a summary of the
    /// conversation is under way.
    pub fn fork(&mut self) -> Result<Self, Error> {
        self.check_setup()?;
        let capacity = self.machine.transcript().capacity();
        let snapshot = self.snapshot()?;
        let transcript = Transcript::growing_to(capacity);
        let mut machine = Machine::from_snapshot(snapshot.as_bytes(), transcript)?;
        Options::of(&self.machine).apply(&mut machine)?;
        // A snapshot does not contain what the caller allowed.
        for call in self.machine.calls().filter(|&call| self.machine.is_allowed(call)) {
            machine.allow(call);
        }
        // Only one run can continue the thread.
        machine.leave_message_thread();
        let id = NEXT.fetch_add(1, Ordering::Relaxed) as u64;
        let Loop { tools, clock, hooks, executor, is_eager, .. } = &self.turns;
        let executor = Concurrent::new(id, executor.concurrency, executor.trace.fork());
        let tools = OwnTools(tools.0.clone());
        let mut turns = Loop::new(tools, clock.clone(), hooks.fork(id), executor);
        turns.is_eager = *is_eager;
        let mut envelope = self.envelope.clone();
        envelope.shrink_to_fit();
        Ok(Self {
            id,
            machine,
            settings: self.settings.clone(),
            transport: self.transport.clone(),
            request: self.request.fork(),
            turns,
            exchange: Exchange::Idle,
            invalid: None,
            before_summary: self.before_summary.clone(),
            envelope,
            times: Times::default(),
            injected: None,
            shown: self.shown.as_ref().map(|_| Box::default()),
            notes: Notes::default(),
        })
    }
}
