//! Verdicts on chains made here, against those of `openssl verify -x509_strict -partial_chain
//! -purpose sslserver`.
//!
//! Needs the program `openssl`, 3.0 or newer. Without it the tests say so and judge by the expected
//! verdicts alone.

mod authority;

use authority::{Authority, Chain, Leaf, NOW, openssl_accepts, rsa_key};
use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};
use toolrunner_embassy::tls::{
    CertificateDer, KeyPin, Refusal, Trust, TrustAnchor, anchor_from_trusted_cert,
};

const HOST: &str = "api.example.com";

fn check(chain: &Chain, host: &str, pins: &[KeyPin]) -> Result<(), Refusal> {
    let anchor = CertificateDer::from(chain.anchor.as_slice());
    let anchors: [TrustAnchor<'_>; 1] = [anchor_from_trusted_cert(&anchor).expect("an anchor")];
    let sent: Vec<CertificateDer<'_>> =
        chain.sent.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    Trust::anchors(&anchors).pinned(pins).check(host, chain.now, &sent)
}

/// Our verdict is as expected, and OpenSSL's is the same but for the reason.
#[track_caller]
fn verdict(chain: &Chain, host: &str, expected: Result<(), Refusal>) {
    assert_eq!(check(chain, host, &[]), expected);
    if let Some(accepts) = openssl_accepts(chain, host) {
        assert_eq!(accepts, expected.is_ok(), "openssl has another verdict");
    }
}

#[test]
fn a_leaf_of_the_root() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    verdict(&root.chain(&Leaf::new(&[HOST])), HOST, Ok(()));
}

#[test]
fn google_s_shape_anchored_at_root_and_at_intermediate() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P384_SHA384);
    let intermediate = root.intermediate("intermediate", &rcgen::PKCS_ECDSA_P256_SHA256);
    let chain = intermediate.chain(&Leaf::new(&[HOST])).anchored(&root);
    let expected = if cfg!(feature = "p384") { Ok(()) } else { Err(Refusal::Key) };
    assert_eq!(check(&chain, HOST, &[]), expected);
    if cfg!(feature = "p384") {
        verdict(&chain, HOST, Ok(()));
    }
    verdict(&intermediate.chain(&Leaf::new(&[HOST])), HOST, Ok(()));
}

#[test]
#[cfg(feature = "p384")]
fn lets_encrypt_s_shape() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P384_SHA384);
    let intermediate = root.intermediate("intermediate", &rcgen::PKCS_ECDSA_P384_SHA384);
    verdict(&intermediate.chain(&Leaf::new(&[HOST])).anchored(&root), HOST, Ok(()));
}

#[test]
fn four_certificates() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let first = root.intermediate("first", &rcgen::PKCS_ECDSA_P256_SHA256);
    let second = first.intermediate("second", &rcgen::PKCS_ECDSA_P256_SHA256);
    let mut chain = second.chain(&Leaf::new(&[HOST])).with(&first).with(&root).anchored(&root);
    assert_eq!(chain.sent.len(), 4);
    verdict(&chain, HOST, Ok(()));
    chain.sent.swap(1, 2);
    verdict(&chain, HOST, Ok(()));
}

#[test]
fn a_cross_signed_tail() {
    // The server sends its root once more, signed by an older root that is RSA and not trusted
    // here.
    let old = Authority::root_with_key("old root", rsa_key());
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let crossed = old.cross_sign(&root);
    let intermediate = root.intermediate("intermediate", &rcgen::PKCS_ECDSA_P256_SHA256);
    let chain = intermediate.chain(&Leaf::new(&[HOST])).with_der(&crossed);
    verdict(&chain.clone().anchored(&root), HOST, Ok(()));
    // The same, trusting only the RSA root: sound, and OpenSSL takes it; here it is the refusal
    // that says so.
    assert_eq!(check(&chain.clone().anchored(&old), HOST, &[]), Err(Refusal::Rsa));
}

#[test]
fn rsa_is_a_refusal_that_says_so() {
    let root = Authority::root_with_key("root", rsa_key());
    let chain = root.chain(&Leaf::new(&[HOST]).with_key(rsa_key()));
    assert_eq!(check(&chain, HOST, &[]), Err(Refusal::Rsa));
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let chain = root.chain(&Leaf::new(&[HOST]).with_key(rsa_key()));
    assert_eq!(check(&chain, HOST, &[]), Err(Refusal::Rsa));
    assert_eq!(Refusal::Rsa.text(), "the server's chain uses RSA, which is not supported");
}

#[test]
fn forged_by_a_leaf() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    // Another customer of the same authority signs a certificate for our host with the key of its
    // own.
    let other = root.leaf_as_authority("other.example.com", false);
    verdict(&other.chain(&Leaf::new(&[HOST])).anchored(&root), HOST, Err(Refusal::Usage));
    // The same with keyCertSign in the leaf, but still no authority.
    let other = root.leaf_as_authority("other.example.com", true);
    verdict(&other.chain(&Leaf::new(&[HOST])).anchored(&root), HOST, Err(Refusal::Usage));
}

#[test]
fn an_issuer_without_the_right_to_sign_certificates() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    for usages in [vec![KeyUsagePurpose::CrlSign], vec![]] {
        let intermediate =
            root.intermediate_for("intermediate", &rcgen::PKCS_ECDSA_P256_SHA256, usages);
        verdict(
            &intermediate.chain(&Leaf::new(&[HOST])).anchored(&root),
            HOST,
            Err(Refusal::Usage),
        );
    }
}

