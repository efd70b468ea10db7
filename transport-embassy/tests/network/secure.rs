//! With TLS, to a server of rustls: the verdicts of a handshake, and the same keep-alive, drops and
//! cuts.

use std::rc::Rc;
use std::sync::Arc;

use embassy_time::{Duration, Timer, with_timeout};
use embedded_io_async::BufRead as _;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::PrivatePkcs8KeyDer;
use toolrunner_core::error::{Capacity, CapacityKind, Phrase};
use toolrunner_core::transport::ReplyHead;
use toolrunner_embassy::tls::{
    CertificateDer, Entropy, EntropyError, Handoff, KeyPin, Refusal, Resources, Secure, Security,
    Trust, TrustAnchor, WallClock, anchor_from_trusted_cert, session,
};
use toolrunner_embassy::{Error, Timeouts, Transport};

use crate::lab::{Lab, Wire};
use crate::rogue::Rogue;
use crate::server::{Act, say, serve};
use crate::{Log, Names, exchange, post};

const URL: &str = "https://api.example.com:8080";
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
/// 2026-06-01 00:00:00 UTC.
const NOW: u64 = 1_780_272_000;

struct Date(Option<u64>);

impl WallClock for Date {
    fn unix_seconds(&self) -> Option<u64> {
        self.0
    }
}

/// Counts instead of being random, and says how often it was asked.
struct Counted(Rc<core::cell::Cell<u8>>);

impl Entropy for Counted {
    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        let count = self.0.get().checked_add(1).ok_or(EntropyError)?;
        self.0.set(count);
        bytes.fill(count);
        Ok(())
    }
}

/// An RSA key, which only OpenSSL makes here.
fn rsa_key() -> KeyPair {
    let made =
        std::process::Command::new("openssl").args(["genpkey", "-algorithm", "RSA"]).output();
    KeyPair::from_pem(
        &String::from_utf8(made.expect("the program openssl").stdout).expect("PEM is text"),
    )
    .expect("an RSA key")
}

/// A server's identity, and what the client holds of it.
struct Setup {
    host: &'static str,
    algorithm: &'static rcgen::SignatureAlgorithm,
    now: Option<u64>,
    pins: &'static [KeyPin],
    /// Sends of a server that are larger go in several records.
    fragment: Option<usize>,
    draws: Rc<core::cell::Cell<u8>>,
    /// The server has an RSA certificate and no other.
    rsa: bool,
}

impl Setup {
    fn good() -> Self {
        let algorithm = &rcgen::PKCS_ECDSA_P256_SHA256;
        Self {
            host: "api.example.com",
            algorithm,
            now: Some(NOW),
            pins: &[],
            fragment: None,
            draws: Rc::default(),
            rsa: false,
        }
    }

    /// A root's DER and a server with a certificate of it.
    fn identity(&self) -> (Vec<u8>, rustls::ServerConfig) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params.distinguished_name.push(DnType::CommonName, "root");
        let key = KeyPair::generate_for(self.algorithm).expect("a key");
        let root = params.self_signed(&key).expect("a root").der().to_vec();
        let mut leaf = CertificateParams::new(vec![self.host.to_owned()]).expect("a name");
        leaf.not_before = rcgen::date_time_ymd(2026, 1, 1);
        leaf.not_after = rcgen::date_time_ymd(2026, 12, 1);
        let leaf_key = if self.rsa {
            rsa_key()
        } else {
            KeyPair::generate_for(self.algorithm).expect("a key")
        };
        let leaf = leaf.signed_by(&leaf_key, &Issuer::from_params(&params, &key)).expect("a leaf");
        let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone()],
            PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into(),
        )
        .expect("an identity");
        config.max_fragment_size = self.fragment;
        config.enable_secret_extraction = true;
        (root, config)
    }

    /// Runs `test` with a transport to a server that follows `script`, through records of at most
    /// `RECORD` bytes.
    fn run<const RECORD: usize, T>(
        &self,
        wire: Wire,
        script: Vec<Vec<Act>>,
        test: impl AsyncFnOnce(&mut Transport<Secure<'_, '_>>) -> T,
    ) -> (T, Log) {
        let lab = Lab::new();
        let (tcp, server) = lab.network(wire);
        let (root, config) = self.identity();
        let seen = Log::default();
        lab.spawn(serve(lab.spawner(), server, Some(Arc::new(config)), script, Rc::clone(&seen)));
        let root = CertificateDer::from(root);
        let anchors: [TrustAnchor<'_>; 1] = [anchor_from_trusted_cert(&root).expect("an anchor")];
        let trust = Trust::anchors(&anchors).pinned(self.pins);
        let security =
            Security { trust, clock: Date(self.now), entropy: Counted(Rc::clone(&self.draws)) };
        let mut resources = Resources::<512, RECORD, 512>::new();
        let (buffer, records) = resources.split();
        let handoff = Handoff::new();
        let session = core::pin::pin!(session(&handoff, records, tcp, &Names, security));
        let mut transport =
            Transport::new(Secure::new(&handoff, session, buffer), Timeouts::DEFAULT);
        let outcome = lab.run(test(&mut transport));
        (outcome, seen)
    }

    /// How one request to a server of this identity goes.
    fn one(&self) -> Result<String, Error> {
        let script = vec![vec![Act::Request, say(OK)]];
        self.run::<16_640, _>(Wire::default(), script, async |transport| {
            exchange(transport, URL, "[]").await.map(|(_, text)| text)
        })
        .0
    }
}

