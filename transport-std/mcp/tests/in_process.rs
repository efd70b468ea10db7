//! Against a server in this process, which can do what a well-behaved one does not.

#[path = "../../tests/call/mod.rs"]
#[expect(dead_code, reason = "shared with toolrunner-std")]
mod call;

use core::time::Duration;

use call::called;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream};
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_core::tool::Tools;
use toolrunner_mcp::{McpBuilder, McpError, McpServer, McpTools};
use toolrunner_std::testing::ScriptedServer;

/// What the server does with a request other than `initialize`.
enum Answer {
    Result(Value),
    Error(Value),
    Nothing,
    /// Ends the connection.
    End,
}

/// Starts a server whose answers `answer` gives. It passes on what it receives.
fn serve(
    answer: impl Fn(&str, &Value) -> Answer + Send + 'static,
) -> (DuplexStream, tokio::sync::mpsc::UnboundedReceiver<Value>) {
    let (client, server) = tokio::io::duplex(1 << 16);
    let (received, inbox) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (read, mut write) = tokio::io::split(server);
        let mut lines = BufReader::new(read).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let message: Value = serde_json::from_str(&line).unwrap();
            let _ = received.send(message.clone());
            let Some(id) = message.get("id") else { continue };
            let method = message["method"].as_str().unwrap_or_default();
            let answer = if method == "initialize" {
                Answer::Result(json!({
                    "protocolVersion": message["params"]["protocolVersion"],
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": "test", "version": "1"},
                }))
            } else {
                answer(method, &message["params"])
            };
            let reply = match answer {
                Answer::Result(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
                Answer::Error(error) => json!({"jsonrpc": "2.0", "id": id, "error": error}),
                Answer::Nothing => continue,
                Answer::End => return,
            };
            let _ = write.write_all(format!("{reply}\n").as_bytes()).await;
        }
    });
    (client, inbox)
}

fn tool(name: &str, schema: &Value) -> Value {
    json!({"name": name, "inputSchema": schema})
}

fn lists(tools: Value) -> impl Fn(&str, &Value) -> Answer + Send + 'static {
    move |method, params| match method {
        "tools/list" => Answer::Result(json!({"tools": tools})),
        _ => Answer::Result(json!({"content": [{"type": "text", "text": params["name"]}]})),
    }
}

async fn connect(builder: McpBuilder, stream: DuplexStream) -> McpServer {
    builder.transport(tokio::io::split(stream)).await.unwrap()
}

async fn tools_of(builder: McpBuilder, tools: Value) -> McpTools {
    let (stream, _inbox) = serve(lists(tools));
    let server = connect(builder, stream).await;
    let tools = server.tools().await.unwrap();
    // The tools keep the connection.
    drop(server);
    tools
}

