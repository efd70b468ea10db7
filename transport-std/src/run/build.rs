//! The configuration of a run before its first message.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use serde::Serialize;
use toolrunner_core::__private::Options;
use toolrunner_core::__private::client::{Envelope, check_beside_options};
use toolrunner_core::__private::drive::{Exchange, Loop};
use toolrunner_core::json::Value;
use toolrunner_core::policy::RetryPolicy;
use toolrunner_core::run::Run as Machine;
use toolrunner_core::tool::Tools;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::MessageThread;

use super::body::Request;
use super::concurrent::Concurrent;
use super::hooks::Hooks;
use super::notes::Notes;
use super::tools::{OwnTools, Toolset};
use super::trace::Trace;
use super::{Content, DEFAULT_CONCURRENCY, Run, ToMessages};
use crate::clock::{DynClock, SharedClock};
use crate::config::{ClientBuilder, Settings};
use crate::error::Error;
use crate::params::Params;

/// The number of the next run.
pub(super) static NEXT: AtomicUsize = AtomicUsize::new(1);

/// The maximum number of tokens of a reply if none is set.
pub const DEFAULT_MAX_TOKENS: u32 = 4096;

/// Configures a run. Mistakes in the configuration are reported when the run is first used.
///
/// Two kinds of methods consume the builder:
///
/// - Settings, such as [`system`](Self::system), [`tools`](Self::tools) and
///   [`limits`](Self::limits), return it changed.
/// - Five methods say where the conversation begins, and return the [`Run`]. Each ends the chain:
///   [`user`](Self::user) with a first message, [`messages`](Self::messages) with an existing
///   conversation, [`body`](Self::body) with the body of a request, [`resume`](Self::resume) with a
///   snapshot, and [`empty`](Self::empty) with nothing yet.
#[derive(Debug)]
#[must_use]
pub struct RunBuilder {
    settings: Arc<Settings>,
    params: Params,
    stream: bool,
    pub(super) toolset: Toolset,
    concurrency: usize,
    eager: bool,
    options: Options,
    capacity: usize,
    summary_model: Option<String>,
    clock: SharedClock,
    invalid: Option<Error>,
    pub(super) hooks: Hooks,
    pub(super) trace: Trace,
    pub(super) keeps_text: bool,
    /// The tool definitions of a request body that was passed as a whole.
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
            options: Options { retry, ..Options::default() },
            capacity: Transcript::GROWING_LIMIT,
            summary_model: None,
            clock: SharedClock::default(),
            invalid,
            settings,
            hooks: Hooks::default(),
            trace: Trace::default(),
            keeps_text: false,
            declared: None,
        }
    }

    pub(super) const fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    pub(super) fn note<T>(&mut self, result: Result<T, impl Into<Error>>) {
        if let Err(error) = result
            && self.invalid.is_none()
        {
            self.invalid = Some(error.into());
        }
    }

    toolrunner_core::__private::client::run_options!();

    /// Sets a parameter of the request to any value that serde can serialize:
    /// `.param("temperature", 0.5)`.
    pub fn param(mut self, name: &str, value: impl Serialize) -> Self {
        let set = self.params.set(name, value).map(|_| ());
        self.note(set);
        self
    }

    /// Sets whether the API caches each request: the tools, the system prompt and the conversation
    /// up to its end, by the request's top-level `cache_control`. It needs no cache breakpoints,
    /// moves on with the conversation, and expires after five minutes without a use. Default: no.
    pub fn cache(mut self, is_on: bool) -> Self {
        self.params.cache(is_on);
        self
    }

    /// Adds tools: one tool or toolbox, or a tuple, array, `Vec` or `Option` of them. They follow
    /// those added before. A name that is already in use is reported when the run is first used,
    /// and so is the schema of a `strict` tool that the API would refuse.
    /// The [guide](crate::guide::tools) shows each form.
    pub fn tools(mut self, tools: impl Tools) -> Self {
        match self.toolset.with(tools) {
            Ok(toolset) => self.toolset = toolset,
            Err(misuse) => self.note::<()>(Err(misuse)),
        }
        self
    }

    /// Sets whether the server keeps the conversation in a message thread, so that each request
    /// contains only the new messages: see [`MessageThread`] and the
    /// [guide](crate::guide::message_threads). Default: [`MessageThread::Off`].
    ///
    /// The requests have the beta `message-threads-2026-08-12`. Amazon Bedrock and Vertex AI have
    /// no threads, and [client-side fallbacks](crate::fallback) cannot be combined with them.
    pub const fn message_thread(mut self, thread: MessageThread) -> Self {
        self.options.message_thread = thread;
        self
    }

    /// Sets the clock: another runtime's timers, or a test's clock. Default: tokio's.
    pub fn clock(mut self, clock: impl DynClock) -> Self {
        self.clock = SharedClock(Arc::new(clock));
        self
    }

    /// Changes the client's settings for this run: credential, base URL, betas, headers, query,
    /// body fields, timeouts, retries. Connections stay shared.
    ///
    /// ```no_run
    /// # fn f(client: toolrunner_std::Client) {
    /// let run = client
    ///     .run("claude-haiku-4-5")
    ///     .settings(|client| client.beta("context-1m-2025-08-07"))
    ///     .user("hello");
    /// # }
    /// ```
    pub fn settings(mut self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> Self {
        match change(self.settings.to_builder()).settings() {
            Ok(settings) => {
                if settings.retry_after_cap() != self.settings.retry_after_cap() {
                    self.options.retry.retry_after_cap = settings.retry_after_cap();
                }
                if settings.max_retries() != self.settings.max_retries() {
                    self.options.retry.retries = settings.max_retries();
                }
                apply_body_fields(&self.settings, &settings, &mut self.params);
                self.settings = Arc::new(settings);
            }
            Err(error) => self.note::<()>(Err(error)),
        }
        self
    }

    /// Creates the run, with a user message as its first: a text, or a [`Content`] with images and
    /// documents. A text that is empty or only white space, and a mistake in the content, are
    /// reported when the run is first used.
    pub fn user(self, content: impl Into<Content>) -> Run {
        let mut run = self.empty();
        if let Err(error) = run.put_user(&content.into()) {
            run.invalid.get_or_insert(error);
        }
        run
    }

    /// Creates the run from a conversation: typed messages, or a JSON array. See [`ToMessages`]. If
    /// the API would refuse it,
    /// the error is reported when the run is first used, with message and block; see
    /// [`Run::replace_history`].
    pub fn messages(self, messages: impl ToMessages) -> Run {
        let mut run = self.empty();
        if let Err(error) = run.replace_history(messages) {
            run.invalid.get_or_insert(error);
        }
        run
    }

    /// Creates the run from a request body in JSON: its `messages` become the conversation, and
    /// every other member a parameter. Tools of the body that [`tools`](Self::tools) did not add
    /// are only declared: the server runs them, or the caller answers their calls.
    pub fn body(mut self, json: &str) -> Run {
        if let Err(error) = toolrunner_core::__private::check(json.as_bytes()) {
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

    /// Restores the run that [`Run::snapshot`] wrote, exactly where it was, with this builder's
    /// parameters, tools and limits. Calls that had run do not run again.
    ///
    /// ```no_run
    /// # use toolrunner_std::{Client, Run};
    /// # async fn f(client: Client, run: Run) -> Result<(), Box<dyn std::error::Error>> {
    /// std::fs::write("run.json", run.snapshot()?)?;
    /// // Later, elsewhere:
    /// let mut run = client.run("claude-opus-4-7").resume(&std::fs::read_to_string("run.json")?);
    /// run.answer("toolu_1", "Approved.")?;
    /// let finished = run.until_done().await?;
    /// # Ok(()) }
    /// ```
    /// A text that is not a snapshot, or is one of another version, is reported when the run is
    /// first used.
    pub fn resume(self, snapshot: &str) -> Run {
        let (capacity, options) = (self.capacity, self.options);
        let mut run = self.empty();
        let restored =
            Machine::from_snapshot(snapshot.as_bytes(), Transcript::growing_to(capacity)).and_then(
                |mut machine| {
                    options.apply(&mut machine)?;
                    Ok(machine)
                },
            );
        match restored {
            Ok(machine) => run.machine = machine,
            Err(error) => {
                run.invalid.get_or_insert_with(|| error.into());
            }
        }
        run
    }

    /// Creates the run without any message.
    pub fn empty(mut self) -> Run {
        if let Some(declared) = self.declared.take()
            && let Err(error) = self.toolset.declare(&declared)
        {
            self.note::<()>(Err(error));
        }
        let strict = self.toolset.check_strict();
        self.note(strict);
        if self.params.json("max_tokens").is_none() {
            self.params.max_tokens(DEFAULT_MAX_TOKENS);
        }
        let is_set = |name: &str| self.params.json(name).is_some();
        if let Err(error) = check_beside_options(&self.options, is_set) {
            self.note::<()>(Err(Error::Invalid(error.to_owned())));
        }
        if self.options.message_thread != MessageThread::Off
            && self.settings.transport().has_fallback()
        {
            let error = "a message thread cannot be combined with fallbacks of the client: another \
                         model would be asked to continue it";
            self.note::<()>(Err(Error::Invalid(error.to_owned())));
        }
        let mut machine = Machine::new(Transcript::growing_to(self.capacity));
        // This cannot fail: no request is under way, and no call has to be renamed.
        let _ = self.options.apply(&mut machine);
        let id = NEXT.fetch_add(1, Ordering::Relaxed) as u64;
        self.hooks.run = id;
        let executor = Concurrent::new(id, self.concurrency, self.trace);
        let mut turns = Loop::new(OwnTools(self.toolset), self.clock, self.hooks, executor);
        turns.is_eager = self.eager;
        Run {
            id,
            machine,
            transport: self.settings.transport().clone(),
            settings: self.settings,
            request: Request::new(self.params, self.stream, self.summary_model),
            turns,
            exchange: Exchange::Idle,
            invalid: self.invalid,
            before_summary: None,
            envelope: Envelope::default(),
            injected: None,
            shown: self.keeps_text.then(Box::default),
            times: super::times::Times::default(),
            notes: Notes::default(),
        }
    }
}

/// Sets the body fields that `new` adds or changes. Parameters that were set for the run stay
/// otherwise.
pub(super) fn apply_body_fields(old: &Settings, new: &Settings, params: &mut Params) {
    for (name, json) in new.body_fields() {
        if !old.body_fields().any(|known| known == (name, json)) {
            // Both were checked with the settings.
            let _ = params.set_json(name, json);
        }
    }
}
