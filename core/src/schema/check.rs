//! Checks of an input against a schema tree.
//!
//! Each shape has a [`Rule`], which its schema points to: see [`extras`](super::extras).

use core::cmp::Ordering;

use super::compose::Presence;
use super::{
    ActualValue, Bounds, Discriminator, Expectation, InputError, Names, Schema, Shape, Types,
};
use crate::json::{Array, IS_CHIP, Kind, Object, Piece, Text, Value, compare};

type CheckResult<T = ()> = Result<T, InputError<'static>>;

/// The maximum nesting of arrays, objects and maps in a [`Schema`].
///
/// A deeper schema does not compile as a tool's input. A deeper schema that does not belong to a
/// tool refuses values at the levels beyond.
///
/// A tool's arguments are an object, so each argument may use one level less:
#[cfg_attr(all(feature = "macros", feature = "alloc"), doc = "```")]
#[cfg_attr(not(all(feature = "macros", feature = "alloc")), doc = "```ignore")]
/// #[toolrunner_core::tool]
/// fn deep(_argument:
/// Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<u8>>>>>>>>>>>>>>>) {}
/// ```
#[cfg_attr(all(feature = "macros", feature = "alloc"), doc = "```compile_fail,E0080")]
#[cfg_attr(not(all(feature = "macros", feature = "alloc")), doc = "```ignore")]
/// #[toolrunner_core::tool]
/// fn too_deep(_argument:
/// Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<Vec<u8>>>>>>>>>>>>>>>>) {}
/// ```
pub(crate) const SCHEMA_DEPTH: usize = 16;

impl Schema {
    /// The maximum nesting of a tool's input type, in arrays, objects and maps.
    pub const MAX_DEPTH: usize = SCHEMA_DEPTH;

    /// Checks a value: types, members (missing, unknown and repeated), allowed values, ranges, and
    /// lengths (in characters).
    ///
    /// The check is as deep as the schema, not as the input. It does not recurse: the levels are
    /// stored in an array of [`Schema::MAX_DEPTH`] entries of six words each.
    ///
    /// # Errors
    /// Returns the first error. Missing members are found in the order of the schema, all other
    /// errors in the order of the input.
    pub fn check(&self, value: Value<'_>) -> CheckResult {
        self.check_in(value.raw(), value)
    }

    /// Checks a value that is part of the input `root`.
    pub(crate) fn check_in(&self, root: &[u8], value: Value<'_>) -> CheckResult {
        let check = Check { root };
        let mut levels: [Option<Level<'_, '_>>; SCHEMA_DEPTH] = [const { None }; SCHEMA_DEPTH];
        let mut depth = 0_usize;
        let (mut schema, mut value) = (self, value);
        loop {
            let entered = if schema.nullable && value.is_null() {
                RemainingChecks::Whole
            } else {
                (schema.rule)(&check, schema, value)?
            };
            match entered {
                RemainingChecks::Whole => {}
                // The next check is for a value inside this one, or for the form of a variant,
                // which is not itself a set of variants. Therefore the loop terminates.
                RemainingChecks::As(form, content) => {
                    (schema, value) = (form, content);
                    continue;
                }
                RemainingChecks::Level(level) => {
                    match levels.get_mut(depth) {
                        Some(slot) => *slot = Some(level),
                        None => {
                            return check.wrong(value, Expectation::Count("at most", 16, "level"));
                        }
                    }
                    depth += 1;
                }
            }
            // Find the next value, and leave the levels that have no more.
            (schema, value) = loop {
                let Some(Some(level)) = depth.checked_sub(1).and_then(|top| levels.get_mut(top))
                else {
                    return Ok(());
                };
                match (level.next)(&check, level)? {
                    Some(next) => break next,
                    None => depth -= 1,
                }
            };
        }
    }
}

