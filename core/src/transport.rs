//! What carries bytes: one small trait, implemented over hyper, over reqwless, and over a script in
//! memory.
//!
//! An adapter contains no decision: whether a status is an error, whether to retry, what a header
//! means is the core's affair.

use core::time::Duration;

use embedded_io_async::BufRead;
use heapless::String;

use crate::error::{Capacity, Misuse, TransportKind, What};

/// The head of a request. The adapter adds `host` and `content-length`, and nothing else.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// Scheme, authority and perhaps a path: `https://api.anthropic.com`. The adapter connects
    /// there.
    pub base_url: &'a str,
    /// What follows the base URL, query included: `/v1/messages`.
    pub path: &'a str,
    /// Header fields, in order, names in lower case. **Some are secret**: never log the values.
    pub headers: &'a [(&'a str, &'a str)],
}

impl core::fmt::Debug for Head<'_> {
    /// Names only: a value may be a key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Head")
            .field("path", &self.path)
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

/// The body of a request: slices that are already there.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    /// What comes before the transcript.
    before: &'a [&'a [u8]],
    transcript: &'a [u8],
    after: &'a [u8],
    #[cfg(feature = "alloc")]
    shared: Option<&'a alloc::sync::Arc<alloc::vec::Vec<u8>>>,
}

impl<'a> Body<'a> {
    /// A body of slices.
    pub const fn new(before: &'a [&'a [u8]], transcript: &'a [u8], after: &'a [u8]) -> Self {
        Self {
            before,
            transcript,
            after,
            #[cfg(feature = "alloc")]
            shared: None,
        }
    }

    /// The same with an owned handle to the transcript, which is the first `transcript.len()` bytes
    /// of `shared`.
    #[cfg(feature = "alloc")]
    pub const fn with_shared(mut self, shared: &'a alloc::sync::Arc<alloc::vec::Vec<u8>>) -> Self {
        self.shared = Some(shared);
        self
    }

    /// The bytes in all: what `content-length` says.
    pub fn len(&self) -> usize {
        self.pieces().map(<[u8]>::len).sum()
    }

    /// Whether there is nothing, which never is so for a request.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All slices, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.before.iter().copied().chain([self.transcript, self.after])
    }

    /// The slices before the transcript.
    pub const fn before(&self) -> &'a [&'a [u8]] {
        self.before
    }

    /// The transcript.
    pub const fn transcript(&self) -> &'a [u8] {
        self.transcript
    }

    /// What follows the transcript.
    pub const fn after(&self) -> &'a [u8] {
        self.after
    }

    /// A handle to the buffer whose first `transcript().len()` bytes are the transcript, for a
    /// transport that must own what it sends. Let go of it before the reply's head is handed over,
    /// or the run copies its transcript.
    #[cfg(feature = "alloc")]
    pub const fn shared(&self) -> Option<&'a alloc::sync::Arc<alloc::vec::Vec<u8>>> {
        self.shared
    }
}

/// Most bytes of a request id that are kept. Longer ones are left out.
pub const REQUEST_ID_LEN: usize = 64;

/// What the loop needs of a reply's head. An adapter makes it of the status and gives it every
/// header field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyHead {
    /// HTTP status.
    pub status: u16,
    /// `x-should-retry`, which decides before the status does.
    pub should_retry: Option<bool>,
    /// `retry-after-ms` or `retry-after` in seconds, whatever its length.
    pub retry_after: Option<Duration>,
    /// `request-id`, for questions to the provider. Empty if there was none.
    pub request_id: String<REQUEST_ID_LEN>,
    exact: bool,
}

impl ReplyHead {
    /// A head of this status and no fields.
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Becomes `other`, where it lies: a clone would be made on the stack first.
    pub(crate) fn take(&mut self, other: &Self) {
        let Self { status, should_retry, retry_after, ref request_id, exact } = *other;
        (self.status, self.should_retry, self.retry_after, self.exact) =
            (status, should_retry, retry_after, exact);
        self.request_id.clear();
        // It is as long as there.
        let _fits = self.request_id.push_str(request_id);
    }

