//! Lenient reading of an input, for models that write an argument in the wrong form.
//!
//! A tool must enable this, because it is a guess. Only the tool's own arguments are converted, not
//! the values inside them.

use alloc::string::{String, ToString};

use super::raw::types_of;
use super::{Schema, Shape, Types};
use crate::json::{Kind, Text, Value, check, same};

/// The values that an argument allows.
struct AllowedValues {
    types: Types,
    /// Whether the argument is optional and must not be `null`.
    null_is_missing: bool,
}

/// Converts the input of a tool with this schema. Returns `None` if there is nothing to convert.
///
/// A string is replaced by the JSON that it contains where a number, a boolean, an array or an
/// object is expected: `"5"`, `"[1,2]"`. `null` counts as a missing argument if the argument is
/// optional and must not be `null`.
pub fn lenient(schema: &Schema, input: Value<'_>) -> Option<String> {
    let Shape::Object { properties, .. } = schema.shape else { return None };
    read(input, &|name| {
        let property = properties.iter().find(|property| name == *property.name)?;
        let types = property.schema.types();
        Some(AllowedValues {
            types,
            null_is_missing: !property.is_required() && !types.has(Types::NULL),
        })
    })
}

/// Converts the input of a tool whose schema is JSON Schema text. Returns `None` if there is
/// nothing to convert. The rules are those of [`lenient`].
pub(crate) fn lenient_raw(schema: Value<'_>, input: Value<'_>) -> Option<String> {
    let properties = schema.member("properties")?;
    let required = schema.member("required").unwrap_or_default();
    read(input, &|name| {
        let (known, rule) = properties.members().find(|(known, _)| same(*known, name))?;
        let types = rule.member("type").map_or(Types::NONE, types_of);
        let is_required =
            required.elements().filter_map(Value::as_text).any(|other| same(other, known));
        let allows_null = types == Types::NONE
            || types.has(Types::NULL)
            || rule.member("nullable").and_then(Value::as_bool) == Some(true);
        Some(AllowedValues { types, null_is_missing: !is_required && !allows_null })
    })
}

fn read(input: Value<'_>, wanted: &dyn Fn(Text<'_>) -> Option<AllowedValues>) -> Option<String> {
    let (mut json, mut changed) = (String::from("{"), false);
    for (name, value) in input.members() {
        let wanted = wanted(name);
        if value.is_null() && wanted.as_ref().is_some_and(|wanted| wanted.null_is_missing) {
            changed = true;
            continue;
        }
        let meant = wanted.and_then(|wanted| meant(value, wanted.types));
        changed |= meant.is_some();
        let comma = if json.len() > 1 { ",\"" } else { "\"" };
        for part in [comma, name.raw(), "\":", meant.as_deref().unwrap_or_else(|| value.as_json())]
        {
            json.push_str(part);
        }
    }
    json.push('}');
    changed.then_some(json)
}

/// Returns the JSON inside a string if it has one of the types and the string itself does not.
fn meant(value: Value<'_>, types: Types) -> Option<String> {
    if value.kind() != Kind::String || types == Types::NONE || types.has(Types::STRING) {
        return None;
    }
    let text = value.as_text()?.to_string();
    check(text.as_bytes()).ok().filter(|checked| checked.lone_surrogate.is_none())?;
    let inside = Value::first(text.as_bytes())?;
    (inside.kind() != Kind::String && types.fit(inside)).then(|| inside.as_json().to_string())
}
