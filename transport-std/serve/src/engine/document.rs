//! A session's state, as it is stored in [`Record::document`](crate::store::Record::document).

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Refusal;
use crate::chat::ChatMessage;
use crate::store::{Record, Status, StoreError, Timestamp};

/// How many answers to interrupts a session remembers after their turn.
const ANSWERS: usize = 64;

/// Most webhooks of one session that wait for their delivery. The oldest is dropped for a newer one.
pub(crate) const DELIVERIES: usize = 64;

/// What a session is, beside its record and its log.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Document {
    /// Commits of workers so far: tells a worker whether a commit whose outcome it does not know
    /// was applied.
    #[serde(default)]
    pub(crate) steps: u64,
    /// Turns so far, the one under way included.
    pub(crate) turn: u64,
    /// The log's head before the last turn began.
    pub(crate) turn_after: u64,
    /// Length of the conversation that the model sees, in bytes.
    pub(crate) transcript: u64,
    /// The answer of the last turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response: Option<ChatMessage>,
    /// Why the last turn failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<String>,
    /// The turn under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) active: Option<Active>,
    /// Answers to interrupts, so that the same answer can be given again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) answered: Vec<Answered>,
    /// Webhooks of turns that have ended, in order, until they are delivered or given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) deliveries: Vec<Delivery>,
    /// The webhook that was given up since the document was read, because too many wait.
    #[serde(skip)]
    pub(crate) dropped: Option<String>,
}

/// The end of a turn that a webhook is to be told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Delivery {
    /// The `webhook-id`: the same for each attempt, whichever server makes it.
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
    /// How long the turn took, in milliseconds.
    pub(crate) duration: u64,
    pub(crate) tokens: u64,
}

/// A turn under way: from the user's message until the session is idle.
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
    /// Length of the conversation before the turn.
    pub(crate) mark: u64,
    /// How many messages the session had before the turn.
    pub(crate) messages_before: u64,
    /// Milliseconds that the turn ran before it was interrupted last.
    #[serde(default)]
    pub(crate) spent: u64,
    /// Tokens of the turn so far.
    #[serde(default)]
    pub(crate) tokens: u64,
    /// The id of the `span.model_request_start` event whose end is not logged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<String>,
    /// Where the run stands after the turn's last reply, as its front end writes it; nothing before
    /// the first reply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) frame: Option<String>,
    /// The log's head before the last reply: its calls' results come behind.
    #[serde(default)]
    pub(crate) reply_after: u64,
    /// The calls of the last reply.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) calls: Vec<Call>,
    /// Whether a tool has finished in this turn: then its call and its result outlive a failure.
    #[serde(default)]
    pub(crate) tool_finished: bool,
    /// Whether the turn was cancelled and has not ended yet.
    #[serde(default)]
    pub(crate) cancelled: bool,
}

/// A call of the turn's last reply.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    /// The model's id.
    pub(crate) id: String,
    /// The id of its `agent.tool_use` event.
    pub(crate) event: String,
    pub(crate) name: String,
    pub(crate) state: CallState,
    /// Whether the tool may run again after a start whose end is not known.
    #[serde(default)]
    pub(crate) idempotent: bool,
    /// Whether somebody must approve it before it runs.
    #[serde(default)]
    pub(crate) needs_approval: bool,
    /// How often it was interrupted.
    #[serde(default)]
    pub(crate) interrupts: u32,
    /// What it waits for, while its state is `Waiting`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) interrupt: Option<Interrupt>,
    /// The answers to what its tool asked, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) answers: Vec<Box<RawValue>>,
}

/// Where a call stands. `Started` is stored before the tool runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallState {
    /// It may run and has not started, or has ended with a question that is answered now.
    Open,
    /// Its tool runs, or did when the server died.
    Started,
    /// It waits for an answer from outside.
    Waiting,
    /// Its result is in the log.
    Done,
}

/// What a session waits for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Interrupt {
    pub(crate) interrupt_id: String,
    #[serde(rename = "type")]
    pub(crate) kind: InterruptKind,
    /// A JSON object; its `type` is that of the interrupt.
    pub(crate) payload: Box<RawValue>,
}

/// The kind of an interrupt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InterruptKind {
    /// A call must be approved before its tool runs.
    ToolApproval,
    /// A tool asks the user.
    UserInput,
}

/// An answer that was given to an interrupt.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Answered {
    pub(crate) interrupt_id: String,
    /// The value in canonical form.
    pub(crate) value: String,
}

/// Where a turn's end is told to.
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

    /// The interrupts that are open, in the order of their calls.
    pub(crate) fn open_interrupts(&self) -> impl Iterator<Item = &Interrupt> {
        let calls = self.active.as_ref().map(|active| active.calls.as_slice()).unwrap_or_default();
        calls
            .iter()
            .filter(|call| call.state == CallState::Waiting)
            .filter_map(|call| call.interrupt.as_ref())
    }

    /// Whether this answer was given before: `Ok(false)` if none was, an error if another was.
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
        self.answered.push(Answered { interrupt_id, value });
    }

    pub(super) fn add_delivery(&mut self, delivery: Delivery) {
        if self.deliveries.len() >= DELIVERIES {
            self.dropped = Some(self.deliveries.remove(0).id);
        }
        self.deliveries.push(delivery);
    }
}

impl Active {
    /// Whether every call of the last reply has its result.
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
