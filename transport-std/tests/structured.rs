//! `run.output::<T>()`: the parameter, the second question, and the endings without a value.
#![cfg(all(feature = "testing", feature = "schemars", feature = "chrono"))]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use serde_json::{Value, json};
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_std::run::RunBuilder;
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Error, Json, Outcome, Run, StopReason, StructuredResult, ToolInput, tool};

fn block_on<F: Future>(future: F) -> F::Output {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(future)
}

/// Starts a run whose model gives these replies.
fn start(
    replies: impl IntoIterator<Item = ScriptedReply>,
    configure: impl FnOnce(RunBuilder) -> RunBuilder,
) -> (ScriptedServer, Run) {
    let script = replies.into_iter().fold(Script::new(), Script::reply);
    let scripted = ScriptedServer::new(ScriptedModel::new(script));
    let run = configure(scripted.client().run("m")).user("go");
    (scripted, run)
}

fn bodies(scripted: &ScriptedServer) -> Vec<Value> {
    let requests = scripted.requests();
    requests.iter().map(|request| serde_json::from_slice(&request.body).unwrap()).collect()
}

#[derive(ToolInput, Debug, PartialEq)]
struct Invoice {
    number: String,
    due: chrono::NaiveDate,
    /// In cents
    #[tool(max = 1_000_000)]
    total: u64,
}

fn invoice(total: u64) -> Invoice {
    let due = chrono::NaiveDate::from_ymd_opt(2026, 12, 1).unwrap();
    Invoice { number: "7\n".to_owned(), due, total }
}

const GOOD: &str = r#"{"number":"7\n","due":"2026-12-01","total":1200}"#;

#[tool]
fn look_up() -> &'static str {
    "12 euros"
}

