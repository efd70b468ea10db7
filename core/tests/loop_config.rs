//! A driver's configuration holds limits and a retry policy; a run without its own uses them.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::*;
use toolrunner_core::drive::Driver;
use toolrunner_core::error::Error;
use toolrunner_core::message::StopReason;
use toolrunner_core::policy::{Limit, Limits, RetryPolicy};
use toolrunner_core::run::Outcome;
use toolrunner_core::testing::{
    Script, ScriptedModel, ScriptedReply, ScriptedTransport, VirtualClock,
};
use toolrunner_core::wire::Config;

const CONFIG: Config<'static> = Config::new("m", 64);
const ENDED: Result<Outcome, Error> = Ok(Outcome::Ended(Some(StopReason::EndTurn)));
const BUSY: &str = "overloaded_error";

/// A limit of this many turns.
fn turns(most: u32) -> Limits {
    Limits { turns: Some(most), ..Limits::NONE }
}

fn driver<'d>(
    config: Config<'d>,
    script: Script,
    tools: &'d Counting,
    clock: &'d VirtualClock,
) -> Driver<'d, ScriptedTransport, Counting, &'d VirtualClock> {
    Driver::new(config, ScriptedTransport::new(ScriptedModel::new(script)), tools, clock).unwrap()
}

#[test]
fn limits_of_the_configuration_end_a_run() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(1));
    let mut nothing = driver(
        CONFIG.limits(turns(0)),
        Script::new().reply(ScriptedReply::text("no")),
        &tools,
        &clock,
    );
    assert_eq!(until_done(&mut nothing, &mut run()), Ok(Outcome::Limit(Limit::Turns)));
    assert_eq!(requests(&mut nothing), 0);

    let script = Script::new()
        .reply(ScriptedReply::new().tool_use("t1", "plain", "{}"))
        .reply(ScriptedReply::text("done"));
    let mut one = driver(CONFIG.limits(turns(1)), script, &tools, &clock);
    let mut run = run();
    assert_eq!(until_done(&mut one, &mut run), Ok(Outcome::Limit(Limit::Turns)));
    // If the run has its own limit, that one applies.
    run.limits_mut().turns = Some(2);
    assert_eq!(until_done(&mut one, &mut run), ENDED);
    assert_eq!(*run.limits(), turns(2));
}

#[test]
fn limits_hold_before_calls_run_by_hand() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(1));
    let script = || Script::new().reply(ScriptedReply::new().tool_use("t1", "plain", "{}"));
    let mut driver =
        driver(CONFIG.limits(Limits { calls: Some(0), ..Limits::NONE }), script(), &tools, &clock);
    let mut run = run();
    assert_eq!(block_on(driver.next_turn(&mut run, &mut ())).unwrap(), None);
    block_on(driver.results(&mut run, &mut ())).unwrap();
    assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::Limit(Limit::Calls)));
    assert_eq!(run.results().count(), 0);
}

#[test]
fn limits_of_the_run_win() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(1));
    let mut driver = driver(
        CONFIG.limits(turns(0)),
        Script::new().reply(ScriptedReply::text("yes")),
        &tools,
        &clock,
    );
    let mut run = run();
    *run.limits_mut() = Limits::NONE;
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
}

#[test]
fn the_retry_policy_of_the_configuration_counts() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(1));
    let busy = || {
        Script::new()
            .error(529, BUSY, "x")
            .error(529, BUSY, "x")
            .error(529, BUSY, "x")
            .error(529, BUSY, "x")
    };
    for retries in [0, 1, 3] {
        let policy = RetryPolicy { retries, ..RetryPolicy::DEFAULT };
        let mut driver = driver(CONFIG.retry(policy), busy(), &tools, &clock);
        assert!(until_done(&mut driver, &mut run()).is_err());
        assert_eq!(requests(&mut driver), retries as usize + 1);
    }
    let mut own = driver(
        CONFIG.retry(RetryPolicy { retries: 3, ..RetryPolicy::DEFAULT }),
        busy(),
        &tools,
        &clock,
    );
    let mut run = run();
    run.retry_policy_mut().retries = 1;
    assert!(until_done(&mut own, &mut run).is_err());
    assert_eq!(requests(&mut own), 2);
}

#[test]
fn a_configuration_that_is_changed_counts_for_the_next_run() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(1));
    let mut driver =
        driver(CONFIG, Script::new().reply(ScriptedReply::text("yes")), &tools, &clock);
    assert_eq!(until_done(&mut driver, &mut run()), ENDED);
    driver.config_mut().limits = turns(0);
    assert_eq!(until_done(&mut driver, &mut run()), Ok(Outcome::Limit(Limit::Turns)));
}
