//! Tools that block their thread, where that does no harm: tokio's pool, or on another runtime a
//! thread of their own.

use core::panic::AssertUnwindSafe;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::panic::{catch_unwind, resume_unwind};
use std::sync::Arc;
use std::task::Wake;
use std::thread::{self, Thread};

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use toolrunner_core::tool::Notice;
use tracing::{Dispatch, Span, dispatcher};

use super::jobs::JobEnd;
use super::notice::notice;
use crate::escaped::Escaped;

/// What a call gives.
type Given = JobEnd;

/// Runs `work` where it may block. A panic goes on here.
pub(super) async fn run<F: Future<Output = Given>>(
    work: impl FnOnce() -> F + Send + 'static,
) -> Given {
    let caller = Caller::current();
    if let Ok(runtime) = Handle::try_current() {
        let inside = runtime.clone();
        return match runtime.spawn_blocking(move || caller.scope(|| inside.block_on(work()))).await
        {
            Ok(given) => given,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // The runtime is shutting down.
                Err(_) => notice(Notice::Cancelled).into(),
            },
        };
    }
    let (give, given) = oneshot::channel();
    let spawned = thread::Builder::new().name("toolrunner-blocking".to_owned()).spawn(move || {
        // If nobody waits any more, nobody wants to know.
        let _ = give.send(catch_unwind(AssertUnwindSafe(|| caller.scope(|| block_on(work())))));
    });
    if let Err(error) = spawned {
        tracing::error!(error = %Escaped(error), "no thread for a blocking tool");
        return notice(Notice::NotRun).into();
    }
    match given.await {
        Ok(Ok(given)) => given,
        Ok(Err(panic)) => resume_unwind(panic),
        Err(_) => notice(Notice::Cancelled).into(),
    }
}

/// Where the caller's log lines go, and the span that they belong to: a blocking tool's are to be
/// found there too.
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
