//! A clock for tests, on which waits take no real time.

use alloc::vec::Vec;
use core::future::poll_fn;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use core::task::Poll;
use core::time::Duration;

use super::link::Rng;
use crate::time::{Clock, Instant};

/// The maximum number of waits that are recorded. Later waits are only counted.
const KEPT: usize = 256;
/// The maximum number of concurrent waits that are completed in the order of their deadlines.
const SLEEPERS: usize = 32;
const FREE: u64 = u64::MAX;
/// The number of polls of a wait before it may advance the time.
const PATIENCE: usize = 2;

/// A clock whose time advances only when somebody waits. It then jumps to the earliest deadline of
/// all waits. It records the waits.
///
/// Before a wait advances the time, it yields twice. Work that can continue without waiting runs
/// first. The driver polls twice for almost finished work before it starts a wait of its own, which
/// may be shorter. Threads can share this clock.
#[derive(Debug)]
pub struct VirtualClock {
    now: AtomicU64,
    sleepers: [AtomicU64; SLEEPERS],
    waits: [AtomicU64; KEPT],
    count: AtomicUsize,
    draws: AtomicU64,
    seed: u64,
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new(0)
    }
}

impl VirtualClock {
    /// Creates a clock at [`Instant::ZERO`]. `seed` determines its jitter.
    pub const fn new(seed: u64) -> Self {
        Self {
            now: AtomicU64::new(0),
            sleepers: [const { AtomicU64::new(FREE) }; SLEEPERS],
            waits: [const { AtomicU64::new(0) }; KEPT],
            count: AtomicUsize::new(0),
            draws: AtomicU64::new(0),
            seed,
        }
    }

    /// Advances the time by hand.
    pub fn advance(&self, by: Duration) {
        let now = self.now().after(by);
        self.now.fetch_max(now.as_micros(), Ordering::SeqCst);
    }

    /// Returns the requested length of each wait, in the order in which the waits began. At most
    /// 256 waits are recorded.
    pub fn waits(&self) -> Vec<Duration> {
        let kept = self.waits.iter().take(self.count.load(Ordering::SeqCst));
        kept.map(|micros| Duration::from_micros(micros.load(Ordering::SeqCst))).collect()
    }

    fn record(&self, wait: Duration) {
        let at = self.count.fetch_add(1, Ordering::SeqCst);
        if let Some(kept) = self.waits.get(at) {
            kept.store(u64::try_from(wait.as_micros()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }

    /// Returns whether no wait has an earlier deadline.
    fn is_next(&self, deadline: u64) -> bool {
        self.sleepers.iter().all(|other| other.load(Ordering::SeqCst) >= deadline)
    }
}

/// An entry in the list of waits. It is freed when the wait ends or is dropped.
struct Sleeper<'c> {
    place: Option<&'c AtomicU64>,
}

impl<'c> Sleeper<'c> {
    fn new(clock: &'c VirtualClock, deadline: u64) -> Self {
        let free = |place: &&AtomicU64| {
            place.compare_exchange(FREE, deadline, Ordering::SeqCst, Ordering::SeqCst).is_ok()
        };
        Self { place: clock.sleepers.iter().find(free) }
    }
}

impl Drop for Sleeper<'_> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            place.store(FREE, Ordering::SeqCst);
        }
    }
}

impl Clock for VirtualClock {
    fn now(&self) -> Instant {
        Instant::from_micros(self.now.load(Ordering::SeqCst))
    }

    async fn wait_until(&self, deadline: Instant) {
        if self.now() >= deadline {
            return;
        }
        self.record(deadline.since(self.now()));
        let sleeper = Sleeper::new(self, deadline.as_micros());
        let mut polls = 0;
        poll_fn(|cx| {
            if polls == PATIENCE && self.is_next(deadline.as_micros()) {
                self.now.fetch_max(deadline.as_micros(), Ordering::SeqCst);
            }
            if self.now() >= deadline {
                return Poll::Ready(());
            }
            polls = PATIENCE.min(polls + 1);
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        drop(sleeper);
    }

    fn jitter(&self) -> u32 {
        let draw = self.draws.fetch_add(1, Ordering::SeqCst);
        let number = Rng::new(self.seed.wrapping_add(draw)).next_u64();
        u32::try_from(number >> 32).unwrap_or(0)
    }
}
