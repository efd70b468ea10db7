//! Every recorded stream, cut at every byte, gives the same events and the same transcript, in
//! memory that grows and in fixed memory; and a stream has the same meaning as the reply in one
//! JSON object.
//!
//! With `SCENARIOS=DIR`, the bodies of the scenario files in that directory are cut as well.
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

use common::{exchange, rendered};
use serde_json::{Value as Json, json};
use toolrunner_core::error::Error;
use toolrunner_core::observe::Event;
use toolrunner_core::run::Run;
use toolrunner_core::testing::{Rng, ScriptedReply, Style};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

/// The effect of a body on a run.
#[derive(Clone, Debug, PartialEq)]
struct Made {
    events: Vec<String>,
    ended: Result<(), Error>,
    transcript: String,
    usage: String,
}

fn made<'p>(mut run: Run<'_>, status: u16, pieces: impl IntoIterator<Item = &'p [u8]>) -> Made {
    run.user("Hi").unwrap();
    let (events, ended) = exchange(&mut run, status, pieces);
    if let Err(error) = ended {
        let _ = run.failed(error, Instant::ZERO, 0);
    }
    let transcript = String::from_utf8(run.transcript().bytes().to_vec()).unwrap();
    Made {
        events,
        ended,
        transcript,
        usage: format!("{:?} {:?} {:?}", run.turn_usage(), run.stop_reason(), run.container()),
    }
}

fn growing<'p>(status: u16, pieces: impl IntoIterator<Item = &'p [u8]>) -> Made {
    made(Run::new(Transcript::growing()), status, pieces)
}

/// Feeds the body whole, then in single bytes, then cut in two at every byte, then with random
/// cuts, in both kinds of memory.
fn assert_cuts(status: u16, body: &[u8]) -> Made {
    assert_cuts_by(status, body, 1)
}

/// Does [`assert_cuts`] with only every `stride`th cut in two: the single bytes cut at every byte
/// in any case.
fn assert_cuts_by(status: u16, body: &[u8], stride: usize) -> Made {
    let whole = growing(status, [body]);
    let mut memory = vec![0; body.len() * 2 + 1024];
    let same = |other: &Made, how: &str| {
        for (i, (a, b)) in whole.events.iter().zip(&other.events).enumerate() {
            assert_eq!(a, b, "event {i}, {how}\n{}", String::from_utf8_lossy(body));
        }
        assert_eq!(&whole, other, "{how}\n{}", String::from_utf8_lossy(body));
    };
    same(&made(Run::new(Transcript::new(&mut memory)), status, [body]), "whole, fixed memory");
    same(&growing(status, body.chunks(1)), "single bytes");
    same(
        &made(Run::new(Transcript::new(&mut memory)), status, body.chunks(1)),
        "single bytes, fixed memory",
    );
    for cut in (0..=body.len()).step_by(stride) {
        let (a, b) = body.split_at(cut);
        same(
            &made(Run::new(Transcript::new(&mut memory)), status, [a, b]),
            &format!("cut at {cut}"),
        );
    }
    let mut rng = Rng::new(7);
    for round in 0..5 {
        let mut pieces = Vec::new();
        let mut rest = body;
        while !rest.is_empty() {
            let (piece, left) = rest.split_at((1 + rng.below(90)).min(rest.len()));
            pieces.push(piece);
            rest = left;
        }
        same(&growing(status, pieces), &format!("random cuts {round}"));
    }
    whole
}

