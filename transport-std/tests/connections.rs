//! Which connections are reused, and which never.

mod support;

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use embedded_io_async::BufRead;
use support::{Do, HEADERS, OK, Server, exchange, read, send, transport};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::sleep;
use toolrunner_core::error::TransportKind;
use toolrunner_core::testing::VirtualClock;
use toolrunner_core::transport::{Body, Head, Transport};
use toolrunner_std::http::Proxies;
use toolrunner_std::{Client, Event};

#[tokio::test]
async fn one_connection_serves_one_request_after_another() {
    let server = Server::start(|_, n| match n % 2 {
        0 => Do::Answer(OK.to_owned()),
        _ => Do::Answer(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n"
                .to_owned(),
        ),
    })
    .await;
    let mut transport = transport();
    for _ in 0..20 {
        assert_eq!(exchange(&mut transport, &server.url()).await.unwrap(), (200, b"{}".to_vec()));
        // Another handle uses the same connections.
        assert_eq!(exchange(&mut transport.clone(), &server.url()).await.unwrap().0, 200);
    }
    assert_eq!(server.connections(), 1);
    let (head, body) = server.requests.lock().unwrap()[0].clone();
    assert_eq!(body, b"{\"messages\":[1,2,3]}");
    assert_eq!(
        head,
        format!(
            "POST /v1/messages HTTP/1.1\r\ncontent-type: application/json\r\nanthropic-version: 2023-06-01\r\n\
             x-api-key: hush-hush\r\nhost: {}\r\ncontent-length: 20\r\n\r\n",
            server.address
        )
    );
}

const STREAM: &str = r#"data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}

data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":"ok"}}

data: {"type":"content_block_stop","index":0}

data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":1}}

data: {"type":"message_stop"}

"#;

/// The end of the body is available once the connection's task has run. A timer for it would cost
/// two system calls per reply.
#[tokio::test]
async fn no_clock_is_asked_for_the_end_of_a_body_that_has_come() {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let server = Server::start(move |_, _| {
        Do::Answer(format!("{head}{:x}\r\n{STREAM}\r\n0\r\n\r\n", STREAM.len()))
    })
    .await;
    let client = Client::builder().base_url(server.url()).proxies(Proxies::none()).build().unwrap();
    let clock = Arc::new(VirtualClock::new(1));
    for _ in 0..5 {
        let mut run = client.run("m").stream(true).clock(Arc::clone(&clock)).user("Go.");
        assert_eq!(run.until_done().await.unwrap().text(), "ok");
    }
    assert!(clock.waits().is_empty(), "{:?}", clock.waits());
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn requests_at_once_have_a_connection_each_and_keep_it() {
    let server = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
    let transport = transport();
    for _ in 0..5 {
        let mut replies = Vec::new();
        for _ in 0..8 {
            replies.push(send(&mut transport.clone(), &server.url()).await.unwrap());
        }
        for mut reply in replies {
            read(&mut reply.body).await.unwrap();
        }
    }
    assert_eq!(server.connections(), 8);
}

/// If the length of a body is known, its last byte is its end: another request can have the
/// connection although the first body is still held.
#[tokio::test]
async fn a_connection_is_free_once_the_last_byte_was_read() {
    let server = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
    let mut transport = transport();
    let mut first = send(&mut transport.clone(), &server.url()).await.unwrap();
    assert_eq!(first.body.fill_buf().await.unwrap(), b"{}");
    exchange(&mut transport, &server.url()).await.unwrap();
    assert_eq!(server.connections(), 1);
    first.body.consume(2);
    assert!(first.body.fill_buf().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_it_is_on_many_threads() {
    let server = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
    let transport = transport();
    let tasks = (0..16).map(|_| {
        let (mut transport, url) = (transport.clone(), server.url());
        tokio::spawn(async move {
            for _ in 0..50 {
                exchange(&mut transport, &url).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert!(server.connections() <= 16, "{}", server.connections());
}

#[tokio::test]
async fn a_connection_closed_between_requests_is_replaced() {
    let server = Server::start(|_, _| Do::Last(OK.to_owned())).await;
    let mut transport = transport();
    for _ in 0..10 {
        assert_eq!(exchange(&mut transport, &server.url()).await.unwrap().0, 200);
    }
    assert_eq!(server.connections(), 10);
}

/// Nothing drives the runtime between the two requests, so the server's close is unnoticed when the
/// second request begins.
#[test]
fn a_connection_closed_while_the_runtime_stood_still_is_replaced() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let reply = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{STREAM}", STREAM.len());
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 1 << 16];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(reply.as_bytes()).await.unwrap();
                // Later than the client has read the reply.
                sleep(Duration::from_millis(100)).await;
            }
        });
    });
    let url = format!("http://{}", told.recv().unwrap());
    let client =
        Client::builder().base_url(&url).proxies(Proxies::none()).max_retries(0).build().unwrap();
    let runtime = runtime();
    for _ in 0..3 {
        assert_eq!(
            runtime.block_on(client.run("m").user("Go.").until_done()).unwrap().text(),
            "ok"
        );
        std::thread::sleep(Duration::from_millis(400));
    }
}

/// Starts a server that closes each connection after its second reply, on a signal. Returns
/// its URL, the number of requests that it has read, and a function that returns once the
/// connection is closed.
fn closing_on_signal() -> (String, Arc<AtomicUsize>, impl Fn()) {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
    let reply = format!("{head}content-length: {}\r\n\r\n{STREAM}", STREAM.len());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let (close, told) = std::sync::mpsc::channel();
    let (tell, closed) = std::sync::mpsc::channel();
    let read = Arc::clone(&count);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            for _ in 0..2 {
                assert!(stream.read(&mut [0; 1 << 14]).unwrap() > 0);
                read.fetch_add(1, Ordering::SeqCst);
                stream.write_all(reply.as_bytes()).unwrap();
            }
            let Ok(()) = told.recv() else { return };
            drop(stream);
            tell.send(()).unwrap();
        }
    });
    let close = move || {
        close.send(()).unwrap();
        closed.recv().unwrap();
    };
    (url, count, close)
}

