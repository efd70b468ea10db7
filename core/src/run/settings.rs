//! How a run behaves, as its caller set it. A snapshot contains none of this.

use super::extras::Extras;
use super::{Compaction, OnBreak, Run, WhenFull};
use crate::policy::{Limits, RetryPolicy};
use crate::wire::Config;

/// The settings of a run.
#[derive(Debug)]
pub(super) struct Settings {
    pub(super) limits: Limits,
    pub(super) retry: RetryPolicy,
    /// Whether the retry policy was set, by the caller or by a configuration.
    has_retry: bool,
    pub(super) when_full: WhenFull,
    pub(super) compaction: Option<Compaction>,
    pub(super) extras: Extras,
}

impl Settings {
    /// Creates the default settings.
    // Not a constant: a chip would copy it, although most of it is zero.
    #[inline]
    pub(super) fn new() -> Self {
        Self {
            limits: Limits::default(),
            retry: RetryPolicy::DEFAULT,
            has_retry: false,
            when_full: WhenFull::NEVER,
            compaction: None,
            extras: Extras::NONE,
        }
    }
}

impl Run<'_> {
    /// Returns the limits of this run, to be changed at any time. A run that ended at a limit
    /// continues when that limit is raised.
    ///
    /// Enables the code that checks limits: a program that never calls this method, and
    /// sets no limits in the [`Config`], does not contain it, which saves 316 bytes on a Cortex-M4. To read the
    /// limits, use [`limits`](Self::limits).
    pub const fn limits_mut(&mut self) -> &mut Limits {
        self.settings.extras.enable_limits();
        &mut self.settings.limits
    }

    /// Returns the limits of this run.
    pub const fn limits(&self) -> &Limits {
        &self.settings.limits
    }

    /// Returns the retry policy, to be changed at any time.
    pub const fn retry_policy_mut(&mut self) -> &mut RetryPolicy {
        self.settings.has_retry = true;
        &mut self.settings.retry
    }

    /// Applies the limits and the retry policy of `config`. Neither replaces a value that was set
    /// on this run before, by [`limits_mut`](Self::limits_mut),
    /// [`retry_policy_mut`](Self::retry_policy_mut) or an earlier call of this method. A
    /// [`Driver`](crate::drive::Driver) calls it before the first step.
    pub const fn configure(&mut self, config: &Config<'_>) {
        if self.settings.extras.limits.is_none() {
            *self.limits_mut() = config.limits;
        }
        if !self.settings.has_retry {
            *self.retry_policy_mut() = config.retry;
        }
    }

    /// Returns the setting for a transcript that is nearly full, to be changed at any time.
    /// Default: [`WhenFull::NEVER`].
    ///
    /// Enables the code that frees space: a program that never calls this method does not contain it, which
    /// saves 712 bytes on a Cortex-M4.
    pub const fn when_full_mut(&mut self) -> &mut WhenFull {
        self.settings.extras.enable_room();
        &mut self.settings.when_full
    }

    /// Returns the setting for summaries on the client, to be changed at any time. `None`, the
    /// default, means never.
    ///
    /// Enables the code of summaries: a program that never calls this method does not contain it, which
    /// saves 3,160 bytes on a Cortex-M4.
    pub const fn compaction_mut(&mut self) -> &mut Option<Compaction> {
        self.settings.extras.enable_summaries();
        &mut self.settings.compaction
    }

    /// Sets what happens to a reply that breaks off and is not requested again. Default:
    /// [`OnBreak::Drop`]. The error is returned in both cases. A reply that is abandoned, stopped
    /// or cancelled, or that does not fit, is always discarded. Once one of its calls has started,
    /// which requires `alloc`, a reply is never discarded, regardless of this setting.
    pub fn set_on_break(&mut self, on_break: OnBreak) {
        match on_break {
            OnBreak::Drop => self.settings.extras.disable_kept_blocks(),
            OnBreak::KeepBlocks => self.settings.extras.enable_kept_blocks(),
        }
    }
}
