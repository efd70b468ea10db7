//! Cassettes: what is recorded, what is replayed, and what is an error. The secrets have a suite of
//! their own.

mod common;

use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use http::Method;
use toolrunner_core::error::TransportKind;
use toolrunner_core::testing::{Answer, BadLink, Script, ScriptedReply, VirtualClock};
use toolrunner_core::transport::{Body, Head, Reply as CoreReply, ReplyHead};
use toolrunner_std::clock::DynClock;
use toolrunner_std::http::{
    DynTransport, HttpBody, HttpError, HttpTransport, SendFuture, Timeouts,
};
use toolrunner_std::testing::{
    Cassette, CassetteBuilder, CassetteError, CassetteMode, MODE_VARIABLE,
};
use toolrunner_std::{Client, Error, Event, Run, tool};

const KEY: &str = "sk-ant-secret-key";

/// What time it is.
#[tool]
fn now() -> &'static str {
    "noon"
}

fn file(folder: &tempfile::TempDir, name: &str) -> PathBuf {
    folder.path().join("cassettes").join(name)
}

fn record(path: &Path) -> CassetteBuilder {
    Cassette::at(path).mode(CassetteMode::Record)
}

fn replay(path: &Path) -> CassetteBuilder {
    Cassette::at(path).mode(CassetteMode::Replay)
}

fn client(cassette: &Cassette, inner: impl DynTransport) -> Client {
    let builder = Client::builder().base_url("http://gateway.internal").api_key(KEY);
    builder.transport(cassette.transport(HttpTransport::from_dyn(inner))).build().unwrap()
}

fn start(client: &Client, prompt: &str) -> Run {
    client.run("m").max_tokens(99).tools(now).clock(Arc::new(VirtualClock::default())).user(prompt)
}

/// A transport that must not be used.
struct Nothing;

impl DynTransport for Nothing {
    fn send<'a>(&'a self, _: &'a Head<'_>, _: &'a Body<'_>) -> SendFuture<'a> {
        panic!("a request was sent");
    }
}

/// The model is overloaded, calls the tool, and answers.
fn busy_then_noon() -> Script {
    Script::new()
        .error(529, "overloaded_error", "Overloaded")
        .header("retry-after", "7")
        .header("set-cookie", "session=1")
        .reply(ScriptedReply::text("Let me see.").tool_use("t1", "now", "{}"))
        .reply(ScriptedReply::text("It is noon: 12 Uhr, „Mittag“."))
}

/// Returns all events of a run as text.
async fn events(run: &mut Run) -> Vec<String> {
    let mut events = Vec::new();
    while let Some(event) = run.next_event().await.unwrap() {
        events.push(match event {
            // Its duration differs from run to run.
            Event::ToolEnd { content, .. } => content.to_string(),
            event => format!("{event:?}"),
        });
    }
    events
}

/// The replay's own key must not be searched for in the requests, as a real one is.
#[tokio::test]
async fn a_conversation_about_cassettes_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "words.json");
    let prompt = "Rewind the cassette, and replay it.";
    let cassette = record(&path).start().unwrap();
    let scripted = common::scripted(Script::new().reply(ScriptedReply::text("Done.")));
    start(&client(&cassette, scripted), prompt).until_done().await.unwrap();
    cassette.finish().unwrap();
    let cassette = replay(&path).start().unwrap();
    let mut run = start(&cassette.client().unwrap(), prompt);
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    cassette.finish().unwrap();
}

