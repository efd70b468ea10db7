//! Writing of a schema as JSON text at compile time.

use super::{Default, Discriminator, Property, SCHEMA_DEPTH, Schema, Shape, Variant};

/// Returns the size of the definition that [`definition`] writes, in bytes.
pub const fn definition_len(
    name: &str,
    description: &str,
    schema: &Schema,
    extra: &str,
    is_strict: bool,
) -> usize {
    let mut out = Writer { bytes: &mut [], len: 0, depth: 0, is_strict, requires_all: false };
    out.definition(name, description, schema, extra);
    out.len
}

/// Writes `{"name":…,"description":…,"input_schema":…}` and the raw members `extra`. `N` is the
/// result of [`definition_len`]. In the schema of a strict tool, keywords that the API does not
/// support move into the descriptions. The input is checked against the original schema.
pub const fn definition<const N: usize>(
    name: &str,
    description: &str,
    schema: &Schema,
    extra: &str,
    is_strict: bool,
) -> [u8; N] {
    let mut bytes = [0; N];
    let mut out = Writer { bytes: &mut bytes, len: 0, depth: 0, is_strict, requires_all: false };
    out.definition(name, description, schema, extra);
    bytes
}

/// Returns the bytes that [`definition`] wrote as text.
#[allow(clippy::panic, reason = "runs in constants, on what was text")]
pub const fn text(bytes: &[u8]) -> &str {
    match core::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => panic!("a definition must be UTF-8"),
    }
}

/// Stores as many bytes as fit, and counts all of them.
pub(super) struct Writer<'b> {
    pub(super) bytes: &'b mut [u8],
    pub(super) len: usize,
    /// The number of arrays, objects and maps that surround the current position.
    pub(super) depth: usize,
    /// Whether the schema is for output or of a strict tool: see [`strict`](super::strict).
    pub(super) is_strict: bool,
    /// Whether all members of an object are required, as in an output.
    pub(super) requires_all: bool,
}

