//! Misbehaviour of servers and tools: it gives a clear error, or a result that says so, and nothing
//! is lost.
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

use core::time::Duration;

use common::*;
use serde_json::{Value as Json, json};
use toolrunner_core::drive::Driver;
use toolrunner_core::error::{Capacity, CapacityKind, Error, Misuse, Phrase, Protocol};
use toolrunner_core::message::StopReason;
use toolrunner_core::run::{Outcome, Run};
use toolrunner_core::testing::{
    Script, ScriptedModel, ScriptedReply, ScriptedTransport, Style, VirtualClock,
};
use toolrunner_core::time::Instant;
use toolrunner_core::tool::{ContentBlock, Source, ToolError};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::Config;

const PROMPT: &str = r#"{"role":"user","content":"Hi"}"#;

/// Returns the error for this body, in pieces of some sizes and in both kinds of memory. Asserts
/// that the prompt is kept and that the run continues.
fn refused(body: &[u8]) -> Error {
    let mut errors = Vec::new();
    let mut memory = vec![0; 3 * body.len() + 4096];
    for piece in [body.len().max(1), 1, 37] {
        for fixed in [true, false] {
            let mut run =
                Run::new(if fixed { Transcript::new(&mut memory) } else { Transcript::growing() });
            run.user("Hi").unwrap();
            let (_, ended) = exchange(&mut run, 200, body.chunks(piece));
            let error = ended.unwrap_err();
            let _ = run.failed(error, Instant::ZERO, 0);
            assert_eq!(run.transcript().bytes(), PROMPT.as_bytes());
            run.stop();
            run.resume();
            say(&mut run, ScriptedReply::text("Hello"));
            errors.push(error);
        }
    }
    errors.dedup();
    assert_eq!(errors.len(), 1, "{errors:?}");
    errors[0]
}

/// Returns a stream whose last frame has this data.
fn frame(data: &[u8]) -> Vec<u8> {
    let whole = rendered(ScriptedReply::text("x").ends_early(), Style::default(), true);
    let mut body = whole;
    let text = String::from_utf8_lossy(data);
    let names =
        ["content_block_start", "content_block_delta", "content_block_stop", "message_start"];
    let name = names.into_iter().find(|name| text.contains(name)).unwrap();
    body.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
    body.extend_from_slice(data);
    body.extend_from_slice(b"\n\n");
    body
}

#[test]
fn json_100_000_deep() {
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    let whole = [br#"{"content":[{"type":"x","x":"#.as_slice(), &deep, b"}]}"].concat();
    assert!(matches!(
        refused(&whole),
        Error::Protocol(Protocol::Json { expected, .. }) if expected == "at most 122 levels"
    ));
    let event = [
        br#"{"type":"content_block_start","index":1,"content_block":{"type":"x","x":"#.as_slice(),
        &deep,
        b"}}",
    ]
    .concat();
    assert!(matches!(
        refused(&frame(&event)),
        Error::Protocol(Protocol::Json { expected, .. }) if expected == "at most 122 levels"
    ));
    // In an input, it is the model's mistake, and is answered.
    let tools = Counting::usual();
    let results = results_of(
        ScriptedReply::new().tool_use_cut("toolu_1", "plain", core::str::from_utf8(&deep).unwrap()),
        &tools,
    );
    assert_eq!(
        results[0]["content"],
        "Error: invalid input for tool 'plain': input: expected at most 122 levels at byte 122, but the JSON is truncated or invalid"
    );
    assert!(tools.began().is_empty());
}

fn results_of(reply: ScriptedReply, tools: &Counting) -> Json {
    let clock = VirtualClock::new(0);
    let mut driver =
        drive(Script::new().reply(reply).reply(ScriptedReply::text("Done.")), tools, &clock);
    let mut run = run();
    assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::Ended(Some(StopReason::EndTurn))));
    last_request(&mut driver)[2]["content"].clone()
}

/// Feeds `piece` forever, after `start`. Returns the error and checks that nothing was lost.
fn endless(mut run: Run<'_>, start: &[u8], piece: &[u8]) -> Error {
    run.user("Hi").unwrap();
    let mut fed = 0;
    let mut pieces = core::iter::once(start)
        .chain(core::iter::repeat(piece))
        .inspect(|piece| fed += piece.len());
    let (_, ended) = exchange(&mut run, 200, &mut pieces);
    let error = ended.unwrap_err();
    let _ = run.failed(error, Instant::ZERO, 0);
    assert_eq!(run.transcript().bytes(), PROMPT.as_bytes());
    assert!(fed < 4_000_000, "{fed}");
    error
}

