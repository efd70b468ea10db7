//! What can go wrong, by who is at fault.
//!
//! | Variant | Whose fault | What to do |
//! |---|---|---|
//! | [`Error::Capacity`] | the memory that the caller gave | give more, or shorten the conversation; nothing was lost |
//! | [`Error::Transport`] | the network | go on with the run: it sends again |
//! | [`Error::Api`] | the server says what: the caller's request, its key, or the server's load | see [`ApiError`] |
//! | [`Error::Protocol`] | the server, or something between | go on with the run: the reply was taken back. `Run::error_body` has the start of what was not understood |
//! | [`Error::Misuse`] | the calling code | mend it |
//!
//! After any of them the transcript is valid and the run can go on.

mod invalid;

use core::fmt;
use core::time::Duration;

use embedded_io_async::ErrorKind;

pub use invalid::{Invalid, Rule};

/// A buffer that was full: nothing was cut, and what did not fit was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Capacity {
    /// Which buffer.
    pub what: What,
    /// How much had to fit, in the unit of `what` (bytes, or items).
    pub needed: usize,
    /// How much was free.
    pub free: usize,
}

/// The bounded things that can be full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum What {
    /// Calls in one turn.
    Calls,
    /// Bytes of the container id that a reply names.
    Container,
    /// Levels of nesting in a JSON text.
    Depth,
    /// Bytes of a request's head or of a reply's.
    Head,
    /// Bytes of the host and port in a base URL.
    Host,
    /// Bytes of a tool's input, where it is unescaped.
    Input,
    /// Blocks open at once in a streamed reply.
    OpenBlocks,
    /// Bytes of a TLS record, without its header.
    Record,
    /// Bytes of a reply.
    Reply,
    /// Bytes of a tool's result.
    Result,
    /// Bytes of a snapshot.
    Snapshot,
    /// Tool definitions.
    Tools,
    /// Bytes of the transcript.
    Transcript,
}

impl What {
    /// The plain name, as error texts have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls of one turn",
            Self::Container => "container id",
            Self::Depth => "JSON depth",
            Self::Head => "head",
            Self::Host => "host and port",
            Self::Input => "tool input",
            Self::OpenBlocks => "open blocks",
            Self::Record => "TLS record",
            Self::Reply => "reply",
            Self::Result => "tool result",
            Self::Snapshot => "snapshot",
            Self::Tools => "tool definitions",
            Self::Transcript => "transcript",
        }
    }
}

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} full: {} needed, {} free", self.what.name(), self.needed, self.free)
    }
}

impl core::error::Error for Capacity {}

/// How a transport failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum TransportKind {
    /// The connection ended or was reset.
    Closed,
    /// No connection could be made.
    Connect,
    /// The name has no address.
    Dns,
    /// What came back is no HTTP, or a head larger than its buffer.
    Http,
    /// Anything else.
    Other,
    /// The request cannot be sent as the caller set things up: an unusable base URL or header, a
    /// runtime without I/O. Never retried.
    Setup,
    /// Nothing came in time.
    Timeout,
    /// The server could not be verified, or the TLS session failed. Never retried.
    Tls,
}

impl TransportKind {
    /// Whether the same request may succeed a moment later.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Closed | Self::Connect | Self::Dns | Self::Timeout | Self::Other)
    }

    const fn text(self) -> &'static str {
        match self {
            Self::Closed => "the connection was closed",
            Self::Connect => "no connection",
            Self::Dns => "the name has no address",
            Self::Http => "what came back is no valid HTTP",
            Self::Other => "the transport failed",
            Self::Setup => "the request cannot be sent as things are set up",
            Self::Timeout => "nothing came in time",
            Self::Tls => "the TLS session failed",
        }
    }
}

/// The one mapping of a transport's failures to `embedded-io` kinds, for the errors that transports
/// give to readers of a body.
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

/// An error that the server reported, as a status or as an `error` event in a stream.
///
/// Its texts (`message`, an unlisted `type`, the request id) are lent by the run: `Run::api_error`,
/// and `Run::error_body` if the error is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ApiError {
    /// HTTP status; 200 for an error in a stream, or in a whole reply of that status.
    pub status: u16,
    /// The error's `type`, or what the status stands for when the body names none.
    pub kind: ApiErrorKind,
    /// How long the server asks to wait.
    pub retry_after: Option<Duration>,
}

macro_rules! api_error_kinds {
    ($($(#[$doc:meta])* $variant:ident $text:literal $status:literal,)*) => {
        /// The `type` of an API error. Source: the Messages API's table of errors.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        pub enum ApiErrorKind { $($(#[$doc])* $variant,)* /// A type that is not listed, or none and a status that says nothing.
            Unknown }

        impl ApiErrorKind {
            /// The kind that a `type` text names.
            pub fn from_type(text: &str) -> Self {
                match text { $($text => Self::$variant,)* _ => Self::Unknown }
            }
            /// The kind that a status stands for.
            pub const fn from_status(status: u16) -> Self {
                match status { $($status => Self::$variant,)* 500..=599 => Self::Api, _ => Self::Unknown }
            }
            /// The `type` text.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* Self::Unknown => "unknown_error" }
            }
        }
    };
}

