//! Converts Bedrock's replies to those of the Messages API.

use embedded_io_async::BufRead;
use http::HeaderMap;
use toolrunner_core::json::Value;
use toolrunner_core::transport::{Body, Head, Reply, Transport};
use toolrunner_std::http::{DynTransport, HttpTransport, SendFuture, Timeouts};
use toolrunner_std::{HttpBody, HttpError};

use crate::error_kind::kind_of;
use crate::stream::events_of;

/// As much of an error's body as is read, in bytes.
const ERROR_BODY: usize = 64 << 10;

/// A transport whose replies have the form of the Messages API.
pub(crate) struct DecodingTransport {
    inner: HttpTransport,
}

impl DecodingTransport {
    pub(crate) const fn new(inner: HttpTransport) -> Self {
        Self { inner }
    }

    async fn exchange(
        &self,
        head: &Head<'_>,
        body: &Body<'_>,
        timeouts: Timeouts,
    ) -> Result<Reply<HttpBody>, HttpError> {
        let mut transport = self.inner.clone().with_timeouts(timeouts);
        let Reply { mut head, body } = transport.send(head, body).await?;
        let headers = body.headers().clone();
        if let Some(id) = field(&headers, "x-amzn-requestid") {
            head.field("request-id", id.as_bytes());
        }
        let is_stream = field(&headers, "content-type")
            .is_some_and(|kind| kind.starts_with("application/vnd.amazon.eventstream"));
        let body = if !(200..300).contains(&head.status) {
            error_of(body, &headers).await
        } else if is_stream {
            events_of(body)
        } else {
            return Ok(Reply { head, body });
        };
        Ok(Reply { head, body: body.with_headers(headers) })
    }
}

impl DynTransport for DecodingTransport {
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a> {
        self.send_within(head, body, Timeouts::default())
    }

    fn send_within<'a>(
        &'a self,
        head: &'a Head<'_>,
        body: &'a Body<'_>,
        timeouts: Timeouts,
    ) -> SendFuture<'a> {
        Box::pin(self.exchange(head, body, timeouts))
    }
}

fn field<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Returns the body of an error in the API's form, if Bedrock's own form is known.
async fn error_of(mut body: HttpBody, headers: &HeaderMap) -> HttpBody {
    let mut whole = Vec::new();
    // The part of an error's body that has arrived is enough to report the error.
    while let Ok(piece) = body.fill_buf().await {
        let len = piece.len().min(ERROR_BODY - whole.len());
        if len == 0 {
            break;
        }
        whole.extend_from_slice(&piece[..len]);
        body.consume(len);
    }
    let value = Value::parse(&whole).unwrap_or_default();
    let text = |name: &str| value.member(name)?.as_text().map(|text| text.to_string());
    let exception =
        field(headers, "x-amzn-errortype").map(str::to_owned).or_else(|| text("__type"));
    // Some gateways answer in the API's form.
    if value.member("error").is_some() || (exception.is_none() && value.member("message").is_none())
    {
        return HttpBody::from_pieces([whole]);
    }
    let message = text("message").or_else(|| text("Message")).unwrap_or_default();
    HttpBody::from_pieces([error_json(kind_of(&exception.unwrap_or_default()), &message)])
}

/// Returns an error in the API's form.
pub(crate) fn error_json(kind: &str, message: &str) -> Vec<u8> {
    let mut out = b"{\"type\":\"error\",\"error\":{\"type\":\"".to_vec();
    // A Vec is never full.
    let _ = toolrunner_core::__private::escape(kind).write_to(&mut out);
    out.extend_from_slice(b"\",\"message\":\"");
    let _ = toolrunner_core::__private::escape(message).write_to(&mut out);
    out.extend_from_slice(b"\"}}");
    out
}
