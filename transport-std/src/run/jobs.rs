//! Calls under way. Each owns a copy of its input, so that nothing is lost when the driver's future
//! is dropped.

use core::any::Any;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use std::sync::Arc;
use toolrunner_core::__private::Notice;

use futures_util::future::{AbortHandle, Abortable, Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use toolrunner_core::json::{Text, Value};
use toolrunner_core::time::{Clock, Instant};
use toolrunner_core::tool::{Output, ToolCall, ToolError, ToolHost};
use tracing::{Instrument, Span};

use super::apart::Apart;
use super::blocking;
use super::gate::{Decision, DynGate, GatedCall};
use super::notice::notice;
use super::tools::{DynTools, Entry};
use crate::clock::SharedClock;
use crate::escaped::Escaped;

/// A call that is done.
pub(super) struct Done {
    pub(super) call: usize,
    pub(super) end: JobEnd,
}

/// How a job ended.
pub(super) enum JobEnd {
    /// With a result: the content in wire format, and whether it is an error.
    Answer(Vec<u8>, bool),
    /// The gate left the call to the caller.
    Suspended,
    /// The tool asked this question.
    Asked(String),
}

impl From<(Vec<u8>, bool)> for JobEnd {
    fn from((content, is_error): (Vec<u8>, bool)) -> Self {
        Self::Answer(content, is_error)
    }
}

/// Everything that a call needs, so that it can run on any thread.
pub(super) struct Job {
    pub(super) call: usize,
    pub(super) id: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) input: Vec<u8>,
    pub(super) turn: u32,
    pub(super) entry: Entry,
    pub(super) tools: Arc<dyn DynTools>,
    pub(super) state: Option<Arc<dyn Any + Send + Sync>>,
    /// Decides before the tool runs; `None` if the caller has already decided.
    pub(super) gate: Option<Arc<dyn DynGate>>,
    /// The answers to the tool's questions in earlier calls, in order.
    pub(super) answers: Arc<[String]>,
}

type Running = Abortable<Apart<Pin<Box<dyn Future<Output = Done> + Send>>>>;

/// The calls of a turn that are running.
#[derive(Default)]
pub(super) struct Jobs {
    /// The number of the run that the calls belong to.
    run: u64,
    running: FuturesUnordered<Running>,
    /// The calls in `running` that were not aborted.
    list: Vec<Entered>,
    /// Requests all running tools to end.
    cancel: CancellationToken,
}

struct Entered {
    call: usize,
    serial: Option<Arc<str>>,
    abort: AbortHandle,
    /// Requests this call alone to end.
    cancel: CancellationToken,
}

impl core::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Jobs({})", self.len())
    }
}

