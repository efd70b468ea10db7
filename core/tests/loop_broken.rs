//! What is kept of a reply that breaks off and is not retried: nothing, or its complete blocks.
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
use toolrunner_core::error::{Error, Protocol, TransportKind};
use toolrunner_core::message::StopReason;
use toolrunner_core::run::{OnBreak, Outcome, Run, ToolAnswer};
use toolrunner_core::testing::{
    Answer, Chunk, Fault, Script, ScriptedModel, ScriptedReply, ScriptedTransport, Style,
    VirtualClock,
};
use toolrunner_core::transcript::Transcript;

const ENDED: Result<Outcome, Error> = Ok(Outcome::Ended(Some(StopReason::EndTurn)));
const USER: &str = r#"{"role":"user","content":"Hi"}"#;

fn keeping() -> Run<'static> {
    let mut run = run();
    run.retry_policy_mut().retries = 0;
    run.set_on_break(OnBreak::KeepBlocks);
    run
}

/// Returns the stream of `reply` up to `mark`, then a reset.
fn cut_before(reply: ScriptedReply, mark: &str) -> Answer {
    let body = String::from_utf8(rendered(reply, Style::default(), true)).unwrap();
    let at = body.find(mark).unwrap_or_else(|| panic!("no {mark} in {body}"));
    Answer::chunks(200, vec![Chunk::Data(body.as_bytes()[..at].to_vec()), Chunk::Reset])
}

fn text_of(run: &Run<'_>) -> String {
    String::from_utf8(run.transcript().bytes().to_vec()).unwrap()
}

/// Returns what is kept of `reply` if it is cut at `mark`.
fn left_of(reply: ScriptedReply, mark: &str) -> (Outcome, String) {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver = drive(
        Script::new().answer(cut_before(reply, mark)).reply(ScriptedReply::text("Done.")),
        &tools,
        &clock,
    );
    let mut run = keeping();
    assert_eq!(until_done(&mut driver, &mut run), Err(Error::Transport(TransportKind::Closed)));
    let kept = text_of(&run).strip_prefix(USER).unwrap().to_owned();
    let rests = run.outcome();
    // The run continues, whatever was kept.
    run.user("Go on.").unwrap();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert_eq!(tools.began(), [""; 0]);
    (rests.unwrap_or(Outcome::Stopped), kept)
}

