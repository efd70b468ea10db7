//! Builds a session's messages from its log.

use crate::chat::{ChatMessage, ChatRole, ToolCall, text_of};
use crate::engine::{Stop, StoredEvent};
use crate::store::Row;

/// Collects a session's messages from its events. Leaves out the messages of failed turns.
#[derive(Debug, Default)]
pub(crate) struct Chat {
    /// JSON objects separated by commas.
    json: String,
    /// The length of `json` before the current turn.
    before_turn: usize,
    turn: u64,
    /// The text and the calls of the assistant message that is being collected.
    text: Option<String>,
    calls: Vec<ToolCall>,
    /// The ids of the last reply's calls, in the reply's order.
    order: Vec<String>,
    /// Results of those calls. They arrive when the tools end, and are shown in the order of the
    /// calls.
    results: Vec<(usize, ChatMessage)>,
}

impl Chat {
    /// Starts after these messages.
    pub(crate) fn new(json: String) -> Self {
        Self { before_turn: json.len(), json, ..Self::default() }
    }

    pub(crate) fn see(&mut self, row: &Row) {
        let Some(seen) = StoredEvent::of(row) else { return };
        if seen.turn != self.turn {
            self.flush();
            (self.turn, self.before_turn) = (seen.turn, self.json.len());
        }
        match &*seen.kind {
            "user.message" => {
                self.flush();
                let role = seen.role.as_deref().and_then(ChatRole::from_name).unwrap_or_default();
                let content = seen.content.and_then(text_of);
                self.push(&ChatMessage { role, content, ..ChatMessage::default() });
            }
            "agent.message" => {
                self.flush();
                self.text = seen.content.and_then(text_of);
            }
            "agent.tool_use" => {
                self.flush_results();
                let (name, input) = (
                    seen.name.unwrap_or_default().into_owned(),
                    seen.input.map_or("{}", |input| input.get()),
                );
                // The event's id serves as well as the model's, and is unique in the session.
                self.calls.push(ToolCall::new(seen.id.into_owned(), name, input.to_owned()));
            }
            "agent.tool_result" => {
                self.flush_reply();
                let tool_call_id = seen.tool_use_id.map(std::borrow::Cow::into_owned);
                let place = self
                    .order
                    .iter()
                    .position(|id| Some(id) == tool_call_id.as_ref())
                    .unwrap_or(usize::MAX);
                let content = Some(seen.content.and_then(text_of).unwrap_or_default());
                self.results.push((
                    place,
                    ChatMessage {
                        role: ChatRole::Tool,
                        content,
                        tool_call_id,
                        ..ChatMessage::default()
                    },
                ));
            }
            // A request's end is logged after its reply, and the next request's start after all
            // results.
            "span.model_request_end" => self.flush_reply(),
            "span.model_request_start" => self.flush(),
            "session.status_idle" => {
                self.flush();
                if seen.stop() == Some(Stop::Error) {
                    self.json.truncate(self.before_turn);
                }
            }
            _ => {}
        }
    }

    /// Appends the collected messages to `json`.
    fn flush(&mut self) {
        self.flush_reply();
        self.flush_results();
    }

    fn flush_reply(&mut self) {
        let calls = core::mem::take(&mut self.calls);
        if !calls.is_empty() {
            self.order = calls.iter().map(|call| call.id.clone()).collect();
        }
        let tool_calls = (!calls.is_empty()).then_some(calls);
        let content = self.text.take();
        if content.is_some() || tool_calls.is_some() {
            self.flush_results();
            self.push(&ChatMessage {
                role: ChatRole::Assistant,
                content,
                tool_calls,
                ..ChatMessage::default()
            });
        }
    }

    fn flush_results(&mut self) {
        let mut results = core::mem::take(&mut self.results);
        results.sort_by_key(|(place, _)| *place);
        for (_, message) in &results {
            self.push(message);
        }
    }

    fn push(&mut self, message: &ChatMessage) {
        if !self.json.is_empty() {
            self.json.push(',');
        }
        self.json.push_str(&serde_json::to_string(message).unwrap_or_default());
    }

    /// Returns all messages as a JSON array.
    pub(crate) fn into_json(mut self) -> String {
        self.flush();
        format!("[{}]", self.json)
    }
}
