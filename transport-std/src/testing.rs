//! Tests without a network: a scripted model behind a client, and cassettes, which replay recorded
//! exchanges with the API.
//!
//! ```
//! # async fn f() -> Result<(), toolrunner_std::Error> {
//! use toolrunner_std::machine::testing::{Script, ScriptedModel, ScriptedReply};
//! use toolrunner_std::testing::ScriptedServer;
//!
//! let scripted =
//!     ScriptedServer::new(ScriptedModel::new(Script::new().reply(ScriptedReply::text("Hello!"))));
//! let mut run = scripted.client().run("m").user("Say hello.");
//! assert_eq!(run.until_done().await?.text(), "Hello!");
//! assert_eq!(scripted.requests().len(), 1);
//! # Ok(()) }
//! ```

mod cassette;
mod paced;

use core::time::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use toolrunner_core::testing::{BadLink, Chunk, Request, ScriptedModel};
use toolrunner_core::transport::{Body, Head};

pub use cassette::{Cassette, CassetteBuilder, CassetteError, CassetteMode, MODE_VARIABLE};

use crate::client::Client;
use crate::clock::{DynClock, SharedClock};
use crate::config::ClientBuilder;
use crate::error::Error;
use crate::http::{DynTransport, HttpError, HttpTransport, SendFuture, Timeouts};
use crate::lock::lock;
use paced::Part;
use toolrunner_core::error::TransportKind;

/// The read timeout of a client that does not set one.
const READ_TIMEOUT: Duration = Duration::from_secs(600);

/// A scripted model, shared between the client that uses it and the test that inspects it.
#[derive(Clone, Debug)]
pub struct ScriptedServer {
    model: Arc<Mutex<ScriptedModel>>,
    link: Option<Arc<Mutex<BadLink>>>,
    clock: Option<SharedClock>,
}

impl ScriptedServer {
    /// Wraps this model.
    pub fn new(model: ScriptedModel) -> Self {
        Self { model: Arc::new(Mutex::new(model)), link: None, clock: None }
    }

    /// Passes the bodies of replies through `link`, which splits them, resets them or ends them
    /// early. Its delays take time on the [`clock`](Self::clock).
    #[must_use]
    pub fn link(mut self, link: BadLink) -> Self {
        self.link = Some(Arc::new(Mutex::new(link)));
        self
    }

    /// Sets the clock on which the pauses of replies take time: the
    /// [`VirtualClock`](toolrunner_core::testing::VirtualClock) of the run, or
    /// [`TokioClock`](crate::clock::TokioClock) for real time. Without a clock they take none. A
    /// pause that is longer than the client's read timeout fails when that timeout expires.
    #[must_use]
    pub fn clock(mut self, clock: impl DynClock) -> Self {
        self.clock = Some(SharedClock(Arc::new(clock)));
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
        lock(&self.model)
    }
}

impl DynTransport for ScriptedServer {
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a> {
        self.send_within(head, body, Timeouts::default())
    }

    fn send_within<'a>(
        &'a self,
        head: &'a Head<'_>,
        body: &'a Body<'_>,
        timeouts: Timeouts,
    ) -> SendFuture<'a> {
        Box::pin(async move {
            let mut request =
                Request::new(head.path, body.pieces().flatten().copied().collect::<Vec<u8>>());
            request.headers = head
                .headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect();
            let response = self.model().respond(request);
            let mut chunks = response.body;
            if let Some(link) = &self.link {
                let carried = lock(link).carry(&chunks);
                chunks = carried.chunks;
                if !carried.whole {
                    self.model().broken();
                }
            }
            let mut parts = VecDeque::new();
            for chunk in chunks {
                match chunk {
                    Chunk::Data(data) => parts.push_back(Part::Data(Bytes::from(data))),
                    Chunk::Wait(wait) => parts.push_back(Part::Wait(wait)),
                    Chunk::Reset => {
                        let error = HttpError::new(TransportKind::Closed, "the script reset it");
                        parts.push_back(Part::Fail(error));
                        break;
                    }
                }
            }
            let limit = Some(timeouts.read.unwrap_or(READ_TIMEOUT));
            let (status, headers) = (response.status, &response.headers);
            Ok(paced::reply(status, headers, parts, self.clock.clone(), limit))
        })
    }
}
