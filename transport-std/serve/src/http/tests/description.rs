//! Compares the OpenAPI description with what the server does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use super::*;
use crate::store::SqliteStore;
use crate::store::Store as _;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::to_value(&*openapi::DOCUMENT).unwrap());

/// Returns the described path that a request's path fits.
fn template(path: &str) -> Option<String> {
    let path = path.split('?').next().unwrap_or_default();
    let mut parts: Vec<&str> = path.split('/').collect();
    if parts.len() > 2 && parts[1] == "sessions" {
        parts[2] = "{session_id}";
    }
    let template = parts.join("/");
    DOCUMENT["paths"].get(&template).is_some().then_some(template)
}

/// Checks that the description contains an answer. Every answer of these tests is checked.
#[track_caller]
pub(super) fn check(method: &str, path: &str, status: u16, headers: &HeaderMap) {
    let Some(template) = template(path) else { return };
    let operation = &DOCUMENT["paths"][&template][method.to_lowercase()];
    // A method that no operation has is refused with 405.
    if operation.is_null() {
        return;
    }
    let response = &operation["responses"][status.to_string()];
    assert!(!response.is_null(), "{method} {template}: {status} is not described");
    for name in ["location", "etag", "link", "idempotency-replayed"] {
        let described = response["headers"].as_object().into_iter().flatten();
        let is_described = described.into_iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let is_sent = headers.contains_key(name);
        assert!(is_described || !is_sent, "{method} {template}: {status} with the header {name}");
    }
    let sent = text(headers, "content-type").and_then(|kind| kind.split(';').next());
    let content = response["content"].as_object().into_iter().flatten();
    let kinds: Vec<_> = content.map(|(kind, _)| kind.as_str()).collect();
    assert!(
        sent.is_none_or(|sent| kinds.contains(&sent)),
        "{method} {template}: {status} {sent:?}"
    );
}

/// A closed store answers no request.
async fn down() -> Api {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteStore::open(folder.path().join("sessions.db")).unwrap();
    store.close().await.unwrap();
    Api(Server::new(Api::agent(), Arc::new(store), Options::default()))
}

/// A request: its method, path, headers and body.
type Case<'c> = (&'c str, String, Vec<(&'c str, &'c str)>, &'c str);

