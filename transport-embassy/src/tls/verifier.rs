//! Authenticates the server: the chain, the name, the dates, the key usages, and the signature on
//! the handshake.
//!
//! ```text
//!            certificate                       signature on the handshake
//! Expecting ─────────────▶ Certified { key } ─────────────────────────────▶ Verified
//!     │                        │                                               │
//!     └── anything else ───────┴───────────────▶ Refused { why } ◀─────────────┘
//! ```
//!
//! embedded-tls also opens a session if the server omits its certificate or its signature:
//! `Finished` only proves that both sides have the same keys. Code that opens a session must
//! therefore check [`Verifier::verdict`] afterwards, as `tls::session` does.

use core::cell::Cell;
use core::time::Duration;

use embedded_tls::{
    Aes128GcmSha256, CertificateRef, CertificateVerifyRef, SignatureScheme, TlsError, TlsVerifier,
    alert::{AlertDescription, AlertLevel},
};
use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use sha2::{Digest as _, Sha256};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use super::algorithms;
use super::certificate::{Certificate, Curve};
use super::{KeyPin, Refusal, Trust};

/// The maximum number of certificates that a server may send: a leaf, intermediates, and possibly a
/// cross-signed root.
pub const MAX_CERTIFICATES: usize = 8;

/// The size of the longest public key in bytes: an uncompressed point on P-384.
const MAX_POINT: usize = 97;

/// Verifies one handshake. See the [module](self).
#[derive(Debug)]
pub(crate) struct Verifier<'a> {
    trust: Trust<'a>,
    host: &'a str,
    now: Option<u64>,
    state: State,
}

#[derive(Debug)]
enum State {
    Expecting,
    Certified { curve: Curve, point: heapless::Vec<u8, MAX_POINT>, transcript: [u8; 32] },
    Verified,
    Refused(Refusal),
}

impl<'a> Verifier<'a> {
    /// Creates a verifier for one handshake with `host` at `now`, in seconds since 1970-01-01 UTC;
    /// `None` if the board does not know the date.
    pub(crate) const fn new(trust: Trust<'a>, host: &'a str, now: Option<u64>) -> Self {
        Self { trust, host, now, state: State::Expecting }
    }

    /// Returns whether the server is authenticated. Call it after the handshake, however the
    /// handshake ended.
    pub(crate) const fn verdict(&self) -> Result<(), Refusal> {
        match self.state {
            State::Verified => Ok(()),
            State::Expecting => Err(Refusal::NoCertificate),
            State::Certified { .. } => Err(Refusal::NoSignature),
            State::Refused(why) => Err(why),
        }
    }

    fn judge<T>(&mut self, verdict: Result<T, Refusal>) -> Result<T, TlsError> {
        verdict.map_err(|why| {
            self.state = State::Refused(why);
            TlsError::AbortHandshake(AlertLevel::Fatal, AlertDescription::BadCertificate)
        })
    }

    fn certified(&self, transcript: &Sha256, sent: &CertificateRef<'_>) -> Result<State, Refusal> {
        if !matches!(self.state, State::Expecting) {
            return Err(Refusal::Malformed);
        }
        let mut chain: heapless::Vec<CertificateDer<'_>, MAX_CERTIFICATES> = heapless::Vec::new();
        for der in &sent.entries {
            chain.push(CertificateDer::from(*der)).map_err(|_| Refusal::TooManyCertificates)?;
        }
        let leaf = check_chain(&self.trust, self.host, self.now, &chain)?;
        Ok(State::Certified {
            curve: leaf.curve,
            point: heapless::Vec::from_slice(leaf.point).map_err(|_| Refusal::Key)?,
            transcript: transcript.clone().finalize().into(),
        })
    }

