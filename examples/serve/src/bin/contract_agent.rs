//! The agent of the contract suite, which tests a server with it. It has every kind of tool that a
//! server must handle.
//!
//! `ANTHROPIC_BASE_URL=http://127.0.0.1:8999 ANTHROPIC_API_KEY=test cargo run -p
//! toolrunner-examples-serve --bin contract_agent -- start`

use core::time::Duration;
use std::io::Write;
use std::process::ExitCode;

use toolrunner_serve::{Agent, Question, ask};
use toolrunner_std::{ToolContext, ToolError, tool};

/// Get the weather in a place.
#[tool(idempotent)]
fn get_weather(location: String) -> String {
    format!("20°C in {location}")
}

/// Add two numbers.
#[tool(idempotent)]
fn calculate_sum(a: i64, b: i64) -> i64 {
    a.saturating_add(b)
}

/// Sleep for some time.
#[tool]
async fn slow_tool(seconds: f64) -> Result<String, ToolError> {
    let time =
        Duration::try_from_secs_f64(seconds).map_err(|_| ToolError::new("not a duration"))?;
    tokio::time::sleep(time).await;
    Ok(format!("slept {seconds}"))
}

/// Fail with a message.
#[tool]
fn failing_tool(message: String) -> Result<String, ToolError> {
    Err(ToolError::text(message))
}

/// Delete a file. Somebody must approve it.
#[tool(requires_approval)]
fn dangerous_tool(path: String) -> String {
    format!("Deleted {path}")
}

/// Ask the user a question with options.
#[tool]
fn ask_user(
    context: &ToolContext<'_>,
    question: String,
    options: Vec<String>,
) -> Result<String, ToolError> {
    let asked = options.into_iter().fold(Question::new(&question), Question::option);
    let answers = ask(context, &[asked])?;
    Ok(format!("Answered {}", answers.get(&question).unwrap_or_default()))
}

/// Append a line to the record file, then sleep.
#[tool]
async fn record(note: String, #[tool(default = 0.0)] seconds: f64) -> Result<String, ToolError> {
    let path = std::env::var("CONTRACT_RECORD_FILE")
        .map_err(|_| ToolError::new("CONTRACT_RECORD_FILE is not set"))?;
    let mut file = std::fs::File::options().append(true).create(true).open(path)?;
    file.write_all(format!("{note}\n").as_bytes())?;
    tokio::time::sleep(Duration::try_from_secs_f64(seconds)?).await;
    Ok(format!("recorded {note}"))
}

fn main() -> ExitCode {
    let agent = Agent::from_env("claude-test-1")
        .max_tokens(1024)
        .system("You are the contract agent.")
        .max_turns(8)
        .tools((
            get_weather,
            calculate_sum,
            slow_tool,
            failing_tool,
            dangerous_tool,
            ask_user,
            record,
        ));
    toolrunner_serve::main(agent)
}