#[tokio::test]
async fn a_recorded_run_is_replayed_with_its_retries_and_pieces() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "noon.json");
    let cassette = record(&path).start().unwrap();
    assert!(cassette.is_recording());
    let scripted = common::scripted(busy_then_noon()).link(BadLink::new(3).longest_piece(40));
    let mut run = start(&client(&cassette, scripted.clone()), "What time is it?");
    let recorded = events(&mut run).await;
    cassette.finish().unwrap();
    let text = fs::read_to_string(&path).unwrap();
    for part in [
        "{\n  \"cassette\": 1,\n  \"exchanges\": [\n    {\n      \"request\": {\n        \"method\": \"POST\",\n        \"path\": \"/v1/messages\",\n",
        "            \"content\": \"What time is it?\"\n",
        "        \"status\": 529,\n        \"headers\": {\n          \"content-type\": \"application/json\",\n          \"request-id\": \"req_scripted_0001\",\n          \"retry-after\": \"7\"\n        },\n        \"json\": {\n          \"type\": \"error\",\n",
        "\n          {\"event\":\"message_stop\",\"data\":{\"type\":\"message_stop\"}}\n        ],\n        \"pieces\": [",
        "12 Uhr, „Mit",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert_eq!(text.matches("\"request\": {").count(), 3);
    assert!(!text.contains("session=1") && !text.contains("gateway.internal"), "{text}");

    let cassette = replay(&path).start().unwrap();
    assert!(!cassette.is_recording());
    let mut again = start(&client(&cassette, Nothing), "What time is it?");
    assert_eq!(events(&mut again).await, recorded);
    assert_eq!(again.messages(), run.messages());
    let last = &cassette.requests()[2];
    assert!(last.to_string().ends_with("user: result of t1: noon\n"), "{last}");
    cassette.finish().unwrap();

    // Its own client needs neither a key nor a server.
    let cassette = replay(&path).start().unwrap();
    let mut run = start(&cassette.client().unwrap(), "What time is it?");
    assert_eq!(run.until_done().await.unwrap().text(), "It is noon: 12 Uhr, „Mittag“.");
    drop(run);
    drop(cassette);
}

/// Records one turn.
async fn one_turn(path: &Path, prompt: &str) {
    let cassette = record(path).start().unwrap();
    let scripted = common::scripted(Script::new().reply(ScriptedReply::text("Hi.")));
    start(&client(&cassette, scripted), prompt).until_done().await.unwrap();
    cassette.finish().unwrap();
}

#[tokio::test]
async fn a_changed_request_is_an_error_that_shows_the_difference() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "hi.json");
    one_turn(&path, "Say hi.").await;
    let cassette = replay(&path).start().unwrap();
    let error = start(&client(&cassette, Nothing), "Say bye.").until_done().await.unwrap_err();
    let place = path.display();
    let text = format!(
        "request 1 is not the one in the cassette {place}, which shows the difference when it is finished or dropped"
    );
    assert!(error.to_string().contains(&text), "{error}");
    let error = cassette.finish().unwrap_err();
    let CassetteError::Changed { exchange: 1, difference, .. } = &error else { panic!("{error}") };
    let expected = "\
@@ -6,7 +6,7 @@
   \"max_tokens\": 99,
   \"messages\": [
     {
-      \"content\": \"Say hi.\",
+      \"content\": \"Say bye.\",
       \"role\": \"user\"
     }
   ],
";
    assert_eq!(difference, expected);
    assert!(error.to_string().ends_with(expected) && format!("{error:?}").ends_with(expected));

    // Dropped instead of finished, it panics.
    let cassette = replay(&path).start().unwrap();
    let _ = start(&client(&cassette, Nothing), "Say bye.").until_done().await.unwrap_err();
    let panic = catch_unwind(AssertUnwindSafe(|| drop(cassette))).unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("+      \"content\": \"Say bye.\""));
}

