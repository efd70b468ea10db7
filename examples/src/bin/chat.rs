//! A chat in the terminal: text as it arrives, and a person who allows or denies each call before
//! it runs.
//!
//! This example shows one run over many prompts (`user` is called again), every event as it
//! happens, and a `gate`, which decides about each call. The model receives the reason for a
//! denial; a run that failed continues with the next line.

use core::error::Error;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use toolrunner_std::{Decision, Event, GatedCall, Run, init_logging, tool};

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

/// Asks the person about one call. Calls of one turn are handled one after the other, because
/// reading a line blocks.
async fn approve(call: GatedCall) -> Decision {
    match read_line(&format!("  run {}({})? [y/n] ", call.name, call.input)) {
        Ok(Some(answer)) if answer.starts_with(['y', 'Y']) => Decision::Allow,
        _ => Decision::deny("The user did not allow this call."),
    }
}

fn main() -> ExitCode {
    toolrunner_examples::exit(chat())
}

#[tokio::main(flavor = "current_thread")]
async fn chat() -> Result<(), Box<dyn Error>> {
    init_logging();
    let (client, _) = toolrunner_examples::client()?;
    println!("Ask for the weather in a place, or for a sum. An empty line ends the chat.");
    let mut run = client
        .run("claude-opus-4-7")
        .max_tokens(1024)
        .tools((get_weather, calculate_sum))
        .gate(approve)
        .empty();
    while let Some(prompt) = read_line("\nYou: ")? {
        run.user(&prompt)?;
        if let Err(error) = answer(&mut run).await {
            // The run is intact: the conversation is kept, and the next line continues it.
            println!("\n(that failed: {error})");
        }
    }
    let usage = run.usage();
    println!("\n{} tokens in, {} tokens out", usage.input_total(), usage.output_tokens);
    Ok(())
}

/// Shows what happens until the model needs no further calls.
async fn answer(run: &mut Run) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    while let Some(event) = run.next_event().await? {
        match event {
            Event::BlockStart { block, .. }
                if block
                    .member("type")
                    .and_then(|kind| kind.as_text())
                    .is_some_and(|kind| kind == *"text") =>
            {
                write!(out, "\nModel: ")?;
            }
            Event::Text { text, .. } => {
                write!(out, "{text}")?;
                out.flush()?;
            }
            Event::ToolEnd { name, content, .. } => writeln!(out, "  {name}: {content}")?,
            Event::MessageStop => writeln!(out)?,
            _ => {}
        }
    }
    Ok(())
}

/// Reads a line that the person types. Returns `None` if it is empty, or if there are no more
/// lines.
fn read_line(prompt: &str) -> io::Result<Option<String>> {
    print!("{prompt}");
    io::stdout().flush()?;
    let mut line = String::new();
    // Blocks the only thread of this program, which has nothing else to do.
    io::stdin().lock().read_line(&mut line)?;
    let line = line.trim();
    Ok((!line.is_empty()).then(|| line.to_owned()))
}
