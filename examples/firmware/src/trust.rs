//! The trust anchor of the images in QEMU.

use rustls_pki_types::CertificateDer;
use toolrunner_embassy::tls::{TrustAnchor, anchor_from_trusted_cert};

static ROOT: CertificateDer<'static> =
    CertificateDer::from_slice(include_bytes!("../certificates/root.der"));

/// Returns the test root of `certificates/`. Its key is public, so use it only for these examples.
///
/// A product uses `toolrunner_embassy::tls::anchors` here, or its own constant.
pub fn anchor() -> TrustAnchor<'static> {
    anchor_from_trusted_cert(&ROOT).unwrap_or(TrustAnchor {
        subject: [].as_slice().into(),
        subject_public_key_info: [].as_slice().into(),
        name_constraints: None,
    })
}
