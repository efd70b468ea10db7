//! Serves the quickstart's tools: sessions survive a restart, and a page chats with them.
//!
//! `cargo run -p toolrunner-examples-serve -- start`, then open <http://127.0.0.1:8000/>. Without a
//! key in the environment, a scripted model answers, which knows only weather and sums.
//! `delete_note` shows how a program of your own requires an approval.

use std::process::ExitCode;

use toolrunner_serve::Agent;
use toolrunner_std::tool;

/// Get the current weather in a given location.
#[tool(idempotent)]
async fn get_weather(
    /** The city and state, e.g. San Francisco, CA */
    location: &str,
) -> String {
    format!("Sunny, 20°C in {location}")
}

/// Add two numbers together.
#[tool(idempotent)]
fn calculate_sum(
    /** First number */
    a: i64,
    /** Second number */
    b: i64,
) -> Result<i64, &'static str> {
    a.checked_add(b).ok_or("the sum is too large")
}

/// Delete a note. A person must approve it.
#[tool(requires_approval)]
fn delete_note(
    /** The note's title */
    title: String,
) -> String {
    format!("Deleted the note {title:?}.")
}

fn main() -> ExitCode {
    match toolrunner_examples::client() {
        Ok((client, _)) => {
            toolrunner_serve::main(Agent::new(client, "claude-opus-4-7").max_tokens(1024).tools((
                get_weather,
                calculate_sum,
                delete_note,
            )))
        }
        Err(error) => toolrunner_examples::exit(Err(error)),
    }
}
