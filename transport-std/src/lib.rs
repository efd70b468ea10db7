//! toolrunner on servers: the loop that lets a Claude model use your tools, over hyper and tokio.
//!
//! A [`Client`] knows whom to ask, its [`run`](Client::run) says with what, and a [`Run`] goes on
//! to the end, by turns or by events. A tool is a function with [`#[tool]`](macro@tool), or a
//! method of a [`#[toolbox]`](macro@toolbox).
//!
//! ```no_run
//! use toolrunner_std::{Client, tool};
//!
//! /// Add two numbers together.
//! #[tool]
//! async fn calculate_sum(
//!     /// First number
//!     a: i64,
//!     /// Second number
//!     b: i64,
//! ) -> i64 {
//!     a.saturating_add(b)
//! }
//!
//! # async fn f() -> Result<(), toolrunner_std::Error> {
//! let client = Client::from_env()?;
//! let mut run = client.run("claude-opus-4-7").tools(calculate_sum).user("What's 15 + 27?");
//! println!("{}", run.until_done().await?.text());
//! # Ok(()) }
//! ```
//! Clients are shared by cloning. A run belongs to one task: it is `Send` and not `Sync`, so a
//! function that waits and needs one takes `&mut Run`, even if it only reads.
//!
//! [`http`] carries bytes: connections kept and shared, TLS with the platform's roots, HTTP/2 where
//! the server offers it, proxies from the environment. [`config`] says whom to ask and as whom.
//! `init_logging` shows what happens; `otel` exports traces.

pub mod client;
pub mod clock;
pub mod config;
mod error;
mod escaped;
pub mod http;
#[cfg(feature = "logging")]
mod logging;
#[cfg(feature = "otel")]
pub mod otel;
mod params;
pub mod run;
#[cfg(feature = "testing")]
pub mod testing;

pub use toolrunner_core as core;

pub use client::Client;
pub use config::{ClientBuilder, Secret, Settings, SetupError};
pub use error::{ApiFailure, Error, ProtocolFailure};
pub use escaped::Escaped;
pub use http::{HttpBody, HttpError, HttpTransport};
#[cfg(feature = "logging")]
pub use logging::init_logging;
pub use params::Params;
pub use run::{Decision, Finished, Run, RunBuilder, Turn};
pub use tokio_util::sync::CancellationToken;

/// Implements [`ToolInput`](trait@ToolInput) for a struct or an enum, so that tools can take it:
/// see [`toolrunner_core::ToolInput`](derive@toolrunner_core::ToolInput).
#[doc(inline)]
pub use toolrunner_core::macros::ToolInputStd as ToolInput;

/// Makes a tool of a function, sync or async. Its options, and those of its arguments, are those of
/// [`toolrunner_core::tool`](macro@toolrunner_core::tool); here the tool is [`Tools`] too, so its
/// future must be `Send`.
///
/// It takes what is [`ToolInput`](trait@ToolInput), and may return anything that is a
/// [`ToolOutput`](toolrunner_core::tool::ToolOutput) or that serde can write, which the model reads
/// as JSON text; or a `Result` of one and any error that can be displayed.
///
/// ```
/// use toolrunner_std::{ToolError, ToolInput, tool};
///
/// #[derive(ToolInput)]
/// struct Place {
///     city: String,
///     country: Option<String>,
/// }
///
/// #[derive(serde::Serialize)]
/// struct Weather {
///     celsius: f32,
/// }
///
/// /// Get the weather of several places.
/// #[tool(timeout_ms = 10_000)]
/// async fn weather(
///     /// Where
///     #[tool(min_items = 1)]
///     places: Vec<Place>,
/// ) -> Result<Vec<Weather>, ToolError> {
///     Ok(places.iter().map(|_| Weather { celsius: 21.5 }).collect())
/// }
/// ```
#[doc(inline)]
pub use toolrunner_core::macros::tool_std as tool;

/// Makes tools of those methods of an impl block that have `#[tool]`: the type, which owns what it
/// uses, is then [`Tools`]. The methods take `&self`; everything else is as for
/// [`tool`](macro@tool). What changes goes into a lock: calls of one turn run at the same time.
#[doc(inline)]
pub use toolrunner_core::macros::toolbox_std as toolbox;

pub use toolrunner_core::message::{ReplyMessage, StopReason, Usage};
pub use toolrunner_core::observe::Event;
pub use toolrunner_core::policy::{Limit, Limits, RetryPolicy};
pub use toolrunner_core::run::{Compaction, OnBreak, Outcome};
pub use toolrunner_core::tool::{Block, Output, Source, ToolContext, ToolError, ToolInput, Tools};
