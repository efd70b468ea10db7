//! Which calls start, and in which order a call is refused. Only this file decides it, both for
//! calls of a complete reply and for those of a reply that is still streaming. The drivers and the
//! C interface use it.

use core::ops::Deref;

use super::execute::{Env, Execute, Job, is_serial_with};
use super::hooks::Hooks;
use super::progress::{Due, Loop};
use crate::error::{Error, Misuse};
use crate::json::Value;
use crate::run::{Call, CallInFlight, CallIndex, Run, WrittenResult};
use crate::schema::RawSchema;
use crate::time::Clock;
use crate::tool::{Toolbox, check_input};

/// What happened to a call of a complete reply before its gate and its tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admission {
    /// It has started, for the tool with this index.
    Started(usize),
    /// It was answered with an error, because no tool may receive it.
    Refused,
}

/// Starts or refuses a call if it is pending. Returns `None` if it is not, if it must wait for
/// another call, or if its tool is only declared: then the call is left to the caller.
///
/// `waits` returns whether a call of this tool must wait for another call. `refused` sees a call
/// before it is refused because of its input, or because its tool does not exist.
fn admit<B: Toolbox + ?Sized>(
    run: &mut Run<'_>,
    tools: &B,
    i: CallIndex,
    waits: impl Fn(&Run<'_>, usize) -> bool,
    refused: impl Fn(&Call<'_>),
) -> Result<Option<Admission>, Error> {
    if !run.is_pending(i) {
        return Ok(None);
    }
    let is_withdrawn = run.is_withdrawn(i);
    let Some(call) = run.call(i) else { return Ok(None) };
    if call.is_bad {
        refused(&call);
        run.refuse_bad_input(i)?;
        return Ok(Some(Admission::Refused));
    }
    match tool_of(tools, &call).filter(|_| !is_withdrawn) {
        Some(tool) if waits(run, tool) => Ok(None),
        #[cfg(feature = "alloc")]
        Some(_) if run.waits_for_member(i) => Ok(None),
        #[cfg(feature = "alloc")]
        Some(_) if run.is_after_failed_member(i) => {
            run.answer_notice(i, crate::tool::Notice::AfterFailure)?;
            Ok(Some(Admission::Refused))
        }
        Some(tool) => Ok(run.mark_started(i).then_some(Admission::Started(tool))),
        None if !is_withdrawn && call.toolset.is_none() && tools.is_declared(call.name) => {
            run.leave_to_caller(i);
            Ok(None)
        }
        None => {
            refused(&call);
            run.answer_not_found(i)?;
            Ok(Some(Admission::Refused))
        }
    }
}

/// Starts the next call that may run, for a caller that runs the tools itself. Returns `None` if no
/// call may run now. Before that, answers the calls that no tool may receive, and those whose input
/// does not fit the `input_schema` of the tool's definition.
///
/// # Errors
/// `Misuse` if the turn cannot be answered now: during a request, or while a summary is in
/// progress. `Capacity` if an answer does not fit.
pub fn start_next(
    run: &mut Run<'_>,
    tools: &(impl Toolbox + ?Sized),
) -> Result<Option<CallIndex>, Error> {
    for i in run.calls() {
        if start(run, tools, i)? {
            return Ok(Some(i));
        }
    }
    Ok(None)
}

/// Starts call `i`, which was left to the caller, by the rules of [`start_next`]. Returns `false`
/// if it does not run now: it was answered, its tool is only declared, or an earlier member of its
/// toolset comes first.
///
/// # Errors
/// `Misuse` if call `i` does not wait for the caller, and those of [`start_next`].
pub fn start_allowed(
    run: &mut Run<'_>,
    tools: &(impl Toolbox + ?Sized),
    i: CallIndex,
) -> Result<bool, Error> {
    if !run.is_for_caller(i) {
        return Err(Misuse::NoSuchCall.into());
    }
    run.allow(i);
    start(run, tools, i)
}

/// Starts call `i` if it is pending and a tool may receive its input. Returns whether it started.
fn start(run: &mut Run<'_>, tools: &(impl Toolbox + ?Sized), i: CallIndex) -> Result<bool, Error> {
    // Before anything changes: a caller may ask at any time.
    if run.is_pending(i) {
        run.open_call(i)?;
    }
    match admit(run, tools, i, |_, _| false, |_| {})? {
        Some(Admission::Started(tool)) => fits_schema(run, tools, i, tool),
        Some(Admission::Refused) | None => Ok(false),
    }
}

/// Returns whether the input of call `i`, which has started, fits the `input_schema` of its tool's
/// definition. If not, answers the call with an error.
fn fits_schema(
    run: &mut Run<'_>,
    tools: &(impl Toolbox + ?Sized),
    i: CallIndex,
    tool: usize,
) -> Result<bool, Error> {
    let Some(tool) = tools.definition(tool) else { return Ok(true) };
    let schema = Value::first(tool.json.as_bytes()).and_then(|tool| tool.member("input_schema"));
    let Some(schema) = schema.map(RawSchema::of) else { return Ok(true) };
    let CallInFlight { call, mut out, .. } = run.start_in_place(i)?;
    let checked = check_input(tool.name, Some(schema), call.input, &mut out);
    let Err(error) = checked else { return Ok(true) };
    let written = WrittenResult::new(Err(error), out);
    run.end_in_place(i, written)?;
    Ok(false)
}

/// Returns the runnable tool of a call, whether or not it was withdrawn.
pub fn tool_of(tools: &(impl Toolbox + ?Sized), call: &Call<'_>) -> Option<usize> {
    match call.toolset {
        Some(toolset) => tools.find_member(toolset, call.name),
        None => tools.find(call.name),
    }
}

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
        if !self.executor.has_room() {
            return Ok(None);
        }
        let waits = |run: &Run<'_>, tool| self.waits_for_group(run, tool);
        let refused = |call: &Call<'_>| self.hooks.refused(call);
        for i in run.calls() {
            match admit(run, &*self.tools, i, waits, refused)? {
                None => continue,
                Some(Admission::Refused) => self.due = Some(Due::ToolEnd(i)),
                Some(Admission::Started(tool)) => {
                    let is_asked = !run.is_allowed(i);
                    self.start(run, i, tool, is_asked)?;
                }
            }
            return Ok(Some(i));
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
            let Some(tool) = run.early_call(i).and_then(|call| tool_of(&*self.tools, &call)) else {
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
                let other = run.call(i).and_then(|call| tool_of(&*self.tools, &call));
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
}
