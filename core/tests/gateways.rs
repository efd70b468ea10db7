//! Replies of gateways that emulate the API: details that a scenario cannot express, such as events
//! and errors. See the table of `toolrunner_core::wire`, and `tests/scenarios/gateway-*`.
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

use common::{exchange, plain};
use serde_json::{Value as Json, json};
use toolrunner_core::error::{ApiErrorKind, Error, Protocol};
use toolrunner_core::observe::Event;
use toolrunner_core::run::Run;
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

const START: &str = r#"{"type":"message_start","message":{"role":"assistant","content":[],"usage":{"input_tokens":1,"output_tokens":1}}}"#;
const TEXT: &str =
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const STOP: &str = r#"{"type":"content_block_stop","index":0}"#;
const REASON: &str =
    r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":9}}"#;
const END: &str = r#"{"type":"message_stop"}"#;

fn delta(text: &str) -> String {
    format!(
        r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#
    )
}

/// Builds frames without names.
fn unnamed(events: &[&str]) -> Vec<u8> {
    events.iter().map(|event| format!("data: {event}\n\n")).collect::<String>().into_bytes()
}

/// Builds frames of these names, with this data.
fn named(frames: &[(&str, &str)]) -> Vec<u8> {
    frames
        .iter()
        .map(|(name, data)| format!("event: {name}\ndata: {data}\n\n"))
        .collect::<String>()
        .into_bytes()
}

/// Builds a complete stream of named frames around these.
fn around(frames: &[(&str, &str)]) -> Vec<u8> {
    let all = [("message_start", START)].into_iter().chain(frames.iter().copied());
    named(&all.chain([("message_delta", REASON), ("message_stop", END)]).collect::<Vec<_>>())
}

/// Feeds a body to a run: returns the events, how it ended, and the run.
fn made(body: &[u8]) -> (Vec<String>, Result<(), Error>, Run<'static>) {
    let one = |piece: usize| {
        let mut run = Run::new(Transcript::growing());
        run.user("Hi").unwrap();
        let (events, ended) = exchange(&mut run, 200, body.chunks(piece.max(1)));
        if let Err(error) = ended {
            let _ = run.failed(error, Instant::ZERO, 0);
        }
        (events, ended, run)
    };
    let whole = one(body.len());
    for piece in [1, 2, 3, 13, 70] {
        let (events, ended, run) = one(piece);
        let shown = String::from_utf8_lossy(body);
        assert_eq!(
            (&events, ended, run.messages()),
            (&whole.0, whole.1, whole.2.messages()),
            "in pieces of {piece}:\n{shown}"
        );
    }
    whole
}

/// Returns the content of the reply in a body.
fn content(body: &[u8]) -> Json {
    let (_, ended, run) = made(body);
    assert_eq!(ended, Ok(()), "{}", String::from_utf8_lossy(body));
    let messages: Json =
        serde_json::from_str(&format!("[{}]", String::from_utf8_lossy(run.messages()))).unwrap();
    messages.get(1).map_or(json!([]), |message| message["content"].clone())
}

fn text(text: &str) -> Json {
    json!([{"type":"text","text":text}])
}

