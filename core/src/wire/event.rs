//! One event's JSON taken apart into ranges. Source: the Messages API's streaming reference; unknown types are values, not errors.

use crate::error::Protocol;
use crate::json::{JsonError, Kind, Object, Value, check};
use crate::transcript::Span;

/// Which value of a block a delta adds to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    Citations,
    Compaction,
    EncryptedContent,
    Input,
    Signature,
    Text,
    Thinking,
}

impl Field {
    /// The member's name in the block.
    pub(crate) const fn member(self) -> &'static str {
        match self {
            Self::Citations => "citations",
            Self::Compaction => "content",
            Self::EncryptedContent => "encrypted_content",
            Self::Input => "input",
            Self::Signature => "signature",
            Self::Text => "text",
            Self::Thinking => "thinking",
        }
    }
}

/// An event: what it is and where its parts lie in the event's JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) kind: WireKind,
    /// A code unit that is no text was in it.
    pub(crate) lone_surrogate: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum WireKind {
    BlockDelta {
        index: usize,
        field: Field,
        value: Span,
        /// `encrypted_content` of a compaction delta.
        more: Option<Span>,
    },
    BlockStart {
        index: usize,
        block: Span,
    },
    BlockStop {
        index: usize,
    },
    Error,
    MessageDelta,
    MessageStart {
        message: Span,
    },
    MessageStop,
    Ping,
    /// An event, or a delta, of a type that is not known here.
    Unknown,
}

pub(crate) const fn json_error(error: JsonError) -> Protocol {
    Protocol::Json { at: error.at, expected: error.expected }
}

/// Takes an event's JSON apart.
pub(crate) fn parse(data: &[u8]) -> Result<Wire, Protocol> {
    let checked = check(data).map_err(json_error)?;
    let span = |value: Value<'_>| {
        let start = value.offset_in(data).unwrap_or(0);
        Span::new(start, start + value.raw().len())
    };
    let (mut kind, mut index, mut delta, mut block, mut message) = (&[][..], None, None, None, None);
    let mut members = Object::of(data);
    while let Some((key, value)) = members.next_raw() {
        match key {
            b"type" => kind = value.raw(),
            b"index" => index = value.as_u64().and_then(|index| usize::try_from(index).ok()),
            b"delta" => delta = Some(value),
            b"content_block" => block = Some(value),
            b"message" => message = Some(value),
            _ => {}
        }
    }
    let index = index.ok_or(Protocol::Event { expected: "the index of a block" });
    let kind = match kind {
        b"\"content_block_delta\"" => {
            let delta = delta.ok_or(Protocol::Event { expected: "a delta" })?;
            self::delta(index?, delta, span)
        }
        b"\"content_block_start\"" => {
            let block = block.filter(|block| is_block(*block)).ok_or(Protocol::Event { expected: "a content block that has a type" })?;
            WireKind::BlockStart { index: index?, block: span(block) }
        }
        b"\"content_block_stop\"" => WireKind::BlockStop { index: index? },
        b"\"error\"" => WireKind::Error,
        b"\"message_delta\"" => WireKind::MessageDelta,
        b"\"message_start\"" => WireKind::MessageStart { message: span(message.ok_or(Protocol::Event { expected: "a message" })?) },
        b"\"message_stop\"" => WireKind::MessageStop,
        b"\"ping\"" => WireKind::Ping,
        _ => WireKind::Unknown,
    };
    Ok(Wire { kind, lone_surrogate: checked.lone_surrogate.is_some() })
}

/// Whether this is a content block: an object with a type.
pub(crate) fn is_block(value: Value<'_>) -> bool {
    value.member("type").is_some_and(|kind| kind.kind() == Kind::String)
}

/// A delta's field and value; `Unknown` if its type is.
fn delta(index: usize, delta: Value<'_>, span: impl Fn(Value<'_>) -> Span) -> WireKind {
    // The type stands first, so it is found at once.
    let kind = delta.member("type").map_or(&[][..], Value::raw);
    let (field, member) = match kind {
        b"\"citations_delta\"" => (Field::Citations, "citation"),
        b"\"compaction_delta\"" => (Field::Compaction, "content"),
        b"\"input_json_delta\"" => (Field::Input, "partial_json"),
        b"\"signature_delta\"" => (Field::Signature, "signature"),
        b"\"text_delta\"" => (Field::Text, "text"),
        b"\"thinking_delta\"" => (Field::Thinking, "thinking"),
        _ => return WireKind::Unknown,
    };
    let more = match field {
        Field::Compaction => delta.member("encrypted_content").filter(|value| !value.is_null()).map(&span),
        _ => None,
    };
    match delta.member(member) {
        Some(value) => WireKind::BlockDelta { index, field, value: span(value), more },
        None => WireKind::Unknown,
    }
}
