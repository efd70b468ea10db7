//! Calls that start while their reply is still streamed, if
//! [`RunBuilder::eager`](super::RunBuilder::eager) is set: which ones may start, and when.
//!
//! ```text
//! block starts   block stops    next block, or a stop for tools
//!    Open ──────▶ Whole ─────────▶ Left ─── room, limits, a tool ──▶ Begun: the machine's, like any other call
//! ```

use core::future::poll_fn;
use core::pin::pin;
use core::task::Poll;
use std::sync::Arc;

use futures_util::future::Either;
use toolrunner_core::json::{Text, Value};
use toolrunner_core::message::StopReason;
use toolrunner_core::observe::Event;
use toolrunner_core::run::Happened;
use toolrunner_core::time::Clock;

use super::Run;
use super::jobs::{Done, Job, Jobs};
use super::what::What;

/// The calls of the reply that is being streamed.
#[derive(Debug, Default)]
pub(super) struct Early {
    calls: Vec<EarlyCall>,
    /// Whether no further call may start: after a `fallback` block, or in a reply that did not stop
    /// for tools.
    is_closed: bool,
}

/// A call, with copies of what its job needs, because the block moves as the reply grows.
#[derive(Debug)]
struct EarlyCall {
    /// The index of its block.
    block: usize,
    id: String,
    name: String,
    /// Empty if the call is not of a toolset.
    toolset: String,
    input: Vec<u8>,
    stage: Stage,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Its block is being streamed.
    Open,
    /// Its block is complete, but the model may not have moved on.
    Whole,
    /// The model has moved on.
    Left,
    Begun,
}

impl Early {
    fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::BlockStart { block, .. } if is_type(*block, "fallback") => self.is_closed = true,
            Event::BlockStart { index, block } => {
                self.leave();
                if is_type(*block, "tool_use") {
                    let (id, name, toolset) = (String::new(), String::new(), String::new());
                    self.calls.push(EarlyCall {
                        block: *index,
                        id,
                        name,
                        toolset,
                        input: Vec::new(),
                        stage: Stage::Open,
                    });
                }
            }
            Event::BlockStop { index, block } => self.end_block(*index, *block),
            Event::Stop { reason: Some(StopReason::ToolUse), .. } => self.leave(),
            Event::Stop { reason: Some(_), .. } => self.is_closed = true,
            _ => {}
        }
    }

    fn end_block(&mut self, index: usize, block: Value<'_>) {
        let text = |name| block.member(name).and_then(Value::as_text).unwrap_or_default();
        let Some(call) =
            self.calls.iter_mut().find(|call| call.block == index && call.stage == Stage::Open)
        else {
            return;
        };
        call.stage = Stage::Whole;
        text("id").raw().clone_into(&mut call.id);
        text("name").raw().clone_into(&mut call.name);
        text("toolset_name").raw().clone_into(&mut call.toolset);
        call.input = block.member("input").map_or_else(Vec::new, |input| input.raw().to_vec());
    }

    /// Marks that the model has moved on from every call whose block is complete.
    fn leave(&mut self) {
        for call in self.calls.iter_mut().filter(|call| call.stage == Stage::Whole) {
            call.stage = Stage::Left;
        }
    }
}

impl Run {
    /// Checks an event of the reply for calls that may start.
    pub(super) fn see_early(&mut self, happened: Happened) {
        self.early.see(&self.machine.peek(happened));
        self.start_early();
    }

    pub(super) fn start_early(&mut self) {
        if self.early.is_closed {
            return;
        }
        let now = self.clock.now();
        for (i, call) in self.early.calls.iter_mut().enumerate() {
            if self.jobs.len() >= self.concurrency {
                break;
            }
            if call.stage != Stage::Left {
                continue;
            }
            // A call that no tool here runs is answered when the reply is complete.
            let (name, toolset) = (Text::from_raw(&call.name), Text::from_raw(&call.toolset));
            let toolset = Some(toolset).filter(|toolset| !toolset.is_empty());
            if toolset.is_none() && self.machine.is_withdrawn_early(name) {
                continue;
            }
            let entry = self
                .toolset
                .find(toolset, name)
                .filter(|entry| entry.runnable && self.jobs.may_start(entry));
            let Some(entry) = entry else { continue };
            if !self.machine.begin_early(i, now) {
                continue;
            }
            call.stage = Stage::Begun;
            let job = Job {
                call: i,
                id: call.id.as_str().into(),
                name: call.name.as_str().into(),
                input: core::mem::take(&mut call.input),
                turn: self.machine.turns() + 1,
                entry,
                tools: Arc::clone(&self.toolset.tools),
                state: self.state.clone(),
                gate: self.gate.clone(),
                answers: Arc::default(),
            };
            let span = self.trace.call(self.id, &self.params, &job);
            self.jobs.start(job, self.clock.clone(), span, self.trace.ends_call());
            self.untold.push_back(What::ToolStart(i));
        }
    }

    /// Returns whether further calls may start beside the running ones.
    pub(super) fn may_start_more(&self) -> bool {
        self.machine.is_calling()
            && self.machine.next_call().is_some()
            && !self.cancellation_is_due()
            && self.machine.is_within_limits(self.clock.now())
    }
}

/// Returns the output of `future`, or a call that is done first.
pub(super) async fn beside<F: Future>(jobs: &mut Jobs, future: F) -> Either<Done, F::Output> {
    let mut has_jobs = !jobs.is_empty();
    let (mut done, mut future) = (pin!(jobs.next()), pin!(future));
    poll_fn(|context| {
        if has_jobs {
            match done.as_mut().poll(context) {
                Poll::Ready(Some(done)) => return Poll::Ready(Either::Left(done)),
                Poll::Ready(None) => has_jobs = false,
                Poll::Pending => {}
            }
        }
        future.as_mut().poll(context).map(Either::Right)
    })
    .await
}

fn is_type(block: Value<'_>, name: &str) -> bool {
    block.member("type").and_then(Value::as_text).is_some_and(|kind| kind == *name)
}
