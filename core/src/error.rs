//! Errors, grouped by who is at fault.
//!
//! | Variant | Who is at fault | What to do |
//! |---|---|---|
//! | [`Error::Capacity`] | the caller: a buffer is too small | provide a larger buffer, or shorten the conversation; no data was lost |
//! | [`Error::Transport`] | the network | continue the run: it sends the request again |
//! | [`Error::Api`] | depends on the error: the caller's request, the API key, or the server's load | see [`ApiError`] |
//! | [`Error::Protocol`] | the server or an intermediary | continue the run: the reply was removed. `Run::error_body` returns the start of the text that was not understood |
//! | [`Error::Misuse`] | the calling code | fix the code |
//!
//! After any of these errors the transcript is valid and the run can continue.

#[cfg(feature = "alloc")]
pub(crate) mod escaped;
mod invalid;
mod phrase;

use core::fmt;
use core::time::Duration;

use embedded_io_async::ErrorKind;

pub use invalid::{Invalid, Rule};
pub use phrase::Phrase;
pub(crate) use phrase::{line, lines, phrase};

/// A buffer was too small. Nothing was truncated, and the data that did not fit was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Capacity {
    /// The buffer or limit that was exceeded.
    pub what: CapacityKind,
    /// The space that was required, in the unit of `what` (bytes or items).
    pub needed: usize,
    /// The space that was free, in the unit of `what` (bytes or items).
    pub free: usize,
}

macro_rules! capacity_kinds {
    ($($(#[$doc:meta])* $variant:ident $name:literal,)*) => {
        /// The buffers and limits that can be exceeded, each with the unit of its sizes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        // As wide as the sizes next to it, because errors are passed on by value. A chip would copy
        // the unused bytes between them one by one.
        #[repr(usize)]
        pub enum CapacityKind { $($(#[$doc])* $variant,)* }

        impl CapacityKind {
            /// Returns the name that error messages use.
            pub const fn name(self) -> &'static str {
                line(lines!($($name)*), self as u8)
            }
        }
    };
}

capacity_kinds! {
    /// Calls in one turn.
    Calls "calls of one turn",
    /// Bytes of the container id in a reply.
    Container "container id",
    /// Levels of nesting in a JSON text.
    Depth "JSON depth",
    /// Bytes of the head of a request or a reply.
    Head "head",
    /// Bytes of the host and port in a base URL.
    Host "host and port",
    /// Bytes of the buffer into which a tool's input is unescaped.
    Input "tool input",
    /// Blocks that are open at the same time in a streamed reply.
    OpenBlocks "open blocks",
    /// Bytes of a TLS record, excluding its header.
    Record "TLS record",
    /// Bytes of a reply.
    Reply "reply",
    /// Bytes of a tool's result.
    Result "tool result",
    /// Bytes of a snapshot.
    Snapshot "snapshot",
    /// Tool definitions.
    Tools "tool definitions",
    /// Bytes of the transcript.
    Transcript "transcript",
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} full: {} needed, {} free", self.what.name(), self.needed, self.free)
    }
}

impl core::error::Error for Capacity {}

/// The way in which a transport failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
// For the same reason as in [`CapacityKind`].
#[repr(usize)]
pub enum TransportKind {
    /// The connection was closed or reset.
    Closed,
    /// No connection could be established.
    Connect,
    /// The host name could not be resolved.
    Dns,
    /// The response is not valid HTTP, or its head is larger than the buffer for it.
    Http,
    /// Any other failure.
    Other,
    /// The request cannot be sent because of the caller's setup: the base URL or a header is
    /// unusable, or the runtime has no I/O. Never retried.
    Setup,
    /// No data arrived before the timeout.
    Timeout,
    /// The server could not be verified, or the TLS session failed. Never retried.
    Tls,
}

impl TransportKind {
    /// Returns whether the same request may succeed a moment later.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Closed | Self::Connect | Self::Dns | Self::Timeout | Self::Other)
    }

    /// Returns the text of the error. Hidden: it is for the C interface, which has no `core::fmt`.
    #[doc(hidden)]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Closed => "the connection was closed",
            Self::Connect => "could not connect",
            Self::Dns => "could not resolve the host name",
            Self::Http => "the server did not send valid HTTP",
            Self::Other => "the transport failed",
            Self::Setup => "the request cannot be sent with this configuration",
            Self::Timeout => "timed out waiting for data",
            Self::Tls => "the TLS session failed",
        }
    }
}

