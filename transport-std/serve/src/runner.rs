//! The run of a turn. Only this module uses [`Run`]. It reports [`Fact`]s and continues only as far
//! as the turn's holder allows.

mod failure;
mod function;
mod gate;
mod preview;
#[cfg(test)]
mod tests;

use core::panic::AssertUnwindSafe;
use core::time::Duration;
use std::collections::{HashMap, VecDeque};
use std::panic::catch_unwind;
use std::sync::Arc;

use serde_json::json;
use serde_json::value::RawValue;
use toolrunner_std::machine::json::Value;
use toolrunner_std::machine::message::Block;
use toolrunner_std::{Decision, Error, Event, Limit, Outcome, Run, StopReason, ToolAnswer};
use uuid::Uuid;

use self::failure::detail;
use self::function::Function;
use self::gate::Gate;
pub(crate) use self::preview::Preview;
use self::preview::ReplyText;
use crate::agent::{Agent, Kind, Session};
use crate::chat::raw;
use crate::engine::{
    CallState, Continuation, Document, End, ErrorDetail, Fact, NewCall, Patch, Reply, Stop, Usage,
    blocks_of,
};

/// The error of a turn whose agent panicked.
const PANIC: &str = "the agent panicked";

/// How long tools may continue after a cancel.
const GRACE: Duration = Duration::from_secs(1);

/// Receives previews and reports of a runner.
pub(crate) trait Watcher: Send + Sync {
    fn preview(&self, preview: Preview);
    fn model_request(&self);
    fn tool_call(&self, name: &str, is_error: bool);
}

/// The results of calls that are in the log: by the call's index, the content and whether it is an
/// error.
pub(crate) type Results = HashMap<usize, (Box<RawValue>, bool)>;

/// The run of one turn.
pub(crate) enum Runner {
    Loop(Box<Loop>),
    Function(Function),
    /// The run could not be built, for this reason. `None` once the reason has been reported.
    Broken(Option<ErrorDetail>),
}

impl Runner {
    /// Creates a run that continues the turn at the state in `document`.
    pub(crate) fn new(
        agent: &Agent,
        session: &Session,
        transcript: String,
        document: &Document,
        results: &Results,
        watcher: Arc<dyn Watcher>,
        trace_content: Option<usize>,
    ) -> Self {
        match &agent.kind {
            Kind::Run(build) => {
                let Ok(builder) = catch_unwind(AssertUnwindSafe(|| build(session))) else {
                    return Self::Broken(Some(ErrorDetail::new("agent_error", PANIC)));
                };
                let mut builder = builder.conversation_id(session.id);
                let parent =
                    document.active.as_ref().and_then(|active| active.trace_parent.as_ref());
                if let Some(parent) = parent.and_then(|parent| parent.parse().ok()) {
                    builder = builder.trace_parent(parent);
                }
                if let Some(most) = trace_content {
                    builder = builder.trace_content(most);
                }
                match Loop::new(builder, transcript, document, results, watcher) {
                    Ok(this) => Self::Loop(Box::new(this)),
                    Err(error) => Self::Broken(Some(detail(&error))),
                }
            }
            Kind::Function(answer) => Self::Function(Function::new(Arc::clone(answer), transcript)),
        }
    }

    /// Returns the next fact. Pends until the run may continue. The future may be dropped and this
    /// method called again.
    pub(crate) async fn next(&mut self) -> Fact {
        match self {
            Self::Loop(this) => this.next().await,
            Self::Function(this) => this.next().await,
            Self::Broken(error) => match error.take() {
                Some(error) => Fact::Ended { end: End::Failed(error), patch: None },
                None => core::future::pending().await,
            },
        }
    }

    /// Allows the next request.
    pub(crate) fn proceed(&mut self) {
        match self {
            Self::Loop(this) => this.phase = Phase::Goes,
            Self::Function(this) => this.proceed(),
            Self::Broken(_) => {}
        }
    }

    /// Allows this call to run.
    pub(crate) fn allow(&mut self, call: usize) {
        if let Self::Loop(this) = self {
            this.allow(call);
        }
    }

