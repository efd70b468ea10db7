//! Repeats one piece of work: `bench CASE TIMES`. `bench --list` prints the cases, each with the
//! number of bytes that it processes.
//!
//! This program measures nothing itself: `count.py` counts its instructions under callgrind.

use std::process::ExitCode;

use toolrunner_benches::{CASES, FLOORS, Work, plain};

/// Returns the case with this name.
fn named(name: &str) -> Option<Work> {
    match name.strip_prefix("floor: ") {
        Some(floor) => FLOORS.iter().find(|case| case.0 == floor).map(|(_, make)| make(plain())),
        None => CASES.iter().find(|case| case.0 == name).map(|(_, make)| make()),
    }
}

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (name, times) = (
        arguments.next().unwrap_or_default(),
        arguments.next().and_then(|text| text.parse::<usize>().ok()),
    );
    if name == "--list" {
        let names = CASES
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .chain(FLOORS.iter().map(|(name, _)| format!("floor: {name}")));
        names.for_each(|name| {
            println!("{name}\t{}", named(&name).map_or(0, |work| work.bytes.len()))
        });
        return ExitCode::SUCCESS;
    }
    let (Some(mut work), Some(times)) = (named(&name), times) else {
        eprintln!("usage: bench --list | CASE TIMES");
        return ExitCode::from(2);
    };
    for _ in 0..times {
        (work.once)();
    }
    ExitCode::SUCCESS
}
