//! Conversion of a raw schema to the form that the API accepts: one object schema without a
//! combinator or a reference at its root.

use alloc::string::String;
use alloc::vec::Vec;

use super::equal::equal;
use super::raw::{is_refused, resolve, types_of};
use super::{RAW_DEPTH, Types};
use crate::json::{Kind, Text, Value, compare, same};

/// Returns the schema as one object schema that allows exactly the same inputs. Returns `None` if
/// it already is one, or if there is no such schema.
///
/// `allOf`, a local `$ref`, and an `anyOf` or `oneOf` with one branch are merged into the root. An
/// `anyOf` with a branch that allows every value has no effect and is dropped. A real choice
/// between several forms cannot be folded.
pub(crate) fn fold(schema: Value<'_>) -> Option<String> {
    let types = schema.member("type");
    let is_list =
        types.is_some_and(|types| types.kind() == Kind::Array && types.elements().count() == 1);
    if schema.kind() != Kind::Object || !(is_refused(schema) || is_list) || refers_inside(schema) {
        return None;
    }
    let mut folded = FoldedSchema { root: schema, ..FoldedSchema::default() };
    let mut left = Vec::from([schema]);
    let mut seen = 0_usize;
    while let Some(part) = left.pop() {
        seen += 1;
        // A reference that leads back to itself would never end.
        if seen > RAW_DEPTH {
            return None;
        }
        folded.parts.push(part);
        let mut branches = Vec::new();
        for (keyword, rule) in part.members() {
            let keyword = keyword.as_plain()?;
            match keyword {
                "allOf" => {
                    branches.extend(rule.elements().filter(|branch| !is_everything(*branch)))
                }
                "anyOf" if rule.elements().any(is_everything) => {}
                "anyOf" | "oneOf" if rule.elements().count() == 1 => {
                    branches.extend(rule.elements())
                }
                "$ref" => branches.push(resolve(schema, rule.as_text()?)?),
                _ => folded.take(part, keyword, rule)?,
            }
        }
        if branches.iter().any(|branch| branch.kind() != Kind::Object) {
            return None;
        }
        // The stack is popped from its end, so the first branch is pushed last.
        left.extend(branches.into_iter().rev());
    }
    folded.write()
}

/// Returns whether a schema allows every value.
fn is_everything(schema: Value<'_>) -> bool {
    schema.as_bool() == Some(true)
        || (schema.kind() == Kind::Object && schema.members().next().is_none())
}

/// Returns whether a reference points to a part that folding moves. Only `#` and the contents of
/// `$defs` and `definitions` keep their place.
fn refers_inside(schema: Value<'_>) -> bool {
    let mut left = Vec::from([schema]);
    while let Some(value) = left.pop() {
        for (name, inner) in value.members() {
            let is_reference = name
                .as_plain()
                .is_some_and(|name| matches!(name, "$ref" | "$dynamicRef" | "$recursiveRef"));
            let stays = |path: &str| {
                path == "#" || path.starts_with("#/$defs/") || path.starts_with("#/definitions/")
            };
            if is_reference
                && inner.as_text().is_some_and(|path| !path.as_plain().is_some_and(stays))
            {
                return true;
            }
            left.push(inner);
        }
        left.extend(value.elements());
    }
    false
}

/// The parts of a schema that apply together, the root first.
#[derive(Default)]
struct FoldedSchema<'s> {
    root: Value<'s>,
    parts: Vec<Value<'s>>,
    /// Keywords that are kept unchanged.
    kept: Vec<(&'s str, Value<'s>)>,
    properties: Vec<(Text<'s>, Vec<Value<'s>>)>,
    required: Vec<Text<'s>>,
}

impl<'s> FoldedSchema<'s> {
    /// Adds a keyword of a part. Returns `None` if it cannot be combined with the other keywords.
    fn take(&mut self, part: Value<'s>, keyword: &'s str, rule: Value<'s>) -> Option<()> {
        let is_root = part.raw().as_ptr() == self.root.raw().as_ptr();
        match keyword {
            "type" if !types_of(rule).has(Types::OBJECT) => return None,
            // The combined type is `object` if one part allows only objects.
            "type" => {}
            "properties" => {
                for (name, property) in rule.members() {
                    match self.properties.iter_mut().find(|(known, _)| same(*known, name)) {
                        Some((_, all)) if all.iter().any(|other| equal(*other, property)) => {}
                        Some((_, all)) => all.push(property),
                        None => self.properties.push((name, Vec::from([property]))),
                    }
                }
            }
            "required" => {
                for name in rule.elements().filter_map(Value::as_text) {
                    if !self.required.iter().any(|known| same(*known, name)) {
                        self.required.push(name);
                    }
                }
            }
            // Handled when all parts are known.
            "additionalProperties" | "patternProperties" => {}
            "minProperties" => self.keep_bound(keyword, rule, core::cmp::Ordering::Greater)?,
            "maxProperties" => self.keep_bound(keyword, rule, core::cmp::Ordering::Less)?,
            "title" | "description" | "$schema" | "$comment" | "default" | "examples"
            | "deprecated" | "readOnly" | "writeOnly" => {
                if !self.kept.iter().any(|(known, _)| *known == keyword) {
                    self.kept.push((keyword, rule));
                }
            }
            // No reference points to the definitions of another part.
            "$defs" | "definitions" if !is_root => {}
            "enum" | "const" | "not" | "propertyNames" | "dependentRequired"
            | "dependentSchemas" | "dependencies" => {
                match self.kept.iter().find(|(known, _)| *known == keyword) {
                    Some((_, other)) if equal(*other, rule) => {}
                    Some(_) => return None,
                    None => self.kept.push((keyword, rule)),
                }
            }
            "anyOf" | "oneOf" => return None,
            // The meaning of other keywords may depend on their place.
            _ if is_root => self.kept.push((keyword, rule)),
            _ => return None,
        }
        Some(())
    }

