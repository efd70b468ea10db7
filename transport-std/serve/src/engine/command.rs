//! Commands that change a session from outside.

use serde_json::Value;
use serde_json::value::RawValue;
use toolrunner_std::run::TraceParent;

use super::document::{Active, Call, CallState, InterruptKind, Webhook};
use super::event::{Detail, Patch, StopReason};
use super::{Context, Document, Edit, Refusal, fact};
use crate::chat::{ChatRole, SentMessage};
use crate::store::{Commit, Holder, Record, Status};

/// The result of a command.
#[derive(Debug)]
pub(crate) enum Change {
    /// A change to commit.
    Commit(Box<Commit>),
    /// Nothing changes.
    Nothing,
}

impl Change {
    fn of(edit: &Edit, record: &Record, context: &mut Context<'_>) -> Self {
        Self::Commit(Box::new(edit.commit(record, context, None)))
    }
}

/// A message for a session.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) sent: SentMessage,
    pub(crate) webhook: Option<Webhook>,
    pub(crate) trace_parent: Option<TraceParent>,
}

/// An answer to an interrupt.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) interrupt_id: String,
    pub(crate) value: Box<RawValue>,
}

/// Begins a turn with this message. The server of the context becomes its holder.
pub(crate) fn send(
    record: &Record,
    mut document: Document,
    message: &Message,
    context: &mut Context<'_>,
) -> Result<Change, Refusal> {
    if let Status::Running | Status::Interrupted = record.status {
        return Err(Refusal::Busy(record.status));
    }
    let json = message.sent.for_model(context.rules.system_messages);
    let patch = Patch {
        from: document.transcript,
        text: if document.transcript > 0 { format!(",{json}") } else { json },
    };
    let trace_id = message.trace_parent.as_ref().map(|parent| parent.trace_id().to_owned());
    document.turn += 1;
    document.turn_after = record.head;
    document.response = None;
    document.error = None;
    document.active = Some(Active {
        started: context.now,
        trace_id: trace_id.clone(),
        trace_parent: message.trace_parent.as_ref().map(TraceParent::to_string),
        webhook: message.webhook.clone(),
        mark: document.transcript,
        messages_before: record.messages,
        ..Active::default()
    });
    document.transcript = patch.end();
    let mut edit = Edit::of(record, document);
    (edit.status, edit.holder) = (Status::Running, Holder::Take(context.server));
    edit.messages += 1;
    let role = (message.sent.role != ChatRole::User).then(|| message.sent.role.name());
    edit.tell(context.ids, Detail::UserMessage { content: message.sent.blocks(), role }).patch =
        Some(patch);
    edit.tell(context.ids, Detail::StatusRunning { trace_id });
    edit.begin_request(context);
    Ok(Change::of(&edit, record, context))
}

/// Answers an interrupt. After the last answer the turn continues, and the server of the context
/// becomes its holder.
pub(crate) fn resume(
    record: &Record,
    mut document: Document,
    answer: &Answer,
    context: &mut Context<'_>,
) -> Result<Change, Refusal> {
    let value: Value = serde_json::from_str(answer.value.get()).unwrap_or_default();
    let canonical = value.to_string();
    if document.check_answer(&answer.interrupt_id, &canonical)? {
        return Ok(Change::Nothing);
    }
    let waits = |call: &Call| {
        call.interrupt
            .as_ref()
            .is_some_and(|interrupt| interrupt.interrupt_id == answer.interrupt_id)
    };
    let found = document.active.as_ref().and_then(|active| active.calls.iter().position(waits));
    let Some(i) = found else {
        return Err(match record.status {
            Status::Interrupted => Refusal::UnknownInterrupt(answer.interrupt_id.clone()),
            status => Refusal::NotInterrupted(status),
        });
    };
    document.remember_answer(answer.interrupt_id.clone(), canonical);
    let mut edit = Edit::of(record, document);
    let Some(active) = &mut edit.document.active else { return Ok(Change::Nothing) };
    let call = &mut active.calls[i];
    let Some(interrupt) = call.interrupt.take() else { return Ok(Change::Nothing) };
    call.state = CallState::Open;
    let (event, trace_id) = (call.event.clone(), active.trace_id.clone());
    let mut denied = None;
    match interrupt.kind {
        InterruptKind::ToolApproval => {
            let Approval { approved, reason } = Approval::of(&value)?;
            let result = if approved { "allow" } else { "deny" };
            call.needs_approval = false;
            edit.tell(context.ids, Detail::ToolConfirmation { tool_use_id: event, result });
            denied = (!approved).then(|| reason.unwrap_or_default());
        }
        InterruptKind::UserInput => {
            check_answers(&value)?;
            call.answers.push(answer.value.clone());
            let content = fact::text_blocks(answer.value.get());
            edit.tell(context.ids, Detail::CustomToolResult { custom_tool_use_id: event, content });
        }
    }
    let goes_on =
        record.status == Status::Interrupted && edit.document.open_interrupts().next().is_none();
    if goes_on {
        (edit.status, edit.holder) = (Status::Running, Holder::Take(context.server));
        edit.tell(context.ids, Detail::StatusRunning { trace_id });
    }
    if let Some(reason) = denied {
        let text = match reason.trim() {
            "" => "Error: the user rejected this call".to_owned(),
            reason => format!("Error: the user rejected this call: {reason}"),
        };
        edit.answer(context.ids, i, &text);
    }
    if goes_on && edit.document.active.as_ref().is_some_and(Active::all_done) {
        edit.begin_request(context);
    }
    Ok(Change::of(&edit, record, context))
}

struct Approval {
    approved: bool,
    reason: Option<String>,
}

