//! The number by which a run names a call.

use core::fmt;

/// The number of a call in its turn: its position among the calls of the reply, counted from 0.
///
/// A run hands it out ([`Run::calls`](super::Run::calls), [`Run::next_call`](super::Run::next_call)
/// and others), and its methods accept it. It names a call of the last turn only: when the next
/// reply is complete, it names a call of that reply, or none. A call's id identifies it
/// permanently.
///
/// The conversion [`From<usize>`] and [`get`](Self::get) are for programs that store the number
/// elsewhere, such as across a C interface. The number of a call that does not exist does no harm:
/// the methods of the run return `None`, `false` or `Misuse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct CallIndex(pub(super) usize);

impl CallIndex {
    /// Returns the position, counted from 0.
    pub const fn get(self) -> usize {
        self.0
    }
}

impl From<usize> for CallIndex {
    fn from(position: usize) -> Self {
        Self(position)
    }
}

/// Writes the position, counted from 0.
impl fmt::Display for CallIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
