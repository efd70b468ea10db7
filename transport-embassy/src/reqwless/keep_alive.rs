//! reqwless over a link, with a connection that is kept.

use core::ops::Range;

use embassy_time::{Instant, with_deadline};
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead, Transport};

use super::ReplyBody;
use super::exchange::{ReceivedHead, exchange};
use super::stream::Stream;
use crate::transport::{MAX_AUTHORITY, MIN_BUFFER, prepare};
use crate::{Error, Link, Target, Timeouts};

/// A transport over reqwless whose connection is kept between turns.
///
/// It treats connections in the same way as [`crate::Transport`]: one that the server has closed,
/// or on which it has sent bytes that belong to no request, is replaced before the next request;
/// and so is one that breaks before the whole request was sent.
///
/// ```
/// use embedded_nal_async::{Dns, TcpConnect};
/// use toolrunner_embassy::reqwless::{KeepAlive, Resources};
/// use toolrunner_embassy::{Plain, Timeouts};
///
/// # fn transport<'a, T: TcpConnect, D: Dns>(
/// #     tcp: &'a T, dns: &'a D, resources: &'a mut Resources,
/// # ) -> impl toolrunner_embassy::machine::transport::Transport + use<'a, T, D> {
/// let link = Plain::new(tcp, dns, &mut resources.buffer);
/// KeepAlive::new(link, &mut resources.head, Timeouts::DEFAULT)
/// # }
/// ```
#[derive(Debug)]
pub struct KeepAlive<'b, L> {
    link: L,
    /// The buffer for the head of a reply.
    head: &'b mut [u8],
    timeouts: Timeouts,
    /// The host and port of the open connection.
    authority: heapless::String<MAX_AUTHORITY>,
    /// Whether the connection is open and has no bytes of an earlier exchange on it.
    is_clean: bool,
}

impl<'b, L: Link> KeepAlive<'b, L> {
    /// Creates a transport over `link`. The head of a reply must fit in `head`. It connects when
    /// the first request is sent.
    pub const fn new(link: L, head: &'b mut [u8], timeouts: Timeouts) -> Self {
        Self { link, head, timeouts, authority: heapless::String::new(), is_clean: false }
    }

    /// Closes the connection, which frees its socket. The next request opens a new one.
    pub fn close(&mut self) {
        self.is_clean = false;
        self.link.close();
    }

    /// Sends the request, over the existing connection if possible, and reads the head of the
    /// reply. Also returns the range of the link's buffer that holds the beginning of the body.
    async fn start(
        &mut self,
        head: &Head<'_>,
        body: &Body<'_>,
        deadline: Instant,
    ) -> Result<(ReceivedHead, Range<usize>), Error> {
        let target = Target::parse(head.base_url)?;
        let free = self.head.len();
        if free < MIN_BUFFER {
            return Err(Error::Capacity(ReplyHead::full(MIN_BUFFER, free)));
        }
        // The connection is dirty from here until the body has been read to its end.
        let mut is_kept = core::mem::take(&mut self.is_clean)
            && self.authority == target.authority
            && !self.link.is_stale().await;
        loop {
            if !is_kept {
                self.link.close();
                let deadline = self.timeouts.connect_end(deadline);
                prepare(&mut self.link, &mut self.authority, &target)?;
                with_deadline(deadline, self.link.open(&target, deadline))
                    .await
                    .unwrap_or(Err(Error::Timeout))?;
            }
            let mut stream = Stream::new(&mut self.link, self.timeouts.idle, deadline);
            match exchange(&mut stream, &target, head, body, self.head).await {
                // The connection broke before the server had received the whole request.
                Err(Error::Closed) if is_kept && !stream.is_sent => is_kept = false,
                Ok(taken) => return Ok((taken, stream.held)),
                Err(e) => return Err(e),
            }
        }
    }
}

impl<L: Link> Transport for KeepAlive<'_, L> {
    type Error = Error;
    type Body<'t>
        = ReplyBody<'t, &'t mut L>
    where
        Self: 't;

    async fn send<'t>(
        &'t mut self,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<Self::Body<'t>>, Error> {
        let deadline = self.timeouts.turn_end();
        match self.start(head, body, deadline).await {
            Ok((taken, held)) => {
                let mut stream = Stream::new(&mut self.link, self.timeouts.idle, deadline);
                stream.held = held;
                Ok(taken.into_reply(stream, Some(&mut self.is_clean)))
            }
            Err(e) => {
                self.link.close();
                Err(e)
            }
        }
    }
}
