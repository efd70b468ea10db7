//! Compaction on the client: when a turn was long, the model is asked for a summary, and the
//! summary becomes the conversation.
//!
//! ```text
//! … history │cut last reply, its calls │keep  the reply without its calls, the question │ summary under way
//!   └─ sent ─┘                               └──────────────── sent ─────────────────┘
//! ```
//! It is looked for only when the run would go on, before any call of the turn has run. It is no
//! turn: no limit counts it, but its tokens are counted. If it fails, the conversation stays as it
//! was and the run goes on with it; also if the summary is rejected: one of white space, cut off by
//! `max_tokens` or the context window, a refusal, or without text. [`Run::rejected_summary`] says
//! which.

use super::Run;
use super::state::{State, Turn};
use crate::error::{Capacity, Error};
use crate::history::{Ending, is_blank, is_left_out, is_type, kept};
use crate::json::{Value, escape};
use crate::message::{StopReason, Usage};
use crate::transcript::Span;
use crate::wire::ServerCompaction;

/// When and how a conversation is summarised. Off unless it is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compaction {
    /// Tokens of the last turn (input, output and caches) from which on it is done. Default
    /// 100 000.
    pub threshold: u64,
    /// What the model is asked. Default [`SUMMARY_PROMPT`].
    pub prompt: &'static str,
}

/// What the model is asked for a summary with, if nothing else is said.
pub const SUMMARY_PROMPT: &str = "Summarize this conversation so that the work can go on from your summary alone: it will replace all that \
was said above. Say what was asked for and under which conditions, what was done and found (names, numbers, paths and identifiers exactly \
as they are), what was decided and why, what was tried and failed, and what is to be done next. Write only the summary.";

impl Compaction {
    /// From 100 000 tokens on, with [`SUMMARY_PROMPT`].
    pub const DEFAULT: Self = Self { threshold: 100_000, prompt: SUMMARY_PROMPT };
}

impl Default for Compaction {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A summary under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compacting {
    /// Whether the server makes it, as a `compaction` block.
    pub(super) by_server: bool,
    /// The end of the history that is sent as it stands.
    pub(super) cut: usize,
    /// The end of the conversation as it is.
    pub(super) keep: usize,
    /// What the run was about to do.
    then: State,
    /// How the last turn ended, and what it cost: the summary's reply takes its place for a while.
    stop: Option<StopReason>,
    usage: Usage,
}

/// Why a summary does not replace the conversation.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rejected {
    Calls,
    CutOff,
    NoText,
    Paused,
    Refused,
}

impl Rejected {
    const fn text(self) -> &'static str {
        match self {
            Self::Calls => "the reply has a call",
            Self::CutOff => "the summary was cut off",
            Self::NoText => "the reply has no summary",
            Self::Paused => "the turn was paused",
            Self::Refused => "the model refused",
        }
    }
}

