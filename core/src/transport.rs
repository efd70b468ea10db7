//! The transport: a small trait for whatever carries bytes, implemented over hyper, over
//! reqwless and our own HTTP/1.1 on chips, and over a script in memory.
//!
//! An adapter makes no decisions: the core decides whether a status is an error, whether to retry,
//! and what a header means.

mod failure;
mod piece_body;

use core::time::Duration;

use embedded_io_async::BufRead;
use heapless::String;

use crate::error::{Capacity, CapacityKind, Misuse, TransportKind};
use crate::json::IS_CHIP;

pub use failure::Failure;
pub use piece_body::{PieceBody, PieceSource, read_buffered};

/// The head of a request. The adapter adds `host` and `content-length`, and nothing else.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    /// The scheme, the authority and an optional path: `https://api.anthropic.com`. The adapter
    /// connects to this authority.
    pub base_url: &'a str,
    /// The part of the URL after the base URL, including the query: `/v1/messages`.
    pub path: &'a str,
    /// The header fields, in order, with names in lower case. **Some values are secret**: never log
    /// them.
    pub headers: &'a [(&'a str, &'a str)],
}

impl core::fmt::Debug for Head<'_> {
    /// Omits the values of the header fields: a value may be a key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Head")
            .field("path", &self.path)
            .field("headers", &self.headers.len())
            .finish_non_exhaustive()
    }
}

/// The body of a request: slices of bytes that already exist.
#[derive(Clone, Copy, Debug)]
pub struct Body<'a> {
    /// The slices before the transcript.
    before: &'a [&'a [u8]],
    transcript: &'a [u8],
    after: &'a [u8],
    #[cfg(feature = "alloc")]
    shared: Option<&'a alloc::sync::Arc<alloc::vec::Vec<u8>>>,
}

impl<'a> Body<'a> {
    /// Creates a body of slices.
    pub const fn new(before: &'a [&'a [u8]], transcript: &'a [u8], after: &'a [u8]) -> Self {
        Self {
            before,
            transcript,
            after,
            #[cfg(feature = "alloc")]
            shared: None,
        }
    }

    /// Adds an owned handle to the transcript, which must be the first `transcript.len()` bytes of
    /// `shared`.
    #[cfg(feature = "alloc")]
    pub const fn with_shared(mut self, shared: &'a alloc::sync::Arc<alloc::vec::Vec<u8>>) -> Self {
        self.shared = Some(shared);
        self
    }

    /// Returns the total number of bytes, which is the value of `content-length`.
    pub fn len(&self) -> usize {
        self.pieces().map(<[u8]>::len).sum()
    }

    /// Returns whether the body is empty. The body of a request never is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns all slices, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.before.iter().copied().chain([self.transcript, self.after])
    }

    /// Returns the slices before the transcript: the parameters and the tools, up to
    /// `"messages":[`.
    pub const fn before(&self) -> &'a [&'a [u8]] {
        self.before
    }

    /// Returns the transcript: the messages of the conversation.
    pub const fn transcript(&self) -> &'a [u8] {
        self.transcript
    }

    /// Returns the slice after the transcript, which closes the request body.
    pub const fn after(&self) -> &'a [u8] {
        self.after
    }

    /// Returns a handle to the buffer whose first `transcript().len()` bytes are the transcript,
    /// for a transport that must own what it sends. Drop the handle before you return the head of
    /// the reply; otherwise the run copies its transcript.
    #[cfg(feature = "alloc")]
    pub const fn shared(&self) -> Option<&'a alloc::sync::Arc<alloc::vec::Vec<u8>>> {
        self.shared
    }
}

/// The maximum length of a request id, in bytes. A longer id is ignored.
pub(crate) const REQUEST_ID_LEN: usize = 64;

/// The parts of a reply's head that the loop needs. An adapter creates it from the status and
/// passes every header field to [`field`](Self::field).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyHead {
    /// The HTTP status.
    pub status: u16,
    /// `x-should-retry`, which takes precedence over the status.
    pub should_retry: Option<bool>,
    /// `retry-after-ms`, or `retry-after` in seconds, without a cap.
    pub retry_after: Option<Duration>,
    request_id: String<REQUEST_ID_LEN>,
    exact: bool,
}

impl ReplyHead {
    /// Returns the error for a head that is too large, so that all adapters report it in the same
    /// way.
    pub const fn full(needed: usize, free: usize) -> Capacity {
        Capacity { what: CapacityKind::Head, needed, free }
    }

    /// Creates a head with this status and no fields.
    pub fn new(status: u16) -> Self {
        Self { status, ..Self::default() }
    }

    /// Returns `request-id`, to quote when you contact the provider. Empty if there was none.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Copies `other` in place, because a clone would first be created on the stack.
    pub(crate) fn take(&mut self, other: &Self) {
        let Self { status, should_retry, retry_after, ref request_id, exact } = *other;
        (self.status, self.should_retry, self.retry_after, self.exact) =
            (status, should_retry, retry_after, exact);
        self.request_id.clear();
        // Both ids have the same capacity.
        let _fits = self.request_id.push_str(request_id);
    }

