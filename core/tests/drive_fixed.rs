//! Several calls at once without a heap: `Fixed`.
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

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::time::Duration;

use common::*;
use toolrunner_core::__private::drive::LaneEnd;
use toolrunner_core::drive::{Draft, Driver, Fixed, Hooks, Verdict};
use toolrunner_core::message::StopReason;
use toolrunner_core::observe::{Event, FnObserver};
use toolrunner_core::run::{Outcome, Run, ToolAnswer};
use toolrunner_core::testing::{
    Script, ScriptedModel, ScriptedReply, ScriptedTransport, VirtualClock,
};
use toolrunner_core::time::{Clock, Instant};
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Toolbox};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::Config;

const ENDED: Outcome = Outcome::Ended(Some(StopReason::EndTurn));

/// A tool that waits for as many polls as its input says, and records how many run at once.
struct Waiting {
    began: RefCell<Vec<String>>,
    running: Cell<usize>,
    most: Cell<usize>,
    serial: bool,
    timeout: Option<Duration>,
}

impl Waiting {
    fn new() -> Self {
        Self {
            began: RefCell::default(),
            running: Cell::new(0),
            most: Cell::new(0),
            serial: false,
            timeout: None,
        }
    }
}

/// Counts down when the tool ends, and when it is dropped.
struct Guard<'w>(&'w Cell<usize>);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl Toolbox for Waiting {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        let definition = Definition::new("plain", PLAIN);
        let definition = if self.serial { definition.serial() } else { definition };
        (i == 0).then(|| self.timeout.map_or(definition, |limit| definition.timeout(limit)))
    }

    async fn call(
        &self,
        _: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.began.borrow_mut().push(call.id.to_string());
        self.running.set(self.running.get() + 1);
        self.most.set(self.most.get().max(self.running.get()));
        let _guard = Guard(&self.running);
        let polls =
            call.input.member("polls").map_or(0, |polls| polls.to_string().parse().unwrap());
        yields(polls).await;
        if let Some(text) = call.input.member("text") {
            let text = text.as_text().unwrap();
            assert!(!text.raw().contains('\\') || call.scratch.len() >= text.raw().len());
            let text = text.to_string();
            return Ok(out.text(&text)?);
        }
        Ok(out.text(&format!("{} in turn {}", call.id, call.turn))?)
    }
}

fn asking(polls: &[usize]) -> ScriptedReply {
    polls.iter().enumerate().fold(ScriptedReply::new(), |reply, (i, polls)| {
        reply.tool_use(&format!("t{i}"), "plain", &format!("{{\"polls\":{polls}}}"))
    })
}

/// Creates a driver whose calls run in `$lanes` lanes of `$bytes` bytes.
macro_rules! driver {
    ($driver:ident: $script:expr, $tools:expr, $clock:expr, $hooks:expr, $lanes:literal of $bytes:literal) => {
        let (tools, hooks, clock) = ($tools, $hooks, $clock);
        let buffers = [const { RefCell::new([0; $bytes]) }; $lanes];
        let mut places = [const { None }; $lanes];
        let mut rest = places.iter_mut();
        // On a chip they are `pin!(None)`; here the array stays where it is.
        let lanes = [(); $lanes].map(|()| unpinned(rest.next().unwrap()));
        let executor = Fixed::new(lanes, &buffers, |call| -> Lane<'_> {
            Box::pin(call.run(tools, hooks, clock))
        });
        let transport = ScriptedTransport::new(ScriptedModel::new($script));
        let mut $driver = Driver::new(Config::new("m", 64), transport, $tools, $clock)
            .unwrap()
            .hooks($hooks)
            .executor(executor);
    };
}

type Lane<'l> = std::pin::Pin<Box<dyn Future<Output = LaneEnd> + 'l>>;

fn unpinned<T: Unpin>(place: &mut T) -> std::pin::Pin<&mut T> {
    std::pin::Pin::new(place)
}

