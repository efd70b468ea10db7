//! A server in memory that has the keys and sends what it must not, at every time at which it can
//! send something. Whatever it sends, the client gives an error or goes on; a panic on a board is a
//! reset.

mod server;

use rand_core::RngCore;

use crate::TlsError;
use crate::alert::{AlertDescription, AlertLevel};
use server::*;
pub(crate) use server::{Numbers, Provider};

#[test]
fn a_server_that_does_as_it_should() {
    let ticket = Record::Encrypted(
        HANDSHAKE,
        message(NEW_SESSION_TICKET, &body(NEW_SESSION_TICKET)),
    );
    assert_eq!(
        Plan::after(vec![ticket, data("hello")])
            .run()
            .expect("data"),
        b"hello"
    );
    // With its key exchange, and with a certificate asked for that the client does not have.
    for request in [false, true] {
        let plan = Plan {
            hello: Some(&|_| {}),
            flight: Some(&separate),
            request,
            ..Plan::after(vec![data("hello")])
        };
        let (read, mut sent) = plan.run_and_tell();
        assert_eq!(read.expect("data"), b"hello");
        let (kind, finished) = sent.pop().expect("a message");
        assert_eq!((kind, finished[0]), (HANDSHAKE, FINISHED));
        // The answer to the request repeats its context, and has no certificates.
        let none = message(CERTIFICATE, &[2, 9, 9, 0, 0, 0]);
        let expected = if request {
            vec![(HANDSHAKE, none)]
        } else {
            vec![]
        };
        assert_eq!(sent, expected);
    }
    // All messages in one record.
    let flight = |messages: Vec<Vec<u8>>| vec![Record::Encrypted(HANDSHAKE, messages.concat())];
    assert_eq!(
        Plan {
            flight: Some(&flight),
            ..Plan::after(vec![data("hello")])
        }
        .run()
        .expect("data"),
        b"hello"
    );
    // The middlebox compatibility's record between hello and flight.
    let flight =
        |messages: Vec<Vec<u8>>| [vec![Record::Plain(20, vec![1])], separate(messages)].concat();
    assert_eq!(
        Plan {
            flight: Some(&flight),
            ..Plan::after(vec![data("hello")])
        }
        .run()
        .expect("data"),
        b"hello"
    );
    let close = Record::Encrypted(ALERT, vec![1, 0]);
    assert!(matches!(
        Plan::after(vec![close]).run(),
        Err(TlsError::ConnectionClosed)
    ));
}

/// A `change_cipher_spec` record has one content (RFC 8446, section 5).
#[test]
fn a_change_cipher_spec_with_another_content() {
    for content in [vec![], vec![0], vec![2], vec![1, 1]] {
        let flight = |messages: Vec<Vec<u8>>| {
            [vec![Record::Plain(20, content.clone())], separate(messages)].concat()
        };
        let plan = Plan {
            flight: Some(&flight),
            ..Plan::after(vec![data("hello")])
        };
        let sent = plan.run();
        assert!(
            matches!(sent, Err(TlsError::InvalidRecord)),
            "{content:?}: {sent:?}"
        );
    }
}

/// An extension that the client did not offer (RFC 8446, section 4.2).
#[test]
fn a_pre_shared_key_that_was_not_offered() {
    let hello = |hello: &mut Vec<u8>| {
        hello.extend([0, 41, 0, 2, 0, 0]);
        // The lengths of the message and of its extensions.
        for at in [3, 43] {
            hello[at] += 6;
        }
    };
    let plan = Plan {
        hello: Some(&hello),
        flight: Some(&separate),
        ..Plan::after(vec![data("hello")])
    };
    let sent = plan.run();
    assert!(
        matches!(
            sent,
            Err(TlsError::AbortHandshake(
                _,
                AlertDescription::IllegalParameter
            ))
        ),
        "{sent:?}"
    );
}

