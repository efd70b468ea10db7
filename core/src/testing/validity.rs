//! Whether a transcript is valid: what the API would take, were it sent now.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use crate::json::{JsonError, Kind, Value, check as check_json};
use crate::message::{Block, Message, Messages, Role, ToolResult, ToolUse};

/// What stands at the end of a transcript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tail {
    /// Nothing is open: every call must be answered. What is sent or saved.
    #[default]
    Closed,
    /// The last turn is open: the calls of the last assistant message are pending, some of them may be answered already. Also right
    /// for the tail of a paused turn, whose calls nobody answers.
    Open,
}

/// The rule that a transcript breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// It is JSON: objects with commas between.
    Json(JsonError),
    /// No string has half a surrogate pair.
    LoneSurrogate,
    /// A message is an object with a role and a content, a content a string or an array of objects that have a type.
    Shape(&'static str),
    /// The role is `user`, `assistant` or `system`.
    Role,
    /// A content is not empty.
    EmptyContent,
    /// A text block of the user or of the system is not empty.
    EmptyText,
    /// Calls and thinking are the assistant's, results the user's, changes of tools the system's.
    Misplaced(String),
    /// A call has an id and a name.
    NamelessCall,
    /// A call's input is an object.
    InputNotObject(String),
    /// The calls of a turn have different ids.
    DuplicateId(String),
    /// Every call is answered in the user message that follows directly.
    Unanswered(String),
    /// A call is answered once.
    AnsweredTwice(String),
    /// A result answers a call of the assistant message directly before.
    Orphan(String),
    /// Results come before any other block.
    ResultsFirst(String),
    /// A result that is an error has text and nothing else.
    ErrorNotText(String),
    /// A result is not empty, and neither is a text in one.
    EmptyResult(String),
}

/// Where a transcript is not valid, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Which message, from 0. For [`Rule::Json`] 0: without grammar there are no messages.
    pub message: usize,
    /// Which block of it, from 0; nothing if it is about the whole message.
    pub block: Option<usize>,
    /// The rule that is broken.
    pub rule: Rule,
}

impl fmt::Display for Invalid {
    /// `messages.1.content.0: …`, as the API has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Rule::Json(e) = &self.rule {
            return write!(f, "the transcript is not valid JSON: {e}");
        }
        write!(f, "messages.{}", self.message)?;
        if let Some(block) = self.block {
            write!(f, ".content.{block}")?;
        }
        f.write_str(": ")?;
        match &self.rule {
            Rule::Json(_) | Rule::LoneSurrogate => f.write_str("half of a surrogate pair"),
            Rule::Shape(expected) => write!(f, "expected {expected}"),
            Rule::Role => f.write_str("the role must be user, assistant or system"),
            Rule::EmptyContent => f.write_str("the content must not be empty"),
            Rule::EmptyText => f.write_str("a text block must not be empty"),
            Rule::Misplaced(kind) => write!(f, "a {kind} block cannot stand in a message of this role"),
            Rule::NamelessCall => f.write_str("a call must have an id and a name"),
            Rule::InputNotObject(id) => write!(f, "the input of call {id} must be an object"),
            Rule::DuplicateId(id) => write!(f, "two calls of this turn have the id {id}"),
            Rule::Unanswered(id) => write!(f, "call {id} has no result in the next message"),
            Rule::AnsweredTwice(id) => write!(f, "call {id} has two results"),
            Rule::Orphan(id) => write!(f, "the result for {id} has no call in the message before"),
            Rule::ResultsFirst(id) => write!(f, "the result for {id} must stand before other blocks"),
            Rule::ErrorNotText(id) => write!(f, "the result for {id} is an error and must be text only"),
            Rule::EmptyResult(id) => write!(f, "the result for {id} must not be empty"),
        }
    }
}

impl core::error::Error for Invalid {}

/// One call of the message before, and how often it was answered.
struct Call {
    id: String,
    block: usize,
    /// Whether it must be answered. Those before the last `fallback` block need not be.
    due: bool,
    answers: usize,
}

