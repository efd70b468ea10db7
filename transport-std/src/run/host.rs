//! The context of a tool in this front end: cancellation, questions, and shared state.

use core::any::Any;
use core::pin::Pin;
use core::sync::atomic::{AtomicUsize, Ordering};
use core::task::{Context, Poll};
use std::sync::{Arc, Mutex, OnceLock};

use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use toolrunner_core::tool::{ToolError, ToolHost};

use crate::lock::lock;

/// The context of one call.
pub(super) struct Host {
    /// The token that asks all tools of the run to stop.
    all: CancellationToken,
    /// The token that asks this tool to stop. Created when it is needed, because most calls end by
    /// themselves.
    own: OnceLock<CancellationToken>,
    /// Created when a tool waits for it.
    waiting: Mutex<Option<Pin<Box<WaitForCancellationFutureOwned>>>>,
    state: Option<Arc<dyn Any + Send + Sync>>,
    /// The answers to the tool's questions in earlier calls, in order.
    answers: Arc<[String]>,
    /// The number of questions that the tool has asked in this call.
    asked: AtomicUsize,
    /// The first question without an answer.
    question: Mutex<Option<String>>,
}

impl Host {
    pub(super) fn new(
        all: CancellationToken,
        state: Option<Arc<dyn Any + Send + Sync>>,
        answers: Arc<[String]>,
    ) -> Self {
        Self {
            all,
            own: OnceLock::new(),
            waiting: Mutex::new(None),
            state,
            answers,
            asked: AtomicUsize::new(0),
            question: Mutex::new(None),
        }
    }

    /// Asks the tool to stop.
    pub(super) fn cancel(&self) {
        self.own().cancel();
    }

    fn own(&self) -> &CancellationToken {
        self.own.get_or_init(|| self.all.child_token())
    }

    /// Returns the question that has no answer, once.
    pub(super) fn take_question(&self) -> Option<String> {
        lock(&self.question).take()
    }
}

impl ToolHost for Host {
    fn is_cancelled(&self) -> bool {
        self.own.get().unwrap_or(&self.all).is_cancelled()
    }

    fn poll_cancelled(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.is_cancelled() {
            return Poll::Ready(());
        }
        let mut waiting = lock(&self.waiting);
        waiting
            .get_or_insert_with(|| Box::pin(self.own().clone().cancelled_owned()))
            .as_mut()
            .poll(context)
    }

    fn ask(&self, question: &str) -> Result<Option<&str>, ToolError> {
        let answer = self.answers.get(self.asked.fetch_add(1, Ordering::Relaxed));
        if answer.is_none() {
            lock(&self.question).get_or_insert_with(|| question.to_owned());
        }
        Ok(answer.map(String::as_str))
    }

    fn waits_for_answer(&self) -> bool {
        lock(&self.question).is_some()
    }

    fn state(&self) -> Option<&(dyn Any + Send + Sync)> {
        self.state.as_deref()
    }
}
