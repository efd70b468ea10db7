//! Conversion of a tool's JSON input to the types of its arguments.

#[cfg(feature = "alloc")]
use core::fmt;

use super::{Notice, Output, ToolCall, ToolError};
use crate::json::{Text, Value, parse_f64, parse_integer, parse_small_integer};
use crate::schema::{ActualValue, Expectation, InputError, RawSchema, Schema, Types, Variant};

/// A type that a tool can take as an argument. `derive(ToolInput)` implements it for structs and
/// enums.
///
/// | Type | Schema | Note |
/// |---|---|---|
/// | `bool` | boolean | |
/// | integers | integer; `minimum` 0 if unsigned | the schema states no other limits: the type's range is checked when the input is decoded; `5.0` and `1e2` are integers |
/// | `f32`, `f64` | number | |
/// | `&str`, [`Text`] | string | borrowed from the input; `&str` is unescaped into the call's scratch buffer if it contains an escape |
/// | `char` | string of one character | |
/// | `heapless::String<N>` | string, `maxLength` N | holds N bytes |
/// | `heapless::Vec<T, N>` | array, `maxItems` N | |
/// | `[T; N]` | array of N items | |
/// | tuples of 2 to 6 items | array with one schema per item | |
/// | `Option<T>` | T or null, not required | |
/// | [`Duration`](core::time::Duration) | string, format `duration` | ISO 8601, such as `PT1H30M` or `P2D`; no months or years, whose length varies |
/// | `IpAddr`, `Ipv4Addr`, `Ipv6Addr` | string; format `ipv4`, `ipv6` | |
/// | [`FromText<T>`](super::FromText) | string | any `FromStr`; `#[tool(parse)]` does the same for one argument |
/// | [`Value`] | anything | any JSON, unchanged |
/// | `String`, `Cow<str>`, `Box<T>`, `Vec<T>` | as expected | with `alloc` |
/// | `BTreeMap<String, T>`, `BTreeSet<T>` | object of any members; array of unique items | with `alloc`; an item that occurs twice counts once |
/// | `HashMap<String, T>`, `HashSet<T>`, `PathBuf` | the same; string | with `std` |
/// | `serde_json::Value`, `serde_json::Map` | anything; object | with `serde-json` |
/// | `chrono::DateTime`, `NaiveDate`, … | string, format `date-time`, `date`, … | with `chrono` |
/// | `uuid::Uuid`, `url::Url` | string, format `uuid`, `uri` | with `uuid`, `url` |
/// | [`Json<T>`](super::Json) | that of `T`'s `JsonSchema` | with `schemars`: any type that serde can deserialize |
/// | [`AnyJson<T>`](super::AnyJson) | anything | any `Deserialize`, with `serde-json-core`, without a heap |
///
/// For any other type, implement the trait by hand: state a [`SCHEMA`](Self::SCHEMA) and
/// [`decode`](Self::decode) a value.
#[cfg_attr(
    feature = "alloc",
    diagnostic::on_unimplemented(
        message = "`{Self}` cannot be an argument of a tool",
        label = "the model cannot provide this type",
        note = "put `#[derive(ToolInput)]` on a type of your own, or implement `ToolInput` for a newtype around a foreign one",
        note = "`#[tool(parse)]` on the argument takes any type that implements `FromStr`; `Json<T>`, with toolrunner's feature `schemars`, takes any \
                type that implements serde's `Deserialize` and schemars' `JsonSchema`",
        note = "arguments can be `bool`, numbers, `char`, `&str`, `String`, `Duration`, `PathBuf`, `Option<T>`, `Vec<T>`, `[T; N]`, tuples, sets, \
                maps with `String` keys, `serde_json::Value`, and with the features of these names types of `chrono`, `uuid` and `url`"
    )
)]
#[cfg_attr(
    not(feature = "alloc"),
    diagnostic::on_unimplemented(
        message = "`{Self}` cannot be an argument of a tool",
        label = "the model cannot provide this type",
        note = "put `#[derive(ToolInput)]` on a type of your own; `#[tool(parse)]` on the argument takes any type that implements `FromStr`",
        note = "arguments can be `bool`, numbers, `char`, `&str`, `heapless::String<N>`, `heapless::Vec<T, N>`, `[T; N]`, tuples, `Option<T>`, `Duration`, \
                and `json::Value` for any JSON; `String`, `Vec` and `BTreeMap` need toolrunner's feature `alloc`, `HashMap` needs `std`"
    )
)]
pub trait ToolInput<'a>: Sized {
    /// The schema that the model receives. The input is checked against it before
    /// [`decode`](Self::decode) runs.
    const SCHEMA: &'static Schema;

    /// Whether a member of this type may be missing. [`absent`](Self::absent) returns its value
    /// then.
    const OPTIONAL: bool = false;

    /// Decodes a value that fits [`SCHEMA`](Self::SCHEMA).
    ///
    /// # Errors
    /// Returns an error if the value breaks a rule that the schema does not state, such as the
    /// range of a number type. [`Decoder::error`] creates one.
    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>>;

    /// Returns the value of a missing member, or `None` if the member is required.
    fn absent() -> Option<Self> {
        None
    }

    /// Calls [`Decoder::member`], for generated code.
    ///
    /// The call goes through this trait so that the compiler reports a type that does not implement
    /// it in the same words as at the place that needs its schema, and therefore only once.
    #[doc(hidden)]
    fn read_member(
        decoder: &mut Decoder<'a>,
        object: Value<'a>,
        name: &'static str,
    ) -> Result<Self, InputError<'static>> {
        decoder.member(object, name)
    }

    /// Calls [`Decoder::member_or`], for generated code.
    ///
    /// The call goes through this trait so that the compiler reports a type that does not implement
    /// it only once.
    #[doc(hidden)]
    fn read_member_or(
        decoder: &mut Decoder<'a>,
        object: Value<'a>,
        name: &'static str,
        default: impl FnOnce() -> Self,
    ) -> Result<Self, InputError<'static>> {
        decoder.member_or(object, name, default)
    }
}

