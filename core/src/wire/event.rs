//! Parsing the JSON of one event into ranges. Source: the streaming reference of the Messages API.
//! Unknown types are values, not errors.

use super::kinds::Field;
use crate::error::Protocol;
use crate::json::{IS_CHIP, JsonError, Kind, Value, Walk, means};
use crate::message::Counts;
use crate::transcript::Span;

/// An event: its kind, and the ranges of its parts in the event's JSON.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) kind: WireKind,
    /// Whether the event contains an unpaired surrogate.
    pub(crate) lone_surrogate: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum WireKind {
    BlockDelta {
        index: Option<u16>,
        field: Field,
        value: Span,
        /// The `encrypted_content` of a compaction delta.
        more: Option<Span>,
    },
    BlockStart {
        index: Option<u16>,
        block: Span,
    },
    BlockStop {
        index: Option<u16>,
    },
    Error,
    MessageDelta {
        stop: Option<Span>,
        container: Option<Span>,
        usage: Counts,
    },
    MessageStart {
        message: Span,
        container: Option<Span>,
        usage: Counts,
    },
    MessageStop,
    Ping,
    /// An event or a delta whose type is not known here.
    Unknown,
}

/// The events of the API, named by their frame or by the `type` in their JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventKind {
    BlockDelta,
    BlockStart,
    BlockStop,
    Error,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
}

impl EventKind {
    /// Returns the event with this name, or `None` if it is unknown.
    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        // A table, because it needs a third of the code of a `match` over so many strings.
        const EVENTS: [(&[u8], EventKind); 8] = [
            (b"content_block_delta", EventKind::BlockDelta),
            (b"content_block_start", EventKind::BlockStart),
            (b"content_block_stop", EventKind::BlockStop),
            (b"error", EventKind::Error),
            (b"message_delta", EventKind::MessageDelta),
            (b"message_start", EventKind::MessageStart),
            (b"message_stop", EventKind::MessageStop),
            (b"ping", EventKind::Ping),
        ];
        EVENTS.iter().find(|(known, _)| *known == name).map(|(_, event)| *event)
    }
}

pub(crate) const fn json_error(error: JsonError) -> Protocol {
    Protocol::Json { at: error.at, expected: error.expected }
}

/// Parses and checks the JSON of an event in one pass. Its `type` determines the event. If that is
/// not a type of the API, an object with an `error` is an error, and otherwise the event is
/// `named`, the frame's name.
pub(crate) fn parse(data: &[u8], named: Option<EventKind>) -> Result<Wire, Protocol> {
    let (mut kind, mut index, mut delta, mut block, mut message) =
        (&[][..], None, None, None, None);
    let mut has_error = false;
    let mut usage = Counts::default();
    let mut walk = Walk::new(data).map_err(json_error)?;
    if walk.enter() {
        while let Some(key) = walk.key().map_err(json_error)? {
            let start = walk.at();
            if means(key, "delta") {
                delta = Some(Delta::walk(&mut walk).map_err(json_error)?);
            } else if means(key, "message") {
                let mut told = Counts::default();
                let container = message_here(&mut walk, &mut told).map_err(json_error)?;
                message = Some((Span::new(start, walk.at()), container, told));
            } else if means(key, "usage") {
                usage_here(&mut walk, &mut usage).map_err(json_error)?;
            } else {
                let value = walk.value().map_err(json_error)?;
                if means(key, "type") {
                    kind = value;
                } else if means(key, "index") {
                    index = Value::whole(value)
                        .and_then(Value::as_u64)
                        .and_then(|index| u16::try_from(index).ok());
                } else if means(key, "content_block") {
                    block = Some(Span::new(start, walk.at()));
                } else if means(key, "error") {
                    has_error = says_error(Value::whole(value));
                }
            }
        }
    } else {
        walk.value().map_err(json_error)?;
    }
    let checked = walk.end().map_err(json_error)?;
    let typed =
        kind.strip_prefix(b"\"").and_then(|kind| EventKind::from_name(kind.strip_suffix(b"\"")?));
    // `{"type":"overloaded_error",…}` is an error without the object in which the API wraps it.
    has_error |= kind.ends_with(b"_error\"");
    let event = typed.or(if has_error { Some(EventKind::Error) } else { named });
    let kind = match event {
        Some(EventKind::BlockDelta) => {
            let delta = delta.ok_or(Protocol::Event { expected: "a delta" })?;
            delta.wire_kind(index, data)
        }
        Some(EventKind::BlockStart) => {
            let block = block.filter(|block| Value::whole(block.of(data)).is_some_and(is_block));
            WireKind::BlockStart {
                index,
                block: block
                    .ok_or(Protocol::Event { expected: "a content block with exactly one type" })?,
            }
        }
        Some(EventKind::BlockStop) => WireKind::BlockStop { index },
        Some(EventKind::Error) => WireKind::Error,
        Some(EventKind::MessageDelta) => {
            let [stop, container] = delta.map(|delta| delta.ending).unwrap_or_default();
            WireKind::MessageDelta { stop, container, usage }
        }
        Some(EventKind::MessageStart) => {
            let (message, container, usage) =
                message.ok_or(Protocol::Event { expected: "a message" })?;
            WireKind::MessageStart { message, container, usage }
        }
        Some(EventKind::MessageStop) => WireKind::MessageStop,
        Some(EventKind::Ping) => WireKind::Ping,
        None => WireKind::Unknown,
    };
    Ok(Wire { kind, lone_surrogate: checked.lone_surrogate.is_some() })
}

