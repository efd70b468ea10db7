//! Conversion of C's pointers to Rust's references. Every `unsafe` block of this crate, or the
//! reason for it, is here.

use core::ffi::{CStr, c_char};
use core::slice;

use toolrunner_core::error::{Error, Misuse};

use crate::machine::{Machine, Phase};
use crate::types::{TOOLRUNNER_ERROR_MISUSE, toolrunner_t, toolrunner_text};

/// The first word of a `toolrunner_t` that holds a machine.
pub(crate) const MAGIC: u32 = 0x7472_6d31;

/// The contents of a `toolrunner_t` after its initialization.
#[repr(C)]
pub(crate) struct Instance {
    magic: u32,
    machine: Machine,
}

const _: () = assert!(size_of::<Instance>() <= size_of::<toolrunner_t>());
const _: () = assert!(align_of::<Instance>() <= align_of::<toolrunner_t>());

/// Writes a machine to its place.
///
/// # Safety
/// `place` must not be null, and must satisfy the contract for a `toolrunner_t *` in the crate's
/// documentation.
pub(crate) unsafe fn put(place: *mut toolrunner_t, machine: Machine) {
    // SAFETY: by the caller's contract the place is valid for writes, and the assertions above
    // check that its size and alignment suffice. The previous contents need no drop, because a
    // machine owns nothing without `alloc`.
    unsafe { place.cast::<Instance>().write(Instance { magic: MAGIC, machine }) }
}

/// Returns the machine at `place`, or `None` if there is none.
///
/// # Safety
/// `place` must satisfy the contract for a `toolrunner_t *` in the crate's documentation. The
/// reference must not be used after the call from C ends.
pub(crate) unsafe fn machine<'a>(place: *const toolrunner_t) -> Option<&'a mut Machine> {
    if place.is_null() {
        return None;
    }
    // SAFETY: not null, so by the caller's contract at least the first word is initialized.
    let magic = unsafe { place.cast::<u32>().read() };
    if magic != MAGIC {
        return None;
    }
    // SAFETY: only `put` writes the magic number, together with a machine. By the caller's contract
    // nothing else uses the machine during this call. `place` is const because functions that only
    // read do not change the machine. `&mut` alone does not break this promise.
    Some(unsafe { &mut (*place.cast::<Instance>().cast_mut()).machine })
}

/// Calls `work` with the machine at `place` and returns its code. An error is stored for
/// `toolrunner_error`.
///
/// # Safety
/// The contract is that of [`machine`].
pub(crate) unsafe fn with(
    place: *mut toolrunner_t,
    work: impl FnOnce(&mut Machine) -> Result<i32, Error>,
) -> i32 {
    // SAFETY: the caller's contract is that of `machine`.
    match unsafe { machine(place) } {
        Some(machine) if machine.phase != Phase::Void => match work(machine) {
            Ok(code) => code,
            Err(error) => machine.note(error),
        },
        _ => TOOLRUNNER_ERROR_MISUSE,
    }
}

/// Returns the bytes that C lends for this call. Null is an empty slice.
///
/// # Safety
/// The pointer must satisfy the contract for a pointer with a length in the crate's documentation.
/// The slice must not be used after the call from C ends.
pub(crate) unsafe fn bytes<'a>(start: *const c_char, len: usize) -> &'a [u8] {
    if start.is_null() || len == 0 || isize::try_from(len).is_err() {
        return &[];
    }
    // SAFETY: not null, and not longer than an object can be. By the caller's contract the bytes
    // are initialized and do not change meanwhile.
    unsafe { slice::from_raw_parts(start.cast(), len) }
}

/// Returns the text that C lends for this call.
///
/// # Safety
/// The contract is that of [`bytes`].
pub(crate) unsafe fn text<'a>(start: *const c_char, len: usize) -> Result<&'a str, Error> {
    // SAFETY: the caller's contract is that of `bytes`.
    let bytes = unsafe { bytes(start, len) };
    core::str::from_utf8(bytes).map_err(|_| Misuse::Setting("a text is not UTF-8").into())
}

/// Returns the memory that C lends for writing. Null is an empty slice.
///
/// # Safety
/// The contract is that of [`bytes`]. In addition, nothing else may read or write the memory
/// meanwhile. The bytes need not be initialized: they are zeroed first.
pub(crate) unsafe fn memory<'a>(start: *mut c_char, len: usize) -> &'a mut [u8] {
    if start.is_null() || len == 0 || isize::try_from(len).is_err() {
        return &mut [];
    }
    // SAFETY: not null, and not longer than an object can be. By the caller's contract the memory
    // is valid for writes, and it is zeroed before it becomes a slice.
    unsafe {
        start.write_bytes(0, len);
        slice::from_raw_parts_mut(start.cast(), len)
    }
}

/// Returns a text of a configuration, which ends with a zero byte. Null is `None`.
///
/// # Safety
/// `start` must be null or point to a zero-terminated text that does not change as long as the
/// machine is used.
pub(crate) unsafe fn constant(start: *const c_char) -> Result<Option<&'static str>, Error> {
    if start.is_null() {
        return Ok(None);
    }
    // SAFETY: not null, so by the caller's contract terminated and unchanged.
    let text = unsafe { CStr::from_ptr(start) };
    text.to_str().map(Some).map_err(|_| Misuse::Setting("a text is not UTF-8").into())
}

/// Writes a result to `place`. Does nothing if `place` is null.
///
/// # Safety
/// `place` must satisfy the contract for a pointer to a result in the crate's documentation.
pub(crate) unsafe fn give<T>(place: *mut T, value: T) {
    if !place.is_null() {
        // SAFETY: not null, so by the caller's contract valid for a write and aligned.
        unsafe { place.write(value) }
    }
}

/// Returns a reference to a value that C lends, or `None` if the pointer is null.
///
/// # Safety
/// The contract is that of [`machine`], for a `T`.
pub(crate) unsafe fn lent<'a, T>(place: *const T) -> Option<&'a T> {
    // SAFETY: by the caller's contract null, or initialized, aligned and unchanged meanwhile.
    unsafe { place.as_ref() }
}

/// Returns a text for C that refers to `bytes`.
pub(crate) const fn lend(bytes: &[u8]) -> toolrunner_text {
    toolrunner_text { ptr: bytes.as_ptr().cast(), len: bytes.len() }
}
