//! The driver's hooks without a heap: the gate, the hook on results, and cancellation; and the time
//! limit.
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

use std::cell::Cell;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use common::*;
use toolrunner_core::drive::{Draft, Driver, Hooks, Verdict};
use toolrunner_core::error::{Error, Misuse};
use toolrunner_core::message::StopReason;
use toolrunner_core::observe::{Event, FnObserver};
use toolrunner_core::policy::{Limit, Limits};
use toolrunner_core::run::{Call, Outcome, Run, ToolAnswer};
use toolrunner_core::testing::{
    Fault, Script, ScriptedModel, ScriptedReply, ScriptedTransport, Style, VirtualClock,
};
use toolrunner_core::time::{Clock, Instant};
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, ToolHost, Toolbox};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::Config;

const ENDED: Result<Outcome, Error> = Ok(Outcome::Ended(Some(StopReason::EndTurn)));

/// Returns a driver with a script and hooks.
fn hooked<'d, H: Hooks>(
    script: Script,
    tools: &'d Counting,
    clock: &'d VirtualClock,
    hooks: H,
) -> Driver<'d, ScriptedTransport, Counting, &'d VirtualClock, H> {
    let transport = ScriptedTransport::new(ScriptedModel::new(script));
    Driver::new(Config::new("m", 64), transport, tools, clock).unwrap().hooks(hooks)
}

fn go<H: Hooks>(
    driver: &mut Driver<'_, ScriptedTransport, Counting, &VirtualClock, H>,
    run: &mut Run<'_>,
) -> Result<Outcome, Error> {
    let outcome = block_on(driver.until_done(run, &mut ())).map_err(|failed| failed.error);
    assert_valid(run);
    assert_eq!(driver.transport_mut().model().complaints(), [""; 0]);
    outcome
}

/// Returns the contents of the results in the conversation, and whether each is an error.
fn results(run: &Run<'_>) -> Vec<(String, bool)> {
    let blocks = messages(run)
        .into_iter()
        .flat_map(|message| message["content"].as_array().cloned().unwrap_or_default());
    let results = blocks.filter(|block| block["type"] == "tool_result");
    results
        .map(|block| (block["content"].as_str().unwrap().to_owned(), block["is_error"] == true))
        .collect()
}

/// Decides by the call's id.
struct Gate;

impl Hooks for Gate {
    async fn before(&self, call: &ToolCall<'_>, out: &mut Output<'_>) -> Verdict {
        match call.id.to_string().as_str() {
            "denied" => {
                out.text("Not \"now\".").unwrap();
                Verdict::Deny
            }
            "denied2" => Verdict::Deny,
            "answered" => {
                out.text("line\nline").unwrap();
                Verdict::Answer
            }
            "answered2" => Verdict::Answer,
            "other" => {
                out.input(r#"{"text":"\u00e9\n"}"#).unwrap();
                Verdict::Input
            }
            "broken" => {
                assert!(out.input("[1]").is_err());
                Verdict::Input
            }
            "suspended" => Verdict::Suspend,
            _ => {
                out.text("This is discarded.").unwrap();
                Verdict::Allow
            }
        }
    }
}

fn asking(ids: &[&str]) -> ScriptedReply {
    ids.iter().fold(ScriptedReply::new(), |reply, id| reply.tool_use(id, "plain", "{}"))
}

#[test]
fn a_gate_decides_before_each_call() {
    let tools = Counting::new([Tool::plain().acting(|call, out| {
        let text =
            call.input.member("text").map_or_else(|| "ok".to_owned(), |text| text.to_string());
        assert!(!text.contains('\\') || call.scratch.len() >= text.len(), "room to unescape in");
        Ok(out.text(&text)?)
    })]);
    let clock = VirtualClock::new(0);
    let ids = ["free", "denied", "denied2", "answered", "answered2", "other", "broken"];
    let reply =
        asking(&ids).tool_use("unknown", "nope", "{}").tool_use_cut("cut", "plain", "{\"a\":");
    let mut driver = hooked(
        Script::new().reply(reply).reply(ScriptedReply::text("Done.")),
        &tools,
        &clock,
        Gate,
    );
    for fixed in [false, true] {
        let mut memory = [0; 4096];
        let mut run = if fixed {
            Run::new(Transcript::new(&mut memory))
        } else {
            Run::new(Transcript::growing())
        };
        run.user("Hi").unwrap();
        if fixed {
            let reply = asking(&ids)
                .tool_use("unknown", "nope", "{}")
                .tool_use_cut("cut", "plain", "{\"a\":");
            driver = hooked(
                Script::new().reply(reply).reply(ScriptedReply::text("Done.")),
                &tools,
                &clock,
                Gate,
            );
            tools.began.borrow_mut().clear();
        }
        assert_eq!(go(&mut driver, &mut run), ENDED);
        assert_eq!(tools.began(), ["free", "other"]);
        let found = results(&run);
        let expected = [
            ("ok", false),
            ("Not \"now\".", true),
            ("Error: not allowed", true),
            ("line\nline", false),
            ("(no output)", false),
            ("\"\\u00e9\\n\"", false),
            ("Error: not run", true),
            ("Error: Tool 'nope' not found", true),
        ];
        assert_eq!(found[..8], expected.map(|(text, is_error)| (text.to_owned(), is_error)));
        assert_eq!(found.len(), 9);
    }
}

/// Suspended here and continued elsewhere from a snapshot: calls that have run do not run again,
/// and the allowed call runs once.
#[test]
fn a_suspended_call_goes_on_in_another_process() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let script = || {
        Script::new()
            .reply(asking(&["first", "suspended", "last"]))
            .reply(ScriptedReply::text("Done."))
    };
    let (mut here, mut there, mut bytes) = ([0; 2048], [0; 2048], [0; 4096]);
    let mut run = Run::new(Transcript::new(&mut here));
    run.user("Hi").unwrap();
    let mut driver = hooked(script(), &tools, &clock, Gate);
    assert_eq!(go(&mut driver, &mut run), Ok(Outcome::NeedsAnswer));
    assert_eq!(tools.began(), ["first", "last"]);
    let len = run.snapshot_into(&mut bytes).unwrap();

