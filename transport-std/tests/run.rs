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

mod tools {
    use toolrunner_std::{ToolInput, tool};
    #[derive(ToolInput, Clone, Copy, Debug)]
    #[tool(rename_all = "lowercase")]
    pub(crate) enum Unit {
        Celsius,
        Fahrenheit,
    }
    /// Get the current weather in a given location.
    #[tool]
    pub(crate) async fn get_weather(
        /// The city and state, e.g. San Francisco, CA
        location: &str,
        /// Temperature unit
        #[tool(default = Unit::Fahrenheit)]
        unit: Unit,
    ) -> String {
        format!("{location}: 20 {unit:?}")
    }
    /// Add two numbers together.
    #[tool]
    pub(crate) fn calculate_sum(
        /** First number */
        a: i64,
        /** Second number */
        b: i64,
    ) -> i64 {
        a + b
    }
}

#[tokio::test]
async fn runs_tools() {
    let script = Script::new()
        .reply(
            Reply::text("Let me see.")
                .tool_use("t1", "get_weather", r#"{"location":"Paris"}"#)
                .tool_use("t2", "calculate_sum", r#"{"a":15,"b":27}"#)
                .stop("tool_use"),
        )
        .reply(Reply::text("done"));
    let scripted = Scripted::new(ScriptedModel::new(script));
    let mut run = scripted.client().run("m").tools((tools::get_weather, tools::calculate_sum)).user("go");
    let finished = run.until_done().await.unwrap();
    assert_eq!(finished.text(), "done");
    let model = scripted.model();
    let last = model.requests()[1].json().to_string();
    assert!(last.ends_with(r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"Paris: 20 Fahrenheit"},{"type":"tool_result","tool_use_id":"t2","content":"42"}]}]}"#), "{last}");
}
