//! The executor: each call runs on a thread of its own, and the run polls what they bring. Each
//! call owns a copy of its input. Panics stay in the call.

use core::fmt;
use core::future::Future;
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::panic::catch_unwind;
use std::sync::Arc;
use std::thread;

use futures_channel::oneshot;
use toolrunner_core::__private::client::OwnedCall;
use toolrunner_core::__private::drive::{CallEnd, Conclusion, Env, Execute, Job, put_own, work};
use toolrunner_core::__private::{Notice, gate};
use toolrunner_core::drive::{Draft, Hooks, Verdict};
use toolrunner_core::error::{Error as CoreError, Misuse};
use toolrunner_core::run::{CallIndex, Run as Machine};
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, ToolHost, Toolbox};

use crate::cancellation::Cancellation;
use crate::clock::SystemClock;
use crate::hooks::{Control, Gate};
use crate::tools::Toolset;

/// A call that is done.
struct CompletedCall {
    call: CallIndex,
    conclusion: Conclusion,
    /// The content of the answer, and whether it is an error. `None` if the caller must answer.
    answer: Option<(Vec<u8>, bool)>,
}

/// A call that is running.
struct RunningCall {
    call: CallIndex,
    cancellation: Cancellation,
    work: Pin<Box<dyn Future<Output = CompletedCall> + Send>>,
}

/// Runs up to `concurrency` calls at once.
pub(crate) struct Threads {
    concurrency: usize,
    running: Vec<RunningCall>,
    /// The call that is done, until its answer is taken.
    done: Option<CompletedCall>,
}

impl fmt::Debug for Threads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Threads({})", self.running.len())
    }
}

impl Threads {
    pub(crate) const fn new(concurrency: usize) -> Self {
        Self { concurrency, running: Vec::new(), done: None }
    }

    /// Drops the calls for which `is_over` returns true. Their threads are asked to end.
    pub(crate) fn drop_calls(&mut self, is_over: impl Fn(CallIndex) -> bool) {
        self.running.retain(|running| {
            if is_over(running.call) {
                running.cancellation.cancel();
            }
            !is_over(running.call)
        });
    }
}

impl Execute<Toolset, Control, SystemClock> for Threads {
    fn has_room(&self) -> bool {
        self.running.len() < self.concurrency
    }

    fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    fn start(
        &mut self,
        run: &Machine<'_>,
        job: Job,
        env: Env<'_, Toolset, Control, SystemClock>,
    ) -> Result<(), CoreError> {
        let call = run.call(job.call).ok_or(Misuse::NoSuchCall)?;
        let cancellation = env.hooks.call();
        let threaded = CallTools(Arc::new(Call {
            own: OwnedCall::new(run, &call),
            requires_approval: env
                .tools
                .definition(job.tool)
                .is_some_and(|definition| definition.requires_approval),
            tools: env.tools.clone(),
            gate: env.hooks.gate.clone(),
            host: Host(cancellation.clone()),
        }));
        let work = Box::pin(threaded.run(job, *env.clock));
        self.running.push(RunningCall { call: job.call, cancellation, work });
        Ok(())
    }

    fn poll_finished(&mut self, context: &mut Context<'_>) -> Poll<CallEnd> {
        for i in 0..self.running.len() {
            if let Poll::Ready(done) = self.running[i].work.as_mut().poll(context) {
                self.running.remove(i);
                let finished = CallEnd { call: done.call, slot: 0, conclusion: done.conclusion };
                self.done = Some(done);
                return Poll::Ready(finished);
            }
        }
        Poll::Pending
    }

    fn put(
        &mut self,
        run: &mut Machine<'_>,
        finished: CallEnd,
        after: impl FnOnce(&mut Draft<'_, '_>),
    ) -> Result<(), CoreError> {
        let done = self.done.take().filter(|done| done.call == finished.call);
        match done.ok_or(Misuse::NoSuchCall)?.answer {
            Some(answer) => put_own(run, finished.call, answer, after),
            None => Ok(()),
        }
    }

    fn discard(&mut self, _: CallEnd) {
        self.done = None;
    }

    fn abort(&mut self, call: CallIndex) {
        self.drop_calls(|running| running == call);
    }

    fn clear(&mut self) {
        self.drop_calls(|_| true);
        self.done = None;
    }
}

/// Everything that a call needs, so that it can run on any thread.
struct Call {
    own: OwnedCall,
    requires_approval: bool,
    tools: Toolset,
    gate: Option<Arc<Gate>>,
    host: Host,
}

/// Tells a tool that its call was cancelled.
struct Host(Cancellation);

impl ToolHost for Host {
    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }

    fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
        self.0.poll(context)
    }
}

/// The tools and the gate of one call, which own everything. Its future runs on the run's thread,
/// the gate and the tool themselves on others, so that the run waits for time limits and
/// cancellation too.
struct CallTools(Arc<Call>);

impl CallTools {
    async fn run(self, job: Job, clock: SystemClock) -> CompletedCall {
        let mut content = Vec::new();
        let input = self.0.own.input();
        let mut scratch = OwnedCall::scratch(input);
        let call = self.0.own.tool_call(input, &mut scratch);
        let env = Env { tools: &self, hooks: &self, clock: &clock };
        let conclusion = work(env, job, call, Output::growing(&mut content)).await;
        if let Conclusion::TimedOut(_) = conclusion {
            // The tool is on another thread, which nobody can stop.
            self.0.host.0.cancel();
        }
        CompletedCall { call: job.call, conclusion, answer: conclusion.content(content) }
    }
}

/// Runs `work` on a thread of its own. Returns its result, or a notice for the model if it panicked
/// or could not run.
async fn on_a_thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Notice<'static>> {
    let (give, result) = oneshot::channel();
    let spawned = thread::Builder::new().name(name.to_owned()).spawn(move || {
        // The send fails if the run no longer waits, and then nobody needs the result.
        let _ = give.send(catch_unwind(AssertUnwindSafe(work)));
    });
    spawned.map_err(|_| Notice::NotRun)?;
    match result.await {
        // The panic hook has printed the message; the model does not receive it.
        Ok(done) => done.map_err(|_| Notice::Panicked),
        Err(_) => Err(Notice::Cancelled),
    }
}

impl Hooks for CallTools {
    async fn before(&self, call: &ToolCall<'_>, out: &mut Output<'_>) -> Verdict {
        let Some(decide) = self.0.gate.clone() else { return Verdict::Allow };
        let call = gate::gated(call, self.0.requires_approval);
        match on_a_thread("toolrunner-gate", move || decide(call)).await {
            // A mistake becomes `Error: not run`.
            Ok(decision) => gate::carry_out(decision, out).0,
            Err(_) => gate::not_run(out),
        }
    }
}

impl Toolbox for CallTools {
    fn count(&self) -> usize {
        self.0.tools.count()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        self.0.tools.definition(i)
    }

    async fn call(
        &self,
        i: usize,
        given: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let call = Arc::clone(&self.0);
        let (input, deadline) = (given.input.raw().to_vec(), given.deadline);
        let done = on_a_thread("toolrunner-tool", move || {
            let tools = &*call.tools.tools;
            pollster::block_on(call.own.run(tools, i, &input, deadline, &call.host))
        });
        let notice = match done.await {
            Ok((content, error)) => {
                out.content(core::str::from_utf8(&content).unwrap_or_default())?;
                return if error.is_some() { Err(ToolError::written()) } else { Ok(()) };
            }
            Err(notice) => notice,
        };
        notice.write_to(out)?;
        Err(ToolError::written())
    }
}
