//! The kinds of blocks that the run distinguishes. The table of the types is in [`super::block`].

use super::block::KINDS;
use crate::json::Value;

/// The kinds of blocks that the run treats differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    /// A call that the caller runs.
    Call,
    Compaction,
    Other,
    RedactedThinking,
    /// The result of a call that the caller ran.
    Result,
    /// A call that the server runs. It grows like a call of the caller.
    ServerCall,
    Text,
    Thinking,
    /// The addition or removal of a tool.
    ToolChange,
}

impl BlockKind {
    /// Returns the kind of a block for the value of its `type`.
    pub(crate) fn of(kind: Option<Value<'_>>) -> Self {
        // Compares the unescaped text and not the bytes, because the run finds its calls in the
        // same way. A call that is not counted would never get a result.
        let known = kind.and_then(|kind| KINDS.iter().find(|(name, _)| kind.is_text(name)));
        known.map_or(Self::Other, |(_, kind)| *kind)
    }

    pub(crate) const fn is_call(self) -> bool {
        matches!(self, Self::Call | Self::ServerCall)
    }

    /// Returns whether only the user or the system may send such a block. If a reply contained one,
    /// the API would refuse the conversation from then on.
    pub(crate) const fn is_misplaced(self) -> bool {
        matches!(self, Self::Result | Self::ToolChange)
    }
}
