//! The rate limits that a reply's headers report.

use std::sync::Arc;

use http::HeaderMap;

/// What precedes the name of every header of a rate limit.
const PREFIX: &str = "anthropic-ratelimit-";
/// Enough for the lines of the API's own limits.
const USUAL_LEN: usize = 512;

/// The rate limits that the last reply reported: its headers `anthropic-ratelimit-*`.
///
/// Source: "Response headers" in the API's documentation of rate limits. Limits with a name that is
/// not listed there are kept too: see [`named`](Self::named).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RateLimits {
    /// A line for each header: its name without the prefix, in lower case, `": "`, and its value.
    /// One text, because every reply brings it, and few programs read it. One pointer, because
    /// errors contain it.
    lines: Option<Arc<String>>,
}

/// One rate limit, as the server reported it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateLimit<'a> {
    /// The maximum number of requests or tokens in the period, or `None` if it was not reported.
    pub limit: Option<u64>,
    /// How many requests or tokens are left. The server rounds numbers of tokens.
    pub remaining: Option<u64>,
    /// When the limit is fully replenished: an RFC 3339 time, or the server's own text.
    pub reset: Option<&'a str>,
}

impl RateLimits {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut limits = Self::default();
        limits.replace(headers);
        limits
    }

    /// Replaces the limits with those that a reply reports, in the same memory unless somebody else
    /// still has a copy of them.
    pub(crate) fn replace(&mut self, headers: &HeaderMap) {
        let mut lines = self.lines.take().filter(|lines| Arc::strong_count(lines) == 1);
        if let Some(lines) = lines.as_mut().and_then(Arc::get_mut) {
            lines.clear();
        }
        for (name, value) in headers {
            if let Some(name) = name.as_str().strip_prefix(PREFIX)
                && let Ok(value) = core::str::from_utf8(value.as_bytes())
                && let Some(lines) = Arc::get_mut(lines.get_or_insert_default())
            {
                if lines.is_empty() {
                    lines.reserve(USUAL_LEN);
                }
                for part in [name, ": ", value.trim_ascii(), "\n"] {
                    lines.push_str(part);
                }
            }
        }
        self.lines = lines.filter(|lines| !lines.is_empty());
    }

    /// Returns whether the reply reported no rate limit.
    pub const fn is_empty(&self) -> bool {
        self.lines.is_none()
    }

    /// Returns the limit on requests.
    pub fn requests(&self) -> Option<RateLimit<'_>> {
        self.named("requests")
    }

    /// Returns the most restrictive limit on tokens that is currently in effect.
    pub fn tokens(&self) -> Option<RateLimit<'_>> {
        self.named("tokens")
    }

    /// Returns the limit on input tokens.
    pub fn input_tokens(&self) -> Option<RateLimit<'_>> {
        self.named("input-tokens")
    }

    /// Returns the limit on output tokens.
    pub fn output_tokens(&self) -> Option<RateLimit<'_>> {
        self.named("output-tokens")
    }

    /// Returns the limit of any name, such as `unified-5h` for the headers
    /// `anthropic-ratelimit-unified-5h-remaining` and so on, or `None` if it was not reported.
    pub fn named(&self, name: &str) -> Option<RateLimit<'_>> {
        let part = |part: &str| {
            let find = |known: &str| known.strip_prefix(name)?.strip_prefix('-').map(|p| p == part);
            self.iter().find(|(known, _)| find(known) == Some(true)).map(|(_, value)| value)
        };
        let number = |name: &str| part(name).and_then(|value| value.parse().ok());
        let (limit, remaining, reset) = (number("limit"), number("remaining"), part("reset"));
        let is_reported = limit.is_some() || remaining.is_some() || reset.is_some();
        is_reported.then_some(RateLimit { limit, remaining, reset })
    }

    /// Returns each header as its name, in lower case and without `anthropic-ratelimit-`, and its
    /// value.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        // Neither a name nor a value contains a line feed, and a name contains no colon.
        self.lines.iter().flat_map(|lines| lines.lines()).filter_map(|line| line.split_once(": "))
    }
}
