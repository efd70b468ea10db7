//! Tools that are added and removed during a run: the system message, the unchanged `tools`, and
//! which tool a call reaches. The cases are those of the official runners' own tests.

mod common;

use common::{assert_valid, bodies, conversations, echo, fun, scripted};
use toolrunner_core::json::Value;
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_core::tool::DeclaredTool;
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Outcome, tool};

/// Click.
#[tool(toolset = "computer", name = "click")]
fn click_on_screen(x: i32) -> String {
    format!("clicked at {x}")
}

fn call(id: &str, name: &str) -> ScriptedReply {
    ScriptedReply::new().tool_use(id, name, "{}")
}

/// Returns the messages of request `i`, each as JSON.
fn sent(scripted: &ScriptedServer, i: usize) -> Vec<String> {
    let body = conversations(scripted)[i].clone();
    let list = Value::first(body.as_bytes()).unwrap();
    list.elements().map(|message| message.as_json().to_owned()).collect()
}

fn tools_of(body: &str) -> String {
    Value::first(body.as_bytes()).unwrap().member("tools").unwrap().as_json().to_owned()
}

#[tokio::test]
async fn an_addition_follows_the_results_and_leaves_the_tools() {
    for eager in [false, true] {
        let (first, second, third) = (echo("first"), echo("second"), echo("third"));
        let scripted = scripted(
            Script::new()
                .reply(call("t1", "first"))
                .reply(call("t2", "second").tool_use("t3", "first", "{}"))
                .reply(ScriptedReply::text("Done.")),
        );
        let mut run = scripted
            .client()
            .run("m")
            .eager(eager)
            .tools((first.clone(), third.clone()))
            .user("Go.");
        let mut turn = run.next_turn().await.unwrap().unwrap();
        turn.add_tools(second.clone()).unwrap();
        turn.remove_tools(["third", "first"]).unwrap();
        assert_eq!(run.until_done().await.unwrap().text(), "Done.");
        // One message, in the order of the changes, after the results.
        let messages = sent(&scripted, 1);
        assert_eq!(messages.len(), 4, "{messages:?}");
        assert!(messages[2].contains("tool_result"), "{messages:?}");
        assert_eq!(
            messages[3],
            format!(
                r#"{{"role":"system","content":[{{"type":"tool_addition","tool":{{"type":"tool_definition","definition":{}}}}},{{"type":"tool_removal","tool":{{"type":"tool_reference","name":"third"}}}},{{"type":"tool_removal","tool":{{"type":"tool_reference","name":"first"}}}}]}}"#,
                second.json
            )
        );
        // Sent once, and the tools are the same in every request.
        let bodies = bodies(&scripted);
        assert_eq!(bodies[2].matches("tool_addition").count(), 1);
        assert_eq!(tools_of(&bodies[0]), format!("[{},{}]", first.json, third.json));
        assert!(bodies.iter().all(|body| tools_of(body) == tools_of(&bodies[0])));
        // A removed tool does not run, unless its call started while the reply was streamed.
        assert_eq!(second.ran(), ["t2"]);
        assert_eq!(first.ran(), if eager { vec!["t1"] } else { vec![] });
        let expected = if eager { 1 } else { 2 };
        assert_eq!(bodies[2].matches("Error: Tool 'first' not found").count(), expected);
        assert_valid(&run, &scripted);
    }
}

