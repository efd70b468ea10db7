//! The configuration of a run before its first message.

use core::time::Duration;
use std::sync::Arc;

use toolrunner_core::__private::Options;
use toolrunner_core::__private::client::{Envelope, check_beside_options};
use toolrunner_core::__private::drive::{Exchange, Loop};
use toolrunner_core::json::{Kind, Value};
use toolrunner_core::run::Run as Machine;
use toolrunner_core::tool::{BoxTools, DeclaredTool, Tools};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::MessageThread;

use super::Run;
use crate::client::Settings;
use crate::clock::SystemClock;
use crate::error::Error;
use crate::hooks::Control;
use crate::params::Params;
use crate::threads::Threads;
use crate::tools::{OwnTools, Toolset, boxed};

/// The maximum number of tokens of a reply if none is set.
pub const DEFAULT_MAX_TOKENS: u32 = 4096;
/// The maximum number of calls of one turn that run at the same time, if none is set.
pub const DEFAULT_CONCURRENCY: usize = 32;
/// How long tools may continue after their run is cancelled, if no grace period is set.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

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
    tools: Vec<BoxTools>,
    /// Whether the request has a list of tools even if it is empty.
    lists_tools: bool,
    concurrency: usize,
    eager: bool,
    pub(crate) hooks: Control,
    options: Options,
    capacity: usize,
    summary_model: Option<String>,
    invalid: Option<Error>,
}

impl RunBuilder {
    pub(crate) fn new(settings: Arc<Settings>, model: &str) -> Self {
        let mut params = Params::default();
        params.model(model);
        Self {
            params,
            stream: true,
            tools: Vec::new(),
            lists_tools: false,
            concurrency: DEFAULT_CONCURRENCY,
            eager: false,
            hooks: Control::default(),
            options: Options { retry: settings.retry, ..Options::default() },
            capacity: Transcript::GROWING_LIMIT,
            summary_model: None,
            invalid: None,
            settings,
        }
    }

    toolrunner_core::__private::client::run_options!();

    /// Adds tools: one tool or toolbox, or a tuple, array, `Vec` or `Option` of them. They follow
    /// those added before.
    pub fn tools(mut self, tools: impl Tools) -> Self {
        self.tools.push(boxed(tools));
        self
    }

    /// Sets whether the server keeps the conversation in a message thread, so that each request
    /// contains only the new messages: see [`MessageThread`]. Default: [`MessageThread::Off`]. The
    /// requests have the beta `message-threads-2026-08-12`.
    pub const fn message_thread(mut self, thread: MessageThread) -> Self {
        self.options.message_thread = thread;
        self
    }

    /// Creates the run, with a user message as its first. A text that is empty or only white space
    /// is reported when the run is first used.
    pub fn user(self, text: &str) -> Run {
        let mut run = self.empty();
        if let Err(error) = run.machine.user(text) {
            run.invalid.get_or_insert_with(|| error.into());
        }
        run
    }

    /// Creates the run from a conversation: a JSON array of messages. If the API would refuse it,
    /// the error is reported when the run is first used, with message and block.
    pub fn messages(self, json: &str) -> Run {
        let mut run = self.empty();
        run.note_front();
        if let Err(error) = run.machine.replace_history(json) {
            run.invalid.get_or_insert_with(|| error.into());
        }
        run
    }

    /// Creates the run from a request body in JSON: its `messages` become the conversation, and
    /// every other member a parameter. Tools of the body that [`tools`](Self::tools) did not add
    /// are only declared: the server runs them, or the caller answers their calls. A mistake is
    /// reported when the run is first used.
    pub fn body(mut self, json: &str) -> Run {
        if let Err(error) = toolrunner_core::__private::check(json.as_bytes()) {
            let error = Error::Invalid(format!("the request body is not valid JSON {error}"));
            self.invalid.get_or_insert(error);
        }
        let mut messages = "[]";
        for (name, value) in Value::first(json.as_bytes()).map(Value::members).into_iter().flatten()
        {
            match name.to_string().as_str() {
                "messages" => messages = value.as_json(),
                "tools" => self.declare(value),
                "stream" => self.stream = value.as_bool().unwrap_or(false),
                name => self = self.param_json(name, value.as_json()),
            }
        }
        self.messages(messages)
    }

