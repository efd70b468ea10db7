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
//! A connection is taken out of its host while a request is on it, and put back by the body that was read to its end. What is
//! dropped before that closes its connection. Redirects are not followed: a key never goes where it was not sent.

mod body;
mod dial;
mod error;
mod host;
mod idle;
mod links;
mod sent;
mod tls;

use core::fmt;
use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;

use toolrunner_core::transport::{Body, Head, Reply, Transport};

pub use body::HttpBody;
pub use dial::{BadProxy, Proxies};
pub use error::HttpError;
pub use tls::{BadCertificate, RootCertificate};

use links::Links;
pub(crate) use links::without_query;

/// The future of [`DynTransport::send`].
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Reply<HttpBody>, HttpError>> + Send + 'a>>;

/// The object-safe twin of [`Transport`], for what may stand behind an [`HttpTransport`]: hyper, or a script in a test.
pub trait DynTransport: Send + Sync + 'static {
    /// As [`Transport::send`]; may be called again before an earlier reply was read.
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> Sending<'a>;

    /// The same with other time-outs than its own. One that knows none need not write this.
    fn send_within<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>, timeouts: Timeouts) -> Sending<'a> {
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
}

/// How connections are made and how long they may be silent.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// How long a connection may take until it can carry a request: name, proxy, TCP and TLS together. Default: 5 s.
    pub connect_timeout: Duration,
    /// How long nothing may come, be it the reply's head or the next piece of its body. Default: 600 s.
    pub read_timeout: Duration,
    /// Roots trusted beside the platform's. Default: none.
    pub root_certificates: Vec<RootCertificate>,
    /// Which proxies stand between. Default: what the environment says when the transport is made.
    pub proxies: Proxies,
}

impl Default for HttpSettings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(600),
            root_certificates: Vec::new(),
            proxies: Proxies::from_env(),
        }
    }
}

/// A handle to connections. Clones share them; a run has one of its own.
///
/// Connections need a tokio runtime with I/O and time, and live in the one where they were made: use a handle and its clones in one
/// runtime at a time.
#[derive(Clone)]
pub struct HttpTransport {
    shared: Arc<dyn DynTransport>,
    timeouts: Timeouts,
}

impl HttpTransport {
    /// Connections by hyper. None is made before the first request, and TLS is set up when the first `https` one is sent.
    pub fn new(settings: HttpSettings) -> Self {
        Self::from_dyn(Links::new(settings))
    }

    /// Another one behind the same handle: a script in a test, or another HTTP library.
    pub fn from_dyn(transport: impl DynTransport) -> Self {
        Self { shared: Arc::new(transport), timeouts: Timeouts::default() }
    }

    /// This handle with time-outs of its own, over the same connections. What is not said stays as it was.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        let Timeouts { connect, read } = timeouts;
        self.timeouts = Timeouts { connect: connect.or(self.timeouts.connect), read: read.or(self.timeouts.read) };
        self
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

    async fn send(&mut self, head: &Head<'_>, body: &Body<'_>) -> Result<Reply<HttpBody>, HttpError> {
        self.shared.send_within(head, body, self.timeouts).await
    }
}
