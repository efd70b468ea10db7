//! Runs over servers that answer as Bedrock does: on loopback, and scripts for damaged streams.

use std::sync::{Arc, Mutex};

use aws_smithy_eventstream::frame::write_message_to;
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue as FieldValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use toolrunner_bedrock::{Bedrock, BedrockBuilder};
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead};
use toolrunner_std::http::{DynTransport, HttpSettings, HttpTransport, Proxies, SendFuture};
use toolrunner_std::{Client, Error, HttpBody, tool};

const STREAM: &str = "content-type: application/vnd.amazon.eventstream\r\n";
const JSON: &str = "content-type: application/json\r\n";

fn frame(headers: &[(&'static str, &'static str)], payload: Vec<u8>) -> Vec<u8> {
    let headers = headers
        .iter()
        .map(|(name, value)| Header::new(*name, HeaderValue::String((*value).into())));
    let mut bytes = Vec::new();
    let message = Message::new_from_parts(headers.collect(), payload);
    write_message_to(&message, &mut bytes).unwrap();
    bytes
}

fn chunk(event: &str) -> Vec<u8> {
    let payload = format!(r#"{{"bytes":"{}","p":"abcd"}}"#, STANDARD.encode(event));
    let headers = [
        (":event-type", "chunk"),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ];
    frame(&headers, payload.into_bytes())
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#;

fn text_events(text: &str) -> Vec<String> {
    let mut events = vec![START.to_owned(), r#"{"type":"ping"}"#.to_owned()];
    events.push(
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#
            .to_owned(),
    );
    events.push(format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#));
    events.push(r#"{"type":"content_block_stop","index":0}"#.to_owned());
    events.push(stop("end_turn"));
    // Line ends between tokens are JSON too.
    events
        .push("{\"type\":\"message_stop\",\r\n\"amazon-bedrock-invocationMetrics\":{}}".to_owned());
    events
}

fn stop(reason: &str) -> String {
    format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":2}}}}"#
    )
}

fn frames(events: &[String]) -> Vec<u8> {
    events.iter().flat_map(|event| chunk(event)).collect()
}

/// Status and headers, and the body in pieces of this size.
type Answer = (String, Vec<u8>, usize);
type Requests = Arc<Mutex<Vec<(String, Value)>>>;

async fn serve(answers: Vec<Answer>) -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        for (head, body, piece) in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut have = Vec::new();
            let (request, start, length) = loop {
                assert!(socket.read_buf(&mut have).await.unwrap() > 0);
                let Some(end) = have.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
                let request = String::from_utf8(have[..end].to_vec()).unwrap();
                let length = request.split("content-length: ").nth(1).unwrap();
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                break (request, end + 4, length);
            };
            while have.len() < start + length {
                socket.read_buf(&mut have).await.unwrap();
            }
            seen.lock().unwrap().push((request, serde_json::from_slice(&have[start..]).unwrap()));
            let head = format!("HTTP/1.1 {head}connection: close\r\n\r\n");
            socket.write_all(head.as_bytes()).await.unwrap();
            for piece in body.chunks(piece) {
                socket.write_all(piece).await.unwrap();
                socket.flush().await.unwrap();
                tokio::task::yield_now().await;
            }
        }
    });
    (url, requests)
}

fn direct() -> HttpTransport {
    HttpTransport::new(HttpSettings { proxies: Proxies::none(), ..HttpSettings::default() })
}

fn signed() -> BedrockBuilder {
    Bedrock::builder().credentials("AKID", "hush", Some("session".to_owned())).transport(direct())
}

fn client(builder: BedrockBuilder, url: &str) -> Client {
    let builder = builder.region("eu-west-1").base_url(url).client().unwrap();
    builder.beta("b-1").beta("b-2").build().unwrap()
}

/// Say hello.
#[tool]
fn hello() -> String {
    "hello!".to_owned()
}

