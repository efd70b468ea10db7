//! Whatever the caller does, in any order, at any moment: the conversation is valid, the API would
//! accept every request, and no call runs twice.

mod common;

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use common::scripted;
use toolrunner_core::run::{Run as Machine, ToolAnswer};
use toolrunner_core::testing::validity::{Rule, Tail, check};
use toolrunner_core::testing::{Answer, Chunk, Rng, Script, ScriptedReply, VirtualClock};
use toolrunner_core::tool::{Definition, Output, ToolCall, Tools};
use toolrunner_core::transcript::Transcript;
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Decision, Error, Limits, Run, ToolError};

/// Tools of every kind, as their names say, and how often each call ran.
#[derive(Clone, Default)]
struct Kinds {
    ran: Arc<Mutex<HashMap<String, usize>>>,
}

const NAMES: [&str; 6] = ["quick", "slow", "fails", "panics", "serial", "declared"];

const JSON: [&str; 6] = [
    r#"{"name":"quick","input_schema":{"type":"object"}}"#,
    r#"{"name":"slow","input_schema":{"type":"object"}}"#,
    r#"{"name":"fails","input_schema":{"type":"object"}}"#,
    r#"{"name":"panics","input_schema":{"type":"object"}}"#,
    r#"{"name":"serial","input_schema":{"type":"object"}}"#,
    r#"{"name":"declared","input_schema":{"type":"object"}}"#,
];

