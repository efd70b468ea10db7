//! The loop over [`Step`]: the only one. It returns after each thing that a caller may want to know
//! about, as plain data, so that a future may be dropped between any two.

use core::future::poll_fn;
use core::ops::Deref;
use core::pin::{Pin, pin};
use core::task::Poll;
use core::time::Duration;

use embedded_io_async::BufRead;

use super::execute::{CallEnd, Conclusion, Env, Execute};
use super::hooks::Hooks;
use super::reply::{DRAIN, DriveError, Exchange};
use super::wait::{is_over, poll_apart, unless_over, while_wanted};
use crate::error::Error;
use crate::observe::Event;
use crate::run::{CallIndex, Outcome, Run, Step, StreamEvent};
use crate::time::{Clock, Instant};
use crate::tool::{Notice, Toolbox};
use crate::transport::TransportError;

/// One thing that happened in a run. [`event`](Self::event) converts it to an [`Event`].
#[derive(Clone, Copy, Debug)]
pub enum Progress {
    /// A reply broke off after one of its calls had started. See [`Event::Broken`].
    Broken {
        /// The delay before the next request.
        wait: Duration,
        /// The reason.
        error: Error,
    },
    /// A summary replaced the conversation. See [`Event::Compacted`].
    Compacted {
        /// The length of the transcript before, in bytes.
        before: usize,
        /// The length of the transcript now, in bytes.
        after: usize,
    },
    /// The run is over.
    Done(Outcome),
    /// A request or its reply was abandoned, because the run was cancelled, its time is over, or
    /// the future that drove it was dropped.
    Dropped {
        /// Whether the complete blocks of the reply stay, because one of its calls had started.
        is_kept: bool,
    },
    /// This call waits for the caller.
    ForCaller(CallIndex),
    /// An event of the reply. That of a [summary](Loop::is_summary) is internal.
    StreamEvent(StreamEvent),
    /// Nothing is left to do up to the [`Stop`] that was given.
    Idle,
    /// A summary was rejected. See [`Event::NotCompacted`].
    NotCompacted(&'static str),
    /// A request failed and is sent again. See [`Event::Retry`].
    Retry {
        /// The number of the attempt that failed.
        attempt: u32,
        /// The delay before the next attempt.
        wait: Duration,
        /// The error. [`Exchange::take_error`] returns the transport's own.
        error: Error,
    },
    /// A request must be sent: see [`send`](super::reply::send). Until it is sent, this is returned
    /// again.
    Send,
    /// This call was answered.
    ToolEnd(CallIndex),
    /// This call starts.
    ToolStart(CallIndex),
    /// A reply is complete, its body has been read, and it has become the run's most recent turn.
    TurnEnd,
}

impl Progress {
    /// Converts this to an event. `hands_on` is whether the caller passes pieces of a reply on to
    /// someone who cannot be made to forget them: see
    /// [`Observer::hands_on`](crate::observe::Observer::hands_on). Returns `None` if there is no
    /// such event, or if it is about something that no longer exists.
    pub fn event<'r>(&self, run: &'r mut Run<'_>, hands_on: bool) -> Option<Event<'r>> {
        Some(match *self {
            Self::Broken { wait, error } => Event::Broken { wait, error },
            Self::Compacted { before, after } => Event::Compacted { before, after },
            Self::StreamEvent(stream_event) if hands_on => run.mark_shown(stream_event),
            Self::StreamEvent(stream_event) => run.peek(stream_event),
            Self::NotCompacted(why) => Event::NotCompacted { why },
            Self::Retry { attempt, wait, error } => {
                let text = run.retried_text(error);
                let (message, request_id) = (text.message, text.request_id);
                Event::Retry { attempt, wait, error, message, request_id }
            }
            // The events of a summary are internal.
            Self::Send if run.is_compacting() => return None,
            Self::Send => Event::Request { turn: run.turns() + 1, attempt: run.attempt() + 1 },
            Self::ToolEnd(call) => run.tool_end(call)?,
            Self::ToolStart(call) => {
                let call = run.call(call)?;
                Event::ToolStart { id: call.id, name: call.name, input: call.input }
            }
            Self::Done(_)
            | Self::Dropped { .. }
            | Self::ForCaller(_)
            | Self::Idle
            | Self::TurnEnd => return None,
        })
    }

