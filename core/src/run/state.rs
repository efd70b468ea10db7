//! The state of a run, as data.

use super::CallIndex;
use crate::json::{Bits, IS_CHIP, Value};
use crate::message::StopReason;
use crate::policy::Limit;
use crate::time::Instant;
use crate::transcript::Span;
use crate::turn::BadInputs;

/// What a driver must do next. A driver handles every step, so the enum is exhaustive: adding a
/// step is a breaking change, and the compiler points it out in every driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
// As wide as the instant in it, because a chip would copy the unused bytes one by one.
#[repr(usize)]
pub enum Step {
    /// Answer the calls that [`Run::next_call`](super::Run::next_call) returns, then call
    /// [`Run::step`](super::Run::step) again.
    Call,
    /// Nothing: the run is over until the caller says something.
    Done(Outcome),
    /// Read the body of the reply and feed it. If the body no longer exists because it was dropped,
    /// call [`abandoned`](super::Run::abandoned).
    Receive,
    /// Send a request with [`Run::body`](super::Run::body).
    Send,
    /// Wait until this instant, then call [`Run::step`](super::Run::step) again.
    Wait(Instant),
}

/// The reason why a run is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
// For the same reason as in [`Step`].
#[repr(usize)]
pub enum Outcome {
    /// A reply broke off and its complete blocks were kept: see
    /// [`OnBreak::KeepBlocks`](super::OnBreak::KeepBlocks).
    Broken,
    /// The model stopped, for this reason; `None` if the server named none.
    Ended(Option<StopReason>),
    /// A limit was reached. Open calls stay pending, and run once if the limit is raised.
    Limit(Limit),
    /// The caller must answer a call, because no tool here does.
    NeedsAnswer,
    /// The caller stopped the run.
    Stopped,
    /// The server has lost the message thread, and a part of the conversation was
    /// [freed](crate::wire::MessageThread::Free), so that the request cannot be sent. The last
    /// reply and its results are still here. Continue with [`clear`](super::Run::clear) or
    /// [`replace_history`](super::Run::replace_history).
    ThreadLost,
}

/// What may continue a run that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// A call that waited for the caller was answered, or given to the tools.
    Answer,
    /// A message was appended. Calls that are still open are closed if this continues the run.
    Append,
    /// The caller requests again a reply without content, which is not in the conversation.
    AskAgainEmpty,
    /// The server is asked for a compaction.
    Compact,
    /// A message arrived while the run worked, which does not continue a run that was stopped.
    Inject,
    /// The limit that was reached was raised.
    RaiseLimit,
    /// The caller resumes the run. The conversation stays as it is, so a run whose last message is
    /// a complete reply must not continue: the API would take the reply as the beginning of the
    /// next one.
    Resume,
    /// The caller stops the run: its outcome changes.
    Stop,
}

impl Outcome {
    /// Returns whether a run that ended with this outcome continues after `verb`. A new prompt, and
    /// a new request for a reply in the conversation, continue every run.
    // No wildcard: a new outcome does not compile until it is decided what continues it.
    pub(super) const fn continues_on(self, verb: Verb) -> bool {
        use Verb::{Answer, Append, AskAgainEmpty, Compact, Inject, RaiseLimit, Resume, Stop};
        match self {
            Self::Broken => match verb {
                Append | Inject | Resume => true,
                Answer | Compact | RaiseLimit | AskAgainEmpty | Stop => false,
            },
            Self::Ended(_) => match verb {
                Append | Compact | Inject | AskAgainEmpty => true,
                Answer | RaiseLimit | Resume | Stop => false,
            },
            Self::Limit(_) => match verb {
                RaiseLimit | Stop => true,
                Answer | Append | Compact | Inject | Resume | AskAgainEmpty => false,
            },
            Self::NeedsAnswer => match verb {
                Answer | Stop => true,
                Append | Compact | Inject | RaiseLimit | Resume | AskAgainEmpty => false,
            },
            Self::Stopped => match verb {
                Append | Resume | Stop => true,
                Answer | Compact | Inject | RaiseLimit | AskAgainEmpty => false,
            },
            Self::ThreadLost => match verb {
                Answer | Append | Compact | Inject | RaiseLimit | Resume | AskAgainEmpty | Stop => {
                    false
                }
            },
        }
    }
}

