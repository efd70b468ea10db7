//! The stable harness: runs targets for some seconds each, from their corpora, with a seeded
//! mutator.
//!
//! `cargo run --release -- [--seconds N] [--seed S] [TARGET…]`; `--grow` regenerates the corpora
//! from the project's scenarios; `--again FILE TARGET` runs a target on one input. A finding is
//! written to `findings/` and makes the program fail.

mod grow;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use std::{env, fs};

use toolrunner_fuzz::mutate::Mutator;
use toolrunner_fuzz::{TARGETS, Target};

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut names, mut again) = (10_u64, 1_u64, Vec::new(), None);
    let number = |text: Option<String>| text.and_then(|text| text.parse().ok());
    let mut arguments = env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--grow" => {
                grow::all(&home());
                return ExitCode::SUCCESS;
            }
            "--again" => again = arguments.next(),
            "--seconds" => seconds = number(arguments.next()).unwrap_or(seconds),
            "--seed" => seed = number(arguments.next()).unwrap_or(seed),
            name if TARGETS.iter().any(|target| target.0 == name) => names.push(argument),
            _ => {
                eprintln!(
                    "usage: fuzz [--grow] [--again FILE] [--seconds N] [--seed S] [{}]…",
                    TARGETS.map(|target| target.0).join("|")
                );
                return ExitCode::from(2);
            }
        }
    }
    let (mut passed, mut failed) = (0, 0);
    for target in TARGETS
        .iter()
        .filter(|target| names.is_empty() || names.iter().any(|name| name == target.0))
    {
        if let Some(file) = &again {
            (target.1)(&fs::read(file).expect("an input"));
            passed += 1;
        } else if fuzz(target, Duration::from_secs(seconds), seed) {
            passed += 1
        } else {
            failed += 1
        }
    }
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn home() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Fuzzes one target. Returns whether there was no finding.
fn fuzz((name, run): &Target, time: Duration, seed: u64) -> bool {
    let mut seeds = read(&home().join("corpus").join(name));
    let given = seeds.len();
    seeds.push(Vec::new());
    let (start, mut executions, mut mutator) = (Instant::now(), 0_u64, Mutator::new(seed));
    let mut inputs = seeds.clone().into_iter();
    while start.elapsed() < time {
        // The unmodified corpus comes first.
        let input = inputs.next().unwrap_or_else(|| mutator.mutated(&seeds));
        if catch_unwind(AssertUnwindSafe(|| run(&input))).is_err() {
            let file = home().join("findings").join(format!("{name}-{seed}-{executions}"));
            let written =
                fs::create_dir_all(home().join("findings")).and_then(|()| fs::write(&file, &input));
            println!(
                "{name}: a finding after {executions} executions; {written:?} findings/{name}-{seed}-{executions}"
            );
            return false;
        }
        executions += 1;
    }
    let rate = executions as f64 / start.elapsed().as_secs_f64();
    println!(
        "{name}: {executions} executions from {given} seeds in {} s ({rate:.0}/s), no finding",
        time.as_secs()
    );
    true
}

/// Reads the files of a folder in the order of their names, so that a seed has the same effect on
/// every machine.
fn read(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().filter_map(|path| fs::read(path).ok()).collect()
}
