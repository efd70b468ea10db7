//! The C interface of the loop in `toolrunner_core::run`: one machine without I/O, in memory that
//! the caller provides.
//!
//! The header is `toolrunner.h`, which cbindgen generates from this crate. `README.md` explains it
//! to C programmers. Rust programs use `toolrunner_core` instead.
//!
//! # Safety
//! All functions have the same contract, which the header states:
//!
//! - A `toolrunner_t *` is null, or points to a `toolrunner_t` that no other thread uses during the
//!   call. All its bytes are zero before [`toolrunner_init`].
//! - A pointer with a length is null, or points to that many initialized bytes, which do not change
//!   during the call. Such bytes must not lie in the memory passed to [`toolrunner_init`]: copy a
//!   lent text before you pass it back. ([`toolrunner_member`], [`toolrunner_element`],
//!   [`toolrunner_integer`], [`toolrunner_number`] and [`toolrunner_unescape`] take lent texts.) A
//!   pointer to a result is null, or points to memory for the result.
//! - The texts of the configuration and the memory, which are passed to [`toolrunner_init`], stay
//!   in place and are not written by anyone else as long as the machine is used.
//!
//! Every `unsafe` block is in `raw.rs`, or is a call of one of its functions.
#![cfg_attr(not(test), no_std)]
#![allow(non_camel_case_types, reason = "types have C's names")]

// The modules are in the order of the header.
mod types;

mod machine;

mod state;

mod request;

mod reply;

mod calls;

mod read;

mod http;
mod raw;
mod words;

pub use calls::*;
pub use machine::*;
pub use read::*;
pub use reply::*;
pub use request::*;
pub use state::*;
pub use types::*;

/// Never runs: `tests/c.py` checks that the libraries contain no panic. With another compiler or
/// profile, a panic stops here and does not unwind into C.
#[cfg(all(panic = "abort", not(test)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // A loop would hang a web page, so raise an exception.
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    loop {
        core::hint::spin_loop();
    }
}