    fn signed(&self, verify: &CertificateVerifyRef<'_>) -> Result<State, Refusal> {
        let State::Certified { curve, point, transcript } = &self.state else {
            return Err(Refusal::Malformed);
        };
        // RFC 8446, section 4.4.3: the signed message is a fixed text, and the hash of the
        // handshake up to and including the certificate.
        let mut message = [0x20; 64 + CONTEXT.len() + 32];
        let (_, rest) = message.split_at_mut(64);
        let (context, hash) = rest.split_at_mut(CONTEXT.len());
        context.copy_from_slice(CONTEXT);
        hash.copy_from_slice(transcript);
        match (verify.signature_scheme, curve) {
            (SignatureScheme::EcdsaSecp256r1Sha256, Curve::P256) => {
                algorithms::p256_sha256(point, &message, verify.signature)
            }
            #[cfg(feature = "p384")]
            (SignatureScheme::EcdsaSecp384r1Sha384, Curve::P384) => {
                algorithms::p384_sha384(point, &message, verify.signature)
            }
            _ => return Err(Refusal::Key),
        }
        .map_err(|_| Refusal::Signature)?;
        Ok(State::Verified)
    }
}

const CONTEXT: &[u8; 34] = b"TLS 1.3, server CertificateVerify\0";

impl TlsVerifier<Aes128GcmSha256> for Verifier<'_> {
    fn verify_certificate(
        &mut self,
        transcript: &Sha256,
        cert: CertificateRef<'_>,
    ) -> Result<(), TlsError> {
        let verdict = self.certified(transcript, &cert);
        self.state = self.judge(verdict)?;
        Ok(())
    }

    fn verify_signature(&mut self, verify: CertificateVerifyRef<'_>) -> Result<(), TlsError> {
        let verdict = self.signed(&verify);
        self.state = self.judge(verdict)?;
        Ok(())
    }
}

/// Verifies `chain` (leaf first) for `host` at `now`, in seconds since 1970-01-01 UTC, and returns
/// the leaf.
pub(crate) fn check_chain<'c>(
    trust: &Trust<'_>,
    host: &str,
    now: Option<u64>,
    chain: &'c [CertificateDer<'c>],
) -> Result<Certificate<'c>, Refusal> {
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.ok_or(Refusal::NoClock)?));
    let name = ServerName::try_from(host).map_err(|_| Refusal::Name)?;
    let (first, issuers) = chain.split_first().ok_or(Refusal::NoCertificate)?;
    let leaf = Certificate::read(first).ok_or(Refusal::Malformed)?;
    if !leaf.may_sign() {
        return Err(Refusal::Usage);
    }
    let entity = EndEntityCert::try_from(first).map_err(|e| refusal(&e, chain))?;
    let usage = Cell::new(None);
    let path = |path: &VerifiedPath<'_>| {
        check_path(trust.pins, &leaf, path).map_err(|why| {
            usage.set(Some(why));
            webpki::Error::UnknownIssuer
        })
    };
    entity
        .verify_for_usage(
            algorithms::ALL,
            trust.anchors,
            issuers,
            now,
            KeyUsage::server_auth(),
            None,
            Some(&path),
        )
        .map_err(|e| usage.get().unwrap_or_else(|| refusal(&e, chain)))?;
    entity.verify_is_valid_for_subject_name(&name).map_err(|e| refusal(&e, chain))?;
    match leaf.curve {
        Curve::P256 => Ok(leaf),
        #[cfg(feature = "p384")]
        Curve::P384 => Ok(leaf),
        _ => Err(if leaf.rsa { Refusal::Rsa } else { Refusal::Key }),
    }
}

/// Checks what webpki does not: `keyCertSign` of every issuer below the anchor, and the pins.
fn check_path(
    pins: &[KeyPin],
    leaf: &Certificate<'_>,
    path: &VerifiedPath<'_>,
) -> Result<(), Refusal> {
    let pinned = |key_info: &[u8]| pins.contains(&KeyPin::of_key_info(key_info));
    let mut found = pins.is_empty() || pinned(leaf.key_info);
    for issuer in path.intermediate_certificates() {
        let der = issuer.der();
        let issuer = Certificate::read(&der).ok_or(Refusal::Malformed)?;
        if !issuer.may_issue() {
            return Err(Refusal::Usage);
        }
        found = found || pinned(issuer.key_info);
    }
    if found || pins.contains(&KeyPin::of_anchor(path.anchor())) {
        Ok(())
    } else {
        Err(Refusal::Pin)
    }
}

