//! Types that implement serde's `Deserialize` as arguments, without a heap, by serde-json-core.

use serde::Deserialize;
use serde_json_core::de::Error;

use super::{Decoder, ToolInput};
use crate::json::{Kind, Value};
use crate::schema::{ActualValue, Expectation, InputError, SCHEMA_DEPTH, Schema};

/// An argument of any type that implements serde's `Deserialize`, read by serde-json-core. The
/// schema allows any JSON.
///
/// Describe what the type expects in the argument's documentation. To state a schema, implement
/// [`ToolInput`] for a type of your own and call [`Decoder::deserialize`].
#[derive(Clone, Copy, Debug)]
pub struct AnyJson<T>(pub T);

impl<'a, T: Deserialize<'a>> ToolInput<'a> for AnyJson<T> {
    const SCHEMA: &'static Schema = &Schema::ANY;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        decoder.deserialize(value).map(Self)
    }
}

impl<'a> Decoder<'a> {
    /// Deserializes `value` with serde-json-core, without a heap.
    ///
    /// A `&str` is borrowed from the input, so it cannot contain an escape; a `heapless::String`
    /// can. serde-json-core supports no type that has to look at the input first, such as an enum
    /// with `#[serde(untagged)]`, and no bytes.
    ///
    /// # Errors
    /// Returns an error with the path to the innermost value that does not fit. serde-json-core
    /// does not keep the message of a type, such as the name of a missing member, so for these the
    /// error only says that the value is not accepted. A value that is nested more than
    /// 16 levels deep is an error, because serde-json-core recurses.
    pub fn deserialize<T: Deserialize<'a>>(
        &mut self,
        value: Value<'a>,
    ) -> Result<T, InputError<'static>> {
        let json = value.raw();
        if depth(json) > SCHEMA_DEPTH {
            let expected = Expectation::Count("nested at most", SCHEMA_DEPTH, "level");
            return Err(self.at(value, expected, ActualValue::Value));
        }
        let mut read = |json| {
            serde_json_core::from_slice_escaped::<T>(json, self.scratch).map(|(value, _)| value)
        };
        let error = match read(json) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        // serde-json-core does not say where it stopped. It reads nothing after the error, so the
        // position is the end of the shortest prefix that fails with the same error.
        let (mut short, mut long) = (0_usize, json.len());
        while short < long {
            let middle = short.midpoint(long);
            let fails_alike = json.get(..middle).and_then(|start| read(start).err()) == Some(error);
            if fails_alike { long = middle } else { short = middle.saturating_add(1) }
        }
        let inner = innermost(value, long.saturating_sub(1));
        Err(self.at(inner, Expectation::Words(expected(error, inner)), ActualValue::Value))
    }
}

/// Returns the number of nested arrays and objects in a JSON text.
fn depth(json: &[u8]) -> usize {
    let (mut level, mut deepest) = (0_usize, 0);
    let (mut in_string, mut is_escaped) = (false, false);
    for &byte in json {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                level = level.saturating_add(1);
                deepest = level.max(deepest);
            }
            b']' | b'}' => level = level.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// Returns the innermost part of `value` that contains the byte at this offset.
fn innermost(value: Value<'_>, at: usize) -> Value<'_> {
    let root = value.raw();
    let holds = |inner: &Value<'_>| {
        inner
            .offset_in(root)
            .is_some_and(|start| start <= at && at < start.saturating_add(inner.raw().len()))
    };
    let mut value = value;
    loop {
        let inner = value.members().map(|(_, inner)| inner).find(holds);
        match inner.or_else(|| value.elements().find(holds)) {
            Some(inner) => value = inner,
            None => return value,
        }
    }
}

/// Returns what was expected of `value`, as far as serde-json-core says it.
fn expected(error: Error, value: Value<'_>) -> &'static str {
    let is_number = value.kind() == Kind::Number;
    match error {
        Error::AnyIsUnsupported | Error::BytesIsUnsupported => {
            "a type that the tool can read (this is a fault of the tool, not of your input)"
        }
        Error::EscapedStringIsTooLong => "a shorter string",
        Error::ExpectedSomeIdent => "true, false or null",
        Error::InvalidNumber => "a number in the range of the argument",
        Error::InvalidType => "a value of another type",
        // The text is valid JSON, so what follows the digits is a fraction or an exponent.
        Error::TrailingCharacters
        | Error::ExpectedListCommaOrEnd
        | Error::ExpectedObjectCommaOrEnd
            if is_number =>
        {
            "an integer without a fraction or an exponent"
        }
        Error::TrailingCharacters if value.kind() == Kind::Array => "fewer items",
        _ if value.kind() == Kind::Object => "the members that the tool's description states",
        _ => "a value that the tool's description allows",
    }
}
