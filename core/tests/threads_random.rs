//! Message threads under random conversations: a server keeps each thread as its own list of
//! messages, and whatever happens, the conversation that a request adds up to on the server is the
//! one that the run has.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a test runs on a server"
)]

mod common;

use std::collections::HashMap;
use std::time::Duration;

use common::*;
use serde_json::{Value as Json, json};
use toolrunner_core::__private::{Decimal, Front};
use toolrunner_core::error::{Error, TransportKind};
use toolrunner_core::run::{Compaction, OnBreak, Outcome, Run, Step, ToolAnswer};
use toolrunner_core::testing::Rng;
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;
use toolrunner_core::wire::{Config, MessageThread};

/// A thread after one of its replies.
#[derive(Clone)]
struct Kept {
    messages: Vec<Json>,
    /// The number of the front that the thread was created with.
    front: u32,
    is_continued: bool,
}

/// A server that keeps threads, or does not.
#[derive(Default)]
struct Server {
    threads: HashMap<String, Kept>,
    replies: usize,
    /// Whether it ignores the member `thread`.
    ignores: bool,
}

enum Answer {
    Error(u16, &'static str),
    Reply { body: String, keep: Option<(String, Kept)> },
}

/// Removes what the run leaves out of a conversation, and the server keeps: texts of white space,
/// thinking at the end, and messages without anything else.
fn plain(messages: &[Json]) -> Vec<Json> {
    let mut plain = Vec::new();
    for message in messages {
        let mut message = message.clone();
        if message["role"] == "assistant"
            && let Some(blocks) = message["content"].as_array_mut()
        {
            blocks.retain(|block| block["type"] != "text" || block["text"] != "");
            while blocks.last().is_some_and(|block| block["type"] == "thinking") {
                blocks.pop();
            }
            let blank = |block: &Json| {
                block["type"] == "thinking"
                    || block["text"].as_str().is_some_and(|text| text.trim().is_empty())
            };
            if blocks.iter().all(blank) {
                continue;
            }
        }
        plain.push(message);
    }
    plain
}

struct Play {
    rng: Rng,
    server: Server,
    now: Instant,
    front: u32,
    words: usize,
    started: Vec<String>,
    /// Whether messages are freed.
    frees: bool,
    continued: usize,
    /// Whether the server saw only a part of the conversation of the current request.
    is_cut: bool,
}

impl Play {
    fn word(&mut self) -> String {
        self.words += 1;
        format!("w{}", self.words)
    }

    fn note(&self, run: &mut Run<'_>) {
        let system = format!("s{}", self.front);
        let config = Config::new("m", 64).system(&system);
        let max_tokens = Decimal::new(64);
        let _ = run.note_thread_front(Front::new(&config, &max_tokens), [].into_iter());
    }

