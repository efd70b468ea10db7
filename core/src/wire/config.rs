//! The configuration of requests: typed fields, and further members of the body as JSON.

use core::ops::Deref;

use heapless::Vec;

use super::thread::MessageThread;
use crate::error::Misuse;
use crate::json::{Object, check, check_members, plain_run};
use crate::policy::{Limits, RetryPolicy};

/// The maximum number of header fields in a request, including the caller's additional ones.
pub(crate) const MAX_HEADERS: usize = 12;

/// The address of the API.
pub(crate) const BASE_URL: &str = "https://api.anthropic.com";
/// The default version of the API.
pub(crate) const API_VERSION: &str = "2023-06-01";

/// The credentials that a request sends. `Debug` does not print the secret.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Auth<'a> {
    /// The value of the header `authorization`, including the scheme: `Bearer …`.
    Bearer(&'a str),
    /// An API key, sent as `x-api-key`.
    Key(&'a str),
    /// No credentials, for example because a gateway adds them.
    None,
}

impl core::fmt::Debug for Auth<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(…)",
            Self::Key(_) => "Key(…)",
            Self::None => "None",
        })
    }
}

/// The settings of requests, apart from the conversation and the tools. All constructors are
/// `const`, so that the configuration of a microcontroller can be a constant in flash.
///
/// ```
/// use toolrunner_core::wire::{Auth, Config};
/// const CONFIG: Config<'static> = Config::new("claude-haiku-4-5", 512)
///     .auth(Auth::Key("…"))
///     .system("You run a thermostat.")
///     .base_url("http://192.168.1.2:8080");
/// CONFIG.check()?;
/// # Ok::<(), toolrunner_core::error::Misuse>(())
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Config<'a> {
    /// The name of the model.
    pub model: &'a str,
    /// The maximum number of tokens in a reply.
    pub max_tokens: u32,
    /// The system prompt, as text.
    pub system: Option<&'a str>,
    /// Further members of the body as JSON, without braces, such as
    /// `"thinking":{"type":"adaptive"},"stop_sequences":["END"]`. They must not include the members
    /// that the other fields and the run write.
    pub params: &'a str,
    /// The `compaction` member, as JSON, of a request that asks the server to compact
    /// ([`Run::compact_on_server`](crate::run::Run::compact_on_server)). It may have
    /// `"instructions"`. The default is `{"type":"summarize"}`.
    pub compaction: &'a str,
    /// Whether replies are streamed. The default is `true`.
    pub stream: bool,
    /// The base URL: `http://` or `https://`, the authority and optionally a path. If it ends with
    /// `/v1` or `/v1/messages` and [`path`](Self::path) begins with the same text, this text is
    /// sent only once.
    pub base_url: &'a str,
    /// The path below the base URL, optionally with a query.
    pub path: &'a str,
    /// The credentials.
    pub auth: Auth<'a>,
    /// The version of the API, sent as `anthropic-version`.
    pub api_version: &'a str,
    /// The names of beta features, separated by commas, sent as `anthropic-beta`. If empty, the
    /// header is not sent.
    pub betas: &'a str,
    /// Additional header fields, with names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// Whether the server keeps the conversation in a message thread. Unless it is
    /// [`MessageThread::Off`], a driver that is created with this configuration sets it for each run
    /// that it drives. A later change ([`Driver::config_mut`](crate::drive::Driver::config_mut)) has
    /// no effect: use [`Run::set_message_thread`](crate::run::Run::set_message_thread). The header
    /// `anthropic-beta` gets the necessary beta in a line of its own.
    pub message_thread: MessageThread,
    /// The limits of a run that has no limits of its own. A run takes them over once, when a driver
    /// starts it ([`Run::configure`](crate::run::Run::configure)). The default is no limit.
    pub limits: Limits,
    /// The retry policy of a run that has no retry policy of its own. A run takes it over once,
    /// when a driver starts it ([`Run::configure`](crate::run::Run::configure)).
    pub retry: RetryPolicy,
}

impl<'a> Config<'a> {
    /// The default address: that of the API.
    pub const BASE_URL: &'static str = BASE_URL;
    /// The default version of the API, sent as the header `anthropic-version`.
    pub const API_VERSION: &'static str = API_VERSION;
    /// The maximum number of header fields in a request, including the caller's additional ones.
    pub const MAX_HEADERS: usize = MAX_HEADERS;
    /// The maximum number of tools in a request whose body consists of slices, as on a chip.
    pub const MAX_TOOLS: usize = super::request::MAX_TOOLS;

    /// Creates a configuration with the default values: the provider's address, API version
    /// 2023-06-01, streamed replies, no credentials.
    pub const fn new(model: &'a str, max_tokens: u32) -> Self {
        Self {
            model,
            max_tokens,
            system: None,
            params: "",
            compaction: "{\"type\":\"summarize\"}",
            stream: true,
            base_url: BASE_URL,
            path: "/v1/messages",
            auth: Auth::None,
            api_version: API_VERSION,
            betas: "",
            headers: &[],
            message_thread: MessageThread::Off,
            limits: Limits::NONE,
            retry: RetryPolicy::DEFAULT,
        }
    }

    /// Sets the [`system`](Self::system) prompt.
    #[must_use]
    pub const fn system(mut self, system: &'a str) -> Self {
        self.system = Some(system);
        self
    }

    /// Sets further members of the body, as JSON: [`params`](Self::params).
    #[must_use]
    pub const fn params(mut self, params: &'a str) -> Self {
        self.params = params;
        self
    }

    /// Sets the [`compaction`](Self::compaction) member of a request that asks the server to
    /// compact.
    #[must_use]
    pub const fn compaction(mut self, compaction: &'a str) -> Self {
        self.compaction = compaction;
        self
    }

