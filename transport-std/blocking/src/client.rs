//! The client: the server and credentials that requests use, and the builder of its runs.

use core::fmt;
use core::time::Duration;
use std::env;
use std::ffi::OsString;
use std::sync::Arc;

use toolrunner_core::__private::BaseUrl;
use toolrunner_core::__private::base_of;
use toolrunner_core::__private::client::is_settable;
use toolrunner_core::policy::RetryPolicy;
use toolrunner_core::wire::Config;
use ureq::http::{HeaderName, HeaderValue};
use ureq::tls::Certificate;

use crate::error::SetupError;
use crate::run::RunBuilder;
use crate::secret::Secret;
use crate::transport::{HttpTransport, Timeouts};

pub(crate) const PATH: &str = "/v1/messages";

/// Sends requests to one server with one set of credentials. Clones are cheap and share
/// connections.
///
/// ```no_run
/// use core::time::Duration;
/// use toolrunner_blocking::Client;
/// let client = Client::builder()
///     .base_url("https://gateway.example.org/anthropic")
///     .auth_token("a token")
///     .header("x-team", "weather")
///     .read_timeout(Duration::from_secs(120))
///     .max_retries(4)
///     .build()?;
/// let run = client.run("claude-opus-4-7").system("Be brief.").user("Hello");
/// # Ok::<(), toolrunner_blocking::SetupError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Client {
    settings: Arc<Settings>,
}

/// What all requests of a client share.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) base_url: String,
    headers: Vec<Header>,
    pub(crate) retry: RetryPolicy,
    pub(crate) transport: HttpTransport,
}

impl Settings {
    /// Returns the header fields, with names in lower case and each name once. **Some values are
    /// secret.**
    pub(crate) fn headers(&self) -> Vec<(&str, &str)> {
        self.headers.iter().map(|header| (header.name.as_str(), header.value.reveal())).collect()
    }
}

/// A header field. `Debug` shows no value, because any may be a credential.
#[derive(Clone)]
struct Header {
    name: String,
    value: Secret,
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name)
    }
}

impl Client {
    /// Creates a client from the environment variables `ANTHROPIC_API_KEY`,
    /// `ANTHROPIC_AUTH_TOKEN`, `ANTHROPIC_BASE_URL` and `ANTHROPIC_CUSTOM_HEADERS`: see
    /// [`ClientBuilder::from_env`].
    ///
    /// # Errors
    /// Returns the first setting that is missing or invalid.
    pub fn from_env() -> Result<Self, SetupError> {
        ClientBuilder::from_env()?.build()
    }

    /// Returns a builder with which the program sets everything itself.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    /// Starts the configuration of a run with this model: set its options, then a prompt.
    pub fn run(&self, model: &str) -> RunBuilder {
        RunBuilder::new(Arc::clone(&self.settings), model)
    }
}

/// Configures a [`Client`]: the server, the credential and the connections. Nothing is checked
/// before [`build`](Self::build).
///
/// HTTPS trusts the platform's certificates, unless [`root_certificate`](Self::root_certificate)
/// adds others. A proxy is taken from the environment variables that ureq reads, such as
/// `HTTPS_PROXY` and `NO_PROXY`.
#[derive(Clone, Debug)]
pub struct ClientBuilder {
    base_url: Option<String>,
    credential: Option<Header>,
    api_version: String,
    betas: Vec<String>,
    headers: Vec<Header>,
    retry: RetryPolicy,
    timeouts: Timeouts,
    /// The root certificates to trust instead of the platform's, each in PEM.
    roots: Vec<Vec<u8>>,
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ClientBuilder {
    /// Creates a builder with the defaults: the provider's own server, API version `2023-06-01`, 2
    /// retries, a connect timeout of 5 s, and a read timeout of 600 s.
    pub fn new() -> Self {
        Self {
            base_url: None,
            credential: None,
            api_version: Config::API_VERSION.to_owned(),
            betas: Vec::new(),
            headers: Vec::new(),
            retry: RetryPolicy::DEFAULT,
            timeouts: Timeouts {
                connect: Duration::from_secs(5),
                read: Duration::from_secs(600),
                idle: Duration::from_secs(90),
            },
            roots: Vec::new(),
        }
    }

    /// Creates a builder with the values of `ANTHROPIC_API_KEY`, `ANTHROPIC_AUTH_TOKEN`,
    /// `ANTHROPIC_BASE_URL` and `ANTHROPIC_CUSTOM_HEADERS`. An empty variable counts as unset, and
    /// white space around a value is removed. If both key and token are set, the key is used.
    /// `ANTHROPIC_CUSTOM_HEADERS` has one `Name: value` on each line.
    ///
    /// # Errors
    /// Returns [`SetupError::Variable`] if one of them is not valid UTF-8, or if a line of the
    /// custom headers has no colon.
    pub fn from_env() -> Result<Self, SetupError> {
        Self::from_variables(|name| env::var_os(name))
    }

    fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Result<Self, SetupError> {
        let read = |name: &'static str| match variable(name).map(OsString::into_string) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value.trim().to_owned()).filter(|value| !value.is_empty())),
            Some(Err(_)) => Err(SetupError::Variable(name)),
        };
        let mut builder = Self::new();
        builder.base_url = read("ANTHROPIC_BASE_URL")?;
        if let Some(token) = read("ANTHROPIC_AUTH_TOKEN")? {
            builder = builder.auth_token(token);
        }
        if let Some(key) = read("ANTHROPIC_API_KEY")? {
            builder = builder.api_key(key);
        }
        for line in read("ANTHROPIC_CUSTOM_HEADERS")?.unwrap_or_default().lines() {
            if line.trim().is_empty() {
                continue;
            }
            let (name, value) =
                line.split_once(':').ok_or(SetupError::Variable("ANTHROPIC_CUSTOM_HEADERS"))?;
            builder = builder.header(name.trim(), value.trim());
        }
        Ok(builder)
    }

