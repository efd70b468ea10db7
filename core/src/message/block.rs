//! The kinds of blocks, and a view for each kind.

use super::kind::BlockKind;
use crate::json::{Array, Kind, Text, Value};

/// Defines view types with one accessor per field. A field is `text` (empty if the member is
/// missing or not a string), `maybe_text` (`None` in these cases), `value` (`null` if the member is
/// missing), `maybe_value` (`None` if it is missing or `null`), `flag` (whether it is `true`) or
/// `blocks` (a string, or an array of blocks).
macro_rules! views {
    ($($(#[$doc:meta])* $view:ident { $($(#[$field_doc:meta])* $field:ident : $kind:ident,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $view<'a>(Value<'a>);

        impl<'a> $view<'a> {
            $(views!(@field $(#[$field_doc])* $field $kind);)*

            /// Returns the block as a JSON value, with all its fields, including those without an
            /// accessor.
            pub const fn value(self) -> Value<'a> {
                self.0
            }

            /// Returns the bytes of the block.
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
        pub fn $field(self) -> impl Iterator<Item = Block<'a>> + Clone + core::fmt::Debug + use<'a> {
            Blocks::new(self.0.member(stringify!($field)).unwrap_or(Value::NULL))
        }
    };
}

/// Defines [`Block`], and what the `type` of a block means: its variant, and its [`BlockKind`] unless
/// that is [`BlockKind::Other`].
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident($view:ident) $text:literal $(=> $kind:ident)?,)*) => {
        /// The values of a block's `type` that are not [`BlockKind::Other`].
        pub(crate) const KINDS: &[(&str, BlockKind)] = &[$($(($text, BlockKind::$kind),)?)*];

        /// A block, by its kind. A kind that is not listed becomes [`Unknown`](Self::Unknown), and
        /// all its fields remain available.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Block<'a> {
            $($(#[$doc])* $variant($view<'a>),)*
            /// A block whose kind is not listed, or that has no `type`.
            Unknown(OtherBlock<'a>),
        }

        impl<'a> Block<'a> {
            /// Creates a view of the block in `value`. A string becomes a text block.
            pub fn new(value: Value<'a>) -> Self {
                if value.kind() == Kind::String {
                    return Self::Text(TextBlock(value));
                }
                let kind = value.member("type").and_then(Value::as_text).unwrap_or_default();
                $(if kind == *$text { return Self::$variant($view(value)); })*
                Self::Unknown(OtherBlock(value))
            }

            /// Returns the block's `type`, or an empty text if it has none.
            pub fn kind(self) -> Text<'a> {
                match self {
                    $(Self::$variant(_) => Text::from_raw($text),)*
                    Self::Unknown(block) => block.kind(),
                }
            }

            /// Returns the block as a JSON value.
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
    Text(TextBlock) "text" => Text,
    /// An image.
    Image(Image) "image",
    /// A document: a PDF, plain text, or blocks.
    Document(Document) "document",
    /// A search result that the caller provides so that the model can cite it.
    SearchResult(OtherBlock) "search_result",
    /// The model's thinking.
    Thinking(Thinking) "thinking" => Thinking,
    /// Encrypted thinking that only the server can read.
    RedactedThinking(OtherBlock) "redacted_thinking" => RedactedThinking,
    /// A call of a tool that the caller runs.
    ToolUse(ToolUse) "tool_use" => Call,
    /// The result of a call that the caller ran.
    ToolResult(ToolResultBlock) "tool_result" => Result,
    /// A call of a tool that the server runs.
    ServerToolUse(ServerToolUse) "server_tool_use" => ServerCall,
    /// The result of a web search by the server.
    WebSearchToolResult(ServerToolResult) "web_search_tool_result",
    /// The result of a web fetch by the server.
    WebFetchToolResult(ServerToolResult) "web_fetch_tool_result",
    /// The result of code that ran on the server.
    CodeExecutionToolResult(ServerToolResult) "code_execution_tool_result",
    /// The result of a shell command that ran on the server.
    BashCodeExecutionToolResult(ServerToolResult) "bash_code_execution_tool_result",
    /// The result of a command of the server's text editor.
    TextEditorCodeExecutionToolResult(ServerToolResult) "text_editor_code_execution_tool_result",
    /// The tools that the server's tool search found.
    ToolSearchToolResult(ServerToolResult) "tool_search_tool_result",
    /// The answer of the advisor model.
    AdvisorToolResult(ServerToolResult) "advisor_tool_result",
    /// A call that the API made to an MCP server.
    McpToolUse(ServerToolUse) "mcp_tool_use" => ServerCall,
    /// The result of a call to an MCP server.
    McpToolResult(ServerToolResult) "mcp_tool_result",
    /// The tools of an MCP server.
    McpToolListing(OtherBlock) "mcp_tool_listing",
    /// A file in the container.
    ContainerUpload(OtherBlock) "container_upload",
    /// A summary that replaces the earlier part of the conversation.
    Compaction(CompactionBlock) "compaction" => Compaction,
    /// The point from which a different model continues the reply.
    Fallback(OtherBlock) "fallback",
    /// A tool that the model may call from this point on.
    ToolAddition(OtherBlock) "tool_addition" => ToolChange,
    /// A tool that the model may no longer call from this point on.
    ToolRemoval(OtherBlock) "tool_removal" => ToolChange,
    /// A reference to a tool, in a result.
    ToolReference(OtherBlock) "tool_reference",
    /// The state of a browser.
    BrowserState(OtherBlock) "browser_state",
}

impl<'a> Block<'a> {
    /// Returns the bytes of the block.
    pub const fn raw(self) -> &'a [u8] {
        self.value().raw()
    }
}

views! {
    /// An image. See [`Block::Image`].
    Image {
        /// The source of the image data: `base64`, `url` or `file`.
        source: value,
        /// The cache breakpoint that the caller set on this block, if any.
        cache_control: maybe_value,
    }
    /// A document. See [`Block::Document`].
    Document {
        /// The source of the document data: `base64`, `text`, `content`, `url` or `file`.
        source: value,
        /// The title of the document.
        title: maybe_text,
        /// Information about the document for the model.
        context: maybe_text,
        /// Whether the model may cite the document.
        citations: maybe_value,
        /// The cache breakpoint that the caller set on this block, if any.
        cache_control: maybe_value,
    }
    /// The model's thinking. See [`Block::Thinking`].
    Thinking {
        /// The text of the thinking, or a summary of it. May be empty.
        thinking: text,
        /// The server's signature of the thinking. It must be sent back unchanged.
        signature: text,
    }
    /// A call of a tool that the caller runs. See [`Block::ToolUse`].
    ToolUse {
        /// The id of the call, which its result refers to.
        id: text,
        /// The name of the tool.
        name: text,
        /// The input of the call. It is an object unless the model made a mistake.
        input: value,
        /// The caller of the tool: the model (`direct`), or code on the server.
        caller: maybe_value,
        /// The toolset that the tool belongs to.
        toolset_name: maybe_text,
    }
    /// The result of a call that the caller ran. See [`Block::ToolResult`].
    ToolResultBlock {
        /// The id of the call that the result answers.
        tool_use_id: text,
        /// The content of the result. A string counts as one text block.
        content: blocks,
        /// Whether the call failed.
        is_error: flag,
        /// The cache breakpoint that the caller set on this block, if any.
        cache_control: maybe_value,
        /// The toolset that the tool belongs to.
        toolset_name: maybe_text,
    }
    /// A call of a tool that the server runs, or that the API made to an MCP server. See
    /// [`Block::ServerToolUse`] and [`Block::McpToolUse`].
    ServerToolUse {
        /// The id of the call, which its result refers to.
        id: text,
        /// The name of the server's tool.
        name: text,
        /// The input of the call.
        input: value,
        /// The caller of the tool: the model, or code on the server.
        caller: maybe_value,
        /// The name of the MCP server, if the call was made to one.
        server_name: maybe_text,
    }
    /// The result of a tool that the server or an MCP server ran. See the `…ToolResult` variants of
    /// [`Block`].
    ServerToolResult {
        /// The id of the call that the result answers.
        tool_use_id: text,
        /// The content of the result. Its shape depends on the tool.
        content: value,
        /// The caller of the tool.
        caller: maybe_value,
        /// Whether the call failed. Only results of MCP servers say so here.
        is_error: flag,
    }
    /// A summary of the earlier conversation. See [`Block::Compaction`].
    CompactionBlock {
        /// The summary, if the server provides it as plain text.
        content: maybe_text,
        /// The encrypted summary, which only the server can read.
        encrypted_content: maybe_text,
        /// The server's signature of the summary.
        signature: maybe_text,
        /// The changes of the tools in the part of the conversation that the summary replaces.
        tool_changes: maybe_value,
    }
}

/// A text block. See [`Block::Text`]. Also represents content that is a plain string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextBlock<'a>(Value<'a>);

impl<'a> TextBlock<'a> {
    /// Returns the text, or an empty text if the block has none.
    pub fn text(self) -> Text<'a> {
        let text = if self.0.kind() == Kind::String { Some(self.0) } else { self.0.member("text") };
        text.and_then(Value::as_text).unwrap_or_default()
    }

    /// Returns the citations of the text, or `None` if the text has none.
    pub fn citations(self) -> Option<Value<'a>> {
        self.0.member("citations").filter(|value| !value.is_null())
    }

    /// Returns the cache breakpoint that the caller set on this block, or `None` if there is none.
    pub fn cache_control(self) -> Option<Value<'a>> {
        self.0.member("cache_control").filter(|value| !value.is_null())
    }

    /// Returns the block as a JSON value: an object, or the plain string.
    pub const fn value(self) -> Value<'a> {
        self.0
    }

    /// Returns the bytes of the block.
    pub const fn raw(self) -> &'a [u8] {
        self.0.raw()
    }
}

