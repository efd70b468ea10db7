//! Tools: what the model may call.
//!
//! A [`Toolbox`] has tools by index: what each is ([`Definition`]) and how it runs ([`ToolCall`]
//! in, [`Output`] out). `#[tool]` and `#[toolbox]` write one from plain functions.

mod block;
mod context;
mod error;
mod input;
mod output;
mod raw;
mod result;
#[cfg(feature = "serde")]
mod serde;
mod texts;
mod toolbox;

#[cfg(feature = "serde")]
pub use self::serde::Error as SerializeError;
pub use block::{Block, Source};
pub use context::{ToolContext, ToolHost};
pub use error::{ERROR_TEXT, ToolError};
pub use input::{Decoder, ToolInput};
#[doc(hidden)]
pub use input::{begin, invalid_input};
pub use output::Output;
pub(crate) use output::is_empty_text_block;
#[cfg(feature = "alloc")]
pub use raw::{Async, Input};
pub use raw::{Declared, DefinitionText, Direct, RawTool};
#[cfg(feature = "serde")]
pub use result::Json;
pub use result::ToolOutput;
#[doc(hidden)]
pub use result::kinds;
pub use texts::{EMPTY_ERROR, EMPTY_RESULT, Notice};
pub use toolbox::{ByRef, Toolbox, Tools, check_server_tools, check_tools};
#[doc(hidden)]
pub use toolbox::{HasToolAttribute, ToolFunction, not_found};

use core::time::Duration;

use crate::json::{Text, Value};
use crate::schema::Schema;
use crate::time::Instant;

/// What a toolbox tells of one tool: what goes on the wire, and how to run it.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Definition<'a> {
    /// The name that the model calls.
    pub name: &'a str,
    /// The whole definition as JSON, as it goes into the request's `tools`.
    pub json: &'a str,
    /// The toolset that it is a member of, such as `computer`: it answers calls with this
    /// `toolset_name` and its name, and no others. Nothing is sent of it, because the toolset's own
    /// entry in `tools` stands for all members.
    pub toolset: Option<&'a str>,
    /// Whether [`Toolbox::call`] runs it. If not, the caller answers its calls, or the server does.
    pub runnable: bool,
    /// The serial group that it is in: no two calls of one group run at the same time. The empty
    /// name is a group like any other.
    pub serial: Option<&'a str>,
    /// Whether it blocks its thread, so that a server runs it where that does no harm.
    pub blocking: bool,
    /// How long a call may take; its future is dropped then.
    pub timeout: Option<Duration>,
    /// Whether a call may run a second time without further effect. A server that lost a started
    /// call in a crash may then run it again.
    ///
    /// The model does not see this, and the loop itself still runs every call at most once.
    pub idempotent: bool,
    /// Whether a person must approve each call before it runs. The model does not see this. The
    /// loop does not enforce it: a gate does.
    pub requires_approval: bool,
    /// What checks name and JSON; none if they are right by the way they were made, and then no
    /// code for it is linked either.
    check: Option<toolbox::Check>,
}

impl<'a> Definition<'a> {
    /// A runnable tool of this name and definition.
    pub const fn new(name: &'a str, json: &'a str) -> Self {
        Self {
            name,
            json,
            toolset: None,
            runnable: true,
            serial: None,
            blocking: false,
            timeout: None,
            idempotent: false,
            requires_approval: false,
            check: Some(toolbox::check_definition),
        }
    }

    /// The definition as JSON, if it has an entry of its own in a request's `tools`. The members of
    /// a toolset have none.
    pub const fn listed_json(&self) -> Option<&'a str> {
        if self.toolset.is_none() { Some(self.json) } else { None }
    }

    /// The same, of a good name and of a JSON that was made of them and this schema.
    #[doc(hidden)]
    pub const fn made(name: &'a str, json: &'a str, schema: &Schema) -> Self {
        let mut this = Self::new(name, json);
        if schema.is_written_right() {
            this.check = None;
        }
        this
    }

    /// Makes it a member of this [`toolset`](Self::toolset).
    #[must_use]
    pub const fn member_of(mut self, toolset: &'a str) -> Self {
        self.toolset = Some(toolset);
        self
    }

    /// The same, declared only: the caller answers its calls, or the server does.
    #[must_use]
    pub const fn declared(mut self) -> Self {
        self.runnable = false;
        self
    }

    /// The same, never beside another that says so: in the unnamed serial group.
    #[must_use]
    pub const fn serial(self) -> Self {
        self.serial_in("")
    }

    /// The same, never beside another of this serial group.
    #[must_use]
    pub const fn serial_in(mut self, group: &'a str) -> Self {
        self.serial = Some(group);
        self
    }

    /// The same, run where blocking a thread does no harm.
    #[must_use]
    pub const fn blocking(mut self) -> Self {
        self.blocking = true;
        self
    }

    /// The same with a time-out.
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// Marks the tool as [`idempotent`](Self::idempotent).
    #[must_use]
    pub const fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Marks the tool as one whose calls a person must approve: see
    /// [`requires_approval`](Self::requires_approval).
    #[must_use]
    pub const fn requires_approval(mut self) -> Self {
        self.requires_approval = true;
        self
    }
}

/// One call, as a tool sees it.
#[non_exhaustive]
pub struct ToolCall<'a> {
    /// The call's id, unique in the conversation.
    pub id: Text<'a>,
    /// The tool's name.
    pub name: Text<'a>,
    /// The input: a checked JSON object.
    pub input: Value<'a>,
    /// Room to unescape the input's strings into: as long as the input if it has an escape, else
    /// empty.
    pub scratch: &'a mut [u8],
    /// Which turn of the run asked for it, from 1.
    pub turn: u32,
    /// When the call will be dropped, by the run's clock; nothing if it may take as long as it
    /// likes.
    pub deadline: Option<Instant>,
    /// What the front end offers: cancellation and shared state, behind [`context`](Self::context).
    pub host: Option<&'a dyn ToolHost>,
}

impl<'a> ToolCall<'a> {
    /// A call with all that a tool needs.
    pub const fn new(
        id: Text<'a>,
        name: Text<'a>,
        input: Value<'a>,
        scratch: &'a mut [u8],
    ) -> Self {
        Self { id, name, input, scratch, turn: 0, deadline: None, host: None }
    }

    /// For generated code: the same call with this input, if there is one: a JSON object that is
    /// not longer than the other.
    #[cfg(feature = "alloc")]
    #[doc(hidden)]
    #[must_use]
    pub fn with_input(mut self, json: Option<&'a str>) -> Self {
        if let Some(input) = json.and_then(|json| Value::first(json.as_bytes())) {
            self.input = input;
        }
        self
    }

    /// What surrounds the call.
    pub const fn context(&self) -> ToolContext<'a> {
        ToolContext {
            id: self.id,
            name: self.name,
            turn: self.turn,
            deadline: self.deadline,
            host: self.host,
        }
    }
}

impl core::fmt::Debug for ToolCall<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("ToolCall")
            .field("context", &self.context())
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}
