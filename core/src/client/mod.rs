//! What the clients with a heap share, `toolrunner_std` and `toolrunner_blocking`. It is hidden here,
//! so that it is documented only where a client exports it.

mod build;
pub(crate) mod envelope;
mod events;
pub(crate) mod gate;
pub(crate) mod owned_call;
pub(crate) mod params;
pub(crate) mod results;
mod secret;
mod turn;

use alloc::vec::Vec;
use core::ops::Deref;

use crate::error::Misuse;
use crate::json::write::quoted;
use crate::run::{CallIndex, Run};

/// A run's tools, which the run owns, as the loop takes them.
#[derive(Debug)]
pub struct OwnTools<T>(pub T);

impl<T> Deref for OwnTools<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Returns the unanswered call with this id.
///
/// # Errors
/// Returns `Misuse` if no unanswered call has this id.
pub fn open_call(run: &Run<'_>, id: &str) -> Result<CallIndex, Misuse> {
    run.calls()
        .find(|&i| run.call(i).is_some_and(|call| !call.is_answered && call.id == *id))
        .ok_or(Misuse::NoSuchCall)
}

/// Adds a member to an object whose closing brace is not yet written.
pub fn push_member(object: &mut Vec<u8>, name: &str, value: &[u8]) {
    object.push(if object.is_empty() { b'{' } else { b',' });
    object.extend_from_slice(quoted(name).as_bytes());
    object.push(b':');
    object.extend_from_slice(value);
}
