//! Functions for reading JSON, for programs without a parser: the input of a call, the text of an
//! event.

use core::ffi::c_char;

use toolrunner_core::json::{Kind, Text, Value};
use toolrunner_core::tool::{Decoder, ToolInput};

use crate::raw;
use crate::types::*;
use crate::words::written;

/// Finds a member of a JSON object that came from the library. Returns 1 and the value as JSON, or
/// 0 if there is no such member. A string value includes its quotes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_member(
    object: toolrunner_text,
    name: *const c_char,
    value: *mut toolrunner_text,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation, and the name ends with
    // a zero byte.
    unsafe {
        let name = raw::constant(name).ok().flatten().unwrap_or_default();
        let found =
            Value::first(raw::bytes(object.ptr, object.len)).and_then(|object| object.member(name));
        raw::give(value, found.map_or(toolrunner_text::EMPTY, |value| raw::lend(value.raw())));
        i32::from(found.is_some())
    }
}

/// Reads the element at index `i`, counted from 0, of a JSON array that came from the library.
/// Returns 1, or 0 if there are not that many elements.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_element(
    array: toolrunner_text,
    i: usize,
    value: *mut toolrunner_text,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        let found = Value::first(raw::bytes(array.ptr, array.len))
            .filter(|array| array.kind() == Kind::Array)
            .and_then(|array| array.elements().nth(i));
        raw::give(value, found.map_or(toolrunner_text::EMPTY, |value| raw::lend(value.raw())));
        i32::from(found.is_some())
    }
}

/// Reads a JSON number that is an integer. Returns 1, or 0 if it is not a number, not an integer,
/// or too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_integer(json: toolrunner_text, number: *mut i64) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        let found = Value::first(raw::bytes(json.ptr, json.len))
            .and_then(|json| i64::decode(json, &mut Decoder::new(json, &mut [])).ok());
        raw::give(number, found.unwrap_or(0));
        i32::from(found.is_some())
    }
}

/// Reads a JSON number. Returns 1, or 0 if it is not a number, or too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_number(json: toolrunner_text, number: *mut f64) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        let found = Value::first(raw::bytes(json.ptr, json.len))
            .filter(|json| json.kind() == Kind::Number)
            .and_then(|json| toolrunner_core::__private::parse_f64(json.raw()));
        raw::give(number, found.unwrap_or(0.0));
        i32::from(found.is_some())
    }
}

/// Decodes the escapes of a JSON string, with or without its quotes: the text of an event, a name,
/// or a member of an input. Writes at most `cap` bytes to `out`, including a zero byte at the end.
/// Returns the size of the decoded text in bytes without the zero byte, which is never more than
/// the size of `string`. If it is `cap` or more, the text was cut.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_unescape(
    string: toolrunner_text,
    out: *mut c_char,
    cap: usize,
) -> usize {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    let bytes = unsafe { raw::bytes(string.ptr, string.len) };
    // SAFETY: the caller upholds the contract in the crate's documentation.
    let out = unsafe { raw::memory(out, cap) };
    let inside = bytes.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let text = core::str::from_utf8(inside.unwrap_or(bytes)).unwrap_or_default();
    written(out, |out| out.put_meaning(Text::from_raw(text)))
}