#[tokio::test]
async fn tools_that_the_api_would_refuse_are_left_out_with_a_reason() {
    let object = json!({"type": "object"});
    let listed = json!([
        tool("good", &object),
        tool("good", &object),
        tool(
            "choice",
            &json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]})
        ),
        tool("list", &json!({"type": "array"})),
        tool("untyped", &json!({"properties": {}})),
        tool("späße/1", &object),
        tool("späße.1", &object),
        tool("", &object),
        tool(&"x".repeat(200), &object),
    ]);
    let tools = tools_of(McpServer::builder("s"), listed).await;
    let left_out: Vec<_> = tools.left_out().iter().map(ToString::to_string).collect();
    assert_eq!(left_out.len(), 4, "{left_out:?}");
    assert_eq!(
        left_out[0],
        "the MCP tool \"good\" is left out: the server lists another tool of this name"
    );
    assert!(left_out[1].starts_with("the MCP tool \"choice\" is left out: its input schema "));
    assert_eq!(
        left_out[2],
        "the MCP tool \"list\" is left out: its input schema must have the type object"
    );
    assert_eq!(
        left_out[3],
        "the MCP tool \"untyped\" is left out: its input schema must have the type object"
    );
    let names: Vec<_> = tools.names().collect();
    assert_eq!(names.len(), 5);
    assert!(
        names.iter().all(|name| name.len() <= 128
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))),
        "{names:?}"
    );
    assert!(
        names[1].starts_with("sp__e_1_")
            && names[2].starts_with("sp__e_1_")
            && names[1] != names[2]
    );
    // A run accepts what is left, and a call has the server's name for the tool.
    let script = Script::new()
        .reply(ScriptedReply::new().tool_use("t1", names[1], "{}"))
        .reply(ScriptedReply::text("Done."));
    let scripted = ScriptedServer::new(ScriptedModel::new(script));
    let mut run = scripted.client().run("m").tools(tools.clone()).user("Go.");
    run.until_done().await.unwrap();
    let body = String::from_utf8(scripted.requests()[1].body.clone()).unwrap();
    assert!(body.contains(r#"[{"type":"text","text":"späße/1"}]"#), "{body}");
}

#[tokio::test]
async fn a_prefix_keeps_servers_apart_and_tools_can_be_chosen() {
    let listed = json!([
        tool("read", &json!({"type": "object"})),
        tool("write", &json!({"type": "object"}))
    ]);
    let one = tools_of(McpServer::builder("a").prefix("a_"), listed.clone()).await;
    let two = tools_of(McpServer::builder("b").prefix("b_").requires_approval(), listed).await;
    assert!(
        two.definition(0).unwrap().requires_approval
            && !one.definition(0).unwrap().requires_approval
    );
    let one = one.retain(|name| name == "a_read");
    assert_eq!(one.names().collect::<Vec<_>>(), ["a_read"]);
    let scripted =
        ScriptedServer::new(ScriptedModel::new(Script::new().reply(ScriptedReply::text("Done."))));
    let mut run = scripted.client().run("m").tools((one, two)).user("Go.");
    run.until_done().await.unwrap();
    let names: Vec<_> = ["a_read", "a_write", "b_read", "b_write"]
        .map(|name| scripted.requests()[0].has_tool(name))
        .into();
    assert_eq!(names, [true, false, true, true]);
}

#[tokio::test]
async fn contents_that_the_api_would_refuse_become_notes() {
    let contents = json!([
        {"type": "image", "data": "not base64!", "mimeType": "image/png"},
        {"type": "image", "data": "", "mimeType": "image/png"},
        {"type": "text", "text": ""},
        {"type": "resource", "resource": {"uri": "u:1", "blob": "/w==", "mimeType": "text/plain"}},
        {"type": "resource", "resource": {"uri": "u:2", "text": "<svg/>", "mimeType": "image/png"}},
    ]);
    let answer = move |method: &str, _: &Value| match method {
        "tools/list" => Answer::Result(json!({"tools": [tool("t", &json!({"type": "object"}))]})),
        _ => Answer::Result(json!({"content": contents})),
    };
    let (stream, _inbox) = serve(answer);
    let server = connect(McpServer::builder("s"), stream).await;
    let text = called(&server.tools().await.unwrap(), "t", "{}").await.unwrap();
    assert_eq!(
        text,
        r#"[{"type":"text","text":"[an image (image/png, 8 bytes) cannot be shown]"},{"type":"text","text":"[an image (image/png, 0 bytes) cannot be shown]"},{"type":"text","text":"[the resource u:1 (text/plain, 1 bytes) cannot be shown]"},{"type":"text","text":"<svg/>"}]"#
    );
}

#[tokio::test]
async fn a_server_that_is_silent_or_ends_is_reported_and_told() {
    let answer = |method: &str, params: &Value| match (method, params["name"].as_str()) {
        ("tools/list", _) => {
            let object = json!({"type": "object"});
            Answer::Result(
                json!({"tools": [tool("silent", &object), tool("end", &object), tool("wrong", &object)]}),
            )
        }
        (_, Some("silent")) => Answer::Nothing,
        (_, Some("wrong")) => Answer::Error(json!({"code": -32602, "message": "no such tool"})),
        _ => Answer::End,
    };
    let (stream, mut inbox) = serve(answer);
    let server = connect(McpServer::builder("s").timeout(Duration::from_millis(200)), stream).await;
    let tools = server.tools().await.unwrap();
    let text = called(&tools, "silent", "{}").await.unwrap_err();
    assert_eq!(
        text,
        "Error: the MCP server 's' did not answer within 0.2 s; the call was cancelled"
    );
    let cancelled = tokio::time::timeout(Duration::from_secs(10), async {
        let mut call = Value::Null;
        loop {
            let message = inbox.recv().await.unwrap();
            match message["method"].as_str() {
                Some("tools/call") => call = message["id"].clone(),
                Some("notifications/cancelled") => {
                    return (call, message["params"]["requestId"].clone());
                }
                _ => {}
            }
        }
    });
    let (call, request) = cancelled.await.unwrap();
    assert_eq!(call, request);
    assert_eq!(
        called(&tools, "wrong", "{}").await.unwrap_err(),
        "Error: no such tool (MCP error -32602)"
    );
    let text = "Error: the MCP server 's' has ended; its tools are not available";
    assert_eq!(called(&tools, "end", "{}").await.unwrap_err(), text);
    assert_eq!(called(&tools, "wrong", "{}").await.unwrap_err(), text);
    assert!(matches!(server.tools().await, Err(McpError::Closed(_))));
}

#[tokio::test]
async fn a_server_that_does_not_answer_the_connection_is_an_error() {
    let (client, _server) = tokio::io::duplex(1024);
    let builder = McpServer::builder("s").connect_timeout(Duration::from_millis(100));
    let error = builder.transport(tokio::io::split(client)).await.unwrap_err();
    assert_eq!(error.to_string(), "the MCP server did not answer within 0.1 s");
    let (client, server) = tokio::io::duplex(1024);
    drop(server);
    let error = McpServer::builder("s").transport(tokio::io::split(client)).await.unwrap_err();
    assert!(matches!(error, McpError::Closed(_)), "{error:?}");
}
