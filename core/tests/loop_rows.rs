//! The edge cases in which the official runners differ, as far as a scenario cannot express them:
//! raised limits, reported parts, whole and streamed replies, early calls. All of them:
//! `tests/scenarios/README.md`, "Edge cases".
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

use common::*;
use serde_json::json;
use toolrunner_core::error::{ApiErrorKind, Error, Protocol};
use toolrunner_core::message::StopReason;
use toolrunner_core::policy::Limit;
use toolrunner_core::run::{Outcome, Step, ToolAnswer};
use toolrunner_core::testing::{Script, ScriptedReply, Style, VirtualClock};
use toolrunner_core::time::Instant;
use toolrunner_core::transport::ReplyHead;

#[test]
fn tool_use_on_the_last_allowed_turn() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver =
        drive(Script::new().reply(called()).reply(ScriptedReply::text("Done.")), &tools, &clock);
    let mut run = run();
    run.limits_mut().turns = Some(1);
    for _ in 0..2 {
        assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::Limit(Limit::Turns)));
        assert!(tools.began().is_empty());
        assert_eq!(run.calls().len(), 1);
        assert_eq!(run.last_message().unwrap().tool_uses().count(), 1);
    }
    run.limits_mut().turns = Some(2);
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert_eq!(tools.began(), ["toolu_1"]);
    assert_eq!(requests(&mut driver), 2);
    assert_eq!(messages(&run)[2]["content"], json!([result("toolu_1", "ok")]));
}

#[test]
fn append_reply_and_results() {
    // The reply is in the conversation and its results can be read: reading them runs nothing
    // again.
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver =
        drive(Script::new().reply(called()).reply(ScriptedReply::text("Done.")), &tools, &clock);
    let mut run = run();
    assert_eq!(next_turn(&mut driver, &mut run), Ok(None));
    run.answer(0.into(), ToolAnswer::ok("by hand")).unwrap();
    assert_eq!(run.results().count(), 1);
    assert_eq!(
        run.answer(0.into(), ToolAnswer::ok("again")),
        Err(Error::Misuse(toolrunner_core::error::Misuse::NoSuchCall))
    );
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert!(tools.began().is_empty());
    assert_eq!(messages(&run)[2]["content"], json!([result("toolu_1", "by hand")]));
}

#[test]
fn a_call_without_an_id_or_a_name() {
    for block in [
        r#"{"type":"tool_use","name":"plain","input":{}}"#,
        r#"{"type":"tool_use","id":"","name":"plain","input":{}}"#,
        r#"{"type":"tool_use","id":"toolu_1","input":{}}"#,
    ] {
        for stream in [true, false] {
            let body = rendered(ScriptedReply::new().block(block), Style::default(), stream);
            let mut run = run();
            let (_, ended) = exchange(&mut run, 200, [body.as_slice()]);
            assert!(matches!(ended, Err(Error::Protocol(Protocol::Event { .. }))), "{block}");
        }
    }
}

