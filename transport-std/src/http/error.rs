//! Errors between the request and the reply's end, for people and for the retry policy.

use core::error::Error;
use core::fmt;
use core::time::Duration;
use std::io;

use embedded_io_async::ErrorKind;
use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::TransportError;

use super::idle::{Bound, WaitEnd};
use crate::EscapedText;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A request or a reply that failed in transit.
///
/// The message names the server and the root cause; [`source`](Error::source) returns the errors in
/// between. It contains no header values.
pub struct HttpError(Box<Inner>);

struct Inner {
    kind: TransportKind,
    text: String,
    source: Option<BoxError>,
    /// Whether the caller's hook failed, and `source` is its error.
    is_hook: bool,
}

/// A host name that could not be resolved.
#[derive(Debug)]
pub(super) struct DnsError(pub(super) io::Error);

impl HttpError {
    /// Creates an error for another implementation of [`DynTransport`](super::DynTransport). The
    /// text must contain no secret.
    pub fn new(kind: TransportKind, text: impl Into<String>) -> Self {
        Self(Box::new(Inner { kind, text: text.into(), source: None, is_hook: false }))
    }

    /// Adds the cause of this error. The message then ends with its root cause.
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The error if a hook of the caller failed.
    pub(super) fn hook(source: BoxError) -> Self {
        let mut error =
            Self::new(TransportKind::Setup, "the request hook failed").with_source(source);
        error.0.is_hook = true;
        error
    }

    /// Returns whether a hook of the caller failed.
    pub(crate) fn is_hook(&self) -> bool {
        self.0.is_hook
    }

    /// Returns the error of the caller's hook, if that is what failed.
    pub(crate) fn into_hook_error(mut self) -> Result<BoxError, Self> {
        match self.0.source.take() {
            Some(source) if self.0.is_hook => Ok(source),
            source => {
                self.0.source = source;
                Err(self)
            }
        }
    }

    /// The error if no connection could be made. `origin` is `scheme://host:port`, and the proxy if
    /// there is one.
    pub(super) fn connecting(origin: &str, source: BoxError) -> Self {
        let (kind, text) = if find::<DnsError>(&*source).is_some() {
            (TransportKind::Dns, format!("could not resolve the host name of {origin}"))
        } else {
            match find::<rustls::Error>(&*source) {
                Some(rustls::Error::InvalidCertificate(_)) => (
                    TransportKind::Tls,
                    format!("the TLS certificate of {origin} was not accepted"),
                ),
                Some(_) => {
                    (TransportKind::Tls, format!("could not establish a TLS session with {origin}"))
                }
                None => (TransportKind::Connect, format!("could not connect to {origin}")),
            }
        };
        Self::new(kind, text).with_source(source)
    }

    pub(super) fn connect_timeout(origin: &str, limit: Duration) -> Self {
        Self::new(TransportKind::Timeout, format!("could not connect to {origin} within {limit:?}"))
    }

    /// The error if a wait for the server took too long.
    pub(super) fn late(origin: &str, late: WaitEnd) -> Self {
        let text = match late {
            WaitEnd::Silent(limit) => format!("no data came from {origin} for {limit:?}"),
            WaitEnd::Bound(Bound::Progress(limit)) => {
                format!("the reply from {origin} made no progress for {limit:?}")
            }
            WaitEnd::Bound(Bound::ErrorBody(limit)) => {
                format!("the body of an error from {origin} did not end within {limit:?}")
            }
            WaitEnd::NoTimers => return Self::no_timers(),
        };
        Self::new(TransportKind::Timeout, text)
    }

    pub(super) fn no_runtime() -> Self {
        Self::new(TransportKind::Setup, "connections need a tokio runtime, and none is running")
    }

    pub(super) fn no_timers() -> Self {
        Self::new(
            TransportKind::Setup,
            "connections need timers, and this tokio runtime has none: build it with `enable_all` or `enable_time`",
        )
    }

    pub(super) fn no_io() -> Self {
        Self::new(
            TransportKind::Setup,
            "connections need I/O, and this tokio runtime has none: build it with `enable_all` or `enable_io`",
        )
    }

    /// The error if a reply cannot be read because its body has a content coding that no request
    /// accepts.
    pub(super) fn compressed(origin: &str, coding: &str) -> Self {
        Self::new(
            TransportKind::Http,
            format!(
                "the reply from {origin} is compressed (content-encoding: {coding}), which was not requested"
            ),
        )
    }

    /// The error if the connection failed before the reply's head, or while its body was received.
    pub(super) fn broken(origin: &str, before: &'static str, source: hyper::Error) -> Self {
        let invalid_chunk = find::<io::Error>(&source).is_some_and(|e| {
            matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
        });
        let (kind, text) = if find::<rustls::Error>(&source).is_some() {
            (TransportKind::Tls, format!("the TLS session with {origin} failed before {before}"))
        } else if source.is_parse() || invalid_chunk {
            (TransportKind::Http, format!("received invalid HTTP from {origin}"))
        } else {
            (
                TransportKind::Closed,
                format!("the connection to {origin} was closed before {before}"),
            )
        };
        Self::new(kind, text).with_source(source)
    }

    /// Returns the kind of failure, from which the retry policy decides.
    pub fn transport_kind(&self) -> TransportKind {
        self.0.kind
    }
}

/// Returns the first error of type `E` in the chain. Looks inside an [`io::Error`] too, which does
/// not return its inner error as its source.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        EscapedText(&self.0.text).fmt(f)?;
        let mut cause = self.source();
        while let Some(deeper) = cause.and_then(Error::source) {
            cause = Some(deeper);
        }
        cause.map_or(Ok(()), |cause| write!(f, ": {}", EscapedText(cause)))
    }
}

/// Writes the message, because `main` prints an error that it returns with `Debug`. `{:#?}` shows
/// the parts.
impl fmt::Debug for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return fmt::Display::fmt(self, f);
        }
        f.debug_struct("HttpError")
            .field("kind", &self.0.kind)
            .field("text", &self.0.text)
            .field("source", &self.0.source)
            .finish()
    }
}

impl Error for HttpError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl TransportError for HttpError {
    fn kind(&self) -> TransportKind {
        self.0.kind
    }
}

impl embedded_io_async::Error for HttpError {
    fn kind(&self) -> ErrorKind {
        self.0.kind.into()
    }
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for DnsError {}
