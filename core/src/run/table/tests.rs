//! The table in the documentation of the module is the table of the code.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::println;

use super::{Input, Outcome, State, next};
use crate::message::StopReason;
use crate::policy::Limit;
use crate::time::Instant;

const UNTIL: Instant = Instant::ZERO;

/// The states in the order of the columns.
const STATES: [State; 12] = [
    State::Ready,
    State::Sending,
    State::Receiving,
    State::ErrorBody,
    State::Waiting(UNTIL),
    State::Calling,
    State::Done(Outcome::Broken),
    State::Done(Outcome::Ended(Some(StopReason::EndTurn))),
    State::Done(Outcome::Limit(Limit::Turns)),
    State::Done(Outcome::NeedsAnswer),
    State::Done(Outcome::Stopped),
    State::Done(Outcome::ThreadLost),
];

/// The inputs in the order of the rows.
const INPUTS: [Input; 25] = [
    Input::Request,
    Input::Head { is_success: true },
    Input::Head { is_success: false },
    Input::Reply { stop: Some(StopReason::ToolUse), calls: true },
    Input::Reply { stop: Some(StopReason::PauseTurn), calls: false },
    Input::Reply { stop: Some(StopReason::EndTurn), calls: false },
    Input::KeptBlocks,
    Input::KeptCalls,
    Input::Failure,
    Input::Backoff(UNTIL),
    Input::TimeOver,
    Input::NoCall,
    Input::OnlyForCaller,
    Input::ForTools,
    Input::Limit(Limit::Turns),
    Input::NoLimit { calls: true },
    Input::NoLimit { calls: false },
    Input::ThreadLost,
    Input::Summary(State::Calling),
    Input::Prompt,
    Input::Append,
    Input::Retry,
    Input::Resume { calls: true },
    Input::Resume { calls: false },
    Input::Stop,
];

/// The two letters of a state: its column.
// A new state or outcome does not compile until it has a column.
const fn letters(state: State) -> &'static str {
    match state {
        State::Ready => "Re",
        State::Sending => "Se",
        State::Receiving => "Rc",
        State::ErrorBody => "Er",
        State::Waiting(_) => "Wa",
        State::Calling => "Ca",
        State::Done(Outcome::Broken) => "Br",
        State::Done(Outcome::Ended(_)) => "En",
        State::Done(Outcome::Limit(_)) => "Li",
        State::Done(Outcome::NeedsAnswer) => "Ne",
        State::Done(Outcome::Stopped) => "St",
        State::Done(Outcome::ThreadLost) => "Th",
    }
}

/// The name of a row.
// A new input does not compile until it has a row.
const fn name(input: Input) -> &'static str {
    match input {
        Input::Request => "Request",
        Input::Head { is_success: true } => "Head, success",
        Input::Head { is_success: false } => "Head, error",
        Input::Reply { calls: true, .. } => "Reply, calls",
        Input::Reply { stop: Some(StopReason::PauseTurn), .. } => "Reply, pause",
        Input::Reply { .. } => "Reply, end",
        Input::KeptBlocks => "KeptBlocks",
        Input::KeptCalls => "KeptCalls",
        Input::Failure => "Failure",
        Input::Backoff(_) => "Backoff",
        Input::ThreadLost => "ThreadLost",
        Input::TimeOver => "TimeOver",
        Input::NoCall => "NoCall",
        Input::OnlyForCaller => "OnlyForCaller",
        Input::ForTools => "ForTools",
        Input::Limit(_) => "Limit",
        Input::NoLimit { calls: true } => "NoLimit, calls",
        Input::NoLimit { calls: false } => "NoLimit",
        Input::Summary(_) => "Summary, Ca",
        Input::Prompt => "Prompt",
        Input::Append => "Append",
        Input::Retry => "Retry",
        Input::Resume { calls: true } => "Resume, calls",
        Input::Resume { calls: false } => "Resume",
        Input::Stop => "Stop",
    }
}

fn line(name: &str, cells: impl Iterator<Item = &'static str>) -> String {
    let mut line = format!("{name:<18}");
    for (column, cell) in cells.enumerate() {
        line.push_str(if column == 6 { "│ " } else { "" });
        line.push_str(&format!("{cell:<3}"));
    }
    line.trim_end().to_string()
}

#[test]
fn the_documented_table_is_the_one_in_the_code() {
    let mut table = Vec::from([line("", STATES.into_iter().map(letters))]);
    table.extend(INPUTS.map(|input| {
        line(
            name(input),
            STATES.into_iter().map(|state| match next(state, input) {
                Ok(then) if then == state => "=",
                Ok(then) => letters(then),
                Err(_) => "·",
            }),
        )
    }));
    println!("{}", table.join("\n"));
    let text = include_str!("../table.rs");
    let documented: Vec<&str> = text
        .lines()
        .skip_while(|line| *line != "//! ```text")
        .skip(1)
        .take_while(|line| *line != "//! ```")
        .map(|line| line.trim_start_matches("//!").trim_start_matches(' '))
        .collect();
    let printed: Vec<&str> = table.iter().map(|line| line.trim_start()).collect();
    assert_eq!(printed, documented);
}

#[test]
fn a_reply_ends_only_while_it_is_received_and_without_open_calls_the_run_ends() {
    for state in STATES {
        let reply = Input::Reply { stop: Some(StopReason::ToolUse), calls: false };
        let then = (state == State::Receiving)
            .then_some(State::Done(Outcome::Ended(Some(StopReason::ToolUse))));
        assert_eq!(next(state, reply).ok(), then, "{state:?}");
    }
}
