//! What every transport needs beside its protocol: an error type, and `Read` over `BufRead`.

use core::fmt;

use embedded_io_async::{BufRead, ErrorKind};

use super::TransportError;
use crate::error::TransportKind;

#[cfg(feature = "alloc")]
type Message = alloc::borrow::Cow<'static, str>;
#[cfg(not(feature = "alloc"))]
type Message = &'static str;

/// An error for a [`Transport`](super::Transport) that needs none of its own: a kind, which the
/// retry policy decides by, and a message for people.
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
    /// of its sources. Control characters are escaped.
    #[cfg(feature = "alloc")]
    pub fn caused_by(kind: TransportKind, cause: &dyn core::error::Error) -> Self {
        let mut message = escaped(cause);
        let mut source = cause.source();
        while let Some(deeper) = source {
            let text = escaped(deeper);
            // Some errors already end with the text of their source.
            if !message.ends_with(&text) {
                message.push_str(": ");
                message.push_str(&text);
            }
            source = deeper.source();
        }
        Self { kind, message: message.into() }
    }

    /// Returns the kind that the retry policy decides by.
    pub const fn kind(&self) -> TransportKind {
        self.kind
    }

    /// Returns the message.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Returns the text of `error` without raw control characters, which a terminal would obey.
#[cfg(feature = "alloc")]
fn escaped(error: &dyn core::error::Error) -> alloc::string::String {
    let mut text = alloc::string::String::new();
    for c in alloc::string::ToString::to_string(error).chars() {
        if c.is_control() {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
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

/// Implements [`Read::read`](embedded_io_async::Read::read) for a body that implements
/// [`BufRead`]: copies what [`fill_buf`](BufRead::fill_buf) returns into `buffer`, and consumes
/// it. Returns the number of bytes copied, which is 0 at the end of the body.
///
/// `BufRead` requires `Read`, but the driver of a run reads by `fill_buf` alone. Dropping the
/// future loses no bytes if dropping that of `fill_buf` loses none.
///
/// # Errors
///
/// Those of `fill_buf`.
///
/// # Examples
///
/// ```
/// use embedded_io_async::{BufRead, ErrorType, Read};
/// use toolrunner_core::transport::{Failure, read_buffered};
///
/// /// A body that arrived in one piece.
/// struct Whole(&'static [u8]);
///
/// impl ErrorType for Whole {
///     type Error = Failure;
/// }
///
/// impl BufRead for Whole {
///     async fn fill_buf(&mut self) -> Result<&[u8], Failure> {
///         Ok(self.0)
///     }
///
///     fn consume(&mut self, amount: usize) {
///         self.0 = self.0.get(amount..).unwrap_or_default();
///     }
/// }
///
/// impl Read for Whole {
///     async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
///         read_buffered(self, buffer).await
///     }
/// }
/// ```
pub async fn read_buffered<B: BufRead + ?Sized>(
    body: &mut B,
    buffer: &mut [u8],
) -> Result<usize, B::Error> {
    // `fill_buf` would wait for bytes that nobody asked for.
    if buffer.is_empty() {
        return Ok(0);
    }
    let piece = body.fill_buf().await?;
    let length = piece.len().min(buffer.len());
    if let (Some(to), Some(from)) = (buffer.get_mut(..length), piece.get(..length)) {
        to.copy_from_slice(from);
    }
    body.consume(length);
    Ok(length)
}
