//! What surrounds a call, for tools that want to know.

use core::any::Any;
use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use super::ToolError;
use crate::json::Text;
use crate::time::Instant;

/// What surrounds one call: which it is, until when it may take, whether it was cancelled, and what
/// all tools of the run share.
///
/// From [`ToolCall::context`](super::ToolCall::context).
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ToolContext<'a> {
    /// The call's id, unique in the conversation.
    pub id: Text<'a>,
    /// The tool's name.
    pub name: Text<'a>,
    /// Which turn of the run asked for it, from 1.
    pub turn: u32,
    /// When the call will be dropped, by the run's clock; nothing if it may take as long as it
    /// likes.
    pub deadline: Option<Instant>,
    pub(super) host: Option<&'a dyn ToolHost>,
}

/// What a front end offers to the tools that it runs, behind [`ToolContext`].
pub trait ToolHost: Send + Sync {
    /// Whether the call is to end soon: its result is not wanted any more, or only for a short
    /// time.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Ready when [`is_cancelled`](Self::is_cancelled) is true.
    fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
        let _ = context;
        if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The answer to what the call asks, as JSON, if it is known; else takes note of the question,
    /// and the call is left to the caller. `None` before the answer is known; an error where nobody
    /// can be asked, as by default.
    ///
    /// # Errors
    /// Nobody can be asked.
    fn ask(&self, question: &str) -> Result<Option<&str>, ToolError> {
        let _ = question;
        Err(ToolError::new("Error: nobody can be asked here"))
    }

    /// What all tools of the run share; nothing if the run was given nothing.
    fn state(&self) -> Option<&(dyn Any + Send + Sync)> {
        None
    }
}

impl<'a> ToolContext<'a> {
    /// Whether the call is to end soon: what it gives in the grace period still counts.
    pub fn is_cancelled(&self) -> bool {
        self.host.is_some_and(ToolHost::is_cancelled)
    }

    /// Waits until the call is cancelled; for ever if nobody does. For a `select` beside the work.
    pub async fn cancelled(&self) {
        poll_fn(|context| self.host.map_or(Poll::Pending, |host| host.poll_cancelled(context)))
            .await;
    }

    /// Asks a question, as JSON, of whoever runs the agent, and gives the answer, as JSON.
    ///
    /// The first time there is no answer yet. The call then ends with the error that this method
    /// returns (return it at once, with `?`); the error is not a result, and the model does not see
    /// it. The run goes on with its other calls and then waits. When the question is answered the
    /// tool is called again from its beginning, with the same input, and this method returns the
    /// answer. So ask before you do anything that must not happen twice. A tool may ask several
    /// questions, always in the same order.
    ///
    /// # Errors
    /// The answer is not known yet, or nobody can be asked where the tool runs.
    pub fn ask(&self, question: &str) -> Result<&'a str, ToolError> {
        let Some(host) = self.host else {
            return Err(ToolError::new("Error: nobody can be asked here"));
        };
        host.ask(question)?.ok_or(ToolError::new("Error: the question is not answered yet"))
    }

    /// What all tools of the run share, if it is a `T`.
    pub fn state<T: Any>(&self) -> Option<&'a T> {
        self.host?.state()?.downcast_ref()
    }
}

impl fmt::Debug for ToolContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolContext")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("turn", &self.turn)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
