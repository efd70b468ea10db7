//! Against the official Python SDK in a child process, over stdio and over streamable HTTP.
//!
//! `MCP_PYTHON` names a Python with the package `mcp` 2 (and `uvicorn`): `tests/ci.sh mcp` installs
//! one and runs these tests, which are ignored otherwise.

#[path = "../../tests/call/mod.rs"]
#[expect(dead_code, reason = "shared with toolrunner-std")]
mod call;

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Instant;

use call::called;
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_mcp::{McpBuilder, McpError, McpServer, McpTools};
use toolrunner_std::testing::ScriptedServer;

const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

fn python() -> String {
    std::env::var("MCP_PYTHON").expect("MCP_PYTHON must name a Python with the package mcp")
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/server.py")
}

async fn over_stdio(builder: McpBuilder) -> McpServer {
    builder.stdio(python(), [script().as_os_str(), "stdio".as_ref()]).await.unwrap()
}

/// A server over HTTP. It is killed when this is dropped.
struct HttpServer {
    child: Child,
    port_file: PathBuf,
    url: String,
}

impl HttpServer {
    fn start() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("toolrunner-mcp-{}-{count}", std::process::id());
        Self::at(std::env::temp_dir().join(name))
    }

    /// Starts at the port in this file, if it exists.
    fn at(port_file: PathBuf) -> Self {
        let again = port_file.exists();
        let child =
            Command::new(python()).arg(script()).arg("http").arg(&port_file).spawn().unwrap();
        let patience = Instant::now();
        let port = loop {
            if let Ok(port) = std::fs::read_to_string(&port_file)
                && (!again || std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_ok())
            {
                break port;
            }
            assert!(patience.elapsed() < Duration::from_secs(30), "the server did not start");
            std::thread::sleep(Duration::from_millis(50));
        };
        let url = format!("http://127.0.0.1:{port}/mcp");
        Self { child, port_file, url }
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.port_file);
    }
}

async fn over_http(builder: McpBuilder, server: &HttpServer) -> McpServer {
    builder.bearer("right").http(&server.url).await.unwrap()
}

