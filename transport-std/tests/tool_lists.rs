//! Lists of tools: one by one, optional, boxed, shared, more than a tuple holds, from a file.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::sync::Arc;

use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{BoxTools, DynTools, Error, RawTool, Run, Tools, tool, toolbox};

#[tool]
fn one() -> &'static str {
    "1"
}

#[tool]
async fn two(#[tool(default = 0)] more: u8) -> u8 {
    2 + more
}

struct Board {
    name: String,
}

#[toolbox]
impl Board {
    #[tool]
    fn name(&self) -> String {
        self.name.clone()
    }

    #[tool]
    fn reset(&self) {}
}

fn board(name: &str) -> Board {
    Board { name: name.to_owned() }
}

/// Returns a tool whose definition and closure exist only at run time.
fn from_file(name: &str) -> BoxTools {
    let schema =
        r#"{"type":"object","properties":{"n":{"type":"integer","maximum":9}},"required":["n"]}"#
            .to_owned();
    let (name, own) = (name.to_owned(), name.to_owned());
    let tool = RawTool::new(&name, "From a file.", &schema, move |input| {
        let own = own.clone();
        async move { format!("{own} {}", input.json()) }
    });
    Box::new(tool.unwrap().serial_in(format!("group of {name}")))
}

/// Lets the model call these tools, all in one turn. Returns the names in the request, and the
/// results.
fn results(
    start: impl FnOnce(toolrunner_std::run::RunBuilder) -> Run,
    calls: &[(&str, &str)],
) -> (Vec<String>, Vec<String>) {
    let mut reply = ScriptedReply::new();
    for (i, (name, input)) in calls.iter().enumerate() {
        reply = reply.tool_use(&format!("toolu_{i}"), name, input);
    }
    let script = Script::new().reply(reply).reply(ScriptedReply::text("done"));
    let scripted = ScriptedServer::new(ScriptedModel::new(script));
    let mut run = start(scripted.client().run("m"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(run.until_done()).unwrap();
    let requests = scripted.requests();
    let body = |i: usize| -> serde_json::Value {
        serde_json::from_slice(&requests.get(i).unwrap().body).unwrap()
    };
    let strings = |list: &serde_json::Value, member: &str| -> Vec<String> {
        list.as_array()
            .unwrap()
            .iter()
            .map(|entry| entry.get(member).unwrap().as_str().unwrap_or_default().to_owned())
            .collect()
    };
    let last = body(1);
    let messages = last.get("messages").unwrap().as_array().unwrap();
    let contents = messages.last().unwrap().get("content").unwrap();
    (strings(body(0).get("tools").unwrap(), "name"), strings(contents, "content"))
}

#[test]
fn one_by_one_and_optional() {
    for is_admin in [false, true] {
        let (names, results) = results(
            |run| run.tool(one).tools(is_admin.then(|| board("b"))).tool(two).user("go"),
            &[("two", r#"{"more":3}"#), ("name", "{}"), ("one", "{}")],
        );
        if is_admin {
            assert_eq!(names, ["one", "name", "reset", "two"]);
            assert_eq!(results, ["5", "b", "1"]);
        } else {
            assert_eq!(names, ["one", "two"]);
            assert_eq!(results, ["5", "Error: Tool 'name' not found", "1"]);
        }
    }
}

#[test]
fn boxed_and_shared() {
    let shared: Arc<dyn DynTools> = Arc::new(board("shared"));
    let tools: Vec<BoxTools> =
        vec![Box::new(one), Box::new(shared), Box::new((two, Some(from_file("file"))))];
    assert_eq!(tools.count(), 5);
    assert_eq!(format!("{tools:?}"), r#"[["one"], ["name", "reset"], ["two", "file"]]"#);
    assert_eq!(tools.definition(4).unwrap().serial, Some("group of file"));
    assert!(tools.definition(5).is_none());
    let (names, results) = results(
        |run| run.tools(tools).user("go"),
        &[("file", r#"{"n":1}"#), ("file", r#"{"n":10}"#), ("two", "{}"), ("name", "{}")],
    );
    assert_eq!(names, ["one", "name", "reset", "two", "file"]);
    assert_eq!(
        results,
        [
            r#"file {"n":1}"#,
            "Error: invalid input for tool 'file': n: expected at most 9, got 10",
            "2",
            "shared"
        ]
    );
}

#[test]
fn more_than_a_tuple_holds() {
    let names: Vec<String> = (0..40).map(|i| format!("t{i}")).collect();
    let start = |run: toolrunner_std::run::RunBuilder| {
        names.iter().fold(run, |run, name| run.tool(from_file(name))).user("go")
    };
    let (listed, results) =
        results(start, &[("t39", r#"{"n":1}"#), ("t0", r#"{"n":2}"#), ("t17", r#"{"n":3}"#)]);
    assert_eq!(listed, names);
    assert_eq!(results, [r#"t39 {"n":1}"#, r#"t0 {"n":2}"#, r#"t17 {"n":3}"#]);

    let [a, b, c, d] = ["a", "b", "c", "d"].map(from_file);
    let [e, f, g, h] = ["e", "f", "g", "h"].map(from_file);
    let [i, j, k, l] = ["i", "j", "k", "l"].map(from_file);
    let tuple = (a, b, c, d, e, f, g, h, i, j, k, l, one, two, board("x"), None::<BoxTools>);
    assert_eq!(tuple.count(), 16);
}

#[test]
fn a_name_in_use_is_reported() {
    let scripted = ScriptedServer::new(ScriptedModel::new(Script::new()));
    let mut run = scripted.client().run("m").tool(one).tool(from_file("one")).user("go");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = runtime.block_on(run.until_done()).unwrap_err();
    assert!(
        matches!(&error, Error::Invalid(text) if text == "two tools have the name \"one\""),
        "{error}"
    );
}
