//! Errors in a client's settings.

use core::error::Error;
use core::fmt;

use crate::http::BadCertificate;
#[cfg(feature = "proxy")]
use crate::http::BadProxy;

/// Why a client could not be made. The message says what to correct, and contains no secret.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupError {
    /// There is no key, no token, and no base URL of a server that might need neither.
    NoCredential,
    /// The environment variable of this name is not valid UTF-8.
    Variable(&'static str),
    /// A line of `ANTHROPIC_CUSTOM_HEADERS` is not `Name: value`. Contains its number, from 1.
    CustomHeader(usize),
    /// `ANTHROPIC_PROFILE` names a profile, which is not supported, and there is no other
    /// credential.
    Profile,
    /// The fallback at this position, from 0, is not a JSON object with a `model`.
    Fallback(usize),
    /// The base URL is invalid; the value says why.
    BaseUrl(&'static str),
    /// The key or the token cannot be sent as a header; the value says which one.
    Credential(&'static str),
    /// This header's name is invalid, or the transport sets this header itself.
    HeaderName(String),
    /// The value of this header cannot be sent, because it contains a line end or another control
    /// character.
    HeaderValue(String),
    /// The value of an extra body field is not valid JSON: the field's name, and why.
    BodyField(String, String),
    /// The proxy's URL is invalid.
    #[cfg(feature = "proxy")]
    Proxy(BadProxy),
    /// A root certificate is invalid.
    Certificate(BadCertificate),
    /// The TLS configuration cannot be used; the value says why.
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
            Self::CustomHeader(line) => {
                write!(f, "line {line} of ANTHROPIC_CUSTOM_HEADERS is not of the form Name: value")
            }
            Self::Profile => f.write_str(
                "profiles (ANTHROPIC_PROFILE) are not supported: set ANTHROPIC_API_KEY, \
                 ANTHROPIC_AUTH_TOKEN or the variables of a workload identity",
            ),
            Self::Fallback(at) => write!(f, "fallback {at} is not a JSON object with a model"),
            Self::BaseUrl(why) => f.write_str(why),
            Self::Credential(which) => {
                write!(f, "the {which} contains a character that is not allowed in a header")
            }
            Self::HeaderName(name) => write!(f, "the header {name:?} cannot be set"),
            Self::HeaderValue(name) => write!(
                f,
                "the value of the header {name:?} contains a character that is not allowed in a header"
            ),
            Self::BodyField(name, why) => {
                write!(f, "the body field {name:?} is not valid JSON: {why}")
            }
            #[cfg(feature = "proxy")]
            Self::Proxy(e) => fmt::Display::fmt(e, f),
            Self::Certificate(e) => fmt::Display::fmt(e, f),
            Self::Tls(why) => write!(f, "the TLS configuration {why}"),
        }
    }
}

/// Writes the message, because `main` prints an error that it returns with `Debug`.
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
