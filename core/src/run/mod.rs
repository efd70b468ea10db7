//! The loop as a state machine without I/O: it decides what to do next, and its driver reports what
//! happened.
//!
//! ```text
//!       step(): Send        head_arrived(2xx)            the whole reply has calls
//! ┌───────┐ ─────────▶ ┌─────────┐ ─────────▶ ┌───────────┐ ─────────────▶ ┌─────────┐ step(): Call
//! │ Ready │            │ Sending │            │ Receiving │                │ Calling │ answer()
//! └───────┘            └─────────┘            └───────────┘                └─────────┘
//!   ▲ ▲ ▲ ▲              │     │ another status     │ │ │ any other whole reply │ │ a call waits for the caller,
//!   │ │ │ │              │     ▼                    │ │ ▼                       │ ▼ a limit, stop()
//!   │ │ │ │              │   ┌───────────┐          │ │ ┌────────────────────────────┐
//!   │ │ │ │              │   │ ErrorBody │          │ │ │            Done            │ step(): Done(outcome)
//!   │ │ │ │              │   └───────────┘          │ │ └────────────────────────────┘
//!   │ │ │ │              └─────────┴── failed() ────┘ │   ▲          │
//!   │ │ │ │    no retry is left │       │ one is left │   │ a limit, │ user(), append(), resume(), ask_again(),
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
//! use toolrunner_core::run::{Outcome, Run, Step, ToolAnswer};
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
//! let front = b"{\"model\":\"m\",\"max_tokens\":9,\"messages\":[";
//! let body: Vec<u8> = run.body(&[front]).pieces().flatten().copied().collect();
//! assert!(body.ends_with(br#"[{"role":"user","content":"What is 15 + 27?"}]}"#));
//!
//! // The reply comes, in any pieces.
//! run.head_arrived(&ReplyHead::new(200));
//! let reply = br#"{"content":[{"type":"tool_use","id":"t1","name":"sum",
//!     "input":{"a":15,"b":27}}],"stop_reason":"tool_use"}"#;
//! for piece in reply.chunks(10) {
//!     let mut piece = piece;
//!     while let Some(happened) = run.feed(&mut piece)? { let _event = run.mark_shown(happened); }
//! }
//! while let Some(happened) = run.end_of_body()? { let _event = run.mark_shown(happened); }
//!
//! // The model asked for a tool.
//! assert_eq!(run.step(now)?, Step::Call);
//! let call = run.next_call().unwrap();
//! assert_eq!(run.call(call).unwrap().input.to_string(), r#"{"a":15,"b":27}"#);
//! run.answer(call, ToolAnswer::ok("42"))?;
//!
//! // All answered: the results go out.
//! assert_eq!(run.step(now)?, Step::Send);
//! run.head_arrived(&ReplyHead::new(200));
//! let mut reply = &br#"{"content":[{"type":"text","text":"42."}],"stop_reason":"end_turn"}"#[..];
//! while let Some(_) = run.feed(&mut reply)? {}
//! while let Some(_) = run.end_of_body()? {}
//! assert_eq!(run.step(now)?, Step::Done(Outcome::Ended(Some(StopReason::EndTurn))));
//! # Ok::<(), toolrunner_core::error::Error>(())
//! ```

mod answer;
mod broken;
mod call_index;
mod calls;
pub(crate) mod cap;
mod compact;
#[cfg(feature = "alloc")]
mod early;
mod edit;
mod exchange;
mod extras;
mod given;
mod keep;
mod ledger;
mod marks;
#[cfg(feature = "alloc")]
pub(crate) mod options;
mod replace;
mod results;
mod room;
mod settings;
mod snapshot;
mod splice;
mod started;
mod state;
mod step;
pub(crate) mod table;
mod thread;
#[cfg(feature = "alloc")]
mod tool_changes;
#[cfg(feature = "alloc")]
mod toolset_order;
mod turns;
mod unique;
mod verbs;
mod withdrawn;

use crate::json::Value;
use crate::message::{Message, StopReason, Usage};
#[cfg(feature = "alloc")]
use crate::message::{Messages, Role};
use crate::transcript::Transcript;
use crate::turn::{Container, Reply};
use crate::wire::Front;

pub use crate::turn::StreamEvent;
pub use answer::ToolAnswer;
pub use broken::OnBreak;
pub use call_index::CallIndex;
pub use calls::{Call, CallInFlight, WrittenResult};
#[cfg(feature = "alloc")]
pub(crate) use cap::cap_content;
pub use compact::Compaction;
use compact::Summary;
pub use exchange::ApiErrorText;
use exchange::Exchange;
use ledger::Ledger;
pub use room::{MakeRoom, WhenFull};
use settings::Settings;
use state::{CallStates, Turn};
pub use state::{Outcome, Step};
use table::{Machine, State};

