//! Schemas from schemars, which exist only at run time.
//!
//! A definition is a constant. In the constant, the byte [`HERE`] marks the place of each external
//! schema, and [`DEFS`] the place of what they refer to. Neither byte occurs in JSON. [`expand`]
//! replaces them when the definition is first used, and keeps the result for the life of the
//! program: there is one for each tool in the source.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::any::TypeId;
use core::hash::Hash;
use std::collections::HashMap;
use std::sync::{LazyLock, PoisonError, RwLock};

use serde_json::{Map, Value};

use super::{Schema, Shape};

/// The place of the members of an external schema.
pub(super) const HERE: u8 = 0;
/// The place of `$defs`, at the end of the root schema.
pub(super) const DEFS: u8 = 1;
const REFERENCE: &str = "#/$defs/";

impl Schema {
    /// Returns whether part of the schema is known only at run time.
    pub(crate) const fn has_external(&self) -> bool {
        match self.shape {
            Shape::External(_) => true,
            Shape::Array(inner, ..) | Shape::Map(inner) => inner.has_external(),
            Shape::Tuple(mut items) => {
                while let [item, rest @ ..] = items {
                    if item.has_external() {
                        return true;
                    }
                    items = rest;
                }
                false
            }
            Shape::Object { mut properties, .. } => {
                while let [property, rest @ ..] = properties {
                    if property.schema.has_external() {
                        return true;
                    }
                    properties = rest;
                }
                false
            }
            Shape::Variants(_, mut variants) => {
                while let [variant, rest @ ..] = variants {
                    if variant.schema.has_external() {
                        return true;
                    }
                    variants = rest;
                }
                false
            }
            _ => false,
        }
    }

    /// Collects the external schemas in the order in which they are written.
    fn externals<'s>(&'s self, found: &mut Vec<&'s Self>) {
        match self.shape {
            Shape::External(_) => found.push(self),
            Shape::Array(inner, ..) | Shape::Map(inner) => inner.externals(found),
            Shape::Tuple(items) => items.iter().for_each(|item| item.externals(found)),
            Shape::Object { properties, .. } => properties
                .iter()
                .filter(|property| property.is_listed())
                .for_each(|property| property.schema.externals(found)),
            Shape::Variants(_, variants) => {
                variants.iter().for_each(|variant| variant.schema.externals(found));
            }
            _ => {}
        }
    }
}

/// Returns the format of an output with the marks replaced by strict schemas.
pub(super) fn filled_strict(json: &str, schema: &Schema) -> Result<String, &'static str> {
    let strict = |external: &Schema| -> Result<String, &'static str> {
        let Shape::External(text) = external.shape else { return Ok(String::new()) };
        let mut value = serde_json::from_str(text()).unwrap_or_default();
        super::strict_external::make_strict(&mut value)?;
        if !external.description.is_empty()
            && let Value::Object(members) = &mut value
        {
            members.remove("description");
        }
        Ok(unbraced(&value))
    };
    if matches!(schema.shape, Shape::External(_)) && schema.is_output_root() {
        return Ok(alloc::format!(
            "{{\"type\":\"json_schema\",\"schema\":{{{}}}}}",
            strict(schema)?
        ));
    }
    let mut externals = Vec::new();
    schema.externals(&mut externals);
    let mut pieces = json.split('\0');
    let mut out = pieces.next().unwrap_or_default().to_string();
    for (piece, external) in pieces.zip(externals) {
        out.push_str(&strict(external)?);
        out.push_str(piece);
    }
    Ok(out)
}

type Cache<K> = LazyLock<RwLock<HashMap<K, &'static str>>>;

/// Returns the text of this key. The first call creates it.
fn cached<K: Eq + Hash>(cache: &Cache<K>, key: K, make: impl FnOnce() -> String) -> &'static str {
    if let Some(text) = cache.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
        return text;
    }
    // Without the lock, because a type's own code makes its schema.
    let made = make();
    let mut texts = cache.write().unwrap_or_else(PoisonError::into_inner);
    texts.entry(key).or_insert_with(|| Box::leak(made.into_boxed_str()))
}

/// Returns the schema of a type as JSON text, for what serde reads. Subschemas are in their places,
/// except for types that contain themselves.
pub(crate) fn text_of<T: schemars::JsonSchema + 'static>() -> &'static str {
    static TEXTS: Cache<TypeId> = LazyLock::new(RwLock::default);
    cached(&TEXTS, TypeId::of::<T>(), || {
        let mut settings = schemars::generate::SchemaSettings::draft2020_12().for_deserialize();
        settings.inline_subschemas = true;
        settings.meta_schema = None;
        let schema = settings.into_generator().into_root_schema_for::<T>();
        match schema.to_value() {
            Value::Object(mut members) => {
                // The name of the Rust type tells the model nothing.
                members.remove("title");
                Value::Object(members).to_string()
            }
            Value::Bool(false) => "{\"not\":{}}".to_string(),
            _ => "{}".to_string(),
        }
    })
}

