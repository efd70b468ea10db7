//! Whatever the caller does, in any order, whatever the network does, wherever a future is dropped,
//! however little memory there is: the conversation is valid whenever the run rests, no call runs
//! twice, and the run ends when the faults end.
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

use std::sync::Arc;
use std::time::Duration;
use toolrunner_core::__private::Notice;

use common::*;
use toolrunner_core::drive::{Draft, Hooks, Verdict};
use toolrunner_core::error::{Error, TransportKind};
use toolrunner_core::message::StopReason;
use toolrunner_core::policy::Limits;
use toolrunner_core::run::{
    CallIndex, Compaction, MakeRoom, OnBreak, Outcome, Run, ToolAnswer, WhenFull,
};
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::testing::{
    Answer, BadLink, Fault, Request, Rng, Script, ScriptedModel, ScriptedReply, ScriptedTransport,
    Style, VirtualClock,
};
use toolrunner_core::tool::{Output, ToolCall};
use toolrunner_core::transcript::Transcript;

/// Asserts that a request is valid: nothing is open except the tail of a paused turn.
fn assert_request(request: &Request) {
    let paused = request.messages().last().and_then(|message| message.role())
        == Some(toolrunner_core::message::Role::Assistant);
    if let Err(invalid) =
        validity::check(request.transcript(), if paused { Tail::Open } else { Tail::Closed })
    {
        panic!("invalid request: {invalid}\n{}", String::from_utf8_lossy(&request.body));
    }
}