#[tokio::test]
async fn too_many_and_too_few_requests_are_errors() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "hi.json");
    one_turn(&path, "Say hi.").await;
    let cassette = replay(&path).start().unwrap();
    let error = cassette.finish().unwrap_err();
    let expected = format!(
        "exchanges of the cassette {} were not used:\n  1. POST /v1/messages",
        path.display()
    );
    assert_eq!(error.to_string(), expected);
    let cassette = replay(&path).start().unwrap();
    for _ in 0..2 {
        let _ = start(&client(&cassette, Nothing), "Say hi.").until_done().await;
    }
    let error = cassette.finish().unwrap_err();
    let CassetteError::Changed { exchange: 2, difference, .. } = error else { panic!("{error}") };
    assert!(difference.contains("+POST /v1/messages\n"), "{difference}");
    // While a test fails, an unused exchange is no second failure.
    let failed = catch_unwind(AssertUnwindSafe(|| {
        let _cassette = replay(&path).start().unwrap();
        panic!("the test fails");
    }));
    assert_eq!(*failed.unwrap_err().downcast_ref::<&str>().unwrap(), "the test fails");
    // A recording of a test that fails is not written.
    let other = file(&folder, "other.json");
    let failed = catch_unwind(AssertUnwindSafe(|| {
        let _cassette = record(&other).start().unwrap();
        panic!("the test fails");
    }));
    assert!(failed.is_err() && !other.exists());
}

#[tokio::test]
async fn members_may_change_their_order_and_ignored_values_their_text() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "post.json");
    let inner = || common::scripted(Script::new().then(|_| Answer::raw(200, "{\"ok\":true}")));
    let send = async |cassette: &Cassette, body: &str| {
        let body: Box<serde_json::value::RawValue> = serde_json::from_str(body).unwrap();
        client(cassette, inner()).post("/v1/messages", &body).await.map(|reply| reply.text())
    };
    let cassette = record(&path).start().unwrap();
    let body = r#"{"model":"m","max_tokens":9,"at":{"day":1},"messages":[{"role":"user","content":"\u0048i"}]}"#;
    assert_eq!(send(&cassette, body).await.unwrap(), "{\"ok\":true}");
    cassette.finish().unwrap();
    let other = r#"{ "messages":[{"content":"Hi","role":"user"}], "at":{"day":2}, "max_tokens":9, "model":"m" }"#;
    let cassette = replay(&path).ignore("/at/day").start().unwrap();
    assert_eq!(send(&cassette, other).await.unwrap(), "{\"ok\":true}");
    cassette.finish().unwrap();
    let cassette = replay(&path).start().unwrap();
    assert!(send(&cassette, other).await.is_err());
    assert!(matches!(cassette.finish().unwrap_err(), CassetteError::Changed { .. }));
}

#[tokio::test]
async fn runs_at_a_time_may_send_in_any_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "both.json");
    let cassette = record(&path).start().unwrap();
    let scripted = common::scripted(
        Script::new().reply(ScriptedReply::text("1")).reply(ScriptedReply::text("2")),
    );
    let both = client(&cassette, scripted);
    for prompt in ["one", "two"] {
        start(&both, prompt).until_done().await.unwrap();
    }
    cassette.finish().unwrap();
    for (is_free, builder) in [(true, replay(&path).in_any_order()), (false, replay(&path))] {
        let cassette = builder.start().unwrap();
        let both = client(&cassette, Nothing);
        let two = start(&both, "two").until_done().await;
        let one = start(&both, "one").until_done().await;
        if is_free {
            assert_eq!((one.unwrap().text(), two.unwrap().text()), ("1".into(), "2".into()));
        } else {
            assert!(two.is_err());
        }
        assert_eq!(cassette.finish().is_ok(), is_free);
    }
}

/// A server that knows one file, one list, and failures.
struct Files;

