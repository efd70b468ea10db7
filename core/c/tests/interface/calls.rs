//! Calls: handed out, denied, suspended and answered.

use core::ptr;

use toolrunner::*;
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};

use crate::support::*;
use crate::two_calls;

#[test]
fn calls_that_nobody_can_run_are_answered_by_the_library() {
    let mut model = ScriptedModel::new(
        Script::new()
            .reply(
                ScriptedReply::new()
                    .tool_use("t1", "missing", "{}")
                    .tool_use("t2", "sum", r#"{"a":1,"b":"x"}"#)
                    .tool_use_cut("t3", "missing", r#"{"a":1"#)
                    .tool_use("t4", "sum", r#"{"a":1,"b":2}"#),
            )
            .reply(ScriptedReply::text("Done.")),
    );
    let mut program = Program::new(&config(None), 4096);
    program.user("Go.");
    assert_eq!(program.go(&mut model), TOOLRUNNER_STEP_CALL);
    let call = program.next_call().unwrap();
    assert_eq!((call.index, call.id.as_str()), (3, "t4"));
    assert_eq!(program.next_call(), None);
    program.answer(call.index, "3", false);
    assert_eq!(program.go(&mut model), TOOLRUNNER_STEP_DONE);
    let messages = program.messages();
    for text in [
        "Error: Tool 'missing' not found",
        "invalid input for tool 'sum': b: expected integer",
        "the JSON is truncated or invalid",
        r#""tool_use_id":"t4","content":"3""#,
    ] {
        assert!(messages.contains(text), "{text}: {messages}");
    }
    assert_eq!(model.complaints(), &[] as &[String]);
}

/// The texts are those of core's driver.
#[test]
fn a_call_is_answered_without_a_text_of_the_program() {
    let call = |reply: ScriptedReply, id| reply.tool_use(id, "note", "{}");
    let reply = ["t1", "t2", "t3", "t4", "t5", "t6"].into_iter().fold(ScriptedReply::new(), call);
    let reply = reply.block(
        r#"{"type":"tool_use","id":"t7","name":"click","toolset_name":"screen","input":{}}"#,
    );
    let mut model = ScriptedModel::new(Script::new().reply(reply));
    let mut program = Program::new(&config(None), 4096);
    program.user("Go.");
    assert_eq!(program.go(&mut model), TOOLRUNNER_STEP_CALL);
    let calls: Vec<Call> = core::iter::from_fn(|| program.next_call()).collect();
    let places: Vec<(u32, i32)> = calls.iter().map(|call| (call.index, call.tool)).collect();
    assert_eq!(places, [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, -1)]);
    let (null, reason) = (ptr::null(), c"Not today.");
    assert_eq!(program.result(0), (0, String::new()));
    // SAFETY: the machine is the program's, and the lengths are right.
    unsafe {
        assert_eq!(toolrunner_deny(program.at(), 0, null, 0), TOOLRUNNER_OK);
        assert_eq!(toolrunner_deny(program.at(), 1, reason.as_ptr(), 10), TOOLRUNNER_OK);
        assert_eq!(toolrunner_answer_failed(program.at(), 2, null, 0), TOOLRUNNER_OK);
        assert_eq!(toolrunner_answer_failed(program.at(), 3, reason.as_ptr(), 10), TOOLRUNNER_OK);
        assert_eq!(toolrunner_not_found(program.at(), 6), TOOLRUNNER_OK);
        assert_eq!(toolrunner_not_found(program.at(), 6), TOOLRUNNER_ERROR_MISUSE);
    }
    assert_eq!(program.answer(4, "", true), TOOLRUNNER_OK);
    assert_eq!(program.answer(5, "", false), TOOLRUNNER_OK);
    for (call, code, content) in [
        (0, 2, "Error: not allowed"),
        (1, 2, "Not today."),
        (2, 2, "Error: (no message)"),
        (3, 2, "Error: Not today."),
        (4, 2, "Error: (no message)"),
        (5, 1, "(no output)"),
        (6, 2, "Error: Toolset 'screen' member 'click' not found"),
    ] {
        assert_eq!(program.result(call), (code, format!("{content:?}")), "{call}");
    }
}

/// A call that was suspended is admitted by the same rules as a new one.
#[test]
fn an_allowed_call_does_not_run_if_its_tool_is_gone() {
    let other =
        c"[{\"name\":\"note\",\"input_schema\":{\"type\":\"object\",\"required\":[\"a\"]}}]";
    let (mut model, mut program) = (two_calls(), Program::new(&config(None), 4096));
    program.user("Add.");
    assert_eq!(program.go(&mut model), TOOLRUNNER_STEP_CALL);
    while let Some(call) = program.next_call() {
        // SAFETY: the machine is the program's.
        assert_eq!(unsafe { toolrunner_suspend(program.at(), call.index) }, TOOLRUNNER_OK);
    }
    let snapshot = program.snapshot();
    let config = toolrunner_config { tools: other.as_ptr(), ..config(None) };
    let mut program = Program::restore(&config, 4096, &snapshot);
    assert_eq!(program.given(toolrunner_suspended).unwrap().tool, -1);
    // SAFETY: null is no place for a result.
    unsafe {
        assert_eq!(toolrunner_allow(program.at(), 0, ptr::null_mut()), 1);
        assert_eq!(program.given(toolrunner_suspended).unwrap().tool, 0);
        assert_eq!(toolrunner_allow(program.at(), 1, ptr::null_mut()), 1);
    }
    assert_eq!(program.result(0), (2, "\"Error: Tool 'sum' not found\"".to_owned()));
    let (code, content) = program.result(1);
    assert!(content.contains("invalid input for tool 'note': a: "), "{content}");
    assert_eq!(code, 2);
    assert_eq!(program.next_call(), None);
    assert_eq!(program.step(), TOOLRUNNER_STEP_SEND);
}

#[test]
fn a_gate_denies_suspends_and_allows_across_a_snapshot() {
    let (mut model, mut program) = (two_calls(), Program::new(&config(None), 4096));
    program.user("Add.");
    assert_eq!(program.go(&mut model), TOOLRUNNER_STEP_CALL);
    let (first, second) = (program.next_call().unwrap(), program.next_call().unwrap());
    assert_eq!(program.answer(first.index, "Not today.", true), TOOLRUNNER_OK);
    // SAFETY: the machine is the program's.
    unsafe {
        assert_eq!(toolrunner_suspend(program.at(), second.index), TOOLRUNNER_OK);
        assert_eq!(toolrunner_suspend(program.at(), first.index), TOOLRUNNER_ERROR_MISUSE);
        assert_eq!(toolrunner_suspend(program.at(), 9), TOOLRUNNER_ERROR_MISUSE);
    }
    assert_eq!(program.step(), TOOLRUNNER_STEP_DONE);
    assert_eq!(program.outcome().0, TOOLRUNNER_OUTCOME_NEEDS_ANSWER);
    let snapshot = program.snapshot();
    drop(program);

    let mut program = Program::restore(&config(None), 4096, &snapshot);
    assert_eq!(program.outcome().0, TOOLRUNNER_OUTCOME_NEEDS_ANSWER);
    assert_eq!(program.given(toolrunner_suspended).unwrap(), second);
    // SAFETY: null is no place for a result.
    unsafe {
        assert_eq!(
            toolrunner_allow(program.at(), first.index, ptr::null_mut()),
            TOOLRUNNER_ERROR_MISUSE
        );
        assert_eq!(toolrunner_allow(program.at(), second.index, ptr::null_mut()), TOOLRUNNER_OK);
    }
    // It is given out: not a second time.
    assert_eq!(program.next_call(), None);
    assert_eq!(program.answer(second.index, "noted", false), TOOLRUNNER_OK);
    assert_eq!(program.go(&mut model), TOOLRUNNER_STEP_DONE);
    let messages = program.messages();
    assert!(messages.contains(r#""content":"Not today.","is_error":true"#), "{messages}");
    assert!(messages.contains(r#""content":"noted"}"#), "{messages}");
    assert_eq!(model.complaints(), &[] as &[String]);
}

/// A call that was given out when the program died does not run again.
#[test]
fn a_call_given_out_runs_at_most_once_across_a_crash() {
    let (mut model, mut program) = (two_calls(), Program::new(&config(None), 4096));
    program.user("Add.");
    assert_eq!(program.go(&mut model), TOOLRUNNER_STEP_CALL);
    assert_eq!(program.next_call().unwrap().id, "t1");
    let snapshot = program.snapshot();
    let mut program = Program::restore(&config(None), 4096, &snapshot);
    assert_eq!(program.step(), TOOLRUNNER_STEP_CALL);
    let second = program.next_call().unwrap();
    assert_eq!(second.id, "t2");
    program.answer(second.index, "noted", false);
    assert_eq!(program.go(&mut model), TOOLRUNNER_STEP_DONE);
    let messages = program.messages();
    assert!(
        messages.contains(r#""tool_use_id":"t1","content":"Error: "#)
            && messages.contains("cancel"),
        "{messages}"
    );
    // A changed snapshot is refused with its reason.
    let mut other = Program::empty(4096);
    let (place, changed) = (other.at(), snapshot.replace("Add.", "Bad."));
    let mut memory = vec![0_u8; 4096];
    // SAFETY: the lengths are right, and the memory outlives the last use.
    let code = unsafe {
        toolrunner_restore(
            place,
            &config(None),
            memory.as_mut_ptr().cast(),
            memory.len(),
            changed.as_ptr().cast(),
            changed.len(),
        )
    };
    assert_eq!(code, TOOLRUNNER_ERROR_MISUSE);
    assert!(other.error().contains("its checksum does not match"), "{}", other.error());
    assert_eq!(other.user("Hi"), TOOLRUNNER_ERROR_MISUSE);
}
