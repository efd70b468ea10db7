//! The code that a program links only if it uses it.
//!
//! A run reaches the code of these features through function pointers. The method with which a
//! caller turns a feature on sets the pointer, and nothing else refers to the code, so that the
//! linker omits it from a program that never does.
//!
//! The documentation of each `enable_…` states the bytes of flash that a program without the
//! feature saves on a Cortex-M4. `tests/no-panic/extras.py` measures them.

use super::thread::Parts;
use super::{CallIndex, Run, broken, thread, unique};
use crate::error::Error;
use crate::policy::Limit;
use crate::time::Instant;
use crate::turn::StreamEvent;
use crate::wire::thread::THREADS_BETA;
use crate::wire::{ServerCompaction, ThreadContinuation};

/// The features that are enabled.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extras {
    pub(super) given: Option<&'static CallerMessages>,
    /// Keeps a part of a reply that broke off. Returns whether there is one.
    pub(super) keep: Option<fn(&mut Run<'_>) -> bool>,
    /// Returns the limit that forbids another request, if one does.
    pub(super) limits: Option<fn(&Run<'_>, Instant) -> Option<Limit>>,
    /// Frees space before a request. Returns whether there is enough.
    pub(super) room: Option<fn(&mut Run<'_>) -> bool>,
    pub(super) summaries: Option<&'static Summaries>,
    pub(super) threads: Option<&'static Threads>,
    pub(super) unique: Option<&'static UniqueIds>,
}

/// The code for what only messages from the caller contain.
#[derive(Debug)]
pub(super) struct CallerMessages {
    /// Returns whether the conversation removes the tool of a call. Only messages from the caller
    /// do that, and compaction blocks that summarize them.
    pub(super) is_withdrawn: fn(&mut Run<'_>, CallIndex) -> bool,
    /// Checks that the model can continue the last message, if that is its own.
    pub(super) ensure_prefill: fn(&mut Run<'_>) -> Result<(), Error>,
}

/// The code of summaries, on the client and on the server.
#[derive(Debug)]
pub(super) struct Summaries {
    /// Begins a summary on the client if one is due. Returns whether it did.
    pub(super) begin: fn(&mut Run<'_>) -> bool,
    /// Returns the messages of the request for a summary, and what closes its body. Returns `None`
    /// if no summary is in progress.
    pub(super) parts: for<'a> fn(&'a Run<'_>) -> Option<Parts<'a>>,
    /// Ends a summary with the reply that is complete.
    pub(super) end: fn(&mut Run<'_>) -> Result<(), Error>,
    /// Abandons a summary: the conversation is what it was.
    pub(super) restore: fn(&mut Run<'_>),
    /// The code of a compaction on the server, if one was requested.
    pub(super) on_server: Option<OnServer>,
}

/// The code of a compaction on the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnServer {
    /// Begins the compaction if it was requested. Returns whether it did.
    pub(super) begin: fn(&mut Run<'_>) -> bool,
    /// The rules for the members of its request.
    pub(super) rules: ServerCompaction,
}

impl Summaries {
    const ON_CLIENT: Self = Self {
        begin: |run| run.begin_here(),
        parts: |run| run.parts_of_summary(),
        end: |run| {
            run.summary.current.take().map_or(Ok(()), |compacting| run.end_compaction(compacting))
        },
        restore: |run| {
            if let Some(compacting) = run.summary.current.take() {
                run.restore(compacting);
            }
        },
        on_server: None,
    };
    const EVERYWHERE: Self = Self {
        on_server: Some(OnServer {
            begin: |run| run.begin_on_server(),
            rules: ServerCompaction::RULES,
        }),
        ..Self::ON_CLIENT
    };
}

/// The code of message threads.
#[derive(Debug)]
pub(super) struct Threads {
    /// Decides what the next request contains. Returns whether it can be sent.
    pub(super) begin: fn(&mut Run<'_>) -> Result<bool, Error>,
    /// Returns the messages of the current request, and what closes its body.
    pub(super) parts: for<'a> fn(&'a Run<'_>) -> Option<Parts<'a>>,
    /// Looks at an event of the message as a whole.
    pub(super) see: fn(&mut Run<'_>, StreamEvent) -> Result<(), Error>,
    /// Ends a request whose reply is complete.
    pub(super) end: fn(&mut Run<'_>),
    /// Returns whether a different request may succeed after the error.
    pub(super) recovers: fn(&mut Run<'_>, &Error) -> bool,
    /// Records the members that a thread keeps.
    pub(super) note_front: fn(&mut Run<'_>, u32) -> Result<(), Error>,
    /// The rules for the members of a request that continues a thread.
    pub(super) continuation: ThreadContinuation,
    /// The beta of a request with a thread.
    pub(super) beta: &'static str,
}

/// The code that renames calls.
#[derive(Debug)]
pub(super) struct UniqueIds {
    /// Renames the call whose block has just begun, if it is one and its id is in use.
    pub(super) in_reply: fn(&mut Run<'_>, StreamEvent) -> Result<StreamEvent, Error>,
    /// Returns the messages with unique ids, or `None` if the ids are already unique. Only messages
    /// that begin before the position in the second argument may change.
    #[cfg(feature = "alloc")]
    pub(super) in_history: fn(&[u8], usize) -> Option<alloc::vec::Vec<u8>>,
}

impl Extras {
    pub(super) const NONE: Self = Self {
        given: None,
        keep: None,
        limits: None,
        room: None,
        summaries: None,
        threads: None,
        unique: None,
    };

    /// 1,036 bytes in the agent of `examples/firmware`, without the checks of the messages. Not in
    /// `extras.py`, because the image that it builds always takes messages from the caller.
    pub(super) const fn enable_given_messages(&mut self) {
        const CODE: CallerMessages = CallerMessages {
            is_withdrawn: |run, i| run.finds_removal(i),
            ensure_prefill: |run| run.ensure_given_prefill(),
        };
        self.given = Some(&CODE);
    }

    /// 1,656 bytes.
    pub(super) const fn enable_kept_blocks(&mut self) {
        self.keep = Some(broken::keep_blocks);
    }

    pub(super) const fn disable_kept_blocks(&mut self) {
        self.keep = None;
    }

    /// 4,912 bytes.
    pub(super) const fn enable_message_threads(&mut self) {
        const CODE: Threads = Threads {
            begin: thread::begin,
            parts: thread::parts,
            see: thread::see,
            end: thread::end,
            recovers: thread::recovers,
            note_front: thread::note_front,
            continuation: ThreadContinuation::RULES,
            beta: THREADS_BETA,
        };
        self.threads = Some(&CODE);
    }

    /// 316 bytes.
    pub(super) const fn enable_limits(&mut self) {
        self.limits = Some(|run, now| run.look_at_limits(now));
    }

    /// 712 bytes.
    pub(super) const fn enable_room(&mut self) {
        self.room = Some(|run| run.make_room());
    }

    /// 3,160 bytes.
    pub(super) const fn enable_summaries(&mut self) {
        if self.summaries.is_none() {
            self.summaries = Some(&Summaries::ON_CLIENT);
        }
    }

    /// 4,940 bytes, summaries included.
    pub(super) const fn enable_server_compaction(&mut self) {
        self.summaries = Some(&Summaries::EVERYWHERE);
    }

    /// 1,968 bytes.
    pub(super) const fn enable_unique_ids(&mut self) {
        const CODE: UniqueIds = UniqueIds {
            in_reply: unique::rename_begun,
            #[cfg(feature = "alloc")]
            in_history: unique::renamed,
        };
        self.unique = Some(&CODE);
    }

    pub(super) const fn disable_unique_ids(&mut self) {
        self.unique = None;
    }
}
