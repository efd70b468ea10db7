//! The SDKs' agent toolset, `agent_toolset_20260401`: bash, read, write, edit, glob and grep.

use core::time::Duration;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

use toolrunner_core::tool::{
    ContentBlock, Definition, Output, Source, ToolCall, ToolContext, ToolError, Tools,
};

use super::arguments::Arguments;
use super::folder::{Access, Fault, OverwritePolicy};
use super::work_directory::{LONGEST_PATH, PathFault, WorkDirectory, reason};
use super::{bash, search};
use crate::builtin::Shell;

/// A tool of an [`AgentToolset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AgentTool {
    /// `bash`: runs a command in a shell that keeps its state. **Not confined.**
    Bash,
    /// `read`: shows a text file, an image or a PDF.
    Read,
    /// `write`: writes a file.
    Write,
    /// `edit`: replaces text in a file.
    Edit,
    /// `glob`: lists files by a pattern, newest first.
    Glob,
    /// `grep`: searches files for a regular expression.
    Grep,
}

const ALL: [AgentTool; 6] = [
    AgentTool::Bash,
    AgentTool::Read,
    AgentTool::Write,
    AgentTool::Edit,
    AgentTool::Glob,
    AgentTool::Grep,
];

/// The tools of the SDKs' `agent_toolset_20260401`, as ordinary tools with the same names, schemas
/// and texts. They work in one directory.
///
/// ```no_run
/// use toolrunner_std::builtin::{AgentTool, AgentToolset};
/// # fn f() -> std::io::Result<()> {
/// let tools = AgentToolset::open("/workspace")?.without(AgentTool::Bash);
/// # let _ = tools;
/// # Ok(()) }
/// ```
/// The file tools accept relative paths and absolute ones below the directory. Nothing outside of
/// it can be reached: see [the module](super). A relative link inside the directory is followed if
/// it stays there; one with an absolute target is refused. `bash` is **not** confined, and needs a
/// tokio runtime: see [`Shell`].
///
/// The calls of one turn run one after the other, in the model's order, so that a call sees the
/// effects of the calls before it.
///
/// **Limits**, as in the SDKs: `read` and `edit` accept text files of at most 256 KiB; for larger
/// files, `read` can show a range of lines; images have at most 5 MiB as base64, PDFs 20 MiB.
/// `glob` shows 200 paths, `grep` 100 KiB, and both say when there is more. Neither follows links;
/// `grep` leaves out `.git`, `node_modules` and binary files.
#[derive(Debug)]
pub struct AgentToolset {
    directory: Arc<WorkDirectory>,
    shell: Shell,
    tools: Vec<AgentTool>,
    max_file_bytes: u64,
}

impl AgentToolset {
    /// Opens a directory. The shell starts there too.
    ///
    /// # Errors
    /// Returns the error of the file system.
    pub fn open(directory: impl AsRef<Path>) -> io::Result<Self> {
        let directory = directory.as_ref();
        Ok(Self {
            directory: Arc::new(WorkDirectory::open(directory)?),
            shell: Shell::new(directory.canonicalize()?),
            tools: ALL.to_vec(),
            max_file_bytes: 256 << 10,
        })
    }

    /// Leaves a tool out.
    #[must_use]
    pub fn without(mut self, tool: AgentTool) -> Self {
        self.tools.retain(|known| *known != tool);
        self
    }

    /// Replaces the shell of `bash`.
    #[must_use]
    pub fn shell(mut self, shell: Shell) -> Self {
        self.shell = shell;
        self
    }

    /// Sets the maximum size of text that `read` shows and of files that `edit` changes, in bytes.
    /// Default: 256 KiB.
    #[must_use]
    pub const fn max_file_bytes(mut self, bytes: u64) -> Self {
        self.max_file_bytes = bytes;
        self
    }
}

/// The serial group of all tools: a call sees the effects of the calls before it.
const GROUP: &str = "agent_toolset";

