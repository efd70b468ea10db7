//! Changes of results that were not sent yet.

use super::results::{FAILED, OPENING, marks_of};
use super::state::CallState;
use super::table::State;
use super::{CallIndex, Run, ToolAnswer};
use crate::error::{Capacity, Error, Misuse};
use crate::json::{Object, check_members};
use crate::transcript::Span;

impl Run<'_> {
    /// Replaces the result of call `i` of the last turn, while no request is in progress: before
    /// the result is sent, or after the API has refused it. For results of earlier turns use
    /// [`replace_result_of`](Self::replace_result_of).
    ///
    /// # Errors
    /// `Misuse` if there is no such result, if the API would not accept the content (see
    /// [`ToolAnswer`]), if the request would have more than four cache breakpoints, or while a
    /// request is in progress; `Capacity` if it does not fit. In all cases the old result stays.
    pub fn replace_result(&mut self, i: CallIndex, answer: ToolAnswer<'_>) -> Result<(), Error> {
        answer.check()?;
        let old = self.result(i).map_or(0, marks_of);
        self.ensure_breakpoints_of(answer.blocks(), old)?;
        let len = answer.len();
        self.take_result(i, len)?;
        let start = self.content_place(i);
        answer.write_to(&mut self.transcript.tail_from(start))?;
        self.commit_result(i, len, answer.is_error())
    }

    /// Removes a result that has not been sent, if there is space for one with `len` bytes of
    /// content.
    fn take_result(&mut self, i: CallIndex, len: usize) -> Result<(), Error> {
        let bytes = self.transcript.bytes();
        let old = self.result(i).ok_or(Misuse::NoSuchCall)?;
        let start = old.offset_in(bytes).ok_or(Misuse::NoSuchCall)?;
        let span = Span::new(start, start + old.raw().len());
        self.ensure_unsent()?;
        self.cancel_compaction();
        self.reserve_beyond_answers(self.result_head(i) + len + FAILED.len() + 1)?;
        let comma = usize::from(self.turn.answered_count() > 1);
        // Remove the old result and one comma beside it.
        let is_first = start == self.turn.end + OPENING.len();
        let gone = match (comma, is_first) {
            (0, _) => span,
            (_, true) => Span::new(span.start, span.end + 1),
            (_, false) => Span::new(span.start - 1, span.end),
        };
        self.cut_out(gone);
        self.turn.states.set(i, CallState::Running);
        self.ledger.calls = self.ledger.calls.saturating_sub(1);
        Ok(())
    }

    /// Adds members such as `"cache_control":{"type":"ephemeral"}` to the result of call `i` of the
    /// last turn, while no request is in progress.
    ///
    /// # Errors
    /// `Misuse` if there is no such result, if `member` is not one or more members of an object
    /// without the braces, if the request would have more than four cache breakpoints, or while a
    /// request is in progress; `Capacity` if it does not fit.
    pub fn add_to_result(&mut self, i: CallIndex, member: &str) -> Result<(), Error> {
        if member.trim_ascii().is_empty() || check_members(member.as_bytes()).is_err() {
            return Err(
                Misuse::Json("must be one or more object members, without the braces").into()
            );
        }
        self.ensure_unsent()?;
        let marks = Object::inside(member.as_bytes())
            .filter(|(name, value)| *name == *"cache_control" && !value.is_null())
            .count();
        self.ensure_breakpoints(marks, 0)?;
        let old = self.result(i).ok_or(Misuse::NoSuchCall)?;
        let start = old.offset_in(self.transcript.bytes()).ok_or(Misuse::NoSuchCall)?;
        let at = start + old.raw().len() - 1;
        self.cancel_compaction();
        self.reserve_beyond_answers(member.len() + 1)?;
        Ok(self.splice(Span::new(at, at), &[b",", member.as_bytes()])?)
    }

    /// Reserves space for `more` bytes that are not part of an answer to an open call.
    pub(super) fn reserve_beyond_answers(&mut self, more: usize) -> Result<(), Capacity> {
        self.transcript.reserve(more + self.kept_for_answers())
    }

    pub(super) fn ensure_unsent(&self) -> Result<(), Error> {
        match self.machine.state() {
            State::Sending | State::Receiving | State::ErrorBody | State::Waiting => {
                Err(Misuse::State("results can only be changed before the next request").into())
            }
            _ => Ok(()),
        }
    }
}
