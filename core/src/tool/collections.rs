//! Owned strings and collections as arguments of tools.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
#[cfg(feature = "std")]
use core::hash::{BuildHasher, Hash};
#[cfg(feature = "std")]
use std::collections::{HashMap, HashSet};

use super::{Decoder, ToolInput};
use crate::json::{Text, Value};
use crate::schema::{InputError, Schema};

macro_rules! strings {
    ($($type:ty),*) => {$(
        impl<'a> ToolInput<'a> for $type {
            const SCHEMA: &'static Schema = &Schema::STRING;

            fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
                <Text<'_> as ToolInput<'_>>::decode(value, decoder).map(String::from).map(Self::from)
            }
        }
    )*};
}

strings!(String, Box<str>);

impl<'a> ToolInput<'a> for Cow<'a, str> {
    const SCHEMA: &'static Schema = &Schema::STRING;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        <Text<'_> as ToolInput<'_>>::decode(value, decoder).map(Self::from)
    }
}

impl<'a, T: ToolInput<'a>> ToolInput<'a> for Box<T> {
    const SCHEMA: &'static Schema = T::SCHEMA;
    const OPTIONAL: bool = T::OPTIONAL;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        T::decode(value, decoder).map(Self::new)
    }

    fn absent() -> Option<Self> {
        T::absent().map(Self::new)
    }
}

impl<'a, T: ToolInput<'a>> ToolInput<'a> for Vec<T> {
    const SCHEMA: &'static Schema = &Schema::array(T::SCHEMA);

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        value.elements().map(|item| T::decode(item, decoder)).collect()
    }
}

/// Implements `ToolInput` for a map with `String` keys and for a set.
macro_rules! collections {
    ($map:ident $set:ident [$($bound:tt)*] $(, $state:ident: $($default:tt)*)?) => {
        impl<'a, T: ToolInput<'a> $(, $state: $($default)*)?> ToolInput<'a> for $map<String, T $(, $state)?> {
            const SCHEMA: &'static Schema = &Schema::map(T::SCHEMA);

            fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
                value
                    .members()
                    .map(|(name, value)| Ok((String::from(name), T::decode(value, decoder)?)))
                    .collect()
            }
        }

        impl<'a, T: ToolInput<'a> + $($bound)* $(, $state: $($default)*)?> ToolInput<'a> for $set<T $(, $state)?> {
            const SCHEMA: &'static Schema = &Schema::array(T::SCHEMA).unique();

            fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
                value.elements().map(|item| T::decode(item, decoder)).collect()
            }
        }
    };
}

collections!(BTreeMap BTreeSet [Ord]);
#[cfg(feature = "std")]
collections!(HashMap HashSet [Eq + Hash], S: BuildHasher + Default);

#[cfg(feature = "std")]
impl<'a> ToolInput<'a> for std::path::PathBuf {
    const SCHEMA: &'static Schema = &Schema::STRING;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        String::decode(value, decoder).map(Self::from)
    }
}

#[cfg(feature = "serde-json")]
impl<'a> ToolInput<'a> for serde_json::Value {
    const SCHEMA: &'static Schema = &Schema::ANY;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        value
            .deserialize()
            .map_err(|error| decoder.error_because(value, "JSON that serde_json can read", error))
    }
}

#[cfg(feature = "serde-json")]
impl<'a> ToolInput<'a> for serde_json::Map<String, serde_json::Value> {
    const SCHEMA: &'static Schema = &Schema::map(&Schema::ANY);

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        value
            .deserialize()
            .map_err(|error| decoder.error_because(value, "JSON that serde_json can read", error))
    }
}