#[tokio::test]
async fn a_run_with_a_tool_over_a_stream() {
    let call = [
        START.to_owned(),
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t1","name":"hello","input":{}}}"#.to_owned(),
        r#"{"type":"content_block_stop","index":0}"#.to_owned(),
        stop("tool_use"),
        r#"{"type":"message_stop"}"#.to_owned(),
    ];
    let mut news = frame(&[(":message-type", "event"), (":event-type", "news")], b"{}".to_vec());
    news.extend(frames(&text_events("Hi")));
    let busy = "503 Busy\r\nx-amzn-errortype: ServiceUnavailableException:http://x/\r\nretry-after-ms: 1\r\n";
    let (url, requests) = serve(vec![
        (format!("200 OK\r\nx-amzn-requestid: req-1\r\n{STREAM}"), frames(&call), 7),
        (format!("{busy}{JSON}"), br#"{"message":"busy"}"#.to_vec(), 99),
        (format!("200 OK\r\n{STREAM}"), news, 4096),
    ])
    .await;
    let model = "arn:aws:bedrock:eu-west-1:1:inference-profile/m-v1:0";
    let client = client(signed(), &url);
    let mut run = client.run(model).tools(hello).user("Hello");
    let finished = run.until_done().await.unwrap();
    assert_eq!(finished.text(), "Hi");
    assert_eq!(finished.usage.output_tokens, 4);

    let requests = requests.lock().unwrap();
    assert_eq!(requests.len(), 3);
    let mut signatures = Vec::new();
    for (head, body) in requests.iter() {
        let path = "POST /model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Fm-v1%3A0/invoke-with-response-stream HTTP/1.1\r\n";
        assert!(head.starts_with(path), "{head}");
        let signed = head.split("authorization: ").nth(1).unwrap().lines().next().unwrap();
        let names = "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token, Signature=";
        assert!(signed.starts_with("AWS4-HMAC-SHA256 Credential=AKID/"), "{signed}");
        assert!(signed.contains("/eu-west-1/bedrock/aws4_request, "), "{signed}");
        assert!(signed.contains(names), "{signed}");
        signatures.push(signed.to_owned());
        assert!(head.contains("x-amz-security-token: session\r\n"), "{head}");
        assert!(!head.contains("anthropic-") && !head.contains("hush"), "{head}");
        assert_eq!(body["anthropic_version"], "bedrock-2023-05-31");
        assert_eq!(body["anthropic_beta"], serde_json::json!(["b-1", "b-2"]));
        assert_eq!(body["tools"][0]["name"], "hello");
        assert!(body.get("model").is_none() && body.get("stream").is_none(), "{body}");
    }
    // The bodies of the first two requests differ, and so do their signatures.
    assert_ne!(signatures[0], signatures[1]);
    assert_eq!(requests[1].1["messages"][2]["content"][0]["content"], "hello!");
}

#[tokio::test]
async fn without_a_stream_and_with_an_api_key() {
    let message = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
    let (url, requests) =
        serve(vec![(format!("200 OK\r\n{JSON}"), message.as_bytes().to_vec(), 50)]).await;
    let builder = Bedrock::builder().api_key("key").anthropic_version("2026-10-21");
    let client = client(builder.transport(direct()), &url);
    let finished = client.run("m").stream(false).user("Hello").until_done().await.unwrap();
    assert_eq!(finished.text(), "Hi");
    let (head, body) = requests.lock().unwrap()[0].clone();
    assert!(head.starts_with("POST /model/m/invoke HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: Bearer key\r\n") && !head.contains("x-amz-"), "{head}");
    assert_eq!(body["anthropic_version"], "2026-10-21");
}

/// Answers every request with the same reply.
struct Same {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl DynTransport for Same {
    fn send<'a>(&'a self, _: &'a Head<'_>, _: &'a Body<'_>) -> SendFuture<'a> {
        let body = HttpBody::from_pieces([self.body.clone()]).with_headers(self.headers.clone());
        Box::pin(core::future::ready(Ok(Reply { head: ReplyHead::new(self.status), body })))
    }
}

async fn answer(
    status: u16,
    fields: &[(&'static str, &'static str)],
    body: &[u8],
) -> Result<String, Error> {
    let fields =
        fields.iter().map(|(name, value)| (name.parse().unwrap(), FieldValue::from_static(value)));
    let same = Same { status, headers: fields.collect(), body: body.to_vec() };
    let builder = Bedrock::builder().region("r").credentials("a", "b", None);
    let builder = builder.transport(HttpTransport::from_dyn(same)).client().unwrap();
    let client = builder.max_retries(0).build().unwrap();
    client.run("m").user("Hello").until_done().await.map(|finished| finished.text())
}

async fn stream(body: &[u8]) -> Result<String, Error> {
    answer(200, &[("content-type", "application/vnd.amazon.eventstream")], body).await
}

