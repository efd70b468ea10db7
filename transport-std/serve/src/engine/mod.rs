//! A session's behavior, without I/O. Every change of a session is computed here and nowhere else.
//!
//! A session's state is its [`Record`] with the [`Document`] in it, and its log. There are two
//! kinds of changes. Each is one [`Commit`](crate::store::Commit), so it is applied as a whole or
//! not at all:
//!
//! - **Commands** ([`send`], [`resume`], [`cancel`], [`take_over`], [`release`]) come from outside
//!   and may come from any server. Each is a function from the state to a commit, or to a
//!   [`Refusal`]. If the commit conflicts, the command is computed again from the new state.
//! - **Facts** ([`Fact`]) come from the run that the turn's holder drives: a reply, the end of a
//!   tool, the end of the run. [`Worker`] turns them into commits, and determines with [`Effect`]s
//!   what the run may do next. A run makes no request and starts no tool that the worker has not
//!   allowed, and the worker allows it only when everything before it is stored:
//!
//! ```text
//!  message ─commit─▶ request ─ reply ─commit(reply, starts)─▶ tools run ─ result ─commit─▶ … all results stored ─▶ request ─ …
//!                                          │                                                    ▲
//!                                          └─ calls that wait for approval: interrupted ─ resume ┘   end ─commit(idle)
//! ```
//! So a tool runs at most once: its start is stored before it runs, and a server that finds a
//! started call without a result after a crash does not run it again. And nothing acknowledged is
//! lost: the next step begins only after the last one is stored.

mod command;
mod document;
mod event;
mod fact;
#[cfg(test)]
mod simulator;
mod worker;

use core::fmt;

use serde_json::value::RawValue;
use uuid::Uuid;

pub(crate) use command::{
    Answer, Change, Message, cancel, delivered, nothing, release, resume, send, take_over,
};
pub(crate) use document::{Active, CallState, DELIVERIES, Delivery, Document, Interrupt, Webhook};
pub(crate) use event::{ErrorDetail, Patch, Stop, StoredEvent, Usage};
pub(crate) use fact::{Continuation, End, Fact, NewCall, Reply, blocks_of};
pub(crate) use worker::{Effect, Input, Worker};

use crate::store::{Commit, Holder, Record, Status, Timestamp};
use document::Call;
use event::{Detail, Draft};

/// What every change needs.
pub(crate) struct Context<'c> {
    pub(crate) now: Timestamp,
    /// The server that computes the change.
    pub(crate) server: Uuid,
    pub(crate) ids: &'c mut dyn Ids,
    pub(crate) rules: &'c Rules,
}

/// The rules for all sessions of a server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    /// How long an idle session is kept; `None` to keep it forever.
    pub(crate) ttl: Option<core::time::Duration>,
    /// The model's name; `None` if the agent has no model.
    pub(crate) model: Option<String>,
    /// Whether the model accepts system messages in the conversation.
    pub(crate) system_messages: bool,
}

/// A source of ids.
pub(crate) trait Ids {
    /// Returns a new unique id.
    fn id(&mut self) -> Uuid;
}

/// Creates ids from the current time and randomness.
pub(crate) struct RandomIds;

impl Ids for RandomIds {
    fn id(&mut self) -> Uuid {
        Uuid::now_v7()
    }
}

/// Returns the id for a new event.
pub(crate) fn event_id(ids: &mut dyn Ids) -> String {
    format!("evt_{}", ids.id().simple())
}

/// Why a command is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A turn is running or waits for answers.
    Busy(Status),
    /// The session is not interrupted.
    NotInterrupted(Status),
    /// No interrupt has this id.
    UnknownInterrupt(String),
    /// The interrupt already has a different answer.
    AnsweredDifferently,
    /// The answer is invalid: its position in `value`, pydantic's name of the error, and a message.
    BadAnswer { at: Vec<String>, kind: &'static str, text: &'static str },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy(status) => write!(f, "Session is {status}"),
            Self::NotInterrupted(status) => write!(f, "Session is {status}, not interrupted"),
            Self::UnknownInterrupt(id) => write!(f, "Unknown interrupt_id: {id}"),
            Self::AnsweredDifferently => f.write_str("Interrupt was answered differently"),
            Self::BadAnswer { text, .. } => f.write_str(text),
        }
    }
}