/// The state of decoding one input: the input itself, for the positions of errors, and the
/// remaining scratch buffer for unescaped strings.
#[derive(Debug)]
pub struct Decoder<'a> {
    input: Value<'a>,
    pub(super) scratch: &'a mut [u8],
}

impl<'a> Decoder<'a> {
    /// Creates a decoder for `input`.
    ///
    /// `scratch` holds the strings that have to be unescaped. A buffer as long as the input is
    /// always sufficient. An input without escapes needs none.
    pub const fn new(input: Value<'a>, scratch: &'a mut [u8]) -> Self {
        Self { input, scratch }
    }

    /// Returns the error that `value`, a part of the input, is not `expected`.
    pub fn error(&self, value: Value<'_>, expected: &'static str) -> InputError<'static> {
        self.at(value, Expectation::Words(expected), ActualValue::Value)
    }

    pub(super) fn at(
        &self,
        value: Value<'_>,
        expected: Expectation<'static>,
        got: ActualValue,
    ) -> InputError<'static> {
        InputError::new(self.offset(value), expected, got)
    }

    fn offset(&self, value: Value<'_>) -> usize {
        value.offset_in(self.input.raw()).unwrap_or(0)
    }

    /// Adds a reason, in other words than this crate's, to the error that `value` is not
    /// `expected`.
    #[cfg(feature = "alloc")]
    pub fn error_because(
        &self,
        value: Value<'_>,
        expected: &'static str,
        reason: impl fmt::Display,
    ) -> InputError<'static> {
        let mut error = self.error(value, expected);
        error.explain_by(&reason);
        error
    }

    /// Returns the name under which `object` has a member that may have several names: `name`, or
    /// one of `aliases`. Returns `name` if it has none of them.
    ///
    /// # Errors
    /// Returns an error if the object has more than one of them.
    pub fn name_of(
        &self,
        object: Value<'_>,
        name: &'static str,
        aliases: &[&'static str],
    ) -> Result<&'static str, InputError<'static>> {
        let mut present = core::iter::once(name)
            .chain(aliases.iter().copied())
            .filter_map(|name| Some((name, object.member(name)?)));
        match (present.next(), present.next()) {
            (_, Some((_, second))) => {
                Err(self.error(second, "a member under only one of its names"))
            }
            (Some((found, _)), None) => Ok(found),
            (None, None) => Ok(name),
        }
    }

    /// Returns the error that `value` does not have the type that `schema` states.
    pub fn wrong_type(&self, value: Value<'_>, schema: &Schema) -> InputError<'static> {
        self.not_of(value, schema.types())
    }

    /// Returns the error that `value` has none of these types.
    fn not_of(&self, value: Value<'_>, types: Types) -> InputError<'static> {
        self.at(value, Expectation::Type(types), ActualValue::Value)
    }

    /// Returns the contents of a string, borrowed from the input or unescaped into the scratch
    /// buffer.
    ///
    /// # Errors
    /// Returns an error if `value` is not a string, or if the scratch buffer is too small.
    pub fn text(&mut self, value: Value<'a>) -> Result<&'a str, InputError<'static>> {
        let text = value.as_text().ok_or_else(|| self.not_of(value, Types::STRING))?;
        if let Some(plain) = text.as_plain() {
            return Ok(plain);
        }
        let needed = text.len();
        let room = core::mem::take(&mut self.scratch);
        let free = room.len();
        let Some((own, rest)) = room.split_at_mut_checked(needed) else {
            let expected = Expectation::Count("at most", free, "byte");
            return Err(self.at(value, expected, ActualValue::Count(needed)));
        };
        self.scratch = rest;
        text.decode(own).map_err(|_| self.not_of(value, Types::STRING))
    }

    /// Decodes the member `name` of `object`.
    ///
    /// # Errors
    /// Returns an error if the member does not fit `T`, or if it is missing and `T` is not
    /// optional.
    pub fn member<T: ToolInput<'a>>(
        &mut self,
        object: Value<'a>,
        name: &'static str,
    ) -> Result<T, InputError<'static>> {
        match object.member(name) {
            Some(value) => T::decode(value, self),
            None => T::absent().ok_or_else(|| {
                let types = const { T::SCHEMA.types() };
                InputError::missing(self.offset(object), name, types)
            }),
        }
    }

    /// Decodes the member `name` of `object`. Returns the default if it is missing.
    ///
    /// # Errors
    /// Returns an error if the member does not fit `T`.
    pub fn member_or<T: ToolInput<'a>>(
        &mut self,
        object: Value<'a>,
        name: &'static str,
        default: impl FnOnce() -> T,
    ) -> Result<T, InputError<'static>> {
        object.member(name).map_or_else(|| Ok(default()), |value| T::decode(value, self))
    }
}

