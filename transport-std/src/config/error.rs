//! What can be wrong with a client's settings.

use core::error::Error;
use core::fmt;

use crate::http::BadCertificate;
#[cfg(feature = "proxy")]
use crate::http::BadProxy;

/// Why no client could be made. Its text says what to mend, and holds no secret.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupError {
    /// No key, no token, and no base URL of a server that might need none.
    NoCredential,
    /// An environment variable holds bytes that are no UTF-8.
    Variable(&'static str),
    /// The base URL; why.
    BaseUrl(&'static str),
    /// The key or the token cannot be sent as a header; which.
    Credential(&'static str),
    /// A header's name is none, or one that the transport sets itself.
    HeaderName(String),
    /// The value of this header cannot be sent: it has a line end or another control character in
    /// it.
    HeaderValue(String),
    /// The extra body field of this name is no JSON; why.
    BodyField(String, String),
    /// The proxy's URL.
    #[cfg(feature = "proxy")]
    Proxy(BadProxy),
    /// A root certificate.
    Certificate(BadCertificate),
    /// The TLS configuration; why.
    Tls(&'static str),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCredential => f.write_str(
                "no API key: set ANTHROPIC_API_KEY (or ANTHROPIC_AUTH_TOKEN), \
                 or ANTHROPIC_BASE_URL to use a server that needs no key",
            ),
            Self::Variable(name) => write!(f, "the environment variable {name} is not valid UTF-8"),
            Self::BaseUrl(why) => f.write_str(why),
            Self::Credential(which) => {
                write!(f, "the {which} holds a character that no header can carry")
            }
            Self::HeaderName(name) => write!(f, "{name:?} is no header that can be set"),
            Self::HeaderValue(name) => write!(
                f,
                "the value of the header {name:?} holds a character that no header can carry"
            ),
            Self::BodyField(name, why) => {
                write!(f, "the body field {name:?} is no valid JSON: {why}")
            }
            #[cfg(feature = "proxy")]
            Self::Proxy(e) => fmt::Display::fmt(e, f),
            Self::Certificate(e) => fmt::Display::fmt(e, f),
            Self::Tls(why) => write!(f, "the TLS configuration {why}"),
        }
    }
}

/// The message, because `main` shows an error that it returns in this form.
impl fmt::Debug for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Error for SetupError {}

impl From<BadCertificate> for SetupError {
    fn from(e: BadCertificate) -> Self {
        Self::Certificate(e)
    }
}

#[cfg(feature = "proxy")]
impl From<BadProxy> for SetupError {
    fn from(e: BadProxy) -> Self {
        Self::Proxy(e)
    }
}
