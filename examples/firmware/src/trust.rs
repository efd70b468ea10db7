//! Whom an image in QEMU trusts.

use rustls_pki_types::CertificateDer;
use toolrunner_embassy::tls::{TrustAnchor, anchor_from_trusted_cert};

static ROOT: CertificateDer<'static> =
    CertificateDer::from_slice(include_bytes!("../certificates/root.der"));

/// The test root of `certificates/`, whose key is public: for these examples and nothing else.
///
/// A product has `toolrunner_embassy::tls::anchors` here, or a constant of its own.
pub fn anchor() -> TrustAnchor<'static> {
    anchor_from_trusted_cert(&ROOT).unwrap_or(TrustAnchor {
        subject: [].as_slice().into(),
        subject_public_key_info: [].as_slice().into(),
        name_constraints: None,
    })
}
