//! The events of a streamed reply, kept one on each line, and secrets that are split over several.

use core::fmt::Write;
use std::borrow::Cow;

use toolrunner_core::__private::{DELTA_TYPES, Growth, check};
use toolrunner_core::json::Value;

use super::hide::Secrets;
use crate::params::quoted;

/// Returns the members of deltas whose pieces form one text.
fn text_members() -> impl Iterator<Item = &'static str> {
    DELTA_TYPES.iter().filter(|delta| delta.growth != Growth::Array).map(|delta| delta.value)
}

/// One server-sent event: its name, and its data as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) name: Option<String>,
    pub(super) data: String,
}

/// Splits a stream into its events and the text after the last one. Returns `None` if the stream
/// could not be written again with the same bytes.
pub(super) fn events(text: &str) -> Option<(Vec<Event>, &str)> {
    let mut events = Vec::new();
    let mut rest = text;
    while let Some((frame, behind)) = rest.split_once("\n\n") {
        let (name, data) = match frame.strip_prefix("event: ") {
            Some(named) => {
                let (name, data) = named.split_once('\n')?;
                (Some(name.to_owned()), data)
            }
            None => (None, frame),
        };
        let data = data.strip_prefix("data: ").filter(|data| !data.contains(['\n', '\r']))?;
        check(data.as_bytes()).ok()?;
        events.push(Event { name, data: data.to_owned() });
        rest = behind;
    }
    (!events.is_empty()).then_some((events, rest))
}

/// Returns the stream with these events.
pub(super) fn stream(events: &[Event], rest: &str) -> String {
    let mut text = String::new();
    for event in events {
        if let Some(name) = &event.name {
            let _ = writeln!(text, "event: {name}");
        }
        let _ = write!(text, "data: {}\n\n", event.data);
    }
    text + rest
}

/// Removes the secrets from events: those within one event, and those that are split over the
/// deltas of one block.
pub(super) fn hide(events: &mut [Event], secrets: &Secrets) {
    let mut grown: Vec<DeltaText> = Vec::new();
    for (i, event) in events.iter_mut().enumerate() {
        if let Some(hidden) = secrets.changed_json(&event.data) {
            event.data = hidden;
        }
        let Some(data) = Value::first(event.data.as_bytes()) else { continue };
        let index = data.member("index").and_then(Value::as_u64);
        let Some(delta) = data.member("delta") else { continue };
        for name in text_members() {
            let Some(piece) = delta.member(name).and_then(Value::as_text) else { continue };
            let piece = piece.to_string();
            match grown.iter_mut().find(|one| one.index == index && one.member == name) {
                Some(one) => one.add(i, &piece),
                None => {
                    let mut one =
                        DeltaText { index, member: name, text: String::new(), events: Vec::new() };
                    one.add(i, &piece);
                    grown.push(one);
                }
            }
        }
    }
    for one in grown {
        let Cow::Owned(hidden) = secrets.text(&one.text) else { continue };
        // The whole text is in the first delta, because the pieces no longer have a meaning.
        for (place, i) in one.events.iter().enumerate() {
            let piece = if place == 0 { hidden.as_str() } else { "" };
            if let Some(data) =
                events.get(*i).and_then(|event| with_piece(event, one.member, piece))
                && let Some(event) = events.get_mut(*i)
            {
                event.data = data;
            }
        }
    }
}

/// The text that the deltas of one block form.
struct DeltaText {
    index: Option<u64>,
    member: &'static str,
    text: String,
    events: Vec<usize>,
}

impl DeltaText {
    fn add(&mut self, event: usize, piece: &str) {
        self.text.push_str(piece);
        self.events.push(event);
    }
}

/// Returns the data of an event with another piece in its delta.
fn with_piece(event: &Event, member: &str, piece: &str) -> Option<String> {
    let old = Value::first(event.data.as_bytes())?.member("delta")?.member(member)?;
    let start = old.offset_in(event.data.as_bytes())?;
    let (before, behind) = event.data.split_at_checked(start)?;
    Some(format!("{before}{}{}", quoted(piece), behind.get(old.raw().len()..)?))
}

/// Returns whether the text that the deltas of a stream form has a secret, for streams whose events
/// cannot be changed.
pub(super) fn has_split_secret(text: &str, secrets: &Secrets) -> bool {
    let data = text.lines().filter_map(|line| line.strip_prefix("data:"));
    let mut events: Vec<Event> = data
        .map(|data| Event { name: None, data: data.trim().to_owned() })
        .filter(|event| check(event.data.as_bytes()).is_ok())
        .collect();
    let before = events.clone();
    hide(&mut events, secrets);
    events != before
}
