//! How things are done, one page per task. Each code block is compiled and run as a test.

pub mod structured_output;
pub mod tools;