impl AgentTool {
    const fn name(self) -> &'static str {
        match self {
            Self::Bash => "bash",
            Self::Read => "read",
            Self::Write => "write",
            Self::Edit => "edit",
            Self::Glob => "glob",
            Self::Grep => "grep",
        }
    }

    /// Returns the definition and the schema in it.
    const fn texts(self) -> (&'static str, &'static str) {
        macro_rules! texts {
            ($name:literal, $description:literal, $schema:literal) => {
                (
                    concat!(
                        r#"{"name":""#,
                        $name,
                        r#"","description":""#,
                        $description,
                        r#"","input_schema":"#,
                        $schema,
                        "}"
                    ),
                    $schema,
                )
            };
        }
        match self {
            Self::Bash => texts!(
                "bash",
                "Run a command in a persistent bash shell.",
                r#"{"type":"object","properties":{"command":{"type":["string","null"],"description":"Shell command to run. Omit only when `restart` is true."},"restart":{"type":["boolean","null"],"description":"Restart the shell instead of running a command."},"timeout_ms":{"type":["integer","null"],"description":"Time limit of the command in milliseconds."}}}"#
            ),
            Self::Read => texts!(
                "read",
                "Read a file rooted at the working directory.",
                r#"{"type":"object","properties":{"file_path":{"type":"string"},"view_range":{"type":["array","null"],"items":{"type":"integer"},"description":"`[start_line, end_line]`, counted from 1, inclusive. An end of 0 or less is the end of the file."}},"required":["file_path"]}"#
            ),
            Self::Write => texts!(
                "write",
                "Write a file, creating parent directories as needed.",
                r#"{"type":"object","properties":{"file_path":{"type":"string"},"content":{"type":"string","description":"The whole new content."}},"required":["content","file_path"]}"#
            ),
            Self::Edit => texts!(
                "edit",
                "Replace text in a file by exact string match.",
                r#"{"type":"object","properties":{"file_path":{"type":"string"},"old_string":{"type":"string","description":"Must occur exactly once, unless `replace_all` is true."},"new_string":{"type":"string"},"replace_all":{"type":["boolean","null"]}},"required":["file_path","new_string","old_string"]}"#
            ),
            Self::Glob => texts!(
                "glob",
                "List files matching a glob pattern, newest first.",
                r#"{"type":"object","properties":{"pattern":{"type":"string","description":"For example `**/*.rs`."},"path":{"type":["string","null"],"description":"Directory to search. Default: the working directory."}},"required":["pattern"]}"#
            ),
            Self::Grep => texts!(
                "grep",
                "Search file contents for a regular expression.",
                r#"{"type":"object","properties":{"pattern":{"type":"string"},"path":{"type":["string","null"],"description":"File or directory to search. Default: the working directory."}},"required":["pattern"]}"#
            ),
        }
    }
}

impl Tools for AgentToolset {
    fn count(&self) -> usize {
        self.tools.len()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        let tool = *self.tools.get(i)?;
        let definition = Definition::new(tool.name(), tool.texts().0);
        Some(match tool {
            AgentTool::Bash => definition.serial_in(GROUP),
            AgentTool::Write | AgentTool::Edit => definition.serial_in(GROUP).blocking(),
            _ => definition.serial_in(GROUP).blocking().idempotent(),
        })
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let Some(tool) = self.tools.get(i) else {
            return Err(toolrunner_core::__private::not_found(&call, out));
        };
        let arguments = Arguments::check(tool.name(), tool.texts().1, call.input, out)?;
        let context = call.context();
        let text = match tool {
            AgentTool::Bash => {
                let time = arguments.integer("timeout_ms").and_then(|ms| u64::try_from(ms).ok());
                let time = time.filter(|ms| *ms > 0).map(Duration::from_millis);
                return bash::run(&self.shell, arguments, time, out).await;
            }
            AgentTool::Read => return self.read(arguments, out),
            AgentTool::Write => self.write(arguments),
            AgentTool::Edit => self.edit(arguments),
            AgentTool::Glob => self.glob(arguments, &context),
            AgentTool::Grep => self.grep(arguments, &context),
        }?;
        Ok(out.text(&text)?)
    }
}

