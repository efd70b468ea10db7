//! TLS 1.3 that verifies the server: who is trusted, what the board must bring, and why a server
//! was refused.
//!
//! The protocol is [embedded-tls]; chain, name, dates and extended key usage are [rustls-webpki]'s;
//! key usage and pins are checked here. What embedded-tls offers is AES-128-GCM with a key exchange
//! on P-256; certificates may be on P-256 and, with the feature `p384`, on P-384. **RSA is not
//! supported**: a server that has only RSA certificates refuses the handshake, and a chain through
//! an RSA issuer is [`Refusal::Rsa`].
//!
//! A board brings two things, and both must be right:
//! * [`Entropy`]: true randomness, drawn anew for every connection. With bytes that can be guessed,
//!   the session can be read.
//! * [`WallClock`]: the date, from a clock that is set. With a wrong one, a certificate that was
//!   stolen years ago is accepted.
//!
//! embedded-tls is a fork, `transport-embassy/tls` in the repository: upstream panics on some
//! messages of a misbehaving server.
//!
//! [embedded-tls]: embedded_tls
//! [rustls-webpki]: webpki

mod algorithms;
pub mod anchors;
mod certificate;
mod handoff;
mod resources;
mod secure;
mod session;
mod verifier;

pub use handoff::Handoff;
pub use resources::{Records, Resources};
pub use rustls_pki_types::{CertificateDer, TrustAnchor};
pub use secure::Secure;
pub use session::{Security, session};
pub use verifier::MAX_CERTIFICATES;
pub use webpki::anchor_from_trusted_cert;

/// Whom to trust.
#[derive(Clone, Copy, Debug)]
pub struct Trust<'a> {
    /// The roots (or intermediates) that a server's chain must lead to.
    pub anchors: &'a [TrustAnchor<'a>],
    /// Keys of which at least one must be in the chain, anchor and leaf included; empty for no such
    /// demand.
    pub pins: &'a [KeyPin],
}

impl<'a> Trust<'a> {
    /// Trust in everyone whom these anchors vouch for.
    pub const fn anchors(anchors: &'a [TrustAnchor<'a>]) -> Self {
        Self { anchors, pins: &[] }
    }

    /// The same, with at least one of these keys in the chain.
    #[must_use]
    pub const fn pinned(mut self, pins: &'a [KeyPin]) -> Self {
        self.pins = pins;
        self
    }

    /// Checks a chain, the leaf first, for `host` at `now` (seconds since 1970): what a handshake
    /// checks, but for its signature.
    ///
    /// For a tool or a test that has certificates and no connection.
    pub fn check(&self, host: &str, now: u64, chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
        verifier::check_chain(self, host, Some(now), chain).map(|_leaf| ())
    }
}

/// The SHA-256 of a key's SubjectPublicKeyInfo.
///
/// `openssl x509 -in cert.pem -noout -pubkey | openssl pkey -pubin -outform der | sha256sum` prints
/// it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyPin(pub [u8; 32]);

/// Random bytes that nobody can guess.
pub trait Entropy {
    /// Fills `bytes`, or says that the source has failed: then no connection is made.
    ///
    /// Called for each connection, with 32 bytes. Must not block for long; a source that is slow
    /// gathers beforehand.
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailed>;
}

impl<E: Entropy + ?Sized> Entropy for &mut E {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyFailed> {
        (**self).fill(bytes)
    }
}

/// The source of randomness has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntropyFailed;

/// The date and time, to see whether certificates are valid.
pub trait WallClock {
    /// Seconds since 1970-01-01 UTC; `None` as long as the clock is not set, and then no server is
    /// trusted.
    fn unix_seconds(&self) -> Option<u64>;
}

impl<C: WallClock + ?Sized> WallClock for &C {
    fn unix_seconds(&self) -> Option<u64> {
        (**self).unix_seconds()
    }
}

/// Why a server was not trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Refusal {
    /// A constraint of an issuer (path length, names) is violated.
    Constraint,
    /// The board's source of randomness failed.
    Entropy,
    /// A certificate is past its last day.
    Expired,
    /// A key or signature of a kind that is not supported, but for RSA.
    Key,
    /// A certificate, or the order of the handshake, is not as it must be.
    Malformed,
    /// The certificate is for other names.
    Name,
    /// The server sent no certificate.
    NoCertificate,
    /// The board's clock is not set.
    NoClock,
    /// The server did not prove that it has its certificate's key.
    NoSignature,
    /// A certificate's first day has not come.
    NotYetValid,
    /// No pinned key is in the chain.
    Pin,
    /// The chain is of RSA, which is not supported.
    Rsa,
    /// A signature is wrong.
    Signature,
    /// More certificates, or more ways through them, than are looked at.
    TooManyCertificates,
    /// The chain leads to no anchor.
    UnknownIssuer,
    /// A certificate is used for what it is not meant for: a client's as a server's, a leaf as an
    /// issuer.
    Usage,
}

impl Refusal {
    /// The plain reason.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Constraint => "the certificate breaks a constraint of its issuer",
            Self::Entropy => "the source of randomness failed",
            Self::Expired => "the certificate has expired",
            Self::Key => "the certificate's kind of key or signature is not supported",
            Self::Malformed => "the certificate or the handshake is malformed",
            Self::Name => "the certificate is for another name",
            Self::NoCertificate => "the server sent no certificate",
            Self::NoClock => "the clock is not set, so no certificate can be judged",
            Self::NoSignature => "the server did not prove that it has the certificate's key",
            Self::NotYetValid => "the certificate is not valid yet",
            Self::Pin => "no pinned key is in the server's chain",
            Self::Rsa => "the server's chain uses RSA, which is not supported",
            Self::Signature => "a signature is wrong",
            Self::TooManyCertificates => "the server's chain is too long",
            Self::UnknownIssuer => "the certificate's issuer is not trusted",
            Self::Usage => "a certificate is used for what it is not meant for",
        }
    }
}

impl core::fmt::Display for Refusal {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Refusal {}
