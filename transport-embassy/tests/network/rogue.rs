//! A TLS server that breaks the rules after the handshake. rustls makes the handshake; its keys
//! then encrypt what it would never send. Also a module of the program that runs the firmware
//! images.

use aes_gcm::aead::AeadInPlace as _;
use aes_gcm::{Aes128Gcm, KeyInit as _};
use rustls::{ConnectionTrafficSecrets, ServerConnection};

/// What such a server sends, each as a record of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rogue {
    /// A handshake message of this type, with these bytes, encrypted as the session's next record.
    Message(u8, &'static [u8]),
    /// The same, not encrypted: what anyone on the network path can send.
    PlainMessage(u8, &'static [u8]),
    /// An encrypted record without even the type of its content.
    Nothing,
    /// A `close_notify` that is not encrypted.
    PlainClose,
}

impl Rogue {
    /// CertificateRequest with a context of two bytes, Finished, and EncryptedExtensions: the
    /// messages of the public reports.
    pub(crate) const MESSAGES: [Self; 3] = [
        Self::Message(13, &[2, 9, 9, 0, 8, 0, 13, 0, 4, 0, 2, 4, 3]),
        Self::Message(20, &[6; 32]),
        Self::Message(8, &[0, 0]),
    ];
    /// KeyUpdate that asks for none in return, which the client does not support.
    pub(crate) const KEY_UPDATE: Self = Self::Message(24, &[0]);

    /// The record. The session ends with it: its keys are taken out.
    pub(crate) fn record(self, session: ServerConnection) -> Vec<u8> {
        match self {
            Self::Message(kind, body) => encrypted(session, Some((22, message(kind, body)))),
            Self::PlainMessage(kind, body) => record(22, &message(kind, body)),
            Self::Nothing => encrypted(session, None),
            Self::PlainClose => record(21, &[1, 0]),
        }
    }
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0, 0, u8::try_from(body.len()).expect("a short message")], body].concat()
}

fn record(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).expect("a short record").to_be_bytes();
    [&[kind, 3, 3, len[0], len[1]], payload].concat()
}

/// RFC 8446, 5.2: the content, its type and a tag, in a record that says it is application data.
fn encrypted(session: ServerConnection, content: Option<(u8, Vec<u8>)>) -> Vec<u8> {
    let (sequence, secrets) =
        session.dangerous_extract_secrets().expect("secrets after the handshake").tx;
    let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
        panic!("the client's only cipher suite")
    };
    let mut nonce: [u8; 12] = iv.as_ref().try_into().expect("12 bytes");
    for (byte, count) in nonce.iter_mut().skip(4).zip(sequence.to_be_bytes()) {
        *byte ^= count;
    }
    let mut bytes = content.map_or_else(Vec::new, |(kind, mut content)| {
        content.push(kind);
        content
    });
    let header = record(23, &vec![0; bytes.len() + 16]);
    let cipher = Aes128Gcm::new_from_slice(key.as_ref()).expect("16 bytes");
    let tag = cipher
        .encrypt_in_place_detached(&nonce.into(), &header[..5], &mut bytes)
        .expect("a short record");
    bytes.extend_from_slice(&tag);
    record(23, &bytes)
}
