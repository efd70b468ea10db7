//! JSON Schema text: what is checked, what is ignored, and the error texts.
#![allow(clippy::unwrap_used, clippy::std_instead_of_core, reason = "tests")]

use toolrunner_core::json::Value;
use toolrunner_core::schema::RawSchema;

fn check(schema: &str, value: &str) -> Result<(), String> {
    let value = Value::first(value.as_bytes()).unwrap();
    RawSchema::new(schema).unwrap().check(value).map_err(|error| error.explain(value).to_string())
}

#[test]
fn the_words() {
    for (schema, value, text) in [
        (r#"{"type":"string"}"#, "5", "input: expected string, got 5"),
        (r#"{"type":["string","null"]}"#, "[]", "input: expected string or null, got array"),
        (r#"{"enum":["a",1,null]}"#, "2", "input: expected one of \"a\", 1, null, got 2"),
        (r#"{"const":{"a":1}}"#, "{}", "input: expected exactly {\"a\":1}, got object"),
        (r#"{"minimum":1.5}"#, "1.4", "input: expected at least 1.5, got 1.4"),
        (r#"{"exclusiveMaximum":3}"#, "3.0", "input: expected less than 3, got 3.0"),
        (r#"{"multipleOf":0.1}"#, "0.35", "input: expected a multiple of 0.1, got 0.35"),
        (r#"{"minLength":2}"#, "\"\u{1F600}\"", "input: expected at least 2 characters, got 1"),
        (r#"{"items":{"maxItems":1}}"#, "[[1],[1,2]]", "input[1]: expected at most 1 item, got 2"),
        (
            r#"{"required":["b"],"properties":{"b":{"type":"integer"}}}"#,
            "{}",
            "b: expected integer, got nothing",
        ),
        (r#"{"required":["a b"]}"#, "{}", "input[\"a b\"]: expected a value, got nothing"),
        (
            r#"{"properties":{"items":{"items":{"properties":{"name":{"type":"string"}}}}}}"#,
            r#"{"items":[{},{},{"name":5}]}"#,
            "items[2].name: expected string, got 5",
        ),
        (
            r#"{"properties":{"a":true},"additionalProperties":false}"#,
            r#"{"a":1,"b":2}"#,
            "b: expected only the member \"a\", got an unknown member",
        ),
        (
            r#"{"additionalProperties":false}"#,
            r#"{"b":2}"#,
            "b: expected no members, got an unknown member",
        ),
        (
            r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#,
            "true",
            "input: expected string or null, got true",
        ),
        (
            r#"{"anyOf":[{"type":"string"},{"properties":{"a":{"type":"string"}}}]}"#,
            r#"{"a":[]}"#,
            "a: expected string, got array",
        ),
        (
            r#"{"oneOf":[{},{}]}"#,
            "1",
            "input: expected a value of only one of the allowed forms, got 1",
        ),
        (r#"{"not":{"type":"null"}}"#, "null", "input: expected another value, got null"),
        (
            r##"{"properties":{"x":{"$ref":"#/$defs/X"}},"$defs":{"X":{"type":"null"}}}"##,
            r#"{"x":1}"#,
            "x: expected null, got 1",
        ),
        (r##"{"$ref":"#"}"##, "1", "input: expected at most 32 levels, got 1"),
        (r#"{"properties":{"x":false}}"#, r#"{"x":1}"#, "x: expected no value, got 1"),
        (
            r#"{"type":"null"}"#,
            r#""0123456789012345678901234567890123456789012345678901234567890""#,
            "input: expected null, got \"01234567890123456789012345678901234567890123456789012345678…",
        ),
    ] {
        assert_eq!(check(schema, value), Err(text.to_owned()), "{schema}");
    }
}

#[test]
fn what_fits() {
    for (schema, value) in [
        (r#"{"type":"integer"}"#, "5.0"),
        (r#"{"type":"integer"}"#, "1e400"),
        (r#"{"enum":[{"a":[1,{"b":null}]}]}"#, r#"{"a":[1.0,{"b":null}]}"#),
        (r#"{"const":"\u0041"}"#, "\"A\""),
        (r#"{"maximum":12345678901234567890}"#, "12345678901234567890"),
        (r#"{"multipleOf":0.01}"#, "19.99"),
        (r#"{"pattern":"^x","format":"date","x-unknown":[1]}"#, "\"y\""),
        (r#"{"patternProperties":{"^x":{}},"additionalProperties":false}"#, r#"{"xy":1}"#),
        (
            r#"{"properties":{"n\u0061me":{"type":"string"}},"additionalProperties":false}"#,
            r#"{"name":"x"}"#,
        ),
        (r##"{"$ref":"#/$defs/a~1b~0c","$defs":{"a/b~c":{"type":"null"}}}"##, "null"),
        (
            r##"{"type":"object","properties":{"next":{"$ref":"#"}},"required":[]}"##,
            r#"{"next":{"next":{}}}"#,
        ),
    ] {
        assert_eq!(check(schema, value), Ok(()), "{schema}");
    }
    assert!(RawSchema::new("[]").is_err() && RawSchema::new("{").is_err());
}
