//! The tools of Model Context Protocol (MCP) servers as tools of toolrunner.
//!
//! ```no_run
//! use toolrunner_mcp::McpServer;
//! use toolrunner_std::Client;
//!
//! # async fn f() -> Result<(), Box<dyn std::error::Error>> {
//! let files = McpServer::builder("files").stdio("mcp-server-files", ["/workspace"]).await?;
//! let tools = files.tools().await?;
//! for tool in tools.left_out() {
//!     eprintln!("{tool}");
//! }
//! let mut run = Client::from_env()?.run("claude-opus-4-7").tools(tools).user("What is in there?");
//! while let Some(mut turn) = run.next_turn().await? {
//!     turn.results().await?;
//!     if files.take_change() {
//!         run.set_tools(files.tools().await?)?;
//!     }
//! }
//! files.close().await;
//! # Ok(()) }
//! ```
//! The protocol is spoken by [`rmcp`], the official crate. This crate connects it with toolrunner:
//!
//! - **Definitions.** A tool keeps its name, its description and its schema, and every input is
//!   checked against the schema before it is sent. A name that the API refuses is
//!   [mapped](McpBuilder::prefix). A tool that the API would refuse nevertheless, because of its
//!   schema, is [left out](McpTools::left_out), with a warning in the log.
//! - **Results.** Texts, images (JPEG, PNG, GIF, WebP) and embedded resources (text, PDF, images)
//!   become blocks, as in the official SDKs. A resource link becomes a text with its URI.
//!   Everything else, such as audio, becomes a text that says what was left out; the SDKs fail
//!   there. `isError` becomes a failed result, with its texts. `structuredContent` becomes JSON
//!   text if there is no other content.
//! - **List changes.** [`take_change`](McpServer::take_change) reports that the server announced
//!   another list, which the next request can have by `set_tools`.
//! - **Timeouts and cancellation.** A call that takes longer than
//!   [`timeout`](McpBuilder::timeout), or that the run drops, is cancelled on the server too, by
//!   `notifications/cancelled`.
//! - **A dead server** does not end the run: its calls fail with a text that says so. A lost
//!   connection is not reopened automatically, with one exception: a server that forgot a session
//!   over HTTP gets a new session, and broken event streams are reopened. Otherwise, connect again
//!   and pass the new tools to `set_tools`.
//!
//! Sampling, roots and elicitation are declined: nothing of the conversation goes to a server but
//! the inputs of its calls.

mod builder;
mod content;
mod error;
mod name;
mod server;
mod tools;

pub use builder::McpBuilder;
pub use error::McpError;
pub use server::McpServer;
pub use tools::{McpTools, OmittedTool};

/// Compiles the code blocks of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