/// The assistant message whose results may come now.
#[derive(Default)]
struct Turn {
    message: usize,
    calls: Vec<Call>,
}

impl Turn {
    /// The turn is over: what was due must be there.
    fn close(&self) -> Result<(), Invalid> {
        match self.calls.iter().find(|call| call.due && call.answers == 0) {
            Some(call) => fail(self.message, Some(call.block), Rule::Unanswered(call.id.clone())),
            None => Ok(()),
        }
    }
}

const fn fail<T>(message: usize, block: Option<usize>, rule: Rule) -> Result<T, Invalid> {
    Err(Invalid { message, block, rule })
}

/// Checks that a transcript is valid. `messages` are the message objects with commas between, as a transcript keeps them: no brackets
/// around. None at all is valid, though no request.
///
/// Valid is: well-formed JSON without lone surrogates; roles and contents as [`Rule`] says; each `tool_use` of an assistant message
/// answered exactly once in the user message directly after it, where results come first; no result without its call. Two
/// messages of the same role in a row are valid. Not judged:
/// - calls in the last assistant message, if the tail is [`Tail::Open`];
/// - calls of an assistant message that another one follows directly: a paused turn, whose tail nobody answers;
/// - calls before the last `fallback` block of a message: they may be answered, or not;
/// - whether server tools were answered, and fields that no rule names.
///
/// # Errors
/// The first rule that is broken, and where.
pub fn check(messages: &[u8], tail: Tail) -> Result<(), Invalid> {
    let mut whole = Vec::with_capacity(messages.len() + 2);
    whole.push(b'[');
    whole.extend_from_slice(messages);
    whole.push(b']');
    let last = Messages::new(messages).count().saturating_sub(1);
    let checked = check_json(&whole).or_else(|e| fail(0, None, Rule::Json(JsonError { at: e.at.saturating_sub(1), ..e })))?;
    if checked.lone_surrogate.is_some() {
        let each = || Value::first(&whole).unwrap_or(Value::NULL).elements();
        let guilty = each().position(|value| check_json(value.raw()).is_ok_and(|checked| checked.lone_surrogate.is_some()));
        return fail(guilty.unwrap_or(0), None, Rule::LoneSurrogate);
    }
    let mut turn = Turn::default();
    for (at, value) in Value::first(&whole).unwrap_or(Value::NULL).elements().enumerate() {
        let Some(message) = Message::new(value) else {
            return fail(at, None, Rule::Shape("an object"));
        };
        let Some(role) = message.role() else {
            return fail(at, None, Rule::Role);
        };
        content(at, message)?;
        match role {
            // An assistant message directly after another goes on with a paused turn: what that one called is not judged.
            Role::Assistant => turn = calls(at, message)?,
            Role::User => {
                results(at, message, &mut turn)?;
                // An open turn may be answered in part, if nothing follows: what comes after the results comes when all are there.
                let only_results = || message.blocks().all(|block| matches!(block, Block::ToolResult(_)));
                if !(tail == Tail::Open && at == last && only_results()) {
                    turn.close()?;
                }
                turn = Turn::default();
            }
            Role::System => {
                turn.close()?;
                turn = Turn::default();
                others(at, message, Role::System)?;
            }
        }
    }
    if tail == Tail::Open { Ok(()) } else { turn.close() }
}

/// A content is a string or an array of objects with a type, and not empty.
fn content(at: usize, message: Message<'_>) -> Result<(), Invalid> {
    let content = message.content();
    match content.kind() {
        Kind::String if content.as_text().is_some_and(|text| text.is_empty()) => fail(at, None, Rule::EmptyContent),
        Kind::String => Ok(()),
        Kind::Array if content.elements().next().is_none() => fail(at, None, Rule::EmptyContent),
        Kind::Array => match content.elements().position(|block| block.member("type").and_then(Value::as_text).is_none()) {
            Some(block) => fail(at, Some(block), Rule::Shape("an object with a type")),
            None => Ok(()),
        },
        _ => fail(at, None, Rule::Shape("a content that is a string or an array")),
    }
}

