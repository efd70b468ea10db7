//! The calls of a turn: handing them out, deciding about them, and answering them.

use core::ffi::c_char;
use toolrunner_core::__private::{EMPTY_RESULT, invalid_input};

use toolrunner_core::error::{Error, Misuse};
use toolrunner_core::json::Text;
use toolrunner_core::run::{CallInFlight, CallIndex, Run, ToolAnswer, WrittenResult};
use toolrunner_core::schema::RawSchema;
use toolrunner_core::tool::{ToolError, Toolbox};

use crate::machine::{Machine, Tools};
use crate::raw;
use crate::types::*;

/// The result of examining a call before C receives it.
enum CallTarget {
    /// The call was answered, because no tool here can run it.
    Answered,
    /// This tool runs the call; -1 for a member of a toolset.
    Tool(i32),
}

impl Machine {
    /// Returns the next call that C can run. Calls that it cannot run are answered first.
    fn next_call(&mut self) -> Result<Option<(CallIndex, i32)>, Error> {
        while let Some(i) = self.run.next_call() {
            if let CallTarget::Tool(tool) = find(&mut self.run, self.tools, i)?
                && self.run.mark_started(i)
            {
                return Ok(Some((i, tool)));
            }
        }
        Ok(None)
    }

    fn lend_call(&self, i: CallIndex, tool: i32) -> Result<toolrunner_call, Error> {
        let call = self.run.call(i).ok_or(Misuse::NoSuchCall)?;
        let text = |text: Text<'_>| raw::lend(text.raw().as_bytes());
        Ok(toolrunner_call {
            index: u32::try_from(i.get()).unwrap_or(u32::MAX),
            tool,
            id: text(call.id),
            name: text(call.name),
            toolset: call.toolset.map_or(toolrunner_text::EMPTY, text),
            input: raw::lend(call.input.raw()),
        })
    }
}

fn find(run: &mut Run<'_>, tools: Tools, i: CallIndex) -> Result<CallTarget, Error> {
    if run.refuse_bad_input(i)? {
        return Ok(CallTarget::Answered);
    }
    let is_withdrawn = run.is_withdrawn(i);
    let call = run.call(i).ok_or(Misuse::NoSuchCall)?;
    if call.toolset.is_some() {
        return Ok(CallTarget::Tool(-1));
    }
    let Some(tool) = tools.find(call.name).filter(|_| !is_withdrawn) else {
        run.answer_not_found(i)?;
        return Ok(CallTarget::Answered);
    };
    // The definition was checked, so a schema is valid if there is one.
    let schema = tools.schema(tool).and_then(|schema| RawSchema::new(schema.as_json()).ok());
    let wrong = schema.and_then(|schema| schema.check(call.input).err());
    let number = i32::try_from(tool).unwrap_or(-1);
    if wrong.is_none() {
        return Ok(CallTarget::Tool(number));
    }
    let definition = tools.definition(tool);
    let name = definition.as_ref().map_or("", |tool| tool.name);
    let CallInFlight { call, mut out, .. } = run.start_in_place(i)?;
    let result = match schema.map_or(Ok(()), |schema| schema.check(call.input)) {
        Ok(()) => Ok(()),
        Err(error) => Err(invalid_input(name, &error, call.input, &mut out)),
    };
    let written = WrittenResult::new(result, out);
    run.end_in_place(i, written)?;
    Ok(CallTarget::Answered)
}

/// Hands out the next call, after `TOOLRUNNER_STEP_CALL`. Returns 1, 0 if there are no more calls,
/// or an error. The library itself answers calls of unknown tools and calls whose input does not
/// fit the tool's schema. It does not hand them out.
///
/// Several calls may be handed out before the first is answered, and the answers may come in any
/// order. This is the place for an approval gate: answer a call that must not run with `is_error`,
/// and pass a call that a person must decide about to `toolrunner_suspend`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_next_call(
    machine: *mut toolrunner_t,
    call: *mut toolrunner_call,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let Some((i, tool)) = machine.next_call()? else { return Ok(0) };
            raw::give(call, machine.lend_call(i, tool)?);
            Ok(1)
        })
    }
}

/// Answers a call with a text. The text is copied. If it does not fit into the memory, the model
/// receives an error that says so. `is_error` is not 0 if the tool failed or was not allowed to
/// run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_answer(
    machine: *mut toolrunner_t,
    call: u32,
    text: *const c_char,
    len: usize,
    is_error: i32,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let text = raw::text(text, len)?;
            answer(&mut machine.run, place(call), text, is_error != 0)?;
            Ok(TOOLRUNNER_OK)
        })
    }
}

fn answer(run: &mut Run<'_>, i: CallIndex, text: &str, is_error: bool) -> Result<(), Error> {
    let text = match (text, is_error) {
        ("", true) => "Error: not allowed",
        ("", false) => EMPTY_RESULT,
        (text, _) => text,
    };
    let CallInFlight { mut out, .. } = run.start_in_place(i)?;
    // The end of the output reports text that does not fit.
    let _fits = out.text(text);
    let written =
        WrittenResult::new(if is_error { Err(ToolError::written()) } else { Ok(()) }, out);
    run.end_in_place(i, written)
}

/// Answers a call with content in the API's format: a JSON string, or an array of blocks such as
/// images. The content is copied. `is_error` is not 0 if the tool failed or was not allowed to run.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_answer_json(
    machine: *mut toolrunner_t,
    call: u32,
    content: *const c_char,
    len: usize,
    is_error: i32,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let answer = ToolAnswer::ok_json(raw::bytes(content, len)).with_error(is_error != 0);
            machine.run.answer(place(call), answer)?;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Leaves a call undecided that was handed out. When everything else is done, the run ends with
/// `TOOLRUNNER_OUTCOME_NEEDS_ANSWER`. It can be saved as a snapshot meanwhile. `toolrunner_allow`
/// or an answer lets it continue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_suspend(machine: *mut toolrunner_t, call: u32) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let i = place(call);
            machine.run.call(i).filter(|call| !call.is_answered).ok_or(Misuse::NoSuchCall)?;
            machine.run.leave_to_caller(i);
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Returns 1 and the next suspended call, or 0 if there is none. This does not hand the call out.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_suspended(
    machine: *mut toolrunner_t,
    call: *mut toolrunner_call,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let Some(i) = machine.run.call_for_caller() else { return Ok(0) };
            raw::give(call, lend_known(machine, i)?);
            Ok(1)
        })
    }
}

/// Hands out a call that was suspended. It may run now, and must be answered before the next step.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_allow(
    machine: *mut toolrunner_t,
    call: u32,
    given: *mut toolrunner_call,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let i = place(call);
            if !machine.run.is_for_caller(i) {
                return Err(Misuse::NoSuchCall.into());
            }
            machine.run.give_to_tools(i);
            if !machine.run.mark_started(i) {
                return Err(Misuse::NoSuchCall.into());
            }
            raw::give(given, lend_known(machine, i)?);
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Returns a call whose tool exists, or that is of a member of a toolset.
fn lend_known(machine: &Machine, i: CallIndex) -> Result<toolrunner_call, Error> {
    let call = machine.run.call(i).ok_or(Misuse::NoSuchCall)?;
    let tool = if call.toolset.is_some() { None } else { machine.tools.find(call.name) };
    machine.lend_call(i, tool.and_then(|tool| i32::try_from(tool).ok()).unwrap_or(-1))
}

fn place(call: u32) -> CallIndex {
    usize::try_from(call).unwrap_or(usize::MAX).into()
}
