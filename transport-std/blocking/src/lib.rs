//! toolrunner without async: the loop that lets a Claude model use your tools, over ureq and
//! threads, for programs that have no runtime.
//!
//! A [`Client`] holds the server and the credentials, and its [`run`](Client::run) configures a
//! run. A [`Run`] continues until it is done; you drive it by turns or by events, also as
//! iterators. A tool is a function with [`#[tool]`](macro@tool), or a method of a
//! [`#[toolbox]`](macro@toolbox).
//!
//! ```no_run
//! use toolrunner_blocking::{Client, tool};
//!
//! /// Add two numbers together.
//! #[tool]
//! fn calculate_sum(
//!     /// First number
//!     a: i64,
//!     /// Second number
//!     b: i64,
//! ) -> i64 {
//!     a.saturating_add(b)
//! }
//!
//! fn main() -> Result<(), toolrunner_blocking::Error> {
//!     let client = Client::from_env()?;
//!     let mut run = client.run("claude-opus-4-7").tools(calculate_sum).user("What's 15 + 27?");
//!     println!("{}", run.until_done()?.text());
//!     Ok(())
//! }
//! ```
//!
//! The loop is that of [`toolrunner_core`], and runs on the caller's thread. Each request and each
//! call of a tool has a thread of its own, so that a run can wait for the network, for its tools,
//! for its time limits and for its [`Cancellation`] at the same time. If a tool panics, the model
//! receives an error result. A thread cannot be stopped: a tool that exceeds its time limit, or
//! that does not end after a cancellation, is answered without its result, and its thread runs to
//! its end.
//!
//! With tokio, use `toolrunner_std`, which has more: traces, proxies in code, HTTP/2, the API's
//! other endpoints.

mod cancellation;
mod client;
mod clock;
mod error;
mod hooks;
mod params;
pub mod run;
mod threads;
mod tools;
mod transport;

mod secret {
    toolrunner_core::__private::client::secret!();
}

pub use toolrunner_core as machine;

pub use cancellation::Cancellation;
pub use client::{Client, ClientBuilder};
pub use error::{ApiFailure, Error, SetupError};
pub use hooks::{Decision, GatedCall, ResultDraft};
pub use params::Params;
pub use run::{Events, OwnedEvent, Run, RunBuilder, RunEnd, Turn, Turns};
pub use secret::Secret;

/// Implements [`ToolInput`](trait@ToolInput) for a struct or an enum, so that tools can accept it:
/// see [`toolrunner_core::ToolInput`](derive@toolrunner_core::ToolInput).
#[doc(inline)]
pub use toolrunner_core::__private::macros::ToolInputBlocking as ToolInput;

/// Makes a tool of a function. The options of the attribute and of the arguments are those of
/// [`toolrunner_core::tool`](macro@toolrunner_core::tool). Each call runs on a thread of its own,
/// so the function may block; an async function is polled on that thread.
#[doc(inline)]
pub use toolrunner_core::__private::macros::tool_blocking as tool;

/// Makes tools of the methods with `#[tool]` in an impl block. The type then implements [`Tools`]
/// and must own what it uses. The methods take `&self`; put mutable state behind a lock, because
/// calls of one turn run at the same time.
#[doc(inline)]
pub use toolrunner_core::__private::macros::toolbox_blocking as toolbox;

pub use toolrunner_core::message::{ReplyMessage, StopReason, Usage};
pub use toolrunner_core::observe::Event;
pub use toolrunner_core::policy::{Limit, Limits, RetryPolicy};
pub use toolrunner_core::run::{Compaction, MakeRoom, OnBreak, Outcome, ToolAnswer, WhenFull};
pub use toolrunner_core::tool::{
    BoxTools, ContentBlock, DeclaredTool, DynTools, FromText, Json, Output, RawTool, Source,
    ToolContext, ToolError, ToolInput, Tools,
};
pub use toolrunner_core::wire::MessageThread;

/// Compiles the code blocks of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
