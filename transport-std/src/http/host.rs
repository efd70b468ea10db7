//! One server: its address, the forms of its URLs, and its idle connections.
//!
//! This pool replaces hyper-util's `legacy::Client`. Speed is not the reason: a turn over
//! `legacy::Client` took 1.16 times the processor time of a turn over bare hyper connections (11.8
//! and 10.2 µs, HTTP/1.1 on loopback, medians of five rounds in one run). The reasons are
//! guarantees of the transport that `legacy::Client` cannot give:
//!
//! - A connection belongs to the runtime that made it. A client that is used from a second runtime,
//!   or after its first one ended, does not wait for a task that nothing drives.
//! - If a request fails on an idle connection, the transport knows whether the server can have
//!   received all of it. Only then is sending it again not counted as a retry: see [`super`].
//! - A body that is dropped before its end closes its socket at once, which cancels the turn at the
//!   server. An idle connection is closed by age also under light traffic.
//! - A server that answers before it has read the whole request gets no second request on that
//!   connection.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Instant;

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use hyper::client::conn::http1;
use tokio::runtime::{Handle, Id};
use tokio::task::AbortHandle;
use toolrunner_core::__private::BaseUrl;
use toolrunner_core::error::TransportKind;

use super::idle::IdleTimer;
use super::proxy::{ProxyRoute, Routes};
use super::sent::{SentBody, Token};
use super::{HttpError, http2};
use crate::clock::sleep_until;
use crate::lock::lock;

/// The maximum number of idle connections per server. Further ones are closed when their reply
/// ends.
const MAX_WAITING: usize = 1024;
/// The shortest interval between two checks for old idle connections.
const LEAST_NAP: Duration = Duration::from_secs(1);

/// An HTTP/1.1 connection, owned by the request that uses it. Dropping it closes it.
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<SentBody>,
    pub(super) timer: IdleTimer,
    pub(super) token: Token,
    task: Task,
    runtime: Id,
    /// Whether the server is known to keep this connection open after a reply.
    pub(super) is_kept_open: bool,
}

/// hyper's task for the connection. It is aborted on drop, so that the socket is closed at once and
/// not when hyper notices that the sender was dropped.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Http1 {
    pub(super) fn new(
        sender: http1::SendRequest<SentBody>,
        task: AbortHandle,
        timer: IdleTimer,
        runtime: Id,
    ) -> Self {
        let (token, task) = (Token::default(), Task(task));
        Self { sender, timer, token, task, runtime, is_kept_open: false }
    }

    /// Returns whether the whole last request was written and its body dropped. Otherwise the
    /// server answered early, and would read the rest of that request as garbage.
    fn is_written(&self) -> bool {
        Arc::strong_count(&self.token) == 1
    }
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1").field("task", &self.task.0.id()).finish_non_exhaustive()
    }
}

/// An HTTP/2 connection, shared by its requests.
#[derive(Clone)]
pub(super) struct Http2 {
    pub(super) sender: http2::Sender,
    runtime: Id,
    /// Identifies the connection among those to this server.
    number: u64,
    /// Cloned by every request on this connection, so that its count shows whether it is in use.
    token: Arc<()>,
}

/// The URL of a request, in the two forms in which it may be written.
pub(super) struct Target {
    /// Path and query: for HTTP/1.1 without a proxy.
    pub(super) origin_form: Uri,
    /// The whole URL: for HTTP/2, and for HTTP/1.1 to a proxy.
    pub(super) absolute: Uri,
}

