//! What a run is, before its first word.

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use toolrunner_core::json::Value;
use toolrunner_core::policy::{Limits, RetryPolicy};
use toolrunner_core::run::{Compaction, OnBreak, Run as Machine, WhenFull};
use toolrunner_core::tool::Tools;
use toolrunner_core::transcript::{GROWING_LIMIT, Transcript};

use super::hooks::Hooks;
use super::reply::Envelope;
use super::tools::Toolset;
use super::trace::Trace;
use super::{DEFAULT_CONCURRENCY, DEFAULT_GRACE, Run};
use crate::clock::{DynClock, SharedClock};
use crate::config::{ClientBuilder, Settings};
use crate::error::Error;
use crate::params::Params;

/// The number of the next run.
static NEXT: AtomicUsize = AtomicUsize::new(1);

/// Most tokens of a reply, if nothing else is said.
pub const DEFAULT_MAX_TOKENS: u32 = 4096;

/// Says what a run asks for; a prompt makes it a [`Run`]. What is wrong is told at the run's first
/// use.
#[derive(Debug)]
#[must_use]
pub struct RunBuilder {
    settings: Arc<Settings>,
    params: Params,
    stream: bool,
    toolset: Toolset,
    concurrency: usize,
    eager: bool,
    unique_ids: bool,
    on_break: OnBreak,
    limits: Limits,
    retry: RetryPolicy,
    capacity: usize,
    compaction: Option<Compaction>,
    summary_model: Option<String>,
    clock: SharedClock,
    invalid: Option<Error>,
    when_full: WhenFull,
    pub(super) hooks: Hooks,
    pub(super) trace: Trace,
    pub(super) cancel: CancellationToken,
    pub(super) grace: Duration,
    /// Definitions that came with a whole body.
    declared: Option<String>,
}

impl RunBuilder {
    pub(crate) fn new(settings: Arc<Settings>, model: String) -> Self {
        let mut params = Params::default();
        params.model(&model);
        let mut invalid = None;
        for (name, json) in settings.body_fields() {
            if let Err(error) = params.set_json(name, json) {
                invalid = invalid.or(Some(error));
            }
        }
        let retry = RetryPolicy {
            retries: settings.max_retries(),
            retry_after_cap: settings.retry_after_cap(),
            ..RetryPolicy::DEFAULT
        };
        Self {
            params,
            stream: true,
            toolset: Toolset::none(),
            concurrency: DEFAULT_CONCURRENCY,
            eager: false,
            unique_ids: false,
            on_break: OnBreak::Drop,
            limits: Limits::NONE,
            retry,
            capacity: GROWING_LIMIT,
            compaction: None,
            summary_model: None,
            clock: SharedClock::default(),
            invalid,
            settings,
            when_full: WhenFull::NEVER,
            hooks: Hooks::default(),
            trace: Trace::default(),
            cancel: CancellationToken::new(),
            grace: DEFAULT_GRACE,
            declared: None,
        }
    }

    fn note<T>(&mut self, result: Result<T, impl Into<Error>>) {
        if let Err(error) = result
            && self.invalid.is_none()
        {
            self.invalid = Some(error.into());
        }
    }

    /// Most tokens of a reply. Default: [`DEFAULT_MAX_TOKENS`].
    pub fn max_tokens(mut self, most: u32) -> Self {
        self.params.max_tokens(most);
        self
    }

    /// The system prompt.
    pub fn system(mut self, text: &str) -> Self {
        self.params.system(text);
        self
    }

    /// Any parameter of the request, from anything that serde writes: `.param("temperature", 0.5)`.
    pub fn param(mut self, name: &str, value: impl Serialize) -> Self {
        let set = self.params.set(name, value).map(|_| ());
        self.note(set);
        self
    }

    /// Any parameter of the request, as JSON text.
    pub fn param_json(mut self, name: &str, json: &str) -> Self {
        let set = self.params.set_json(name, json).map(|_| ());
        self.note(set);
        self
    }

    /// Adds tools: one, or a tuple of tools and toolboxes. They come behind those that were added
    /// before. A name that is there already is an error at the run's first use.
    pub fn tools(mut self, tools: impl Tools) -> Self {
        match self.toolset.with(tools) {
            Ok(toolset) => self.toolset = toolset,
            Err(misuse) => self.note::<()>(Err(misuse)),
        }
        self
    }

    /// Whether replies are streamed. Default: yes.
    pub const fn stream(mut self, stream: bool) -> Self {
        self.stream = stream;
        self
    }

    /// Most replies of the model; absent is unlimited, 0 sends nothing.
    pub const fn max_turns(mut self, most: u32) -> Self {
        self.limits.turns = Some(most);
        self
    }

