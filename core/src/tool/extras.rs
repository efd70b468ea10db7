//! The code that a program links only if its tools use it.
//!
//! An error and a definition point to the functions that only some of them need. Nothing else
//! refers to these functions, so that the linker omits them from a program that never enables them.
//!
//! The documentation of each `enable_…` states the bytes of flash that a program without the
//! feature saves on a Cortex-M4. `tests/no-panic/extras.py` measures them.

use super::error::{self, WriteBlocks};
use super::toolbox::{self, Check};

/// 784 bytes: errors that consist of blocks.
pub(super) const fn enable_error_blocks() -> WriteBlocks {
    error::write_blocks
}

/// 1,648 bytes: definitions that the caller wrote. Those that the macros generate are correct by
/// construction, and need no check.
pub(super) const fn enable_definition_check() -> Check {
    toolbox::check_definition
}
