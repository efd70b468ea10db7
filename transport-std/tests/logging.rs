//! The contents of the log: one record for each tool that fails, and no line that is forged by
//! others.

mod common;

use core::time::Duration;
use std::io::{Result as IoResult, Write};
use std::sync::{Arc, Mutex};

use common::{busy, client_of, fun, scripted};
use toolrunner_core::testing::{Answer, Script, ScriptedReply, VirtualClock};
use toolrunner_std::http::Proxies;
use toolrunner_std::{Client, ClientBuilder, Error, Event, RetryPolicy, ToolError, tool};
use tracing::Instrument;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> IoResult<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> IoResult<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[derive(Debug)]
struct Outer(std::io::Error);

impl core::fmt::Display for Outer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("no weather")
    }
}

impl core::error::Error for Outer {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[tokio::test]
async fn one_record_for_each_tool_that_fails() {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let chain = fun("chain", |_| Err(Outer(std::io::Error::other("cable cut")).into()));
    let panics = fun("panics", |_| panic!("index 7"));
    let own = fun("own", |_| Err(ToolError::new("not on Sundays")));
    let fine = fun("fine", |_| Ok("ok".to_owned()));
    let (mut late, over) = busy("late");
    late.shape = |definition| definition.blocking().timeout(Duration::from_millis(20));
    let names = ["chain", "panics", "own", "fine", "late"];
    let reply = names.iter().enumerate().fold(ScriptedReply::new(), |reply, (i, name)| {
        reply.tool_use(&format!("t{i}"), name, "{}")
    });
    let scripted = scripted(Script::new().reply(reply).reply(ScriptedReply::text("ok")));
    let mut run = scripted.client().run("m").tools((chain, panics, own, fine, late)).user("Go.");
    run.until_done().await.unwrap();
    drop(over);
    let log = log.text();
    let lines: Vec<&str> = log
        .lines()
        .filter_map(|line| {
            Some(line.split_once(" ERROR ").or_else(|| line.split_once(" WARN "))?.1)
        })
        .collect();
    let mut lines: Vec<String> = lines
        .into_iter()
        .map(|line| line.split(" backtrace=").next().unwrap().to_owned())
        .collect();
    lines.sort_unstable();
    let (id, jobs) = (run.id(), "toolrunner_std::run::concurrent");
    let expected = [
        ("chain", 0, "tool failed: Error: no weather: cable cut"),
        ("panics", 1, "tool panicked: index 7"),
        ("own", 2, "the tool answered with an error: not on Sundays"),
        ("late", 4, "tool timed out after 20ms"),
    ];
    let mut expected = expected
        .map(|(tool, i, text)| format!("call{{run={id} tool={tool} call=t{i}}}: {jobs}: {text}"));
    expected.sort_unstable();
    assert_eq!(lines, expected, "{log}");
    assert_eq!(log.matches(" ERROR ").count(), 3, "a refusal is not an error: {log}");
    assert_eq!(log.matches("INFO").count(), 2, "one for each turn: {log}");
}

/// Captures everything that this crate logs on this thread.
fn log_of(run: impl FnOnce(&Log)) -> String {
    let log = Log::default();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(log.clone())
        .with_ansi(false)
        .with_max_level(tracing::Level::TRACE)
        .finish();
    tracing::subscriber::with_default(subscriber, || run(&log));
    log.text()
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Text that would start a log line or control a terminal, for every place that others write.
const EVIL: &str = "x\n2026-11-28T00:00:00Z  INFO forged: key accepted\r\u{1b}[31m\u{9b}31m\u{85}\u{2028}\u{2029}\u{202e}";

#[test]
fn nobody_elses_text_starts_a_line_or_reaches_the_terminal() {
    let log = log_of(|log| {
        block_on(async {
            let json = serde_json::to_string(EVIL).unwrap();
            let call = |id: &str, name: &str, input: &str| {
                format!(r#"{{"type":"tool_use","id":{id},"name":{name},"input":{input}}}"#)
            };
            let reply = ScriptedReply::new()
                .block(&call(&json, &json, "{}")) // unknown tool
                .block(&call(r#""t2""#, r#""refuses""#, "{}"))
                .block(&call(r#""t3""#, r#""panics""#, "{}"))
                .block(&call(r#""t4""#, r#""fails""#, "{}"))
                .block(&call(&json.replace('x', "y"), r#""panics""#, "{}"))
                .block(&call(&json.replace('x', "z"), r#""refuses""#, "7"));
            let tools = (
                fun("refuses", |_| Err(ToolError::text(EVIL))),
                fun("panics", |_| panic!("{EVIL}")),
                fun("fails", |_| Err(std::io::Error::other(EVIL).into())),
            );
            let script = Script::new()
                .error(529, EVIL, EVIL)
                .header("retry-after-ms", "1")
                .reply(reply)
                .error(400, EVIL, EVIL);
            let scripted = scripted(script);
            let hook = std::panic::take_hook();
            std::panic::set_hook(Box::new(|_| {}));
            let mut run = scripted.client().run("m").tools(tools).user("Go.");
            let error = run.until_done().await.unwrap_err();
            std::panic::set_hook(hook);
            for text in
                [error.to_string(), format!("{error:?}"), format!("{error:#?}").replace('\n', "")]
            {
                writeln!(log.clone(), "2026 ERROR run={} {text}", run.id()).unwrap();
            }
        });
    });
    assert!(log.matches("forged").count() >= 10, "every text is in the log: {log}");
    for line in log.lines() {
        assert!(
            line.starts_with("2026") && !line.contains("INFO forged: key accepted\r"),
            "a line of somebody else: {line:?}"
        );
        assert!(
            !line.contains(|c: char| c.is_control() || "\u{2028}\u{2029}\u{202e}".contains(c)),
            "{line:?}"
        );
    }
}

#[test]
fn every_line_of_a_run_names_it_and_the_callers_span_stays() {
    let log = log_of(|_| {
        block_on(async {
            let logs = fun("logs", |_| {
                tracing::info!("a tool's own line");
                Ok("ok".to_owned())
            });
            let reply = |n: usize| {
                ScriptedReply::new().tool_use(&format!("a{n}"), "logs", "{}").tool_use(
                    &format!("b{n}"),
                    "none",
                    "{}",
                )
            };
            let run = || {
                let script = (0..2).fold(Script::new(), |script, n| {
                    script
                        .error(529, "overloaded_error", "x")
                        .header("retry-after-ms", "1")
                        .reply(reply(n))
                });
                let (client, _) = client_of(script.reply(ScriptedReply::text("ok")));
                client.run("m").retry_policy(RetryPolicy::DEFAULT).tools(logs.clone()).user("Go.")
            };
            let (mut one, mut two) = (run(), run());
            assert_ne!(one.id(), two.id());
            let agent = |session| tracing::info_span!("agent", session);
            let (first, second) = (one.id(), two.id());
            let (one, two) = tokio::join!(
                one.until_done().instrument(agent(first)),
                two.until_done().instrument(agent(second))
            );
            one.unwrap();
            two.unwrap();
        });
    });
    let is_ours = |line: &&str| {
        (line.contains("toolrunner_std") || line.contains("own line"))
            && !line.contains("connection ended")
    };
    let lines: Vec<&str> = log.lines().filter(is_ours).collect();
    for (text, times) in [
        ("links: request ", 10),
        ("links: reply ", 10),
        ("own line", 4),
        ("tool not found", 4),
        ("is sent again", 4),
    ] {
        assert_eq!(
            lines.iter().filter(|line| line.contains(text)).count(),
            times,
            "{text} in {log}"
        );
    }
    for line in lines {
        let after = |text: &str| {
            let (_, rest) = line.split_once(text).unwrap_or_else(|| panic!("no {text} in {line}"));
            rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().to_owned()
        };
        assert_eq!(after("agent{session="), after("run="), "{line}");
    }
}

/// A blocking tool logs on another thread.
#[tool(blocking)]
fn blocks() -> &'static str {
    tracing::info!("from the pool");
    "ok"
}

#[test]
fn a_blocking_tool_keeps_the_callers_span() {
    for in_tokio in [true, false] {
        let log = log_of(|_| {
            let run = async {
                let scripted = scripted(
                    Script::new()
                        .reply(ScriptedReply::new().tool_use("t1", "blocks", "{}"))
                        .reply(ScriptedReply::text("ok")),
                );
                let mut run = scripted.client().run("m").tools(blocks).user("Go.");
                run.until_done()
                    .instrument(tracing::info_span!("agent", session = 7))
                    .await
                    .unwrap();
            };
            if in_tokio { block_on(run) } else { smol::block_on(run) }
        });
        let line = log
            .lines()
            .find(|line| line.contains("from the pool"))
            .unwrap_or_else(|| panic!("{log}"));
        assert!(
            line.contains("agent{session=7}:call{run=") && line.contains("tool=blocks call=t1}"),
            "{line}"
        );
    }
}

#[tokio::test]
async fn a_retry_says_why() {
    let script = Script::new()
        .error(529, "overloaded_error", "Too many \"users\"\non C:\\temp")
        .header("retry-after-ms", "1")
        .answer(Answer::raw(503, "<html>down").header("retry-after-ms", "1"))
        .reply(ScriptedReply::text("ok"));
    let scripted = scripted(script);
    let mut run = scripted.client().run("m").user("Go.");
    let mut told = Vec::new();
    while let Some(event) = run.next_event().await.unwrap() {
        if let Event::Retry { message, request_id, .. } = event {
            told.push((message.to_string(), request_id.to_string()));
        }
    }
    let [first, second] = told.try_into().unwrap();
    assert_eq!(
        first,
        ("Too many \"users\"\non C:\\temp".to_owned(), "req_scripted_0001".to_owned())
    );
    assert_eq!(second, ("<html>down".to_owned(), "req_scripted_0002".to_owned()));
}

#[test]
fn a_retry_says_why_there_was_no_connection() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let log = log_of(|_| {
        block_on(async {
            let client = Client::builder()
                .base_url(&url)
                .proxies(Proxies::none())
                .max_retries(1)
                .build()
                .unwrap();
            let mut run = client.run("m").clock(Arc::new(VirtualClock::new(1))).user("Go.");
            let mut told = String::new();
            let error = loop {
                match run.next_event().await {
                    Ok(Some(Event::Retry { message, .. })) => told = message.to_string(),
                    Ok(_) => {}
                    Err(error) => break error,
                }
            };
            assert!(
                told.starts_with(&format!("could not connect to {url}: Connection refused")),
                "{told}"
            );
            assert_eq!(error.to_string(), told);
        });
    });
    let line = log.lines().find(|line| line.contains("is sent again")).unwrap();
    assert!(line.contains(&format!("could not connect to {url}: Connection refused")), "{line}");
}

/// What `main` prints for an error that it returns.
#[tokio::test]
async fn debug_of_an_error_shows_its_message() {
    let setup = ClientBuilder::new().build().unwrap_err();
    assert_eq!(format!("{setup:?}"), setup.to_string());
    let setup = Error::from(setup);
    assert_eq!(format!("{setup:?}"), setup.to_string());
    assert!(setup.to_string().starts_with("no API key: set ANTHROPIC_API_KEY"));
    let scripted = scripted(Script::new().error(401, "authentication_error", "invalid x-api-key"));
    let api = scripted.client().run("m").user("Go.").until_done().await.unwrap_err();
    assert_eq!(
        format!("{api:?}"),
        "API error: authentication_error (status 401): invalid x-api-key [request id req_scripted_0001]"
    );
    assert!(format!("{api:#?}").contains("Authentication"), "{api:#?}");
    let proxy = Proxies::url("nonsense://x").unwrap_err();
    assert_eq!(format!("{proxy:?}"), proxy.to_string());
}
