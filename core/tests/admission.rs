//! A caller that runs the tools itself may ask for the next call at any time. A call starts only
//! when its turn can be answered.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
#![cfg(all(feature = "testing", feature = "alloc"))]

mod common;

use common::{Counting, Tool};
use toolrunner_core::__private::drive::start_next;
use toolrunner_core::json::Text;
use toolrunner_core::run::{Compaction, Run, Step};
use toolrunner_core::time::Instant;
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Toolbox};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

fn feed(run: &mut Run<'_>, mut reply: &[u8]) {
    run.head_arrived(&ReplyHead::new(200));
    while run.feed(&mut reply).unwrap().is_some() {}
    while run.end_of_body().unwrap().is_some() {}
}

/// The call is not lost: it is handed out after the summary.
#[test]
fn a_call_does_not_start_during_a_summary() {
    let tools = Counting::new([Tool::plain()]);
    let mut run = Run::new(Transcript::growing());
    *run.compaction_mut() = Some(Compaction { threshold: 1, ..Compaction::DEFAULT });
    run.user("Go.").unwrap();
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    let reply = br#"{"content":[{"type":"tool_use","id":"t1","name":"plain","input":{}}],
        "stop_reason":"tool_use","usage":{"input_tokens":9,"output_tokens":9}}"#;
    feed(&mut run, reply);
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send), "the summary");
    assert!(start_next(&mut run, &tools).is_err());
    feed(&mut run, br#"{"content":[],"stop_reason":"end_turn"}"#);
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Call));
    assert_eq!(start_next(&mut run, &tools).unwrap(), Some(0.into()));
}

/// The calls of a paused turn, which is sent back unchanged, do not run.
#[test]
fn a_member_does_not_start_while_its_paused_turn_is_sent_back() {
    let tools = AnyMember;
    let mut run = Run::new(Transcript::growing());
    run.user("Go.").unwrap();
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    let reply =
        br#"{"content":[{"type":"tool_use","id":"t1","name":"click","toolset_name":"screen",
        "input":{}}],"stop_reason":"pause_turn"}"#;
    feed(&mut run, reply);
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send), "sent back");
    let asked = start_next(&mut run, &tools);
    assert!(asked.is_err(), "{asked:?}");
}

/// Has every member of every toolset, as programs in C do.
struct AnyMember;

impl Toolbox for AnyMember {
    fn count(&self) -> usize {
        0
    }

    fn definition(&self, _: usize) -> Option<Definition<'_>> {
        None
    }

    fn find_member(&self, _: Text<'_>, _: Text<'_>) -> Option<usize> {
        Some(usize::MAX)
    }

    async fn call(&self, _: usize, _: ToolCall<'_>, _: &mut Output<'_>) -> Result<(), ToolError> {
        Ok(())
    }
}
