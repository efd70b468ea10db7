//! Time for a run: tokio's, or another runtime's.

use core::hash::BuildHasher;
use core::pin::Pin;
use core::time::Duration;
use std::hash::RandomState;

use toolrunner_core::time::{Clock, Instant};

/// The future of [`DynClock::wait_until`].
pub type Waiting<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// The object-safe twin of [`Clock`].
pub trait DynClock: Send + Sync + 'static {
    /// The time now.
    fn now(&self) -> Instant;
    /// Waits until `deadline`.
    fn wait_until(&self, deadline: Instant) -> Waiting<'_>;
    /// Any number.
    fn jitter(&self) -> u32;
}

/// tokio's clock: must be waited on inside its runtime.
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

    fn wait_until(&self, deadline: Instant) -> Waiting<'_> {
        Box::pin(tokio::time::sleep_until(self.start + Duration::from_micros(deadline.as_micros())))
    }

    fn jitter(&self) -> u32 {
        // The keys of a new hasher differ from those of the last.
        let number = RandomState::new().hash_one(0);
        u32::try_from(number & 0xffff_ffff).unwrap_or(0)
    }
}

/// A clock that others look at too: a test's, say.
impl<C: DynClock + ?Sized> DynClock for std::sync::Arc<C> {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn wait_until(&self, deadline: Instant) -> Waiting<'_> {
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

    fn wait_until(&self, deadline: Instant) -> Waiting<'_> {
        Box::pin(Clock::wait_until(self, deadline))
    }

    fn jitter(&self) -> u32 {
        Clock::jitter(self)
    }
}

/// A shared clock, as the core takes it.
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

impl SharedClock {
    pub(crate) fn now(&self) -> Instant {
        self.0.now()
    }

    pub(crate) fn jitter(&self) -> u32 {
        self.0.jitter()
    }

    pub(crate) fn wait_until(&self, deadline: Instant) -> Waiting<'_> {
        self.0.wait_until(deadline)
    }
}
