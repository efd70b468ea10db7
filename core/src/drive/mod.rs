//! The driver combines a run, a transport, tools and a clock. It is the same on a server and on a
//! microcontroller.
//!
//! ```text
//!  front end   Driver::until_done, next_turn, results, allow         toolrunner_std::Run
//!                    │ folds over                                       │ folds over
//!                    ▼                                                  ▼
//!              Loop::progress ── the only loop over Run::step; returns Progress, plain data
//!                    │ admits a call (`admit`), marks it as started in the run, and gives it to
//!                    ▼
//!              Execute ── Serial, Fixed, or the server's: polls `work` where the call has memory
//!                    ▼
//!              work ── gate, input, tool and its time limit
//! ```
//! Any future of this module may be dropped at any time: the next call finds what was abandoned.

pub(crate) mod admit;
pub(crate) mod execute;
mod extras;
pub(crate) mod fixed;
mod hooks;
pub(crate) mod progress;
pub(crate) mod reply;
mod wait;

use core::pin::pin;

use crate::error::{Error, Misuse};
use crate::observe::Observer;
use crate::run::{CallIndex, Outcome, Run};
use crate::time::Clock;
use crate::tool::{Toolbox, check_tools};
use crate::transport::Transport;
use crate::wire::{Config, MessageThread};

use execute::Execute;
pub use execute::Serial;
use extras::Configure;
pub use fixed::Fixed;
pub use hooks::{Draft, Hooks, Verdict};
use progress::{Loop, Progress, Stop};
pub use reply::DriveError;
use reply::Exchange;

/// Drives runs, one after another. The tools and the configuration are borrowed, so that they can
/// be statics on a chip.
#[derive(Debug)]
pub struct Driver<'d, T, B: ?Sized, C, H = (), X = Serial> {
    config: Config<'d>,
    transport: T,
    turns: Loop<&'d B, C, H, X>,
    /// Applies the configuration to a run, if there is something to apply: see [`extras`].
    configure: Option<Configure<B>>,
}

impl<'d, T: Transport, B: Toolbox + ?Sized, C: Clock> Driver<'d, T, B, C> {
    /// Creates a driver.
    ///
    /// # Errors
    /// `Misuse` if the configuration cannot be part of a request (see [`Config::check`]), or if the
    /// name or the definition of a tool is invalid, or two tools have the same name.
    // Inlined, so that the compiler sees whether a constant configuration has limits.
    #[inline]
    pub fn new(config: Config<'d>, transport: T, tools: &'d B, clock: C) -> Result<Self, Misuse> {
        config.check_beside(tools.count())?;
        check_tools(tools)?;
        let configure = if config.message_thread != MessageThread::Off {
            Some(extras::enable_thread_settings())
        } else if config.configures_runs() {
            Some(extras::enable_run_settings())
        } else {
            None
        };
        let turns = Loop::new(tools, clock, (), Serial::new());
        Ok(Self { config, transport, turns, configure })
    }
}

impl<'d, T, B: ?Sized, C, H, X> Driver<'d, T, B, C, H, X> {
    /// Replaces the hooks, which decide about calls, look at results, and end a run from outside.
    pub fn hooks<N: Hooks>(self, hooks: N) -> Driver<'d, T, B, C, N, X> {
        let Self { config, transport, turns, configure } = self;
        let Loop { tools, clock, executor, is_eager, .. } = turns;
        let turns = Loop { is_eager, ..Loop::new(tools, clock, hooks, executor) };
        Driver { config, transport, turns, configure }
    }

    /// Replaces the executor, which runs the calls: one at a time by default.
    pub fn executor<N>(self, executor: N) -> Driver<'d, T, B, C, H, N> {
        let Self { config, transport, turns, configure } = self;
        let Loop { tools, clock, hooks, is_eager, .. } = turns;
        let turns = Loop { is_eager, ..Loop::new(tools, clock, hooks, executor) };
        Driver { config, transport, turns, configure }
    }

    /// Sets whether a call may start while its reply is still streaming, if the executor has memory
    /// of its own for it, as [`Fixed`] has. Default: no.
    ///
    /// A call starts when the model has moved on from it. A reply is never discarded once one of
    /// its calls has started: if it ends early, its complete blocks stay, and the run continues
    /// with the results. Results of early calls wait on the heap until the reply ends.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn eager(mut self, is_eager: bool) -> Self {
        self.turns.is_eager = is_eager;
        self
    }

    /// Returns the configuration, which may be changed between turns. Its limits and retry policy
    /// apply to runs that begin afterwards. For a run in progress use [`Run::limits_mut`] and
    /// [`Run::retry_policy_mut`].
    pub const fn config_mut(&mut self) -> &mut Config<'d> {
        if self.configure.is_none() {
            self.configure = Some(extras::enable_run_settings());
        }
        &mut self.config
    }

    /// Returns the transport.
    pub const fn transport_mut(&mut self) -> &mut T {
        &mut self.transport
    }
}

