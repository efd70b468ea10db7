//! `#[tool]`, `#[toolbox]` and `derive(ToolInput)`.
