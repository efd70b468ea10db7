//! One server: where it is, the ways to write its URLs, and its connections that wait for a request.

use core::fmt;
use core::time::Duration;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use http::uri::{PathAndQuery, Scheme};
use http::{HeaderValue, Uri};
use hyper::client::conn::{http1, http2};
use hyper_util::client::proxy::matcher::Matcher;
use tokio::task::AbortHandle;
use toolrunner_core::error::TransportKind;

use super::HttpError;
use super::dial::Via;
use super::idle::IdleTimer;
use super::sent::{SentBody, Token};

/// Waiting connections kept per server. More are closed when they come back.
const MAX_WAITING: usize = 1024;
/// How long a connection may wait and still be trusted.
const MAX_WAIT: Duration = Duration::from_secs(90);

/// An HTTP/1.1 connection, held by whoever has a request on it. Dropping it closes it.
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<SentBody>,
    pub(super) timer: IdleTimer,
    pub(super) token: Token,
    task: Task,
}

/// hyper's end of the connection. Aborted, so that the socket is closed at once and not when hyper finds nobody listening.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Http1 {
    pub(super) fn new(sender: http1::SendRequest<SentBody>, task: AbortHandle, timer: IdleTimer) -> Self {
        Self { sender, timer, token: Token::default(), task: Task(task) }
    }

    /// Whether all of the last request was written. If not, the server answered early and will read the rest of it as garbage.
    fn is_written(&self) -> bool {
        Arc::strong_count(&self.token) == 1
    }
}

impl fmt::Debug for Http1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Http1").field("task", &self.task.0.id()).finish_non_exhaustive()
    }
}

/// The one HTTP/2 connection, shared by its requests.
#[derive(Clone)]
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<SentBody>,
    /// Which one it is, among those to this server.
    pub(super) number: u64,
}

/// The URL of a request, in the two ways it may have to be written.
#[derive(Clone)]
pub(super) struct Target {
    /// Path and query: HTTP/1.1, direct.
    pub(super) origin_form: Uri,
    /// The whole URL: HTTP/2, and HTTP/1.1 to a proxy.
    pub(super) absolute: Uri,
}

/// A server by its base URL.
pub(super) struct Host {
    /// `scheme://host:port`, and the proxy if there is one, for people.
    pub(super) origin: String,
    /// Where to connect, with the port.
    pub(super) uri: Uri,
    pub(super) secure: bool,
    pub(super) header: HeaderValue,
    pub(super) via: Via,
    /// Held while a connection is made whose protocol is not known yet, so that 100 first requests do not make 100 connections to a
    /// server that serves them all on one.
    pub(super) gate: tokio::sync::Mutex<()>,
    /// The base URL's own path, without a slash at its end.
    prefix: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: Vec<(Http1, Instant)>,
    shared: Option<Http2>,
    /// How many HTTP/2 connections there have been.
    count: u64,
    /// What the server speaks, once known.
    http1_only: bool,
    /// The last path, which most likely is the next one too.
    last: Option<(Box<str>, Target)>,
}

