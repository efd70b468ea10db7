//! Checks that `tests/PARITY.md` has every row, that each "yes" names tests, scenarios or examples
//! that exist, and that each "no" gives a reason.

use toolrunner_tests::pins::{faults_of_pins, read, row};

/// The rows: the prefix of their ids, their number, and the number of their cells.
const TABLES: [(&str, usize, usize); 5] =
    [("R", 45, 11), ("H", 14, 11), ("N", 20, 5), ("S", 20, 5), ("L", 7, 5)];

/// Features whose row must say "no" with a reason, or name what pins them.
const TOPICS: [&str; 6] = [
    "Tool clean-up",
    "Foundry client",
    "Managed-agents runner",
    "Helper headers",
    "on AWS",
    "on Google Cloud",
];

/// The least length of a reason, in characters.
const REASON: usize = 40;

/// Returns the faults of the row of `id`, which must exist once.
fn faults(text: &str, id: &str, cells: usize) -> Vec<String> {
    let row = match row(text, id, cells) {
        Ok(row) => row,
        Err(fault) => return vec![fault],
    };
    let (ours, pinned) = (row[2], row[3]);
    if let Some(reason) = ours.strip_prefix("no: ") {
        let is_short = reason.chars().count() < REASON;
        return Vec::from_iter(is_short.then(|| format!("{id}: no reason for \"no\"")));
    }
    if ours != "yes" && !ours.starts_with("yes: ") {
        return vec![format!("{id}: neither \"yes\" nor \"no\" with a reason")];
    }
    faults_of_pins(id, pinned)
}

const PARITY: &str = "tests/PARITY.md";

#[test]
fn every_row_is_pinned_or_explained() {
    let text = read(PARITY).expect("the tables");
    let ids = TABLES.iter().flat_map(|&(prefix, count, cells)| {
        (1..=count).map(move |n| (format!("{prefix}{n:02}"), cells))
    });
    let mut found: Vec<String> =
        ids.clone().flat_map(|(id, cells)| faults(&text, &id, cells)).collect();
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| id "));
    let (rows, ids) = (rows.count(), ids.count());
    if rows != ids {
        found.push(format!("{rows} rows instead of {ids}"));
    }
    found.extend(
        TOPICS
            .iter()
            .filter(|topic| !text.contains(*topic))
            .map(|topic| format!("no row {topic:?}")),
    );
    assert!(found.is_empty(), "{PARITY}:\n{}", found.join("\n"));
}

#[test]
fn what_is_missing_is_seen() {
    let test = "`tests/tests/parity.rs: what_is_missing_is_seen`";
    let long = "a reason that is long enough to say something";
    for (row, fault) in [
        (format!("| R01 | a | yes | {test}, `no-turn-json` | b |"), None),
        ("| R01 | a | yes: c | `examples/src/bin/chat.rs` | b |".to_owned(), None),
        (format!("| R01 | a | no: {long} | – | b |"), None),
        ("| R02 | a | yes | `no-turn-json` | b |".to_owned(), Some("R01: 0 rows")),
        (
            "| R01 | a | yes | `no-turn-json` |".to_owned(),
            Some("R01: 4 cells, and none may be empty"),
        ),
        (
            "| R01 |  | yes | `no-turn-json` | b |".to_owned(),
            Some("R01: 5 cells, and none may be empty"),
        ),
        ("| R01 | a | no: later | – | b |".to_owned(), Some("R01: no reason for \"no\"")),
        (
            format!("| R01 | a | no | {test} | b |"),
            Some("R01: neither \"yes\" nor \"no\" with a reason"),
        ),
        ("| R01 | a | yes | – | b |".to_owned(), Some("R01: nothing pins it")),
        ("| R01 | a | yes | `no-turn` | b |".to_owned(), Some("R01: there is no `no-turn`")),
        (
            "| R01 | a | yes | `examples/src/bin/none.rs` | b |".to_owned(),
            Some("R01: there is no `examples/src/bin/none.rs`"),
        ),
        // A function that is not a test.
        (
            "| R01 | a | yes | `tests/tests/parity.rs: faults` | b |".to_owned(),
            Some("R01: there is no `tests/tests/parity.rs: faults`"),
        ),
    ] {
        let found = faults(&row, "R01", 5);
        assert_eq!(found, Vec::from_iter(fault.map(str::to_owned)), "{row}");
    }
}
