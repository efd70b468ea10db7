//! A result that the API refuses is replaced, and its tool does not run again.

mod common;

use common::{assert_valid, conversations, fun, scripted};
use toolrunner_core::testing::{Answer, Script, ScriptedReply};
use toolrunner_std::{Error, Run, ToolAnswer};

/// The error that the API reports; the paths name the results.
fn too_large(path: &str) -> Answer {
    let details = format!(
        r#"{{"error_code":"image_dimensions_too_large","max_side_length_pixels":2000,"paths":["{path}"]}}"#
    );
    let error = format!(
        r#"{{"type":"invalid_request_error","message":"At least one of the image dimensions exceeds the limit","details":{details}}}"#
    );
    Answer::raw(400, format!(r#"{{"type":"error","error":{error},"request_id":"req_1"}}"#))
}

const PICTURE: &str =
    r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBORw=="}}]"#;
const SMALLER: &str =
    r#"[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"aVZC"}}]"#;

/// Returns a tool that takes a picture; the script has two turns with it.
fn camera() -> common::Fun {
    fun("camera", |_| Ok("a picture".to_owned()))
}

fn picture(draft: &mut toolrunner_std::run::ResultDraft) {
    assert!(draft.replace_json(PICTURE));
}

async fn refused(run: &mut Run) -> String {
    let Err(Error::Api(failure)) = run.until_done().await else {
        panic!("the request was not refused")
    };
    assert!(failure.details.contains("image_dimensions_too_large"), "{failure:?}");
    failure.details
}

#[tokio::test]
async fn a_result_of_the_last_turn() {
    let calls = ScriptedReply::new().tool_use("t1", "camera", "{}").tool_use("t2", "camera", "{}");
    let script = Script::new()
        .reply(calls)
        .answer(too_large("messages.2.content.1.content.0"))
        .reply(ScriptedReply::text("I see."));
    let (scripted, camera) = (scripted(script), camera());
    let mut run = scripted.client().run("m").tools(camera.clone()).on_result(picture).user("Look.");
    assert!(refused(&mut run).await.contains("messages.2.content.1.content.0"));
    // Invalid content is refused, and so is an unknown call.
    assert!(
        run.replace_result_with("t2", ToolAnswer::ok_json(b"5")).is_err()
            && run.replace_result("t3", "x").is_err()
    );
    assert_eq!(
        run.replace_result_with("t2", ToolAnswer::ok_json(SMALLER.as_bytes()))
            .unwrap()
            .until_done()
            .await
            .unwrap()
            .text(),
        "I see."
    );
    assert_eq!(camera.ran(), ["t1", "t2"]);
    let sent = conversations(&scripted).pop().unwrap();
    assert!(sent.contains(&format!(r#""tool_use_id":"t1","content":{PICTURE}}}"#)), "{sent}");
    assert!(sent.contains(&format!(r#""tool_use_id":"t2","content":{SMALLER}}}"#)), "{sent}");
    assert_valid(&run, &scripted);
}

/// The limit depends on the number of images: one that was accepted may be refused later.
#[tokio::test]
async fn a_result_of_an_earlier_turn() {
    let call = |id: &str| ScriptedReply::text("Let me see.").tool_use(id, "camera", "{}");
    let script = Script::new()
        .reply(call("t1"))
        .reply(call("t2"))
        .answer(too_large("messages.2.content.0.content.0"));
    let script = script.reply(call("t3")).reply(ScriptedReply::text("I see."));
    let (scripted, camera) = (scripted(script), camera());
    let mut run = scripted.client().run("m").tools(camera.clone()).on_result(picture).user("Look.");
    refused(&mut run).await;
    for (id, text, is_error) in [
        (
            "t1",
            r#""A longer text than what was there before, to see that what stands behind it moves: \"é\"""#,
            true,
        ),
        ("t1", r#""-""#, false),
    ] {
        run.replace_result_with(id, ToolAnswer::ok_json(text.as_bytes()).with_error(is_error))
            .unwrap();
        assert_valid(&run, &scripted);
    }
    let snapshot = run.snapshot().unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "I see.");
    assert_eq!(camera.ran(), ["t1", "t2", "t3"]);
    let sent = conversations(&scripted).pop().unwrap();
    assert!(
        sent.contains(r#""tool_use_id":"t1","content":"-"}"#)
            && sent.contains(&format!(r#""tool_use_id":"t2","content":{PICTURE}}}"#)),
        "{sent}"
    );
    assert_valid(&run, &scripted);
    // The snapshot contains the replacement.
    let resumed = scripted.client().run("m").tools(camera).resume(&snapshot);
    assert!(resumed.messages().contains(r#""tool_use_id":"t1","content":"-"}"#));
}

/// Another process that continues the conversation may replace a result too.
#[tokio::test]
async fn a_result_of_a_history() {
    let history = format!(
        r#"[{{"role":"user","content":"Look."}},{{"role":"assistant","content":[{{"type":"tool_use","id":"t1","name":"camera","input":{{}},"toolset_name":"t"}}]}},
            {{"role":"user","content":[{{"cache_control":{{"type":"ephemeral"}}, "content":{PICTURE}, "toolset_name":"t","tool_use_id":"t1","type":"tool_result"}},{{"type":"text","text":"Well?"}}]}}]"#
    );
    let scripted = scripted(
        Script::new()
            .answer(too_large("messages.2.content.0.content.0"))
            .reply(ScriptedReply::text("I see.")),
    );
    let mut run = scripted.client().run("m").messages(&history);
    refused(&mut run).await;
    run.replace_result("t1", "a cat").unwrap().until_done().await.unwrap();
    let sent = conversations(&scripted).pop().unwrap();
    assert!(sent.contains(r#"{"type":"tool_result","tool_use_id":"t1","toolset_name":"t","content":"a cat"},{"type":"text""#), "{sent}");
    assert_valid(&run, &scripted);
}
