use toolrunner_core::tool;

struct Celsius(f32);

#[tool]
fn set_target(target: Celsius) {}

fn main() {}
