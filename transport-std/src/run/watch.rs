//! Checks for the cancellation of a run before every event of a reply. A token takes a lock for
//! each check; this does not.

use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Waker};
use std::sync::Arc;
use std::task::Wake;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Waits for a token without a task: its waker only sets a flag.
pub(super) struct Watch {
    told: Arc<Told>,
    /// `None` once the token is cancelled, which is permanent.
    waiting: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// Whether the token may have been cancelled since the last check.
struct Told(AtomicBool);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Watch {
    pub(super) fn new(token: &CancellationToken) -> Self {
        // The flag is set, so that the first check polls the token.
        Self {
            told: Arc::new(Told(AtomicBool::new(true))),
            waiting: Some(Box::pin(token.clone().cancelled_owned())),
        }
    }

    /// Returns whether the token is cancelled. This takes effect at once: the flag is set before
    /// the call that cancels returns.
    pub(super) fn is_cancelled(&mut self) -> bool {
        self.told.0.load(Ordering::Acquire) && self.ask()
    }

    #[cold]
    fn ask(&mut self) -> bool {
        let Some(waiting) = &mut self.waiting else { return true };
        // Cleared before the token is polled, so that no wake-up is lost.
        self.told.0.store(false, Ordering::Release);
        let waker = Waker::from(Arc::clone(&self.told));
        let is_cancelled = waiting.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
        if is_cancelled {
            self.waiting = None;
            self.told.0.store(true, Ordering::Release);
        }
        is_cancelled
    }
}
