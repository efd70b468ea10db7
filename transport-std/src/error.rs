//! The errors of a run, with messages for people.

use core::fmt;

use toolrunner_core::error as core_error;
use toolrunner_core::json::Value;
use toolrunner_core::run::Run as Machine;

use crate::EscapedText;
use crate::config::SetupError;
use crate::http::HttpError;
use crate::rate_limits::RateLimits;

/// Why a run could not continue. The variant says which side caused it. The run itself is intact:
/// call it again to continue where it stopped.
///
/// Text from others, such as a server, is shown on one line and without control characters: see
/// [`EscapedText`](crate::EscapedText). `Debug` writes the same text as `Display`, because `main`
/// prints an error that it returns with `Debug`; `{:#?}` shows the parts.
#[non_exhaustive]
pub enum Error {
    /// The server reported an error.
    Api(Box<ApiFailure>),
    /// A limit was reached: what was full, how much was needed, how much was free.
    Capacity(core_error::Capacity),
    /// The caller's [request hook](crate::http::RequestHook) returned this error. The request was
    /// not sent.
    Hook(Box<dyn core::error::Error + Send + Sync>),
    /// The calling code broke a rule of the run; the value says which.
    Misuse(core_error::Misuse),
    /// The calling code passed a value that this client cannot use, such as a parameter that is not
    /// JSON. The text says which and why.
    Invalid(String),
    /// The data received is not a reply of the Messages API.
    Protocol(ProtocolFailure),
    /// The client could not be set up.
    Setup(SetupError),
    /// The network failed.
    Transport(HttpError),
}

/// An error that the server reported, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApiFailure {
    /// The status, the kind, and how long to wait before a retry.
    pub error: core_error::ApiError,
    /// The error's `type` as the server spells it. Empty if the server did not send one.
    pub kind: String,
    /// The error's `message`. If the body is not an error of the API (such as a proxy's page), this
    /// is its first line, up to 200 characters.
    pub message: String,
    /// The request id to quote to the provider. Empty if the reply has no request id.
    pub request_id: String,
    /// The error's `details` as JSON, such as the paths of images that are too large. Empty if the
    /// server did not send any.
    pub details: String,
    /// The rate limits that the reply's headers report. A reply with status 429 names those that
    /// are exhausted.
    pub rate_limits: RateLimits,
}

impl ApiFailure {
    /// Returns `error_code` of the error's [`details`](Self::details), such as
    /// `image_dimensions_too_large`, which names the cause within a `kind`. `None` if there is
    /// none.
    pub fn error_code(&self) -> Option<String> {
        let code = Value::first(self.details.as_bytes())?.member("error_code")?;
        code.as_text().map(|code| code.to_string())
    }
}

/// Data that is not a valid reply, with the start of what was received.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProtocolFailure {
    /// What is wrong with the data.
    pub error: core_error::Protocol,
    /// The start of the event or body that was not understood: at most 200 characters, with control
    /// characters escaped. Empty if the reply ended too early, or if its events came in the wrong
    /// order.
    pub received: String,
}

impl ProtocolFailure {
    /// Creates the error for data that was received and not understood.
    pub(crate) fn of(error: core_error::Protocol, received: &[u8]) -> Self {
        Self { error, received: shown(received) }
    }
}

impl fmt::Display for ProtocolFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)?;
        if !self.received.is_empty() {
            write!(f, "; it begins: {}", self.received)?;
        }
        Ok(())
    }
}

impl fmt::Display for ApiFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind.as_str(), self.error.kind) {
            ("", core_error::ApiErrorKind::Unknown) => write!(f, "status {}", self.error.status)?,
            ("", known) => write!(f, "{} (status {})", known.name(), self.error.status)?,
            (kind, _) => write!(f, "{} (status {})", EscapedText(kind), self.error.status)?,
        }
        if !self.message.is_empty() {
            write!(f, ": {}", EscapedText(&self.message))?;
        }
        f.write_str(match self.error.status {
            101 => ": the server switched to another protocol, which was not requested",
            304 => ": a reply to a conditional request, which was not sent: a proxy in between caches replies",
            300..=399 => ": redirects are not followed, because they would send the key to another server: use the base URL of the target",
            _ => "",
        })?;
        if self.kind.is_empty() && self.error.status == 404 {
            f.write_str(": check the base URL, the part before /v1/messages")?;
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
            Self::Capacity(full) => fmt::Display::fmt(full, f),
            Self::Hook(error) => {
                write!(f, "the request hook failed: {}", EscapedText(error))?;
                let mut deeper = error.source();
                while let Some(cause) = deeper {
                    write!(f, ": {}", EscapedText(cause))?;
                    deeper = cause.source();
                }
                Ok(())
            }
            Self::Misuse(misuse) => fmt::Display::fmt(misuse, f),
            Self::Invalid(text) => fmt::Display::fmt(&EscapedText(text), f),
            Self::Protocol(protocol) => write!(f, "protocol error: {protocol}"),
            Self::Setup(setup) => fmt::Display::fmt(setup, f),
            Self::Transport(error) => fmt::Display::fmt(error, f),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            return fmt::Display::fmt(self, f);
        }
        let (name, part): (_, &dyn fmt::Debug) = match self {
            Self::Api(failure) => ("Api", failure),
            Self::Capacity(full) => ("Capacity", full),
            Self::Hook(error) => ("Hook", error),
            Self::Misuse(misuse) => ("Misuse", misuse),
            Self::Invalid(text) => ("Invalid", text),
            Self::Protocol(protocol) => ("Protocol", protocol),
            Self::Setup(setup) => ("Setup", setup),
            Self::Transport(error) => ("Transport", error),
        };
        f.debug_tuple(name).field(part).finish()
    }
}

