//! Ids that a gateway repeats, made unique on a server: also for calls that start early, in
//! histories and in snapshots.
#![cfg(feature = "testing")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};

use toolrunner_core::json::Value;
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_core::tool::{Definition, Output, ToolCall, Tools};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Event, ToolError};

/// Answers with the call's id, and records it.
#[derive(Clone, Default)]
struct Echo(Arc<Mutex<Vec<String>>>);

impl Tools for Echo {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, _: usize) -> Option<Definition<'_>> {
        Some(Definition::new("echo", r#"{"name":"echo","input_schema":{"type":"object"}}"#))
    }

    async fn call(
        &self,
        _: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        self.0.lock().unwrap().push(call.id.to_string());
        tokio::task::yield_now().await;
        Ok(out.text(&format!("I am {}", call.id))?)
    }
}

fn script() -> Script {
    let turn = || {
        ScriptedReply::text("Let me see.")
            .tool_use("call_0", "echo", "{}")
            .tool_use("call_1", "echo", "{}")
    };
    Script::new().reply(turn()).reply(turn()).reply(ScriptedReply::text("Done."))
}

/// Returns the ids of calls and results in this conversation, in order.
fn ids(messages: &str) -> Vec<String> {
    let blocks = Value::first(messages.as_bytes())
        .unwrap()
        .elements()
        .flat_map(|message| message.member("content").unwrap().elements());
    blocks
        .filter_map(|block| {
            Some(block.member("id").or_else(|| block.member("tool_use_id"))?.as_text()?.to_string())
        })
        .collect()
}

#[tokio::test]
async fn calls_events_and_results_have_the_new_id_however_calls_start() {
    for (eager, stream) in [(false, true), (true, true), (false, false)] {
        let (echo, scripted) = (Echo::default(), ScriptedServer::new(ScriptedModel::new(script())));
        let mut run = scripted
            .client()
            .run("m")
            .tools(echo.clone())
            .eager(eager)
            .stream(stream)
            .unique_ids(true)
            .user("Go.");
        let mut told = Vec::new();
        let finished = run.for_each_event(|event| match event {
            Event::ToolStart { id, .. } => told.push(format!("start {id}")),
            Event::ToolEnd { id, content, .. } => told.push(format!("end {id} {content}")),
            _ => {}
        });
        assert_eq!(finished.await.unwrap().text(), "Done.");
        assert_eq!(*echo.0.lock().unwrap(), ["call_0", "call_1", "call_0-2", "call_1-2"]);
        for id in ["call_0", "call_1", "call_0-2", "call_1-2"] {
            assert_eq!(
                told.iter().filter(|said| **said == format!("start {id}")).count(),
                1,
                "{told:?}"
            );
            assert_eq!(
                told.iter().filter(|said| **said == format!("end {id} \"I am {id}\"")).count(),
                1,
                "{told:?}"
            );
        }
        let all = [
            "call_0", "call_1", "call_0", "call_1", "call_0-2", "call_1-2", "call_0-2", "call_1-2",
        ];
        assert_eq!(ids(&run.messages()), all);
        assert_eq!(scripted.requests().len(), 3);
    }
}

#[tokio::test]
async fn histories_and_snapshots_are_made_unique() {
    let scripted = ScriptedServer::new(ScriptedModel::new(script()));
    let mut run = scripted.client().run("m").tools(Echo::default()).user("Go.");
    run.until_done().await.unwrap();
    let same = ["call_0", "call_1", "call_0", "call_1", "call_0", "call_1", "call_0", "call_1"];
    assert_eq!(ids(&run.messages()), same);
    let unique =
        ["call_0-2", "call_1-2", "call_0-2", "call_1-2", "call_0", "call_1", "call_0", "call_1"];

    let client = ScriptedServer::new(ScriptedModel::new(script())).client();
    let history = client.run("m").unique_ids(true).messages(run.messages());
    assert_eq!(ids(&history.messages()), unique);
    let mut restored =
        client.run("m").tools(Echo::default()).unique_ids(true).resume(&run.snapshot().unwrap());
    assert_eq!(ids(&restored.messages()), unique);
    restored.user("Again.").unwrap();
    assert_eq!(restored.until_done().await.unwrap().text(), "Done.");
    let more = [
        "call_0-3", "call_1-3", "call_0-3", "call_1-3", "call_0-4", "call_1-4", "call_0-4",
        "call_1-4",
    ];
    assert_eq!(ids(&restored.messages()), [unique, more].concat());
}