/// A session's state during a change, and the events that report the change.
#[derive(Clone, Debug)]
struct Edit {
    /// The log's head before the change.
    head: u64,
    document: Document,
    status: Status,
    messages: u64,
    holder: Holder,
    events: Vec<Draft>,
}

impl Edit {
    fn of(record: &Record, document: Document) -> Self {
        Self {
            head: record.head,
            document,
            status: record.status,
            messages: record.messages,
            holder: Holder::Keep,
            events: Vec::new(),
        }
    }

    /// Returns a call of the turn's last reply.
    fn call(&mut self, i: usize) -> Option<&mut Call> {
        self.document.active.as_mut()?.calls.get_mut(i)
    }

    /// Adds an event.
    fn tell(&mut self, ids: &mut dyn Ids, detail: Detail) -> &mut Draft {
        let id = event_id(ids);
        self.tell_as(id, detail)
    }

    fn tell_as(&mut self, id: String, detail: Detail) -> &mut Draft {
        self.events.push(Draft { id, detail, patch: None });
        let last = self.events.len() - 1;
        &mut self.events[last]
    }

    /// Begins a model request, if the agent has a model.
    fn begin_request(&mut self, context: &mut Context<'_>) {
        if let Some(model) = context.rules.model.clone()
            && let Some(active) = &mut self.document.active
        {
            let id = event_id(context.ids);
            active.request = Some(id.clone());
            self.tell_as(id, Detail::ModelRequestStart { model: Some(model) });
        }
    }

    /// Ends the current model request as failed, if there is one.
    fn fail_request(&mut self, ids: &mut dyn Ids) {
        if let Some(start) = self.document.active.as_mut().and_then(|active| active.request.take())
        {
            let usage = Usage::default();
            self.tell(
                ids,
                Detail::ModelRequestEnd {
                    model_request_start_id: start,
                    model_usage: usage,
                    is_error: true,
                    stop_reason: None,
                },
            );
        }
    }

    /// Sets an error as the result of a call, without running its tool.
    fn answer(&mut self, ids: &mut dyn Ids, i: usize, text: &str) {
        let content = fact::text_blocks(text);
        self.finish_call(ids, i, content, true);
    }

    fn finish_call(&mut self, ids: &mut dyn Ids, i: usize, content: Box<RawValue>, is_error: bool) {
        let Some(call) = self.call(i) else { return };
        call.state = CallState::Done;
        call.interrupt = None;
        let tool_use_id = call.event.clone();
        self.messages += 1;
        self.tell(ids, Detail::ToolResult { tool_use_id, content, is_error });
    }

    /// Returns the commit of this change to `record`.
    fn commit(&self, record: &Record, context: &mut Context<'_>, fence: Option<u64>) -> Commit {
        let rests = matches!(self.status, Status::Idle | Status::Error);
        let turn = self.document.turn;
        let rows = self
            .events
            .iter()
            .zip(record.head + 1..)
            .map(|(event, seq)| event.row(seq, turn, context.now));
        Commit {
            id: record.id,
            expect: record.version,
            fence,
            token: context.ids.id(),
            now: context.now,
            // A session with undelivered webhooks does not expire.
            expires: context
                .rules
                .ttl
                .filter(|_| rests && self.document.deliveries.is_empty())
                .map(|ttl| context.now.after(ttl)),
            status: self.status,
            messages: self.messages,
            // Maps with string keys and valid JSON texts cannot fail to serialize.
            document: serde_json::to_vec(&self.document).unwrap_or_default().into(),
            rows: rows.collect(),
            holder: self.holder,
            idempotent: None,
        }
    }
}
