//! What a caller can do with a turn, in any order: results, retries, limits, stops, and what is
//! refused.
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
use serde_json::{Value as Json, json};
use toolrunner_core::message::StopReason;
use toolrunner_core::observe::{Event, FnObserver};
use toolrunner_core::policy::Limit;
use toolrunner_core::run::{CallIndex, Compaction, Outcome, Step, ToolAnswer};
use toolrunner_core::testing::{Script, ScriptedReply, Style, VirtualClock};
use toolrunner_core::time::Instant;
use toolrunner_core::transport::ReplyHead;

#[test]
fn results_come_in_the_models_order_whatever_order_they_are_answered_in() {
    let clock = VirtualClock::new(0);
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0], [2, 0, 1], [0, 2, 1]] {
        for appended in [false, true] {
            let tools = Counting::usual();
            let reply = (0..3).fold(ScriptedReply::text("x"), |reply, i| {
                reply.tool_use(&format!("toolu_{i}"), "plain", "{}")
            });
            let mut driver = drive(
                Script::new().reply(reply).reply(ScriptedReply::text("Done.")),
                &tools,
                &clock,
            );
            let mut run = run();
            assert_eq!(next_turn(&mut driver, &mut run), Ok(None));
            for (at, i) in order.map(CallIndex::from).into_iter().enumerate() {
                if appended && at == 1 {
                    run.append(r#"{"role":"user","content":"And this is a longer message than sixteen bytes."}"#).unwrap();
                }
                run.answer(i, ToolAnswer::ok(&format!("answer {i}")).with_error(i.get() == 1))
                    .unwrap();
                assert_valid(&run);
                assert!(run.result(i).is_some());
            }
            run.replace_result(
                1.into(),
                ToolAnswer::ok_json(b"[{\"type\":\"text\",\"text\":\"changed\"}]"),
            )
            .unwrap();
            assert_valid(&run);
            run.add_to_result(order[0].into(), r#""cache_control":{"type":"ephemeral"}"#).unwrap();
            assert_valid(&run);
            assert_eq!(until_done(&mut driver, &mut run), ENDED);
            let sent = last_request(&mut driver);
            let results = sent[2]["content"].as_array().unwrap();
            assert_eq!(results[0]["content"], "answer 0");
            assert_eq!(results[1]["content"], json!([{"type":"text","text":"changed"}]));
            assert_eq!(results[2]["content"], "answer 2");
            assert_eq!(results[order[0]]["cache_control"], json!({"type":"ephemeral"}));
            assert_eq!(sent.len(), if appended { 4 } else { 3 });
            assert!(tools.began().is_empty());
        }
    }
}

#[test]
fn calls_before_the_last_fallback_are_not_run() {
    let tools = Counting::usual();
    let reply = ScriptedReply::new()
        .tool_use("toolu_1", "plain", "{}")
        .block(r#"{"type":"fallback","from":{"model":"a"},"to":{"model":"b"},"trigger":{"type":"refusal","category":null}}"#)
        .tool_use("toolu_2", "plain", "{}");
    assert_eq!(results_of(reply, &tools), json!([result("toolu_2", "ok")]));
    assert_eq!(tools.began(), ["toolu_2"]);
}

#[test]
fn a_call_that_only_the_caller_can_answer() {
    let (tools, clock) = (Counting::new([Tool::asks(), Tool::plain()]), VirtualClock::new(0));
    let reply =
        ScriptedReply::new().tool_use("toolu_1", "asks", "{}").tool_use("toolu_2", "plain", "{}");
    let mut driver =
        drive(Script::new().reply(reply).reply(ScriptedReply::text("Done.")), &tools, &clock);
    let mut run = run();
    for _ in 0..2 {
        assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::NeedsAnswer));
        assert_eq!(
            (run.call_for_caller(), tools.began()),
            (Some(0.into()), vec!["toolu_2".to_owned()])
        );
    }
    run.answer(0.into(), ToolAnswer::ok("yes")).unwrap();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert_eq!(
        last_request(&mut driver)[2]["content"],
        json!([result("toolu_1", "yes"), result("toolu_2", "ok")])
    );
}

