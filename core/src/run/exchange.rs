//! One exchange: a request is sent, and its reply or an error is received.

use core::time::Duration;

use super::Run;
use super::extras::Extras;
use super::state::Place;
use super::table::{Input, State};
use crate::error::{ApiError, ApiErrorKind, Error, Protocol};
use crate::json::{IS_CHIP, Sink, Text, Value};
use crate::observe::Event;
use crate::policy::is_transient;
use crate::time::Instant;
use crate::transcript::Span;
use crate::transport::{Body, ReplyHead};
use crate::turn::{Reply, StreamEvent, StreamEventKind};
use crate::wire::{ErrorWords, deltas, error_words};

/// The most bytes of an error's body that are kept.
const ERROR_BODY: usize = 64 * 1024;

/// The current request and what arrived for it, or the last ones.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) head: ReplyHead,
    /// Failed attempts of the current request.
    pub(super) attempt: u32,
    /// Whether a part of the current reply was passed on to an observer.
    handed_on: bool,
    /// The JSON of the last API error, in the tail. Valid until the next write.
    pub(super) failure: Span,
    /// The complete last reply, in the tail, if the conversation does not contain all of it.
    pub(super) said: Place,
}

impl Exchange {
    pub(super) fn new() -> Self {
        Self {
            head: ReplyHead::default(),
            attempt: 0,
            handed_on: false,
            failure: Span::default(),
            said: Place::NONE,
        }
    }

    /// Forgets what belongs to the last request, before the next one.
    pub(super) const fn begin(&mut self) {
        self.handed_on = false;
        self.failure = Span::new(0, 0);
        self.said = Place::NONE;
    }
}

/// An API error in the server's own words.
#[derive(Clone, Copy, Debug)]
pub struct ApiErrorText<'a> {
    /// The error's `type`.
    pub kind: Text<'a>,
    /// The error's `message`.
    pub message: Text<'a>,
    /// The id to quote when you contact the provider. Empty if the server named none.
    pub request_id: Text<'a>,
    /// The whole body.
    pub body: Value<'a>,
}

