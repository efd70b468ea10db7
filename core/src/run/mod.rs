//! The loop as a state machine without I/O: it decides what to do next, and its driver reports what
//! happened.
//!
//! ```text
//!       step(): Send          answered(2xx)              the whole reply has calls
//! ┌───────┐ ─────────▶ ┌─────────┐ ─────────▶ ┌───────────┐ ─────────────▶ ┌─────────┐ step(): Call
//! │ Ready │            │ Sending │            │ Receiving │                │ Calling │ answer(), settle()
//! └───────┘            └─────────┘            └───────────┘                └─────────┘
//!   ▲ ▲ ▲ ▲              │     │ answered(other)    │ │ │ any other whole reply │ │ a call waits for the caller,
//!   │ │ │ │              │     ▼                    │ │ ▼                       │ ▼ a limit, stop()
//!   │ │ │ │              │   ┌───────────┐          │ │ ┌────────────────────────────┐
//!   │ │ │ │              │   │ ErrorBody │          │ │ │            Done            │ step(): Done(outcome)
//!   │ │ │ │              │   └───────────┘          │ │ └────────────────────────────┘
//!   │ │ │ │              └─────────┴── failed() ────┘ │   ▲          │
//!   │ │ │ │    no retry is left │       │ one is left │   │ a limit, │ user(), append(), resume(), retry(),
//!   │ │ │ └─────────────────────┘       ▼             │   │ stop()   │ replace_history(); to Calling if an
//!   │ │ │              the time ┌─────────┐           │   │          │ answer or a raised limit opens calls
//!   │ │ └────────────────────── │ Waiting │           │   │          │
//!   │ │                 is over └─────────┘           │   │          │
//!   │ │                           step(): Wait(until) │   │          │
//!   │ └───── pause_turn, compaction, a summary ───────┘   │          │
//!   │ └───── all calls of Calling are answered            │          │
//!   └─────────────────────────────────────────────────────┴──────────┘
//! ```
//! The file `run/table.rs` lists every transition, and no other file changes the state.
//! [`Run::step`] returns a [`Step`], and the documentation of [`Run`] groups the methods that carry
//! it out. A driver that is dropped in the middle of a step loses nothing: the next `step()` finds
//! what was abandoned. An unfinished request is sent again. A partial reply is discarded, unless
//! one of its calls has started. A call that was running is answered as cancelled, because it may
//! have had its effect.
//!
//! ```
//! use toolrunner_core::run::{Outcome, Run, Step};
//! use toolrunner_core::time::Instant;
//! use toolrunner_core::transcript::Transcript;
//! use toolrunner_core::transport::ReplyHead;
//! use toolrunner_core::message::StopReason;
//!
//! let mut memory = [0; 2048];
//! let mut run = Run::new(Transcript::new(&mut memory));
//! let now = Instant::ZERO;
//! run.user("What is 15 + 27?")?;
//!
//! // Ready: there is something to send.
//! assert_eq!(run.step(now)?, Step::Send);
//! let body: Vec<u8> = run.body(&[b"{\"model\":\"m\",\"max_tokens\":9,\"messages\":["]).pieces().flatten().copied().collect();
//! assert!(body.ends_with(br#"[{"role":"user","content":"What is 15 + 27?"}]}"#));
//!
//! // The reply comes, in any pieces.
//! run.answered(&ReplyHead::new(200));
//! let reply = br#"{"content":[{"type":"tool_use","id":"t1","name":"sum","input":{"a":15,"b":27}}],"stop_reason":"tool_use"}"#;
//! for piece in reply.chunks(10) {
//!     let mut piece = piece;
//!     while let Some(happened) = run.feed(&mut piece)? { let _event = run.event(happened); }
//! }
//! while let Some(happened) = run.end_of_body()? { let _event = run.event(happened); }
//!
//! // The model asked for a tool.
//! assert_eq!(run.step(now)?, Step::Call);
//! let call = run.next_call().unwrap();
//! assert_eq!(run.call(call).unwrap().input.to_string(), r#"{"a":15,"b":27}"#);
//! run.answer(call, br#""42""#, false)?;
//!
//! // All answered: the results go out.
//! assert_eq!(run.step(now)?, Step::Send);
//! run.answered(&ReplyHead::new(200));
//! let mut reply = &br#"{"content":[{"type":"text","text":"42."}],"stop_reason":"end_turn"}"#[..];
//! while let Some(_) = run.feed(&mut reply)? {}
//! while let Some(_) = run.end_of_body()? {}
//! assert_eq!(run.step(now)?, Step::Done(Outcome::Ended(Some(StopReason::EndTurn))));
//! # Ok::<(), toolrunner_core::error::Error>(())
//! ```