    /// Passes on the answers to the questions of this call's tool.
    pub(crate) fn answer_questions(&mut self, call: usize, answers: &[Box<RawValue>]) {
        if let Self::Loop(this) = self {
            this.answer_questions(call, answers);
        }
    }

    /// Sets the result of a call that already has one in the log.
    pub(crate) fn answer(&mut self, call: usize, content: &RawValue, is_error: bool) {
        if let Self::Loop(this) = self {
            this.answer(call, content, is_error);
        }
    }

    /// Cancels the run, which then ends soon.
    pub(crate) fn cancel(&mut self) {
        match self {
            Self::Loop(this) => {
                this.is_cancelled = true;
                this.phase = Phase::Goes;
                this.run.cancellation().cancel();
            }
            Self::Function(this) => this.cancel(),
            Self::Broken(_) => {}
        }
    }

    /// Ends the run now, as failed.
    pub(crate) fn fail(&mut self, error: ErrorDetail) -> Fact {
        match self {
            Self::Loop(this) => {
                this.run.stop();
                this.ended(End::Failed(error))
            }
            Self::Function(this) => {
                this.end();
                Fact::Ended { end: End::Failed(error), patch: None }
            }
            Self::Broken(_) => Fact::Ended { end: End::Failed(error), patch: None },
        }
    }

    /// Returns the conversation if its length equals `stored`, the length that was stored. A failed
    /// turn stores less.
    pub(crate) fn transcript(&self, stored: u64) -> Option<&str> {
        let transcript = match self {
            Self::Loop(this) => &this.transcript,
            Self::Function(this) => this.transcript(),
            Self::Broken(_) => return None,
        };
        transcript.get(..usize::try_from(stored).ok()?)
    }
}

/// Whether the run may be driven.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The run waits for permission: earlier facts are not stored yet, or all remaining calls wait
    /// for answers.
    Held,
    /// The run may be driven.
    Goes,
    /// The run has ended.
    Over,
}

/// A run of the model with its tools.
pub(crate) struct Loop {
    run: Run,
    gate: Arc<Gate>,
    watcher: Arc<dyn Watcher>,
    transcript: String,
    phase: Phase,
    is_cancelled: bool,
    /// The reply is complete and has not been reported.
    is_at_stop: bool,
    calls: Vec<ReplyCall>,
    facts: VecDeque<Fact>,
    reply: ReplyText,
}

/// A call of the last reply.
struct ReplyCall {
    id: String,
    /// Whether its start is stored together with the reply.
    starts: bool,
    is_done: bool,
    is_suspended: bool,
    /// The number of answers to questions that the run has received.
    answers: usize,
}

impl Loop {
    fn new(
        builder: toolrunner_std::RunBuilder,
        transcript: String,
        document: &Document,
        results: &Results,
        watcher: Arc<dyn Watcher>,
    ) -> Result<Self, Error> {
        let gate = Arc::new(Gate::default());
        let door = Arc::clone(&gate);
        let builder = builder.grace(GRACE).gate(move |call| {
            let door = Arc::clone(&door);
            async move { door.pass(call.id).await }
        });
        let active = document.active.as_ref();
        let run = match active.and_then(|active| active.frame.as_deref()) {
            Some(frame) => builder.resume(&format!("{frame},\"messages\":[{transcript}]}}")),
            None => builder.messages(format!("[{transcript}]")),
        };
        failure::check(&run)?;
        let mut this = Self {
            run,
            gate,
            watcher,
            transcript,
            phase: Phase::Held,
            is_cancelled: false,
            is_at_stop: false,
            calls: Vec::new(),
            facts: VecDeque::new(),
            reply: ReplyText::default(),
        };
        // A retry may follow text that watchers have seen: previews start again under a new id.
        this.run.retry_policy_mut().after_output = true;
        for (i, call) in active.into_iter().flat_map(|active| &active.calls).enumerate() {
            let is_done = call.state == CallState::Done;
            let is_suspended = call.state == CallState::Waiting;
            this.calls.push(ReplyCall {
                id: call.id.clone(),
                starts: false,
                is_done: false,
                is_suspended,
                answers: 0,
            });
            if let Some((content, is_error)) = results.get(&i).filter(|_| is_done) {
                this.run.answer_with(
                    &call.id,
                    ToolAnswer::ok_json(content.get().as_bytes()).with_error(*is_error),
                )?;
                this.calls[i].is_done = true;
            } else if is_suspended {
                this.gate.decide(&call.id, Decision::Suspend);
            }
            this.answer_questions(i, &call.answers);
        }
        if this.calls.iter().any(|call| !call.is_done) {
            this.phase = Phase::Goes;
        }
        Ok(this)
    }

