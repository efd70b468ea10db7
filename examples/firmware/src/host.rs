//! Services of the host that replace hardware, through semihosting: arguments, the date,
//! randomness, and a way to exit.

use core::mem::MaybeUninit;

use semihosting::sys::arm_compat::{
    OpenMode, sys_get_cmdline_uninit, sys_open, sys_read_orig, sys_time,
};
#[cfg(feature = "tls")]
use toolrunner_embassy::tls::{Entropy, EntropyError, WallClock};

/// Ends the emulation with this exit code.
pub fn exit(code: i32) -> ! {
    semihosting::process::exit(code)
}

/// Reads the command line into `buffer`: the words given with `arg=` after `-semihosting-config`,
/// separated by spaces.
pub fn command_line(buffer: &mut [MaybeUninit<u8>]) -> &str {
    sys_get_cmdline_uninit(buffer)
        .ok()
        .and_then(|line| core::str::from_utf8(line).ok())
        .unwrap_or_default()
}

/// Fills `bytes` from the host's source of randomness. Returns whether that succeeded.
pub fn random(bytes: &mut [u8]) -> bool {
    use semihosting::fd::AsFd as _;
    let Ok(source) = sys_open(c"/dev/urandom", OpenMode::RDONLY_BINARY) else {
        return false;
    };
    // The result is the number of bytes that are missing.
    matches!(sys_read_orig(source.as_fd(), bytes), Ok(0))
}

/// Returns the host's time in seconds since 1970.
pub fn unix_seconds() -> Option<u64> {
    sys_time().ok().map(|seconds| seconds as u64)
}

/// Provides the host's clock and source of randomness to a board.
#[derive(Clone, Copy)]
pub struct Host;

#[cfg(feature = "tls")]
impl Entropy for Host {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        if random(bytes) { Ok(()) } else { Err(EntropyError) }
    }
}

#[cfg(feature = "tls")]
impl WallClock for Host {
    fn unix_seconds(&self) -> Option<u64> {
        unix_seconds()
    }
}
