//! A session's state, as it is stored in [`Record::document`](crate::store::Record::document).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Refusal;
use crate::chat::ChatMessage;
use crate::store::{Record, Status, StoreError, Timestamp};

/// How many answers to interrupts a session remembers after their turn.
const ANSWERS: usize = 64;

/// The maximum number of undelivered webhooks of a session. A newer one replaces the oldest.
pub(crate) const DELIVERIES: usize = 64;

/// A session's state, beside its record and its log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Document {
    /// The number of workers' commits so far. Shows a worker whether a commit with an unknown
    /// outcome was applied.
    #[serde(default)]
    pub(crate) steps: u64,
    /// The number of turns so far, including the current one.
    pub(crate) turn: u64,
    /// The log's head before the last turn began.
    pub(crate) turn_after: u64,
    /// The length in bytes of the conversation that the model receives.
    pub(crate) transcript: u64,
    /// The response of the last turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response: Option<ChatMessage>,
    /// Why the last turn failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The current turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) active: Option<Active>,
    /// Remembered answers to interrupts, so that the same answer is accepted again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) answered: Vec<InterruptAnswer>,
    /// Webhooks of turns that have ended, in order, until they are delivered or abandoned.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) deliveries: Vec<Delivery>,
    /// The webhook that was dropped since the document was read, because too many were waiting.
    #[serde(skip)]
    pub(crate) dropped: Option<String>,
}

/// The end of a turn, for a webhook.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// The `webhook-id`, which is the same for every attempt of every server.
    pub(crate) id: String,
    pub(crate) webhook: Webhook,
    /// The log's head at the end of the turn.
    pub(crate) head: u64,
    pub(crate) status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response: Option<ChatMessage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
    /// The duration of the turn in milliseconds.
    pub(crate) duration: u64,
    pub(crate) tokens: u64,
}

/// A turn, from the user's message until the session is idle.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Active {
    pub(crate) started: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
    /// The `traceparent` header of the message: the parent of the turn's runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trace_parent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) webhook: Option<Webhook>,
    /// The length of the conversation before the turn.
    pub(crate) mark: u64,
    /// The number of messages before the turn.
    pub(crate) messages_before: u64,
    /// The milliseconds that the turn ran before its last interruption.
    #[serde(default)]
    pub(crate) spent: u64,
    /// The number of tokens of the turn so far.
    #[serde(default)]
    pub(crate) tokens: u64,
    /// The id of the `span.model_request_start` event that has no end in the log yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    /// The run's state after the turn's last reply, as the front end writes it; `None` before the
    /// first reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) frame: Option<String>,
    /// The log's head before the last reply. The results of its calls follow.
    #[serde(default)]
    pub(crate) reply_after: u64,
    /// The calls of the last reply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) calls: Vec<Call>,
    /// Whether a tool has finished in this turn. Its call and its result are kept if the turn
    /// fails.
    #[serde(default)]
    pub(crate) tool_finished: bool,
    /// Whether the turn was cancelled and has not ended yet.
    #[serde(default)]
    pub(crate) cancelled: bool,
}

/// A call of the turn's last reply.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    /// The id that the model gave the call.
    pub(crate) id: String,
    /// The id of its `agent.tool_use` event.
    pub(crate) event: String,
    pub(crate) name: String,
    pub(crate) state: CallState,
    /// Whether the tool may run again if it is unknown whether it finished.
    #[serde(default)]
    pub(crate) idempotent: bool,
    /// Whether somebody must approve the call before it runs.
    #[serde(default)]
    pub(crate) needs_approval: bool,
    /// How many times the call was interrupted.
    #[serde(default)]
    pub(crate) interrupts: u32,
    /// The interrupt that the call waits for, while its state is `Waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interrupt: Option<Interrupt>,
    /// The answers to the tool's questions, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) answers: Vec<Box<RawValue>>,
}

/// The state of a call. `Started` is stored before the tool runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallState {
    /// The call may run and has not started, or its tool asked a question that has been answered.
    Open,
    /// The tool is running, or was running when the server died.
    Started,
    /// The call waits for an answer from outside.
    Waiting,
    /// The call's result is in the log.
    Done,
}

/// A request for an answer that a session waits for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Interrupt {
    pub(crate) interrupt_id: String,
    #[serde(rename = "type")]
    pub(crate) kind: InterruptKind,
    /// A JSON object whose `type` is the interrupt's kind.
    pub(crate) payload: Box<RawValue>,
}

/// The kind of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InterruptKind {
    /// Somebody must approve a call before its tool runs.
    ToolApproval,
    /// A tool asks the user questions.
    UserInput,
}

/// An answer to an interrupt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InterruptAnswer {
    pub(crate) interrupt_id: String,
    /// The value in canonical form.
    pub(crate) value: String,
}

/// The destination of the webhook for a turn's end.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Webhook {
    pub(crate) url: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secret: Option<String>,
    #[serde(default)]
    pub(crate) include_messages: bool,
}

impl Document {
    /// Reads a record's document.
    pub(crate) fn of(record: &Record) -> Result<Self, StoreError> {
        let broken = |error| {
            StoreError::new(format!("the document of session {} cannot be read", record.id))
                .because(error)
        };
        serde_json::from_slice(&record.document).map_err(broken)
    }

    /// Returns the open interrupts, in the order of their calls.
    pub(crate) fn open_interrupts(&self) -> impl Iterator<Item = &Interrupt> {
        let calls = self.active.as_ref().map(|active| active.calls.as_slice()).unwrap_or_default();
        calls
            .iter()
            .filter(|call| call.state == CallState::Waiting)
            .filter_map(|call| call.interrupt.as_ref())
    }

    /// Returns whether this answer was given before: `Ok(false)` if the interrupt has no answer,
    /// and an error if it has a different one.
    pub(crate) fn check_answer(&self, interrupt: &str, value: &str) -> Result<bool, Refusal> {
        match self.answered.iter().find(|answered| answered.interrupt_id == interrupt) {
            None => Ok(false),
            Some(answered) if answered.value == value => Ok(true),
            Some(_) => Err(Refusal::AnsweredDifferently),
        }
    }

    pub(crate) fn remember_answer(&mut self, interrupt_id: String, value: String) {
        if self.answered.len() >= ANSWERS {
            self.answered.remove(0);
        }
        self.answered.push(InterruptAnswer { interrupt_id, value });
    }

    pub(super) fn add_delivery(&mut self, delivery: Delivery) {
        if self.deliveries.len() >= DELIVERIES {
            self.dropped = Some(self.deliveries.remove(0).id);
        }
        self.deliveries.push(delivery);
    }
}

impl Active {
    /// Returns whether every call of the last reply has its result.
    pub(crate) fn all_done(&self) -> bool {
        self.calls.iter().all(|call| call.state == CallState::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_webhook_is_dropped_for_a_newer_one() {
        let mut document = Document::default();
        for i in 0..=DELIVERIES {
            assert_eq!(document.dropped, None);
            document.add_delivery(Delivery {
                id: format!("msg_{i}"),
                webhook: Webhook {
                    url: String::new(),
                    token: None,
                    secret: None,
                    include_messages: false,
                },
                head: 0,
                status: Status::Idle,
                response: None,
                error: None,
                trace_id: None,
                duration: 0,
                tokens: 0,
            });
        }
        assert_eq!(document.dropped.as_deref(), Some("msg_0"));
        assert_eq!(document.deliveries.len(), DELIVERIES);
        assert_eq!(document.deliveries[0].id, "msg_1");
    }
}
