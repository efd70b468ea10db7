//! The driver combines a run, a transport, tools and a clock. It is the same on a server and on a
//! microcontroller.
//!
//! [`Driver::until_done`] repeats [`Driver::next_turn`], which handles the steps of [`Run::step`]
//! until a reply is complete. Any future of this module may be dropped at any time: the next call
//! finds what was abandoned.

mod calls;
mod hooks;

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;

use embedded_io_async::BufRead;

use crate::error::{Error, Misuse};
use crate::json::Decimal;
use crate::observe::{Event, Observer};
use crate::run::{Happened, Outcome, Run, Step};
use crate::time::{Clock, Instant};
use crate::tool::{Toolbox, check_tools};
use crate::transport::{Head, Reply, Transport, TransportError};
use crate::wire::{Config, Front, Pieces, base_of};

use calls::run_call;

pub use hooks::{Decision, Draft, Hooks};

/// The maximum time to wait for the rest of a body after the reply is complete, so that the
/// connection can be reused.
const DRAIN: Duration = Duration::from_millis(1000);

/// An error of a run, with the transport's own error if the transport failed.
#[derive(Debug)]
pub struct DriveError<E> {
    /// What went wrong.
    pub error: Error,
    /// The transport's own error.
    pub transport: Option<E>,
}

impl<E> From<Error> for DriveError<E> {
    fn from(error: Error) -> Self {
        Self { error, transport: None }
    }
}

impl<E> From<Misuse> for DriveError<E> {
    fn from(error: Misuse) -> Self {
        Error::from(error).into()
    }
}

/// Writes the transport's own message if the transport failed, because it says more than the kind
/// does.
impl<E: core::fmt::Display> core::fmt::Display for DriveError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (&self.error, &self.transport) {
            (Error::Transport(_), Some(own)) => own.fmt(f),
            (error, _) => error.fmt(f),
        }
    }
}

impl<E: core::fmt::Debug + core::fmt::Display> core::error::Error for DriveError<E> {}

/// Drives runs, one after another. The tools and the configuration are borrowed, so that they can
/// be statics on a chip.
#[derive(Debug)]
pub struct Driver<'d, T, B: ?Sized, C, H = ()> {
    config: Config<'d>,
    transport: T,
    tools: &'d B,
    clock: C,
    hooks: H,
    /// Applies the limits and the retry policy of the configuration to a run. Set only if there are
    /// some, so that the code for limits is not linked into a program without limits.
    configure: Option<fn(&mut Run<'_>, &Config<'_>)>,
}

impl<'d, T: Transport, B: Toolbox + ?Sized, C: Clock> Driver<'d, T, B, C> {
    /// Creates a driver.
    ///
    /// # Errors
    /// `Misuse` if the configuration or the tools cannot be part of a request: see
    /// [`Config::check`] and [`check_tools`].
    // Inlined, so that the compiler sees whether a constant configuration has limits.
    #[inline]
    pub fn new(config: Config<'d>, transport: T, tools: &'d B, clock: C) -> Result<Self, Misuse> {
        config.check_beside(tools.count())?;
        check_tools(tools)?;
        let configure =
            config.configures_runs().then_some(configure as fn(&mut Run<'_>, &Config<'_>));
        Ok(Self { config, transport, tools, clock, hooks: (), configure })
    }
}

