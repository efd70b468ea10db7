//! Stores a snapshot in flash such that it survives a power cut at any moment.
//!
//! There are two slots, written alternately. A slot consists of a header (magic number, sequence
//! number, length, and a CRC-32 of the rest) and the snapshot. The header is written last: a slot
//! whose write was interrupted has no header, or one with a wrong checksum, and the other slot
//! still holds the previous snapshot. A snapshot may be any bytes; the caller must check that they
//! are of the version that the firmware expects.

use embedded_storage_async::nor_flash::NorFlash;
use toolrunner_core::error::{Capacity, CapacityKind};

/// The size of a header in bytes, before it is padded to the write size of the flash.
const HEADER: usize = 16;
const MAGIC: [u8; 4] = *b"TRS1";
/// The unit of reads and writes in bytes. Flash with larger words is not supported.
const CHUNK: usize = 64;

/// A store for one snapshot, in two slots of a flash.
#[derive(Debug)]
pub struct SnapshotStore<F> {
    flash: F,
    start: u32,
    slot: u32,
}

/// An error of a [`SnapshotStore`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlashError<E> {
    /// The snapshot does not fit in a slot, or, in [`SnapshotStore::load`], in the buffer.
    Capacity(Capacity),
    /// The flash driver reported an error.
    Flash(E),
    /// The slots are not whole sectors of the flash or exceed it, or the words of the flash are
    /// larger than 64 bytes.
    Layout,
    /// The data that was written reads back differently: the flash is worn out.
    Verify,
}

/// A slot that holds a valid snapshot.
#[derive(Clone, Copy)]
struct StoredSnapshot {
    slot: u32,
    sequence: u32,
    len: usize,
}

impl<F: NorFlash> SnapshotStore<F> {
    /// Creates a store with two slots of `slot` bytes each, starting at byte `start` of `flash`.
    /// Both numbers must be multiples of the erase size.
    ///
    /// # Errors
    /// Returns `Layout` if the slots are not aligned or do not fit, or if the words of the flash
    /// are larger than 64 bytes.
    pub fn new(flash: F, start: u32, slot: u32) -> Result<Self, FlashError<F::Error>> {
        let fits = |n: u32, of: usize| usize::try_from(n).is_ok_and(|n| n.is_multiple_of(of));
        let end = slot
            .checked_mul(2)
            .and_then(|both| both.checked_add(start))
            .and_then(|end| usize::try_from(end).ok());
        let words = CHUNK.is_multiple_of(F::WRITE_SIZE) && CHUNK.is_multiple_of(F::READ_SIZE);
        if !fits(start, F::ERASE_SIZE)
            || !fits(slot, F::ERASE_SIZE)
            || slot == 0
            || end.is_none_or(|end| end > flash.capacity())
            || !words
        {
            return Err(FlashError::Layout);
        }
        Ok(Self { flash, start, slot })
    }

    /// Returns the maximum size of a snapshot in bytes.
    pub fn capacity(&self) -> usize {
        usize::try_from(self.slot).unwrap_or(usize::MAX).saturating_sub(CHUNK)
    }

    /// Writes a snapshot. Until this completes, [`Self::load`] returns the previous one.
    ///
    /// # Errors
    /// Returns any [`FlashError`]. The previous snapshot is then still stored.
    pub async fn save(&mut self, snapshot: &[u8]) -> Result<(), FlashError<F::Error>> {
        if snapshot.len() > self.capacity() {
            return Err(FlashError::Capacity(Capacity {
                what: CapacityKind::Snapshot,
                needed: snapshot.len(),
                free: self.capacity(),
            }));
        }
        let newest = self.newest().await?;
        let (slot, sequence) =
            newest.map_or((0, 0), |found| (1 - found.slot, found.sequence.wrapping_add(1)));
        let at = self.address(slot);
        self.flash.erase(at, at + self.slot).await.map_err(FlashError::Flash)?;
        let mut to = at + OFFSET;
        for piece in snapshot.chunks(CHUNK) {
            to += self.write(to, piece).await?;
        }
        let len = u32::try_from(snapshot.len()).map_err(|_| FlashError::Layout)?;
        let mut header = [0; HEADER];
        let (fields, checksum) = header.split_at_mut(HEADER - 4);
        for (place, field) in
            fields.chunks_exact_mut(4).zip([MAGIC, sequence.to_le_bytes(), len.to_le_bytes()])
        {
            place.copy_from_slice(&field);
        }
        let mut crc = Crc::new();
        crc.update(fields);
        crc.update(snapshot);
        checksum.copy_from_slice(&crc.value().to_le_bytes());
        self.write(at, &header).await?;
        match self.look(slot).await? {
            Some(found) if found.sequence == sequence => Ok(()),
            _ => Err(FlashError::Verify),
        }
    }

