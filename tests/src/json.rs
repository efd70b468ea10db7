//! Compares two JSON texts by the rules of the scenarios, and reports where they differ.
//!
//! The texts are read with serde_json, not with the reader under test. Numbers stay text, so that
//! they are compared by their exact values.

use core::fmt;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The maximum depth of objects and arrays, because the comparison recurses.
const DEEPEST: usize = 500;
/// The maximum number of characters of a value in a difference.
const SHOWN: usize = 200;

/// A JSON value. Members are in order, and repeated ones are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    /// `[…]`
    Array(Vec<Self>),
    /// `true` or `false`
    Bool(bool),
    /// `null`
    Null,
    /// The number as it is written.
    Number(String),
    /// `{…}`
    Object(Vec<(String, Self)>),
    /// The text, unescaped.
    String(String),
}

/// A place where two values differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path, such as `messages[1].content[0].id`; empty for the whole value.
    pub path: String,
    /// The expected value.
    pub expected: String,
    /// The actual value.
    pub got: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, expected, got } = self;
        write!(
            f,
            "{}: expected {expected}, got {got}",
            if path.is_empty() { "the whole" } else { path }
        )
    }
}

impl Json {
    /// Reads a JSON text.
    ///
    /// # Errors
    /// Returns the reason if the text is not JSON.
    pub fn parse(text: &str) -> Result<Self, String> {
        let raw: &RawValue = serde_json::from_str(text).map_err(|error| error.to_string())?;
        Self::read(raw, 0)
    }

    fn read(raw: &RawValue, depth: usize) -> Result<Self, String> {
        let text = raw.get();
        let failed = |error: serde_json::Error| error.to_string();
        if depth > DEEPEST {
            return Err(format!("deeper than {DEEPEST}"));
        }
        Ok(match text.as_bytes().first() {
            Some(b'{') => {
                let Members(members) = serde_json::from_str(text).map_err(failed)?;
                let read = members
                    .into_iter()
                    .map(|(name, value)| Ok((name, Self::read(value, depth + 1)?)));
                Self::Object(read.collect::<Result<_, String>>()?)
            }
            Some(b'[') => {
                let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(failed)?;
                Self::Array(
                    elements
                        .into_iter()
                        .map(|element| Self::read(element, depth + 1))
                        .collect::<Result<_, _>>()?,
                )
            }
            Some(b'"') => Self::String(serde_json::from_str(text).map_err(failed)?),
            Some(b't' | b'f') => Self::Bool(text == "true"),
            Some(b'n') => Self::Null,
            _ => Self::Number(text.to_owned()),
        })
    }

