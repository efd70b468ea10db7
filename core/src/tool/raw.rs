//! Tools with a schema in JSON text, and tools that are only declared.

use core::ops::Range;
use core::time::Duration;

use super::toolbox::is_name;
use super::{Definition, Output, ToolCall, ToolError, Toolbox, Tools, check_input, not_found};
use crate::error::Misuse;
use crate::json::{self, Kind, Value};
use crate::schema::RawSchema;

/// The text of a definition: a `&'static str`, or a `String` with `alloc`.
#[cfg(feature = "alloc")]
pub(crate) type DefinitionText = alloc::borrow::Cow<'static, str>;
/// The text of a definition: a `&'static str`, or a `String` with `alloc`.
#[cfg(not(feature = "alloc"))]
pub(crate) type DefinitionText = &'static str;

/// A definition and the position of its name in the JSON text.
#[derive(Clone, Debug)]
struct Declaration {
    json: DefinitionText,
    name: Range<usize>,
    /// The original input schema, if the API receives an equivalent one instead. Inputs are checked
    /// against the original.
    #[cfg(feature = "alloc")]
    given: Option<alloc::string::String>,
}

impl Declaration {
    /// Checks that `json` is an object with a valid name, or with a `type` that the API defines.
    fn new(json: DefinitionText) -> Result<Self, Misuse> {
        let bytes = json.as_bytes();
        const NONE: &str = "a tool's definition must be a JSON object";
        json::check(bytes).map_err(|error| error.misuse(NONE))?;
        let object = Value::first(bytes)
            .filter(|value| value.kind() == Kind::Object)
            .ok_or(Misuse::Json(NONE))?;
        let name = match object.member("name") {
            None if object
                .member("type")
                .and_then(Value::as_text)
                .is_some_and(|kind| kind != *"custom") =>
            {
                0..0
            }
            None => {
                return Err(Misuse::Json(
                    "a tool's definition must have a name, or a `type` that the API defines",
                ));
            }
            Some(name) => {
                let text = name
                    .as_text()
                    .and_then(json::Text::as_plain)
                    .ok_or(Misuse::Json("a tool's name must be a string without escapes"))?;
                if !is_name(text) {
                    return Err(Misuse::Setting(
                        "a tool's name must be 1 to 128 of a-z, A-Z, 0-9, _ and -",
                    ));
                }
                let start = name.offset_in(bytes).unwrap_or(0).saturating_add(1);
                start..start.saturating_add(text.len())
            }
        };
        Ok(Self::folded(json, name))
    }

    #[cfg(not(feature = "alloc"))]
    fn folded(json: DefinitionText, name: Range<usize>) -> Self {
        Self { json, name }
    }

    /// Creates a declaration whose input schema the API accepts.
    ///
    /// A schema that the API refuses is replaced by an equivalent one, if there is one.
    /// `check_tools` refuses the others.
    #[cfg(feature = "alloc")]
    fn folded(json: DefinitionText, name: Range<usize>) -> Self {
        use alloc::borrow::ToOwned;
        let schema =
            Value::first(json.as_bytes()).and_then(|definition| definition.member("input_schema"));
        let folded = schema.and_then(|schema| {
            let at = schema.offset_in(json.as_bytes())?;
            let (before, after) =
                (json.get(..at)?, json.get(at.checked_add(schema.raw().len())?..)?);
            Some((
                [before, &crate::schema::fold(schema)?, after].concat(),
                at,
                schema.as_json().to_owned(),
            ))
        });
        match folded {
            // A name after the schema has moved.
            Some((json, at, given)) => {
                let name = if name.start < at { name } else { Self::name_in(&json) };
                Self { json: json.into(), name, given: Some(given) }
            }
            None => Self { json, name, given: None },
        }
    }

    #[cfg(feature = "alloc")]
    fn name_in(json: &str) -> Range<usize> {
        let name = Value::first(json.as_bytes()).and_then(|definition| definition.member("name"));
        let place = name.and_then(|name| {
            let start = name.offset_in(json.as_bytes())?.saturating_add(1);
            Some(start..start.saturating_add(name.as_text()?.raw().len()))
        });
        place.unwrap_or_default()
    }

