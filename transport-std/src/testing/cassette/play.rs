//! The replay of a recording.

use core::time::Duration;
use std::collections::VecDeque;
use std::path::Path;

use bytes::Bytes;
use toolrunner_core::error::{Error as CoreError, TransportKind};
use toolrunner_core::transport::{Reply as CoreReply, ReplyHead};

use super::diff::unified;
use super::error::CassetteError;
use super::exchange::{End, Exchange, Reply, Request};
use crate::clock::SharedClock;
use crate::http::{HttpBody, HttpError};
use crate::testing::paced::{self, Part};

/// The exchanges of a recording, and which of them were used.
pub(super) struct Player {
    exchanges: Vec<Exchange>,
    used: Vec<bool>,
    ignored: Vec<String>,
    in_any_order: bool,
    clock: Option<SharedClock>,
    sent: Vec<Request>,
    changed: Option<CassetteError>,
}

impl Player {
    pub(super) fn new(
        exchanges: Vec<Exchange>,
        ignored: Vec<String>,
        in_any_order: bool,
        clock: Option<SharedClock>,
    ) -> Self {
        let used = vec![false; exchanges.len()];
        Self { exchanges, used, ignored, in_any_order, clock, sent: Vec::new(), changed: None }
    }

    /// Returns the requests that were sent.
    pub(super) fn requests(&self) -> &[Request] {
        &self.sent
    }

    /// Answers a request from the recording.
    pub(super) fn answer(
        &mut self,
        request: Request,
        path: &Path,
        limit: Option<Duration>,
    ) -> Result<CoreReply<HttpBody>, HttpError> {
        let sent = request.comparable(&self.ignored);
        self.sent.push(request);
        let mut unused = (0..self.exchanges.len()).filter(|i| !self.used[*i]);
        let next = unused.clone().next();
        let fits = |i: &usize| self.exchanges[*i].request.comparable(&self.ignored) == sent;
        let found = if self.in_any_order { unused.find(fits) } else { next.filter(fits) };
        if let Some(i) = found {
            self.used[i] = true;
            return match &self.exchanges[i].reply {
                Ok(reply) => Ok(replay(reply, self.clock.clone(), limit)),
                Err(kind) => Err(error(*kind)),
            };
        }
        let recorded =
            next.map(|i| self.exchanges[i].request.comparable(&self.ignored)).unwrap_or_default();
        let exchange = next.unwrap_or(self.exchanges.len()) + 1;
        let text = format!(
            "request {exchange} is not the one in the cassette {}, which shows the difference when it is finished or dropped",
            path.display()
        );
        if self.changed.is_none() {
            self.changed = Some(CassetteError::Changed {
                path: path.to_owned(),
                exchange,
                difference: unified(&recorded, &sent),
            });
        }
        Err(HttpError::new(TransportKind::Setup, text))
    }

    /// Returns what the test did differently.
    pub(super) fn finish(&mut self, path: &Path) -> Result<(), CassetteError> {
        if let Some(changed) = self.changed.take() {
            return Err(changed);
        }
        let unused =
            self.exchanges.iter().zip(&self.used).enumerate().filter(|(_, (_, used))| !**used);
        let requests: Vec<_> = unused
            .map(|(i, (Exchange { request, .. }, _))| {
                (i + 1, format!("{} {}", request.method, request.path))
            })
            .collect();
        if requests.is_empty() {
            return Ok(());
        }
        Err(CassetteError::Unused { path: path.to_owned(), requests })
    }
}

fn error(kind: TransportKind) -> HttpError {
    HttpError::new(kind, format!("recorded: {}", CoreError::Transport(kind)))
}

fn replay(
    reply: &Reply,
    clock: Option<SharedClock>,
    limit: Option<Duration>,
) -> CoreReply<HttpBody> {
    let mut rest = reply.body.bytes();
    let mut parts = VecDeque::new();
    let mut pieces = reply.pieces.iter().copied();
    let mut waits = reply.waits.iter().copied();
    while !rest.is_empty() {
        let len = pieces.next().unwrap_or(rest.len());
        if let Some(wait) = waits.next() {
            parts.push_back(Part::Wait(Duration::from_millis(wait)));
        }
        // The last recorded piece has the rest, because a recording may be edited.
        let len = if pieces.len() == 0 { rest.len() } else { len.min(rest.len()) };
        parts.push_back(Part::Data(rest.split_to(len)));
    }
    match &reply.end {
        End::Whole => {}
        End::Unread => parts.push_back(Part::Fail(HttpError::new(
            TransportKind::Closed,
            "the recording of this reply ends here, because the recorded run did not read on",
        ))),
        End::Failed(kind) => parts.push_back(Part::Fail(error(*kind))),
    }
    paced::reply(reply.status, &reply.headers, parts, clock, limit)
}

/// Returns the reply to the exchange of a workload identity.
pub(super) fn token() -> CoreReply<HttpBody> {
    // The token is too short to be hidden wherever else it occurs.
    let json = r#"{"access_token":"replay","token_type":"Bearer","expires_in":3600}"#;
    let body = HttpBody::from_pieces([Bytes::from_static(json.as_bytes())]);
    CoreReply { head: ReplyHead::new(200), body }
}
