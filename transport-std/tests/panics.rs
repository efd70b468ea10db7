//! A panic in a tool, a gate or a hook, including one during a drop, becomes an answer for the
//! model and is not propagated.

mod common;

use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Arc;

use common::{assert_valid, conversations, scripted};
use tokio::sync::Notify;
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_core::tool::{Definition, Output, ToolCall, Tools};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Decision, Outcome, Run, ToolError};

/// Panics when it is dropped, even during another panic, which aborts the process.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("a bomb");
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Waits forever and holds a bomb.
    Waits,
    /// Panics with a bomb as its message.
    Throws,
    /// Returns a result; its future holds a bomb until it is dropped.
    Plain,
}

#[derive(Clone)]
struct Tool(&'static str, Kind, Arc<AtomicUsize>);

impl Tools for Tool {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        let json = if self.0 == "timed" {
            r#"{"name":"timed","input_schema":{"type":"object"}}"#
        } else {
            r#"{"name":"tool","input_schema":{"type":"object"}}"#
        };
        let tool = Definition::new(self.0, json);
        (i == 0)
            .then(|| if self.0 == "timed" { tool.timeout(Duration::from_millis(20)) } else { tool })
    }

    async fn call(&self, _: usize, _: ToolCall<'_>, out: &mut Output<'_>) -> Result<(), ToolError> {
        self.2.fetch_add(1, Ordering::SeqCst);
        match self.1 {
            Kind::Waits => {
                let _bomb = Bomb;
                core::future::pending().await
            }
            Kind::Throws => std::panic::panic_any(Bomb),
            Kind::Plain => Ok(out.text("x")?),
        }
    }
}

fn tool(name: &'static str, kind: Kind) -> Tool {
    Tool(name, kind, Arc::default())
}

/// Returns a model that calls these tools and then ends.
fn model(names: &[&str]) -> ScriptedServer {
    let calls = names.iter().enumerate().fold(ScriptedReply::new(), |reply, (i, name)| {
        reply.tool_use(&format!("t{i}"), name, "{}")
    });
    scripted(Script::new().reply(calls).reply(ScriptedReply::text("Done.")))
}

fn results(scripted: &ScriptedServer) -> String {
    conversations(scripted)[1].split_once("tool_result").expect("a result").1.to_owned()
}

/// Drives the run to its end, within a time limit.
async fn end(run: &mut Run) -> Outcome {
    tokio::time::timeout(Duration::from_secs(20), run.until_done())
        .await
        .expect("it hangs")
        .unwrap()
        .outcome
}

#[tokio::test]
async fn a_tool_that_panics_when_its_time_is_over_has_timed_out() {
    let scripted = model(&["timed"]);
    let mut run = scripted.client().run("m").tools(tool("timed", Kind::Waits)).user("Go.");
    assert!(matches!(end(&mut run).await, Outcome::Ended(_)));
    assert!(results(&scripted).contains("Error: timed out after 20 ms"));
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn a_tool_that_panics_when_the_run_is_stopped_is_cancelled() {
    let scripted = model(&["tool"]);
    let mut run = scripted.client().run("m").tools(tool("tool", Kind::Waits)).user("Go.");
    assert!(tokio::time::timeout(Duration::from_millis(50), run.until_done()).await.is_err());
    run.stop();
    run.resume();
    end(&mut run).await;
    assert!(results(&scripted).contains("Error: cancelled"));
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn a_tool_that_panics_when_its_grace_is_over_is_cancelled() {
    let scripted = model(&["tool"]);
    let mut run = scripted
        .client()
        .run("m")
        .tools(tool("tool", Kind::Waits))
        .grace(Duration::from_millis(20))
        .user("Go.");
    run.cancellation().cancel();
    let token = run.cancellation();
    run.resume();
    token.cancel();
    while end(&mut run).await == Outcome::Stopped {
        run.resume();
        let token = run.cancellation();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(40)).await;
            token.cancel();
        });
    }
    assert!(results(&scripted).contains("Error: cancelled"));
    assert_valid(&run, &scripted);
}

