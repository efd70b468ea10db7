//! A conversation that the server keeps: which part of it a request contains, and what a reply or
//! an error says about the thread.
//!
//! ```text
//!             create: everything       a whole reply with an id
//!   ┌─────┐ ─────────────────────────────────────────────────▶ ┌──────────┐ continue: what follows
//!   │ New │                                                    │ Continue │ the last reply
//!   └─────┘ ◀───────────────────────────────────────────────── └──────────┘
//!      │      lost, changed before its new messages, a broken        │
//!      │      reply, a refusal, a fallback's reply                   │
//!      │ threads are refused                                         │ ignored, refused, or lost
//!      ▼                                                             ▼ twice in a row
//!   ┌────────────────────────────────────────────────────────────────────┐
//!   │                     Unthreaded: everything, permanently            │
//!   └────────────────────────────────────────────────────────────────────┘
//! ```
//! The rules are those of the official runners (`lib/threads/_thread_state.py` of the Python
//! package 2.14.0). In addition, a thread counts only if the server's token counts show that it
//! exists, and changed tools start a new thread instead of raising an error.

use super::Run;
use super::state::Place;
use super::table::State;
use crate::error::{Error, Misuse, Protocol};
use crate::json::{Sink, Value};
use crate::message::StopReason;
use crate::transcript::Span;
use crate::turn::{StreamEvent, StreamEventKind};
use crate::wire::thread::{CONTINUE, CREATE};
use crate::wire::{Front, MessageThread, error_words};

/// The messages of a request, and what closes its body after them.
pub(super) type Parts<'a> = (&'a [u8], &'a [u8]);

/// The id of a reply. A reply with a longer one is not continued. The API's have 28 characters.
type Id = heapless::String<40, u8>;

/// The codes of errors after which the whole conversation starts a new thread. Source: the types of
/// the error details in the official Python package 2.14.0.
const REPLAYED: [&str; 4] = [
    NOT_FOUND,
    "thread_already_continued",
    "thread_continue_in_flight",
    "thread_fingerprint_mismatch",
];
const NOT_FOUND: &str = "thread_not_found";

/// What the next request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// It creates a thread.
    New,
    /// It continues the thread after its last reply.
    Continue,
    /// It contains the whole conversation and no thread, like all later ones.
    Unthreaded,
}

/// What the current request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ThreadRequest {
    /// It has no thread, or there is no request.
    Nothing,
    Create,
    Continue,
    /// It continues a thread, and the token counts of its reply show that the server keeps it.
    Proven,
}

impl ThreadRequest {
    const fn continues(self) -> bool {
        matches!(self, Self::Continue | Self::Proven)
    }
}

/// The thread of a run.
#[derive(Clone, Debug)]
pub(super) struct Thread {
    mode: MessageThread,
    position: Position,
    sent: ThreadRequest,
    /// Whether messages of the conversation exist only on the server.
    is_freed: bool,
    /// Whether the thread replaces one that the server did not find, and was not continued yet.
    replaces_lost: bool,
    /// Whether the thread ends before the current reply, because the server's copy of the reply
    /// differs from the one here.
    ends_thread: bool,
    /// The input tokens of the current reply when it began. 0 if unknown.
    tokens_at_start: u32,
    /// The input tokens that the thread must have at least.
    tokens: u32,
    /// A hash of the members that the thread was created with and keeps.
    created_with: u32,
    /// The same hash for the next request.
    front: u32,
    /// The length of the conversation up to the end of the last reply of the thread.
    held: usize,
    /// The id of that reply.
    id: Id,
    /// The id of the current reply.
    coming: Id,
}

impl Thread {
    pub(super) const NONE: Self = Self {
        mode: MessageThread::Off,
        position: Position::New,
        sent: ThreadRequest::Nothing,
        is_freed: false,
        replaces_lost: false,
        ends_thread: false,
        tokens_at_start: 0,
        tokens: 0,
        created_with: 0,
        front: 0,
        held: 0,
        id: Id::new(),
        coming: Id::new(),
    };

