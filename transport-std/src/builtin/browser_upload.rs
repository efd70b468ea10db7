//! Which files `file_upload` may use. The texts are those of `lib/tools/_toolsets/_security.py` of
//! the Python SDK 2.14.0.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use toolrunner_core::tool::ToolError;

use super::browser::Upload;

/// The files that may be uploaded. None by default.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    /// A directory without links in its path.
    pub(super) root: Option<PathBuf>,
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
        let paths =
            paths.iter().map(|path| self.path(Path::new(path))).collect::<Result<_, _>>()?;
        Ok(Upload { paths, documents })
    }

    fn path(&self, path: &Path) -> Result<PathBuf, ToolError> {
        let Some(root) = &self.root else {
            return Err(ToolError::new("file_upload has no configured upload roots"));
        };
        if path.components().any(|part| part == Component::ParentDir) {
            return Err(ToolError::new("file_upload path must not contain a '..' component"));
        }
        // A file that does not exist has the same answer, so that nobody can probe for files.
        let found = root.join(path).canonicalize().ok().filter(|found| found.starts_with(root));
        found.ok_or(ToolError::new("file_upload path is outside the configured upload roots"))
    }
}
