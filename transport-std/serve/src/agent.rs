//! The agent that a server serves.

use core::fmt;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use toolrunner_std::{Client, RunBuilder, Tools};
use uuid::Uuid;

/// A session, as [`Agent::from_fn`] receives it for each turn.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Session {
    /// The session's id.
    pub id: Uuid,
    /// The owner of the session. Empty if the server has no owners.
    pub owner: String,
    /// The metadata that the session was created with.
    pub metadata: BTreeMap<String, String>,
}

/// An agent: a model with its parameters and tools. Each turn of a session uses a new run.
///
/// ```no_run
/// use toolrunner_serve::Agent;
/// use toolrunner_std::{Client, tool};
///
/// /// Add two numbers together.
/// #[tool(idempotent)]
/// fn calculate_sum(a: i64, b: i64) -> i64 {
///     a.saturating_add(b)
/// }
///
/// let agent = Agent::new(Client::from_env()?, "claude-opus-4-7")
///     .system("Be brief.")
///     .tools(calculate_sum);
/// # Ok::<(), toolrunner_std::SetupError>(())
/// ```
/// A tool that is marked `requires_approval` waits until somebody approves the call. A tool that is
/// marked `idempotent` runs again if the server died while it ran. Tools ask the user questions
/// with [`ask`](crate::ask()).
#[derive(Clone)]
pub struct Agent {
    pub(crate) model: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) system_messages: bool,
    /// Returns an error if something is missing. Called before the agent is served.
    pub(crate) check: Option<Arc<dyn Fn() -> Result<(), String> + Send + Sync>>,
}

#[derive(Clone)]
pub(crate) enum Kind {
    Run(Arc<dyn Fn(&Session) -> RunBuilder + Send + Sync>),
    Function(Arc<dyn Fn(String) -> BoxFuture<'static, Result<String, String>> + Send + Sync>),
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("model", &self.model).finish_non_exhaustive()
    }
}

impl Agent {
    /// Creates an agent that calls `model` through `client`.
    pub fn new(client: Client, model: impl Into<String>) -> Self {
        let model = model.into();
        let name = model.clone();
        Self::from_fn(model, move |_| client.run(&name))
    }

    /// Creates an agent that calls `model` through a client from the environment; see
    /// [`Client::from_env`]. The environment is read when the agent is served, so a program's other
    /// commands work without a key.
    pub fn from_env(model: impl Into<String>) -> Self {
        let model = model.into();
        let client =
            Arc::new(LazyLock::new(|| Client::from_env().map_err(|error| error.to_string())));
        let (name, known) = (model.clone(), Arc::clone(&client));
        let build = move |_: &Session| match &**known {
            Ok(client) => client.run(&name),
            // Unreachable: an agent that fails its check is not served.
            Err(_) => Client::builder()
                .base_url("http://127.0.0.1:0")
                .build()
                .map_or_else(|_| unreachable!(), |client| client.run(&name)),
        };
        let check = move || client.as_ref().as_ref().map(|_| ()).map_err(String::clone);
        Self { check: Some(Arc::new(check)), ..Self::from_fn(model, build) }
    }

    /// Creates an agent that builds its run for each turn, so that its tools can hold data of the
    /// session's user. `model` is the name that the event log shows.
    ///
    /// The server sets the run's gate, its cancellation and its grace period, and replaces those
    /// that the builder has. Everything else is the builder's.
    ///
    /// With `MessageThread::Keep`, each turn starts a thread of its own, which its further requests
    /// continue. `MessageThread::Free` fails the turn, because the session keeps the messages.
    pub fn from_fn(
        model: impl Into<String>,
        build: impl Fn(&Session) -> RunBuilder + Send + Sync + 'static,
    ) -> Self {
        Self {
            model: Some(model.into()),
            kind: Kind::Run(Arc::new(build)),
            system_messages: false,
            check: None,
        }
    }

    /// Creates an agent without a model: a function answers the text of each message. An error of
    /// the function fails the turn.
    pub fn function<F, A, E>(answer: F) -> Self
    where
        F: Fn(String) -> A + Send + Sync + 'static,
        A: Future<Output = Result<String, E>> + Send + 'static,
        E: fmt::Display,
    {
        let answer = move |text| {
            answer(text).map(|answer| answer.map_err(|error| error.to_string())).boxed()
        };
        Self {
            model: None,
            kind: Kind::Function(Arc::new(answer)),
            system_messages: false,
            check: None,
        }
    }

    /// Changes how each run is built. Has no effect on an agent without a model.
    #[must_use]
    pub fn configure(
        mut self,
        change: impl Fn(RunBuilder) -> RunBuilder + Send + Sync + 'static,
    ) -> Self {
        if let Kind::Run(build) = self.kind {
            self.kind = Kind::Run(Arc::new(move |session| change(build(session))));
        }
        self
    }

    /// Sets the system prompt.
    #[must_use]
    pub fn system(self, text: impl Into<String>) -> Self {
        let text = text.into();
        self.configure(move |run| run.system(&text))
    }

    /// Sets the maximum number of tokens of a reply.
    #[must_use]
    pub fn max_tokens(self, most: u32) -> Self {
        self.configure(move |run| run.max_tokens(most))
    }

    /// Sets the maximum number of model replies in one turn. A turn that reaches it ends with the
    /// stop reason `max_iterations`.
    #[must_use]
    pub fn max_turns(self, most: u32) -> Self {
        self.configure(move |run| run.max_turns(most))
    }

    /// Sets any other parameter of the request.
    #[must_use]
    pub fn param(self, name: impl Into<String>, value: impl Serialize) -> Self {
        let name = name.into();
        match serde_json::to_string(&value) {
            Ok(json) => self.configure(move |run| run.param_json(&name, &json)),
            // The run reports the invalid value, as for any other parameter.
            Err(error) => {
                let text = format!("<{error}>");
                self.configure(move |run| run.param_json(&name, &text))
            }
        }
    }

    /// Sets the tools, which all sessions share: one, or a tuple of tools and toolboxes.
    #[must_use]
    pub fn tools(self, tools: impl Tools) -> Self {
        let tools = Arc::new(tools);
        self.configure(move |run| run.tools(Arc::clone(&tools)))
    }

    /// Sets whether messages of the role `system` are sent as such, which only newer versions of
    /// the API accept. The default is `false`: they are sent as user messages.
    #[must_use]
    pub const fn system_messages(mut self, sent: bool) -> Self {
        self.system_messages = sent;
        self
    }
}
