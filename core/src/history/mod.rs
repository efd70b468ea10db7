//! The rules of the Messages API for a conversation, all in one place.
//!
//! The API refuses a request that breaks a rule, no matter how often the request is sent, and also
//! every later request that contains the same message. Such messages must therefore be neither sent
//! nor stored. The rules come from the API's own error messages; [`Rule`](crate::error::Rule) lists
//! them.
//!
//! | Question | Answer | Used by |
//! |---|---|---|
//! | Which blocks of a reply are sent back? | `kept` | the end of a turn, an interrupted reply, the request for a summary |
//! | May the caller add this message? | `check`, `is_blank` | `user`, `append`, `replace_history`, snapshots, `testing::validity` |
//! | How many cache breakpoints are there? | `breakpoints`, `breakpoints_in_front`, `breakpoints_of_member` | code that adds a breakpoint, and every request |
//!
//! Some rules vary between servers or have changed over time. This module decides as follows. A
//! conversation may begin with an assistant message: the API has accepted that since October 2024,
//! and a compaction on the server produces one. Two consecutive messages may have the same role:
//! the API joins them. The id of a call may occur again in a later turn: some gateways number calls
//! from 0 in each turn, and accept their own ids.

mod check;
mod marks;

pub use check::Tail;
pub(crate) use check::{MessageCheck, PriorMessages, check, is_unfit_prefill, wrong_content};
pub(crate) use marks::{
    MAX_BREAKPOINTS, breakpoints, breakpoints_in, breakpoints_in_front, breakpoints_of_member,
    is_marked,
};

use crate::json::{IS_CHIP, Kind, Text, Value, chars, same};
use crate::message::BlockKind;

/// Returns whether a character is white space according to Unicode or to Python, which also
/// includes four separators among the control characters. The list replaces the table of
/// [`char::is_whitespace`], which takes 300 bytes on a chip; a test compares them.
pub(crate) fn is_space(c: char) -> bool {
    matches!(
        c,
        '\t'..='\r'
            | '\u{1c}'..=' '
            | '\u{85}'
            | '\u{a0}'
            | '\u{1680}'
            | '\u{2000}'..='\u{200a}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{202f}'
            | '\u{205f}'
            | '\u{3000}'
    )
}

/// Returns whether a text contains nothing but white space.
pub(crate) fn is_blank(text: Text<'_>) -> bool {
    // The first byte usually decides, and the rest is not read. White space beyond ASCII begins
    // with one of these four bytes.
    let is_other = |byte: &u8| {
        byte.is_ascii_graphic() && *byte != b'\\'
            || *byte >= 0x80 && !matches!(byte, 0xc2 | 0xe1..=0xe3)
    };
    !text.raw_bytes().first().is_some_and(is_other) && chars(text).all(is_space)
}

/// Returns whether the `type` of `block` is `name`.
pub(crate) fn is_type(block: Value<'_>, name: &str) -> bool {
    block.member("type").is_some_and(|kind| kind.is_text(name))
}

/// The kinds of blocks that the rules distinguish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// Not an object with a `type`.
    NoBlock,
    /// A text block without text. The API refuses it at any position.
    EmptyText,
    /// A text block of white space. It may appear next to other blocks, but not alone.
    BlankText,
    Text,
    Thinking,
    /// A call that the caller runs.
    Call,
    /// A call that the server runs.
    ServerCall,
    /// The result of a call that the caller ran.
    Result,
    /// The addition or removal of a tool.
    ToolChange,
    Other,
}

impl Sort {
    fn of(block: Value<'_>) -> Self {
        let [kind, text] = block.pick(["type", "text"]);
        let Some(kind) = kind.filter(|kind| kind.kind() == Kind::String) else {
            return Self::NoBlock;
        };
        match BlockKind::of(Some(kind)) {
            BlockKind::Text => {
                let text = text.and_then(Value::as_text).unwrap_or_default();
                if text.is_empty() {
                    Self::EmptyText
                } else if is_blank(text) {
                    Self::BlankText
                } else {
                    Self::Text
                }
            }
            BlockKind::Thinking | BlockKind::RedactedThinking => Self::Thinking,
            BlockKind::Call => Self::Call,
            BlockKind::ServerCall => Self::ServerCall,
            BlockKind::Result => Self::Result,
            BlockKind::ToolChange => Self::ToolChange,
            BlockKind::Compaction | BlockKind::Other => Self::Other,
        }
    }

    /// Returns whether one such block is enough for a message that the API accepts.
    const fn says_something(self) -> bool {
        !matches!(self, Self::EmptyText | Self::BlankText | Self::Thinking)
    }
}

/// Returns whether a block is a text block that contains more than white space.
pub(crate) fn has_text(block: Value<'_>) -> bool {
    Sort::of(block) == Sort::Text
}

/// Returns whether a block of a reply is always removed, at any position.
pub(crate) fn is_left_out(block: Value<'_>) -> bool {
    Sort::of(block) == Sort::EmptyText
}

/// The maximum number of calls in a turn. More calls could not be answered.
pub(crate) const MAX_CALLS: usize = 128;

