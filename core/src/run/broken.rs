//! What is kept of a reply that broke off and is not asked for again.
//!
//! Out of the way of runs that keep nothing: a chip that never says [`OnBreak::KeepBlocks`] does not carry it.

use super::calls::is_type;
use super::state::{Outcome, State, Turn};
use super::{MAX_CALLS, Run};
use crate::json::Value;
use crate::transcript::Span;
use crate::turn::BadInputs;

/// What becomes of a reply whose stream broke off, or carried an `error` event, when it is not asked for again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum OnBreak {
    /// It is taken back: the conversation is what it was before, and the same is asked again when the run goes on.
    #[default]
    Drop,
    /// Its whole blocks stay as the model's last message: those before the first that is cut off, without thinking or a server's call
    /// at their end that nothing follows. The run rests with [`Outcome::Broken`] until something is said; calls among the blocks do not
    /// run, and are answered as not run when it goes on. If no block is whole, or there is no room for the answers, as
    /// [`Drop`](Self::Drop).
    KeepBlocks,
}

/// Tries to keep the whole blocks of the reply under way; says whether there are any.
pub(super) type Keep = fn(&mut Run<'_>) -> bool;

impl Run<'_> {
    /// Says what becomes of a reply that breaks off and is not asked for again. Default: [`OnBreak::Drop`]. The error is returned
    /// either way. A reply that is abandoned, stopped or cancelled, or for which there is no room, is always taken back.
    pub fn on_break(&mut self, on_break: OnBreak) {
        self.keep = match on_break {
            OnBreak::Drop => None,
            OnBreak::KeepBlocks => Some(keep_blocks),
        };
    }
}

/// The whole blocks become the last message.
fn keep_blocks(run: &mut Run<'_>) -> bool {
    let Some(end) = run.reply.end_of_whole_blocks(&run.transcript) else { return false };
    let mark = run.reply.mark;
    // The server's words may lie where the message's end is to stand.
    let words = run.reply.failure;
    let fits = words.len() == 0 || run.transcript.shift_tail(words, 2).is_ok();
    run.reply.failure = if fits && words.len() > 0 { words.shifted(2) } else { Span::default() };
    run.transcript.truncate(end);
    if run.transcript.append(b"]}").is_err() {
        return false;
    }
    let mut turn = Turn { mark, start: mark + usize::from(mark > 0), ..Turn::none(mark) };
    // From the end, until the rest can stand by itself.
    loop {
        turn.end = run.transcript.len();
        turn.results_end = turn.end;
        let Some(cut) = run.cut_of(&turn) else { break };
        run.transcript.truncate(cut);
        // There is room: it is shorter than it was.
        if run.transcript.append(b"]}").is_err() {
            return false;
        }
    }
    if run.blocks_of(&turn).next().is_none() {
        return false;
    }
    turn.calls = run.blocks_of(&turn).filter(|block| is_type(*block, "tool_use")).count();
    if turn.calls > MAX_CALLS {
        return false;
    }
    let Ok(found) = Run::find_calls(turn.message(run.transcript.bytes()), turn.calls) else { return false };
    (turn.found, turn.first) = (found.found, found.first);
    turn.bad = core::mem::replace(&mut run.reply.bad, BadInputs::NONE);
    let before = core::mem::replace(&mut run.turn, turn);
    let answers = if run.turn.is_open() { run.reserve_for_others(usize::MAX) + run.results_frame() } else { 0 };
    if run.transcript.reserve(answers).is_err() {
        run.turn = before;
        return false;
    }
    run.reply.stop = None;
    run.turns = run.turns.saturating_add(1);
    run.usage.add(&run.reply.usage);
    run.failure = run.transcript.keep_in_tail(run.reply.failure);
    run.state = State::Done(Outcome::Broken);
    true
}

impl Run<'_> {
    /// Where the message is cut, before the comma, so that it does not end with thinking or with a server's call that has no result;
    /// nothing if it is good.
    fn cut_of(&self, turn: &Turn) -> Option<usize> {
        let bytes = self.transcript.bytes();
        let id = |block: Value<'_>, name: &str| block.member(name).and_then(Value::as_text).map(|id| id.raw().len()).unwrap_or_default();
        let mut blocks = self.blocks_of(turn);
        let mut is_first = true;
        while let Some(block) = blocks.next() {
            let is_last = blocks.clone().next().is_none();
            let is_thinking = is_type(block, "thinking") || is_type(block, "redacted_thinking");
            let is_asking = (is_type(block, "server_tool_use") || is_type(block, "mcp_tool_use"))
                && !blocks.clone().any(|other| id(other, "tool_use_id") > 0 && other.member("tool_use_id") == block.member("id"));
            if (is_thinking && is_last) || is_asking {
                return Some(block.offset_in(bytes)?.saturating_sub(usize::from(!is_first)));
            }
            is_first = false;
        }
        None
    }

    /// A broken reply is gone on from: its calls are closed, or it is dropped if not even that fits.
    pub(super) fn go_on_from_broken(&mut self) {
        self.state = State::Ready;
        if self.turn.is_open() && self.close_open_calls().is_err() {
            self.drop_reply();
        }
    }
}
