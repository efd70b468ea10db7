//! The executor of these images. It measures the idle time; the remaining time is the cost of the
//! work. A product uses embassy-executor's own executor (its feature `executor-thread`), which
//! sleeps with WFE; QEMU does not sleep there.

use core::cell::Cell;
use core::marker::PhantomData;
use core::sync::atomic::{AtomicBool, Ordering};

use critical_section::Mutex;
use embassy_executor::{Spawner, raw};

use crate::time;

/// Whether a task was woken since the last poll.
static WOKEN: AtomicBool = AtomicBool::new(false);
static ASLEEP: Mutex<Cell<u64>> = Mutex::new(Cell::new(0));

#[unsafe(export_name = "__pender")]
fn pend(_: *mut ()) {
    WOKEN.store(true, Ordering::Relaxed);
}

/// Runs tasks, and sleeps while there is nothing to do.
pub struct Executor {
    inner: raw::Executor,
    not_send: PhantomData<*mut ()>,
}

impl Executor {
    /// Creates an executor without tasks.
    #[expect(clippy::new_without_default, reason = "it is embassy_executor::main that makes one")]
    pub fn new() -> Self {
        Self { inner: raw::Executor::new(core::ptr::null_mut()), not_send: PhantomData }
    }

    /// Runs the tasks that `init` spawns, forever.
    pub fn run(&'static mut self, init: impl FnOnce(Spawner)) -> ! {
        init(self.inner.spawner());
        loop {
            WOKEN.store(false, Ordering::Relaxed);
            // SAFETY: this is the only call, from one thread, and no task calls it recursively.
            unsafe { self.inner.poll() };
            // With interrupts disabled, an interrupt that arrives in between still ends the sleep,
            // and its handler runs right after.
            critical_section::with(|cs| {
                if !WOKEN.load(Ordering::Relaxed) {
                    let from = time::cycles();
                    #[cfg(target_arch = "arm")]
                    cortex_m::asm::wfi();
                    #[cfg(target_arch = "riscv32")]
                    riscv::asm::wfi();
                    let asleep = ASLEEP.borrow(cs);
                    asleep.set(asleep.get() + (time::cycles() - from));
                }
            });
        }
    }
}

/// Returns the processor cycles since the clock's start during which there was something to do.
pub fn busy() -> u32 {
    critical_section::with(|cs| time::cycles() - ASLEEP.borrow(cs).get()) as u32
}