    /// Reads the newest snapshot into the front of `buffer` and returns its length, or `None` if
    /// there is none.
    ///
    /// # Errors
    /// Returns `Capacity` if `buffer` is too small, and `Flash` if the flash fails.
    pub async fn load(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, FlashError<F::Error>> {
        let Some(found) = self.newest().await? else {
            return Ok(None);
        };
        let free = buffer.len();
        let buffer = buffer.get_mut(..found.len).ok_or(FlashError::Capacity(Capacity {
            what: CapacityKind::Snapshot,
            needed: found.len,
            free,
        }))?;
        let mut from = self.address(found.slot) + OFFSET;
        for piece in buffer.chunks_mut(CHUNK) {
            let mut chunk = [0; CHUNK];
            self.flash.read(from, &mut chunk).await.map_err(FlashError::Flash)?;
            piece.copy_from_slice(chunk.get(..piece.len()).unwrap_or_default());
            from += CHUNK as u32;
        }
        Ok(Some(found.len))
    }

    /// Returns the flash driver.
    pub fn free(self) -> F {
        self.flash
    }

    fn address(&self, slot: u32) -> u32 {
        self.start + slot * self.slot
    }

    async fn newest(&mut self) -> Result<Option<StoredSnapshot>, FlashError<F::Error>> {
        Ok(match (self.look(0).await?, self.look(1).await?) {
            // Sequence numbers may wrap around; those of the two slots never differ by more than
            // one.
            (Some(a), Some(b)) => {
                Some(if b.sequence.wrapping_sub(a.sequence) < u32::MAX / 2 { b } else { a })
            }
            (a, b) => a.or(b),
        })
    }

    /// Returns the snapshot of `slot`, if it is complete.
    async fn look(&mut self, slot: u32) -> Result<Option<StoredSnapshot>, FlashError<F::Error>> {
        let at = self.address(slot);
        let mut chunk = [0; CHUNK];
        self.flash.read(at, &mut chunk).await.map_err(FlashError::Flash)?;
        let mut fields =
            chunk.chunks_exact(4).map(|field| <[u8; 4]>::try_from(field).unwrap_or_default());
        let mut next = || fields.next().unwrap_or_default();
        let (magic, sequence, len, checksum) = (
            next(),
            u32::from_le_bytes(next()),
            u32::from_le_bytes(next()),
            u32::from_le_bytes(next()),
        );
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        if magic != MAGIC || len > self.capacity() {
            return Ok(None);
        }
        let mut crc = Crc::new();
        crc.update(chunk.get(..HEADER - 4).unwrap_or_default());
        let (mut from, mut left) = (at + OFFSET, len);
        while left > 0 {
            self.flash.read(from, &mut chunk).await.map_err(FlashError::Flash)?;
            let piece = chunk.get(..left.min(CHUNK)).unwrap_or_default();
            crc.update(piece);
            left -= piece.len();
            from += CHUNK as u32;
        }
        Ok((crc.value() == checksum).then_some(StoredSnapshot { slot, sequence, len }))
    }

    /// Writes at most one chunk, padded to whole words, and returns the number of bytes written.
    async fn write(&mut self, at: u32, bytes: &[u8]) -> Result<u32, FlashError<F::Error>> {
        let mut chunk = [0xff; CHUNK];
        let len = bytes.len().next_multiple_of(F::WRITE_SIZE).min(CHUNK);
        chunk.get_mut(..bytes.len()).unwrap_or_default().copy_from_slice(bytes);
        self.flash
            .write(at, chunk.get(..len).unwrap_or_default())
            .await
            .map_err(FlashError::Flash)?;
        Ok(len as u32)
    }
}

/// The offset of the snapshot in its slot: after the header, at the start of a chunk.
const OFFSET: u32 = CHUNK as u32;

/// CRC-32 as in Ethernet, computed four bits at a time with a table of 64 bytes.
struct Crc(u32);

impl Crc {
    const fn new() -> Self {
        Self(u32::MAX)
    }

    fn update(&mut self, bytes: &[u8]) {
        const TABLE: [u32; 16] = table();
        for &byte in bytes {
            for half in [byte, byte >> 4] {
                let index = (self.0 ^ u32::from(half)) & 15;
                self.0 = self.0 >> 4 ^ TABLE[index as usize];
            }
        }
    }

    const fn value(&self) -> u32 {
        !self.0
    }
}

const fn table() -> [u32; 16] {
    let mut table = [0; 16];
    let mut i = 0;
    while i < 16 {
        let mut value = i as u32;
        let mut bit = 0;
        while bit < 4 {
            value = if value & 1 != 0 { value >> 1 ^ 0xedb8_8320 } else { value >> 1 };
            bit += 1;
        }
        table[i] = value;
        i += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        let mut crc = Crc::new();
        crc.update(b"1234");
        crc.update(b"56789");
        assert_eq!(crc.value(), 0xcbf4_3926);
    }
}