/// Returns a reply of any kind. Ids are never used twice.
fn any_reply(rng: &mut Rng, id: &mut usize) -> Answer {
    if rng.chance(120) {
        let (status, kind) =
            [(529, "overloaded_error"), (400, "invalid_request_error"), (500, "api_error")]
                [rng.below(3)];
        return Answer::error(status, kind, "as the script has it");
    }
    let mut reply = ScriptedReply::new();
    for _ in 0..rng.below(5) {
        *id += 1;
        let name = ["plain", "failing", "slow", "asks", "nope", "large"][rng.below(6)];
        reply = match rng.below(9) {
            0 => reply.and_text("Some text with \"quotes\", 日本 and 😀."),
            1 => reply.thinking("Hm.", "c2ln"),
            2 => reply.block(r#"{"type":"hologram","x":[1,2,{"y":"\ud83d\ude00"}]}"#),
            3 => reply.tool_use_cut(
                &format!("toolu_{id}"),
                name,
                ["{\"a\":", "[1]", "x", "\"\\"][rng.below(4)],
            ),
            4 if rng.chance(300) => {
                reply.block(r#"{"type":"fallback","from":{"model":"a"},"to":{"model":"b"}}"#)
            }
            _ => reply.tool_use(
                &format!("toolu_{id}"),
                name,
                ["{}", r#"{"a":1}"#, r#"{"text":"\n\"long enough to need some room\""}"#]
                    [rng.below(3)],
            ),
        };
    }
    match rng.below(14) {
        0 => reply.stop("pause_turn").into(),
        1 => reply.stop("max_tokens").into(),
        2 => reply.stop("refusal").into(),
        3 => reply.stop("tool_use").into(),
        4 => reply.ends_early().into(),
        5 => reply.error_event("overloaded_error", "Overloaded").into(),
        _ => reply.into(),
    }
}

fn any_fault(rng: &mut Rng) -> Fault {
    match rng.below(12) {
        0 => Fault::Unsent(TransportKind::Connect),
        1 => Fault::NoHead(TransportKind::Closed),
        2 => Fault::ResetAt(rng.below(900)),
        3 => Fault::EndAt(rng.below(900)),
        4 => Fault::StallAt(rng.below(900)),
        _ => Fault::Clean,
    }
}

fn tools() -> Counting {
    const LARGE: &str = r#"{"name":"large","description":"","input_schema":{"type":"object"}}"#;
    let large = Tool { name: "large", json: LARGE, ..Tool::plain() }
        .acting(|_, out| Ok(out.text(&"large ".repeat(200))?));
    Counting::new([Tool::plain(), Tool::failing(), Tool::slow(3), Tool::asks(), large])
}

/// Calls a random method as the caller, whatever the run's state.
fn any_verb(rng: &mut Rng, run: &mut Run<'_>, tools: &Counting) {
    let i = CallIndex::from(rng.below(4));
    match rng.below(20) {
        0 => drop(run.user("Something else.")),
        1 | 2 => drop(run.append(r#"{"role":"user","content":"By the way, \"this\"."}"#)),
        // The reply was dropped; if its last bytes were not read, the scripted model repeats it,
        // with the same ids.
        3 if run.ask_again().is_ok() => tools.began.borrow_mut().clear(),
        4 if rng.chance(300)
            && run.replace_history(r#"[{"role":"user","content":"From the start."}]"#).is_ok() =>
        {
            tools.began.borrow_mut().clear();
        }
        4 if rng.chance(100) && run.clear().is_ok() => tools.began.borrow_mut().clear(),
        5 => run.stop(),
        6 => run.resume(),
        7 | 8 => {
            let answer = ToolAnswer::ok("answered by hand").with_error(rng.chance(300));
            let _ = run.answer(i, answer);
        }
        9 => drop(run.answer_notice(i, Notice::NotRun)),
        10 => {
            let content = br#"[{"type":"text","text":"replaced"}]"#;
            let _ = run.replace_result(i, ToolAnswer::ok_json(content).with_error(rng.chance(300)));
        }
        11 => drop(run.add_to_result(i, r#""cache_control":{"type":"ephemeral"}"#)),
        12 => drop(run.close_open_calls()),
        13 => {
            *run.limits_mut() = Limits {
                turns: rng.chance(300).then(|| u32::try_from(rng.below(4)).unwrap()),
                calls: rng.chance(300).then(|| u32::try_from(rng.below(6)).unwrap()),
                repeats: rng.chance(100).then_some(1),
                ..Limits::NONE
            };
        }
        14 => run.leave_to_caller(i),
        16 => drop(run.drop_oldest_turn()),
        17 => {
            let then = [MakeRoom::Compact, MakeRoom::DropOldest, MakeRoom::Stop][rng.below(3)];
            *run.when_full_mut() = WhenFull { room: [0, 300, 1500][rng.below(3)], then };
        }
        15 => {
            let threshold = if rng.chance(500) { 0 } else { 150 };
            *run.compaction_mut() =
                rng.chance(500).then_some(Compaction { threshold, prompt: "Summarise." });
        }
        19 => run.compact_on_server(),
        18 => run.set_on_break(if rng.chance(700) { OnBreak::KeepBlocks } else { OnBreak::Drop }),
        _ => {}
    }
}

/// Decides at random, edits results, and cancels after a number of checks.
struct Chaos {
    rng: std::cell::RefCell<Rng>,
    looks: std::cell::Cell<usize>,
}

impl Hooks for Chaos {
    async fn before(&self, _: &ToolCall<'_>, out: &mut Output<'_>) -> Verdict {
        // What does not fit becomes an error that says so.
        match self.rng.borrow_mut().below(12) {
            0 => {
                let _ = out.text("No \"luck\".");
                Verdict::Deny
            }
            1 => {
                let _ = out.text("In its place.");
                Verdict::Answer
            }
            2 => {
                let _ = out.input(r#"{"text":"other\n"}"#);
                Verdict::Input
            }
            3 => Verdict::Input,
            4 => Verdict::Suspend,
            _ => Verdict::Allow,
        }
    }

    fn after(&self, result: &mut Draft<'_, '_>) {
        let mut rng = self.rng.borrow_mut();
        // A replacement that does not fit changes nothing.
        match rng.below(6) {
            0 => drop(
                result.replace(ToolAnswer::ok("replaced by the hook").with_error(rng.chance(300))),
            ),
            1 => drop(result.replace(ToolAnswer::ok_json(
                br#"[{"type":"text","text":"replaced"},{"type":"text","text":"by blocks"}]"#,
            ))),
            2 => drop(result.cap(rng.below(40))),
            _ => {}
        }
    }

    fn is_cancelled(&self) -> bool {
        let left = self.looks.get();
        self.looks.set(left.saturating_sub(usize::from(left < usize::MAX)));
        left == 0
    }

    fn grace(&self) -> Duration {
        Duration::from_millis(if self.rng.borrow_mut().chance(500) { 5 } else { 0 })
    }
}

/// Asserts that another run accepts the conversation as its history and can send it, with or
/// without another message after it.
fn assert_accepted_elsewhere(run: &Run<'_>) {
    let history = run.conversation();
    if history.is_empty() {
        return;
    }
    let history = std::str::from_utf8(&history).unwrap();
    for says_more in [false, true] {
        let mut other = Run::new(Transcript::growing());
        other
            .replace_history(history)
            .unwrap_or_else(|error| panic!("not taken: {error}\n{history}"));
        if says_more {
            other.user("Go on.").unwrap();
        }
        match other.step(toolrunner_core::time::Instant::ZERO) {
            Ok(toolrunner_core::run::Step::Send) => {
                validity::check(other.messages(), Tail::Sent)
                    .unwrap_or_else(|invalid| panic!("{invalid}\n{history}"));
            }
            // The model's last text may end in white space: then a message must follow.
            Err(error) => assert!(
                !says_more && error.to_string().contains("white space"),
                "{error}\n{history}"
            ),
            other => panic!("{other:?}\n{history}"),
        }
    }
}

fn assert_rests(run: &Run<'_>, tools: &Counting, trace: &[String]) {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // The request for a summary follows the conversation until it is answered.
        if run.reply_is_whole() && !run.is_compacting() {
            assert_valid(run);
        }
        assert_accepted_elsewhere(run);
        let mut began = tools.began();
        let count = began.len();
        began.sort();
        began.dedup();
        assert_eq!(began.len(), count, "a call ran twice");
    }));
    if caught.is_err() {
        panic!("{run:?} after {trace:#?}\n{}", String::from_utf8_lossy(run.transcript().bytes()));
    }
}

/// Drives one run with this seed. Returns whether it ended, and how many calls ran.
fn random_run(seed: u64, mut run: Run<'_>, steps: usize) -> usize {
    let mut rng = Rng::new(seed);
    let clock = Arc::new(VirtualClock::new(seed));
    let tools = tools();
    let left = Arc::new(std::sync::atomic::AtomicUsize::new(usize::MAX));
    let (mut replies, mut id, calm) = (Rng::new(seed ^ 1), 0, Arc::clone(&left));
    let script = Script::new().then(move |request| {
        assert_request(request);
        // When the faults have ended, the model writes one more text and ends.
        match calm.load(std::sync::atomic::Ordering::SeqCst) {
            usize::MAX => any_reply(&mut replies, &mut id),
            _ => ScriptedReply::text("Done.").into(),
        }
    });
    let style = Style {
        delta: 1 + rng.below(20),
        pings: rng.chance(300),
        comments: rng.chance(300),
        interleaved: rng.chance(300),
        crlf: rng.chance(300),
        ascii: rng.chance(300),
        split: Some(1 + rng.below(300)),
        pause: Duration::from_millis(if rng.chance(500) { 1 } else { 0 }),
        ..Style::default()
    };
    let faults: Vec<Fault> = (0..steps).map(|_| any_fault(&mut rng)).collect();
    let transport = ScriptedTransport::new(ScriptedModel::new(script).style(style).lenient())
        .faults(&faults)
        .clock(Arc::clone(&clock));
    let transport = if rng.chance(500) {
        transport.link(BadLink::new(seed).resets(50).early_ends(50))
    } else {
        transport
    };
    let chaos = Chaos { rng: Rng::new(seed ^ 2).into(), looks: usize::MAX.into() };
    let mut driver = drive_over(transport, &tools, &clock).hooks(&chaos);
    driver.config_mut().stream = rng.chance(800);
    let mut trace = vec![format!("seed {seed} capacity {}", run.transcript().capacity())];
    let _ = run.user("Hi");
    for step in 0..steps {
        let polls = if rng.chance(300) { 100_000 } else { rng.below(60) };
        let mut seen = Seen { forgets: rng.chance(500), ..Seen::default() };
        chaos.looks.set(if rng.chance(150) { rng.below(200) } else { usize::MAX });
        if rng.chance(600) {
            let ended = if rng.chance(500) {
                format!(
                    "{:?}",
                    poll_at_most(driver.until_done(&mut run, &mut seen), polls)
                        .map(|ended| ended.map_err(|failed| failed.error))
                )
            } else {
                format!(
                    "{:?}",
                    poll_at_most(driver.next_turn(&mut run, &mut seen), polls)
                        .map(|ended| ended.map_err(|failed| failed.error))
                )
            };
            trace.push(format!("{step}: driven for {polls} polls: {ended}"));
        } else {
            let before = rng.clone();
            any_verb(&mut rng, &mut run, &tools);
            let mut which = before;
            let (i, verb) = (which.below(4), which.below(20));
            trace.push(format!("{step}: verb {verb} on {i}"));
        }
        assert_rests(&run, &tools, &trace);
    }
    chaos.looks.set(usize::MAX);
    left.store(0, std::sync::atomic::Ordering::SeqCst);
    *run.limits_mut() = Limits::NONE;
    *run.compaction_mut() = None;
    *run.when_full_mut() = WhenFull::NEVER;
    run.retry_policy_mut().after_output = true;
    for round in 0..200 {
        let ended = poll_at_most(driver.until_done(&mut run, &mut ()), 100_000)
            .map(|ended| ended.map_err(|failed| failed.error));
        trace.push(format!("calm {round}: {ended:?}"));
        assert_rests(&run, &tools, &trace);
        match ended.unwrap_or_else(|| panic!("never ends: {trace:#?}")) {
            Ok(Outcome::Ended(Some(StopReason::EndTurn)))
                if run
                    .last_message()
                    .is_some_and(|message| message.texts().any(|text| text == "Done.")) =>
            {
                return tools.ended.borrow().len();
            }
            Ok(Outcome::Ended(_)) => drop(
                run.user("Well?")
                    .or_else(|_| run.replace_history(r#"{"role":"user","content":"Well?"}"#)),
            ),
            Ok(Outcome::NeedsAnswer) => {
                run.answer(run.call_for_caller().unwrap(), ToolAnswer::ok("x")).unwrap()
            }
            Ok(Outcome::Broken | Outcome::Stopped) => run.resume(),
            Ok(other) => panic!("{other:?} after {trace:#?}"),
            Err(Error::Misuse(_)) => drop(run.user("Hi")),
            Err(Error::Capacity(full)) => {
                assert!(full.needed > full.free, "{full:?}");
                // Even a short conversation needs room for a reply.
                if run.replace_history(r#"{"role":"user","content":"x"}"#).is_err()
                    || run.transcript().capacity() < 1500
                {
                    return tools.ended.borrow().len();
                }
            }
            // The scripted model repeats an answer that was not read to its end, and an error for
            // which there is no room is not read to its end.
            Err(_) if round % 9 == 8 => {
                let _ = run.replace_history(r#"{"role":"user","content":"x"}"#);
            }
            Err(_) => {}
        }
    }
    panic!("did not end: {trace:#?}");
}

/// Returns the number of seeds: `SEEDS=N` tries more than a usual test run has time for.
fn seeds(usual: u64) -> u64 {
    std::env::var("SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(usual)
}

#[test]
fn random_verbs_drops_faults_and_limits_in_memory_that_grows() {
    let calls: usize =
        (0..seeds(200)).map(|seed| random_run(seed, Run::new(Transcript::growing()), 40)).sum();
    assert!(calls > 200, "only {calls} calls ran");
}

#[test]
fn random_verbs_drops_faults_and_limits_in_memory_that_does_not_grow() {
    let mut memory = vec![0; 4000];
    let mut calls = 0;
    let capacities = (200..=4000).step_by(20).cycle();
    for (seed, capacity) in (1_000_000..1_000_000 + seeds(191)).zip(capacities) {
        calls += random_run(seed, Run::new(Transcript::new(&mut memory[..capacity])), 40);
    }
    assert!(calls > 100, "only {calls} calls ran");
}

/// Drops the driver's future after each number of polls in the same conversation.
#[test]
fn a_future_dropped_at_every_await() {
    let reply = || {
        ScriptedReply::text("Let me see.")
            .tool_use("toolu_1", "slow", r#"{"a":"\n"}"#)
            .tool_use("toolu_2", "plain", "{}")
            .tool_use("toolu_3", "slow", "{}")
    };
    let style = Style { split: Some(120), pause: Duration::from_millis(3), ..Style::default() };
    for stream in [true, false] {
        let (mut polls, mut cancelled, mut requests_most) = (0, 0, 0);
        loop {
            let clock = Arc::new(VirtualClock::new(0));
            let tools = Counting::usual();
            let script = Script::new()
                .error(529, "overloaded_error", "Overloaded")
                .reply(reply())
                .reply(ScriptedReply::text("Done."));
            let transport = ScriptedTransport::new(ScriptedModel::new(script).style(style.clone()))
                .clock(Arc::clone(&clock));
            let mut driver = drive_over(transport, &tools, &clock);
            driver.config_mut().stream = stream;
            let mut run = run();
            let ended = poll_at_most(driver.until_done(&mut run, &mut ()), polls).is_some();
            if run.reply_is_whole() {
                assert_valid(&run);
            }
            assert_eq!(
                until_done(&mut driver, &mut run),
                Ok(Outcome::Ended(Some(StopReason::EndTurn))),
                "dropped after {polls} polls"
            );
            let began = tools.began();
            assert_eq!(began, ["toolu_1", "toolu_2", "toolu_3"]);
            cancelled += usize::from(
                String::from_utf8_lossy(run.transcript().bytes()).contains("Error: cancelled"),
            );
            requests_most = requests_most.max(requests(&mut driver));
            polls += 1;
            if ended {
                break;
            }
        }
        assert!(
            polls > 10 && cancelled > 0 && requests_most > 3,
            "{polls} {cancelled} {requests_most}"
        );
    }
}
