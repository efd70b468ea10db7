//! The memory tool: `memory_20250818`.

use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Tools};

use super::TextResult;
use super::arguments::Arguments;
use super::memory_path::MemoryPath;

/// A place where memories are kept: files of text below `/memories`.
///
/// [`MemoryTool`] checks the arguments and the paths of every call before it calls these methods.
/// A method returns the text that the model receives. [`DirectoryMemory`](super::DirectoryMemory)
/// shows the texts that the SDKs use.
pub trait Memory: Send + Sync + 'static {
    /// Whether the methods block their thread. Then they run where blocking does no harm.
    const BLOCKING: bool = false;

    /// Shows a file with line numbers, or lists a directory.
    ///
    /// `lines` is an inclusive range of lines counted from 1; an end of -1 is the last line.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn view(
        &self,
        path: &MemoryPath<'_>,
        lines: Option<[i64; 2]>,
    ) -> impl Future<Output = TextResult> + Send;

    /// Creates a file.
    ///
    /// # Errors
    /// Returns the error that the model receives, for example if the file exists.
    fn create(&self, path: &MemoryPath<'_>, text: &str) -> impl Future<Output = TextResult> + Send;

    /// Replaces the only occurrence of `old` in a file. `old` is not empty.
    ///
    /// # Errors
    /// Returns the error that the model receives, for example if there is no or more than one
    /// occurrence.
    fn str_replace(
        &self,
        path: &MemoryPath<'_>,
        old: &str,
        new: &str,
    ) -> impl Future<Output = TextResult> + Send;

    /// Inserts text after a line, counted from 1. 0 inserts before the first line.
    ///
    /// # Errors
    /// Returns the error that the model receives, for example if there is no such line.
    fn insert(
        &self,
        path: &MemoryPath<'_>,
        after: i64,
        text: &str,
    ) -> impl Future<Output = TextResult> + Send;

    /// Deletes a file, or a directory with everything in it.
    ///
    /// # Errors
    /// Returns the error that the model receives, for example for `/memories` itself.
    fn delete(&self, path: &MemoryPath<'_>) -> impl Future<Output = TextResult> + Send;

    /// Renames or moves a file or a directory.
    ///
    /// # Errors
    /// Returns the error that the model receives, for example if the new path exists.
    fn rename(
        &self,
        old: &MemoryPath<'_>,
        new: &MemoryPath<'_>,
    ) -> impl Future<Output = TextResult> + Send;
}

/// The name of the tool, and its serial group.
const NAME: &str = "memory";

/// The tool `memory_20250818` over a [`Memory`].
///
/// ```no_run
/// use toolrunner_std::Client;
/// use toolrunner_std::builtin::{DirectoryMemory, MemoryTool};
///
/// # async fn f() -> Result<(), Box<dyn std::error::Error>> {
/// // `/memories` is ./memory/memories.
/// let memory = MemoryTool::new(DirectoryMemory::open("./memory")?);
/// let mut run = Client::from_env()?
///     .run("claude-opus-4-7")
///     .tools(memory)
///     .user("Remember that I like coffee.");
/// run.until_done().await?;
/// # Ok(()) }
/// ```
/// The calls of one run are executed one after the other, in the model's order.
#[derive(Debug)]
pub struct MemoryTool<M> {
    memory: M,
    definition: &'static str,
}

impl<M: Memory> MemoryTool<M> {
    /// Creates the tool.
    pub const fn new(memory: M) -> Self {
        Self { memory, definition: r#"{"type":"memory_20250818","name":"memory"}"# }
    }

    /// Ends the cached part of the prompt after this definition, with
    /// `cache_control: {"type":"ephemeral"}`.
    #[must_use]
    pub fn cached(mut self) -> Self {
        self.definition =
            r#"{"type":"memory_20250818","name":"memory","cache_control":{"type":"ephemeral"}}"#;
        self
    }

    /// Returns the place where the memories are kept.
    pub const fn memory(&self) -> &M {
        &self.memory
    }
}

const COMMAND: &str = r#"{"type":"object","required":["command"],"properties":{"command":{"enum":["view","create","str_replace","insert","delete","rename"]}}}"#;
const VIEW: &str = r#"{"type":"object","required":["path"],"properties":{"path":{"type":"string"},"view_range":{"anyOf":[{"type":"null"},{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":2}]}}}"#;
const CREATE: &str = r#"{"type":"object","required":["path","file_text"],"properties":{"path":{"type":"string"},"file_text":{"type":"string"}}}"#;
const STR_REPLACE: &str = r#"{"type":"object","required":["path","old_str"],"properties":{"path":{"type":"string"},"old_str":{"type":"string","minLength":1},"new_str":{"type":"string"}}}"#;
const INSERT: &str = r#"{"type":"object","required":["path","insert_line","insert_text"],"properties":{"path":{"type":"string"},"insert_line":{"type":"integer"},"insert_text":{"type":"string"}}}"#;
const DELETE: &str =
    r#"{"type":"object","required":["path"],"properties":{"path":{"type":"string"}}}"#;
const RENAME: &str = r#"{"type":"object","required":["old_path","new_path"],"properties":{"old_path":{"type":"string"},"new_path":{"type":"string"}}}"#;

impl<M: Memory> Tools for MemoryTool<M> {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        let definition = Definition::new(NAME, self.definition).serial_in(NAME);
        (i == 0).then(|| if M::BLOCKING { definition.blocking() } else { definition })
    }

    async fn call(
        &self,
        _: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let command = Arguments::check(NAME, COMMAND, call.input, out)?.text("command");
        let schema = match &*command {
            "view" => VIEW,
            "create" => CREATE,
            "str_replace" => STR_REPLACE,
            "insert" => INSERT,
            "delete" => DELETE,
            _ => RENAME,
        };
        let arguments = Arguments::check(NAME, schema, call.input, out)?;
        let path = arguments.text(if command == "rename" { "old_path" } else { "path" });
        let path = MemoryPath::new(&path)?;
        let memory = &self.memory;
        let text = match &*command {
            "view" => memory.view(&path, arguments.pair("view_range")).await,
            "create" => memory.create(&path, &arguments.text("file_text")).await,
            "str_replace" => {
                let (old, new) = (arguments.text("old_str"), arguments.text("new_str"));
                memory.str_replace(&path, &old, &new).await
            }
            "insert" => {
                let after = arguments.integer("insert_line").unwrap_or(-1);
                memory.insert(&path, after, &arguments.text("insert_text")).await
            }
            "delete" => memory.delete(&path).await,
            _ => {
                let new = arguments.text("new_path");
                memory.rename(&path, &MemoryPath::new(&new)?).await
            }
        }?;
        Ok(out.text(&text)?)
    }
}