/// Every described answer of every operation occurs.
#[tokio::test]
async fn every_described_answer_occurs() {
    let tokens = Tokens::from_text("ann secret-a\n").unwrap();
    let plain = Api::new(Options { allow_custom_ids: true, ..Options::default() });
    let guarded = Api::new(Options { tokens, hosts: Some(Vec::new()), ..Options::default() });
    let down = down().await;
    let mut seen = BTreeSet::new();
    let mut note = |method: &str, path: &str, answer: &Answer| {
        seen.insert((template(path).unwrap(), method.to_owned(), answer.status.to_string()));
    };
    let session = plain.session().await;
    let busy = plain.session().await;
    plain.post(&format!("{busy}/messages"), r#"{"content":"hang"}"#).await.is(202);
    let own = Uuid::new_v4();
    let (stale, large) = (("if-match", "\"99\""), ("content-length", "99999999"));
    let content = r#"{"content":"a"}"#;
    let answer = r#"{"interrupt_id":"x","value":{}}"#;
    let key = ("idempotency-key", "");
    let cases: Vec<Case<'_>> = vec![
        ("GET", "/health".into(), vec![], ""),
        ("GET", "/ready".into(), vec![], ""),
        ("GET", "/metrics".into(), vec![], ""),
        ("GET", "/openapi.json".into(), vec![], ""),
        ("POST", "/sessions".into(), vec![], ""),
        ("POST", "/sessions".into(), vec![large], ""),
        ("POST", "/sessions".into(), vec![], "{"),
        ("PUT", format!("/sessions/{own}"), vec![], ""),
        ("PUT", format!("/sessions/{own}"), vec![], ""),
        ("PUT", "/sessions/x".into(), vec![], ""),
        ("PUT", format!("/sessions/{own}"), vec![large], ""),
        ("PUT", format!("/sessions/{own}"), vec![], "{"),
        ("GET", "/sessions".into(), vec![], ""),
        ("GET", "/sessions?limit=1".into(), vec![], ""),
        ("GET", "/sessions?limit=0".into(), vec![], ""),
        ("GET", session.clone(), vec![], ""),
        ("GET", session.clone(), vec![("if-none-match", "*")], ""),
        ("GET", UNKNOWN.into(), vec![], ""),
        ("GET", format!("{session}?wait=x"), vec![], ""),
        ("POST", format!("{session}/messages"), vec![], content),
        ("POST", format!("{session}/messages?wait=10"), vec![], ""),
        ("POST", format!("{busy}/messages"), vec![], content),
        ("POST", format!("{UNKNOWN}/messages"), vec![], content),
        ("POST", format!("{session}/messages"), vec![stale], content),
        ("POST", format!("{session}/messages"), vec![large], content),
        ("GET", format!("{session}/messages"), vec![], ""),
        ("GET", format!("{session}/messages?format=x"), vec![], ""),
        ("GET", format!("{UNKNOWN}/messages"), vec![], ""),
        ("POST", format!("{session}/resume"), vec![], answer),
        ("POST", format!("{session}/resume"), vec![], "{}"),
        ("POST", format!("{session}/resume"), vec![stale], answer),
        ("POST", format!("{session}/resume"), vec![large], ""),
        ("POST", format!("{UNKNOWN}/resume"), vec![], answer),
        ("POST", format!("{session}/cancel"), vec![], ""),
        ("POST", format!("{busy}/cancel"), vec![], ""),
        ("POST", format!("{session}/cancel"), vec![key], ""),
        ("POST", format!("{session}/cancel"), vec![stale], ""),
        ("POST", format!("{session}/cancel"), vec![large], ""),
        ("POST", format!("{UNKNOWN}/cancel"), vec![], ""),
        ("GET", format!("{session}/events"), vec![], ""),
        ("GET", format!("{session}/events?limit=0"), vec![], ""),
        ("GET", format!("{UNKNOWN}/events"), vec![], ""),
        ("GET", format!("{session}/stream"), vec![("last-event-id", "x")], ""),
        ("GET", format!("{UNKNOWN}/stream"), vec![], ""),
        ("DELETE", busy.clone(), vec![stale], ""),
        ("DELETE", busy, vec![], ""),
        ("DELETE", UNKNOWN.into(), vec![], ""),
    ];
    for (method, path, headers, body) in cases {
        let answer = plain.ask(method, &path, &headers, body).await;
        note(method, &path, &answer);
        plain.get(&format!("{session}?wait=true")).await.is(200);
    }
    let done = plain.say(&session, "a").await.is(200);
    note("POST", &format!("{session}/messages"), &done);
    // Streams do not end by themselves: only their beginning is awaited.
    note("GET", &format!("{session}/stream"), &plain.begin(&format!("{session}/stream")).await);
    // A request that an interrupted session answers: no agent of these tests asks.
    seen_resume(&mut note).await;
    let refused = guarded.ask("PUT", UNKNOWN, &[("authorization", "Bearer secret-a")], "").await;
    note("PUT", UNKNOWN, &refused);
    for (template, item) in DOCUMENT["paths"].as_object().unwrap() {
        for method in item.as_object().unwrap().keys() {
            let (method, path) =
                (method.to_uppercase(), template.replace("/sessions/{session_id}", UNKNOWN));
            let body = if path.ends_with("resume") { answer } else { content };
            let site = [("host", "evil.example")];
            note(&method, &path, &guarded.ask(&method, &path, &site, body).await.is(403));
            if !["/health", "/ready"].contains(&path.as_str()) {
                note(&method, &path, &guarded.ask(&method, &path, &[], body).await.is(401));
            }
            if path != "/openapi.json" && method != "PUT" {
                note(&method, &path, &down.ask(&method, &path, &[], body).await.is(503));
            }
        }
    }
    let full =
        Api::new(Options { max_sessions: Some(1), allow_custom_ids: true, ..Options::default() });
    full.session().await;
    note("PUT", UNKNOWN, &full.ask("PUT", UNKNOWN, &[], "").await.is(503));

    let mut described = BTreeSet::new();
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let statuses = operation["responses"].as_object().unwrap().keys();
            described.extend(
                statuses.map(|status| (path.clone(), method.to_uppercase(), status.clone())),
            );
        }
    }
    assert_eq!(described.difference(&seen).collect::<Vec<_>>(), Vec::<&_>::new());
}

