//! An input against a schema's tree.

use core::cmp::Ordering;

use super::{Bounds, By, Expected, Got, InputError, Name, Names, Property, Range, Schema, Shape, Types, Variant};
use crate::json::{Array, Kind, Object, Piece, Text, Value, compare};

type Checked<T = ()> = Result<T, InputError<'static>>;

/// How many arrays, objects and maps a [`Schema`] may have in one another. One that has more does not compile as a tool's input; one
/// that is no tool's refuses what goes deeper.
pub const SCHEMA_DEPTH: usize = 16;

impl Schema {
    /// Checks a value: types, members (missing, unknown, twice), allowed values, ranges, lengths (in characters).
    ///
    /// Goes as deep as the schema does, not as the input does, and does not recurse: the levels are kept in an array of
    /// [`SCHEMA_DEPTH`], five words each.
    ///
    /// # Errors
    /// The first thing that is wrong, in the order of the schema for what is missing and of the input for all else.
    pub fn check(&self, value: Value<'_>) -> Checked {
        let check = Check { root: value.raw() };
        let mut levels: [Option<Level<'_, '_>>; SCHEMA_DEPTH] = [const { None }; SCHEMA_DEPTH];
        let mut depth = 0_usize;
        let (mut schema, mut value) = (self, value);
        loop {
            if let Some(level) = check.enter(schema, value)? {
                match levels.get_mut(depth) {
                    Some(slot) => *slot = Some(level),
                    None => return check.wrong(value, Expected::Count("at most", 16, "level")),
                }
                depth += 1;
            }
            // On to the next value, upwards through the levels that are at their end.
            (schema, value) = loop {
                let Some(Some(level)) = depth.checked_sub(1).and_then(|top| levels.get_mut(top)) else { return Ok(()) };
                match check.next(level)? {
                    Some(next) => break next,
                    None => depth -= 1,
                }
            };
        }
    }
}

/// What remains of an array, an object or a map, and the schema that it is under.
struct Level<'s, 'v> {
    schema: &'s Schema,
    rest: Rest<'v>,
}

enum Rest<'v> {
    Items(Array<'v>),
    Members(Object<'v>),
}

struct Check<'v> {
    root: &'v [u8],
}