    /// What the run may spend.
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// When requests are sent again.
    pub const fn retry_policy(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// What becomes of a reply that breaks off and is not asked for again. Default:
    /// [`OnBreak::Drop`].
    pub const fn on_break(mut self, on_break: OnBreak) -> Self {
        self.on_break = on_break;
        self
    }

    /// Most calls of one turn that run at the same time. Default: [`DEFAULT_CONCURRENCY`]. At
    /// least 1.
    pub fn concurrency(mut self, most: usize) -> Self {
        self.concurrency = most.max(1);
        self
    }

    /// Whether a call may start while its reply still streams. Default: no, a turn's calls start
    /// when the reply is whole.
    ///
    /// A call starts when the model has moved on from it: at the next block, or when the reply says
    /// that it stops for tools. The [gate](Self::gate) decides first, and
    /// [`concurrency`](Self::concurrency), serial tools and limits hold; with a limit of repeats
    /// none starts early. Results come in the model's order, as always. What it costs:
    ///
    /// - A reply is never taken back or asked for again once a call of it has started. If it ends
    ///   early (its stream breaks off, it is no valid reply, it has too many calls, the
    ///   conversation is full, the run is cancelled or stopped), its complete blocks stay. Calls
    ///   that had started keep their results; the others are answered as not run. Then the run goes
    ///   on with the next request, after the wait of the retry policy, and tells
    ///   [`Event::Broken`](crate::Event::Broken). If as many replies in a row break off as the
    ///   policy has retries, and one more, the error is returned; the next call goes on.
    /// - If the reply ends for another reason than its calls (`max_tokens`, a refusal), those that
    ///   have started keep their results, which are told to the model when the run goes on; the
    ///   others do not run.
    /// - A [snapshot](Run::snapshot) taken after a call of the reply has started holds what would
    ///   stay if the reply ended early at that moment.
    /// - After a `fallback` block no more start early. Calls before it are answered only if one of
    ///   them had started.
    /// - A client-side summary does not replace a turn in which a call has started early; it may
    ///   replace the next.
    pub const fn eager(mut self, eager: bool) -> Self {
        self.eager = eager;
        self
    }

    /// Whether a call gets an id of its own if an earlier turn has a call of the same id: `call_0`
    /// becomes `call_0-2`, in the conversation, the events, the tool's call and its result.
    /// Default: no, ids stay as the server made them.
    ///
    /// Some gateways number the calls of each turn from 0, and accept that. The option is for a
    /// conversation that is sent elsewhere too. It also applies to a conversation that
    /// [`messages`](Self::messages), [`body`](Self::body) or [`resume`](Self::resume) gives: there
    /// the last call that has an id keeps it, and earlier ones are renamed. The same id twice in
    /// one reply stays a protocol error.
    pub const fn unique_ids(mut self, on: bool) -> Self {
        self.unique_ids = on;
        self
    }

    /// Replaces the conversation by a summary that the model writes, when a turn was long. Default:
    /// never.
    pub const fn compaction(mut self, compaction: Compaction) -> Self {
        self.compaction = Some(compaction);
        self
    }

    /// The model that writes summaries. Default: the run's own.
    pub fn summary_model(mut self, model: impl Into<String>) -> Self {
        self.summary_model = Some(model.into());
        self
    }

    /// Most bytes of the conversation. Default: what the API takes as one request.
    pub const fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = bytes;
        self
    }

    /// What is done when the conversation nearly fills its [`capacity`](Self::capacity). Default:
    /// nothing.
    pub const fn when_full(mut self, policy: WhenFull) -> Self {
        self.when_full = policy;
        self
    }

    /// Something else to tell the time and to wait by: another runtime's timers, or a test's.
    /// Default: tokio's.
    pub fn clock(mut self, clock: impl DynClock) -> Self {
        self.clock = SharedClock(Arc::new(clock));
        self
    }

    /// Says something else for this run than the client does: key, base URL, betas, headers, query,
    /// body, time-outs, retries. Connections stay shared.
    ///
    /// ```no_run
    /// # fn f(client: toolrunner_std::Client) {
    /// let run = client.run("claude-haiku-4-5").settings(|client| client.beta("context-1m-2025-08-07")).user("hello");
    /// # }
    /// ```
    pub fn settings(mut self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        match change(self.settings.to_builder()).settings() {
            Ok(settings) => {
                if settings.retry_after_cap() != self.settings.retry_after_cap() {
                    self.retry.retry_after_cap = settings.retry_after_cap();
                }
                if settings.max_retries() != self.settings.max_retries() {
                    self.retry.retries = settings.max_retries();
                }
                apply_body_fields(&self.settings, &settings, &mut self.params);
                self.settings = Arc::new(settings);
            }
            Err(error) => self.note::<()>(Err(error)),
        }
        self
    }

    /// The run, with a user message as its first. A text that is empty or only white space is
    /// reported at the run's first use.
    pub fn user(self, text: &str) -> Run {
        let mut run = self.empty();
        if let Err(error) = run.machine.user(text) {
            run.invalid.get_or_insert_with(|| error.into());
        }
        run
    }

    /// The run, with a conversation as its beginning: a JSON array of messages. What the API would
    /// refuse is reported at the run's first use, with message and block; see
    /// [`Run::replace_history`].
    pub fn messages(self, json: &str) -> Run {
        let mut run = self.empty();
        run.render_prefix();
        if let Err(error) = run.machine.replace_history(json) {
            run.invalid.get_or_insert_with(|| error.into());
        }
        run
    }