/// Returns the contents of the results in the conversation.
fn results(run: &Run<'_>) -> Vec<String> {
    let blocks = messages(run)
        .into_iter()
        .flat_map(|message| message["content"].as_array().cloned().unwrap_or_default());
    blocks
        .filter(|block| block["type"] == "tool_result")
        .map(|block| block["content"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn calls_run_at_once_and_their_results_are_in_order() {
    let (tools, clock) = (Waiting::new(), VirtualClock::new(0));
    let script = Script::new().reply(asking(&[9, 5, 1, 3])).reply(ScriptedReply::text("Done."));
    driver!(driver: script, &tools, &clock, &(), 3 of 128);
    let mut memory = [0; 4096];
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user("Hi").unwrap();
    let mut told = Vec::new();
    let mut observer = FnObserver(|event: &Event<'_>| match event {
        Event::ToolStart { id, .. } => told.push(format!("+{id}")),
        Event::ToolEnd { id, .. } => told.push(format!("-{id}")),
        _ => {}
    });
    assert_eq!(block_on(driver.until_done(&mut run, &mut observer)).unwrap(), ENDED);
    assert_valid(&run);
    assert_eq!(results(&run), ["t0 in turn 1", "t1 in turn 1", "t2 in turn 1", "t3 in turn 1"]);
    assert_eq!(told, ["+t0", "+t1", "+t2", "-t2", "+t3", "-t1", "-t3", "-t0"]);
    assert_eq!(tools.most.get(), 3);
}

/// With `pin!` and inferred futures, as on a chip; and nothing is allocated.
#[test]
fn nothing_is_allocated() {
    struct Sum;
    impl Toolbox for Sum {
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
            yields(call.id.raw().len()).await;
            Ok(out.text(call.input.as_json())?)
        }
    }
    let clock = VirtualClock::new(0);
    let mut memory = [0; 2048];
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user("Hi").unwrap();
    let body = rendered(asking(&[1, 2, 3]), toolrunner_core::testing::Style::default(), true);
    let (_, ended) = exchange(&mut run, 200, [body.as_slice()]);
    ended.unwrap();
    let transport = ScriptedTransport::new(ScriptedModel::new(Script::new()));
    let driver = Driver::new(Config::new("m", 64), transport, &Sum, &clock).unwrap();
    let buffers = [const { RefCell::new([0; 64]) }; 2];
    let lanes = [pin!(None), pin!(None)];
    let executor = Fixed::new(lanes, &buffers, |call| call.run(&Sum, &(), &clock));
    let mut driver = driver.executor(executor);
    let allocated = allocation_counter::measure(|| {
        block_on(driver.results(&mut run, &mut ())).unwrap();
    });
    assert_eq!(allocated.count_total, 0);
    assert_eq!(run.results().count(), 3);
    assert_valid(&run);
}

/// The future that drives the run is dropped after every few polls: no call runs twice, and no
/// result is lost.
#[test]
fn a_dropped_future_stops_no_call() {
    for polls in 1..6 {
        let (tools, clock) = (Waiting::new(), VirtualClock::new(0));
        let script = Script::new()
            .reply(asking(&[4, 2, 7]))
            .reply(asking(&[1, 0]))
            .reply(ScriptedReply::text("Done."))
            // A request whose future was dropped is sent again.
            .reply(ScriptedReply::text("Done."));
        let buffers = [const { RefCell::new([0; 128]) }; 2];
        let lanes = [pin!(None), pin!(None)];
        let executor = Fixed::new(lanes, &buffers, |call| call.run(&tools, &(), &clock));
        let transport = ScriptedTransport::new(ScriptedModel::new(script));
        let mut driver = Driver::new(Config::new("m", 64), transport, &tools, &clock)
            .unwrap()
            .executor(executor);
        let mut run = run();
        let mut ended = None;
        for _ in 0..100 {
            ended = poll_at_most(driver.until_done(&mut run, &mut ()), polls);
            assert_valid(&run);
            if ended.is_some() {
                break;
            }
        }
        assert_eq!(ended.unwrap().unwrap(), ENDED, "{polls}");
        assert_eq!(*tools.began.borrow(), ["t0", "t1", "t2", "t0", "t1"]);
        assert_eq!(results(&run).len(), 5);
        assert!(results(&run).iter().all(|result| result.contains("in turn")), "none is cancelled");
    }
}

/// Waits before it decides, and decides by the call's id.
struct Gate {
    waiting: Cell<usize>,
    most: Cell<usize>,
}

impl Hooks for Gate {
    async fn before(&self, call: &ToolCall<'_>, out: &mut Output<'_>) -> Verdict {
        self.waiting.set(self.waiting.get() + 1);
        self.most.set(self.most.get().max(self.waiting.get()));
        yields(4).await;
        self.waiting.set(self.waiting.get() - 1);
        match call.id.to_string().as_str() {
            "t0" => Verdict::Deny,
            "t1" => {
                out.text("by the gate").unwrap();
                Verdict::Answer
            }
            "t2" => {
                out.input(r#"{"text":"\u00e9\n edited"}"#).unwrap();
                Verdict::Input
            }
            "t3" => Verdict::Suspend,
            _ => Verdict::Allow,
        }
    }

    fn after(&self, result: &mut Draft<'_, '_>) {
        if result.call().unwrap().id == *"t4" {
            result.replace(ToolAnswer::ok("by the hook")).unwrap();
        }
    }
}

#[test]
fn gates_wait_at_the_same_time() {
    let (tools, clock) = (Waiting::new(), VirtualClock::new(0));
    let gate = Gate { waiting: Cell::new(0), most: Cell::new(0) };
    let script = Script::new().reply(asking(&[0; 5])).reply(ScriptedReply::text("Done."));
    driver!(driver: script, &tools, &clock, &gate, 2 of 128);
    let mut run = run();
    assert_eq!(block_on(driver.until_done(&mut run, &mut ())).unwrap(), Outcome::NeedsAnswer);
    assert_eq!(gate.most.get(), 2);
    block_on(driver.allow(&mut run, 3.into(), &mut ())).unwrap();
    assert_eq!(block_on(driver.until_done(&mut run, &mut ())).unwrap(), ENDED);
    assert_valid(&run);
    let expected =
        ["Error: not allowed", "by the gate", "é\n edited", "t3 in turn 1", "by the hook"];
    assert_eq!(results(&run), expected);
    assert_eq!(*tools.began.borrow(), ["t2", "t4", "t3"]);
}

/// A clock on which time passes while somebody waits for it, however many do.
struct Ticking(Cell<u64>);

impl Clock for Ticking {
    fn now(&self) -> Instant {
        Instant::from_micros(self.0.get())
    }

    async fn wait_until(&self, deadline: Instant) {
        while self.now() < deadline {
            self.0.set(self.0.get() + 100);
            yields(1).await;
        }
    }

    fn jitter(&self) -> u32 {
        7
    }
}

/// Cancelled from outside while calls run.
struct Button<'c> {
    clock: &'c Ticking,
    at: Instant,
    grace: Duration,
    wound_down: Cell<usize>,
}

impl Hooks for Button<'_> {
    fn is_cancelled(&self) -> bool {
        self.clock.now() >= self.at
    }

    fn grace(&self) -> Duration {
        self.grace
    }

    fn wind_down(&self) {
        self.wound_down.set(self.wound_down.get() + 1);
    }
}

