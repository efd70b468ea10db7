//! The difference between two requests.

use similar::TextDiff;

/// The number of equal lines around a change.
const CONTEXT: usize = 3;

/// Returns a unified diff without a header.
pub(super) fn unified(recorded: &str, sent: &str) -> String {
    TextDiff::from_lines(recorded, sent).unified_diff().context_radius(CONTEXT).to_string()
}
