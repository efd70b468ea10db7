//! One table of what every adapter must do, played through each of them: `toolrunner_std`'s over
//! hyper, and `toolrunner_embassy`'s over its own HTTP/1.1 and over reqwless, with real connections
//! on loopback. The effects of faults on a conversation are tested in `faults`.

mod near;
mod server;

use embedded_io_async::BufRead as _;
use server::{Act, Server};
use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::{Body, Head, ReplyHead, Transport, TransportError as _};
use toolrunner_embassy::reqwless::Resources;

/// A reply, or the kind of an error, as the loop receives it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    Reply(ReplyHead, String),
    Fails(TransportKind),
}

/// How much of a reply's body the client reads before it drops the reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reads {
    All,
    /// The first piece, which is not the whole body.
    First,
}

struct Row {
    name: String,
    /// The server's actions, by connection and request.
    acts: Vec<Vec<Act>>,
    reads: Reads,
    /// The expected result of each request.
    sees: Vec<Seen>,
    connections: usize,
}

const LENGTH: &str = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
const CHUNKED: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n2;x=y\r\nhe\r\n3\r\nllo\r\n0\r\ntrailer: x\r\n\r\n";
/// Chunks as reqwless accepts them: without extensions and fields after the last one, and with the
/// name of the encoding in lower case.
const SIMPLY_CHUNKED: &str =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n";
const TO_END: &str = "HTTP/1.1 200 OK\r\n\r\nhello";

fn answer(text: &str) -> Act {
    Act::Answer(text.to_owned())
}

fn hello() -> Seen {
    Seen::Reply(ReplyHead::new(200), "hello".to_owned())
}

fn closed() -> Seen {
    Seen::Fails(TransportKind::Closed)
}

fn row(name: &str, acts: Vec<Vec<Act>>, sees: Vec<Seen>, connections: usize) -> Row {
    Row { name: name.to_owned(), acts, reads: Reads::All, sees, connections }
}

/// Returns a row with one reply to one request on one connection.
fn one(name: &str, act: Act, sees: Seen) -> Row {
    row(name, vec![vec![act]], vec![sees], 1)
}

fn head(status: u16, fields: &[(&str, &str)]) -> ReplyHead {
    let mut head = ReplyHead::new(status);
    fields.iter().for_each(|(name, value)| head.field(name, value.as_bytes()));
    head
}

/// Returns rows about which connections are reused, and which never are.
fn connections(chunked: &str) -> Vec<Row> {
    let three = || vec![hello(); 3];
    let closing = LENGTH.replace("\r\n\r\n", "\r\nConnection: Close\r\n\r\n");
    let longer = format!("{LENGTH}and more that nobody announced");
    let half = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhell";
    vec![
        row("kept alive", vec![vec![answer(LENGTH), answer(chunked), answer(LENGTH)]], three(), 1),
        row("closed between requests", vec![vec![Act::Close(LENGTH.into())]], three(), 3),
        row("said to be closed", vec![vec![answer(&closing)]], three(), 3),
        row("HTTP/1.0", vec![vec![Act::Close(LENGTH.replace("1.1", "1.0"))]], three(), 3),
        row("ends with the connection", vec![vec![Act::Close(TO_END.into())]], three(), 3),
        row(
            "more than was announced",
            vec![vec![answer(&longer)], vec![answer(LENGTH)]],
            three(),
            2,
        ),
        row(
            "fails, then well",
            vec![vec![Act::Close(half.into())], vec![answer(LENGTH)]],
            vec![closed(), hello(), hello()],
            2,
        ),
        row(
            "stalls, then well",
            vec![vec![Act::Stall(half.into())], vec![answer(LENGTH)]],
            vec![Seen::Fails(TransportKind::Timeout), hello(), hello()],
            2,
        ),
        Row {
            reads: Reads::First,
            ..row(
                "dropped half-way",
                vec![vec![Act::Stall(half.into())]],
                vec![Seen::Reply(ReplyHead::new(200), "hell".into()); 3],
                3,
            )
        },
    ]
}

