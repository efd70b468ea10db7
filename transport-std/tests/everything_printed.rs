//! No key appears in anything that a run prints: the trace-level log of every crate, every `Debug`,
//! every error, and the message of a tool's panic; over real HTTP, with a key and with a bearer
//! token.

mod captured;
mod common;

use std::io::Write;

use captured::Log;
use common::{fun, serve};
use toolrunner_core::testing::{Answer, Script, ScriptedModel, ScriptedReply};
use toolrunner_std::http::Proxies;
use toolrunner_std::{Client, ClientBuilder, Secret};

const KEY: &str = "sk-hush-0123456789";

/// Adds printed text to the captured log.
fn add(log: &Log, text: impl core::fmt::Display) {
    writeln!(log.clone(), "{text}").unwrap();
}

#[tokio::test]
async fn nothing_that_is_printed_holds_a_key() {
    let log = Log::of_everything();
    let panics = log.clone();
    std::panic::set_hook(Box::new(move |info| add(&panics, info)));

    let with_key = |builder: ClientBuilder| builder.api_key(KEY);
    let with_token = |builder: ClientBuilder| builder.auth_token(KEY);
    let with_header =
        |builder: ClientBuilder| builder.api_key("other").secret_header("x-gateway-key", KEY);
    for with in [&with_key as &dyn Fn(ClientBuilder) -> ClientBuilder, &with_token, &with_header] {
        let script = Script::new()
            .error(529, "overloaded_error", "Overloaded")
            .header("retry-after-ms", "1")
            .reply(
                ScriptedReply::text("Let me see.")
                    .tool_use("t1", "panics", "{}")
                    .tool_use("t2", "plain", "{}"),
            )
            .reply(ScriptedReply::text("Done."))
            .answer(Answer::error(401, "authentication_error", "invalid x-api-key"))
            .answer(Answer::raw(200, "<html>").header("content-type", "text/html"))
            .answer(Answer::raw(307, "").header("location", "http://127.0.0.1:9/elsewhere"));
        let (address, model) = serve(ScriptedModel::new(script));
        let builder =
            with(Client::builder().base_url(format!("http://{address}")).proxies(Proxies::none()));
        add(&log, format!("{builder:?}"));
        let client = builder.build().unwrap();
        let tools = (fun("panics", |_| panic!("index 7")), fun("plain", |_| Ok("ok".to_owned())));
        let begun = client.run("m").tools(tools);
        add(&log, format!("{begun:?}"));
        let mut run = begun.user("Go.");
        while let Some(event) = run.next_event().await.unwrap() {
            add(&log, format!("{event:?}"));
        }
        add(&log, run.snapshot().unwrap());
        for _ in 0..3 {
            let error = run.user("More.").unwrap().until_done().await.unwrap_err();
            add(&log, format!("{error} {error:?}"));
        }
        add(
            &log,
            format!(
                "{client:?} {:?} {:?} {run:?} {:?}",
                client.settings(),
                client.settings().transport(),
                run.machine()
            ),
        );
        // The key was sent, and only where it was meant to be.
        let sent = format!("{:?}", model.lock().unwrap().requests());
        assert_eq!(sent.matches(KEY).count(), 6, "{sent}");
    }
    add(&log, format!("{:?}", Secret::from(KEY)));
    // A key that no header can carry.
    let failed = Client::builder()
        .base_url("http://127.0.0.1:9")
        .api_key(format!("{KEY}\n"))
        .build()
        .unwrap_err();
    add(&log, format!("{failed} {failed:?}"));
    let _ = std::panic::take_hook();

    let log = log.text();
    for part in ["hyper", "toolrunner_std", "TRACE", "index 7", "authentication_error"] {
        assert!(log.contains(part), "{part} is not in the log, so it is not a log of everything");
    }
    let lines: Vec<&str> = log.lines().filter(|line| line.contains("hush")).collect();
    assert!(lines.is_empty(), "{lines:#?}");
}