impl<'a> ServerToolResult<'a> {
    /// Returns the blocks of the content: of a string, one text block; of an object, none.
    pub fn blocks(self) -> impl Iterator<Item = Block<'a>> + Clone + core::fmt::Debug + use<'a> {
        Blocks::new(self.content())
    }
}

/// A block of a rare kind, or of one that is not listed, whose fields are read by name.
///
/// | Variant | Fields |
/// |---|---|
/// | [`Block::SearchResult`] | `source`, `title` (texts), `content` (blocks), `citations`, `cache_control` |
/// | [`Block::RedactedThinking`] | `data` (text): must be sent back unchanged |
/// | [`Block::McpToolListing`] | `mcp_server_name` (text), `tools` (array) |
/// | [`Block::ContainerUpload`] | `file_id` (text) |
/// | [`Block::Fallback`] | `from`, `to`: the models before and after, `{"model":…}`; `trigger` |
/// | [`Block::ToolAddition`], [`Block::ToolRemoval`] | `tool`: a reference or a definition |
/// | [`Block::ToolReference`] | `name` or, in results of the tool search, `tool_name` (texts) |
/// | [`Block::BrowserState`], [`Block::Unknown`] | any |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtherBlock<'a>(Value<'a>);

impl<'a> OtherBlock<'a> {
    /// Returns the block's `type`, or an empty text if it has none.
    pub fn kind(self) -> Text<'a> {
        self.text("type").unwrap_or_default()
    }

    /// Returns this field, or `None` if it is missing or `null`.
    pub fn field(self, name: &str) -> Option<Value<'a>> {
        self.0.member(name).filter(|value| !value.is_null())
    }

    /// Returns the text in this field, or `None` if it is missing or not a string.
    pub fn text(self, name: &str) -> Option<Text<'a>> {
        self.0.member(name).and_then(Value::as_text)
    }

    /// Returns the blocks in this field: the elements of an array, or one text block for a string.
    pub fn blocks(
        self,
        name: &str,
    ) -> impl Iterator<Item = Block<'a>> + Clone + core::fmt::Debug + use<'a> {
        Blocks::new(self.0.member(name).unwrap_or(Value::NULL))
    }

    /// Returns the block as a JSON value, with all its fields.
    pub const fn value(self) -> Value<'a> {
        self.0
    }

    /// Returns the bytes of the block.
    pub const fn raw(self) -> &'a [u8] {
        self.0.raw()
    }
}

/// An iterator over the blocks of a content.
#[derive(Clone, Debug)]
pub(super) struct Blocks<'a> {
    plain: Option<Value<'a>>,
    array: Array<'a>,
}

impl<'a> Blocks<'a> {
    /// Creates an iterator over the blocks of `content`: the elements of an array, or one text
    /// block for a string.
    pub(super) fn new(content: Value<'a>) -> Self {
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