/// Two such panics at once do not end the process, nor does dropping a run that holds them.
#[tokio::test]
async fn two_tools_that_panic_when_they_are_dropped() {
    let scripted = model(&["timed", "tool", "tool"]);
    let mut run = scripted
        .client()
        .run("m")
        .tools((tool("timed", Kind::Waits), tool("tool", Kind::Waits)))
        .user("Go.");
    assert!(tokio::time::timeout(Duration::from_millis(60), run.until_done()).await.is_err());
    drop(run);
}

/// A tool that answers when it is released, and whose destructor panics.
struct Armed(Arc<Notify>, Arc<AtomicUsize>);

impl Drop for Armed {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::SeqCst);
        panic!("a tool that panics when it is dropped");
    }
}

impl Tools for Armed {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        (i == 0)
            .then(|| Definition::new("tool", r#"{"name":"tool","input_schema":{"type":"object"}}"#))
    }

    async fn call(&self, _: usize, _: ToolCall<'_>, out: &mut Output<'_>) -> Result<(), ToolError> {
        self.0.notified().await;
        Ok(out.text("x")?)
    }
}

/// The running call is the last owner of tools that were replaced, so they are dropped with it.
#[tokio::test]
async fn replaced_tools_that_panic_when_the_call_that_owns_them_is_dropped() {
    for ends in [true, false] {
        let scripted = model(&["tool"]);
        let (release, dropped) = (Arc::new(Notify::new()), Arc::new(AtomicUsize::new(0)));
        let armed = Armed(Arc::clone(&release), Arc::clone(&dropped));
        let mut run = scripted.client().run("m").tools(armed).user("Go.");
        assert!(tokio::time::timeout(Duration::from_millis(50), run.until_done()).await.is_err());
        run.set_tools(tool("tool", Kind::Plain)).unwrap();
        assert_eq!(dropped.load(Ordering::SeqCst), 0, "the call still runs");
        if ends {
            release.notify_one();
            assert!(matches!(end(&mut run).await, Outcome::Ended(_)));
            assert!(results(&scripted).contains(r#""x""#));
            assert_valid(&run, &scripted);
        } else {
            drop(run);
        }
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    }
}

#[tokio::test]
async fn a_tool_whose_panic_panics_has_panicked() {
    let scripted = model(&["tool"]);
    let mut run = scripted.client().run("m").tools(tool("tool", Kind::Throws)).user("Go.");
    end(&mut run).await;
    assert!(results(&scripted).contains("Error: tool panicked"));
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn a_hook_that_panics_leaves_the_result_as_it_is() {
    for eager in [false, true] {
        let scripted = model(&["tool", "tool"]);
        let (tool, asked) = (tool("tool", Kind::Plain), Arc::new(AtomicBool::new(false)));
        let ran = Arc::clone(&tool.2);
        let builder = scripted.client().run("m").tools(tool).eager(eager).on_result(move |draft| {
            draft.replace("changed");
            if asked.swap(true, Ordering::SeqCst) {
                std::panic::panic_any(Bomb);
            }
        });
        let mut run = builder.user("Go.");
        end(&mut run).await;
        let results = results(&scripted);
        assert!(results.contains(r#""changed""#) && results.contains(r#""x""#), "{results}");
        assert_eq!(ran.load(Ordering::SeqCst), 2);
        assert_valid(&run, &scripted);
    }
}

#[tokio::test]
async fn a_gate_that_panics_lets_nothing_run() {
    let scripted = model(&["tool"]);
    let tool = tool("tool", Kind::Plain);
    let ran = Arc::clone(&tool.2);
    let gate = |_| async { if true { std::panic::panic_any(Bomb) } else { Decision::Allow } };
    let mut run = scripted.client().run("m").tools(tool).gate(gate).user("Go.");
    end(&mut run).await;
    assert!(results(&scripted).contains("Error: not run"));
    assert_eq!(ran.load(Ordering::SeqCst), 0);
    assert_valid(&run, &scripted);
}
