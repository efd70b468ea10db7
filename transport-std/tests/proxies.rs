//! Proxies, from the environment and from code.
//!
//! The environment belongs to the process, so these tests run themselves again as a child process
//! with the environment that they need.

mod support;

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use support::{Do, OK, Server, child, exchange, self_signed, settings, trusting};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use toolrunner_core::error::TransportKind;
use toolrunner_std::HttpTransport;
use toolrunner_std::http::{HttpSettings, Proxies, RootCertificate};

#[tokio::test]
async fn child_sends() {
    support::child_sends().await;
}

/// Starts a proxy that opens a tunnel to `server` for every request. Returns its URL, the requests,
/// and the number of tunnels.
async fn tunnels(server: &Server) -> (String, Arc<Mutex<Vec<String>>>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://user:hush@{}", listener.local_addr().unwrap());
    let (asked, opened) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicUsize::new(0)));
    let (log, count, to) = (asked.clone(), opened.clone(), server.address);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            log.lock().unwrap().push(String::from_utf8(head).unwrap());
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut server = TcpStream::connect(to).await.unwrap();
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                let _ = copy_bidirectional(&mut stream, &mut server).await;
            });
        }
    });
    (url, asked, opened)
}

#[tokio::test]
async fn plain_http_is_forwarded() {
    let proxy = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
    let url = format!("http://user:pass@{}", proxy.address);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"] {
        let output = child("http://server.invalid/prefix", "", &[(name, url.clone())]).await;
        assert!(output.contains("status 200, 2 bytes"), "{output}");
        let (head, _) = proxy.requests.lock().unwrap().pop().unwrap();
        assert!(
            head.starts_with("POST http://server.invalid/prefix/v1/messages HTTP/1.1\r\n"),
            "{head}"
        );
        assert!(head.contains("\r\nhost: server.invalid\r\n"), "{head}");
        assert!(head.contains("\r\nproxy-authorization: Basic dXNlcjpwYXNz\r\n"), "{head}");
    }
}

#[tokio::test]
async fn https_goes_through_a_tunnel() {
    let (tls, pem) = self_signed(&["http/1.1"]);
    let server = Server::start_with(Some(tls), |_, _| Do::Answer(OK.to_owned())).await;
    let (proxy, asked, _) = tunnels(&server).await;
    let output =
        child(&format!("https://{}", server.address), &pem, &[("HTTPS_PROXY", proxy)]).await;
    assert!(output.contains("status 200, 2 bytes"), "{output}");
    let asked = asked.lock().unwrap()[0].to_ascii_lowercase();
    assert!(asked.starts_with(&format!("connect {} http/1.1\r\n", server.address)), "{asked}");
    assert!(asked.contains("\r\nproxy-authorization: basic "), "{asked}");
    // The key is for the server, not for the proxy.
    assert!(!asked.contains("hush"), "{asked}");
    assert!(server.requests.lock().unwrap()[0].0.contains("x-api-key: hush-hush"));
}

#[tokio::test]
async fn no_proxy_is_heeded() {
    let server = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
    let dead = "http://127.0.0.1:1".to_owned();
    let output = child(
        &server.url(),
        "",
        &[("HTTP_PROXY", dead.clone()), ("NO_PROXY", "127.0.0.0/8".to_owned())],
    )
    .await;
    assert!(output.contains("status 200, 2 bytes"), "{output}");
    let output = child(&server.url(), "", &[("HTTP_PROXY", dead)]).await;
    let text = format!(
        "error: could not connect to {} through the proxy 127.0.0.1:1: Connection refused",
        server.url()
    );
    assert!(output.contains(&text), "{output}");
}

#[tokio::test]
async fn a_tunnel_is_kept_like_any_connection() {
    let (tls, pem) = self_signed(&["http/1.1"]);
    let server = Server::start_with(Some(tls), |_, _| Do::Answer(OK.to_owned())).await;
    let (proxy, _, opened) = tunnels(&server).await;
    let root_certificates = RootCertificate::from_pem(pem.as_bytes()).unwrap();
    let proxies = Proxies::url(&proxy).unwrap();
    let mut transport =
        HttpTransport::new(HttpSettings { root_certificates, proxies, ..settings() });
    for _ in 0..3 {
        assert_eq!(
            exchange(&mut transport, &format!("https://{}", server.address)).await.unwrap().0,
            200
        );
    }
    assert_eq!(opened.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_tunnel_that_is_refused() {
    let proxy = Server::start(|_, _| {
        Do::Answer(
            "HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n".to_owned(),
        )
    })
    .await;
    let (_, pem) = self_signed(&[]);
    let root_certificates = RootCertificate::from_pem(pem.as_bytes()).unwrap();
    let proxies = Proxies::url(&proxy.url()).unwrap();
    let mut transport =
        HttpTransport::new(HttpSettings { root_certificates, proxies, ..settings() });
    let error = exchange(&mut transport, "https://server.invalid").await.unwrap_err();
    assert_eq!(error.transport_kind(), TransportKind::Connect);
    let text = format!(
        "could not connect to https://server.invalid through the proxy {}: tunnel error: proxy authorization required",
        proxy.address
    );
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn socks5() {
    let server = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxies = Proxies::url(&format!("socks5h://{}", listener.local_addr().unwrap())).unwrap();
    let to = server.address;
    let proxy = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut hello = [0; 3];
        stream.read_exact(&mut hello).await.unwrap();
        assert_eq!(hello, [5, 1, 0]);
        stream.write_all(&[5, 0]).await.unwrap();
        let mut wanted = [0; 5 + 14 + 2];
        stream.read_exact(&mut wanted).await.unwrap();
        assert_eq!(wanted, *b"\x05\x01\x00\x03\x0eserver.invalid\x00\x50");
        let mut server = TcpStream::connect(to).await.unwrap();
        stream.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 80]).await.unwrap();
        let _ = copy_bidirectional(&mut stream, &mut server).await;
    });
    let mut transport = HttpTransport::new(HttpSettings { proxies, ..settings() });
    assert_eq!(exchange(&mut transport, "http://server.invalid").await.unwrap().0, 200);
    drop(transport);
    proxy.await.unwrap();
}

#[test]
fn what_is_no_proxy_is_refused_and_no_password_is_shown() {
    for url in ["", "https://proxy", "ftp://proxy", "http://"] {
        assert!(Proxies::url(url).is_err(), "{url}");
    }
    let settings =
        HttpSettings { proxies: Proxies::url("http://user:hush@proxy").unwrap(), ..settings() };
    assert!(!format!("{settings:?}").contains("hush"));
    assert!(!format!("{:?}", trusting(&self_signed(&[]).1)).contains("hush"));
}