#[test]
fn a_leaf_that_may_not_sign() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    verdict(
        &root.chain(&Leaf::new(&[HOST]).usages(&[KeyUsagePurpose::CrlSign])),
        HOST,
        Err(Refusal::Usage),
    );
    // OpenSSL takes keyAgreement for a server of TLS 1.2. In TLS 1.3 the leaf must sign, so here it
    // is refused.
    let chain = root.chain(&Leaf::new(&[HOST]).usages(&[KeyUsagePurpose::KeyAgreement]));
    assert_eq!(check(&chain, HOST, &[]), Err(Refusal::Usage));
    // No statement about usage restricts nothing.
    verdict(&root.chain(&Leaf::new(&[HOST]).usages(&[])), HOST, Ok(()));
}

#[test]
fn a_client_s_certificate() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let leaf = Leaf::new(&[HOST]);
    verdict(
        &root.chain(&leaf.clone().purposes(&[ExtendedKeyUsagePurpose::ClientAuth])),
        HOST,
        Err(Refusal::Usage),
    );
    let both = [ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    verdict(&root.chain(&leaf.clone().purposes(&both)), HOST, Ok(()));
    verdict(&root.chain(&leaf.purposes(&[])), HOST, Ok(()));
}

#[test]
fn dates() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let mut chain = root.chain(&Leaf::new(&[HOST]));
    chain.now = NOW + 400 * 86_400;
    verdict(&chain, HOST, Err(Refusal::Expired));
    chain.now = NOW - 400 * 86_400;
    verdict(&chain, HOST, Err(Refusal::NotYetValid));
}

#[test]
fn an_expired_intermediate() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let intermediate = root.short_lived("intermediate");
    verdict(&intermediate.chain(&Leaf::new(&[HOST])).anchored(&root), HOST, Err(Refusal::Expired));
}

#[test]
fn another_root() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let other = Authority::root("another root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let namesake = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let chain = root.chain(&Leaf::new(&[HOST]));
    verdict(&chain.clone().anchored(&other), HOST, Err(Refusal::UnknownIssuer));
    // The same name and another key.
    verdict(&chain.anchored(&namesake), HOST, Err(Refusal::Signature));
}

#[test]
fn a_leaf_that_signed_itself() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let alone = Authority::root(HOST, &rcgen::PKCS_ECDSA_P256_SHA256);
    let mut chain = root.chain(&Leaf::new(&[HOST]));
    chain.sent = vec![alone.der()];
    verdict(&chain, HOST, Err(Refusal::Usage));
}

#[test]
fn names() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let one = root.chain(&Leaf::new(&[HOST]));
    verdict(&one, "other.example.com", Err(Refusal::Name));
    verdict(&one, "API.example.com", Ok(()));
    let wildcard = root.chain(&Leaf::new(&["*.example.com"]));
    verdict(&wildcard, HOST, Ok(()));
    verdict(&wildcard, "example.com", Err(Refusal::Name));
    verdict(&wildcard, "a.api.example.com", Err(Refusal::Name));
    let many: Vec<String> =
        (0..40).map(|i| format!("host-{i}.example.com")).chain([HOST.to_owned()]).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    verdict(&root.chain(&Leaf::new(&many)), HOST, Ok(()));
    verdict(&root.chain(&Leaf::new(&many[..40])), HOST, Err(Refusal::Name));
    assert_eq!(check(&one, "not a name", &[]), Err(Refusal::Name));
}

#[test]
fn a_changed_byte_is_noticed_wherever_it_is() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let mut chain = root.chain(&Leaf::new(&[HOST]));
    for at in 0..chain.sent[0].len() {
        chain.sent[0][at] ^= 0x04;
        assert!(check(&chain, HOST, &[]).is_err(), "byte {at}");
        chain.sent[0][at] ^= 0x04;
    }
    for len in 0..chain.sent[0].len() {
        let mut cut = chain.clone();
        cut.sent[0].truncate(len);
        assert!(check(&cut, HOST, &[]).is_err(), "cut to {len}");
    }
    assert_eq!(check(&chain, HOST, &[]), Ok(()));
}

#[test]
fn pins() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let intermediate = root.intermediate("intermediate", &rcgen::PKCS_ECDSA_P256_SHA256);
    let leaf = Leaf::new(&[HOST]);
    let chain = intermediate.chain(&leaf).anchored(&root);
    let wrong = KeyPin([7; 32]);
    assert_eq!(check(&chain, HOST, &[wrong]), Err(Refusal::Pin));
    for right in [leaf.pin(), intermediate.pin(), root.pin()] {
        assert_eq!(check(&chain, HOST, &[wrong, KeyPin(right)]), Ok(()));
    }
}

#[test]
fn no_certificate() {
    let root = Authority::root("root", &rcgen::PKCS_ECDSA_P256_SHA256);
    let mut chain = root.chain(&Leaf::new(&[HOST]));
    chain.sent.clear();
    assert_eq!(check(&chain, HOST, &[]), Err(Refusal::NoCertificate));
}

#[test]
fn the_built_in_anchors_are_debian_s() {
    use toolrunner_embassy::tls::anchors;
    for (name, anchor) in
        [("GTS_Root_R4", &anchors::GTS_ROOT_R4), ("ISRG_Root_X2", &anchors::ISRG_ROOT_X2)]
    {
        let Ok(text) =
            std::fs::read_to_string(format!("/usr/share/ca-certificates/mozilla/{name}.crt"))
        else {
            eprintln!("{name}: ca-certificates is not installed, nothing to compare with");
            continue;
        };
        let der = authority::der_of_pem(&text);
        let certificate = CertificateDer::from(der);
        assert_eq!(&anchor_from_trusted_cert(&certificate).expect("an anchor"), anchor, "{name}");
    }
}
