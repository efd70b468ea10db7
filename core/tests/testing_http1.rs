//! The scripted model over HTTP/1.1, fed by hand and over a socket.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use toolrunner_core::testing::http1::{Connection, Framing};
use toolrunner_core::testing::{BadLink, Chunk, Script, ScriptedModel, ScriptedReply, Style};

fn request(stream: bool, more: &str) -> Vec<u8> {
    let body = format!(
        r#"{{"model":"m","max_tokens":1,"stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#
    );
    let length = body.len();
    format!("POST /v1/messages HTTP/1.1\r\nhost: x\r\nAnthropic-Version:2023-06-01\r\n{more}Content-Length: {length}\r\n\r\n{body}")
        .into_bytes()
}

fn model() -> ScriptedModel {
    ScriptedModel::answering(|_| ScriptedReply::text("Hello").into())
}

fn data(chunks: &[Chunk]) -> String {
    let bytes = chunks
        .iter()
        .flat_map(|chunk| if let Chunk::Data(data) = chunk { data.clone() } else { Vec::new() })
        .collect();
    String::from_utf8(bytes).unwrap()
}

/// Returns what a client reads: the head, and the body without its framing.
fn parse(reply: &str) -> (String, String) {
    let (head, mut rest) = reply.split_once("\r\n\r\n").unwrap();
    if !head.contains("transfer-encoding: chunked") {
        return (head.to_string(), rest.to_string());
    }
    let mut body = String::new();
    loop {
        let (size, after) = rest.split_once("\r\n").unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            assert_eq!(after, "\r\n");
            return (head.to_string(), body);
        }
        body += &after[..size];
        rest = after[size..].strip_prefix("\r\n").unwrap();
    }
}

#[test]
fn a_request_in_any_pieces() {
    let expected = data(&Connection::new().respond(&mut model(), &request(false, "")));
    let body = r#"{"id":"msg_scripted_0001","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":22,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":8}}"#;
    let length = body.len();
    assert_eq!(
        expected,
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nrequest-id: req_scripted_0001\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    );
    for size in 1..40 {
        let (mut connection, mut model) = (Connection::new(), model());
        let pieces: Vec<_> = request(false, "")
            .chunks(size)
            .map(|piece| connection.respond(&mut model, piece))
            .collect();
        let (last, before) = pieces.split_last().unwrap();
        assert!(before.iter().all(Vec::is_empty));
        assert_eq!(data(last), expected);
        assert!(!connection.is_closed());
    }
}

#[test]
fn two_requests_at_once_and_keep_alive() {
    let (mut connection, mut model) = (Connection::new(), model());
    let both = [request(false, ""), request(true, "connection: close\r\n")].concat();
    let out = data(&connection.respond(&mut model, &both));
    assert_eq!(out.matches("HTTP/1.1 200 OK").count(), 2);
    assert!(connection.is_closed());
    assert!(out.contains("connection: close"));
    assert!(connection.respond(&mut model, &request(false, "")).is_empty());
    assert_eq!(model.requests().len(), 2);
}

#[test]
fn every_framing() {
    let (_, expected) = parse(&data(&Connection::new().respond(&mut model(), &request(true, ""))));
    assert!(expected.starts_with("event: message_start\n") && expected.ends_with("\n\n"));
    for (framing, sign) in [
        (Framing::Length, "content-length: "),
        (Framing::Chunked, "transfer-encoding: chunked"),
        (Framing::Close, "connection: close"),
    ] {
        let mut connection = Connection::new().framing(framing);
        let (head, body) = parse(&data(
            &connection.respond(&mut model().style(Style::default()), &request(true, "")),
        ));
        assert!(head.contains(sign), "{head}");
        assert_eq!(body, expected);
        assert_eq!(connection.is_closed(), framing == Framing::Close);
    }
}

#[test]
fn what_is_no_request() {
    let long = format!("POST / HTTP/1.1\r\nx: {}", "y".repeat(70_000));
    let cases = [
        ("GET /v1/messages HTTP/1.1\r\n\r\n", "405 Other", "only POST is supported"),
        ("POST /v1/messages HTTP/1.1\r\n\r\n", "411 Other", "a request needs a content-length"),
        (
            "POST /v1/messages HTTP/1.1\r\ncontent-length: x\r\n\r\n",
            "400 Bad Request",
            "content-length is not a number",
        ),
        (
            "POST /v1/messages HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n",
            "413 Other",
            "the body is larger than 32 MiB",
        ),
        ("PRI * HTTP/2.0\r\n\r\n", "400 Bad Request", "not an HTTP/1.1 request"),
        ("POST / HTTP/1.1\r\nnonsense\r\n\r\n", "400 Bad Request", "not an HTTP/1.1 request"),
        (&long, "431 Other", "the head is larger than 64 KiB"),
    ];
    for (bytes, status, message) in cases {
        let mut connection = Connection::new();
        let (head, body) = parse(&data(&connection.respond(&mut model(), bytes.as_bytes())));
        assert!(head.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{head}");
        assert!(body.contains(message), "{body}");
        assert!(connection.is_closed());
    }
}

#[test]
fn expect_continue() {
    let (mut connection, mut model) = (Connection::new(), model());
    let whole = request(false, "expect: 100-continue\r\n");
    let head = whole.windows(4).position(|part| part == b"\r\n\r\n").unwrap() + 4;
    assert_eq!(
        data(&connection.respond(&mut model, &whole[..head])),
        "HTTP/1.1 100 Continue\r\n\r\n"
    );
    assert!(connection.respond(&mut model, &whole[head..head + 1]).is_empty());
    assert!(
        data(&connection.respond(&mut model, &whole[head + 1..])).starts_with("HTTP/1.1 200 OK")
    );
}

#[test]
fn a_link_that_breaks_closes_the_connection_and_the_answer_comes_again() {
    let mut model = ScriptedModel::new(
        Script::new().reply(ScriptedReply::text("one")).reply(ScriptedReply::text("two")),
    );
    let mut connection = Connection::new().link(BadLink::new(1).resets(1000));
    let out = connection.respond(&mut model, &request(false, ""));
    assert_eq!(out.last(), Some(&Chunk::Reset));
    assert!(connection.is_closed());
    let mut connection = Connection::new().link(BadLink::new(1).early_ends(1000));
    let out = connection.respond(&mut model, &request(false, ""));
    assert!(connection.is_closed() && !out.contains(&Chunk::Reset));
    let out =
        data(&Connection::new().link(BadLink::new(2)).respond(&mut model, &request(false, "")));
    assert!(parse(&out).1.contains("one"));
    assert!(
        parse(&data(&Connection::new().respond(&mut model, &request(false, "")))).1.contains("two")
    );
}

#[test]
fn on_a_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let (mut connection, mut model, mut buffer) =
            (Connection::new(), ScriptedModel::demo(), [0; 16]);
        while !connection.is_closed() {
            let length = socket.read(&mut buffer).unwrap();
            for chunk in connection.respond(&mut model, &buffer[..length]) {
                if let Chunk::Data(bytes) = chunk {
                    socket.write_all(&bytes).unwrap();
                }
            }
        }
    });
    let mut socket = TcpStream::connect(address).unwrap();
    socket.write_all(&request(true, "connection: close\r\n")).unwrap();
    let mut reply = String::new();
    socket.read_to_string(&mut reply).unwrap();
    server.join().unwrap();
    let (_, body) = parse(&reply);
    assert!(body.contains("I am a scr") && body.ends_with("\"message_stop\"}\n\n"), "{body}");
}