#[test]
fn the_last_reply_is_a_value() {
    let (scripted, mut run) = start(
        [ScriptedReply::new().tool_use("toolu_1", "look_up", "{}"), ScriptedReply::text(GOOD)],
        |run| run.tool(look_up).param("output_config", json!({"effort": "low"})),
    );
    let value = block_on(run.output::<Invoice>()).unwrap();
    assert_eq!(value, StructuredResult::Value(invoice(1200)));
    assert_eq!(run.message().unwrap().text(), GOOD);
    let bodies = bodies(&scripted);
    assert_eq!(bodies.len(), 2);
    for body in &bodies {
        assert_eq!(
            body["output_config"],
            json!({"effort": "low", "format": {"type": "json_schema", "schema": {
                "type": "object",
                "properties": {
                    "number": {"type": "string"},
                    "due": {"type": "string", "format": "date"},
                    "total": {"type": "integer", "description": "In cents {minimum: 0, maximum: 1000000}"},
                },
                "required": ["number", "due", "total"],
                "additionalProperties": false,
            }}})
        );
    }
    // Later turns have the parameter that the caller set.
    assert_eq!(run.params().json("output_config"), Some(r#"{"effort":"low"}"#));
}

#[test]
fn a_mismatch_is_asked_for_once_more() {
    let bad = r#"{"number":"7","due":"soon","total":1}"#;
    let (scripted, mut run) =
        start([ScriptedReply::text(bad), ScriptedReply::text(GOOD)], |run| run);
    assert_eq!(block_on(run.output()).unwrap(), StructuredResult::Value(invoice(1200)));
    let bodies = bodies(&scripted);
    assert_eq!(
        bodies[1]["messages"][2]["content"],
        json!(
            "The reply does not fit the schema: due: expected a string that is a valid NaiveDate, got \"soon\": input contains invalid characters\nReply again, with only the corrected JSON."
        )
    );
    assert_eq!(run.params().json("output_config"), None);

    let (scripted, mut run) =
        start([ScriptedReply::text(bad), ScriptedReply::text("Sorry.")], |run| run);
    let value = block_on(run.output::<Invoice>()).unwrap();
    let StructuredResult::Mismatch(reason) = value else { panic!("{value:?}") };
    assert_eq!(reason.as_str(), "expected a value at byte 0");
    assert_eq!(
        (scripted.requests().len(), run.message().unwrap().text()),
        (2, "Sorry.".to_owned())
    );
}

#[test]
fn other_ends_are_told_apart() {
    for (reply, expected) in [
        (ScriptedReply::text("No.").stop("refusal"), StructuredResult::Refused),
        (ScriptedReply::text(r#"{"number""#).stop("max_tokens"), StructuredResult::Truncated),
        (
            ScriptedReply::text(r#"{"number""#).stop("model_context_window_exceeded"),
            StructuredResult::Truncated,
        ),
    ] {
        let (scripted, mut run) = start([reply], |run| run);
        assert_eq!(block_on(run.output::<Invoice>()).unwrap(), expected);
        assert_eq!(scripted.requests().len(), 1);
    }
    let (_, mut run) = start([], |run| run.max_turns(0));
    let value = block_on(run.output::<Invoice>()).unwrap();
    assert!(matches!(value, StructuredResult::Ended(Outcome::Limit(_))), "{value:?}");
}

#[test]
fn lists_and_enums_are_wrapped() {
    let (scripted, mut run) = start([ScriptedReply::text(r#"{"value":[3,4]}"#)], |run| run);
    assert_eq!(block_on(run.output::<Vec<u8>>()).unwrap(), StructuredResult::Value(vec![3, 4]));
    let schema = &bodies(&scripted)[0]["output_config"]["format"]["schema"];
    assert_eq!(schema["properties"]["value"]["type"], "array");
    assert_eq!(schema["required"], json!(["value"]));
}

#[derive(serde::Deserialize, schemars::JsonSchema, Debug, PartialEq)]
struct Report {
    /// A heading.
    title: String,
    #[serde(default)]
    findings: Vec<Finding>,
}

#[derive(serde::Deserialize, schemars::JsonSchema, Debug, PartialEq)]
#[serde(tag = "kind")]
enum Finding {
    Fact { text: String, sure: Option<u8> },
    Question { text: String },
}

#[test]
fn types_of_serde() {
    let text = r#"{"title":"t","findings":[{"kind":"Fact","text":"x","sure":null}]}"#;
    let (scripted, mut run) = start([ScriptedReply::text(text)], |run| run);
    let value = block_on(run.output::<Json<Report>>()).unwrap();
    let StructuredResult::Value(Json(report)) = value else { panic!("{value:?}") };
    let fact = Finding::Fact { text: "x".to_owned(), sure: None };
    assert_eq!(report, Report { title: "t".to_owned(), findings: vec![fact] });
    let format = &bodies(&scripted)[0]["output_config"]["format"];
    assert_eq!(
        format,
        &json!({"type": "json_schema", "schema": {
            "type": "object",
            "properties": {
                "title": {"type": "string", "description": "A heading."},
                "findings": {"type": "array", "items": {"anyOf": [
                    {
                        "type": "object",
                        "properties": {
                            "kind": {"type": "string", "const": "Fact"},
                            "text": {"type": "string"},
                            "sure": {"type": ["integer", "null"], "description": "{format: \"uint8\", maximum: 255, minimum: 0}"},
                        },
                        "required": ["kind", "sure", "text"],
                        "additionalProperties": false,
                    },
                    {
                        "type": "object",
                        "properties": {"kind": {"type": "string", "const": "Question"}, "text": {"type": "string"}},
                        "required": ["kind", "text"],
                        "additionalProperties": false,
                    },
                ]}},
            },
            "required": ["findings", "title"],
            "additionalProperties": false,
        }})
    );
}

#[test]
fn an_unsupported_type_of_serde_is_reported_before_anything_is_sent() {
    #[derive(serde::Deserialize, schemars::JsonSchema)]
    #[allow(dead_code, reason = "only its schema matters")]
    struct Node {
        children: Vec<Self>,
    }
    type Map = std::collections::BTreeMap<String, u8>;
    let refused = |result: Result<(), Error>, scripted: ScriptedServer| {
        assert_eq!(scripted.requests().len(), 0);
        match result {
            Err(Error::Invalid(text)) => text,
            other => panic!("{other:?}"),
        }
    };
    let (scripted, mut run) = start([], |run| run);
    let result = block_on(run.output::<Json<Node>>()).map(drop);
    assert!(refused(result, scripted).starts_with("a recursive type cannot be an output"));
    let (scripted, mut run) = start([], |run| run);
    let result = block_on(run.output::<Vec<Json<Map>>>()).map(drop);
    assert!(refused(result, scripted).starts_with("a map cannot be part of an output"));
    let (scripted, mut run) = start([], |run| run.output::<Json<Value>>());
    let result = block_on(run.until_done()).map(drop);
    assert!(refused(result, scripted).starts_with("any JSON cannot be part of an output"));
}

#[test]
fn one_turn_is_a_value() {
    let replies = [
        ScriptedReply::text("Let me see.").tool_use("toolu_1", "look_up", "{}"),
        ScriptedReply::text(r#"{"number":"7"}"#),
        ScriptedReply::text(GOOD),
    ];
    let (_, mut run) = start(replies, |run| run.tool(look_up).output::<Invoice>());
    let mut seen = Vec::new();
    block_on(async {
        while let Some(mut turn) = run.next_turn().await.unwrap() {
            let value = turn.output::<Invoice>().unwrap();
            if matches!(value, StructuredResult::Mismatch(_)) {
                turn.append_user("The rest is missing.").unwrap();
            }
            seen.push(value);
        }
    });
    assert_eq!(seen[0], StructuredResult::Ended(Outcome::Ended(Some(StopReason::ToolUse))));
    assert!(
        matches!(&seen[1], StructuredResult::Mismatch(reason) if reason.as_str() == "due: expected string, got nothing"),
        "{seen:?}"
    );
    assert_eq!(seen[2], StructuredResult::Value(invoice(1200)));
    assert_eq!(seen.len(), 3);
}