    /// Returns whether [`event`](Self::event) returns an event.
    #[cfg(feature = "alloc")]
    pub fn has_event(&self, run: &Run<'_>) -> bool {
        match *self {
            Self::ToolEnd(call) => run.is_answered(call),
            Self::ToolStart(call) => run.has_call(call),
            Self::Send => !run.is_compacting(),
            Self::Done(_)
            | Self::Dropped { .. }
            | Self::ForCaller(_)
            | Self::Idle
            | Self::TurnEnd => false,
            Self::Broken { .. }
            | Self::Compacted { .. }
            | Self::NotCompacted(_)
            | Self::Retry { .. }
            | Self::StreamEvent(_) => true,
        }
    }
}

/// How far [`Loop::progress`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// To the end of the run.
    AtEnd,
    /// Until all calls of the turn that may run are done, before the next request.
    BeforeSend,
}

/// What is returned next, whatever else happens.
#[derive(Clone, Copy, Debug)]
pub(super) enum Due {
    ForCaller(CallIndex),
    ToolEnd(CallIndex),
    TurnEnd,
}

impl Due {
    const fn progress(self) -> Progress {
        match self {
            Self::ForCaller(call) => Progress::ForCaller(call),
            Self::ToolEnd(call) => Progress::ToolEnd(call),
            Self::TurnEnd => Progress::TurnEnd,
        }
    }
}

/// A request for a summary under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    /// The length of the transcript before.
    before: usize,
    /// The number of summaries before.
    compactions: u32,
}

/// Drives a run: carries out its steps, and decides about its calls in one order. A front end calls
/// [`progress`](Self::progress), sends what [`Progress::Send`] asks for, and reports the rest.
/// [`Driver`](super::Driver) is one front end; `toolrunner_std::Run` is another.
#[derive(Debug)]
pub struct Loop<T, C, H, X> {
    /// The tools: a reference or a pointer to a [`Toolbox`].
    pub tools: T,
    /// The clock.
    pub clock: C,
    /// The hooks.
    pub hooks: H,
    /// The executor of the calls.
    pub executor: X,
    /// Whether a call may start before its reply is complete, if the executor has memory of its own
    /// for it.
    pub is_eager: bool,
    pub(super) due: Option<Due>,
    /// Whether another call may have become ready to start early.
    pub(super) has_news: bool,
    pub(super) summary: Option<Summary>,
    /// The end of the grace period, while one is under way.
    pub(super) winding: Option<Instant>,
}

/// The next result of the reply or of a running call.
enum Arrival<E> {
    Finished(CallEnd),
    StreamEvent(Result<Option<StreamEvent>, DriveError<E>>),
}

impl<T, C, H, X> Loop<T, C, H, X> {
    /// Creates a loop.
    pub const fn new(tools: T, clock: C, hooks: H, executor: X) -> Self {
        Self {
            tools,
            clock,
            hooks,
            executor,
            is_eager: false,
            due: None,
            has_news: false,
            summary: None,
            winding: None,
        }
    }

    /// Returns whether the request under way is for a summary, whose events are internal.
    pub const fn is_summary(&self) -> bool {
        self.summary.is_some()
    }
}

