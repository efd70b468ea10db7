//! Reads the key of a certificate and the uses that it allows.
//!
//! webpki checks the chain, names, dates and extended key usage. It does not check `keyUsage` and,
//! without a heap, does not expose the key. The parser below only sees certificates that webpki has
//! parsed; it is strict nevertheless, and returns `None` for anything unexpected.

use rustls_pki_types::alg_id;

/// The curve of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// Another curve, or an algorithm that does not use elliptic curves.
    Other,
}

/// Bits of `keyUsage`, in the first byte of its bit string.
const DIGITAL_SIGNATURE: u8 = 0x80;
const KEY_CERT_SIGN: u8 = 0x04;

/// The parts of a certificate that the verifier needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Certificate<'a> {
    /// The whole SubjectPublicKeyInfo, including tag and length. A key pin is its hash.
    pub(crate) key_info: &'a [u8],
    /// The public key, an uncompressed point.
    pub(crate) point: &'a [u8],
    /// The curve of the point.
    pub(crate) curve: Curve,
    /// Whether the key of the certificate, or the signature on it, uses RSA.
    pub(crate) rsa: bool,
    /// The first byte of `keyUsage`, if the certificate has that extension.
    key_usage: Option<u8>,
}

impl<'a> Certificate<'a> {
    /// Reads a DER certificate. Returns `None` if it is malformed.
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

    /// Returns whether the key may sign a TLS handshake: the certificate allows `digitalSignature`,
    /// or does not restrict the usage.
    pub(crate) fn may_sign(&self) -> bool {
        self.key_usage.is_none_or(|bits| bits & DIGITAL_SIGNATURE != 0)
    }

    /// Returns whether the key may sign certificates. The certificate must say so explicitly: RFC
    /// 5280, section 4.2.1.3, requires it of an issuer.
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

/// The object identifier 2.5.29.15, without tag and length.
const ID_KEY_USAGE: &[u8] = &[0x55, 0x1d, 0x0f];
/// The object identifier 1.2.840.113549.1.1, the prefix of all RSA algorithms, without tag and
/// length.
const ID_PKCS_1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];

fn is_rsa(algorithm: &[u8]) -> bool {
    Der(algorithm).take(OBJECT).is_some_and(|id| id.content.starts_with(ID_PKCS_1))
}

/// Reads the first byte of `keyUsage`. Returns `Some(None)` if the certificate does not have that
/// extension, and `None` if the extensions are malformed.
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

/// A sequence of DER elements.
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
