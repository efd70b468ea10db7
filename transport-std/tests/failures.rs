//! Every failure: its kind, and its text.

mod support;

use core::error::Error;
use core::time::Duration;
use std::time::{Instant, SystemTime};

use embedded_io_async::{BufRead, Read};
use support::{Do, OK, Server, exchange, read, send, settings, transport};
use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead, Transport};
use toolrunner_std::http::{DynTransport, HttpSettings, SendFuture};
use toolrunner_std::{ClientBuilder, HttpBody, HttpError, HttpTransport};

fn impatient() -> HttpTransport {
    HttpTransport::new(HttpSettings { read_timeout: Duration::from_millis(150), ..settings() })
}

#[tokio::test]
async fn nobody_listens() {
    // A port that was just free, and is not assigned again at once.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = exchange(&mut transport(), &url).await.unwrap_err();
    assert_eq!(error.transport_kind(), TransportKind::Connect);
    let text = error.to_string();
    assert!(text.starts_with(&format!("could not connect to {url}: Connection refused")), "{text}");
    assert!(error.source().is_some());
}

#[tokio::test]
async fn the_name_has_no_address() {
    let error = exchange(&mut transport(), "http://no-such-host.invalid").await.unwrap_err();
    assert_eq!(error.transport_kind(), TransportKind::Dns);
    let text = error.to_string();
    assert!(text.starts_with("could not resolve the host name of http://no-such-host.invalid: failed to lookup address information"), "{text}");
}

#[tokio::test]
async fn a_connection_that_does_not_come_about() {
    // TCP connects, but TLS never answers: the connect timeout covers everything up to a usable
    // connection.
    let server = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
    let mut impatient = HttpTransport::new(HttpSettings {
        connect_timeout: Duration::from_millis(150),
        ..settings()
    });
    let start = Instant::now();
    let error = exchange(&mut impatient, &format!("https://{}", server.address)).await.unwrap_err();
    assert_eq!(error.transport_kind(), TransportKind::Timeout);
    assert_eq!(
        error.to_string(),
        format!("could not connect to https://{} within 150ms", server.address)
    );
    assert!((Duration::from_millis(150)..Duration::from_secs(60)).contains(&start.elapsed()));
    server.client_closes().await;
}

#[tokio::test]
async fn a_head_that_does_not_come() {
    let server = Server::start(|_, _| Do::Stall(String::new())).await;
    let error = exchange(&mut impatient(), &server.url()).await.unwrap_err();
    assert_eq!(error.transport_kind(), TransportKind::Timeout);
    assert_eq!(error.to_string(), format!("no data came from {} for 150ms", server.url()));
    server.client_closes().await;
}

#[tokio::test]
async fn a_body_that_stalls() {
    let server =
        Server::start(|_, _| Do::Stall("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{".to_owned()))
            .await;
    let mut reply = send(&mut impatient(), &server.url()).await.unwrap();
    let error = read(&mut reply.body).await.unwrap_err();
    assert_eq!(error.transport_kind(), TransportKind::Timeout);
    // Its end is still not reported as a regular end.
    assert_eq!(reply.body.fill_buf().await.unwrap_err().transport_kind(), TransportKind::Closed);
    server.client_closes().await;
}