    /// Keeps the stricter of two bounds.
    fn keep_bound(
        &mut self,
        keyword: &'s str,
        rule: Value<'s>,
        stricter: core::cmp::Ordering,
    ) -> Option<()> {
        match self.kept.iter_mut().find(|(known, _)| *known == keyword) {
            Some((_, other)) => {
                if compare(rule.raw(), other.raw())? == stricter {
                    *other = rule;
                }
            }
            None => self.kept.push((keyword, rule)),
        }
        Some(())
    }

    /// Returns the keywords that restrict additional members, or `None` if they cannot be combined.
    ///
    /// A keyword that closes one part closes the whole schema only if no other part has a property
    /// that this part lacks.
    fn closing(&self) -> Option<Vec<(&'static str, Value<'s>)>> {
        let mut found: Vec<(&'static str, Value<'s>)> = Vec::new();
        let mut patterns = 0_usize;
        for keyword in ["patternProperties", "additionalProperties"] {
            for part in &self.parts {
                let Some(rule) = part.member(keyword) else { continue };
                if is_everything(rule) {
                    continue;
                }
                if keyword == "patternProperties" {
                    patterns += 1;
                } else {
                    let own = part.member("properties").map_or(0, |own| own.members().count());
                    if own != self.properties.len()
                        || (patterns > 0 && part.member("patternProperties").is_none())
                    {
                        return None;
                    }
                }
                match found.iter().find(|(known, _)| *known == keyword) {
                    Some((_, other)) if equal(*other, rule) => {}
                    Some(_) => return None,
                    None => found.push((keyword, rule)),
                }
            }
        }
        Some(found)
    }

    fn write(&self) -> Option<String> {
        let closing = self.closing()?;
        let states_object = self
            .parts
            .iter()
            .filter_map(|part| part.member("type"))
            .any(|rule| types_of(rule) == Types::OBJECT);
        if !states_object {
            return None;
        }
        let mut json = String::from("{\"type\":\"object\"");
        let mut member = |keyword: &str, value: &str| {
            for part in [",\"", keyword, "\":", value] {
                json.push_str(part);
            }
        };
        let annotates = |keyword: &str| matches!(keyword, "$schema" | "title" | "description");
        for (keyword, rule) in self.kept.iter().filter(|(keyword, _)| annotates(keyword)) {
            member(keyword, rule.as_json());
        }
        let mut properties = String::from("{");
        for (name, all) in &self.properties {
            if properties.len() > 1 {
                properties.push(',');
            }
            for part in ["\"", name.raw(), "\":"] {
                properties.push_str(part);
            }
            match all.as_slice() {
                [one] => properties.push_str(one.as_json()),
                all => {
                    properties.push_str("{\"allOf\":");
                    list(&mut properties, all.iter().map(|rule| rule.as_json()));
                    properties.push('}');
                }
            }
        }
        properties.push('}');
        if !self.properties.is_empty() {
            member("properties", &properties);
        }
        if !self.required.is_empty() {
            let names: Vec<String> =
                self.required.iter().map(|name| ["\"", name.raw(), "\""].concat()).collect();
            let mut required = String::new();
            list(&mut required, names.iter().map(String::as_str));
            member("required", &required);
        }
        for (keyword, rule) in
            self.kept.iter().filter(|(keyword, _)| !annotates(keyword)).chain(&closing)
        {
            member(keyword, rule.as_json());
        }
        json.push('}');
        Some(json)
    }
}

fn list<'s>(json: &mut String, items: impl Iterator<Item = &'s str>) {
    json.push('[');
    for (i, item) in items.enumerate() {
        if i > 0 {
            json.push(',');
        }
        json.push_str(item);
    }
    json.push(']');
}
