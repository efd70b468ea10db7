//! The transport: ureq on a thread for each request, so that the run can wait for its timers and
//! for a cancellation at the same time.

use core::fmt;
use core::future::poll_fn;
use core::pin::Pin;
use core::time::Duration;
use std::io::Read;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use futures_channel::mpsc::{Receiver, Sender, channel};
use futures_core::Stream;
use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::{
    Body, Failure, Head, PieceBody, PieceSource, Reply, ReplyHead, Transport,
};
use ureq::config::{AutoHeaderValue, Config};
use ureq::http::{HeaderValue, Request};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Timeout};

/// The size of the pieces in which a reply is read, in bytes.
const PIECE: usize = 16 * 1024;
/// How many pieces wait for the run before the thread that reads them waits too.
const AHEAD: usize = 4;
/// The most agents, each with an idle connection, that wait for the next request.
const MOST_IDLE: usize = 32;

/// The time limits of connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    pub(crate) read: Duration,
    pub(crate) idle: Duration,
}

/// Sends requests by ureq. Clones share connections.
///
/// Each request has an agent of its own while it is under way, because only the connections of a
/// whole agent can be closed from another thread. A reply that was read to its end returns its
/// agent, with the connection, for the next request.
#[derive(Clone)]
pub(crate) struct HttpTransport {
    config: Config,
    idle: Arc<Mutex<Vec<Agent>>>,
}

impl fmt::Debug for HttpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HttpTransport")
    }
}

impl HttpTransport {
    /// Creates a transport that trusts `roots`, or the platform's if there are none.
    pub(crate) fn new(timeouts: Timeouts, roots: Vec<Certificate<'static>>) -> Self {
        let roots = match roots.is_empty() {
            true => RootCerts::PlatformVerifier,
            false => roots.into(),
        };
        let tls = TlsConfig::builder().root_certs(roots).build();
        let config = Agent::config_builder()
            .tls_config(tls)
            // The core decides what a status means. A redirect would send the key elsewhere.
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(AutoHeaderValue::None)
            .accept(AutoHeaderValue::None)
            .accept_encoding(AutoHeaderValue::None)
            .timeout_resolve(Some(timeouts.connect))
            .timeout_connect(Some(timeouts.connect))
            .timeout_per_read(Some(timeouts.read))
            .timeout_per_write(Some(timeouts.read))
            .max_idle_connections(1)
            .max_idle_connections_per_host(1)
            .max_idle_age(timeouts.idle)
            .build();
        Self { config, idle: Arc::default() }
    }

    fn agent(&self) -> Agent {
        let idle = lock(&self.idle).pop();
        idle.unwrap_or_else(|| Agent::new_with_config(self.config.clone()))
    }
}

impl Transport for HttpTransport {
    type Error = Failure;
    type Body<'t> = PieceBody<Pieces>;

    async fn send<'t>(
        &'t mut self,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<Self::Body<'t>>, Failure> {
        let mut request = Request::post([head.base_url, head.path].concat());
        for (name, value) in head.headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| {
                Failure::new(TransportKind::Setup, "a header's value has a character not allowed")
            })?;
            // Kept out of ureq's log lines.
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        let request = request
            .body(body.pieces().collect::<Vec<_>>().concat())
            .map_err(|error| Failure::caused_by(TransportKind::Setup, &error))?;
        let agent = self.agent();
        let (sender, receiver) = channel(AHEAD);
        let exchange = agent.clone();
        let mut pieces = Pieces { receiver, agent: Some(agent), idle: Arc::clone(&self.idle) };
        thread::Builder::new()
            .name("toolrunner-http".to_owned())
            .spawn(move || carry(&exchange, request, Outlet(sender)))
            .map_err(|error| Failure::caused_by(TransportKind::Other, &error))?;
        match pieces.next().await? {
            Brought::Head(head) => Ok(Reply { head, body: PieceBody::new(pieces) }),
            Brought::Piece(_) | Brought::End => {
                Err(Failure::new(TransportKind::Http, "the reply has no head"))
            }
        }
    }
}

/// What the thread of a request brings.
enum Brought {
    Head(ReplyHead),
    Piece(Vec<u8>),
    End,
}

