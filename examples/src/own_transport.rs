//! A transport of one's own: [`Transport`] over an HTTP library and any sockets, for any executor.
//!
//! hyper writes the request and parses the reply. This file connects it to the loop: it opens a
//! connection, copies the head and the body, and lends the pieces of the reply. It spawns no task:
//! whoever waits for the reply also moves the bytes of the connection, and a reply that is dropped
//! closes it. [`Dial`] is the only part that names a runtime; `src/bin/own_transport.rs` implements
//! it for smol in ten lines.
//!
//! For the sake of brevity each request has a connection of its own and goes over plain HTTP.
//! `toolrunner_std::HttpTransport`, for tokio, keeps connections and has TLS, proxies and
//! time-outs.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::future::poll_fn;
use std::io;
use std::pin::pin;

use bytes::{Buf, Bytes};
use embedded_io_async::{BufRead, ErrorType, Read};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpPieces, Frame, Incoming};
use hyper::client::conn::http1;
use hyper::{Request, Uri};
use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::{Body, Failure, Head, Reply, ReplyHead, Transport, read_buffered};
use toolrunner_std::http::{DynTransport, Sending};
use toolrunner_std::{HttpBody, HttpError};

/// A connected socket, as hyper reads and writes it.
pub trait Socket: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static {}

impl<S: hyper::rt::Read + hyper::rt::Write + Send + Unpin + 'static> Socket for S {}

/// Opens a runtime's sockets.
pub trait Dial {
    /// What it opens.
    type Socket: Socket;

    /// Connects to `address`, a host and a port.
    fn dial(&self, address: String) -> impl Future<Output = io::Result<Self::Socket>> + Send;
}

/// The transport, over what [`Dial`] opens.
#[derive(Debug)]
pub struct OwnTransport<D>(pub D);

impl<D: Dial> Transport for OwnTransport<D> {
    type Error = Failure;
    type Body<'t>
        = OwnBody<D::Socket>
    where
        D: 't;

    async fn send<'t>(
        &'t mut self,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<Self::Body<'t>>, Failure> {
        exchange(&self.0, head, body).await
    }
}

/// Sends a request on a new connection and waits for the head of the reply.
async fn exchange<D: Dial>(
    dial: &D,
    head: &Head<'_>,
    body: &Body<'_>,
) -> Result<Reply<OwnBody<D::Socket>>, Failure> {
    // An error of kind `Setup` is not retried: the next request would be as wrong.
    const NOT_HTTP: Failure = Failure::new(TransportKind::Setup, "the base URL is not http://HOST");
    let uri: Uri = [head.base_url, head.path].concat().parse().map_err(|_| NOT_HTTP)?;
    let (Some("http"), Some(host), Some(path)) =
        (uri.scheme_str(), uri.authority(), uri.path_and_query())
    else {
        return Err(NOT_HTTP);
    };
    // `?` converts an error of a socket.
    let address = format!("{}:{}", host.host(), host.port_u16().unwrap_or(80));
    let socket = dial.dial(address).await?;
    let (mut sender, connection) = http1::handshake(socket).await.map_err(broken)?;
    let mut link = Link(Some(connection));

    // hyper adds `content-length`. The values of the headers may be secret: they are in no message.
    let mut request = Request::post(path.as_str()).header("host", host.as_str());
    for (name, value) in head.headers {
        request = request.header(*name, *value);
    }
    let whole = Bytes::from(body.pieces().collect::<Vec<_>>().concat());
    let request = request
        .body(Full::new(whole))
        .map_err(|error| Failure::caused_by(TransportKind::Setup, &error))?;
    let response = link.during(sender.send_request(request)).await.map_err(broken)?;

    // Whatever the status is: the core decides what it means.
    let mut reply = ReplyHead::new(response.status().as_u16());
    for (name, value) in response.headers() {
        reply.field(name.as_str(), value.as_bytes());
    }
    let body = OwnBody { link, incoming: response.into_body(), piece: Bytes::new() };
    Ok(Reply { head: reply, body })
}

/// Names the kind of an error of hyper's, which the retry policy decides by.
fn broken(error: hyper::Error) -> Failure {
    let kind = if error.is_parse() { TransportKind::Http } else { TransportKind::Closed };
    Failure::caused_by(kind, &error)
}

/// A connection, until it ends.
struct Link<S: Socket>(Option<http1::Connection<S, Full<Bytes>>>);

impl<S: Socket> Link<S> {
    /// Moves bytes. An error of the connection is reported by what waits for its bytes, too.
    fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.0
            && Pin::new(connection).poll(cx).is_ready()
        {
            self.0 = None;
        }
    }

    /// Moves bytes until `future` is ready.
    async fn during<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            self.poll(cx);
            future.as_mut().poll(cx)
        })
        .await
    }
}

/// The body of a reply. Dropping it closes the connection, so that no later request finds the rest
/// of this reply on it.
pub struct OwnBody<S: Socket> {
    link: Link<S>,
    incoming: Incoming,
    /// What was received and not consumed yet.
    piece: Bytes,
}

impl<S: Socket> BufRead for OwnBody<S> {
    async fn fill_buf(&mut self) -> Result<&[u8], Failure> {
        // An empty slice is the end of the body, so an empty piece is not lent.
        while self.piece.is_empty() {
            match self.frame().await {
                Some(frame) => self.piece = frame?.into_data().unwrap_or_default(),
                None => break,
            }
        }
        Ok(&self.piece)
    }

    fn consume(&mut self, amount: usize) {
        self.piece.advance(amount.min(self.piece.len()));
    }
}

impl<S: Socket> ErrorType for OwnBody<S> {
    type Error = Failure;
}

impl<S: Socket> Read for OwnBody<S> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        read_buffered(self, buffer).await
    }
}

impl<S: Socket> HttpPieces for OwnBody<S> {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        self.link.poll(cx);
        Pin::new(&mut self.incoming).poll_frame(cx).map_err(broken)
    }
}

/// The same transport for the front end of servers: `HttpTransport::from_dyn(OwnTransport(…))`.
impl<D: Dial + Send + Sync + 'static> DynTransport for OwnTransport<D> {
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> Sending<'a> {
        let owned = |failure: Failure| HttpError::new(failure.kind(), failure.message());
        Box::pin(async move {
            let Reply { head, body } = exchange(&self.0, head, body).await.map_err(owned)?;
            Ok(Reply { head, body: HttpBody::from_body(body.map_err(owned)) })
        })
    }
}
