//! The work for a reply: proportional to its size, whatever its contents, and not all at once.

mod common;

use core::future::Future;
use core::pin::pin;
use core::task::{Context, Waker};
use core::time::Duration;
use std::time::Instant;

use common::{answers, echo};
use toolrunner_core::testing::{Answer, ScriptedModel, ScriptedReply};
use toolrunner_std::testing::ScriptedServer;

/// Builds a complete reply with 128 calls and many small blocks.
fn many_blocks(texts: usize) -> Vec<u8> {
    let calls =
        (0..128).map(|i| format!(r#"{{"type":"tool_use","id":"id{i}","name":"t","input":{{}}}}"#));
    let texts = (0..texts).map(|_| r#"{"type":"text","text":"x"}"#.to_owned());
    let blocks: Vec<String> = calls.chain(texts).collect();
    format!(r#"{{"content":[{}],"stop_reason":"tool_use"}}"#, blocks.join(",")).into_bytes()
}

/// Builds a stream of this many pieces of text, in one read.
fn many_pieces(count: usize) -> Vec<u8> {
    let mut body = String::from(
        "data: {\"type\":\"message_start\",\"message\":{\"role\":\"assistant\",\"usage\":{}}}\n\n",
    );
    body.push_str("data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n");
    for _ in 0..count {
        body.push_str("data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"x\"}}\n\n");
    }
    body.push_str("data: {\"type\":\"content_block_stop\",\"index\":0}\n\n");
    body.push_str("data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{}}\n\n");
    body.push_str("data: {\"type\":\"message_stop\"}\n\n");
    body.into_bytes()
}

/// Drives a run to its end; returns how often it yielded, and how long it took.
fn drive(body: Vec<u8>) -> (usize, Duration) {
    // The model's own check of the requests must not be measured.
    let script = answers([Answer::raw(200, body)]).reply(ScriptedReply::text("Done."));
    let scripted = ScriptedServer::new(ScriptedModel::new(script).lenient());
    let mut run = scripted.client().run("m").tools(echo("t")).user("Go.");
    let (mut polls, start) = (0, Instant::now());
    let mut future = pin!(run.until_done());
    while future.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        polls += 1;
    }
    (polls, start.elapsed())
}

/// When each call cost a pass over the reply, 128 calls took about a hundred times as long as one.
/// A fraction of that distinguishes the two on any machine.
#[test]
fn a_reply_with_many_calls_costs_what_its_bytes_cost() {
    let many = String::from_utf8(many_blocks(10_000)).unwrap();
    let one = many.replace(r#""type":"tool_use","id":"id"#, r#""type":"other","id":"id"#).replacen(
        r#""type":"other""#,
        r#""type":"tool_use""#,
        1,
    );
    let time = |body: &str| (0..3).map(|_| drive(body.as_bytes().to_vec()).1).min().unwrap();
    let (one, many) = (time(&one), time(&many));
    println!("10 000 blocks: {one:?} with one call, {many:?} with 128");
    assert!(
        many < one * 4 + Duration::from_millis(100),
        "{many:?} with 128 calls, {one:?} with one"
    );
}

/// The run may read for a quarter of a millisecond at a time, and the second reply takes many times
/// as long.
#[test]
fn a_long_reply_lets_others_run() {
    let (few, _) = drive(many_pieces(10));
    let (many, time) = drive(many_pieces(400_000));
    println!("{many} turns for others in 400 000 pieces, {time:?}");
    assert!(many >= few + 20, "{many} turns for others in {time:?}, {few} in 10 pieces");
}
