//! The bridge to serde: any `Serialize` as a result, and, with serde_json, any `Deserialize` from
//! an input. Without a heap, see `deserialize`.

use core::fmt;

use serde::ser::{self, Serialize};

use super::result::AsText;
use super::{Output, ToolError};
use crate::json::{escape, write_f32, write_f64};

impl Output<'_> {
    /// Appends `value` as JSON text, serialized directly into the result.
    ///
    /// # Errors
    /// Returns `Capacity` if the text does not fit, or the error of the type's own `Serialize`. A
    /// map key that is not a string, a number or a boolean is an error.
    pub fn json<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ToolError> {
        let written = value.serialize(&mut Writer { out: self, first: true });
        self.state()?;
        Ok(written?)
    }
}

#[cfg(feature = "serde-json")]
impl<'a> crate::json::Value<'a> {
    /// Deserializes the value with serde_json.
    ///
    /// # Errors
    /// Returns serde_json's error, which states the line and the column.
    pub fn deserialize<T: serde::Deserialize<'a>>(self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(self.raw())
    }
}

/// The reason why a value cannot be written as JSON.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The type's own error message. It is cut to 64 bytes without `alloc`.
    #[cfg(feature = "alloc")]
    Custom(alloc::string::String),
    /// The type's own error message, cut to 64 bytes.
    #[cfg(not(feature = "alloc"))]
    Custom(heapless::String<64>),
    /// A map has a key that is not a string, a number or a boolean.
    Key,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Custom(text) => f.write_str(text),
            Self::Key => f.write_str("a key of a map must be a string, a number or a boolean"),
        }
    }
}

impl core::error::Error for Error {}

impl ser::Error for Error {
    fn custom<T: fmt::Display>(text: T) -> Self {
        #[cfg(feature = "alloc")]
        return Self::Custom(alloc::string::ToString::to_string(&text));
        #[cfg(not(feature = "alloc"))]
        {
            use fmt::Write;
            let mut kept = heapless::String::new();
            let _cut = write!(kept, "{text}");
            Self::Custom(kept)
        }
    }
}

/// Writes JSON to the text of a result. The output counts the bytes that do not fit, so an overflow
/// is not an error here.
struct Writer<'o, 'a> {
    out: &'o mut Output<'a>,
    /// Whether the innermost array or object is still empty.
    first: bool,
}

impl Writer<'_, '_> {
    fn raw(&mut self, json: &str) -> Result<(), Error> {
        let _counted = self.out.text(json);
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), Error> {
        self.raw("\"")?;
        let _counted = escape(text).write_to(&mut AsText(self.out));
        self.raw("\"")
    }

    fn comma(&mut self) -> Result<(), Error> {
        if core::mem::take(&mut self.first) { Ok(()) } else { self.raw(",") }
    }

    /// Writes `{"name":` for a variant with contents.
    fn variant(&mut self, name: &str) -> Result<(), Error> {
        self.raw("{")?;
        self.string(name)?;
        self.raw(":")
    }
}

/// An array or object that is being written. `closing` ends it.
struct Open<'w, 'o, 'a> {
    writer: &'w mut Writer<'o, 'a>,
    closing: &'static str,
    /// Whether this is one of the structs by which serde_json passes on JSON text.
    verbatim: bool,
}

impl<'w, 'o, 'a> Open<'w, 'o, 'a> {
    fn new(
        writer: &'w mut Writer<'o, 'a>,
        opening: &str,
        closing: &'static str,
    ) -> Result<Self, Error> {
        writer.raw(opening)?;
        writer.first = true;
        Ok(Self { writer, closing, verbatim: false })
    }

    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.writer.comma()?;
        value.serialize(&mut *self.writer)?;
        self.writer.first = false;
        Ok(())
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Error> {
        if self.verbatim {
            return value.serialize(Verbatim(self.writer));
        }
        self.writer.comma()?;
        self.writer.string(name)?;
        self.writer.raw(":")?;
        value.serialize(&mut *self.writer)?;
        self.writer.first = false;
        Ok(())
    }

    fn close(self) -> Result<(), Error> {
        self.writer.first = false;
        self.writer.raw(self.closing)
    }
}

macro_rules! integers {
    ($($name:ident $type:ident)*) => {$(
        fn $name(self, number: $type) -> Result<(), Error> {
            let _counted = super::ToolOutput::write_to(number, self.out);
            Ok(())
        }
    )*};
}

