//! A request to any endpoint of the API.

use core::fmt;
use core::pin::Pin;
use std::sync::Arc;

use embedded_io_async::BufRead;
use http::Method;
use percent_encoding::utf8_percent_encode;
use toolrunner_core::error::Error as CoreError;
use toolrunner_core::policy::RetryPolicy;
use toolrunner_core::run::{Run as Machine, Step};
use toolrunner_core::time::Clock;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::{Body, Head, Reply, TransportError};

use super::ApiReply;
use crate::clock::SharedClock;
use crate::config::{BETA, QUERY, Settings, checked_header};
use crate::error::Error;
use crate::http::{HttpBody, HttpError, HttpTransport};

/// The maximum size of the body of a reply if none is set, in bytes: 32 MiB.
pub const DEFAULT_REPLY_LIMIT: usize = 32 << 20;
/// More than the largest body of an error that is kept.
const ERROR_ROOM: usize = 80 << 10;

/// A request to an endpoint of the API; `.await` sends it. Created by
/// [`Client::get`](crate::Client::get), [`post`](crate::Client::post) and
/// [`delete`](crate::Client::delete).
///
/// It has the client's headers and query. It is sent again under the client's rules for retries, as
/// the requests of a run are, so a request that creates something may create it twice if the first
/// reply is lost.
#[must_use = "a request does nothing until it is awaited"]
pub struct ApiRequest {
    settings: Arc<Settings>,
    transport: HttpTransport,
    clock: SharedClock,
    method: Method,
    path: String,
    betas: Vec<String>,
    headers: Vec<(String, String)>,
    body: RequestBody,
    reply_limit: usize,
    invalid: Option<Error>,
}

/// A body in three parts, so that large content is never copied.
#[derive(Default)]
pub(super) struct RequestBody {
    pub(super) before: Vec<u8>,
    pub(super) content: Arc<Vec<u8>>,
    pub(super) after: Vec<u8>,
}

impl ApiRequest {
    pub(crate) fn new(settings: &Arc<Settings>, method: Method, path: &str) -> Self {
        let mut request = Self {
            transport: settings.transport().clone(),
            settings: Arc::clone(settings),
            clock: SharedClock::default(),
            method,
            path: path.to_owned(),
            betas: Vec::new(),
            headers: Vec::new(),
            body: RequestBody::default(),
            reply_limit: DEFAULT_REPLY_LIMIT,
            invalid: None,
        };
        if !path.starts_with('/') {
            request.note(Err(Error::Invalid(format!("the path {path:?} must begin with a slash"))));
        }
        if let Some((_, query)) = settings.path().split_once('?') {
            request.path.push(if path.contains('?') { '&' } else { '?' });
            request.path.push_str(query);
        }
        request
    }

    /// Sets the body to these bytes of JSON.
    pub(crate) fn json(mut self, json: Result<Vec<u8>, Error>) -> Self {
        match json {
            Ok(json) => self.body = RequestBody { before: json, ..RequestBody::default() },
            Err(error) => self.note(Err(error)),
        }
        self
    }

    pub(super) fn body(mut self, body: RequestBody, content_type: &str) -> Self {
        self.body = body;
        self.header("content-type", content_type)
    }

    pub(super) fn note(&mut self, result: Result<(), Error>) {
        if let Err(error) = result {
            self.invalid.get_or_insert(error);
        }
    }

    /// Adds a beta to those of the client.
    pub fn beta(mut self, beta: impl Into<String>) -> Self {
        self.betas.push(beta.into());
        self
    }

