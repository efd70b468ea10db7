//! A batch job that survives being stopped: it saves its state to a file after each turn, and the
//! next start continues from there.
//!
//! ```text
//! # The whole job:
//! cargo run -p toolrunner-examples --bin batch -- state.json
//! # One turn, as if the machine failed then; start it again:
//! cargo run -p toolrunner-examples --bin batch -- state.json 1
//! ```
//! This example shows `snapshot` to save a run, and `resume` to continue it exactly where it was,
//! in another process. It calls `results` before saving, so that the snapshot contains the tools'
//! results: calls that ran before the snapshot do not run again; calls that started after it do.

use core::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use toolrunner_std::{Client, init_logging, tool};

/// Get the current weather in a given location.
#[tool]
async fn get_weather(
    /** The city and state, e.g. San Francisco, CA */
    location: &str,
) -> String {
    println!("  (looking up {location})");
    format!("Sunny, 20°C in {location}")
}

const JOBS: [&str; 3] =
    ["What's the weather in Paris?", "What's the weather in Oslo?", "What's the weather in Rome?"];

/// The whole state of the job, as it is stored in the file.
#[derive(Default, Serialize, Deserialize)]
struct State {
    /// The answers to the first jobs.
    answers: Vec<String>,
    /// The snapshot, in JSON, of the run under way.
    run: Option<Box<RawValue>>,
}

impl State {
    fn load(path: &Path) -> Result<Self, Box<dyn Error>> {
        match fs::read(path) {
            Ok(json) => Ok(serde_json::from_slice(&json).map_err(|error| {
                format!("{} is not a state of this job: {error}", path.display())
            })?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a new file and renames it over the old one, so that one complete file always exists.
    fn save(&self, path: &Path) -> Result<(), Box<dyn Error>> {
        let new = path.with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(self)?)?;
        Ok(fs::rename(new, path)?)
    }
}

/// Works until all jobs are done, or for at most `turns` turns.
async fn work(client: &Client, path: &Path, mut turns: u32) -> Result<(), Box<dyn Error>> {
    let mut state = State::load(path)?;
    while let Some(job) = JOBS.get(state.answers.len()) {
        let builder = client.run("claude-opus-4-7").tools(get_weather);
        let mut run = match &state.run {
            None => {
                println!("{job}");
                builder.user(job)
            }
            Some(snapshot) => {
                println!("{job} (going on)");
                builder.resume(snapshot.get())
            }
        };
        while let Some(mut turn) = run.next_turn().await? {
            // Runs the turn's calls now, so that the saved state contains their results.
            turn.results().await?;
            turns -= 1;
            if turn.is_last() {
                println!("  {}", turn.text());
                state.answers.push(turn.text());
                state.run = None;
            } else {
                state.run = Some(RawValue::from_string(turn.run().snapshot()?)?);
            }
            state.save(path)?;
            if turns == 0 {
                println!("stopped, to go on later");
                return Ok(());
            }
        }
    }
    println!("all {} jobs are done", JOBS.len());
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    init_logging();
    let mut arguments = env::args_os().skip(1);
    let path = arguments
        .next()
        .map_or_else(|| env::temp_dir().join("toolrunner-batch.json"), PathBuf::from);
    let turns = match arguments.next().map(|turns| turns.to_string_lossy().parse()) {
        None => u32::MAX,
        Some(Ok(turns)) if turns > 0 => turns,
        Some(_) => {
            eprintln!("usage: batch [STATE-FILE [TURNS]], TURNS at least 1");
            return ExitCode::FAILURE;
        }
    };
    let result = match toolrunner_examples::client() {
        Ok((client, _)) => work(&client, &path, turns).await,
        Err(error) => Err(error),
    };
    toolrunner_examples::exit(result)
}
