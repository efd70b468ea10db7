//! A result of an earlier turn, replaced in fixed memory.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use toolrunner_core::error::{Capacity, CapacityKind, Error};
use toolrunner_core::run::{Run, Step, ToolAnswer};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

/// Does one request, with this reply.
fn exchange(run: &mut Run<'_>, mut reply: &[u8]) {
    assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Send);
    run.head_arrived(&ReplyHead::new(200));
    while run.feed(&mut reply).unwrap().is_some() {}
    while run.end_of_body().unwrap().is_some() {}
}

fn call(id: &str) -> String {
    format!(
        r#"{{"content":[{{"type":"tool_use","id":"{id}","name":"a","input":{{}}}}],"stop_reason":"tool_use"}}"#
    )
}

#[test]
fn what_does_not_fit_leaves_the_old_one_and_the_turn_stays_where_it_is() {
    let mut memory = [0; 700];
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user("Go.").unwrap();
    for id in ["t1", "t2"] {
        exchange(&mut run, call(id).as_bytes());
        assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Call);
        if id == "t1" {
            run.answer(0.into(), ToolAnswer::ok("one")).unwrap();
        }
    }
    let before = run.messages().to_vec();
    let long = format!("\"{}\"", "x".repeat(500));
    let full = run.replace_result_of("t1", ToolAnswer::ok_json(long.as_bytes())).unwrap_err();
    assert!(
        matches!(full, Error::Capacity(Capacity { what: CapacityKind::Transcript, .. })),
        "{full:?}"
    );
    assert_eq!(run.messages(), before);
    assert!(run.replace_result_of("t2", ToolAnswer::ok("x")).is_err(), "it has none yet");

    run.replace_result_of("t1", ToolAnswer::error("another one, and longer")).unwrap();
    // The open call is found at its new place, and answered there.
    assert_eq!(run.call(0.into()).unwrap().id.to_string(), "t2");
    run.answer(0.into(), ToolAnswer::ok("two")).unwrap();
    run.replace_result_of("t2", ToolAnswer::ok("2")).unwrap();
    let messages = core::str::from_utf8(run.messages()).unwrap();
    assert!(
        messages.contains(
            r#""t1","content":"another one, and longer","is_error":true}]},{"role":"assistant""#
        ),
        "{messages}"
    );
    assert!(
        messages.ends_with(r#"[{"type":"tool_result","tool_use_id":"t2","content":"2"}]}"#),
        "{messages}"
    );
    assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Send);
    assert!(run.replace_result_of("t1", ToolAnswer::ok("x")).is_err(), "a request is under way");
}
