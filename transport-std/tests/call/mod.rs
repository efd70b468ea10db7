//! Calls of a tool without a run.
#![allow(unreachable_pub, reason = "each test file is a crate of its own")]

use toolrunner_core::json::{Text, Value};
use toolrunner_core::tool::{Output, ToolCall, Tools};

/// Calls the tool of this name. `Ok` and `Err` hold the text that the model receives, or the JSON
/// of the blocks.
pub async fn called(tools: &impl Tools, name: &str, input: &str) -> Result<String, String> {
    let i = tools.find(Text::from_raw(name)).unwrap_or_else(|| panic!("no tool {name}"));
    let mut memory = Vec::new();
    let mut out = Output::growing(&mut memory);
    let mut scratch = vec![0; input.len()];
    let value = Value::first(input.as_bytes()).unwrap();
    let call = ToolCall::new(Text::from_raw("t1"), Text::from_raw(name), value, &mut scratch);
    let outcome = tools.call(i, call, &mut out).await;
    if let Err(error) = &outcome {
        error.write_to(&mut out).unwrap();
    }
    let json = out.finish().unwrap();
    let text = serde_json::from_slice::<String>(json)
        .unwrap_or_else(|_| String::from_utf8(json.to_vec()).unwrap());
    outcome.map(|()| text.clone()).map_err(|_| text)
}

/// An input of strings.
pub fn input(members: &[(&str, &str)]) -> String {
    serde_json::Value::Object(
        members.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect(),
    )
    .to_string()
}
