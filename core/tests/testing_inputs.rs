//! Inputs that are generated from schemas, given to the tools that have these schemas.
#![cfg(all(feature = "testing", feature = "macros", feature = "std"))]
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking; the fields are shown by `Debug` only"
)]

extern crate alloc;

mod common;

use alloc::collections::{BTreeMap, BTreeSet};
use std::collections::HashSet;

use common::block_on;
use toolrunner_core::__private::check;
use toolrunner_core::drive::Driver;
use toolrunner_core::json::Value;
use toolrunner_core::run::Run;
use toolrunner_core::schema::RawSchema;
use toolrunner_core::testing::{
    GeneratedInput, InputKind, Script, ScriptedModel, ScriptedReply, ScriptedTransport,
    VirtualClock, inputs,
};
use toolrunner_core::tool::Toolbox;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::Config;
use toolrunner_core::{ToolInput, tool};

#[derive(Debug, ToolInput)]
#[tool(rename_all = "lowercase")]
enum Unit {
    Celsius,
    Fahrenheit,
}

#[derive(Debug, ToolInput)]
#[tool(tag = "kind")]
enum Shape {
    Circle { radius: f64 },
    Rectangle { sides: (u8, u8) },
}

#[derive(Debug, ToolInput)]
struct Item {
    name: String,
    #[tool(min = -5, max = 5)]
    count: Option<i8>,
}

/// Everything.
#[tool]
#[allow(clippy::too_many_arguments, reason = "all kinds of types")]
fn everything(
    unit: Unit,
    #[tool(default = 3)] days: u8,
    shape: Option<Shape>,
    #[tool(min_items = 1, max_items = 3)] items: Vec<Item>,
    names: BTreeMap<String, bool>,
    tags: BTreeSet<i16>,
    #[tool(min_len = 2, max_len = 4)] code: String,
    initial: char,
    #[tool(min = 0.5)] ratio: f32,
    timeout: core::time::Duration,
    address: Option<core::net::IpAddr>,
    pair: [i64; 2],
    any: Option<Value<'_>>,
) -> String {
    format!(
        "{unit:?} {days} {shape:?} {items:?} {names:?} {tags:?} {code} {initial} {ratio} {timeout:?} {address:?} {pair:?} {any:?}"
    )
}

/// Runs one call with this input, and returns its result as JSON and whether it is an error.
fn call<B: Toolbox>(tools: &B, name: &str, input: &str) -> Result<(String, bool), String> {
    let clock = VirtualClock::default();
    let script = Script::new()
        .reply(ScriptedReply::new().tool_use_cut("t1", name, input))
        .reply(ScriptedReply::text("."));
    let transport = ScriptedTransport::new(ScriptedModel::new(script));
    let mut driver = Driver::new(Config::new("m", 9), transport, tools, &clock).unwrap();
    let mut run = Run::new(Transcript::growing());
    run.user("Go.").unwrap();
    block_on(driver.until_done(&mut run, &mut ())).map_err(|error| error.to_string())?;
    let model = driver.transport_mut().model();
    assert_eq!(model.complaints(), &[] as &[String]);
    let message = model.requests()[1].messages().last().unwrap();
    let result = message.tool_results().next().unwrap();
    Ok((result.value().to_string(), result.is_error()))
}

fn definition<B: Toolbox>(tools: &B) -> &str {
    tools.definition(0).unwrap().json
}

