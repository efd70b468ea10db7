//! The scripted model: the requests it accepts, its answers, and that all writing styles mean the
//! same.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use serde_json::{Value, json};
use toolrunner_core::message::Usage;
use toolrunner_core::testing::{
    Answer, Chunk, Request, Response, Script, ScriptedModel, ScriptedReply, Style,
};

fn request(stream: bool, messages: &str) -> Request {
    Request::new(
        "/v1/messages",
        format!(r#"{{"model":"m-1","max_tokens":9,"stream":{stream},"messages":[{messages}]}}"#),
    )
}

const USER: &str = r#"{"role":"user","content":"Hi"}"#;

fn body(response: &Response) -> Value {
    serde_json::from_slice(&response.bytes()).unwrap()
}

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
}

/// Returns the data of each frame, except pings.
fn events(stream: &[u8]) -> Vec<Value> {
    let text = core::str::from_utf8(stream).unwrap();
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap())
        .filter(|event: &Value| event["type"] != "ping")
        .collect()
}

/// Assembles a streamed message, as a plain client would.
fn accumulate(stream: &[u8]) -> Value {
    let mut message = Value::Null;
    let mut inputs = std::collections::HashMap::<u64, String>::new();
    for event in events(stream) {
        let index = event["index"].as_u64().unwrap_or(0);
        let at = usize::try_from(index).unwrap();
        match event["type"].as_str().unwrap() {
            "message_start" => message = event["message"].clone(),
            "content_block_start" => {
                message["content"].as_array_mut().unwrap().push(event["content_block"].clone())
            }
            "content_block_delta" => {
                let (delta, block) = (&event["delta"], &mut message["content"][at]);
                let mut append = |field: &str| {
                    let all = format!(
                        "{}{}",
                        block[field].as_str().unwrap(),
                        delta[field].as_str().unwrap()
                    );
                    block[field] = all.into();
                };
                match delta["type"].as_str().unwrap() {
                    "text_delta" => append("text"),
                    "thinking_delta" => append("thinking"),
                    "signature_delta" => append("signature"),
                    "citations_delta" => {
                        block["citations"].as_array_mut().unwrap().push(delta["citation"].clone())
                    }
                    "input_json_delta" => {
                        *inputs.entry(index).or_default() += delta["partial_json"].as_str().unwrap()
                    }
                    "compaction_delta" => {
                        block["content"] = delta["content"].clone();
                        block["encrypted_content"] = delta["encrypted_content"].clone();
                    }
                    other => panic!("{other}"),
                }
            }
            "content_block_stop" => {
                if let Some(input) = inputs.remove(&index).filter(|input| !input.is_empty()) {
                    message["content"][at]["input"] = serde_json::from_str(&input).unwrap();
                }
            }
            "message_delta" => {
                for (name, value) in event["delta"].as_object().unwrap() {
                    message[name] = value.clone();
                }
                message["usage"] = event["usage"].clone();
            }
            "message_stop" => {}
            other => panic!("{other}"),
        }
    }
    message
}

