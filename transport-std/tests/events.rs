//! Events and results as data: what a browser, a log or another task receives.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod common;

use core::time::Duration;

use common::client_of;
use futures_util::StreamExt;
use serde_json::{Value, json};
use toolrunner_core::testing::{Answer, Chunk, Script, ScriptedModel, ScriptedReply};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Error, Event, Outcome, OwnedEvent, Run, RunStream, StopReason, tool};

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// Wait a little.
#[tool]
async fn wait_a_little() -> &'static str {
    tokio::time::sleep(Duration::from_millis(30)).await;
    "done"
}

fn start(script: Script) -> (ScriptedServer, Run) {
    let scripted = ScriptedServer::new(ScriptedModel::new(script));
    let run = scripted.client().run("m").tool(wait_a_little).user("go");
    (scripted, run)
}

fn all(stream: RunStream) -> Vec<Value> {
    block_on(stream.map(|event| serde_json::to_value(event.unwrap()).unwrap()).collect())
}

fn two_turns() -> Script {
    let call = ScriptedReply::new().thinking("Hm.", "c2ln").and_text("So \"it\" is.").tool_use(
        "toolu_1",
        "wait_a_little",
        "{}",
    );
    Script::new().reply(call).reply(ScriptedReply::text("Done."))
}

/// Puts the pieces of a message together, as the official clients do with the API's stream.
fn accumulate(events: &[Value]) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    for event in events {
        let index = event["index"].as_u64().unwrap_or(0) as usize;
        match event["type"].as_str().unwrap() {
            "message_start" => messages.push(event["message"].clone()),
            "content_block_start" => {
                let content = messages.last_mut().unwrap()["content"].as_array_mut().unwrap();
                assert_eq!(content.len(), index);
                content.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let block = &mut messages.last_mut().unwrap()["content"][index];
                let (name, from) = match event["delta"]["type"].as_str().unwrap() {
                    "text_delta" => ("text", "text"),
                    "thinking_delta" => ("thinking", "thinking"),
                    "signature_delta" => ("signature", "signature"),
                    "input_json_delta" => continue,
                    other => panic!("{other}"),
                };
                let piece = event["delta"][from].as_str().unwrap();
                block[name] = json!(format!("{}{piece}", block[name].as_str().unwrap_or("")));
            }
            "message_delta" => {
                let message = messages.last_mut().unwrap();
                message["stop_reason"] = event["delta"]["stop_reason"].clone();
            }
            _ => {}
        }
    }
    messages
}

#[test]
fn a_stream_has_the_form_of_the_api_and_ends_with_the_result() {
    let (_, run) = start(two_turns());
    let events = all(run.into_stream());
    let messages = accumulate(&events);
    assert_eq!(messages.len(), 2);
    assert_eq!(
        messages[0]["content"],
        json!([
            {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
            {"type": "text", "text": "So \"it\" is."},
            {"type": "tool_use", "id": "toolu_1", "name": "wait_a_little", "input": {}},
        ])
    );
    assert_eq!(messages[1]["stop_reason"], "end_turn");
    let last = events.last().unwrap();
    assert_eq!(last["type"], "finished");
    assert_eq!(last["outcome"], json!({"type": "ended", "stop_reason": "end_turn"}));
    assert_eq!(last["message"]["content"], json!([{"type": "text", "text": "Done."}]));
    assert!(last["usage"]["output_tokens"].as_u64().unwrap() > 0);
    let of_run: Vec<&str> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap())
        .filter(|name| !name.starts_with("message") && !name.starts_with("content"))
        .collect();
    assert_eq!(of_run, ["request", "tool_start", "tool_end", "request", "finished"]);
}

#[test]
fn the_events_say_how_long_tools_and_replies_take() {
    let (_, run) = start(two_turns());
    let events = all(run.into_stream());
    let one = |name: &str| events.iter().find(|event| event["type"] == name).unwrap();
    let end = one("tool_end");
    assert_eq!((&end["id"], &end["content"]), (&json!("toolu_1"), &json!("done")));
    assert_eq!(end["is_error"], false);
    let took = end["duration_ms"].as_f64().unwrap();
    assert!((29.0..20_000.0).contains(&took), "{took}");
    let stop = one("message_stop");
    let (first, whole) = (&stop["time_to_first_token_ms"], &stop["duration_ms"]);
    assert!(first.as_f64().unwrap() <= whole.as_f64().unwrap(), "{stop}");
}