    let after = Counting::usual();
    let mut driver =
        hooked(Script::new().reply(ScriptedReply::text("Done.")), &after, &clock, Gate);
    let mut run = Run::from_snapshot(&bytes[..len], Transcript::new(&mut there)).unwrap();
    assert_eq!(go(&mut driver, &mut run), Ok(Outcome::NeedsAnswer), "nobody has decided yet");
    let waiting = run.call_for_caller().unwrap();
    assert_eq!(run.call(waiting).unwrap().id.to_string(), "suspended");
    assert!(matches!(
        block_on(driver.allow(&mut run, 0.into(), &mut ())).unwrap_err().error,
        Error::Misuse(Misuse::NoSuchCall)
    ));
    block_on(driver.allow(&mut run, waiting, &mut ())).unwrap();
    assert_eq!(go(&mut driver, &mut run), ENDED);
    assert_eq!(after.began(), ["suspended"]);
    assert_eq!(results(&run).len(), 3);
}

/// Replaces one result, and limits the length of all.
struct Editor;

impl Hooks for Editor {
    fn after(&self, result: &mut Draft<'_, '_>) {
        let id = result.call().unwrap().id.to_string();
        match id.as_str() {
            "secret" => result.replace(ToolAnswer::ok("(removed \"it\")")).unwrap(),
            "json" => result
                .replace(ToolAnswer::ok_json(
                    br#"[{"type":"text","text":"0123456789"},{"type":"text","text":"short"}]"#,
                ))
                .unwrap(),
            "failed" => {
                assert!(result.is_error());
                result.replace(ToolAnswer::error("Try again.")).unwrap();
            }
            _ => assert!(result.content().as_text().is_some()),
        }
        result.cap(8).unwrap();
    }
}

#[test]
fn a_hook_sees_each_result() {
    let tools = Counting::new([
        Tool::plain().acting(|_, out| Ok(out.text("a long \"text\" with 日本")?)),
        Tool::failing(),
    ]);
    let clock = VirtualClock::new(0);
    let reply = asking(&["secret", "long"])
        .tool_use("failed", "failing", "{}")
        .tool_use("json", "plain", "{}");
    let mut driver = hooked(
        Script::new().reply(reply).reply(ScriptedReply::text("Done.")),
        &tools,
        &clock,
        Editor,
    );
    let mut memory = [0; 4096];
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user("Hi").unwrap();
    assert_eq!(go(&mut driver, &mut run), ENDED);
    let sent = &messages(&run)[2]["content"];
    let contents: Vec<&str> =
        sent.as_array().unwrap().iter().filter_map(|result| result["content"].as_str()).collect();
    assert_eq!(
        contents,
        [
            "(rem\n[… 6 bytes cut …]\nit\")",
            "a lo\n[… 18 bytes cut …]\n本",
            "Try \n[… 2 bytes cut …]\nain."
        ]
    );
    assert_eq!(sent[3]["content"][0]["text"], "0123\n[… 2 bytes cut …]\n6789");
    assert_eq!(sent[3]["content"][1]["text"], "short");
    assert_eq!(sent[2]["is_error"], true);
}