/// The socket of a connection that was idle for longer than a millisecond is checked, also if the
/// server has kept the connection open before.
#[test]
fn a_kept_connection_closed_while_the_runtime_stood_still_is_replaced() {
    let (url, read, close) = closing_on_signal();
    let client =
        Client::builder().base_url(&url).proxies(Proxies::none()).max_retries(0).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = || runtime.block_on(client.run("m").user("Go.").until_done());
    for n in 1..=3 {
        assert_eq!(ask().unwrap().text(), "ok");
        assert_eq!(ask().unwrap().text(), "ok");
        close();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(read.load(Ordering::SeqCst), 2 * n);
    }
}

/// Right after a reply the socket is not checked. If the server has closed it, the request is a
/// failed attempt, which is reported and repeated. On a slow machine more than a millisecond passes.
#[test]
fn a_connection_closed_right_after_a_reply_is_at_most_a_retry() {
    let (url, read, close) = closing_on_signal();
    let client =
        Client::builder().base_url(&url).proxies(Proxies::none()).max_retries(1).build().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = || {
        runtime.block_on(async {
            let mut run = client.run("m").clock(Arc::new(VirtualClock::new(1))).user("Go.");
            let mut retries = 0;
            while let Some(event) = run.next_event().await.unwrap() {
                retries += u32::from(matches!(event, Event::Retry { attempt: 1, .. }));
            }
            retries
        })
    };
    for n in 1..=10 {
        assert!(ask() <= 1);
        assert_eq!(ask(), 0, "the connection is new");
        close();
        assert_eq!(read.load(Ordering::SeqCst), 2 * n, "each request is read once");
    }
}

