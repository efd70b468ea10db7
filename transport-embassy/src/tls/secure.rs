//! The link with TLS.

use core::convert::Infallible;
use core::future::poll_fn;
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use toolrunner_core::error::Phrase;

use embassy_time::Instant;

use super::handoff::{Ask, Handoff, Job};
use toolrunner_core::transport::ReplyHead;

use crate::{Error, Link, Target};

/// A link with TLS 1.3. Its sessions live in a [`session`](super::session) future.
pub struct Secure<'a, 'b> {
    handoff: &'a Handoff<'b>,
    session: Pin<&'a mut (dyn Future<Output = Infallible> + 'a)>,
    /// `None` while the session uses it.
    buffer: Option<&'b mut [u8]>,
}

impl<'a, 'b> Secure<'a, 'b> {
    /// Creates a link over `session`, which must have the same handoff, and the link's buffer. See
    /// [`super::Resources`] for the size.
    pub fn new(
        handoff: &'a Handoff<'b>,
        session: Pin<&'a mut (dyn Future<Output = Infallible> + 'a)>,
        buffer: &'b mut [u8],
    ) -> Self {
        Self { handoff, session, buffer: Some(buffer) }
    }

    async fn perform(&mut self, job: Job) -> Result<usize, Error> {
        let buffer = self.buffer.take().ok_or(Error::Closed)?;
        self.handoff.ask(Ask { job, buffer });
        let answer = poll_fn(|context| {
            let Poll::Pending = self.session.as_mut().poll(context);
            self.handoff.take_answer().map_or(Poll::Pending, Poll::Ready)
        })
        .await;
        self.buffer = Some(answer.buffer);
        answer.result
    }
}

impl core::fmt::Debug for Secure<'_, '_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Secure").field("idle", &self.buffer.is_some()).finish_non_exhaustive()
    }
}

impl Link for Secure<'_, '_> {
    fn buffer(&mut self) -> &mut [u8] {
        self.buffer.as_deref_mut().unwrap_or_default()
    }

    async fn open(&mut self, target: &Target<'_>, deadline: Instant) -> Result<(), Error> {
        self.close();
        if !target.secure {
            return Err(Error::BaseUrl(
                const { Phrase::of("a base URL with http needs a link without TLS") },
            ));
        }
        let host = target.host.as_bytes();
        let free = self.buffer().len();
        let place = self
            .buffer()
            .get_mut(..host.len())
            .ok_or_else(|| Error::Capacity(ReplyHead::full(host.len(), free)))?;
        place.copy_from_slice(host);
        let job = Job::Open { host: host.len(), port: target.port, deadline };
        self.perform(job).await.map(|_| ())
    }

    async fn write(&mut self, len: usize) -> Result<(), Error> {
        self.perform(Job::Write(len)).await.map(|_| ())
    }

    async fn flush(&mut self) -> Result<(), Error> {
        self.perform(Job::Flush).await.map(|_| ())
    }

    async fn read(&mut self, at: usize) -> Result<usize, Error> {
        self.perform(Job::Read(at)).await
    }

    async fn is_stale(&mut self) -> bool {
        self.perform(Job::Probe).await != Ok(0)
    }

    /// Polls the session once, in which it drops its connection and any operation in progress. No
    /// waker is needed.
    fn close(&mut self) {
        self.handoff.set_closing(true);
        let Poll::Pending = self.session.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        self.handoff.set_closing(false);
        if let Some(answer) = self.handoff.take_answer() {
            self.buffer = Some(answer.buffer);
        }
    }
}
