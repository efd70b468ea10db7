//! The run of an agent without a model: a function answers the text of each message.

use core::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::PANIC;
use crate::chat::raw;
use crate::engine::{Continuation, End, ErrorDetail, Fact, Patch, Reply, Stop, Usage};

/// A run of an agent without a model.
pub(crate) struct Function {
    answer: Arc<dyn Fn(String) -> BoxFuture<'static, Result<String, String>> + Send + Sync>,
    transcript: String,
    state: AnswerState,
}

enum AnswerState {
    Held,
    Goes(BoxFuture<'static, Result<String, String>>),
    Cancelled,
    Over,
}

impl Function {
    pub(super) fn new(
        answer: Arc<dyn Fn(String) -> BoxFuture<'static, Result<String, String>> + Send + Sync>,
        transcript: String,
    ) -> Self {
        Self { answer, transcript, state: AnswerState::Held }
    }

    pub(super) fn proceed(&mut self) {
        let bytes = self.transcript.as_bytes();
        let last = toolrunner_std::machine::message::Messages::new(bytes).last();
        let content =
            last.and_then(|message| message.value().member("content")).unwrap_or_default();
        let text = RawValue::from_string(content.as_json().to_owned())
            .ok()
            .and_then(|content| crate::chat::text_of(&content));
        let (answer, text) = (Arc::clone(&self.answer), text.unwrap_or_default());
        // A panic that ended the task would leave the turn running for as long as the server does.
        let caught = AssertUnwindSafe(async move { answer(text).await }).catch_unwind();
        let answered = caught.map(|done| done.unwrap_or_else(|_| Err(PANIC.to_owned())));
        self.state = AnswerState::Goes(answered.boxed());
    }

    pub(super) fn cancel(&mut self) {
        self.state = AnswerState::Cancelled;
    }

    /// Ends the run without another fact.
    pub(super) fn end(&mut self) {
        self.state = AnswerState::Over;
    }

    /// Returns the conversation with the answer.
    pub(super) fn transcript(&self) -> &str {
        &self.transcript
    }

    pub(super) async fn next(&mut self) -> Fact {
        let answer = match &mut self.state {
            AnswerState::Held | AnswerState::Over => core::future::pending().await,
            AnswerState::Cancelled => None,
            AnswerState::Goes(answer) => Some(answer.await),
        };
        self.state = AnswerState::Over;
        let Some(answer) = answer else {
            return Fact::Ended { end: End::Cancelled { partial: None }, patch: None };
        };
        match answer {
            Ok(text) => {
                let blocks =
                    (!text.is_empty()).then(|| raw(&json!([{"type": "text", "text": text}])));
                let patch = blocks.is_some().then(|| {
                    let patch = Patch {
                        from: self.transcript.len() as u64,
                        text: format!(",{}", json!({"role": "assistant", "content": text})),
                    };
                    self.transcript.push_str(&patch.text);
                    patch
                });
                Fact::Reply(Reply {
                    event: format!("evt_{}", Uuid::now_v7().simple()),
                    has_thinking: false,
                    text_blocks: blocks,
                    text,
                    calls: Vec::new(),
                    usage: Usage::default(),
                    stop_reason: None,
                    patch,
                    frame: String::new(),
                    then: Continuation::End(Stop::EndTurn),
                })
            }
            Err(message) => {
                let error = ErrorDetail::new("agent_error", message);
                Fact::Ended { end: End::Failed(error), patch: None }
            }
        }
    }
}