/// What begins and ends summaries. A run knows it from the first word about them on.
#[derive(Debug)]
pub(super) struct Summaries {
    begin: fn(&mut Run<'_>) -> bool,
    begin_on_server: fn(&mut Run<'_>) -> bool,
    pub(super) end: fn(&mut Run<'_>, Compacting) -> Result<(), Error>,
}

impl Summaries {
    const CODE: Self = Self {
        begin: |run| run.begin_here(),
        begin_on_server: |run| run.begin_on_server(),
        end: |run, compacting| run.end_compaction(compacting),
    };
}

impl Run<'_> {
    /// When the conversation is summarised; nothing for never, which is the default.
    pub const fn compaction_mut(&mut self) -> &mut Option<Compaction> {
        self.summaries = Some(&Summaries::CODE);
        &mut self.compaction
    }

    /// Whether what is sent, or comes, is a summary and no turn. Its events are nobody's but the
    /// run's.
    pub const fn is_compacting(&self) -> bool {
        self.compacting.is_some()
    }

    /// Has the server compact the conversation before the next turn, by a request of its own: the
    /// same parameters and `compaction`, less what cannot go with it: `context_management`,
    /// `stop_sequences`, an output format, a forced `tool_choice`. Its answer becomes the
    /// conversation. It waits for a paused turn to end, and is passed over if the run ends with
    /// open calls. It is no turn, and is not tried again; if it gives no summary, or a call beside
    /// it, the conversation stays as it is. A second word before it is sent changes nothing.
    pub fn compact_on_server(&mut self) {
        self.server_compaction = true;
        // Only so does the code for it come along.
        self.summaries = Some(&Summaries::CODE);
        self.compaction_rules = Some(ServerCompaction::RULES);
    }

    /// The rules for the members of the next request, if not all go as they are.
    pub fn compaction_rules(&self) -> Option<ServerCompaction> {
        self.compaction_rules.filter(|_| self.is_compacting_on_server())
    }

    /// Whether what is sent asks the server for a `compaction` block.
    pub fn is_compacting_on_server(&self) -> bool {
        self.compacting.is_some_and(|compacting| compacting.by_server)
    }

    /// Begins the server's compaction if it was asked for and may be.
    pub(super) fn begin_server_compaction(&mut self) -> bool {
        self.summaries.is_some_and(|summaries| (summaries.begin_on_server)(self))
    }

    /// Begins a summary if one is due. Where there is no room for it, the run goes on without.
    pub(super) fn begin_compaction(&mut self) -> bool {
        self.summaries.is_some_and(|summaries| (summaries.begin)(self))
    }

    fn begin_on_server(&mut self) -> bool {
        let paused =
            self.turn.end > self.turn.mark && self.reply.stop == Some(StopReason::PauseTurn);
        if !self.server_compaction || paused || self.transcript.is_empty() {
            return false;
        }
        self.server_compaction = false;
        if self.turn.is_open() {
            return false;
        }
        let keep = self.transcript.len();
        self.compacting = Some(Compacting {
            by_server: true,
            cut: keep,
            keep,
            then: self.state,
            stop: self.reply.stop,
            usage: self.reply.usage,
        });
        true
    }

    /// The server's reply is whole: it becomes the conversation, if it holds a summary.
    fn end_server_compaction(&mut self, compacting: Compacting, reply: &Turn) {
        let says_something = |content: Value<'_>| {
            content.as_text().is_none_or(|text| !is_blank(text)) && !content.is_null()
        };
        let has_summary = self.blocks_of(reply).any(|block| {
            is_type(block, "compaction") && block.member("content").is_some_and(says_something)
        });
        // It is no turn, so nobody would answer a call in it.
        if self.rejected.is_none() && self.reply.calls > 0 {
            self.rejected = Some(Rejected::Calls);
        }
        if self.rejected.is_none()
            && !(has_summary && self.keep_message(reply.mark, reply.start, Ending::Ended))
        {
            self.rejected = Some(Rejected::NoText);
        }
        if self.rejected.is_some() {
            self.restore(compacting);
            return;
        }
        self.transcript.remove(Span::new(0, reply.start));
        self.turn = Turn::none(self.transcript.len());
        self.marks.forget();
        self.compactions = self.compactions.saturating_add(1);
        self.state = compacting.then;
    }

    /// Why the last summary did not replace the conversation, in words, if it did not.
    pub const fn rejected_summary(&self) -> Option<&'static str> {
        match self.rejected {
            Some(rejected) => Some(rejected.text()),
            None => None,
        }
    }

    /// How often the conversation was replaced by a summary.
    pub const fn compactions(&self) -> u32 {
        self.compactions
    }