impl<T, C: Clock, H: Hooks, X> Loop<T, C, H, X>
where
    T: Deref<Target: Toolbox>,
    X: Execute<T::Target, H, C>,
{
    /// Forgets what is left of another run: running calls, and what was not returned yet.
    pub fn clear(&mut self) {
        self.executor.clear();
        self.due = None;
        self.summary = None;
        self.winding = None;
    }

    /// Drops all running calls of the run, after it has answered them itself.
    pub fn clear_calls(&mut self) {
        self.executor.clear();
    }

    /// Returns the next event of the reply without a future, from bytes that have already arrived:
    /// `at_hand` returns those of a body. One read may hold thousands of events. Returns `None` if
    /// something else comes first; then continue with [`progress`](Self::progress), which also
    /// reports every error.
    #[inline]
    pub fn at_hand<R: BufRead<Error = E>, E: TransportError>(
        &mut self,
        run: &mut Run<'_>,
        exchange: &mut Exchange<R, E>,
        at_hand: impl Fn(&R) -> &[u8],
    ) -> Option<StreamEvent> {
        // While calls may be running, each event is awaited, so that they progress too.
        if self.is_eager || run.reply_is_whole() || self.must_end(run, exchange) {
            return None;
        }
        let Exchange::Reply(reply) = exchange else { return None };
        match reply.next_at_hand(run, at_hand) {
            Ok(stream_event) => stream_event,
            Err(error) => {
                *exchange = Exchange::Failed(error);
                None
            }
        }
    }

    /// Returns the next event of the reply as [`at_hand`](Self::at_hand) does, but only if it is a
    /// delta in the exact form of the API. This is small enough to be inlined where the event is
    /// used.
    #[inline]
    pub fn delta_at_hand<R: BufRead<Error = E>, E: TransportError>(
        &mut self,
        run: &mut Run<'_>,
        exchange: &mut Exchange<R, E>,
        at_hand: impl Fn(&R) -> &[u8],
    ) -> Option<StreamEvent> {
        if self.is_eager || self.must_end(run, exchange) {
            return None;
        }
        let Exchange::Reply(reply) = exchange else { return None };
        reply.delta_at_hand(run, at_hand)
    }

    /// Continues `run` to the next thing that happens, and at most up to `stop`. `exchange` is the
    /// request under way.
    ///
    /// # Errors
    /// See [`Error`]. If the transport failed, [`Exchange::take_error`] returns its own error. The
    /// run can continue: call this method again.
    pub async fn progress<R: BufRead<Error = E>, E: TransportError>(
        &mut self,
        run: &mut Run<'_>,
        exchange: &mut Exchange<R, E>,
        stop: Stop,
    ) -> Result<Progress, Error> {
        // An error that nobody took must not be attributed to what happens next.
        exchange.take_error();
        loop {
            if let Some(due) = self.due.take() {
                return Ok(due.progress());
            }
            let must_end = self.must_end(run, exchange);
            if must_end && run.is_exchanging() {
                *exchange = Exchange::Idle;
                return Ok(Self::abandon(run));
            }
            let mut until = run.deadline();
            let reply = match exchange {
                Exchange::Idle | Exchange::Over(_) => None,
                Exchange::Failed(DriveError { error, transport }) => {
                    let (error, transport) = (*error, transport.take());
                    *exchange = Exchange::Over(transport);
                    return self.failed(run, error);
                }
                Exchange::Reply(reply) => {
                    // The rest of the body does not matter.
                    reply.at_end |= must_end;
                    #[cfg(feature = "alloc")]
                    if X::BESIDE
                        && self.is_eager
                        && !must_end
                        && let Some(call) = self.start_early(run)?
                    {
                        return Ok(Progress::ToolStart(call));
                    }
                    if !reply.at_end && run.reply_is_whole() {
                        let end = self.clock.now().after(DRAIN);
                        until = Some(until.map_or(end, |until| until.min(end)));
                    }
                    Some(reply)
                }
            };
            if reply.is_none() {
                if !self.executor.is_idle() {
                    // The run has answered its calls by itself, or these are another run's.
                    if X::BESIDE && run.running_call().is_none() {
                        self.executor.clear();
                        continue;
                    }
                    if X::BESIDE
                        && self.may_start_more(run)
                        && let Some(call) = self.start_call(run)?
                    {
                        return Ok(Progress::ToolStart(call));
                    }
                    match self.next_finished(run).await {
                        Some(finished) => self.finish(run, finished?)?,
                        None => self.cancel_call(run)?,
                    }
                    continue;
                }
                self.winding = None;
                let is_cancelled = self.hooks.is_cancelled();
                let has_calls = run.is_calling() && run.next_call().is_some();
                match stop {
                    Stop::AtEnd => {}
                    Stop::BeforeSend if has_calls && !is_cancelled => {}
                    Stop::BeforeSend => return Ok(Progress::Idle),
                }
                if is_cancelled {
                    run.stop();
                }
                match run.step(self.clock.now())? {
                    Step::Done(outcome) => return Ok(Progress::Done(outcome)),
                    Step::Wait(end) => until = Some(end),
                    Step::Call => match self.start_call(run)? {
                        Some(call) => return Ok(Progress::ToolStart(call)),
                        None => continue,
                    },
                    // The reply no longer exists.
                    Step::Receive => return Ok(Self::abandon(run)),
                    Step::Send => {
                        let (before, compactions) = (run.transcript().len(), run.compactions());
                        self.summary =
                            run.is_compacting().then_some(Summary { before, compactions });
                        return Ok(Progress::Send);
                    }
                }
            }
            // Reads the reply, if there is one, until something happens in it or beside it, until
            // the run is cancelled, or up to `until`. Not a future of its own, which saves 88 bytes
            // of flash.
            let brought = {
                let Self { executor, clock, hooks, .. } = &mut *self;
                // A timer is expensive on a server. The end of a body often arrives when another
                // task has run, so it is polled twice before the timer is.
                let mut is_patient = X::BESIDE && reply.is_some() && run.reply_is_whole();
                let mut next = pin!(reply.map(|reply| reply.next_happened(run)));
                let mut wait = pin!(until.map(|until| clock.wait_until(until)));
                poll_fn(|context| {
                    let brought = if X::BESIDE
                        && !executor.is_idle()
                        && let Poll::Ready(finished) = executor.poll_finished(context)
                    {
                        Poll::Ready(Arrival::Finished(finished))
                    } else if let Some(next) = next.as_mut().as_pin_mut() {
                        poll_apart(next, context).map(Arrival::StreamEvent)
                    } else {
                        Poll::Pending
                    };
                    if is_patient && brought.is_pending() {
                        is_patient = false;
                        context.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    unless_over(brought, hooks, wait.as_mut(), context)
                })
                .await
            };
            match brought {
                Some(Arrival::Finished(finished)) => self.finish(run, finished)?,
                Some(Arrival::StreamEvent(Ok(Some(stream_event)))) => {
                    self.has_news |= stream_event.is_of_block() || stream_event.is_of_message();
                    return Ok(Progress::StreamEvent(stream_event));
                }
                Some(Arrival::StreamEvent(Err(error))) => *exchange = Exchange::Failed(error),
                Some(Arrival::StreamEvent(Ok(None))) => {
                    *exchange = Exchange::Idle;
                    return Ok(self.end_reply(run));
                }
                // The rest of the body took too long, or the run is no longer wanted.
                None => {
                    if let Exchange::Reply(reply) = exchange {
                        reply.at_end |= run.reply_is_whole();
                    }
                }
            }
        }
    }

    /// Returns the output of `sending`, which sends the request of a run, or `None` if the run is
    /// cancelled first or its time is over: then [`progress`](Self::progress) abandons the request.
    pub async fn while_wanted<F: Future>(
        &mut self,
        deadline: Option<Instant>,
        sending: Pin<&mut F>,
    ) -> Option<F::Output> {
        while_wanted(&self.clock, &self.hooks, deadline, sending).await
    }

    /// Returns whether what is under way must end: the run was cancelled, or its time is over.
    fn must_end<R, E>(&self, run: &Run<'_>, exchange: &Exchange<R, E>) -> bool {
        let is_under_way = || matches!(exchange, Exchange::Reply(_)) || run.is_exchanging();
        self.hooks.is_cancelled()
            || (run.deadline().is_some_and(|end| self.clock.now() >= end) && is_under_way())
    }

    /// Abandons the request under way.
    fn abandon(run: &mut Run<'_>) -> Progress {
        let turns = run.turns();
        run.abandoned();
        // Only with `alloc` can a call have started.
        Progress::Dropped { is_kept: cfg!(feature = "alloc") && run.turns() > turns }
    }

    fn end_reply(&mut self, run: &Run<'_>) -> Progress {
        let Some(Summary { before, compactions }) = self.summary.take() else {
            return Progress::TurnEnd;
        };
        if run.compactions() > compactions {
            return Progress::Compacted { before, after: run.transcript().len() };
        }
        Progress::NotCompacted(run.rejected_summary().unwrap_or("the reply has no summary"))
    }

    fn failed(&mut self, run: &mut Run<'_>, error: Error) -> Result<Progress, Error> {
        let (attempt, turns) = (run.attempt() + 1, run.turns());
        let wait = run.failed(error, self.clock.now(), self.clock.jitter())?;
        if cfg!(feature = "alloc") && run.turns() > turns {
            self.due = Some(Due::TurnEnd);
            return Ok(Progress::Broken { wait, error });
        }
        if let Some(outcome) = run.outcome() {
            // The message thread was lost, and the request cannot be sent in another form.
            return Ok(Progress::Done(outcome));
        }
        Ok(Progress::Retry { attempt, wait, error })
    }

    /// Answers the first running call as cancelled, because the grace period is over.
    fn cancel_call(&mut self, run: &mut Run<'_>) -> Result<(), Error> {
        let Some(call) = run.running_call() else {
            self.executor.clear();
            return Ok(());
        };
        self.executor.abort(call);
        run.answer_notice(call, Notice::Cancelled)?;
        self.due = Some(Due::ToolEnd(call));
        Ok(())
    }

    /// Waits for the next call that is done: as long as the run is wanted, and then for the grace
    /// period. Returns `None` after that.
    async fn next_finished(&mut self, run: &mut Run<'_>) -> Option<Result<CallEnd, Error>> {
        let deadline = run.deadline();
        let Self { tools, executor, clock, hooks, winding, .. } = self;
        let env = Env { tools: &**tools, hooks: &*hooks, clock: &*clock };
        let mut next = pin!(executor.next_finished(run, env));
        let end = winding.or(deadline);
        let mut wait = pin!(end.map(|end| clock.wait_until(end)));
        // One wait with two ends, because each further one takes 150 bytes of flash.
        poll_fn(|context| {
            if let Poll::Ready(finished) = poll_apart(next.as_mut(), context) {
                return Poll::Ready(Some(finished));
            }
            if winding.is_none() {
                if !is_over(hooks, wait.as_mut(), context) {
                    return Poll::Pending;
                }
                hooks.wind_down();
                let grace = hooks.grace();
                let end = clock.now().after(grace);
                *winding = Some(end);
                // Without a grace period, the rest is not part of the program.
                if grace.is_zero() {
                    return Poll::Ready(None);
                }
                wait.set(Some(clock.wait_until(end)));
                // A tool that asks whether it is cancelled does so when it is polled.
                context.waker().wake_by_ref();
            }
            match wait.as_mut().as_pin_mut() {
                Some(wait) => wait.poll(context).map(|()| None),
                None => Poll::Ready(None),
            }
        })
        .await
    }

    /// Makes the answer of a finished call its result, unless the run has answered the call by
    /// itself.
    fn finish(&mut self, run: &mut Run<'_>, finished: CallEnd) -> Result<(), Error> {
        let call = finished.call;
        if !run.is_running(call) || !self.executor.holds(run, finished) {
            self.executor.discard(finished);
            return Ok(());
        }
        self.has_news = true;
        let waits = matches!(finished.conclusion, Conclusion::ForCaller);
        if waits {
            run.leave_to_caller(call);
        }
        let Self { executor, hooks, .. } = self;
        executor.put(run, finished, |draft| hooks.after(draft))?;
        self.due = Some(if waits { Due::ForCaller(call) } else { Due::ToolEnd(call) });
        Ok(())
    }
}
