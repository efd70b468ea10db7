//! Runs over a server on loopback that answers as Vertex AI does.

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use gcp_auth::{Token, TokenProvider};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use toolrunner_std::http::Proxies;
use toolrunner_std::{Client, Error};
use toolrunner_vertex::{Vertex, VertexBuilder};

const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"Hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;
const STREAM: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"m\",\"content\":[],\"stop_reason\":null,\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n",
    "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hi\"}}\n\n",
    "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

type Requests = Arc<Mutex<Vec<(String, serde_json::Value)>>>;

/// Starts a server that answers each request with the next of these statuses and bodies.
async fn serve(answers: &'static [(&'static str, &'static str)]) -> (String, Requests) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Requests::default();
    let seen = Arc::clone(&requests);
    tokio::spawn(async move {
        for (status, body) in answers {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut have = Vec::new();
            let (head, start, length) = loop {
                assert!(socket.read_buf(&mut have).await.unwrap() > 0);
                let Some(end) = have.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
                let head = String::from_utf8(have[..end].to_vec()).unwrap();
                let length = head.split("content-length: ").nth(1).unwrap();
                let length: usize = length.lines().next().unwrap().parse().unwrap();
                break (head, end + 4, length);
            };
            while have.len() < start + length {
                socket.read_buf(&mut have).await.unwrap();
            }
            seen.lock().unwrap().push((head, serde_json::from_slice(&have[start..]).unwrap()));
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\nretry-after-ms: 1\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, requests)
}

/// Gives another token each time.
#[derive(Default)]
struct Counter(AtomicUsize);

#[async_trait::async_trait]
impl TokenProvider for Counter {
    async fn token(&self, scopes: &[&str]) -> Result<Arc<Token>, gcp_auth::Error> {
        assert_eq!(scopes, ["https://www.googleapis.com/auth/cloud-platform"]);
        let n = self.0.fetch_add(1, Ordering::Relaxed);
        if n > 2 {
            return Err(gcp_auth::Error::Str("no token left"));
        }
        let token = format!(r#"{{"access_token":"token-{n}","expires_in":3600}}"#);
        Ok(Arc::new(serde_json::from_str(&token).unwrap()))
    }

    async fn project_id(&self) -> Result<Arc<str>, gcp_auth::Error> {
        Ok("p".into())
    }
}

fn client(builder: VertexBuilder, url: &str) -> Client {
    let builder = builder.project("my project").region("us-east5").base_url(url);
    builder.client().unwrap().proxies(Proxies::none()).beta("b-1").api_key("k").build().unwrap()
}

#[tokio::test]
async fn a_run_is_rewritten_and_each_attempt_has_a_token() {
    let (url, requests) =
        serve(&[("200 OK", STREAM), ("503 Busy", "{}"), ("200 OK", MESSAGE)]).await;
    let provider: Arc<dyn TokenProvider> = Arc::new(Counter::default());
    let client = client(Vertex::builder().token_provider(provider), &url);
    let model = "claude-haiku@20260101";
    let mut run = client.run(model).user("Hello");
    assert_eq!(run.until_done().await.unwrap().text(), "Hi");
    let mut run = client.run(model).stream(false).user("Hello");
    assert_eq!(run.until_done().await.unwrap().text(), "Hi");
    {
        let requests = requests.lock().unwrap();
        let path = "POST /v1/projects/my%20project/locations/us-east5/publishers/anthropic/models/claude-haiku@20260101";
        for (n, action) in ["streamRawPredict", "rawPredict", "rawPredict"].iter().enumerate() {
            let (head, body) = &requests[n];
            assert!(head.starts_with(&format!("{path}:{action} HTTP/1.1\r\n")), "{head}");
            assert!(head.contains(&format!("authorization: Bearer token-{n}\r\n")), "{head}");
            assert!(head.contains("anthropic-beta: b-1"), "{head}");
            assert!(!head.contains("x-api-key") && !head.contains("anthropic-version"), "{head}");
            assert_eq!(body["anthropic_version"], "vertex-2023-10-16");
            assert_eq!(body["model"], serde_json::Value::Null);
            assert_eq!(body["messages"][0]["content"], "Hello");
            assert_eq!(body["stream"] == true, n == 0);
        }
    }
    let error = client.run(model).user("Hello").until_done().await.unwrap_err();
    assert!(matches!(error, Error::Hook(_)), "{error}");
    assert_eq!(error.to_string(), "the request hook failed: no token left");
}

#[tokio::test]
async fn tokens_are_counted_and_other_endpoints_refused() {
    let (url, requests) = serve(&[("200 OK", r#"{"input_tokens":7}"#)]).await;
    let client = client(Vertex::builder().access_token("t").anthropic_version("v"), &url);
    let mut run = client.run("claude-x").user("Hello");
    assert_eq!(run.count_tokens().await.unwrap().input_tokens, 7);
    let (head, body) = requests.lock().unwrap()[0].clone();
    assert!(head.contains("/publishers/anthropic/models/count-tokens:rawPredict "), "{head}");
    assert!(head.contains("authorization: Bearer t\r\n"), "{head}");
    assert_eq!((&body["model"], &body["anthropic_version"]), (&"claude-x".into(), &"v".into()));
    let error = client.models().list().all().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the request hook failed: Vertex AI has only messages and token counting, not GET /v1/models"
    );
    let error = client.run("..").user("Hello").until_done().await.unwrap_err();
    assert!(error.to_string().contains("no valid Vertex AI model id"), "{error}");
}
