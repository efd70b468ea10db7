//! The text editor: `text_editor_20250728`.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Mutex;

use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Tools};

use super::TextResult;
use super::arguments::Arguments;
use super::folder::{Access, Fault, OverwritePolicy};
use super::text;
use super::work_directory::{LONGEST_PATH, PathFault, WorkDirectory, reason};
use crate::lock::lock;

/// A place where text files are edited.
///
/// [`EditorTool`] checks the arguments of every call before it calls these methods, but **not** the
/// paths. A method returns the text that the model receives.
pub trait Editor: Send + Sync + 'static {
    /// Whether the methods block their thread. Then they run where blocking does no harm.
    const BLOCKING: bool = false;

    /// Shows a file with line numbers, or lists a directory.
    ///
    /// `lines` is an inclusive range of lines counted from 1; an end of -1 is the last line.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn view(&self, path: &str, lines: Option<[i64; 2]>) -> impl Future<Output = TextResult> + Send;

    /// Creates a file, or replaces its content.
    ///
    /// # Errors
    /// Returns the error that the model receives.
    fn create(&self, path: &str, text: &str) -> impl Future<Output = TextResult> + Send;

    /// Replaces the only occurrence of `old` in a file. `old` is not empty.
    ///
    /// # Errors
    /// Returns the error that the model receives, for example if there is no or more than one
    /// occurrence.
    fn str_replace(
        &self,
        path: &str,
        old: &str,
        new: &str,
    ) -> impl Future<Output = TextResult> + Send;

    /// Inserts text after a line, counted from 1. 0 inserts before the first line.
    ///
    /// # Errors
    /// Returns the error that the model receives, for example if there is no such line.
    fn insert(&self, path: &str, after: i64, text: &str)
    -> impl Future<Output = TextResult> + Send;
}

/// The name of the tool, and its serial group.
const NAME: &str = "str_replace_based_edit_tool";

/// The tool `text_editor_20250728` over an [`Editor`].
///
/// ```no_run
/// use toolrunner_std::builtin::{DirectoryEditor, EditorTool};
/// # fn f() -> std::io::Result<()> {
/// let editor = EditorTool::new(DirectoryEditor::open("/workspace")?).max_characters(20_000);
/// # let _ = editor;
/// # Ok(()) }
/// ```
/// The calls of one run are executed one after the other, in the model's order.
#[derive(Debug)]
pub struct EditorTool<E> {
    editor: E,
    json: String,
    max_characters: Option<usize>,
}

impl<E: Editor> EditorTool<E> {
    /// Creates the tool.
    pub fn new(editor: E) -> Self {
        let json = format!(r#"{{"type":"text_editor_20250728","name":"{NAME}"}}"#);
        Self { editor, json, max_characters: None }
    }

    /// Limits what a view shows, in characters. The model learns the limit from the definition, and
    /// a view that was cut says so.
    #[must_use]
    pub fn max_characters(mut self, characters: usize) -> Self {
        self.max_characters = Some(characters);
        self.json = format!(
            r#"{{"type":"text_editor_20250728","name":"{NAME}","max_characters":{characters}}}"#
        );
        self
    }

    fn cut(&self, text: String) -> String {
        let end = self.max_characters.and_then(|limit| text.char_indices().nth(limit));
        match end.and_then(|(end, _)| text.get(..end)) {
            Some(part) => format!(
                "{part}\n[truncated at {} of {} characters; use view_range to see the rest]",
                part.chars().count(),
                text.chars().count()
            ),
            None => text,
        }
    }
}

const COMMAND: &str = r#"{"type":"object","required":["command","path"],"properties":{"command":{"enum":["view","create","str_replace","insert"]},"path":{"type":"string"}}}"#;
const VIEW: &str = r#"{"type":"object","properties":{"view_range":{"anyOf":[{"type":"null"},{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":2}]}}}"#;
const CREATE: &str =
    r#"{"type":"object","required":["file_text"],"properties":{"file_text":{"type":"string"}}}"#;
const STR_REPLACE: &str = r#"{"type":"object","required":["old_str"],"properties":{"old_str":{"type":"string","minLength":1},"new_str":{"type":["string","null"]}}}"#;
const INSERT: &str = r#"{"type":"object","required":["insert_line"],"anyOf":[{"required":["insert_text"]},{"required":["new_str"]}],"properties":{"insert_line":{"type":"integer"},"insert_text":{"type":"string"},"new_str":{"type":"string"}}}"#;

impl<E: Editor> Tools for EditorTool<E> {
    fn count(&self) -> usize {
        1
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        let definition = Definition::new(NAME, &self.json).serial_in(NAME);
        (i == 0).then(|| if E::BLOCKING { definition.blocking() } else { definition })
    }

