//! Fixed memory of every size: an overflow is an error with exact numbers, and nothing is lost.
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

use common::*;
use serde_json::json;
use toolrunner_core::error::{Capacity, CapacityKind, Error};
use toolrunner_core::message::StopReason;
use toolrunner_core::run::{Outcome, Run, Step, ToolAnswer};
use toolrunner_core::testing::{
    Rng, Script, ScriptedModel, ScriptedReply, ScriptedTransport, Style, VirtualClock,
};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;

const ENDED: Outcome = Outcome::Ended(Some(StopReason::EndTurn));

/// Drives a conversation of three turns. If it is `long`, it also makes answers for which there may
/// be no room; they depend on the free memory.
fn converse(
    memory: &mut [u8],
    style: &Style,
    stream: bool,
    long: bool,
) -> Result<Vec<u8>, Capacity> {
    let large = Tool::plain().acting(|_, out| Ok(out.text(&"0123456789".repeat(12))?));
    let (tools, clock) = (
        Counting::new([if long { large } else { Tool::plain() }, Tool::failing()]),
        VirtualClock::new(0),
    );
    let first = ScriptedReply::text("Let me \"see\".")
        .thinking("日本 😀", "c2ln")
        .tool_use("toolu_1", "plain", r#"{"text":"\n\u0041 \"quoted\""}"#)
        .tool_use("toolu_2", "failing", "{}");
    let script = Script::new()
        .reply(if long { first.tool_use_cut("toolu_3", "plain", "{\"a\n") } else { first })
        .reply(ScriptedReply::new().tool_use("toolu_4", if long { "nope" } else { "plain" }, "{}"))
        .reply(ScriptedReply::text("All done."));
    let transport = ScriptedTransport::new(ScriptedModel::new(script).style(style.clone()));
    let mut driver = drive_over(transport, &tools, &clock);
    driver.config_mut().stream = stream;
    let mut run = Run::new(Transcript::new(memory));
    let said = run.user("Hi");
    let ended = match said {
        Ok(()) => until_done(&mut driver, &mut run),
        Err(error) => Err(error),
    };
    assert_valid(&run);
    let mut began = tools.began();
    began.dedup();
    assert_eq!(began.len(), tools.began().len());
    match ended {
        Ok(outcome) => {
            assert_eq!(outcome, ENDED);
            Ok(run.transcript().bytes().to_vec())
        }
        Err(Error::Capacity(full)) => {
            assert_eq!(full.what, CapacityKind::Transcript);
            assert!(full.needed > full.free, "{full:?}");
            assert!(full.free <= run.transcript().capacity(), "{full:?}");
            // The run continues with a shorter conversation.
            run.replace_history(r#"{"role":"user","content":"x"}"#).unwrap();
            assert_valid(&run);
            Err(full)
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// For every capacity, the run ends, or reports how much it lacks. With exactly that much more, the
/// failed step passes; with one byte less, it does not.
#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn every_capacity_ends_or_tells_the_truth() {
    let mut memory = vec![0; 16_384];
    for (stream, style) in [
        (true, Style::default()),
        (
            true,
            Style { split: Some(7), interleaved: true, ascii: true, delta: 3, ..Style::default() },
        ),
        (false, Style::default()),
        (false, Style { split: Some(100), ..Style::default() }),
    ] {
        let (mut passed, mut failed) = (0, 0);
        for start in (200..=4000).step_by(400) {
            let mut capacity = start;
            let mut tries = 0;
            loop {
                let Err(full) = converse(&mut memory[..capacity], &style, stream, false) else {
                    break passed += 1;
                };
                failed += 1;
                let more = full.needed - full.free;
                if let Err(again) =
                    converse(&mut memory[..capacity + more - 1], &style, stream, false)
                {
                    assert_eq!(again.needed - again.free, 1, "{full:?}, then {again:?}");
                } else {
                    panic!(
                        "{more} bytes more were said to be needed of {capacity}, and one less is enough"
                    );
                }
                match converse(&mut memory[..capacity + more], &style, stream, false) {
                    Ok(_) => {}
                    // A later step.
                    Err(next) => assert!(
                        next.needed - next.free > 0 && next != full,
                        "{full:?}, then {next:?}"
                    ),
                }
                capacity += more;
                tries += 1;
                assert!(tries < 2000, "{capacity}");
            }
        }
        assert!(passed >= 10 && failed > 4, "{passed} {failed}");
    }
}

#[test]
fn every_capacity_gives_a_valid_conversation() {
    let mut memory = vec![0; 16_384];
    for stream in [true, false] {
        let (mut passed, mut failed) = (0, 0);
        for capacity in (200..=4000).step_by(3) {
            match converse(
                &mut memory[..capacity],
                &Style { split: Some(200), ..Style::default() },
                stream,
                true,
            ) {
                Ok(_) => passed += 1,
                Err(_) => failed += 1,
            }
        }
        assert!(passed > 300 && failed > 100, "{passed} {failed}");
    }
}

#[test]
fn a_result_that_does_not_fit_says_so_and_the_others_are_answered() {
    let mut memory = vec![0; 1500];
    let tools = Counting::new([Tool::plain().acting(|call, out| {
        let text = if call.id == *"toolu_1" { "x".repeat(2000) } else { "fits".to_owned() };
        let full = out.text(&text);
        if text.len() > 1000 {
            assert!(full.is_err())
        }
        Ok(())
    })]);
    let clock = VirtualClock::new(0);
    let reply =
        ScriptedReply::new().tool_use("toolu_1", "plain", "{}").tool_use("toolu_2", "plain", "{}");
    let mut driver =
        drive(Script::new().reply(reply).reply(ScriptedReply::text("Done.")), &tools, &clock);
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user("Hi").unwrap();
    assert_eq!(until_done(&mut driver, &mut run), Ok(ENDED));
    let results = last_request(&mut driver)[2]["content"].clone();
    assert_eq!(results[1]["content"], "fits");
    assert_eq!(results[0]["is_error"], true);
    let text = results[0]["content"].as_str().unwrap();
    assert!(text.starts_with("Error: the result is too large: 2002 bytes, at most "), "{text}");
    assert_eq!(run.calls().count(), 0);
}

#[test]
fn without_room_for_answers_the_reply_is_taken_back_and_no_tool_runs() {
    let reply = || {
        (0..8).fold(ScriptedReply::new(), |reply, i| {
            reply.tool_use(&format!("toolu_{i}"), "plain", "{}")
        })
    };
    let mut memory = vec![0; 1300];
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver = drive(
        Script::new().reply(reply()).reply(reply()).reply(ScriptedReply::text("Done.")),
        &tools,
        &clock,
    );
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user("Hi").unwrap();
    assert_eq!(next_turn(&mut driver, &mut run), Ok(None));
    let before = run.transcript().bytes().to_vec();
    // A message after the answers needs room in addition to them.
    assert!(matches!(run.append(r#"{"role":"user","content":"x"}"#), Err(Error::Capacity(_))));
    assert!(matches!(run.user("x"), Err(Error::Capacity(_))));
    assert_eq!(run.transcript().bytes(), before);
    let Err(Error::Capacity(full)) = until_done(&mut driver, &mut run) else { panic!() };
    assert_eq!(full.what, CapacityKind::Transcript);
    assert!(tools.began().is_empty());
    assert_eq!(messages(&run), [json!({"role":"user","content":"Hi"})]);
    // The request would be retried; here the caller reduces it.
    run.append(r#"{"role":"user","content":"One call at a time, please."}"#).unwrap();
    assert!(matches!(until_done(&mut driver, &mut run), Err(Error::Capacity(_))));
    assert_eq!(messages(&run).len(), 2, "what was appended stays");
    assert_eq!(until_done(&mut driver, &mut run), Ok(ENDED));
}

#[test]
fn what_is_said_leaves_room_for_the_answers() {
    // However much is appended, replaced or added while calls are open, each can still be answered.
    for capacity in (900..2400).step_by(30) {
        let mut memory = vec![0; capacity];
        let mut run = Run::new(Transcript::new(&mut memory));
        run.user("Hi").unwrap();
        let reply = (0..3).fold(ScriptedReply::new(), |reply, i| {
            reply.tool_use(&format!("toolu_{i}"), "plain", "{}")
        });
        let body = rendered(reply, Style::default(), true);
        let (_, ended) = exchange(&mut run, 200, [body.as_slice()]);
        if ended.is_err() || run.step(Instant::ZERO) != Ok(Step::Call) {
            continue;
        }
        run.answer(1.into(), ToolAnswer::ok("first")).unwrap();
        for round in 0..200 {
            let _ = run.append(r#"{"role":"user","content":"More and more and more."}"#);
            let _ = run.add_to_result(1.into(), &format!(r#""x{round}":1"#));
            let _ = run.replace_result(1.into(), ToolAnswer::error(&"y".repeat(round)));
        }
        assert_valid(&run);
        run.answer(0.into(), ToolAnswer::ok("this one has no room at all any more, I am afraid"))
            .unwrap();
        run.answer(2.into(), ToolAnswer::ok("nor has this")).unwrap();
        assert_valid(&run);
        assert_eq!(run.results().count(), 3);
        assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    }
}

#[test]
fn a_prompt_that_does_not_fit_says_nothing() {
    let mut memory = [0; 100];
    let mut run = Run::new(Transcript::new(&mut memory));
    let Err(Error::Capacity(full)) = run.user(&"\"".repeat(50)) else { panic!() };
    // {"role":"user","content":"…"} and two bytes for each quotation mark.
    assert_eq!(full, Capacity { what: CapacityKind::Transcript, needed: 28 + 100, free: 100 });
    assert!(run.transcript().is_empty());
    run.user("Hi").unwrap();
    let before = run.transcript().bytes().to_vec();
    assert!(run.append(&format!(r#"{{"role":"user","content":"{}"}}"#, "x".repeat(50))).is_err());
    assert!(
        run.replace_history(&format!(r#"{{"role":"user","content":"{}"}}"#, "x".repeat(80)))
            .is_err()
    );
    assert_eq!(run.transcript().bytes(), before);
}

#[test]
fn more_calls_than_a_turn_may_have() {
    let reply = |count| {
        (0..count).fold(ScriptedReply::new(), |reply, i| {
            reply.tool_use(&format!("toolu_{i}"), "plain", "{}")
        })
    };
    let mut run = run();
    let body = rendered(reply(129), Style::default(), true);
    let (_, ended) = exchange(&mut run, 200, [body.as_slice()]);
    assert_eq!(
        ended,
        Err(Error::Capacity(Capacity { what: CapacityKind::Calls, needed: 129, free: 128 }))
    );
    let _ = run.failed(ended.unwrap_err(), Instant::ZERO, 0);
    assert_eq!(messages(&run).len(), 1);
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver =
        drive(Script::new().reply(reply(128)).reply(ScriptedReply::text("Done.")), &tools, &clock);
    let started = std::time::Instant::now();
    assert_eq!(until_done(&mut driver, &mut run), Ok(ENDED));
    assert_eq!(tools.began().len(), 128);
    assert!(started.elapsed().as_secs() < 20, "answering takes too long");
}

#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn more_open_blocks_than_may_be() {
    let reply = |count| {
        (0..count).fold(ScriptedReply::new(), |reply, i| reply.and_text(&format!("text {i}")))
    };
    let style = || Style { interleaved: true, ..Style::default() };
    let most = if cfg!(feature = "alloc") { 128 } else { 8 };
    let mut run = run();
    let (_, ended) = exchange(&mut run, 200, [rendered(reply(most + 1), style(), true).as_slice()]);
    assert_eq!(
        ended,
        Err(Error::Capacity(Capacity {
            what: CapacityKind::OpenBlocks,
            needed: most + 1,
            free: most
        }))
    );
    let _ = run.failed(ended.unwrap_err(), Instant::ZERO, 0);
    let (_, ended) = exchange(&mut run, 200, [rendered(reply(most), style(), true).as_slice()]);
    assert_eq!(ended, Ok(()));
    let message = &messages(&run)[1];
    let texts: Vec<&str> = message["content"]
        .as_array()
        .unwrap()
        .iter()
        .map(|block| block["text"].as_str().unwrap())
        .collect();
    assert_eq!(texts, (0..most).map(|i| format!("text {i}")).collect::<Vec<_>>());
}

/// Blocks that are open at the same time grow and end in any order.
#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn open_blocks_in_any_order() {
    let mut random = Rng::new(7);
    for count in 1..=if cfg!(feature = "alloc") { 40 } else { 8 } {
        let frame = |kind: &str, rest: String| {
            format!("event: {kind}\ndata: {{\"type\":\"{kind}\",{rest}}}\n\n")
        };
        let mut body =
            frame("message_start", r#""message":{"role":"assistant","content":[]}"#.to_owned());
        let mut texts = vec![String::new(); count];
        for i in 0..count {
            body += &frame(
                "content_block_start",
                format!(r#""index":{i},"content_block":{{"type":"text","text":""}}"#),
            );
        }
        let mut open: Vec<usize> = (0..count).collect();
        while !open.is_empty() {
            let at = random.below(open.len());
            let i = open[at];
            if random.chance(300) && !texts[i].is_empty() {
                body += &frame("content_block_stop", format!(r#""index":{i}"#));
                open.remove(at);
            } else {
                texts[i] += &format!("{i},");
                body += &frame(
                    "content_block_delta",
                    format!(r#""index":{i},"delta":{{"type":"text_delta","text":"{i},"}}"#),
                );
            }
        }
        body += &frame("message_delta", r#""delta":{"stop_reason":"end_turn"}"#.to_owned());
        body += "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
        let mut run = run();
        let (_, ended) = exchange(&mut run, 200, [body.as_bytes()]);
        assert_eq!(ended, Ok(()), "{count}");
        let said: Vec<String> = messages(&run)[1]["content"]
            .as_array()
            .unwrap()
            .iter()
            .map(|block| block["text"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(said, texts, "{count}");
    }
}
