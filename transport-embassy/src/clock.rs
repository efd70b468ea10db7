//! The core's clock, implemented by embassy-time, and the date.

use core::cell::Cell;

use embassy_time::Timer;
use toolrunner_core::time::{Clock, Instant};

/// The clock of embassy-time, which counts from the start of the board.
#[derive(Debug)]
pub struct EmbassyClock {
    state: Cell<u32>,
}

impl EmbassyClock {
    /// Creates a clock whose jitter is seeded with `seed`. Give the boards of one fleet different
    /// seeds (a serial number is enough), so that they do not all retry at the same moment after an
    /// outage.
    pub const fn new(seed: u32) -> Self {
        Self { state: Cell::new(seed) }
    }
}

impl Clock for EmbassyClock {
    fn now(&self) -> Instant {
        Instant::from_micros(embassy_time::Instant::now().as_micros())
    }

    async fn wait_until(&self, deadline: Instant) {
        Timer::at(embassy_time::Instant::from_micros(deadline.as_micros())).await;
    }

    /// Returns the next value of a Weyl sequence, passed through a mixing function (splitmix32).
    fn jitter(&self) -> u32 {
        let state = self.state.get().wrapping_add(0x9e37_79b9);
        self.state.set(state);
        let mixed = (state ^ state >> 16).wrapping_mul(0x21f0_aaad);
        let mixed = (mixed ^ mixed >> 15).wrapping_mul(0x735a_2d97);
        mixed ^ mixed >> 15
    }
}

/// The date and time, used to check the validity of certificates.
pub trait WallClock {
    /// Returns the seconds since 1970-01-01 UTC, or `None` while the clock is not set. No server is
    /// trusted without the date.
    fn unix_seconds(&self) -> Option<u64>;
}

impl<C: WallClock + ?Sized> WallClock for &C {
    fn unix_seconds(&self) -> Option<u64> {
        (**self).unix_seconds()
    }
}
