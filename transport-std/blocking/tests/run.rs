//! Runs against a server on loopback: calls on threads, time limits, cancellation, retries,
//! snapshots, settings.

mod common;

use core::time::Duration;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Instant;

use common::serve;
use toolrunner_blocking::{
    Cancellation, Client, Error, Event, Outcome, OwnedEvent, SetupError, ToolContext, tool, toolbox,
};
use toolrunner_core::error::TransportKind;
use toolrunner_core::testing::{Answer, Chunk, Script, ScriptedReply};

/// Longer than any test takes, so that one that waits for it fails.
const LONG: Duration = Duration::from_secs(60);

/// Double a number.
#[tool]
fn double(n: i64) -> i64 {
    n * 2
}

/// Panic.
#[tool]
fn fall_over() -> i64 {
    panic!("the tool fell over")
}

fn doubled() -> Script {
    Script::new()
        .reply(ScriptedReply::new().tool_use("t1", "double", r#"{"n":21}"#))
        .reply(ScriptedReply::text("42."))
}

#[test]
fn the_whole_loop_over_one_connection() {
    let server = serve(doubled().reply(ScriptedReply::text("Hello!")));
    let client = server.client();
    let mut run = client.run("m").tools(double).user("Double 21.");
    let finished = run.until_done().unwrap();
    assert_eq!(finished.text(), "42.");
    assert_eq!(finished.outcome.to_string(), run.outcome().unwrap().to_string());
    assert!(finished.usage.output_tokens > 0);
    assert!(run.messages().contains(r#""content":"42""#), "{}", run.messages());
    assert_eq!(server.connections(), 1);
    // Another run of the client uses the same connection.
    assert_eq!(client.run("m").user("Hello").until_done().unwrap().text(), "Hello!");
    assert_eq!(server.connections(), 1);
    server.assert_valid(&run);
}

#[test]
fn replies_that_are_not_streamed() {
    let server = serve(doubled());
    let mut run = server.client().run("m").stream(false).tools(double).user("Double 21.");
    assert_eq!(run.until_done().unwrap().text(), "42.");
    server.assert_valid(&run);
}

struct Meeting(Barrier);

#[toolbox]
impl Meeting {
    /// Wait for the other call.
    #[tool]
    fn meet(&self) -> &'static str {
        self.0.wait();
        "met"
    }
}

#[test]
fn calls_of_a_turn_run_at_the_same_time() {
    let both = ScriptedReply::new().tool_use("t1", "meet", "{}").tool_use("t2", "meet", "{}");
    let server = serve(Script::new().reply(both).reply(ScriptedReply::text("Both.")));
    let mut run = server.client().run("m").tools(Meeting(Barrier::new(2))).user("Meet.");
    // One alone would wait for the other for ever.
    run.limits_mut().time = Some(LONG);
    assert_eq!(run.until_done().unwrap().text(), "Both.");
    server.assert_valid(&run);
}

#[test]
fn a_tool_that_panics_is_a_failed_call() {
    let both = ScriptedReply::new().tool_use("t1", "fall_over", "{}").tool_use(
        "t2",
        "double",
        r#"{"n":1}"#,
    );
    let server = serve(Script::new().reply(both).reply(ScriptedReply::text("Well.")));
    let mut run = server.client().run("m").tools((fall_over, double)).user("Go.");
    let mut turn = run.next_turn().unwrap().unwrap();
    let results = turn.results().unwrap();
    assert_eq!(results.first_error().unwrap(), "Error: tool panicked");
    assert_eq!(results.iter().filter(|result| !result.is_error()).count(), 1);
    assert_eq!(run.until_done().unwrap().text(), "Well.");
    server.assert_valid(&run);
}

/// A tool that ends only when it is cancelled, and says so.
struct Patient {
    saw: Mutex<Sender<&'static str>>,
}

#[toolbox]
impl Patient {
    /// Wait for the cancellation, with a time limit.
    #[tool(timeout_ms = 50)]
    async fn short(&self, context: &ToolContext<'_>) -> &'static str {
        self.wait(context).await
    }

    /// Wait for the cancellation.
    #[tool]
    async fn long(&self, context: &ToolContext<'_>) -> &'static str {
        self.wait(context).await
    }
}

impl Patient {
    fn new() -> (Self, Receiver<&'static str>) {
        let (saw, seen) = channel();
        (Self { saw: Mutex::new(saw) }, seen)
    }

    async fn wait(&self, context: &ToolContext<'_>) -> &'static str {
        self.saw.lock().unwrap().send("started").unwrap();
        context.cancelled().await;
        self.saw.lock().unwrap().send("cancelled").unwrap();
        "ended in the grace period"
    }
}

#[test]
fn a_call_that_exceeds_its_time_limit_is_answered_and_told() {
    let call = ScriptedReply::new().tool_use("t1", "short", "{}");
    let server = serve(Script::new().reply(call).reply(ScriptedReply::text("Too slow.")));
    let (patient, seen) = Patient::new();
    let mut run = server.client().run("m").tools(patient).user("Wait.");
    assert_eq!(run.until_done().unwrap().text(), "Too slow.");
    assert!(run.messages().contains("timed out"), "{}", run.messages());
    assert_eq!(seen.recv_timeout(LONG), Ok("started"));
    assert_eq!(seen.recv_timeout(LONG), Ok("cancelled"));
    server.assert_valid(&run);
}

#[test]
fn a_cancellation_reaches_a_tool_which_may_still_answer() {
    let call = ScriptedReply::new().tool_use("t1", "long", "{}");
    let server = serve(Script::new().reply(call).reply(ScriptedReply::text("On again.")));
    let (patient, seen) = Patient::new();
    let mut run = server.client().run("m").tools(patient).grace(LONG).user("Wait.");
    let cancellation = run.cancellation();
    let other = thread::spawn(move || {
        assert_eq!(seen.recv_timeout(LONG), Ok("started"));
        cancellation.cancel();
        assert_eq!(seen.recv_timeout(LONG), Ok("cancelled"));
    });
    assert_eq!(run.until_done().unwrap().outcome, Outcome::Stopped);
    other.join().unwrap();
    assert!(run.messages().contains("ended in the grace period"), "{}", run.messages());
    // The cancellation is over when the run continues.
    assert_eq!(run.resume().until_done().unwrap().text(), "On again.");
    server.assert_valid(&run);
}

/// A reply that begins and then pauses.
fn stalled() -> Answer {
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"model\":\"m\",\"stop_reason\":null,\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n";
    Answer::chunks(200, vec![Chunk::Data(start.into()), Chunk::Wait(LONG)])
        .header("content-type", "text/event-stream")
}

fn cancel_soon(cancellation: Cancellation) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        cancellation.cancel();
    })
}

#[test]
fn a_cancellation_ends_the_wait_for_the_network_and_closes_the_connection() {
    let server = serve(Script::new().answer(stalled()).reply(ScriptedReply::text("Hello again!")));
    let mut run = server.client().run("m").user("Hello");
    let (other, began) = (cancel_soon(run.cancellation()), Instant::now());
    assert_eq!(run.until_done().unwrap().outcome, Outcome::Stopped);
    assert!(began.elapsed() < LONG / 2);
    other.join().unwrap();
    // The thread of the request does not wait for the server either.
    while server.closed() == 0 {
        assert!(began.elapsed() < LONG / 2, "the connection is still open");
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(run.resume().until_done().unwrap().text(), "Hello again!");
    assert_eq!(server.connections(), 2);
    server.assert_valid(&run);
}

#[test]
fn a_time_limit_of_the_run_ends_the_wait_for_the_network() {
    let server = serve(Script::new().answer(stalled()));
    let mut run = server.client().run("m").user("Hello");
    run.limits_mut().time = Some(Duration::from_millis(100));
    let began = Instant::now();
    let outcome = run.until_done().unwrap().outcome;
    assert_eq!(outcome, Outcome::Limit(toolrunner_blocking::Limit::Time));
    assert!(began.elapsed() < LONG / 2);
}

#[test]
fn a_server_that_stalls_is_a_time_out() {
    let server = serve(Script::new().answer(stalled()));
    let client = server.builder().read_timeout(Duration::from_millis(50)).max_retries(0).build();
    let error = client.unwrap().run("m").user("Hello").until_done().unwrap_err();
    assert!(
        matches!(&error, Error::Transport(failure) if failure.kind() == TransportKind::Timeout),
        "{error}"
    );
    let port = error.to_string();
    let port = port.strip_prefix("no data came from http://127.0.0.1:");
    assert!(port.is_some_and(|rest| rest.ends_with(" for 50ms")), "{error}");
}

#[test]
fn a_server_that_is_not_there_is_retried_and_then_an_error() {
    let client = Client::builder().base_url("http://127.0.0.1:1").max_retries(1).build().unwrap();
    let mut run = client.run("m").user("Hello");
    run.retry_policy_mut().first_wait = Duration::from_millis(1);
    let mut retries = 0;
    let error = loop {
        match run.next_event() {
            Ok(Some(Event::Retry { .. })) => retries += 1,
            Ok(event) => assert!(event.is_some()),
            Err(error) => break error,
        }
    };
    assert_eq!(retries, 1);
    assert!(
        matches!(&error, Error::Transport(failure) if failure.kind() == TransportKind::Connect),
        "{error:?}"
    );
    let text = "could not connect to http://127.0.0.1:1: ";
    assert!(error.to_string().starts_with(text), "{error}");
}

#[test]
fn an_overloaded_server_is_asked_again_after_its_own_wait() {
    let overloaded = Answer::error(529, "overloaded_error", "later").header("retry-after-ms", "50");
    let server = serve(Script::new().answer(overloaded).reply(ScriptedReply::text("Hello!")));
    let began = Instant::now();
    let mut run = server.client().run("m").user("Hello");
    assert_eq!(run.until_done().unwrap().text(), "Hello!");
    assert!(began.elapsed() >= Duration::from_millis(50));
    server.assert_valid(&run);
}

#[test]
fn an_error_has_the_servers_words_on_one_line() {
    let server = serve(Script::new().error(400, "invalid_request_error", "no\n\u{202e}way"));
    let error = server.client().run("m").user("Hello").until_done().unwrap_err();
    let text = error.to_string();
    assert!(
        text.starts_with(
            "API error: invalid_request_error (status 400): no\\n\\u{202e}way [request id "
        ),
        "{text}"
    );
}

#[test]
fn turns_and_events_are_iterators() {
    let server = serve(doubled());
    let mut run = server.client().run("m").tools(double).user("Double 21.");
    let texts: Vec<String> = run.turns().map(|message| message.unwrap().text()).collect();
    assert_eq!(texts, ["", "42."]);
    let server = serve(doubled());
    let mut run = server.client().run("m").tools(double).user("Double 21.");
    let (mut text, mut told) = (String::new(), Vec::new());
    for event in run.events() {
        match event.unwrap() {
            OwnedEvent::Text { text: piece, .. } => text.push_str(&piece),
            OwnedEvent::ToolStart { name, input, .. } => told.push(format!("{name} {input}")),
            OwnedEvent::ToolEnd { content, is_error, .. } => {
                told.push(format!("{content} {is_error}"));
            }
            OwnedEvent::Request { turn, attempt } => told.push(format!("request {turn}.{attempt}")),
            _ => {}
        }
    }
    assert_eq!(text, "42.");
    assert_eq!(told, ["request 1.1", "double {\"n\":21}", "\"42\" false", "request 2.1"]);
}

#[test]
fn an_iterator_ends_after_an_error() {
    let server = serve(Script::new().error(400, "invalid_request_error", "no"));
    let mut run = server.client().run("m").user("Hello");
    assert!(run.turns().map(|message| message.is_err()).eq([true]));
}

#[test]
fn a_run_is_resumed_from_a_snapshot() {
    let server = serve(doubled());
    let client = server.client();
    let mut run = client.run("m").tools(double).user("Double 21.");
    assert_eq!(run.next_turn().unwrap().unwrap().results().unwrap().len(), 1);
    let snapshot = run.snapshot().unwrap();
    assert!(!snapshot.contains("test-key"));
    drop(run);
    // The call has run, so that its tool is not needed again.
    let mut run = client.run("m").resume(&snapshot);
    assert_eq!(run.until_done().unwrap().text(), "42.");
    server.assert_valid(&run);
    let error = client.run("m").resume("{}").until_done().unwrap_err();
    assert!(matches!(error, Error::Misuse(_)), "{error:?}");
}

#[test]
fn headers_are_sent_and_secrets_are_never_shown() {
    let server = serve(Script::new().reply(ScriptedReply::text("Hello!")));
    let builder = server
        .builder()
        .api_key("s3cret-key")
        .header("X-Team", "s3cret-team")
        .beta("one")
        .beta("two");
    let shown = format!("{builder:?}");
    let client = builder.build().unwrap();
    let mut run = client.run("m").user("Hello");
    let shown = format!("{shown} {client:?} {:?} {run:?}", client.run("m"));
    assert!(!shown.contains("s3cret"), "{shown}");
    run.until_done().unwrap();
    let headers = server.model().requests()[0].headers.clone();
    for expected in [
        ("x-api-key", "s3cret-key"),
        ("x-team", "s3cret-team"),
        ("anthropic-beta", "one,two"),
        ("anthropic-version", "2023-06-01"),
        ("content-type", "application/json"),
    ] {
        assert!(
            headers.iter().any(|(name, value)| (name.as_str(), value.as_str()) == expected),
            "{expected:?} in {headers:?}"
        );
    }
    let wrong = Client::builder().api_key("s3cret\n").build().unwrap_err();
    assert_eq!(wrong, SetupError::HeaderValue("x-api-key".to_owned()));
    let wrong = Client::builder().api_key("k").header("host", "s3cret").build().unwrap_err();
    assert_eq!(wrong, SetupError::HeaderName("host".to_owned()));
    assert_eq!(Client::builder().build().unwrap_err(), SetupError::NoCredential);
    let wrong = Client::builder().base_url("ftp://x").build().unwrap_err();
    assert!(wrong.to_string().contains("http://"), "{wrong}");
}

#[test]
fn mistakes_are_reported_at_the_first_use() {
    let server = serve(Script::new());
    let client = server.client();
    let twice = client.run("m").tools((double, double)).user("Hello").until_done().unwrap_err();
    assert!(matches!(twice, Error::Misuse(_)), "{twice}");
    let wrong = client.run("m").param_json("top_k", "{").user("Hello").until_done().unwrap_err();
    assert!(wrong.to_string().contains("top_k"), "{wrong}");
    assert_eq!(server.connections(), 0);
}

#[test]
fn a_request_body_declares_tools_that_the_caller_answers() {
    let call =
        ScriptedReply::new().tool_use("t1", "ask", "{}").tool_use("t2", "double", r#"{"n":2}"#);
    let server = serve(Script::new().reply(call).reply(ScriptedReply::text("Blue, 4.")));
    let body = r#"{"model":"m","max_tokens":64,"tools":[{"name":"double","input_schema":{"type":"object"}},{"name":"ask","input_schema":{"type":"object"}}],"messages":[{"role":"user","content":"Hello"}]}"#;
    let mut run = server.client().run("").tools(double).body(body);
    assert_eq!(run.until_done().unwrap().outcome, Outcome::NeedsAnswer);
    let open: Vec<String> = run.open_calls().map(|call| call.id.to_string()).collect();
    assert_eq!(open, ["t1"]);
    run.answer("t1", "blue").unwrap();
    let finished = run.until_done().unwrap();
    assert_eq!(finished.text(), "Blue, 4.");
    let message = finished.message.unwrap();
    assert!(message.as_json().contains(r#""id":"msg_"#), "{}", message.as_json());
    assert!(message.as_json().contains(r#""output_tokens""#), "{}", message.as_json());
    server.assert_valid(&run);
}
