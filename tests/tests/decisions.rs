//! Checks that each decision about a reported case is in `tests/scenarios/README.md`, and that the
//! tests named there exist.

use std::path::Path;

fn read(file: &str) -> Option<String> {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).ok()
}

/// Returns the faults of the row of `id`: it must exist once, with `cells` cells that are not
/// empty, and its last cell must name scenarios and tests that exist.
fn faults(text: &str, id: &str, cells: usize) -> Vec<String> {
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"))
        .map(|row| row.split(" | ").map(str::trim).collect())
        .filter(|row: &Vec<&str>| row.first() == Some(&id))
        .collect();
    let [row] = rows.as_slice() else { return vec![format!("{id}: {} rows", rows.len())] };
    if row.len() != cells || row.iter().any(|cell| cell.is_empty()) {
        return vec![format!("{id}: {} cells, and none may be empty", row.len())];
    }
    let names: Vec<&str> =
        row.last().into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    if names.is_empty() {
        return vec![format!("{id}: nothing pins it")];
    }
    names
        .into_iter()
        .filter(|name| !exists(name))
        .map(|name| format!("{id}: there is no `{name}`"))
        .collect()
}

/// Returns whether there is a scenario of this name, or a test `file: function`.
fn exists(name: &str) -> bool {
    let Some((file, function)) = name.split_once(": ") else {
        let scenario = read(&format!("tests/scenarios/{name}.json")).unwrap_or_default();
        return scenario.contains(&format!("\"name\": \"{name}\""));
    };
    // The attributes of the function are above it, after the end of the previous item.
    let text = read(file).unwrap_or_default();
    text.split_once(&format!("fn {function}("))
        .and_then(|(before, _)| before.rsplit("\n\n").next())
        .is_some_and(|head| head.contains("#[test]") || head.contains("#[tokio::test"))
}

const README: &str = "tests/scenarios/README.md";

#[test]
fn every_decision_is_documented_and_pinned() {
    let text = read(README).expect("the table of decisions");
    let questions = (1..=22).flat_map(|n| faults(&text, &format!("Q{n:02}"), 5));
    let reports = (1..=19).flat_map(|n| faults(&text, &format!("F{n:02}"), 4));
    let faults: Vec<String> = questions.chain(reports).collect();
    assert!(faults.is_empty(), "{README}:\n{}", faults.join("\n"));
}

#[test]
fn what_is_missing_is_seen() {
    let test = "`tests/tests/decisions.rs: what_is_missing_is_seen`";
    for (row, fault) in [
        (format!("| Q01 | a | b | c | `gateway-no-message-stop-text`, {test} |"), None),
        ("| Q02 | a | b | c | `no-turn-json` |".to_owned(), Some("Q01: 0 rows")),
        (
            "| Q01 | a | b | `no-turn-json` |".to_owned(),
            Some("Q01: 4 cells, and none may be empty"),
        ),
        (
            "| Q01 | a |  | c | `no-turn-json` |".to_owned(),
            Some("Q01: 5 cells, and none may be empty"),
        ),
        ("| Q01 | a | b | c | no-turn-json |".to_owned(), Some("Q01: nothing pins it")),
        ("| Q01 | a | b | c | `no-turn` |".to_owned(), Some("Q01: there is no `no-turn`")),
        (
            "| Q01 | a | b | c | `tests/tests/none.rs: faults` |".to_owned(),
            Some("Q01: there is no `tests/tests/none.rs: faults`"),
        ),
        // A function that is not a test.
        (
            "| Q01 | a | b | c | `tests/tests/decisions.rs: faults` |".to_owned(),
            Some("Q01: there is no `tests/tests/decisions.rs: faults`"),
        ),
    ] {
        assert_eq!(faults(&row, "Q01", 5), Vec::from_iter(fault), "{row}");
    }
}
