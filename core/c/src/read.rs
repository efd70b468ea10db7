//! JSON for programs that have no parser: the input of a call, the text of an event.

use core::ffi::c_char;

use toolrunner_core::json::{Kind, Piece, Sink, Text, Value};
use toolrunner_core::tool::{Decoder, ToolInput};

use crate::raw;
use crate::types::*;
use crate::words::written;

/// Finds a member of a JSON object that the library lent: gives 1 and its value as JSON, or 0 if
/// there is none. A value that is a string has its quotes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_member(
    object: toolrunner_text,
    name: *const c_char,
    value: *mut toolrunner_text,
) -> i32 {
    // SAFETY: the contract of the crate's documentation; the name ends with a zero byte.
    unsafe {
        let name = raw::constant(name).ok().flatten().unwrap_or_default();
        let found = read(raw::bytes(object.ptr, object.len)).and_then(|object| object.member(name));
        raw::give(value, found.map_or(toolrunner_text::EMPTY, |value| raw::lend(value.raw())));
        i32::from(found.is_some())
    }
}

/// The `i`th element of a JSON array that the library lent, counted from 0: gives 1, or 0 if there
/// are not so many.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_element(
    array: toolrunner_text,
    i: usize,
    value: *mut toolrunner_text,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        let found = read(raw::bytes(array.ptr, array.len))
            .filter(|array| array.kind() == Kind::Array)
            .and_then(|array| array.elements().nth(i));
        raw::give(value, found.map_or(toolrunner_text::EMPTY, |value| raw::lend(value.raw())));
        i32::from(found.is_some())
    }
}

/// A JSON number that is whole: gives 1, or 0 if it is no number, not whole, or too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_integer(json: toolrunner_text, number: *mut i64) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        let found = read(raw::bytes(json.ptr, json.len))
            .and_then(|json| i64::decode(json, &mut Decoder::new(json, &mut [])).ok());
        raw::give(number, found.unwrap_or(0));
        i32::from(found.is_some())
    }
}

/// A JSON number: gives 1, or 0 if it is none, or too large.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_number(json: toolrunner_text, number: *mut f64) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        let found = read(raw::bytes(json.ptr, json.len))
            .filter(|json| json.kind() == Kind::Number)
            .and_then(|json| toolrunner_core::json::parse_f64(json.raw()));
        raw::give(number, found.unwrap_or(0.0));
        i32::from(found.is_some())
    }
}

/// What a JSON string means, with its quotes or without them: the text of an event, a name, a
/// member of an input. Writes at most `cap` bytes to `out`, a zero at the end included, and gives
/// how many bytes there are without the zero, never more than `string` has: if that is `cap` or
/// more, the text was cut.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_unescape(
    string: toolrunner_text,
    out: *mut c_char,
    cap: usize,
) -> usize {
    // SAFETY: the contract of the crate's documentation.
    let bytes = unsafe { raw::bytes(string.ptr, string.len) };
    // SAFETY: the same.
    let out = unsafe { raw::memory(out, cap) };
    let inside = bytes.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    let text = core::str::from_utf8(inside.unwrap_or(bytes)).unwrap_or_default();
    written(out, |out| {
        let mut utf8 = [0; 4];
        for piece in Text::from_raw(text).pieces() {
            match piece {
                Piece::Plain(text) => out.put(text.as_bytes())?,
                Piece::Char(c) => out.put(c.encode_utf8(&mut utf8).as_bytes())?,
            }
        }
        Ok(())
    })
}

fn read(json: &[u8]) -> Option<Value<'_>> {
    Value::first(json)
}
