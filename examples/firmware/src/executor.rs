//! The executor of these images, which adds up the time in which there was nothing to do: what is
//! left is what the work cost. A product takes embassy-executor's own (its feature
//! `executor-thread`), which sleeps by WFE; QEMU does not sleep there.

use core::cell::Cell;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, Ordering};

use critical_section::Mutex;
use embassy_executor::{Spawner, raw};

use crate::time;

/// Whether a task was woken since tasks were polled last.
static WOKEN: AtomicBool = AtomicBool::new(false);
static ASLEEP: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

#[unsafe(export_name = "__pender")]
fn pend(_: *mut ()) {
    WOKEN.store(true, Ordering::Relaxed);
}

/// Runs tasks, and sleeps between.
pub struct Executor {
    inner: raw::Executor,
    not_send: PhantomData<*mut ()>,
}

impl Executor {
    /// An executor without tasks.
    #[expect(clippy::new_without_default, reason = "it is embassy_executor::main that makes one")]
    pub fn new() -> Self {
        Self { inner: raw::Executor::new(core::ptr::null_mut()), not_send: PhantomData }
    }

    /// Runs what `init` spawns, for ever.
    pub fn run(&'static mut self, init: impl FnOnce(Spawner)) -> ! {
        init(self.inner.spawner());
        loop {
            WOKEN.store(false, Ordering::Relaxed);
            // SAFETY: this is the only call, from one thread, and no task makes it again from
            // within.
            unsafe { self.inner.poll() };
            // With interrupts off one that comes in between still ends the sleep, and its handler
            // runs right after.
            critical_section::with(|cs| {
                if !WOKEN.load(Ordering::Relaxed) {
                    let from = time::cycles();
                    cortex_m::asm::wfi();
                    let asleep = ASLEEP.borrow(cs);
                    asleep.set(asleep.get() + (time::cycles() - from));
                }
            });
        }
    }
}

/// Processor cycles since the clock was started in which there was something to do.
pub fn busy() -> u32 {
    critical_section::with(|cs| time::cycles() - ASLEEP.borrow(cs).get()) as u32
}
