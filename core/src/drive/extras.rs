//! The code that a program links only if the configuration of its driver uses it.
//!
//! A driver points to the function that applies its configuration to a run. Nothing else refers to
//! these functions, so that the linker omits the limits and the threads from a program whose
//! configuration is a constant without them.
//!
//! The documentation of each `enable_…` states the bytes of flash that a program without the
//! feature saves on a Cortex-M4. `tests/no-panic/extras.py` measures them.

use crate::error::Error;
use crate::json::Decimal;
use crate::run::Run;
use crate::tool::Toolbox;
use crate::wire::request::listed;
use crate::wire::{Config, Front};

/// Applies a configuration to a run.
pub(super) type Configure<B> = fn(&mut Run<'_>, &Config<'_>, &B) -> Result<(), Error>;

/// 388 bytes: the limits and the retry policy.
pub(super) const fn enable_run_settings<B: ?Sized>() -> Configure<B> {
    |run, config, _| {
        run.configure(config);
        Ok(())
    }
}

/// 6,432 bytes: the message thread, the limits and the retry policy.
pub(super) const fn enable_thread_settings<B: Toolbox + ?Sized>() -> Configure<B> {
    |run, config, tools| {
        run.configure(config);
        run.set_message_thread(config.message_thread);
        let max_tokens = Decimal::new(0);
        run.note_thread_front(Front::new(config, &max_tokens), listed(tools))
    }
}
