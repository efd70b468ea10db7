//! Memories in a directory.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Mutex;

use cap_std::fs::{Dir, DirBuilder};
use toolrunner_core::tool::ToolError;

use super::folder::{Access, Fault, Folder, OverwritePolicy};
use super::memory::Memory;
use super::memory_path::MemoryPath;
use super::text;
use crate::lock::lock;

/// The maximum number of lines that a view shows.
const MAX_LINES: usize = 999_999;
/// The maximum number of entries that a view of a directory lists.
const MAX_ENTRIES: usize = 10_000;
/// How deep a view of a directory goes.
const LEVELS: usize = 2;

/// Memories as files in a directory, in the same layout and with the same texts as the SDKs'
/// `BetaLocalFilesystemMemoryTool`.
///
/// `/memories` is the directory `memories` in the opened one. Links are never followed: see
/// [the module](super). On Unix, new files have the mode 600 and new directories 700. Files are
/// written atomically. A file has at most 1 MiB, unless [`max_file_bytes`](Self::max_file_bytes)
/// sets another limit; their number is not limited.
///
/// **Concurrency.** Calls wait for each other, also from several runs that share the tool. Another
/// process sees old or new contents, nothing in between, but the last of two edits at the same time
/// wins.
#[derive(Debug)]
pub struct DirectoryMemory {
    folder: Folder,
    max_file_bytes: u64,
    /// Held while a call reads and writes.
    turn: Mutex<()>,
}

