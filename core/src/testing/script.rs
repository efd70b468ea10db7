//! The answers of a scripted model: replies that are built block by block, errors, and raw bytes.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::request::Request;
use super::text::text_of;
use crate::json::quoted;
use crate::message::Usage;

/// A part of a body in transit: bytes, a pause, or a reset of the connection before the body's end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Bytes that arrive together.
    Data(Vec<u8>),
    /// A pause of this length without any bytes.
    Wait(Duration),
    /// The connection is reset.
    Reset,
}

/// One block of a reply.
#[derive(Clone, Debug)]
pub(super) struct ReplyBlock {
    /// The block as JSON.
    pub(super) json: String,
    /// The text that the stream contains instead of the input. It may be cut off or invalid JSON.
    pub(super) streamed_input: Option<String>,
}

/// A message of the model, built block by block. The request determines whether it is rendered
/// whole or as a stream.
///
/// ```
/// use toolrunner_core::testing::ScriptedReply;
/// let reply =
///     ScriptedReply::text("I see.").tool_use("toolu_1", "calculate_sum", r#"{"a":15,"b":27}"#);
/// ```
#[derive(Clone, Debug, Default)]
pub struct ScriptedReply {
    pub(super) blocks: Vec<ReplyBlock>,
    pub(super) stop: Option<String>,
    pub(super) stop_sequence: Option<String>,
    pub(super) model: Option<String>,
    pub(super) usage: Option<Usage>,
    pub(super) container: Option<String>,
    pub(super) fields: Vec<(String, String)>,
    pub(super) error: Option<(String, String)>,
    pub(super) ends_early: bool,
    pub(super) after: Duration,
    pub(super) pace: Option<Duration>,
}

impl ScriptedReply {
    /// Creates a reply without blocks.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates a reply with a text block.
    pub fn text(text: &str) -> Self {
        Self::new().and_text(text)
    }

    /// Adds a text block.
    pub fn and_text(self, text: &str) -> Self {
        self.block(&format!("{{\"type\":\"text\",\"text\":{}}}", quoted(text)))
    }

    /// Adds a thinking block.
    pub fn thinking(self, thinking: &str, signature: &str) -> Self {
        self.block(&format!(
            "{{\"type\":\"thinking\",\"thinking\":{},\"signature\":{}}}",
            quoted(thinking),
            quoted(signature)
        ))
    }

    /// Adds a call. `input` is JSON.
    pub fn tool_use(self, id: &str, name: &str, input: &str) -> Self {
        self.block(&format!(
            "{{\"type\":\"tool_use\",\"id\":{},\"name\":{},\"input\":{input}}}",
            quoted(id),
            quoted(name)
        ))
    }

    /// Adds a call whose input is streamed as `input`, which may be cut off or invalid JSON. In a
    /// whole reply the input is `{}`.
    pub fn tool_use_cut(mut self, id: &str, name: &str, input: &str) -> Self {
        self = self.tool_use(id, name, "{}");
        if let Some(block) = self.blocks.last_mut() {
            block.streamed_input = Some(input.to_string());
        }
        self
    }

    /// Adds a block of any kind, as JSON.
    pub fn block(mut self, json: &str) -> Self {
        self.blocks.push(ReplyBlock { json: json.to_string(), streamed_input: None });
        self
    }

    /// Sets the stop reason. The default is `tool_use` if there is a call, and `end_turn`
    /// otherwise.
    pub fn stop(mut self, reason: &str) -> Self {
        self.stop = Some(reason.to_string());
        self
    }

    /// Ends the reply at a stop sequence.
    pub fn stop_sequence(mut self, sequence: &str) -> Self {
        self.stop_sequence = Some(sequence.to_string());
        self.stop("stop_sequence")
    }

    /// Sets the name of the model that replied. The default is the model of the request.
    pub fn model(mut self, model: &str) -> Self {
        self.model = Some(model.to_string());
        self
    }

    /// Sets the token counts. The default is a quarter of the bytes of the request and of the
    /// reply.
    pub const fn usage(mut self, usage: Usage) -> Self {
        self.usage = Some(usage);
        self
    }

    /// Sets the id of the container in which code ran.
    pub fn container(mut self, id: &str) -> Self {
        self.container = Some(id.to_string());
        self
    }

