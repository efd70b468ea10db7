//! What the caller says, and what can be asked.

use core::ffi::c_char;

use toolrunner_core::run::Outcome;

use crate::raw;
use crate::types::*;
use crate::words::{put_error, put_last_text, written};

/// Says something: a user message. Calls that are still open are answered as not run, and the
/// limits count anew. Gives 0 or an error; then nothing was added.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_user(
    machine: *mut toolrunner_t,
    text: *const c_char,
    len: usize,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.run.user(raw::text(text, len)?)?;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Appends a message as JSON, `{"role":…,"content":…}`, or several with commas between. It comes
/// behind the reply and all its results.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_append(
    machine: *mut toolrunner_t,
    messages: *const c_char,
    len: usize,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.run.append(raw::text(messages, len)?)?;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Makes `messages`, a JSON array, the conversation.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_replace_history(
    machine: *mut toolrunner_t,
    messages: *const c_char,
    len: usize,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.run.replace_history(raw::text(messages, len)?)?;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Drops the last reply, with its results if there are any, and asks for it again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_retry(machine: *mut toolrunner_t) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.run.retry()?;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Ends the run where it is. A reply under way is taken back: close its connection. It can go on,
/// by `toolrunner_resume` or when something is said.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_cancel(machine: *mut toolrunner_t) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.has_head = false;
            machine.run.stop();
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Goes on after `toolrunner_cancel`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_resume(machine: *mut toolrunner_t) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.run.resume();
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Why the run is over: one of `TOOLRUNNER_OUTCOME_…`. `detail`: the stop reason or the limit, a
/// constant text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_outcome(
    machine: *mut toolrunner_t,
    detail: *mut toolrunner_text,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let (outcome, text) = match machine.run.outcome() {
                None => (TOOLRUNNER_OUTCOME_NONE, ""),
                Some(Outcome::Ended(reason)) => {
                    (TOOLRUNNER_OUTCOME_ENDED, reason.map_or("", |reason| reason.name()))
                }
                Some(Outcome::Limit(limit)) => {
                    (TOOLRUNNER_OUTCOME_LIMIT, crate::words::limit_name(limit))
                }
                Some(Outcome::NeedsAnswer) => (TOOLRUNNER_OUTCOME_NEEDS_ANSWER, ""),
                Some(Outcome::Stopped) => (TOOLRUNNER_OUTCOME_STOPPED, ""),
                Some(_) => (TOOLRUNNER_OUTCOME_OTHER, ""),
            };
            raw::give(detail, raw::lend(text.as_bytes()));
            Ok(outcome)
        })
    }
}

/// Tokens of all turns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_tokens(
    machine: *mut toolrunner_t,
    usage: *mut toolrunner_usage,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let sum = machine.run.usage();
            let given = toolrunner_usage {
                input_tokens: sum.input_tokens,
                output_tokens: sum.output_tokens,
                cache_creation_input_tokens: sum.cache_creation_input_tokens,
                cache_read_input_tokens: sum.cache_read_input_tokens,
            };
            raw::give(usage, given);
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Replies of the model since the last prompt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_turns(machine: *mut toolrunner_t) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| Ok(i32::try_from(machine.run.turns()).unwrap_or(i32::MAX)))
    }
}

/// The conversation: JSON objects with commas between, without brackets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_messages(
    machine: *mut toolrunner_t,
    messages: *mut toolrunner_text,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            raw::give(messages, raw::lend(machine.run.messages()));
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// The text of the model's last message, unescaped. Writes at most `cap` bytes to `out`, a zero at
/// the end included, and gives how many bytes there are without the zero: if that is `cap` or more,
/// the text was cut.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_last_text(
    machine: *mut toolrunner_t,
    out: *mut c_char,
    cap: usize,
) -> usize {
    // SAFETY: the contract of the crate's documentation.
    let found = unsafe { raw::machine(machine) };
    // SAFETY: the same.
    let out = unsafe { raw::memory(out, cap) };
    written(out, |out| found.map_or(Ok(()), |machine| put_last_text(&machine.run, out)))
}

/// The last error in numbers. `code` is 0 if there was none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_error(
    machine: *mut toolrunner_t,
    error: *mut toolrunner_error_info,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        let Some(machine) = raw::machine(machine) else { return TOOLRUNNER_ERROR_MISUSE };
        raw::give(error, crate::words::info(machine.error));
        TOOLRUNNER_OK
    }
}

/// The last error in words, the server's own included. Writes and gives as `toolrunner_last_text`.
/// It is meant for people, and its text is not fixed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_error_text(
    machine: *mut toolrunner_t,
    out: *mut c_char,
    cap: usize,
) -> usize {
    // SAFETY: the contract of the crate's documentation.
    let found = unsafe { raw::machine(machine) };
    // SAFETY: the same.
    let out = unsafe { raw::memory(out, cap) };
    written(out, |out| match found {
        Some(machine) => put_error(machine, out),
        None => out.put_text("there is no machine"),
    })
}
