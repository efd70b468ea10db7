//! Sends a request and receives the reply's head, on an idle connection or a new one.

use core::any::Any;
use core::future::poll_fn;
use core::panic::AssertUnwindSafe;
use core::pin::pin;
use core::sync::atomic::Ordering;
use core::task::{Context, Poll};
use core::time::Duration;
use std::panic::resume_unwind;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use futures_util::FutureExt;
use http::header::{
    ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION, RETRY_AFTER, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use rustls::ClientConfig;
use tokio::runtime::{Handle, Id};
use tokio::task::yield_now;
use tokio::time::Instant;
use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead};
use toolrunner_core::wire::Config;

use super::body::{Http2Stream, HttpBody, Lease};
use super::dial::{Dialer, NewConnection};
use super::host::{Host, Http1, Http2, Target};
use super::idle::{Bound, IdleTimer};
use super::proxy::{ProxyRoute, Routes};
use super::sent::{SentBody, Token};
use super::{DynTransport, HttpError, HttpSettings, SendFuture, Timeouts, tls};
use crate::EscapedText;
use crate::clock::sleep_until;

/// The maximum number of servers remembered. One more drops the oldest, with its connections.
const MAX_HOSTS: usize = 64;
/// The time limit for the body of an error. Whatever was received by then is reported.
const ERROR_BODY_TIME: Duration = Duration::from_secs(2);
/// How long a connection may be idle and be used without looking at its socket.
const FRESH: Duration = Duration::from_millis(1);

/// The headers whose values the logs of HTTP libraries may show. Any other may be a key that the
/// caller or a hook has set.
const SHOWN: [&str; 6] =
    ["accept", "anthropic-beta", "anthropic-version", "content-type", "traceparent", "user-agent"];

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
static ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
static ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// All connections of a transport.
pub(super) struct Links {
    settings: HttpSettings,
    routes: Routes,
    dialer: Dialer,
    tls: OnceLock<Arc<ClientConfig>>,
    hosts: RwLock<Vec<(Box<str>, Arc<Host>)>>,
}

/// A request that is not yet bound to a connection.
#[derive(Clone, Copy)]
struct Unsent<'a> {
    method: &'a Method,
    head: &'a Head<'a>,
    body: &'a Body<'a>,
}

/// Why no head was received.
struct Failure {
    error: HttpError,
    /// Whether the server cannot have received the whole request.
    unsent: bool,
}

impl DynTransport for Links {
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a> {
        self.send_with(&Method::POST, head, body, Timeouts::default())
    }

    fn send_within<'a>(
        &'a self,
        head: &'a Head<'_>,
        body: &'a Body<'_>,
        timeouts: Timeouts,
    ) -> SendFuture<'a> {
        self.send_with(&Method::POST, head, body, timeouts)
    }

    // The future of a request is allocated for each request, so `tests::a_request_is_small` limits
    // its size. A block uses its variables in place, and an `async fn` would hold its arguments
    // twice.
    fn send_with<'a>(
        &'a self,
        method: &'a Method,
        head: &'a Head<'_>,
        body: &'a Body<'_>,
        timeouts: Timeouts,
    ) -> SendFuture<'a> {
        Box::pin(async move {
            let unsent = Unsent { method, head, body };
            let read = timeouts.read.unwrap_or(self.settings.read_timeout);
            let runtime = Handle::try_current().map_err(|_| HttpError::no_runtime())?.id();
            let host = self.host(head.base_url)?;
            let target = host.target(head.path)?;
            tracing::debug!(
                to = host.origin,
                path = without_query(head.path),
                bytes = body.len(),
                %method,
                "request"
            );
            let mut may_wait = true;
            loop {
                let waiting = if may_wait { Self::waiting(&host, runtime).await } else { None };
                let had_waited = waiting.is_some();
                let mut lease = match waiting {
                    Some(lease) => lease,
                    // Boxed, because it is large and rarely needed.
                    None => {
                        let limit = timeouts.connect.unwrap_or(self.settings.connect_timeout);
                        Box::pin(self.connect(&host, runtime, limit)).await?
                    }
                };
                match Self::send_on(&mut lease, &host, &target, unsent, read).await {
                    // The server had closed an idle connection. It cannot have begun a reply, so
                    // this is still the same attempt, repeated at most once. Whether to repeat a
                    // request that may have reached the server completely is decided by the retry
                    // policy, because both may be billed.
                    Err(Failure { unsent: true, error }) if had_waited => {
                        tracing::debug!(error = %EscapedText(error), "the server had closed an idle connection; sending on a new one");
                        may_wait = false;
                    }
                    Err(Failure { error, .. }) => return Err(error),
                    Ok(response) => {
                        let progress = timeouts.progress.unwrap_or(self.settings.progress_timeout);
                        return reply(response, host, lease, progress);
                    }
                }
            }
        })
    }
}