/// The cut is the same as in the std front end, at every length, with any escapes.
#[test]
fn capped_between_characters() {
    let text = "a🦀é\n\"\\\u{1}".repeat(4);
    for bytes in 0..text.len() + 2 {
        for ascii in [false, true] {
            let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
            let mut driver = drive(Script::new().reply(asking(&["t1"])), &tools, &clock);
            let mut run = run();
            next_turn(&mut driver, &mut run).unwrap();
            let mut json = serde_json::to_string(&text).unwrap();
            if ascii {
                json = json.replace('🦀', "\\ud83e\\udd80").replace('é', "\\u00e9");
            }
            run.answer(0.into(), ToolAnswer::ok_json(json.as_bytes())).unwrap();
            run.cap_result(0.into(), bytes).unwrap();
            assert_valid(&run);
            let (result, _) = results(&run).remove(0);
            if bytes >= text.len() {
                assert_eq!(result, text);
                continue;
            }
            let head = text.floor_char_boundary(bytes.div_ceil(2));
            let tail = text.ceil_char_boundary(text.len() - bytes / 2);
            assert_eq!(
                result,
                format!(
                    "{}\n[… {} bytes cut …]\n{}",
                    text.get(..head).unwrap(),
                    tail - head,
                    text.get(tail..).unwrap()
                ),
                "{bytes}"
            );
        }
    }
}

fn slow_stream(script: Script, clock: &std::sync::Arc<VirtualClock>) -> ScriptedTransport {
    let style = Style { split: Some(40), pause: Duration::from_millis(10), ..Style::default() };
    ScriptedTransport::new(ScriptedModel::new(script).style(style).lenient())
        .clock(std::sync::Arc::clone(clock))
}

/// Cancelled after any number of polls, the run is valid and stopped, and continues from there; no
/// call runs twice.
#[test]
fn a_flag_ends_the_run_wherever_it_is() {
    let (mut stopped, mut cancelled) = (0, 0);
    for polls in (0..400).step_by(3) {
        let clock = std::sync::Arc::new(VirtualClock::new(0));
        let tools = Counting::usual();
        let script = Script::new()
            .reply(
                ScriptedReply::text("Hm.")
                    .tool_use("t1", "slow", "{}")
                    .tool_use("t2", "slow", "{}"),
            )
            .reply(ScriptedReply::text("Done."));
        let flag = AtomicBool::new(false);
        let transport = slow_stream(script, &clock).faults(&[Fault::ResetAt(200)]);
        let mut driver =
            Driver::new(Config::new("m", 64), transport, &tools, &*clock).unwrap().hooks(&flag);
        let mut run = run();
        let ended = {
            let mut nobody = ();
            let mut future = std::pin::pin!(driver.until_done(&mut run, &mut nobody));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            let mut ended = None;
            for poll in 0..100_000 {
                if poll == polls {
                    flag.store(true, Ordering::Relaxed);
                }
                if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
                    ended = Some(done);
                    break;
                }
            }
            ended.expect("it ends").map_err(|failed| failed.error)
        };
        assert_valid(&run);
        assert!(run.reply_is_whole());
        if ended == Ok(Outcome::Stopped) {
            stopped += 1;
            assert_eq!(
                block_on(driver.until_done(&mut run, &mut ())).unwrap(),
                Outcome::Stopped,
                "as long as the flag is set"
            );
            flag.store(false, Ordering::Relaxed);
            run.resume();
            assert_eq!(block_on(driver.until_done(&mut run, &mut ())).unwrap(), ENDED.unwrap());
            assert_valid(&run);
        } else {
            assert_eq!(ended, ENDED);
        }
        assert_eq!(tools.began(), ["t1", "t2"]);
        cancelled += usize::from(
            results(&run).iter().any(|result| result == &("Error: cancelled".to_owned(), true)),
        );
    }
    assert!(stopped > 20 && cancelled > 0, "{stopped} {cancelled}");
}

