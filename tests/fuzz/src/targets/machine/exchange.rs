//! One request and its reply, which may be good, odd, broken, truncated or dropped, with calls that
//! start while it streams.

use core::time::Duration;

use toolrunner_core::error::{Error, TransportKind};
use toolrunner_core::message::{Messages, Role, StopReason};
use toolrunner_core::observe::Event;
use toolrunner_core::run::{CallIndex, StreamEvent, ToolAnswer};
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::testing::{Request, Script, ScriptedModel, ScriptedReply, Style};
use toolrunner_core::transport::ReplyHead;

use super::Machine;
use crate::choices::Choices;
use crate::replies::{odd_reply, reply, style};

/// What follows the messages of a request with a thread.
const THREAD: &[u8] = b"],\"thread\":";
const BEFORE: &[&[u8]] = &[b"{\"model\":\"m\",\"max_tokens\":9,\"messages\":["];

/// The calls of the current reply, as a driver that starts calls early sees them.
#[derive(Default)]
struct Early {
    calls: Vec<EarlyCall>,
    /// Whether no more calls may start.
    is_closed: bool,
}

struct EarlyCall {
    block: usize,
    /// The call's id. Empty while its block streams, and if the call may not start.
    id: String,
    is_left: bool,
    has_begun: bool,
}

impl Early {
    fn see(&mut self, event: &Event<'_>) {
        match event {
            Event::BlockStart { index, block } => {
                let is = |kind: &str| {
                    block
                        .member("type")
                        .and_then(|value| value.as_text())
                        .is_some_and(|text| text == *kind)
                };
                self.is_closed |= is("fallback");
                self.leave();
                if is("tool_use") {
                    self.calls.push(EarlyCall {
                        block: *index,
                        id: String::new(),
                        is_left: false,
                        has_begun: false,
                    });
                }
            }
            Event::BlockStop { index, block } => {
                let text = |name| {
                    block
                        .member(name)
                        .and_then(|value| value.as_text())
                        .map_or_else(String::new, |text| text.to_string())
                };
                let is_known = self.calls.iter().any(|call| call.id == text("id"));
                if let Some(call) = self.calls.iter_mut().find(|call| call.block == *index)
                    && !is_known
                    && !text("name").is_empty()
                {
                    call.id = text("id");
                }
            }
            Event::Stop { reason: Some(StopReason::ToolUse), .. } => self.leave(),
            Event::Stop { reason: Some(_), .. } => self.is_closed = true,
            _ => {}
        }
    }

    /// Marks the complete calls as final: the model has moved on.
    fn leave(&mut self) {
        self.calls.iter_mut().for_each(|call| call.is_left = !call.id.is_empty());
    }
}

/// How the body of a reply ended.
enum BodyEnd {
    Failed(Error),
    /// The reader was dropped.
    Dropped,
    Whole,
}

