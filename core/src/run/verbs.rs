//! What a caller can say between requests: each intention has its own method, and none can make the
//! conversation invalid.

use super::Run;
use super::compact::Summary;
use super::state::{CallState, Outcome, Sequel, Verb};
use super::table::{Input, TransitionError};
use crate::error::{Error, Misuse};
use crate::history::{MessageCheck, PriorMessages, Tail, check, is_space};
use crate::message::{Messages, Role, StopReason};
use crate::tool::Notice;

impl Run<'_> {
    /// Appends a user message. Calls that are still open are answered as not run, and the limits
    /// count from zero again. It may follow another user message (two in a row occur when nothing
    /// of a reply could be kept): the API joins them.
    ///
    /// # Errors
    /// `Capacity` if it does not fit: then nothing was added. `Misuse` while a request is in
    /// progress (call [`step`](Self::step) to see what to do), and for a text that is empty or only
    /// white space, which the API refuses.
    pub fn user(&mut self, text: &str) -> Result<(), Error> {
        self.ensure_idle()?;
        self.cancel_compaction();
        if text.is_empty() {
            return Err(Misuse::Setting("a message must not be empty").into());
        }
        if text.chars().all(is_space) {
            return Err(Misuse::Setting("a message must not be only white space").into());
        }
        self.reserve_with_answers(self.transcript.text_len(Role::User.name(), text))?;
        self.close_open_calls()?;
        self.transcript.push_text(Role::User.name(), text)?;
        self.prompt()
    }

    /// Appends a message as JSON: an object with `role` and `content`, or several objects separated
    /// by commas. It is placed after the reply and all its results, even if these do not exist yet.
    /// A run that has ended continues with it.
    ///
    /// Calls in the messages must be followed by their results. Do not append results of the last
    /// reply's calls: [`answer`](Self::answer) puts them in their place.
    ///
    /// # Errors
    /// `Misuse` if it is not a message that the API accepts, with the [rule](crate::error::Rule)
    /// that it breaks, the message (counted from 0 in `messages`) and the block; and if the request
    /// would have more than four cache breakpoints. `Capacity` if it does not fit. In all cases
    /// nothing is appended.
    pub fn append(&mut self, messages: &str) -> Result<(), Error> {
        self.add(messages, false)?;
        Ok(self.machine.go(Input::Append)?)
    }

    /// Appends messages as JSON, as [`append`](Self::append) does, and starts a new prompt, as
    /// [`user`](Self::user) does: calls that are still open are answered as not run, and the limits
    /// count from zero again.
    ///
    /// # Errors
    /// Returns the errors of [`append`](Self::append). Then nothing is appended.
    pub fn prompt_json(&mut self, messages: &str) -> Result<(), Error> {
        self.add(messages, true)?;
        self.prompt()
    }

    fn add(&mut self, messages: &str, is_prompt: bool) -> Result<(), Error> {
        self.ensure_idle()?;
        self.cancel_compaction();
        let before = if self.transcript.is_empty() {
            PriorMessages::Nothing
        } else {
            PriorMessages::Messages(self.transcript.bytes())
        };
        let checked = check_some(messages.as_bytes(), before, Tail::Closed)?;
        let messages = messages.trim_ascii().as_bytes();
        self.ensure_breakpoints(checked.breakpoints, 0)?;
        self.reserve_with_answers(usize::from(!self.transcript.is_empty()) + messages.len())?;
        // A message after a paused turn ends the pause: the calls of that turn will not be answered
        // later.
        if is_prompt || !self.turn.runs() || self.is_over_until(Verb::Append) {
            self.close_open_calls()?;
        }
        self.transcript.push_json(messages)?;
        self.note_given(checked);
        Ok(())
    }

    /// Removes the last reply and its results, and requests it again. Appended messages stay.
    ///
    /// # Errors
    /// `Misuse` if there is no reply to remove, if messages before it were
    /// [freed](crate::wire::MessageThread::Free), or while a request is in progress.
    pub fn ask_again(&mut self) -> Result<(), Error> {
        self.ensure_idle()?;
        if self.thread.is_freed() {
            return Err(Misuse::State(
                "the reply cannot be requested again, because messages before it were freed",
            )
            .into());
        }
        // The thread contains the reply.
        self.thread.leave();
        self.cancel_compaction();
        self.exchange.attempt = 0;
        if self.reply.is_empty() && self.is_over_until(Verb::AskAgainEmpty) {
            // A reply without content is not in the transcript.
            self.machine.go(Input::AskAgain)?;
            self.pause_again();
            return Ok(());
        }
        if self.turn.results_end <= self.turn.mark {
            return Err(Misuse::State("there is no reply to request again").into());
        }
        Ok(self.drop_reply()?)
    }

    /// Removes the last reply and its results. Appended messages stay.
    pub(super) fn drop_reply(&mut self) -> Result<(), TransitionError> {
        let span = crate::transcript::Span::new(self.turn.mark, self.turn.results_end);
        // At the very start, a comma remains after the gap if something follows.
        let comma = usize::from(self.turn.mark == 0 && span.end < self.transcript.len());
        self.transcript.remove(crate::transcript::Span::new(span.start, span.end + comma));
        self.go_back_to_turn_before(span.start);
        self.machine.go(Input::AskAgain)?;
        self.pause_again();
        Ok(())
    }

    /// Records that the last turn is paused, if the reply that continued it was removed.
    fn pause_again(&mut self) {
        let is_last = self.turn.end > self.turn.mark && self.transcript.len() == self.turn.end;
        self.turn.sequel =
            if is_last { Sequel::Unchanged(StopReason::PauseTurn) } else { Sequel::Nothing };
    }

    /// Ends the run where it is, if it is not over already. It continues after
    /// [`user`](Self::user), [`append`](Self::append) or [`resume`](Self::resume).
    pub fn stop(&mut self) {
        // During a wait before a retry the reply is already discarded, and a message may have been
        // appended since.
        if self.machine.state().is_in_progress() {
            self.let_go();
        }
        self.cancel_compaction();
        // Possible in every state.
        let _ = self.machine.go(Input::Stop);
    }

    /// Continues the run. After [`stop`](Self::stop) it continues where it was. After
    /// [`Outcome::Broken`] it closes the kept calls and asks the model to continue. If the kept
    /// reply ends with text, that text is then a prefill, which not every model accepts (if so, say
    /// something instead). White space at its end is removed, because the API refuses it.
    pub fn resume(&mut self) {
        let was_broken = matches!(self.outcome(), Some(Outcome::Broken));
        // Possible in every state.
        let _ = self.machine.go(Input::Resume { calls: self.turn.is_calling() });
        if was_broken {
            self.go_on_from_broken();
        }
    }

    /// Replaces the whole conversation with `messages`: JSON objects separated by commas, or an
    /// array of them. The limits count from zero again.
    ///
    /// Calls of the last assistant message may lack results, all of them or only some, as in the
    /// [`messages`](Self::messages) of a run that was cancelled. They can be
    /// [answered](Self::answer). Any that are still open are answered as not run before anything is
    /// sent.
    ///
    /// # Errors
    /// `Misuse` if it is not a conversation that the API accepts, with the
    /// [rule](crate::error::Rule) that it breaks, the message (counted from zero) and the block; if
    /// the request would have more than four cache breakpoints; and while a request is in progress.
    /// `Capacity` if it does not fit. In all cases the old conversation stays.
    pub fn replace_history(&mut self, messages: &str) -> Result<(), Error> {
        self.ensure_idle()?;
        self.cancel_compaction();
        let bytes = inside(messages.trim_ascii().as_bytes());
        let checked = check_some(bytes, PriorMessages::Nothing, Tail::Open)?;
        self.marks.ensure(checked.breakpoints)?;
        self.take_history(bytes, checked)?;
        self.prompt()
    }

    /// Removes the whole conversation, so that the next message begins a new one. Settings, usage
    /// and the container stay, and so do changes of the tools that no request contains yet. The
    /// limits count from zero again. A compaction that was requested is forgotten.
    ///
    /// A chip whose transcript is full can start afresh with this;
    /// [`replace_history`](Self::replace_history) links the check of messages, about 4 KB of flash.
    ///
    /// # Errors
    /// `Misuse` while a request is in progress: then the conversation stays.
    pub fn clear(&mut self) -> Result<(), Error> {
        self.ensure_idle()?;
        self.summary = Summary::new();
        self.forget_conversation();
        self.prompt()
    }

    /// Answers the calls that will not run, so that the conversation can continue.
    ///
    /// # Errors
    /// `Capacity` if not even these answers fit: then no call was answered. `Misuse` while a
    /// request is in progress.
    pub fn close_open_calls(&mut self) -> Result<(), Error> {
        self.ensure_idle()?;
        self.cancel_compaction();
        self.reserve_with_answers(0)?;
        for i in self.calls() {
            let notice = match self.turn.states.get(i) {
                CallState::Answered => continue,
                CallState::Running => Notice::Cancelled,
                CallState::Open | CallState::ForCaller => Notice::NotRun,
            };
            self.answer_notice(i, notice)?;
        }
        Ok(())
    }

    /// Removes all messages, and what is known about them.
    pub(super) fn forget_conversation(&mut self) {
        self.transcript.truncate(0);
        self.thread.begin_anew();
        self.marks.forget();
        self.turn.begin(0);
        self.exchange.begin();
        self.unfit_prefill = false;
    }

    /// Starts a new prompt: the run is ready, and the counters of the limits are zero.
    fn prompt(&mut self) -> Result<(), Error> {
        self.machine.go(Input::Prompt)?;
        self.ledger.begin_prompt();
        self.exchange.attempt = 0;
        Ok(())
    }

    /// Reserves space for `more` bytes and the shortest answers to all open calls.
    fn reserve_with_answers(&mut self, more: usize) -> Result<(), Error> {
        let answers = if self.turn.is_open() {
            self.reserve_for_others(usize::MAX) + self.results_frame()
        } else {
            0
        };
        Ok(self.transcript.reserve(more + answers)?)
    }

    pub(super) fn ensure_idle(&self) -> Result<(), Error> {
        if self.machine.state().is_in_progress() { Err(TransitionError.into()) } else { Ok(()) }
    }

    /// Returns whether a message that arrives while the run works can be [appended](Self::append)
    /// now. It cannot during a request, and not behind a turn that is sent back unchanged. It does
    /// not continue a run that the caller stopped, or that waits for the caller.
    pub fn takes_messages(&self) -> bool {
        if self.is_exchanging() || self.is_compacting() {
            return false;
        }
        match self.outcome() {
            Some(outcome) => outcome.continues_on(Verb::Inject),
            None => {
                self.is_calling()
                    || Messages::new(self.messages()).last().and_then(|message| message.role())
                        != Some(Role::Assistant)
            }
        }
    }

    /// Returns whether the run is over, and would continue after `verb`.
    fn is_over_until(&self, verb: Verb) -> bool {
        self.outcome().is_some_and(|outcome| outcome.continues_on(verb))
    }
}

/// Returns the text between the brackets of an array, or all bytes if it is not an array.
fn inside(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")).unwrap_or(bytes).trim_ascii()
}

/// Checks one or more messages.
fn check_some(
    messages: &[u8],
    before: PriorMessages<'_>,
    tail: Tail,
) -> Result<MessageCheck, Error> {
    if messages.trim_ascii().is_empty() {
        return Err(Misuse::Json(
            "a message must be an object with `role` (user, assistant or system) and `content`",
        )
        .into());
    }
    Ok(check(messages, before, tail)?)
}
