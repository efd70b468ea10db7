//! Calls under way: each owns a copy of its input, so that nothing is lost when the driver's future is dropped.

use core::panic::AssertUnwindSafe;
use core::pin::{Pin, pin};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};
use toolrunner_core::json::{Text, Value};
use toolrunner_core::tool::{Notice, Output, ToolCall, ToolError};

use super::tools::{DynTools, Entry};
use crate::clock::SharedClock;

/// What a call gave.
pub(super) struct Done {
    pub(super) call: usize,
    pub(super) serial: bool,
    /// The content as it goes on the wire.
    pub(super) content: Vec<u8>,
    pub(super) is_error: bool,
}

/// What a call needs to run anywhere.
pub(super) struct Job {
    pub(super) call: usize,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) input: Vec<u8>,
    pub(super) turn: u32,
    pub(super) entry: Entry,
    pub(super) tools: Arc<dyn DynTools>,
}

/// The calls of a turn that are running.
#[derive(Default)]
pub(super) struct Jobs {
    running: FuturesUnordered<Pin<Box<dyn Future<Output = Done> + Send>>>,
    serial: usize,
}

impl core::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Jobs({})", self.running.len())
    }
}

impl Jobs {
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether a serial call is running, beside which no other may.
    pub(super) const fn has_serial(&self) -> bool {
        self.serial > 0
    }

    pub(super) fn start(&mut self, job: Job, clock: SharedClock) {
        self.serial += usize::from(job.entry.serial);
        self.running.push(Box::pin(job.run(clock)));
    }

    /// The next that is done.
    pub(super) async fn next(&mut self) -> Option<Done> {
        let done = self.running.next().await?;
        self.serial -= usize::from(done.serial);
        Some(done)
    }

    /// Drops all that run.
    pub(super) fn clear(&mut self) {
        self.running.clear();
        self.serial = 0;
    }
}

impl Job {
    async fn run(self, clock: SharedClock) -> Done {
        let (call, serial, limit) = (self.call, self.entry.serial, self.entry.timeout);
        let work = AssertUnwindSafe(self.work());
        let guarded = work.catch_unwind().map(|done| done.unwrap_or_else(|_| notice(Notice::Panicked)));
        let (content, is_error) = match limit {
            None => guarded.await,
            Some(limit) => {
                let deadline = clock.now().after(limit);
                match select(pin!(guarded), clock.wait_until(deadline)).await {
                    Either::Left((done, _)) => done,
                    Either::Right(((), _)) => notice(Notice::TimedOut(limit)),
                }
            }
        };
        Done { call, serial, content, is_error }
    }

    async fn work(self) -> (Vec<u8>, bool) {
        if self.entry.blocking
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let inside = runtime.clone();
            let work = runtime.spawn_blocking(move || inside.block_on(self.call()));
            return match work.await {
                Ok(done) => done,
                Err(error) if error.is_panic() => notice(Notice::Panicked),
                Err(_) => notice(Notice::Cancelled),
            };
        }
        self.call().await
    }

    async fn call(self) -> (Vec<u8>, bool) {
        let mut scratch = if self.input.contains(&b'\\') { vec![0; self.input.len()] } else { Vec::new() };
        let mut content = Vec::new();
        let Some(input) = Value::first(&self.input) else { return notice(Notice::NotRun) };
        let mut call = ToolCall::new(Text::from_raw(&self.id), Text::from_raw(&self.name), input, &mut scratch);
        call.turn = self.turn;
        let mut out = Output::growing(&mut content);
        let result = self.tools.dyn_call(self.entry.index, call, &mut out).await;
        if let Err(error) = &result {
            self.log(error);
        }
        let is_error = result.is_err();
        let fits = result.map_or_else(|error| error.write_to(&mut out), |()| Ok(()));
        match fits.and_then(|()| out.finish().map(<[u8]>::len)) {
            Ok(len) => {
                content.truncate(len);
                (content, is_error)
            }
            Err(full) => notice(Notice::TooLarge(full)),
        }
    }

    /// One record for a tool that failed: which, for which call, and why, to the root of it.
    fn log(&self, error: &ToolError) {
        if !tracing::enabled!(tracing::Level::ERROR) {
            return;
        }
        let mut sources = String::new();
        let mut next = error.source();
        while let Some(source) = next {
            sources.push_str(if sources.is_empty() { "" } else { ": " });
            sources.push_str(&source.to_string());
            next = source.source();
        }
        tracing::error!(tool = %self.name, call = %self.id, sources = %sources, "tool failed: {error}");
    }
}

/// One of the loop's own texts as content.
pub(super) fn notice(notice: Notice<'_>) -> (Vec<u8>, bool) {
    let mut content = Vec::new();
    // A Vec is never full.
    let _ = notice.write_json(&mut content);
    (content, true)
}