/// The blocks of an assistant message: its calls, each well made.
fn calls(at: usize, message: Message<'_>) -> Result<Turn, Invalid> {
    let mut turn = Turn { message: at, calls: Vec::new() };
    for (block, each) in message.blocks().enumerate() {
        let (id, name, input) = match each {
            Block::ToolUse(call) => (call.id(), call.name(), call.input()),
            Block::ServerToolUse(call) => (call.id(), call.name(), call.input()),
            Block::McpToolUse(call) => (call.id(), call.name(), call.input()),
            Block::Fallback(_) => {
                turn.calls.iter_mut().for_each(|call| call.due = false);
                continue;
            }
            Block::ToolResult(_) | Block::ToolAddition(_) | Block::ToolRemoval(_) => {
                return fail(at, Some(block), Rule::Misplaced(each.kind().to_string()));
            }
            _ => continue,
        };
        if id.is_empty() || name.is_empty() {
            return fail(at, Some(block), Rule::NamelessCall);
        }
        if input.kind() != Kind::Object {
            return fail(at, Some(block), Rule::InputNotObject(id.to_string()));
        }
        if let Block::ToolUse(call) = each {
            add_call(&mut turn, block, call)?;
        }
    }
    Ok(turn)
}

fn add_call(turn: &mut Turn, block: usize, call: ToolUse<'_>) -> Result<(), Invalid> {
    let id = call.id().to_string();
    if turn.calls.iter().any(|other| other.id == id) {
        return fail(turn.message, Some(block), Rule::DuplicateId(id));
    }
    turn.calls.push(Call { id, block, due: true, answers: 0 });
    Ok(())
}

/// The blocks of a user message: results of `turn`, then anything else.
fn results(at: usize, message: Message<'_>, turn: &mut Turn) -> Result<(), Invalid> {
    let mut behind = false;
    for (block, each) in message.blocks().enumerate() {
        let Block::ToolResult(result) = each else {
            behind = true;
            continue;
        };
        let id = result.tool_use_id().to_string();
        if behind {
            return fail(at, Some(block), Rule::ResultsFirst(id));
        }
        let Some(call) = turn.calls.iter_mut().find(|call| call.id == id) else {
            return fail(at, Some(block), Rule::Orphan(id));
        };
        call.answers += 1;
        if call.answers > 1 {
            return fail(at, Some(block), Rule::AnsweredTwice(id));
        }
        if let Some(rule) = broken_result(result, id) {
            return fail(at, Some(block), rule);
        }
    }
    others(at, message, Role::User)
}

fn broken_result(result: ToolResult<'_>, id: String) -> Option<Rule> {
    if result.is_error() && result.content().any(|block| !matches!(block, Block::Text(_))) {
        return Some(Rule::ErrorNotText(id));
    }
    let empty_text = result.content().any(|block| matches!(block, Block::Text(text) if text.text().is_empty()));
    // A tool that succeeded may have nothing to say; a block may not.
    let is_string = result.value().member("content").is_some_and(|content| content.kind() == Kind::String);
    let says_nothing = (empty_text && !is_string) || (result.is_error() && (empty_text || result.content().next().is_none()));
    says_nothing.then_some(Rule::EmptyResult(id))
}

/// What may stand in a message that is not the assistant's.
fn others(at: usize, message: Message<'_>, role: Role) -> Result<(), Invalid> {
    for (block, each) in message.blocks().enumerate() {
        let wrong = match each {
            Block::Text(text) if text.text().is_empty() => return fail(at, Some(block), Rule::EmptyText),
            Block::ToolUse(_) | Block::ServerToolUse(_) | Block::McpToolUse(_) | Block::Thinking(_) | Block::RedactedThinking(_) => true,
            Block::ToolResult(_) => role != Role::User,
            Block::ToolAddition(_) | Block::ToolRemoval(_) => role != Role::System,
            _ => false,
        };
        if wrong {
            return fail(at, Some(block), Rule::Misplaced(each.kind().to_string()));
        }
    }
    Ok(())
}