    /// What the server makes of a request.
    fn respond(&mut self, run: &Run<'_>, body: &Json, is_summary: bool) -> Answer {
        let new = body["messages"].as_array().unwrap().clone();
        let thread = &body["thread"];
        let mut messages = Vec::new();
        if thread["type"] == "continue" && !self.server.ignores {
            self.continued += 1;
            let id = thread["previous_message_id"].as_str().unwrap();
            let Some(kept) = self.server.threads.get_mut(id) else {
                return Answer::Error(404, "thread_not_found");
            };
            if core::mem::replace(&mut kept.is_continued, true) {
                return Answer::Error(409, "thread_already_continued");
            }
            messages = kept.messages.clone();
            assert_eq!(kept.front, self.front, "the thread has another front");
        }
        messages.extend(new);
        self.is_cut = self.server.ignores && thread["type"] == "continue";
        if !is_summary && !self.is_cut {
            let own: Vec<Json> = serde_json::from_str(&format!(
                "[{}]",
                std::str::from_utf8(run.messages()).unwrap()
            ))
            .unwrap();
            let (server, own) = (plain(&messages), plain(&own));
            if run.has_freed_messages() {
                assert!(server.ends_with(&own), "freed: {server:#?}\n{own:#?}");
            } else {
                assert!(server == own, "server: {server:#?}\nrun: {own:#?}\n{thread}");
            }
        }
        self.server.replies += 1;
        let id = match self.rng.below(20) {
            0 => "x".repeat(60),
            _ => format!("msg_{}", self.server.replies),
        };
        let tokens = serde_json::to_string(&messages).unwrap().len() + 10;
        let mut content = Vec::new();
        if self.rng.chance(200) {
            content.push(json!({"type":"thinking","thinking":"hm","signature":"s"}));
        }
        for _ in 0..self.rng.below(3) {
            let text = match self.rng.below(8) {
                0 => String::new(),
                1 => "\n".to_owned(),
                _ => self.word(),
            };
            content.push(json!({"type":"text","text":text}));
        }
        let mut calls = 0;
        if !is_summary && self.rng.chance(600) {
            for _ in 0..=self.rng.below(2) {
                let call = self.word();
                calls += 1;
                content.push(json!({"type":"tool_use","id":call,"name":"t","input":{"a":call}}));
            }
        }
        let stop = match self.rng.below(12) {
            0 if !content.is_empty() => "pause_turn",
            1 => "refusal",
            2 => "max_tokens",
            _ if calls > 0 => "tool_use",
            _ => "end_turn",
        };
        let mut usage = json!({"input_tokens":tokens,"output_tokens":1});
        let mut is_kept = thread.is_object();
        match self.rng.below(12) {
            0 => {
                usage["iterations"] = json!([{"type":"fallback_message"}]);
                is_kept = false;
            }
            1 => usage["server_tool_use"] = json!({"web_search_requests":0}),
            2 => usage["server_tool_use"] = json!({"web_search_requests":2}),
            _ => {}
        }
        is_kept &= stop != "refusal" && !self.server.ignores;
        let stream = self.rng.chance(500);
        let body = if stream {
            let mut body = String::new();
            let mut put = |event: Json| {
                body.push_str(&format!(
                    "event: {}\ndata: {event}\n\n",
                    event["type"].as_str().unwrap()
                ));
            };
            put(
                json!({"type":"message_start","message":{"id":id,"type":"message","role":"assistant","content":[],"usage":usage}}),
            );
            for (i, block) in content.iter().enumerate() {
                put(json!({"type":"content_block_start","index":i,"content_block":block}));
                put(json!({"type":"content_block_stop","index":i}));
            }
            put(json!({"type":"message_delta","delta":{"stop_reason":stop},"usage":usage}));
            put(json!({"type":"message_stop"}));
            body
        } else {
            json!({"id":id,"type":"message","role":"assistant","content":content,"stop_reason":stop,"usage":usage}).to_string()
        };
        let keep = is_kept.then(|| {
            messages.push(json!({"role":"assistant","content":content}));
            (id, Kept { messages, front: self.front, is_continued: false })
        });
        Answer::Reply { body, keep }
    }

    fn exchange(&mut self, run: &mut Run<'_>) {
        // The front may change between the choice and the request.
        if self.rng.chance(30) && !run.has_freed_messages() {
            self.front += 1;
        }
        self.note(run);
        let is_summary = run.is_compacting();
        let body: Vec<u8> = run.body(BEFORE).pieces().flatten().copied().collect();
        let body: Json = serde_json::from_slice(&body).expect("a request is JSON");
        match self.rng.below(40) {
            0 => {
                let _ = run.failed(Error::Transport(TransportKind::Closed), self.now, 0);
                return;
            }
            1 => return run.abandoned(),
            2 => self.server.threads.clear(),
            _ => {}
        }
        let answer = self.respond(run, &body, is_summary);
        match answer {
            Answer::Error(status, code) => {
                run.head_arrived(&ReplyHead::new(status));
                let body = json!({"type":"error","error":{"type":"e","message":"m","details":{"error_code":code}}}).to_string();
                let _ = feed(run, body.as_bytes(), &mut Vec::new());
                let error = run.end_of_body().unwrap_err();
                let _ = run.failed(error, self.now, 0);
            }
            Answer::Reply { mut body, keep } => {
                // The reply may get lost on its way, after the server has kept it.
                let is_cut = self.rng.chance(80);
                let is_kept = !is_cut || self.rng.chance(500);
                if let Some((id, kept)) = keep.filter(|_| is_kept) {
                    self.server.threads.insert(id, kept);
                }
                if is_cut {
                    body.truncate(self.rng.below(body.len()));
                }
                run.head_arrived(&ReplyHead::new(200));
                let mut failed = None;
                let mut rest = body.as_bytes();
                loop {
                    match run.feed(&mut rest) {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(error) => {
                            failed = Some(error);
                            break;
                        }
                    }
                    if self.rng.chance(10) {
                        return run.abandoned();
                    }
                    self.start_early(run);
                }
                while failed.is_none() {
                    match run.end_of_body() {
                        Ok(Some(_)) => {}
                        Ok(None) => break,
                        Err(error) => failed = Some(error),
                    }
                }
                if let Some(error) = failed {
                    let _ = run.failed(error, self.now, 0);
                }
            }
        }
    }

    /// Starts calls of the reply under way, as an eager driver does.
    fn start_early(&mut self, run: &mut Run<'_>) {
        for i in run.early_calls() {
            let Some(id) = run.early_call(i).map(|call| call.id.to_string()) else { continue };
            if self.rng.chance(300) && run.mark_started_early(i, self.now) {
                assert!(!self.is_cut, "a call of a reply to a part of the conversation");
                self.start(&id);
                if self.rng.chance(500) {
                    run.answer(i, ToolAnswer::ok("early")).unwrap();
                }
            }
        }
    }

