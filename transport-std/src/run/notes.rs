//! What the front end notes while it drives the loop.

use std::collections::VecDeque;

use toolrunner_core::__private::drive::Progress;

use super::fairness::Fairness;
use super::retried::RetryCause;

/// The notes of a run, which start empty.
#[derive(Default)]
pub(super) struct Notes {
    /// Events that are not yet reported.
    pub(super) untold: VecDeque<Progress>,
    /// Whether the request under way was reported as an event.
    pub(super) announced: bool,
    /// The failure of the request that is retried.
    pub(super) retried: Option<Box<RetryCause>>,
    /// Whether the reply made progress since the last wait for its body.
    pub(super) has_progressed: bool,
    /// Whether the cancellation of the run has taken effect.
    pub(super) is_wound_down: bool,
    pub(super) fairness: Fairness,
}
