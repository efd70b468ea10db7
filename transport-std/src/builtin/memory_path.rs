//! The paths of memories.

use std::path::Path;

use toolrunner_core::tool::ToolError;

/// The maximum length of a path, in bytes.
const LONGEST_PATH: usize = 1024;
/// The maximum length of a name in a path, in bytes. Common file systems have the same limit.
const LONGEST_NAME: usize = 255;

/// A path in the memory, such as `/memories/notes/today.md`.
///
/// It was checked, so that every implementation of [`Memory`](super::Memory) can rely on it: it is
/// `/memories` or below it, also if somebody decodes it once more. `.` and `..` are resolved.
///
/// **Refused**: a path that leaves `/memories` by `..`; a backslash; control characters, including
/// NUL; a name that becomes `.` or `..` or contains a separator when percent encoding is decoded or
/// when look-alike characters (`．`, `／`, …) are normalized; more than 1024 bytes, or 255 in a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryPath<'a> {
    given: &'a str,
    relative: String,
}

impl<'a> MemoryPath<'a> {
    /// Checks a path that the model wrote.
    ///
    /// # Errors
    /// Returns the error that the model receives if the path is refused.
    pub fn new(path: &'a str) -> Result<Self, ToolError> {
        if path.len() > LONGEST_PATH {
            return Err(ToolError::format(format_args!(
                "Path is too long: {} bytes, at most {LONGEST_PATH} are allowed",
                path.len()
            )));
        }
        if path.contains(char::is_control) {
            return Err(ToolError::format(format_args!(
                "Path must not contain control characters, got: {}",
                path.escape_debug()
            )));
        }
        let rest = path
            .strip_prefix("/memories")
            .filter(|rest| matches!(rest.bytes().next(), None | Some(b'/')));
        let rest = rest.ok_or_else(|| {
            ToolError::format(format_args!("Path must start with /memories, got: {path}"))
        })?;
        let escape =
            || ToolError::format(format_args!("Path {path} would escape /memories directory"));
        let mut parts: Vec<&str> = Vec::new();
        for name in rest.split('/') {
            match name {
                "" | "." => {}
                ".." => drop(parts.pop().ok_or_else(escape)?),
                _ if is_disguised(name) => return Err(escape()),
                _ if name.len() > LONGEST_NAME => {
                    return Err(ToolError::format(format_args!(
                        "Path has a name of {} bytes, at most {LONGEST_NAME} are allowed",
                        name.len()
                    )));
                }
                _ => parts.push(name),
            }
        }
        Ok(Self { given: path, relative: parts.join("/") })
    }

    /// Returns the path as the model wrote it, for texts.
    pub const fn given(&self) -> &'a str {
        self.given
    }

    /// Returns the path below `/memories`, without a slash at its beginning. Empty for `/memories`
    /// itself.
    pub fn relative(&self) -> &str {
        &self.relative
    }

    /// Returns whether this is `/memories` itself.
    pub fn is_root(&self) -> bool {
        self.relative.is_empty()
    }

    pub(super) fn as_path(&self) -> &Path {
        Path::new(&self.relative)
    }
}

/// Returns whether a name, once decoded, means `..` or contains a separator.
fn is_disguised(name: &str) -> bool {
    let mut plain = name.to_owned();
    // Encoded more than once. Each round makes the name shorter.
    loop {
        plain = plain.chars().map(look_alike).collect::<String>().replace('‥', "..");
        let decoded = decode_percent(&plain);
        if decoded == plain {
            break;
        }
        plain = decoded;
    }
    plain.contains(['/', '\\'])
        || plain.contains(char::is_control)
        || matches!(&*plain, "" | "." | "..")
}

/// Maps a character to the ASCII character that a compatibility normalization (NFKC) makes of it,
/// if paths give it a meaning.
const fn look_alike(c: char) -> char {
    match c {
        '․' | '﹒' | '．' => '.',
        '／' => '/',
        '﹨' | '＼' => '\\',
        '﹪' | '％' => '%',
        c => c,
    }
}

/// Decodes `%2e` and the like once. Bytes that are not UTF-8 are replaced.
fn decode_percent(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}
