//! embassy-time's driver on SysTick, with one tick per millisecond.

use core::cell::RefCell;
use core::task::Waker;

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m::peripheral::{SCB, SYST};
use critical_section::Mutex;
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

struct SysTick {
    state: Mutex<RefCell<State>>,
}

struct State {
    now: u64,
    next: u64,
    queue: Queue,
}

embassy_time_driver::time_driver_impl!(static DRIVER: SysTick = SysTick {
    state: Mutex::new(RefCell::new(State { now: 0, next: u64::MAX, queue: Queue::new() })),
});

impl Driver for SysTick {
    fn now(&self) -> u64 {
        critical_section::with(|cs| self.state.borrow_ref(cs).now)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            let mut state = self.state.borrow_ref_mut(cs);
            if state.queue.schedule_wake(at, waker) {
                let now = state.now;
                state.next = state.queue.next_expiration(now);
            }
        });
    }
}

#[cortex_m_rt::exception]
fn SysTick() {
    critical_section::with(|cs| {
        let mut state = DRIVER.state.borrow_ref_mut(cs);
        state.now += 1;
        if state.now >= state.next {
            let now = state.now;
            state.next = state.queue.next_expiration(now);
        }
    });
}

/// Processor cycles per tick.
const TICK: u32 = crate::board::CLOCK_HZ / TICK_HZ as u32;

/// Returns the processor cycles since the start. Must be called with interrupts disabled.
pub fn cycles() -> u64 {
    let (first, is_pending, second) =
        (SYST::get_current(), SCB::is_pendst_pending(), SYST::get_current());
    // A tick is pending and not counted yet. It may have arrived after the first read of the
    // counter.
    let (ticks, left) = if is_pending { (DRIVER.now() + 1, second) } else { (DRIVER.now(), first) };
    ticks * u64::from(TICK) + u64::from(TICK - 1 - left)
}

/// Starts the clock.
pub fn start(mut systick: SYST) {
    systick.set_reload(TICK - 1);
    systick.set_clock_source(SystClkSource::Core);
    systick.clear_current();
    systick.enable_counter();
    systick.enable_interrupt();
}
