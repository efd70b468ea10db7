//! A model that follows a script.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::demo;
use super::render::{Context, Style, error_json, stream, whole};
use super::request::Request;
use super::script::{Answer, AnswerKind, Brain, Chunk, Script};
use super::thread::{Meaning, ThreadSupport, Threads};
use super::validity::{self, Tail};
use crate::history::{MAX_BREAKPOINTS, breakpoints, breakpoints_in_front, is_blank};
use crate::json::{Kind, Value, check};
use crate::message::{Messages, Role};

/// A response of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The header fields: content type, request id, and those of the script.
    pub headers: Vec<(String, String)>,
    /// The body in pieces, with pauses.
    pub body: Vec<Chunk>,
}

impl Response {
    /// Returns all bytes of the body.
    pub fn bytes(&self) -> Vec<u8> {
        bytes(&self.body)
    }
}

/// Returns all bytes in `chunks`.
pub(super) fn bytes(chunks: &[Chunk]) -> Vec<u8> {
    let data = chunks.iter().filter_map(|chunk| {
        if let Chunk::Data(data) = chunk { Some(data.as_slice()) } else { None }
    });
    data.collect::<Vec<_>>().concat()
}

/// A Messages API whose model follows a script. It checks each request as the API would, records
/// it, and returns the next answer. It does no I/O: [`ScriptedTransport`](super::ScriptedTransport)
/// connects it in memory and [`http1`](super::http1) to a socket.
///
/// An invalid request is answered with status 400 and the reason, as by the API, and does not use
/// up an answer. So is a request after the end of the script. If an answer did not arrive
/// ([`broken`](Self::broken)) and an identical request follows, it gets the same answer, unless
/// that answer itself ended with an `error` event.
///
/// ```
/// use toolrunner_core::testing::{Request, Script, ScriptedModel, ScriptedReply};
/// let mut model = ScriptedModel::new(Script::new().reply(ScriptedReply::text("Hello")));
/// let body = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}]}"#;
/// let response = model.respond(Request::new("/v1/messages", body));
/// assert_eq!(response.status, 200);
/// ```
pub struct ScriptedModel {
    script: Script,
    style: Style,
    key: Option<String>,
    lenient: bool,
    requests: Vec<Request>,
    complaints: Vec<String>,
    last: Option<Answer>,
    broken: bool,
    paused: bool,
    threads: Threads,
}

impl ScriptedModel {
    /// Creates a model that follows `script`.
    pub fn new(script: Script) -> Self {
        Self {
            script,
            style: Style::default(),
            key: None,
            lenient: false,
            requests: Vec::new(),
            complaints: Vec::new(),
            last: None,
            broken: false,
            paused: false,
            threads: Threads::default(),
        }
    }

    /// Creates a model that calls `brain` to answer each request.
    pub fn answering(brain: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        Self::new(Script::new().then(brain))
    }

    /// Creates a model for demonstrations.
    ///
    /// It knows `get_weather` and `calculate_sum`. It calls them when the prompt asks for the
    /// weather in a place or contains a sum of two numbers, and then states their results.
    /// Otherwise it introduces itself.
    pub fn demo() -> Self {
        Self::answering(demo::answer)
    }

    /// Sets the style of the replies.
    pub fn style(mut self, style: Style) -> Self {
        self.style = style;
        self
    }

    /// Accepts only requests with this key, as `x-api-key` or as a bearer token. Others are
    /// answered with status 401.
    pub fn require_key(mut self, key: &str) -> Self {
        self.key = Some(key.to_string());
        self
    }

    /// Sets how the model treats message threads. The default is [`ThreadSupport::Keep`].
    ///
    /// ```
    /// use toolrunner_core::testing::{Request, Script, ScriptedModel, ScriptedReply, ThreadSupport};
    /// let mut model = ScriptedModel::new(Script::new().reply(ScriptedReply::text("Hello")))
    ///     .threads(ThreadSupport::Refuse);
    /// let body = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"Hi"}],
    ///     "thread":{"type":"create"}}"#;
    /// assert_eq!(model.respond(Request::new("/v1/messages", body)).status, 400);
    /// ```
    pub fn threads(mut self, support: ThreadSupport) -> Self {
        self.threads.support = support;
        self
    }

    /// Forgets all message threads: a request that continues one gets the API's error
    /// `thread_not_found`.
    pub fn lose_threads(&mut self) {
        self.threads.lose();
    }

