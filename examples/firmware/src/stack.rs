//! How deep the stack was.

unsafe extern "C" {
    static _stack_end: u32;
}

/// What untouched stack is full of.
const PAINT: u32 = 0xdead_c0de;
/// What lies between here and the deepest point of [`paint`] itself, in words, with room to spare.
const MARGIN: u32 = 64;

/// Paints what is below the current frame.
#[inline(never)]
pub fn paint() {
    let end = (&raw const _stack_end) as u32;
    let here = cortex_m::register::msp::read() - MARGIN * 4;
    let mut address = end;
    while address < here {
        // SAFETY: from the stack's end to well below the current frame nothing is in use: no
        // interrupt's frame survives its handler, and one that comes now is below `here` only while
        // it runs.
        unsafe { (address as *mut u32).write_volatile(PAINT) };
        address += 4;
    }
}

/// Bytes of the stack that were ever used since [`paint`].
pub fn deepest() -> u32 {
    let mut address = (&raw const _stack_end) as u32;
    // SAFETY: reads of the stack's memory, which is all mapped; the loop ends at the current frame
    // at the latest.
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