    /// Returns the member of this name; the last one if there are several.
    pub fn member(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(members) => {
                members.iter().rfind(|(known, _)| known == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// Returns the differences between `got` and this value.
    ///
    /// Ignored on both sides are members that are `null`, `"stream": false` and
    /// `"is_error": false`. A repeated member is a difference, because readers do not agree about
    /// which one counts.
    pub fn differences(&self, got: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        compare(self, got, "", &mut found);
        found
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
        match self {
            Self::Array(elements) => {
                f.write_str("[")?;
                for (i, element) in elements.iter().enumerate() {
                    write!(f, "{}{element}", if i > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Bool(value) => write!(f, "{value}"),
            Self::Null => f.write_str("null"),
            Self::Number(text) => f.write_str(text),
            Self::Object(members) => {
                f.write_str("{")?;
                for (i, (name, value)) in members.iter().enumerate() {
                    write!(f, "{}{}:{value}", if i > 0 { "," } else { "" }, quoted(name))?;
                }
                f.write_str("}")
            }
            Self::String(text) => f.write_str(&quoted(text)),
        }
    }
}

/// Returns an object's members in order, with their values as JSON text; empty if `object` is not
/// an object.
pub fn members(object: &RawValue) -> Option<Vec<(String, &RawValue)>> {
    serde_json::from_str(object.get()).ok().map(|Members(members)| members)
}

/// An object's members in order.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> serde::Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Members<'de>, M::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

fn is_left_out(name: &str, value: &Json) -> bool {
    matches!((name, value), (_, Json::Null) | ("stream" | "is_error", Json::Bool(false)))
}

/// Formats a value for a difference: on one line, and shortened if it is long.
pub fn shown(value: &Json) -> String {
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text,
    }
}

fn or_nothing(value: Option<&Json>) -> String {
    value.map_or_else(|| "nothing".to_owned(), shown)
}

fn compare(expected: &Json, got: &Json, path: &str, found: &mut Vec<Difference>) {
    match (expected, got) {
        (Json::Object(left), Json::Object(right)) => {
            for (side, members) in [("expected", left), ("got", right)] {
                for (i, (name, _)) in members.iter().enumerate() {
                    if members[..i].iter().any(|(before, _)| before == name) {
                        let path = join(path, name);
                        found.push(Difference {
                            path,
                            expected: "one".to_owned(),
                            got: format!("a second member ({side})"),
                        });
                    }
                }
            }
            let kept = |value: &Json, name: &str| {
                value.member(name).filter(|value| !is_left_out(name, value)).cloned()
            };
            let mut names: Vec<&String> = left.iter().chain(right).map(|(name, _)| name).collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let path = join(path, name);
                match (kept(expected, name), kept(got, name)) {
                    (None, None) => {}
                    (Some(expected), Some(got)) => compare(&expected, &got, &path, found),
                    (expected, got) => found.push(Difference {
                        path,
                        expected: or_nothing(expected.as_ref()),
                        got: or_nothing(got.as_ref()),
                    }),
                }
            }
        }
        (Json::Array(left), Json::Array(right)) => {
            for i in 0..left.len().max(right.len()) {
                let path = format!("{path}[{i}]");
                match (left.get(i), right.get(i)) {
                    (Some(expected), Some(got)) => compare(expected, got, &path, found),
                    (expected, got) => found.push(Difference {
                        path,
                        expected: or_nothing(expected),
                        got: or_nothing(got),
                    }),
                }
            }
        }
        (Json::Number(left), Json::Number(right)) if exact(left) == exact(right) => {}
        _ if expected == got => {}
        _ => found.push(Difference {
            path: path.to_owned(),
            expected: shown(expected),
            got: shown(got),
        }),
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Returns a number's exact value: its sign, its digits from the first to the last that is not 0,
/// and the power of ten of the last digit.
fn exact(number: &str) -> (bool, String, i64) {
    let (sign, rest) = number.strip_prefix('-').map_or((false, number), |rest| (true, rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_start_matches('0').trim_end_matches('0');
    if significant.is_empty() {
        return (false, String::new(), 0);
    }
    let zeros = digits.len() - digits.trim_end_matches('0').len();
    // Exponents beyond 64 bits need not be distinguished.
    let exponent = exponent
        .parse()
        .unwrap_or_else(|_| if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
    let places = i64::try_from(zeros).unwrap_or(0) - i64::try_from(fraction.len()).unwrap_or(0);
    (sign, significant.to_owned(), exponent.saturating_add(places))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differences(left: &str, right: &str) -> Vec<String> {
        let differences = Json::parse(left).unwrap().differences(&Json::parse(right).unwrap());
        differences.iter().map(Difference::to_string).collect()
    }

    #[test]
    fn equal_by_exact_value() {
        for (left, right) in [
            ("15", "15.0"),
            ("1.5e3", "1500"),
            ("-0", "0.0e7"),
            ("12345678901234567890", "1234567890123456789.0e1"),
            (r#"{"a":1,"b":null}"#, r#"{"is_error":false,"stream":false,"a":1}"#),
            (r#""\u00e9""#, "\"é\""),
            (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#),
        ] {
            assert_eq!(differences(left, right), Vec::<String>::new(), "{left} {right}");
            assert_eq!(differences(right, left), Vec::<String>::new(), "{right} {left}");
        }
    }

    #[test]
    fn different() {
        assert_eq!(differences("12345678901234567890", "1.2345678901234567e19").len(), 1);
        assert_eq!(differences("0.1", "0.10000000000000001").len(), 1);
        assert_eq!(differences("1", "-1").len(), 1);
        assert_eq!(differences("1", "\"1\"").len(), 1);
        assert_eq!(differences("[1,2]", "[1]"), ["[1]: expected 2, got nothing"]);
        assert_eq!(differences("[null]", "[]"), ["[0]: expected null, got nothing"]);
        assert_eq!(
            differences(r#"{"a":[{"b":1}]}"#, r#"{"a":[{"b":2}]}"#),
            ["a[0].b: expected 1, got 2"]
        );
        assert_eq!(differences(r#"{"stream":true}"#, "{}"), ["stream: expected true, got nothing"]);
        assert_eq!(differences(r#"{"a":false}"#, "{}"), ["a: expected false, got nothing"]);
        assert_eq!(
            differences(r#"{"a":1}"#, r#"{"a":1,"a":1}"#),
            ["a: expected one, got a second member (got)"]
        );
    }

    #[test]
    fn refuses() {
        assert!(Json::parse("{").is_err());
        assert!(Json::parse("1 2").is_err());
        assert!(Json::parse(&"[".repeat(100_000)).is_err());
        assert!(Json::parse(&format!("{}{}", "[".repeat(2000), "]".repeat(2000))).is_err());
    }
}