#[test]
fn an_endless_line_and_an_endless_reply() {
    let stream = rendered(ScriptedReply::text("x").ends_early(), Style::default(), true);
    let delta = b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"and on\"}}\n\n";
    let mut open = stream.clone();
    open.extend_from_slice(
        b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    );
    let cases: [(&[u8], &[u8]); 6] = [
        (b"data: {", b"\"x\":1,"),
        (b"nonsense", b"nonsense"),
        (&open, delta),
        (b"{\"content\":[", b"{\"type\":\"x\"},"),
        (b"data: x\n", b"data: x\n"),
        (b"event: ", b"eventevent"),
    ];
    for (start, piece) in cases {
        let mut memory = vec![0; 4096];
        for run in
            [Run::new(Transcript::new(&mut memory)), Run::new(Transcript::growing_to(100_000))]
        {
            let error = endless(run, start, piece);
            let Error::Capacity(full) = error else {
                // The first byte shows that it is not a reply.
                assert_eq!(
                    (error, start),
                    (Error::Protocol(Protocol::NotAReply), b"nonsense".as_slice())
                );
                continue;
            };
            assert_eq!(full.what, CapacityKind::Transcript);
            assert!(full.needed > full.free);
        }
    }
    // A comment uses no memory, however long it is.
    let mut memory = vec![0; 1024];
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user("Hi").unwrap();
    let comment = [b":".as_slice(), &b"x".repeat(100_000), b"\n\n"].concat();
    let body = [comment, rendered(ScriptedReply::text("Hello"), Style::default(), true)].concat();
    let (_, ended) = exchange(&mut run, 200, body.chunks(50));
    assert_eq!(ended, Ok(()));
}

/// The time for a reply grows with its length, not with the square of its length.
#[test]
fn thousands_of_citations() {
    let citations = (0..20_000).map(|i| format!("{{\"n\":{i}}}")).collect::<Vec<_>>().join(" , ");
    let reply = ScriptedReply::new()
        .block(&format!("{{\"type\":\"text\",\"text\":\"x\",\"citations\":[ {citations} ]}}"));
    let started = std::time::Instant::now();
    for stream in [true, false] {
        let mut run = run();
        let (events, ended) =
            exchange(&mut run, 200, [rendered(reply.clone(), Style::default(), stream).as_slice()]);
        assert_eq!(ended, Ok(()));
        assert_eq!(events.iter().filter(|event| event.starts_with("Citation")).count(), 20_000);
    }
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

#[test]
fn an_endless_error_page() {
    let mut memory = vec![0; 300];
    for (status, run) in
        [(500, Run::new(Transcript::new(&mut memory))), (404, Run::new(Transcript::growing()))]
    {
        let mut run = run;
        run.user("Hi").unwrap();
        let (_, ended) =
            exchange(&mut run, status, core::iter::repeat_n(b"<p>and on</p>".as_slice(), 100_000));
        assert!(matches!(ended, Err(Error::Api(api)) if api.status == status));
        let _ = run.failed(ended.unwrap_err(), Instant::ZERO, 0);
        assert_eq!(run.transcript().bytes(), PROMPT.as_bytes());
        assert!(run.api_error().is_none());
    }
    let mut memory = vec![0; 4096];
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user("Hi").unwrap();
    let body = br#"{"type":"error","error":{"type":"api_error","message":"Oops"}}"#;
    let (_, ended) = exchange(&mut run, 500, body.chunks(5));
    let _ = run.failed(ended.unwrap_err(), Instant::ZERO, 0);
    assert_eq!(plain(run.api_error().unwrap().message), "Oops");
}

#[test]
fn invalid_utf8() {
    let utf8 = |error: Error| {
        assert!(
            matches!(error, Error::Protocol(Protocol::Json { expected, .. }) if expected == "valid UTF-8"),
            "{error:?}"
        )
    };
    utf8(refused(
        b"{\"content\":[{\"type\":\"text\",\"text\":\"a\xff\"}],\"stop_reason\":\"end_turn\"}",
    ));
    utf8(refused(&frame(b"{\"type\":\"content_block_stop\",\"x\":\"\xc3\"}")));
    // In the exact form that the API sends, too.
    let mut body = rendered(ScriptedReply::text("x").ends_early(), Style::default(), true);
    body.extend_from_slice(
        b"event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
    );
    body.extend_from_slice(
        b"event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"text_delta\",\"text\":\"\xe2\x82\"}}\n\n",
    );
    utf8(refused(&body));
}

#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn what_is_no_reply() {
    for body in [
        "<!DOCTYPE html><html><body>502</body></html>",
        "  <html>",
        "[]",
        "null",
        "42",
        "\"x\"",
        "OK",
        "error: upstream",
        "Bad gateway\nTry later\n",
    ] {
        assert_eq!(refused(body.as_bytes()), Error::Protocol(Protocol::NotAReply), "{body}");
    }
    for body in [
        "",
        " \n",
        ": hello\n",
        "foo: bar\ndata: x",
        "data: {\"type\":\"ping\"}\n\n",
        "{",
        "{\"content\":[",
    ] {
        assert_eq!(refused(body.as_bytes()), Error::Protocol(Protocol::EndedEarly), "{body}");
    }
    for body in [
        "{}",
        "{\"content\":1}",
        "{\"detail\":[]}",
        "{\"object\":\"chat.completion\",\"choices\":[]}",
    ] {
        assert_eq!(refused(body.as_bytes()), Error::Protocol(Protocol::NotAMessage), "{body}");
    }
    for body in ["{\"content\":[1]}", "{\"content\":[{}]}", "{\"content\":[{\"type\":1}]}"] {
        assert!(
            matches!(refused(body.as_bytes()), Error::Protocol(Protocol::Event { .. })),
            "{body}"
        );
    }
    for body in ["{]", "{\"a\":}", "{} x", "{\"content\":[}"] {
        assert!(
            matches!(refused(body.as_bytes()), Error::Protocol(Protocol::Json { .. })),
            "{body}"
        );
    }
    // An error page is reported by its status, whatever its text is.
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver = drive(
        Script::new().raw(502, &[], "<html>Bad gateway</html>").reply(ScriptedReply::text("Hello")),
        &tools,
        &clock,
    );
    let mut run = run();
    assert!(until_done(&mut driver, &mut run).is_ok());
    let mut driver = drive(Script::new().raw(403, &[], "<html>Forbidden</html>"), &tools, &clock);
    let mut run = common::run();
    let Err(Error::Api(api)) = until_done(&mut driver, &mut run) else { panic!() };
    assert_eq!((api.status, api.kind.name()), (403, "permission_error"));
    assert!(run.api_error().is_none());
}

