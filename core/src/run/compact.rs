//! Compaction on the client: after a long turn, the model is asked for a summary, which then
//! replaces the conversation.
//!
//! ```text
//! … history │cut last reply, its calls │keep  the reply without its calls, the question │ summary under way
//!   └─ sent ─┘                               └──────────────── sent ─────────────────┘
//! ```
//! Compaction is considered only when the run would continue, before any call of the turn has run.
//! A summary is not a turn: no limit counts it, but its tokens are counted. If it fails, the
//! conversation stays as it was and the run continues with it. The same happens if the summary is
//! rejected: because it is only white space, was cut off by `max_tokens` or the context window, is
//! a refusal, or has no text. [`Run::rejected_summary`] returns the reason.

use super::Run;
use super::extras::OnServer;
use super::state::Turn;
use super::table::{AfterSummary, Input};
use super::thread::Parts;
use crate::error::{Capacity, Error};
use crate::history::{Ending, is_blank, is_left_out, is_type, kept};
use crate::json::{Value, escape};
use crate::message::{StopReason, Usage};
use crate::transcript::{Rewrite, Span};
use crate::wire::ServerCompaction;

/// When and how a conversation is summarized. Off by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// The threshold: the number of tokens of the last turn (input, output and caches) from which
    /// on the conversation is summarized. Default: 100,000.
    pub threshold: u64,
    /// The prompt for the summary. Default: [`PROMPT`](Self::PROMPT).
    pub prompt: &'static str,
}

impl Compaction {
    /// The default prompt for a summary.
    pub const PROMPT: &'static str = "Summarize this conversation so that the work can go on from your summary alone: it will replace all that \
was said above. Say what was asked for and under which conditions, what was done and found (names, numbers, paths and identifiers exactly \
as they are), what was decided and why, what was tried and failed, and what is to be done next. Write only the summary.";

    /// Summarizes from 100,000 tokens on, with [`PROMPT`](Self::PROMPT).
    pub const DEFAULT: Self = Self { threshold: 100_000, prompt: Self::PROMPT };
}

impl Default for Compaction {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The summary of a run: requested, in progress, or rejected.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    /// The summary in progress.
    pub(super) current: Option<PendingSummary>,
    /// Whether a summary of the last turn was tried.
    pub(super) tried: bool,
    /// Whether the server compacts before the next turn.
    is_requested: bool,
    /// The reason why the last summary was rejected, if it was.
    rejected: Option<&'static str>,
}

impl Summary {
    /// Creates the state in which there is no summary.
    // Not a constant: a chip would copy all of it, including bytes that have no value.
    #[inline]
    pub(super) fn new() -> Self {
        Self { current: None, tried: false, is_requested: false, rejected: None }
    }
}

/// A summary in progress.
#[derive(Clone, Copy, Debug)]
pub(super) struct PendingSummary {
    /// Whether the server generates it, as a `compaction` block.
    pub(super) by_server: bool,
    /// The end of the history that is sent unchanged.
    pub(super) cut: usize,
    /// The end of the conversation in its current form.
    pub(super) keep: usize,
    /// What the run was about to do.
    then: AfterSummary,
    /// The stop reason and the usage of the last turn, which the reply with the summary replaces
    /// temporarily.
    stop: Option<StopReason>,
    usage: Usage,
    /// Whether the last reply had no block.
    is_empty: bool,
}

/// The reasons why a summary does not replace the conversation.
const CALLS: &str = "the reply has a call";
const CUT_OFF: &str = "the summary was cut off";
const NO_TEXT: &str = "the reply has no summary";
const PAUSED: &str = "the turn was paused";
const REFUSED: &str = "the model refused";

