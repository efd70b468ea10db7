//! A run: from a prompt until the loop stops. This is the front end of the core's machine.
//!
//! It can be driven at three levels:
//!
//! ```no_run
//! # async fn f(client: toolrunner_std::Client) -> Result<(), toolrunner_std::Error> {
//! # let mut run = client.run("m").user("hello");
//! // The whole loop:
//! let finished = run.until_done().await?;
//! // Turn by turn, to read and change things between requests:
//! while let Some(turn) = run.next_turn().await? { /* … */ }
//! // Event by event: text as it arrives, tools, usage:
//! while let Some(event) = run.next_event().await? { /* … */ }
//! # Ok(()) }
//! ```
//! Each of these futures may be dropped at any time; another call continues the run. Calls that
//! were running are kept and continue too. The loop itself does not need tokio: another runtime
//! needs a transport of its own, and should have a clock of its own.

mod apart;
mod blocking;
mod body;
mod build;
mod calls;
mod concurrent;
mod drive;
mod events;
mod fairness;
mod fork;
mod gate;
mod hooks;
mod host;
mod inject;
mod message;
mod notes;
mod output;
mod retried;
mod settings;
mod shown;
mod stream;
mod strict;
mod times;
mod tokens;
mod tool_changes;
mod tools;
mod trace;
mod trace_content;
mod trace_parent;
mod turn;
mod watch;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use toolrunner_core::__private::client::Envelope;
use toolrunner_core::__private::drive::{Exchange, Loop};
use toolrunner_core::drive::Hooks as _;
use toolrunner_core::message::{Messages, OwnedMessage, ReplyMessage, Role, Usage};
use toolrunner_core::run::{Call, Outcome, Run as Machine};
use toolrunner_core::time::Clock as _;
use toolrunner_core::tool::Definition;

use crate::clock::SharedClock;
use crate::config::Settings;
use crate::error::Error;
use crate::http::{HttpBody, HttpError, HttpTransport};
use body::Request;
use concurrent::Concurrent;
use hooks::Hooks;
use notes::Notes;
use retried::RetryCause;
use tools::{OwnTools, Toolset};

pub use build::{DEFAULT_MAX_TOKENS, RunBuilder};
pub use events::OwnedEvent;
pub use gate::{Decision, GatedCall, ResultDraft};
pub use inject::Injector;
pub use message::{Content, ToMessages};
pub use stream::RunStream;
pub use tokens::TokenCount;
pub use trace::TRACE_TARGET;
pub use trace_parent::{BadTraceParent, TraceParent};
pub use turn::{ToolResult, ToolResults, Turn};