/// The way in which a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The turn continues, because it waits for results or was paused. Its server calls may lack
    /// results.
    GoesOn,
    /// The model ended its turn. A server call at the end of the reply would never get a result.
    Ended,
    /// The reply was interrupted, and these are its complete blocks. At least the first `least`
    /// blocks are kept, not counting those that are [always removed](is_left_out).
    Broken { least: usize },
}

/// Determines how many blocks of a reply are sent back. The blocks after them are cut off, and
/// among them the blocks that are [always removed](is_left_out) are removed. The number is 0 if the
/// rest is not a message that the API accepts: there must be more than thinking and white space.
pub(crate) fn kept<'a>(
    blocks: impl Iterator<Item = Value<'a>> + Clone,
    ending: Ending,
) -> KeptBlocks {
    let least = if let Ending::Broken { least } = ending { Some(least) } else { None };
    let (mut end, mut says_something) = (0, false);
    // Computed in the same pass, because a reply may be long.
    let mut is_all = true;
    let (mut seen, mut calls) = (0, 0);
    let mut ids = Ids::NONE;
    let mut rest = blocks.clone().enumerate();
    while let Some((i, block)) = rest.next() {
        let sort = Sort::of(block);
        seen += usize::from(sort != Sort::EmptyText);
        calls += usize::from(sort == Sort::Call);
        // After the blocks that must be kept, the first block that is not allowed ends an
        // interrupted reply.
        let may_end = least.is_some_and(|least| seen > least);
        match sort {
            Sort::EmptyText => {
                is_all = false;
                continue;
            }
            Sort::Thinking if least.is_none() || may_end => continue,
            Sort::ServerCall if ending == Ending::Ended => continue,
            Sort::ServerCall
                if may_end && !rest.clone().any(|(_, other)| answers(other, block)) =>
            {
                break;
            }
            Sort::Call if may_end && calls > MAX_CALLS => break,
            Sort::Call
                if least.is_some()
                    && !is_answerable(
                        block.pick(["id", "name"]),
                        &mut ids,
                        blocks.clone().take(i),
                    )
                    && may_end =>
            {
                break;
            }
            _ => {}
        }
        says_something |= sort.says_something();
        end = i + 1;
    }
    // After a `break`, `seen` includes a block that is not kept.
    let count = if says_something { end } else { 0 };
    KeptBlocks { count, is_all: is_all && seen == count }
}

/// The part of a reply that is sent back.
pub(crate) struct KeptBlocks {
    /// The number of its blocks, from the first one. It includes the empty text blocks that are
    /// removed.
    pub(crate) count: usize,
    /// Whether this is the whole reply.
    pub(crate) is_all: bool,
}

/// Returns whether `result` is the result of the server's call `call`.
fn answers(result: Value<'_>, call: Value<'_>) -> bool {
    let [answered, id] =
        [result.member("tool_use_id"), call.member("id")].map(|id| id.and_then(Value::as_text));
    matches!((answered, id), (Some(answered), Some(id)) if same(answered, id))
}

/// Returns whether a call with this id and name can be answered: it must have a name, and an id
/// that no call in `before` has.
pub(crate) fn is_answerable<'a>(
    id_and_name: [Option<Value<'a>>; 2],
    ids: &mut Ids,
    before: impl Iterator<Item = Value<'a>>,
) -> bool {
    let [id, name] = id_and_name.map(|value| value.and_then(Value::as_text).unwrap_or_default());
    !id.is_empty() && !name.is_empty() && (!ids.note(id) || !has_call(before, id))
}

/// Returns whether there is a call with this id. The ids may be escaped differently.
pub(crate) fn has_call<'a>(mut blocks: impl Iterator<Item = Value<'a>>, id: Text<'_>) -> bool {
    blocks.any(|block| {
        let [kind, other] = block.pick(["type", "id"]);
        kind.is_some_and(|kind| kind.is_text("tool_use"))
            && other.and_then(Value::as_text).is_some_and(|other| same(other, id))
    })
}

/// A filter of the ids seen so far. An id that the filter does not contain is new, and no search is
/// needed.
pub(crate) struct Ids([u32; 32]);

impl Ids {
    pub(crate) const NONE: Self = Self([0; 32]);

    /// Adds an id. Returns whether it may have been added before.
    fn note(&mut self, id: Text<'_>) -> bool {
        if IS_CHIP {
            return true;
        }
        let add = |hash: u32, code: u32| (hash ^ code).wrapping_mul(0x0100_0193);
        let mut seen = 0;
        let mut hash = id.raw_bytes().iter().fold(0x811c_9dc5_u32, |hash, byte| {
            seen |= if *byte == b'\\' { 0x80 } else { *byte };
            add(hash, u32::from(*byte))
        });
        // The bytes are the characters, unless some are escaped or not ASCII.
        if seen & 0x80 != 0 {
            hash = chars(id).fold(0x811c_9dc5_u32, |hash, c| add(hash, u32::from(c)));
        }
        let place = hash ^ hash >> 15;
        let Some(word) =
            usize::try_from(place >> 5 & 31).ok().and_then(|word| self.0.get_mut(word))
        else {
            return true;
        };
        let bit = 1 << (place & 31);
        let known = *word & bit != 0;
        *word |= bit;
        known
    }
}

#[cfg(test)]
mod tests;