    fn start(&mut self, id: &str) {
        assert!(!self.started.iter().any(|started| started == id), "{id} runs twice");
        self.started.push(id.to_owned());
    }

    fn verb(&mut self, run: &mut Run<'_>) {
        let word = self.word();
        match self.rng.below(22) {
            0..=4 => {
                let _ = run.user(&word);
            }
            5 => {
                let _ = run.append(&format!(r#"{{"role":"user","content":"{word}"}}"#));
            }
            6 => {
                let _ = run.ask_again();
            }
            7 => {
                run.drop_oldest_turn();
            }
            8 => {
                let id = format!("w{}", self.rng.below(self.words));
                {
                    let _ = run.replace_result_of(&id, ToolAnswer::ok(&word));
                };
            }
            9 => {
                let _ = run.replace_history(&format!(r#"[{{"role":"user","content":"{word}"}},{{"role":"assistant","content":"a"}},{{"role":"user","content":"b"}}]"#));
            }
            10 => run.stop(),
            11 => run.resume(),
            12 => run.leave_message_thread(),
            13 => {
                let modes: &[MessageThread] = if self.frees {
                    &[MessageThread::Keep, MessageThread::Free, MessageThread::Off]
                } else {
                    &[MessageThread::Keep, MessageThread::Off]
                };
                run.set_message_thread(modes[self.rng.below(modes.len())]);
            }
            14 => run.compact_on_server(),
            15 => {
                *run.compaction_mut() = self
                    .rng
                    .chance(300)
                    .then_some(Compaction { threshold: 1, ..Compaction::DEFAULT })
            }
            16 => run.set_on_break([OnBreak::Drop, OnBreak::KeepBlocks][self.rng.below(2)]),
            17 => run.remove_tool("gone").unwrap(),
            18 if !run.has_freed_messages() => {
                self.front = u32::try_from(self.rng.below(3)).unwrap()
            }
            19 => {
                let mut snapshot = Vec::new();
                if run.snapshot(&mut snapshot).is_ok() {
                    let mode = run.message_thread();
                    let restored = Run::from_snapshot(&snapshot, Transcript::growing());
                    *run = restored.unwrap_or_else(|error| {
                        panic!("{error}: {}", String::from_utf8_lossy(&snapshot))
                    });
                    run.set_message_thread(mode);
                }
            }
            20 => self.server.ignores = self.rng.chance(100),
            _ => {
                if let Some(i) = run.calls().next() {
                    let _ = run.replace_result(i, ToolAnswer::ok(&word));
                }
            }
        }
    }

    fn play(&mut self, steps: usize) {
        let mut run = Run::new(Transcript::growing());
        let mode = if self.frees { MessageThread::Free } else { MessageThread::Keep };
        run.set_message_thread(mode);
        run.user("Hi").unwrap();
        for _ in 0..steps {
            self.note(&mut run);
            match run.step(self.now) {
                Ok(Step::Send) => self.exchange(&mut run),
                Ok(Step::Receive) => run.abandoned(),
                Ok(Step::Wait(until)) => self.now = until,
                Ok(Step::Call) => {
                    while let Some(i) = run.next_call() {
                        let id = run.call(i).unwrap().id.to_string();
                        assert!(run.mark_started(i));
                        self.start(&id);
                        if self.rng.chance(800) {
                            run.answer(i, ToolAnswer::ok("done")).unwrap();
                        }
                        if self.rng.chance(200) {
                            break;
                        }
                    }
                }
                Ok(Step::Done(Outcome::ThreadLost)) => {
                    assert!(run.has_freed_messages());
                    run.replace_history(r#"{"role":"user","content":"again"}"#).unwrap();
                }
                Ok(Step::Done(_)) => {
                    let _ = run.user(&self.word());
                }
                Err(error) => {
                    assert!(matches!(error, Error::Misuse(_)), "{error}");
                    {
                        let _ = run.user(&self.word());
                    };
                }
            }
            self.now = self.now.after(Duration::from_secs(1));
            if self.rng.chance(150) {
                self.verb(&mut run);
            }
        }
    }
}

#[test]
fn what_the_server_knows_is_what_the_run_has() {
    let mut continued = 0;
    for seed in 0..80 {
        let mut play = Play {
            rng: Rng::new(seed),
            server: Server::default(),
            now: Instant::ZERO,
            front: 0,
            words: 0,
            started: Vec::new(),
            frees: seed % 2 == 1,
            continued: 0,
            is_cut: false,
        };
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play.play(80)));
        assert!(played.is_ok(), "seed {seed}");
        continued += play.continued;
    }
    assert!(continued > 400, "{continued} requests continued a thread");
}
