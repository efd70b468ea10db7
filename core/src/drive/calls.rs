//! One call of a turn: asked for at the gate, run in the run's own memory as long as it may, and shown to the hook.

use core::pin::pin;

use super::hooks::is_object;
use super::{Decision, Draft, Hooks, before, tell_result, while_wanted};
use crate::error::{Error, Misuse};
use crate::json::Value;
use crate::observe::{Event, Observer};
use crate::run::{Called, Run, settle};
use crate::time::Clock;
use crate::tool::{EMPTY_RESULT, Notice, ToolError, Toolbox};

/// Answers the next call of the turn: asks the gate, and runs its tool in the run's own memory.
pub(super) async fn call<B: Toolbox + ?Sized, C: Clock, H: Hooks, O: Observer>(
    run: &mut Run<'_>,
    tools: &B,
    clock: &C,
    hooks: &H,
    observer: &mut O,
) -> Result<(), Error> {
    let Some(i) = run.next_call() else { return Ok(()) };
    let Some(call) = run.call(i) else { return Err(Misuse::NoSuchCall.into()) };
    let is_asked = !call.is_bad && tools.find(call.name).is_some();
    let decision = if is_asked { hooks.before(&call) } else { Decision::Allow };
    run_call(run, i, decision, tools, clock, hooks, observer).await
}

/// Does with a call what was decided.
pub(super) async fn run_call<B: Toolbox + ?Sized, C: Clock, H: Hooks, O: Observer>(
    run: &mut Run<'_>,
    i: usize,
    decision: Decision<'_>,
    tools: &B,
    clock: &C,
    hooks: &H,
    observer: &mut O,
) -> Result<(), Error> {
    let Some(call) = run.call(i) else { return Err(Misuse::NoSuchCall.into()) };
    observer.see(&Event::ToolStart { id: call.id, name: call.name, input: call.input });
    let name = call.name;
    let found = tools.find(name);
    let declared = found.is_none() && (0..tools.count()).any(|t| tools.definition(t).is_some_and(|tool| name == *tool.name));
    if run.refuse_bad_input(i)? {
    } else if declared || decision == Decision::Suspend {
        run.leave_to_caller(i);
        return Ok(());
    } else if let Some(tool) = found {
        match decision {
            Decision::Answer(text) => answer_text(run, i, text, false)?,
            Decision::Deny(text) => answer_text(run, i, text, true)?,
            Decision::Input(json) if is_object(json).is_err() => run.answer_notice(i, Notice::NotRun)?,
            Decision::Input(json) => run_tool(run, i, tool, Value::first(json.as_bytes()), tools, clock, hooks).await?,
            Decision::Allow | Decision::Suspend => run_tool(run, i, tool, None, tools, clock, hooks).await?,
        }
        hooks.after(&mut Draft::new(run, i));
    } else {
        run.answer_not_found(i)?;
    }
    tell_result(run, i, observer);
    Ok(())
}

/// Runs a tool, as long as it may, in the run's own memory.
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
            None if own.is_none_or(|own| clock.now() < own) && !hooks.grace().is_zero() => before(clock, hooks.grace(), work).await,
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

/// Answers a call with a text that no tool gave.
fn answer_text(run: &mut Run<'_>, i: usize, text: &str, is_error: bool) -> Result<(), Error> {
    let text = match (text, is_error) {
        ("", true) => "Error: not allowed",
        ("", false) => EMPTY_RESULT,
        (text, _) => text,
    };
    let Called { mut out, .. } = run.start_call(i)?;
    let fits = out.text(text);
    let written = settle(fits.map_err(ToolError::from).and(if is_error { Err(ToolError::written()) } else { Ok(()) }), out);
    run.end_call(i, written)
}