impl DynTransport for Files {
    fn send<'a>(&'a self, _: &'a Head<'_>, _: &'a Body<'_>) -> SendFuture<'a> {
        let error = HttpError::new(TransportKind::Tls, "the certificate of gateway.internal");
        Box::pin(core::future::ready(Err(error)))
    }

    fn send_with<'a>(
        &'a self,
        method: &'a Method,
        head: &'a Head<'_>,
        body: &'a Body<'_>,
        timeouts: Timeouts,
    ) -> SendFuture<'a> {
        let pieces: Vec<&'static [u8]> = match (method, head.path) {
            (&Method::GET, "/v1/files/f/content") => vec![b"\x89PNG", b"\r\n\xff"],
            (&Method::GET, "/v1/broken") => vec![b"half of"],
            (&Method::GET, _) => vec![b"{\"data\":[", b"{ \"id\" : 1e400 }]}"],
            (&Method::DELETE, _) => vec![],
            _ => return self.send_within(head, body, timeouts),
        };
        let mut body = HttpBody::from_pieces(pieces);
        if head.path == "/v1/broken" {
            body = body.then_error(HttpError::new(TransportKind::Http, "bad chunk"));
        }
        Box::pin(core::future::ready(Ok(CoreReply { head: ReplyHead::new(200), body })))
    }
}

#[tokio::test]
async fn other_endpoints_bytes_and_failures_are_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "files.json");
    let mut all = Vec::new();
    for cassette in [record(&path), replay(&path)] {
        let cassette = cassette.start().unwrap();
        let client = if cassette.is_recording() {
            client(&cassette, Files)
        } else {
            client(&cassette, Nothing)
        };
        let content = client.get("/v1/files/f/content").await.unwrap().body;
        let list = client.get("/v1/files").query("limit", "2").await.unwrap().text();
        let deleted = client.delete("/v1/files/f").await.unwrap().body;
        let kind = |error: Error| match error {
            Error::Transport(error) => toolrunner_core::transport::TransportError::kind(&error),
            other => panic!("{other}"),
        };
        let refused = kind(client.post("/v1/files", &1).await.unwrap_err());
        let broken = kind(client.get("/v1/broken").await.unwrap_err());
        cassette.finish().unwrap();
        all.push((content, list.replace(' ', ""), deleted, refused, broken));
    }
    assert_eq!(all[0], all[1]);
    assert_eq!((all[1].3, all[1].4), (TransportKind::Tls, TransportKind::Http));
    assert_eq!(all[1].0, b"\x89PNG\r\n\xff");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains("/v1/files?limit=2") && !text.contains("gateway.internal"), "{text}");
}

#[tokio::test]
async fn a_reply_that_was_not_read_to_its_end_ends_where_the_reader_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "cut.json");
    let reply = || Script::new().reply(ScriptedReply::text("One two three four five six seven."));
    let cassette = record(&path).start().unwrap();
    let mut run = start(&client(&cassette, common::scripted(reply())), "Count.");
    while !matches!(run.next_event().await.unwrap(), Some(Event::Text { .. })) {}
    drop(run);
    cassette.finish().unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("\"unread\": true"));
    let cassette = replay(&path).start().unwrap();
    let mut run = start(&client(&cassette, Nothing), "Count.");
    while !matches!(run.next_event().await.unwrap(), Some(Event::Text { .. })) {}
    drop(run);
    cassette.finish().unwrap();
}

#[tokio::test]
async fn pauses_are_recorded_and_replayed_on_a_clock() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "slow.json");
    let slow =
        ScriptedReply::text("Hi.").after(Duration::from_secs(300)).pace(Duration::from_secs(2));
    let mut times = Vec::new();
    for (mode, has_clock) in
        [(CassetteMode::Record, true), (CassetteMode::Replay, true), (CassetteMode::Replay, false)]
    {
        let clock = Arc::new(VirtualClock::default());
        let mut builder = Cassette::at(&path).mode(mode);
        if has_clock {
            builder = builder.pauses(Arc::clone(&clock));
        }
        let cassette = builder.start().unwrap();
        let script = Script::new().reply(slow.clone());
        let client = client(&cassette, common::scripted(script).clock(Arc::clone(&clock)));
        let mut run = client.run("m").clock(Arc::clone(&clock)).user("Hi");
        run.until_done().await.unwrap();
        drop(run);
        cassette.finish().unwrap();
        times.push(DynClock::now(&*clock).as_micros() / 1_000_000);
    }
    // The pause after the last piece is not recorded.
    assert!(times[1] > 300 && times[0] - times[1] <= 2 && times[2] == 0, "{times:?}");
}

