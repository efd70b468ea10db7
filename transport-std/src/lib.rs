//! toolrunner for servers: the loop that lets a Claude model use your tools, over hyper and tokio.
//!
//! A [`Client`] holds the server and the credentials, and its [`run`](Client::run) configures a
//! run. A [`Run`] continues until it is done; you drive it by turns or by events. A tool is a
//! function with [`#[tool]`](macro@tool), or a method of a [`#[toolbox]`](macro@toolbox).
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
//! Clones of a client share its connections. A run belongs to one task: it is `Send` but not
//! `Sync`, so an async function that needs a run takes `&mut Run`, even if it only reads.
//!
//! The [`guide`] shows how things are done. [`http`] carries bytes: pooled connections, TLS with
//! the platform's roots, HTTP/2 if the server offers it, and proxies from the environment.
//! [`config`] has the server and the credentials. `init_logging` logs to stderr; `otel` exports
//! traces. `builtin` has a memory, a shell, a text editor, the SDKs' agent toolset, and the
//! toolsets for a computer and for a browser, each as a feature.

pub mod api;
#[cfg(any(
    feature = "memory",
    feature = "text-editor",
    feature = "bash",
    feature = "agent-toolset",
    feature = "computer",
    feature = "browser"
))]
pub mod builtin;
pub mod client;
pub mod clock;
pub mod config;
mod deprecated;
mod edit;
mod error;
pub mod fallback;
pub mod guide;
pub mod http;
pub mod identity;
mod lock;
#[cfg(feature = "logging")]
mod logging;
#[cfg(feature = "otel")]
pub mod otel;
mod params;
mod rate_limits;
pub mod run;
#[cfg(feature = "testing")]
pub mod testing;

pub use toolrunner_core as machine;

pub use api::{ApiReply, ApiRequest};
pub use client::Client;
pub use config::{ClientBuilder, Secret, Settings, SetupError};
pub use deprecated::DEPRECATED_MODELS;
pub use error::{ApiFailure, Error, ProtocolFailure};
pub use http::{HttpBody, HttpError, HttpTransport};
#[cfg(feature = "logging")]
pub use logging::init_logging;
pub use params::Params;
pub use rate_limits::{RateLimit, RateLimits};
pub use run::{
    Content, Decision, GatedCall, Injector, OwnedEvent, ResultDraft, Run, RunBuilder, RunEnd,
    RunStream, ToMessages, TokenCount, ToolResult, ToolResults, TraceParent, Turn,
};
pub use tokio_util::sync::CancellationToken;

/// This crate escapes its log messages and error messages in this way.
///
/// ```
/// use toolrunner_std::EscapedText;
///
/// assert_eq!(EscapedText("first\nsecond \u{1b}[31m").to_string(), r"first\nsecond \u{1b}[31m");
/// ```
#[doc(inline)]
pub use toolrunner_core::__private::client::EscapedText;

/// Implements [`ToolInput`](trait@ToolInput) for a struct or an enum, so that tools can accept it:
/// see [`toolrunner_core::ToolInput`](derive@toolrunner_core::ToolInput).
#[doc(inline)]
pub use toolrunner_core::__private::macros::ToolInputStd as ToolInput;

/// Makes a tool of a sync or async function. The options of the attribute and of the arguments are
/// those of [`toolrunner_core::tool`](macro@toolrunner_core::tool). The tool implements [`Tools`]
/// too, so its future must be `Send`.
///
/// Each argument is a [`ToolInput`](trait@ToolInput). The function returns a
/// [`ToolOutput`], or any value that serde can serialize, which
/// is sent to the model as JSON text, or a `Result` of one of these and any error that implements
/// `Display`.
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
pub use toolrunner_core::__private::macros::tool_std as tool;

/// Makes tools of the methods with `#[tool]` in an impl block. The type then implements [`Tools`]
/// and must own what it uses. The methods take `&self`; everything else is as for
/// [`tool`](macro@tool). Put mutable state behind a lock, because calls of one turn run
/// concurrently.
#[doc(inline)]
pub use toolrunner_core::__private::macros::toolbox_std as toolbox;

pub use toolrunner_core::message::{
    Block, Message, OwnedMessage, ReplyMessage, Role, StopReason, Usage,
};
pub use toolrunner_core::observe::Event;
pub use toolrunner_core::policy::{Limit, Limits, RetryPolicy};
pub use toolrunner_core::run::{
    Call, Compaction, MakeRoom, OnBreak, Outcome, ToolAnswer, WhenFull,
};
pub use toolrunner_core::structured::StructuredResult;
pub use toolrunner_core::tool::{
    BoxTools, ContentBlock, DeclaredTool, Definition, DynTools, FromText, Json, Output, RawTool,
    Source, ToolContext, ToolError, ToolInput, ToolOutput, Tools,
};
pub use toolrunner_core::wire::MessageThread;

/// Compiles the code blocks of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
