//! A transport in memory, connected to a scripted model.

use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::clock::VirtualClock;
use super::link::{BadLink, cut_at};
use super::model::ScriptedModel;
use super::request::Request;
use super::script::Chunk;
use crate::error::TransportKind;
use crate::time::Clock;
use crate::transport::{Body, Failure, Head, PieceBody, PieceSource, Reply, ReplyHead, Transport};

/// A fault of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No fault.
    Clean,
    /// The request fails before it is sent. The model does not receive it.
    Unsent(TransportKind),
    /// The model receives the request, but the head of the reply does not arrive. With
    /// [`TransportKind::Timeout`] the request fails after the idle timeout.
    NoHead(TransportKind),
    /// The connection is reset after this many bytes of the body.
    ResetAt(usize),
    /// The body ends after this many bytes, as if it were complete.
    EndAt(usize),
    /// After this many bytes of the body no data arrives until the idle timeout expires.
    StallAt(usize),
}

/// Returns the error of a request that fails in this way.
const fn failed(kind: TransportKind) -> Failure {
    Failure::new(kind, "the scripted transport failed")
}

/// A transport that carries requests to a [`ScriptedModel`] and its answers back, in memory, over a
/// link that may have faults.
#[derive(Debug)]
pub struct ScriptedTransport {
    model: ScriptedModel,
    link: Option<BadLink>,
    faults: VecDeque<Fault>,
    clock: Option<Arc<VirtualClock>>,
    idle: Duration,
    connections: usize,
    connected: bool,
}

impl ScriptedTransport {
    /// Creates a transport to `model` without faults. Pauses take no time unless a
    /// [`clock`](Self::clock) is set.
    pub const fn new(model: ScriptedModel) -> Self {
        Self {
            model,
            link: None,
            faults: VecDeque::new(),
            clock: None,
            idle: Duration::from_secs(600),
            connections: 0,
            connected: false,
        }
    }

    /// Carries the bodies of replies over `link`.
    pub const fn link(mut self, link: BadLink) -> Self {
        self.link = Some(link);
        self
    }

    /// Sets the faults of the next requests, one fault per request. Later requests have no fault.
    pub fn faults(mut self, faults: &[Fault]) -> Self {
        self.faults.extend(faults);
        self
    }

    /// Sets the clock on which pauses take time.
    pub fn clock(mut self, clock: Arc<VirtualClock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// Sets the idle timeout: the longest pause before the request fails with
    /// [`TransportKind::Timeout`]. The default is 600 s.
    pub const fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// Returns the model, for its requests and complaints.
    pub const fn model(&self) -> &ScriptedModel {
        &self.model
    }

    /// Returns the model, to change its further answers.
    pub const fn model_mut(&mut self) -> &mut ScriptedModel {
        &mut self.model
    }

    /// Returns the number of connections so far. A connection is reused only if the last reply was
    /// read to its end.
    pub const fn connections(&self) -> usize {
        self.connections
    }

    /// Returns a future that waits for a pause of this length. It does not borrow the transport,
    /// because it must be `Send` and a script need not be `Sync`.
    fn pause(&self, wait: Duration) -> impl Future<Output = Result<(), Failure>> + Send + use<> {
        let (clock, idle) = (self.clock.clone(), self.idle);
        async move {
            if let Some(clock) = clock {
                clock.wait_until(clock.now().after(wait.min(idle))).await;
            }
            if wait < idle { Ok(()) } else { Err(failed(TransportKind::Timeout)) }
        }
    }
}

impl Transport for ScriptedTransport {
    type Error = Failure;
    type Body<'t> = PieceBody<ScriptedBody<'t>>;

    async fn send<'t>(
        &'t mut self,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<PieceBody<ScriptedBody<'t>>>, Failure> {
        let fault = self.faults.pop_front().unwrap_or(Fault::Clean);
        if let Fault::Unsent(kind) = fault {
            self.connected = false;
            return Err(failed(kind));
        }
        if !self.connected {
            self.connections += 1;
        }
        // The connection is dirty until the body has been read to its end.
        self.connected = false;
        let request = Request {
            path: head.path.to_string(),
            headers: head
                .headers
                .iter()
                .map(|(name, value)| (name.to_string(), value.to_string()))
                .collect(),
            body: body.pieces().collect::<Vec<_>>().concat(),
        };
        let response = self.model.respond(request);
        // The answer counts as broken until its body has been read.
        self.model.broken();
        if let Fault::NoHead(kind) = fault {
            if kind == TransportKind::Timeout {
                self.pause(self.idle).await?;
            }
            return Err(failed(kind));
        }
        let mut reply_head = ReplyHead::new(response.status);
        for (name, value) in &response.headers {
            reply_head.field(name, value.as_bytes());
        }
        let (length, last) = match fault {
            Fault::ResetAt(length) => (length, Some(Chunk::Reset)),
            Fault::EndAt(length) => (length, None),
            Fault::StallAt(length) => (length, Some(Chunk::Wait(self.idle))),
            _ => (usize::MAX, None),
        };
        let mut carried = cut_at(&response.body, length);
        let mut whole = carried.whole;
        if let Some(link) = &mut self.link {
            carried = link.carry(&carried.chunks);
            whole &= carried.whole;
        }
        let mut chunks = VecDeque::from(carried.chunks);
        chunks.extend(last);
        Ok(Reply {
            head: reply_head,
            body: PieceBody::new(ScriptedBody { transport: self, chunks, whole }),
        })
    }
}

/// The pieces of a scripted reply's body.
#[derive(Debug)]
pub struct ScriptedBody<'t> {
    transport: &'t mut ScriptedTransport,
    chunks: VecDeque<Chunk>,
    whole: bool,
}

impl PieceSource for ScriptedBody<'_> {
    type Piece = Vec<u8>;
    type Error = Failure;

    async fn next_piece(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            match self.chunks.pop_front() {
                Some(Chunk::Data(data)) => return Ok(Some(data)),
                Some(Chunk::Wait(wait)) => self.transport.pause(wait).await?,
                Some(Chunk::Reset) => return Err(failed(TransportKind::Closed)),
                None => {
                    if self.whole {
                        self.transport.connected = true;
                        self.transport.model.arrived();
                    }
                    return Ok(None);
                }
            }
        }
    }
}
