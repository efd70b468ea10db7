//! Whether messages are such as the API takes, message by message and in one pass. Nothing is
//! allocated.

use super::{Ids, Sort, breakpoints_in, has_call, is_answerable, is_blank, is_space, is_type};
use crate::error::{Invalid, Rule};
use crate::json::{Kind, MESSAGE_DEPTH, Text, Value, chars, check_to, same, skip_space};
use crate::message::{Message, Messages, Role};

/// What the end of a conversation is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tail {
    /// Nothing is open: every call is answered.
    #[default]
    Closed,
    /// The last turn is open: calls of the last assistant message may lack their results. If
    /// messages follow it, the first of them has a result at least. Also right for the end of a
    /// paused turn, whose calls nobody answers.
    Open,
    /// It is what a request sends: closed, and if it ends with an assistant message, the model can
    /// continue that.
    Sent,
}

/// What the checked messages follow.
#[derive(Clone, Copy)]
pub(crate) enum Before<'a> {
    /// Nothing: they are all of the conversation.
    Nothing,
    /// These messages, in which no call has the id of one that is checked.
    Messages(&'a [u8]),
    /// Messages that do not matter.
    Others,
}

/// What a check finds besides that the messages are valid.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checked {
    /// Cache breakpoints.
    pub(crate) breakpoints: usize,
    /// Whether the last message is the assistant's and ends in white space, so that the model
    /// cannot continue it.
    pub(crate) ends_in_space: bool,
}

/// The assistant message whose results may come now.
#[derive(Clone, Copy)]
struct Turn<'a> {
    at: usize,
    content: Value<'a>,
}

/// Checks of one message.
struct Checks<'a> {
    at: usize,
    /// The conversation that it is appended to, and what is appended before it.
    before: Before<'a>,
    earlier: &'a [u8],
    /// The assistant message directly before it, if there is one.
    turn: Option<Turn<'a>>,
}

/// A call in its message.
#[derive(Clone, Copy)]
struct Call<'a> {
    block: usize,
    id: Text<'a>,
    /// Calls before the last `fallback` block may be answered or not.
    is_due: bool,
}

impl<'a> Turn<'a> {
    fn calls(self) -> impl Iterator<Item = Call<'a>> + Clone {
        let due = self
            .content
            .elements()
            .enumerate()
            .filter(|(_, block)| is_type(*block, "fallback"))
            .map(|(i, _)| i)
            .last();
        let calls =
            self.content.elements().enumerate().filter(|(_, block)| is_type(*block, "tool_use"));
        calls.map(move |(block, call)| Call {
            block,
            id: text(call, "id"),
            is_due: due.is_none_or(|due| block > due),
        })
    }
}

/// A member that is a string; empty if it is not one.
fn text<'a>(value: Value<'a>, name: &str) -> Text<'a> {
    value.member(name).and_then(Value::as_text).unwrap_or_default()
}

const fn fail<T>(message: usize, block: Option<usize>, rule: Rule) -> Result<T, Invalid> {
    Err(Invalid { message, block, rule })
}

/// Checks messages: JSON objects with commas between, and no brackets around them.
///
/// Positions in errors count the messages that are checked, from 0. Not judged: calls of an
/// assistant message that another one follows directly (a paused turn), calls before the last
/// `fallback` block, whether server tools were answered, and members without a rule.
pub(crate) fn check(messages: &[u8], before: Before<'_>, tail: Tail) -> Result<Checked, Invalid> {
    let mut found = Checked::default();
    let mut turn: Option<Turn<'_>> = None;
    // The first call without a result of a turn that has some.
    let mut missing: Option<Invalid> = None;
    let mut rest = messages.get(skip_space(messages, 0)..).unwrap_or_default();
    let mut at = 0;
    while !rest.is_empty() {
        let Some(value) = Value::first(rest) else { return fail(at, None, Rule::Json) };
        check_json(at, value)?;
        let Some(message) = Message::new(value) else { return fail(at, None, Rule::Message) };
        let Some(role) = message.role() else { return fail(at, None, Rule::Role) };
        let earlier =
            value.offset_in(messages).and_then(|end| messages.get(..end)).unwrap_or_default();
        let blocks = Checks { at, before, earlier, turn }.content(message, role)?;
        found.breakpoints += breakpoints_in(message.content());
        found.ends_in_space = role == Role::Assistant && blocks.ends_in_space;
        match role {
            Role::Assistant => {
                missing.map_or(Ok(()), Err)?;
                // Directly behind another it goes on with a paused turn: what that one called is
                // not judged.
                turn = Some(Turn { at, content: message.content() });
            }
            Role::User => {
                if let Some(unanswered) =
                    turn.take().and_then(|turn| unanswered(turn, message.content()))
                {
                    if blocks.results == 0 || tail != Tail::Open {
                        return Err(unanswered);
                    }
                    missing = Some(unanswered);
                }
            }
            Role::System => {
                if at == 0 && matches!(before, Before::Nothing) {
                    return fail(at, None, Rule::SystemFirst);
                }
                if let Some(unanswered) = turn.take().and_then(|turn| unanswered(turn, Value::NULL))
                {
                    return Err(unanswered);
                }
            }
        }
        rest =
            rest.get(value.offset_in(rest).unwrap_or(0) + value.raw().len()..).unwrap_or_default();
        rest = rest.get(skip_space(rest, 0)..).unwrap_or_default();
        at += 1;
        match rest.strip_prefix(b",") {
            // A comma asks for one more.
            Some(more) if skip_space(more, 0) < more.len() => rest = more,
            None if rest.is_empty() => {}
            _ => return fail(at, None, Rule::Json),
        }
    }
    if tail != Tail::Open
        && let Some(unanswered) = turn.and_then(|turn| unanswered(turn, Value::NULL))
    {
        return Err(unanswered);
    }
    if tail == Tail::Sent && found.ends_in_space {
        return fail(at.saturating_sub(1), None, Rule::TrailingSpace);
    }
    Ok(found)
}

