use toolrunner_core::{ToolInput, tool};

#[derive(ToolInput)]
enum Choice {
    A(u8),
    B(u8),
}

#[tool(input)]
fn choose(choice: Choice) {}

#[tool(input)]
fn two(a: u8, b: u8) {}

#[tool(input)]
fn none() {}

#[derive(ToolInput)]
#[serde(untagged)]
enum Fits {
    Nothing,
    Number(u8),
}

#[derive(ToolInput)]
struct Converted {
    #[serde(deserialize_with = "anything")]
    value: String,
}

fn main() {}
