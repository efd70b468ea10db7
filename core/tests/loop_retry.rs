//! When a request is retried, and how long the run waits before.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a test runs on a server"
)]

mod common;

use core::time::Duration;

use common::*;
use toolrunner_core::error::{Error, TransportKind};
use toolrunner_core::message::StopReason;
use toolrunner_core::policy::RetryPolicy;
use toolrunner_core::run::Outcome;
use toolrunner_core::testing::{
    Fault, Script, ScriptedModel, ScriptedReply, ScriptedTransport, VirtualClock,
};

const ENDED: Result<Outcome, Error> = Ok(Outcome::Ended(Some(StopReason::EndTurn)));

/// Answers all requests with this error. Returns how many there were and how long the run waited
/// between them.
fn tried(status: u16, headers: &[(&str, &str)], retries: u32, seed: u64) -> (usize, Vec<Duration>) {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(seed));
    let script = (0..=retries).fold(Script::new(), |script, _| {
        headers.iter().fold(script.error(status, "some_error", "x"), |script, (name, value)| {
            script.header(name, value)
        })
    });
    let mut driver = drive(script, &tools, &clock);
    let mut run = run();
    run.retry_policy_mut().retries = retries;
    let error = until_done(&mut driver, &mut run).unwrap_err();
    assert!(matches!(error, Error::Api(api) if api.status == status), "{error:?}");
    assert_eq!(run.attempt(), 0, "the next try is a first one");
    (requests(&mut driver), clock.waits())
}

#[test]
fn statuses() {
    for status in [400, 401, 402, 403, 404, 412, 413, 422, 431, 499] {
        assert_eq!(tried(status, &[], 2, 0), (1, vec![]), "{status}");
    }
    for status in [408, 409, 429, 500, 501, 502, 503, 504, 529, 599] {
        assert_eq!(tried(status, &[], 2, 0).0, 3, "{status}");
    }
    assert_eq!(tried(529, &[], 0, 0).0, 1);
}

#[test]
fn x_should_retry_decides_before_the_status() {
    assert_eq!(tried(529, &[("x-should-retry", "false")], 2, 0).0, 1);
    assert_eq!(tried(400, &[("X-Should-Retry", "true")], 2, 0).0, 3);
    assert_eq!(tried(400, &[("x-should-retry", "perhaps")], 2, 0).0, 1);
}

#[test]
fn the_wait_that_the_server_names_is_kept_exactly_up_to_the_cap() {
    let waits = |headers: &[(&str, &str)]| tried(429, headers, 1, 3).1;
    let seconds = |seconds: f64| vec![Duration::from_secs_f64(seconds)];
    assert_eq!(waits(&[("retry-after", "2")]), seconds(2.0));
    assert_eq!(waits(&[("retry-after", "2.5")]), seconds(2.5));
    assert_eq!(waits(&[("retry-after", "60")]), seconds(60.0));
    for longer in ["60.001", "86400", "18446744073709551"] {
        assert_eq!(waits(&[("retry-after", longer)]), seconds(60.0), "{longer}");
    }
    assert_eq!(waits(&[("retry-after-ms", "1500")]), seconds(1.5));
    assert_eq!(waits(&[("retry-after-ms", "1500"), ("retry-after", "9")]), seconds(1.5));
    assert_eq!(waits(&[("retry-after", "9"), ("retry-after-ms", "1500")]), seconds(1.5));
    for nothing in ["0", "-1", "soon", "Fri, 31 Dec 1999 23:59:59 GMT", ""] {
        let wait = waits(&[("retry-after", nothing)])[0];
        assert!((375..=500).contains(&wait.as_millis()), "{nothing}: {wait:?}");
    }
}

#[test]
fn the_wait_doubles_up_to_eight_seconds_less_at_most_a_quarter() {
    let mut all = Vec::new();
    for seed in 0..50 {
        let (requests, waits) = tried(529, &[], 7, seed);
        assert_eq!((requests, waits.len()), (8, 7));
        for (wait, longest) in waits.iter().zip([500, 1000, 2000, 4000, 8000, 8000, 8000]) {
            let longest = Duration::from_millis(longest);
            assert!(*wait <= longest && *wait >= longest * 3 / 4, "{wait:?} of {longest:?}");
        }
        all.push(waits[6]);
    }
    all.sort();
    // It varies over most of its range.
    assert!(all[49] - all[0] > Duration::from_secs(1), "{all:?}");
}

