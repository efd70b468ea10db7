//! The macros with this crate's paths: tools that run on any thread.

use core::sync::atomic::{AtomicU32, Ordering};
use toolrunner_core::__private::{check_server_tools, check_tools};

use toolrunner_core::json::{Text, Value};
use toolrunner_core::tool::Toolbox;
use toolrunner_std::machine::tool::ToolCall;
use toolrunner_std::{Output, ToolContext, ToolError, ToolInput, Tools, tool, toolbox};

#[derive(ToolInput)]
#[tool(rename_all = "lowercase")]
enum Unit {
    Celsius,
    Fahrenheit,
}

/// Get the current weather in a given location.
#[tool(blocking)]
fn get_weather(
    location: &str,
    #[tool(default = Unit::Fahrenheit)] unit: Unit,
) -> Result<String, ToolError> {
    Ok(format!("{location}: 20 {}", if matches!(unit, Unit::Celsius) { 'C' } else { 'F' }))
}

struct Counter {
    count: AtomicU32,
}

#[toolbox]
impl Counter {
    /// Count on.
    #[tool(serial = "led")]
    async fn count_on(&self, by: u32) -> u32 {
        tokio::task::yield_now().await;
        self.count.fetch_add(by, Ordering::Relaxed) + by
    }
}

async fn call(tools: &impl Tools, name: &str, input: &str) -> String {
    let mut memory = Vec::new();
    let mut out = Output::growing(&mut memory);
    let input = Value::first(input.as_bytes()).unwrap();
    let call = ToolCall::new(Text::from_raw("toolu_1"), Text::from_raw(name), input, &mut []);
    let i = tools.find(Text::from_raw(name)).unwrap();
    tools.call(i, call, &mut out).await.unwrap();
    String::from_utf8(out.finish().unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn tools_run_on_any_thread() {
    let tools = (get_weather, Counter { count: AtomicU32::new(1) });
    check_server_tools(&tools).unwrap();
    check_tools(&tools).unwrap();
    assert!(
        Tools::definition(&tools, 0).unwrap().blocking
            && Tools::definition(&tools, 1).unwrap().serial == Some("led")
    );
    assert_eq!(Toolbox::count(&tools), 2);
    let text = tokio::spawn(async move {
        let weather = call(&tools, "get_weather", r#"{"location":"Paris","unit":"celsius"}"#).await;
        weather + &call(&tools, "count_on", r#"{"by":41}"#).await
    });
    assert_eq!(text.await.unwrap(), r#""Paris: 20 C""42""#);
}

fn no_file() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::NotFound, "no such file")
}

#[derive(Debug)]
struct Reading(std::io::Error);

impl core::fmt::Display for Reading {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("reading the config")
    }
}

impl core::error::Error for Reading {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.0)
    }
}

/// By anyhow.
#[tool]
async fn by_anyhow() -> anyhow::Result<String> {
    use anyhow::Context;
    Err(no_file()).context("reading the config")
}

/// By an error of one's own.
#[tool]
fn by_type() -> Result<(), Reading> {
    Err(Reading(no_file()))
}

/// By a box that moves between threads.
#[tool]
fn by_box() -> Result<(), Box<dyn core::error::Error + Send + Sync>> {
    Err(Reading(no_file()).into())
}

/// By a box that stays.
#[tool]
fn by_local_box() -> Result<(), Box<dyn core::error::Error>> {
    Err(Reading(no_file()).into())
}

/// By text.
#[tool]
fn by_text() -> Result<(), String> {
    Err("reading the config: no such file".to_owned())
}

/// By `?`.
#[tool]
fn by_question_mark() -> Result<(), ToolError> {
    Err(Reading(no_file()))?
}

#[tokio::test]
async fn the_model_reads_the_causes_of_any_error() {
    let tools = (by_anyhow, by_type, by_box, by_local_box, by_text, by_question_mark);
    for i in 0..Toolbox::count(&tools) {
        let mut memory = Vec::new();
        let mut out = Output::growing(&mut memory);
        let call = ToolCall::new(
            Text::from_raw("t"),
            Text::from_raw("n"),
            Value::first(b"{}").unwrap(),
            &mut [],
        );
        let error = Tools::call(&tools, i, call, &mut out).await.unwrap_err();
        assert_eq!(error.to_string(), "Error: reading the config: no such file", "tool {i}");
    }
}

/// Say where one is.
#[tool(timeout_ms = 5000)]
async fn whereabouts(context: &ToolContext<'_>, prefix: &str) -> String {
    let state: Option<&String> = context.state();
    format!(
        "{prefix} {} turn {} {:?} {}",
        context.id,
        context.turn,
        state,
        context.deadline.is_some()
    )
}

#[cfg(feature = "testing")]
#[tokio::test]
async fn a_tool_may_take_its_context() {
    use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
    let script = Script::new()
        .reply(ScriptedReply::new().tool_use("t1", "whereabouts", r#"{"prefix":"at"}"#))
        .reply(ScriptedReply::text("ok"));
    let scripted = toolrunner_std::testing::ScriptedServer::new(ScriptedModel::new(script));
    let mut run =
        scripted.client().run("m").tools(whereabouts).state("home".to_owned()).user("Go.");
    run.until_done().await.unwrap();
    assert!(
        run.messages().contains(r#""content":"at t1 turn 1 Some(\"home\") true""#),
        "{}",
        run.messages()
    );
    let properties = Tools::definition(&whereabouts, 0).unwrap().json;
    assert!(properties.contains("prefix") && !properties.contains("context"), "{properties}");
}
