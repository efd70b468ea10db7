//! A turn in the caller's hands: the reply is there, its calls have not run.

use toolrunner_core::error::Misuse;
use toolrunner_core::json::Value;
use toolrunner_core::message::{ReplyMessage, StopReason, Usage};
use toolrunner_core::run::{Call, Step};
use toolrunner_core::time::Clock;

use super::Run;
use crate::error::Error;
use crate::params::Params;

/// One whole reply of the model. Leave it alone, and its calls run and their results are sent at
/// the next `next_turn`; or say something else. Nothing that is said here can make a call run
/// twice, or break the conversation.
///
/// ```no_run
/// # async fn f(mut run: toolrunner_std::Run) -> Result<(), toolrunner_std::Error> {
/// while let Some(mut turn) = run.next_turn().await? {
///     println!("turn {}: {}", turn.number(), turn.text());
///     // Answers a call in place of its tool; the others run at `results`, and what they gave may be edited before it is sent.
///     let guesses: Vec<String> = turn.calls().filter(|call| call.name == *"guess").map(|call| call.id.to_string()).collect();
///     for id in guesses {
///         turn.answer(&id, "42")?;
///     }
///     turn.results().await?.edit(|result| result.cap(10_000).map(|_| ()))?;
///     if !turn.is_last() {
///         turn.append_user("Please be concise.")?;
///     }
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "dropping a turn is fine; the next `next_turn` goes on with it"]
pub struct Turn<'r> {
    run: &'r mut Run,
}

impl<'r> Turn<'r> {
    pub(super) const fn new(run: &'r mut Run) -> Self {
        Self { run }
    }

    /// The reply: content, stop reason, usage, and every other field as it came.
    ///
    /// # Errors
    /// Never for a reply that the API sent; `Misuse` if it named nothing at all.
    pub fn message(&self) -> Result<ReplyMessage, Error> {
        self.run.message().ok_or(Error::Misuse(Misuse::State("there is no reply")))
    }

    /// The reply's text: all its text blocks, joined.
    pub fn text(&self) -> String {
        self.run.message().map(|message| message.text()).unwrap_or_default()
    }

    /// Why the reply ended.
    pub const fn stop_reason(&self) -> Option<StopReason> {
        self.run.machine.stop_reason()
    }

    /// Whether the run ends with this turn, if nothing more is said: the model needs no more calls.
    /// A limit may end it elsewhere too.
    pub const fn is_last(&self) -> bool {
        self.run.machine.outcome().is_some()
    }

    /// Tokens of this turn.
    pub const fn usage(&self) -> Usage {
        self.run.machine.turn_usage()
    }

    /// Which turn it is, from 1.
    pub const fn number(&self) -> u32 {
        self.run.machine.turns()
    }

    /// The calls that the model asks for, in its order.
    pub fn calls(&self) -> impl Iterator<Item = Call<'_>> {
        self.run.machine.calls().filter_map(|i| self.run.machine.call(i))
    }

    /// Runs the turn's calls, once, and gives their results to look at or edit before they are
    /// sent. Empty if the model asked for none, or if its stop reason or a limit forbids that they
    /// run.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn results(&mut self) -> Result<ToolResults<'_>, Error> {
        loop {
            if !self.run.jobs.is_empty() {
                self.run.next_result().await?;
            } else if self.run.has_open_turn()? && !self.run.cancellation_is_due() {
                self.run.start_calls()?;
            } else {
                return Ok(ToolResults { run: self.run });
            }
        }
    }

    /// As [`Run::answer`].
    ///
    /// # Errors
    /// As there.
    pub fn answer(&mut self, id: &str, text: &str) -> Result<&mut Self, Error> {
        self.run.answer(id, text)?;
        Ok(self)
    }

    /// As [`Run::answer_json`].
    ///
    /// # Errors
    /// As there.
    pub fn answer_json(
        &mut self,
        id: &str,
        content: &str,
        is_error: bool,
    ) -> Result<&mut Self, Error> {
        self.run.answer_json(id, content, is_error)?;
        Ok(self)
    }

    /// As [`Run::allow`].
    ///
    /// # Errors
    /// As there.
    pub fn allow(&mut self, id: &str) -> Result<&mut Self, Error> {
        self.run.allow(id)?;
        Ok(self)
    }

    /// As [`Run::append`].
    ///
    /// # Errors
    /// As there.
    pub fn append(&mut self, message: &str) -> Result<&mut Self, Error> {
        self.run.append(message)?;
        Ok(self)
    }

    /// Appends a user message, behind the results.
    ///
    /// # Errors
    /// As [`Run::append`].
    pub fn append_user(&mut self, text: &str) -> Result<&mut Self, Error> {
        self.append(&format!("{{\"role\":\"user\",\"content\":{}}}", crate::params::quoted(text)))
    }

    /// As [`Run::params_mut`].
    pub fn params_mut(&mut self) -> &mut Params {
        self.run.params_mut()
    }

    /// As [`Run::next_params_mut`].
    pub fn next_params_mut(&mut self) -> &mut Params {
        self.run.next_params_mut()
    }

    /// As [`Run::retry`].
    ///
    /// # Errors
    /// As there.
    pub fn retry(self) -> Result<(), Error> {
        self.run.retry().map(|_| ())
    }

    /// As [`Run::replace_history`].
    ///
    /// # Errors
    /// As there.
    pub fn replace_history(self, messages: &str) -> Result<(), Error> {
        self.run.replace_history(messages).map(|_| ())
    }

    /// As [`Run::stop`].
    pub fn stop(self) {
        self.run.stop();
    }

    /// The run itself.
    pub const fn run(&mut self) -> &mut Run {
        self.run
    }
}

