//! Spans for runs, model requests and tool calls, with the names and attributes of OpenTelemetry's
//! conventions for generative AI (`gen_ai.*`, status "development").
//!
//! | Span | `otel.name` | Covers |
//! |---|---|---|
//! | `invoke_agent` | `invoke_agent {agent}` | from the first request after a prompt until the run stops |
//! | `chat` | `chat {model}` | one model request with all its retries |
//! | `execute_tool` | `execute_tool {tool}` | one call: gate, tool and timeout |
//!
//! A call that the gate suspends, or whose tool asks a question, has a span with the attribute
//! `toolrunner.suspended`; when it continues, it has another span.
//!
//! Requests and calls are children of the run's span, whichever task polls them. Only the span of a
//! call is entered, around the tool's own code, so that the tool's spans and log lines are inside.
//! All spans have the level `INFO` and the target [`TRACE_TARGET`]. A layer that prints lines
//! should exclude the target, as `init_logging` does, because it would repeat all attributes in
//! each line. Without a subscriber, no span is created and nothing is formatted.

use std::sync::Arc;

use serde_json::{Value as Json, json};
use toolrunner_core::__private::BaseUrl;
use toolrunner_core::message::{ReplyMessage, Usage};
use toolrunner_core::run::{Call, Outcome};
use toolrunner_core::time::Instant;
use tracing::field::Empty;
use tracing::{Id, Span};

use super::concurrent::CompletedCall;
use super::trace_content::{record_messages, record_text, without_data};
use super::{RunBuilder, TraceParent};
use crate::EscapedText;
use crate::config::Settings;
use crate::error::Error;
use crate::params::Params;

/// The target of the spans of runs: see [`RunBuilder::agent_name`].
pub const TRACE_TARGET: &str = "toolrunner_std::trace";

/// Creates the `traceparent` header of a request from the request's span.
type Propagate = fn(&Span) -> Option<String>;

/// The application's settings for its spans.
#[derive(Clone, Debug, Default)]
struct Labels {
    agent: Option<String>,
    conversation: Option<String>,
    content: Option<usize>,
    propagate: Option<Propagate>,
    parent: Option<TraceParent>,
}

/// The spans of a run.
#[derive(Debug, Default)]
pub(super) struct Trace {
    labels: Option<Arc<Labels>>,
    /// Boxed: most runs are not traced, and a run at rest has no open span.
    open: Option<Box<Open>>,
}

/// The spans that are open.
#[derive(Debug)]
struct Open {
    run: Span,
    request: Option<Span>,
    /// The time when the request was sent, until its reply begins.
    sent: Option<Instant>,
    /// How many times the request was sent.
    attempts: u32,
}

impl RunBuilder {
    /// Sets the name of the agent in the run's spans (`gen_ai.agent.name`).
    pub fn agent_name(mut self, name: impl Into<String>) -> Self {
        self.trace.labels_mut().agent = Some(name.into());
        self
    }

    /// Sets the id of the conversation that the run belongs to in its spans
    /// (`gen_ai.conversation.id`). Runs have no such id of their own.
    pub fn conversation_id(mut self, id: impl Into<String>) -> Self {
        self.trace.labels_mut().conversation = Some(id.into());
        self
    }

    /// Records contents in the run's spans: messages, inputs and results, each up to `max_bytes`.
    /// If messages are longer, the oldest are omitted; an input or result that is longer is omitted
    /// completely. In both cases, the attribute `toolrunner.content.truncated` is set. Images and
    /// documents are never recorded. Default: no contents.
    pub fn trace_content(mut self, max_bytes: usize) -> Self {
        self.trace.labels_mut().content = Some(max_bytes);
        self
    }

    /// Makes the run part of the caller's trace. With the feature `otel` and its layer, the run's
    /// span becomes a child of this one, whatever the current span is. Without them, requests carry
    /// this header unchanged.
    pub fn trace_parent(mut self, parent: TraceParent) -> Self {
        self.trace.labels_mut().parent = Some(parent);
        self
    }

