//! The server, and its plan.

use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes128Gcm, KeyInit};
use digest::Digest;
use embassy_futures::block_on;
use embedded_io_async::{ErrorKind, ErrorType, Read, Write};
use p256::ecdh::EphemeralSecret;
use p256::{EncodedPoint, PublicKey};
use rand_core::{CryptoRng, RngCore};
use sha2::Sha256;

use crate::connection::State;
use crate::key_schedule::KeySchedule;
use crate::{
    Aes128GcmSha256, CertificateRef, CertificateVerifyRef, CryptoProvider, CryptoRngCore,
    TlsConfig, TlsConnection, TlsContext, TlsError, TlsVerifier,
};

pub(super) const ALERT: u8 = 21;
pub(super) const HANDSHAKE: u8 = 22;
pub(super) const DATA: u8 = 23;

pub(super) const SERVER_HELLO: u8 = 2;
pub(super) const NEW_SESSION_TICKET: u8 = 4;
pub(super) const ENCRYPTED_EXTENSIONS: u8 = 8;
pub(super) const CERTIFICATE: u8 = 11;
pub(super) const CERTIFICATE_REQUEST: u8 = 13;
pub(super) const CERTIFICATE_VERIFY: u8 = 15;
pub(super) const FINISHED: u8 = 20;

/// Numbers that look random and are the same in each run (xorshift64*).
#[derive(Clone)]
pub(crate) struct Numbers(pub(crate) u64);

impl RngCore for Numbers {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| self.next_u64() as u8);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl CryptoRng for Numbers {}

impl Numbers {
    pub(super) fn below(&mut self, end: usize) -> usize {
        (self.next_u64() % end as u64) as usize
    }
}

/// The client's: it accepts every certificate and signature.
pub(crate) struct Provider(pub(crate) Numbers);

impl CryptoProvider for Provider {
    type CipherSuite = Aes128GcmSha256;

    fn rng(&mut self) -> impl CryptoRngCore {
        &mut self.0
    }

    fn verifier(&mut self) -> &mut impl TlsVerifier<Aes128GcmSha256> {
        self
    }
}

impl TlsVerifier<Aes128GcmSha256> for Provider {
    fn verify_certificate(&mut self, _: &Sha256, _: CertificateRef) -> Result<(), TlsError> {
        Ok(())
    }

    fn verify_signature(&mut self, _: CertificateVerifyRef) -> Result<(), TlsError> {
        Ok(())
    }
}

pub(super) type Change<'p> = &'p dyn Fn(&mut Vec<u8>);
pub(super) type Flight<'p> = &'p dyn Fn(Vec<Vec<u8>>) -> Vec<Record>;

/// What the server sends in its encrypted flight, and after the client's Finished.
pub(super) struct Plan<'p> {
    /// Changes the whole ServerHello. Without it, client and server already have their first keys.
    pub(super) hello: Option<Change<'p>>,
    /// Makes the records of the flight from its four whole messages, from which Finished is
    /// computed. Without it, client and server already have all keys.
    pub(super) flight: Option<Flight<'p>>,
    /// Whether the server asks for a certificate in its flight, as it may.
    pub(super) request: bool,
    pub(super) after: Vec<Record>,
}

#[derive(Clone)]
pub(super) enum Record {
    /// The type of the content, and the content.
    Encrypted(u8, Vec<u8>),
    Plain(u8, Vec<u8>),
    /// Encrypted without even the type of a content.
    Nothing,
}

/// The type of a content, and the content.
pub(super) type Content = (u8, Vec<u8>);

pub(super) struct Server<'p> {
    plan: Plan<'p>,
    keys: KeySchedule<Aes128GcmSha256>,
    has_keys: bool,
    /// Received and not read yet.
    wire: Vec<u8>,
    to_client: Vec<u8>,
    /// What the client sent encrypted.
    heard: Vec<Content>,
}

pub(super) fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let [_, len @ ..] = (body.len() as u32).to_be_bytes();
    [&[kind], &len[..], body].concat()
}

pub(super) fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u16).to_be_bytes()[..], bytes].concat()
}

