//! What a caller sets on a run between two turns, and the values that are set.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use toolrunner_core::policy::{Limits, RetryPolicy};
use toolrunner_core::run::{Compaction, OnBreak};
use toolrunner_core::tool::Tools;
use toolrunner_core::wire::MessageThread;

use super::tools::{OwnTools, Toolset};
use super::{Run, build};
use crate::config::{ClientBuilder, Settings};
use crate::error::Error;
use crate::params::Params;
use crate::rate_limits::RateLimits;

impl Run {
    /// Returns the request's parameters, to change them for all later turns.
    pub fn params_mut(&mut self) -> &mut Params {
        self.request.prefix = None;
        &mut self.request.params
    }

    /// Returns the request's parameters.
    pub const fn params(&self) -> &Params {
        &self.request.params
    }

    /// Returns the parameters of the next turn only, which replace those of the same name. They are
    /// discarded when its reply is complete.
    ///
    /// ```no_run
    /// # async fn f(mut run: toolrunner_std::Run) -> Result<(), toolrunner_std::Error> {
    /// if let Some(mut turn) = run.next_turn().await? {
    ///     turn.run().next_params_mut().max_tokens(8192);
    ///     turn.ask_again()?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn next_params_mut(&mut self) -> &mut Params {
        self.request.prefix = None;
        &mut self.request.next_params
    }

    /// Returns the rate limits that the last reply of this run reported. Empty before the first
    /// reply, and if the last one reported none.
    pub const fn rate_limits(&self) -> &RateLimits {
        self.transport.rate_limits()
    }

    /// Returns the settings of the run's requests: the server, the credential and the connections.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Sets the settings from the next request on: credential, base URL, betas, headers, query,
    /// body fields, timeouts, retries. If they have [fallbacks](crate::fallback), the run no longer
    /// uses a [message thread](crate::RunBuilder::message_thread), unless messages were
    /// [freed](crate::MessageThread::Free).
    pub fn set_settings(&mut self, settings: Settings) -> &mut Self {
        if settings.max_retries() != self.settings.max_retries() {
            self.machine.retry_policy_mut().retries = settings.max_retries();
        }
        if settings.retry_after_cap() != self.settings.retry_after_cap() {
            self.machine.retry_policy_mut().retry_after_cap = settings.retry_after_cap();
        }
        build::apply_body_fields(&self.settings, &settings, &mut self.request.params);
        if settings.transport().has_fallback() && !self.machine.has_freed_messages() {
            self.machine.set_message_thread(MessageThread::Off);
        }
        self.transport = settings.transport().clone();
        self.settings = Arc::new(settings);
        self.request.prefix = None;
        self
    }

    /// Changes the settings from the next request on:
    /// `run.change_settings(|client| client.beta("files-api-2025-04-14"))?`.
    ///
    /// # Errors
    /// Returns the first invalid setting. Then nothing changes.
    pub fn change_settings(
        &mut self,
        change: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<&mut Self, Error> {
        let settings = change(self.settings.to_builder()).settings()?;
        Ok(self.set_settings(settings))
    }

    /// Replaces the tools, from the next request on. Calls that are already running continue with
    /// the old ones.
    ///
    /// # Errors
    /// Returns an error if two tools have the same name, or if a name, schema or definition is
    /// invalid; see [`RunBuilder::tools`](crate::RunBuilder::tools). Then nothing changes.
    pub fn set_tools(&mut self, tools: impl Tools) -> Result<&mut Self, Error> {
        let tools = Toolset::new(tools)?;
        tools.check_strict()?;
        self.turns.tools = OwnTools(tools);
        self.request.prefix = None;
        Ok(self)
    }

    /// Returns the token that cancels the run from anywhere, also while it is driven:
    /// `run.cancellation().cancel()`. A reply under way is dropped, unless one of its calls has
    /// started. Tools see the cancellation in their context and have the grace period to end; then
    /// they are dropped and answered as cancelled. The run ends with
    /// [`Outcome::Stopped`](crate::Outcome::Stopped); it continues, with a new token, when a message
    /// is added or [`resume`](Self::resume) is called.
    pub fn cancellation(&self) -> CancellationToken {
        self.turns.hooks.cancel.clone()
    }

    /// Returns the limits of the run, to change them. A run that ended at a limit continues when
    /// the limit is raised.
    pub const fn limits_mut(&mut self) -> &mut Limits {
        self.machine.limits_mut()
    }

    /// Returns the retry policy, to change it.
    pub const fn retry_policy_mut(&mut self) -> &mut RetryPolicy {
        self.machine.retry_policy_mut()
    }

    /// Sets what happens from now on to a reply that breaks off and is not retried.
    pub fn set_on_break(&mut self, on_break: OnBreak) -> &mut Self {
        self.machine.set_on_break(on_break);
        self
    }

    /// Returns the setting for client-side summaries of the conversation, to change it. `None`
    /// means never.
    pub const fn compaction_mut(&mut self) -> &mut Option<Compaction> {
        self.machine.compaction_mut()
    }

    /// Requests that the server compacts the conversation before the next turn, or now if the run
    /// is over. This sends a separate request with the same parameters and `compaction`, without
    /// those that cannot be combined with it (`context_management`, `stop_sequences`, an output
    /// format, a forced `tool_choice`). Its reply becomes the conversation. It is not a turn, and
    /// is not retried; if the reply contains no summary, the conversation stays as it is. The
    /// caller must set the beta that the server requires.
    pub fn compact_on_server(&mut self, instructions: Option<&str>) -> &mut Self {
        let more = instructions
            .map(|text| format!(",\"instructions\":{}", crate::params::quoted(text)))
            .unwrap_or_default();
        self.request.server_compaction = format!("{{\"type\":\"summarize\"{more}}}");
        self.machine.compact_on_server();
        self
    }

    /// Sets whether replies are streamed, from the next request on.
    pub fn set_stream(&mut self, stream: bool) -> &mut Self {
        self.request.prefix = None;
        self.request.stream = stream;
        self
    }
}
