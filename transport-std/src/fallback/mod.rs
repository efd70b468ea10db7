//! Refusal fallback: a turn that a model refuses is requested again from the next model.
//!
//! The client does this itself, below the loop, so a run sees one reply: the part that the refusing
//! model wrote, a `fallback` block at each change of the model, and the rest by the model that
//! accepted. It is the official SDKs' fallback middleware (Python 2.14.0,
//! `lib/middleware/_fallbacks.py`), with the same requests:
//!
//! - After a refusal with a `fallback_credit_token`, the turn is requested again with this token
//!   (`"mode":"best_effort"`), which credits the input that was already billed. If the refusal
//!   grants it (`fallback_has_prefill_claim`), the text so far is appended for the next model to
//!   continue; if the server refuses that with status 400, the turn is requested once more without
//!   it. A refusal in the middle of a stream without a token is passed on. After a refusal before
//!   any output, the turn is requested again in any case.
//! - Each fallback is a patch of the original parameters, never of an earlier patch. A fallback
//!   whose request fails is skipped. If all that remain fail, the run gets the refusal.
//! - The model that accepted answers all later turns of the same run. `fallback` blocks are removed
//!   from the requests, because only this client made them.
//! - Each request has the beta [`FALLBACK_BETA`], which makes the server mint tokens.
//!
//! Calls before a `fallback` block are not run: see
//! [`RunBuilder::eager`](crate::RunBuilder::eager).
//!
//! ```no_run
//! use toolrunner_std::fallback::Fallbacks;
//! # fn f(client: toolrunner_std::Client) -> Result<(), toolrunner_std::SetupError> {
//! let fallbacks = Fallbacks::new()
//!     .model("claude-opus-4-8")
//!     .patch(r#"{"model":"claude-opus-4-7","max_tokens":2048,"thinking":null}"#);
//! let run = client
//!     .run("claude-fable-5")
//!     .settings(|client| client.fallbacks(fallbacks))
//!     .user("Hello");
//! # Ok(()) }
//! ```
//!
//! # On the server
//! The API can do the same by itself, in one request: set its parameter `fallbacks` and the beta
//! `server-side-fallback-2026-07-01`, and no [`Fallbacks`].
//! `.param("fallbacks", json!([{"model": "claude-opus-4-8"}]))` names the models; a model without
//! fallback refuses such a list with status 400. `.param("fallbacks", "default")` lets the server
//! choose, and is ignored by a model without fallback. Both together are an error of the caller.

mod base;
mod hop;
mod splice;
mod sse;
mod whole;

use core::fmt;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

use http::Method;
use toolrunner_core::error::TransportKind;
use toolrunner_core::json::Value;
use toolrunner_core::transport::{Body, Head, Reply};

use crate::config::SetupError;
use crate::http::{HttpBody, HttpError, HttpTransport, without_query};
use base::Base;

/// The beta that makes the server mint credit tokens.
pub const FALLBACK_BETA: &str = "fallback-credit-2026-07-01";

/// The models from which a refused turn is requested, in order.
#[derive(Clone, Debug, Default)]
pub struct Fallbacks {
    entries: Vec<String>,
}

impl Fallbacks {
    /// Creates an empty list, which changes nothing.
    pub const fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds a model, which gets the parameters of the run.
    #[must_use]
    pub fn model(self, model: &str) -> Self {
        let entry = format!("{{\"model\":{}}}", crate::params::quoted(model));
        self.patch(entry)
    }

    /// Adds a model and other parameters as a JSON object. A member replaces the run's parameter of
    /// this name, and `null` removes it. The members of `output_config` do the same to those of the
    /// run's. `model` is required.
    #[must_use]
    pub fn patch(mut self, json: impl Into<String>) -> Self {
        self.entries.push(json.into());
        self
    }

    /// Checks the entries.
    pub(crate) fn checked(&self) -> Result<Option<Fallback>, SetupError> {
        let is_valid = |entry: &&String| {
            let text = entry.as_bytes();
            let value = Value::parse(text).ok();
            let model = value.and_then(|value| value.member("model")?.as_text());
            model.is_some_and(|model| !model.is_empty())
        };
        match self.entries.iter().position(|entry| !is_valid(&entry)) {
            Some(at) => Err(SetupError::Fallback(at)),
            None if self.entries.is_empty() => Ok(None),
            None => {
                Ok(Some(Fallback { entries: self.entries.clone().into(), pin: Pin::default() }))
            }
        }
    }
}

