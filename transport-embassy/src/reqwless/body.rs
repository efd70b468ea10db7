//! The body of a reply, read by reqwless.

use ::reqwless::response::BodyReader;
use embedded_io_async::{BufRead, ErrorType, Read};
use toolrunner_core::transport::read_buffered;

use super::stream::Stream;
use crate::{Error, Link};

/// The body of a reply, read while it arrives.
///
/// If it is dropped before its end, the connection is closed.
pub struct ReplyBody<'t, L: Link> {
    reader: BodyReader<Stream<L>>,
    /// Whether the server keeps the connection open after this reply.
    keep: bool,
    /// Where to note that the connection may be used again.
    is_clean: Option<&'t mut bool>,
    /// Whether [`BufRead::fill_buf`] has begun and was not polled to its end.
    is_filling: bool,
}

impl<'t, L: Link> ReplyBody<'t, L> {
    pub(super) fn new(
        reader: BodyReader<Stream<L>>,
        keep: bool,
        is_clean: Option<&'t mut bool>,
    ) -> Self {
        Self { reader, keep, is_clean, is_filling: false }
    }

    fn stream(&mut self) -> Option<&mut Stream<L>> {
        match &mut self.reader {
            BodyReader::FixedLength(reader) => Some(&mut reader.raw_body),
            BodyReader::Chunked(reader) => Some(&mut reader.raw_body),
            BodyReader::ToEnd(stream) => Some(stream),
            BodyReader::Empty => None,
        }
    }

    /// Returns whether the body was read to its end, and the end is not that of the connection.
    fn is_done(&self) -> bool {
        match &self.reader {
            BodyReader::FixedLength(reader) => reader.remaining == 0,
            BodyReader::Chunked(reader) => reader.is_done(),
            BodyReader::ToEnd(_) => false,
            BodyReader::Empty => true,
        }
    }
}

impl<L: Link> ErrorType for ReplyBody<'_, L> {
    type Error = Error;
}

impl<L: Link> BufRead for ReplyBody<'_, L> {
    /// The future may be dropped: reqwless loses its place between two chunks then, so the bytes
    /// that it had consumed are restored.
    async fn fill_buf(&mut self) -> Result<&[u8], Error> {
        let was_filling = core::mem::replace(&mut self.is_filling, true);
        if let Some(stream) = self.stream() {
            if was_filling {
                stream.restore();
            }
            stream.mark();
        }
        let filled = self.reader.fill_buf().await.map(<[u8]>::len);
        self.is_filling = false;
        let is_done = self.is_done();
        let is_chunked = matches!(self.reader, BodyReader::Chunked(_));
        let Some(stream) = self.stream() else { return Ok(&[]) };
        stream.mark();
        match filled {
            // reqwless does not distinguish a connection that ends within a chunk.
            Ok(0) if is_chunked && !is_done => Err(Error::Closed),
            Ok(len) => Ok(stream.front(len)),
            Err(e) => Err(stream.error(&e, 0)),
        }
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
    }
}

impl<L: Link> Read for ReplyBody<'_, L> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        read_buffered(self, buffer).await
    }
}

impl<L: Link> core::fmt::Debug for ReplyBody<'_, L> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ReplyBody").field("done", &self.is_done()).finish_non_exhaustive()
    }
}

impl<L: Link> Drop for ReplyBody<'_, L> {
    /// Closes the connection if it cannot be used again. If this destructor does not run, the next
    /// request finds the connection dirty and replaces it.
    fn drop(&mut self) {
        let is_done = self.is_done() && !self.is_filling;
        let keep = self.keep;
        let Some(stream) = self.stream() else { return };
        if is_done && keep && stream.is_drained() {
            if let Some(is_clean) = &mut self.is_clean {
                **is_clean = true;
            }
        } else {
            stream.link.close();
        }
    }
}
