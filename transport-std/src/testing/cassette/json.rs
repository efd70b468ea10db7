//! JSON text in three forms: compact, pretty, and pretty with sorted members, to be compared.

use core::fmt::Write;

use toolrunner_core::json::{Kind, Value};

use crate::params::quoted;

/// The longest array of numbers or short strings that is written on one line, in bytes.
const LINE: usize = 100;

/// Appends `value` without white space. `string` writes each string, including the names of
/// members, and `number` each number.
pub(super) fn compact(
    value: Value<'_>,
    edit: &impl Fn(Value<'_>) -> Option<String>,
    out: &mut String,
) {
    match value.kind() {
        Kind::Object => {
            out.push('{');
            for (i, (name, member)) in value.members().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                let name = format!("\"{}\"", name.raw());
                let changed = Value::first(name.as_bytes()).and_then(edit);
                out.push_str(changed.as_deref().unwrap_or(&name));
                out.push(':');
                compact(member, edit, out);
            }
            out.push('}');
        }
        Kind::Array => {
            out.push('[');
            for (i, element) in value.elements().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                compact(element, edit, out);
            }
            out.push(']');
        }
        _ => match edit(value) {
            Some(changed) => out.push_str(&changed),
            None => out.push_str(value.as_json()),
        },
    }
}

/// Appends `value` with one member or element on each line. The elements of `events`, which are
/// many, have one line each.
pub(super) fn pretty(value: Value<'_>, depth: usize, out: &mut String) {
    match value.kind() {
        Kind::Object if value.members().next().is_some() => {
            out.push('{');
            for (i, (name, member)) in value.members().enumerate() {
                let _ = write!(out, "{}\"{}\": ", line(i, depth + 1), name.raw());
                if name == *"events" {
                    events(member, depth + 1, out);
                } else {
                    pretty(member, depth + 1, out);
                }
            }
            let _ = write!(out, "{}}}", line(0, depth));
        }
        Kind::Array if !fits(value) => {
            out.push('[');
            for (i, element) in value.elements().enumerate() {
                out.push_str(&line(i, depth + 1));
                pretty(element, depth + 1, out);
            }
            let _ = write!(out, "{}]", line(0, depth));
        }
        Kind::Array => {
            let elements: Vec<&str> = value.elements().map(Value::as_json).collect();
            let _ = write!(out, "[{}]", elements.join(", "));
        }
        Kind::Object => out.push_str("{}"),
        _ => out.push_str(value.as_json()),
    }
}

fn events(list: Value<'_>, depth: usize, out: &mut String) {
    out.push('[');
    for (i, event) in list.elements().enumerate() {
        out.push_str(&line(i, depth + 1));
        compact(event, &|_| None, out);
    }
    let _ = write!(out, "{}]", line(0, depth));
}

/// Returns whether an array is written on one line.
fn fits(array: Value<'_>) -> bool {
    array.elements().all(|element| element.kind() == Kind::Number)
        || (array.raw().len() <= LINE
            && array
                .elements()
                .all(|element| !matches!(element.kind(), Kind::Array | Kind::Object)))
}

/// Returns the beginning of the line of the element at `i`.
fn line(i: usize, depth: usize) -> String {
    format!("{}\n{}", if i > 0 { "," } else { "" }, "  ".repeat(depth))
}

/// Returns `value` with sorted members, so that two values that differ only in the order of their
/// members are the same text. `ignored` are JSON pointers of values that are replaced.
pub(super) fn comparable(value: Value<'_>, ignored: &[String]) -> String {
    let mut sorted = String::new();
    sort(value, &mut String::new(), ignored, &mut sorted);
    let mut out = String::new();
    if let Some(value) = Value::first(sorted.as_bytes()) {
        pretty(value, 0, &mut out);
    }
    out
}

fn sort(value: Value<'_>, path: &mut String, ignored: &[String], out: &mut String) {
    if ignored.contains(path) {
        out.push_str("\"[ignored]\"");
        return;
    }
    let len = path.len();
    match value.kind() {
        Kind::Object => {
            let mut members: Vec<_> =
                value.members().map(|(name, member)| (name.to_string(), member)).collect();
            members.sort_by(|(left, _), (right, _)| left.cmp(right));
            out.push('{');
            for (i, (name, member)) in members.into_iter().enumerate() {
                let _ = write!(out, "{}{}:", if i > 0 { "," } else { "" }, quoted(&name));
                let _ = write!(path, "/{}", name.replace('~', "~0").replace('/', "~1"));
                sort(member, path, ignored, out);
                path.truncate(len);
            }
            out.push('}');
        }
        Kind::Array => {
            out.push('[');
            for (i, element) in value.elements().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                let _ = write!(path, "/{i}");
                sort(element, path, ignored, out);
                path.truncate(len);
            }
            out.push(']');
        }
        // One form of each string, whatever it escapes.
        Kind::String => {
            out.push_str(&quoted(&value.as_text().unwrap_or_default().to_string()));
        }
        _ => out.push_str(value.as_json()),
    }
}
