//! Whether a transcript is valid: what the API would take, were it sent now.

pub use crate::error::{Invalid, Rule};
pub use crate::history::Tail;

/// Checks that a transcript is valid. `messages` are the message objects with commas between, as a
/// transcript keeps them: no brackets around. No message at all is valid, though it is no request.
///
/// The rules are those that a [`Run`](crate::run::Run) keeps by itself and asks of what its caller
/// adds: see [`Rule`]. Two messages of the same role in a row are valid, and the id of a call may
/// occur again in a later turn. Not judged:
/// - calls in the last assistant message, as far as [`Tail::Open`] allows it;
/// - calls of an assistant message that another one follows directly: a paused turn, whose calls
///   nobody answers;
/// - calls before the last `fallback` block of a message: they may be answered, or not;
/// - whether server tools were answered, and fields that no rule names.
///
/// # Errors
/// The first rule that is broken, and where.
pub fn check(messages: &[u8], tail: Tail) -> Result<(), Invalid> {
    crate::history::check(messages, crate::history::Before::Nothing, tail).map(|_| ())
}