    async fn call(
        &self,
        _: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let arguments = Arguments::check(NAME, COMMAND, call.input, out)?;
        let (command, path) = (arguments.text("command"), arguments.text("path"));
        let schema = match &*command {
            "view" => VIEW,
            "create" => CREATE,
            "str_replace" => STR_REPLACE,
            _ => INSERT,
        };
        let arguments = Arguments::check(NAME, schema, call.input, out)?;
        let text = match &*command {
            "view" => self.cut(self.editor.view(&path, arguments.pair("view_range")).await?),
            "create" => self.editor.create(&path, &arguments.text("file_text")).await?,
            "str_replace" => {
                let (old, new) = (arguments.text("old_str"), arguments.text("new_str"));
                self.editor.str_replace(&path, &old, &new).await?
            }
            _ => {
                // Some models use the name of the older versions.
                let text = arguments.optional_text("insert_text");
                let text = text.unwrap_or_else(|| arguments.text("new_str"));
                let after = arguments.integer("insert_line").unwrap_or(-1);
                self.editor.insert(&path, after, &text).await?
            }
        };
        Ok(out.text(&text)?)
    }
}

/// Text files in a directory. Nothing outside of it can be reached: see [the module](super).
///
/// Paths are relative, or absolute below the directory. A relative link inside the directory is
/// followed if it stays there; one with an absolute target is refused. A file has at most 1 MiB,
/// unless [`max_file_bytes`](Self::max_file_bytes) sets another limit. Files are written
/// atomically.
#[derive(Debug)]
pub struct DirectoryEditor {
    directory: WorkDirectory,
    max_file_bytes: u64,
    /// Held while a call reads and writes.
    turn: Mutex<()>,
}

/// How many entries of a directory a view lists.
const MAX_ENTRIES: usize = 10_000;

impl DirectoryEditor {
    /// Opens a directory.
    ///
    /// # Errors
    /// Returns the error of the file system.
    pub fn open(directory: impl AsRef<Path>) -> io::Result<Self> {
        let directory = WorkDirectory::open(directory.as_ref())?;
        Ok(Self { directory, max_file_bytes: 1 << 20, turn: Mutex::new(()) })
    }

    /// Sets the maximum size of a file in bytes. Default: 1 MiB.
    #[must_use]
    pub const fn max_file_bytes(mut self, bytes: u64) -> Self {
        self.max_file_bytes = bytes;
        self
    }

    fn read(&self, path: &str) -> Result<String, ToolError> {
        let found = self.directory.resolve(path).map_err(|fault| self.fault(path, fault))?;
        self.directory
            .folder
            .read_text(&found, self.max_file_bytes)
            .map_err(|fault| self.fault(path, fault.into()))
    }

    fn write(&self, path: &str, text: &str) -> Result<(), ToolError> {
        let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if size > self.max_file_bytes {
            return Err(self.fault(path, Fault::TooLarge(size).into()));
        }
        let found = self.directory.resolve(path).map_err(|fault| self.fault(path, fault))?;
        self.directory
            .folder
            .write(&found, text.as_bytes(), Access::Default, OverwritePolicy::Replace)
            .map_err(|fault| self.fault(path, fault.into()))
    }

    fn fault(&self, path: &str, fault: PathFault) -> ToolError {
        match fault {
            PathFault::Outside => ToolError::format(format_args!(
                "Error: the path {path} is outside the working directory"
            )),
            PathFault::TooLong => ToolError::format(format_args!(
                "Error: the path is too long: {} bytes, at most {LONGEST_PATH} are allowed",
                path.len()
            )),
            PathFault::Fault(Fault::Io(error)) if error.kind() == ErrorKind::NotFound => {
                ToolError::format(format_args!(
                    "Error: The path {path} does not exist. Please provide a valid path."
                ))
            }
            PathFault::Fault(Fault::TooLarge(size)) => ToolError::format(format_args!(
                "Error: {path} has {size} bytes, more than the limit of {} bytes",
                self.max_file_bytes
            )),
            PathFault::Fault(fault) => {
                ToolError::format(format_args!("Error: {path}: {}", reason(&fault)))
            }
        }
    }

