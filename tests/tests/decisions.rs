//! Checks that each decision about a reported case is in `tests/scenarios/README.md`, and that the
//! tests named there exist.

use toolrunner_tests::pins::{faults_of_pins, read, row};

/// Returns the faults of the row of `id`: it must exist once, with `cells` cells that are not
/// empty, and its last cell must name scenarios and tests that exist.
fn faults(text: &str, id: &str, cells: usize) -> Vec<String> {
    let row = match row(text, id, cells) {
        Ok(row) => row,
        Err(fault) => return vec![fault],
    };
    faults_of_pins(id, row.last().copied().unwrap_or_default())
}

const README: &str = "tests/scenarios/README.md";

#[test]
fn every_decision_is_documented_and_pinned() {
    let text = read(README).expect("the table of decisions");
    let questions = (1..=22).flat_map(|n| faults(&text, &format!("Q{n:02}"), 5));
    let reports = (1..=19).flat_map(|n| faults(&text, &format!("F{n:02}"), 4));
    let edges = (1..=18).flat_map(|n| faults(&text, &format!("E{n:02}"), 5));
    let faults: Vec<String> = questions.chain(reports).chain(edges).collect();
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
