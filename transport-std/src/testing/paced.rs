//! Bodies from memory whose pieces may take time.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::stream::unfold;
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

/// Creates a body from its parts. Waits take time on `clock`, and none without a clock. A wait that
/// is longer than `limit`, the read time-out, fails when the limit has passed.
pub(super) fn body(
    parts: VecDeque<Part>,
    clock: Option<SharedClock>,
    limit: Option<Duration>,
) -> HttpBody {
    HttpBody::from_stream(unfold((parts, clock), move |(mut parts, clock)| async move {
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
