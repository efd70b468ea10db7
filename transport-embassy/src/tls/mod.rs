//! TLS 1.3 with verification of the server: whom to trust, what the board must provide, and why a
//! server is refused.
//!
//! [embedded-tls] implements the protocol. [rustls-webpki] verifies the chain, name, dates and
//! extended key usage; this module verifies the key usage and the pins. The cipher is AES-128-GCM
//! with a key exchange on P-256. Certificates may use P-256 and, with the feature `p384`, P-384.
//! **RSA is not supported**: a server that has only RSA certificates aborts the handshake, and a
//! chain with an RSA issuer is refused with [`Refusal::Rsa`].
//!
//! A board provides two things, and both must be right:
//! * [`Entropy`]: true randomness, drawn anew for every connection. If the bytes can be guessed,
//!   others can read the session.
//! * [`WallClock`]: the date, from a clock that is set. With a wrong date, a certificate that was
//!   stolen years ago is accepted.
//!
//! The crate uses a fork of embedded-tls, `transport-embassy/tls` in the repository, because
//! upstream panics on some messages of a misbehaving server.
//!
//! [embedded-tls]: embedded_tls
//! [rustls-webpki]: webpki

mod algorithms;
pub mod anchors;
mod certificate;
mod handoff;
mod random;
mod resources;
mod secure;
mod session;
mod verifier;

pub use crate::clock::WallClock;
pub use crate::entropy::{Entropy, EntropyError};
pub use handoff::Handoff;
pub use resources::{Records, Resources};
pub use rustls_pki_types::{CertificateDer, TrustAnchor};
pub use secure::Secure;
pub use session::{Security, session};
pub use verifier::MAX_CERTIFICATES;
pub use webpki::anchor_from_trusted_cert;

/// The keys to trust.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// The trust anchors (roots or intermediates): a server's chain must lead to one of them.
    pub anchors: &'a [TrustAnchor<'a>],
    /// Pinned keys: at least one must be in the chain, including anchor and leaf. If empty, any
    /// chain to an anchor is accepted.
    pub pins: &'a [KeyPin],
}

impl<'a> Trust<'a> {
    /// Trusts every chain to one of these anchors.
    pub const fn anchors(anchors: &'a [TrustAnchor<'a>]) -> Self {
        Self { anchors, pins: &[] }
    }

    /// Additionally requires that at least one of these keys is in the chain.
    #[must_use]
    pub const fn pinned(mut self, pins: &'a [KeyPin]) -> Self {
        self.pins = pins;
        self
    }

    /// Verifies a chain (leaf first) for `host` at `now`, in seconds since 1970-01-01 UTC. This is
    /// everything that a handshake verifies except its signature.
    ///
    /// Intended for tools and tests that have certificates but no connection.
    ///
    /// # Errors
    /// Returns the reason if the chain is not trusted.
    pub fn check(&self, host: &str, now: u64, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        verifier::check_chain(self, host, Some(now), chain).map(|_leaf| ())
    }
}

/// A pinned key: the SHA-256 of its SubjectPublicKeyInfo.
///
/// To print it: `openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform der |
/// sha256sum`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPin(pub [u8; 32]);

/// The reason why a server was not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Refusal {
    /// The chain violates a constraint of an issuer (path length or names).
    Constraint,
    /// The board's source of randomness failed.
    Entropy,
    /// A certificate has expired.
    Expired,
    /// A key or signature uses an algorithm that is not supported. RSA is reported as
    /// [`Self::Rsa`].
    Key,
    /// A certificate is malformed, or the messages of the handshake are not in order.
    Malformed,
    /// The certificate is not valid for the host name.
    Name,
    /// The server sent no certificate.
    NoCertificate,
    /// The board's clock is not set.
    NoClock,
    /// The server did not prove that it has the key of its certificate.
    NoSignature,
    /// A certificate is not valid yet.
    NotYetValid,
    /// The chain contains none of the pinned keys.
    Pin,
    /// The chain uses RSA, which is not supported.
    Rsa,
    /// A signature is invalid.
    Signature,
    /// The server sent more certificates, or they form more paths, than the verifier accepts.
    TooManyCertificates,
    /// The chain does not lead to a trust anchor.
    UnknownIssuer,
    /// A certificate is used for a purpose that it does not allow: a client's as a server's, or a
    /// leaf as an issuer.
    Usage,
}

impl Refusal {
    /// Returns a description of the reason.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Constraint => "the certificate breaks a constraint of its issuer",
            Self::Entropy => "the source of randomness failed",
            Self::Expired => "the certificate has expired",
            Self::Key => "the certificate's kind of key or signature is not supported",
            Self::Malformed => "the certificate or the handshake is malformed",
            Self::Name => "the certificate is for another name",
            Self::NoCertificate => "the server sent no certificate",
            Self::NoClock => "the clock is not set, so certificates cannot be checked",
            Self::NoSignature => "the server did not prove that it has the certificate's key",
            Self::NotYetValid => "the certificate is not valid yet",
            Self::Pin => "no pinned key is in the server's chain",
            Self::Rsa => "the server's chain uses RSA, which is not supported",
            Self::Signature => "a signature is wrong",
            Self::TooManyCertificates => "the server's chain is too long",
            Self::UnknownIssuer => "the certificate's issuer is not trusted",
            Self::Usage => "a certificate is not valid for this use",
        }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Refusal {}
