//! What a caller can say, at any time: every intent has its own word, and none can break the conversation.

use super::Run;
use super::state::{Outcome, State};
use crate::error::{Error, Misuse};
use crate::json::{Kind, MESSAGE_DEPTH, Value, check_to};
use crate::message::Role;
use crate::tool::Notice;

impl Run<'_> {
    /// Says something: a user message. Calls that are still open are answered as not run, and the limits count anew.
    ///
    /// # Errors
    /// `Capacity`: then nothing was said. `Misuse` while a request is under way: ask [`step`](Self::step) what is to be done; and for
    /// no text at all.
    pub fn user(&mut self, text: &str) -> Result<(), Error> {
        self.ensure_idle()?;
        self.cancel_compaction();
        if text.is_empty() {
            return Err(Misuse::Setting("a message must not be empty").into());
        }
        self.reserve_with_answers(self.transcript.text_len(Role::User.name(), text))?;
        self.close_open_calls()?;
        self.transcript.push_text(Role::User.name(), text)?;
        self.prompt();
        Ok(())
    }

    /// Appends a message of its own, as JSON: an object with `role` and `content`, or several with commas between. It comes behind the
    /// reply and all its results, whether or not they are there yet. On a run that has ended, the run goes on with it.
    ///
    /// # Errors
    /// `Misuse` if it is no such message; `Capacity`: then nothing was appended.
    pub fn append(&mut self, messages: &str) -> Result<(), Error> {
        self.ensure_idle()?;
        self.cancel_compaction();
        check_messages(messages.as_bytes())?;
        let messages = messages.trim_ascii().as_bytes();
        self.reserve_with_answers(usize::from(!self.transcript.is_empty()) + messages.len())?;
        // Behind a paused turn a message ends the pause: what that one called will not be answered later.
        if !self.turn.runs || matches!(self.state, State::Done(Outcome::Broken | Outcome::Ended(_) | Outcome::Stopped)) {
            self.close_open_calls()?;
        }
        self.transcript.push_json(messages)?;
        if let State::Done(Outcome::Broken | Outcome::Ended(_) | Outcome::Stopped) = self.state {
            self.state = State::Ready;
        }
        Ok(())
    }

    /// Drops the last reply, with its results if there are any, and asks for it again. What was appended stays.
    ///
    /// # Errors
    /// `Misuse` if there is no reply to drop.
    pub fn retry(&mut self) -> Result<(), Error> {
        self.ensure_idle()?;
        self.cancel_compaction();
        self.attempt = 0;
        if self.reply.is_empty() && matches!(self.state, State::Done(Outcome::Ended(_))) {
            // A reply without content is not in the transcript.
            self.state = State::Ready;
            return Ok(());
        }
        if self.turn.results_end <= self.turn.mark {
            return Err(Misuse::State("there is no reply to ask for again").into());
        }
        self.drop_reply();
        Ok(())
    }

    /// Takes the last reply out, with its results. What was appended stays.
    pub(super) fn drop_reply(&mut self) {
        let span = crate::transcript::Span::new(self.turn.mark, self.turn.results_end);
        // At the very start a comma stays behind the gap, if something follows.
        let comma = usize::from(self.turn.mark == 0 && span.end < self.transcript.len());
        self.transcript.remove(crate::transcript::Span::new(span.start, span.end + comma));
        self.go_back_to_turn_before(span.start);
        self.state = State::Ready;
    }

    /// Ends the run where it is, if it is not over already. It can go on: [`user`](Self::user), [`append`](Self::append), [`resume`](Self::resume).
    pub fn stop(&mut self) {
        // While it waits to send again the reply is taken back already, and something may have been appended since.
        if let State::Sending | State::Receiving | State::ErrorBody = self.state {
            self.let_go();
        }
        self.cancel_compaction();
        if !matches!(self.state, State::Done(Outcome::Broken | Outcome::Ended(_))) {
            self.state = State::Done(Outcome::Stopped);
        }
    }

    /// After [`stop`](Self::stop): goes on where it was. After [`Outcome::Broken`]: closes the kept calls and asks the model to go on
    /// (behind a kept text that is a prefill, which not every model takes: then say something instead).
    pub fn resume(&mut self) {
        if self.state == State::Done(Outcome::Broken) {
            self.go_on_from_broken();
        }
        if self.state == State::Done(Outcome::Stopped) {
            self.state = if self.turn.is_calling() { State::Calling } else { State::Ready };
        }
    }

    /// Makes `messages` the conversation, in place of all that was said: JSON objects with commas between, or an array of them.
    ///
    /// # Errors
    /// `Misuse` if they are none; `Capacity` if they do not fit: then the old conversation stays.
    pub fn replace_history(&mut self, messages: &str) -> Result<(), Error> {
        self.ensure_idle()?;
        self.cancel_compaction();
        let bytes = inside(messages.trim_ascii().as_bytes());
        check_messages(bytes)?;
        if bytes.len() > self.transcript.capacity() {
            let full =
                crate::error::Capacity { what: crate::error::What::Transcript, needed: bytes.len(), free: self.transcript.capacity() };
            return Err(full.into());
        }
        self.transcript.truncate(0);
        self.transcript.push_json(bytes)?;
        self.go_back_to_turn_before(self.transcript.len());
        self.prompt();
        Ok(())
    }

    /// Answers the calls that will not run, so that the conversation can go on.
    ///
    /// # Errors
    /// `Capacity` if not even that fits: then none was answered.
    pub fn close_open_calls(&mut self) -> Result<(), Error> {
        self.ensure_idle()?;
        self.cancel_compaction();
        self.reserve_with_answers(0)?;
        for i in self.calls() {
            if !self.turn.answered.has(i) {
                let notice = if self.turn.running.has(i) { Notice::Cancelled } else { Notice::NotRun };
                self.answer_notice(i, notice)?;
            }
        }
        Ok(())
    }

    /// A new prompt: the run is ready, and what the limits count is nothing yet.
    fn prompt(&mut self) {
        self.state = State::Ready;
        self.turns = 0;
        self.calls = 0;
        self.repeats = 0;
        self.fingerprint = 0;
        self.attempt = 0;
        self.started = None;
    }

    /// Room for `more` bytes and the shortest answers to all open calls.
    fn reserve_with_answers(&mut self, more: usize) -> Result<(), Error> {
        let answers = if self.turn.is_open() { self.reserve_for_others(usize::MAX) + self.results_frame() } else { 0 };
        Ok(self.transcript.reserve(more + answers)?)
    }

    pub(super) fn ensure_idle(&self) -> Result<(), Error> {
        match self.state {
            State::Sending | State::Receiving | State::ErrorBody => {
                Err(Misuse::State("a request is under way: finish it, or stop the run").into())
            }
            _ => Ok(()),
        }
    }
}

