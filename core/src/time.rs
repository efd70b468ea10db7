//! Time as an argument: the core reads no clock and generates no random numbers.

use core::time::Duration;

/// A point in time, in microseconds since an origin that the owner of the clock chooses. It never
/// decreases.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant(u64);

impl Instant {
    /// The origin of the clock.
    pub const ZERO: Self = Self(0);

    /// Creates the instant `micros` microseconds after the clock's origin.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Returns the microseconds since the clock's origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Returns the instant `wait` after this one. It saturates at the latest instant that can be
    /// represented.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(micros(wait)))
    }

    /// Returns the time from `earlier` to this instant, or zero if this instant is not later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Returns the duration in microseconds, saturating at `u64::MAX`. Not inlined: on a chip, 64-bit
/// multiplication takes many instructions, so one copy serves all callers.
#[inline(never)]
pub(crate) fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_micros()))
}

/// The environment of a driver besides its transport: the current time, a timer, and a number that
/// is hard to predict.
#[allow(
    async_fn_in_trait,
    reason = "a driver is generic over its clock, so whether its future is Send follows from the clock's"
)]
pub trait Clock {
    /// Returns the current time.
    fn now(&self) -> Instant;

    /// Waits until `deadline`, or returns immediately if it has passed. The future may be dropped
    /// at any time.
    async fn wait_until(&self, deadline: Instant);

    /// Returns any number, for the jitter of a backoff. It is not used for secrets.
    fn jitter(&self) -> u32;
}

impl<C: Clock + ?Sized> Clock for &C {
    fn now(&self) -> Instant {
        (**self).now()
    }

    async fn wait_until(&self, deadline: Instant) {
        (**self).wait_until(deadline).await;
    }

    fn jitter(&self) -> u32 {
        (**self).jitter()
    }
}
