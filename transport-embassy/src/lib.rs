//! The loop that lets a Claude model use your tools, on a microcontroller: the transport.
//!
//! HTTP/1.1, plain or over verified TLS 1.3, on any stack that has [`embedded_nal_async::TcpConnect`] and
//! [`embedded_nal_async::Dns`], embassy-net's for one; time-outs and clock by embassy-time. No heap and no `unsafe`.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod clock;
mod error;
#[cfg(feature = "flash")]
pub mod flash;
mod http;
mod link;
#[cfg(feature = "defmt")]
mod observer;
mod resources;
mod target;
#[cfg(feature = "tls")]
pub mod tls;
mod transport;

/// The loop itself. Code that the macros of this crate write names it by this path.
pub use toolrunner_core as core;
#[cfg(feature = "macros")]
pub use toolrunner_macros::{ToolInputEmbassy as ToolInput, tool_embassy as tool, toolbox_embassy as toolbox};

pub use clock::EmbassyClock;
pub use error::Error;
pub use link::{Link, Plain};
#[cfg(feature = "defmt")]
pub use observer::DefmtObserver;
pub use resources::Resources;
pub use target::Target;
pub use transport::{MAX_AUTHORITY, ReplyBody, Timeouts, Transport};
