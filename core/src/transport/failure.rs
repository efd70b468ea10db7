//! A general error type for transports.

use core::fmt;

use embedded_io_async::ErrorKind;

use super::TransportError;
use crate::error::TransportKind;
#[cfg(feature = "alloc")]
use crate::error::escaped::EscapedText;

#[cfg(feature = "alloc")]
type Message = alloc::borrow::Cow<'static, str>;
#[cfg(not(feature = "alloc"))]
type Message = &'static str;

/// A general error type for a [`Transport`](super::Transport): a kind, which the retry policy uses,
/// and a message for people.
///
/// With the feature `alloc`, [`caused_by`](Self::caused_by) takes the message from another error.
/// With the feature `std`, `?` converts a [`std::io::Error`].
///
/// The message must hold no secret: it is printed and logged.
///
/// # Examples
///
/// ```
/// use toolrunner_core::error::TransportKind;
/// use toolrunner_core::transport::Failure;
///
/// const DOWN: Failure = Failure::new(TransportKind::Connect, "the modem is off");
/// assert_eq!(DOWN.kind(), TransportKind::Connect);
/// assert_eq!(DOWN.to_string(), "the modem is off");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    kind: TransportKind,
    message: Message,
}

impl Failure {
    /// Returns an error of this kind with a constant message.
    pub const fn new(kind: TransportKind, message: &'static str) -> Self {
        #[cfg(feature = "alloc")]
        let message = alloc::borrow::Cow::Borrowed(message);
        Self { kind, message }
    }

    /// Returns an error of this kind whose message is the text of `cause`, followed by the texts
    /// of its sources. Control characters, line separators and characters that change the
    /// direction of text are escaped.
    #[cfg(feature = "alloc")]
    pub fn caused_by(kind: TransportKind, cause: &dyn core::error::Error) -> Self {
        use alloc::string::ToString;

        let mut message = EscapedText(cause).to_string();
        let mut source = cause.source();
        while let Some(deeper) = source {
            let text = EscapedText(deeper).to_string();
            // Some errors already end with the text of their source.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = deeper.source();
        }
        Self { kind, message: message.into() }
    }

    /// Returns the kind, which the retry policy uses.
    pub const fn kind(&self) -> TransportKind {
        self.kind
    }

    /// Returns the message.
    #[allow(clippy::needless_borrow, reason = "with `alloc` it is a `Cow`")]
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for Failure {}

impl embedded_io_async::Error for Failure {
    fn kind(&self) -> ErrorKind {
        self.kind.into()
    }
}

impl TransportError for Failure {
    fn kind(&self) -> TransportKind {
        self.kind
    }
}

/// Converts an error of a socket. A host that cannot be reached is [`TransportKind::Connect`], a
/// connection that ends is [`TransportKind::Closed`], a wait that ends is
/// [`TransportKind::Timeout`], an address that cannot be parsed is [`TransportKind::Setup`], and
/// any other error is [`TransportKind::Other`].
#[cfg(feature = "std")]
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        let kind = match error.kind() {
            Io::ConnectionRefused
            | Io::HostUnreachable
            | Io::NetworkUnreachable
            | Io::NetworkDown
            | Io::AddrNotAvailable => TransportKind::Connect,
            Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::NotConnected
            | Io::BrokenPipe
            | Io::UnexpectedEof
            | Io::WriteZero => TransportKind::Closed,
            Io::TimedOut | Io::WouldBlock => TransportKind::Timeout,
            Io::InvalidInput => TransportKind::Setup,
            _ => TransportKind::Other,
        };
        Self::caused_by(kind, &error)
    }
}
