//! Board support for the firmware examples: two kinds of emulated boards, and the services that an
//! image uses of the emulating host.
#![no_std]

#[cfg_attr(target_arch = "riscv32", path = "riscv/board.rs")]
pub mod board;
pub mod console;
pub mod executor;
#[cfg(feature = "flash")]
pub mod flash;
pub mod host;
pub mod names;
pub mod network;
pub mod stack;
#[cfg_attr(target_arch = "riscv32", path = "riscv/time.rs")]
pub mod time;
#[cfg(feature = "tls")]
pub mod trust;
