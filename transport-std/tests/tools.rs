//! How calls run: concurrently, up to a limit, serially, within timeouts, with cancellation,
//! through a gate; and what remains when one fails.

mod common;

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use common::{assert_valid, calls, conversations, echo, fun, scripted};
use toolrunner_core::message::Messages;
use toolrunner_core::testing::{Script, ScriptedReply, VirtualClock};
use toolrunner_core::tool::{Definition, Output, ToolCall, Tools};
use toolrunner_std::run::{DEFAULT_CONCURRENCY, ResultDraft};
use toolrunner_std::{Decision, Limit, Limits, Outcome, Run, ToolAnswer, ToolError};

/// A tool that waits for `wait`, and counts how many calls of it run at the same time.
#[derive(Clone)]
struct Slow {
    /// Whether it ignores cancellation.
    deaf: bool,
    wait: Duration,
    shape: fn(Definition<'_>) -> Definition<'_>,
    now: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    cancelled: Arc<AtomicUsize>,
}

impl Tools for Slow {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        let json = r#"{"name":"slow","input_schema":{"type":"object"}}"#;
        (i == 0).then(|| (self.shape)(Definition::new("slow", json)))
    }

    async fn call(
        &self,
        _: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let context = call.context();
        let text = tokio::select! {
            () = tokio::time::sleep(self.wait) => "done",
            () = context.cancelled(), if !self.deaf => {
                self.cancelled.fetch_add(1, Ordering::SeqCst);
                "ended early"
            }
        };
        self.now.fetch_sub(1, Ordering::SeqCst);
        let _ = out.text(text);
        Ok(())
    }
}

fn slow(millis: u64, shape: fn(Definition<'_>) -> Definition<'_>) -> Slow {
    let wait = Duration::from_millis(millis);
    Slow {
        deaf: false,
        wait,
        shape,
        now: Arc::default(),
        most: Arc::default(),
        cancelled: Arc::default(),
    }
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|i| format!("t{i:03}")).collect()
}

/// One turn with this many calls of `slow`, then an end.
fn many(count: usize) -> Script {
    let ids = ids(count);
    Script::new()
        .reply(calls(&ids.iter().map(String::as_str).collect::<Vec<_>>(), "slow"))
        .reply(ScriptedReply::text("ok"))
}

/// Returns the ids of the results in the last request.
fn result_ids(run: &Run) -> Vec<String> {
    Messages::new(run.machine().messages())
        .flat_map(|message| message.tool_results().map(|result| result.tool_use_id().to_string()))
        .collect()
}

#[tokio::test]
async fn at_most_32_at_the_same_time_in_the_models_order() {
    for (bound, most) in [(None, DEFAULT_CONCURRENCY), (Some(3), 3), (Some(0), 1)] {
        let (scripted, tool) = (scripted(many(40)), slow(5, |definition| definition));
        let builder = scripted.client().run("m").tools(tool.clone());
        let mut run =
            if let Some(bound) = bound { builder.concurrency(bound) } else { builder }.user("Go.");
        assert_eq!(run.until_done().await.unwrap().text(), "ok");
        assert_eq!(tool.most.load(Ordering::SeqCst), most);
        assert_eq!(result_ids(&run), ids(40));
        assert_valid(&run, &scripted);
    }
}

#[tokio::test]
async fn serial_tools_run_one_at_a_time() {
    let (scripted, tool) = (scripted(many(4)), slow(5, |definition| definition.serial()));
    let mut run = scripted.client().run("m").tools(tool.clone()).user("Go.");
    run.until_done().await.unwrap();
    assert_eq!(tool.most.load(Ordering::SeqCst), 1);
    assert_valid(&run, &scripted);
}

/// Calls of one group run one at a time, concurrently with those of other groups and of none.
#[tokio::test]
async fn serial_groups_run_beside_each_other() {
    for (shape, most) in [
        ((|definition| definition.serial_in("db")) as fn(Definition<'_>) -> Definition<'_>, 3),
        (|definition| definition.serial_in("other"), 2),
        (|definition| definition.serial(), 3),
    ] {
        // Three tools that share one count: one as configured, one in the group "other", one in no
        // group.
        let first = slow(20, shape);
        let named = |name: &'static str, shape: fn(Definition<'_>) -> Definition<'_>| Named {
            name,
            slow: Slow { shape, ..first.clone() },
        };
        let tools = (
            first.clone(),
            named("second", |definition| definition.serial_in("other")),
            named("third", |definition| definition),
        );
        let reply = ScriptedReply::new()
            .tool_use("t1", "slow", "{}")
            .tool_use("t2", "slow", "{}")
            .tool_use("t3", "second", "{}")
            .tool_use("t4", "second", "{}")
            .tool_use("t5", "third", "{}");
        let scripted = scripted(Script::new().reply(reply).reply(ScriptedReply::text("ok")));
        let mut run = scripted.client().run("m").tools(tools).user("Go.");
        run.until_done().await.unwrap();
        assert_eq!(first.most.load(Ordering::SeqCst), most);
        assert_eq!(result_ids(&run).len(), 5);
        assert_valid(&run, &scripted);
    }
}