#[test]
fn input_is_not_an_object() {
    for (stream, reply) in [
        (
            true,
            ScriptedReply::new()
                .tool_use_cut("toolu_1", "plain", "[1]")
                .tool_use_cut("toolu_2", "plain", r#""x""#)
                .tool_use("toolu_3", "plain", "{}"),
        ),
        (
            false,
            ScriptedReply::new()
                .tool_use("toolu_1", "plain", "[1]")
                .tool_use("toolu_2", "plain", r#""x""#)
                .tool_use("toolu_3", "plain", "{}"),
        ),
    ] {
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let mut driver =
            drive(Script::new().reply(reply).reply(ScriptedReply::text("Done.")), &tools, &clock);
        driver.config_mut().stream = stream;
        let mut run = run();
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
        assert_eq!(tools.began(), ["toolu_3"]);
        let sent = last_request(&mut driver);
        assert_eq!(sent[1]["content"][0]["input"], json!({"INVALID_JSON":"[1]"}));
        assert_eq!(
            sent[2]["content"],
            json!([
                failure(
                    "toolu_1",
                    "Error: invalid input for tool 'plain': input: expected an object, got array"
                ),
                failure(
                    "toolu_2",
                    "Error: invalid input for tool 'plain': input: expected an object, got string"
                ),
                result("toolu_3", "ok"),
            ])
        );
    }
}

#[test]
fn more_bad_inputs_than_are_kept_in_detail() {
    let reply = (0..20).fold(ScriptedReply::new(), |reply, i| {
        reply.tool_use_cut(&format!("toolu_{i}"), "plain", if i % 2 == 0 { "[1]" } else { "{" })
    });
    let tools = Counting::usual();
    let results = results_of(reply, &tools);
    assert!(tools.began().is_empty());
    assert_eq!(results.as_array().unwrap().len(), 20);
    assert!(results.as_array().unwrap().iter().all(|result| result["is_error"] == true));
    assert_eq!(
        results[19]["content"],
        "Error: invalid input for tool 'plain': input: expected an object, got something else"
    );
}

#[test]
fn pause_turn() {
    for reason in ["pause_turn", "compaction"] {
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let paused =
            ScriptedReply::text("Wait.").block(r#"{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"q":1}}"#).stop(reason);
        let mut driver =
            drive(Script::new().reply(paused).reply(ScriptedReply::text("Done.")), &tools, &clock);
        let mut run = run();
        run.limits_mut().turns = Some(1);
        assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::Limit(Limit::Turns)));
        let before = messages(&run);
        run.limits_mut().turns = Some(2);
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
        assert_eq!(last_request(&mut driver), before);
    }
}

/// A turn that pauses before it has any content would be requested again with the same request,
/// without end: it counts as a failed attempt.
#[test]
fn pause_turn_without_content() {
    for (reason, reply) in [
        ("pause_turn", ScriptedReply::new()),
        ("compaction", ScriptedReply::new()),
        ("pause_turn", ScriptedReply::text(" \n")),
    ] {
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let script =
            (0..9).fold(Script::new(), |script, _| script.reply(reply.clone().stop(reason)));
        let mut driver = drive(script, &tools, &clock);
        let mut run = run();
        let failed = until_done(&mut driver, &mut run).unwrap_err();
        assert_eq!(
            failed.to_string(),
            "protocol error: unexpected event: expected blocks in a turn that pauses"
        );
        assert_eq!((messages(&run).len(), run.turns()), (1, 0));
        assert_eq!(driver.transport_mut().model().requests().len(), 3);
    }
}

#[test]
fn pause_turn_with_a_clients_tool_use() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver = drive(
        Script::new().reply(called().stop("pause_turn")).reply(ScriptedReply::text("Done.")),
        &tools,
        &clock,
    );
    let mut run = run();
    run.limits_mut().turns = Some(1);
    run.limits_mut().calls = Some(0);
    assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::Limit(Limit::Turns)));
    // A raised limit resumes the pause. It runs nothing, and a call that does not run is not
    // counted.
    run.limits_mut().turns = Some(2);
    assert_eq!(
        block_on(driver.until_done(&mut run, &mut ())).unwrap(),
        Outcome::Ended(Some(StopReason::EndTurn))
    );
    assert!(tools.began().is_empty());
    let sent = last_request(&mut driver);
    assert_eq!(sent.len(), 2);
    assert_eq!(sent[1]["content"][1]["id"], "toolu_1");
}

/// A call may have begun before the reply said that it pauses. If the caller does not wait for its
/// end, the model receives a cancelled result.
#[test]
fn pause_turn_behind_a_call_that_began_early() {
    let mut run = run();
    let reply = ScriptedReply::new()
        .tool_use("t1", "plain", "{}")
        .tool_use("t2", "plain", "{}")
        .stop("pause_turn");
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    run.head_arrived(&ReplyHead::new(200));
    let body = rendered(reply, Style::default(), true);
    let mut rest = body.as_slice();
    while run.feed(&mut rest).unwrap().is_some() {
        run.mark_started_early(0.into(), Instant::ZERO);
    }
    assert!(run.reply_is_whole());
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    assert_eq!(
        messages(&run)[2]["content"],
        json!([failure("t1", "Error: cancelled"), failure("t2", "Error: not run")])
    );
    assert_valid(&run);
}

