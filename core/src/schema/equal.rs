//! Comparison of two JSON values.

use core::cmp::Ordering;

use crate::json::{Array, Kind, Object, Value, compare, same};

/// The maximum nesting that is compared. Deeper values count as different.
const DEPTH: usize = 16;

/// The values of one level that remain to be compared.
enum Level<'a, 'b> {
    /// Elements, in order.
    Arrays(Array<'a>, Array<'b>),
    /// Members of the first object. They may be in any order in the second.
    Objects(Object<'a>, Value<'b>),
}

/// Returns whether two values are equal by the rules of JSON Schema: numbers by value, strings by
/// their decoded text, and members in any order.
pub(super) fn equal(a: Value<'_>, b: Value<'_>) -> bool {
    let mut levels: [Option<Level<'_, '_>>; DEPTH] = [const { None }; DEPTH];
    let mut depth = 0_usize;
    let (mut a, mut b) = (a, b);
    loop {
        let inside = match (a.kind(), b.kind()) {
            (Kind::Array, Kind::Array) => Some(Level::Arrays(a.elements(), b.elements())),
            (Kind::Object, Kind::Object) if a.members().count() == b.members().count() => {
                Some(Level::Objects(a.members(), b))
            }
            _ if scalars(a, b) => None,
            _ => return false,
        };
        if let Some(level) = inside {
            let Some(slot) = levels.get_mut(depth) else { return false };
            *slot = Some(level);
            depth += 1;
        }
        // Find the next pair, and leave the levels that have no more.
        loop {
            let Some(top) = depth.checked_sub(1) else { return true };
            let next = match levels.get_mut(top) {
                Some(Some(Level::Arrays(left, right))) => match (left.next(), right.next()) {
                    (None, None) => None,
                    (Some(a), Some(b)) => Some((a, b)),
                    _ => return false,
                },
                Some(Some(Level::Objects(left, right))) => match left.next() {
                    None => None,
                    Some((name, a)) => {
                        match right.members().find(|(other, _)| same(*other, name)) {
                            Some((_, b)) => Some((a, b)),
                            None => return false,
                        }
                    }
                },
                _ => None,
            };
            if let Some((next_a, next_b)) = next {
                (a, b) = (next_a, next_b);
                break;
            }
            depth = top;
        }
    }
}

fn scalars(a: Value<'_>, b: Value<'_>) -> bool {
    match (a.kind(), b.kind()) {
        (Kind::String, Kind::String) => {
            matches!((a.as_text(), b.as_text()), (Some(a), Some(b)) if same(a, b))
        }
        (Kind::Number, Kind::Number) => compare(a.raw(), b.raw()) == Some(Ordering::Equal),
        (Kind::Bool, Kind::Bool) | (Kind::Null, Kind::Null) => a.raw() == b.raw(),
        _ => false,
    }
}