/// Returns whether a value fits the schema of the variant at `i`.
pub fn fits(
    decoder: &Decoder<'_>,
    variants: &'static [Variant],
    i: usize,
    value: Value<'_>,
) -> bool {
    variants
        .get(i)
        .is_some_and(|variant| variant.schema.check_in(decoder.input.raw(), value).is_ok())
}

/// Checks a call's input and returns it with a decoder. If the input does not fit the schema,
/// writes the reason to `out` and returns `None`.
pub fn begin<'a>(
    name: &'static str,
    schema: &Schema,
    call: ToolCall<'a>,
    out: &mut Output<'_>,
) -> Option<(Value<'a>, Decoder<'a>)> {
    match schema.check(call.input) {
        Ok(()) => Some((call.input, Decoder::new(call.input, call.scratch))),
        Err(error) => {
            let _written = invalid_input(name, &error, call.input, out);
            None
        }
    }
}

/// Checks an input against the schema of a tool, if there is one. If it does not fit, writes the
/// reason to `out`.
pub fn check_input(
    name: &str,
    schema: Option<RawSchema<'_>>,
    input: Value<'_>,
    out: &mut Output<'_>,
) -> Result<(), ToolError> {
    match schema.map_or(Ok(()), |schema| schema.check(input)) {
        Ok(()) => Ok(()),
        Err(error) => Err(invalid_input(name, &error, input, out)),
    }
}

/// Writes the reason why an input is invalid as the result.
pub fn invalid_input(
    name: &str,
    error: &InputError<'_>,
    input: Value<'_>,
    out: &mut Output<'_>,
) -> ToolError {
    // A tool's name contains no characters that need escapes.
    let _counted = Notice::InvalidInput { name: Text::from_raw(name), error: error.explain(input) }
        .write_to(out);
    ToolError::written()
}

impl<'a> ToolInput<'a> for bool {
    const SCHEMA: &'static Schema = &Schema::BOOLEAN;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        value.as_bool().ok_or_else(|| decoder.not_of(value, Types::BOOLEAN))
    }
}

macro_rules! integers {
    ($parse:ident, $unsigned:ident, $signed:ident, $schema:ident: $($type:ident $range:literal;)*) => {$(
        impl<'a> ToolInput<'a> for $type {
            const SCHEMA: &'static Schema = &Schema::$schema;

            fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
                let number = $parse(value.raw()).and_then(|(negative, amount): (bool, $unsigned)| {
                    const ZERO: $signed = 0;
                    if negative {
                        // The negative range has one value more than the positive range.
                        ZERO.checked_sub_unsigned(amount).and_then(|number| Self::try_from(number).ok())
                    } else {
                        Self::try_from(amount).ok()
                    }
                });
                number.ok_or_else(|| decoder.error(value, concat!("integer from ", $range)))
            }
        }
    )*};
}

integers! {
    parse_small_integer, u64, i64, INTEGER:
    i8 "-128 to 127";
    i16 "-32768 to 32767";
    i32 "-2147483648 to 2147483647";
    i64 "-9223372036854775808 to 9223372036854775807";
    isize "the minimum to the maximum of this machine";
}