    /// Answers every request without checking it, for scripts whose requests are checked by other
    /// means.
    pub const fn lenient(mut self) -> Self {
        self.lenient = true;
        self
    }

    /// Returns the requests so far, including those that were refused.
    pub fn requests(&self) -> &[Request] {
        &self.requests
    }

    /// Returns the reasons why requests were refused, in order.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Returns the number of answers that remain in the script.
    pub fn left(&self) -> usize {
        self.script.answers.len()
    }

    /// Reports that the last answer did not arrive completely. An identical request then gets the
    /// same answer again.
    pub const fn broken(&mut self) {
        self.broken = true;
    }

    /// Reports that the last answer arrived after all.
    pub(super) const fn arrived(&mut self) {
        self.broken = false;
    }

    /// Answers one request.
    pub fn respond(&mut self, request: Request) -> Response {
        let request_id = format!("req_scripted_{:04}", self.requests.len() + 1);
        let again = self.broken && self.is_repeated(&request);
        self.broken = false;
        let answer = match self.refusal(&request, again) {
            Some(refusal) => refusal,
            None => match self.last.take() {
                Some(last) if again && !last.breaks() => last,
                _ => self.next_answer(&request),
            },
        };
        let response = self.render(&request, &answer, &request_id);
        let id = self.reply_id();
        self.threads.keep(&request, &answer, &id);
        self.last = Some(answer);
        self.requests.push(request);
        response
    }

    /// Returns whether a request asks for the same as the last one: the body is identical, or it
    /// has the same conversation. On a message thread a request may contain only a part of it.
    fn is_repeated(&self, request: &Request) -> bool {
        let Some(last) = self.requests.last() else { return false };
        let is_threaded = |request: &Request| request.json().member("thread").is_some();
        last.body == request.body
            || (is_threaded(last) || is_threaded(request)) && {
                let [last, this] = [last, request].map(|request| self.threads.meaning(request));
                this.messages.is_some() && this.messages == last.messages
            }
    }

    /// Returns the id of the reply to the current request.
    fn reply_id(&self) -> String {
        format!("msg_scripted_{:04}", self.requests.len() + 1)
    }

    fn next_answer(&mut self, request: &Request) -> Answer {
        if let Some(answer) = self.script.answers.pop_front() {
            return answer;
        }
        let brain: Option<&mut Brain> = self.script.then.as_mut();
        match brain {
            Some(brain) => brain(request),
            None => self.complain(
                400,
                "invalid_request_error",
                "the script has no answer left".to_string(),
            ),
        }
    }

    fn complain(&mut self, status: u16, kind: &str, message: String) -> Answer {
        let answer = Answer::error(status, kind, &message);
        self.complaints.push(message);
        answer
    }

    /// Returns the error that the API would return, if the request is invalid.
    fn refusal(&mut self, request: &Request, again: bool) -> Option<Answer> {
        if self.lenient {
            return None;
        }
        let path = request.path.split('?').next().unwrap_or_default();
        if !path.ends_with("/v1/messages") {
            return Some(self.complain(404, "not_found_error", format!("no such path: {path}")));
        }
        if let Some(key) = &self.key {
            let bearer =
                request.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
            if request.header("x-api-key").or(bearer) != Some(key) {
                return Some(self.complain(
                    401,
                    "authentication_error",
                    "invalid x-api-key".to_string(),
                ));
            }
        }
        if let Some(refusal) = self.threads.refusal(request, again) {
            return Some(refusal);
        }
        let wrong = self.wrong(request)?;
        Some(self.complain(400, "invalid_request_error", wrong))
    }

