//! The loop that lets a Claude model use your tools, on a microcontroller: the transport, the
//! clock, and where a conversation is kept.
//!
//! HTTP/1.1, plain or over verified TLS 1.3, on any stack that has
//! [`embedded_nal_async::TcpConnect`] and [`embedded_nal_async::Dns`], embassy-net's for one;
//! time-outs and clock by embassy-time. No heap and no `unsafe`.
//!
//! # What a board brings
//! 1. A stack. With embassy-net: its `Runner::run` is **a task of its own** (joined with its users
//!    in one task it wakes itself for ever), and `StackResources` has one socket for the transport
//!    and one more each for DHCP and DNS (too few panic). One connection is enough:
//!    `TcpClientState<1, TX, RX>`.
//! 2. A time driver for embassy-time, and for TLS a [`tls::WallClock`] that is set (RTC, SNTP) and
//!    a [`tls::Entropy`] that is random.
//! 3. Memory: [`Resources`] or [`tls::Resources`] and the transcript, each a `static`. A stack:
//!    some 4 KiB without TLS, 22 KiB with P-384 chains. Put it below the statics, so that one that
//!    is too deep faults; cortex-m-rt's usual place overwrites them silently.
//! 4. Trust: [`tls::anchors::ANTHROPIC`], or the roots of a gateway of one's own. See [`tls`] for
//!    what is refused.
//!
//! # The whole of it
//! ```
//! use embassy_time::Duration;
//! use embedded_nal_async::{Dns, TcpConnect};
//! use toolrunner_embassy::core::{drive::Driver, run::Run, tool::ToolError, transcript::Transcript, wire::{Auth, Config}};
//! use toolrunner_embassy::{EmbassyClock, Timeouts, Transport, toolbox};
//! use toolrunner_embassy::tls::{self, Entropy, Handoff, Secure, Security, Trust, WallClock};
//!
//! struct Board { /* pins, sensors */ }
//!
//! #[toolbox]
//! impl Board {
//!     /// Read the ambient temperature in degrees Celsius.
//!     #[tool]
//!     async fn temperature(&self) -> Result<f32, ToolError> { Ok(21.5) }
//! }
//!
//! const CONFIG: Config<'static> = Config::new("claude-haiku-4-5", 512).auth(Auth::Key("…"));
//!
//! // On a board, `resources` and `memory` are statics: `static R: ConstStaticCell<tls::Resources> = …`.
//! async fn ask(
//!     tcp: &impl TcpConnect, dns: &impl Dns, rtc: impl WallClock, trng: impl Entropy,
//!     resources: &mut tls::Resources, memory: &mut [u8], board: &Board,
//! ) {
//!     let (buffer, records) = resources.split();
//!     let security = Security { trust: Trust::anchors(tls::anchors::ANTHROPIC), clock: rtc, entropy: trng };
//!     let handoff = Handoff::new();
//!     let session = core::pin::pin!(tls::session(&handoff, records, tcp, dns, security));
//!     let transport = Transport::new(Secure::new(&handoff, session, buffer), Timeouts::DEFAULT);
//!
//!     let mut driver = Driver::new(CONFIG, transport, board, EmbassyClock::new(1)).expect("names of tools that the API takes");
//!     let mut run = Run::new(Transcript::new(memory));
//!     run.user("Is it warm in here?").expect("room for the question");
//!     let outcome = driver.until_done(&mut run, &mut ()).await;
//!     # drop(outcome);
//! }
//! ```
//! Without TLS: `Transport::new(Plain::new(tcp, dns, &mut resources.buffer), …)` with [`Plain`] and
//! [`Resources`]. `examples/firmware` is the same on emulated boards, with a stack, drivers, and a
//! memory map.
//!
//! # What happens when something is full
//! | What | Size | When full |
//! |---|---|---|
//! | transcript | the caller's | `Capacity(Transcript)`; nothing is lost, the conversation can be compacted or replaced |
//! | [`Resources`]' buffer | `BUFFER`, 1 KiB | less than [`MIN_BUFFER`], or a `content-length`, `transfer-encoding` or `connection` line that does not fit: `Capacity(Head)`. Longer lines that are not needed are passed over; bodies and requests may be any length |
//! | record from the server | `RECORD_IN`, 16,640 bytes | `Capacity(Record)` |
//! | record to the server | `RECORD_OUT`, 1 KiB | less than the handshake's first message: `Capacity(Record)` |
//! | certificates of a server | [`tls::MAX_CERTIFICATES`] | refused |
//! | host and port | [`MAX_AUTHORITY`] | `Capacity(Host)` |
//! | connections at the same time | `TcpClientState`'s first number | [`Error::Socket`], tried again |
//! | sockets of the stack | `StackResources`' number | embassy-net panics when the first connection is opened |
//!
//! Each `Capacity` says what was needed and what there was.
//!
//! The README is a guide for boards: a whole firmware in one file, how much memory it takes, and
//! what to do when some of it is full.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod cancel;
mod clock;
mod error;
#[cfg(feature = "flash")]
pub mod flash;
#[cfg(any(doc, doctest))]
#[doc = include_str!("../README.md")]
pub mod guide {}
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
/// Implements [`ToolInput`](trait@toolrunner_core::ToolInput): see
/// [`toolrunner_core::ToolInput`](derive@toolrunner_core::ToolInput).
#[cfg(feature = "macros")]
pub use toolrunner_macros::ToolInputEmbassy as ToolInput;
/// Makes a tool of a function: see [`toolrunner_core::tool`](macro@toolrunner_core::tool), also for
/// its options.
#[cfg(feature = "macros")]
pub use toolrunner_macros::tool_embassy as tool;
/// Makes tools of a board's methods: see
/// [`toolrunner_core::toolbox`](macro@toolrunner_core::toolbox).
#[cfg(feature = "macros")]
pub use toolrunner_macros::toolbox_embassy as toolbox;

pub use cancel::Cancel;
pub use clock::EmbassyClock;
pub use error::Error;
pub use link::{Link, Plain};
#[cfg(feature = "defmt")]
pub use observer::DefmtObserver;
pub use resources::Resources;
pub use target::Target;
pub use transport::{MAX_AUTHORITY, MIN_BUFFER, ReplyBody, Timeouts, Transport};
