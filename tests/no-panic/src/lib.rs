//! A transport and a clock for the images with async code. The compiler cannot know their bytes.
#![no_std]

use core::hint::black_box;
use core::task::Poll;

use embedded_io_async::{BufRead, ErrorKind, ErrorType, Read};
use toolrunner_core::error::TransportKind;
use toolrunner_core::time::{Clock, Instant};
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead, Transport, TransportError};

/// Bytes that stand for a reply, in pieces.
pub struct Wire<'a>(pub &'a [u8]);

/// The error of [`Wire`].
#[derive(Clone, Copy, Debug)]
pub struct Failed(TransportKind);

impl core::fmt::Display for Failed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("the link failed")
    }
}

impl core::error::Error for Failed {}

impl embedded_io_async::Error for Failed {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Other
    }
}

impl TransportError for Failed {
    fn kind(&self) -> TransportKind {
        self.0
    }
}

impl Transport for Wire<'_> {
    type Error = Failed;
    type Body<'t>
        = Bytes<'t>
    where
        Self: 't;

    async fn send<'t>(
        &'t mut self,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<Bytes<'t>>, Failed> {
        yields().await;
        let sent = head.headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>()
            + head.base_url.len()
            + head.path.len();
        if black_box(sent + body.len()) == 0 {
            return Err(Failed(black_box(TransportKind::Closed)));
        }
        body.pieces().for_each(|piece| _ = black_box(piece));
        let mut reply = ReplyHead::new(black_box(200));
        reply.field(black_box("retry-after"), black_box(b"1"));
        Ok(Reply { head: reply, body: Bytes(self.0) })
    }
}

/// The body of a reply.
pub struct Bytes<'a>(&'a [u8]);

impl ErrorType for Bytes<'_> {
    type Error = Failed;
}

impl BufRead for Bytes<'_> {
    async fn fill_buf(&mut self) -> Result<&[u8], Failed> {
        yields().await;
        if black_box(false) { Err(Failed(TransportKind::Timeout)) } else { Ok(self.0) }
    }

    fn consume(&mut self, amount: usize) {
        self.0 = self.0.get(amount..).unwrap_or_default();
    }
}

impl Read for Bytes<'_> {
    async fn read(&mut self, _: &mut [u8]) -> Result<usize, Failed> {
        Ok(0)
    }
}

/// Waits once.
pub async fn yields() {
    let mut first = true;
    core::future::poll_fn(|_| {
        if core::mem::take(&mut first) { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

/// A clock that stands still.
pub struct Time;

impl Clock for Time {
    fn now(&self) -> Instant {
        Instant::from_micros(black_box(7))
    }

    async fn wait_until(&self, deadline: Instant) {
        if self.now() < deadline {
            yields().await;
        }
    }

    fn jitter(&self) -> u32 {
        black_box(7)
    }
}