/// Grammar, and that every string is text.
fn check_json(at: usize, message: Value<'_>) -> Result<(), Invalid> {
    let Ok(checked) = check_to(MESSAGE_DEPTH, message.raw()) else {
        return fail(at, None, Rule::Json);
    };
    let Some(lone) = checked.lone_surrogate else { return Ok(()) };
    let content = message.member("content").unwrap_or_default();
    let block = content.elements().position(|block| {
        let start = block.offset_in(message.raw()).unwrap_or(0);
        (start..start + block.raw().len()).contains(&lone)
    });
    fail(at, block, Rule::LoneSurrogate)
}

/// What the blocks of a message are.
struct Blocks {
    results: usize,
    /// Whether a message that ends here can be continued.
    ends_in_space: bool,
}

impl<'a> Checks<'a> {
    /// A content is a string or an array of blocks, each at its place, and says something.
    fn content(&self, message: Message<'a>, role: Role) -> Result<Blocks, Invalid> {
        let content = message.content();
        match content.kind() {
            Kind::String => match content.as_text().unwrap_or_default() {
                text if text.is_empty() => self.fail(None, Rule::EmptyContent),
                text if is_blank(text) => self.fail(None, Rule::Blank),
                text => Ok(Blocks { results: 0, ends_in_space: ends_in_space(text) }),
            },
            Kind::Array => self.blocks(message, role),
            _ => self.fail(None, Rule::Content),
        }
    }

    fn blocks(&self, message: Message<'a>, role: Role) -> Result<Blocks, Invalid> {
        let content = message.content();
        let (mut results, mut count, mut says_something) = (0, 0, false);
        let mut ids = Ids::NONE;
        // As a rule results come in the order of the calls, so the next call is looked at first.
        let mut next = self.turn.map(Turn::calls);
        let mut last = None;
        for (i, block) in content.elements().enumerate() {
            let sort = Sort::of(block);
            let rule = match (sort, role) {
                (Sort::NoBlock, _) => Some(Rule::Block),
                (Sort::EmptyText, _) => Some(Rule::EmptyText),
                (Sort::Call | Sort::ServerCall, Role::Assistant) => {
                    self.wrong_call(sort, block, &mut ids, content.elements().take(i))
                }
                (Sort::Result, Role::User) if results < i => Some(Rule::ResultsFirst),
                (Sort::Result, Role::User) => {
                    results += 1;
                    self.wrong_place(block, &mut next, content.elements().take(i))
                        .or_else(|| wrong_result(block))
                }
                (Sort::Thinking, Role::Assistant) | (Sort::ToolChange, Role::System) => None,
                (
                    Sort::Call
                    | Sort::ServerCall
                    | Sort::Result
                    | Sort::Thinking
                    | Sort::ToolChange,
                    _,
                ) => Some(Rule::Misplaced),
                _ => None,
            };
            if let Some(rule) = rule {
                return self.fail(Some(i), rule);
            }
            says_something |= sort.says_something();
            (last, count) = (Some((sort, block)), i + 1);
        }
        match last {
            Some((Sort::Thinking, _)) => self.fail(Some(count - 1), Rule::ThinkingLast),
            Some(_) if !says_something => self.fail(Some(0), Rule::Blank),
            Some((sort, block)) => {
                let ends_in_space = matches!(sort, Sort::Text | Sort::BlankText)
                    && ends_in_space(text(block, "text"));
                Ok(Blocks { results, ends_in_space })
            }
            // It may be there for a parameter that it changes.
            None if role == Role::System && message.value().member("output_config").is_some() => {
                Ok(Blocks { results, ends_in_space: false })
            }
            None => self.fail(None, Rule::EmptyContent),
        }
    }

