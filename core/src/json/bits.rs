//! Facts about numbered things, one bit each.

/// `32 * WORDS` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bits<const WORDS: usize>([u32; WORDS]);

impl<const WORDS: usize> Bits<WORDS> {
    pub(crate) const NONE: Self = Self([0; WORDS]);

    pub(crate) const fn from_words(words: [u32; WORDS]) -> Self {
        Self(words)
    }

    pub(crate) const fn words(self) -> [u32; WORDS] {
        self.0
    }

    /// Returns bit `i`. A bit beyond the last is not set.
    #[inline]
    pub(crate) fn has(&self, i: usize) -> bool {
        self.0.get(i / 32).is_some_and(|word| word >> (i % 32) & 1 == 1)
    }

    /// Sets or clears bit `i`, unless it is beyond the last.
    #[inline]
    pub(crate) fn set(&mut self, i: usize, on: bool) {
        if let Some(word) = self.0.get_mut(i / 32) {
            let bit = 1 << (i % 32);
            *word = if on { *word | bit } else { *word & !bit };
        }
    }
}
