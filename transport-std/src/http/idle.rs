//! The time limits of an exchange: one timer per connection, armed only when a read has to wait.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, Sleep};

use crate::clock::sleep_until;

/// Ends a wait: for the next bytes after the read time-out, and for a whole body when its own bound
/// has passed.
///
/// The timer stays registered from one request of a connection to the next: moving its deadline
/// ahead is one atomic store, taking it out and putting it in again would be two locks per wait. It
/// is made anew when another runtime polls it, because the first one's timers stand still while
/// nobody drives that.
pub(super) struct IdleTimer {
    /// The read time-out.
    limit: Duration,
    /// What bounds the body as a whole, and until when.
    bound: Option<(Bound, Instant)>,
    sleep: Option<(Id, Pin<Box<Sleep>>)>,
    /// Whether a wait is under way, and what ends it.
    waiting: Option<Late>,
}

/// What bounds a body that goes on coming.
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
pub(super) enum Late {
    /// Nothing came for this long.
    Silent(Duration),
    /// What came was no progress.
    Bound(Bound),
    /// There is no clock: the runtime has no timers, or there is no runtime.
    NoTimers,
}

impl IdleTimer {
    pub(super) const fn new(limit: Duration) -> Self {
        Self { limit, bound: None, sleep: None, waiting: None }
    }

    /// Begins a request: another read time-out, and no bound on a body yet.
    pub(super) const fn begin(&mut self, limit: Duration) {
        self.limit = limit;
        self.bound = None;
        self.waiting = None;
    }

    /// Bounds the body that comes from now on.
    pub(super) fn bound(&mut self, bound: Bound) {
        let (Bound::Progress(limit) | Bound::ErrorBody(limit)) = bound;
        // A limit beyond the clock's range is no limit.
        self.bound = Instant::now().checked_add(limit).map(|end| (bound, end));
        self.waiting = None;
    }

    /// The reply made progress, so its bound counts from now.
    pub(super) fn progressed(&mut self) {
        if let Some((bound @ Bound::Progress(_), _)) = self.bound {
            self.bound(bound);
        }
    }

    /// Passes on what came; while nothing does, says which limit has passed.
    pub(super) fn watch<T>(
        &mut self,
        cx: &mut Context<'_>,
        read: Poll<T>,
    ) -> Poll<Result<T, Late>> {
        match read {
            Poll::Ready(read) => {
                self.waiting = None;
                Poll::Ready(Ok(read))
            }
            Poll::Pending => self.poll(cx).map(Err),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Late> {
        let runtime = Handle::try_current().map(|handle| handle.id());
        let Ok(runtime) = runtime else { return Poll::Ready(Late::NoTimers) };
        let is_ours = self.sleep.as_ref().is_some_and(|(id, _)| *id == runtime);
        let late = match self.waiting {
            Some(late) if is_ours => late,
            _ => {
                // A limit beyond the clock's range is no limit.
                let silent = Instant::now()
                    .checked_add(self.limit)
                    .map(|end| (Late::Silent(self.limit), end));
                let bound = self.bound.map(|(bound, end)| (Late::Bound(bound), end));
                let first = [bound, silent].into_iter().flatten().min_by_key(|(_, end)| *end);
                let Some((late, deadline)) = first else { return Poll::Pending };
                match &mut self.sleep {
                    Some((id, sleep)) if *id == runtime => sleep.as_mut().reset(deadline),
                    _ => {
                        let Some(sleep) = sleep_until(deadline) else {
                            return Poll::Ready(Late::NoTimers);
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