/// Maps an error of webpki to a refusal. If the chain could not be followed because of RSA, the
/// refusal says so.
fn refusal(error: &webpki::Error, chain: &[CertificateDer<'_>]) -> Refusal {
    use webpki::Error as E;
    match error {
        E::CertExpired { .. } => Refusal::Expired,
        E::CertNotValidYet { .. } => Refusal::NotYetValid,
        E::CertNotValidForName(_) => Refusal::Name,
        E::RequiredEkuNotFoundContext(_)
        | E::EmptyEkuExtension
        | E::CaUsedAsEndEntity
        | E::EndEntityUsedAsCa => Refusal::Usage,
        E::PathLenConstraintViolated | E::NameConstraintViolation => Refusal::Constraint,
        E::InvalidSignatureForPublicKey => Refusal::Signature,
        E::UnknownIssuer
        | E::UnsupportedSignatureAlgorithmContext(_)
        | E::UnsupportedSignatureAlgorithmForPublicKeyContext(_) => {
            let rsa = chain
                .iter()
                .filter_map(|der| Certificate::read(der))
                .any(|certificate| certificate.rsa);
            match error {
                _ if rsa => Refusal::Rsa,
                E::UnknownIssuer => Refusal::UnknownIssuer,
                _ => Refusal::Key,
            }
        }
        E::MaximumPathBuildCallsExceeded
        | E::MaximumPathDepthExceeded
        | E::MaximumSignatureChecksExceeded => Refusal::TooManyCertificates,
        _ => Refusal::Malformed,
    }
}

impl KeyPin {
    /// Computes the pin of a whole SubjectPublicKeyInfo.
    pub(crate) fn of_key_info(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }

    /// Computes the pin of an anchor's key. webpki stores the SubjectPublicKeyInfo without its
    /// outer tag and length.
    pub(crate) fn of_anchor(anchor: &TrustAnchor<'_>) -> Self {
        let content: &[u8] = anchor.subject_public_key_info.as_ref();
        let mut hash = Sha256::new();
        hash.update([0x30]);
        match u16::try_from(content.len()).unwrap_or(u16::MAX).to_be_bytes() {
            [0, len @ 0..=0x7f] => hash.update([len]),
            [0, len] => hash.update([0x81, len]),
            len => {
                hash.update([0x82]);
                hash.update(len);
            }
        }
        hash.update(content);
        Self(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If the server sends neither a certificate nor a signature, embedded-tls does not call the
    /// verifier and opens the session.
    #[test]
    fn silence_is_no_proof() {
        let trust = Trust::anchors(&[]);
        let mut verifier = Verifier::new(trust, "api.example.com", Some(1));
        assert_eq!(verifier.verdict(), Err(Refusal::NoCertificate));
        let early = CertificateVerifyRef {
            signature_scheme: SignatureScheme::EcdsaSecp256r1Sha256,
            signature: &[],
        };
        assert!(verifier.verify_signature(early).is_err());
        assert_eq!(verifier.verdict(), Err(Refusal::Malformed));
        verifier.state = State::Certified {
            curve: Curve::P256,
            point: heapless::Vec::new(),
            transcript: [0; 32],
        };
        assert_eq!(verifier.verdict(), Err(Refusal::NoSignature));
        let none = CertificateRef { entries: heapless::Vec::new() };
        assert!(verifier.verify_certificate(&Sha256::new(), none).is_err());
        assert_eq!(verifier.verdict(), Err(Refusal::Malformed));
    }
}
