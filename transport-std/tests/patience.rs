//! How long a run waits for a server that keeps sending, and in which runtimes a run can wait at
//! all.

mod support;

use core::future::Future;
use core::time::Duration;
use std::net::TcpListener as StdListener;
use std::sync::Arc;
use std::time::Instant;

use support::{Do, OK, Server, exchange, send, settings, transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::time::{sleep, timeout};
use toolrunner_core::error::TransportKind;
use toolrunner_core::testing::VirtualClock;
use toolrunner_std::http::{HttpSettings, Proxies};
use toolrunner_std::{Client, ClientBuilder, Error, Event, HttpTransport};

/// Longer than anything here may take, even on a busy machine.
const FOR_EVER: Duration = Duration::from_secs(60);

/// Starts a server that begins each reply with `start`, then sends `piece` every 20 ms, `times`
/// times, and closes.
async fn trickle(start: impl Into<String>, piece: &'static str, times: usize) -> String {
    let (listener, start) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), start.into());
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let start = start.clone();
            tokio::spawn(async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(start.as_bytes()).await;
                for _ in 0..times {
                    sleep(Duration::from_millis(20)).await;
                    if stream.write_all(piece.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

fn client(url: &str) -> ClientBuilder {
    Client::builder()
        .base_url(url)
        .proxies(Proxies::none())
        .connect_timeout(support::CONNECT_TIMEOUT)
}

async fn error_of(client: ClientBuilder) -> Error {
    let mut run = client.max_retries(0).build().unwrap().run("m").user("Hello?");
    timeout(FOR_EVER, run.until_done()).await.expect("it waits for ever").unwrap_err()
}

const STREAM: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
const MESSAGE_START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\
    \"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n";
const TEXT_START: &str = "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n";
const DELTA: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n";

#[tokio::test]
async fn an_error_whose_body_trickles_is_told_by_its_status() {
    let whole =
        r#"{"type":"error","error":{"type":"invalid_request_error","message":"no such model"}}"#;
    for (body, text) in [
        (whole, "API error: invalid_request_error (status 400): no such model"),
        ("<html>Bad Request", "API error: invalid_request_error (status 400): <html>Bad Request"),
    ] {
        let url = trickle(
            format!("HTTP/1.1 400 Bad Request\r\ncontent-length: 9999\r\n\r\n{body}"),
            " ",
            usize::MAX,
        )
        .await;
        let start = Instant::now();
        let error = error_of(client(&url)).await;
        assert!(error.to_string().starts_with(text), "{error}");
        assert!(
            start.elapsed() >= Duration::from_secs(2),
            "the body had its time: {:?}",
            start.elapsed()
        );
    }
}

#[tokio::test]
async fn an_error_whose_body_breaks_off_is_told_by_its_status() {
    let server = Server::start(|_, _| {
        Do::Last("HTTP/1.1 401 No\r\ncontent-length: 9999\r\n\r\nno".to_owned())
    })
    .await;
    assert_eq!(
        error_of(client(&server.url())).await.to_string(),
        "API error: authentication_error (status 401): no"
    );
}

#[tokio::test]
async fn a_stream_without_progress_ends() {
    for piece in [
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        ": a comment\n\n",
        "event: keepalive\ndata: {\"type\":\"keepalive\"}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"\"}}\n\n",
    ] {
        let url = trickle(format!("{STREAM}{MESSAGE_START}{TEXT_START}"), piece, usize::MAX).await;
        let error = error_of(client(&url).progress_timeout(Duration::from_millis(300))).await;
        assert_eq!(
            error.to_string(),
            format!("the reply from {url} made no progress for 300ms"),
            "{piece}"
        );
    }
}

#[tokio::test]
async fn a_reply_in_one_piece_must_come_in_that_time() {
    let url =
        trickle("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{", " ", usize::MAX)
            .await;
    let error = error_of(client(&url).progress_timeout(Duration::from_millis(300))).await;
    assert_eq!(error.to_string(), format!("the reply from {url} made no progress for 300ms"));
}

#[tokio::test]
async fn progress_counts_from_the_last_piece() {
    // The reply takes three seconds in all, and each piece arrives within one.
    let end = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let url = trickle(format!("{end}{MESSAGE_START}{TEXT_START}"), DELTA, 150).await;
    let error = error_of(client(&url).progress_timeout(Duration::from_secs(1))).await;
    assert!(!error.to_string().contains("progress"), "{error}");
}

#[tokio::test]
async fn a_server_does_not_decide_how_long_is_waited() {
    let in_2999 = "Sun, 08 Dec 2999 04:29:00 GMT";
    for (asked, cap, waited) in [
        ("7200", None, Duration::from_secs(60)),
        ("18446744073709551", None, Duration::from_secs(60)),
        (in_2999, None, Duration::from_secs(60)),
        ("7", None, Duration::from_secs(7)),
        ("7", Some(Duration::from_secs(5)), Duration::from_secs(5)),
        ("7200", Some(Duration::from_secs(9000)), Duration::from_secs(7200)),
    ] {
        let busy =
            format!("HTTP/1.1 429 Slow Down\r\nretry-after: {asked}\r\ncontent-length: 0\r\n\r\n");
        let server = Server::start(move |_, _| Do::Answer(busy.clone())).await;
        let clock = Arc::new(VirtualClock::new(1));
        let builder = cap
            .into_iter()
            .fold(client(&server.url()), ClientBuilder::retry_after_cap)
            .max_retries(1);
        let mut run = builder.build().unwrap().run("m").clock(Arc::clone(&clock)).user("Hello?");
        // Each wait counts as an attempt, so this ends.
        run.until_done().await.unwrap_err();
        assert_eq!(clock.waits(), [waited], "{asked}");
        assert_eq!(server.requests.lock().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn idle_connections_are_closed_by_their_age() {
    let server = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
    let idle_timeout = Duration::from_millis(300);
    let transport = HttpTransport::new(HttpSettings { idle_timeout, ..settings() });
    let mut replies = Vec::new();
    for _ in 0..8 {
        replies.push(send(&mut transport.clone(), &server.url()).await.unwrap());
    }
    for mut reply in replies {
        support::read(&mut reply.body).await.unwrap();
    }
    assert_eq!(server.connections(), 8);
    // Light traffic keeps one of them open, but not the others.
    let mut busy = transport.clone();
    let url = server.url();
    let traffic = async {
        loop {
            exchange(&mut busy, &url).await.unwrap();
            sleep(Duration::from_millis(50)).await;
        }
    };
    let closed = async {
        for _ in 0..7 {
            server.client_closes().await;
        }
    };
    tokio::select! {
        () = traffic => {}
        () = closed => {}
    }
    // Without traffic, the last one is closed too.
    server.client_closes().await;
}

/// Sends a client's request to this server in the given runtime, and returns the result.
fn in_runtime(runtime: &Runtime, client: &Client) -> Result<String, Error> {
    runtime.block_on(async {
        client.run("m").user("Hello?").until_done().await.map(|finished| finished.text())
    })
}

#[test]
fn a_runtime_without_timers_or_io_is_told() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let client = client(&format!("http://{}", listener.local_addr().unwrap())).build().unwrap();
    let timers = "connections need timers, and this tokio runtime has none: build it with `enable_all` or `enable_time`";
    let io = "connections need I/O, and this tokio runtime has none: build it with `enable_all` or `enable_io`";
    for (runtime, text) in [
        (Builder::new_current_thread().build().unwrap(), timers),
        (Builder::new_current_thread().enable_io().build().unwrap(), timers),
        (Builder::new_current_thread().enable_time().build().unwrap(), io),
        (Builder::new_multi_thread().worker_threads(1).build().unwrap(), timers),
    ] {
        for _ in 0..2 {
            let error = in_runtime(&runtime, &client).unwrap_err();
            assert_eq!(error.to_string(), text);
            assert!(
                matches!(&error, Error::Transport(error) if error.transport_kind() == TransportKind::Setup),
                "{error:#?}"
            );
        }
    }
}

/// Starts a server, in a thread and a runtime of its own, that answers with a message.
fn server_apart() -> (String, Arc<core::sync::atomic::AtomicUsize>) {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        in_new_runtime(async {
            let body = r#"{"id":"m","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"ok"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            let server = Server::start(move |_, _| Do::Answer(answer.clone())).await;
            tell.send((server.url(), Arc::clone(&server.connections))).unwrap();
            core::future::pending::<()>().await;
        });
    });
    told.recv().unwrap()
}

fn in_new_runtime<F: Future>(future: F) -> F::Output {
    Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

#[test]
fn one_client_in_two_runtimes_that_live() {
    let (url, connections) = server_apart();
    let client = client(&url).read_timeout(FOR_EVER).build().unwrap();
    let [a, b] = [(); 2].map(|()| Builder::new_current_thread().enable_all().build().unwrap());
    for _ in 0..3 {
        for runtime in [&a, &b] {
            assert_eq!(in_runtime(runtime, &client).unwrap(), "ok");
        }
    }
    // Each runtime makes one connection, and keeps it.
    assert_eq!(connections.load(core::sync::atomic::Ordering::SeqCst), 2);
    drop(a);
    assert_eq!(in_runtime(&b, &client).unwrap(), "ok");
    drop(b);
    assert_eq!(
        in_new_runtime(async { client.run("m").user("Hello?").until_done().await.unwrap().text() }),
        "ok"
    );
}

#[test]
fn a_reply_that_began_in_a_runtime_which_is_not_driven_ends() {
    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        let mut open = Vec::new();
        for (n, stream) in listener.incoming().enumerate() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let rest = "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
                        event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n\
                        event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
            let rest = if n == 0 { "" } else { rest };
            stream
                .write_all(format!("{STREAM}{MESSAGE_START}{TEXT_START}{DELTA}{rest}").as_bytes())
                .unwrap();
            if n == 0 {
                open.push(stream);
            }
        }
    });
    let client = client(&url).read_timeout(Duration::from_millis(500)).build().unwrap();
    let [a, b] = [(); 2].map(|()| Builder::new_current_thread().enable_all().build().unwrap());
    let mut run = client.run("m").user("Hello?");
    a.block_on(async {
        while !matches!(run.next_event().await.unwrap(), Some(Event::BlockStart { .. })) {}
        // No longer driven, but not dropped.
        let _ = timeout(Duration::from_millis(10), run.until_done()).await;
    });
    let finished =
        b.block_on(async { timeout(FOR_EVER, run.until_done()).await.expect("it waits for ever") });
    assert!(finished.is_err() || finished.unwrap().text() == "a");
    assert_eq!(b.block_on(run.until_done()).unwrap().text(), "a");
}

#[tokio::test]
async fn replies_that_no_request_asked_for_are_told_as_what_they_are() {
    let gzip = "content-encoding: gzip\r\ncontent-length: 4\r\n\r\n\u{1f}\u{8}\u{0}\u{0}";
    let server = Server::start(move |c, _| {
        Do::Last(match c {
            0 => format!("HTTP/1.1 200 OK\r\n{gzip}"),
            1 => format!("HTTP/1.1 403 No\r\n{gzip}"),
            2 => "HTTP/1.1 304 Not Modified\r\n\r\n".to_owned(),
            3 => "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n".to_owned(),
            _ => "HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\ncontent-length: 2\r\n\r\n{}".to_owned(),
        })
    })
    .await;
    let url = server.url();
    let compressed = format!(
        "the reply from {url} is compressed (content-encoding: gzip), which was not requested"
    );
    for text in [
        compressed.clone(),
        format!("API error: permission_error (status 403): {compressed}"),
        "API error: status 304: a reply to a conditional request, which was not sent: a proxy in between caches replies"
            .to_owned(),
        "API error: status 101: the server switched to another protocol, which was not requested".to_owned(),
    ] {
        assert_eq!(error_of(client(&url)).await.to_string(), text);
    }
    assert_eq!(exchange(&mut transport(), &url).await.unwrap(), (200, b"{}".to_vec()));
}
