//! Text to the host's console. With the feature `quiet` there is none, and nothing that would make
//! text is linked.

/// Prints as `write!` does. Compiled out with the feature `quiet`.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => {
        if !cfg!(feature = "quiet") {
            $crate::console::write(format_args!($($text)*));
        }
    };
}

struct Console;

impl core::fmt::Write for Console {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        text.bytes().for_each(semihosting::sys::arm_compat::sys_writec);
        Ok(())
    }
}

/// Prints a figure, with the feature `quiet` too, and without core::fmt.
pub fn number(name: &str, mut number: u32) {
    let mut digits = [b'\n'; 11];
    let mut len = 1;
    for digit in digits[..10].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        len += 1;
        if number == 0 {
            break;
        }
    }
    name.bytes()
        .chain(digits[digits.len() - len..].iter().copied())
        .for_each(semihosting::sys::arm_compat::sys_writec);
}

/// What [`print!`](crate::print) calls.
pub fn write(text: core::fmt::Arguments<'_>) {
    let _ = core::fmt::Write::write_fmt(&mut Console, text);
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    print!("{info}\n");
    crate::host::exit(101)
}

/// A fault ends the emulation too. One for want of stack does not get here: there is no stack to
/// enter by, and QEMU gives up.
#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    print!("fault at {:#x}\n", frame.pc());
    crate::host::exit(103)
}