/// The media types of files that are not shown as text.
fn media_type(path: &Path) -> Option<&'static str> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    Some(match &*extension {
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "pdf" => "application/pdf",
        _ => return None,
    })
}

/// 5 MiB as base64.
const MAX_IMAGE: u64 = (5 << 20) / 4 * 3;
const MAX_PDF: u64 = 20 << 20;

impl AgentToolset {
    fn read(&self, arguments: Arguments<'_>, out: &mut Output<'_>) -> Result<(), ToolError> {
        let shown = arguments.text("file_path");
        let fail = |fault| failure("read", &shown, fault);
        let range = match arguments.list_length("view_range") {
            None | Some(0) => None,
            Some(2) => arguments.pair("view_range"),
            Some(_) => {
                return Err(ToolError::new("read: view_range must be [start_line, end_line]"));
            }
        };
        let path = self.directory.resolve(&shown).map_err(fail)?;
        let folder = &self.directory.folder;
        if let Some(media_type) = media_type(&path) {
            if range.is_some() {
                return Err(ToolError::new(
                    "read: view_range is not supported for image/PDF files",
                ));
            }
            let is_pdf = media_type == "application/pdf";
            let limit = if is_pdf { MAX_PDF } else { MAX_IMAGE };
            let data = folder.read(&path, limit).map_err(|fault| match fault {
                Fault::TooLarge(size) => ToolError::format(format_args!(
                    "read: {shown} is {size} bytes, exceeds {limit}-byte limit for image/PDF files."
                )),
                fault => fail(fault.into()),
            })?;
            let source = Source::Bytes { media_type, data: &data };
            out.block(if is_pdf {
                ContentBlock::document(source)
            } else {
                ContentBlock::image(source)
            })?;
            return Ok(());
        }
        let limit = self.max_file_bytes;
        let text = match (folder.read_text(&path, limit), range) {
            (Err(Fault::TooLarge(_)), Some(range)) => {
                let file = folder.file(&path).map_err(|fault| fail(fault.into()))?;
                lines(BufReader::new(file), range, limit, &shown)?
            }
            (Err(Fault::TooLarge(size)), None) => {
                return Err(ToolError::format(format_args!(
                    "read: {shown} is {size} bytes, exceeds {limit}-byte limit. Use the view_range parameter to read specific line ranges, e.g. view_range: [1, 500]."
                )));
            }
            (Err(Fault::NotText), _) => {
                return Err(ToolError::format(format_args!(
                    "read: {shown}: not valid UTF-8 text (binary files are only supported for image/PDF extensions)"
                )));
            }
            (Err(fault), _) => return Err(fail(fault.into())),
            (Ok(text), None) => text,
            (Ok(text), Some([start, end])) => {
                let skip = usize::try_from(start.saturating_sub(1)).unwrap_or(0);
                let end = usize::try_from(end).ok().filter(|end| *end > 0).unwrap_or(usize::MAX);
                let lines = text.split('\n').skip(skip).take(end.saturating_sub(skip));
                lines.collect::<Vec<_>>().join("\n")
            }
        };
        Ok(out.text(&text)?)
    }

    fn write(&self, arguments: Arguments<'_>) -> Result<String, ToolError> {
        let (shown, content) = (arguments.text("file_path"), arguments.text("content"));
        self.put("write", &shown, &content)?;
        Ok(format!("wrote {} bytes to {shown}", content.len()))
    }

    fn put(&self, tool: &str, shown: &str, content: &str) -> Result<(), ToolError> {
        let fail = |fault| failure(tool, shown, fault);
        let path = self.directory.resolve(shown).map_err(fail)?;
        let folder = &self.directory.folder;
        folder
            .write(&path, content.as_bytes(), Access::Default, OverwritePolicy::Replace)
            .map_err(|fault| fail(fault.into()))
    }