/// A server, identified by its base URL.
pub(super) struct Host {
    /// `scheme://host:port`, and the proxy if there is one, for messages.
    pub(super) origin: String,
    /// The address to connect to, with the port.
    pub(super) uri: Uri,
    pub(super) secure: bool,
    pub(super) header: HeaderValue,
    pub(super) via: Option<ProxyRoute>,
    /// Held while a connection is made whose protocol is not yet known, so that 100 simultaneous
    /// first requests do not make 100 connections to a server that serves them all on one.
    pub(super) gate: tokio::sync::Mutex<()>,
    /// The path of the base URL, without a trailing slash.
    prefix: String,
    /// How long a connection may be idle and still be used.
    max_idle: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The idle HTTP/1.1 connections, oldest first, each with the time since when it is idle.
    waiting: Vec<(Box<Http1>, Instant)>,
    /// The HTTP/2 connections, at most one per runtime, each with the time of its last use.
    shared: Vec<(Http2, Instant)>,
    /// The task that closes old idle connections, while there are any connections.
    reaper: Option<AbortHandle>,
    /// The number of HTTP/2 connections made so far.
    count: u64,
    /// Whether the server is known to offer only HTTP/1.1.
    http1_only: bool,
    /// The last path, which most likely is the next one too.
    last: Option<(Box<str>, Arc<Target>)>,
}

impl Host {
    pub(super) fn new(
        base_url: &str,
        routes: &Routes,
        max_idle: Duration,
    ) -> Result<Self, HttpError> {
        let bad = |why: &str| HttpError::new(TransportKind::Setup, why);
        let uri =
            base_url.parse::<Uri>().map_err(|e| bad("the base URL is not a URL").with_source(e))?;
        let BaseUrl { secure, host: name, port, prefix, .. } =
            BaseUrl::parse(base_url).map_err(|why| bad(why.as_str()))?;
        let default_port = if secure { 443 } else { 80 };
        let named = match port.filter(|port| *port != default_port) {
            Some(port) => format!("{name}:{port}"),
            None => name.to_owned(),
        };
        let header = HeaderValue::from_str(&named)
            .map_err(|e| bad("the base URL does not have a valid host").with_source(e))?;
        let via = routes.to(&uri);
        let scheme = if secure { "https" } else { "http" };
        let prefix = prefix.to_owned();
        let origin = match via.as_ref().and_then(ProxyRoute::name) {
            Some(proxy) => format!("{scheme}://{named} through the proxy {proxy}"),
            None => format!("{scheme}://{named}"),
        };
        // With the port, because tunnels and SOCKS proxies otherwise treat any URL as https.
        let port = port.unwrap_or(default_port);
        let uri = Uri::builder()
            .scheme(scheme)
            .authority(format!("{name}:{port}"))
            .path_and_query("/")
            .build();
        let uri = uri.map_err(|e| bad("the base URL does not have a valid host").with_source(e))?;
        Ok(Self {
            origin,
            secure,
            header,
            via,
            gate: tokio::sync::Mutex::default(),
            prefix,
            max_idle,
            state: Mutex::default(),
            uri,
        })
    }

    /// Returns the URL of `path` on this server.
    pub(super) fn target(&self, path: &str) -> Result<Arc<Target>, HttpError> {
        if let Some((last, target)) = &self.state().last
            && **last == *path
        {
            return Ok(Arc::clone(target));
        }
        let bad = |e: http::Error| {
            HttpError::new(TransportKind::Setup, "the request path is not valid").with_source(e)
        };
        let whole =
            format!("{}{path}", self.prefix).parse::<PathAndQuery>().map_err(|e| bad(e.into()))?;
        let origin_form = Uri::builder().path_and_query(whole.clone()).build().map_err(bad)?;
        let scheme = if self.secure { Scheme::HTTPS } else { Scheme::HTTP };
        let absolute = Uri::builder()
            .scheme(scheme)
            .authority(self.header.as_bytes())
            .path_and_query(whole)
            .build()
            .map_err(bad)?;
        let target = Arc::new(Target { origin_form, absolute });
        self.state().last = Some((path.into(), Arc::clone(&target)));
        Ok(target)
    }

