//! Whole conversations through the C interface.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod calls;
mod refusals;
mod support;

use core::ptr;

use support::*;
use toolrunner::*;
use toolrunner_core::testing::http1::Framing;
use toolrunner_core::testing::{Request, Script, ScriptedModel, ScriptedReply};

/// Two calls and a text with escapes.
fn two_calls() -> ScriptedModel {
    ScriptedModel::new(
        Script::new()
            .reply(
                ScriptedReply::text("Both \"now\".\n")
                    .tool_use("t1", "sum", r#"{"a":15,"b":27}"#)
                    .tool_use("t2", "note", r#"{"text":"x\ny"}"#),
            )
            .reply(ScriptedReply::text("42 \u{1f600} \\o/")),
    )
    .require_key("key")
}

fn run_two_calls(program: &mut Program, model: &mut ScriptedModel) {
    assert_eq!(program.user("Add 15 and 27."), TOOLRUNNER_OK);
    assert_eq!(program.go(model), TOOLRUNNER_STEP_CALL, "{}", program.error());
    let first = program.next_call().unwrap();
    assert_eq!((first.tool, first.id.as_str(), first.name.as_str()), (0, "t1", "sum"));
    assert_eq!(first.input, r#"{"a":15,"b":27}"#);
    let second = program.next_call().unwrap();
    assert_eq!((second.tool, second.input.as_str()), (1, r#"{"text":"x\ny"}"#));
    assert_eq!(program.next_call(), None);
    // In any order: the model's order is kept.
    assert_eq!(program.answer(second.index, "", false), TOOLRUNNER_OK);
    assert_eq!(program.answer(first.index, "a \"b\"", false), TOOLRUNNER_OK);
    assert_eq!(program.answer(first.index, "again", false), TOOLRUNNER_ERROR_MISUSE);
    assert_eq!(program.error(), "misuse: no open call has this index");
    assert_eq!(program.go(model), TOOLRUNNER_STEP_DONE, "{}", program.error());
    assert_eq!(program.outcome(), (TOOLRUNNER_OUTCOME_ENDED, "end_turn".to_owned()));
}

#[test]
fn a_conversation_over_http_in_any_pieces() {
    for step in [1, 2, 7, 100, 65536] {
        let (mut model, mut program) =
            (two_calls(), Program::new(&config(Some(c"Say \"hi\"\n\\")), 4096));
        program.step = step;
        run_two_calls(&mut program, &mut model);
        assert_eq!(program.text, "Both \"now\".\n42 \u{1f600} \\o/");
        assert_eq!(program.told(toolrunner_last_text), "42 \u{1f600} \\o/");
        assert_eq!(model.complaints(), &[] as &[String]);
        let body = model.requests()[1].json();
        assert_eq!(body.member("system").unwrap().as_json(), r#""Say \"hi\"\n\\""#);
        assert_eq!(body.member("temperature").unwrap().as_json(), "0");
        assert_eq!(body.member("tools").unwrap().elements().count(), 2);
        let messages = program.messages();
        assert!(
            messages.contains(
                r#"[{"type":"tool_result","tool_use_id":"t1","content":"a \"b\""},{"type":"tool_result","tool_use_id":"t2","content":"#
            ),
            "{messages}"
        );
        assert!(
            program.requests[0].starts_with(
                "POST /gateway/v1/messages HTTP/1.1\r\nhost: scripted:8080\r\ncontent-type: application/json\r\n"
            ),
            "{}",
            program.requests[0]
        );
        let ends = program.kinds.iter().filter(|kind| **kind == TOOLRUNNER_EVENT_MESSAGE_STOP);
        assert_eq!(ends.count(), 2);
        let mut usage = toolrunner_usage {
            input_tokens: 0,
            output_tokens: 0,
            cache_creation_input_tokens: 0,
            cache_read_input_tokens: 0,
        };
        // SAFETY: there is a place for the result.
        assert_eq!(unsafe { toolrunner_tokens(program.at(), &raw mut usage) }, TOOLRUNNER_OK);
        assert!(usage.input_tokens > 0 && usage.output_tokens > 0);
        // SAFETY: the machine is the program's.
        assert_eq!(unsafe { toolrunner_turns(program.at()) }, 2);
    }
}

#[test]
fn a_conversation_in_every_framing_streamed_and_whole() {
    for whole_replies in [0, 1] {
        for framing in [Framing::Length, Framing::Chunked, Framing::Close] {
            let (mut model, mut program) = (
                two_calls(),
                Program::new(&toolrunner_config { whole_replies, ..config(None) }, 4096),
            );
            program.user("Add.");
            assert_eq!(program.step(), TOOLRUNNER_STEP_SEND);
            assert_eq!(program.exchange(&mut model, framing), TOOLRUNNER_OK);
            assert_eq!(
                program.step(),
                TOOLRUNNER_STEP_CALL,
                "{framing:?} {whole_replies} {}",
                program.error()
            );
            assert_eq!(program.text, "Both \"now\".\n");
            // SAFETY: the machine is the program's.
            let done = unsafe { toolrunner_http_is_done(program.at()) };
            assert_eq!(done, if matches!(framing, Framing::Close) { 1 } else { 2 }, "{framing:?}");
            assert_eq!(model.complaints(), &[] as &[String]);
        }
    }
}

/// A program with an HTTP client of its own sees no HTTP.
#[test]
fn a_reply_that_a_client_has_read() {
    let (mut model, mut program) = (two_calls(), Program::new(&config(None), 4096));
    program.user("Add.");
    assert_eq!(program.step(), TOOLRUNNER_STEP_SEND);
    let mut request = Request::new("/v1/messages", program.pull(toolrunner_body));
    let empty = toolrunner_text { ptr: ptr::null(), len: 0 };
    let (mut name, mut value) = (empty, empty);
    // SAFETY: there are places for the results.
    unsafe {
        assert_eq!(toolrunner_body_len(program.at()), request.body.len());
        for i in 0.. {
            if toolrunner_field(program.at(), i, &raw mut name, &raw mut value) == 0 {
                break;
            }
            request.headers.push((string(name), string(value)));
        }
        assert_eq!(toolrunner_url(program.at(), &raw mut name, &raw mut value), TOOLRUNNER_OK);
    }
    assert_eq!(string(name) + &string(value), "http://scripted:8080/gateway/v1/messages");
    let response = model.respond(request);
    assert_eq!(response.status, 200);
    // SAFETY: the lengths are right.
    unsafe {
        assert_eq!(toolrunner_reply(program.at(), 200), TOOLRUNNER_OK);
        assert_eq!(toolrunner_reply_is_whole(program.at()), 0);
        for (name, value) in &response.headers {
            let code = toolrunner_reply_field(
                program.at(),
                name.as_ptr().cast(),
                name.len(),
                value.as_ptr().cast(),
                value.len(),
            );
            assert_eq!(code, TOOLRUNNER_OK);
        }
        let (bytes, mut at) = (response.bytes(), 0);
        loop {
            let (mut used, mut event) = (0, NOTHING);
            let rest = &bytes[at..];
            let code = toolrunner_feed(
                program.at(),
                rest.as_ptr().cast(),
                rest.len(),
                &raw mut used,
                &raw mut event,
            );
            at += used;
            program.see(event);
            if code == 0 {
                break;
            }
            assert_eq!(code, 1);
        }
        assert_eq!(toolrunner_end_of_body(program.at(), ptr::null_mut()), 0);
        assert_eq!(toolrunner_reply_is_whole(program.at()), 1);
    }
    assert_eq!(program.text, "Both \"now\".\n");
    assert_eq!(program.step(), TOOLRUNNER_STEP_CALL);
}

#[test]
fn an_unknown_reason_of_a_failure_is_refused() {
    let mut program = Program::new(&config(None), 4096);
    program.user("Go.");
    assert_eq!(program.step(), TOOLRUNNER_STEP_SEND);
    assert_eq!(program.failed(8), TOOLRUNNER_ERROR_MISUSE);
    assert_eq!(program.error(), "misuse: unknown TOOLRUNNER_FAILED_ value");
    assert_eq!(program.failed(TOOLRUNNER_FAILED_OTHER), TOOLRUNNER_OK);
}

#[test]
fn a_cancelled_reply_is_taken_back_and_the_run_goes_on() {
    let (mut model, mut program) = (two_calls(), Program::new(&config(None), 4096));
    program.user("Add.");
    let before = program.messages();
    assert_eq!(program.step(), TOOLRUNNER_STEP_SEND);
    let head = b"HTTP/1.1 200 OK\r\n\r\nevent: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"role\":\"assistant\",\"content\":[]}}\n\n";
    assert_eq!(program.feed_http(head), 0);
    assert_eq!(program.kinds, [TOOLRUNNER_EVENT_MESSAGE_START]);
    assert_eq!(program.step(), TOOLRUNNER_STEP_RECEIVE);
    // SAFETY: the machine is the program's.
    assert_eq!(unsafe { toolrunner_cancel(program.at()) }, TOOLRUNNER_OK);
    assert_eq!(program.step(), TOOLRUNNER_STEP_DONE);
    assert_eq!(program.outcome().0, TOOLRUNNER_OUTCOME_STOPPED);
    assert_eq!(program.messages(), before);
    // SAFETY: the same.
    assert_eq!(unsafe { toolrunner_resume(program.at()) }, TOOLRUNNER_OK);
    assert_eq!(program.go(&mut model), TOOLRUNNER_STEP_CALL);
}

#[test]
fn a_cleared_machine_begins_a_new_conversation() {
    let (mut model, mut program) = (two_calls(), Program::new(&config(None), 4096));
    program.user("Add.");
    assert_eq!(program.go(&mut model), TOOLRUNNER_STEP_CALL);
    // SAFETY: the machine is the program's.
    assert_eq!(unsafe { toolrunner_clear(program.at()) }, TOOLRUNNER_OK);
    assert_eq!(program.messages(), "");
    assert_eq!(program.step(), TOOLRUNNER_ERROR_MISUSE);
    assert_eq!(program.user("Say it."), TOOLRUNNER_OK);
    assert_eq!(program.go(&mut model), TOOLRUNNER_STEP_DONE);
    assert!(program.messages().starts_with(r#"{"role":"user","content":"Say it."}"#));
}

/// The bytes of a whole reply, with its framing.
const WHOLE: &str = "HTTP/1.1 200 OK\r\ncontent-length: 71\r\n\r\n\
    {\"content\":[{\"type\":\"text\",\"text\":\"Done.\"}],\"stop_reason\":\"end_turn\"}\n\n";

#[test]
fn a_reply_is_whole_only_after_it_has_arrived() {
    let mut program = Program::new(&config(None), 4096);
    // SAFETY: the machine is the program's.
    let is_whole = |program: &mut Program| unsafe { toolrunner_reply_is_whole(program.at()) };
    // SAFETY: the same.
    assert_eq!(unsafe { toolrunner_reply(program.at(), 200) }, TOOLRUNNER_ERROR_MISUSE);
    assert_eq!(program.error(), "misuse: no request waits for a reply");
    program.user("Hello.");
    assert_eq!(program.step(), TOOLRUNNER_STEP_SEND);
    assert_eq!(is_whole(&mut program), 0);
    let (head, body) = WHOLE.split_at(WHOLE.find('{').unwrap());
    assert_eq!(program.feed_http(head.as_bytes()), 0);
    assert_eq!(is_whole(&mut program), 0);
    assert_eq!(program.feed_http(body.as_bytes()), 0, "{}", program.error());
    assert_eq!(is_whole(&mut program), 1);
    // SAFETY: the same.
    let is_done = |program: &mut Program| unsafe { toolrunner_http_is_done(program.at()) };
    assert_eq!(is_done(&mut program), 2);
    // Nobody asked for these bytes.
    assert_eq!(program.feed_http(b"HTTP/1.1 200 OK"), 0);
    assert_eq!(is_done(&mut program), 1);
    assert_eq!(program.step(), TOOLRUNNER_STEP_DONE);
    assert_eq!(program.outcome(), (TOOLRUNNER_OUTCOME_ENDED, "end_turn".to_owned()));
}

/// The connection may deliver bytes that had already arrived.
#[test]
fn a_reply_after_the_end_of_its_request_changes_nothing() {
    let cancel = |program: &mut Program| {
        // SAFETY: the machine is the program's.
        assert_eq!(unsafe { toolrunner_cancel(program.at()) }, TOOLRUNNER_OK);
    };
    let fail = |program: &mut Program| {
        assert_eq!(program.failed(TOOLRUNNER_FAILED_GIVEN_UP), TOOLRUNNER_OK);
    };
    let ends: [&dyn Fn(&mut Program); 2] = [&cancel, &fail];
    for end in ends {
        for at in [0, 10, WHOLE.find('{').unwrap()] {
            let mut program = Program::new(&config(None), 4096);
            program.user("Hello.");
            let before = program.messages();
            assert_eq!(program.step(), TOOLRUNNER_STEP_SEND);
            let (early, late) = WHOLE.split_at(at);
            assert_eq!(program.feed_http(early.as_bytes()), 0);
            end(&mut program);
            let outcome = program.outcome();
            program.feed_http(late.as_bytes());
            // SAFETY: the machine is the program's.
            assert_eq!(unsafe { toolrunner_reply(program.at(), 200) }, TOOLRUNNER_ERROR_MISUSE);
            assert_eq!((program.outcome(), program.messages()), (outcome, before));
            assert!(program.kinds.is_empty());
        }
    }
    let mut program = Program::new(&config(None), 4096);
    program.user("Hello.");
    assert_eq!(program.step(), TOOLRUNNER_STEP_SEND);
    cancel(&mut program);
    program.feed_http(WHOLE.as_bytes());
    assert_eq!(program.step(), TOOLRUNNER_STEP_DONE);
    assert_eq!(program.outcome().0, TOOLRUNNER_OUTCOME_STOPPED);
}

#[test]
fn errors_are_retried_as_the_policy_says_and_told_in_words() {
    let mut model = ScriptedModel::new(
        Script::new().error(529, "overloaded_error", "Busy").header("retry-after", "2").error(
            400,
            "invalid_request_error",
            "A \"bad\" thing",
        ),
    );
    let mut program = Program::new(&config(None), 4096);
    program.user("Go.");
    assert_eq!(program.go(&mut model), TOOLRUNNER_ERROR_API);
    assert_eq!(program.now, 2000);
    let told = program.error();
    assert!(
        told.starts_with(
            "API error: invalid_request_error (status 400): A \"bad\" thing [request id req_"
        ),
        "{told}"
    );
    let mut info = toolrunner_error_info {
        code: 0,
        status: 0,
        needed: 0,
        free: 0,
        what: toolrunner_text { ptr: ptr::null(), len: 0 },
    };
    // SAFETY: there is a place for the result.
    unsafe { toolrunner_error(program.at(), &raw mut info) };
    assert_eq!((info.code, info.status), (TOOLRUNNER_ERROR_API, 400));
    assert_eq!(string(info.what), "invalid_request_error");

    // SAFETY: the machine is the program's.
    unsafe { toolrunner_retries(program.at(), 1, 10, 10, 0) };
    assert_eq!(program.step(), TOOLRUNNER_STEP_SEND);
    assert_eq!(program.failed(TOOLRUNNER_FAILED_CONNECT), TOOLRUNNER_OK);
    assert_eq!(program.step(), TOOLRUNNER_STEP_WAIT);
    assert!(program.now <= 2010, "{}", program.now);
    assert_eq!(program.step(), TOOLRUNNER_STEP_SEND);
    assert_eq!(program.failed(TOOLRUNNER_FAILED_TIMEOUT), TOOLRUNNER_ERROR_TRANSPORT);
    assert_eq!(program.error(), "timed out waiting for data");
    assert_eq!(program.step(), TOOLRUNNER_STEP_SEND);
    assert_eq!(program.feed_http(b"SSH-2.0\r\n"), TOOLRUNNER_ERROR_TRANSPORT);
    assert_eq!(program.failed(TOOLRUNNER_FAILED_CLOSED), TOOLRUNNER_ERROR_TRANSPORT);
    assert_eq!(program.error(), "the server did not send valid HTTP");
}

#[test]
fn limits_end_a_run_and_raised_ones_let_it_go_on() {
    let (mut model, mut program) = (two_calls(), Program::new(&config(None), 4096));
    // SAFETY: the machine is the program's.
    let limit =
        |program: &mut Program, which, most| unsafe { toolrunner_limit(program.at(), which, most) };
    assert_eq!(limit(&mut program, TOOLRUNNER_LIMIT_TURNS, 1), TOOLRUNNER_OK);
    assert_eq!(limit(&mut program, 99, 1), TOOLRUNNER_ERROR_MISUSE);
    program.user("Add.");
    assert_eq!(program.go(&mut model), TOOLRUNNER_STEP_DONE);
    assert_eq!(program.outcome(), (TOOLRUNNER_OUTCOME_LIMIT, "turns".to_owned()));
    limit(&mut program, TOOLRUNNER_LIMIT_TURNS, TOOLRUNNER_UNLIMITED);
    assert_eq!(program.go(&mut model), TOOLRUNNER_STEP_CALL);
    // SAFETY: the machine is the program's.
    unsafe {
        assert_eq!(toolrunner_when_full(program.at(), TOOLRUNNER_FULL_STOP, 4096), TOOLRUNNER_OK);
    }
    // Calls that were not given out wait; those that were are answered as cancelled.
    program.next_call();
    program.next_call();
    assert_eq!(program.step(), TOOLRUNNER_STEP_DONE);
    assert_eq!(program.outcome(), (TOOLRUNNER_OUTCOME_LIMIT, "transcript".to_owned()));
}