#[test]
fn empty_content() {
    for reason in ["end_turn", "tool_use"] {
        for stream in [true, false] {
            let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
            let script = Script::new()
                .reply(ScriptedReply::new().stop(reason))
                .reply(ScriptedReply::text("Now."))
                .reply(ScriptedReply::text("Again."));
            let mut driver = drive(script, &tools, &clock);
            driver.config_mut().stream = stream;
            let mut run = run();
            assert!(matches!(until_done(&mut driver, &mut run), Ok(Outcome::Ended(_))));
            assert_eq!(messages(&run).len(), 1);
            assert!(run.last_message().is_none());
            run.ask_again().unwrap();
            assert_eq!(until_done(&mut driver, &mut run), ENDED);
            run.user("More.").unwrap();
            assert_eq!(until_done(&mut driver, &mut run), ENDED);
        }
    }
}

#[test]
fn end_turn_with_a_tool_use_block() {
    for reason in ["end_turn", "stop_sequence", "model_context_window_exceeded", "something_new"] {
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let mut driver = drive(
            Script::new().reply(called().stop(reason)).reply(ScriptedReply::text("Done.")),
            &tools,
            &clock,
        );
        let mut run = run();
        assert!(matches!(until_done(&mut driver, &mut run), Ok(Outcome::Ended(Some(_)))));
        run.user("Go on.").unwrap();
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
        assert!(tools.began().is_empty());
    }
}

#[test]
fn unknown_block_type() {
    let block = r#"{"zeta":[1,{"y":1e300}],"type":"hologram","text":"\u00e9 x","alpha":12345678901234567890}"#;
    let call = r#"{"type":"tool_use","name":"plain","id":"toolu_1","input":{"z":1,"a":12345678901234567890.10},"caller":{"type":"direct"}}"#;
    for stream in [true, false] {
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let reply = ScriptedReply::new().block(block).block(call);
        let mut driver =
            drive(Script::new().reply(reply).reply(ScriptedReply::text("Done.")), &tools, &clock);
        driver.config_mut().stream = stream;
        let mut run = run();
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
        let body = driver.transport_mut().model().requests().last().unwrap().body.clone();
        let expected = format!(r#"{{"role":"assistant","content":[{block},{call}]}}"#);
        assert!(String::from_utf8(body).unwrap().contains(&expected), "stream {stream}");
    }
}

#[test]
fn unknown_events_pings_and_comments() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let style = Style { pings: true, comments: true, ..Style::default() };
    let mut body = rendered(ScriptedReply::text("Hello"), style, true);
    // A frame with an unknown name is skipped; one without a name produces an event.
    let strange = b"event: strange\ndata: no JSON\n\ndata: {\"type\":\"strange\",\"x\":1}\n\n";
    let mut with = strange.to_vec();
    with.append(&mut body);
    let mut driver = drive(Script::new().raw(200, &[], with), &tools, &clock);
    let mut run = run();
    let mut seen = Seen::default();
    let outcome = block_on(driver.until_done(&mut run, &mut seen)).unwrap();
    assert_eq!(outcome, Outcome::Ended(Some(StopReason::EndTurn)));
    assert_eq!(seen.events.iter().filter(|event| event.starts_with("Unknown")).count(), 1);
    assert!(seen.events.iter().any(|event| event == "Ping"));
    assert_eq!(messages(&run)[1]["content"], json!([{"type":"text","text":"Hello"}]));
}

#[test]
fn stream_without_message_stop() {
    for early in [
        ScriptedReply::text("Hel").ends_early(),
        ScriptedReply::text("Hel").error_event("overloaded_error", "Overloaded"),
    ] {
        let script = || Script::new().reply(early.clone()).reply(ScriptedReply::text("Hello"));
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let mut driver = drive(script(), &tools, &clock);
        let mut run = run();
        // No part was reported: the request is retried.
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
        assert_eq!(messages(&run)[1]["content"][0]["text"], "Hello");
        // A part was reported: the caller decides. The run continues where it stopped.
        let mut driver = drive(script(), &tools, &clock);
        let mut run = common::run();
        let failed = block_on(driver.until_done(&mut run, &mut Seen::default())).unwrap_err();
        assert!(
            matches!(failed.error, Error::Protocol(Protocol::EndedEarly) | Error::Api(_)),
            "{failed:?}"
        );
        assert_eq!(messages(&run).len(), 1);
        assert_valid(&run);
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
        // Unless the policy allows a retry.
        let mut driver = drive(script(), &tools, &clock);
        let mut run = common::run();
        run.retry_policy_mut().after_output = true;
        assert!(block_on(driver.until_done(&mut run, &mut Seen::default())).is_ok());
    }
}

