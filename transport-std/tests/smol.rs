//! The loop on another runtime: smol's executor and timers, without any tokio runtime.

mod common;

use core::time::Duration;
use std::time::Instant as SystemInstant;

use common::{assert_valid, calls, echo, fun, scripted};
use smol::Timer;
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_core::time::Instant;
use toolrunner_std::clock::{DynClock, WaitFuture};
use toolrunner_std::{Client, RetryPolicy};

/// smol's timers.
struct SmolClock(SystemInstant);

impl DynClock for SmolClock {
    fn now(&self) -> Instant {
        Instant::ZERO.after(self.0.elapsed())
    }

    fn wait_until(&self, deadline: Instant) -> WaitFuture<'_> {
        Box::pin(async move {
            Timer::at(self.0 + Duration::from_micros(deadline.as_micros())).await;
        })
    }

    fn jitter(&self) -> u32 {
        0
    }
}

/// One reply of an overloaded server, then calls of every kind of tool, then an end.
fn script() -> Script {
    let all = ScriptedReply::new()
        .tool_use("t1", "a", "{}")
        .tool_use("t2", "blocking", "{}")
        .tool_use("t3", "late", "{}")
        .tool_use("t4", "bad", "{}");
    Script::new()
        .error(529, "overloaded_error", "Overloaded")
        .reply(all)
        .reply(calls(&["t5"], "a"))
        .reply(ScriptedReply::text("ok"))
}

fn run_on_smol(clock: Option<SmolClock>) {
    let mut blocking = fun("blocking", |_| {
        std::thread::sleep(Duration::from_millis(20));
        Ok(format!("{:?}", std::thread::current().name()))
    });
    blocking.shape = |definition| definition.blocking();
    let mut late = fun("late", |_| {
        std::thread::sleep(Duration::from_secs(1));
        Ok(String::new())
    });
    late.shape = |definition| definition.blocking().timeout(Duration::from_millis(50));
    let mut bad = fun("bad", |_| panic!("on purpose"));
    bad.shape = |definition| definition.blocking();
    let scripted = scripted(script());
    let retry = RetryPolicy { first_wait: Duration::from_millis(10), ..RetryPolicy::DEFAULT };
    let builder =
        scripted.client().run("m").tools((echo("a"), blocking, late, bad)).retry_policy(retry);
    let builder = if let Some(clock) = clock { builder.clock(clock) } else { builder };
    let mut run = builder.user("Go.");
    let (run, text) = smol::block_on(async {
        let task = smol::spawn(async move {
            let text = run.until_done().await.unwrap().text();
            (run, text)
        });
        task.await
    });
    assert_eq!(text, "ok");
    let said = run.messages();
    assert!(said.contains(r#""content":"Some(\"toolrunner-blocking\")""#), "{said}");
    assert!(
        said.contains("timed out after 50 ms") && said.contains("Error: tool panicked"),
        "{said}"
    );
    assert_valid(&run, &scripted);
}

#[test]
fn with_its_own_timers() {
    run_on_smol(Some(SmolClock(SystemInstant::now())));
}

#[test]
fn with_the_default_clock() {
    run_on_smol(None);
}

#[test]
fn connections_need_tokio_and_say_so() {
    let client = Client::builder().base_url("http://127.0.0.1:9").max_retries(0).build().unwrap();
    let mut run = client.run("m").user("Go.");
    let error = smol::block_on(run.until_done()).unwrap_err();
    assert_eq!(error.to_string(), "connections need a tokio runtime, and none is running");
}
