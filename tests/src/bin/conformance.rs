//! Plays scenario files through the loop and prints the differences.
//!
//! ```text
//! conformance [--embedded]
//!     [--transport std|blocking|embedded|embassy|reqwless|reqwless-per-request]
//!     [--capacity BYTES] [--cut LONGEST] [--seed N] FILE|DIRECTORY...
//! ```
//! Each scenario runs twice: with whole bodies, and with bodies cut into pieces of 1 to LONGEST
//! bytes (16 by default; 0 disables the second run).

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use toolrunner_tests::engine::{Engine, by_name};
use toolrunner_tests::replay::Cuts;
use toolrunner_tests::scenario::{Scenario, files};
use toolrunner_tests::{Verdict, play};

const USAGE: &str = "usage: conformance [--embedded] [--transport std|blocking|embedded|embassy|reqwless|reqwless-per-request] [--capacity BYTES] [--cut LONGEST] [--seed N] FILE|DIRECTORY...";

struct Arguments {
    engine: Box<dyn Engine>,
    cut: Option<Cuts>,
    files: Vec<PathBuf>,
}

fn arguments() -> Result<Arguments, String> {
    let (mut transport, mut capacity, mut longest, mut seed, mut paths) =
        ("std".to_owned(), 64 * 1024, 16, 1, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        let number = |text: String| text.parse().map_err(|_| format!("{text:?} is not a number"));
        match word.as_str() {
            "--embedded" => transport = "embedded".to_owned(),
            "--transport" => transport = value()?,
            "--capacity" => capacity = number(value()?)?,
            "--cut" => longest = number(value()?)?,
            "--seed" => {
                seed = value()
                    .map(|text| text.parse().map_err(|_| format!("{text:?} is not a number")))??
            }
            option if option.starts_with("--") => return Err(format!("unknown option {option}")),
            path => paths.push(PathBuf::from(path)),
        }
    }
    let files = files(&paths)?;
    if files.is_empty() {
        return Err("no scenario".to_owned());
    }
    let engine =
        by_name(&transport, capacity).ok_or_else(|| format!("unknown transport {transport}"))?;
    Ok(Arguments { engine, cut: (longest > 0).then_some(Cuts { longest, seed }), files })
}

fn judge(engine: &dyn Engine, scenario: Scenario, cut: Option<Cuts>) -> Verdict {
    let scenario = Arc::new(scenario);
    let whole = play(engine, &scenario, None);
    if !whole.differences.is_empty() || cut.is_none() {
        return whole;
    }
    let mut pieces = play(engine, &scenario, cut);
    for difference in &mut pieces.differences {
        difference.insert_str(0, "in pieces: ");
    }
    pieces
}

fn main() -> ExitCode {
    let Arguments { engine, cut, files } = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let (mut passed, mut failed, mut left_out) = (0, 0, 0);
    for file in files {
        let scenario = Scenario::read(&file);
        if let Ok(scenario) = &scenario
            && let Some(lack) = engine.lacks(scenario)
        {
            left_out += 1;
            println!("left out  {}: {lack}", scenario.name);
            continue;
        }
        let (name, verdict) = match scenario {
            Ok(scenario) => (scenario.name.clone(), judge(&*engine, scenario, cut)),
            Err(error) => {
                (file.display().to_string(), Verdict { differences: vec![error], note: None })
            }
        };
        if verdict.differences.is_empty() {
            passed += 1;
            println!(
                "ok    {name}{}",
                verdict.note.map(|note| format!(" ({note})")).unwrap_or_default()
            );
        } else {
            failed += 1;
            println!("FAIL  {name}: {}", verdict.differences.join("; "));
        }
    }
    if left_out > 0 {
        println!("{left_out} left out");
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