    /// Returns whether messages of the conversation exist only on the server.
    pub(super) const fn is_freed(&self) -> bool {
        self.is_freed
    }

    /// Lets the next request start a new thread.
    pub(super) const fn leave(&mut self) {
        if let Position::Continue = self.position {
            self.position = Position::New;
        }
    }

    /// Records that the conversation was replaced: all of it is here.
    pub(super) const fn begin_anew(&mut self) {
        self.leave();
        self.is_freed = false;
    }

    /// Records that the conversation contains the current reply in another form than the server
    /// keeps it.
    pub(super) const fn set_changed(&mut self) {
        self.ends_thread = true;
    }

    /// Returns whether the current reply may come from a server that ignores the thread.
    #[cfg(feature = "alloc")]
    pub(super) fn is_unproven(&self) -> bool {
        self.sent == ThreadRequest::Continue
    }

    /// Returns the values for a snapshot: the id, and the numbers for [`restored`](Self::restored).
    /// Returns `None` if there is no thread. `untouched` is the length of the unchanged beginning
    /// of the conversation, and `end` the end of its last reply.
    pub(super) fn to_store(&self, untouched: usize, end: usize) -> Option<(&str, [u64; 4])> {
        match self.position {
            Position::Continue if untouched >= self.held && self.held == end => {
                let held = u64::try_from(self.held).unwrap_or(u64::MAX);
                let flags = 1 + 4 * u64::from(self.replaces_lost);
                let numbers = [held, u64::from(self.tokens), u64::from(self.created_with), flags];
                Some((self.id.as_str(), numbers))
            }
            Position::Unthreaded => Some(("", [0, 0, 0, 2])),
            Position::New | Position::Continue => None,
        }
    }

    /// Restores the values from a snapshot. If they do not match the conversation, whose last reply
    /// ends at `end`, the next request starts a new thread.
    pub(super) fn restored(
        id: &str,
        [held, tokens, created_with, flags]: [u64; 4],
        end: usize,
    ) -> Self {
        let mut this = Self::NONE;
        if flags & 3 == 2 {
            this.position = Position::Unthreaded;
        }
        if let Ok(created_with) = u32::try_from(created_with)
            && flags & 3 == 1
            && usize::try_from(held) == Ok(end)
            && !id.is_empty()
            && this.id.push_str(id).is_ok()
        {
            this.position = Position::Continue;
            (this.held, this.tokens) = (end, u32::try_from(tokens).unwrap_or(u32::MAX));
            (this.created_with, this.front) = (created_with, created_with);
            this.replaces_lost = flags & 4 != 0;
        }
        this
    }

    /// Records that the conversation was restored from a snapshot that lacks freed messages.
    pub(super) const fn set_freed(&mut self) {
        self.is_freed = true;
    }
}

