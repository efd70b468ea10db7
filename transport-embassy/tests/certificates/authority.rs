//! Authorities and chains for the tests, and OpenSSL's opinion of them.

use core::sync::atomic::{AtomicU32, Ordering};
use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData as _, SignatureAlgorithm, date_time_ymd,
};
use sha2::{Digest as _, Sha256};

/// 2026-06-01 00:00:00 UTC, in the middle of what the certificates made here are valid for.
pub(crate) const NOW: u64 = 1_780_272_000;

/// Who signs.
pub(crate) struct Authority {
    params: CertificateParams,
    key: KeyPair,
    der: Vec<u8>,
}

/// What a server sends, and what the client trusts.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) anchor: Vec<u8>,
    pub(crate) now: u64,
}

/// A certificate to be.
pub(crate) struct Leaf {
    params: CertificateParams,
    key: KeyPair,
}

fn dated(mut params: CertificateParams, name: &str) -> CertificateParams {
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2026, 12, 1);
    params.use_authority_key_identifier_extension = true;
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority_params(name: &str, usages: Vec<KeyUsagePurpose>) -> CertificateParams {
    let mut params = dated(CertificateParams::default(), name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = usages;
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2040, 1, 1);
    params
}

fn may_issue() -> Vec<KeyUsagePurpose> {
    vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign]
}

