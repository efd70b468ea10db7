//! Runs the loop in one of its configurations through a scenario.

mod blocking;
mod embassy;
mod embedded;
mod server;

use std::sync::Arc;

use toolrunner_core::error::{ApiError, Capacity};

use crate::replay::Replay;
use crate::scenario::Scenario;

pub use blocking::Blocking;
pub use embassy::{Client, Embassy, read_piece};
pub use embedded::Embedded;
pub use server::Server;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With an error that the server reported.
    Api {
        /// The `type` of the error.
        kind: String,
        /// The HTTP status.
        status: u16,
    },
    /// With a bound that was exceeded.
    Capacity(Capacity),
    /// With any other error.
    Error(String),
    /// With a message; it is empty if there was no reply.
    Message {
        /// The stop reason, as the server spells it.
        stop_reason: Option<String>,
        /// The text blocks, joined.
        text: String,
        /// The names of the calls.
        tool_use: Vec<String>,
    },
    /// With a message thread that the server lost, after a part of it was freed.
    ThreadLost,
}

impl Ending {
    /// Creates the ending for an API error: with the `type` as the server spelled it, or, if it has
    /// none, the type that corresponds to the status.
    fn api(spelled: String, error: ApiError) -> Self {
        let kind = if spelled.is_empty() { error.kind.name().to_owned() } else { spelled };
        Self::Api { kind, status: error.status }
    }
}

/// A configuration of the loop that can be driven through scenarios.
pub trait Engine {
    /// Returns its name on the command line.
    fn name(&self) -> &'static str;

    /// Returns what this configuration does not offer and the scenario needs, if there is
    /// something.
    fn lacks(&self, scenario: &Scenario) -> Option<&'static str> {
        let _ = scenario;
        None
    }

    /// Returns the size of its transcript in bytes, if scenarios can reach that bound.
    fn capacity(&self) -> Option<usize> {
        None
    }

    /// Drives a run through the scenario, with `replay` as the server.
    fn run(&self, scenario: &Scenario, replay: &Arc<Replay>) -> Ending;
}

/// Returns the engine of this name, if there is one. `capacity` is the size of the transcript in
/// bytes, for engines whose transcript has a fixed size.
pub fn by_name(name: &str, capacity: usize) -> Option<Box<dyn Engine>> {
    match name {
        "std" => Some(Box::new(Server)),
        "blocking" => Some(Box::new(Blocking)),
        "embassy" => Some(Box::new(Embassy { client: Client::Own, capacity })),
        "reqwless" => Some(Box::new(Embassy { client: Client::KeepAlive, capacity })),
        "reqwless-per-request" => Some(Box::new(Embassy { client: Client::PerRequest, capacity })),
        "embedded" => Some(Box::new(Embedded { capacity })),
        _ => None,
    }
}

/// Runs a future to completion on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => unreachable!("a runtime without I/O: {error}"),
    }
}