/// Notes the answers of `resume` on an interrupted session.
async fn seen_resume(note: &mut impl FnMut(&str, &str, &Answer)) {
    let api = Api::with_tools();
    let session = api.interrupted().await;
    let id = api.get(&session).await.json()["interrupts"][0]["interrupt_id"].clone();
    let path = format!("{session}/resume");
    let body = json!({"interrupt_id": id, "value": {"approved": true}}).to_string();
    note("POST", &path, &api.post(&path, &body).await.is(200));
    let other = body.replace("true", "false");
    note("POST", &path, &api.post(&path, &other).await.is(409));
}

/// The routes and their parameters, as the specification lists them.
#[test]
fn every_route_and_parameter_is_described() {
    let key = "header Idempotency-Key";
    let matching = "header If-Match";
    let deltas = "query event_deltas[]";
    let last = "header Last-Event-ID";
    let expected: BTreeMap<&str, BTreeSet<&str>> = [
        ("GET /health", vec![]),
        ("GET /ready", vec![]),
        ("GET /metrics", vec![]),
        ("GET /openapi.json", vec![]),
        ("POST /sessions", vec![key]),
        ("GET /sessions", vec!["query limit", "query status", "query metadata.KEY", "query after"]),
        ("PUT /sessions/{session_id}", vec![]),
        ("GET /sessions/{session_id}", vec!["query wait", "query timeout", "header If-None-Match"]),
        ("DELETE /sessions/{session_id}", vec![matching]),
        ("GET /sessions/{session_id}/messages", vec!["query format"]),
        (
            "POST /sessions/{session_id}/messages",
            vec!["query wait", deltas, key, matching, "header traceparent"],
        ),
        ("POST /sessions/{session_id}/resume", vec![key, matching]),
        ("POST /sessions/{session_id}/cancel", vec![key, matching]),
        ("GET /sessions/{session_id}/events", vec!["query after", "query limit", deltas, last]),
        ("GET /sessions/{session_id}/stream", vec![last]),
    ]
    .into_iter()
    .map(|(route, names)| (route, names.into_iter().collect()))
    .collect();
    let mut found = BTreeMap::new();
    for (path, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let names: BTreeSet<_> = parameters
                .iter()
                .filter(|parameter| parameter["in"] != "path")
                .map(|parameter| {
                    format!(
                        "{} {}",
                        parameter["in"].as_str().unwrap(),
                        parameter["name"].as_str().unwrap()
                    )
                })
                .collect();
            for part in parameters.iter().chain([operation]) {
                let text = part["description"].as_str().or_else(|| part["summary"].as_str());
                assert!(text.is_some_and(|text| !text.is_empty()), "{method} {path}: {part}");
            }
            found.insert(format!("{} {path}", method.to_uppercase()), names);
        }
    }
    let expected: BTreeMap<String, BTreeSet<String>> = expected
        .into_iter()
        .map(|(route, names)| (route.to_owned(), names.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(
        DOCUMENT["paths"]["/sessions"]["post"]["security"],
        json!([{"bearer": []}]),
        "tokens are described"
    );
}

/// Query parameters that have a form are checked, so the description names parameters that exist.
#[tokio::test]
async fn described_query_parameters_are_read() {
    let api = Api::new(Options::default());
    let session = api.session().await;
    for (template, item) in DOCUMENT["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            for parameter in operation["parameters"].as_array().into_iter().flatten() {
                if parameter["in"] != "query" || parameter["name"] == "metadata.KEY" {
                    continue;
                }
                let name = parameter["name"].as_str().unwrap();
                let path = template.replace("/sessions/{session_id}", &session);
                let path = format!("{path}?{name}=%2A");
                let method = method.to_uppercase();
                let answer = api.ask(&method, &path, &[], r#"{"content":"a"}"#).await.is(422);
                assert_eq!(answer.json()["detail"][0]["loc"], json!(["query", name]), "{path}");
            }
        }
    }
}
