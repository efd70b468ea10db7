//! Workload identity: a token of the platform (Kubernetes, a CI system, a cloud) is exchanged for a
//! short-lived access token of the API.
//!
//! The exchange is the one of the official SDKs (Python 2.14.0, `lib/credentials/_workload.py`):
//! `POST /v1/oauth/token` with the grant `urn:ietf:params:oauth:grant-type:jwt-bearer` of RFC 7523.
//! Access tokens are kept until two minutes before they expire, and are shared by all clones of a
//! client. A reply with status 401 makes the next request get a new one.
//!
//! ```no_run
//! use toolrunner_std::Client;
//! use toolrunner_std::identity::{IdentityToken, WorkloadIdentity};
//!
//! let token = IdentityToken::File("/var/run/secrets/anthropic/token".into());
//! let identity = WorkloadIdentity::new("an organization id", "a federation rule id", token);
//! let client = Client::builder().workload_identity(identity).build()?;
//! # Ok::<(), toolrunner_std::SetupError>(())
//! ```
//!
//! # Profiles
//! `ANTHROPIC_PROFILE` and the files below `~/.config/anthropic` are not read: they belong to the
//! vendor's own programs, which also write refreshed tokens into them, and no public document
//! specifies their format. If the variable is set and there is no other credential,
//! [`Client::from_env`](crate::Client::from_env) says so.

use core::error::Error;
use core::fmt;
use core::time::Duration;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use http::Method;
use tokio::sync::Mutex;
use toolrunner_core::json::Value;
use toolrunner_core::time::Clock;

use crate::api::ApiRequest;
use crate::clock::SharedClock;
use crate::config::{BETA, ClientBuilder, Secret, add_beta};
use crate::edit::push;
use crate::http::{HookFuture, HttpTransport, OutgoingRequest, RequestHook};
use crate::params::quoted;

/// The beta of requests with such a token.
const OAUTH_BETA: &str = "oauth-2025-04-20";
/// The beta of the exchange.
const FEDERATION_BETA: &str = "oidc-federation-2026-04-01";
const GRANT: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The largest identity token. A larger one is most likely a key or a certificate.
const MAX_IDENTITY: usize = 16 << 10;
const MAX_REPLY: usize = 1 << 20;
/// A token that expires earlier is replaced.
const REPLACED: Duration = Duration::from_secs(120);
/// A token that cannot be replaced is used until then.
const USABLE: Duration = Duration::from_secs(30);
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);
/// The waits before the exchange is tried again.
const WAITS: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(1)];

/// Where the platform's token comes from. It is read again for each exchange, because platforms
/// rotate it.
#[derive(Clone)]
#[non_exhaustive]
pub enum IdentityToken {
    /// A file that contains only the token.
    File(PathBuf),
    /// An environment variable.
    Variable(String),
    /// The token itself.
    Text(Secret),
}

/// A workload identity, for [`ClientBuilder::workload_identity`]. `Debug` shows no token.
#[derive(Clone)]
pub struct WorkloadIdentity {
    organization: String,
    rule: String,
    token: IdentityToken,
    service_account: Option<String>,
    workspace: Option<String>,
    cached: Arc<Cache>,
}

/// The access token of all clones of an identity.
#[derive(Default)]
struct Cache {
    token: RwLock<Option<AccessToken>>,
    /// Held during an exchange, so that simultaneous requests make only one.
    exchange: Mutex<()>,
}

#[derive(Clone)]
struct AccessToken {
    base_url: String,
    secret: Secret,
    expires: Instant,
}

/// Why there is no access token. The text contains no token.
#[derive(Debug)]
#[non_exhaustive]
pub enum IdentityError {
    /// The platform's token cannot be read: from where, and why.
    Unreadable(String, Option<std::io::Error>),
    /// The platform's token is empty or too large to be one: its size in bytes.
    Size(usize),
    /// The server refused the exchange: status, kind and request id.
    Refused(u16, String, String),
    /// The server did not send an access token.
    NoToken,
    /// The exchange failed in another way.
    Failed(crate::Error),
}

