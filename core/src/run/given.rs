//! A history that the caller provides: its check, and the interpretation of its last turn.

use super::calls::blocks_in;
use super::results::{CLOSING, OPENING};
use super::state::{CallState, Sequel, Turn};
use super::table::Wish;
use super::{CallIndex, MAX_CALLS, Run};
use crate::error::{Capacity, CapacityKind, Error, Invalid, Misuse, Rule};
use crate::history::{MessageCheck, PriorMessages, Tail, check, is_type, is_unfit_prefill};
use crate::json::{Array, Value, same};
use crate::message::{Messages, Role};
use crate::transcript::Span;

/// The last assistant message of a history, and the message with some of its answers.
struct Open {
    /// The position of the assistant message.
    reply: Span,
    /// The position of the message with some of its results, starting at the end of the assistant
    /// message. Empty if there is none.
    answers: Span,
}

/// Returns the last turn, if some of its calls have no result.
fn open_turn(messages: &[u8]) -> Option<Open> {
    let span = |message: Value<'_>| {
        Some(Span::new(message.offset_in(messages)?, 0).with_len(message.raw().len()))
    };
    let (mut reply, mut answers) = (None, None);
    for message in Messages::new(messages) {
        if message.role() == Some(Role::Assistant) {
            (reply, answers) = (Some(message), None);
        } else if answers.is_none() {
            answers = Some(message);
        }
    }
    let reply = span(reply?.value())?;
    let Some(answers) = answers else {
        return Some(Open { reply, answers: Span::new(reply.end, reply.end) });
    };
    // The check finds out whether all calls are answered. It has already refused a turn that no
    // message answers.
    let turn = Span::new(reply.start, span(answers.value())?.end);
    check(turn.of(messages), PriorMessages::Others, Tail::Closed)
        .is_err()
        .then_some(Open { reply, answers: Span::new(reply.end, turn.end) })
}