integers! {
    parse_small_integer, u64, i64, UNSIGNED:
    u8 "0 to 255";
    u16 "0 to 65535";
    u32 "0 to 4294967295";
    u64 "0 to 18446744073709551615";
    usize "0 to the maximum of this machine";
}

integers! {
    parse_integer, u128, i128, INTEGER:
    i128 "-170141183460469231731687303715884105728 to 170141183460469231731687303715884105727";
}

integers! {
    parse_integer, u128, i128, UNSIGNED:
    u128 "0 to 340282366920938463463374607431768211454";
}

impl<'a> ToolInput<'a> for f64 {
    const SCHEMA: &'static Schema = &Schema::NUMBER;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        parse_f64(value.raw())
            .ok_or_else(|| decoder.error(value, "number of at most 1.7976931348623157e308"))
    }
}

impl<'a> ToolInput<'a> for f32 {
    const SCHEMA: &'static Schema = &Schema::NUMBER;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "to the nearest f32, which is what is asked for"
        )]
        let number = parse_f64(value.raw()).map(|number| number as Self);
        number
            .filter(|number| number.is_finite())
            .ok_or_else(|| decoder.error(value, "number of at most 3.4028235e38"))
    }
}

impl<'a> ToolInput<'a> for &'a str {
    const SCHEMA: &'static Schema = &Schema::STRING;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        decoder.text(value)
    }
}

impl<'a> ToolInput<'a> for Text<'a> {
    const SCHEMA: &'static Schema = &Schema::STRING;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        value.as_text().ok_or_else(|| decoder.not_of(value, Types::STRING))
    }
}

impl<'a> ToolInput<'a> for char {
    const SCHEMA: &'static Schema = &Schema::STRING.min_length(1).max_length(1);

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        let text = value.as_text().unwrap_or_default();
        let mut found = None;
        for piece in text.pieces() {
            let (one, more) = match piece {
                crate::json::Piece::Char(c) => (Some(c), false),
                crate::json::Piece::Plain(plain) => {
                    (plain.chars().next(), plain.chars().nth(1).is_some())
                }
            };
            if more || found.is_some() {
                return Err(decoder.error(value, "one character"));
            }
            found = one;
        }
        found.ok_or_else(|| decoder.error(value, "one character"))
    }
}

impl<'a> ToolInput<'a> for Value<'a> {
    const SCHEMA: &'static Schema = &Schema::ANY;

    fn decode(value: Self, _: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        Ok(value)
    }
}

impl<'a, T: ToolInput<'a>> ToolInput<'a> for Option<T> {
    const SCHEMA: &'static Schema = &T::SCHEMA.nullable();
    const OPTIONAL: bool = true;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        if value.is_null() { Ok(None) } else { T::decode(value, decoder).map(Some) }
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// Converts a capacity to a bound of a schema. A capacity above `u32::MAX` becomes `u32::MAX`.
#[allow(clippy::cast_possible_truncation, reason = "compared first")]
const fn bound(capacity: usize) -> u32 {
    if capacity > u32::MAX as usize { u32::MAX } else { capacity as u32 }
}

impl<'a, const N: usize> ToolInput<'a> for heapless::String<N> {
    const SCHEMA: &'static Schema = &Schema::STRING.max_length(bound(N));

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        use crate::json::Piece;
        let text = value.as_text().ok_or_else(|| decoder.not_of(value, Types::STRING))?;
        let mut owned = Self::new();
        for piece in text.pieces() {
            let fits = match piece {
                Piece::Plain(plain) => owned.push_str(plain).is_ok(),
                Piece::Char(c) => owned.push(c).is_ok(),
            };
            if !fits {
                let expected = Expectation::Count("at most", N, "byte");
                return Err(decoder.at(value, expected, ActualValue::Count(text.len())));
            }
        }
        Ok(owned)
    }
}

impl<'a, T: ToolInput<'a>, const N: usize> ToolInput<'a> for heapless::Vec<T, N> {
    const SCHEMA: &'static Schema = &Schema::array(T::SCHEMA).max_items(bound(N));

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        let mut items = Self::new();
        for item in value.elements() {
            if items.push(T::decode(item, decoder)?).is_err() {
                return Err(decoder.error(value, "fewer items"));
            }
        }
        Ok(items)
    }
}

impl<'a, T: ToolInput<'a>, const N: usize> ToolInput<'a> for [T; N] {
    const SCHEMA: &'static Schema =
        &Schema::array(T::SCHEMA).min_items(bound(N)).max_items(bound(N));

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        let items = heapless::Vec::<T, N>::decode(value, decoder)?;
        items.into_array().map_err(|_| decoder.error(value, "more items"))
    }
}