#[test]
fn a_container_is_sent_on_unless_one_is_pinned() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    for (params, expected) in [
        ("", json!("container_7")),
        (r#""container":"mine""#, json!("mine")),
        (r#""top_k":1,"container":null"#, json!("container_7")),
        (r#""container":{ },"top_k":1"#, json!({"id":"container_7"})),
        (r#""container":{"skills":[]}"#, json!({"id":"container_7","skills":[]})),
        (
            r#""top_k":1,"container":{"skills":[],"id": null }"#,
            json!({"id":"container_7","skills":[]}),
        ),
        (r#""container":{"id":"mine","skills":[]}"#, json!({"id":"mine","skills":[]})),
    ] {
        let mut driver = drive(
            Script::new()
                .reply(called().container("container_7"))
                .reply(ScriptedReply::text("Done.")),
            &tools,
            &clock,
        );
        driver.config_mut().params = params;
        let mut run = run();
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
        let sent: Json =
            serde_json::from_slice(&driver.transport_mut().model().requests()[1].body).unwrap();
        assert_eq!(sent["container"], expected);
    }
}

#[test]
fn retry_drops_the_reply_and_keeps_what_was_appended() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver =
        drive(Script::new().reply(called()).reply(ScriptedReply::text("Second.")), &tools, &clock);
    let mut run = run();
    assert_eq!(next_turn(&mut driver, &mut run), Ok(None));
    run.append(r#"{"role":"user","content":"More."}"#).unwrap();
    run.answer(0.into(), ToolAnswer::ok("x")).unwrap();
    run.ask_again().unwrap();
    assert_valid(&run);
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert_eq!(
        last_request(&mut driver),
        [json!({"role":"user","content":"Hi"}), json!({"role":"user","content":"More."})]
    );
    assert_eq!(run.turns(), 2);
    assert!(run.ask_again().is_ok());
    assert!(run.ask_again().is_err());
}

#[test]
fn each_limit_ends_the_run_by_its_name_and_a_raised_one_goes_on() {
    use toolrunner_core::policy::Limits;
    let endless = || {
        Script::new().then(|request| {
            let turn = request.messages().count();
            ScriptedReply::new()
                .tool_use(&format!("toolu_{turn}"), "plain", r#"{"same":true}"#)
                .into()
        })
    };
    let limits = [
        (Limits { turns: Some(3), ..Limits::NONE }, Limit::Turns, 2),
        (Limits { calls: Some(3), ..Limits::NONE }, Limit::Calls, 3),
        (Limits { repeats: Some(3), ..Limits::NONE }, Limit::Repeats, 3),
        (Limits { output_tokens: Some(60), ..Limits::NONE }, Limit::OutputTokens, 2),
        (Limits { time: Some(core::time::Duration::from_secs(5)), ..Limits::NONE }, Limit::Time, 5),
    ];
    for (limit, name, _) in limits {
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let mut driver = drive(endless(), &tools, &clock);
        let mut run = run();
        *run.limits_mut() = limit;
        if name == Limit::Time {
            run.limits_mut().turns = Some(2);
            assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::Limit(Limit::Turns)));
            clock.advance(core::time::Duration::from_secs(5));
            run.limits_mut().turns = None;
        }
        assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::Limit(name)), "{name:?}");
        let ran = tools.began().len();
        assert_eq!(
            run.call(0.into()).map(|call| call.is_answered),
            Some(false),
            "{name:?}: the last call is pending"
        );
        *run.limits_mut() = Limits { turns: Some(run.turns() + 1), ..Limits::NONE };
        assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::Limit(Limit::Turns)), "{name:?}");
        assert_eq!(tools.began().len(), ran + 1, "{name:?}: it ran once");
        let mut ids = tools.began();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), ran + 1);
        run.user("Enough?").unwrap();
        assert_eq!(run.turns(), 0);
        assert_valid(&run);
    }
}

#[test]
fn stop_and_resume() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver =
        drive(Script::new().reply(called()).reply(ScriptedReply::text("Done.")), &tools, &clock);
    let mut run = run();
    run.stop();
    assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::Stopped));
    assert_eq!(requests(&mut driver), 0);
    run.resume();
    assert_eq!(next_turn(&mut driver, &mut run), Ok(None));
    run.stop();
    assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::Stopped));
    run.resume();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert_eq!(tools.began(), ["toolu_1"]);
}

