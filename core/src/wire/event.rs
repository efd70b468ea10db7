//! Parsing the JSON of one event into ranges. Source: the streaming reference of the Messages API.
//! Unknown types are values, not errors.

use super::kinds::{Field, all_differ, deltas};
use crate::error::{Protocol, phrase};
use crate::json::{JsonError, Kind, Step, Value, Walk, means, meant};
use crate::transcript::Span;

/// An event and the parts that only it has. [`Parts`] holds the parts that several events share.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wire {
    pub(crate) kind: EventKind,
    /// Whether the event contains an unpaired surrogate.
    pub(crate) lone_surrogate: bool,
    /// The index of the block that the event concerns.
    pub(crate) index: Option<u16>,
    /// The field that a delta extends.
    pub(crate) field: Field,
    /// The range of the value of a delta, of the block that starts, or of the message that starts.
    pub(crate) value: Span,
}

impl Wire {
    /// Creates an event without content.
    pub(crate) const fn plain(kind: EventKind, index: Option<u16>) -> Self {
        let value = Span::new(0, 0);
        Self { kind, lone_surrogate: false, index, field: Field::Text, value }
    }
}

/// The events of the API, named by their frame or by the `type` in their JSON. The kind is as wide
/// as the fields next to it in [`Wire`], which takes less code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum EventKind {
    BlockDelta,
    BlockStart,
    BlockStop,
    Error,
    MessageDelta,
    MessageStart,
    MessageStop,
    Ping,
    /// An event or a delta whose type is not known here.
    Unknown,
}

impl EventKind {
    /// Returns the event with this name, or `Unknown`.
    pub(crate) fn from_name(name: &[u8]) -> Self {
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
        let known = EVENTS.iter().find(|(known, _)| *known == name);
        known.map_or(Self::Unknown, |(_, event)| *event)
    }
}

pub(crate) const fn json_error(error: JsonError) -> Protocol {
    Protocol::Json { at: error.at, expected: error.expected }
}

/// Checks and parses the JSON of an event in one pass, and reads its parts into `parts`. Its `type`
/// determines the event. If that is not a type of the API, an object with an `error` is an error,
/// and otherwise the event is `named`, the frame's name.
pub(crate) fn parse(
    data: &[u8],
    named: Option<EventKind>,
    parts: &mut Parts,
) -> Result<Wire, Protocol> {
    let lone_surrogate = parts.read(data, EVENT).map_err(json_error)?;
    let value = |i: usize| parts.get(i).value(data);
    let name = value(KIND).and_then(Value::as_text).unwrap_or_default().raw_bytes();
    let mut kind = EventKind::from_name(name);
    if kind == EventKind::Unknown {
        // `{"type":"overloaded_error",…}` is an error without the object in which the API wraps it.
        let has_error = says_error(value(ERROR)) || name.ends_with(b"_error");
        kind = if has_error { EventKind::Error } else { named.unwrap_or(EventKind::Unknown) };
    }
    let index = value(INDEX).and_then(Value::as_u64).and_then(|index| u16::try_from(index).ok());
    let mut wire = Wire::plain(kind, index);
    wire.lone_surrogate = lone_surrogate;
    let (part, expected) = match wire.kind {
        EventKind::BlockDelta => (DELTA, phrase!("a delta")),
        EventKind::BlockStart => (BLOCK, phrase!("a content block with exactly one type")),
        EventKind::MessageStart => (MESSAGE, phrase!("a message")),
        _ => return Ok(wire),
    };
    wire.value = parts.get(part);
    if wire.value.len() == 0 || (part == BLOCK && parts.has_other) {
        return Err(Protocol::Event { expected });
    }
    if part == DELTA {
        match Field::of_delta(parts.get(DELTA_KIND).of(data)) {
            Some((field, i)) if parts.get(VALUES + i).len() > 0 => {
                (wire.field, wire.value) = (field, parts.get(VALUES + i));
            }
            _ => wire.kind = EventKind::Unknown,
        }
    }
    Ok(wire)
}

macro_rules! define_names {
    ($($field:ident $kind:ident $delta:literal $value:literal $member:literal $growth:ident
        $event:ident $name:ident $read:ident;)+) => {
        /// The names of the members that are read: those of an event, of its delta, of a message,
        /// and of a usage.
        #[rustfmt::skip]
        const NAMES: [&str; 20 + [$($value),+].len()] = [
            "type", "index", "delta", "content_block", "message", "usage", "error",
            "stop_reason", "container", "usage", "content", "error",
            "input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens",
            "type", "stop_reason", "container", "encrypted_content", $($value),+
        ];
    };
}
deltas!(define_names);

/// The members of one level, as a range of [`NAMES`].
type Level = core::ops::Range<usize>;

const EVENT: Level = 0..7;
pub(crate) const WHOLE: Level = 7..12;
/// The counts of a usage, in the order of [`Usage`](crate::message::Usage).
pub(crate) const COUNTS: Level = 12..16;
const IN_DELTA: Level = 16..NAMES.len();
const _: () = {
    let in_delta = NAMES.split_at_checked(IN_DELTA.start).unwrap().1;
    assert!(all_differ(in_delta), "two rows of the table of deltas have the same member");
};

