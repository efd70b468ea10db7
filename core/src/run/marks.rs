//! Cache breakpoints, counted where they are added: the fifth of a request is refused before it is
//! sent.

use super::Run;
use crate::error::{Error, Misuse};
use crate::history::{MAX_BREAKPOINTS, breakpoints, breakpoints_in, breakpoints_in_front};
use crate::json::Value;
use crate::transcript::Span;

/// What is known of the breakpoints of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    /// Those in the first `len` bytes of the conversation, which do not change any more.
    count: u16,
    /// Those before the messages, as far as is known.
    in_front: u16,
    len: u32,
}

impl Marks {
    pub(super) const NONE: Self = Self { count: 0, len: 0, in_front: 0 };

    /// Whether the conversation may have so many.
    pub(super) fn ensure(self, count: usize) -> Result<(), Error> {
        let count = count + usize::from(self.in_front);
        if count > MAX_BREAKPOINTS { Err(Misuse::Breakpoints(count).into()) } else { Ok(()) }
    }

    /// The beginning of the conversation changed.
    pub(super) const fn forget(&mut self) {
        (self.count, self.len) = (0, 0);
    }
}

impl Run<'_> {
    /// Tells what comes before the conversation in each request, in any pieces: a body up to
    /// `"messages":[`. The cache breakpoints in it count too when [`append`](Self::append),
    /// [`replace_history`](Self::replace_history), [`answer`](Self::answer),
    /// [`replace_result`](Self::replace_result) and [`add_to_result`](Self::add_to_result) are
    /// asked for another. Each request tells it by itself; before the first one, or when it
    /// changes, a front end may.
    ///
    /// # Errors
    /// `Misuse` if the request would have more breakpoints than the API takes.
    pub fn note_front(&mut self, front: &[&[u8]]) -> Result<(), Error> {
        self.marks.in_front = u16::try_from(breakpoints_in_front(front)).unwrap_or(u16::MAX);
        let count = self.breakpoints();
        self.marks.ensure(count)
    }

    /// Cache breakpoints in the conversation.
    fn breakpoints(&mut self) -> usize {
        let mark = self.turn.mark;
        let known = usize::try_from(self.marks.len).ok().filter(|known| *known <= mark);
        // What is before the last turn stays as it is, so it is counted once.
        let (known, before) = known.map_or((0, 0), |known| (known, usize::from(self.marks.count)));
        let bytes = self.transcript.bytes();
        let settled = before + breakpoints(bytes.get(known..mark).unwrap_or_default());
        let last = breakpoints(bytes.get(mark..).unwrap_or_default());
        self.marks.len = u32::try_from(mark).unwrap_or(0);
        self.marks.count =
            if self.marks.len == 0 { 0 } else { u16::try_from(settled).unwrap_or(u16::MAX) };
        settled + last
    }

    /// Whether `more` breakpoints may be added, in place of `fewer`.
    ///
    /// # Errors
    /// `Misuse` with how many there would be.
    pub(super) fn ensure_breakpoints(&mut self, more: usize, fewer: usize) -> Result<(), Error> {
        if more <= fewer {
            return Ok(());
        }
        let count = self.breakpoints() + more;
        self.marks.ensure(count.saturating_sub(fewer))
    }

    /// How many breakpoints the request would have with this result in the tail, if that is more
    /// than it may have.
    pub(super) fn excess_of(&mut self, content: Span) -> Option<usize> {
        let more = Value::whole(content.of(self.transcript.whole())).map_or(0, breakpoints_in);
        match self.ensure_breakpoints(more, 0) {
            Err(Error::Misuse(Misuse::Breakpoints(count))) => Some(count),
            _ => None,
        }
    }

    /// The same for a result's content that takes the place of another.
    pub(super) fn ensure_breakpoints_of(
        &mut self,
        content: &[u8],
        instead_of: usize,
    ) -> Result<(), Error> {
        let more = Value::whole(content).map_or(0, breakpoints_in);
        self.ensure_breakpoints(more, instead_of)
    }
}
