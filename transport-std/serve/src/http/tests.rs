//! Tests the interface through requests to the router: statuses, shapes and headers.

mod description;
mod edges;
mod threads;

use core::time::Duration;

use axum::body::Bytes;
use futures_util::StreamExt;
use serde_json::Value;
use toolrunner_std::machine::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Limits, ToolContext, ToolError, tool};
use tower::ServiceExt;

use super::*;
use crate::Tokens;
use crate::agent::Agent;
use crate::server::Options;
use crate::store::MemoryStore;

const UNKNOWN: &str = "/sessions/01890a5d-ac96-774b-bcce-b302099a8057";

/// A server whose agent answers `echo: ` and the text, fails for `fail`, panics for
/// `panic` and never answers `hang`.
struct Api(Arc<Server>);

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        text(&self.headers, name).unwrap_or_default()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }

    /// Returns the text of `detail`, or the kind and the location of each problem in it.
    fn detail(&self) -> Value {
        let body = self.json();
        match &body["detail"] {
            Value::Array(list) => {
                assert!(list.iter().all(|one| one["msg"].is_string()), "{body}");
                list.iter().map(|one| json!([one["type"], one["loc"]])).collect()
            }
            text => text.clone(),
        }
    }
}

impl Api {
    fn new(options: Options) -> Self {
        Self(Server::new(Self::agent(), Arc::new(MemoryStore::new()), options))
    }

    fn agent() -> Agent {
        Agent::function(|text| async move {
            match text.as_str() {
                "fail" => Err("it failed"),
                "panic" => panic!("as the test wants"),
                "hang" => core::future::pending().await,
                _ => Ok(format!("echo: {text}")),
            }
        })
    }

    async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<axum::body::Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(body.into()).unwrap();
        let response = router(Arc::clone(&self.0)).oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        description::check(method, path, head.status.as_u16(), &head.headers);
        Answer { status: head.status.as_u16(), headers: head.headers, body }
    }

    /// Opens a stream, and returns what arrives until it waits for new events.
    async fn begin_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::builder().uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(axum::body::Body::empty()).unwrap();
        let (head, body) = router(Arc::clone(&self.0)).oneshot(request).await.unwrap().into_parts();
        description::check("GET", path, head.status.as_u16(), &head.headers);
        let mut frames = body.into_data_stream();
        let mut body = Vec::new();
        let silence = Duration::from_millis(200);
        while let Ok(Some(frame)) = tokio::time::timeout(silence, frames.next()).await {
            body.extend_from_slice(&frame.unwrap());
        }
        Answer { status: head.status.as_u16(), headers: head.headers, body: body.into() }
    }

    /// A server whose model calls a tool that needs approval, then one that asks a question.
    fn with_tools() -> Self {
        /// Deletes something.
        #[tool(requires_approval)]
        fn dangerous() -> &'static str {
            "deleted"
        }
        /// Asks something.
        #[tool]
        fn questioner(context: &ToolContext<'_>) -> Result<String, ToolError> {
            let answers = crate::ask(context, &[crate::Question::new("Q?").option("A")])?;
            Ok(answers.get("Q?").unwrap_or_default())
        }
        let script = Script::new()
            .reply(ScriptedReply::default().tool_use("call_1", "dangerous", "{}"))
            .reply(ScriptedReply::default().tool_use("call_2", "questioner", "{}"))
            .reply(ScriptedReply::text("done"));
        let client = ScriptedServer::new(ScriptedModel::new(script)).client();
        let agent = Agent::new(client, "m").tools((dangerous, questioner));
        Self(Server::new(agent, Arc::new(MemoryStore::new()), Options::default()))
    }

    /// Returns the path of a session whose call waits for approval.
    async fn interrupted(&self) -> String {
        let session = self.session().await;
        assert_eq!(self.say(&session, "a").await.is(200).json()["status"], "interrupted");
        session
    }

    /// Returns the path of a session whose tool asks a question.
    async fn asking(&self) -> String {
        let session = self.interrupted().await;
        let id = self.get(&session).await.json()["interrupts"][0]["interrupt_id"].clone();
        let answer = json!({"interrupt_id": id, "value": {"approved": true}}).to_string();
        self.post(&format!("{session}/resume"), &answer).await.is(200);
        let now = self.get(&format!("{session}?wait=true")).await.json();
        assert_eq!(now["interrupts"][0]["type"], "user_input", "{now}");
        session
    }

    async fn begin(&self, path: &str) -> Answer {
        self.begin_with(path, &[]).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, body: &str) -> Answer {
        self.ask("POST", path, &[], body.to_owned()).await
    }

    /// Creates a session and returns its path.
    async fn session(&self) -> String {
        let answer = self.post("/sessions", "").await.is(201);
        assert_eq!(
            answer.header("location"),
            format!("/sessions/{}", answer.json()["session_id"].as_str().unwrap())
        );
        answer.header("location").to_owned()
    }

    async fn say(&self, session: &str, text: &str) -> Answer {
        let body = json!({"content": text}).to_string();
        self.post(&format!("{session}/messages?wait=10"), &body).await
    }
}