impl Host {
    pub(super) fn new(base_url: &str, proxies: Option<&Matcher>) -> Result<Self, HttpError> {
        let bad = |why: &str| HttpError::new(TransportKind::Other, format!("the base URL {why}"));
        let uri = base_url.parse::<Uri>().map_err(|e| bad("is no URL").with_source(e))?;
        let secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(bad("must begin with http:// or https://")),
        };
        let (Some(authority), Some(name)) = (uri.authority(), uri.host().filter(|name| !name.is_empty())) else {
            return Err(bad("has no host"));
        };
        if authority.as_str().contains('@') {
            return Err(bad("must not hold a user or password"));
        }
        if uri.query().is_some() {
            return Err(bad("must not hold a query"));
        }
        let default_port = if secure { 443 } else { 80 };
        let named = match uri.port_u16().filter(|port| *port != default_port) {
            Some(port) => format!("{name}:{port}"),
            None => name.to_owned(),
        };
        let header = HeaderValue::from_str(&named).map_err(|e| bad("has no valid host").with_source(e))?;
        let via = Via::to(&uri, proxies);
        let scheme = if secure { "https" } else { "http" };
        let prefix = uri.path().trim_end_matches('/').to_owned();
        let origin = match via.proxy() {
            Some(proxy) => format!("{scheme}://{named} through the proxy {proxy}"),
            None => format!("{scheme}://{named}"),
        };
        // With the port, because a tunnel or a SOCKS proxy takes any URL for https.
        let port = uri.port_u16().unwrap_or(default_port);
        let uri = Uri::builder().scheme(scheme).authority(format!("{name}:{port}")).path_and_query("/").build();
        let uri = uri.map_err(|e| bad("has no valid host").with_source(e))?;
        Ok(Self { origin, secure, header, via, gate: tokio::sync::Mutex::default(), prefix, state: Mutex::default(), uri })
    }

    /// The URL of `path` here.
    pub(super) fn target(&self, path: &str) -> Result<Target, HttpError> {
        if let Some((last, target)) = &self.state().last
            && **last == *path
        {
            return Ok(target.clone());
        }
        let bad = |e: http::Error| HttpError::new(TransportKind::Other, "a request's path is no path").with_source(e);
        let whole = format!("{}{path}", self.prefix).parse::<PathAndQuery>().map_err(|e| bad(e.into()))?;
        let origin_form = Uri::builder().path_and_query(whole.clone()).build().map_err(bad)?;
        let scheme = if self.secure { Scheme::HTTPS } else { Scheme::HTTP };
        let absolute = Uri::builder().scheme(scheme).authority(self.header.as_bytes()).path_and_query(whole).build().map_err(bad)?;
        let target = Target { origin_form, absolute };
        self.state().last = Some((path.into(), target.clone()));
        Ok(target)
    }

    /// A connection that waits, the last one to come back first: the others may close in peace.
    pub(super) fn take_waiting(&self) -> Option<Http1> {
        let mut state = self.state();
        while let Some((connection, since)) = state.waiting.pop() {
            if !connection.sender.is_closed() && since.elapsed() < MAX_WAIT {
                return Some(connection);
            }
        }
        None
    }

    /// Takes back a connection whose reply was read to its end.
    pub(super) fn put_back(&self, connection: Http1) {
        if connection.sender.is_closed() || !connection.is_written() {
            return;
        }
        let mut state = self.state();
        if state.waiting.len() < MAX_WAITING {
            state.waiting.push((connection, Instant::now()));
        }
    }

    /// The HTTP/2 connection, if it is there and lives.
    pub(super) fn shared(&self) -> Option<Http2> {
        self.state().shared.clone().filter(|shared| !shared.sender.is_closed())
    }

    /// Shares a new HTTP/2 connection from now on.
    pub(super) fn share(&self, sender: http2::SendRequest<SentBody>) -> Http2 {
        let mut state = self.state();
        state.count += 1;
        state.http1_only = false;
        let shared = Http2 { sender, number: state.count };
        state.shared = Some(shared.clone());
        shared
    }

    /// Shares this HTTP/2 connection no more: something was wrong with it.
    pub(super) fn forget(&self, number: u64) {
        let mut state = self.state();
        state.shared.take_if(|shared| shared.number == number);
    }

    /// Whether a new connection can only be HTTP/1.1.
    pub(super) fn is_http1_only(&self) -> bool {
        !self.secure || self.state().http1_only
    }

    pub(super) fn set_http1_only(&self) {
        if self.secure {
            self.state().http1_only = true;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No state is half-changed when something panics in here.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(base_url: &str) -> Host {
        Host::new(base_url, None).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn a_prefix_is_kept_and_a_slash_at_the_end_is_not_doubled() {
        for base_url in ["http://127.0.0.1:8080/spec/a", "http://127.0.0.1:8080/spec/a/"] {
            let target = host(base_url).target("/v1/messages?beta=true").unwrap();
            assert_eq!(target.origin_form.to_string(), "/spec/a/v1/messages?beta=true");
            assert_eq!(target.absolute.to_string(), "http://127.0.0.1:8080/spec/a/v1/messages?beta=true");
        }
        assert_eq!(host("https://api.anthropic.com/").target("/v1/messages").unwrap().origin_form, "/v1/messages");
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
            ("http://user:secret@server", "the base URL must not hold a user or password"),
            ("http://server?secret", "the base URL must not hold a query"),
            ("http://", "the base URL is no URL: empty string"),
            ("ht tp://secret", "the base URL is no URL: invalid uri character"),
        ] {
            let error = Host::new(base_url, None).err().unwrap();
            assert_eq!(error.to_string(), text);
            assert!(!format!("{error:?}").contains("secret"));
        }
    }
}
