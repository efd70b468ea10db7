//! The driver: one step after another, each returned as plain data, so that a future may be dropped
//! between any two.

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;

use embedded_io_async::BufRead;
use futures_util::future::Either;
use tokio_util::sync::CancellationToken;

use toolrunner_core::drive::{DriveError, send};
use toolrunner_core::observe::Event;
use toolrunner_core::run::{Happened, Step};
use toolrunner_core::time::{Clock, Instant};
use toolrunner_core::transport::Head;
use tracing::Instrument;

use super::body::Prefix;
use super::early::{Early, beside};
use super::watch::Watch;
use super::what::{Retried, What, text_of};
use super::{Finished, Run, Turn};
use crate::clock::{SharedClock, Waiting};
use crate::error::Error;
use crate::http::HttpError;

/// The maximum number of pieces of a reply that are read in a row before other tasks on the same
/// thread may run.
const MOST_AT_ONCE: u32 = 256;

impl Run {
    /// Continues until the run is over, through all turns and tool calls.
    ///
    /// # Errors
    /// See [`Error`]. The run stays intact: call it again to continue where it stopped.
    pub async fn until_done(&mut self) -> Result<Finished, Error> {
        while self.advance(false).await?.is_some() {}
        self.finished()
    }

    /// Continues to the end of the model's next reply. Returns `None` when the run is over. The
    /// reply's calls have not run yet, unless they started [eagerly](crate::RunBuilder::eager):
    /// they run once, at [`Turn::results`] or at the next `next_turn`.
    ///
    /// # Errors
    /// See [`Error`]. The run stays intact: call it again to continue where it stopped.
    pub async fn next_turn(&mut self) -> Result<Option<Turn<'_>>, Error> {
        while let Some(what) = self.advance(false).await? {
            if let What::TurnEnd = what {
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
    /// The three levels may be mixed. After [`Event::MessageStop`] the reply is complete:
    /// [`next_turn`](Self::next_turn) then returns that turn, so that you can inspect or answer its
    /// calls, and another `next_event` runs them. With [`eager`](crate::RunBuilder::eager), some of
    /// its calls may already have started, or have results.
    ///
    /// # Errors
    /// See [`Error`]. The run stays intact: call it again to continue where it stopped.
    pub async fn next_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        loop {
            if self.busy >= MOST_AT_ONCE {
                self.let_others_run().await;
            }
            let what = match self.at_hand() {
                Some(Ok(happened)) if self.note(happened) => {
                    return Ok(Some(self.machine.event(happened)));
                }
                Some(Ok(_)) => continue,
                Some(Err(failed)) => Some(self.failed(failed)?),
                None => match self.advance(true).await? {
                    None => return Ok(None),
                    what => what,
                },
            };
            if let Some(what) = what
                && !self.is_untold(what)
            {
                return Ok(self.lend(what));
            }
        }
    }

    /// Continues to the end of the run, and passes each event to `see`.
    ///
    /// # Errors
    /// Returns the errors of [`next_event`](Self::next_event).
    pub async fn for_each_event(
        &mut self,
        mut see: impl FnMut(&Event<'_>) + Send,
    ) -> Result<Finished, Error> {
        while let Some(event) = self.next_event().await? {
            see(&event);
        }
        self.finished()
    }

    fn finished(&mut self) -> Result<Finished, Error> {
        match self.machine.step(self.clock.now())? {
            Step::Done(outcome) => {
                Ok(Finished { outcome, message: self.message(), usage: self.usage() })
            }
            _ => Err(Error::Invalid("the run is not over".to_owned())),
        }
    }

    /// Returns whether the caller does not receive this event: a turn's end, or an event about
    /// something that no longer exists, such as a call of a dropped reply.
    fn is_untold(&self, what: What) -> bool {
        match what {
            What::TurnEnd => true,
            What::ToolStart(i) => !self.machine.calls().contains(&i),
            What::ToolEnd(i) => !self.machine.is_answered(i),
            _ => false,
        }
    }

    fn lend(&mut self, what: What) -> Option<Event<'_>> {
        Some(match what {
            What::Broken { wait, error } => Event::Broken { wait, error },
            What::Compacted { before, after } => Event::Compacted { before, after },
            What::Happened(happened) => self.machine.event(happened),
            What::NotCompacted(why) => Event::NotCompacted { why },
            What::Request { turn, attempt } => Event::Request { turn, attempt },
            What::Retry { attempt, wait, error } => {
                let of = |text: fn(&Retried) -> &str| {
                    self.retried
                        .as_deref()
                        .map(|retried| text_of(text(retried)))
                        .unwrap_or_default()
                };
                Event::Retry {
                    attempt,
                    wait,
                    error,
                    message: of(|retried| &retried.message),
                    request_id: of(|retried| &retried.request_id),
                }
            }
            What::ToolStart(i) => {
                let call = self.machine.call(i)?;
                Event::ToolStart { id: call.id, name: call.name, input: call.input }
            }
            What::ToolEnd(i) => self.machine.tool_end(i)?,
            What::TurnEnd => return None,
        })
    }

    /// Returns the error in the run's configuration, if there is one.
    pub(super) fn check_setup(&mut self) -> Result<(), Error> {
        match &self.invalid {
            // The same error each time, because nothing can be sent.
            Some(error) => Err(error.again()),
            None => Ok(()),
        }
    }

    /// Advances by one step. `tell` is whether the caller receives events of the reply.
    pub(super) async fn advance(&mut self, tell: bool) -> Result<Option<What>, Error> {
        self.check_setup()?;
        loop {
            if let Some(what) = self.untold.pop_front() {
                return Ok(Some(what));
            }
            if self.must_end() {
                self.wind_down().await?;
            }
            if self.busy >= MOST_AT_ONCE {
                self.let_others_run().await;
            }
            match self.at_hand() {
                Some(Ok(happened)) if self.note(happened) && tell => {
                    return Ok(Some(What::Happened(happened)));
                }
                Some(Ok(_)) => continue,
                Some(Err(failed)) => return self.failed(failed).map(Some),
                None => {}
            }
            if let Some(reply) = &mut self.reply {
                if core::mem::take(&mut self.has_progressed) {
                    reply.body_mut().progressed();
                }
                let deadline = self.machine.deadline();
                let next = beside(&mut self.jobs, reply.next_happened(&mut self.machine));
                let read = uninterrupted(&self.cancel, &self.clock, deadline, next).await;
                let what = match read {
                    Some(Either::Left(done)) => {
                        self.stage(done)?;
                        self.start_early();
                        None
                    }
                    Some(Either::Right(Ok(Some(happened)))) => {
                        (self.note(happened) && tell).then_some(What::Happened(happened))
                    }
                    Some(Either::Right(Ok(None))) => self.end_reply().await?,
                    Some(Either::Right(Err(failed))) => Some(self.failed(failed)?),
                    None => {
                        self.wind_down().await?;
                        None
                    }
                };
                if what.is_some() {
                    return Ok(what);
                }
                continue;
            }
            if !self.jobs.is_empty() {
                self.next_result().await?;
                continue;
            }
            match self.machine.step(self.clock.now())? {
                Step::Done(outcome) => {
                    self.trace.run_ends(Some(outcome), self.machine.usage());
                    self.settle();
                    return Ok(None);
                }
                Step::Wait(until) => {
                    if uninterrupted(&self.cancel, &self.clock, None, self.clock.wait_until(until))
                        .await
                        .is_none()
                    {
                        self.wind_down().await?;
                    }
                }
                Step::Receive => {
                    // The reply's future was dropped before its end.
                    self.machine.failed(None, self.clock.now(), 0)?;
                }
                Step::Call => self.start_calls()?,
                Step::Send if !self.announced && !self.machine.is_compacting() => {
                    self.announced = true;
                    // All calls of the previous turn are answered.
                    self.dialogues.clear();
                    let (turn, attempt) = (self.machine.turns() + 1, self.machine.attempt() + 1);
                    return Ok(Some(What::Request { turn, attempt }));
                }
                Step::Send => {
                    if let Some(what) = self.send().await? {
                        return Ok(Some(what));
                    }
                }
            }
        }
    }

    /// Yields to other tasks of the thread, on any executor, because one read may hold a whole
    /// reply.
    async fn let_others_run(&mut self) {
        self.busy = 0;
        let mut had_a_turn = false;
        poll_fn(|context| {
            if core::mem::replace(&mut had_a_turn, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Returns whether work under way must end, because the run was cancelled or its time is over.
    fn must_end(&self) -> bool {
        let is_under_way = || self.reply.is_some() || !self.jobs.is_empty();
        self.cancellation_is_due()
            || (self.machine.deadline().is_some_and(|end| self.clock.now() >= end)
                && is_under_way())
    }

    /// Releases unused memory, and what can be created again, because the run may now rest for a
    /// long time.
    fn settle(&mut self) {
        self.machine.shrink_to_fit();
        self.envelope.shrink_to_fit();
        self.jobs.shrink_to_fit();
        self.untold.shrink_to_fit();
        self.prefix = None;
    }

    async fn send(&mut self) -> Result<Option<What>, Error> {
        self.summary = self.machine.is_compacting().then(|| self.machine.transcript().len());
        if self.summary.is_some() && self.before_summary.is_none() {
            // The last message must stay available, though the conversation will no longer contain
            // it.
            self.before_summary = self.message();
        }
        self.render_prefix();
        let prefix = self.prefix.as_ref().map(Prefix::bytes).unwrap_or_default();
        self.trace.request(self.id, &self.params, &self.settings, self.stream, self.clock.now());
        if self.trace.wants_input() {
            self.trace.input(&self.messages());
        }
        let traceparent = self.trace.traceparent();
        let mut headers: Vec<(&str, &str)> = self.settings.headers().collect();
        if let Some(traceparent) = &traceparent
            && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("traceparent"))
        {
            headers.push(("traceparent", traceparent));
        }
        let head = Head {
            base_url: self.settings.base_url(),
            path: self.settings.path(),
            headers: &headers,
        };
        tracing::debug!(
            run = self.id,
            turn = self.machine.turns() + 1,
            attempt = self.machine.attempt() + 1,
            "request"
        );
        let (deadline, before) = (self.machine.deadline(), [prefix]);
        let span = tracing::error_span!("request", run = self.id);
        let sending = send(&mut self.machine, &head, &before, &mut self.transport).instrument(span);
        let Some(opened) = uninterrupted(&self.cancel, &self.clock, deadline, sending).await else {
            self.wind_down().await?;
            return Ok(None);
        };
        self.announced = false;
        match opened {
            Ok(reply) => {
                self.reply = Some(reply);
                Ok(None)
            }
            Err(failed) => self.failed(failed).map(Some),
        }
    }

    /// Returns the next event in the bytes already received, without a future, because one read may
    /// hold thousands of pieces. Returns `None` if more must be read first, or if something else
    /// takes precedence.
    #[inline]
    fn at_hand(&mut self) -> Option<Result<Happened, DriveError<HttpError>>> {
        // While calls may already be running, each event is awaited, so that they progress too.
        if self.eager || !self.untold.is_empty() || self.machine.reply_is_whole() {
            return None;
        }
        let reply = self.reply.as_mut()?;
        let is_cancelled =
            self.watch.get_or_insert_with(|| Watch::new(&self.cancel)).is_cancelled();
        if (is_cancelled && !self.is_wound_down)
            || self.machine.deadline().is_some_and(|end| self.clock.now() >= end)
        {
            return None;
        }
        let chunk = reply.body_mut().at_hand();
        if chunk.is_empty() {
            return reply.next_at_end(&mut self.machine);
        }
        let mut rest = chunk;
        let fed = self.machine.feed(&mut rest);
        let used = chunk.len() - rest.len();
        reply.body_mut().consume(used);
        fed.map_err(DriveError::from).transpose()
    }

    /// Records what happened in a reply. Returns whether the caller receives the event: those of a
    /// summary are internal.
    #[inline]
    fn note(&mut self, happened: Happened) -> bool {
        self.has_progressed |= happened.is_progress();
        self.busy += 1;
        if self.summary.is_some() {
            return false;
        }
        if happened.is_of_message() {
            self.note_of_message(happened);
        }
        if self.eager && !self.machine.reply_is_whole() {
            self.see_early(happened);
        }
        true
    }

    // Out of line, because a reply has only three such events.
    #[inline(never)]
    fn note_of_message(&mut self, happened: Happened) {
        self.trace.reply_begins(|| self.clock.now());
        self.envelope.see(&self.machine.peek(happened));
        if let Some(said) = self.machine.cut_reply() {
            self.envelope.keep(said);
        }
        // Before any event and any wait, because from then on the caller may call anything.
        if self.machine.reply_is_whole() {
            self.turn_ended();
        }
    }

    /// Completes a reply whose message is complete, and reads its body to the end.
    async fn end_reply(&mut self) -> Result<Option<What>, Error> {
        if let Some(reply) = &mut self.reply {
            reply.drain(&self.clock).await;
        }
        self.reply = None;
        if let Some(before) = self.summary.take() {
            let after = self.machine.transcript().len();
            self.trace.reply_ends(self.machine.turn_usage(), self.machine.request_id(), || None);
            if self.machine.compactions() > self.compactions {
                self.compactions = self.machine.compactions();
                tracing::info!(
                    run = self.id,
                    before,
                    after,
                    "the conversation was replaced by a summary"
                );
                return Ok(Some(What::Compacted { before, after }));
            }
            let why = self.machine.rejected_summary().unwrap_or("the reply has no summary");
            tracing::warn!(
                run = self.id,
                why,
                "a summary was rejected; the conversation is unchanged"
            );
            return Ok(Some(What::NotCompacted(why)));
        }
        Ok(Some(What::TurnEnd))
    }

    /// Records that the reply is the last turn. Settings for one turn end here.
    pub(super) fn turn_ended(&mut self) {
        self.early = Early::default();
        self.allowed.clear();
        self.before_summary = None;
        if self.next_params.iter().next().is_some() {
            self.next_params = crate::params::Params::default();
            self.prefix = None;
        }
        let usage = self.machine.turn_usage();
        let (machine, envelope) = (&self.machine, &self.envelope);
        self.trace.reply_ends(usage, machine.request_id(), || envelope.message(machine));
        tracing::info!(
            run = self.id,
            turn = self.machine.turns(),
            stop = ?self.machine.stop_reason(),
            input_tokens = usage.input_total(),
            output_tokens = usage.output_tokens,
            request_id = self.machine.request_id(),
            "reply"
        );
    }

    fn failed(&mut self, failed: DriveError<HttpError>) -> Result<What, Error> {
        self.reply = None;
        let DriveError { error, transport } = failed;
        let (attempt, turns) = (self.machine.attempt() + 1, self.machine.turns());
        let failed = self.machine.failed(Some(error), self.clock.now(), self.clock.jitter());
        let is_kept = self.machine.turns() > turns;
        self.reply_ended_early(is_kept);
        match failed {
            Ok(wait) if is_kept => {
                tracing::info!(
                    ?wait,
                    "a reply ended early after a call had started; the run continues: {error}"
                );
                self.untold.push_back(What::TurnEnd);
                Ok(What::Broken { wait, error })
            }
            Ok(wait) => {
                let full = Error::of(error, transport, &self.machine);
                tracing::info!(
                    run = self.id,
                    attempt,
                    ?wait,
                    "request failed and is sent again: {full}"
                );
                self.retried = Some(Box::new(Retried::new(&full)));
                Ok(What::Retry { attempt, wait, error })
            }
            Err(error) => {
                let error = Error::of(error, transport, &self.machine)
                    .with_rate_limits(self.transport.rate_limits());
                self.trace.run_fails(&error, self.machine.usage());
                Err(error)
            }
        }
    }

    /// Records that a reply ended early. If its blocks are kept, they are the last message.
    pub(super) fn reply_ended_early(&mut self, is_kept: bool) {
        self.early = Early::default();
        if is_kept {
            self.envelope.end();
            self.turn_ended();
        }
    }
}

/// Returns the output of `future`, or `None` if the run is cancelled first or its time is over.
pub(super) async fn uninterrupted<F: Future>(
    cancel: &CancellationToken,
    clock: &SharedClock,
    deadline: Option<Instant>,
    future: F,
) -> Option<F::Output> {
    let (mut future, mut cancelled) = (pin!(future), pin!(None));
    let mut end: Option<Waiting<'_>> = None;
    poll_fn(|context| {
        if let Poll::Ready(output) = future.as_mut().poll(context) {
            return Poll::Ready(Some(output));
        }
        // A future that is ready at once needs neither a listener nor a timer.
        if cancelled.is_none() {
            cancelled.set(Some(cancel.cancelled()));
        }
        if cancelled
            .as_mut()
            .as_pin_mut()
            .is_some_and(|cancelled| cancelled.poll(context).is_ready())
        {
            return Poll::Ready(None);
        }
        let Some(deadline) = deadline else { return Poll::Pending };
        end.get_or_insert_with(|| clock.wait_until(deadline)).as_mut().poll(context).map(|()| None)
    })
    .await
}
