//! The calls of a turn: handing them out, deciding about them, and answering them.

use core::ffi::c_char;
use toolrunner_core::__private::drive::{denied, start_allowed, start_next, tool_of};
use toolrunner_core::__private::error_of_message;

use toolrunner_core::error::{Error, Misuse};
use toolrunner_core::json::Text;
use toolrunner_core::observe::Event;
use toolrunner_core::run::{CallInFlight, CallIndex, ToolAnswer, WrittenResult};
use toolrunner_core::tool::{Output, ToolError};

use crate::machine::Machine;
use crate::raw;
use crate::types::*;

/// The value of a call that is not handed out.
const NO_CALL: toolrunner_call = toolrunner_call {
    index: 0,
    tool: -1,
    id: toolrunner_text::EMPTY,
    name: toolrunner_text::EMPTY,
    toolset: toolrunner_text::EMPTY,
    input: toolrunner_text::EMPTY,
};

impl Machine {
    fn lend_call(&self, i: CallIndex) -> Result<toolrunner_call, Error> {
        let call = self.run.call(i).ok_or(Misuse::NoSuchCall)?;
        let tool = tool_of(&self.tools, &call).and_then(|tool| i32::try_from(tool).ok());
        let text = |text: Text<'_>| raw::lend(text.raw().as_bytes());
        Ok(toolrunner_call {
            index: u32::try_from(i.get()).unwrap_or(u32::MAX),
            tool: tool.unwrap_or(-1),
            id: text(call.id),
            name: text(call.name),
            toolset: call.toolset.map_or(toolrunner_text::EMPTY, text),
            input: raw::lend(call.input.raw()),
        })
    }

    /// Answers a call with what `write` writes and returns, as a tool does.
    fn answer(
        &mut self,
        call: u32,
        write: impl FnOnce(&mut Output<'_>) -> Result<(), ToolError>,
    ) -> Result<i32, Error> {
        let i = place(call);
        let CallInFlight { mut out, .. } = self.run.start_in_place(i)?;
        let result = write(&mut out);
        let written = WrittenResult::new(result, out);
        self.run.end_in_place(i, written)?;
        Ok(TOOLRUNNER_OK)
    }
}

/// Hands out the next call, after `TOOLRUNNER_STEP_CALL`. Returns 1, 0 if there are no more calls,
/// or an error. The library itself answers calls of unknown tools and calls whose input does not
/// fit the tool's schema. It does not hand them out.
///
/// Several calls may be handed out before the first is answered, and the answers may come in any
/// order. This is the place for an approval gate: pass a call that must not run to
/// `toolrunner_deny`, and a call that a person must decide about to `toolrunner_suspend`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_next_call(
    machine: *mut toolrunner_t,
    call: *mut toolrunner_call,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let Some(i) = start_next(&mut machine.run, &machine.tools)? else { return Ok(0) };
            raw::give(call, machine.lend_call(i)?);
            Ok(1)
        })
    }
}

/// Answers a call with a text. The text is copied. If it does not fit into the memory, the model
/// receives an error that says so. If it is empty, the model receives `(no output)`, or `Error: (no
/// message)`. `is_error` is not 0 if the tool failed.
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
            machine.answer(call, |out| {
                // Core has texts for a tool that wrote nothing.
                if !text.is_empty() {
                    // The end of the output reports text that does not fit.
                    let _fits = out.text(text);
                }
                if is_error == 0 { Ok(()) } else { Err(ToolError::written()) }
            })
        })
    }
}

/// Answers a call whose tool failed with an error of the program's language, such as an exception.
/// The model receives `Error: ` and the message, or `Error: (no message)` if it is empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_answer_failed(
    machine: *mut toolrunner_t,
    call: u32,
    message: *const c_char,
    len: usize,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let message = raw::text(message, len)?;
            machine.answer(call, |out| Err(error_of_message(message, out)))
        })
    }
}

/// Answers a call that must not run, with the reason for the model. If the reason is empty, the
/// model receives `Error: not allowed`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_deny(
    machine: *mut toolrunner_t,
    call: u32,
    reason: *const c_char,
    len: usize,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let reason = raw::text(reason, len)?;
            machine.answer(call, |out| {
                // The end of the output reports text that does not fit.
                let _fits = out.text(reason);
                Err(denied(out))
            })
        })
    }
}

/// Answers a call that the program has no tool for, such as an unknown member of a toolset. The
/// model receives an error that says so.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_not_found(machine: *mut toolrunner_t, call: u32) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.run.answer_not_found(place(call))?;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Answers a call with content in the API's format: a JSON string, or an array of blocks such as
/// images. The content is copied. `is_error` is not 0 if the tool failed.
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

/// Reads the answer to a call, as the model receives it: a JSON string, or an array of blocks.
/// Returns 1, 2 if the answer is an error, or 0 if the call has no answer.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_result(
    machine: *mut toolrunner_t,
    call: u32,
    content: *mut toolrunner_text,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let result = machine.run.tool_end(place(call));
            let Some(Event::ToolEnd { content: answer, is_error, .. }) = result else {
                raw::give(content, toolrunner_text::EMPTY);
                return Ok(0);
            };
            raw::give(content, raw::lend(answer.raw()));
            Ok(if is_error { 2 } else { 1 })
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
            raw::give(call, machine.lend_call(i)?);
            Ok(1)
        })
    }
}

/// Hands out a call that was suspended. It may run now, and must be answered before the next step.
///
/// Returns 0. Returns 1 if the call must not run, because its tool no longer exists or its input
/// does not fit the tool's schema. The library has answered it then, and `given` is empty: get the
/// next step.
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
            if !start_allowed(&mut machine.run, &machine.tools, i)? {
                raw::give(given, NO_CALL);
                return Ok(1);
            }
            raw::give(given, machine.lend_call(i)?);
            Ok(TOOLRUNNER_OK)
        })
    }
}

fn place(call: u32) -> CallIndex {
    usize::try_from(call).unwrap_or(usize::MAX).into()
}