#[test]
fn error_event_in_the_stream() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let broken = || ScriptedReply::text("Hel").error_event("overloaded_error", "Over\"loaded");
    let mut driver =
        drive(Script::new().reply(broken()).reply(ScriptedReply::text("Hello")), &tools, &clock);
    let mut run = run();
    run.retry_policy_mut().retries = 0;
    let error = until_done(&mut driver, &mut run).unwrap_err();
    let Error::Api(api) = error else { panic!("{error:?}") };
    assert_eq!((api.status, api.kind), (200, ApiErrorKind::Overloaded));
    let text = run.api_error().unwrap();
    assert_eq!(
        (plain(text.kind).as_str(), plain(text.message).as_str()),
        ("overloaded_error", "Over\"loaded")
    );
    assert_eq!(plain(text.request_id), "req_scripted_0001");
    // The next message replaces the error text.
    run.append(r#"{"role":"user","content":"Still there?"}"#).unwrap();
    assert!(run.api_error().is_none());
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    // An error that a retry cannot correct.
    let mut driver = drive(
        Script::new().reply(ScriptedReply::new().error_event("invalid_request_error", "No")),
        &tools,
        &clock,
    );
    let mut run = common::run();
    assert!(matches!(until_done(&mut driver, &mut run), Err(Error::Api(_))));
    assert_eq!(requests(&mut driver), 1);
}

#[test]
fn a_200_with_an_error_for_a_body() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver = drive(
        Script::new()
            .reply(ScriptedReply::new().error_event("api_error", "Oops"))
            .reply(ScriptedReply::text("Hello")),
        &tools,
        &clock,
    );
    driver.config_mut().stream = false;
    let mut run = run();
    run.retry_policy_mut().retries = 0;
    let error = until_done(&mut driver, &mut run).unwrap_err();
    let Error::Api(api) = error else { panic!("{error:?}") };
    assert_eq!((api.status, api.kind), (200, ApiErrorKind::Api));
    assert_eq!(plain(run.api_error().unwrap().message), "Oops");
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
}

#[test]
fn api_error_on_a_later_request_then_on() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let script = Script::new()
        .reply(called())
        .error(400, "invalid_request_error", "No")
        .reply(ScriptedReply::text("Done."));
    let mut driver = drive(script, &tools, &clock);
    let mut run = run();
    let error = until_done(&mut driver, &mut run).unwrap_err();
    let Error::Api(api) = error else { panic!("{error:?}") };
    assert_eq!((api.status, api.kind), (400, ApiErrorKind::InvalidRequest));
    assert_eq!(plain(run.api_error().unwrap().message), "No");
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert_eq!(tools.began(), ["toolu_1"]);
    let requests = driver.transport_mut().model().requests();
    assert_eq!(requests[1].body, requests[2].body);
}

#[test]
fn cancelled_while_a_tool_runs() {
    let (tools, clock) = (Counting::new([Tool::slow(1000), Tool::plain()]), VirtualClock::new(0));
    let reply =
        ScriptedReply::new().tool_use("toolu_1", "slow", "{}").tool_use("toolu_2", "plain", "{}");
    let mut driver =
        drive(Script::new().reply(reply).reply(ScriptedReply::text("Done.")), &tools, &clock);
    let mut run = run();
    assert_eq!(next_turn(&mut driver, &mut run), Ok(None));
    assert!(poll_at_most(driver.until_done(&mut run, &mut ()), 100).is_none());
    assert_valid(&run);
    assert_eq!(tools.began(), ["toolu_1"]);
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    // The call may have had side effects, so it is not run again.
    assert_eq!(tools.began(), ["toolu_1", "toolu_2"]);
    assert_eq!(
        last_request(&mut driver)[2]["content"],
        json!([failure("toolu_1", "Error: cancelled"), result("toolu_2", "ok")])
    );
}
