//! Cache breakpoints, counted when they are added: the fifth in a request is refused before it is
//! sent.

use super::Run;
use crate::error::{Error, Misuse};
use crate::history::{MAX_BREAKPOINTS, breakpoints, breakpoints_in, breakpoints_in_front};
use crate::json::Value;
use crate::transcript::Span;

/// What is known about the breakpoints of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    /// The number of breakpoints in the first `len` bytes of the conversation, which no longer
    /// change.
    count: u16,
    /// The number of breakpoints before the messages, as far as it is known.
    in_front: u16,
    len: u32,
}

impl Marks {
    pub(super) const NONE: Self = Self { count: 0, len: 0, in_front: 0 };

    /// Checks that the conversation may have this number of breakpoints.
    pub(super) fn ensure(self, count: usize) -> Result<(), Error> {
        let count = count + usize::from(self.in_front);
        if count > MAX_BREAKPOINTS { Err(Misuse::Breakpoints(count).into()) } else { Ok(()) }
    }

    /// Forgets the count if the part that was counted has changed.
    pub(super) fn changed_at(&mut self, at: usize) {
        if u32::try_from(at).is_ok_and(|at| at < self.len) {
            self.forget();
        }
    }

    /// Forgets the count, because the beginning of the conversation has changed.
    pub(super) const fn forget(&mut self) {
        (self.count, self.len) = (0, 0);
    }
}

impl Run<'_> {
    /// Counts the cache breakpoints before the conversation. `front` is the beginning of each
    /// request's body, up to `"messages":[`, in pieces of any size. These breakpoints count when
    /// [`append`](Self::append), [`replace_history`](Self::replace_history),
    /// [`answer`](Self::answer), [`replace_result`](Self::replace_result) and
    /// [`add_to_result`](Self::add_to_result) check the limit. The driver calls this for each
    /// request. A front end may call it before the first request, or when the front changes.
    ///
    /// # Errors
    /// `Misuse` if the request would have more breakpoints than the API accepts.
    pub fn note_front(&mut self, front: &[&[u8]]) -> Result<(), Error> {
        self.note_breakpoints(breakpoints_in_front(front))
    }

    /// Does the same as [`note_front`](Self::note_front) for a front with this number of
    /// breakpoints.
    pub(crate) fn note_breakpoints(&mut self, in_front: usize) -> Result<(), Error> {
        self.marks.in_front = u16::try_from(in_front).unwrap_or(u16::MAX);
        self.check_breakpoints()
    }

    /// Checks the number of breakpoints in the next request, with the front that was noted last.
    ///
    /// # Errors
    /// `Misuse` if the request would have more breakpoints than the API accepts.
    #[inline]
    pub(crate) fn check_breakpoints(&mut self) -> Result<(), Error> {
        let count = self.breakpoints();
        self.marks.ensure(count)
    }

    /// Returns the number of cache breakpoints in the conversation.
    fn breakpoints(&mut self) -> usize {
        let mark = self.turn.mark;
        let known = usize::try_from(self.marks.len).ok().filter(|known| *known <= mark);
        // The part before the last turn does not change, so it is counted once.
        let (known, before) = known.map_or((0, 0), |known| (known, usize::from(self.marks.count)));
        let bytes = self.transcript.bytes();
        let settled = before + breakpoints(bytes.get(known..mark).unwrap_or_default());
        let last = breakpoints(bytes.get(mark..).unwrap_or_default());
        self.marks.len = u32::try_from(mark).unwrap_or(0);
        self.marks.count =
            if self.marks.len == 0 { 0 } else { u16::try_from(settled).unwrap_or(u16::MAX) };
        settled + last
    }

    /// Checks that `more` breakpoints may replace `fewer` existing ones.
    ///
    /// # Errors
    /// `Misuse` with the number that the request would have.
    pub(super) fn ensure_breakpoints(&mut self, more: usize, fewer: usize) -> Result<(), Error> {
        if more <= fewer {
            return Ok(());
        }
        let count = self.breakpoints() + more;
        self.marks.ensure(count.saturating_sub(fewer))
    }

    /// Returns the number of breakpoints that the request would have with this result in the tail,
    /// if that is more than allowed.
    pub(super) fn excess_of(&mut self, content: Span) -> Option<usize> {
        let more = Value::whole(content.of(self.transcript.whole())).map_or(0, breakpoints_in);
        match self.ensure_breakpoints(more, 0) {
            Err(Error::Misuse(Misuse::Breakpoints(count))) => Some(count),
            _ => None,
        }
    }

    /// Checks that the breakpoints of a result's content may replace `instead_of` existing ones.
    pub(super) fn ensure_breakpoints_of(
        &mut self,
        content: &[u8],
        instead_of: usize,
    ) -> Result<(), Error> {
        let more = Value::whole(content).map_or(0, breakpoints_in);
        self.ensure_breakpoints(more, instead_of)
    }
}
