//! Tools that the conversation removes and adds again.
//!
//! A `tool_removal` or `tool_addition` block is part of a system message, or of the `tool_changes`
//! of a compaction block, which represents the system messages that it summarizes. The blocks take
//! effect in order. A call of a removed tool does not run, as in the official runners: the model
//! may still request it.
//!
//! References to tools of MCP servers and of toolsets do not refer to anything that runs here. The
//! wire format is that of the `tool_addition` and `tool_removal` blocks of the Messages API. With
//! the beta `inline-tools-2026-09-15` an addition may contain the whole definition.

#[cfg(feature = "alloc")]
use super::calls::blocks_in;
use super::calls::is_type;
use super::{CallIndex, Run};
use crate::json::{Text, Value, may_mention, same};
use crate::message::{Message, Messages, Role};
use crate::transcript::Span;

/// The changes of the tools that the run knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes {
    pub(super) sent: SentChanges,
    /// The changes that no request contains yet.
    #[cfg(feature = "alloc")]
    pub(super) unsent: super::tool_changes::UnsentChanges,
}

/// The part of the conversation that contains such blocks, as far as it was searched.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SentChanges {
    /// Everything before this position was searched.
    seen: usize,
    /// The range from the first message with a change to the last.
    span: Span,
}

impl SentChanges {
    /// Returns whether no change was found.
    pub(super) const fn is_empty(&self) -> bool {
        self.span.len() == 0
    }
}

impl Run<'_> {
    /// Returns whether the tool that call `i` requests was removed and not added again. A member of
    /// a toolset is never removed.
    pub fn is_withdrawn(&mut self, i: CallIndex) -> bool {
        self.settings.extras.given.is_some_and(|given| (given.is_withdrawn)(self, i))
    }

    /// Returns whether the conversation removes the tool that call `i` requests.
    pub(super) fn finds_removal(&mut self, i: CallIndex) -> bool {
        self.look_for_changes(self.turn.end);
        // Few conversations have any.
        if self.changes.sent.is_empty()
            && self.transcript.len() == self.turn.results_end
            && self.unsent_changes().is_empty()
        {
            return false;
        }
        let bytes = self.transcript.bytes();
        let Some(call) = self.call(i).filter(|call| call.toolset.is_none()) else { return false };
        let tail = bytes.get(self.turn.results_end..).unwrap_or_default();
        let mut fold = Fold { name: call.name, is_withdrawn: false };
        for messages in [self.changes.sent.span.of(bytes), tail, self.unsent_changes()] {
            fold.messages(messages);
        }
        fold.is_withdrawn
    }

    /// Returns whether the tool of call `i` of the reply under way was removed and not added again.
    /// A compaction block at the beginning of the reply counts. Returns `false` for a call of a
    /// toolset, and if the call may not start early.
    #[cfg(feature = "alloc")]
    pub fn is_withdrawn_early(&mut self, i: CallIndex) -> bool {
        self.look_for_changes(self.reply.mark);
        let Some(call) = self.early_call(i).filter(|call| call.toolset.is_none()) else {
            return false;
        };
        let mut fold = Fold { name: call.name, is_withdrawn: false };
        fold.messages(self.changes.sent.span.of(self.transcript.bytes()));
        for block in blocks_in(self.reply_so_far()) {
            changes_of_compaction(block, &mut |change| fold.change(change));
        }
        fold.messages(self.unsent_changes());
        fold.is_withdrawn
    }

    /// Returns the message with the changes that no request contains yet. They take effect at once.
    #[cfg_attr(not(feature = "alloc"), expect(clippy::unused_self, reason = "only with alloc"))]
    fn unsent_changes(&self) -> &[u8] {
        #[cfg(feature = "alloc")]
        return self.changes.unsent.as_bytes();
        #[cfg(not(feature = "alloc"))]
        &[]
    }

    /// Searches the messages before `end` that were not searched yet, so that each is read once,
    /// however many calls there are.
    pub(super) fn look_for_changes(&mut self, end: usize) {
        if self.transcript.take_edited() < self.changes.sent.seen {
            self.changes.sent = SentChanges::default();
        }
        let SentChanges { mut seen, mut span } = self.changes.sent;
        let bytes = self.transcript.bytes();
        let unseen = bytes.get(seen..end).unwrap_or_default();
        // Few conversations have any, and this is called for each turn with calls.
        if !may_mention(unseen, b"_changes") && !may_mention(unseen, b"\"system\"") {
            self.changes.sent = SentChanges { seen: end.min(bytes.len()).max(seen), span };
            return;
        }
        for message in Messages::new(unseen) {
            let Some(start) = message.value().offset_in(bytes) else { break };
            seen = start + message.raw().len();
            let mut has_changes = false;
            changes_of(message, &mut |_| has_changes = true);
            if has_changes {
                span = Span::new(if span.len() == 0 { start } else { span.start }, seen);
            }
        }
        self.changes.sent = SentChanges { seen, span };
    }
}

/// Whether a tool is withdrawn after the changes so far.
struct Fold<'n> {
    name: Text<'n>,
    is_withdrawn: bool,
}

impl Fold<'_> {
    fn messages(&mut self, messages: &[u8]) {
        for message in Messages::new(messages) {
            changes_of(message, &mut |change| self.change(change));
        }
    }

    fn change(&mut self, change: Value<'_>) {
        self.is_withdrawn = changed(change, self.name).unwrap_or(self.is_withdrawn);
    }
}

/// Calls `see` with each change that a message makes.
fn changes_of(message: Message<'_>, see: &mut dyn FnMut(Value<'_>)) {
    let role = message.role();
    if !matches!(role, Some(Role::System | Role::Assistant)) {
        return;
    }
    for block in message.value().member("content").unwrap_or_default().elements() {
        if role == Some(Role::Assistant) {
            changes_of_compaction(block, see);
        } else if is_change(block) {
            see(block);
        }
    }
}

/// Calls `see` with each change that a block of the assistant makes.
fn changes_of_compaction(block: Value<'_>, see: &mut dyn FnMut(Value<'_>)) {
    if is_type(block, "compaction") {
        let list = block.member("tool_changes").unwrap_or_default();
        list.elements().filter(|change| is_change(*change)).for_each(see);
    }
}

fn is_change(block: Value<'_>) -> bool {
    is_type(block, "tool_removal") || is_type(block, "tool_addition")
}

/// Returns whether a change removes the tool with this name, or `None` if it is about another tool.
fn changed(change: Value<'_>, name: Text<'_>) -> Option<bool> {
    let tool = change.member("tool")?;
    let named = if is_type(tool, "tool_reference") {
        tool.member("name")
    } else if is_type(tool, "tool_definition") {
        tool.member("definition")?.member("name")
    } else {
        None
    };
    same(named?.as_text()?, name).then(|| is_type(change, "tool_removal"))
}
