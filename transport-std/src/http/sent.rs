//! The body of a request for hyper: owned, in one frame, without a copy of the transcript.

use core::convert::Infallible;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering};
use core::task::{Context, Poll};
use std::io::IoSlice;
use std::sync::Arc;

use bytes::Buf;
use http_body::{Frame, SizeHint};
use toolrunner_core::transport::Body;

/// Shared by a connection and the bytes that are sent over it: if the connection is the only owner,
/// those bytes have been dropped. The flag is set when hyper has taken the last of them.
pub(super) type Token = Arc<AtomicBool>;

/// A request's body: one frame.
pub(super) struct SentBody(Option<SentBytes>);

/// `[before][transcript][after]`, read from `at`.
pub(super) struct SentBytes {
    /// The bytes around the transcript, copied into one buffer: they are few, and lent for too
    /// short a time.
    around: Vec<u8>,
    /// The offset in `around` at which the transcript belongs.
    split: usize,
    transcript: Transcript,
    at: usize,
    token: Option<Token>,
}

enum Transcript {
    /// The first bytes of a buffer that the run owns too, and their number.
    Shared(Arc<Vec<u8>>, usize),
    /// The transcript of a run that uses only slices, copied into `around`.
    Copied,
}

impl SentBody {
    pub(super) fn new(body: &Body<'_>, token: Option<Token>) -> Self {
        let shared = body.shared().filter(|shared| shared.len() >= body.transcript().len());
        let transcript = body.transcript();
        let mut around = Vec::with_capacity(if shared.is_some() {
            body.len() - transcript.len()
        } else {
            body.len()
        });
        for piece in body.before() {
            around.extend_from_slice(piece);
        }
        let split = around.len();
        let transcript = match shared {
            Some(shared) => Transcript::Shared(Arc::clone(shared), transcript.len()),
            None => {
                around.extend_from_slice(transcript);
                Transcript::Copied
            }
        };
        around.extend_from_slice(body.after());
        if body.is_empty() {
            return Self(None);
        }
        Self(Some(SentBytes { around, split, transcript, at: 0, token }))
    }
}

impl http_body::Body for SentBody {
    type Data = SentBytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<SentBytes>, Infallible>>> {
        Poll::Ready(self.get_mut().0.take().map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_ref().map_or(0, |bytes| bytes.remaining() as u64))
    }
}

impl SentBytes {
    fn pieces(&self) -> [&[u8]; 3] {
        let (before, after) = self.around.split_at(self.split);
        let transcript = match &self.transcript {
            Transcript::Shared(shared, len) => &shared[..*len],
            Transcript::Copied => &[],
        };
        [before, transcript, after]
    }

    /// Returns the rest of each piece.
    fn left(&self) -> [&[u8]; 3] {
        let mut skip = self.at;
        self.pieces().map(|piece| {
            let skipped = skip.min(piece.len());
            skip -= skipped;
            &piece[skipped..]
        })
    }
}

impl Buf for SentBytes {
    fn remaining(&self) -> usize {
        self.pieces().iter().map(|piece| piece.len()).sum::<usize>() - self.at
    }

    fn chunk(&self) -> &[u8] {
        self.left().into_iter().find(|piece| !piece.is_empty()).unwrap_or_default()
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let pieces = self.left().into_iter().filter(|piece| !piece.is_empty());
        slices.iter_mut().zip(pieces).map(|(slice, piece)| *slice = IoSlice::new(piece)).count()
    }

    fn advance(&mut self, count: usize) {
        assert!(count <= self.remaining(), "advanced past the end of a request's body");
        self.at += count;
        if let Some(token) = &self.token
            && !self.has_remaining()
        {
            token.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(shared: bool) -> SentBytes {
        let transcript = Arc::new(b"transcript, and room behind it".to_vec());
        let before: [&[u8]; 2] = [b"{\"a\":1,", b"\"messages\":["];
        let body = Body::new(&before, &transcript[..10], b"]}");
        let body = if shared { body.with_shared(&transcript) } else { body };
        SentBody::new(&body, None).0.unwrap_or_else(|| unreachable!())
    }

    const WHOLE: &[u8] = b"{\"a\":1,\"messages\":[transcript]}";

    #[test]
    fn every_start_gives_the_rest() {
        for shared in [true, false] {
            for start in 0..=WHOLE.len() {
                let mut sent = bytes(shared);
                sent.advance(start);
                assert_eq!(sent.remaining(), WHOLE.len() - start);
                assert_eq!(sent.chunk().is_empty(), sent.remaining() == 0);
                let mut slices = [IoSlice::new(&[]); 4];
                let count = sent.chunks_vectored(&mut slices);
                assert_eq!(
                    slices[..count].iter().flat_map(|slice| slice.to_vec()).collect::<Vec<_>>(),
                    &WHOLE[start..]
                );
                assert_eq!(sent.copy_to_bytes(sent.remaining()), &WHOLE[start..]);
            }
        }
    }

    #[test]
    fn few_slices_are_filled_from_the_front() {
        let sent = bytes(true);
        let mut slices = [IoSlice::new(&[])];
        assert_eq!(sent.chunks_vectored(&mut slices), 1);
        assert_eq!(&*slices[0], sent.chunk());
    }
}
