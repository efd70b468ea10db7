use std::collections::BTreeMap;

use toolrunner_core::tool;

#[tool]
fn count(counts: BTreeMap<u32, u32>) {}

struct NoFromStr;

#[tool]
fn read(#[tool(parse)] value: NoFromStr) {}

fn main() {}
