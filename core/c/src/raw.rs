//! From C's pointers to Rust's references: every `unsafe` of this crate, or its reason, is here.

use core::ffi::{CStr, c_char};
use core::slice;

use toolrunner_core::error::{Error, Misuse};

use crate::machine::Machine;
use crate::types::{TOOLRUNNER_ERROR_MISUSE, toolrunner_t, toolrunner_text};

/// In the first word of a `toolrunner_t` that holds a machine.
pub(crate) const MAGIC: u32 = 0x7472_6d31;

/// What lies in a `toolrunner_t` after init.
#[repr(C)]
pub(crate) struct Held {
    magic: u32,
    machine: Machine,
}

const _: () = assert!(size_of::<Held>() <= size_of::<toolrunner_t>());
const _: () = assert!(align_of::<Held>() <= align_of::<toolrunner_t>());

/// Puts a machine into its place.
///
/// # Safety
/// `place` is as the crate's documentation says of a `toolrunner_t *`, and not null.
pub(crate) unsafe fn put(place: *mut toolrunner_t, machine: Machine) {
    // SAFETY: by the caller's contract the place is valid for writes, and the assertions above say
    // that size and alignment suffice. What lay there needs no drop: without `alloc` a machine owns
    // nothing.
    unsafe { place.cast::<Held>().write(Held { magic: MAGIC, machine }) }
}

/// The machine at `place`; nothing if there is none.
///
/// # Safety
/// `place` is as the crate's documentation says of a `toolrunner_t *`; the reference is not used
/// after the call from C ends.
pub(crate) unsafe fn machine<'a>(place: *const toolrunner_t) -> Option<&'a mut Machine> {
    if place.is_null() {
        return None;
    }
    // SAFETY: not null, so by the caller's contract initialised for at least its first word.
    let magic = unsafe { place.cast::<u32>().read() };
    if magic != MAGIC {
        return None;
    }
    // SAFETY: only `put` writes the magic number, together with a machine, and by the caller's
    // contract nobody else uses it during this call. The constness of `place` is C's promise that
    // what it asks about does not change, which `&mut` does not break by itself.
    Some(unsafe { &mut (*place.cast::<Held>().cast_mut()).machine })
}

/// Calls `work` with the machine at `place` and gives its code; an error is kept for
/// `toolrunner_error`.
///
/// # Safety
/// As of [`machine`].
pub(crate) unsafe fn with(
    place: *mut toolrunner_t,
    work: impl FnOnce(&mut Machine) -> Result<i32, Error>,
) -> i32 {
    // SAFETY: the caller's contract is that of `machine`.
    match unsafe { machine(place) } {
        Some(machine) if !machine.is_void => match work(machine) {
            Ok(code) => code,
            Err(error) => machine.note(error),
        },
        _ => TOOLRUNNER_ERROR_MISUSE,
    }
}

/// The bytes that C lends for this call. Null is the empty slice.
///
/// # Safety
/// As the crate's documentation says of a pointer with a length; the slice is not used after the
/// call from C ends.
pub(crate) unsafe fn bytes<'a>(start: *const c_char, len: usize) -> &'a [u8] {
    if start.is_null() || len == 0 || isize::try_from(len).is_err() {
        return &[];
    }
    // SAFETY: not null and not longer than an object can be; by the caller's contract initialised
    // and unchanged meanwhile.
    unsafe { slice::from_raw_parts(start.cast(), len) }
}

/// The text that C lends for this call.
///
/// # Safety
/// As of [`bytes`].
pub(crate) unsafe fn text<'a>(start: *const c_char, len: usize) -> Result<&'a str, Error> {
    // SAFETY: the caller's contract is that of `bytes`.
    let bytes = unsafe { bytes(start, len) };
    core::str::from_utf8(bytes).map_err(|_| Misuse::Setting("a text is not UTF-8").into())
}

/// The memory that C lends to be written to. Null is the empty slice.
///
/// # Safety
/// As of [`bytes`], and nobody else reads or writes there meanwhile. The bytes need not be
/// initialised: they are zeroed first.
pub(crate) unsafe fn memory<'a>(start: *mut c_char, len: usize) -> &'a mut [u8] {
    if start.is_null() || len == 0 || isize::try_from(len).is_err() {
        return &mut [];
    }
    // SAFETY: not null and not longer than an object can be; by the caller's contract valid for
    // writes, and zeroed before it is a slice.
    unsafe {
        start.write_bytes(0, len);
        slice::from_raw_parts_mut(start.cast(), len)
    }
}

/// A text of a configuration, which ends with a zero byte. Null is nothing.
///
/// # Safety
/// `start` is null or points to a zero-terminated text that stays as it is as long as the machine
/// is used.
pub(crate) unsafe fn constant(start: *const c_char) -> Result<Option<&'static str>, Error> {
    if start.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, so by the caller's contract terminated and unchanged.
    let text = unsafe { CStr::from_ptr(start) };
    text.to_str().map(Some).map_err(|_| Misuse::Setting("a text is not UTF-8").into())
}

/// Writes a result to where C wants it. Null is nowhere.
///
/// # Safety
/// As the crate's documentation says of a pointer to a result.
pub(crate) unsafe fn give<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: not null, so by the caller's contract valid for a write and aligned.
        unsafe { place.write(value) }
    }
}

/// What C lends to be read, if it is not null.
///
/// # Safety
/// As of [`machine`], for a `T`.
pub(crate) unsafe fn lent<'a, T>(place: *const T) -> Option<&'a T> {
    // SAFETY: by the caller's contract null, or initialised, aligned and unchanged meanwhile.
    unsafe { place.as_ref() }
}

/// Lends bytes to C.
pub(crate) const fn lend(bytes: &[u8]) -> toolrunner_text {
    toolrunner_text { ptr: bytes.as_ptr().cast(), len: bytes.len() }
}
