//! Structured output: the last reply of a run as a value.
//!
//! The schema is that of the type ([`ToolInput`]) in the strict form that the API can enforce. It
//! is sent as `output_config.format`, and the reply is checked against the original schema. A reply
//! that does not fit is asked for once more, with the reason.
//!
//! On a chip the parameter is a constant, and the reply is read in the caller's memory:
#![cfg_attr(feature = "macros", doc = "```")]
#![cfg_attr(not(feature = "macros"), doc = "```ignore")]
//! use toolrunner_core::ToolInput;
//! use toolrunner_core::drive::Driver;
//! use toolrunner_core::structured::Structured;
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

use core::fmt;

use crate::drive::{DriveError, Driver, Hooks};
use crate::error::{Capacity, CapacityKind, Error};
use crate::json::{self, Piece, Value, escape};
use crate::message::{Message, StopReason};
use crate::observe::Observer;
use crate::run::{Outcome, Run};
use crate::time::Clock;
use crate::tool::{Decoder, ToolInput, Toolbox};
use crate::transport::Transport;

/// The maximum size of the reason why a reply does not fit, in bytes, without `alloc`. A longer
/// text ends with a note that it was cut.
pub const REASON: usize = 256;

/// The end of a reason that was longer than [`REASON`].
#[cfg(not(feature = "alloc"))]
const CUT: &str = " […cut]";

/// What became of a run whose last reply should be a value. The reply's text remains in the
/// conversation in any case.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(
    not(feature = "alloc"),
    allow(clippy::large_enum_variant, reason = "without a heap, the reason has no other place")
)]
pub enum Structured<T> {
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
    text: heapless::String<REASON>,
}

impl Reason {
    #[cfg(feature = "alloc")]
    fn new(text: &dyn fmt::Display) -> Self {
        Self { text: alloc::format!("{text}") }
    }