    fn begin_here(&mut self) -> bool {
        let Some(Compaction { threshold, prompt }) = self.compaction else { return false };
        // A call that runs is not dropped: the model must hear of it.
        let untouched = self.transcript.len() == self.turn.end && self.turn.end > self.turn.mark;
        if self.compaction_tried
            || !untouched
            || self.turn.is_running()
            || (self.turn_usage().total() < threshold && !self.wants_summary())
        {
            return false;
        }
        // Behind a paused turn that called something only the rest of that turn may come, which may
        // be nothing but calls.
        if self.turn.calls > 0
            && (self.turn.mark == 0 || self.turn_before(self.turn.mark).calls > 0)
        {
            return false;
        }
        self.compaction_tried = true;
        let (keep, then) = (self.transcript.len(), self.state);
        let cut = if self.turn.calls > 0 { self.turn.mark } else { keep };
        if self.write_question(cut < keep, prompt).is_err() {
            self.transcript.truncate(keep);
            return false;
        }
        self.compacting = Some(Compacting {
            by_server: false,
            cut,
            keep,
            then,
            stop: self.reply.stop,
            usage: self.reply.usage,
        });
        true
    }

    /// Appends what is sent in place of what is behind the cut: what the API takes of the reply
    /// without its calls, and the question.
    fn write_question(&mut self, without_calls: bool, prompt: &str) -> Result<(), Capacity> {
        if without_calls {
            let message = Span::new(self.turn.start, self.turn.end);
            let is_call = |block: &Value<'_>| is_type(*block, "tool_use");
            let stays =
                kept(self.blocks_of(&self.turn).filter(|block| !is_call(block)), Ending::Ended)
                    .count;
            // Block by block, by place: each is copied from the conversation to its end.
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

    /// The summary is whole: it becomes the conversation, if it is one.
    fn end_compaction(&mut self, compacting: Compacting) -> Result<(), Error> {
        const HEAD: &[u8] = b"{\"role\":\"user\",\"content\":\"";
        self.usage.add(&self.reply.usage);
        self.attempt = 0;
        let end = self.transcript.len();
        let mark = self.reply.mark;
        let comma = usize::from(end > mark);
        let reply = Turn { start: mark + comma, end, ..Turn::none(mark) };
        self.rejected = match self.reply.stop {
            Some(StopReason::MaxTokens | StopReason::ModelContextWindowExceeded) => {
                Some(Rejected::CutOff)
            }
            Some(StopReason::Refusal) => Some(Rejected::Refused),
            Some(StopReason::PauseTurn) => Some(Rejected::Paused),
            _ => None,
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
            self.rejected = self.rejected.or(Some(Rejected::NoText));
        }
        if self.rejected.is_some() {
            self.restore(compacting);
            return Ok(());
        }
        // Text by text to the front: what is there is not needed any more.
        let (mut write, mut at) = (HEAD.len(), reply.start);
        while let Some((text, behind)) = self.next_text(&reply, at) {
            at = behind;
            if text.len() > 0 && text.start >= write {
                if write == HEAD.len() {
                    self.transcript.overwrite(0, HEAD);
                }
                self.transcript.copy_down(text, write);
                write += text.len();
            }
        }
        self.transcript.overwrite(write, b"\"}");
        self.transcript.truncate(write + 2);
        self.turn = Turn::none(self.transcript.len());
        self.marks.forget();
        self.compactions = self.compactions.saturating_add(1);
        self.state = State::Ready;
        Ok(())
    }

    /// The content of the first text block behind `at` (raw, as it stands between its quotes), and
    /// where the block ends.
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

    /// The conversation is as it was, and the run does what it was about to do.
    pub(super) fn restore(&mut self, compacting: Compacting) {
        self.transcript.truncate(compacting.keep);
        (self.reply.stop, self.reply.usage) = (compacting.stop, compacting.usage);
        self.compacting = None;
        self.attempt = 0;
        self.state = compacting.then;
    }

    /// Lets go of a summary under way.
    pub(super) fn cancel_compaction(&mut self) {
        if let Some(compacting) = self.compacting.take() {
            self.compaction_tried = false;
            self.restore(compacting);
        }
    }
}
