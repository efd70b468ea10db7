//! The loop that lets a Claude model use your tools, on a microcontroller: the transport.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(feature = "tls")]
pub mod tls;
