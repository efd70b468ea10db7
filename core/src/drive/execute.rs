//! Where calls run: the seam between the loop and its executors.
//!
//! The loop admits a call and marks it as started in the run, then gives it to an [`Execute`]. An
//! executor decides nothing: gate, input, tool and time limit are one function, [`work`], which
//! every executor polls wherever it has memory for the result.
//!
//! | Executor | Calls at once | Memory of a call |
//! |---|---|---|
//! | [`Serial`] | one | the free end of the transcript |
//! | [`Fixed`](super::Fixed) | a constant number | a buffer of the caller's for each |
//! | `Concurrent` of `toolrunner-std` | as many as are set | a `Vec` for each |

use core::future::{pending, poll_fn};
use core::pin::pin;
use core::task::{Context, Poll};
use core::time::Duration;

use super::hooks::{Draft, Hooks, Verdict};
use super::wait::unless_over;
use crate::error::Error;
use crate::json::{Kind, Value};
#[cfg(feature = "alloc")]
use crate::run::ToolAnswer;
use crate::run::{CallInFlight, CallIndex, Run, WrittenResult};
use crate::time::{Clock, Instant};
use crate::tool::{Definition, GateInput, Notice, Output, ToolCall, ToolError, ToolHost, Toolbox};

/// The surroundings of a call: the tools, the hooks and the clock.
#[derive(Debug)]
pub struct Env<'e, B: ?Sized, H, C> {
    /// The tools.
    pub tools: &'e B,
    /// The hooks.
    pub hooks: &'e H,
    /// The clock.
    pub clock: &'e C,
}

impl<B: ?Sized, H, C> Clone for Env<'_, B, H, C> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: ?Sized, H, C> Copy for Env<'_, B, H, C> {}

/// A call that was admitted: it is marked as started in the run, and only its gate can still refuse
/// it.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// The call.
    pub call: CallIndex,
    /// The index of its tool.
    pub tool: usize,
    /// Whether the gate decides about it.
    pub is_asked: bool,
    /// When the run's time is over.
    pub deadline: Option<Instant>,
}

/// The end of a call, as plain data. The content of an answer stays where it was written until
/// [`Execute::put`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    /// The tool or the gate has written an answer.
    Answer(WrittenResult),
    /// The caller must answer: the gate suspended the call, or its tool asked a question.
    ForCaller,
    /// The gate changed the input to something other than an object.
    NotRun,
    /// The tool exceeded its time limit.
    TimedOut(Duration),
}

impl Conclusion {
    /// Returns the text that the model receives if nothing was written, or `None` if there is an
    /// answer or nobody has answered yet.
    pub const fn notice(self) -> Option<Notice<'static>> {
        match self {
            Self::Answer(_) | Self::ForCaller => None,
            Self::NotRun => Some(Notice::NotRun),
            Self::TimedOut(limit) => Some(Notice::TimedOut(limit)),
        }
    }

    /// Returns the content of the answer and whether it is an error, for an executor that has
    /// memory of its own. `written` is what was written to its output. Returns `None` if nobody has
    /// answered yet.
    #[cfg(feature = "alloc")]
    pub fn content(self, mut written: alloc::vec::Vec<u8>) -> Option<(alloc::vec::Vec<u8>, bool)> {
        let notice = match self {
            Self::Answer(answer) => match answer.of(&written).map(<[u8]>::len) {
                Ok(len) => {
                    written.truncate(len);
                    return Some((written, answer.is_error()));
                }
                Err(full) => Notice::TooLarge(full),
            },
            _ => self.notice()?,
        };
        written.clear();
        // A `Vec` is never full.
        let _ = notice.write_json(&mut written);
        Some((written, true))
    }
}

/// Makes an answer the result of call `i`, for an executor with memory of its own. `after` sees the
/// answer first and can shorten one that would not fit.
///
/// # Errors
/// Those of [`Run::answer_checked`].
#[cfg(feature = "alloc")]
pub fn put_own(
    run: &mut Run<'_>,
    i: CallIndex,
    (mut content, mut is_error): (alloc::vec::Vec<u8>, bool),
    after: impl FnOnce(&mut Draft<'_, '_>),
) -> Result<(), Error> {
    let call = run.call(i).ok_or(crate::error::Misuse::NoSuchCall)?;
    after(&mut Draft::own(call, &mut content, &mut is_error));
    run.answer_checked(i, ToolAnswer::ok_json(&content).with_error(is_error))
}

