//! `Json<T>`: arguments that serde reads and schemars describes.

use serde::de::DeserializeOwned;

use super::{Decoder, Json, ToolInput};
use crate::json::Value;
use crate::schema::{InputError, Schema, text_of};

/// Any type that implements serde's `Deserialize` and schemars' `JsonSchema`, with everything that
/// serde can do: `flatten`, `untagged`, `alias`, `with`, recursive types.
///
/// The schema is that of the type, for input. The input is checked against it as against a
/// [`RawSchema`](crate::schema::RawSchema) before serde reads it. Errors of both name the path. An
/// error from serde also contains serde's message.
impl<'a, T: DeserializeOwned + schemars::JsonSchema + 'static> ToolInput<'a> for Json<T> {
    const SCHEMA: &'static Schema = &Schema::external(text_of::<T>);

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        let mut json = serde_json::Deserializer::from_slice(value.raw());
        serde_path_to_error::deserialize(&mut json).map(Json).map_err(|error| {
            let place = place(value, error.path());
            // The path is part of the error, and the line and the column are not the model's.
            let reason = alloc::string::ToString::to_string(error.inner());
            #[allow(clippy::disallowed_methods, reason = "with serde, which has panics of its own")]
            let reason = reason.split(" at line ").next().unwrap_or_default();
            decoder.error_because(place, "a valid value", reason)
        })
    }
}

/// Returns the value at a path, or the innermost that exists.
fn place<'a>(mut value: Value<'a>, path: &serde_path_to_error::Path) -> Value<'a> {
    use serde_path_to_error::Segment;
    for segment in path {
        let inner = match segment {
            Segment::Seq { index } => value.elements().nth(*index),
            Segment::Map { key } => value.member(key),
            // The variant's name is a member only if it is the key of its contents.
            Segment::Enum { variant } => value.member(variant).or(Some(value)),
            Segment::Unknown => None,
        };
        match inner {
            Some(inner) => value = inner,
            None => break,
        }
    }
    value
}