/// A second reply on the connection is not the reply to the next request, whether or not the
/// runtime was driven between the requests.
#[test]
fn a_reply_that_no_request_asked_for_is_not_read() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let reply = |stream: &str| {
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n{stream}",
            stream.len()
        )
    };
    let (expected, poison) = (reply(STREAM), reply(&STREAM.replace("\"ok\"", "\"poison\"")));
    assert_ne!(expected, poison);
    for cut in [0, 1, poison.len()] {
        let (expected, poison) = (expected.clone(), poison.clone());
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            runtime().block_on(async {
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut request = vec![0; 1 << 16];
                    assert!(stream.read(&mut request).await.unwrap() > 0);
                    let (now, later) = poison.split_at(cut);
                    stream.write_all(format!("{expected}{now}").as_bytes()).await.unwrap();
                    sleep(Duration::from_millis(50)).await;
                    let _ = stream.write_all(later.as_bytes()).await;
                }
            });
        });
        let url = format!("http://{}", told.recv().unwrap());
        let client = Client::builder()
            .base_url(&url)
            .proxies(Proxies::none())
            .max_retries(0)
            .build()
            .unwrap();
        let runtime = runtime();
        let text = || {
            runtime
                .block_on(async { client.run("m").user("Go.").until_done().await.unwrap().text() })
        };
        assert_eq!(text(), "ok");
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(text(), "ok", "{cut}: the runtime stood still");
        runtime.block_on(async { sleep(Duration::from_millis(200)).await });
        assert_eq!(text(), "ok", "{cut}: the runtime was driven");
    }
}

/// The server may have begun the turn, which is billed.
#[tokio::test]
async fn a_request_that_a_server_may_have_read_is_not_sent_again_in_silence() {
    // The second request of each connection is read and answered by closing, so the client receives
    // no part of a reply.
    let message = STREAM.to_owned();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: {}\r\n\r\n",
        message.len()
    );
    let server = Server::start(move |_, n| {
        if n == 0 { Do::Answer(format!("{head}{message}")) } else { Do::Last(String::new()) }
    })
    .await;
    let client = |retries| {
        Client::builder()
            .base_url(server.url())
            .proxies(Proxies::none())
            .max_retries(retries)
            .build()
            .unwrap()
    };
    let sent = || server.requests.lock().unwrap().len();

    let none = client(0);
    assert_eq!(none.run("m").user("Go.").until_done().await.unwrap().text(), "ok");
    let error = none.run("m").user("Go.").until_done().await.unwrap_err();
    assert!(error.to_string().contains("was closed before the reply's head"), "{error}");
    assert_eq!(sent(), 2);

    // A retry is reported.
    let one = client(1);
    assert_eq!(one.run("m").user("Go.").until_done().await.unwrap().text(), "ok");
    let clock = Arc::new(VirtualClock::new(1));
    let mut run = one.run("m").clock(clock).user("Go.");
    let mut retries = 0;
    while let Some(event) = run.next_event().await.unwrap() {
        retries += u32::from(matches!(event, Event::Retry { attempt: 1, .. }));
    }
    assert_eq!((retries, sent()), (1, 5));
}

