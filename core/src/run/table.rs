//! All transitions of a run, and the only place that changes its state. A run that is restored from
//! a snapshot begins in the stored state.
//!
//! A row is an [`Input`], a column is the [`State`] in which it occurs, and a cell is the state
//! that follows. `=` means that the state stays. `·` means that the input is refused: nothing
//! changes, and a verb of the caller returns [`Misuse`].
//!
//! ```text
//!                   Re Se Rc Er Wa Ca │ Br En Li Ne St Th
//! Request           Se =  ·  ·  ·  Se │ ·  Se ·  ·  ·  ·
//! Head, success     ·  Rc ·  ·  ·  ·  │ ·  ·  ·  ·  ·  ·
//! Head, error       ·  Er ·  ·  ·  ·  │ ·  ·  ·  ·  ·  ·
//! Reply, calls      ·  ·  Ca ·  ·  ·  │ ·  ·  ·  ·  ·  ·
//! Reply, pause      ·  ·  Re ·  ·  ·  │ ·  ·  ·  ·  ·  ·
//! Reply, end        ·  ·  En ·  ·  ·  │ ·  ·  ·  ·  ·  ·
//! KeptBlocks        ·  ·  Br ·  ·  ·  │ ·  ·  ·  ·  ·  ·
//! KeptCalls         ·  ·  Ca ·  ·  ·  │ ·  ·  ·  ·  ·  ·
//! Failure           ·  Re Re Re ·  ·  │ ·  ·  ·  ·  ·  ·
//! Backoff           Wa Wa Wa Wa ·  ·  │ ·  ·  ·  ·  ·  ·
//! TimeOver          ·  ·  ·  ·  Re ·  │ ·  ·  ·  ·  ·  ·
//! NoCall            ·  ·  ·  ·  ·  Re │ ·  ·  ·  ·  ·  ·
//! OnlyForCaller     ·  ·  ·  ·  ·  Ne │ ·  ·  ·  ·  ·  ·
//! ForTools          =  =  =  =  =  =  │ =  =  =  Ca =  =
//! Limit             Li ·  ·  ·  ·  Li │ ·  ·  ·  ·  ·  ·
//! NoLimit, calls    ·  ·  ·  ·  ·  ·  │ ·  ·  Ca ·  ·  ·
//! NoLimit           ·  ·  ·  ·  ·  ·  │ ·  ·  Re ·  ·  ·
//! ThreadLost        Th Th Th Th ·  ·  │ ·  ·  ·  ·  ·  ·
//! Summary, calls    Ca Ca Ca Ca Ca ·  │ ·  ·  ·  ·  ·  ·
//! Summary, request  =  Re Re Re Re ·  │ ·  ·  ·  ·  ·  ·
//! Summary, end      En En En En En ·  │ ·  ·  ·  ·  ·  ·
//! Prompt            =  ·  ·  ·  Re Re │ Re Re Re Re Re Re
//! Append            =  ·  ·  ·  =  =  │ Re Re =  =  Re =
//! AskAgain          =  ·  ·  ·  Re Re │ Re Re Re Re Re Re
//! Resume, calls     =  =  =  =  =  =  │ Ca =  =  =  Ca =
//! Resume            =  =  =  =  =  =  │ Re =  =  =  Re =
//! Stop              St St St St St St │ =  =  St St =  =
//! ```
//! The columns are `Ready`, `Sending`, `Receiving`, `ErrorBody`, `Waiting` and `Calling`, then
//! `Done` with each outcome: `Broken`, `Ended`, `Limit`, `NeedsAnswer`, `Stopped` and `ThreadLost`.
//!
//! What the stop reason of a reply asks for: `Answers` (a reply without calls ends the run),
//! `Resend` (the pause of the table), or the outcome with which the run ends.
//!
//! ```text
//! compaction                     Resend
//! end_turn                       En
//! max_tokens                     En
//! model_context_window_exceeded  En
//! pause_turn                     Resend
//! refusal                        En
//! stop_sequence                  En
//! tool_use                       Answers
//! unknown                        En
//! ```
//! A test prints both tables from the code and compares them with these.

use super::state::{Outcome, Verb};
use crate::error::{Error, Misuse};
use crate::message::StopReason;
use crate::policy::Limit;
use crate::time::Instant;

/// The state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The calls of the last turn must be answered.
    Calling,
    Done(Outcome),
    /// The body of an error reply is being received.
    ErrorBody,
    /// The next request can be sent.
    Ready,
    Receiving,
    Sending,
    /// The next request is not sent before [`Machine::until`].
    Waiting,
}

impl State {
    /// Returns whether a request or its reply is in progress. The caller can say nothing then.
    pub(super) const fn is_in_progress(self) -> bool {
        match self {
            Self::Sending | Self::Receiving | Self::ErrorBody => true,
            Self::Ready | Self::Waiting | Self::Calling | Self::Done(_) => false,
        }
    }
}

