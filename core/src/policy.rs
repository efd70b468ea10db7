//! When to try again, how long to wait, and when a run must end.

use core::time::Duration;

use crate::error::{ApiErrorKind, Error, Protocol};
use crate::time::micros;
use crate::transport::ReplyHead;

/// What a run may spend until its next prompt. Absent is unlimited. Each limit ends the run with an
/// outcome that names it; what was said stays, and a raised limit lets the run go on from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Limits {
    /// Most replies of the model, paused ones and those asked for again included. 0 sends nothing.
    pub turns: Option<u32>,
    /// Most calls that are run or answered. A turn's calls are run all or not at all.
    pub calls: Option<u32>,
    /// Most input tokens, caches included, added up over the turns.
    pub input_tokens: Option<u64>,
    /// Most output tokens, added up over the turns.
    pub output_tokens: Option<u64>,
    /// Longest time since the first request.
    pub time: Option<Duration>,
    /// Most times in a row that a turn's calls may be the same, names and inputs.
    pub repeats: Option<u32>,
}

impl Limits {
    /// No limit at all.
    pub const NONE: Self = Self {
        turns: None,
        calls: None,
        input_tokens: None,
        output_tokens: None,
        time: None,
        repeats: None,
    };
}

/// Which limit ended a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Limit {
    /// [`Limits::calls`].
    Calls,
    /// [`Limits::input_tokens`].
    InputTokens,
    /// [`Limits::output_tokens`].
    OutputTokens,
    /// [`Limits::repeats`].
    Repeats,
    /// [`Limits::time`].
    Time,
    /// The transcript is nearly full, and no room could be made: see `WhenFull` of the run.
    Transcript,
    /// [`Limits::turns`].
    Turns,
}

/// What is limited, in words.
impl core::fmt::Display for Limit {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Calls => "calls",
            Self::InputTokens => "input tokens",
            Self::OutputTokens => "output tokens",
            Self::Repeats => "repeats",
            Self::Time => "time",
            Self::Transcript => "transcript",
            Self::Turns => "turns",
        })
    }
}

/// When a request is sent again.
///
/// The reply's `x-should-retry` decides first. Otherwise a request is sent again after the statuses
/// 408, 409, 429 and 500 to 599, after a connection that failed, and after a reply that broke off
/// or was not valid. An error in a reply of status 200 is retried if its type is
/// `overloaded_error`, `api_error`, `rate_limit_error` or `timeout_error`. A reply is not retried
/// if a part of it was handed on that cannot be taken back, and one that is not the API's at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct RetryPolicy {
    /// Most tries of one request after the first. Default 2.
    pub retries: u32,
    /// The first wait, if the server names none; doubled each time. Default 0.5 s.
    pub first_wait: Duration,
    /// The longest such wait. Default 8 s.
    pub longest_wait: Duration,
    /// The longest wait that a server may ask for (`retry-after`). A longer one is cut to this, and
    /// counts as a try as usual. Zero ignores what servers ask for. Default 60 s.
    pub retry_after_cap: Duration,
    /// Whether a reply is asked for again even when a part of it was handed on. Default no.
    pub after_output: bool,
}

impl RetryPolicy {
    /// The defaults, as the official SDKs have them.
    pub const DEFAULT: Self = Self {
        retries: 2,
        first_wait: Duration::from_millis(500),
        longest_wait: Duration::from_secs(8),
        retry_after_cap: Duration::from_secs(60),
        after_output: false,
    };

    /// How long to wait before try `attempt` (1 is the first retry): what the server asks for, up
    /// to the cap, or the policy's own wait. `jitter` is any number.
    pub fn wait(&self, attempt: u32, retry_after: Option<Duration>, jitter: u32) -> Duration {
        if let Some(wait) =
            retry_after.map(|wait| wait.min(self.retry_after_cap)).filter(|wait| !wait.is_zero())
        {
            return wait;
        }
        let times = 1_u32.checked_shl(attempt.saturating_sub(1)).map(u64::from);
        let doubled = times.map_or(u64::MAX, |times| micros(self.first_wait).saturating_mul(times));
        let wait = doubled.min(micros(self.longest_wait));
        // Up to a quarter less, in steps of 1/1024: no product is larger than the wait itself.
        Duration::from_micros(
            wait.saturating_sub((wait >> 10).wrapping_mul(u64::from(jitter & 0xff))),
        )
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Whether the same request may succeed a moment later.
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
