//! The errors of a client and of its runs.

use core::fmt;

use toolrunner_core::__private::client::EscapedText;
use toolrunner_core::error::{self as core_error, ApiError, Capacity, Misuse, Protocol};
use toolrunner_core::run::Run as Machine;
use toolrunner_core::transport::Failure;

/// Why a run could not continue. The variant says which side caused it. The run itself is intact:
/// call it again to continue where it stopped.
///
/// `Display` writes text from a server on one line and without control characters: line separators
/// and characters that change the direction of text are escaped too.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The server reported an error.
    Api(Box<ApiFailure>),
    /// A limit of memory was reached: what was full, how much was needed, how much was free.
    Capacity(Capacity),
    /// The calling code passed a value that this client cannot use, such as a parameter that is not
    /// JSON. The text says which and why.
    Invalid(String),
    /// The calling code broke a rule of the run; the value says which.
    Misuse(Misuse),
    /// The data received is not a reply of the Messages API.
    Protocol(Protocol),
    /// The client could not be set up.
    Setup(SetupError),
    /// The network failed.
    Transport(Failure),
}

/// An error that the server reported, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiFailure {
    /// The status, the kind, and how long to wait before a retry.
    pub error: ApiError,
    /// The error's `type` as the server spells it. Empty if the server did not send one.
    pub kind: String,
    /// The error's `message`. **This text is not trusted**: it may contain line breaks and control
    /// characters.
    pub message: String,
    /// The request id to quote to the provider. Empty if the reply has no request id.
    pub request_id: String,
}

/// Why the settings of a client cannot be used. No variant contains a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SetupError {
    /// The base URL is not usable, for this reason.
    BaseUrl(&'static str),
    /// A root certificate is not a certificate in PEM.
    Certificate,
    /// A header cannot be set: its name is not valid, or the transport sets it.
    HeaderName(String),
    /// The value of this header, or the API key or token that it carries, has a character that no
    /// header can carry.
    HeaderValue(String),
    /// Neither a key, a token nor a base URL is set.
    NoCredential,
    /// This environment variable is not valid UTF-8, or a line of it has no colon.
    Variable(&'static str),
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BaseUrl(why) => f.write_str(why),
            Self::Certificate => f.write_str("a root certificate is not a certificate in PEM"),
            Self::HeaderName(name) => write!(f, "the header {name:?} cannot be set"),
            Self::HeaderValue(name) => {
                write!(f, "the value of the header {name:?} has a character that is not allowed")
            }
            Self::NoCredential => f.write_str(
                "no credential: set ANTHROPIC_API_KEY or ANTHROPIC_AUTH_TOKEN, or a base URL of a \
                 gateway that needs none",
            ),
            Self::Variable(name) => {
                write!(f, "the environment variable {name} cannot be read as settings")
            }
        }
    }
}

impl core::error::Error for SetupError {}

impl fmt::Display for ApiFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.kind.is_empty() { self.error.kind.name() } else { &self.kind };
        write!(f, "{} (status {})", EscapedText(kind), self.error.status)?;
        if !self.message.is_empty() {
            write!(f, ": {}", EscapedText(&self.message))?;
        }
        if !self.request_id.is_empty() {
            write!(f, " [request id {}]", EscapedText(&self.request_id))?;
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(failure) => write!(f, "API error: {failure}"),
            Self::Capacity(full) => full.fmt(f),
            Self::Invalid(text) => EscapedText(text).fmt(f),
            Self::Misuse(misuse) => misuse.fmt(f),
            Self::Protocol(protocol) => write!(f, "protocol error: {protocol}"),
            Self::Setup(setup) => setup.fmt(f),
            Self::Transport(failure) => failure.fmt(f),
        }
    }
}

impl core::error::Error for Error {}

impl Error {
    /// Converts the machine's error, and adds everything that is known about it.
    pub(crate) fn of(
        error: core_error::Error,
        transport: Option<Failure>,
        machine: &Machine<'_>,
    ) -> Self {
        match (error, transport) {
            (core_error::Error::Api(error), _) => {
                let text = machine.api_error();
                let text = text.as_ref();
                Self::Api(Box::new(ApiFailure {
                    error,
                    kind: text.map(|text| text.kind.to_string()).unwrap_or_default(),
                    message: text.map(|text| text.message.to_string()).unwrap_or_default(),
                    request_id: text.map_or_else(
                        || machine.request_id().to_owned(),
                        |text| text.request_id.to_string(),
                    ),
                }))
            }
            (core_error::Error::Transport(_), Some(failure)) => Self::Transport(failure),
            (error, _) => error.into(),
        }
    }

    /// Clones an error in the set-up of a run, to report it at each use.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Api(failure) => Self::Api(failure.clone()),
            Self::Capacity(full) => Self::Capacity(*full),
            Self::Invalid(text) => Self::Invalid(text.clone()),
            Self::Misuse(misuse) => Self::Misuse(*misuse),
            Self::Protocol(protocol) => Self::Protocol(*protocol),
            Self::Setup(setup) => Self::Setup(setup.clone()),
            Self::Transport(failure) => Self::Transport(failure.clone()),
        }
    }
}

impl From<core_error::Error> for Error {
    fn from(error: core_error::Error) -> Self {
        match error {
            core_error::Error::Api(error) => Self::Api(Box::new(ApiFailure {
                error,
                kind: String::new(),
                message: String::new(),
                request_id: String::new(),
            })),
            core_error::Error::Capacity(full) => Self::Capacity(full),
            core_error::Error::Misuse(misuse) => Self::Misuse(misuse),
            core_error::Error::Protocol(error) => Self::Protocol(error),
            core_error::Error::Transport(kind) => {
                Self::Transport(Failure::new(kind, "the transport failed"))
            }
            other => Self::Invalid(other.to_string()),
        }
    }
}

impl From<Misuse> for Error {
    fn from(misuse: Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl From<SetupError> for Error {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}
