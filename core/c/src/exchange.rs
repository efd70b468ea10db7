//! Requests out, replies in.

use core::ffi::c_char;

use toolrunner_core::error::{Capacity, Error, Misuse, TransportKind};
use toolrunner_core::json::{Decimal, Sink};
use toolrunner_core::observe::Event;
use toolrunner_core::run::{Happened, Run, Step};
use toolrunner_core::time::Instant;
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Toolbox};
use toolrunner_core::transport::ReplyHead;
use toolrunner_core::wire::{BaseUrl, Front, Pieces, base_of};

use crate::http::{Http, Part};
use crate::machine::{Machine, put_system};
use crate::raw;
use crate::types::*;

/// Slices of a body before its system prompt: up to the digits of `max_tokens`.
const BEFORE_SYSTEM: usize = 4;

/// The inside of the array of definitions, as if it were one: a request may have any number.
struct Inside(&'static str);

impl Toolbox for Inside {
    fn count(&self) -> usize {
        usize::from(!self.0.is_empty())
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        (i < self.count()).then(|| Definition::new("", self.0))
    }

    async fn call(&self, _: usize, _: ToolCall<'_>, _: &mut Output<'_>) -> Result<(), ToolError> {
        Err(ToolError::written())
    }
}

/// A part of what is written through it, and how much that is in all.
struct Window<'o> {
    skip: usize,
    out: &'o mut [u8],
    written: usize,
    total: usize,
}

impl<'o> Window<'o> {
    const fn new(skip: usize, out: &'o mut [u8]) -> Self {
        Self { skip, out, written: 0, total: 0 }
    }
}

impl Sink for Window<'_> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), Capacity> {
        self.total = self.total.saturating_add(bytes.len());
        let rest = bytes.get(self.skip..).unwrap_or_default();
        self.skip = self.skip.saturating_sub(bytes.len());
        let room = self.out.get_mut(self.written..).unwrap_or_default();
        let len = rest.len().min(room.len());
        for (place, byte) in room.iter_mut().zip(rest) {
            *place = *byte;
        }
        self.written += len;
        Ok(())
    }
}

impl Machine {
    /// Calls `work` with what comes before the conversation in a request's body.
    fn with_front<R>(
        &mut self,
        work: impl FnOnce(&mut Run<'static>, &[&[u8]]) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let config = self.config;
        let max_tokens = Decimal::new(u64::from(config.max_tokens));
        // A copy, because the run is written to while the front is lent.
        let container = self.run.container_copy();
        let rules = self.run.compaction_rules();
        let tools = Inside(self.tools.inside());
        let mut pieces = Pieces::empty();
        pieces.fill(Front::new(&config, &max_tokens).with(container.as_deref(), rules), &tools)?;
        work(&mut self.run, pieces.as_slices())
    }

    fn put_body(&mut self, out: &mut impl Sink) -> Result<(), Error> {
        let system = self.system;
        self.with_front(|run, front| {
            for (i, piece) in run.body(front).pieces().enumerate() {
                if let Some(system) = system
                    && i == BEFORE_SYSTEM
                {
                    put_system(system, out)?;
                }
                out.put(piece)?;
            }
            Ok(())
        })
    }

    fn body_len(&mut self) -> Result<usize, Error> {
        let mut window = Window::new(0, &mut []);
        self.put_body(&mut window)?;
        Ok(window.total)
    }

    fn put_head(&mut self, out: &mut impl Sink) -> Result<(), Error> {
        let len = u64::try_from(self.body_len()?).unwrap_or(u64::MAX);
        let config = self.config;
        let url = BaseUrl::parse(base_of(config.base_url, config.path)).map_err(Misuse::Setting)?;
        for part in ["POST ", url.prefix, config.path, " HTTP/1.1\r\nhost: ", url.authority] {
            out.put(part.as_bytes())?;
        }
        for &(name, value) in &config.fields() {
            for part in ["\r\n", name, ": ", value] {
                out.put(part.as_bytes())?;
            }
        }
        out.put(b"\r\ncontent-length: ")?;
        out.put(Decimal::new(len).as_bytes())?;
        Ok(out.put(b"\r\n\r\n")?)
    }

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

/// What is to be done: one of `TOOLRUNNER_STEP_…`, or an error. `now_ms` is a clock that never goes
/// back; time passes only by it. `until_ms`: for `TOOLRUNNER_STEP_WAIT`, when to ask again.
///
/// Calls that were given out and not answered are answered as cancelled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_step(
    machine: *mut toolrunner_t,
    now_ms: u64,
    until_ms: *mut u64,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let step = machine.run.step(Instant::from_micros(now_ms.saturating_mul(1000)))?;
            Ok(match step {
                Step::Call => TOOLRUNNER_STEP_CALL,
                Step::Done(_) => TOOLRUNNER_STEP_DONE,
                Step::Receive => TOOLRUNNER_STEP_RECEIVE,
                Step::Send => {
                    machine.has_head = false;
                    machine.http = Http::new();
                    machine.broke = None;
                    let noted = machine.with_front(|run, front| run.note_front(front));
                    if noted.is_err() {
                        machine.run.stop();
                    }
                    noted?;
                    TOOLRUNNER_STEP_SEND
                }
                Step::Wait(until) => {
                    // Rounded up, so that the wait is over then.
                    raw::give(until_ms, until.as_micros().div_ceil(1000));
                    TOOLRUNNER_STEP_WAIT
                }
            })
        })
    }
}