/// Converts a transport failure to an `embedded-io` error kind. Every transport uses this mapping
/// for the errors that it returns to readers of a body.
impl From<TransportKind> for ErrorKind {
    fn from(kind: TransportKind) -> Self {
        match kind {
            TransportKind::Closed => Self::ConnectionReset,
            TransportKind::Connect => Self::NotConnected,
            TransportKind::Dns => Self::AddrNotAvailable,
            TransportKind::Http => Self::InvalidData,
            TransportKind::Other => Self::Other,
            TransportKind::Setup => Self::InvalidInput,
            TransportKind::Timeout => Self::TimedOut,
            TransportKind::Tls => Self::PermissionDenied,
        }
    }
}

/// An error that the server reported, either as an HTTP status or as an `error` event in a stream.
///
/// The run holds the texts of the error: `Run::api_error` returns its `message`, its `type` (listed
/// in [`ApiErrorKind`] or not) and the request id. If the error is not JSON, `Run::error_body`
/// returns it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ApiError {
    /// The HTTP status. It is 200 for an error inside a stream or in a whole reply with status 200.
    pub status: u16,
    /// The error's `type`. If the body names none, the kind that corresponds to the status.
    pub kind: ApiErrorKind,
    /// In milliseconds: an error is passed on by value, and a [`Duration`] would double its size.
    retry_after: Option<u32>,
}

impl ApiError {
    /// Creates an error. `retry_after` is how long the server asks the client to wait.
    pub(crate) fn new(status: u16, kind: ApiErrorKind, retry_after: Option<Duration>) -> Self {
        let millis = |wait: Duration| {
            let whole = u32::try_from(wait.as_secs()).ok()?.checked_mul(1000)?;
            whole.checked_add(wait.subsec_micros().div_ceil(1000))
        };
        Self { status, kind, retry_after: retry_after.map(|wait| millis(wait).unwrap_or(u32::MAX)) }
    }

    /// Returns how long the server asks the client to wait before it retries, rounded up to whole
    /// milliseconds. A time of more than 49 days is shortened to that.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after.map(|millis| Duration::from_millis(u64::from(millis)))
    }
}

macro_rules! api_error_kinds {
    ($($(#[$doc:meta])* $variant:ident $text:literal $status:literal,)*) => {
        /// The `type` of an API error. Source: the table of errors in the Messages API's
        /// documentation.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        pub enum ApiErrorKind { $($(#[$doc])* $variant,)* /// A type that is not listed, or no type and a status without a kind.
            Unknown }

        impl ApiErrorKind {
            // A table, because it needs less code than a `match` over so many strings.
            const KINDS: [(Self, u16); [$($status),*].len()] = [$((Self::$variant, $status)),*];

            /// Returns the kind for a `type`, or `Unknown` if the type is not listed.
            pub fn from_type(text: &str) -> Self {
                let known = Self::KINDS.iter().find(|(kind, _)| kind.name() == text);
                known.map_or(Self::Unknown, |(kind, ..)| *kind)
            }
            /// Returns the kind for an HTTP status, or `Unknown` if no kind corresponds to it.
            pub fn from_status(status: u16) -> Self {
                match Self::KINDS.iter().find(|(_, known)| *known == status) {
                    Some((kind, _)) => *kind,
                    None if status / 100 == 5 => Self::Api,
                    None => Self::Unknown,
                }
            }
            /// Returns the `type` as the API writes it.
            pub const fn name(self) -> &'static str {
                line(lines!($($text)* "unknown_error"), self as u8)
            }
        }
    };
}

