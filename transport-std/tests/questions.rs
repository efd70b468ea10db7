//! Tools that ask a question: the run waits for the answer, and the tool is called again with it.

use core::cell::Cell;

use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Outcome, Run, ToolContext, ToolError, tool};

thread_local! {
    /// The number of calls of `paint` by the test of this thread.
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

/// Paints something, and asks twice first.
#[tool]
async fn paint(context: &ToolContext<'_>, what: String) -> Result<String, ToolError> {
    CALLS.set(CALLS.get() + 1);
    let colour = context.ask(r#""Which colour?""#)?.to_owned();
    let coats = context.ask(r#""How many coats?""#)?;
    Ok(format!("{what}: {coats} coats of {colour}"))
}

fn scripted() -> ScriptedServer {
    let call =
        ScriptedReply::text("").tool_use("t1", "paint", r#"{"what":"door"}"#).stop("tool_use");
    ScriptedServer::new(ScriptedModel::new(
        Script::new().reply(call).reply(ScriptedReply::text("Done.")),
    ))
}

fn result_of(run: &Run) -> String {
    run.messages()
}

#[tokio::test]
async fn a_tool_asks_and_is_called_again_with_the_answers() {
    let scripted = scripted();
    let mut run = scripted.client().run("m").tools(paint).user("Paint the door.");
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::NeedsAnswer);
    assert_eq!(run.question("t1"), Some(r#""Which colour?""#));
    assert_eq!(run.question("t2"), None);
    run.answer_question("t1", r#""red""#).unwrap();
    assert_eq!(run.question("t1"), None);
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::NeedsAnswer);
    assert_eq!(run.question("t1"), Some(r#""How many coats?""#));

    // In another run, from a snapshot, the answers must be given again.
    let snapshot = run.snapshot().unwrap();
    let mut run = scripted.client().run("m").tools(paint).resume(&snapshot);
    run.answer_question("t1", r#""red""#).unwrap().answer_question("t1", "2").unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    assert!(result_of(&run).contains(r#"door: 2 coats of \"red\""#), "{}", result_of(&run));
    assert_eq!(CALLS.get(), 3);
    assert_eq!(scripted.requests().len(), 2);
}

#[tokio::test]
async fn a_question_can_be_answered_in_place_of_the_tool() {
    let scripted = scripted();
    let mut run = scripted.client().run("m").tools(paint).user("Paint the door.");
    run.until_done().await.unwrap();
    run.answer("t1", "no paint left").unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    assert_eq!(run.question("t1"), None);
}
