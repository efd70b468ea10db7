//! The driver: one step after another, each told as plain data, so that any future may be dropped between two.

use std::sync::Arc;

use core::time::Duration;

use toolrunner_core::drive::{DriveError, send};
use toolrunner_core::error::Error as CoreError;
use toolrunner_core::json::Value;
use toolrunner_core::observe::Event;
use toolrunner_core::run::{Happened, Step};
use toolrunner_core::transport::Head;

use super::jobs::Job;
use super::{Finished, Run, Turn};
use crate::clock::SharedClock;
use crate::error::Error;
use crate::http::HttpError;
use crate::params::quoted;

/// What a step told.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Happened(Happened),
    Request {
        turn: u32,
        attempt: u32,
    },
    Retry {
        attempt: u32,
        wait: Duration,
        error: CoreError,
    },
    ToolEnd(usize),
    ToolStart(usize),
    /// The reply is whole and its connection free again. Not told.
    TurnEnd,
}

impl Run {
    /// Goes on until the run is over: through all turns and all tools.
    ///
    /// # Errors
    /// See [`Error`]. The run is whole: call it again to go on from where it was.
    pub async fn until_done(&mut self) -> Result<Finished, Error> {
        while self.advance(false).await?.is_some() {}
        self.finished()
    }

    /// Goes on to the end of the model's next reply; nothing when there is none. The reply's calls have not run yet: they run at
    /// [`Turn::results`], or at the next `next_turn`, once. A run that is dropped in between ran none of them.
    ///
    /// # Errors
    /// See [`Error`]. The run is whole: call it again to go on from where it was.
    pub async fn next_turn(&mut self) -> Result<Option<Turn<'_>>, Error> {
        while let Some(what) = self.advance(false).await? {
            if let What::TurnEnd = what {
                return Ok(Some(Turn::new(self)));
            }
        }
        Ok(None)
    }

    /// Goes on to the next thing that happens; nothing when the run is over.
    ///
    /// A text that was told cannot be taken back: a reply that breaks off later is an error then, unless the retry policy says else.
    ///
    /// Levels may be mixed. After [`Event::MessageStop`] the reply is whole and its calls have not run: [`next_turn`](Self::next_turn)
    /// then gives that turn, to look at its calls or answer them; another `next_event` runs them.
    ///
    /// # Errors
    /// See [`Error`]. The run is whole: call it again to go on from where it was.
    pub async fn next_event(&mut self) -> Result<Option<Event<'_>>, Error> {
        loop {
            match self.advance(true).await? {
                None => return Ok(None),
                Some(What::TurnEnd) => {}
                Some(what) => return Ok(self.lend(what)),
            }
        }
    }

    /// Goes on to the end of the run and tells `see` each thing that happens.
    ///
    /// # Errors
    /// As [`next_event`](Self::next_event).
    pub async fn for_each_event(&mut self, mut see: impl FnMut(&Event<'_>) + Send) -> Result<Finished, Error> {
        while let Some(event) = self.next_event().await? {
            see(&event);
        }
        self.finished()
    }

    fn finished(&mut self) -> Result<Finished, Error> {
        match self.machine.step(self.clock.now())? {
            Step::Done(outcome) => Ok(Finished { outcome, message: self.message(), usage: self.usage() }),
            _ => Err(Error::Invalid("the run is not over".to_owned())),
        }
    }

    fn lend(&mut self, what: What) -> Option<Event<'_>> {
        Some(match what {
            What::Happened(happened) => self.machine.event(happened),
            What::Request { turn, attempt } => Event::Request { turn, attempt },
            What::Retry { attempt, wait, error } => Event::Retry { attempt, wait, error },
            What::ToolStart(i) => {
                let call = self.machine.call(i)?;
                Event::ToolStart { id: call.id, name: call.name, input: call.input }
            }
            What::ToolEnd(i) => {
                let (call, result) = (self.machine.call(i)?, self.machine.result(i)?);
                let content = result.member("content").unwrap_or_default();
                let is_error = result.member("is_error").and_then(Value::as_bool).unwrap_or(false);
                Event::ToolEnd { id: call.id, name: call.name, content, is_error }
            }
            What::TurnEnd => return None,
        })
    }

    /// One thing further. `tell`: whether what happens is handed on.
    pub(super) async fn advance(&mut self, tell: bool) -> Result<Option<What>, Error> {
        if let Some(error) = self.invalid.take() {
            // A second use tells it again: nothing can be sent.
            let again = Error::Invalid(error.to_string());
            self.invalid = Some(again);
            return Err(error);
        }
        loop {
            if let Some(what) = self.untold.pop_front() {
                return Ok(Some(what));
            }
            if self.reply.is_some() {
                if let Some(what) = self.read_reply(tell).await? {
                    return Ok(Some(what));
                }
                continue;
            }
            if !self.jobs.is_empty() {
                self.next_result().await?;
                continue;
            }
            match self.machine.step(self.clock.now())? {
                Step::Done(_) => return Ok(None),
                Step::Wait(until) => self.clock.wait_until(until).await,
                Step::Receive => {
                    // The reply was dropped half-way.
                    self.machine.failed(None, self.clock.now(), 0)?;
                }
                Step::Call => self.start_calls()?,
                Step::Send if !self.announced => {
                    self.announced = true;
                    let (turn, attempt) = (self.machine.turns() + 1, self.machine.attempt() + 1);
                    return Ok(Some(What::Request { turn, attempt }));
                }
                Step::Send => {
                    if let Some(what) = self.send().await? {
                        return Ok(Some(what));
                    }
                }
                _ => return Err(Error::Invalid("a step that this driver does not know".to_owned())),
            }
        }
    }

    async fn send(&mut self) -> Result<Option<What>, Error> {
        self.render_prefix();
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let headers: Vec<(&str, &str)> = self.settings.headers().collect();
        let head = Head { base_url: self.settings.base_url(), path: self.settings.path(), headers: &headers };
        tracing::debug!(turn = self.machine.turns() + 1, attempt = self.machine.attempt() + 1, "request");
        let opened = send(&mut self.machine, &head, &[prefix], &mut self.transport).await;
        self.announced = false;
        match opened {
            Ok(reply) => {
                self.reply = Some(reply);
                Ok(None)
            }
            Err(failed) => self.failed(failed).map(Some),
        }
    }

    async fn read_reply(&mut self, tell: bool) -> Result<Option<What>, Error> {
        let Some(reply) = &mut self.reply else { return Ok(None) };
        match reply.next_happened(&mut self.machine).await {
            Ok(Some(happened)) => {
                self.envelope.see(&self.machine.peek(happened));
                Ok(tell.then_some(What::Happened(happened)))
            }
            Ok(None) => {
                reply.drain(&self.clock).await;
                self.reply = None;
                tracing::debug!(turn = self.machine.turns(), stop = ?self.machine.stop_reason(), "reply");
                Ok(Some(What::TurnEnd))
            }
            Err(failed) => {
                self.reply = None;
                self.failed(failed).map(Some)
            }
        }
    }

    fn failed(&mut self, failed: DriveError<HttpError>) -> Result<What, Error> {
        let DriveError { error, transport } = failed;
        let attempt = self.machine.attempt() + 1;
        match self.machine.failed(Some(error), self.clock.now(), self.clock.jitter()) {
            Ok(wait) => {
                tracing::info!(attempt, ?wait, "request failed and is sent again: {error}");
                Ok(What::Retry { attempt, wait, error })
            }
            Err(error) => Err(Error::of(error, transport, &self.machine)),
        }
    }

    /// Starts as many calls as may run.
    pub(super) fn start_calls(&mut self) -> Result<(), Error> {
        let pending = self.machine.calls().filter(|&i| self.machine.is_pending(i));
        let pending: Vec<usize> = pending.collect();
        for i in pending {
            if self.jobs.len() >= self.concurrency {
                break;
            }
            let Some(call) = self.machine.call(i) else { continue };
            let entry = self.toolset.find(call.name);
            if call.is_bad {
                self.untold.push_back(What::ToolStart(i));
                self.machine.refuse_bad_input(i)?;
                self.untold.push_back(What::ToolEnd(i));
                continue;
            }
            match entry {
                None => {
                    self.untold.push_back(What::ToolStart(i));
                    tracing::warn!(tool = %call.name, call = %call.id, "tool not found");
                    self.machine.answer_not_found(i)?;
                    self.untold.push_back(What::ToolEnd(i));
                }
                Some(entry) if !entry.runnable => self.machine.leave_to_caller(i),
                Some(entry) if entry.serial && self.jobs.has_serial() => {}
                Some(entry) => {
                    let job = Job {
                        call: i,
                        id: call.id.raw().to_owned(),
                        name: call.name.raw().to_owned(),
                        input: call.input.raw().to_vec(),
                        turn: self.machine.turns(),
                        entry,
                        tools: Arc::clone(&self.toolset.tools),
                    };
                    self.machine.begin_call(i);
                    self.jobs.start(job, self.clock.clone());
                    self.untold.push_back(What::ToolStart(i));
                }
            }
        }
        Ok(())
    }

    /// Takes the next result, and starts what may run in its place.
    pub(super) async fn next_result(&mut self) -> Result<(), Error> {
        if let Some(done) = self.jobs.next().await {
            self.machine.answer_checked(done.call, &done.content, done.is_error)?;
            self.untold.push_back(What::ToolEnd(done.call));
            if self.machine.next_call().is_some() {
                self.start_calls()?;
            }
        }
        Ok(())
    }

    /// The body up to the conversation: parameters in their order, then tools.
    fn render_prefix(&mut self) {
        let container = self.machine.container().filter(|_| !self.pins_container());
        if self.prefix.is_some() && container == self.container.as_deref() {
            return;
        }
        let mut out = String::from("{");
        for (name, json) in self.params.iter() {
            out.push_str(&quoted(name));
            out.push(':');
            match container {
                Some(id) if name == "container" => out.push_str(&with_id(json, id)),
                _ => out.push_str(json),
            }
            out.push(',');
        }
        if let Some(id) = container.filter(|_| self.params.json("container").is_none()) {
            out.push_str("\"container\":");
            out.push_str(&quoted(id));
            out.push(',');
        }
        if self.stream {
            out.push_str("\"stream\":true,");
        }
        if !self.toolset.json.is_empty() {
            out.push_str("\"tools\":");
            out.push_str(&self.toolset.json);
            out.push(',');
        }
        out.push_str("\"messages\":[");
        self.container = container.map(str::to_owned);
        self.prefix = Some(out.into_bytes());
    }

    /// Whether the caller named a container: an id, or an object with one. An object without one gets that of the reply.
    fn pins_container(&self) -> bool {
        let Some(value) = self.params.json("container").and_then(|json| Value::first(json.as_bytes())) else { return false };
        match value.members().next() {
            Some(_) => value.member("id").is_some_and(|id| !id.is_null()),
            None => !value.is_null(),
        }
    }
}

/// A container object with this id, and whatever else it had; the id alone for `null`.
fn with_id(json: &str, id: &str) -> String {
    let Some(object) = Value::first(json.as_bytes()).filter(|value| value.members().next().is_some()) else { return quoted(id) };
    let mut out = format!("{{\"id\":{}", quoted(id));
    for (name, value) in object.members().filter(|(name, _)| *name != *"id") {
        out.push_str(",\"");
        out.push_str(name.raw());
        out.push_str("\":");
        out.push_str(value.as_json());
    }
    out.push('}');
    out
}

impl toolrunner_core::time::Clock for SharedClock {
    fn now(&self) -> toolrunner_core::time::Instant {
        self.0.now()
    }

    async fn wait_until(&self, deadline: toolrunner_core::time::Instant) {
        self.0.wait_until(deadline).await;
    }

    fn jitter(&self) -> u32 {
        self.0.jitter()
    }
}
