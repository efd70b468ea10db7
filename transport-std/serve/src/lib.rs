//! Serves an agent: sessions over HTTP that survive restarts, event streams that resume, and a command line.

pub mod store;
mod time;

pub use time::Timestamp;