impl WorkloadIdentity {
    /// Creates an identity from the ids of the organization and of its federation rule, and the
    /// platform's token.
    pub fn new(
        organization_id: impl Into<String>,
        federation_rule_id: impl Into<String>,
        token: IdentityToken,
    ) -> Self {
        Self {
            organization: organization_id.into(),
            rule: federation_rule_id.into(),
            token,
            service_account: None,
            workspace: None,
            cached: Arc::default(),
        }
    }

    /// Sets the service account that the token is for.
    #[must_use]
    pub fn service_account(mut self, id: impl Into<String>) -> Self {
        self.service_account = Some(id.into());
        self
    }

    /// Sets the workspace that the token is for, which is needed if the rule covers several.
    #[must_use]
    pub fn workspace(mut self, id: impl Into<String>) -> Self {
        self.workspace = Some(id.into());
        self
    }

    fn current(&self, base_url: &str) -> Option<AccessToken> {
        let cached = self.cached.token.read().unwrap_or_else(PoisonError::into_inner);
        cached.clone().filter(|token| token.base_url == base_url)
    }

    fn keep(&self, token: Option<AccessToken>) {
        *self.cached.token.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    async fn access(
        &self,
        base_url: &str,
        transport: &HttpTransport,
    ) -> Result<Secret, IdentityError> {
        let left = |token: &AccessToken| token.expires.saturating_duration_since(Instant::now());
        let fresh =
            || self.current(base_url).filter(|token| left(token) > REPLACED).map(|t| t.secret);
        if let Some(secret) = fresh() {
            return Ok(secret);
        }
        let _exchange = self.cached.exchange.lock().await;
        // Another request may have got one meanwhile.
        if let Some(secret) = fresh() {
            return Ok(secret);
        }
        match self.exchange(base_url, transport).await {
            Ok(token) => {
                self.keep(Some(token.clone()));
                Ok(token.secret)
            }
            Err(error) => {
                let usable = self.current(base_url).filter(|token| left(token) > USABLE);
                let usable = usable.ok_or(error)?;
                tracing::warn!("the access token cannot be replaced yet; it is still valid");
                Ok(usable.secret)
            }
        }
    }

    async fn exchange(
        &self,
        base_url: &str,
        transport: &HttpTransport,
    ) -> Result<AccessToken, IdentityError> {
        let clock = SharedClock::default();
        let mut waits = WAITS.iter();
        loop {
            let error = match self.exchange_once(base_url, transport).await {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            match waits.next().filter(|_| error.is_transient()) {
                Some(wait) => {
                    tracing::info!("the exchange of the identity token is tried again: {error}");
                    clock.wait_until(clock.now().after(*wait)).await;
                }
                None => return Err(error),
            }
        }
    }

    async fn exchange_once(
        &self,
        base_url: &str,
        transport: &HttpTransport,
    ) -> Result<AccessToken, IdentityError> {
        let assertion = self.token.read()?;
        let mut body = String::new();
        for (name, text) in [
            ("grant_type", Some(GRANT)),
            ("assertion", Some(assertion.reveal())),
            ("federation_rule_id", Some(&*self.rule)),
            ("organization_id", Some(&*self.organization)),
            ("service_account_id", self.service_account.as_deref()),
            ("workspace_id", self.workspace.as_deref()),
        ] {
            if let Some(text) = text {
                push(&mut body, name, &quoted(text));
            }
        }
        body.push('}');
        let builder = ClientBuilder::new().base_url(base_url).transport(transport.clone());
        // No retries there: they are logged with the server's words, which may repeat the token.
        let settings = builder.max_retries(0).read_timeout(EXCHANGE_TIMEOUT).settings();
        let settings = Arc::new(settings.map_err(|error| IdentityError::Failed(error.into()))?);
        let request = ApiRequest::new(&settings, Method::POST, "/v1/oauth/token")
            .beta(OAUTH_BETA)
            .beta(FEDERATION_BETA)
            .reply_limit(MAX_REPLY)
            .json(Ok(body.into_bytes()));
        let reply = match request.await {
            Ok(reply) => reply,
            Err(crate::Error::Api(failure)) => {
                // Only a name: other text of the server may repeat the token.
                let is_name = |kind: &str| {
                    kind.len() <= 64 && kind.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
                };
                let kind = Some(failure.kind).filter(|kind| is_name(kind)).unwrap_or_default();
                let status = failure.error.status;
                return Err(IdentityError::Refused(status, kind, failure.request_id));
            }
            Err(error) => return Err(IdentityError::Failed(error)),
        };
        let value = reply.value().map_err(|_| IdentityError::NoToken)?;
        let text = |name: &str| value.member(name)?.as_text().map(|text| text.to_string());
        let is_bearer = text("token_type").is_none_or(|kind| kind.eq_ignore_ascii_case("bearer"));
        let token = text("access_token").filter(|token| is_bearer && !token.is_empty());
        let expires_in = value.member("expires_in").and_then(Value::as_u64);
        match (token, expires_in) {
            (Some(token), Some(seconds)) => Ok(AccessToken {
                base_url: base_url.to_owned(),
                secret: token.into(),
                // A time that the clock cannot represent is no reason to keep a token for ever.
                expires: Instant::now() + Duration::from_secs(seconds.min(86_400)),
            }),
            _ => Err(IdentityError::NoToken),
        }
    }
}

impl IdentityToken {
    fn read(&self) -> Result<Secret, IdentityError> {
        let text = match self {
            Self::Text(secret) => secret.clone(),
            Self::File(path) => fs::read_to_string(path)
                .map_err(|e| IdentityError::Unreadable(path.display().to_string(), Some(e)))?
                .trim()
                .into(),
            Self::Variable(name) => env::var(name)
                .map_err(|_| IdentityError::Unreadable(name.clone(), None))?
                .trim()
                .into(),
        };
        match text.reveal().len() {
            1..=MAX_IDENTITY => Ok(text),
            len => Err(IdentityError::Size(len)),
        }
    }
}

/// Adds the access token to each request.
pub(crate) struct IdentityHook {
    pub(crate) identity: WorkloadIdentity,
    pub(crate) base_url: String,
    /// Without hooks.
    pub(crate) transport: HttpTransport,
}

impl RequestHook for IdentityHook {
    fn before_send<'a>(&'a self, request: &'a mut OutgoingRequest<'_>) -> HookFuture<'a> {
        Box::pin(async move {
            let token = self.identity.access(&self.base_url, &self.transport).await?;
            request.set_header("authorization", &format!("Bearer {}", token.reveal()))?;
            let mut betas = request.header(BETA).unwrap_or_default().to_owned();
            add_beta(&mut betas, OAUTH_BETA);
            if request.header(BETA) != Some(&betas) {
                request.set_header(BETA, &betas)?;
            }
            Ok(())
        })
    }