    /// Returns the idle connection of this runtime that was used last, so that the others can reach
    /// their idle timeout, and how long it has been idle. Connections of other runtimes are not
    /// used: their runtime may not be driven while this one waits, and then they make no progress.
    pub(super) fn take_waiting(&self, runtime: Id) -> Option<(Box<Http1>, Duration)> {
        let mut state = self.state();
        while let Some(at) =
            state.waiting.iter().rposition(|(connection, _)| connection.runtime == runtime)
        {
            let (connection, since) = state.waiting.remove(at);
            let idle = since.elapsed();
            if !connection.sender.is_closed() && idle < self.max_idle {
                return Some((connection, idle));
            }
        }
        None
    }

    /// Takes back a connection after its reply was read to its end.
    pub(super) fn put_back(self: &Arc<Self>, connection: Box<Http1>) {
        if connection.sender.is_closed() || !connection.is_written() {
            return;
        }
        let mut state = self.state();
        let now = Instant::now();
        let old = state.take_old_waiting(now, self.max_idle);
        if state.waiting.len() < MAX_WAITING {
            state.waiting.push((connection, now));
            self.ensure_reaper(&mut state);
        }
        // Old connections are closed after the lock is released.
        drop(state);
        drop(old);
    }

    /// Returns the open HTTP/2 connection of this runtime, if there is one.
    pub(super) fn shared(&self, runtime: Id) -> Option<Http2> {
        let mut state = self.state();
        let (shared, used) = state
            .shared
            .iter_mut()
            .find(|(shared, _)| shared.runtime == runtime && !shared.sender.is_closed())?;
        *used = Instant::now();
        Some(shared.clone())
    }

    /// Makes a new HTTP/2 connection available to further requests.
    pub(super) fn share(self: &Arc<Self>, sender: http2::Sender, runtime: Id) -> Http2 {
        let mut state = self.state();
        state.count += 1;
        state.http1_only = false;
        let shared = Http2 { sender, runtime, number: state.count, token: Arc::default() };
        state.shared.retain(|(other, _)| other.runtime != runtime && !other.sender.is_closed());
        state.shared.push((shared.clone(), Instant::now()));
        self.ensure_reaper(&mut state);
        shared
    }

    /// Marks the end of a request on this HTTP/2 connection.
    pub(super) fn release(&self, shared: &Http2) {
        if let Some((_, used)) =
            self.state().shared.iter_mut().find(|(other, _)| other.number == shared.number)
        {
            *used = Instant::now();
        }
    }

    /// Stops sharing this HTTP/2 connection, because it failed.
    pub(super) fn forget(&self, shared: &Http2) {
        self.state().shared.retain(|(other, _)| other.number != shared.number);
    }