/// A function that checks a value on its own against a schema of the rule's shape.
pub(super) type Rule =
    for<'s, 'v> fn(&Check<'v>, &'s Schema, Value<'v>) -> CheckResult<RemainingChecks<'s, 'v>>;

/// The checks that remain after a value's own check.
pub(super) enum RemainingChecks<'s, 'v> {
    Whole,
    /// Check this value against this schema.
    As(&'s Schema, Value<'v>),
    /// Check the values inside the value.
    Level(Level<'s, 'v>),
}

/// An array, an object or a map: the values that remain, its schema, and the function that returns
/// the next value.
pub(super) struct Level<'s, 'v> {
    schema: &'s Schema,
    rest: RemainingValues<'v>,
    next: ChildFn,
}

type ChildFn =
    for<'s, 'v> fn(&Check<'v>, &mut Level<'s, 'v>) -> CheckResult<Option<(&'s Schema, Value<'v>)>>;

enum RemainingValues<'v> {
    Items(Array<'v>),
    /// The remaining members, and a bit for each property that was seen, as far as there are bits.
    Members(Object<'v>, usize),
    /// The remaining items, and the index of the next.
    Places(Array<'v>, usize),
}

#[derive(Debug)]
pub(super) struct Check<'v> {
    root: &'v [u8],
}

impl Check<'_> {
    fn error(
        &self,
        value: Value<'_>,
        expected: Expectation<'static>,
        got: ActualValue,
    ) -> InputError<'static> {
        InputError::new(value.offset_in(self.root).unwrap_or(0), expected, got)
    }

    fn wrong<T>(&self, value: Value<'_>, expected: Expectation<'static>) -> CheckResult<T> {
        Err(self.error(value, expected, ActualValue::Value))
    }

    fn missing(&self, object: Value<'_>, name: &'static str, types: Types) -> InputError<'static> {
        InputError::missing(object.offset_in(self.root).unwrap_or(0), name, types)
    }

    fn of_type(&self, schema: &Schema, value: Value<'_>) -> CheckResult {
        let types = schema.types();
        if types.fit(value) { Ok(()) } else { self.wrong(value, Expectation::Type(types)) }
    }

    fn count(
        &self,
        bounds: Bounds,
        unit: &'static str,
        count: usize,
        value: Value<'_>,
    ) -> CheckResult {
        let bound = |bound| usize::try_from(bound).unwrap_or(usize::MAX);
        let min = bound(bounds.min);
        if count < min {
            return Err(self.error(
                value,
                Expectation::Count("at least", min, unit),
                ActualValue::Count(count),
            ));
        }
        match bounds.max.map(bound) {
            Some(max) if count > max => Err(self.error(
                value,
                Expectation::Count("at most", max, unit),
                ActualValue::Count(count),
            )),
            _ => Ok(()),
        }
    }
}

pub(super) const fn any<'s, 'v>(
    _: &Check<'v>,
    _: &'s Schema,
    _: Value<'v>,
) -> CheckResult<RemainingChecks<'s, 'v>> {
    Ok(RemainingChecks::Whole)
}

pub(super) fn typed<'s, 'v>(
    check: &Check<'v>,
    schema: &'s Schema,
    value: Value<'v>,
) -> CheckResult<RemainingChecks<'s, 'v>> {
    check.of_type(schema, value).map(|()| RemainingChecks::Whole)
}

pub(super) fn names<'s, 'v>(
    check: &Check<'v>,
    schema: &'s Schema,
    value: Value<'v>,
) -> CheckResult<RemainingChecks<'s, 'v>> {
    let Shape::Names(names) = schema.shape else { return Ok(RemainingChecks::Whole) };
    let known = value.as_text().is_some_and(|text| names.iter().any(|name| text == **name));
    if known {
        Ok(RemainingChecks::Whole)
    } else {
        check.wrong(value, Expectation::one_of(Names::plain(names), schema.nullable))
    }
}

pub(super) fn range<'s, 'v>(
    check: &Check<'v>,
    schema: &'s Schema,
    value: Value<'v>,
) -> CheckResult<RemainingChecks<'s, 'v>> {
    check.of_type(schema, value)?;
    let (Shape::Integer(range) | Shape::Number(range)) = schema.shape else {
        return Ok(RemainingChecks::Whole);
    };
    if !range.minimum.is_empty()
        && compare(value.raw(), range.minimum.as_bytes()) == Some(Ordering::Less)
    {
        return check.wrong(value, Expectation::Bound("at least", range.minimum));
    }
    if !range.maximum.is_empty()
        && compare(value.raw(), range.maximum.as_bytes()) == Some(Ordering::Greater)
    {
        return check.wrong(value, Expectation::Bound("at most", range.maximum));
    }
    Ok(RemainingChecks::Whole)
}

pub(super) fn length<'s, 'v>(
    check: &Check<'v>,
    schema: &'s Schema,
    value: Value<'v>,
) -> CheckResult<RemainingChecks<'s, 'v>> {
    check.of_type(schema, value)?;
    let Shape::String(bounds, _) = schema.shape else { return Ok(RemainingChecks::Whole) };
    let count = characters(value.as_text().unwrap_or_default());
    check.count(bounds, "character", count, value).map(|()| RemainingChecks::Whole)
}

pub(super) fn array<'s, 'v>(
    check: &Check<'v>,
    schema: &'s Schema,
    value: Value<'v>,
) -> CheckResult<RemainingChecks<'s, 'v>> {
    check.of_type(schema, value)?;
    let Shape::Array(_, bounds, _) = schema.shape else { return Ok(RemainingChecks::Whole) };
    check.count(bounds, "item", value.elements().count(), value)?;
    Ok(RemainingChecks::Level(Level {
        schema,
        rest: RemainingValues::Items(value.elements()),
        next: next_item,
    }))
}

