//! The searches of the agent toolset: glob and grep.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Seek};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use cap_std::fs::File;
use globset::GlobBuilder;
use regex::RegexBuilder;
use toolrunner_core::tool::{ToolContext, ToolError};

use super::folder::Fault;
use super::work_directory::{WorkDirectory, reason};

/// How many entries a search looks at.
const MAX_ENTRIES: usize = 50_000;
/// How many paths a glob shows.
const MAX_PATHS: usize = 200;
/// How many bytes a grep shows.
const MAX_OUTPUT: usize = 100 << 10;
/// How many bytes of a line a grep shows.
const MAX_LINE: usize = 2000;

/// A file or a directory that a walk found.
struct WalkEntry {
    path: PathBuf,
    is_file: bool,
    changed: Option<SystemTime>,
}

/// Visits everything below `start`, in the order of names, without following links. Returns whether
/// it saw everything; `visit` returns whether to go on.
fn walk(
    directory: &WorkDirectory,
    start: &Path,
    enter: impl Fn(&str) -> bool,
    context: &ToolContext<'_>,
    mut visit: impl FnMut(WalkEntry) -> bool,
) -> Result<bool, ToolError> {
    let (mut open, mut seen) = (vec![start.to_owned()], 0);
    while let Some(path) = open.pop() {
        // A directory that vanished or cannot be read is left out, as in the SDKs.
        let Ok(dir) = directory.folder.directory(&path) else { continue };
        let Ok(entries) = dir.entries() else { continue };
        let names: BTreeSet<_> = entries
            .filter_map(Result::ok)
            .take(MAX_ENTRIES + 1)
            .map(|entry| entry.file_name())
            .collect();
        let mut inner = Vec::new();
        for name in names {
            if context.is_cancelled() {
                return Err(ToolError::new("the search was cancelled"));
            }
            seen += 1;
            if seen > MAX_ENTRIES {
                return Ok(false);
            }
            let Ok(found) = dir.symlink_metadata(&name) else { continue };
            let path = path.join(&name);
            if found.is_dir() && name.to_str().is_none_or(&enter) {
                inner.push(path.clone());
            }
            let changed = found.modified().ok().map(cap_std::time::SystemTime::into_std);
            if (found.is_dir() || found.is_file())
                && !visit(WalkEntry { path, is_file: found.is_file(), changed })
            {
                return Ok(true);
            }
        }
        open.extend(inner.into_iter().rev());
    }
    Ok(true)
}

/// Lists what matches a pattern below `start`, newest first.
pub(super) fn glob(
    directory: &WorkDirectory,
    start: &Path,
    pattern: &str,
    context: &ToolContext<'_>,
) -> Result<String, ToolError> {
    if Path::new(pattern).has_root() || Path::new(pattern).is_absolute() {
        return Err(ToolError::new(
            "glob: absolute pattern not permitted; pass a relative pattern (and optionally path)",
        ));
    }
    if pattern.split(['/', '\\']).any(|part| part == "..") {
        return Err(ToolError::new("glob: '..' is not permitted in the pattern"));
    }
    let matcher = GlobBuilder::new(pattern.strip_prefix("./").unwrap_or(pattern))
        .literal_separator(true)
        .build()
        .map_err(|error| ToolError::format(format_args!("glob: {}", error.kind())))?
        .compile_matcher();
    let mut matches = Vec::new();
    let complete = walk(
        directory,
        start,
        |_| true,
        context,
        |found| {
            if matcher.is_match(found.path.strip_prefix(start).unwrap_or(&found.path)) {
                matches.push(found);
            }
            true
        },
    )?;
    matches.sort_by_key(|found| core::cmp::Reverse(found.changed));
    let more = matches.len().saturating_sub(MAX_PATHS);
    let mut lines: Vec<_> =
        matches.iter().take(MAX_PATHS).map(|found| directory.shown(&found.path)).collect();
    if lines.is_empty() {
        lines.push("no matches".to_owned());
    }
    if more > 0 {
        lines.push(format!("[{more} older matches are not shown]"));
    }
    if !complete {
        lines.push(format!("[the search ended after {MAX_ENTRIES} entries]"));
    }
    Ok(lines.join("\n"))
}

/// Searches a file, or the files below a directory.
pub(super) fn grep(
    directory: &WorkDirectory,
    start: &Path,
    pattern: &str,
    context: &ToolContext<'_>,
) -> Result<String, ToolError> {
    let regex = RegexBuilder::new(pattern)
        .size_limit(1 << 20)
        .build()
        .map_err(|error| ToolError::format(format_args!("grep: invalid regex: {error}")))?;
    let mut hits = Hits { text: String::new(), full: false };
    let fail = |fault: Fault| {
        ToolError::format(format_args!("grep: {}: {}", directory.shown(start), reason(&fault)))
    };
    let complete = if directory.folder.metadata(start).map_err(fail)?.is_dir() {
        let enter = |name: &str| !matches!(name, ".git" | "node_modules");
        walk(directory, start, enter, context, |found| {
            if found.is_file
                && let Ok(file) = directory.folder.file(&found.path)
            {
                scan(file, &directory.shown(&found.path), &regex, context, &mut hits);
            }
            !hits.full
        })?
    } else {
        let file = directory.folder.file(start).map_err(fail)?;
        scan(file, &directory.shown(start), &regex, context, &mut hits);
        true
    };
    if context.is_cancelled() {
        return Err(ToolError::new("the search was cancelled"));
    }
    if hits.text.is_empty() {
        hits.text.push_str("no matches\n");
    }
    if hits.full {
        hits.text.push_str(&format!("[output truncated at {MAX_OUTPUT} bytes]\n"));
    }
    if !complete {
        hits.text.push_str(&format!("[the search ended after {MAX_ENTRIES} entries]\n"));
    }
    hits.text.pop();
    Ok(hits.text)
}

struct Hits {
    text: String,
    full: bool,
}

/// Searches a file, unless it is binary.
fn scan(
    mut file: File,
    shown: &str,
    regex: &regex::Regex,
    context: &ToolContext<'_>,
    hits: &mut Hits,
) {
    let mut beginning = Vec::new();
    let is_text =
        (&mut file).take(512).read_to_end(&mut beginning).is_ok_and(|_| !beginning.contains(&0));
    if !is_text || file.rewind().is_err() {
        return;
    }
    let (mut reader, mut line, mut number) = (BufReader::new(file), Vec::new(), 1_u64);
    loop {
        number += u64::from(line.last() == Some(&b'\n'));
        line.clear();
        // A line of more than 1 MiB is searched in parts.
        match (&mut reader).take(1 << 20).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        if context.is_cancelled() {
            return;
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end_matches(['\r', '\n']);
        if !regex.is_match(text) {
            continue;
        }
        let end = (0..=MAX_LINE.min(text.len())).rev().find(|at| text.is_char_boundary(*at));
        let part = text.get(..end.unwrap_or(0)).unwrap_or_default();
        let note = if part.len() < text.len() { " [line truncated]" } else { "" };
        let hit = format!("{shown}:{number}:{part}{note}\n");
        if hits.text.len() + hit.len() > MAX_OUTPUT {
            hits.full = true;
            return;
        }
        hits.text.push_str(&hit);
    }
}
