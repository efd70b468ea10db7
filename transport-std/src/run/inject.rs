//! Messages from elsewhere for a run that is under way.

use core::fmt;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, Weak};

use toolrunner_core::__private::drive::Exchange;
use toolrunner_core::error::Misuse;
use toolrunner_core::message::Role;
use toolrunner_core::run::Run as Machine;
use toolrunner_core::transcript::Transcript;

use super::{Content, Run};
use crate::error::Error;
use crate::lock::lock;

/// The messages that wait, as JSON.
pub(super) type Queue = Mutex<VecDeque<String>>;

/// Injects messages into a run from anywhere, also while the run is driven: see
/// [`Run::injector`]. Clones inject into the same run.
#[derive(Clone)]
pub struct Injector {
    queue: Weak<Queue>,
}

impl Injector {
    /// Queues a message of the user: a text, or a [`Content`]. The run appends it after the results
    /// of its next calls, or before its next request. A run that would end with the model's reply
    /// continues with the message instead. The limits continue to count.
    ///
    /// The message waits while a reply is received, while the server has paused a turn, and after
    /// the run was stopped or cancelled, has reached a limit, or needs an answer. It also waits if
    /// the run is over and nobody drives it: the next call of the run continues it.
    ///
    /// # Errors
    /// Returns `Misuse` if the API would refuse the message, `Invalid` for a mistake in the
    /// content, or `Misuse` if the run no longer exists. Then nothing is queued. If the message
    /// does not fit into the conversation when it is appended, or would be its fifth cache
    /// breakpoint, the call that drives the run returns the error, and the message is discarded.
    pub fn user(&self, content: impl Into<Content>) -> Result<(), Error> {
        let message = content.into().message_json(Role::User)?;
        // The rules of the API, before anyone relies on the message.
        Machine::new(Transcript::growing_to(Transcript::GROWING_LIMIT)).append(&message)?;
        let gone = Error::Misuse(Misuse::State("the run no longer exists"));
        let queue = self.queue.upgrade().ok_or(gone)?;
        lock(&queue).push_back(message);
        Ok(())
    }

    /// Returns the number of messages that wait.
    pub fn waiting(&self) -> usize {
        self.queue.upgrade().map_or(0, |queue| lock(&queue).len())
    }
}

impl fmt::Debug for Injector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injector").field("waiting", &self.waiting()).finish()
    }
}

impl Run {
    /// Returns a handle that injects messages into this run from anywhere, also while it is driven.
    /// A [snapshot](Self::snapshot) does not contain messages that still wait.
    ///
    /// ```no_run
    /// # async fn f(mut run: toolrunner_std::Run) -> Result<(), toolrunner_std::Error> {
    /// let injector = run.injector();
    /// let running = tokio::spawn(async move { run.until_done().await });
    /// injector.user("Only look at files from this year.")?;
    /// # let _ = running.await;
    /// # Ok(()) }
    /// ```
    pub fn injector(&mut self) -> Injector {
        Injector { queue: Arc::downgrade(self.injected.get_or_insert_default()) }
    }

    /// Appends the messages that were injected, if the run can take them now.
    pub(super) fn deliver(&mut self) -> Result<(), Error> {
        let Some(queue) = self.injected.clone() else { return Ok(()) };
        let next = || lock(&queue).pop_front();
        if lock(&queue).is_empty() || !self.can_take_messages() {
            return Ok(());
        }
        while let Some(message) = next() {
            self.append(message)?;
        }
        Ok(())
    }

    fn can_take_messages(&self) -> bool {
        !self.is_cancelled()
            && matches!(self.exchange, Exchange::Idle)
            && self.machine.takes_messages()
    }
}
