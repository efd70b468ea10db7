//! The request's body up to the conversation, made again when something in it changed.

use std::borrow::Cow;

use toolrunner_core::json::{Kind, Value};

use super::Run;
use crate::params::quoted;

impl Run {
    /// The body up to the conversation: parameters in their order, then tools.
    pub(super) fn render_prefix(&mut self) {
        let container = self.machine.container().filter(|_| !self.pins_container());
        let compacts = self.machine.is_compacting_on_server();
        let model = self.summary_model.as_deref().filter(|_| self.summary.is_some() && !compacts);
        if self.prefix.is_some()
            && compacts == self.prefix_compacts
            && container == self.container.as_deref()
            && model == self.prefix_model.as_deref()
        {
            return;
        }
        let mut out = String::from("{");
        let once = |name: &str| self.next_params.json(name);
        let kept = self.params.iter().map(|(name, json)| (name, once(name).unwrap_or(json)));
        let added = self.next_params.iter().filter(|(name, _)| self.params.json(name).is_none());
        for (name, json) in kept.chain(added) {
            let kept = if compacts { kept_by_compaction(name, json) } else { Some(json.into()) };
            let Some(json) = kept else { continue };
            let json = &*json;
            out.push_str(&quoted(name));
            out.push(':');
            match container {
                Some(id) if name == "container" => out.push_str(&with_id(json, id)),
                _ if name == "model" && model.is_some() => {
                    out.push_str(&quoted(model.unwrap_or_default()))
                }
                _ => out.push_str(json),
            }
            out.push(',');
        }
        if let Some(id) = container.filter(|_| self.param("container").is_none()) {
            out.push_str("\"container\":");
            out.push_str(&quoted(id));
            out.push(',');
        }
        if compacts {
            out.push_str("\"compaction\":");
            out.push_str(&self.server_compaction);
            out.push(',');
        }
        if self.stream {
            out.push_str("\"stream\":true,");
        }
        self.toolset.write(&mut out);
        out.push_str("\"messages\":[");
        self.prefix_compacts = compacts;
        self.prefix_model = model.map(str::to_owned);
        self.container = container.map(str::to_owned);
        // What is wrong with it is an error when it is sent.
        let _ = self.machine.note_front(&[out.as_bytes()]);
        self.prefix = Some(out.into_bytes());
    }

    /// What the next request says of this parameter.
    fn param(&self, name: &str) -> Option<&str> {
        self.next_params.json(name).or_else(|| self.params.json(name))
    }

    /// Whether the caller named a container: an id, or an object with one. An object without one
    /// gets that of the reply.
    fn pins_container(&self) -> bool {
        let Some(value) = self.param("container").and_then(|json| Value::first(json.as_bytes()))
        else {
            return false;
        };
        match value.kind() {
            Kind::Null => false,
            Kind::Object => value.member("id").is_some_and(|id| !id.is_null()),
            _ => true,
        }
    }
}

/// What a request that asks for a compaction says of a parameter: nothing of what shapes a reply.
fn kept_by_compaction<'p>(name: &str, json: &'p str) -> Option<Cow<'p, str>> {
    let value = || Value::first(json.as_bytes()).unwrap_or_default();
    match name {
        "context_management" | "stop_sequences" | "output_format" => None,
        "output_config" => Some(without(value(), "format").into()),
        "tool_choice" => {
            let forced = value()
                .member("type")
                .and_then(Value::as_text)
                .is_some_and(|kind| kind == *"any" || kind == *"tool");
            (!forced).then_some(json.into())
        }
        "fallbacks" => {
            let each = value().elements().map(|fallback| match fallback.member("output_config") {
                Some(config) => {
                    let rest = without(fallback, "output_config");
                    let comma = if rest.len() > 2 { "," } else { "" };
                    format!(
                        "{}{comma}\"output_config\":{}}}",
                        &rest[..rest.len() - 1],
                        without(config, "format")
                    )
                }
                None => fallback.as_json().to_owned(),
            });
            let each: Vec<String> = each.collect();
            Some(if each.is_empty() { json.into() } else { format!("[{}]", each.join(",")).into() })
        }
        _ => Some(json.into()),
    }
}

/// An object without one of its members.
fn without(object: Value<'_>, name: &str) -> String {
    let members = object.members().filter(|(key, _)| *key != *name);
    let kept: Vec<String> =
        members.map(|(key, value)| format!("\"{}\":{}", key.raw(), value.as_json())).collect();
    format!("{{{}}}", kept.join(","))
}

/// A container object with this id, and whatever else it had; the id alone for `null`.
fn with_id(json: &str, id: &str) -> String {
    let Some(object) = Value::first(json.as_bytes()).filter(|value| value.kind() == Kind::Object)
    else {
        return quoted(id);
    };
    let mut out = format!("{{\"id\":{}", quoted(id));
    for (name, value) in object.members().filter(|(name, _)| *name != *"id") {
        out.push_str(",\"");
        out.push_str(name.raw());
        out.push_str("\":");
        out.push_str(value.as_json());
    }
    out.push('}');
    out
}
