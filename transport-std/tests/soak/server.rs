//! The model: it checks each request, calls tools at random, and breaks some of its replies.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http_body::Frame;
use serde_json::{Value, json};
use toolrunner_core::error::TransportKind;
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead};
use toolrunner_std::http::{DynTransport, HttpBody, HttpError, SendFuture};

use super::World;
use super::tools::NAMES;

pub(crate) struct Server(pub Arc<World>);

enum Piece {
    Data(Vec<u8>),
    /// Nothing arrives for a moment.
    Wait(Duration),
    Reset,
}

struct Pieces {
    world: Arc<World>,
    left: VecDeque<Piece>,
    until: Option<toolrunner_std::clock::WaitFuture<'static>>,
}

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        loop {
            if let Some(until) = &mut self.until {
                core::task::ready!(until.as_mut().poll(context));
                self.until = None;
            }
            match self.left.pop_front() {
                None => return Poll::Ready(None),
                Some(Piece::Data(data)) => {
                    return Poll::Ready(Some(Ok(Frame::data(Bytes::from(data)))));
                }
                Some(Piece::Wait(time)) => self.until = Some(self.world.clock.clone().wait(time)),
                Some(Piece::Reset) => {
                    return Poll::Ready(Some(Err(HttpError::new(TransportKind::Closed, "reset"))));
                }
            }
        }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.world.ledger.lock().unwrap_or_else(std::sync::PoisonError::into_inner).is_streaming =
            false;
    }
}

impl DynTransport for Server {
    fn send<'a>(&'a self, _: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a> {
        let world = Arc::clone(&self.0);
        let bytes: Vec<u8> = body.pieces().flatten().copied().collect();
        let transcript = body.transcript().to_vec();
        Box::pin(async move {
            let fault = |world: &World| world.chance(world.faults() / 4);
            if fault(&world) {
                return Err(HttpError::new(TransportKind::Connect, "refused"));
            }
            let request: Value = serde_json::from_slice(&bytes)
                .unwrap_or_else(|error| panic!("soak: a request is no JSON: {error}"));
            let messages = request["messages"].as_array().cloned().unwrap_or_default();
            {
                let mut ledger = world.ledger.lock().unwrap();
                ledger.figures.requests += 1;
                if let Err(wrong) = ledger.check(&messages, &transcript) {
                    panic!("soak: a request: {wrong}\n{}", String::from_utf8_lossy(&transcript));
                }
            }
            if world.chance(200) {
                super::caller::turns(world.below(4)).await;
            }
            if fault(&world) {
                return Err(HttpError::new(TransportKind::Closed, "no head"));
            }
            if fault(&world) {
                let status = world.one_of(&[400, 408, 429, 500, 529]);
                let text = r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#;
                return Ok(Reply {
                    head: ReplyHead::new(status),
                    body: HttpBody::from_pieces([text.to_owned()]),
                });
            }
            let streams = request["stream"] == true;
            let reply = if streams { stream(&world) } else { whole(&world) };
            let pieces = cut(&world, reply);
            world.ledger.lock().unwrap().is_streaming = true;
            let body = HttpBody::from_body(Pieces {
                world: Arc::clone(&world),
                left: pieces,
                until: None,
            });
            Ok(Reply { head: ReplyHead::new(200), body })
        })
    }
}

/// Splits a body into pieces, perhaps with pauses, perhaps incomplete.
fn cut(world: &World, mut body: Vec<u8>) -> VecDeque<Piece> {
    let mut end = None;
    if world.chance(world.faults()) {
        let at = world.below(body.len() + 1);
        match world.below(4) {
            0 => body.truncate(at),
            1 if at < body.len() => body[at] = u8::try_from(world.below(256)).unwrap(),
            _ => {
                body.truncate(at);
                end = Some(Piece::Reset);
            }
        }
    }
    let size = world.one_of(&[7, 40, 200, 1_000, 100_000]);
    let mut pieces = VecDeque::new();
    for piece in body.chunks(size) {
        pieces.push_back(Piece::Data(piece.to_vec()));
        if world.chance(150) {
            pieces.push_back(Piece::Wait(Duration::from_millis(
                u64::try_from(world.below(12)).unwrap(),
            )));
        }
    }
    if end.is_none() && world.chance(200) {
        // The end of the body comes late: the run must not wait for it as part of the reply.
        pieces.push_back(Piece::Wait(Duration::from_millis(900)));
    }
    pieces.extend(end);
    pieces
}

