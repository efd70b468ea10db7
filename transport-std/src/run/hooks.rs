//! The hooks of a run: the gate, the hook on results, the tools' shared state, and cancellation.

use core::any::Any;
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::{Arc, Mutex, OnceLock};

use tokio_util::sync::CancellationToken;
use toolrunner_core::__private::gate;
use toolrunner_core::drive::{Draft, Hooks as CoreHooks};
use toolrunner_core::run::{Call, CallIndex};

use super::RunBuilder;
use super::apart::run_apart;
use super::gate::{Decision, DynGate, GatedCall, Hook, ResultDraft};
use super::watch::Watch;
use crate::EscapedText;
use crate::lock::lock;

/// The hooks on calls and results, the tools' shared state, and the run's cancellation.
pub(super) struct Hooks {
    pub(super) gate: Option<Arc<dyn DynGate>>,
    pub(super) hook: Option<Arc<Hook>>,
    pub(super) result_cap: Option<usize>,
    pub(super) state: Option<Arc<dyn Any + Send + Sync>>,
    pub(super) cancel: CancellationToken,
    /// Created by the first reply.
    watch: OnceLock<Watch>,
    /// Asks all running tools to stop. Created by the first call, so that an idle run has none.
    tools: Mutex<Option<CancellationToken>>,
    /// How long tools may continue after the run is cancelled.
    pub(super) grace: Duration,
    /// The questions of this turn's tools.
    pub(super) dialogues: Vec<Dialogue>,
    /// The run's number, for log lines.
    pub(super) run: u64,
}

/// The questions that the tool of a call asked, and the answers.
#[derive(Clone)]
pub(super) struct Dialogue {
    pub(super) call: CallIndex,
    pub(super) answers: Vec<String>,
    pub(super) question: Option<String>,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            gate: None,
            hook: None,
            result_cap: None,
            state: None,
            cancel: CancellationToken::new(),
            watch: OnceLock::new(),
            tools: Mutex::default(),
            grace: super::DEFAULT_GRACE,
            dialogues: Vec::new(),
            run: 0,
        }
    }
}

impl core::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Hooks")
    }
}

impl Hooks {
    /// Returns the answers to the questions of a call, in order.
    pub(super) fn answers_of(&self, call: CallIndex) -> Arc<[String]> {
        let dialogue = self.dialogues.iter().find(|dialogue| dialogue.call == call);
        dialogue.map(|dialogue| dialogue.answers.as_slice().into()).unwrap_or_default()
    }

    pub(super) fn dialogue(&mut self, call: CallIndex) -> &mut Dialogue {
        let known = self.dialogues.iter().position(|dialogue| dialogue.call == call);
        let i = known.unwrap_or_else(|| {
            self.dialogues.push(Dialogue { call, answers: Vec::new(), question: None });
            self.dialogues.len() - 1
        });
        &mut self.dialogues[i]
    }

    /// Returns the state that the tools share.
    pub(super) fn state(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        self.state.clone()
    }

    /// Returns the token that asks all tools, including a new one, to stop.
    pub(super) fn tools_token(&self) -> CancellationToken {
        let mut tools = lock(&self.tools);
        if tools.as_ref().is_some_and(CancellationToken::is_cancelled) {
            *tools = None;
        }
        tools.get_or_insert_default().clone()
    }

    /// Releases unused memory, while no call is running.
    pub(super) fn shrink_to_fit(&mut self) {
        *lock(&self.tools) = None;
        self.dialogues.shrink_to_fit();
    }

    /// Returns the hooks of a copy of the run, which has its own cancellation and this number.
    pub(super) fn fork(&self, run: u64) -> Self {
        Self {
            gate: self.gate.clone(),
            hook: self.hook.clone(),
            result_cap: self.result_cap,
            state: self.state.clone(),
            grace: self.grace,
            dialogues: self.dialogues.clone(),
            run,
            ..Self::default()
        }
    }

    /// Replaces the token of a cancellation that has taken effect.
    pub(super) fn renew(&mut self) {
        self.cancel = CancellationToken::new();
        self.watch = OnceLock::new();
    }

    fn watch(&self) -> &Watch {
        self.watch.get_or_init(|| Watch::new(&self.cancel))
    }
}

impl CoreHooks for Hooks {
    fn refused(&self, call: &Call<'_>) {
        let why = match call.is_bad {
            true => "the model's input is not a JSON object",
            false => "tool not found",
        };
        tracing::warn!(run = self.run, tool = %EscapedText(call.name), call = %EscapedText(call.id), "{why}");
    }

    fn after(&self, result: &mut Draft<'_, '_>) {
        if let Some(hook) = &self.hook {
            let mut draft = gate::draft(result);
            match run_apart(|| hook(&mut draft)) {
                Ok(()) => gate::put_draft(draft, result),
                // The tool has run, so its result stays as it is.
                Err(panic) => tracing::error!("the hook on results panicked: {panic}"),
            }
        }
        if let Some(bytes) = self.result_cap {
            // This memory grows.
            let _ = result.cap(bytes);
        }
    }

    #[inline]
    fn is_cancelled(&self) -> bool {
        self.watch().is_cancelled()
    }

    fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
        self.watch().poll_cancelled(context)
    }

    fn grace(&self) -> Duration {
        self.grace
    }

    fn wind_down(&self) {
        if let Some(tools) = &*lock(&self.tools) {
            tools.cancel();
        }
    }
}

impl RunBuilder {
    /// Sets a gate that decides about every call before its tool runs: allow it, deny it with a
    /// text, change its input, answer it, or suspend the run until the decision is known. The gate
    /// is called concurrently for the calls of one turn, and a call waits for as long as the gate
    /// takes. Without a gate, every call runs, also one of a tool that requires approval.
    ///
    /// If the gate panics, the tool does not run and the model receives `Error: not run`. The panic
    /// is logged and not propagated.
    ///
    /// ```
    /// # fn f(client: toolrunner_std::Client) {
    /// use toolrunner_std::Decision;
    /// let run = client.run("claude-opus-4-7").gate(|call| async move {
    ///     if call.name == "delete_file" {
    ///         Decision::deny("The user does not want files deleted.")
    ///     } else {
    ///         Decision::Allow
    ///     }
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

    /// Sets a value that all tools of the run share. A tool accesses it by its type, with
    /// [`ToolContext::state`](toolrunner_core::tool::ToolContext::state).
    pub fn state<T: Any + Send + Sync>(mut self, state: T) -> Self {
        self.hooks.state = Some(Arc::new(state));
        self
    }

    /// Sets the token that cancels the run: see [`Run::cancellation`](super::Run::cancellation).
    pub fn cancellation(mut self, token: CancellationToken) -> Self {
        self.hooks.cancel = token;
        self
    }
}
