//! A transport in memory, over a scripted model.

use alloc::collections::VecDeque;
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use embedded_io_async::{BufRead, ErrorKind, ErrorType, Read};

use super::clock::VirtualClock;
use super::link::{BadLink, cut_at};
use super::model::ScriptedModel;
use super::request::Request;
use super::script::Chunk;
use crate::error::TransportKind;
use crate::time::Clock;
use crate::transport::{Body, Head, Reply, ReplyHead, Transport, TransportError};

/// What goes wrong with one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing.
    Clean,
    /// It fails before the request is out: the model does not see it.
    Unsent(TransportKind),
    /// The model sees the request, but no reply's head arrives. With [`TransportKind::Timeout`]
    /// after the idle time.
    NoHead(TransportKind),
    /// The connection is reset after so many bytes of the body.
    ResetAt(usize),
    /// The body ends after so many bytes, as if it were whole.
    EndAt(usize),
    /// Nothing comes after so many bytes of the body, until the idle time is over.
    StallAt(usize),
}

/// An error of the [`ScriptedTransport`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScriptedError {
    /// What went wrong.
    pub kind: TransportKind,
}

impl fmt::Display for ScriptedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the scripted transport failed: {:?}", self.kind)
    }
}

impl core::error::Error for ScriptedError {}

impl embedded_io_async::Error for ScriptedError {
    fn kind(&self) -> ErrorKind {
        match self.kind {
            TransportKind::Closed => ErrorKind::ConnectionReset,
            TransportKind::Connect => ErrorKind::ConnectionRefused,
            TransportKind::Timeout => ErrorKind::TimedOut,
            _ => ErrorKind::Other,
        }
    }
}

impl TransportError for ScriptedError {
    fn kind(&self) -> TransportKind {
        self.kind
    }
}

/// Carries requests to a [`ScriptedModel`] and its answers back, in memory, over a link that may be
/// bad.
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
    /// A transport to `model`, without faults. Its pauses take no time.
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

    /// What goes wrong with the next requests, one each; then nothing.
    pub fn faults(mut self, faults: &[Fault]) -> Self {
        self.faults.extend(faults);
        self
    }

    /// Pauses take their time on this clock.
    pub fn clock(mut self, clock: Arc<VirtualClock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// How long nothing may come before it is [`TransportKind::Timeout`]; 600 s without it.
    pub const fn idle(mut self, idle: Duration) -> Self {
        self.idle = idle;
        self
    }

    /// The model: its requests and complaints.
    pub const fn model(&self) -> &ScriptedModel {
        &self.model
    }

    /// The model, to change what it does next.
    pub const fn model_mut(&mut self) -> &mut ScriptedModel {
        &mut self.model
    }

    /// Connections so far: one serves all requests whose replies were read to their end.
    pub const fn connections(&self) -> usize {
        self.connections
    }

    /// A pause of this length, as a future that does not borrow the transport: it must be `Send`,
    /// and a script need not be `Sync`.
    fn pause(
        &self,
        wait: Duration,
    ) -> impl Future<Output = Result<(), ScriptedError>> + Send + use<> {
        let (clock, idle) = (self.clock.clone(), self.idle);
        async move {
            if let Some(clock) = clock {
                clock.wait_until(clock.now().after(wait.min(idle))).await;
            }
            if wait < idle { Ok(()) } else { Err(ScriptedError { kind: TransportKind::Timeout }) }
        }
    }
}

impl Transport for ScriptedTransport {
    type Error = ScriptedError;
    type Body<'t> = ScriptedBody<'t>;

    async fn send<'t>(
        &'t mut self,
        head: &Head<'_>,
        body: &Body<'_>,
    ) -> Result<Reply<ScriptedBody<'t>>, ScriptedError> {
        let fault = self.faults.pop_front().unwrap_or(Fault::Clean);
        if let Fault::Unsent(kind) = fault {
            self.connected = false;
            return Err(ScriptedError { kind });
        }
        if !self.connected {
            self.connections += 1;
        }
        // Dirty until the body was read to its end.
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
        // Until it has arrived, which the body knows.
        self.model.broken();
        if let Fault::NoHead(kind) = fault {
            if kind == TransportKind::Timeout {
                self.pause(self.idle).await?;
            }
            return Err(ScriptedError { kind });
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
            body: ScriptedBody {
                transport: self,
                chunks,
                current: Vec::new(),
                at: 0,
                whole,
                failed: None,
            },
        })
    }
}

/// The body of a scripted reply: its pieces, one by one.
#[derive(Debug)]
pub struct ScriptedBody<'t> {
    transport: &'t mut ScriptedTransport,
    chunks: VecDeque<Chunk>,
    current: Vec<u8>,
    at: usize,
    whole: bool,
    failed: Option<ScriptedError>,
}

impl ScriptedBody<'_> {
    /// Whether there are bytes, or the end.
    async fn next_piece(&mut self) -> Result<(), ScriptedError> {
        while self.at >= self.current.len() {
            match self.chunks.pop_front() {
                Some(Chunk::Data(data)) => (self.current, self.at) = (data, 0),
                Some(Chunk::Wait(wait)) => self.transport.pause(wait).await?,
                Some(Chunk::Reset) => return Err(ScriptedError { kind: TransportKind::Closed }),
                None => {
                    if self.whole {
                        self.transport.connected = true;
                        self.transport.model.arrived();
                    }
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

impl ErrorType for ScriptedBody<'_> {
    type Error = ScriptedError;
}

impl BufRead for ScriptedBody<'_> {
    async fn fill_buf(&mut self) -> Result<&[u8], ScriptedError> {
        if self.failed.is_none() {
            self.failed = self.next_piece().await.err();
        }
        match self.failed {
            Some(error) => Err(error),
            None => Ok(self.current.get(self.at..).unwrap_or_default()),
        }
    }

    fn consume(&mut self, amount: usize) {
        self.at = self.at.saturating_add(amount).min(self.current.len());
    }
}

impl Read for ScriptedBody<'_> {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, ScriptedError> {
        let piece = self.fill_buf().await?;
        let length = piece.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), piece.get(..length)) {
            to.copy_from_slice(from);
        }
        self.consume(length);
        Ok(length)
    }
}
