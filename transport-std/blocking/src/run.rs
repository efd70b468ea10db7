//! A run: from a prompt until the loop stops. It drives the core's loop on the caller's thread.

mod build;
mod drive;
mod iterators;
mod turn;

use core::fmt;
use std::collections::VecDeque;
use std::sync::Arc;

use toolrunner_core::__private::client::{self, Envelope};
use toolrunner_core::__private::drive::{Exchange, Loop, Progress};
use toolrunner_core::message::{ReplyMessage, Usage};
use toolrunner_core::policy::{Limits, RetryPolicy};
use toolrunner_core::run::{Call, CallIndex, Outcome, Run as Machine, ToolAnswer};
use toolrunner_core::transport::{Failure, PieceBody};

use crate::cancellation::Cancellation;
use crate::client::Settings;
use crate::clock::SystemClock;
use crate::error::Error;
use crate::hooks::Control;
use crate::params::Params;
use crate::threads::Threads;
use crate::tools::{OwnTools, Toolset};
use crate::transport::{HttpTransport, Pieces};

pub use build::{DEFAULT_CONCURRENCY, DEFAULT_GRACE, DEFAULT_MAX_TOKENS, RunBuilder};
pub use iterators::{Events, OwnedEvent, Turns};
pub use turn::{ToolResult, ToolResults, Turn};

/// A conversation with the model and its tools. Created by [`Client::run`](crate::Client::run).
///
/// # Methods by purpose
///
/// **Drive** the run, at any of three levels, which may be mixed:
/// [`until_done`](Self::until_done) for the whole loop, [`next_turn`](Self::next_turn) and
/// [`turns`](Self::turns) for replies of the model, [`next_event`](Self::next_event) and
/// [`events`](Self::events) for events.
///
/// **Answer** calls: [`open_calls`](Self::open_calls) to decide; [`allow`](Self::allow),
/// [`answer`](Self::answer), [`answer_with`](Self::answer_with) and
/// [`close_open_calls`](Self::close_open_calls) to answer.
///
/// **Say** something between turns: [`user`](Self::user), [`append`](Self::append),
/// [`ask_again`](Self::ask_again).
///
/// **Edit** the conversation: [`replace_history`](Self::replace_history), [`clear`](Self::clear).
///
/// **Stop and continue**: [`stop`](Self::stop), [`cancellation`](Self::cancellation),
/// [`resume`](Self::resume).
///
/// **Set** how the run behaves: [`params_mut`](Self::params_mut), [`limits_mut`](Self::limits_mut),
/// [`retry_policy_mut`](Self::retry_policy_mut).
///
/// **Look** at the conversation and the counters: [`messages`](Self::messages),
/// [`message`](Self::message), [`outcome`](Self::outcome), [`usage`](Self::usage);
/// [`machine`](Self::machine) for everything else that the loop knows.
///
/// **Store** a run: [`snapshot`](Self::snapshot), which [`RunBuilder::resume`] continues.
///
/// # Examples
///
/// ```no_run
/// # fn f(client: toolrunner_blocking::Client) -> Result<(), toolrunner_blocking::Error> {
/// # let mut run = client.run("m").user("hello");
/// // The whole loop:
/// let finished = run.until_done()?;
/// // Turn by turn, to read and change things between requests:
/// while let Some(turn) = run.next_turn()? { /* … */ }
/// // Event by event: text as it arrives, tools, usage:
/// while let Some(event) = run.next_event()? { /* … */ }
/// // As iterators of owned values:
/// for message in run.turns() { println!("{}", message?.text()) }
/// for event in run.events() { println!("{:?}", event?) }
/// # Ok(()) }
/// ```
pub struct Run {
    machine: Machine<'static>,
    settings: Arc<Settings>,
    transport: HttpTransport,
    params: Params,
    stream: bool,
    /// The loop, with the tools, the clock, the hooks and the running calls.
    turns: Loop<OwnTools<Toolset>, SystemClock, Control, Threads>,
    /// The request under way.
    exchange: Exchange<PieceBody<Pieces>, Failure>,
    /// The error in the run's configuration, reported at each use.
    invalid: Option<Error>,
    /// The model that writes summaries; the run's own if `None`.
    summary_model: Option<String>,
    /// Whether the request under way was reported as an event.
    announced: bool,
    envelope: Envelope,
    /// The model's last message, while the conversation no longer contains it.
    before_summary: Option<ReplyMessage>,
    /// Events that are not yet reported.
    untold: VecDeque<Progress>,
    /// Whether the cancellation of the run has taken effect.
    is_wound_down: bool,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("turns", &self.machine.turns())
            .field("transcript", &self.machine.transcript().len())
            .field("tools", &self.turns.tools.0)
            .field("calls", &self.turns.executor)
            .finish_non_exhaustive()
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RunEnd {
    /// Why the run ended.
    pub outcome: Outcome,
    /// The model's last message, or `None` if there was none.
    pub message: Option<ReplyMessage>,
    /// The tokens of all turns of the run.
    pub usage: Usage,
}

impl RunEnd {
    /// Returns the text of the last message: all its text blocks, joined. Empty if there is no
    /// message.
    pub fn text(&self) -> String {
        self.message.as_ref().map(ReplyMessage::text).unwrap_or_default()
    }
}

impl Run {
    /// Appends a user message to the conversation and continues the run. Calls that are still open
    /// are answered as not run.
    ///
    /// # Errors
    /// Returns `Capacity` if the conversation is full, or `Misuse` if the text is empty or only
    /// white space. Then nothing was added.
    pub fn user(&mut self, text: &str) -> Result<&mut Self, Error> {
        self.abandon();
        self.machine.user(text)?;
        self.go_on();
        Ok(self)
    }