impl Machine<'_> {
    pub(super) fn exchange(&mut self, choices: &mut Choices<'_>) {
        self.check_request();
        let mut early = Early::default();
        let (was_compacting, compactions) = (self.run.is_compacting(), self.run.compactions());
        let fed = match choices.below(12) {
            0 => BodyEnd::Failed(Error::Transport(choices.one_of(&[
                TransportKind::Closed,
                TransportKind::Tls,
                TransportKind::Timeout,
            ]))),
            1 => {
                let mut head = ReplyHead::new([529, 400, 408][choices.below(3)] as u16);
                head.should_retry = choices.one_of(&[None, Some(true), Some(false)]);
                head.retry_after = choices.one_of(&[
                    None,
                    Some(Duration::ZERO),
                    Some(Duration::from_secs(7)),
                    Some(Duration::MAX),
                ]);
                self.run.head_arrived(&head);
                let error: &[u8] = choices.one_of(&[
                    br#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
                    br#"{"error":{"message":"m","details":{"error_code":"thread_not_found"}}}"#,
                    br#"{"error":{"message":"thread: what?"}}"#,
                ]);
                self.feed(error, choices, &mut early)
            }
            // The head never arrived, and nobody waits for it.
            2 => return,
            _ => {
                let body = self.any_reply(choices);
                self.run.head_arrived(&ReplyHead::new(200));
                self.feed(&body, choices, &mut early)
            }
        };
        match fed {
            BodyEnd::Dropped => {}
            BodyEnd::Whole if was_compacting => {
                if self.run.compactions() > compactions {
                    self.ledger.recount_told(self.run.messages());
                }
            }
            BodyEnd::Whole => self.adopt(&early, choices),
            BodyEnd::Failed(error) => {
                if let Error::Capacity(full) = error {
                    assert!(full.needed > full.free, "{full:?}");
                }
                let turns = self.run.turns();
                let _ = self.run.failed(error, self.now, choices.below(256) as u32);
                if self.run.turns() > turns {
                    self.adopt(&early, choices);
                }
            }
        }
    }

    /// Checks that the request is valid: only the tail of a paused turn may be open.
    fn check_request(&mut self) {
        let body: Vec<u8> = self.run.body(BEFORE).pieces().flatten().copied().collect();
        let request: serde_json::Value = serde_json::from_slice(&body).expect("a request is JSON");
        let sent = match body.windows(THREAD.len()).rposition(|part| part == THREAD) {
            Some(end) if request.get("thread").is_some() => &body[BEFORE[0].len()..end],
            _ => &body[BEFORE[0].len()..body.len() - 2],
        };
        // The server has the messages before them.
        let continues = request["thread"]["type"] == "continue";
        let whole = self.run.transcript().bytes();
        assert!(!continues || whole.ends_with(sent), "other messages are sent");
        let messages = if continues { whole } else { sent };
        self.ledger.sent(messages);
        let paused =
            Messages::new(messages).last().is_some_and(|last| last.role() == Some(Role::Assistant));
        if let Err(invalid) =
            validity::check(messages, if paused { Tail::Open } else { Tail::Closed })
        {
            panic!("{invalid} is sent: {}\n{:?}", String::from_utf8_lossy(messages), self.run);
        }
    }

    fn any_reply(&mut self, choices: &mut Choices<'_>) -> Vec<u8> {
        let name = format!("r{}", self.replies);
        let made =
            if choices.below(4) == 0 { odd_reply(choices, &name) } else { reply(choices, &name) };
        let (style, stream) = (style(choices), choices.below(4) > 0);
        let mut body = self.rendered(made, style, stream);
        match choices.below(8) {
            0 => body.truncate(choices.word() % (body.len() + 1)),
            1 => {
                let at = choices.word() % body.len();
                body[at] = choices.below(256) as u8;
            }
            _ => {}
        }
        body
    }

    pub(super) fn rendered(&mut self, reply: ScriptedReply, style: Style, stream: bool) -> Vec<u8> {
        self.replies += 1;
        let mut model = ScriptedModel::new(Script::new().reply(reply)).style(style).lenient();
        let request = format!(
            r#"{{"model":"m","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#
        );
        model.respond(Request::new("/v1/messages", request)).bytes()
    }

    /// Feeds a whole good reply.
    pub(super) fn feed_all(&mut self, body: &[u8]) -> Result<(), Error> {
        let mut rest = body;
        while self.run.feed(&mut rest)?.is_some() {}
        while self.run.end_of_body()?.is_some() {}
        Ok(())
    }

    fn feed(&mut self, body: &[u8], choices: &mut Choices<'_>, early: &mut Early) -> BodyEnd {
        let (size, look, eager) =
            (1 + choices.below(256), choices.below(2) == 1, choices.below(2) == 1);
        // The connection is dropped after this piece.
        let drop_at = if choices.below(12) == 1 { choices.below(256) } else { usize::MAX };
        for (at, piece) in body.chunks(size).enumerate() {
            if at == drop_at {
                return BodyEnd::Dropped;
            }
            let mut rest = piece;
            loop {
                match self.run.feed(&mut rest) {
                    Ok(None) => break,
                    Ok(Some(stream_event)) => {
                        self.stream_event(stream_event, look, eager, choices, early)
                    }
                    Err(error) => return BodyEnd::Failed(error),
                }
            }
        }
        if drop_at == 0 {
            return BodyEnd::Dropped;
        }
        loop {
            match self.run.end_of_body() {
                Ok(None) => return BodyEnd::Whole,
                Ok(Some(stream_event)) => {
                    self.stream_event(stream_event, look, eager, choices, early)
                }
                Err(error) => return BodyEnd::Failed(error),
            }
        }
    }

    fn stream_event(
        &mut self,
        stream_event: StreamEvent,
        look: bool,
        eager: bool,
        choices: &mut Choices<'_>,
        early: &mut Early,
    ) {
        if look {
            let _ = format!("{:?}", self.run.mark_shown(stream_event));
        }
        if !eager {
            return;
        }
        early.see(&self.run.peek(stream_event));
        for (i, call) in early.calls.iter_mut().enumerate() {
            let i = CallIndex::from(i);
            let may = !early.is_closed && call.is_left && !call.has_begun && choices.below(2) == 1;
            if may && self.run.mark_started_early(i, self.now) {
                self.ledger.run(&call.id);
                // The call's reply can no longer be lost.
                self.ledger.keep(&call.id);
                call.has_begun = true;
            } else if call.has_begun && choices.below(8) == 0 && !self.run.is_answered(i) {
                let content = format!("\"early {}\"", call.id);
                self.run.answer(i, ToolAnswer::ok_json(content.as_bytes())).expect("it runs");
                self.ledger.answered(&call.id, None);
            }
        }
    }

    /// Handles a reply that is complete, or whose complete part was kept: its started calls are
    /// answered or abandoned.
    fn adopt(&mut self, early: &Early, choices: &mut Choices<'_>) {
        if !early.calls.iter().any(|call| call.has_begun) {
            return;
        }
        for (i, call) in early.calls.iter().enumerate().filter(|(_, call)| call.has_begun) {
            let i = CallIndex::from(i);
            assert!(
                self.run.call(i).is_some_and(|known| known.id == *call.id.as_str()),
                "another call than the one that began"
            );
            if !self.run.is_answered(i) && choices.below(3) > 0 {
                self.answer(i, &call.id, choices);
            }
        }
    }
}