    fn edit(&self, arguments: Arguments<'_>) -> Result<String, ToolError> {
        let shown = arguments.text("file_path");
        let (old, new) = (arguments.text("old_string"), arguments.text("new_string"));
        let fail = |fault| failure("edit", &shown, fault);
        let path = self.directory.resolve(&shown).map_err(fail)?;
        let limit = self.max_file_bytes;
        let text = self.directory.folder.read_text(&path, limit).map_err(|fault| match fault {
            Fault::TooLarge(size) => ToolError::format(format_args!(
                "edit: {shown} is {size} bytes, exceeds {limit}-byte limit. The edit tool loads the whole file and cannot modify a file this large."
            )),
            Fault::NotText => ToolError::format(format_args!(
                "edit: {shown}: not valid UTF-8 text (cannot edit binary files)"
            )),
            fault => fail(fault.into()),
        })?;
        if old.is_empty() {
            return Err(ToolError::new("edit: old_string must not be empty"));
        }
        let all = arguments.flag("replace_all");
        let count = text.matches(&old).count();
        if count == 0 {
            return Err(ToolError::format(format_args!("edit: old_string not found in {shown}")));
        }
        if count > 1 && !all {
            return Err(ToolError::format(format_args!(
                "edit: old_string appears {count} times in {shown} (must be unique)"
            )));
        }
        self.put("edit", &shown, &text.replace(&old, &new))?;
        Ok(format!("edited {shown} ({count} replacement(s))"))
    }

    fn glob(
        &self,
        arguments: Arguments<'_>,
        context: &ToolContext<'_>,
    ) -> Result<String, ToolError> {
        let start = self.start("glob", arguments)?;
        search::glob(&self.directory, &start, &arguments.text("pattern"), context)
    }

    fn grep(
        &self,
        arguments: Arguments<'_>,
        context: &ToolContext<'_>,
    ) -> Result<String, ToolError> {
        let start = self.start("grep", arguments)?;
        search::grep(&self.directory, &start, &arguments.text("pattern"), context)
    }

    /// Returns where a search begins.
    fn start(&self, tool: &str, arguments: Arguments<'_>) -> Result<std::path::PathBuf, ToolError> {
        let path = arguments.text("path");
        self.directory.resolve(&path).map_err(|fault| failure(tool, &path, fault))
    }
}

/// Returns what the model receives.
pub(super) fn failure(tool: &str, path: &str, fault: PathFault) -> ToolError {
    match fault {
        PathFault::Outside => ToolError::format(format_args!(
            "{tool}: path '{path}' is outside the session's working directory"
        )),
        PathFault::TooLong => ToolError::format(format_args!(
            "{tool}: the path is too long: {} bytes, at most {LONGEST_PATH} are allowed",
            path.len()
        )),
        PathFault::Fault(fault) => {
            ToolError::format(format_args!("{tool}: {path}: {}", reason(&fault)))
        }
    }
}

/// Reads a range of lines of a file that is too large to be shown as a whole.
fn lines(
    mut file: impl BufRead,
    [start, end]: [i64; 2],
    limit: u64,
    shown: &str,
) -> Result<String, ToolError> {
    let too_large = || {
        ToolError::format(format_args!(
            "read: view_range [{start}, {end}] of {shown} exceeds {limit}-byte limit. Narrow the view_range to read a smaller portion."
        ))
    };
    let last = if end > 0 { end } else { i64::MAX };
    let (mut text, mut line) = (Vec::new(), 1_i64);
    while line <= last {
        let chunk = file.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        // A line may be longer than memory, so what is not shown is not kept.
        let end_of_line = chunk.iter().position(|byte| *byte == b'\n');
        let used = end_of_line.map_or(chunk.len(), |at| at + 1);
        if line >= start {
            text.extend_from_slice(chunk.get(..used).unwrap_or_default());
            if u64::try_from(text.len()).unwrap_or(u64::MAX) > limit {
                return Err(too_large());
            }
        }
        file.consume(used);
        line += i64::from(end_of_line.is_some());
    }
    if line > last && text.last() == Some(&b'\n') {
        text.pop();
    }
    String::from_utf8(text).map_err(|_| {
        ToolError::format(format_args!(
            "read: {shown}: not valid UTF-8 text (binary files are only supported for image/PDF extensions)"
        ))
    })
}