    /// Appends a message in JSON: an object with `role` and `content`, or several separated by
    /// commas. It follows the last reply and all its results, even if those are not available yet.
    /// A run that had ended continues with it.
    ///
    /// # Errors
    /// Returns `Misuse` if the API would refuse the message, or `Capacity` if the conversation is
    /// full. Then nothing was appended.
    pub fn append(&mut self, message: &str) -> Result<&mut Self, Error> {
        self.note_front();
        self.machine.append(message)?;
        self.go_on();
        Ok(self)
    }

    /// Replaces the conversation with a JSON array of messages.
    ///
    /// # Errors
    /// Returns `Misuse` if the API would refuse the messages, or `Capacity` if they do not fit.
    /// Then the conversation stays.
    pub fn replace_history(&mut self, messages: &str) -> Result<&mut Self, Error> {
        self.abandon();
        self.note_front();
        self.machine.replace_history(messages)?;
        self.envelope = Envelope::default();
        self.before_summary = None;
        self.go_on();
        Ok(self)
    }

    /// Removes the whole conversation, so that the next message begins a new one. Settings and
    /// usage stay. The limits count from zero again.
    ///
    /// # Errors
    /// None in practice: a request in progress is abandoned first.
    pub fn clear(&mut self) -> Result<&mut Self, Error> {
        self.abandon();
        self.machine.clear()?;
        self.envelope = Envelope::default();
        self.before_summary = None;
        self.go_on();
        Ok(self)
    }

    /// Drops the last reply, with its results, and requests it again. Appended messages stay.
    ///
    /// # Errors
    /// Returns `Misuse` if there is no reply.
    pub fn ask_again(&mut self) -> Result<&mut Self, Error> {
        self.abandon();
        self.machine.ask_again()?;
        self.envelope = Envelope::default();
        self.before_summary = None;
        self.go_on();
        Ok(self)
    }

    /// Ends the run where it is. A reply under way is dropped, and so are running calls, although
    /// their threads may still run; if the run continues, they are answered as cancelled.
    pub fn stop(&mut self) {
        self.abandon();
        self.machine.stop();
    }

    /// Continues a run after [`stop`](Self::stop) or after it was cancelled. Calls that had not
    /// started run now.
    pub fn resume(&mut self) -> &mut Self {
        self.machine.resume();
        self.go_on();
        self
    }

    /// Answers an open call with this text instead of running its tool.
    ///
    /// # Errors
    /// Returns `Misuse` if no open call has this id.
    pub fn answer(&mut self, id: &str, text: &str) -> Result<&mut Self, Error> {
        self.answer_with(id, ToolAnswer::ok(text))
    }

    /// Answers an open call instead of running its tool, also with a failure, or with content in
    /// wire format: `run.answer_with(id, ToolAnswer::error("not allowed"))`. If the tool is already
    /// running, its result is discarded.
    ///
    /// # Errors
    /// Returns `Misuse` if no open call has this id, or if the content is not valid.
    pub fn answer_with(&mut self, id: &str, answer: ToolAnswer<'_>) -> Result<&mut Self, Error> {
        let call = self.open_call(id)?;
        self.note_front();
        self.machine.answer(call, answer)?;
        self.turns.executor.drop_calls(|running| running == call);
        self.untold.push_back(Progress::ToolEnd(call));
        Ok(self)
    }

