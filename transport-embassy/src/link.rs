//! The bytes to and from a server, through one buffer.

use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::pin::pin;

use embassy_futures::poll_once;
use embedded_io_async::{Read as _, Write as _};
use embedded_nal_async::{AddrType, Dns, TcpConnect};

use crate::{Error, Target};

/// A stream of bytes to a server, that can be closed and opened anew, and the one buffer that all
/// bytes go through.
///
/// A future of a link may be dropped at any time. The link is then unusable, its buffer perhaps
/// away, until it was closed.
#[allow(
    async_fn_in_trait,
    reason = "a link is used on one task; whether its futures are Send follows from the stack's"
)]
pub trait Link {
    /// The buffer. Empty if a future was dropped, until the link is closed.
    fn buffer(&mut self) -> &mut [u8];

    /// Connects, over whatever was open before. May use the buffer.
    async fn open(&mut self, target: &Target<'_>) -> Result<(), Error>;

    /// Sends the first `len` bytes of the buffer, perhaps not before [`Link::flush`].
    async fn write(&mut self, len: usize) -> Result<(), Error>;

    /// Sends what was written and not sent yet.
    async fn flush(&mut self) -> Result<(), Error>;

    /// Receives into the buffer from `at` on and says how much; 0 at the end of the stream.
    async fn read(&mut self, at: usize) -> Result<usize, Error>;

    /// Whether the connection, on which no reply is awaited, must not be used again: the server has
    /// ended it, or has sent bytes that no request asked for. Does not wait. Call it between two
    /// exchanges only, and close the link if it says so: what has come is lost.
    async fn is_stale(&mut self) -> bool;

    /// Drops the connection, if there is one. The buffer is here afterwards.
    fn close(&mut self);
}

/// Looks the host up and connects.
pub(crate) async fn dial<'a, T: TcpConnect, D: Dns>(
    tcp: &'a T,
    dns: &D,
    target: &Target<'_>,
) -> Result<T::Connection<'a>, Error> {
    let address = match target.address() {
        Some(address) => IpAddr::V4(address),
        None => {
            dns.get_host_by_name(target.host, AddrType::Either).await.map_err(|_| Error::Dns)?
        }
    };
    let mut connect = pin!(tcp.connect(SocketAddr::new(address, target.port)));
    let mut asked = false;
    poll_fn(|context| {
        let connected = connect
            .as_mut()
            .poll(context)
            .map_err(|_| if asked { Error::Connect } else { Error::Socket });
        // What fails at once fails before a packet was sent.
        asked = true;
        connected
    })
    .await
}

/// A link without TLS, for a gateway in one's own network.
pub struct Plain<'a, T: TcpConnect, D> {
    tcp: &'a T,
    dns: &'a D,
    connection: Option<T::Connection<'a>>,
    buffer: &'a mut [u8],
}

impl<'a, T: TcpConnect, D: Dns> Plain<'a, T, D> {
    /// A link over this stack, through this buffer. See [`crate::Resources`] for the size.
    pub const fn new(tcp: &'a T, dns: &'a D, buffer: &'a mut [u8]) -> Self {
        Self { tcp, dns, connection: None, buffer }
    }
}

impl<T: TcpConnect, D> core::fmt::Debug for Plain<'_, T, D> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Plain").field("open", &self.connection.is_some()).finish_non_exhaustive()
    }
}

impl<T: TcpConnect, D: Dns> Link for Plain<'_, T, D> {
    fn buffer(&mut self) -> &mut [u8] {
        self.buffer
    }

    async fn open(&mut self, target: &Target<'_>) -> Result<(), Error> {
        self.close();
        if target.secure {
            return Err(Error::BaseUrl("a base URL with https needs a link with TLS"));
        }
        self.connection = Some(dial(self.tcp, self.dns, target).await?);
        Ok(())
    }

    async fn write(&mut self, len: usize) -> Result<(), Error> {
        let connection = self.connection.as_mut().ok_or(Error::Closed)?;
        let bytes = self.buffer.get(..len).unwrap_or_default();
        connection.write_all(bytes).await.map_err(|_| Error::Closed)
    }

    /// Nothing to do: a stack sends by itself, and embassy-net's `flush` waits until the server has
    /// acknowledged everything.
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