/// An RSA key, which only OpenSSL makes here.
pub(crate) fn rsa_key() -> KeyPair {
    let args = ["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
    let made = Command::new("openssl")
        .args(args)
        .stderr(Stdio::null())
        .output()
        .expect("the program openssl");
    KeyPair::from_pem(&String::from_utf8(made.stdout).expect("PEM is text")).expect("an RSA key")
}

impl Authority {
    pub(crate) fn root(name: &str, algorithm: &'static SignatureAlgorithm) -> Self {
        Self::root_with_key(name, KeyPair::generate_for(algorithm).expect("a key"))
    }

    pub(crate) fn root_with_key(name: &str, key: KeyPair) -> Self {
        let params = authority_params(name, may_issue());
        let der = params.self_signed(&key).expect("a root").der().to_vec();
        Self { params, key, der }
    }

    fn issue(&self, params: CertificateParams, key: KeyPair) -> Self {
        let der = params
            .signed_by(&key, &Issuer::from_params(&self.params, &self.key))
            .expect("a certificate")
            .der()
            .to_vec();
        Self { params, key, der }
    }

    pub(crate) fn intermediate(&self, name: &str, algorithm: &'static SignatureAlgorithm) -> Self {
        self.intermediate_for(name, algorithm, may_issue())
    }

    pub(crate) fn intermediate_for(
        &self,
        name: &str,
        algorithm: &'static SignatureAlgorithm,
        usages: Vec<KeyUsagePurpose>,
    ) -> Self {
        self.issue(authority_params(name, usages), KeyPair::generate_for(algorithm).expect("a key"))
    }

    /// An intermediate that expired before [`NOW`].
    pub(crate) fn short_lived(&self, name: &str) -> Self {
        let mut params = authority_params(name, may_issue());
        params.not_after = date_time_ymd(2026, 5, 1);
        self.issue(params, KeyPair::generate().expect("a key"))
    }

    /// A server's certificate whose owner plays authority.
    pub(crate) fn leaf_as_authority(&self, name: &str, may_issue: bool) -> Self {
        let mut leaf = Leaf::new(&[name]);
        if may_issue {
            leaf.params.key_usages.push(KeyUsagePurpose::KeyCertSign);
        }
        self.issue(leaf.params, leaf.key)
    }

    /// `other`'s name and key in a certificate of this authority.
    pub(crate) fn cross_sign(&self, other: &Self) -> Vec<u8> {
        other
            .params
            .signed_by(&other.key, &Issuer::from_params(&self.params, &self.key))
            .expect("a certificate")
            .der()
            .to_vec()
    }

    /// What a server with this leaf sends: the leaf and this authority, which is the anchor too
    /// until [`Chain::anchored`] says otherwise.
    pub(crate) fn chain(&self, leaf: &Leaf) -> Chain {
        let signed = leaf
            .params
            .signed_by(&leaf.key, &Issuer::from_params(&self.params, &self.key))
            .expect("a certificate");
        Chain {
            sent: vec![signed.der().to_vec(), self.der.clone()],
            anchor: self.der.clone(),
            now: NOW,
        }
    }

    pub(crate) fn der(&self) -> Vec<u8> {
        self.der.clone()
    }

    pub(crate) fn pin(&self) -> [u8; 32] {
        Sha256::digest(self.key.subject_public_key_info()).into()
    }
}

impl Chain {
    pub(crate) fn anchored(mut self, anchor: &Authority) -> Self {
        self.anchor.clone_from(&anchor.der);
        self
    }

    pub(crate) fn with(mut self, issuer: &Authority) -> Self {
        self.sent.push(issuer.der.clone());
        self
    }

    pub(crate) fn with_der(mut self, der: &[u8]) -> Self {
        self.sent.push(der.to_vec());
        self
    }
}

impl Leaf {
    pub(crate) fn new(names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = dated(CertificateParams::new(names).expect("names"), "leaf");
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        Self { params, key: KeyPair::generate().expect("a key") }
    }

    pub(crate) fn with_key(mut self, key: KeyPair) -> Self {
        self.key = key;
        self
    }

    pub(crate) fn usages(mut self, usages: &[KeyUsagePurpose]) -> Self {
        self.params.key_usages = usages.to_vec();
        self
    }

    pub(crate) fn purposes(mut self, purposes: &[ExtendedKeyUsagePurpose]) -> Self {
        self.params.extended_key_usages = purposes.to_vec();
        self
    }

    pub(crate) fn pin(&self) -> [u8; 32] {
        Sha256::digest(self.key.subject_public_key_info()).into()
    }
}

impl Clone for Leaf {
    fn clone(&self) -> Self {
        Self {
            params: self.params.clone(),
            key: KeyPair::from_pem(&self.key.serialize_pem()).expect("the same key"),
        }
    }
}

/// Whether OpenSSL accepts the chain; `None` if there is no OpenSSL here.
pub(crate) fn openssl_accepts(chain: &Chain, host: &str) -> Option<bool> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("chain-{}", COUNT.fetch_add(1, Ordering::Relaxed)));
    std::fs::create_dir_all(&folder).expect("a folder for the certificates");
    let file = |name: &str, certificates: &[Vec<u8>]| {
        let path = folder.join(name);
        std::fs::write(&path, certificates.iter().map(|der| pem_of_der(der)).collect::<String>())
            .expect("a file of PEM");
        path
    };
    let leaf = file("leaf.pem", &chain.sent[..1]);
    let untrusted = file("untrusted.pem", &chain.sent[1..]);
    let anchor = file("anchor.pem", core::slice::from_ref(&chain.anchor));
    let mut openssl = Command::new("openssl");
    openssl.args([
        "verify",
        "-x509_strict",
        "-partial_chain",
        "-purpose",
        "sslserver",
        "-no-CAfile",
        "-no-CApath",
        "-no-CAstore",
    ]);
    openssl
        .args(["-verify_hostname", host, "-attime", &chain.now.to_string()])
        .arg("-trusted")
        .arg(anchor);
    if chain.sent.len() > 1 {
        openssl.arg("-untrusted").arg(untrusted);
    }
    let verdict = openssl.arg(leaf).output().ok()?;
    eprintln!(
        "{}{}",
        String::from_utf8_lossy(&verdict.stdout),
        String::from_utf8_lossy(&verdict.stderr)
    );
    Some(verdict.status.success())
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn pem_of_der(der: &[u8]) -> String {
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let bits = group.iter().fold(0_u32, |bits, &byte| bits << 8 | u32::from(byte))
                << (8 * (3 - group.len()));
            for i in 0..4 {
                text.push(if i <= group.len() {
                    char::from(ALPHABET[(bits >> (18 - 6 * i) & 63) as usize])
                } else {
                    '='
                });
            }
        }
        text.push('\n');
    }
    text + "-----END CERTIFICATE-----\n"
}

/// The first certificate of a PEM text.
pub(crate) fn der_of_pem(text: &str) -> Vec<u8> {
    let base64: Vec<u8> = text
        .lines()
        .filter(|line| !line.starts_with("-----"))
        .flat_map(str::bytes)
        .filter(|&b| b != b'=')
        .collect();
    let mut der = Vec::new();
    for group in base64.chunks(4) {
        let value = |b: &u8| ALPHABET.iter().position(|c| c == b).expect("base64") as u32;
        let bits = group.iter().fold(0, |bits, b| bits << 6 | value(b)) << (6 * (4 - group.len()));
        der.extend_from_slice(&bits.to_be_bytes()[1..group.len()]);
    }
    der
}