#[test]
fn valid_inputs_are_accepted_and_nearly_valid_ones_are_refused_with_a_reason() {
    let tools = everything();
    let definition = definition(&tools);
    let value = Value::first(definition.as_bytes()).unwrap();
    let schema = RawSchema::new(value.member("input_schema").unwrap().as_json()).unwrap();
    let (mut counts, mut seen) = ([0; 3], HashSet::new());
    for seed in 0..4 {
        // The schema of an address of either version has no format.
        let inputs = inputs(definition, seed).unwrap().example("address", "\"::1\"");
        for GeneratedInput { kind, json, what, .. } in inputs.take(120) {
            let fits = check(json.as_bytes()).is_ok()
                && schema.check(Value::first(json.as_bytes()).unwrap()).is_ok();
            let result = call(&tools, "everything", &json);
            match kind {
                InputKind::Valid => {
                    counts[0] += 1;
                    assert!(fits, "{json}");
                    let (text, is_error) = result.unwrap();
                    assert!(!is_error, "{json}: {text}");
                    seen.insert(json);
                }
                InputKind::NearlyValid => {
                    counts[1] += 1;
                    assert!(!fits && !what.is_empty(), "{what}: {json}");
                    assert!(check(json.as_bytes()).is_ok() && json.starts_with('{'), "{json}");
                    let (text, is_error) = result.unwrap();
                    assert!(is_error && text.contains("invalid input for tool"), "{what}: {text}");
                }
                _ => {
                    counts[2] += 1;
                    assert!(!what.is_empty());
                    // The call is answered or the run ends with an error, and nothing panics.
                    if let Ok((text, is_error)) = result {
                        assert!(is_error || text.contains("\"content\":"), "{what}: {text}");
                    }
                }
            }
        }
    }
    assert_eq!(counts, [160, 160, 160]);
    assert!(seen.len() > 150, "{} different inputs", seen.len());
}

#[test]
fn one_seed_gives_the_same_inputs() {
    let tools = everything();
    let of = |seed| inputs(definition(&tools), seed).unwrap().take(60).collect::<Vec<_>>();
    assert_eq!(of(1), of(1));
    assert_ne!(of(1), of(2));
}

#[test]
fn schemas_of_other_sources_are_understood() {
    for schema in [
        r##"{"type":"object","properties":{"tree":{"$ref":"#/$defs/Tree"}},"required":["tree"],"$defs":{"Tree":{"type":"object","properties":{"value":{"type":"integer","exclusiveMinimum":3,"multipleOf":7,"maximum":30},"children":{"type":"array","items":{"$ref":"#/$defs/Tree"}}},"required":["value","children"],"additionalProperties":false}}}"##,
        r#"{"type":"object","properties":{"a":{"anyOf":[{"type":"string","minLength":30},{"type":"null"}]},"b":{"oneOf":[{"const":1},{"const":"x"}]},"c":{"allOf":[{"type":"object","properties":{"p":{"type":"boolean"}},"required":["p"]},{"type":"object","properties":{"q":{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":0.25}},"required":["q"]}]}},"required":["a","b","c"]}"#,
        r#"{"type":"object","additionalProperties":{"type":"string","maxLength":3},"minProperties":2}"#,
        r#"{"type":"object","properties":{"list":{"type":"array","items":{"type":"integer","minimum":1,"maximum":3},"uniqueItems":true,"minItems":3},"t":{"type":["string","integer"]},"p":{"type":"array","prefixItems":[{"type":"boolean"},{"enum":["a","b"]}],"minItems":2}},"required":["list","p"]}"#,
    ] {
        let check_of = RawSchema::new(schema).unwrap();
        let mut nearly = 0;
        for input in inputs(schema, 3).unwrap().take(300) {
            let value = || Value::first(input.json.as_bytes()).unwrap();
            match input.kind {
                InputKind::Valid => assert!(check_of.check(value()).is_ok(), "{}", input.json),
                InputKind::NearlyValid => {
                    nearly += 1;
                    assert!(check_of.check(value()).is_err(), "{}: {}", input.what, input.json);
                }
                _ => {}
            }
        }
        assert_eq!(nearly, 100, "{schema}");
    }
}

#[test]
fn examples_give_what_the_schema_does_not_say() {
    let schema = r#"{"type":"object","properties":{"color":{"type":"string","pattern":"^#[0-9a-f]{6}$"}},"required":["color"]}"#;
    let inputs = inputs(schema, 1).unwrap().example("color", r##""#ff8000""##);
    for input in inputs.take(90).filter(|input| input.kind == InputKind::Valid) {
        assert_eq!(input.json, r##"{"color":"#ff8000"}"##);
    }
}

#[test]
fn what_is_no_schema_or_fits_nothing_is_an_error() {
    for (schema, text) in [
        ("", "a schema must be a JSON object with members"),
        ("[]", "a schema must be a JSON object with members"),
        (
            r#"{"type":"object","properties":{"a":{"type":"integer","minimum":5,"maximum":4}},"required":["a"]}"#,
            "no value that fits the schema was found in 200 attempts",
        ),
    ] {
        let error = inputs(schema, 1).unwrap_err().to_string();
        assert!(error.starts_with(text), "{error}");
    }
}
