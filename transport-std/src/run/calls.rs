//! The calls of a turn: passed to the gate, run, and their results stored.

use std::sync::Arc;
use toolrunner_core::__private::Notice;

use toolrunner_core::error::Misuse;
use toolrunner_core::json::Text;

use super::Run;
use super::apart::run_apart;
use super::drive::uninterrupted;
use super::gate::{ResultDraft, capped};
use super::jobs::{Done, Job, JobEnd};
use super::notice::notice;
use super::what::What;
use crate::error::Error;
use crate::escaped::Escaped;

/// The questions that the tool of a call asked, and the answers.
pub(super) struct Dialogue {
    call: usize,
    answers: Vec<String>,
    pub(super) question: Option<String>,
}

impl Run {
    /// Answers an open call with this text instead of running its tool. If the tool is already
    /// running, it is dropped.
    ///
    /// # Errors
    /// Returns `Misuse` if no open call has this id, or the error of the run's configuration, such
    /// as of its snapshot.
    pub fn answer(&mut self, id: &str, text: &str) -> Result<&mut Self, Error> {
        self.answer_json(id, &crate::params::quoted(text), false)
    }

    /// Answers an open call with content in wire format (a JSON string, or an array of blocks),
    /// instead of running its tool. `is_error` reports a failure to the model. If the tool is
    /// already running, it is dropped.
    ///
    /// # Errors
    /// Returns the errors of [`answer`](Self::answer), or `Misuse` if the content is not valid.
    pub fn answer_json(
        &mut self,
        id: &str,
        content: &str,
        is_error: bool,
    ) -> Result<&mut Self, Error> {
        let call = self.open_call(id)?;
        self.render_prefix();
        self.machine.answer(call, content.as_bytes(), is_error)?;
        self.jobs.abort(call);
        self.untold.push_back(What::ToolEnd(call));
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
        self.replace_result_json(id, &crate::params::quoted(text), false)
    }

    /// Replaces the result of the call with this id by content in wire format (a JSON string, or an
    /// array of blocks), as [`replace_result`](Self::replace_result) does with a text. `is_error`
    /// reports a failure to the model.
    ///
    /// # Errors
    /// Returns the errors of [`replace_result`](Self::replace_result), or `Misuse` if the content
    /// is not valid.
    pub fn replace_result_json(
        &mut self,
        id: &str,
        content: &str,
        is_error: bool,
    ) -> Result<&mut Self, Error> {
        self.check_setup()?;
        self.machine.replace_result_of(id, content.as_bytes(), is_error)?;
        Ok(self)
    }

    /// Allows a call that the [gate](crate::RunBuilder::gate) suspended to run, or one that has not
    /// reached it.
    ///
    /// # Errors
    /// Returns the errors of [`answer`](Self::answer).
    pub fn allow(&mut self, id: &str) -> Result<&mut Self, Error> {
        let call = self.open_call(id)?;
        if !self.allowed.contains(&call) {
            self.allowed.push(call);
        }
        self.machine.give_to_tools(call);
        Ok(self)
    }

    /// Returns the question, as JSON, that the tool of this call
    /// [asked](toolrunner_core::tool::ToolContext::ask), if the tool waits for the answer.
    pub fn question(&self, id: &str) -> Option<&str> {
        let call = self.machine.calls().find(|&i| {
            self.machine.call(i).is_some_and(|call| !call.is_answered && call.id == *id)
        })?;
        self.dialogues.iter().find(|dialogue| dialogue.call == call)?.question.as_deref()
    }

    /// Answers the next question of a call, as JSON. Its tool is called again, after the
    /// [gate](crate::RunBuilder::gate), and receives the answer. A snapshot contains no answers: in
    /// a resumed run, give all of them again, in order, before the run continues.
    ///
    /// # Errors
    /// Returns the errors of [`answer`](Self::answer).
    pub fn answer_question(&mut self, id: &str, answer: &str) -> Result<&mut Self, Error> {
        let call = self.open_call(id)?;
        let dialogue = self.dialogue(call);
        dialogue.question = None;
        dialogue.answers.push(answer.to_owned());
        self.machine.give_to_tools(call);
        Ok(self)
    }

    fn answers_of(&self, call: usize) -> Arc<[String]> {
        let dialogue = self.dialogues.iter().find(|dialogue| dialogue.call == call);
        dialogue.map(|dialogue| dialogue.answers.as_slice().into()).unwrap_or_default()
    }

    pub(super) fn dialogue(&mut self, call: usize) -> &mut Dialogue {
        let known = self.dialogues.iter().position(|dialogue| dialogue.call == call);
        let i = known.unwrap_or_else(|| {
            self.dialogues.push(Dialogue { call, answers: Vec::new(), question: None });
            self.dialogues.len() - 1
        });
        &mut self.dialogues[i]
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
        self.jobs.clear();
        Ok(self)
    }

    fn open_call(&mut self, id: &str) -> Result<usize, Error> {
        // If a snapshot could not be read, no call is open; report the actual mistake instead.
        self.check_setup()?;
        let machine = &self.machine;
        let mut calls = machine.calls();
        calls
            .find(|&i| machine.call(i).is_some_and(|call| !call.is_answered && call.id == *id))
            .ok_or(Error::Misuse(Misuse::NoSuchCall))
    }