api_error_kinds! {
    /// 500, and every other 5xx status without a kind of its own.
    Api "api_error" 500,
    /// 401: the key is wrong or missing.
    Authentication "authentication_error" 401,
    /// 402: there is a problem with billing or payment.
    Billing "billing_error" 402,
    /// 409: the request conflicts with the state of a resource.
    Conflict "conflict_error" 409,
    /// 400: the request is malformed or breaks a rule of the API.
    InvalidRequest "invalid_request_error" 400,
    /// 404: the resource does not exist.
    NotFound "not_found_error" 404,
    /// 529: the API is temporarily overloaded.
    Overloaded "overloaded_error" 529,
    /// 403: the key lacks permission for the resource.
    Permission "permission_error" 403,
    /// 429: the account has reached a rate limit.
    RateLimit "rate_limit_error" 429,
    /// 413: the request body is too large.
    RequestTooLarge "request_too_large" 413,
    /// 504: the server timed out while it processed the request.
    Timeout "timeout_error" 504,
}

/// Data from the server, or from an intermediary, that is not a valid reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Protocol {
    /// The reply ended before it was complete.
    EndedEarly,
    /// A reply of status 200 is a JSON object but not a message, because it has no `content`. For
    /// example, a different API may be served at this address.
    NotAMessage,
    /// A reply of status 200 is neither an event stream nor a JSON object. For example, it may be a
    /// proxy's web page.
    NotAReply,
    /// The text is not valid JSON, or does not have the required shape. The offset is relative to
    /// that JSON text.
    Json {
        /// The offset of the error, in bytes.
        at: usize,
        /// What was expected at that offset. `expected.as_str()` returns the text.
        expected: Phrase,
    },
    /// An event that cannot follow the events before it.
    Event {
        /// What was expected instead. `expected.as_str()` returns the text.
        expected: Phrase,
    },
    /// The server ignored the message thread: it reported fewer input tokens than the thread
    /// contains. The next request contains the whole conversation.
    ThreadIgnored,
    /// The bytes are not valid UTF-8.
    Utf8,
}

/// A method call that the state of the run does not allow, or an argument that no request can
/// carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Misuse {
    /// A base URL that the transport cannot use. The text, `as_str()`, explains why.
    BaseUrl(Phrase),
    /// A request would have more cache breakpoints than the API allows. Contains the total number
    /// in its tools, system prompt and messages.
    Breakpoints(usize),
    /// Two tools have the same name. Contains their indices.
    DuplicateTool(usize, usize),
    /// The name of a tool does not match the pattern that the API requires,
    /// `^[a-zA-Z0-9_-]{1,128}$`. Contains the index of the tool.
    ToolName(usize),
    /// The definition of a tool is not a JSON object whose schema is an object. Contains the index
    /// of the tool.
    ToolDefinition(usize),
    /// The input schema of a tool has `anyOf`, `oneOf`, `allOf` or `$ref` at its root, which the
    /// API refuses. Contains the index of the tool.
    ToolSchema(usize),
    /// A message that the API would refuse.
    Invalid(Invalid),
    /// A JSON argument is not valid JSON, or does not have the required shape.
    Json(&'static str),
    /// The method cannot be called in the current state of the run. The text names the required
    /// state.
    State(&'static str),
    /// No call of this turn has this id or index, or the call already has a result.
    NoSuchCall,
    /// The run has no message yet, so there is nothing to send.
    NoMessages,
    /// A setting that no request can carry. The text explains why.
    Setting(&'static str),
}

/// An error of a run. The [module documentation](self) explains who is at fault for each variant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
// As wide as what it contains, for the same reason as in [`CapacityKind`].
#[repr(usize)]
pub enum Error {
    /// The server reported an error.
    Api(ApiError),
    /// A buffer is too small.
    Capacity(Capacity),
    /// The calling code did something that is not allowed.
    Misuse(Misuse),
    /// The server sent something that is not a valid reply.
    Protocol(Protocol),
    /// The network failed.
    Transport(TransportKind),
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (status {})", self.kind.name(), self.status)
    }
}

impl Protocol {
    /// Returns the text of the error, and what was expected. Hidden: it is for the C interface,
    /// which has no `core::fmt`.
    #[doc(hidden)]
    pub const fn text(self) -> (&'static str, Option<Phrase>) {
        let text = match self {
            Self::EndedEarly => "the reply ended before it was complete",
            Self::NotAMessage => "the reply is a JSON object, but not a message: it has no content",
            Self::NotAReply => "the reply is neither an event stream nor a JSON object",
            Self::Json { expected, .. } => return ("invalid JSON", Some(expected)),
            Self::Event { expected } => return ("unexpected event", Some(expected)),
            Self::ThreadIgnored => {
                "the server ignored the message thread: it reported fewer input tokens than the \
                 thread contains"
            }
            Self::Utf8 => "the reply is not valid UTF-8",
        };
        (text, None)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, expected) = self.text();
        f.write_str(text)?;
        if let Self::Json { at, .. } = self {
            write!(f, " at byte {at}")?;
        }
        expected.map_or(Ok(()), |expected| write!(f, ": expected {expected}"))
    }
}

