//! Which calls start, and in which order a call is refused: the only place that decides it, for
//! calls of a complete reply and for those of a reply that is still streaming.

use core::ops::Deref;

use super::execute::{Env, Execute, Job, is_serial_with};
use super::hooks::Hooks;
use super::progress::{Due, Loop};
use crate::error::Error;
use crate::run::{Call, CallIndex, Run};
use crate::time::Clock;
use crate::tool::Toolbox;

impl<T, C: Clock, H: Hooks, X> Loop<T, C, H, X>
where
    T: Deref<Target: Toolbox>,
    X: Execute<T::Target, H, C>,
{
    /// Returns whether further calls may start beside the running ones.
    pub(super) fn may_start_more(&self, run: &Run<'_>) -> bool {
        self.winding.is_none()
            && run.is_calling()
            && run.next_call().is_some()
            && self.executor.has_room()
            && !self.hooks.is_cancelled()
            && run.is_within_limits(self.clock.now())
    }

    /// Goes through the pending calls of the turn, in order, up to the first that starts or is
    /// refused. Returns that call.
    pub(super) fn start_call(&mut self, run: &mut Run<'_>) -> Result<Option<CallIndex>, Error> {
        for i in run.calls() {
            if !self.executor.has_room() {
                break;
            }
            if !run.is_pending(i) {
                continue;
            }
            let is_withdrawn = run.is_withdrawn(i);
            let Some(call) = run.call(i) else { continue };
            if call.is_bad {
                self.hooks.refused(&call);
                run.refuse_bad_input(i)?;
                self.due = Some(Due::ToolEnd(i));
                return Ok(Some(i));
            }
            let found = self.tool_of(&call).filter(|_| !is_withdrawn);
            match found {
                Some(tool) if self.waits_for_group(run, tool) => {}
                #[cfg(feature = "alloc")]
                Some(_) if run.waits_for_member(i) => {}
                #[cfg(feature = "alloc")]
                Some(_) if run.is_after_failed_member(i) => {
                    run.answer_notice(i, crate::tool::Notice::AfterFailure)?;
                    self.due = Some(Due::ToolEnd(i));
                    return Ok(Some(i));
                }
                Some(tool) => {
                    if run.mark_started(i) {
                        let is_asked = !run.is_allowed(i);
                        self.start(run, i, tool, is_asked)?;
                        return Ok(Some(i));
                    }
                }
                None if !is_withdrawn
                    && call.toolset.is_none()
                    && self.tools.is_declared(call.name) =>
                {
                    run.leave_to_caller(i);
                }
                None => {
                    self.hooks.refused(&call);
                    run.answer_not_found(i)?;
                    self.due = Some(Due::ToolEnd(i));
                    return Ok(Some(i));
                }
            }
        }
        Ok(None)
    }

    /// Starts the first call of the reply under way that may start now, and returns it.
    #[cfg(feature = "alloc")]
    pub(super) fn start_early(&mut self, run: &mut Run<'_>) -> Result<Option<CallIndex>, Error> {
        if !core::mem::take(&mut self.has_news) {
            return Ok(None);
        }
        let now = self.clock.now();
        for i in run.early_calls() {
            if !self.executor.has_room() {
                break;
            }
            // A call that no tool here runs is answered when the reply is complete.
            let Some(tool) = run.early_call(i).and_then(|call| self.tool_of(&call)) else {
                continue;
            };
            if !run.is_withdrawn_early(i)
                && !self.waits_for_group(run, tool)
                && !run.has_earlier_member(i)
                && run.mark_started_early(i, now)
            {
                self.has_news = true;
                let is_asked = !run.is_allowed(i);
                self.start(run, i, tool, is_asked)?;
                return Ok(Some(i));
            }
        }
        Ok(None)
    }

    /// Returns whether a call of the tool's serial group is running.
    fn waits_for_group(&self, run: &Run<'_>, tool: usize) -> bool {
        if !X::BESIDE {
            return false;
        }
        let tool = self.tools.definition(tool).filter(|tool| tool.serial.is_some());
        tool.is_some()
            && run.calls().filter(|&i| run.is_running(i)).any(|i| {
                let other = run.call(i).and_then(|call| self.tool_of(&call));
                is_serial_with(tool, other.and_then(|other| self.tools.definition(other)))
            })
    }

    /// Gives a call that has started in `run` to the executor.
    fn start(
        &mut self,
        run: &Run<'_>,
        call: CallIndex,
        tool: usize,
        is_asked: bool,
    ) -> Result<(), Error> {
        let job = Job { call, tool, is_asked, deadline: run.deadline() };
        let env = Env { tools: &*self.tools, hooks: &self.hooks, clock: &self.clock };
        self.executor.start(run, job, env)
    }

    /// Returns the runnable tool of a call, whether or not it was withdrawn.
    fn tool_of(&self, call: &Call<'_>) -> Option<usize> {
        match call.toolset {
            Some(toolset) => self.tools.find_member(toolset, call.name),
            None => self.tools.find(call.name),
        }
    }
}
