//! The directory in which an agent works, and the paths that the model writes for it.

use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

use super::folder::{Fault, Folder};

/// A directory. Its files are named by relative paths, or by absolute ones below it.
#[derive(Debug)]
pub(super) struct WorkDirectory {
    pub(super) folder: Folder,
    /// The path, without links.
    root: PathBuf,
    /// The path as it was given, if it is absolute.
    given: PathBuf,
}

/// The maximum length of a path, in bytes. It is that of Linux. Longer paths are not repeated in
/// texts for the model.
pub(super) const LONGEST_PATH: usize = 4096;

/// Why a path cannot be used.
#[derive(Debug)]
pub(super) enum PathFault {
    /// It leaves the directory.
    Outside,
    /// It is longer than [`LONGEST_PATH`].
    TooLong,
    Fault(Fault),
}

impl From<Fault> for PathFault {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<io::Error> for PathFault {
    fn from(error: io::Error) -> Self {
        Self::Fault(error.into())
    }
}

impl WorkDirectory {
    /// Opens a directory.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let root = path.canonicalize()?;
        Ok(Self { folder: Folder::open(&root)?, root, given: path.to_owned() })
    }

    /// Returns the absolute path of a file, for texts.
    #[cfg(all(unix, feature = "agent-toolset"))]
    pub(super) fn shown(&self, relative: &Path) -> String {
        self.root.join(relative).display().to_string()
    }

    /// Returns the path below the directory that the model means, with its links followed as far as
    /// they stay inside. It need not exist.
    ///
    /// Between this and the use of the path somebody may replace a part of it with a link. This
    /// does not escape the directory, because [`Folder`] follows no links.
    pub(super) fn resolve(&self, path: &str) -> Result<PathBuf, PathFault> {
        if path.len() > LONGEST_PATH {
            return Err(PathFault::TooLong);
        }
        let lexical = self.lexical(path)?;
        let (mut known, mut rest) = (lexical.as_path(), PathBuf::new());
        loop {
            let start = if known == Path::new("") { Path::new(".") } else { known };
            match self.folder.dir().canonicalize(start) {
                Ok(canonical) => {
                    let canonical = canonical.strip_prefix(".").unwrap_or(&canonical);
                    return Ok(if rest.as_os_str().is_empty() {
                        canonical.to_owned()
                    } else {
                        canonical.join(rest)
                    });
                }
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    let (Some(parent), Some(name)) = (known.parent(), known.file_name()) else {
                        return Err(error.into());
                    };
                    rest = if rest.as_os_str().is_empty() {
                        name.into()
                    } else {
                        Path::new(name).join(rest)
                    };
                    known = parent;
                }
                // This error comes from the library, which found that the path leaves the
                // directory.
                Err(error)
                    if error.kind() == ErrorKind::PermissionDenied
                        && error.raw_os_error().is_none() =>
                {
                    return Err(PathFault::Outside);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns the path below the directory, with `.` and `..` resolved and without a look at the
    /// disk.
    fn lexical(&self, path: &str) -> Result<PathBuf, PathFault> {
        let path = Path::new(path);
        let relative = if path.has_root() || path.is_absolute() {
            path.strip_prefix(&self.root).or_else(|_| path.strip_prefix(&self.given))
        } else {
            Ok(path)
        };
        let mut inside = PathBuf::new();
        for part in relative.map_err(|_| PathFault::Outside)?.components() {
            match part {
                Component::CurDir => {}
                Component::Normal(name) => inside.push(name),
                Component::ParentDir if inside.pop() => {}
                _ => return Err(PathFault::Outside),
            }
        }
        Ok(inside)
    }
}

/// Returns a reason in the words of the SDKs: the same on every system, and without paths of this
/// machine.
pub(super) fn reason(fault: &Fault) -> String {
    match fault {
        Fault::Link => "too many levels of symbolic links".to_owned(),
        Fault::NotFile => "not a regular file".to_owned(),
        Fault::NotText => "not valid UTF-8 text".to_owned(),
        Fault::TooLarge(size) => format!("too large: {size} bytes"),
        Fault::Io(error) => match error.kind() {
            ErrorKind::NotFound => "no such file or directory".to_owned(),
            ErrorKind::AlreadyExists => "file already exists".to_owned(),
            ErrorKind::IsADirectory => "is a directory".to_owned(),
            kind => kind.to_string(),
        },
    }
}
