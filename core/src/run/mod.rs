//! The loop as a machine without I/O: it says what to do next, and is told what came of it.
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
//! [`Run::step`] gives a [`Step`]; what follows are methods of the run. A driver that was dropped
//! in the middle of a step loses nothing: the next `step()` finds what was abandoned. A request
//! that was under way is sent again. A reply that was under way is taken back, unless a call of it
//! had started. A call that was running is answered as cancelled, because it may have had its
//! effect.
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
use state::{CallStates, Place, State, Turn};
pub use state::{Outcome, Step};

/// Most calls of one turn.
pub const MAX_CALLS: usize = crate::history::MAX_CALLS;
const _: () = assert!(MAX_CALLS == CallStates::COUNT);

/// A conversation and where its loop is. See the [module](self) for how to drive it.
///
/// It owns nothing but its transcript's memory and a few hundred bytes; it knows no clock, no
/// network and no tool.
#[derive(Debug)]
pub struct Run<'b> {
    transcript: Transcript<'b>,
    state: State,
    limits: Limits,
    retry: RetryPolicy,
    /// Whether the retry policy was set, by the caller or from a configuration.
    has_retry: bool,
    /// What keeps a part of a reply that broke off, if anything does.
    keep: Option<broken::Keep>,
    reply: Reply,
    turn: Turn,
    /// Calls that started before their reply was whole.
    #[cfg(feature = "alloc")]
    early: early::Early,
    /// Where the conversation changes its tools.
    changes: withdrawn::Changes,
    head: ReplyHead,
    container: Container,
    /// Where, in the tail, the JSON of the last API error lies; until the next write.
    failure: Span,
    /// Where, in the tail, the complete last reply lies, if not all of it is in the conversation.
    said: Place,
    /// The length of the conversation at which it ends with a text that the model cannot continue;
    /// 0 if it does not.
    unfit_prefill: u32,
    marks: marks::Marks,
    /// Tries of the request under way that failed.
    attempt: u32,
    /// Whether a part of the reply under way was handed on.
    handed_on: bool,
    turns: u32,
    calls: u32,
    /// A sum over the last turn's calls, and how often in a row it was the same.
    fingerprint: u32,
    repeats: u32,
    started: Option<Instant>,
    usage: Usage,
    when_full: WhenFull,
    /// What looks at the limits, what makes room, what makes summaries and what renames calls: each
    /// is set by the method that lends its setting, so that only who uses it has its code in the
    /// program.
    look_at_limits: Option<fn(&Run<'_>, Instant) -> Option<Limit>>,
    make_room: Option<fn(&mut Run<'_>) -> bool>,
    summaries: Option<&'static compact::Summaries>,
    unique: Option<&'static unique::Unique>,
    compaction: Option<Compaction>,
    compacting: Option<compact::Compacting>,
    /// Whether the last turn's summary was tried.
    compaction_tried: bool,
    /// Whether the server is to compact before the next turn.
    server_compaction: bool,
    /// The rules for the members of such a request, once one was asked for.
    compaction_rules: Option<ServerCompaction>,
    compactions: u32,
    /// Why the last summary was rejected, if it was.
    rejected: Option<compact::Rejected>,
}

impl<'b> Run<'b> {
    /// A run over `transcript`, which may hold a conversation already.
    // Made where it is to lie: inlined, the caller's frame holds it a second time, for as long as
    // that runs.
    #[inline(never)]
    pub fn new(transcript: Transcript<'b>) -> Self {
        Self {
            state: State::Ready,
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

    /// The conversation.
    pub const fn transcript(&self) -> &Transcript<'b> {
        &self.transcript
    }

    /// The messages that are complete, as JSON objects with commas between: the transcript without
    /// a reply that is under way, and without the question for a summary.
    ///
    /// Open calls of the last turn have no results in it.
    /// [`replace_history`](Self::replace_history) of another run accepts that, unless messages were
    /// [appended](Self::append) behind calls that all lack results: then use `conversation` (with
    /// `alloc`), or [`close_open_calls`](Self::close_open_calls) before.
    pub fn messages(&self) -> &[u8] {
        let bytes = self.transcript.bytes();
        let end = match (self.compacting, self.state) {
            (Some(compacting), _) => compacting.keep,
            (None, State::Receiving) => self.reply.mark,
            _ => return bytes,
        };
        bytes.get(..end).unwrap_or(bytes)
    }

    /// What this run may spend. May be changed at any time: a run that ended at a limit goes on
    /// when that is raised.
    pub const fn limits_mut(&mut self) -> &mut Limits {
        self.look_at_limits = Some(|run, now| run.look_at_limits(now));
        &mut self.limits
    }

    /// What this run may spend.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// When requests are sent again. May be changed at any time.
    pub const fn retry_mut(&mut self) -> &mut RetryPolicy {
        self.has_retry = true;
        &mut self.retry
    }

    /// Takes over the limits and the retry policy of `config`. Neither replaces what was set on
    /// this run before, by [`limits_mut`](Self::limits_mut), [`retry_mut`](Self::retry_mut) or an
    /// earlier call of this. A [`Driver`](crate::drive::Driver) calls it before the first step.
    pub const fn configure(&mut self, config: &Config<'_>) {
        if self.look_at_limits.is_none() {
            *self.limits_mut() = config.limits;
        }
        if !self.has_retry {
            *self.retry_mut() = config.retry;
        }
    }

    /// Replies of the model since the last prompt.
    pub const fn turns(&self) -> u32 {
        self.turns
    }

    /// Failed tries of the request under way.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Tokens of all turns of this run, over all prompts.
    pub const fn usage(&self) -> Usage {
        self.usage
    }

    /// Tokens of the last turn.
    pub const fn turn_usage(&self) -> Usage {
        self.reply.usage
    }

    /// Why the last turn ended.
    pub const fn stop_reason(&self) -> Option<StopReason> {
        self.reply.stop
    }

    /// The container that a reply named first; it goes with every request from then on, unless the
    /// caller pinned one.
    pub fn container(&self) -> Option<&str> {
        (!self.container.is_empty()).then_some(self.container.as_str())
    }

    /// A copy of the [`container`](Self::container).
    pub fn container_copy(&self) -> Option<Container> {
        (!self.container.is_empty()).then(|| self.container.clone())
    }

    /// Adds to the front of the next request what the run knows: the
    /// [container](Self::container), and whether the request asks the server to compact, which
    /// leaves members out.
    pub fn complete<'a>(&'a self, front: Front<'a>) -> Front<'a> {
        front.with(self.container(), self.compaction_rules())
    }

    /// Whether the reply under way is whole; what is left of its body does not matter.
    pub const fn reply_is_whole(&self) -> bool {
        !matches!(self.state, State::Receiving | State::ErrorBody)
    }

    /// Why the run is over, as far as is known before the next [`step`](Self::step), which looks at
    /// the limits; nothing if it goes on.
    pub const fn outcome(&self) -> Option<Outcome> {
        match self.state {
            State::Done(outcome) => Some(outcome),
            _ => None,
        }
    }

    /// Whether the turn's calls are what comes next.
    pub fn is_calling(&self) -> bool {
        self.state == State::Calling
    }

    /// The id of the last reply, as its head had it.
    pub fn request_id(&self) -> &str {
        &self.head.request_id
    }

    /// The model's last message, if it is the last thing that was said but for its results and what
    /// was appended. Blocks that the API would refuse, such as an empty text, are in it until
    /// something is written: then it is what the conversation has of it.
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

    /// What is to be done. Time passes only by this argument.
    ///
    /// # Errors
    /// `Misuse` if there is nothing to send; `Capacity` if not even the shortest answers to the
    /// turn's calls fit: then the reply was taken back, and the run would ask for it again; but if
    /// a call of it was answered already, or began, it stays, and the run can go on from its
    /// [`snapshot`](Self::snapshot) in more memory.
    pub fn step(&mut self, now: Instant) -> Result<Step, Error> {
        loop {
            match self.state {
                State::Waiting(until) => {
                    // Nobody waits for what the time limit would forbid.
                    let until = self.deadline().map_or(until, |end| until.min(end));
                    if now < until {
                        return Ok(Step::Wait(until));
                    }
                    self.state = State::Ready;
                }
                State::Receiving | State::ErrorBody => return Ok(Step::Receive),
                State::Sending => return Ok(self.send(now)),
                State::Ready => {
                    #[cfg(feature = "alloc")]
                    if let Some(until) = self.early.take_pause() {
                        self.state = State::Waiting(until);
                        continue;
                    }
                    if self.transcript.is_empty() {
                        return Err(Misuse::NoMessages.into());
                    }
                    if self.compacting.is_some() {
                        return Ok(self.send(now));
                    }
                    // A paused turn goes back as it is, unless some of its calls began early or
                    // were answered by the caller, or something was said behind it. One of the
                    // caller's own history is not known to be paused.
                    if self.turn.is_given
                        || self.turn.answered_count() > 0
                        || self.turn.is_running()
                        || self.transcript.len() > self.turn.results_end
                    {
                        self.close_open_calls()?;
                    }
                    self.ensure_prefill()?;
                    match self.exceeded(now) {
                        Some(limit) => self.state = State::Done(Outcome::Limit(limit)),
                        None if self.begin_server_compaction()
                            || self.begin_compaction()
                            || self.make_room.is_none_or(|make_room| make_room(self)) =>
                        {
                            return Ok(self.send(now));
                        }
                        None => self.state = State::Done(Outcome::Limit(Limit::Transcript)),
                    }
                }
                State::Calling => {
                    if let Some(limit) = self.exceeded(now) {
                        self.state = State::Done(Outcome::Limit(limit));
                    } else if self.begin_compaction() {
                        return Ok(self.send(now));
                    } else if !self.open_calls()? {
                        self.state = State::Ready;
                    } else if self.state == State::Calling {
                        return Ok(Step::Call);
                    }
                }
                State::Done(Outcome::Limit(Limit::Transcript)) if self.lacks_room() => {
                    return Ok(Step::Done(Outcome::Limit(Limit::Transcript)));
                }
                State::Done(Outcome::Limit(limit)) if self.exceeded(now) != Some(limit) => {
                    self.state = if self.turn.is_calling() { State::Calling } else { State::Ready };
                }
                State::Done(outcome) => {
                    if matches!(outcome, Outcome::Ended(_)) && self.begin_server_compaction() {
                        return Ok(self.send(now));
                    }
                    return Ok(Step::Done(outcome));
                }
            }
        }
    }

    fn send(&mut self, now: Instant) -> Step {
        self.started.get_or_insert(now);
        self.state = State::Sending;
        self.handed_on = false;
        #[cfg(feature = "alloc")]
        self.early.begin_reply();
        self.failure = Span::default();
        self.said = Place::NONE;
        self.reply = Reply::new(self.transcript.len());
        Step::Send
    }

    /// When [`Limits::time`] ends the run; nothing if it does not, or nothing was sent yet.
    pub fn deadline(&self) -> Option<Instant> {
        Some(self.started?.after(self.limits.time?))
    }

    /// Whether no limit forbids that the run goes on.
    pub fn is_within_limits(&self, now: Instant) -> bool {
        self.exceeded(now).is_none()
    }

    /// The limit that forbids another request, if one does.
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
