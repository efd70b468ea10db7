//! The executor of a server: calls in memory of their own, up to the configured number at once,
//! polled by the run on any executor. Each call owns a copy of its input, so that nothing is lost
//! when the future that drives the run is dropped. Panics stay in the call.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::sync::{Arc, Mutex, Weak};

use futures_util::future::{AbortHandle, Abortable};
use futures_util::stream::{FuturesUnordered, StreamExt};
use toolrunner_core::__private::client::OwnedCall;
use toolrunner_core::__private::drive::{CallEnd, Conclusion, Env, Execute, Job, put_own, work};
use toolrunner_core::__private::{CallFuture, Notice, gate};
use toolrunner_core::drive::{Draft, Hooks as CoreHooks, Verdict};
use toolrunner_core::error::{Error as CoreError, Misuse};
use toolrunner_core::json::Value;
use toolrunner_core::run::{CallIndex, Run as Machine};
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, ToolHost, Toolbox};
use tracing::Instrument;

use super::apart::{PanicBoundary, run_apart};
use super::blocking;
use super::gate::DynGate;
use super::hooks::Hooks;
use super::host::Host;
use super::tools::Toolset;
use super::trace::Trace;
use crate::EscapedText;
use crate::clock::SharedClock;
use crate::lock::lock;

/// A call that is done.
pub(super) struct CompletedCall {
    call: CallIndex,
    conclusion: Conclusion,
    /// The content of the answer, and whether it is an error. `None` if the caller must answer.
    pub(super) answer: Option<(Vec<u8>, bool)>,
    /// The question that the tool asked.
    question: Option<String>,
}

type JobFuture = Abortable<PanicBoundary<Pin<Box<dyn Future<Output = CompletedCall> + Send>>>>;

/// The calls of a turn that are running, and the spans of the run, in which they run.
pub(super) struct Concurrent {
    /// The number of the run that the calls belong to.
    run: u64,
    /// How many calls may run at the same time.
    pub(super) concurrency: usize,
    running: FuturesUnordered<JobFuture>,
    /// The calls in `running` that were not aborted.
    list: Vec<RunningCall>,
    /// The call that is done, until its answer is taken.
    done: Option<CompletedCall>,
    /// The question of the call that was left to the caller last.
    pub(super) question: Option<String>,
    pub(super) trace: Trace,
}

struct RunningCall {
    call: CallIndex,
    abort: AbortHandle,
    /// Weak, so that what the call owns is dropped with its future, where a panic is caught.
    served: Weak<Call>,
}

impl RunningCall {
    /// Asks the tool to stop.
    fn cancel(&self) {
        if let Some(served) = self.served.upgrade() {
            served.host.cancel();
        }
    }
}

impl core::fmt::Debug for Concurrent {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Concurrent({})", self.list.len())
    }
}

impl Concurrent {
    /// Creates the executor of the run with this number.
    pub(super) fn new(run: u64, concurrency: usize, trace: Trace) -> Self {
        Self {
            run,
            concurrency,
            running: FuturesUnordered::new(),
            list: Vec::new(),
            done: None,
            question: None,
            trace,
        }
    }

    /// Returns the calls that are running.
    pub(super) fn calls(&self) -> Vec<CallIndex> {
        self.list.iter().map(|entered| entered.call).collect()
    }

    /// Drops this call if it is running. Its token is cancelled too, because it may be on another
    /// thread.
    pub(super) fn drop_call(&mut self, call: CallIndex) {
        self.list.retain(|entered| {
            if entered.call == call {
                entered.cancel();
                entered.abort.abort();
            }
            entered.call != call
        });
        if self.list.is_empty() {
            self.running.clear();
        }
    }

    /// Releases unused memory.
    pub(super) fn shrink_to_fit(&mut self) {
        self.list.shrink_to_fit();
    }
}

impl Execute<Toolset, Hooks, SharedClock> for Concurrent {
    fn has_room(&self) -> bool {
        self.list.len() < self.concurrency
    }

    fn is_idle(&self) -> bool {
        self.list.is_empty()
    }

