//! What a server's runs never send or keep: too many breakpoints, unanswered calls of a history,
//! rejected summaries.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use core::time::Duration;

use toolrunner_core::testing::validity::{Tail, check};
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_core::tool::{Input, RawTool};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Compaction, Event, ToolError, Usage, tool};

/// Double a number.
#[tool]
fn double(n: i64) -> i64 {
    n * 2
}

const EPHEMERAL: &str = r#"{"type":"ephemeral"}"#;

#[tokio::test]
async fn a_breakpoint_on_every_result_is_refused_at_the_fifth() {
    let turns = (0..6).fold(Script::new(), |script, n| {
        script.reply(ScriptedReply::new().tool_use(
            &format!("toolu_{n}"),
            "double",
            &format!("{{\"n\":{n}}}"),
        ))
    });
    let scripted = ScriptedServer::new(ScriptedModel::new(turns.reply(ScriptedReply::text("ok"))));
    let mut run = scripted.client().run("m").tools(double).user("Go.");
    let mut refused = None;
    while let Some(mut turn) = run.next_turn().await.unwrap() {
        if let Err(error) =
            turn.results().await.unwrap().edit(|result| result.cache_control(EPHEMERAL).map(|_| ()))
        {
            refused.get_or_insert_with(|| error.to_string());
        }
    }
    assert!(refused.unwrap().contains("5 cache breakpoints"));
    let counts = scripted
        .requests()
        .iter()
        .map(|request| String::from_utf8_lossy(&request.body).matches("cache_control").count())
        .max();
    assert_eq!(counts, Some(4));
}

/// The README's way to cache a conversation: the request's own breakpoint, however many turns there
/// are.
#[tokio::test]
async fn a_requests_own_breakpoint_is_one_in_every_request() {
    let turns = (0..6).fold(Script::new(), |script, n| {
        script.reply(ScriptedReply::new().tool_use(
            &format!("toolu_{n}"),
            "double",
            &format!("{{\"n\":{n}}}"),
        ))
    });
    let scripted = ScriptedServer::new(ScriptedModel::new(turns.reply(ScriptedReply::text("ok"))));
    let mut run = scripted.client().run("m").tools(double).user("Go.");
    run.params_mut().set_json("cache_control", EPHEMERAL).unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    let counts: Vec<usize> = scripted
        .requests()
        .iter()
        .map(|request| String::from_utf8_lossy(&request.body).matches("cache_control").count())
        .collect();
    assert_eq!(counts, [1; 7]);
}

#[tokio::test]
async fn a_cancelled_run_is_taken_up_from_its_messages() {
    const ANY: &str = r#"{"type":"object","properties":{}}"#;
    let fast =
        RawTool::new(
            "fast",
            "d",
            ANY,
            |_: Input| async move { Ok::<_, ToolError>("done".to_owned()) },
        )
        .unwrap();
    let slow = RawTool::new("slow", "d", ANY, |_: Input| async move {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok::<_, ToolError>("late".to_owned())
    });
    let calls = ScriptedReply::new()
        .tool_use("toolu_1", "fast", "{}")
        .tool_use("toolu_2", "slow", "{}")
        .tool_use("toolu_3", "slow", "{}");
    let scripted = ScriptedServer::new(ScriptedModel::new(Script::new().reply(calls)));
    let mut run = scripted
        .client()
        .run("m")
        .tools((fast, slow.unwrap()))
        .concurrency(1)
        .grace(Duration::from_millis(10))
        .user("Go.");
    let token = run.cancellation();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        token.cancel();
    });
    run.until_done().await.unwrap();
    let saved = run.messages();
    let scripted =
        ScriptedServer::new(ScriptedModel::new(Script::new().reply(ScriptedReply::text("ok"))));
    let mut run = scripted.client().run("m").messages(&saved);
    run.user("Go on.").unwrap();
    run.until_done().await.unwrap();
    assert_eq!(check(scripted.requests()[0].transcript(), Tail::Sent), Ok(()), "{saved}");
}

#[tokio::test]
async fn a_summary_that_is_none_leaves_the_conversation() {
    let long = Usage { input_tokens: 90_000, output_tokens: 10, ..Usage::default() };
    for (summary, why) in [
        (ScriptedReply::text("\n \n"), "the reply has no summary"),
        (
            ScriptedReply::text("First the user asked for").stop("max_tokens"),
            "the summary was cut off",
        ),
        (ScriptedReply::text("I cannot help with that.").stop("refusal"), "the model refused"),
    ] {
        // Thinking and a call: without the call, no part of the reply could be sent.
        let call = ScriptedReply::new()
            .thinking("Hm.", "sig")
            .tool_use("toolu_1", "double", r#"{"n":21}"#)
            .usage(long);
        let scripted = ScriptedServer::new(ScriptedModel::new(
            Script::new().reply(call).reply(summary).reply(ScriptedReply::text("42")),
        ));
        let compaction = Compaction { threshold: 80_000, ..Compaction::DEFAULT };
        let mut run = scripted
            .client()
            .run("m")
            .tools(double)
            .compaction(compaction)
            .user("What is 21 twice?");
        let mut told = None;
        let finished = run.for_each_event(|event| {
            if let Event::NotCompacted { why } = event {
                told = Some(*why);
            }
        });
        assert_eq!(finished.await.unwrap().text(), "42");
        assert_eq!(told, Some(why));
        assert!(run.messages().contains("What is 21 twice?"), "{}", run.messages());
    }
}

#[tokio::test]
async fn what_a_reply_said_is_shown_though_it_is_not_sent_back() {
    let scripted = ScriptedServer::new(ScriptedModel::new(
        Script::new().reply(ScriptedReply::text(" ")).reply(ScriptedReply::text("ok")),
    ));
    let mut run = scripted.client().run("m").user("Hi");
    assert_eq!(run.until_done().await.unwrap().text(), " ");
    assert_eq!(run.messages(), r#"[{"role":"user","content":"Hi"}]"#);
    run.user("More.").unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
}

#[tokio::test]
async fn a_parameter_with_a_lone_surrogate_is_refused() {
    let scripted =
        ScriptedServer::new(ScriptedModel::new(Script::new().reply(ScriptedReply::text("ok"))));
    let mut run = scripted.client().run("m").param_json("system", r#""\ud800""#).user("Hi");
    let error = run.until_done().await.unwrap_err().to_string();
    assert!(error.contains("\"system\" has an unpaired surrogate"), "{error}");
    assert!(scripted.requests().is_empty());
}