#[test]
fn verdicts_of_a_handshake() {
    assert_eq!(Setup::good().one(), Ok("hello".into()));
    let p384 = Setup { algorithm: &rcgen::PKCS_ECDSA_P384_SHA384, ..Setup::good() };
    if cfg!(feature = "p384") {
        assert_eq!(p384.one(), Ok("hello".into()));
    }
    let refused = |setup: Setup, why| assert_eq!(setup.one(), Err(Error::Refused(why)));
    refused(Setup { host: "www.example.com", ..Setup::good() }, Refusal::Name);
    refused(Setup { now: Some(NOW + 31_536_000), ..Setup::good() }, Refusal::Expired);
    refused(Setup { now: Some(NOW - 31_536_000), ..Setup::good() }, Refusal::NotYetValid);
    refused(Setup { now: None, ..Setup::good() }, Refusal::NoClock);
    refused(Setup { pins: &[KeyPin([0; 32])], ..Setup::good() }, Refusal::Pin);
    refused(Setup { draws: Rc::new(255.into()), ..Setup::good() }, Refusal::Entropy);
    refused(Setup { algorithm: &rcgen::PKCS_ED25519, ..Setup::good() }, Refusal::Key);
    // The server has nothing that this client could check, and says so before it shows a
    // certificate.
    assert_eq!(Setup { rsa: true, ..Setup::good() }.one(), Err(Error::HandshakeRefused));
}

#[test]
fn a_refused_server_receives_an_alert() {
    let setup = Setup { host: "www.example.com", ..Setup::good() };
    let script = vec![vec![Act::Request]];
    let (outcome, seen) = setup.run::<16_640, _>(Wire::default(), script, async |transport| {
        exchange(transport, URL, "[]").await.map(|(_, text)| text)
    });
    assert_eq!(outcome, Err(Error::Refused(Refusal::Name)));
    let alert = rustls::Error::AlertReceived(rustls::AlertDescription::BadCertificate);
    assert_eq!(seen.borrow().tls_error, Some(alert));
}

#[test]
fn one_session_for_all_turns_and_fresh_entropy_for_each_connection() {
    let setup = Setup::good();
    let turns = vec![Act::Request, say(OK), Act::Request, say(OK), Act::Close];
    let (_, seen) =
        setup.run::<16_640, _>(Wire::default(), vec![turns.clone(), turns], async |transport| {
            for _ in 0..4 {
                assert_eq!(exchange(transport, URL, "[]").await.expect("a reply").1, "hello");
                Timer::after_secs(5).await;
            }
        });
    assert_eq!(
        (seen.borrow().connections, seen.borrow().requests.len(), setup.draws.get()),
        (2, 4, 2)
    );
    assert!(
        seen.borrow().requests[0]
            .starts_with("POST /v1/messages HTTP/1.1\r\nhost: api.example.com:8080\r\n")
    );
}

/// What comes between two exchanges closes the session, even if it is a part of a record.
#[test]
fn a_session_on_which_something_came_unasked_is_not_used_again() {
    for extra in [vec![Act::Close], vec![Act::Cut], vec![say(OK)]] {
        let first = [vec![Act::Request, say(OK)], extra.clone()].concat();
        let script = vec![first, vec![Act::Request, say(OK)]];
        let (_, seen) =
            Setup::good().run::<16_640, _>(Wire::default(), script, async |transport| {
                for _ in 0..2 {
                    assert_eq!(exchange(transport, URL, "[]").await.expect("a reply").1, "hello");
                    Timer::after_secs(5).await;
                }
            });
        assert_eq!((seen.borrow().connections, seen.borrow().requests.len()), (2, 2), "{extra:?}");
    }
}