/// After `TOOLRUNNER_STEP_SEND`: the request's head as HTTP/1.1, from byte `offset` on. Gives how
/// many bytes it wrote to `out`, 0 behind the end, or an error. For programs without an HTTP client
/// of their own.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_head(
    machine: *mut toolrunner_t,
    offset: usize,
    out: *mut c_char,
    cap: usize,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let mut window = Window::new(offset, raw::memory(out, small(cap)));
            machine.put_head(&mut window)?;
            Ok(i32::try_from(window.written).unwrap_or(i32::MAX))
        })
    }
}

/// After `TOOLRUNNER_STEP_SEND`: the request's body, from byte `offset` on. Gives how many bytes it
/// wrote to `out`, 0 behind the end, or an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_body(
    machine: *mut toolrunner_t,
    offset: usize,
    out: *mut c_char,
    cap: usize,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let mut window = Window::new(offset, raw::memory(out, small(cap)));
            machine.put_body(&mut window)?;
            Ok(i32::try_from(window.written).unwrap_or(i32::MAX))
        })
    }
}

/// Bytes of the request's body: its `content-length`. 0 if there is no machine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_body_len(machine: *mut toolrunner_t) -> usize {
    let mut len = 0;
    // SAFETY: the contract of the crate's documentation.
    let code = unsafe {
        raw::with(machine, |machine| {
            len = machine.body_len()?;
            Ok(TOOLRUNNER_OK)
        })
    };
    if code == TOOLRUNNER_OK { len } else { 0 }
}

/// A field of the request's head, for programs with an HTTP client: gives 1, or 0 if there are not
/// so many. `host` and `content-length` are the client's. A value may be the key: never log them.
/// The texts are those of the configuration, or constants.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_field(
    machine: *mut toolrunner_t,
    i: usize,
    name: *mut toolrunner_text,
    value: *mut toolrunner_text,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let fields = machine.config.fields();
            let Some(field) = fields.get(i) else { return Ok(0) };
            raw::give(name, raw::lend(field.0.as_bytes()));
            raw::give(value, raw::lend(field.1.as_bytes()));
            Ok(1)
        })
    }
}

/// The address of requests, for programs with an HTTP client, in two parts that follow each other:
/// base URL and path. The texts are those of the configuration, or constants.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_url(
    machine: *mut toolrunner_t,
    base: *mut toolrunner_text,
    path: *mut toolrunner_text,
) -> i32 {
    // SAFETY: the contract of the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let config = machine.config;
            raw::give(base, raw::lend(base_of(config.base_url, config.path).as_bytes()));
            raw::give(path, raw::lend(config.path.as_bytes()));
            Ok(TOOLRUNNER_OK)
        })
    }
}

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

/// As many bytes as fit the number that a function gives.
fn small(cap: usize) -> usize {
    cap.min(usize::try_from(i32::MAX).unwrap_or(usize::MAX))
}