    /// Sets the server: `https://host`, optionally with a port and a path. Requests go to
    /// `/v1/messages` below it. A trailing slash is removed, and so is a trailing `/v1` or
    /// `/v1/messages`, which many gateways include in their URL.
    #[must_use]
    pub fn base_url(mut self, url: impl Into<String>) -> Self {
        self.base_url = Some(url.into());
        self
    }

    /// Sets the API key, which is sent as `x-api-key`. It replaces any credential set before; an
    /// empty key removes it.
    #[must_use]
    pub fn api_key(mut self, key: impl Into<Secret>) -> Self {
        let value = key.into();
        self.credential = Some(Header { name: "x-api-key".to_owned(), value })
            .filter(|header| !header.value.reveal().is_empty());
        self
    }

    /// Sets a token, which is sent as `authorization: Bearer`. It replaces any credential set
    /// before; an empty token removes it.
    #[must_use]
    pub fn auth_token(mut self, token: impl Into<Secret>) -> Self {
        let token = token.into();
        self.credential = (!token.reveal().is_empty()).then(|| Header {
            name: "authorization".to_owned(),
            value: format!("Bearer {}", token.reveal()).into(),
        });
        self
    }

    /// Sets the API version, which is sent as `anthropic-version`. Default: `2023-06-01`.
    #[must_use]
    pub fn api_version(mut self, version: impl Into<String>) -> Self {
        self.api_version = version.into();
        self
    }

    /// Adds a beta, which is sent in `anthropic-beta`.
    #[must_use]
    pub fn beta(mut self, beta: impl Into<String>) -> Self {
        self.betas.push(beta.into());
        self
    }