#[tokio::test]
async fn a_request_of_which_a_part_was_sent_is_sent_again_at_once() {
    // The second request of each connection is larger than the system's buffers, and the server
    // closes without reading it.
    let server =
        Server::start(|_, n| if n == 0 { Do::Answer(OK.to_owned()) } else { Do::Hang }).await;
    let mut transport = transport();
    assert_eq!(exchange(&mut transport, &server.url()).await.unwrap().0, 200);
    let transcript = Arc::new(vec![b'1'; 30 << 20]);
    let head = Head { base_url: &server.url(), path: "/v1/messages", headers: &HEADERS };
    let body = Body::new(&[b"["], &transcript, b"]").with_shared(&transcript);
    let mut reply = transport.send(&head, &body).await.unwrap();
    assert_eq!((reply.head.status, read(&mut reply.body).await.unwrap()), (200, b"{}".to_vec()));
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_new_connection_closed_without_an_answer_is_an_error() {
    let server = Server::start(|_, _| Do::Last(String::new())).await;
    let error = exchange(&mut transport(), &server.url()).await.unwrap_err();
    assert_eq!(error.transport_kind(), TransportKind::Closed);
    let text = format!(
        "the connection to {} was closed before the reply's head: connection closed before message completed",
        server.url()
    );
    assert_eq!(error.to_string(), text);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn dropping_a_body_before_its_end_closes_the_connection() {
    let server = Server::start(|c, _| match c {
        0 => Do::Stall("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{".to_owned()),
        _ => Do::Answer(OK.to_owned()),
    })
    .await;
    let mut transport = transport();
    let mut reply = send(&mut transport, &server.url()).await.unwrap();
    assert_eq!(reply.body.fill_buf().await.unwrap(), b"{");
    drop(reply);
    server.client_closes().await;
    assert_eq!(exchange(&mut transport, &server.url()).await.unwrap().0, 200);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn dropping_a_body_whose_end_is_there_does_not() {
    let server = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
    let mut transport = transport();
    for _ in 0..5 {
        let mut reply = send(&mut transport, &server.url()).await.unwrap();
        assert_eq!(reply.body.fill_buf().await.unwrap(), b"{}");
        reply.body.consume(2);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn dropping_a_send_closes_the_connection() {
    let server =
        Server::start(
            |c, _| if c == 0 { Do::Stall(String::new()) } else { Do::Answer(OK.to_owned()) },
        )
        .await;
    let mut transport = transport();
    let asked = async {
        while server.requests.lock().unwrap().is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let url = server.url();
    tokio::select! {
        _ = send(&mut transport, &url) => panic!("it was answered"),
        () = asked => {}
    }
    server.client_closes().await;
    assert_eq!(exchange(&mut transport, &url).await.unwrap().0, 200);
}

#[tokio::test]
async fn a_server_that_answers_early_may_read_the_rest_but_gets_no_more() {
    let server = Server::start(|_, _| {
        Do::Early("HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\n\r\n{}".to_owned())
    })
    .await;
    let mut transport = transport();
    let transcript = Arc::new(vec![b'1'; 30 << 20]);
    for connections in 1..=2 {
        let head = Head { base_url: &server.url(), path: "/v1/messages", headers: &HEADERS };
        let body = Body::new(&[b"["], &transcript, b"]").with_shared(&transcript);
        let mut reply = transport.send(&head, &body).await.unwrap();
        assert_eq!(
            (reply.head.status, read(&mut reply.body).await.unwrap()),
            (413, b"{}".to_vec())
        );
        drop(reply);
        server.client_closes().await;
        assert_eq!(server.connections(), connections);
    }
    assert_eq!(Arc::strong_count(&transcript), 1);
}

#[tokio::test]
async fn a_large_transcript_is_let_go_before_the_head_is_handed_over() {
    let server = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
    let mut transport = transport();
    // 900 KB, followed by spare room that is not part of the request.
    let mut room = vec![b'7'; 900_000];
    room.resize(1 << 20, 0);
    let shared = Arc::new(room);
    for _ in 0..20 {
        let head = Head { base_url: &server.url(), path: "/v1/messages", headers: &HEADERS };
        let body = Body::new(&[b"{\"a\":1,", b"\"messages\":["], &shared[..900_000], b"]}")
            .with_shared(&shared);
        let mut reply = transport.send(&head, &body).await.unwrap();
        assert_eq!(Arc::strong_count(&shared), 1);
        read(&mut reply.body).await.unwrap();
    }
    let requests = server.requests.lock().unwrap();
    let expected = [b"{\"a\":1,\"messages\":[".as_slice(), &shared[..900_000], b"]}"].concat();
    assert!(requests.iter().all(|(_, body)| *body == expected));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_redirect_is_handed_back_and_not_followed() {
    let elsewhere = Server::start(|_, _| Do::Answer(OK.to_owned())).await;
    let location = elsewhere.url();
    let server = Server::start(move |_, _| {
        Do::Answer(format!("HTTP/1.1 307 Temporary Redirect\r\nlocation: {location}/v1/messages\r\ncontent-length: 0\r\n\r\n"))
    })
    .await;
    assert_eq!(exchange(&mut transport(), &server.url()).await.unwrap(), (307, Vec::new()));
    assert_eq!((server.connections(), elsewhere.connections()), (1, 0));
}
