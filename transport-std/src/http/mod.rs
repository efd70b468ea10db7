//! The transport: a cheap handle to connections that hyper drives.
//!
//! ```text
//! HttpTransport ──► dyn DynTransport ──► Links: one Host per base URL
//!   (clones share)     or a script          │  idle HTTP/1.1 connections, or one HTTP/2 connection
//!                                           │  dial: proxy, TCP, TLS, handshake
//!                                           ▼
//!                      SentBody (no copy of the transcript) ► hyper ► HttpBody (lends hyper's own bytes)
//! ```
//!
//! A connection is removed from its host while it carries a request, and put back when its body was
//! read to the end. A body that is dropped before its end closes its connection. Redirects are not
//! followed, so that a key is never sent to another server.
//!
//! An idle connection is closed after [`HttpSettings::idle_timeout`]. A server may close it
//! earlier, just when the next request is sent. If the server cannot have received the whole
//! request, the transport sends it on a new connection, once, and the retry policy does not count
//! that. Otherwise the server may have begun the turn, which may be billed: the transport reports
//! [`TransportKind::Closed`], and the retry policy decides.
//!
//! TLS uses the program's default [`CryptoProvider`](rustls::crypto::CryptoProvider) if one is
//! installed, else that of the feature `aws-lc-rs`, else that of the feature `ring`. It trusts the
//! platform's root certificates. With the feature `webpki-roots`, Mozilla's compiled-in roots are
//! used on a machine that has none.

mod body;
mod dial;
mod error;
mod hook;
mod host;
#[cfg(feature = "http2")]
mod http2;
#[cfg(not(feature = "http2"))]
#[path = "http1_only.rs"]
mod http2;
mod idle;
mod links;
#[cfg(not(feature = "proxy"))]
#[path = "direct.rs"]
mod proxy;
#[cfg(feature = "proxy")]
mod proxy;
mod sent;
mod tls;

use core::fmt;
use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;

use http::Method;
use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::{Body, Head, Reply, Transport};

pub use body::HttpBody;
pub use error::HttpError;
pub(crate) use hook::{HookFn, Hooks};
pub use hook::{HookFuture, OutgoingRequest, RequestHook};
#[cfg(feature = "proxy")]
pub use proxy::{BadProxy, Proxies};
pub use rustls;
pub use tls::{BadCertificate, RootCertificate};

use crate::fallback::Fallback;
use crate::rate_limits::RateLimits;
use links::Links;
pub(crate) use links::without_query;

/// The future of [`DynTransport::send`].
pub type SendFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Reply<HttpBody>, HttpError>> + Send + 'a>>;

/// The object-safe counterpart of [`Transport`], implemented by whatever carries the requests of an
/// [`HttpTransport`]: hyper, or a script in a test.
pub trait DynTransport: Send + Sync + 'static {
    /// Sends a request and returns the reply's head and body, as [`Transport::send`] does. It may
    /// be called again before an earlier reply was read to its end.
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a>;

    /// Sends a request as [`send`](Self::send) does, with these timeouts instead of the
    /// transport's own. By default it ignores them and calls `send`.
    fn send_within<'a>(
        &'a self,
        head: &'a Head<'_>,
        body: &'a Body<'_>,
        timeouts: Timeouts,
    ) -> SendFuture<'a> {
        let _ = timeouts;
        self.send(head, body)
    }

    /// Sends a request with this method. By default, `POST` calls
    /// [`send_within`](Self::send_within), and other methods, which only endpoints besides messages
    /// need, are an error.
    fn send_with<'a>(
        &'a self,
        method: &'a Method,
        head: &'a Head<'_>,
        body: &'a Body<'_>,
        timeouts: Timeouts,
    ) -> SendFuture<'a> {
        if method == Method::POST {
            return self.send_within(head, body, timeouts);
        }
        let error = format!("this transport cannot send {method}: it implements only POST");
        Box::pin(core::future::ready(Err(HttpError::new(TransportKind::Setup, error))))
    }
}

/// Timeouts of one request. The transport's own apply where a field is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// The time limit for making a connection that can carry a request.
    pub connect: Option<Duration>,
    /// How long to wait without receiving anything, for the reply's head or the next piece of its
    /// body.
    pub read: Option<Duration>,
    /// How long a reply may make no progress: see [`HttpSettings::progress_timeout`].
    pub progress: Option<Duration>,
}

/// How connections are made, and their timeouts.
#[derive(Clone)]
pub struct HttpSettings {
    /// The time limit for making a connection that can carry a request: name resolution, proxy, TCP
    /// and TLS together. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long to wait without receiving anything, for the reply's head or the next piece of its
    /// body. Default: 600 s.
    pub read_timeout: Duration,
    /// How long a reply may make no progress, counted from its head. Each part of the message is
    /// progress: a block's start or end, a piece of text or input. Pings, comments and events of
    /// unknown types are not. A reply that is a single JSON document makes progress only when it is
    /// complete. Default: 600 s.
    pub progress_timeout: Duration,
    /// How long a connection may be idle before it is closed. Default: 90 s.
    pub idle_timeout: Duration,
    /// Root certificates to trust in addition to the platform's. Ignored if `tls` is set. Default:
    /// none.
    pub root_certificates: Vec<RootCertificate>,
    /// A TLS configuration of the caller's own: client certificates, other roots, another verifier.
    /// If it lists no ALPN protocols, this crate's are added. Default: none.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// Which proxies to use. Default: those of the environment when the transport is made.
    #[cfg(feature = "proxy")]
    pub proxies: Proxies,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(600),
            progress_timeout: Duration::from_secs(600),
            idle_timeout: Duration::from_secs(90),
            root_certificates: Vec::new(),
            tls: None,
            #[cfg(feature = "proxy")]
            proxies: Proxies::from_env(),
        }
    }
}

