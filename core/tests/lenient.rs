//! Inputs that are read leniently, only if the tool requests it.
#![cfg(all(feature = "macros", feature = "alloc", feature = "serde-json"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests"
)]

use toolrunner_core::json::{Text, Value};
use toolrunner_core::tool;
use toolrunner_core::tool::{Output, RawTool, ToolCall, Toolbox};

/// Takes everything.
#[tool(lenient)]
fn take(
    number: i64,
    list: Vec<u8>,
    on: bool,
    text: &str,
    #[tool(default = 7)] size: u32,
    maybe: Option<String>,
) -> String {
    format!("{number} {list:?} {on} {text} {size} {maybe:?}")
}

/// Takes what was asked for.
#[tool]
fn strict(number: i64, #[tool(default = 7)] size: u32) -> String {
    format!("{number} {size}")
}

const SCHEMA: &str = r#"{"type":"object","properties":{"n":{"type":"integer"},"l":{"type":"array","items":{"type":"integer"}},
    "s":{"type":"string"},"d":{"type":"integer","default":3},"o":{"type":"integer","nullable":true},
    "r":{"type":"string","nullable":true}},"required":["n","r"]}"#;

fn call(tool: &impl Toolbox, input: &str) -> Result<String, String> {
    let (mut memory, mut scratch) = (Vec::new(), vec![0; input.len()]);
    let mut out = Output::growing(&mut memory);
    let call = ToolCall::new(
        Text::from_raw("t"),
        Text::from_raw("n"),
        Value::first(input.as_bytes()).unwrap(),
        &mut scratch,
    );
    let done = {
        let running = std::pin::pin!(tool.call(0, call, &mut out));
        match running.poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
            std::task::Poll::Ready(done) => done,
            std::task::Poll::Pending => panic!("no tool here waits"),
        }
    };
    let failed = done.map_err(|error| error.write_to(&mut out).unwrap()).is_err();
    let text: String = serde_json::from_slice(out.finish().unwrap()).unwrap();
    if failed { Err(text) } else { Ok(text) }
}

#[test]
fn a_tool_that_asks_for_it_takes_json_in_strings_and_null_for_what_is_missing() {
    let all = r#"{"number":"5","list":"[1, 2]","on":"true","text":"5","size":null,"maybe":null}"#;
    assert_eq!(call(&take, all).unwrap(), "5 [1, 2] true 5 7 None");
    let escaped = r#"{"number":"\u0035","list":" [ 1 ] ","on":false,"text":"a \"b\"","size":"9","maybe":"null"}"#;
    assert_eq!(call(&take, escaped).unwrap(), "5 [1] false a \"b\" 9 Some(\"null\")");
    // Any other JSON is still an error, and so is null for a required argument.
    let told = "Error: invalid input for tool 'take': ";
    for (input, error) in [
        (
            r#"{"number":"five","list":[],"on":true,"text":""}"#,
            "number: expected integer, got \"five\"",
        ),
        (
            r#"{"number":"5.5","list":[],"on":true,"text":""}"#,
            "number: expected integer, got \"5.5\"",
        ),
        (r#"{"number":null,"list":[],"on":true,"text":""}"#, "number: expected integer, got null"),
        (r#"{"number":1,"list":"[1","on":true,"text":""}"#, "list: expected array, got \"[1\""),
        (
            r#"{"number":1,"list":["1"],"on":true,"text":""}"#,
            "list[0]: expected integer, got \"1\"",
        ),
        (r#"{"number":1,"list":[],"on":true,"text":5}"#, "text: expected string, got 5"),
    ] {
        assert_eq!(call(&take, input).unwrap_err(), format!("{told}{error}"));
    }
}

#[test]
fn others_do_not() {
    for (input, error) in [
        (r#"{"number":"5"}"#, "number: expected integer, got \"5\""),
        (r#"{"number":5,"size":null}"#, "size: expected integer, got null"),
    ] {
        assert_eq!(
            call(&strict, input).unwrap_err(),
            format!("Error: invalid input for tool 'strict': {error}")
        );
    }
}

#[test]
fn a_raw_tool_takes_nullable_too() {
    let definition = format!(r#"{{"name":"raw","input_schema":{SCHEMA}}}"#);
    let tool = || {
        RawTool::direct(definition.clone(), |input: Value<'_>, out: &mut Output<'_>| {
            Ok(out.text(input.as_json())?)
        })
        .unwrap()
    };
    let input = r#"{"n":"5","l":"[1,2]","s":"5","d":null,"o":null,"r":null,"more":"1"}"#;
    assert_eq!(
        call(&tool().lenient(), input).unwrap(),
        r#"{"n":5,"l":[1,2],"s":"5","o":null,"r":null,"more":"1"}"#
    );
    let told = "Error: invalid input for tool 'raw': ";
    assert_eq!(
        call(&tool().lenient(), r#"{"n":"x","r":""}"#).unwrap_err(),
        format!("{told}n: expected integer, got \"x\"")
    );
    for (input, error) in [
        (r#"{"n":"5","r":""}"#, "n: expected integer, got \"5\""),
        (r#"{"n":5,"r":null}"#, "r: expected string, got null"),
        (r#"{"n":5,"r":"","d":null}"#, "d: expected integer, got null"),
    ] {
        assert_eq!(call(&tool(), input).unwrap_err(), format!("{told}{error}"));
    }
}
