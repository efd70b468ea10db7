//! Data nested 100 000 levels deep, in every place where it can enter, on a stack of 64 KiB: it
//! gives a clear error or an answer. Nothing recurses, which `tests/no-panic/image.py` also checks
//! in the images.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
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

use common::{end, exchange, feed, rendered, say};
use toolrunner_core::error::{Error, Misuse, Protocol};
use toolrunner_core::json::{Text, Value};
use toolrunner_core::message::OwnedMessage;
use toolrunner_core::run::{Run, Step, ToolAnswer};
use toolrunner_core::schema::{Property, RawSchema, Schema};
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::testing::{ScriptedReply, Style};
use toolrunner_core::time::Instant;
use toolrunner_core::tool::{DeclaredTool, Output, RawTool, ToolCall, Toolbox};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;

const LEVELS: usize = 100_000;
/// A chip might have this much; a test's thread has 2 MiB.
const STACK: usize = 64 * 1024;

/// Runs `test` on a small stack. An overflow ends the program.
fn on_a_small_stack(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, test)
            .unwrap()
            .join()
            .unwrap();
    });
}

/// Returns arrays in arrays, and objects in objects, with this many levels.
fn nested(levels: usize) -> [String; 2] {
    [
        ["[".repeat(levels), "]".repeat(levels)].concat(),
        ["{\"a\":".repeat(levels), "1".to_owned(), "}".repeat(levels)].concat(),
    ]
}

