//! What comes next, and the states that follow from the passage of time and from limits.

use super::state::{Sequel, Verb};
use super::table::{Input, State};
use super::{Outcome, Run, Step};
use crate::error::{Error, Misuse};
use crate::policy::Limit;
use crate::time::Instant;
use crate::turn::Reply;

impl Run<'_> {
    /// Returns what to do next. Time passes only through `now`.
    ///
    /// # Errors
    /// `Misuse` if there is nothing to send. `Capacity` if not even the shortest answers to the
    /// calls of the turn fit: then the reply is discarded, and the run would request it again. If
    /// one of its calls was already answered or started, the reply stays instead, and the run can
    /// continue from its [`snapshot`](Self::snapshot) in more memory.
    pub fn step(&mut self, now: Instant) -> Result<Step, Error> {
        loop {
            match self.machine.state() {
                State::Waiting => {
                    // A wait ends at the deadline at the latest, because the time limit forbids
                    // anything after it.
                    let until = self.machine.until();
                    let until = self.deadline().map_or(until, |end| until.min(end));
                    if now < until {
                        return Ok(Step::Wait(until));
                    }
                    self.machine.go(Input::TimeOver)?;
                }
                State::Receiving | State::ErrorBody => return Ok(Step::Receive),
                State::Sending => return self.send(now),
                State::Ready => {
                    #[cfg(feature = "alloc")]
                    if let Some(until) = self.early.take_pause() {
                        self.machine.wait(until)?;
                        continue;
                    }
                    if self.transcript.is_empty() {
                        return Err(Misuse::NoMessages.into());
                    }
                    if self.summary.current.is_some() {
                        return self.send(now);
                    }
                    // A paused turn is sent back unchanged, unless some of its calls started early
                    // or were answered by the caller, or a message was appended after it. A turn in
                    // a history from the caller is not known to be paused.
                    if self.turn.sequel == Sequel::Given
                        || self.turn.answered_count() > 0
                        || self.turn.is_running()
                        || self.transcript.len() > self.turn.results_end
                    {
                        self.close_open_calls()?;
                    }
                    if let Some(given) = self.settings.extras.given {
                        (given.ensure_prefill)(self)?;
                    }
                    let exceeded = self.exceeded(now);
                    #[cfg(feature = "alloc")]
                    if exceeded.is_none() {
                        self.send_tool_changes()?;
                    }
                    match exceeded {
                        Some(limit) => self.machine.go(Input::Limit(limit))?,
                        None if self.begin_server_compaction()
                            || self.begin_compaction()
                            || self
                                .settings
                                .extras
                                .room
                                .is_none_or(|make_room| make_room(self)) =>
                        {
                            return self.send(now);
                        }
                        None => self.machine.go(Input::Limit(Limit::Transcript))?,
                    }
                }
                State::Calling => {
                    if let Some(limit) = self.exceeded(now) {
                        self.machine.go(Input::Limit(limit))?;
                    } else if self.begin_compaction() {
                        return self.send(now);
                    } else if !self.open_calls()? {
                        self.machine.go(Input::NoCall)?;
                    } else if self.is_calling() {
                        return Ok(Step::Call);
                    }
                }
                State::Done(Outcome::Limit(Limit::Transcript)) if self.lacks_room() => {
                    return Ok(Step::Done(Outcome::Limit(Limit::Transcript)));
                }
                State::Done(Outcome::Limit(limit)) if self.exceeded(now) != Some(limit) => {
                    self.machine.go(Input::NoLimit { calls: self.turn.is_calling() })?;
                }
                State::Done(outcome) => {
                    if outcome.continues_on(Verb::Compact) && self.begin_server_compaction() {
                        return self.send(now);
                    }
                    return Ok(Step::Done(outcome));
                }
            }
        }
    }

    fn send(&mut self, now: Instant) -> Result<Step, Error> {
        self.exchange.begin();
        let can_be_sent = match self.settings.extras.threads {
            Some(threads) => (threads.begin)(self)?,
            None => !self.thread.is_freed(),
        };
        if !can_be_sent {
            self.machine.go(Input::ThreadLost)?;
            return Ok(Step::Done(Outcome::ThreadLost));
        }
        self.machine.go(Input::Request)?;
        self.ledger.started.get_or_insert(now);
        #[cfg(feature = "alloc")]
        self.early.begin_reply();
        self.reply = Reply::new(self.transcript.len());
        Ok(Step::Send)
    }
}
