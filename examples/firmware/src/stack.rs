//! Measures the maximum depth of the stack.

unsafe extern "C" {
    static _stack_end: u32;
}

/// The value of unused stack words.
const PAINT: u32 = 0xdead_c0de;
/// The number of words between the current frame and the deepest point of [`paint`] itself, with a
/// margin.
const MARGIN: u32 = 64;

/// Fills the stack below the current frame with [`PAINT`].
#[inline(never)]
pub fn paint() {
    let end = (&raw const _stack_end) as u32;
    let here = pointer() - MARGIN * 4;
    let mut address = end;
    while address < here {
        // SAFETY: the memory from the stack's end to well below the current frame is unused. No
        // interrupt's frame outlives its handler, and a handler that runs now uses memory below
        // `here` only while it runs.
        unsafe { (address as *mut u32).write_volatile(PAINT) };
        address += 4;
    }
}

/// Returns the bytes of the stack that have been used since [`paint`].
pub fn deepest() -> u32 {
    let mut address = (&raw const _stack_end) as u32;
    // SAFETY: reads only the stack's memory, all of which is mapped; the loop ends at the current
    // frame at the latest.
    while unsafe { (address as *const u32).read_volatile() } == PAINT {
        address += 4;
    }
    start() - address
}

fn start() -> u32 {
    unsafe extern "C" {
        static _stack_start: u32;
    }
    (&raw const _stack_start) as u32
}

#[cfg(target_arch = "arm")]
fn pointer() -> u32 {
    cortex_m::register::msp::read()
}

#[cfg(target_arch = "riscv32")]
fn pointer() -> u32 {
    let pointer;
    // SAFETY: the instruction only copies a register.
    unsafe { core::arch::asm!("mv {}, sp", out(reg) pointer) };
    pointer
}