impl Run {
    /// Whether the run was cancelled and does not know yet.
    pub(super) fn cancellation_is_due(&self) -> bool {
        self.cancel.is_cancelled() && !self.is_wound_down
    }

    /// Whether calls are to run now.
    fn has_open_turn(&mut self) -> Result<bool, Error> {
        if self.machine.next_call().is_none() || !self.machine.is_calling() {
            return Ok(false);
        }
        Ok(self.machine.step(self.clock.now())? == Step::Call && self.machine.next_call().is_some())
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
    call: usize,
}

impl ToolResults<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.run.machine.results().count()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `tool_result` blocks as they will be sent, in the model's order.
    pub fn iter(&self) -> impl Iterator<Item = toolrunner_core::message::ToolResult<'_>> {
        self.run.machine.results().filter_map(|result| {
            match toolrunner_core::message::Block::new(result) {
                toolrunner_core::message::Block::ToolResult(result) => Some(result),
                _ => None,
            }
        })
    }

    /// The text of the first result that is an error.
    pub fn first_error(&self) -> Option<String> {
        let failed = self.iter().find(|result| result.is_error())?;
        Some(super::gate::text_of(failed.value().member("content").unwrap_or_default()))
    }

    /// The message that will be sent, as JSON; nothing if there are no results.
    pub fn message_json(&self) -> Option<String> {
        let blocks: Vec<&str> = self.run.machine.results().map(Value::as_json).collect();
        (!blocks.is_empty())
            .then(|| format!("{{\"role\":\"user\",\"content\":[{}]}}", blocks.join(",")))
    }

    /// The result of the call with this id, to edit.
    pub fn of(&mut self, id: &str) -> Option<ToolResult<'_>> {
        let machine = &self.run.machine;
        let call = machine
            .calls()
            .find(|&i| machine.call(i).is_some_and(|call| call.is_answered && call.id == *id))?;
        Some(ToolResult { run: self.run, call })
    }

    /// Edits each result in turn.
    ///
    /// # Errors
    /// The first that `edit` gives.
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
    /// The block as it will be sent.
    pub fn json(&self) -> &str {
        self.run.machine.result(self.call).map(Value::as_json).unwrap_or_default()
    }

    /// Whether the tool failed.
    pub fn is_error(&self) -> bool {
        let result = self.run.machine.result(self.call);
        result
            .and_then(|result| result.member("is_error"))
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    /// The content's text: of a string, or of all its text blocks, joined.
    pub fn text(&self) -> String {
        let content = self
            .run
            .machine
            .result(self.call)
            .and_then(|result| result.member("content"))
            .unwrap_or_default();
        super::gate::text_of(content)
    }

    /// The call that it answers.
    pub fn call(&self) -> Option<Call<'_>> {
        self.run.machine.call(self.call)
    }

    /// Sets `cache_control` to this JSON, such as `{"type":"ephemeral"}`. A request may have four,
    /// in its tools, system prompt and messages together, and results stay in the conversation: to
    /// cache each turn, set the request's own instead, which moves with the conversation:
    /// `.param("cache_control", …)`.
    ///
    /// # Errors
    /// `Misuse` if it is not JSON, or if it would be the fifth of the request.
    pub fn cache_control(&mut self, json: &str) -> Result<&mut Self, Error> {
        self.add(&format!("\"cache_control\":{json}"))
    }

    /// Adds members in JSON to the block, such as `"cache_control":{"type":"ephemeral"}`.
    ///
    /// # Errors
    /// `Misuse` if they are none.
    pub fn add(&mut self, members: &str) -> Result<&mut Self, Error> {
        self.run.render_prefix();
        self.run.machine.add_to_result(self.call, members)?;
        Ok(self)
    }

    /// Replaces the content by a text.
    ///
    /// # Errors
    /// `Capacity` if the conversation is full; then the old one stays.
    pub fn replace(&mut self, text: &str) -> Result<&mut Self, Error> {
        let is_error = self.is_error();
        self.replace_json(&crate::params::quoted(text), is_error)
    }

    /// Cuts every text that is longer than `bytes`: head and tail stay, and the text between them
    /// says how much was cut. Members that were added are gone if something was cut.
    ///
    /// # Errors
    /// `Capacity` if the conversation is full; then the old one stays.
    pub fn cap(&mut self, bytes: usize) -> Result<&mut Self, Error> {
        let content = self
            .run
            .machine
            .result(self.call)
            .and_then(|result| result.member("content"))
            .unwrap_or_default();
        match super::gate::capped(content.as_json(), bytes) {
            Some(content) => self.replace_json(&content, self.is_error()),
            None => Ok(self),
        }
    }

    /// Replaces the content as it goes on the wire, and whether it is an error. Members that were
    /// added are gone.
    ///
    /// # Errors
    /// `Misuse` if it is no content; `Capacity` if the conversation is full. Then the old one
    /// stays.
    pub fn replace_json(&mut self, content: &str, is_error: bool) -> Result<&mut Self, Error> {
        self.run.render_prefix();
        self.run.machine.replace_result(self.call, content.as_bytes(), is_error)?;
        Ok(self)
    }
}
