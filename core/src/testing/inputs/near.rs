//! One change that makes a value not fit.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;

use super::tree::Tree;
use crate::json::Kind;
use crate::testing::link::Rng;
use crate::testing::text::parse;

/// Values of other types, and values outside of usual bounds.
const OTHER: [&str; 14] = [
    "null",
    "true",
    "\"true\"",
    "0",
    "-1",
    "1.5",
    "1e30",
    "-1e30",
    "\"5\"",
    "\"\"",
    "\"unexpected\"",
    "[]",
    "{}",
    "[null]",
];

/// Changes one value of the tree, and says what it is now.
pub(super) fn change(tree: &mut Tree, rng: &mut Rng) -> Option<String> {
    let mut path = String::new();
    let at = rng.below(tree.len());
    let value = tree.nth(at, &mut path)?;
    let place = if path.is_empty() { "the input".to_string() } else { path };
    let is_root = at == 0;
    if let Tree::Object(members) = value
        && (is_root || rng.chance(700))
    {
        if members.is_empty() || rng.chance(300) {
            members.push(("unexpected".to_string(), Tree::Scalar("1".to_string())));
            return Some(format!("{place} has an unknown member"));
        }
        let (name, _) = members.remove(rng.below(members.len()));
        if rng.chance(700) {
            return Some(format!("{place} has no member {name}"));
        }
        members.push((name.to_uppercase(), Tree::Scalar("1".to_string())));
        return Some(format!("{place} has {name} in capitals"));
    }
    *value = match (value.clone(), rng.below(4)) {
        (value, 0) => Tree::Array(vec![value]),
        (Tree::Array(mut elements), 1 | 2) => {
            match elements.first().cloned() {
                Some(first) if rng.chance(500) => elements.resize(elements.len() + 50, first),
                _ => elements.clear(),
            }
            Tree::Array(elements)
        }
        (Tree::Scalar(json), 1 | 2) => scalar(&json, rng),
        _ => Tree::json(OTHER.get(rng.below(OTHER.len())).copied().unwrap_or("null")),
    };
    Some(format!("{place}: {value}"))
}

/// Returns a value that is like a scalar.
fn scalar(json: &str, rng: &mut Rng) -> Tree {
    match parse(json).kind() {
        Kind::String => {
            let text = parse(json).as_text().unwrap_or_default().to_string();
            match rng.below(4) {
                0 => Tree::text(&text.to_uppercase()),
                1 => Tree::text(&text.repeat(200)),
                2 => Tree::text(text.get(..1).unwrap_or_default()),
                _ => Tree::text(&format!(" {text}")),
            }
        }
        Kind::Number => match rng.below(3) {
            0 => Tree::text(json),
            1 => Tree::Scalar(format!("{}1000000", if json.starts_with('-') { "-" } else { "" })),
            _ => Tree::Scalar(format!("{}.5", json.split('.').next().unwrap_or("1"))),
        },
        _ => Tree::text(json),
    }
}
