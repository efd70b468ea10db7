//! The reply.

use core::ffi::c_char;

use toolrunner_core::__private::drive::DRAIN;
use toolrunner_core::error::{Error, Misuse, TransportKind};
use toolrunner_core::observe::Event;
use toolrunner_core::run::StreamEvent;
use toolrunner_core::time::Instant;
use toolrunner_core::transport::ReplyHead;

use crate::http::Part;
use crate::machine::{Machine, Phase};
use crate::raw;
use crate::types::*;

impl Machine {
    /// Passes the head to the run before the first byte of the body.
    fn begin_body(&mut self) {
        if self.phase == Phase::BodyDue {
            self.phase = Phase::Idle;
            self.run.head_arrived(&self.head);
        }
    }

    fn feed(&mut self, input: &mut &[u8]) -> Result<Option<StreamEvent>, Error> {
        self.begin_body();
        self.run.feed(input).inspect_err(|error| self.broke = Some(*error))
    }

    fn end_of_body(&mut self) -> Result<Option<StreamEvent>, Error> {
        self.begin_body();
        self.run.end_of_body().inspect_err(|error| self.broke = Some(*error))
    }

    /// Notes that the reply's head is complete. A reply for which no request waits never reaches
    /// the run, because it would continue a run that was stopped.
    fn end_of_head(&mut self) {
        let is_first = !self.http.pass_head();
        if is_first && self.phase == Phase::ReplyDue {
            self.phase = Phase::BodyDue;
        }
    }

    fn feed_http(&mut self, input: &mut &[u8]) -> Result<Option<StreamEvent>, Error> {
        loop {
            let part = self
                .http
                .next(input, &mut self.head)
                .inspect_err(|error| self.broke = Some(*error))?;
            match part {
                Part::More => return Ok(None),
                Part::End => {
                    if !input.is_empty() {
                        self.http.spoil();
                    }
                    self.end_of_head();
                    return self.end_of_body();
                }
                Part::Body(len) => {
                    self.end_of_head();
                    let mut body = input.get(..len).unwrap_or_default();
                    let stream_event = self.feed(&mut body)?;
                    let read = len - body.len();
                    self.http.consume(read);
                    *input = input.get(read..).unwrap_or_default();
                    if stream_event.is_some() {
                        return Ok(stream_event);
                    }
                    if read == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn close_http(&mut self) -> Result<Option<StreamEvent>, Error> {
        let whole = self.http.close();
        let has_begun = self.http.has_passed_head();
        match whole {
            // A partial body is enough to report the server's error.
            Err(_) if has_begun && self.run.is_receiving_error() => self.end_of_body(),
            Err(_) if has_begun && self.run.reply_is_whole() => Ok(None),
            Err(error) => {
                self.broke = Some(error);
                Err(error)
            }
            Ok(()) => self.feed_http(&mut &[][..]),
        }
    }

    /// Converts an event for C, without copying its data.
    fn lend(&mut self, stream_event: StreamEvent) -> toolrunner_event {
        let (kind, index, data) = match self.run.mark_shown(stream_event) {
            Event::MessageStart { message } => (TOOLRUNNER_EVENT_MESSAGE_START, 0, message.raw()),
            Event::BlockStart { index, block } => {
                (TOOLRUNNER_EVENT_BLOCK_START, index, block.raw())
            }
            Event::Text { index, text } => (TOOLRUNNER_EVENT_TEXT, index, text.raw().as_bytes()),
            Event::Thinking { index, text } => {
                (TOOLRUNNER_EVENT_THINKING, index, text.raw().as_bytes())
            }
            Event::Input { index, json } => (TOOLRUNNER_EVENT_INPUT, index, json.as_bytes()),
            Event::BlockStop { index, block } => (TOOLRUNNER_EVENT_BLOCK_STOP, index, block.raw()),
            Event::Stop { reason, .. } => {
                (TOOLRUNNER_EVENT_STOP, 0, reason.map_or("", |reason| reason.name()).as_bytes())
            }
            Event::MessageStop => (TOOLRUNNER_EVENT_MESSAGE_STOP, 0, &[][..]),
            Event::Citation { index, citation } => (TOOLRUNNER_EVENT_OTHER, index, citation.raw()),
            Event::Unknown { raw } => (TOOLRUNNER_EVENT_OTHER, 0, raw.raw()),
            _ => (TOOLRUNNER_EVENT_OTHER, 0, &[][..]),
        };
        let index = u32::try_from(index).unwrap_or(u32::MAX);
        toolrunner_event { kind, index, data: raw::lend(data) }
    }
}

const NOTHING: toolrunner_event =
    toolrunner_event { kind: TOOLRUNNER_EVENT_NONE, index: 0, data: toolrunner_text::EMPTY };

/// Processes bytes from the socket: the reply's head and body as HTTP/1.1. Returns 1 if there is an
/// event, 0 if all bytes were read or the reply has ended, or an error. Report an error with
/// `toolrunner_failed`. `used` receives the number of bytes read. Call this function with the
/// remaining bytes until it returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_feed_http(
    machine: *mut toolrunner_t,
    bytes: *const c_char,
    len: usize,
    used: *mut usize,
    event: *mut toolrunner_event,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let mut input = raw::bytes(bytes, len);
            let before = input.len();
            let stream_event = machine.feed_http(&mut input);
            raw::give(used, before - input.len());
            give_event(machine, stream_event, event)
        })
    }
}