/// What changes the state of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// The caller appended a message as JSON.
    Append,
    /// The last reply was removed, to be requested again.
    AskAgain,
    /// The next request is not sent before an instant: see [`Machine::wait`].
    Backoff,
    /// The request or its reply failed or was abandoned.
    Failure,
    /// A call that the caller was to answer was answered, or given to the tools.
    ForTools,
    /// The head of a reply arrived, with a status that reports success or an error.
    Head { is_success: bool },
    /// The reply broke off, and its complete blocks were kept.
    KeptBlocks,
    /// The reply broke off after one of its calls had started, and was kept up to there.
    #[cfg_attr(
        not(any(test, feature = "alloc")),
        expect(dead_code, reason = "no call starts early")
    )]
    KeptCalls,
    /// A limit forbids the next request or call.
    Limit(Limit),
    /// No call of the turn needs an answer any more.
    NoCall,
    /// The limit that ended the run no longer forbids anything. `calls`: whether calls wait.
    NoLimit { calls: bool },
    /// All calls without an answer wait for the caller.
    OnlyForCaller,
    /// The caller started a new prompt.
    Prompt,
    /// A reply is complete. `calls`: whether it has calls that need an answer.
    Reply { stop: Option<StopReason>, calls: bool },
    /// A request is about to be sent.
    Request,
    /// The caller continues the run. `calls`: whether calls wait.
    Resume { calls: bool },
    /// The caller stopped the run.
    Stop,
    /// A summary succeeded, failed or was abandoned, and the run continues with this.
    Summary(AfterSummary),
    /// The server lost the thread that contained messages which were freed here.
    ThreadLost,
    /// The time to wait is over.
    TimeOver,
}

/// What a run continues with after a summary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterSummary {
    /// The calls of the last turn.
    Calls,
    /// The run was over, with this outcome, and is so again.
    End(Outcome),
    /// The next request.
    Request,
}

impl AfterSummary {
    /// Returns what a run was about to do in the state in which a summary begins.
    pub(super) const fn of(state: State) -> Self {
        match state {
            State::Calling => Self::Calls,
            State::Done(outcome) => Self::End(outcome),
            State::Ready
            | State::Sending
            | State::Receiving
            | State::ErrorBody
            | State::Waiting => Self::Request,
        }
    }
}

/// What the stop reason of a complete reply asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// The calls of the reply are answered, and the results are sent.
    Answers,
    /// The run is over, with this outcome.
    End(Outcome),
    /// The reply is sent back unchanged, and the model continues it.
    Resend,
}

impl Wish {
    pub(super) const fn of(stop: Option<StopReason>) -> Self {
        match stop {
            Some(StopReason::ToolUse) => Self::Answers,
            Some(StopReason::Compaction | StopReason::PauseTurn) => Self::Resend,
            None
            | Some(
                StopReason::EndTurn
                | StopReason::MaxTokens
                | StopReason::ModelContextWindowExceeded
                | StopReason::Refusal
                | StopReason::StopSequence
                | StopReason::Unknown,
            ) => Self::End(Outcome::Ended(stop)),
        }
    }
}

/// Returns the outcome of a run that is over after a reply with this stop reason.
#[cfg(feature = "alloc")]
pub const fn outcome_of(stop: Option<StopReason>) -> Outcome {
    match Wish::of(stop) {
        Wish::End(outcome) => outcome,
        Wish::Answers | Wish::Resend => Outcome::Ended(stop),
    }
}

/// An input is not possible in the current state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TransitionError;

impl From<TransitionError> for Error {
    #[cold]
    #[cfg_attr(target_os = "none", inline(never))]
    fn from(_: TransitionError) -> Self {
        Misuse::State("a request is in progress: finish it, or stop the run").into()
    }
}

