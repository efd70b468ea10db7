//! The signature algorithms for certificate chains and handshakes, implemented with RustCrypto.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use rustls_pki_types::{
    AlgorithmIdentifier, InvalidSignature, SignatureVerificationAlgorithm, alg_id,
};
use sha2::{Digest as _, Sha256};

/// The algorithms that a certificate's signature may use.
pub(crate) static ALL: &[&dyn SignatureVerificationAlgorithm] = &[
    &Ecdsa { key: Key::P256, hash: Hash::Sha256 },
    #[cfg(feature = "p384")]
    &Ecdsa { key: Key::P384, hash: Hash::Sha384 },
    #[cfg(feature = "p384")]
    &Ecdsa { key: Key::P384, hash: Hash::Sha256 },
    #[cfg(feature = "p384")]
    &Ecdsa { key: Key::P256, hash: Hash::Sha384 },
];

/// Verifies a P-256 signature with SHA-256 over `message`.
pub(crate) fn p256_sha256(
    point: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), InvalidSignature> {
    Ecdsa { key: Key::P256, hash: Hash::Sha256 }.verify_signature(point, message, signature)
}

/// Verifies a P-384 signature with SHA-384 over `message`.
#[cfg(feature = "p384")]
pub(crate) fn p384_sha384(
    point: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), InvalidSignature> {
    Ecdsa { key: Key::P384, hash: Hash::Sha384 }.verify_signature(point, message, signature)
}

#[derive(Clone, Copy, Debug)]
enum Key {
    P256,
    #[cfg(feature = "p384")]
    P384,
}

#[derive(Clone, Copy, Debug)]
enum Hash {
    Sha256,
    #[cfg(feature = "p384")]
    Sha384,
}

#[derive(Debug)]
struct Ecdsa {
    key: Key,
    hash: Hash,
}

impl Ecdsa {
    fn verify_prehash(&self, point: &[u8], hash: &[u8], signature: &[u8]) -> Option<()> {
        match self.key {
            Key::P256 => p256(point, hash, signature),
            #[cfg(feature = "p384")]
            Key::P384 => p384(point, hash, signature),
        }
    }
}

// One function for each curve, so that the stack never holds the tables of both.

#[inline(never)]
fn p256(point: &[u8], hash: &[u8], signature: &[u8]) -> Option<()> {
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()?;
    let signature = p256::ecdsa::Signature::from_der(signature).ok()?;
    key.verify_prehash(hash, &signature).ok()
}

#[cfg(feature = "p384")]
#[inline(never)]
fn p384(point: &[u8], hash: &[u8], signature: &[u8]) -> Option<()> {
    use p384::ecdsa::signature::hazmat::PrehashVerifier as _;
    let signature = p384::ecdsa::Signature::from_der(signature).ok()?;
    let key = p384_key(point)?;
    key.verify_prehash(hash, &signature).ok()
}

/// A separate function, so that the point is decoded before the tables are on the stack.
#[cfg(feature = "p384")]
#[inline(never)]
fn p384_key(point: &[u8]) -> Option<p384::ecdsa::VerifyingKey> {
    p384::ecdsa::VerifyingKey::from_sec1_bytes(point).ok()
}

impl SignatureVerificationAlgorithm for Ecdsa {
    fn verify_signature(
        &self,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), InvalidSignature> {
        match self.hash {
            Hash::Sha256 => self.verify_prehash(public_key, &Sha256::digest(message), signature),
            #[cfg(feature = "p384")]
            Hash::Sha384 => {
                use sha2_11::Digest as _;
                self.verify_prehash(public_key, &sha2_11::Sha384::digest(message), signature)
            }
        }
        .ok_or(InvalidSignature)
    }

    fn public_key_alg_id(&self) -> AlgorithmIdentifier {
        match self.key {
            Key::P256 => alg_id::ECDSA_P256,
            #[cfg(feature = "p384")]
            Key::P384 => alg_id::ECDSA_P384,
        }
    }

    fn signature_alg_id(&self) -> AlgorithmIdentifier {
        match self.hash {
            Hash::Sha256 => alg_id::ECDSA_SHA256,
            #[cfg(feature = "p384")]
            Hash::Sha384 => alg_id::ECDSA_SHA384,
        }
    }
}
