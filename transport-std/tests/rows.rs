//! The edge cases in which the official tool runners differ, as far as they belong to the front end
//! or a scenario cannot express them. All of them: `tests/scenarios/README.md`, "Edge cases".

mod common;

use core::time::Duration;

use common::{Fun, assert_valid, bodies, busy, calls, conversations, echo, fun, scripted};
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Run, ToolError};

/// Starts a run with the tool `a` and this script.
fn start(script: Script) -> (ScriptedServer, Fun, Run) {
    let (scripted, tool) = (scripted(script), echo("a"));
    let run = scripted.client().run("m").tools(tool.clone()).user("Go.");
    (scripted, tool, run)
}

/// One turn with one call of `a`, then an end.
fn one_call() -> Script {
    Script::new().reply(calls(&["t1"], "a")).reply(ScriptedReply::text("ok"))
}

fn requests(scripted: &ScriptedServer) -> usize {
    scripted.model().requests().len()
}

const ASKED: &str = r#"{"role":"user","content":"Go."}"#;
const CALLED: &str =
    r#"{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"a","input":{}}]}"#;
const ANSWERED: &str =
    r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"a!"}]}"#;

#[tokio::test]
async fn row_04_looking_at_the_results_and_appending() {
    // Each call runs at most once, however often its result is read.
    let (scripted, tool, mut run) = start(one_call());
    let mut turn = run.next_turn().await.unwrap().unwrap();
    for _ in 0..3 {
        assert_eq!(turn.results().await.unwrap().len(), 1);
    }
    turn.append_user("Hurry.").unwrap();
    run.until_done().await.unwrap();
    assert_eq!(tool.ran(), ["t1"]);
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn row_07_params_changed_on_a_tool_turn() {
    // Changing parameters does not change the conversation.
    let (scripted, _, mut run) = start(one_call());
    run.next_turn().await.unwrap().unwrap().params_mut().max_tokens(7);
    run.until_done().await.unwrap();
    assert_eq!(conversations(&scripted)[1], format!("[{ASKED},{CALLED},{ANSWERED}]"));
    assert!(
        bodies(&scripted)[0].contains(r#""max_tokens":4096"#)
            && bodies(&scripted)[1].contains(r#""max_tokens":7"#)
    );
}

#[tokio::test]
async fn row_08_params_from_inside_a_tool() {
    // A tool cannot change the run; it shares state with the caller, who can. `results()` is the
    // place for that.
    let asked = std::sync::Arc::new(core::sync::atomic::AtomicU32::new(0));
    let shared = std::sync::Arc::clone(&asked);
    let tool = fun("a", move |_| {
        shared.store(9, core::sync::atomic::Ordering::SeqCst);
        Ok("a!".to_owned())
    });
    let scripted = scripted(one_call());
    let mut run = scripted.client().run("m").tools(tool).user("Go.");
    let mut turn = run.next_turn().await.unwrap().unwrap();
    let _ = turn.results().await.unwrap();
    turn.params_mut().max_tokens(asked.load(core::sync::atomic::Ordering::SeqCst));
    run.until_done().await.unwrap();
    assert!(bodies(&scripted)[1].contains(r#""max_tokens":9"#));
}

#[tokio::test]
async fn row_10_two_tools_of_one_name() {
    // Detected during set-up, before any request.
    let scripted = scripted(one_call());
    let error = scripted
        .client()
        .run("m")
        .tools((echo("a"), echo("a")))
        .user("Go.")
        .until_done()
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "two tools have the name \"a\"");
    assert_eq!(requests(&scripted), 0);
}

#[tokio::test]
async fn row_27_an_error_event_in_the_stream() {
    // Also retried. If text was reported it is an error, because that text cannot be taken back;
    // the run is intact.
    let script = || {
        Script::new()
            .reply(ScriptedReply::text("Half").error_event("overloaded_error", "Overloaded"))
            .reply(ScriptedReply::text("ok"))
    };
    let (_, _, mut run) = start(script());
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    let (scripted, _, mut run) = start(script());
    let error = loop {
        if let Err(error) = run.next_event().await {
            break error;
        }
    };
    assert_eq!(error.api().unwrap().message, "Overloaded");
    assert_eq!(run.message(), None, "half a reply is none");
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn row_30_structured_output_and_prose() {
    // The loop does not parse the output, so prose before it does no harm; the parameter is passed
    // on.
    let reply = ScriptedReply::text("Let me look.").tool_use("t1", "a", "{}");
    let scripted =
        scripted(Script::new().reply(reply).reply(ScriptedReply::text(r#"{"ok":true}"#)));
    let format = r#"{"format":{"type":"json_schema","schema":{"type":"object"}}}"#;
    let mut run =
        scripted.client().run("m").param_json("output_config", format).tools(echo("a")).user("Go.");
    assert_eq!(run.until_done().await.unwrap().text(), r#"{"ok":true}"#);
    assert!(
        bodies(&scripted).iter().all(|body| body.contains(&format!(r#""output_config":{format}"#)))
    );
}

#[tokio::test]
async fn row_31_cancel_while_a_tool_runs() {
    // The call is answered: its effect is unknown, and the model is told so.
    let scripted = scripted(one_call());
    let (tool, over) = busy("a");
    let mut run = scripted.client().run("m").tools(tool).user("Go.");
    assert!(tokio::time::timeout(Duration::from_millis(50), run.until_done()).await.is_err());
    assert_eq!(run.user("Never mind.").unwrap().until_done().await.unwrap().text(), "ok");
    drop(over);
    assert!(
        conversations(&scripted)[1]
            .contains(r#""tool_use_id":"t1","content":"Error: cancelled","is_error":true"#)
    );
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn row_32_a_long_error_text() {
    // Complete, like any result: the caller decides whether it is cut (`result_cap`), and the cut
    // is marked.
    for (cap, len) in [(None, 10_000), (Some(100), 100 + "\n[… 9900 bytes cut …]\n".len())] {
        let scripted = scripted(one_call());
        let builder = scripted
            .client()
            .run("m")
            .tools(fun("a", |_| Err(ToolError::text("x".repeat(10_000)))));
        let mut run =
            if let Some(cap) = cap { builder.result_cap(cap) } else { builder }.user("Go.");
        let mut turn = run.next_turn().await.unwrap().unwrap();
        assert_eq!(turn.results().await.unwrap().first_error().unwrap().len(), len);
    }
}

#[tokio::test]
async fn row_34_a_large_max_tokens_without_streaming() {
    // It is sent: how long a connection may be silent is a timeout that the caller can set, not a
    // reason to refuse.
    let scripted = scripted(Script::new().reply(ScriptedReply::text("ok")));
    let mut run = scripted.client().run("m").max_tokens(64_000).stream(false).user("Go.");
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
}