    /// Sends a `traceparent` header (W3C Trace Context) with each request: the one that `propagate`
    /// returns for the request's span, if any. A `traceparent` in the client's headers takes
    /// precedence. Default: that of the request's span, with the feature `otel` and its layer; or
    /// else that of [`trace_parent`](Self::trace_parent); or else no such header.
    pub fn propagate_trace(mut self, propagate: fn(&Span) -> Option<String>) -> Self {
        self.trace.labels_mut().propagate = Some(propagate);
        self
    }
}

impl Trace {
    fn labels_mut(&mut self) -> &mut Labels {
        Arc::make_mut(self.labels.get_or_insert_default())
    }

    /// Returns the trace of a copy of the run, with the same labels.
    pub(super) fn fork(&self) -> Self {
        Self { labels: self.labels.clone(), open: None }
    }

    fn content(&self) -> Option<usize> {
        self.labels.as_ref()?.content
    }

    /// Returns the open spans, and opens the run's span first. Returns `None` if no subscriber
    /// wants them.
    fn open(&mut self, id: u64, params: &Params) -> Option<&mut Open> {
        if self.open.is_none() {
            let labels = self.labels.as_deref();
            let agent = labels.and_then(|labels| labels.agent.as_deref());
            let run = tracing::info_span!(
                target: TRACE_TARGET,
                "invoke_agent",
                otel.name = %agent.map_or_else(|| "invoke_agent".to_owned(), |agent| format!("invoke_agent {}", EscapedText(agent))),
                otel.kind = "internal",
                otel.status_code = Empty,
                gen_ai.operation.name = "invoke_agent",
                gen_ai.provider.name = "anthropic",
                gen_ai.request.model = %EscapedText(text_of(params, "model")),
                gen_ai.agent.name = Empty,
                gen_ai.conversation.id = Empty,
                gen_ai.usage.input_tokens = Empty,
                gen_ai.usage.output_tokens = Empty,
                gen_ai.usage.cache_read.input_tokens = Empty,
                gen_ai.usage.cache_write.input_tokens = Empty,
                error.type = Empty,
                toolrunner.outcome = Empty,
                run = id.cast_signed(),
            );
            if run.is_disabled() {
                return None;
            }
            #[cfg(feature = "otel")]
            if let Some(parent) = labels.and_then(|labels| labels.parent.as_ref()) {
                crate::otel::set_parent(&run, parent);
            }
            if let Some(agent) = agent {
                run.record("gen_ai.agent.name", agent);
            }
            self.record_conversation(&run);
            self.open = Some(Box::new(Open { run, request: None, sent: None, attempts: 0 }));
        }
        self.open.as_deref_mut()
    }

    /// Records that a request is sent. Retries of a request share its span.
    pub(super) fn request(
        &mut self,
        id: u64,
        params: &Params,
        settings: &Settings,
        is_stream: bool,
        now: Instant,
    ) {
        let Some(open) = self.open(id, params) else { return };
        open.sent = Some(now);
        open.attempts += 1;
        if open.request.is_none() {
            let parent = open.run.id();
            let request = self.new_request(parent, id, params, settings, is_stream);
            if let Some(open) = &mut self.open {
                open.request = Some(request);
            }
        }
    }

    fn new_request(
        &self,
        parent: Option<Id>,
        id: u64,
        params: &Params,
        settings: &Settings,
        is_stream: bool,
    ) -> Span {
        let request = tracing::info_span!(
            target: TRACE_TARGET,
            parent: parent,
            "chat",
            otel.name = %format_args!("chat {}", EscapedText(text_of(params, "model"))),
            otel.kind = "client",
            otel.status_code = Empty,
            gen_ai.operation.name = "chat",
            gen_ai.provider.name = "anthropic",
            gen_ai.request.model = %EscapedText(text_of(params, "model")),
            gen_ai.request.max_tokens = params.json("max_tokens").and_then(|json| json.parse::<i64>().ok()),
            gen_ai.request.stream = is_stream.then_some(true),
            gen_ai.conversation.id = Empty,
            gen_ai.input.messages = Empty,
            gen_ai.output.messages = Empty,
            gen_ai.response.id = Empty,
            gen_ai.response.model = Empty,
            gen_ai.response.finish_reasons = Empty,
            gen_ai.response.time_to_first_chunk = Empty,
            gen_ai.usage.input_tokens = Empty,
            gen_ai.usage.output_tokens = Empty,
            gen_ai.usage.cache_read.input_tokens = Empty,
            gen_ai.usage.cache_write.input_tokens = Empty,
            server.address = Empty,
            server.port = Empty,
            anthropic.request.id = Empty,
            error.type = Empty,
            toolrunner.attempts = Empty,
            toolrunner.content.truncated = Empty,
            run = id.cast_signed(),
        );
        if let Ok(url) = BaseUrl::parse(settings.base_url()) {
            request.record("server.address", url.host);
            request.record(
                "server.port",
                i64::from(url.port.unwrap_or(if url.secure { 443 } else { 80 })),
            );
        }
        self.record_conversation(&request);
        request
    }

