//! The program's own cryptography provider is used if one is installed. A program has only one
//! default provider, so this test is a program of its own.

mod support;

use rustls::crypto::CryptoProvider;
use support::{Do, OK, Server, exchange, self_signed, trusting};

#[tokio::test]
async fn an_installed_provider_is_used_and_none_is_installed() {
    let (tls, pem) = self_signed(&["http/1.1"]);
    let server = Server::start_with(Some(tls), |_, _| Do::Answer(OK.to_owned())).await;
    let url = format!("https://{}", server.address);
    assert_eq!(exchange(&mut trusting(&pem), &url).await.unwrap().0, 200);
    assert!(CryptoProvider::get_default().is_none(), "that is the program's to say");

    // A provider without cipher suites always fails, which shows that it is used.
    let nothing =
        CryptoProvider { cipher_suites: Vec::new(), ..rustls::crypto::ring::default_provider() };
    nothing.install_default().unwrap();
    let error = exchange(&mut trusting(&pem), &url).await.unwrap_err();
    assert!(error.to_string().starts_with("TLS could not be set up: "), "{error}");
}
