//! Input schemas: they describe a tool's arguments to the model, and its input is checked against
//! them.
//!
//! A [`Schema`] is a constant tree that `derive(ToolInput)` and `#[tool]` build. The compiler
//! writes it as JSON, in declaration order and always with the same bytes, so that a definition is
//! one constant in flash. The same tree [checks](Schema::check) an input. A [`RawSchema`] checks an
//! input against JSON Schema text from another source. Both return an [`InputError`].

pub(crate) mod check;
pub(crate) mod compose;
mod equal;
pub(crate) mod error;
#[cfg(feature = "schemars")]
#[allow(clippy::disallowed_methods, reason = "on a server, with serde_json")]
mod external;
mod extras;
#[cfg(feature = "alloc")]
mod fold;
#[cfg(feature = "alloc")]
pub(crate) mod lenient;
pub(crate) mod parts;
mod raw;
pub(crate) mod strict;
#[cfg(feature = "schemars")]
#[allow(clippy::disallowed_methods, reason = "on a server, with serde_json")]
mod strict_external;
pub(crate) mod write;

use check::Rule;
pub(crate) use check::SCHEMA_DEPTH;
use compose::Presence;
pub(crate) use error::Explanation;
pub use error::InputError;
pub(crate) use error::{ActualValue, Expectation, Names, Types};
#[cfg(feature = "schemars")]
pub(crate) use external::{expand, text_of};
#[cfg(feature = "alloc")]
pub(crate) use fold::fold;
#[cfg(feature = "alloc")]
pub(crate) use lenient::lenient_raw;
pub(crate) use parts::{Default, Discriminator, Variant};
#[cfg(feature = "alloc")]
pub(crate) use raw::RAW_DEPTH;
pub use raw::RawSchema;
pub(crate) use raw::is_refused;
#[cfg(feature = "testing")]
pub(crate) use raw::resolve;
#[cfg(feature = "schemars")]
pub(crate) use strict::output_of;
#[cfg(all(feature = "alloc", not(feature = "schemars")))]
pub(crate) use strict::output_text;

/// A schema: the set of values that are allowed.
///
/// The const functions of this type build a schema. Each returns a changed copy. In a constant, a
/// function that does not fit the schema (such as a `minimum` for a string) is a compile-time
/// error.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    pub(crate) shape: Shape,
    /// The function that checks values against the shape: see [`extras`].
    rule: Rule,
    pub(crate) nullable: bool,
    pub(crate) description: &'static str,
    pub(crate) default: Default,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Any,
    Boolean,
    Integer(Range),
    Number(Range),
    String(Bounds, /* the format */ &'static str),
    Names(&'static [&'static str]),
    /// The flag says that no item may occur twice.
    Array(&'static Schema, Bounds, bool),
    Tuple(&'static [&'static Schema]),
    Object {
        tag: Option<(&'static str, &'static str)>,
        properties: &'static [Property],
    },
    Map(&'static Schema),
    Variants(Discriminator, &'static [Variant]),
    /// JSON Schema text that is made at run time.
    #[cfg(feature = "schemars")]
    External(fn() -> &'static str),
}

/// Bounds as JSON numbers, so that they are exact at any size. An empty string means that there is
/// no bound.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) minimum: &'static str,
    pub(crate) maximum: &'static str,
}

/// Bounds of a count of characters or items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) min: u32,
    pub(crate) max: Option<u32>,
}

/// A member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    pub(crate) name: &'static str,
    pub(crate) schema: Schema,
    pub(super) presence: Presence,
}

impl Property {
    /// Creates a member that every object must have.
    pub const fn required(name: &'static str, schema: Schema) -> Self {
        Self { name, schema, presence: Presence::Required }
    }

    /// Creates a member that an object may lack.
    pub const fn optional(name: &'static str, schema: Schema) -> Self {
        Self { name, schema, presence: Presence::Optional }
    }
}

/// Returns whether a text is empty or an integer in JSON syntax.
const fn is_whole_or_empty(text: &str) -> bool {
    let mut digits = match text.as_bytes() {
        [b'-', digits @ ..] => digits,
        [] => return true,
        digits => digits,
    };
    if matches!(digits, [] | [b'0', _, ..]) {
        return false;
    }
    while let [b'0'..=b'9', rest @ ..] = digits {
        digits = rest;
    }
    digits.is_empty()
}