/// The same of a session on which the server closes after it has read the whole request: the
/// caller decides whether the request is sent again.
#[test]
fn a_request_that_a_server_may_have_read_is_the_callers_to_send_again() {
    let script =
        vec![vec![Act::Request, say(OK), Act::Request, Act::Close], vec![Act::Request, say(OK)]];
    let (_, seen) = Setup::good().run::<16_640, _>(Wire::default(), script, async |transport| {
        assert_eq!(exchange(transport, URL, "[]").await.expect("a reply").1, "hello");
        let closed = exchange(transport, URL, "[]").await.map(|_| ());
        assert_eq!(closed, Err(Error::Closed));
        assert_eq!(exchange(transport, URL, "[]").await.expect("a reply").1, "hello");
    });
    assert_eq!((seen.borrow().connections, seen.borrow().requests.len()), (2, 3));
}

#[test]
fn dropped_in_the_middle() {
    let half = vec![Act::Request, say("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")];
    let script = vec![half.clone(), half, vec![Act::Request, say(OK)]];
    let (_, seen) = Setup::good().run::<16_640, _>(Wire::default(), script, async |transport| {
        // A reply that is let go, a read that is dropped, a reply that is forgotten: each time a
        // new connection.
        drop(post(transport, URL, "[]").await.expect("a reply"));
        let mut reply = post(transport, URL, "[]").await.expect("a reply");
        reply.body.consume(5);
        assert!(with_timeout(Duration::from_secs(1), reply.body.fill_buf()).await.is_err());
        core::mem::forget(reply);
        assert_eq!(exchange(transport, URL, "[]").await.expect("a reply").1, "hello");
    });
    assert_eq!(seen.borrow().connections, 3);
}

#[test]
fn a_handshake_that_is_dropped() {
    let script =
        vec![vec![Act::Wait(Duration::from_secs(5)), Act::Request], vec![Act::Request, say(OK)]];
    Setup::good().run::<16_640, _>(Wire::default(), script, async |transport| {
        assert!(
            with_timeout(Duration::from_secs(1), exchange(transport, URL, "[]")).await.is_err()
        );
        assert_eq!(exchange(transport, URL, "[]").await.expect("a reply").1, "hello");
    });
}

#[test]
fn a_stream_to_the_end_must_be_ended_by_the_server() {
    let open = say("HTTP/1.1 200 OK\r\n\r\nhello");
    let script =
        vec![vec![Act::Request, open.clone(), Act::Close], vec![Act::Request, open, Act::Cut]];
    Setup::good().run::<16_640, _>(Wire::default(), script, async |transport| {
        assert_eq!(exchange(transport, URL, "[]").await.expect("a reply").1, "hello");
        // The same without close_notify may have been cut by anyone on the way.
        assert_eq!(exchange(transport, URL, "[]").await.map(|(_, text)| text), Err(Error::Closed));
    });
}

/// A TLS record of `needed` bytes, and a buffer of `free`.
fn record_full(needed: usize, free: usize) -> Error {
    Error::Capacity(Capacity { what: CapacityKind::Record, needed, free })
}

#[test]
fn records_larger_than_the_buffer() {
    let text = "0123456789abcdef".repeat(1000);
    let script = vec![
        vec![
            Act::Request,
            say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len()))
        ];
        2
    ];
    let outcome = async |transport: &mut Transport<Secure<'_, '_>>| {
        exchange(transport, URL, "[]").await.map(|(_, text)| text.len())
    };
    assert_eq!(
        Setup::good().run::<4352, _>(Wire::default(), script.clone(), outcome).0,
        Err(record_full(16_017, 4352))
    );
    let small = Setup { fragment: Some(4096), ..Setup::good() };
    assert_eq!(small.run::<4352, _>(Wire::default(), script, outcome).0, Ok(16_000));
}

