//! What generated code needs of definitions and of calls.

use super::Definition;
#[cfg(feature = "alloc")]
use super::ToolCall;
#[cfg(feature = "alloc")]
use crate::json::Value;
use crate::schema::Schema;

/// Creates a definition from a valid name and from a JSON text that was generated from this name
/// and `schema`. If `is_extended` is set, the text also has members that the caller wrote.
pub const fn made_definition<'a>(
    name: &'a str,
    json: &'a str,
    schema: &'static Schema,
    is_extended: bool,
) -> Definition<'a> {
    let mut this = Definition::new(name, json);
    if schema.is_written_right() && !is_extended {
        this.check = None;
    }
    #[cfg(feature = "schemars")]
    if schema.has_external() {
        this.unfinished = Some(schema);
    }
    this
}

/// Completes a definition whose schema is partly known only at run time.
#[must_use]
#[cfg_attr(
    not(feature = "schemars"),
    allow(clippy::missing_const_for_fn, unused_mut, reason = "not constant with schemars")
)]
pub fn complete_definition(mut definition: Definition<'static>) -> Definition<'static> {
    #[cfg(feature = "schemars")]
    if let Some(schema) = definition.unfinished.take() {
        definition.json = crate::schema::expand(definition.json, schema);
    }
    definition
}

/// Replaces the input of a call with `json`, if there is one.
///
/// `json` must be a JSON object that is not longer than the original input.
#[cfg(feature = "alloc")]
#[must_use]
pub fn with_input<'a>(mut call: ToolCall<'a>, json: Option<&'a str>) -> ToolCall<'a> {
    if let Some(input) = json.and_then(|json| Value::first(json.as_bytes())) {
        call.input = input;
    }
    call
}
