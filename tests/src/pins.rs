//! Rows of Markdown tables that name the tests, scenarios and examples that pin them.

use std::path::Path;

/// Returns the text of a file of the repository, or `None` if there is no such file.
pub fn read(file: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).ok()
}

/// Returns the cells of the row whose first cell is `id`.
///
/// # Errors
/// Returns the fault if there is not exactly one such row, if it does not have `count` cells, or if
/// one of them is empty.
pub fn row<'t>(text: &'t str, id: &str, count: usize) -> Result<Vec<&'t str>, String> {
    let mut rows: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").map(str::trim).collect())
        .filter(|row: &Vec<&str>| row.first() == Some(&id))
        .collect();
    let cells = match (rows.pop(), rows.len()) {
        (Some(cells), 0) => cells,
        (last, others) => {
            return Err(format!("{id}: {} rows", others + usize::from(last.is_some())));
        }
    };
    if cells.len() != count || cells.iter().any(|cell| cell.is_empty()) {
        return Err(format!("{id}: {} cells, and none may be empty", cells.len()));
    }
    Ok(cells)
}

/// Returns the faults of a cell that pins the row of `id`: it must name something, in backticks,
/// and everything that it names must exist.
pub fn faults_of_pins(id: &str, cell: &str) -> Vec<String> {
    let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
    if names.is_empty() {
        return vec![format!("{id}: nothing pins it")];
    }
    names
        .into_iter()
        .filter(|name| !exists(name))
        .map(|name| format!("{id}: there is no `{name}`"))
        .collect()
}

/// Returns whether there is a scenario of this name, an example in a file of this name, or a test
/// `file: function`.
fn exists(name: &str) -> bool {
    let Some((file, function)) = name.split_once(": ") else {
        if name.starts_with("examples/") {
            return read(name).is_some();
        }
        let scenario = read(&format!("tests/scenarios/{name}.json")).unwrap_or_default();
        return scenario.contains(&format!("\"name\": \"{name}\""));
    };
    // The attributes of the function are above it, after the end of the previous item.
    let text = read(file).unwrap_or_default();
    text.split_once(&format!("fn {function}("))
        .and_then(|(before, _)| before.rsplit("\n\n").next())
        .is_some_and(|head| head.contains("#[test]") || head.contains("#[tokio::test"))
}
