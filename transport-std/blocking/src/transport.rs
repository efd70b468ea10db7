//! The transport: ureq on a thread for each request, so that the run can wait for its timers and
//! for a cancellation at the same time.

use core::error::Error;
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
use ureq::http::{HeaderValue, Request, Uri};
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
    timeouts: Timeouts,
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
        Self { config, timeouts, idle: Arc::default() }
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
        let peer = Peer::new(request.uri(), self.timeouts);
        let (sender, receiver) = channel(AHEAD);
        let exchange = agent.clone();
        let mut pieces = Pieces { receiver, agent: Some(agent), idle: Arc::clone(&self.idle) };
        thread::Builder::new()
            .name("toolrunner-http".to_owned())
            .spawn(move || carry(&exchange, request, &peer, Outlet(sender)))
            .map_err(|error| Failure::caused_by(TransportKind::Other, &error))?;
        match pieces.next().await? {
            ReplyPart::Head(head) => Ok(Reply { head, body: PieceBody::new(pieces) }),
            ReplyPart::Piece(_) | ReplyPart::End => {
                Err(Failure::new(TransportKind::Http, "the reply has no head"))
            }
        }
    }
}

/// What the thread of a request brings.
enum ReplyPart {
    Head(ReplyHead),
    Piece(Vec<u8>),
    End,
}

/// The thread's end of the channel to the run.
struct Outlet(Sender<Result<ReplyPart, Failure>>);

impl Outlet {
    /// Waits until the run has room. Returns whether the run still wants the reply.
    fn put(&mut self, brought: Result<ReplyPart, Failure>) -> bool {
        pollster::block_on(poll_fn(|context| self.0.poll_ready(context))).is_ok()
            && self.0.start_send(brought).is_ok()
    }
}

/// Sends the request and reads the reply, on the thread of the request.
fn carry(agent: &Agent, request: Request<Vec<u8>>, peer: &Peer, mut outlet: Outlet) {
    let response = match agent.run(request) {
        Ok(response) => response,
        Err(error) => {
            outlet.put(Err(peer.failure(&error)));
            return;
        }
    };
    let mut head = ReplyHead::new(response.status().as_u16());
    for (name, value) in response.headers() {
        head.field(name.as_str(), value.as_bytes());
    }
    if !outlet.put(Ok(ReplyPart::Head(head))) {
        return;
    }
    let mut reader = response.into_body().into_reader();
    let mut buffer = vec![0; PIECE];
    loop {
        let brought = match reader.read(&mut buffer) {
            Ok(0) => {
                outlet.put(Ok(ReplyPart::End));
                return;
            }
            Ok(length) => Ok(ReplyPart::Piece(buffer.get(..length).unwrap_or_default().to_vec())),
            Err(error) => Err(peer.failure(&error.into())),
        };
        let is_over = brought.is_err();
        if !outlet.put(brought) || is_over {
            return;
        }
    }
}

/// The pieces of a reply. Dropping them closes the connection, which also ends the thread that
/// reads from it, unless the reply was read to its end.
pub(crate) struct Pieces {
    receiver: Receiver<Result<ReplyPart, Failure>>,
    /// The agent of the request, until the reply has been read.
    agent: Option<Agent>,
    idle: Arc<Mutex<Vec<Agent>>>,
}

impl Pieces {
    async fn next(&mut self) -> Result<ReplyPart, Failure> {
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
            ReplyPart::Piece(piece) => Ok(Some(piece)),
            ReplyPart::Head(_) => Ok(Some(Vec::new())),
            ReplyPart::End => {
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

/// The server of a request, for the texts of errors.
struct Peer {
    /// The scheme, host and port.
    origin: String,
    timeouts: Timeouts,
}

/// An error of ureq, in words that name the server. The texts are those of `toolrunner_std`.
#[derive(Debug)]
struct NamedError<'e> {
    text: String,
    source: Option<&'e (dyn Error + 'static)>,
}

impl fmt::Display for NamedError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for NamedError<'_> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source
    }
}

impl Peer {
    fn new(uri: &Uri, timeouts: Timeouts) -> Self {
        let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
        let (scheme, host) = (uri.scheme_str().unwrap_or_default(), uri.host().unwrap_or_default());
        Self { origin: format!("{scheme}://{host}{port}"), timeouts }
    }

    /// Converts an error of ureq. Its text never contains a header's value.
    fn failure(&self, error: &ureq::Error) -> Failure {
        let (kind, Self { origin, timeouts }) = (kind(error), self);
        let mut source: Option<&(dyn Error + 'static)> = match error {
            // Without the prefix that ureq writes.
            ureq::Error::Io(error) => Some(error),
            error => Some(error),
        };
        let text = match (error, kind) {
            (ureq::Error::Timeout(limit), _) => {
                source = None;
                match limit {
                    Timeout::Connect => {
                        format!("could not connect to {origin} within {:?}", timeouts.connect)
                    }
                    Timeout::Resolve => format!(
                        "could not resolve the host name of {origin} within {:?}",
                        timeouts.connect
                    ),
                    Timeout::PerWrite => {
                        format!("no data could be sent to {origin} for {:?}", timeouts.read)
                    }
                    _ => format!("no data came from {origin} for {:?}", timeouts.read),
                }
            }
            (_, TransportKind::Connect) => format!("could not connect to {origin}"),
            (_, TransportKind::Dns) => format!("could not resolve the host name of {origin}"),
            (_, TransportKind::Tls) => format!("could not establish a TLS session with {origin}"),
            _ => format!("the exchange with {origin} failed"),
        };
        Failure::caused_by(kind, &NamedError { text, source })
    }
}

/// Returns the kind of an error of ureq.
fn kind(error: &ureq::Error) -> TransportKind {
    match error {
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
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
