//! The facts that the run of a turn reports, and their effects on the session.

use serde_json::json;
use serde_json::value::RawValue;

use super::command::idle;
use super::document::{Call, CallState, Delivery, Interrupt, InterruptKind};
use super::event::{Detail, ErrorDetail, Patch, Stop, Usage};
use super::{Context, Edit, event_id};
use crate::chat::{ChatMessage, ChatRole, raw};
use crate::store::{Holder, Status};

/// Something that happened in a turn.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    /// The model's reply is complete.
    Reply(Reply),
    /// This call is about to start and waits for permission.
    Starting(usize),
    /// A tool ended: the content of its result, and whether it failed.
    ToolDone { call: usize, content: Box<RawValue>, is_error: bool },
    /// A tool asked the user and ended: its questions.
    Asked { call: usize, questions: Box<RawValue> },
    /// Nothing runs any more, and calls wait for answers. `spent` is the turn's time since its
    /// holder began to work on it, in milliseconds.
    Waiting { spent: u64 },
    /// The run ended without another reply.
    Ended { end: End, patch: Option<Patch> },
}

/// A reply of the model.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    /// The id that the previews of its text had.
    pub(crate) event: String,
    pub(crate) has_thinking: bool,
    /// The text blocks as a JSON array; `None` without text.
    pub(crate) text_blocks: Option<Box<RawValue>>,
    /// The text of all text blocks.
    pub(crate) text: String,
    pub(crate) calls: Vec<NewCall>,
    pub(crate) usage: Usage,
    pub(crate) stop_reason: Option<String>,
    /// The change that adds the reply to the conversation.
    pub(crate) patch: Option<Patch>,
    /// The run's state, from which another run can continue.
    pub(crate) frame: String,
    pub(crate) then: Continuation,
}

/// A call of a reply.
#[derive(Clone, Debug)]
pub(crate) struct NewCall {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) input: Box<RawValue>,
    pub(crate) needs_approval: bool,
    pub(crate) idempotent: bool,
    /// Whether it starts as soon as it may. Its start is then stored with the reply.
    pub(crate) starts: bool,
}

/// What follows a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Continuation {
    /// The reply's calls, or another request.
    More,
    /// The end of the turn.
    End(Stop),
}

/// How a run without further replies ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// It stopped by itself; with its last text.
    Stop(Stop, String),
    /// It was cancelled; with the text of the unfinished reply, and the id of its previews.
    Cancelled { partial: Option<(String, String)> },
    /// It failed.
    Failed(ErrorDetail),
}

/// Returns a text as an array of one block. An empty text becomes an empty array.
pub(crate) fn text_blocks(text: &str) -> Box<RawValue> {
    if text.is_empty() { raw(&[(); 0]) } else { raw(&json!([{"type": "text", "text": text}])) }
}

/// Returns the blocks of a result's content, which is a JSON string or an array of blocks.
pub(crate) fn blocks_of(content: &str) -> Box<RawValue> {
    match serde_json::from_str::<String>(content) {
        Ok(text) => text_blocks(&text),
        Err(_) => RawValue::from_string(content.to_owned()).unwrap_or_default(),
    }
}

impl Edit {
    /// Applies a fact to the session.
    pub(super) fn apply(&mut self, fact: &Fact, context: &mut Context<'_>) {
        match fact {
            Fact::Reply(reply) => self.reply(reply, context),
            Fact::Starting(i) => {
                if let Some(call) = self.call(*i).filter(|call| call.state == CallState::Open) {
                    call.state = CallState::Started;
                }
            }
            Fact::ToolDone { call, content, is_error } => {
                if self.call(*call).is_some_and(|call| call.state == CallState::Done) {
                    return;
                }
                self.finish_call(context.ids, *call, content.clone(), *is_error);
                if let Some(active) = &mut self.document.active {
                    active.tool_finished = true;
                    if active.all_done() && !active.cancelled {
                        self.begin_request(context);
                    }
                }
            }
            Fact::Asked { call, questions } => {
                if let Some(call) = self.call(*call).filter(|call| call.state != CallState::Done) {
                    let payload = raw(&json!({"type": "user_input", "questions": questions}));
                    call.interrupt(InterruptKind::UserInput, payload);
                }
            }
            Fact::Waiting { spent } => self.interrupt(*spent, context),
            Fact::Ended { end, patch } => self.end(end, patch.as_ref(), context),
        }
    }

    fn reply(&mut self, reply: &Reply, context: &mut Context<'_>) {
        if reply.has_thinking {
            self.tell(context.ids, Detail::Thinking {});
        }
        if let Some(content) = &reply.text_blocks {
            self.tell_as(reply.event.clone(), Detail::Message { content: content.clone() });
        }
        let mut calls = Vec::with_capacity(reply.calls.len());
        for NewCall { id, name, input, needs_approval, idempotent, starts } in &reply.calls {
            let event = event_id(context.ids);
            let evaluated_permission = if *needs_approval { "ask" } else { "allow" };
            self.tell_as(
                event.clone(),
                Detail::ToolUse { name: name.clone(), input: input.clone(), evaluated_permission },
            );
            let mut call = Call {
                id: id.clone(),
                event,
                name: name.clone(),
                state: if *starts { CallState::Started } else { CallState::Open },
                idempotent: *idempotent,
                needs_approval: *needs_approval,
                interrupts: 0,
                interrupt: None,
                answers: Vec::new(),
            };
            if *needs_approval {
                let payload =
                    json!({"type": "tool_approval", "tool_name": name, "tool_args": input});
                call.interrupt(InterruptKind::ToolApproval, raw(&payload));
            }
            calls.push(call);
        }
        if reply.text_blocks.is_some() || !calls.is_empty() {
            self.messages += 1;
        }
        let (reply_after, is_cancelled) =
            (self.head, self.document.active.as_ref().is_some_and(|active| active.cancelled));
        let Some(active) = &mut self.document.active else { return };
        active.calls = calls;
        active.frame = Some(reply.frame.clone());
        active.reply_after = reply_after;
        active.tokens += reply.usage.total();
        let start = active.request.take();
        if let Some(model_request_start_id) = start {
            let (model_usage, stop_reason) = (reply.usage, reply.stop_reason.clone());
            self.tell(
                context.ids,
                Detail::ModelRequestEnd {
                    model_request_start_id,
                    model_usage,
                    is_error: false,
                    stop_reason,
                },
            );
        }
        match reply.then {
            Continuation::End(stop) => {
                let stop = if is_cancelled { Stop::Cancelled } else { stop };
                self.close_calls(context, "Error: not run: the turn ended before this call");
                self.document.response =
                    Some(ChatMessage::new(ChatRole::Assistant, reply.text.clone()));
                self.rest(Status::Idle, stop, context);
            }
            Continuation::More if reply.calls.is_empty() && !is_cancelled => {
                self.begin_request(context)
            }
            Continuation::More => {}
        }
        self.patch(reply.patch.as_ref());
    }