impl Run<'_> {
    /// Replaces the conversation with `messages`, which must have been checked.
    ///
    /// # Errors
    /// `Capacity` if they do not fit. In this case the old conversation stays.
    pub(super) fn take_history(
        &mut self,
        messages: &[u8],
        checked: MessageCheck,
    ) -> Result<(), Error> {
        #[cfg(feature = "alloc")]
        let renamed = self
            .settings
            .extras
            .unique
            .and_then(|unique| (unique.in_history)(messages, messages.len()));
        #[cfg(feature = "alloc")]
        let messages = renamed.as_deref().unwrap_or(messages);
        let open = open_turn(messages);
        // Existing results are first put in order after the conversation.
        let answers = open.as_ref().map_or(0, |open| open.answers.len());
        let needed = messages.len()
            + if answers > 0 { answers + 2 * (OPENING.len() + CLOSING.len()) } else { 0 };
        if needed > self.transcript.capacity() {
            return Err(Capacity {
                what: CapacityKind::Transcript,
                needed,
                free: self.transcript.capacity(),
            }
            .into());
        }
        if let Some(open) = &open {
            let calls = blocks_in(open.reply.of(messages))
                .filter(|block| is_type(*block, "tool_use"))
                .count();
            if calls > MAX_CALLS {
                return Err(
                    Capacity { what: CapacityKind::Calls, needed: calls, free: MAX_CALLS }.into()
                );
            }
        }
        self.forget_conversation();
        self.transcript.push_json(messages)?;
        match open {
            Some(open) => self.adopt(&open)?,
            None => self.turn.begin(self.transcript.len()),
        }
        self.note_given(checked);
        Ok(())
    }

    /// Makes the last assistant message the turn, with its existing results. Its calls do not run.
    /// Those without a result can be answered, and are answered as not run before anything is sent.
    fn adopt(&mut self, open: &Open) -> Result<(), Error> {
        self.go_back_to_turn_before(open.reply.end);
        self.turn.sequel = Sequel::Given;
        if open.answers.len() > 0 {
            self.sort_answers(open.answers)?;
        }
        Ok(())
    }

    /// Rewrites the message that answers some calls of the turn in the form in which this crate
    /// writes results: in the order of the calls, with any other blocks in a message of their own.
    /// `old`: the range from the end of the assistant message to the end of that message.
    fn sort_answers(&mut self, old: Span) -> Result<(), Error> {
        let before = self.transcript.len();
        let mut opening = OPENING;
        for i in 0..self.turn.calls {
            if let Some(result) = self.answer_in(old, i) {
                self.append_block(&mut opening, result)?;
                self.turn.states.set(CallIndex(i), CallState::Answered);
                if i < self.turn.first {
                    // In this case the calls before a `fallback` block are answered too.
                    self.turn.first = 0;
                }
            }
        }
        self.transcript.append(CLOSING)?;
        let results = self.transcript.len() - before;
        let (mut opening, mut others) = (OPENING, 0);
        let is_other = |block: &Value<'_>| !is_type(*block, "tool_result");
        while let Some(block) =
            self.content_of(old).filter(is_other).nth(others).and_then(|block| self.place_of(block))
        {
            self.append_block(&mut opening, block)?;
            others += 1;
        }
        if others > 0 {
            self.transcript.append(CLOSING)?;
        }
        let new = Span::new(before, self.transcript.len());
        self.transcript.truncate(before);
        self.transcript.tail_of(new).replace(old);
        self.turn.results_end = self.turn.end + results;
        Ok(())
    }

    /// Appends a copy of a block to the end of the transcript, after `opening`, which becomes a
    /// comma.
    fn append_block(&mut self, opening: &mut &[u8], block: Span) -> Result<(), Capacity> {
        self.transcript.append(core::mem::replace(opening, b","))?;
        self.transcript.append_within(block)
    }

    /// Returns the blocks of the message at the end of `span`, after a comma.
    fn content_of(&self, span: Span) -> Array<'_> {
        let behind = span.of(self.transcript.bytes()).trim_ascii_start();
        let message = behind.strip_prefix(b",").and_then(Value::first);
        message.and_then(|message| message.member("content")).unwrap_or_default().elements()
    }

    fn place_of(&self, block: Value<'_>) -> Option<Span> {
        let start = block.offset_in(self.transcript.bytes())?;
        Some(Span::new(start, start + block.raw().len()))
    }

    /// Returns the result of call `i` of the turn in the message at the end of `span`.
    fn answer_in(&self, span: Span, i: usize) -> Option<Span> {
        let call = self.blocks_of(&self.turn).filter(|block| is_type(*block, "tool_use")).nth(i)?;
        let id = call.member("id").and_then(Value::as_text)?;
        let is_its = |result: &Value<'_>| {
            result
                .member("tool_use_id")
                .and_then(Value::as_text)
                .is_some_and(|other| same(other, id))
        };
        self.content_of(span)
            .filter(|block| is_type(*block, "tool_result"))
            .find(is_its)
            .and_then(|result| self.place_of(result))
    }

    /// Checks the conversation of a snapshot, whose turn is known: calls without a result belong to
    /// it, and appended messages follow it.
    ///
    /// # Errors
    /// `Misuse` with the first rule that is broken.
    pub(super) fn check_history(&mut self) -> Result<(), Error> {
        let Turn { start, end, results_end, .. } = self.turn;
        let bytes = self.transcript.bytes();
        // Appended messages have a comma before them, unless nothing precedes them.
        let appended = bytes.get(results_end..).unwrap_or_default().trim_ascii_start();
        let appended = if results_end > 0 {
            appended.strip_prefix(b",").unwrap_or(appended)
        } else {
            appended
        };
        let before = if results_end > 0 { PriorMessages::Others } else { PriorMessages::Nothing };
        let mut checked = check(
            bytes.get(..results_end).unwrap_or_default(),
            PriorMessages::Nothing,
            Tail::Open,
        )?;
        if !appended.is_empty() {
            checked = check(appended, before, Tail::Closed)?;
        }
        // A paused turn is sent back unchanged.
        let sent_back = self.reply.stop.filter(|&stop| Wish::of(Some(stop)) == Wish::Resend);
        if start < end && !self.turn.runs() {
            self.turn.sequel = sent_back.map_or(Sequel::Given, Sequel::Unchanged);
        }
        self.note_given(if sent_back.is_some() { MessageCheck::default() } else { checked });
        Ok(())
    }

    /// Records that the conversation has messages from the caller, and whether it ends with a text
    /// that the model cannot continue.
    pub(super) fn note_given(&mut self, checked: MessageCheck) {
        self.settings.extras.enable_given_messages();
        self.unfit_prefill = checked.ends_in_space;
    }

    /// Checks that the model can continue the last message, if that is its own.
    pub(super) fn ensure_given_prefill(&mut self) -> Result<(), Error> {
        if !self.unfit_prefill {
            return Ok(());
        }
        let last = Messages::new(self.transcript.bytes()).enumerate().last();
        if let Some((message, _)) = last.filter(|&(_, message)| is_unfit_prefill(message)) {
            let rule = Rule::TrailingSpace;
            return Err(Misuse::Invalid(Invalid { message, block: None, rule }).into());
        }
        // Another message follows.
        self.unfit_prefill = false;
        Ok(())
    }
}