api_error_kinds! {
    /// 500, and every 5xx that has no kind of its own.
    Api "api_error" 500,
    /// 401: the key is wrong or missing.
    Authentication "authentication_error" 401,
    /// 402.
    Billing "billing_error" 402,
    /// 409.
    Conflict "conflict_error" 409,
    /// 400.
    InvalidRequest "invalid_request_error" 400,
    /// 404.
    NotFound "not_found_error" 404,
    /// 529.
    Overloaded "overloaded_error" 529,
    /// 403.
    Permission "permission_error" 403,
    /// 429.
    RateLimit "rate_limit_error" 429,
    /// 413.
    RequestTooLarge "request_too_large" 413,
    /// 504.
    Timeout "timeout_error" 504,
}

/// What a server, or something between, sent that is no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Protocol {
    /// The reply ended before its end.
    EndedEarly,
    /// A reply of status 200 that is a JSON object but no message: it has no `content`. Another API
    /// answers at this address, say.
    NotAMessage,
    /// A 200 that is neither an event stream nor a JSON object: a proxy's page, say.
    NotAReply,
    /// JSON that is none, or not of the shape that its place asks for; the offset is into that JSON
    /// text.
    Json {
        /// Where, in bytes.
        at: usize,
        /// What was expected there.
        expected: &'static str,
    },
    /// An event that does not fit those before it.
    Event {
        /// What was expected.
        expected: &'static str,
    },
    /// Bytes that are no UTF-8.
    Utf8,
}

/// A call that the run's state does not allow, or an argument that no request could carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Misuse {
    /// More cache breakpoints than a request may have: how many there would be, in tools, system
    /// prompt and messages together.
    Breakpoints(usize),
    /// Two tools have the same name; the numbers are their indices.
    DuplicateTool(usize, usize),
    /// A tool's name is not one that the API takes (`^[a-zA-Z0-9_-]{1,128}$`); its index.
    ToolName(usize),
    /// A tool's definition is no JSON object with an object for a schema; its index.
    ToolDefinition(usize),
    /// A tool's input schema has `anyOf`, `oneOf`, `allOf` or `$ref` at its root, which the API
    /// refuses; its index.
    ToolSchema(usize),
    /// A message that the API would refuse.
    Invalid(Invalid),
    /// What was given as JSON is none, or not of the shape that its place asks for.
    Json(&'static str),
    /// The method does not fit the run's state; the text says what does.
    State(&'static str),
    /// No call of this turn has this id or index, or it was answered already.
    NoSuchCall,
    /// The run has nothing to send: no message yet.
    NoMessages,
    /// A setting that no request could carry.
    Setting(&'static str),
}

/// An error of a run. See the [module](self) for whose fault each is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The server reported an error.
    Api(ApiError),
    /// A buffer is full.
    Capacity(Capacity),
    /// The calling code did something that is not allowed.
    Misuse(Misuse),
    /// The server sent something that is no reply.
    Protocol(Protocol),
    /// The network failed.
    Transport(TransportKind),
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (status {})", self.kind.name(), self.status)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndedEarly => f.write_str("the reply ended before its end"),
            Self::NotAMessage => {
                f.write_str("the reply is a JSON object, but not a message: it has no content")
            }
            Self::NotAReply => {
                f.write_str("the reply is neither an event stream nor a JSON object")
            }
            Self::Json { at, expected } => {
                write!(f, "invalid JSON at byte {at}: expected {expected}")
            }
            Self::Event { expected } => write!(f, "unexpected event: expected {expected}"),
            Self::Utf8 => f.write_str("the reply is not valid UTF-8"),
        }
    }
}

/// What is wrong with a schema that has a choice at its root.
#[doc(hidden)]
pub const REFUSED_SCHEMA: &str = "has `anyOf`, `oneOf`, `allOf` or `$ref` at its root, which the API refuses, and no single object schema \
                                  allows the same inputs: put the choice into a property";

impl fmt::Display for Misuse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breakpoints(count) => write!(
                f,
                "{count} cache breakpoints, and a request may have 4 in its tools, system prompt and messages: leave one out, or use the \
                 request's own `cache_control`, which moves with the conversation"
            ),
            Self::DuplicateTool(a, b) => write!(f, "tools {a} and {b} have the same name"),
            Self::ToolName(i) => {
                write!(f, "the name of tool {i} must be 1 to 128 of a-z, A-Z, 0-9, _ and -")
            }
            Self::ToolDefinition(i) => write!(
                f,
                "the definition of tool {i} is no object with an input schema of type object"
            ),
            Self::ToolSchema(i) => write!(f, "the input schema of tool {i} {REFUSED_SCHEMA}"),
            Self::Invalid(invalid) => invalid.fmt(f),
            Self::Json(what) => write!(f, "wrong JSON: {what}"),
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
