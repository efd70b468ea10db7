//! What the Messages API takes as a conversation: every rule in one place.
//!
//! A request that breaks a rule is refused, however often it is sent, and so is every later request
//! that carries the same message. So nothing of that kind may be sent or kept. The rules come from
//! the API's own error messages; [`Rule`](crate::error::Rule) lists them.
//!
//! | Question | Answer | Who asks |
//! |---|---|---|
//! | What of a reply goes back? | `kept` | the end of a turn, a reply that broke off, the request for a summary |
//! | May the caller add this? | `check`, `is_blank` | `user`, `append`, `replace_history`, snapshots, `testing::validity` |
//! | How many cache breakpoints are there? | `breakpoints`, `breakpoints_in_front` | whatever adds one, and every request |
//!
//! Decisions where the API differs by place or by time: a conversation may begin with an assistant
//! message (the API has accepted that since October 2024, and a compaction on the server leaves
//! one), two messages of one role may follow each other (the API joins them), and the id of a call
//! may occur again in a later turn (some gateways number calls from 0 in each turn, and accept
//! their own).

mod check;
mod marks;

pub use check::Tail;
pub(crate) use check::{Before, Checked, check};
pub(crate) use marks::{MAX_BREAKPOINTS, breakpoints, breakpoints_in, breakpoints_in_front};

use crate::json::{Kind, Text, Value, chars, same};

/// Whether a character is white space: to Unicode, or to Python, which also counts four separators
/// among the control characters.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// Whether a text has nothing but white space.
pub(crate) fn is_blank(text: Text<'_>) -> bool {
    // As a rule the first byte decides, and the rest is not looked at. White space beyond ASCII
    // begins with one of these four bytes.
    let is_other = |byte: &u8| {
        byte.is_ascii_graphic() && *byte != b'\\'
            || *byte >= 0x80 && !matches!(byte, 0xc2 | 0xe1..=0xe3)
    };
    !text.raw_bytes().first().is_some_and(is_other) && chars(text).all(is_space)
}

/// Whether `block` is of this type.
pub(crate) fn is_type(block: Value<'_>, name: &str) -> bool {
    block.member("type").is_some_and(|kind| kind.is_text(name))
}

/// What a block is, as far as the rules tell blocks apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// It is not an object with a type.
    NoBlock,
    /// A text block without text: the API refuses it wherever it stands.
    EmptyText,
    /// A text block of white space. It may stand beside other blocks, but not alone.
    BlankText,
    Text,
    Thinking,
    /// A call that the caller runs.
    Call,
    /// A call that the server runs.
    ServerCall,
    /// The answer to a call that the caller ran.
    Result,
    /// A tool that is added or removed.
    ToolChange,
    Other,
}

impl Sort {
    fn of(block: Value<'_>) -> Self {
        const SORTS: [(&str, Sort); 8] = [
            ("thinking", Sort::Thinking),
            ("redacted_thinking", Sort::Thinking),
            ("tool_use", Sort::Call),
            ("server_tool_use", Sort::ServerCall),
            ("mcp_tool_use", Sort::ServerCall),
            ("tool_result", Sort::Result),
            ("tool_addition", Sort::ToolChange),
            ("tool_removal", Sort::ToolChange),
        ];
        let [kind, text] = block.pick(["type", "text"]);
        let Some(kind) = kind.filter(|kind| kind.kind() == Kind::String) else {
            return Self::NoBlock;
        };
        if kind.is_text("text") {
            return match text.and_then(Value::as_text) {
                Some(text) if !text.is_empty() => {
                    if is_blank(text) {
                        Self::BlankText
                    } else {
                        Self::Text
                    }
                }
                _ => Self::EmptyText,
            };
        }
        SORTS.iter().find(|(name, _)| kind.is_text(name)).map_or(Self::Other, |(_, sort)| *sort)
    }

    /// Whether it makes a message that the API takes.
    const fn says_something(self) -> bool {
        !matches!(self, Self::EmptyText | Self::BlankText | Self::Thinking)
    }
}