/// The text that describes a schema with a choice at its root.
#[doc(hidden)]
pub const REFUSED_SCHEMA: &str = "has `anyOf`, `oneOf`, `allOf` or `$ref` at its root, which the API refuses, and no single object schema \
                                  allows the same inputs: put the choice into a property";

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BaseUrl(why) => why.fmt(f),
            Self::Breakpoints(count) => write!(
                f,
                "{count} cache breakpoints exceed the limit of 4 per request (tools, system prompt and messages): remove some, or use the \
                 request's own `cache_control`, which moves with the conversation"
            ),
            Self::DuplicateTool(a, b) => write!(f, "tools {a} and {b} have the same name"),
            Self::ToolName(i) => {
                write!(f, "the name of tool {i} must be 1 to 128 of a-z, A-Z, 0-9, _ and -")
            }
            Self::ToolDefinition(i) => write!(
                f,
                "the definition of tool {i} must be an object whose input_schema has type object"
            ),
            Self::ToolSchema(i) => write!(f, "the input schema of tool {i} {REFUSED_SCHEMA}"),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Json(what) => write!(f, "unexpected JSON: {what}"),
            Self::State(what) => f.write_str(what),
            Self::NoSuchCall => f.write_str("no open call has this id"),
            Self::NoMessages => f.write_str("nothing to send: the run has no message yet"),
            Self::Setting(what) => f.write_str(what),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(e) => write!(f, "API error: {e}"),
            Self::Capacity(e) => e.fmt(f),
            Self::Misuse(e) => write!(f, "misuse: {e}"),
            Self::Protocol(e) => write!(f, "protocol error: {e}"),
            Self::Transport(kind) => f.write_str(kind.text()),
        }
    }
}

impl core::error::Error for ApiError {}

impl core::error::Error for Protocol {}

impl core::error::Error for Misuse {}

impl core::error::Error for Error {}

impl From<Capacity> for Error {
    fn from(e: Capacity) -> Self {
        Self::Capacity(e)
    }
}

impl From<Misuse> for Error {
    fn from(e: Misuse) -> Self {
        Self::Misuse(e)
    }
}

impl From<Invalid> for Error {
    fn from(e: Invalid) -> Self {
        Self::Misuse(Misuse::Invalid(e))
    }
}

impl From<Protocol> for Error {
    fn from(e: Protocol) -> Self {
        Self::Protocol(e)
    }
}

impl From<ApiError> for Error {
    fn from(e: ApiError) -> Self {
        Self::Api(e)
    }
}
