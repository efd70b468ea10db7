//! A request and its reply's head, over a connection that waits or a new one.

use core::future::poll_fn;
use core::pin::pin;
use core::time::Duration;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::SystemTime;

use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, PROXY_AUTHORIZATION, RETRY_AFTER};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper_util::client::proxy::matcher::Matcher;
use rustls::ClientConfig;
use tokio::runtime::Handle;
use tokio::time::timeout;
use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead};
use toolrunner_core::wire::API_VERSION;

use super::body::{HttpBody, Lease};
use super::dial::{Dialed, Dialer, Via};
use super::host::{Host, Http1, Http2, Target};
use super::idle::IdleTimer;
use super::sent::{SentBody, Token};
use super::{DynTransport, HttpError, HttpSettings, Sending, Timeouts, tls};

/// Servers remembered. One more drops the oldest, with its connections.
const MAX_HOSTS: usize = 64;

static X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
static ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
static ANTHROPIC_BETA: HeaderName = HeaderName::from_static("anthropic-beta");

/// All connections of a transport.
pub(super) struct Links {
    settings: HttpSettings,
    proxies: Option<Matcher>,
    dialer: Dialer,
    tls: OnceLock<Arc<ClientConfig>>,
    hosts: RwLock<Vec<(Box<str>, Arc<Host>)>>,
}

/// A connection to put a request on.
enum Link {
    Http1(Http1),
    Http2(Http2),
}

/// No head came.
struct Failure {
    error: HttpError,
    /// Whether a connection that had waited may just have been closed meanwhile, so that the server never saw the request.
    stale: bool,
}

impl DynTransport for Links {
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> Sending<'a> {
        Box::pin(self.exchange(head, body, Timeouts::default()))
    }

    fn send_within<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>, timeouts: Timeouts) -> Sending<'a> {
        Box::pin(self.exchange(head, body, timeouts))
    }
}

impl Links {
    pub(super) fn new(settings: HttpSettings) -> Self {
        let proxies = settings.proxies.matcher();
        Self { settings, proxies, dialer: Dialer::new(), tls: OnceLock::new(), hosts: RwLock::default() }
    }

    async fn exchange(&self, head: &Head<'_>, body: &Body<'_>, timeouts: Timeouts) -> Result<Reply<HttpBody>, HttpError> {
        let connect = timeouts.connect.unwrap_or(self.settings.connect_timeout);
        let read = timeouts.read.unwrap_or(self.settings.read_timeout);
        let host = self.host(head.base_url)?;
        let target = host.target(head.path)?;
        tracing::debug!(to = host.origin, path = without_query(head.path), bytes = body.len(), "request");
        let mut may_wait = true;
        loop {
            let waiting = if may_wait { Self::waiting(&host).await } else { None };
            let (link, had_waited) = match waiting {
                Some(link) => (link, true),
                // Boxed, for it is large and rare: a request's future is moved, and should be small.
                None => (Box::pin(self.connect(&host, connect)).await?, false),
            };
            let sent = match link {
                Link::Http1(mut connection) => {
                    connection.timer.set_limit(read);
                    Self::send_http1(&host, connection, &target, head, body).await
                }
                Link::Http2(connection) => Self::send_http2(&host, connection, &target, head, body, read).await,
            };
            match sent {
                // Once more, at most once, on a connection that cannot be stale.
                Err(Failure { stale: true, error }) if had_waited => {
                    tracing::debug!(%error, "the server had closed a waiting connection; sending on a new one");
                    may_wait = false;
                }
                Err(Failure { error, .. }) => return Err(error),
                Ok(reply) => return Ok(reply),
            }
        }
    }

