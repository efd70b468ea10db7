//! Runs over a scripted model, in process.

use toolrunner_core::testing::{Reply, Script, ScriptedModel};
use toolrunner_std::testing::Scripted;
use toolrunner_std::{Event, Outcome, StopReason};

#[tokio::test]
async fn says_hello() {
    let scripted = Scripted::new(ScriptedModel::new(Script::new().reply(Reply::text("Hello!"))));
    let mut run = scripted.client().run("m").user("Say hello.");
    let finished = run.until_done().await.unwrap();
    assert_eq!(finished.text(), "Hello!");
    assert_eq!(finished.outcome, Outcome::Ended(Some(StopReason::EndTurn)));
    assert_eq!(scripted.model().requests().len(), 1);
}

#[tokio::test]
async fn tells_events() {
    for stream in [true, false] {
        let scripted = Scripted::new(ScriptedModel::new(
            Script::new().reply(Reply::text("Hi").tool_use("t1", "nope", "{}").stop("tool_use")).reply(Reply::text("Hello!")),
        ));
        let mut run = scripted.client().run("m").stream(stream).user("Say hello.");
        let mut log = String::new();
        while let Some(event) = run.next_event().await.unwrap() {
            match event {
                Event::Text { text, .. } => log += &format!("text {text};"),
                Event::ToolStart { name, .. } => log += &format!("start {name};"),
                Event::ToolEnd { content, is_error, .. } => log += &format!("end {content} {is_error};"),
                _ => {}
            }
        }
        assert_eq!(
            log.replace(";text ", ""),
            "text Hi;start nope;end \"Error: Tool 'nope' not found\" true;text Hello!;".replace(";text ", ""),
            "{stream}"
        );
    }
}

#[tokio::test]
async fn can_be_spawned() {
    let scripted = Scripted::new(ScriptedModel::new(Script::new().reply(Reply::text("Hello!"))));
    let mut run = scripted.client().run("m").user("Say hello.");
    let finished = tokio::spawn(async move { run.until_done().await }).await.unwrap().unwrap();
    assert_eq!(finished.text(), "Hello!");
}