fn next_item<'s, 'v>(
    _: &Check<'v>,
    level: &mut Level<'s, 'v>,
) -> CheckResult<Option<(&'s Schema, Value<'v>)>> {
    let (Shape::Array(schema, ..), RemainingValues::Items(items)) =
        (level.schema.shape, &mut level.rest)
    else {
        return Ok(None);
    };
    Ok(items.next().map(|item| (schema, item)))
}

pub(super) fn tuple<'s, 'v>(
    check: &Check<'v>,
    schema: &'s Schema,
    value: Value<'v>,
) -> CheckResult<RemainingChecks<'s, 'v>> {
    check.of_type(schema, value)?;
    let Shape::Tuple(items) = schema.shape else { return Ok(RemainingChecks::Whole) };
    let bound = u32::try_from(items.len()).unwrap_or(u32::MAX);
    let bounds = Bounds { min: bound, max: Some(bound) };
    check.count(bounds, "item", value.elements().count(), value)?;
    Ok(RemainingChecks::Level(Level {
        schema,
        rest: RemainingValues::Places(value.elements(), 0),
        next: next_place,
    }))
}

fn next_place<'s, 'v>(
    _: &Check<'v>,
    level: &mut Level<'s, 'v>,
) -> CheckResult<Option<(&'s Schema, Value<'v>)>> {
    let (Shape::Tuple(schemas), RemainingValues::Places(items, index)) =
        (level.schema.shape, &mut level.rest)
    else {
        return Ok(None);
    };
    let schema = schemas.get(*index);
    *index = index.saturating_add(1);
    Ok(schema.and_then(|schema| Some((*schema, items.next()?))))
}

pub(super) fn map<'s, 'v>(
    check: &Check<'v>,
    schema: &'s Schema,
    value: Value<'v>,
) -> CheckResult<RemainingChecks<'s, 'v>> {
    check.of_type(schema, value)?;
    Ok(RemainingChecks::Level(Level {
        schema,
        rest: RemainingValues::Members(value.members(), 0),
        next: next_of_map,
    }))
}

fn next_of_map<'s, 'v>(
    _: &Check<'v>,
    level: &mut Level<'s, 'v>,
) -> CheckResult<Option<(&'s Schema, Value<'v>)>> {
    let (Shape::Map(values), RemainingValues::Members(members, _)) =
        (level.schema.shape, &mut level.rest)
    else {
        return Ok(None);
    };
    Ok(members.next().map(|(_, inner)| (values, inner)))
}

pub(super) fn object<'s, 'v>(
    check: &Check<'v>,
    schema: &'s Schema,
    value: Value<'v>,
) -> CheckResult<RemainingChecks<'s, 'v>> {
    check.of_type(schema, value)?;
    let Shape::Object { tag, properties } = schema.shape else { return Ok(RemainingChecks::Whole) };
    if let Some((name, _)) = tag
        && !value.has_member(name)
    {
        return Err(check.missing(value, name, Types::STRING));
    }
    for property in properties {
        if property.presence == Presence::Required && !value.has_member(property.name) {
            return Err(check.missing(value, property.name, property.schema.types()));
        }
    }
    Ok(RemainingChecks::Level(Level {
        schema,
        rest: RemainingValues::Members(value.members(), 0),
        next: next_member,
    }))
}

fn next_member<'s, 'v>(
    check: &Check<'v>,
    level: &mut Level<'s, 'v>,
) -> CheckResult<Option<(&'s Schema, Value<'v>)>> {
    let (Shape::Object { tag, properties }, RemainingValues::Members(rest, seen)) =
        (level.schema.shape, &mut level.rest)
    else {
        return Ok(None);
    };
    while let Some((name, inner)) = rest.next() {
        let (known, property, place) = if let Some((tag, expected)) = tag
            && name == *tag
        {
            if inner.as_text().is_none_or(|text| text != *expected) {
                return check.wrong(inner, Expectation::Bound("the string", expected));
            }
            (tag, None, properties.len())
        } else {
            let mut places = properties.iter().enumerate();
            let place = places.find(|(_, property)| name == *property.name);
            let unknown = || {
                check.error(
                    inner,
                    Expectation::member(Names::properties(
                        tag.map_or("", |(tag, _)| tag),
                        properties,
                    )),
                    ActualValue::Unknown,
                )
            };
            let (place, property) = place.ok_or_else(unknown)?;
            (property.name, Some(property), place)
        };
        let bit = u32::try_from(place).ok().and_then(|place| 1_usize.checked_shl(place));
        let is_repeated = match bit {
            // This only saves time.
            Some(bit) if !IS_CHIP => core::mem::replace(seen, *seen | bit) & bit != 0,
            // All names are known here, and there are few of them.
            _ => rest.given().filter(|(other, _)| *other == *known).count() > 1,
        };
        if is_repeated {
            return check.wrong(inner, Expectation::Words("one member of this name"));
        }
        if let Some(property) = property {
            return Ok(Some((&property.schema, inner)));
        }
    }
    Ok(None)
}