    async fn next(&mut self) -> Fact {
        loop {
            if let Some(fact) = self.facts.pop_front() {
                return fact;
            }
            let gate = Arc::clone(&self.gate);
            let asked = match self.phase {
                Phase::Over => core::future::pending().await,
                Phase::Held => Some(gate.asked().await),
                Phase::Goes => tokio::select! {
                    biased;
                    id = gate.asked() => Some(id),
                    () = self.advance() => None,
                },
            };
            if let Some(id) = asked
                && let Some(i) = self.calls.iter().position(|call| !call.is_done && call.id == id)
                && !self.calls[i].starts
            {
                return Fact::Starting(i);
            }
        }
    }

    /// Drives the run to its next event.
    async fn advance(&mut self) {
        if self.is_at_stop {
            let is_whole = match self.run.next_turn().await {
                Ok(turn) => turn.is_some(),
                Err(error) => return self.failed(&error),
            };
            self.is_at_stop = false;
            return if is_whole { self.replied() } else { self.over() };
        }
        let done = match self.run.next_event().await {
            Err(error) => return self.failed(&error),
            Ok(None) => return self.over(),
            Ok(Some(event)) => match event {
                Event::Request { .. } => {
                    self.watcher.model_request();
                    self.reply = ReplyText {
                        event: format!("evt_{}", Uuid::now_v7().simple()),
                        ..ReplyText::default()
                    };
                    return;
                }
                Event::Text { index, text } => {
                    return self.reply.show(index, &text.to_string(), &*self.watcher);
                }
                Event::MessageStop => {
                    self.is_at_stop = true;
                    return;
                }
                Event::ToolEnd { id, name, content, is_error } => {
                    let id = id.to_string();
                    let found = self.calls.iter().position(|call| !call.is_done && call.id == id);
                    found.map(|i| (i, name.to_string(), blocks_of(content.as_json()), is_error))
                }
                _ => return,
            },
        };
        let Some((call, name, content, is_error)) = done else { return };
        self.watcher.tool_call(&name, is_error);
        self.calls[call].is_done = true;
        self.facts.push_back(Fact::ToolDone { call, content, is_error });
        self.hold_if_done();
    }

    /// Holds the run once every call has a result, so that the next request waits until all are
    /// stored.
    fn hold_if_done(&mut self) {
        if !self.is_cancelled
            && self.phase == Phase::Goes
            && self.calls.iter().all(|call| call.is_done)
        {
            self.phase = Phase::Held;
        }
    }

