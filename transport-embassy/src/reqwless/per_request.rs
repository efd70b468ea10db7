//! reqwless' `HttpClient`, with a connection for each request.

use core::fmt::Write as _;

use ::reqwless::client::{HttpClient, HttpConnection};
use ::reqwless::request::Method;
use embassy_time::{Instant, with_deadline};
use embedded_io_async::{Read, Write};
use embedded_nal_async::{Dns, TcpConnect};
use toolrunner_core::error::{Capacity, CapacityKind};
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead, Transport};

use super::ReplyBody;
use super::exchange::exchange;
use super::stream::Stream;
use crate::link::NEEDS_TLS;
use crate::transport::{MAX_AUTHORITY, MIN_BUFFER};
use crate::{Error, Link, Target, Timeouts};

/// The maximum length of a URL without its path.
const MAX_ORIGIN: usize = "https://".len() + MAX_AUTHORITY;

/// A transport over reqwless' [`HttpClient`], which opens a connection for each request.
///
/// It has the TLS that the client was created with. `HttpClient` lends itself to its connection, so
/// a connection cannot be kept beside it: with TLS, each request costs a handshake. Use
/// [`KeepAlive`](super::KeepAlive) unless you need the client.
///
/// ```
/// use embedded_nal_async::{Dns, TcpConnect};
/// use toolrunner_embassy::Timeouts;
/// use toolrunner_embassy::reqwless::{HttpClient, PerRequest, Resources};
///
/// # fn transport<'a, T: TcpConnect, D: Dns>(
/// #     tcp: &'a T, dns: &'a D, resources: &'a mut Resources,
/// # ) -> impl toolrunner_embassy::machine::transport::Transport + use<'a, T, D> {
/// let client = HttpClient::new(tcp, dns);
/// PerRequest::new(client, &mut resources.head, &mut resources.buffer, Timeouts::DEFAULT)
/// # }
/// ```
pub struct PerRequest<'a, T: TcpConnect + 'a, D: Dns + 'a> {
    client: HttpClient<'a, T, D>,
    head: &'a mut [u8],
    buffer: &'a mut [u8],
    timeouts: Timeouts,
    /// The URL of the connection, which must live as long as it.
    origin: heapless::String<MAX_ORIGIN>,
}

impl<'a, T: TcpConnect + 'a, D: Dns + 'a> PerRequest<'a, T, D> {
    /// Creates a transport over `client`. The head of a reply must fit in `head`. All bytes in
    /// both directions pass through `buffer`.
    pub const fn new(
        client: HttpClient<'a, T, D>,
        head: &'a mut [u8],
        buffer: &'a mut [u8],
        timeouts: Timeouts,
    ) -> Self {
        Self { client, head, buffer, timeouts, origin: heapless::String::new() }
    }
}

impl<T: TcpConnect, D: Dns> core::fmt::Debug for PerRequest<'_, T, D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PerRequest").field("timeouts", &self.timeouts).finish_non_exhaustive()
    }
}

impl<'a, T: TcpConnect + 'a, D: Dns + 'a> Transport for PerRequest<'a, T, D> {
    type Error = Error;
    type Body<'t>
        = ReplyBody<'t, Connection<'t, T::Connection<'t>>>
    where
        Self: 't;

    async fn send<'t>(
        &'t mut self,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<Self::Body<'t>>, Error> {
        let deadline = self.timeouts.turn_end();
        let target = Target::parse(head.base_url)?;
        let free = self.head.len().min(self.buffer.len());
        if free < MIN_BUFFER {
            return Err(Error::Capacity(ReplyHead::full(MIN_BUFFER, free)));
        }
        self.origin.clear();
        let scheme = if target.secure { "https://" } else { "http://" };
        let (needed, free) = (target.authority.len(), MAX_AUTHORITY);
        if needed > free {
            return Err(Error::Capacity(Capacity { what: CapacityKind::Host, needed, free }));
        }
        let _fits = self.origin.write_str(scheme);
        let _fits = self.origin.write_str(target.authority);
        let patience = self.timeouts.connect_end(deadline);
        let connected = with_deadline(patience, self.client.request(Method::POST, &self.origin));
        let connection = match connected.await {
            Ok(Ok(handle)) => Some(handle.conn),
            Ok(Err(e)) => return Err(connect_error(&e)),
            Err(_) => return Err(Error::Timeout),
        };
        let link = Connection { connection, buffer: self.buffer };
        let mut stream = Stream::new(link, self.timeouts.idle, deadline);
        let taken = exchange(&mut stream, &target, head, body, self.head).await?;
        Ok(taken.into_reply(stream, None))
    }
}

/// Converts an error of reqwless before the request.
fn connect_error(error: &::reqwless::Error) -> Error {
    use ::reqwless::Error as E;
    match error {
        E::Dns => Error::Dns,
        E::Network(_) | E::ConnectionAborted => Error::Connect,
        E::InvalidUrl(_) => NEEDS_TLS,
        #[cfg(feature = "tls")]
        _ => Error::Tls,
        #[cfg(not(feature = "tls"))]
        _ => Error::Connect,
    }
}

/// A connection of reqwless' [`HttpClient`], as a link that cannot be opened again.
pub struct Connection<'t, C: Read + Write> {
    connection: Option<HttpConnection<'t, C>>,
    buffer: &'t mut [u8],
}

impl<C: Read + Write> core::fmt::Debug for Connection<'_, C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Connection")
            .field("open", &self.connection.is_some())
            .finish_non_exhaustive()
    }
}

impl<C: Read + Write> Link for Connection<'_, C> {
    fn buffer(&mut self) -> &mut [u8] {
        self.buffer
    }

    async fn open(&mut self, _: &Target<'_>, _: Instant) -> Result<(), Error> {
        Err(Error::Connect)
    }

    async fn write(&mut self, len: usize) -> Result<(), Error> {
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        let bytes = self.buffer.get(..len).unwrap_or_default();
        connection.write_all(bytes).await.map_err(|_| Error::Closed)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        match self.connection.as_mut().ok_or(Error::Closed)? {
            // A stack sends without being flushed, and embassy-net's `flush` waits until the
            // server has acknowledged everything.
            HttpConnection::Plain(_) => Ok(()),
            other => other.flush().await.map_err(|_| Error::Closed),
        }
    }

    async fn read(&mut self, at: usize) -> Result<usize, Error> {
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        let free = self.buffer.get_mut(at..).unwrap_or_default();
        connection.read(free).await.map_err(|_| Error::Closed)
    }

    async fn is_stale(&mut self) -> bool {
        true
    }

    fn close(&mut self) {
        self.connection = None;
    }
}
