//! The caller's verbs for the calls of a turn, by id.

use toolrunner_core::__private::client;
use toolrunner_core::__private::drive::Progress;
use toolrunner_core::run::{CallIndex, ToolAnswer};

use super::{Content, Run};
use crate::error::Error;

impl Run {
    /// Answers an open call with this text, or a [`Content`], instead of running its tool. If the
    /// tool is already running, it is dropped.
    ///
    /// # Errors
    /// Returns `Misuse` if no open call has this id, or the error of the run's configuration, such
    /// as of its snapshot, or `Invalid` for a mistake in the content.
    pub fn answer(&mut self, id: &str, content: impl Into<Content>) -> Result<&mut Self, Error> {
        self.answer_with(id, ToolAnswer::ok_json(content.into().json()?.as_bytes()))
    }

    /// Answers an open call instead of running its tool, also with a failure, or with content in
    /// wire format: `run.answer_with(id, ToolAnswer::error("not allowed"))`. If the tool is already
    /// running, it is dropped.
    ///
    /// # Errors
    /// Returns the errors of [`answer`](Self::answer), or `Misuse` if the content is not valid.
    pub fn answer_with(&mut self, id: &str, answer: ToolAnswer<'_>) -> Result<&mut Self, Error> {
        let call = self.open_call(id)?;
        self.render_prefix();
        self.machine.answer(call, answer)?;
        self.turns.executor.drop_call(call);
        self.notes.untold.push_back(Progress::ToolEnd(call));
        Ok(self)
    }

    /// Replaces the result of the call with this id by a text, anywhere in the conversation; the
    /// tool does not run again. Use this to replace a result that the API refuses, such as an image
    /// that is too large, and then continue the run. The [`details`](crate::ApiFailure::details) of
    /// the error name the result.
    ///
    /// # Errors
    /// Returns `Misuse` if there is no such result or a request is under way, or `Capacity` if the
    /// text does not fit. Then the old result stays.
    pub fn replace_result(&mut self, id: &str, text: &str) -> Result<&mut Self, Error> {
        self.replace_result_with(id, ToolAnswer::ok(text))
    }

    /// Replaces the result of the call with this id, as [`replace_result`](Self::replace_result)
    /// does, also by a failure, or by content in wire format.
    ///
    /// # Errors
    /// Returns the errors of [`replace_result`](Self::replace_result), or `Misuse` if the content
    /// is not valid.
    pub fn replace_result_with(
        &mut self,
        id: &str,
        answer: ToolAnswer<'_>,
    ) -> Result<&mut Self, Error> {
        self.check_setup()?;
        self.machine.replace_result_of(id, answer)?;
        Ok(self)
    }

    /// Allows a call that the [gate](crate::RunBuilder::gate) suspended to run, or one that has not
    /// reached it. The gate is not asked about it.
    ///
    /// # Errors
    /// Returns the errors of [`answer`](Self::answer).
    pub fn allow(&mut self, id: &str) -> Result<&mut Self, Error> {
        let call = self.open_call(id)?;
        self.machine.allow(call);
        Ok(self)
    }

    /// Returns the question, as JSON, that the tool of this call
    /// [asked](toolrunner_core::tool::ToolContext::ask), if the tool waits for the answer.
    pub fn question(&self, id: &str) -> Option<&str> {
        let call = client::open_call(&self.machine, id).ok()?;
        self.turns
            .hooks
            .dialogues
            .iter()
            .find(|dialogue| dialogue.call == call)?
            .question
            .as_deref()
    }

    /// Answers the next question of a call, as JSON. Its tool is called again, after the
    /// [gate](crate::RunBuilder::gate), and receives the answer. A snapshot contains no answers: in
    /// a resumed run, give all of them again, in order, before the run continues.
    ///
    /// # Errors
    /// Returns the errors of [`answer`](Self::answer).
    pub fn answer_question(&mut self, id: &str, answer: &str) -> Result<&mut Self, Error> {
        let call = self.open_call(id)?;
        let dialogue = self.turns.hooks.dialogue(call);
        dialogue.question = None;
        dialogue.answers.push(answer.to_owned());
        self.machine.give_to_tools(call);
        Ok(self)
    }

    /// Returns the ids of the calls that wait for the caller: calls of tools without a function,
    /// and those that the gate suspended.
    pub fn waiting_calls(&self) -> Vec<String> {
        let machine = &self.machine;
        machine
            .calls()
            .filter(|&i| machine.is_for_caller(i))
            .filter_map(|i| Some(machine.call(i)?.id.to_string()))
            .collect()
    }

    /// Answers all open calls as not run (those that were running as cancelled), so that the
    /// conversation can be saved, or continued elsewhere. A run that continues with
    /// [`user`](Self::user) does this itself.
    ///
    /// # Errors
    /// Returns `Capacity` if even the shortest answers do not fit.
    pub fn close_open_calls(&mut self) -> Result<&mut Self, Error> {
        self.machine.close_open_calls()?;
        self.turns.clear_calls();
        Ok(self)
    }

    fn open_call(&mut self, id: &str) -> Result<CallIndex, Error> {
        // If a snapshot could not be read, no call is open; report the actual mistake instead.
        self.check_setup()?;
        Ok(client::open_call(&self.machine, id)?)
    }
}