/// Bodies that a client can read, by message.
pub(super) fn body(kind: u8) -> Vec<u8> {
    match kind {
        NEW_SESSION_TICKET => {
            [&[0, 0, 1, 0, 0, 0, 0, 0, 1, 7, 0, 3, 1, 2, 3][..], &[0, 0]].concat()
        }
        ENCRYPTED_EXTENSIONS => vec![0, 0],
        // No context, one certificate of four bytes without extensions.
        CERTIFICATE => vec![0, 0, 0, 9, 0, 0, 4, 1, 2, 3, 4, 0, 0],
        // A context of two bytes; signature_algorithms.
        CERTIFICATE_REQUEST => vec![2, 9, 9, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3],
        CERTIFICATE_VERIFY => [&[4, 3][..], &prefixed(&[5; 70])].concat(),
        FINISHED => vec![6; 32],
        _ => vec![],
    }
}

impl Server<'_> {
    fn record(&mut self, record: Record) {
        let (kind, payload) = match record {
            Record::Plain(kind, payload) => (kind, payload),
            Record::Encrypted(kind, mut content) => {
                content.push(kind);
                (DATA, self.encrypt(content))
            }
            Record::Nothing => (DATA, self.encrypt(vec![])),
        };
        self.to_client.extend_from_slice(&[kind, 3, 3]);
        self.to_client.extend(prefixed(&payload));
    }

    fn encrypt(&mut self, mut content: Vec<u8>) -> Vec<u8> {
        let keys = self.keys.read_state();
        let header = [
            &[DATA, 3, 3][..],
            &(content.len() as u16 + 16).to_be_bytes(),
        ]
        .concat();
        let cipher = Aes128Gcm::new(keys.get_key().expect("a key"));
        let nonce = keys.get_nonce().expect("a nonce");
        let tag = cipher
            .encrypt_in_place_detached(&nonce, &header, &mut content)
            .expect("room");
        content.extend_from_slice(&tag);
        keys.increment_counter();
        content
    }

    /// What the client says in a record, if it is encrypted with the keys of the handshake.
    fn decrypt(&mut self, payload: &[u8]) -> Option<Content> {
        let keys = self.keys.write_state();
        let cipher = Aes128Gcm::new(keys.get_key().expect("a key"));
        let nonce = keys.get_nonce().expect("a nonce");
        let header = [&[DATA, 3, 3][..], &(payload.len() as u16).to_be_bytes()].concat();
        let (content, tag) = payload.split_at(payload.len().checked_sub(16)?);
        let mut content = content.to_vec();
        cipher
            .decrypt_in_place_detached(&nonce, &header, &mut content, tag.into())
            .ok()?;
        keys.increment_counter();
        Some((content.pop()?, content))
    }

    fn hashed(&mut self, message: &[u8]) {
        self.keys.transcript_hash().update(message);
    }

    fn send_flight(&mut self) {
        let mut kinds = vec![ENCRYPTED_EXTENSIONS, CERTIFICATE, CERTIFICATE_VERIFY];
        if self.plan.request {
            kinds.insert(1, CERTIFICATE_REQUEST);
        }
        let mut flight: Vec<_> = kinds
            .into_iter()
            .map(|kind| message(kind, &body(kind)))
            .collect();
        for message in &flight {
            self.hashed(message);
        }
        let finished = message(FINISHED, &self.keys.read_state().server_finished());
        self.hashed(&finished);
        flight.push(finished);
        let records = self
            .plan
            .flight
            .map_or_else(Vec::new, |records| records(flight));
        for record in records {
            self.record(record);
        }
    }

    fn send_after(&mut self) {
        for record in core::mem::take(&mut self.plan.after) {
            self.record(record);
        }
    }

    fn received(&mut self, kind: u8, payload: &[u8]) {
        if kind == HANDSHAKE && !self.has_keys {
            self.keys.initialize_early_secret().expect("a secret");
            self.hashed(payload);
            // The client's key share is the only point in its hello.
            let share = payload
                .windows(7)
                .position(|bytes| bytes[..6] == [0, 69, 0, 23, 0, 65])
                .expect("a share")
                + 6;
            let client = PublicKey::from_sec1_bytes(&payload[share..share + 65]).expect("a point");
            let secret = EphemeralSecret::random(&mut Numbers(77));
            let point = EncodedPoint::from(secret.public_key());
            let share = [
                &[0, 51][..],
                &prefixed(&[&[0, 23][..], &prefixed(point.as_bytes())].concat()),
            ]
            .concat();
            let extensions = prefixed(&[&[0, 43, 0, 2, 3, 4][..], &share].concat());
            let mut hello = message(
                SERVER_HELLO,
                &[&[3, 3][..], &[8; 32], &[0, 0x13, 0x01, 0], &extensions].concat(),
            );
            if let Some(change) = self.plan.hello {
                change(&mut hello);
            }
            self.hashed(&hello);
            self.record(Record::Plain(HANDSHAKE, hello));
            self.keys
                .initialize_handshake_secret(secret.diffie_hellman(&client).raw_secret_bytes())
                .expect("a secret");
            self.has_keys = true;
            self.send_flight();
        } else if kind == DATA && self.has_keys {
            let Some((kind, content)) = self.decrypt(payload) else {
                return;
            };
            let finished = kind == HANDSHAKE && content[0] == FINISHED;
            self.heard.push((kind, content));
            if finished {
                self.keys.initialize_master_secret().expect("a secret");
                self.send_after();
            }
        }
    }
}