    /// What is wrong with a call. `others`: the blocks before it.
    fn wrong_call(
        &self,
        sort: Sort,
        call: Value<'a>,
        ids: &mut Ids,
        others: impl Iterator<Item = Value<'a>>,
    ) -> Option<Rule> {
        let [id, name, input] = call.pick(["id", "name", "input"]);
        let id_and_name = [id, name];
        let [id, name] =
            id_and_name.map(|value| value.and_then(Value::as_text).unwrap_or_default());
        let has_id = |messages: &[u8]| {
            Messages::new(messages).any(|message| has_call(message.content().elements(), id))
        };
        let is_in_use = || matches!(self.before, Before::Messages(before) if has_id(before) || has_id(self.earlier));
        if id.is_empty() || name.is_empty() {
            Some(Rule::NamelessCall)
        } else if input.is_none_or(|input| input.kind() != Kind::Object) {
            Some(Rule::CallInput)
        } else if sort == Sort::ServerCall {
            None
        } else if is_in_use() || !is_answerable(id_and_name, ids, others) {
            Some(Rule::DuplicateId)
        } else {
            None
        }
    }

    /// Whether a result is at a place where its call has none yet. `others`: the blocks before it.
    fn wrong_place(
        &self,
        result: Value<'a>,
        next: &mut Option<impl Iterator<Item = Call<'a>> + Clone>,
        mut others: impl Iterator<Item = Value<'a>>,
    ) -> Option<Rule> {
        let id = text(result, "tool_use_id");
        let is_it = |call: Call<'_>| same(call.id, id);
        let mut ahead = next.clone();
        if ahead.as_mut().and_then(Iterator::next).is_some_and(is_it) {
            // No call that was passed or skipped: it was not answered before.
            *next = ahead;
            return None;
        }
        if self.turn.is_none_or(|turn| !turn.calls().any(is_it)) {
            return Some(Rule::Orphan);
        }
        if others.any(|other| same(text(other, "tool_use_id"), id)) {
            return Some(Rule::AnsweredTwice);
        }
        let mut ahead = next.clone();
        if ahead.as_mut().is_some_and(|calls| calls.any(is_it)) {
            *next = ahead;
        }
        None
    }

    const fn fail<T>(&self, block: Option<usize>, rule: Rule) -> Result<T, Invalid> {
        fail(self.at, block, rule)
    }
}

/// What is wrong with a result.
fn wrong_result(result: Value<'_>) -> Option<Rule> {
    let [content, is_error] = result.pick(["content", "is_error"]);
    let (content, is_error) =
        (content.unwrap_or_default(), is_error.and_then(Value::as_bool).unwrap_or(false));
    if let Some(text) = content.as_text() {
        return (is_error && text.is_empty()).then_some(Rule::EmptyResult);
    }
    let blocks = || content.elements();
    if blocks().any(|block| block.member("type").is_none_or(|kind| kind.kind() != Kind::String)) {
        return Some(Rule::Block);
    }
    if is_error && blocks().any(|block| !is_type(block, "text")) {
        return Some(Rule::ErrorNotText);
    }
    let is_empty = |block| is_type(block, "text") && text(block, "text").is_empty();
    let says_nothing = blocks().any(is_empty) || (is_error && blocks().next().is_none());
    says_nothing.then_some(Rule::EmptyResult)
}

/// The first due call of `turn` that has no result in `content`.
fn unanswered(turn: Turn<'_>, content: Value<'_>) -> Option<Invalid> {
    let results = || {
        content
            .elements()
            .filter(|block| is_type(*block, "tool_result"))
            .map(|result| text(result, "tool_use_id"))
    };
    let mut next = results();
    let missing = turn.calls().filter(|call| call.is_due).find(|call| {
        // In their order none has to be searched for.
        let mut ahead = next.clone();
        if ahead.next().is_some_and(|id| same(id, call.id)) {
            next = ahead;
            return false;
        }
        !results().any(|id| same(id, call.id))
    })?;
    Some(Invalid { message: turn.at, block: Some(missing.block), rule: Rule::Unanswered })
}

/// Whether a text ends in white space.
fn ends_in_space(text: Text<'_>) -> bool {
    chars(text).last().is_some_and(is_space)
}
