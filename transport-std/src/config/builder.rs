//! The settings of a client before they are checked.

use core::error::Error;
use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use http::HeaderName;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use toolrunner_core::policy::RetryPolicy;

use super::check::{checked_base_url, checked_body_fields, is_header_value, may_carry_identity};
use super::{
    DEFAULT_API_VERSION, DEFAULT_BASE_URL, DEFAULT_MAX_RETRIES, Header, Secret, Settings,
    SetupError, is_settable,
};
use crate::fallback::Fallbacks;
#[cfg(feature = "proxy")]
use crate::http::Proxies;
use crate::http::{
    HookFn, HttpSettings, HttpTransport, OutgoingRequest, RequestHook, RootCertificate, Timeouts,
    rustls,
};
use crate::identity::{IdentityHook, WorkloadIdentity};

pub(super) const PATH: &str = "/v1/messages";
/// Escapes every character of a query except those that RFC 3986 calls unreserved.
pub(crate) const QUERY: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Headers whose values are treated as secret even if the caller does not mark them.
const SECRET: [&str; 4] = ["authorization", "cookie", "proxy-authorization", "x-api-key"];

/// Configures a [`Client`](crate::Client): the server, the credential and the connections. Nothing
/// is checked before [`settings`](Self::settings).
#[derive(Clone)]
pub struct ClientBuilder {
    pub(super) base_url: Option<String>,
    pub(super) credential: Option<Credential>,
    api_version: String,
    betas: Vec<String>,
    pub(super) headers: Vec<Header>,
    query: Vec<(String, String)>,
    body_fields: Vec<(String, String)>,
    max_retries: u32,
    retry_after_cap: Duration,
    http: HttpSettings,
    /// The time-outs that the caller set.
    timeouts: Timeouts,
    transport: Option<HttpTransport>,
    hooks: Vec<Arc<dyn RequestHook>>,
    fallbacks: Fallbacks,
}

#[derive(Clone, Debug)]
pub(super) enum Credential {
    ApiKey(Secret),
    Token(Secret),
    Identity(WorkloadIdentity),
}

impl ClientBuilder {
    /// Creates a builder with the defaults: the provider's own server, API version `2023-06-01`, 2
    /// retries, a connect time-out of 5 s, and a read time-out of 600 s.
    pub fn new() -> Self {
        Self {
            base_url: None,
            credential: None,
            api_version: DEFAULT_API_VERSION.to_owned(),
            betas: Vec::new(),
            headers: Vec::new(),
            query: Vec::new(),
            body_fields: Vec::new(),
            max_retries: DEFAULT_MAX_RETRIES,
            retry_after_cap: RetryPolicy::DEFAULT.retry_after_cap,
            http: HttpSettings::default(),
            timeouts: Timeouts::default(),
            transport: None,
            hooks: Vec::new(),
            fallbacks: Fallbacks::new(),
        }
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
        self.credential = Some(key.into())
            .filter(|secret: &Secret| !secret.reveal().is_empty())
            .map(Credential::ApiKey);
        self
    }

    /// Sets a token, which is sent as `authorization: Bearer`. It replaces any credential set
    /// before; an empty token removes it.
    #[must_use]
    pub fn auth_token(mut self, token: impl Into<Secret>) -> Self {
        self.credential = Some(token.into())
            .filter(|secret: &Secret| !secret.reveal().is_empty())
            .map(Credential::Token);
        self
    }

    /// Exchanges a token of the platform for access tokens, which are sent as
    /// `authorization: Bearer`. It replaces any credential set before. The server must be `https`,
    /// or on this machine.
    #[must_use]
    pub fn workload_identity(mut self, identity: WorkloadIdentity) -> Self {
        self.credential = Some(Credential::Identity(identity));
        self
    }

    /// Sets the API version, which is sent as `anthropic-version`. Default:
    /// [`DEFAULT_API_VERSION`].
    ///
    /// The newest official SDKs send `2026-10-21`, which works here too. With that version the API
    /// refuses `temperature`, `top_p` and `top_k`, `document` blocks in assistant messages, and
    /// `citations` of a user's text blocks; messages of the role `system` need no beta. The loop
    /// sends none of these by itself, so nothing else changes.
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