    /// Attaches a change of the conversation to the last event.
    fn patch(&mut self, patch: Option<&Patch>) {
        let (Some(patch), Some(event)) = (patch, self.events.last_mut()) else { return };
        self.document.transcript = patch.end();
        event.patch = Some(patch.clone());
    }

    /// Answers the calls that have no result.
    fn close_calls(&mut self, context: &mut Context<'_>, text: &str) {
        let calls = self.document.active.as_ref().map_or(0, |active| active.calls.len());
        for i in 0..calls {
            if self.call(i).is_some_and(|call| call.state != CallState::Done) {
                self.answer(context.ids, i, text);
            }
        }
    }

    fn interrupt(&mut self, spent: u64, context: &mut Context<'_>) {
        let Some(active) = &mut self.document.active else { return };
        // An answer or a cancel may have arrived in the meantime.
        if active.cancelled
            || active
                .calls
                .iter()
                .any(|call| matches!(call.state, CallState::Open | CallState::Started))
        {
            return;
        }
        active.spent += spent;
        let waiting = active.calls.iter().filter(|call| call.state == CallState::Waiting);
        let event_ids: Vec<String> = waiting.map(|call| call.event.clone()).collect();
        if event_ids.is_empty() {
            return;
        }
        (self.status, self.holder) = (Status::Interrupted, self.let_go());
        self.tell(context.ids, idle(Stop::RequiresAction, event_ids));
    }

    fn end(&mut self, end: &End, patch: Option<&Patch>, context: &mut Context<'_>) {
        self.fail_request(context.ids);
        let text = match end {
            End::Cancelled { .. } => "Error: cancelled before this call had a result",
            End::Stop(Stop::MaxIterations, _) => {
                "Error: not run: the limit of model requests was reached"
            }
            End::Stop(..) => "Error: not run: the turn ended before this call",
            End::Failed(_) => "Error: the turn failed before this call had a result",
        };
        self.close_calls(context, text);
        match end {
            End::Stop(stop, text) => {
                self.document.response = Some(ChatMessage::new(ChatRole::Assistant, text.clone()));
                self.rest(Status::Idle, *stop, context);
                self.patch(patch);
            }
            End::Cancelled { partial } => {
                if let Some((event, text)) = partial {
                    self.messages += 1;
                    self.tell_as(event.clone(), Detail::Message { content: text_blocks(text) });
                }
                self.rest(Status::Idle, Stop::Cancelled, context);
                self.patch(patch);
            }
            End::Failed(error) => {
                let Some(active) = &self.document.active else { return };
                let (mark, before, keeps) =
                    (active.mark, active.messages_before, active.tool_finished);
                self.document.error = Some(error.line());
                self.messages = before;
                self.tell(context.ids, Detail::Error { error: error.clone() });
                self.rest(Status::Error, Stop::Error, context);
                // The model must know what tools have done; the rest of the turn is removed.
                let rollback = Patch { from: mark, text: String::new() };
                self.patch(Some(patch.filter(|_| keeps).unwrap_or(&rollback)));
            }
        }
    }

    /// Ends the turn.
    fn rest(&mut self, status: Status, stop: Stop, context: &mut Context<'_>) {
        let active = self.document.active.take();
        self.tell(context.ids, idle(stop, Vec::new()));
        if let Some(active) = active
            && let Some(webhook) = active.webhook
        {
            self.document.add_delivery(Delivery {
                id: format!("msg_{}", context.ids.id().simple()),
                webhook,
                head: self.head + self.events.len() as u64,
                status,
                response: self.document.response.clone(),
                error: self.document.error.clone(),
                trace_id: active.trace_id,
                duration: u64::try_from(context.now.since(active.started).as_millis())
                    .unwrap_or(u64::MAX),
                tokens: active.tokens,
            });
        }
        (self.status, self.holder) = (status, self.let_go());
    }

    /// Returns the effect of a turn's end on the holder, which stays while webhooks wait.
    fn let_go(&self) -> Holder {
        if self.document.deliveries.is_empty() { Holder::Release } else { Holder::Keep }
    }
}

impl Call {
    fn interrupt(&mut self, kind: InterruptKind, payload: Box<RawValue>) {
        self.interrupts += 1;
        // Like an approval, the first interrupt uses the event's id. A tool that asks again needs
        // another id.
        let interrupt_id = match self.interrupts {
            1 => self.event.clone(),
            n => format!("{}.{n}", self.event),
        };
        self.state = CallState::Waiting;
        self.interrupt = Some(Interrupt { interrupt_id, kind, payload });
    }
}