/// Replaces the marks in a definition that was written from `schema`.
pub(crate) fn expand(json: &'static str, schema: &'static Schema) -> &'static str {
    static DEFINITIONS: Cache<(usize, usize)> = LazyLock::new(RwLock::default);
    let key = (json.as_ptr().addr(), core::ptr::from_ref(schema).addr());
    cached(&DEFINITIONS, key, || filled(json, schema))
}

/// Returns the text with the marks replaced.
pub(super) fn filled(json: &str, schema: &Schema) -> String {
    let is_root = matches!(schema.shape, Shape::External(_));
    let mut externals = Vec::new();
    schema.externals(&mut externals);
    let (mut externals, mut defs) = (externals.into_iter(), Definitions::default());
    let mut out = String::new();
    let mut rest = json;
    while let Some((before, after)) = rest.split_once(['\0', '\u{1}']) {
        out.push_str(before);
        let is_here = rest.as_bytes().get(before.len()) == Some(&HERE);
        let members = if is_here {
            externals.next().map(|external| defs.members(external, is_root)).unwrap_or_default()
        } else {
            defs.write()
        };
        rest = after;
        // If the replacement is empty, an adjacent comma is removed too.
        if is_here && members.is_empty() {
            if out.ends_with(',') {
                out.pop();
            } else {
                rest = rest.strip_prefix(',').unwrap_or(rest);
            }
        }
        out.push_str(&members);
    }
    out.push_str(rest);
    out
}

/// The definitions that the external schemas of one tool refer to.
#[derive(Default)]
struct Definitions {
    /// Each with its text as its type wrote it.
    all: Vec<(String, Value, String)>,
}

impl Definitions {
    /// Returns the members of an external schema as JSON without braces. Moves its definitions
    /// here, unless it is the root itself.
    fn members(&mut self, external: &Schema, is_root: bool) -> String {
        let Shape::External(text) = external.shape else { return String::new() };
        let Ok(Value::Object(mut members)) = serde_json::from_str(text()) else {
            return String::new();
        };
        if !is_root {
            let mut inner = match members.remove("$defs") {
                Some(Value::Object(inner)) => inner,
                _ => Map::new(),
            };
            let mut whole = Value::Object(members);
            if refers_to(&whole, "#") || inner.values().any(|def| refers_to(def, "#")) {
                // The type contains itself, so it needs a name.
                inner.insert("Root".to_string(), whole);
                whole = serde_json::json!({ "$ref": "#" });
            }
            let names: Vec<_> =
                inner.iter().map(|(name, def)| (name.clone(), self.name(name, def))).collect();
            let rename = |value: &mut Value| rename(value, &names);
            for (name, mut def) in inner {
                let original = def.to_string();
                rename(&mut def);
                let new = names.iter().find(|(old, _)| *old == name).map(|(_, new)| new.clone());
                if let Some(new) = new
                    && !self.all.iter().any(|(known, ..)| *known == new)
                {
                    self.all.push((new, def, original));
                }
            }
            rename(&mut whole);
            members = match whole {
                Value::Object(members) => members,
                _ => Map::new(),
            };
        }
        if !external.description.is_empty() {
            members.remove("description");
        }
        unbraced(&Value::Object(members))
    }

    /// Returns a name that is free, or that already names the same definition.
    fn name(&self, name: &str, def: &Value) -> String {
        let text = def.to_string();
        let fits = |candidate: &str| {
            self.all.iter().all(|(known, _, original)| known != candidate || *original == text)
        };
        let numbered = (2_usize..).map(|n| alloc::format!("{name}{n}"));
        core::iter::once(name.to_string())
            .chain(numbered)
            .find(|name| fits(name))
            .unwrap_or_default()
    }

    /// Writes `,"$defs":{…}`, or nothing.
    fn write(&self) -> String {
        if self.all.is_empty() {
            return String::new();
        }
        let defs: Map<_, _> =
            self.all.iter().map(|(name, def, _)| (name.clone(), def.clone())).collect();
        alloc::format!(",\"$defs\":{}", Value::Object(defs))
    }
}

fn unbraced(object: &Value) -> String {
    let json = object.to_string();
    json.strip_prefix('{').and_then(|json| json.strip_suffix('}')).unwrap_or_default().to_string()
}

fn refers_to(value: &Value, target: &str) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, inner)| {
            (name == "$ref" && inner.as_str() == Some(target)) || refers_to(inner, target)
        }),
        Value::Array(items) => items.iter().any(|item| refers_to(item, target)),
        _ => false,
    }
}

/// Renames the definitions that a schema refers to.
fn rename(value: &mut Value, names: &[(String, String)]) {
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                if name == "$ref"
                    && let Some(target) = inner.as_str()
                {
                    let old =
                        if target == "#" { Some("Root") } else { target.strip_prefix(REFERENCE) };
                    let new = names.iter().find(|(name, _)| Some(name.as_str()) == old);
                    if let Some((_, new)) = new {
                        *inner = Value::String([REFERENCE, new].concat());
                    }
                } else {
                    rename(inner, names);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, names)),
        _ => {}
    }
}
