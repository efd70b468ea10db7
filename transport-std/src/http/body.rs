//! The body of a reply, which lends hyper's own bytes.

use core::fmt;
use core::future::poll_fn;
use core::mem;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Buf, Bytes};
use embedded_io_async::{BufRead, ErrorType, Read};
use futures_core::Stream;
use http::HeaderMap;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use toolrunner_core::error::{Capacity, CapacityKind, TransportKind};
use toolrunner_core::transport::read_buffered;

use super::HttpError;
use super::host::{Host, Http1, Http2};
use super::idle::{IdleTimer, WaitEnd};

/// The body of a reply. It owns what it reads from, so a reply may be kept while the run is used.
///
/// A body that is read to its end returns the connection for the next request. A body that is
/// dropped earlier closes its connection (over HTTP/2: ends its stream).
pub struct HttpBody {
    /// The bytes that were received and are not yet consumed.
    piece: Bytes,
    source: Source,
    /// The header fields of the reply. Boxed, because they are large and rarely read.
    headers: Box<HeaderMap>,
}

enum Source {
    Incoming(Box<Flow>),
    Other(Pin<Box<dyn Body<Data = Bytes, Error = HttpError> + Send>>),
    Pieces(VecDeque<Result<Bytes, HttpError>>),
    Ended,
    /// An error was reported. Whatever follows must not look like a regular end.
    Broken,
}

/// A body that is received over a connection.
struct Flow {
    incoming: Incoming,
    host: Arc<Host>,
    /// Held until the end of the body.
    lease: Option<Lease>,
}

/// A body's hold on its connection. Boxed, because it is moved several times for each request.
pub(super) enum Lease {
    Http1(Box<Http1>),
    Http2(Box<Http2Stream>),
}

/// A request on an HTTP/2 connection.
pub(super) struct Http2Stream {
    pub(super) timer: IdleTimer,
    pub(super) connection: Http2,
}

impl Lease {
    pub(super) const fn timer(&mut self) -> &mut IdleTimer {
        match self {
            Self::Http1(connection) => &mut connection.timer,
            Self::Http2(stream) => &mut stream.timer,
        }
    }
}

impl HttpBody {
    pub(super) fn incoming(
        incoming: Incoming,
        headers: HeaderMap,
        host: Arc<Host>,
        lease: Lease,
    ) -> Self {
        let source = Source::Incoming(Box::new(Flow { incoming, host, lease: Some(lease) }));
        Self { piece: Bytes::new(), source, headers: Box::new(headers) }
    }

    fn of(source: Source) -> Self {
        Self { piece: Bytes::new(), source, headers: Box::default() }
    }

    /// Adds the header fields of the reply.
    #[must_use]
    pub fn with_headers(mut self, headers: HeaderMap) -> Self {
        *self.headers = headers;
        self
    }

    /// Returns the header fields of the reply. Empty if the transport does not report them.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// Creates a body from data in memory, for scripts. A reader receives it in these pieces.
    pub fn from_pieces<P: Into<Bytes>>(pieces: impl IntoIterator<Item = P>) -> Self {
        let pieces = pieces.into_iter().map(|piece| Ok(piece.into())).collect();
        Self::of(Source::Pieces(pieces))
    }

    /// Creates a body from one of another HTTP library. Trailers are ignored.
    pub fn from_body(body: impl Body<Data = Bytes, Error = HttpError> + Send + 'static) -> Self {
        Self::of(Source::Other(Box::pin(body)))
    }

    /// Creates a body from a stream of its pieces.
    pub(crate) fn from_stream(
        stream: impl Stream<Item = Result<Bytes, HttpError>> + Send + 'static,
    ) -> Self {
        Self::from_body(StreamBody(Box::pin(stream)))
    }

    /// Makes a body from [`from_pieces`](Self::from_pieces) fail with this error where it would
    /// have ended. This has no effect on other bodies.
    pub fn then_error(mut self, error: HttpError) -> Self {
        if let Source::Pieces(pieces) = &mut self.source {
            pieces.push_back(Err(error));
        }
        self
    }

    /// Returns the bytes that were received and are not yet consumed, which `fill_buf` would return
    /// without waiting. Empty if `fill_buf` would have to read.
    #[inline]
    pub fn at_hand(&self) -> &[u8] {
        &self.piece
    }

    /// Reports that the reply made progress, which restarts
    /// [`progress_timeout`](super::HttpSettings::progress_timeout). The driver of a run calls this
    /// for everything in a reply except pings and events of unknown types, which a server can send
    /// forever.
    ///
    /// This has no effect on a body that is not received over one of this crate's connections.
    pub fn progressed(&mut self) {
        if let Source::Incoming(flow) = &mut self.source
            && let Some(lease) = &mut flow.lease
        {
            lease.timer().progressed();
        }
    }

    /// Reads a body of at most `limit` bytes to its end. The inner error says that it is larger.
    pub(crate) async fn read_to_end(
        &mut self,
        limit: usize,
    ) -> Result<Result<Vec<u8>, Capacity>, HttpError> {
        let mut whole = Vec::new();
        loop {
            let piece = self.fill_buf().await?;
            let (needed, free) = (piece.len(), limit - whole.len());
            if needed == 0 {
                return Ok(Ok(whole));
            }
            if needed > free {
                return Ok(Err(Capacity { what: CapacityKind::Reply, needed, free }));
            }
            whole.extend_from_slice(piece);
            self.consume(needed);
            self.progressed();
        }
    }