/// The thread's end of the channel to the run.
struct Outlet(Sender<Result<Brought, Failure>>);

impl Outlet {
    /// Waits until the run has room. Returns whether the run still wants the reply.
    fn put(&mut self, brought: Result<Brought, Failure>) -> bool {
        pollster::block_on(poll_fn(|context| self.0.poll_ready(context))).is_ok()
            && self.0.start_send(brought).is_ok()
    }
}

/// Sends the request and reads the reply, on the thread of the request.
fn carry(agent: &Agent, request: Request<Vec<u8>>, mut outlet: Outlet) {
    let response = match agent.run(request) {
        Ok(response) => response,
        Err(error) => {
            outlet.put(Err(failure(&error)));
            return;
        }
    };
    let mut head = ReplyHead::new(response.status().as_u16());
    for (name, value) in response.headers() {
        head.field(name.as_str(), value.as_bytes());
    }
    if !outlet.put(Ok(Brought::Head(head))) {
        return;
    }
    let mut reader = response.into_body().into_reader();
    let mut buffer = vec![0; PIECE];
    loop {
        let brought = match reader.read(&mut buffer) {
            Ok(0) => {
                outlet.put(Ok(Brought::End));
                return;
            }
            Ok(length) => Ok(Brought::Piece(buffer.get(..length).unwrap_or_default().to_vec())),
            Err(error) => Err(failure(&error.into())),
        };
        let is_over = brought.is_err();
        if !outlet.put(brought) || is_over {
            return;
        }
    }
}

/// The pieces of a reply. Dropping them closes the connection, which also ends the thread that reads
/// from it, unless the reply was read to its end.
pub(crate) struct Pieces {
    receiver: Receiver<Result<Brought, Failure>>,
    /// The agent of the request, until the reply has been read.
    agent: Option<Agent>,
    idle: Arc<Mutex<Vec<Agent>>>,
}

impl Pieces {
    async fn next(&mut self) -> Result<Brought, Failure> {
        let next = poll_fn(|context| Pin::new(&mut self.receiver).poll_next(context)).await;
        next.unwrap_or_else(|| {
            Err(Failure::new(TransportKind::Other, "the thread of the request panicked"))
        })
    }
}

impl PieceSource for Pieces {
    type Piece = Vec<u8>;
    type Error = Failure;

    async fn next_piece(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        match self.next().await? {
            Brought::Piece(piece) => Ok(Some(piece)),
            Brought::Head(_) => Ok(Some(Vec::new())),
            Brought::End => {
                let mut idle = lock(&self.idle);
                idle.extend(self.agent.take());
                if idle.len() > MOST_IDLE {
                    idle.remove(0);
                }
                Ok(None)
            }
        }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.shutdown();
        }
    }
}

impl fmt::Debug for Pieces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pieces")
    }
}

/// Converts an error of ureq. Its text never contains a header's value.
fn failure(error: &ureq::Error) -> Failure {
    let kind = match error {
        ureq::Error::Io(error) => match error.kind() {
            // rustls reports a certificate that it refuses, and broken records, in this way.
            std::io::ErrorKind::InvalidData => TransportKind::Tls,
            kind => Failure::from(std::io::Error::from(kind)).kind(),
        },
        ureq::Error::Timeout(Timeout::Connect) => TransportKind::Connect,
        ureq::Error::Timeout(Timeout::Resolve) | ureq::Error::HostNotFound => TransportKind::Dns,
        ureq::Error::Timeout(_) => TransportKind::Timeout,
        ureq::Error::ConnectionFailed | ureq::Error::ConnectProxyFailed(_) => {
            TransportKind::Connect
        }
        ureq::Error::Tls(_) | ureq::Error::Rustls(_) | ureq::Error::TlsRequired => {
            TransportKind::Tls
        }
        ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) => TransportKind::Http,
        ureq::Error::BadUri(_)
        | ureq::Error::Http(_)
        | ureq::Error::InvalidProxyUrl
        | ureq::Error::RequireHttpsOnly(_) => TransportKind::Setup,
        _ => TransportKind::Other,
    };
    Failure::caused_by(kind, error)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
