//! The fields of a reply besides its content, kept to rebuild the complete message.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use crate::json::Value;
use crate::message::ReplyMessage;
use crate::observe::Event;
use crate::run::{Run, StreamEvent};

/// The length in bytes up to which a message is kept with its content until the run is over,
/// because to find the content takes longer than to copy it.
const MOST_WITH_CONTENT: usize = 2048;

/// The same length for a run that rests.
const MOST_AT_REST: usize = 1024;

/// The fields of the last complete reply, as received.
#[derive(Clone, Debug, Default)]
pub struct Envelope {
    whole: Fields,
    /// The fields of a reply that is under way, and may be dropped.
    coming: Fields,
    /// The last complete reply's content as the model wrote it, if the conversation does not keep
    /// all of it.
    said: Option<Box<[u8]>>,
}

#[derive(Clone, Debug, Default)]
struct Fields {
    /// The message of `message_start`. A reply that is a single JSON document has its content here,
    /// which is not used.
    start: Vec<u8>,
    /// All `message_delta` events, merged.
    delta: Vec<u8>,
}

impl Envelope {
    /// Records an event of a reply.
    pub fn see(&mut self, run: &Run<'_>, stream_event: StreamEvent) {
        match run.peek(stream_event) {
            Event::MessageStart { message } => {
                let Fields { start, delta } = &mut self.coming;
                delta.clear();
                start.clear();
                put_message(start, message, MOST_WITH_CONTENT);
            }
            Event::Stop { raw: Some(raw), .. } => {
                let before = Value::first(&self.coming.delta);
                self.coming.delta =
                    before.map_or_else(|| raw.raw().to_vec(), |before| together(before, raw));
            }
            Event::MessageStop => self.end(),
            _ => {}
        }
        if let Some(said) = run.cut_reply() {
            self.said = Some(said.content().raw().into());
        }
    }

    /// Records that a reply has ended: it is complete, or broke off.
    pub fn end(&mut self) {
        core::mem::swap(&mut self.whole, &mut self.coming);
        self.said = None;
    }

    /// Releases unused memory.
    pub fn shrink_to_fit(&mut self) {
        self.coming = Fields::default();
        if self.whole.start.len() > MOST_AT_REST {
            let start = core::mem::take(&mut self.whole.start);
            put_message(&mut self.whole.start, Value::first(&start).unwrap_or_default(), 0);
        }
        self.whole.start.shrink_to_fit();
        self.whole.delta.shrink_to_fit();
    }

    /// Returns the complete message, or `None` before the first one.
    pub fn message(&self, run: &Run<'_>) -> Option<ReplyMessage> {
        if run.turns() == 0 || self.whole.start.is_empty() {
            return None;
        }
        let kept = || run.last_message().map(|message| message.content());
        let content = self.said.as_deref().and_then(Value::first).or_else(kept);
        let start = Value::first(&self.whole.start)?;
        let event = Value::first(&self.whole.delta);
        let delta = event.and_then(|event| event.member("delta"));
        let later = |name: &str| {
            delta.and_then(|delta| delta.member(name)).filter(|value| is_given(*value))
        };
        let mut json = vec![b'{'];
        // Some servers omit the role, but a reply is always the assistant's.
        push_member(&mut json, "role", b"\"assistant\"");
        let mut has_content = false;
        for (name, value) in start.members().filter(|(name, _)| *name != *"content") {
            if name == *"usage" {
                let last = event.and_then(|event| event.member("usage")).unwrap_or(Value::NULL);
                push_member(&mut json, "usage", &merged(value, last));
                continue;
            }
            if name == *"role" {
                continue;
            }
            if !has_content && name == *"stop_reason" {
                push_content(&mut json, content);
                has_content = true;
            }
            push_member(&mut json, name.raw(), later(name.raw()).unwrap_or(value).raw());
        }
        if !has_content {
            push_content(&mut json, content);
        }
        for (name, value) in delta.map(Value::members).into_iter().flatten() {
            if start.member(name.raw()).is_none() {
                push_member(&mut json, name.raw(), value.raw());
            }
        }
        for (name, value) in event.map(Value::members).into_iter().flatten() {
            if !["type", "delta", "usage"].contains(&name.raw()) {
                push_member(&mut json, name.raw(), value.raw());
            }
        }
        json.push(b'}');
        ReplyMessage::from_json(core::str::from_utf8(&json).ok()?).ok()
    }
}

/// Appends a message to `out`, without its content if it is longer than `most` bytes.
fn put_message(out: &mut Vec<u8>, message: Value<'_>, most: usize) {
    let raw = message.raw();
    let content = if raw.len() > most { message.member("content") } else { None };
    let parts = content.and_then(|content| {
        let (before, rest) = raw.split_at_checked(content.offset_in(raw)?)?;
        Some((before, rest.get(content.raw().len()..)?))
    });
    match parts {
        Some((before, after)) => {
            for part in [before, b"[]", after] {
                out.extend_from_slice(part);
            }
        }
        None => out.extend_from_slice(raw),
    }
}

fn push_content(json: &mut Vec<u8>, content: Option<Value<'_>>) {
    push_member(json, "content", content.map_or(b"[]", Value::raw));
}

fn push_member(json: &mut Vec<u8>, name: &str, value: &[u8]) {
    if json.len() > 1 {
        json.push(b',');
    }
    json.push(b'"');
    json.extend_from_slice(name.as_bytes());
    json.extend_from_slice(b"\":");
    json.extend_from_slice(value);
}

/// Merges two events: a member that the later one omits, or has as `null`, stays. The members of
/// `delta` and `usage` are merged in the same way; counts are cumulative.
fn together(first: Value<'_>, later: Value<'_>) -> Vec<u8> {
    let mut json = vec![b'{'];
    for name in ["delta", "usage"] {
        let [first, later] = [first, later].map(|event| event.member(name).unwrap_or(Value::NULL));
        push_member(&mut json, name, &merged(first, later));
    }
    let others = merged(first, later);
    let others = Value::first(&others).map(Value::members).into_iter().flatten();
    for (name, value) in others.filter(|(name, _)| *name != *"delta" && *name != *"usage") {
        push_member(&mut json, name.raw(), value.raw());
    }
    json.push(b'}');
    json
}

/// Returns whether a value of a later event replaces an earlier one. Gateways write `null` or `""`
/// for a value that they do not have.
fn is_given(value: Value<'_>) -> bool {
    !value.is_null() && value.raw() != b"\"\""
}

/// Merges the members of two objects. If both have a member, the later value is used if it
/// [is given](is_given).
fn merged(first: Value<'_>, later: Value<'_>) -> Vec<u8> {
    let given = |name: &str| later.member(name).filter(|value| is_given(*value));
    let mut json = vec![b'{'];
    for (name, value) in first.members() {
        push_member(&mut json, name.raw(), given(name.raw()).unwrap_or(value).raw());
    }
    for (name, value) in later.members() {
        if first.member(name.raw()).is_none() {
            push_member(&mut json, name.raw(), value.raw());
        }
    }
    json.push(b'}');
    json
}