/// The maximum number of calls of one turn that run at the same time, if none is set.
pub const DEFAULT_CONCURRENCY: usize = 32;
/// How long tools may continue after their run is cancelled, if no grace period is set.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// A conversation with the model and its tools. Created by [`Client::run`](crate::Client::run).
///
/// # Methods by purpose
///
/// **Drive** the run, at any of these levels, which may be mixed:
/// [`until_done`](Self::until_done) for the whole loop, [`output`](Self::output) for a typed last
/// reply, [`next_turn`](Self::next_turn) for one reply of the model, [`next_event`](Self::next_event),
/// [`next_owned_event`](Self::next_owned_event) and [`for_each_event`](Self::for_each_event) for
/// events, and [`into_stream`](Self::into_stream) for a stream that owns the run.
///
/// **Answer** calls: [`open_calls`](Self::open_calls), [`waiting_calls`](Self::waiting_calls),
/// [`definition`](Self::definition) and [`question`](Self::question) to decide;
/// [`allow`](Self::allow), [`answer`](Self::answer), [`answer_with`](Self::answer_with),
/// [`answer_question`](Self::answer_question) and [`close_open_calls`](Self::close_open_calls) to
/// answer.
///
/// **Say** something: [`user`](Self::user), [`append`](Self::append) and
/// [`ask_again`](Self::ask_again) between turns; [`injector`](Self::injector) for messages from
/// elsewhere, also while the run is driven.
///
/// **Edit** the conversation: [`replace_result`](Self::replace_result),
/// [`replace_result_with`](Self::replace_result_with),
/// [`replace_history`](Self::replace_history), [`compact_on_server`](Self::compact_on_server),
/// [`clear`](Self::clear).
///
/// **Stop and continue**: [`stop`](Self::stop), [`cancellation`](Self::cancellation),
/// [`resume`](Self::resume).
///
/// **Set** how the run behaves: [`params_mut`](Self::params_mut) and
/// [`next_params_mut`](Self::next_params_mut) for the request, [`set_stream`](Self::set_stream),
/// [`set_settings`](Self::set_settings) and [`change_settings`](Self::change_settings) for the
/// connection, [`set_tools`](Self::set_tools), [`add_tools`](Self::add_tools) and
/// [`remove_tools`](Self::remove_tools) for the tools, [`limits_mut`](Self::limits_mut),
/// [`retry_policy_mut`](Self::retry_policy_mut), [`set_on_break`](Self::set_on_break) and
/// [`compaction_mut`](Self::compaction_mut) for the loop.
///
/// **Look** at the conversation and the counters: [`messages`](Self::messages),
/// [`message_list`](Self::message_list), [`message`](Self::message), [`outcome`](Self::outcome),
/// [`turns`](Self::turns), [`usage`](Self::usage), [`count_tokens`](Self::count_tokens),
/// [`rate_limits`](Self::rate_limits); [`params`](Self::params), [`settings`](Self::settings),
/// [`concurrency`](Self::concurrency), [`is_within_limits`](Self::is_within_limits),
/// [`id`](Self::id); [`machine`](Self::machine) for everything
/// else that the loop knows.
///
/// **Store and copy** a run: [`snapshot`](Self::snapshot), which
/// [`RunBuilder::resume`] continues, and [`fork`](Self::fork).
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "testing")]
/// # async fn f() -> Result<(), toolrunner_std::Error> {
/// use toolrunner_std::machine::testing::{Script, ScriptedModel, ScriptedReply};
/// use toolrunner_std::testing::ScriptedServer;
/// use toolrunner_std::tool;
///
/// /// Returns whether the door is open.
/// #[tool]
/// fn door() -> &'static str {
///     "open"
/// }
///
/// let script = Script::new()
///     .reply(ScriptedReply::new().tool_use("t1", "door", "{}"))
///     .reply(ScriptedReply::text("It is open."))
///     .reply(ScriptedReply::text("You are welcome."));
/// let client = ScriptedServer::new(ScriptedModel::new(script)).client();
///
/// // Set a limit, and say something.
/// let mut run = client.run("m").tools(door).user("Is the door open?");
/// run.limits_mut().turns = Some(5);
///
/// // Drive the run to the first reply, and look at the call and at its result.
/// let mut turn = run.next_turn().await?.unwrap();
/// assert_eq!(turn.calls().next().unwrap().name, "door");
/// assert_eq!(turn.results().await?.of("t1").unwrap().text(), "open");
///
/// // Drive it to the end.
/// assert_eq!(run.until_done().await?.text(), "It is open.");
/// assert_eq!(run.turns(), 2);
///
/// // Store the run, and continue the copy.
/// let snapshot = run.snapshot()?;
/// let mut restored = client.run("m").tools(door).resume(&snapshot);
/// restored.user("Thank you.")?;
/// assert_eq!(restored.until_done().await?.text(), "You are welcome.");
/// # Ok(()) }
/// # #[cfg(feature = "testing")]
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(f()).unwrap();
/// ```
pub struct Run {
    /// The number in this process, which identifies the run in log lines.
    id: u64,
    machine: Machine<'static>,
    settings: Arc<Settings>,
    transport: HttpTransport,
    /// What requests contain besides the conversation and the tools.
    request: Request,
    /// The loop, with the tools, the clock, the hooks and the running calls.
    turns: Loop<OwnTools<Toolset>, SharedClock, Hooks, Concurrent>,
    /// The request under way. It is kept beside the machine, never in it.
    exchange: Exchange<HttpBody, HttpError>,
    /// The error in the run's configuration, reported at its first use.
    invalid: Option<Error>,
    /// The model's last message, while the conversation no longer contains it.
    before_summary: Option<ReplyMessage>,
    envelope: Envelope,
    /// The times of the last turn.
    times: times::Times,
    /// The queue of injected messages. `None` until an injector exists.
    injected: Option<Arc<inject::Queue>>,
    /// The text to keep if the run is cancelled. `None` if the option is off.
    shown: Option<Box<shown::ShownText>>,
    notes: Notes,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("id", &self.id)
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
    /// Appends a user message to the conversation and continues the run. It is a text, or a
    /// [`Content`] with images and documents. Calls that are still open are answered as not run,
    /// and the limits count from zero again.
    ///
    /// # Errors
    /// Returns `Capacity` if the conversation is full, or `Misuse` if the text is empty or only
    /// white space, or if the API would refuse the content, or `Invalid` for a mistake in it. Then
    /// nothing was added.
    pub fn user(&mut self, content: impl Into<Content>) -> Result<&mut Self, Error> {
        self.abandon();
        self.put_user(&content.into())?;
        self.go_on();
        Ok(self)
    }