/// The chain of one handle of a transport.
#[derive(Clone, Debug)]
pub(crate) struct Fallback {
    entries: Arc<[String]>,
    pin: Pin,
}

/// How many entries of the chain were tried: the last of them answers the next request. Each clone
/// begins with the original parameters, because each run has a handle of its own.
#[derive(Default)]
struct Pin(Arc<AtomicUsize>);

impl Clone for Pin {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Pin {
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, count: usize) {
        self.0.store(count, Ordering::Relaxed);
    }

    /// Returns another handle to the same state.
    fn shared(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl Fallback {
    /// Returns whether a request may be refused by a model.
    pub(crate) fn applies_to(&self, method: &Method, head: &Head<'_>) -> bool {
        method == Method::POST && without_query(head.path) == "/v1/messages"
    }

    /// Sends a request by `transport`, which has no chain. If a model refuses, the reply goes on
    /// with the next one.
    pub(crate) async fn exchange(
        &self,
        transport: HttpTransport,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<HttpBody>, HttpError> {
        let base = Base::new(head, body)?;
        let tried = self.pin.count().min(self.entries.len());
        let entry = tried.checked_sub(1).and_then(|at| self.entries.get(at));
        let mut hops = Hops {
            entries: Arc::clone(&self.entries),
            pin: self.pin.shared(),
            tried,
            transport,
            base,
        };
        let entry = entry.map(String::as_str);
        let reply = hops.send(entry, None, &[]).await?;
        if !(200..300).contains(&reply.head.status) || tried == self.entries.len() {
            return Ok(reply);
        }
        let is_json = reply.body.headers().get(http::header::CONTENT_TYPE);
        let is_json = is_json.is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"));
        if hops.base.streams && !is_json {
            let Reply { head, body } = reply;
            let headers = body.headers().clone();
            let model = hops.base.model(entry);
            let body = splice::splice(hops, model, body).with_headers(headers);
            return Ok(Reply { head, body });
        }
        let model = hops.base.model(entry);
        whole::answer(hops, model, reply).await
    }
}

/// The requests of one turn.
struct Hops {
    entries: Arc<[String]>,
    pin: Pin,
    /// How many entries were tried.
    tried: usize,
    transport: HttpTransport,
    base: Base,
}

impl Hops {
    fn has_next(&self) -> bool {
        self.tried < self.entries.len()
    }

    /// Begins the next entry of the chain, which later requests of the run then use.
    fn next(&mut self) -> Option<String> {
        let entry = self.entries.get(self.tried)?.clone();
        self.tried += 1;
        self.pin.set(self.tried);
        Some(entry)
    }

    /// Sends the request with this entry, credit token and continuation. An entry that inherits
    /// `"speed":"fast"` and is refused for lack of capacity is sent once more without it.
    async fn send(
        &mut self,
        entry: Option<&str>,
        token: Option<&str>,
        continuation: &[String],
    ) -> Result<Reply<HttpBody>, HttpError> {
        let request = self.base.request(entry, token, continuation, false);
        let reply = self.base.send(&mut self.transport, &request).await?;
        let inherits_fast = entry.is_some_and(|entry| self.base.inherits_fast(entry));
        if !inherits_fast || !is_capacity(reply.head.status) {
            return Ok(reply);
        }
        tracing::warn!(
            status = reply.head.status,
            "a fast fallback was refused; it is sent without speed"
        );
        drop(reply);
        let request = self.base.request(entry, token, continuation, true);
        self.base.send(&mut self.transport, &request).await
    }
}

const fn is_capacity(status: u16) -> bool {
    matches!(status, 429 | 529)
}

/// Returns the error for data that does not have the form that this module needs.
fn invalid(text: &str) -> HttpError {
    HttpError::new(TransportKind::Setup, text)
}

/// Returns the block that marks a change of the model. `category` is JSON.
fn seam(from: &str, to: &str, category: &str) -> String {
    let quoted = crate::params::quoted;
    format!(
        "{{\"type\":\"fallback\",\"from\":{{\"model\":{}}},\"to\":{{\"model\":{}}},\"trigger\":{{\"type\":\"refusal\",\"category\":{category}}}}}",
        quoted(from),
        quoted(to)
    )
}
