//! A run: from a prompt until the loop stops. The front end over the core's machine.
//!
//! Three levels, one machine:
//!
//! ```no_run
//! # async fn f(client: toolrunner_std::Client) -> Result<(), toolrunner_std::Error> {
//! # let mut run = client.run("m").user("hello");
//! let finished = run.until_done().await?;                    // the whole loop
//! while let Some(turn) = run.next_turn().await? { /* … */ }  // or turn by turn: read, look at results, change, go on
//! while let Some(event) = run.next_event().await? { /* … */ } // or event by event: text as it comes, tools, usage
//! # Ok(()) }
//! ```
//! Any of these futures may be dropped at any time; calling again goes on. Calls that were running
//! are kept and go on too. The loop asks nothing of tokio: on another runtime it needs a transport
//! of that runtime's, and works best with a clock of its own.

mod apart;
mod blocking;
mod body;
mod build;
mod calls;
mod drive;
mod early;
mod gate;
mod hooks;
mod jobs;
mod notice;
mod reply;
mod tools;
mod trace;
mod trace_content;
mod trace_parent;
mod turn;
mod watch;
mod what;

use core::any::Any;
use core::fmt;
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use toolrunner_core::drive::ReplyUnderWay;
use toolrunner_core::message::{ReplyMessage, Usage};
use toolrunner_core::policy::{Limits, RetryPolicy};
use toolrunner_core::run::{Call, Compaction, OnBreak, Outcome, Run as Machine};
use toolrunner_core::time::Clock;
use toolrunner_core::tool::{Definition, Tools};

use crate::clock::SharedClock;
use crate::config::{ClientBuilder, Settings};
use crate::error::Error;
use crate::http::{HttpBody, HttpTransport};
use crate::params::Params;
use early::Early;
use gate::{DynGate, Hook};
use jobs::Jobs;
use reply::Envelope;
use tools::Toolset;
use trace::Trace;
use watch::Watch;
use what::{Retried, What};

pub use build::{DEFAULT_MAX_TOKENS, RunBuilder};
pub use gate::{Decision, GatedCall, ResultDraft};
pub use trace::TRACE_TARGET;
pub use trace_parent::{BadTraceParent, TraceParent};
pub use turn::{ToolResult, ToolResults, Turn};

/// Most calls of one turn that run at the same time, if nothing else is said.
pub const DEFAULT_CONCURRENCY: usize = 32;
/// How long tools may go on when their run is cancelled, if nothing else is said.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(5);

/// A conversation with the model and its tools. Made by [`Client::run`](crate::Client::run).
pub struct Run {
    /// Of this process: what its log lines name it by.
    id: u64,
    machine: Machine<'static>,
    settings: Arc<Settings>,
    transport: HttpTransport,
    clock: SharedClock,
    params: Params,
    stream: bool,
    toolset: Toolset,
    concurrency: usize,
    /// Whether calls may start while their reply streams, and those that did.
    eager: bool,
    on_break: OnBreak,
    early: Early,
    /// What was wrong with how the run was made: told at its first use.
    invalid: Option<Error>,
    /// The body up to the conversation, kept until something in it changes.
    prefix: Option<body::Prefix>,
    /// The model that summarises; the run's own if none is named.
    summary_model: Option<String>,
    /// Length of the conversation while a summary of it is under way.
    summary: Option<usize>,
    /// The model's last message, while the conversation no longer has it.
    before_summary: Option<ReplyMessage>,
    /// What the server is told about a compaction that it makes, as JSON.
    server_compaction: String,
    /// Summaries that were told.
    compactions: u32,
    /// The reply whose body comes; beside the machine, never in it.
    reply: Option<ReplyUnderWay<HttpBody>>,
    /// Whether the reply made progress since its body was last waited for.
    has_progressed: bool,
    /// Whether the request under way was told as an event.
    announced: bool,
    envelope: Envelope,
    jobs: Jobs,
    /// The spans that are open.
    trace: Trace,
    /// What the request failed with that is sent again.
    retried: Option<Box<Retried>>,
    /// What happened and was not told yet.
    untold: VecDeque<What>,
    /// What the next turn alone asks for.
    next_params: Params,
    gate: Option<Arc<dyn DynGate>>,
    /// Calls of this turn for which the gate is not asked any more.
    allowed: Vec<usize>,
    /// What tools of this turn asked.
    dialogues: Vec<calls::Dialogue>,
    hook: Option<Arc<Hook>>,
    result_cap: Option<usize>,
    /// What the tools share.
    state: Option<Arc<dyn Any + Send + Sync>>,
    cancel: CancellationToken,
    /// Set up by the first reply.
    watch: Option<Watch>,
    /// Whether `cancel` has had its effect.
    is_wound_down: bool,
    /// Pieces of replies since others had a chance to run.
    busy: u32,
    /// How long tools may go on when the run is cancelled.
    grace: Duration,
}

