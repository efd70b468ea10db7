//! An observer that logs by defmt.

use defmt::{debug, info, trace, warn};
use toolrunner_core::observe::{Event, Observer};

/// Logs the progress of a run. The contents of the conversation appear only at level `trace`; keys
/// and header fields are never logged.
///
/// | Level | Logged |
/// |---|---|
/// | `warn` | each request that is sent again, with the error; each tool that failed |
/// | `info` | each request, each call by the name of its tool, the stop reason and tokens of each reply |
/// | `debug` | blocks and unknown events |
/// | `trace` | text, thinking, inputs and results |
///
/// The level is chosen when the firmware is built: `DEFMT_LOG=info`.
#[derive(Clone, Copy, Debug, Default)]
pub struct DefmtObserver;

impl Observer for DefmtObserver {
    fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::Request { turn, attempt } => info!("turn {}, attempt {}", turn, attempt),
            Event::Retry { attempt, wait, error, .. } => {
                warn!(
                    "attempt {} failed ({}), again in {} ms",
                    attempt,
                    error,
                    wait.as_millis() as u64
                )
            }
            Event::ToolStart { name, input, .. } => {
                info!("tool {=str}", name.raw());
                trace!("input {=[u8]:a}", input.raw());
            }
            Event::ToolEnd { name, content, is_error, .. } => {
                if *is_error {
                    warn!("tool {=str} failed", name.raw());
                }
                trace!("result {=[u8]:a}", content.raw());
            }
            Event::Stop { reason, usage, .. } => {
                info!("{}: {} tokens in, {} out", reason, usage.input_tokens, usage.output_tokens)
            }
            Event::BlockStart { index, .. } => debug!("block {} begins", index),
            Event::BlockStop { index, .. } => debug!("block {} is whole", index),
            Event::Unknown { raw } => debug!("unknown event, {} bytes", raw.raw().len()),
            Event::Text { text, .. } | Event::Thinking { text, .. } => trace!("{=str}", text.raw()),
            _ => {}
        }
    }

    /// Returns `false`: a log can show a reply twice, so a reply that breaks off may be requested
    /// again.
    fn hands_on(&self) -> bool {
        false
    }
}
