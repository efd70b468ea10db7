//! Decodes `application/vnd.amazon.eventstream` into server-sent events.
//!
//! Each frame has its length, a checksum of that length, headers, a payload, and a checksum of the
//! whole. A `chunk` has the JSON of one event of the Messages API, as base64 in `bytes`.

use aws_smithy_eventstream::frame::{DecodedFrame, MessageFrameDecoder};
use aws_smithy_types::event_stream::{HeaderValue, Message};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf, Bytes, BytesMut};
use embedded_io_async::BufRead;
use futures_util::stream::unfold;
use http_body::Frame;
use http_body_util::StreamBody;
use toolrunner_core::error::TransportKind;
use toolrunner_core::json::Value;
use toolrunner_std::{HttpBody, HttpError};

use crate::error_kind::kind_of;
use crate::reply::error_json;

/// The largest frame that is accepted, in bytes. The format's own limit is 16 MiB of payload.
const MAX_FRAME: usize = (16 << 20) + (128 << 10) + 16;

/// A stream of frames that is being read.
struct Frames {
    body: HttpBody,
    decoder: MessageFrameDecoder,
    received: BytesMut,
    /// The length of the frame that is being received, once it is known.
    frame: Option<usize>,
    is_over: bool,
}

/// Returns the events of a stream of frames as server-sent events.
pub(crate) fn events_of(body: HttpBody) -> HttpBody {
    let frames = Frames {
        body,
        decoder: MessageFrameDecoder::new(),
        received: BytesMut::new(),
        frame: None,
        is_over: false,
    };
    HttpBody::from_body(StreamBody::new(unfold(frames, |mut frames| async move {
        if frames.is_over {
            return None;
        }
        let next = frames.next().await;
        frames.is_over = !matches!(next, Ok(Some(_)));
        let next = next.transpose()?;
        Some((next.map(|event| Frame::data(Bytes::from(event))), frames))
    })))
}

impl Frames {
    /// Returns the next event, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, HttpError> {
        loop {
            self.check_length()?;
            let decoded = self.decoder.decode_frame(&mut self.received);
            let decoded = decoded
                .map_err(|e| corrupt("the event stream has an invalid frame").with_source(e))?;
            if let DecodedFrame::Complete(message) = decoded {
                self.frame = None;
                if let Some((event, is_progress)) = event_of(&message)? {
                    if is_progress {
                        self.body.progressed();
                    }
                    return Ok(Some(event));
                }
                continue;
            }
            let piece = self.body.fill_buf().await?;
            let len = piece.len();
            self.received.extend_from_slice(piece);
            self.body.consume(len);
            if len == 0 {
                // The decoder may already have taken the start of a frame.
                return if self.frame.is_none() && !self.received.has_remaining() {
                    Ok(None)
                } else {
                    let text = "the event stream ended in the middle of a frame";
                    Err(HttpError::new(TransportKind::Closed, text))
                };
            }
        }
    }

    /// Checks the length that a frame announces before as much is received. Its checksum is only
    /// verified with the whole frame.
    fn check_length(&mut self) -> Result<(), HttpError> {
        if self.frame.is_none()
            && let Some(length) = self.received.first_chunk::<4>()
        {
            let length = u32::from_be_bytes(*length) as usize;
            if length > MAX_FRAME {
                return Err(corrupt(&format!(
                    "the event stream has a frame of {length} bytes, more than {MAX_FRAME}"
                )));
            }
            // The decoder takes the prelude only when all of it has arrived.
            self.frame = (self.received.len() >= 12).then_some(length);
        }
        Ok(())
    }
}

/// The error for data that is damaged. The request is sent again, as after an invalid reply.
fn corrupt(text: &str) -> HttpError {
    HttpError::new(TransportKind::Other, text)
}

/// Returns the server-sent event of a frame, and whether it is progress. A frame of another kind
/// has none.
fn event_of(message: &Message) -> Result<Option<(Vec<u8>, bool)>, HttpError> {
    let header = |name: &str| {
        let of = message.headers().iter().find(|header| header.name().as_str() == name)?;
        match of.value() {
            HeaderValue::String(text) => Some(text.as_str()),
            _ => None,
        }
    };
    let payload = message.payload();
    let value = |bytes| Value::parse(bytes).ok();
    match header(":message-type") {
        Some("event") if header(":event-type") == Some("chunk") => {
            let encoded =
                value(payload).and_then(|v| Some(v.member("bytes")?.as_text()?.to_string()));
            let decoded = encoded.and_then(|encoded| STANDARD.decode(encoded).ok());
            let decoded =
                decoded.ok_or_else(|| corrupt("a chunk of the event stream has no bytes"))?;
            let kind = value(&decoded).and_then(|v| Some(v.member("type")?.as_text()?.to_string()));
            let kind =
                kind.ok_or_else(|| corrupt("a chunk of the event stream is not an event"))?;
            Ok(Some((event(&kind, &decoded), kind != "ping")))
        }
        Some("event") => Ok(None),
        // An exception has its name in a header and a message in its payload, and an error both in
        // headers.
        Some("exception" | "error") => {
            let name = header(":exception-type").or_else(|| header(":error-code"));
            let text =
                value(payload).and_then(|v| Some(v.member("message")?.as_text()?.to_string()));
            let text = text.or_else(|| header(":error-message").map(str::to_owned));
            let name = name.unwrap_or_default();
            let error = error_json(kind_of(name), text.as_deref().unwrap_or(name));
            Ok(Some((event("error", &error), true)))
        }
        _ => Err(corrupt("a frame of the event stream has no known type")),
    }
}

/// Writes one event. JSON may contain line ends between its tokens, and each line needs a `data:`.
fn event(kind: &str, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() + kind.len() + 24);
    if !kind.contains(['\r', '\n']) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'\n');
    }
    for line in data.split(|byte| matches!(byte, b'\r' | b'\n')) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line);
        out.push(b'\n');
    }
    out.push(b'\n');
    out
}