impl Jobs {
    /// Creates an empty list for the run of this number.
    pub(super) fn of(run: u64) -> Self {
        Self { run, ..Self::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Returns whether no call of the tool's serial group is running.
    pub(super) fn may_start(&self, entry: &Entry) -> bool {
        entry.serial.is_none() || self.list.iter().all(|entered| entered.serial != entry.serial)
    }

    /// Starts a call inside the span `traced`; `ends` records its end there.
    pub(super) fn start(
        &mut self,
        job: Job,
        clock: SharedClock,
        traced: Span,
        ends: impl FnOnce(&Span, &Done) + Send + 'static,
    ) {
        if self.cancel.is_cancelled() {
            self.cancel = CancellationToken::new();
        }
        let (abort, registration) = AbortHandle::new_pair();
        let cancel = self.cancel.child_token();
        self.list.push(Entered {
            call: job.call,
            serial: job.entry.serial.clone(),
            abort,
            cancel: cancel.clone(),
        });
        // Inside the caller's span, and around the tool's own log lines.
        let span = tracing::error_span!("call", run = self.run, tool = %one_line(&job.name), call = %one_line(&job.id));
        let work = job.run(clock, cancel).instrument(span);
        let work: Pin<Box<dyn Future<Output = Done> + Send>> = match traced.is_disabled() {
            true => Box::pin(work),
            false => Box::pin(async move {
                let done = work.instrument(traced.clone()).await;
                ends(&traced, &done);
                done
            }),
        };
        self.running.push(Abortable::new(Apart::new(work), registration));
    }

    /// Waits for the next call that is done.
    pub(super) async fn next(&mut self) -> Option<Done> {
        loop {
            let Some(next) = self.running.next().await else {
                // Nothing is running, whatever the list contains. Calls still in it are answered as
                // cancelled.
                self.list.clear();
                return None;
            };
            // An aborted call is no longer in the list. Panics of tools and gates were caught
            // before this point.
            if let Ok(Ok(done)) = next {
                self.list.retain(|entered| entered.call != done.call);
                return Some(done);
            }
        }
    }

    /// Releases unused memory.
    pub(super) fn shrink_to_fit(&mut self) {
        self.list.shrink_to_fit();
    }

    /// Drops this call if it is running. Its token is cancelled too, because it may be on another
    /// thread.
    pub(super) fn abort(&mut self, call: usize) {
        self.list.retain(|entered| {
            if entered.call == call {
                entered.cancel.cancel();
                entered.abort.abort();
            }
            entered.call != call
        });
        if self.list.is_empty() {
            self.running.clear();
        }
    }

    /// Requests all running calls to end.
    pub(super) fn cancel(&self) {
        self.cancel.cancel();
    }

    /// Drops all running calls. Their tokens are cancelled too, because they may be on other
    /// threads.
    pub(super) fn clear(&mut self) {
        if !self.list.is_empty() {
            self.cancel.cancel();
        }
        self.running.clear();
        self.list.clear();
    }

    /// Returns the calls that are running.
    pub(super) fn calls(&self) -> Vec<usize> {
        self.list.iter().map(|entered| entered.call).collect()
    }
}

/// Implements the context of a tool for this front end.
struct Host {
    cancel: CancellationToken,
    /// Created when a tool waits for it.
    waiting: std::sync::Mutex<Option<Pin<Box<WaitForCancellationFutureOwned>>>>,
    state: Option<Arc<dyn Any + Send + Sync>>,
    answers: Arc<[String]>,
    /// The number of questions that the tool has asked in this call.
    asked: AtomicUsize,
    /// The first question without an answer.
    question: std::sync::Mutex<Option<String>>,
}

impl ToolHost for Host {
    fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.cancel.is_cancelled() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        waiting
            .get_or_insert_with(|| Box::pin(self.cancel.clone().cancelled_owned()))
            .as_mut()
            .poll(context)
    }

    fn ask(&self, question: &str) -> Result<Option<&str>, ToolError> {
        let answer = self.answers.get(self.asked.fetch_add(1, Ordering::Relaxed));
        if answer.is_none() {
            let mut first = self.question.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            first.get_or_insert_with(|| question.to_owned());
        }
        Ok(answer.map(String::as_str))
    }

    fn state(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.state.as_deref()
    }
}

impl Job {
    async fn run(mut self, clock: SharedClock, cancel: CancellationToken) -> Done {
        let (call, limit) = (self.call, self.entry.timeout);
        if let Some(gate) = self.gate.take() {
            match Apart::new(gate.dyn_decide(self.gated())).await {
                Ok(Decision::Allow) => {}
                Ok(Decision::Suspend) => return Done { call, end: JobEnd::Suspended },
                Ok(Decision::Input(json)) => self.input = json.into_bytes(),
                Ok(Decision::Answer { content, is_error }) => {
                    return Done { call, end: (content.into_bytes(), is_error).into() };
                }
                // The gate did not allow the call.
                Err(panic) => {
                    tracing::error!("the gate panicked: {}", Escaped(&panic));
                    return Done { call, end: notice(Notice::NotRun).into() };
                }
            }
        }
        let deadline = limit.map(|limit| clock.now().after(limit));
        // A tool that timed out is cancelled too, because it may be on another thread.
        let told = cancel.clone();
        let work = Apart::new(Box::pin(self.work(deadline, cancel)));
        let done = match (limit, deadline) {
            (Some(limit), Some(deadline)) => match select(work, clock.wait_until(deadline)).await {
                Either::Left((done, _)) => done,
                Either::Right(((), _)) => {
                    told.cancel();
                    tracing::error!("tool timed out after {limit:?}");
                    Ok(notice(Notice::TimedOut(limit)).into())
                }
            },
            _ => work.await,
        };
        let end = done.unwrap_or_else(|panic| {
            tracing::error!("tool panicked: {}", Escaped(&panic));
            notice(Notice::Panicked).into()
        });
        Done { call, end }
    }

    fn gated(&self) -> GatedCall {
        GatedCall {
            id: Text::from_raw(&self.id).to_string(),
            name: Text::from_raw(&self.name).to_string(),
            input: String::from_utf8_lossy(&self.input).into_owned(),
            turn: self.turn,
        }
    }

    async fn work(self, deadline: Option<Instant>, cancel: CancellationToken) -> JobEnd {
        if self.entry.blocking {
            blocking::run(move || self.call(deadline, cancel)).await
        } else {
            self.call(deadline, cancel).await
        }
    }

    async fn call(self, deadline: Option<Instant>, cancel: CancellationToken) -> JobEnd {
        let mut scratch =
            if self.input.contains(&b'\\') { vec![0; self.input.len()] } else { Vec::new() };
        let mut content = Vec::new();
        let Some(input) = Value::first(&self.input) else { return notice(Notice::NotRun).into() };
        let host = Host {
            cancel,
            waiting: std::sync::Mutex::new(None),
            state: self.state.clone(),
            answers: Arc::clone(&self.answers),
            asked: AtomicUsize::new(0),
            question: std::sync::Mutex::new(None),
        };
        let mut call = ToolCall::new(
            Text::from_raw(&self.id),
            Text::from_raw(&self.name),
            input,
            &mut scratch,
        );
        call.turn = self.turn;
        call.deadline = deadline;
        call.host = Some(&host);
        let mut out = Output::growing(&mut content);
        let result = self.tools.dyn_call(self.entry.index, call, &mut out).await;
        let question =
            host.question.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(question) = question {
            return JobEnd::Asked(question);
        }
        let error = result.as_ref().err();
        let fits = error
            .map_or(Ok(()), |error| error.write_to(&mut out))
            .and_then(|()| out.finish().map(<[u8]>::len));
        let done = match fits {
            Ok(len) => {
                content.truncate(len);
                (content, error.is_some())
            }
            Err(full) => notice(Notice::TooLarge(full)),
        };
        if let Some(error) = error {
            log(error, &done.0);
        }
        done.into()
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
        tracing::warn!("the tool answered with an error: {}", Escaped(text()));
        return;
    }
    let backtrace = error.backtrace().map(|backtrace| tracing::field::display(Escaped(backtrace)));
    tracing::error!(backtrace, "tool failed: {}", Escaped(text()));
}

/// Returns a raw name or id for a log.
fn one_line(raw: &str) -> Escaped<Text<'_>> {
    Escaped(Text::from_raw(raw))
}
