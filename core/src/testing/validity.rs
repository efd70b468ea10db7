//! A check that a transcript is valid: that the API would accept it if it were sent now.

pub use crate::error::{Invalid, Rule};
pub use crate::history::Tail;

/// Checks that a transcript is valid.
///
/// `messages` are the message objects, separated by commas, as in a transcript: without surrounding
/// brackets. An empty list is valid, although it cannot be sent.
///
/// The rules are those that a [`Run`](crate::run::Run) follows and that it requires of messages
/// that its caller adds; see [`Rule`]. Two consecutive messages of the same role are valid, and the
/// id of a call may occur again in a later turn. The check ignores:
/// - calls in the last assistant message, as far as [`Tail::Open`] allows them;
/// - calls of an assistant message that is directly followed by another: a paused turn, whose calls
///   are not answered;
/// - calls before the last `fallback` block of a message: they may be answered or not;
/// - whether server tools were answered, and fields that no rule names.
///
/// # Errors
/// Returns the first rule that is broken, and its position.
pub fn check(messages: &[u8], tail: Tail) -> Result<(), Invalid> {
    crate::history::check(messages, crate::history::PriorMessages::Nothing, tail).map(|_| ())
}
