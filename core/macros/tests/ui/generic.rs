use toolrunner_core::tool;

#[tool]
fn echo<T: Clone>(value: T) -> T {
    value
}

fn main() {}
