//! Shows what a run does, with the time of day.

use toolrunner_embassy::machine::json::Value;
use toolrunner_embassy::machine::observe::{Event, Observer};

use crate::Say;
use crate::time::TIME;

/// Writes each whole block of text, each call and each retry as a line.
pub(crate) struct Show(pub(crate) Say);

impl Observer for Show {
    fn see(&mut self, event: &Event<'_>) {
        let line = |line: core::fmt::Arguments<'_>| {
            let now = TIME.unix_seconds_or_zero();
            let (hours, minutes, seconds) = (now / 3600 % 24, now / 60 % 60, now % 60);
            self.0(format_args!("{hours:02}:{minutes:02}:{seconds:02} {line}"));
        };
        match event {
            Event::BlockStop { block, .. } => {
                if let Some(text) = block.member("text").and_then(|text| text.as_text()) {
                    line(format_args!("model: {text}"));
                }
            }
            Event::ToolStart { name, input, .. } => line(format_args!("{name} {}", raw(*input))),
            Event::ToolEnd { content, is_error, .. } => {
                let how = if *is_error { "failed" } else { "gave" };
                line(format_args!("  {how} {}", raw(*content)));
            }
            Event::Retry { error, .. } => line(format_args!("again: {error}")),
            _ => {}
        }
    }

    /// Returns `false`: the output can show a reply twice, so a reply that breaks off may be
    /// requested again.
    fn hands_on(&self) -> bool {
        false
    }
}

/// Returns a value's JSON, which is known to be UTF-8.
fn raw(value: Value<'_>) -> &str {
    core::str::from_utf8(value.raw()).unwrap_or_default()
}