#[test]
fn what_was_appended_while_the_run_waits_stays_when_it_is_stopped() {
    let mut run = run();
    let (_, ended) = exchange(&mut run, 529, [b"{}".as_slice()]);
    run.failed(ended.unwrap_err(), Instant::ZERO, 0).unwrap();
    run.append(r#"{"role":"user","content":"Still there?"}"#).unwrap();
    run.stop();
    assert_eq!(messages(&run).len(), 2);
    run.resume();
    say(&mut run, ScriptedReply::text("Yes."));
    assert_eq!(messages(&run).len(), 3);
}

#[test]
fn nothing_can_be_said_or_answered_while_a_request_is_under_way() {
    let mut run = run();
    say(&mut run, called().stop("pause_turn"));
    let before = messages(&run);
    let now = Instant::ZERO;
    assert_eq!(run.step(now), Ok(Step::Send));
    run.head_arrived(&ReplyHead::new(200));
    let body = rendered(ScriptedReply::text("Hello"), Style::default(), true);
    let mut events = Vec::new();
    feed(&mut run, &body[..body.len() / 2], &mut events).unwrap();
    assert!(run.answer(0.into(), ToolAnswer::ok("x")).is_err());
    assert!(run.answer_not_found(0.into()).is_err());
    assert!(run.close_open_calls().is_err());
    assert!(run.start_in_place(0.into()).is_err());
    assert!(run.user("x").is_err());
    assert!(run.append(r#"{"role":"user","content":"x"}"#).is_err());
    assert!(run.ask_again().is_err());
    assert!(run.replace_history(r#"{"role":"user","content":"x"}"#).is_err());
    assert!(run.clear().is_err());
    run.stop();
    assert_eq!(messages(&run), before);
    run.resume();
    say(&mut run, ScriptedReply::text("Hello"));
    assert_eq!(messages(&run).len(), 3);
}

#[test]
fn a_cleared_run_begins_a_new_conversation() {
    let mut run = run();
    say(&mut run, called());
    run.answer(0.into(), ToolAnswer::ok("x")).unwrap();
    let usage = run.usage();
    run.clear().unwrap();
    assert!(run.transcript().is_empty());
    assert_eq!(run.usage(), usage);
    assert_eq!((run.turns(), run.outcome(), run.next_call()), (0, None, None));
    assert_eq!(run.results().count(), 0);
    assert!(run.last_message().is_none());
    assert!(run.answer(0.into(), ToolAnswer::ok("x")).is_err());
    assert!(run.ask_again().is_err());
    assert!(!run.drop_oldest_turn());
    let nothing = run.step(Instant::from_micros(0));
    assert_eq!(nothing, Err(toolrunner_core::error::Misuse::NoMessages.into()));
    let mut snapshot = vec![0; 4096];
    let len = run.snapshot_into(&mut snapshot).unwrap();
    let mut memory = [0; 512];
    let restored = toolrunner_core::run::Run::from_snapshot(
        &snapshot[..len],
        toolrunner_core::transcript::Transcript::new(&mut memory),
    );
    assert!(restored.unwrap().transcript().is_empty());
    run.user("Hello").unwrap();
    say(&mut run, ScriptedReply::text("Hello again."));
    assert_eq!(messages(&run).len(), 2);
    // A compaction that was requested before, and an error, belong to the old conversation.
    run.compact_on_server();
    run.clear().unwrap();
    run.user("Hello").unwrap();
    let now = Instant::from_micros(0);
    assert_eq!(run.step(now), Ok(Step::Send));
    assert!(!run.is_compacting_on_server());
    let error = br#"{"type":"error","error":{"type":"invalid_request_error","message":"No."}}"#;
    let (_, ended) = exchange(&mut run, 400, [error.as_slice()]);
    assert!(run.failed(ended.unwrap_err(), now, 0).is_err());
    assert!(run.api_error().is_some());
    run.clear().unwrap();
    assert!(run.api_error().is_none());
    assert!(run.error_body().is_empty());
}

#[test]
fn what_the_api_would_not_take_is_refused() {
    let mut run = run();
    assert!(run.user("").is_err());
    for wrong in [
        "",
        "{}",
        "[]",
        r#"{"role":"user","content":""}"#,
        r#"{"role":"user","content":[]}"#,
        r#"{"role":"nobody","content":"x"}"#,
    ] {
        assert!(run.append(wrong).is_err(), "{wrong}");
        assert!(run.replace_history(wrong).is_err(), "{wrong}");
    }
    assert!(run.append(r#"{"role":"user","content":"x"},"#).is_err());
    assert!(run.append(r#"{"role":"user","content":"\ud83d"}"#).is_err());
    // A form feed is white space in Rust, but not in JSON.
    assert!(
        run.append(
            "{\"role\":\"user\",\"content\":\"x\"},\u{c}{\"role\":\"user\",\"content\":\"y\"}"
        )
        .is_err()
    );
    say(&mut run, called());
    for wrong in
        ["1", "null", "{}", r#"[{"type":"text","text":""}]"#, r#"[1]"#, r#""\ud83d""#, "\"a", ""]
    {
        assert!(run.answer(0.into(), ToolAnswer::ok_json(wrong.as_bytes())).is_err(), "{wrong}");
    }
    // A tool that succeeded may return nothing; one that failed may not.
    for wrong in [r#""""#, "[]", r#"[{"type":"image","source":{}}]"#] {
        assert!(run.answer(0.into(), ToolAnswer::error_json(wrong.as_bytes())).is_err(), "{wrong}");
    }
    assert_valid(&run);
    run.answer(0.into(), ToolAnswer::ok_json(br#"[{"type":"image","source":{}}]"#)).unwrap();
    assert!(run.replace_result(0.into(), ToolAnswer::error_json(b"[]")).is_err());
    assert!(run.add_to_result(0.into(), "}").is_err());
    assert_valid(&run);
}

#[test]
fn what_is_behind_a_paused_turn_never_leaves_its_calls_open() {
    let paused = || called().stop("pause_turn");
    // Its continuation is dropped, or has no content; then another message is added.
    for second in [ScriptedReply::text("Go on."), ScriptedReply::new().stop("refusal")] {
        let mut run = run();
        say(&mut run, paused());
        say(&mut run, second);
        assert_valid(&run);
        if run.last_message().is_some_and(|message| message.texts().any(|text| text == "Go on.")) {
            run.ask_again().unwrap();
        }
        run.user("Something else.").unwrap();
        assert_valid(&run);
        assert_eq!(messages(&run)[2]["content"], json!([failure("toolu_1", "Error: not run")]));
    }
    // If some of its calls are answered by hand, all are.
    let mut run = run();
    say(&mut run, paused().tool_use("toolu_2", "plain", "{}"));
    run.answer(1.into(), ToolAnswer::ok("by hand")).unwrap();
    say(&mut run, ScriptedReply::text("Thanks."));
    assert_eq!(
        messages(&run)[2]["content"],
        json!([failure("toolu_1", "Error: not run"), result("toolu_2", "by hand")])
    );
}

#[test]
fn stop_leaves_a_run_that_has_ended_as_it_is() {
    let mut run = run();
    say(&mut run, called().stop("max_tokens"));
    run.stop();
    run.resume();
    assert_eq!(outcome(&mut run), Outcome::Ended(Some(StopReason::MaxTokens)));
}

#[test]
fn a_history_that_ends_with_open_calls_is_closed_by_what_is_said() {
    let mut run = run();
    let history = r#" [ {"role":"user","content":"x"} , {"content":[{"name":"plain","id":"toolu_9","input":{},"type":"tool_use"}],"role":"assistant"} ] "#;
    run.replace_history(history).unwrap();
    run.user("Something else.").unwrap();
    assert_valid(&run);
    assert_eq!(messages(&run)[2]["content"], json!([failure("toolu_9", "Error: not run")]));
}

/// The request for a summary is internal: an observer sees the turns' requests only.
#[test]
fn a_summarys_request_is_not_reported() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let script = Script::new()
        .reply(ScriptedReply::new().tool_use("t1", "plain", "{}"))
        .reply(ScriptedReply::text("We looked."))
        .reply(ScriptedReply::text("Done."));
    let mut driver = drive(script, &tools, &clock);
    let mut run = run();
    *run.compaction_mut() = Some(Compaction { threshold: 1, ..Compaction::DEFAULT });
    let requests = core::cell::RefCell::new(Vec::new());
    let mut observer = FnObserver(|event: &Event<'_>| {
        if let Event::Request { turn, attempt } = *event {
            requests.borrow_mut().push((turn, attempt));
        }
    });
    block_on(driver.until_done(&mut run, &mut observer)).unwrap();
    assert_eq!(run.compactions(), 1);
    assert_eq!(requests.take(), [(1, 1), (2, 1)]);
}

/// A message that arrives while the run works goes behind a reply and between turns, but not into a
/// request, behind a turn that is sent back, or into a run that was stopped.
#[test]
fn a_run_takes_messages_between_requests() {
    let mut run = run();
    assert!(run.takes_messages());
    for (stop, takes) in [("end_turn", true), ("pause_turn", false)] {
        assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
        assert!(!run.takes_messages(), "during a request");
        run.head_arrived(&ReplyHead::new(200));
        let reply =
            format!(r#"{{"content":[{{"type":"text","text":"Hm."}}],"stop_reason":"{stop}"}}"#);
        let mut bytes = reply.as_bytes();
        while run.feed(&mut bytes).unwrap().is_some() {}
        while run.end_of_body().unwrap().is_some() {}
        assert_eq!(run.takes_messages(), takes, "{stop}");
        run.append(r#"{"role":"user","content":"More."}"#).unwrap();
        assert!(run.takes_messages());
    }
    run.stop();
    assert_eq!(run.outcome(), Some(Outcome::Stopped));
    assert!(!run.takes_messages());
}
