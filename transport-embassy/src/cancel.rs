//! A flag that ends a run at once.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};

use embassy_sync::waitqueue::AtomicWaker;
use toolrunner_core::drive::Hooks;

/// Ends a run at once, from any task or interrupt: a button, a watchdog, a link that went down.
///
/// It is [`Hooks`] for a driver. [`cancel`](Self::cancel) wakes the task that drives the run,
/// whatever that waits for: the network, a tool, the pause before another try. A reply under way is
/// taken back and its connection closed, a call under way is answered as cancelled, and the run
/// ends with [`Outcome::Stopped`](toolrunner_core::run::Outcome::Stopped). The conversation is
/// valid: after [`clear`](Self::clear), [`Run::resume`](toolrunner_core::run::Run::resume) or a
/// message goes on with it.
///
/// One driver at a time waits with it; two that run at the same time need one each. The one thing
/// that it cannot interrupt is a computation: the TLS handshake checks a signature in one piece,
/// which takes a Cortex-M3 at 62 MHz about a second.
///
/// ```
/// use toolrunner_embassy::Cancel;
///
/// static CANCEL: Cancel = Cancel::new();
///
/// // In the interrupt of a button:
/// CANCEL.cancel();
/// # assert!(CANCEL.is_cancelled());
/// ```
/// A driver takes it by `driver.hooks(&CANCEL)`. Hooks of one's own that also decide about calls
/// pass on both methods:
/// ```
/// use core::task::{Context, Poll};
/// use toolrunner_embassy::{Cancel, core::drive::{Decision, Hooks}, core::run::Call};
///
/// struct Careful<'c>(&'c Cancel);
///
/// impl Hooks for Careful<'_> {
///     fn before(&self, call: &Call<'_>) -> Decision<'_> {
///         if call.name == *"open_valve" { Decision::Deny("The valve stays shut.") } else { Decision::Allow }
///     }
///
///     fn is_cancelled(&self) -> bool {
///         self.0.is_cancelled()
///     }
///
///     fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
///         self.0.poll_cancelled(context)
///     }
/// }
/// ```
pub struct Cancel {
    flag: AtomicBool,
    waker: AtomicWaker,
}

impl Cancel {
    /// A flag that is not set.
    pub const fn new() -> Self {
        Self { flag: AtomicBool::new(false), waker: AtomicWaker::new() }
    }

    /// Ends the run. Also ends one that begins later, until [`clear`](Self::clear).
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Lets runs go on again.
    pub fn clear(&self) {
        self.flag.store(false, Ordering::Release);
    }

    /// Whether it is set.
    pub fn is_cancelled(&self) -> bool {
        self.flag.load(Ordering::Acquire)
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Cancel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

impl Hooks for Cancel {
    fn is_cancelled(&self) -> bool {
        self.is_cancelled()
    }

    fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
        // In this order: an interrupt in between sets the flag, which is seen.
        self.waker.register(context.waker());
        if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }
}
