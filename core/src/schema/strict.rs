//! The strict form of schemas, for output and for strict tools: the API can enforce it while the
//! model writes.
//!
//! Keywords that the API does not support move into the description: the model reads them, and the
//! reply or the input is checked against the original schema. The list of keywords is that of the
//! provider's SDKs. An object allows no other members. In an output, all members are required.

use super::write::Writer;
use super::{Bounds, Default, Schema, Shape};

/// The formats of strings that the API supports.
const FORMATS: [&str; 10] =
    ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// Returns whether the API supports this format of strings in strict mode.
pub const fn is_supported(format: &str) -> bool {
    let mut i = 0;
    while i < FORMATS.len() {
        #[allow(clippy::indexing_slicing, reason = "bounded above")]
        if super::compose::is_same(FORMATS[i], format) {
            return true;
        }
        i += 1;
    }
    false
}

/// The text before and after the schema of a type that is not an object. The value is wrapped in an
/// object as the member `value`.
const BEFORE: &str = "{\"type\":\"object\",\"properties\":{\"value\":";
const AFTER: &str = "},\"required\":[\"value\"],\"additionalProperties\":false}";

/// Returns the length of [`output`] for this schema, in bytes.
pub const fn output_len(schema: &Schema, before: &str, after: &str) -> usize {
    let mut out = Writer { bytes: &mut [], len: 0, depth: 0, is_strict: true, requires_all: true };
    out.output(schema, before, after);
    out.len
}

/// Writes `{"type":"json_schema","schema":…}` between two other texts. `N` is the result of
/// [`output_len`].
pub const fn output<const N: usize>(schema: &Schema, before: &str, after: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let mut out =
        Writer { bytes: &mut bytes, len: 0, depth: 0, is_strict: true, requires_all: true };
    out.output(schema, before, after);
    bytes
}

/// Writes the same text at run time.
#[cfg(feature = "alloc")]
pub(crate) fn output_text(schema: &Schema) -> alloc::string::String {
    let mut bytes = alloc::vec![0; output_len(schema, "", "")];
    let mut out =
        Writer { bytes: &mut bytes, len: 0, depth: 0, is_strict: true, requires_all: true };
    out.output(schema, "", "");
    alloc::string::String::from_utf8(bytes).unwrap_or_default()
}

/// Writes the format of a type whose schema is partly known only at run time.
///
/// # Errors
/// Returns the reason if the API does not support the schema.
#[cfg(feature = "schemars")]
pub(crate) fn output_of(schema: &Schema) -> Result<alloc::string::String, &'static str> {
    let text = output_text(schema);
    if schema.has_external() { super::external::filled_strict(&text, schema) } else { Ok(text) }
}

#[allow(clippy::panic, reason = "called in constants: a panic is an error of the compiler")]
impl Schema {
    /// Returns whether the schema itself can be that of an output. The API requires an object.
    #[cfg(not(feature = "schemars"))]
    pub(crate) const fn is_output_root(&self) -> bool {
        self.is_plain_object()
    }

    /// Returns whether the schema itself can be that of an output. The API requires an object.
    #[cfg(feature = "schemars")]
    pub(crate) fn is_output_root(&self) -> bool {
        match self.shape {
            Shape::External(text) if !self.nullable => {
                let root = crate::json::Value::first(text().as_bytes());
                let kind = root.and_then(|root| root.member("type"));
                kind.is_some_and(|kind| kind.is_text("object"))
            }
            _ => self.is_plain_object(),
        }
    }

    const fn is_plain_object(&self) -> bool {
        matches!(self.shape, Shape::Object { .. }) && !self.nullable
    }

    /// Checks that the API can enforce the schema.
    ///
    /// # Panics
    /// Panics if it cannot: if some value may have any form, or if an object may have any members.
    pub(crate) const fn assert_output(&self) {
        match self.shape {
            Shape::Any => panic!(
                "any JSON cannot be part of an output: the API requires a schema. Use a string for JSON text, or name the members"
            ),
            Shape::Map(_) => panic!(
                "a map cannot be part of an output: the API requires a fixed list of members. Use a list of structs with the key as a member"
            ),
            Shape::Array(inner, ..) => inner.assert_output(),
            Shape::Tuple(mut items) => {
                while let [item, rest @ ..] = items {
                    item.assert_output();
                    items = rest;
                }
            }
            Shape::Object { mut properties, .. } => {
                while let [property, rest @ ..] = properties {
                    property.schema.assert_output();
                    properties = rest;
                }
            }
            Shape::Variants(_, mut variants) => {
                while let [variant, rest @ ..] = variants {
                    variant.schema.assert_output();
                    variants = rest;
                }
            }
            _ => {}
        }
    }