    /// Adds a header. It replaces an earlier header of the same name, including those that the
    /// client sends by default.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push(Header {
            name: name.into(),
            value: value.into().into(),
            is_secret: false,
        });
        self
    }

    /// Adds a header whose value is never shown. It replaces an earlier header of the same name,
    /// including those that the client sends by default.
    #[must_use]
    pub fn secret_header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.headers.push(Header { name: name.into(), value: value.into(), is_secret: true });
        self
    }

    /// Adds `name=value` to the query of every request, percent-encoded.
    #[must_use]
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Adds a field to the body of every request, with its value as JSON text. The last value of a
    /// name is used.
    #[must_use]
    pub fn body_field(mut self, name: impl Into<String>, json: impl Into<String>) -> Self {
        self.body_fields.push((name.into(), json.into()));
        self
    }

    /// Sets the maximum number of retries of a request. Default: [`DEFAULT_MAX_RETRIES`].
    #[must_use]
    pub const fn max_retries(mut self, retries: u32) -> Self {
        self.max_retries = retries;
        self
    }

    /// Sets the longest wait before a retry that a server may request with `retry-after`. A longer
    /// one is cut to this value, and the request is then retried as usual. Zero ignores
    /// `retry-after`. Default: 60 s.
    #[must_use]
    pub const fn retry_after_cap(mut self, cap: Duration) -> Self {
        self.retry_after_cap = cap;
        self
    }

    /// Sets the time limit for making a connection that can carry a request. Default: 5 s.
    #[must_use]
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.connect = Some(limit);
        self
    }

    /// Sets how long the client waits without receiving anything, for the reply's head or for the
    /// next piece of its body. Default: 600 s.
    #[must_use]
    pub const fn read_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.read = Some(limit);
        self
    }

    /// Sets how long a reply may make no progress while it is received: pings, comments and events
    /// of unknown types are not progress. Default: 600 s. See [`HttpSettings::progress_timeout`].
    #[must_use]
    pub const fn progress_timeout(mut self, limit: Duration) -> Self {
        self.timeouts.progress = Some(limit);
        self
    }

    /// Sets how long a connection may be idle before it is closed. Default: 90 s.
    #[must_use]
    pub const fn idle_timeout(mut self, limit: Duration) -> Self {
        self.http.idle_timeout = limit;
        self
    }

    /// Sets which proxies to use. Default: those of the environment.
    #[cfg(feature = "proxy")]
    #[must_use]
    pub fn proxies(mut self, proxies: Proxies) -> Self {
        self.http.proxies = proxies;
        self
    }

    /// Adds a root certificate to trust in addition to the platform's.
    #[must_use]
    pub fn add_root_certificate(mut self, certificate: RootCertificate) -> Self {
        self.http.root_certificates.push(certificate);
        self
    }

    /// Sets a TLS configuration of the caller's own, for client certificates, other roots or
    /// another verifier. It alone decides which servers are trusted, so it cannot be combined with
    /// [`add_root_certificate`](Self::add_root_certificate). If it lists no ALPN protocols, this
    /// crate's are added.
    ///
    /// ```no_run
    /// use toolrunner_std::ClientBuilder;
    /// use toolrunner_std::http::rustls::{ClientConfig, RootCertStore};
    ///
    /// let roots = RootCertStore::empty(); // and then the gateway's own authority
    /// let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth(); // or with_client_auth_cert(chain, key)
    /// let client = ClientBuilder::new().base_url("https://gateway.example.org").tls_config(config).build()?;
    /// # Ok::<(), toolrunner_std::SetupError>(())
    /// ```
    #[must_use]
    pub fn tls_config(mut self, config: impl Into<Arc<rustls::ClientConfig>>) -> Self {
        self.http.tls = Some(config.into());
        self
    }

    /// Sets what carries the requests: a script for a test, or a transport shared with other
    /// clients. It has its own proxies, TLS settings and idle connections, so those set on this
    /// builder have no effect; the other time-outs set here apply.
    #[must_use]
    pub fn transport(mut self, transport: HttpTransport) -> Self {
        self.transport = Some(transport);
        self
    }

    /// Adds a hook that sees, and may change, each HTTP request right before it is sent, also each
    /// retry. Hooks are called in the order in which they were added.
    #[must_use]
    pub fn request_hook(mut self, hook: impl RequestHook) -> Self {
        self.hooks.push(Arc::new(hook));
        self
    }

    /// Adds a function that does not wait as a [`request_hook`](Self::request_hook).
    #[must_use]
    pub fn request_hook_fn<F>(self, hook: F) -> Self
    where
        F: Fn(&mut OutgoingRequest<'_>) -> Result<(), Box<dyn Error + Send + Sync>>
            + Send
            + Sync
            + 'static,
    {
        self.request_hook(HookFn(hook))
    }

    /// Sets the models that a refused turn is asked of, in order. They replace those set before:
    /// see [`fallback`](crate::fallback).
    #[must_use]
    pub fn fallbacks(mut self, fallbacks: Fallbacks) -> Self {
        self.fallbacks = fallbacks;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// Returns the first invalid setting. Without a credential and a base URL, returns
    /// [`SetupError::NoCredential`].
    pub fn settings(mut self) -> Result<Settings, SetupError> {
        if self.credential.is_none()
            && self.base_url.is_none()
            && !self.headers.iter().any(Header::is_credential)
        {
            return Err(SetupError::NoCredential);
        }
        if self.http.tls.is_some() && !self.http.root_certificates.is_empty() {
            return Err(SetupError::Tls(
                "has its own roots: add the root certificate to it, not to the client",
            ));
        }
        let transport = match &self.transport {
            Some(transport) => transport.clone(),
            None => HttpTransport::new(self.http.clone()),
        };
        let transport = transport.with_timeouts(self.timeouts);
        // Without the hooks, which the builder that is kept has too.
        self.transport = Some(transport.clone());
        let base_url = checked_base_url(self.base_url.as_deref().unwrap_or(DEFAULT_BASE_URL))?;
        let transport = match &self.credential {
            Some(Credential::Identity(identity)) => {
                if !may_carry_identity(&base_url) {
                    return Err(SetupError::BaseUrl(
                        "the base URL must begin with https:// to exchange an identity token",
                    ));
                }
                let (identity, inner) = (identity.clone(), transport.clone());
                let base_url = base_url.clone();
                transport.with_hook(IdentityHook { identity, base_url, transport: inner })
            }
            _ => transport,
        };
        let transport = self.hooks.iter().map(Arc::clone).fold(transport, HttpTransport::with_hook);
        let transport = transport.with_fallback(self.fallbacks.checked()?);
        Ok(Settings {
            headers: self.all_headers()?,
            base_url,
            path: self.path(),
            body_fields: checked_body_fields(&self.body_fields)?,
            max_retries: self.max_retries,
            retry_after_cap: self.retry_after_cap,
            transport,
            builder: self.into(),
        })
    }

    fn path(&self) -> String {
        let mut path = PATH.to_owned();
        for (i, (name, value)) in self.query.iter().enumerate() {
            path.push(if i == 0 { '?' } else { '&' });
            path.extend(utf8_percent_encode(name, QUERY));
            path.push('=');
            path.extend(utf8_percent_encode(value, QUERY));
        }
        path
    }

    fn all_headers(&self) -> Result<Vec<Header>, SetupError> {
        let plain = |name: &str, value: String| Header {
            name: name.to_owned(),
            value: value.into(),
            is_secret: false,
        };
        let mut all = vec![
            plain("content-type", "application/json".to_owned()),
            plain("anthropic-version", self.api_version.clone()),
        ];
        if !self.betas.is_empty() {
            all.push(plain("anthropic-beta", self.betas.join(",")));
        }
        let credential = self.credential.as_ref().map(Credential::header).transpose()?;
        all.extend(credential.flatten());
        for extra in &self.headers {
            let name = HeaderName::from_bytes(extra.name.as_bytes())
                .map_err(|_| SetupError::HeaderName(extra.name.clone()))?;
            if !is_settable(name.as_str()) {
                return Err(SetupError::HeaderName(extra.name.clone()));
            }
            let is_secret = extra.is_secret || SECRET.contains(&name.as_str());
            let extra =
                Header { name: name.as_str().to_owned(), value: extra.value.clone(), is_secret };
            match all.iter_mut().find(|header| header.name == extra.name) {
                Some(same) => *same = extra,
                None => all.push(extra),
            }
        }
        match all.iter().find(|header| !is_header_value(header.value.reveal())) {
            Some(bad) => Err(SetupError::HeaderValue(bad.name.clone())),
            None => Ok(all),
        }
    }
}

impl Default for ClientBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl Credential {
    /// Returns the header of a credential that does not change.
    fn header(&self) -> Result<Option<Header>, SetupError> {
        let (name, value, which) = match self {
            Self::ApiKey(key) => ("x-api-key", key.clone(), "API key"),
            Self::Token(token) => {
                ("authorization", format!("Bearer {}", token.reveal()).into(), "token")
            }
            Self::Identity(_) => return Ok(None),
        };
        // The encoding of non-ASCII characters in a header is not standardized.
        if !value.reveal().is_ascii() || !is_header_value(value.reveal()) {
            return Err(SetupError::Credential(which));
        }
        Ok(Some(Header { name: name.to_owned(), value, is_secret: true }))
    }
}

impl Header {
    pub(super) fn is_credential(&self) -> bool {
        ["x-api-key", "authorization"].iter().any(|name| self.name.eq_ignore_ascii_case(name))
    }
}

impl fmt::Debug for ClientBuilder {
    /// Omits values that are not yet checked: a base URL or a header may contain a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("credential", &self.credential)
            .field("api_version", &self.api_version)
            .field("betas", &self.betas)
            .field("headers", &self.headers.iter().map(|header| &header.name).collect::<Vec<_>>())
            .field("max_retries", &self.max_retries)
            .field("retry_after_cap", &self.retry_after_cap)
            .field("http", &self.http)
            .field("hooks", &self.hooks.len())
            .finish_non_exhaustive()
    }
}
