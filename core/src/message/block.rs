//! The kinds of block, and a view for each.

use crate::json::{Array, Kind, Text, Value};

/// Writes a view type with an accessor for each field. A field is `text` (missing or no string:
/// empty), `maybe_text`, `value` (missing: `null`), `maybe_value` (missing or `null`: nothing),
/// `flag` (true or not), `blocks` (a string, or an array of blocks).
macro_rules! views {
    ($($(#[$doc:meta])* $view:ident { $($(#[$field_doc:meta])* $field:ident : $kind:ident,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $view<'a>(Value<'a>);

        impl<'a> $view<'a> {
            $(views!(@field $(#[$field_doc])* $field $kind);)*

            /// The block as JSON: every field, listed above or not.
            pub const fn value(self) -> Value<'a> {
                self.0
            }

            /// The bytes of the block.
            pub const fn raw(self) -> &'a [u8] {
                self.0.raw()
            }
        }
    )*};
    (@field $(#[$doc:meta])* $field:ident text) => {
        $(#[$doc])*
        pub fn $field(self) -> Text<'a> {
            self.0.member(stringify!($field)).and_then(Value::as_text).unwrap_or_default()
        }
    };
    (@field $(#[$doc:meta])* $field:ident maybe_text) => {
        $(#[$doc])*
        pub fn $field(self) -> Option<Text<'a>> {
            self.0.member(stringify!($field)).and_then(Value::as_text)
        }
    };
    (@field $(#[$doc:meta])* $field:ident value) => {
        $(#[$doc])*
        pub fn $field(self) -> Value<'a> {
            self.0.member(stringify!($field)).unwrap_or(Value::NULL)
        }
    };
    (@field $(#[$doc:meta])* $field:ident maybe_value) => {
        $(#[$doc])*
        pub fn $field(self) -> Option<Value<'a>> {
            self.0.member(stringify!($field)).filter(|value| !value.is_null())
        }
    };
    (@field $(#[$doc:meta])* $field:ident flag) => {
        $(#[$doc])*
        pub fn $field(self) -> bool {
            self.0.member(stringify!($field)).and_then(Value::as_bool).unwrap_or(false)
        }
    };
    (@field $(#[$doc:meta])* $field:ident blocks) => {
        $(#[$doc])*
        pub fn $field(self) -> Blocks<'a> {
            Blocks::new(self.0.member(stringify!($field)).unwrap_or(Value::NULL))
        }
    };
}

/// Writes [`Block`] and how a wire `type` becomes a variant.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident($view:ident) $text:literal,)*) => {
        /// A block, by its kind. Kinds that are not listed are [`Unknown`](Self::Unknown), with all
        /// they hold.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Block<'a> {
            $($(#[$doc])* $variant($view<'a>),)*
            /// A kind that is not listed, or a block without one.
            Unknown(Unknown<'a>),
        }

        impl<'a> Block<'a> {
            /// The block that `value` is. A plain string is a text block.
            pub fn new(value: Value<'a>) -> Self {
                if value.kind() == Kind::String {
                    return Self::Text(TextBlock(value));
                }
                let kind = value.member("type").and_then(Value::as_text).unwrap_or_default();
                $(if kind == *$text { return Self::$variant($view(value)); })*
                Self::Unknown(Unknown(value))
            }

            /// The block's `type`; empty if it has none.
            pub fn kind(self) -> Text<'a> {
                match self {
                    $(Self::$variant(_) => Text::from_raw($text),)*
                    Self::Unknown(block) => block.kind(),
                }
            }

            /// The block as JSON.
            pub const fn value(self) -> Value<'a> {
                match self {
                    $(Self::$variant(block) => block.0,)*
                    Self::Unknown(block) => block.0,
                }
            }
        }
    };
}

kinds! {
    /// Text.
    Text(TextBlock) "text",
    /// A picture.
    Image(Image) "image",
    /// A document: PDF, plain text, or blocks.
    Document(Document) "document",
    /// A result of the caller's own search, to be cited.
    SearchResult(SearchResult) "search_result",
    /// The model's thinking.
    Thinking(Thinking) "thinking",
    /// Thinking that only the server can read.
    RedactedThinking(RedactedThinking) "redacted_thinking",
    /// A call that the caller runs.
    ToolUse(ToolUse) "tool_use",
    /// The answer to a call that the caller ran.
    ToolResult(ToolResult) "tool_result",
    /// A call that the server runs.
    ServerToolUse(ServerToolUse) "server_tool_use",
    /// What the server's web search found.
    WebSearchToolResult(ServerToolResult) "web_search_tool_result",
    /// What the server fetched.
    WebFetchToolResult(ServerToolResult) "web_fetch_tool_result",
    /// What code on the server gave.
    CodeExecutionToolResult(ServerToolResult) "code_execution_tool_result",
    /// What a shell on the server gave.
    BashCodeExecutionToolResult(ServerToolResult) "bash_code_execution_tool_result",
    /// What the server's editor gave.
    TextEditorCodeExecutionToolResult(ServerToolResult) "text_editor_code_execution_tool_result",
    /// The tools that the server's search found.
    ToolSearchToolResult(ServerToolResult) "tool_search_tool_result",
    /// What the advisor model said.
    AdvisorToolResult(ServerToolResult) "advisor_tool_result",
    /// A call to an MCP server, made by the API.
    McpToolUse(McpToolUse) "mcp_tool_use",
    /// What the MCP server answered.
    McpToolResult(McpToolResult) "mcp_tool_result",
    /// The tools that an MCP server has.
    McpToolListing(McpToolListing) "mcp_tool_listing",
    /// A file in the container.
    ContainerUpload(ContainerUpload) "container_upload",
    /// A summary that stands for what came before it.
    Compaction(Compaction) "compaction",
    /// From here on another model spoke.
    Fallback(Fallback) "fallback",
    /// A tool that the model may call from here on.
    ToolAddition(ToolChange) "tool_addition",
    /// A tool that the model may no longer call.
    ToolRemoval(ToolChange) "tool_removal",
    /// A tool that a result names.
    ToolReference(ToolReference) "tool_reference",
    /// What a browser shows.
    BrowserState(BrowserState) "browser_state",
}

impl<'a> Block<'a> {
    /// The bytes of the block.
    pub const fn raw(self) -> &'a [u8] {
        self.value().raw()
    }
}

views! {
    /// See [`Block::Image`].
    Image {
        /// Where its data is: `base64`, `url` or `file`.
        source: value,
        /// Where the caller wants it cached.
        cache_control: maybe_value,
    }
    /// See [`Block::Document`].
    Document {
        /// Where its data is: `base64`, `text`, `content`, `url` or `file`.
        source: value,
        /// Its title.
        title: maybe_text,
        /// What the model should know about it.
        context: maybe_text,
        /// Whether it may be cited.
        citations: maybe_value,
        /// Where the caller wants it cached.
        cache_control: maybe_value,
    }
    /// See [`Block::SearchResult`].
    SearchResult {
        /// Where it was found.
        source: text,
        /// Its title.
        title: text,
        /// Its text.
        content: blocks,
        /// Whether it may be cited.
        citations: maybe_value,
        /// Where the caller wants it cached.
        cache_control: maybe_value,
    }
    /// See [`Block::Thinking`].
    Thinking {
        /// What the model thought, or a summary of it; may be empty.
        thinking: text,
        /// The server's seal: goes back unchanged.
        signature: text,
    }
    /// See [`Block::RedactedThinking`].
    RedactedThinking {
        /// What the server reads: goes back unchanged.
        data: text,
    }
    /// See [`Block::ToolUse`].
    ToolUse {
        /// What the result refers to.
        id: text,
        /// The tool.
        name: text,
        /// The input; an object unless the model erred.
        input: value,
        /// Who calls: the model (`direct`), or code on the server.
        caller: maybe_value,
        /// The toolset that the tool belongs to.
        toolset_name: maybe_text,
    }
    /// See [`Block::ToolResult`].
    ToolResult {
        /// The call that it answers.
        tool_use_id: text,
        /// The answer; a string reads as one text block.
        content: blocks,
        /// Whether the call failed.
        is_error: flag,
        /// Where the caller wants it cached.
        cache_control: maybe_value,
        /// The toolset that the tool belongs to.
        toolset_name: maybe_text,
    }
    /// See [`Block::ServerToolUse`].
    ServerToolUse {
        /// What the result refers to.
        id: text,
        /// The server's tool.
        name: text,
        /// The input.
        input: value,
        /// Who calls: the model, or code on the server.
        caller: maybe_value,
    }
    /// A result of a tool that the server ran: see the `…ToolResult` variants of [`Block`].
    ServerToolResult {
        /// The call that it answers.
        tool_use_id: text,
        /// The answer, in the tool's own shape.
        content: value,
        /// Who called.
        caller: maybe_value,
    }
    /// See [`Block::McpToolUse`].
    McpToolUse {
        /// What the result refers to.
        id: text,
        /// The tool.
        name: text,
        /// The MCP server.
        server_name: text,
        /// The input.
        input: value,
    }
    /// See [`Block::McpToolResult`].
    McpToolResult {
        /// The call that it answers.
        tool_use_id: text,
        /// Whether the call failed.
        is_error: flag,
        /// The answer.
        content: blocks,
    }
    /// See [`Block::McpToolListing`].
    McpToolListing {
        /// The MCP server.
        mcp_server_name: text,
        /// Its tools.
        tools: value,
    }
    /// See [`Block::ContainerUpload`].
    ContainerUpload {
        /// The file.
        file_id: text,
    }
    /// See [`Block::Compaction`].
    Compaction {
        /// The summary, if it can be read.
        content: maybe_text,
        /// The summary as only the server can read it.
        encrypted_content: maybe_text,
        /// The server's seal.
        signature: maybe_text,
        /// Changes of the tools among what was summed up.
        tool_changes: maybe_value,
    }
    /// See [`Block::Fallback`].
    Fallback {
        /// The model that spoke before: `{"model":…}`.
        from: value,
        /// The model that speaks from here on: `{"model":…}`.
        to: value,
        /// Why.
        trigger: maybe_value,
    }
    /// See [`Block::ToolAddition`] and [`Block::ToolRemoval`].
    ToolChange {
        /// The tool: a reference to it, or its definition.
        tool: value,
    }
    /// See [`Block::ToolReference`].
    ToolReference {
        /// The tool.
        name: maybe_text,
        /// The tool, as results of the tool search spell it.
        tool_name: maybe_text,
    }
    /// See [`Block::BrowserState`].
    BrowserState {}
    /// See [`Block::Unknown`].
    Unknown {}
}

/// See [`Block::Text`]. Also stands for a content that is a plain string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextBlock<'a>(Value<'a>);

impl<'a> TextBlock<'a> {
    /// The text.
    pub fn text(self) -> Text<'a> {
        let text = if self.0.kind() == Kind::String { Some(self.0) } else { self.0.member("text") };
        text.and_then(Value::as_text).unwrap_or_default()
    }

    /// What the text is drawn from, if the model cites.
    pub fn citations(self) -> Option<Value<'a>> {
        self.0.member("citations").filter(|value| !value.is_null())
    }

    /// Where the caller wants it cached.
    pub fn cache_control(self) -> Option<Value<'a>> {
        self.0.member("cache_control").filter(|value| !value.is_null())
    }

    /// The block as JSON: an object, or the plain string.
    pub const fn value(self) -> Value<'a> {
        self.0
    }

    /// The bytes of the block.
    pub const fn raw(self) -> &'a [u8] {
        self.0.raw()
    }
}

impl<'a> Unknown<'a> {
    /// The `type` that it names; empty if it names none.
    pub fn kind(self) -> Text<'a> {
        self.0.member("type").and_then(Value::as_text).unwrap_or_default()
    }
}

/// Iterator over the blocks of a content.
#[derive(Clone, Debug)]
pub struct Blocks<'a> {
    plain: Option<Value<'a>>,
    array: Array<'a>,
}

impl<'a> Blocks<'a> {
    /// The blocks of `content`: an array's elements, or one text block for a plain string.
    pub fn new(content: Value<'a>) -> Self {
        Self {
            plain: (content.kind() == Kind::String).then_some(content),
            array: content.elements(),
        }
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        self.plain.take().or_else(|| self.array.next()).map(Block::new)
    }
}
