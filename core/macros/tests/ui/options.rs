use toolrunner_core::{ToolInput, tool, toolbox};

#[tool(stricter)]
fn a() {}

#[tool(name = "no spaces")]
fn b() {}

#[tool]
fn c(#[tool(minimum = 1)] n: i64) {}

#[tool]
fn d(#[tool(default = std::time::Duration::ZERO.as_secs())] n: u64) {}

#[tool]
struct E;

#[tool(raw = "{}")]
fn f() {}

#[derive(ToolInput)]
struct G {
    #[serde(with = "rest")]
    rest: String,
}

#[derive(ToolInput)]
struct H();

struct Board;

#[toolbox]
impl Board {
    #[tool]
    fn i(&mut self) {}
}

#[toolbox]
impl Board {}

fn main() {}