/// Describes the outcome for people.
impl core::fmt::Display for Outcome {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Broken => f.write_str("a reply ended early and its complete blocks were kept"),
            Self::Ended(Some(reason)) => write!(f, "the model stopped: {reason}"),
            Self::Ended(None) => f.write_str("the model stopped without a reason"),
            Self::Limit(limit) => write!(f, "the limit of {limit} was reached"),
            Self::NeedsAnswer => f.write_str("a call waits for the caller's answer"),
            Self::Stopped => f.write_str("the caller stopped the run"),
            Self::ThreadLost => f.write_str("the server lost the message thread"),
        }
    }
}

/// The state of one call of a turn.
///
/// ```text
///  ┌──────┐  a tool starts   ┌─────────┐   answer   ┌──────────┐
///  │ Open │ ───────────────▶ │ Running │ ─────────▶ │ Answered │
///  └──────┘                  └─────────┘ ◀───────── └──────────┘
///   ▲    │                     │     ▲   its result      ▲
///   │    │ no tool here answers│     │   is taken out    │ answer
///   │    ▼                     ▼     │ a tool starts     │
///   │  ┌───────────────────────────────┐                 │
///   └─ │           ForCaller           │ ────────────────┘
///      └───────────────────────────────┘   (from Open too)
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallState {
    /// Neither started nor answered.
    Open,
    /// A tool has started. The call never starts again.
    Running,
    /// Left to the caller, because no tool here answers it.
    ForCaller,
    /// Answered: it has a result.
    Answered,
}

/// The states of a turn's calls, two bits each.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallStates([u32; 8]);

impl CallStates {
    pub(super) const COUNT: usize = 128;
    pub(super) const OPEN: Self = Self([0; 8]);

    // Not inlined on a chip, because there are many callers.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn get(&self, i: CallIndex) -> CallState {
        match self.0.get(i.0 / 16).map_or(0, |word| word >> (i.0 % 16 * 2) & 3) {
            0 => CallState::Open,
            1 => CallState::Running,
            2 => CallState::ForCaller,
            _ => CallState::Answered,
        }
    }

    pub(super) fn is(&self, i: CallIndex, state: CallState) -> bool {
        self.get(i) == state
    }

    /// Moves a call to another state, and returns whether its current state allows that.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn set(&mut self, i: CallIndex, to: CallState) -> bool {
        use CallState::{Answered, ForCaller, Open, Running};
        let allowed = match (self.get(i), to) {
            (Open | ForCaller, _) | (Running, Running | ForCaller | Answered) => true,
            // The result is removed to be written again. No tool runs for it.
            (Answered, Running | Answered) => true,
            (Running, Open) | (Answered, Open | ForCaller) => false,
        };
        if allowed && let Some(word) = self.0.get_mut(i.0 / 16) {
            let at = i.0 % 16 * 2;
            let bits = match to {
                Open => 0,
                Running => 1,
                ForCaller => 2,
                Answered => 3,
            };
            *word = *word & !(3 << at) | bits << at;
        }
        allowed
    }

    /// Returns the calls in this state.
    pub(super) fn in_state(&self, state: CallState) -> Bits<4> {
        let mut calls = Bits::NONE;
        for i in 0..Self::COUNT {
            calls.set(i, self.is(CallIndex(i), state));
        }
        calls
    }

    /// Moves these calls to this state.
    pub(super) fn set_all(&mut self, calls: Bits<4>, state: CallState) {
        for i in (0..Self::COUNT).filter(|&i| calls.has(i)) {
            self.set(CallIndex(i), state);
        }
    }
}

/// What follows a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sequel {
    /// Its calls run, and their results are sent, because its stop reason asks for it.
    Results,
    /// The turn is sent back unchanged, so that the model continues it. Its calls must not be
    /// answered. This is its stop reason: the reply that continues it has one of its own.
    Unchanged(StopReason),
    /// The turn is part of a history that the caller provided. Its calls without a result are
    /// answered before anything is sent.
    Given,
    /// The run is over, or there is no turn.
    Nothing,
}

