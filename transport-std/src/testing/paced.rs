//! Bodies from memory whose pieces may take time.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::stream::unfold;
use http_body::{Body, Frame};
use toolrunner_core::error::TransportKind;
use toolrunner_core::time::Clock;

use crate::clock::SharedClock;
use crate::http::{HttpBody, HttpError};

/// A part of a body.
pub(super) enum Part {
    Data(Bytes),
    Wait(Duration),
    Fail(HttpError),
}

/// A stream of pieces as a body.
struct StreamBody<S>(Pin<Box<S>>);

impl<S: Stream<Item = Result<Bytes, HttpError>>> Body for StreamBody<S> {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        self.0.as_mut().poll_next(cx).map(|next| next.map(|piece| piece.map(Frame::data)))
    }
}

/// Creates a body from a stream of its pieces.
pub(super) fn of_stream(
    stream: impl Stream<Item = Result<Bytes, HttpError>> + Send + 'static,
) -> HttpBody {
    HttpBody::from_body(StreamBody(Box::pin(stream)))
}

/// Creates a body from its parts. Waits take time on `clock`, and none without a clock. A wait that
/// is longer than `limit`, the read timeout, fails when the limit has passed.
pub(super) fn body(
    parts: VecDeque<Part>,
    clock: Option<SharedClock>,
    limit: Option<Duration>,
) -> HttpBody {
    of_stream(unfold((parts, clock), move |(mut parts, clock)| async move {
        loop {
            match parts.pop_front()? {
                Part::Data(data) if data.is_empty() => {}
                Part::Data(data) => return Some((Ok(data), (parts, clock))),
                Part::Fail(error) => return Some((Err(error), (VecDeque::new(), clock))),
                Part::Wait(wait) => {
                    let Some(clock) = &clock else { continue };
                    let late = limit.filter(|limit| wait > *limit);
                    clock.wait_until(clock.now().after(late.unwrap_or(wait))).await;
                    if let Some(limit) = late {
                        let text = format!("no data came from the script for {limit:?}");
                        parts.push_front(Part::Fail(HttpError::new(TransportKind::Timeout, text)));
                    }
                }
            }
        }
    }))
}
