//! The context of a call.

use core::any::Any;
use core::fmt;
use core::future::poll_fn;
use core::task::{Context, Poll};

use super::ToolError;
use crate::json::Text;
use crate::time::Instant;

/// The context of one call: its identity, its deadline, its cancellation, and the state that all
/// tools of the run share.
///
/// [`ToolCall::context`](super::ToolCall::context) returns it.
#[derive(Clone, Copy)]
#[non_exhaustive]
pub struct ToolContext<'a> {
    /// The call's id, unique in the conversation.
    pub id: Text<'a>,
    /// The tool's name.
    pub name: Text<'a>,
    /// The turn of the run that made the call, counted from 1.
    pub turn: u32,
    /// The time, by the run's clock, when the call is dropped. `None` if the call has no time
    /// limit.
    pub deadline: Option<Instant>,
    pub(super) host: Option<&'a dyn ToolHost>,
}

/// The services that a front end offers to the tools that it runs. Tools use them through
/// [`ToolContext`].
pub trait ToolHost: Send + Sync {
    /// Returns whether the call was cancelled and should end soon. Its result is no longer wanted,
    /// or only for a short time.
    fn is_cancelled(&self) -> bool {
        false
    }

    /// Returns `Ready` once [`is_cancelled`](Self::is_cancelled) returns `true`.
    fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
        let _ = context;
        if self.is_cancelled() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Returns the answer to `question`, as JSON, or `None` if it is not known yet.
    ///
    /// If it is not known, the implementation records the question and the caller answers it later.
    /// The default implementation always fails.
    ///
    /// # Errors
    /// Returns an error if nobody can answer questions in this front end.
    fn ask(&self, question: &str) -> Result<Option<&str>, ToolError> {
        let _ = question;
        Err(ToolError::new("Error: no user is available to answer"))
    }

    /// Returns whether the call has [asked](Self::ask) a question that has no answer yet. The call
    /// then waits for the caller when its tool returns an error.
    fn waits_for_answer(&self) -> bool {
        false
    }

    /// Returns the state that all tools of the run share, or `None` if the run has none.
    fn state(&self) -> Option<&(dyn Any + Send + Sync)> {
        None
    }
}

impl<'a> ToolContext<'a> {
    /// Returns whether the call was cancelled and should end soon. A result that it returns in the
    /// grace period still counts.
    pub fn is_cancelled(&self) -> bool {
        self.host.is_some_and(ToolHost::is_cancelled)
    }

    /// Waits until the call is cancelled. Never returns if it is not cancelled. Use it in a
    /// `select` with the tool's own work.
    pub async fn cancelled(&self) {
        poll_fn(|context| self.host.map_or(Poll::Pending, |host| host.poll_cancelled(context)))
            .await;
    }

    /// Asks a question, as JSON, and returns the answer, as JSON. The caller of the run answers it.
    ///
    /// On the first call there is no answer yet, and this method returns an error. Return it at
    /// once with `?`. It is not a result, and the model does not receive it. The run finishes its
    /// other calls and then waits. After the question is answered, the tool is called again from
    /// its beginning with the same input, and this method returns the answer. Therefore ask before
    /// you do anything that must not happen twice. A tool may ask several questions, always in the
    /// same order.
    ///
    /// # Errors
    /// Returns an error if the answer is not known yet, or if nobody can answer questions where the
    /// tool runs.
    pub fn ask(&self, question: &str) -> Result<&'a str, ToolError> {
        let Some(host) = self.host else {
            return Err(ToolError::new("Error: no user is available to answer"));
        };
        host.ask(question)?.ok_or(ToolError::new("Error: the question has not been answered yet"))
    }

    /// Returns the state that all tools of the run share, if it has the type `T`.
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