#[tokio::test]
async fn a_change_applies_to_the_calls_of_the_turn_at_hand() {
    let (old, new) = (echo("pay"), fun("pay", |_| Ok("new".to_owned())));
    let scripted = scripted(
        Script::new()
            .reply(call("t1", "pay").tool_use("t2", "late", "{}"))
            .reply(call("t3", "pay"))
            .reply(call("t4", "pay"))
            .reply(ScriptedReply::text("Done.")),
    );
    let late = echo("late");
    let mut run = scripted.client().run("m").tools(old.clone()).user("Go.");
    let mut turn = run.next_turn().await.unwrap().unwrap();
    turn.add_tools((new.clone(), late.clone())).unwrap();
    turn.results().await.unwrap();
    assert_eq!((old.ran().len(), new.ran(), late.ran()), (0, vec!["t1".into()], vec!["t2".into()]));
    // Removed and added again between two requests.
    let mut turn = run.next_turn().await.unwrap().unwrap();
    turn.remove_tools(["pay"]).unwrap().add_tools(old.clone()).unwrap();
    // Removed: also a call of the reply at hand.
    let mut turn = run.next_turn().await.unwrap().unwrap();
    turn.remove_tools(["pay"]).unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    assert_eq!(old.ran(), ["t3"]);
    assert!(conversations(&scripted)[3].contains("Error: Tool 'pay' not found"));
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn a_paused_turn_stays_the_last_message() {
    let late = echo("late");
    let scripted = scripted(
        Script::new()
            .reply(ScriptedReply::text("a").stop("pause_turn"))
            .reply(call("t1", "late"))
            .reply(ScriptedReply::text("Done.")),
    );
    let mut run = scripted.client().run("m").tools(echo("first")).user("Go.");
    run.next_turn().await.unwrap().unwrap().add_tools(late.clone()).unwrap();
    let _ = run.next_turn().await.unwrap().unwrap();
    assert_eq!(sent(&scripted, 1).len(), 2);
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    // The call ran before the model was told, and the message follows its result.
    assert_eq!(late.ran(), ["t1"]);
    let messages = sent(&scripted, 2);
    assert!(messages[4].contains("tool_addition"), "{messages:?}");
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn changes_travel_with_a_compaction_and_are_not_sent_after_the_end() {
    let scripted = scripted(
        Script::new()
            .reply(call("t1", "first"))
            .reply(ScriptedReply::new().block(r#"{"type":"compaction","content":"Summary.","encrypted_content":"zz","tool_changes":[{"type":"tool_removal","tool":{"type":"tool_reference","name":"first"}}]}"#).stop("compaction"))
            .reply(call("t2", "first"))
            .reply(ScriptedReply::text("Done."))
            .reply(ScriptedReply::text("More.")),
    );
    let first = echo("first");
    let mut run = scripted.client().run("m").tools(first.clone()).user("Go.");
    let mut turn = run.next_turn().await.unwrap().unwrap();
    turn.results().await.unwrap();
    turn.remove_tools(["first"]).unwrap();
    turn.run().compact_on_server(None);
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    assert!(sent(&scripted, 1)[3].contains("tool_removal"));
    assert_eq!(first.ran(), ["t1"]);
    run.add_tools(echo("late")).unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    assert_eq!(bodies(&scripted).len(), 4);
    run.user("Go on.").unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "More.");
    assert!(sent(&scripted, 4).last().unwrap().contains("tool_addition"));
}

#[tokio::test]
async fn a_declared_tool_replaces_one_that_runs() {
    let pay = echo("pay");
    let scripted =
        scripted(Script::new().reply(call("t1", "pay")).reply(ScriptedReply::text("Done.")));
    let mut run = scripted.client().run("m").tools(pay.clone()).user("Go.");
    run.add_tools(DeclaredTool::new(r#"{"name":"pay","input_schema":{"type":"object"}}"#).unwrap())
        .unwrap();
    run.add_tools(
        DeclaredTool::new(r#"{"type":"web_search_20250305","name":"web_search"}"#).unwrap(),
    )
    .unwrap();
    // A change before the first request is part of it.
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::NeedsAnswer);
    assert!(sent(&scripted, 0)[1].contains("web_search_20250305"));
    run.answer("t1", "paid").unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    assert!(pay.ran().is_empty());
}

#[tokio::test]
async fn a_snapshot_keeps_the_changes_that_wait() {
    let late = echo("late");
    let scripted = scripted(
        Script::new()
            .reply(call("t1", "late"))
            .reply(call("t2", "late"))
            .reply(ScriptedReply::text("Done.")),
    );
    let client = scripted.client();
    let mut run = client.run("m").tools(echo("first")).user("Go.");
    run.next_turn().await.unwrap().unwrap().add_tools(late.clone()).unwrap();
    let snapshot = run.snapshot().unwrap();
    drop(run);
    let mut run = client.run("m").tools(echo("first")).added_tools(late.clone()).resume(&snapshot);
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    assert_eq!(late.ran(), ["t1", "t2"]);
    let bodies = bodies(&scripted);
    assert!(bodies[1].contains("tool_addition"));
    assert!(bodies.iter().all(|body| tools_of(body) == tools_of(&bodies[0])));
    // Edited: neither a message of another role nor other JSON is taken.
    for bad in [r#"{"role":"user","content":"x"}"#, "[]", r#"{"role":"system","content":7}"#] {
        let (before, rest) = snapshot.split_once(",\"tool_changes\":").unwrap();
        assert!(rest.starts_with(r#"{"role":"system""#));
        let edited = format!("{before},\"tool_changes\":{bad}}}");
        let error = client.run("m").resume(&edited).until_done().await.unwrap_err();
        assert!(matches!(error, toolrunner_std::Error::Misuse(_)), "{bad}: {error}");
    }
}

#[tokio::test]
async fn only_added_tools_are_no_list_of_tools() {
    let scripted = scripted(Script::new().reply(ScriptedReply::text("Done.")));
    let mut run = scripted.client().run("m").user("Go.");
    run.add_tools(echo("late")).unwrap();
    run.until_done().await.unwrap();
    assert!(!bodies(&scripted)[0].contains(r#""tools":"#), "{}", bodies(&scripted)[0]);
}

#[tokio::test]
async fn what_cannot_be_changed_is_refused_and_changes_nothing() {
    let scripted = scripted(Script::new().reply(ScriptedReply::text("Done.")));
    let mut run = scripted.client().run("m").tools(echo("first")).user("Go.");
    for (error, part) in [
        (run.remove_tools(["first", "nobody"]).map(|_| ()), "there is no tool \"nobody\""),
        (run.remove_tools([""]).map(|_| ()), "there is no tool \"\""),
        (run.add_tools(click_on_screen).map(|_| ()), "toolset \"computer\""),
        (run.add_tools((echo("a"), echo("a"))).map(|_| ()), "two tools have the name \"a\""),
        (run.add_tools(echo("a b")).map(|_| ()), "\"a b\""),
    ] {
        let error = error.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    run.until_done().await.unwrap();
    assert!(!bodies(&scripted)[0].contains("system"), "{}", bodies(&scripted)[0]);
}

/// The API counts every breakpoint of a request, wherever it stands.
#[tokio::test]
async fn the_fifth_breakpoint_is_refused_on_an_added_tool_too() {
    let scripted = scripted(
        Script::new().reply(ScriptedReply::text("Done.")).reply(ScriptedReply::text("More.")),
    );
    let mut run = scripted.client().run("m").user("Go.");
    let marked = |name: &str| {
        DeclaredTool::new(format!(
            r#"{{"name":"{name}","input_schema":{{"type":"object"}},"cache_control":{{"type":"ephemeral"}}}}"#
        ))
        .unwrap()
    };
    for name in ["a", "b"] {
        run.add_tools(marked(name)).unwrap();
    }
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    run.user("Go on.").unwrap();
    // Two are in the conversation, and two wait.
    for name in ["c", "d"] {
        run.add_tools(marked(name)).unwrap();
    }
    let refused = run.add_tools(marked("e")).map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("5 cache breakpoints"), "{refused}");
    assert_eq!(run.until_done().await.unwrap().text(), "More.");
    assert!(!sent(&scripted, 1).last().unwrap().contains(r#""name":"e""#));
}
