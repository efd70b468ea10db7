//! Parts of schemas that only the macros write.

use super::Schema;

/// The value of a missing member, as the schema states it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Default {
    /// No default.
    None,
    /// JSON text.
    Json(&'static str),
    /// A string.
    Text(&'static str),
    /// An integer.
    Integer(i64),
    /// A boolean.
    Boolean(bool),
}

/// How an input identifies the variant of an enum. The forms are those of serde.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Discriminator {
    /// The string in this member of an object.
    Tag(&'static str),
    /// The name of an object's only member. A variant without contents is a string.
    Key,
    /// Nothing: it is the first variant whose schema fits.
    Fit,
}

/// One variant of an enum.
#[derive(Clone, Copy, Debug)]
pub struct Variant {
    pub(crate) name: &'static str,
    pub(crate) schema: Schema,
}

impl Variant {
    /// Creates a variant.
    ///
    /// With [`Discriminator::Tag`], `schema` must be a [tagged](Schema::tagged) object schema. With
    /// [`Discriminator::Key`], it is the schema of the contents. With [`Discriminator::Key`] and an
    /// empty name, it is the [names](Schema::names) of all variants without contents. With
    /// [`Discriminator::Fit`], it is any schema, and the name has no meaning.
    pub const fn new(name: &'static str, schema: Schema) -> Self {
        Self { name, schema }
    }
}