    /// Reads a header field. A field that the loop does not need is ignored. The case of `name`
    /// does not matter.
    ///
    /// `retry-after` as a date is ignored: an adapter that knows the current date can pass the
    /// difference as `retry-after-ms`.
    #[inline]
    pub fn field(&mut self, name: &str, value: &[u8]) {
        // Most fields are not known. Where this is inlined, their first letter shows it.
        if IS_CHIP || matches!(name.as_bytes().first(), Some(b'X' | b'x' | b'R' | b'r')) {
            self.known_field(name, value);
        }
    }

    fn known_field(&mut self, name: &str, value: &[u8]) {
        enum Field {
            ShouldRetry,
            RetryAfterMs,
            RetryAfter,
            RequestId,
        }
        const KNOWN: [(&str, Field); 4] = [
            ("x-should-retry", Field::ShouldRetry),
            ("retry-after-ms", Field::RetryAfterMs),
            ("retry-after", Field::RetryAfter),
            ("request-id", Field::RequestId),
        ];
        // Most fields are not known, and their values need not be read.
        let known = KNOWN.iter().find(|(known, _)| name.eq_ignore_ascii_case(known));
        let Some((_, field)) = known else { return };
        let Ok(value) = core::str::from_utf8(value) else { return };
        let value = value.trim_ascii();
        match field {
            Field::ShouldRetry => {
                self.should_retry = match value {
                    "true" => Some(true),
                    "false" => Some(false),
                    _ => None,
                };
            }
            Field::RetryAfterMs | Field::RetryAfter => {
                let is_exact = matches!(field, Field::RetryAfterMs);
                if (is_exact || !self.exact)
                    && let Some(wait) = thousandths(value)
                {
                    let micros = if is_exact { wait } else { wait.saturating_mul(1000) };
                    self.retry_after = Some(Duration::from_micros(micros));
                    self.exact = is_exact;
                }
            }
            Field::RequestId => {
                if let Ok(id) = String::try_from(value) {
                    self.request_id = id;
                }
            }
        }
    }
}

/// Parses a non-negative decimal number and returns it times 1000. Digits after the third decimal
/// place are dropped.
fn thousandths(text: &str) -> Option<u64> {
    let mut bytes = text.bytes();
    // The number of decimal places so far, after the point.
    let (mut milli, mut places) = (u64::from(bytes.next().and_then(digit)?), None);
    while places != Some(3) {
        let digit = match bytes.next() {
            Some(b'.') if places.is_none() => {
                places = Some(0);
                continue;
            }
            Some(byte) => digit(byte)?,
            None => {
                places.get_or_insert(0);
                0
            }
        };
        milli = milli.checked_mul(10)?.checked_add(u64::from(digit))?;
        places = places.map(|places| places + 1);
    }
    bytes.all(|byte| byte.is_ascii_digit()).then_some(milli)
}

fn digit(byte: u8) -> Option<u8> {
    byte.is_ascii_digit().then_some(byte & 15)
}

/// A reply whose head has arrived and whose body can be read.
#[derive(Debug)]
pub struct Reply<B> {
    /// The status and the header fields.
    pub head: ReplyHead,
    /// The body, which may arrive in pieces of any size.
    pub body: B,
}

/// An error of a transport, described for the retry policy and for people.
pub trait TransportError: core::fmt::Debug {
    /// Returns the kind of the error, which the loop reports and uses to decide about retries.
    fn kind(&self) -> TransportKind;

    /// Returns the buffer that was too small, if that is what went wrong. It is reported instead of
    /// [`kind`](Self::kind).
    fn capacity(&self) -> Option<Capacity> {
        None
    }

    /// Returns the setting that this transport cannot use, such as a base URL, if that is what went
    /// wrong. It is reported instead of [`kind`](Self::kind), and is never retried.
    fn misuse(&self) -> Option<Misuse> {
        None
    }
}

/// Sends a request and returns the reply, whose body borrows the transport and nothing else.
///
/// Any future of this trait may be dropped at any time, and a reply may be dropped before its end.
/// A connection is *dirty* from the moment that `send` writes until the body of the reply has been
/// read to its end. A dirty connection must not be reused.
///
/// The body is read through [`BufRead`]: an empty slice from `fill_buf` marks its end, and nothing
/// else. A body that breaks off (before its content-length is reached, or in the middle of a chunk)
/// is an error of kind [`TransportKind::Closed`].
///
/// A transport over an HTTP library can use [`Failure`] as its error and [`PieceBody`] as its body.
/// `examples/src/own_transport.rs` is a complete transport for any executor.
#[allow(
    async_fn_in_trait,
    reason = "a driver is generic over its transport, so whether its future is Send follows from the transport's"
)]
pub trait Transport {
    /// The errors of this transport.
    type Error: TransportError + embedded_io_async::Error;
    /// The body of a reply.
    type Body<'t>: BufRead<Error = Self::Error>
    where
        Self: 't;

    /// Sends `head` and `body` with the method POST and waits for the head of the reply.
    async fn send<'t>(
        &'t mut self,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<Self::Body<'t>>, Self::Error>;
}
