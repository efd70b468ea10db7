//! What a run does, told by defmt.

use defmt::{debug, info, trace, warn};
use toolrunner_core::observe::{Event, Observer};

/// Logs what a run does. What is said in the conversation is told at the level `trace` only; keys
/// and header fields never.
///
/// | Level | What |
/// |---|---|
/// | `warn` | a request that is sent again, and why; a tool that failed |
/// | `info` | each request, each tool by its name, why a reply ended and its tokens |
/// | `debug` | blocks, events that are not known |
/// | `trace` | text, thinking, inputs and results |
///
/// Levels are chosen when the firmware is built: `DEFMT_LOG=info`.
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

    /// A log can be told that a reply came again, so a reply that broke off is asked for again.
    fn hands_on(&self) -> bool {
        false
    }
}