    /// Adds the definitions in a list of tools whose names are not known yet.
    fn declare(&mut self, list: Value<'_>) {
        if list.kind() != Kind::Array {
            let error = "the request body's \"tools\" must be an array".to_owned();
            self.invalid.get_or_insert(Error::Invalid(error));
            return;
        }
        self.lists_tools = true;
        for tool in list.elements() {
            let name = tool.member("name").and_then(Value::as_text).map(|name| name.to_string());
            let mut known = (0..self.tools.count()).filter_map(|i| self.tools.definition(i));
            if name.is_some_and(|name| known.any(|known| known.name == name)) {
                continue;
            }
            match DeclaredTool::new(tool.as_json().to_owned()) {
                Ok(declared) => self.tools.push(boxed(declared)),
                Err(misuse) => {
                    self.invalid.get_or_insert_with(|| misuse.into());
                }
            }
        }
    }

    /// Restores the run that [`Run::snapshot`] wrote, exactly where it was, with this builder's
    /// parameters, tools and limits. Calls that had run do not run again. A text that is not a
    /// snapshot, or is one of another version, is reported when the run is first used.
    ///
    /// ```no_run
    /// # use toolrunner_blocking::{Client, Run};
    /// # fn f(client: Client, run: Run) -> Result<(), Box<dyn std::error::Error>> {
    /// std::fs::write("run.json", run.snapshot()?)?;
    /// // Later, elsewhere:
    /// let mut run = client.run("claude-opus-4-7").resume(&std::fs::read_to_string("run.json")?);
    /// let finished = run.until_done()?;
    /// # Ok(()) }
    /// ```
    pub fn resume(self, snapshot: &str) -> Run {
        let transcript = Transcript::growing_to(self.capacity);
        let options = self.options;
        let mut run = self.empty();
        let restored = Machine::from_snapshot(snapshot.as_bytes(), transcript);
        match restored.and_then(|mut machine| options.apply(&mut machine).map(|()| machine)) {
            Ok(machine) => run.machine = machine,
            Err(error) => {
                run.invalid.get_or_insert_with(|| error.into());
            }
        }
        run
    }

    /// Creates the run without any message.
    pub fn empty(mut self) -> Run {
        if self.params.json("max_tokens").is_none() {
            self.params.max_tokens(DEFAULT_MAX_TOKENS);
        }
        let is_set = |name: &str| self.params.json(name).is_some();
        if let Err(error) = check_beside_options(&self.options, is_set) {
            self.invalid.get_or_insert_with(|| Error::Invalid(error.to_owned()));
        }
        let toolset = Toolset::new(self.tools, self.lists_tools).unwrap_or_else(|error| {
            self.invalid.get_or_insert(error);
            Toolset::none()
        });
        let mut machine = Machine::new(Transcript::growing_to(self.capacity));
        // This cannot fail: no request is under way, and no call has to be renamed.
        let _ = self.options.apply(&mut machine);
        let threads = Threads::new(self.concurrency);
        let mut turns = Loop::new(OwnTools(toolset), SystemClock::default(), self.hooks, threads);
        turns.is_eager = self.eager;
        Run {
            machine,
            transport: self.settings.transport.clone(),
            settings: self.settings,
            params: self.params,
            stream: self.stream,
            turns,
            exchange: Exchange::Idle,
            invalid: self.invalid,
            summary_model: self.summary_model,
            announced: false,
            envelope: Envelope::default(),
            before_summary: None,
            untold: std::collections::VecDeque::new(),
            is_wound_down: false,
        }
    }
}