/// Every message of the handshake after its end, encrypted as only the server can, and in the clear
/// as anyone on the way can.
#[test]
fn messages_after_the_handshake() {
    for kind in 0..=255 {
        let bodies = [
            body(kind),
            vec![],
            vec![0; 1],
            vec![0; 3],
            vec![1; 32],
            vec![255; 300],
        ];
        for body in bodies {
            let good = kind == NEW_SESSION_TICKET && body == self::body(kind);
            let message = message(kind, &body);
            let sent = Plan::after(vec![
                Record::Encrypted(HANDSHAKE, message.clone()),
                data("hello"),
            ])
            .run();
            assert!(
                if good { sent.is_ok() } else { sent.is_err() },
                "message {kind} of {} bytes: {sent:?}",
                body.len()
            );
            let sent = Plan::after(vec![Record::Plain(HANDSHAKE, message), data("hello")]).run();
            assert!(
                sent.is_err(),
                "message {kind} of {} bytes in the clear",
                body.len()
            );
        }
    }
    for kind in [ENCRYPTED_EXTENSIONS, CERTIFICATE_REQUEST, FINISHED] {
        let sent = Plan::after(vec![Record::Encrypted(
            HANDSHAKE,
            message(kind, &body(kind)),
        )])
        .run();
        assert!(
            matches!(sent, Err(TlsError::InvalidHandshake)),
            "message {kind}: {sent:?}"
        );
    }
}

#[test]
fn records_of_every_kind_after_the_handshake() {
    for kind in 0..=255 {
        for len in [0, 1, 2, 3, 16, 40] {
            let sent =
                Plan::after(vec![Record::Encrypted(kind, vec![1; len]), data("hello")]).run();
            assert_eq!(
                sent.is_ok(),
                kind == DATA || (kind == HANDSHAKE && len == 0),
                "kind {kind}, {len} bytes: {sent:?}"
            );
            assert!(
                Plan::after(vec![Record::Plain(kind, vec![1; len]), data("hello")])
                    .run()
                    .is_err(),
                "kind {kind}, {len} bytes in the clear"
            );
        }
    }
    assert!(matches!(
        Plan::after(vec![Record::Nothing]).run(),
        Err(TlsError::InvalidRecord)
    ));
}

/// Who can only cut the stream cannot say in the server's name that it ends here.
#[test]
fn an_alert_in_the_clear_ends_nothing() {
    assert!(matches!(
        Plan::after(vec![Record::Plain(ALERT, vec![1, 0])]).run(),
        Err(TlsError::InvalidRecord)
    ));
}

#[test]
fn a_record_larger_than_the_buffer_is_told_in_numbers() {
    let sent = Plan::after(vec![Record::Encrypted(DATA, vec![0; 5000])]).run();
    assert!(
        matches!(
            sent,
            Err(TlsError::RecordTooLarge {
                needed: 5017,
                free: 4096
            })
        ),
        "{sent:?}"
    );
}

/// The client tells the server why it ends a handshake. It has keys by then, so it encrypts the
/// alert (RFC 8446, section 6).
#[test]
fn the_alert_of_a_client_that_aborts() {
    // key_share is not an extension of this message.
    let extensions = message(ENCRYPTED_EXTENSIONS, &[0, 4, 0, 51, 0, 0]);
    let flight = |_| vec![Record::Encrypted(HANDSHAKE, extensions.clone())];
    for hello in [None, Some::<Change>(&|_| {})] {
        let plan = Plan {
            hello,
            flight: Some(&flight),
            ..Plan::after(vec![])
        };
        let (read, sent) = plan.run_and_tell();
        assert!(
            matches!(
                read,
                Err(TlsError::AbortHandshake(
                    AlertLevel::Fatal,
                    AlertDescription::IllegalParameter
                ))
            ),
            "{read:?}"
        );
        assert_eq!(sent, [(ALERT, vec![2, 47])]);
    }
}

