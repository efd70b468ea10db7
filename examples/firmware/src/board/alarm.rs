//! An interrupt after a given time, from timer 0 of the LM3S6965 (data sheet, chapter
//! "General-Purpose Timers").

use core::cell::Cell;

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;
use critical_section::Mutex;

use super::{CLOCK_HZ, write};

const INTERRUPT: u16 = 19;
const RUN_MODE_CLOCK_GATING: u32 = 0x400f_e104;
const TIMER_0: u32 = 1 << 16;
const BASE: u32 = 0x4003_0000;
const CONFIGURATION: u32 = BASE;
const MODE: u32 = BASE + 0x04;
const CONTROL: u32 = BASE + 0x0c;
const INTERRUPT_MASK: u32 = BASE + 0x18;
const INTERRUPT_CLEAR: u32 = BASE + 0x24;
const INTERVAL: u32 = BASE + 0x28;
/// The timer's timeout, in the registers that mask and clear interrupts; also its enable bit.
const TIME_OUT: u32 = 1;

/// A 32-bit timer.
const WHOLE: u32 = 0;
const ONE_SHOT: u32 = 1;

static HANDLER: Mutex<Cell<Option<fn()>>> = Mutex::new(Cell::new(None));

#[derive(Clone, Copy)]
struct Line;

// SAFETY: the number is the timer's interrupt line on the only board that this module supports.
unsafe impl InterruptNumber for Line {
    fn number(self) -> u16 {
        INTERRUPT
    }
}

/// Calls `handler` once in an interrupt after `millis` milliseconds (at most 340,000).
pub fn after_millis(millis: u32, handler: fn()) {
    critical_section::with(|cs| HANDLER.borrow(cs).set(Some(handler)));
    write(RUN_MODE_CLOCK_GATING, TIMER_0);
    write(CONTROL, 0);
    write(CONFIGURATION, WHOLE);
    write(MODE, ONE_SHOT);
    write(INTERVAL, CLOCK_HZ / 1000 * millis);
    write(INTERRUPT_MASK, TIME_OUT);
    write(CONTROL, TIME_OUT);
    // SAFETY: the handler shares only the contents of the critical section with the code that it
    // interrupts.
    unsafe { NVIC::unmask(Line) };
}

/// Handles the interrupt if it is the timer's. Returns whether it was.
pub(super) fn handles(interrupt: i16) -> bool {
    let is_own = interrupt == INTERRUPT.cast_signed();
    if is_own {
        write(INTERRUPT_CLEAR, TIME_OUT);
        if let Some(handler) = critical_section::with(|cs| HANDLER.borrow(cs).take()) {
            handler();
        }
    }
    is_own
}