impl Run<'_> {
    /// Sets whether the server keeps the conversation in a message thread. Default:
    /// [`MessageThread::Off`]. The setting applies from the next request on. Like limits, it is not
    /// part of a [`snapshot`](Self::snapshot), but the state of the thread is.
    ///
    /// A request with a thread needs the header [`thread_beta`](Self::thread_beta), and a request
    /// that continues one omits members ([`complete`](Self::complete)). A
    /// [`Driver`](crate::drive::Driver) does both.
    pub const fn set_message_thread(&mut self, thread: MessageThread) {
        self.thread.mode = thread;
        if !matches!(thread, MessageThread::Off) {
            self.settings.extras.enable_message_threads();
        }
    }

    /// Returns the setting of [`set_message_thread`](Self::set_message_thread).
    pub const fn message_thread(&self) -> MessageThread {
        self.thread.mode
    }

    /// Lets the next request contain the whole conversation and start a new thread, as for a copy
    /// of a run: each reply of a thread can be continued only once. If a part of the conversation
    /// was [freed](MessageThread::Free), the run ends with
    /// [`Outcome::ThreadLost`](super::Outcome::ThreadLost) instead.
    pub const fn leave_message_thread(&mut self) {
        self.thread.leave();
    }

    /// Returns the id of the reply that the next request continues, or `None` if it contains the
    /// whole conversation.
    pub fn thread_id(&self) -> Option<&str> {
        let continues = self.thread.mode != MessageThread::Off
            && self.thread.position == Position::Continue
            && self.transcript.untouched() >= self.thread.held;
        continues.then_some(self.thread.id.as_str())
    }

    /// Returns whether messages of the conversation were [freed](MessageThread::Free), so that they
    /// exist only on the server.
    pub const fn has_freed_messages(&self) -> bool {
        self.thread.is_freed
    }

    /// Returns the beta that the current request needs because of its thread, to be added to the
    /// header `anthropic-beta`. `None` if it has no thread.
    pub fn thread_beta(&self) -> Option<&'static str> {
        let code = self.settings.extras.threads?;
        (self.thread.sent != ThreadRequest::Nothing).then_some(code.beta)
    }

    /// Returns the rules for the members of the current request, or `None` if it does not continue
    /// a thread.
    pub fn thread_continuation(&self) -> Option<crate::wire::ThreadContinuation> {
        let code = self.settings.extras.threads?;
        let continues =
            matches!(self.machine.state(), State::Sending) && self.thread.sent.continues();
        continues.then_some(code.continuation)
    }

    /// Compares the members of the next request that a thread keeps (`system` and `tools`) with
    /// those that the current thread was created with. If they differ, the whole conversation is
    /// sent, and starts a new thread. `tools` are the definitions as JSON, besides those in
    /// `front`. Does nothing if there are no threads. Call it before the front is
    /// [completed](Self::complete), if it has changed.
    ///
    /// # Errors
    /// `Misuse` if they differ, or the thread was left after the [`step`](Self::step), and a part
    /// of the conversation was [freed](MessageThread::Free).
    pub fn note_thread_front<'t>(
        &mut self,
        front: Front<'_>,
        tools: impl Iterator<Item = &'t str>,
    ) -> Result<(), Error> {
        let Some(code) = self.settings.extras.threads else { return Ok(()) };
        let mut hash = 0x811c_9dc5;
        let mut see = |bytes: &[u8]| {
            // The separator occurs in no JSON text.
            hash = bytes
                .iter()
                .chain(&[0xff])
                .fold(hash, |hash: u32, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        };
        front.see_kept_by_thread(&mut see);
        tools.for_each(|tool| see(tool.as_bytes()));
        (code.note_front)(self, hash)
    }
}

/// Records the hash of the members that a thread keeps.
pub(super) fn note_front(run: &mut Run<'_>, hash: u32) -> Result<(), Error> {
    let before = core::mem::replace(&mut run.thread.front, hash);
    // The request that was chosen before depends on it.
    if !matches!(run.machine.state(), State::Sending) {
        return Ok(());
    }
    match choose(run) {
        Ok(true) => Ok(()),
        // The thread was left after the step.
        Ok(false) => Err(Misuse::State(
            "the request cannot be sent, because a part of the conversation exists only in the message thread that was left",
        )
        .into()),
        Err(error) => {
            // The next request may have the old ones again.
            run.thread.front = before;
            Err(error)
        }
    }
}

/// Decides what the next request contains. Returns whether it can be sent: not if it would have to
/// contain messages that were freed.
pub(super) fn begin(run: &mut Run<'_>) -> Result<bool, Error> {
    let thread = &mut run.thread;
    // The last reply did not become complete. The server has kept all of it or nothing. If nothing
    // else is possible, the request is repeated.
    if thread.sent.continues() && !thread.coming.is_empty() && !thread.is_freed {
        thread.leave();
    }
    thread.coming.clear();
    (thread.ends_thread, thread.tokens_at_start) = (false, 0);
    choose(run)
}

