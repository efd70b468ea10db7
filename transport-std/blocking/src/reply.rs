//! The fields of the model's last reply that the conversation does not keep: its id, its model, its
//! stop reason, its usage.

use toolrunner_core::json::Value;
use toolrunner_core::message::ReplyMessage;
use toolrunner_core::observe::Event;
use toolrunner_core::run::Run as Machine;

/// The events of a reply around its content, as JSON.
#[derive(Debug, Default)]
struct Fields {
    start: String,
    stop: String,
}

/// The fields of the last complete reply, and those of the one that is coming.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    coming: Fields,
    whole: Fields,
}

impl Envelope {
    pub(crate) fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::MessageStart { message } => {
                self.coming = Fields { start: message.as_json().to_owned(), stop: String::new() };
            }
            Event::Stop { raw: Some(raw), .. } => raw.as_json().clone_into(&mut self.coming.stop),
            Event::MessageStop => core::mem::swap(&mut self.whole, &mut self.coming),
            _ => {}
        }
    }

    /// Returns the complete message, or `None` if there is none.
    pub(crate) fn message(&self, machine: &Machine<'_>) -> Option<ReplyMessage> {
        let content = machine.last_message()?.content();
        let start = Value::first(self.whole.start.as_bytes())?;
        let stop = Value::first(self.whole.stop.as_bytes()).unwrap_or(Value::NULL);
        let delta = stop.member("delta").unwrap_or(Value::NULL);
        let mut members = vec![("role".to_owned(), "\"assistant\"".to_owned())];
        for (name, value) in start.members() {
            set(&mut members, name.raw(), value);
        }
        for (name, value) in delta.members().filter(|(_, value)| !value.is_null()) {
            set(&mut members, name.raw(), value);
        }
        let mut usage = Vec::new();
        for counts in [start.member("usage"), stop.member("usage")].into_iter().flatten() {
            for (name, value) in counts.members().filter(|(_, value)| !value.is_null()) {
                set(&mut usage, name.raw(), value);
            }
        }
        let usage = object(&usage);
        set(&mut members, "usage", Value::first(usage.as_bytes())?);
        set(&mut members, "content", content);
        ReplyMessage::from_json(&object(&members)).ok()
    }
}

/// Sets a member, whose name is raw JSON.
fn set(members: &mut Vec<(String, String)>, name: &str, value: Value<'_>) {
    let json = value.as_json().to_owned();
    match members.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = json,
        None => members.push((name.to_owned(), json)),
    }
}

fn object(members: &[(String, String)]) -> String {
    let members = members.iter().map(|(name, json)| format!("\"{name}\":{json}"));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}
