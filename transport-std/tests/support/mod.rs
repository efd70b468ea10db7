//! Servers on loopback that behave as a test says, and the client's side of one request.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file is a crate of its own, and uses its part"
)]

use core::net::SocketAddr;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use embedded_io_async::BufRead;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use toolrunner_core::transport::{Body, Head, Reply, Transport};
use toolrunner_std::http::{HttpSettings, Proxies};
use toolrunner_std::{HttpBody, HttpError, HttpTransport};

pub const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";

/// What a server does with a request.
#[derive(Clone)]
pub enum Do {
    /// Answers and waits for the next request.
    Answer(String),
    /// Answers and closes.
    Last(String),
    /// Answers, perhaps with nothing, and then only waits for the client to close.
    Stall(String),
    /// Answers before it has read the body, then reads the body, and waits for the next request.
    Early(String),
    /// Closes after it has read the head, and reads no body.
    Hang,
}

/// Head and body.
pub type Request = (String, Vec<u8>);

pub struct Server {
    pub address: SocketAddr,
    /// The number of connections so far.
    pub connections: Arc<AtomicUsize>,
    /// Has one permit for every connection that the client closed.
    pub closed: Arc<Semaphore>,
    /// The requests in the order of their arrival.
    pub requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    /// Starts a server that answers request `n` of connection `c` (from 0) with `act(c, n)`.
    pub async fn start(act: impl Fn(usize, usize) -> Do + Clone + Send + Sync + 'static) -> Self {
        Self::start_with(None, act).await
    }

    pub async fn start_with(
        tls: Option<TlsAcceptor>,
        act: impl Fn(usize, usize) -> Do + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            closed: Arc::new(Semaphore::new(0)),
            requests: Arc::default(),
        };
        let (connections, closed, requests) =
            (server.connections.clone(), server.closed.clone(), server.requests.clone());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let (act, closed, requests, tls) =
                    (act.clone(), closed.clone(), requests.clone(), tls.clone());
                tokio::spawn(async move {
                    let act = |n| act(number, n);
                    let client_closed = match tls {
                        None => converse(stream, &requests, act).await,
                        Some(tls) => match tls.accept(stream).await {
                            Ok(stream) => converse(stream, &requests, act).await,
                            Err(_) => true,
                        },
                    };
                    if client_closed {
                        closed.add_permits(1);
                    }
                });
            }
        });
        server
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Waits until the client has closed one more connection.
    pub async fn client_closes(&self) {
        let permit = tokio::time::timeout(Duration::from_secs(60), self.closed.acquire()).await;
        permit.expect("the client did not close").unwrap().forget();
    }
}