const FREE: Range = Range { minimum: "", maximum: "" };
const ANY_COUNT: Bounds = Bounds { min: 0, max: None };

#[allow(
    clippy::panic,
    reason = "called in constants: a panic is an error of the compiler, with this text"
)]
impl Schema {
    /// Any JSON value.
    pub const ANY: Self = Self::of(Shape::Any, check::any);
    /// `true` or `false`.
    pub const BOOLEAN: Self = Self::of(Shape::Boolean, check::typed);
    /// An integer of any size. `5.0` and `1e2` are integers.
    pub const INTEGER: Self = Self::of(Shape::Integer(FREE), check::typed);
    /// A number.
    pub const NUMBER: Self = Self::of(Shape::Number(FREE), check::typed);
    /// A string.
    pub const STRING: Self = Self::of(Shape::String(ANY_COUNT, ""), check::typed);
    /// An integer for which the schema states the minimum 0. The check does not enforce the
    /// minimum: a type that uses this schema must do so when it decodes a value.
    pub const UNSIGNED: Self =
        Self::of(Shape::Integer(Range { minimum: "0", maximum: "" }), check::typed);

    const fn of(shape: Shape, rule: Rule) -> Self {
        Self { shape, rule, nullable: false, description: "", default: Default::None }
    }

    /// Creates a schema for a string that is one of `names`.
    pub const fn names(names: &'static [&'static str]) -> Self {
        Self::of(Shape::Names(names), extras::enable_names())
    }

    /// Creates a schema for an array.
    pub const fn array(items: &'static Self) -> Self {
        Self::of(Shape::Array(items, ANY_COUNT, false), extras::enable_arrays())
    }

    /// Creates a schema for an object with these members and no others.
    pub const fn object(properties: &'static [Property]) -> Self {
        Self::of(Shape::Object { tag: None, properties }, check::object)
    }

    /// Creates a schema for an object with any members, whose values all have the same schema.
    pub const fn map(values: &'static Self) -> Self {
        Self::of(Shape::Map(values), extras::enable_maps())
    }

    /// Returns whether the written schema is always valid JSON: it contains no JSON text from the
    /// caller except integers.
    pub(crate) const fn is_written_right(&self) -> bool {
        if matches!(self.default, Default::Json(_)) {
            return false;
        }
        match self.shape {
            Shape::Integer(range) | Shape::Number(range) => {
                is_whole_or_empty(range.minimum) && is_whole_or_empty(range.maximum)
            }
            Shape::Array(inner, ..) | Shape::Map(inner) => inner.is_written_right(),
            Shape::Tuple(mut items) => {
                while let [item, rest @ ..] = items {
                    if !item.is_written_right() {
                        return false;
                    }
                    items = rest;
                }
                true
            }
            #[cfg(feature = "schemars")]
            Shape::External(_) => false,
            Shape::Object { mut properties, .. } => {
                while let [property, rest @ ..] = properties {
                    if !property.schema.is_written_right() {
                        return false;
                    }
                    properties = rest;
                }
                true
            }
            Shape::Variants(_, mut variants) => {
                while let [variant, rest @ ..] = variants {
                    if !variant.schema.is_written_right() {
                        return false;
                    }
                    variants = rest;
                }
                true
            }
            _ => true,
        }
    }

    /// Also allows `null`.
    #[must_use]
    pub const fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// Sets the description. An empty description has no effect.
    #[must_use]
    pub const fn describe(mut self, description: &'static str) -> Self {
        if !description.is_empty() {
            self.description = description;
        }
        self
    }

    /// Adds a member before the others to an object: `name`, which must be the string `value`.
    ///
    /// # Panics
    /// Panics if the schema is not for an object.
    #[must_use]
    pub const fn tagged(mut self, name: &'static str, value: &'static str) -> Self {
        match &mut self.shape {
            Shape::Object { tag, .. } => *tag = Some((name, value)),
            _ => panic!(
                "only an object can have a tag: the content of a tagged variant must be a struct"
            ),
        }
        self
    }

    /// Sets the minimum of a number. `minimum` is a JSON number.
    ///
    /// # Panics
    /// Panics if the schema is not for a number.
    #[must_use]
    pub const fn minimum(mut self, minimum: &'static str) -> Self {
        match &mut self.shape {
            Shape::Integer(range) | Shape::Number(range) => {
                range.minimum = minimum;
                self.rule = extras::enable_number_bounds();
            }
            _ => panic!("`min` is for numbers; a string has `min_len`, an array `min_items`"),
        }
        self
    }

    /// Sets the maximum of a number. `maximum` is a JSON number.
    ///
    /// # Panics
    /// Panics if the schema is not for a number.
    #[must_use]
    pub const fn maximum(mut self, maximum: &'static str) -> Self {
        match &mut self.shape {
            Shape::Integer(range) | Shape::Number(range) => {
                range.maximum = maximum;
                self.rule = extras::enable_number_bounds();
            }
            _ => panic!("`max` is for numbers; a string has `max_len`, an array `max_items`"),
        }
        self
    }

    /// Sets the minimum length of a string in characters.
    ///
    /// # Panics
    /// Panics if the schema is not for a string.
    #[must_use]
    pub const fn min_length(mut self, characters: u32) -> Self {
        match &mut self.shape {
            Shape::String(bounds, _) => {
                bounds.min = characters;
                self.rule = extras::enable_text_bounds();
            }
            _ => panic!("`min_len` is for strings; a number has `min`, an array `min_items`"),
        }
        self
    }

    /// Sets the maximum length of a string in characters.
    ///
    /// # Panics
    /// Panics if the schema is not for a string.
    #[must_use]
    pub const fn max_length(mut self, characters: u32) -> Self {
        match &mut self.shape {
            Shape::String(bounds, _) => {
                bounds.max = Some(characters);
                self.rule = extras::enable_text_bounds();
            }
            _ => panic!("`max_len` is for strings; a number has `max`, an array `max_items`"),
        }
        self
    }

    /// Sets the minimum number of items of an array.
    ///
    /// # Panics
    /// Panics if the schema is not for an array.
    #[must_use]
    pub const fn min_items(mut self, items: u32) -> Self {
        match &mut self.shape {
            Shape::Array(_, bounds, _) => bounds.min = items,
            _ => panic!("`min_items` is for arrays; a number has `min`, a string `min_len`"),
        }
        self
    }

    /// Sets the maximum number of items of an array.
    ///
    /// # Panics
    /// Panics if the schema is not for an array.
    #[must_use]
    pub const fn max_items(mut self, items: u32) -> Self {
        match &mut self.shape {
            Shape::Array(_, bounds, _) => bounds.max = Some(items),
            _ => panic!("`max_items` is for arrays; a number has `max`, a string `max_len`"),
        }
        self
    }

    /// Returns the JSON types of the values, for an error text. Returns none if any type is
    /// allowed.
    pub(crate) const fn types(&self) -> Types {
        let Shape::Variants(Discriminator::Fit, mut variants) = self.shape else {
            return self.own_types();
        };
        let mut all = Types::NONE;
        while let [variant, rest @ ..] = variants {
            let types = variant.schema.own_types();
            if matches!(types, Types::NONE) {
                return Types::NONE;
            }
            (all, variants) = (all.and(types), rest);
        }
        if self.nullable && !matches!(all, Types::NONE) { all.and(Types::NULL) } else { all }
    }

    /// Like [`types`](Self::types), but none for untagged variants, so that nothing recurses.
    const fn own_types(&self) -> Types {
        let types = match self.shape {
            Shape::Any => return Types::NONE,
            Shape::Boolean => Types::BOOLEAN,
            Shape::Integer(_) => Types::INTEGER,
            Shape::Number(_) => Types::NUMBER,
            Shape::String(..) | Shape::Names(_) => Types::STRING,
            Shape::Array(..) | Shape::Tuple(_) => Types::ARRAY,
            Shape::Object { .. } | Shape::Map(_) | Shape::Variants(Discriminator::Tag(_), _) => {
                Types::OBJECT
            }
            Shape::Variants(Discriminator::Key, mut variants) => {
                let mut types = Types::OBJECT;
                while let [variant, rest @ ..] = variants {
                    if variant.name.is_empty() {
                        types = types.and(Types::STRING);
                    }
                    variants = rest;
                }
                types
            }
            Shape::Variants(Discriminator::Fit, _) => return Types::NONE,
            #[cfg(feature = "schemars")]
            Shape::External(_) => return Types::NONE,
        };
        if self.nullable { types.and(Types::NULL) } else { types }
    }
}
