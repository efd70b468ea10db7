//! Errors of an input, in words that help the model to correct it.

use core::fmt;

use super::{Property, Variant};
use crate::error::line;
use crate::json::{Each, Kind, TYPE_NAMES, Text, Value, count_parts, text_parts, write_parts};

/// An error of an input: the place where it does not fit its schema, what was expected, and what
/// was found.
///
/// [`explain`](Self::explain) returns the text, for which the input is required: `items[2].name:
/// expected string, got 5`.
#[derive(Clone, Debug)]
pub struct InputError<'s> {
    /// The offset of the value in the input, in bytes.
    pub(crate) at: usize,
    /// The missing member of that value.
    pub(crate) missing: Option<Name<'s>>,
    pub(crate) expected: Expected<'s>,
    pub(crate) got: Got,
    /// The reason in the words of the type that refused the value.
    #[cfg(feature = "alloc")]
    pub(crate) because: Option<alloc::boxed::Box<Reason>>,
}

/// A reason. It is behind a pointer, because most errors have none.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug)]
pub(crate) struct Reason(alloc::string::String);

/// A member's name in a schema: a constant, or part of a JSON text.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Name<'s> {
    Plain(&'s str),
    Text(Text<'s>),
}

/// A list of allowed names or values.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Names<'s> {
    Plain(&'static [&'static str]),
    Properties(Option<(&'static str, &'static str)>, &'static [Property]),
    Variants(&'static [Variant]),
    /// The elements of an array, written as JSON.
    Elements(Value<'s>),
    /// The names of an object's members.
    Members(Option<Value<'s>>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Expected<'s> {
    Type(Types),
    /// One of these values, or `null` if the flag is set.
    OneOf(Names<'s>, bool),
    /// A member with one of these names.
    Member(Names<'s>),
    /// A phrase and a JSON value.
    Bound(&'static str, &'s str),
    /// A phrase, a count, and its unit.
    Count(&'static str, usize, &'static str),
    Words(&'static str),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Got {
    /// The value at the offset.
    Value,
    Nothing,
    Unknown,
    Count(usize),
}

/// A set of JSON types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Types(u8);

impl Types {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const BOOLEAN: Self = Self(1);
    pub(crate) const INTEGER: Self = Self(2);
    pub(crate) const NUMBER: Self = Self(4);
    pub(crate) const STRING: Self = Self(8);
    pub(crate) const ARRAY: Self = Self(16);
    pub(crate) const OBJECT: Self = Self(32);
    pub(crate) const NULL: Self = Self(64);
    /// Returns the single types, whose bits are in the order of their names.
    fn single() -> impl Iterator<Item = (Self, &'static str)> {
        (0..7).map(|i| (Self(1 << i), line(TYPE_NAMES, i)))
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Returns the type with this name in JSON Schema.
    pub(crate) fn named(name: Text<'_>) -> Self {
        Self::single().find(|(_, other)| name == **other).map_or(Self::NONE, |(types, _)| types)
    }

    /// Returns whether a value has one of these types.
    pub(crate) fn fit(self, value: Value<'_>) -> bool {
        match value.kind() {
            Kind::Array => self.has(Self::ARRAY),
            Kind::Bool => self.has(Self::BOOLEAN),
            Kind::Null => self.has(Self::NULL),
            Kind::Number => {
                self.has(Self::NUMBER)
                    || (self.has(Self::INTEGER) && crate::json::is_integer(value.raw()))
            }
            Kind::Object => self.has(Self::OBJECT),
            Kind::String => self.has(Self::STRING),
        }
    }
}

impl<'s> InputError<'s> {
    pub(crate) const fn new(at: usize, expected: Expected<'s>, got: Got) -> Self {
        Self {
            at,
            missing: None,
            expected,
            got,
            #[cfg(feature = "alloc")]
            because: None,
        }
    }

    /// Adds a reason in the words of the type that refused the value.
    #[cfg(feature = "alloc")]
    pub(crate) fn explain_by(&mut self, reason: &dyn fmt::Display) {
        self.because = Some(alloc::boxed::Box::new(Reason(alloc::format!("{reason}"))));
    }

    /// Returns the offset of the value in the input, in bytes.
    pub const fn at(&self) -> usize {
        self.at
    }

    /// Returns the error as a text: `<path>: expected …, got …`. `input` must be the input that was
    /// checked.
    pub const fn explain<'e>(&'e self, input: Value<'e>) -> Explained<'e> {
        Explained { error: self, input }
    }
}

/// An [`InputError`] as a text. Its `Display` writes `<path>: expected …, got …`, or, without the
/// feature `input-words`, only that the input does not fit.
#[derive(Clone, Copy, Debug)]
pub struct Explained<'e> {
    error: &'e InputError<'e>,
    input: Value<'e>,
}

/// The maximum number of characters of a wrong value that are shown.
const SHOWN: usize = 60;

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_parts(f, |each| self.parts(each))
    }
}

impl Explained<'_> {
    /// Passes the text to `each`, in parts.
    pub(crate) fn parts(&self, each: &mut Each<'_>) {
        if !cfg!(feature = "input-words") {
            return each("it does not fit the tool's schema");
        }
        let value = path(self.input, self.error, each);
        each(": expected ");
        expected(&self.error.expected, each);
        each(", got ");
        match self.error.got {
            Got::Nothing => each("nothing"),
            Got::Unknown => each("an unknown member"),
            Got::Count(count) => count_parts(count, each),
            Got::Value => shown(value, each),
        }
        #[cfg(feature = "alloc")]
        if let Some(because) = &self.error.because {
            each(": ");
            each(&because.0);
        }
    }
}

/// Writes the path to the value with the error, and returns that value.
fn path<'v>(input: Value<'v>, error: &InputError<'_>, each: &mut Each<'_>) -> Value<'v> {
    let root = input.raw();
    let mut value = input;
    let mut first = true;
    // Each iteration descends one level towards the value that begins at the offset.
    while value.offset_in(root).is_some_and(|at| at < error.at) {
        let holds = |inner: &Value<'_>| {
            inner.offset_in(root).is_some_and(|start| {
                start <= error.at && error.at < start.saturating_add(inner.raw().len())
            })
        };
        if let Some((name, inner)) = value.members().find(|(_, inner)| holds(inner)) {
            member(Name::Text(name), first, each);
            value = inner;
        } else if let Some((i, inner)) =
            value.elements().enumerate().find(|(_, inner)| holds(inner))
        {
            if first {
                each("input");
            }
            each("[");
            count_parts(i, each);
            each("]");
            value = inner;
        } else {
            break;
        }
        first = false;
    }
    match error.missing {
        Some(name) => member(name, first, each),
        None if first => each("input"),
        None => {}
    }
    value
}

/// Writes `.name` or `["odd name"]`.
fn member(name: Name<'_>, first: bool, each: &mut Each<'_>) {
    let plain = match name {
        Name::Plain(plain) => Some(plain),
        Name::Text(text) => text.as_plain(),
    };
    let simple = |name: &&str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
    };
    if let Some(plain) = plain.filter(simple) {
        if !first {
            each(".");
        }
        return each(plain);
    }
    if first {
        each("input");
    }
    each("[\"");
    match name {
        Name::Plain(plain) => each(plain),
        Name::Text(text) => each(text.raw()),
    }
    each("\"]");
}