impl Links {
    pub(super) fn new(settings: HttpSettings) -> Self {
        #[cfg(feature = "proxy")]
        let routes = settings.proxies.routes();
        #[cfg(not(feature = "proxy"))]
        let routes = Routes;
        Self {
            settings,
            routes,
            dialer: Dialer::new(),
            tls: OnceLock::new(),
            hosts: RwLock::default(),
        }
    }

    fn host(&self, base_url: &str) -> Result<Arc<Host>, HttpError> {
        let find = |hosts: &[(Box<str>, Arc<Host>)]| {
            hosts.iter().find(|(url, _)| **url == *base_url).map(|(_, host)| Arc::clone(host))
        };
        if let Some(host) = find(&self.hosts.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(host);
        }
        let host = Arc::new(Host::new(base_url, &self.routes, self.settings.idle_timeout)?);
        let mut hosts = self.hosts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(host) = find(&hosts) {
            return Ok(host);
        }
        if hosts.len() >= MAX_HOSTS {
            hosts.remove(0);
        }
        hosts.push((base_url.into(), Arc::clone(&host)));
        Ok(host)
    }

    /// Returns an idle connection of this runtime that can take a request.
    ///
    /// The runtime may not have been driven at all since the last use, as between two calls of
    /// `block_on`, so hyper may not yet know that the server has closed the connection. Yielding
    /// lets the runtime poll its sockets first, because a request that was written to a connection
    /// is not sent again without being counted as a retry. This costs two system calls and a turn
    /// of the runtime, which is left out right after a reply: between the turns of a loop. It is
    /// not left out after the first reply on a connection, because some servers close every
    /// connection then without announcing that.
    async fn waiting(host: &Host, runtime: Id) -> Option<Lease> {
        if host.shared(runtime).is_some() {
            yield_now().await;
            if let Some(shared) = host.shared(runtime) {
                return Some(multiplexed(shared));
            }
        }
        while let Some((mut connection, idle)) = host.take_waiting(runtime) {
            if !connection.is_kept_open || idle >= FRESH {
                yield_now().await;
            }
            connection.is_kept_open = true;
            // The last request and reply are complete, so this waits only for hyper's own task.
            let (sender, timer) = (&mut connection.sender, &mut connection.timer);
            let ready = poll_fn(|cx| {
                let ready = sender.poll_ready(cx);
                timer.watch(cx, ready)
            });
            if let Ok(Ok(())) = ready.await {
                return Some(Lease::Http1(connection));
            }
        }
        None
    }

    /// Makes a new connection, or returns one that another request has just made.
    async fn connect(
        &self,
        host: &Arc<Host>,
        runtime: Id,
        limit: Duration,
    ) -> Result<Lease, HttpError> {
        let connecting = async {
            if host.is_http1_only() {
                return self.dial(host, runtime).await;
            }
            let gate = host.gate.lock().await;
            if let Some(shared) = host.shared(runtime) {
                return Ok(multiplexed(shared));
            }
            if host.is_http1_only() {
                drop(gate);
            }
            self.dial(host, runtime).await
        };
        // The clock cannot represent this limit, so there is none.
        let mut timer = match Instant::now().checked_add(limit) {
            Some(end) => Some(pin!(sleep_until(end).ok_or_else(HttpError::no_timers)?)),
            None => None,
        };
        // tokio panics in a runtime without I/O, and offers no way to check for it first.
        let mut connecting = pin!(AssertUnwindSafe(connecting).catch_unwind());
        let connected = poll_fn(|cx| match connecting.as_mut().poll(cx) {
            Poll::Ready(connected) => Poll::Ready(Some(connected)),
            Poll::Pending => {
                timer.as_mut().map_or(Poll::Pending, |timer| timer.as_mut().poll(cx).map(|()| None))
            }
        });
        match connected.await {
            Some(Ok(connected)) => connected,
            Some(Err(panic)) if lacks_io(&*panic) => Err(HttpError::no_io()),
            Some(Err(panic)) => resume_unwind(panic),
            None => Err(HttpError::connect_timeout(&host.origin, limit)),
        }
    }

