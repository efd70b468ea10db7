//! Errors of an input, in words that help the model to correct it.

use core::fmt;

use super::{Property, Variant, extras};
use crate::error::line;
use crate::json::{Kind, PartFn, TYPE_NAMES, Text, Value, count_parts, text_parts, write_parts};

/// An error of an input: the place where it does not fit its schema, what was expected, and what
/// was found.
///
/// [`explain`](Self::explain) returns the text, for which the input is required: `items[2].name:
/// expected string, got 5`.
#[derive(Clone, Debug)]
pub struct InputError<'s> {
    /// The offset of the value in the input, in bytes.
    pub(crate) at: usize,
    #[cfg(feature = "input-words")]
    words: Words<'s>,
    #[cfg(not(feature = "input-words"))]
    words: core::marker::PhantomData<&'s str>,
    /// The reason in the words of the type that refused the value.
    #[cfg(feature = "alloc")]
    because: Option<alloc::boxed::Box<Reason>>,
}

/// What was expected and what was found.
#[derive(Clone, Copy, Debug)]
struct Words<'s> {
    /// The missing member of the value, as in JSON or in a schema.
    missing: Option<&'s str>,
    expected: Expectation<'s>,
    got: ActualValue,
}

/// A reason. It is behind a pointer, because most errors have none.
#[cfg(feature = "alloc")]
#[derive(Clone, Debug)]
pub(crate) struct Reason(alloc::string::String);

/// A list of allowed names or values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Names<'s> {
    source: Source<'s>,
    write: WriteNames,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'s> {
    Plain(&'static [&'static str]),
    /// The name of a tag, if there is one, and the other members of an object.
    Properties(&'static str, &'static [Property]),
    Variants(&'static [Variant]),
    Json(Value<'s>),
}

/// A function that writes the names of a source, separated by commas, and returns their number: see
/// [`extras`].
pub(super) type WriteNames = fn(&Source<'_>, &mut PartFn<'_>) -> usize;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Expectation<'s> {
    Type(Types),
    Names(&'static NameWords, Names<'s>),
    /// A phrase and a JSON value.
    Bound(&'static str, &'s str),
    /// A phrase, a count, and its unit.
    Count(&'static str, usize, &'static str),
    Words(&'static str),
}

/// Four texts: for no names, before one name, before several names, and after the names.
type NameWords = [&'static str; 4];

impl<'s> Expectation<'s> {
    /// Returns the expectation of one of these values, or of `null` if it is allowed.
    pub(crate) const fn one_of(names: Names<'s>, or_null: bool) -> Self {
        let around =
            if or_null { &["", "", "one of ", " or null"] } else { &["", "", "one of ", ""] };
        Self::Names(around, names)
    }

    /// Returns the expectation of a member with one of these names.
    pub(crate) const fn member(names: Names<'s>) -> Self {
        Self::Names(&["no members", "only the member ", "only the members ", ""], names)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum ActualValue {
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
    pub(crate) const fn new(at: usize, expected: Expectation<'s>, got: ActualValue) -> Self {
        Self::of(at, Words { missing: None, expected, got })
    }

    /// Returns the error that the object at this offset has no member `name`, which has one of
    /// these types.
    pub(crate) const fn missing(at: usize, name: &'s str, types: Types) -> Self {
        let expected = Expectation::Type(types);
        Self::of(at, Words { missing: Some(name), expected, got: ActualValue::Nothing })
    }

    #[cfg_attr(not(feature = "input-words"), expect(unused_variables, reason = "not stored"))]
    const fn of(at: usize, words: Words<'s>) -> Self {
        Self {
            at,
            #[cfg(feature = "input-words")]
            words,
            #[cfg(not(feature = "input-words"))]
            words: core::marker::PhantomData,
            #[cfg(feature = "alloc")]
            because: None,
        }
    }

    /// Returns `None` without the feature `input-words`.
    const fn words(&self) -> Option<&Words<'s>> {
        #[cfg(feature = "input-words")]
        return Some(&self.words);
        #[cfg(not(feature = "input-words"))]
        None
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
    pub const fn explain<'e>(&'e self, input: Value<'e>) -> Explanation<'e> {
        Explanation { error: self, input }
    }
}

/// An [`InputError`] as a text. Its `Display` writes `<path>: expected …, got …`, or, without the
/// feature `input-words`, only that the input does not fit.
#[derive(Clone, Copy, Debug)]
pub struct Explanation<'e> {
    error: &'e InputError<'e>,
    input: Value<'e>,
}

/// The maximum number of characters of a wrong value that are shown.
const SHOWN: usize = 60;

impl fmt::Display for Explanation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_parts(f, |each| self.parts(each))
    }
}

impl Explanation<'_> {
    /// Passes the text to `each`, in parts.
    pub(crate) fn parts(&self, each: &mut PartFn<'_>) {
        let Some(words) = self.error.words() else {
            return each("it does not fit the tool's schema");
        };
        let value = path(self.input, self.error.at, words.missing, each);
        each(": expected ");
        expected(&words.expected, each);
        each(", got ");
        match words.got {
            ActualValue::Nothing => each("nothing"),
            ActualValue::Unknown => each("an unknown member"),
            ActualValue::Count(count) => count_parts(count, each),
            ActualValue::Value => shown(value, each),
        }
        #[cfg(feature = "alloc")]
        if let Some(because) = &self.error.because {
            each(": ");
            each(&because.0);
        }
    }
}

