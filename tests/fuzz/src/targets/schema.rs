//! For schemas of the keywords that are checked, the verdict on a value is that of the `jsonschema`
//! crate.

use toolrunner_core::json::Value;
use toolrunner_core::schema::RawSchema;

use crate::choices::Choices;
use crate::replies::json;

/// Runs the target, whose property the module's documentation states.
pub fn run(data: &[u8]) {
    let mut choices = Choices::new(data);
    let schema =
        format!("{{\"$defs\":{{\"d\":{}}},{}", any(&mut choices, 2), &object(&mut choices, 4)[1..]);
    let schema = schema.replace(",}", "}");
    let theirs: serde_json::Value =
        serde_json::from_str(&schema).unwrap_or_else(|error| panic!("{error}: {schema}"));
    let validator =
        jsonschema::draft202012::new(&theirs).unwrap_or_else(|error| panic!("{error}: {schema}"));
    let ours = RawSchema::new(&schema).expect("a schema");
    for _ in 0..4 {
        let value = value(&mut choices, 3);
        let checked = ours.check(Value::first(value.as_bytes()).expect("a value"));
        let theirs = validator.is_valid(&serde_json::from_str(&value).expect("JSON"));
        if checked.as_ref().is_err_and(|error| {
            error
                .explain(Value::first(value.as_bytes()).expect("a value"))
                .to_string()
                .contains("levels")
        }) {
            // The schema is nested deeper than allowed, so every value is refused.
            continue;
        }
        assert_eq!(checked.is_ok(), theirs, "{checked:?}\nschema {schema}\nvalue {value}");
    }
}

/// Builds a value from those that schemas distinguish.
fn value(choices: &mut Choices<'_>, levels: usize) -> String {
    match choices.below(if levels == 0 { 5 } else { 8 }) {
        0 => choices.one_of(&["null", "true", "false"]).to_owned(),
        1 => {
            choices.one_of(&["0", "1", "2", "3", "-1", "1.0", "2.5", "1e1", "0.5", "10"]).to_owned()
        }
        2 | 3 => choices
            .one_of(&["\"\"", "\"a\"", "\"ab\"", "\"\\u0061\"", "\"😀\"", "\"日本\"", "\"abc\""])
            .to_owned(),
        4 => json(choices, 1),
        5 => {
            let elements: Vec<String> =
                (0..choices.below(4)).map(|_| value(choices, levels - 1)).collect();
            format!("[{}]", elements.join(","))
        }
        _ => {
            // Every name once: no specification defines which of two members with equal names
            // counts.
            let mut members = Vec::new();
            for name in ["a", "b", "c", "ä"] {
                if choices.below(2) == 1 {
                    members.push(format!("\"{name}\":{}", value(choices, levels - 1)));
                }
            }
            format!("{{{}}}", members.join(","))
        }
    }
}

fn any(choices: &mut Choices<'_>, levels: usize) -> String {
    match choices.below(8) {
        0 => "true".to_owned(),
        1 => "false".to_owned(),
        _ => object(choices, levels),
    }
}

/// Builds a schema that is an object, with each keyword at most once.
fn object(choices: &mut Choices<'_>, levels: usize) -> String {
    let mut words: Vec<(&str, String)> = Vec::new();
    for _ in 0..choices.below(4) {
        let list = |choices: &mut Choices<'_>| {
            let all: Vec<String> =
                (0..=choices.below(3)).map(|_| any(choices, levels - 1)).collect();
            format!("[{}]", all.join(","))
        };
        let number = |choices: &mut Choices<'_>| {
            choices.one_of(&["0", "1", "2", "2.5", "-1", "10"]).to_owned()
        };
        let count = |choices: &mut Choices<'_>| choices.below(4).to_string();
        let (word, text) = match choices.below(if levels == 0 { 15 } else { 23 }) {
            0 | 1 => {
                let types = [
                    "\"string\"",
                    "\"number\"",
                    "\"integer\"",
                    "\"object\"",
                    "\"array\"",
                    "\"null\"",
                    "\"boolean\"",
                ];
                ("type", choices.one_of(&types).to_owned())
            }
            2 => (
                "type",
                choices
                    .one_of(&[
                        "[\"string\",\"null\"]",
                        "[\"integer\",\"object\"]",
                        "[\"array\",\"number\"]",
                    ])
                    .to_owned(),
            ),
            3 => (
                "required",
                choices
                    .one_of(&["[\"a\"]", "[\"a\",\"b\"]", "[\"\\u0061\"]", "[\"ä\"]"])
                    .to_owned(),
            ),
            4 => ("enum", format!("[{},{}]", value(choices, 1), value(choices, 1))),
            5 => ("const", value(choices, 2)),
            6 => ("minimum", number(choices)),
            7 => ("maximum", number(choices)),
            8 => ("exclusiveMinimum", number(choices)),
            9 => ("exclusiveMaximum", number(choices)),
            10 => ("multipleOf", choices.one_of(&["1", "2", "0.5", "2.5", "10"]).to_owned()),
            11 => ("minLength", count(choices)),
            12 => ("maxLength", count(choices)),
            13 => (choices.one_of(&["minItems", "minProperties"]), count(choices)),
            14 => (choices.one_of(&["maxItems", "maxProperties"]), count(choices)),
            15 => (
                "properties",
                format!(
                    "{{\"a\":{},\"ä\":{}}}",
                    any(choices, levels - 1),
                    any(choices, levels - 1)
                ),
            ),
            16 => ("additionalProperties", any(choices, levels - 1)),
            17 => ("items", any(choices, levels - 1)),
            18 => ("prefixItems", list(choices)),
            19 => ("anyOf", list(choices)),
            20 => ("oneOf", list(choices)),
            21 => (choices.one_of(&["allOf", "anyOf"]), list(choices)),
            _ => choices.one_of(&[("not", 0), ("$ref", 1)]).into_word(choices, levels),
        };
        if !words.iter().any(|known| known.0 == word) {
            words.push((word, text));
        }
    }
    let members: Vec<String> =
        words.into_iter().map(|(word, text)| format!("\"{word}\":{text}")).collect();
    format!("{{{}}}", members.join(","))
}

trait IntoWord {
    fn into_word(self, choices: &mut Choices<'_>, levels: usize) -> (&'static str, String);
}

impl IntoWord for (&'static str, usize) {
    fn into_word(self, choices: &mut Choices<'_>, levels: usize) -> (&'static str, String) {
        // The definition itself has two levels. A reference within it would refer to itself.
        if self.1 == 1 && levels > 2 {
            (self.0, "\"#/$defs/d\"".to_owned())
        } else {
            ("not", any(choices, levels - 1))
        }
    }
}
