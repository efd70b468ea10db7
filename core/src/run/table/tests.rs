//! The table in the documentation of the module is the table of the code.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use std::println;

use super::{AfterSummary, Input, Outcome, State, Wish, next};
use crate::message::StopReason;
use crate::policy::Limit;

/// Defines the columns of the table in their order: the two letters of a state, its pattern, and
/// an example. A new state or outcome does not compile until it has a column.
macro_rules! columns {
    ($($letters:literal $pattern:pat => $example:expr,)+) => {
        const STATES: [State; [$($letters),+].len()] = [$($example),+];

        const fn letters(state: State) -> &'static str {
            match state { $($pattern => $letters,)+ }
        }
    };
}

columns! {
    "Re" State::Ready => State::Ready,
    "Se" State::Sending => State::Sending,
    "Rc" State::Receiving => State::Receiving,
    "Er" State::ErrorBody => State::ErrorBody,
    "Wa" State::Waiting => State::Waiting,
    "Ca" State::Calling => State::Calling,
    "Br" State::Done(Outcome::Broken) => State::Done(Outcome::Broken),
    "En" State::Done(Outcome::Ended(_)) => State::Done(Outcome::Ended(Some(StopReason::EndTurn))),
    "Li" State::Done(Outcome::Limit(_)) => State::Done(Outcome::Limit(Limit::Turns)),
    "Ne" State::Done(Outcome::NeedsAnswer) => State::Done(Outcome::NeedsAnswer),
    "St" State::Done(Outcome::Stopped) => State::Done(Outcome::Stopped),
    "Th" State::Done(Outcome::ThreadLost) => State::Done(Outcome::ThreadLost),
}

/// Defines the rows of the table in their order: the name of an input, its pattern, and an example.
/// A new input does not compile until it has a row.
macro_rules! rows {
    ($($name:literal $pattern:pat => $example:expr,)+) => {
        const INPUTS: [Input; [$($name),+].len()] = [$($example),+];

        const fn name(input: Input) -> &'static str {
            match input { $($pattern => $name,)+ }
        }
    };
}

rows! {
    "Request" Input::Request => Input::Request,
    "Head, success" Input::Head { is_success: true } => Input::Head { is_success: true },
    "Head, error" Input::Head { is_success: false } => Input::Head { is_success: false },
    "Reply, calls" Input::Reply { calls: true, .. } =>
        Input::Reply { stop: Some(StopReason::ToolUse), calls: true },
    "Reply, pause" Input::Reply { stop: Some(StopReason::PauseTurn), .. } =>
        Input::Reply { stop: Some(StopReason::PauseTurn), calls: false },
    "Reply, end" Input::Reply { .. } =>
        Input::Reply { stop: Some(StopReason::EndTurn), calls: false },
    "KeptBlocks" Input::KeptBlocks => Input::KeptBlocks,
    "KeptCalls" Input::KeptCalls => Input::KeptCalls,
    "Failure" Input::Failure => Input::Failure,
    "Backoff" Input::Backoff => Input::Backoff,
    "TimeOver" Input::TimeOver => Input::TimeOver,
    "NoCall" Input::NoCall => Input::NoCall,
    "OnlyForCaller" Input::OnlyForCaller => Input::OnlyForCaller,
    "ForTools" Input::ForTools => Input::ForTools,
    "Limit" Input::Limit(_) => Input::Limit(Limit::Turns),
    "NoLimit, calls" Input::NoLimit { calls: true } => Input::NoLimit { calls: true },
    "NoLimit" Input::NoLimit { calls: false } => Input::NoLimit { calls: false },
    "ThreadLost" Input::ThreadLost => Input::ThreadLost,
    "Summary, calls" Input::Summary(AfterSummary::Calls) => Input::Summary(AfterSummary::Calls),
    "Summary, request" Input::Summary(AfterSummary::Request) =>
        Input::Summary(AfterSummary::Request),
    "Summary, end" Input::Summary(AfterSummary::End(_)) =>
        Input::Summary(AfterSummary::End(Outcome::Ended(Some(StopReason::EndTurn)))),
    "Prompt" Input::Prompt => Input::Prompt,
    "Append" Input::Append => Input::Append,
    "AskAgain" Input::AskAgain => Input::AskAgain,
    "Resume, calls" Input::Resume { calls: true } => Input::Resume { calls: true },
    "Resume" Input::Resume { calls: false } => Input::Resume { calls: false },
    "Stop" Input::Stop => Input::Stop,
}

/// Defines the lines of the table of stop reasons. A new one does not compile until it has a line.
macro_rules! stops {
    ($($stop:ident)+) => {
        const STOPS: &[StopReason] = &[$(StopReason::$stop),+];

        const _: fn(StopReason) = |stop| match stop { $(StopReason::$stop => (),)+ };
    };
}

stops! {
    Compaction EndTurn MaxTokens ModelContextWindowExceeded PauseTurn Refusal StopSequence ToolUse
    Unknown
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
    let printed: Vec<&str> = table.iter().map(|line| line.trim_start()).collect();
    assert_eq!(printed, documented(0));
}

#[test]
fn the_documented_stop_reasons_are_those_in_the_code() {
    let printed: Vec<String> = STOPS
        .iter()
        .map(|&stop| {
            let wish = match Wish::of(Some(stop)) {
                Wish::Answers => "Answers",
                Wish::End(outcome) => letters(State::Done(outcome)),
                Wish::Resend => "Resend",
            };
            format!("{:<31}{wish}", stop.name())
        })
        .collect();
    println!("{}", printed.join("\n"));
    assert_eq!(printed, documented(1));
}

/// Returns the lines of a table in the documentation of the module.
fn documented(table: usize) -> Vec<&'static str> {
    let text = include_str!("../table.rs");
    let table = text.split("//! ```text\n").nth(table + 1).unwrap_or_default();
    table
        .lines()
        .take_while(|line| *line != "//! ```")
        .map(|line| line.trim_start_matches("//!").trim_start_matches(' '))
        .collect()
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
