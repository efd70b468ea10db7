//! A chat in the terminal: text as it arrives, and a person who allows or denies each call before it runs.
//!
//! What it shows: one run over many prompts (`user` again), events and turns mixed (`next_event` until the reply is whole, then
//! `next_turn` for the turn in hand), and `answer_json`, which answers a call in place of its tool. A call that is neither denied nor
//! answered runs when the run goes on, once.

use core::error::Error;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use toolrunner_std::{Event, Run, init_logging, tool};

/// Get the current weather in a given location.
#[tool]
async fn get_weather(
    /** The city and state, e.g. San Francisco, CA */
    location: &str,
) -> String {
    format!("Sunny, 20°C in {location}")
}

/// Add two numbers together.
#[tool]
fn calculate_sum(
    /** First number */
    a: i64,
    /** Second number */
    b: i64,
) -> Result<i64, &'static str> {
    a.checked_add(b).ok_or("the sum is too large")
}

/// What the model reads of a call that the person denied.
const DENIED: &str = r#""The user did not allow this call.""#;

fn main() -> ExitCode {
    toolrunner_examples::exit(chat())
}

#[tokio::main(flavor = "current_thread")]
async fn chat() -> Result<(), Box<dyn Error>> {
    init_logging();
    let (client, _) = toolrunner_examples::client()?;
    println!("Ask for the weather in a place, or for a sum. An empty line ends the chat.");
    let mut run = client.run("claude-opus-4-7").max_tokens(1024).tools((get_weather, calculate_sum)).empty();
    while let Some(prompt) = read_line("\nYou: ")? {
        run.user(&prompt)?;
        if let Err(error) = answer(&mut run).await {
            // The run is whole: what was said stays said, and the next line goes on from here.
            println!("\n(that failed: {error})");
        }
    }
    let usage = run.usage();
    println!("\n{} tokens in, {} tokens out", usage.input_total(), usage.output_tokens);
    Ok(())
}

/// Goes on until the model needs no more calls.
async fn answer(run: &mut Run) -> Result<(), Box<dyn Error>> {
    loop {
        if !show_reply(run).await? {
            return Ok(());
        }
        // The reply is whole, and its calls have not run.
        let Some(mut turn) = run.next_turn().await? else { return Ok(()) };
        let calls: Vec<(String, String)> =
            turn.calls().map(|call| (call.id.to_string(), format!("{}({})", call.name, call.input))).collect();
        for (id, call) in calls {
            let answer = read_line(&format!("  run {call}? [y/n] "))?;
            if !answer.is_some_and(|answer| answer.starts_with(['y', 'Y'])) {
                turn.answer_json(&id, DENIED, true)?;
            }
        }
    }
}

/// Shows what happens up to the end of the next reply. False if there is none.
async fn show_reply(run: &mut Run) -> Result<bool, Box<dyn Error>> {
    let mut out = io::stdout();
    while let Some(event) = run.next_event().await? {
        match event {
            Event::BlockStart { block, .. } if block.member("type").and_then(|kind| kind.as_text()).is_some_and(|kind| kind == *"text") => {
                write!(out, "\nModel: ")?;
            }
            Event::Text { text, .. } => {
                write!(out, "{text}")?;
                out.flush()?;
            }
            Event::ToolEnd { name, content, .. } => writeln!(out, "  {name}: {content}")?,
            Event::MessageStop => {
                writeln!(out)?;
                return Ok(true);
            }
            _ => {}
        }
    }
    Ok(false)
}

/// A line that the person types; nothing if it is empty, or if there are no more.
fn read_line(prompt: &str) -> io::Result<Option<String>> {
    print!("{prompt}");
    io::stdout().flush()?;
    let mut line = String::new();
    // Blocks this program's only thread, in which nothing else is under way.
    io::stdin().lock().read_line(&mut line)?;
    let line = line.trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}