#[test]
fn whole_blocks_stay_and_the_cut_one_goes() {
    let reply =
        || ScriptedReply::text("First.").tool_use("t1", "plain", r#"{"a":1}"#).and_text("Last.");
    let kept = r#",{"role":"assistant","content":[{"type":"text","text":"First."},{"type":"tool_use","id":"t1","name":"plain","input":{"a":1}}]}"#;
    // In the middle of the last text, before it, and after the call.
    assert_eq!(
        left_of(reply(), r#"{"type":"content_block_stop","index":2"#),
        (Outcome::Broken, kept.to_owned())
    );
    assert_eq!(
        left_of(reply(), r#"{"type":"content_block_start","index":2"#),
        (Outcome::Broken, kept.to_owned())
    );
    let first = r#",{"role":"assistant","content":[{"type":"text","text":"First."}]}"#;
    assert_eq!(
        left_of(reply(), r#"{"type":"content_block_stop","index":1"#),
        (Outcome::Broken, first.to_owned())
    );
    // No block is complete: as if nothing had been received.
    assert_eq!(
        left_of(reply(), r#"{"type":"content_block_stop","index":0"#),
        (Outcome::Stopped, String::new())
    );
    assert_eq!(
        left_of(reply(), r#"{"type":"content_block_start","index":0"#),
        (Outcome::Stopped, String::new())
    );
}

#[test]
fn what_could_not_stand_at_the_end_goes_too() {
    let reply = || {
        ScriptedReply::text("Hm.")
            .block(r#"{"type":"server_tool_use","id":"s1","name":"web_search","input":{}}"#)
            .block(r#"{"type":"web_search_tool_result","tool_use_id":"s1","content":[]}"#)
            .block(r#"{"type":"server_tool_use","id":"s2","name":"web_search","input":{}}"#)
            .thinking("Well.", "c2ln")
            .and_text("So.")
    };
    let (_, all) = left_of(reply(), r#"{"type":"content_block_start","index":3"#);
    assert!(all.contains("s1") && all.ends_with(r#""content":[]}]}"#), "{all}");
    // A server's call without a result, and a block that follows it.
    assert_eq!(left_of(reply(), r#"{"type":"message_delta""#).1, all);
    let (rests, kept) = left_of(
        ScriptedReply::new().thinking("Well.", "c2ln").and_text("So."),
        r#"{"type":"content_block_start","index":1"#,
    );
    assert_eq!((rests, kept.as_str()), (Outcome::Stopped, ""), "thinking alone is not a message");
}

#[test]
fn the_calls_of_a_kept_message_are_answered_as_not_run_when_it_goes_on() {
    for verb in ["user", "append", "resume", "snapshot"] {
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let reply = ScriptedReply::text("First.")
            .tool_use("t1", "plain", "{}")
            .tool_use("t2", "plain", "{}")
            .and_text("x");
        let script = Script::new()
            .answer(cut_before(reply, r#"{"type":"content_block_stop","index":3"#))
            .reply(ScriptedReply::text("Done."));
        let mut driver = drive(script, &tools, &clock);
        let mut run = keeping();
        until_done(&mut driver, &mut run).unwrap_err();
        assert!(run.calls().eq([0.into(), 1.into()]));
        assert_eq!(
            until_done(&mut driver, &mut run),
            Ok(Outcome::Broken),
            "it rests until something is said"
        );
        run.answer(1.into(), ToolAnswer::ok("by hand")).unwrap();
        match verb {
            "user" => run.user("Go on.").unwrap(),
            "append" => run.append(r#"{"role":"user","content":"Go on."}"#).unwrap(),
            "snapshot" => {
                let mut bytes = Vec::new();
                run.snapshot(&mut bytes).unwrap();
                run = Run::from_snapshot(&bytes, Transcript::growing()).unwrap();
                assert_eq!(run.outcome(), Some(Outcome::Broken));
                run.resume();
            }
            _ => run.resume(),
        }
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
        assert_eq!(tools.began(), [""; 0]);
        let sent = last_request(&mut driver);
        assert_eq!(sent[2]["content"][0]["content"], "Error: not run", "{verb}");
        assert_eq!(sent[2]["content"][1]["content"], "by hand");
    }
}

#[test]
fn an_error_event_keeps_its_words() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let reply =
        ScriptedReply::text("First.").error_event("invalid_request_error", "Something is wrong.");
    let mut driver = drive(Script::new().reply(reply), &tools, &clock);
    let mut run = keeping();
    assert!(matches!(until_done(&mut driver, &mut run), Err(Error::Api(_))));
    assert_eq!(
        text_of(&run),
        format!(r#"{USER},{{"role":"assistant","content":[{{"type":"text","text":"First."}}]}}"#)
    );
    assert_eq!(run.api_error().unwrap().message.to_string(), "Something is wrong.");
}

#[test]
fn a_block_that_made_the_reply_none_is_not_kept() {
    for block in [
        r#"{"type":"tool_result","tool_use_id":"t1","content":"x"}"#,
        r#"{"type":"server_tool_use","id":"s1","input":{}}"#,
    ] {
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let mut driver = drive(
            Script::new()
                .reply(ScriptedReply::text("First.").block(block))
                .reply(ScriptedReply::text("Done.")),
            &tools,
            &clock,
        );
        let mut run = keeping();
        assert!(matches!(
            until_done(&mut driver, &mut run),
            Err(Error::Protocol(Protocol::Event { .. }))
        ));
        assert_eq!(
            text_of(&run),
            format!(
                r#"{USER},{{"role":"assistant","content":[{{"type":"text","text":"First."}}]}}"#
            )
        );
    }
}

#[test]
fn a_retry_comes_first_and_the_default_drops() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let reply = || ScriptedReply::text("First.").ends_early();
    let mut driver =
        drive(Script::new().reply(reply()).reply(ScriptedReply::text("Done.")), &tools, &clock);
    let mut run = keeping();
    run.retry_policy_mut().retries = 1;
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert!(!text_of(&run).contains("First."));

    let mut driver =
        drive(Script::new().reply(reply()).reply(ScriptedReply::text("Done.")), &tools, &clock);
    let mut run = keeping();
    run.set_on_break(OnBreak::Drop);
    assert_eq!(until_done(&mut driver, &mut run), Err(Error::Protocol(Protocol::EndedEarly)));
    assert_eq!(text_of(&run), USER);
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
}

#[test]
fn a_kept_reply_can_be_asked_for_again() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver = drive(
        Script::new()
            .reply(ScriptedReply::text("First.").ends_early())
            .reply(ScriptedReply::text("Done.")),
        &tools,
        &clock,
    );
    let mut run = keeping();
    until_done(&mut driver, &mut run).unwrap_err();
    run.ask_again().unwrap();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert_eq!(last_request(&mut driver).len(), 1);
}

/// Cut at every byte, in memory of many sizes, the conversation is always valid, and the run always
/// continues.
#[test]
fn cut_at_every_byte() {
    let reply = || {
        ScriptedReply::text("Some text.")
            .tool_use("t1", "plain", r#"{"a":"\n"}"#)
            .thinking("Hm.", "c2ln")
            .tool_use("t2", "plain", "{}")
    };
    let len = rendered(reply(), Style::default(), true).len();
    let mut memory = vec![0; 1200];
    let mut broken = 0;
    for at in 0..len {
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let model = ScriptedModel::new(
            Script::new().reply(reply()).reply(reply()).reply(ScriptedReply::text("Done.")),
        )
        .lenient();
        let transport = ScriptedTransport::new(model).faults(&[Fault::ResetAt(at)]);
        let mut driver = drive_over(transport, &tools, &clock);
        let mut run = Run::new(Transcript::new(&mut memory[..700 + at % 500]));
        run.user("Hi").unwrap();
        run.retry_policy_mut().retries = 0;
        run.set_on_break(OnBreak::KeepBlocks);
        let first = block_on(driver.until_done(&mut run, &mut ()));
        assert_valid(&run);
        if first.is_err() && run.outcome() == Some(Outcome::Broken) {
            broken += 1;
            run.resume();
            assert_valid(&run);
            assert!(run.calls().all(|i| run.call(i).is_none_or(|call| call.is_answered)));
        }
    }
    assert!(broken > 200, "{broken} of {len}");
}
