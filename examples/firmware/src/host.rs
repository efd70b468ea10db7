//! What an image has of the host by semihosting instead of by hardware: arguments, the date,
//! randomness, and a way to end.

use core::mem::MaybeUninit;

use semihosting::sys::arm_compat::{
    OpenMode, sys_get_cmdline_uninit, sys_open, sys_read_orig, sys_time,
};
#[cfg(feature = "tls")]
use toolrunner_embassy::tls::{Entropy, EntropyFailed, WallClock};

/// Ends the emulation with this exit code.
pub fn exit(code: i32) -> ! {
    semihosting::process::exit(code)
}

/// The command line: the words given by `arg=` after `-semihosting-config`, parted by spaces, in
/// `buffer`.
pub fn command_line(buffer: &mut [MaybeUninit<u8>]) -> &str {
    sys_get_cmdline_uninit(buffer)
        .ok()
        .and_then(|line| core::str::from_utf8(line).ok())
        .unwrap_or_default()
}

/// Fills `bytes` from the host's source of randomness.
pub fn random(bytes: &mut [u8]) -> bool {
    use semihosting::fd::AsFd as _;
    let Ok(source) = sys_open(c"/dev/urandom", OpenMode::RDONLY_BINARY) else {
        return false;
    };
    // What is answered is how much is missing.
    matches!(sys_read_orig(source.as_fd(), bytes), Ok(0))
}

/// Seconds since 1970, from the host.
pub fn unix_seconds() -> Option<u64> {
    sys_time().ok().map(|seconds| seconds as u64)
}

/// The host as a board's clock and source of randomness.
#[derive(Clone, Copy)]
pub struct Host;

#[cfg(feature = "tls")]
impl Entropy for Host {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailed> {
        if random(bytes) { Ok(()) } else { Err(EntropyFailed) }
    }
}

#[cfg(feature = "tls")]
impl WallClock for Host {
    fn unix_seconds(&self) -> Option<u64> {
        unix_seconds()
    }
}