    fn record_conversation(&self, span: &Span) {
        if let Some(id) = self.labels.as_ref().and_then(|labels| labels.conversation.as_deref()) {
            span.record("gen_ai.conversation.id", id);
        }
    }

    /// Returns the `traceparent` header of the request under way.
    pub(super) fn traceparent(&self) -> Option<String> {
        let labels = self.labels.as_deref();
        let request = self.open.as_ref().and_then(|open| open.request.as_ref());
        if let Some(propagate) = labels.and_then(|labels| labels.propagate) {
            return propagate(request?);
        }
        #[cfg(feature = "otel")]
        if let Some(own) = request.and_then(crate::otel::traceparent) {
            return Some(own.to_string());
        }
        labels?.parent.as_ref().map(TraceParent::to_string)
    }

    /// Returns whether the contents of a request are recorded.
    pub(super) fn wants_input(&self) -> bool {
        self.content().is_some() && self.open.is_some()
    }

    /// Records the messages of the request under way, which are a JSON array.
    pub(super) fn input(&self, messages: &str) {
        let (Some(limit), Some(Some(request))) =
            (self.content(), self.open.as_ref().map(|open| &open.request))
        else {
            return;
        };
        let messages: Vec<Json> = serde_json::from_str(messages).unwrap_or_default();
        record_messages(request, "gen_ai.input.messages", messages.iter(), limit);
    }

    /// Records that the reply begins.
    pub(super) fn reply_begins(&mut self, now: impl FnOnce() -> Instant) {
        let Some(open) = &mut self.open else { return };
        if let (Some(sent), Some(request)) = (open.sent.take(), &open.request) {
            request.record("gen_ai.response.time_to_first_chunk", now().since(sent).as_secs_f64());
        }
    }

    /// Takes the request's span, which ends, and how many times the request was sent.
    fn take_request(&mut self) -> Option<(Span, u32)> {
        let open = self.open.as_mut()?;
        Some((open.request.take()?, core::mem::take(&mut open.attempts)))
    }

    /// Records that the reply is complete, or that a part of it is kept. `message` is called only
    /// if there is a span.
    pub(super) fn reply_ends(
        &mut self,
        usage: Usage,
        request_id: &str,
        message: impl FnOnce() -> Option<ReplyMessage>,
    ) {
        let Some((request, attempts)) = self.take_request() else { return };
        record_usage(&request, usage);
        request.record("toolrunner.attempts", i64::from(attempts));
        request.record("otel.status_code", "OK");
        if !request_id.is_empty() {
            request.record("anthropic.request.id", request_id);
        }
        let Some(message) = message() else { return };
        request.record("gen_ai.response.id", tracing::field::display(EscapedText(message.id())));
        request
            .record("gen_ai.response.model", tracing::field::display(EscapedText(message.model())));
        if let Some(reason) = message.stop_reason_text() {
            request
                .record("gen_ai.response.finish_reasons", json!([reason.to_string()]).to_string());
        }
        if let Some(limit) = self.content() {
            let message: Option<Json> = serde_json::from_str(message.as_json()).ok();
            record_messages(&request, "gen_ai.output.messages", message.iter(), limit);
        }
    }

    /// Records that the request under way failed and is not retried, or was abandoned.
    pub(super) fn request_fails(&mut self, kind: &str) {
        let Some((request, attempts)) = self.take_request() else { return };
        request.record("toolrunner.attempts", i64::from(attempts));
        request.record("error.type", kind);
        request.record("otel.status_code", "ERROR");
    }

