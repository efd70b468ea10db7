//! The end of a turn: its calls are found in the message, and the state follows from its stop
//! reason.

use super::calls::{blocks_in, is_type};
use super::state::{CallPlaces, FoundCalls, Sequel, Turn};
use super::table::{Input, Wish};
use super::{MAX_CALLS, Run};
use crate::error::{Capacity, CapacityKind, Error, Protocol, phrase};
use crate::history::{Ending, Ids, is_answerable};
use crate::json::Array;
use crate::message::{Messages, Role};
use crate::transcript::Span;

/// What a turn knows about its calls from the start.
pub(super) struct TurnCalls {
    pub(super) found: FoundCalls,
    /// The number of calls before the last `fallback` block.
    pub(super) first: usize,
    /// A hash of the names and inputs of the calls.
    fingerprint: u32,
}

/// A turn as far as the transcript shows it.
pub(super) struct StoredTurn {
    mark: usize,
    start: usize,
    first: usize,
    pub(super) calls: usize,
    found: FoundCalls,
}

impl Run<'_> {
    /// Ends a complete reply: counts its calls and derives the next state from its stop reason.
    pub(super) fn end_turn(&mut self) -> Result<(), Error> {
        let mark = self.reply.mark;
        let comma = usize::from(mark > 0);
        let calls = self.reply.calls;
        if calls > MAX_CALLS {
            return Err(
                Capacity { what: CapacityKind::Calls, needed: calls, free: MAX_CALLS }.into()
            );
        }
        #[cfg(feature = "alloc")]
        let begun = self.begun_early();
        #[cfg(feature = "alloc")]
        if begun.is_some() {
            self.ensure_room_for_answers(mark + comma)?;
        }
        let wish = Wish::of(self.reply.stop);
        let ending = match wish {
            Wish::Resend => Ending::GoesOn,
            Wish::Answers if calls > 0 => Ending::GoesOn,
            Wish::Answers | Wish::End(_) => Ending::Ended,
        };
        let is_kept = self.reply.is_empty()
            || self.reply.is_kept_whole()
            || self.keep_message(mark, mark + comma, ending);
        if !is_kept {
            self.reply.set_empty();
        }
        // The next request would be identical to this one, and so on without end.
        if self.reply.is_empty() && matches!(wish, Wish::Resend) {
            return Err(
                Protocol::Event { expected: phrase!("blocks in a turn that pauses") }.into()
            );
        }
        let end = self.transcript.len();
        // After a paused turn a reply may be empty. Then the paused turn is still the last.
        if self.reply.is_empty() {
            self.go_back_to_turn_before(mark);
        } else {
            let message = Span::new(mark + comma, end);
            let calls_found = if calls > 0 {
                Some(Self::find_calls(
                    message.of(self.transcript.bytes()),
                    self.transcript.grows(),
                )?)
            } else {
                None
            };
            // Field by field, in place: a turn is too large to be built on a chip's stack first.
            let turn = &mut self.turn;
            turn.begin(mark);
            (turn.start, turn.end, turn.results_end, turn.calls) = (message.start, end, end, calls);
            // It has just become empty. Swapped, because a copy takes more flash.
            core::mem::swap(&mut turn.bad, &mut self.reply.bad);
            turn.sequel = match (wish, self.reply.stop) {
                (Wish::Answers, _) => Sequel::Results,
                (Wish::Resend, Some(stop)) => Sequel::Unchanged(stop),
                (Wish::Resend, None) | (Wish::End(_), _) => Sequel::Nothing,
            };
            if let Some(TurnCalls { found, first, fingerprint }) = calls_found {
                (turn.found, turn.first) = (found, first);
                self.ledger.add_calls(fingerprint);
            }
        }
        #[cfg(feature = "alloc")]
        let closed = begun.map(|begun| self.take_over(begun));
        self.summary.tried = false;
        self.ledger.add_turn(&self.reply.usage);
        self.exchange.attempt = 0;
        let calls = self.turn.is_calling();
        self.machine.go(Input::Reply { stop: self.reply.stop, calls })?;
        #[cfg(feature = "alloc")]
        {
            self.forget_breaks();
            if let Some(closed) = closed {
                self.put_results()?;
                self.close_pending(closed)?;
            }
        }
        if let Some(threads) = self.settings.extras.threads {
            (threads.end)(self);
        }
        Ok(())
    }

    /// Finds the calls of a complete message. `grows`: whether memory may be allocated for the
    /// positions of all of them.
    ///
    /// # Errors
    /// `Protocol` if a call has no name or no id of its own, because it could not be answered.
    pub(super) fn find_calls(message: &[u8], grows: bool) -> Result<TurnCalls, Error> {
        let (mut seen, mut first) = (0, 0);
        let mut fingerprint = 0x811c_9dc5_u32;
        let mut found = FoundCalls::new();
        let mut ids = Ids::NONE;
        let mut blocks = blocks_in(message);
        let mut i = 0;
        while let Some([kind, id, name, input, toolset]) =
            blocks.next_picked(["type", "id", "name", "input", "toolset_name"])
        {
            let is = |name| kind.is_some_and(|kind| kind.is_text(name));
            if is("tool_use") {
                seen += 1;
                let parts = [id, name, input].map(Option::unwrap_or_default);
                for &byte in parts.iter().skip(1).flat_map(|part| part.raw()) {
                    fingerprint = (fingerprint ^ u32::from(byte)).wrapping_mul(0x0100_0193);
                }
                // The list has no gaps. Calls that are not in it are searched for.
                if let Some(place) = CallPlaces::of(parts, toolset, message) {
                    found.note(seen - 1, place, grows);
                }
                if !is_answerable([id, name], &mut ids, blocks_in(message).take(i)) {
                    return Err(Protocol::Event {
                        expected: phrase!("calls with a name and a unique id"),
                    }
                    .into());
                }
            } else if is("fallback") {
                first = seen;
            }
            i += 1;
        }
        Ok(TurnCalls { found, first, fingerprint })
    }

    /// Makes the turn at the end of the first `end` bytes the last turn: see
    /// [`turn_before`](Self::turn_before).
    // Not inlined: this is rare.
    #[inline(never)]
    pub(super) fn go_back_to_turn_before(&mut self, end: usize) {
        let StoredTurn { mark, start, first, calls, found } = self.turn_before(end);
        let turn = &mut self.turn;
        turn.begin(end);
        (turn.mark, turn.start, turn.first, turn.calls, turn.found) =
            (mark, start, first, calls, found);
    }

    pub(super) fn blocks_of(&self, turn: &Turn) -> Array<'_> {
        blocks_in(turn.message(self.transcript.bytes()))
    }

    /// Finds the turn at the end of the first `end` bytes of the conversation, from the transcript
    /// alone: a paused turn whose continuation was dropped, or a turn of a history that the caller
    /// provided. Its calls do not run. They are closed when something else is said.
    pub(super) fn turn_before(&self, end: usize) -> StoredTurn {
        let mut turn =
            StoredTurn { mark: end, start: end, first: 0, calls: 0, found: FoundCalls::new() };
        let bytes = self.transcript.bytes().get(..end).unwrap_or_default();
        let last =
            Messages::new(bytes).last().filter(|message| message.role() == Some(Role::Assistant));
        let Some(start) = last.and_then(|message| message.value().offset_in(bytes)) else {
            return turn;
        };
        (turn.mark, turn.start) = (self.mark_of(start), start);
        let message = bytes.get(start..).unwrap_or_default();
        for block in blocks_in(message) {
            if is_type(block, "tool_use") {
                // Without `alloc` they are searched for, because this is rare.
                #[cfg(feature = "alloc")]
                let [id, name, input, toolset] =
                    block.pick(["id", "name", "input", "toolset_name"]);
                #[cfg(feature = "alloc")]
                if let Some(place) = CallPlaces::of(
                    [id, name, input].map(Option::unwrap_or_default),
                    toolset,
                    message,
                ) {
                    turn.found.note(turn.calls, place, self.transcript.grows());
                }
                turn.calls += 1;
            } else if is_type(block, "fallback") {
                turn.first = turn.calls;
            }
        }
        // Calls beyond the maximum could not be closed either.
        turn.calls = turn.calls.min(MAX_CALLS);
        turn
    }

    /// Returns where to truncate the conversation to remove the message that begins at `start`:
    /// after the message before it, and before the comma. Messages from the caller may have spaces
    /// there.
    pub(super) fn mark_of(&self, start: usize) -> usize {
        let before = self.transcript.bytes().get(..start).unwrap_or_default().trim_ascii_end();
        before.strip_suffix(b",").unwrap_or(before).trim_ascii_end().len()
    }
}