#[tokio::test]
async fn an_exception_in_a_stream_is_an_error_of_the_api() {
    let start = chunk(START);
    for (headers, payload, text) in [
        (
            [
                (":message-type", "exception"),
                (":exception-type", "throttlingException"),
                ("a", "b"),
            ],
            r#"{"message":"Too many tokens"}"#,
            "API error: rate_limit_error (status 200): Too many tokens",
        ),
        (
            [
                (":message-type", "exception"),
                (":exception-type", "modelTimeoutException"),
                ("a", "b"),
            ],
            "",
            "API error: timeout_error (status 200): modelTimeoutException",
        ),
        (
            [(":message-type", "error"), (":error-code", "Odd"), (":error-message", "line\none")],
            "",
            "API error: Odd (status 200): line\\none",
        ),
    ] {
        let body = [start.clone(), frame(&headers, payload.as_bytes().to_vec())].concat();
        assert_eq!(stream(&body).await.unwrap_err().to_string(), text);
    }
}

#[tokio::test]
async fn no_damaged_stream_is_read_as_a_whole_one() {
    let whole = frames(&text_events("Hi"));
    assert_eq!(stream(&whole).await.unwrap(), "Hi");
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        let error = stream(&damaged).await.expect_err("a damaged byte went unnoticed");
        assert!(matches!(error, Error::Transport(_)), "{at}: {error}");
    }
    let last = chunk(&text_events("Hi")[6]).len();
    // Without its last event, the message is whole too: core accepts that.
    for len in (0..whole.len()).filter(|len| *len != whole.len() - last) {
        let error = stream(&whole[..len]).await.expect_err("an early end went unnoticed");
        assert!(matches!(error, Error::Transport(_) | Error::Protocol(_)), "{len}: {error}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_stream_is_told() {
    let large = [&0x7fff_ffff_u32.to_be_bytes()[..], &[0; 20]].concat();
    let no_bytes = frame(&[(":message-type", "event"), (":event-type", "chunk")], b"{}".to_vec());
    for (body, text) in [
        (large, "the event stream has a frame of 2147483647 bytes, more than 16908304"),
        (no_bytes, "a chunk of the event stream has no bytes"),
        (chunk("[1]"), "a chunk of the event stream is not an event"),
        (frame(&[], Vec::new()), "a frame of the event stream has no known type"),
        (chunk(START)[..20].to_vec(), "the event stream ended in the middle of a frame"),
        (vec![0; 3], "the event stream ended in the middle of a frame"),
    ] {
        assert_eq!(stream(&body).await.unwrap_err().to_string(), text);
    }
    let mut damaged = chunk(START);
    *damaged.last_mut().unwrap() ^= 1;
    let error = stream(&damaged).await.unwrap_err().to_string();
    assert!(error.starts_with("the event stream has an invalid frame: "), "{error}");
}

#[tokio::test]
async fn an_error_has_the_apis_form() {
    for (fields, body, text) in [
        (
            &[("x-amzn-errortype", "ValidationException:x"), ("x-amzn-requestid", "req-9")][..],
            r#"{"message":"bad \"model\""}"#,
            "API error: invalid_request_error (status 400): bad \"model\" [request id req-9]",
        ),
        (
            &[],
            r#"{"__type":"com.x#AccessDeniedException","Message":"no"}"#,
            "API error: permission_error (status 400): no",
        ),
        (
            &[],
            r#"{"type":"error","error":{"type":"api_error","message":"m"}}"#,
            "API error: api_error (status 400): m",
        ),
        (&[], "<html>", "API error: invalid_request_error (status 400): <html>"),
    ] {
        let error = answer(400, fields, body.as_bytes()).await.unwrap_err();
        assert_eq!(error.to_string(), text);
    }
}

#[tokio::test]
async fn what_bedrock_does_not_have_is_refused_before_it_is_sent() {
    let client = client(signed(), "http://127.0.0.1:9");
    let mut run = client.run("m").user("Hello");
    assert_eq!(
        run.count_tokens().await.unwrap_err().to_string(),
        "the request hook failed: Bedrock supports only the messages endpoint, not POST /v1/messages/count_tokens"
    );
    for model in ["..", "", ".;x"] {
        let error = client.run(model).user("Hello").until_done().await.unwrap_err();
        assert!(error.to_string().contains("no valid Bedrock model id"), "{error}");
    }
}
