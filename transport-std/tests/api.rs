//! The API's other endpoints, over loopback: any path, models, files and token counts.

mod support;

use core::time::Duration;

use embedded_io_async::BufRead;
use support::{Do, Server};
use toolrunner_core::error::CapacityKind;
use toolrunner_std::api::FILES_BETA;
use toolrunner_std::http::Proxies;
use toolrunner_std::{Client, ClientBuilder, Error, tool};

fn ok(body: &str) -> Do {
    answer("200 OK", "request-id: req_1\r\n", body)
}

fn answer(status: &str, headers: &str, body: &str) -> Do {
    let len = body.len();
    Do::Answer(format!("HTTP/1.1 {status}\r\n{headers}content-length: {len}\r\n\r\n{body}"))
}

async fn serve(answers: impl IntoIterator<Item = Do>) -> Server {
    let answers: Vec<Do> = answers.into_iter().collect();
    Server::start(move |_, n| answers.get(n).cloned().unwrap_or(Do::Hang)).await
}

fn builder(server: &Server) -> ClientBuilder {
    Client::builder().base_url(server.url()).api_key("k").proxies(Proxies::none())
}

fn client(server: &Server) -> Client {
    builder(server).build().unwrap()
}

fn head(server: &Server, n: usize) -> String {
    server.requests.lock().unwrap()[n].0.to_ascii_lowercase()
}

fn body(server: &Server, n: usize) -> Vec<u8> {
    server.requests.lock().unwrap()[n].1.clone()
}

