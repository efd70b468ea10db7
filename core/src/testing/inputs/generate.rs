//! Values that fit a schema.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::tree::Tree;
use crate::json::{Kind, Value};
use crate::schema::resolve;
use crate::testing::link::Rng;

/// The depth from which on values are as small as the schema allows, so that a recursive schema
/// ends.
const DEEP: usize = 5;
/// The depth at which generation stops. What is generated then does not fit.
const DEEPEST: usize = 40;

/// Texts for strings without a format.
const TEXTS: [&str; 10] = [
    "Paris",
    "San Francisco, CA",
    "a",
    "",
    "Zürich",
    "東京",
    "with \"quotes\" and a \\",
    "two\nlines",
    "🦀",
    "15",
];

pub(super) struct Generator<'g, 's> {
    pub(super) root: Value<'s>,
    pub(super) rng: &'g mut Rng,
    pub(super) examples: &'g [(String, String)],
}

impl<'s> Generator<'_, 's> {
    /// Returns a value for `schema`. It fits in most cases; the caller checks it.
    pub(super) fn value(&mut self, schema: Value<'s>, depth: usize) -> Tree {
        let member = |name| schema.member(name);
        if depth > DEEPEST {
            return Tree::Scalar("null".to_string());
        }
        if let Some(value) = member("const") {
            return Tree::of(value);
        }
        if let Some(value) = member("enum").and_then(|list| self.pick(list)) {
            return Tree::of(value);
        }
        let target = member("$ref").and_then(Value::as_text);
        if let Some(target) = target.and_then(|path| resolve(self.root, path)) {
            return self.value(target, depth + 1);
        }
        let mut tree = None;
        for keyword in ["anyOf", "oneOf"] {
            if let Some(branch) = member(keyword).and_then(|list| self.branch(list, depth)) {
                tree = merged(tree, self.value(branch, depth + 1));
            }
        }
        for part in member("allOf").unwrap_or(Value::NULL).elements() {
            tree = merged(tree, self.value(part, depth + 1));
        }
        let kind = match member("type") {
            Some(list) if list.kind() == Kind::Array => {
                let simple = list.elements().find(|kind| self.is_simple(*kind));
                if depth >= DEEP { simple } else { None }.or_else(|| self.pick(list))
            }
            kind => kind,
        };
        let kind = kind.and_then(Value::as_text).map(|kind| kind.to_string()).unwrap_or_default();
        let own = match kind.as_str() {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "string" => self.string(schema),
            "integer" => self.integer(schema),
            "number" => self.number(schema),
            "boolean" => {
                Tree::Scalar(if self.rng.chance(500) { "true" } else { "false" }.to_string())
            }
            "null" => Tree::Scalar("null".to_string()),
            _ if member("properties").is_some() => self.object(schema, depth),
            _ => match tree {
                Some(tree) => return tree,
                None => self.any(),
            },
        };
        merged(tree, own).unwrap_or_else(|| Tree::Object(Vec::new()))
    }

    fn pick(&mut self, list: Value<'s>) -> Option<Value<'s>> {
        let at = self.rng.below(list.elements().count());
        list.elements().nth(at)
    }

    /// Returns one of several schemas: any of them, or a simple one if the value is already deep.
    fn branch(&mut self, list: Value<'s>, depth: usize) -> Option<Value<'s>> {
        let simple = list.elements().find(|branch| {
            branch.member("type").is_some_and(|kind| self.is_simple(kind))
                || branch.member("const").is_some()
                || branch.member("enum").is_some()
        });
        if depth >= DEEP && simple.is_some() { simple } else { self.pick(list) }
    }

    fn is_simple(&self, kind: Value<'_>) -> bool {
        kind.as_text().is_some_and(|kind| kind != *"object" && kind != *"array")
    }

    fn any(&mut self) -> Tree {
        const ANY: [&str; 6] = ["null", "true", "5", "\"any\"", "[1,\"a\"]", "{\"a\":{\"b\":[]}}"];
        Tree::json(ANY.get(self.rng.below(ANY.len())).copied().unwrap_or("null"))
    }

    fn object(&mut self, schema: Value<'s>, depth: usize) -> Tree {
        let required = schema.member("required").unwrap_or(Value::NULL);
        let is_required =
            |name: &str| required.elements().filter_map(Value::as_text).any(|known| known == *name);
        let mut members = Vec::new();
        let properties = schema.member("properties").unwrap_or(Value::NULL);
        for (name, property) in properties.members() {
            let name = name.to_string();
            if !is_required(&name) && (depth >= DEEP || self.rng.chance(400)) {
                continue;
            }
            let value = match self.example(&name) {
                Some(example) => example,
                None => self.value(property, depth + 1),
            };
            members.push((name, value));
        }
        let more = schema.member("additionalProperties").filter(|more| more.kind() == Kind::Object);
        let fewest = count(schema, "minProperties").unwrap_or(0);
        if let Some(more) = more {
            let most = if depth >= DEEP { fewest } else { fewest.max(members.len()) + 3 };
            while members.len() < fewest || (members.len() < most && self.rng.chance(600)) {
                let name = format!("key_{}", members.len());
                members.push((name, self.value(more, depth + 1)));
            }
        }
        Tree::Object(members)
    }

    fn example(&mut self, name: &str) -> Option<Tree> {
        let all = || self.examples.iter().filter(|(known, _)| known == name);
        let at = self.rng.below(all().count());
        all().nth(at).map(|(_, json)| Tree::json(json))
    }

    fn array(&mut self, schema: Value<'s>, depth: usize) -> Tree {
        let mut elements: Vec<Tree> = Vec::new();
        for prefix in schema.member("prefixItems").unwrap_or(Value::NULL).elements() {
            elements.push(self.value(prefix, depth + 1));
        }
        let items = schema.member("items").filter(|items| items.as_bool() != Some(false));
        let Some(items) = items.filter(|_| elements.is_empty()) else {
            return Tree::Array(elements);
        };
        let fewest = count(schema, "minItems").unwrap_or(0);
        let most = count(schema, "maxItems").unwrap_or(fewest + 4);
        let wanted = match self.rng.below(4) {
            _ if depth >= DEEP => fewest,
            0 => fewest,
            1 => most.min(fewest + 40),
            _ => fewest + self.rng.below((most - fewest.min(most)).min(6) + 1),
        };
        let is_unique = schema.member("uniqueItems").and_then(Value::as_bool) == Some(true);
        // A unique item may not be found, so the number of attempts has a limit.
        for _ in 0..wanted * 8 {
            if elements.len() >= wanted {
                break;
            }
            let element = self.value(items, depth + 1);
            if !is_unique || !elements.contains(&element) {
                elements.push(element);
            }
        }
        Tree::Array(elements)
    }

    fn string(&mut self, schema: Value<'s>) -> Tree {
        let format = schema.member("format").and_then(Value::as_text).map(|text| text.to_string());
        let options: &[&str] = match format.as_deref().unwrap_or_default() {
            "date-time" => &["2024-02-29T12:30:00Z", "1999-12-31T23:59:59.5+01:00"],
            "date" => &["2024-02-29", "1970-01-01"],
            "time" => &["12:30:00Z", "23:59:59+01:00"],
            "partial-date-time" => &["2024-02-29T12:30:00", "1970-01-01T00:00:00"],
            "partial-time" => &["12:30:00", "23:59:59"],
            "duration" => &["PT1H30M", "P2D", "PT0S"],
            "email" | "idn-email" => &["ada@example.org"],
            "hostname" | "idn-hostname" => &["example.org"],
            "ipv4" => &["192.0.2.1", "127.0.0.1"],
            "ipv6" => &["2001:db8::1", "::"],
            "ip" => &["192.0.2.1", "::1"],
            "uri" | "iri" | "url" => &["https://example.org/a?b=c#d"],
            "uri-reference" | "iri-reference" => &["/a/b", "https://example.org/"],
            "uuid" => &["67e55044-10b1-426f-9247-bb680e5fe0c8"],
            "regex" => &["^a+$"],
            "json-pointer" => &["/a/0"],
            "byte" => &["aGVsbG8="],
            _ => &TEXTS,
        };
        let mut text =
            options.get(self.rng.below(options.len())).copied().unwrap_or("a").to_string();
        let (fewest, most) = (count(schema, "minLength"), count(schema, "maxLength"));
        if let Some(most) = most {
            // Only ASCII, because some types limit the bytes and not the characters.
            let wanted = match self.rng.below(3) {
                0 => most.min(4096),
                1 => fewest.unwrap_or(0),
                _ => text.len(),
            };
            text = text.chars().map(|c| if c.is_ascii() { c } else { 'x' }).take(wanted).collect();
            while text.len() < wanted.min(most) {
                text.push('x');
            }
        }
        let have = text.chars().count();
        text.extend((have..fewest.unwrap_or(0)).map(|_| 'y'));
        Tree::text(&text)
    }

    fn integer(&mut self, schema: Value<'s>) -> Tree {
        let step = whole(schema.member("multipleOf")).filter(|step| *step > 0).unwrap_or(1);
        let (low, high) = bounds(schema);
        // Without a bound, values that the smallest integer types hold.
        let low =
            low.unwrap_or_else(|| high.map_or(-128, |high| high.saturating_sub(100).min(-100)));
        let high = high.unwrap_or_else(|| low.saturating_add(100).max(127));
        let (low, high) =
            (low.div_euclid(step) + i128::from(low.rem_euclid(step) != 0), high.div_euclid(step));
        let width =
            usize::try_from(high.saturating_sub(low)).unwrap_or(usize::MAX).saturating_add(1);
        let number = match self.rng.below(6) {
            0 => low,
            1 => high,
            2 if low <= 0 && high >= 0 => 0,
            _ => low.saturating_add(i128::try_from(self.rng.below(width)).unwrap_or(0)),
        };
        Tree::Scalar(number.saturating_mul(step).to_string())
    }

    fn number(&mut self, schema: Value<'s>) -> Tree {
        if schema.member("multipleOf").is_some() {
            return self.integer(schema);
        }
        let bound = |name| schema.member(name).and_then(|bound| parse(bound.as_json()));
        let low = bound("minimum").or_else(|| bound("exclusiveMinimum"));
        let high = bound("maximum").or_else(|| bound("exclusiveMaximum"));
        let low = low.unwrap_or_else(|| high.map_or(-1000.0, |high| high - 1000.0));
        let high = high.unwrap_or(low + 2000.0);
        // Eighths are exact in every float type.
        let eighth = f64::from(u32::try_from(self.rng.below(9)).unwrap_or(0)) / 8.0;
        let number = low + (high - low) * eighth;
        Tree::Scalar(if self.rng.chance(300) { format!("{number:?}") } else { format!("{number}") })
    }
}

/// Adds the members of an object to those of another. Other values replace what was there.
fn merged(tree: Option<Tree>, more: Tree) -> Option<Tree> {
    match (tree, more) {
        (Some(Tree::Object(mut members)), Tree::Object(more)) => {
            for (name, value) in more {
                match members.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, old)) => *old = value,
                    None => members.push((name, value)),
                }
            }
            Some(Tree::Object(members))
        }
        (_, more) => Some(more),
    }
}

fn count(schema: Value<'_>, name: &str) -> Option<usize> {
    schema.member(name)?.as_u64().and_then(|count| usize::try_from(count).ok())
}

fn parse(number: &str) -> Option<f64> {
    crate::json::parse_f64(number.as_bytes())
}

/// Returns an integer that is written without a fraction.
fn whole(value: Option<Value<'_>>) -> Option<i128> {
    value?.as_json().parse().ok()
}

/// Returns the smallest and the largest allowed integer.
fn bounds(schema: Value<'_>) -> (Option<i128>, Option<i128>) {
    let above = whole(schema.member("exclusiveMinimum")).map(|bound| bound.saturating_add(1));
    let below = whole(schema.member("exclusiveMaximum")).map(|bound| bound.saturating_sub(1));
    let low = whole(schema.member("minimum")).into_iter().chain(above).max();
    let high = whole(schema.member("maximum")).into_iter().chain(below).min();
    (low, high)
}
