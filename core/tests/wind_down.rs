//! The grace period on a chip: an executor that polls a task only after it was woken, and a clock
//! whose time passes only while every task waits.
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

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use common::{PLAIN, assert_valid, messages};
use serde_json::json;
use toolrunner_core::drive::{Driver, Fixed, Hooks};
use toolrunner_core::policy::{Limit, Limits};
use toolrunner_core::run::{Outcome, Run};
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply, ScriptedTransport};
use toolrunner_core::time::{Clock, Instant};
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, ToolHost, Toolbox};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::Config;

const GRACE: Duration = Duration::from_secs(10);

/// Whether the task was woken since its last poll.
#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A clock with alarms, as a chip has.
#[derive(Default)]
struct Alarms {
    now: AtomicU64,
    set: RefCell<Vec<(Instant, Waker)>>,
}

impl Alarms {
    /// Advances the time to the next alarm.
    fn ring(&self) {
        let mut set = self.set.borrow_mut();
        let next = set.iter().map(|(at, _)| *at).min().expect("the task sleeps forever");
        self.now.store(next.as_micros(), Ordering::SeqCst);
        for (_, waker) in set.extract_if(.., |(at, _)| *at <= next) {
            waker.wake();
        }
    }
}

impl Clock for Alarms {
    fn now(&self) -> Instant {
        Instant::from_micros(self.now.load(Ordering::SeqCst))
    }

    async fn wait_until(&self, deadline: Instant) {
        poll_fn(|context| {
            if self.now() >= deadline {
                return Poll::Ready(());
            }
            self.set.borrow_mut().push((deadline, context.waker().clone()));
            Poll::Pending
        })
        .await;
    }

    fn jitter(&self) -> u32 {
        0
    }
}

/// Polls `future` to its end, and only after it was woken.
fn run_woken<F: Future>(clock: &Alarms, future: F) -> F::Output {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        while !woken.0.swap(false, Ordering::SeqCst) {
            clock.ring();
        }
    }
}

/// The host of the tools: a flag without a waker.
#[derive(Default)]
struct Flag(AtomicBool);

impl ToolHost for Flag {
    fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl Hooks for Flag {
    fn grace(&self) -> Duration {
        GRACE
    }

    fn wind_down(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    fn host(&self) -> Option<&dyn ToolHost> {
        Some(self)
    }
}

/// Waits until it is cancelled, and ends at once.
struct Watchful;

impl Toolbox for Watchful {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        (i == 0).then(|| Definition::new("plain", PLAIN))
    }

    async fn call(
        &self,
        _: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        call.context().cancelled().await;
        Ok(out.text("tidy")?)
    }
}

/// The tool has no waker of its own, so only the loop can have it polled.
#[test]
fn a_tool_sees_the_cancellation_when_the_grace_period_begins() {
    let limits = Limits { time: Some(Duration::from_secs(5)), ..Limits::NONE };
    for is_fixed in [false, true] {
        let (clock, hooks) = (Alarms::default(), Flag::default());
        let script = Script::new().reply(ScriptedReply::new().tool_use("t1", "plain", "{}"));
        let transport = ScriptedTransport::new(ScriptedModel::new(script));
        let driver =
            Driver::new(Config::new("m", 64), transport, &Watchful, &clock).unwrap().hooks(&hooks);
        let mut memory = [0; 2048];
        let mut run = Run::new(Transcript::new(&mut memory));
        run.user("Hi").unwrap();
        *run.limits_mut() = limits;
        let outcome = if is_fixed {
            let buffers = [const { RefCell::new([0; 64]) }; 1];
            let lanes = [pin!(None)];
            let executor = Fixed::new(lanes, &buffers, |call| call.run(&Watchful, &hooks, &clock));
            let mut driver = driver.executor(executor);
            run_woken(&clock, driver.until_done(&mut run, &mut ())).unwrap()
        } else {
            let mut driver = driver;
            run_woken(&clock, driver.until_done(&mut run, &mut ())).unwrap()
        };
        assert_eq!(outcome, Outcome::Limit(Limit::Time));
        assert_eq!(messages(&run)[2]["content"], json!([common::result("t1", "tidy")]));
        assert_valid(&run);
        assert_eq!(clock.now(), Instant::ZERO.after(Duration::from_secs(5)), "{is_fixed}");
    }
}
