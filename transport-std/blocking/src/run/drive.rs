//! The three levels, as folds over
//! [`Loop::progress`](toolrunner_core::__private::drive::Loop::progress), the only loop.

use core::pin::pin;

use pollster::block_on;
use toolrunner_core::__private::Front;
use toolrunner_core::__private::drive::{Exchange, Progress, Stop, send};
use toolrunner_core::drive::Hooks as _;
use toolrunner_core::error::{Error as CoreError, Misuse};
use toolrunner_core::observe::Event;
use toolrunner_core::run::StreamEvent;
use toolrunner_core::transport::Head;

use super::{Run, RunEnd, Turn};
use crate::client::PATH;
use crate::error::Error;

impl Run {
    /// Continues until the run is over, through all turns and tool calls.
    ///
    /// # Errors
    /// See [`Error`]. The run stays intact: call it again to continue where it stopped.
    pub fn until_done(&mut self) -> Result<RunEnd, Error> {
        while self.advance(false)?.is_some() {}
        match self.machine.outcome() {
            Some(outcome) => Ok(RunEnd { outcome, message: self.message(), usage: self.usage() }),
            None => Err(Misuse::State("the run is not over").into()),
        }
    }

    /// Continues to the end of the model's next reply. Returns `None` when the run is over. The
    /// reply's calls have not run yet: they run once, at [`Turn::results`] or at the next
    /// `next_turn`.
    ///
    /// # Errors
    /// See [`Error`]. The run stays intact: call it again to continue where it stopped.
    pub fn next_turn(&mut self) -> Result<Option<Turn<'_>>, Error> {
        while let Some(what) = self.advance(false)? {
            if let Progress::TurnEnd = what {
                return Ok(Some(Turn::new(self)));
            }
        }
        Ok(None)
    }

    /// Continues to the next event. Returns `None` when the run is over.
    ///
    /// Text that was returned cannot be taken back: if the reply breaks off after that, it is an
    /// error, unless the retry policy allows a retry.
    ///
    /// # Errors
    /// See [`Error`]. The run stays intact: call it again to continue where it stopped.
    pub fn next_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        while let Some(what) = self.advance(true)? {
            if what.has_event(&self.machine) {
                return Ok(what.event(&mut self.machine, true));
            }
        }
        Ok(None)
    }

    /// Returns the error in the run's configuration, if there is one.
    pub(super) fn check_setup(&self) -> Result<(), Error> {
        match &self.invalid {
            Some(error) => Err(error.again()),
            None => Ok(()),
        }
    }

    /// Continues to the next thing that happens. `tell` is whether the caller receives the events
    /// of the reply. Returns `None` if the run is over.
    fn advance(&mut self, tell: bool) -> Result<Option<Progress>, Error> {
        self.check_setup()?;
        loop {
            if let Some(what) = self.untold.pop_front() {
                return Ok(Some(what));
            }
            match self.progress(Stop::AtEnd)? {
                Progress::Done(_) => return Ok(None),
                Progress::StreamEvent(stream_event) => {
                    if self.note(stream_event) && tell {
                        return Ok(Some(Progress::StreamEvent(stream_event)));
                    }
                }
                Progress::Send if !self.announced && !self.machine.is_compacting() => {
                    self.announced = true;
                    return Ok(Some(Progress::Send));
                }
                Progress::Send => self.send(),
                Progress::Dropped { .. } => self.announced = false,
                Progress::ForCaller(_) => {}
                what => return Ok(Some(what)),
            }
        }
    }

    /// Runs the calls of the last turn, and queues their events for the caller.
    pub(super) fn run_calls(&mut self) -> Result<(), Error> {
        self.check_setup()?;
        loop {
            match self.progress(Stop::BeforeSend)? {
                Progress::Idle | Progress::Done(_) | Progress::Send => return Ok(()),
                what => self.untold.push_back(what),
            }
        }
    }

    /// Continues the loop by one thing.
    fn progress(&mut self, stop: Stop) -> Result<Progress, Error> {
        self.is_wound_down |= self.turns.hooks.is_cancelled();
        let turns = self.machine.turns();
        let progress = self.turns.progress(&mut self.machine, &mut self.exchange, stop);
        match block_on(progress) {
            Ok(what) => {
                match what {
                    Progress::Done(_) => {
                        self.is_wound_down |= self.turns.hooks.is_cancelled();
                    }
                    Progress::Broken { .. } | Progress::Dropped { is_kept: true } => {
                        self.kept_reply();
                    }
                    _ => {}
                }
                Ok(what)
            }
            Err(error) => {
                if self.machine.turns() > turns {
                    self.kept_reply();
                }
                let transport = self.exchange.take_error();
                Err(Error::of(error, transport, &self.machine))
            }
        }
    }

    /// Records that a reply ended early and its complete blocks are the last message.
    pub(super) fn kept_reply(&mut self) {
        self.before_summary = None;
        self.envelope.end();
    }

    /// Records an event of a reply. Returns whether the caller receives it: those of a summary are
    /// internal.
    fn note(&mut self, stream_event: StreamEvent) -> bool {
        if self.turns.is_summary() {
            return false;
        }
        if stream_event.is_of_message() {
            self.before_summary = None;
            self.envelope.see(&self.machine, stream_event);
        }
        true
    }

    /// Sends the request. The loop handles the reply.
    fn send(&mut self) {
        if self.machine.is_compacting() && self.before_summary.is_none() {
            // The last message must stay available, though the conversation will no longer contain
            // it.
            self.before_summary = self.message();
        }
        let front = match self.front() {
            Ok(front) => front,
            Err(error) => {
                self.exchange = Exchange::Failed(error.into());
                return;
            }
        };
        let mut headers = self.settings.headers();
        // A second line adds to the caller's (RFC 9110, section 5.3).
        headers.extend(self.machine.thread_beta().map(|beta| ("anthropic-beta", beta)));
        let head = Head { base_url: &self.settings.base_url, path: PATH, headers: &headers };
        let (deadline, before) = (self.machine.deadline(), [front.as_slice()]);
        let sending = pin!(send(&mut self.machine, &head, &before, &mut self.transport));
        // If it is abandoned, the loop reports that.
        if let Some(exchange) = block_on(self.turns.while_wanted(deadline, sending)) {
            self.announced = false;
            self.exchange = exchange;
        }
    }

    /// Returns the body of the request up to the conversation: parameters in their order, then
    /// tools.
    ///
    /// # Errors
    /// `Misuse` if it changes what a message thread with freed messages keeps.
    fn front(&mut self) -> Result<Vec<u8>, CoreError> {
        let summary = self.summary_model.as_deref().filter(|_| self.machine.is_compacting());
        let members = self.params.members(summary);
        let front = Front::from_members(&members, self.stream, "");
        let kept = self.turns.tools.listed().into_iter().flatten();
        self.machine.note_thread_front(front, kept)?;
        Ok(self.machine.complete(front).to_vec(self.turns.tools.listed()))
    }

    /// Tells the machine the front of the next request, whose cache breakpoints count.
    pub(super) fn note_front(&mut self) {
        // If this finds an error, it is reported when the request is sent.
        if let Ok(front) = self.front() {
            let _ = self.machine.note_front(&[&front]);
        }
    }
}
