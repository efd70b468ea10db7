//! Errors, over HTTP on loopback, as the user sees them. After each error the run is intact and
//! continues where it stopped.

mod common;
mod support;

use core::time::Duration;

use common::{answers, calls, client_of, echo, serve};
use support::{Do, OK, Server, self_signed, trusting};
use toolrunner_core::testing::{Answer, Chunk, Script, ScriptedModel, ScriptedReply};
use toolrunner_std::http::Proxies;
use toolrunner_std::{Client, ClientBuilder, Error};

/// Returns the error of a run against this answer. The run then continues with a good answer.
async fn error_of(answer: Answer) -> String {
    let (client, model) = client_of(answers([answer, ScriptedReply::text("ok").into()]));
    let mut run = client.run("m").user("Hello?");
    let error = run.until_done().await.unwrap_err();
    // The same call continues the run.
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    let model = model.lock().unwrap();
    assert_eq!(
        model.requests()[0].body,
        model.requests()[1].body,
        "nothing was lost, and nothing added"
    );
    assert!(model.complaints().is_empty());
    drop(model);
    error.to_string()
}

#[test]
fn no_key() {
    let error = Error::from(ClientBuilder::new().build().unwrap_err());
    let text = "no API key: set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN), or ANTHROPIC_BASE_URL to use a server that needs no key";
    assert_eq!(error.to_string(), text);
}

#[tokio::test]
async fn wrong_key() {
    let model =
        ScriptedModel::new(Script::new().reply(ScriptedReply::text("ok"))).require_key("right");
    let (address, _) = serve(model);
    let builder = Client::builder().base_url(format!("http://{address}")).proxies(Proxies::none());
    let mut run = builder.api_key("wrong").build().unwrap().run("m").user("Hello?");
    let error = run.until_done().await.unwrap_err();
    let api = error.api().unwrap();
    assert_eq!(api.error.status, 401);
    assert!(!api.request_id.is_empty());
    let id = &api.request_id;
    assert_eq!(
        error.to_string(),
        format!(
            "API error: authentication_error (status 401): invalid x-api-key [request id {id}]"
        )
    );
    // The key can be changed, and the run continues.
    run.change_settings(|client| client.api_key("right")).unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
}

#[tokio::test]
async fn a_redirect() {
    let text =
        error_of(Answer::raw(307, "").header("location", "http://127.0.0.1:9/elsewhere")).await;
    let why = "redirects are not followed, because they would send the key to another server: use the base URL of the target";
    assert_eq!(text, format!("API error: status 307: {why} [request id req_scripted_0001]"));
}

/// If one of several tools is invalid, the error contains its name, and no request is sent.
#[tokio::test]
async fn wrong_tools() {
    let without_schema = |name: &'static str| {
        let mut tool = echo(name);
        tool.json = format!(r#"{{"name":"{name}","description":"d"}}"#);
        tool
    };
    let client = client_of(answers([])).0;
    let error = async |builder: toolrunner_std::RunBuilder| {
        builder.user("Go.").until_done().await.unwrap_err().to_string()
    };
    let run = || client.run("m");
    assert_eq!(
        error(run().tools((echo("a"), echo("b"), echo("b")))).await,
        r#"two tools have the name "b""#
    );
    assert_eq!(
        error(run().tools((echo("a"), echo("b c")))).await,
        r#"the tool name "b c" must match its definition and be 1 to 128 of a-z, A-Z, 0-9, _ and -"#
    );
    assert_eq!(
        error(run().tools((echo("a"), without_schema("b")))).await,
        r#"the definition of the tool "b" must be an object whose input_schema has type object"#
    );
}

#[tokio::test]
async fn unreachable_host() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client =
        Client::builder().base_url(&url).proxies(Proxies::none()).max_retries(0).build().unwrap();
    let mut run = client.run("m").user("Hello?");
    let text = run.until_done().await.unwrap_err().to_string();
    assert!(text.starts_with(&format!("could not connect to {url}: ")), "{text}");
    let text = run.until_done().await.unwrap_err().to_string();
    assert!(text.starts_with(&format!("could not connect to {url}: ")), "{text}");
}

#[tokio::test]
async fn html_instead_of_json() {
    let page = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>";
    let html = |status| Answer::raw(status, page).header("content-type", "text/html");
    assert_eq!(
        error_of(html(200)).await,
        format!(
            "protocol error: the reply is neither an event stream nor a JSON object; it begins: {page}"
        )
    );
    assert_eq!(
        error_of(html(502)).await,
        "API error: api_error (status 502): <html><head><title>502 Bad Gateway</title></head><body>nginx</body></html> [request id req_scripted_0001]"
    );
}

