//! Interprets an input as a sequence of choices, for targets that build something instead of
//! parsing.

/// Takes choices from bytes. Returns 0 forever once they are used up, so that whatever is built
/// ends.
pub struct Choices<'a> {
    bytes: core::slice::Iter<'a, u8>,
}

impl<'a> Choices<'a> {
    /// Creates a sequence of choices from these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter() }
    }

    /// Returns whether all bytes have been used.
    pub fn is_over(&self) -> bool {
        self.bytes.len() == 0
    }

    /// Returns a number below `limit`, which is at most 256.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % limit
    }

    /// Returns a number below 65536.
    pub fn word(&mut self) -> usize {
        self.below(256) * 256 + self.below(256)
    }

    /// Returns one of these values.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}
