//! Edits of text, and how the model sees lines.

/// The width of line numbers.
const WIDTH: usize = 6;

/// Returns lines with their numbers, the first of which is `first`.
pub(super) fn numbered<'t>(lines: impl Iterator<Item = &'t str>, first: usize) -> String {
    let mut text = String::new();
    for (i, line) in lines.enumerate() {
        if i > 0 {
            text.push('\n');
        }
        text += &format!("{:>WIDTH$}\t{line}", first.saturating_add(i));
    }
    text
}

/// Returns the lines of `text` that an inclusive range names, counted from 1, and the number of the
/// first one. An end of -1 is the last line.
pub(super) fn range(text: &str, range: Option<[i64; 2]>) -> (impl Iterator<Item = &str>, usize) {
    let [start, end] = range.unwrap_or([1, -1]);
    let skip = usize::try_from(start.max(1)).unwrap_or(usize::MAX) - 1;
    let end = if end == -1 { usize::MAX } else { usize::try_from(end).unwrap_or(0) };
    (text.split('\n').skip(skip).take(end.saturating_sub(skip)), skip.saturating_add(1))
}

/// Returns the numbers of the lines where `part` begins in `text`. Occurrences may overlap.
pub(super) fn lines_with(text: &str, part: &str) -> Vec<usize> {
    let (mut lines, mut from, mut line) = (Vec::new(), 0, 1);
    while let Some(found) = text.get(from..).and_then(|rest| rest.find(part)) {
        let at = from + found;
        line += newlines(text, from, at);
        lines.push(line);
        // Occurrences that overlap count, as in the SDKs.
        let next = text.get(at..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8);
        line += newlines(text, at, at + next);
        from = at + next;
    }
    lines
}

fn newlines(text: &str, from: usize, to: usize) -> usize {
    text.get(from..to).unwrap_or_default().matches('\n').count()
}

/// Returns the lines around the line `index`, counted from 0, with their numbers: `around` lines
/// before and after it.
pub(super) fn snippet(text: &str, index: usize, lines: usize, around: usize) -> String {
    let start = index.saturating_sub(around);
    let count = index.saturating_add(lines).saturating_add(around) - start;
    numbered(text.split('\n').skip(start).take(count), start + 1)
}

/// Inserts `insertion` after the line `after`, counted from 1; 0 inserts before the first line.
/// Returns `Err` with the number of lines if there is no such line.
pub(super) fn insert(text: &str, after: i64, insertion: &str) -> Result<String, usize> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    if lines.last() == Some(&"") {
        lines.pop();
    }
    let at = usize::try_from(after).ok().filter(|at| *at <= lines.len()).ok_or(lines.len())?;
    lines.insert(at, insertion.trim_end_matches('\n'));
    let mut text = lines.join("\n");
    if !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
