//! Tools: what the model may call.

use core::time::Duration;

use crate::json::{Text, Value};

/// What a toolbox tells of one tool: what goes on the wire, and how to run it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Definition<'a> {
    /// The name that the model calls.
    pub name: &'a str,
    /// The whole definition as JSON, as it goes into the request's `tools`.
    pub json: &'a str,
    /// Whether [`Toolbox::call`] runs it. If not, the caller answers its calls, or the server does.
    pub runnable: bool,
    /// Whether it never runs beside another tool that says the same.
    pub serial: bool,
    /// Whether it blocks its thread, so that a server runs it where that does no harm.
    pub blocking: bool,
    /// How long a call may take; its future is dropped then.
    pub timeout: Option<Duration>,
}

impl<'a> Definition<'a> {
    /// A runnable tool of this name and definition.
    pub const fn new(name: &'a str, json: &'a str) -> Self {
        Self { name, json, runnable: true, serial: false, blocking: false, timeout: None }
    }
}

/// One call, as a tool sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct ToolCall<'a> {
    /// The call's id, unique in the conversation.
    pub id: Text<'a>,
    /// The tool's name.
    pub name: Text<'a>,
    /// The input: a checked JSON object.
    pub input: Value<'a>,
    /// Room to unescape the input's strings into: as long as the input if it has an escape, else empty.
    pub scratch: &'a mut [u8],
    /// Which turn of the run asked for it, from 1.
    pub turn: u32,
}

impl<'a> ToolCall<'a> {
    /// A call with all that a tool needs.
    pub const fn new(id: Text<'a>, name: Text<'a>, input: Value<'a>, scratch: &'a mut [u8]) -> Self {
        Self { id, name, input, scratch, turn: 0 }
    }
}
