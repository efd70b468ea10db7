//! The configuration of requests: typed fields, and further members of the body as JSON.

use heapless::Vec;

use crate::error::Misuse;
use crate::json::{Kind, Object, Value, check, escape};
use crate::policy::{Limits, RetryPolicy};

/// Most header fields of a request, the caller's extra ones included.
pub const MAX_HEADERS: usize = 12;

/// The API's address.
pub const BASE_URL: &str = "https://api.anthropic.com";
/// The API version that is asked for if nothing else is said.
pub const API_VERSION: &str = "2023-06-01";

/// How the caller shows who it is. `Debug` does not tell the secret.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Auth<'a> {
    /// `authorization: Bearer …`; the text with `Bearer ` before it.
    Bearer(&'a str),
    /// `x-api-key`.
    Key(&'a str),
    /// Nothing: a gateway knows.
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

/// What requests say besides the conversation and the tools. Const-constructible: a chip's is a
/// constant in flash.
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
    /// The model's name.
    pub model: &'a str,
    /// Most tokens of a reply.
    pub max_tokens: u32,
    /// The system prompt, as text.
    pub system: Option<&'a str>,
    /// Further members of the body as JSON, such as
    /// `"thinking":{"type":"adaptive"},"stop_sequences":["END"]`; without braces, and without those
    /// that the other fields and the run write.
    pub params: &'a str,
    /// The `compaction` member of a request that asks the server to compact
    /// ([`Run::compact_on_server`](crate::run::Run::compact_on_server)), as JSON. Default
    /// `{"type":"summarize"}`; it may have `"instructions"`.
    pub compaction: &'a str,
    /// Whether replies are streamed. Default yes.
    pub stream: bool,
    /// Scheme, authority and perhaps a path: see [`BaseUrl`](super::BaseUrl). A `/v1` or
    /// `/v1/messages` at its end with which [`path`](Self::path) begins is sent once.
    pub base_url: &'a str,
    /// The path below the base URL, and a query if one is wanted.
    pub path: &'a str,
    /// Who asks.
    pub auth: Auth<'a>,
    /// `anthropic-version`.
    pub api_version: &'a str,
    /// `anthropic-beta`: names with commas between. None if empty.
    pub betas: &'a str,
    /// Further header fields, names in lower case.
    pub headers: &'a [(&'a str, &'a str)],
    /// What a run may spend, if the run itself has no limits. A run takes them over once, when a
    /// driver begins with it ([`Run::configure`](crate::run::Run::configure)). Default: no limit.
    pub limits: Limits,
    /// When requests are sent again, if the run itself has no retry policy. Taken over as
    /// [`limits`](Self::limits) are.
    pub retry: RetryPolicy,
}

impl<'a> Config<'a> {
    /// The defaults: the provider's address, its version of 2023-06-01, streamed, no key.
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
            limits: Limits::NONE,
            retry: RetryPolicy::DEFAULT,
        }
    }

    /// Sets [`system`](Self::system).
    #[must_use]
    pub const fn system(mut self, system: &'a str) -> Self {
        self.system = Some(system);
        self
    }

    /// Sets [`params`](Self::params).
    #[must_use]
    pub const fn params(mut self, params: &'a str) -> Self {
        self.params = params;
        self
    }

    /// Sets [`compaction`](Self::compaction).
    #[must_use]
    pub const fn compaction(mut self, compaction: &'a str) -> Self {
        self.compaction = compaction;
        self
    }

    /// Sets [`stream`](Self::stream).
    #[must_use]
    pub const fn stream(mut self, stream: bool) -> Self {
        self.stream = stream;
        self
    }

    /// Sets [`base_url`](Self::base_url).
    #[must_use]
    pub const fn base_url(mut self, base_url: &'a str) -> Self {
        self.base_url = base_url;
        self
    }

    /// Sets [`auth`](Self::auth).
    #[must_use]
    pub const fn auth(mut self, auth: Auth<'a>) -> Self {
        self.auth = auth;
        self
    }

    /// Sets [`betas`](Self::betas).
    #[must_use]
    pub const fn betas(mut self, betas: &'a str) -> Self {
        self.betas = betas;
        self
    }

    /// Sets [`headers`](Self::headers).
    #[must_use]
    pub const fn headers(mut self, headers: &'a [(&'a str, &'a str)]) -> Self {
        self.headers = headers;
        self
    }

    /// Sets [`limits`](Self::limits).
    #[must_use]
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`retry`](Self::retry).
    #[must_use]
    pub const fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// Whether a run has anything to take over.
    pub(crate) fn configures_runs(&self) -> bool {
        self.limits != Limits::NONE || self.retry != RetryPolicy::DEFAULT
    }

    /// Checks what no request could carry.
    ///
    /// # Errors
    /// [`Misuse::Setting`], in words.
    pub fn check(&self) -> Result<(), Misuse> {
        self.check_beside(0)
    }

    /// [`check`](Self::check) for requests that list this many tools: then
    /// [`params`](Self::params) have no `tools`.
    ///
    /// # Errors
    /// [`Misuse::Setting`], in words.
    pub(crate) fn check_beside(&self, tools: usize) -> Result<(), Misuse> {
        let plain = |text: &str| escape(text).len() == text.len();
        if self.model.is_empty() || !plain(self.model) {
            return Err(Misuse::Setting("the model's name is not empty and needs no escape"));
        }
        if self.system.is_some_and(|system| !plain(system)) {
            return Err(Misuse::Setting(
                "the system prompt has a character that JSON escapes: give it escaped, as params `\"system\":\"…\"`",
            ));
        }
        if !members(self.params.as_bytes()) {
            return Err(Misuse::Setting("params are members of a JSON object, without its braces"));
        }
        for (name, value) in Object::inside(self.params.as_bytes()) {
            if check(value.raw()).is_ok_and(|checked| checked.lone_surrogate.is_some()) {
                return Err(Misuse::Setting("params have a lone surrogate, which is not text"));
            }
            let own = ["model", "max_tokens", "messages", "stream"].iter().any(|own| name == **own);
            let (system, listed) = (self.system.is_some(), tools > 0);
            if own || (system && name == *"system") || (listed && name == *"tools") {
                return Err(Misuse::Setting(
                    "params have a member that the request has already, such as model",
                ));
            }
        }
        if check(self.compaction.as_bytes()).is_err() {
            return Err(Misuse::Setting("what the server is told about a compaction is JSON"));
        }
        let key = match self.auth {
            Auth::Bearer(text) | Auth::Key(text) => text,
            Auth::None => "",
        };
        let is_wrong = |text: &str| text.bytes().any(|byte| byte < 0x20 || byte == 0x7f);
        let own = [self.api_version, self.betas, key, self.path, self.base_url];
        if own.into_iter().any(is_wrong) || self.headers.iter().any(|(_, value)| is_wrong(value)) {
            return Err(Misuse::Setting(
                "a header field, the key or the address has a control character",
            ));
        }
        if self.headers.len() + 6 > MAX_HEADERS {
            return Err(Misuse::Setting("too many header fields"));
        }
        Ok(())
    }

    /// The header fields of a request.
    // Made where they are to lie, and not in the caller's frame first.
    #[inline(never)]
    pub fn fields(&self) -> Vec<(&'a str, &'a str), MAX_HEADERS> {
        let mut fields = Vec::new();
        // More than fit are refused at set-up.
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
        for &(name, value) in self.headers {
            add(name, value);
        }
        fields
    }
}

/// Whether `text` is the inside of a JSON object.
pub(crate) fn members(text: &[u8]) -> bool {
    // White space to Rust, but not to JSON.
    if text.contains(&0x0c) {
        return false;
    }
    let mut rest = text.trim_ascii();
    while !rest.is_empty() {
        let Some(key) =
            Value::first(rest).filter(|key| key.kind() == Kind::String && check(key.raw()).is_ok())
        else {
            return false;
        };
        let after = rest
            .get(key.raw().len()..)
            .map(<[u8]>::trim_ascii_start)
            .and_then(|rest| rest.strip_prefix(b":"));
        let Some(after) = after.map(<[u8]>::trim_ascii_start) else { return false };
        let Some(value) = Value::first(after).filter(|value| check(value.raw()).is_ok()) else {
            return false;
        };
        rest = after.get(value.raw().len()..).unwrap_or_default().trim_ascii_start();
        match rest.strip_prefix(b",") {
            // A comma asks for one more.
            Some(more) if !more.trim_ascii_start().is_empty() => rest = more.trim_ascii_start(),
            Some(_) => return false,
            None => return rest.is_empty(),
        }
    }
    true
}
