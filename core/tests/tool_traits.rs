//! The properties of a tool's definition that the model does not receive.
#![cfg(all(feature = "macros", feature = "alloc", feature = "serde"))]
#![allow(
    clippy::unwrap_used,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    dead_code,
    reason = "tests"
)]

use toolrunner_core::__private::check_tools;
use toolrunner_core::tool::{Input, RawTool, ToolError, Toolbox};
use toolrunner_core::{tool, toolbox};

/// Set the target temperature.
#[tool(idempotent)]
fn set_target(_celsius: i32) {}

/// Pay an invoice.
#[tool(requires_approval, timeout_ms = 500)]
fn pay(_invoice: u32) {}

struct Board;

#[toolbox]
impl Board {
    /// Read the temperature.
    #[tool(idempotent, requires_approval)]
    fn read(&self) -> i32 {
        21
    }
}

/// Refused before anything is sent, with a clear text: the API would refuse the whole request.
#[test]
fn a_raw_tool_of_an_illegal_name_is_refused_when_it_is_made() {
    let long = "a".repeat(129);
    for name in ["my tool!", "", "ä", "a\nb", &long] {
        let tool =
            RawTool::new(name, "", "{}", |_: Input| async { Ok::<_, ToolError>("") }).map(|_| ());
        let refused = tool.unwrap_err().to_string();
        assert!(refused.contains("a tool's name must be"), "{name:?}: {refused}");
    }
}

#[test]
fn idempotent_and_requires_approval_are_part_of_the_definition_and_not_of_its_json() {
    let raw = |name| {
        RawTool::new(name, "", r#"{"type":"object"}"#, |_: Input| async { Ok::<_, ToolError>("") })
            .unwrap()
    };
    let tools = (
        set_target,
        pay,
        Board,
        raw("plain"),
        raw("set").idempotent(),
        raw("drop").requires_approval(),
    );
    check_tools(&tools).unwrap();
    let told: Vec<_> = (0..tools.count())
        .map(|i| {
            let tool = tools.definition(i).unwrap();
            assert!(
                !tool.json.contains("idempotent") && !tool.json.contains("approval"),
                "{}",
                tool.json
            );
            (tool.name, tool.idempotent, tool.requires_approval)
        })
        .collect();
    assert_eq!(
        told,
        [
            ("set_target", true, false),
            ("pay", false, true),
            ("read", true, true),
            ("plain", false, false),
            ("set", true, false),
            ("drop", false, true)
        ]
    );
}