    /// Appends a message: typed, or in JSON as an object with `role` and `content`, or several
    /// separated by commas. See [`ToMessages`]. It follows the last reply and all its results, even
    /// if those are not available yet. A run that had ended continues with it. Calls in the
    /// messages must be followed by their results; to answer a call of the last reply, use
    /// [`answer`](Self::answer).
    ///
    /// # Errors
    /// Returns `Misuse` if the API would refuse the message: the text names the rule, the message
    /// (counted from 0 in what is appended) and the block. Also if the request would have more than
    /// four cache breakpoints. Returns `Capacity` if the conversation is full. Then nothing was
    /// appended.
    pub fn append(&mut self, message: impl ToMessages) -> Result<&mut Self, Error> {
        self.render_prefix();
        self.machine.append(message::unbracketed(&message.to_messages()?))?;
        self.go_on();
        Ok(self)
    }

    /// Replaces the conversation with these messages: typed, or a JSON array.
    ///
    /// Calls of the last assistant message may lack some or all results, as in the
    /// [`messages`](Self::messages) of a run that was cancelled: they can be
    /// [answered](Self::answer), and are otherwise answered as not run before anything is sent.
    ///
    /// # Errors
    /// Returns `Misuse` if the API would refuse the messages: the text names the rule, the message
    /// (counted from 0) and the block. Also if the request would have more than four cache
    /// breakpoints. Returns `Capacity` if they do not fit. Then nothing changes.
    pub fn replace_history(&mut self, messages: impl ToMessages) -> Result<&mut Self, Error> {
        self.forget_shown();
        self.abandon();
        self.render_prefix();
        self.machine.replace_history(&messages.to_messages()?)?;
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
        self.forget_shown();
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
        self.forget_shown();
        self.abandon();
        self.machine.ask_again()?;
        self.envelope = Envelope::default();
        self.before_summary = None;
        self.go_on();
        Ok(self)
    }

    /// Ends the run where it is. A reply under way is dropped, unless one of its calls has started:
    /// then its complete blocks stay. Running calls are dropped; if the run continues, they are
    /// answered as cancelled.
    pub fn stop(&mut self) {
        self.abandon();
        self.machine.stop();
    }

    /// Continues a run after [`stop`](Self::stop) or after it was cancelled. Calls that had not
    /// started run now. After [`Outcome::Broken`], the kept calls are closed, and the model is
    /// asked to continue.
    pub fn resume(&mut self) -> &mut Self {
        self.machine.resume();
        self.go_on();
        self
    }

    /// Returns the conversation as JSON: an array of messages, as in the next request.
    /// [`RunBuilder::messages`] accepts it at any time.
    ///
    /// It does not include a reply under way, unless one of its calls has started: then it includes
    /// the complete blocks. Open calls of the last turn have no result in it; if messages were
    /// appended after them, they have results that say that they did not run or were cancelled.
    pub fn messages(&self) -> String {
        let bytes = self.machine.conversation();
        let mut json = String::with_capacity(bytes.len() + 2);
        json.push('[');
        // A transcript is always UTF-8.
        json.push_str(core::str::from_utf8(&bytes).unwrap_or_default());
        json.push(']');
        json
    }

    /// Returns the messages of the conversation as a list: [`messages`](Self::messages), typed.
    /// Read a message with a `match` over its [blocks](OwnedMessage::blocks).
    ///
    /// ```
    /// # fn f(run: &toolrunner_std::Run) {
    /// use toolrunner_std::Block;
    ///
    /// for message in run.message_list() {
    ///     for block in message.blocks() {
    ///         match block {
    ///             Block::Text(text) => println!("{}", text.text()),
    ///             Block::ToolUse(call) => println!("{}({})", call.name(), call.input()),
    ///             Block::ToolResult(result) if result.is_error() => {
    ///                 println!("failed: {:?}", result.content())
    ///             }
    ///             _ => {}
    ///         }
    ///     }
    /// }
    /// # }
    /// ```
    pub fn message_list(&self) -> Vec<OwnedMessage> {
        Messages::new(&self.machine.conversation()).map(OwnedMessage::from).collect()
    }

