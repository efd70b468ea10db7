//! A turn handed to the caller: the reply is complete, but its calls have not run.

use toolrunner_core::error::Misuse;
use toolrunner_core::json::Value;
use toolrunner_core::message::{ReplyMessage, StopReason, Usage};
use toolrunner_core::run::{Call, CallIndex, ToolAnswer};

use super::Run;
use crate::error::Error;
use crate::params::Params;

/// One complete reply of the model. By default, the next `next_turn` runs its calls and sends their
/// results; the methods of this type change that. None of them can make a call run twice, or break
/// the conversation.
///
/// ```no_run
/// # fn f(mut run: toolrunner_blocking::Run) -> Result<(), toolrunner_blocking::Error> {
/// while let Some(mut turn) = run.next_turn()? {
///     println!("turn {}: {}", turn.number(), turn.text());
///     // Answers a call instead of its tool. `results` runs the others; their results can be
///     // edited before they are sent.
///     let guesses = turn.calls().filter(|call| call.name == *"guess");
///     let guesses: Vec<String> = guesses.map(|call| call.id.to_string()).collect();
///     for id in guesses {
///         turn.answer(&id, "42")?;
///     }
///     turn.results()?.edit(|result| result.cap(10_000).map(|_| ()))?;
///     if !turn.is_last() {
///         turn.append_user("Please be concise.")?;
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "dropping a turn is fine; the next `next_turn` continues it"]
pub struct Turn<'r> {
    run: &'r mut Run,
}

impl<'r> Turn<'r> {
    pub(super) const fn new(run: &'r mut Run) -> Self {
        Self { run }
    }

    /// Returns the reply: content, stop reason, usage, and every other field as received.
    ///
    /// # Errors
    /// Returns `Misuse` if the reply contained no message at all, which never happens with replies
    /// of the API.
    pub fn message(&self) -> Result<ReplyMessage, Error> {
        self.run.message().ok_or(Error::Misuse(Misuse::State("there is no reply")))
    }

    /// Returns the text of the reply: all its text blocks, joined.
    pub fn text(&self) -> String {
        self.run.message().map(|message| message.text()).unwrap_or_default()
    }

    /// Returns why the reply ended.
    pub const fn stop_reason(&self) -> Option<StopReason> {
        self.run.machine.stop_reason()
    }

    /// Returns whether the run ends with this turn unless a message is added, because the model
    /// needs no further calls. A limit may still end the run after another turn.
    pub const fn is_last(&self) -> bool {
        self.run.machine.outcome().is_some()
    }

    /// Returns the tokens of this turn.
    pub const fn usage(&self) -> Usage {
        self.run.machine.turn_usage()
    }

    /// Returns the number of the turn, from 1.
    pub const fn number(&self) -> u32 {
        self.run.machine.turns()
    }

    /// Returns the model's calls, in its order.
    pub fn calls(&self) -> impl Iterator<Item = Call<'_>> {
        self.run.machine.calls().filter_map(|i| self.run.machine.call(i))
    }

    /// Runs the turn's calls, once, and returns their results, to inspect or edit before they are
    /// sent. Empty if there are no calls, or if the stop reason or a limit prevents them from
    /// running.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn results(&mut self) -> Result<ToolResults<'_>, Error> {
        self.run.run_calls()?;
        Ok(ToolResults { run: self.run })
    }

    /// Answers an open call with this text instead of running its tool, as [`Run::answer`] does.
    ///
    /// # Errors
    /// Returns `Misuse` if no open call has this id.
    pub fn answer(&mut self, id: &str, text: &str) -> Result<&mut Self, Error> {
        self.run.answer(id, text)?;
        Ok(self)
    }

    /// Answers an open call instead of running its tool, also with a failure, or with content in
    /// wire format, as [`Run::answer_with`] does.
    ///
    /// # Errors
    /// Returns `Misuse` if no open call has this id, or if the content is not valid.
    pub fn answer_with(&mut self, id: &str, answer: ToolAnswer<'_>) -> Result<&mut Self, Error> {
        self.run.answer_with(id, answer)?;
        Ok(self)
    }

    /// Appends a message in JSON after the results, as [`Run::append`] does.
    ///
    /// # Errors
    /// Returns `Misuse` if the API would refuse the message, or `Capacity` if the conversation is
    /// full. Then nothing was appended.
    pub fn append(&mut self, message: &str) -> Result<&mut Self, Error> {
        self.run.append(message)?;
        Ok(self)
    }

    /// Appends a user message after the results.
    ///
    /// # Errors
    /// Returns the errors of [`Run::append`].
    pub fn append_user(&mut self, text: &str) -> Result<&mut Self, Error> {
        self.append(&format!("{{\"role\":\"user\",\"content\":{}}}", crate::params::quoted(text)))
    }

    /// Returns the request's parameters, to change them for all later turns, as [`Run::params_mut`]
    /// does.
    pub const fn params_mut(&mut self) -> &mut Params {
        self.run.params_mut()
    }

    /// Drops this reply, with its results, and requests it again, as [`Run::ask_again`]
    /// does.
    ///
    /// # Errors
    /// Returns `Misuse` if there is no reply.
    pub fn ask_again(self) -> Result<(), Error> {
        self.run.ask_again().map(|_| ())
    }

    /// Replaces the conversation with a JSON array of messages, as [`Run::replace_history`] does.
    ///
    /// # Errors
    /// Returns `Misuse` if the API would refuse the messages, or `Capacity` if they do not fit.
    /// Then nothing changes.
    pub fn replace_history(self, messages: &str) -> Result<(), Error> {
        self.run.replace_history(messages).map(|_| ())
    }

    /// Ends the run where it is, as [`Run::stop`] does. Running calls are dropped.
    pub fn stop(self) {
        self.run.stop();
    }

    /// Returns the run.
    pub const fn run(&mut self) -> &mut Run {
        self.run
    }
}