/// Returns rows with a kept connection that ends after the second request was read. The server may
/// have started the turn by then, so the retry policy decides, and counts the failure.
fn stale() -> Vec<Row> {
    let sees = vec![hello(), closed(), hello()];
    vec![
        row(
            "reset as the request arrives",
            vec![vec![answer(LENGTH), Act::Reset(String::new())]],
            sees.clone(),
            2,
        ),
        row(
            "closed as the request arrives",
            vec![vec![answer(LENGTH), Act::Close(String::new())]],
            sees,
            2,
        ),
    ]
}

/// Returns rows about heads and bodies.
fn replies(chunked: &str) -> Vec<Row> {
    let fails = |name: &str, text: &str| {
        one(name, Act::Stall(text.to_owned()), Seen::Fails(TransportKind::Http))
    };
    let fields = [
        ("Retry-After", "7"),
        ("retry-after-ms", "1500"),
        ("X-Should-Retry", "true"),
        ("request-id", "req_1"),
    ];
    let said =
        fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect::<String>();
    let overloaded = format!("HTTP/1.1 529 \r\n{said}content-length: 2\r\n\r\n{{}}");
    let early = format!(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nretry-after: 9\r\n\r\n{LENGTH}"
    );
    let many = LENGTH
        .replace("\r\n\r\n", &format!("\r\n{}\r\n", "x-field: of some length\r\n".repeat(60)));
    let two_lengths = LENGTH.replace("\r\n\r\n", "\r\ncontent-length: 6\r\n\r\n");
    let vast =
        LENGTH.replace("\r\n\r\n", &format!("\r\nconnection: {}\r\n\r\n", "c".repeat(1 << 20)));
    vec![
        one(
            "what the loop needs of a head",
            answer(&overloaded),
            Seen::Reply(head(529, &fields), "{}".into()),
        ),
        one("heads before the head", answer(&early), hello()),
        one("many fields", answer(&many), hello()),
        one(
            "no body",
            answer("HTTP/1.1 204 No Content\r\n\r\n"),
            Seen::Reply(ReplyHead::new(204), String::new()),
        ),
        one(
            "an empty body",
            answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
            Seen::Reply(ReplyHead::new(200), String::new()),
        ),
        one(
            "a body without chunks",
            answer(
                &chunked
                    .replace("he\r\n3\r\nllo\r\n", "")
                    .replace("2;x=y\r\n", "")
                    .replace("2\r\n", ""),
            ),
            Seen::Reply(ReplyHead::new(200), String::new()),
        ),
        fails("a head too large", &vast),
        fails("two lengths", &two_lengths),
        fails("no HTTP", "220 mail.example ESMTP\r\n\r\n"),
        fails(
            "a chunk's size is not a number",
            &chunked.replace("2;x=y", "zz").replace("\r\n2\r\n", "\r\nzz\r\n"),
        ),
        one("nothing comes", Act::Stall(String::new()), Seen::Fails(TransportKind::Timeout)),
        one(
            "half a head comes",
            Act::Stall(LENGTH[..20].into()),
            Seen::Fails(TransportKind::Timeout),
        ),
        one(
            "half a chunk comes",
            Act::Stall(chunked[..chunked.find("llo").unwrap()].into()),
            Seen::Fails(TransportKind::Timeout),
        ),
    ]
}

/// Returns rows in which each reply is cut off, and paused for a moment, after each of its bytes.
fn cuts(chunked: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    for (framing, text) in [("length", LENGTH), ("chunked", chunked), ("to the end", TO_END)] {
        let body = text.find("\r\n\r\n").unwrap() + 4;
        for at in 0..text.len() {
            let (first, second) = text.split_at(at);
            let name = |what: &str| format!("{framing}, {what} after {at} bytes");
            // If a body ends with the connection, its end cannot be distinguished from a cut.
            let cut = if framing == "to the end" && at >= body {
                Seen::Reply(ReplyHead::new(200), text[body..at].into())
            } else {
                closed()
            };
            rows.push(one(&name("closed"), Act::Close(first.into()), cut));
            if framing != "to the end" {
                rows.push(one(&name("reset"), Act::Reset(first.into()), closed()));
                rows.push(one(&name("in two"), Act::InTwo(first.into(), second.into()), hello()));
            }
        }
    }
    rows
}