/// Runs for as many milliseconds as the input says, by the clock of the run.
struct Timed<'c>(&'c Ticking);

impl Toolbox for Timed<'_> {
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
        let ms: u64 = call.input.member("polls").unwrap().to_string().parse().unwrap();
        self.0.wait_until(Instant::ZERO.after(Duration::from_millis(ms))).await;
        Ok(out.text("ended")?)
    }
}

#[test]
fn a_grace_period_is_for_all_calls() {
    for (grace, expected) in [
        (0, ["Error: cancelled", "Error: cancelled"]),
        (20, ["ended", "Error: cancelled"]),
        (200, ["ended", "ended"]),
    ] {
        let clock = Ticking(Cell::new(0));
        let hooks = Button {
            clock: &clock,
            at: Instant::ZERO.after(Duration::from_millis(10)),
            grace: Duration::from_millis(grace),
            wound_down: Cell::new(0),
        };
        let tools = Timed(&clock);
        let script = Script::new().reply(asking(&[20, 100, 5]));
        driver!(driver: script, &tools, &clock, &hooks, 2 of 128);
        let mut run = run();
        assert_eq!(block_on(driver.until_done(&mut run, &mut ())).unwrap(), Outcome::Stopped);
        assert_valid(&run);
        assert_eq!(results(&run), expected, "the third has not started: {grace}");
        assert_eq!(hooks.wound_down.get(), 1);
    }
}