use crate::history::MAX_CALLS;
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
/// [`is_calling`](Self::is_calling), [`is_exchanging`](Self::is_exchanging).
///
/// **Send** a request and **feed** its reply, after [`Step::Send`] and [`Step::Receive`]:
/// [`complete`](Self::complete), [`note_front`](Self::note_front) and [`body`](Self::body) for the
/// request, with [`note_thread_front`](Self::note_thread_front), [`thread_beta`](Self::thread_beta)
/// and [`thread_continuation`](Self::thread_continuation) if it has a thread;
/// [`head_arrived`](Self::head_arrived), [`feed`](Self::feed),
/// [`end_of_body`](Self::end_of_body), [`reply_is_whole`](Self::reply_is_whole),
/// [`is_receiving_error`](Self::is_receiving_error), [`failed`](Self::failed) and
/// [`abandoned`](Self::abandoned) for the reply; [`mark_shown`](Self::mark_shown),
/// [`peek`](Self::peek) and [`tool_end`](Self::tool_end) for an observer.
///
/// **Answer** the calls of a turn, after [`Step::Call`]: [`call`](Self::call),
/// [`has_call`](Self::has_call) and [`is_withdrawn`](Self::is_withdrawn) to decide;
/// [`refuse_bad_input`](Self::refuse_bad_input), [`answer_not_found`](Self::answer_not_found) and [`answer_notice`](Self::answer_notice) to
/// answer without a tool; [`start_in_place`](Self::start_in_place) and
/// [`end_in_place`](Self::end_in_place) to run a tool in the run's memory (with `alloc`,
/// `waits_for_member` and `is_after_failed_member` order the members of a toolset);
/// [`mark_started`](Self::mark_started), [`answer`](Self::answer),
/// [`answer_checked`](Self::answer_checked) and [`answer_written`](Self::answer_written) to run it
/// elsewhere; [`leave_to_caller`](Self::leave_to_caller), [`allow`](Self::allow),
/// [`is_allowed`](Self::is_allowed) and [`give_to_tools`](Self::give_to_tools) to wait for a
/// person; with `alloc`, `early_calls`, `early_call`, `is_withdrawn_early`, `has_earlier_member`,
/// `mark_started_early` and `has_started_early` to start a call before its reply is complete.
///
/// **Edit** results before they are sent: [`cap_result`](Self::cap_result),
/// [`replace_result`](Self::replace_result), [`add_to_result`](Self::add_to_result); after they
/// were sent, [`replace_result_of`](Self::replace_result_of).
///
/// **Say** something as the caller, between requests: [`user`](Self::user),
/// [`append`](Self::append), [`prompt_json`](Self::prompt_json),
/// [`ask_again`](Self::ask_again), [`clear`](Self::clear),
/// [`replace_history`](Self::replace_history),
/// [`close_open_calls`](Self::close_open_calls), [`drop_oldest_turn`](Self::drop_oldest_turn); at
/// any time: [`stop`](Self::stop), [`resume`](Self::resume),
/// [`compact_on_server`](Self::compact_on_server), and with `alloc` `add_tool`, `remove_tool` and
/// `has_tool_changes`. [`takes_messages`](Self::takes_messages) is for messages that arrive while
/// the run works.
///
/// **Set** how the run behaves: [`configure`](Self::configure), [`limits_mut`](Self::limits_mut),
/// [`retry_policy_mut`](Self::retry_policy_mut), [`set_on_break`](Self::set_on_break),
/// [`when_full_mut`](Self::when_full_mut), [`compaction_mut`](Self::compaction_mut),
/// [`set_unique_ids`](Self::set_unique_ids), [`set_message_thread`](Self::set_message_thread),
/// [`leave_message_thread`](Self::leave_message_thread).
///
/// **Look** at the conversation and the counters: [`messages`](Self::messages),
/// [`transcript`](Self::transcript), `conversation` (with `alloc`),
/// [`last_message`](Self::last_message), [`cut_reply`](Self::cut_reply),
/// [`stop_reason`](Self::stop_reason), [`request_id`](Self::request_id); [`calls`](Self::calls),
/// [`is_pending`](Self::is_pending), [`is_running`](Self::is_running),
/// [`running_call`](Self::running_call), [`is_answered`](Self::is_answered),
/// [`is_for_caller`](Self::is_for_caller), [`results`](Self::results), [`result`](Self::result);
/// [`turns`](Self::turns), [`attempt`](Self::attempt), [`usage`](Self::usage),
/// [`turn_usage`](Self::turn_usage), [`limits`](Self::limits); [`api_error`](Self::api_error),
/// [`error_body`](Self::error_body); [`container`](Self::container),
/// [`container_copy`](Self::container_copy); [`is_compacting`](Self::is_compacting),
/// [`is_compacting_on_server`](Self::is_compacting_on_server),
/// [`compaction_rules`](Self::compaction_rules), [`compactions`](Self::compactions),
/// [`rejected_summary`](Self::rejected_summary);
/// [`message_thread`](Self::message_thread), [`thread_id`](Self::thread_id),
/// [`has_freed_messages`](Self::has_freed_messages).
///
/// **Create and store** a run: [`new`](Self::new), [`snapshot`](Self::snapshot),
/// [`snapshot_into`](Self::snapshot_into), [`from_snapshot`](Self::from_snapshot); with `alloc`,
/// `shrink_to_fit`.
///
/// # Examples
///
/// ```
/// use toolrunner_core::run::{Run, Step, ToolAnswer};
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
/// run.head_arrived(&ReplyHead::new(200));
/// let mut reply = &br#"{"content":[{"type":"tool_use","id":"t1","name":"door","input":{}}],
///     "usage":{"input_tokens":9,"output_tokens":4},"stop_reason":"tool_use"}"#[..];
/// while run.feed(&mut reply)?.is_some() {}
/// while run.end_of_body()?.is_some() {}
///
/// // Answer the calls, and edit a result.
/// assert_eq!(run.step(Instant::ZERO)?, Step::Call);
/// let call = run.next_call().unwrap();
/// run.answer(call, ToolAnswer::ok("open"))?;
/// run.replace_result(call, ToolAnswer::ok("closed"))?;
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
    settings: Settings,
    ledger: Ledger,
    exchange: Exchange,
    /// The reply that is being received, or the last one.
    reply: Reply,
    /// The last complete turn.
    turn: Turn,
    /// The calls that started before their reply was complete.
    #[cfg(feature = "alloc")]
    early: early::Early,
    summary: Summary,
    container: Container,
    /// The changes of the tools.
    changes: withdrawn::Changes,
    marks: marks::Marks,
    /// The conversation on the server.
    thread: thread::Thread,
    /// Whether the last message from the caller ended with a text that the model cannot continue.
    /// Other messages may follow it by now.
    unfit_prefill: bool,
}

