//! Message threads on the wire: a conversation that the server keeps, so that a request contains
//! only what is new. Source: `lib/threads` of the official Python package 2.14.0, beta
//! `message-threads-2026-08-12`.

use super::compaction::{Level, WriteMembers, write_kept};
use crate::json::Object;

/// The beta that a request with the member `thread` needs.
pub(crate) const THREADS_BETA: &str = "message-threads-2026-08-12";
/// The end of a request that starts a thread, after its messages.
pub(crate) const CREATE: &[u8] = b"],\"thread\":{\"type\":\"create\"}}";
/// The end of a request that continues a thread: the id of the last reply is between the two parts.
pub(crate) const CONTINUE: (&[u8], &[u8]) =
    (b"],\"thread\":{\"type\":\"continue\",\"previous_message_id\":\"", b"\"}}");

/// The members of a request that the server takes from the thread. A request that continues a
/// thread must not contain them.
pub(crate) const KEPT_BY_THREAD: [&str; 2] = ["system", "tools"];

/// Whether the server keeps the conversation in a message thread, so that each request contains
/// only the new messages.
///
/// The first request creates the thread with the whole conversation. Later requests continue it.
/// The whole conversation is sent again if the server loses the thread, if the conversation changed
/// before its new messages, if a reply broke off, was refused or came from a fallback model, or if
/// the system prompt or the tools changed. It is sent without a thread, from then on, if the server
/// refuses threads, if it ignores the thread, or if it does not report what shows that it keeps
/// one: the ids and the input tokens of its replies. It ignores the thread if it reports fewer
/// input tokens, including caches, than for an earlier request of the thread. A reply to such a
/// request is discarded. If the new messages alone have more tokens than the earlier requests, this
/// is not noticed.
///
/// A compaction, on the client or by the server, is a request with the whole conversation and
/// without the thread. The conversation that it leaves starts a new thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum MessageThread {
    /// No thread: each request contains the whole conversation.
    #[default]
    Off,
    /// The conversation also stays here, so that it can be sent again.
    Keep,
    /// Once the server has shown that it keeps the thread, the memory of the messages before the
    /// last reply is freed. A chip can then have a conversation that is larger than its transcript.
    ///
    /// From then on the conversation exists only on the server. If the server loses the thread, the
    /// run ends with [`Outcome::ThreadLost`](crate::run::Outcome::ThreadLost). The reply cannot be
    /// requested again ([`Run::ask_again`](crate::run::Run::ask_again)), compactions do not begin,
    /// and [`Run::messages`](crate::run::Run::messages) returns only the messages that are still
    /// here.
    ///
    /// Nothing is freed while [`Run::set_unique_ids`](crate::run::Run::set_unique_ids) is on, or if
    /// a message that would be freed adds or removes a tool.
    Free,
}

/// Writes the caller's members in a request that continues a thread: without those that the server
/// takes from the thread. This is a function pointer, so that the code is linked only into programs
/// that use threads.
#[derive(Clone, Copy, Debug)]
pub struct ThreadContinuation {
    pub(super) write: WriteMembers,
}

impl ThreadContinuation {
    /// The rules of this module.
    pub(crate) const RULES: Self = Self {
        write: |members, container, comma, push| {
            let members = members.as_bytes();
            let level = Level::Continuation { container };
            write_kept(push, members, Object::inside(members), level, comma)
        },
    };
}