#[test]
fn no_number_of_attempts_is_too_large() {
    let policy = RetryPolicy::DEFAULT;
    for attempt in [0, 1, 31, 32, 33, 34, 1000, u32::MAX] {
        for jitter in [0, 255, 256, u32::MAX] {
            assert!(policy.wait(attempt, None, jitter) <= Duration::from_secs(8));
            assert!(policy.wait(attempt, None, jitter) >= Duration::from_millis(375));
        }
    }
    let ask = |cap, asked| RetryPolicy { retry_after_cap: cap, ..policy }.wait(1, Some(asked), 0);
    assert_eq!(ask(Duration::from_secs(5), Duration::MAX), Duration::from_secs(5));
    assert_eq!(ask(Duration::MAX, Duration::from_secs(86400)), Duration::from_secs(86400));
    assert_eq!(ask(Duration::ZERO, Duration::from_secs(7)), Duration::from_millis(500));
    let longest = RetryPolicy { first_wait: Duration::MAX, longest_wait: Duration::MAX, ..policy };
    // Half a million years are hardly shortened.
    assert!(longest.wait(40, None, 0) >= Duration::from_micros(u64::MAX - 1));
}

#[test]
fn connections_that_fail() {
    use TransportKind::{Closed, Connect, Dns, Http, Other, Timeout, Tls};
    for (kind, again) in [
        (Closed, true),
        (Connect, true),
        (Dns, true),
        (Timeout, true),
        (Other, true),
        (Tls, false),
        (Http, false),
    ] {
        for fault in [Fault::Unsent(kind), Fault::NoHead(kind)] {
            let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
            let transport = ScriptedTransport::new(ScriptedModel::new(
                Script::new().reply(ScriptedReply::text("Hi")),
            ))
            .faults(&[fault, fault]);
            let mut driver = drive_over(transport, &tools, &clock);
            let mut run = run();
            let ended = until_done(&mut driver, &mut run);
            assert_eq!(ended, if again { ENDED } else { Err(Error::Transport(kind)) }, "{fault:?}");
            assert_eq!(clock.waits().len(), if again { 2 } else { 0 });
            // It still continues when the caller asks it to.
            let _ = until_done(&mut driver, &mut run);
            run.limits_mut().turns = Some(9);
            assert_eq!(until_done(&mut driver, &mut run), ENDED);
        }
    }
}

#[test]
fn each_try_is_told_and_the_tries_of_one_request_do_not_count_for_the_next() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let overloaded = |script: Script| {
        script.error(529, "overloaded_error", "x").error(529, "overloaded_error", "x")
    };
    let script =
        overloaded(Script::new()).reply(ScriptedReply::new().tool_use("toolu_1", "plain", "{}"));
    let mut driver = drive(overloaded(script).reply(ScriptedReply::text("Done.")), &tools, &clock);
    let mut run = run();
    let mut seen = Seen::default();
    assert_eq!(
        block_on(driver.until_done(&mut run, &mut seen)).unwrap(),
        Outcome::Ended(Some(StopReason::EndTurn))
    );
    let told: Vec<&str> = seen
        .events
        .iter()
        .filter(|event| event.starts_with("Re"))
        .map(|event| event.split(", wait").next().unwrap())
        .collect();
    assert_eq!(
        told,
        [
            "Request { turn: 1, attempt: 1 }",
            "Retry { attempt: 1",
            "Request { turn: 1, attempt: 2 }",
            "Retry { attempt: 2",
            "Request { turn: 1, attempt: 3 }",
            "Request { turn: 2, attempt: 1 }",
            "Retry { attempt: 1",
            "Request { turn: 2, attempt: 2 }",
            "Retry { attempt: 2",
            "Request { turn: 2, attempt: 3 }",
        ]
    );
    assert_eq!((run.turns(), tools.began().len()), (2, 1));
}
