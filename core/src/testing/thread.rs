//! The message threads of a scripted model.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::request::Request;
use super::script::{Answer, AnswerKind, ScriptedReply};
use crate::history::{Ending, is_left_out, kept};
use crate::json::Value;
use crate::wire::thread::{KEPT_BY_THREAD, THREADS_BETA};

/// How a [`ScriptedModel`](super::ScriptedModel) treats message threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum ThreadSupport {
    /// Like the API: it keeps the conversation of each reply to a request with a thread, until
    /// [`lose_threads`](super::ScriptedModel::lose_threads). Each reply can be continued once.
    #[default]
    Keep,
    /// It refuses each request with a thread, with the API's error `thread_unsupported_request`.
    Refuse,
    /// Like some gateways: it ignores the member `thread`, and sees only the messages of the
    /// request.
    Ignore,
}

/// A conversation that the server keeps.
#[derive(Debug)]
struct ServerThread {
    /// The id of its last reply.
    id: String,
    /// Its messages, or `None` if they are not known, because a reply was given as raw bytes.
    messages: Option<Vec<u8>>,
    /// The length of the request that created it, without its messages.
    front: usize,
    is_continued: bool,
}

/// The threads of a model.
#[derive(Debug, Default)]
pub(super) struct Threads {
    pub(super) support: ThreadSupport,
    held: Vec<ServerThread>,
}

/// What a request means, with the part of the conversation that the server keeps.
pub(super) struct Meaning<'r> {
    /// All messages, or `None` if they are not known.
    pub(super) messages: Option<Cow<'r, [u8]>>,
    /// The length of a request with all of them.
    pub(super) len: usize,
    /// Whether the request continues a thread.
    pub(super) continues: bool,
}

impl Threads {
    pub(super) fn lose(&mut self) {
        self.held.clear();
    }

    fn find(&self, request: &Request) -> Option<&ServerThread> {
        let id = request.continued()?;
        self.held.iter().find(|held| held.id == id)
    }

