//! The types that a tool can return, and their conversion to a result.

use super::{ContentBlock, Output, ToolError};
use crate::json::{self, Sink, Text, Value};

/// A type that a tool can return.
///
/// - Texts go to the model verbatim.
/// - Numbers and booleans are written as in JSON.
/// - `()` keeps what the tool wrote itself. If it wrote nothing, the result is `(no output)`.
/// - [`ContentBlock`]s are content blocks.
///
/// With the feature `serde` a function with `#[tool]` may also return any other `Serialize`, which
/// becomes JSON text. [`Json`] does the same where a `ToolOutput` is required. Bytes (`Vec<u8>` and
/// similar types) do not compile as a result: write an image as a [`ContentBlock`] of
/// [`Source::Bytes`](super::Source::Bytes), or return `Json(bytes)` for a list of numbers.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a tool's result",
    label = "not a result that the model can read",
    note = "return a string, a number, a bool, `()`, a `ContentBlock` or blocks, or a `Result` of one of these",
    note = "or derive `serde::Serialize`: the result is then JSON text (with the feature `serde`, which `toolrunner_std` has on)"
)]
pub trait ToolOutput {
    /// Appends the value to the result.
    ///
    /// # Errors
    /// Returns the error that the model receives instead of the result.
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError>;
}

impl ToolOutput for () {
    fn write_to(self, _: &mut Output<'_>) -> Result<(), ToolError> {
        Ok(())
    }
}

impl ToolOutput for &str {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        out.text(self).map_err(ToolError::full)
    }
}

impl ToolOutput for char {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        out.text(self.encode_utf8(&mut [0; 4])).map_err(ToolError::full)
    }
}

impl ToolOutput for bool {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        out.text(if self { "true" } else { "false" }).map_err(ToolError::full)
    }
}

impl ToolOutput for Text<'_> {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        // All parts are written even after an overflow, so that the error states the whole size.
        json::text_parts(self, &mut |part| {
            let _counted = out.text(part);
        });
        out.state().map_err(ToolError::full)
    }
}

impl ToolOutput for Value<'_> {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        out.text(self.as_json()).map_err(ToolError::full)
    }
}

impl<const N: usize> ToolOutput for heapless::String<N> {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        out.text(&self).map_err(ToolError::full)
    }
}

impl ToolOutput for ContentBlock<'_> {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        Ok(out.block(self)?)
    }
}

impl ToolOutput for &[ContentBlock<'_>] {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        Ok(self.iter().try_for_each(|block| out.block(*block))?)
    }
}

impl<const N: usize> ToolOutput for [ContentBlock<'_>; N] {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        self.as_slice().write_to(out)
    }
}

impl<T: ToolOutput, E: Into<ToolError>> ToolOutput for Result<T, E> {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        self.map_err(Into::into)?.write_to(out)
    }
}

macro_rules! integers {
    ($($type:ident)*) => {$(
        impl ToolOutput for $type {
            fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
                #[allow(unused_comparisons, reason = "one text for signed and unsigned")]
                let sign = if self < 0 { "-" } else { "" };
                let amount = amount(i128::from(self).unsigned_abs());
                out.text(sign).map_err(ToolError::full)?;
                out.text(core::str::from_utf8(amount.as_bytes()).unwrap_or_default()).map_err(ToolError::full)
            }
        }
    )*};
}

integers!(i8 i16 i32 i64 u8 u16 u32 u64);

fn amount(amount: u128) -> json::Decimal {
    json::Decimal::new(u64::try_from(amount).unwrap_or(u64::MAX))
}

impl ToolOutput for usize {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        u64::try_from(self).unwrap_or(u64::MAX).write_to(out)
    }
}

impl ToolOutput for isize {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        i64::try_from(self).unwrap_or(i64::MAX).write_to(out)
    }
}

impl ToolOutput for f64 {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        json::write_f64(self, &mut AsText(out)).map_err(ToolError::full)
    }
}

impl ToolOutput for f32 {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        json::write_f32(self, &mut AsText(out)).map_err(ToolError::full)
    }
}

/// Writes JSON as the text of a result.
pub(super) struct AsText<'o, 'a>(pub(super) &'o mut Output<'a>);

impl Sink for AsText<'_, '_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), crate::error::Capacity> {
        // Each part consists of whole characters.
        self.0.text(core::str::from_utf8(bytes).unwrap_or_default())
    }
}

#[cfg(feature = "alloc")]
mod owned {
    use alloc::borrow::Cow;
    use alloc::boxed::Box;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::{ContentBlock, Output, ToolError, ToolOutput};

