//! The whole loop in one program: two tools, a question that needs both, and every event as it
//! happens.
//!
//! ```text
//! cargo run -p toolrunner-examples --bin quickstart
//! ```
//! Without a key, it uses a scripted model that it starts itself, on this machine, over real HTTP.
//! With `ANTHROPIC_API_KEY` set (and `ANTHROPIC_BASE_URL` for another server), it uses that server.
//! `ANTHROPIC_LOG=debug` logs more.

use core::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use lexopt::prelude::*;
use serde::Serialize;
use toolrunner_std::{Event, Outcome, StopReason, ToolInput, init_logging, tool};

#[derive(Clone, Copy, ToolInput)]
#[tool(rename_all = "lowercase")]
enum Unit {
    Celsius,
    Fahrenheit,
}

#[derive(Serialize)]
struct Weather {
    temperature: &'static str,
    condition: &'static str,
}

/// Get the current weather in a given location.
#[tool]
async fn get_weather(
    /// The city and state, e.g. San Francisco, CA
    location: &str,
    /// Temperature unit
    #[tool(default = Unit::Fahrenheit)]
    unit: Unit,
) -> Weather {
    // The same weather everywhere: a real program would query a weather service here.
    let _everywhere = location;
    let temperature = match unit {
        Unit::Celsius => "20°C",
        Unit::Fahrenheit => "68°F",
    };
    Weather { temperature, condition: "Sunny" }
}

/// Add two numbers together.
#[tool]
fn calculate_sum(
    /// First number
    a: i64,
    /// Second number
    b: i64,
) -> Result<i64, &'static str> {
    a.checked_add(b).ok_or("the sum is too large")
}

const HELP: &str = "\
Ask a model that can use two tools: get_weather and calculate_sum.

Usage: quickstart [OPTIONS] [PROMPT]

  --json           ask for whole replies instead of a stream
  --model <NAME>   the model (default: claude-opus-4-7)
  -h, --help       this text

Without ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN, or ANTHROPIC_BASE_URL) it asks a
scripted model on this machine. ANTHROPIC_LOG=info or debug shows what happens.";

struct Options {
    model: String,
    prompt: String,
    stream: bool,
}

/// Parses the command line. Returns `None` if it requests help.
fn options() -> Result<Option<Options>, lexopt::Error> {
    let mut options =
        Options { model: "claude-opus-4-7".to_owned(), prompt: String::new(), stream: true };
    let mut words: Vec<String> = Vec::new();
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(None),
            Long("json") => options.stream = false,
            Long("model") => options.model = arguments.value()?.string()?,
            Value(word) => words.push(word.string()?),
            _ => return Err(argument.unexpected()),
        }
    }
    options.prompt = match words.as_slice() {
        [] => "What's the weather like in Paris? Also, what's 15 + 27?".to_owned(),
        words => words.join(" "),
    };
    Ok(Some(options))
}

async fn ask(options: Options) -> Result<(), Box<dyn Error>> {
    let (client, is_scripted) = toolrunner_examples::client()?;
    let mut out = io::stdout();
    if is_scripted {
        writeln!(out, "No API key is set: a scripted model on this machine answers.\n")?;
    }
    writeln!(out, "You: {}", options.prompt)?;

    let mut run = client
        .run(options.model)
        .max_tokens(1024)
        .stream(options.stream)
        .tools((get_weather, calculate_sum))
        .user(&options.prompt);
    let mut is_talking = false;
    while let Some(event) = run.next_event().await? {
        match event {
            Event::Text { text, .. } => {
                if !is_talking {
                    write!(out, "\nModel: ")?;
                }
                is_talking = true;
                write!(out, "{text}")?;
                out.flush()?;
            }
            Event::MessageStop if is_talking => {
                writeln!(out)?;
                is_talking = false;
            }
            Event::ToolStart { name, input, .. } => writeln!(out, "  call   {name} {input}")?,
            Event::ToolEnd { name, content, is_error, .. } => {
                let word = if is_error { "failed" } else { "result" };
                match content.as_text() {
                    Some(text) => writeln!(out, "  {word} {name} {text}")?,
                    None => writeln!(out, "  {word} {name} {content}")?,
                }
            }
            Event::Retry { wait, error, .. } => {
                writeln!(out, "  {error}; trying again in {:.1} s", wait.as_secs_f32())?;
            }
            _ => {}
        }
    }

    // All events were received: this returns how the run ended, and sends no request.
    let finished = run.until_done().await?;
    if finished.outcome != Outcome::Ended(Some(StopReason::EndTurn)) {
        writeln!(out, "\nThe run ended early: {}.", finished.outcome)?;
    }
    let usage = finished.usage;
    let turns = match run.turns() {
        1 => "1 turn".to_owned(),
        many => format!("{many} turns"),
    };
    writeln!(
        out,
        "\n{turns}, {} tokens in, {} tokens out",
        usage.input_total(),
        usage.output_tokens
    )?;
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    init_logging();
    match options() {
        Ok(Some(options)) => toolrunner_examples::exit(ask(options).await),
        Ok(None) => {
            println!("{HELP}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("error: {error}\n\n{HELP}");
            ExitCode::FAILURE
        }
    }
}