    fn replied(&mut self) {
        let stop_reason = self.run.machine().stop_reason();
        let is_last = self.run.outcome().is_some();
        let usage = self.run.machine().turn_usage();
        let (mut texts, mut text_blocks, mut has_thinking) = (Vec::new(), Vec::new(), false);
        let content =
            self.run.machine().last_message().and_then(|message| message.value().member("content"));
        for block in content.unwrap_or_default().elements() {
            match Block::new(block) {
                Block::Text(text) => {
                    texts.push(text.text().to_string());
                    text_blocks.push(json_of(block));
                }
                _ if block.member("type").is_some_and(|kind| {
                    kind.as_text()
                        .is_some_and(|kind| kind == *"thinking" || kind == *"redacted_thinking")
                }) =>
                {
                    has_thinking = true;
                }
                _ => {}
            }
        }
        let then = match stop_reason {
            Some(StopReason::Refusal) if is_last => Continuation::End(Stop::Refusal),
            _ if is_last => Continuation::End(Stop::EndTurn),
            _ if !self.run.is_within_limits() => Continuation::End(Stop::MaxIterations),
            _ => Continuation::More,
        };
        let calls = self.new_calls(then == Continuation::More);
        self.calls = calls
            .iter()
            .map(|call| ReplyCall {
                id: call.id.clone(),
                starts: call.starts,
                is_done: false,
                is_suspended: call.needs_approval,
                answers: 0,
            })
            .collect();
        for call in calls.iter().filter(|call| call.needs_approval) {
            self.gate.decide(&call.id, Decision::Suspend);
        }
        let frame = if then == Continuation::More { self.frame() } else { None };
        if then != Continuation::More {
            // Calls that will not run are answered, so that the next turn finds a valid
            // conversation.
            let _ = self.run.close_open_calls();
            self.phase = Phase::Over;
        } else if self.calls.is_empty() && !self.is_cancelled {
            self.phase = Phase::Held;
        }
        let patch = self.patch("");
        self.facts.push_back(Fact::Reply(Reply {
            event: core::mem::take(&mut self.reply.event),
            has_thinking,
            text_blocks: (!text_blocks.is_empty()).then(|| raw(&text_blocks)),
            text: texts.join("\n"),
            calls,
            usage: Usage {
                input_tokens: usage.input_tokens,
                output_tokens: usage.output_tokens,
                cache_creation_input_tokens: usage.cache_creation_input_tokens,
                cache_read_input_tokens: usage.cache_read_input_tokens,
            },
            stop_reason: stop_reason.map(|reason| reason.name().to_owned()),
            patch,
            frame: frame.unwrap_or_default(),
            then,
        }));
        self.reply = ReplyText::default();
    }

    fn new_calls(&self, may_run: bool) -> Vec<NewCall> {
        let calls = self.run.open_calls().enumerate();
        let new = calls.map(|(i, call)| {
            let name = call.name.to_string();
            let tool = self.run.definition(&call).filter(|_| may_run);
            let needs_approval = tool.is_some_and(|tool| tool.requires_approval);
            // Calls that may have to wait for others store their start when they begin.
            let starts = tool.is_some_and(|tool| tool.serial.is_none() && tool.runnable)
                && !needs_approval
                && i < self.run.concurrency();
            let idempotent = tool.is_some_and(|tool| tool.idempotent);
            NewCall {
                id: call.id.to_string(),
                name,
                input: json_of(call.input),
                needs_approval,
                idempotent,
                starts,
            }
        });
        new.collect()
    }

    /// Handles a run that does not continue by itself.
    fn over(&mut self) {
        match self.run.outcome() {
            Some(Outcome::NeedsAnswer) if !self.is_cancelled => self.suspended(),
            Some(Outcome::Limit(Limit::Transcript)) => {
                self.failed_with("transcript_full", "the conversation is too long for the agent")
            }
            Some(Outcome::Limit(_)) => {
                let text = self.run.message().map(|message| message.text()).unwrap_or_default();
                let fact = self.ended(End::Stop(Stop::MaxIterations, text));
                self.facts.push_back(fact);
            }
            Some(Outcome::Broken) => {
                self.failed_with("reply_broken", "the model's reply ended early")
            }
            None | Some(Outcome::Ended(_) | Outcome::NeedsAnswer | Outcome::Stopped) => {
                let text = core::mem::take(&mut self.reply.text);
                let text = text.trim_end();
                let partial = (!text.is_empty())
                    .then(|| (core::mem::take(&mut self.reply.event), text.to_owned()));
                let fact = self.ended(End::Cancelled { partial });
                self.facts.push_back(fact);
            }
            // `Outcome` may have new variants, and a message thread is lost only where it is freed.
            Some(outcome) => self.failed_with("run_over", &outcome.to_string()),
        }
    }

    /// Handles a run in which calls wait for answers and nothing else runs.
    fn suspended(&mut self) {
        let mut is_answered = false;
        for i in 0..self.calls.len() {
            let call = &mut self.calls[i];
            if call.is_done || call.is_suspended {
                continue;
            }
            if let Some(questions) = self.run.question(&call.id) {
                call.is_suspended = true;
                let questions = RawValue::from_string(questions.to_owned()).unwrap_or_default();
                self.facts.push_back(Fact::Asked { call: i, questions });
            } else {
                // No program here runs a tool that is only declared.
                let content = raw("Error: no tool here can run this call");
                is_answered |= self
                    .run
                    .answer_with(&call.id, ToolAnswer::error_json(content.get().as_bytes()))
                    .is_ok();
            }
        }
        if !is_answered {
            self.phase = Phase::Held;
            self.facts.push_back(Fact::Waiting { spent: 0 });
        }
    }

