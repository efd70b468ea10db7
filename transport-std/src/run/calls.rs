//! The calls of a turn: asked for at the gate, run, and their results put in place.

use std::sync::Arc;

use toolrunner_core::error::Misuse;
use toolrunner_core::json::Text;
use toolrunner_core::tool::Notice;

use super::Run;
use super::apart::run_apart;
use super::drive::uninterrupted;
use super::gate::{ResultDraft, capped};
use super::jobs::{Done, Job, JobEnd};
use super::notice::notice;
use super::what::What;
use crate::error::Error;
use crate::escaped::Escaped;

/// What the tool of a call asked, and what it was answered.
pub(super) struct Dialogue {
    call: usize,
    answers: Vec<String>,
    pub(super) question: Option<String>,
}

impl Run {
    /// Answers an open call instead of running its tool: the content's text. If the tool runs
    /// already it is dropped.
    ///
    /// # Errors
    /// `Misuse` if no open call has this id; what was wrong with how the run was made, such as its
    /// snapshot.
    pub fn answer(&mut self, id: &str, text: &str) -> Result<&mut Self, Error> {
        self.answer_json(id, &crate::params::quoted(text), false)
    }

    /// The same with content as it goes on the wire (a JSON string, or an array of blocks), and
    /// whether it is an error.
    ///
    /// # Errors
    /// As [`answer`](Self::answer); `Misuse` if the content is none.
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

    /// Replaces the result of the call with this id by a text, wherever it stands in the
    /// conversation; the tool does not run again. So a result that the API refuses (a picture that
    /// is too large, for example) can be replaced, and the run goes on. Which one it is stands in
    /// the [`details`](crate::ApiFailure::details) of the error.
    ///
    /// # Errors
    /// `Misuse` if there is no such result, or a request is under way; `Capacity` if it does not
    /// fit. Then the old one stays.
    pub fn replace_result(&mut self, id: &str, text: &str) -> Result<&mut Self, Error> {
        self.replace_result_json(id, &crate::params::quoted(text), false)
    }

    /// [`replace_result`](Self::replace_result) with content as it goes on the wire (a JSON string,
    /// or an array of blocks), and whether it is an error.
    ///
    /// # Errors
    /// As [`replace_result`](Self::replace_result); `Misuse` if the content is not valid.
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

    /// Lets a call run that the [gate](crate::RunBuilder::gate) suspended, or would be asked about.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn allow(&mut self, id: &str) -> Result<&mut Self, Error> {
        let call = self.open_call(id)?;
        if !self.allowed.contains(&call) {
            self.allowed.push(call);
        }
        self.machine.give_to_tools(call);
        Ok(self)
    }

    /// What the tool of this call [asked](toolrunner_core::tool::ToolContext::ask), as JSON, if it
    /// waits for the answer.
    pub fn question(&self, id: &str) -> Option<&str> {
        let call = self.machine.calls().find(|&i| {
            self.machine.call(i).is_some_and(|call| !call.is_answered && call.id == *id)
        })?;
        self.dialogues.iter().find(|dialogue| dialogue.call == call)?.question.as_deref()
    }

    /// Answers the next question of a call, as JSON: its tool is called again, after the
    /// [gate](crate::RunBuilder::gate), and finds the answer. In a run that was made from a
    /// snapshot, say all answers again, in order, before the run goes on: a snapshot has none.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
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

    /// The calls that wait for the caller, as ids: tools without a function, and those that the
    /// gate suspended.
    pub fn waiting_calls(&self) -> Vec<String> {
        let machine = &self.machine;
        machine
            .calls()
            .filter(|&i| machine.is_for_caller(i))
            .filter_map(|i| Some(machine.call(i)?.id.to_string()))
            .collect()
    }

    /// Answers all open calls as not run (or as cancelled, those that were running), so that the
    /// conversation can be saved, or go on somewhere else. A run that goes on by
    /// [`user`](Self::user) does this by itself.
    ///
    /// # Errors
    /// `Capacity` if not even the shortest answers fit.
    pub fn close_open_calls(&mut self) -> Result<&mut Self, Error> {
        self.machine.close_open_calls()?;
        self.jobs.clear();
        Ok(self)
    }

    fn open_call(&mut self, id: &str) -> Result<usize, Error> {
        // After a snapshot that could not be read no call is open, and that is not what is to be
        // mended.
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
                tracing::warn!(run = self.id, tool = %Escaped(call.name), call = %Escaped(call.id), "the model's input is no JSON object");
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

    /// Takes the next result, and starts what may run in its place.
    pub(super) async fn next_result(&mut self) -> Result<(), Error> {
        // Some may have started before the others of their turn were looked at.
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

    /// Puts a result in its place.
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
                // The tool has run: what it gave stands.
                Err(panic) => tracing::error!("the hook on results panicked: {panic}"),
            }
        }
        (self.capped(content).into_bytes(), is_error)
    }

    fn capped(&self, content: String) -> String {
        self.result_cap.and_then(|cap| capped(&content, cap)).unwrap_or(content)
    }

    /// Drops the calls that run and whose answer the machine wrote itself: what is said behind a
    /// run that has ended closes its open calls.
    pub(super) fn drop_answered_jobs(&mut self) {
        for call in self.jobs.calls() {
            if self.machine.is_answered(call) || !self.machine.calls().contains(&call) {
                self.jobs.abort(call);
            }
        }
    }

    /// Ends what is under way, because the run was cancelled or its time is over: a reply is taken
    /// back, unless a call of it has started; tools are cancelled and have the grace period to end;
    /// then they are dropped, and their calls answered as cancelled.
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