    fn replied(&self, status: u16) {
        if status == 401 {
            self.identity.keep(None);
        }
    }
}

impl IdentityError {
    const fn is_transient(&self) -> bool {
        match self {
            // The server may not know a new rule or key yet.
            Self::Refused(status, ..) => matches!(status, 401 | 408 | 409 | 429 | 500..),
            Self::Failed(crate::Error::Transport(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(from, Some(_)) => write!(f, "cannot read the identity token {from}"),
            Self::Unreadable(from, None) => {
                write!(f, "the identity token {from} is not set, or is not UTF-8")
            }
            Self::Size(0) => f.write_str("the identity token is empty"),
            Self::Size(len) => write!(
                f,
                "the identity token has {len} bytes, more than {MAX_IDENTITY}: it is most likely a key or a certificate"
            ),
            Self::Refused(status, kind, id) => {
                write!(f, "the exchange of the identity token failed: {kind} (status {status})")?;
                if *status == 401 {
                    f.write_str(
                        ": check that the federation rule matches the identity token, and name the workspace if the rule covers several",
                    )?;
                }
                if id.is_empty() { Ok(()) } else { write!(f, " [request id {id}]") }
            }
            Self::NoToken => {
                f.write_str("the reply to the identity token's exchange has no access token")
            }
            Self::Failed(_) => f.write_str("the exchange of the identity token failed"),
        }
    }
}

impl Error for IdentityError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Unreadable(_, Some(error)) => Some(error),
            Self::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Debug for IdentityToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Variable(name) => f.debug_tuple("Variable").field(name).finish(),
            Self::Text(_) => f.write_str("Text(…)"),
        }
    }
}

impl fmt::Debug for WorkloadIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadIdentity")
            .field("organization", &self.organization)
            .field("rule", &self.rule)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}