/// Reports that the connection was closed and there are no more bytes. Returns 1 if there is an
/// event, 0 if there are no more events, or an error. Report an error with `toolrunner_failed`.
/// Call this function until it returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_close_http(
    machine: *mut toolrunner_t,
    event: *mut toolrunner_event,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let stream_event = machine.close_http();
            give_event(machine, stream_event, event)
        })
    }
}

/// Returns whether `toolrunner_feed_http` has read the reply to its end: 1 if it has, 2 if the
/// connection can also carry another request, and 0 if it has not.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_http_is_done(machine: *mut toolrunner_t) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            Ok(i32::from(machine.http.is_done()) + i32::from(machine.http.can_go_on()))
        })
    }
}

/// Begins a reply with this HTTP status, for programs with an HTTP client. Pass its header fields
/// to `toolrunner_reply_field`, and its body to `toolrunner_feed` and `toolrunner_end_of_body`.
/// Returns `TOOLRUNNER_ERROR_MISUSE` if no request waits for a reply, for example because it was
/// cancelled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_reply(machine: *mut toolrunner_t, status: u32) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            if !machine.phase.is_due() {
                return Err(Misuse::State("no request waits for a reply").into());
            }
            machine.head = ReplyHead::new(u16::try_from(status).unwrap_or(u16::MAX));
            machine.phase = Phase::BodyDue;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Adds a header field of the reply. The loop uses `retry-after`, `retry-after-ms`,
/// `x-should-retry` and `request-id`. Other fields are ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_reply_field(
    machine: *mut toolrunner_t,
    name: *const c_char,
    name_len: usize,
    value: *const c_char,
    value_len: usize,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let name = raw::text(name, name_len)?;
            machine.head.field(name, raw::bytes(value, value_len));
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Processes bytes of the reply's body, in pieces of any size. Returns 1 if there is an event, 0 if
/// all bytes were read, or an error. Report an error with `toolrunner_failed`. `used` receives the
/// number of bytes read. Call this function with the remaining bytes until it returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_feed(
    machine: *mut toolrunner_t,
    bytes: *const c_char,
    len: usize,
    used: *mut usize,
    event: *mut toolrunner_event,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let mut input = raw::bytes(bytes, len);
            let before = input.len();
            let stream_event = machine.feed(&mut input);
            raw::give(used, before - input.len());
            give_event(machine, stream_event, event)
        })
    }
}

/// Reports the end of the reply's body. Returns 1 if there is an event, 0 if there are no more
/// events, or an error. Report an error with `toolrunner_failed`. Call this function until it
/// returns 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_end_of_body(
    machine: *mut toolrunner_t,
    event: *mut toolrunner_event,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let stream_event = machine.end_of_body();
            give_event(machine, stream_event, event)
        })
    }
}

/// Returns 1 if the reply is complete, and 0 if not. The rest of a complete reply's body matters
/// only if the connection is to be used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_reply_is_whole(machine: *mut toolrunner_t) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            Ok(i32::from(machine.run.reply_is_whole() && !machine.phase.is_due()))
        })
    }
}

/// Reports that the request or its reply failed: after an error of the functions above, which the
/// machine knows, or after an error of the transport, whose reason is `why`
/// (`TOOLRUNNER_FAILED_…`). The received part of the reply is discarded. `jitter` is any number,
/// which should be different in each call.
///
/// Returns 0 if the run continues. The next step then states whether to wait. Otherwise returns the
/// error. The run can continue even then: it sends the same request again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_failed(
    machine: *mut toolrunner_t,
    why: i32,
    now_ms: u64,
    jitter: u32,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let kind = match why {
                TOOLRUNNER_FAILED_GIVEN_UP => None,
                TOOLRUNNER_FAILED_CLOSED => Some(TransportKind::Closed),
                TOOLRUNNER_FAILED_CONNECT => Some(TransportKind::Connect),
                TOOLRUNNER_FAILED_DNS => Some(TransportKind::Dns),
                TOOLRUNNER_FAILED_HTTP => Some(TransportKind::Http),
                TOOLRUNNER_FAILED_TIMEOUT => Some(TransportKind::Timeout),
                TOOLRUNNER_FAILED_TLS => Some(TransportKind::Tls),
                TOOLRUNNER_FAILED_OTHER => Some(TransportKind::Other),
                _ => return Err(Misuse::Setting("unknown TOOLRUNNER_FAILED_ value").into()),
            };
            machine.phase = Phase::Idle;
            let now = Instant::from_micros(now_ms.saturating_mul(1000));
            match machine.broke.take().or_else(|| kind.map(Error::Transport)) {
                Some(error) => drop(machine.run.failed(error, now, jitter)?),
                None => machine.run.abandoned(),
            }
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Returns the maximum time, in milliseconds, to spend on the rest of a body after
/// `toolrunner_reply_is_whole` returns 1, so that the connection can be used again.
#[unsafe(no_mangle)]
pub extern "C" fn toolrunner_drain_ms() -> u32 {
    u32::try_from(DRAIN.as_millis()).unwrap_or(u32::MAX)
}

/// # Safety
/// `event` must satisfy the contract in the crate's documentation.
unsafe fn give_event(
    machine: &mut Machine,
    stream_event: Result<Option<StreamEvent>, Error>,
    event: *mut toolrunner_event,
) -> Result<i32, Error> {
    let told = stream_event.as_ref().ok().copied().flatten().map(|it| machine.lend(it));
    // SAFETY: guaranteed by this function's contract.
    unsafe { raw::give(event, told.unwrap_or(NOTHING)) };
    Ok(i32::from(stream_event?.is_some()))
}
