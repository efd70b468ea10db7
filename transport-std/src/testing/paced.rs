//! Bodies from memory whose pieces may take time.

use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::stream::unfold;
use http::{HeaderMap, HeaderName};
use toolrunner_core::error::TransportKind;
use toolrunner_core::time::Clock;
use toolrunner_core::transport::{Reply, ReplyHead};

use crate::clock::SharedClock;
use crate::http::{HttpBody, HttpError};

/// A part of a body.
pub(super) enum Part {
    Data(Bytes),
    Wait(Duration),
    Fail(HttpError),
}

/// Creates a reply. See [`body`].
pub(super) fn reply(
    status: u16,
    headers: &[(String, String)],
    parts: VecDeque<Part>,
    clock: Option<SharedClock>,
    limit: Option<Duration>,
) -> Reply<HttpBody> {
    let mut head = ReplyHead::new(status);
    let mut fields = HeaderMap::new();
    for (name, value) in headers {
        head.field(name, value.as_bytes());
        if let (Ok(name), Ok(value)) = (name.parse::<HeaderName>(), value.parse()) {
            fields.append(name, value);
        }
    }
    Reply { head, body: body(parts, clock, limit).with_headers(fields) }
}

/// Creates a body from its parts. Waits take time on `clock`, and none without a clock. A wait that
/// is longer than `limit`, the read timeout, fails when the limit has passed.
fn body(parts: VecDeque<Part>, clock: Option<SharedClock>, limit: Option<Duration>) -> HttpBody {
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
