//! A transcript that is nearly full: whole turns are dropped, the oldest first, or the run stops;
//! never half a turn.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use toolrunner_core::message::StopReason;
use toolrunner_core::policy::Limit;
use toolrunner_core::run::{MakeRoom, Outcome, Run, Step, ToolAnswer, WhenFull};
use toolrunner_core::testing::validity::{Tail, check};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

const CALL: &str =
    r#"{"content":[{"type":"tool_use","id":"ID","name":"n","input":{}}],"stop_reason":"tool_use"}"#;
const TEXT: &str = r#"{"content":[{"type":"text","text":"well"}],"stop_reason":"end_turn"}"#;

/// Does one turn. Returns the request's conversation, or the outcome if none was sent.
fn turn(run: &mut Run<'_>, reply: &str) -> Result<String, Outcome> {
    loop {
        match run.step(Instant::ZERO).unwrap() {
            Step::Send => break,
            Step::Call => {
                let call = run.next_call().unwrap();
                run.answer(call, ToolAnswer::ok("a result")).unwrap();
            }
            Step::Done(outcome) => return Err(outcome),
            step => panic!("{step:?}"),
        }
    }
    let sent = String::from_utf8(run.body(&[]).transcript().to_vec()).unwrap();
    check(sent.as_bytes(), Tail::Closed).unwrap();
    run.head_arrived(&ReplyHead::new(200));
    let mut rest = reply.as_bytes();
    while run.feed(&mut rest).unwrap().is_some() {}
    while run.end_of_body().unwrap().is_some() {}
    Ok(sent)
}

#[test]
fn the_first_prompt_goes_with_all_that_answered_it() {
    let mut memory = [0; 900];
    let mut run = Run::new(Transcript::new(&mut memory));
    *run.when_full_mut() = WhenFull { room: 400, then: MakeRoom::DropOldest };
    run.user("first question").unwrap();
    turn(&mut run, &CALL.replace("ID", "t1")).unwrap();
    turn(&mut run, TEXT).unwrap();
    run.user("second question").unwrap();
    let sent = turn(&mut run, &CALL.replace("ID", "t2")).unwrap();
    assert!(sent.contains("first question"), "there is room yet: {sent}");
    let sent = turn(&mut run, TEXT).unwrap();
    assert!(sent.starts_with(r#"{"role":"user","content":"second question"}"#), "{sent}");
    assert!(sent.contains("t2") && !sent.contains("t1"));
    assert_eq!(
        run.step(Instant::ZERO).unwrap(),
        Step::Done(Outcome::Ended(Some(StopReason::EndTurn)))
    );
}

#[test]
fn of_one_prompt_the_first_replies_go_and_the_prompt_stays() {
    let mut memory = [0; 900];
    let mut run = Run::new(Transcript::new(&mut memory));
    *run.when_full_mut() = WhenFull { room: 300, then: MakeRoom::DropOldest };
    run.user("the only question").unwrap();
    for i in 0..40 {
        let sent = turn(&mut run, &CALL.replace("ID", &format!("t{i}"))).unwrap();
        assert!(sent.starts_with(r#"{"role":"user","content":"the only question"}"#), "{sent}");
        assert!(
            i == 0 || sent.contains(&format!(r#""tool_use_id":"t{}""#, i - 1)),
            "the last turn stays: {sent}"
        );
    }
    assert_eq!(run.turns(), 40);
}

#[test]
fn or_the_run_stops_and_goes_on_when_there_is_room() {
    let mut memory = [0; 500];
    let mut run = Run::new(Transcript::new(&mut memory));
    *run.when_full_mut() = WhenFull { room: 300, then: MakeRoom::Stop };
    run.user("question").unwrap();
    turn(&mut run, &CALL.replace("ID", "t1")).unwrap();
    assert_eq!(turn(&mut run, TEXT), Err(Outcome::Limit(Limit::Transcript)));
    assert_eq!(turn(&mut run, TEXT), Err(Outcome::Limit(Limit::Transcript)));
    run.when_full_mut().room = 100;
    turn(&mut run, TEXT).unwrap();
    assert_eq!(turn(&mut run, TEXT), Err(Outcome::Ended(Some(StopReason::EndTurn))));
}

#[test]
fn nothing_left_to_drop_is_a_limit_too() {
    let mut memory = [0; 300];
    let mut run = Run::new(Transcript::new(&mut memory));
    *run.when_full_mut() = WhenFull { room: 290, then: MakeRoom::DropOldest };
    run.user("question").unwrap();
    assert_eq!(turn(&mut run, TEXT), Err(Outcome::Limit(Limit::Transcript)));
}