    /// Takes a header field; one that the loop does not need is ignored. `name` in any case.
    ///
    /// `retry-after` as a date is ignored here: an adapter that knows the date gives it as
    /// `retry-after-ms`.
    pub fn field(&mut self, name: &str, value: &[u8]) {
        const KNOWN: [&str; 4] = ["x-should-retry", "retry-after-ms", "retry-after", "request-id"];
        // Of many fields few are known: those are not read.
        let Some(name) = KNOWN.into_iter().find(|known| name.eq_ignore_ascii_case(known)) else {
            return;
        };
        let Ok(value) = core::str::from_utf8(value) else { return };
        let value = value.trim_ascii();
        if name == "x-should-retry" {
            self.should_retry = match value {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            };
        } else if name == "retry-after-ms" {
            if let Some(wait) = thousandths(value).map(Duration::from_micros) {
                self.retry_after = Some(wait);
                self.exact = true;
            }
        } else if name == "retry-after" {
            if !self.exact
                && let Some(wait) = thousandths(value)
            {
                self.retry_after = Some(Duration::from_millis(wait));
            }
        } else if name == "request-id"
            && let Ok(id) = String::try_from(value)
        {
            self.request_id = id;
        }
    }
}

/// A decimal number that is not negative, times 1000, digits beyond the third after the point left
/// out.
fn thousandths(text: &str) -> Option<u64> {
    let point = text.bytes().position(|byte| byte == b'.').unwrap_or(text.len());
    let whole = text.get(..point)?;
    let fraction = text.get(point..)?.strip_prefix('.').unwrap_or_default();
    let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    #[expect(clippy::disallowed_methods, reason = "a whole number's parser does not panic")]
    let mut milli = whole.parse::<u64>().ok()?.checked_mul(1000)?;
    for (digit, weight) in fraction.bytes().zip([100, 10, 1]) {
        milli = milli.checked_add(u64::from(digit - b'0') * weight)?;
    }
    Some(milli)
}

/// A reply whose head is there and whose body comes.
#[derive(Debug)]
pub struct Reply<B> {
    /// Status and fields.
    pub head: ReplyHead,
    /// The body, which may come in any pieces.
    pub body: B,
}

/// An error of a transport: what it was, for the retry policy and for people.
pub trait TransportError: core::fmt::Debug {
    /// The kind that the loop reports and decides by.
    fn kind(&self) -> TransportKind;

    /// The buffer that was too small, if that is what went wrong. Reported instead of
    /// [`kind`](Self::kind).
    fn capacity(&self) -> Option<Capacity> {
        None
    }

    /// The setting that this transport cannot use, such as a base URL, if that is what went wrong.
    /// Reported instead of [`kind`](Self::kind), and never retried.
    fn misuse(&self) -> Option<Misuse> {
        None
    }
}

/// The wrapper's `What` for a head that is too large, so that adapters say it alike.
pub const fn head_full(needed: usize, free: usize) -> Capacity {
    Capacity { what: What::Head, needed, free }
}

/// Sends a request and gives back the reply, whose body borrows the transport and nothing else.
///
/// Any future here may be dropped at any time, and a reply may be dropped before its end. A
/// connection is *dirty* from the moment that `send` writes until the reply's body was read to its
/// end; a dirty connection is never used again.
///
/// The body is read by [`BufRead`]: an empty slice from `fill_buf` is its end, and only its end. A
/// body that breaks off (short of its content-length, or in the middle of a chunk) is an error of
/// kind [`TransportKind::Closed`].
#[allow(
    async_fn_in_trait,
    reason = "a driver is generic over its transport, so whether its future is Send follows from the transport's"
)]
pub trait Transport {
    /// What can go wrong.
    type Error: TransportError + embedded_io_async::Error;
    /// A reply's body.
    type Body<'t>: BufRead<Error = Self::Error>
    where
        Self: 't;

    /// Sends `head` and `body` by POST and waits for the reply's head.
    async fn send<'t>(
        &'t mut self,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<Self::Body<'t>>, Self::Error>;
}
