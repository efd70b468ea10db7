//! The clock of a run: the system's, with timers on one thread for the whole process.

use core::hash::BuildHasher;
use core::time::Duration;
use std::hash::RandomState;

use futures_timer::Delay;
use toolrunner_core::time::{Clock, Instant};

/// The system's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock(std::time::Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(std::time::Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        Instant::ZERO.after(self.0.elapsed())
    }

    async fn wait_until(&self, deadline: Instant) {
        loop {
            let left = deadline.since(self.now());
            if left.is_zero() {
                return;
            }
            // A timer never fires earlier than it was asked for by more than its resolution.
            Delay::new(left.max(Duration::from_millis(1))).await;
        }
    }

    fn jitter(&self) -> u32 {
        // The keys of each new hasher differ from those of the previous one.
        u32::try_from(RandomState::new().hash_one(0) & 0xffff_ffff).unwrap_or(0)
    }
}
