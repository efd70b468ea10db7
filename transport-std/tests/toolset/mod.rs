//! Plays calls of a toolset through a run.
#![allow(dead_code, unreachable_pub, reason = "each suite uses a part of it")]

use serde_json::{Value, json};
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_core::tool::Tools;
use toolrunner_std::testing::ScriptedServer;

/// The smallest PNG image: one pixel.
pub const PNG: &[u8] = &[
    0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, 0x49, 0x48, 0x44, 0x52, 0, 0, 0,
    1, 0, 0, 0, 1, 8, 6, 0, 0, 0, 0x1f, 0x15, 0xc4, 0x89,
];

/// The block of [`PNG`].
pub fn image() -> Value {
    json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"}})
}

/// A call: the name of a member, and its input.
pub type Call = (&'static str, Value);

/// Plays calls, each in a turn of its own. Returns the first request and the results.
pub async fn played(tools: impl Tools, toolset: &str, calls: &[Call]) -> (Value, Vec<Value>) {
    let turns: Vec<_> = calls.iter().map(core::slice::from_ref).collect();
    played_with(tools, Some(toolset), &turns).await
}

/// Plays turns of calls. Returns the first request and the results of all turns.
pub async fn played_with(
    tools: impl Tools,
    toolset: Option<&str>,
    turns: &[&[Call]],
) -> (Value, Vec<Value>) {
    let mut script = Script::new();
    for (turn, calls) in turns.iter().enumerate() {
        let reply = calls.iter().enumerate().fold(ScriptedReply::new(), |reply, (i, (name, input))| {
            let mut block =
                json!({"type": "tool_use", "id": format!("t{turn}_{i}"), "name": name, "input": input});
            if let Some(toolset) = toolset {
                block["toolset_name"] = json!(toolset);
            }
            reply.block(&block.to_string())
        });
        script = script.reply(reply);
    }
    let scripted =
        ScriptedServer::new(ScriptedModel::new(script.reply(ScriptedReply::text("Done."))));
    let mut run = scripted.client().run("m").tools(tools).user("Go.");
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
    assert_eq!(scripted.model().complaints(), [] as [String; 0]);
    let requests = scripted.requests();
    let body = |i: usize| serde_json::from_slice::<Value>(&requests[i].body).unwrap();
    let messages = body(requests.len() - 1)["messages"].clone();
    let messages = messages.as_array().unwrap().clone();
    let blocks = messages.into_iter().filter_map(|message| message["content"].as_array().cloned());
    let results = blocks.flatten().filter(|block| block["type"] == "tool_result").collect();
    (body(0), results)
}

/// The texts of a result: of its text blocks, or the result itself.
pub fn texts(result: &Value) -> Vec<&str> {
    match &result["content"] {
        Value::Array(blocks) => blocks.iter().filter_map(|block| block["text"].as_str()).collect(),
        text => text.as_str().into_iter().collect(),
    }
}

/// The only text of a result.
#[track_caller]
pub fn text(result: &Value) -> &str {
    let [text] = texts(result)[..] else { panic!("not one text: {result}") };
    text
}