    /// Returns what is wrong with the body, or with the fields that belong to it.
    fn wrong(&self, request: &Request) -> Option<String> {
        if request.header("anthropic-version").is_none() {
            return Some("anthropic-version: header is required".to_string());
        }
        match check(&request.body) {
            Err(e) => return Some(format!("The request body is not valid JSON: {e}")),
            Ok(checked) if checked.lone_surrogate.is_some() => {
                return Some(
                    "The request body is not valid JSON: no low surrogate in string".to_string(),
                );
            }
            Ok(_) => {}
        }
        let json = request.json();
        let field = |name: &str| json.member(name).unwrap_or(Value::NULL);
        if json.kind() != Kind::Object {
            return Some("The request body must be an object".to_string());
        }
        if field("model").as_text().is_none_or(|model| model.is_empty()) {
            return Some("model: Field required".to_string());
        }
        if field("max_tokens").as_u64().is_none() {
            return Some("max_tokens: Field required".to_string());
        }
        if let Some(wrong) = self.threads.wrong(request) {
            return Some(wrong);
        }
        let Meaning { messages, continues, .. } = self.threads.meaning(request);
        // After a paused turn nothing is new.
        if !continues && field("messages").elements().next().is_none() {
            return Some("messages: at least one message is required".to_string());
        }
        if let Some(wrong) = wrong_tools(request) {
            return Some(wrong);
        }
        // Calls at the end of a paused turn are not answered.
        if let Some(messages) = messages {
            let last = Messages::new(&messages).last().and_then(|message| message.role());
            let open = self.paused && last == Some(Role::Assistant);
            if let Err(invalid) =
                validity::check(&messages, if open { Tail::Open } else { Tail::Sent })
            {
                return Some(invalid.to_string());
            }
        }
        let is_empty =
            |block: Value<'_>| block.member("text").and_then(Value::as_text).is_none_or(is_blank);
        if field("system").elements().any(is_empty) {
            return Some("system: text content blocks must be non-empty".to_string());
        }
        let count = breakpoints_in_front(&[&request.body]) + breakpoints(request.transcript());
        (count > MAX_BREAKPOINTS).then(|| {
            format!("A maximum of 4 blocks with cache_control may be provided. Found {count}.")
        })
    }

    fn render(&mut self, request: &Request, answer: &Answer, request_id: &str) -> Response {
        let streams = request.stream();
        let (status, body, content_type) = match &answer.kind {
            AnswerKind::Reply(reply) => {
                self.paused = matches!(reply.stop_reason(), "pause_turn" | "compaction");
                let model = request
                    .json()
                    .member("model")
                    .and_then(Value::as_text)
                    .unwrap_or_default()
                    .to_string();
                let request_len = self.threads.meaning(request).len;
                let context = Context { id: self.reply_id(), model: &model, request_len };
                if streams {
                    (200, stream(reply, &self.style, &context), "text/event-stream; charset=utf-8")
                } else {
                    (200, whole(reply, &self.style, &context), "application/json")
                }
            }
            AnswerKind::Error { status, kind, message } => {
                let json = error_json(kind, message, request_id);
                (*status, vec![Chunk::Data(json.into_bytes())], "application/json")
            }
            AnswerKind::Raw { status, body } => {
                let text = bytes(body);
                // Only the text of a recorded reply shows whether the turn is paused.
                let says =
                    |reason: &str| text.windows(reason.len()).any(|part| part == reason.as_bytes());
                self.paused = says("\"pause_turn\"") || says("\"compaction\"");
                let json = text.trim_ascii_start().starts_with(b"{");
                (
                    *status,
                    body.clone(),
                    if json { "application/json" } else { "text/event-stream; charset=utf-8" },
                )
            }
        };
        let mut headers = Vec::new();
        for (name, value) in [("content-type", content_type), ("request-id", request_id)] {
            if !answer.headers.iter().any(|(field, _)| field.eq_ignore_ascii_case(name)) {
                headers.push((name.to_string(), value.to_string()));
            }
        }
        headers.extend(answer.headers.iter().cloned());
        Response { status, headers, body }
    }
}

impl core::fmt::Debug for ScriptedModel {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ScriptedModel")
            .field("script", &self.script)
            .field("requests", &self.requests.len())
            .finish_non_exhaustive()
    }
}

/// Returns what is wrong with the tool definitions.
fn wrong_tools(request: &Request) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    for (i, tool) in request.tools().enumerate() {
        let Some(name) = tool.member("name").and_then(Value::as_text).map(|name| name.to_string())
        else {
            // Toolsets have a type instead of a name.
            if tool.member("type").is_some() {
                continue;
            }
            return Some(format!("tools.{i}.name: Field required"));
        };
        if name.is_empty()
            || name.len() > 128
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        {
            return Some(format!(
                "tools.{i}.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'"
            ));
        }
        if tool.member("type").and_then(Value::as_text).is_none_or(|kind| kind == *"custom") {
            let schema = tool
                .member("input_schema")
                .and_then(|schema| schema.member("type"))
                .and_then(Value::as_text);
            if schema.is_none_or(|kind| kind != *"object") {
                return Some(format!("tools.{i}.input_schema.type: Input should be 'object'"));
            }
        }
        if names.contains(&name) {
            return Some("tools: Tool names must be unique.".to_string());
        }
        names.push(name);
    }
    None
}
