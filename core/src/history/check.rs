//! Checks whether messages follow the rules of the API, message by message and in one pass, without
//! allocating.

use super::{Ids, Sort, breakpoints_in, has_call, is_answerable, is_blank, is_space, is_type};
use crate::error::{Invalid, Rule};
use crate::json::{IS_CHIP, Kind, MESSAGE_DEPTH, Text, Value, chars, check_to, same, skip_space};
use crate::message::{Message, Messages, Role};

/// The requirement for the end of a conversation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tail {
    /// The last turn is complete: every call has a result.
    #[default]
    Closed,
    /// The last turn may be open: calls of the last assistant message may lack their results. If
    /// messages follow it, the first of them must have at least one result. This is also the
    /// requirement for the end of a paused turn, whose calls nobody answers.
    Open,
    /// The conversation can be sent in a request. Every call has a result, and if the conversation
    /// ends with an assistant message, the model can continue that message.
    Sent,
}

/// The part of the conversation that precedes the checked messages.
#[derive(Clone, Copy)]
pub(crate) enum PriorMessages<'a> {
    /// Nothing: the checked messages are the whole conversation.
    Nothing,
    /// These messages. No call in them may have the id of a checked call.
    Messages(&'a [u8]),
    /// Messages that do not matter for the check.
    Others,
}

/// The properties of valid messages that [`check`] finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MessageCheck {
    /// The number of cache breakpoints.
    pub(crate) breakpoints: usize,
    /// Whether the last message is an assistant message that ends with white space. The model
    /// cannot continue such a message.
    pub(crate) ends_in_space: bool,
}

/// The assistant message whose results may come next.
#[derive(Clone, Copy)]
struct Turn<'a> {
    at: usize,
    content: Value<'a>,
}

/// The checks of one message.
struct Checks<'a> {
    at: usize,
    /// The conversation that the message is appended to, and the checked messages before it.
    before: PriorMessages<'a>,
    earlier: &'a [u8],
    /// The assistant message directly before the message, if there is one.
    turn: Option<Turn<'a>>,
}

/// A call in its message.
#[derive(Clone, Copy)]
struct Call<'a> {
    block: usize,
    id: Text<'a>,
    /// Whether the call must have a result. A call before the last `fallback` block may have one,
    /// but does not need one.
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

/// Returns the string in the member `name`, or an empty text if there is no such string.
fn text<'a>(value: Value<'a>, name: &str) -> Text<'a> {
    value.member(name).and_then(Value::as_text).unwrap_or_default()
}

const fn fail<T>(message: usize, block: Option<usize>, rule: Rule) -> Result<T, Invalid> {
    Err(Invalid { message, block, rule })
}

