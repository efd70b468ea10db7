//! What the API would refuse about the tools of a request, found before it is sent: schemas of
//! strict tools, and a `tool_choice` of a tool that does not exist.
//!
//! The rules are those of the provider's documentation of strict tool use. A keyword without a
//! rule is not reported.

use toolrunner_core::__private::is_strict_format;
use toolrunner_core::json::{Kind, Value};

use super::Run;
use super::tools::Toolset;
use crate::error::Error;

/// The most strict tools of a request.
const MAX_TOOLS: usize = 20;
/// The most optional members in the schemas of all strict tools.
const MAX_OPTIONAL: usize = 24;
/// The most members with several types in the schemas of all strict tools.
const MAX_UNIONS: usize = 16;

/// Keywords that the API does not support.
const UNSUPPORTED: [&str; 24] = [
    "contains",
    "dependentRequired",
    "dependentSchemas",
    "else",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "if",
    "maxContains",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minContains",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "not",
    "oneOf",
    "patternProperties",
    "prefixItems",
    "propertyNames",
    "then",
    "uniqueItems",
];

impl Toolset {
    /// Checks the schemas of the strict tools.
    ///
    /// # Errors
    /// Returns the first fault, with the tool and the member.
    pub(super) fn check_strict(&self) -> Result<(), Error> {
        let (mut tools, mut optional, mut unions) = (0, 0, 0);
        let own = self.definitions().map(|tool| tool.json);
        for json in own.chain(self.declared().map(Value::as_json)) {
            // Most tools are not strict, and each run is checked.
            if !json.contains("\"strict\"") {
                continue;
            }
            let tool = Value::first(json.as_bytes()).unwrap_or_default();
            let is_strict = tool.member("strict").and_then(Value::as_bool) == Some(true);
            let Some(schema) = tool.member("input_schema").filter(|_| is_strict) else { continue };
            let mut walk = Walk { root: schema, open: Vec::new(), optional: 0, unions: 0 };
            walk.schema("", schema).map_err(|fault| {
                let name = tool.member("name").and_then(Value::as_text).unwrap_or_default();
                Error::Invalid(format!(
                    "the API refuses the input schema of the strict tool {:?}: {fault}",
                    name.to_string()
                ))
            })?;
            tools += 1;
            optional += walk.optional;
            unions += walk.unions;
        }
        for (count, most, what) in [
            (tools, MAX_TOOLS, "strict tools"),
            (optional, MAX_OPTIONAL, "optional members in strict tools"),
            (unions, MAX_UNIONS, "members with several types in strict tools"),
        ] {
            if count > most {
                return Err(Error::Invalid(format!(
                    "the request has {count} {what}, and the API accepts {most}"
                )));
            }
        }
        Ok(())
    }
}

/// One pass through a schema.
struct Walk<'s> {
    root: Value<'s>,
    /// The references that are being followed.
    open: Vec<String>,
    optional: usize,
    unions: usize,
}

impl<'s> Walk<'s> {
    /// Checks the schema of the member `at`, which is empty for the whole input.
    fn schema(&mut self, at: &str, schema: Value<'s>) -> Result<(), String> {
        let place = if at.is_empty() { "its root" } else { at };
        let fault = |what: String| Err(format!("{place} {what}"));
        if schema.kind() != Kind::Object {
            return fault("must be an object, because strict mode allows no arbitrary JSON".into());
        }
        for (name, value) in schema.members() {
            let name = name.to_string();
            let is_unsupported = match name.as_str() {
                "minItems" => value.as_u64().is_none_or(|count| count > 1),
                "format" => {
                    !value.as_text().is_some_and(|format| is_strict_format(&format.to_string()))
                }
                "enum" => {
                    value.elements().any(|each| matches!(each.kind(), Kind::Object | Kind::Array))
                }
                name => UNSUPPORTED.contains(&name),
            };
            if is_unsupported {
                let shown: String = value.as_json().chars().take(40).collect();
                return fault(format!(
                    "has `{name}` ({shown}), which strict mode does not support: describe it, and check it in the tool"
                ));
            }
        }
        if let Some(reference) = schema.member("$ref") {
            return self.reference(at, place, reference);
        }
        self.object(at, place, schema)?;
        if let Some(items) = schema.member("items") {
            self.schema(&format!("{at}[]"), items)?;
        }
        for name in ["anyOf", "allOf"] {
            for branch in schema.member(name).unwrap_or_default().elements() {
                self.schema(at, branch)?;
            }
        }
        let says_something = ["type", "enum", "const", "anyOf", "allOf"];
        if !says_something.iter().any(|name| schema.member(name).is_some()) {
            return fault("allows any JSON, which strict mode does not support".into());
        }
        Ok(())
    }