fn ok(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn failed(text: &str) -> Result<String, String> {
    Err(text.to_owned())
}

/// What is the same over both transports.
async fn check_tools(tools: &McpTools) {
    let names: Vec<_> = tools.names().collect();
    assert_eq!(
        names,
        [
            "add",
            "image",
            "resources",
            "odd",
            "fail",
            "structured",
            "both",
            "empty",
            "refuse",
            "slow",
            "cancelled",
            "environment",
            "grow",
            "die",
            "dotted_name_4c738d92",
            "folded"
        ]
    );
    let [left_out] = tools.left_out() else { panic!("{tools:?}") };
    assert_eq!(left_out.name, "refused");
    assert!(left_out.reason.starts_with("its input schema "), "{left_out}");

    assert_eq!(
        called(tools, "add", r#"{"a":15,"b":27}"#).await,
        ok(r#"[{"type":"text","text":"42"}]"#)
    );
    let invalid = called(tools, "add", r#"{"a":"x","b":27}"#).await.unwrap_err();
    assert!(invalid.contains("a: expected integer"), "{invalid}");
    assert_eq!(
        called(tools, "image", "{}").await,
        ok(&format!(
            r#"[{{"type":"text","text":"a pixel"}},{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{PIXEL}"}}}}]"#
        ))
    );
    let text = |data: &str| {
        format!(
            r#"{{"type":"document","source":{{"type":"text","media_type":"text/plain","data":"{data}"}}}}"#
        )
    };
    let pdf = r#"{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"JVBERi0xLjQ="}}"#;
    let image = format!(
        r#"{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{PIXEL}"}}}}"#
    );
    assert_eq!(
        called(tools, "resources", "{}").await,
        ok(&format!("[{},{},{pdf},{image},{}]", text("plain"), text("untyped"), text("bytes")))
    );
    let odd = called(tools, "odd", "{}").await.unwrap();
    for note in [
        "[a recording (audio/wav, 6 bytes) cannot be shown]",
        r"Resource notes: file:///notes.md\nMy notes",
        "[the resource file:///r (application/zip, 3 bytes) cannot be shown]",
        "[an image (image/svg+xml, 6 bytes) cannot be shown]",
    ] {
        assert!(odd.contains(note), "{odd}");
    }
    assert_eq!(
        called(tools, "fail", "{}").await,
        failed("disk full\n[an image (image/png, 70 bytes) cannot be shown]")
    );
    assert_eq!(called(tools, "structured", "{}").await, ok(r#"{"celsius":21.5}"#));
    assert_eq!(called(tools, "both", "{}").await, ok(r#"[{"type":"text","text":"21.5 degrees"}]"#));
    assert_eq!(called(tools, "empty", "{}").await, ok("(no output)"));
    let refused = called(tools, "refuse", "{}").await.unwrap_err();
    assert!(refused.starts_with("Error: ") && refused.contains("(MCP error "), "{refused}");
    assert_eq!(
        called(tools, "dotted_name_4c738d92", "{}").await,
        ok(r#"[{"type":"text","text":"dotted.name"}]"#)
    );
    // The original schema counts, not the one that the API receives.
    assert!(called(tools, "folded", r#"{"a":"x"}"#).await.is_ok());
    assert!(called(tools, "folded", r#"{"a":1}"#).await.is_err());
}

/// Waits until the server has cancelled a slow call.
async fn check_cancelled(tools: &McpTools) {
    for _ in 0..100 {
        if called(tools, "cancelled", "{}").await == ok(r#"[{"type":"text","text":"slow"}]"#) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the server did not learn that the call was cancelled");
}

#[tokio::test]
#[ignore = "needs MCP_PYTHON"]
async fn tools_over_stdio() {
    let server = over_stdio(McpServer::builder("test")).await;
    check_tools(&server.tools().await.unwrap()).await;
    assert!(!server.is_closed());
    server.close().await;
    assert!(server.is_closed());
}

#[tokio::test]
#[ignore = "needs MCP_PYTHON"]
async fn tools_over_http() {
    let http = HttpServer::start();
    let server = over_http(McpServer::builder("test"), &http).await;
    check_tools(&server.tools().await.unwrap()).await;
    server.close().await;
}

#[tokio::test]
#[ignore = "needs MCP_PYTHON"]
async fn a_late_or_dropped_call_is_cancelled_on_the_server() {
    let http = HttpServer::start();
    let builder = || McpServer::builder("test").timeout(Duration::from_millis(1500));
    for server in [over_stdio(builder()).await, over_http(builder(), &http).await] {
        let tools = server.tools().await.unwrap();
        assert_eq!(
            called(&tools, "slow", "{}").await,
            failed(
                "Error: the MCP server 'test' did not answer within 1.5 s; the call was cancelled"
            )
        );
        check_cancelled(&tools).await;
        server.close().await;
    }
    // A run that is cancelled drops the call.
    let server = over_stdio(McpServer::builder("test")).await;
    let tools = server.tools().await.unwrap();
    let script = Script::new().reply(ScriptedReply::new().tool_use("t1", "slow", "{}"));
    let scripted = ScriptedServer::new(ScriptedModel::new(script));
    let mut run = scripted.client().run("m").tools(tools.clone()).user("Go.");
    let cancellation = run.cancellation();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cancellation.cancel();
    });
    let _ = run.until_done().await;
    check_cancelled(&tools).await;
    server.close().await;
}

#[tokio::test]
#[ignore = "needs MCP_PYTHON"]
async fn the_next_request_has_the_changed_list() {
    let http = HttpServer::start();
    for server in [
        over_stdio(McpServer::builder("test").prefix("my_")).await,
        over_http(McpServer::builder("test").prefix("my_"), &http).await,
    ] {
        let script = Script::new()
            .reply(ScriptedReply::new().tool_use("t1", "my_grow", "{}"))
            .reply(ScriptedReply::new().tool_use("t2", "my_new", "{}"))
            .reply(ScriptedReply::text("Done."));
        let scripted = ScriptedServer::new(ScriptedModel::new(script));
        let mut run = scripted.client().run("m").tools(server.tools().await.unwrap()).user("Go.");
        assert!(!server.take_change());
        let mut turns = 0;
        while let Some(mut turn) = run.next_turn().await.unwrap() {
            turn.results().await.unwrap();
            turns += 1;
            if turns == 1 {
                // Over HTTP the announcement has a stream of its own, and may come after the
                // result.
                let patience = Duration::from_secs(10);
                tokio::time::timeout(patience, server.changed()).await.unwrap();
            }
            if server.take_change() {
                run.set_tools(server.tools().await.unwrap()).unwrap();
            }
        }
        let requests = scripted.requests();
        assert!(!requests[0].has_tool("my_new"));
        assert!(requests[1].has_tool("my_new") && requests.len() == 3);
        let last = String::from_utf8(requests[2].body.clone()).unwrap();
        assert!(last.contains(r#"[{"type":"text","text":"new"}]"#), "{last}");
        server.close().await;
    }
}

#[tokio::test]
#[ignore = "needs MCP_PYTHON"]
async fn a_dead_child_fails_its_calls_and_says_so() {
    let server = over_stdio(McpServer::builder("test")).await;
    let tools = server.tools().await.unwrap();
    let text = "Error: the MCP server 'test' has ended; its tools are not available";
    assert_eq!(called(&tools, "die", "{}").await, failed(text));
    assert_eq!(called(&tools, "add", r#"{"a":1,"b":2}"#).await, failed(text));
    assert!(server.is_closed());
    assert!(matches!(server.tools().await, Err(McpError::Closed(_))));
}

#[tokio::test]
#[ignore = "needs MCP_PYTHON"]
async fn a_dead_http_server_fails_its_calls_and_one_that_returns_answers_again() {
    let mut http = HttpServer::start();
    let server = over_http(McpServer::builder("test"), &http).await;
    let tools = server.tools().await.unwrap();
    http.kill();
    let text = "Error: the MCP server 'test' cannot be reached; its tools are not available now";
    assert_eq!(called(&tools, "add", r#"{"a":1,"b":2}"#).await, failed(text));
    // The same port; the new process does not know the session.
    let path = http.port_file.clone();
    let _again = HttpServer::at(path);
    assert_eq!(
        called(&tools, "add", r#"{"a":1,"b":2}"#).await,
        ok(r#"[{"type":"text","text":"3"}]"#)
    );
}

#[tokio::test]
#[ignore = "needs MCP_PYTHON"]
async fn a_wrong_token_and_a_wrong_url_are_errors_without_a_secret() {
    let http = HttpServer::start();
    for (token, url) in
        [("s3cret", http.url.clone()), ("s3cret", "http://127.0.0.1:1/?key=s3cret".to_owned())]
    {
        let error = McpServer::builder("test").bearer(token).http(&url).await.unwrap_err();
        let text = format!("{error} {error:?}");
        assert!(!text.contains("s3cret"), "{text}");
    }
    let builder = McpServer::builder("test").bearer("s3cret");
    assert!(!format!("{builder:?}").contains("s3cret"));
    assert!(matches!(builder.http("file:///x").await, Err(McpError::Setting(_))));
    let error = McpServer::builder("x").stdio("/no/such/program", ["a"]).await.unwrap_err();
    assert!(matches!(error, McpError::Start(_)), "{error}");
}

#[tokio::test]
#[ignore = "needs MCP_PYTHON"]
async fn a_child_does_not_inherit_credentials() {
    // Cargo sets this for every test.
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some());
    let server = over_stdio(McpServer::builder("test").env("EXTRA", "1")).await;
    let tools = server.tools().await.unwrap();
    let names = called(&tools, "environment", "{}").await.unwrap();
    assert!(names.contains("EXTRA") && names.contains("PATH"), "{names}");
    assert!(!names.contains("CARGO"), "{names}");
    server.close().await;
}