/// Returns replies with every kind of content.
fn replies() -> Vec<(&'static str, ScriptedReply)> {
    let citation = r#"{"type":"char_location","cited_text":"x","document_index":0,"document_title":null,"start_char_index":0,"end_char_index":1}"#;
    vec![
        ("text", ScriptedReply::text("Hello, \"world\"\\ \n\t\u{1} and 日本語 and 😀 and / so on.")),
        ("empty", ScriptedReply::new()),
        ("empty text", ScriptedReply::text("")),
        (
            "calls",
            ScriptedReply::text("Let me see.")
                .tool_use("toolu_1", "plain", r#"{"a":15,"b":"twenty \"seven\" \\ 日本 😀 \ud83d\ude00 \n","big":12345678901234567890,"f":1.50}"#)
                .tool_use("toolu_2", "plain", "{}"),
        ),
        ("cut input", ScriptedReply::new().tool_use_cut("toolu_1", "plain", r#"{"location":"S\"F\n"#).stop("max_tokens")),
        ("garbage input", ScriptedReply::new().tool_use_cut("toolu_1", "plain", "{bad}").tool_use_cut("toolu_2", "plain", "[1]")),
        ("text for an input", ScriptedReply::new().tool_use_cut("toolu_1", "plain", r#""x""#).tool_use_cut("toolu_2", "plain", " null ")),
        ("control characters in an input", ScriptedReply::new().tool_use_cut("toolu_1", "plain", "{\"a\":\"\u{1}\n\"}")),
        ("thinking", ScriptedReply::new().thinking("Let me think about 日本 \"this\".", "EqQB+/=").and_text("Yes.")),
        (
            "citations",
            ScriptedReply::new()
                .block(&format!(r#"{{"type":"text","text":"Cited.","citations":[{citation},{citation}]}}"#))
                .block(r#"{"type":"text","text":"Not cited.","citations":null}"#)
                .block(&format!(r#"{{"citations":[{citation}],"text":"The other order.","type":"text"}}"#)),
        ),
        (
            "server tools",
            ScriptedReply::text("Searching")
                .block(r#"{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"rust \"no_std\""},"caller":{"type":"direct"}}"#)
                .block(r#"{"type":"web_search_tool_result","tool_use_id":"srvtoolu_1","content":[{"type":"web_search_result","url":"https://x","encrypted_content":"aGk="}]}"#)
                .block(r#"{"type":"mcp_tool_use","id":"mcptoolu_1","name":"t","server_name":"s","input":{}}"#)
                .container("container_1"),
        ),
        ("compaction", ScriptedReply::new().block(r#"{"type":"compaction","content":"Sum\nmary","encrypted_content":"ZW5j"}"#).stop("compaction")),
        ("redacted thinking", ScriptedReply::new().block(r#"{"type":"redacted_thinking","data":"ZGF0YQ=="}"#)),
        (
            "fallback",
            ScriptedReply::new()
                .tool_use("toolu_1", "plain", "{}")
                .block(r#"{"type":"fallback","from":{"model":"a"},"to":{"model":"b"},"trigger":{"type":"refusal","category":null}}"#)
                .tool_use("toolu_2", "plain", r#"{"x":1}"#),
        ),
        ("unknown block", ScriptedReply::new().block(r#"{"zeta":[1,{"y":1e300}],"type":"hologram","text":"x","alpha":12345678901234567890}"#)),
        ("trailing member", ScriptedReply::new().block(r#"{"type":"tool_use","id":"toolu_1","name":"plain","input":{"a":1},"caller":{"type":"direct"}}"#)),
        ("extra fields", ScriptedReply::text("x").field("stop_details", "null").stop_sequence("END")),
    ]
}

fn styles() -> Vec<(&'static str, Style)> {
    let usual = Style::default();
    vec![
        ("usual", usual.clone()),
        ("crlf", Style { crlf: true, ..usual.clone() }),
        ("comments and pings", Style { comments: true, pings: true, ..usual.clone() }),
        ("ascii", Style { ascii: true, delta: 3, ..usual.clone() }),
        ("interleaved", Style { interleaved: true, delta: 2, ..usual.clone() }),
        ("no event lines", Style { event_lines: false, ..usual.clone() }),
        ("single characters", Style { delta: 1, crlf: true, ascii: true, ..usual }),
    ]
}

#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn every_reply_in_every_style_cut_at_every_byte_gives_the_same() {
    for (_, reply) in replies() {
        for (style, written) in styles() {
            let body = rendered(reply.clone(), written, true);
            let made = assert_cuts_by(200, &body, if style == "usual" { 1 } else { 11 });
            assert_eq!(made.ended, Ok(()), "{style}");
        }
    }
}

#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn every_style_means_the_same() {
    for (name, reply) in replies() {
        let usual = growing(200, [rendered(reply.clone(), Style::default(), true).as_slice()]);
        for (style, written) in styles() {
            let other = growing(200, [rendered(reply.clone(), written, true).as_slice()]);
            let json = |made: &Made| -> Json {
                serde_json::from_str(&format!("[{}]", made.transcript)).unwrap()
            };
            assert_eq!(json(&usual), json(&other), "{name}, {style}");
            if style != "ascii" && style != "single characters" {
                assert_eq!(usual.transcript, other.transcript, "{name}, {style}");
            }
        }
    }
}

#[test]
fn every_whole_reply_cut_at_every_byte_gives_the_same() {
    for (name, reply) in replies() {
        let made = assert_cuts(200, &rendered(reply, Style::default(), false));
        assert_eq!(made.ended, Ok(()), "{name}");
    }
}

/// Returns events without their form: texts joined, inputs as values, and without what only one
/// form has.
fn meaning(body: &[u8]) -> Vec<Json> {
    let mut run = Run::new(Transcript::growing());
    run.user("Hi").unwrap();
    run.step(Instant::ZERO).unwrap();
    run.head_arrived(&ReplyHead::new(200));
    let mut events: Vec<Json> = Vec::new();
    let mut joined = |kind: &str, index: usize, text: String| {
        if let Some(last) =
            events.iter_mut().rev().find(|event| event["index"] == index && event["kind"] == kind)
        {
            let grown = last["text"].as_str().unwrap().to_owned() + &text;
            last["text"] = grown.into();
        } else if !text.is_empty() {
            events.push(json!({"kind":kind,"index":index,"text":text}));
        }
    };
    let mut others: Vec<Json> = Vec::new();
    let mut see = |event: &Event<'_>| match *event {
        Event::Text { index, text } => joined("text", index, text.to_string()),
        Event::Thinking { index, text } => joined("thinking", index, text.to_string()),
        Event::Compaction { index, text } => joined("compaction", index, text.to_string()),
        Event::Signature { index, signature } => joined("signature", index, signature.to_string()),
        Event::Input { index, json } => joined("input", index, json.to_owned()),
        Event::Citation { index, citation } => {
            others.push(json!([index, "citation", value(citation.raw())]))
        }
        Event::BlockStart { index, block } => {
            others.push(json!([index, "start", value(block.raw())["type"]]))
        }
        Event::BlockStop { index, block } => {
            let mut block = value(block.raw());
            // The scripted model's stream always has this member.
            if block["citations"].is_null() {
                block.as_object_mut().unwrap().remove("citations");
            }
            others.push(json!([index, "stop", block]));
        }
        Event::Stop { reason, usage, .. } => {
            others.push(json!(["stop", format!("{reason:?} {usage:?}")]))
        }
        Event::MessageStop => others.push(json!("message stop")),
        Event::MessageStart { message } => {
            others.push(json!(["message start", value(message.raw())["id"]]))
        }
        Event::Ping | Event::Unknown { .. } => {}
        _ => panic!("{event:?}"),
    };
    let mut rest = body;
    while let Some(stream_event) = run.feed(&mut rest).unwrap() {
        see(&run.mark_shown(stream_event));
    }
    while let Some(stream_event) = run.end_of_body().unwrap() {
        see(&run.mark_shown(stream_event));
    }
    for event in &mut events {
        if event["kind"] == "input" {
            event["text"] = serde_json::from_str(event["text"].as_str().unwrap()).unwrap();
        }
    }
    // A stream reports no pieces of an input without members.
    events.retain(|event| event["text"] != json!({}));
    events.extend(others);
    events
}

fn value(raw: &[u8]) -> Json {
    serde_json::from_slice(raw).unwrap()
}

#[test]
fn a_stream_and_one_json_object_mean_the_same() {
    for (name, reply) in replies() {
        if name == "cut input"
            || name == "garbage input"
            || name == "text for an input"
            || name == "control characters in an input"
        {
            continue;
        }
        let stream = meaning(&rendered(reply.clone(), Style::default(), true));
        let whole = meaning(&rendered(reply, Style::default(), false));
        assert_eq!(stream, whole, "{name}");
    }
}

/// Returns the type of an event, which is its frame's name; also of data that is not JSON.
fn type_of(data: &str) -> &str {
    let names = [
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_start",
        "message_delta",
        "message_stop",
        "ping",
    ];
    let named = names.into_iter().filter_map(|name| Some((data.find(name)?, name))).min();
    named.map_or("weather_report", |(_, name)| name)
}

/// Builds a stream from the frames' data. Without the space after `event:`, no frame has the API's
/// exact form.
fn stream(frames: &[&str]) -> Vec<u8> {
    let start = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":25,"output_tokens":1}}}"#;
    let end = [
        r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":15}}"#,
        r#"{"type":"message_stop"}"#,
    ];
    let frames = [start].into_iter().chain(frames.iter().copied()).chain(end);
    frames
        .map(|data| format!("event:{}\ndata: {data}\n\n", type_of(data)))
        .collect::<String>()
        .into_bytes()
}

/// Returns the content of the reply in a hand-written stream, after all cuts.
fn content(frames: &[&str]) -> Json {
    let made = assert_cuts(200, &stream(frames));
    assert_eq!(made.ended, Ok(()), "{frames:?}");
    let messages: Json = serde_json::from_str(&format!("[{}]", made.transcript)).unwrap();
    messages[1]["content"].clone()
}

#[test]
fn the_padding_of_the_real_api_and_the_spaces_of_python_change_nothing() {
    let made = content(&[
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}       }"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hel"}           }"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"lo\n"  }}"#,
        r#"{"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " \ud83d\ude00 \u00e9"}}"#,
        r#"{"index":0,"delta":{"text":"!","type":"text_delta"},"type":"content_block_delta"}"#,
        r#"{ "type":"content_block_stop", "index":0 }"#,
    ]);
    assert_eq!(made, json!([{"type":"text","text":"Hello\n 😀 é!"}]));
}

#[test]
fn a_delta_in_the_exact_form_means_what_it_means_in_any_other() {
    let texts = [
        "plain",
        "",
        r#"\"\\\/\b\f\n\r\t"#,
        r"\u65e5\u672C",
        r"\u0000\ud7ff\uD7FF\ue000",
        r"\ud83d\ude00",
        r"\uD83D",
        r"\ude00 x",
        r"\uDBFFx",
        r"\u12g4",
        r"\u123",
        r"\x",
        "é日😀",
        "a long text, longer than what is looked at in one step: \u{e9}, then more of it, and then \\u00e9",
    ];
    for (block, form) in [
        (r#""type":"text","text":"""#, r#""type":"text_delta","text":"#),
        (
            r#""type":"thinking","thinking":"","signature":"""#,
            r#""type":"thinking_delta","thinking":"#,
        ),
        (
            r#""type":"tool_use","id":"toolu_1","name":"plain","input":{}"#,
            r#""type":"input_json_delta","partial_json":"#,
        ),
    ] {
        for text in texts {
            let start = format!(
                r#"{{"type":"content_block_start","index":0,"content_block":{{{block}}}}}"#
            );
            let delta =
                format!(r#"{{"type":"content_block_delta","index":0,"delta":{{{form}"{text}"}}}}"#);
            let general =
                stream(&[&start, &delta, &delta, r#"{"type":"content_block_stop","index":0}"#]);
            let exact = String::from_utf8(general.clone()).unwrap();
            let exact = exact.replace(
                &format!("event:content_block_delta\ndata: {delta}"),
                &format!("event: content_block_delta\ndata: {delta}"),
            );
            assert_eq!(growing(200, [exact.as_bytes()]), growing(200, [&*general]), "{delta}");
        }
    }
}

#[test]
fn an_event_without_content_in_the_exact_form_means_what_it_means_in_any_other() {
    let at_places = |rest: &str| {
        [0, 7, 10, 99, 100]
            .map(|index| (index, format!(r#"{{"type":"content_block_stop","index":{index}{rest}"#)))
    };
    let stops =
        ["}", "     }", " }  ", "0}", "1}", ".0}", "e0}", ",\"x\":1}", "}}", "", "}\ndata: "]
            .map(at_places);
    let others = [
        r#"{"type":"ping"}"#,
        r#"{"type": "ping"}"#,
        r#"{"type":  "ping" }"#,
        r#"{"type":"ping","x":[1]}"#,
        r#"{"type":"ping"}}"#,
        r#"{"type":"ping"#,
        r#"{"type":"message_stop"}"#,
        r#"{"type":"message_stop"        }"#,
        r#"{"type":"message_stop","x":1}"#,
        r#"{"type":"message_stop"},"#,
        r#"{"type":"content_block_stop"}"#,
        r#"{"type":"content_block_stop","index":-1}"#,
    ];
    let mut passed = 0;
    for (index, data) in stops.into_iter().flatten().chain(others.map(|data| (0, data.to_owned())))
    {
        let name = ["ping", "message_stop", "content_block_stop"]
            .into_iter()
            .find(|name| data.contains(name))
            .unwrap();
        let start = format!(
            r#"{{"type":"content_block_start","index":{index},"content_block":{{"type":"text","text":"x"}}}}"#
        );
        let general = stream(&[&start, &data]);
        let exact = String::from_utf8(general.clone()).unwrap();
        let exact = exact.replace(
            &format!("event:{name}\ndata: {data}\n"),
            &format!("event: {name}\ndata: {data}\n"),
        );
        assert_ne!(exact.as_bytes(), general);
        let made = growing(200, [exact.as_bytes()]);
        assert_eq!(made, growing(200, [&*general]), "{data}");
        passed += usize::from(made.ended.is_ok());
    }
    // A stop of a block that is not open means nothing, and neither do the contents of a ping: only
    // a stop that is not JSON fails. Those are the two that lack a brace or have one more, and `00`
    // and `01`.
    assert_eq!(passed, 11 * 5 + 12 - (2 * 5 + 2));
}

#[test]
fn citations_may_be_null_or_absent_at_the_start() {
    let citation = r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"n":1}}}"#;
    let text =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}"#;
    let stop = r#"{"type":"content_block_stop","index":0}"#;
    for start in [
        r#""text":"","citations":null"#,
        r#""citations":null,"text":"""#,
        r#""text":"""#,
        r#""text":"","citations":[]"#,
    ] {
        let start = format!(
            r#"{{"type":"content_block_start","index":0,"content_block":{{"type":"text",{start}}}}}"#
        );
        let made = content(&[&start, citation, text, citation, text, stop]);
        assert_eq!(
            made,
            json!([{"type":"text","text":"aa","citations":[{"n":1},{"n":1}]}]),
            "{start}"
        );
    }
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"x","citations":[{"n":0}]}}"#;
    assert_eq!(content(&[start, citation, stop])[0]["citations"], json!([{"n":0},{"n":1}]));
}

#[test]
fn an_input_may_be_cut_inside_an_escape_and_inside_a_surrogate_pair() {
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"plain","input":{},"caller":{"type":"direct"}}}"#;
    let stop = r#"{"type":"content_block_stop","index":0}"#;
    let input = |pieces: &[&str]| {
        let deltas: Vec<String> = pieces
            .iter()
            .map(|piece| {
                format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"input_json_delta","partial_json":"{piece}"}}}}"#)
            })
            .collect();
        let frames: Vec<&str> =
            [start].into_iter().chain(deltas.iter().map(String::as_str)).chain([stop]).collect();
        content(&frames)[0]["input"].clone()
    };
    // The inner text's escapes, cut: `"a\n"`, `"\ud83d\ude00"`.
    assert_eq!(input(&["", r#"{\"a\":\"x\\"#, r#"ny\"}"#]), json!({"a":"x\ny"}));
    assert_eq!(input(&[r#"{\"a\":\"\\ud8"#, r"3d\\ud", r#"e00\"}"#]), json!({"a":"😀"}));
    // The outer text's own pair, cut between two deltas, with empty ones between.
    assert_eq!(input(&[r#"{\"a\":\"\ud83d"#, r#"\ude00\"}"#]), json!({"a":"😀"}));
    assert_eq!(
        input(&[r#"{\"a\":\"\ud83d"#, "", r#"\ude00\ud83d"#, "", r#"\ude01\"}"#]),
        json!({"a":"😀😁"})
    );
    // Unpaired halves are replaced, wherever they are.
    assert_eq!(input(&[r#"{\"a\":\"\ud83d"#, r#"x\"}"#]), json!({"a":"\u{fffd}x"}));
    assert_eq!(
        input(&[r#"{\"a\":\"\ude00\ud83d"#, r#"\ud83d\ude00\"}"#]),
        json!({"a":"\u{fffd}\u{fffd}😀"})
    );
    assert_eq!(input(&[r#"{\"a\":\"\\ud83d\"}"#]), json!({"a":"\u{fffd}"}));
    // An escaped backslash before text that only resembles half a pair.
    assert_eq!(input(&[r#"{\"a\":\"\\\\ud83d\"}"#]), json!({"a":"\\ud83d"}));
    assert_eq!(input(&[r#"{\"a\":\"\u00e9\u0022}"#]), json!({"a":"é"}));
    // Not an object: the text is kept as a string, and no tool will run.
    assert_eq!(input(&[r#"{\"a\":\"\ud83d"#]), json!({"INVALID_JSON":"{\"a\":\"\\ud83d"}));
    assert_eq!(input(&[]), json!({}));
    assert_eq!(input(&["", ""]), json!({}));
    assert_eq!(input(&["  "]), json!({}));
}

#[test]
fn an_input_that_came_whole_at_the_start_is_kept() {
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"toolu_1","name":"plain","input":{"a":1}}}"#;
    let empty = r#"{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":""}}"#;
    let stop = r#"{"type":"content_block_stop","index":0}"#;
    assert_eq!(content(&[start, stop])[0]["input"], json!({"a":1}));
    assert_eq!(content(&[start, empty, stop])[0]["input"], json!({"a":1}));
}

#[test]
fn a_compaction_tells_its_text_and_keeps_what_is_encrypted() {
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"compaction","content":null,"encrypted_content":null}}"#;
    let stop = r#"{"type":"content_block_stop","index":0}"#;
    let expected = json!([{"type":"compaction","content":"Sum \"x\"","encrypted_content":"ZW5j"}]);
    for delta in [
        r#""content":"Sum \"x\"","encrypted_content":"ZW5j""#,
        r#""encrypted_content":"ZW5j","content":"Sum \"x\"""#,
    ] {
        let delta = format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"compaction_delta",{delta}}}}}"#
        );
        for start in [
            start,
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"compaction"}}"#,
        ] {
            let made = content(&[start, &delta, stop]);
            assert_eq!(made[0]["content"], expected[0]["content"]);
            assert_eq!(made[0]["encrypted_content"], expected[0]["encrypted_content"]);
        }
        let made = growing(200, [stream(&[start, &delta, stop]).as_slice()]);
        let told: Vec<&String> =
            made.events.iter().filter(|event| event.starts_with("Compaction")).collect();
        assert_eq!(told, [r#"Compaction { index: 0, text: "Sum \"x\"" }"#]);
    }
}

#[test]
fn unknown_events_and_deltas_are_told_and_change_nothing() {
    let made = content(&[
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"hologram_delta","x":1}}"#,
        r#"{"type":"weather_report","sun":true}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a","sparkle":1}}"#,
        r#"{"type":"ping"}"#,
        r#"{"type":"content_block_stop","index":0}"#,
    ]);
    assert_eq!(made, json!([{"type":"text","text":"a"}]));
}

#[test]
fn a_lone_surrogate_is_mended_everywhere() {
    let made = content(&[
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a\ud83d"}}"#,
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"b\\ud83d\ude00"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"hologram","x":"\udfff"}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
    ]);
    assert_eq!(
        made,
        json!([{"type":"text","text":"a\u{fffd}b\\ud83d\u{fffd}"},{"type":"hologram","x":"\u{fffd}"}])
    );
    let whole = br#"{"content":[{"type":"text","text":"a\ud83d"}],"stop_reason":"end_turn"}"#;
    let made = assert_cuts(200, whole);
    assert_eq!(made.ended, Ok(()));
    assert!(
        made.transcript.ends_with(r#"[{"type":"text","text":"a\ufffd"}]}"#),
        "{}",
        made.transcript
    );
}

/// Comments, ignored fields, several data lines, a lone carriage return, a byte order mark.
#[test]
fn the_event_stream_format_is_read_as_the_standard_has_it() {
    let body = String::from_utf8(stream(&[
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"x"}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
    ]))
    .unwrap();
    let whole = growing(200, [body.as_bytes()]);
    assert_eq!(whole.ended, Ok(()));
    let variants = [
        body.replace('\n', "\r\n"),
        body.replace('\n', "\r"),
        format!("\u{feff}{body}"),
        body.replace(
            "event:content_block_start\n",
            "event:content_block_start\nid: 7\nretry: 10\n:\n: hello\nnonsense\ndatabase: x\n",
        ),
        body.replace("data: ", "data:"),
        body.replace("\"index\":0,", "\ndata: \"index\":0,\ndata:"),
        body.replace("\n\n", "\n\n\n\n: x\n\n"),
        format!("\n\n{body}"),
    ];
    for variant in variants {
        let made = assert_cuts(200, variant.as_bytes());
        assert_eq!(made.ended, Ok(()), "{variant}");
        assert_eq!(made.transcript, whole.transcript, "{variant}");
    }
}

#[test]
fn what_a_body_that_breaks_off_gives_is_an_error_at_every_byte() {
    let reply = || ScriptedReply::text("Hi 😀").tool_use("toolu_1", "plain", r#"{"a":"b"}"#);
    for stream in [true, false] {
        let body = rendered(reply(), Style::default(), stream);
        let full = growing(200, [body.as_slice()]).transcript;
        let text = String::from_utf8(body.clone()).unwrap();
        let reason = text.find("event: message_stop").unwrap_or(body.len());
        for cut in 0..body.len() {
            let made = growing(200, [&body[..cut]]);
            // After the stop reason nothing is missing. Of one JSON object, the last byte is.
            if made.ended.is_ok() {
                assert_eq!(made.transcript, full);
                assert!(cut + 1 >= reason, "cut at {cut} of {} passes", body.len());
            } else {
                assert_eq!(made.transcript, r#"{"role":"user","content":"Hi"}"#, "cut at {cut}");
            }
        }
    }
}

#[test]
fn recorded_scenarios_cut_at_every_byte_give_the_same() {
    let Some(directory) = std::env::var_os("SCENARIOS") else { return };
    let mut files: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    assert!(!files.is_empty());
    let mut bodies = 0;
    for file in files {
        let scenario: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        for exchange in scenario["exchanges"].as_array().unwrap() {
            let status = u16::try_from(exchange["status"].as_u64().unwrap()).unwrap();
            let body = exchange["body"].as_str().unwrap().as_bytes();
            let made = assert_cuts_by(status, body, if body.len() > 4000 { 17 } else { 1 });
            assert_eq!(made.ended.is_ok(), status == 200, "{file:?}");
            bodies += 1;
        }
    }
    assert!(bodies > 0);
}