    #[cfg_attr(
        not(feature = "alloc"),
        allow(clippy::needless_borrow, reason = "with alloc the text may be owned")
    )]
    fn definition(&self) -> Definition<'_> {
        let json: &str = &self.json;
        Definition::new(json.get(self.name.clone()).unwrap_or_default(), json)
    }

    /// Returns the schema that inputs are checked against, if there is one.
    fn schema(&self) -> Option<Value<'_>> {
        #[cfg(feature = "alloc")]
        if let Some(given) = &self.given {
            return Value::first(given.as_bytes());
        }
        Value::first(self.json.as_bytes()).and_then(|definition| definition.member("input_schema"))
    }

    /// Checks the input against the schema. If it does not fit, writes the reason to `out`.
    fn check(
        &self,
        call: &ToolCall<'_>,
        is_lenient: bool,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let of = |schema| {
            if is_lenient { RawSchema::of(schema).nullable() } else { RawSchema::of(schema) }
        };
        check_input(self.definition().name, self.schema().map(of), call.input, out)
    }
}

/// A tool without a function.
///
/// The caller answers its calls (with `results`), or the server runs it. Its definition may have no
/// name.
///
/// ```
/// use toolrunner_core::tool::DeclaredTool;
/// let search = DeclaredTool::new(r#"{"type":"web_search_20250305","name":"web_search"}"#)?;
/// assert!(!search.definition().runnable);
/// # Ok::<(), toolrunner_core::error::Misuse>(())
/// ```
#[derive(Clone, Debug)]
pub struct DeclaredTool {
    declaration: Declaration,
}

impl DeclaredTool {
    /// Creates a tool from its definition, as it is written to the `tools` of a request.
    ///
    /// The API does not accept `anyOf`, `oneOf`, `allOf` or `$ref` at the root of an
    /// `input_schema`. With `alloc` such a schema is sent as one object schema that allows exactly
    /// the same inputs, if there is one. Otherwise the tool is refused before anything is sent.
    ///
    /// # Errors
    /// Returns [`Misuse::Json`] if `json` is not a JSON object, or has neither a name nor a `type`
    /// that the API defines. Returns [`Misuse::Setting`] if the name does not consist of 1 to 128
    /// of the characters `a-z`, `A-Z`, `0-9`, `_` and `-`.
    pub fn new(json: impl Into<DefinitionText>) -> Result<Self, Misuse> {
        Declaration::new(json.into()).map(|declaration| Self { declaration })
    }

    /// Returns the definition, as it is sent.
    pub fn definition(&self) -> Definition<'_> {
        self.declaration.definition().declared()
    }
}

/// A tool whose definition is JSON text and whose function is a closure.
///
/// The input is checked against the definition's `input_schema`, to the extent that [`RawSchema`]
/// supports it. A definition without a schema accepts any object. An example is a tool that the API
/// defines and the client runs, such as `bash_20250124`.
///
/// ```
/// use toolrunner_core::tool::{RawTool, Toolbox};
/// let echo = RawTool::direct(
///     r#"{"name":"echo","input_schema":{"type":"object",
///         "properties":{"text":{"type":"string"}},"required":["text"]}}"#,
///     |input, out| {
///         let text = input.member("text").and_then(|text| text.as_text()).unwrap_or_default();
///         Ok(out.text(text.as_plain().unwrap_or("(escaped)"))?)
///     },
/// )?;
/// assert_eq!(echo.definition(0).unwrap().name, "echo");
/// # Ok::<(), toolrunner_core::error::Misuse>(())
/// ```
#[derive(Clone, Debug)]
pub struct RawTool<R> {
    declaration: Declaration,
    toolset: Option<DefinitionText>,
    serial: Option<DefinitionText>,
    blocking: bool,
    timeout: Option<Duration>,
    idempotent: bool,
    requires_approval: bool,
    #[cfg(feature = "alloc")]
    lenient: bool,
    run: R,
}

/// The function of a [`RawTool`]: a closure that writes its result.
#[derive(Clone, Copy, Debug)]
pub struct Direct<F>(F);

/// The function of a [`RawTool`]: a closure that returns a future.
#[cfg(feature = "alloc")]
#[derive(Clone, Copy, Debug)]
pub struct Async<F>(F);

impl<F: Fn(Value<'_>, &mut Output<'_>) -> Result<(), ToolError>> RawTool<Direct<F>> {
    /// Creates a tool from its whole definition and a closure. The closure takes the input and
    /// writes the result.
    ///
    /// # Errors
    /// Returns [`Misuse::Json`] or [`Misuse::Setting`] if the definition is invalid; see
    /// [`DeclaredTool::new`].
    pub fn direct(definition: impl Into<DefinitionText>, run: F) -> Result<Self, Misuse> {
        Self::of(definition.into(), Direct(run))
    }
}