    /// Takes the bytes that were received, or else the next piece. Returns `None` at the end.
    #[cfg(feature = "testing")]
    pub(crate) async fn take_piece(&mut self) -> Option<Result<Bytes, HttpError>> {
        if self.piece.is_empty() {
            return self.next_piece().await.transpose();
        }
        Some(Ok(mem::take(&mut self.piece)))
    }

    /// Returns the next piece, which is not empty, or `None` at the end.
    async fn next_piece(&mut self) -> Result<Option<Bytes>, HttpError> {
        let next = match &mut self.source {
            Source::Incoming(flow) => flow.next().await,
            Source::Other(body) => loop {
                match poll_fn(|cx| body.as_mut().poll_frame(cx)).await {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) if !data.is_empty() => break Some(Ok(data)),
                        _ => {} // empty, or trailers
                    },
                    Some(Err(error)) => break Some(Err(error)),
                    None => break None,
                }
            },
            Source::Pieces(pieces) => loop {
                match pieces.pop_front() {
                    Some(Ok(piece)) if piece.is_empty() => {}
                    next => break next,
                }
            },
            Source::Ended => None,
            Source::Broken => {
                Some(Err(HttpError::new(TransportKind::Closed, "the reply has already failed")))
            }
        };
        match &next {
            Some(Ok(_)) => {}
            Some(Err(_)) => self.source = Source::Broken,
            None => self.source = Source::Ended,
        }
        next.transpose()
    }
}

/// A stream of pieces as a body.
struct StreamBody<S>(Pin<Box<S>>);

impl<S: Stream<Item = Result<Bytes, HttpError>>> Body for StreamBody<S> {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        self.0.as_mut().poll_next(cx).map(|next| next.map(|piece| piece.map(Frame::data)))
    }
}

impl Flow {
    async fn next(&mut self) -> Option<Result<Bytes, HttpError>> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, HttpError>>> {
        loop {
            let Some(lease) = &mut self.lease else {
                return Poll::Ready(None);
            };
            let read = Pin::new(&mut self.incoming).poll_frame(cx);
            match lease.timer().watch(cx, read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(Some(Ok(frame)))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => {
                        // If the length is known, nothing waits for hyper's task to report the end.
                        if self.incoming.is_end_stream() {
                            self.end();
                        }
                        return Poll::Ready(Some(Ok(data)));
                    }
                    _ => {} // empty, or trailers
                },
                Poll::Ready(Ok(Some(Err(error)))) => {
                    return Poll::Ready(Some(Err(HttpError::broken(
                        &self.host.origin,
                        "the reply's end",
                        error,
                    ))));
                }
                Poll::Ready(Ok(None)) => {
                    self.end();
                    return Poll::Ready(None);
                }
                Poll::Ready(Err(late)) => {
                    // A connection that went silent is not used for other requests.
                    if let (Lease::Http2(stream), WaitEnd::Silent(_)) = (lease, late) {
                        self.host.forget(&stream.connection);
                    }
                    return Poll::Ready(Some(Err(HttpError::late(&self.host.origin, late))));
                }
            }
        }
    }

    fn end(&mut self) {
        match self.lease.take() {
            Some(Lease::Http1(connection)) => self.host.put_back(connection),
            Some(Lease::Http2(stream)) => self.host.release(&stream.connection),
            None => {}
        }
    }
}

impl Drop for Flow {
    /// A reader that recognizes the end of a message by its content may not have read the end of
    /// the body. If that end has already been received, the connection can be reused.
    fn drop(&mut self) {
        if self.lease.is_some()
            && matches!(
                Pin::new(&mut self.incoming).poll_frame(&mut Context::from_waker(Waker::noop())),
                Poll::Ready(None)
            )
        {
            self.end();
        }
    }
}

impl ErrorType for HttpBody {
    type Error = HttpError;
}

impl BufRead for HttpBody {
    async fn fill_buf(&mut self) -> Result<&[u8], HttpError> {
        if self.piece.is_empty()
            && let Some(piece) = self.next_piece().await?
        {
            self.piece = piece;
        }
        Ok(&self.piece)
    }

    #[inline]
    fn consume(&mut self, amount: usize) {
        if amount >= self.piece.len() {
            // Releases hyper's read buffer at once.
            drop(mem::take(&mut self.piece));
        } else {
            self.piece.advance(amount);
        }
    }
}

impl Read for HttpBody {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, HttpError> {
        read_buffered(self, buf).await
    }
}

impl fmt::Debug for HttpBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source = match &self.source {
            Source::Incoming(_) => "incoming",
            Source::Other(_) => "other",
            Source::Pieces(_) => "pieces",
            Source::Ended => "ended",
            Source::Broken => "broken",
        };
        f.debug_struct("HttpBody")
            .field("unread", &self.piece.len())
            .field("source", &source)
            .finish()
    }
}
