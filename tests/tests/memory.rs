//! Checks the tables in the board guide from which a reader computes the memory of a firmware.

use std::path::Path;

fn read(file: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
}

/// Returns the rows of the table whose first column has this heading.
fn table(guide: &str, heading: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    };
    let lines = guide.lines().skip_while(|line| cells(line)[0] != heading).skip(2);
    lines.take_while(|line| line.starts_with('|')).map(cells).collect()
}

fn number(cell: &str) -> u32 {
    cell.replace(',', "").parse().unwrap_or_else(|_| panic!("{cell} is not a number"))
}

#[test]
fn a_reader_computes_what_is_measured() {
    let guide = read("transport-embassy/README.md");
    let measured = read("examples/firmware/sizes.txt");
    let parts = table(&guide, "Part");
    assert_eq!(parts.len(), 8);
    let sum = |column: usize, record_in: Option<u32>| -> u32 {
        let part = |row: &Vec<String>| {
            record_in.filter(|_| row[0] == "`RECORD_IN`").unwrap_or_else(|| number(&row[column]))
        };
        parts.iter().map(part).sum()
    };
    let computed = [sum(1, None), sum(2, None), sum(2, Some(4352))];
    let configurations = table(&guide, "Configuration");
    assert_eq!(configurations.len(), computed.len());
    for (row, computed) in configurations.iter().zip(computed) {
        assert_eq!(number(&row[1]), computed, "the guide's sum of {}", row[0]);
        let stage = format!("{} memory ", row[2]);
        let line = measured
            .lines()
            .find(|line| line.starts_with(&stage))
            .unwrap_or_else(|| panic!("{stage} is not in sizes.txt"));
        let measured = number(line.rsplit(' ').next().unwrap());
        let apart = f64::from(computed.abs_diff(measured)) / f64::from(measured);
        println!(
            "{}: computed {computed}, measured {measured}, {:.1} % apart",
            row[0],
            apart * 100.0
        );
        assert!(apart < 0.05, "{}: computed {computed}, measured {measured}", row[0]);
    }
}

/// Checks the table of the two HTTP clients.
#[test]
fn clients() {
    let measured = read("examples/firmware/sizes.txt");
    let rows = table(&read("transport-embassy/README.md"), "Client");
    assert_eq!(rows.len(), 3);
    for row in rows {
        for (figure, cell) in ["flash", "memory", "turn"].into_iter().zip(&row[1..]) {
            let stage = format!("{} {figure} ", row[4]);
            let line = measured.lines().find(|line| line.starts_with(&stage)).expect("a stage");
            let last = number(line.rsplit(' ').next().unwrap());
            let apart = f64::from(last.abs_diff(number(cell))) / f64::from(last);
            assert!(apart < 0.05, "{stage}: the guide has {cell}, measured {last}");
        }
    }
}