    /// Adds another field to the message. `value` is JSON. In a stream it is part of the first
    /// event.
    pub fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_string(), value.to_string()));
        self
    }

    /// Ends a stream with an `error` event after all blocks. A whole reply is replaced by the
    /// error, with status 200.
    pub fn error_event(mut self, kind: &str, message: &str) -> Self {
        self.error = Some((kind.to_string(), message.to_string()));
        self
    }

    /// Omits everything after the end of the last block, so that the stream ends early. A whole
    /// reply lacks its last byte.
    pub const fn ends_early(mut self) -> Self {
        self.ends_early = true;
        self
    }

    /// Waits this long before the first piece of the body. The head of the reply does not wait.
    pub const fn after(mut self, wait: Duration) -> Self {
        self.after = wait;
        self
    }

    /// Waits this long after each piece of the body, instead of the
    /// [pause of the style](super::Style::pause).
    pub const fn pace(mut self, pause: Duration) -> Self {
        self.pace = Some(pause);
        self
    }

    /// Returns the stop reason that is sent.
    pub(super) fn stop_reason(&self) -> &str {
        let calls = || self.blocks.iter().any(|block| text_of(&block.json, "type") == "tool_use");
        self.stop.as_deref().unwrap_or_else(|| if calls() { "tool_use" } else { "end_turn" })
    }
}

/// The model's answer to one request.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(super) kind: AnswerKind,
    pub(super) headers: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
pub(super) enum AnswerKind {
    Reply(Box<ScriptedReply>),
    Error { status: u16, kind: String, message: String },
    Raw { status: u16, body: Vec<Chunk> },
}

impl Answer {
    /// Creates an error in the API's format.
    pub fn error(status: u16, kind: &str, message: &str) -> Self {
        AnswerKind::Error { status, kind: kind.to_string(), message: message.to_string() }.into()
    }

    /// Creates an answer with a raw body. Unless a header states otherwise, the content type is
    /// `application/json` if the body begins with `{`, and `text/event-stream` if not.
    pub fn raw(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::chunks(status, vec![Chunk::Data(body.into())])
    }

    /// Creates an answer with a raw body in pieces, with pauses. The content type is chosen as in
    /// [`raw`](Self::raw).
    pub fn chunks(status: u16, body: Vec<Chunk>) -> Self {
        AnswerKind::Raw { status, body }.into()
    }

    /// Returns whether this is a reply that ends with an `error` event. Clients read nothing after
    /// it.
    pub(super) fn breaks(&self) -> bool {
        matches!(&self.kind, AnswerKind::Reply(reply) if reply.error.is_some())
    }

    /// Adds a header field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_string(), value.to_string()));
        self
    }
}

impl From<ScriptedReply> for Answer {
    fn from(reply: ScriptedReply) -> Self {
        AnswerKind::Reply(Box::new(reply)).into()
    }
}

impl From<AnswerKind> for Answer {
    fn from(kind: AnswerKind) -> Self {
        Self { kind, headers: Vec::new() }
    }
}

/// A function that answers a request.
pub(super) type Brain = Box<dyn FnMut(&Request) -> Answer + Send>;

/// A list of answers, in the order of the requests.
///
/// ```
/// use toolrunner_core::testing::{Script, ScriptedReply};
/// let script = Script::new()
///     .error(529, "overloaded_error", "Overloaded")
///     .header("retry-after", "1")
///     .reply(ScriptedReply::new().tool_use("toolu_1", "now", "{}"))
///     .reply(ScriptedReply::text("It is noon."));
/// ```
#[derive(Default)]
pub struct Script {
    pub(super) answers: VecDeque<Answer>,
    pub(super) then: Option<Brain>,
}

impl Script {
    /// Creates a script without answers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an answer.
    pub fn answer(mut self, answer: impl Into<Answer>) -> Self {
        self.answers.push_back(answer.into());
        self
    }

    /// Adds a message.
    pub fn reply(self, reply: ScriptedReply) -> Self {
        self.answer(reply)
    }

    /// Adds an error in the API's format.
    pub fn error(self, status: u16, kind: &str, message: &str) -> Self {
        self.answer(Answer::error(status, kind, message))
    }

    /// Adds a raw body. See [`Answer::raw`].
    pub fn raw(self, status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let answer = Answer::raw(status, body);
        self.answer(headers.iter().fold(answer, |answer, (name, value)| answer.header(name, value)))
    }

    /// Adds a header field to the last answer.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Some(last) = self.answers.pop_back() {
            self.answers.push_back(last.header(name, value));
        }
        self
    }

    /// Calls `brain` for each request after the answers are used up.
    pub fn then(mut self, brain: impl FnMut(&Request) -> Answer + Send + 'static) -> Self {
        self.then = Some(Box::new(brain));
        self
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script")
            .field("answers", &self.answers)
            .field("then", &self.then.is_some())
            .finish()
    }
}
