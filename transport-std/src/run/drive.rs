//! The front end's side of the loop: the three levels, as folds over [`Loop::progress`], and a
//! server's additional work: request heads, log lines, spans, and yielding to other tasks.
//!
//! [`Loop::progress`]: toolrunner_core::__private::drive::Loop::progress

use core::pin::pin;

use toolrunner_core::__private::drive::{Exchange, Loop, Progress, Stop, send_with_noted_front};
use toolrunner_core::error::Misuse;
use toolrunner_core::observe::Event;
use toolrunner_core::run::StreamEvent;
use toolrunner_core::time::Clock;
use toolrunner_core::transport::Head;
use tracing::Instrument;

use super::body::Prefix;
use super::{RetryCause, Run, RunEnd, Turn};
use crate::config::{BETA, add_beta};
use crate::error::Error;
use crate::http::HttpBody;

impl Run {
    /// Continues until the run is over, through all turns and tool calls.
    ///
    /// # Errors
    /// See [`Error`]. The run stays intact: call it again to continue where it stopped.
    pub async fn until_done(&mut self) -> Result<RunEnd, Error> {
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
    /// The three levels may be mixed. After [`Event::MessageStop`] the reply is complete:
    /// [`next_turn`](Self::next_turn) then returns that turn, so that you can inspect or answer its
    /// calls, and another `next_event` runs them. With [`eager`](crate::RunBuilder::eager), some of
    /// its calls may already have started, or have results.
    ///
    /// # Errors
    /// See [`Error`]. The run stays intact: call it again to continue where it stopped.
    pub async fn next_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        loop {
            if self.notes.fairness.is_due() {
                self.notes.fairness.let_others_run().await;
            }
            // Most events are deltas that have arrived already.
            if let Some(stream_event) = self.delta_at_hand() {
                if self.note(stream_event) {
                    return Ok(Some(self.machine.mark_shown(stream_event)));
                }
                continue;
            }
            if let Some(stream_event) = self.at_hand() {
                if self.note(stream_event) {
                    return Ok(Some(self.machine.mark_shown(stream_event)));
                }
                continue;
            }
            let Some(what) = self.advance(true).await? else { return Ok(None) };
            if what.has_event(&self.machine) {
                return Ok(self.lend(&what));
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
    ) -> Result<RunEnd, Error> {
        while let Some(event) = self.next_event().await? {
            see(&event);
        }
        self.finished()
    }

    pub(super) fn finished(&self) -> Result<RunEnd, Error> {
        match self.machine.outcome() {
            Some(outcome) => Ok(RunEnd { outcome, message: self.message(), usage: self.usage() }),
            None => Err(Misuse::State("the run is not over").into()),
        }
    }

    fn lend(&mut self, what: &Progress) -> Option<Event<'_>> {
        let Progress::Retry { attempt, wait, error } = *what else {
            return what.event(&mut self.machine, true);
        };
        let retried = self.notes.retried.as_deref();
        let message = retried.map(RetryCause::message).unwrap_or_default();
        let request_id = retried.map(RetryCause::request_id).unwrap_or_default();
        Some(Event::Retry { attempt, wait, error, message, request_id })
    }

    /// Returns the error in the run's configuration, if there is one.
    pub(super) fn check_setup(&mut self) -> Result<(), Error> {
        match &self.invalid {
            // The same error each time, because nothing can be sent.
            Some(error) => Err(error.again()),
            // The front of the request has changed since the last one.
            None if self.request.prefix.is_none() => self.check_tool_choice(),
            None => Ok(()),
        }
    }

    /// Continues to the next thing that happens. `tell` is whether the caller receives the events
    /// of the reply. Returns `None` if the run is over.
    pub(super) async fn advance(&mut self, tell: bool) -> Result<Option<Progress>, Error> {
        self.check_setup()?;
        loop {
            if let Some(what) = self.notes.untold.pop_front() {
                return Ok(Some(what));
            }
            if self.notes.fairness.is_due() {
                self.notes.fairness.let_others_run().await;
            }
            if let Some(stream_event) = self.at_hand() {
                if self.note(stream_event) && tell {
                    return Ok(Some(Progress::StreamEvent(stream_event)));
                }
                continue;
            }
            self.deliver()?;
            match self.progress(Stop::AtEnd).await? {
                Progress::Done(_) => return Ok(None),
                Progress::StreamEvent(stream_event) => {
                    if self.note(stream_event) && tell {
                        return Ok(Some(Progress::StreamEvent(stream_event)));
                    }
                }
                Progress::Send if !self.notes.announced && !self.machine.is_compacting() => {
                    self.notes.announced = true;
                    // All calls of the previous turn are answered.
                    self.turns.hooks.dialogues.clear();
                    return Ok(Some(Progress::Send));
                }
                Progress::Send => self.send().await,
                Progress::Dropped { .. } | Progress::ForCaller(_) => {}
                what => return Ok(Some(what)),
            }
        }
    }

    /// Runs the calls of the last turn, and queues their events for the caller.
    pub(super) async fn run_calls(&mut self) -> Result<(), Error> {
        self.check_setup()?;
        loop {
            match self.progress(Stop::BeforeSend).await? {
                Progress::Idle | Progress::Done(_) | Progress::Send => return Ok(()),
                what => self.notes.untold.push_back(what),
            }
        }
    }

    /// Continues the loop by one thing, and records it.
    async fn progress(&mut self, stop: Stop) -> Result<Progress, Error> {
        if core::mem::take(&mut self.notes.has_progressed)
            && let Exchange::Reply(reply) = &mut self.exchange
        {
            reply.body_mut().progressed();
        }
        if self.machine.is_calling() {
            self.turns.executor.trace.run_begins(self.id, &self.request.params);
        }
        // The loop looks for this first.
        self.notes.is_wound_down |= self.is_cancelled();
        let turns = self.machine.turns();
        let done = {
            let (machine, exchange) = (&mut self.machine, &mut self.exchange);
            let progress = pin!(self.turns.progress(machine, exchange, stop));
            self.notes.fairness.watch(progress).await
        };
        match done {
            Ok(what) => Ok(self.recorded(what)),
            Err(error) => {
                if self.machine.turns() > turns {
                    self.kept_reply();
                }
                let error = Error::of(error, self.exchange.take_error(), &self.machine)
                    .with_rate_limits(self.transport.rate_limits());
                self.turns.executor.trace.run_fails(&error, self.machine.usage());
                Err(error)
            }
        }
    }

    /// Records something that happened, and returns it.
    fn recorded(&mut self, what: Progress) -> Progress {
        let trace = &mut self.turns.executor.trace;
        match &what {
            Progress::ToolStart(call) => self.times.call_starts(*call, self.turns.clock.now()),
            Progress::ToolEnd(call) => self.times.call_ends(*call, self.turns.clock.now()),
            Progress::Broken { wait, error } => {
                tracing::info!(
                    ?wait,
                    "a reply ended early after a call had started; the run continues: {error}"
                );
                self.kept_reply();
            }
            Progress::Compacted { before, after } => {
                trace.reply_ends(self.machine.turn_usage(), self.machine.request_id(), || None);
                tracing::info!(
                    run = self.id,
                    before,
                    after,
                    "the conversation was replaced by a summary"
                );
            }
            Progress::NotCompacted(why) => {
                trace.reply_ends(self.machine.turn_usage(), self.machine.request_id(), || None);
                tracing::warn!(
                    run = self.id,
                    why,
                    "a summary was rejected; the conversation is unchanged"
                );
            }
            Progress::Done(outcome) => {
                trace.run_ends(Some(*outcome), self.machine.usage());
                self.notes.is_wound_down |= self.is_cancelled();
                self.settle();
            }
            Progress::Dropped { is_kept } => {
                self.dropped(*is_kept);
                if !*is_kept && self.is_cancelled() {
                    self.keep_shown();
                }
            }
            Progress::ForCaller(call) => {
                if let Some(question) = self.turns.executor.question.take() {
                    self.turns.hooks.dialogue(*call).question = Some(question);
                }
            }
            Progress::Retry { attempt, wait, error } => {
                let full = Error::of(*error, self.exchange.take_error(), &self.machine);
                tracing::info!(
                    run = self.id,
                    attempt,
                    ?wait,
                    "request failed and is sent again: {full}"
                );
                self.notes.retried = Some(Box::new(RetryCause::new(&full)));
            }
            _ => {}
        }
        what
    }

    /// Records that the request under way or its reply was dropped.
    pub(super) fn dropped(&mut self, is_kept: bool) {
        self.notes.announced = false;
        self.turns.executor.trace.request_fails("cancelled");
        if is_kept {
            self.kept_reply();
        }
    }

    /// Releases unused memory, and what can be created again, because the run may now rest for a
    /// long time.
    fn settle(&mut self) {
        self.machine.shrink_to_fit();
        self.envelope.shrink_to_fit();
        self.turns.executor.shrink_to_fit();
        self.turns.hooks.shrink_to_fit();
        self.notes.untold.shrink_to_fit();
        self.times.shrink_to_fit();
        self.request.prefix = None;
    }

    /// Sends the request. The loop handles the result.
    async fn send(&mut self) {
        if self.machine.is_compacting() && self.before_summary.is_none() {
            // The last message must stay available, though the conversation will no longer contain
            // it.
            self.before_summary = self.message();
        }
        // This notes the front if it has changed.
        if let Err(error) = self.try_render_prefix() {
            self.exchange = Exchange::Failed(error.into());
            return;
        }
        let prefix = self.request.prefix.as_ref().map(Prefix::bytes).unwrap_or_default();
        let now = self.turns.clock.now();
        self.times.sends(now);
        let trace = &mut self.turns.executor.trace;
        trace.request(self.id, &self.request.params, &self.settings, self.request.stream, now);
        if trace.wants_input() {
            let messages = self.messages();
            self.turns.executor.trace.input(&messages);
        }
        let traceparent = self.turns.executor.trace.traceparent();
        let mut headers: Vec<(&str, &str)> = self.settings.headers().collect();
        if let Some(traceparent) = &traceparent
            && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("traceparent"))
        {
            headers.push(("traceparent", traceparent));
        }
        let betas = self.betas_with_thread();
        if let Some(betas) = &betas {
            headers.retain(|(name, _)| !name.eq_ignore_ascii_case(BETA));
            headers.push((BETA, betas));
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
        let sending = send_with_noted_front(&mut self.machine, &head, &before, &mut self.transport)
            .instrument(span);
        let exchange = self.turns.while_wanted(deadline, pin!(sending)).await;
        self.notes.fairness.restart();
        // The loop reports an abandoned request.
        if let Some(exchange) = exchange {
            self.notes.announced = false;
            self.exchange = exchange;
        }
    }

    /// Returns the value of the header for betas, if the request needs another one for its message
    /// thread.
    fn betas_with_thread(&self) -> Option<String> {
        let beta = self.machine.thread_beta()?;
        let set = self.settings.headers().filter(|(name, _)| name.eq_ignore_ascii_case(BETA));
        let mut betas = set.map(|(_, betas)| betas).collect::<Vec<_>>().join(",");
        add_beta(&mut betas, beta);
        Some(betas)
    }

    /// Returns the next event in the bytes already received, without a future, because one read may
    /// hold thousands of pieces. Returns `None` if something else takes precedence.
    #[inline]
    fn at_hand(&mut self) -> Option<StreamEvent> {
        if !self.notes.untold.is_empty() {
            return None;
        }
        self.turns.at_hand(&mut self.machine, &mut self.exchange, HttpBody::at_hand)
    }

    /// Returns the next event in the bytes already received if it is a delta in the exact form of
    /// the API.
    #[inline]
    fn delta_at_hand(&mut self) -> Option<StreamEvent> {
        if !self.notes.untold.is_empty() {
            return None;
        }
        self.turns.delta_at_hand(&mut self.machine, &mut self.exchange, HttpBody::at_hand)
    }

    /// Records what happened in a reply. Returns whether the caller receives the event: those of a
    /// summary are internal.
    #[inline]
    fn note(&mut self, stream_event: StreamEvent) -> bool {
        self.notes.has_progressed |= stream_event.is_progress();
        self.notes.fairness.count();
        if self.times.waits() && stream_event.is_progress() {
            self.times.first_token(self.turns.clock.now());
        }
        if self.turns.is_summary() {
            return false;
        }
        if let Some(shown) = &mut self.shown {
            shown.see(&self.machine.peek(stream_event));
        }
        if stream_event.is_of_message() {
            self.note_of_message(stream_event);
        }
        true
    }

    // Out of line, because a reply has only three such events.
    #[inline(never)]
    fn note_of_message(&mut self, stream_event: StreamEvent) {
        let Loop { clock, executor, .. } = &mut self.turns;
        executor.trace.reply_begins(|| clock.now());
        self.envelope.see(&self.machine, stream_event);
        // Before any event and any wait, because from then on the caller may call anything.
        if self.machine.reply_is_whole() {
            self.times.reply_ends(self.turns.clock.now());
            self.turn_ended();
        }
    }

    /// Records that the reply is the last turn. Settings for one turn end here.
    pub(super) fn turn_ended(&mut self) {
        self.before_summary = None;
        if self.request.next_params.iter().next().is_some() {
            self.request.next_params = crate::params::Params::default();
            self.request.prefix = None;
        }
        let usage = self.machine.turn_usage();
        let (machine, envelope) = (&self.machine, &self.envelope);
        self.turns
            .executor
            .trace
            .reply_ends(usage, machine.request_id(), || envelope.message(machine));
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

    /// Records that a reply ended early and its complete blocks are the last message.
    fn kept_reply(&mut self) {
        self.envelope.end();
        self.turn_ended();
    }
}
