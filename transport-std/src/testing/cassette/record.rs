//! The recording of exchanges.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::stream::unfold;
use http::{HeaderMap, Method};
use toolrunner_core::error::TransportKind;
use toolrunner_core::time::{Clock, Instant};
use toolrunner_core::transport::{Head, Reply as CoreReply, TransportError};

use super::error::CassetteError;
use super::exchange::{Content, End, Exchange, Reply, Request};
use super::hide::{Secrets, keeps_reply_header};
use super::{exchange, request, take};
use crate::clock::SharedClock;
use crate::http::{HttpBody, HttpError};
use crate::lock::lock;

/// The exchanges so far, in the order in which the requests were sent.
pub(super) struct Recorder {
    clock: Option<SharedClock>,
    tapes: Vec<Arc<Tape>>,
}

/// One exchange while it is recorded. Secrets are removed at the end, when all are known.
pub(super) struct Tape {
    method: Method,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    clock: Option<SharedClock>,
    reply: Mutex<PartialReply>,
}

/// What was received so far.
#[derive(Default)]
struct PartialReply {
    head: Option<(u16, HeaderMap)>,
    pieces: Vec<Bytes>,
    waits: Vec<u64>,
    since: Option<Instant>,
    is_whole: bool,
    failure: Option<TransportKind>,
}

impl Recorder {
    pub(super) const fn new(clock: Option<SharedClock>) -> Self {
        Self { clock, tapes: Vec::new() }
    }

    pub(super) fn begin(&mut self, method: &Method, head: &Head<'_>, body: Vec<u8>) -> Arc<Tape> {
        let headers = head.headers.iter();
        let tape = Arc::new(Tape {
            method: method.clone(),
            path: head.path.to_owned(),
            headers: headers.map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            body,
            clock: self.clock.clone(),
            reply: Mutex::default(),
        });
        self.tapes.push(Arc::clone(&tape));
        tape
    }

    /// Returns the requests that were sent.
    pub(super) fn requests(&self, secrets: &Secrets) -> Vec<Request> {
        self.tapes.iter().map(|tape| tape.request(secrets)).collect()
    }

    /// Writes the recording to its file.
    pub(super) fn finish(&mut self, path: &Path, secrets: &Secrets) -> Result<(), CassetteError> {
        let mut exchanges = Vec::new();
        for (i, tape) in self.tapes.drain(..).enumerate() {
            let exchange = tape.exchange(secrets);
            exchanges.push(exchange.ok_or_else(|| CassetteError::Secret(path.to_owned(), i + 1))?);
        }
        let text = exchange::write(&exchanges);
        // What cannot be replayed must not replace what can.
        exchange::read(&text).map_err(|fault| CassetteError::Format(path.to_owned(), fault))?;
        write(path, &text).map_err(|error| CassetteError::Io(path.to_owned(), error))
    }
}

/// Writes a file as a whole or not at all.
fn write(path: &Path, text: &str) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    fs::write(&new, text)?;
    fs::rename(&new, path).inspect_err(|_| {
        // The error of the rename is the one that matters.
        let _ = fs::remove_file(&new);
    })
}

impl Tape {
    /// Returns the exchange without secrets, or `None` if one cannot be removed.
    fn exchange(&self, secrets: &Secrets) -> Option<Exchange> {
        let request = self.request(secrets);
        let PartialReply { head, pieces, waits, since: _, is_whole, failure } = take(&self.reply);
        let Some((status, headers)) = head else {
            // Without a failure, the run did not wait for the reply.
            return Some(Exchange {
                request,
                reply: Err(failure.unwrap_or(TransportKind::Closed)),
            });
        };
        let kept = headers.iter().filter(|(name, _)| keeps_reply_header(name.as_str()));
        let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), secrets.text(&value).into_owned())
        };
        let reply = Reply {
            status,
            headers: kept.map(field).collect(),
            body: Content::of(&pieces.concat(), secrets)?,
            pieces: pieces.iter().map(Bytes::len).collect(),
            waits,
            end: match failure {
                Some(kind) => End::Failed(kind),
                None if is_whole => End::Whole,
                None => End::Unread,
            },
        };
        Some(Exchange { request, reply: Ok(reply) })
    }

    fn request(&self, secrets: &Secrets) -> Request {
        let headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        request(&self.method, &self.path, &headers, &self.body, secrets)
    }

    fn heard(&self, next: Option<&Result<Bytes, HttpError>>) {
        let now = self.clock.as_ref().map(Clock::now);
        let mut heard = lock(&self.reply);
        match next {
            None => heard.is_whole = true,
            Some(Err(error)) => heard.failure = Some(TransportError::kind(error)),
            Some(Ok(piece)) => {
                heard.pieces.push(piece.clone());
                if let (Some(since), Some(now)) = (heard.since, now) {
                    let wait = u64::try_from(now.since(since).as_millis()).unwrap_or(u64::MAX);
                    heard.waits.push(wait);
                }
            }
        }
        heard.since = now;
    }
}

/// Records a reply as its body is read.
pub(super) fn tap(
    reply: Result<CoreReply<HttpBody>, HttpError>,
    tape: &Arc<Tape>,
) -> Result<CoreReply<HttpBody>, HttpError> {
    let CoreReply { head, body } = reply.inspect_err(|error| {
        lock(&tape.reply).failure = Some(TransportError::kind(error));
    })?;
    let headers = body.headers().clone();
    {
        let mut heard = lock(&tape.reply);
        heard.head = Some((head.status, headers.clone()));
        heard.since = tape.clock.as_ref().map(Clock::now);
    }
    let tape = Arc::clone(tape);
    let pieces = unfold((body, tape), |(mut body, tape)| async move {
        let next = body.take_piece().await;
        tape.heard(next.as_ref());
        // Whether a piece is progress is only known to the run, which reads the recorded body.
        body.progressed();
        Some((next?, (body, tape)))
    });
    Ok(CoreReply { head, body: HttpBody::from_stream(pieces).with_headers(headers) })
}
