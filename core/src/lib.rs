//! The loop that lets a Claude model use your tools.
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod error;
pub mod json;
pub mod schema;
pub mod time;
pub mod tool;
pub mod transport;