#[allow(
    clippy::indexing_slicing,
    reason = "runs in constants, where an index that is out of bounds does not compile"
)]
#[allow(clippy::integer_division_remainder_used, reason = "by ten")]
#[allow(
    clippy::panic,
    reason = "runs in constants: a panic is an error of the compiler, with this text"
)]
impl Writer<'_> {
    pub(super) const fn byte(&mut self, byte: u8) {
        if self.len < self.bytes.len() {
            self.bytes[self.len] = byte;
        }
        self.len += 1;
    }

    pub(super) const fn raw(&mut self, text: &str) {
        let mut rest = text.as_bytes();
        while let [byte, more @ ..] = rest {
            self.byte(*byte);
            rest = more;
        }
    }

    /// Writes a string with its quotes.
    pub(super) const fn string(&mut self, text: &str) {
        self.byte(b'"');
        self.escaped(text);
        self.byte(b'"');
    }

    /// Writes the inside of a string.
    pub(super) const fn escaped(&mut self, text: &str) {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut rest = text.as_bytes();
        while let [byte, more @ ..] = rest {
            match *byte {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                b'\r' => self.raw("\\r"),
                b'\t' => self.raw("\\t"),
                control @ 0..0x20 => {
                    self.raw("\\u00");
                    self.byte(HEX[(control >> 4) as usize]);
                    self.byte(HEX[(control & 15) as usize]);
                }
                plain => self.byte(plain),
            }
            rest = more;
        }
    }

    pub(super) const fn number(&mut self, number: u64) {
        if number >= 10 {
            self.number(number / 10);
        }
        self.byte(b'0' + (number % 10).to_le_bytes()[0]);
    }

    const fn definition(&mut self, name: &str, description: &str, schema: &Schema, extra: &str) {
        self.raw("{\"name\":");
        self.string(name);
        if !description.is_empty() {
            self.raw(",\"description\":");
            self.string(description);
        }
        self.raw(",\"input_schema\":");
        self.schema(schema, None);
        #[cfg(feature = "schemars")]
        if schema.has_external() {
            self.len -= 1;
            self.byte(super::external::DEFS);
            self.byte(b'}');
        }
        if !extra.is_empty() {
            self.byte(b',');
            self.raw(extra);
        }
        self.byte(b'}');
    }

    /// Writes a schema. The order of its members is: type, description, bounds, default, nested
    /// schemas. A variant that is identified by its key is an object with that one member, `key`.
    pub(super) const fn schema(&mut self, schema: &Schema, key: Option<&Variant>) {
        self.byte(b'{');
        let start = self.len;
        if let Some(variant) = key {
            self.raw("\"type\":\"object\",\"properties\":{");
            self.string(variant.name);
            self.byte(b':');
            self.schema(&variant.schema, None);
            self.raw("},\"required\":[");
            self.string(variant.name);
            self.raw("],\"additionalProperties\":false}");
            return;
        }
        let kind = match schema.shape {
            Shape::Any | Shape::Variants(..) => "",
            #[cfg(feature = "schemars")]
            Shape::External(_) => "",
            Shape::Boolean => "boolean",
            Shape::Integer(_) => "integer",
            Shape::Number(_) => "number",
            Shape::String(..) | Shape::Names(_) => "string",
            Shape::Array(..) | Shape::Tuple(_) => "array",
            Shape::Object { .. } | Shape::Map(_) => "object",
        };
        if !kind.is_empty() {
            self.raw(if schema.nullable { "\"type\":[\"" } else { "\"type\":\"" });
            self.raw(kind);
            self.raw(if schema.nullable { "\",\"null\"]" } else { "\"" });
        }
        if self.is_strict {
            self.strict_description(start, schema);
            self.strict_keywords(start, schema);
        } else if !schema.description.is_empty() {
            self.key(start, "description");
            self.string(schema.description);
        }
        match schema.shape {
            // Their keywords are written already, or are in the description.
            Shape::Integer(_)
            | Shape::Number(_)
            | Shape::String(..)
            | Shape::Array(..)
            | Shape::Tuple(_)
                if self.is_strict => {}
            Shape::Integer(range) | Shape::Number(range) => {
                if !range.minimum.is_empty() {
                    self.key(start, "minimum");
                    self.raw(range.minimum);
                }
                if !range.maximum.is_empty() {
                    self.key(start, "maximum");
                    self.raw(range.maximum);
                }
            }
            Shape::String(bounds, format) => {
                if !format.is_empty() {
                    self.key(start, "format");
                    self.string(format);
                }
                self.bounds(start, "minLength", bounds.min, "maxLength", bounds.max)
            }
            Shape::Array(_, bounds, unique) => {
                self.bounds(start, "minItems", bounds.min, "maxItems", bounds.max);
                if unique {
                    self.key(start, "uniqueItems");
                    self.raw("true");
                }
            }
            Shape::Tuple(items) => {
                self.key(start, "minItems");
                self.number(items.len() as u64);
                self.key(start, "maxItems");
                self.number(items.len() as u64);
            }
            Shape::Names(names) => {
                self.key(start, "enum");
                self.names(names, schema.nullable);
            }
            Shape::Variants(by, variants) => {
                self.key(start, "anyOf");
                self.variants(by, variants, schema.nullable);
            }
            #[cfg(feature = "schemars")]
            Shape::External(_) => {
                // The members of the external schema, without its braces, replace the byte.
                if schema.nullable {
                    self.key(start, "anyOf");
                    self.raw("[{");
                    self.byte(super::external::HERE);
                    self.raw("},{\"type\":\"null\"}]");
                } else {
                    if self.len > start {
                        self.byte(b',');
                    }
                    self.byte(super::external::HERE);
                }
            }
            Shape::Any | Shape::Boolean | Shape::Object { .. } | Shape::Map(_) => {}
        }
        if !self.is_strict {
            self.default(start, schema.default);
        }
        self.depth += 1;
        match schema.shape {
            Shape::Array(..) | Shape::Tuple(_) | Shape::Map(_) | Shape::Object { .. }
                if self.depth > SCHEMA_DEPTH =>
            {
                panic!("a tool's input may nest arrays, objects and maps at most 16 levels deep")
            }
            Shape::Array(items, ..) => {
                self.key(start, "items");
                self.schema(items, None);
            }
            Shape::Tuple(_) if self.is_strict => {}
            Shape::Tuple(mut items) => {
                self.key(start, "prefixItems");
                self.byte(b'[');
                let start = self.len;
                while let [item, rest @ ..] = items {
                    if self.len > start {
                        self.byte(b',');
                    }
                    self.schema(item, None);
                    items = rest;
                }
                self.byte(b']');
            }
            Shape::Map(values) => {
                self.key(start, "additionalProperties");
                self.schema(values, None);
            }
            Shape::Object { tag, properties } => {
                self.key(start, "properties");
                self.object(tag, properties);
            }
            _ => {}
        }
        self.depth -= 1;
        self.byte(b'}');
    }

    /// Writes `"name":`, after a comma if anything was written since `start`.
    pub(super) const fn key(&mut self, start: usize, name: &str) {
        if self.len > start {
            self.byte(b',');
        }
        self.string(name);
        self.byte(b':');
    }

    const fn bounds(
        &mut self,
        start: usize,
        min_name: &str,
        min: u32,
        max_name: &str,
        max: Option<u32>,
    ) {
        if min > 0 {
            self.key(start, min_name);
            self.number(min as u64);
        }
        if let Some(max) = max {
            self.key(start, max_name);
            self.number(max as u64);
        }
    }

    const fn default(&mut self, start: usize, default: Default) {
        if matches!(default, Default::None) {
            return;
        }
        self.key(start, "default");
        match default {
            Default::None => {}
            Default::Json(json) => self.raw(json),
            Default::Text(text) => self.string(text),
            Default::Integer(number) => {
                if number < 0 {
                    self.byte(b'-');
                }
                self.number(number.unsigned_abs());
            }
            Default::Boolean(value) => self.raw(if value { "true" } else { "false" }),
        }
    }

    /// Writes the array of `enum`.
    const fn names(&mut self, names: &[&str], null: bool) {
        self.byte(b'[');
        let mut i = 0;
        while i < names.len() {
            if i > 0 {
                self.byte(b',');
            }
            self.string(names[i]);
            i += 1;
        }
        if null {
            self.raw(",null");
        }
        self.byte(b']');
    }

    /// Writes the array of `anyOf`.
    const fn variants(&mut self, by: Discriminator, variants: &[Variant], null: bool) {
        self.byte(b'[');
        let mut i = 0;
        while i < variants.len() {
            if i > 0 {
                self.byte(b',');
            }
            let variant = &variants[i];
            let by_key = matches!(by, Discriminator::Key) && !variant.name.is_empty();
            self.schema(&variant.schema, if by_key { Some(variant) } else { None });
            i += 1;
        }
        if null {
            self.raw(",{\"type\":\"null\"}");
        }
        self.byte(b']');
    }

    /// Writes the value of `properties` and the members that follow it.
    const fn object(&mut self, tag: Option<(&str, &str)>, properties: &[Property]) {
        self.byte(b'{');
        let start = self.len;
        if let Some((name, value)) = tag {
            self.string(name);
            self.raw(":{\"type\":\"string\",\"enum\":[");
            self.string(value);
            self.raw("]}");
        }
        let mut i = 0;
        while i < properties.len() {
            if properties[i].is_listed() {
                self.key(start, properties[i].name);
                self.schema(&properties[i].schema, None);
            }
            i += 1;
        }
        self.raw("},\"required\":[");
        let start = self.len;
        if let Some((name, _)) = tag {
            self.string(name);
        }
        let mut i = 0;
        while i < properties.len() {
            if properties[i].is_required() || (self.requires_all && properties[i].is_listed()) {
                if self.len > start {
                    self.byte(b',');
                }
                self.string(properties[i].name);
            }
            i += 1;
        }
        self.raw("],\"additionalProperties\":false");
    }
}
