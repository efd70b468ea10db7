//! What a run does when its transcript is nearly full: in fixed memory, and with long conversations
//! on any system.

use super::Run;
use super::table::State;
use crate::message::{Message, Messages, Role};
use crate::transcript::Span;

/// What a run does when fewer than `room` bytes are free before a request.
///
/// Only whole turns are dropped: a reply together with its results, and a prompt together with all
/// its replies. The last turn stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct WhenFull {
    /// The number of bytes that should be free for a reply and its results. With 0, nothing is
    /// done, and a reply that does not fit is a capacity error.
    pub room: usize,
    /// How the run frees space.
    pub then: MakeRoom,
}

/// How a run frees space in its transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MakeRoom {
    /// The model is asked for a summary, regardless of the number of tokens, if
    /// [`Run::compaction_mut`] is set. `room` must also leave enough space for the request for a
    /// summary and for the summary.
    Compact,
    /// As many of the oldest turns as necessary are dropped.
    DropOldest,
    /// The run ends with [`Limit::Transcript`](crate::policy::Limit::Transcript).
    Stop,
}

impl WhenFull {
    /// Nothing is done. A reply that does not fit is a capacity error.
    pub const NEVER: Self = Self { room: 0, then: MakeRoom::Stop };
}

impl Run<'_> {
    /// Releases the memory that a growing transcript has allocated and does not use, if the run is
    /// over. A server with thousands of idle runs then uses only the memory of their conversations.
    /// The transcript grows again when the run continues. Does nothing while the run is in
    /// progress, or if the transcript is a slice.
    #[cfg(feature = "alloc")]
    pub fn shrink_to_fit(&mut self) {
        if let State::Done(_) = self.machine.state() {
            self.transcript.shrink_to_fit();
        }
    }

    /// Returns whether the transcript is nearly full.
    pub(super) fn lacks_room(&self) -> bool {
        self.transcript.free() < self.settings.when_full.room
    }

    /// Returns whether a summary is needed to free space.
    pub(super) fn wants_summary(&self) -> bool {
        self.settings.when_full.then == MakeRoom::Compact && self.lacks_room()
    }

    /// Frees space before a request. Returns whether there is enough.
    pub(super) fn make_room(&mut self) -> bool {
        while self.lacks_room() {
            let made = match self.settings.when_full.then {
                MakeRoom::DropOldest => self.drop_oldest_turn(),
                // The summary was already tried, or is about to be requested.
                MakeRoom::Compact => return true,
                MakeRoom::Stop => false,
            };
            if !made {
                return false;
            }
        }
        true
    }

    /// Drops the oldest turn, unless it is the last one, and returns whether it did. Does nothing
    /// during a request or a wait, or if older messages were
    /// [freed](crate::wire::MessageThread::Free).
    ///
    /// If there are several prompts, drops the first prompt with all its replies and results. If
    /// there is one prompt, drops its first reply with the results.
    pub fn drop_oldest_turn(&mut self) -> bool {
        if self.thread.is_freed()
            || !matches!(self.machine.state(), State::Ready | State::Calling | State::Done(_))
        {
            return false;
        }
        let Some(span) = self.oldest_turn() else { return false };
        self.cancel_compaction();
        self.cut_out(span);
        // The message that is now before the turn may have spaces after it.
        if self.turn.start < self.turn.end {
            self.turn.mark = self.mark_of(self.turn.start);
        }
        true
    }

    fn oldest_turn(&self) -> Option<Span> {
        let bytes = self.transcript.bytes();
        let place = |message: Message<'_>| message.value().offset_in(bytes);
        let is_reply = |message: Message<'_>| message.role() == Some(Role::Assistant);
        // A system message cannot be the first message.
        let is_prompt = |message: Message<'_>| {
            message.role() == Some(Role::User) && message.tool_results().next().is_none()
        };
        // The last turn stays, and the messages after it.
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
        // One prompt: drop its first reply, up to the next reply that follows results.
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

    /// Returns where the current prompt begins if no reply follows it, or the end of the
    /// conversation.
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