/// Every message at every place of the flight, in a record of its own and together with the rest.
#[test]
fn messages_in_the_flight() {
    for kind in 0..=255 {
        if kind > 32 && kind != 254 {
            continue;
        }
        for place in 0..=4 {
            for body in [body(kind), vec![], vec![0; 3], vec![255; 300]] {
                let with = |mut messages: Vec<Vec<u8>>| {
                    messages.insert(place, message(kind, &body));
                    messages
                };
                let together = |messages: Vec<Vec<u8>>| {
                    vec![Record::Encrypted(HANDSHAKE, with(messages).concat())]
                };
                // It changes the transcript, so that Finished is wrong if nothing was before.
                assert!(
                    Plan {
                        flight: Some(&together),
                        ..Plan::after(vec![data("hello")])
                    }
                    .run()
                    .is_err(),
                    "message {kind} at {place}"
                );
                let apart = |messages: Vec<Vec<u8>>| separate(with(messages));
                assert!(
                    Plan {
                        flight: Some(&apart),
                        ..Plan::after(vec![data("hello")])
                    }
                    .run()
                    .is_err(),
                    "message {kind} at {place}"
                );
                let plain = |messages: Vec<Vec<u8>>| {
                    let mut records = separate(messages);
                    records.insert(place, Record::Plain(HANDSHAKE, message(kind, &body)));
                    records
                };
                assert!(
                    Plan {
                        flight: Some(&plain),
                        ..Plan::after(vec![data("hello")])
                    }
                    .run()
                    .is_err(),
                    "message {kind} at {place}"
                );
            }
        }
    }
    // An alert in place of the certificate is reported as an alert.
    let alert = |_| vec![Record::Encrypted(ALERT, vec![2, 40])];
    let sent = Plan {
        flight: Some(&alert),
        ..Plan::after(vec![])
    }
    .run();
    assert!(
        matches!(
            sent,
            Err(TlsError::HandshakeAborted(
                _,
                AlertDescription::HandshakeFailure
            ))
        ),
        "{sent:?}"
    );
    let nothing = |_| vec![Record::Nothing];
    assert!(matches!(
        Plan {
            flight: Some(&nothing),
            ..Plan::after(vec![])
        }
        .run(),
        Err(TlsError::InvalidRecord)
    ));
}

/// Changes a few bytes, cuts, or repeats a part.
fn mutate(bytes: &mut Vec<u8>, numbers: &mut Numbers) {
    for _ in 0..=numbers.below(3) {
        if bytes.is_empty() {
            return;
        }
        let at = numbers.below(bytes.len());
        match numbers.below(5) {
            0 => bytes[at] = numbers.next_u64() as u8,
            1 => bytes[at] = [0, 1, 127, 128, 255][numbers.below(5)],
            2 => bytes.truncate(at),
            3 => drop(bytes.remove(at)),
            _ => bytes.splice(at..at, bytes.clone()).for_each(drop),
        }
    }
}

#[test]
fn mutated_messages() {
    for seed in 1..=100 {
        let hello = |hello: &mut Vec<u8>| mutate(hello, &mut Numbers(seed));
        let _ = Plan {
            hello: Some(&hello),
            flight: Some(&separate),
            ..Plan::after(vec![data("hello")])
        }
        .run();
        let flight = |mut messages: Vec<Vec<u8>>| {
            let mut numbers = Numbers(seed ^ 0xabcdef);
            let one = numbers.below(messages.len());
            mutate(&mut messages[one], &mut numbers);
            let mut all = messages.concat();
            all.truncate(4000);
            vec![Record::Encrypted(HANDSHAKE, all)]
        };
        let _ = Plan {
            flight: Some(&flight),
            ..Plan::after(vec![data("hello")])
        }
        .run();
        let mut numbers = Numbers(seed ^ 0x123456);
        let kinds = [
            NEW_SESSION_TICKET,
            ENCRYPTED_EXTENSIONS,
            CERTIFICATE,
            CERTIFICATE_REQUEST,
            CERTIFICATE_VERIFY,
            FINISHED,
        ];
        let kind = kinds[numbers.below(kinds.len())];
        let mut content = message(kind, &body(kind));
        mutate(&mut content, &mut numbers);
        content.truncate(4000);
        let _ = Plan::after(vec![Record::Encrypted(HANDSHAKE, content), data("hello")]).run();
    }
}