#[test]
fn the_time_to_the_first_token_is_that_of_the_first_piece() {
    // Over a real connection, because the scripted transport takes no time.
    let head = b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":1}}}\n\n";
    let rest = b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\nevent: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n";
    let tail = b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":2}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
    let pause = || Chunk::Wait(Duration::from_millis(60));
    let data = |bytes: &[u8]| Chunk::Data(bytes.to_vec());
    let answer = Answer::chunks(200, vec![data(head), pause(), data(rest), pause(), data(tail)]);
    let (client, _) = client_of(Script::new().answer(answer));
    let mut run = client.run("m").user("go");
    let times = block_on(async {
        while let Some(event) = run.next_owned_event().await.unwrap() {
            if let OwnedEvent::MessageStop { time_to_first_token, duration } = event {
                return (time_to_first_token.unwrap(), duration.unwrap());
            }
        }
        panic!("no message_stop")
    });
    assert!(times.0 >= Duration::from_millis(50), "{times:?}");
    assert!(times.1 >= times.0 + Duration::from_millis(50), "{times:?}");
}

#[test]
fn a_reply_in_one_document_has_the_same_form() {
    let scripted = ScriptedServer::new(ScriptedModel::new(two_turns()));
    let run = scripted.client().run("m").tool(wait_a_little).stream(false).user("go");
    let events = all(run.into_stream());
    let stops: Vec<&Value> =
        events.iter().filter(|event| event["type"] == "message_delta").collect();
    assert_eq!(stops[0]["delta"], json!({"stop_reason": "tool_use"}));
    assert!(stops[0]["usage"]["input_tokens"].as_u64().unwrap() > 0);
    assert_eq!(events.last().unwrap()["message"]["content"][0]["text"], "Done.");
}

#[test]
fn a_stream_ends_after_an_error_and_the_run_can_continue() {
    let (_, run) = start(
        Script::new()
            .error(400, "invalid_request_error", "no \"such\" thing")
            .reply(ScriptedReply::text("Hello.")),
    );
    block_on(async {
        let mut stream = run.into_stream();
        let mut error = None;
        while let Some(item) = stream.next().await {
            assert!(error.is_none(), "the stream ends after an error");
            error = item.err();
        }
        let error = error.unwrap();
        assert!(matches!(error, Error::Api(_)));
        assert_eq!(
            serde_json::to_value(OwnedEvent::error(error)).unwrap(),
            json!({"type": "error", "error": {
                "type": "invalid_request_error",
                "message": "API error: invalid_request_error (status 400): no \"such\" thing [request id req_scripted_0001]",
            }, "request_id": "req_scripted_0001"})
        );
        assert!(stream.next().await.is_none());
        let mut run = stream.into_run().unwrap();
        let finished = run.until_done().await.unwrap();
        assert_eq!(finished.outcome, Outcome::Ended(Some(StopReason::EndTurn)));
        assert_eq!(finished.text(), "Hello.");
    });
}

#[test]
fn a_stream_goes_to_another_task() {
    let (_, run) = start(two_turns());
    let mut stream = run.into_stream();
    let events: Vec<OwnedEvent> = block_on(async move {
        assert!(stream.run_mut().is_some());
        let (send, mut receive) = tokio::sync::mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(event) = stream.next().await {
                send.send(event.unwrap()).await.unwrap();
            }
        });
        let mut events = Vec::new();
        while let Some(event) = receive.recv().await {
            events.push(event);
        }
        events
    });
    let OwnedEvent::Finished(finished) = events.last().unwrap() else { panic!("{events:?}") };
    assert_eq!(finished.text(), "Done.");
    for event in &events {
        assert_eq!(serde_json::to_value(event).unwrap()["type"], event.name());
    }
}

/// What is counted is what the next request contains: without the part of a reply that has arrived.
#[tokio::test]
async fn tokens_are_counted_while_a_reply_arrives() {
    let script = Script::new().reply(ScriptedReply::text("A long text, in several deltas."));
    let (client, model) = client_of(script);
    let mut run = client.run("m").user("Hi");
    while !matches!(run.next_event().await.unwrap(), Some(Event::Text { .. })) {}
    // The scripted model does not count.
    assert!(run.count_tokens().await.is_err());
    let body = model.lock().unwrap().requests()[1].body.clone();
    let body = String::from_utf8(body).unwrap();
    assert_eq!(body, r#"{"model":"m","messages":[{"role":"user","content":"Hi"}]}"#);
}