impl DirectoryMemory {
    /// Opens a directory, and creates it and its `memories` if they are missing.
    ///
    /// # Errors
    /// Returns the error of the file system, for example if `memories` is a link.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Self> {
        create_private(path.as_ref())?;
        let outer = Folder::open(path.as_ref())?;
        create_private_in(outer.dir(), "memories")?;
        let inner = outer.directory(Path::new("memories")).map_err(|fault| match fault {
            Fault::Io(error) => error,
            _ => io::Error::new(
                ErrorKind::InvalidInput,
                "`memories` must be a directory, not a link",
            ),
        })?;
        Ok(Self { folder: Folder::of(inner), max_file_bytes: 1 << 20, turn: Mutex::new(()) })
    }

    /// Sets the maximum size of a file in bytes. Default: 1 MiB.
    #[must_use]
    pub const fn max_file_bytes(mut self, bytes: u64) -> Self {
        self.max_file_bytes = bytes;
        self
    }

    /// Deletes all memories. The model cannot do this.
    ///
    /// # Errors
    /// Returns the error of the file system.
    pub fn clear(&self) -> io::Result<()> {
        let _turn = lock(&self.turn);
        for entry in self.folder.dir().entries()? {
            let name = entry?.file_name();
            match self.folder.delete(Path::new(&name)) {
                Err(Fault::Io(error)) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a file that is about to be edited.
    fn read(&self, path: &MemoryPath<'_>) -> Result<String, ToolError> {
        self.folder.read_text(path.as_path(), self.max_file_bytes).map_err(|fault| match fault {
            Fault::NotFile => {
                ToolError::format(format_args!("The path {} is not a file.", path.given()))
            }
            fault => self.fault(path, fault),
        })
    }

    fn write(
        &self,
        path: &MemoryPath<'_>,
        text: &str,
        existing: OverwritePolicy,
    ) -> Result<(), ToolError> {
        let size = u64::try_from(text.len()).unwrap_or(u64::MAX);
        if size > self.max_file_bytes {
            return Err(self.fault(path, Fault::TooLarge(size)));
        }
        self.folder
            .write(path.as_path(), text.as_bytes(), Access::Private, existing)
            .map_err(|fault| self.fault(path, fault))
    }

    /// Returns what the model receives.
    fn fault(&self, path: &MemoryPath<'_>, fault: Fault) -> ToolError {
        let path = path.given();
        match fault {
            fault if fault.is_missing() => ToolError::format(format_args!(
                "The path {path} does not exist. Please provide a valid path."
            )),
            Fault::Link => ToolError::new("Path would escape /memories directory via symlink"),
            Fault::NotFile => ToolError::format(format_args!("Unsupported file type for {path}")),
            Fault::NotText => ToolError::format(format_args!("The file {path} is not UTF-8 text.")),
            Fault::TooLarge(size) => ToolError::format(format_args!(
                "The file {path} has {size} bytes, more than the limit of {} bytes.",
                self.max_file_bytes
            )),
            Fault::Io(error) if error.kind() == ErrorKind::AlreadyExists => {
                ToolError::format(format_args!("File {path} already exists"))
            }
            // The kind only: a text of the system can contain paths of this machine.
            Fault::Io(error) => ToolError::format(format_args!("Error: {path}: {}", error.kind())),
        }
    }

    fn list(&self, path: &MemoryPath<'_>, size: u64) -> Result<String, ToolError> {
        let given = path.given();
        let dir = self.folder.directory(path.as_path()).map_err(|fault| self.fault(path, fault))?;
        let mut lines = vec![
            format!(
                "Here're the files and directories up to {LEVELS} levels deep in {given}, excluding hidden items:"
            ),
            format!("{}\t{given}", readable(size)),
        ];
        if !collect(&dir, given.trim_end_matches('/'), 1, &mut lines) {
            lines.push(format!("[more than {MAX_ENTRIES} entries; the rest is not shown]"));
        }
        Ok(lines.join("\n"))
    }
}

impl Memory for DirectoryMemory {
    const BLOCKING: bool = true;

    async fn view(
        &self,
        path: &MemoryPath<'_>,
        lines: Option<[i64; 2]>,
    ) -> Result<String, ToolError> {
        let _turn = lock(&self.turn);
        let found =
            self.folder.metadata(path.as_path()).map_err(|fault| self.fault(path, fault))?;
        if found.is_dir() {
            return self.list(path, found.len());
        }
        let contents = self
            .folder
            .read_text(path.as_path(), self.max_file_bytes)
            .map_err(|fault| self.fault(path, fault))?;
        let given = path.given();
        if contents.split('\n').count() > MAX_LINES {
            return Err(ToolError::format(format_args!(
                "File {given} exceeds maximum line limit of 999,999 lines."
            )));
        }
        let (lines, first) = text::range(&contents, lines);
        Ok(format!(
            "Here's the content of {given} with line numbers:\n{}",
            text::numbered(lines, first)
        ))
    }

    async fn create(&self, path: &MemoryPath<'_>, contents: &str) -> Result<String, ToolError> {
        let _turn = lock(&self.turn);
        self.write(path, contents, OverwritePolicy::Keep)?;
        Ok(format!("File created successfully at: {}", path.given()))
    }

    async fn str_replace(
        &self,
        path: &MemoryPath<'_>,
        old: &str,
        new: &str,
    ) -> Result<String, ToolError> {
        let _turn = lock(&self.turn);
        let contents = self.read(path)?;
        let given = path.given();
        let places = text::lines_with(&contents, old);
        let [line] = *places else {
            let lines: Vec<String> = places.iter().map(ToString::to_string).collect();
            return Err(if lines.is_empty() {
                ToolError::format(format_args!(
                    "No replacement was performed, old_str `{old}` did not appear verbatim in {given}."
                ))
            } else {
                ToolError::format(format_args!(
                    "No replacement was performed. Multiple occurrences of old_str `{old}` in lines: {}. Please ensure it is unique",
                    lines.join(", ")
                ))
            });
        };
        let contents = contents.replacen(old, new, 1);
        self.write(path, &contents, OverwritePolicy::Replace)?;
        Ok(format!(
            "The memory file has been edited. Here is the snippet showing the change (with line numbers):\n{}",
            text::snippet(&contents, line - 1, 1, 2)
        ))
    }

    async fn insert(
        &self,
        path: &MemoryPath<'_>,
        after: i64,
        insertion: &str,
    ) -> Result<String, ToolError> {
        let _turn = lock(&self.turn);
        let contents = self.read(path)?;
        let contents = text::insert(&contents, after, insertion).map_err(|lines| {
            ToolError::format(format_args!(
                "Invalid `insert_line` parameter: {after}. It should be within the range [0, {lines}]."
            ))
        })?;
        self.write(path, &contents, OverwritePolicy::Replace)?;
        Ok(format!("The file {} has been edited.", path.given()))
    }

    async fn delete(&self, path: &MemoryPath<'_>) -> Result<String, ToolError> {
        let _turn = lock(&self.turn);
        if path.is_root() {
            return Err(ToolError::new("Cannot delete the /memories directory itself"));
        }
        self.folder.delete(path.as_path()).map_err(|fault| self.absent(path, fault))?;
        Ok(format!("Successfully deleted {}", path.given()))
    }

    async fn rename(
        &self,
        old: &MemoryPath<'_>,
        new: &MemoryPath<'_>,
    ) -> Result<String, ToolError> {
        let _turn = lock(&self.turn);
        let (from, to) = (old.given(), new.given());
        if old.is_root() {
            return Err(ToolError::new("Cannot rename the /memories directory itself"));
        }
        match self.folder.rename(old.as_path(), new.as_path(), Access::Private) {
            Ok(()) => Ok(format!("Successfully renamed {from} to {to}")),
            Err(Fault::Io(error)) if error.kind() == ErrorKind::AlreadyExists => {
                Err(ToolError::format(format_args!("The destination {to} already exists")))
            }
            Err(fault) => Err(self.absent(old, fault)),
        }
    }
}

impl DirectoryMemory {
    /// Returns what the model receives if a file to delete or to rename is missing.
    fn absent(&self, path: &MemoryPath<'_>, fault: Fault) -> ToolError {
        if fault.is_missing() {
            ToolError::format(format_args!("The path {} does not exist", path.given()))
        } else {
            self.fault(path, fault)
        }
    }
}

/// Lists what is in `dir`, sorted by name, without hidden entries and links. Returns whether all
/// of it fits.
fn collect(dir: &Dir, prefix: &str, level: usize, lines: &mut Vec<String>) -> bool {
    let Ok(entries) = dir.entries() else { return true };
    let mut entries: Vec<_> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry)))
        .filter(|(name, _)| !name.starts_with('.'))
        .collect();
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    for (name, _) in entries {
        if lines.len() > MAX_ENTRIES {
            return false;
        }
        let Ok(found) = dir.symlink_metadata(&name) else { continue };
        let size = readable(found.len());
        if found.is_dir() {
            lines.push(format!("{size}\t{prefix}/{name}/"));
            if level < LEVELS
                && let Ok(inner) = cap_fs_ext::DirExt::open_dir_nofollow(dir, &name)
                && !collect(&inner, &format!("{prefix}/{name}"), level + 1, lines)
            {
                return false;
            }
        } else if found.is_file() {
            lines.push(format!("{size}\t{prefix}/{name}"));
        }
    }
    true
}

/// Returns a size as the SDKs write it: `0B`, `512B`, `1.5K`.
fn readable(bytes: u64) -> String {
    const UNITS: [char; 4] = ['B', 'K', 'M', 'G'];
    let unit = (bytes.checked_ilog2().unwrap_or(0) / 10).min(3);
    let one = 1_u64 << (10 * unit);
    let name = UNITS.get(usize::try_from(unit).unwrap_or(0)).unwrap_or(&'B');
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    if bytes.is_multiple_of(one) {
        format!("{}{name}", bytes / one)
    } else {
        format!("{:.1}{name}", bytes as f64 / one as f64)
    }
}

/// Creates a directory and those above it, which only the owner can enter.
fn create_private(path: &Path) -> io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

fn create_private_in(dir: &Dir, name: &str) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    cap_std::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match dir.create_dir_with(name, builder.recursive(false)) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}
