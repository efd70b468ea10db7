//! What the tests of the whole project share, and what its two programs are made of.
//!
//! * [`scenario`]: a conversation in a file: what is asked, what comes back, how it ends.
//! * [`replay`]: the other end of such a conversation, which compares what it is sent.
//! * [`engine`]: the loop in one of its configurations, driven through a scenario.
//! * [`firmware`]: how firmware images are built and who their server is.
//! * [`json`]: whether two JSON texts say the same, and where they do not.

pub mod engine;
pub mod firmware;
pub mod json;
pub mod replay;
pub mod scenario;

use std::sync::Arc;

use engine::{Ending, Engine};
use replay::Replay;
use scenario::Scenario;

/// How one scenario went.
#[derive(Debug, Default)]
pub struct Verdict {
    /// What was not as the scenario has it. Empty: it passed.
    pub differences: Vec<String>,
    /// What a reader should know about a scenario that passed.
    pub note: Option<String>,
}

/// Drives one scenario through `engine` and compares. `cut`: how the bodies of replies are cut;
/// none for whole.
pub fn play(engine: &dyn Engine, scenario: &Arc<Scenario>, cut: Option<replay::Cut>) -> Verdict {
    let replay = Arc::new(Replay::new(Arc::clone(scenario), cut));
    let ending = engine.run(scenario, &replay);
    if let (Ending::Capacity(full), Some(capacity)) = (&ending, engine.capacity())
        && scenario.needed_bytes() > capacity
        && full.needed > full.free
    {
        // It cannot fit: what was asked until then must still be right.
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
