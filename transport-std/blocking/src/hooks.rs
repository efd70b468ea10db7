//! The hooks of a run: its cancellation, the gate, and the hook on results.

use core::fmt;
use core::panic::AssertUnwindSafe;
use core::task::{Context, Poll};
use core::time::Duration;
use std::panic::catch_unwind;
use std::sync::{Arc, Mutex, PoisonError};

use toolrunner_core::__private::gate;
#[doc(inline)]
pub use toolrunner_core::__private::gate::{Decision, GatedCall, ResultDraft};
use toolrunner_core::drive::{Draft, Hooks};

use crate::cancellation::Cancellation;
use crate::run::{DEFAULT_GRACE, RunBuilder};

/// A function that decides about a call.
pub(crate) type Gate = dyn Fn(GatedCall) -> Decision + Send + Sync;
/// A function that receives every result of a tool.
type Hook = dyn Fn(&mut ResultDraft) + Send + Sync;

/// The hooks of a run.
pub(crate) struct Control {
    pub(crate) cancellation: Cancellation,
    pub(crate) gate: Option<Arc<Gate>>,
    hook: Option<Arc<Hook>>,
    pub(crate) result_cap: Option<usize>,
    pub(crate) grace: Duration,
    /// Asks the calls that are running to end.
    calls: Mutex<Vec<Cancellation>>,
}

impl Default for Control {
    fn default() -> Self {
        Self {
            cancellation: Cancellation::new(),
            gate: None,
            hook: None,
            result_cap: None,
            grace: DEFAULT_GRACE,
            calls: Mutex::default(),
        }
    }
}

impl fmt::Debug for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").field("grace", &self.grace).finish_non_exhaustive()
    }
}

impl Control {
    /// Returns what cancels a new call.
    pub(crate) fn call(&self) -> Cancellation {
        let cancellation = Cancellation::new();
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.retain(Cancellation::is_shared);
        calls.push(cancellation.clone());
        cancellation
    }
}

impl Hooks for Control {
    fn after(&self, result: &mut Draft<'_, '_>) {
        if let Some(hook) = &self.hook {
            let mut draft = gate::draft(result);
            // If the hook panics, the result stays: the tool has run.
            if catch_unwind(AssertUnwindSafe(|| hook(&mut draft))).is_ok() {
                gate::put_draft(draft, result);
            }
        }
        if let Some(bytes) = self.result_cap {
            // This memory grows.
            let _ = result.cap(bytes);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.cancellation.is_cancelled()
    }

    fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
        self.cancellation.poll(context)
    }

    fn grace(&self) -> Duration {
        self.grace
    }

    fn wind_down(&self) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.drain(..).for_each(|call| call.cancel());
    }
}

impl RunBuilder {
    /// Sets a gate that decides about every call before its tool runs: allow it, deny it with a
    /// text, change its input, answer it, or suspend the run until the decision is known. The gate
    /// is called on a thread of its own, at the same time for several calls of one turn, and a call
    /// waits for as long as the gate takes. Without a gate, every call runs, also one of a tool
    /// that requires approval.
    ///
    /// If the gate panics, the tool does not run and the model receives `Error: not run`. The panic
    /// is not propagated.
    ///
    /// ```no_run
    /// # fn f(client: toolrunner_blocking::Client) {
    /// use toolrunner_blocking::Decision;
    /// let run = client.run("claude-opus-4-7").gate(|call| {
    ///     if call.name == "delete_file" {
    ///         Decision::deny("The user does not want files deleted.")
    ///     } else {
    ///         Decision::Allow
    ///     }
    /// });
    /// # }
    /// ```
    pub fn gate(mut self, gate: impl Fn(GatedCall) -> Decision + Send + Sync + 'static) -> Self {
        self.hooks.gate = Some(Arc::new(gate));
        self
    }

    /// Sets a hook that receives every tool's result before it is added to the conversation, to
    /// inspect, replace or cut it. It is called on the thread that drives the run. If it panics,
    /// the result stays as the tool returned it.
    pub fn on_result(mut self, hook: impl Fn(&mut ResultDraft) + Send + Sync + 'static) -> Self {
        self.hooks.hook = Some(Arc::new(hook));
        self
    }
}
