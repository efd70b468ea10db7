//! Tools: the functions that the model can call.
//!
//! A [`Toolbox`] holds tools by index. For each tool it has a [`Definition`] and a function that
//! takes a [`ToolCall`] and writes to an [`Output`]. `#[tool]` and `#[toolbox]` generate a toolbox
//! from plain functions.

mod block;
#[cfg(feature = "alloc")]
mod collections;
mod context;
#[cfg(feature = "serde-json-core")]
mod deserialize;
pub(crate) mod error;
mod extras;
mod from_text;
pub(crate) mod generated;
pub(crate) mod input;
pub(crate) mod list;
mod output;
pub(crate) mod raw;
pub(crate) mod result;
#[cfg(feature = "serde")]
pub(crate) mod serde;
pub(crate) mod texts;
pub(crate) mod toolbox;
#[cfg(feature = "schemars")]
mod typed;

pub use block::{ContentBlock, Source};
pub use context::{ToolContext, ToolHost};
#[cfg(feature = "serde-json-core")]
pub use deserialize::AnyJson;
pub use error::ToolError;
pub use from_text::FromText;
pub(crate) use input::check_input;
pub use input::{Decoder, ToolInput};
#[cfg(feature = "alloc")]
pub use list::{BoxTools, DynTools};
pub(crate) use output::GateInput;
pub use output::Output;
#[cfg(feature = "alloc")]
pub use raw::Input;
pub use raw::{DeclaredTool, RawTool};
#[cfg(feature = "serde")]
pub use result::Json;
pub use result::ToolOutput;
pub(crate) use texts::{EMPTY_ERROR, EMPTY_RESULT, Notice};
pub(crate) use toolbox::check_tools;
pub(crate) use toolbox::not_found;
pub use toolbox::{Toolbox, Tools};

use core::time::Duration;

use crate::json::{Text, Value};
use crate::time::Instant;

/// The definition of one tool: the JSON that is sent to the model, and how the tool runs.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Definition<'a> {
    /// The name that the model uses in calls.
    pub name: &'a str,
    /// The whole definition as JSON, as it is written to the `tools` of a request.
    pub json: &'a str,
    /// The toolset that contains this tool, such as `computer`.
    ///
    /// A member of a toolset answers only calls with this `toolset_name` and its own name. Its
    /// definition is not sent, because the toolset's own entry in `tools` covers all members.
    pub toolset: Option<&'a str>,
    /// Whether [`Toolbox::call`] runs the tool. Otherwise the caller or the server answers its
    /// calls.
    pub runnable: bool,
    /// Whether the tool is left out of the `tools` of a request, because a message of the
    /// conversation defines it. See [`unlisted`](Self::unlisted).
    pub is_unlisted: bool,
    /// The serial group of the tool. Two calls of one group never run at the same time. The empty
    /// string is a group like any other.
    pub serial: Option<&'a str>,
    /// Whether the tool blocks its thread. A server runs such a tool where blocking does no harm.
    pub blocking: bool,
    /// The time limit of a call. When it expires, the call's future is dropped.
    pub timeout: Option<Duration>,
    /// Whether running a call a second time has no further effect. A server that lost a started
    /// call in a crash may then run it again.
    ///
    /// The model does not receive this, and the loop itself still runs every call at most once.
    pub idempotent: bool,
    /// Whether a person must approve each call before it runs. The model does not receive this. The
    /// loop does not enforce it: a gate does.
    pub requires_approval: bool,
    /// The function that checks the name and the JSON: see [`extras`]. `None` if they are correct
    /// by construction.
    check: Option<toolbox::Check>,
    /// The schema of a definition that is completed at run time.
    #[cfg(feature = "schemars")]
    unfinished: Option<&'static crate::schema::Schema>,
}

impl<'a> Definition<'a> {
    /// Creates the definition of a runnable tool.
    pub const fn new(name: &'a str, json: &'a str) -> Self {
        Self {
            name,
            json,
            toolset: None,
            runnable: true,
            is_unlisted: false,
            serial: None,
            blocking: false,
            timeout: None,
            idempotent: false,
            requires_approval: false,
            check: Some(extras::enable_definition_check()),
            #[cfg(feature = "schemars")]
            unfinished: None,
        }
    }

    /// Returns the definition as JSON if it has its own entry in the `tools` of a request. Members
    /// of a toolset and [unlisted](Self::unlisted) tools have no entry.
    pub const fn listed_json(&self) -> Option<&'a str> {
        if self.toolset.is_none() && !self.is_unlisted { Some(self.json) } else { None }
    }

    /// Makes the tool a member of this [`toolset`](Self::toolset).
    #[must_use]
    pub const fn member_of(mut self, toolset: &'a str) -> Self {
        self.toolset = Some(toolset);
        self
    }

    /// Marks the tool as declared only: the caller or the server answers its calls.
    #[must_use]
    pub const fn declared(mut self) -> Self {
        self.runnable = false;
        self
    }

    /// Leaves the tool out of the `tools` of a request. Use this for a tool that a `tool_addition`
    /// block of a system message defines: the tools that the request lists then stay the same, and
    /// the prompt cache stays valid.
    #[must_use]
    pub const fn unlisted(mut self) -> Self {
        self.is_unlisted = true;
        self
    }

    /// Adds the tool to the unnamed serial group: its calls never run at the same time as other
    /// calls of that group.
    #[must_use]
    pub const fn serial(self) -> Self {
        self.serial_in("")
    }

    /// Adds the tool to a serial group: its calls never run at the same time as other calls of that
    /// group.
    #[must_use]
    pub const fn serial_in(mut self, group: &'a str) -> Self {
        self.serial = Some(group);
        self
    }

    /// Marks the tool as [`blocking`](Self::blocking), so that a server runs it where blocking a
    /// thread does no harm.
    #[must_use]
    pub const fn blocking(mut self) -> Self {
        self.blocking = true;
        self
    }

    /// Sets the time limit of a call. When it expires, the call's future is dropped.
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

    /// Marks the tool as one whose calls a person must approve. See
    /// [`requires_approval`](Self::requires_approval).
    #[must_use]
    pub const fn requires_approval(mut self) -> Self {
        self.requires_approval = true;
        self
    }
}

/// One call, as its tool receives it.
#[non_exhaustive]
pub struct ToolCall<'a> {
    /// The call's id, unique in the conversation.
    pub id: Text<'a>,
    /// The tool's name.
    pub name: Text<'a>,
    /// The toolset that the call names, if it names one.
    pub toolset: Option<Text<'a>>,
    /// The input: a valid JSON object.
    pub input: Value<'a>,
    /// A buffer for the input's unescaped strings. It is as long as the input if the input contains
    /// an escape, and empty otherwise.
    pub scratch: &'a mut [u8],
    /// The turn of the run that made the call, counted from 1.
    pub turn: u32,
    /// The time, by the run's clock, when the call is dropped. `None` if the call has no time
    /// limit.
    pub deadline: Option<Instant>,
    /// The services of the front end, such as cancellation and shared state. Use them through
    /// [`context`](Self::context).
    pub host: Option<&'a dyn ToolHost>,
}

impl<'a> ToolCall<'a> {
    /// Creates a call without a deadline and without a host.
    pub const fn new(
        id: Text<'a>,
        name: Text<'a>,
        input: Value<'a>,
        scratch: &'a mut [u8],
    ) -> Self {
        Self { id, name, toolset: None, input, scratch, turn: 0, deadline: None, host: None }
    }

    /// Returns the context of the call.
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