impl core::error::Error for Error {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Transport(error) => error.source(),
            Self::Setup(error) => error.source(),
            Self::Hook(error) => Some(&**error),
            _ => None,
        }
    }
}

impl Error {
    /// Converts the machine's error, and adds everything that is known about it.
    pub(crate) fn of(
        error: core_error::Error,
        transport: Option<HttpError>,
        machine: &Machine<'_>,
    ) -> Self {
        match (error, transport) {
            (core_error::Error::Api(error), _) => {
                let text = machine.api_error();
                let text = text.as_ref();
                let own = |text: toolrunner_core::json::Text<'_>| text.to_string();
                Self::Api(Box::new(ApiFailure {
                    error,
                    kind: text.map(|text| own(text.kind)).unwrap_or_default(),
                    message: text
                        .filter(|text| !text.message.is_empty())
                        .map_or_else(|| start_of(machine.error_body()), |text| own(text.message)),
                    request_id: text.map_or_else(
                        || machine.request_id().to_owned(),
                        |text| own(text.request_id),
                    ),
                    details: text
                        .and_then(|text| text.body.member("error")?.member("details"))
                        .map_or_else(String::new, |details| {
                            if details.is_null() {
                                String::new()
                            } else {
                                details.as_json().to_owned()
                            }
                        }),
                    rate_limits: RateLimits::default(),
                }))
            }
            (core_error::Error::Protocol(error), _) => {
                Self::Protocol(ProtocolFailure { error, received: shown(machine.error_body()) })
            }
            (core_error::Error::Transport(_), Some(error)) => error.into(),
            (core_error::Error::Transport(kind), None) => {
                Self::Transport(HttpError::new(kind, error_text(kind)))
            }
            (error, _) => error.into(),
        }
    }

    /// Adds the rate limits of the reply that reported the error.
    pub(crate) fn with_rate_limits(mut self, limits: &RateLimits) -> Self {
        if let Self::Api(failure) = &mut self {
            failure.rate_limits = limits.clone();
        }
        self
    }

    /// Clones the error, to report a mistake in the set-up of a run at each use. A transport error
    /// becomes [`Invalid`](Self::Invalid).
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Api(failure) => Self::Api(failure.clone()),
            Self::Capacity(full) => Self::Capacity(*full),
            Self::Misuse(misuse) => Self::Misuse(*misuse),
            Self::Invalid(text) => Self::Invalid(text.clone()),
            Self::Protocol(protocol) => Self::Protocol(protocol.clone()),
            Self::Setup(setup) => Self::Setup(setup.clone()),
            // No network is used to set up a run.
            error @ (Self::Transport(_) | Self::Hook(_)) => Self::Invalid(error.to_string()),
        }
    }

    /// Returns the error that the server reported, or `None` if the error has another cause.
    pub const fn api(&self) -> Option<&ApiFailure> {
        match self {
            Self::Api(failure) => Some(failure),
            _ => None,
        }
    }
}

/// Returns what a person needs to recognize a proxy's page, or a gateway's errors in a JSON format
/// of its own.
fn start_of(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body.get(..800).unwrap_or(body));
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    line.chars().filter(|c| !c.is_control()).take(200).collect()
}

/// Returns the start of data that was not understood, escaped so that it cannot control a terminal
/// or start a line.
fn shown(received: &[u8]) -> String {
    let text = String::from_utf8_lossy(received.get(..800).unwrap_or(received));
    EscapedText(text.trim().chars().take(200).collect::<String>()).to_string()
}

fn error_text(kind: core_error::TransportKind) -> String {
    core_error::Error::Transport(kind).to_string()
}

impl From<core_error::Error> for Error {
    fn from(error: core_error::Error) -> Self {
        match error {
            core_error::Error::Api(error) => {
                let none = String::new;
                Self::Api(Box::new(ApiFailure {
                    error,
                    kind: none(),
                    message: none(),
                    request_id: none(),
                    details: none(),
                    rate_limits: RateLimits::default(),
                }))
            }
            core_error::Error::Capacity(full) => Self::Capacity(full),
            core_error::Error::Misuse(misuse) => Self::Misuse(misuse),
            core_error::Error::Protocol(error) => {
                Self::Protocol(ProtocolFailure { error, received: String::new() })
            }
            core_error::Error::Transport(kind) => {
                Self::Transport(HttpError::new(kind, error_text(kind)))
            }
            other => Self::Invalid(other.to_string()),
        }
    }
}

impl From<core_error::Misuse> for Error {
    fn from(misuse: core_error::Misuse) -> Self {
        Self::Misuse(misuse)
    }
}

impl From<SetupError> for Error {
    fn from(error: SetupError) -> Self {
        Self::Setup(error)
    }
}

impl From<HttpError> for Error {
    fn from(error: HttpError) -> Self {
        error.into_hook_error().map_or_else(Self::Transport, Self::Hook)
    }
}
