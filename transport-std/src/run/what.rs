//! What the driver's steps tell, as plain data.

use core::time::Duration;

use toolrunner_core::error::Error as CoreError;
use toolrunner_core::run::Happened;

/// What a step told.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Compacted {
        before: usize,
        after: usize,
    },
    Happened(Happened),
    Request {
        turn: u32,
        attempt: u32,
    },
    Retry {
        attempt: u32,
        wait: Duration,
        error: CoreError,
    },
    ToolEnd(usize),
    ToolStart(usize),
    /// The reply is whole and its connection free again. Not told.
    TurnEnd,
}
