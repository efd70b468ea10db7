//! The core's [`Transport`](CoreTransport) over a [`Link`].

use embassy_time::{Duration, Instant, with_deadline};
use embedded_io_async::{BufRead, ErrorType, Read};
use toolrunner_core::error::{Capacity, CapacityKind};
use toolrunner_core::transport::read_buffered;
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead, Transport as CoreTransport};

use crate::http::Http;
use crate::{Error, Link, Target};

/// The maximum length of the host and port in a base URL, in bytes.
pub const MAX_AUTHORITY: usize = 128;

/// The minimum size of a link's buffer, in bytes. The longest line of a reply's head that the
/// transport must read, a `content-length` of 20 digits, fits in it.
pub const MIN_BUFFER: usize = 40;

/// The timeouts of a transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// The time for the name lookup, the connection and the TLS handshake together. The handshake
    /// alone takes a small chip seconds. If the host has several addresses, each gets an equal
    /// share of the time that remains when it is tried.
    pub connect: Duration,
    /// The time between two pieces of a reply, before its first piece, and for one piece of a
    /// request to be sent. While a model thinks, the server sends only an occasional `ping`, and
    /// without streaming nothing at all.
    pub idle: Duration,
    /// The time from [`Transport::send`](CoreTransport::send) to the last byte of the reply's body.
    pub turn: Duration,
}

impl Timeouts {
    /// 30 seconds to connect, 2 minutes idle, and 10 minutes for a turn as in the official clients.
    pub const DEFAULT: Self = Self {
        connect: Duration::from_secs(30),
        idle: Duration::from_secs(120),
        turn: Duration::from_secs(600),
    };
}

impl Timeouts {
    /// Returns the end of a turn that begins now.
    pub(crate) fn turn_end(&self) -> Instant {
        end_of(self.turn, Instant::MAX)
    }

    /// Returns the end of an attempt to connect that begins now, in a turn that ends at `deadline`.
    pub(crate) fn connect_end(&self, deadline: Instant) -> Instant {
        end_of(self.connect, deadline)
    }
}

/// Returns the end of `time` that begins now, at the latest `deadline`.
pub(crate) fn end_of(time: Duration, deadline: Instant) -> Instant {
    Instant::now().checked_add(time).unwrap_or(Instant::MAX).min(deadline)
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// An HTTP/1.1 transport for the core's driver, over a [`Link`] with or without TLS.
///
/// The connection is kept between turns. If the server has closed it in the meantime, or has sent
/// bytes that belong to no request, the next request uses a new one. To detect this, the transport
/// polls one read of the connection before each request and drops that read if it is pending. The
/// stack must not lose data in that case; embassy-net does not.
///
/// A connection that breaks before the whole request was sent is replaced too, and the request is
/// sent again at once, because no server can have acted on it. All other failures are left to the
/// retry policy of the core: a request that a closing server may have read counts as a failed try,
/// and `Event::Retry` reports it. Dropping a reply before its end closes the connection, which also
/// tells the server to stop.
#[derive(Debug)]
pub struct Transport<L> {
    http: Http<L>,
    timeouts: Timeouts,
    /// The host and port of the open connection.
    authority: heapless::String<MAX_AUTHORITY>,
}

impl<L: Link> Transport<L> {
    /// Creates a transport over `link`. It connects when the first request is sent.
    pub const fn new(link: L, timeouts: Timeouts) -> Self {
        Self { http: Http::new(link, timeouts.idle), timeouts, authority: heapless::String::new() }
    }

    /// Closes the connection, which frees its socket. The next request opens a new one.
    pub fn close(&mut self) {
        self.http.close();
    }

    /// Sends the request, over the existing connection if possible, and reads the head of the
    /// reply.
    async fn exchange(&mut self, request: &Head<'_>, body: &Body<'_>) -> Result<ReplyHead, Error> {
        let target = Target::parse(request.base_url)?;
        let Self { http, timeouts, authority } = self;
        let mut is_kept =
            http.is_clean() && *authority == target.authority && !http.link.is_stale().await;
        loop {
            if !is_kept {
                http.close();
                let deadline = timeouts.connect_end(http.deadline);
                prepare(&mut http.link, authority, &target)?;
                with_deadline(deadline, http.link.open(&target, deadline))
                    .await
                    .unwrap_or(Err(Error::Timeout))?;
            }
            match http.write_request(&target, request, body).await {
                // The connection broke before the server had received the whole request.
                Err(Error::Closed) if is_kept => is_kept = false,
                Ok(()) => return http.read_head().await,
                Err(other) => return Err(other),
            }
        }
    }
}

/// Prepares to open a link that is closed: checks its buffer, and notes its authority.
pub(crate) fn prepare<L: Link>(
    link: &mut L,
    authority: &mut heapless::String<MAX_AUTHORITY>,
    target: &Target<'_>,
) -> Result<(), Error> {
    authority.clear();
    let (needed, free) = (target.authority.len(), MAX_AUTHORITY);
    authority
        .push_str(target.authority)
        .map_err(|_| Error::Capacity(Capacity { what: CapacityKind::Host, needed, free }))?;
    // The link is closed, so its buffer is available.
    let free = link.buffer().len();
    if free < MIN_BUFFER {
        return Err(Error::Capacity(ReplyHead::full(MIN_BUFFER, free)));
    }
    Ok(())
}

impl<L: Link> CoreTransport for Transport<L> {
    type Error = Error;
    type Body<'t>
        = ReplyBody<'t, L>
    where
        Self: 't;

    async fn send<'t>(
        &'t mut self,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<Self::Body<'t>>, Error> {
        self.http.deadline = self.timeouts.turn_end();
        match self.exchange(head, body).await {
            Ok(head) => Ok(Reply { head, body: ReplyBody { http: &mut self.http } }),
            Err(e) => {
                self.http.close();
                Err(e)
            }
        }
    }
}

/// The body of a reply, read while it arrives.
#[derive(Debug)]
pub struct ReplyBody<'t, L: Link> {
    http: &'t mut Http<L>,
}

impl<L: Link> ErrorType for ReplyBody<'_, L> {
    type Error = Error;
}

impl<L: Link> BufRead for ReplyBody<'_, L> {
    async fn fill_buf(&mut self) -> Result<&[u8], Error> {
        self.http.fill_body().await
    }

    fn consume(&mut self, amount: usize) {
        self.http.consume_body(amount);
    }
}

impl<L: Link> Read for ReplyBody<'_, L> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        read_buffered(self, buffer).await
    }
}

impl<L: Link> Drop for ReplyBody<'_, L> {
    /// Closes the connection if the body was not read to its end. If this destructor does not run,
    /// the next request finds the connection dirty and replaces it.
    fn drop(&mut self) {
        if !self.http.is_done() {
            self.http.close();
        }
    }
}
