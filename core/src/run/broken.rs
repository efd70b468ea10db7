//! What is kept of a reply that broke off and is not asked for again.
//!
//! Out of the way of runs that keep nothing: a chip that never says [`OnBreak::KeepBlocks`] does
//! not carry it.

use super::calls::CallsFound;
use super::state::{Outcome, State, Turn};
use super::{MAX_CALLS, Run};
use crate::error::{Capacity, Error, What};
use crate::history::{Ending, is_left_out, is_space, is_type};
use crate::json::{Piece, Value};
use crate::transcript::Span;
use crate::turn::BadInputs;

/// What becomes of a reply whose stream broke off, or carried an `error` event, when it is not
/// asked for again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum OnBreak {
    /// It is taken back: the conversation is what it was before, and the same is asked again when
    /// the run goes on.
    #[default]
    Drop,
    /// Its whole blocks stay as the model's last message: those before the first that is cut off,
    /// before the first call that could not be answered (without an id of its own, or a server's
    /// without a result), and without empty text and thinking at their end. The run rests with
    /// [`Outcome::Broken`] until something is said; calls among the blocks do not run, and are
    /// answered as not run when it goes on. If no block is whole, or there is no room for the
    /// answers, as [`Drop`](Self::Drop).
    KeepBlocks,
}

/// Tries to keep the whole blocks of the reply under way; says whether there are any.
pub(super) type Keep = fn(&mut Run<'_>) -> bool;

impl Run<'_> {
    /// Says what becomes of a reply that breaks off and is not asked for again. Default:
    /// [`OnBreak::Drop`]. The error is returned either way. A reply that is abandoned, stopped or
    /// cancelled, or for which there is no room, is always taken back. A reply of which a call has
    /// started (only a driver with `alloc` can do that) is never taken back, whatever is set here.
    pub fn on_break(&mut self, on_break: OnBreak) {
        self.keep = match on_break {
            OnBreak::Drop => None,
            OnBreak::KeepBlocks => Some(keep_blocks),
        };
    }
}

/// The whole blocks become the last message, and the run rests.
fn keep_blocks(run: &mut Run<'_>) -> bool {
    let words = run.reply.failure;
    // The server's words may lie where the message's end is to stand.
    let fits = words.len() == 0 || run.transcript.shift_tail(words, 2).is_ok();
    run.reply.failure = if fits && words.len() > 0 { words.shifted(2) } else { Span::default() };
    if !keep_part(run, 0) {
        return false;
    }
    run.failure = run.transcript.keep_in_tail(run.reply.failure);
    run.state = State::Done(Outcome::Broken);
    true
}

/// The whole blocks of the reply under way become the last message, as far as the API takes them:
/// those up to `least` at any rate, which are known to have room for their answers. Says whether
/// there are any; if not, nothing but the transcript's end has changed.
pub(super) fn keep_part(run: &mut Run<'_>, least: usize) -> bool {
    let mark = run.reply.mark;
    let mut turn = Turn { mark, start: mark + usize::from(mark > 0), ..Turn::none(mark) };
    let end =
        run.reply.end_of_whole_blocks(&run.transcript).or_else(|| (least > 0).then_some(least));
    // There is room: something was cut off, or nothing was ever written behind it.
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
        // No room for the answers to all calls: the last ones go.
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
    run.turns = run.turns.saturating_add(1);
    run.usage.add(&run.reply.usage);
    true
}

impl Run<'_> {
    /// Cuts the reply under way at `end`, behind a block, and ends its message there.
    fn end_message(&mut self, turn: &mut Turn, end: usize) -> bool {
        self.transcript.truncate(end);
        let ended = self.transcript.append(b"]}").is_ok();
        turn.end = self.transcript.len();
        turn.results_end = turn.end;
        ended
    }

    /// How many of the turn's blocks end at `end` or before it, without those that are left out.
    fn blocks_up_to(&self, turn: &Turn, end: usize) -> usize {
        let bytes = self.transcript.bytes();
        let is_before = |block: &Value<'_>| {
            block.offset_in(bytes).is_some_and(|at| at + block.raw().len() <= end)
        };
        self.blocks_of(turn).take_while(is_before).filter(|block| !is_left_out(*block)).count()
    }

    /// Finds the calls of what was kept, and sees that there is room for their answers.
    fn read_calls(&mut self) -> Result<(), Error> {
        let calls = self.blocks_of(&self.turn).filter(|block| is_type(*block, "tool_use")).count();
        if calls > MAX_CALLS {
            return Err(Capacity { what: What::Calls, needed: calls, free: MAX_CALLS }.into());
        }
        let CallsFound { found, first, .. } =
            Self::find_calls(self.turn.message(self.transcript.bytes()), self.transcript.grows())?;
        (self.turn.found, self.turn.first, self.turn.calls) = (found, first, calls);
        let answers = if self.turn.is_open() {
            self.reserve_for_others(usize::MAX) + self.results_frame()
        } else {
            0
        };
        Ok(self.transcript.reserve(answers)?)
    }

    /// A broken reply is gone on from: its calls are closed, or it is dropped if not even that
    /// fits.
    pub(super) fn go_on_from_broken(&mut self) {
        self.state = State::Ready;
        if self.turn.is_open() && self.close_open_calls().is_err() {
            self.drop_reply();
        }
        if self.transcript.len() == self.turn.end {
            self.trim_end();
        }
    }

    /// Takes white space off the end of the last message's text: the model cannot continue a text
    /// that ends so.
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
            // Up to here, as it stands.
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
        self.transcript.remove(Span::new(start + kept, start + len));
        self.turn.end = self.transcript.len();
        self.turn.results_end = self.turn.end;
    }
}