impl<'v> Check<'v> {
    fn error(&self, value: Value<'_>, expected: Expected<'static>, got: Got) -> InputError<'static> {
        InputError::new(value.offset_in(self.root).unwrap_or(0), expected, got)
    }

    fn wrong<T>(&self, value: Value<'_>, expected: Expected<'static>) -> Checked<T> {
        Err(self.error(value, expected, Got::Value))
    }

    /// Checks the value itself, and gives what is inside if that is to be checked too.
    fn enter<'s>(&self, schema: &'s Schema, value: Value<'v>) -> Checked<Option<Level<'s, 'v>>> {
        let (mut schema, mut value) = (schema, value);
        loop {
            if (schema.nullable && value.is_null()) || matches!(schema.shape, Shape::Any) {
                return Ok(None);
            }
            if let Shape::Names(names) = schema.shape {
                let known = value.as_text().is_some_and(|text| names.iter().any(|name| text == **name));
                return if known { Ok(None) } else { self.wrong(value, Expected::OneOf(Names::Plain(names), schema.nullable)) };
            }
            let types = schema.types();
            if !types.fit(value) {
                return self.wrong(value, Expected::Type(types));
            }
            let rest = match schema.shape {
                Shape::Any | Shape::Boolean | Shape::Names(_) => return Ok(None),
                Shape::Integer(range) | Shape::Number(range) => return self.range(range, value).map(|()| None),
                Shape::String(bounds) => {
                    let count = characters(value.as_text().unwrap_or_default());
                    return self.count(bounds, "character", count, value).map(|()| None);
                }
                Shape::Array(_, bounds) => {
                    let count = u64::try_from(value.elements().count()).unwrap_or(u64::MAX);
                    self.count(bounds, "item", count, value)?;
                    Rest::Items(value.elements())
                }
                Shape::Map(_) => Rest::Members(value.members()),
                Shape::Object { tag, properties } => {
                    self.required(tag, properties, value)?;
                    Rest::Members(value.members())
                }
                // The form that it has, which is no variants of variants, or is inside the value: this comes to an end.
                Shape::Variants(By::Tag(tag), variants) => {
                    schema = self.by_tag(tag, variants, value)?;
                    continue;
                }
                Shape::Variants(By::Key, variants) => {
                    (schema, value) = self.by_key(variants, value)?;
                    continue;
                }
            };
            return Ok(Some(Level { schema, rest }));
        }
    }

    /// The next value of a level, and its schema.
    fn next<'s>(&self, level: &mut Level<'s, 'v>) -> Checked<Option<(&'s Schema, Value<'v>)>> {
        let rest = match &mut level.rest {
            Rest::Items(items) => {
                let Shape::Array(schema, _) = level.schema.shape else { return Ok(None) };
                return Ok(items.next().map(|item| (schema, item)));
            }
            Rest::Members(rest) => rest,
        };
        while let Some((name, inner)) = rest.next() {
            let (tag, properties) = match level.schema.shape {
                Shape::Object { tag, properties } => (tag, properties),
                Shape::Map(values) => return Ok(Some((values, inner))),
                _ => return Ok(None),
            };
            let known = match tag {
                Some((tag, expected)) if name == *tag => {
                    if inner.as_text().is_none_or(|text| text != *expected) {
                        return self.wrong(inner, Expected::Bound("the string", expected));
                    }
                    None
                }
                _ => {
                    let known = properties.iter().find(|property| name == *property.name);
                    let unknown = || self.error(inner, Expected::Member(Names::Properties(tag, properties)), Got::Unknown);
                    Some(known.ok_or_else(unknown)?)
                }
            };
            // All names are known ones here, and those are few.
            if rest.given().filter(|(other, _)| same(*other, name)).nth(1).is_some() {
                return self.wrong(inner, Expected::Words("one member of this name"));
            }
            if let Some(property) = known {
                return Ok(Some((&property.schema, inner)));
            }
        }
        Ok(None)
    }

    fn range(&self, range: Range, value: Value<'_>) -> Checked {
        if !range.minimum.is_empty() && compare(value.raw(), range.minimum.as_bytes()) == Some(Ordering::Less) {
            return self.wrong(value, Expected::Bound("at least", range.minimum));
        }
        if !range.maximum.is_empty() && compare(value.raw(), range.maximum.as_bytes()) == Some(Ordering::Greater) {
            return self.wrong(value, Expected::Bound("at most", range.maximum));
        }
        Ok(())
    }

    fn count(&self, bounds: Bounds, unit: &'static str, count: u64, value: Value<'_>) -> Checked {
        let min = u64::from(bounds.min);
        if count < min {
            return Err(self.error(value, Expected::Count("at least", min, unit), Got::Count(count)));
        }
        match bounds.max.map(u64::from) {
            Some(max) if count > max => Err(self.error(value, Expected::Count("at most", max, unit), Got::Count(count))),
            _ => Ok(()),
        }
    }

    fn required(&self, tag: Option<(&'static str, &'static str)>, properties: &'static [Property], value: Value<'_>) -> Checked {
        if let Some((name, _)) = tag
            && value.member(name).is_none()
        {
            return Err(self.missing(value, name, Types::STRING));
        }
        match properties.iter().find(|property| property.required && value.member(property.name).is_none()) {
            Some(property) => Err(self.missing(value, property.name, property.schema.types())),
            None => Ok(()),
        }
    }

    fn missing(&self, object: Value<'_>, name: &'static str, types: Types) -> InputError<'static> {
        let mut error = self.error(object, Expected::Type(types), Got::Nothing);
        error.missing = Some(Name::Plain(name));
        error
    }

    fn by_tag(&self, tag: &'static str, variants: &'static [Variant], value: Value<'_>) -> Checked<&'static Schema> {
        let Some(named) = value.member(tag) else { return Err(self.missing(value, tag, Types::STRING)) };
        let chosen = named.as_text().and_then(|name| variants.iter().find(|variant| name == *variant.name));
        match chosen {
            Some(variant) => Ok(&variant.schema),
            None => self.wrong(named, Expected::OneOf(Names::Variants(variants), false)),
        }
    }

    fn by_key(&self, variants: &'static [Variant], value: Value<'v>) -> Checked<(&'static Schema, Value<'v>)> {
        if value.kind() == Kind::String {
            return match variants.iter().find(|variant| variant.name.is_empty()) {
                Some(names) => Ok((&names.schema, value)),
                None => self.wrong(value, Expected::Type(Types::OBJECT)),
            };
        }
        let (with_content, mut members) = (variants.iter().filter(|variant| !variant.name.is_empty()), value.members());
        let Some((key, inner)) = members.next() else {
            return self.wrong(value, Expected::Words("an object with one member"));
        };
        if members.next().is_some() {
            return self.wrong(value, Expected::Words("an object with one member"));
        }
        match with_content.clone().find(|variant| key == *variant.name) {
            Some(variant) => Ok((&variant.schema, inner)),
            None => {
                let named = variants.split_first().filter(|(first, _)| first.name.is_empty()).map_or(variants, |(_, rest)| rest);
                Err(self.error(inner, Expected::Member(Names::Variants(named)), Got::Unknown))
            }
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