impl Run<'_> {
    /// The maximum number of calls in one turn.
    pub const MAX_CALLS: usize = MAX_CALLS;
}

impl<'b> Run<'b> {
    /// Creates a run over `transcript`, which may already hold a conversation.
    // Not inlined: the run is built in place. Inlined, the caller's stack frame would hold a second
    // copy of it.
    #[inline(never)]
    pub fn new(transcript: Transcript<'b>) -> Self {
        Self {
            machine: Machine::at(State::Ready),
            settings: Settings::new(),
            ledger: Ledger::NEW,
            exchange: Exchange::new(),
            reply: Reply::new(transcript.len()),
            turn: Turn::none(transcript.len()),
            #[cfg(feature = "alloc")]
            early: early::Early::default(),
            summary: Summary::new(),
            container: Container::new(),
            changes: withdrawn::Changes::default(),
            marks: marks::Marks::NONE,
            thread: thread::Thread::NONE,
            unfit_prefill: false,
            transcript,
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
        let end = match (self.summary.current, self.machine.state()) {
            (Some(compacting), _) => compacting.keep,
            (None, State::Receiving) => self.reply.mark,
            _ => return bytes,
        };
        bytes.get(..end).unwrap_or(bytes)
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
    pub fn container_copy(&self) -> Option<impl core::ops::Deref<Target = str> + use<>> {
        (!self.container.is_empty()).then(|| self.container.clone())
    }

    /// Adds to the front of the next request what the run knows: the [container](Self::container),
    /// and whether the request asks the server to compact or continues a
    /// [message thread](Self::set_message_thread), which omits some members.
    pub fn complete<'a>(&'a self, front: Front<'a>) -> Front<'a> {
        front.with(self.container(), self.compaction_rules()).continuing(self.thread_continuation())
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
    pub const fn is_calling(&self) -> bool {
        matches!(self.machine.state(), State::Calling)
    }

    /// Returns the model's last message, if only its results and appended messages follow it.
    /// Blocks that the API would refuse, such as an empty text, are included until the next write
    /// to the transcript. After that, this is the message as the conversation contains it.
    pub fn last_message(&self) -> Option<Message<'_>> {
        #[cfg(feature = "alloc")]
        if self.has_started_early() {
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
}