#[test]
fn what_is_no_cassette_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bad.json");
    let error = replay(&path).start().unwrap_err().to_string();
    assert!(error.ends_with("run the test once with TOOLRUNNER_CASSETTE=record and a credential"));
    for (text, fault) in [
        ("", "is not a cassette: "),
        ("{}", "its member \"cassette\" must be 1, the version of the format"),
        (r#"{"cassette":2,"exchanges":[]}"#, "its member \"cassette\" must be 1"),
        (r#"{"cassette":1,"exchanges":[{"request":{}}]}"#, "exchange 1 is incomplete"),
    ] {
        fs::write(&path, text).unwrap();
        let error = replay(&path).start().unwrap_err().to_string();
        assert!(error.contains(fault), "{error}");
    }
    let error = record(&folder.path().join("bad.json/x.json")).start().unwrap().finish();
    assert!(matches!(error.unwrap_err(), CassetteError::Io(..)));
}

/// Prints what a cassette does under the environment variable, which this process cannot set for
/// itself.
#[test]
fn mode_of_the_environment() {
    let Some(path) = std::env::var_os("TEST_CASSETTE") else { return };
    match Cassette::at(path).start() {
        Ok(cassette) => println!("<recording: {}>", cassette.is_recording()),
        Err(error) => println!("<{error}>"),
    }
}

#[test]
fn the_environment_sets_the_mode_and_the_default_sends_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (there, missing) = (folder.path().join("a.json"), folder.path().join("b.json"));
    fs::write(&there, r#"{"cassette":1,"exchanges":[]}"#).unwrap();
    let of = |value: Option<&str>, path: &Path| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "mode_of_the_environment", "--nocapture"])
            .env_remove(MODE_VARIABLE);
        command.env("TEST_CASSETTE", path).envs(value.map(|value| (MODE_VARIABLE, value)));
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        let (_, shown) = output.split_once('<').unwrap();
        shown.split('>').next().unwrap().to_owned()
    };
    assert_eq!(of(None, &there), "recording: false");
    assert!(of(None, &missing).starts_with("there is no cassette "));
    assert_eq!(of(Some("replay"), &there), "recording: false");
    assert_eq!(of(Some("record-missing"), &there), "recording: false");
    assert_eq!(of(Some("record-missing"), &missing), "recording: true");
    assert_eq!(of(Some("record"), &there), "recording: true");
    let text = "TOOLRUNNER_CASSETTE is \"yes\", but must be `replay`, `record` or `record-missing`";
    assert_eq!(of(Some("yes"), &there), text);
}

/// Get the current weather in a given location.
#[tool]
async fn get_weather(location: String) -> String {
    format!("{location}: 20 degrees, sunny")
}

/// The cassette of the guide's page shows the whole format. `BLESS=1` rewrites it.
#[tokio::test]
async fn the_cassette_of_the_guide_is_what_a_recording_writes() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(&folder, "weather.json");
    let script = Script::new()
        .reply(ScriptedReply::new().tool_use("toolu_1", "get_weather", r#"{"location":"Paris"}"#))
        .reply(ScriptedReply::text("It is sunny in Paris, at 20 degrees."));
    let cassette = record(&path).start().unwrap();
    let client = client(&cassette, common::scripted(script));
    let run = client.run("claude-opus-4-7").max_tokens(1024).tools(get_weather);
    run.user("What's the weather like in Paris?").until_done().await.unwrap();
    cassette.finish().unwrap();
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cassettes/weather.json");
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(committed.parent().unwrap()).unwrap();
        fs::copy(&path, &committed).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap(), fs::read_to_string(&committed).unwrap());
}