    /// Adds a header, whose value is never shown. It replaces an earlier header of the same name,
    /// including those that the client sends by default.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.headers.push(Header { name: name.into(), value: value.into() });
        self
    }

    /// Sets the maximum number of retries of a request. Default: 2.
    #[must_use]
    pub const fn max_retries(mut self, retries: u32) -> Self {
        self.retry.retries = retries;
        self
    }

    /// Sets the longest wait before a retry that a server may request with `retry-after`. A longer
    /// one is cut to this value. Zero ignores `retry-after`. Default: 60 s.
    #[must_use]
    pub const fn retry_after_cap(mut self, cap: Duration) -> Self {
        self.retry.retry_after_cap = cap;
        self
    }

    /// Sets the time limit for resolving the host's name, and that for connecting. Default: 5 s.
    #[must_use]
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.connect = limit;
        self
    }

    /// Sets how long the client waits without receiving anything, for the reply's head or for the
    /// next piece of its body. Default: 600 s.
    #[must_use]
    pub const fn read_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.read = limit;
        self
    }

    /// Sets how long a connection may be idle before it is closed. Default: 90 s.
    #[must_use]
    pub const fn idle_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.idle = limit;
        self
    }

    /// Adds a root certificate in PEM, such as that of a gateway's own authority. As soon as there
    /// is one, the certificates added here are trusted instead of the platform's.
    #[must_use]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.roots.push(pem.into());
        self
    }

    /// Checks these settings and makes a client from them.
    ///
    /// # Errors
    /// Returns the first invalid setting. Without a credential and a base URL, returns
    /// [`SetupError::NoCredential`].
    pub fn build(self) -> Result<Client, SetupError> {
        let is_credential = |header: &Header| {
            ["authorization", "x-api-key"].iter().any(|name| header.name.eq_ignore_ascii_case(name))
        };
        if self.credential.is_none()
            && self.base_url.is_none()
            && !self.headers.iter().any(is_credential)
        {
            return Err(SetupError::NoCredential);
        }
        let base_url = self.base_url.as_deref().unwrap_or(Config::BASE_URL);
        BaseUrl::parse(base_url).map_err(|why| SetupError::BaseUrl(why.as_str()))?;
        let roots = self.roots.iter().map(|pem| Certificate::from_pem(pem));
        let roots = roots.collect::<Result<Vec<_>, _>>().map_err(|_| SetupError::Certificate)?;
        let settings = Settings {
            base_url: base_of(base_url, PATH).to_owned(),
            headers: self.all_headers()?,
            retry: self.retry,
            transport: HttpTransport::new(self.timeouts, roots),
        };
        Ok(Client { settings: Arc::new(settings) })
    }

    fn all_headers(&self) -> Result<Vec<Header>, SetupError> {
        let own = |name: &str, value: String| Header { name: name.to_owned(), value: value.into() };
        let mut all = vec![
            own("content-type", "application/json".to_owned()),
            own("anthropic-version", self.api_version.clone()),
        ];
        if !self.betas.is_empty() {
            all.push(own("anthropic-beta", self.betas.join(",")));
        }
        all.extend(self.credential.clone());
        for extra in &self.headers {
            let name = HeaderName::from_bytes(extra.name.as_bytes())
                .ok()
                .filter(|name| is_settable(name.as_str()))
                .ok_or_else(|| SetupError::HeaderName(extra.name.clone()))?;
            all.retain(|header| header.name != name.as_str());
            all.push(Header { name: name.as_str().to_owned(), value: extra.value.clone() });
        }
        match all.iter().find(|header| HeaderValue::from_str(header.value.reveal()).is_err()) {
            Some(wrong) => Err(SetupError::HeaderValue(wrong.name.clone())),
            None => Ok(all),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(variables: &[(&str, &str)]) -> Result<Client, SetupError> {
        let value = |name: &str| {
            variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        };
        ClientBuilder::from_variables(value)?.build()
    }

    #[test]
    fn settings_come_from_the_environment() {
        let client = built(&[
            ("ANTHROPIC_API_KEY", " key\n"),
            ("ANTHROPIC_AUTH_TOKEN", "token"),
            ("ANTHROPIC_BASE_URL", "http://gateway/v1/"),
            ("ANTHROPIC_CUSTOM_HEADERS", "X-Team: weather\n\nanthropic-version: 2026-10-21"),
        ])
        .unwrap();
        assert_eq!(client.settings.base_url, "http://gateway");
        let headers = client.settings.headers();
        assert_eq!(
            headers,
            [
                ("content-type", "application/json"),
                ("x-api-key", "key"),
                ("x-team", "weather"),
                ("anthropic-version", "2026-10-21")
            ]
        );
        let token = built(&[("ANTHROPIC_AUTH_TOKEN", "token")]).unwrap();
        assert!(token.settings.headers().contains(&("authorization", "Bearer token")));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let wrong = |variables: &[(&str, &str)]| built(variables).map(drop).unwrap_err();
        assert_eq!(wrong(&[]), SetupError::NoCredential);
        assert_eq!(wrong(&[("ANTHROPIC_API_KEY", " ")]), SetupError::NoCredential);
        let headers = [("ANTHROPIC_API_KEY", "key"), ("ANTHROPIC_CUSTOM_HEADERS", "no colon")];
        assert_eq!(wrong(&headers), SetupError::Variable("ANTHROPIC_CUSTOM_HEADERS"));
        // A gateway may need no credential.
        assert!(built(&[("ANTHROPIC_BASE_URL", "http://gateway")]).is_ok());
    }
}
