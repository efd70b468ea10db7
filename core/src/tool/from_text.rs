//! Arguments that are read from a string: any `FromStr`, and types with a format of JSON Schema.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;
use core::time::Duration;

use super::{Decoder, ToolInput};
use crate::json::Value;
use crate::schema::{ActualValue, Expectation, InputError, Schema};

/// An argument that is a string for the model and is converted by `FromStr`.
///
/// `#[tool(parse)]` on an argument or a field takes the type itself, or an `Option` of it. Use
/// `FromText` where the type is part of another: `Vec<FromText<IpAddr>>`.
///
/// ```
/// # #[cfg(feature = "macros")] {
/// use core::net::SocketAddr;
/// use toolrunner_core::tool;
/// use toolrunner_core::tool::FromText;
///
/// /// Check whether a host answers.
/// #[tool]
/// fn ping(#[tool(parse)] host: SocketAddr, via: Option<FromText<SocketAddr>>) {}
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FromText<T>(pub T);

impl<'a, T: FromStr<Err: fmt::Display>> ToolInput<'a> for FromText<T> {
    const SCHEMA: &'static Schema = &Schema::STRING;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        let text = decoder.text(value)?;
        #[allow(clippy::disallowed_methods, reason = "whoever names the type chooses its parser")]
        text.parse().map(Self).map_err(|error| refused::<T>(decoder, value, &error))
    }
}

/// Returns the error of a type that cannot be read from a string. Without `alloc` the type's own
/// reason is left out.
fn refused<T>(
    decoder: &Decoder<'_>,
    value: Value<'_>,
    reason: &dyn fmt::Display,
) -> InputError<'static> {
    // `a::b::Name` without the path. A type with parameters keeps it.
    let full = core::any::type_name::<T>();
    let start = full.bytes().rposition(|byte| byte == b':').map_or(0, |at| at.saturating_add(1));
    let name = full.get(start..).filter(|_| !full.ends_with('>')).unwrap_or(full);
    #[cfg_attr(not(feature = "alloc"), allow(unused_mut, reason = "has no reason then"))]
    let mut error =
        decoder.at(value, Expectation::Bound("a string that is a valid", name), ActualValue::Value);
    #[cfg(feature = "alloc")]
    error.explain_by(reason);
    #[cfg(not(feature = "alloc"))]
    let _ = reason;
    error
}

macro_rules! formats {
    ($($(#[$attribute:meta])* $type:ty: $format:literal;)*) => {$(
        $(#[$attribute])*
        impl<'a> ToolInput<'a> for $type {
            const SCHEMA: &'static Schema = &Schema::STRING.format($format);

            fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
                FromText::decode(value, decoder).map(|parsed| parsed.0)
            }
        }
    )*};
}

formats! {
    Ipv4Addr: "ipv4";
    Ipv6Addr: "ipv6";
    #[cfg(feature = "chrono")]
    chrono::DateTime<chrono::Utc>: "date-time";
    #[cfg(feature = "chrono")]
    chrono::DateTime<chrono::FixedOffset>: "date-time";
    #[cfg(feature = "chrono")]
    chrono::NaiveDate: "date";
    // The formats `date-time` and `time` of JSON Schema require an offset, which these types lack.
    // The names are those that schemars uses.
    #[cfg(feature = "chrono")]
    chrono::NaiveDateTime: "partial-date-time";
    #[cfg(feature = "chrono")]
    chrono::NaiveTime: "partial-time";
    #[cfg(feature = "uuid")]
    uuid::Uuid: "uuid";
    #[cfg(feature = "url")]
    url::Url: "uri";
}

impl<'a> ToolInput<'a> for IpAddr {
    const SCHEMA: &'static Schema = &Schema::STRING;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        FromText::decode(value, decoder).map(|parsed| parsed.0)
    }
}

impl<'a> ToolInput<'a> for Duration {
    const SCHEMA: &'static Schema = &Schema::STRING.format("duration");

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        const WANTED: &str = "a duration in ISO 8601 without months and years, such as \"PT1H30M\"";
        let text = decoder.text(value)?;
        duration(text).ok_or_else(|| decoder.error(value, WANTED))
    }
}

/// Reads `PnW` or `PnDTnHnMnS`, where each part is optional but one, and the seconds may have a
/// fraction of up to nine digits.
fn duration(text: &str) -> Option<Duration> {
    const DATE: [(u8, u64); 2] = [(b'W', 604_800), (b'D', 86_400)];
    const TIME: [(u8, u64); 3] = [(b'H', 3_600), (b'M', 60), (b'S', 1)];
    let mut rest = text.as_bytes().strip_prefix(b"P")?;
    let (mut seconds, mut nanos, mut parts) = (0_u64, 0_u32, 0_u8);
    let mut units = DATE.as_slice();
    let mut is_time = false;
    while !rest.is_empty() {
        if let Some(time) = rest.strip_prefix(b"T")
            && !is_time
        {
            // Something must follow.
            time.first()?;
            (rest, units, is_time) = (time, TIME.as_slice(), true);
            continue;
        }
        let (number, mut after) = digits(rest)?;
        let mut fraction = None;
        if let Some(decimals) = after.strip_prefix(b".").or_else(|| after.strip_prefix(b",")) {
            let (number, more) = digits(decimals)?;
            let count =
                decimals.len().checked_sub(more.len()).and_then(|n| u32::try_from(n).ok())?;
            let scale = 10_u64.pow(9_u32.checked_sub(count)?);
            fraction = Some(u32::try_from(number.checked_mul(scale)?).ok()?);
            after = more;
        }
        let (unit, more) = after.split_first()?;
        // The units are in order, and each occurs at most once.
        let place = units.iter().position(|(name, _)| name == unit)?;
        let (_, size) = units.get(place)?;
        units = units.get(place.checked_add(1)?..)?;
        if let Some(fraction) = fraction {
            if *unit != b'S' {
                return None;
            }
            nanos = fraction;
        }
        seconds = seconds.checked_add(number.checked_mul(*size)?)?;
        parts = parts.saturating_add(1);
        rest = more;
    }
    (parts > 0).then(|| Duration::new(seconds, nanos))
}

/// Reads the digits at the beginning of a text, at least one.
fn digits(text: &[u8]) -> Option<(u64, &[u8])> {
    let (mut number, mut rest, mut is_empty) = (0_u64, text, true);
    while let [digit @ b'0'..=b'9', more @ ..] = rest {
        let digit = u64::from(digit.checked_sub(b'0')?);
        number = number.checked_mul(10)?.checked_add(digit)?;
        (rest, is_empty) = (more, false);
    }
    (!is_empty).then_some((number, rest))
}

macro_rules! tuples {
    ($($len:literal: $($T:ident $name:ident),*;)*) => {$(
        impl<'a, $($T: ToolInput<'a>),*> ToolInput<'a> for ($($T,)*) {
            const SCHEMA: &'static Schema = &Schema::tuple(&[$($T::SCHEMA),*]);

            fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
                let mut items = value.elements();
                $(let $name = match items.next() {
                    Some(item) => $T::decode(item, decoder)?,
                    None => return Err(decoder.error(value, concat!("an array of ", $len, " items"))),
                };)*
                Ok(($($name,)*))
            }
        }
    )*};
}

tuples! {
    2: A a, B b;
    3: A a, B b, C c;
    4: A a, B b, C c, D d;
    5: A a, B b, C c, D d, E e;
    6: A a, B b, C c, D d, E e, F f;
}