#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn events_that_do_not_fit_those_before() {
    let open =
        r#"{"type":"content_block_start","index":3,"content_block":{"type":"text","text":""}}"#;
    let event = |json: &str| String::from_utf8(frame(json.as_bytes())).unwrap();
    // Each after a block that is closed, and the last ones after one that is open.
    let events = [
        event(
            r#"{"type":"content_block_delta","index":7,"delta":{"type":"thinking_delta","thinking":"never began"}}"#,
        ),
        event(
            r#"{"type":"content_block_delta","index":7,"delta":{"type":"input_json_delta","partial_json":"{}"}}"#,
        ),
        event(r#"{"type":"content_block_start","index":1,"content_block":{"text":"no type"}}"#),
        event(r#"{"type":"content_block_start","index":1}"#),
        event(r#"{"type":"content_block_delta","index":0}"#),
        event(r#"{"type":"message_start"}"#),
        event(open)
            + r#"data: {"type":"content_block_start","index":3,"content_block":{"type":"text","text":"again"}}"#,
        event(open)
            + r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"of another block"}}"#,
        event(open)
            + r#"data: {"type":"content_block_start","index":4,"content_block":{"type":"text","text":""}}"#
            + "\n\n"
            + r#"data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"of which?"}}"#,
    ];
    for event in events {
        let event = event.replace(
            "data: {\"type\":\"content_block",
            "event: content_block_delta\ndata: {\"type\":\"content_block",
        ) + "\n\n";
        assert!(
            matches!(refused(event.as_bytes()), Error::Protocol(Protocol::Event { .. })),
            "{event}"
        );
    }
    let event = b"data: {\"type\":\"content_block_stop\",\"index\":0}\n\n";
    assert!(matches!(refused(event), Error::Protocol(Protocol::Event { .. })));
    // A delta of a kind for which its block has no member.
    for (block, delta) in [
        (
            r#"{"type":"tool_use","id":"a","name":"b","input":{}}"#,
            r#"{"type":"text_delta","text":"x"}"#,
        ),
        (r#"{"type":"text","text":""}"#, r#"{"type":"input_json_delta","partial_json":"x"}"#),
        (r#"{"type":"text","text":""}"#, r#"{"type":"input_json_delta","partial_json":""}"#),
        (r#"{"type":"text","text":""}"#, r#"{"type":"thinking_delta","thinking":"x"}"#),
        (r#"{"type":"text","text":1}"#, r#"{"type":"text_delta","text":"x"}"#),
        (r#"{"type":"text","text":""}"#, r#"{"type":"text_delta","text":1}"#),
        (
            r#"{"type":"text","text":"","citations":1}"#,
            r#"{"type":"citations_delta","citation":{}}"#,
        ),
        (r#"{"type":"hologram"}"#, r#"{"type":"text_delta","text":"x"}"#),
        // Only the input of a call can be continued.
        (
            r#"{"type":"hologram","input":"x"}"#,
            r#"{"type":"input_json_delta","partial_json":"{}"}"#,
        ),
        (
            r#"{"type":"hologram","input":null}"#,
            r#"{"type":"input_json_delta","partial_json":"{}"}"#,
        ),
    ] {
        let mut body = frame(
            format!(r#"{{"type":"content_block_start","index":1,"content_block":{block}}}"#)
                .as_bytes(),
        );
        body.extend_from_slice(
            format!("event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{delta}}}\n\n").as_bytes(),
        );
        assert!(
            matches!(refused(&body), Error::Protocol(Protocol::Event { .. })),
            "{block} {delta}"
        );
    }
}

#[test]
fn a_whole_reply_with_more_blocks_than_a_stream_can_number() {
    let blocks = vec![r#"{"type":"text","text":"x"}"#; 65_536].join(",");
    let body = format!(r#"{{"role":"assistant","content":[{blocks}],"stop_reason":"end_turn"}}"#);
    let expected = Phrase::of("at most 65535 blocks");
    let mut run = run();
    let (_, ended) = exchange(&mut run, 200, [body.as_bytes()]);
    assert_eq!(ended, Err(Error::Protocol(Protocol::Event { expected })));
}

#[test]
fn a_call_of_the_servers_without_a_name_or_an_id() {
    for (kind, named) in [
        ("server_tool_use", r#""id":"s1""#),
        ("server_tool_use", r#""id":"s1","name":"""#),
        ("server_tool_use", r#""name":"web_search""#),
        ("mcp_tool_use", r#""id":7,"name":"web_search""#),
    ] {
        let reply = ScriptedReply::text("x")
            .block(&format!(r#"{{"type":"{kind}",{named},"input":{{"q":1}}}}"#));
        for stream in [true, false] {
            let body = rendered(reply.clone(), Style::default(), stream);
            let expected = Phrase::of("server calls with a name and an id");
            assert_eq!(refused(&body), Error::Protocol(Protocol::Event { expected }), "{named}");
        }
    }
}

#[test]
fn a_block_that_no_model_may_say() {
    for kind in ["tool_result", "tool_addition", "tool_removal"] {
        let reply = ScriptedReply::text("x")
            .block(&format!(r#"{{"type":"{kind}","tool_use_id":"t1","content":"x"}}"#));
        for stream in [true, false] {
            let body = rendered(reply.clone(), Style::default(), stream);
            let expected = Phrase::of("blocks that a model may send");
            assert_eq!(refused(&body), Error::Protocol(Protocol::Event { expected }), "{kind}");
        }
    }
}

#[test]
fn a_container_id_longer_than_its_room() {
    let id = "c".repeat(97);
    for stream in [true, false] {
        let body = rendered(ScriptedReply::text("x").container(&id), Style::default(), stream);
        assert_eq!(
            refused(&body),
            Error::Capacity(Capacity { what: CapacityKind::Container, needed: 97, free: 96 })
        );
    }
}

#[test]
fn tools_that_give_what_the_api_does_not_take() {
    let results = |act: Act| {
        results_of(
            ScriptedReply::new().tool_use("toolu_1", "plain", "{}"),
            &Counting::new([Tool::plain().acting(act)]),
        )
    };
    let result =
        |content: &str| json!([{"type":"tool_result","tool_use_id":"toolu_1","content":content}]);
    let failure = |content: &str| json!([{"type":"tool_result","tool_use_id":"toolu_1","content":content,"is_error":true}]);
    assert_eq!(results(|_, _| Ok(())), result("(no output)"));
    assert_eq!(results(|_, out| Ok(out.text("")?)), result(""));
    assert_eq!(results(|_, out| Ok(out.content("\"\"")?)), result(""));
    assert_eq!(
        results(|_, out| Ok(out.content("[]")?)),
        json!([{"type":"tool_result","tool_use_id":"toolu_1","content":[]}])
    );
    assert_eq!(results(|_, out| Ok(out.block(ContentBlock::text(""))?)), result("(no output)"));
    assert_eq!(results(|_, _| Err(ToolError::new(""))), failure("Error: (no message)"));
    assert_eq!(results(|_, _| Err(ToolError::static_blocks("[]"))), failure("Error: (no message)"));
    let picture = r#"[{"type":"image","source":{"type":"url","url":"https://x"}}]"#;
    assert_eq!(
        serde_json::to_string(&results(|_, _| Err(ToolError::static_blocks(
            r#"[{"type":"image","source":{"type":"url","url":"https://x"}}]"#
        ))))
        .unwrap(),
        failure("Error: (no message)").to_string()
    );
    assert_eq!(
        results(|_, _| Err(ToolError::static_blocks(
            r#"[{"type":"text","text":"The \"lens\" "},{"type":"image","source":{"type":"url","url":"https://x"}},{"type":"text","text":"is broken."}]"#
        ))),
        failure("The \"lens\" is broken.")
    );
    assert_eq!(
        results(|_, out| Ok(out.block(ContentBlock::image(Source::Url("https://x")))?))[0]["content"],
        serde_json::from_str::<Json>(picture).unwrap()
    );
    assert_eq!(
        results(|_, _| Err("17 °C is too cold".parse::<i32>().unwrap_err().into())),
        failure("Error: invalid digit found in string")
    );
}

#[test]
fn a_tool_that_takes_too_long() {
    let slow = |yields| Tool { timeout: Some(Duration::from_secs(2)), ..Tool::slow(yields) };
    let (tools, clock) = (Counting::new([slow(usize::MAX), Tool::plain()]), VirtualClock::new(0));
    let reply =
        ScriptedReply::new().tool_use("toolu_1", "slow", "{}").tool_use("toolu_2", "plain", "{}");
    let mut driver =
        drive(Script::new().reply(reply).reply(ScriptedReply::text("Done.")), &tools, &clock);
    let mut run = run();
    assert_eq!(until_done(&mut driver, &mut run), Ok(Outcome::Ended(Some(StopReason::EndTurn))));
    let results = last_request(&mut driver)[2]["content"].clone();
    assert_eq!(
        results[0],
        json!({"type":"tool_result","tool_use_id":"toolu_1","content":"Error: timed out after 2000 ms","is_error":true})
    );
    assert_eq!(results[1]["content"], "ok");
    assert_eq!(*tools.ended.borrow(), ["toolu_2"], "the future was dropped");
    assert_eq!(clock.waits()[0], Duration::from_secs(2));
    // In time.
    let tools = Counting::new([slow(0)]);
    assert_eq!(
        results_of(ScriptedReply::new().tool_use("toolu_1", "slow", "{}"), &tools)[0]["content"],
        "late"
    );
}

#[test]
fn tools_that_no_request_could_carry() {
    let refused = |tools: &Counting| {
        let transport = ScriptedTransport::new(ScriptedModel::new(Script::new()));
        Driver::new(Config::new("m", 9), transport, tools, VirtualClock::new(0)).map(drop)
    };
    assert_eq!(
        refused(&Counting::new([Tool::plain(), Tool::failing(), Tool::plain()])),
        Err(Misuse::DuplicateTool(0, 2))
    );
    let spaced = Tool {
        name: "two words",
        json: r#"{"name":"two words","description":"","input_schema":{"type":"object"}}"#,
        ..Tool::plain()
    };
    assert_eq!(refused(&Counting::new([Tool::plain(), spaced])), Err(Misuse::ToolName(1)));
    let no_object = Tool {
        json: r#"{"name":"plain","description":"","input_schema":{"type":"string"}}"#,
        ..Tool::plain()
    };
    assert_eq!(refused(&Counting::new([no_object])), Err(Misuse::ToolDefinition(0)));
    let broken = Tool { json: r#"{"name":"plain","#, ..Tool::plain() };
    assert_eq!(refused(&Counting::new([broken])), Err(Misuse::ToolDefinition(0)));
}

#[test]
fn a_run_without_a_message() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver = drive(Script::new(), &tools, &clock);
    let mut run = Run::new(Transcript::growing());
    assert_eq!(until_done(&mut driver, &mut run), Err(Error::Misuse(Misuse::NoMessages)));
}
