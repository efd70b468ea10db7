//! A flash whose contents are a file of the host, so that they survive power-off, and whose power
//! can fail.

use core::cell::Cell;
use core::ffi::CStr;

use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use semihosting::fd::{AsFd as _, OwnedFd};
use semihosting::sys::arm_compat::{
    OpenMode, sys_flen, sys_open, sys_read_orig, sys_seek, sys_write_orig,
};

use crate::{host, print};

/// The number of bytes that are erased at once, as in the LM3S6965.
pub const SECTOR: usize = 1024;
/// The number of bytes that are written at once.
const WORD: usize = 4;

/// A flash with the size of its file. Erased bytes are 0xff, and each word can be written once
/// after it was erased.
pub struct HostFlash<'p> {
    file: OwnedFd,
    capacity: usize,
    power: &'p Cell<u32>,
}

impl<'p> HostFlash<'p> {
    /// Opens the flash in the file at `path`. `power` is the number of words that can be written
    /// before the power fails and the emulation ends successfully.
    ///
    /// # Errors
    /// Returns `Other` if the file cannot be opened.
    pub fn open(path: &CStr, power: &'p Cell<u32>) -> Result<Self, NorFlashErrorKind> {
        let file = sys_open(path, OpenMode::RDWR_BINARY).map_err(|_| NorFlashErrorKind::Other)?;
        let capacity = sys_flen(file.as_fd()).map_err(|_| NorFlashErrorKind::Other)?;
        Ok(Self { file, capacity, power })
    }

    /// Seeks to a range of `len` bytes, which must be within the flash and aligned to `unit` at
    /// both ends.
    fn seek(&mut self, offset: u32, len: usize, unit: usize) -> Result<(), NorFlashErrorKind> {
        let at = offset as usize;
        if len > self.capacity || at > self.capacity - len {
            return Err(NorFlashErrorKind::OutOfBounds);
        }
        if !at.is_multiple_of(unit) || !len.is_multiple_of(unit) {
            return Err(NorFlashErrorKind::NotAligned);
        }
        // SAFETY: `at` is within the file, whose length does not change.
        unsafe { sys_seek(self.file.as_fd(), at) }.map_err(|_| NorFlashErrorKind::Other)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        // The result is the number of bytes that are missing.
        if matches!(sys_write_orig(self.file.as_fd(), bytes), Ok(0)) {
            Ok(())
        } else {
            Err(NorFlashErrorKind::Other)
        }
    }
}

impl ErrorType for HostFlash<'_> {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for HostFlash<'_> {
    const READ_SIZE: usize = WORD;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        self.seek(offset, bytes.len(), WORD)?;
        if matches!(sys_read_orig(self.file.as_fd(), bytes), Ok(0)) {
            Ok(())
        } else {
            Err(NorFlashErrorKind::Other)
        }
    }

    fn capacity(&self) -> usize {
        self.capacity
    }
}

impl NorFlash for HostFlash<'_> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        let len = to.checked_sub(from).ok_or(NorFlashErrorKind::OutOfBounds)? as usize;
        self.seek(from, len, SECTOR)?;
        for _ in 0..len / 64 {
            self.put(&[0xff; 64])?;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        for (at, word) in (offset..).step_by(WORD).zip(bytes.chunks(WORD)) {
            let mut erased = [0; WORD];
            self.read(at, &mut erased).await?;
            if erased != [0xff; WORD] {
                return Err(NorFlashErrorKind::Other);
            }
            let Some(power) = self.power.get().checked_sub(1) else {
                print!("(the power goes)\n");
                host::exit(0)
            };
            self.power.set(power);
            self.seek(at, word.len(), WORD)?;
            self.put(word)?;
        }
        Ok(())
    }
}
