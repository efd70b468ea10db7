//! The next step, and the request.

use core::ffi::c_char;
use toolrunner_core::__private::{
    BaseUrl, Decimal, Front, RequestPieces as Pieces, Sink, base_of, escape,
};
use toolrunner_core::error::{Capacity, Error, Misuse};
use toolrunner_core::run::{Run, Step};
use toolrunner_core::time::Instant;
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Toolbox};

use crate::http::Http;
use crate::machine::{Machine, Phase};
use crate::raw;
use crate::types::*;

/// The text in place of the system prompt in the slices of a body, recognized by its address. It
/// is a static, because a constant may have several addresses.
pub(crate) static SYSTEM: &str = "the system prompt";

/// The contents of the array of definitions, presented as one definition. A request may contain any
/// number of definitions.
struct DefinitionList(&'static str);

impl Toolbox for DefinitionList {
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

/// Stores a window of the bytes that are written to it, and counts all of them.
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
    /// Calls `work` with the part of a request's body before the conversation.
    fn with_front<R>(
        &mut self,
        work: impl FnOnce(&mut Run<'static>, &[&[u8]]) -> Result<R, Error>,
    ) -> Result<R, Error> {
        let config = self.config;
        let max_tokens = Decimal::new(u64::from(config.max_tokens));
        // This is a copy, because the run is modified while the front is borrowed.
        let container = self.run.container_copy();
        let rules = self.run.compaction_rules();
        let tools = DefinitionList(self.tools.inside());
        let mut pieces = Pieces::empty();
        pieces.fill(Front::new(&config, &max_tokens).with(container.as_deref(), rules), &tools)?;
        work(&mut self.run, pieces.as_slices())
    }

    fn put_body(&mut self, out: &mut impl Sink) -> Result<(), Error> {
        let system = self.system;
        self.with_front(|run, front| {
            for piece in run.body(front).pieces() {
                match system {
                    Some(system) if core::ptr::eq(piece, SYSTEM.as_bytes()) => {
                        escape(system).write_to(out)?;
                    }
                    _ => out.put(piece)?,
                }
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
        let url = BaseUrl::parse(base_of(config.base_url, config.path)).map_err(Misuse::BaseUrl)?;
        for part in ["POST ", url.prefix, config.path, " HTTP/1.1\r\nhost: ", url.authority] {
            out.put(part.as_bytes())?;
        }
        for &(name, value) in config.fields().iter() {
            for part in ["\r\n", name, ": ", value] {
                out.put(part.as_bytes())?;
            }
        }
        out.put(b"\r\ncontent-length: ")?;
        out.put(Decimal::new(len).as_bytes())?;
        Ok(out.put(b"\r\n\r\n")?)
    }
}

/// Returns the next step, one of `TOOLRUNNER_STEP_…`, or an error. `now_ms` is the time of a
/// monotonic clock in milliseconds. The machine has no other source of time. For
/// `TOOLRUNNER_STEP_WAIT`, `until_ms` receives the time of the next call of this function.
///
/// Calls that were handed out and not answered are answered as cancelled.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_step(
    machine: *mut toolrunner_t,
    now_ms: u64,
    until_ms: *mut u64,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let step = machine.run.step(Instant::from_micros(now_ms.saturating_mul(1000)))?;
            Ok(match step {
                Step::Call => TOOLRUNNER_STEP_CALL,
                Step::Done(_) => TOOLRUNNER_STEP_DONE,
                Step::Receive => TOOLRUNNER_STEP_RECEIVE,
                Step::Send => {
                    machine.http = Http::new();
                    machine.broke = None;
                    let noted = machine.with_front(|run, front| run.note_front(front));
                    machine.phase = if noted.is_ok() { Phase::ReplyDue } else { Phase::Idle };
                    if noted.is_err() {
                        machine.run.stop();
                    }
                    noted?;
                    TOOLRUNNER_STEP_SEND
                }
                Step::Wait(until) => {
                    // Rounded up, so that the wait is over at that time.
                    raw::give(until_ms, until.as_micros().div_ceil(1000));
                    TOOLRUNNER_STEP_WAIT
                }
            })
        })
    }
}

/// Writes the request's head as HTTP/1.1 to `out`, from byte `offset`, after
/// `TOOLRUNNER_STEP_SEND`. Returns the number of bytes written, 0 at the end, or an error. For
/// programs without an HTTP client.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_head(
    machine: *mut toolrunner_t,
    offset: usize,
    out: *mut c_char,
    cap: usize,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let mut window = Window::new(offset, raw::memory(out, small(cap)));
            machine.put_head(&mut window)?;
            Ok(i32::try_from(window.written).unwrap_or(i32::MAX))
        })
    }
}

/// Writes the request's body to `out`, from byte `offset`, after `TOOLRUNNER_STEP_SEND`. Returns
/// the number of bytes written, 0 at the end, or an error.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_body(
    machine: *mut toolrunner_t,
    offset: usize,
    out: *mut c_char,
    cap: usize,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let mut window = Window::new(offset, raw::memory(out, small(cap)));
            machine.put_body(&mut window)?;
            Ok(i32::try_from(window.written).unwrap_or(i32::MAX))
        })
    }
}

/// Returns the size of the request's body in bytes: its `content-length`. Returns 0 if there is no
/// machine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_body_len(machine: *mut toolrunner_t) -> usize {
    let mut len = 0;
    // SAFETY: the caller upholds the contract in the crate's documentation.
    let code = unsafe {
        raw::with(machine, |machine| {
            len = machine.body_len()?;
            Ok(TOOLRUNNER_OK)
        })
    };
    if code == TOOLRUNNER_OK { len } else { 0 }
}

/// Reads a header field of the request, for programs with an HTTP client. Returns 1, or 0 if there
/// are not that many fields. The client itself adds `host` and `content-length`. A value may be the
/// API key, so never log the values. The texts belong to the configuration or are constants.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_field(
    machine: *mut toolrunner_t,
    i: usize,
    name: *mut toolrunner_text,
    value: *mut toolrunner_text,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
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

/// Reads the URL of requests, for programs with an HTTP client. It consists of two parts, base URL
/// and path, which must be joined. The texts belong to the configuration or are constants.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn toolrunner_url(
    machine: *mut toolrunner_t,
    base: *mut toolrunner_text,
    path: *mut toolrunner_text,
) -> i32 {
    // SAFETY: the caller upholds the contract in the crate's documentation.
    unsafe {
        raw::with(machine, |machine| {
            let config = machine.config;
            raw::give(base, raw::lend(base_of(config.base_url, config.path).as_bytes()));
            raw::give(path, raw::lend(config.path.as_bytes()));
            Ok(TOOLRUNNER_OK)
        })
    }
}

/// Limits a size to the largest number that a function can return.
fn small(cap: usize) -> usize {
    cap.min(usize::try_from(i32::MAX).unwrap_or(usize::MAX))
}