impl ErrorType for Server<'_> {
    type Error = ErrorKind;
}

impl Read for Server<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ErrorKind> {
        let len = buffer.len().min(self.to_client.len());
        buffer[..len].copy_from_slice(&self.to_client[..len]);
        self.to_client.drain(..len);
        Ok(len)
    }
}

impl Write for Server<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<usize, ErrorKind> {
        self.wire.extend_from_slice(bytes);
        while let [kind, _, _, high, low, ..] = self.wire[..] {
            let len = usize::from(u16::from_be_bytes([high, low]));
            if self.wire.len() < 5 + len {
                break;
            }
            let record: Vec<u8> = self.wire.drain(..5 + len).collect();
            self.received(kind, &record[5..]);
        }
        Ok(bytes.len())
    }

    async fn flush(&mut self) -> Result<(), ErrorKind> {
        Ok(())
    }
}

/// The keys of both sides at the beginning of the flight, without a key exchange.
pub(super) fn first_keys() -> KeySchedule<Aes128GcmSha256> {
    let mut keys = KeySchedule::<Aes128GcmSha256>::new();
    keys.initialize_early_secret().expect("a secret");
    keys.transcript_hash().update(b"hello");
    keys.initialize_handshake_secret(&[9; 32])
        .expect("a secret");
    keys
}

/// And at the handshake's end.
pub(super) fn last_keys() -> KeySchedule<Aes128GcmSha256> {
    let mut keys = first_keys();
    keys.initialize_master_secret().expect("a secret");
    keys
}

impl Plan<'_> {
    /// What comes after the handshake.
    pub(super) fn after(after: Vec<Record>) -> Self {
        Self {
            hello: None,
            flight: None,
            request: false,
            after,
        }
    }

    /// Connects, and reads what comes once.
    pub(super) fn run(self) -> Result<Vec<u8>, TlsError> {
        self.run_and_tell().0
    }

    /// The same, and what the client sent in the handshake after its hello.
    pub(super) fn run_and_tell(self) -> (Result<Vec<u8>, TlsError>, Vec<Content>) {
        let (hello, flight) = (self.hello.is_some(), self.flight.is_some());
        let keys = || match (hello, flight) {
            (true, _) => KeySchedule::new(),
            (false, true) => first_keys(),
            (false, false) => last_keys(),
        };
        let mut server = Server {
            plan: self,
            keys: keys(),
            has_keys: !hello,
            wire: vec![],
            to_client: vec![],
            heard: vec![],
        };
        if !hello && flight {
            server.send_flight();
        } else if !hello {
            server.send_after();
        }
        let (mut read, mut write) = ([0; 4096], [0; 1024]);
        let mut tls = TlsConnection::new(&mut server, &mut read, &mut write);
        let config = TlsConfig::new("example.com");
        let context = TlsContext::new(&config, Provider(Numbers(5)));
        let read = block_on(async {
            match (hello, flight) {
                (true, _) => tls.open(context).await?,
                (false, true) => tls.open_from(State::ServerVerify, keys(), context).await?,
                (false, false) => {
                    tls.open_from(State::ApplicationData, keys(), context)
                        .await?
                }
            }
            let mut data = vec![0; 64];
            let len = tls.read(&mut data).await?;
            data.truncate(len);
            Ok(data)
        });
        (read, server.heard)
    }
}

pub(super) fn separate(messages: Vec<Vec<u8>>) -> Vec<Record> {
    messages
        .into_iter()
        .map(|message| Record::Encrypted(HANDSHAKE, message))
        .collect()
}

pub(super) fn data(text: &str) -> Record {
    Record::Encrypted(DATA, text.as_bytes().to_vec())
}
