//! The reply.

use core::ffi::c_char;

use toolrunner_core::error::{Error, TransportKind};
use toolrunner_core::observe::Event;
use toolrunner_core::run::Happened;
use toolrunner_core::time::Instant;
use toolrunner_core::transport::ReplyHead;

use crate::http::Part;
use crate::machine::Machine;
use crate::raw;
use crate::types::*;

impl Machine {
    /// Tells the run of the head before the first byte of the body.
    fn begin_body(&mut self) {
        if core::mem::take(&mut self.has_head) {
            self.run.answered(&self.head);
        }
    }

    fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Happened>, Error> {
        self.begin_body();
        self.run.feed(input).inspect_err(|error| self.broke = Some(*error))
    }

    fn end_of_body(&mut self) -> Result<Option<Happened>, Error> {
        self.begin_body();
        self.run.end_of_body().inspect_err(|error| self.broke = Some(*error))
    }

    fn feed_http(&mut self, input: &mut &[u8]) -> Result<Option<Happened>, Error> {
        loop {
            let part = self
                .http
                .next(input, &mut self.head)
                .inspect_err(|error| self.broke = Some(*error))?;
            match part {
                Part::More => return Ok(None),
                Part::End => {
                    self.has_head |= !self.http.tell();
                    return self.end_of_body();
                }
                Part::Body(len) => {
                    self.has_head |= !self.http.tell();
                    let mut body = input.get(..len).unwrap_or_default();
                    let happened = self.feed(&mut body)?;
                    let read = len - body.len();
                    self.http.consume(read);
                    *input = input.get(read..).unwrap_or_default();
                    if happened.is_some() {
                        return Ok(happened);
                    }
                    if read == 0 {
                        return Ok(None);
                    }
                }
            }
        }
    }

    fn close_http(&mut self) -> Result<Option<Happened>, Error> {
        let whole = self.http.close();
        let has_begun = self.http.was_told();
        match whole {
            // What has come of an error's body is enough to report the error.
            Err(_) if has_begun && self.run.is_receiving_error() => self.end_of_body(),
            Err(_) if has_begun && self.run.reply_is_whole() => Ok(None),
            Err(error) => {
                self.broke = Some(error);
                Err(error)
            }
            Ok(()) => self.feed_http(&mut &[][..]),
        }
    }

    /// Lends what happened to C.
    fn lend(&mut self, happened: Happened) -> toolrunner_event {
        let (kind, index, data) = match self.run.event(happened) {
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

/// Takes bytes that the socket gave: the reply's head and body as HTTP/1.1. Gives 1 if something
/// happened, 0 if all bytes were read or the reply is at its end, or an error, which
/// `toolrunner_failed` has to decide about. `used`: how many bytes it read. To be called with the
/// rest until it gives 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_feed_http(
    machine: *mut toolrunner_t,
    bytes: *const c_char,
    len: usize,
    used: *mut usize,
    event: *mut toolrunner_event,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let mut input = raw::bytes(bytes, len);
            let before = input.len();
            let happened = machine.feed_http(&mut input);
            raw::give(used, before - input.len());
            give_event(machine, happened, event)
        })
    }
}

/// The socket has no more bytes: the connection was closed. Gives as `toolrunner_feed_http`, and is
/// to be called until it gives 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_close_http(
    machine: *mut toolrunner_t,
    event: *mut toolrunner_event,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let happened = machine.close_http();
            give_event(machine, happened, event)
        })
    }
}

/// Whether the reply that `toolrunner_feed_http` reads is at its end: 1, 2 if the connection can
/// carry another request, or 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_http_is_done(machine: *mut toolrunner_t) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            Ok(i32::from(machine.http.is_done()) + i32::from(machine.http.can_go_on()))
        })
    }
}

/// For programs with an HTTP client: the reply's status is there. Its fields follow by
/// `toolrunner_reply_field`, its body by `toolrunner_feed` and `toolrunner_end_of_body`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_reply(machine: *mut toolrunner_t, status: u32) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.head = ReplyHead::new(u16::try_from(status).unwrap_or(u16::MAX));
            machine.has_head = true;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// A field of the reply's head. Those that the loop needs are `retry-after`, `retry-after-ms`,
/// `x-should-retry` and `request-id`; others are ignored.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_reply_field(
    machine: *mut toolrunner_t,
    name: *const c_char,
    name_len: usize,
    value: *const c_char,
    value_len: usize,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let name = raw::text(name, name_len)?;
            machine.head.field(name, raw::bytes(value, value_len));
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Takes bytes of the reply's body, in any pieces. Gives 1 if something happened, 0 if all bytes
/// were read, or an error, which `toolrunner_failed` has to decide about. `used`: how many bytes it
/// read. To be called with the rest until it gives 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_feed(
    machine: *mut toolrunner_t,
    bytes: *const c_char,
    len: usize,
    used: *mut usize,
    event: *mut toolrunner_event,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let mut input = raw::bytes(bytes, len);
            let before = input.len();
            let happened = machine.feed(&mut input);
            raw::give(used, before - input.len());
            give_event(machine, happened, event)
        })
    }
}

/// The reply's body has ended. Gives as `toolrunner_feed`, and is to be called until it gives 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_end_of_body(
    machine: *mut toolrunner_t,
    event: *mut toolrunner_event,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let happened = machine.end_of_body();
            give_event(machine, happened, event)
        })
    }
}

/// Whether the reply is whole: 1, or 0. What is left of its body does not matter then, but for
/// using the connection again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_reply_is_whole(machine: *mut toolrunner_t) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            Ok(i32::from(machine.run.reply_is_whole() && !machine.has_head))
        })
    }
}

/// The request or its reply failed: after an error of the functions above, which it knows, or in
/// the transport, for the reason `why` (`TOOLRUNNER_FAILED_…`). What came of the reply is taken
/// back. `jitter` is any number, different each time.
///
/// Gives 0 if the run goes on: the next step says whether to wait. Otherwise the error; the run can
/// go on all the same: it sends the same again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_failed(
    machine: *mut toolrunner_t,
    why: i32,
    now_ms: u64,
    jitter: u32,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            machine.has_head = false;
            let kind = match why {
                TOOLRUNNER_FAILED_GIVEN_UP => None,
                TOOLRUNNER_FAILED_CLOSED => Some(TransportKind::Closed),
                TOOLRUNNER_FAILED_CONNECT => Some(TransportKind::Connect),
                TOOLRUNNER_FAILED_DNS => Some(TransportKind::Dns),
                TOOLRUNNER_FAILED_HTTP => Some(TransportKind::Http),
                TOOLRUNNER_FAILED_TIMEOUT => Some(TransportKind::Timeout),
                TOOLRUNNER_FAILED_TLS => Some(TransportKind::Tls),
                _ => Some(TransportKind::Other),
            };
            let error = machine.broke.take().or_else(|| kind.map(Error::Transport));
            let now = Instant::from_micros(now_ms.saturating_mul(1000));
            machine.run.failed(error, now, jitter)?;
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// # Safety
/// `event` is as the crate's documentation says.
unsafe fn give_event(
    machine: &mut Machine,
    happened: Result<Option<Happened>, Error>,
    event: *mut toolrunner_event,
) -> Result<i32, Error> {
    let told = happened.as_ref().ok().copied().flatten().map(|it| machine.lend(it));
    // SAFETY: by this function's contract.
    unsafe { raw::give(event, told.unwrap_or(NOTHING)) };
    Ok(i32::from(happened?.is_some()))
}
