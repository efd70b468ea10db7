//! How to write a transport: [`Transport`] over an HTTP library and any sockets, for any executor.
//!
//! hyper writes the request and parses the reply. This file connects it to the loop: it opens a
//! connection, copies the head and the body, and lends the pieces of the reply. It spawns no task:
//! whoever waits for the reply also moves the bytes of the connection, and a reply that is dropped
//! closes it. [`Dial`] is the only part that names a runtime; `src/bin/own_transport.rs` implements
//! it for smol in ten lines.
//!
//! To keep it short, each request opens a connection and goes over plain HTTP.
//! `toolrunner_std::HttpTransport`, for tokio, keeps connections and has TLS, proxies and
//! timeouts.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use std::io;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::Fuse;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpPieces, Frame, Incoming};
use hyper::client::conn::http1::{self, Connection};
use hyper::{Request, Uri};
use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::{
    Body, Failure, Head, PieceBody, PieceSource, Reply, ReplyHead, Transport,
};
use toolrunner_std::http::{DynTransport, SendFuture};
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

// ---- the transport ----

/// The transport, over what [`Dial`] opens.
#[derive(Clone, Debug)]
pub struct OwnTransport<D>(pub D);

impl<D: Dial> Transport for OwnTransport<D> {
    type Error = Failure;
    type Body<'t>
        = PieceBody<OwnBody<D::Socket>>
    where
        D: 't;

    async fn send<'t>(
        &'t mut self,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<Self::Body<'t>>, Failure> {
        // An error of kind `Setup` is not retried: the next request would be as wrong.
        let url = [head.base_url, head.path].concat().parse::<Uri>().map_err(not_sent)?;
        let (Some("http"), Some(host), Some(path)) =
            (url.scheme_str(), url.authority(), url.path_and_query())
        else {
            return Err(Failure::new(TransportKind::Setup, "the base URL is not http://HOST"));
        };
        // `?` converts an error of a socket.
        let address = format!("{}:{}", host.host(), host.port_u16().unwrap_or(80));
        let socket = self.0.dial(address).await?;
        let (mut sender, connection) = http1::handshake(socket).await.map_err(broken)?;

        // hyper adds `content-length`.
        let mut request = Request::post(path.as_str()).header("host", host.as_str());
        for (name, value) in head.headers {
            request = request.header(*name, *value);
        }
        let whole = body.pieces().collect::<Vec<_>>().concat();
        let request = request.body(Full::from(whole)).map_err(not_sent)?;

        // The connection moves bytes only while it is polled. Its error is also that of the reply.
        let mut connection = connection.fuse();
        let mut response = pin!(sender.send_request(request));
        let response = poll_fn(|cx| {
            let _ = connection.poll_unpin(cx);
            response.poll_unpin(cx)
        });
        let response = response.await.map_err(broken)?;

        // Whatever the status is: the core decides what it means.
        let mut reply = ReplyHead::new(response.status().as_u16());
        for (name, value) in response.headers() {
            reply.field(name.as_str(), value.as_bytes());
        }
        let body = OwnBody { connection, incoming: response.into_body() };
        Ok(Reply { head: reply, body: PieceBody::new(body) })
    }
}

/// The body of a reply. Dropping it closes the connection, so that no later request finds the rest
/// of this reply on it.
pub struct OwnBody<S: Socket> {
    connection: Fuse<Connection<S, Full<Bytes>>>,
    incoming: Incoming,
}

impl<S: Socket> PieceSource for OwnBody<S> {
    type Piece = Bytes;
    type Error = Failure;

    async fn next_piece(&mut self) -> Result<Option<Bytes>, Failure> {
        let frame = self.frame().await.transpose()?;
        Ok(frame.map(|frame| frame.into_data().unwrap_or_default()))
    }
}

impl<S: Socket> HttpPieces for OwnBody<S> {
    type Data = Bytes;
    type Error = Failure;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        let _ = self.connection.poll_unpin(cx);
        Pin::new(&mut self.incoming).poll_frame(cx).map_err(broken)
    }
}

/// The request cannot be sent. The text of such an error has no header's value in it, which may be
/// secret.
fn not_sent(error: impl Into<hyper::http::Error>) -> Failure {
    Failure::caused_by(TransportKind::Setup, &error.into())
}

/// The exchange failed, for a reason that the retry policy decides by.
fn broken(error: hyper::Error) -> Failure {
    let kind = if error.is_parse() { TransportKind::Http } else { TransportKind::Closed };
    Failure::caused_by(kind, &error)
}

// ---- for the front end of servers ----

/// The same transport as `HttpTransport::from_dyn(OwnTransport(…))`.
impl<D: Dial + Clone + Send + Sync + 'static> DynTransport for OwnTransport<D> {
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a> {
        let owned = |failure: Failure| HttpError::new(failure.kind(), failure.message());
        Box::pin(async move {
            let Reply { head, body } =
                Transport::send(&mut self.clone(), head, body).await.map_err(owned)?;
            let body = HttpBody::from_body(body.into_source().map_err(owned));
            Ok(Reply { head, body })
        })
    }
}