async fn send<T: Transport>(transport: &mut T, url: &str, reads: Reads) -> Result<Seen, T::Error> {
    let head = Head {
        base_url: url,
        path: "/v1/messages?beta=true",
        headers: &[("x-api-key", "hush"), ("content-type", "application/json")],
    };
    let mut reply =
        transport.send(&head, &Body::new(&[b"{\"messages\":", b"["], b"1,2", b"]}")).await?;
    let mut all = Vec::new();
    loop {
        let piece = reply.body.fill_buf().await?;
        if piece.is_empty() {
            break;
        }
        all.extend_from_slice(piece);
        let len = piece.len();
        reply.body.consume(len);
        if reads == Reads::First {
            break;
        }
    }
    Ok(Seen::Reply(reply.head, String::from_utf8(all).unwrap()))
}

/// Plays one row. Returns the difference from the expected results, if there is one.
async fn play<T: Transport>(row: &Row, transport: &mut T) -> Option<String> {
    let server = Server::start(row.acts.clone()).await;
    let url = format!("http://localhost:{}", server.address.port());
    let mut seen = Vec::new();
    for _ in &row.sees {
        seen.push(
            send(transport, &url, row.reads)
                .await
                .unwrap_or_else(|error| Seen::Fails(error.kind())),
        );
        // Waits until the adapter may have noticed what the server did after its reply.
        tokio::time::sleep(core::time::Duration::from_millis(if row.sees.len() > 1 {
            20
        } else {
            0
        }))
        .await;
    }
    if seen != row.sees {
        return Some(format!("{}: expected {:?}, got {seen:?}", row.name, row.sees));
    }
    if server.connections() != row.connections {
        return Some(format!(
            "{}: expected {} connections, got {}",
            row.name,
            row.connections,
            server.connections()
        ));
    }
    for request in server.requests() {
        let mut lines: Vec<&str> = request.lines().collect();
        lines[1..].sort_unstable();
        let host = format!("host: localhost:{}", server.address.port());
        let expected = [
            "post /v1/messages?beta=true http/1.1",
            "",
            "content-length: 18",
            "content-type: application/json",
            &host,
            "x-api-key: hush",
            "{\"messages\":[1,2]}",
        ];
        if lines != expected {
            return Some(format!("{}: the request was {request:?}", row.name));
        }
    }
    None
}

fn rows(chunked: &str) -> Vec<Row> {
    [connections(chunked), stale(), replies(chunked), cuts(chunked)].into_iter().flatten().collect()
}