/// Returns the blocks of a reply, and its stop reason.
fn content(world: &World) -> (Vec<Value>, &'static str) {
    let mut blocks = Vec::new();
    let is_calm = world.is_calm();
    let count = match world.below(10) {
        0..4 => 0,
        4..9 => 1 + world.below(4),
        _ if world.chance(60) && !is_calm => 129,
        _ => 1 + world.below(20),
    };
    let count = if is_calm { 0 } else { count };
    for _ in 0..count {
        if world.chance(400) {
            blocks.push(json!({"type":"text","text":"Hm."}));
        }
        let id = format!("c{}", world.ledger.lock().unwrap().calls.len());
        let name = world.one_of(&NAMES);
        let name = if world.chance(40) { "nobody" } else { name };
        let repeated = world
            .chance(world.faults() / 20)
            .then(|| blocks.iter().find_map(|block| block["id"].as_str().map(str::to_owned)))
            .flatten();
        let id = repeated.unwrap_or(id);
        world.ledger.lock().unwrap().call(&id);
        blocks.push(json!({"type":"tool_use","id":id,"name":name,"input":{"a":world.below(100)}}));
        if world.chance(20) {
            blocks.push(json!({"type":"fallback","from":{"model":"a"},"to":{"model":"b"}}));
        }
    }
    if blocks.is_empty() || world.chance(300) {
        blocks.push(json!({"type":"text","text":"So."}));
    }
    let stop = match count {
        0 => "end_turn",
        _ if world.chance(80) => world.one_of(&["max_tokens", "refusal", "pause_turn", "end_turn"]),
        _ => "tool_use",
    };
    (blocks, stop)
}

fn whole(world: &World) -> Vec<u8> {
    let (content, stop) = content(world);
    json!({"id":"m","type":"message","role":"assistant","model":"m","content":content,"stop_reason":stop,"usage":{"input_tokens":1,"output_tokens":1}})
        .to_string()
        .into_bytes()
}

fn stream(world: &World) -> Vec<u8> {
    let (content, stop) = content(world);
    let mut body = String::new();
    let mut event = |kind: &str, mut event: Value| {
        event["type"] = kind.into();
        body.push_str(&format!("event: {kind}\ndata: {event}\n\n"));
    };
    event(
        "message_start",
        json!({"message":{"id":"m","type":"message","role":"assistant","model":"m","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}),
    );
    // A gateway that translates may have two blocks open at once.
    let late = world.chance(world.faults() / 2).then(|| world.below(content.len()));
    for (index, mut block) in content.into_iter().enumerate() {
        let input =
            block["input"].as_object().map(|input| Value::Object(input.clone()).to_string());
        let delta = match (input, block["type"].as_str()) {
            (Some(input), _) => {
                block["input"] = json!({});
                let input =
                    if world.chance(world.faults() / 10) { input.replace(':', "") } else { input };
                Some(json!({"type":"input_json_delta","partial_json":input}))
            }
            (None, Some("text")) => {
                let text = core::mem::take(&mut block["text"]);
                block["text"] = "".into();
                Some(json!({"type":"text_delta","text":text}))
            }
            _ => None,
        };
        event("content_block_start", json!({"index":index,"content_block":block}));
        if let Some(delta) = delta {
            event("content_block_delta", json!({"index":index,"delta":delta}));
        }
        if late != Some(index) {
            event("content_block_stop", json!({"index":index}));
        }
        if world.chance(world.faults() / 20) {
            event("error", json!({"error":{"type":"overloaded_error","message":"Overloaded"}}));
        }
        if world.chance(world.faults() / 20) {
            event(
                "content_block_start",
                json!({"index":index,"content_block":{"type":"tool_result","tool_use_id":"x","content":"x"}}),
            );
        }
    }
    if let Some(index) = late {
        event("content_block_stop", json!({"index":index}));
    }
    event(
        "message_delta",
        json!({"delta":{"stop_reason":stop,"stop_sequence":null},"usage":{"output_tokens":9}}),
    );
    event("message_stop", json!({}));
    body.into_bytes()
}
