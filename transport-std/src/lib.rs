//! toolrunner on servers: the loop that lets a Claude model use your tools, over hyper and tokio.
//!
//! [`http`] carries bytes: connections kept and shared, TLS with the platform's roots, HTTP/2 where the server offers it,
//! proxies from the environment. [`config`] says whom to ask and as whom. `init_logging` shows what happens.

pub mod client;
pub mod clock;
pub mod config;
mod error;
pub mod http;
#[cfg(feature = "logging")]
mod logging;
mod params;
pub mod run;
#[cfg(feature = "testing")]
pub mod testing;

pub use toolrunner_core as core;

pub use client::Client;
pub use config::{ClientBuilder, Secret, Settings, SetupError};
pub use error::{ApiFailure, Error};
pub use http::{HttpBody, HttpError, HttpTransport};
#[cfg(feature = "logging")]
pub use logging::init_logging;
pub use params::Params;
pub use run::{Decision, Finished, Run, RunBuilder, Turn};
pub use tokio_util::sync::CancellationToken;

pub use toolrunner_core::macros::{ToolInputStd as ToolInput, tool_std as tool, toolbox_std as toolbox};
pub use toolrunner_core::message::{ReplyMessage, StopReason, Usage};
pub use toolrunner_core::observe::Event;
pub use toolrunner_core::policy::{Limit, Limits, RetryPolicy};
pub use toolrunner_core::run::{Compaction, OnBreak, Outcome};
pub use toolrunner_core::tool::{Block, Output, Source, ToolContext, ToolError, ToolInput, Tools};