#[test]
fn json_and_what_is_made_of_it() {
    on_a_small_stack(|| {
        for deep in nested(LEVELS) {
            let error = toolrunner_core::__private::check(deep.as_bytes()).unwrap_err();
            assert_eq!(error.expected, "at most 122 levels");
            // A view of unchecked data works.
            let value = Value::first(deep.as_bytes()).unwrap();
            let (mut inner, mut levels) = (value, 0);
            while let Some(next) = inner
                .elements()
                .next()
                .or_else(|| inner.members().next().map(|(_, value)| value))
                .filter(|_| levels < 50)
            {
                (inner, levels) = (next, levels + 1);
            }
            assert_eq!(levels, 50);
            let message = format!(r#"{{"role":"user","content":[{{"type":"x","x":{deep}}}]}}"#);
            assert!(OwnedMessage::from_json(&message).is_err());
            assert!(validity::check(message.as_bytes(), Tail::Open).is_err());
            let mut run = Run::new(Transcript::growing());
            assert!(matches!(run.append(&message), Err(Error::Misuse(Misuse::Invalid(_)))));
            assert!(matches!(
                run.replace_history(&message),
                Err(Error::Misuse(Misuse::Invalid(_)))
            ));
            let snapshot = format!(r#"{{"toolrunner_snapshot":1,"messages":[{message}]}}"#);
            assert!(Run::from_snapshot(snapshot.as_bytes(), Transcript::growing()).is_err());
        }
    });
}

#[test]
fn a_raw_schema() {
    on_a_small_stack(|| {
        const TEXT: &str = "unexpected JSON: at most 122 levels";
        for rule in ["items", "not", "additionalProperties"] {
            let schema = format!("{{\"{rule}\":").repeat(LEVELS) + "{}" + &"}".repeat(LEVELS);
            let definition = format!(r#"{{"name":"x","input_schema":{schema}}}"#);
            assert_eq!(RawSchema::new(&schema).unwrap_err().to_string(), TEXT);
            assert_eq!(DeclaredTool::new(definition.clone()).unwrap_err().to_string(), TEXT);
            assert_eq!(
                RawTool::direct(definition, |_, _| Ok(())).map(|_| ()).unwrap_err().to_string(),
                TEXT
            );
            assert_eq!(
                RawTool::new("x", "", &schema, async |_| "").map(|_| ()).unwrap_err().to_string(),
                TEXT
            );
        }
        // As deep as JSON may be: the schema allows fewer levels, and a schema whose check does not
        // reach the end refuses.
        let [deep, _] = nested(126);
        let schema = RawSchema::new(r##"{"items":{"$ref":"#"}}"##).unwrap();
        let value = Value::first(deep.as_bytes()).unwrap();
        let error = schema.check(value).unwrap_err();
        assert!(
            error.explain(value).to_string().ends_with(": expected at most 32 levels, got array")
        );
    });
}

/// A schema that contains itself, which no tool's schema can.
static LIST: Schema = Schema::array(&LIST);
static TREE: Schema = Schema::object(&[Property::required("a", Schema::map(&TREE))]);

#[test]
fn a_value_under_a_schema() {
    on_a_small_stack(|| {
        let [arrays, objects] = nested(LEVELS);
        let arrays = Value::first(arrays.as_bytes()).unwrap();
        let objects = Value::first(objects.as_bytes()).unwrap();
        for any in
            [Schema::ANY, Schema::array(&Schema::ANY), Schema::array(&Schema::ANY).nullable()]
        {
            assert!(any.check(arrays).is_ok());
        }
        static ANY: Schema = Schema::object(&[Property::required("a", Schema::ANY)]);
        assert!(ANY.check(objects).is_ok());
        assert!(
            RawSchema::new(r#"{"properties":{"a":{}},"items":true}"#)
                .unwrap()
                .check(objects)
                .is_ok()
        );
        // If nothing else ends the check, the limit of levels does.
        let error = LIST.check(arrays).unwrap_err();
        assert_eq!(
            error.explain(arrays).to_string(),
            format!("input{}: expected at most 16 levels, got array", "[0]".repeat(16))
        );
        let error = TREE.check(objects).unwrap_err();
        assert_eq!(
            error.explain(objects).to_string(),
            format!("{}: expected at most 16 levels, got object", ["a"; 16].join("."))
        );
    });
}

#[test]
fn a_tools_input_and_result() {
    on_a_small_stack(|| {
        let echo = RawTool::direct(
            r#"{"name":"echo","input_schema":{"type":"object","properties":{"a":{}}}}"#.to_owned(),
            |input, out| {
                assert!(out.content(input.as_json()).is_err());
                Ok(out.text(input.as_json())?)
            },
        )
        .unwrap();
        let [_, deep] = nested(LEVELS);
        let (mut memory, mut scratch) = (Vec::new(), vec![0; deep.len()]);
        let mut out = Output::growing(&mut memory);
        let call = ToolCall::new(
            Text::from_raw("toolu_1"),
            Text::from_raw("echo"),
            Value::first(deep.as_bytes()).unwrap(),
            &mut scratch,
        );
        assert!(common::block_on(echo.call(0, call, &mut out)).is_ok());
        assert!(out.finish().unwrap().len() > deep.len());
    });
}

/// Returns a reply that has a block of an unknown kind with `value` in it, complete or streamed.
fn reply(value: &str, stream: bool) -> Vec<u8> {
    let reply = ScriptedReply::new().block(&format!(r#"{{"type":"hologram","x":{value}}}"#));
    rendered(reply, Style::default(), stream)
}

#[test]
fn a_reply() {
    let bodies: Vec<Vec<u8>> =
        nested(LEVELS).iter().flat_map(|deep| [reply(deep, true), reply(deep, false)]).collect();
    on_a_small_stack(|| {
        for body in bodies {
            let mut run = Run::new(Transcript::growing());
            run.user("Hi").unwrap();
            let (_, ended) = exchange(&mut run, 200, body.chunks(1000));
            let error = ended.unwrap_err();
            assert!(
                matches!(
                    error,
                    Error::Protocol(Protocol::Json { expected, .. }) if expected == "at most 122 levels"
                ),
                "{error}"
            );
            let _ = run.failed(error, Instant::ZERO, 0);
            run.stop();
            run.resume();
            say(&mut run, ScriptedReply::text("Hello"));
        }
    });
}

/// Everything that was accepted is sent back in a request that a parser with the usual limit
/// accepts.
#[test]
fn a_request_is_not_deeper_than_common_parsers_take() {
    let sent = |run: &mut Run<'_>| {
        assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
        let body: Vec<u8> =
            run.body(&[b"{\"model\":\"m\",\"messages\":["]).pieces().flatten().copied().collect();
        let parsed: Result<serde_json::Value, _> = serde_json::from_slice(&body);
        assert!(parsed.is_ok(), "{}: {}", parsed.unwrap_err(), String::from_utf8_lossy(&body));
    };
    let mut taken = [0; 4];
    for levels in 100..130 {
        for deep in nested(levels) {
            for stream in [true, false] {
                // A call with such an input, and such a result.
                let mut run = Run::new(Transcript::growing());
                run.user("Hi").unwrap();
                assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
                run.head_arrived(&ReplyHead::new(200));
                let input = format!("{{\"x\":{deep}}}");
                let call = rendered(
                    ScriptedReply::new().tool_use("t1", "a", &input),
                    Style::default(),
                    stream,
                );
                if feed(&mut run, &call, &mut Vec::new())
                    .and_then(|()| end(&mut run, &mut Vec::new()))
                    .is_err()
                {
                    continue;
                }
                assert_eq!(run.step(Instant::ZERO), Ok(Step::Call));
                if !run.refuse_bad_input(0.into()).unwrap() {
                    taken[usize::from(stream)] = levels;
                    let result = format!(r#"[{{"type":"x","x":{deep}}}]"#);
                    if run.answer(0.into(), ToolAnswer::ok_json(result.as_bytes())).is_ok() {
                        taken[2] = levels;
                    } else {
                        run.answer(0.into(), ToolAnswer::ok("ok")).unwrap();
                    }
                }
                sent(&mut run);
            }
            // Messages of the caller.
            let mut run = Run::new(Transcript::growing());
            run.user("Hi").unwrap();
            if run
                .append(&format!(r#"{{"role":"user","content":[{{"type":"x","x":{deep}}}]}}"#))
                .is_ok()
            {
                taken[3] = levels;
                sent(&mut run);
            }
        }
    }
    assert_eq!(taken, [118, 121, 120, 122]);
}

/// The deepest possible reply is kept, saved and restored.
#[test]
fn as_deep_as_may_be() {
    for stream in [true, false] {
        let mut deepest = 0;
        for levels in (100..127).rev() {
            for deep in nested(levels) {
                let mut run = Run::new(Transcript::growing());
                run.user("Hi").unwrap();
                assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
                run.head_arrived(&ReplyHead::new(200));
                let fed = feed(&mut run, &reply(&deep, stream), &mut Vec::new());
                if fed.and_then(|()| end(&mut run, &mut Vec::new())).is_err() {
                    continue;
                }
                deepest = deepest.max(levels);
                let mut snapshot = Vec::new();
                run.snapshot(&mut snapshot).unwrap();
                let restored = Run::from_snapshot(&snapshot, Transcript::growing());
                assert_eq!(
                    restored.map(|run| run.messages().to_vec()).unwrap(),
                    run.messages(),
                    "{levels} stream {stream}"
                );
            }
        }
        assert_eq!(deepest, if stream { 120 } else { 119 });
    }
}