impl<R> RawTool<R> {
    fn of(definition: DefinitionText, run: R) -> Result<Self, Misuse> {
        let declaration = Declaration::new(definition)?;
        Ok(Self {
            declaration,
            toolset: None,
            serial: None,
            blocking: false,
            timeout: None,
            idempotent: false,
            requires_approval: false,
            #[cfg(feature = "alloc")]
            lenient: false,
            run,
        })
    }

    /// Makes the tool a member of a toolset, such as `computer`.
    ///
    /// It answers calls with this `toolset_name` and its own name. Its definition is not sent.
    /// Declare the toolset itself, for example with
    /// `DeclaredTool::new(r#"{"type":"computer_toolset_20260801"}"#)`.
    #[must_use]
    pub fn member_of(mut self, toolset: impl Into<DefinitionText>) -> Self {
        self.toolset = Some(toolset.into());
        self
    }

    /// Adds the tool to the unnamed serial group: its calls never run at the same time as other
    /// calls of that group.
    #[must_use]
    pub fn serial(self) -> Self {
        self.serial_in("")
    }

    /// Adds the tool to a serial group: its calls never run at the same time as other calls of that
    /// group.
    #[must_use]
    pub fn serial_in(mut self, group: impl Into<DefinitionText>) -> Self {
        self.serial = Some(group.into());
        self
    }

    /// Marks the tool as [`blocking`](Definition::blocking), so that a server runs it where
    /// blocking a thread does no harm.
    #[must_use]
    pub fn blocking(mut self) -> Self {
        self.blocking = true;
        self
    }

    /// Sets the time limit of a call. When it expires, the call's future is dropped.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Accepts some invalid inputs that some models write. Off by default: the model receives the
    /// error and corrects its input.
    ///
    /// - A string is replaced by the JSON that it contains where an argument is a number, a
    ///   boolean, an array or an object: `"5"`, `"[1,2]"`.
    /// - `null` counts as missing for an argument that is not required and must not be `null`.
    /// - OpenAPI's `nullable: true` allows `null`.
    ///
    /// Only the arguments themselves are read leniently, not the values inside them. The exception
    /// is `nullable`, which applies everywhere.
    #[cfg(feature = "alloc")]
    #[must_use]
    pub fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Marks the tool as [`idempotent`](Definition::idempotent).
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Marks the tool as one whose calls a person must approve. See
    /// [`Definition::requires_approval`].
    #[must_use]
    pub fn requires_approval(mut self) -> Self {
        self.requires_approval = true;
        self
    }

    #[cfg_attr(
        not(feature = "alloc"),
        allow(clippy::needless_option_as_deref, reason = "with alloc the texts may be owned")
    )]
    fn definition(&self) -> Definition<'_> {
        let mut definition = self.declaration.definition();
        (definition.blocking, definition.timeout) = (self.blocking, self.timeout);
        definition.serial = self.serial.as_deref();
        definition.toolset = self.toolset.as_deref();
        (definition.idempotent, definition.requires_approval) =
            (self.idempotent, self.requires_approval);
        definition
    }
}

#[cfg(feature = "alloc")]
mod owned {
    use alloc::borrow::ToOwned;
    use alloc::string::String;
    use alloc::vec::Vec;

    use super::super::ToolOutput;
    use super::{Async, DefinitionText, Misuse, RawTool, Value};
    use crate::json::escape;

    /// The owned input of one call: a JSON object that fits the tool's schema.
    #[derive(Clone, Debug)]
    pub struct Input {
        json: String,
    }

    impl Input {
        pub(super) fn of(value: Value<'_>) -> Self {
            Self { json: value.as_json().to_owned() }
        }

        /// Returns the input as JSON text.
        pub fn json(&self) -> &str {
            &self.json
        }

        /// Returns the input as a JSON value.
        pub fn value(&self) -> Value<'_> {
            Value::first(self.json.as_bytes()).unwrap_or(Value::EMPTY_ARRAY)
        }