/// Writes a value in short form: scalars as they are, but cut if they are long.
fn shown(value: Value<'_>, each: &mut Each<'_>) {
    match value.kind() {
        Kind::Array => each("array"),
        Kind::Object => each("object"),
        _ => {
            let json = value.as_json();
            match json.char_indices().nth(SHOWN).and_then(|(end, _)| json.get(..end)) {
                Some(head) => {
                    each(head);
                    each("…");
                }
                None => each(json),
            }
        }
    }
}

fn expected(expected: &Expected<'_>, each: &mut Each<'_>) {
    match *expected {
        Expected::Type(types) => {
            let mut first = true;
            for (one, name) in Types::single() {
                if types.has(one) {
                    if !first {
                        each(" or ");
                    }
                    first = false;
                    each(name);
                }
            }
            if first {
                each("a value");
            }
        }
        Expected::OneOf(names, null) => {
            if names.count() > 1 {
                each("one of ");
            }
            names.list(each);
            if null {
                each(" or null");
            }
        }
        Expected::Member(names) => match names.count() {
            0 => each("no members"),
            1 => {
                each("only the member ");
                names.list(each);
            }
            _ => {
                each("only the members ");
                names.list(each);
            }
        },
        Expected::Bound(words, bound) => {
            each(words);
            each(" ");
            each(bound);
        }
        Expected::Count(words, count, unit) => {
            each(words);
            each(" ");
            count_parts(count, each);
            each(" ");
            each(unit);
            if count != 1 {
                each("s");
            }
        }
        Expected::Words(words) => each(words),
    }
}

impl Names<'_> {
    fn count(self) -> usize {
        match self {
            Self::Plain(names) => names.len(),
            Self::Properties(tag, properties) => {
                let listed = properties.iter().filter(|property| property.is_listed()).count();
                listed.saturating_add(usize::from(tag.is_some()))
            }
            Self::Variants(variants) => variants.len(),
            Self::Elements(array) => array.elements().count(),
            Self::Members(object) => object.map_or(0, |object| object.members().count()),
        }
    }

    /// Writes the names in quotes, separated by commas.
    fn list(self, each: &mut Each<'_>) {
        let mut first = true;
        match self {
            Self::Plain(names) => names.iter().for_each(|name| quoted(name, &mut first, each)),
            Self::Properties(tag, properties) => {
                if let Some((name, _)) = tag {
                    quoted(name, &mut first, each);
                }
                properties
                    .iter()
                    .filter(|property| property.is_listed())
                    .for_each(|property| quoted(property.name, &mut first, each))
            }
            Self::Variants(variants) => {
                variants.iter().for_each(|variant| quoted(variant.name, &mut first, each))
            }
            Self::Elements(array) => array.elements().for_each(|value| {
                comma(&mut first, each);
                each(value.as_json());
            }),
            Self::Members(object) => {
                object.into_iter().flat_map(Value::members).for_each(|(name, _)| {
                    comma(&mut first, each);
                    each("\"");
                    text_parts(name, each);
                    each("\"");
                })
            }
        }
    }
}

fn comma(first: &mut bool, each: &mut Each<'_>) {
    if !core::mem::take(first) {
        each(", ");
    }
}

fn quoted(name: &str, first: &mut bool, each: &mut Each<'_>) {
    comma(first, each);
    each("\"");
    each(name);
    each("\"");
}