/// Cancels at the first call, and gives tools time to end.
struct Graceful<'c> {
    clock: &'c VirtualClock,
    grace: Duration,
    cancelled: AtomicBool,
}

impl Hooks for Graceful<'_> {
    async fn before(&self, _: &ToolCall<'_>, _: &mut Output<'_>) -> Verdict {
        self.cancelled.store(true, Ordering::Relaxed);
        Verdict::Allow
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    fn grace(&self) -> Duration {
        assert_eq!(self.clock.now(), Instant::ZERO);
        self.grace
    }

    fn host(&self) -> Option<&dyn ToolHost> {
        Some(&Shared)
    }
}

struct Shared;

impl ToolHost for Shared {
    fn state(&self) -> Option<&(dyn std::any::Any + Send + Sync)> {
        Some(&42_u8)
    }
}

#[test]
fn a_grace_period_and_a_host_behind_the_context() {
    for (grace, expected) in [
        (Duration::from_secs(1), ("state 42", false)),
        (Duration::ZERO, ("Error: cancelled", true)),
    ] {
        let clock = VirtualClock::new(0);
        let act: Act = |call, out| {
            let context = call.context();
            let state = context.state::<u8>().ok_or_else(|| ToolError::new("no state"))?;
            Ok(out.text(&format!("state {state}"))?)
        };
        let tools =
            Counting::new([Tool { name: "plain", json: PLAIN, ..Tool::slow(2) }.acting(act)]);
        let hooks = Graceful { clock: &clock, grace, cancelled: AtomicBool::new(false) };
        let mut driver = hooked(Script::new().reply(asking(&["t1"])), &tools, &clock, hooks);
        let mut run = run();
        assert_eq!(go(&mut driver, &mut run), Ok(Outcome::Stopped));
        assert_eq!(results(&run), [(expected.0.to_owned(), expected.1)]);
    }
}

/// Cleans up for a minute when it is cancelled, by the clock of the run.
struct Tidy<'c>(&'c VirtualClock);

impl Toolbox for Tidy<'_> {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        (i == 0).then(|| Definition::new("plain", PLAIN))
    }

    async fn call(&self, _: usize, _: ToolCall<'_>, out: &mut Output<'_>) -> Result<(), ToolError> {
        // Meanwhile, the driver notices that the run is cancelled.
        let mut was_polled = false;
        poll_fn(|_| {
            if std::mem::replace(&mut was_polled, true) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        self.0.wait_until(self.0.now().after(Duration::from_secs(60))).await;
        Ok(out.text("tidy")?)
    }
}

/// Also if the tool waits for the same clock, and longer.
#[test]
fn a_grace_period_is_no_longer_than_it_says() {
    for (grace, expected) in [(1, ("Error: cancelled", true)), (90, ("tidy", false))] {
        let clock = VirtualClock::new(0);
        let tools = Tidy(&clock);
        let hooks = Graceful {
            clock: &clock,
            grace: Duration::from_secs(grace),
            cancelled: AtomicBool::new(false),
        };
        let transport =
            ScriptedTransport::new(ScriptedModel::new(Script::new().reply(asking(&["t1"]))));
        let mut driver =
            Driver::new(Config::new("m", 64), transport, &tools, &clock).unwrap().hooks(hooks);
        let mut run = run();
        assert_eq!(block_on(driver.until_done(&mut run, &mut ())).unwrap(), Outcome::Stopped);
        assert_valid(&run);
        assert_eq!(results(&run), [(expected.0.to_owned(), expected.1)]);
        assert_eq!(clock.now(), Instant::ZERO.after(Duration::from_secs(grace.min(60))));
    }
}

#[test]
fn the_end_of_a_body_is_waited_for_one_second() {
    let clock = std::sync::Arc::new(VirtualClock::new(0));
    let script = Script::new().reply(ScriptedReply::text("Done."));
    // The whole reply arrives, and then nothing, though the transport would wait for ten minutes.
    let transport = ScriptedTransport::new(ScriptedModel::new(script))
        .clock(std::sync::Arc::clone(&clock))
        .faults(&[Fault::StallAt(9999)]);
    let tools = Counting::usual();
    let mut driver = drive_over(transport, &tools, &clock);
    let mut run = run();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert_eq!(clock.now(), Instant::ZERO.after(Duration::from_secs(1)));
}

#[test]
fn the_time_limit_holds_while_a_tool_runs_and_while_a_reply_comes() {
    // A tool that never ends.
    let (tools, clock) =
        (Counting::new([Tool { yields: usize::MAX, ..Tool::plain() }]), VirtualClock::new(0));
    let mut driver = drive(
        Script::new().reply(asking(&["t1", "t2"])).reply(ScriptedReply::text("Done.")),
        &tools,
        &clock,
    );
    let mut run = run();
    *run.limits_mut() = Limits { time: Some(Duration::from_secs(5)), ..Limits::NONE };
    assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::Limit(Limit::Time)));
    assert_eq!(clock.now().since(Instant::ZERO), Duration::from_secs(5));
    assert_eq!(results(&run), [("Error: cancelled".to_owned(), true)], "the other has not begun");
    assert_eq!(tools.began(), ["t1"]);

    // A reply that never arrives, though the transport would wait for ten minutes.
    let clock = std::sync::Arc::new(VirtualClock::new(0));
    let script =
        Script::new().reply(ScriptedReply::text("Never.")).reply(ScriptedReply::text("Done."));
    let transport = slow_stream(script, &clock).faults(&[Fault::StallAt(100)]);
    let mut driver = drive_over(transport, &tools, &clock);
    let mut run = common::run();
    *run.limits_mut() = Limits { time: Some(Duration::from_secs(5)), ..Limits::NONE };
    assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::Limit(Limit::Time)));
    assert_eq!(clock.now().since(Instant::ZERO), Duration::from_secs(5));
    *run.limits_mut() = Limits::NONE;
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
}