/// The last complete reply and the state of its calls.
///
/// ```text
/// … ,{"role":"assistant",…} ,{"role":"user","content":[result, result]} ,appended …
///   mark start           end                                  results_end
/// ```
#[derive(Clone, Debug)]
pub(super) struct Turn {
    /// The length of the transcript before the message and before its comma.
    pub(super) mark: usize,
    /// The start of the message.
    pub(super) start: usize,
    /// The end of the message.
    pub(super) end: usize,
    /// The end of the message with the results, or `end` if there is none yet.
    pub(super) results_end: usize,
    /// The number of calls before the last `fallback` block. They need no answer.
    pub(super) first: usize,
    /// The number of all calls. Those in `first..calls` need an answer.
    pub(super) calls: usize,
    pub(super) states: CallStates,
    pub(super) bad: BadInputs,
    /// The calls that the caller allowed, so that no gate is asked about them.
    pub(super) allowed: Bits<4>,
    pub(super) sequel: Sequel,
    /// Whether space for the shortest answers was found.
    pub(super) has_room: bool,
    /// The positions of the first calls in the message. The other calls are searched for. Empty if
    /// the turn was not parsed here.
    pub(super) found: FoundCalls,
}

/// The positions of a turn's calls: of all calls if the transcript grows, otherwise of the first
/// two, and on a chip of none. There are no gaps.
#[derive(Clone, Debug)]
pub(super) struct FoundCalls {
    first: heapless::Vec<CallPlaces, { Self::FIRST }>,
    #[cfg(feature = "alloc")]
    rest: alloc::vec::Vec<CallPlaces>,
}

impl FoundCalls {
    /// The number of positions that are stored without a heap.
    const FIRST: usize = if IS_CHIP && !cfg!(feature = "alloc") { 0 } else { 2 };

    pub(super) const fn new() -> Self {
        Self {
            first: heapless::Vec::new(),
            #[cfg(feature = "alloc")]
            rest: alloc::vec::Vec::new(),
        }
    }

    /// Stores the position of call `i` and returns whether it did. `grows`: whether memory may be
    /// allocated for any number of calls.
    pub(super) fn note(&mut self, i: usize, place: CallPlaces, grows: bool) -> bool {
        if Self::FIRST == 0 || i != self.len() {
            return false;
        }
        if self.first.push(place).is_ok() {
            return true;
        }
        #[cfg(feature = "alloc")]
        if grows {
            self.rest.push(place);
        }
        grows
    }

    pub(super) fn len(&self) -> usize {
        #[cfg(feature = "alloc")]
        return self.first.len() + self.rest.len();
        #[cfg(not(feature = "alloc"))]
        if Self::FIRST == 0 { 0 } else { self.first.len() }
    }

    pub(super) fn get(&self, i: usize) -> Option<&CallPlaces> {
        #[cfg(feature = "alloc")]
        return self.first.get(i).or_else(|| self.rest.get(i.checked_sub(self.first.len())?));
        #[cfg(not(feature = "alloc"))]
        if Self::FIRST == 0 { None } else { self.first.get(i) }
    }

    #[cfg(feature = "alloc")]
    pub(super) fn iter(&self) -> impl Iterator<Item = &CallPlaces> {
        self.first.iter().chain(&self.rest)
    }
}

/// The positions of the parts of a call, relative to the start of the message.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallPlaces {
    pub(super) id: Place,
    pub(super) name: Place,
    pub(super) input: Place,
    /// Empty if the call does not belong to a toolset.
    pub(super) toolset: Place,
}

impl CallPlaces {
    /// Returns the positions of the id, the name, the input and the optional toolset of a call in
    /// `message`, or `None` if one of the first three is missing.
    pub(super) fn of(
        parts: [Value<'_>; 3],
        toolset: Option<Value<'_>>,
        message: &[u8],
    ) -> Option<Self> {
        let [id, name, input] = parts.map(|part| Place::of(part, message));
        let toolset = toolset
            .filter(|toolset| toolset.as_text().is_some())
            .and_then(|toolset| Place::of(toolset, message));
        Some(Self { id: id?, name: name?, input: input?, toolset: toolset.unwrap_or(Place::NONE) })
    }
}

/// A [`Span`] in half the memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    start: u32,
    end: u32,
}

impl Place {
    pub(super) const NONE: Self = Self { start: 0, end: 0 };