    fn start(
        &mut self,
        run: &Machine<'_>,
        job: Job,
        env: Env<'_, Toolset, Hooks, SharedClock>,
    ) -> Result<(), CoreError> {
        let call = run.call(job.call).ok_or(Misuse::NoSuchCall)?;
        let (abort, registration) = AbortHandle::new_pair();
        let (is_blocking, requires_approval) =
            env.tools.definition(job.tool).map_or((false, false), |definition| {
                (definition.blocking, definition.requires_approval)
            });
        let served = CallTools(Arc::new(Call {
            job,
            clock: env.clock.clone(),
            own: OwnedCall::new(run, &call),
            is_blocking,
            requires_approval,
            tools: env.tools.clone(),
            gate: env.hooks.gate.clone().filter(|_| job.is_asked),
            host: Host::new(
                env.hooks.tools_token(),
                env.hooks.state(),
                env.hooks.answers_of(job.call),
            ),
            failure: Mutex::new(None),
        }));
        let traced = self.trace.call(self.run, &call);
        let ends = self.trace.ends_call();
        self.list.push(RunningCall { call: job.call, abort, served: Arc::downgrade(&served.0) });
        // Inside the caller's span, and around the tool's own log lines.
        let span = tracing::error_span!("call", run = self.run, tool = %EscapedText(call.name), call = %EscapedText(call.id));
        let work = served.run().instrument(span);
        let work: Pin<Box<dyn Future<Output = CompletedCall> + Send>> = match traced.is_disabled() {
            true => Box::pin(work),
            false => Box::pin(async move {
                let done = work.instrument(traced.clone()).await;
                ends(&traced, &done);
                done
            }),
        };
        self.running.push(Abortable::new(PanicBoundary::new(work), registration));
        Ok(())
    }

    fn poll_finished(&mut self, context: &mut Context<'_>) -> Poll<CallEnd> {
        loop {
            let Some(next) = ready!(self.running.poll_next_unpin(context)) else {
                return Poll::Pending;
            };
            // An aborted call is no longer in the list. Panics of tools and gates were caught
            // before this point.
            if let Ok(Ok(done)) = next {
                self.list.retain(|entered| entered.call != done.call);
                let finished = CallEnd { call: done.call, slot: 0, conclusion: done.conclusion };
                self.done = Some(done);
                return Poll::Ready(finished);
            }
        }
    }

    fn put(
        &mut self,
        run: &mut Machine<'_>,
        finished: CallEnd,
        after: impl FnOnce(&mut Draft<'_, '_>),
    ) -> Result<(), CoreError> {
        let done = self.done.take().filter(|done| done.call == finished.call);
        let CompletedCall { answer, question, .. } = done.ok_or(Misuse::NoSuchCall)?;
        if let Some(answer) = answer {
            return put_own(run, finished.call, answer, after);
        }
        self.question = question;
        Ok(())
    }

    fn discard(&mut self, _: CallEnd) {
        self.done = None;
    }

    fn abort(&mut self, call: CallIndex) {
        self.drop_call(call);
    }

    fn clear(&mut self) {
        // Their tokens are cancelled too, because they may be on other threads.
        for entered in self.list.drain(..) {
            entered.cancel();
        }
        self.running.clear();
        self.done = None;
    }
}

/// Everything that a call needs, so that it can run on any thread.
struct Call {
    job: Job,
    clock: SharedClock,
    own: OwnedCall,
    is_blocking: bool,
    requires_approval: bool,
    tools: Toolset,
    /// Decides before the tool runs; `None` if the caller has already decided.
    gate: Option<Arc<dyn DynGate>>,
    host: Host,
    /// The tool's own error, to be logged.
    failure: Mutex<Option<ToolError>>,
}

/// The tools and the hooks of one call, which own everything.
struct CallTools(Arc<Call>);

impl CallTools {
    async fn run(self) -> CompletedCall {
        let Call { job, clock, .. } = &*self.0;
        let mut content = Vec::new();
        let input = self.0.own.input();
        let mut scratch = OwnedCall::scratch(input);
        let call = self.0.own.tool_call(input, &mut scratch);
        let env = Env { tools: &self, hooks: &self, clock };
        let conclusion = work(env, *job, call, Output::growing(&mut content)).await;
        if let Conclusion::TimedOut(limit) = conclusion {
            // The tool may be on another thread.
            self.0.host.cancel();
            tracing::error!("tool timed out after {limit:?}");
        }
        let answer = conclusion.content(content);
        let failure = lock(&self.0.failure).take();
        if let (Some(error), Some((content, _))) = (failure, &answer) {
            log(&error, content);
        }
        let (call, question) = (job.call, self.0.host.take_question());
        // The call may be the last owner of tools that were replaced. If their destructor panics,
        // the answer must not be lost.
        if let Err(panic) = run_apart(|| drop(self)) {
            tracing::error!("a panic while a call's tools were dropped: {}", EscapedText(&panic));
        }
        CompletedCall { call, conclusion, answer, question }
    }

