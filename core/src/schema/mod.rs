//! Input schemas: what a tool takes, as the model is told it and as its input is checked.
//!
//! A [`Schema`] is a constant tree that `derive(ToolInput)` and `#[tool]` build. It is written out
//! as JSON at compile time, in declaration order and byte-stable, so that a definition is one
//! constant in flash; and the same tree [checks](Schema::check) an input. A [`RawSchema`] checks
//! against JSON Schema text that comes from elsewhere. Both give the same [`InputError`].

mod check;
mod equal;
mod error;
#[cfg(feature = "alloc")]
mod fold;
#[cfg(feature = "alloc")]
mod lenient;
mod raw;
mod write;

use check::Rule;
pub use check::SCHEMA_DEPTH;
pub(crate) use error::{Expected, Got, Name, Names, Types};
pub use error::{Explained, InputError};
#[cfg(feature = "alloc")]
pub(crate) use fold::fold;
#[cfg(feature = "alloc")]
#[doc(hidden)]
pub use lenient::lenient;
#[cfg(feature = "alloc")]
pub(crate) use lenient::lenient_raw;
pub(crate) use raw::is_refused;
pub use raw::{RAW_DEPTH, RawSchema};
#[doc(hidden)]
pub use write::{definition, definition_len, text};

/// What a value may be. Built by the const functions here, each of which gives a changed copy.
///
/// A function that does not fit (a `minimum` for a string) does not compile in a constant.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    pub(crate) shape: Shape,
    /// What checks values against the shape: so only what some schema of a program needs is in it.
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
    String(Bounds),
    Names(&'static [&'static str]),
    Array(&'static Schema, Bounds),
    Object { tag: Option<(&'static str, &'static str)>, properties: &'static [Property] },
    Map(&'static Schema),
    Variants(By, &'static [Variant]),
}

/// Bounds as JSON numbers, so that they are exact at any size. Empty: none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) minimum: &'static str,
    pub(crate) maximum: &'static str,
}

/// Bounds of a count: characters, or items.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) min: u32,
    pub(crate) max: Option<u32>,
}

/// A value to take when a member is missing, as the schema states it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Default {
    /// There is none.
    None,
    /// JSON text.
    Json(&'static str),
    /// A string.
    Text(&'static str),
    /// A whole number.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
}

/// A member of an object.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    pub(crate) name: &'static str,
    pub(crate) schema: Schema,
    pub(crate) required: bool,
}

impl Property {
    /// A member of this name, required or not.
    pub const fn new(name: &'static str, schema: Schema, required: bool) -> Self {
        Self { name, schema, required }
    }
}

/// How the variants of an enum are told apart. As in serde.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum By {
    /// By the string in this member of an object.
    Tag(&'static str),
    /// By the name of an object's only member; a variant without content is a string.
    Key,
}

/// One variant of an enum.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub(crate) name: &'static str,
    pub(crate) schema: Schema,
}

impl Variant {
    /// By a tag: an object schema that is [tagged](Schema::tagged). By key: the schema of the
    /// content; or, with an empty name, the [names](Schema::names) of all variants without content.
    pub const fn new(name: &'static str, schema: Schema) -> Self {
        Self { name, schema }
    }
}

