//! The calls of a toolset's members: one after another, and none after one that failed.

mod common;

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::{Arc, Mutex};

use common::{assert_valid, conversations, scripted};
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_core::tool::{DeclaredTool, RawTool, ToolError};

/// Builds a call of a member of `toolset`.
fn member(id: &str, toolset: &str) -> String {
    format!(
        r#"{{"type":"tool_use","id":"{id}","name":"act","input":{{"id":"{id}"}},"toolset_name":"{toolset}"}}"#
    )
}

#[tokio::test]
async fn members_run_one_after_another_and_not_after_a_failure() {
    for eager in [false, true] {
        let ids = [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a"), ("b2", "b"), ("b3", "b")];
        let reply =
            ids.iter().fold(ScriptedReply::new(), |reply, (id, set)| reply.block(&member(id, set)));
        let again = ScriptedReply::new().block(&member("a4", "a"));
        let scripted =
            scripted(Script::new().reply(reply).reply(again).reply(ScriptedReply::text("Done.")));
        let ran = Arc::new(Mutex::new(Vec::new()));
        let most = Arc::new(AtomicUsize::new(0));
        let tool = |toolset: &'static str| {
            let (ran, most) = (Arc::clone(&ran), Arc::clone(&most));
            let busy = Arc::new(AtomicUsize::new(0));
            RawTool::new("act", "", r#"{"type":"object","properties":{"id":{"type":"string"}}}"#, {
                move |input| {
                    let (ran, most, busy) =
                        (Arc::clone(&ran), Arc::clone(&most), Arc::clone(&busy));
                    async move {
                        most.fetch_max(busy.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        tokio::time::sleep(Duration::from_millis(2)).await;
                        busy.fetch_sub(1, Ordering::SeqCst);
                        let id = input.value().member("id").unwrap().as_text().unwrap().to_string();
                        ran.lock().unwrap().push(id.clone());
                        if id == "a2" {
                            Err(ToolError::text("no such window".to_owned()))
                        } else {
                            Ok(id)
                        }
                    }
                }
            })
            .unwrap()
            .member_of(toolset)
        };
        let declared =
            |toolset| DeclaredTool::new(format!(r#"{{"type":"{toolset}_toolset"}}"#)).unwrap();
        let mut run = scripted
            .client()
            .run("m")
            .eager(eager)
            .tools((declared("a"), declared("b"), tool("a"), tool("b")))
            .user("Go.");
        assert_eq!(run.until_done().await.unwrap().text(), "Done.");
        // The toolsets run beside each other, and each in its order. Another turn begins anew.
        let ran = ran.lock().unwrap();
        let of = |set: &str| {
            ran.iter().filter(|id| id.starts_with(set)).map(String::as_str).collect::<Vec<_>>()
        };
        assert_eq!((of("a"), of("b")), (vec!["a1", "a2", "a4"], vec!["b1", "b2", "b3"]));
        assert_eq!(most.load(Ordering::SeqCst), 1, "one call of a toolset at a time");
        let last = conversations(&scripted).pop().unwrap();
        let refused = r#""tool_use_id":"a3","toolset_name":"a","content":"Not executed: an earlier action in this turn failed.","is_error":true"#;
        assert!(last.contains(refused), "{last}");
        assert_eq!(last.matches("Not executed").count(), 1, "{last}");
        assert_valid(&run, &scripted);
    }
}
