//! Keeps from embedded-tls the one kind of record that it panics on before it knows the server.

use embedded_io_async::{Error, ErrorKind, ErrorType, Read, Write};

/// Bytes of a record's header.
const HEADER: usize = 5;
/// The record type of everything encrypted.
const APPLICATION_DATA: u8 = 23;
/// What an encrypted record holds at least: the type of its content and AES-GCM's tag.
const SHORTEST: u16 = 17;

/// A stream that fails at an encrypted record with no room for its content's type (embedded-tls 0.19 unwraps that byte).
///
/// Whoever can touch the bytes on their way, without any key or certificate, could reset the board by such a record.
#[derive(Debug)]
pub(crate) struct Guard<S> {
    stream: S,
    header: [u8; HEADER],
    /// How much of `header` is there.
    have: usize,
    /// What is left of the record's content.
    left: usize,
}

impl<S> Guard<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, header: [0; HEADER], have: 0, left: 0 }
    }

    /// Follows the records through `bytes`; false at a forbidden one.
    fn follow(&mut self, mut bytes: &[u8]) -> bool {
        loop {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            bytes = bytes.get(skipped..).unwrap_or_default();
            let Some((&byte, rest)) = bytes.split_first() else {
                return true;
            };
            bytes = rest;
            if let Some(place) = self.header.get_mut(self.have) {
                *place = byte;
                self.have += 1;
            }
            if self.have == HEADER {
                let [kind, _, _, len @ ..] = self.header;
                let len = u16::from_be_bytes(len);
                if kind == APPLICATION_DATA && len < SHORTEST {
                    return false;
                }
                self.have = 0;
                self.left = usize::from(len);
            }
        }
    }
}

impl<S> ErrorType for Guard<S> {
    type Error = ErrorKind;
}

impl<S: Read> Read for Guard<S> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        let len = self.stream.read(buffer).await.map_err(|e| e.kind())?;
        if self.follow(buffer.get(..len).unwrap_or_default()) { Ok(len) } else { Err(ErrorKind::InvalidData) }
    }
}

impl<S: Write> Write for Guard<S> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.stream.write(bytes).await.map_err(|e| e.kind())
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        self.stream.flush().await.map_err(|e| e.kind())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn record(kind: u8, len: u16) -> Vec<u8> {
        let mut bytes = std::vec![kind, 3, 3];
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.resize(HEADER + usize::from(len), 23);
        bytes
    }

    /// Whether the guard lets `bytes` pass, given in pieces of `len`.
    fn passes(bytes: &[u8], len: usize) -> bool {
        let mut guard = Guard::new(());
        bytes.chunks(len).all(|piece| guard.follow(piece))
    }

    #[test]
    fn records_with_content_pass_however_they_are_cut() {
        let bytes = [record(22, 90), record(20, 1), record(23, 17), record(23, 16_640), record(22, 0)].concat();
        for len in [1, 2, 4, 5, 6, 100, bytes.len()] {
            assert!(passes(&bytes, len), "pieces of {len}");
        }
    }

    #[test]
    fn a_record_without_content_does_not() {
        for short in [0, 1, 16] {
            let bytes = [record(22, 90), record(23, short)].concat();
            for len in [1, 3, bytes.len()] {
                assert!(!passes(&bytes, len), "{short} bytes in pieces of {len}");
            }
        }
    }
}
