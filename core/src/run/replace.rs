//! Replacement of a result that was already sent, because the API refuses it, for example because
//! of an image that is too large.
//!
//! The API checks every message of every request, so a result that it refuses stays refused. Its
//! limits depend on the whole conversation (an image may be larger if there are few), so a result
//! that was accepted once can be refused later.

use super::results::{CONTENT, Content, FAILED, HEAD, Parts, TOOLSET, marks_of};
use super::{CallIndex, Run, ToolAnswer};
use crate::error::{Error, Misuse};
use crate::json::{Text, Value};
use crate::message::Messages;
use crate::transcript::Span;

/// The parts of a result that do not change.
struct ResultSpans {
    block: Span,
    id: Span,
    /// Empty if the result names none.
    toolset: Span,
}

impl Run<'_> {
    /// Replaces the content of the result of the call with this id, anywhere in the conversation.
    /// If several calls have this id, the last one counts. The tool does not run again. Other
    /// members of the result, such as `cache_control`, are removed.
    ///
    /// After an API error has ended a request, the next [`step`](Self::step) sends the conversation
    /// with the new content.
    ///
    /// # Errors
    /// `Misuse` if there is no such result, if the API would not accept the content (see
    /// [`ToolAnswer`]), if the request would have more than four cache breakpoints, or while a
    /// request is in progress; `Capacity` if it does not fit. In all cases the old content stays.
    pub fn replace_result_of(&mut self, id: &str, answer: ToolAnswer<'_>) -> Result<(), Error> {
        self.ensure_unsent()?;
        let is_it = |i: &CallIndex| {
            self.is_answered(*i) && self.call(*i).is_some_and(|call| call.id == *id)
        };
        if let Some(i) = self.calls().find(is_it) {
            return self.replace_result(i, answer);
        }
        answer.check()?;
        let sent = self
            .find_sent(id)
            .ok_or(Misuse::Setting("the conversation has no result for a call with this id"))?;
        self.cancel_compaction();
        let fewer = Value::whole(sent.block.of(self.transcript.bytes())).map_or(0, marks_of);
        self.ensure_breakpoints_of(answer.blocks(), fewer)?;
        let is_error = answer.is_error();
        let end = if is_error { FAILED.len() } else { 1 };
        let toolset = sent.toolset.len();
        let address = sent.id.len() + if toolset > 0 { TOOLSET.len() + toolset } else { 0 };
        let new = HEAD.len() + address + CONTENT.len() + answer.len() + end;
        self.reserve_beyond_answers(new)?;
        let ResultSpans { block: old, id, toolset } = sent;
        let mut tail = self.transcript.tail();
        Parts { id, toolset, content: Content::Answer(answer), is_error }.write_to(&mut tail)?;
        tail.replace(old);
        self.moved(old, new);
        Ok(())
    }

    /// Returns the last result of a call with this id.
    fn find_sent(&self, id: &str) -> Option<ResultSpans> {
        let bytes = self.transcript.bytes();
        let blocks = Messages::new(bytes).flat_map(|message| message.content().elements());
        let is_its = |block: &Value<'_>| {
            let [kind, own] = block.pick(["type", "tool_use_id"]);
            kind.is_some_and(|kind| kind.is_text("tool_result"))
                && own.is_some_and(|own| own.is_text(id))
        };
        let result = blocks.filter(is_its).last()?;
        let place = |text: Text<'_>| {
            let start = text.raw_bytes().as_ptr().addr().checked_sub(bytes.as_ptr().addr())?;
            Some(Span::new(start, start + text.raw_bytes().len()))
        };
        let [own, toolset] = result
            .pick(["tool_use_id", "toolset_name"])
            .map(|value| value.and_then(Value::as_text));
        let start = result.offset_in(bytes)?;
        Some(ResultSpans {
            block: Span::new(start, start + result.raw().len()),
            id: place(own?)?,
            toolset: toolset.and_then(place).unwrap_or_default(),
        })
    }
}
