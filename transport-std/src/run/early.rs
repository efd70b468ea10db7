//! Calls that start while their reply still streams, if the run was built so.
//!
//! ```text
//! block starts   block stops    next block, or a stop for tools                 tool ends    reply is whole
//!    Open ──────▶ Whole ─────────▶ Left ─── room, limits, a tool ──▶ Running ──▶ Done ──────▶ answered
//! ```
//! The conversation cannot take a result before the reply is whole, so it waits here. If the reply is lost, what is here is too.

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
use crate::error::Error;

/// The calls of the reply that streams.
#[derive(Debug, Default)]
pub(super) struct Early {
    calls: Vec<EarlyCall>,
    /// Nothing more starts: what follows a `fallback`, or a reply that did not stop for tools.
    is_closed: bool,
    /// Calls go on that started early, and the others of the turn have not been looked at.
    goes_on: bool,
}

/// One of them, with copies of what a job needs: the block moves as the reply grows.
#[derive(Debug)]
pub(super) struct EarlyCall {
    /// The index of its block.
    block: usize,
    id: String,
    name: String,
    input: Vec<u8>,
    stage: Stage,
}

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    /// Its block streams.
    Open,
    /// Its block is whole, and the model may still be at it.
    Whole,
    /// The model has moved on.
    Left,
    Running,
    /// What its tool gave: content, and whether it is an error.
    Done(Vec<u8>, bool),
    /// The gate left it to the caller.
    Suspended,
    /// It has no id or no name of its own: its reply is none.
    Broken,
}

impl EarlyCall {
    const fn has_begun(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Done(..) | Stage::Suspended)
    }

    pub(super) fn start_event(&self) -> Event<'_> {
        let input = Value::first(&self.input).unwrap_or_default();
        Event::ToolStart { id: Text::from_raw(&self.id), name: Text::from_raw(&self.name), input }
    }

    pub(super) fn end_event(&self) -> Option<Event<'_>> {
        let Stage::Done(content, is_error) = &self.stage else { return None };
        let content = Value::first(content).unwrap_or_default();
        Some(Event::ToolEnd { id: Text::from_raw(&self.id), name: Text::from_raw(&self.name), content, is_error: *is_error })
    }
}

impl Early {
    /// Call `i` of the reply, if it has begun.
    pub(super) fn call(&self, i: usize) -> Option<&EarlyCall> {
        self.calls.get(i).filter(|call| call.has_begun())
    }

    pub(super) fn has_begun(&self) -> bool {
        self.calls.iter().any(EarlyCall::has_begun)
    }

    fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::BlockStart { block, .. } if is_type(*block, "fallback") => self.is_closed = true,
            Event::BlockStart { index, block } => {
                self.leave();
                if is_type(*block, "tool_use") {
                    let (id, name) = (String::new(), String::new());
                    self.calls.push(EarlyCall { block: *index, id, name, input: Vec::new(), stage: Stage::Open });
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
        let (id, name) = (text("id"), text("name"));
        let is_known = self.calls.iter().any(|call| call.id == id.raw());
        let Some(call) = self.calls.iter_mut().find(|call| call.block == index && call.stage == Stage::Open) else { return };
        let is_broken = id.is_empty() || name.is_empty() || is_known;
        call.stage = if is_broken { Stage::Broken } else { Stage::Whole };
        id.raw().clone_into(&mut call.id);
        name.raw().clone_into(&mut call.name);
        call.input = block.member("input").map_or_else(Vec::new, |input| input.raw().to_vec());
    }

    /// The model has moved on from every call that is whole.
    fn leave(&mut self) {
        for call in self.calls.iter_mut().filter(|call| call.stage == Stage::Whole) {
            call.stage = Stage::Left;
        }
    }
}

impl Run {
    /// Looks at what happened in a reply for calls that may start.
    pub(super) fn see_early(&mut self, happened: Happened) {
        self.early.see(&self.machine.peek(happened));
        self.start_early();
    }

    fn start_early(&mut self) {
        if self.early.is_closed {
            return;
        }
        for (i, call) in self.early.calls.iter_mut().enumerate() {
            if self.jobs.len() >= self.concurrency {
                break;
            }
            if call.stage != Stage::Left || !self.machine.may_start_early(i, self.clock.now()) {
                continue;
            }
            // What no tool here runs is answered when the reply is whole.
            let entry = self.toolset.find(Text::from_raw(&call.name)).filter(|entry| entry.runnable && self.jobs.may_start(entry));
            let Some(entry) = entry else { continue };
            let job = Job {
                call: i,
                id: call.id.as_str().into(),
                name: call.name.as_str().into(),
                input: call.input.clone(),
                turn: self.machine.turns() + 1,
                entry,
                tools: Arc::clone(&self.toolset.tools),
                state: self.state.clone(),
                gate: self.gate.clone(),
            };
            call.stage = Stage::Running;
            self.machine.begin_early();
            self.jobs.start(job, self.clock.clone());
            self.untold.push_back(What::ToolStart(i));
        }
    }

    /// A call is done before its reply is whole.
    pub(super) fn early_done(&mut self, done: Done) {
        let Some(call) = self.early.calls.get(done.call) else { return };
        let text = |raw: &str| Text::from_raw(raw).to_string();
        let (id, name) = (text(&call.id), text(&call.name));
        let given = done.answer.map(|(content, is_error)| self.hooked(id, name, content, is_error));
        if let Some(call) = self.early.calls.get_mut(done.call) {
            call.stage = given.map_or(Stage::Suspended, |(content, is_error)| Stage::Done(content, is_error));
            if matches!(call.stage, Stage::Done(..)) {
                self.untold.push_back(What::ToolEnd(done.call));
            }
        }
        self.start_early();
    }

    /// The reply is whole: what its calls gave is put in its place, and those that run go on.
    pub(super) fn adopt_early(&mut self) -> Result<(), Error> {
        let early = core::mem::take(&mut self.early);
        if !early.has_begun() {
            return Ok(());
        }
        if let Err(full) = self.machine.end_early() {
            self.jobs.clear();
            return Err(full.into());
        }
        for (i, call) in early.calls.into_iter().enumerate() {
            // Calls before a `fallback` need no answer.
            if !self.machine.calls().contains(&i) {
                self.jobs.abort(i);
                continue;
            }
            match call.stage {
                Stage::Running => self.machine.begin_call(i),
                Stage::Suspended => self.machine.leave_to_caller(i),
                Stage::Done(content, is_error) => self.machine.answer_checked(i, &content, is_error)?,
                Stage::Open | Stage::Whole | Stage::Left | Stage::Broken => {}
            }
        }
        self.early.goes_on = !self.jobs.is_empty();
        Ok(())
    }

    /// The reply is lost, and with it what its calls gave.
    pub(super) fn lose_early(&mut self) {
        if self.early.has_begun() {
            self.jobs.clear();
        }
        self.early = Early::default();
    }

    /// Starts the turn's other calls beside those that started early.
    pub(super) fn start_beside_early(&mut self) -> Result<(), Error> {
        if core::mem::take(&mut self.early.goes_on) && self.may_start_more() {
            self.start_calls()?;
        }
        Ok(())
    }

    /// Whether there are calls that may start beside those that run.
    pub(super) fn may_start_more(&self) -> bool {
        self.machine.is_calling() && self.machine.next_call().is_some() && self.machine.is_within_limits(self.clock.now())
    }
}

/// What `future` gives, or a call that is done before.
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
