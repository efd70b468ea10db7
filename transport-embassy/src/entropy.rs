//! The board's source of randomness.

/// A source of unpredictable random bytes.
pub trait Entropy {
    /// Fills `bytes` with random bytes.
    ///
    /// Called once for each TLS connection, with 64 bytes, and very rarely a second time, and once
    /// for each request for the time, with 8 bytes. It must not block for long; a slow source
    /// should collect its bytes in advance.
    ///
    /// The bytes are used as they are, half of those of a connection as a private key. Each must be
    /// unpredictable and unbiased: the output of a hardware generator that conditions its noise, or
    /// of a cryptographic generator that such noise has seeded.
    ///
    /// # Errors
    /// Returns [`EntropyError`] if the source has failed. No connection is then made.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        (**self).fill(bytes)
    }
}

/// The error of an [`Entropy`] whose source of randomness has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntropyError;
