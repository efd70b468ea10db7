//! TLS: which servers are trusted, and which protocols are used over it.

mod support;

use core::convert::Infallible;
use core::net::SocketAddr;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use core::time::Duration;
use std::sync::Arc;

use bytes::Bytes;
use embedded_io_async::BufRead;
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use support::{
    CONNECT_TIMEOUT, Do, HEADERS, OK, Server, child, exchange, read, self_signed, send, settings,
    trusting,
};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;
use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::{Body, Head, Transport};
use toolrunner_std::http::{HttpSettings, RootCertificate};
use toolrunner_std::{ClientBuilder, HttpTransport};

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for() {
    let (tls, _) = self_signed(&["http/1.1"]);
    let (_, other) = self_signed(&[]);
    let server = Server::start_with(Some(tls), |_, _| Do::Answer(OK.to_owned())).await;
    // The client trusts another certificate, so that the test does not depend on this machine's
    // roots.
    let error =
        exchange(&mut trusting(&other), &format!("https://{}", server.address)).await.unwrap_err();
    assert_eq!(error.transport_kind(), TransportKind::Tls);
    let text = error.to_string();
    let start = format!(
        "the TLS certificate of https://{} was not accepted: invalid peer certificate: ",
        server.address
    );
    assert!(text.starts_with(&start), "{text}");
    assert!(!error.transport_kind().is_transient());
}

#[tokio::test]
async fn the_wrong_name() {
    let (tls, pem) = self_signed(&[]);
    let server = Server::start_with(Some(tls), |_, _| Do::Answer(OK.to_owned())).await;
    let url = format!("https://localhost:{}", server.address.port());
    let error = exchange(&mut trusting(&pem), &url).await.unwrap_err();
    assert_eq!(error.transport_kind(), TransportKind::Tls);
    assert!(error.to_string().contains("not valid for name"), "{error}");
}

#[tokio::test]
async fn a_server_without_tls() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let plain = listener.local_addr().unwrap();
    tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    });
    let (_, pem) = self_signed(&[]);
    let error = exchange(&mut trusting(&pem), &format!("https://{plain}")).await.unwrap_err();
    assert_eq!(error.transport_kind(), TransportKind::Tls);
    assert!(
        error
            .to_string()
            .starts_with(&format!("could not establish a TLS session with https://{plain}: ")),
        "{error}"
    );
}

#[tokio::test]
async fn a_root_of_ones_own() {
    let (tls, pem) = self_signed(&["http/1.1"]);
    let server = Server::start_with(Some(tls), |_, _| Do::Answer(OK.to_owned())).await;
    let url = format!("https://{}", server.address);
    let certificate = RootCertificate::from_pem(pem.as_bytes()).unwrap().remove(0);
    let builder = ClientBuilder::new()
        .base_url(&url)
        .proxies(settings().proxies)
        .connect_timeout(CONNECT_TIMEOUT);
    let builder = builder.add_root_certificate(certificate);
    let mut transport = builder.settings().unwrap().transport().clone();
    for _ in 0..3 {
        assert_eq!(exchange(&mut transport, &url).await.unwrap(), (200, b"{}".to_vec()));
    }
    assert_eq!(server.connections(), 1);
}

#[test]
fn what_is_no_certificate() {
    assert_eq!(
        RootCertificate::from_pem(b"hello").unwrap_err().to_string(),
        "not a certificate: the PEM text contains no certificate"
    );
    assert!(
        RootCertificate::from_der(b"hello")
            .unwrap_err()
            .to_string()
            .starts_with("not a certificate: ")
    );
}

/// A body of this many frames, which reports its length.
struct Frames(usize);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece ")))))
    }
}

/// Starts an HTTP/2 server; returns its address and the number of its connections.
async fn http2_server(tls: TlsAcceptor) -> (SocketAddr, Arc<AtomicUsize>) {
    http2_server_that_closes(tls, Arc::new(Notify::new())).await
}

