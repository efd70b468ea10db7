//! Raw schemas with a combinator or a reference at their root: sent as one object schema that
//! allows the same values, or refused.
#![cfg(feature = "alloc")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests"
)]

use toolrunner_core::__private::check_tools;
use toolrunner_core::error::Misuse;
use toolrunner_core::json::Value;
use toolrunner_core::schema::RawSchema;
use toolrunner_core::tool::DeclaredTool;

/// Returns the schema that is sent to the API.
fn sent(schema: &str) -> Result<String, Misuse> {
    let tool =
        DeclaredTool::new(format!(r#"{{"description":"","input_schema":{schema},"name":"t"}}"#))
            .unwrap();
    assert_eq!(tool.definition().name, "t");
    check_tools(&tool)?;
    let definition = Value::first(tool.definition().json.as_bytes()).unwrap();
    Ok(definition.member("input_schema").unwrap().as_json().to_owned())
}

#[track_caller]
fn folds(schema: &str, to: &str) {
    assert_eq!(sent(schema).as_deref(), Ok(to), "{schema}");
}

#[track_caller]
fn refused(schema: &str) {
    assert_eq!(sent(schema), Err(Misuse::ToolSchema(0)), "{schema}");
}

#[test]
fn a_schema_without_a_combinator_at_its_root_is_sent_as_it_is() {
    for schema in [
        r#"{"type":"object"}"#,
        r##"{"properties":{"a":{"anyOf":[{"type":"string"},{"$ref":"#/$defs/b"}]}},"$defs":{"b":{"oneOf":[]}}, "type":"object"}"##,
        r#"{"type":"object","properties":{"anyOf":{"type":"string"},"$ref":{"type":"string"}}}"#,
    ] {
        folds(schema, schema);
    }
}

#[test]
fn what_holds_together_is_one_schema() {
    folds(
        r#"{"type":"object","properties":{"file":{"type":"string"}},"allOf":[{"required":["file"]}]}"#,
        r#"{"type":"object","properties":{"file":{"type":"string"}},"required":["file"]}"#,
    );
    folds(
        r#"{"description":"d","allOf":[{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]},
            {"type":"object","description":"e","properties":{"b":{"type":"integer"}},"required":["b","a"],"minProperties":1},
            {"allOf":[{"minProperties":2},{}]}, true]}"#,
        r#"{"type":"object","description":"d","properties":{"a":{"type":"string"},"b":{"type":"integer"}},"required":["a","b"],"minProperties":2}"#,
    );
    // One property with two rules.
    folds(
        r#"{"type":"object","properties":{"a":{"type":"string"},"b":{}},"allOf":[{"properties":{"a":{"minLength":2},"b":{}}}]}"#,
        r#"{"type":"object","properties":{"a":{"allOf":[{"type":"string"},{"minLength":2}]},"b":{}}}"#,
    );
    folds(
        r#"{"type":["object"],"properties":{"a":{}}}"#,
        r#"{"type":"object","properties":{"a":{}}}"#,
    );
    folds(r#"{"type":["object","null"],"allOf":[{"type":"object"}]}"#, r#"{"type":"object"}"#);
}

#[test]
fn a_choice_without_a_choice_is_none() {
    folds(
        r#"{"anyOf":[{"type":"object","properties":{"a":{}}}]}"#,
        r#"{"type":"object","properties":{"a":{}}}"#,
    );
    folds(
        r#"{"type":"object","oneOf":[{"required":["a"]}]}"#,
        r#"{"type":"object","required":["a"]}"#,
    );
    folds(r#"{"type":"object","anyOf":[{"required":["a"]},{}]}"#, r#"{"type":"object"}"#);
}

#[test]
fn a_reference_at_the_root_is_resolved() {
    folds(
        r##"{"$schema":"s","$ref":"#/definitions/A","definitions":{"A":{"type":"object","properties":{"next":{"$ref":"#/definitions/A"}}}}}"##,
        r##"{"type":"object","$schema":"s","properties":{"next":{"$ref":"#/definitions/A"}},"definitions":{"A":{"type":"object","properties":{"next":{"$ref":"#/definitions/A"}}}}}"##,
    );
    folds(
        r##"{"allOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/b"}],"$defs":{"a":{"type":"object","required":["x"]},"b":{"required":["y"]}}}"##,
        r##"{"type":"object","required":["x","y"],"$defs":{"a":{"type":"object","required":["x"]},"b":{"required":["y"]}}}"##,
    );
    refused(r##"{"type":"object","$ref":"#"}"##);
    refused(r##"{"type":"object","$ref":"#/$defs/none"}"##);
    refused(r#"{"type":"object","$ref":"https://example.com/a.json"}"#);
    refused(
        r##"{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}}}"##,
    );
}

#[test]
fn a_closed_part_closes_only_what_it_knows() {
    folds(
        r#"{"type":"object","properties":{"a":{},"b":{}},"additionalProperties":false,"allOf":[{"properties":{"a":{"type":"string"}},"required":["b"]}]}"#,
        r#"{"type":"object","properties":{"a":{"allOf":[{},{"type":"string"}]},"b":{}},"required":["b"],"additionalProperties":false}"#,
    );
    refused(
        r#"{"type":"object","properties":{"a":{}},"additionalProperties":false,"allOf":[{"properties":{"b":{}}}]}"#,
    );
    refused(r#"{"type":"object","properties":{"a":{}},"allOf":[{"additionalProperties":false}]}"#);
    refused(
        r#"{"type":"object","allOf":[{"additionalProperties":{"type":"string"}},{"additionalProperties":false}]}"#,
    );
    refused(
        r#"{"type":"object","patternProperties":{"^x":{}},"allOf":[{"additionalProperties":false}]}"#,
    );
}

#[test]
fn what_cannot_be_folded_is_refused() {
    for schema in [
        r#"{"type":"object","anyOf":[{"required":["file"]},{"required":["url"]}]}"#,
        r#"{"type":"object","oneOf":[{"required":["file"]},{"required":["url"]}]}"#,
        r#"{"type":"object","oneOf":[{},{}]}"#,
        r#"{"type":"object","anyOf":[]}"#,
        r#"{"type":"object","allOf":[false]}"#,
        r#"{"type":"object","allOf":[{"type":"string"}]}"#,
        r#"{"type":"object","allOf":[{"not":{"required":["a"]}},{"not":{"required":["b"]}}]}"#,
        r#"{"type":"object","allOf":[{"if":{},"then":{}}]}"#,
        r#"{"type":"object","allOf":[{"unevaluatedProperties":false}]}"#,
        r#"{"type":"object","allOf":[{"keyword-of-tomorrow":1}]}"#,
        // A reference to a part that would move.
        r##"{"type":"object","properties":{"a":{},"b":{"$ref":"#/properties/a"}},"allOf":[{"properties":{"a":{"type":"string"}}}]}"##,
        // Nothing says that it is an object.
        r#"{"allOf":[{"properties":{"a":{}}}]}"#,
    ] {
        refused(schema);
    }
    for schema in
        ["5", "true", "[]", r#"{"type":"array"}"#, r#"{"type":["object","null"]}"#, "{}", "null"]
    {
        assert_eq!(sent(schema), Err(Misuse::ToolDefinition(0)), "{schema}");
    }
}

/// A small generator, so that every run uses the same schemas.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    fn one_of<'s>(&mut self, list: &[&'s str]) -> &'s str {
        list[usize::try_from(self.below(list.len() as u64)).unwrap()]
    }

    fn schema(&mut self, depth: u32) -> String {
        let mut members = Vec::new();
        if depth == 0 || self.below(3) == 0 {
            members.push(r#""type":"object""#.to_owned());
        }
        if self.below(2) == 0 {
            let (a, b) = (self.one_of(&["a", "b", "c"]), self.one_of(&["a", "b", "c"]));
            let rules = [
                "{}",
                r#"{"type":"string"}"#,
                r#"{"type":"integer"}"#,
                r#"{"minimum":2}"#,
                r#"{"enum":[1,"x"]}"#,
            ];
            let (one, two) = (self.one_of(&rules), self.one_of(&rules));
            members.push(if a == b {
                format!(r#""properties":{{"{a}":{one}}}"#)
            } else {
                format!(r#""properties":{{"{a}":{one},"{b}":{two}}}"#)
            });
        }
        for (keyword, values) in [
            ("required", &[r#"["a"]"#, r#"["b","a"]"#, "[]"][..]),
            ("additionalProperties", &["false", "true", r#"{"type":"integer"}"#][..]),
            ("minProperties", &["1", "2"][..]),
            ("maxProperties", &["1", "2"][..]),
            ("not", &[r#"{"required":["c"]}"#][..]),
            ("description", &[r#""d""#][..]),
        ] {
            if self.below(5) == 0 {
                members.push(format!(r#""{keyword}":{}"#, self.one_of(values)));
            }
        }
        if depth < 2 && (depth == 0 || self.below(3) == 0) {
            let keyword = self.one_of(&["allOf", "anyOf", "oneOf"]);
            let branches: Vec<String> =
                (0..=self.below(2)).map(|_| self.schema(depth + 1)).collect();
            members.push(format!(r#""{keyword}":[{}]"#, branches.join(",")));
        }
        format!("{{{}}}", members.join(","))
    }
}

#[test]
fn a_folded_schema_allows_the_same_inputs() {
    let inputs = [
        "{}",
        r#"{"a":1}"#,
        r#"{"a":"x"}"#,
        r#"{"a":2,"b":"y"}"#,
        r#"{"a":1,"b":3}"#,
        r#"{"b":1,"c":2}"#,
        r#"{"c":"x"}"#,
        r#"{"a":3,"b":2,"c":1}"#,
        r#"{"a":1,"d":5}"#,
        r#"{"a":1,"d":"x"}"#,
        r#"{"b":2,"a":"x"}"#,
        r#"{"d":null}"#,
    ];
    let (mut random, mut folded) = (Random(7), 0);
    for _ in 0..4_000 {
        let schema = random.schema(0);
        let Ok(sent) = sent(&schema) else { continue };
        assert!(
            !["anyOf", "oneOf", "allOf"]
                .iter()
                .any(|word| Value::first(sent.as_bytes()).unwrap().member(word).is_some()),
            "{sent}"
        );
        folded += 1;
        for input in inputs {
            let value = Value::first(input.as_bytes()).unwrap();
            let allows = |schema: &str| RawSchema::new(schema).unwrap().check(value).is_ok();
            assert_eq!(allows(&schema), allows(&sent), "{input} under {schema}, sent as {sent}");
        }
    }
    assert!(folded > 400, "{folded}");
}
