//! The tail of the transcript: the free bytes behind the conversation.

use super::{Span, Transcript, copy};
use crate::error::Capacity;
use crate::json::Sink;

/// A part of the tail. It is written there, and then becomes part of the conversation in one move,
/// or is forgotten.
///
/// ```text
///  0                            len                         capacity
///  ├── conversation ─────────────┼──────┤ start … end ├────────┤
///              ▲                            │
///              └──────── insert_at ─────────┘
/// ```
#[derive(Debug)]
pub(crate) struct Tail<'t, 'b> {
    transcript: &'t mut Transcript<'b>,
    span: Span,
}

impl<'b> Transcript<'b> {
    /// Returns an empty part at the start of the tail.
    pub(crate) const fn tail(&mut self) -> Tail<'_, 'b> {
        let len = self.len;
        self.tail_from(len)
    }

    /// Returns an empty part that begins at `at`.
    pub(crate) const fn tail_from(&mut self, at: usize) -> Tail<'_, 'b> {
        self.tail_of(Span::new(at, at))
    }

    /// Returns an empty part that begins at `at`, which may be before the end of the conversation:
    /// then the bytes from there on are no longer part of it, and the caller writes them again
    /// before it inserts the part there. Nothing is recorded as changed, because the same
    /// bytes follow the insertion again.
    pub(crate) const fn reopen(&mut self, at: usize) -> Tail<'_, 'b> {
        if at < self.len {
            self.len = at;
        }
        self.tail_from(at)
    }

    /// Returns a part that was written before.
    pub(crate) const fn tail_of(&mut self, span: Span) -> Tail<'_, 'b> {
        Tail { transcript: self, span }
    }
}

impl Tail<'_, '_> {
    /// Returns where the part is.
    pub(crate) const fn span(&self) -> Span {
        self.span
    }

    /// Appends bytes for which there is space: [`reserve`](Transcript::reserve) was called.
    // Not inlined on a chip, because there are many callers.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(crate) fn add(&mut self, new: &[u8]) {
        let place = self.transcript.whole_mut().get_mut(self.span.end..);
        if let Some(place) = place.and_then(|rest| rest.get_mut(..new.len())) {
            copy(place, new);
        }
        self.span.end += new.len();
    }

    /// Appends a copy of a part of the conversation, for which there is space.
    pub(crate) fn copy(&mut self, from: Span) {
        let (used, at) = (self.transcript.len, self.span.end);
        if let Some((conversation, tail)) = self.transcript.whole_mut().split_at_mut_checked(used)
            && let Some(place) =
                tail.get_mut(at - used..).and_then(|rest| rest.get_mut(..from.len()))
        {
            copy(place, from.of(conversation));
        }
        self.span.end += from.len();
    }

    /// Adds the next `len` bytes, which are already written.
    pub(crate) const fn take_written(&mut self, len: usize) {
        self.span.end += len;
    }

    /// Makes the part a part of the conversation, at `at`. The bytes after `at` move towards the
    /// end. The rest of the tail is lost. Returns its length.
    #[inline]
    pub(crate) fn insert_at(self, at: usize) -> usize {
        self.transcript.insert_tail(at, self.span);
        self.span.len()
    }

    /// Makes the part the end of the conversation, after `before`. Returns where it is then.
    pub(crate) fn append_after(self, before: &[u8]) -> Result<usize, Capacity> {
        let at = self.transcript.len;
        self.transcript.insert_tail(at, self.span);
        self.transcript.insert(at, before)?;
        Ok(at + before.len())
    }

    /// Makes the part replace `old`, a part of the conversation that is not empty.
    pub(crate) fn replace(self, old: Span) {
        self.transcript.remove(old);
        self.transcript.insert_tail(old.start, self.span);
    }

    /// Moves the part towards the end by `by` bytes, so that `by` bytes can be inserted before it.
    /// Returns its new range.
    pub(crate) fn shift(self, by: usize) -> Result<Span, Capacity> {
        self.transcript.shift_tail(self.span, by)?;
        Ok(self.span.shifted(by))
    }

    /// Moves the part to the start of the tail, after the conversation was truncated. Returns its
    /// new range, which is empty if nothing was kept.
    pub(crate) fn keep(self) -> Span {
        self.transcript.keep_in_tail(self.span)
    }
}

impl Sink for Tail<'_, '_> {
    // Not inlined on a chip, because there are many callers.
    #[cfg_attr(target_os = "none", inline(never))]
    fn put(&mut self, new: &[u8]) -> Result<(), Capacity> {
        self.transcript.put_at(self.span.end, new)?;
        self.span.end += new.len();
        Ok(())
    }
}
