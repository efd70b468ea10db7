//! The edge cases in which the official tool runners differ, row by row: the behaviour of this one,
//! and the reason.

mod common;

use core::time::Duration;

use common::{Fun, answers, assert_valid, bodies, busy, calls, conversations, echo, fun, scripted};
use toolrunner_core::testing::{Answer, Reply, Script};
use toolrunner_std::testing::Scripted;
use toolrunner_std::{Error, Limit, Outcome, Run, StopReason, ToolError};

/// Starts a run with the tool `a` and this script.
fn start(script: Script) -> (Scripted, Fun, Run) {
    let (scripted, tool) = (scripted(script), echo("a"));
    let run = scripted.client().run("m").tools(tool.clone()).user("Go.");
    (scripted, tool, run)
}

/// One turn with one call of `a`, then an end.
fn one_call() -> Script {
    Script::new().reply(calls(&["t1"], "a")).reply(Reply::text("ok"))
}

fn requests(scripted: &Scripted) -> usize {
    scripted.model().requests().len()
}

const ASKED: &str = r#"{"role":"user","content":"Go."}"#;
const CALLED: &str =
    r#"{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"a","input":{}}]}"#;
const ANSWERED: &str =
    r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"a!"}]}"#;

#[tokio::test]
async fn row_01_tool_use_on_the_last_allowed_turn() {
    // No tool runs whose result would never be sent; raising the limit runs it, once.
    let (scripted, tool, mut run) = start(one_call());
    run.limits_mut().turns = Some(1);
    let finished = run.until_done().await.unwrap();
    assert_eq!(finished.outcome, Outcome::Limit(Limit::Turns));
    assert_eq!(finished.message.unwrap().stop_reason(), Some(StopReason::ToolUse));
    assert!(tool.ran().is_empty());
    run.limits_mut().turns = Some(2);
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert_eq!(tool.ran(), ["t1"]);
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn row_02_no_turns_at_all() {
    // 0 means none, and absent means unlimited: the two differ.
    let (scripted, _, mut run) = start(one_call());
    run.limits_mut().turns = Some(0);
    let finished = run.until_done().await.unwrap();
    assert_eq!(
        (finished.outcome, finished.message, requests(&scripted)),
        (Outcome::Limit(Limit::Turns), None, 0)
    );
}

#[tokio::test]
async fn row_03_append_on_a_tool_use_turn() {
    // Appending a message does not replace the turn: the reply and its results stay, and the
    // message follows them.
    let (scripted, tool, mut run) = start(one_call());
    run.next_turn().await.unwrap().unwrap().append_user("Hurry.").unwrap();
    run.until_done().await.unwrap();
    let expected = format!(r#"[{ASKED},{CALLED},{ANSWERED},{{"role":"user","content":"Hurry."}}]"#);
    assert_eq!(conversations(&scripted)[1], expected);
    assert_eq!(tool.ran(), ["t1"]);
}

#[tokio::test]
async fn row_04_looking_at_the_results_and_appending() {
    // Each call runs at most once, however often its result is read.
    let (scripted, tool, mut run) = start(one_call());
    let mut turn = run.next_turn().await.unwrap().unwrap();
    for _ in 0..3 {
        assert_eq!(turn.results().await.unwrap().len(), 1);
    }
    turn.append_user("Hurry.").unwrap();
    run.until_done().await.unwrap();
    assert_eq!(tool.ran(), ["t1"]);
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn row_05_append_on_an_end_turn() {
    // The appended message is sent: a run does not end if a message was added.
    let (scripted, _, mut run) =
        start(Script::new().reply(Reply::text("one")).reply(Reply::text("two")));
    run.next_turn().await.unwrap().unwrap().append_user("More.").unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "two");
    assert_eq!(requests(&scripted), 2);
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn row_06_append_on_every_turn() {
    // The run continues as long as the caller appends messages, and `max_turns` counts these turns
    // like any other.
    let (scripted, _, mut run) = start(Script::new().then(|_| Reply::text("again").into()));
    run.limits_mut().turns = Some(4);
    while let Some(mut turn) = run.next_turn().await.unwrap() {
        turn.append_user("More.").unwrap();
    }
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::Limit(Limit::Turns));
    assert_eq!(requests(&scripted), 4);
}

#[tokio::test]
async fn row_07_params_changed_on_a_tool_turn() {
    // Changing parameters does not change the conversation.
    let (scripted, _, mut run) = start(one_call());
    run.next_turn().await.unwrap().unwrap().params_mut().max_tokens(7);
    run.until_done().await.unwrap();
    assert_eq!(conversations(&scripted)[1], format!("[{ASKED},{CALLED},{ANSWERED}]"));
    assert!(
        bodies(&scripted)[0].contains(r#""max_tokens":4096"#)
            && bodies(&scripted)[1].contains(r#""max_tokens":7"#)
    );
}

#[tokio::test]
async fn row_08_params_from_inside_a_tool() {
    // A tool cannot change the run; it shares state with the caller, who can. `results()` is the
    // place for that.
    let asked = std::sync::Arc::new(core::sync::atomic::AtomicU32::new(0));
    let shared = std::sync::Arc::clone(&asked);
    let tool = fun("a", move |_| {
        shared.store(9, core::sync::atomic::Ordering::SeqCst);
        Ok("a!".to_owned())
    });
    let scripted = scripted(one_call());
    let mut run = scripted.client().run("m").tools(tool).user("Go.");
    let mut turn = run.next_turn().await.unwrap().unwrap();
    let _ = turn.results().await.unwrap();
    turn.params_mut().max_tokens(asked.load(core::sync::atomic::Ordering::SeqCst));
    run.until_done().await.unwrap();
    assert!(bodies(&scripted)[1].contains(r#""max_tokens":9"#));
}

#[tokio::test]
async fn row_09_unknown_tool() {
    // The model receives an error, and the run continues.
    let (scripted, _, mut run) =
        start(Script::new().reply(calls(&["t1"], "b")).reply(Reply::text("ok")));
    run.until_done().await.unwrap();
    assert!(
        conversations(&scripted)[1]
            .contains(r#""content":"Error: Tool 'b' not found","is_error":true"#)
    );
}

#[tokio::test]
async fn row_10_two_tools_of_one_name() {
    // Detected during set-up, before any request.
    let scripted = scripted(one_call());
    let error = scripted
        .client()
        .run("m")
        .tools((echo("a"), echo("a")))
        .user("Go.")
        .until_done()
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "two tools have the name \"a\"");
    assert_eq!(requests(&scripted), 0);
}

#[tokio::test]
async fn row_11_two_calls_with_the_same_id() {
    // No answer could identify its call, so the reply is refused before a tool runs.
    let (scripted, tool, mut run) = start(Script::new().then(|_| calls(&["t1", "t1"], "a").into()));
    run.retry_policy_mut().retries = 0;
    let error = run.until_done().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "protocol error: unexpected event: expected calls with a name and a unique id"
    );
    assert!(tool.ran().is_empty());
    assert_valid(&run, &scripted);
}

/// Returns the result that the model receives for input that is streamed like this, and the calls
/// that ran.
async fn answer_to_input(input: &str) -> (String, Vec<String>) {
    let script =
        Script::new().reply(Reply::new().tool_use_cut("t1", "a", input)).reply(Reply::text("ok"));
    let (scripted, tool, mut run) = start(script);
    run.until_done().await.unwrap();
    assert_valid(&run, &scripted);
    let answer = run.machine().messages().to_vec();
    let answer = String::from_utf8(answer).unwrap();
    let content = answer
        .split(r#""tool_use_id":"t1","content":"#)
        .nth(1)
        .unwrap()
        .split("}]}")
        .next()
        .unwrap()
        .to_owned();
    (content, tool.ran())
}

#[tokio::test]
async fn row_12_input_that_is_no_object() {
    // The model is told what it wrote; the tool never receives it.
    let (content, ran) = answer_to_input("42").await;
    assert_eq!(
        content,
        r#""Error: invalid input for tool 'a': input: expected an object, got number","is_error":true"#
    );
    assert!(ran.is_empty());
}

#[tokio::test]
async fn row_13_streamed_input_that_is_empty() {
    // Models call a tool without parameters in this way.
    assert_eq!(answer_to_input("").await, (r#""a!""#.to_owned(), vec!["t1".to_owned()]));
}

#[tokio::test]
async fn row_14_streamed_input_that_is_cut() {
    // Never completed by guessing and executed: half a path is a different path.
    let (content, ran) = answer_to_input(r#"{"location":"SF""#).await;
    assert!(
        content.starts_with(r#""Error: invalid input for tool 'a': input: expected "#),
        "{content}"
    );
    assert!(
        content.ends_with(r#"got JSON that is cut off or broken there","is_error":true"#),
        "{content}"
    );
    assert!(ran.is_empty());
}

#[tokio::test]
async fn row_15_streamed_input_that_is_garbage() {
    // Bad input never ends a run: the model can correct it.
    let (content, ran) = answer_to_input("{bad}").await;
    assert!(
        content.ends_with(r#"got JSON that is cut off or broken there","is_error":true"#),
        "{content}"
    );
    assert!(ran.is_empty());
}

#[tokio::test]
async fn row_16_streamed_input_that_is_an_array_or_a_string() {
    for (input, got) in [("[1]", "array"), ("\"x\"", "string")] {
        let (content, ran) = answer_to_input(input).await;
        let expected = format!(
            r#""Error: invalid input for tool 'a': input: expected an object, got {got}","is_error":true"#
        );
        assert_eq!((content, ran.len()), (expected, 0));
    }
}

#[tokio::test]
async fn row_17_max_tokens_inside_a_call() {
    // The call does not run, and the conversation can continue: every call has an answer.
    let cut = Reply::text("Let me").tool_use_cut("t1", "a", r#"{"x":"#).stop("max_tokens");
    let (scripted, tool, mut run) = start(Script::new().reply(cut).reply(Reply::text("ok")));
    assert_eq!(
        run.until_done().await.unwrap().outcome,
        Outcome::Ended(Some(StopReason::MaxTokens))
    );
    assert_eq!(run.user("Go on.").unwrap().until_done().await.unwrap().text(), "ok");
    assert!(tool.ran().is_empty());
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn row_18_a_whole_call_before_a_cut_one() {
    // Neither runs: only the stop reason `tool_use` says that the model wants its calls to run.
    for stop in ["max_tokens", "refusal"] {
        let cut = Reply::new().tool_use("t1", "a", "{}").tool_use_cut("t2", "a", "{\"x").stop(stop);
        let (scripted, tool, mut run) = start(Script::new().reply(cut).reply(Reply::text("ok")));
        run.until_done().await.unwrap();
        run.user("Go on.").unwrap().until_done().await.unwrap();
        assert!(tool.ran().is_empty());
        assert!(
            conversations(&scripted)[1]
                .contains(r#""tool_use_id":"t1","content":"Error: not run","is_error":true"#)
        );
        assert_valid(&run, &scripted);
    }
}

#[tokio::test]
async fn row_19_refusal_with_a_call() {
    let (scripted, tool, mut run) = start(Script::new().reply(calls(&["t1"], "a").stop("refusal")));
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::Ended(Some(StopReason::Refusal)));
    assert_eq!((tool.ran().len(), requests(&scripted)), (0, 1));
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn row_20_pause_turn() {
    // Sent back unchanged, and counted, because it was a reply.
    let (scripted, _, mut run) =
        start(Script::new().reply(Reply::text("Hm").stop("pause_turn")).reply(Reply::text("ok")));
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert_eq!(run.turns(), 2);
    let paused = r#"{"role":"assistant","content":[{"type":"text","text":"Hm"}]}"#;
    assert_eq!(conversations(&scripted)[1], format!("[{ASKED},{paused}]"));
}

#[tokio::test]
async fn row_21_pause_turn_with_a_call() {
    // Not answered, because the server continues it. A raised limit does not change that.
    let (scripted, tool, mut run) =
        start(Script::new().reply(calls(&["t1"], "a").stop("pause_turn")).reply(Reply::text("ok")));
    run.limits_mut().turns = Some(1);
    run.until_done().await.unwrap();
    run.limits_mut().turns = None;
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert!(tool.ran().is_empty());
    assert_eq!(conversations(&scripted)[1], format!("[{ASKED},{CALLED}]"));
}

#[tokio::test]
async fn row_22_empty_content() {
    // An end like any other. The empty message is not kept, because the API would refuse it.
    let (scripted, _, mut run) = start(Script::new().reply(Reply::new()).reply(Reply::text("ok")));
    let finished = run.until_done().await.unwrap();
    assert_eq!(
        (finished.outcome, finished.text()),
        (Outcome::Ended(Some(StopReason::EndTurn)), String::new())
    );
    run.user("Well?").unwrap().until_done().await.unwrap();
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn row_23_end_turn_with_a_call() {
    let (scripted, tool, mut run) =
        start(Script::new().reply(calls(&["t1"], "a").stop("end_turn")).reply(Reply::text("ok")));
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::Ended(Some(StopReason::EndTurn)));
    run.user("Go on.").unwrap().until_done().await.unwrap();
    assert!(tool.ran().is_empty());
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn row_24_unknown_block() {
    // Sent back byte for byte, including the order of keys and large numbers.
    let block = r#"{"type":"hologram","z":1,"a":{"n":123456789012345678901234567890,"f":1.0}}"#;
    for stream in [false, true] {
        let (scripted, _, mut run) =
            start(Script::new().reply(Reply::new().block(block)).reply(Reply::text("ok")));
        run.set_stream(stream).until_done().await.unwrap();
        run.user("Go on.").unwrap().until_done().await.unwrap();
        assert!(conversations(&scripted)[1].contains(block), "{}", conversations(&scripted)[1]);
    }
}

#[tokio::test]
async fn row_25_unknown_events_pings_and_comments() {
    // An unknown delta produces an event; a frame with an unknown name is skipped.
    let (_, _, mut run) = start(Script::new().raw(200, &[], common::NOISY_STREAM));
    let mut unknown = 0;
    while let Some(event) = run.next_event().await.unwrap() {
        unknown += usize::from(matches!(event, toolrunner_std::Event::Unknown { .. }));
    }
    assert_eq!((run.message().unwrap().text(), unknown), ("Hi".to_owned(), 1));
}

#[tokio::test]
async fn row_26_a_stream_without_its_end() {
    // An error, never a message without a stop reason. No part of it was reported, so the request
    // is retried.
    let (scripted, _, mut run) =
        start(Script::new().reply(Reply::text("Half").ends_early()).reply(Reply::text("ok")));
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert_eq!(conversations(&scripted), [format!("[{ASKED}]"), format!("[{ASKED}]")]);
}

#[tokio::test]
async fn row_27_an_error_event_in_the_stream() {
    // Also retried. If text was reported it is an error, because that text cannot be taken back;
    // the run is intact.
    let script = || {
        Script::new()
            .reply(Reply::text("Half").error_event("overloaded_error", "Overloaded"))
            .reply(Reply::text("ok"))
    };
    let (_, _, mut run) = start(script());
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    let (scripted, _, mut run) = start(script());
    let error = loop {
        if let Err(error) = run.next_event().await {
            break error;
        }
    };
    assert_eq!(error.api().unwrap().message, "Overloaded");
    assert_eq!(run.message(), None, "half a reply is none");
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn row_28_an_error_body_with_status_200() {
    let body = r#"{"type":"error","error":{"type":"invalid_request_error","message":"No."}}"#;
    let (_, _, mut run) = start(answers([Answer::raw(200, body)]));
    let error = run.set_stream(false).until_done().await.unwrap_err();
    assert!(
        matches!(&error, Error::Api(api) if api.message == "No." && api.error.status == 200),
        "{error}"
    );
}

#[tokio::test]
async fn row_29_an_api_error_and_then_on() {
    // Sends the same request again, runs no tool twice, and never returns an old message as the
    // answer.
    let bad = || Answer::error(400, "invalid_request_error", "No.");
    let (scripted, tool, mut run) =
        start(answers([calls(&["t1"], "a").into(), bad(), bad(), Reply::text("ok").into()]));
    for _ in 0..2 {
        assert_eq!(run.until_done().await.unwrap_err().api().unwrap().message, "No.");
    }
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
    assert_eq!(tool.ran(), ["t1"]);
    let sent = conversations(&scripted);
    assert!(sent[1] == sent[2] && sent[2] == sent[3]);
}

#[tokio::test]
async fn row_30_structured_output_and_prose() {
    // The loop does not parse the output, so prose before it does no harm; the parameter is passed
    // on.
    let reply = Reply::text("Let me look.").tool_use("t1", "a", "{}");
    let scripted = scripted(Script::new().reply(reply).reply(Reply::text(r#"{"ok":true}"#)));
    let format = r#"{"format":{"type":"json_schema","schema":{"type":"object"}}}"#;
    let mut run =
        scripted.client().run("m").param_json("output_config", format).tools(echo("a")).user("Go.");
    assert_eq!(run.until_done().await.unwrap().text(), r#"{"ok":true}"#);
    assert!(
        bodies(&scripted).iter().all(|body| body.contains(&format!(r#""output_config":{format}"#)))
    );
}

#[tokio::test]
async fn row_31_cancel_while_a_tool_runs() {
    // The call is answered: its effect is unknown, and the model is told so.
    let scripted = scripted(one_call());
    let (tool, over) = busy("a");
    let mut run = scripted.client().run("m").tools(tool).user("Go.");
    assert!(tokio::time::timeout(Duration::from_millis(50), run.until_done()).await.is_err());
    assert_eq!(run.user("Never mind.").unwrap().until_done().await.unwrap().text(), "ok");
    drop(over);
    assert!(
        conversations(&scripted)[1]
            .contains(r#""tool_use_id":"t1","content":"Error: cancelled","is_error":true"#)
    );
    assert_valid(&run, &scripted);
}

#[tokio::test]
async fn row_32_a_long_error_text() {
    // Complete, like any result: the caller decides whether it is cut (`result_cap`), and the cut
    // is marked.
    for (cap, len) in [(None, 10_000), (Some(100), 100 + "\n[… 9900 bytes cut …]\n".len())] {
        let scripted = scripted(one_call());
        let builder = scripted
            .client()
            .run("m")
            .tools(fun("a", |_| Err(ToolError::text("x".repeat(10_000)))));
        let mut run =
            if let Some(cap) = cap { builder.result_cap(cap) } else { builder }.user("Go.");
        let mut turn = run.next_turn().await.unwrap().unwrap();
        assert_eq!(turn.results().await.unwrap().first_error().unwrap().len(), len);
    }
}

#[tokio::test]
async fn row_33_one_call_of_several_fails() {
    let fails = fun("b", |_| Err(std::io::Error::other("disk full").into()));
    let reply = Reply::new().tool_use("t1", "b", "{}").tool_use("t2", "a", "{}");
    let scripted = scripted(Script::new().reply(reply).reply(Reply::text("ok")));
    let mut run = scripted.client().run("m").tools((echo("a"), fails)).user("Go.");
    run.until_done().await.unwrap();
    assert!(conversations(&scripted)[1].ends_with(
        r#"[{"type":"tool_result","tool_use_id":"t1","content":"Error: disk full","is_error":true},{"type":"tool_result","tool_use_id":"t2","content":"a!"}]}]"#
    ));
}

#[tokio::test]
async fn row_34_a_large_max_tokens_without_streaming() {
    // It is sent: how long a connection may be silent is a time-out that the caller can set, not a
    // reason to refuse.
    let scripted = scripted(Script::new().reply(Reply::text("ok")));
    let mut run = scripted.client().run("m").max_tokens(64_000).stream(false).user("Go.");
    assert_eq!(run.until_done().await.unwrap().text(), "ok");
}