    /// Starts as many calls as may run.
    pub(super) fn start_calls(&mut self) -> Result<(), Error> {
        let pending = self.machine.calls().filter(|&i| self.machine.is_pending(i));
        let pending: Vec<usize> = pending.collect();
        for i in pending {
            if self.jobs.len() >= self.concurrency {
                break;
            }
            let is_withdrawn = self.machine.is_withdrawn(i);
            let Some(call) = self.machine.call(i) else { continue };
            if call.is_bad {
                self.untold.push_back(What::ToolStart(i));
                tracing::warn!(run = self.id, tool = %Escaped(call.name), call = %Escaped(call.id), "the model's input is not a JSON object");
                self.machine.refuse_bad_input(i)?;
                self.untold.push_back(What::ToolEnd(i));
                continue;
            }
            match self.toolset.find(call.toolset, call.name).filter(|_| !is_withdrawn) {
                None => {
                    self.untold.push_back(What::ToolStart(i));
                    tracing::warn!(run = self.id, tool = %Escaped(call.name), call = %Escaped(call.id), "tool not found");
                    self.machine.answer_not_found(i)?;
                    self.untold.push_back(What::ToolEnd(i));
                }
                Some(entry) if !entry.runnable => self.machine.leave_to_caller(i),
                Some(entry) if !self.jobs.may_start(&entry) => {}
                Some(entry) => {
                    let job = Job {
                        call: i,
                        id: call.id.raw().into(),
                        name: call.name.raw().into(),
                        input: call.input.raw().to_vec(),
                        turn: self.machine.turns(),
                        entry,
                        tools: Arc::clone(&self.toolset.tools),
                        state: self.state.clone(),
                        gate: self.gate.clone().filter(|_| !self.allowed.contains(&i)),
                        answers: self.answers_of(i),
                    };
                    if !self.machine.begin_call(i) {
                        continue;
                    }
                    let span = self.trace.call(self.id, &self.params, &job);
                    self.jobs.start(job, self.clock.clone(), span, self.trace.ends_call());
                    self.untold.push_back(What::ToolStart(i));
                }
            }
        }
        Ok(())
    }

    /// Waits for the next result, and starts the calls that may run in its place.
    pub(super) async fn next_result(&mut self) -> Result<(), Error> {
        // Some calls may have started early, before the others of their turn were examined.
        if self.may_start_more() {
            self.start_calls()?;
        }
        let deadline = self.machine.deadline();
        match uninterrupted(&self.cancel, &self.clock, deadline, self.jobs.next()).await {
            Some(Some(done)) => self.stage(done)?,
            Some(None) => {}
            None => self.wind_down().await?,
        }
        Ok(())
    }

    /// Stores a result in the conversation.
    pub(super) fn stage(&mut self, done: Done) -> Result<(), Error> {
        let (content, is_error) = match done.end {
            JobEnd::Answer(content, is_error) => (content, is_error),
            JobEnd::Suspended => {
                self.machine.leave_to_caller(done.call);
                return Ok(());
            }
            JobEnd::Asked(question) => {
                self.machine.leave_to_caller(done.call);
                self.dialogue(done.call).question = Some(question);
                return Ok(());
            }
        };
        let text = |text: Option<Text<'_>>| text.map(|text| text.to_string()).unwrap_or_default();
        let call = self.machine.call(done.call);
        let (id, name) = (text(call.map(|call| call.id)), text(call.map(|call| call.name)));
        let (content, is_error) = self.hooked(id, name, content, is_error);
        self.machine.answer_checked(done.call, &content, is_error)?;
        self.untold.push_back(What::ToolEnd(done.call));
        Ok(())
    }

    pub(super) fn hooked(
        &self,
        id: String,
        name: String,
        content: Vec<u8>,
        is_error: bool,
    ) -> (Vec<u8>, bool) {
        if self.hook.is_none() && self.result_cap.is_none_or(|cap| content.len() <= cap) {
            return (content, is_error);
        }
        let Ok(mut content) = String::from_utf8(content) else { return notice(Notice::NotRun) };
        if let Some(hook) = &self.hook {
            let mut draft = ResultDraft::new(id, name, content.clone(), is_error);
            match run_apart(|| hook(&mut draft)) {
                Ok(()) => {
                    let (bytes, is_error) = draft.into_parts();
                    content = String::from_utf8(bytes).unwrap_or_default();
                    return (self.capped(content).into_bytes(), is_error);
                }
                // The tool has run, so its result stays as it is.
                Err(panic) => tracing::error!("the hook on results panicked: {panic}"),
            }
        }
        (self.capped(content).into_bytes(), is_error)
    }

    fn capped(&self, content: String) -> String {
        self.result_cap.and_then(|cap| capped(&content, cap)).unwrap_or(content)
    }

    /// Drops running calls that the machine has answered itself: a message after the end of a run
    /// closes its open calls.
    pub(super) fn drop_answered_jobs(&mut self) {
        for call in self.jobs.calls() {
            if self.machine.is_answered(call) || !self.machine.calls().contains(&call) {
                self.jobs.abort(call);
            }
        }
    }

    /// Ends everything under way, because the run was cancelled or its time is over. A reply is
    /// dropped, unless one of its calls has started. Tools are cancelled and have the grace period
    /// to end; then they are dropped, and their calls answered as cancelled.
    pub(super) async fn wind_down(&mut self) -> Result<(), Error> {
        self.let_go_of_reply();
        self.jobs.cancel();
        let end = self.clock.0.now().after(self.grace);
        while !self.jobs.is_empty() {
            let never = tokio_util::sync::CancellationToken::new();
            match uninterrupted(&never, &self.clock, Some(end), self.jobs.next()).await {
                Some(Some(done)) => self.stage(done)?,
                Some(None) => {}
                None => {
                    for call in self.jobs.calls() {
                        self.machine.answer_notice(call, Notice::Cancelled)?;
                        self.untold.push_back(What::ToolEnd(call));
                    }
                    self.jobs.clear();
                }
            }
        }
        if self.cancel.is_cancelled() {
            self.machine.stop();
            self.is_wound_down = true;
        }
        Ok(())
    }
}