    /// Opens the run's span, so that those of calls are inside.
    pub(super) fn run_begins(&mut self, id: u64, params: &Params) {
        self.open(id, params);
    }

    /// Creates the span of a call, whose name and id are raw.
    pub(super) fn call(&self, run: u64, call: &Call<'_>) -> Span {
        let Some(parent) = self.open.as_ref().map(|open| open.run.id()) else {
            return Span::none();
        };
        let span = tracing::info_span!(
            target: TRACE_TARGET,
            parent: parent,
            "execute_tool",
            otel.name = %format_args!("execute_tool {}", EscapedText(call.name)),
            otel.kind = "internal",
            otel.status_code = Empty,
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.name = %EscapedText(call.name),
            gen_ai.tool.call.id = %EscapedText(call.id),
            gen_ai.tool.type = "function",
            gen_ai.tool.call.arguments = Empty,
            gen_ai.tool.call.result = Empty,
            gen_ai.conversation.id = Empty,
            error.type = Empty,
            toolrunner.content.truncated = Empty,
            toolrunner.suspended = Empty,
            run = run.cast_signed(),
        );
        self.record_conversation(&span);
        if let Some(limit) = self.content() {
            record_text(&span, "gen_ai.tool.call.arguments", call.input.as_json(), limit);
        }
        span
    }

    /// Returns a function that records a call's end in its span.
    pub(super) fn ends_call(&self) -> impl FnOnce(&Span, &CompletedCall) + Send + use<> {
        let limit = self.content();
        move |span, done| {
            let Some((content, is_error)) = &done.answer else {
                span.record("toolrunner.suspended", true);
                return;
            };
            span.record("otel.status_code", if *is_error { "ERROR" } else { "OK" });
            if *is_error {
                span.record("error.type", "tool_error");
            }
            if let Some(limit) = limit {
                record_text(span, "gen_ai.tool.call.result", &without_data(content), limit);
            }
        }
    }

    /// Records that the run is over.
    pub(super) fn run_ends(&mut self, outcome: Option<Outcome>, usage: Usage) {
        let Some(Open { run, .. }) = self.open.take().map(|open| *open) else { return };
        record_usage(&run, usage);
        if let Some(outcome) = outcome {
            run.record("toolrunner.outcome", tracing::field::display(outcome));
            run.record("otel.status_code", "OK");
        }
    }

    /// Records that the run stops with an error.
    pub(super) fn run_fails(&mut self, error: &Error, usage: Usage) {
        let kind = kind_of(error);
        self.request_fails(&kind);
        if let Some(Open { run, .. }) = self.open.as_deref() {
            run.record("error.type", kind.as_str());
            run.record("otel.status_code", "ERROR");
        }
        self.run_ends(None, usage);
    }
}

/// Returns the `error.type` of an error: the API's error type, or the status if it has none.
fn kind_of(error: &Error) -> String {
    match error {
        Error::Api(failure) if !failure.kind.is_empty() => EscapedText(&failure.kind).to_string(),
        Error::Api(failure) => failure.error.status.to_string(),
        Error::Capacity(_) => "capacity".to_owned(),
        Error::Misuse(_) | Error::Invalid(_) | Error::Setup(_) => "invalid_use".to_owned(),
        Error::Protocol(_) => "protocol".to_owned(),
        Error::Hook(_) => "request_hook".to_owned(),
        Error::Transport(_) => "transport".to_owned(),
    }
}

fn text_of(params: &Params, name: &str) -> String {
    params.json(name).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// Records token counts as the conventions define them: the input includes tokens read from or
/// written to a cache.
fn record_usage(span: &Span, usage: Usage) {
    // Signed, as OpenTelemetry's numbers are: others would be exported as text.
    let record = |name, tokens| span.record(name, i64::try_from(tokens).unwrap_or(i64::MAX));
    record("gen_ai.usage.input_tokens", usage.input_total());
    record("gen_ai.usage.output_tokens", usage.output_tokens);
    record("gen_ai.usage.cache_read.input_tokens", usage.cache_read_input_tokens);
    record("gen_ai.usage.cache_write.input_tokens", usage.cache_creation_input_tokens);
}