    /// The run that begins with this request body, as JSON: its `messages`, and every other member
    /// as a parameter. Of its `tools` those that [`tools`](Self::tools) has not are declared only:
    /// the server runs them, or the caller answers their calls.
    pub fn body(mut self, json: &str) -> Run {
        if let Err(error) = toolrunner_core::json::check(json.as_bytes()) {
            self.note::<()>(Err(Error::Invalid(format!(
                "the request body is not valid JSON {error}"
            ))));
        }
        let mut messages = "[]";
        for (name, value) in Value::first(json.as_bytes()).map(Value::members).into_iter().flatten()
        {
            match name.to_string().as_str() {
                "messages" => messages = value.as_json(),
                "tools" => self.declared = Some(value.as_json().to_owned()),
                "stream" => self.stream = value.as_bool().unwrap_or(false),
                name => {
                    let set = self.params.set_json(name, value.as_json()).map(|_| ());
                    self.note(set);
                }
            }
        }
        self.messages(messages)
    }

    /// The run that [`Run::snapshot`] wrote, exactly where it was, with this builder's parameters,
    /// tools and limits. Calls that had run do not run again.
    ///
    /// ```no_run
    /// # async fn f(client: toolrunner_std::Client, run: toolrunner_std::Run) -> Result<(), Box<dyn std::error::Error>> {
    /// std::fs::write("run.json", run.snapshot()?)?;
    /// // Later, elsewhere:
    /// let mut run = client.run("claude-opus-4-7").resume(&std::fs::read_to_string("run.json")?);
    /// run.answer("toolu_1", "Approved.")?;
    /// let finished = run.until_done().await?;
    /// # Ok(()) }
    /// ```
    /// What is no snapshot, or one of another version, is told at the run's first use.
    pub fn resume(self, snapshot: &str) -> Run {
        let (capacity, unique_ids) = (self.capacity, self.unique_ids);
        let mut run = self.empty();
        let restored =
            Machine::from_snapshot(snapshot.as_bytes(), Transcript::growing_to(capacity)).and_then(
                |mut machine| {
                    machine.unique_ids(unique_ids)?;
                    Ok(machine)
                },
            );
        match restored {
            Ok(mut machine) => {
                *machine.limits_mut() = *run.machine.limits();
                *machine.retry_mut() = *run.machine.retry_mut();
                *machine.compaction_mut() = *run.machine.compaction_mut();
                *machine.when_full_mut() = *run.machine.when_full_mut();
                machine.on_break(run.on_break);
                run.machine = machine;
            }
            Err(error) => {
                run.invalid.get_or_insert_with(|| error.into());
            }
        }
        run
    }

    /// The run, with nothing said yet.
    pub fn empty(mut self) -> Run {
        if let Some(declared) = self.declared.take()
            && let Err(error) = self.toolset.declare(&declared)
        {
            self.note::<()>(Err(error));
        }
        if self.params.json("max_tokens").is_none() {
            self.params.max_tokens(DEFAULT_MAX_TOKENS);
        }
        let mut machine = Machine::new(Transcript::growing_to(self.capacity));
        *machine.limits_mut() = self.limits;
        *machine.retry_mut() = self.retry;
        *machine.compaction_mut() = self.compaction;
        *machine.when_full_mut() = self.when_full;
        machine.on_break(self.on_break);
        // No request is under way, and there is no call that would have to be renamed.
        let _ = machine.unique_ids(self.unique_ids);
        let id = NEXT.fetch_add(1, Ordering::Relaxed) as u64;
        Run {
            id,
            retried: None,
            machine,
            transport: self.settings.transport().clone(),
            settings: self.settings,
            clock: self.clock,
            params: self.params,
            stream: self.stream,
            toolset: self.toolset,
            concurrency: self.concurrency,
            on_break: self.on_break,
            eager: self.eager,
            early: super::early::Early::default(),
            invalid: self.invalid,
            prefix: None,
            summary_model: self.summary_model,
            summary: None,
            before_summary: None,
            server_compaction: String::new(),
            compactions: 0,
            reply: None,
            has_progressed: false,
            announced: false,
            envelope: Envelope::default(),
            jobs: super::Jobs::of(id),
            trace: self.trace,
            untold: std::collections::VecDeque::new(),
            next_params: Params::default(),
            gate: self.hooks.gate,
            allowed: Vec::new(),
            dialogues: Vec::new(),
            hook: self.hooks.hook,
            result_cap: self.hooks.result_cap,
            state: self.hooks.state,
            cancel: self.cancel,
            watch: None,
            is_wound_down: false,
            busy: 0,
            grace: self.grace,
        }
    }
}

/// Says the body fields that `new` has and `old` had not, or other than that: what was said for the
/// run stays.
pub(super) fn apply_body_fields(old: &Settings, new: &Settings, params: &mut Params) {
    for (name, json) in new.body_fields() {
        if !old.body_fields().any(|known| known == (name, json)) {
            // Both were checked with the settings.
            let _ = params.set_json(name, json);
        }
    }
}