impl Run<'_> {
    /// Returns whether the current request or reply is a summary and not a turn. Its events are
    /// only for the run itself.
    pub const fn is_compacting(&self) -> bool {
        self.summary.current.is_some()
    }

    /// Requests that the server compact the conversation before the next turn, in a separate
    /// request: the same parameters and `compaction`, without those that cannot be combined with
    /// it: `context_management`, `stop_sequences`, an output format, a forced `tool_choice`. The
    /// server's answer becomes the conversation. The request waits for a paused turn to end, and is
    /// dropped if the run ends with open calls. It is not a turn, and is not retried. If the reply
    /// contains no summary, or also a call, the conversation stays as it is. A second call before
    /// the request is sent has no effect.
    pub fn compact_on_server(&mut self) {
        self.summary.is_requested = true;
        self.settings.extras.enable_server_compaction();
    }

    /// Returns the rules for the members of the next request, or `None` if they are all sent
    /// unchanged.
    pub fn compaction_rules(&self) -> Option<ServerCompaction> {
        self.on_server().map(|code| code.rules).filter(|_| self.is_compacting_on_server())
    }

    fn on_server(&self) -> Option<OnServer> {
        self.settings.extras.summaries?.on_server
    }

    /// Returns whether the current request asks the server for a `compaction` block.
    pub fn is_compacting_on_server(&self) -> bool {
        self.summary.current.is_some_and(|compacting| compacting.by_server)
    }

    /// Begins the server's compaction if it was requested and is possible.
    pub(super) fn begin_server_compaction(&mut self) -> bool {
        self.on_server().is_some_and(|code| (code.begin)(self))
    }

    /// Begins a summary if one is due. If it does not fit, the run continues without it.
    pub(super) fn begin_compaction(&mut self) -> bool {
        self.settings.extras.summaries.is_some_and(|summaries| (summaries.begin)(self))
    }

    pub(super) fn begin_on_server(&mut self) -> bool {
        if !self.summary.is_requested
            || self.turn.is_paused()
            || self.transcript.is_empty()
            || self.thread.is_freed()
        {
            return false;
        }
        self.summary.is_requested = false;
        if self.turn.is_open() {
            return false;
        }
        let keep = self.transcript.len();
        self.summary.current = Some(PendingSummary {
            by_server: true,
            cut: keep,
            keep,
            then: AfterSummary::of(self.machine.state()),
            stop: self.reply.stop,
            usage: self.reply.usage,
            is_empty: self.reply.is_empty(),
        });
        true
    }

    /// Ends the server's reply: it becomes the conversation, if it contains a summary.
    fn end_server_compaction(&mut self, compacting: PendingSummary, reply: &Turn) {
        let says_something = |content: Value<'_>| {
            content.as_text().is_none_or(|text| !is_blank(text)) && !content.is_null()
        };
        let has_summary = self.blocks_of(reply).any(|block| {
            is_type(block, "compaction") && block.member("content").is_some_and(says_something)
        });
        // It is not a turn, so nothing would answer a call in it.
        if self.summary.rejected.is_none() && self.reply.calls > 0 {
            self.summary.rejected = Some(CALLS);
        }
        if self.summary.rejected.is_none()
            && !(has_summary && self.keep_message(reply.mark, reply.start, Ending::Ended))
        {
            self.summary.rejected = Some(NO_TEXT);
        }
        if self.summary.rejected.is_some() {
            self.restore(compacting);
            return;
        }
        self.transcript.remove(Span::new(0, reply.start));
        self.turn.begin(self.transcript.len());
        self.marks.forget();
        self.ledger.add_compaction();
        // Possible, because a summary is in progress.
        let _ = self.machine.go(Input::Summary(compacting.then));
    }

    /// Returns the reason why the last summary did not replace the conversation, in words, or
    /// `None` if it did or there was no summary.
    pub const fn rejected_summary(&self) -> Option<&'static str> {
        self.summary.rejected
    }

    pub(super) fn begin_here(&mut self) -> bool {
        let Some(Compaction { threshold, prompt }) = self.settings.compaction else { return false };
        // A running call is not dropped: the model must learn about it.
        let untouched = self.transcript.len() == self.turn.end && self.turn.end > self.turn.mark;
        if self.summary.tried
            || self.thread.is_freed()
            || !untouched
            || self.turn.is_running()
            || (self.turn_usage().total() < threshold && !self.wants_summary())
        {
            return false;
        }
        // Only the rest of a paused turn may follow if that turn contains calls, and the rest may
        // be nothing but calls.
        if self.turn.calls > 0
            && (self.turn.mark == 0 || self.turn_before(self.turn.mark).calls > 0)
        {
            return false;
        }
        self.summary.tried = true;
        let (keep, then) = (self.transcript.len(), AfterSummary::of(self.machine.state()));
        let cut = if self.turn.calls > 0 { self.turn.mark } else { keep };
        if self.write_question(cut < keep, prompt).is_err() {
            self.transcript.truncate(keep);
            return false;
        }
        self.summary.current = Some(PendingSummary {
            by_server: false,
            cut,
            keep,
            then,
            stop: self.reply.stop,
            usage: self.reply.usage,
            is_empty: self.reply.is_empty(),
        });
        true
    }

    /// Appends what is sent instead of the part after the cut: the blocks of the reply that the API
    /// accepts, without its calls, and the prompt for the summary.
    fn write_question(&mut self, without_calls: bool, prompt: &str) -> Result<(), Capacity> {
        if without_calls {
            let message = Span::new(self.turn.start, self.turn.end);
            let is_call = |block: &Value<'_>| is_type(*block, "tool_use");
            let stays =
                kept(self.blocks_of(&self.turn).filter(|block| !is_call(block)), Ending::Ended)
                    .count;
            // Block by block, by position: each is copied from the conversation to its end.
            let (mut at, mut seen, mut first) = (self.content_start(message), 0, true);
            while seen < stays
                && let Some(span) = self.block_at(at)
            {
                at = span.end;
                let block = Value::whole(span.of(self.transcript.bytes())).unwrap_or_default();
                if is_call(&block) {
                    continue;
                }
                seen += 1;
                if !is_left_out(block) {
                    self.transcript.append(if first {
                        b",{\"role\":\"assistant\",\"content\":["
                    } else {
                        b","
                    })?;
                    first = false;
                    self.transcript.append_within(span)?;
                }
            }
            if !first {
                self.transcript.append(b"]}")?;
            }
        }
        self.transcript.append(b",{\"role\":\"user\",\"content\":\"")?;
        escape(prompt).write_to(&mut self.transcript)?;
        self.transcript.append(b"\"}]}")
    }

    /// Ends a summary: it becomes the conversation, if it is valid.
    pub(super) fn end_compaction(&mut self, compacting: PendingSummary) -> Result<(), Error> {
        const HEAD: &[u8] = b"{\"role\":\"user\",\"content\":\"";
        self.ledger.usage.add(&self.reply.usage);
        self.exchange.attempt = 0;
        let end = self.transcript.len();
        let mark = self.reply.mark;
        let comma = usize::from(end > mark);
        let reply = Turn { start: mark + comma, end, ..Turn::none(mark) };
        self.summary.rejected = match self.reply.stop {
            Some(StopReason::MaxTokens | StopReason::ModelContextWindowExceeded) => Some(CUT_OFF),
            Some(StopReason::Refusal) => Some(REFUSED),
            Some(StopReason::PauseTurn) => Some(PAUSED),
            None
            | Some(
                StopReason::Compaction
                | StopReason::EndTurn
                | StopReason::StopSequence
                | StopReason::ToolUse
                | StopReason::Unknown,
            ) => None,
        };
        (self.reply.stop, self.reply.usage) = (compacting.stop, compacting.usage);
        if compacting.by_server {
            self.end_server_compaction(compacting, &reply);
            return Ok(());
        }
        let says_something = self.blocks_of(&reply).any(|block| {
            let text =
                block.member("text").and_then(Value::as_text).filter(|_| is_type(block, "text"));
            text.is_some_and(|text| !is_blank(text))
        });
        if !says_something {
            self.summary.rejected = self.summary.rejected.or(Some(NO_TEXT));
        }
        if self.summary.rejected.is_some() {
            self.restore(compacting);
            return Ok(());
        }
        // Move the texts to the front one by one. The bytes there are no longer needed.
        let (mut rewrite, mut at) = (Rewrite::new(0), reply.start);
        while let Some((text, behind)) = self.next_text(&reply, at) {
            at = behind;
            if text.len() > 0 && text.start >= rewrite.at().max(HEAD.len()) {
                if rewrite.at() == 0 {
                    rewrite.add(&mut self.transcript, HEAD);
                }
                rewrite.keep(&mut self.transcript, text);
            }
        }
        rewrite.end(&mut self.transcript, b"\"}");
        self.turn.begin(self.transcript.len());
        self.marks.forget();
        self.ledger.add_compaction();
        Ok(self.machine.go(Input::Summary(AfterSummary::Request))?)
    }

    /// Returns the content of the first text block after `at` (raw, without its quotes), and where
    /// the block ends.
    fn next_text(&self, reply: &Turn, at: usize) -> Option<(Span, usize)> {
        let bytes = self.transcript.bytes();
        self.blocks_of(reply).find_map(|block| {
            let start = block.offset_in(bytes).filter(|start| *start > at)?;
            let text = block.member("text").filter(|_| is_type(block, "text"))?;
            let from = text.offset_in(bytes)? + 1;
            Some((
                Span::new(from, from + text.raw().len().saturating_sub(2)),
                start + block.raw().len() - 1,
            ))
        })
    }

    /// Restores the conversation, and continues with what the run was about to do.
    pub(super) fn restore(&mut self, compacting: PendingSummary) {
        self.transcript.truncate(compacting.keep);
        (self.reply.stop, self.reply.usage) = (compacting.stop, compacting.usage);
        if compacting.is_empty {
            self.reply.set_empty();
        } else {
            self.reply.set_restored();
        }
        self.summary.current = None;
        self.exchange.attempt = 0;
        // Possible, because a summary is in progress.
        let _ = self.machine.go(Input::Summary(compacting.then));
    }

    /// Abandons a summary in progress.
    pub(super) fn cancel_compaction(&mut self) {
        if self.drop_summary() {
            self.summary.tried = false;
        }
    }

    /// Restores the conversation if a summary is in progress. Returns whether one was.
    pub(super) fn drop_summary(&mut self) -> bool {
        let code = self.settings.extras.summaries.filter(|_| self.is_compacting());
        if let Some(code) = code {
            (code.restore)(self);
        }
        code.is_some()
    }

    /// Returns the messages of the request for a summary, and what closes its body.
    pub(super) fn parts_of_summary(&self) -> Option<Parts<'_>> {
        let compacting = self.summary.current.as_ref()?;
        let whole = self.transcript.bytes();
        let history = whole.get(..compacting.cut).unwrap_or_default();
        let question = whole.get(compacting.keep..).unwrap_or_default();
        Some((history, if compacting.by_server { b"]}" } else { question }))
    }
}
