//! Isolation of foreign code: a panic in it is caught, including one in a destructor.

use core::any::Any;
use core::panic::AssertUnwindSafe;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::panic::catch_unwind;

/// A future that ends if the inner one panics. Its output is that of the inner future, or the
/// panic's message.
///
/// The inner future is dropped in here, when it is done, aborted or no longer needed, and a panic
/// during that drop is only logged. One case cannot be caught: a value that panics while it is
/// dropped *because* of a panic aborts the process, as everywhere in Rust.
pub(super) struct PanicBoundary<F>(Option<F>);

impl<F> PanicBoundary<F> {
    pub(super) const fn new(future: F) -> Self {
        Self(Some(future))
    }
}

impl<F: Future + Unpin> Future for PanicBoundary<F> {
    type Output = Result<F::Output, String>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(future) = &mut self.0 else { return Poll::Pending };
        let output = match catch_unwind(AssertUnwindSafe(|| Pin::new(future).poll(context))) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(said(panic)),
        };
        // The output counts even if dropping the future panics.
        let future = self.0.take();
        drop_apart(future);
        Poll::Ready(output)
    }
}

// The future moves only when it is dropped: it is behind a pointer of its own.
impl<F> Unpin for PanicBoundary<F> {}

impl<F> Drop for PanicBoundary<F> {
    fn drop(&mut self) {
        drop_apart(self.0.take());
    }
}

/// Runs `work`. Returns the panic's message if it panics.
pub(super) fn run_apart<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(said)
}

fn drop_apart<T>(value: T) {
    if let Err(panic) = run_apart(|| drop(value)) {
        tracing::error!(panic, "a panic while a call's future was dropped");
    }
}

/// Returns a panic's message. Its payload is dropped, which may panic again.
fn said(panic: Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)")
        .to_owned();
    let mut payload = panic;
    // Dropping a payload may panic with another payload; a chain of more than a few is not
    // expected.
    for _ in 0..8 {
        match catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            Ok(()) => return text,
            Err(next) => payload = next,
        }
    }
    core::mem::forget(payload);
    text
}