    /// Starts the task that closes old idle connections, unless it is running. Outside a runtime
    /// there is no such task; old connections are then closed when another one comes back.
    fn ensure_reaper(self: &Arc<Self>, state: &mut State) {
        if state.reaper.as_ref().is_some_and(|reaper| !reaper.is_finished()) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let reaper = reap(Arc::downgrade(self), self.max_idle);
            state.reaper = Some(runtime.spawn(reaper).abort_handle());
        }
    }

    /// Closes connections that have been idle for too long. Returns when to check again, or `None`
    /// if there are no connections, and then the reaper ends.
    fn close_old(&self) -> Option<Instant> {
        let mut state = self.state();
        let now = Instant::now();
        let old = state.take_old_waiting(now, self.max_idle);
        let max_idle = self.max_idle;
        // A connection with a request on it is not idle.
        state.shared.retain(|(shared, used)| {
            !shared.sender.is_closed()
                && (Arc::strong_count(&shared.token) > 1
                    || now.saturating_duration_since(*used) < max_idle)
        });
        let oldest = state.waiting.first().map(|(_, since)| *since);
        let next = state.shared.iter().map(|(_, used)| *used).chain(oldest).min();
        if next.is_none() {
            state.reaper = None;
        }
        drop(state);
        drop(old);
        // Wait at least a little: a connection with a request on it may be the oldest for a long
        // time.
        Some((next?.checked_add(self.max_idle)?).max(now + LEAST_NAP.min(self.max_idle)))
    }

    /// Returns whether a new connection can only be HTTP/1.1.
    pub(super) fn is_http1_only(&self) -> bool {
        !self.secure || self.state().http1_only
    }

    pub(super) fn set_http1_only(&self) {
        if self.secure {
            self.state().http1_only = true;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    /// Removes the HTTP/1.1 connections that have been idle for too long. They are at the front.
    fn take_old_waiting(&mut self, now: Instant, max_idle: Duration) -> Vec<(Box<Http1>, Instant)> {
        let is_old = |(_, since): &(_, Instant)| now.saturating_duration_since(*since) >= max_idle;
        // Each reply calls this, and rarely is a connection old. The oldest one decides.
        if !self.waiting.first().is_some_and(is_old) {
            return Vec::new();
        }
        let old = self.waiting.partition_point(is_old);
        self.waiting.drain(..old).collect()
    }
}

/// Closes idle connections as they become too old. The first one does so after `max_idle`: if this
/// looked for one at once, it would mostly find none, because the next request has taken it, and
/// the next connection to come back would need another reaper.
async fn reap(host: Weak<Host>, max_idle: Duration) {
    let mut next = Instant::now().checked_add(max_idle);
    while let Some(end) = next {
        // Without timers, old connections are closed when another one comes back.
        let Some(sleep) = sleep_until(end.into()) else { return };
        sleep.await;
        next = host.upgrade().and_then(|host| host.close_old());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(base_url: &str) -> Host {
        Host::new(base_url, &Routes::direct(), Duration::from_secs(90))
            .unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_prefix_is_kept_and_a_slash_at_the_end_is_not_doubled() {
        for base_url in ["http://127.0.0.1:8080/spec/a", "http://127.0.0.1:8080/spec/a/"] {
            let target = host(base_url).target("/v1/messages?beta=true").unwrap();
            assert_eq!(target.origin_form.to_string(), "/spec/a/v1/messages?beta=true");
            assert_eq!(
                target.absolute.to_string(),
                "http://127.0.0.1:8080/spec/a/v1/messages?beta=true"
            );
        }
        assert_eq!(
            host("https://api.anthropic.com/").target("/v1/messages").unwrap().origin_form,
            "/v1/messages"
        );
    }

    #[test]
    fn another_path_is_not_mistaken_for_the_last() {
        let host = host("http://server");
        assert_eq!(host.target("/a").unwrap().origin_form, "/a");
        assert_eq!(host.target("/b").unwrap().origin_form, "/b");
        assert_eq!(host.target("/b").unwrap().origin_form, "/b");
    }

    #[test]
    fn the_host_header_leaves_out_the_usual_port() {
        for (base_url, header) in [
            ("https://server:443", "server"),
            ("http://server:80/x", "server"),
            ("https://server:80", "server:80"),
            ("http://[::1]:9", "[::1]:9"),
        ] {
            assert_eq!(host(base_url).header, header);
        }
    }

    #[test]
    fn bad_base_urls_are_told_without_their_password() {
        for (base_url, text) in [
            ("server", "the base URL must begin with http:// or https://"),
            ("ftp://server", "the base URL must begin with http:// or https://"),
            ("http://user:secret@server", "the base URL must not contain a user or password"),
            ("http://server?secret", "the base URL must not contain a query or a fragment"),
            ("http://server:70000", "the base URL must have a port from 1 to 65535, if any"),
            ("http://", "the base URL is not a URL: empty string"),
            ("ht tp://secret", "the base URL is not a URL: invalid uri character"),
        ] {
            let error =
                Host::new(base_url, &Routes::direct(), Duration::from_secs(90)).err().unwrap();
            assert_eq!(error.to_string(), text);
            assert!(!format!("{error:?}").contains("secret"));
        }
    }
}
