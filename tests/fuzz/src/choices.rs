//! An input as a row of choices: for targets that build something instead of reading it.

/// Takes choices from bytes, and 0 for ever when they are used up, so that what is built has an
/// end.
pub struct Choices<'a> {
    bytes: core::slice::Iter<'a, u8>,
}

impl<'a> Choices<'a> {
    /// These choices.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter() }
    }

    /// Whether all were taken.
    pub fn is_over(&self) -> bool {
        self.bytes.len() == 0
    }

    /// A number below `limit`, which is at most 256.
    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.bytes.next().copied().unwrap_or(0)) % limit
    }

    /// A number below 65536.
    pub fn word(&mut self) -> usize {
        self.below(256) * 256 + self.below(256)
    }

    /// One of these.
    pub fn one_of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}
