//! Serves an agent: sessions over HTTP that survive restarts, event streams that resume, and a command line.

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
pub use cli::main;
pub use server::Options;
pub use time::Timestamp;
