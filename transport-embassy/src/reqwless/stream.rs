//! A link as the byte stream that reqwless reads and writes.

use core::ops::Range;

use embassy_time::{Duration, Instant, with_deadline};
use embedded_io_async::{BufRead, ErrorKind, ErrorType, Read, Write};
use toolrunner_core::transport::TransportError as _;

use crate::transport::end_of;
use crate::{Error, Link};

/// A link as a byte stream. It ends each read at the end of a head, so that reqwless never reads a
/// part of a body into its buffer for heads.
#[derive(Debug)]
pub(super) struct Stream<L> {
    pub(super) link: L,
    /// The number of bytes at the start of the link's buffer that must still be sent.
    unsent: usize,
    /// Whether the whole request was sent.
    pub(super) is_sent: bool,
    /// The range of the link's buffer that was received and not consumed yet.
    pub(super) held: Range<usize>,
    /// The number of bytes of the body before `held` that may still be restored.
    taken: usize,
    /// The end of the head that is being read; `None` in the body.
    pub(super) head_end: Option<HeadEnd>,
    /// The reason of the last failure. reqwless keeps only its [`ErrorKind`].
    failure: Option<Error>,
    idle: Duration,
    deadline: Instant,
}

impl<L: Link> Stream<L> {
    pub(super) fn new(link: L, idle: Duration, deadline: Instant) -> Self {
        Self {
            link,
            unsent: 0,
            is_sent: false,
            held: 0..0,
            taken: 0,
            head_end: Some(HeadEnd::default()),
            failure: None,
            idle,
            deadline,
        }
    }

    /// Returns whether all received bytes were consumed.
    pub(super) fn is_drained(&self) -> bool {
        self.held.is_empty()
    }

    /// Returns the first `len` of the bytes that are held.
    pub(super) fn front(&mut self, len: usize) -> &[u8] {
        let start = self.held.start;
        self.link.buffer().get(start..start + len).unwrap_or_default()
    }

    /// Makes the bytes that are consumed from now on restorable. The buffer must have room for
    /// them.
    pub(super) fn mark(&mut self) {
        self.taken = 0;
    }

    /// Restores the bytes that were consumed since [`Self::mark`].
    pub(super) fn restore(&mut self) {
        self.held.start -= self.taken;
        self.taken = 0;
    }

    /// Converts an error of reqwless; `head` is the size of its buffer for heads.
    pub(super) fn error(&mut self, error: &::reqwless::Error, head: usize) -> Error {
        use ::reqwless::Error as E;
        match (self.failure.take(), error) {
            (Some(failure), _) => failure,
            (None, E::BufferTooSmall) => {
                Error::Capacity(toolrunner_core::transport::ReplyHead::full(head + 1, head))
            }
            (None, E::ConnectionAborted | E::Network(_)) => Error::Closed,
            (None, _) => Error::Http,
        }
    }

    fn fail(&mut self, error: Error) -> ErrorKind {
        self.failure = Some(error);
        error.kind().into()
    }

    /// Returns the time by which the next piece must arrive.
    fn patience(&self) -> Instant {
        end_of(self.idle, self.deadline)
    }

    async fn send(&mut self) -> Result<(), ErrorKind> {
        let patience = self.patience();
        let len = core::mem::take(&mut self.unsent);
        let sent = with_deadline(patience, self.link.write(len)).await;
        sent.unwrap_or(Err(Error::Timeout)).map_err(|e| self.fail(e))
    }

    /// Waits until bytes are held, unless the connection ends.
    async fn receive(&mut self) -> Result<(), ErrorKind> {
        while self.held.is_empty() {
            let kept = self.held.start - self.taken..self.held.end;
            self.link.buffer().copy_within(kept.clone(), 0);
            self.held = kept.len()..kept.len();
            let (at, patience) = (self.held.end, self.patience());
            let received = with_deadline(patience, self.link.read(at)).await;
            match received.unwrap_or(Err(Error::Timeout)) {
                Ok(0) => break,
                Ok(len) => self.held.end += len,
                Err(e) => return Err(self.fail(e)),
            }
        }
        Ok(())
    }
}

impl<L> ErrorType for Stream<L> {
    type Error = ErrorKind;
}

impl<L: Link> Write for Stream<L> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        if self.unsent > 0 && self.unsent == self.link.buffer().len() {
            self.send().await?;
        }
        let free = self.link.buffer().get_mut(self.unsent..).unwrap_or_default();
        let len = free.len().min(bytes.len());
        if len == 0 && !bytes.is_empty() {
            return Err(self.fail(Error::Closed));
        }
        free[..len].copy_from_slice(&bytes[..len]);
        self.unsent += len;
        Ok(len)
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        self.send().await?;
        let patience = self.patience();
        let flushed = with_deadline(patience, self.link.flush()).await;
        flushed.unwrap_or(Err(Error::Timeout)).map_err(|e| self.fail(e))?;
        self.is_sent = true;
        Ok(())
    }
}

impl<L: Link> Read for Stream<L> {
    async fn read(&mut self, out: &mut [u8]) -> Result<usize, ErrorKind> {
        self.receive().await?;
        let most = out.len().min(self.held.len());
        let mut head_end = self.head_end.take();
        let piece = self.front(most);
        let len = head_end
            .as_mut()
            .and_then(|end| piece.iter().position(|byte| end.is_at(*byte)))
            .map_or(most, |at| at + 1);
        out[..len].copy_from_slice(&piece[..len]);
        if head_end.is_none() {
            self.taken += len;
        }
        self.head_end = head_end;
        self.held.start += len;
        Ok(len)
    }
}

impl<L: Link> BufRead for Stream<L> {
    async fn fill_buf(&mut self) -> Result<&[u8], ErrorKind> {
        self.receive().await?;
        Ok(self.front(self.held.len()))
    }

    fn consume(&mut self, amount: usize) {
        self.held.start += amount.min(self.held.len());
        self.taken = 0;
    }
}

/// Finds the empty line that ends a head.
#[derive(Debug, Default)]
pub(super) struct HeadEnd {
    /// Whether a line with text has begun. Empty lines before the first one are ignored.
    has_begun: bool,
    in_line: bool,
}

impl HeadEnd {
    /// Reads the next byte, and returns whether the head ends with it.
    fn is_at(&mut self, byte: u8) -> bool {
        match byte {
            b'\n' => !core::mem::take(&mut self.in_line) && self.has_begun,
            b'\r' => false,
            _ => {
                (self.has_begun, self.in_line) = (true, true);
                false
            }
        }
    }
}
