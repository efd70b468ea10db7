//! The reply of any endpoint.

use core::fmt;

use http::HeaderMap;
use serde::de::DeserializeOwned;
use toolrunner_core::error::{Phrase, Protocol};
use toolrunner_core::json::Value;
use toolrunner_core::transport::Reply;

use crate::error::{Error, ProtocolFailure};
use crate::http::HttpBody;
use crate::rate_limits::RateLimits;

/// A reply with a success status. `B` is its body: bytes, or an [`HttpBody`] to read.
#[derive(Clone)]
#[non_exhaustive]
pub struct ApiReply<B = Vec<u8>> {
    /// The HTTP status, from 200 to 299.
    pub status: u16,
    /// The id to quote to the provider. Empty if the reply has none.
    pub request_id: String,
    /// The rate limits that the reply's headers report.
    pub rate_limits: RateLimits,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: B,
}

impl ApiReply<HttpBody> {
    pub(super) fn open(reply: Reply<HttpBody>) -> Self {
        let headers = reply.body.headers().clone();
        Self {
            status: reply.head.status,
            request_id: reply.head.request_id().to_owned(),
            rate_limits: RateLimits::of(&headers),
            headers,
            body: reply.body,
        }
    }

    pub(super) fn with_body(self, body: Vec<u8>) -> ApiReply {
        let Self { status, request_id, rate_limits, headers, body: _ } = self;
        ApiReply { status, request_id, rate_limits, headers, body }
    }
}

impl ApiReply {
    /// Returns the body as text. Bytes that are not UTF-8 become U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Parses the body as JSON.
    ///
    /// # Errors
    /// Returns [`Error::Protocol`] if the body is not JSON, or [`Error::Invalid`] with the position
    /// and the reason if it is not a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Error> {
        self.value()?;
        serde_json::from_slice(&self.body).map_err(|error| {
            Error::Invalid(format!("the reply is not a {}: {error}", core::any::type_name::<T>()))
        })
    }

    /// Returns the body as a JSON value that borrows it.
    ///
    /// # Errors
    /// Returns [`Error::Protocol`] if the body is not JSON.
    pub fn value(&self) -> Result<Value<'_>, Error> {
        let checked = toolrunner_core::__private::check(&self.body);
        checked
            .ok()
            .and_then(|_| Value::first(&self.body))
            .ok_or_else(|| Error::Protocol(ProtocolFailure::of(Protocol::NotAReply, &self.body)))
    }

    pub(crate) fn unexpected(&self) -> Error {
        let expected = const { Phrase::of("another reply of this endpoint") };
        Error::Protocol(ProtocolFailure::of(Protocol::Json { at: 0, expected }, &self.body))
    }
}

impl<B> fmt::Debug for ApiReply<B> {
    /// Omits the body and the header values.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiReply")
            .field("status", &self.status)
            .field("request_id", &self.request_id)
            .field("rate_limits", &self.rate_limits)
            .finish_non_exhaustive()
    }
}
