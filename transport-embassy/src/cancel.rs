//! A flag that ends a run at once.

use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};

use embassy_sync::waitqueue::AtomicWaker;
use toolrunner_core::drive::Hooks;

/// A flag that ends a run at once, from any task or interrupt: a button, a watchdog, a link that
/// went down.
///
/// It implements [`Hooks`] for a driver. [`cancel`](Self::cancel) wakes the task that drives the
/// run, whatever that task waits for: the network, a tool, or the pause before a retry. A reply in
/// progress is discarded and its connection closed, a call in progress is answered as cancelled,
/// and the run ends with [`Outcome::Stopped`](toolrunner_core::run::Outcome::Stopped). The
/// conversation stays valid: to continue it, call [`clear`](Self::clear), and then
/// [`Run::resume`](toolrunner_core::run::Run::resume) or append a message.
///
/// Only one driver at a time can wait on a flag; use one flag for each of several concurrent
/// drivers. A flag cannot interrupt a computation: the TLS handshake checks a signature without
/// yielding, which takes a Cortex-M3 at 62 MHz about a second.
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
/// Pass it to a driver with `driver.hooks(&CANCEL)`. Your own hooks that also decide about calls
/// forward both methods:
/// ```
/// use core::task::{Context, Poll};
/// use toolrunner_embassy::{Cancel, machine::drive::{Verdict, Hooks}};
/// use toolrunner_embassy::machine::tool::{Output, ToolCall};
///
/// struct Careful<'c>(&'c Cancel);
///
/// impl Hooks for Careful<'_> {
///     async fn before(&self, call: &ToolCall<'_>, _: &mut Output<'_>) -> Verdict {
///         if call.name == *"open_valve" { Verdict::Deny } else { Verdict::Allow }
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
    /// Creates a flag that is not set.
    pub const fn new() -> Self {
        Self { flag: AtomicBool::new(false), waker: AtomicWaker::new() }
    }

    /// Sets the flag: ends the current run, and every later one until [`clear`](Self::clear) is
    /// called.
    pub fn cancel(&self) {
        self.flag.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Clears the flag, so that runs can continue.
    pub fn clear(&self) {
        self.flag.store(false, Ordering::Release);
    }

    /// Returns whether the flag is set.
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
        // The waker is registered first: if an interrupt sets the flag in between, the check sees
        // it.
        self.waker.register(context.waker());
        if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }
}
