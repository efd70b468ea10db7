//! Cancellation across threads.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll, Waker};
use std::sync::{Arc, Mutex, PoisonError};

/// Cancels a [`Run`](crate::Run) from another thread, also while the run waits for the network or
/// for a tool. Clones cancel the same run.
///
/// A reply under way is discarded and its connection is closed. Tools see the cancellation in their
/// [`ToolContext`](crate::ToolContext) and have the
/// [grace period](crate::RunBuilder::grace) to end; after that, their calls are answered as
/// cancelled, although their threads may still run. The run ends with
/// [`Outcome::Stopped`](crate::Outcome::Stopped). When a message is added to the run, or
/// [`Run::resume`](crate::Run::resume) is called, the cancellation is over and the run continues.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Arc<State>);

#[derive(Debug, Default)]
struct State {
    is_cancelled: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Cancellation {
    /// Creates a cancellation that is not in effect.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels the run.
    pub fn cancel(&self) {
        self.0.is_cancelled.store(true, Ordering::SeqCst);
        let waker = self.waker().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Returns whether the run was cancelled and has not been continued.
    pub fn is_cancelled(&self) -> bool {
        self.0.is_cancelled.load(Ordering::SeqCst)
    }

    /// Ends the cancellation.
    pub(crate) fn reset(&self) {
        self.0.is_cancelled.store(false, Ordering::SeqCst);
    }

    /// Returns whether another clone exists.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }

    /// Returns `Ready` once the run is cancelled.
    pub(crate) fn poll(&self, context: &mut Context<'_>) -> Poll<()> {
        let mut waker = self.waker();
        // Checked under the lock: `cancel` sets the flag before it takes the waker.
        if self.is_cancelled() {
            return Poll::Ready(());
        }
        // One waker is enough: one run, or one call, waits for each cancellation.
        *waker = Some(context.waker().clone());
        Poll::Pending
    }

    fn waker(&self) -> std::sync::MutexGuard<'_, Option<Waker>> {
        self.0.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
