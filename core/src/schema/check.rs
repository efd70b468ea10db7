//! An input against a schema's tree.
//!
//! Each shape has a [`Rule`], which its schema names: a chip whose tools take numbers and words has no code for variants and arrays.

use core::cmp::Ordering;

use super::{Bounds, By, Expected, Got, InputError, Name, Names, Schema, Shape, Types};
use crate::json::{Kind, Piece, Text, Value, compare};

type Checked = Result<(), InputError<'static>>;

impl Schema {
    /// Checks a value: types, members (missing, unknown, twice), allowed values, ranges, lengths (in characters).
    ///
    /// Goes as deep as the schema does, not as the input does.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of the schema for what is missing and of the input for all else.
    pub fn check(&self, value: Value<'_>) -> Checked {
        Check { root: value.raw() }.schema(self, value)
    }
}

/// Checks a value against a schema of the shape that it is for.
pub(super) type Rule = fn(&Check<'_>, &Schema, Value<'_>) -> Checked;

#[derive(Debug)]
pub(super) struct Check<'v> {
    root: &'v [u8],
}

impl Check<'_> {
    fn error(&self, value: Value<'_>, expected: Expected<'static>, got: Got) -> InputError<'static> {
        InputError::new(value.offset_in(self.root).unwrap_or(0), expected, got)
    }

    fn wrong<T>(&self, value: Value<'_>, expected: Expected<'static>) -> Result<T, InputError<'static>> {
        Err(self.error(value, expected, Got::Value))
    }

    fn schema(&self, schema: &Schema, value: Value<'_>) -> Checked {
        if schema.nullable && value.is_null() { Ok(()) } else { (schema.rule)(self, schema, value) }
    }

    fn missing(&self, object: Value<'_>, name: &'static str, types: Types) -> InputError<'static> {
        let mut error = self.error(object, Expected::Type(types), Got::Nothing);
        error.missing = Some(Name::Plain(name));
        error
    }
}

pub(super) const fn any(_: &Check<'_>, _: &Schema, _: Value<'_>) -> Checked {
    Ok(())
}

pub(super) fn typed(check: &Check<'_>, schema: &Schema, value: Value<'_>) -> Checked {
    let types = schema.types();
    if types.fit(value) { Ok(()) } else { check.wrong(value, Expected::Type(types)) }
}

pub(super) fn names(check: &Check<'_>, schema: &Schema, value: Value<'_>) -> Checked {
    let Shape::Names(names) = schema.shape else { return Ok(()) };
    let known = value.as_text().is_some_and(|text| names.iter().any(|name| text == **name));
    if known { Ok(()) } else { check.wrong(value, Expected::OneOf(Names::Plain(names), schema.nullable)) }
}

pub(super) fn range(check: &Check<'_>, schema: &Schema, value: Value<'_>) -> Checked {
    typed(check, schema, value)?;
    let (Shape::Integer(range) | Shape::Number(range)) = schema.shape else { return Ok(()) };
    if !range.minimum.is_empty() && compare(value.raw(), range.minimum.as_bytes()) == Some(Ordering::Less) {
        return check.wrong(value, Expected::Bound("at least", range.minimum));
    }
    if !range.maximum.is_empty() && compare(value.raw(), range.maximum.as_bytes()) == Some(Ordering::Greater) {
        return check.wrong(value, Expected::Bound("at most", range.maximum));
    }
    Ok(())
}

pub(super) fn length(check: &Check<'_>, schema: &Schema, value: Value<'_>) -> Checked {
    typed(check, schema, value)?;
    let Shape::String(bounds) = schema.shape else { return Ok(()) };
    count(check, bounds, "character", characters(value.as_text().unwrap_or_default()), value)
}

pub(super) fn array(check: &Check<'_>, schema: &Schema, value: Value<'_>) -> Checked {
    typed(check, schema, value)?;
    let Shape::Array(items, bounds) = schema.shape else { return Ok(()) };
    count(check, bounds, "item", u64::try_from(value.elements().count()).unwrap_or(u64::MAX), value)?;
    value.elements().try_for_each(|item| check.schema(items, item))
}

fn count(check: &Check<'_>, bounds: Bounds, unit: &'static str, count: u64, value: Value<'_>) -> Checked {
    let min = u64::from(bounds.min);
    if count < min {
        return Err(check.error(value, Expected::Count("at least", min, unit), Got::Count(count)));
    }
    match bounds.max.map(u64::from) {
        Some(max) if count > max => Err(check.error(value, Expected::Count("at most", max, unit), Got::Count(count))),
        _ => Ok(()),
    }
}