impl<'d, T: Transport, B: Toolbox + ?Sized, C: Clock, H: Hooks> Driver<'d, T, B, C, H> {
    /// Replaces the hooks, which decide about calls, look at results, and end a run from outside.
    pub fn hooks<N: Hooks>(self, hooks: N) -> Driver<'d, T, B, C, N> {
        let Self { config, transport, tools, clock, configure, .. } = self;
        Driver { config, transport, tools, clock, hooks, configure }
    }

    /// Returns the configuration, which may be changed between turns. Its limits and retry policy
    /// apply to runs that begin afterwards. For a run in progress use [`Run::limits_mut`] and
    /// [`Run::retry_mut`].
    pub const fn config_mut(&mut self) -> &mut Config<'d> {
        self.configure = Some(configure);
        &mut self.config
    }

    /// Returns the transport.
    pub const fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }

    /// Drives `run` until it is over. Tools run one at a time.
    ///
    /// # Errors
    /// See [`Error`]. The run can continue: call this method again.
    pub async fn until_done<O: Observer>(
        &mut self,
        run: &mut Run<'_>,
        observer: &mut O,
    ) -> Result<Outcome, DriveError<T::Error>> {
        loop {
            if let Some(outcome) = self.next_turn(run, observer).await? {
                return Ok(outcome);
            }
        }
    }

    /// Drives `run` to the end of the model's next reply. The calls of that reply run at the
    /// beginning of the following `next_turn`, so that the caller can look at them, answer them, or
    /// stop the run. Returns the outcome if there is no next turn.
    ///
    /// # Errors
    /// See [`Error`]. The run can continue: call this method again.
    pub async fn next_turn<O: Observer>(
        &mut self,
        run: &mut Run<'_>,
        observer: &mut O,
    ) -> Result<Option<Outcome>, DriveError<T::Error>> {
        if let Some(configure) = self.configure {
            configure(run, &self.config);
        }
        let before = run.turns();
        loop {
            if self.hooks.is_cancelled() {
                run.stop();
            }
            match run.step(self.clock.now())? {
                Step::Done(outcome) => return Ok(Some(outcome)),
                Step::Wait(until) => {
                    let _ = while_wanted(
                        &self.clock,
                        &self.hooks,
                        None,
                        pin!(self.clock.wait_until(until)),
                    )
                    .await;
                }
                Step::Call => {
                    if let Some(i) = run.next_call() {
                        run_call(run, i, true, self.tools, &self.clock, &self.hooks, observer)
                            .await?;
                    }
                }
                // The future that read the last reply was dropped.
                Step::Receive => {
                    run.failed(None, self.clock.now(), self.clock.jitter())?;
                }
                Step::Send => {
                    let run_deadline = run.deadline();
                    let done = {
                        let Self { config, transport, tools, clock, hooks, .. } = self;
                        let exchange =
                            pin!(exchange(config, transport, *tools, clock, run, observer));
                        while_wanted(clock, hooks, run_deadline, exchange).await
                    };
                    match done {
                        Some(done) => done?,
                        // The partial reply is discarded. The next step determines why.
                        None => drop(run.failed(None, self.clock.now(), 0)?),
                    }
                    if run.turns() > before {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Runs the calls of the reply that [`next_turn`](Self::next_turn) ended with, once, so that
    /// their results can be read and edited ([`Run::replace_result`], [`Run::add_to_result`])
    /// before they are sent. Does nothing if there are no calls, or if a limit forbids them.
    ///
    /// # Errors
    /// See [`Error`]. The run can continue.
    pub async fn results<O: Observer>(
        &mut self,
        run: &mut Run<'_>,
        observer: &mut O,
    ) -> Result<(), DriveError<T::Error>> {
        if let Some(configure) = self.configure {
            configure(run, &self.config);
        }
        // Without an open call, the next step would be the next request.
        while run.is_calling()
            && run.next_call().is_some()
            && !self.hooks.is_cancelled()
            && run.step(self.clock.now())? == Step::Call
        {
            let Some(i) = run.next_call() else { break };
            run_call(run, i, true, self.tools, &self.clock, &self.hooks, observer).await?;
        }
        Ok(())
    }

    /// Runs call `i`, which was suspended ([`Decision::Suspend`]), without asking the gate again.
    /// The run then continues as before.
    ///
    /// # Errors
    /// `Misuse` if call `i` does not wait for the caller. The run can continue.
    pub async fn allow<O: Observer>(
        &mut self,
        run: &mut Run<'_>,
        i: usize,
        observer: &mut O,
    ) -> Result<(), DriveError<T::Error>> {
        if !run.is_for_caller(i) {
            return Err(Misuse::NoSuchCall.into());
        }
        run.give_to_tools(i);
        Ok(run_call(run, i, false, self.tools, &self.clock, &self.hooks, observer).await?)
    }
}

/// [`Run::configure`] for any lifetimes.
const fn configure(run: &mut Run<'_>, config: &Config<'_>) {
    run.configure(config);
}

/// Sends one request and reads its reply.
async fn exchange<T: Transport, B: Toolbox + ?Sized, C: Clock, O: Observer>(
    config: &Config<'_>,
    transport: &mut T,
    tools: &B,
    clock: &C,
    run: &mut Run<'_>,
    observer: &mut O,
) -> Result<(), DriveError<T::Error>> {
    observer.see(&Event::Request { turn: run.turns() + 1, attempt: run.attempt() + 1 });
    let (is_summary, compactions, before) =
        (run.is_compacting(), run.compactions(), run.transcript().len());
    let opened = open(run, config, tools, transport).await;
    let failed = match opened {
        Ok(mut reply) => {
            let outcome = loop {
                match reply.next_happened(run).await {
                    // The events of a summary are not shown.
                    Ok(Some(_)) if is_summary => {}
                    Ok(Some(happened)) if observer.hands_on() => observer.see(&run.event(happened)),
                    Ok(Some(happened)) => observer.see(&run.peek(happened)),
                    Ok(None) => break Ok(()),
                    Err(failed) => break Err(failed),
                }
            };
            if outcome.is_ok() {
                reply.drain(clock).await;
                if is_summary && run.compactions() > compactions {
                    observer.see(&Event::Compacted { before, after: run.transcript().len() });
                } else if let Some(why) = run.rejected_summary().filter(|_| is_summary) {
                    observer.see(&Event::NotCompacted { why });
                }
            }
            outcome
        }
        Err(failed) => Err(failed),
    };
    let Err(DriveError { error, transport }) = failed else { return Ok(()) };
    let attempt = run.attempt() + 1;
    match run.failed(Some(error), clock.now(), clock.jitter()) {
        Ok(wait) => {
            let text = run.retried_text(error);
            observer.see(&Event::Retry {
                attempt,
                wait,
                error,
                message: text.message,
                request_id: text.request_id,
            });
            Ok(())
        }
        Err(error) => Err(DriveError { error, transport }),
    }
}

/// Sends the request after [`Step::Send`] and returns the reply, whose body is still to be read.
///
/// # Errors
/// Pass every error to [`Run::failed`], which decides whether to retry.
pub async fn open<'t, T: Transport, B: Toolbox + ?Sized>(
    run: &mut Run<'_>,
    config: &Config<'_>,
    tools: &B,
    transport: &'t mut T,
) -> Result<ReplyUnderWay<T::Body<'t>>, DriveError<T::Error>> {
    let max_tokens = Decimal::new(u64::from(config.max_tokens));
    // A copy, because the run is changed while the front borrows the container.
    let container = run.container_copy();
    let front = Front::new(config, &max_tokens).with(container.as_deref(), run.compaction_rules());
    let mut pieces = Pieces::empty();
    pieces.fill(front, tools).map_err(Error::from)?;
    run.note_front(pieces.as_slices())?;
    let fields = config.fields();
    let head = Head {
        base_url: base_of(config.base_url, config.path),
        path: config.path,
        headers: &fields,
    };
    let sent = transport.send(&head, &run.body(pieces.as_slices())).await;
    opened(run, sent)
}

/// Sends the request after [`Step::Send`], like [`open`], with a head and a beginning of the body
/// (up to `"messages":[`) that the caller provides.
///
/// # Errors
/// Pass every error to [`Run::failed`], which decides whether to retry.
pub async fn send<'t, T: Transport>(
    run: &mut Run<'_>,
    head: &Head<'_>,
    before: &[&[u8]],
    transport: &'t mut T,
) -> Result<ReplyUnderWay<T::Body<'t>>, DriveError<T::Error>> {
    run.note_front(before)?;
    let sent = transport.send(head, &run.body(before)).await;
    opened(run, sent)
}