/// Whether it is a whole number as JSON has it, or nothing.
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
    /// Any JSON.
    pub const ANY: Self = Self::of(Shape::Any, check::any);
    /// `true` or `false`.
    pub const BOOLEAN: Self = Self::of(Shape::Boolean, check::typed);
    /// A whole number of any size; `5.0` and `1e2` are whole numbers.
    pub const INTEGER: Self = Self::of(Shape::Integer(FREE), check::typed);
    /// A number.
    pub const NUMBER: Self = Self::of(Shape::Number(FREE), check::typed);
    /// A string.
    pub const STRING: Self = Self::of(Shape::String(ANY_COUNT), check::typed);

    const fn of(shape: Shape, rule: Rule) -> Self {
        Self { shape, rule, nullable: false, description: "", default: Default::None }
    }

    /// One of these strings.
    pub const fn names(names: &'static [&'static str]) -> Self {
        Self::of(Shape::Names(names), check::names)
    }

    /// An array.
    pub const fn array(items: &'static Self) -> Self {
        Self::of(Shape::Array(items, ANY_COUNT), check::array)
    }

    /// An object with these members and no others.
    pub const fn object(properties: &'static [Property]) -> Self {
        Self::of(Shape::Object { tag: None, properties }, check::object)
    }

    /// An object with any members, whose values are all alike.
    pub const fn map(values: &'static Self) -> Self {
        Self::of(Shape::Map(values), check::map)
    }

    /// One of several forms.
    pub const fn variants(by: By, variants: &'static [Variant]) -> Self {
        let mut rest = variants;
        // So that a check comes to an end: what follows a choice about a value is no choice about
        // the same value.
        while let [variant, more @ ..] = rest {
            match (by, &variant.schema.shape) {
                (By::Tag(_), Shape::Object { .. }) | (By::Key, Shape::Names(_)) => {}
                (By::Key, _) if !variant.name.is_empty() => {}
                (By::Tag(_), _) => panic!("a variant told by its tag is an object"),
                (By::Key, _) => {
                    panic!("a variant without a name is the names of those without content")
                }
            }
            rest = more;
        }
        let rule = match by {
            By::Tag(_) => check::by_tag,
            By::Key => check::by_key,
        };
        Self::of(Shape::Variants(by, variants), rule)
    }

    /// Whether what is written of it is JSON whoever made it: no part of it was given as JSON text,
    /// but for whole numbers.
    pub(crate) const fn is_written_right(&self) -> bool {
        if matches!(self.default, Default::Json(_)) {
            return false;
        }
        match self.shape {
            Shape::Integer(range) | Shape::Number(range) => {
                is_whole_or_empty(range.minimum) && is_whole_or_empty(range.maximum)
            }
            Shape::Array(inner, _) | Shape::Map(inner) => inner.is_written_right(),
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

    /// The same, or `null`.
    #[must_use]
    pub const fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    /// The same with a description; an empty one leaves what there is.
    #[must_use]
    pub const fn describe(mut self, description: &'static str) -> Self {
        if !description.is_empty() {
            self.description = description;
        }
        self
    }

    /// The same with a default.
    #[must_use]
    pub const fn default(mut self, default: Default) -> Self {
        self.default = default;
        self
    }

    /// The same object with one more member before the others: `name`, which must be the string
    /// `value`.
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

    /// The same number, at least `minimum`, which is a JSON number.
    #[must_use]
    pub const fn minimum(mut self, minimum: &'static str) -> Self {
        match &mut self.shape {
            Shape::Integer(range) | Shape::Number(range) => {
                range.minimum = minimum;
                self.rule = check::range;
            }
            _ => panic!("`min` is for numbers; a string has `min_len`, an array `min_items`"),
        }
        self
    }

    /// The same number, at most `maximum`, which is a JSON number.
    #[must_use]
    pub const fn maximum(mut self, maximum: &'static str) -> Self {
        match &mut self.shape {
            Shape::Integer(range) | Shape::Number(range) => {
                range.maximum = maximum;
                self.rule = check::range;
            }
            _ => panic!("`max` is for numbers; a string has `max_len`, an array `max_items`"),
        }
        self
    }

    /// The same string of at least so many characters.
    #[must_use]
    pub const fn min_length(mut self, characters: u32) -> Self {
        match &mut self.shape {
            Shape::String(bounds) => {
                bounds.min = characters;
                self.rule = check::length;
            }
            _ => panic!("`min_len` is for strings; a number has `min`, an array `min_items`"),
        }
        self
    }

    /// The same string of at most so many characters.
    #[must_use]
    pub const fn max_length(mut self, characters: u32) -> Self {
        match &mut self.shape {
            Shape::String(bounds) => {
                bounds.max = Some(characters);
                self.rule = check::length;
            }
            _ => panic!("`max_len` is for strings; a number has `max`, an array `max_items`"),
        }
        self
    }

    /// The same array of at least so many items.
    #[must_use]
    pub const fn min_items(mut self, items: u32) -> Self {
        match &mut self.shape {
            Shape::Array(_, bounds) => bounds.min = items,
            _ => panic!("`min_items` is for arrays; a number has `min`, a string `min_len`"),
        }
        self
    }

    /// The same array of at most so many items.
    #[must_use]
    pub const fn max_items(mut self, items: u32) -> Self {
        match &mut self.shape {
            Shape::Array(_, bounds) => bounds.max = Some(items),
            _ => panic!("`max_items` is for arrays; a number has `max`, a string `max_len`"),
        }
        self
    }

    /// The JSON types of the values; for an error text.
    pub(crate) fn types(&self) -> Types {
        let types = match self.shape {
            Shape::Any => return Types::NONE,
            Shape::Boolean => Types::BOOLEAN,
            Shape::Integer(_) => Types::INTEGER,
            Shape::Number(_) => Types::NUMBER,
            Shape::String(_) | Shape::Names(_) => Types::STRING,
            Shape::Array(..) => Types::ARRAY,
            Shape::Object { .. } | Shape::Map(_) | Shape::Variants(By::Tag(_), _) => Types::OBJECT,
            Shape::Variants(By::Key, variants) => {
                if variants.iter().any(|variant| variant.name.is_empty()) {
                    Types::STRING.and(Types::OBJECT)
                } else {
                    Types::OBJECT
                }
            }
        };
        if self.nullable { types.and(Types::NULL) } else { types }
    }
}
