//! A result is written once. In the model's order it never moves; out of order, it moves once, and
//! once more for each later result that goes before it.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::run::{CallIndex, Run, Step, ToolAnswer};
use crate::time::Instant;
use crate::transcript::Transcript;
use crate::transport::ReplyHead;

/// Returns a run whose last turn has `calls` open calls.
fn calling(transcript: Transcript<'_>, calls: usize) -> Run<'_> {
    let mut run = Run::new(transcript);
    run.user("Go.").unwrap();
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    run.head_arrived(&ReplyHead::new(200));
    let blocks: Vec<String> = (0..calls)
        .map(|i| format!(r#"{{"type":"tool_use","id":"t{i}","name":"f","input":{{}}}}"#))
        .collect();
    let reply =
        format!(r#"{{"content":[{}],"stop_reason":"tool_use"}}"#, blocks.join(",")).into_bytes();
    let mut reply = reply.as_slice();
    while run.feed(&mut reply).unwrap().is_some() {}
    while run.end_of_body().unwrap().is_some() {}
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Call));
    run
}

/// Returns where the content of each result is that exists.
fn places(run: &Run<'_>, calls: usize) -> Vec<Option<usize>> {
    let place = |i| {
        let content = run.result(CallIndex(i))?.member("content")?;
        content.offset_in(run.transcript.bytes())
    };
    (0..calls).map(place).collect()
}

/// Answers the calls in this order, and returns how often the content of each result moved.
fn moves(transcript: Transcript<'_>, order: &[usize]) -> Vec<usize> {
    let mut run = calling(transcript, order.len());
    let mut moved = vec![0; order.len()];
    for (done, &i) in order.iter().enumerate() {
        let mut before = places(&run, order.len());
        before[i] = Some(run.content_place(CallIndex(i)));
        // Longer and longer, and longer than the brackets around them.
        let text = format!("{i}").repeat(40 * (done + 1));
        run.answer(CallIndex(i), ToolAnswer::ok(&text)).unwrap();
        let after = places(&run, order.len());
        for (moved, (before, after)) in moved.iter_mut().zip(before.into_iter().zip(after)) {
            *moved += usize::from(before != after);
        }
        assert_eq!(
            run.result(CallIndex(i)).unwrap().member("content").unwrap().raw().len(),
            text.len() + 2
        );
    }
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    let ids: Vec<_> =
        run.results().map(|result| format!("{}", result.member("tool_use_id").unwrap())).collect();
    assert_eq!(ids, (0..order.len()).map(|i| format!("\"t{i}\"")).collect::<Vec<_>>());
    moved
}

fn moves_everywhere(order: &[usize]) -> Vec<usize> {
    let fixed = moves(Transcript::new(&mut [0; 2048]), order);
    #[cfg(feature = "alloc")]
    assert_eq!(fixed, moves(Transcript::growing(), order));
    fixed
}

#[test]
fn results_in_order_do_not_move() {
    assert_eq!(moves_everywhere(&[0, 1, 2]), [0, 0, 0]);
}

#[test]
fn a_result_moves_once_for_each_result_that_goes_before_it() {
    assert_eq!(moves_everywhere(&[0, 2, 1]), [0, 1, 1]);
    assert_eq!(moves_everywhere(&[1, 0, 2]), [1, 1, 0]);
    assert_eq!(moves_everywhere(&[1, 2, 0]), [1, 1, 1]);
    assert_eq!(moves_everywhere(&[2, 0, 1]), [1, 1, 2]);
    assert_eq!(moves_everywhere(&[2, 1, 0]), [1, 2, 2]);
}

/// Answers two calls in order, the second one with a content that fills the space exactly.
#[test]
fn the_last_result_may_fill_the_memory() {
    for less in 0..4 {
        let mut memory = [0; 900];
        let mut run = calling(Transcript::new(&mut memory), 2);
        run.answer(CallIndex(0), ToolAnswer::ok("a")).unwrap();
        let text = "x".repeat(run.room_for_result(CallIndex(1)) - 2 - less);
        run.answer(CallIndex(1), ToolAnswer::error(&text)).unwrap();
        assert_eq!(run.transcript.free(), less);
    }
}

/// The space that was set aside is enough to cancel a call.
#[test]
fn a_call_can_be_cancelled_in_the_space_set_aside() {
    let mut memory = [0; 900];
    let mut run = calling(Transcript::new(&mut memory), 2);
    assert!(run.mark_started(CallIndex(1)));
    let text = "x".repeat(run.room_for_result(CallIndex(0)) - 2);
    run.answer(CallIndex(0), ToolAnswer::error(&text)).unwrap();
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
}
