//! A scripted model behind a client, in the same process: no network, no credential.
//!
//! ```
//! # async fn f() -> Result<(), toolrunner_std::Error> {
//! use toolrunner_std::machine::testing::{Reply, Script, ScriptedModel};
//! use toolrunner_std::testing::Scripted;
//!
//! let scripted = Scripted::new(ScriptedModel::new(Script::new().reply(Reply::text("Hello!"))));
//! let mut run = scripted.client().run("m").user("Say hello.");
//! assert_eq!(run.until_done().await?.text(), "Hello!");
//! assert_eq!(scripted.requests().len(), 1);
//! # Ok(()) }
//! ```

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use toolrunner_core::testing::{BadLink, Chunk, Request, ScriptedModel};
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead};

use crate::client::Client;
use crate::config::ClientBuilder;
use crate::error::Error;
use crate::http::{DynTransport, HttpBody, HttpError, HttpTransport, Sending};
use toolrunner_core::error::TransportKind;

/// A scripted model, shared between the client that uses it and the test that inspects it.
#[derive(Clone, Debug)]
pub struct Scripted {
    model: Arc<Mutex<ScriptedModel>>,
    link: Option<Arc<Mutex<BadLink>>>,
}

impl Scripted {
    /// Wraps this model.
    pub fn new(model: ScriptedModel) -> Self {
        Self { model: Arc::new(Mutex::new(model)), link: None }
    }

    /// Passes the bodies of replies through `link`, which splits them, resets them or ends them
    /// early. Its delays take no time here.
    #[must_use]
    pub fn link(mut self, link: BadLink) -> Self {
        self.link = Some(Arc::new(Mutex::new(link)));
        self
    }

    /// Returns a client that uses this model.
    pub fn client(&self) -> Client {
        match self.builder().build() {
            Ok(client) => client,
            // These settings are always valid.
            Err(error) => unreachable!("{}", Error::from(error)),
        }
    }

    /// Returns the builder of a client that uses this model.
    pub fn builder(&self) -> ClientBuilder {
        ClientBuilder::new()
            .base_url("http://scripted")
            .api_key("test-key")
            .transport(HttpTransport::from_dyn(self.clone()))
    }

    /// Returns the requests received so far.
    pub fn requests(&self) -> Vec<Request> {
        self.model().requests().to_vec()
    }

    /// Locks and returns the model, to inspect it or to change what it does next. While the guard
    /// exists, another `model()`, even in the same statement, deadlocks, and so does a request of
    /// the client. To read the requests, use [`requests`](Self::requests).
    pub fn model(&self) -> MutexGuard<'_, ScriptedModel> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DynTransport for Scripted {
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> Sending<'a> {
        Box::pin(async move {
            let mut request =
                Request::new(head.path, body.pieces().flatten().copied().collect::<Vec<u8>>());
            request.headers = head
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let response = self.model().respond(request);
            let mut reply = ReplyHead::new(response.status);
            for (name, value) in &response.headers {
                reply.field(name, value.as_bytes());
            }
            let mut pieces = Vec::new();
            let mut is_whole = true;
            let mut chunks = response.body;
            if let Some(link) = &self.link {
                let carried = link.lock().unwrap_or_else(PoisonError::into_inner).carry(&chunks);
                chunks = carried.chunks;
                if !carried.whole {
                    self.model().broken();
                }
            }
            for chunk in chunks {
                match chunk {
                    Chunk::Data(data) => pieces.push(Bytes::from(data)),
                    Chunk::Reset => {
                        is_whole = false;
                        break;
                    }
                    _ => {}
                }
            }
            let fields = response.headers.iter().filter_map(|(name, value)| {
                let name = http::HeaderName::from_bytes(name.as_bytes()).ok()?;
                Some((name, http::HeaderValue::from_str(value).ok()?))
            });
            let body = HttpBody::from_pieces(pieces).with_headers(fields.collect());
            let body = if is_whole {
                body
            } else {
                body.then_error(HttpError::new(TransportKind::Closed, "the script reset it"))
            };
            Ok(Reply { head: reply, body })
        })
    }
}