mod broken;
mod calls;
mod cap;
mod compact;
#[cfg(feature = "alloc")]
mod early;
mod exchange;
mod given;
mod keep;
mod marks;
mod replace;
mod results;
mod room;
mod snapshot;
mod state;
mod table;
mod unique;
mod verbs;
mod withdrawn;

use crate::error::{Error, Misuse};
use crate::json::Value;
use crate::message::{Message, StopReason, Usage};
#[cfg(feature = "alloc")]
use crate::message::{Messages, Role};
use crate::policy::{Limit, Limits, RetryPolicy};
use crate::time::Instant;
use crate::transcript::{Span, Transcript};
use crate::transport::ReplyHead;
use crate::turn::{Container, Reply};
use crate::wire::{Config, Front, ServerCompaction};

pub use crate::turn::Happened;
pub use broken::OnBreak;
pub use calls::{Call, Called, Written, settle};
pub use compact::{Compaction, SUMMARY_PROMPT};
pub use exchange::ApiErrorText;
pub use room::{MakeRoom, WhenFull};
pub use snapshot::{SNAPSHOT_FRAME, SNAPSHOT_VERSION};
use state::{CallStates, Place, Turn, Verb};
pub use state::{Outcome, Step};
use table::{Input, Machine, State};

/// The maximum number of calls in one turn.
pub const MAX_CALLS: usize = crate::history::MAX_CALLS;
const _: () = assert!(MAX_CALLS == CallStates::COUNT);

