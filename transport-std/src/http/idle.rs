//! The read time-out: one timer per connection, touched only when a read has to wait.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// Fires when nothing came for as long as its limit.
///
/// The timer stays registered from one request of a connection to the next: moving its deadline ahead is one atomic store, taking
/// it out and putting it in again would be two locks per wait.
pub(super) struct IdleTimer {
    limit: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
}

impl IdleTimer {
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, sleep: None, waiting: false }
    }

    /// Another limit, from the next wait on.
    pub(super) const fn set_limit(&mut self, limit: Duration) {
        self.limit = limit;
        self.waiting = false;
    }

    pub(super) const fn limit(&self) -> Duration {
        self.limit
    }

    /// Passes on what came; while nothing does, ready with `None` after the limit.
    pub(super) fn watch<T>(&mut self, cx: &mut Context<'_>, read: Poll<T>) -> Poll<Option<T>> {
        match read {
            Poll::Ready(read) => {
                self.waiting = false;
                Poll::Ready(Some(read))
            }
            Poll::Pending => self.poll(cx).map(|()| None),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.waiting {
            // A limit beyond what the clock can say is none.
            let Some(deadline) = Instant::now().checked_add(self.limit) else {
                return Poll::Pending;
            };
            match &mut self.sleep {
                Some(sleep) => sleep.as_mut().reset(deadline),
                None => self.sleep = Some(Box::pin(sleep_until(deadline))),
            }
            self.waiting = true;
        }
        self.sleep.as_mut().map_or(Poll::Pending, |sleep| sleep.as_mut().poll(cx))
    }
}