impl fmt::Debug for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run")
            .field("id", &self.id)
            .field("turns", &self.machine.turns())
            .field("transcript", &self.machine.transcript().len())
            .field("tools", &self.toolset)
            .field("jobs", &self.jobs)
            .finish_non_exhaustive()
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finished {
    /// Why.
    pub outcome: Outcome,
    /// The model's last message; nothing if there was none.
    pub message: Option<ReplyMessage>,
    /// Tokens of all turns of the run.
    pub usage: Usage,
}

impl Finished {
    /// The last message's text: all its text blocks, joined. Empty if there is none.
    pub fn text(&self) -> String {
        self.message.as_ref().map(ReplyMessage::text).unwrap_or_default()
    }
}

impl Run {
    /// Says something more: a user message behind all that was said. Calls that are still open are
    /// answered as not run.
    ///
    /// # Errors
    /// `Capacity` if the conversation is full, `Misuse` for a text that is empty or only white
    /// space. Then nothing was added.
    pub fn user(&mut self, text: &str) -> Result<&mut Self, Error> {
        self.abandon();
        self.machine.user(text)?;
        self.go_on();
        Ok(self)
    }

    /// Appends a message of its own, as JSON: an object with `role` and `content`, or several with
    /// commas between. It comes behind the last reply and all its results, also if they are not
    /// there yet. A run that had ended goes on with it. Calls in the messages must be followed by
    /// their results; to answer a call of the last reply, say [`answer`](Self::answer).
    ///
    /// # Errors
    /// `Misuse` if the API would refuse it: the text names the rule, the message (counted from 0 in
    /// what is appended) and the block. Also if the request would have more than four cache
    /// breakpoints. `Capacity` if the conversation is full. Then nothing was appended.
    pub fn append(&mut self, message: &str) -> Result<&mut Self, Error> {
        self.render_prefix();
        self.machine.append(message)?;
        self.drop_answered_jobs();
        self.go_on();
        Ok(self)
    }

    /// Makes these messages the conversation: a JSON array of messages. What was said before is
    /// forgotten.
    ///
    /// Calls of the last assistant message may lack results, all of them or some, as in the
    /// [`messages`](Self::messages) of a run that was cancelled: they can be
    /// [answered](Self::answer), and are answered as not run before anything is sent.
    ///
    /// # Errors
    /// `Misuse` if the API would refuse them: the text names the rule, the message (counted from 0)
    /// and the block. Also if the request would have more than four cache breakpoints. `Capacity`
    /// if they do not fit. Then nothing changes.
    pub fn replace_history(&mut self, messages: &str) -> Result<&mut Self, Error> {
        self.abandon();
        self.render_prefix();
        self.machine.replace_history(messages)?;
        self.envelope = Envelope::default();
        self.go_on();
        Ok(self)
    }

    /// Drops the last reply, with its results, and asks for it again. What was appended stays.
    ///
    /// # Errors
    /// `Misuse` if there is no reply.
    pub fn retry(&mut self) -> Result<&mut Self, Error> {
        self.abandon();
        self.machine.retry()?;
        self.envelope = Envelope::default();
        self.go_on();
        Ok(self)
    }

    /// Ends the run where it is. A reply under way is taken back, unless a call of it has started:
    /// then its whole blocks stay. Calls that run are dropped; if the run goes on, they are
    /// answered as cancelled.
    pub fn stop(&mut self) {
        self.abandon();
        self.machine.stop();
    }

    /// After [`stop`](Self::stop), or when it was cancelled: goes on where it was. Calls that had
    /// not started run now. After [`Outcome::Broken`] the kept calls are closed, and the model is
    /// asked to go on.
    pub fn resume(&mut self) -> &mut Self {
        self.machine.resume();
        self.drop_answered_jobs();
        self.go_on();
        self
    }