        /// Deserializes the input with serde_json.
        ///
        /// # Errors
        /// Returns serde_json's error, which states the line and the column.
        #[cfg(feature = "serde-json")]
        pub fn deserialize<'a, T: serde::Deserialize<'a>>(
            &'a self,
        ) -> Result<T, serde_json::Error> {
            self.value().deserialize()
        }
    }

    impl<F, Fut> RawTool<Async<F>>
    where
        F: Fn(Input) -> Fut,
        Fut: Future,
        Fut::Output: ToolOutput,
    {
        /// Creates a tool from its name, its description, its input schema as JSON text, and a
        /// closure. The closure takes the input and returns a future of the result.
        ///
        /// The input is always checked against this schema, even if the API receives [another form
        /// of it](super::DeclaredTool::new).
        ///
        /// # Errors
        /// Returns [`Misuse::Json`] if the schema is not JSON. Returns [`Misuse::Setting`] if the
        /// name does not consist of 1 to 128 of the characters `a-z`, `A-Z`, `0-9`, `_` and `-`.
        pub fn new(name: &str, description: &str, schema: &str, run: F) -> Result<Self, Misuse> {
            let mut json = Vec::new();
            for (key, text) in [("{\"name\":\"", name), ("\",\"description\":\"", description)] {
                json.extend_from_slice(key.as_bytes());
                let _a_vec_takes_all = escape(text).write_to(&mut json);
            }
            json.extend_from_slice(b"\",\"input_schema\":");
            json.extend_from_slice(schema.as_bytes());
            json.push(b'}');
            let json = String::from_utf8(json)
                .map_err(|_| Misuse::Json("a schema must be a JSON object"))?;
            crate::json::check(schema.as_bytes())
                .map_err(|error| error.misuse("a schema must be a JSON object"))?;
            Self::of(json.into(), Async(run))
        }

        /// Creates a tool from its whole definition and a closure. The closure takes the input and
        /// returns a future of the result.
        ///
        /// # Errors
        /// Returns [`Misuse::Json`] or [`Misuse::Setting`] if the definition is invalid; see
        /// [`DeclaredTool::new`](super::DeclaredTool::new).
        pub fn from_definition(
            definition: impl Into<DefinitionText>,
            run: F,
        ) -> Result<Self, Misuse> {
            Self::of(definition.into(), Async(run))
        }
    }
}

#[cfg(feature = "alloc")]
pub use owned::Input;

macro_rules! one_tool {
    ($(impl[$($generics:tt)*] $trait:ident for $type:ty [$($bounds:tt)*] |$self:ident, $call:ident, $out:ident| $run:expr;)*) => {$(
        impl<$($generics)*> $trait for $type where $($bounds)* {
            fn count(&self) -> usize {
                1
            }

            fn definition(&self, i: usize) -> Option<Definition<'_>> {
                (i == 0).then(|| Self::definition(self))
            }

            async fn call(&$self, i: usize, $call: ToolCall<'_>, $out: &mut Output<'_>) -> Result<(), ToolError> {
                if i != 0 {
                    return Err(not_found(&$call, $out));
                }
                #[cfg(feature = "alloc")]
                let read = $self.lenient.then(|| crate::schema::lenient_raw($self.declaration.schema()?, $call.input)).flatten();
                #[cfg(feature = "alloc")]
                let ($call, is_lenient) = (super::generated::with_input($call, read.as_deref()), $self.lenient);
                #[cfg(not(feature = "alloc"))]
                let is_lenient = false;
                $self.declaration.check(&$call, is_lenient, $out)?;
                $run
            }
        }
    )*};
}

one_tool! {
    impl[F] Toolbox for RawTool<Direct<F>> [F: Fn(Value<'_>, &mut Output<'_>) -> Result<(), ToolError>]
        |self, call, out| (self.run.0)(call.input, out);
    impl[F] Tools for RawTool<Direct<F>> [F: Fn(Value<'_>, &mut Output<'_>) -> Result<(), ToolError> + Send + Sync + 'static]
        |self, call, out| (self.run.0)(call.input, out);
}

#[cfg(feature = "alloc")]
one_tool! {
    impl[F, Fut] Toolbox for RawTool<Async<F>> [F: Fn(Input) -> Fut, Fut: Future, Fut::Output: super::ToolOutput]
        |self, call, out| super::ToolOutput::write_to((self.run.0)(Input::of(call.input)).await, out);
    impl[F, Fut] Tools for RawTool<Async<F>> [F: Fn(Input) -> Fut + Send + Sync + 'static, Fut: Future + Send, Fut::Output: super::ToolOutput]
        |self, call, out| super::ToolOutput::write_to((self.run.0)(Input::of(call.input)).await, out);
}

macro_rules! declared {
    ($($trait:ident)*) => {$(
        impl $trait for DeclaredTool {
            fn count(&self) -> usize {
                1
            }

            fn definition(&self, i: usize) -> Option<Definition<'_>> {
                (i == 0).then(|| Self::definition(self))
            }

            async fn call(&self, _: usize, call: ToolCall<'_>, out: &mut Output<'_>) -> Result<(), ToolError> {
                Err(not_found(&call, out))
            }
        }
    )*};
}

declared!(Toolbox Tools);
