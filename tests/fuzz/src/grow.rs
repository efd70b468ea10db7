//! Generates the corpora from the project's scenarios, and adds seeds that no scenario covers.

use std::fs;
use std::path::Path;

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use serde_json::Value;
use toolrunner_core::run::{Run, Step, ToolAnswer};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;
use toolrunner_fuzz::mutate::Rng;
use toolrunner_fuzz::targets::certificate;

/// The maximum length of a seed in bytes. Mutations of small seeds find more.
const LONGEST: usize = 3000;
/// The maximum number of generated seeds of a target.
const MOST: usize = 24;

/// Writes all corpora under `home`.
pub(crate) fn all(home: &Path) {
    let scenarios = scenarios(&home.join("../scenarios"));
    let exchanges: Vec<&Value> = scenarios
        .iter()
        .filter_map(|scenario| scenario["exchanges"].as_array())
        .flatten()
        .collect();
    let bodies: Vec<String> = exchanges
        .iter()
        .filter_map(|exchange| Some(exchange["body"].as_str()?.to_owned()))
        .collect();
    let requests: Vec<&Value> = exchanges.iter().map(|exchange| &exchange["request"]).collect();
    let messages = |request: &Value| request["messages"].as_array().cloned().unwrap_or_default();

    let json = bodies
        .iter()
        .filter(|body| body.starts_with('{'))
        .cloned()
        .chain(requests.iter().map(|request| request.to_string()));
    write(home, "json", json.map(String::into_bytes));
    write(home, "sse", bodies.iter().map(|body| [b"\x07", body.as_bytes()].concat()));
    let conversations = requests.iter().map(|request| {
        messages(request).iter().map(Value::to_string).collect::<Vec<_>>().join(",")
    });
    let single =
        requests.iter().flat_map(|request| messages(request)).map(|message| message.to_string());
    write(home, "transcript", single.chain(conversations).map(String::into_bytes));
    write(home, "snapshot", bodies.iter().filter_map(|body| snapshot(body)));
    // These targets interpret bytes as choices, so random bytes are as good as any.
    for (name, length) in [("events", 120), ("schema", 90), ("machine", 700)] {
        let mut rng = Rng::new(length);
        write(home, name, (0..MOST).map(|_| (0..length).map(|_| rng.below(256) as u8).collect()));
    }
    certificates(home);
}

fn scenarios(folder: &Path) -> Vec<Value> {
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("the scenarios").flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            serde_json::from_slice(&fs::read(path).expect("a scenario")).expect("a scenario")
        })
        .collect()
}

/// Returns the snapshot of a run that received this reply, with one of its calls answered.
fn snapshot(body: &str) -> Option<Vec<u8>> {
    let mut run = Run::new(Transcript::growing());
    run.user("Hi").ok()?;
    if run.step(Instant::ZERO) != Ok(Step::Send) {
        return None;
    }
    run.head_arrived(&ReplyHead::new(200));
    let mut rest = body.as_bytes();
    while run.feed(&mut rest).ok()?.is_some() {}
    while run.end_of_body().ok()?.is_some() {}
    if run.step(Instant::ZERO) == Ok(Step::Call) {
        run.answer(run.next_call()?, ToolAnswer::ok("ok")).ok()?;
    }
    let mut out = Vec::new();
    run.snapshot(&mut out).ok()?;
    Some(out)
}

/// Writes the chain of the emulated board's server: complete, without its intermediate, and in
/// reverse order; also the contents of its certificates, for the target to sign.
fn certificates(home: &Path) {
    let pem = fs::read(home.join("../../examples/firmware/certificates/server.pem"))
        .expect("the server's certificates");
    let chain: Vec<CertificateDer<'_>> =
        CertificateDer::pem_slice_iter(&pem).collect::<Result<_, _>>().expect("certificates");
    let packed = |certificates: &[&CertificateDer<'_>]| -> Vec<u8> {
        let one = |der: &&CertificateDer<'_>| {
            [&u16::try_from(der.len()).expect("short").to_be_bytes(), der.as_ref()].concat()
        };
        certificates.iter().flat_map(one).collect()
    };
    let (leaf, middle) = (&chain[0], &chain[1]);
    for (name, bytes) in [
        ("right", packed(&[leaf, middle])),
        ("leaf", packed(&[leaf])),
        ("turned", packed(&[middle, leaf])),
    ] {
        fs::write(home.join("corpus/certificate").join(name), bytes).expect("written");
    }
    let contents: Vec<CertificateDer<'_>> =
        chain.iter().map(|certificate| content(certificate).into()).collect();
    let signed = [certificate::SIGNED, &packed(&contents.iter().collect::<Vec<_>>())].concat();
    fs::write(home.join("corpus/certificate/signed"), signed).expect("written");
}

/// Returns the part of a certificate that its issuer signs, with the target's key and algorithm.
fn content(certificate: &[u8]) -> Vec<u8> {
    // The part and the certificate around it are both longer than 255 bytes.
    let length = usize::from(u16::from_be_bytes([certificate[6], certificate[7]]));
    let mut content = certificate[4..8 + length].to_vec();
    for (start, with) in [
        (&[3, 0x42, 0][..], [&[3, 0x42, 0], certificate::point().as_slice()].concat()),
        (&certificate::ECDSA_SHA256[..11], certificate::ECDSA_SHA256.to_vec()),
    ] {
        let at = content
            .windows(start.len())
            .position(|part| part == start)
            .expect("a key and an algorithm of these kinds");
        content.splice(at..at + with.len(), with);
    }
    content
}

/// Writes seeds: distinct ones, spread over all candidates.
fn write(home: &Path, name: &str, seeds: impl Iterator<Item = Vec<u8>>) {
    let mut seeds: Vec<Vec<u8>> = seeds.filter(|seed| seed.len() <= LONGEST).collect();
    seeds.sort();
    seeds.dedup();
    let folder = home.join("corpus").join(name);
    fs::create_dir_all(&folder).expect("a folder");
    // Inputs of former findings have longer names and stay.
    for entry in fs::read_dir(&folder)
        .expect("a folder")
        .flatten()
        .filter(|entry| entry.file_name().len() == 2)
    {
        fs::remove_file(entry.path()).expect("removed");
    }
    let step = seeds.len().div_ceil(MOST).max(1);
    for (i, seed) in seeds.iter().step_by(step).enumerate() {
        fs::write(folder.join(format!("{i:02}")), seed).expect("written");
    }
}