impl fmt::Debug for HttpSettings {
    /// Shows only whether a TLS configuration is set.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("HttpSettings");
        shown
            .field("connect_timeout", &self.connect_timeout)
            .field("read_timeout", &self.read_timeout)
            .field("progress_timeout", &self.progress_timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("root_certificates", &self.root_certificates)
            .field("has_tls", &self.tls.is_some());
        #[cfg(feature = "proxy")]
        shown.field("proxies", &self.proxies);
        shown.finish()
    }
}

/// A handle to connections. Clones share them; each run has its own handle.
///
/// Connections need a tokio runtime with I/O and time; without one, a request fails with an error
/// that says so. A handle may be used in several runtimes: each uses the connections that it made.
/// A reply must be read in the runtime in which its request was sent; otherwise its read timeout
/// ends it.
#[derive(Clone)]
pub struct HttpTransport {
    shared: Arc<dyn DynTransport>,
    /// Shared by clones, because each run has its own handle. `None` if none was set.
    timeouts: Option<Arc<Timeouts>>,
    /// Shared by clones. `None` if there are none.
    hooks: Option<Hooks>,
    /// Those of the last reply that this handle received.
    rate_limits: RateLimits,
    /// The models that are asked after a refusal. `None` if there are none.
    fallback: Option<Fallback>,
}

impl HttpTransport {
    /// Creates a transport over hyper. It connects when the first request is sent, and sets up TLS
    /// when the first `https` request is sent.
    pub fn new(settings: HttpSettings) -> Self {
        Self::from_dyn(Links::new(settings))
    }

    /// Creates a handle to another transport: a script in a test, or another HTTP library.
    pub fn from_dyn(transport: impl DynTransport) -> Self {
        Self {
            shared: Arc::new(transport),
            timeouts: None,
            hooks: None,
            rate_limits: RateLimits::default(),
            fallback: None,
        }
    }

    /// Returns this handle with other timeouts over the same connections. Fields that are `None`
    /// keep the current value.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        let Timeouts { connect, read, progress } = timeouts;
        let old = self.timeouts();
        let new = Timeouts {
            connect: connect.or(old.connect),
            read: read.or(old.read),
            progress: progress.or(old.progress),
        };
        if new != old {
            self.timeouts = Some(Arc::new(new));
        }
        self
    }

    /// Returns this handle with one more hook, over the same connections. It is called after those
    /// that the handle already has.
    #[must_use]
    pub fn with_hook(mut self, hook: impl RequestHook) -> Self {
        let old = self.hooks.iter().flat_map(|hooks| hooks.iter()).map(Arc::clone);
        let new: Arc<dyn RequestHook> = Arc::new(hook);
        self.hooks = Some(old.chain([new]).collect());
        self
    }

    /// Returns this handle with these models to ask after a refusal.
    pub(crate) fn with_fallback(mut self, fallback: Option<Fallback>) -> Self {
        self.fallback = fallback;
        self
    }

    /// Returns whether other models are asked after a refusal.
    pub(crate) const fn has_fallback(&self) -> bool {
        self.fallback.is_some()
    }

    /// Calls the hooks, sends a request and waits for the head of the reply.
    pub(crate) async fn exchange(
        &mut self,
        method: &Method,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<HttpBody>, HttpError> {
        if let Some(fallback) = &self.fallback
            && fallback.applies_to(method, head)
        {
            let inner = Self { fallback: None, ..self.clone() };
            // Boxed, because a request without fallbacks should not pay for its size.
            let reply = Box::pin(fallback.exchange(inner, head, body)).await?;
            self.rate_limits.replace(reply.body.headers());
            return Ok(reply);
        }
        let timeouts = self.timeouts();
        let reply = match &self.hooks {
            None => self.shared.send_with(method, head, body, timeouts).await,
            // Boxed, because a request without hooks should not pay for its size.
            Some(hooks) => Box::pin(self.exchange_hooked(hooks, method, head, body)).await,
        }?;
        self.rate_limits.replace(reply.body.headers());
        Ok(reply)
    }

    /// Returns the rate limits that the last reply received by this handle reported. Clones do not
    /// share them. Empty before the first reply, and if the last one reported none.
    pub const fn rate_limits(&self) -> &RateLimits {
        &self.rate_limits
    }

    async fn exchange_hooked(
        &self,
        hooks: &Hooks,
        method: &Method,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<HttpBody>, HttpError> {
        let mut request = OutgoingRequest::new(method, head, body);
        request.pass(hooks).await?;
        let headers: Vec<(&str, &str)> = request.headers().collect();
        let head = Head { base_url: head.base_url, path: request.path(), headers: &headers };
        let body = request.body();
        let reply = self.shared.send_with(request.method(), &head, &body, self.timeouts()).await?;
        hooks.iter().for_each(|hook| hook.replied(reply.head.status));
        Ok(reply)
    }
}

impl HttpTransport {
    fn timeouts(&self) -> Timeouts {
        self.timeouts.as_deref().copied().unwrap_or_default()
    }
}

impl Default for HttpTransport {
    fn default() -> Self {
        Self::new(HttpSettings::default())
    }
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpTransport").finish_non_exhaustive()
    }
}

impl Transport for HttpTransport {
    type Error = HttpError;
    type Body<'t> = HttpBody;

    async fn send(
        &mut self,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<HttpBody>, HttpError> {
        self.exchange(&Method::POST, head, body).await
    }
}
