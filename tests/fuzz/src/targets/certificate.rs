//! The verifier of chains: whatever the server sends, there is a verdict; and of the certificates that it knows not one bit may change.

use toolrunner_embassy::tls::{CertificateDer, Trust, anchor_from_trusted_cert};

const ROOT: &[u8] = include_bytes!("../../../../examples/firmware/certificates/root.der");
/// The right chain, in the form below.
const RIGHT: &[u8] = include_bytes!("../../corpus/certificate/right");
/// When the right chain is: a day of 2027.
const NOW: u64 = 1_800_000_000;

/// The certificates in an input: each with its length before it, in two bytes.
fn chain(mut data: &[u8]) -> Vec<&[u8]> {
    let mut all = Vec::new();
    while let Some((length, rest)) = data.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(rest.len());
        let (one, more) = rest.split_at(length);
        all.push(one);
        data = more;
    }
    all
}

/// See the module.
pub fn run(data: &[u8]) {
    let root = CertificateDer::from(ROOT);
    let anchors = [anchor_from_trusted_cert(&root).expect("an anchor")];
    let sent: Vec<CertificateDer<'_>> = chain(data).into_iter().map(CertificateDer::from).collect();
    let verdict = Trust::anchors(&anchors).check("api.test", NOW, &sent);
    let right = chain(RIGHT);
    if verdict.is_ok() {
        assert_eq!(sent.first().map(|leaf| leaf.as_ref()), right.first().copied(), "another leaf was taken");
        assert!(sent.iter().any(|one| one.as_ref() == right[1]), "taken without the intermediate");
    } else {
        assert_ne!(data, RIGHT, "the right chain was refused: {verdict:?}");
    }
    let _ = Trust::anchors(&anchors).check("other.test", NOW, &sent).expect_err("another name was taken");
    let _ = Trust::anchors(&anchors).check("api.test", 0, &sent).expect_err("another time was taken");
    // The input as an anchor.
    if let Some(one) = sent.first() {
        let _ = anchor_from_trusted_cert(one);
    }
}
