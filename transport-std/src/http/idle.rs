//! The time limits of an exchange: one timer per connection, armed only when a read has to wait.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep};

use crate::clock::sleep_until;

/// Limits a wait: for the next bytes by the read timeout, and for a whole body by a bound of its
/// own.
///
/// The timer stays registered from one request of a connection to the next: moving its deadline is
/// one atomic store, while removing and adding it takes two locks per wait. If another runtime
/// polls the timer, it is created again, because the first runtime's timers do not advance while
/// nothing drives that runtime.
pub(super) struct IdleTimer {
    /// The read timeout.
    limit: Duration,
    /// The bound on the body as a whole, and when it ends. The end is not set before a read has to
    /// wait, because most reads find their bytes.
    bound: Option<(Bound, Option<Instant>)>,
    sleep: Option<(Id, Pin<Box<Sleep>>)>,
    /// Which limit ends the current wait, if there is one.
    waiting: Option<WaitEnd>,
}

/// A bound on a body that keeps sending data.
#[derive(Clone, Copy)]
pub(super) enum Bound {
    /// A reply must make progress within this time: see
    /// [`HttpBody::progressed`](super::HttpBody::progressed).
    Progress(Duration),
    /// An error's body must end within this time.
    ErrorBody(Duration),
}

/// Why a wait was ended.
#[derive(Clone, Copy)]
pub(super) enum WaitEnd {
    /// Nothing was received for this long.
    Silent(Duration),
    /// Data was received, but a bound was reached.
    Bound(Bound),
    /// There is no clock: the runtime has no timers, or there is no runtime.
    NoTimers,
}

impl IdleTimer {
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, bound: None, sleep: None, waiting: None }
    }

    /// Starts a request with this read timeout, and without a bound on its body.
    pub(super) const fn begin(&mut self, limit: Duration) {
        self.limit = limit;
        self.bound = None;
        self.waiting = None;
    }

    /// Sets a bound on the body, counted from the next read that has to wait.
    pub(super) const fn bound(&mut self, bound: Bound) {
        self.bound = Some((bound, None));
        self.waiting = None;
    }

    /// Restarts the progress bound, because the reply made progress.
    pub(super) const fn progressed(&mut self) {
        if let Some((bound @ Bound::Progress(_), _)) = self.bound {
            self.bound(bound);
        }
    }

    /// Passes on the result of a read. While the read is pending, returns which limit has passed.
    pub(super) fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        read: Poll<T>,
    ) -> Poll<Result<T, WaitEnd>> {
        match read {
            Poll::Ready(read) => {
                self.arrived();
                Poll::Ready(Ok(read))
            }
            Poll::Pending => self.poll(cx).map(Err),
        }
    }

    /// Ends the wait, because what was waited for has arrived.
    pub(super) const fn arrived(&mut self) {
        self.waiting = None;
    }

    /// Continues the wait. Returns the limit that has passed, once one has.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<WaitEnd> {
        let runtime = Handle::try_current().map(|handle| handle.id());
        let Ok(runtime) = runtime else { return Poll::Ready(WaitEnd::NoTimers) };
        let is_ours = self.sleep.as_ref().is_some_and(|(id, _)| *id == runtime);
        let late = match self.waiting {
            Some(late) if is_ours => late,
            _ => {
                let now = Instant::now();
                // A limit that the clock cannot represent does not apply.
                let silent =
                    now.checked_add(self.limit).map(|end| (WaitEnd::Silent(self.limit), end));
                let bound = self.bound.as_mut().and_then(|(bound, end)| {
                    let (Bound::Progress(limit) | Bound::ErrorBody(limit)) = *bound;
                    *end = end.or_else(|| now.checked_add(limit));
                    end.map(|end| (WaitEnd::Bound(*bound), end))
                });
                let first = [bound, silent].into_iter().flatten().min_by_key(|(_, end)| *end);
                let Some((late, deadline)) = first else { return Poll::Pending };
                match &mut self.sleep {
                    Some((id, sleep)) if *id == runtime => sleep.as_mut().reset(deadline),
                    _ => {
                        let Some(sleep) = sleep_until(deadline) else {
                            return Poll::Ready(WaitEnd::NoTimers);
                        };
                        self.sleep = Some((runtime, Box::pin(sleep)));
                    }
                }
                self.waiting = Some(late);
                late
            }
        };
        self.sleep
            .as_mut()
            .map_or(Poll::Pending, |(_, sleep)| sleep.as_mut().poll(cx).map(|()| late))
    }
}