    /// Writes the text of an error that a tool returned.
    fn written(
        &self,
        result: Result<(), ToolError>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let Err(error) = result else { return Ok(()) };
        error.write_to(out)?;
        Err(self.0.keep(error))
    }

    /// Runs the tool on a thread that it may block.
    async fn block(
        &self,
        i: usize,
        given: &ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let call = Arc::clone(&self.0);
        let (input, deadline) = (given.input.raw().to_vec(), given.deadline);
        let done = blocking::run(move || async move {
            call.own.run(&*call.tools.tools, i, &input, deadline, &call.host).await
        });
        let (content, error) = match done.await {
            Ok(done) => done,
            Err(notice) => {
                notice.write_to(out)?;
                return Err(ToolError::written());
            }
        };
        out.content(core::str::from_utf8(&content).unwrap_or_default())?;
        match error {
            Some(error) => Err(self.0.keep(error)),
            None => Ok(()),
        }
    }
}

impl Call {
    /// Keeps an error whose text is already written, to be logged.
    fn keep(&self, error: ToolError) -> ToolError {
        if !self.host.waits_for_answer() {
            *lock(&self.failure) = Some(error);
        }
        ToolError::written()
    }
}

impl Toolbox for CallTools {
    fn count(&self) -> usize {
        self.0.tools.count()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        self.0.tools.definition(i)
    }

    #[expect(clippy::manual_async_fn, reason = "an async fn would hold the call twice")]
    fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> impl Future<Output = Result<(), ToolError>> {
        async move {
            let result = if self.0.is_blocking {
                let work: CallFuture<'_> = Box::pin(self.block(i, &call, out));
                PanicBoundary::new(work).await
            } else {
                // A toolbox may also panic before it returns the future, and an error in its
                // `Display`.
                let result = match run_apart(|| self.0.tools.tools.dyn_call(i, call, out)) {
                    Ok(work) => PanicBoundary::new(work).await,
                    Err(panic) => Err(panic),
                };
                result.and_then(|result| run_apart(|| self.written(result, out)))
            };
            result.unwrap_or_else(|panic| {
                tracing::error!("tool panicked: {}", EscapedText(&panic));
                Notice::Panicked.write_to(out)?;
                Err(ToolError::written())
            })
        }
    }
}

impl CoreHooks for CallTools {
    async fn before(&self, call: &ToolCall<'_>, out: &mut Output<'_>) -> Verdict {
        let Some(decider) = &self.0.gate else { return Verdict::Allow };
        let call = gate::gated(call, self.0.requires_approval);
        match PanicBoundary::new(decider.dyn_decide(call)).await {
            Ok(decision) => {
                let (decision, mistake) = gate::carry_out(decision, out);
                if let Some(mistake) = mistake {
                    tracing::error!("{mistake}");
                }
                decision
            }
            // The gate did not allow the call.
            Err(panic) => {
                tracing::error!("the gate panicked: {}", EscapedText(&panic));
                gate::not_run(out)
            }
        }
    }

    fn host(&self) -> Option<&dyn ToolHost> {
        Some(&self.0.host)
    }
}

/// Logs a tool's error. An error that the tool chose to return to the model is only a warning,
/// because it is not a failure of the program.
fn log(error: &ToolError, content: &[u8]) {
    let text = || {
        Value::first(content)
            .and_then(Value::as_text)
            .map_or_else(|| error.to_string(), |text| text.to_string())
    };
    if error.source().is_none() {
        tracing::warn!("the tool answered with an error: {}", EscapedText(text()));
        return;
    }
    let backtrace =
        error.backtrace().map(|backtrace| tracing::field::display(EscapedText(backtrace)));
    tracing::error!(backtrace, "tool failed: {}", EscapedText(text()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<T, F>(_: impl FnOnce(T) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_call_is_small() {
        // glibc's allocator caches blocks of up to 1,032 bytes.
        let len = size(|served: CallTools| served.run().instrument(tracing::Span::none()));
        assert!(len <= 1032, "{len} bytes");
    }
}