fn choose(run: &mut Run<'_>) -> Result<bool, Error> {
    let Run { thread, transcript, .. } = run;
    thread.sent = ThreadRequest::Nothing;
    let is_on = thread.mode != MessageThread::Off;
    if let Some(summary) = run.summary.current {
        // The official runner asks for a compaction in a new thread, too, and never continues it.
        if is_on && summary.by_server && thread.position != Position::Unthreaded {
            thread.sent = ThreadRequest::Create;
        }
        return Ok(true);
    }
    if is_on && thread.position == Position::Continue && transcript.untouched() >= thread.held {
        if thread.front == thread.created_with {
            let mut tail = transcript.tail();
            tail.put(CONTINUE.0)?;
            tail.put(thread.id.as_bytes())?;
            tail.put(CONTINUE.1)?;
            thread.sent = ThreadRequest::Continue;
            return Ok(true);
        }
        if thread.is_freed {
            return Err(Misuse::State(
                "the system prompt and the tools cannot change, because a part of the conversation exists only in the message thread",
            )
            .into());
        }
    }
    if thread.is_freed {
        return Ok(false);
    }
    if is_on && thread.position != Position::Unthreaded {
        (thread.position, thread.sent) = (Position::New, ThreadRequest::Create);
        thread.created_with = thread.front;
    }
    Ok(true)
}

/// Returns the messages of the current request, and what closes its body after them. Returns `None`
/// if it has no thread.
pub(super) fn parts<'a>(run: &'a Run<'_>) -> Option<Parts<'a>> {
    let bytes = run.transcript.bytes();
    match run.thread.sent {
        ThreadRequest::Nothing => None,
        ThreadRequest::Create => Some((bytes, CREATE)),
        ThreadRequest::Continue | ThreadRequest::Proven => {
            let new = bytes.get(run.thread.held..).unwrap_or_default().trim_ascii_start();
            let end = CONTINUE.0.len() + run.thread.id.len() + CONTINUE.1.len();
            let closing = Span::new(bytes.len(), bytes.len() + end).of(run.transcript.whole());
            Some((new.strip_prefix(b",").unwrap_or(new), closing))
        }
    }
}

/// Looks at the beginning or the end of a reply: for its id, and for whether the server knows what
/// the thread contains.
///
/// # Errors
/// `ThreadIgnored` if it does not.
pub(super) fn see(run: &mut Run<'_>, stream_event: StreamEvent) -> Result<(), Error> {
    let Run { thread, transcript, reply, .. } = run;
    if thread.sent == ThreadRequest::Nothing {
        return Ok(());
    }
    let event = Value::whole(stream_event.span.of(transcript.whole())).unwrap_or_default();
    let reported = u32::try_from(reply.usage.input_total()).unwrap_or(u32::MAX);
    let usage = event.member("usage").unwrap_or_default();
    // The server keeps no turn that a fallback model wrote.
    let iterations = usage.member("iterations").unwrap_or_default();
    thread.ends_thread |= iterations.elements().any(|iteration| {
        iteration.member("type").is_some_and(|kind| kind.is_text("fallback_message"))
    });
    let uses_server_tools = usage.member("server_tool_use").is_some_and(|uses| !uses.is_null());
    let is_end = match stream_event.kind {
        StreamEventKind::MessageStart => {
            if let Some(id) = event.member("id").and_then(Value::as_text)
                && thread.coming.push_str(id.raw()).is_err()
            {
                thread.coming.clear();
            }
            // In a reply that is one JSON object this is the sum over the requests that the server
            // made for its own tools.
            thread.tokens_at_start = if has_server_tools(event) { 0 } else { reported };
            false
        }
        StreamEventKind::MessageStop => true,
        _ => {
            // Some gateways report them only at the end.
            if thread.tokens_at_start == 0 && reply.is_streamed() && !uses_server_tools {
                thread.tokens_at_start = reported;
            }
            false
        }
    };
    if thread.sent == ThreadRequest::Continue && (reported > 0 || is_end) {
        if reported < thread.tokens.max(1) {
            return Err(Protocol::ThreadIgnored.into());
        }
        thread.sent = ThreadRequest::Proven;
    }
    Ok(())
}