/// The request for a compaction by the server has the caller's parameters, unchanged, except those
/// that cannot be combined with it.
#[test]
fn the_server_compacts_by_a_request_of_its_own() {
    const CASES: [(&str, &str); 9] = [
        ("", ""),
        (r#""compaction":{"type":"mine"}"#, ""),
        (
            r#""container":{"skills":[]},"top_k":1"#,
            r#","container":{"id":"c1","skills":[]},"top_k":1"#,
        ),
        (r#""stop_sequences":["END"]"#, ""),
        (
            r#""temperature":0.5,"stop_sequences":["END"],"metadata":{"user_id":"x"}"#,
            r#","temperature":0.5,"metadata":{"user_id":"x"}"#,
        ),
        (
            r#""a":1, "b":2,"context_management":{},"output_format":{},"c":[3]"#,
            r#","a":1, "b":2,"c":[3]"#,
        ),
        (
            r#""tool_choice":{"type":"any"},"thinking":{"type":"adaptive"}"#,
            r#","thinking":{"type":"adaptive"}"#,
        ),
        (
            r#""tool_choice":{"type":"auto"},"output_config":{"effort":"low","format":{"x":[1,"}"]}}"#,
            r#","tool_choice":{"type":"auto"},"output_config":{"effort":"low"}"#,
        ),
        (
            r#""fallbacks":[{"model":"b","output_config":{"format":{}}},{"model":"c"},7],"output_config":{"format":1}"#,
            r#","fallbacks":[{"model":"b","output_config":{}},{"model":"c"},7],"output_config":{}"#,
        ),
    ];
    for (params, kept) in CASES {
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let summary = ScriptedReply::new()
            .block(r#"{"type":"compaction","content":"Summary.","encrypted_content":"zz"}"#)
            .stop("compaction");
        let mut first = asking(&["t1"]);
        if params.contains("container") {
            first = first.container("c1");
        }
        let script = Script::new().reply(first).reply(summary).reply(ScriptedReply::text("Done."));
        let transport = ScriptedTransport::new(ScriptedModel::new(script).lenient());
        let config = Config::new("m", 64)
            .params(params)
            .compaction(r#"{"type":"summarize","instructions":"Short."}"#);
        let mut driver = Driver::new(config, transport, &tools, &clock).unwrap();
        let mut run = run();
        block_on(driver.next_turn(&mut run, &mut ())).unwrap();
        run.compact_on_server();
        assert_eq!(block_on(driver.until_done(&mut run, &mut ())).unwrap(), ENDED.unwrap());
        let bodies: Vec<String> = driver
            .transport_mut()
            .model()
            .requests()
            .iter()
            .map(|request| String::from_utf8(request.body.clone()).unwrap())
            .collect();
        let start = format!(
            r#"{{"model":"m","max_tokens":64,"stream":true{kept},"compaction":{{"type":"summarize","instructions":"Short."}},"tools":"#
        );
        assert!(bodies[1].starts_with(&start), "{}\n{start}", bodies[1]);
        serde_json::from_str::<serde_json::Value>(&bodies[1]).unwrap();
        let is_whole = params.contains("container") || bodies[2].contains(params);
        assert!(is_whole && !bodies[2].contains("summarize"), "{}", bodies[2]);
        assert!(
            bodies[2]
                .contains(r#""messages":[{"role":"assistant","content":[{"type":"compaction""#)
        );
        assert_eq!((run.turns(), run.compactions()), (2, 1));
    }
}

/// The server's summary is not a turn: a call beside it would stay unanswered in every later
/// request.
#[test]
fn a_summary_of_the_server_with_a_call_beside_it_is_none() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let summary = ScriptedReply::new()
        .block(r#"{"type":"compaction","content":"Summary."}"#)
        .tool_use("t2", "plain", "{}");
    let script =
        Script::new().reply(asking(&["t1"])).reply(summary).reply(ScriptedReply::text("Done."));
    let mut driver = hooked(script, &tools, &clock, &());
    let mut run = run();
    block_on(driver.next_turn(&mut run, &mut ())).unwrap();
    run.compact_on_server();
    assert_eq!(go(&mut driver, &mut run), ENDED);
    assert_eq!((run.turns(), run.compactions(), tools.began().len()), (2, 0, 1));
    assert_valid(&run);
}

/// A call that the gate suspends starts twice; a call of a declared tool, which the caller answers,
/// never starts.
#[test]
fn what_is_told_of_calls_that_wait() {
    let (tools, clock) = (Counting::new([Tool::plain(), Tool::asks()]), VirtualClock::new(0));
    let reply =
        asking(&["suspended"]).tool_use("t1", "asks", "{}").tool_use_cut("t2", "asks", "[1]");
    let mut driver = hooked(
        Script::new().reply(reply).reply(ScriptedReply::text("Done.")),
        &tools,
        &clock,
        Gate,
    );
    let mut run = run();
    let told = std::cell::RefCell::new(Vec::new());
    let mut observer = FnObserver(|event: &Event<'_>| {
        if let Event::ToolStart { id, .. } | Event::ToolEnd { id, .. } = event {
            told.borrow_mut().push(id.to_string());
        }
    });
    let outcome =
        block_on(driver.until_done(&mut run, &mut observer)).map_err(|failed| failed.error);
    assert_eq!(outcome, Ok(Outcome::NeedsAnswer));
    assert_eq!(told.take(), ["suspended", "t2", "t2"]);
    let waiting = run.call_for_caller().unwrap();
    block_on(driver.allow(&mut run, waiting, &mut observer)).unwrap();
    assert_eq!(
        block_on(driver.until_done(&mut run, &mut observer)).map_err(|failed| failed.error),
        Ok(Outcome::NeedsAnswer)
    );
    assert_eq!(told.take(), ["suspended", "suspended"]);
}

/// The hooks are not called for calls that cannot run.
#[test]
fn nobody_is_asked_about_what_cannot_run() {
    struct Count(Cell<usize>, Cell<usize>, Cell<usize>);
    impl Hooks for Count {
        async fn before(&self, _: &ToolCall<'_>, _: &mut Output<'_>) -> Verdict {
            self.0.set(self.0.get() + 1);
            Verdict::Allow
        }

        fn refused(&self, _: &Call<'_>) {
            self.2.set(self.2.get() + 1);
        }

        fn after(&self, _: &mut Draft<'_, '_>) {
            self.1.set(self.1.get() + 1);
        }
    }
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let reply = ScriptedReply::new()
        .tool_use("t1", "nope", "{}")
        .tool_use_cut("t2", "plain", "[1]")
        .tool_use("t3", "plain", "{}");
    let hooks = Count(Cell::new(0), Cell::new(0), Cell::new(0));
    let mut driver = hooked(
        Script::new().reply(reply).reply(ScriptedReply::text("Done.")),
        &tools,
        &clock,
        &hooks,
    );
    assert_eq!(go(&mut driver, &mut run()), ENDED);
    assert_eq!((hooks.0.get(), hooks.1.get(), hooks.2.get()), (1, 1, 2));
}
