//! The options of a run for its calls: the gate, the hook on results, the tools' shared state, and
//! cancellation.

use core::any::Any;
use core::time::Duration;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::RunBuilder;
use super::gate::{Decision, DynGate, GatedCall, Hook, ResultDraft};

/// The hooks on calls and results, and the tools' shared state.
#[derive(Default)]
pub(super) struct Hooks {
    pub(super) gate: Option<Arc<dyn DynGate>>,
    pub(super) hook: Option<Arc<Hook>>,
    pub(super) result_cap: Option<usize>,
    pub(super) state: Option<Arc<dyn Any + Send + Sync>>,
}

impl core::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Hooks")
    }
}

impl RunBuilder {
    /// Sets a gate that decides about every call before its tool runs: allow it, deny it with a
    /// text, change its input, answer it, or suspend the run until the decision is known. The gate
    /// is called concurrently for the calls of one turn, and a call waits for as long as the gate
    /// takes.
    ///
    /// If the gate panics, the tool does not run and the model receives `Error: not run`. The panic
    /// is logged and not propagated.
    ///
    /// ```
    /// # fn f(client: toolrunner_std::Client) {
    /// use toolrunner_std::run::Decision;
    /// let run = client.run("claude-opus-4-7").gate(|call| async move {
    ///     if call.name == "delete_file" { Decision::deny("The user does not want files deleted.") } else { Decision::Allow }
    /// });
    /// # }
    /// ```
    pub fn gate<F, D>(mut self, gate: F) -> Self
    where
        F: Fn(GatedCall) -> D + Send + Sync + 'static,
        D: Future<Output = Decision> + Send + 'static,
    {
        self.hooks.gate = Some(Arc::new(gate));
        self
    }

    /// Sets a hook that receives every tool's result before it is added to the conversation, to
    /// inspect, replace or cut it.
    ///
    /// If the hook panics, the result stays as the tool returned it. The panic is logged and not
    /// propagated.
    pub fn on_result(mut self, hook: impl Fn(&mut ResultDraft) + Send + Sync + 'static) -> Self {
        self.hooks.hook = Some(Arc::new(hook));
        self
    }

    /// Sets the maximum size of a text in a tool's result, in bytes. Longer text keeps its
    /// beginning and end, with a note of how much was cut. Default: no limit.
    pub const fn result_cap(mut self, bytes: usize) -> Self {
        self.hooks.result_cap = Some(bytes);
        self
    }

    /// Sets a value that all tools of the run share. A tool accesses it by its type, with
    /// [`ToolContext::state`](toolrunner_core::tool::ToolContext::state).
    pub fn state<T: Any + Send + Sync>(mut self, state: T) -> Self {
        self.hooks.state = Some(Arc::new(state));
        self
    }

    /// Sets the token that cancels the run: see [`Run::cancellation`](super::Run::cancellation).
    pub fn cancellation(mut self, token: CancellationToken) -> Self {
        self.cancel = token;
        self
    }

    /// Sets how long tools may continue after the run is cancelled or its time is over. Default:
    /// [`DEFAULT_GRACE`](super::DEFAULT_GRACE).
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}
