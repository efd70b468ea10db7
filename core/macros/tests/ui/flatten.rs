use toolrunner_core::{ToolInput, tool};

#[derive(ToolInput)]
enum Choice {
    A(u8),
    B(u8),
}

#[derive(ToolInput)]
struct Outer {
    #[serde(flatten)]
    choice: Choice,
}

#[derive(ToolInput)]
struct Name {
    name: String,
}

#[tool]
fn twice(name: String, #[tool(flatten)] other: Name) {}

#[derive(ToolInput)]
struct Page<T> {
    #[tool(flatten)]
    inner: T,
}

#[derive(ToolInput)]
struct Renamed {
    #[tool(flatten, rename = "n")]
    name: Name,
}

fn main() {}
