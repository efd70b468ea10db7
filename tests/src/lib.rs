//! Shared code of the tests that span packages, and of the programs in this package.
//!
//! * [`scenario`]: a conversation in a file: the requests, the replies, and how it ends.
//! * [`replay`]: the server of such a conversation, which compares the requests that it receives.
//! * [`engine`]: the loop in one of its configurations, driven through a scenario.
//! * [`firmware`]: builds firmware images and configures their server.
//! * [`json`]: compares two JSON texts and reports where they differ.
//! * [`pins`]: reads the tables that name the tests of a feature or a decision.

pub mod engine;
pub mod firmware;
pub mod json;
pub mod pins;
pub mod replay;
pub mod scenario;

use std::sync::Arc;

use engine::{Ending, Engine};
use replay::Replay;
use scenario::Scenario;

/// The result of one scenario.
#[derive(Debug, Default)]
pub struct Verdict {
    /// The differences from the scenario. Empty if it passed.
    pub differences: Vec<String>,
    /// A remark about a scenario that passed.
    pub note: Option<String>,
}

/// Drives one scenario through `engine` and compares. `cut` determines how the bodies of replies
/// are cut; with `None` they arrive whole.
pub fn play(engine: &dyn Engine, scenario: &Arc<Scenario>, cut: Option<replay::Cuts>) -> Verdict {
    let replay = Arc::new(Replay::new(Arc::clone(scenario), cut));
    let ending = engine.run(scenario, &replay);
    if let (Ending::Capacity(full), Some(capacity)) = (&ending, engine.capacity())
        && scenario.needed_bytes() > capacity
        && full.needed > full.free
    {
        // It cannot fit, but the requests up to that point must still be right.
        let note = Some(format!("does not fit in {capacity} bytes: {full}"));
        return Verdict { differences: replay.differences(), note };
    }
    let mut differences = replay.differences();
    differences.extend(replay.missing());
    differences.extend(scenario.compare_ending(&ending));
    let unknown = &scenario.unknown;
    Verdict {
        differences,
        note: (!unknown.is_empty()).then(|| format!("not looked at: {}", unknown.join(", "))),
    }
}