/// A call that is done.
#[derive(Clone, Copy, Debug)]
pub struct CallEnd {
    /// The call.
    pub call: CallIndex,
    /// The executor's own number for it.
    pub slot: usize,
    /// How it ended.
    pub conclusion: Conclusion,
}

/// Runs calls that the loop has admitted.
#[allow(
    async_fn_in_trait,
    reason = "a driver is generic over its executor, so whether its future is Send follows from the executor's"
)]
pub trait Execute<B: Toolbox + ?Sized, H: Hooks, C: Clock> {
    /// Whether calls run in memory of their own, so that several can run at once, and while a reply
    /// is being received.
    const BESIDE: bool = true;

    /// Returns whether another call may start now.
    fn has_room(&self) -> bool;

    /// Returns whether no call is running.
    fn is_idle(&self) -> bool;

    /// Takes a call, which is running in `run` from now on. The executor
    /// [has room](Self::has_room) for it.
    ///
    /// # Errors
    /// `Misuse` if the run has no such call.
    fn start(&mut self, run: &Run<'_>, job: Job, env: Env<'_, B, H, C>) -> Result<(), Error>;

    /// Returns the next call that is done. Pending if none is running.
    fn poll_finished(&mut self, context: &mut Context<'_>) -> Poll<CallEnd>;

    /// Waits for the next call that is done. Override it to run calls in the memory of `run`.
    ///
    /// # Errors
    /// Those of [`Run::start_in_place`].
    async fn next_finished(
        &mut self,
        run: &mut Run<'_>,
        env: Env<'_, B, H, C>,
    ) -> Result<CallEnd, Error> {
        let _ = (run, env);
        Ok(poll_fn(|context| self.poll_finished(context)).await)
    }

    /// Returns whether a finished call is the one that `run` has under its number: the run may have
    /// moved on to another turn. By default it is.
    fn holds(&self, run: &Run<'_>, finished: CallEnd) -> bool {
        let _ = (run, finished);
        true
    }

    /// Makes the answer of a finished call its result, and frees its memory. `after` is the hook
    /// that may change the answer. Call it exactly once.
    ///
    /// # Errors
    /// Those of [`Run::answer_checked`].
    fn put(
        &mut self,
        run: &mut Run<'_>,
        finished: CallEnd,
        after: impl FnOnce(&mut Draft<'_, '_>),
    ) -> Result<(), Error>;

    /// Frees the memory of a finished call, whose answer nobody needs.
    fn discard(&mut self, finished: CallEnd);

    /// Drops this call, if it is running.
    fn abort(&mut self, call: CallIndex);

    /// Drops all running calls.
    fn clear(&mut self);
}

/// Runs one call to its end: asks the gate, then runs the tool within its time limit. Everything is
/// written to `out`; the output must be empty.
pub async fn work<B: Toolbox + ?Sized, H: Hooks, C: Clock>(
    env: Env<'_, B, H, C>,
    job: Job,
    mut call: ToolCall<'_>,
    mut out: Output<'_>,
) -> Conclusion {
    call.host = env.hooks.host();
    let verdict =
        if job.is_asked { env.hooks.before(&call, &mut out).await } else { Verdict::Allow };
    match verdict {
        Verdict::Allow => out.clear(),
        Verdict::Answer => return Conclusion::Answer(WrittenResult::new(Ok(()), out)),
        Verdict::Deny => return Conclusion::Answer(WrittenResult::new(Err(denied(&mut out)), out)),
        Verdict::Input => {}
        Verdict::Suspend => return Conclusion::ForCaller,
    }
    let limit = env.tools.definition(job.tool).and_then(|tool| tool.timeout);
    let own = limit.map(|limit| env.clock.now().after(limit));
    call.deadline = match (own, job.deadline) {
        (Some(own), Some(deadline)) => Some(own.min(deadline)),
        (own, deadline) => own.or(deadline),
    };
    // Split in any case, so that there is one future of the tool.
    let (mut given, mut out) = match verdict {
        Verdict::Input => out.split_input(),
        _ => (GateInput::NONE, out.by_ref()),
    };
    if verdict == Verdict::Input {
        let (json, scratch) = given.parts();
        match Value::whole(json).filter(|input| input.kind() == Kind::Object) {
            Some(input) => call.input = input,
            None => return Conclusion::NotRun,
        }
        if scratch.len() > call.scratch.len() {
            call.scratch = scratch;
        }
    }
    let host = call.host;
    let result = {
        let mut tool = pin!(env.tools.call(job.tool, call, &mut out));
        let mut wait = pin!(own.map(|own| env.clock.wait_until(own)));
        // No hooks: the caller decides what a cancellation does to the call.
        poll_fn(|context| unless_over(tool.as_mut().poll(context), &(), wait.as_mut(), context))
            .await
    };
    match result {
        None => Conclusion::TimedOut(limit.unwrap_or_default()),
        Some(_) if host.is_some_and(ToolHost::waits_for_answer) => Conclusion::ForCaller,
        Some(result) => Conclusion::Answer(WrittenResult::new(result, out)),
    }
}

/// Returns the error of a call that the gate denied, with a text of its own if the gate wrote none.
pub fn denied(out: &mut Output<'_>) -> ToolError {
    if out.is_blank() {
        return ToolError::new(Verdict::NOT_ALLOWED);
    }
    ToolError::written()
}

/// Returns whether a call of this tool must wait for a running call of its serial group.
pub(super) fn is_serial_with(tool: Option<Definition<'_>>, other: Option<Definition<'_>>) -> bool {
    matches!(
        [tool, other].map(|tool| tool.and_then(|tool| tool.serial)),
        [Some(group), Some(other)] if group == other
    )
}

/// Runs one call at a time, in the run's own memory: without a heap, and without a copy of the
/// input or of the result.
///
/// If the future that drives the run is dropped while a call runs, the call is answered as
/// cancelled.
#[derive(Debug, Default)]
pub struct Serial(Option<Job>);

impl Serial {
    /// Creates an executor.
    pub const fn new() -> Self {
        Self(None)
    }
}

impl<B: Toolbox + ?Sized, H: Hooks, C: Clock> Execute<B, H, C> for Serial {
    const BESIDE: bool = false;

