//! Blocking tools, run where they do no harm: in tokio's pool, or on another runtime on a thread of
//! their own.

use core::panic::AssertUnwindSafe;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::Wake;
use std::thread::{self, Thread};
use toolrunner_core::__private::Notice;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tracing::{Dispatch, Span, dispatcher};

use crate::EscapedText;

/// Runs `work` where it may block. If it panics, the panic resumes in the caller.
///
/// # Errors
/// The text that the model receives if there is no thread for the work, or the runtime ends.
pub(super) async fn run<F: Future<Output: Send + 'static>>(
    work: impl FnOnce() -> F + Send + 'static,
) -> Result<F::Output, Notice<'static>> {
    let caller = Caller::current();
    if let Ok(runtime) = Handle::try_current() {
        let inside = runtime.clone();
        return match runtime.spawn_blocking(move || caller.scope(|| inside.block_on(work()))).await
        {
            Ok(given) => Ok(given),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => Err(Notice::Cancelled),
            },
        };
    }
    let (give, given) = oneshot::channel();
    let spawned = thread::Builder::new().name("toolrunner-blocking".to_owned()).spawn(move || {
        // The send fails if the caller no longer waits, and then nobody needs the result.
        let _ = give.send(catch_unwind(AssertUnwindSafe(|| caller.scope(|| block_on(work())))));
    });
    if let Err(error) = spawned {
        tracing::error!(error = %EscapedText(error), "no thread for a blocking tool");
        return Err(Notice::NotRun);
    }
    match given.await {
        Ok(Ok(given)) => Ok(given),
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => Err(Notice::Cancelled),
    }
}

/// The caller's log subscriber and span, so that the log lines of a blocking tool appear there too.
struct Caller {
    dispatch: Dispatch,
    span: Span,
}

impl Caller {
    fn current() -> Self {
        Self { dispatch: dispatcher::get_default(Clone::clone), span: Span::current() }
    }

    fn scope<T>(&self, work: impl FnOnce() -> T) -> T {
        dispatcher::with_default(&self.dispatch, || self.span.in_scope(work))
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        thread::park();
    }
}
