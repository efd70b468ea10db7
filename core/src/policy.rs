//! Retries and limits: when a request is sent again, how long to wait before that, and when a run
//! must end.

use core::time::Duration;

use crate::error::{ApiErrorKind, Error, Protocol};
use crate::time::micros;
use crate::transport::ReplyHead;

/// The limits of a run, counted from one prompt to the next. `None` means unlimited. When a limit
/// is reached, the run ends with an outcome that names it. The conversation is kept, and the run
/// can continue once the limit is raised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    /// The maximum number of model replies, including paused replies and replies that were
    /// requested again. With 0, nothing is sent.
    pub turns: Option<u32>,
    /// The maximum number of calls that are run or answered. Either all calls of a turn run, or
    /// none.
    pub calls: Option<u32>,
    /// The maximum number of input tokens, including caches, summed over the turns.
    pub input_tokens: Option<u64>,
    /// The maximum number of output tokens, summed over the turns.
    pub output_tokens: Option<u64>,
    /// The maximum time since the first request.
    pub time: Option<Duration>,
    /// The maximum number of turns in a row whose calls are identical in names and inputs.
    pub repeats: Option<u32>,
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self {
        turns: None,
        calls: None,
        input_tokens: None,
        output_tokens: None,
        time: None,
        repeats: None,
    };
}

/// The limit that ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Limit {
    /// The number of calls: [`Limits::calls`].
    Calls,
    /// The number of input tokens: [`Limits::input_tokens`].
    InputTokens,
    /// The number of output tokens: [`Limits::output_tokens`].
    OutputTokens,
    /// The number of identical turns in a row: [`Limits::repeats`].
    Repeats,
    /// The time since the first request: [`Limits::time`].
    Time,
    /// The transcript is nearly full, and no space could be freed: see
    /// [`WhenFull`](crate::run::WhenFull).
    Transcript,
    /// The number of model replies: [`Limits::turns`].
    Turns,
}

impl Limit {
    /// Returns what is limited, in words. Hidden: it is for the C interface, which has no
    /// `core::fmt`.
    #[doc(hidden)]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::InputTokens => "input tokens",
            Self::OutputTokens => "output tokens",
            Self::Repeats => "repeats",
            Self::Time => "time",
            Self::Transcript => "transcript",
            Self::Turns => "turns",
        }
    }
}

/// Writes what is limited, in words.
impl core::fmt::Display for Limit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.text())
    }
}

/// Determines when a failed request is sent again.
///
/// The reply's `x-should-retry` header takes precedence. Without it, a request is sent again after
/// the statuses 408, 409, 429 and 500 to 599, after a connection failure, and after a reply that
/// broke off or was not valid. An error in a reply with status 200 is retried if its type is
/// `overloaded_error`, `api_error`, `rate_limit_error` or `timeout_error`. A reply is not retried
/// after a part of it has been passed on and cannot be taken back. A reply that does not come from
/// the API at all is never retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RetryPolicy {
    /// The maximum number of further attempts after the first. Default: 2.
    pub retries: u32,
    /// The delay before the first retry if the server specifies none. It doubles with each retry.
    /// Default: 0.5 s.
    pub first_wait: Duration,
    /// The maximum of that delay. Default: 8 s.
    pub longest_wait: Duration,
    /// The maximum delay that a server may request (`retry-after`). A longer one is shortened to
    /// this value and counts as an attempt as usual. Zero ignores the server's requests. Default:
    /// 60 s.
    pub retry_after_cap: Duration,
    /// Whether a reply is requested again even if a part of it has been passed on. Default:
    /// `false`.
    pub after_output: bool,
}

impl RetryPolicy {
    /// The default values, which are those of the official SDKs.
    pub const DEFAULT: Self = Self {
        retries: 2,
        first_wait: Duration::from_millis(500),
        longest_wait: Duration::from_secs(8),
        retry_after_cap: Duration::from_secs(60),
        after_output: false,
    };

    /// Returns the delay before retry number `attempt` (1 is the first retry): the delay that the
    /// server requests, up to the cap, or else the delay of this policy. `jitter` is any number; it
    /// shortens the policy's own delay by up to a quarter.
    pub fn wait(&self, attempt: u32, retry_after: Option<Duration>, jitter: u32) -> Duration {
        let mut wait = retry_after.map_or(0, micros).min(micros(self.retry_after_cap));
        if wait == 0 {
            wait = micros(self.first_wait);
            // After so many, it is the longest that can be represented.
            for _ in 1..attempt.min(64) {
                wait = wait.saturating_add(wait);
            }
            wait = wait.min(micros(self.longest_wait));
            // At most a quarter less, in steps of 1/1024. No intermediate product exceeds the delay
            // itself.
            wait = wait.saturating_sub((wait >> 10).wrapping_mul(u64::from(jitter & 0xff)));
        }
        Duration::from_micros(wait)
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Returns whether the same request may succeed a moment later.
pub(crate) fn is_transient(error: &Error, head: &ReplyHead) -> bool {
    match error {
        Error::Api(api) if api.status == 200 => {
            matches!(
                api.kind,
                ApiErrorKind::Overloaded
                    | ApiErrorKind::Api
                    | ApiErrorKind::RateLimit
                    | ApiErrorKind::Timeout
            )
        }
        Error::Api(api) => {
            head.should_retry.unwrap_or(matches!(api.status, 408 | 409 | 429 | 500..))
        }
        Error::Transport(kind) => kind.is_transient(),
        Error::Protocol(Protocol::NotAMessage | Protocol::NotAReply) => false,
        Error::Protocol(_) => true,
        _ => false,
    }
}
