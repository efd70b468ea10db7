//! No secret is in the file of a cassette, in its errors or in its `Debug` output.

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use toolrunner_core::testing::{Answer, Chunk, Script, ScriptedReply, Style, VirtualClock};
use toolrunner_core::transport::{Body, Head, Reply as CoreReply, ReplyHead};
use toolrunner_std::http::{DynTransport, HttpBody, HttpTransport, SendFuture};
use toolrunner_std::identity::{IdentityToken, WorkloadIdentity};
use toolrunner_std::testing::{Cassette, CassetteBuilder, CassetteError, CassetteMode};
use toolrunner_std::{Client, ClientBuilder, tool};

const KEY: &str = "sk-ant-key-0123456789";
const TOKEN: &str = "token of the gateway";
const COOKIE: &str = "sessionvalue123";
const QUERY: &str = "key in/the query";
const MAIL: &str = "ada.lovelace@example.org";
const QUOTED: &str = "pass\"word\\\"";
const PHONE: &str = "4930901820";

/// Look up the user.
#[tool]
fn who() -> serde_json::Value {
    serde_json::json!({"mail": MAIL, "phone": 4_930_901_820_u64, "password": QUOTED})
}

fn record(path: &Path) -> CassetteBuilder {
    Cassette::at(path).mode(CassetteMode::Record).hide(MAIL).hide(QUOTED).hide(PHONE)
}

/// Asserts that none of the secrets is in a text, whole or escaped.
#[track_caller]
fn assert_clean(text: &str) {
    let escaped = serde_json::to_string(QUOTED).unwrap();
    let escaped = escaped.trim_matches('"');
    for secret in [KEY, TOKEN, COOKIE, QUERY, MAIL, QUOTED, PHONE, escaped, "gateway.internal"] {
        assert!(!text.contains(secret), "{secret} is in\n{text}");
    }
    // What the events of each block say together.
    for name in ["text", "partial_json"] {
        let marker = format!("\"{name}\":\"");
        let pieces = text.split(&marker).skip(1).filter_map(|rest| rest.split_once("\"}"));
        let together: String = pieces.map(|(piece, _)| piece).collect();
        for secret in [MAIL, "ada.lovelace", "example.org", PHONE] {
            assert!(!together.contains(secret), "{secret} is in the pieces {together}");
        }
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .base_url("http://gateway.internal/anthropic")
        .api_key(KEY)
        .header("x-gateway", TOKEN)
        .secret_header("cookie", format!("id=1; session={COOKIE}"))
        .query("auth", QUERY)
}

/// The model repeats every secret, in short pieces and in an error.
fn indiscreet() -> Script {
    let input = serde_json::json!({"mail": MAIL, "password": QUOTED}).to_string();
    Script::new()
        .answer(Answer::error(529, "overloaded_error", &format!("{KEY} of {MAIL} {COOKIE}")))
        .header("x-key", KEY)
        .header("request-id", KEY)
        .reply(ScriptedReply::text(&format!("I look up {MAIL}.")).tool_use("t1", "who", "{}"))
        .reply(ScriptedReply::new().tool_use("t2", "who", &input))
        .reply(ScriptedReply::text(&format!("{MAIL}, {PHONE}, {QUOTED}, {KEY}, {TOKEN}, {QUERY}")))
}

fn style(stream: bool) -> Style {
    Style { delta: if stream { 3 } else { 12 }, ascii: !stream, ..Style::default() }
}

#[tokio::test]
async fn no_secret_is_recorded_and_the_recording_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    for stream in [true, false] {
        let path = folder.path().join(format!("{stream}.json"));
        let cassette = record(&path).start().unwrap();
        assert_clean(&format!("{cassette:?}"));
        let scripted = toolrunner_std::testing::ScriptedServer::new(
            toolrunner_core::testing::ScriptedModel::new(indiscreet()).style(style(stream)),
        );
        let inner = HttpTransport::from_dyn(scripted.clone());
        let client = builder().transport(cassette.transport(inner)).build().unwrap();
        let run = |client: &Client| {
            let clock = Arc::new(VirtualClock::default());
            client.run("m").stream(stream).tools(who).clock(clock).user(format!("I am {MAIL}."))
        };
        // A tool's input that does not fit is answered like any other.
        run(&client).until_done().await.unwrap();
        let requests = cassette.requests();
        assert_eq!(requests.len(), 4);
        assert_clean(&format!("{requests:?} {}", requests[3]));
        cassette.finish().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_clean(&text);
        assert!(text.contains("/v1/messages?auth=[hidden]"), "{text}");
        assert!(text.contains("I am [hidden]."), "{text}");

        // The test of the replay has the secrets, or others in their place.
        let cassette = Cassette::at(&path).mode(CassetteMode::Replay);
        let cassette = cassette.hide(MAIL).hide(QUOTED).hide(PHONE).start().unwrap();
        let inner = HttpTransport::default();
        let client = builder().transport(cassette.transport(inner)).build().unwrap();
        let finished = run(&client).until_done().await.unwrap();
        assert_eq!(finished.text(), "[hidden], [hidden], [hidden], [hidden], [hidden], [hidden]");
        cassette.finish().unwrap();

        let cassette = Cassette::at(&path).mode(CassetteMode::Replay);
        let cassette = cassette.hide(MAIL).hide(QUOTED).hide(PHONE).start().unwrap();
        let inner = HttpTransport::default();
        let client = builder().transport(cassette.transport(inner)).build().unwrap();
        let clock = Arc::new(VirtualClock::default());
        let mut run = client.run(KEY).clock(clock).user(format!("{MAIL} {KEY} {QUOTED}"));
        let error = run.until_done().await.unwrap_err();
        assert_clean(&format!("{error} {error:?} {error:#?}"));
        let error = cassette.finish().unwrap_err();
        assert!(error.to_string().contains("[hidden] [hidden] [hidden]"), "{error}");
        assert_clean(&format!("{error} {error:?} {error:#?}"));
    }
}

