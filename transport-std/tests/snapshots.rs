//! A run that stops in one place and continues in another.

mod common;

use core::time::Duration;

use common::{assert_valid, busy, calls, conversations, echo, scripted};
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_std::{Decision, Limit, Outcome};

#[tokio::test]
async fn a_suspended_run_goes_on_in_another_process() {
    let scripted =
        scripted(Script::new().reply(calls(&["t1", "t2"], "a")).reply(ScriptedReply::text("ok")));
    let (first, second) = (echo("a"), echo("a"));
    let gate = |call: toolrunner_std::run::GatedCall| async move {
        if call.id == "t1" { Decision::Allow } else { Decision::Suspend }
    };
    let mut run = scripted.client().run("m").tools(first.clone()).gate(gate).user("Go.");
    assert_eq!(run.outcome(), None);
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::NeedsAnswer);
    assert_eq!(run.outcome(), Some(Outcome::NeedsAnswer));
    let snapshot = run.snapshot().unwrap();
    drop(run);
    let mut run = scripted.client().run("m").tools(second.clone()).gate(gate).resume(&snapshot);
    assert_eq!(run.snapshot().unwrap(), snapshot, "nothing is lost on the way");
    assert_eq!((run.turns(), run.waiting_calls()), (1, vec!["t2".to_owned()]));
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::NeedsAnswer);
    assert_eq!(run.allow("t2").unwrap().until_done().await.unwrap().text(), "ok");
    assert_eq!((first.ran(), second.ran()), (vec!["t1".to_owned()], vec!["t2".to_owned()]));
    assert_eq!(run.turns(), 2);
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn a_call_that_ran_when_the_process_died_is_not_run_again() {
    let scripted = scripted(
        Script::new()
            .reply(ScriptedReply::new().tool_use("t1", "fast", "{}").tool_use("t2", "slow", "{}"))
            .reply(ScriptedReply::text("ok")),
    );
    let (fast, (slow, over)) = (echo("fast"), busy("slow"));
    let mut run = scripted.client().run("m").tools((fast.clone(), slow.clone())).user("Go.");
    while slow.ran().is_empty() {
        assert!(tokio::time::timeout(Duration::from_millis(50), run.until_done()).await.is_err());
    }
    let mut run = scripted
        .client()
        .run("m")
        .tools((fast.clone(), slow.clone()))
        .resume(&run.snapshot().unwrap());
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    drop(over);
    assert_eq!((fast.ran().len(), slow.ran().len()), (1, 1));
    let sent = conversations(&scripted).pop().unwrap();
    assert!(
        sent.contains(r#"t1","content":"fast!"},{"type":"tool_result","tool_use_id":"t2","content":"Error: cancelled","is_error":true}"#),
        "{sent}"
    );
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn at_a_limit_and_half_way_through_a_reply() {
    let scripted = scripted(
        Script::new()
            .reply(calls(&["t1"], "a"))
            .reply(ScriptedReply::text("half"))
            .reply(ScriptedReply::text("ok")),
    );
    let tool = echo("a");
    let mut run = scripted.client().run("m").tools(tool.clone()).max_turns(1).user("Go.");
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::Limit(Limit::Turns));
    let snapshot = run.snapshot().unwrap();
    let mut run = scripted.client().run("m").tools(tool.clone()).resume(&snapshot);
    // Into the second reply.
    for _ in 0..6 {
        run.next_event().await.unwrap().unwrap();
    }
    let mut run = scripted.client().run("m").tools(tool.clone()).resume(&run.snapshot().unwrap());
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert_eq!(tool.ran(), ["t1"]);
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn what_is_no_snapshot_is_refused() {
    let scripted = scripted(Script::new().reply(calls(&["t1", "t2"], "a")));
    let mut run = scripted.client().run("m").max_turns(1).user("Go.");
    run.until_done().await.unwrap();
    let good = run.snapshot().unwrap();
    let newer = good.replace("\"toolrunner_snapshot\":1", "\"toolrunner_snapshot\":3");
    let refused = async |text: &str| {
        scripted.client().run("m").resume(text).until_done().await.unwrap_err().to_string()
    };
    assert_eq!(
        refused(&newer).await,
        "the snapshot has a newer version than this library supports"
    );
    let older = good.replace("\"toolrunner_snapshot\":1", "\"toolrunner_snapshot\":0");
    assert_eq!(
        refused(&older).await,
        "the snapshot has an older version than this library supports"
    );
    for bad in ["", "{}", "[]", "{\"toolrunner_snapshot\":\"1\"}", &good[..good.len() - 1]] {
        assert_eq!(refused(bad).await, "not a run snapshot", "{bad}");
    }
    let changed = good.replace("Go.", "No.");
    assert_ne!(changed, good);
    assert_eq!(
        refused(&changed).await,
        "the snapshot was modified after it was written: its checksum does not match"
    );
    // Any change of a digit is either refused, or gives a run that still sends only valid requests.
    for (i, _) in good.match_indices(|c: char| c.is_ascii_digit()) {
        let mut bytes = good.clone().into_bytes();
        bytes[i] = if bytes[i] == b'9' { b'0' } else { bytes[i] + 1 };
        let mut run =
            scripted.client().run("m").max_turns(0).resume(core::str::from_utf8(&bytes).unwrap());
        let _ = run.until_done().await;
        let _ = run.close_open_calls();
    }
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_read_is_told_by_whatever_comes_first() {
    let scripted = scripted(Script::new());
    let resumed = || scripted.client().run("m").tools(echo("a")).resume("{}");
    let expected = "not a run snapshot";
    let mut run = resumed();
    assert_eq!(run.allow("t1").unwrap_err().to_string(), expected);
    assert_eq!(run.answer("t1", "yes").unwrap_err().to_string(), expected);
    assert_eq!(run.until_done().await.unwrap_err().to_string(), expected);
    assert_eq!(run.outcome(), None);
    assert!(scripted.requests().is_empty());
}
