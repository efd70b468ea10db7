//! The loop that lets a Claude model use your tools.
#![no_std]

#[cfg(feature = "alloc")]
extern crate alloc;
#[cfg(any(feature = "std", test))]
extern crate std;

pub mod drive;
pub mod error;
pub mod json;
pub mod message;
pub mod observe;
pub mod policy;
pub mod run;
#[cfg(feature = "testing")]
pub mod testing;
pub mod time;
pub mod tool;
pub mod transcript;
pub mod transport;
mod turn;
pub mod wire;
