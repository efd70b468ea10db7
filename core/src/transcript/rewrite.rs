//! A message that is written again from parts of itself.

use super::{Span, Transcript};

/// The position up to which the end of the conversation was written again. It never overtakes the
/// parts that are kept, so one pass needs no additional memory.
///
/// ```text
///  ├── conversation ─┼─ written again ─┼─ gap ─┼─ not read yet ─┤ len
///                                      at
/// ```
#[derive(Debug)]
pub(crate) struct Rewrite {
    at: usize,
}

impl Rewrite {
    /// Begins at `at`.
    pub(crate) const fn new(at: usize) -> Self {
        Self { at }
    }

    /// Returns the position.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// Writes `new`, for which there is space in the gap or behind the conversation.
    pub(crate) fn add(&mut self, t: &mut Transcript<'_>, new: &[u8]) {
        t.touch(self.at);
        t.tail_from(self.at).add(new);
        self.at += new.len();
    }

    /// Moves a part of the conversation that was not read yet to the position.
    pub(crate) fn keep(&mut self, t: &mut Transcript<'_>, part: Span) {
        t.touch(self.at);
        t.move_within(part, self.at);
        self.at += part.len();
    }

    /// Writes `closing` and makes it the end of the conversation.
    pub(crate) fn end(mut self, t: &mut Transcript<'_>, closing: &[u8]) {
        self.add(t, closing);
        t.truncate(self.at);
    }
}
