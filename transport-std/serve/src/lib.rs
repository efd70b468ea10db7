//! Serves an agent over HTTP: sessions that survive restarts, event streams that can be resumed,
//! and a command line.
//!
//! ```no_run
//! use toolrunner_serve::Agent;
//! use toolrunner_std::tool;
//!
//! /// Add two numbers together.
//! #[tool(idempotent)]
//! fn calculate_sum(a: i64, b: i64) -> i64 {
//!     a.saturating_add(b)
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let agent = Agent::from_env("claude-opus-4-7").system("Be brief.").tools(calculate_sum);
//!     toolrunner_serve::main(agent)
//! }
//! ```
//! The program is a server (`myagent start`, then open <http://127.0.0.1:8000/>) and a client for
//! servers (`myagent --help`). `/openapi.json` describes its HTTP interface.
//!
//! # What is durable
//! A session is a record and a log in a [`store`]. Each step of a turn (a reply of the model or the
//! result of a tool) is stored before the next one begins. An answer with status 202 means that the
//! request is stored. If the server dies, this or another server on the same store continues the
//! turn from its last step within seconds. A model request that was under way is sent again. A tool
//! call that had started is not repeated, unless the tool is declared `idempotent`: the model
//! receives the result that it is unknown whether the call had its effect.
//!
//! Only one server works on a turn at a time. While approvals and questions wait, they occupy no
//! server and no worker, and the timeout does not run.
//!
//! # Layers
//! `http` and `cli` are the interfaces, `server` drives turns, `engine` computes every change of a
//! session without I/O, `runner` is the only module that uses [`toolrunner_std::Run`], and
//! [`store`] keeps the results.

mod agent;
mod ask;
mod auth;
mod chat;
mod cli;
mod engine;
mod fold;
mod http;
mod playground;
mod runner;
mod server;
pub mod store;
mod time;
mod tls;

pub use agent::{Agent, Session};
pub use ask::{Answers, Question, ask};
pub use auth::Tokens;
pub use cli::{main, main_with};
pub use server::Options;
pub use time::Timestamp;

/// Compiles and runs the code blocks of the README as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
