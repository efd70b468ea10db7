//! Inputs of types that implement `Deserialize`, read without a heap, and results that implement
//! `Serialize`.
#![cfg(all(feature = "macros", feature = "serde-json-core"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use serde::{Deserialize, Serialize};
use toolrunner_core::ToolInput;
use toolrunner_core::json::{Text, Value};
use toolrunner_core::schema::{InputError, Schema};
use toolrunner_core::tool::{AnyJson, Decoder, Json, Output, ToolCall, Toolbox};

#[derive(Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mode {
    Fast,
    Slow,
}

/// A type as a program has it for another protocol, such as MQTT.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Blind<'a> {
    room: &'a str,
    percent: u8,
    mode: Option<Mode>,
    #[serde(default)]
    steps: [i16; 2],
}

fn read<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, String> {
    let input = Value::first(json.as_bytes()).unwrap();
    // As long as the input, as a tool gets it. Leaked because the values may borrow it.
    let scratch = vec![0; json.len()].leak();
    Decoder::new(input, scratch)
        .deserialize(input)
        .map_err(|error: InputError<'_>| error.explain(input).to_string())
}

#[test]
fn values() {
    assert_eq!(
        read(
            r#" {"room":"Küche","extra":{"a":[1,"]"]},"percent":40,"mode":"slow","steps":[-1,2]}"#
        ),
        Ok(Blind { room: "Küche", percent: 40, mode: Some(Mode::Slow), steps: [-1, 2] })
    );
    assert_eq!(
        read(r#"{"room":"Bad","percent":0,"mode":null}"#),
        Ok(Blind { room: "Bad", percent: 0, mode: None, steps: [0, 0] })
    );
    assert_eq!(read(r#"["a\n\u00e9","b"]"#), Ok([String::from("a\né"), String::from("b")]));
    assert_eq!(read("[1.5e1,-2]"), Ok([15.0, -2.0]));
}

#[test]
fn errors_name_the_place() {
    let blind = |json| read::<Blind<'_>>(json).unwrap_err();
    for (json, error) in [
        (
            r#"{"room":"a","percent":256}"#,
            "percent: expected a number in the range of the argument, got 256",
        ),
        (
            r#"{"room":"a","percent":-1}"#,
            "percent: expected a number in the range of the argument, got -1",
        ),
        (
            r#"{"room":"a","percent":40.5}"#,
            "percent: expected an integer without a fraction or an exponent, got 40.5",
        ),
        (r#"{"room":5,"percent":4}"#, "room: expected a value of another type, got 5"),
        (
            r#"{"room":"a","percent":4,"steps":[1,"b"]}"#,
            "steps[1]: expected a value of another type, got \"b\"",
        ),
        (r#"{"room":"a","percent":4,"steps":[1,2,3]}"#, "steps: expected fewer items, got array"),
        (
            r#"{"room":"a","percent":4,"mode":"odd"}"#,
            "mode: expected a value that the tool's description allows, got \"odd\"",
        ),
        (
            r#"{"room":"a"}"#,
            "input: expected the members that the tool's description states, got object",
        ),
        ("[]", "input: expected a value of another type, got array"),
    ] {
        assert_eq!(blind(json), error, "{json}");
    }
    assert_eq!(
        read::<u8>("5.0").unwrap_err(),
        "input: expected an integer without a fraction or an exponent, got 5.0"
    );
}

/// A member that the type does not know may be nested as deep as the model likes, which must not
/// overflow the stack.
#[test]
fn deep_input() {
    let nested = |levels: usize| {
        format!(r#"{{"x":{}{},"room":"a","percent":4}}"#, "[".repeat(levels), "]".repeat(levels))
    };
    assert!(read::<Blind<'_>>(nested(15).leak()).is_ok());
    assert_eq!(
        read::<Blind<'_>>(nested(16).leak()).unwrap_err(),
        "input: expected nested at most 16 levels, got object"
    );
    assert!(read::<Blind<'_>>(nested(100_000).leak()).is_err());
}

/// An argument with a schema of its own.
struct Level(u8);

impl<'a> ToolInput<'a> for Level {
    const SCHEMA: &'static Schema = &Schema::INTEGER;

    fn decode(value: Value<'a>, decoder: &mut Decoder<'a>) -> Result<Self, InputError<'static>> {
        decoder.deserialize(value).map(Self)
    }
}

struct Board;

#[toolrunner_core::toolbox]
impl Board {
    /// Move a blind.
    #[tool]
    fn blind(&self, target: AnyJson<Blind<'_>>) -> Json<(u8, Option<Mode>)> {
        Json((target.0.percent, target.0.mode))
    }

    /// Set a level.
    #[tool]
    fn level(&self, level: Level) -> u8 {
        level.0
    }
}

fn call(name: &str, input: &str) -> (String, bool) {
    let mut memory = [0; 512];
    let mut scratch = [0; 256];
    let mut out = Output::new(&mut memory);
    let index = (0..2).find(|i| Board.definition(*i).unwrap().name == name).unwrap();
    let call = ToolCall::new(
        Text::from_raw("toolu_1"),
        Text::from_raw(name),
        Value::first(input.as_bytes()).unwrap(),
        &mut scratch,
    );
    let failed = {
        let mut future = core::pin::pin!(Board.call(index, call, &mut out));
        let mut context = core::task::Context::from_waker(core::task::Waker::noop());
        let core::task::Poll::Ready(ended) = future.as_mut().poll(&mut context) else {
            panic!("a tool that does not wait")
        };
        ended.is_err()
    };
    (String::from_utf8(out.finish().unwrap().to_vec()).unwrap(), failed)
}

#[test]
fn in_tools() {
    let (text, failed) = call("blind", r#"{"target":{"room":"a","percent":7,"mode":"fast"}}"#);
    assert_eq!((text.as_str(), failed), (r#""[7,\"fast\"]""#, false));
    let (text, failed) = call("blind", r#"{"target":{"room":"a","percent":"7"}}"#);
    let error = r#""Error: invalid input for tool 'blind': target.percent: expected a value of another type, got \"7\"""#;
    assert_eq!((text.as_str(), failed), (error, true));
    let (text, failed) = call("level", r#"{"level":300}"#);
    let error = r#""Error: invalid input for tool 'level': level: expected a number in the range of the argument, got 300""#;
    assert_eq!((text.as_str(), failed), (error, true));
}