/// Returns the rows for reqwless, with the replies that it does not accept.
fn rows_of_reqwless() -> Vec<Row> {
    let mut rows = rows(SIMPLY_CHUNKED);
    let many = LENGTH.replace("\r\n\r\n", &format!("\r\n{}\r\n", "x: y\r\n".repeat(64)));
    for (name, text) in [
        ("an extension of a chunk", SIMPLY_CHUNKED.replace("\r\n2\r\n", "\r\n2;x=y\r\n")),
        ("a field after the chunks", SIMPLY_CHUNKED.replace("0\r\n", "0\r\nx: y\r\n")),
        ("an encoding in capitals", SIMPLY_CHUNKED.replace("chunked", "Chunked")),
        ("more than 64 fields", many),
    ] {
        rows.push(one(name, Act::Stall(text), Seen::Fails(TransportKind::Http)));
    }
    rows
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn judge(differences: Vec<String>) {
    assert!(differences.is_empty(), "{}:\n{}", differences.len(), differences.join("\n"));
}

#[test]
fn on_a_server() {
    let mut differences = Vec::new();
    for row in rows(CHUNKED) {
        differences.extend(block_on(async { play(&row, &mut near::server()).await }));
    }
    judge(differences);
}

#[test]
fn on_a_board() {
    let mut differences = Vec::new();
    for row in rows(CHUNKED) {
        differences.extend(block_on(async { play(&row, &mut near::board(&mut [0; 1024])).await }));
    }
    judge(differences);
}

#[test]
fn on_a_board_by_reqwless() {
    let mut differences = Vec::new();
    for row in rows_of_reqwless() {
        let mut resources = Resources::new();
        differences
            .extend(block_on(async { play(&row, &mut near::keep_alive(&mut resources)).await }));
    }
    judge(differences);
}

#[test]
fn on_a_board_by_reqwless_per_request() {
    let mut differences = Vec::new();
    let stale: Vec<String> = stale().into_iter().map(|row| row.name).collect();
    // No connection is used twice, so none is stale.
    for row in rows_of_reqwless().into_iter().filter(|row| !stale.contains(&row.name)) {
        let row = Row { connections: row.sees.len(), ..row };
        let mut resources = Resources::new();
        differences
            .extend(block_on(async { play(&row, &mut near::per_request(&mut resources)).await }));
    }
    judge(differences);
}

/// Checks the errors when no connection is possible.
async fn unreachable<T: Transport>(transport: &mut T) {
    // A port that was free a moment ago and is not assigned again at once.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for (url, kind) in [
        (format!("http://127.0.0.1:{port}"), TransportKind::Connect),
        ("http://no-such-host.invalid".to_owned(), TransportKind::Dns),
    ] {
        let error = send(transport, &url, Reads::All).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{url}");
    }
}

#[test]
fn nobody_there() {
    block_on(async { unreachable(&mut near::server()).await });
    block_on(async { unreachable(&mut near::board(&mut [0; 1024])).await });
    block_on(async { unreachable(&mut near::keep_alive(&mut Resources::new())).await });
    block_on(async { unreachable(&mut near::per_request(&mut Resources::new())).await });
}

/// A head that does not fit in reqwless' buffer is an error with numbers, and so is a buffer that
/// is too small for any head.
#[test]
fn a_head_that_is_too_long() {
    let through = |head: &mut [u8]| {
        block_on(async {
            let long = format!("\r\nx: {}\r\n\r\n", "c".repeat(2048));
            let server =
                Server::start(vec![vec![answer(&LENGTH.replace("\r\n\r\n", &long))]]).await;
            let url = format!("http://localhost:{}", server.address.port());
            let mut buffer = [0; 1024];
            let sent = send(&mut near::keep_alive_in(head, &mut buffer), &url, Reads::All).await;
            (sent.map(|_| ()).map_err(|error| error.capacity()), server.connections())
        })
    };
    let full = ReplyHead::full;
    assert_eq!(through(&mut [0; 2048]), (Err(Some(full(2049, 2048))), 1));
    assert_eq!(through(&mut [0; 4096]), (Ok(()), 1));
    assert_eq!(through(&mut [0; 39]), (Err(Some(full(40, 39))), 0));
}

/// A line that does not fit in a buffer of 1 KiB is an error with numbers if it frames the body,
/// and is skipped otherwise.
#[test]
fn a_line_that_is_too_long() {
    let through = |name: &str| {
        block_on(async {
            let line = format!("\r\n{name}: {}\r\n\r\n", "c".repeat(1024));
            let server =
                Server::start(vec![vec![answer(&LENGTH.replace("\r\n\r\n", &line))]]).await;
            let url = format!("http://localhost:{}", server.address.port());
            let mut buffer = [0; 1024];
            send(&mut near::board(&mut buffer), &url, Reads::All)
                .await
                .map(|_| ())
                .map_err(|error| error.capacity())
        })
    };
    assert_eq!(through("connection"), Err(Some(ReplyHead::full(1025, 1024))));
    assert_eq!(through("x"), Ok(()));
}