#[tokio::test]
async fn an_error_with_status_200() {
    let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_7"}"#;
    let text = error_of(Answer::raw(200, body)).await;
    assert_eq!(text, "API error: overloaded_error (status 200): Overloaded [request id req_7]");
}

/// The data received instead of a reply is shown: limited in length, and without effect on a
/// terminal.
#[tokio::test]
async fn what_came_instead_of_a_reply() {
    let other = r#"{"object":"chat.completion","choices":[]}"#;
    let text = error_of(Answer::raw(200, other)).await;
    let not_a_message = "protocol error: the reply is a JSON object, but not a message: it has no content; it begins: ";
    assert_eq!(text, format!("{not_a_message}{other}"));
    let text = error_of(Answer::raw(
        200,
        format!("{{\"x\":\"\u{9b}31m\",\n\"y\":\"{}\"}}", "y".repeat(1000)),
    ))
    .await;
    let shown = text.strip_prefix(not_a_message).unwrap();
    assert!(
        shown.starts_with(r#"{"x":"\u{9b}31m",\n"y":"yyyy"#) && shown.chars().count() < 220,
        "{shown}"
    );
    let text = error_of(Answer::raw(200, r#"{"detail":"Not authenticated"}"#)).await;
    assert_eq!(text, "API error: status 200: Not authenticated [request id req_scripted_0001]");
}

/// `event: error` with data of any shape.
#[tokio::test]
async fn an_error_event_of_another_shape() {
    let start = r#"{"type":"message_start","message":{"role":"assistant","content":[]}}"#;
    for (data, told) in [
        ("Internal Server Error", "status 200: Internal Server Error"),
        (
            r#"{"error":{"type":"invalid_request_error","message":"blocked"}}"#,
            "invalid_request_error (status 200): blocked",
        ),
        (r#"{"message":"no capacity in this region"}"#, "status 200: no capacity in this region"),
        (
            r#"{"error":{"type":"teapot_error","code":418}}"#,
            r#"teapot_error (status 200): {"error":{"type":"teapot_error","code":418}}"#,
        ),
        (r#"["odd"]"#, r#"status 200: ["odd"]"#),
    ] {
        let body = format!("event: message_start\ndata: {start}\n\nevent: error\ndata: {data}\n\n");
        let text = error_of(Answer::raw(200, body)).await;
        assert_eq!(text, format!("API error: {told} [request id req_scripted_0001]"), "{data}");
    }
}

#[tokio::test]
async fn an_error_event_in_the_stream() {
    let text = error_of(
        ScriptedReply::text("Let me").error_event("overloaded_error", "Overloaded").into(),
    )
    .await;
    assert!(text.starts_with("API error: overloaded_error (status 200): Overloaded"), "{text}");
}

#[tokio::test]
async fn an_error_without_a_body() {
    assert_eq!(
        error_of(Answer::raw(500, "")).await,
        "API error: api_error (status 500) [request id req_scripted_0001]"
    );
    assert_eq!(
        error_of(Answer::raw(404, "{}").header("request-id", "req_9")).await,
        "API error: not_found_error (status 404): {}: check the base URL, the part before /v1/messages [request id req_9]"
    );
}

#[tokio::test]
async fn a_stream_that_ends_early() {
    let text = error_of(ScriptedReply::text("Let me").ends_early().into()).await;
    assert_eq!(text, "protocol error: the reply ended before it was complete");
}

#[tokio::test]
async fn a_connection_that_is_reset() {
    let body = vec![Chunk::Data(b"event: message_start\n".to_vec()), Chunk::Reset];
    let (client, model) = client_of(answers([Answer::chunks(200, body)]));
    let mut run = client.run("m").user("Hello?");
    for _ in 0..2 {
        // The script repeats an answer that did not arrive.
        let text = run.until_done().await.unwrap_err().to_string();
        assert!(
            text.starts_with("the connection to http://127.0.0.1:")
                && text.contains("was closed before the reply's end"),
            "{text}"
        );
    }
    let model = model.lock().unwrap();
    assert_eq!(model.requests()[0].body, model.requests()[1].body);
}

#[tokio::test]
async fn a_read_timeout_of_this_run_only() {
    let slow = || {
        Answer::chunks(200, vec![Chunk::Wait(Duration::from_secs(2)), Chunk::Data(b"{}".to_vec())])
    };
    let (client, _) = client_of(answers([
        ScriptedReply::text("one").into(),
        slow(),
        ScriptedReply::text("two").into(),
    ]));
    // The idle connection was made with the client's timeout, but the run's timeout applies.
    assert_eq!(client.run("m").user("Hello?").until_done().await.unwrap().text(), "one");
    let limit = Duration::from_millis(100);
    let mut run = client.run("m").settings(|client| client.read_timeout(limit)).user("Hello?");
    let text = run.until_done().await.unwrap_err().to_string();
    assert!(
        text.starts_with("no data came from http://127.0.0.1:") && text.ends_with(" for 100ms"),
        "{text}"
    );
    // It can be changed between turns.
    run.change_settings(|client| client.read_timeout(Duration::from_secs(30))).unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "two");
}

#[tokio::test]
async fn a_bad_certificate() {
    let (tls, _) = self_signed(&["http/1.1"]);
    let (_, other) = self_signed(&[]);
    let server = Server::start_with(Some(tls), |_, _| Do::Answer(OK.to_owned())).await;
    let url = format!("https://{}", server.address);
    // The client trusts another certificate, so that the test does not depend on this machine's
    // roots. Retries would take a second.
    let client = Client::builder()
        .base_url(&url)
        .transport(trusting(&other))
        .max_retries(2)
        .build()
        .unwrap();
    let mut run = client.run("m").user("Hello?");
    let text = run.until_done().await.unwrap_err().to_string();
    assert!(
        text.starts_with(&format!(
            "the TLS certificate of {url} was not accepted: invalid peer certificate: "
        )),
        "{text}"
    );
    assert_eq!(server.connections(), 1, "nobody knocks again at a door that cannot be trusted");
}

#[tokio::test]
async fn an_error_after_the_tools_ran_does_not_run_them_again() {
    let overloaded = || Answer::error(529, "overloaded_error", "Overloaded");
    let (client, model) = client_of(answers([
        calls(&["t1"], "a").into(),
        overloaded(),
        overloaded(),
        ScriptedReply::text("ok").into(),
    ]));
    let tool = echo("a");
    let mut run = client.run("m").tools(tool.clone()).user("Hello?");
    for _ in 0..2 {
        let text = run.until_done().await.unwrap_err().to_string();
        assert!(text.starts_with("API error: overloaded_error (status 529): Overloaded"), "{text}");
    }
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert_eq!(tool.ran(), ["t1"]);
    assert!(model.lock().unwrap().complaints().is_empty());
}

#[tokio::test]
async fn a_transcript_that_is_full() {
    let (client, _) = client_of(answers([
        ScriptedReply::text(&"long ".repeat(200)).into(),
        ScriptedReply::text("short").into(),
    ]));
    let mut run = client.run("m").capacity(500).user("Hello?");
    let text = run.until_done().await.unwrap_err().to_string();
    assert!(text.starts_with("transcript full: "), "{text}");
    assert_eq!(run.until_done().await.unwrap().text(), "short");
}

#[tokio::test]
async fn what_was_wrong_with_the_run_is_told_each_time() {
    let (client, model) = client_of(Script::new());
    for mut run in [
        client.run("m").tools((echo("a"), echo("a"))).user("Hello?"),
        client.run("m").tools(echo("not a name")).user("Hello?"),
        client.run("m").param_json("temperature", "{").user("Hello?"),
        client.run("m").param("stream", true).user("Hello?"),
        client.run("m").messages("{}"),
        client.run("m").body("[]"),
        client.run("m").empty(),
    ] {
        let first = run.until_done().await.unwrap_err().to_string();
        let second = run.until_done().await.unwrap_err().to_string();
        assert_eq!(first, second);
    }
    assert!(model.lock().unwrap().requests().is_empty(), "nothing was sent");
}

#[tokio::test]
async fn an_error_in_json_of_another_shape() {
    for (body, words) in [
        (r#"{"error":"model \"m\" not found"}"#, r#"model "m" not found"#),
        (r#"{"message":"Forbidden"}"#, "Forbidden"),
        (r#"{"detail":"Not yours"}"#, "Not yours"),
        (r#"{"error":{"code":5}}"#, r#"{"error":{"code":5}}"#),
    ] {
        let text = error_of(Answer::raw(403, body)).await;
        assert_eq!(
            text,
            format!(
                "API error: permission_error (status 403): {words} [request id req_scripted_0001]"
            )
        );
    }
}

#[tokio::test]
async fn an_empty_message_of_the_user() {
    let client =
        Client::builder().base_url("http://127.0.0.1:1").proxies(Proxies::none()).build().unwrap();
    let mut run = client.run("m").empty();
    assert_eq!(run.user("").unwrap_err().to_string(), "a message must not be empty");
    assert_eq!(
        run.user(" \n\u{2003}").unwrap_err().to_string(),
        "a message must not be only white space"
    );
    let text = run.append(r#"{"role":"tool","content":"x"}"#).unwrap_err().to_string();
    assert_eq!(text, "messages.0: the role must be user, assistant or system");
}