    #[cfg(not(feature = "alloc"))]
    fn new(text: &dyn fmt::Display) -> Self {
        use fmt::Write;
        struct Cut(heapless::String<REASON>, bool);
        impl Write for Cut {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                for c in text.chars() {
                    let len = self.0.len().saturating_add(c.len_utf8()).saturating_add(CUT.len());
                    self.1 |= len > REASON;
                    if self.1 || self.0.push(c).is_err() {
                        self.1 = true;
                        return Ok(());
                    }
                }
                Ok(())
            }
        }
        let mut kept = Cut(heapless::String::new(), false);
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

/// Returns the value of `output_config.format` for a type: `{"type":"json_schema","schema":…}`.
///
/// It does not compile for a type that contains a map or any JSON, because the API requires that a
/// schema names all members.
///
/// # Errors
/// Returns the reason if a type of [`Json`](crate::tool::Json) has a schema that the API does not
/// support.
#[cfg(feature = "alloc")]
pub fn format<T: for<'x> ToolInput<'x>>() -> Result<alloc::string::String, &'static str> {
    const { <T as ToolInput<'static>>::SCHEMA.assert_output() };
    let schema = <T as ToolInput<'static>>::SCHEMA;
    #[cfg(feature = "schemars")]
    return crate::schema::output_of(schema);
    #[cfg(not(feature = "schemars"))]
    Ok(crate::schema::output_text(schema))
}

/// Reads the last reply of a run that has ended with `outcome`.
///
/// `memory` holds the unescaped text of the reply, and behind it strings that are escaped within
/// it. Twice the size of the text is always sufficient.
///
/// # Errors
/// Returns `Capacity` of [`CapacityKind::Reply`] if the text does not fit into `memory`.
pub fn read<T: for<'x> ToolInput<'x>>(
    outcome: Outcome,
    reply: Option<Message<'_>>,
    memory: &mut [u8],
) -> Result<Structured<T>, Capacity> {
    Ok(match outcome {
        Outcome::Ended(Some(StopReason::Refusal)) => Structured::Refused,
        Outcome::Ended(Some(StopReason::MaxTokens | StopReason::ModelContextWindowExceeded)) => {
            Structured::Truncated
        }
        Outcome::Ended(_) => {
            let (len, free) = (collect(reply, memory)?, memory.len());
            let Some((text, scratch)) = memory.split_at_mut_checked(len) else {
                return Err(Capacity { what: CapacityKind::Reply, needed: len, free });
            };
            match value(text.trim_ascii(), scratch) {
                Ok(value) => Structured::Value(value),
                Err(reason) => Structured::Mismatch(reason),
            }
        }
        other => Structured::Ended(other),
    })
}

/// Reads the last reply of a run, in memory of its own: see [`read`].
#[cfg(feature = "alloc")]
pub fn read_owned<T: for<'x> ToolInput<'x>>(
    outcome: Outcome,
    reply: Option<Message<'_>>,
) -> Structured<T> {
    let text: usize = reply.into_iter().flat_map(Message::texts).map(json::Text::len).sum();
    let mut memory = alloc::vec![0; text.saturating_mul(2)];
    // The memory is always sufficient.
    read(outcome, reply, &mut memory).unwrap_or(Structured::Ended(outcome))
}

const BEFORE: &str = "{\"role\":\"user\",\"content\":\"The reply does not fit the schema: ";
const AFTER: &str = "\\nReply again, with only the corrected JSON.\"}";

/// Returns the message that asks the model to correct a reply, as JSON.
#[cfg(feature = "alloc")]
pub fn correction(reason: &Reason) -> alloc::string::String {
    let mut message = alloc::vec::Vec::from(BEFORE);
    // A Vec is never full.
    let _ = escape(reason.as_str()).write_to(&mut message);
    message.extend_from_slice(AFTER.as_bytes());
    alloc::string::String::from_utf8(message).unwrap_or_default()
}

/// Asks the model to correct a reply that does not fit. The run then continues.
///
/// # Errors
/// See [`Run::append`].
#[cfg(feature = "alloc")]
pub fn ask_again(run: &mut Run<'_>, reason: &Reason) -> Result<(), Error> {
    run.append(&correction(reason))
}

/// Asks the model to correct a reply that does not fit. The run then continues.
///
/// # Errors
/// See [`Run::append`].
#[cfg(not(feature = "alloc"))]
pub fn ask_again(run: &mut Run<'_>, reason: &Reason) -> Result<(), Error> {
    use crate::json::Sink;
    struct Bytes(heapless::Vec<u8, { REASON * 6 + 192 }>);
    impl Sink for Bytes {
        fn put(&mut self, bytes: &[u8]) -> Result<(), Capacity> {
            let free = self.0.capacity().saturating_sub(self.0.len());
            let full = Capacity { what: CapacityKind::Transcript, needed: bytes.len(), free };
            self.0.extend_from_slice(bytes).map_err(|_| full)
        }
    }
    // An escaped character has at most six bytes, so this always fits.
    let mut message = Bytes(heapless::Vec::new());
    message.put(BEFORE.as_bytes())?;
    escape(reason.as_str()).write_to(&mut message)?;
    message.put(AFTER.as_bytes())?;
    run.append(core::str::from_utf8(&message.0).unwrap_or_default())
}

/// Writes the texts of a message, unescaped, to the beginning of `memory`. Returns their length.
fn collect(reply: Option<Message<'_>>, memory: &mut [u8]) -> Result<usize, Capacity> {
    let texts = || reply.into_iter().flat_map(Message::texts);
    let needed = texts().map(json::Text::len).sum();
    let full = Capacity { what: CapacityKind::Reply, needed, free: memory.len() };
    let mut rest = memory;
    let mut utf8 = [0; 4];
    for piece in texts().flat_map(json::Text::pieces) {
        let bytes = match piece {
            Piece::Plain(plain) => plain.as_bytes(),
            Piece::Char(c) => c.encode_utf8(&mut utf8).as_bytes(),
        };
        let (place, more) = rest.split_at_mut_checked(bytes.len()).ok_or(full)?;
        #[allow(clippy::disallowed_methods, reason = "the place has this length")]
        place.copy_from_slice(bytes);
        rest = more;
    }
    Ok(needed)
}

/// Reads the value in a text.
#[cfg_attr(
    not(feature = "alloc"),
    allow(clippy::result_large_err, reason = "without a heap, the reason has no other place")
)]
fn value<T: for<'x> ToolInput<'x>>(text: &[u8], scratch: &mut [u8]) -> Result<T, Reason> {
    let schema = <T as ToolInput<'static>>::SCHEMA;
    if text.is_empty() {
        return Err(Reason::new(&"it has no text"));
    }
    json::check(text).map_err(|error| {
        Reason::new(&format_args!("expected {} at byte {}", error.expected, error.at))
    })?;
    let mut value = Value::first(text).unwrap_or_default();
    let root = value;
    if !schema.is_output_root() {
        let inner = root
            .member("value")
            .ok_or_else(|| Reason::new(&"value: expected the value, got nothing"))?;
        value = inner;
    }
    let decoded = schema
        .check_in(root.raw(), value)
        .and_then(|()| T::decode(value, &mut Decoder::new(root, scratch)));
    decoded.map_err(|error| Reason::new(&error.explain(root)))
}

impl<'r, T: Transport, B: Toolbox + ?Sized, C: Clock, H: Hooks> Driver<'r, T, B, C, H> {
    /// Drives `run` until it is over, and reads its last reply as a value. The configuration must
    /// have [`output_params!`](crate::output_params) of the same type. A reply that does not fit is
    /// asked for once more, with the reason.
    ///
    /// `memory` holds the unescaped text of the reply, and behind it strings that are escaped
    /// within it. The type owns its strings, for example as `heapless::String<N>`.
    ///
    /// # Errors
    /// See [`until_done`](Self::until_done). Returns `Capacity` of [`CapacityKind::Reply`] if the
    /// text does not fit into `memory`; the reply remains in the conversation. The run can
    /// continue.
    pub async fn output<V: for<'x> ToolInput<'x>, O: Observer>(
        &mut self,
        run: &mut Run<'_>,
        observer: &mut O,
        memory: &mut [u8],
    ) -> Result<Structured<V>, DriveError<T::Error>> {
        let outcome = self.until_done(run, observer).await?;
        let first = read(outcome, run.last_message(), memory).map_err(Error::from)?;
        let Structured::Mismatch(reason) = first else { return Ok(first) };
        ask_again(run, &reason)?;
        let outcome = self.until_done(run, observer).await?;
        Ok(read(outcome, run.last_message(), memory).map_err(Error::from)?)
    }
}