/// Returns whether a message contains calls that the server ran, or their results.
fn has_server_tools(message: Value<'_>) -> bool {
    message.member("content").unwrap_or_default().elements().any(|block| {
        let kind = block.member("type").and_then(Value::as_text).map_or("", |kind| kind.raw());
        kind != "tool_use" && (kind.ends_with("tool_use") || kind.ends_with("tool_result"))
    })
}

/// Ends a request whose reply is complete: decides whether the reply can be continued, and frees
/// what the server keeps.
pub(super) fn end(run: &mut Run<'_>) {
    let Run { thread, transcript, .. } = run;
    let sent = core::mem::replace(&mut thread.sent, ThreadRequest::Nothing);
    if sent == ThreadRequest::Nothing {
        return;
    }
    let is_first = sent == ThreadRequest::Create;
    if is_first || thread.tokens_at_start > 0 {
        thread.tokens = thread.tokens_at_start;
    }
    thread.position = if run.reply.stop == Some(StopReason::Refusal) || thread.ends_thread {
        Position::New
    } else if thread.coming.is_empty() || (is_first && run.reply.usage.input_total() == 0) {
        // Without these, nothing can continue the reply, or show that the server ignores it.
        Position::Unthreaded
    } else if thread.tokens == 0 {
        Position::New
    } else {
        Position::Continue
    };
    core::mem::swap(&mut thread.id, &mut thread.coming);
    thread.coming.clear();
    thread.replaces_lost &= is_first;
    thread.held = run.turn.end;
    transcript.mark_untouched();
    let is_kept = thread.position == Position::Continue && !is_first;
    if is_kept && thread.mode == MessageThread::Free && run.settings.extras.unique.is_none() {
        free(run);
    }
}

/// Frees the messages before the last reply.
fn free(run: &mut Run<'_>) {
    let start = run.turn.start;
    if start == 0 || run.turn.start >= run.turn.end {
        return;
    }
    // What was removed must stay known.
    run.look_for_changes(run.turn.mark);
    if !run.changes.sent.is_empty() {
        return;
    }
    let said = run.exchange.said.span();
    run.cut_out(Span::new(0, start));
    run.exchange.said = Place::at(run.transcript.tail_of(said).keep());
    run.thread.held = run.turn.end;
    run.thread.is_freed = true;
    run.transcript.mark_untouched();
}

/// Returns whether another request, which differs from this one, may succeed after `error`.
pub(super) fn recovers(run: &mut Run<'_>, error: &Error) -> bool {
    if run.thread.sent == ThreadRequest::Nothing {
        return false;
    }
    let (position, is_lost) = match error {
        Error::Protocol(Protocol::ThreadIgnored) => (Position::Unthreaded, false),
        Error::Api(api) => {
            let words =
                if run.reply.failure.len() > 0 { run.reply.failure } else { run.exchange.failure };
            let Some(words) = error_words(words.of(run.transcript.whole())) else { return false };
            let error = words.body.member("error").unwrap_or(words.body);
            let code = error.member("details").and_then(|details| details.member("error_code"));
            let code = code.unwrap_or_default();
            if REPLAYED.iter().any(|known| code.is_text(known)) {
                if !run.thread.sent.continues() {
                    return false;
                }
                match code.is_text(NOT_FOUND) {
                    // The server may be unable to keep this conversation.
                    true if run.thread.replaces_lost => (Position::Unthreaded, false),
                    is_lost => (Position::New, is_lost),
                }
            } else if code.is_text("thread_unsupported_request")
                // A server that does not know the member names it in its own words. One that has
                // kept a thread knows it, so the words are about something else.
                || (!run.thread.is_freed
                    && matches!(api.status, 400 | 404 | 422)
                    && mentions_thread(words.message.raw_bytes()))
            {
                (Position::Unthreaded, false)
            } else {
                return false;
            }
        }
        _ => return false,
    };
    (run.thread.position, run.thread.replaces_lost) = (position, is_lost);
    run.thread.coming.clear();
    true
}

fn mentions_thread(message: &[u8]) -> bool {
    const NAME: &[u8] = b"thread";
    message.windows(NAME.len()).any(|part| part.eq_ignore_ascii_case(NAME))
}
