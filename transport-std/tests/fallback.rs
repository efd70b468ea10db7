//! Refusal fallback: what is sent to the next model, and what the run sees.

mod common;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use common::{answers, scripted};
use serde_json::{Value, json};
use toolrunner_core::testing::Answer;
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead};
use toolrunner_std::fallback::{FALLBACK_BETA, Fallbacks};
use toolrunner_std::http::{DynTransport, HttpTransport, SendFuture};
use toolrunner_std::{Client, ClientBuilder, Error, HttpBody, SetupError};

/// A reply: its status, and its events or its whole body.
#[derive(Clone)]
struct Sent(u16, String);

/// Answers each request with the next reply, and keeps the headers and the bodies.
#[derive(Clone, Default)]
struct Models {
    replies: Arc<Mutex<VecDeque<Sent>>>,
    requests: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Models {
    fn new(replies: impl IntoIterator<Item = Sent>) -> Self {
        let replies = Arc::new(Mutex::new(replies.into_iter().collect()));
        Self { replies, requests: Arc::default() }
    }

    fn builder(&self, fallbacks: Fallbacks) -> ClientBuilder {
        let transport = HttpTransport::from_dyn(self.clone());
        Client::builder().base_url("http://models").transport(transport).fallbacks(fallbacks)
    }

    fn client(&self) -> Client {
        let fallbacks = Fallbacks::new().model("b").patch(r#"{"model":"c","max_tokens":9}"#);
        self.builder(fallbacks).max_retries(0).build().unwrap()
    }

    fn bodies(&self) -> Vec<Value> {
        self.requests.lock().unwrap().iter().map(|(_, body)| body.clone()).collect()
    }

    fn asked(&self) -> Vec<String> {
        self.bodies().iter().map(|body| body["model"].as_str().unwrap().to_owned()).collect()
    }
}

impl DynTransport for Models {
    fn send<'a>(&'a self, head: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a> {
        let body: Vec<u8> = body.pieces().flatten().copied().collect();
        let betas = head.headers.iter().find(|(name, _)| *name == "anthropic-beta");
        let betas = betas.map_or_else(String::new, |(_, value)| (*value).to_owned());
        self.requests.lock().unwrap().push((betas, serde_json::from_slice(&body).unwrap()));
        let Sent(status, text) = self.replies.lock().unwrap().pop_front().expect("a reply");
        // In pieces of an odd size, so that no event arrives as a whole.
        let pieces: Vec<Vec<u8>> = text.as_bytes().chunks(11).map(<[u8]>::to_vec).collect();
        let reply = Reply { head: ReplyHead::new(status), body: HttpBody::from_pieces(pieces) };
        Box::pin(core::future::ready(Ok(reply)))
    }
}

fn stream(events: &[Value]) -> Sent {
    let event = |event: &Value| {
        let kind = event["type"].as_str().unwrap();
        format!("event: {kind}\r\ndata: {event}\r\n\r\n")
    };
    Sent(200, events.iter().map(event).collect())
}

fn start(id: &str) -> Value {
    json!({"type":"message_start","message":{"id":id,"type":"message","role":"assistant","model":"served","content":[],"stop_reason":null,"usage":{"input_tokens":5,"output_tokens":1}}})
}

fn text(index: u64, text: &str) -> [Value; 3] {
    [
        json!({"type":"content_block_start","index":index,"content_block":{"type":"text","text":""}}),
        json!({"type":"content_block_delta","index":index,"delta":{"type":"text_delta","text":text}}),
        json!({"type":"content_block_stop","index":index}),
    ]
}

fn stop(reason: &str, details: &Value) -> [Value; 2] {
    [
        json!({"type":"message_delta","delta":{"stop_reason":reason,"stop_details":details},"usage":{"output_tokens":3}}),
        json!({"type":"message_stop"}),
    ]
}

fn served(id: &str, said: &str) -> Sent {
    stream(&[&[start(id)][..], &text(0, said), &stop("end_turn", &Value::Null)].concat())
}

fn details(token: Option<&str>, may_continue: bool) -> Value {
    json!({"type":"refusal","category":"cyber","fallback_credit_token":token,"fallback_has_prefill_claim":may_continue})
}

/// A refusal before any output.
fn refused(token: Option<&str>) -> Sent {
    stream(&[&[start("refused")][..], &stop("refusal", &details(token, false))].concat())
}

fn seam(from: &str, to: &str) -> Value {
    json!({"type":"fallback","from":{"model":from},"to":{"model":to},"trigger":{"type":"refusal","category":"cyber"}})
}

fn message(finished: &toolrunner_std::RunEnd) -> Value {
    serde_json::from_str(finished.message.as_ref().unwrap().as_json()).unwrap()
}

#[tokio::test]
async fn a_refusal_before_output_is_asked_again_and_the_model_stays() {
    let models = Models::new([
        refused(None),
        served("second", "Hi"),
        served("third", "Again"),
        served("other", "New run"),
    ]);
    let client = models.client();
    let mut run = client.run("a").user("Hello");
    let finished = run.until_done().await.unwrap();
    let reply = message(&finished);
    assert_eq!(finished.text(), "Hi");
    assert_eq!(reply["content"], json!([seam("a", "b"), {"type":"text","text":"Hi"}]));
    assert_eq!(reply["id"], "refused");
    let iterations = &reply["usage"]["iterations"];
    assert_eq!((&iterations[0]["type"], &iterations[0]["model"]), (&json!("message"), &json!("a")));
    assert_eq!(iterations[0]["input_tokens"], 5);
    assert_eq!(iterations[1]["type"], "fallback_message");
    assert_eq!(iterations[1]["model"], "b");

    // Later turns begin with that model, and do not show it the block.
    run.user("More").unwrap().until_done().await.unwrap();
    let bodies = models.bodies();
    assert_eq!(models.asked(), ["a", "b", "b"]);
    assert_eq!(bodies[2]["messages"][1]["content"], json!([{"type":"text","text":"Hi"}]));
    assert!(bodies.iter().all(|body| body.get("fallback_credit_token").is_none()));
    assert!(models.requests.lock().unwrap().iter().all(|(betas, _)| betas == FALLBACK_BETA));
    // Another run begins with its own model.
    client.run("a").user("Hello").until_done().await.unwrap();
    assert_eq!(models.asked()[3], "a");
}

#[tokio::test]
async fn a_refusal_in_the_middle_is_continued_with_its_token() {
    let call = [
        json!({"type":"content_block_start","index":1,"content_block":{"type":"server_tool_use","id":"s","name":"web_search","input":{}}}),
        json!({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"q\":1.50"}}),
        json!({"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"}"}}),
        json!({"type":"content_block_stop","index":1}),
        json!({"type":"content_block_start","index":2,"content_block":{"type":"thinking","thinking":"","signature":""}}),
    ];
    let end = stop("refusal", &details(Some("tok"), true));
    let first = stream(&[&[start("first")][..], &text(0, "One "), &call, &end].concat());
    let second = stream(
        &[&[start("second")][..], &text(0, "two "), &stop("refusal", &details(Some("tok2"), true))]
            .concat(),
    );
    let models = Models::new([first, second, served("third", "three")]);
    let finished = models.client().run("a").user("Hello").until_done().await.unwrap();
    assert_eq!(finished.text(), "One two three");
    let reply = message(&finished);
    let kinds: Vec<_> =
        reply["content"].as_array().unwrap().iter().map(|block| block["type"].clone()).collect();
    // The thinking that was cut off is a block of the message, as the server sends it.
    assert_eq!(
        kinds,
        ["text", "server_tool_use", "thinking", "fallback", "text", "fallback", "text"]
    );
    assert_eq!(reply["content"][5], seam("b", "c"));
    assert_eq!(reply["usage"]["iterations"].as_array().unwrap().len(), 3);
    let bodies = models.bodies();
    assert_eq!(bodies[1]["fallback_credit_token"], json!({"token":"tok","mode":"best_effort"}));
    assert_eq!(bodies[2]["fallback_credit_token"]["token"], "tok2");
    assert_eq!((&bodies[1]["max_tokens"], &bodies[2]["max_tokens"]), (&json!(4096), &json!(9)));
    let continued = &bodies[2]["messages"][1];
    assert_eq!(continued["role"], "assistant");
    let texts: Vec<_> = continued["content"].as_array().unwrap().iter().collect();
    assert_eq!(texts.len(), 3, "{continued}");
    assert_eq!(texts[0]["text"], "One ");
    assert_eq!(texts[1]["type"], "server_tool_use");
    assert_eq!(texts[2]["text"], "two ");
    assert_eq!(bodies[1]["messages"][1]["content"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_continuation_that_is_refused_is_sent_without_it_and_a_failed_model_is_skipped() {
    let first = stream(
        &[&[start("first")][..], &text(0, "One "), &stop("refusal", &details(Some("tok"), true))]
            .concat(),
    );
    let models = Models::new([
        first,
        Sent(400, "{}".to_owned()),
        Sent(500, "{}".to_owned()),
        served("third", "two"),
    ]);
    let finished = models.client().run("a").user("Hello").until_done().await.unwrap();
    assert_eq!(finished.text(), "One two");
    assert_eq!(models.asked(), ["a", "b", "b", "c"]);
    let bodies = models.bodies();
    let counts: Vec<_> =
        bodies.iter().map(|body| body["messages"].as_array().unwrap().len()).collect();
    // The token was not redeemed, so the next model gets it and the text again.
    assert_eq!(counts, [1, 2, 1, 2]);
    assert_eq!(bodies[3]["fallback_credit_token"]["token"], "tok");
    // A model that failed was never reached, so there is no block for it.
    assert_eq!(message(&finished)["content"][1], seam("a", "c"));
}

#[tokio::test]
async fn if_all_fail_the_run_gets_the_refusal() {
    for (last, recommended) in [(529, json!("c")), (500, Value::Null)] {
        let models = Models::new([
            refused(Some("tok")),
            Sent(503, "{}".to_owned()),
            Sent(last, "{}".to_owned()),
        ]);
        let finished = models.client().run("a").user("Hello").until_done().await.unwrap();
        let reply = message(&finished);
        assert_eq!(reply["stop_reason"], "refusal");
        assert_eq!(reply["stop_details"]["recommended_model"], recommended);
        assert_eq!(reply["usage"]["iterations"].as_array().unwrap().len(), 1);
    }
}

#[tokio::test]
async fn a_refusal_of_the_last_model_or_without_a_token_after_output_is_passed_on() {
    let models = Models::new([refused(None), refused(None), refused(None)]);
    let finished = models.client().run("a").user("Hello").until_done().await.unwrap();
    let reply = message(&finished);
    assert_eq!(reply["stop_reason"], "refusal");
    assert_eq!(reply["content"], json!([seam("a", "b"), seam("b", "c")]));
    assert_eq!(reply["stop_details"]["recommended_model"], Value::Null);
    assert_eq!(models.asked(), ["a", "b", "c"]);

    let after = stream(
        &[&[start("first")][..], &text(0, "One "), &stop("refusal", &details(None, false))]
            .concat(),
    );
    let models = Models::new([after]);
    let finished = models.client().run("a").user("Hello").until_done().await.unwrap();
    assert_eq!(message(&finished)["stop_reason"], "refusal");
    assert_eq!(models.asked(), ["a"]);
    // A refusal of another type mints no token.
    let other = json!({"type":"other","fallback_credit_token":"tok"});
    let after = stream(&[&[start("x")][..], &text(0, "One"), &stop("refusal", &other)].concat());
    let models = Models::new([after]);
    models.client().run("a").user("Hello").until_done().await.unwrap();
    assert_eq!(models.asked(), ["a"]);
}

#[tokio::test]
async fn whole_replies_are_asked_again_too() {
    let whole = |id: &str, reason: &str, content: Value, details: Value| {
        let message = json!({"id":id,"type":"message","role":"assistant","model":"served","content":content,"stop_reason":reason,"stop_details":details,"usage":{"input_tokens":1,"output_tokens":1}});
        Sent(200, message.to_string())
    };
    let models = Models::new([
        whole("1", "refusal", json!([]), details(Some("tok"), false)),
        whole("2", "refusal", json!([]), details(None, false)),
        whole("3", "end_turn", json!([{"type":"text","text":"Hi"}]), Value::Null),
    ]);
    let run = models.client().run("a").stream(false);
    let finished = run.user("Hello").until_done().await.unwrap();
    let expected = json!([seam("a", "b"), seam("b", "c"), {"type":"text","text":"Hi"}]);
    assert_eq!(message(&finished)["content"], expected);
    let bodies = models.bodies();
    assert_eq!(bodies[1]["fallback_credit_token"]["token"], "tok");
    assert!(bodies[2].get("fallback_credit_token").is_none());

    let models = Models::new([
        whole("1", "refusal", json!([]), details(Some("tok"), false)),
        Sent(500, r#"{"error":{"type":"api_error","message":"down"}}"#.to_owned()),
    ]);
    let run = models.client().run("a").stream(false);
    let error = run.user("Hello").until_done().await.unwrap_err();
    assert!(error.to_string().contains("down"), "{error}");
}

#[tokio::test]
async fn an_entry_patches_the_original_parameters() {
    let models = Models::new([refused(None), Sent(529, "{}".to_owned()), served("x", "Hi")]);
    let entry = json!({"model":"b","temperature":null,"output_config":{"effort":null,"x":2}});
    let client = models.builder(Fallbacks::new().patch(entry.to_string())).build().unwrap();
    let run = client
        .run("a")
        .param("temperature", 0.5)
        .param("speed", "fast")
        .param("thinking", json!({"type":"between_tools"}))
        .param("output_config", json!({"effort":"low","format":1}));
    run.user("Hello").until_done().await.unwrap();
    let bodies = models.bodies();
    assert_eq!(bodies[1]["speed"], "fast");
    for body in &bodies[1..] {
        assert_eq!(body["output_config"], json!({"format":1,"x":2}));
        assert_eq!(body["thinking"], json!({"type":"disabled"}));
        assert!(body.get("temperature").is_none());
    }
    // It was refused for lack of capacity, so it is sent once more without the speed.
    assert!(bodies[2].get("speed").is_none());
}

#[tokio::test]
async fn mistakes_are_the_callers() {
    for bad in ["{", "[]", "{}", r#"{"model":""}"#] {
        let fallbacks = Fallbacks::new().model("b").patch(bad);
        let error = Models::default().builder(fallbacks).build().unwrap_err();
        assert_eq!(error, SetupError::Fallback(1));
    }
    let models = Models::default();
    let run = models.client().run("a").param("fallbacks", "default");
    let error = run.user("Hello").until_done().await.unwrap_err();
    assert!(error.to_string().contains("exclude each other"), "{error}");
    // A hook that fails for the next model is not taken for a failure of that model.
    let models = Models::new([refused(None)]);
    let hooked = models.builder(Fallbacks::new().model("b")).request_hook_fn(|request| {
        if request.body_to_vec().starts_with(br#"{"model":"b""#) {
            return Err("no token".into());
        }
        Ok(())
    });
    let mut run = hooked.build().unwrap().run("a").user("Hello");
    assert!(matches!(run.until_done().await.unwrap_err(), Error::Hook(_)));
}

#[tokio::test]
async fn a_reply_without_a_refusal_is_passed_on_as_it_is() {
    let scripted = scripted(answers([
        Answer::raw(200, common::NOISY_STREAM).header("content-type", "text/event-stream"),
        Answer::error(400, "invalid_request_error", "bad"),
    ]));
    let client = scripted.builder().fallbacks(Fallbacks::new().model("b")).build().unwrap();
    let mut run = client.run("a").user("Hello");
    assert_eq!(run.until_done().await.unwrap().text(), "Hi");
    let error = run.user("More").unwrap().until_done().await.unwrap_err();
    assert_eq!(error.api().unwrap().message, "bad");
    assert_eq!(scripted.requests().len(), 2);
}
