//! Whether a run was cancelled, asked before every event of a reply: a token takes a lock for each
//! answer, this none.

use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Waker};
use std::sync::Arc;
use std::task::Wake;

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

/// Waits for a token without a task: its waker only takes a note.
pub(super) struct Watch {
    told: Arc<Told>,
    /// Nothing once the token is cancelled, which it stays.
    waiting: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

/// Whether the token may have been cancelled since it was asked last.
struct Told(AtomicBool);

impl Wake for Told {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

impl Watch {
    pub(super) fn new(token: &CancellationToken) -> Self {
        // The first question asks the token.
        Self {
            told: Arc::new(Told(AtomicBool::new(true))),
            waiting: Some(Box::pin(token.clone().cancelled_owned())),
        }
    }

    /// Whether the token is cancelled: at once, for whoever cancels takes the note before his call
    /// returns.
    pub(super) fn is_cancelled(&mut self) -> bool {
        self.told.0.load(Ordering::Acquire) && self.ask()
    }

    #[cold]
    fn ask(&mut self) -> bool {
        let Some(waiting) = &mut self.waiting else { return true };
        // Before the token is asked, so that no note is lost.
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
