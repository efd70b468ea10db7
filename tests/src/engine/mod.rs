//! The loop in one of its configurations, driven through a scenario.

mod embassy;
mod embedded;
mod server;

use std::sync::Arc;

use toolrunner_core::error::{ApiError, Capacity};

use crate::replay::Replay;
use crate::scenario::Scenario;

pub use embassy::{Embassy, read_piece};
pub use embedded::Embedded;
pub use server::Server;

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// With an error that the server reported.
    Api {
        /// Its `type`.
        kind: String,
        /// Its status.
        status: u16,
    },
    /// With a bound that was reached.
    Capacity(Capacity),
    /// With any other error.
    Error(String),
    /// With a message; that of no reply at all is empty.
    Message {
        /// Why it ended, as the server spells it.
        stop_reason: Option<String>,
        /// Its text blocks, joined.
        text: String,
        /// Names of its calls.
        tool_use: Vec<String>,
    },
}

impl Ending {
    /// With the server's error: its `type` as it is spelled, or what the status stands for if it
    /// has none.
    fn api(spelled: String, error: ApiError) -> Self {
        let kind = if spelled.is_empty() { error.kind.name().to_owned() } else { spelled };
        Self::Api { kind, status: error.status }
    }
}

/// A configuration of the loop that can be driven through scenarios.
pub trait Engine {
    /// What it is called on the command line.
    fn name(&self) -> &'static str;

    /// Bytes of its transcript, if it has a bound that scenarios may reach.
    fn capacity(&self) -> Option<usize> {
        None
    }

    /// Drives a run through the scenario, with `replay` as its other end.
    fn run(&self, scenario: &Scenario, replay: &Arc<Replay>) -> Ending;
}

/// The engine of this name. `capacity`: bytes of the transcript where that is fixed.
pub fn by_name(name: &str, capacity: usize) -> Option<Box<dyn Engine>> {
    match name {
        "std" => Some(Box::new(Server)),
        "embassy" => Some(Box::new(Embassy { capacity })),
        "embedded" => Some(Box::new(Embedded { capacity })),
        _ => None,
    }
}

/// Runs a future to its end on this thread.
fn block_on<F: Future>(future: F) -> F::Output {
    match tokio::runtime::Builder::new_current_thread().enable_time().build() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => unreachable!("a runtime without I/O: {error}"),
    }
}