#[tokio::test]
async fn every_route_is_served_and_described() {
    let api = Api::new(Options::default());
    let health = api.get("/health").await.is(200).json();
    assert_eq!(
        health,
        json!({"status": "ok", "max_workers": 0, "running_workers": 0, "total_sessions": 0})
    );
    api.get("/ready").await.is(200);
    let metrics = api.get("/metrics").await.is(200);
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    let root = api.get("/").await.is(307);
    assert_eq!(root.header("location"), "/playground");
    let page = api.get("/playground").await.is(200);
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    let paths = api.get("/openapi.json").await.is(200).json()["paths"].clone();
    let session = "/sessions/{session_id}";
    for (path, methods) in [
        ("/health".to_owned(), 1),
        ("/sessions".to_owned(), 2),
        (session.to_owned(), 3),
        (format!("{session}/messages"), 2),
        (format!("{session}/resume"), 1),
        (format!("{session}/cancel"), 1),
        (format!("{session}/events"), 1),
        (format!("{session}/stream"), 1),
    ] {
        assert_eq!(paths[&path].as_object().map(|methods| methods.len()), Some(methods), "{path}");
    }
}

#[tokio::test]
async fn what_is_unknown_is_refused_in_one_shape() {
    let api = Api::new(Options::default());
    assert_eq!(api.get("/nothing").await.is(404).json(), json!({"detail": "Not Found"}));
    let wrong = api.ask("PATCH", "/sessions", &[], "").await.is(405);
    assert_eq!(wrong.json(), json!({"detail": "Method Not Allowed"}));
    assert!(wrong.header("allow").contains("POST"), "{:?}", wrong.headers);
    let capitals = UNKNOWN.replace("ac96", "AC96");
    for session in [UNKNOWN, "/sessions/nonsense", &capitals] {
        for (method, rest, body) in [
            ("GET", "", ""),
            ("GET", "?wait=true", ""),
            ("DELETE", "", ""),
            ("GET", "/messages", ""),
            ("POST", "/messages", r#"{"content":"a"}"#),
            ("POST", "/resume", r#"{"interrupt_id":"a","value":{}}"#),
            ("POST", "/cancel", ""),
            ("GET", "/events", ""),
            ("GET", "/stream", ""),
        ] {
            let path = format!("{session}{rest}");
            let answer = api.ask(method, &path, &[], body).await;
            assert_eq!(answer.status, 404, "{method} {path}");
            assert_eq!(answer.detail(), "Session not found", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn versions_guard_reads_and_changes() {
    let api = Api::new(Options::default());
    let session = api.session().await;
    let first = api.get(&session).await.is(200);
    assert_eq!((first.header("etag"), first.json()["version"].as_u64()), ("\"1\"", Some(1)));
    for (tags, status) in [("\"1\"", 304), ("\"7\", \"1\"", 304), ("*", 304), ("\"2\"", 200)] {
        let answer = api.ask("GET", &session, &[("if-none-match", tags)], "").await.is(status);
        assert_eq!(answer.header("etag"), "\"1\"");
        assert_eq!(answer.body.is_empty(), status == 304, "{tags}");
    }
    let messages = format!("{session}/messages");
    let send =
        async |tag| api.ask("POST", &messages, &[("if-match", tag)], r#"{"content":"a"}"#).await;
    assert_eq!(send("\"9\"").await.is(412).detail(), "The session has a different version");
    send("\"1\"").await.is(202);
    let tag = api.get(&format!("{session}?wait=true")).await.is(200).header("etag").to_owned();
    assert_ne!(tag, "\"1\"");
    api.ask("DELETE", &session, &[("if-match", "\"1\"")], "").await.is(412);
    api.ask("DELETE", &session, &[("if-match", tag.as_str())], "").await.is(204);
    api.get(&session).await.is(404);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let api = Api::new(Options::default());
    let mut made = Vec::new();
    for i in 0..5 {
        let body = json!({"metadata": {"team": if i == 2 { "b" } else { "a b" }}}).to_string();
        made.push(api.post("/sessions", &body).await.is(201).json()["session_id"].clone());
    }
    let (mut path, mut seen, mut pages) =
        ("/sessions?limit=2&metadata.team=a+b&status=idle".to_owned(), Vec::new(), 0);
    loop {
        let page = api.get(&path).await.is(200);
        pages += 1;
        seen.extend(
            page.json().as_array().unwrap().iter().map(|session| session["session_id"].clone()),
        );
        let Some(next) = page.header("link").strip_suffix(">; rel=\"next\"") else { break };
        path = next.strip_prefix('<').unwrap().to_owned();
    }
    made.remove(2);
    assert_eq!((seen, pages), (made, 2));
    assert_eq!(api.get("/sessions?status=running").await.is(200).json(), json!([]));
    for (query, kind, name) in [
        ("limit=0", "greater_than_equal", "limit"),
        ("limit=1001", "less_than_equal", "limit"),
        ("limit=x", "int_parsing", "limit"),
        ("status=x", "literal_error", "status"),
    ] {
        let answer = api.get(&format!("/sessions?{query}")).await.is(422);
        assert_eq!(answer.detail(), json!([[kind, ["query", name]]]), "{query}");
    }

    let session = api.session().await;
    api.say(&session, "a").await.is(200);
    let whole = api.get(&format!("{session}/events")).await.is(200).json();
    let (mut after, mut events) = (0, Vec::new());
    loop {
        let path = format!("{session}/events?limit=2&after={after}");
        let page = api.get(&path).await.is(200).json();
        events.extend(page["data"].as_array().unwrap().clone());
        after = page["last_seq"].as_u64().unwrap();
        if page["has_more"] == false {
            break;
        }
    }
    assert!(events.len() > 2);
    assert_eq!(Value::from(events), whole["data"]);
}

#[tokio::test]
async fn a_key_makes_a_request_happen_once() {
    let api = Api::new(Options::default());
    let key = [("idempotency-key", "k")];
    let first = api.ask("POST", "/sessions", &key, "").await.is(201);
    let again = api.ask("POST", "/sessions", &key, "").await.is(201);
    assert_eq!(first.json(), again.json());
    assert_eq!(
        (first.header("idempotency-replayed"), again.header("idempotency-replayed")),
        ("", "true")
    );
    assert_eq!(api.get("/health").await.json()["total_sessions"], 1);
    let other = api.ask("POST", "/sessions", &key, r#"{"metadata":{"a":"b"}}"#).await.is(422);
    assert_eq!(other.detail(), json!([["value_error", ["header", "Idempotency-Key"]]]));

    let session = first.header("location").to_owned();
    let path = format!("{session}/messages");
    for replayed in ["", "true"] {
        let sent = api.ask("POST", &path, &key, r#"{"content":"a"}"#).await.is(202);
        assert_eq!(sent.header("idempotency-replayed"), replayed);
        api.get(&format!("{session}?wait=true")).await.is(200);
    }
    api.ask("POST", &path, &key, r#"{"content":"b"}"#).await.is(422);
    assert_eq!(api.get(&path).await.json().as_array().map(Vec::len), Some(2));
    for bad in ["", &"k".repeat(256)] {
        api.ask("POST", "/sessions", &[("idempotency-key", bad)], "").await.is(422);
    }
}

#[tokio::test]
async fn bodies_are_checked() {
    let api = Api::new(Options::default());
    let path = format!("{}/messages", api.session().await);
    let large = vec![b' '; input::MOST_BYTES + 1];
    let told = "Request body is larger than 16 MiB";
    assert_eq!(api.ask("POST", &path, &[], large).await.is(413).detail(), told);
    // The declared length is sufficient: the body is not read.
    let length = [("content-length", "16777217")];
    assert_eq!(api.ask("POST", &path, &length, "{").await.is(413).detail(), told);
    for (body, kind, loc) in [
        ("", "missing", json!(["body"])),
        ("{", "json_invalid", json!(["body", 1])),
        ("[]", "model_attributes_type", json!(["body"])),
        ("{}", "missing", json!(["body", "content"])),
        (r#"{"content":"a","role":"x"}"#, "literal_error", json!(["body", "role"])),
        (r#"{"content":[{"type":"x"}]}"#, "literal_error", json!(["body", "content", 0, "type"])),
        (
            r#"{"content":"a","webhook":{"url":"http://127.0.0.1/"}}"#,
            "url_parsing",
            json!(["body", "webhook", "url"]),
        ),
    ] {
        assert_eq!(api.post(&path, body).await.is(422).detail(), json!([[kind, loc]]), "{body}");
    }
}

#[tokio::test]
async fn owners_see_their_own_sessions_only() {
    let tokens = Tokens::from_text("ann secret-a\nben secret-b\n").unwrap();
    let api = Api::new(Options { tokens, ..Options::default() });
    let (ann, ben) =
        ([("authorization", "Bearer secret-a")], [("authorization", "bearer secret-b")]);
    for headers in [&[][..], &[("authorization", "Bearer x")], &[("authorization", "secret-a")]] {
        let refused = api.ask("GET", "/sessions", headers, "").await.is(401);
        assert_eq!(refused.header("www-authenticate"), "Bearer");
        assert_eq!(refused.detail(), "A valid bearer token is required");
    }
    api.get("/health").await.is(200);
    api.get("/playground").await.is(200);
    api.get("/metrics").await.is(401);
    let made = api.ask("POST", "/sessions", &ann, "").await.is(201);
    let session = made.header("location").to_owned();
    api.ask("GET", &session, &ann, "").await.is(200);
    for (method, rest, body) in [
        ("GET", "", ""),
        ("DELETE", "", ""),
        ("GET", "/messages", ""),
        ("POST", "/messages", r#"{"content":"a"}"#),
        ("POST", "/cancel", ""),
        ("GET", "/events", ""),
        ("GET", "/stream", ""),
    ] {
        let path = format!("{session}{rest}");
        assert_eq!(api.ask(method, &path, &ben, body).await.status, 404, "{method} {rest}");
    }
    assert_eq!(api.ask("GET", "/sessions", &ben, "").await.is(200).json(), json!([]));
    assert_eq!(
        api.ask("GET", "/sessions", &ann, "").await.json().as_array().map(Vec::len),
        Some(1)
    );
}

#[tokio::test]
async fn pages_of_other_origins_are_refused() {
    let friend = "https://app.example.org";
    let options = Options {
        origins: vec![friend.to_owned()],
        hosts: Some(vec!["agents.example.org".to_owned()]),
        ..Options::default()
    };
    let api = Api::new(options);
    let host = ("host", "127.0.0.1:8000");
    for (headers, status) in [
        (vec![host], 201),
        (vec![host, ("origin", "http://127.0.0.1:8000")], 201),
        (vec![host, ("origin", friend), ("sec-fetch-site", "cross-site")], 201),
        (vec![host, ("origin", "https://evil.example")], 403),
        (vec![host, ("origin", "null")], 403),
        (vec![host, ("sec-fetch-site", "cross-site")], 403),
        (vec![("host", "agents.example.org")], 201),
        (vec![("host", "evil.example")], 403),
    ] {
        let answer = api.ask("POST", "/sessions", &headers, "").await;
        assert_eq!(answer.status, status, "{headers:?}");
        if status == 403 {
            assert!(answer.detail().as_str().is_some_and(|text| text.contains("(see --")));
        }
    }
    let answer = api.ask("GET", "/sessions", &[host, ("origin", friend)], "").await.is(200);
    assert_eq!(answer.header("access-control-allow-origin"), friend);
    // A page of another site may send a request, but its browser hides the answer.
    let evil = [host, ("origin", "https://evil.example")];
    let answer = api.ask("GET", "/sessions", &evil, "").await.is(200);
    assert_eq!(answer.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn ids_can_be_chosen_if_that_is_allowed() {
    let refused = Api::new(Options::default()).ask("PUT", UNKNOWN, &[], "").await.is(405);
    assert!(!refused.header("allow").contains("PUT"));
    let api = Api::new(Options { allow_custom_ids: true, ..Options::default() });
    let made = api.ask("PUT", UNKNOWN, &[], "").await.is(201);
    assert_eq!(made.header("location"), UNKNOWN);
    assert_eq!(api.ask("PUT", UNKNOWN, &[], "").await.is(409).detail(), "Session already exists");
    api.ask("PUT", "/sessions/mine", &[], "").await.is(400);
}

#[tokio::test]
async fn turns_run_one_at_a_time() {
    let api = Api::new(Options::default());
    let session = api.session().await;
    let path = format!("{session}/messages");
    let done = api.say(&session, "a").await.is(200).json();
    assert_eq!(
        (&done["status"], &done["response"]["content"]),
        (&json!("idle"), &json!("echo: a"))
    );
    let failed = api.say(&session, "fail").await.is(200).json();
    assert_eq!((&failed["status"], &failed["error"]), (&json!("error"), &json!("it failed")));
    // A failed turn adds no messages.
    let messages =
        json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "echo: a"}]);
    assert_eq!(api.get(&path).await.is(200).json(), messages);
    let blocks = api.get(&format!("{path}?format=anthropic")).await.is(200).json();
    assert_eq!(blocks[0]["content"], json!([{"type": "text", "text": "a"}]));
    api.get(&format!("{path}?format=x")).await.is(422);

    let sent = api.post(&path, r#"{"content":"hang"}"#).await.is(202);
    assert_eq!(sent.header("location"), session);
    assert_eq!(sent.json()["status"], "running");
    assert_eq!(api.say(&session, "b").await.is(409).detail(), "Session is running");
    let resume = r#"{"interrupt_id":"a","value":{}}"#;
    let refused = api.post(&format!("{session}/resume"), resume).await.is(409);
    assert_eq!(refused.detail(), "Session is running, not interrupted");
    let waited = api.get(&format!("{session}?wait=true&timeout=0.05")).await.is(200).json();
    assert_eq!(waited["status"], "running");
    api.post(&format!("{session}/cancel"), "").await.is(202);
    let ended = api.get(&format!("{session}?wait=true&timeout=10")).await.is(200).json();
    assert_eq!(ended["status"], "idle");

    let accept = [("accept", "text/event-stream")];
    let stream = api.ask("POST", &path, &accept, r#"{"content":"c"}"#).await.is(200);
    let told = String::from_utf8(stream.body.to_vec()).unwrap();
    let names: Vec<_> = told.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(
        names,
        ["user.message", "session.status_running", "agent.message", "session.status_idle"]
    );
}

#[tokio::test]
async fn long_events_are_streamed_in_pieces() {
    let api = Api::new(Options::default());
    let session = api.session().await;
    let body = json!({"content": "0123456789".repeat(150_000)}).to_string();
    let accept = [("accept", "text/event-stream")];
    let path = format!("{session}/messages");
    let stream = api.ask("POST", &path, &accept, body).await.is(200);
    let told = String::from_utf8(stream.body.to_vec()).unwrap();
    let sent = told.lines().filter_map(|line| line.strip_prefix("data: "));
    let sent: Vec<Value> = sent.map(|json| serde_json::from_str(json).unwrap()).collect();
    let page = api.get(&format!("{session}/events")).await.is(200).json();
    assert!(Value::from(sent) == page["data"], "the stream and the page differ");
}

#[tokio::test]
async fn a_full_or_ending_server_says_so() {
    let api = Api::new(Options { max_sessions: Some(1), ..Options::default() });
    let session = api.session().await;
    let full = api.post("/sessions", "").await.is(503);
    assert_eq!(full.detail(), "Maximum number of sessions reached");
    api.0.end(Duration::ZERO).await;
    assert_eq!(api.get("/ready").await.is(503).json()["status"], "draining");
    let refused = api.post(&format!("{session}/messages"), r#"{"content":"a"}"#).await.is(503);
    assert_eq!(refused.detail(), "The server is shutting down");
    api.get(&session).await.is(200);
}

#[tokio::test]
async fn a_panic_of_the_agent_ends_the_turn() {
    let api = Api::new(Options::default());
    let session = api.session().await;
    let failed = api.say(&session, "panic").await.is(200).json();
    assert_eq!(failed["status"], "error");
    assert!(failed["error"].as_str().unwrap().contains("the agent panicked"), "{failed}");
    assert_eq!(api.say(&session, "again").await.is(200).json()["status"], "idle");

    let agent = Agent::from_fn("m", |_| panic!("as the test wants"));
    let api = Api(Server::new(agent, Arc::new(MemoryStore::new()), Options::default()));
    let session = api.session().await;
    assert_eq!(api.say(&session, "hello").await.is(200).json()["status"], "error");
}

/// Every limit of the run ends the turn, not only that on replies.
#[tokio::test]
async fn a_limit_on_calls_ends_the_turn() {
    /// Counts.
    #[tool]
    fn count() -> &'static str {
        "1"
    }
    let call = ScriptedReply::default().tool_use("call_1", "count", "{}");
    let client = ScriptedServer::new(ScriptedModel::new(Script::new().reply(call))).client();
    let limits = Limits { calls: Some(0), ..Limits::NONE };
    let agent = Agent::new(client, "m").tools(count).configure(move |run| run.limits(limits));
    let api = Api(Server::new(agent, Arc::new(MemoryStore::new()), Options::default()));
    let session = api.session().await;
    api.say(&session, "Count.").await.is(200);
    let events = api.get(&format!("{session}/events")).await.is(200).json().to_string();
    assert!(events.contains(r#""stop_reason":{"type":"max_iterations"}"#), "{events}");
}
