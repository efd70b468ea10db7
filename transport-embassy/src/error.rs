//! Errors of the transport.

use toolrunner_core::error::{Capacity, Misuse, Phrase, TransportKind};
use toolrunner_core::transport::TransportError;

#[cfg(feature = "tls")]
use crate::tls::Refusal;

/// An error of the transport. An error that the server reports about a request (an API error) is a
/// reply and not one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
// As wide as what it contains, because it is passed on by value: a chip would copy the unused bytes
// one by one.
#[repr(usize)]
pub enum Error {
    /// The transport cannot use the base URL; the text, `as_str()`, says why. Supported are
    /// `http://host[:port][/path]` without TLS, and `https` with TLS.
    BaseUrl(Phrase),
    /// A buffer is too small. The value names the buffer, the size that was needed and the size
    /// that was available.
    Capacity(Capacity),
    /// The connection was closed or reset.
    Closed,
    /// The connection could not be established: no server listens at the address, or there is no
    /// route to it.
    Connect,
    /// The host name could not be resolved.
    Dns,
    /// The response is not valid HTTP/1.1.
    Http,
    /// The network stack refused to open a connection without sending a packet: all sockets are in
    /// use, or the board has no address.
    Socket,
    /// Nothing was received, or nothing could be sent, before a timeout.
    Timeout,
    /// None of several addresses of the host could be connected to. If the host has one address,
    /// the error is [`Connect`](Self::Connect), [`Socket`](Self::Socket) or
    /// [`Timeout`](Self::Timeout) instead.
    Unreachable {
        /// The number of addresses that were tried.
        tried: usize,
        /// The failure of the last one.
        last: ConnectFailure,
    },
    /// The server aborted the handshake with an alert. The most likely reasons are that it has only
    /// an RSA certificate, or that it does not support TLS 1.3.
    #[cfg(feature = "tls")]
    HandshakeRefused,
    /// The server could not be authenticated.
    #[cfg(feature = "tls")]
    Refused(Refusal),
    /// The server violated TLS after the handshake: it sent a message or record that is not allowed
    /// there, or one that does not decrypt. A key update, which this client does not support, is
    /// reported in this way too. The next request opens a new connection.
    #[cfg(feature = "tls")]
    Session,
    /// The TLS handshake failed for another reason.
    #[cfg(feature = "tls")]
    Tls,
}

/// The reason why an address could not be connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
// For the same reason as in [`Error`].
#[repr(usize)]
pub enum ConnectFailure {
    /// No server listens at the address, or there is no route to it.
    Refused,
    /// The network stack refused to open a connection without sending a packet: all sockets are in
    /// use, or the board has no address.
    Socket,
    /// The address did not answer in its share of the time limit.
    Timeout,
}

impl From<ConnectFailure> for Error {
    fn from(failure: ConnectFailure) -> Self {
        match failure {
            ConnectFailure::Refused => Self::Connect,
            ConnectFailure::Socket => Self::Socket,
            ConnectFailure::Timeout => Self::Timeout,
        }
    }
}

impl TransportError for Error {
    fn kind(&self) -> TransportKind {
        match self {
            Self::Closed => TransportKind::Closed,
            Self::Connect | Self::Socket => TransportKind::Connect,
            Self::Dns => TransportKind::Dns,
            Self::BaseUrl(_) | Self::Capacity(_) | Self::Http => TransportKind::Http,
            Self::Timeout => TransportKind::Timeout,
            Self::Unreachable { last, .. } => TransportError::kind(&Self::from(*last)),
            // Treated like a broken connection, so that the request is retried over a new one.
            #[cfg(feature = "tls")]
            Self::Session => TransportKind::Closed,
            #[cfg(feature = "tls")]
            Self::HandshakeRefused | Self::Refused(_) | Self::Tls => TransportKind::Tls,
        }
    }

    fn capacity(&self) -> Option<Capacity> {
        if let Self::Capacity(full) = self { Some(*full) } else { None }
    }

    fn misuse(&self) -> Option<Misuse> {
        if let Self::BaseUrl(why) = self { Some(Misuse::BaseUrl(*why)) } else { None }
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::BaseUrl(why) => why.as_str(),
            Self::Capacity(full) => return full.fmt(f),
            Self::Closed => "the connection was closed",
            Self::Connect => "could not connect",
            Self::Dns => "could not resolve the host name",
            Self::Http => "the server did not send valid HTTP/1.1",
            Self::Socket => "could not connect: all sockets of the stack are in use, or it has no address",
            Self::Timeout => "timed out waiting for data",
            Self::Unreachable { tried, last } => {
                let last = match last {
                    ConnectFailure::Timeout => "no answer",
                    ConnectFailure::Refused => "refused, or no route",
                    ConnectFailure::Socket => {
                        "all sockets of the stack are in use, or it has no address"
                    }
                };
                return write!(
                    f,
                    "could not connect to any of the host's {tried} addresses; the last: {last}"
                );
            }
            #[cfg(feature = "tls")]
            Self::HandshakeRefused => "the server refused the handshake: perhaps it has only an RSA certificate, or no TLS 1.3",
            #[cfg(feature = "tls")]
            Self::Refused(why) => why.text(),
            #[cfg(feature = "tls")]
            Self::Session => "the server broke the TLS session",
            #[cfg(feature = "tls")]
            Self::Tls => "the TLS handshake failed",
        })
    }
}

impl core::error::Error for Error {}

impl embedded_io_async::Error for Error {
    fn kind(&self) -> embedded_io_async::ErrorKind {
        TransportError::kind(self).into()
    }
}