/// The results of a turn, before they are sent.
#[derive(Debug)]
pub struct ToolResults<'t> {
    run: &'t mut Run,
}

/// One result of a turn.
#[derive(Debug)]
pub struct ToolResult<'t> {
    run: &'t mut Run,
    call: CallIndex,
}

impl ToolResults<'_> {
    /// Returns the number of results.
    pub fn len(&self) -> usize {
        self.run.machine.results().count()
    }

    /// Returns whether there are no results.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the `tool_result` blocks as they will be sent, in the model's order.
    pub fn iter(&self) -> impl Iterator<Item = toolrunner_core::message::ToolResult<'_>> {
        self.run.machine.results().filter_map(|result| {
            match toolrunner_core::message::Block::new(result) {
                toolrunner_core::message::Block::ToolResult(result) => Some(result),
                _ => None,
            }
        })
    }

    /// Returns the text of the first result that is an error.
    pub fn first_error(&self) -> Option<String> {
        let failed = self.iter().find(|result| result.is_error())?;
        Some(text_of(failed.value().member("content").unwrap_or_default()))
    }

    /// Returns the message that will be sent, as JSON, or `None` if there are no results.
    pub fn message_json(&self) -> Option<String> {
        let blocks: Vec<&str> = self.run.machine.results().map(Value::as_json).collect();
        (!blocks.is_empty())
            .then(|| format!("{{\"role\":\"user\",\"content\":[{}]}}", blocks.join(",")))
    }

    /// Returns the result of the call with this id, to edit it.
    pub fn of(&mut self, id: &str) -> Option<ToolResult<'_>> {
        let machine = &self.run.machine;
        let call = machine
            .calls()
            .find(|&i| machine.call(i).is_some_and(|call| call.is_answered && call.id == *id))?;
        Some(ToolResult { run: self.run, call })
    }

    /// Calls `edit` with each result, in order.
    ///
    /// # Errors
    /// Returns the first error of `edit`.
    pub fn edit(
        &mut self,
        mut edit: impl FnMut(&mut ToolResult<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for call in self.run.machine.calls() {
            if self.run.machine.result(call).is_some() {
                edit(&mut ToolResult { run: self.run, call })?;
            }
        }
        Ok(())
    }
}

impl ToolResult<'_> {
    /// Returns the block as it will be sent, as JSON.
    pub fn json(&self) -> &str {
        self.run.machine.result(self.call).map(Value::as_json).unwrap_or_default()
    }

    /// Returns whether the tool failed.
    pub fn is_error(&self) -> bool {
        let result = self.run.machine.result(self.call);
        result
            .and_then(|result| result.member("is_error"))
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    /// Returns the text of the content: that of a string, or of all text blocks, joined.
    pub fn text(&self) -> String {
        let content = self
            .run
            .machine
            .result(self.call)
            .and_then(|result| result.member("content"))
            .unwrap_or_default();
        text_of(content)
    }

    /// Returns the call that this result answers.
    pub fn call(&self) -> Option<Call<'_>> {
        self.run.machine.call(self.call)
    }

    /// Sets `cache_control` to this JSON, such as `{"type":"ephemeral"}`. A request may have four
    /// cache breakpoints, in its tools, system prompt and messages together, and results stay in
    /// the conversation. To cache each turn, set the breakpoint of the request instead, which moves
    /// with the conversation: `.param_json("cache_control", …)`.
    ///
    /// # Errors
    /// Returns `Misuse` if `json` is not valid, or if it would be the fifth breakpoint of the
    /// request.
    pub fn cache_control(&mut self, json: &str) -> Result<&mut Self, Error> {
        self.add(&format!("\"cache_control\":{json}"))
    }

    /// Adds members in JSON to the block, such as `"cache_control":{"type":"ephemeral"}`.
    ///
    /// # Errors
    /// Returns `Misuse` if `members` are not valid members of a JSON object.
    pub fn add(&mut self, members: &str) -> Result<&mut Self, Error> {
        self.run.note_front();
        self.run.machine.add_to_result(self.call, members)?;
        Ok(self)
    }

    /// Replaces the content with a text.
    ///
    /// # Errors
    /// Returns `Capacity` if the conversation is full; then the old content stays.
    pub fn replace(&mut self, text: &str) -> Result<&mut Self, Error> {
        let is_error = self.is_error();
        self.replace_with(ToolAnswer::ok(text).with_error(is_error))
    }

    /// Cuts every text that is longer than `bytes`. Its beginning and end stay, with a note of how
    /// much was cut between them.
    ///
    /// # Errors
    /// Returns `Capacity` if the conversation is full; then the old content stays.
    pub fn cap(&mut self, bytes: usize) -> Result<&mut Self, Error> {
        self.run.machine.cap_result(self.call, bytes)?;
        Ok(self)
    }

    /// Replaces the content, and whether it is an error. Members that were added to the block are
    /// removed.
    ///
    /// # Errors
    /// Returns `Misuse` if the content is not valid, or `Capacity` if the conversation is full.
    /// Then the old content stays.
    pub fn replace_with(&mut self, answer: ToolAnswer<'_>) -> Result<&mut Self, Error> {
        self.run.note_front();
        self.run.machine.replace_result(self.call, answer)?;
        Ok(self)
    }
}

/// Returns the text of a result's content: a string, or all text blocks, joined.
fn text_of(content: Value<'_>) -> String {
    match content.as_text() {
        Some(text) => text.to_string(),
        None => content
            .elements()
            .filter_map(|block| block.member("text")?.as_text())
            .map(|text| text.to_string())
            .collect(),
    }
}
