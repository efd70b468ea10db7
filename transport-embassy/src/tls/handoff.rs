//! Passes the buffer between a link and its session.
//!
//! A TLS session borrows its record buffers for its whole life, so no value that can reconnect can
//! hold both. The [`session`] future can: it opens one session after another in its own frame. The
//! [`Secure`] link requests one operation at a time, passes the buffer with the request, polls the
//! future until it answers, and gets the buffer back with the answer. No second task is needed.
//!
//! [`session`]: super::session
//! [`Secure`]: super::Secure

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::Poll;

use embassy_time::Instant;

use crate::Error;

/// An operation that a link requests from its session.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    /// Connect before the deadline. The host name is in the first `host` bytes of the buffer.
    Open { host: usize, port: u16, deadline: Instant },
    /// Send this many bytes from the start of the buffer.
    Write(usize),
    /// Send everything that is held back.
    Flush,
    /// Receive into the buffer, starting at this offset.
    Read(usize),
    /// Check whether the server has sent bytes or closed the connection since the last reply: 1 if
    /// so, otherwise 0.
    Probe,
}

/// A requested operation and the buffer for it.
#[derive(Debug)]
pub(crate) struct Ask<'b> {
    pub(crate) job: Job,
    pub(crate) buffer: &'b mut [u8],
}

/// The buffer and the result of the operation.
#[derive(Debug)]
pub(crate) struct Answer<'b> {
    pub(crate) buffer: &'b mut [u8],
    pub(crate) result: Result<usize, Error>,
}

/// Connects one [`Secure`](super::Secure) link to one [`session`](super::session). Declare it
/// before both.
#[derive(Debug, Default)]
pub struct Handoff<'b> {
    ask: RefCell<Option<Ask<'b>>>,
    answer: RefCell<Option<Answer<'b>>>,
    closing: Cell<bool>,
}

impl<'b> Handoff<'b> {
    /// Creates an empty handoff.
    pub const fn new() -> Self {
        Self { ask: RefCell::new(None), answer: RefCell::new(None), closing: Cell::new(false) }
    }

    pub(crate) fn ask(&self, ask: Ask<'b>) {
        self.ask.replace(Some(ask));
    }

    pub(crate) fn take_answer(&self) -> Option<Answer<'b>> {
        self.answer.take()
    }

    /// Asks the session to drop its connection the next time it is polled, or withdraws that
    /// request.
    pub(crate) fn set_closing(&self, closing: bool) {
        self.closing.set(closing);
    }

    /// Waits for the next operation; called by the session. No waker is needed: the link polls the
    /// session after each request.
    pub(crate) async fn next(&self) -> Ask<'b> {
        poll_fn(|_| self.ask.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// Returns the buffer and the result to the link; called by the session.
    pub(crate) fn give(&self, buffer: &'b mut [u8], result: Result<usize, Error>) {
        self.answer.replace(Some(Answer { buffer, result }));
    }

    /// Completes when the link wants the connection to be dropped; called by the session.
    pub(crate) async fn closing(&self) {
        poll_fn(|_| if self.closing.get() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}