pub(super) fn by_tag<'s, 'v>(
    check: &Check<'v>,
    schema: &'s Schema,
    value: Value<'v>,
) -> CheckResult<RemainingChecks<'s, 'v>> {
    check.of_type(schema, value)?;
    let Shape::Variants(Discriminator::Tag(tag), variants) = schema.shape else {
        return Ok(RemainingChecks::Whole);
    };
    let Some(named) = value.member(tag) else {
        return Err(check.missing(value, tag, Types::STRING));
    };
    let chosen =
        named.as_text().and_then(|name| variants.iter().find(|variant| name == *variant.name));
    match chosen {
        Some(variant) => Ok(RemainingChecks::As(&variant.schema, value)),
        None => check.wrong(named, Expectation::one_of(Names::variants(variants), false)),
    }
}

pub(super) fn by_key<'s, 'v>(
    check: &Check<'v>,
    schema: &'s Schema,
    value: Value<'v>,
) -> CheckResult<RemainingChecks<'s, 'v>> {
    check.of_type(schema, value)?;
    let Shape::Variants(Discriminator::Key, variants) = schema.shape else {
        return Ok(RemainingChecks::Whole);
    };
    if value.kind() == Kind::String {
        return match variants.iter().find(|variant| variant.name.is_empty()) {
            Some(names) => Ok(RemainingChecks::As(&names.schema, value)),
            None => check.wrong(value, Expectation::Type(Types::OBJECT)),
        };
    }
    let (with_content, mut members) =
        (variants.iter().filter(|variant| !variant.name.is_empty()), value.members());
    let Some((key, inner)) = members.next() else {
        return check.wrong(value, Expectation::Words("an object with one member"));
    };
    if members.next().is_some() {
        return check.wrong(value, Expectation::Words("an object with one member"));
    }
    match with_content.clone().find(|variant| key == *variant.name) {
        Some(variant) => Ok(RemainingChecks::As(&variant.schema, inner)),
        None => {
            let named = variants
                .split_first()
                .filter(|(first, _)| first.name.is_empty())
                .map_or(variants, |(_, rest)| rest);
            Err(check.error(
                inner,
                Expectation::member(Names::variants(named)),
                ActualValue::Unknown,
            ))
        }
    }
}

/// Checks a value against each variant in turn. Each variant is checked separately, so that after
/// an error in one the next is tried. The nesting of these checks equals the nesting of such
/// choices in the schema.
pub(super) fn by_fit<'s, 'v>(
    check: &Check<'v>,
    schema: &'s Schema,
    value: Value<'v>,
) -> CheckResult<RemainingChecks<'s, 'v>> {
    check.of_type(schema, value)?;
    let Shape::Variants(Discriminator::Fit, variants) = schema.shape else {
        return Ok(RemainingChecks::Whole);
    };
    let start = value.offset_in(check.root).unwrap_or(0);
    // An error inside the value says more than one about the value as a whole.
    let mut deepest =
        check.error(value, Expectation::Words("one of the allowed forms"), ActualValue::Value);
    for variant in variants {
        match variant.schema.check_in(check.root, value) {
            Ok(()) => return Ok(RemainingChecks::Whole),
            Err(error) if error.at > deepest.at || (error.at == start && variants.len() == 1) => {
                deepest = error;
            }
            Err(_) => {}
        }
    }
    Err(deepest)
}

#[cfg(feature = "schemars")]
pub(super) fn external<'s, 'v>(
    check: &Check<'v>,
    schema: &'s Schema,
    value: Value<'v>,
) -> CheckResult<RemainingChecks<'s, 'v>> {
    let Shape::External(text) = schema.shape else { return Ok(RemainingChecks::Whole) };
    let Some(root) = Value::first(text().as_bytes()) else { return Ok(RemainingChecks::Whole) };
    match super::RawSchema::of(root).check(value) {
        Ok(()) => Ok(RemainingChecks::Whole),
        Err(mut error) => {
            error.at = error.at.saturating_add(value.offset_in(check.root).unwrap_or(0));
            Err(error)
        }
    }
}

/// Counts the characters of a text, with escapes decoded.
pub(super) fn characters(text: Text<'_>) -> usize {
    text.pieces().fold(0, |sum: usize, piece| {
        sum.saturating_add(match piece {
            Piece::Plain(plain) => plain.chars().count(),
            Piece::Char(_) => 1,
        })
    })
}
