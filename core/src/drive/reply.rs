//! One exchange with the server: the request is sent, and the reply's body is read.

use embedded_io_async::BufRead;

use crate::error::{Error, Misuse};
use crate::json::Decimal;
use crate::run::{Run, StreamEvent};
use crate::tool::Toolbox;
use crate::transport::{Head, Reply, Transport, TransportError};
use crate::wire::request::listed;
use crate::wire::{Config, Front, Pieces, base_of};

/// The maximum time to wait for the rest of a body after the reply is complete, so that the
/// connection can be reused.
pub const DRAIN: core::time::Duration = core::time::Duration::from_millis(1000);

/// An error of a run, with the transport's own error if the transport failed.
#[derive(Debug)]
pub struct DriveError<E> {
    /// What went wrong.
    pub error: Error,
    /// The transport's own error.
    pub transport: Option<E>,
}

impl<E> From<Error> for DriveError<E> {
    fn from(error: Error) -> Self {
        Self { error, transport: None }
    }
}

impl<E> From<Misuse> for DriveError<E> {
    fn from(error: Misuse) -> Self {
        Error::from(error).into()
    }
}

/// Writes the transport's own message if the transport failed, because it says more than the kind
/// does.
impl<E: core::fmt::Display> core::fmt::Display for DriveError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match (&self.error, &self.transport) {
            (Error::Transport(_), Some(own)) => own.fmt(f),
            (error, _) => error.fmt(f),
        }
    }
}

impl<E: core::fmt::Debug + core::fmt::Display> core::error::Error for DriveError<E> {}

/// The request under way and its reply. It is stored beside the run, so that any future may be
/// dropped.
#[derive(Debug)]
pub enum Exchange<R, E> {
    /// No request is under way.
    Idle,
    /// The request could not be sent, or its reply has no head.
    Failed(DriveError<E>),
    /// The request or its reply failed, and the loop has reported that. Contains the transport's
    /// own error if the transport failed.
    Over(Option<E>),
    /// The head of the reply has arrived, and its body is read.
    Reply(ReplyUnderWay<R>),
}

impl<R, E> Exchange<R, E> {
    /// Returns the transport's own error after `Progress::Retry`, `Progress::Broken` or an error,
    /// if the transport failed. It is available once, and until the loop continues.
    pub fn take_error(&mut self) -> Option<E> {
        let Self::Over(error) = self else { return None };
        let error = error.take();
        *self = Self::Idle;
        error
    }
}

/// Sends the request after [`Progress::Send`](super::progress::Progress::Send).
pub(super) async fn open<'t, T: Transport, B: Toolbox + ?Sized>(
    run: &mut Run<'_>,
    config: &Config<'_>,
    tools: &B,
    transport: &'t mut T,
) -> Exchange<T::Body<'t>, T::Error> {
    let max_tokens = Decimal::new(u64::from(config.max_tokens));
    let fields = config.fields_with(run.thread_beta());
    let head = head_of(config, &fields);
    let reply = {
        let mut pieces = Pieces::empty();
        match write_front(run, config, &max_tokens, tools, &mut pieces) {
            Ok(run) => transport.send(&head, &run.body_of(pieces.as_slices())).await,
            Err(error) => return Exchange::Failed(error.into()),
        }
    };
    answered(run, reply)
}

/// Returns the head of the request.
// Not inlined: as part of the driver's future, this would cost 124 bytes of flash.
#[inline(never)]
fn head_of<'a>(config: &Config<'a>, headers: &'a [(&'a str, &'a str)]) -> Head<'a> {
    Head { base_url: base_of(config.base_url, config.path), path: config.path, headers }
}

/// Writes the part of the body before the conversation, and prepares the rest.
// Not inlined: as part of the driver's future, this would cost 196 bytes of flash.
#[inline(never)]
fn write_front<'r, 'b, B: Toolbox + ?Sized>(
    run: &'r mut Run<'b>,
    config: &Config<'r>,
    max_tokens: &'r Decimal,
    tools: &'r B,
    pieces: &mut Pieces<'r>,
) -> Result<&'r Run<'b>, Error> {
    let rules = run.compaction_rules();
    let front =
        Front::new(config, max_tokens).with(None, rules).continuing(run.thread_continuation());
    run.note_breakpoints(front.breakpoints(listed(tools)))?;
    run.prepare_body();
    pieces.fill(front.with(run.container(), rules), tools)?;
    Ok(run)
}