impl Run<'_> {
    /// Returns the body of the request, after [`Step::Send`](super::Step::Send). `before` is the
    /// part before the conversation, in pieces of any size, and must end with `"messages":[`.
    pub fn body<'a>(&'a mut self, before: &'a [&'a [u8]]) -> Body<'a> {
        self.prepare_body();
        self.body_of(before)
    }

    /// Prepares the transcript for [`body_of`](Self::body_of).
    #[cfg_attr(not(feature = "alloc"), expect(clippy::unused_self, reason = "only with alloc"))]
    pub(crate) fn prepare_body(&mut self) {
        #[cfg(feature = "alloc")]
        self.transcript.share();
    }

    /// Returns the body of the request, after [`prepare_body`](Self::prepare_body). Unlike with
    /// [`body`](Self::body), `before` may borrow from the run.
    pub(crate) fn body_of<'a>(&'a self, before: &'a [&'a [u8]]) -> Body<'a> {
        let whole = self.transcript.bytes();
        let Extras { threads, summaries, .. } = self.settings.extras;
        let parts = threads
            .and_then(|threads| (threads.parts)(self))
            .or_else(|| summaries.and_then(|summaries| (summaries.parts)(self)));
        let (messages, closing) = parts.unwrap_or((whole, b"]}"));
        let body = Body::new(before, messages, closing);
        #[cfg(feature = "alloc")]
        if body.transcript().as_ptr() == whole.as_ptr()
            && let Some(shared) = self.transcript.shared()
        {
            return body.with_shared(shared);
        }
        body
    }

    /// Takes the head of the reply, after [`Step::Send`](super::Step::Send). Pass the body to
    /// [`feed`](Self::feed), then call [`end_of_body`](Self::end_of_body). A head that no request
    /// waits for has no effect.
    pub fn head_arrived(&mut self, head: &ReplyHead) {
        let is_success = (200..300).contains(&head.status);
        if self.machine.go(Input::Head { is_success }).is_ok() {
            self.exchange.head.take(head);
        }
    }

    /// Returns the number of failed attempts of the current request.
    pub const fn attempt(&self) -> u32 {
        self.exchange.attempt
    }

    /// Returns the request id from the head of the last reply. Empty if there was none.
    pub fn request_id(&self) -> &str {
        self.exchange.head.request_id()
    }

    /// Returns whether the current reply is complete. The rest of its body does not matter then.
    pub const fn reply_is_whole(&self) -> bool {
        !matches!(self.machine.state(), State::Receiving | State::ErrorBody)
    }

    /// Returns whether the body that is being received is an error's. If it breaks off, the error
    /// is derived from the status and the part that has arrived.
    pub const fn is_receiving_error(&self) -> bool {
        matches!(self.machine.state(), State::ErrorBody)
    }

    /// Takes bytes of the body, up to and including the first that produce an event, and advances
    /// `input` past them. Call it until it returns `None`.
    ///
    /// # Errors
    /// Pass every error to [`failed`](Self::failed), which decides whether to retry.
    pub fn feed(&mut self, input: &mut &[u8]) -> Result<Option<StreamEvent>, Error> {
        match self.machine.state() {
            State::Receiving => {
                let stream_event =
                    self.reply.feed(input, &mut self.transcript, &mut self.container)?;
                self.settle_reply(stream_event)
            }
            State::ErrorBody => {
                // As much as fits: an error page may be long, and the message is at its start.
                let (start, kept) = (self.transcript.len(), self.exchange.failure.len());
                let room = self
                    .transcript
                    .free()
                    .saturating_sub(kept)
                    .min(ERROR_BODY.saturating_sub(kept));
                let part = input.get(..room.min(input.len())).unwrap_or_default();
                self.transcript.tail_from(start + kept).put(part)?;
                self.exchange.failure = Span::new(start, start + kept + part.len());
                let is_cut = part.len() < input.len();
                *input = &[];
                // The body may never end, so the part that fits is enough.
                if is_cut { Err(self.error_of_body()) } else { Ok(None) }
            }
            _ => {
                *input = &[];
                Ok(None)
            }
        }
    }

    /// Takes the delta at the start of `input`, if it is one that needs nothing else to be done,
    /// and advances `input` past it. Otherwise returns `None`, changes nothing, and
    /// [`feed`](Self::feed) is needed.
    #[inline]
    pub(crate) fn feed_delta(&mut self, input: &mut &[u8]) -> Option<StreamEvent> {
        #[cfg(feature = "alloc")]
        if self.has_hold() {
            return None;
        }
        match self.machine.state() {
            State::Receiving => self.reply.feed_delta(input, &mut self.transcript),
            _ => None,
        }
    }

    /// Ends the body. Call it until it returns `None`.
    ///
    /// # Errors
    /// Pass every error to [`failed`](Self::failed), which decides whether to retry.
    pub fn end_of_body(&mut self) -> Result<Option<StreamEvent>, Error> {
        match self.machine.state() {
            State::Receiving => {
                let stream_event = self.reply.end(&mut self.transcript, &mut self.container)?;
                self.settle_reply(stream_event)
            }
            State::ErrorBody => Err(self.error_of_body()),
            _ => Ok(None),
        }
    }

    fn error_of_body(&mut self) -> Error {
        let body = self.exchange.failure.of(self.transcript.whole());
        let kind = match error_words(body).map(|words| words.api_kind()) {
            None | Some(ApiErrorKind::Unknown) => {
                ApiErrorKind::from_status(self.exchange.head.status)
            }
            Some(kind) => kind,
        };
        let ReplyHead { status, retry_after, .. } = self.exchange.head;
        Error::Api(ApiError::new(status, kind, retry_after))
    }

    /// Does what the run itself must do about an event.
    #[inline]
    fn settle_reply(
        &mut self,
        mut stream_event: Option<StreamEvent>,
    ) -> Result<Option<StreamEvent>, Error> {
        if let Some(threads) = self.settings.extras.threads
            && let Some(stream_event) = stream_event.filter(StreamEvent::is_of_message)
        {
            (threads.see)(self, stream_event)?;
        }
        if let Some(StreamEvent { kind: StreamEventKind::MessageStop, .. }) = stream_event {
            self.end_reply()?;
        }
        if let Some(unique) = self.settings.extras.unique
            && let Some(begun @ StreamEvent { kind: StreamEventKind::BlockStart, .. }) =
                stream_event
        {
            let renamed = (unique.in_reply)(self, begun)?;
            if renamed.span.len() != begun.span.len() {
                self.thread.set_changed();
            }
            stream_event = Some(renamed);
        }
        #[cfg(feature = "alloc")]
        self.keep_hold(stream_event)?;
        Ok(stream_event)
    }

    // Not inlined: this runs once per reply, while its caller runs for every event.
    #[inline(never)]
    fn end_reply(&mut self) -> Result<(), Error> {
        match self.settings.extras.summaries {
            Some(summaries) if self.is_compacting() => (summaries.end)(self),
            _ => self.end_turn(),
        }
    }

    /// Reports that the request or its reply failed: with an error from [`feed`](Self::feed) or
    /// [`end_of_body`](Self::end_of_body), or with [`Error::Transport`]. The partial reply is
    /// discarded, unless [`set_on_break`](Self::set_on_break) is set to keep it or one of its calls
    /// has started. If the program itself gave up the request, call
    /// [`abandoned`](Self::abandoned).
    ///
    /// Returns how long the run waits before it sends the next request. `jitter` is any number.
    ///
    /// # Errors
    /// The error, if the policy does not allow another attempt. The run can continue: the next
    /// [`step`](Self::step) sends the same request again.
    // Not inlined on a chip: as part of the driver's future, this would cost 92 bytes of flash.
    #[cfg_attr(target_os = "none", inline(never))]
    pub fn failed(&mut self, error: Error, now: Instant, jitter: u32) -> Result<Duration, Error> {
        let state = self.machine.state();
        if !state.is_in_progress() {
            return Ok(Duration::ZERO);
        }
        #[cfg(feature = "alloc")]
        if self.has_started_early() {
            self.break_off();
            return self.goes_on_after_break(retry_after(error), now, jitter).ok_or(error);
        }
        if let Some(threads) = self.settings.extras.threads
            && (threads.recovers)(self, &error)
            && (!self.exchange.handed_on || self.settings.retry.after_output)
        {
            return self.send_differently();
        }
        let may = is_transient(&error, &self.exchange.head)
            && (!self.exchange.handed_on || self.settings.retry.after_output)
            && !self.is_compacting_on_server();
        self.exchange.head.should_retry = None;
        let again = may && self.exchange.attempt < self.settings.retry.retries;
        let breaks = matches!(state, State::Receiving)
            && self.summary.current.is_none()
            && !again
            && !self.thread.is_freed()
            && !matches!(error, Error::Capacity(_) | Error::Protocol(Protocol::ThreadIgnored));
        if breaks && self.settings.extras.keep.is_some_and(|keep| keep(self)) {
            self.exchange.attempt = 0;
            return Err(error);
        }
        self.take_back();
        if !again {
            self.exchange.attempt = 0;
            self.machine.go(Input::Failure)?;
            // The conversation is unchanged, so the run continues without a summary.
            if self.drop_summary() {
                return Ok(Duration::ZERO);
            }
            return Err(error);
        }
        self.exchange.attempt += 1;
        let wait = self.settings.retry.wait(self.exchange.attempt, retry_after(error), jitter);
        self.machine.wait(now.after(wait))?;
        Ok(wait)
    }

    /// Reports that the program gave up the request or its reply, for example because its body was
    /// dropped. It does not count as a failed attempt. The partial reply is discarded, unless one
    /// of its calls has started; the next [`step`](Self::step) sends the request again. Has no
    /// effect if no request is under way.
    pub fn abandoned(&mut self) {
        if !self.machine.state().is_in_progress() {
            return;
        }
        #[cfg(feature = "alloc")]
        if self.has_started_early() {
            return self.break_off();
        }
        self.take_back();
        // Possible, because a request is in progress.
        let _ = self.machine.go(Input::Failure);
        self.cancel_compaction();
    }

    /// Continues after an error of the message thread: with another request, or not at all if the
    /// thread contained messages that no longer exist here.
    fn send_differently(&mut self) -> Result<Duration, Error> {
        self.take_back();
        self.machine.go(if self.thread.is_freed() { Input::ThreadLost } else { Input::Failure })?;
        Ok(Duration::ZERO)
    }

    /// Abandons the current reply: it is discarded, or kept if one of its calls has started.
    pub(super) fn let_go(&mut self) {
        #[cfg(feature = "alloc")]
        if self.has_started_early() {
            return self.break_off();
        }
        self.take_back();
    }

    /// Truncates the transcript to before the current reply. The text of an API error is kept in
    /// the tail.
    pub(super) fn take_back(&mut self) {
        if self.reply.failure.len() > 0 {
            self.exchange.failure = self.reply.failure;
        }
        // The reason that the discarded reply named is not that of the last turn.
        self.reply.stop = self.turn.sent_back();
        let mark = self.reply.mark;
        self.transcript.truncate(mark);
        self.exchange.failure = self.transcript.tail_of(self.exchange.failure).keep();
    }

    /// Marks what [`feed`](Self::feed) returned as shown, and returns it as an event. A reply whose
    /// content was shown is not requested again automatically if it breaks off. An observer that
    /// can forget a discarded reply uses [`peek`](Self::peek) instead.
    #[inline]
    pub fn mark_shown(&mut self, stream_event: StreamEvent) -> Event<'_> {
        self.exchange.handed_on |= stream_event.kind.is_content();
        // Most events are texts. Where this is inlined, their event stays in registers.
        if !IS_CHIP && stream_event.kind == StreamEventKind::Text {
            let bytes = stream_event.span.of(self.transcript.whole());
            return Event::Text { index: stream_event.index, text: text(bytes) };
        }
        self.peek(stream_event)
    }

    /// Returns what [`feed`](Self::feed) returned as an event, for an observer that can forget it
    /// if the reply is discarded. Unlike [`mark_shown`](Self::mark_shown), it changes nothing.
    pub fn peek(&self, stream_event: StreamEvent) -> Event<'_> {
        event_of(stream_event, &self.reply, stream_event.span.of(self.transcript.whole()))
    }

    /// Returns the body that came with the last [`Error::Api`], at most its first 64 KiB. After an
    /// [`Error::Protocol`], returns the start of what was received instead of a reply, at most 512
    /// bytes, if it was kept. The bytes need not be JSON. Empty if there was no such error since
    /// the last request, or if something was written to the transcript since.
    pub fn error_body(&self) -> &[u8] {
        // A later message has overwritten it.
        if self.exchange.failure.start != self.transcript.len() {
            return &[];
        }
        self.exchange.failure.of(self.transcript.whole())
    }

    /// Returns the text for the event about a request that is sent again after this error.
    pub(crate) fn retried_text(&self, error: Error) -> ApiErrorText<'_> {
        let nothing = ApiErrorText {
            kind: Text::default(),
            message: Text::default(),
            request_id: Text::default(),
            body: Value::default(),
        };
        match error {
            Error::Api(_) => self.api_error().unwrap_or_else(|| ApiErrorText {
                request_id: Text::from_raw(self.exchange.head.request_id()),
                ..nothing
            }),
            _ => nothing,
        }
    }

    /// Returns the text of the last [`Error::Api`] since the last request, if its body is JSON in a
    /// known shape: the API's, or one that gateways use, such as `{"error":"…"}` and
    /// `{"detail":"…"}`. Otherwise only [`error_body`](Self::error_body) is available.
    pub fn api_error(&self) -> Option<ApiErrorText<'_>> {
        let ErrorWords { kind, message, body } = error_words(self.error_body())?;
        if kind.is_empty() && message.is_empty() {
            return None;
        }
        let request_id = body.member("request_id").and_then(Value::as_text);
        Some(ApiErrorText {
            kind,
            message,
            request_id: request_id
                .unwrap_or_else(|| Text::from_raw(self.exchange.head.request_id())),
            body,
        })
    }
}

