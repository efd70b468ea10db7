//! Types that cannot be tools.

use toolrunner_core::{ToolInput, tool};

#[derive(ToolInput)]
struct NoRun {
    a: i64,
}

#[tool]
impl NoRun {
    fn call(self) -> i64 {
        self.a
    }
}

#[derive(ToolInput)]
struct NoReceiver {
    a: i64,
}

#[tool]
impl NoReceiver {
    fn run(input: Self) -> i64 {
        input.a
    }
}

#[derive(ToolInput)]
struct Generic<T> {
    a: T,
}

#[tool]
impl<T> Generic<T> {
    fn run(self) -> &'static str {
        "none"
    }
}

#[derive(ToolInput)]
enum NotAnObject {
    A,
}

#[tool]
impl NotAnObject {
    fn run(self) -> &'static str {
        "none"
    }
}

struct OfATrait;

#[tool]
impl Drop for OfATrait {
    fn drop(&mut self) {}
}

fn main() {}
