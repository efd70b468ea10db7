//! One request and the head of its reply, written and parsed by reqwless.

use ::reqwless::client::{HttpConnection, HttpResource};
use ::reqwless::headers::TransferEncoding;
use ::reqwless::request::{Method, RequestBody, RequestBuilder as _};
use ::reqwless::response::{
    BodyReader, ChunkedBodyReader, FixedLengthBodyReader, Response, StatusCode,
};
use embedded_io_async::{Read, Write};
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead};

use super::ReplyBody;
use super::stream::{HeadEnd, Stream};
use crate::{Error, Link, Target};

/// The head of a reply, and what it says about the body.
pub(super) struct ReceivedHead {
    head: ReplyHead,
    length: Option<usize>,
    is_chunked: bool,
    /// Whether the server keeps the connection open after this reply.
    keep: bool,
}

impl ReceivedHead {
    /// Reads the fields of a reply. Fails if there are two different lengths.
    fn new<C: Read>(response: &Response<'_, '_, C>) -> Result<Self, ::reqwless::Error> {
        let StatusCode(status) = response.status;
        let mut head = ReplyHead::new(status);
        let mut length = None;
        let mut keep = true;
        for (name, value) in response.headers() {
            let value = value.trim_ascii();
            if name.eq_ignore_ascii_case("content-length") {
                if *length.get_or_insert(value) != value {
                    return Err(::reqwless::Error::Codec);
                }
            } else if name.eq_ignore_ascii_case("connection") {
                keep = !crate::http::has_token(value, b"close");
            } else {
                head.field(name, value);
            }
        }
        // A reply of this status has no body, whatever its fields say.
        let length = if status == 304 { Some(0) } else { response.content_length };
        let is_chunked =
            length != Some(0) && response.transfer_encoding.contains(&TransferEncoding::Chunked);
        keep &= is_chunked || length.is_some();
        Ok(Self { head, length, is_chunked, keep })
    }

    fn is_interim(&self) -> bool {
        (100..200).contains(&self.head.status)
    }

    /// Returns the reply whose body arrives on `stream`.
    pub(super) fn into_reply<L: Link>(
        self,
        mut stream: Stream<L>,
        is_clean: Option<&mut bool>,
    ) -> Reply<ReplyBody<'_, L>> {
        stream.head_end = None;
        let reader = match self.length {
            _ if self.is_chunked => BodyReader::Chunked(ChunkedBodyReader::new(stream)),
            Some(remaining) => {
                BodyReader::FixedLength(FixedLengthBodyReader { raw_body: stream, remaining })
            }
            None => BodyReader::ToEnd(stream),
        };
        Reply { head: self.head, body: ReplyBody::new(reader, self.keep, is_clean) }
    }
}

/// Sends the request and reads the head of the reply into `buffer`.
pub(super) async fn exchange<L: Link>(
    stream: &mut Stream<L>,
    target: &Target<'_>,
    head: &Head<'_>,
    body: &Body<'_>,
    buffer: &mut [u8],
) -> Result<ReceivedHead, Error> {
    let size = buffer.len();
    match take(stream, target, head, body, buffer).await {
        Ok(mut taken) => {
            // HTTP/1.0 closes connections. reqwless does not report the version.
            taken.keep &= buffer.trim_ascii_start().starts_with(b"HTTP/1.1");
            Ok(taken)
        }
        Err(e) => Err(stream.error(&e, size)),
    }
}

async fn take<L: Link>(
    stream: &mut Stream<L>,
    target: &Target<'_>,
    head: &Head<'_>,
    body: &Body<'_>,
    buffer: &mut [u8],
) -> Result<ReceivedHead, ::reqwless::Error> {
    let mut taken = {
        let mut resource = HttpResource {
            conn: HttpConnection::Plain(&mut *stream),
            host: target.authority,
            base_path: target.prefix,
        };
        let request = resource.post(head.path).headers(head.headers).body(Pieces(body));
        ReceivedHead::new(&request.send(buffer).await?)?
    };
    // A 1xx response precedes the reply. This client never asks to switch protocols.
    while taken.is_interim() {
        stream.head_end = Some(HeadEnd::default());
        taken = ReceivedHead::new(&Response::read(stream, Method::POST, buffer).await?)?;
    }
    Ok(taken)
}

/// The body of a request for reqwless.
struct Pieces<'p, 'a>(&'p Body<'a>);

impl RequestBody for Pieces<'_, '_> {
    fn len(&self) -> Option<usize> {
        Some(self.0.len())
    }

    async fn write<W: Write>(&self, writer: &mut W) -> Result<(), W::Error> {
        for piece in self.0.pieces() {
            writer.write_all(piece).await?;
        }
        Ok(())
    }
}
