//! The options of a run that the builder of each client has.

/// Defines these options. To be used in the `impl` of a builder with fields of these names, where
/// `Run`, `DEFAULT_CONCURRENCY` and `DEFAULT_MAX_TOKENS` are in scope for the documentation.
#[doc(hidden)]
#[macro_export]
macro_rules! __run_options {
    () => {
        /// Sets the maximum number of tokens of a reply. Default: [`DEFAULT_MAX_TOKENS`].
        pub fn max_tokens(mut self, most: u32) -> Self {
            self.params.max_tokens(most);
            self
        }

        /// Sets the system prompt.
        pub fn system(mut self, text: &str) -> Self {
            self.params.system(text);
            self
        }

        /// Sets a parameter of the request to JSON text: `.param_json("temperature", "0.5")`.
        pub fn param_json(mut self, name: &str, json: &str) -> Self {
            if let Err(error) = self.params.set_json(name, json) {
                self.invalid.get_or_insert(error);
            }
            self
        }

        /// Adds one tool, or one toolbox. It follows those added before, as with
        /// [`tools`](Self::tools).
        pub fn tool(self, tool: impl $crate::tool::Tools) -> Self {
            self.tools(tool)
        }

        /// Sets whether replies are streamed. Default: yes.
        pub const fn stream(mut self, stream: bool) -> Self {
            self.stream = stream;
            self
        }

        /// Sets the maximum number of replies of the model. Without it there is no limit; 0 sends
        /// nothing.
        pub const fn max_turns(mut self, most: u32) -> Self {
            self.options.limits.turns = Some(most);
            self
        }

        /// Sets what the run may spend: see [`Limits`](crate::Limits).
        pub const fn limits(mut self, limits: $crate::policy::Limits) -> Self {
            self.options.limits = limits;
            self
        }

        /// Sets when failed requests are retried. Default: the policy of the client.
        pub const fn retry_policy(mut self, retry: $crate::policy::RetryPolicy) -> Self {
            self.options.retry = retry;
            self
        }

        /// Sets what happens to a reply that breaks off and is not retried. Default:
        /// [`OnBreak::Drop`](crate::OnBreak::Drop).
        pub const fn on_break(mut self, on_break: $crate::run::OnBreak) -> Self {
            self.options.on_break = on_break;
            self
        }

        /// Sets how many calls of one turn may run at the same time, at least 1. Default:
        /// [`DEFAULT_CONCURRENCY`].
        pub fn concurrency(mut self, most: usize) -> Self {
            self.concurrency = most.max(1);
            self
        }

        /// Sets whether a call may start while its reply is still streamed. Default: no, a turn's
        /// calls start when the reply is complete.
        ///
        /// A call starts when the model has moved on from it: at the next block, or when the reply
        /// stops for tools. The [gate](Self::gate) decides first, and
        /// [`concurrency`](Self::concurrency), serial tools and limits apply; with a limit on
        /// repeated calls, none starts early. Results are in the model's order, as always. The
        /// costs are:
        ///
        /// - A reply is never dropped or requested again once one of its calls has started. If it
        ///   ends early (its stream breaks off, it is not a valid reply, it has too many calls, the
        ///   conversation is full, the run is cancelled or stopped), its complete blocks stay.
        ///   Calls that had started keep their results; the others are answered as not run. The run
        ///   then reports [`Event::Broken`](crate::Event::Broken), and continues with the next
        ///   request after the wait of the retry policy. If more replies in a row break off than
        ///   the policy has retries, the error is returned; the next call of the run continues it.
        /// - If the reply ends for a reason other than its calls (`max_tokens`, a refusal), the
        ///   calls that have started keep their results, which are sent to the model when the run
        ///   continues; the others do not run.
        /// - A [snapshot](Run::snapshot) taken after a call of the reply has started contains what
        ///   would stay if the reply ended early at that moment.
        /// - After a `fallback` block, no further call starts early. Calls before it are answered
        ///   only if one of them had started.
        /// - A client-side summary does not replace a turn in which a call has started early; it
        ///   may replace the next.
        pub const fn eager(mut self, eager: bool) -> Self {
            self.eager = eager;
            self
        }

        /// Sets whether a call gets a new id if an earlier turn has a call with the same id:
        /// `call_0` becomes `call_0-2`, in the conversation, the events, the tool's call and its
        /// result. Default: no, ids stay as the server made them.
        ///
        /// Some gateways number the calls of each turn from 0, and accept such ids. Use this option
        /// for a conversation that is also sent elsewhere. It also applies to a conversation that
        /// [`messages`](Self::messages), [`body`](Self::body) or [`resume`](Self::resume) starts
        /// with: there the last call with an id keeps it, and earlier ones are renamed. The same id
        /// twice in one reply is still a protocol error.
        pub const fn unique_ids(mut self, on: bool) -> Self {
            self.options.unique_ids = on;
            self
        }

        /// Sets when the conversation is replaced by a summary that the model writes. Default:
        /// never.
        pub const fn compaction(mut self, compaction: $crate::run::Compaction) -> Self {
            self.options.compaction = Some(compaction);
            self
        }

        /// Sets the model that writes summaries. Default: the run's own.
        pub fn summary_model(mut self, model: impl Into<String>) -> Self {
            self.summary_model = Some(model.into());
            self
        }

        /// Sets the maximum size of the conversation, in bytes. Default: the maximum size of a
        /// request to the API.
        pub const fn capacity(mut self, bytes: usize) -> Self {
            self.capacity = bytes;
            self
        }

        /// Sets what happens when the conversation nearly fills its [`capacity`](Self::capacity).
        /// Default: nothing.
        pub const fn when_full(mut self, policy: $crate::run::WhenFull) -> Self {
            self.options.when_full = policy;
            self
        }

        /// Sets the maximum size of a text in a tool's result, in bytes. Longer text keeps its
        /// beginning and end, with a note of how much was cut. Default: no limit.
        pub const fn result_cap(mut self, bytes: usize) -> Self {
            self.hooks.result_cap = Some(bytes);
            self
        }

        /// Sets how long tools may continue after the run is cancelled or its time is over. After
        /// that their calls are answered as cancelled. Default:
        /// [`DEFAULT_GRACE`](crate::run::DEFAULT_GRACE).
        pub const fn grace(mut self, grace: core::time::Duration) -> Self {
            self.hooks.grace = grace;
            self
        }
    };
}
