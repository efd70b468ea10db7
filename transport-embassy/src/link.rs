//! Byte streams to a server, through one buffer.

use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::pin::pin;
use toolrunner_core::error::Phrase;

use embassy_futures::poll_once;
use embassy_time::{Instant, with_timeout};
use embedded_io_async::{Read as _, Write as _};
use embedded_nal_async::TcpConnect;

use crate::{Addresses, ConnectFailure, Error, Lookup, Target};

/// A byte stream to a server that can be closed and reopened, and the one buffer through which all
/// bytes pass.
///
/// The futures of a link may be dropped at any time. After that the link is unusable, and its
/// buffer may be unavailable, until [`close`](Self::close) is called.
#[allow(
    async_fn_in_trait,
    reason = "a link is used on one task; whether its futures are Send follows from the stack's"
)]
pub trait Link {
    /// Returns the buffer. After a future was dropped it is empty until the link is closed.
    fn buffer(&mut self) -> &mut [u8];

    /// Connects to `target`, and closes any earlier connection. May overwrite the buffer.
    ///
    /// If the host has several addresses, the link tries them in turn. Each gets an equal share of
    /// the time until `deadline` that remains when it is tried. The caller drops the future after
    /// the deadline.
    async fn open(&mut self, target: &Target<'_>, deadline: Instant) -> Result<(), Error>;

    /// Sends the first `len` bytes of the buffer. The link may hold them back until [`Link::flush`]
    /// is called.
    async fn write(&mut self, len: usize) -> Result<(), Error>;

    /// Sends everything that was written and is still held back.
    async fn flush(&mut self) -> Result<(), Error>;

    /// Receives into the buffer, starting at `at`, and returns the number of bytes; 0 at the end of
    /// the stream.
    async fn read(&mut self, at: usize) -> Result<usize, Error>;

    /// Returns whether the connection must not be used again: the server has closed it, or has sent
    /// bytes that belong to no request. Does not wait. Call it only between two exchanges, and
    /// close the link if it returns `true`, because the received bytes are lost.
    async fn is_stale(&mut self) -> bool;

    /// Closes the connection, if there is one. Afterwards the buffer is available again.
    fn close(&mut self);
}

impl<L: Link> Link for &mut L {
    fn buffer(&mut self) -> &mut [u8] {
        L::buffer(self)
    }

    async fn open(&mut self, target: &Target<'_>, deadline: Instant) -> Result<(), Error> {
        L::open(self, target, deadline).await
    }

    async fn write(&mut self, len: usize) -> Result<(), Error> {
        L::write(self, len).await
    }

    async fn flush(&mut self) -> Result<(), Error> {
        L::flush(self).await
    }

    async fn read(&mut self, at: usize) -> Result<usize, Error> {
        L::read(self, at).await
    }

    async fn is_stale(&mut self) -> bool {
        L::is_stale(self).await
    }

    fn close(&mut self) {
        L::close(self);
    }
}

/// The error for `https` over a link without TLS.
pub(crate) const NEEDS_TLS: Error =
    Error::BaseUrl(Phrase::of("a base URL with https needs a link with TLS"));

/// Resolves the host name, and connects to the first of its addresses that answers.
pub(crate) async fn dial<'a, T: TcpConnect, D: Lookup>(
    tcp: &'a T,
    names: &D,
    target: &Target<'_>,
    deadline: Instant,
) -> Result<T::Connection<'a>, Error> {
    let addresses = match target.address() {
        Some(address) => Addresses::from_iter([IpAddr::V4(address)]),
        None => names.addresses(target.host).await.map_err(|_| Error::Dns)?,
    };
    let count = addresses.len();
    let mut last = None;
    let mut untried = u32::try_from(count).unwrap_or(u32::MAX);
    for &address in &addresses {
        let left = deadline.saturating_duration_since(Instant::now());
        let share = left / untried;
        untried -= 1;
        let address = SocketAddr::new(address, target.port);
        match with_timeout(share, connect(tcp, address)).await {
            Ok(Ok(connection)) => return Ok(connection),
            Ok(Err(failure)) => last = Some(failure),
            Err(_) => last = Some(ConnectFailure::Timeout),
        }
    }
    Err(match (count, last) {
        (_, None) => Error::Dns,
        (1, Some(failure)) => failure.into(),
        (tried, Some(last)) => Error::Unreachable { tried, last },
    })
}

async fn connect<T: TcpConnect>(
    tcp: &T,
    address: SocketAddr,
) -> Result<T::Connection<'_>, ConnectFailure> {
    let mut connect = pin!(tcp.connect(address));
    let mut asked = false;
    poll_fn(|context| {
        let connected = connect
            .as_mut()
            .poll(context)
            .map_err(|_| if asked { ConnectFailure::Refused } else { ConnectFailure::Socket });
        // An error in the first poll occurs before any packet was sent.
        asked = true;
        connected
    })
    .await
}

/// A link without TLS, for a gateway in your own network.
pub struct Plain<'a, T: TcpConnect, D> {
    tcp: &'a T,
    dns: &'a D,
    connection: Option<T::Connection<'a>>,
    buffer: &'a mut [u8],
}

impl<'a, T: TcpConnect, D: Lookup> Plain<'a, T, D> {
    /// Creates a link over `tcp` and `dns` that uses `buffer`. See [`crate::Resources`] for the
    /// size. Every `embedded_nal_async::Dns` is a [`Lookup`].
    pub const fn new(tcp: &'a T, dns: &'a D, buffer: &'a mut [u8]) -> Self {
        Self { tcp, dns, connection: None, buffer }
    }
}

impl<T: TcpConnect, D> core::fmt::Debug for Plain<'_, T, D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Plain").field("open", &self.connection.is_some()).finish_non_exhaustive()
    }
}

impl<T: TcpConnect, D: Lookup> Link for Plain<'_, T, D> {
    fn buffer(&mut self) -> &mut [u8] {
        self.buffer
    }

    async fn open(&mut self, target: &Target<'_>, deadline: Instant) -> Result<(), Error> {
        self.close();
        if target.secure {
            return Err(NEEDS_TLS);
        }
        self.connection = Some(dial(self.tcp, self.dns, target, deadline).await?);
        Ok(())
    }

    async fn write(&mut self, len: usize) -> Result<(), Error> {
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        let bytes = self.buffer.get(..len).unwrap_or_default();
        connection.write_all(bytes).await.map_err(|_| Error::Closed)
    }

    /// Does nothing: a stack sends without being flushed, and embassy-net's `flush` waits until the
    /// server has acknowledged everything.
    async fn flush(&mut self) -> Result<(), Error> {
        Ok(())
    }

    async fn read(&mut self, at: usize) -> Result<usize, Error> {
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        let free = self.buffer.get_mut(at..).unwrap_or_default();
        connection.read(free).await.map_err(|_| Error::Closed)
    }

    async fn is_stale(&mut self) -> bool {
        match self.connection.as_mut() {
            Some(connection) => poll_once(connection.read(self.buffer)).is_ready(),
            None => true,
        }
    }

    fn close(&mut self) {
        self.connection = None;
    }
}
