//! Strict tools and `tool_choice`: what the API would refuse is reported before anything is sent,
//! with the tool and the member.

mod common;

use common::{bodies, echo, scripted};
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_core::tool::DeclaredTool;
use toolrunner_std::{RawTool, tool};

/// Adds.
#[tool(strict)]
fn add(a: i64, note: Option<String>) -> String {
    format!("{a}{note:?}")
}

/// Waits.
#[tool(strict)]
fn wait(#[tool(max = 60)] seconds: u32) -> String {
    seconds.to_string()
}

/// Sets labels.
#[tool(strict)]
fn label(labels: std::collections::BTreeMap<String, String>) -> String {
    format!("{labels:?}")
}

fn strict(properties: &str) -> DeclaredTool {
    DeclaredTool::new(format!(
        r##"{{"name":"f","strict":true,"input_schema":{{"type":"object","additionalProperties":false,"required":["a"],"properties":{properties},"$defs":{{"b":{{"type":"string"}},"r":{{"type":"array","items":{{"$ref":"#/$defs/r"}}}}}}}}}}"##
    ))
    .unwrap()
}

/// Returns the error of a run with this tool, or `None` if its request was sent.
async fn fault(tools: impl toolrunner_core::tool::Tools) -> Option<String> {
    let scripted = scripted(Script::new().reply(ScriptedReply::text("Done.")));
    let mut run = scripted.client().run("m").tools(tools).user("Go.");
    let error = run.until_done().await.err().map(|error| error.to_string());
    assert_eq!(bodies(&scripted).len(), usize::from(error.is_none()));
    error
}