#[tokio::test]
async fn any_path_with_the_clients_headers_query_and_hook() {
    let limits = "anthropic-ratelimit-requests-remaining: 3\r\n";
    let server = serve([
        answer("200 OK", &format!("request-id: req_1\r\n{limits}"), r#"{"a":[1]}"#),
        ok("{}"),
        answer("204 No Content", "", ""),
    ])
    .await;
    let hooked = builder(&server).beta("one").query("org", "x y").request_hook_fn(|request| {
        let method = request.method().to_string();
        Ok(request.set_header("x-seen", &method)?)
    });
    let client = hooked.build().unwrap();
    let reply = client.get("/v1/things?a=b").beta("two").query("c", "d&e").await.unwrap();
    assert_eq!((reply.status, reply.request_id.as_str()), (200, "req_1"));
    assert_eq!(reply.rate_limits.requests().unwrap().remaining, Some(3));
    assert_eq!(reply.json::<serde_json::Value>().unwrap()["a"][0], 1);
    assert!(matches!(reply.json::<Vec<u8>>(), Err(Error::Invalid(_))));
    let sent = head(&server, 0);
    assert!(sent.starts_with("get /v1/things?a=b&org=x%20y&c=d%26e http/1.1\r\n"), "{sent}");
    for line in ["x-api-key: k", "anthropic-beta: one,two", "x-seen: get", "anthropic-version: "] {
        assert!(sent.contains(line), "{sent}");
    }
    assert!(!sent.contains("content-type") && !sent.contains("content-length"), "{sent}");

    let body_of = serde_json::json!({"b": true});
    client.post("/v1/things", &body_of).header("X-Api-Key", "other").await.unwrap();
    assert_eq!(body(&server, 1), br#"{"b":true}"#);
    let sent = head(&server, 1);
    assert!(sent.contains("content-type: application/json") && sent.contains("x-api-key: other"));
    assert!(!sent.contains("x-api-key: k\r"), "{sent}");

    let reply = client.delete("/v1/things/1").await.unwrap();
    assert_eq!((reply.status, reply.text()), (204, String::new()));
    assert!(head(&server, 2).starts_with("delete /v1/things/1?org=x%20y "));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn failures_are_retried_as_those_of_a_run() {
    let busy = || answer("529 Overloaded", "retry-after-ms: 1\r\n", "");
    let server = serve([busy(), busy(), ok("1"), busy(), busy(), busy()]).await;
    let client = client(&server);
    assert_eq!(client.get("/v1/a").await.unwrap().text(), "1");
    let error = client.get("/v1/a").await.unwrap_err();
    assert_eq!(error.to_string(), "API error: overloaded_error (status 529)");
    assert_eq!(server.requests.lock().unwrap().len(), 6);
}

#[tokio::test]
async fn an_error_has_its_words_and_limits_and_is_not_retried() {
    let text = r#"{"type":"error","error":{"type":"invalid_request_error","message":"bad","details":{"error_code":"c"}},"request_id":"req_7"}"#;
    let server =
        serve([answer("400 Bad Request", "anthropic-ratelimit-tokens-limit: 9\r\n", text)]).await;
    let error = client(&server).post("/v1/a", "x").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "API error: invalid_request_error (status 400): bad [request id req_7]"
    );
    let failure = error.api().unwrap();
    assert_eq!(failure.error_code().as_deref(), Some("c"));
    assert_eq!(failure.rate_limits.tokens().unwrap().limit, Some(9));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_requested_again() {
    let server = Server::start(|connection, _| match connection {
        0 => Do::Last("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n123".to_owned()),
        _ => ok("whole"),
    })
    .await;
    assert_eq!(client(&server).get("/v1/a").await.unwrap().text(), "whole");
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_reply_that_is_too_large_is_an_error() {
    let server = serve([ok("12345"), ok("12345")]).await;
    let client = client(&server);
    assert_eq!(client.get("/v1/a").reply_limit(5).await.unwrap().text(), "12345");
    let error = client.get("/v1/a").reply_limit(4).await.unwrap_err();
    assert!(matches!(error, Error::Capacity(full) if full.what == CapacityKind::Reply), "{error}");
}

#[tokio::test]
async fn mistakes_are_reported_before_anything_is_sent() {
    let server = serve([]).await;
    let client = client(&server);
    let errors = [
        client.get("v1/a").await.unwrap_err(),
        client.get("/v1/a").header("host", "h").await.unwrap_err(),
        client.get("/v1/a").header("a", "b\nc").await.unwrap_err(),
        client.models().by_id("..").await.unwrap_err(),
        client.files().delete("").await.unwrap_err(),
        client.files().upload("f", "a\r\nb: c", Vec::new()).await.unwrap_err(),
        client.get("/v1/a b").await.unwrap_err(),
    ];
    let texts = errors.map(|error| error.to_string());
    assert_eq!(
        texts,
        [
            r#"the path "v1/a" must begin with a slash"#,
            r#"the header "host" cannot be set"#,
            r#"the value of the header "a" contains a character that is not allowed in a header"#,
            r#"".." is not an id"#,
            r#""" is not an id"#,
            r#"the value of the header "content-type" contains a character that is not allowed in a header"#,
            "the request path is not valid: invalid uri character",
        ]
    );
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn models_are_listed_page_by_page() {
    let model = |id: &str| {
        format!(
            r#"{{"type":"model","id":"{id}","display_name":"M","created_at":"2026-01-01T00:00:00Z","max_tokens":64000,"lifecycle":"active"}}"#
        )
    };
    let server = serve([
        ok(&format!(
            r#"{{"data":[{},{}],"has_more":true,"first_id":"a","last_id":"b"}}"#,
            model("a"),
            model("b")
        )),
        ok(&format!(r#"{{"data":[{}],"has_more":false,"last_id":"c"}}"#, model("c"))),
        ok(&model("a/b")),
        ok(r#"{"data":[{"id":1}]}"#),
        ok("<html>"),
    ])
    .await;
    let client = client(&server);
    let models = client.models().list().limit(2).all().await.unwrap();
    let ids: Vec<_> = models.iter().map(|model| model.id.as_str()).collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(
        (models[0].max_tokens, models[0].lifecycle.as_deref()),
        (Some(64_000), Some("active"))
    );
    assert!(head(&server, 0).starts_with("get /v1/models?limit=2 "));
    assert!(head(&server, 1).starts_with("get /v1/models?limit=2&after_id=b "));
    assert_eq!(client.models().by_id("a/b").await.unwrap().json, model("a/b"));
    assert!(head(&server, 2).starts_with("get /v1/models/a%2fb "));
    for _ in 0..2 {
        let error = client.models().list().next_page().await.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error}");
    }
}

#[tokio::test]
async fn files_are_uploaded_listed_downloaded_and_deleted() {
    let file = r#"{"type":"file","id":"file_1","filename":"a.txt","mime_type":"text/plain","size_bytes":5,"created_at":"t","downloadable":true}"#;
    let page = |next: &str| ok(&format!(r#"{{"data":[{file}],"next_page":{next}}}"#));
    let server = serve([
        ok(file),
        page("\"page_2\""),
        page("null"),
        ok(file),
        ok("content"),
        ok(r#"{"id":"file_1","type":"file_deleted"}"#),
        page("\"page_2\""),
        page("\"page_2\""),
    ])
    .await;
    let client = client(&server);
    let files = client.files();
    let content = b"--toolrunner-0000000000000000\r\n".to_vec();
    let uploaded = files.upload("a\"\r\n.txt", "text/plain", content.clone()).await.unwrap();
    assert_eq!((uploaded.id.as_str(), uploaded.size_bytes), ("file_1", 5));
    let sent = head(&server, 0);
    assert!(sent.starts_with("post /v1/files http/1.1\r\n"), "{sent}");
    assert!(sent.contains(&format!("anthropic-beta: {FILES_BETA}")), "{sent}");
    // The content contains the first boundary, so the second is used.
    let boundary = "toolrunner-0000000000000001";
    assert!(sent.contains(&format!("content-type: multipart/form-data; boundary={boundary}\r\n")));
    let expected = [
        format!("--{boundary}\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a%22%0D%0A.txt\"\r\ncontent-type: text/plain\r\n\r\n").into_bytes(),
        content,
        format!("\r\n--{boundary}--\r\n").into_bytes(),
    ];
    assert_eq!(body(&server, 0), expected.concat());

    assert_eq!(files.list().all().await.unwrap().len(), 2);
    assert!(head(&server, 2).starts_with("get /v1/files?page=page_2 "));
    assert!(files.metadata("file_1").await.unwrap().downloadable);
    let mut reply = files.download("file_1").await.unwrap();
    assert_eq!(reply.body.fill_buf().await.unwrap(), b"content");
    reply.body.consume(7);
    assert_eq!(reply.body.fill_buf().await.unwrap(), b"");
    assert!(head(&server, 4).starts_with("get /v1/files/file_1/content "));
    files.delete("file_1").await.unwrap();
    assert!(head(&server, 5).starts_with("delete /v1/files/file_1 "));
    // A server that names the same page again would never end.
    assert!(matches!(files.list().all().await, Err(Error::Protocol(_))));
}

/// Add two numbers.
#[tool]
fn add(
    /// The first
    a: i64,
) -> i64 {
    a
}

#[tokio::test]
async fn tokens_are_counted_from_the_same_parameters_and_tools() {
    let server = serve([
        ok(r#"{"input_tokens":12,"context_management":{"original_input_tokens":20}}"#),
        answer("503 Down", "retry-after-ms: 1\r\n", ""),
        ok(r#"{"input_tokens":3}"#),
        ok("{}"),
    ])
    .await;
    let client = builder(&server).body_field("service_tier", "\"auto\"").build().unwrap();
    let mut run = client
        .run("m")
        .system("Be brief.")
        .param("temperature", 0.5)
        .param("thinking", serde_json::json!({"type":"adaptive"}))
        .tools(add)
        .user("Hi");
    let count = run.count_tokens().await.unwrap();
    assert_eq!((count.input_tokens, count.original_input_tokens), (12, Some(20)));
    let sent: serde_json::Value = serde_json::from_slice(&body(&server, 0)).unwrap();
    let names: Vec<&String> = sent.as_object().unwrap().keys().collect();
    assert_eq!(names, ["messages", "model", "system", "thinking", "tools"]);
    assert_eq!(sent["messages"][0]["content"], "Hi");
    assert_eq!(sent["tools"][0]["name"], "add");
    assert!(head(&server, 0).starts_with("post /v1/messages/count_tokens "));
    assert_eq!(run.count_tokens().await.unwrap().input_tokens, 3);
    assert!(matches!(run.count_tokens().await, Err(Error::Protocol(_))));
    assert_eq!(run.machine().turns(), 0);
}

#[tokio::test]
async fn the_newest_api_version_is_sent() {
    let server = serve([ok("{}"), ok(r#"{"input_tokens":3}"#)]).await;
    let client = builder(&server).api_version("2026-10-21").build().unwrap();
    client.get("/v1/a").await.unwrap();
    client.run("m").user("Hi").count_tokens().await.unwrap();
    for n in 0..2 {
        assert!(head(&server, n).contains("anthropic-version: 2026-10-21\r\n"));
    }
}

#[tokio::test]
async fn a_request_that_gets_no_answer_times_out() {
    let server = Server::start(|_, _| Do::Stall(String::new())).await;
    let client =
        builder(&server).max_retries(0).read_timeout(Duration::from_millis(50)).build().unwrap();
    let error = client.get("/v1/a").await.unwrap_err();
    assert!(error.to_string().starts_with("no data came from "), "{error}");
}
