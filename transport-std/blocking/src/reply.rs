//! The fields of the model's last reply that the conversation does not keep: its id, its model, its
//! stop reason, its usage.

use toolrunner_core::json::Value;
use toolrunner_core::message::ReplyMessage;
use toolrunner_core::observe::Event;
use toolrunner_core::run::Run as Machine;

/// Members of a JSON object: names as raw JSON, and values.
type Members = Vec<(String, String)>;

/// The events of a reply around its content.
#[derive(Debug, Default)]
struct Fields {
    /// The message with which the reply began.
    start: String,
    /// The members of all later deltas.
    delta: Members,
    /// The counts of all later deltas, which are cumulative.
    usage: Members,
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
                self.coming = Fields { start: message.as_json().to_owned(), ..Fields::default() };
            }
            // There may be several. What a later one omits, or has as `null`, stays.
            Event::Stop { raw: Some(raw), .. } => {
                add(&mut self.coming.delta, raw.member("delta"));
                add(&mut self.coming.usage, raw.member("usage"));
            }
            Event::MessageStop => core::mem::swap(&mut self.whole, &mut self.coming),
            _ => {}
        }
    }

    /// Returns the complete message, or `None` if there is none.
    pub(crate) fn message(&self, machine: &Machine<'_>) -> Option<ReplyMessage> {
        let Fields { start, delta, usage } = &self.whole;
        let start = Value::first(start.as_bytes()).filter(|_| machine.turns() > 0)?;
        let mut members = Members::new();
        // Some servers omit the role, or have `null` there, but a reply is always the assistant's.
        let own = ["role", "content", "usage"];
        for (name, value) in
            start.members().filter(|(name, _)| !own.iter().any(|own| *name == **own))
        {
            set(&mut members, name.raw(), value.as_json());
        }
        for (name, json) in delta {
            set(&mut members, name, json);
        }
        let mut counts = Members::new();
        add(&mut counts, start.member("usage"));
        for (name, json) in usage {
            set(&mut counts, name, json);
        }
        set(&mut members, "usage", &object(&counts));
        set(&mut members, "role", "\"assistant\"");
        let content = machine.last_message().map_or("[]", |message| message.content().as_json());
        set(&mut members, "content", content);
        ReplyMessage::from_json(&object(&members)).ok()
    }
}

/// Adds the members of an object that are not `null`. An empty string replaces nothing.
fn add(members: &mut Members, object: Option<Value<'_>>) {
    let more = object.map(Value::members).into_iter().flatten();
    for (name, value) in more.filter(|(_, value)| !value.is_null()) {
        let is_known = members.iter().any(|(known, _)| known == name.raw());
        if value.raw() != b"\"\"" || !is_known {
            set(members, name.raw(), value.as_json());
        }
    }
}

/// Sets a member, whose name is raw JSON.
fn set(members: &mut Members, name: &str, json: &str) {
    match members.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => json.clone_into(known),
        None => members.push((name.to_owned(), json.to_owned())),
    }
}

fn object(members: &[(String, String)]) -> String {
    let members = members.iter().map(|(name, json)| format!("\"{name}\":{json}"));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}
