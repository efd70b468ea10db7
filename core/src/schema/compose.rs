//! Schemas made of others: formats, tuples, sets, flattened members and second names.

use super::{Default, Discriminator, Property, Schema, Shape, Variant, extras};

/// How an object's member must be present, and how its schema is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    Optional,
    /// Required, but under one of several names: whoever decodes the object reports that it is
    /// missing.
    Aliased,
    /// A second name of the member before it. The schema does not state it.
    Alias,
    /// Not a member: the members of its schema belong to the object.
    Flat,
}

impl Property {
    /// Marks a member that may also be present under the names that follow as
    /// [`alias`](Self::alias). [`Decoder::name_of`](crate::tool::Decoder::name_of) checks that it
    /// is present under exactly one of them.
    #[must_use]
    pub const fn aliased(mut self) -> Self {
        if matches!(self.presence, Presence::Required) {
            self.presence = Presence::Aliased;
        }
        self
    }

    /// Creates a second name of a member. An input may use it. The schema does not state it.
    pub const fn alias(name: &'static str, schema: Schema) -> Self {
        Self { name, schema, presence: Presence::Alias }
    }

    /// Returns whether the schema states that the member is required.
    pub(crate) const fn is_required(&self) -> bool {
        matches!(self.presence, Presence::Required | Presence::Aliased)
    }

    /// Returns whether the schema states the member.
    pub(crate) const fn is_listed(&self) -> bool {
        !matches!(self.presence, Presence::Alias)
    }
}

const FLATTEN: &str = "`flatten` is for structs: their members have names that the schema can list. \
                       Give an enum or a map a member of its own, or take the whole type as `Json<T>`";

/// Returns the description of a schema. Empty if it has none.
pub const fn description(schema: &Schema) -> &'static str {
    schema.description
}

/// Returns the schema without its description.
#[must_use]
pub const fn without_description(mut schema: Schema) -> Schema {
    schema.description = "";
    schema
}

/// Returns the schema with this default.
#[must_use]
pub const fn with_default(mut schema: Schema, default: Default) -> Schema {
    schema.default = default;
    schema
}

/// Returns the schema if it can be the whole input of a tool.
///
/// # Panics
/// Panics if the schema is not for an object.
#[must_use]
#[allow(clippy::panic, reason = "runs in constants: a panic is an error of the compiler")]
pub const fn whole_input(schema: &'static Schema) -> &'static Schema {
    match schema.shape {
        Shape::Object { tag: None, .. } | Shape::Map(_) if !schema.nullable => schema,
        #[cfg(feature = "schemars")]
        Shape::External(_) if !schema.nullable => schema,
        _ => panic!(
            "the whole input must be a struct or a map: without the option `input`, an enum or a list is a member of the input"
        ),
    }
}

/// Creates a schema for one of several forms.
///
/// # Panics
/// Panics if a variant does not have the form that `by` requires. See [`Variant::new`].
#[allow(clippy::panic, reason = "runs in constants: a panic is an error of the compiler")]
pub const fn choice(by: Discriminator, variants: &'static [Variant]) -> Schema {
    let mut rest = variants;
    // A choice must not lead to another choice about the same value. Otherwise a check might
    // not terminate.
    while let [variant, more @ ..] = rest {
        match (by, &variant.schema.shape) {
            (Discriminator::Tag(_), Shape::Object { .. })
            | (Discriminator::Key, Shape::Names(_)) => {}
            (Discriminator::Key, _) if !variant.name.is_empty() => {}
            // These are checked apart.
            (Discriminator::Fit, _) => {}
            (Discriminator::Tag(_), _) => {
                panic!("a variant that is identified by its tag must be an object")
            }
            (Discriminator::Key, _) => {
                panic!("a variant without a name must list the variants without content")
            }
        }
        rest = more;
    }
    let rule = match by {
        Discriminator::Tag(_) => extras::enable_tagged_variants(),
        Discriminator::Key => extras::enable_keyed_variants(),
        Discriminator::Fit => extras::enable_untagged_variants(),
    };
    Schema::of(Shape::Variants(by, variants), rule)
}

/// Creates a place for the members of `schema`, an object schema. [`flattened`] puts them there.
pub const fn flat_member(schema: Schema) -> Property {
    Property { name: "", schema, presence: Presence::Flat }
}

/// Returns the number of members that [`flattened`] returns.
#[allow(clippy::panic, reason = "runs in constants: a panic is an error of the compiler")]
pub const fn flattened_len(mut parts: &[Property]) -> usize {
    let mut len = 0;
    while let [part, rest @ ..] = parts {
        len += match (part.presence, part.schema.shape) {
            (Presence::Flat, Shape::Object { tag: None, properties }) if !part.schema.nullable => {
                properties.len()
            }
            (Presence::Flat, _) => panic!("{}", FLATTEN),
            _ => 1,
        };
        parts = rest;
    }
    len
}

/// Replaces each [`flat_member`] with the members of its schema. `N` is the result of
/// [`flattened_len`].
#[allow(clippy::panic, reason = "runs in constants: a panic is an error of the compiler")]
#[allow(
    clippy::indexing_slicing,
    reason = "runs in constants, where an index that is out of bounds does not compile"
)]
pub const fn flattened<const N: usize>(mut parts: &[Property]) -> [Property; N] {
    let mut all = [Property::optional("", Schema::ANY); N];
    let mut len = 0;
    while let [part, rest @ ..] = parts {
        let mut members = match (part.presence, &part.schema.shape) {
            (Presence::Flat, Shape::Object { properties, .. }) => properties,
            _ => core::slice::from_ref(part),
        };
        while let [member, more @ ..] = members {
            let mut i = 0;
            while i < len {
                if is_same(all[i].name, member.name) {
                    panic!("two members have the same name, one of them from a flattened struct");
                }
                i += 1;
            }
            all[len] = *member;
            len += 1;
            members = more;
        }
        parts = rest;
    }
    all
}

pub(super) const fn is_same(a: &str, b: &str) -> bool {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let ([x, rest_a @ ..], [y, rest_b @ ..]) = (a, b) {
        if *x != *y {
            return false;
        }
        (a, b) = (rest_a, rest_b);
    }
    a.is_empty() && b.is_empty()
}

#[allow(
    clippy::panic,
    reason = "called in constants: a panic is an error of the compiler, with this text"
)]
impl Schema {
    /// Sets the format of a string, such as `date-time`. The model receives it. The check does not
    /// enforce it: the type does, when it decodes a value.
    ///
    /// # Panics
    /// Panics if the schema is not for a string.
    #[must_use]
    pub const fn format(mut self, name: &'static str) -> Self {
        match &mut self.shape {
            Shape::String(_, format) => *format = name,
            _ => panic!("`format` is for strings"),
        }
        self
    }

    /// Creates a schema for an array of as many items as there are schemas.
    pub const fn tuple(items: &'static [&'static Self]) -> Self {
        Self::of(Shape::Tuple(items), extras::enable_tuples())
    }

    /// States that no item of an array occurs twice. The model receives this. The check does not
    /// enforce it.
    ///
    /// # Panics
    /// Panics if the schema is not for an array.
    #[must_use]
    pub const fn unique(mut self) -> Self {
        match &mut self.shape {
            Shape::Array(_, _, unique) => *unique = true,
            _ => panic!("only the items of an array can be unique"),
        }
        self
    }

    /// Creates a schema from JSON Schema text that is made at run time. `text` must return the same
    /// text each time.
    #[cfg(feature = "schemars")]
    pub(crate) const fn external(text: fn() -> &'static str) -> Self {
        Self::of(Shape::External(text), extras::enable_external_schemas())
    }
}