    fn failed(&mut self, error: &Error) {
        let fact = self.ended(End::Failed(detail(error)));
        self.facts.push_back(fact);
    }

    fn failed_with(&mut self, kind: &str, text: &str) {
        let fact = self.ended(End::Failed(ErrorDetail::new(kind, text)));
        self.facts.push_back(fact);
    }

    fn ended(&mut self, end: End) -> Fact {
        self.phase = Phase::Over;
        let is_closed = self.run.close_open_calls().is_ok();
        let added = match &end {
            End::Cancelled { partial: Some((_, text)) } => {
                let content = json!([{"type": "text", "text": text}]);
                format!(",{}", json!({"role": "assistant", "content": content}))
            }
            _ => String::new(),
        };
        let patch = if is_closed { self.patch(&added) } else { None };
        Fact::Ended { end, patch }
    }

    /// Returns the run's state without its messages, which are in the log.
    fn frame(&self) -> Option<String> {
        let mut frame = Vec::new();
        self.run.machine().snapshot_frame(&mut frame).ok()?;
        String::from_utf8(frame).ok()
    }

    /// Returns the change from the last conversation to the run's, with `added` after it. Returns
    /// `None` if nothing changes.
    fn patch(&mut self, added: &str) -> Option<Patch> {
        let conversation = self.run.machine().messages();
        let same = common_prefix(self.transcript.as_bytes(), conversation);
        // The bytes before it are the same, so this is a boundary of both.
        let from = self.transcript.floor_char_boundary(same);
        let text = String::from_utf8_lossy(&conversation[from..]) + added;
        if text.is_empty() && from == self.transcript.len() {
            return None;
        }
        self.transcript.truncate(from);
        self.transcript.push_str(&text);
        Some(Patch { from: from as u64, text: text.into_owned() })
    }

    fn allow(&mut self, i: usize) {
        let Some(call) = self.calls.get_mut(i) else { return };
        if core::mem::take(&mut call.is_suspended) {
            // The run has suspended the call, so it does not ask the gate again.
            let _ = self.run.allow(&call.id);
            self.phase = Phase::Goes;
        }
        self.gate.decide(&call.id, Decision::Allow);
    }

    fn answer_questions(&mut self, i: usize, answers: &[Box<RawValue>]) {
        let Some(call) = self.calls.get_mut(i) else { return };
        for answer in answers.iter().skip(call.answers) {
            let _ = self.run.answer_question(&call.id, answer.get());
        }
        call.answers = call.answers.max(answers.len());
    }

    fn answer(&mut self, i: usize, content: &RawValue, is_error: bool) {
        let Some(call) = self.calls.get_mut(i).filter(|call| !call.is_done) else { return };
        call.is_done = true;
        let _ = self.run.answer_with(
            &call.id,
            ToolAnswer::ok_json(content.get().as_bytes()).with_error(is_error),
        );
        self.hold_if_done();
    }
}

/// Returns a value's JSON, or a JSON string of its text if that is not valid JSON.
fn json_of(value: Value<'_>) -> Box<RawValue> {
    RawValue::from_string(value.as_json().to_owned()).unwrap_or_else(|_| raw(value.as_json()))
}

/// Returns the length of the common beginning. Conversations are long, and blocks are compared much
/// faster than single bytes.
fn common_prefix(old: &[u8], new: &[u8]) -> usize {
    const BLOCK: usize = 4096;
    let blocks = old.chunks_exact(BLOCK).zip(new.chunks_exact(BLOCK));
    let at = blocks.take_while(|(old, new)| old == new).count() * BLOCK;
    at + old[at..].iter().zip(&new[at..]).take_while(|(old, new)| old == new).count()
}
