//! Serves an agent: sessions over HTTP that survive restarts, event streams that resume, and a
//! command line.
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
//!     toolrunner_serve::main(Agent::from_env("claude-opus-4-7").system("Be brief.").tools(calculate_sum))
//! }
//! ```
//! The program is a server (`myagent start`, then open <http://127.0.0.1:8000/>) and a client of
//! servers (`myagent --help`). Its HTTP interface is described at `/openapi.json`.
//!
//! # What is durable
//! A session is a record and a log in a [`store`]. Every step of a turn, a reply of the model or
//! the result of a tool, is stored before the next one begins; an answer with status 202 means that
//! the request is stored. If the server dies, this or another server on the same store goes on with
//! the turn from its last step, within some seconds. A model request is made again then. A tool
//! that had started is not: the model is told that nobody knows whether the call had its effect,
//! unless the tool is declared `idempotent`.
//!
//! Only one server works on a turn at a time. Approvals and questions hold no server, no worker and
//! no time-out while they wait.
//!
//! # Layers
//! `http` and `cli` speak to people, `server` drives turns, `engine` computes every change of a
//! session without I/O, `runner` is the only module that knows [`toolrunner_std::Run`], and
//! [`store`] keeps what is computed.

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

/// The code blocks of the README, compiled and run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