/// Messages of the handshake after its end, and records that nobody sends: an error, and the next
/// request over a new connection.
#[test]
fn a_server_that_breaks_the_rules_after_the_handshake() {
    let plain = Rogue::MESSAGES.map(|rogue| match rogue {
        Rogue::Message(kind, body) => Rogue::PlainMessage(kind, body),
        other => other,
    });
    let all = Rogue::MESSAGES.into_iter().chain(plain).chain([
        Rogue::KEY_UPDATE,
        Rogue::Nothing,
        Rogue::PlainClose,
    ]);
    for rogue in all {
        // In place of a reply, and in the middle of one that goes on to the end of the connection.
        for said in ["", "HTTP/1.1 200 OK\r\n\r\nhello"] {
            let script =
                vec![vec![Act::Request, say(said), Act::Rogue(rogue)], vec![Act::Request, say(OK)]];
            let (_, seen) =
                Setup::good().run::<16_640, _>(Wire::default(), script, async |transport| {
                    assert_eq!(
                        exchange(transport, URL, "[]").await.map(|(_, text)| text),
                        Err(Error::Session),
                        "{rogue:?} after {said:?}"
                    );
                    assert_eq!(
                        exchange(transport, URL, "[]").await.expect("a reply").1,
                        "hello",
                        "{rogue:?} after {said:?}"
                    );
                });
            assert_eq!(seen.borrow().connections, 2, "{rogue:?} after {said:?}");
        }
    }
}

/// How one request goes through a buffer and records of these sizes.
fn through<const BUFFER: usize, const IN: usize, const OUT: usize>() -> Result<String, Error> {
    let lab = Lab::new();
    let (tcp, server) = lab.network(Wire::default());
    let (root, config) = Setup::good().identity();
    lab.spawn(serve(
        lab.spawner(),
        server,
        Some(Arc::new(config)),
        vec![vec![Act::Request, say(OK)]],
        Log::default(),
    ));
    let root = CertificateDer::from(root);
    let anchors = [anchor_from_trusted_cert(&root).expect("an anchor")];
    let security = Security {
        trust: Trust::anchors(&anchors),
        clock: Date(Some(NOW)),
        entropy: Counted(Rc::default()),
    };
    let mut resources = Resources::<BUFFER, IN, OUT>::new();
    let (buffer, records) = resources.split();
    let handoff = Handoff::new();
    let session = core::pin::pin!(session(&handoff, records, tcp, &Names, security));
    let mut transport = Transport::new(Secure::new(&handoff, session, buffer), Timeouts::DEFAULT);
    lab.run(async { exchange(&mut transport, URL, "[]").await.map(|(_, text)| text) })
}

#[test]
fn buffers_that_are_too_small_are_named() {
    assert_eq!(through::<0, 16_640, 512>(), Err(Error::Capacity(ReplyHead::full(40, 0))));
    assert_eq!(through::<39, 16_640, 512>(), Err(Error::Capacity(ReplyHead::full(40, 39))));
    assert_eq!(through::<40, 16_640, 512>(), Ok("hello".into()));
    assert_eq!(through::<512, 16_640, 0>(), Err(record_full(174 + "api.example.com".len(), 0)));
    assert_eq!(through::<512, 16_640, 188>(), Err(record_full(189, 188)));
    assert_eq!(through::<512, 16_640, 189>(), Ok("hello".into()));
    // The smaller record makes the hello longer by the wish for small ones.
    assert!(through::<512, 4352, 189>().is_ok());
    assert!(matches!(
        through::<512, 0, 512>(),
        Err(Error::Capacity(Capacity { what: CapacityKind::Record, needed: 1.., free: 0 }))
    ));
}

#[test]
fn lost_and_doubled_frames() {
    let text = "0123456789abcdef".repeat(1000);
    let script = vec![vec![
        Act::Request,
        say(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}", text.len())),
    ]];
    let question = "x".repeat(6000);
    let (_, seen) =
        Setup::good().run::<16_640, _>(Wire { lose: 7, double: 3 }, script, async |transport| {
            assert_eq!(exchange(transport, URL, &question).await.expect("a reply").1, text);
        });
    assert!(seen.borrow().requests[0].ends_with(&format!("{question}}}")));
}

#[test]
fn http_is_not_for_this_link() {
    Setup::good().run::<16_640, _>(Wire::default(), vec![], async |transport| {
        assert_eq!(
            exchange(transport, "http://api.example.com", "[]").await.map(|_| ()),
            Err(Error::BaseUrl(Phrase::of("a base URL with http needs a link without TLS")))
        );
    });
}