    /// Returns an empty place if the span does not fit in 32 bits.
    pub(super) fn at(span: Span) -> Self {
        match (u32::try_from(span.start), u32::try_from(span.end)) {
            (Ok(start), Ok(end)) => Self { start, end },
            _ => Self::NONE,
        }
    }

    pub(super) fn span(self) -> Span {
        let [start, end] =
            [self.start, self.end].map(|place| usize::try_from(place).unwrap_or(usize::MAX));
        Span::new(start, end)
    }

    /// Returns the position of `value` in `message`.
    pub(super) fn of(value: Value<'_>, message: &[u8]) -> Option<Self> {
        let start = value.offset_in(message)?;
        Some(Self {
            start: u32::try_from(start).ok()?,
            end: u32::try_from(start + value.raw().len()).ok()?,
        })
    }

    /// Returns the length of the string at this place, in bytes, without its quotes.
    pub(super) fn text_len(self) -> usize {
        usize::try_from(self.end.saturating_sub(self.start)).unwrap_or(usize::MAX).saturating_sub(2)
    }

    /// Returns the value at this place.
    pub(super) fn value(self, message: &[u8]) -> Option<Value<'_>> {
        Value::whole(self.span().of(message))
    }
}

impl Turn {
    pub(super) const fn none(at: usize) -> Self {
        Self {
            mark: at,
            start: at,
            end: at,
            results_end: at,
            first: 0,
            calls: 0,
            states: CallStates::OPEN,
            bad: BadInputs::NONE,
            allowed: Bits::NONE,
            sequel: Sequel::Nothing,
            has_room: false,
            found: FoundCalls::new(),
        }
    }

    /// Returns whether the turn's stop reason asks for its calls to run.
    pub(super) const fn runs(&self) -> bool {
        matches!(self.sequel, Sequel::Results)
    }

    /// Returns the stop reason of a turn that is sent back unchanged.
    pub(super) const fn sent_back(&self) -> Option<StopReason> {
        if let Sequel::Unchanged(stop) = self.sequel { Some(stop) } else { None }
    }

    /// Returns whether the server paused the turn, so that it must be the last message.
    pub(super) const fn is_paused(&self) -> bool {
        matches!(self.sequel, Sequel::Unchanged(StopReason::PauseTurn))
    }

    /// Makes this an empty turn at `at`, in place: a turn is too large for the stack of a chip.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn begin(&mut self, at: usize) {
        *self = Self::none(at);
    }

    pub(super) const fn span(&self) -> Span {
        Span::new(self.start, self.end)
    }

    /// Returns the bytes of the message.
    pub(super) fn message<'a>(&self, transcript: &'a [u8]) -> &'a [u8] {
        self.span().of(transcript)
    }

    /// Returns the calls that need an answer, whether or not they have one.
    pub(super) fn due(
        &self,
    ) -> impl DoubleEndedIterator<Item = CallIndex> + ExactSizeIterator + Clone + use<> {
        (self.first..self.calls).map(CallIndex)
    }

    /// Returns whether call `i` has a result.
    pub(super) fn is_answered(&self, i: CallIndex) -> bool {
        self.states.is(i, CallState::Answered)
    }

    /// Returns whether a call has no answer yet.
    pub(super) fn is_open(&self) -> bool {
        self.due().any(|i| !self.is_answered(i))
    }

    /// Returns whether calls must run or be answered before the next request.
    pub(super) fn is_calling(&self) -> bool {
        self.runs() && self.is_open()
    }

    /// Returns whether a tool has started whose call has no result yet.
    pub(super) fn is_running(&self) -> bool {
        (0..self.calls).any(|i| self.states.is(CallIndex(i), CallState::Running))
    }

    pub(super) fn open_count(&self) -> usize {
        self.due().filter(|&i| !self.is_answered(i)).count()
    }

    pub(super) fn answered_count(&self) -> usize {
        self.answered_before(CallIndex(self.calls))
    }

    /// Returns how many of the calls before `i` have a result.
    #[cfg_attr(target_os = "none", inline(never))]
    pub(super) fn answered_before(&self, i: CallIndex) -> usize {
        (0..i.0.min(CallStates::COUNT)).filter(|&i| self.is_answered(CallIndex(i))).count()
    }
}
