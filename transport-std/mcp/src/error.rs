//! Why a server cannot be used.

use core::fmt;
use core::time::Duration;

/// Why a connection to a server, or the list of its tools, failed.
///
/// The text contains neither the URL nor a credential.
#[derive(Debug)]
#[non_exhaustive]
pub enum McpError {
    /// The program did not start.
    Start(std::io::Error),
    /// A setting is invalid.
    Setting(String),
    /// The server did not answer in this time.
    Timeout(Duration),
    /// The server ended, or the connection to it broke.
    Closed(String),
    /// The server refused the request, or its answer violates the protocol.
    Protocol(String),
}

impl fmt::Display for McpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "the MCP server did not start: {error}"),
            Self::Setting(text) => write!(f, "invalid setting of an MCP server: {text}"),
            Self::Timeout(limit) => {
                write!(f, "the MCP server did not answer within {} s", limit.as_secs_f64())
            }
            Self::Closed(text) => write!(f, "the MCP server is not available: {text}"),
            Self::Protocol(text) => write!(f, "the MCP server answered with an error: {text}"),
        }
    }
}

impl core::error::Error for McpError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Start(error) => Some(error),
            _ => None,
        }
    }
}

/// Returns the text of the first cause of an error, without URLs, which may hold a credential.
pub(crate) fn first_cause(error: &(dyn core::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    let text = cause.to_string();
    let words = text.split(' ').map(|word| if word.contains("://") { "(URL)" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

impl From<rmcp::ServiceError> for McpError {
    fn from(error: rmcp::ServiceError) -> Self {
        use rmcp::ServiceError;
        match error {
            ServiceError::McpError(error) => {
                Self::Protocol(format!("{} (code {})", error.message, error.code.0))
            }
            ServiceError::Timeout { timeout } => Self::Timeout(timeout),
            ServiceError::TransportClosed => Self::Closed("the connection is closed".to_owned()),
            ServiceError::TransportSend(error) => Self::Closed(first_cause(&*error.error)),
            other => Self::Protocol(first_cause(&other)),
        }
    }
}
