//! What a request says besides the conversation: configuration, as slices that are already there.

use heapless::Vec;

use crate::error::{Capacity, Misuse, What};
use crate::json::{Decimal, Kind, Object, Value, check, escape};
use crate::policy::{Limits, RetryPolicy};
use crate::tool::Toolbox;

/// Most tools of a request whose body is made of slices: these lie in the driver's future while it
/// sends.
pub const MAX_TOOLS: usize = 24;
/// Slices of a request's body before the conversation: those of the configuration and two a tool.
const MAX_PIECES: usize = 16 + 2 * MAX_TOOLS;
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
    /// `"thinking":{"type":"adaptive"},"stop_sequences":["END"]`; without braces.
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
        if Object::inside(self.params.as_bytes()).any(|(_, value)| {
            check(value.raw()).is_ok_and(|checked| checked.lone_surrogate.is_some())
        }) {
            return Err(Misuse::Setting("params have a lone surrogate, which is not text"));
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

/// Whether a request's params name a container: an id, or an object with one. `null`, and an object
/// without one (skills, say), take the id that a reply named.
pub(crate) fn pins_container(params: &str) -> bool {
    let Some(value) = container_in(params) else { return false };
    match value.kind() {
        Kind::Null => false,
        Kind::Object => value.member("id").is_some_and(|id| !id.is_null()),
        _ => true,
    }
}

fn container_in(params: &str) -> Option<Value<'_>> {
    Object::inside(params.as_bytes())
        .find(|(name, _)| *name == *"container")
        .map(|(_, value)| value)
}

/// Where in the params the id of a container goes, and what stands around it there.
struct ContainerPlace {
    start: usize,
    end: usize,
    before: &'static [u8],
    after: &'static [u8],
}

/// The place for an id in params that name a container without one. Nothing if they name none at
/// all.
fn container_place(params: &str) -> Option<ContainerPlace> {
    let value = container_in(params)?;
    let whole = params.as_bytes();
    let null =
        if value.is_null() { Some(value) } else { value.member("id").filter(|id| id.is_null()) };
    if let Some(null) = null {
        let start = null.offset_in(whole)?;
        return Some(ContainerPlace {
            start,
            end: start.saturating_add(null.raw().len()),
            before: b"\"",
            after: b"\"",
        });
    }
    let inside = value.offset_in(whole)?.saturating_add(1);
    let after: &[u8] = if value.members().next().is_some() { b"\"," } else { b"\"" };
    Some(ContainerPlace { start: inside, end: inside, before: b"\"id\":\"", after })
}

/// Puts a request's parameters into its body.
pub(crate) type PushParams = for<'a> fn(&Config<'a>, &mut Pieces<'a>);

/// The slices of a request's body before the conversation.
#[derive(Debug)]
pub struct Pieces<'a> {
    list: Vec<&'a [u8], MAX_PIECES>,
    is_full: bool,
}

impl<'a> Pieces<'a> {
    /// The slices for `config` and `tools`. `max_tokens` and `container` are lent: the digits of
    /// the one, the id of the other, which also goes into a `container` of the config's params that
    /// has none (`null`, or an object without one).
    ///
    /// # Errors
    /// `Capacity` of [`What::Tools`] if there are more than [`MAX_TOOLS`].
    pub fn new<T: Toolbox + ?Sized>(
        config: &Config<'a>,
        tools: &'a T,
        max_tokens: &'a Decimal,
        container: Option<&'a str>,
    ) -> Result<Self, Capacity> {
        let mut pieces = Self::empty();
        pieces.fill(config, tools, max_tokens, container, None)?;
        Ok(pieces)
    }

    pub(crate) const fn empty() -> Self {
        Self { list: Vec::new(), is_full: false }
    }

    /// The parameters as they are, and the container where it belongs.
    fn push_params(&mut self, params: &'a str, container: Option<&'a str>) {
        if !params.is_empty() {
            self.push(b",");
        }
        match container.map(|id| (id, container_place(params))) {
            // Into the object, or in place of the null, that the caller left for it.
            Some((id, Some(place))) => {
                let (before, after) = (params.get(..place.start), params.get(place.end..));
                self.push(before.unwrap_or_default().as_bytes());
                self.push(place.before);
                self.push(id.as_bytes());
                self.push(place.after);
                self.push(after.unwrap_or_default().as_bytes());
            }
            Some((id, None)) => {
                self.push(params.as_bytes());
                self.push_container(id);
            }
            None => self.push(params.as_bytes()),
        }
    }

    fn push_container(&mut self, id: &'a str) {
        self.push(b",\"container\":\"");
        self.push(id.as_bytes());
        self.push(b"\"");
    }

    /// [`new`](Self::new) where it lies, which is half a kilobyte, and with parameters by `params`
    /// instead of all of them as they are.
    pub(crate) fn fill<T: Toolbox + ?Sized>(
        &mut self,
        config: &Config<'a>,
        tools: &'a T,
        max_tokens: &'a Decimal,
        container: Option<&'a str>,
        params: Option<PushParams>,
    ) -> Result<(), Capacity> {
        let mut push = |piece: &'a [u8]| self.push(piece);
        push(b"{\"model\":\"");
        push(config.model.as_bytes());
        push(b"\",\"max_tokens\":");
        push(max_tokens.as_bytes());
        if config.stream {
            push(b",\"stream\":true");
        }
        if let Some(system) = config.system {
            push(b",\"system\":\"");
            push(system.as_bytes());
            push(b"\"");
        }
        if let Some(params) = params {
            params(config, self);
            if let Some(id) = container.filter(|_| container_in(config.params).is_none()) {
                self.push_container(id);
            }
        } else {
            self.push_params(config.params, container);
        }
        let mut push = |piece: &'a [u8]| self.push(piece);
        let mut count = 0_usize;
        for tool in (0..tools.count()).filter_map(|i| tools.definition(i)) {
            // A toolset stands for its members.
            if tool.toolset.is_none() {
                push(if count == 0 { b",\"tools\":[" } else { b"," });
                push(tool.json.as_bytes());
                count += 1;
            }
        }
        if count > 0 {
            push(b"]");
        }
        push(b",\"messages\":[");
        if self.is_full || count > MAX_TOOLS {
            return Err(Capacity { what: What::Tools, needed: count, free: MAX_TOOLS });
        }
        Ok(())
    }

    pub(super) fn push(&mut self, piece: &'a [u8]) {
        self.is_full |= self.list.push(piece).is_err();
    }

    /// The slices, in order.
    pub fn as_slices(&self) -> &[&'a [u8]] {
        &self.list
    }
}