/// Returns whether a member `error` reports an error. Gateways write `null`, `""`, `{}` or `false`
/// if there is none.
pub(crate) fn says_error(error: Option<Value<'_>>) -> bool {
    error.is_some_and(|error| {
        matches!(error.kind(), Kind::Object | Kind::Array | Kind::String) && error.raw().len() > 2
    })
}

/// Reads a message, or any other value in its position. Returns the range of its container, and
/// adds its counts of tokens to `usage`.
fn message_here(walk: &mut Walk<'_>, usage: &mut Counts) -> Result<Option<Span>, JsonError> {
    let mut container = None;
    if !walk.enter() {
        return walk.value().map(|_| None);
    }
    while let Some(key) = walk.key()? {
        if means(key, "usage") {
            usage_here(walk, usage)?;
            continue;
        }
        let start = walk.at();
        walk.value()?;
        if means(key, "container") {
            container = Some(Span::new(start, walk.at()));
        }
    }
    Ok(container)
}

/// Reads a usage, or any other value in its position.
fn usage_here(walk: &mut Walk<'_>, usage: &mut Counts) -> Result<(), JsonError> {
    if !walk.enter() {
        return walk.value().map(drop);
    }
    while let Some(key) = walk.key()? {
        let value = walk.value()?;
        usage.note(key, Value::whole(value).unwrap_or_default());
    }
    Ok(())
}

/// Returns whether a value is a content block: an object with a type. If a block had two different
/// types, readers would disagree on its kind.
fn is_block(value: Value<'_>) -> bool {
    let mut kinds = value.members().filter(|(name, _)| *name == *"type").map(|(_, kind)| kind);
    kinds.next().is_some_and(|kind| kind.kind() == Kind::String && kinds.all(|other| other == kind))
}

/// A delta in its event.
#[derive(Clone, Copy)]
struct Delta {
    span: Span,
    /// The field that the delta's type names, and the member that contains the value, if the type
    /// comes first. Not looked for on a chip, where a second pass costs less than its code.
    field: Option<(Field, &'static str)>,
    /// The range of that member, if the type comes before all other members.
    value: Option<Span>,
    /// The stop reason and the container of a message delta.
    ending: [Option<Span>; 2],
}

impl Delta {
    /// Reads a delta, or any other value in its position.
    fn walk(walk: &mut Walk<'_>) -> Result<Self, JsonError> {
        let start = walk.at();
        let (mut field, mut value) = (None, None);
        let [mut stop, mut container] = [None; 2];
        if walk.enter() {
            let mut is_first = true;
            while let Some(key) = walk.key()? {
                let from = walk.at();
                let raw = walk.value()?;
                let here = Some(Span::new(from, walk.at()));
                if !IS_CHIP && core::mem::take(&mut is_first) && means(key, "type") {
                    field = Field::of_delta(raw);
                } else if field.is_some_and(|(_, member)| means(key, member)) {
                    value = here;
                } else if means(key, "stop_reason") {
                    stop = here;
                } else if means(key, "container") {
                    container = here;
                }
            }
        } else {
            walk.value()?;
        }
        Ok(Self { span: Span::new(start, walk.at()), field, value, ending: [stop, container] })
    }

    /// Returns the delta with its field and value, or `Unknown` if its type is unknown.
    fn wire_kind(self, index: Option<u16>, data: &[u8]) -> WireKind {
        let delta = Value::whole(self.span.of(data)).unwrap_or_default();
        let span = |value: Value<'_>| {
            Some(Span::new(value.offset_in(data)?, 0).with_len(value.raw().len()))
        };
        let field = self.field.or_else(|| Field::of_delta(delta.member("type")?.raw()));
        let Some((field, member)) = field else { return WireKind::Unknown };
        let more = match field {
            Field::Compaction => {
                delta.member("encrypted_content").filter(|value| !value.is_null()).and_then(span)
            }
            _ => None,
        };
        match self.value.or_else(|| delta.member(member).and_then(span)) {
            Some(value) => WireKind::BlockDelta { index, field, value, more },
            None => WireKind::Unknown,
        }
    }
}
