/// Where in the read buffer the decrypted data is, and how much of it was read.
#[derive(Default)]
pub struct DecryptedBufferInfo {
    pub offset: usize,
    pub len: usize,
    pub consumed: usize,
}

impl DecryptedBufferInfo {
    /// Copies what comes next from the read buffer into `dest`, as much as fits.
    pub fn pop_into(&mut self, buffer: &[u8], dest: &mut [u8]) -> usize {
        let count = self.len().min(dest.len());
        let start = self.offset + self.consumed;
        dest[..count].copy_from_slice(&buffer[start..start + count]);
        self.consumed += count;
        count
    }

    pub fn len(&self) -> usize {
        self.len - self.consumed
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn data_is_read_in_pieces() {
        let mut info = DecryptedBufferInfo {
            offset: 2,
            len: 4,
            consumed: 0,
        };
        let buffer = [0, 1, 2, 3, 4, 5, 6, 7];
        let mut dest = [0; 3];

        assert_eq!(info.pop_into(&buffer, &mut dest), 3);
        assert_eq!(dest, [2, 3, 4]);
        assert!(!info.is_empty());

        assert_eq!(info.pop_into(&buffer, &mut dest), 1);
        assert_eq!(dest, [5, 3, 4]);
        assert!(info.is_empty());

        assert_eq!(info.pop_into(&buffer, &mut dest), 0);
    }
}