    /// The request's parameters, for all later turns.
    pub fn params_mut(&mut self) -> &mut Params {
        self.prefix = None;
        &mut self.params
    }

    /// The request's parameters.
    pub const fn params(&self) -> &Params {
        &self.params
    }

    /// Parameters of the next turn alone, in place of those of the same name. They are forgotten
    /// when its reply is whole.
    ///
    /// ```no_run
    /// # async fn f(mut run: toolrunner_std::Run) -> Result<(), toolrunner_std::Error> {
    /// if let Some(mut turn) = run.next_turn().await? {
    ///     turn.run().next_params_mut().max_tokens(8192);
    ///     turn.retry()?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn next_params_mut(&mut self) -> &mut Params {
        self.prefix = None;
        &mut self.next_params
    }

    /// Whom the run asks, and as whom.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whom to ask from the next request on: key, base URL, betas, headers, query, body, time-outs,
    /// retries.
    pub fn set_settings(&mut self, settings: Settings) -> &mut Self {
        if settings.max_retries() != self.settings.max_retries() {
            self.machine.retry_mut().retries = settings.max_retries();
        }
        if settings.retry_after_cap() != self.settings.retry_after_cap() {
            self.machine.retry_mut().retry_after_cap = settings.retry_after_cap();
        }
        build::apply_body_fields(&self.settings, &settings, &mut self.params);
        self.transport = settings.transport().clone();
        self.settings = Arc::new(settings);
        self.prefix = None;
        self
    }

    /// The same, said as changes: `run.change_settings(|client|
    /// client.beta("files-api-2025-04-14"))?`.
    ///
    /// # Errors
    /// The first thing that is wrong with them. Then nothing changes.
    pub fn change_settings(
        &mut self,
        change: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> Result<&mut Self, Error> {
        let settings = change(self.settings.to_builder()).settings()?;
        Ok(self.set_settings(settings))
    }

    /// Other tools, from the next request on. Calls that run already go on with the old ones.
    ///
    /// # Errors
    /// As for [`RunBuilder::tools`]. Then nothing changes.
    pub fn set_tools(&mut self, tools: impl Tools) -> Result<&mut Self, Error> {
        self.toolset = Toolset::new(tools)?;
        self.prefix = None;
        Ok(self)
    }

    /// Cancels the run from anywhere, also while it is driven: `run.cancellation().cancel()`. A
    /// reply under way is taken back; tools are told by their context and have the grace period to
    /// end, then they are dropped and answered as cancelled. The run ends with
    /// [`Outcome::Stopped`]; it goes on, with a new token, when something is said or
    /// [`resume`](Self::resume) is called.
    pub fn cancellation(&self) -> CancellationToken {
        self.cancel.clone()
    }

    /// What the run may spend. A run that ended at a limit goes on when that is raised.
    pub const fn limits_mut(&mut self) -> &mut Limits {
        self.machine.limits_mut()
    }

    /// When requests are sent again.
    pub const fn retry_policy_mut(&mut self) -> &mut RetryPolicy {
        self.machine.retry_mut()
    }

    /// What becomes of a reply that breaks off and is not asked for again, from now on.
    pub fn set_on_break(&mut self, on_break: OnBreak) -> &mut Self {
        self.on_break = on_break;
        self.machine.on_break(on_break);
        self
    }

    /// When the conversation is summarised, if ever.
    pub const fn compaction_mut(&mut self) -> &mut Option<Compaction> {
        self.machine.compaction_mut()
    }

    /// Has the server compact the conversation before the next turn, or now if the run is over: by
    /// a request of its own with the same parameters and `compaction`, less what cannot go with it
    /// (`context_management`, `stop_sequences`, an output format, a forced `tool_choice`). Its
    /// answer becomes the conversation. It is no turn, and is not tried again; without a summary in
    /// the answer the conversation stays as it is. The beta that the server asks for is the
    /// caller's to set.
    pub fn compact_on_server(&mut self, instructions: Option<&str>) -> &mut Self {
        let more = instructions
            .map(|text| format!(",\"instructions\":{}", crate::params::quoted(text)))
            .unwrap_or_default();
        self.server_compaction = format!("{{\"type\":\"summarize\"{more}}}");
        self.machine.compact_on_server();
        self
    }

    /// Whether replies are streamed, from the next request on.
    pub fn set_stream(&mut self, stream: bool) -> &mut Self {
        self.prefix = None;
        self.stream = stream;
        self
    }

    /// The conversation as JSON: an array of messages, as the next request has them.
    /// [`RunBuilder::messages`] accepts it at any time.
    ///
    /// A reply under way is not in it, unless a call of it has started: then its complete blocks
    /// are. Open calls of the last turn have no result in it; if messages were appended behind
    /// them, they have results that say that they did not run or were cancelled.
    pub fn messages(&self) -> String {
        let bytes = self.machine.conversation();
        let mut json = String::with_capacity(bytes.len() + 2);
        json.push('[');
        // A transcript is always UTF-8.
        json.push_str(core::str::from_utf8(&bytes).unwrap_or_default());
        json.push(']');
        json
    }

    /// The run as JSON, to go on with later or in another process: [`RunBuilder::resume`]. It holds
    /// the conversation, its open calls and what was counted; no key, no tools, no parameters, no
    /// limits. Calls that have run keep their results. Calls that run now are answered as cancelled
    /// in the resumed run, because they may have had their effect. A reply under way is left out
    /// and asked for again, unless a call of it has started ([`eager`](RunBuilder::eager)): then
    /// its whole blocks are part of the snapshot.
    ///
    /// It is one JSON object with a version of its own; another version is refused.
    ///
    /// # Errors
    /// `Misuse` while a summary of the conversation is under way.
    pub fn snapshot(&self) -> Result<String, Error> {
        let mut json = Vec::with_capacity(self.machine.messages().len() + 1024);
        self.machine.snapshot(&mut json)?;
        String::from_utf8(json).map_err(|error| Error::Invalid(error.to_string()))
    }

    /// The model's last message. Nothing before the first reply, or the first since
    /// [`RunBuilder::resume`].
    pub fn message(&self) -> Option<ReplyMessage> {
        self.before_summary.clone().or_else(|| self.envelope.message(&self.machine))
    }

    /// The run's number in this process, from 1: the field `run` of its log lines, and of the spans
    /// in which its requests and its tools run. A run that is resumed from a snapshot has a number
    /// of its own.
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// Tokens of all turns.
    pub const fn usage(&self) -> Usage {
        self.machine.usage()
    }

    /// Why the run ended; nothing while it goes on. Of use after the last
    /// [`next_event`](Self::next_event) or [`next_turn`](Self::next_turn);
    /// [`until_done`](Self::until_done) gives it with the rest.
    pub const fn outcome(&self) -> Option<Outcome> {
        self.machine.outcome()
    }

    /// Replies of the model since the last prompt.
    pub const fn turns(&self) -> u32 {
        self.machine.turns()
    }

    /// The calls of the last reply that have no answer yet: after [`Outcome::NeedsAnswer`] those
    /// that the caller must answer.
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

    /// What the tool of this call tells of itself; `None` if no tool here is called so.
    pub fn definition(&self, call: &Call<'_>) -> Option<Definition<'_>> {
        self.toolset.definition(call.toolset, call.name)
    }

    /// Most calls of one turn that run at the same time: see [`RunBuilder::concurrency`].
    pub const fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// The machine below: its transcript, its calls.
    pub const fn machine(&self) -> &Machine<'static> {
        &self.machine
    }

    /// Lets go of what is under way.
    fn abandon(&mut self) {
        self.let_go_of_reply();
        self.jobs.clear();
        self.untold.clear();
    }

    fn let_go_of_reply(&mut self) {
        if self.reply.take().is_some() || self.announced {
            let (was_whole, turns) = (self.machine.reply_is_whole(), self.machine.turns());
            // Nothing failed, so there is no error to tell.
            let _ = self.machine.failed(None, self.clock.now(), 0);
            self.announced = false;
            self.trace.request_fails("cancelled");
            if !was_whole {
                self.reply_ended_early(self.machine.turns() > turns);
            }
        }
    }

    /// A cancellation that had its effect is over.
    fn go_on(&mut self) {
        if self.is_wound_down {
            self.is_wound_down = false;
            self.cancel = CancellationToken::new();
            self.watch = None;
        }
    }
}
