//! The loop that lets a Claude model use your tools, on a microcontroller: the transport, the clock
//! and a store for conversations.
//!
//! The transport is HTTP/1.1, plain or over verified TLS 1.3. It runs on any network stack that
//! implements [`embedded_nal_async::TcpConnect`] and [`embedded_nal_async::Dns`], such as
//! embassy-net. Timeouts and the clock use embassy-time. The crate uses no heap and no `unsafe`.
//!
//! # What a board provides
//! 1. A network stack. With embassy-net, run `Runner::run` in **a task of its own**: joined with
//!    its users in one task, it wakes itself for ever. `StackResources` needs one socket for the
//!    transport, one for DHCP and one for DNS; with too few it panics. One connection is enough:
//!    `TcpClientState<1, TX, RX>`.
//! 2. A time driver for embassy-time. TLS also needs a [`WallClock`] that is set (from an RTC, or
//!    by [`sntp`]) and an [`Entropy`] that is random.
//! 3. Memory: a `static` each for [`Resources`] or [`tls::Resources`] and for the transcript. The
//!    stack needs about 4 KiB without TLS, and 22 KiB with P-384 chains. Place the stack below the
//!    statics, so that an overflow faults; with cortex-m-rt's default layout, an overflow silently
//!    overwrites them.
//! 4. Trust: [`tls::anchors::ANTHROPIC`], or the roots of your own gateway. [`tls`] lists what is
//!    refused.
//!
//! # A complete example
//! ```
//! use embassy_time::Duration;
//! use embedded_nal_async::{Dns, TcpConnect};
//! use toolrunner_embassy::machine::drive::Driver;
//! use toolrunner_embassy::machine::run::Run;
//! use toolrunner_embassy::machine::tool::ToolError;
//! use toolrunner_embassy::machine::transcript::Transcript;
//! use toolrunner_embassy::machine::wire::{Auth, Config};
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
//! // On a board, `resources` and `memory` are statics:
//! // `static R: ConstStaticCell<tls::Resources> = …`.
//! async fn ask(
//!     tcp: &impl TcpConnect, dns: &impl Dns, rtc: impl WallClock, trng: impl Entropy,
//!     resources: &mut tls::Resources, memory: &mut [u8], board: &Board,
//! ) {
//!     let (buffer, records) = resources.split();
//!     let trust = Trust::anchors(tls::anchors::ANTHROPIC);
//!     let security = Security { trust, clock: rtc, entropy: trng };
//!     let handoff = Handoff::new();
//!     let session = core::pin::pin!(tls::session(&handoff, records, tcp, dns, security));
//!     let transport = Transport::new(Secure::new(&handoff, session, buffer), Timeouts::DEFAULT);
//!
//!     let mut driver = Driver::new(CONFIG, transport, board, EmbassyClock::new(1))
//!         .expect("names of tools that the API takes");
//!     let mut run = Run::new(Transcript::new(memory));
//!     run.user("Is it warm in here?").expect("room for the question");
//!     let outcome = driver.until_done(&mut run, &mut ()).await;
//!     # drop(outcome);
//! }
//! ```
//! Without TLS, use [`Plain`] and [`Resources`]:
//! `Transport::new(Plain::new(tcp, dns, &mut resources.buffer), …)`. `examples/firmware` runs this
//! on emulated boards, with a stack, drivers and a memory map.
//!
//! # Limits
//! | What | Size | When full |
//! |---|---|---|
//! | transcript | chosen by the caller | `Capacity(Transcript)`; nothing is lost, and the conversation can be compacted or replaced |
//! | buffer of [`Resources`] | `BUFFER`, 1 KiB | less than [`MIN_BUFFER`], or a `content-length`, `transfer-encoding` or `connection` line that does not fit: `Capacity(Head)`. Other lines that do not fit are skipped; bodies and requests may have any length |
//! | record from the server | `RECORD_IN`, 16,640 bytes | `Capacity(Record)` |
//! | record to the server | `RECORD_OUT`, 1 KiB | too small for the first message of the handshake: `Capacity(Record)` |
//! | certificates of a server | [`tls::MAX_CERTIFICATES`] | the server is refused |
//! | host and port | [`MAX_AUTHORITY`] | `Capacity(Host)` |
//! | simultaneous connections | first parameter of `TcpClientState` | [`Error::Socket`], which is retried |
//! | sockets of the stack | parameter of `StackResources` | embassy-net panics when the first connection is opened |
//!
//! Each `Capacity` holds the size that was needed and the size that was available.
//!
//! The README is a guide for boards: a complete firmware in one file, how much memory it takes, and
//! what to do when a limit is reached.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(test)]
extern crate std;

mod cancel;
mod clock;
mod entropy;
mod error;
#[cfg(feature = "flash")]
pub mod flash;
#[cfg(any(doc, doctest))]
#[doc = include_str!("../README.md")]
pub mod guide {}
mod http;
mod link;
mod lookup;
#[cfg(feature = "embassy-net")]
pub mod net;
#[cfg(feature = "defmt")]
mod observer;
#[cfg(feature = "reqwless")]
pub mod reqwless;
mod resources;
pub mod sntp;
mod target;
#[cfg(feature = "tls")]
pub mod tls;
mod transport;

/// Re-export of the loop. The code that this crate's macros generate refers to it by this path.
pub use toolrunner_core as machine;
/// Implements [`ToolInput`](trait@toolrunner_core::ToolInput). See
/// [`toolrunner_core::ToolInput`](derive@toolrunner_core::ToolInput) for the options.
#[cfg(feature = "macros")]
pub use toolrunner_macros::ToolInputEmbassy as ToolInput;
/// Turns a function into a tool. See [`toolrunner_core::tool`](macro@toolrunner_core::tool) for the
/// options.
#[cfg(feature = "macros")]
pub use toolrunner_macros::tool_embassy as tool;
/// Turns the methods of a type into tools. See
/// [`toolrunner_core::toolbox`](macro@toolrunner_core::toolbox).
#[cfg(feature = "macros")]
pub use toolrunner_macros::toolbox_embassy as toolbox;

pub use cancel::Cancel;
pub use clock::{EmbassyClock, WallClock};
pub use entropy::{Entropy, EntropyError};
pub use error::{ConnectFailure, Error};
pub use link::{Link, Plain};
pub use lookup::{Addresses, Lookup, LookupError, MAX_ADDRESSES};
#[cfg(feature = "defmt")]
pub use observer::DefmtObserver;
pub use resources::Resources;
pub use target::Target;
pub use transport::{MAX_AUTHORITY, MIN_BUFFER, ReplyBody, Timeouts, Transport};