    async fn dial(&self, host: &Arc<Host>, runtime: Id) -> Result<Lease, HttpError> {
        let tls = if host.secure { Some(self.tls()?) } else { None };
        let dialed = self.dialer.dial(&host.uri, host.via.as_ref(), tls).await;
        match dialed.map_err(|source| HttpError::connecting(&host.origin, source))? {
            NewConnection::Http1(sender, task) => {
                host.set_http1_only();
                let timer = IdleTimer::new(self.settings.read_timeout);
                Ok(Lease::Http1(Box::new(Http1::new(sender, task, timer, runtime))))
            }
            NewConnection::Http2(sender) => Ok(multiplexed(host.share(sender, runtime))),
        }
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, HttpError> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let config = tls::client_config(&self.settings)?;
        Ok(Arc::clone(self.tls.get_or_init(|| config)))
    }

    /// Sends the request and waits for the reply's head.
    async fn send_on(
        lease: &mut Lease,
        host: &Host,
        target: &Target,
        unsent: Unsent<'_>,
        read: Duration,
    ) -> Result<Response<Incoming>, Failure> {
        lease.timer().begin(read);
        match lease {
            Lease::Http1(connection) => {
                let Http1 { sender, timer, token, .. } = &mut **connection;
                token.store(false, Ordering::Relaxed);
                let request = http1_request(unsent, host, target, token)?;
                let mut sending = pin!(sender.try_send_request(request));
                let sent = poll_fn(|cx| {
                    let sent = sending.as_mut().poll(cx);
                    answered(host, timer, cx, sent)
                });
                sent.await.map_err(|failure| {
                    // The connection was closed before the last byte of the request was written.
                    let unsent = failure.unsent
                        || (failure.error.transport_kind() == TransportKind::Closed
                            && !token.load(Ordering::Relaxed));
                    Failure { unsent, ..failure }
                })
            }
            Lease::Http2(stream) => {
                let Http2Stream { timer, connection } = &mut **stream;
                let request = http2_request(unsent, target)?;
                let mut sending = pin!(connection.sender.try_send_request(request));
                let sent = poll_fn(|cx| {
                    let sent = sending.as_mut().poll(cx);
                    answered(host, timer, cx, sent)
                });
                // A connection that failed one request is not used for others; its current requests
                // continue.
                sent.await.inspect_err(|_| host.forget(connection))
            }
        }
    }
}

/// Returns the lease of a request that shares its connection with others. The request sets the
/// timeout.
fn multiplexed(connection: Http2) -> Lease {
    let timer = IdleTimer::new(Duration::MAX);
    Lease::Http2(Box::new(Http2Stream { timer, connection }))
}

/// Returns whether tokio panicked because the runtime has no I/O.
fn lacks_io(panic: &(dyn Any + Send)) -> bool {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .is_some_and(|text| text.contains("enable_io"))
}

/// Removes the query, which must not be shown because it may contain a key.
pub(crate) fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

// Separate functions, so that the future that sends a request does not hold a second copy of it.

fn http1_request(
    unsent: Unsent<'_>,
    host: &Host,
    target: &Target,
    token: &Token,
) -> Result<Request<SentBody>, HttpError> {
    let mut request = request(unsent, Some(Token::clone(token)))?;
    request.headers_mut().insert(HOST, host.header.clone());
    *request.uri_mut() = match host.via.as_ref().and_then(ProxyRoute::forwards) {
        Some(auth) => {
            if let Some(auth) = auth {
                request.headers_mut().insert(PROXY_AUTHORIZATION, auth.clone());
            }
            target.absolute.clone()
        }
        None => target.origin_form.clone(),
    };
    Ok(request)
}

fn http2_request(unsent: Unsent<'_>, target: &Target) -> Result<Request<SentBody>, HttpError> {
    let mut request = request(unsent, None)?;
    *request.uri_mut() = target.absolute.clone();
    Ok(request)
}

/// Creates the request, except for its URL and the headers that depend on it.
fn request(
    Unsent { method, head, body }: Unsent<'_>,
    token: Option<Token>,
) -> Result<Request<SentBody>, HttpError> {
    let mut headers = HeaderMap::with_capacity(head.headers.len() + 3);
    for &(name, value) in head.headers {
        // The messages contain only the name, because a value may be a key.
        let bad = |what: &str| {
            HttpError::new(
                TransportKind::Setup,
                format!("the header {name:?} has an invalid {what}"),
            )
        };
        let mut value = match value {
            // Almost every request has these values, so they are not copied.
            "application/json" => HeaderValue::from_static("application/json"),
            Config::API_VERSION => HeaderValue::from_static(Config::API_VERSION),
            other => HeaderValue::from_str(other).map_err(|_| bad("value"))?,
        };
        let (name, is_secret) = match name {
            "content-type" => (CONTENT_TYPE, false),
            "accept" => (ACCEPT, false),
            "user-agent" => (USER_AGENT, false),
            "anthropic-version" => (ANTHROPIC_VERSION.clone(), false),
            "anthropic-beta" => (ANTHROPIC_BETA.clone(), false),
            "x-api-key" => (X_API_KEY.clone(), true),
            _ => {
                let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("name"))?;
                let is_secret = !SHOWN.contains(&name.as_str());
                (name, is_secret)
            }
        };
        value.set_sensitive(is_secret);
        headers.append(name, value);
    }
    let mut request = Request::new(SentBody::new(body, token));
    *request.method_mut() = method.clone();
    *request.headers_mut() = headers;
    Ok(request)
}