impl Approval {
    fn of(value: &Value) -> Result<Self, Refusal> {
        let Some(object) = value.as_object() else {
            return Err(bad(
                &[],
                "dict_type",
                "Input should be an object with `approved`, true or false",
            ));
        };
        match object.get("approved") {
            None => Err(bad(&["approved"], "missing", "Field required")),
            Some(Value::Bool(approved)) => match object.get("reason") {
                None | Some(Value::Null) => Ok(Self { approved: *approved, reason: None }),
                Some(Value::String(reason)) => {
                    Ok(Self { approved: *approved, reason: Some(reason.clone()) })
                }
                Some(_) => Err(bad(&["reason"], "string_type", "Input should be a valid string")),
            },
            Some(_) => Err(bad(&["approved"], "bool_type", "Input should be a valid boolean")),
        }
    }
}

fn check_answers(value: &Value) -> Result<(), Refusal> {
    let Some(object) = value.as_object() else {
        return Err(bad(&[], "dict_type", "Input should be an object with `answers`"));
    };
    let answers = match object.get("answers") {
        Some(Value::Object(answers)) => answers,
        Some(_) => {
            let text = "Input should be an object: the label of the answer by question";
            return Err(bad(&["answers"], "dict_type", text));
        }
        None => return Err(bad(&["answers"], "missing", "Field required")),
    };
    let is_answer = |answer: &Value| match answer {
        Value::String(_) => true,
        Value::Array(labels) => labels.iter().all(Value::is_string),
        _ => false,
    };
    match answers.iter().find(|(_, answer)| !is_answer(answer)) {
        None => Ok(()),
        Some((question, _)) => {
            let text = "Input should be a label, or a list of labels";
            Err(bad(&["answers", question], "string_type", text))
        }
    }
}

fn bad(at: &[&str], kind: &'static str, text: &'static str) -> Refusal {
    let at = at.iter().map(|name| (*name).to_owned()).collect();
    Refusal::BadAnswer { at, kind, text }
}

/// Requests the end of the current turn. Its holder ends it. The server of the context becomes the
/// holder of an interrupted turn.
pub(crate) fn cancel(record: &Record, document: Document, context: &mut Context<'_>) -> Change {
    let mut edit = Edit::of(record, document);
    match &mut edit.document.active {
        Some(active)
            if !active.cancelled && !matches!(record.status, Status::Idle | Status::Error) =>
        {
            active.cancelled = true
        }
        _ => return Change::Nothing,
    }
    edit.tell(context.ids, Detail::UserInterrupt {});
    if record.status == Status::Interrupted {
        (edit.status, edit.holder) = (Status::Running, Holder::Take(context.server));
    }
    Change::of(&edit, record, context)
}

/// Makes the server of the context the holder of a session whose holder is dead: of its running
/// turn, if any, and of its undelivered webhooks. Calls that had started are answered with an
/// error, because their effect is unknown. Idempotent calls may run again.
pub(crate) fn take_over(record: &Record, document: Document, context: &mut Context<'_>) -> Change {
    let mut edit = Edit::of(record, document);
    edit.holder = Holder::Take(context.server);
    if record.status != Status::Running {
        if record.holder.is_none() {
            return Change::Nothing;
        }
        if edit.document.deliveries.is_empty() {
            edit.holder = Holder::Release;
        }
        return Change::of(&edit, record, context);
    }
    let calls = edit.document.active.as_ref().map_or(0, |active| active.calls.len());
    for i in 0..calls {
        let Some(call) = edit.call(i).filter(|call| call.state == CallState::Started) else {
            continue;
        };
        if call.idempotent {
            call.state = CallState::Open;
        } else {
            edit.answer(
                context.ids,
                i,
                "Error: the server stopped while this call ran. Whether it had its effect is not known; it was not run again.",
            );
        }
    }
    let is_cancelled = edit.document.active.as_ref().is_some_and(|active| active.cancelled);
    edit.fail_request(context.ids);
    if !is_cancelled && edit.document.active.as_ref().is_some_and(Active::all_done) {
        edit.begin_request(context);
    }
    Change::of(&edit, record, context)
}

/// Releases a turn, so that another server takes it over at once.
pub(crate) fn release(record: &Record, document: Document, context: &mut Context<'_>) -> Change {
    let mut edit = Edit::of(record, document);
    edit.holder = Holder::Release;
    Change::of(&edit, record, context)
}

/// Removes a webhook that was delivered or abandoned. After the last one, a session without a
/// running turn has no holder.
pub(crate) fn delivered(
    record: &Record,
    document: Document,
    delivery: &str,
    context: &mut Context<'_>,
) -> Change {
    let mut edit = Edit::of(record, document);
    let before = edit.document.deliveries.len();
    edit.document.deliveries.retain(|known| known.id != delivery);
    if edit.document.deliveries.len() == before {
        return Change::Nothing;
    }
    let is_last = edit.document.deliveries.is_empty();
    // Without a running turn and without webhooks nobody needs the hold, whoever has it.
    if is_last && record.status != Status::Running {
        edit.holder = Holder::Release;
    }
    let mut commit = edit.commit(record, context, None);
    // Nothing that a client requested has changed: the session expires relative to the end of its
    // turn.
    commit.now = record.updated;
    if commit.expires.is_some() {
        commit.expires = context.rules.ttl.map(|ttl| record.updated.after(ttl));
    }
    Change::Commit(Box::new(commit))
}

/// Creates a commit that changes nothing, for storing an answer under a key.
pub(crate) fn nothing(record: &Record, document: Document, context: &mut Context<'_>) -> Commit {
    Edit::of(record, document).commit(record, context, None)
}

/// Returns the event that ends or interrupts a turn.
pub(super) fn idle(kind: super::Stop, event_ids: Vec<String>) -> Detail {
    Detail::StatusIdle { stop_reason: StopReason { kind, event_ids } }
}
