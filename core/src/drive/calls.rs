//! One call of a turn: decided by the gate, run in the run's own memory within its time limit, and
//! shown to the hook.

use core::pin::pin;

use super::hooks::is_object;
use super::{Decision, Draft, Hooks, before, tell_result, while_wanted};
use crate::error::{Error, Misuse};
use crate::json::Value;
use crate::observe::{Event, Observer};
use crate::run::{Called, Run, settle};
use crate::time::Clock;
use crate::tool::{EMPTY_RESULT, Notice, ToolError, Toolbox};

/// The state of a call before any tool ran.
enum Begun<'h> {
    /// Answered by the loop: no tool has this name, or the input must not reach a tool.
    Answered,
    /// Answered by the gate.
    Decided,
    /// Left to the caller.
    Left,
    /// The tool with this index runs, with this input if it differs from the model's.
    Run(usize, Option<Value<'h>>),
}

/// Answers a call: asks the gate if `is_asked`, and runs the tool in the run's own memory.
pub(super) async fn run_call<B: Toolbox + ?Sized, C: Clock, H: Hooks, O: Observer>(
    run: &mut Run<'_>,
    i: usize,
    is_asked: bool,
    tools: &B,
    clock: &C,
    hooks: &H,
    observer: &mut O,
) -> Result<(), Error> {
    let by_gate = match begin(run, i, is_asked, tools, hooks, observer)? {
        Begun::Left => return Ok(()),
        Begun::Answered => false,
        Begun::Decided => true,
        Begun::Run(tool, input) => {
            run_tool(run, i, tool, input, tools, clock, hooks).await?;
            true
        }
    };
    if by_gate {
        hooks.after(&mut Draft::new(run, i));
    }
    tell_result(run, i, observer);
    Ok(())
}

/// Does everything in [`run_call`] that happens before a tool runs. A gate's decision does not
/// leave this function, so that a gate that only ever allows, such as `()`, removes the rest of it
/// from the program.
fn begin<'h, B: Toolbox + ?Sized, H: Hooks, O: Observer>(
    run: &mut Run<'_>,
    i: usize,
    is_asked: bool,
    tools: &B,
    hooks: &'h H,
    observer: &mut O,
) -> Result<Begun<'h>, Error> {
    let is_withdrawn = run.is_withdrawn(i);
    let Some(call) = run.call(i) else { return Err(Misuse::NoSuchCall.into()) };
    let found = match call.toolset {
        Some(toolset) => tools.find_member(toolset, call.name),
        None => tools.find(call.name).filter(|_| !is_withdrawn),
    };
    let decision = if is_asked && !call.is_bad && found.is_some() {
        hooks.before(&call)
    } else {
        Decision::Allow
    };
    let is_declared = |t| tools.definition(t).is_some_and(|tool| call.name == *tool.name);
    if !call.is_bad
        && found.is_none()
        && !is_withdrawn
        && call.toolset.is_none()
        && (0..tools.count()).any(is_declared)
    {
        run.leave_to_caller(i);
        return Ok(Begun::Left);
    }
    observer.see(&Event::ToolStart { id: call.id, name: call.name, input: call.input });
    if run.refuse_bad_input(i)? {
        return Ok(Begun::Answered);
    }
    if decision == Decision::Suspend {
        run.leave_to_caller(i);
        return Ok(Begun::Left);
    }
    let Some(tool) = found else {
        run.answer_not_found(i)?;
        return Ok(Begun::Answered);
    };
    match decision {
        Decision::Allow | Decision::Suspend => return Ok(Begun::Run(tool, None)),
        Decision::Input(json) if is_object(json).is_ok() => {
            return Ok(Begun::Run(tool, Value::first(json.as_bytes())));
        }
        Decision::Input(_) => run.answer_notice(i, Notice::NotRun)?,
        Decision::Answer(text) => answer_text(run, i, text, false)?,
        Decision::Deny(text) => answer_text(run, i, text, true)?,
    }
    Ok(Begun::Decided)
}

/// Runs a tool within its time limit, in the run's own memory.
async fn run_tool<B: Toolbox + ?Sized, C: Clock, H: Hooks>(
    run: &mut Run<'_>,
    i: usize,
    tool: usize,
    input: Option<Value<'_>>,
    tools: &B,
    clock: &C,
    hooks: &H,
) -> Result<(), Error> {
    let limit = tools.definition(tool).and_then(|tool| tool.timeout);
    let own = limit.map(|limit| clock.now().after(limit));
    let until = [own, run.deadline()].into_iter().flatten().min();
    let Called { mut call, mut out } = run.start_call_with(i, input)?;
    call.deadline = until;
    call.host = hooks.host();
    let result = {
        let mut work = pin!(tools.call(tool, call, &mut out));
        match while_wanted(clock, hooks, until, work.as_mut()).await {
            None if own.is_none_or(|own| clock.now() < own) && !hooks.grace().is_zero() => {
                before(clock, hooks.grace(), work).await
            }
            result => result,
        }
    };
    match result {
        Some(result) => {
            let written = settle(result, out);
            run.end_call(i, written)
        }
        None => {
            let notice = match (limit, own) {
                (Some(limit), Some(own)) if clock.now() >= own => Notice::TimedOut(limit),
                _ => Notice::Cancelled,
            };
            run.answer_notice(i, notice)
        }
    }
}

/// Answers a call with a text that does not come from a tool.
fn answer_text(run: &mut Run<'_>, i: usize, text: &str, is_error: bool) -> Result<(), Error> {
    let text = match (text, is_error) {
        ("", true) => "Error: not allowed",
        ("", false) => EMPTY_RESULT,
        (text, _) => text,
    };
    let Called { mut out, .. } = run.start_call(i)?;
    let fits = out.text(text);
    let written = settle(
        fits.map_err(ToolError::full).and(if is_error {
            Err(ToolError::written())
        } else {
            Ok(())
        }),
        out,
    );
    run.end_call(i, written)
}