    fn has_room(&self) -> bool {
        self.0.is_none()
    }

    fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    fn start(&mut self, _: &Run<'_>, job: Job, _: Env<'_, B, H, C>) -> Result<(), Error> {
        self.0 = Some(job);
        Ok(())
    }

    fn poll_finished(&mut self, _: &mut Context<'_>) -> Poll<CallEnd> {
        Poll::Pending
    }

    async fn next_finished(
        &mut self,
        run: &mut Run<'_>,
        env: Env<'_, B, H, C>,
    ) -> Result<CallEnd, Error> {
        // Taken before the tool runs: if this future is dropped, the call does not run again.
        let Some(job) = self.0.take() else { return pending().await };
        let CallInFlight { call, out } = run.start_in_place(job.call)?;
        let conclusion = work(env, job, call, out).await;
        Ok(CallEnd { call: job.call, slot: 0, conclusion })
    }

    fn put(
        &mut self,
        run: &mut Run<'_>,
        CallEnd { call, conclusion, .. }: CallEnd,
        after: impl FnOnce(&mut Draft<'_, '_>),
    ) -> Result<(), Error> {
        if let Conclusion::Answer(written) = conclusion {
            run.end_in_place(call, written)?;
        } else if let Some(notice) = conclusion.notice() {
            run.answer_notice(call, notice)?;
        } else {
            return Ok(());
        }
        after(&mut Draft::new(run, call));
        Ok(())
    }

    fn discard(&mut self, _: CallEnd) {}

    fn abort(&mut self, call: CallIndex) {
        if self.0.is_some_and(|job| job.call == call) {
            self.0 = None;
        }
    }

    fn clear(&mut self) {
        self.0 = None;
    }
}
