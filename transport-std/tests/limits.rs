//! Limits: each ends the run with an outcome that names it, and raising it continues the run.

mod common;

use common::{assert_valid, calls, conversations, echo, scripted};
use toolrunner_core::run::{MakeRoom, WhenFull};
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_std::{Limit, Limits, Outcome, Usage};

/// Ten turns with one call each, always the same, that cost 100 input and 10 output tokens; then an
/// end.
fn script() -> Script {
    let usage = Usage {
        input_tokens: 60,
        output_tokens: 10,
        cache_creation_input_tokens: 30,
        cache_read_input_tokens: 10,
    };
    let turn =
        move |script: Script, n: usize| script.reply(calls(&[&format!("t{n}")], "a").usage(usage));
    (0..10).fold(Script::new(), turn).reply(ScriptedReply::text("ok").usage(usage))
}

#[tokio::test]
async fn each_limit_has_its_outcome() {
    for (limits, outcome, turns, ran) in [
        (Limits { turns: Some(3), ..Limits::NONE }, Limit::Turns, 3, 2),
        (Limits { calls: Some(3), ..Limits::NONE }, Limit::Calls, 4, 3),
        (Limits { input_tokens: Some(250), ..Limits::NONE }, Limit::InputTokens, 3, 2),
        (Limits { output_tokens: Some(40), ..Limits::NONE }, Limit::OutputTokens, 4, 3),
        (Limits { repeats: Some(2), ..Limits::NONE }, Limit::Repeats, 3, 2),
    ] {
        let (scripted, tool) = (scripted(script()), echo("a"));
        let mut run = scripted.client().run("m").tools(tool.clone()).limits(limits).user("Go.");
        let finished = run.until_done().await.unwrap();
        assert_eq!(
            (finished.outcome, run.turns(), tool.ran().len()),
            (Outcome::Limit(outcome), turns, ran),
            "{limits:?}"
        );
        assert_eq!(u64::from(turns) * 100, finished.usage.input_total());
        assert_valid(&run, &scripted);
        *run.limits_mut() = Limits::NONE;
        let finished = run.until_done().await.unwrap();
        assert_eq!(
            (finished.text().as_str(), finished.usage.input_total(), finished.usage.output_tokens),
            ("ok", 1100, 110)
        );
        assert_eq!(tool.ran(), (0..10).map(|n| format!("t{n}")).collect::<Vec<_>>());
        assert_valid(&run, &scripted);
    }
}

#[tokio::test]
async fn a_run_dropped_before_its_calls_ran_none() {
    let (scripted, tool) = (scripted(script()), echo("a"));
    let mut run = scripted.client().run("m").tools(tool.clone()).user("Go.");
    assert_eq!(run.next_turn().await.unwrap().unwrap().calls().count(), 1);
    drop(run);
    assert!(tool.ran().is_empty());
}

#[tokio::test]
async fn a_conversation_that_is_nearly_full_drops_its_oldest_turns() {
    let scripted = scripted(script());
    let policy = WhenFull { room: 400, then: MakeRoom::DropOldest };
    let mut run =
        scripted.client().run("m").tools(echo("a")).capacity(1200).when_full(policy).user("Go.");
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert!(
        conversations(&scripted).iter().all(|sent| sent.len() <= 802),
        "room for a reply was left each time"
    );
    assert_valid(&run, &scripted);
}
