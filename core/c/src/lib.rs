//! The C interface of the loop in `toolrunner_core::run`: one machine without I/O, in memory of the
//! caller's.
//!
//! The header is `toolrunner.h`, made of this crate by cbindgen; `README.md` explains it to C
//! programmers. A Rust program uses `toolrunner_core` itself.
//!
//! # Safety
//! All functions have the same contract, which the header states:
//!
//! - A `toolrunner_t *` is null, or points to a `toolrunner_t` that no other thread uses during the
//!   call. Before [`toolrunner_init`] its bytes are all zero.
//! - A pointer with a length is null, or points to as many bytes that are initialised and do not
//!   change during the call. A pointer to a result is null, or points to a place for it.
//! - What was given at init, the texts of the configuration and the memory, stays in place, and
//!   nobody else writes to it, as long as the machine is used.
//!
//! Every `unsafe` block is in `raw.rs` or is a call of one of its functions.
#![cfg_attr(not(test), no_std)]
#![allow(non_camel_case_types, reason = "types have C's names")]

// In the order of the header.
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

/// Never runs: `tests/c.py` finds no panic in the libraries. With another compiler or profile a
/// panic stops here, and does not unwind into C.
#[cfg(all(panic = "abort", not(test)))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // In a page, where a loop would hang, an exception.
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
    #[cfg(not(target_arch = "wasm32"))]
    loop {
        core::hint::spin_loop();
    }
}