    /// Sets a header, which replaces the client's of the same name. The value is never shown.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match checked_header(name, value) {
            Ok(name) => {
                self.headers.retain(|(known, _)| *known != name);
                self.headers.push((name, value.to_owned()));
            }
            Err(error) => self.note(Err(error.into())),
        }
        self
    }

    /// Adds `name=value` to the query, percent-encoded.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.path.push(if self.path.contains('?') { '&' } else { '?' });
        self.path.extend(utf8_percent_encode(name, QUERY));
        self.path.push('=');
        self.path.extend(utf8_percent_encode(value, QUERY));
        self
    }

    /// Sets the maximum size of the body of the reply, in bytes. A larger one is an error with
    /// [`CapacityKind::Reply`](toolrunner_core::error::CapacityKind::Reply), and never cut. Default:
    /// [`DEFAULT_REPLY_LIMIT`].
    pub const fn reply_limit(mut self, bytes: usize) -> Self {
        self.reply_limit = bytes;
        self
    }

    /// Sets the clock that the waits between attempts use. Default: tokio's.
    pub fn clock(mut self, clock: impl crate::clock::DynClock) -> Self {
        self.clock = SharedClock(Arc::new(clock));
        self
    }

    /// Sends the request and returns a reply with a success status, without its body, which the
    /// caller reads: for downloads that should not be held in memory. Retries end with the head of
    /// the reply.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn open(mut self) -> Result<ApiReply<HttpBody>, Error> {
        let mut attempts = self.attempts()?;
        loop {
            attempts.wait(&self.clock).await?;
            match self.send_once().await {
                Ok(reply) if is_success(&reply) => return Ok(ApiReply::open(reply)),
                Ok(reply) => attempts.refused(reply, &self.clock, &self.transport).await?,
                Err(error) => attempts.broken(error, &self.clock)?,
            }
        }
    }

    async fn send_and_read(mut self) -> Result<ApiReply<Vec<u8>>, Error> {
        let mut attempts = self.attempts()?;
        loop {
            attempts.wait(&self.clock).await?;
            match self.send_once().await {
                Ok(mut reply) if is_success(&reply) => {
                    attempts.machine.head_arrived(&reply.head);
                    match reply.body.read_to_end(self.reply_limit).await {
                        Ok(bytes) => {
                            let bytes = bytes.map_err(Error::Capacity)?;
                            return Ok(ApiReply::open(reply).with_body(bytes));
                        }
                        Err(error) => attempts.broken(error, &self.clock)?,
                    }
                }
                Ok(reply) => attempts.refused(reply, &self.clock, &self.transport).await?,
                Err(error) => attempts.broken(error, &self.clock)?,
            }
        }
    }

    fn attempts(&mut self) -> Result<Attempts, Error> {
        match self.invalid.take() {
            Some(error) => Err(error),
            None => Attempts::new(&self.settings),
        }
    }

    async fn send_once(&mut self) -> Result<Reply<HttpBody>, HttpError> {
        let RequestBody { before, content, after } = &self.body;
        let before = [before.as_slice()];
        let body = Body::new(&before, content, after).with_shared(content);
        let client = self.settings.headers();
        let betas = client.filter(|(name, _)| *name == BETA).map(|(_, value)| value);
        let betas: Vec<&str> = betas.chain(self.betas.iter().map(String::as_str)).collect();
        let betas = betas.join(",");
        let own = |name: &str| self.headers.iter().any(|(known, _)| known == name);
        let mut headers: Vec<(&str, &str)> = self
            .settings
            .headers()
            .filter(|(name, _)| *name != BETA && !own(name))
            .filter(|(name, _)| *name != "content-type" || !body.is_empty())
            .collect();
        if !betas.is_empty() && !own(BETA) {
            headers.push((BETA, &betas));
        }
        headers.extend(self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let head = Head { base_url: self.settings.base_url(), path: &self.path, headers: &headers };
        self.transport.exchange(&self.method, &head, &body).await
    }
}

impl IntoFuture for ApiRequest {
    type Output = Result<ApiReply<Vec<u8>>, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    /// Sends the request and reads the whole reply.
    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.send_and_read())
    }
}

impl fmt::Debug for ApiRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiRequest")
            .field("method", &self.method)
            .field("path", &crate::http::without_query(&self.path))
            .finish_non_exhaustive()
    }
}

fn is_success(reply: &Reply<HttpBody>) -> bool {
    (200..300).contains(&reply.head.status)
}

/// The attempts of one request. Core's machine decides about retries and reads the errors, as it
/// does for a run.
struct Attempts {
    machine: Machine<'static>,
}

impl Attempts {
    fn new(settings: &Settings) -> Result<Self, Error> {
        let mut machine = Machine::new(Transcript::growing_to(ERROR_ROOM));
        *machine.retry_policy_mut() = RetryPolicy {
            retries: settings.max_retries(),
            retry_after_cap: settings.retry_after_cap(),
            ..RetryPolicy::DEFAULT
        };
        // Only so that there is a request to make; this text is not sent.
        machine.user("-")?;
        Ok(Self { machine })
    }

    /// Waits until the next attempt may begin.
    async fn wait(&mut self, clock: &SharedClock) -> Result<(), Error> {
        loop {
            match self.machine.step(clock.now())? {
                Step::Wait(until) => clock.wait_until(until).await,
                // Only `Send` occurs, because no reply is received as a turn, and no limit is set.
                Step::Call | Step::Done(_) | Step::Receive | Step::Send => return Ok(()),
            }
        }
    }

    /// Reads the error of a reply. Returns it, unless the request is to be sent again.
    async fn refused(
        &mut self,
        mut reply: Reply<HttpBody>,
        clock: &SharedClock,
        transport: &HttpTransport,
    ) -> Result<(), Error> {
        self.machine.head_arrived(&reply.head);
        let error = loop {
            // The part of an error's body that has arrived is enough to report the error.
            let piece = reply.body.fill_buf().await.unwrap_or_default();
            let len = piece.len();
            let mut rest = piece;
            let fed = match len {
                0 => self.machine.end_of_body(),
                _ => self.machine.feed(&mut rest),
            };
            reply.body.consume(len);
            match fed {
                Err(error) => break error,
                Ok(_) if len == 0 => return Ok(()),
                Ok(_) => {}
            }
        };
        self.failed(error, None, clock).map_err(|e| e.with_rate_limits(transport.rate_limits()))
    }

    /// Notes that the network or a hook failed. Returns the error, unless the request is to be sent
    /// again.
    fn broken(&mut self, error: HttpError, clock: &SharedClock) -> Result<(), Error> {
        let kind = CoreError::Transport(TransportError::kind(&error));
        self.failed(kind, Some(error), clock)
    }

    fn failed(
        &mut self,
        error: CoreError,
        transport: Option<HttpError>,
        clock: &SharedClock,
    ) -> Result<(), Error> {
        match self.machine.failed(error, clock.now(), clock.jitter()) {
            Ok(wait) => {
                let full = Error::of(error, transport, &self.machine);
                tracing::info!(?wait, "request failed and is sent again: {full}");
                Ok(())
            }
            Err(error) => Err(Error::of(error, transport, &self.machine)),
        }
    }
}
