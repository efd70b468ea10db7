//! Where a link and its session hand the buffer to each other.
//!
//! A TLS session borrows its record buffers for as long as it lives, so nothing that can reconnect
//! can hold both. The [`session`] future can: it opens one session after the other in its own
//! frame. The [`Secure`] link asks it for one thing at a time, gives it the buffer with the
//! question, polls it until it answers, and has the buffer back with the answer. There is no second
//! task.
//!
//! [`session`]: super::session
//! [`Secure`]: super::Secure

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::Poll;

use crate::Error;

/// What a link asks of its session.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Job {
    /// Connect; the host's name is the first so many bytes of the buffer.
    Open { host: usize, port: u16 },
    /// Send the first so many bytes.
    Write(usize),
    /// Send what was gathered.
    Flush,
    /// Receive into the buffer from here on.
    Read(usize),
    /// Say whether anything has come since the last reply, the end included: 1 if so, else 0.
    Probe,
}

/// A job and the buffer for it.
#[derive(Debug)]
pub(crate) struct Ask<'b> {
    pub(crate) job: Job,
    pub(crate) buffer: &'b mut [u8],
}

/// The buffer, and how the job went.
#[derive(Debug)]
pub(crate) struct Answer<'b> {
    pub(crate) buffer: &'b mut [u8],
    pub(crate) result: Result<usize, Error>,
}

/// Connects one [`Secure`](super::Secure) link to one [`session`](super::session); declared before
/// both.
#[derive(Debug, Default)]
pub struct Handoff<'b> {
    ask: RefCell<Option<Ask<'b>>>,
    answer: RefCell<Option<Answer<'b>>>,
    closing: Cell<bool>,
}

impl<'b> Handoff<'b> {
    /// A handoff with nothing in it.
    pub const fn new() -> Self {
        Self { ask: RefCell::new(None), answer: RefCell::new(None), closing: Cell::new(false) }
    }

    pub(crate) fn ask(&self, ask: Ask<'b>) {
        self.ask.replace(Some(ask));
    }

    pub(crate) fn take_answer(&self) -> Option<Answer<'b>> {
        self.answer.take()
    }

    /// Asks the session, which is to be polled now, to drop its connection.
    pub(crate) fn set_closing(&self, closing: bool) {
        self.closing.set(closing);
    }

    /// The session's side: the next thing to do. Nobody is woken: the link polls the session when
    /// it has asked.
    pub(crate) async fn next(&self) -> Ask<'b> {
        poll_fn(|_| self.ask.take().map_or(Poll::Pending, Poll::Ready)).await
    }

    /// The session's side.
    pub(crate) fn give(&self, buffer: &'b mut [u8], result: Result<usize, Error>) {
        self.answer.replace(Some(Answer { buffer, result }));
    }

    /// The session's side: ready when the link wants the connection dropped.
    pub(crate) async fn closing(&self) {
        poll_fn(|_| if self.closing.get() { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}