/// Sends the request after `Progress::Send`, with a head and a beginning of the body (up to
/// `"messages":[`) that the caller provides. Pass the exchange to `Loop::progress`, which handles
/// the errors.
pub async fn send<'t, T: Transport>(
    run: &mut Run<'_>,
    head: &Head<'_>,
    before: &[&[u8]],
    transport: &'t mut T,
) -> Exchange<T::Body<'t>, T::Error> {
    if let Err(misuse) = run.note_front(before) {
        return Exchange::Failed(misuse.into());
    }
    let sent = transport.send(head, &run.body(before)).await;
    answered(run, sent)
}

/// Sends the request as [`send`] does, but `before` has not changed since [`Run::note_front`], so
/// it is not searched again.
pub async fn send_with_noted_front<'t, T: Transport>(
    run: &mut Run<'_>,
    head: &Head<'_>,
    before: &[&[u8]],
    transport: &'t mut T,
) -> Exchange<T::Body<'t>, T::Error> {
    if let Err(misuse) = run.check_breakpoints() {
        return Exchange::Failed(misuse.into());
    }
    let sent = transport.send(head, &run.body(before)).await;
    answered(run, sent)
}

/// Takes what the transport returned for the request.
#[inline]
fn answered<B, E: TransportError>(run: &mut Run<'_>, sent: Result<Reply<B>, E>) -> Exchange<B, E> {
    match sent {
        Ok(Reply { head, body }) => {
            run.head_arrived(&head);
            Exchange::Reply(ReplyUnderWay { body, at_end: false })
        }
        Err(error) => Exchange::Failed(transport_error(error)),
    }
}

fn transport_error<E: TransportError>(error: E) -> DriveError<E> {
    let named = match (error.capacity(), error.misuse()) {
        (Some(full), _) => Error::Capacity(full),
        (None, Some(misuse)) => Error::Misuse(misuse),
        (None, None) => Error::Transport(error.kind()),
    };
    DriveError { error: named, transport: Some(error) }
}

/// A reply whose body is being read.
#[derive(Debug)]
pub struct ReplyUnderWay<B> {
    body: B,
    /// Whether nothing more is read from the body.
    pub(super) at_end: bool,
}

impl<B: BufRead> ReplyUnderWay<B>
where
    B::Error: TransportError,
{
    /// Returns the body, for a driver that knows its concrete type. Bytes that the driver consumes
    /// from it must have been fed to the run.
    pub const fn body_mut(&mut self) -> &mut B {
        &mut self.body
    }

    /// Returns the next event in the bytes that `at_hand` returns, or of the end of the body if it
    /// has been reached. Returns `None` if more must be read first.
    #[inline]
    pub(super) fn next_at_hand(
        &mut self,
        run: &mut Run<'_>,
        at_hand: impl Fn(&B) -> &[u8],
    ) -> Result<Option<StreamEvent>, DriveError<B::Error>> {
        let chunk = at_hand(&self.body);
        if chunk.is_empty() {
            return if self.at_end { Ok(run.end_of_body()?) } else { Ok(None) };
        }
        let mut rest = chunk;
        let fed = run.feed(&mut rest);
        let used = chunk.len() - rest.len();
        self.body.consume(used);
        Ok(fed?)
    }

    /// Returns the next event in the bytes that `at_hand` returns, if it is a delta in the exact
    /// form of the API. Otherwise returns `None` and changes nothing.
    #[inline]
    pub(super) fn delta_at_hand(
        &mut self,
        run: &mut Run<'_>,
        at_hand: impl Fn(&B) -> &[u8],
    ) -> Option<StreamEvent> {
        let chunk = at_hand(&self.body);
        let mut rest = chunk;
        let stream_event = run.feed_delta(&mut rest)?;
        let used = chunk.len() - rest.len();
        self.body.consume(used);
        Some(stream_event)
    }

    /// Returns the next event, or `None` when the reply is complete. The rest of its body has been
    /// read then, so that the connection can be reused. The caller limits the time for that to
    /// [`DRAIN`].
    pub(super) async fn next_happened(
        &mut self,
        run: &mut Run<'_>,
    ) -> Result<Option<StreamEvent>, DriveError<B::Error>> {
        loop {
            if self.at_end {
                return Ok(run.end_of_body()?);
            }
            let is_whole = run.reply_is_whole();
            let chunk = match self.body.fill_buf().await {
                Ok(chunk) => chunk,
                // The part of an error's body that has arrived is enough to report the error.
                Err(_) if is_whole || run.is_receiving_error() => &[],
                Err(error) => return Err(transport_error(error)),
            };
            if chunk.is_empty() {
                self.at_end = true;
                continue;
            }
            let mut rest = chunk;
            let fed = if is_whole {
                rest = &[];
                Ok(None)
            } else {
                run.feed(&mut rest)
            };
            let used = chunk.len() - rest.len();
            self.body.consume(used);
            if let Some(stream_event) = fed? {
                return Ok(Some(stream_event));
            }
        }
    }
}