impl<T, B, C, H, X> Driver<'_, T, B, C, H, X>
where
    T: Transport,
    B: Toolbox + ?Sized,
    C: Clock,
    H: Hooks,
    X: Execute<B, H, C>,
{
    /// Drives `run` until it is over.
    ///
    /// # Errors
    /// See [`Error`]. The run can continue: call this method again.
    pub fn until_done<O: Observer>(
        &mut self,
        run: &mut Run<'_>,
        observer: &mut O,
    ) -> impl Future<Output = Result<Outcome, DriveError<T::Error>>> {
        // The run goes on after a turn.
        self.fold(run, observer, Stop::AtEnd, |outcome| outcome)
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
        self.fold(run, observer, Stop::AtEnd, Some).await
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
        self.fold(run, observer, Stop::BeforeSend, |_| Some(())).await
    }

    /// Runs call `i`, which was suspended ([`Verdict::Suspend`]), without asking the gate again.
    /// It starts by the rules of all calls: not if the run was stopped, or if a limit forbids it.
    /// The run then continues as before.
    ///
    /// # Errors
    /// `Misuse` if call `i` does not wait for the caller. The run can continue.
    pub async fn allow<O: Observer>(
        &mut self,
        run: &mut Run<'_>,
        i: CallIndex,
        observer: &mut O,
    ) -> Result<(), DriveError<T::Error>> {
        if !run.is_for_caller(i) {
            return Err(Error::from(Misuse::NoSuchCall).into());
        }
        run.allow(i);
        self.results(run, observer).await
    }

    /// Drives `run` to `stop`, to the end of a turn, or until it is over. At each of these points
    /// calls `end`, with the outcome if the run is over. Returns what `end` returns, and continues
    /// if that is `None`.
    async fn fold<O: Observer, R>(
        &mut self,
        run: &mut Run<'_>,
        observer: &mut O,
        stop: Stop,
        end: impl Fn(Option<Outcome>) -> Option<R>,
    ) -> Result<R, DriveError<T::Error>> {
        if let Some(configure) = self.configure {
            configure(run, &self.config, self.turns.tools)?;
        }
        let Self { config, transport, turns, .. } = self;
        let mut sends = false;
        loop {
            // A new one for each request, so that its borrow of the transport ends before the next
            // one begins.
            let mut exchange = Exchange::Idle;
            if sends {
                let deadline = run.deadline();
                // This is `while_wanted` without a future of its own, which saves 248 bytes of
                // flash.
                let mut opening = pin!(reply::open(run, config, turns.tools, transport));
                let mut wait = pin!(deadline.map(|deadline| turns.clock.wait_until(deadline)));
                let opened = core::future::poll_fn(|context| {
                    let opened = wait::poll_apart(opening.as_mut(), context);
                    wait::unless_over(opened, &turns.hooks, wait.as_mut(), context)
                });
                if let Some(opened) = opened.await {
                    exchange = opened;
                }
            }
            loop {
                let progress = match turns.progress(run, &mut exchange, stop).await {
                    Ok(progress) => progress,
                    Err(error) => {
                        return Err(DriveError { error, transport: exchange.take_error() });
                    }
                };
                // The events of a summary are internal.
                if !(turns.is_summary() && matches!(progress, Progress::StreamEvent(_))) {
                    tell(run, progress, observer);
                }
                let outcome = match progress {
                    Progress::Done(outcome) => Some(outcome),
                    Progress::TurnEnd | Progress::Idle => None,
                    Progress::Send if stop == Stop::AtEnd => break,
                    Progress::Send => None,
                    _ => continue,
                };
                if let Some(value) = end(outcome) {
                    return Ok(value);
                }
            }
            sends = true;
        }
    }
}

/// Shows what happened to an observer.
fn tell<O: Observer>(run: &mut Run<'_>, progress: Progress, observer: &mut O) {
    if let Some(event) = progress.event(run, observer.hands_on()) {
        observer.see(&event);
    }
}
