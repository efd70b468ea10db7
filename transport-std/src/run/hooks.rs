//! What a run's builder says of its calls: who decides, who looks at the results, what the tools
//! share, how it is cancelled.

use core::any::Any;
use core::time::Duration;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::RunBuilder;
use super::gate::{Decision, DynGate, GatedCall, Hook, ResultDraft};

/// Who may look at calls and results, and what tools share.
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
    /// Decides about every call before its tool runs: let it run, deny it with a text, change its
    /// input, answer in its place, or suspend the run until somebody knows. Called at the same time
    /// for the calls of one turn; a call waits for as long as it takes.
    ///
    /// If the gate panics, the tool does not run and the model reads `Error: not run`. The panic is
    /// logged and goes no further.
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

    /// Shows every tool's result before it is put into the conversation: to look at, to replace, or
    /// to cut.
    ///
    /// If the hook panics, the result stays as the tool gave it. The panic is logged and goes no
    /// further.
    pub fn on_result(mut self, hook: impl Fn(&mut ResultDraft) + Send + Sync + 'static) -> Self {
        self.hooks.hook = Some(Arc::new(hook));
        self
    }

    /// Most bytes of a text in a tool's result. Of a longer one head and tail stay, and what was
    /// cut is said between them. Default: no such bound.
    pub const fn result_cap(mut self, bytes: usize) -> Self {
        self.hooks.result_cap = Some(bytes);
        self
    }

    /// Something that all tools of the run share: they find it by its type, with
    /// [`ToolContext::state`](toolrunner_core::tool::ToolContext::state).
    pub fn state<T: Any + Send + Sync>(mut self, state: T) -> Self {
        self.hooks.state = Some(Arc::new(state));
        self
    }

    /// A token that cancels the run: see [`Run::cancellation`](super::Run::cancellation).
    pub fn cancellation(mut self, token: CancellationToken) -> Self {
        self.cancel = token;
        self
    }

    /// How long tools may go on when the run is cancelled or its time is over. Default:
    /// [`DEFAULT_GRACE`](super::DEFAULT_GRACE).
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}