/// Returns the delay that the server requests.
fn retry_after(error: Error) -> Option<Duration> {
    match error {
        Error::Api(api) => api.retry_after(),
        _ => None,
    }
}

macro_rules! define_event_of {
    ($($field:ident $kind:ident $delta:literal $member_of_delta:literal $member:literal
        $growth:ident $event:ident $name:ident $read:ident;)+) => {
        /// Returns the event that `stream_event`, whose bytes are `bytes`.
        fn event_of<'a>(stream_event: StreamEvent, reply: &Reply, bytes: &'a [u8]) -> Event<'a> {
            let StreamEvent { kind, index, .. } = stream_event;
            match kind {
                $(StreamEventKind::$field => Event::$event { index, $name: $read(bytes) },)+
                StreamEventKind::BlockStart => Event::BlockStart { index, block: value(bytes) },
                StreamEventKind::BlockStop => Event::BlockStop { index, block: value(bytes) },
                StreamEventKind::MessageDelta => Event::Stop {
                    reason: reply.stop,
                    usage: reply.usage,
                    raw: Value::whole(bytes),
                },
                StreamEventKind::MessageStart => Event::MessageStart { message: value(bytes) },
                StreamEventKind::MessageStop => Event::MessageStop,
                StreamEventKind::Ping => Event::Ping,
                StreamEventKind::Unknown => Event::Unknown { raw: value(bytes) },
            }
        }
    };
}
deltas!(define_event_of);

fn json(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or_default()
}

fn text(bytes: &[u8]) -> Text<'_> {
    Text::from_bytes(bytes)
}

fn value(bytes: &[u8]) -> Value<'_> {
    Value::whole(bytes).unwrap_or_default()
}
