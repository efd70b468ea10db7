//! Waits for the cancellation of a run, and checks for it before every event of a reply. A token
//! takes a lock for each check; this does not.

use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex};
use std::task::Wake;

use futures_util::task::AtomicWaker;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::lock::lock;

/// Waits for a token, for one task at a time.
pub(super) struct Watch {
    signal: Arc<Signal>,
    /// `None` once the token is cancelled, which is permanent.
    waiting: Mutex<Option<Pin<Box<WaitForCancellationFutureOwned>>>>,
}

/// The waker that the token wakes.
struct Signal {
    /// Whether the token may have been cancelled since the last check.
    is_set: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.is_set.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl Watch {
    pub(super) fn new(token: &CancellationToken) -> Self {
        // The flag is set, so that the first check polls the token.
        Self {
            signal: Arc::new(Signal { is_set: AtomicBool::new(true), task: AtomicWaker::new() }),
            waiting: Mutex::new(Some(Box::pin(token.clone().cancelled_owned()))),
        }
    }

    /// Returns whether the token is cancelled. This takes effect at once: the flag is set before
    /// the call that cancels returns.
    #[inline]
    pub(super) fn is_cancelled(&self) -> bool {
        self.signal.is_set.load(Ordering::Acquire) && self.ask()
    }

    /// Returns `Ready` once the token is cancelled, and wakes the task then.
    pub(super) fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
        // The waker is registered first: if the token is cancelled in between, the check sees it.
        self.signal.task.register(context.waker());
        if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }

    #[cold]
    fn ask(&self) -> bool {
        let mut place = lock(&self.waiting);
        let Some(waiting) = &mut *place else { return true };
        // Cleared before the token is polled, so that no wake-up is lost.
        self.signal.is_set.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self.signal));
        let is_cancelled = waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if is_cancelled {
            *place = None;
            self.signal.is_set.store(true, Ordering::Release);
        }
        is_cancelled
    }
}
