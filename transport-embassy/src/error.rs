//! What can go wrong between a board and a server.

use toolrunner_core::error::{Capacity, Misuse, TransportKind};
use toolrunner_core::transport::TransportError;

#[cfg(feature = "tls")]
use crate::tls::Refusal;

/// An error of this transport. An error that the server reports about a request (an API error) is a
/// reply, not one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// This transport cannot use the base URL; the text says why. Usable are
    /// `http://host[:port][/path]` without TLS and `https` with TLS.
    BaseUrl(&'static str),
    /// A buffer is too small: which one, what was needed, and what there is.
    Capacity(Capacity),
    /// The connection ended or was reset.
    Closed,
    /// No connection could be made: nobody listens, or no route.
    Connect,
    /// The name has no address.
    Dns,
    /// What came back is not HTTP/1.1.
    Http,
    /// The stack refused to open a connection, without asking the network: all sockets are in use,
    /// or the board has no address.
    Socket,
    /// Nothing came, or nothing could be sent, in time.
    Timeout,
    /// The server ended the handshake with an alert: most often it has only an RSA certificate, or
    /// no TLS 1.3.
    #[cfg(feature = "tls")]
    HandshakeRefused,
    /// The server is not who it should be.
    #[cfg(feature = "tls")]
    Refused(Refusal),
    /// The server broke the rules of TLS after the handshake: a message or record that does not
    /// belong there, or that does not decrypt. Also what this client does not support, a key
    /// update. The next request opens a new connection.
    #[cfg(feature = "tls")]
    Session,
    /// The handshake failed.
    #[cfg(feature = "tls")]
    Tls,
}

impl TransportError for Error {
    fn kind(&self) -> TransportKind {
        match self {
            Self::Closed => TransportKind::Closed,
            Self::Connect | Self::Socket => TransportKind::Connect,
            Self::Dns => TransportKind::Dns,
            Self::BaseUrl(_) | Self::Capacity(_) | Self::Http => TransportKind::Http,
            Self::Timeout => TransportKind::Timeout,
            // As a connection that broke: worth another one.
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
        if let Self::BaseUrl(why) = self { Some(Misuse::Setting(why)) } else { None }
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::BaseUrl(why) => why,
            Self::Capacity(full) => return full.fmt(f),
            Self::Closed => "the connection was closed",
            Self::Connect => "no connection",
            Self::Dns => "the name has no address",
            Self::Http => "what came back is not HTTP/1.1",
            Self::Socket => "no connection: all sockets of the stack are in use, or it has no address",
            Self::Timeout => "nothing came in time",
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