    /// Allows a call that the [gate](RunBuilder::gate) suspended to run, or one that has not
    /// reached it. The gate is not asked about it.
    ///
    /// # Errors
    /// Returns the errors of [`answer`](Self::answer).
    pub fn allow(&mut self, id: &str) -> Result<&mut Self, Error> {
        let call = self.open_call(id)?;
        self.machine.allow(call);
        Ok(self)
    }

    /// Answers all open calls as not run (those that were running as cancelled), so that the
    /// conversation can be saved, or continued elsewhere.
    ///
    /// # Errors
    /// Returns `Capacity` if even the shortest answers do not fit.
    pub fn close_open_calls(&mut self) -> Result<&mut Self, Error> {
        self.machine.close_open_calls()?;
        self.turns.clear_calls();
        Ok(self)
    }

    /// Returns the unanswered calls of the last reply: after
    /// [`Outcome::NeedsAnswer`], those that the caller must answer.
    pub fn open_calls(&self) -> impl Iterator<Item = Call<'_>> {
        self.machine.calls().filter_map(|i| self.machine.call(i)).filter(|call| !call.is_answered)
    }

    /// Returns the request's parameters, to change them for all later turns.
    pub const fn params_mut(&mut self) -> &mut Params {
        &mut self.params
    }

    /// Returns the limits of the run, to change them. A run that ended at a limit continues when
    /// the limit is raised.
    pub const fn limits_mut(&mut self) -> &mut Limits {
        self.machine.limits_mut()
    }

    /// Returns the retry policy, to change it.
    pub const fn retry_policy_mut(&mut self) -> &mut RetryPolicy {
        self.machine.retry_policy_mut()
    }

    /// Returns what cancels the run from another thread.
    pub fn cancellation(&self) -> Cancellation {
        self.turns.hooks.cancellation.clone()
    }

    /// Returns the conversation as JSON: an array of messages, as in the next request. It does not
    /// include a reply under way.
    pub fn messages(&self) -> String {
        format!("[{}]", String::from_utf8_lossy(&self.machine.conversation()))
    }

    /// Returns the run as JSON, to continue it later or in another process with
    /// [`RunBuilder::resume`]. It contains the conversation, its open calls and the counters, but
    /// no credential, tools, parameters or limits. Calls that have run keep their results. Calls
    /// that are running are answered as cancelled in the resumed run. A reply under way is omitted
    /// and requested again.
    ///
    /// # Errors
    /// Returns `Misuse` while a summary of the conversation is under way.
    pub fn snapshot(&self) -> Result<String, Error> {
        let mut json = Vec::with_capacity(self.machine.messages().len() + 1024);
        self.machine.snapshot(&mut json)?;
        String::from_utf8(json).map_err(|error| Error::Invalid(error.to_string()))
    }

    /// Returns the model's last message, or `None` before the first reply, or before the first one
    /// after [`RunBuilder::resume`].
    pub fn message(&self) -> Option<ReplyMessage> {
        self.before_summary.clone().or_else(|| self.envelope.message(&self.machine))
    }

    /// Returns the tokens of all turns.
    pub const fn usage(&self) -> Usage {
        self.machine.usage()
    }

    /// Returns why the run ended, or `None` while it continues.
    pub const fn outcome(&self) -> Option<Outcome> {
        self.machine.outcome()
    }

    /// Returns the underlying machine, for its transcript and its calls.
    pub const fn machine(&self) -> &Machine<'static> {
        &self.machine
    }

    fn open_call(&mut self, id: &str) -> Result<CallIndex, Error> {
        self.check_setup()?;
        Ok(client::open_call(&self.machine, id)?)
    }

    /// Drops the reply and the calls that are under way.
    fn abandon(&mut self) {
        let has_reply = matches!(self.exchange, Exchange::Reply(_));
        self.exchange = Exchange::Idle;
        if has_reply || self.announced {
            let turns = self.machine.turns();
            self.machine.abandoned();
            self.announced = false;
            if self.machine.turns() > turns {
                self.kept_reply();
            }
        }
        self.turns.clear();
        self.untold.clear();
    }

    /// Ends a cancellation that has taken effect, and drops running calls that the machine has
    /// answered itself.
    fn go_on(&mut self) {
        let machine = &self.machine;
        self.turns.executor.drop_calls(|call| machine.is_answered(call) || !machine.has_call(call));
        if core::mem::take(&mut self.is_wound_down) {
            self.turns.hooks.cancellation.reset();
        }
    }
}
