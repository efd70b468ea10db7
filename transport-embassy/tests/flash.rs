//! Snapshots in a flash that loses its power at any byte.
#![cfg(feature = "flash")]

use embassy_futures::block_on;
use embedded_storage_async::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};
use toolrunner_embassy::flash::{FlashError, SnapshotStore};

const SECTOR: usize = 512;

/// A flash whose bytes can be written once after they were erased, and whose power goes after so
/// many bytes written or erased.
#[derive(Clone, Debug)]
struct Flash<const WORD: usize> {
    bytes: Vec<u8>,
    power: usize,
    used: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failed {
    Power,
    /// A rule of flash was broken: a test's own fault, or the store's.
    Rule(&'static str),
}

impl NorFlashError for Failed {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl<const WORD: usize> Flash<WORD> {
    fn new() -> Self {
        Self { bytes: vec![0xa5; 4 * SECTOR], power: usize::MAX, used: 0 }
    }

    fn step(&mut self) -> Result<(), Failed> {
        if self.used == self.power {
            return Err(Failed::Power);
        }
        self.used += 1;
        Ok(())
    }
}

impl<const WORD: usize> ErrorType for Flash<WORD> {
    type Error = Failed;
}

impl<const WORD: usize> ReadNorFlash for Flash<WORD> {
    const READ_SIZE: usize = WORD;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Failed> {
        let at = offset as usize;
        if !at.is_multiple_of(WORD) || !bytes.len().is_multiple_of(WORD) {
            return Err(Failed::Rule("aligned reads"));
        }
        bytes.copy_from_slice(
            self.bytes.get(at..at + bytes.len()).ok_or(Failed::Rule("reads within"))?,
        );
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const WORD: usize> NorFlash for Flash<WORD> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = SECTOR;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Failed> {
        if !(from as usize).is_multiple_of(SECTOR) || !(to as usize).is_multiple_of(SECTOR) {
            return Err(Failed::Rule("aligned erases"));
        }
        for at in from as usize..to as usize {
            self.step()?;
            self.bytes[at] = 0xff;
        }
        Ok(())
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Failed> {
        let at = offset as usize;
        if !at.is_multiple_of(WORD) || !bytes.len().is_multiple_of(WORD) {
            return Err(Failed::Rule("aligned writes"));
        }
        for (place, byte) in (at..).zip(bytes) {
            if self.bytes[place] != 0xff {
                return Err(Failed::Rule("writes to erased bytes"));
            }
            self.step()?;
            self.bytes[place] = *byte;
        }
        Ok(())
    }
}

fn store<const WORD: usize>(flash: Flash<WORD>) -> SnapshotStore<Flash<WORD>> {
    SnapshotStore::new(flash, SECTOR as u32, SECTOR as u32).expect("a layout")
}

fn load<const WORD: usize>(store: &mut SnapshotStore<Flash<WORD>>) -> Option<Vec<u8>> {
    let mut buffer = [0; SECTOR];
    block_on(store.load(&mut buffer)).expect("a flash that reads").map(|len| buffer[..len].to_vec())
}

fn cut_at_every_byte<const WORD: usize>() {
    let (old, new, next): (Vec<u8>, Vec<u8>, Vec<u8>) =
        ((0..200).collect(), (50..211).collect(), vec![7; 448]);
    // With no snapshot before, with one, and with both slots full.
    for before in 0..3 {
        let mut power = 0;
        loop {
            let mut flash = Flash::<WORD>::new();
            for _ in 0..before {
                let mut store = store(flash);
                block_on(store.save(&old)).expect("power");
                flash = store.free();
            }
            (flash.used, flash.power) = (0, power);
            let mut cut = store(flash);
            let saved = block_on(cut.save(&new));
            // The board starts again.
            let mut flash = cut.free();
            flash.power = usize::MAX;
            let mut again = store(flash);
            let found = load(&mut again);
            match saved {
                Ok(()) => assert_eq!(found.as_ref(), Some(&new)),
                Err(FlashError::Flash(Failed::Power)) => {
                    let expected = if before == 0 { None } else { Some(&old) };
                    // Cut in the last word's padding, the new one may be whole already.
                    assert!(
                        found.as_ref() == expected || found.as_ref() == Some(&new),
                        "cut at {power}: {found:?}"
                    );
                }
                Err(other) => panic!("cut at {power}: {other:?}"),
            }
            block_on(again.save(&next)).expect("power");
            assert_eq!(load(&mut again).as_ref(), Some(&next));
            if saved.is_ok() {
                break;
            }
            power += 1;
        }
        assert!(power > SECTOR, "every byte was tried");
    }
}

#[test]
fn a_power_cut_at_every_byte() {
    cut_at_every_byte::<1>();
    cut_at_every_byte::<4>();
    cut_at_every_byte::<32>();
}

#[test]
fn a_flipped_bit_is_noticed() {
    let mut first = store(Flash::<4>::new());
    block_on(first.save(b"one")).expect("power");
    block_on(first.save(b"two")).expect("power");
    let flash = first.free();
    // The second slot has the newer one.
    for at in 2 * SECTOR..2 * SECTOR + 67 {
        let mut flash = flash.clone();
        flash.bytes[at] ^= 1;
        let padding = (16..64).contains(&(at - 2 * SECTOR));
        assert_eq!(
            load(&mut store(flash)).as_deref(),
            Some(if padding { &b"two"[..] } else { b"one" }),
            "byte {at}"
        );
    }
}

#[test]
fn capacity_and_layout() {
    let mut full = store(Flash::<4>::new());
    assert_eq!(full.capacity(), SECTOR - 64);
    let Err(FlashError::Capacity(capacity)) = block_on(full.save(&[0; SECTOR - 63])) else {
        panic!("too large")
    };
    assert_eq!((capacity.needed, capacity.free), (SECTOR - 63, SECTOR - 64));
    block_on(full.save(&[1; SECTOR - 64])).expect("it fits");
    let Err(FlashError::Capacity(capacity)) = block_on(full.load(&mut [0; 100])) else {
        panic!("too small")
    };
    assert_eq!((capacity.needed, capacity.free), (SECTOR - 64, 100));
    for (start, slot) in [(1, 512), (0, 0), (0, 100), (1024, 1024), (u32::MAX - 511, 512)] {
        assert!(
            matches!(SnapshotStore::new(Flash::<4>::new(), start, slot), Err(FlashError::Layout)),
            "{start} {slot}"
        );
    }
}
