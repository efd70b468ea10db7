use toolrunner_core::tool;

struct Failed;

#[tool]
fn weather() -> Result<(), Failed> {
    Err(Failed)
}

fn main() {}