    /// Sets whether replies are streamed: [`stream`](Self::stream).
    #[must_use]
    pub const fn stream(mut self, stream: bool) -> Self {
        self.stream = stream;
        self
    }

    /// Sets the base URL, to which the path is appended: [`base_url`](Self::base_url).
    #[must_use]
    pub const fn base_url(mut self, base_url: &'a str) -> Self {
        self.base_url = base_url;
        self
    }

    /// Sets the credentials: [`auth`](Self::auth).
    #[must_use]
    pub const fn auth(mut self, auth: Auth<'a>) -> Self {
        self.auth = auth;
        self
    }

    /// Sets the names of beta features, separated by commas: [`betas`](Self::betas).
    #[must_use]
    pub const fn betas(mut self, betas: &'a str) -> Self {
        self.betas = betas;
        self
    }

    /// Sets additional header fields, with names in lower case: [`headers`](Self::headers).
    #[must_use]
    pub const fn headers(mut self, headers: &'a [(&'a str, &'a str)]) -> Self {
        self.headers = headers;
        self
    }

    /// Sets whether the server keeps the conversation in a message thread:
    /// [`message_thread`](Self::message_thread).
    #[must_use]
    pub const fn message_thread(mut self, thread: MessageThread) -> Self {
        self.message_thread = thread;
        self
    }

    /// Sets the limits of a run that has no limits of its own: [`limits`](Self::limits).
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets the retry policy of a run that has no retry policy of its own: [`retry`](Self::retry).
    #[must_use]
    pub const fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Returns whether there are limits or a retry policy that a run must take over.
    pub(crate) fn configures_runs(&self) -> bool {
        self.limits != Limits::NONE || self.retry != RetryPolicy::DEFAULT
    }

    /// Checks for settings that no request can carry.
    ///
    /// # Errors
    /// Returns [`Misuse::Setting`] with a description of the problem.
    pub fn check(&self) -> Result<(), Misuse> {
        self.check_beside(0)
    }

    /// Checks the settings like [`check`](Self::check), but for requests that list `tools` tools.
    /// If there are any, [`params`](Self::params) must not contain `tools`.
    ///
    /// # Errors
    /// Returns [`Misuse::Setting`] with a description of the problem.
    pub fn check_beside(&self, tools: usize) -> Result<(), Misuse> {
        let plain = |text: &str| plain_run(text.as_bytes(), 0) == text.len();
        if self.model.is_empty() || !plain(self.model) {
            return Err(Misuse::Setting(
                "the model name must not be empty and must not contain characters that JSON escapes",
            ));
        }
        if self.system.is_some_and(|system| !plain(system)) {
            return Err(Misuse::Setting(
                "the system prompt contains a character that JSON escapes: pass it escaped, as params `\"system\":\"…\"`",
            ));
        }
        let Ok(checked) = check_members(self.params.as_bytes()) else {
            return Err(Misuse::Setting(
                "params must be members of a JSON object, without the braces",
            ));
        };
        if checked.lone_surrogate.is_some() {
            return Err(Misuse::Setting("unpaired surrogate in params"));
        }
        for (name, _) in Object::inside(self.params.as_bytes()) {
            let own = ["model", "max_tokens", "messages", "stream"].iter().any(|own| name == **own);
            let (system, listed) = (self.system.is_some(), tools > 0);
            let thread = self.message_thread != MessageThread::Off;
            if own
                || (system && name == *"system")
                || (listed && name == *"tools")
                || (thread && name == *"thread")
            {
                return Err(Misuse::Setting(
                    "params must not repeat a member of the request, such as model",
                ));
            }
        }
        if check(self.compaction.as_bytes()).is_err() {
            return Err(Misuse::Setting("compaction must be valid JSON"));
        }
        let key = match self.auth {
            Auth::Bearer(text) | Auth::Key(text) => text,
            Auth::None => "",
        };
        let is_wrong = |text: &str| text.bytes().any(|byte| byte < 0x20 || byte == 0x7f);
        let own = [self.api_version, self.betas, key, self.path, self.base_url];
        if own.into_iter().any(is_wrong) || self.headers.iter().any(|(_, value)| is_wrong(value)) {
            return Err(Misuse::Setting(
                "a header field, the key or the address contains a control character",
            ));
        }
        let thread = usize::from(self.message_thread != MessageThread::Off);
        if self.headers.len() + 6 + thread > MAX_HEADERS {
            return Err(Misuse::Setting("too many header fields"));
        }
        Ok(())
    }

    /// Returns the header fields of a request that needs no other beta.
    pub fn fields(&self) -> impl Deref<Target = [(&'a str, &'a str)]> + use<'a> {
        self.fields_with(None)
    }

    /// Returns the header fields of a request that also needs `beta`.
    // Not inlined, so that the fields are created in their final location and do not use stack
    // space in the caller's frame.
    #[inline(never)]
    pub(crate) fn fields_with(
        &self,
        beta: Option<&'static str>,
    ) -> Vec<(&'a str, &'a str), MAX_HEADERS> {
        let mut fields = Vec::new();
        // `check` refuses more fields than fit.
        let mut add = |name, value| {
            let _fits = fields.push((name, value));
        };
        add("content-type", "application/json");
        add("accept", "application/json");
        add("anthropic-version", self.api_version);
        match self.auth {
            Auth::Bearer(token) => add("authorization", token),
            Auth::Key(key) => add("x-api-key", key),
            Auth::None => {}
        }
        if !self.betas.is_empty() {
            add("anthropic-beta", self.betas);
        }
        if let Some(beta) = beta {
            // A second line adds to the first one (RFC 9110, section 5.3), so that the two need not
            // be joined in memory.
            add("anthropic-beta", beta);
        }
        for &(name, value) in self.headers {
            add(name, value);
        }
        fields
    }
}