/// Serves one connection; returns whether the client closed it.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    requests: &Mutex<Vec<Request>>,
    act: impl Fn(usize) -> Do,
) -> bool {
    let mut have = Vec::new();
    for n in 0.. {
        let end = loop {
            if let Some(end) = have.windows(4).position(|w| w == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut have).await.unwrap_or(0) == 0 {
                return true;
            }
        };
        let head = String::from_utf8(have[..end].to_vec()).unwrap();
        let act = act(n);
        if let Do::Hang = act {
            return false;
        }
        if let Do::Early(answer) = &act {
            stream.write_all(answer.as_bytes()).await.unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let length = head
            .to_ascii_lowercase()
            .split_once("content-length: ")
            .map_or(0, |(_, rest)| rest.split("\r\n").next().unwrap().parse::<usize>().unwrap());
        while have.len() < end + length {
            if stream.read_buf(&mut have).await.unwrap_or(0) == 0 {
                return true;
            }
        }
        let rest = have.split_off(end + length);
        requests.lock().unwrap().push((head, have.split_off(end)));
        have = rest;
        match act {
            Do::Answer(answer) => stream.write_all(answer.as_bytes()).await.unwrap(),
            Do::Last(answer) => {
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                return false;
            }
            Do::Stall(answer) => {
                stream.write_all(answer.as_bytes()).await.unwrap();
                while stream.read_buf(&mut have).await.unwrap_or(0) > 0 {}
                return true;
            }
            Do::Early(_) | Do::Hang => {}
        }
    }
    false
}

/// A handshake takes seconds under valgrind, and more on a busy machine.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Returns settings for loopback, without the proxies of the environment in which the test runs.
pub fn settings() -> HttpSettings {
    HttpSettings {
        proxies: Proxies::none(),
        connect_timeout: CONNECT_TIMEOUT,
        ..HttpSettings::default()
    }
}

pub fn transport() -> HttpTransport {
    HttpTransport::new(settings())
}

pub const HEADERS: [(&str, &str); 3] = [
    ("content-type", "application/json"),
    ("anthropic-version", "2023-06-01"),
    ("x-api-key", "hush-hush"),
];

pub async fn send(
    transport: &mut HttpTransport,
    base_url: &str,
) -> Result<Reply<HttpBody>, HttpError> {
    let head = Head { base_url, path: "/v1/messages", headers: &HEADERS };
    transport.send(&head, &Body::new(&[b"{\"messages\":["], b"1,2,3", b"]}")).await
}

pub async fn read(body: &mut HttpBody) -> Result<Vec<u8>, HttpError> {
    let mut all = Vec::new();
    loop {
        let piece = body.fill_buf().await?;
        if piece.is_empty() {
            return Ok(all);
        }
        all.extend_from_slice(piece);
        let count = piece.len();
        body.consume(count);
    }
}

/// Sends one request and reads its whole reply.
pub async fn exchange(
    transport: &mut HttpTransport,
    base_url: &str,
) -> Result<(u16, Vec<u8>), HttpError> {
    let mut reply = send(transport, base_url).await?;
    Ok((reply.head.status, read(&mut reply.body).await?))
}

/// Creates a self-signed certificate for 127.0.0.1: returns the acceptor for a server, and the PEM
/// text for a client that trusts it.
pub fn self_signed(protocols: &[&str]) -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

/// Returns a client that trusts this certificate in addition to the platform's.
pub fn trusting(pem: &str) -> HttpTransport {
    let root_certificates =
        toolrunner_std::http::RootCertificate::from_pem(pem.as_bytes()).unwrap();
    HttpTransport::new(HttpSettings { root_certificates, ..settings() })
}

/// The variables that a child must not inherit.
const VARIABLES: [&str; 11] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
    "REQUEST_METHOD",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
];

/// Runs the test `child_sends` of this file as a process with these variables and no others that
/// matter. Returns its output.
pub async fn child(url: &str, pem: &str, variables: &[(&str, String)]) -> String {
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "child_sends", "--nocapture"])
        .env("CHILD_URL", url)
        .env("CHILD_PEM", pem);
    for name in VARIABLES {
        command.env_remove(name);
    }
    command.envs(variables.iter().map(|(name, value)| (name, value)));
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The body of that test: as a child, it sends one request and prints the reply. Otherwise, it is
/// the parent of such a child, which has no variables and connects directly to the server.
pub async fn child_sends() {
    let Ok(url) = std::env::var("CHILD_URL") else {
        let server = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
        let output = child(&server.url(), "", &[]).await;
        assert!(output.contains("status 200, 2 bytes"), "{output}");
        assert_eq!(server.connections(), 1);
        return;
    };
    let pem = std::env::var("CHILD_PEM").unwrap();
    let root_certificates = if pem.is_empty() {
        Vec::new()
    } else {
        toolrunner_std::http::RootCertificate::from_pem(pem.as_bytes()).unwrap()
    };
    let mut transport = HttpTransport::new(HttpSettings {
        root_certificates,
        connect_timeout: CONNECT_TIMEOUT,
        ..HttpSettings::default()
    });
    match exchange(&mut transport, &url).await {
        Ok((status, body)) => println!("status {status}, {} bytes", body.len()),
        Err(error) => println!("error: {error}"),
    }
}
