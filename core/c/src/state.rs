//! The caller's messages and controls, and the state of the run.

use core::ffi::c_char;

use toolrunner_core::run::Outcome;

use crate::machine::Phase;
use crate::raw;
use crate::types::*;
use crate::words::{put_error, put_last_text, written};

/// Appends a user message. Open calls are answered as not run, and the limits count from the
/// beginning again. Returns 0, or an error; then nothing was added.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_user(
    machine: *mut toolrunner_t,
    text: *const c_char,
    len: usize,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.run.user(raw::text(text, len)?)?;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Appends a message as JSON, `{"role":…,"content":…}`, or several messages separated by commas.
/// They follow the reply and all its results.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_append(
    machine: *mut toolrunner_t,
    messages: *const c_char,
    len: usize,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.run.append(raw::text(messages, len)?)?;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Removes the whole conversation, so that the next message begins a new one.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_clear(machine: *mut toolrunner_t) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.run.clear()?;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Replaces the conversation with `messages`, a JSON array.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_replace_history(
    machine: *mut toolrunner_t,
    messages: *const c_char,
    len: usize,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.run.replace_history(raw::text(messages, len)?)?;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Removes the last reply, with its results if there are any, and requests it again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_retry(machine: *mut toolrunner_t) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.run.ask_again()?;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Stops the run at its current state. An unfinished reply is discarded: close its connection. The
/// run continues after `toolrunner_resume` or a new message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_cancel(machine: *mut toolrunner_t) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.phase = Phase::Idle;
            machine.run.stop();
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Continues the run after `toolrunner_cancel`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_resume(machine: *mut toolrunner_t) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.run.resume();
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Returns why the run ended: one of `TOOLRUNNER_OUTCOME_…`. `detail` receives the stop reason or
/// the limit, as a constant text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_outcome(
    machine: *mut toolrunner_t,
    detail: *mut toolrunner_text,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let (outcome, text) = match machine.run.outcome() {
                None => (TOOLRUNNER_OUTCOME_NONE, ""),
                Some(Outcome::Ended(reason)) => {
                    (TOOLRUNNER_OUTCOME_ENDED, reason.map_or("", |reason| reason.name()))
                }
                Some(Outcome::Limit(limit)) => (TOOLRUNNER_OUTCOME_LIMIT, limit.text()),
                Some(Outcome::NeedsAnswer) => (TOOLRUNNER_OUTCOME_NEEDS_ANSWER, ""),
                Some(Outcome::Stopped) => (TOOLRUNNER_OUTCOME_STOPPED, ""),
                Some(_) => (TOOLRUNNER_OUTCOME_OTHER, ""),
            };
            raw::give(detail, raw::lend(text.as_bytes()));
            Ok(outcome)
        })
    }
}

/// Reads the number of tokens of all turns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_tokens(
    machine: *mut toolrunner_t,
    usage: *mut toolrunner_usage,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
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

/// Returns the number of the model's replies since the last prompt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_turns(machine: *mut toolrunner_t) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| Ok(i32::try_from(machine.run.turns()).unwrap_or(i32::MAX)))
    }
}

/// Reads the conversation: JSON objects separated by commas, without brackets.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_messages(
    machine: *mut toolrunner_t,
    messages: *mut toolrunner_text,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            raw::give(messages, raw::lend(machine.run.messages()));
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Writes the text of the model's last message to `out`, without escapes. Writes at most `cap`
/// bytes, including a zero byte at the end. Returns the size of the text in bytes without the zero
/// byte. If it is `cap` or more, the text was cut.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_last_text(
    machine: *mut toolrunner_t,
    out: *mut c_char,
    cap: usize,
) -> usize {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    let found = unsafe { raw::machine(machine) };
    // SAFETY: the caller upholds the contract in the crate's documentation.
    let out = unsafe { raw::memory(out, cap) };
    written(out, |out| found.map_or(Ok(()), |machine| put_last_text(&machine.run, out)))
}

/// Reads the numbers of the last error. `code` is 0 if there was none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_error(
    machine: *mut toolrunner_t,
    error: *mut toolrunner_error_info,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        let Some(machine) = raw::machine(machine) else { return TOOLRUNNER_ERROR_MISUSE };
        raw::give(error, crate::words::info(machine.error));
        TOOLRUNNER_OK
    }
}

/// Writes the message of the last error to `out`, including the server's own message. Writes at
/// most `cap` bytes, including a zero byte at the end. Returns the size of the message in bytes
/// without the zero byte. If it is `cap` or more, the message was cut. The message is for people,
/// and its wording may change.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_error_text(
    machine: *mut toolrunner_t,
    out: *mut c_char,
    cap: usize,
) -> usize {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    let found = unsafe { raw::machine(machine) };
    // SAFETY: the caller upholds the contract in the crate's documentation.
    let out = unsafe { raw::memory(out, cap) };
    written(out, |out| match found {
        Some(machine) => put_error(machine, out),
        None => out.put_text("the machine pointer is not valid"),
    })
}
