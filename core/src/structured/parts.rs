//! Reads a reply and requests a correction, for this project's drivers.

use super::{Reason, StructuredResult};
use crate::error::{Capacity, CapacityKind, Error};
use crate::json::{self, Piece, Value, escape};
use crate::message::{Message, StopReason};
use crate::run::{Outcome, Run};
use crate::tool::{Decoder, ToolInput};

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
/// `memory` holds the unescaped text of the reply, followed by strings that are escaped within it.
/// Twice the size of the text is always sufficient.
///
/// # Errors
/// Returns `Capacity` of [`CapacityKind::Reply`] if the text does not fit into `memory`.
pub fn read<T: for<'x> ToolInput<'x>>(
    outcome: Outcome,
    reply: Option<Message<'_>>,
    memory: &mut [u8],
) -> Result<StructuredResult<T>, Capacity> {
    Ok(match outcome {
        Outcome::Ended(Some(StopReason::Refusal)) => StructuredResult::Refused,
        Outcome::Ended(Some(StopReason::MaxTokens | StopReason::ModelContextWindowExceeded)) => {
            StructuredResult::Truncated
        }
        Outcome::Ended(_) => {
            let (len, free) = (collect(reply, memory)?, memory.len());
            let Some((text, scratch)) = memory.split_at_mut_checked(len) else {
                return Err(Capacity { what: CapacityKind::Reply, needed: len, free });
            };
            match value(text.trim_ascii(), scratch) {
                Ok(value) => StructuredResult::Value(value),
                Err(reason) => StructuredResult::Mismatch(reason),
            }
        }
        other => StructuredResult::Ended(other),
    })
}

/// Reads the last reply of a run, in memory of its own: see [`read`].
#[cfg(feature = "alloc")]
pub fn read_owned<T: for<'x> ToolInput<'x>>(
    outcome: Outcome,
    reply: Option<Message<'_>>,
) -> StructuredResult<T> {
    let text: usize = reply.into_iter().flat_map(Message::texts).map(json::Text::len).sum();
    let mut memory = alloc::vec![0; text.saturating_mul(2)];
    // The memory is always sufficient.
    read(outcome, reply, &mut memory).unwrap_or(StructuredResult::Ended(outcome))
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
    struct Bytes(heapless::Vec<u8, { Reason::MAX_LEN * 6 + 192 }>);
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
        Reason::new(&format_args!("expected {} at byte {}", error.expected.of_json(), error.at))
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
