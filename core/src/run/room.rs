//! What a run does when its transcript is nearly full: in fixed memory, and for long conversations
//! anywhere.

use super::Run;
use super::state::State;
use crate::message::{Message, Messages, Role};
use crate::transcript::Span;

/// What is done when fewer than `room` bytes are free as a request is about to go out.
///
/// Only whole turns are ever dropped: a reply goes with its results, and a prompt with all that
/// answered it. The last turn stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WhenFull {
    /// Bytes that a reply and its results should find free. 0: nothing is done, and a reply that
    /// does not fit is a capacity error.
    pub room: usize,
    /// What is done.
    pub then: MakeRoom,
}

/// How room is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MakeRoom {
    /// The model is asked for a summary, whatever the tokens, if [`Run::compaction_mut`] is set.
    /// `room` must hold the question and the summary too.
    Compact,
    /// The oldest turns are dropped, as many as it takes.
    DropOldest,
    /// The run ends with [`Limit::Transcript`](crate::policy::Limit::Transcript).
    Stop,
}

impl WhenFull {
    /// Nothing is done.
    pub const NEVER: Self = Self { room: 0, then: MakeRoom::Stop };
}

impl Run<'_> {
    /// What is done when the transcript is nearly full. Default: [`WhenFull::NEVER`].
    pub const fn when_full_mut(&mut self) -> &mut WhenFull {
        self.make_room = Some(|run| run.make_room());
        &mut self.when_full
    }

    /// Gives back the memory that a growing transcript took and does not use, once the run rests:
    /// of thousands that wait for somebody each then takes what was said in it. It grows again when
    /// the run goes on. Before that, and on a slice, nothing happens.
    #[cfg(feature = "alloc")]
    pub fn shrink_to_fit(&mut self) {
        if let State::Done(_) = self.state {
            self.transcript.shrink_to_fit();
        }
    }

    /// Whether the transcript is nearly full.
    pub(super) fn lacks_room(&self) -> bool {
        self.transcript.free() < self.when_full.room
    }

    /// Whether a summary would make room.
    pub(super) fn wants_summary(&self) -> bool {
        self.when_full.then == MakeRoom::Compact && self.lacks_room()
    }

    /// Before a request: whether there is room, now or after turns were dropped.
    fn make_room(&mut self) -> bool {
        while self.lacks_room() {
            let made = match self.when_full.then {
                MakeRoom::DropOldest => self.drop_oldest_turn(),
                // The summary was tried before, or is about to be.
                MakeRoom::Compact => return true,
                MakeRoom::Stop => false,
            };
            if !made {
                return false;
            }
        }
        true
    }

    /// Drops the oldest turn, if that is not the last.
    ///
    /// Of several prompts the first goes with all that answered it; of one prompt's turns the first
    /// reply and its results.
    pub fn drop_oldest_turn(&mut self) -> bool {
        if !matches!(self.state, State::Ready | State::Calling | State::Done(_)) {
            return false;
        }
        let Some(span) = self.oldest_turn() else { return false };
        self.transcript.remove(span);
        self.marks.forget();
        self.unfit_prefill =
            self.unfit_prefill.saturating_sub(u32::try_from(span.len()).unwrap_or(u32::MAX));
        let turn = &mut self.turn;
        for place in [&mut turn.mark, &mut turn.start, &mut turn.end, &mut turn.results_end] {
            *place = place.saturating_sub(span.len());
        }
        // What now stands before the turn may have spaces behind it.
        if self.turn.start < self.turn.end {
            self.turn.mark = self.mark_of(self.turn.start);
        }
        true
    }

    fn oldest_turn(&self) -> Option<Span> {
        let bytes = self.transcript.bytes();
        let place = |message: Message<'_>| message.value().offset_in(bytes);
        let is_reply = |message: Message<'_>| message.role() == Some(Role::Assistant);
        // A system message cannot be the first.
        let is_prompt = |message: Message<'_>| {
            message.role() == Some(Role::User) && message.tool_results().next().is_none()
        };
        // The last turn stays, and what was said behind it.
        let last = self.turn.start.min(self.last_prompt(is_reply));
        let before_last = |at: &usize| *at <= last;

        let mut answered = false;
        let next_prompt = Messages::new(bytes).find(|message| {
            answered |= is_reply(*message);
            answered && is_prompt(*message)
        });
        if let Some(end) = next_prompt.and_then(place).filter(before_last) {
            return Some(Span::new(0, end));
        }
        // One prompt: its first reply, up to the next that follows results.
        let mut messages = Messages::new(bytes).skip_while(|message| !is_reply(*message));
        let start = place(messages.next()?)?;
        let mut behind_results = false;
        let next = messages.find(|message| {
            let found = behind_results && is_reply(*message);
            behind_results = !is_reply(*message);
            found
        });
        next.and_then(place).filter(before_last).map(|end| Span::new(start, end))
    }

    /// Where the prompt under way begins, if nothing has answered it yet; the end if something has.
    fn last_prompt(&self, is_reply: impl Fn(Message<'_>) -> bool) -> usize {
        let bytes = self.transcript.bytes();
        let mut last = None;
        for message in Messages::new(bytes) {
            if is_reply(message) {
                last = None;
            } else if last.is_none() {
                last = message.value().offset_in(bytes);
            }
        }
        last.unwrap_or(bytes.len())
    }
}