/// A slow tool with another name.
#[derive(Clone)]
struct Named {
    name: &'static str,
    slow: Slow,
}

impl Tools for Named {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        let json = if self.name == "second" {
            r#"{"name":"second","input_schema":{"type":"object"}}"#
        } else {
            r#"{"name":"third","input_schema":{"type":"object"}}"#
        };
        (i == 0).then(|| (self.slow.shape)(Definition::new(self.name, json)))
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.slow.call(i, call, out).await
    }
}

#[tokio::test]
async fn a_panic_is_an_error_result() {
    for blocking in [false, true] {
        let mut bad = fun("bad", |_| panic!("secret {}", 1));
        if blocking {
            bad.shape = |definition| definition.blocking();
        }
        let scripted = scripted(
            Script::new()
                .reply(
                    ScriptedReply::new().tool_use("t1", "bad", "{}").tool_use("t2", "good", "{}"),
                )
                .reply(ScriptedReply::text("ok")),
        );
        let mut run = scripted.client().run("m").tools((bad, echo("good"))).user("Go.");
        run.until_done().await.unwrap();
        let sent = conversations(&scripted).remove(1);
        assert!(sent.contains(r#"{"type":"tool_result","tool_use_id":"t1","content":"Error: tool panicked","is_error":true},{"type":"tool_result","tool_use_id":"t2","content":"good!"}"#), "{sent}");
        assert_valid(&run, &scripted);
    }
}

#[tokio::test]
async fn a_blocking_tool_does_not_block_the_others() {
    // On one thread: if the tool blocked it, the other tool could never release it.
    let (give, wait) = std::sync::mpsc::channel::<()>();
    let (give, wait) = (Mutex::new(give), Mutex::new(wait));
    let mut blocking = fun("blocking", move |_| {
        wait.lock().unwrap().recv().map_err(|error| ToolError::text(error.to_string()))?;
        Ok("let go".to_owned())
    });
    blocking.shape = |definition| definition.blocking();
    let other = fun("other", move |_| {
        give.lock().unwrap().send(()).map_err(|error| ToolError::text(error.to_string()))?;
        Ok("ok".to_owned())
    });
    let reply = ScriptedReply::new().tool_use("t1", "blocking", "{}").tool_use("t2", "other", "{}");
    let scripted = scripted(Script::new().reply(reply).reply(ScriptedReply::text("ok")));
    let mut run = scripted.client().run("m").tools((blocking, other)).user("Go.");
    run.until_done().await.unwrap();
    assert!(conversations(&scripted)[1].contains("let go"));
}

#[tokio::test]
async fn a_tool_that_hangs_runs_into_its_time_out() {
    let (scripted, tool) = (
        scripted(many(2)),
        slow(60_000, |definition| definition.timeout(Duration::from_millis(20))),
    );
    let mut run = scripted.client().run("m").tools(tool).user("Go.");
    run.until_done().await.unwrap();
    assert!(
        conversations(&scripted)[1]
            .contains(r#""content":"Error: timed out after 20 ms","is_error":true"#)
    );
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn a_dropped_future_loses_no_result_and_runs_nothing_twice() {
    let (scripted, tool) = (scripted(many(3)), echo("slow"));
    let mut run = scripted.client().run("m").tools((tool.clone(),)).concurrency(1).user("Go.");
    // Polled once and dropped, repeatedly.
    let mut polls = 0;
    let finished = loop {
        polls += 1;
        if let Ok(finished) = tokio::time::timeout(Duration::ZERO, run.until_done()).await {
            break finished.unwrap();
        }
        assert_valid(&run, &scripted);
        assert!(polls < 1000);
    };
    assert_eq!(finished.text(), "ok");
    assert_eq!(tool.ran(), ids(3));
}

#[tokio::test]
async fn cancelling_tells_the_tools_and_gives_them_time() {
    for (deaf, told) in [(false, "ended early"), (true, "Error: cancelled")] {
        let (scripted, mut tool) = (scripted(many(2)), slow(60_000, |definition| definition));
        tool.deaf = deaf;
        let grace = Duration::from_millis(50);
        let mut run = scripted.client().run("m").tools(tool.clone()).grace(grace).user("Go.");
        let cancel = run.cancellation();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            cancel.cancel();
        });
        assert_eq!(run.until_done().await.unwrap().outcome, Outcome::Stopped);
        assert_valid(&run, &scripted);
        assert_eq!(run.messages().matches(told).count(), 2, "{told}: {}", run.messages());
        // It stays stopped until it is resumed, and then continues.
        assert_eq!(run.until_done().await.unwrap().outcome, Outcome::Stopped);
        assert_eq!(run.resume().until_done().await.unwrap().text(), "ok");
        assert_valid(&run, &scripted);
    }
}

#[tokio::test]
async fn a_time_limit_ends_what_is_under_way() {
    let (scripted, tool) = (scripted(many(1)), slow(60_000, |definition| definition));
    let limits = Limits { time: Some(Duration::from_millis(50)), ..Limits::NONE };
    // In virtual time, because on a slow machine the time might be over before the tool runs.
    let mut run = scripted
        .client()
        .run("m")
        .tools(tool.clone())
        .limits(limits)
        .clock(VirtualClock::new(1))
        .user("Go.");
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::Limit(Limit::Time));
    assert_eq!(tool.cancelled.load(Ordering::SeqCst), 1);
    assert_valid(&run, &scripted);
    run.limits_mut().time = None;
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn a_time_limit_does_not_wait_for_a_retry() {
    let clock = VirtualClock::new(1);
    let scripted = scripted(
        Script::new()
            .error(529, "overloaded_error", "Overloaded")
            .header("retry-after", "3600")
            .reply(ScriptedReply::text("ok")),
    );
    let limits = Limits { time: Some(Duration::from_secs(10)), ..Limits::NONE };
    let mut run = scripted.client().run("m").limits(limits).clock(clock).user("Go.");
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::Limit(Limit::Time));
    run.limits_mut().time = None;
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
}

#[tokio::test]
async fn tools_see_their_context_and_share_state() {
    struct Seen;
    impl Tools for Seen {
        fn count(&self) -> usize {
            1
        }
        fn definition(&self, i: usize) -> Option<Definition<'_>> {
            let json = r#"{"name":"seen","input_schema":{"type":"object"}}"#;
            (i == 0).then(|| Definition::new("seen", json).timeout(Duration::from_secs(9)))
        }
        async fn call(
            &self,
            _: usize,
            call: ToolCall<'_>,
            out: &mut Output<'_>,
        ) -> Result<(), ToolError> {
            let context = call.context();
            let visits = context
                .state::<AtomicUsize>()
                .ok_or(ToolError::new("no state"))?
                .fetch_add(1, Ordering::SeqCst);
            assert!(
                context.state::<String>().is_none()
                    && context.deadline.is_some()
                    && !context.is_cancelled()
            );
            let _ = out.text(&format!(
                "{} {} turn {} visit {visits}",
                context.id, context.name, context.turn
            ));
            Ok(())
        }
    }
    let scripted = scripted(
        Script::new()
            .reply(calls(&["t1"], "seen"))
            .reply(calls(&["t2"], "seen"))
            .reply(ScriptedReply::text("ok")),
    );
    let mut run = scripted.client().run("m").tools(Seen).state(AtomicUsize::new(0)).user("Go.");
    run.until_done().await.unwrap();
    let sent = run.messages();
    assert!(
        sent.contains("t1 seen turn 1 visit 0") && sent.contains("t2 seen turn 2 visit 1"),
        "{sent}"
    );
}

