//! Text output on the host's console. With the feature `quiet` there is no output, and no
//! formatting code is linked.

/// Prints text, with the syntax of `write!`. Compiled out with the feature `quiet`.
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

/// Prints a number without core::fmt, even with the feature `quiet`.
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

/// Implements [`print!`](crate::print).
pub fn write(text: core::fmt::Arguments<'_>) {
    let _ = core::fmt::Write::write_fmt(&mut Console, text);
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    print!("{info}\n");
    crate::host::exit(101)
}

/// Ends the emulation after a fault. A stack overflow does not get here, because the handler cannot
/// be entered without stack: QEMU aborts.
#[cfg(target_arch = "arm")]
#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    print!("fault at {:#x}\n", frame.pc());
    crate::host::exit(103)
}