/// Starts an HTTP/2 server that closes a connection when notified.
async fn http2_server_that_closes(
    tls: TlsAcceptor,
    close: Arc<Notify>,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = connections.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            let (tls, close) = (tls.clone(), close.clone());
            tokio::spawn(async move {
                let stream = tls.accept(stream).await.unwrap();
                let serve = service_fn(|request: hyper::Request<Incoming>| async move {
                    assert_eq!(request.version(), hyper::Version::HTTP_2);
                    assert_eq!(request.headers()["x-api-key"], "hush-hush");
                    let path = request.uri().path().to_owned();
                    let mut body = request.into_body();
                    let mut length = 0;
                    while let Some(frame) =
                        core::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await
                    {
                        length += frame.unwrap().into_data().map_or(0, |data| data.len());
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    let reply =
                        hyper::Response::builder().header("request-id", format!("{path} {length}"));
                    Ok::<_, Infallible>(reply.body(Frames(3)).unwrap())
                });
                let serving = http2::Builder::new(TokioExecutor::new())
                    .serve_connection(TokioIo::new(stream), serve);
                tokio::select! {
                    _ = serving => {}
                    () = close.notified() => {}
                }
            });
        }
    });
    (address, connections)
}

#[tokio::test]
async fn http2_where_the_server_offers_it_on_one_connection() {
    let (tls, pem) = self_signed(&["h2", "http/1.1"]);
    let (address, connections) = http2_server(tls).await;
    let transport = trusting(&pem);
    let tasks = (0..50).map(|_| {
        let (mut transport, url) = (transport.clone(), format!("https://{address}/prefix/"));
        tokio::spawn(async move {
            for _ in 0..3 {
                let mut reply = send(&mut transport, &url).await.unwrap();
                assert_eq!(reply.head.request_id(), "/prefix/v1/messages 20");
                assert_eq!(read(&mut reply.body).await.unwrap(), b"piece piece piece ");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn http2_lets_the_transcript_go_too() {
    let (tls, pem) = self_signed(&["h2"]);
    let (address, connections) = http2_server(tls).await;
    let mut transport = trusting(&pem);
    let transcript = Arc::new(vec![b'7'; 900_000]);
    for _ in 0..3 {
        let head = Head {
            base_url: &format!("https://{address}"),
            path: "/v1/messages",
            headers: &HEADERS,
        };
        let body = Body::new(&[b"["], &transcript, b"]").with_shared(&transcript);
        let mut reply = transport.send(&head, &body).await.unwrap();
        assert_eq!(reply.head.request_id(), "/v1/messages 900002");
        assert_eq!(Arc::strong_count(&transcript), 1);
        // Dropping one stream before its end does not harm the connection.
        assert_eq!(reply.body.fill_buf().await.unwrap(), b"piece ");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn an_http2_connection_that_is_silent_is_not_used_again() {
    let (tls, pem) = self_signed(&["h2"]);
    let (address, connections) = http2_server(tls).await;
    let root_certificates = RootCertificate::from_pem(pem.as_bytes()).unwrap();
    let mut transport = HttpTransport::new(HttpSettings {
        read_timeout: Duration::from_millis(5),
        root_certificates,
        ..settings()
    });
    for n in 1..=2 {
        let error = exchange(&mut transport, &format!("https://{address}")).await.unwrap_err();
        assert_eq!(error.transport_kind(), TransportKind::Timeout);
        assert_eq!(connections.load(Ordering::SeqCst), n);
    }
}

#[tokio::test]
async fn an_http2_connection_closed_between_requests_is_replaced() {
    let (tls, pem) = self_signed(&["h2"]);
    let close = Arc::new(Notify::new());
    let (address, connections) = http2_server_that_closes(tls, close.clone()).await;
    let mut transport = trusting(&pem);
    for n in 1..=3 {
        assert_eq!(exchange(&mut transport, &format!("https://{address}")).await.unwrap().0, 200);
        assert_eq!(connections.load(Ordering::SeqCst), n);
        close.notify_one();
        // Wait until the client has noticed it.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn an_http2_connection_is_closed_by_its_age_but_not_under_a_request() {
    let (tls, pem) = self_signed(&["h2"]);
    let (address, connections) = http2_server(tls).await;
    let url = format!("https://{address}");
    let root_certificates = RootCertificate::from_pem(pem.as_bytes()).unwrap();
    let idle_timeout = Duration::from_millis(300);
    let mut transport =
        HttpTransport::new(HttpSettings { idle_timeout, root_certificates, ..settings() });
    let held = send(&mut transport, &url).await.unwrap();
    tokio::time::sleep(idle_timeout * 4).await;
    assert_eq!(exchange(&mut transport, &url).await.unwrap().0, 200);
    assert_eq!(connections.load(Ordering::SeqCst), 1, "a request was on it");
    drop(held);
    tokio::time::sleep(idle_timeout * 4).await;
    assert_eq!(exchange(&mut transport, &url).await.unwrap().0, 200);
    assert_eq!(connections.load(Ordering::SeqCst), 2);
}

/// Creates a certificate for 127.0.0.1 and its key.
fn certificate() -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).unwrap();
    (made.cert.der().clone(), PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap())
}

fn trusted(certificate: &CertificateDer<'static>) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    Arc::new(roots)
}

#[tokio::test]
async fn a_configuration_of_ones_own_with_a_client_certificate() {
    let provider = || Arc::new(rustls::crypto::ring::default_provider());
    let ((server_certificate, server_key), (client_certificate, client_key)) =
        (certificate(), certificate());
    let verifier =
        WebPkiClientVerifier::builder_with_provider(trusted(&client_certificate), provider())
            .build()
            .unwrap();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![server_certificate.clone()], server_key)
        .unwrap();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let server = Server::start_with(Some(TlsAcceptor::from(Arc::new(config))), |_, _| {
        Do::Answer(OK.to_owned())
    })
    .await;
    let url = format!("https://{}", server.address);

    let own = || {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap();
        builder.with_root_certificates(trusted(&server_certificate))
    };
    let with = own()
        .with_client_auth_cert(vec![client_certificate.clone()], client_key.clone_key())
        .unwrap();
    let builder = || {
        ClientBuilder::new()
            .base_url(&url)
            .proxies(settings().proxies)
            .connect_timeout(CONNECT_TIMEOUT)
    };
    // A configuration that offers another protocol first gets this crate's protocols instead.
    for protocols in [vec![], vec![b"spdy/3".to_vec(), b"http/1.1".to_vec()]] {
        let mut with = with.clone();
        with.alpn_protocols = protocols;
        let mut transport = builder().tls_config(with).settings().unwrap().transport().clone();
        assert_eq!(exchange(&mut transport, &url).await.unwrap(), (200, b"{}".to_vec()));
    }
    let mut without =
        builder().tls_config(own().with_no_client_auth()).settings().unwrap().transport().clone();
    assert_eq!(
        exchange(&mut without, &url).await.unwrap_err().transport_kind(),
        TransportKind::Tls
    );

    // Only one place decides which servers are trusted.
    let root = RootCertificate::from_der(&server_certificate).unwrap();
    let both = builder().tls_config(with).add_root_certificate(root).settings().unwrap_err();
    assert_eq!(
        both.to_string(),
        "the TLS configuration has its own roots: add the root certificate to it, not to the client"
    );
}

#[tokio::test]
async fn child_sends() {
    support::child_sends().await;
}

#[tokio::test]
async fn a_machine_without_roots() {
    // The platform's roots are loaded when TLS is first used; without TLS, their absence does not
    // matter.
    let none = [("SSL_CERT_FILE", "/dev/null".to_owned())];
    let server = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
    let output = child(&server.url(), "", &none).await;
    assert!(output.contains("status 200, 2 bytes"), "{output}");
    // With the feature `webpki-roots` there are always some, but they do not include this server's.
    let (tls, pem) = self_signed(&[]);
    let server = Server::start_with(Some(tls), |_, _| Do::Answer(OK.to_owned())).await;
    let output = child(&format!("https://{}", server.address), "", &none).await;
    let text = if cfg!(feature = "webpki-roots") {
        format!("error: the TLS certificate of https://{} was not accepted", server.address)
    } else {
        "error: this machine has no root certificates to verify servers with: install them"
            .to_owned()
    };
    assert!(output.contains(&text), "{output}");
    // One root of the client's own is enough.
    let output = child(&format!("https://{}", server.address), &pem, &none).await;
    assert!(output.contains("status 200, 2 bytes"), "{output}");
}