const KIND: usize = 0;
const INDEX: usize = 1;
const DELTA: usize = 2;
const BLOCK: usize = 3;
const MESSAGE: usize = 4;
const USAGE: usize = 5;
const ERROR: usize = 6;
/// The stop reason of a message, which its container follows.
pub(crate) const MESSAGE_ENDING: usize = 7;
const MESSAGE_USAGE: usize = 9;
pub(crate) const CONTENT: usize = 10;
pub(crate) const WHOLE_ERROR: usize = 11;
const DELTA_KIND: usize = 16;
/// Like [`MESSAGE_ENDING`], in a `message_delta`.
pub(crate) const DELTA_ENDING: usize = 17;
/// The `encrypted_content` of a compaction delta.
pub(crate) const ENCRYPTED: usize = 19;
const VALUES: usize = 20;

/// The parts of an event or of a whole reply.
pub(crate) struct Parts {
    /// The ranges of the members with [`NAMES`], in the same order. A missing one is empty.
    spans: [Span; NAMES.len()],
    /// Whether the block that starts, or an element of the content, is not a content block: an
    /// object with one type.
    pub(crate) has_other: bool,
}

impl Parts {
    pub(crate) const NONE: Self = Self { spans: [Span::new(0, 0); NAMES.len()], has_other: false };

    pub(crate) fn get(&self, i: usize) -> Span {
        self.spans.get(i).copied().unwrap_or_default()
    }

    /// Checks that `bytes` is one JSON value, and reads the members of this level if it is an
    /// object. If several members have the same name, the last one is used, as in the views.
    /// Returns whether the value contains an unpaired surrogate.
    pub(crate) fn read(&mut self, bytes: &[u8], level: Level) -> Result<bool, JsonError> {
        let mut walk = Walk::new(bytes);
        let walked = self.walk(&mut walk, level);
        Ok(walk.end(walked)?.lone_surrogate.is_some())
    }

    fn walk(&mut self, walk: &mut Walk<'_>, mut level: Level) -> Step {
        if !walk.enter() {
            return walk.value();
        }
        // The members that enclose the level, the innermost first, and where they begin.
        let mut outer: [Option<(usize, usize)>; 2] = [None; 2];
        loop {
            let Some(key) = walk.key()? else {
                let [Some((i, start)), rest] = outer else { return Ok(()) };
                (level, outer) = (if WHOLE.contains(&i) { WHOLE } else { EVENT }, [rest, None]);
                self.note(i, start, walk);
                continue;
            };
            let start = walk.at();
            let names = NAMES.get(level.clone()).unwrap_or_default();
            let Some(i) = meant(key, names).map(|i| level.start + i) else {
                walk.value()?;
                continue;
            };
            let inner = match i {
                DELTA => IN_DELTA,
                MESSAGE => WHOLE,
                USAGE | MESSAGE_USAGE => COUNTS,
                _ => 0..0,
            };
            if !inner.is_empty() && walk.enter() {
                let [innermost, _] = outer;
                (level, outer) = (inner, [Some((i, start)), innermost]);
                continue;
            }
            match i {
                BLOCK => self.has_other = !is_block(walk)?,
                CONTENT => self.has_other = has_other(walk)?,
                _ => walk.value()?,
            }
            self.note(i, start, walk);
        }
    }

    fn note(&mut self, i: usize, start: usize, walk: &Walk<'_>) {
        if let Some(place) = self.spans.get_mut(i) {
            *place = Span::new(start, walk.at());
        }
    }
}

/// Returns whether a member `error` reports an error. Gateways write `null`, `""`, `{}` or `false`
/// in a reply without an error.
pub(crate) fn says_error(error: Option<Value<'_>>) -> bool {
    error.is_some_and(|error| {
        matches!(error.kind(), Kind::Object | Kind::Array | Kind::String) && error.raw().len() > 2
    })
}

/// Checks the value at the current offset, and returns whether it has an element that is not a
/// content block.
fn has_other(walk: &mut Walk<'_>) -> Step<bool> {
    let mut has_other = false;
    if walk.enter_array() {
        while walk.element()? {
            has_other |= !is_block(walk)?;
        }
    } else {
        walk.value()?;
    }
    Ok(has_other)
}

/// Checks the value at the current offset, and returns whether it is a content block: an object
/// with a type. If a block had two different types, readers would disagree on its kind.
fn is_block(walk: &mut Walk<'_>) -> Step<bool> {
    let (mut kind, mut is_one): (&[u8], _) = (&[], true);
    if !walk.enter() {
        return walk.value().map(|()| false);
    }
    while let Some(key) = walk.key()? {
        let start = walk.at();
        walk.value()?;
        if means(key, "type") {
            let value = walk.since(start);
            is_one &= kind.is_empty() || kind == value;
            kind = value;
        }
    }
    Ok(is_one && kind.starts_with(b"\""))
}
