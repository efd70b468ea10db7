//! Control of a run: text that stays when it is cancelled, messages from elsewhere, and branches.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod common;

use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use common::{assert_valid, bodies, scripted};
use serde_json::{Value, json};
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_std::run::Content;
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Decision, Event, Limits, Outcome, Run, RunBuilder};

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

fn conversation(run: &Run) -> Value {
    serde_json::from_str(&run.messages()).unwrap()
}

fn sent(scripted: &ScriptedServer, request: usize) -> Value {
    serde_json::from_str::<Value>(&bodies(scripted)[request]).unwrap()["messages"].clone()
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

/// Starts a run, and reads its first reply until half of its text was seen.
fn half_read(configure: impl FnOnce(RunBuilder) -> RunBuilder) -> (ScriptedServer, Run, String) {
    let reply = ScriptedReply::new()
        .thinking("Hm.", "c2ln")
        .and_text(&format!("One \"two\"{}three.", " ".repeat(80)));
    let scripted = scripted(Script::new().reply(reply).reply(ScriptedReply::text("Yes?")));
    let mut run = configure(scripted.client().run("m")).user("Count.");
    let mut seen = String::new();
    block_on(async {
        while let Some(event) = run.next_event().await.unwrap() {
            if let Event::Text { text, .. } = event {
                seen.push_str(&text.to_str());
                if seen.len() > 10 {
                    break;
                }
            }
        }
    });
    // White space at the end is not kept.
    assert!(seen.len() < 90 && seen.ends_with(' '), "the script streams text in pieces: {seen}");
    (scripted, run, seen)
}

#[test]
fn text_that_was_seen_stays_when_a_run_is_cancelled() {
    let (scripted, mut run, seen) = half_read(|run| run.keep_text_on_cancel(true));
    run.cancellation().cancel();
    assert_eq!(block_on(run.until_done()).unwrap().outcome, Outcome::Stopped);
    let kept = json!({"role": "assistant", "content": seen.trim_end()});
    assert_eq!(conversation(&run), json!([user("Count."), kept]));
    assert_valid(&run, &scripted);
    run.user("Go on.").unwrap();
    assert_eq!(block_on(run.until_done()).unwrap().text(), "Yes?");
    assert_eq!(sent(&scripted, 1), json!([user("Count."), kept, user("Go on.")]));
}

#[test]
fn text_stays_when_a_run_is_stopped_or_interrupted() {
    let (_, mut run, seen) = half_read(|run| run.keep_text_on_cancel(true));
    let kept = json!({"role": "assistant", "content": seen.trim_end()});
    run.user("Stop!").unwrap();
    assert_eq!(conversation(&run), json!([user("Count."), kept, user("Stop!")]));
    let (_, mut run, _) = half_read(|run| run.keep_text_on_cancel(true));
    run.stop();
    run.stop();
    assert_eq!(conversation(&run), json!([user("Count."), kept]));
}

#[test]
fn text_is_not_kept_by_default_nor_by_another_verb() {
    let (_, mut run, _) = half_read(|run| run);
    run.cancellation().cancel();
    block_on(run.until_done()).unwrap();
    assert_eq!(conversation(&run), json!([user("Count.")]));
    let (_, mut run, _) = half_read(|run| run.keep_text_on_cancel(true));
    run.replace_history((toolrunner_core::message::Role::User, "New.")).unwrap();
    assert_eq!(conversation(&run), json!([user("New.")]));
    let replies =
        Script::new().reply(ScriptedReply::text("One.")).reply(ScriptedReply::text("Two."));
    let scripted = scripted(replies);
    let mut run = scripted.client().run("m").keep_text_on_cancel(true).user("Count.");
    block_on(async {
        run.until_done().await.unwrap();
        run.user("On.").unwrap();
        while let Some(event) = run.next_event().await.unwrap() {
            if let Event::Text { .. } = event {
                break;
            }
        }
        run.ask_again().unwrap();
    });
    assert_eq!(conversation(&run), json!([user("Count."), user("On.")]));
    // A complete reply is not kept twice.
    let (_, mut run, _) = half_read(|run| run.keep_text_on_cancel(true));
    block_on(run.until_done()).unwrap();
    run.stop();
    assert_eq!(conversation(&run).as_array().unwrap().len(), 2);
}

fn with_tool(script: Script) -> (ScriptedServer, RunBuilder) {
    let scripted = scripted(script);
    let builder = scripted.client().run("m");
    (scripted, builder)
}

fn call(id: &str) -> ScriptedReply {
    ScriptedReply::new().tool_use(id, "work", "{}")
}

#[test]
fn a_message_is_delivered_after_the_next_results() {
    let (scripted, builder) =
        with_tool(Script::new().reply(call("toolu_1")).reply(ScriptedReply::text("Done.")));
    let mut run = builder.tool(common::fun("work", |_| Ok("ok".to_owned()))).user("go");
    let injector = run.injector();
    block_on(async {
        // While the reply with the call is received.
        while let Some(event) = run.next_event().await.unwrap() {
            if let Event::BlockStart { .. } = event {
                injector.clone().user("Hurry.").unwrap();
                assert_eq!(injector.waiting(), 1);
                break;
            }
        }
        run.until_done().await.unwrap();
    });
    assert_eq!(injector.waiting(), 0);
    let messages = sent(&scripted, 1);
    assert_eq!(messages[2]["content"][0]["tool_use_id"], "toolu_1");
    assert_eq!(messages[3], user("Hurry."));
    assert_valid(&run, &scripted);
}

#[test]
fn a_run_that_would_end_continues_with_the_message() {
    let (scripted, builder) = with_tool(
        Script::new().reply(ScriptedReply::text("One.")).reply(ScriptedReply::text("Two.")),
    );
    let mut run = builder.user("go");
    let injector = run.injector();
    block_on(async {
        assert!(run.next_turn().await.unwrap().is_some());
        injector.user(Content::new().text("And then?")).unwrap();
        assert_eq!(run.until_done().await.unwrap().text(), "Two.");
    });
    assert_eq!(sent(&scripted, 1)[2]["content"], json!([{"type": "text", "text": "And then?"}]));
    // It waits for a run that is over, and for one that was cancelled.
    run.cancellation().cancel();
    injector.user("Still there?").unwrap();
    block_on(run.until_done()).unwrap();
    assert_eq!((injector.waiting(), scripted.requests().len()), (1, 2));
}

#[test]
fn a_paused_turn_is_not_interrupted() {
    let paused = ScriptedReply::text("Searching").stop("pause_turn");
    let (scripted, builder) = with_tool(
        Script::new()
            .reply(paused)
            .reply(ScriptedReply::text("Found."))
            .reply(ScriptedReply::text("Well.")),
    );
    let mut run = builder.user("go");
    let injector = run.injector();
    block_on(async {
        assert!(run.next_turn().await.unwrap().is_some());
        injector.user("Hurry.").unwrap();
        run.until_done().await.unwrap();
    });
    assert_eq!(sent(&scripted, 1).as_array().unwrap().len(), 2);
    assert_eq!(sent(&scripted, 2).as_array().unwrap().last(), Some(&user("Hurry.")));
}

#[test]
fn a_message_waits_at_a_limit_and_a_bad_one_is_refused_at_once() {
    let (_, builder) = with_tool(Script::new().reply(ScriptedReply::text("One.")));
    let mut run = builder.limits(Limits { turns: Some(0), ..Limits::NONE }).user("go");
    let injector = run.injector();
    assert!(injector.user(" ").is_err());
    assert!(injector.user(Content::new().image("no image")).is_err());
    assert_eq!(injector.waiting(), 0);
    assert!(matches!(block_on(run.until_done()).unwrap().outcome, Outcome::Limit(_)));
    injector.user("More.").unwrap();
    assert!(matches!(block_on(run.until_done()).unwrap().outcome, Outcome::Limit(_)));
    assert_eq!(injector.waiting(), 1);
    drop(run);
    let error = injector.user("Anyone?").unwrap_err();
    assert!(error.to_string().contains("the run no longer exists"), "{error}");
}

#[test]
fn a_fork_continues_independently() {
    let ran = Arc::new(AtomicUsize::new(0));
    let gated = ran.clone();
    let (scripted, builder) = with_tool(
        Script::new()
            .reply(call("toolu_1"))
            .reply(ScriptedReply::text("One."))
            .reply(ScriptedReply::text("Prose."))
            .reply(call("toolu_2"))
            .reply(ScriptedReply::text("Verse.")),
    );
    let mut run = builder
        .tool(common::fun("work", |_| Ok("ok".to_owned())))
        .gate(move |_| {
            gated.fetch_add(1, Ordering::SeqCst);
            async { Decision::Allow }
        })
        .param("temperature", 0.5)
        .user("go");
    let finished = block_on(run.until_done()).unwrap();
    let mut other = run.fork().unwrap();
    assert_eq!(other.messages(), run.messages());
    assert_eq!((other.outcome(), other.turns()), (run.outcome(), run.turns()));
    assert_eq!(other.usage(), run.usage());
    assert_eq!(other.message(), finished.message);
    assert_ne!(other.id(), run.id());
    run.user("In prose.").unwrap();
    other.user("In verse.").unwrap();
    block_on(async {
        assert_eq!(run.until_done().await.unwrap().text(), "Prose.");
        assert_eq!(other.until_done().await.unwrap().text(), "Verse.");
    });
    run.cancellation().cancel();
    assert!(!other.cancellation().is_cancelled());
    assert_eq!(ran.load(Ordering::SeqCst), 2, "the gate decides in both");
    assert!(bodies(&scripted).iter().all(|body| body.contains("\"temperature\":0.5")));
    assert!(!run.messages().contains("verse") && !other.messages().contains("prose"));
}

#[test]
fn a_fork_in_the_middle_of_a_reply_requests_it_again() {
    let (_, mut run, _) = half_read(|run| run);
    let mut other = run.fork().unwrap();
    assert_eq!(block_on(other.until_done()).unwrap().text(), "Yes?");
    assert!(block_on(run.until_done()).unwrap().text().starts_with("One \"two\""));
}