    /// Checks what applies to objects: a fixed list of members.
    fn object(&mut self, at: &str, place: &str, schema: Value<'s>) -> Result<(), String> {
        let kind = schema.member("type").unwrap_or_default();
        let is_object =
            is_text(kind, "object") || kind.elements().any(|kind| is_text(kind, "object"));
        let properties = schema.member("properties");
        if !is_object && properties.is_none() {
            return Ok(());
        }
        if schema.member("additionalProperties").and_then(Value::as_bool) != Some(false) {
            return Err(format!(
                "{place} must have `\"additionalProperties\":false`, because strict mode allows only members that are listed"
            ));
        }
        let required = schema.member("required").unwrap_or_default();
        for (name, property) in properties.map(Value::members).into_iter().flatten() {
            let name = name.to_string();
            self.optional += usize::from(!required.elements().any(|known| is_text(known, &name)));
            let kinds = property.member("type").unwrap_or_default().elements().count();
            self.unions += usize::from(kinds > 1 || property.member("anyOf").is_some());
            let path = if at.is_empty() { name } else { format!("{at}.{name}") };
            self.schema(&path, property)?;
        }
        Ok(())
    }

    fn reference(&mut self, at: &str, place: &str, reference: Value<'s>) -> Result<(), String> {
        let path = reference.as_text().unwrap_or_default().to_string();
        if self.open.contains(&path) || path == "#" {
            return Err(format!("{place} is recursive, which strict mode does not support"));
        }
        let target = path.strip_prefix("#/").and_then(|path| {
            path.split('/').try_fold(self.root, |value, name| {
                value.member(&name.replace("~1", "/").replace("~0", "~"))
            })
        });
        let Some(target) = target else {
            return Err(format!("{place} refers to {path:?}, which is not in the schema"));
        };
        self.open.push(path);
        self.schema(at, target)?;
        self.open.pop();
        Ok(())
    }
}

impl Run {
    /// Checks that `tool_choice` does not name a tool that the request does not have.
    pub(super) fn check_tool_choice(&self) -> Result<(), Error> {
        let json =
            |name| self.request.next_params.json(name).or_else(|| self.request.params.json(name));
        let choice = json("tool_choice").and_then(|choice| Value::first(choice.as_bytes()));
        let Some(name) = choice
            .filter(|choice| choice.member("type").is_some_and(|kind| is_text(kind, "tool")))
            .and_then(|choice| choice.member("name"))
            .and_then(Value::as_text)
        else {
            return Ok(());
        };
        let name = name.to_string();
        // Tools that only the server or the conversation knows: those of MCP servers and toolsets,
        // and those that messages define.
        let is_open = self.turns.tools.has_unnamed()
            || json("tools").is_some()
            || json("mcp_servers").is_some()
            || self.messages().contains("tool_addition");
        if is_open || self.turns.tools.knows(&name) {
            return Ok(());
        }
        Err(Error::Invalid(format!("`tool_choice` names the tool {name:?}, which does not exist")))
    }
}

fn is_text(value: Value<'_>, text: &str) -> bool {
    value.as_text().is_some_and(|own| own == *text)
}