/// Passes the head of the reply to the run.
fn opened<B, E: TransportError>(
    run: &mut Run<'_>,
    sent: Result<Reply<B>, E>,
) -> Result<ReplyUnderWay<B>, DriveError<E>> {
    let reply = sent.map_err(transport_error)?;
    run.answered(&reply.head);
    Ok(ReplyUnderWay { body: reply.body, at_end: false })
}

fn transport_error<E: TransportError>(error: E) -> DriveError<E> {
    let named = match (error.capacity(), error.misuse()) {
        (Some(full), _) => Error::Capacity(full),
        (None, Some(misuse)) => Error::Misuse(misuse),
        (None, None) => Error::Transport(error.kind()),
    };
    DriveError { error: named, transport: Some(error) }
}

/// A reply whose body is being read. It is stored outside the run, so that any future may be
/// dropped.
#[derive(Debug)]
pub struct ReplyUnderWay<B> {
    body: B,
    at_end: bool,
}

impl<B: BufRead> ReplyUnderWay<B>
where
    B::Error: TransportError,
{
    /// Returns the body, for a driver that knows its concrete type. Bytes that the driver consumes
    /// from it must have been fed to the run.
    pub const fn body_mut(&mut self) -> &mut B {
        &mut self.body
    }

    /// Returns the next event after all bytes have arrived, without reading. Returns `None` before
    /// that, or if there are no more events.
    ///
    /// # Errors
    /// Pass every error to [`Run::failed`], which decides whether to retry.
    pub fn next_at_end(&self, run: &mut Run<'_>) -> Option<Result<Happened, DriveError<B::Error>>> {
        if !self.at_end || run.reply_is_whole() {
            return None;
        }
        run.end_of_body().map_err(DriveError::from).transpose()
    }

    /// Returns the next event, or `None` when the reply is complete. [`Run::event`] converts it to
    /// an [`Event`].
    ///
    /// # Errors
    /// Pass every error to [`Run::failed`], which decides whether to retry.
    pub async fn next_happened(
        &mut self,
        run: &mut Run<'_>,
    ) -> Result<Option<Happened>, DriveError<B::Error>> {
        loop {
            if self.at_end {
                return Ok(run.end_of_body()?);
            }
            if run.reply_is_whole() {
                return Ok(None);
            }
            let chunk = match self.body.fill_buf().await {
                Ok(chunk) => chunk,
                // The part of an error's body that has arrived is enough to report the error.
                Err(_) if run.is_receiving_error() => &[],
                Err(error) => return Err(transport_error(error)),
            };
            let mut rest = chunk;
            let fed = if chunk.is_empty() {
                self.at_end = true;
                continue;
            } else {
                run.feed(&mut rest)
            };
            let used = chunk.len() - rest.len();
            self.body.consume(used);
            if let Some(happened) = fed? {
                return Ok(Some(happened));
            }
        }
    }

    /// Reads the rest of the body after the reply is complete, for at most one second, so that the
    /// connection can be reused.
    pub async fn drain<C: Clock>(&mut self, clock: &C) {
        if self.at_end {
            return;
        }
        let drained = async {
            loop {
                match self.body.fill_buf().await {
                    Ok([]) | Err(_) => return,
                    Ok(chunk) => {
                        let used = chunk.len();
                        self.body.consume(used);
                    }
                }
            }
        };
        // If this takes too long, the body is dropped, and its connection with it.
        let _ = before(clock, DRAIN, drained).await;
    }
}