#[tokio::test]
async fn the_time_counts_from_one_piece_to_the_next() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let (mut stream, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            let _ = stream.read(&mut [0; 4096]).await.unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n").await.unwrap();
            for _ in 0..6 {
                tokio::time::sleep(Duration::from_millis(60)).await;
                stream.write_all(b"x").await.unwrap();
            }
        }
    });
    let mut transport = impatient();
    for _ in 0..2 {
        assert_eq!(exchange(&mut transport, &url).await.unwrap().1, b"xxxxxx");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off() {
    for head in [
        "content-length: 9\r\n\r\n{",
        "transfer-encoding: chunked\r\n\r\n5\r\n{",
        "transfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
    ] {
        let server =
            Server::start(move |_, _| Do::Last(format!("HTTP/1.1 200 OK\r\n{head}"))).await;
        let mut reply = send(&mut transport(), &server.url()).await.unwrap();
        let error = read(&mut reply.body).await.unwrap_err();
        assert_eq!(error.transport_kind(), TransportKind::Closed);
        let text = error.to_string();
        assert!(
            text.starts_with(&format!(
                "the connection to {} was closed before the reply's end: ",
                server.url()
            )),
            "{text}"
        );
    }
}

#[tokio::test]
async fn no_http() {
    for answer in [
        "220 mail.example ESMTP\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n",
    ] {
        let server = Server::start(move |_, _| Do::Stall(answer.to_owned())).await;
        let error = exchange(&mut transport(), &server.url()).await.unwrap_err();
        assert_eq!(error.transport_kind(), TransportKind::Http);
        let text = error.to_string();
        assert!(
            text.starts_with(&format!("received invalid HTTP from {}: ", server.url())),
            "{text}"
        );
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_sent() {
    let mut transport = transport();
    let body = Body::new(&[], b"{}", b"");
    for (head, text) in [
        (
            Head { base_url: "http://server", path: "/", headers: &[("x-api-key", "hush\n")] },
            "the header \"x-api-key\" has an invalid value",
        ),
        (
            Head { base_url: "http://server", path: "/", headers: &[("a b", "hush")] },
            "the header \"a b\" has an invalid name",
        ),
        (
            Head { base_url: "server", path: "/", headers: &[] },
            "the base URL must begin with http:// or https://",
        ),
    ] {
        // The header is checked when there is a connection, so this one needs a server too.
        let server = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
        let url = server.url();
        let head = if head.headers.is_empty() { head } else { Head { base_url: &url, ..head } };
        let error = transport.send(&head, &body).await.unwrap_err();
        assert_eq!(
            (error.transport_kind(), error.to_string().as_str()),
            (TransportKind::Setup, text)
        );
        assert!(!format!("{error:?}").contains("hush"));
    }
}

#[test]
fn no_runtime() {
    // A future that is polled outside tokio returns an error, and does not panic.
    let mut transport = transport();
    let mut sending = core::pin::pin!(exchange(&mut transport, "http://127.0.0.1:9"));
    let mut context = core::task::Context::from_waker(core::task::Waker::noop());
    let core::task::Poll::Ready(Err(error)) = sending.as_mut().poll(&mut context) else {
        panic!("sent without a runtime")
    };
    assert_eq!(error.to_string(), "connections need a tokio runtime, and none is running");
}

#[tokio::test]
async fn how_long_to_wait() {
    let in_an_hour = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(3600));
    for (fields, seconds) in [
        ("retry-after: 7\r\n".to_owned(), Some(7..=7)),
        (format!("retry-after: {in_an_hour}\r\n"), Some(3595..=3600)),
        (format!("retry-after-ms: 2000\r\nretry-after: {in_an_hour}\r\n"), Some(2..=2)),
        ("retry-after: Thu, 01 Jan 1970 00:00:00 GMT\r\n".to_owned(), None),
        ("retry-after: soon\r\n".to_owned(), None),
    ] {
        let answer = format!(
            "HTTP/1.1 429 Slow Down\r\nrequest-id: req_1\r\nx-should-retry: true\r\n{fields}content-length: 0\r\n\r\n"
        );
        let server = Server::start(move |_, _| Do::Answer(answer.clone())).await;
        let head = send(&mut transport(), &server.url()).await.unwrap().head;
        assert_eq!((head.status, head.should_retry, head.request_id()), (429, Some(true), "req_1"));
        match seconds {
            Some(range) => assert!(
                range.contains(&head.retry_after.unwrap().as_secs()),
                "{fields}: {:?}",
                head.retry_after
            ),
            None => assert_eq!(head.retry_after, None, "{fields}"),
        }
    }
}

struct Script;

impl DynTransport for Script {
    fn send<'a>(&'a self, _: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a> {
        Box::pin(async {
            let text = format!("{} bytes", body.len());
            let body = HttpBody::from_pieces(
                ["", "a piece, ", "", "another: "].map(str::to_owned).into_iter().chain([text]),
            );
            let body = body.then_error(HttpError::new(TransportKind::Closed, "the script ends"));
            Ok(Reply { head: ReplyHead::new(200), body })
        })
    }
}

#[tokio::test]
async fn a_script_may_stand_behind_the_handle() {
    let settings = ClientBuilder::new()
        .base_url("http://nowhere")
        .transport(HttpTransport::from_dyn(Script))
        .settings()
        .unwrap();
    let mut reply = send(&mut settings.transport().clone(), settings.base_url()).await.unwrap();
    assert_eq!(reply.body.fill_buf().await.unwrap(), b"a piece, ");
    reply.body.consume(2);
    let mut small = [0; 4];
    assert_eq!((reply.body.read(&mut small).await.unwrap(), &small), (4, b"piec"));
    let mut rest = Vec::new();
    let error = loop {
        match reply.body.fill_buf().await {
            Ok(piece) => {
                rest.extend_from_slice(piece);
                let count = piece.len();
                reply.body.consume(count);
            }
            Err(error) => break error,
        }
    };
    assert_eq!(
        (rest.as_slice(), error.to_string().as_str()),
        (b"e, another: 20 bytes".as_slice(), "the script ends")
    );
}
