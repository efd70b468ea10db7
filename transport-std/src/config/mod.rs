//! The settings of a client: read from the environment or set in code, and checked once.
//!
//! ```
//! use toolrunner_std::ClientBuilder;
//!
//! let builder = ClientBuilder::new().base_url("http://127.0.0.1:8080/");
//! let settings = builder.beta("files-api-2025-04-14").settings()?;
//! assert_eq!(settings.base_url(), "http://127.0.0.1:8080");
//! assert_eq!(settings.path(), "/v1/messages");
//! let names: Vec<_> = settings.headers().map(|(name, _)| name).collect();
//! assert_eq!(names, ["content-type", "anthropic-version", "anthropic-beta"]);
//! # Ok::<(), toolrunner_std::SetupError>(())
//! ```

mod builder;
mod check;
mod environment;
mod error;
#[cfg(test)]
mod tests;

mod secret {
    toolrunner_core::__private::client::secret!();
}

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

pub use builder::ClientBuilder;
pub(crate) use builder::QUERY;
pub(crate) use check::{BETA, add_beta, checked_header};
pub use error::SetupError;
pub use secret::Secret;

use crate::http::{HttpTransport, without_query};

/// The server that is used if none is set.
pub const DEFAULT_BASE_URL: &str = toolrunner_core::wire::Config::BASE_URL;
/// The API version that is sent if none is set.
pub const DEFAULT_API_VERSION: &str = toolrunner_core::wire::Config::API_VERSION;
/// The maximum number of retries of a request if none is set.
pub const DEFAULT_MAX_RETRIES: u32 = 2;

/// The settings that all requests of a client share, checked and ready to use. Created by
/// [`ClientBuilder::settings`].
#[derive(Clone)]
pub struct Settings {
    base_url: String,
    path: String,
    headers: Vec<Header>,
    body_fields: Vec<(String, String)>,
    max_retries: u32,
    retry_after_cap: Duration,
    transport: HttpTransport,
    builder: Arc<ClientBuilder>,
}

/// A header field. Every value is wiped when it is dropped; secret values are never shown.
#[derive(Clone)]
struct Header {
    name: String,
    value: Secret,
    is_secret: bool,
}

impl Settings {
    /// Returns the scheme, host, port and path prefix, without a trailing slash.
    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Returns the path that follows the base URL, `/v1/messages`, with the extra query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the header fields, with names in lower case and each name once. **Some values are
    /// secret.**
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.headers.iter().map(|header| (header.name.as_str(), header.value.reveal()))
    }

    /// Returns the extra fields of the request's body: name, and value as JSON text.
    pub fn body_fields(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.body_fields.iter().map(|(name, json)| (name.as_str(), json.as_str()))
    }

    /// Returns the maximum number of retries of a request.
    pub const fn max_retries(&self) -> u32 {
        self.max_retries
    }

    /// Returns the longest wait before a retry that a server may request with `retry-after`.
    pub const fn retry_after_cap(&self) -> Duration {
        self.retry_after_cap
    }

    /// Returns the transport, which holds the connections. Clones share them.
    pub const fn transport(&self) -> &HttpTransport {
        &self.transport
    }

    /// Returns a builder with these settings, to change some of them for one run. Connections stay
    /// shared.
    pub fn to_builder(&self) -> ClientBuilder {
        ClientBuilder::clone(&self.builder)
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("base_url", &self.base_url)
            .field("path", &without_query(&self.path))
            .field("headers", &self.headers)
            .field(
                "body_fields",
                &self.body_fields.iter().map(|(name, _)| name).collect::<Vec<_>>(),
            )
            .field("max_retries", &self.max_retries)
            .field("retry_after_cap", &self.retry_after_cap)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_secret {
            write!(f, "{}: …", self.name)
        } else {
            write!(f, "{}: {}", self.name, self.value.reveal())
        }
    }
}
