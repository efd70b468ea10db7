//! Bytes that a tool returns or accepts.
#![cfg(all(feature = "macros", feature = "alloc", feature = "serde-json"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "tests"
)]

use toolrunner_core::json::{Text, Value};
use toolrunner_core::tool;
use toolrunner_core::tool::{ContentBlock, Json, Output, Source, ToolCall, ToolError, Toolbox};

/// Numbers on purpose.
#[tool]
fn numbers() -> Json<Vec<u8>> {
    Json(vec![1, 2, 255])
}

/// A picture.
#[tool]
fn picture(out: &mut Output<'_>) -> Result<(), ToolError> {
    let bytes = b"\x89PNG".to_vec();
    Ok(out.block(ContentBlock::image(Source::Bytes { media_type: "image/png", data: &bytes }))?)
}

/// Takes what goes to a register, and gives lists that are not bytes.
#[tool]
fn write_register(bytes: Vec<u8>) -> Vec<u16> {
    bytes.into_iter().map(u16::from).collect()
}

fn content(tool: &impl Toolbox, input: &str) -> String {
    let mut memory = Vec::new();
    let mut out = Output::growing(&mut memory);
    let call = ToolCall::new(
        Text::from_raw("t"),
        Text::from_raw("n"),
        Value::first(input.as_bytes()).unwrap(),
        &mut [],
    );
    {
        let running = std::pin::pin!(tool.call(0, call, &mut out));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let std::task::Poll::Ready(done) = running.poll(&mut context) else {
            panic!("no tool here waits")
        };
        done.unwrap();
    }
    String::from_utf8(out.finish().unwrap().to_vec()).unwrap()
}

#[test]
fn lists_of_numbers_are_said_on_purpose() {
    assert_eq!(content(&numbers, "{}"), r#""[1,2,255]""#);
    assert_eq!(content(&write_register, r#"{"bytes":[0,255]}"#), r#""[0,255]""#);
    assert!(content(&picture, "{}").contains(r#""data":"iVBORw==""#));
}