/// What stands between an array's brackets; the bytes themselves if it is none.
fn inside(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(bytes).trim_ascii()
}

fn is_empty_array(value: Value<'_>) -> bool {
    value.kind() == Kind::Array && value.elements().next().is_none()
}

/// Checks that these are messages: objects with a role and content, with commas between.
pub(super) fn check_messages(bytes: &[u8]) -> Result<(), Error> {
    let wrong = || Error::from(Misuse::Json("a message is an object with a role (user, assistant or system) and a content"));
    // Rust counts a form feed as white space, JSON does not, and in a JSON text it stands nowhere.
    if bytes.contains(&0x0c) {
        return Err(wrong());
    }
    let mut rest = bytes.trim_ascii();
    loop {
        let message = Value::first(rest).ok_or_else(wrong)?;
        let checked = check_to(MESSAGE_DEPTH, message.raw()).map_err(|_| wrong())?;
        let role = message.member("role").and_then(Value::as_text).and_then(Role::from_text);
        let content = message.member("content").map(Value::kind);
        if message.kind() != Kind::Object || role.is_none() || !matches!(content, Some(Kind::String | Kind::Array)) {
            return Err(wrong());
        }
        let is_empty = message.member("content").is_none_or(|content| matches!(content.raw(), b"\"\"") || is_empty_array(content));
        if is_empty {
            return Err(Misuse::Json("a message must not be empty").into());
        }
        if checked.lone_surrogate.is_some() {
            return Err(Misuse::Json("a lone surrogate is no text").into());
        }
        rest = rest.get(message.raw().len()..).unwrap_or_default().trim_ascii_start();
        match rest.strip_prefix(b",") {
            Some(more) => rest = more.trim_ascii_start(),
            None if rest.is_empty() => return Ok(()),
            None => return Err(wrong()),
        }
    }
}