    macro_rules! strings {
        ($($type:ty),*) => {$(
            impl ToolOutput for $type {
                fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
                    out.text(&self).map_err(ToolError::full)
                }
            }
        )*};
    }

    strings!(String, &String, Box<str>, Cow<'_, str>);

    impl ToolOutput for Vec<ContentBlock<'_>> {
        fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
            self.as_slice().write_to(out)
        }
    }
}

/// Any `Serialize` as a result: its JSON, as text. With the feature `schemars`, also any
/// `Deserialize` with a `JsonSchema` as an argument.
///
/// ```
/// # #[cfg(all(feature = "macros", feature = "schemars"))] {
/// use toolrunner_core::tool;
/// use toolrunner_core::tool::Json;
///
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Filter {
///     #[serde(alias = "q")]
///     query: String,
/// }
///
/// #[tool]
/// fn find(filter: Json<Filter>) -> String {
///     filter.0.query
/// }
/// # }
/// ```
#[cfg(feature = "serde")]
#[derive(Clone, Copy, Debug)]
pub struct Json<T>(pub T);

#[cfg(feature = "serde")]
impl<T: serde::Serialize> ToolOutput for Json<T> {
    fn write_to(self, out: &mut Output<'_>) -> Result<(), ToolError> {
        out.json(&self.0)
    }
}

/// Conversion of a function's return value to a result, for generated code.
///
/// Method resolution selects one of several conversions: `(&&&&Probe(&value)).kind()` prefers the
/// impl for `&&&Probe` to the one for `&&Probe`, and so on down to `Probe`.
#[doc(hidden)]
pub mod kinds {
    use core::convert::Infallible;
    use core::fmt::Display;

    use super::{Output, ToolError, ToolOutput};

    #[derive(Debug)]
    pub struct Probe<'v, T>(pub &'v T);

    #[derive(Debug)]
    pub struct IsResult;
    #[derive(Debug)]
    pub struct IsValue;

    pub trait ResultKind {
        fn split_kind(&self) -> IsResult {
            IsResult
        }
    }

    impl<T, E> ResultKind for &Probe<'_, Result<T, E>> {}

    pub trait ValueKind {
        fn split_kind(&self) -> IsValue {
            IsValue
        }
    }

    impl<T> ValueKind for Probe<'_, T> {}

    impl IsResult {
        pub fn split<T, E>(self, value: Result<T, E>) -> Result<T, E> {
            value
        }
    }

    impl IsValue {
        pub fn split<T>(self, value: T) -> Result<T, Infallible> {
            Ok(value)
        }
    }

    /// Types of bytes, which serde would write as a list of numbers.
    #[cfg(feature = "serde")]
    pub trait Bytes {}

    #[cfg(feature = "serde")]
    mod bytes {
        use super::Bytes;

        impl Bytes for [u8] {}
        impl<const N: usize> Bytes for [u8; N] {}
        impl<const N: usize> Bytes for heapless::Vec<u8, N> {}
        impl<T: Bytes + ?Sized> Bytes for &T {}
        impl<T: Bytes> Bytes for Option<T> {}
        impl<T: Bytes> Bytes for [T] {}
    }

    #[cfg(all(feature = "serde", feature = "alloc"))]
    mod owned_bytes {
        use alloc::borrow::Cow;
        use alloc::boxed::Box;
        use alloc::collections::VecDeque;
        use alloc::rc::Rc;
        #[cfg(target_has_atomic = "ptr")]
        use alloc::sync::Arc;
        use alloc::vec::Vec;

        use super::Bytes;

        impl Bytes for Vec<u8> {}
        impl Bytes for VecDeque<u8> {}
        impl Bytes for Cow<'_, [u8]> {}
        impl<T: Bytes + ?Sized> Bytes for Box<T> {}
        impl<T: Bytes + ?Sized> Bytes for Rc<T> {}
        #[cfg(target_has_atomic = "ptr")]
        impl<T: Bytes + ?Sized> Bytes for Arc<T> {}
        impl<T: Bytes> Bytes for Vec<T> {}
    }

    /// A trait that no type of bytes implements. The compiler's error at the call of `write` states
    /// what to return instead.
    #[cfg(feature = "serde")]
    #[diagnostic::on_unimplemented(
        message = "a tool cannot return the bytes of `{Self}`: the model would read a list of numbers",
        label = "bytes cannot be a tool result",
        note = "take `out: &mut Output<'_>` as an argument and write an image with \
                `out.block(ContentBlock::image(Source::Bytes {{ media_type: \"image/png\", data: &bytes }}))?`; text is `String::from_utf8(bytes)`",
        note = "if the model should read numbers, return `Json(bytes)`"
    )]
    pub trait NoBytes {}

    #[cfg(feature = "serde")]
    #[derive(Debug)]
    pub struct IsBytes;

    #[cfg(feature = "serde")]
    pub trait BytesKind {
        fn output_kind(&self) -> IsBytes {
            IsBytes
        }
    }

    #[cfg(feature = "serde")]
    impl<T: Bytes> BytesKind for &&&Probe<'_, T> {}

    #[cfg(feature = "serde")]
    impl IsBytes {
        pub fn write<T: NoBytes>(self, _: T, _: &mut Output<'_>) -> Result<(), ToolError> {
            Ok(())
        }
    }

    #[derive(Debug)]
    pub struct IsOutput;

    pub trait OutputKind {
        fn output_kind(&self) -> IsOutput {
            IsOutput
        }
    }

    impl<T: ToolOutput> OutputKind for &&Probe<'_, T> {}

    impl IsOutput {
        pub fn write<T: ToolOutput>(self, value: T, out: &mut Output<'_>) -> Result<(), ToolError> {
            value.write_to(out)
        }
    }

    #[cfg(feature = "serde")]
    #[derive(Debug)]
    pub struct IsSerialize;

    #[cfg(feature = "serde")]
    pub trait SerializeKind {
        fn output_kind(&self) -> IsSerialize {
            IsSerialize
        }
    }

    #[cfg(feature = "serde")]
    impl<T: serde::Serialize> SerializeKind for &Probe<'_, T> {}

    #[cfg(feature = "serde")]
    impl IsSerialize {
        pub fn write<T: serde::Serialize>(
            self,
            value: T,
            out: &mut Output<'_>,
        ) -> Result<(), ToolError> {
            out.json(&value)
        }
    }

    /// All other types. The compiler's error at the call of `write` states which types a result can
    /// have.
    pub trait OtherKind {
        fn output_kind(&self) -> IsOutput {
            IsOutput
        }
    }

    impl<T> OtherKind for Probe<'_, T> {}

    #[derive(Debug)]
    pub struct IsToolError;

    pub trait ToolErrorKind {
        fn error_kind(&self) -> IsToolError {
            IsToolError
        }
    }

    impl<E: Into<ToolError>> ToolErrorKind for &&&Probe<'_, E> {}

    impl IsToolError {
        pub fn convert<E: Into<ToolError>>(self, error: E) -> ToolError {
            error.into()
        }
    }

    #[cfg(feature = "alloc")]
    #[derive(Debug)]
    pub struct IsBoxable;

    #[cfg(feature = "alloc")]
    pub trait BoxableKind {
        fn error_kind(&self) -> IsBoxable {
            IsBoxable
        }
    }

    #[cfg(feature = "alloc")]
    type BoxedError = alloc::boxed::Box<dyn core::error::Error + Send + Sync>;

    #[cfg(feature = "alloc")]
    impl<E: Into<BoxedError>> BoxableKind for &&Probe<'_, E> {}

    #[cfg(feature = "alloc")]
    impl IsBoxable {
        pub fn convert<E: Into<BoxedError>>(self, error: E) -> ToolError {
            ToolError::from_boxed(error.into())
        }
    }

    #[cfg(feature = "alloc")]
    #[derive(Debug)]
    pub struct IsLocal;

    /// An error that cannot leave its thread: `Box<dyn Error>`.
    #[cfg(feature = "alloc")]
    pub trait LocalKind {
        fn error_kind(&self) -> IsLocal {
            IsLocal
        }
    }

    #[cfg(feature = "alloc")]
    type Local = alloc::boxed::Box<dyn core::error::Error>;

    #[cfg(feature = "alloc")]
    impl<E: Into<Local>> LocalKind for &Probe<'_, E> {}

    #[cfg(feature = "alloc")]
    impl IsLocal {
        pub fn convert<E: Into<Local>>(self, error: E) -> ToolError {
            crate::tool::error::of_chain(&*error.into())
        }
    }

    #[derive(Debug)]
    pub struct IsDisplay;

    /// All other types. The compiler's error at the call of `convert` states what an error must be.
    pub trait DisplayKind {
        fn error_kind(&self) -> IsDisplay {
            IsDisplay
        }
    }

    impl<E> DisplayKind for Probe<'_, E> {}

    impl IsDisplay {
        pub fn convert<E: Display>(self, error: E) -> ToolError {
            ToolError::format(format_args!("Error: {error}"))
        }
    }
}