#[test]
fn a_frame_is_what_its_name_says_or_its_type_where_it_has_none() {
    let hi = &delta("Hi");
    for body in [
        unnamed(&[START, TEXT, hi, STOP, REASON, END]),
        // The standard's name for a frame without one.
        named(&[START, TEXT, hi, STOP, REASON, END].map(|data| ("message", data))),
        // No type in the JSON.
        around(&[
            ("content_block_start", r#"{"index":0,"content_block":{"type":"text","text":""}}"#),
            ("content_block_delta", r#"{"index":0,"delta":{"type":"text_delta","text":"Hi"}}"#),
            ("content_block_stop", r#"{"index":0}"#),
        ]),
        // A type that the API does not have.
        around(&[
            ("content_block_start", TEXT),
            (
                "content_block_delta",
                r#"{"type":"chunk","index":0,"delta":{"type":"text_delta","text":"Hi"}}"#,
            ),
            ("content_block_stop", STOP),
        ]),
        // A type that names another event than the frame's name, read as the official clients do.
        around(&[
            ("content_block_start", TEXT),
            ("content_block_start", hi),
            ("message_delta", STOP),
        ]),
        // Names that the API does not have, whatever their data is.
        around(&[
            ("keepalive", "alive"),
            ("content_block_start", TEXT),
            ("gateway.cost", "{"),
            ("content_block_delta", hi),
            ("weather", &delta("SKIP")),
            ("ping", "pong"),
            ("content_block_stop", STOP),
        ]),
        // Events that need no data, with any data.
        [
            named(&[
                ("message_start", START),
                ("content_block_start", TEXT),
                ("content_block_delta", hi),
                ("content_block_stop", STOP),
            ]),
            named(&[("message_delta", REASON), ("message_stop", "[DONE]")]),
        ]
        .concat(),
    ] {
        assert_eq!(content(&body), text("Hi"), "{}", String::from_utf8_lossy(&body));
    }
}

#[test]
fn frames_without_a_name_are_left_out_of_a_stream_that_names_its_frames() {
    let hi = &delta("Hi");
    let body = around(&[
        ("content_block_start", TEXT),
        ("content_block_delta", hi),
        ("content_block_stop", STOP),
    ]);
    let body = String::from_utf8(body).unwrap();
    for foreign in [
        &*delta("SKIP"),
        "[DONE]",
        "",
        "no JSON",
        r#"{"choices":[]}"#,
        r#"{"error":null}"#,
        r#"{"error":""}"#,
    ] {
        let with = body.replace(
            "event: content_block_stop",
            &format!("data: {foreign}\n\nevent: content_block_stop"),
        );
        assert_eq!(content(with.as_bytes()), text("Hi"), "{foreign}");
    }
    // A ping, an error or an unknown event with a name does not make it a stream of named frames.
    for name in ["ping", "keepalive"] {
        let body = [
            named(&[(name, "{}")]),
            unnamed(&[START, TEXT]),
            named(&[(name, "x")]),
            unnamed(&[hi, STOP, REASON, END]),
        ]
        .concat();
        assert_eq!(content(&body), text("Hi"), "{name}");
    }
}

#[test]
fn what_is_said_again_changes_nothing() {
    let hi = &delta("Hi");
    let later =
        r#"{"type":"message_delta","delta":{"stop_reason":null},"usage":{"output_tokens":12}}"#;
    let empty = r#"{"type":"message_delta","delta":{}}"#;
    let other = r#"{"type":"content_block_stop","index":5}"#;
    let body = unnamed(&[
        START, START, TEXT, START, hi, STOP, STOP, other, START, REASON, later, empty, STOP, END,
        END, REASON,
    ]);
    let (events, ended, run) = made(&body);
    assert_eq!((ended, run.turn_usage().output_tokens), (Ok(()), 12));
    assert_eq!(run.stop_reason().unwrap().name(), "end_turn");
    let count = |name: &str| events.iter().filter(|event| event.starts_with(name)).count();
    assert_eq!(
        (count("MessageStart"), count("BlockStop"), count("Stop"), count("MessageStop")),
        (1, 1, 3, 1)
    );
}

#[test]
fn an_index_may_be_left_out_or_begin_again() {
    let hi = &delta("Hi");
    let call = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"b","input":{}}}"#;
    let body = unnamed(&[START, TEXT, hi, STOP, call, STOP, TEXT, &delta("!"), STOP, REASON, END]);
    let call = json!({"type":"tool_use","id":"a","name":"b","input":{}});
    assert_eq!(
        content(&body),
        json!([{"type":"text","text":"Hi"}, call, {"type":"text","text":"!"}])
    );
    // Events report the index in the message.
    let (events, ..) = made(&body);
    let starts: Vec<_> = events.iter().filter(|event| event.starts_with("BlockSt")).collect();
    let expected = [
        "Start { index: 0",
        "Stop { index: 0",
        "Start { index: 1",
        "Stop { index: 1",
        "Start { index: 2",
        "Stop { index: 2",
    ];
    assert_eq!(starts.len(), 6);
    assert!(
        starts.iter().zip(expected).all(|(event, expected)| event.contains(expected)),
        "{starts:?}"
    );

    let bare = |event: &str| event.replace("\"index\":0,", "").replace(",\"index\":0", "");
    for other in ["", "\"index\":null,", "\"index\":\"0\",", "\"index\":-1,"] {
        let events = [TEXT, hi, STOP, TEXT, hi, STOP]
            .map(|event| bare(event).replacen('{', &format!("{{{other}"), 1));
        let events: Vec<&str> = [START]
            .into_iter()
            .chain(events.iter().map(String::as_str))
            .chain([REASON, END])
            .collect();
        assert_eq!(
            content(&unnamed(&events)),
            json!([{"type":"text","text":"Hi"},{"type":"text","text":"Hi"}]),
            "{other}"
        );
    }
}

#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn a_text_opens_its_block_where_no_block_is_open() {
    let hi = &delta("Hi");
    let exact = named(&[("content_block_delta", hi), ("content_block_delta", &delta(" there"))]);
    for body in [
        unnamed(&[START, hi, &delta(" there"), STOP, REASON, END]),
        // The block's end is missing too.
        unnamed(&[START, hi, &delta(" there"), REASON, END]),
        unnamed(&[START, &hi.replace("\"index\":0,", ""), &delta(" there"), STOP, REASON, END]),
        [
            named(&[("message_start", START)]),
            exact,
            named(&[("message_delta", REASON), ("message_stop", END)]),
        ]
        .concat(),
        named(&[
            ("message_start", START),
            ("content_block_delta", r#"{"delta":{"type":"text_delta","text":"Hi there"}}"#),
            ("message_delta", REASON),
            ("message_stop", ""),
        ]),
    ] {
        assert_eq!(content(&body), text("Hi there"));
        let (events, ..) = made(&body);
        let kinds: Vec<&str> =
            events.iter().map(|event| event.split([' ', '{']).next().unwrap()).collect();
        assert_eq!(kinds.iter().filter(|kind| **kind == "BlockStart").count(), 1, "{kinds:?}");
        assert_eq!(kinds.iter().filter(|kind| **kind == "BlockStop").count(), 1, "{kinds:?}");
    }
    // In memory that is just enough, and in less.
    let body = unnamed(&[START, hi, STOP, REASON, END]);
    for size in 0..600 {
        let mut memory = vec![0; size];
        let mut run = Run::new(Transcript::new(&mut memory));
        if run.user("Hi").is_ok() {
            match exchange(&mut run, 200, [body.as_slice()]).1 {
                Ok(()) => assert!(run.messages().ends_with(br#"[{"type":"text","text":"Hi"}]}"#)),
                Err(error) => assert!(
                    matches!(error, Error::Capacity(full) if full.needed > full.free),
                    "{error}"
                ),
            }
        }
    }
}

#[test]
fn a_reply_is_whole_once_its_reason_is_known_and_its_blocks_are_closed() {
    let hi = &delta("Hi");
    let (half, _) = END.split_at(9);
    for end in [vec![], vec!["[DONE]"], vec!["[DONE]", END], vec![" [DONE] "]] {
        let events: Vec<&str> = [START, TEXT, hi, STOP, REASON].into_iter().chain(end).collect();
        assert_eq!(content(&unnamed(&events)), text("Hi"), "{events:?}");
        let mut cut = unnamed(&events);
        cut.extend_from_slice(format!("data: {half}").as_bytes());
        assert_eq!(content(&cut), text("Hi"), "{events:?}");
    }
    for events in [
        vec![START],
        vec![START, TEXT, hi, STOP],
        vec![START, TEXT, hi, REASON],
        vec![START, TEXT, hi, STOP, r#"{"type":"message_delta","delta":{}}"#],
    ] {
        for end in [vec![], vec!["[DONE]"]] {
            let events: Vec<&str> = events.iter().copied().chain(end).collect();
            assert_eq!(
                made(&unnamed(&events)).1,
                Err(Error::Protocol(Protocol::EndedEarly)),
                "{events:?}"
            );
        }
    }
}

/// Returns the kind and the message of the error in a body, and whether the request is retried.
fn error_in(body: &[u8]) -> (ApiErrorKind, String, bool) {
    let (_, ended, run) = made(body);
    let Err(Error::Api(api)) = ended else {
        panic!("{ended:?}: {}", String::from_utf8_lossy(body))
    };
    assert_eq!(api.status, 200);
    let words = run.api_error().map(|words| plain(words.message)).filter(|words| !words.is_empty());
    let words = words.unwrap_or_else(|| String::from_utf8_lossy(run.error_body()).into_owned());
    (api.kind, words, run.attempt() > 0)
}

#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn an_error_is_told_in_the_servers_words_whatever_its_shape() {
    use ApiErrorKind::{InvalidRequest, Overloaded, Unknown};
    let cases: &[(&str, ApiErrorKind, &str, bool)] = &[
        (
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Busy"}}"#,
            Overloaded,
            "Busy",
            true,
        ),
        (
            r#"{"error":{"type":"invalid_request_error","message":"No"}}"#,
            InvalidRequest,
            "No",
            false,
        ),
        (
            r#"{"error":{"message":"upstream said no","type":"server_error","code":"500"}}"#,
            Unknown,
            "upstream said no",
            false,
        ),
        (r#"{"error":{"message":"no type"}}"#, Unknown, "no type", false),
        (r#"{"error":"as a text"}"#, Unknown, "as a text", false),
        (r#"{"type":"overloaded_error","message":"bare"}"#, Overloaded, "bare", true),
        (r#"{"error":{"type":"x"}}"#, Unknown, r#"{"error":{"type":"x"}}"#, false),
        // Only if the frame's name says that it is an error.
        (r#"{"message":"no capacity"}"#, Unknown, "no capacity", false),
        (r#"{"detail":"not now"}"#, Unknown, "not now", false),
        (r#""as a string""#, Unknown, "as a string", false),
        ("Internal Server Error", Unknown, "Internal Server Error", false),
        ("{ broken", Unknown, "{ broken", false),
        ("[1]", Unknown, "[1]", false),
    ];
    for (i, (data, kind, words, again)) in cases.iter().enumerate() {
        let expected = (*kind, (*words).to_owned(), *again);
        assert_eq!(
            error_in(&named(&[("message_start", START), ("error", data)])),
            expected,
            "{data}"
        );
        assert_eq!(error_in(&named(&[("error", data)])), expected, "{data}");
        if i < 7 {
            assert_eq!(error_in(&unnamed(&[data])), expected, "{data}");
            assert_eq!(error_in(&unnamed(&[START, data])), expected, "{data}");
            let mixed = [named(&[("message_start", START)]), unnamed(&[data])].concat();
            assert_eq!(error_in(&mixed), expected, "{data}");
            assert_eq!(
                error_in(&named(&[("message_start", START), ("content_block_delta", data)])),
                expected,
                "{data}"
            );
            // As the whole body, and as the last frame without a blank line.
            assert_eq!(error_in(data.as_bytes()), expected, "{data}");
            assert_eq!(
                error_in(&[&unnamed(&[START]), b"data: ".as_slice(), data.as_bytes()].concat()),
                expected,
                "{data}"
            );
        }
        if *data != "{ broken" {
            assert_eq!(
                error_in(format!("event: error\ndata: {data}\n").as_bytes()),
                expected,
                "{data}"
            );
        }
    }
    // An error that was cut is a reply that broke off.
    let cut = [&unnamed(&[START]), b"event: error\ndata: {\"error\":{".as_slice()].concat();
    assert_eq!(made(&cut).1, Err(Error::Protocol(Protocol::EndedEarly)));
    for (body, words) in [
        (r#"{"detail":"Not authenticated"}"#, "Not authenticated"),
        (r#"{"message":"no such route"}"#, "no such route"),
    ] {
        assert_eq!(error_in(body.as_bytes()), (Unknown, words.to_owned(), false));
    }
}

/// A server that fails may close the connection anywhere in its last event. JSON that was cut is a
/// reply that broke off, and the request is sent again. A text is reported as far as it arrived.
#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn an_error_event_cut_at_every_byte_is_reported_or_is_a_reply_that_broke_off() {
    let json = r#"{"type":"error","error":{"type":"overloaded_error","message":"Busy"}}"#;
    let (text, head) = ("Internal Server Error", "event: error\ndata: ");
    for data in [json, text] {
        let frame = format!("{head}{data}\n\n");
        for cut in 0..=frame.len() {
            let (part, _) = frame.split_at(cut);
            let body = [named(&[("message_start", START)]), part.as_bytes().to_vec()].concat();
            let arrived = part.strip_prefix(head).unwrap_or_default().trim_end_matches('\n');
            if arrived.is_empty() || (data == json && arrived != json) {
                let (_, ended, run) = made(&body);
                assert_eq!(ended, Err(Error::Protocol(Protocol::EndedEarly)), "{part}");
                assert_eq!(run.attempt(), 1, "{part}");
            } else if data == json {
                let busy = (ApiErrorKind::Overloaded, "Busy".to_owned(), true);
                assert_eq!(error_in(&body), busy, "{part}");
            } else {
                let words = (ApiErrorKind::Unknown, arrived.to_owned(), false);
                assert_eq!(error_in(&body), words, "{part}");
            }
        }
    }
}

#[test]
fn what_is_no_reply_is_kept_to_be_shown() {
    let openai = r#"{"id":"chatcmpl-1","object":"chat.completion","choices":[]}"#;
    for (body, error) in [
        (openai.as_bytes().to_vec(), Protocol::NotAMessage),
        (b"<html>nginx</html>".to_vec(), Protocol::NotAReply),
        (b"Bad Gateway".to_vec(), Protocol::NotAReply),
    ] {
        let mut run = Run::new(Transcript::growing());
        run.user("Hi").unwrap();
        let (_, ended) = exchange(&mut run, 200, [body.as_slice()]);
        assert_eq!(ended, Err(Error::Protocol(error)));
        // The request is not retried.
        assert!(run.failed(ended.unwrap_err(), Instant::ZERO, 0).is_err());
        assert_eq!(run.error_body(), body);
    }
    let (_, ended, run) = made(&unnamed(&[START, "what is this"]));
    assert!(matches!(ended, Err(Error::Protocol(Protocol::Json { .. }))));
    assert_eq!(run.error_body(), b"what is this");
    // Only the start of a long body is kept.
    let long = format!("{{\"x\":\"{}\"}}", "y".repeat(2000));
    assert_eq!(made(long.as_bytes()).2.error_body(), &long.as_bytes()[..512]);
    // Nothing is kept of an event in the wrong order.
    let (_, ended, run) = made(&unnamed(&[TEXT]));
    assert!(matches!(ended, Err(Error::Protocol(Protocol::Event { .. }))));
    assert_eq!(run.error_body(), b"");
}

#[test]
fn a_block_of_two_types_is_none() {
    for (first, second) in
        [("text", "tool_use"), ("tool_use", "text"), ("tool_use", "server_tool_use")]
    {
        let block = format!(
            r#"{{"type":"{first}","text":"x","id":"a","name":"b","input":{{}},"t\u0079pe":"{second}"}}"#
        );
        let start =
            format!(r#"{{"type":"content_block_start","index":0,"content_block":{block}}}"#);
        let whole = format!(r#"{{"content":[{block}],"stop_reason":"tool_use"}}"#);
        for body in [unnamed(&[START, &start, STOP, REASON, END]), whole.into_bytes()] {
            assert!(
                matches!(made(&body).1, Err(Error::Protocol(Protocol::Event { .. }))),
                "{first} {second}"
            );
        }
    }
    let whole =
        r#"{"content":[{"type":"text","type":"text","text":"Hi"}],"stop_reason":"end_turn"}"#;
    assert_eq!(content(whole.as_bytes()).as_array().unwrap().len(), 1);
}

#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn an_input_in_another_form_is_the_object() {
    let object = r#"{"q":"a \"b\" 😀 \n","n":[1,{"x":null}]}"#;
    let quoted = serde_json::to_string(object).unwrap();
    let ascii = quoted.replace('😀', r"\ud83d\ude00");
    let value: Json = serde_json::from_str(object).unwrap();
    let inputs = [
        ("null", json!({})),
        ("\"\"", json!({})),
        ("\"{}\"", json!({})),
        (&*quoted, value.clone()),
        (&*ascii, value.clone()),
        (r#""  {\"a\":1} ""#, json!({"a":1})),
        // An input without an object is the model's mistake.
        ("\"x\"", json!({"INVALID_JSON":"\"x\""})),
        (r#""[1]""#, json!({"INVALID_JSON":r#""[1]""#})),
        (r#""{\"a\":""#, json!({"INVALID_JSON":r#""{\"a\":""#})),
        ("7", json!({"INVALID_JSON":"7"})),
        ("[]", json!({"INVALID_JSON":"[]"})),
    ];
    for (input, expected) in &inputs {
        for kind in ["tool_use", "server_tool_use"] {
            let block = format!(
                r#"{{"type":"{kind}","id":"a","name":"b","input":{input},"caller":{{"type":"direct"}}}}"#
            );
            let whole = format!(
                r#"{{"content":[{block},{{"type":"text","text":"x"}}],"stop_reason":"end_turn"}}"#
            );
            assert_eq!(content(whole.as_bytes())[0]["input"], *expected, "{input}");
            assert_eq!(content(whole.as_bytes())[0]["caller"], json!({"type":"direct"}), "{input}");
            assert_eq!(content(whole.as_bytes())[1], json!({"type":"text","text":"x"}), "{input}");
            let start =
                format!(r#"{{"type":"content_block_start","index":0,"content_block":{block}}}"#);
            // A server's call that nothing follows stays only if the turn was paused.
            let paused = REASON.replace("end_turn", "pause_turn");
            assert_eq!(
                content(&unnamed(&[START, &start, STOP, &paused, END]))[0]["input"],
                *expected,
                "{input}"
            );
        }
    }
    // In deltas: a string that holds the object; `null` is what the model wrote.
    for (input, expected) in [
        (&*quoted, value),
        ("null", json!({"INVALID_JSON":"null"})),
        ("\"x\"", json!({"INVALID_JSON":"\"x\""})),
    ] {
        let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"b","input":{}}}"#;
        let delta = json!({"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":input}}).to_string();
        assert_eq!(
            content(&unnamed(&[START, start, &delta, STOP, REASON, END]))[0]["input"],
            expected,
            "{input}"
        );
    }
    // Without any input.
    let whole =
        br#"{"content":[{"type":"tool_use","id":"a","name":"b"}],"stop_reason":"tool_use"}"#;
    assert_eq!(content(whole)[0]["input"], json!({}));
}

#[test]
fn a_whole_content_may_be_a_string_or_null() {
    assert_eq!(content(br#"{"content":null,"stop_reason":"end_turn"}"#), json!([]));
    assert_eq!(content(br#"{"content":"","stop_reason":"end_turn"}"#), json!([]));
    assert_eq!(
        content(br#"{"error":null,"content":"a \"b\"\n","stop_reason":"end_turn"}"#),
        text("a \"b\"\n")
    );
    let (events, ..) = made(br#"{"content":"ab","stop_reason":"end_turn"}"#);
    assert!(events.iter().any(|event| event == r#"Text { index: 0, text: "ab" }"#), "{events:?}");
}

#[test]
fn a_byte_order_mark_and_unknown_fields_are_passed_over() {
    let whole =
        "\u{feff}{\"content\":[{\"type\":\"text\",\"text\":\"Hi\"}],\"stop_reason\":\"end_turn\"}";
    assert_eq!(content(whole.as_bytes()), text("Hi"));
    assert_eq!(content(format!("\n{whole}").as_bytes()), text("Hi"));
    let stream =
        String::from_utf8(unnamed(&[START, TEXT, &delta("Hi"), STOP, REASON, END])).unwrap();
    for before in [
        "\u{feff}",
        "foo: bar\n",
        "foo\n",
        "\u{feff}foo: bar\n\n",
        "x-request: 1\r\n\r\n",
        "?\n",
        "[1]\n",
    ] {
        assert_eq!(content(format!("{before}{stream}").as_bytes()), text("Hi"), "{before:?}");
    }
}

/// Returns a text as the events report it, and as it is in the message.
fn told(events: &[String], deltas: &[&str]) -> (String, String) {
    let all: Vec<&str> = [START, TEXT]
        .into_iter()
        .chain(deltas.iter().copied())
        .chain(events.iter().map(String::as_str))
        .collect();
    let body = unnamed(&all);
    let mut run = Run::new(Transcript::growing());
    run.user("Hi").unwrap();
    run.step(Instant::ZERO).unwrap();
    run.head_arrived(&ReplyHead::new(200));
    let (mut shown, mut rest) = (String::new(), body.as_slice());
    let mut see = |event: &Event<'_>| {
        if let Event::Text { text, .. } = event {
            shown += &text.to_string();
        }
    };
    while let Some(stream_event) = run.feed(&mut rest).unwrap() {
        see(&run.mark_shown(stream_event));
    }
    while let Some(stream_event) = run.end_of_body().unwrap() {
        see(&run.mark_shown(stream_event));
    }
    let said = run.last_message().unwrap().texts().map(|text| text.to_string()).collect();
    (shown, said)
}

#[test]
fn a_pair_cut_between_two_deltas_is_told_whole() {
    let citation = r#"{"type":"content_block_delta","index":0,"delta":{"type":"citations_delta","citation":{"n":1}}}"#;
    let cases: &[(&[&str], &str)] = &[
        (&[r"a\ud83d", r"\ude00b"], "a😀b"),
        (&[r"\ud83d", r"\ude00"], "😀"),
        (&[r"a\ud83d", "", r"\ude00b"], "a😀b"),
        (&[r"a\ud83d", r"\ude00\ud83d", r"\ude01"], "a😀😁"),
        (&["a", r"\ud83d", "b", "c"], "a\u{fffd}bc"),
        (&[r"a\ud83d", r"\ud83d\ude00"], "a\u{fffd}😀"),
        (&[r"a\ude00", "b"], "a\u{fffd}b"),
        (&[r"a\ud83d"], "a\u{fffd}"),
        (&[r"a\\ud83d", r"b"], r"a\ud83db"),
        (&[r"a\\\ud83d", r"\ude00"], r"a\😀"),
        (&[r"a\ud83d", "CITATION", r"\ude00b"], "a😀b"),
        (&[r"a\ud83d", "CITATION"], "a\u{fffd}"),
    ];
    for (pieces, expected) in cases {
        let deltas: Vec<String> = pieces
            .iter()
            .map(|piece| if *piece == "CITATION" { citation.to_owned() } else { delta(piece) })
            .collect();
        let deltas: Vec<&str> = deltas.iter().map(String::as_str).collect();
        // Also if the block's end is omitted.
        for end in [vec![STOP, REASON, END], vec![REASON, END], vec![STOP, REASON]] {
            let end: Vec<String> = end.into_iter().map(str::to_owned).collect();
            assert_eq!(
                told(&end, &deltas),
                ((*expected).to_owned(), (*expected).to_owned()),
                "{pieces:?}"
            );
            let all: Vec<&str> = [START, TEXT]
                .into_iter()
                .chain(deltas.iter().copied())
                .chain(end.iter().map(String::as_str))
                .collect();
            // Cut at any place, the events are the same.
            assert_eq!(made(&unnamed(&all)).1, Ok(()));
        }
    }
}

#[test]
fn halves_in_an_input_are_told_too() {
    let start = r#"{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"a","name":"b","input":{}}}"#;
    for (pieces, expected) in [
        (vec![r#"{\"a\":\"\ud83d"#, r#"\ude00\"}"#], r#"{"a":"😀"}"#),
        (vec![r#"{\"a\":\"\ud83d"#, r#"x\"}"#], r#"{"a":"\ud83dx"}"#),
        (vec![r#"{\"a\":\"\ud83d"#], r#"{"a":"\ud83d"#),
    ] {
        let deltas = pieces.iter().map(|piece| {
            format!(r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"input_json_delta","partial_json":"{piece}"}}}}"#)
        });
        let deltas: Vec<String> = deltas.collect();
        let all: Vec<&str> = [START, start]
            .into_iter()
            .chain(deltas.iter().map(String::as_str))
            .chain([STOP, REASON, END])
            .collect();
        let (events, ..) = made(&unnamed(&all));
        let inputs = events
            .iter()
            .filter_map(|event| event.strip_prefix("Input { index: 0, json: ")?.strip_suffix(" }"));
        let told: String =
            inputs.map(|json| serde_json::from_str::<String>(json).unwrap()).collect();
        assert_eq!(told, expected);
    }
}