impl<'w, 'o, 'a> ser::Serializer for &'w mut Writer<'o, 'a> {
    type Ok = ();
    type Error = Error;
    type SerializeSeq = Open<'w, 'o, 'a>;
    type SerializeTuple = Open<'w, 'o, 'a>;
    type SerializeTupleStruct = Open<'w, 'o, 'a>;
    type SerializeTupleVariant = Open<'w, 'o, 'a>;
    type SerializeMap = Open<'w, 'o, 'a>;
    type SerializeStruct = Open<'w, 'o, 'a>;
    type SerializeStructVariant = Open<'w, 'o, 'a>;

    integers! {
        serialize_i8 i8 serialize_i16 i16 serialize_i32 i32 serialize_i64 i64
        serialize_u8 u8 serialize_u16 u16 serialize_u32 u32 serialize_u64 u64
    }

    fn serialize_i128(self, number: i128) -> Result<(), Error> {
        self.collect_number(number)
    }

    fn serialize_u128(self, number: u128) -> Result<(), Error> {
        self.collect_number(number)
    }

    fn serialize_bool(self, value: bool) -> Result<(), Error> {
        self.raw(if value { "true" } else { "false" })
    }

    fn serialize_f32(self, number: f32) -> Result<(), Error> {
        let _counted = write_f32(number, &mut AsText(self.out));
        Ok(())
    }

    fn serialize_f64(self, number: f64) -> Result<(), Error> {
        let _counted = write_f64(number, &mut AsText(self.out));
        Ok(())
    }

    fn serialize_char(self, c: char) -> Result<(), Error> {
        self.string(c.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), Error> {
        self.string(text)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Error> {
        let mut open = Open::new(self, "[", "]")?;
        bytes.iter().try_for_each(|byte| open.item(byte))?;
        open.close()
    }

    fn serialize_none(self) -> Result<(), Error> {
        self.raw("null")
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Error> {
        self.raw("null")
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Error> {
        self.raw("null")
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Error> {
        self.string(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Error> {
        self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.raw("}")
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Open<'w, 'o, 'a>, Error> {
        Open::new(self, "[", "]")
    }

    fn serialize_tuple(self, _: usize) -> Result<Open<'w, 'o, 'a>, Error> {
        Open::new(self, "[", "]")
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Open<'w, 'o, 'a>, Error> {
        Open::new(self, "[", "]")
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Open<'w, 'o, 'a>, Error> {
        self.variant(variant)?;
        Open::new(self, "[", "]}")
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Open<'w, 'o, 'a>, Error> {
        Open::new(self, "{", "}")
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Open<'w, 'o, 'a>, Error> {
        if matches!(name, "$serde_json::private::Number" | "$serde_json::private::RawValue") {
            return Ok(Open { writer: self, closing: "", verbatim: true });
        }
        Open::new(self, "{", "}")
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Open<'w, 'o, 'a>, Error> {
        self.variant(variant)?;
        Open::new(self, "{", "}}")
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, text: &T) -> Result<(), Error> {
        self.raw("\"")?;
        let _counted = fmt::write(&mut EscapingOutput(self.out), format_args!("{text}"));
        self.raw("\"")
    }
}

impl Writer<'_, '_> {
    fn collect_number(&mut self, number: impl fmt::Display) -> Result<(), Error> {
        let _counted = fmt::write(self.out, format_args!("{number}"));
        Ok(())
    }
}

/// Writes text as the contents of a JSON string.
struct EscapingOutput<'o, 'a>(&'o mut Output<'a>);

impl fmt::Write for EscapingOutput<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let _counted = escape(text).write_to(&mut AsText(self.0));
        Ok(())
    }
}

macro_rules! compound {
    ($($trait:ident $method:ident)*) => {$(
        impl ser::$trait for Open<'_, '_, '_> {
            type Ok = ();
            type Error = Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
                self.item(value)
            }

            fn end(self) -> Result<(), Error> {
                self.close()
            }
        }
    )*};
}

compound!(SerializeSeq serialize_element SerializeTuple serialize_element
    SerializeTupleStruct serialize_field SerializeTupleVariant serialize_field);

macro_rules! fields {
    ($($trait:ident)*) => {$(
        impl ser::$trait for Open<'_, '_, '_> {
            type Ok = ();
            type Error = Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Error> {
                self.field(name, value)
            }

            fn end(self) -> Result<(), Error> {
                self.close()
            }
        }
    )*};
}

fields!(SerializeStruct SerializeStructVariant);

impl ser::SerializeMap for Open<'_, '_, '_> {
    type Ok = ();
    type Error = Error;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Error> {
        self.writer.comma()?;
        key.serialize(Key(self.writer))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Error> {
        self.writer.raw(":")?;
        value.serialize(&mut *self.writer)?;
        self.writer.first = false;
        Ok(())
    }

    fn end(self) -> Result<(), Error> {
        self.close()
    }
}

/// Writes a map's key: a string, or a number or boolean as a string.
struct Key<'w, 'o, 'a>(&'w mut Writer<'o, 'a>);
/// Writes the string in serde_json's `Number` or `RawValue` verbatim.
struct Verbatim<'w, 'o, 'a>(&'w mut Writer<'o, 'a>);

