//! Requests at the edges of the interface: unusual headers, ids, answers and sizes.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[tokio::test]
async fn ids_of_any_form_are_refused_in_one_shape() {
    let api = Api::new(Options { allow_custom_ids: true, ..Options::default() });
    for id in ["%ff", "%F0%9F%98%80", &"a".repeat(5000), "a%2Fb", "%00"] {
        for rest in ["", "/messages", "/events", "/stream"] {
            let answer = api.get(&format!("/sessions/{id}{rest}")).await.is(404);
            assert_eq!(answer.detail(), "Session not found", "{id}{rest}");
        }
        let refused = api.ask("PUT", &format!("/sessions/{id}"), &[], "").await.is(400);
        assert_eq!(refused.detail(), "Session ID must be a valid UUID");
    }
}

#[tokio::test]
async fn weak_repeated_and_unreadable_tags_are_compared_as_http_says() {
    let api = Api::new(Options::default());
    let session = api.session().await;
    let read = async |headers: &[(&str, &str)]| api.ask("GET", &session, headers, "").await.status;
    let none = "if-none-match";
    assert_eq!(read(&[(none, "W/\"1\"")]).await, 304);
    assert_eq!(read(&[(none, "\"7\""), (none, "\"1\"")]).await, 304);
    assert_eq!(read(&[(none, "1")]).await, 200);
    assert_eq!(read(&[(none, "W/\"2\"")]).await, 200);
    for tag in ["W/\"1\"", "\"\u{e9}\"", "", "1"] {
        let delete = api.ask("DELETE", &session, &[("if-match", tag)], "").await;
        assert_eq!(delete.status, 412, "{tag}");
    }
    let both = [("if-match", "\"7\""), ("if-match", "\"1\"")];
    api.ask("DELETE", &session, &both, "").await.is(204);
}

#[tokio::test]
async fn a_new_session_has_its_tag() {
    let api = Api::new(Options::default());
    let made = api.post("/sessions", "").await.is(201);
    assert_eq!(made.header("etag"), "\"1\"");
    let delete = [("if-match", made.header("etag"))];
    api.ask("DELETE", made.header("location"), &delete, "").await.is(204);
}