    /// Returns whether a keyword of the schema must move into its description.
    const fn has_notes(&self) -> bool {
        let has_default = !matches!(self.default, Default::None);
        has_default
            || match self.shape {
                Shape::Integer(range) | Shape::Number(range) => {
                    !range.minimum.is_empty() || !range.maximum.is_empty()
                }
                Shape::String(bounds, format) => {
                    bounds.min > 0
                        || bounds.max.is_some()
                        || (!format.is_empty() && !is_supported(format))
                }
                Shape::Array(_, bounds, unique) => bounds.min > 1 || bounds.max.is_some() || unique,
                Shape::Tuple(_) => true,
                _ => false,
            }
    }
}

impl Writer<'_> {
    const fn output(&mut self, schema: &Schema, before: &str, after: &str) {
        schema.assert_output();
        self.raw(before);
        self.raw("{\"type\":\"json_schema\",\"schema\":");
        if schema.is_plain_object() {
            self.schema(schema, None);
        } else {
            self.raw(BEFORE);
            self.schema(schema, None);
            self.raw(AFTER);
        }
        self.raw("}");
        self.raw(after);
    }

    /// Writes the description and what the API does not support: `Text. {minimum: 1, maximum: 3}`.
    pub(super) const fn strict_description(&mut self, start: usize, schema: &Schema) {
        let has_notes = schema.has_notes();
        if schema.description.is_empty() && !has_notes {
            return;
        }
        self.key(start, "description");
        self.byte(b'"');
        self.escaped(schema.description);
        if has_notes {
            if !schema.description.is_empty() {
                self.byte(b' ');
            }
            self.byte(b'{');
            let first = self.len;
            match schema.shape {
                Shape::Integer(range) | Shape::Number(range) => {
                    self.note_text(first, "minimum", range.minimum);
                    self.note_text(first, "maximum", range.maximum);
                }
                Shape::String(bounds, format) => {
                    if !is_supported(format) {
                        self.note_text(first, "format", format);
                    }
                    self.note_bounds(first, "minLength", "maxLength", bounds, 0);
                }
                Shape::Array(_, bounds, unique) => {
                    self.note_bounds(first, "minItems", "maxItems", bounds, 1);
                    if unique {
                        self.note_text(first, "uniqueItems", "true");
                    }
                }
                Shape::Tuple(items) => {
                    self.note(first, "items");
                    self.raw("exactly ");
                    self.number(items.len() as u64);
                    self.raw(", in the order of the forms");
                }
                _ => {}
            }
            match schema.default {
                Default::None => {}
                Default::Json(json) => self.note_text(first, "default", json),
                Default::Text(text) => {
                    self.note(first, "default");
                    self.raw("\\\"");
                    self.escaped(text);
                    self.raw("\\\"");
                }
                Default::Integer(number) => {
                    self.note(first, "default");
                    if number < 0 {
                        self.byte(b'-');
                    }
                    self.number(number.unsigned_abs());
                }
                Default::Boolean(value) => {
                    self.note_text(first, "default", if value { "true" } else { "false" });
                }
            }
            self.byte(b'}');
        }
        self.byte(b'"');
    }

    const fn note(&mut self, first: usize, name: &str) {
        if self.len > first {
            self.raw(", ");
        }
        self.raw(name);
        self.raw(": ");
    }

    const fn note_text(&mut self, first: usize, name: &str, text: &str) {
        if !text.is_empty() {
            self.note(first, name);
            self.escaped(text);
        }
    }

    /// Writes the bounds, but not a minimum up to `kept`, which the API supports.
    const fn note_bounds(&mut self, first: usize, min: &str, max: &str, bounds: Bounds, kept: u32) {
        if bounds.min > kept {
            self.note(first, min);
            self.number(bounds.min as u64);
        }
        if let Some(most) = bounds.max {
            self.note(first, max);
            self.number(most as u64);
        }
    }

    /// Writes the keywords that the API supports and that depend on the shape.
    pub(super) const fn strict_keywords(&mut self, start: usize, schema: &Schema) {
        match schema.shape {
            Shape::String(_, format) if is_supported(format) => {
                self.key(start, "format");
                self.string(format);
            }
            Shape::Array(_, bounds, _) if bounds.min > 0 => {
                self.key(start, "minItems");
                self.number(1);
            }
            Shape::Tuple(items) => {
                self.key(start, "minItems");
                self.number(1);
                self.key(start, "items");
                self.raw("{\"anyOf\":[");
                let mut i = 0;
                while i < items.len() {
                    if i > 0 {
                        self.byte(b',');
                    }
                    #[allow(clippy::indexing_slicing, reason = "bounded above")]
                    self.schema(items[i], None);
                    i += 1;
                }
                self.raw("]}");
            }
            _ => {}
        }
    }
}
