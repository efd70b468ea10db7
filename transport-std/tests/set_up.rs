//! How a run is configured, step by step; and a blocking tool whose call the caller answers.

mod common;

use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::sync::Arc;

use common::{assert_valid, calls, echo, scripted};
use toolrunner_core::error::Misuse;
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_core::tool::{Definition, Output, ToolCall, Tools};
use toolrunner_std::{Error, ToolError};

#[tokio::test]
async fn tools_may_be_added_in_several_steps() {
    let scripted = scripted(
        Script::new()
            .reply(calls(&["a"], "first").tool_use("b", "second", "{}"))
            .reply(ScriptedReply::text("Done.")),
    );
    let (first, second) = (echo("first"), echo("second"));
    let mut run = scripted
        .client()
        .run("m")
        .tools(first.clone())
        .tools((second.clone(), echo("third")))
        .user("Go.");
    run.until_done().await.unwrap();
    assert_eq!((first.ran(), second.ran()), (vec!["a".to_owned()], vec!["b".to_owned()]));
    assert_valid(&run, &scripted);

    let mut run = scripted.client().run("m").tools(echo("same")).tools(echo("same")).user("Go.");
    assert_eq!(
        run.until_done().await.unwrap_err().to_string(),
        r#"two tools have the name "same""#
    );
}

/// A mistake in a run's configuration is the same error at each use.
#[tokio::test]
async fn a_mistake_is_told_the_same_way_each_time() {
    let scripted = scripted(Script::new());
    let mut run = scripted.client().run("m").user("");
    for _ in 0..3 {
        assert!(matches!(run.until_done().await, Err(Error::Misuse(Misuse::Setting(_)))));
    }
}

/// Blocks its thread until it is cancelled.
struct Deaf(Arc<AtomicBool>);

impl Tools for Deaf {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        (i == 0).then(|| {
            Definition::new("deaf", r#"{"name":"deaf","input_schema":{"type":"object"}}"#)
                .blocking()
        })
    }

    async fn call(
        &self,
        _: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let context = call.context();
        while !context.is_cancelled() {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.0.store(true, Ordering::SeqCst);
        Ok(out.text("too late")?)
    }
}

#[tokio::test]
async fn a_blocking_tool_whose_call_is_answered_by_hand_is_told() {
    let scripted =
        scripted(Script::new().reply(calls(&["a"], "deaf")).reply(ScriptedReply::text("Done.")));
    let told = Arc::new(AtomicBool::new(false));
    let mut run = scripted.client().run("m").tools(Deaf(Arc::clone(&told))).user("Go.");
    assert!(tokio::time::timeout(Duration::from_millis(50), run.until_done()).await.is_err());
    run.answer("a", "By hand.").unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    for _ in 0..2_000 {
        if told.load(Ordering::SeqCst) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(told.load(Ordering::SeqCst), "nobody told it");
    assert_valid(&run, &scripted);
}
