//! Waiting: for a future, a deadline or a cancellation, whichever comes first.

use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};

use super::Hooks;
use crate::time::{Clock, Instant};

/// Returns the output of `future`, or `None` if the run is cancelled first or `until` passes.
pub(super) async fn while_wanted<C: Clock, H: Hooks, F: Future>(
    clock: &C,
    hooks: &H,
    until: Option<Instant>,
    mut future: Pin<&mut F>,
) -> Option<F::Output> {
    let mut wait = pin!(until.map(|until| clock.wait_until(until)));
    poll_fn(|cx| unless_over(poll_apart(future.as_mut(), cx), hooks, wait.as_mut(), cx)).await
}

/// Polls `future` in a stack frame of its own, so that on a chip a tool call does not also need the
/// stack space of a request.
#[cfg_attr(target_os = "none", inline(never))]
pub(super) fn poll_apart<F: Future>(future: Pin<&mut F>, cx: &mut Context<'_>) -> Poll<F::Output> {
    future.poll(cx)
}

/// Returns what is ready, or `None` if the run is cancelled or the time to `wait` is over.
#[inline]
pub(super) fn unless_over<H: Hooks, W: Future<Output = ()>, O>(
    ready: Poll<O>,
    hooks: &H,
    wait: Pin<&mut Option<W>>,
    cx: &mut Context<'_>,
) -> Poll<Option<O>> {
    match ready {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if is_over(hooks, wait, cx) => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    }
}

/// Returns whether the run is cancelled or the time to `wait` is over.
pub(super) fn is_over<H: Hooks, W: Future<Output = ()>>(
    hooks: &H,
    wait: Pin<&mut Option<W>>,
    cx: &mut Context<'_>,
) -> bool {
    hooks.poll_cancelled(cx).is_ready()
        || wait.as_pin_mut().is_some_and(|wait| wait.poll(cx).is_ready())
}
