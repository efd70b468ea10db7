//! Tools that the conversation takes away and gives back.
//!
//! A `tool_removal` or `tool_addition` block stands in a system message, or in the `tool_changes`
//! of a compaction block, which stands for the system messages that it summed up. They hold in
//! their order. A call of a tool that was removed does not run, as in the official runners: the
//! model may still ask for it.
//!
//! References to tools of MCP servers and of toolsets name nothing that runs here. The wire format
//! is that of the Messages API's `tool_addition` and `tool_removal` blocks; with beta
//! `inline-tools-2026-09-15` an addition may carry the whole definition.

use super::Run;
use super::calls::{blocks_in, is_type};
use crate::json::{Text, Value, same};
use crate::message::{Messages, Role};
use crate::transcript::Span;

/// Which part of the conversation has such blocks, as far as it was looked at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Changes {
    /// Everything before this was looked at.
    seen: usize,
    /// From the first message with a change to the last.
    span: Span,
}

impl Run<'_> {
    /// Whether the tool that call `i` asks for was removed and not added again. A member of a
    /// toolset never is.
    pub fn is_withdrawn(&mut self, i: usize) -> bool {
        self.look_for_changes(self.turn.end);
        let bytes = self.transcript.bytes();
        let Some(call) = self.call(i).filter(|call| call.toolset.is_none()) else { return false };
        let tail = bytes.get(self.turn.results_end..).unwrap_or_default();
        self.fold(
            call.name,
            [self.changes.span.of(bytes), tail].into_iter().flat_map(Messages::new),
        )
    }

    /// The same for a tool that the reply under way asks for; a compaction block at its beginning
    /// counts.
    pub fn is_withdrawn_early(&mut self, name: Text<'_>) -> bool {
        let mark = self.reply.mark;
        self.look_for_changes(mark);
        let bytes = self.transcript.bytes();
        let before = self.fold(name, Messages::new(self.changes.span.of(bytes)));
        let reply = bytes.get(mark..).unwrap_or_default();
        let reply = reply.strip_prefix(b",").unwrap_or(reply);
        blocks_in(reply).fold(before, |withdrawn, block| {
            changed_by_compaction(block, name).unwrap_or(withdrawn)
        })
    }

    /// Looks at the messages before `end` that were not looked at, so that each is read once
    /// however many calls there are.
    fn look_for_changes(&mut self, end: usize) {
        if self.transcript.take_edited() < self.changes.seen {
            self.changes = Changes::default();
        }
        let Changes { mut seen, mut span } = self.changes;
        let bytes = self.transcript.bytes();
        for message in Messages::new(bytes.get(seen..end).unwrap_or_default()) {
            let Some(start) = message.value().offset_in(bytes) else { break };
            seen = start + message.raw().len();
            if changes_of(message.value(), message.role()).next().is_some() {
                span = Span::new(if span.len() == 0 { start } else { span.start }, seen);
            }
        }
        self.changes = Changes { seen, span };
    }

    fn fold<'m>(
        &self,
        name: Text<'_>,
        messages: impl Iterator<Item = crate::message::Message<'m>>,
    ) -> bool {
        let changes = messages.flat_map(|message| changes_of(message.value(), message.role()));
        changes.fold(false, |withdrawn, change| changed(change, name).unwrap_or(withdrawn))
    }
}

/// The changes that a message makes.
fn changes_of(message: Value<'_>, role: Option<Role>) -> impl Iterator<Item = Value<'_>> {
    let blocks = match role {
        Some(Role::System | Role::Assistant) => {
            message.member("content").unwrap_or_default().elements()
        }
        _ => Value::EMPTY_ARRAY.elements(),
    };
    let is_system = role == Some(Role::System);
    blocks.flat_map(move |block| {
        let own = (is_system && is_change(block)).then_some(block);
        let list = (!is_system && is_type(block, "compaction"))
            .then(|| block.member("tool_changes"))
            .flatten();
        own.into_iter()
            .chain(list.unwrap_or_default().elements().filter(|change| is_change(*change)))
    })
}

fn is_change(block: Value<'_>) -> bool {
    is_type(block, "tool_removal") || is_type(block, "tool_addition")
}

fn changed_by_compaction(block: Value<'_>, name: Text<'_>) -> Option<bool> {
    let list = is_type(block, "compaction").then(|| block.member("tool_changes")).flatten()?;
    list.elements()
        .filter(|change| is_change(*change))
        .filter_map(|change| changed(change, name))
        .last()
}

/// Whether a change takes the tool of this name away; nothing if it is about another.
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
