//! Definitions that the API would refuse are refused during set-up, by the tool's name, before
//! anything is sent.

mod common;

use common::{bodies, conversations, scripted};
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_core::tool::{DeclaredTool, Definition, Input, Output, RawTool, ToolCall, Tools};
use toolrunner_std::ToolError;

const FOLDED: &str =
    r#"{"type":"object","properties":{"file":{"type":"string"}},"allOf":[{"required":["file"]}]}"#;
const CHOICE: &str = r#"{"type":"object","properties":{"file":{},"url":{}},"oneOf":[{"required":["file"]},{"required":["url"]}]}"#;

async fn attach(_: Input) -> Result<String, ToolError> {
    Ok("attached".to_owned())
}

fn raw(schema: &str) -> impl Tools {
    RawTool::new("attach", "Attach something.", schema, attach).unwrap()
}

fn declared(schema: &str) -> DeclaredTool {
    DeclaredTool::new(format!(r#"{{"name":"attach","input_schema":{schema}}}"#)).unwrap()
}

/// A toolbox that is written by hand.
struct ByHand(String);

impl Tools for ByHand {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        (i == 0).then(|| Definition::new("attach", &self.0))
    }

    async fn call(&self, _: usize, _: ToolCall<'_>, _: &mut Output<'_>) -> Result<(), ToolError> {
        Ok(())
    }
}

/// Returns the result of one turn with these tools, and the bodies that were sent.
async fn ask(tools: impl Tools) -> (Result<String, String>, Vec<String>) {
    let scripted = scripted(Script::new().reply(ScriptedReply::text("ok")));
    let mut run = scripted.client().run("m").tools(tools).user("Go.");
    let ended =
        run.until_done().await.map(|finished| finished.text()).map_err(|error| error.to_string());
    (ended, bodies(&scripted))
}

#[tokio::test]
async fn a_schema_that_can_be_folded_is_sent_folded_and_one_that_cannot_is_refused_by_name() {
    for schema in
        [FOLDED, r##"{"$ref":"#/$defs/a","$defs":{"a":{"type":"object","required":["file"]}}}"##]
    {
        for (ended, bodies) in [ask(raw(schema)).await, ask(declared(schema)).await] {
            assert_eq!(ended.as_deref(), Ok("ok"), "{schema}");
            assert!(
                bodies[0].contains(r#""required":["file"]"#) && !bodies[0].contains("allOf"),
                "{}",
                bodies[0]
            );
        }
    }
    for schema in [
        CHOICE,
        r##"{"type":"object","$ref":"#/$defs/none"}"##,
        r#"{"type":"array"}"#,
        r#"{"type":"string","anyOf":[]}"#,
        "true",
    ] {
        let by_hand = ByHand(format!(r#"{{"name":"attach","input_schema":{schema}}}"#));
        for (ended, bodies) in
            [ask(raw(schema)).await, ask(declared(schema)).await, ask((raw(FOLDED), by_hand)).await]
        {
            let error = ended.unwrap_err();
            assert!(error.contains("\"attach\""), "{schema}: {error}");
            assert!(bodies.is_empty(), "{bodies:?}");
        }
    }
}

#[tokio::test]
async fn definitions_of_a_whole_body_are_judged_too() {
    let body = |schema: &str| {
        let tools = format!(r#"[{{"name":"attach","input_schema":{schema}}}]"#);
        format!(
            r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"Go."}}],"tools":{tools}}}"#
        )
    };
    let scripted = scripted(Script::new().reply(ScriptedReply::text("ok")));
    let mut run = scripted.client().run("m").body(&body(FOLDED));
    run.until_done().await.unwrap();
    assert!(bodies(&scripted)[0].contains(r#""required":["file"]"#));

    let mut run = scripted.client().run("m").body(&body(CHOICE));
    let error = run.until_done().await.unwrap_err().to_string();
    assert!(error.contains("\"attach\"") && error.contains("oneOf"), "{error}");
    assert_eq!(bodies(&scripted).len(), 1);
}

/// A rule that folding cannot keep in its original order is still reported as it was written.
#[tokio::test]
async fn the_input_is_checked_against_the_schema_as_it_was_given() {
    let call = |id: &str, input: &str| ScriptedReply::text("I call.").tool_use(id, "attach", input);
    let script = Script::new()
        .reply(call("t1", "{}"))
        .reply(call("t2", r#"{"file":5}"#))
        .reply(call("t3", r#"{"file":"a"}"#));
    let scripted = scripted(script.reply(ScriptedReply::text("ok")));
    let mut run = scripted.client().run("m").tools(raw(FOLDED)).user("Go.");
    run.until_done().await.unwrap();
    let last = conversations(&scripted).pop().unwrap();
    for result in [
        "Error: invalid input for tool 'attach': file: expected a value, got nothing",
        "Error: invalid input for tool 'attach': file: expected string, got 5",
        "attached",
    ] {
        assert!(last.contains(result), "{result}: {last}");
    }
}
