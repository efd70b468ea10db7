use toolrunner_core::tool;

#[tool]
fn a(#[tool(min = 1)] text: &str) {}

#[tool]
fn b(#[tool(max_len = 5)] n: i64) {}

fn main() {}
