//! What can go wrong between a board and a server.

use toolrunner_core::error::{Capacity, TransportKind};
use toolrunner_core::transport::{TransportError, head_full};

#[cfg(feature = "tls")]
use crate::tls::Refusal;

/// An error of this transport. What a server says about a request (an API error) is none: it comes as a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The base URL is none that this transport can use: `http://host[:port][/path]`, or `https` with TLS.
    BaseUrl,
    /// The connection ended or was reset.
    Closed,
    /// No connection could be made: nobody listens, no route, no free socket.
    Connect,
    /// The name has no address.
    Dns,
    /// A line of the reply's head does not fit the buffer, which has this many bytes.
    HeadFull(usize),
    /// What came back is no HTTP/1.1.
    Http,
    /// Nothing came, or nothing could be sent, in time.
    Timeout,
    /// The server ended the handshake with an alert: most often it has no certificate but an RSA one, or no TLS 1.3.
    #[cfg(feature = "tls")]
    HandshakeRefused,
    /// A TLS record is larger than the buffer for it.
    #[cfg(feature = "tls")]
    RecordFull,
    /// The server is not who it should be.
    #[cfg(feature = "tls")]
    Refused(Refusal),
    /// The TLS session failed.
    #[cfg(feature = "tls")]
    Tls,
}

impl TransportError for Error {
    fn kind(&self) -> TransportKind {
        match self {
            Self::BaseUrl => TransportKind::Http,
            Self::Closed => TransportKind::Closed,
            Self::Connect => TransportKind::Connect,
            Self::Dns => TransportKind::Dns,
            Self::HeadFull(_) | Self::Http => TransportKind::Http,
            Self::Timeout => TransportKind::Timeout,
            #[cfg(feature = "tls")]
            Self::HandshakeRefused | Self::RecordFull | Self::Refused(_) | Self::Tls => TransportKind::Tls,
        }
    }

    fn capacity(&self) -> Option<Capacity> {
        match self {
            Self::HeadFull(len) => Some(head_full(len.saturating_add(1), *len)),
            _ => None,
        }
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::BaseUrl => "the base URL cannot be used here",
            Self::Closed => "the connection was closed",
            Self::Connect => "no connection",
            Self::Dns => "the name has no address",
            Self::HeadFull(_) => "a line of the reply's head does not fit the buffer",
            Self::Http => "what came back is no HTTP/1.1",
            Self::Timeout => "nothing came in time",
            #[cfg(feature = "tls")]
            Self::HandshakeRefused => "the server refused the handshake: perhaps it has only an RSA certificate, or no TLS 1.3",
            #[cfg(feature = "tls")]
            Self::RecordFull => "a TLS record is larger than the buffer for it",
            #[cfg(feature = "tls")]
            Self::Refused(why) => why.text(),
            #[cfg(feature = "tls")]
            Self::Tls => "the TLS session failed",
        })
    }
}

impl core::error::Error for Error {}

impl embedded_io_async::Error for Error {
    fn kind(&self) -> embedded_io_async::ErrorKind {
        use embedded_io_async::ErrorKind;
        match TransportError::kind(self) {
            TransportKind::Closed => ErrorKind::ConnectionReset,
            TransportKind::Connect | TransportKind::Dns => ErrorKind::NotConnected,
            TransportKind::Http => ErrorKind::InvalidData,
            TransportKind::Timeout => ErrorKind::TimedOut,
            TransportKind::Tls => ErrorKind::PermissionDenied,
            _ => ErrorKind::Other,
        }
    }
}