/// Returns a reply with every kind of block that grows, and some that do not.
fn everything() -> ScriptedReply {
    ScriptedReply::new()
        .thinking("Let me think about Zürich 🙂…", "EqQB/+==")
        .and_text("Grüße: \"quoted\", \\ and\nnew line \u{1F600}")
        .block(r#"{"type":"text","text":"cited","citations":[{"type":"char_location","cited_text":"x"},{"type":"page_location"}]}"#)
        .block(r#"{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"ü"}}"#)
        .block(r#"{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","title":"t"}]}"#)
        .block(r#"{"type":"compaction","content":"Summary","encrypted_content":null}"#)
        .block(r#"{"type":"brand_new","big":12345678901234567890123}"#)
        .tool_use("toolu_1", "f", r#"{"z":1.50,"a":"\u00e9","n":12345678901234567890}"#)
        .tool_use("toolu_2", "g", "{}")
        .container("container_1")
        .field("context_management", r#"{"applied_edits":[]}"#)
        .usage(Usage { input_tokens: 10, output_tokens: 20, cache_creation_input_tokens: 3, cache_read_input_tokens: 4 })
}

fn styles() -> Vec<Style> {
    let base = Style::default;
    vec![
        base(),
        Style { delta: 1, ..base() },
        Style { delta: 1000, pings: true, ..base() },
        Style { comments: true, crlf: true, ..base() },
        Style { event_lines: false, ..base() },
        Style { interleaved: true, delta: 3, pings: true, ..base() },
        Style { ascii: true, split: Some(1), ..base() },
        Style {
            split: Some(7),
            crlf: true,
            comments: true,
            ascii: true,
            interleaved: true,
            ..base()
        },
    ]
}

#[test]
fn every_style_means_the_same() {
    let mut whole = ScriptedModel::new(Script::new().reply(everything()));
    let expected = body(&whole.respond(request(false, USER)));
    assert_eq!(expected["stop_reason"], "tool_use");
    assert_eq!(expected["model"], "m-1");
    assert_eq!(expected["container"]["id"], "container_1");
    assert_eq!(expected["content"][7]["input"]["n"].to_string(), "12345678901234567890");
    for style in styles() {
        let shown = format!("{style:?}");
        let ascii = style.ascii;
        let split = style.split;
        let mut model =
            ScriptedModel::new(Script::new().reply(everything()).reply(everything())).style(style);
        let response = model.respond(request(true, USER));
        assert_eq!(header(&response, "content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(accumulate(&response.bytes()), expected, "{shown}");
        assert!(!ascii || response.bytes().is_ascii());
        if let Some(split) = split {
            assert!(
                response
                    .body
                    .iter()
                    .all(|chunk| matches!(chunk, Chunk::Data(data) if data.len() <= split))
            );
        }
        let again = model.respond(request(false, USER));
        let mut again_body = body(&again);
        again_body["id"] = expected["id"].clone();
        assert_eq!(again_body, expected, "{shown}");
    }
}

#[test]
fn the_exact_bytes_of_a_stream() {
    let reply = ScriptedReply::text("Hello, world").tool_use("t", "f", r#"{"a":1}"#).usage(Usage {
        input_tokens: 5,
        output_tokens: 7,
        ..Usage::default()
    });
    let mut model = ScriptedModel::new(Script::new().reply(reply))
        .style(Style { delta: 6, ..Style::default() });
    let text = String::from_utf8(model.respond(request(true, USER)).bytes()).unwrap();
    let usage = |output: u32| {
        format!(
            r#"{{"input_tokens":5,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":{output}}}"#
        )
    };
    let frames = [
        (
            "message_start",
            format!(
                r#","message":{{"id":"msg_scripted_0001","type":"message","role":"assistant","model":"m-1","content":[],"stop_reason":null,"stop_sequence":null,"usage":{}}}"#,
                usage(1)
            ),
        ),
        ("content_block_start", r#","index":0,"content_block":{"type":"text","text":""}"#.into()),
        (
            "content_block_delta",
            r#","index":0,"delta":{"type":"text_delta","text":"Hello,"}"#.into(),
        ),
        (
            "content_block_delta",
            r#","index":0,"delta":{"type":"text_delta","text":" world"}"#.into(),
        ),
        ("content_block_stop", r#","index":0"#.into()),
        (
            "content_block_start",
            r#","index":1,"content_block":{"type":"tool_use","id":"t","name":"f","input":{}}"#
                .into(),
        ),
        (
            "content_block_delta",
            r#","index":1,"delta":{"type":"input_json_delta","partial_json":""}"#.into(),
        ),
        (
            "content_block_delta",
            r#","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"a\":1"}"#.into(),
        ),
        (
            "content_block_delta",
            r#","index":1,"delta":{"type":"input_json_delta","partial_json":"}"}"#.into(),
        ),
        ("content_block_stop", r#","index":1"#.into()),
        (
            "message_delta",
            format!(
                r#","delta":{{"stop_reason":"tool_use","stop_sequence":null}},"usage":{}"#,
                usage(7)
            ),
        ),
        ("message_stop", String::new()),
    ];
    let expected: String = frames
        .iter()
        .map(|(name, rest)| format!("event: {name}\ndata: {{\"type\":\"{name}\"{rest}}}\n\n"))
        .collect();
    assert_eq!(text, expected);
}

#[test]
fn a_script_in_order() {
    let script = Script::new()
        .error(529, "overloaded_error", "Overloaded")
        .header("retry-after", "1")
        .raw(200, &[("content-type", "text/html")], "<html>")
        .answer(Answer::chunks(200, vec![Chunk::Data(b"data: x".to_vec()), Chunk::Reset]))
        .reply(ScriptedReply::text("a").stop_sequence("END"))
        .then(|request| {
            ScriptedReply::text(&format!("{} messages", request.messages().count())).into()
        });
    let mut model = ScriptedModel::new(script);
    assert_eq!(model.left(), 4);

    let response = model.respond(request(true, USER));
    assert_eq!((response.status, header(&response, "retry-after")), (529, Some("1")));
    assert_eq!(header(&response, "request-id"), Some("req_scripted_0001"));
    let error = json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_scripted_0001"});
    assert_eq!(body(&response), error);

    let response = model.respond(request(true, USER));
    assert_eq!(
        (response.bytes().as_slice(), header(&response, "content-type")),
        (b"<html>".as_slice(), Some("text/html"))
    );

    let response = model.respond(request(true, USER));
    assert_eq!(header(&response, "content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(response.body[1], Chunk::Reset);

    let reply = body(&model.respond(request(false, USER)));
    assert_eq!(
        (&reply["stop_reason"], &reply["stop_sequence"]),
        (&json!("stop_sequence"), &json!("END"))
    );
    assert_eq!(model.left(), 0);
    assert_eq!(body(&model.respond(request(false, USER)))["content"][0]["text"], "1 messages");
    assert_eq!(model.requests().len(), 5);
    assert!(model.complaints().is_empty());
}

#[test]
fn what_ends_badly() {
    let script = || {
        Script::new()
            .reply(ScriptedReply::text("ab").error_event("overloaded_error", "Overloaded"))
            .reply(ScriptedReply::text("ab").ends_early())
    };
    let mut model = ScriptedModel::new(script());
    let last = events(&model.respond(request(true, USER)).bytes()).pop().unwrap();
    assert_eq!(
        last,
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    );
    assert_eq!(
        events(&model.respond(request(true, USER)).bytes()).pop().unwrap()["type"],
        "content_block_stop"
    );
    let mut model = ScriptedModel::new(script());
    let response = model.respond(request(false, USER));
    assert_eq!((response.status, &body(&response)["type"]), (200, &json!("error")));
    assert!(serde_json::from_slice::<Value>(&model.respond(request(false, USER)).bytes()).is_err());

    let mut model = ScriptedModel::new(Script::new().reply(ScriptedReply::new().tool_use_cut(
        "t",
        "f",
        r#"{"location":"SF"#,
    )));
    let cut: String = events(&model.respond(request(true, USER)).bytes())
        .iter()
        .filter_map(|event| event["delta"]["partial_json"].as_str().map(String::from))
        .collect();
    assert_eq!(cut, r#"{"location":"SF"#);
}

#[test]
fn refuses_what_the_api_refuses() {
    let mut model =
        ScriptedModel::new(Script::new().reply(ScriptedReply::text("a"))).require_key("k");
    let with_key = |mut request: Request| {
        request.headers.push(("x-api-key".into(), "k".into()));
        request
    };
    let post = |body: &str| with_key(Request::new("/v1/messages?beta=true", body));
    let call =
        r#"{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]}"#;
    let tool = |name: &str| format!(r#"{{"name":"{name}","input_schema":{{"type":"object"}}}}"#);
    let tools = |tools: &str| {
        post(&format!(r#"{{"model":"m","max_tokens":1,"messages":[{USER}],"tools":[{tools}]}}"#))
    };
    let mut no_version = post("{}");
    no_version.headers.retain(|(name, _)| name == "x-api-key");
    let cases = [
        (with_key(Request::new("/v1/complete", "{}")), 404, "no such path: /v1/complete"),
        (Request::new("/v1/messages", "{}"), 401, "invalid x-api-key"),
        (no_version, 400, "anthropic-version: header is required"),
        (post("{"), 400, "The request body is not valid JSON: at byte 1: expected a member name"),
        (post("[]"), 400, "The request body must be an object"),
        (post("{}"), 400, "model: Field required"),
        (post(r#"{"model":"m"}"#), 400, "max_tokens: Field required"),
        (
            post(r#"{"model":"m","max_tokens":1}"#),
            400,
            "messages: at least one message is required",
        ),
        (
            with_key(request(true, &format!("{USER},{call}"))),
            400,
            "messages.1.content.0: this call has no result in the next message",
        ),
        (tools("{}"), 400, "tools.0.name: Field required"),
        (
            tools(&tool("a b")),
            400,
            "tools.0.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'",
        ),
        (tools(&[tool("a"), tool("a")].join(",")), 400, "tools: Tool names must be unique."),
        (tools(r#"{"name":"a"}"#), 400, "tools.0.input_schema.type: Input should be 'object'"),
    ];
    for (request, status, message) in cases {
        let response = model.respond(request);
        assert_eq!(
            (response.status, body(&response)["error"]["message"].as_str().unwrap()),
            (status, message)
        );
    }
    assert_eq!(model.complaints().len(), 13);
    // None of them used up the answer; a bearer token and a server's tools are accepted too.
    let mut request = request(false, USER);
    request.headers.push(("Authorization".into(), "Bearer k".into()));
    assert_eq!(model.respond(request.clone()).status, 200);
    let response = model.respond(request);
    assert_eq!(body(&response)["error"]["message"], "the script has no answer left");
    assert_eq!(
        model.respond(tools(r#"{"type":"web_search_20250305","name":"web_search"},{"type":"browser_toolset_20260801"}"#)).status,
        400
    );
    assert_eq!(model.complaints().last().unwrap(), "the script has no answer left");
    assert_eq!(
        ScriptedModel::new(Script::new().reply(ScriptedReply::text("a")))
            .lenient()
            .respond(Request::default())
            .status,
        200
    );
}

#[test]
fn a_paused_turn_may_come_back_with_its_calls() {
    let call =
        r#"{"role":"assistant","content":[{"type":"tool_use","id":"a","name":"f","input":{}}]}"#;
    let back = request(false, &format!("{USER},{call}"));
    let mut model = ScriptedModel::new(
        Script::new()
            .reply(ScriptedReply::new().tool_use("a", "f", "{}").stop("pause_turn"))
            .reply(ScriptedReply::text("b")),
    );
    assert_eq!(model.respond(request(false, USER)).status, 200);
    assert_eq!(model.respond(back.clone()).status, 200);
    assert_eq!(model.respond(back).status, 400);
}

#[test]
fn a_broken_answer_comes_again_for_the_same_request() {
    let script =
        || Script::new().reply(ScriptedReply::text("one")).reply(ScriptedReply::text("two"));
    let text = |response: &Response| body(response)["content"][0]["text"].clone();
    let mut model = ScriptedModel::new(script());
    assert_eq!(text(&model.respond(request(false, USER))), "one");
    model.broken();
    assert_eq!(text(&model.respond(request(false, USER))), "one");
    assert_eq!(text(&model.respond(request(false, USER))), "two");
    let mut model = ScriptedModel::new(script());
    assert_eq!(text(&model.respond(request(false, USER))), "one");
    model.broken();
    assert_eq!(text(&model.respond(request(false, &format!("{USER},{USER}")))), "two");
}

const TOOLS: &str = r#"[{"name":"get_weather","input_schema":{"type":"object"}},{"name":"calculate_sum","input_schema":{"type":"object"}}]"#;

fn ask(model: &mut ScriptedModel, messages: &[Value]) -> Value {
    let request = json!({"model": "m", "max_tokens": 9, "tools": serde_json::from_str::<Value>(TOOLS).unwrap(), "messages": messages});
    let response = model.respond(Request::new("/v1/messages", request.to_string()));
    assert_eq!(response.status, 200, "{:?}", model.complaints());
    body(&response)
}

fn user(content: Value) -> Value {
    json!({"role": "user", "content": content})
}

#[test]
fn the_demo_uses_what_the_tools_really_said() {
    let mut model = ScriptedModel::demo();
    let prompt = user(json!("What's the weather like in Paris? Also, what's 15 + 27?"));
    let reply = ask(&mut model, core::slice::from_ref(&prompt));
    let content = &reply["content"];
    assert_eq!(content[0]["text"], "I'll look up the weather in Paris and add 15 and 27 for you.");
    assert_eq!(
        (&content[1]["name"], &content[1]["input"]),
        (&json!("get_weather"), &json!({"location": "Paris"}))
    );
    assert_eq!(
        (&content[2]["name"], &content[2]["input"]),
        (&json!("calculate_sum"), &json!({"a": 15, "b": 27}))
    );
    assert_eq!(reply["stop_reason"], "tool_use");
    let answers = user(json!([
        {"type": "tool_result", "tool_use_id": content[1]["id"], "content": r#"{"location":"Paris, FR","temperature":"11°C","condition":"Fog"}"#},
        {"type": "tool_result", "tool_use_id": content[2]["id"], "content": "43"},
    ]));
    let called = json!({"role": "assistant", "content": content});
    let last = ask(&mut model, &[prompt.clone(), called.clone(), answers]);
    assert_eq!(last["content"][0]["text"], "The weather in Paris, FR: Fog, 11°C. 15 + 27 = 43.");
    assert_eq!(last["stop_reason"], "end_turn");
    let errors = user(json!([
        {"type": "tool_result", "tool_use_id": content[1]["id"], "content": "windy"},
        {"type": "tool_result", "tool_use_id": content[2]["id"], "content": "too tired", "is_error": true},
    ]));
    let last = ask(&mut model, &[prompt.clone(), called.clone(), errors.clone()]);
    let text = "The weather in Paris: windy. The tool calculate_sum failed: too tired";
    assert_eq!(last["content"][0]["text"], text);
    // The next prompt of the same conversation is handled as a prompt again, and its calls have new
    // ids.
    let said = json!({"role": "assistant", "content": text});
    let next = ask(
        &mut model,
        &[
            prompt,
            called,
            errors,
            said,
            user(json!([{"type": "text", "text": "And -3+4 in New York, NY?"}])),
        ],
    );
    assert_eq!(next["content"][1]["input"], json!({"a": -3, "b": 4}));
    assert_ne!(next["content"][1]["id"], content[2]["id"]);
}

#[test]
fn the_demo_says_what_it_is() {
    let mut model = ScriptedModel::demo();
    let reply = ask(&mut model, &[user(json!("Who are you?"))]);
    assert_eq!(
        reply["content"][0]["text"],
        "I am a scripted model: no network, no intelligence. You gave me these tools: get_weather, calculate_sum. \
         Ask me for the weather in a place, or for a sum like 15 + 27."
    );
    for (prompt, place) in [
        ("the weather in San Francisco, CA, please", "San Francisco, CA"),
        ("Weather in Zürich!", "Zürich"),
    ] {
        assert_eq!(
            ask(&mut model, &[user(json!(prompt))])["content"][1]["input"]["location"],
            place
        );
    }
    // A number that is too large, a plus without operands, a message without a prompt.
    for prompt in
        ["99999999999999999999 + 1", "+", "1 +", "C++", "weather in the Alps", "weather in"]
    {
        assert_eq!(ask(&mut model, &[user(json!(prompt))])["stop_reason"], "end_turn", "{prompt}");
    }
}
