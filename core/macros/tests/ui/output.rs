use std::collections::BTreeMap;

use toolrunner_core::ToolInput;
use toolrunner_core::json::Value;
use toolrunner_core::output_params;

#[derive(ToolInput)]
struct Counts {
    words: BTreeMap<String, u32>,
}

#[derive(ToolInput)]
struct Anything<'a> {
    value: Value<'a>,
}

fn main() {
    let _counts = output_params!(Counts);
    let _anything = output_params!(Anything<'static>);
}