/// Returns the reply's head, or the reason why it did not arrive. This runs for each poll, so that
/// the head is moved as rarely as possible.
fn answered(
    host: &Host,
    timer: &mut IdleTimer,
    cx: &mut Context<'_>,
    sent: Poll<Result<Response<Incoming>, TrySendError<Request<SentBody>>>>,
) -> Poll<Result<Response<Incoming>, Failure>> {
    match sent {
        Poll::Ready(Ok(response)) => {
            timer.arrived();
            Poll::Ready(Ok(response))
        }
        Poll::Ready(Err(mut error)) => {
            timer.arrived();
            // hyper returns the request if it had no connection for it.
            let unsent = error.take_message().is_some();
            let error = HttpError::broken(&host.origin, "the reply's head", error.into_error());
            Poll::Ready(Err(Failure { error, unsent }))
        }
        Poll::Pending => timer.poll(cx).map(|late| Err(HttpError::late(&host.origin, late).into())),
    }
}

fn reply(
    response: Response<Incoming>,
    host: Arc<Host>,
    mut lease: Lease,
    progress: Duration,
) -> Result<Reply<HttpBody>, HttpError> {
    let (parts, body) = response.into_parts();
    let mut head = ReplyHead::new(parts.status.as_u16());
    for (name, value) in &parts.headers {
        head.field(name.as_str(), value.as_bytes());
    }
    if head.retry_after.is_none()
        && let Some(wait) = parts.headers.get(RETRY_AFTER).and_then(until)
    {
        head.field("retry-after-ms", wait.to_string().as_bytes());
    }
    tracing::debug!(status = head.status, request_id = head.request_id(), "reply");
    let is_error = !parts.status.is_success();
    if let Some(coding) = parts
        .headers
        .get(CONTENT_ENCODING)
        .filter(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    {
        let error =
            HttpError::compressed(&host.origin, &String::from_utf8_lossy(coding.as_bytes()));
        // The error is still reported by its status.
        return if is_error {
            Ok(Reply {
                head,
                body: HttpBody::from_pieces([error.to_string()]).with_headers(parts.headers),
            })
        } else {
            Err(error)
        };
    }
    lease.timer().bound(if is_error {
        Bound::ErrorBody(ERROR_BODY_TIME)
    } else {
        Bound::Progress(progress)
    });
    Ok(Reply { head, body: HttpBody::incoming(body, parts.headers, host, lease) })
}

/// Returns the milliseconds from now until an HTTP date, or `None` if it is past or invalid.
fn until(date: &HeaderValue) -> Option<u128> {
    let date = httpdate::parse_http_date(date.to_str().ok()?).ok()?;
    date.duration_since(SystemTime::now()).ok().map(|wait| wait.as_millis())
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self { error, unsent: false }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_small() {
        let links = Links::new(HttpSettings::default());
        let head = Head { base_url: "http://server", path: "/", headers: &[] };
        let body = Body::new(&[], b"", b"");
        let sending = links.send_with(&Method::POST, &head, &body, Timeouts::default());
        // glibc's allocator caches blocks of up to 1,032 bytes.
        assert!(size_of_val(&*sending) <= 1032, "{} bytes", size_of_val(&*sending));
    }

    #[test]
    fn a_header_that_may_be_a_secret_is_marked() {
        let headers = [("content-type", "application/json"), ("x-api-key", "k"), ("x-own", "v")];
        let head = Head { base_url: "http://server", path: "/", headers: &headers };
        let unsent = Unsent { method: &Method::GET, head: &head, body: &Body::new(&[], b"", b"") };
        let request = request(unsent, None).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(request.method(), Method::GET);
        let marked: Vec<_> = request.headers().values().map(HeaderValue::is_sensitive).collect();
        assert_eq!(marked, [false, true, true]);
    }
}
