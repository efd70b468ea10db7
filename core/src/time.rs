//! Time as an argument: the core reads no clock and draws no random number.

use core::time::Duration;

/// A point in time, in microseconds since some start that the clock's owner chose. It never goes
/// back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant(u64);

impl Instant {
    /// The clock's start.
    pub const ZERO: Self = Self(0);

    /// The instant `micros` microseconds after the clock's start.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// Microseconds since the clock's start.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// This instant and `wait` later; at most the last instant there is.
    pub fn after(self, wait: Duration) -> Self {
        Self(self.0.saturating_add(micros(wait)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Microseconds, at most those that 64 bits hold. One function for all: a chip multiplies and
/// divides such numbers piece by piece.
#[inline(never)]
pub(crate) fn micros(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000).saturating_add(u64::from(duration.subsec_micros()))
}

/// What a driver needs of the world besides a transport: the time, a wait, and a number nobody can
/// guess.
#[allow(
    async_fn_in_trait,
    reason = "a driver is generic over its clock, so whether its future is Send follows from the clock's"
)]
pub trait Clock {
    /// The time now.
    fn now(&self) -> Instant;

    /// Waits until `deadline`; returns at once if it is past. May be dropped at any time.
    async fn wait_until(&self, deadline: Instant);

    /// Any number, for the jitter of a backoff. Not used for anything secret.
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
