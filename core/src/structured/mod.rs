//! Structured output: the last reply of a run as a value.
//!
//! The schema is that of the type ([`ToolInput`]) in the strict form that the API can enforce. It
//! is sent as `output_config.format`, and the reply is checked against the original schema. A reply
//! that does not fit is requested once more, with the reason.
//!
//! On a chip the parameter is a constant, and the reply is read in the caller's memory:
#![cfg_attr(feature = "macros", doc = "```")]
#![cfg_attr(not(feature = "macros"), doc = "```ignore")]
//! use toolrunner_core::ToolInput;
//! use toolrunner_core::drive::Driver;
//! use toolrunner_core::structured::StructuredResult;
//! use toolrunner_core::wire::Config;
//!
//! #[derive(ToolInput)]
//! struct Setting {
//!     #[tool(min = 5, max = 30)]
//!     celsius: f32,
//!     reason: heapless::String<60>,
//! }
//!
//! const CONFIG: Config<'static> =
//!     Config::new("claude-haiku-4-5", 512).params(toolrunner_core::output_params!(Setting));
//! # assert_eq!(CONFIG.params, r#""output_config":{"format":{"type":"json_schema","schema":{"type":"object","properties":{"celsius":{"type":"number","description":"{minimum: 5, maximum: 30}"},"reason":{"type":"string","description":"{maxLength: 60}"}},"required":["celsius","reason"],"additionalProperties":false}}}"#);
//! ```
//! The driver then has [`Driver::output`].

pub(crate) mod parts;

use core::fmt;

use crate::drive::{DriveError, Driver, Hooks};
use crate::error::Error;
use crate::observe::Observer;
use crate::run::{Outcome, Run};
use crate::time::Clock;
use crate::tool::{ToolInput, Toolbox};
use crate::transport::Transport;
use parts::{ask_again, read};

/// The end of a reason that was longer than [`Reason::MAX_LEN`].
#[cfg(not(feature = "alloc"))]
const CUT: &str = " […cut]";

/// The result of a run whose last reply should be a value. The reply's text remains in the
/// conversation in any case.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(
    not(feature = "alloc"),
    allow(clippy::large_enum_variant, reason = "without a heap, the reason has no other place")
)]
pub enum StructuredResult<T> {
    /// The last reply is this value.
    Value(T),
    /// The last reply does not fit the schema. [`Driver::output`] has asked for it twice.
    Mismatch(Reason),
    /// The model refused to answer.
    Refused,
    /// The reply was cut off: at `max_tokens`, or at the end of the context window.
    Truncated,
    /// The run ended otherwise, for example at a limit or at a call that the caller must answer.
    Ended(Outcome),
}

/// The reason why a reply does not fit the schema, as it is sent to the model: the place, what was
/// expected, and what was found.
#[derive(Clone, PartialEq, Eq)]
pub struct Reason {
    #[cfg(feature = "alloc")]
    text: alloc::string::String,
    #[cfg(not(feature = "alloc"))]
    text: heapless::String<{ Self::MAX_LEN }>,
}

impl Reason {
    /// The maximum length of a reason in bytes, without `alloc`. A longer text ends with a note
    /// that it was cut.
    pub const MAX_LEN: usize = 256;

    #[cfg(feature = "alloc")]
    pub(super) fn new(text: &dyn fmt::Display) -> Self {
        Self { text: alloc::format!("{text}") }
    }

    #[cfg(not(feature = "alloc"))]
    pub(super) fn new(text: &dyn fmt::Display) -> Self {
        use fmt::Write;
        struct BoundedText(heapless::String<{ Reason::MAX_LEN }>, bool);
        impl Write for BoundedText {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for c in text.chars() {
                    let len = self.0.len().saturating_add(c.len_utf8()).saturating_add(CUT.len());
                    self.1 |= len > Reason::MAX_LEN;
                    if self.1 || self.0.push(c).is_err() {
                        self.1 = true;
                        return Ok(());
                    }
                }
                Ok(())
            }
        }
        let mut kept = BoundedText(heapless::String::new(), false);
        let _infallible = write!(kept, "{text}");
        if kept.1 {
            let _fits = kept.0.push_str(CUT);
        }
        Self { text: kept.0 }
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.as_str().fmt(f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Returns `"output_config":{"format":…}` for a type, a constant for
/// [`Config::params`](crate::wire::Config::params).
///
/// It does not compile for a type that contains a map or any JSON, because the API requires that a
/// schema names all members.
#[macro_export]
macro_rules! output_params {
    ($type:ty) => {{
        const BEFORE: &str = "\"output_config\":{\"format\":";
        const SCHEMA: &$crate::schema::Schema = <$type as $crate::tool::ToolInput<'static>>::SCHEMA;
        const LEN: usize = $crate::__private::output_len(SCHEMA, BEFORE, "}");
        const BYTES: [u8; LEN] = $crate::__private::output(SCHEMA, BEFORE, "}");
        const TEXT: &str = $crate::__private::text(&BYTES);
        TEXT
    }};
}

impl<'r, T: Transport, B: Toolbox + ?Sized, C: Clock, H: Hooks> Driver<'r, T, B, C, H> {
    /// Drives `run` until it is over, and reads its last reply as a value. The configuration must
    /// have [`output_params!`](crate::output_params) of the same type. A reply that does not fit is
    /// requested once more, with the reason.
    ///
    /// `memory` holds the unescaped text of the reply, followed by strings that are escaped within
    /// it. The type owns its strings, for example as `heapless::String<N>`.
    ///
    /// # Errors
    /// See [`until_done`](Self::until_done). Returns `Capacity` of
    /// [`CapacityKind::Reply`](crate::error::CapacityKind::Reply) if the text does not fit into
    /// `memory`; the reply remains in the conversation. The run can continue.
    pub async fn output<V: for<'x> ToolInput<'x>, O: Observer>(
        &mut self,
        run: &mut Run<'_>,
        observer: &mut O,
        memory: &mut [u8],
    ) -> Result<StructuredResult<V>, DriveError<T::Error>> {
        let outcome = self.until_done(run, observer).await?;
        let first = read(outcome, run.last_message(), memory).map_err(Error::from)?;
        let StructuredResult::Mismatch(reason) = first else { return Ok(first) };
        ask_again(run, &reason)?;
        let outcome = self.until_done(run, observer).await?;
        Ok(read(outcome, run.last_message(), memory).map_err(Error::from)?)
    }
}