pub(super) fn map(check: &Check<'_>, schema: &Schema, value: Value<'_>) -> Checked {
    typed(check, schema, value)?;
    let Shape::Map(values) = schema.shape else { return Ok(()) };
    value.members().try_for_each(|(_, inner)| check.schema(values, inner))
}

pub(super) fn object(check: &Check<'_>, schema: &Schema, value: Value<'_>) -> Checked {
    typed(check, schema, value)?;
    let Shape::Object { tag, properties } = schema.shape else { return Ok(()) };
    if let Some((name, _)) = tag
        && value.member(name).is_none()
    {
        return Err(check.missing(value, name, Types::STRING));
    }
    for property in properties {
        if property.required && value.member(property.name).is_none() {
            return Err(check.missing(value, property.name, property.schema.types()));
        }
    }
    for (i, (name, inner)) in value.members().enumerate() {
        let known = if let Some((tag, expected)) = tag
            && name == *tag
        {
            if inner.as_text().is_none_or(|text| text != *expected) {
                return check.wrong(inner, Expected::Bound("the string", expected));
            }
            tag
        } else {
            let known = properties.iter().find(|property| name == *property.name);
            let unknown = || check.error(inner, Expected::Member(Names::Properties(tag, properties)), Got::Unknown);
            let known = known.ok_or_else(unknown)?;
            check.schema(&known.schema, inner)?;
            known.name
        };
        // All names are known ones here, and those are few.
        if value.members().take(i).any(|(other, _)| other == *known) {
            return check.wrong(inner, Expected::Words("one member of this name"));
        }
    }
    Ok(())
}

pub(super) fn by_tag(check: &Check<'_>, schema: &Schema, value: Value<'_>) -> Checked {
    typed(check, schema, value)?;
    let Shape::Variants(By::Tag(tag), variants) = schema.shape else { return Ok(()) };
    let Some(named) = value.member(tag) else { return Err(check.missing(value, tag, Types::STRING)) };
    let chosen = named.as_text().and_then(|name| variants.iter().find(|variant| name == *variant.name));
    match chosen {
        Some(variant) => check.schema(&variant.schema, value),
        None => check.wrong(named, Expected::OneOf(Names::Variants(variants), false)),
    }
}

pub(super) fn by_key(check: &Check<'_>, schema: &Schema, value: Value<'_>) -> Checked {
    typed(check, schema, value)?;
    let Shape::Variants(By::Key, variants) = schema.shape else { return Ok(()) };
    if value.kind() == Kind::String {
        return match variants.iter().find(|variant| variant.name.is_empty()) {
            Some(names) => check.schema(&names.schema, value),
            None => check.wrong(value, Expected::Type(Types::OBJECT)),
        };
    }
    let (with_content, mut members) = (variants.iter().filter(|variant| !variant.name.is_empty()), value.members());
    let Some((key, inner)) = members.next() else {
        return check.wrong(value, Expected::Words("an object with one member"));
    };
    if members.next().is_some() {
        return check.wrong(value, Expected::Words("an object with one member"));
    }
    match with_content.clone().find(|variant| key == *variant.name) {
        Some(variant) => check.schema(&variant.schema, inner),
        None => {
            let named = variants.split_first().filter(|(first, _)| first.name.is_empty()).map_or(variants, |(_, rest)| rest);
            Err(check.error(inner, Expected::Member(Names::Variants(named)), Got::Unknown))
        }
    }
}

/// The characters of a text's meaning.
pub(super) fn characters(text: Text<'_>) -> u64 {
    text.pieces().fold(0, |sum: u64, piece| {
        sum.saturating_add(match piece {
            Piece::Plain(plain) => u64::try_from(plain.chars().count()).unwrap_or(u64::MAX),
            Piece::Char(_) => 1,
        })
    })
}

/// Whether two texts mean the same.
pub(super) fn same(a: Text<'_>, b: Text<'_>) -> bool {
    match (a.as_plain(), b.as_plain()) {
        (Some(a), Some(b)) => a == b,
        (Some(plain), None) => b == *plain,
        (None, Some(plain)) => a == *plain,
        (None, None) => chars(a).eq(chars(b)),
    }
}

fn chars(text: Text<'_>) -> impl Iterator<Item = char> {
    text.pieces().flat_map(|piece| {
        let (plain, one) = match piece {
            Piece::Plain(plain) => (plain, None),
            Piece::Char(c) => ("", Some(c)),
        };
        plain.chars().chain(one)
    })
}
