//! The board's source of randomness, as embedded-tls uses it.

use rand_core::{CryptoRng, RngCore};

use super::{Entropy, EntropyError};

/// The number of bytes that a handshake needs: the random number of the ClientHello and a private
/// key.
const POOL: usize = 64;

/// A source of randomness for one handshake.
///
/// The bytes that every handshake needs are drawn in advance, so that a source that has failed is
/// noticed before anything is sent. More are drawn directly, which happens only if the first
/// private key is out of range: once in four thousand million handshakes.
pub(super) struct Random<'e, E> {
    entropy: &'e mut E,
    pool: [u8; POOL],
    used: usize,
    has_failed: bool,
}

impl<'e, E: Entropy> Random<'e, E> {
    pub(super) fn new(entropy: &'e mut E) -> Result<Self, EntropyError> {
        let mut pool = [0; POOL];
        entropy.fill(&mut pool)?;
        Ok(Self { entropy, pool, used: 0, has_failed: false })
    }

    /// Returns whether bytes were handed out that are not random. The session must not be used.
    pub(super) fn has_failed(&self) -> bool {
        self.has_failed
    }
}

impl<E: Entropy> RngCore for Random<'_, E> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        let end = self.used.saturating_add(bytes.len());
        if let Some(fresh) = self.pool.get_mut(self.used..end) {
            bytes.copy_from_slice(fresh);
            fresh.fill(0);
            self.used = end;
        } else if self.entropy.fill(bytes).is_err() {
            self.has_failed = true;
            // A valid private key. With zeros, the search for one would not end.
            bytes.fill(1);
        }
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl<E: Entropy> CryptoRng for Random<'_, E> {}

#[cfg(test)]
mod tests {
    use super::*;

    /// A source that counts, and fails after this number of calls.
    struct Counter(u8, u8);

    impl Entropy for Counter {
        fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
            self.1 = self.1.checked_sub(1).ok_or(EntropyError)?;
            for byte in bytes {
                *byte = self.0;
                self.0 = self.0.wrapping_add(1);
            }
            Ok(())
        }
    }

    #[test]
    fn no_byte_is_used_twice() {
        let mut counter = Counter(0, 2);
        let mut random = Random::new(&mut counter).expect("a source");
        let mut bytes = [0; 40];
        random.fill_bytes(&mut bytes);
        assert_eq!((bytes[0], bytes[39]), (0, 39));
        assert_eq!(random.next_u32(), u32::from_le_bytes([40, 41, 42, 43]));
        // More than is left in the pool.
        random.fill_bytes(&mut bytes);
        assert_eq!((bytes[0], bytes[39]), (64, 103));
        assert!(!random.has_failed());
    }

    #[test]
    fn a_source_that_fails() {
        assert!(Random::new(&mut Counter(0, 0)).is_err());
        let mut counter = Counter(0, 1);
        let mut random = Random::new(&mut counter).expect("a source");
        let mut key = [0; 32];
        for _ in 0..2 {
            random.fill_bytes(&mut key);
            assert!(!random.has_failed());
        }
        random.fill_bytes(&mut key);
        assert!(random.has_failed());
        assert_eq!(key, [1; 32]);
    }
}
