//! TLS: which servers are trusted.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::thread;

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use toolrunner_blocking::{Client, Error, Event, SetupError};
use toolrunner_core::error::TransportKind;
use toolrunner_core::testing::http1::Connection;
use toolrunner_core::testing::{Chunk, Script, ScriptedModel, ScriptedReply};

/// Starts a server with a certificate of its own. Returns its base URL and the certificate in PEM.
fn serve(script: Script) -> (String, String) {
    let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let pem = signed.cert.pem();
    let key = PrivateKeyDer::try_from(signed.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(signed.cert.der().to_vec())], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let mut model = ScriptedModel::new(script);
    thread::spawn(move || {
        for socket in listener.incoming() {
            let session = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(session, socket.unwrap());
            let (mut connection, mut buffer) = (Connection::new(), [0; 4096]);
            // A client that refuses the certificate closes the connection.
            while let Ok(length @ 1..) = stream.read(&mut buffer) {
                for chunk in connection.respond(&mut model, &buffer[..length]) {
                    if let Chunk::Data(bytes) = chunk {
                        stream.write_all(&bytes).unwrap();
                    }
                }
                stream.flush().unwrap();
            }
        }
    });
    (url, pem)
}

#[test]
fn a_root_certificate_of_the_programs_own_is_trusted() {
    let (url, pem) = serve(Script::new().reply(ScriptedReply::text("Hello!")));
    let client = Client::builder().base_url(url).root_certificate(pem).build().unwrap();
    assert_eq!(client.run("m").user("Hello").until_done().unwrap().text(), "Hello!");
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused_and_not_retried() {
    let (url, _) = serve(Script::new().reply(ScriptedReply::text("Hello!")));
    let (_, other) = serve(Script::new());
    let platform = Client::builder().base_url(&url).build().unwrap();
    let client = Client::builder().base_url(&url).root_certificate(other).build().unwrap();
    for client in [platform, client] {
        let mut run = client.run("m").user("Hello");
        let error = loop {
            match run.next_event() {
                Ok(event) => assert!(matches!(event, Some(Event::Request { attempt: 1, .. }))),
                Err(error) => break error,
            }
        };
        assert!(
            matches!(&error, Error::Transport(failure) if failure.kind() == TransportKind::Tls),
            "{error:?}"
        );
    }
}

#[test]
fn a_root_certificate_that_is_none_is_reported() {
    let wrong = Client::builder().api_key("k").root_certificate("no certificate").build();
    assert_eq!(wrong.unwrap_err(), SetupError::Certificate);
}
