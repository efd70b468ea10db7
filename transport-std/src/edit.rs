//! Edits of JSON objects as text, so that what is not edited stays byte for byte.

use toolrunner_core::json::Value;

use crate::params::quoted;

/// Returns the object with the member `name` set to `value`, or removed if `value` is `None`.
pub(crate) fn set(object: &str, name: &str, value: Option<&str>) -> String {
    let mut out = String::with_capacity(object.len() + name.len() + 16);
    let mut is_done = value.is_none();
    for (known, old) in members(object) {
        let is_this = *known == *name;
        if is_this && is_done {
            continue;
        }
        let new = if is_this { value.unwrap_or_default() } else { old };
        is_done |= is_this;
        push(&mut out, &known, new);
    }
    if let Some(value) = value
        && !is_done
    {
        push(&mut out, name, value);
    }
    if out.is_empty() {
        out.push('{');
    }
    out.push('}');
    out
}

/// Adds a member to an object whose closing brace is not yet written.
pub(crate) fn push(object: &mut String, name: &str, value: &str) {
    object.push(if object.is_empty() { '{' } else { ',' });
    object.push_str(&quoted(name));
    object.push(':');
    object.push_str(value);
}

/// Returns the members of an object: names, and values as JSON.
pub(crate) fn members(
    object: &(impl AsRef<[u8]> + ?Sized),
) -> impl Iterator<Item = (String, &str)> {
    let members = Value::first(object.as_ref()).map(Value::members).into_iter().flatten();
    members.map(|(name, value)| (name.to_string(), value.as_json()))
}

/// Returns the value at this path, as JSON. `null` counts as absent.
pub(crate) fn at<'j>(json: &'j str, path: &[&str]) -> Option<&'j str> {
    let mut value = Value::first(json.as_bytes())?;
    for name in path {
        value = value.member(name)?;
    }
    Some(value.as_json()).filter(|json| *json != "null")
}

/// Returns the text at this path.
pub(crate) fn text(json: &str, path: &[&str]) -> Option<String> {
    Value::first(at(json, path)?.as_bytes())?.as_text().map(|text| text.to_string())
}

/// Returns the elements of an array, as JSON.
pub(crate) fn elements(array: &str) -> impl Iterator<Item = &str> {
    let elements = Value::first(array.as_bytes()).map(Value::elements).into_iter().flatten();
    elements.map(Value::as_json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_set_replaced_or_removed() {
        for (object, name, value, new) in [
            ("{}", "a", Some("1"), r#"{"a":1}"#),
            (r#"{"a": 1e400,"b":2}"#, "b", Some("[]"), r#"{"a":1e400,"b":[]}"#),
            (r#"{"a":1,"b":2,"a":3}"#, "a", Some("4"), r#"{"a":4,"b":2}"#),
            (r#"{"a":1}"#, "a", None, "{}"),
            (r#"{"a":1}"#, "b", None, r#"{"a":1}"#),
        ] {
            assert_eq!(set(object, name, value), new);
        }
    }
}