/// The state that follows `state` after `input`.
// No wildcard: a new state or input does not compile until each of its cells is decided.
#[rustfmt::skip]
pub(super) const fn next(state: State, input: Input) -> Result<State, TransitionError> {
    use State::{Calling, Done, ErrorBody, Ready, Receiving, Sending, Waiting};
    Ok(match input {
        Input::Request => match state {
            Ready | Sending | Calling => Sending,
            Done(outcome) if outcome.continues_on(Verb::Compact) => Sending,
            Receiving | ErrorBody | Waiting | Done(_) => return Err(TransitionError),
        },
        Input::Head { is_success } => match state {
            Sending => if is_success { Receiving } else { ErrorBody },
            Ready | Receiving | ErrorBody | Waiting | Calling | Done(_) => return Err(TransitionError),
        },
        Input::Reply { stop, calls } => match state {
            Receiving => match Wish::of(stop) {
                Wish::Answers => if calls { Calling } else { Done(Outcome::Ended(stop)) },
                Wish::Resend => Ready,
                Wish::End(outcome) => Done(outcome),
            },
            Ready | Sending | ErrorBody | Waiting | Calling | Done(_) => return Err(TransitionError),
        },
        Input::KeptBlocks => match state {
            Receiving => Done(Outcome::Broken),
            Ready | Sending | ErrorBody | Waiting | Calling | Done(_) => return Err(TransitionError),
        },
        Input::KeptCalls => match state {
            Receiving => Calling,
            Ready | Sending | ErrorBody | Waiting | Calling | Done(_) => return Err(TransitionError),
        },
        Input::Failure => match state {
            Sending | Receiving | ErrorBody => Ready,
            Ready | Waiting | Calling | Done(_) => return Err(TransitionError),
        },
        Input::Backoff => match state {
            Ready | Sending | Receiving | ErrorBody => Waiting,
            Waiting | Calling | Done(_) => return Err(TransitionError),
        },
        Input::TimeOver => match state {
            Waiting => Ready,
            Ready | Sending | Receiving | ErrorBody | Calling | Done(_) => return Err(TransitionError),
        },
        Input::NoCall => match state {
            Calling => Ready,
            Ready | Sending | Receiving | ErrorBody | Waiting | Done(_) => return Err(TransitionError),
        },
        Input::OnlyForCaller => match state {
            Calling => Done(Outcome::NeedsAnswer),
            Ready | Sending | Receiving | ErrorBody | Waiting | Done(_) => return Err(TransitionError),
        },
        Input::ForTools => match state {
            Done(outcome) if outcome.continues_on(Verb::Answer) => Calling,
            Ready | Sending | Receiving | ErrorBody | Waiting | Calling | Done(_) => state,
        },
        Input::Limit(limit) => match state {
            Ready | Calling => Done(Outcome::Limit(limit)),
            Sending | Receiving | ErrorBody | Waiting | Done(_) => return Err(TransitionError),
        },
        Input::NoLimit { calls } => match state {
            Done(outcome) if outcome.continues_on(Verb::RaiseLimit) => open(calls),
            Ready | Sending | Receiving | ErrorBody | Waiting | Calling | Done(_) => return Err(TransitionError),
        },
        Input::ThreadLost => match state {
            Ready | Sending | Receiving | ErrorBody => Done(Outcome::ThreadLost),
            Waiting | Calling | Done(_) => return Err(TransitionError),
        },
        Input::Summary(then) => match state {
            Ready | Sending | Receiving | ErrorBody | Waiting => match then {
                AfterSummary::Calls => Calling,
                AfterSummary::Request => Ready,
                AfterSummary::End(outcome) => Done(outcome),
            },
            Calling | Done(_) => return Err(TransitionError),
        },
        Input::Prompt | Input::AskAgain => match state {
            Ready | Waiting | Calling | Done(_) => Ready,
            Sending | Receiving | ErrorBody => return Err(TransitionError),
        },
        Input::Append => match state {
            Done(outcome) if outcome.continues_on(Verb::Append) => Ready,
            Ready | Waiting | Calling | Done(_) => state,
            Sending | Receiving | ErrorBody => return Err(TransitionError),
        },
        Input::Resume { calls } => match state {
            Done(outcome) if outcome.continues_on(Verb::Resume) => open(calls),
            Ready | Sending | Receiving | ErrorBody | Waiting | Calling | Done(_) => state,
        },
        Input::Stop => match state {
            Done(outcome) if !outcome.continues_on(Verb::Stop) => state,
            Ready | Sending | Receiving | ErrorBody | Waiting | Calling | Done(_) => Done(Outcome::Stopped),
        },
    })
}

/// The state of a run that continues where it was.
const fn open(calls: bool) -> State {
    if calls { State::Calling } else { State::Ready }
}

/// The current state. Only [`go`](Self::go) changes it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Machine {
    state: State,
    // Beside the state, so that a state fits into a register.
    until: Instant,
}

impl Machine {
    /// Starts in this state: that of a new run, or of a snapshot.
    pub(super) const fn at(state: State) -> Self {
        Self { state, until: Instant::ZERO }
    }

    pub(super) const fn state(&self) -> State {
        self.state
    }

    /// Returns when the wait of [`State::Waiting`] ends.
    pub(super) const fn until(&self) -> Instant {
        self.until
    }

    /// Waits until this instant before the next request.
    ///
    /// # Errors
    /// `TransitionError` if the current state has nothing to wait for.
    pub(super) fn wait(&mut self, until: Instant) -> Result<(), TransitionError> {
        self.go(Input::Backoff)?;
        self.until = until;
        Ok(())
    }

    /// Changes the state.
    ///
    /// # Errors
    /// `TransitionError` if the input is not possible in the current state, which then stays.
    // Not inlined, because there are many callers.
    #[inline(never)]
    pub(super) fn go(&mut self, input: Input) -> Result<(), TransitionError> {
        self.state = next(self.state, input)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