/// Checks messages: JSON objects that are separated by commas, without enclosing brackets.
///
/// Not checked are the calls of an assistant message that is directly followed by another assistant
/// message (a paused turn), calls before the last `fallback` block, whether server tools have
/// results, and members without a rule.
///
/// # Errors
/// Returns the first violation. Its position counts the checked messages from 0.
pub(crate) fn check(
    messages: &[u8],
    before: PriorMessages<'_>,
    tail: Tail,
) -> Result<MessageCheck, Invalid> {
    let mut found = MessageCheck::default();
    let mut turn: Option<Turn<'_>> = None;
    // The first call without a result, in a turn that has some results.
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
                // An assistant message directly after another one continues a paused turn. The
                // calls of the earlier message are not checked.
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
                if at == 0 && matches!(before, PriorMessages::Nothing) {
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
            // A comma must be followed by another message.
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

/// Checks the grammar, and that strings contain no unpaired surrogates.
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

/// The properties of a message's blocks.
struct Blocks {
    results: usize,
    /// Whether the text of the message ends with white space.
    ends_in_space: bool,
}

impl<'a> Checks<'a> {
    /// Checks the content: it must be a string or an array of blocks, the role of the message must
    /// allow each block, and there must be something other than white space and thinking.
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
        // Results usually have the order of the calls, so the next call is compared first.
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
            // The message may exist only for a parameter that it changes.
            None if role == Role::System && message.value().member("output_config").is_some() => {
                Ok(Blocks { results, ends_in_space: false })
            }
            None => self.fail(None, Rule::EmptyContent),
        }
    }

    /// Returns the rule that a call breaks, if any. `others` are the blocks before the call.
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
            // Taking all of them makes `has_call` the same function as for the other blocks.
            let mut each = Messages::new(messages).map(|message| message.content().elements());
            each.any(|blocks| has_call(blocks.take(usize::MAX), id))
        };
        let is_in_use = || matches!(self.before, PriorMessages::Messages(before) if has_id(before) || has_id(self.earlier));
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

    /// Returns the rule that the position of a result breaks, if any: its call must be in the
    /// preceding message and must not have a result yet. `others` are the blocks before the result.
    fn wrong_place(
        &self,
        result: Value<'a>,
        next: &mut Option<impl Iterator<Item = Call<'a>> + Clone>,
        mut others: impl Iterator<Item = Value<'a>>,
    ) -> Option<Rule> {
        let id = text(result, "tool_use_id");
        let is_it = |call: Call<'_>| same(call.id, id);
        let mut ahead = next.clone();
        if !IS_CHIP && ahead.as_mut().and_then(Iterator::next).is_some_and(is_it) {
            // The iterator has not passed this call, so the call had no result before.
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
        if !IS_CHIP && ahead.as_mut().is_some_and(|calls| calls.any(is_it)) {
            *next = ahead;
        }
        None
    }

    const fn fail<T>(&self, block: Option<usize>, rule: Rule) -> Result<T, Invalid> {
        fail(self.at, block, rule)
    }
}

/// Returns the rule that a result breaks, if any.
fn wrong_result(result: Value<'_>) -> Option<Rule> {
    let [content, is_error] = result.pick(["content", "is_error"]);
    wrong_content(content.unwrap_or_default(), is_error.and_then(Value::as_bool).unwrap_or(false))
}

/// Returns the rule that the content of a result breaks, if any.
pub(crate) fn wrong_content(content: Value<'_>, is_error: bool) -> Option<Rule> {
    if let Some(text) = content.as_text() {
        return (is_error && text.is_empty()).then_some(Rule::EmptyResult);
    }
    let mut says_nothing = true;
    for block in content.elements() {
        says_nothing = false;
        let [kind, text] = block.pick(["type", "text"]);
        let Some(kind) = kind.filter(|kind| kind.kind() == Kind::String) else {
            return Some(Rule::Block);
        };
        if !kind.is_text("text") {
            if is_error {
                return Some(Rule::ErrorNotText);
            }
        } else if text.and_then(Value::as_text).is_none_or(Text::is_empty) {
            return Some(Rule::EmptyResult);
        }
    }
    (is_error && says_nothing).then_some(Rule::EmptyResult)
}

/// Returns the first call of `turn` that must have a result but has none in `content`.
fn unanswered(turn: Turn<'_>, content: Value<'_>) -> Option<Invalid> {
    let results = || {
        content
            .elements()
            .filter(|block| is_type(*block, "tool_result"))
            .map(|result| text(result, "tool_use_id"))
    };
    let mut next = results();
    let missing = turn.calls().filter(|call| call.is_due).find(|call| {
        // If the results have the order of the calls, no search is needed.
        let mut ahead = next.clone();
        if !IS_CHIP && ahead.next().is_some_and(|id| same(id, call.id)) {
            next = ahead;
            return false;
        }
        !results().any(|id| same(id, call.id))
    })?;
    Some(Invalid { message: turn.at, block: Some(missing.block), rule: Rule::Unanswered })
}

/// Returns whether the model cannot continue this message, because it is the model's own and ends
/// with white space.
pub(crate) fn is_unfit_prefill(message: Message<'_>) -> bool {
    let content = message.content();
    let last = content.as_text().or_else(|| {
        let block = content.elements().last()?;
        matches!(Sort::of(block), Sort::Text | Sort::BlankText).then(|| text(block, "text"))
    });
    message.role() == Some(Role::Assistant) && last.is_some_and(ends_in_space)
}

/// Returns whether a text ends with white space.
fn ends_in_space(text: Text<'_>) -> bool {
    chars(text).last().is_some_and(is_space)
}