    /// Lists a directory and the directories in it, without hidden entries and links.
    fn list(&self, path: &str, found: &Path) -> Result<String, ToolError> {
        let mut lines = vec![format!(
            "Here're the files and directories up to 2 levels deep in {path}, excluding hidden items:"
        )];
        let mut open = vec![(found.to_owned(), String::new(), 1)];
        while let Some((at, prefix, level)) = open.pop() {
            let dir = match self.directory.folder.directory(&at) {
                Ok(dir) => dir,
                Err(fault) if level == 1 => return Err(self.fault(path, fault.into())),
                Err(_) => continue,
            };
            let names = dir.entries()?.filter_map(Result::ok);
            let names = names.filter_map(|entry| entry.file_name().into_string().ok());
            let names = names.filter(|name| !name.starts_with('.'));
            let mut names: Vec<_> = names.take(MAX_ENTRIES + 1).collect();
            names.sort();
            for name in names {
                if lines.len() > MAX_ENTRIES {
                    lines.push(format!("[more than {MAX_ENTRIES} entries; the rest is not shown]"));
                    return Ok(lines.join("\n"));
                }
                let Ok(kind) = dir.symlink_metadata(&name) else { continue };
                if kind.is_dir() {
                    lines.push(format!("{prefix}{name}/"));
                    if level < 2 {
                        open.push((at.join(&name), format!("{prefix}{name}/"), level + 1));
                    }
                } else if kind.is_file() {
                    lines.push(format!("{prefix}{name}"));
                }
            }
        }
        lines.get_mut(1..).unwrap_or_default().sort();
        Ok(lines.join("\n"))
    }
}

impl Editor for DirectoryEditor {
    const BLOCKING: bool = true;

    async fn view(&self, path: &str, lines: Option<[i64; 2]>) -> Result<String, ToolError> {
        let _turn = lock(&self.turn);
        let found = self.directory.resolve(path).map_err(|fault| self.fault(path, fault))?;
        let kind = self.directory.folder.metadata(&found);
        if kind.map_err(|fault| self.fault(path, fault.into()))?.is_dir() {
            return self.list(path, &found);
        }
        let contents = self.read(path)?;
        let (lines, first) = text::range(&contents, lines);
        Ok(format!(
            "Here's the content of {path} with line numbers:\n{}",
            text::numbered(lines, first)
        ))
    }

    async fn create(&self, path: &str, contents: &str) -> Result<String, ToolError> {
        let _turn = lock(&self.turn);
        self.write(path, contents)?;
        Ok(format!("File created successfully at: {path}"))
    }

    async fn str_replace(&self, path: &str, old: &str, new: &str) -> Result<String, ToolError> {
        let _turn = lock(&self.turn);
        let contents = self.read(path)?;
        let places = text::lines_with(&contents, old);
        let [line] = *places else {
            let lines: Vec<String> = places.iter().map(ToString::to_string).collect();
            return Err(if lines.is_empty() {
                ToolError::format(format_args!(
                    "No replacement was performed, old_str `{old}` did not appear verbatim in {path}."
                ))
            } else {
                ToolError::format(format_args!(
                    "No replacement was performed. Multiple occurrences of old_str `{old}` in lines: {}. Please ensure it is unique",
                    lines.join(", ")
                ))
            });
        };
        let contents = contents.replacen(old, new, 1);
        self.write(path, &contents)?;
        let count = new.matches('\n').count() + 1;
        Ok(format!(
            "The file {path} has been edited. Here's a snippet with line numbers:\n{}",
            text::snippet(&contents, line - 1, count, 4)
        ))
    }

    async fn insert(&self, path: &str, after: i64, insertion: &str) -> Result<String, ToolError> {
        let _turn = lock(&self.turn);
        let contents = self.read(path)?;
        let contents = text::insert(&contents, after, insertion).map_err(|lines| {
            ToolError::format(format_args!(
                "Invalid `insert_line` parameter: {after}. It should be within the range [0, {lines}]."
            ))
        })?;
        self.write(path, &contents)?;
        let count = insertion.trim_end_matches('\n').matches('\n').count() + 1;
        let first = usize::try_from(after).unwrap_or(0);
        Ok(format!(
            "The file {path} has been edited. Here's a snippet with line numbers:\n{}",
            text::snippet(&contents, first, count, 4)
        ))
    }
}