/// A conversation and the state of its loop.
///
/// A run owns only the memory of its transcript and a few hundred bytes. It uses no clock, no
/// network and no tool: a driver calls its methods. [`Driver`](crate::drive::Driver) is one; the
/// [module](self) shows how to write another.
///
/// # Methods by purpose
///
/// **Ask** what to do next: [`step`](Self::step), [`next_call`](Self::next_call),
/// [`call_for_caller`](Self::call_for_caller), [`outcome`](Self::outcome),
/// [`deadline`](Self::deadline), [`is_within_limits`](Self::is_within_limits),
/// [`is_calling`](Self::is_calling).
///
/// **Send** a request and **feed** its reply, after [`Step::Send`] and [`Step::Receive`]:
/// [`complete`](Self::complete), [`note_front`](Self::note_front) and [`body`](Self::body) for the
/// request; [`answered`](Self::answered), [`feed`](Self::feed), [`end_of_body`](Self::end_of_body),
/// [`reply_is_whole`](Self::reply_is_whole), [`is_receiving_error`](Self::is_receiving_error) and
/// [`failed`](Self::failed) for the reply; [`event`](Self::event), [`peek`](Self::peek) and
/// [`tool_end`](Self::tool_end) for an observer.
///
/// **Answer** the calls of a turn, after [`Step::Call`]: [`call`](Self::call) and
/// [`is_withdrawn`](Self::is_withdrawn) to decide; [`refuse_bad_input`](Self::refuse_bad_input),
/// [`answer_not_found`](Self::answer_not_found) and [`answer_notice`](Self::answer_notice) to
/// answer without a tool; [`start_call`](Self::start_call),
/// [`start_call_with`](Self::start_call_with) and [`end_call`](Self::end_call) to run a tool in the
/// run's memory; [`begin_call`](Self::begin_call), [`answer`](Self::answer) and
/// [`answer_checked`](Self::answer_checked) to run it elsewhere;
/// [`leave_to_caller`](Self::leave_to_caller) and [`give_to_tools`](Self::give_to_tools) to wait
/// for a person; with `alloc`, `begin_early`, `has_begun_early` and
/// [`is_withdrawn_early`](Self::is_withdrawn_early) to start a call before its reply is complete.
///
/// **Edit** results before they are sent: [`cap_result`](Self::cap_result),
/// [`replace_result`](Self::replace_result), [`replace_result_text`](Self::replace_result_text),
/// [`add_to_result`](Self::add_to_result); after they were sent,
/// [`replace_result_of`](Self::replace_result_of).
///
/// **Say** something as the caller, between requests: [`user`](Self::user),
/// [`append`](Self::append), [`retry`](Self::retry), [`replace_history`](Self::replace_history),
/// [`close_open_calls`](Self::close_open_calls), [`drop_oldest_turn`](Self::drop_oldest_turn); at
/// any time: [`stop`](Self::stop), [`resume`](Self::resume),
/// [`compact_on_server`](Self::compact_on_server).
///
/// **Set** how the run behaves: [`configure`](Self::configure), [`limits_mut`](Self::limits_mut),
/// [`retry_mut`](Self::retry_mut), [`on_break`](Self::on_break),
/// [`when_full_mut`](Self::when_full_mut), [`compaction_mut`](Self::compaction_mut),
/// [`unique_ids`](Self::unique_ids).
///
/// **Look** at the conversation and the counters: [`messages`](Self::messages),
/// [`transcript`](Self::transcript), `conversation` (with `alloc`),
/// [`last_message`](Self::last_message), [`cut_reply`](Self::cut_reply),
/// [`stop_reason`](Self::stop_reason), [`request_id`](Self::request_id); [`calls`](Self::calls),
/// [`is_pending`](Self::is_pending), [`is_answered`](Self::is_answered),
/// [`is_for_caller`](Self::is_for_caller), [`results`](Self::results), [`result`](Self::result);
/// [`turns`](Self::turns), [`attempt`](Self::attempt), [`usage`](Self::usage),
/// [`turn_usage`](Self::turn_usage), [`limits`](Self::limits); [`api_error`](Self::api_error),
/// [`error_body`](Self::error_body); [`container`](Self::container),
/// [`container_copy`](Self::container_copy); [`is_compacting`](Self::is_compacting),
/// [`is_compacting_on_server`](Self::is_compacting_on_server),
/// [`compaction_rules`](Self::compaction_rules), [`compactions`](Self::compactions),
/// [`rejected_summary`](Self::rejected_summary).
///
/// **Create and store** a run: [`new`](Self::new), [`snapshot`](Self::snapshot),
/// [`snapshot_into`](Self::snapshot_into), [`from_snapshot`](Self::from_snapshot); with `alloc`,
/// `shrink_to_fit`.
///
/// # Examples
///
/// ```
/// use toolrunner_core::run::{Run, Step};
/// use toolrunner_core::time::Instant;
/// use toolrunner_core::transcript::Transcript;
/// use toolrunner_core::transport::ReplyHead;
///
/// let mut memory = [0; 2048];
/// let mut run = Run::new(Transcript::new(&mut memory));
///
/// // Set a limit, and say something.
/// run.limits_mut().turns = Some(5);
/// run.user("Is the door open?")?;
///
/// // Ask what to do next. After sending the request, feed its reply.
/// assert_eq!(run.step(Instant::ZERO)?, Step::Send);
/// run.answered(&ReplyHead::new(200));
/// let mut reply = &br#"{"content":[{"type":"tool_use","id":"t1","name":"door","input":{}}],
///     "usage":{"input_tokens":9,"output_tokens":4},"stop_reason":"tool_use"}"#[..];
/// while run.feed(&mut reply)?.is_some() {}
/// while run.end_of_body()?.is_some() {}
///
/// // Answer the calls, and edit a result.
/// assert_eq!(run.step(Instant::ZERO)?, Step::Call);
/// while let Some(i) = run.next_call() {
///     run.answer(i, br#""open""#, false)?;
/// }
/// run.replace_result(0, br#""closed""#, false)?;
///
/// // Look at the counters and at the conversation.
/// assert_eq!((run.turns(), run.usage().output_tokens), (1, 4));
/// assert!(run.messages().ends_with(br#""content":"closed"}]}"#));
///
/// // Store the run. The results are sent after it is restored.
/// let mut bytes = [0; 4096];
/// let len = run.snapshot_into(&mut bytes)?;
/// let mut memory = [0; 2048];
/// let mut restored = Run::from_snapshot(&bytes[..len], Transcript::new(&mut memory))?;
/// assert_eq!(restored.step(Instant::ZERO)?, Step::Send);
/// # Ok::<(), toolrunner_core::error::Error>(())
/// ```
#[derive(Debug)]
pub struct Run<'b> {
    transcript: Transcript<'b>,
    machine: Machine,
    limits: Limits,
    retry: RetryPolicy,
    /// Whether the retry policy was set, by the caller or by a configuration.
    has_retry: bool,
    /// Keeps a part of a reply that broke off, if set.
    keep: Option<broken::Keep>,
    reply: Reply,
    turn: Turn,
    /// The calls that started before their reply was complete.
    #[cfg(feature = "alloc")]
    early: early::Early,
    /// The part of the conversation that changes its tools.
    changes: withdrawn::Changes,
    head: ReplyHead,
    container: Container,
    /// The JSON of the last API error, in the tail. Valid until the next write.
    failure: Span,
    /// The complete last reply, in the tail, if the conversation does not contain all of it.
    said: Place,
    /// The length of the conversation at which it ends with a text that the model cannot continue,
    /// or 0 if it does not end so.
    unfit_prefill: u32,
    marks: marks::Marks,
    /// Failed attempts of the current request.
    attempt: u32,
    /// Whether a part of the current reply was passed on to an observer.
    handed_on: bool,
    turns: u32,
    calls: u32,
    /// A hash of the last turn's calls, and for how many turns in a row it was the same.
    fingerprint: u32,
    repeats: u32,
    started: Option<Instant>,
    usage: Usage,
    when_full: WhenFull,
    /// The code that checks the limits, frees space, makes summaries and renames calls. Each is set
    /// by the method that enables the feature, so that a program that does not use the feature does
    /// not contain its code.
    look_at_limits: Option<fn(&Run<'_>, Instant) -> Option<Limit>>,
    make_room: Option<fn(&mut Run<'_>) -> bool>,
    summaries: Option<&'static compact::Summaries>,
    unique: Option<&'static unique::Unique>,
    compaction: Option<Compaction>,
    compacting: Option<compact::Compacting>,
    /// Whether a summary of the last turn was tried.
    compaction_tried: bool,
    /// Whether the server compacts before the next turn.
    server_compaction: bool,
    /// The rules for the members of such a request, once one was requested.
    compaction_rules: Option<ServerCompaction>,
    compactions: u32,
    /// The reason why the last summary was rejected, if it was.
    rejected: Option<compact::Rejected>,
}

impl<'b> Run<'b> {
    /// Creates a run over `transcript`, which may already hold a conversation.
    // Not inlined: the run is built in place. Inlined, the caller's stack frame would hold a second
    // copy of it.
    #[inline(never)]
    pub fn new(transcript: Transcript<'b>) -> Self {
        Self {
            machine: Machine::at(State::Ready),
            limits: Limits::NONE,
            retry: RetryPolicy::DEFAULT,
            has_retry: false,
            keep: None,
            reply: Reply::new(transcript.len()),
            turn: Turn::none(transcript.len()),
            #[cfg(feature = "alloc")]
            early: early::Early::default(),
            changes: withdrawn::Changes::default(),
            transcript,
            head: ReplyHead::default(),
            container: Container::new(),
            failure: Span::default(),
            said: Place::NONE,
            unfit_prefill: 0,
            marks: marks::Marks::NONE,
            attempt: 0,
            handed_on: false,
            turns: 0,
            calls: 0,
            fingerprint: 0,
            repeats: 0,
            started: None,
            usage: Usage::default(),
            when_full: WhenFull::NEVER,
            look_at_limits: None,
            make_room: None,
            summaries: None,
            unique: None,
            compaction: None,
            compacting: None,
            compaction_tried: false,
            server_compaction: false,
            compaction_rules: None,
            compactions: 0,
            rejected: None,
        }
    }

    /// Returns the transcript, which stores the conversation.
    pub const fn transcript(&self) -> &Transcript<'b> {
        &self.transcript
    }

    /// Returns the complete messages, as JSON objects separated by commas: the transcript without a
    /// partial reply and without the request for a summary.
    ///
    /// Open calls of the last turn have no results in it.
    /// [`replace_history`](Self::replace_history) of another run accepts that, unless messages were
    /// [appended](Self::append) after calls that all lack results. In this case use `conversation`
    /// (with `alloc`), or call [`close_open_calls`](Self::close_open_calls) first.
    pub fn messages(&self) -> &[u8] {
        let bytes = self.transcript.bytes();
        let end = match (self.compacting, self.machine.state()) {
            (Some(compacting), _) => compacting.keep,
            (None, State::Receiving) => self.reply.mark,
            _ => return bytes,
        };
        bytes.get(..end).unwrap_or(bytes)
    }

    /// Returns the limits of this run, to be changed at any time. A run that ended at a limit
    /// continues when that limit is raised.
    pub const fn limits_mut(&mut self) -> &mut Limits {
        self.look_at_limits = Some(|run, now| run.look_at_limits(now));
        &mut self.limits
    }

    /// Returns the limits of this run.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the retry policy, to be changed at any time.
    pub const fn retry_mut(&mut self) -> &mut RetryPolicy {
        self.has_retry = true;
        &mut self.retry
    }

    /// Applies the limits and the retry policy of `config`. Neither replaces a value that was set
    /// on this run before, by [`limits_mut`](Self::limits_mut), [`retry_mut`](Self::retry_mut) or
    /// an earlier call of this method. A [`Driver`](crate::drive::Driver) calls it before the first
    /// step.
    pub const fn configure(&mut self, config: &Config<'_>) {
        if self.look_at_limits.is_none() {
            *self.limits_mut() = config.limits;
        }
        if !self.has_retry {
            *self.retry_mut() = config.retry;
        }
    }

    /// Returns the number of model replies since the last prompt.
    pub const fn turns(&self) -> u32 {
        self.turns
    }

    /// Returns the number of failed attempts of the current request.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns the tokens of all turns of this run, over all prompts.
    pub const fn usage(&self) -> Usage {
        self.usage
    }

    /// Returns the tokens of the last turn.
    pub const fn turn_usage(&self) -> Usage {
        self.reply.usage
    }

    /// Returns the reason why the last turn ended, or `None` if the server has not named one.
    pub const fn stop_reason(&self) -> Option<StopReason> {
        self.reply.stop
    }

    /// Returns the first container that a reply named. Every later request passes it on, unless the
    /// caller pinned a container.
    pub fn container(&self) -> Option<&str> {
        (!self.container.is_empty()).then_some(self.container.as_str())
    }

    /// Returns a copy of the [`container`](Self::container).
    pub fn container_copy(&self) -> Option<Container> {
        (!self.container.is_empty()).then(|| self.container.clone())
    }

    /// Adds to the front of the next request what the run knows: the [container](Self::container),
    /// and whether the request asks the server to compact, which omits some members.
    pub fn complete<'a>(&'a self, front: Front<'a>) -> Front<'a> {
        front.with(self.container(), self.compaction_rules())
    }

    /// Returns whether the current reply is complete. The rest of its body does not matter then.
    pub const fn reply_is_whole(&self) -> bool {
        !matches!(self.machine.state(), State::Receiving | State::ErrorBody)
    }

    /// Returns the reason why the run is over, or `None` if it continues. Limits are checked only
    /// by the next [`step`](Self::step).
    pub const fn outcome(&self) -> Option<Outcome> {
        match self.machine.state() {
            State::Done(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Returns whether the calls of the turn come next.
    pub fn is_calling(&self) -> bool {
        self.machine.state() == State::Calling
    }

    /// Returns the request id from the head of the last reply. Empty if there was none.
    pub fn request_id(&self) -> &str {
        &self.head.request_id
    }

    /// Returns the model's last message, if only its results and appended messages follow it.
    /// Blocks that the API would refuse, such as an empty text, are included until the next write
    /// to the transcript. After that, this is the message as the conversation contains it.
    pub fn last_message(&self) -> Option<Message<'_>> {
        #[cfg(feature = "alloc")]
        if self.has_begun_early() {
            return Messages::new(self.messages())
                .filter(|message| message.role() == Some(Role::Assistant))
                .last();
        }
        if let Some(said) = self.cut_reply() {
            return Some(said);
        }
        self.transcript
            .bytes()
            .get(self.turn.start..self.turn.end)
            .and_then(Value::whole)
            .and_then(Message::new)
    }

    /// Returns what to do next. Time passes only through `now`.
    ///
    /// # Errors
    /// `Misuse` if there is nothing to send. `Capacity` if not even the shortest answers to the
    /// calls of the turn fit: then the reply is discarded, and the run would request it again. If
    /// one of its calls was already answered or started, the reply stays instead, and the run can
    /// continue from its [`snapshot`](Self::snapshot) in more memory.
    pub fn step(&mut self, now: Instant) -> Result<Step, Error> {
        loop {
            match self.machine.state() {
                State::Waiting(until) => {
                    // A wait ends at the deadline at the latest, because the time limit forbids
                    // anything after it.
                    let until = self.deadline().map_or(until, |end| until.min(end));
                    if now < until {
                        return Ok(Step::Wait(until));
                    }
                    self.machine.go(Input::TimeOver)?;
                }
                State::Receiving | State::ErrorBody => return Ok(Step::Receive),
                State::Sending => return self.send(now),
                State::Ready => {
                    #[cfg(feature = "alloc")]
                    if let Some(until) = self.early.take_pause() {
                        self.machine.go(Input::Backoff(until))?;
                        continue;
                    }
                    if self.transcript.is_empty() {
                        return Err(Misuse::NoMessages.into());
                    }
                    if self.compacting.is_some() {
                        return self.send(now);
                    }
                    // A paused turn is sent back unchanged, unless some of its calls started early
                    // or were answered by the caller, or a message was appended after it. A turn in
                    // a history from the caller is not known to be paused.
                    if self.turn.is_given
                        || self.turn.answered_count() > 0
                        || self.turn.is_running()
                        || self.transcript.len() > self.turn.results_end
                    {
                        self.close_open_calls()?;
                    }
                    self.ensure_prefill()?;
                    match self.exceeded(now) {
                        Some(limit) => self.machine.go(Input::Limit(limit))?,
                        None if self.begin_server_compaction()
                            || self.begin_compaction()
                            || self.make_room.is_none_or(|make_room| make_room(self)) =>
                        {
                            return self.send(now);
                        }
                        None => self.machine.go(Input::Limit(Limit::Transcript))?,
                    }
                }
                State::Calling => {
                    if let Some(limit) = self.exceeded(now) {
                        self.machine.go(Input::Limit(limit))?;
                    } else if self.begin_compaction() {
                        return self.send(now);
                    } else if !self.open_calls()? {
                        self.machine.go(Input::NoCall)?;
                    } else if self.machine.state() == State::Calling {
                        return Ok(Step::Call);
                    }
                }
                State::Done(Outcome::Limit(Limit::Transcript)) if self.lacks_room() => {
                    return Ok(Step::Done(Outcome::Limit(Limit::Transcript)));
                }
                State::Done(Outcome::Limit(limit)) if self.exceeded(now) != Some(limit) => {
                    self.machine.go(Input::NoLimit { calls: self.turn.is_calling() })?;
                }
                State::Done(outcome) => {
                    if outcome.continues_on(Verb::Compact) && self.begin_server_compaction() {
                        return self.send(now);
                    }
                    return Ok(Step::Done(outcome));
                }
            }
        }
    }

    fn send(&mut self, now: Instant) -> Result<Step, Error> {
        self.machine.go(Input::Request)?;
        self.started.get_or_insert(now);
        self.handed_on = false;
        #[cfg(feature = "alloc")]
        self.early.begin_reply();
        self.failure = Span::default();
        self.said = Place::NONE;
        self.reply = Reply::new(self.transcript.len());
        Ok(Step::Send)
    }

    /// Returns when [`Limits::time`] ends the run, or `None` if there is no such limit or nothing
    /// was sent yet.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.started?.after(self.limits.time?))
    }

    /// Returns whether the limits allow the run to continue.
    pub fn is_within_limits(&self, now: Instant) -> bool {
        self.exceeded(now).is_none()
    }

    /// Returns the limit that forbids another request, if one does.
    fn exceeded(&self, now: Instant) -> Option<Limit> {
        self.look_at_limits.and_then(|look_at_limits| look_at_limits(self, now))
    }

    fn look_at_limits(&self, now: Instant) -> Option<Limit> {
        let Limits { turns, calls, input_tokens, output_tokens, time, repeats } = self.limits;
        let pending = if self.turn.runs {
            u32::try_from(self.turn.open_count()).unwrap_or(u32::MAX)
        } else {
            0
        };
        let beyond = [
            (turns.is_some_and(|most| self.turns >= most), Limit::Turns),
            (calls.is_some_and(|most| self.calls.saturating_add(pending) > most), Limit::Calls),
            (input_tokens.is_some_and(|most| self.usage.input_total() >= most), Limit::InputTokens),
            (
                output_tokens.is_some_and(|most| self.usage.output_tokens >= most),
                Limit::OutputTokens,
            ),
            (repeats.is_some_and(|most| self.repeats > most), Limit::Repeats),
            (
                time.is_some_and(|most| self.started.is_some_and(|start| now.since(start) >= most)),
                Limit::Time,
            ),
        ];
        beyond.into_iter().find_map(|(is_beyond, limit)| is_beyond.then_some(limit))
    }
}
