//! Clocks for a run: tokio's, or one of another runtime.

use core::hash::BuildHasher;
use core::pin::Pin;
use core::time::Duration;
use std::hash::RandomState;
use std::panic::catch_unwind;
use std::sync::mpsc;
use std::thread;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Sleep;
use toolrunner_core::time::{Clock, Instant};

/// The future of [`DynClock::wait_until`].
pub type WaitFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The object-safe counterpart of [`Clock`].
pub trait DynClock: Send + Sync + 'static {
    /// Returns the current time.
    fn now(&self) -> Instant;
    /// Waits until `deadline`.
    fn wait_until(&self, deadline: Instant) -> WaitFuture<'_>;
    /// Returns an arbitrary number, which spreads out retries.
    fn jitter(&self) -> u32;
}

/// tokio's clock. Outside a tokio runtime, or in one without timers, each wait uses a thread: a run
/// works there too, but at a higher cost. To avoid that, pass a clock with that runtime's own
/// timers to [`RunBuilder::clock`](crate::RunBuilder::clock).
#[derive(Debug)]
pub struct TokioClock {
    start: tokio::time::Instant,
}

impl Default for TokioClock {
    fn default() -> Self {
        Self { start: tokio::time::Instant::now() }
    }
}

impl DynClock for TokioClock {
    fn now(&self) -> Instant {
        Instant::ZERO.after(self.start.elapsed())
    }

    fn wait_until(&self, deadline: Instant) -> WaitFuture<'_> {
        // Inside the future, so that the runtime is not needed before there is something to wait
        // for.
        Box::pin(async move {
            // The system's clock cannot represent this deadline, so it never arrives.
            let Some(deadline) =
                self.start.checked_add(Duration::from_micros(deadline.as_micros()))
            else {
                return core::future::pending().await;
            };
            match sleep_until(deadline) {
                Some(sleep) => sleep.await,
                None => wait_on_a_thread(deadline).await,
            }
        })
    }

    fn jitter(&self) -> u32 {
        // The keys of each new hasher differ from those of the previous one.
        let number = RandomState::new().hash_one(0);
        u32::try_from(number & 0xffff_ffff).unwrap_or(0)
    }
}

/// Returns tokio's timer, or `None` outside a tokio runtime and in one without timers. tokio panics
/// there, and offers no way to check for timers first. The panic is caught, but its message goes to
/// the panic hook, once for each wait.
pub(crate) fn sleep_until(deadline: tokio::time::Instant) -> Option<Sleep> {
    Handle::try_current().ok()?;
    catch_unwind(|| tokio::time::sleep_until(deadline)).ok()
}

/// Waits on a thread of its own. The thread ends early if the wait is dropped.
async fn wait_on_a_thread(deadline: tokio::time::Instant) {
    let (waiter, dropped) = mpsc::channel::<()>();
    let (tell, told) = oneshot::channel();
    let spawned = thread::Builder::new().name("toolrunner-timer".to_owned()).spawn(move || {
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        let _ = dropped.recv_timeout(left);
        // The waiter may have been dropped.
        let _ = tell.send(());
    });
    if spawned.is_ok() {
        let _ = told.await;
    } else {
        // Without a thread there is no other way to wait.
        thread::sleep(deadline.saturating_duration_since(tokio::time::Instant::now()));
    }
    drop(waiter);
}

/// A clock that others share, such as a test.
impl<C: DynClock + ?Sized> DynClock for std::sync::Arc<C> {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn wait_until(&self, deadline: Instant) -> WaitFuture<'_> {
        (**self).wait_until(deadline)
    }

    fn jitter(&self) -> u32 {
        (**self).jitter()
    }
}

#[cfg(feature = "testing")]
impl DynClock for toolrunner_core::testing::VirtualClock {
    fn now(&self) -> Instant {
        Clock::now(self)
    }

    fn wait_until(&self, deadline: Instant) -> WaitFuture<'_> {
        Box::pin(Clock::wait_until(self, deadline))
    }

    fn jitter(&self) -> u32 {
        Clock::jitter(self)
    }
}

/// A shared clock that implements the core's [`Clock`].
#[derive(Clone)]
pub(crate) struct SharedClock(pub(crate) std::sync::Arc<dyn DynClock>);

impl core::fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("SharedClock")
    }
}

impl Default for SharedClock {
    fn default() -> Self {
        Self(std::sync::Arc::new(TokioClock::default()))
    }
}

impl Clock for SharedClock {
    fn now(&self) -> Instant {
        self.0.now()
    }

    async fn wait_until(&self, deadline: Instant) {
        self.0.wait_until(deadline).await;
    }

    fn jitter(&self) -> u32 {
        self.0.jitter()
    }
}