macro_rules! quoted {
    ($($name:ident $type:ident)*) => {$(
        fn $name(self, value: $type) -> Result<(), Error> {
            self.0.raw("\"")?;
            value.serialize(&mut *self.0)?;
            self.0.raw("\"")
        }
    )*};
}

macro_rules! refused {
    ($($name:ident($($arg:ty),*) -> $ok:ty;)*) => {$(
        fn $name(self, $(_: $arg),*) -> Result<$ok, Error> {
            Err(Error::Key)
        }
    )*};
}

macro_rules! only_strings {
    ($type:ident { $($special:item)* }) => {
        impl ser::Serializer for $type<'_, '_, '_> {
            type Ok = ();
            type Error = Error;
            type SerializeSeq = ser::Impossible<(), Error>;
            type SerializeTuple = ser::Impossible<(), Error>;
            type SerializeTupleStruct = ser::Impossible<(), Error>;
            type SerializeTupleVariant = ser::Impossible<(), Error>;
            type SerializeMap = ser::Impossible<(), Error>;
            type SerializeStruct = ser::Impossible<(), Error>;
            type SerializeStructVariant = ser::Impossible<(), Error>;

            $($special)*

            quoted! {
                serialize_bool bool serialize_i8 i8 serialize_i16 i16 serialize_i32 i32 serialize_i64 i64 serialize_i128 i128
                serialize_u8 u8 serialize_u16 u16 serialize_u32 u32 serialize_u64 u64 serialize_u128 u128
                serialize_f32 f32 serialize_f64 f64
            }

            fn serialize_char(self, c: char) -> Result<(), Error> {
                self.serialize_str(c.encode_utf8(&mut [0; 4]))
            }

            fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), Error> {
                self.serialize_str(variant)
            }

            fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Error> {
                value.serialize(self)
            }

            fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Error> {
                value.serialize(self)
            }

            fn serialize_newtype_variant<T: Serialize + ?Sized>(
                self,
                _: &'static str,
                _: u32,
                _: &'static str,
                _: &T,
            ) -> Result<(), Error> {
                Err(Error::Key)
            }

            refused! {
                serialize_bytes(&[u8]) -> ();
                serialize_none() -> ();
                serialize_unit() -> ();
                serialize_unit_struct(&'static str) -> ();
                serialize_seq(Option<usize>) -> Self::SerializeSeq;
                serialize_tuple(usize) -> Self::SerializeTuple;
                serialize_tuple_struct(&'static str, usize) -> Self::SerializeTupleStruct;
                serialize_tuple_variant(&'static str, u32, &'static str, usize) -> Self::SerializeTupleVariant;
                serialize_map(Option<usize>) -> Self::SerializeMap;
                serialize_struct(&'static str, usize) -> Self::SerializeStruct;
                serialize_struct_variant(&'static str, u32, &'static str, usize) -> Self::SerializeStructVariant;
            }
        }
    };
}

only_strings!(Key {
    fn serialize_str(self, text: &str) -> Result<(), Error> {
        self.0.string(text)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, text: &T) -> Result<(), Error> {
        ser::Serializer::collect_str(self.0, text)
    }
});

only_strings!(Verbatim {
    fn serialize_str(self, json: &str) -> Result<(), Error> {
        self.0.raw(json)
    }

    fn collect_str<T: fmt::Display + ?Sized>(self, json: &T) -> Result<(), Error> {
        self.0.collect_number(json)
    }
});
