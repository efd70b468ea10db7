//! The verifier of certificate chains: it reaches a verdict on any chain, and accepts no
//! certificate in which a bit was changed.
//!
//! Mutated certificates fail the check of their signature. To reach the checks after it, an input
//! that begins with [`SIGNED`] contains the contents of certificates, which this target signs with
//! a root whose key is public.

use std::sync::LazyLock;

use p256::ecdsa::signature::Signer;
use p256::ecdsa::{DerSignature, SigningKey};
use toolrunner_embassy::tls::{CertificateDer, Trust, TrustAnchor, anchor_from_trusted_cert};

const ROOT: &[u8] = include_bytes!("../../../../examples/firmware/certificates/root.der");
/// The right chain, encoded as [`parts`] reads it.
const RIGHT: &[u8] = include_bytes!("../../corpus/certificate/right");
/// The contents of the right chain's certificates, to be signed here.
const RIGHT_SIGNED: &[u8] = include_bytes!("../../corpus/certificate/signed");
/// A time at which the right chain is valid: a day of 2027.
const NOW: u64 = 1_800_000_000;
/// The first bytes of an input whose certificates are signed here. No certificate has this length.
pub const SIGNED: &[u8] = &[0xff, 0xff];
/// `ecdsa-with-SHA256`, as certificates encode it.
pub const ECDSA_SHA256: &[u8] =
    &[0x30, 0x0a, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
/// The bytes before the point in the key of a P-256 certificate, without the outermost tag and
/// length.
const P256_KEY: &[u8] = &[
    0x30, 0x13, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1,
    7, 3, 0x42, 0,
];

/// The key of the root, of every issuer and of every leaf that is signed here.
static KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::from_slice(&[7; 32]).expect("a key"));

/// Returns the public key: an uncompressed point.
pub fn point() -> Vec<u8> {
    KEY.verifying_key().to_encoded_point(false).as_bytes().to_vec()
}

/// Splits an input into parts, each of which follows its length in two bytes.
pub fn parts(mut data: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (one, more) = rest.split_at(length);
        all.push(one);
        data = more;
    }
    all
}

/// Runs the target, whose properties the module's documentation lists.
pub fn run(data: &[u8]) {
    let root = CertificateDer::from(ROOT);
    let anchor = anchor_from_trusted_cert(&root).expect("an anchor");
    match data.strip_prefix(SIGNED) {
        Some(contents) => {
            let taken = signed_here(&anchor, &parts(contents));
            assert!(taken || data != RIGHT_SIGNED, "the right chain was refused");
        }
        None => as_sent(&anchor, data),
    }
}

fn as_sent(anchor: &TrustAnchor<'_>, data: &[u8]) {
    let anchors = [anchor.clone()];
    let sent: Vec<CertificateDer<'_>> = parts(data).into_iter().map(CertificateDer::from).collect();
    let verdict = Trust::anchors(&anchors).check("api.test", NOW, &sent);
    let right = parts(RIGHT);
    if verdict.is_ok() {
        assert_eq!(
            sent.first().map(|leaf| leaf.as_ref()),
            right.first().copied(),
            "another leaf was taken"
        );
        assert!(sent.iter().any(|one| one.as_ref() == right[1]), "taken without the intermediate");
    } else {
        assert_ne!(data, RIGHT, "the right chain was refused: {verdict:?}");
    }
    let _ = Trust::anchors(&anchors)
        .check("other.test", NOW, &sent)
        .expect_err("another name was taken");
    let _ =
        Trust::anchors(&anchors).check("api.test", 0, &sent).expect_err("another time was taken");
    // Uses the input as a trust anchor.
    if let Some(one) = sent.first() {
        let _ = anchor_from_trusted_cert(one);
    }
}

/// Returns whether a chain with these contents was accepted, for any name.
fn signed_here(anchor: &TrustAnchor<'_>, contents: &[&[u8]]) -> bool {
    let key = [P256_KEY, &point()].concat();
    let anchors = [TrustAnchor {
        subject: anchor.subject.clone(),
        subject_public_key_info: key.as_slice().into(),
        name_constraints: None,
    }];
    // Signing is the slow part, and no longer chain is accepted.
    let sent: Vec<CertificateDer<'_>> =
        contents.iter().take(3).map(|content| signed(content).into()).collect();
    let mut taken = false;
    for name in ["api.test", "other.test", "a.b.test"] {
        if Trust::anchors(&anchors).check(name, NOW, &sent).is_err() {
            continue;
        }
        taken = true;
        // Names are compared without regard to case.
        let holds = |content: &[u8], part: &[u8]| {
            content.windows(part.len()).any(|some| some.eq_ignore_ascii_case(part))
        };
        let (leaf, issuers) = contents.split_first().expect("a leaf was taken");
        let wildcard =
            name.split_once('.').map(|(_, rest)| format!("*.{rest}")).expect("a name with a dot");
        assert!(
            holds(leaf, name.as_bytes()) || holds(leaf, wildcard.as_bytes()),
            "taken for {name}"
        );
        // `keyUsage`, which webpki does not check: an issuer must have it.
        assert!(
            issuers.is_empty() || issuers.iter().any(|issuer| holds(issuer, &[0x55, 0x1d, 0x0f])),
            "issued without a word"
        );
    }
    taken
}

/// Returns the certificate with this content, signed with the key.
fn signed(content: &[u8]) -> Vec<u8> {
    let signature: DerSignature = KEY.sign(content);
    let signature = element(0x03, &[&[0], signature.as_bytes()]);
    element(0x30, &[content, ECDSA_SHA256, &signature])
}

/// Returns a DER element.
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take(7).take_while(|byte| **byte == 0).count()..];
    match (length, u8::try_from(length.len())) {
        ([short @ 0..0x80], _) => [&[tag, *short], content.as_slice()].concat(),
        (long, Ok(bytes)) => [&[tag, 0x80 | bytes], long, &content].concat(),
        (_, Err(_)) => unreachable!("a length has at most 8 bytes"),
    }
}
