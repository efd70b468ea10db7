//! What the verifier reads of a certificate by itself: its key, and what that key may be used for.
//!
//! webpki checks chain, names, dates and extended key usage, but neither `keyUsage` nor, without a
//! heap, gives the key away. The walk below sees only certificates that webpki has parsed; it is
//! strict all the same and gives `None` on anything odd.

use rustls_pki_types::alg_id;

/// A key's curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// Another one, or an algorithm that is no elliptic curve.
    Other,
}

/// Bits of `keyUsage`, from the first byte of its bit string.
const DIGITAL_SIGNATURE: u8 = 0x80;
const KEY_CERT_SIGN: u8 = 0x04;

/// What is read of one certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Certificate<'a> {
    /// The whole SubjectPublicKeyInfo, tag and length included: what a key pin is the hash of.
    pub(crate) key_info: &'a [u8],
    /// The public key itself: an uncompressed point.
    pub(crate) point: &'a [u8],
    /// What curve the point is on.
    pub(crate) curve: Curve,
    /// Whether the certificate's key or the signature on it is RSA's.
    pub(crate) rsa: bool,
    /// The first byte of `keyUsage`, if the certificate has that extension.
    key_usage: Option<u8>,
}

impl<'a> Certificate<'a> {
    /// Reads a DER certificate; `None` if it is none.
    pub(crate) fn read(der: &'a [u8]) -> Option<Self> {
        let mut outer = Der(Der(der).take(SEQUENCE)?.content);
        let mut tbs = Der(outer.take(SEQUENCE)?.content);
        tbs.take(VERSION)?;
        tbs.take(INTEGER)?;
        let signature = tbs.take(SEQUENCE)?;
        for _issuer_validity_subject in 0..3 {
            tbs.take(SEQUENCE)?;
        }
        let key_info = tbs.take(SEQUENCE)?;
        let mut fields = Der(key_info.content);
        let algorithm = fields.take(SEQUENCE)?.content;
        let point = fields.take(BIT_STRING)?.content.strip_prefix(&[0])?;
        let curve = if algorithm == alg_id::ECDSA_P256.as_ref() {
            Curve::P256
        } else if algorithm == alg_id::ECDSA_P384.as_ref() {
            Curve::P384
        } else {
            Curve::Other
        };
        Some(Self {
            key_info: key_info.whole,
            point,
            curve,
            rsa: is_rsa(algorithm) || is_rsa(signature.content),
            key_usage: key_usage(tbs)?,
        })
    }

    /// Whether the key may sign a TLS handshake: `digitalSignature`, or no statement about usage at
    /// all.
    pub(crate) fn may_sign(&self) -> bool {
        self.key_usage.is_none_or(|bits| bits & DIGITAL_SIGNATURE != 0)
    }

    /// Whether the key may sign certificates. An issuer that does not say so is none: RFC 5280,
    /// 4.2.1.3 obliges it to.
    pub(crate) fn may_issue(&self) -> bool {
        self.key_usage.is_some_and(|bits| bits & KEY_CERT_SIGN != 0)
    }
}

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OBJECT: u8 = 0x06;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const EXTENSIONS: u8 = 0xa3;

/// The contents of the object identifier 2.5.29.15.
const ID_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// The contents of the object identifier 1.2.840.113549.1.1, under which all of RSA's algorithms
/// are.
const ID_PKCS_1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];

fn is_rsa(algorithm: &[u8]) -> bool {
    Der(algorithm).take(OBJECT).is_some_and(|id| id.content.starts_with(ID_PKCS_1))
}

/// `Some(None)` if there is no such extension, `None` if the extensions are not as they should be.
fn key_usage(mut tbs: Der<'_>) -> Option<Option<u8>> {
    while !tbs.0.is_empty() {
        let field = tbs.next()?;
        if field.tag != EXTENSIONS {
            continue;
        }
        let mut extensions = Der(Der(field.content).take(SEQUENCE)?.content);
        while !extensions.0.is_empty() {
            let mut extension = Der(extensions.take(SEQUENCE)?.content);
            if extension.take(OBJECT)?.content != ID_KEY_USAGE {
                continue;
            }
            let mut value = extension.next()?;
            if value.tag != OCTET_STRING {
                value = extension.take(OCTET_STRING)?;
            }
            let bits = Der(value.content).take(BIT_STRING)?.content;
            return Some(Some(bits.get(1).copied().unwrap_or(0)));
        }
    }
    Some(None)
}

/// A run of DER elements.
struct Der<'a>(&'a [u8]);

struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    whole: &'a [u8],
}

impl<'a> Der<'a> {
    fn next(&mut self) -> Option<Element<'a>> {
        let start = self.0;
        let (&tag, rest) = start.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81 => rest.split_first().map(|(&len, rest)| (usize::from(len), rest))?,
            0x82 => rest
                .split_first_chunk()
                .map(|(&len, rest)| (usize::from(u16::from_be_bytes(len)), rest))?,
            _ => return None,
        };
        let (content, rest) = rest.split_at_checked(len)?;
        let whole = start.get(..start.len() - rest.len())?;
        self.0 = rest;
        Some(Element { tag, content, whole })
    }

    fn take(&mut self, tag: u8) -> Option<Element<'a>> {
        self.next().filter(|element| element.tag == tag)
    }
}