impl Tools for Kinds {
    fn count(&self) -> usize {
        NAMES.len()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        let tool = Definition::new(NAMES.get(i)?, JSON[i]);
        Some(match i {
            1 => tool.timeout(Duration::from_secs(3)),
            4 => tool.serial(),
            5 => tool.declared(),
            _ => tool,
        })
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        *self.ran.lock().unwrap().entry(call.id.to_string()).or_default() += 1;
        // Pending a few times, so that it can be dropped in between.
        let mut left = if i == 1 { 5 } else { 1 };
        poll_fn(|context| {
            left -= 1;
            context.waker().wake_by_ref();
            if left == 0 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        match i {
            2 => Err(ToolError::new("it failed")),
            3 => panic!("it panicked"),
            _ => {
                let _ = out.text("done");
                Ok(())
            }
        }
    }
}

/// Returns a model with random replies.
fn model(seed: u64) -> Script {
    let (mut rng, mut n) = (Rng::new(seed), 0);
    let mut below = move |n: u64| rng.next_u64() % n;
    Script::new().then(move |_| {
        n += 1;
        let mut reply =
            if below(3) == 0 { ScriptedReply::new() } else { ScriptedReply::text("Well") };
        for k in 0..below(4) {
            let id = format!("t{n}_{k}");
            let name = ["quick", "slow", "fails", "panics", "serial", "declared", "nobody"]
                [usize::try_from(below(7)).unwrap()];
            let broken = ["{\"a\":", "[1]", "{bad}", "\"x\""];
            reply = match below(6) {
                0 => reply.tool_use_cut(&id, name, broken[usize::try_from(below(4)).unwrap()]),
                _ => reply.tool_use(&id, name, "{\"a\":\"\\u00e4\"}"),
            };
        }
        match below(16) {
            0 => Answer::error(529, "overloaded_error", "Overloaded"),
            1 => Answer::error(400, "invalid_request_error", "No."),
            2 => reply.error_event("overloaded_error", "Overloaded").into(),
            3 => reply.ends_early().into(),
            4 => Answer::chunks(200, vec![Chunk::Data(b"event: mess".to_vec()), Chunk::Reset]),
            5 => Answer::raw(502, "<html>"),
            6 => reply.and_text("stop").stop("max_tokens").into(),
            7 => reply.and_text("stop").stop("refusal").into(),
            8 => ScriptedReply::text("Hm").stop("pause_turn").into(),
            _ => reply.and_text(".").into(),
        }
    })
}

/// Polls at most this many times, then drops the future. Returns `None` if it was dropped.
async fn polled<F: Future>(times: u64, future: F) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), times);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        context.waker().wake_by_ref();
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Calls a random method of the run.
async fn say(run: &mut Run, rng: &mut Rng) -> Result<&'static str, Error> {
    let times = rng.next_u64() % 30;
    let open: Vec<String> = {
        let machine = run.machine();
        machine
            .calls()
            .filter_map(|i| machine.call(i))
            .filter(|call| !call.is_answered)
            .map(|call| call.id.to_string())
            .collect()
    };
    let some = open
        .get(usize::try_from(rng.next_u64() % 4).unwrap())
        .cloned()
        .unwrap_or_else(|| "nobody".to_owned());
    Ok(match rng.next_u64() % 21 {
        0 => run.user("More.").map(|_| "user")?,
        1 => run.append(r#"{"role":"user","content":"And?"}"#).map(|_| "append")?,
        2 => run.ask_again().map(|_| "retry")?,
        3 => {
            run.stop();
            "stop"
        }
        4 => {
            run.resume();
            "resume"
        }
        5 => run.answer(&some, "by hand").map(|_| "answer")?,
        6 => run
            .answer_with(&some, ToolAnswer::error_json(br#"[{"type":"text","text":"no"}]"#))
            .map(|_| "answer_json")?,
        7 => run
            .replace_history(r#"[{"role":"user","content":"Anew."}]"#)
            .map(|_| "replace_history")?,
        8 => {
            run.params_mut().max_tokens(7);
            run.next_params_mut().max_tokens(8);
            "params"
        }
        9 => {
            let some = |n: u64| Some(u32::try_from(n).unwrap());
            *run.limits_mut() = match rng.next_u64() % 3 {
                0 => Limits { turns: some(rng.next_u64() % 4), ..Limits::NONE },
                1 => Limits {
                    calls: some(rng.next_u64() % 4),
                    time: Some(Duration::from_secs(2)),
                    ..Limits::NONE
                },
                _ => Limits::NONE,
            };
            "limits"
        }
        10 => {
            run.cancellation().cancel();
            "cancel"
        }
        11 => run.allow(&some).map(|_| "allow")?,
        12 => run.close_open_calls().map(|_| "close_open_calls")?,
        13 => {
            run.set_stream(rng.next_u64().is_multiple_of(2));
            "set_stream"
        }
        14 | 15 => polled(times, run.next_event())
            .await
            .map_or(Ok("dropped event"), |event| event.map(|_| "event"))?,
        16 | 17 => match polled(times, run.next_turn()).await.transpose()?.flatten() {
            None => "no turn",
            Some(mut turn) => match rng.next_u64() % 4 {
                0 => turn.append_user("Short.").map(|_| "turn.append")?,
                1 => turn.ask_again().map(|()| "turn.retry")?,
                2 => {
                    if let Some(results) = polled(times, turn.results()).await {
                        let edit = |result: &mut toolrunner_std::run::ToolResult<'_>| {
                            result.cache_control(r#"{"type":"ephemeral"}"#).map(|_| ())?;
                            if result.is_error() {
                                result.replace("mended").map(|_| ())
                            } else {
                                result.cap(2).map(|_| ())
                            }
                        };
                        results?.edit(edit)?;
                    }
                    "turn.results"
                }
                _ => "turn",
            },
        },
        _ => polled(times, run.until_done())
            .await
            .map_or(Ok("dropped"), |finished| finished.map(|_| "done"))?,
    })
}

#[track_caller]
fn assert_sound(run: &Run, scripted: &ScriptedServer, ran: &Kinds, seed: u64, log: &[String]) {
    let machine = run.machine();
    // A message that was appended after a turn that is still open: the turn's results will be
    // inserted before it.
    let has_open = || machine.calls().filter_map(|i| machine.call(i)).any(|call| !call.is_answered);
    if let Err(invalid) = check(machine.messages(), Tail::Open)
        && !(invalid.rule == Rule::Unanswered && has_open())
    {
        panic!("seed {seed}: {invalid}\n{}\n{}", log.join(" "), run.messages());
    }
    if let Ok(snapshot) = run.snapshot() {
        let again = Machine::from_snapshot(snapshot.as_bytes(), Transcript::growing());
        let mut bytes = Vec::new();
        let written = again.and_then(|machine| machine.snapshot(&mut bytes));
        assert!(
            written.is_ok() && bytes == snapshot.as_bytes(),
            "seed {seed}: {written:?}\n{}\n{snapshot}",
            log.join(" ")
        );
        assert!(snapshot.len() < run.machine().messages().len() + Machine::SNAPSHOT_FRAME);
    }
    let complaints = scripted.model().complaints().join("\n");
    assert!(
        complaints.is_empty(),
        "seed {seed}: {complaints}\n{}\n{}",
        log.join(" "),
        run.messages()
    );
    let twice: Vec<String> = ran
        .ran
        .lock()
        .unwrap()
        .iter()
        .filter(|(_, times)| **times > 1)
        .map(|(id, _)| id.clone())
        .collect();
    assert!(twice.is_empty(), "seed {seed}: {twice:?} ran twice\n{}", log.join(" "));
}

#[tokio::test]
async fn any_verbs_in_any_order() {
    // The tools' panics are expected, so their messages are hidden.
    std::panic::set_hook(Box::new(|info| {
        if !info.to_string().contains("it panicked") {
            eprintln!("{info}");
        }
    }));
    let seeds =
        std::env::var("VERBS_SEEDS").ok().and_then(|seeds| seeds.parse().ok()).unwrap_or(300);
    for seed in 0..seeds {
        let (scripted, kinds, mut rng) = (scripted(model(seed)), Kinds::default(), Rng::new(seed));
        let builder =
            scripted.client().run("m").tools(kinds.clone()).clock(VirtualClock::new(seed));
        let builder = if seed.is_multiple_of(4) {
            builder.gate(|call| async move {
                if call.id.ends_with("_1") { Decision::Suspend } else { Decision::Allow }
            })
        } else {
            builder
        };
        let builder = builder
            .capacity(if seed % 5 == 0 { 1500 } else { 100_000 })
            .concurrency(1 + usize::try_from(seed % 3).unwrap());
        let (mut run, mut log) = (builder.user("Go."), Vec::new());
        for _ in 0..60 {
            let said = say(&mut run, &mut rng).await;
            log.push(said.map_or_else(|error| format!("({error})"), str::to_owned));
            assert_sound(&run, &scripted, &kinds, seed, &log);
        }
        // After all that, the run can be closed and saved.
        run.stop();
        if run.close_open_calls().is_ok() && !run.machine().messages().is_empty() {
            let saved = check(run.machine().messages(), Tail::Closed);
            assert!(saved.is_ok(), "seed {seed}: {saved:?}\n{}\n{}", log.join(" "), run.messages());
        }
    }
}