/// Programs escape more than JSON requires: all that is not ASCII, slashes, or what HTML reserves.
#[tokio::test]
async fn a_secret_is_hidden_whatever_is_escaped_in_it() {
    const NAME: &str = "Zoë/<\u{1f600}>";
    let forms = [
        NAME.to_owned(),
        r"Zo\u00eb/<\ud83d\ude00>".to_owned(),
        r"Zo\u00EB\/\u003c\uD83D\uDE00\u003E".to_owned(),
        r"\u005ao\u00eb\u002f<\ud83d\ude00>".to_owned(),
        r"Zo\\u00eb\\/<\\ud83d\\ude00>".to_owned(),
    ];
    let folder = tempfile::tempdir().unwrap();
    for (i, form) in forms.iter().enumerate() {
        let path = folder.path().join(format!("{i}.json"));
        let input = format!("{{\"q\":\"{form}\"}}");
        let script = Script::new()
            .reply(ScriptedReply::new().tool_use("t1", "who", "{}"))
            .reply(ScriptedReply::text(&input));
        let cassette = Cassette::at(&path).mode(CassetteMode::Record).hide(NAME).start().unwrap();
        let scripted = toolrunner_std::testing::ScriptedServer::new(
            toolrunner_core::testing::ScriptedModel::new(script).style(style(i % 2 == 0)),
        );
        let inner = HttpTransport::from_dyn(scripted);
        let client = builder().transport(cassette.transport(inner)).build().unwrap();
        client.run("m").tools(who).user(&input).until_done().await.unwrap();
        cassette.finish().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let hidden = text.matches("[hidden]").count();
        assert!(hidden >= 3, "{form}: {text}");
        for part in ["Zo", "1f600", "d83d", "D83D", "00eb", "00EB"] {
            assert!(!text.contains(part), "{part} of {form}: {text}");
        }
        // The text around it stays JSON.
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        assert!(text.contains(r#"{\"q\":\"[hidden]\"}"#), "{text}");
    }
    // What only looks like it stays.
    let path = folder.path().join("other.json");
    let cassette = Cassette::at(&path).mode(CassetteMode::Record).hide("ab/c").start().unwrap();
    let inner =
        HttpTransport::from_dyn(common::scripted(Script::new().reply(ScriptedReply::text("Yes."))));
    let client = builder().transport(cassette.transport(inner)).build().unwrap();
    let prompt = r"ab\c ab\\u002 ab\u0030c \ab ab\";
    client.run("m").user(prompt).until_done().await.unwrap();
    let requests = cassette.requests();
    let sent: serde_json::Value = serde_json::from_slice(&requests[0].body).unwrap();
    assert_eq!(sent["messages"][0]["content"], prompt);
    cassette.finish().unwrap();
}

/// A stream whose format is not that of the API cannot be rewritten.
#[tokio::test]
async fn a_secret_that_cannot_be_removed_is_not_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.json");
    let delta = |text: &str| {
        format!(
            "data: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{{\"type\":\"text_delta\",\"text\":\"{text}\"}}}}\r\n\r\n"
        )
    };
    let (start, end) = MAIL.split_at(5);
    let body = format!(": odd\r\n{}{}", delta(start), delta(end));
    let script = Script::new().answer(Answer::chunks(200, vec![Chunk::Data(body.into_bytes())]));
    let cassette = record(&path).start().unwrap();
    let inner = HttpTransport::from_dyn(common::scripted(script));
    let client = builder().max_retries(0).transport(cassette.transport(inner)).build().unwrap();
    let _ = client.run("m").user("Who?").until_done().await;
    let error = cassette.finish().unwrap_err();
    assert!(matches!(error, CassetteError::Secret(_, 1)), "{error}");
    assert_clean(&error.to_string());
    assert!(!path.exists());
}

/// Exchanges an identity for a token, and then answers.
struct WithIdentity(toolrunner_std::testing::ScriptedServer);

impl DynTransport for WithIdentity {
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a> {
        if !head.path.contains("oauth") {
            return self.0.send(head, body);
        }
        let json = format!(r#"{{"access_token":"{KEY}","token_type":"Bearer","expires_in":3600}}"#);
        let body = HttpBody::from_pieces([json]);
        Box::pin(core::future::ready(Ok(CoreReply { head: ReplyHead::new(200), body })))
    }
}

#[tokio::test]
async fn the_exchange_of_an_identity_is_not_recorded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("identity.json");
    for mode in [CassetteMode::Record, CassetteMode::Replay] {
        let cassette = Cassette::at(&path).mode(mode).start().unwrap();
        let script = Script::new().reply(ScriptedReply::text(&format!("Hello, {KEY}.")));
        let inner = HttpTransport::from_dyn(WithIdentity(common::scripted(script)));
        let identity =
            WorkloadIdentity::new("org", "rule", IdentityToken::Text("a.b.c-assertion".into()));
        let client = Client::builder()
            .base_url("https://api.example.org")
            .workload_identity(identity)
            .transport(cassette.transport(inner))
            .build()
            .unwrap();
        client.run("m").user("Hello").until_done().await.unwrap();
        drop(client);
        cassette.finish().unwrap();
    }
    let text = fs::read_to_string(&path).unwrap();
    assert_clean(&text);
    assert!(!text.contains("assertion") && !text.contains("/oauth/"), "{text}");
    assert_eq!(text.matches("\"request\"").count(), 1);
}
