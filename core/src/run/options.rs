//! The options of a run as plain data, for clients that configure a run before it exists, restore
//! it from a snapshot, or copy it.

use super::{Compaction, OnBreak, Run, WhenFull};
use crate::error::Error;
use crate::policy::{Limits, RetryPolicy};
use crate::wire::MessageThread;

/// All options of a run, which a snapshot does not contain. To add an option for every client, add
/// a field, and its method to the builder of all clients in `client/build.rs`.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// See [`Run::limits_mut`].
    pub limits: Limits,
    /// See [`Run::retry_policy_mut`].
    pub retry: RetryPolicy,
    /// See [`Run::when_full_mut`].
    pub when_full: WhenFull,
    /// See [`Run::compaction_mut`].
    pub compaction: Option<Compaction>,
    /// See [`Run::set_on_break`].
    pub on_break: OnBreak,
    /// See [`Run::set_unique_ids`].
    pub unique_ids: bool,
    /// See [`Run::set_message_thread`].
    pub message_thread: MessageThread,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            limits: Limits::NONE,
            retry: RetryPolicy::DEFAULT,
            when_full: WhenFull::NEVER,
            compaction: None,
            on_break: OnBreak::Drop,
            unique_ids: false,
            message_thread: MessageThread::Off,
        }
    }
}

impl Options {
    /// Returns the options of a run.
    pub fn of(run: &Run<'_>) -> Self {
        let settings = &run.settings;
        Self {
            limits: settings.limits,
            retry: settings.retry,
            when_full: settings.when_full,
            compaction: settings.compaction,
            on_break: settings.extras.keep.map_or(OnBreak::Drop, |_| OnBreak::KeepBlocks),
            unique_ids: settings.extras.unique.is_some(),
            message_thread: run.message_thread(),
        }
    }

    /// Sets all options of a run.
    ///
    /// # Errors
    /// Those of [`Run::set_unique_ids`], which renames the calls of the conversation. Then nothing
    /// changes.
    pub fn apply(self, run: &mut Run<'_>) -> Result<(), Error> {
        // Exhaustive, so that no option is forgotten.
        let Self { limits, retry, when_full, compaction, on_break, unique_ids, message_thread } =
            self;
        run.set_unique_ids(unique_ids)?;
        *run.limits_mut() = limits;
        *run.retry_policy_mut() = retry;
        *run.when_full_mut() = when_full;
        *run.compaction_mut() = compaction;
        run.set_on_break(on_break);
        run.set_message_thread(message_thread);
        Ok(())
    }
}