    fn host(&self, base_url: &str) -> Result<Arc<Host>, HttpError> {
        let find = |hosts: &[(Box<str>, Arc<Host>)]| hosts.iter().find(|(url, _)| **url == *base_url).map(|(_, host)| Arc::clone(host));
        if let Some(host) = find(&self.hosts.read().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(host);
        }
        let host = Arc::new(Host::new(base_url, self.proxies.as_ref())?);
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

    /// A connection that is there and fit.
    async fn waiting(host: &Host) -> Option<Link> {
        if let Some(shared) = host.shared() {
            return Some(Link::Http2(shared));
        }
        while let Some(mut connection) = host.take_waiting() {
            // It was read to its end and written to its end, so this waits for no one but hyper's own task.
            let (sender, timer) = (&mut connection.sender, &mut connection.timer);
            let ready = poll_fn(|cx| {
                let ready = sender.poll_ready(cx);
                timer.watch(cx, ready)
            });
            if let Some(Ok(())) = ready.await {
                return Some(Link::Http1(connection));
            }
        }
        None
    }

    /// A new connection, or one that another request has just made.
    async fn connect(&self, host: &Host, limit: Duration) -> Result<Link, HttpError> {
        if Handle::try_current().is_err() {
            return Err(HttpError::new(TransportKind::Other, "connections need a tokio runtime, and there is none here"));
        }
        let connecting = async {
            if host.is_http1_only() {
                return self.dial(host).await;
            }
            let gate = host.gate.lock().await;
            if let Some(shared) = host.shared() {
                return Ok(Link::Http2(shared));
            }
            if host.is_http1_only() {
                drop(gate);
            }
            self.dial(host).await
        };
        timeout(limit, connecting).await.unwrap_or_else(|_| Err(HttpError::connect_timeout(&host.origin, limit)))
    }

    async fn dial(&self, host: &Host) -> Result<Link, HttpError> {
        let tls = if host.secure { Some(self.tls()?) } else { None };
        let dialed = self.dialer.dial(&host.uri, &host.via, tls).await;
        match dialed.map_err(|source| HttpError::connecting(&host.origin, source))? {
            Dialed::Http1(sender, task) => {
                host.set_http1_only();
                Ok(Link::Http1(Http1::new(sender, task, IdleTimer::new(self.settings.read_timeout))))
            }
            Dialed::Http2(sender) => Ok(Link::Http2(host.share(sender))),
        }
    }

    fn tls(&self) -> Result<Arc<ClientConfig>, HttpError> {
        if let Some(config) = self.tls.get() {
            return Ok(Arc::clone(config));
        }
        let config = tls::client_config(&self.settings.root_certificates)?;
        Ok(Arc::clone(self.tls.get_or_init(|| config)))
    }

    async fn send_http1(
        host: &Arc<Host>,
        mut connection: Http1,
        target: &Target,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<HttpBody>, Failure> {
        let mut request = request(head, body, Some(Token::clone(&connection.token))).map_err(Failure::from)?;
        request.headers_mut().insert(HOST, host.header.clone());
        *request.uri_mut() = match &host.via {
            Via::Forward { auth, .. } => {
                if let Some(auth) = auth {
                    request.headers_mut().insert(PROXY_AUTHORIZATION, auth.clone());
                }
                target.absolute.clone()
            }
            _ => target.origin_form.clone(),
        };
        let sent = {
            let mut sending = pin!(connection.sender.try_send_request(request));
            let timer = &mut connection.timer;
            poll_fn(|cx| {
                let read = sending.as_mut().poll(cx);
                timer.watch(cx, read)
            })
            .await
        };
        let response = answered(host, sent, connection.timer.limit()).map_err(|failure| {
            // Closed without a byte of a reply: it may have been closed before the request was there.
            let stale = failure.stale || failure.error.transport_kind() == TransportKind::Closed;
            Failure { stale, ..failure }
        })?;
        Ok(reply(response, Arc::clone(host), Lease::Http1(connection)))
    }

    async fn send_http2(
        host: &Arc<Host>,
        mut connection: Http2,
        target: &Target,
        head: &Head<'_>,
        body: &Body<'_>,
        read: Duration,
    ) -> Result<Reply<HttpBody>, Failure> {
        let mut request = request(head, body, None).map_err(Failure::from)?;
        *request.uri_mut() = target.absolute.clone();
        let mut timer = IdleTimer::new(read);
        let sent = {
            let mut sending = pin!(connection.sender.try_send_request(request));
            poll_fn(|cx| {
                let read = sending.as_mut().poll(cx);
                timer.watch(cx, read)
            })
            .await
        };
        // A connection that failed one request is not offered to others; those on it go on.
        let response = answered(host, sent, timer.limit()).inspect_err(|_| host.forget(connection.number))?;
        Ok(reply(response, Arc::clone(host), Lease::Http2(timer, connection.number)))
    }
}

/// A query may hold a key, so it is not shown.
pub(crate) fn without_query(path: &str) -> &str {
    path.split_once('?').map_or(path, |(path, _)| path)
}

/// The request, but for its URL and what goes with it.
fn request(head: &Head<'_>, body: &Body<'_>, token: Option<Token>) -> Result<Request<SentBody>, HttpError> {
    let mut headers = HeaderMap::with_capacity(head.headers.len() + 3);
    for &(name, value) in head.headers {
        // The texts tell the name only: a value may be a key.
        let bad = |what: &str| HttpError::new(TransportKind::Other, format!("the header {name:?} has no valid {what}"));
        let mut value = match value {
            // What almost every request has, without a copy of it.
            "application/json" => HeaderValue::from_static("application/json"),
            API_VERSION => HeaderValue::from_static(API_VERSION),
            other => HeaderValue::from_str(other).map_err(|_| bad("value"))?,
        };
        let name = match name {
            "content-type" => CONTENT_TYPE,
            "anthropic-version" => ANTHROPIC_VERSION.clone(),
            "anthropic-beta" => ANTHROPIC_BETA.clone(),
            "x-api-key" => X_API_KEY.clone(),
            _ => HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad("name"))?,
        };
        value.set_sensitive(name == X_API_KEY || name == AUTHORIZATION);
        headers.append(name, value);
    }
    let mut request = Request::new(SentBody::new(body, token));
    *request.method_mut() = Method::POST;
    *request.headers_mut() = headers;
    Ok(request)
}

/// The reply's head, or why there is none.
fn answered(
    host: &Host,
    sent: Option<Result<Response<Incoming>, TrySendError<Request<SentBody>>>>,
    limit: Duration,
) -> Result<Response<Incoming>, Failure> {
    match sent {
        Some(Ok(response)) => Ok(response),
        Some(Err(mut error)) => {
            // hyper gives back what it had no connection for.
            let stale = error.take_message().is_some();
            Err(Failure { error: HttpError::broken(&host.origin, "the reply's head", error.into_error()), stale })
        }
        None => Err(HttpError::read_timeout(&host.origin, limit).into()),
    }
}

fn reply(response: Response<Incoming>, host: Arc<Host>, lease: Lease) -> Reply<HttpBody> {
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
    tracing::debug!(status = head.status, request_id = head.request_id.as_str(), "reply");
    Reply { head, body: HttpBody::incoming(body, host, lease) }
}

/// The milliseconds from now to an HTTP date that is not past.
fn until(date: &HeaderValue) -> Option<u128> {
    let date = httpdate::parse_http_date(date.to_str().ok()?).ok()?;
    date.duration_since(SystemTime::now()).ok().map(|wait| wait.as_millis())
}

impl From<HttpError> for Failure {
    fn from(error: HttpError) -> Self {
        Self { error, stale: false }
    }
}