#[tokio::test]
async fn what_strict_mode_refuses_is_reported_with_tool_and_member() {
    for (properties, part) in [
        (r#"{"a":{"type":"integer","minimum":1}}"#, "a has `minimum` (1)"),
        (r#"{"a":{"type":"string","maxLength":9}}"#, "a has `maxLength`"),
        (
            r#"{"a":{"type":"array","items":{"type":"string","format":"regex"}}}"#,
            "a[] has `format`",
        ),
        (
            r#"{"a":{"type":"array","items":{"type":"string"},"minItems":2}}"#,
            "a has `minItems` (2)",
        ),
        (
            r#"{"a":{"type":"object","properties":{"b":{}},"additionalProperties":false}}"#,
            "a.b allows any JSON",
        ),
        (
            r#"{"a":{"type":"object","properties":{"b":{"type":"string"}}}}"#,
            "a must have `\"additionalProperties\":false`",
        ),
        (r#"{"a":{"enum":[{"b":1}]}}"#, "a has `enum`"),
        (r#"{"a":{"oneOf":[{"type":"string"}]}}"#, "a has `oneOf`"),
        (r#"{"a":{"anyOf":[{"type":"string"},{"not":{}}]}}"#, "a has `not`"),
        (r#"{"a":{"$ref":"https://example.com/s"}}"#, "a refers to \"https://example.com/s\""),
        (r##"{"a":{"$ref":"#/$defs/r"}}"##, "a[] is recursive"),
        (r#"{"a":true}"#, "a must be an object"),
    ] {
        let error = fault(strict(properties)).await.expect(properties);
        assert!(error.contains("strict tool \"f\"") && error.contains(part), "{part}: {error}");
    }
}

#[tokio::test]
async fn what_strict_mode_supports_is_sent() {
    for properties in [
        r#"{"a":{"type":"string","format":"date-time","pattern":"^a"}}"#,
        r#"{"a":{"type":["string","null"],"default":"x","title":"A"}}"#,
        r#"{"a":{"type":"array","items":{"enum":["x",1,null]},"minItems":1}}"#,
        r##"{"a":{"$ref":"#/$defs/b"},"c":{"$ref":"#/$defs/b"}}"##,
        r#"{"a":{"anyOf":[{"type":"string"},{"const":5}]}}"#,
    ] {
        assert_eq!(fault(strict(properties)).await, None, "{properties}");
    }
    assert_eq!(fault(add).await, None);
    // Not strict: anything may be sent.
    let loose = DeclaredTool::new(
        r#"{"name":"f","strict":false,"input_schema":{"type":"object","properties":{"a":{"minimum":1}}}}"#,
    );
    assert_eq!(fault(loose.unwrap()).await, None);
}

/// The model reads the bounds in the description, and the input is still checked against them.
#[tokio::test]
async fn bounds_of_a_strict_tool_are_in_its_description() {
    let scripted = scripted(
        Script::new()
            .reply(ScriptedReply::new().tool_use("t1", "wait", r#"{"seconds":61}"#))
            .reply(ScriptedReply::text("Done.")),
    );
    let mut run = scripted.client().run("m").tools((wait, add)).user("Go.");
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    let bodies = bodies(&scripted);
    let schema = r#""seconds":{"type":"integer","description":"{minimum: 0, maximum: 60}"}"#;
    assert!(bodies[0].contains(schema), "{}", bodies[0]);
    // Optional members stay optional.
    assert!(bodies[0].contains(r#""required":["a"]"#), "{}", bodies[0]);
    assert!(bodies[1].contains("seconds: expected"), "{}", bodies[1]);
}

#[tokio::test]
async fn generated_and_raw_tools_are_checked_too() {
    let error = fault(label).await.unwrap();
    assert!(error.contains("strict tool \"label\": labels must have"), "{error}");
    let raw = RawTool::from_definition(
        r#"{"name":"raw","strict":true,"input_schema":{"type":"object","properties":{}}}"#,
        |_| async { "" },
    );
    let error = fault(raw.unwrap()).await.unwrap();
    assert!(error.contains("strict tool \"raw\": its root must have"), "{error}");
    // Later, too.
    let scripted = scripted(Script::new().reply(ScriptedReply::text("Done.")));
    let mut run = scripted.client().run("m").user("Go.");
    assert!(run.set_tools(label).is_err());
    assert!(run.add_tools(label).is_err());
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
}

#[tokio::test]
async fn the_limits_of_a_request_count_all_strict_tools() {
    let named = |i: usize, properties: &str| {
        DeclaredTool::new(format!(
            r#"{{"name":"f{i}","strict":true,"input_schema":{{"type":"object","additionalProperties":false,"properties":{properties}}}}}"#
        ))
        .unwrap()
    };
    let many = |count: usize, properties: &str| {
        (0..count).map(|i| named(i, properties)).collect::<Vec<_>>()
    };
    assert_eq!(fault(many(20, "{}")).await, None);
    assert!(fault(many(21, "{}")).await.unwrap().contains("21 strict tools"));
    let two = r#"{"a":{"type":"string"},"b":{"type":"string"}}"#;
    assert_eq!(fault(many(12, two)).await, None);
    assert!(fault(many(13, two)).await.unwrap().contains("26 optional members"));
    let union = r#"{"a":{"type":["string","null"]}}"#;
    assert!(fault(many(17, union)).await.unwrap().contains("17 members with several types"));
}

#[tokio::test]
async fn a_choice_of_a_tool_that_does_not_exist() {
    const CHOICE: &str = r#"{"type":"tool","name":"pay"}"#;
    let start = || scripted(Script::new().reply(ScriptedReply::text("Done.")));
    let model = start();
    let mut run =
        model.client().run("m").tools(echo("note")).param_json("tool_choice", CHOICE).user("Go.");
    for _ in 0..2 {
        let error = run.until_done().await.unwrap_err().to_string();
        assert!(error.contains("`tool_choice` names the tool \"pay\""), "{error}");
    }
    assert!(bodies(&model).is_empty());
    // The run goes on when the tool exists.
    run.set_tools((echo("note"), echo("pay"))).unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    // A choice without a name, a tool of the conversation, and the tools of an MCP server.
    let mcp = DeclaredTool::new(r#"{"type":"mcp_toolset","mcp_server_name":"s"}"#).unwrap();
    let addition = r#"[{"role":"user","content":"Go."},{"role":"system","content":[{"type":"tool_addition","tool":{"type":"tool_definition","definition":{"name":"pay","input_schema":{"type":"object"}}}}]}]"#;
    let client = |model: &toolrunner_std::testing::ScriptedServer| model.client().run("m");
    for mut run in [
        client(&start())
            .tools(echo("note"))
            .param_json("tool_choice", r#"{"type":"any"}"#)
            .user("Go."),
        client(&start()).tools(mcp).param_json("tool_choice", CHOICE).user("Go."),
        client(&start()).tools(echo("note")).param_json("tool_choice", CHOICE).messages(addition),
        client(&start()).tools(echo("pay")).param_json("tool_choice", CHOICE).user("Go."),
    ] {
        assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    }
}