/// Returns the output of `future`, or drops it and returns `None` after `limit`. The future is
/// polled twice before the clock is: a future that only waits for another task, as the end of a
/// body often does, is ready after that task has run, and a timer is expensive.
async fn before<C: Clock, F: Future>(clock: &C, limit: Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut wait = pin!(clock.wait_until(clock.now().after(limit)));
    let mut was_asked = false;
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if was_asked => wait.as_mut().poll(cx).map(|()| None),
        Poll::Pending => {
            was_asked = true;
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
}

/// Polls `future` in a stack frame of its own, so that on a chip a tool call does not also need the
/// stack space of a request.
#[cfg_attr(target_os = "none", inline(never))]
fn poll_apart<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    future.poll(cx)
}

/// Returns the output of `future`, or `None` if the run is cancelled first or `until` passes.
async fn while_wanted<C: Clock, H: Hooks, F: Future>(
    clock: &C,
    hooks: &H,
    until: Option<Instant>,
    mut future: Pin<&mut F>,
) -> Option<F::Output> {
    let mut wait = pin!(until.map(|until| clock.wait_until(until)));
    poll_fn(|cx| {
        if let Poll::Ready(output) = poll_apart(future.as_mut(), cx) {
            return Poll::Ready(Some(output));
        }
        if hooks.poll_cancelled(cx).is_ready() {
            return Poll::Ready(None);
        }
        wait.as_mut().as_pin_mut().map_or(Poll::Pending, |wait| wait.poll(cx).map(|()| None))
    })
    .await
}

/// Reports the answer to call `i` to an observer, if it was answered.
pub fn tell_result<O: Observer>(run: &Run<'_>, i: usize, observer: &mut O) {
    if let Some(event) = run.tool_end(i) {
        observer.see(&event);
    }
}
