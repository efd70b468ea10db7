//! The words for states, limits and stop reasons in a snapshot.

use super::NONE;
use crate::error::Error;
use crate::json::Value;
use crate::message::StopReason;
use crate::policy::Limit;
use crate::run::state::Outcome;
use crate::run::table::State;

/// A value that a snapshot stores as one word.
trait Word: Sized {
    fn word(self) -> &'static str;
    fn read(word: Value<'_>) -> Result<Self, Error>;
}

/// Defines the words for the values of a type. Each row is used as a pattern, to write, and as an
/// expression, to read: the two cannot differ, and a new value does not compile without a row.
macro_rules! words {
    ($type:ty { $($word:literal => ($($value:tt)+),)+ }) => {
        impl Word for $type {
            fn word(self) -> &'static str {
                match self { $($($value)+ => $word,)+ }
            }

            fn read(word: Value<'_>) -> Result<Self, Error> {
                $(if word.is_text($word) { return Ok($($value)+); })+
                Err(NONE)
            }
        }
    };
}

words!(Limit {
    "calls" => (Self::Calls),
    "input_tokens" => (Self::InputTokens),
    "output_tokens" => (Self::OutputTokens),
    "repeats" => (Self::Repeats),
    "time" => (Self::Time),
    "transcript" => (Self::Transcript),
    "turns" => (Self::Turns),
});

/// An empty word is `None`.
impl Word for Option<StopReason> {
    fn word(self) -> &'static str {
        self.map_or("", StopReason::name)
    }

    fn read(word: Value<'_>) -> Result<Self, Error> {
        let text = word.as_text().ok_or(NONE)?;
        Ok((!text.raw().is_empty()).then(|| StopReason::from_text(text)))
    }
}

/// Defines the words for the states, with a word for a detail. As in `words`, each row is a pattern
/// and an expression. The states after `or` are written like the one before it.
macro_rules! states {
    ($($word:literal $($detail:ident: $type:ty)? => ($($value:tt)+) $(or ($($same:tt)+))?,)+) => {
        /// Returns the words for a state and its detail.
        pub(super) fn words_of(state: State) -> (&'static str, &'static str) {
            match state {
                $($($value)+ => ($word, states!(@word $($detail)?)),
                $($($same)+ => ($word, ""),)?)+
            }
        }

        /// Returns the state that two words name.
        pub(super) fn state_of(word: Value<'_>, detail: Value<'_>) -> Result<State, Error> {
            $(if word.is_text($word) {
                $(let $detail = <$type>::read(detail)?;)?
                return Ok($($value)+);
            })+
            Err(NONE)
        }
    };
    (@word) => { "" };
    (@word $detail:ident) => { $detail.word() };
}

states! {
    "broken" => (State::Done(Outcome::Broken)),
    "calling" => (State::Calling),
    "ended" stop: Option<StopReason> => (State::Done(Outcome::Ended(stop))),
    "limit" limit: Limit => (State::Done(Outcome::Limit(limit))),
    "needs_answer" => (State::Done(Outcome::NeedsAnswer)),
    "ready" => (State::Ready)
        or (State::ErrorBody | State::Receiving | State::Sending | State::Waiting),
    "stopped" => (State::Done(Outcome::Stopped)),
    "thread_lost" => (State::Done(Outcome::ThreadLost)),
}

pub(super) fn stop_word(stop: Option<StopReason>) -> &'static str {
    stop.word()
}

pub(super) fn stop_of(word: Value<'_>) -> Result<Option<StopReason>, Error> {
    Word::read(word)
}