#[test]
fn what_does_not_fit_is_an_error_that_says_so() {
    let (tools, clock) = (Waiting::new(), VirtualClock::new(0));
    let long = format!("{{\"polls\":0,\"text\":\"{}\"}}", "x".repeat(90));
    let reply = ScriptedReply::new()
        .tool_use("t0", "plain", &long)
        .tool_use("t1", "plain", r#"{"text":"0123456789012345678901234567890123456789"}"#)
        .tool_use("t2", "plain", "{}");
    let script = Script::new().reply(reply).reply(ScriptedReply::text("Done."));
    driver!(driver: script, &tools, &clock, &(), 2 of 96);
    let mut run = run();
    assert_eq!(block_on(driver.until_done(&mut run, &mut ())).unwrap(), ENDED);
    assert_valid(&run);
    assert!(!tools.began.borrow().contains(&"t0".to_owned()));
    assert_eq!(
        results(&run),
        [
            "Error: the input is too large: 118 bytes, at most 96 fit",
            "Error: the result is too large: 45 bytes, at most 38 fit",
            "t2 in turn 1"
        ]
    );
}

/// Calls of one serial group never run at once.
#[test]
fn a_serial_group_is_kept_apart() {
    let (tools, clock) = (Waiting { serial: true, ..Waiting::new() }, VirtualClock::new(0));
    let script = Script::new().reply(asking(&[3, 3, 3])).reply(ScriptedReply::text("Done."));
    driver!(driver: script, &tools, &clock, &(), 3 of 128);
    let mut run = run();
    assert_eq!(block_on(driver.until_done(&mut run, &mut ())).unwrap(), ENDED);
    assert_eq!((tools.most.get(), results(&run).len()), (1, 3));
}

/// The caller closes the calls while they run: they are dropped.
#[test]
fn a_message_drops_the_calls_that_it_closes() {
    let (tools, clock) = (Waiting::new(), VirtualClock::new(0));
    let again = ScriptedReply::new().tool_use("n0", "plain", r#"{"polls":9}"#);
    let script = Script::new()
        .reply(asking(&[usize::MAX, 6]))
        .reply(again)
        .reply(ScriptedReply::text("Done."));
    driver!(driver: script, &tools, &clock, &(), 2 of 128);
    let mut run = run();
    assert!(poll_at_most(driver.until_done(&mut run, &mut ()), 2).is_none());
    assert_eq!(tools.began.borrow().len(), 2);
    run.user("Never mind.").unwrap();
    assert_eq!(block_on(driver.until_done(&mut run, &mut ())).unwrap(), ENDED);
    assert_valid(&run);
    assert_eq!(results(&run), ["Error: cancelled", "Error: cancelled", "n0 in turn 1"]);
    assert_eq!(*tools.began.borrow(), ["t0", "t1", "n0"]);
    assert_eq!(tools.running.get(), 0);
}

/// One driver for two runs in turns: the result of one run's call is not taken for the call of the
/// same number of the other, which is answered as cancelled.
#[test]
fn a_result_goes_only_to_its_own_run() {
    let (tools, clock) = (Waiting::new(), VirtualClock::new(0));
    let ask = |id: &str| ScriptedReply::new().tool_use(id, "plain", r#"{"polls":9}"#);
    let script =
        Script::new().reply(ask("a0")).reply(ask("b0")).reply(ScriptedReply::text("Done."));
    driver!(driver: script, &tools, &clock, &(), 2 of 128);
    let (mut first, mut second) = (run(), run());
    assert!(poll_at_most(driver.until_done(&mut first, &mut ()), 2).is_none());
    assert!(poll_at_most(driver.until_done(&mut second, &mut ()), 2).is_none());
    assert_eq!(*tools.began.borrow(), ["a0", "b0"]);
    assert_eq!(block_on(driver.until_done(&mut first, &mut ())).unwrap(), ENDED);
    assert_valid(&first);
    assert_eq!(results(&first), ["Error: cancelled"]);
}

#[test]
fn a_time_limit_is_for_one_call() {
    let clock = VirtualClock::new(0);
    let tools = Waiting { timeout: Some(Duration::from_millis(50)), ..Waiting::new() };
    let script = Script::new().reply(asking(&[usize::MAX, 1])).reply(ScriptedReply::text("Done."));
    driver!(driver: script, &tools, &clock, &(), 2 of 128);
    let mut run = run();
    assert_eq!(block_on(driver.until_done(&mut run, &mut ())).unwrap(), ENDED);
    assert_eq!(results(&run)[0], "Error: timed out after 50 ms");
    assert_eq!((results(&run).len(), tools.running.get()), (2, 0));
}

/// A call starts while its reply is still streaming, through the same admission as any other, and
/// the hook sees its result once.
#[cfg(feature = "alloc")]
#[test]
fn calls_start_before_their_reply_is_complete() {
    struct Shout(Cell<usize>);
    impl Hooks for Shout {
        fn after(&self, result: &mut Draft<'_, '_>) {
            self.0.set(self.0.get() + 1);
            let text = result.content().as_text().unwrap().to_string();
            result.replace(ToolAnswer::ok(&text.to_uppercase())).unwrap();
            result.cap(10).unwrap();
        }
    }
    let (tools, clock) = (Waiting::new(), std::sync::Arc::new(VirtualClock::new(0)));
    let hooks = Shout(Cell::new(0));
    let script = Script::new()
        .reply(
            asking(&[0, 3]).block(r#"{"type":"text","text":"That is all of it, and a bit more."}"#),
        )
        .reply(ScriptedReply::text("Done."));
    let style = toolrunner_core::testing::Style { split: Some(30), ..Default::default() };
    let buffers = [const { RefCell::new([0; 128]) }; 2];
    let lanes = [pin!(None), pin!(None)];
    let executor = Fixed::new(lanes, &buffers, |call| call.run(&tools, &hooks, &*clock));
    let transport = ScriptedTransport::new(ScriptedModel::new(script).style(style))
        .clock(std::sync::Arc::clone(&clock));
    let mut driver = Driver::new(Config::new("m", 64), transport, &tools, &*clock)
        .unwrap()
        .hooks(&hooks)
        .eager(true)
        .executor(executor);
    let mut run = run();
    let mut told = Vec::new();
    let mut observer = FnObserver(|event: &Event<'_>| match event {
        Event::ToolStart { id, .. } => told.push(format!("+{id}")),
        Event::ToolEnd { id, .. } => told.push(format!("-{id}")),
        Event::MessageStop => told.push("stop".to_owned()),
        _ => {}
    });
    assert_eq!(block_on(driver.until_done(&mut run, &mut observer)).unwrap(), ENDED);
    assert_valid(&run);
    assert_eq!(
        results(&run),
        ["T0 IN\n[… 2 bytes cut …]\nURN 1", "T1 IN\n[… 2 bytes cut …]\nURN 1"]
    );
    assert_eq!((told[0].as_str(), told[1].as_str()), ("+t0", "-t0"), "{told:?}");
    let stop = told.iter().position(|event| event == "stop").unwrap();
    assert!(told[..stop].contains(&"+t1".to_owned()), "{told:?}");
    assert_eq!(hooks.0.get(), 2);
    assert_eq!(*tools.began.borrow(), ["t0", "t1"]);
}
