//! What is kept of a reply that broke off and is not requested again.
//!
//! A module of its own: a program that never sets [`OnBreak::KeepBlocks`] does not contain this
//! code.

use super::state::Turn;
use super::table::Input;
use super::turns::TurnCalls;
use super::{MAX_CALLS, Run};
use crate::error::{Capacity, CapacityKind, Error};
use crate::history::{Ending, is_left_out, is_space, is_type};
use crate::json::{Piece, Value};
use crate::transcript::Span;
use crate::turn::BadInputs;

/// What happens to a reply whose stream broke off, or contained an `error` event, if it is not
/// requested again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum OnBreak {
    /// The reply is discarded: the conversation is what it was before, and the same request is sent
    /// again when the run continues.
    #[default]
    Drop,
    /// The complete blocks of the reply stay as the model's last message: the blocks before the
    /// first one that is cut off, and before the first call that could not be answered (one without
    /// an id of its own, or a server's call without a result), without empty text and thinking at
    /// their end. The run ends with [`Outcome::Broken`](super::Outcome::Broken) until the caller
    /// says something. Calls among the blocks do not run, and are answered as not run when the run
    /// continues. If no block is complete, or there is no space for the answers, the reply is
    /// discarded as with [`Drop`](Self::Drop).
    KeepBlocks,
}

/// Makes the complete blocks the last message and ends the run.
pub(super) fn keep_blocks(run: &mut Run<'_>) -> bool {
    let words = run.reply.failure;
    // The server's error text may be where the end of the message goes.
    let shifted = if words.len() > 0 { run.transcript.tail_of(words).shift(2).ok() } else { None };
    run.reply.failure = shifted.unwrap_or_default();
    if !keep_part(run, 0) {
        return false;
    }
    run.exchange.failure = run.transcript.tail_of(run.reply.failure).keep();
    run.machine.go(Input::KeptBlocks).is_ok()
}

/// Makes the complete blocks of the current reply the last message, as far as the API accepts them.
/// The blocks up to `least` are kept in any case, because their answers are known to fit. Returns
/// whether there are any blocks; if not, only the end of the transcript has changed.
pub(super) fn keep_part(run: &mut Run<'_>, least: usize) -> bool {
    let mark = run.reply.mark;
    let mut turn = Turn { mark, start: mark + usize::from(mark > 0), ..Turn::none(mark) };
    let end =
        run.reply.end_of_whole_blocks(&run.transcript).or_else(|| (least > 0).then_some(least));
    // This fits: something was cut off, or nothing was written after it.
    if !end.is_some_and(|end| run.end_message(&mut turn, end.max(least))) {
        return false;
    }
    let begun = run.blocks_up_to(&turn, least);
    if !run.keep_message(mark, turn.start, Ending::Broken { least: begun }) {
        return false;
    }
    turn.end = run.transcript.len();
    turn.results_end = turn.end;
    let before = core::mem::replace(&mut run.turn, turn);
    if run.read_calls().is_err() {
        // The answers to all calls do not fit: drop the last blocks.
        let mut turn = core::mem::replace(&mut run.turn, before);
        let last = run.blocks_of(&turn).take(begun).last();
        let end =
            last.and_then(|last| Some(last.offset_in(run.transcript.bytes())? + last.raw().len()));
        if !end.is_some_and(|end| run.end_message(&mut turn, end)) {
            return false;
        }
        run.turn = turn;
        if run.read_calls().is_err() {
            return false;
        }
    }
    run.turn.bad = core::mem::replace(&mut run.reply.bad, BadInputs::NONE);
    run.reply.stop = None;
    run.ledger.add_turn(&run.reply.usage);
    // The server has all of the reply or nothing.
    run.thread.leave();
    true
}

impl Run<'_> {
    /// Truncates the current reply at `end`, after a block, and ends its message there.
    fn end_message(&mut self, turn: &mut Turn, end: usize) -> bool {
        self.transcript.truncate(end);
        let ended = self.transcript.append(b"]}").is_ok();
        turn.end = self.transcript.len();
        turn.results_end = turn.end;
        ended
    }

    /// Returns how many of the turn's blocks end at or before `end`, without those that are left
    /// out.
    fn blocks_up_to(&self, turn: &Turn, end: usize) -> usize {
        let bytes = self.transcript.bytes();
        let is_before = |block: &Value<'_>| {
            block.offset_in(bytes).is_some_and(|at| at + block.raw().len() <= end)
        };
        self.blocks_of(turn).take_while(is_before).filter(|block| !is_left_out(*block)).count()
    }

    /// Finds the calls of the blocks that were kept, and checks that their answers fit.
    fn read_calls(&mut self) -> Result<(), Error> {
        let calls = self.blocks_of(&self.turn).filter(|block| is_type(*block, "tool_use")).count();
        if calls > MAX_CALLS {
            return Err(
                Capacity { what: CapacityKind::Calls, needed: calls, free: MAX_CALLS }.into()
            );
        }
        let TurnCalls { found, first, .. } =
            Self::find_calls(self.turn.message(self.transcript.bytes()), self.transcript.grows())?;
        (self.turn.found, self.turn.first, self.turn.calls) = (found, first, calls);
        let answers = if self.turn.is_open() {
            self.reserve_for_others(usize::MAX) + self.results_frame()
        } else {
            0
        };
        Ok(self.transcript.reserve(answers)?)
    }

    /// Continues after a broken reply: closes its calls, or drops the reply if their answers do not
    /// fit.
    pub(super) fn go_on_from_broken(&mut self) {
        if self.turn.is_open() && self.close_open_calls().is_err() {
            // Possible, because the run has just become ready.
            let _ = self.drop_reply();
        }
        if self.transcript.len() == self.turn.end {
            self.trim_end();
        }
    }

    /// Removes white space from the end of the last message's text, because the model cannot
    /// continue a text that ends with it.
    fn trim_end(&mut self) {
        let bytes = self.transcript.bytes();
        let text = self
            .blocks_of(&self.turn)
            .last()
            .filter(|block| is_type(*block, "text"))
            .and_then(|block| block.member("text"));
        let Some((start, text)) =
            text.and_then(|text| Some((text.offset_in(bytes)? + 1, text.as_text()?)))
        else {
            return;
        };
        let (mut kept, len) = (0, text.raw_bytes().len());
        let mut pieces = text.pieces();
        while let Some(piece) = pieces.next() {
            // The end of this piece in the raw text.
            let end = len - pieces.left();
            match piece {
                Piece::Plain(plain) => match plain.trim_end_matches(is_space).len() {
                    0 => {}
                    trimmed => kept = end - (plain.len() - trimmed),
                },
                Piece::Char(c) if is_space(c) => {}
                Piece::Char(_) => kept = end,
            }
        }
        self.cut_out(Span::new(start + kept, start + len));
    }
}