/// Writes the path to the value at this offset, and to its missing member. Returns that value.
fn path<'v>(
    input: Value<'v>,
    at: usize,
    missing: Option<&str>,
    each: &mut PartFn<'_>,
) -> Value<'v> {
    let offset = |value: Value<'_>| value.offset_in(input.raw()).unwrap_or(usize::MAX);
    let mut value = input;
    let mut first = true;
    // Each iteration descends one level towards the value that begins at the offset: to the first
    // inner value that ends after it.
    'level: while offset(value) < at {
        let (mut members, mut elements) = (value.members(), value.elements());
        for i in 0.. {
            let Some((name, inner)) = (members.next().map(|(name, inner)| (Some(name), inner)))
                .or_else(|| elements.next().map(|inner| (None, inner)))
            else {
                break 'level;
            };
            if offset(inner).saturating_add(inner.raw().len()) <= at {
                continue;
            }
            if let Some(name) = name {
                member(name.raw(), first, each);
            } else {
                each(if first { "input[" } else { "[" });
                count_parts(i, each);
                each("]");
            }
            (value, first) = (inner, false);
            continue 'level;
        }
    }
    match missing {
        Some(name) => member(name, first, each),
        None if first => each("input"),
        None => {}
    }
    value
}

/// Writes `.name` or `["odd name"]`.
fn member(name: &str, first: bool, each: &mut PartFn<'_>) {
    let is_simple = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    let (before, after) = match (!name.is_empty() && name.bytes().all(is_simple), first) {
        (true, true) => ("", ""),
        (true, false) => (".", ""),
        (false, true) => ("input[\"", "\"]"),
        (false, false) => ("[\"", "\"]"),
    };
    for part in [before, name, after] {
        each(part);
    }
}

/// Writes a value in short form: scalars as they are, but cut if they are long.
fn shown(value: Value<'_>, each: &mut PartFn<'_>) {
    let kind = value.kind();
    if matches!(kind, Kind::Array | Kind::Object) {
        return each(kind.name());
    }
    let json = value.as_json();
    let mut begins = (0..json.len()).filter(|i| json.is_char_boundary(*i));
    let head = begins.nth(SHOWN).and_then(|end| json.get(..end));
    each(head.unwrap_or(json));
    if head.is_some() {
        each("…");
    }
}

fn expected(expected: &Expectation<'_>, each: &mut PartFn<'_>) {
    match expected {
        Expectation::Type(types) => {
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
        Expectation::Names([none, one, several, after], Names { source, write }) => {
            each(match write(source, &mut |_| {}) {
                0 => none,
                1 => one,
                _ => several,
            });
            write(source, each);
            each(after);
        }
        Expectation::Bound(words, bound) => {
            each(words);
            each(" ");
            each(bound);
        }
        Expectation::Count(words, count, unit) => {
            each(words);
            each(" ");
            count_parts(*count, each);
            each(" ");
            each(unit);
            if *count != 1 {
                each("s");
            }
        }
        Expectation::Words(words) => each(words),
    }
}

impl<'s> Names<'s> {
    /// These names, in quotes.
    pub(crate) const fn plain(names: &'static [&'static str]) -> Self {
        Self { source: Source::Plain(names), write: extras::enable_plain_names() }
    }

    /// The names of these members, and before them that of the tag if it is not empty.
    pub(crate) const fn properties(tag: &'static str, properties: &'static [Property]) -> Self {
        Self { source: Source::Properties(tag, properties), write: extras::enable_property_names() }
    }

    /// The names of these variants.
    pub(crate) const fn variants(variants: &'static [Variant]) -> Self {
        Self { source: Source::Variants(variants), write: extras::enable_variant_names() }
    }

    /// The elements of an array, written as JSON.
    pub(crate) const fn elements(array: Value<'s>) -> Self {
        Self { source: Source::Json(array), write: extras::enable_element_names() }
    }

    /// The names of an object's members.
    pub(crate) const fn members(object: Value<'s>) -> Self {
        Self { source: Source::Json(object), write: extras::enable_member_names() }
    }
}

pub(super) fn write_plain(source: &Source<'_>, each: &mut PartFn<'_>) -> usize {
    let Source::Plain(names) = *source else { return 0 };
    names.iter().fold(0, |count, name| quoted(name, count, each))
}

pub(super) fn write_properties(source: &Source<'_>, each: &mut PartFn<'_>) -> usize {
    let Source::Properties(tag, properties) = *source else { return 0 };
    let count = if tag.is_empty() { 0 } else { quoted(tag, 0, each) };
    let listed = properties.iter().filter(|property| property.is_listed());
    listed.fold(count, |count, property| quoted(property.name, count, each))
}

pub(super) fn write_variants(source: &Source<'_>, each: &mut PartFn<'_>) -> usize {
    let Source::Variants(variants) = *source else { return 0 };
    variants.iter().fold(0, |count, variant| quoted(variant.name, count, each))
}

pub(super) fn write_elements(source: &Source<'_>, each: &mut PartFn<'_>) -> usize {
    let Source::Json(array) = *source else { return 0 };
    array.elements().fold(0, |count, value| {
        comma(count, each);
        each(value.as_json());
        count.saturating_add(1)
    })
}

pub(super) fn write_members(source: &Source<'_>, each: &mut PartFn<'_>) -> usize {
    let Source::Json(object) = *source else { return 0 };
    object.members().fold(0, |count, (name, _)| {
        comma(count, each);
        each("\"");
        text_parts(name, each);
        each("\"");
        count.saturating_add(1)
    })
}

/// Writes a comma before all items but the first.
fn comma(count: usize, each: &mut PartFn<'_>) {
    if count > 0 {
        each(", ");
    }
}

/// Writes a name after `count` others, and returns the number of all.
fn quoted(name: &str, count: usize, each: &mut PartFn<'_>) -> usize {
    comma(count, each);
    each("\"");
    each(name);
    each("\"");
    count.saturating_add(1)
}