#[tokio::test]
async fn a_gate_decides_about_every_call() {
    let script = Script::new().reply(
        ["allow", "deny", "input", "answer", "panic"]
            .iter()
            .fold(ScriptedReply::new(), |reply, id| reply.tool_use(id, "a", "{}")),
    );
    let scripted = scripted(script.reply(ScriptedReply::text("ok")));
    let tool = fun("a", |input| Ok(format!("got {input}")));
    let run = scripted.client().run("m").tools(tool.clone()).gate(|call| async move {
        match call.id.as_str() {
            "allow" => Decision::Allow,
            "deny" => Decision::deny("Not on Sundays."),
            "input" => Decision::Input(r#"{"b":1}"#.to_owned()),
            "answer" => Decision::answer("from the cache"),
            other => panic!("{other}"),
        }
    });
    let mut run = run.user("Go.");
    run.until_done().await.unwrap();
    let results: Vec<String> = Messages::new(run.machine().messages())
        .flat_map(|message| {
            message.tool_results().map(|result| {
                let value = result.value();
                format!("{} {}", value.member("content").unwrap(), result.is_error())
            })
        })
        .collect();
    assert_eq!(
        results,
        [
            r#""got {}" false"#,
            r#""Not on Sundays." true"#,
            r#""got {\"b\":1}" false"#,
            r#""from the cache" false"#,
            r#""Error: not run" true"#
        ]
    );
    assert_eq!(tool.ran(), ["allow", "input"]);
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn a_gate_suspends_until_somebody_knows() {
    let scripted = scripted(
        Script::new().reply(calls(&["t1", "t2", "t3"], "a")).reply(ScriptedReply::text("ok")),
    );
    let tool = echo("a");
    let gate = |call: toolrunner_std::run::GatedCall| async move {
        if call.id == "t2" { Decision::Allow } else { Decision::Suspend }
    };
    let mut run = scripted.client().run("m").tools(tool.clone()).gate(gate).user("Go.");
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::NeedsAnswer);
    assert_eq!(
        (tool.ran(), run.waiting_calls()),
        (vec!["t2".to_owned()], vec!["t1".to_owned(), "t3".to_owned()])
    );
    assert_valid(&run, &scripted);
    run.allow("t1").unwrap().answer_with("t3", ToolAnswer::error("no")).unwrap();
    assert!(run.allow("t2").is_err(), "it has run");
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert_eq!(tool.ran(), ["t2", "t1"]);
    assert_eq!(result_ids(&run), ["t1", "t2", "t3"]);
    assert_valid(&run, &scripted);
}

/// Deletes everything.
#[toolrunner_std::tool(requires_approval)]
fn delete_all() -> &'static str {
    "deleted"
}

