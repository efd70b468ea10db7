//! Text to the host's console, without core::fmt, which would cost more flash than all the rest of the board support.

use semihosting::sys::arm_compat::sys_writec;

/// Prints each piece, and ends the line.
pub fn print(pieces: &[&str]) {
    for piece in pieces {
        text(piece);
    }
    text("\n");
}

/// Prints a text as it is.
pub fn text(text: &str) {
    text.bytes().for_each(sys_writec);
}

/// Prints a number.
pub fn number(mut number: u32) {
    let mut digits = [0; 10];
    let mut len = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        len += 1;
        if number == 0 {
            break;
        }
    }
    digits[digits.len() - len..].iter().copied().for_each(sys_writec);
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    text("panic");
    if let Some(location) = info.location() {
        text(" at ");
        text(location.file());
        text(":");
        number(location.line());
    }
    text("\n");
    crate::host::exit(101)
}

/// A fault ends the emulation too. One for want of stack does not get here: there is no stack to enter by, and QEMU gives up.
#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    text("fault at ");
    number(frame.pc());
    text("\n");
    crate::host::exit(103)
}