/// Whether a block is a text block that does not consist of white space alone.
pub(crate) fn has_text(block: Value<'_>) -> bool {
    Sort::of(block) == Sort::Text
}

/// Whether a block of a reply is left out wherever it stands.
pub(crate) fn is_left_out(block: Value<'_>) -> bool {
    Sort::of(block) == Sort::EmptyText
}

/// Most calls of a turn: more could not be answered.
pub(crate) const MAX_CALLS: usize = 128;

/// How a reply ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The turn goes on: for results, or because it was paused. Its server calls may be open.
    GoesOn,
    /// The model has ended its turn. A server call at its end would stay without a result.
    Ended,
    /// The reply broke off, and these are its complete blocks. So many of them stay at any rate: of
    /// those that are not [left out](is_left_out).
    Broken { least: usize },
}

/// How many of a reply's blocks go back: those behind are cut, and of those before, [those that say
/// nothing](is_left_out) are left out. 0 if nothing is left that the API would take as a message:
/// there must be more than thinking and white space.
pub(crate) fn kept<'a>(blocks: impl Iterator<Item = Value<'a>> + Clone, ending: Ending) -> Kept {
    let least = if let Ending::Broken { least } = ending { Some(least) } else { None };
    let (mut end, mut says_something) = (0, false);
    // Found in the one pass: a reply may be long.
    let mut is_all = true;
    let (mut seen, mut calls) = (0, 0);
    let mut ids = Ids::NONE;
    let mut rest = blocks.clone().enumerate();
    while let Some((i, block)) = rest.next() {
        let sort = Sort::of(block);
        seen += usize::from(sort != Sort::EmptyText);
        calls += usize::from(sort == Sort::Call);
        // Behind what stays at any rate, the first block that cannot stand ends a reply that broke
        // off.
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
    // After a `break` a block was seen that does not stay.
    let count = if says_something { end } else { 0 };
    Kept { count, is_all: is_all && seen == count }
}

/// What of a reply goes back.
pub(crate) struct Kept {
    /// How many of its blocks, from the first; those that say nothing are left out of them.
    pub(crate) count: usize,
    /// Whether that is the whole reply.
    pub(crate) is_all: bool,
}

/// Whether `result` is that of the server's call.
fn answers(result: Value<'_>, call: Value<'_>) -> bool {
    let [answered, id] =
        [result.member("tool_use_id"), call.member("id")].map(|id| id.and_then(Value::as_text));
    matches!((answered, id), (Some(answered), Some(id)) if same(answered, id))
}

/// Whether a call of this id and name has a name, and an id that no call in `before` has: without
/// them it cannot be answered.
pub(crate) fn is_answerable<'a>(
    id_and_name: [Option<Value<'a>>; 2],
    ids: &mut Ids,
    before: impl Iterator<Item = Value<'a>>,
) -> bool {
    let [id, name] = id_and_name.map(|value| value.and_then(Value::as_text).unwrap_or_default());
    !id.is_empty() && !name.is_empty() && (!ids.note(id) || !has_call(before, id))
}

/// Whether there is a call with this id, in any spelling.
pub(crate) fn has_call<'a>(mut blocks: impl Iterator<Item = Value<'a>>, id: Text<'_>) -> bool {
    blocks.any(|block| {
        let [kind, other] = block.pick(["type", "id"]);
        kind.is_some_and(|kind| kind.is_text("tool_use"))
            && other.and_then(Value::as_text).is_some_and(|other| same(other, id))
    })
}

/// The ids so far, as a filter: an id that it does not know is new, and nothing has to be searched.
pub(crate) struct Ids([u32; 32]);

impl Ids {
    pub(crate) const NONE: Self = Self([0; 32]);

    /// Notes an id. Says whether it may have been noted before.
    fn note(&mut self, id: Text<'_>) -> bool {
        let hash = chars(id)
            .fold(0x811c_9dc5_u32, |hash, c| (hash ^ u32::from(c)).wrapping_mul(0x0100_0193));
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