#[tokio::test]
async fn streams_begin_where_the_client_says() {
    let api = Api::new(Options::default());
    let session = api.session().await;
    api.say(&session, "a").await.is(200);
    let path = format!("{session}/events");
    let accept = ("accept", "TEXT/Event-Stream; q=0.5");
    for (id, first) in [("0", Some(1)), ("3", Some(4)), ("", Some(1)), ("4", None)] {
        let begun = api.begin_with(&path, &[accept, ("last-event-id", id)]).await.is(200);
        let told = String::from_utf8_lossy(&begun.body).into_owned();
        let seen = told.lines().find_map(|line| line.strip_prefix("id: ")?.parse::<u64>().ok());
        assert_eq!(seen, first, "{id}: {told}");
    }
    // Past the end of every log.
    for id in ["9223372036854775807", "9223372036854775808", "18446744073709551615"] {
        api.begin_with(&path, &[accept, ("last-event-id", id)]).await.is(200);
    }
    for id in ["-1", "1.5", "x", "\u{e9}", "99999999999999999999999"] {
        let refused = api.ask("GET", &path, &[accept, ("last-event-id", id)], "").await.is(422);
        assert_eq!(refused.detail(), json!([["int_parsing", ["header", "Last-Event-ID"]]]), "{id}");
    }
    // A client that does not accept a stream gets a page.
    let page = api.ask("GET", &path, &[("accept", "text/event-stream;q=0")], "").await.is(200);
    assert_eq!(page.json()["data"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn lists_begin_only_where_a_page_ended() {
    let api = Api::new(Options::default());
    api.session().await;
    for place in ["x", "-5", "", "9223372036854775808", "18446744073709551615"] {
        let refused = api.get(&format!("/sessions?after={place}")).await.is(422);
        assert_eq!(refused.detail(), json!([["value_error", ["query", "after"]]]), "{place}");
    }
    assert_eq!(api.get("/sessions?after=9223372036854775807").await.is(200).json(), json!([]));
    assert_eq!(api.get("/sessions?after=0").await.is(200).json().as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn previews_can_be_requested_with_a_message() {
    let api = Api::new(Options::default());
    let path = format!("{}/messages", api.session().await);
    let accept = [("accept", "text/event-stream")];
    let other = format!("{path}?event_deltas[]=x");
    let refused = api.ask("POST", &other, &accept, r#"{"content":"a"}"#).await.is(422);
    let problem = refused.detail();
    assert_eq!(problem, json!([["literal_error", ["query", "event_deltas[]"]]]));
    let previews = format!("{path}?event_deltas[]=agent.message");
    let stream = api.ask("POST", &previews, &accept, r#"{"content":"a"}"#).await.is(200);
    assert!(String::from_utf8_lossy(&stream.body).ends_with("\n\n"));
}

#[tokio::test]
async fn the_role_of_a_message_does_not_make_it_the_models() {
    let api = Api::new(Options::default());
    for role in ["user", "assistant", "tool", "system"] {
        let session = api.session().await;
        let body = json!({"role": role, "content": "a"}).to_string();
        api.post(&format!("{session}/messages?wait=10"), &body).await.is(200);
        let messages = api.get(&format!("{session}/messages")).await.json();
        assert_eq!(messages[0], json!({"role": role, "content": "a"}));
        let model = api.get(&format!("{session}/messages?format=anthropic")).await.json();
        assert_eq!(model[0]["role"], "user", "{role}");
    }
}

#[tokio::test]
async fn answers_are_checked_before_they_are_stored() {
    let api = Api::with_tools();
    let session = api.asking().await;
    let id = api.get(&session).await.json()["interrupts"][0]["interrupt_id"].clone();
    let path = format!("{session}/resume");
    let answer = async |value: Value| {
        let body = json!({"interrupt_id": id, "value": value}).to_string();
        api.post(&path, &body).await
    };
    for (value, kind, at) in [
        (json!(null), "dict_type", json!(["body", "value"])),
        (json!({}), "missing", json!(["body", "value", "answers"])),
        (json!({"answers": []}), "dict_type", json!(["body", "value", "answers"])),
        (json!({"answers": {"Q?": 5}}), "string_type", json!(["body", "value", "answers", "Q?"])),
        (
            json!({"answers": {"Q?": ["A", 1]}}),
            "string_type",
            json!(["body", "value", "answers", "Q?"]),
        ),
    ] {
        assert_eq!(answer(value.clone()).await.is(422).detail(), json!([[kind, at]]), "{value}");
    }
    assert_eq!(api.get(&session).await.json()["status"], "interrupted");
    // A repeated member has the last value, as everywhere in JSON.
    let twice =
        format!(r#"{{"interrupt_id":{id},"value":5,"value":{{"answers":{{"Q?":["A","B"]}}}}}}"#);
    api.post(&path, &twice).await.is(200);
    answer(json!({"answers": {"Q?": ["A", "B"]}})).await.is(200);
    answer(json!({"answers": {"Q?": "A"}})).await.is(409);
}

/// A client that reads the answer only after it has sent everything receives it nevertheless.
#[tokio::test]
async fn a_body_that_is_too_large_is_answered() {
    let api = Api::new(Options::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router(Arc::clone(&api.0))).into_future());
    let whole = vec![b' '; 40 << 20];
    for length in [Some(whole.len()), None] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let head = "POST /sessions HTTP/1.1\r\nhost: localhost\r\n";
        match length {
            Some(length) => {
                let head = format!("{head}content-length: {length}\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&whole).await.expect("the server reads the rest");
            }
            None => {
                let head = format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n", whole.len());
                stream.write_all(head.as_bytes()).await.unwrap();
                stream.write_all(&whole).await.expect("the server reads the rest");
                stream.write_all(b"\r\n0\r\n\r\n").await.unwrap();
            }
        }
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 413", "{length:?}");
    }
}