    /// Returns the run as JSON, to continue it later or in another process with
    /// [`RunBuilder::resume`]. It contains the conversation, its open calls and the counters, but
    /// no credential, tools, parameters or limits. Calls that have run keep their results. Calls
    /// that are running are answered as cancelled in the resumed run, because they may have had
    /// side effects. A reply under way is omitted and requested again, unless one of its calls has
    /// started ([`eager`](RunBuilder::eager)): then its complete blocks are part of the snapshot.
    ///
    /// The snapshot is one JSON object with a format version; other versions are refused.
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

    /// Returns the run's number in this process, from 1. It is the field `run` of its log lines,
    /// and of the spans in which its requests and its tools run. A run that is resumed from a
    /// snapshot gets a new number.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Returns the tokens of all turns.
    pub const fn usage(&self) -> Usage {
        self.machine.usage()
    }

    /// Returns why the run ended, or `None` while it continues. Useful after the last
    /// [`next_event`](Self::next_event) or [`next_turn`](Self::next_turn);
    /// [`until_done`](Self::until_done) returns it with its result.
    pub const fn outcome(&self) -> Option<Outcome> {
        self.machine.outcome()
    }

    /// Returns the number of replies of the model since the last prompt.
    pub const fn turns(&self) -> u32 {
        self.machine.turns()
    }

    /// Returns the unanswered calls of the last reply: after [`Outcome::NeedsAnswer`], those that
    /// the caller must answer.
    ///
    /// ```no_run
    /// # async fn f(mut run: toolrunner_std::Run) -> Result<(), toolrunner_std::Error> {
    /// use toolrunner_std::Outcome;
    /// while run.until_done().await?.outcome == Outcome::NeedsAnswer {
    ///     let open: Vec<String> = run.open_calls().map(|call| call.id.to_string()).collect();
    ///     for id in open {
    ///         run.answer(&id, "blue")?;
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn open_calls(&self) -> impl Iterator<Item = Call<'_>> {
        self.machine.calls().filter_map(|i| self.machine.call(i)).filter(|call| !call.is_answered)
    }

    /// Returns the definition of the called tool, or `None` if there is no tool of that name here.
    pub fn definition(&self, call: &Call<'_>) -> Option<Definition<'_>> {
        self.turns.tools.definition_of(call.toolset, call.name)
    }

    /// Returns how many calls of one turn may run at the same time: see
    /// [`RunBuilder::concurrency`].
    pub const fn concurrency(&self) -> usize {
        self.turns.executor.concurrency
    }

    /// Returns whether the [limits](crate::RunBuilder::limits) allow another request, and the open
    /// calls of the last turn.
    pub fn is_within_limits(&self) -> bool {
        self.machine.is_within_limits(self.turns.clock.now())
    }

    /// Returns the underlying machine, for its transcript and its calls.
    pub const fn machine(&self) -> &Machine<'static> {
        &self.machine
    }

    /// Appends a prompt of the user to the conversation.
    fn put_user(&mut self, content: &Content) -> Result<(), Error> {
        match content.as_text() {
            Some(text) => self.machine.user(text)?,
            None => {
                self.render_prefix();
                self.machine.prompt_json(&content.message_json(Role::User)?)?;
            }
        }
        Ok(())
    }

    /// Drops the reply and the calls that are under way.
    fn abandon(&mut self) {
        let has_reply = matches!(self.exchange, Exchange::Reply(_));
        self.exchange = Exchange::Idle;
        if has_reply || self.notes.announced {
            let turns = self.machine.turns();
            self.machine.abandoned();
            let is_kept = self.machine.turns() > turns;
            self.dropped(is_kept);
            if !is_kept {
                self.keep_shown();
            }
        }
        self.turns.clear();
        self.notes.untold.clear();
    }

    fn is_cancelled(&self) -> bool {
        self.turns.hooks.is_cancelled()
    }

    /// Ends a cancellation that has taken effect, and drops running calls that the machine has
    /// answered itself: a message after the end of a run closes its open calls.
    fn go_on(&mut self) {
        for call in self.turns.executor.calls() {
            if self.machine.is_answered(call) || !self.machine.has_call(call) {
                self.turns.executor.drop_call(call);
            }
        }
        if core::mem::take(&mut self.notes.is_wound_down) {
            self.turns.hooks.renew();
        }
    }
}