#[tokio::test]
async fn a_gate_sees_which_tools_require_approval() {
    let reply = ScriptedReply::new().tool_use("t1", "a", "{}").tool_use("t2", "delete_all", "{}");
    let scripted = scripted(Script::new().reply(reply).reply(ScriptedReply::text("ok")));
    let mut run = scripted
        .client()
        .run("m")
        .tools((echo("a"), delete_all))
        .gate(|call| async move {
            if call.requires_approval { Decision::Suspend } else { Decision::Allow }
        })
        .user("Go.");
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::NeedsAnswer);
    assert_eq!(run.waiting_calls(), ["t2"]);
    run.allow("t2").unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert!(run.messages().contains(r#""content":"deleted""#), "{}", run.messages());
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn a_hook_sees_every_result_and_a_cap_cuts_it() {
    let long = fun("long", |_| Ok("ä".repeat(100)));
    let scripted = scripted(
        Script::new()
            .reply(ScriptedReply::new().tool_use("t1", "long", "{}").tool_use("t2", "a", "{}"))
            .reply(ScriptedReply::text("ok")),
    );
    let redact = |result: &mut ResultDraft| {
        if result.name == "a" {
            result.replace(&result.text().replace("a!", "[redacted]"));
        }
    };
    let mut run = scripted
        .client()
        .run("m")
        .tools((long, echo("a")))
        .on_result(redact)
        .result_cap(15)
        .user("Go.");
    run.until_done().await.unwrap();
    let sent = run.messages();
    assert!(sent.contains(r#""content":"ääää\n[… 186 bytes cut …]\näää""#), "{sent}");
    assert!(sent.contains(r#""content":"[redacted]""#), "{sent}");
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn answering_a_call_that_runs_drops_it() {
    let (scripted, tool) = (scripted(many(2)), slow(60_000, |definition| definition));
    let mut run = scripted.client().run("m").tools(tool.clone()).user("Go.");
    assert!(tokio::time::timeout(Duration::from_millis(30), run.until_done()).await.is_err());
    assert_eq!(tool.most.load(Ordering::SeqCst), 2);
    run.answer("t000", "by hand").unwrap().answer("t001", "by hand too").unwrap();
    assert!(run.answer("t000", "twice").is_err());
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert_valid(&run, &scripted);
}
