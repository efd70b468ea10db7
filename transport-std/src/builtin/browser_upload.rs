//! Which files `file_upload` may use. The texts are those of `lib/tools/_toolsets/_security.py` of
//! the Python SDK 2.14.0.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use toolrunner_core::tool::ToolError;

use super::browser::Upload;

/// The longest path, in bytes.
const LONGEST: usize = 4096;

/// The files that may be uploaded. None by default.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    /// The directory without links in its path, and as the program named it.
    pub(super) root: Option<(PathBuf, PathBuf)>,
    pub(super) documents: BTreeSet<String>,
}

impl Uploads {
    /// Returns the files of an upload if all of them are allowed.
    pub(super) fn check(
        &self,
        paths: Vec<String>,
        documents: Vec<String>,
    ) -> Result<Upload, ToolError> {
        if paths.is_empty() && documents.is_empty() {
            return Err(ToolError::new(
                "Error: invalid input for tool 'file_upload': expected paths or document_ids, got neither",
            ));
        }
        if !documents.iter().all(|id| self.documents.contains(id)) {
            return Err(ToolError::new(if self.documents.is_empty() {
                "file_upload has no configured document allowlist"
            } else {
                "document not in the upload allowlist"
            }));
        }
        let paths = paths.iter().map(|path| self.path(path)).collect::<Result<_, _>>()?;
        Ok(Upload { paths, documents })
    }

    fn path(&self, path: &str) -> Result<PathBuf, ToolError> {
        let outside = ToolError::new("file_upload path is outside the configured upload roots");
        let Some((root, named)) = &self.root else {
            return Err(ToolError::new("file_upload has no configured upload roots"));
        };
        if path.is_empty() || path.contains('\0') {
            return Err(ToolError::new("file_upload path is empty or contains a NUL byte"));
        }
        if path.len() > LONGEST {
            return Err(ToolError::new("file_upload path is too long"));
        }
        // On every system, because a link can lead elsewhere than the text says.
        if path.split(['/', '\\']).any(|part| part == "..") {
            return Err(ToolError::new("file_upload path must not contain a '..' component"));
        }
        // The text decides first. Looking up a path that the model chose would reveal whether it
        // exists, and on some systems would mount a share or send credentials to a host.
        let path = Path::new(path);
        let inside = path.strip_prefix(root).or_else(|_| path.strip_prefix(named));
        let claimed = match inside {
            Ok(inside) => root.join(inside),
            Err(_) => root.join(path),
        };
        if !claimed.starts_with(root) {
            return Err(outside);
        }
        // A file that does not exist has the same answer, so that nobody can probe for files.
        let found = claimed.canonicalize().ok().filter(|found| found.starts_with(root));
        match found {
            Some(found) if found.is_file() => Ok(found),
            Some(_) => Err(ToolError::new("file_upload path is not a file")),
            None => Err(outside),
        }
    }
}