    /// Returns what the request means.
    pub(super) fn meaning<'r>(&self, request: &'r Request) -> Meaning<'r> {
        let new = request.transcript();
        let continues = self.support == ThreadSupport::Keep && request.continued().is_some();
        let Some(held) = self.find(request).filter(|_| continues) else {
            let is_cut = self.support == ThreadSupport::Ignore && request.continued().is_some();
            return Meaning {
                messages: (!is_cut).then_some(Cow::Borrowed(new)),
                len: without_thread(request),
                continues,
            };
        };
        let messages = held.messages.as_ref().map(|held| joined(held, new));
        let len = held.front + messages.as_ref().map_or_else(|| without_thread(request), Vec::len);
        Meaning { messages: messages.map(Cow::Owned), len, continues }
    }

    /// Returns the API's error about the thread of a request, if there is one. `again`: whether the
    /// reply to the same request did not arrive.
    pub(super) fn refusal(&self, request: &Request, again: bool) -> Option<Answer> {
        let json = request.json();
        let thread = json.member("thread").filter(|thread| !thread.is_null())?;
        match self.support {
            ThreadSupport::Ignore => return None,
            ThreadSupport::Refuse => {
                return Some(error(
                    400,
                    "invalid_request_error",
                    "threads are not supported",
                    r#""thread_unsupported_request","unsupported":["thread"]"#,
                ));
            }
            ThreadSupport::Keep => {}
        }
        let is = |kind| thread.member("type").is_some_and(|own| own.is_text(kind));
        if !is("continue") {
            return None;
        }
        match self.find(request) {
            None => Some(error(
                404,
                "not_found_error",
                "no usable thread state was found for previous_message_id",
                r#""thread_not_found""#,
            )),
            Some(held) if held.is_continued && !again => Some(error(
                400,
                "invalid_request_error",
                "previous_message_id was already continued",
                r#""thread_already_continued""#,
            )),
            Some(_) => None,
        }
    }

    /// Returns what is wrong with a request because of its thread.
    pub(super) fn wrong(&self, request: &Request) -> Option<String> {
        let json = request.json();
        let thread = json.member("thread").filter(|thread| !thread.is_null())?;
        if self.support == ThreadSupport::Ignore {
            return None;
        }
        let mut betas = request.headers.iter().filter(|(name, _)| name == "anthropic-beta");
        if !betas.any(|(_, betas)| betas.split(',').any(|beta| beta.trim() == THREADS_BETA)) {
            return Some("thread: Extra inputs are not permitted".to_string());
        }
        let is = |kind| thread.member("type").is_some_and(|own| own.is_text(kind));
        if is("continue") {
            let repeated = KEPT_BY_THREAD.into_iter().find(|name| json.member(name).is_some())?;
            return Some(format!("{repeated}: the thread keeps it, so it cannot be sent again"));
        }
        (!is("create")).then(|| "thread.type: Input should be 'create' or 'continue'".to_string())
    }

    /// Keeps the conversation, if the request asks for that and the answer is a complete reply.
    /// `id` is the id of the reply.
    pub(super) fn keep(&mut self, request: &Request, answer: &Answer, id: &str) {
        let json = request.json();
        if self.support != ThreadSupport::Keep || json.member("thread").is_none_or(Value::is_null) {
            return;
        }
        let Meaning { messages, len, .. } = self.meaning(request);
        let front = len.saturating_sub(messages.as_ref().map_or(0, |messages| messages.len()));
        let (id, messages) = match &answer.kind {
            AnswerKind::Reply(reply) if reply.error.is_none() && !reply.ends_early => {
                let content = kept_blocks(reply);
                let said =
                    format!("{{\"role\":\"assistant\",\"content\":[{}]}}", content.join(","));
                let messages = messages.map(|messages| match content.is_empty() {
                    true => messages.into_owned(),
                    false => joined(&messages, said.as_bytes()),
                });
                (id.to_string(), messages)
            }
            AnswerKind::Raw { status: 200, body } => {
                let Some(id) = id_in(&super::model::bytes(body)) else { return };
                (id, None)
            }
            _ => return,
        };
        if let Some(continued) = request.continued()
            && let Some(held) = self.held.iter_mut().find(|held| held.id == continued)
        {
            held.is_continued = true;
        }
        self.held.push(ServerThread { id, messages, front, is_continued: false });
    }
}

/// Returns the length of a request without its thread, which needs no tokens.
fn without_thread(request: &Request) -> usize {
    let thread = request.json().member("thread").map_or(0, |thread| thread.raw().len());
    request.body.len().saturating_sub(thread)
}

/// Returns the blocks of a reply as the API keeps them, as JSON.
fn kept_blocks(reply: &ScriptedReply) -> Vec<&str> {
    let goes_on = ["tool_use", "pause_turn", "compaction"].contains(&reply.stop_reason());
    let ending = if goes_on { Ending::GoesOn } else { Ending::Ended };
    let blocks = || {
        reply
            .blocks
            .iter()
            .filter_map(|block| Some((block.json.as_str(), Value::first(block.json.as_bytes())?)))
    };
    let count = kept(blocks().map(|(_, block)| block), ending).count;
    let stays = blocks().take(count).filter(|(_, block)| !is_left_out(*block));
    stays.map(|(json, _)| json).collect()
}

fn joined(first: &[u8], then: &[u8]) -> Vec<u8> {
    let comma: &[u8] = if first.is_empty() || then.is_empty() { b"" } else { b"," };
    [first, comma, then].concat()
}

/// Returns the first id of a message in a reply.
fn id_in(text: &[u8]) -> Option<String> {
    const NAME: &[u8] = b"\"id\":\"msg";
    let at = text.windows(NAME.len()).position(|part| part == NAME)?;
    let id = Value::first(text.get(at + NAME.len() - 4..)?)?.as_text()?;
    Some(id.to_string())
}

fn error(status: u16, kind: &str, message: &str, details: &str) -> Answer {
    Answer::raw(
        status,
        format!(
            "{{\"type\":\"error\",\"error\":{{\"type\":\"{kind}\",\"message\":\"{message}\",\"details\":{{\"error_code\":{details}}}}}}}"
        ),
    )
}
