//! embassy-time's driver on the machine timer of the RISC-V machine "virt", with one interrupt per
//! millisecond. The interrupt also lets the network driver look for frames.

use core::cell::RefCell;
use core::task::Waker;

use critical_section::Mutex;
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

/// Registers of the core-local interruptor, for the first hart.
const COMPARE: u32 = 0x0200_4000;
const TIME: u32 = 0x0200_bff8;

/// Ticks of the machine timer per tick of embassy-time.
const TICK: u64 = crate::board::CLOCK_HZ as u64 / TICK_HZ;

struct MachineTimer {
    queue: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static DRIVER: MachineTimer = MachineTimer {
    queue: Mutex::new(RefCell::new(Queue::new())),
});

impl Driver for MachineTimer {
    fn now(&self) -> u64 {
        cycles() / TICK
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        // The next interrupt is at most a tick away, so it need not be moved.
        critical_section::with(|cs| self.queue.borrow_ref_mut(cs).schedule_wake(at, waker));
    }
}

#[riscv_rt::core_interrupt(riscv::interrupt::Interrupt::MachineTimer)]
fn machine_timer() {
    compare(cycles() + TICK);
    critical_section::with(|cs| {
        DRIVER.queue.borrow_ref_mut(cs).next_expiration(DRIVER.now());
    });
    crate::board::wake();
}

fn register(address: u32) -> *mut u32 {
    address as *mut u32
}

/// Returns the ticks of the machine timer since the start.
pub fn cycles() -> u64 {
    loop {
        // SAFETY: the timer's registers may be read at any time.
        let (high, low, again) = unsafe {
            (
                register(TIME + 4).read_volatile(),
                register(TIME).read_volatile(),
                register(TIME + 4).read_volatile(),
            )
        };
        if high == again {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

fn compare(at: u64) {
    // SAFETY: the registers only determine the time of the next interrupt. The first write keeps it
    // from happening in between.
    unsafe {
        register(COMPARE + 4).write_volatile(u32::MAX);
        register(COMPARE).write_volatile(at as u32);
        register(COMPARE + 4).write_volatile((at >> 32) as u32);
    }
}

/// Starts the clock.
pub fn start() {
    compare(cycles() + TICK);
    // SAFETY: the handler shares only the contents of critical sections with the code that it
    // interrupts, and this is not called in one.
    unsafe {
        riscv::register::mie::set_mtimer();
        riscv::interrupt::enable();
    }
}
