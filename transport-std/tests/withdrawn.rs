//! Which tool answers a call: one that was not removed, and for a toolset only one of its members.

mod common;

use common::{assert_valid, conversations, echo, scripted};
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_core::tool::DeclaredTool;
use toolrunner_std::{Outcome, ToolAnswer, tool};

/// Click.
#[tool(toolset = "computer", name = "click")]
fn click_on_screen(x: i32) -> String {
    format!("clicked at {x}")
}

/// Click somewhere else.
#[tool(name = "click")]
fn click_elsewhere() -> &'static str {
    "elsewhere"
}

fn computer() -> DeclaredTool {
    DeclaredTool::new(r#"{"type":"computer_toolset_20260801"}"#).unwrap()
}

/// Builds a call block with more members than the scripted model's own.
fn member(id: &str, name: &str, toolset: &str, input: &str) -> String {
    format!(
        r#"{{"type":"tool_use","id":"{id}","name":"{name}","input":{input},"toolset_name":"{toolset}"}}"#
    )
}

#[tokio::test]
async fn a_member_answers_calls_of_its_toolset_and_no_others() {
    let reply = ScriptedReply::new()
        .block(&member("t1", "click", "computer", r#"{"x":5}"#))
        .tool_use("t2", "click", "{}")
        .block(&member("t3", "click", "browser", "{}"))
        .block(&member("t4", "click", "computer", "{}"));
    for eager in [false, true] {
        let scripted =
            scripted(Script::new().reply(reply.clone()).reply(ScriptedReply::text("Done.")));
        let mut run = scripted
            .client()
            .run("m")
            .eager(eager)
            .tools((computer(), click_on_screen, click_elsewhere))
            .user("Go.");
        assert_eq!(run.until_done().await.unwrap().text(), "Done.");
        let last = conversations(&scripted).pop().unwrap();
        for result in [
            r#""tool_use_id":"t1","toolset_name":"computer","content":"clicked at 5"}"#,
            r#""tool_use_id":"t2","content":"elsewhere"}"#,
            r#""tool_use_id":"t3","toolset_name":"browser","content":"Error: Toolset 'browser' member 'click' not found","is_error":true}"#,
            r#""tool_use_id":"t4","toolset_name":"computer","content":"Error: invalid input for tool 'click': x: expected integer, got nothing","is_error":true}"#,
        ] {
            assert!(last.contains(result), "{result}: {last}");
        }
        // The toolset is declared once, and its member is not a separate entry.
        let body = common::bodies(&scripted).pop().unwrap();
        assert_eq!(body.matches(r#""name":"click","description""#).count(), 1, "{body}");
        assert_valid(&run, &scripted);
    }
}

#[tokio::test]
async fn answers_by_hand_name_the_toolset_too() {
    let reply = || {
        ["t1", "t2", "t3"].iter().fold(ScriptedReply::new(), |reply, id| {
            reply.block(&member(id, "click", "computer", "{\"x\":1}"))
        })
    };
    let scripted =
        scripted(Script::new().reply(reply()).reply(reply()).reply(ScriptedReply::text("Done.")));
    let mut run = scripted.client().run("m").tools((computer(), echo("click"))).user("Go.");
    let mut turn = run.next_turn().await.unwrap().unwrap();
    turn.answer("t1", "by hand").unwrap();
    turn.answer_with("t2", ToolAnswer::error_json(br#"[{"type":"text","text":"blocks"}]"#))
        .unwrap();
    turn.results()
        .await
        .unwrap()
        .edit(|result| result.cache_control(r#"{"type":"ephemeral"}"#).map(|_| ()))
        .unwrap();
    let _ = run.next_turn().await.unwrap();
    run.close_open_calls().unwrap();
    let messages = run.messages();
    for result in [
        r#""tool_use_id":"t1","toolset_name":"computer","content":"by hand""#,
        r#""tool_use_id":"t2","toolset_name":"computer","content":[{"type":"text","text":"blocks"}],"is_error":true"#,
        r#""tool_use_id":"t3","toolset_name":"computer","content":"Error: Toolset 'computer' member 'click' not found","is_error":true"#,
        r#""tool_use_id":"t3","toolset_name":"computer","content":"Error: not run","is_error":true"#,
    ] {
        assert!(messages.contains(result), "{result}: {messages}");
    }
    assert_valid(&run, &scripted);
}

const REMOVAL: &str = r#"{"role":"system","content":[{"type":"tool_removal","tool":{"type":"tool_reference","name":"pay"}}]}"#;
const GO: &str = r#"{"role":"user","content":"Go."}"#;
const ADDITION: &str = r#"{"role":"system","content":[{"type":"tool_addition","tool":{"type":"tool_reference","name":"p\u0061y"}}]}"#;

#[tokio::test]
async fn a_removed_tool_does_not_start_early() {
    let call = |id: &str| {
        ScriptedReply::text("I pay.").tool_use(id, "pay", "{}").tool_use(
            &format!("{id}-2"),
            "pay",
            "{}",
        )
    };
    for (more, ran) in [(REMOVAL, 0), (ADDITION, 2)] {
        let pay = echo("pay");
        let scripted =
            scripted(Script::new().reply(call("t1")).reply(ScriptedReply::text("Done.")));
        let history = format!(r#"[{{"role":"user","content":"Hi."}},{REMOVAL},{more},{GO}]"#);
        let mut run = scripted.client().run("m").eager(true).tools(pay.clone()).messages(&history);
        run.until_done().await.unwrap();
        assert_eq!(pay.ran().len(), ran);
        let last = conversations(&scripted).pop().unwrap();
        assert_eq!(last.matches("Error: Tool 'pay' not found").count(), 2 - ran, "{last}");
    }
}

/// A removed tool that is only declared: its call does not wait for the caller.
#[tokio::test]
async fn a_removed_tool_that_is_declared_does_not_wait_for_the_caller() {
    let pay = DeclaredTool::new(r#"{"name":"pay","input_schema":{"type":"object"}}"#).unwrap();
    let scripted = scripted(
        Script::new()
            .reply(ScriptedReply::new().tool_use("t1", "pay", "{}"))
            .reply(ScriptedReply::text("Done.")),
    );
    let mut run = scripted
        .client()
        .run("m")
        .tools(pay)
        .messages(format!(r#"[{{"role":"user","content":"Hi."}},{REMOVAL},{GO}]"#));
    assert!(matches!(run.until_done().await.unwrap().outcome, Outcome::Ended(_)));
    assert!(conversations(&scripted).pop().unwrap().contains("Error: Tool 'pay' not found"));
}

/// A removal applies while the conversation contains it: it ends when that part is dropped or
/// replaced.
#[tokio::test]
async fn a_history_that_is_replaced_takes_its_removals_with_it() {
    let pay = echo("pay");
    let call = |id: &str| ScriptedReply::new().tool_use(id, "pay", "{}");
    let scripted = scripted(
        Script::new()
            .reply(call("t1"))
            .reply(ScriptedReply::text("a"))
            .reply(call("t2"))
            .reply(ScriptedReply::text("b")),
    );
    let mut run = scripted
        .client()
        .run("m")
        .tools(pay.clone())
        .messages(format!(r#"[{{"role":"user","content":"Hi."}},{REMOVAL},{GO}]"#));
    run.until_done().await.unwrap();
    assert_eq!(pay.ran(), [] as [String; 0]);
    run.replace_history(
        r#"[{"role":"user","content":"A longer conversation than the one that was here before it was replaced by this."}]"#,
    )
    .unwrap();
    run.until_done().await.unwrap();
    assert_eq!(pay.ran(), ["t2"]);
}
