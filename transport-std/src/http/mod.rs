//! The transport: hyper underneath, one cheap handle on top.
//!
//! ```text
//! HttpTransport ──► dyn DynTransport ──► Links: one Host per base URL
//!   (clones share)     or a script          │  idle HTTP/1.1 connections, or one HTTP/2 connection
//!                                           │  dial: proxy, TCP, TLS, handshake
//!                                           ▼
//!                      SentBody (no copy of the transcript) ► hyper ► HttpBody (lends hyper's own bytes)
//! ```
//!
//! A connection is taken out of its host while a request is on it, and put back by the body that
//! was read to its end. What is dropped before that closes its connection. Redirects are not
//! followed: a key never goes where it was not sent.
//!
//! An idle connection is closed after [`HttpSettings::idle_timeout`]. A server may close it
//! earlier, just when the next request is sent. If the server cannot have had the whole request,
//! the transport sends it on a new connection, once, and the retry policy does not count that.
//! Otherwise the server may have begun the turn, which may have to be paid for: the transport
//! reports [`TransportKind::Closed`](toolrunner_core::error::TransportKind::Closed), and the retry
//! policy decides.
//!
//! TLS uses the program's default [`CryptoProvider`](rustls::crypto::CryptoProvider) if one is
//! installed, else that of the feature `aws-lc-rs`, else that of the feature `ring`. It trusts the
//! platform's roots. With the feature `webpki-roots` a machine that has none uses Mozilla's, as
//! compiled in.

mod body;
mod dial;
mod error;
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

use toolrunner_core::transport::{Body, Head, Reply, Transport};

pub use body::HttpBody;
pub use error::HttpError;
#[cfg(feature = "proxy")]
pub use proxy::{BadProxy, Proxies};
pub use rustls;
pub use tls::{BadCertificate, RootCertificate};

use links::Links;
pub(crate) use links::without_query;

/// The future of [`DynTransport::send`].
pub type Sending<'a> =
    Pin<Box<dyn Future<Output = Result<Reply<HttpBody>, HttpError>> + Send + 'a>>;

/// The object-safe twin of [`Transport`], for what may stand behind an [`HttpTransport`]: hyper, or
/// a script in a test.
pub trait DynTransport: Send + Sync + 'static {
    /// As [`Transport::send`]; may be called again before an earlier reply was read.
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> Sending<'a>;

    /// The same with other time-outs than its own. One that knows none need not write this.
    fn send_within<'a>(
        &'a self,
        head: &'a Head<'_>,
        body: &'a Body<'_>,
        timeouts: Timeouts,
    ) -> Sending<'a> {
        let _ = timeouts;
        self.send(head, body)
    }
}

/// Time-outs of one request; where nothing is said, the transport's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// How long a connection may take until it can carry a request.
    pub connect: Option<Duration>,
    /// How long nothing may come, be it the reply's head or the next piece of its body.
    pub read: Option<Duration>,
    /// How long a reply may make no progress: see [`HttpSettings::progress_timeout`].
    pub progress: Option<Duration>,
}

/// How connections are made and how long they may be silent.
#[derive(Clone)]
pub struct HttpSettings {
    /// How long a connection may take until it can carry a request: name, proxy, TCP and TLS
    /// together. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long nothing may come, be it the reply's head or the next piece of its body. Default:
    /// 600 s.
    pub read_timeout: Duration,
    /// How long a reply may come without progress, counted from its head. Each part of the message
    /// is progress: a block's start or end, a piece of text or input. Pings, comments and events of
    /// unknown types are not. A reply in one piece of JSON makes progress when it is whole.
    /// Default: 600 s.
    pub progress_timeout: Duration,
    /// How long a connection may be idle before it is closed. Default: 90 s.
    pub idle_timeout: Duration,
    /// Roots trusted in addition to the platform's. Default: none. Without effect if there is a
    /// `tls`.
    pub root_certificates: Vec<RootCertificate>,
    /// A TLS configuration of the caller's own: client certificates, other roots, another verifier.
    /// Without ALPN protocols it gets this crate's. Default: none.
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
    /// Of a TLS configuration only whether there is one.
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

/// A handle to connections. Clones share them; a run has one of its own.
///
/// Connections need a tokio runtime with I/O and time; without one a request fails with an error
/// that says so. A handle may be used in several runtimes: each uses the connections that it made.
/// A reply must be read in the runtime where it was asked for, or its read time-out ends it.
#[derive(Clone)]
pub struct HttpTransport {
    shared: Arc<dyn DynTransport>,
    /// Shared by clones, because each run has a handle of its own. Nothing if none was set.
    timeouts: Option<Arc<Timeouts>>,
}

impl HttpTransport {
    /// Connections by hyper. None is made before the first request, and TLS is set up when the
    /// first `https` one is sent.
    pub fn new(settings: HttpSettings) -> Self {
        Self::from_dyn(Links::new(settings))
    }

    /// Another one behind the same handle: a script in a test, or another HTTP library.
    pub fn from_dyn(transport: impl DynTransport) -> Self {
        Self { shared: Arc::new(transport), timeouts: None }
    }

    /// This handle with time-outs of its own, over the same connections. What is not said stays as
    /// it was.
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
        self.shared.send_within(head, body, self.timeouts()).await
    }
}
