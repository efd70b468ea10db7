//! The strict form of a schema from schemars: see [`strict`](super::strict).

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value};

use super::strict::is_supported;

const ANY: &str = "any JSON cannot be part of an output: the API requires a schema";
const MAP: &str = "a map cannot be part of an output: the API requires a fixed list of members. Use a list of structs with the key as a member";
const RECURSIVE: &str =
    "a recursive type cannot be an output: use a flat list of items that name their parent";
const COMBINED: &str = "a flattened enum cannot be part of an output: the API requires a fixed list of members. Give the enum a member of its own";
const KEYWORD: &str = "the output's schema has a keyword that the API does not support: a tuple, `not`, `if` or a pattern of members";

/// Makes a schema strict. Keywords that the API does not support move into the description.
pub(super) fn make_strict(schema: &mut Value) -> Result<(), &'static str> {
    let Value::Object(members) = schema else { return Err(ANY) };
    if members.contains_key("$ref") {
        return Err(RECURSIVE);
    }
    if ["prefixItems", "not", "if", "patternProperties", "dependentSchemas", "contains"]
        .into_iter()
        .any(|keyword| members.contains_key(keyword))
    {
        return Err(KEYWORD);
    }
    if let Some(choice) = members.remove("oneOf") {
        members.insert("anyOf".to_string(), choice);
    }
    members.remove("unevaluatedProperties");
    let is_combined = ["anyOf", "allOf"].into_iter().any(|name| members.contains_key(name));
    let is_of = |members: &Map<String, Value>, name: &str| match members.get("type") {
        Some(Value::String(kind)) => kind == name,
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == name),
        _ => false,
    };
    if is_of(members, "object") || members.contains_key("properties") {
        if is_combined {
            return Err(COMBINED);
        }
        if members.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false)) {
            return Err(MAP);
        }
        let Some(Value::Object(properties)) = members.get_mut("properties") else {
            return Err(MAP);
        };
        properties.values_mut().try_for_each(make_strict)?;
        let names: Vec<_> = properties.keys().cloned().map(Value::String).collect();
        members.insert("required".to_string(), Value::Array(names));
        members.insert("additionalProperties".to_string(), Value::Bool(false));
    }
    if is_of(members, "array") {
        make_strict(members.get_mut("items").ok_or(ANY)?)?;
    }
    for name in ["anyOf", "allOf"] {
        if let Some(Value::Array(branches)) = members.get_mut(name) {
            branches.iter_mut().try_for_each(make_strict)?;
        }
    }
    let says_something =
        ["type", "enum", "const"].into_iter().any(|name| members.contains_key(name));
    if !says_something && !is_combined {
        return Err(ANY);
    }
    move_keywords(members);
    Ok(())
}

fn move_keywords(members: &mut Map<String, Value>) {
    const KEPT: [&str; 10] = [
        "type",
        "enum",
        "const",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "anyOf",
        "allOf",
        "description",
    ];
    let is_kept = |name: &str, value: &Value| match name {
        "format" => value.as_str().is_some_and(is_supported),
        "minItems" => value.as_u64().is_some_and(|count| count <= 1),
        "$defs" | "title" => false,
        name => KEPT.contains(&name),
    };
    let mut notes = String::new();
    members.retain(|name, value| {
        let keep = is_kept(name, value);
        if !keep && name != "$defs" && name != "title" {
            let separator = if notes.is_empty() { "" } else { ", " };
            notes.push_str(&alloc::format!("{separator}{name}: {value}"));
        }
        keep
    });
    if !notes.is_empty() {
        let text = match members.get("description").and_then(Value::as_str) {
            Some(text) => alloc::format!("{text} {{{notes}}}"),
            None => alloc::format!("{{{notes}}}"),
        };
        members.insert("description".to_string(), Value::String(text));
    }
}
