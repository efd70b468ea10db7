//! Checks that the figures in the guide and in tests/FIGURES.md are those of the code and of the
//! files with the measured results, and that the README and the list of examples name what exists.

use std::path::Path;

fn read(file: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn capacities_are_those_of_the_code() {
    const LIMITS: &str = "transport-std/src/guide/limits.md";
    let limits = read(LIMITS);
    // The first two cells of the row, the file, and the code in that file.
    let rows = [
        (
            "Transcript, on a server",
            "32 MiB",
            "core/src/transcript/grow.rs",
            "GROWING_LIMIT: usize = 32 * 1024 * 1024;",
        ),
        ("Calls of one turn", "128", "core/src/run/state.rs", "const COUNT: usize = 128;"),
        (
            "Calls of one turn whose input is not a JSON object, and for which the model receives the reason",
            "4",
            "core/src/turn/input.rs",
            "MAX_FAULTS: usize = if cfg!(feature = \"input-words\") { 4 }",
        ),
        (
            "Blocks open at once in a stream",
            "128 on a server, 8 on a chip (1 without the feature `gateways`)",
            "core/src/turn/open.rs",
            "    (false, _) => 1,\n    (true, false) => 8,\n    (true, true) => 128,\n",
        ),
        (
            "Depth of JSON",
            "122, so that a request is at most 127 deep, which common parsers take",
            "core/src/json/check.rs",
            "MAX_DEPTH: usize = 122;",
        ),
        ("Depth of a raw schema", "32", "core/src/schema/raw.rs", "RAW_DEPTH: usize = 32;"),
        (
            "Depth of a tool's input type, in arrays, objects and maps",
            "16",
            "core/src/schema/check.rs",
            "SCHEMA_DEPTH: usize = 16;",
        ),
        ("Tool definitions, on a chip", "24", "core/src/wire/request.rs", "MAX_TOOLS: usize = 24;"),
        (
            "Header fields, on a chip",
            "12, including 6 of our own, or 7 with a message thread",
            "core/src/wire/config.rs",
            "MAX_HEADERS: usize = 12;",
        ),
        (
            "Text of a `ToolError` made by `format`, without `alloc`",
            "96 bytes",
            "core/src/tool/error.rs",
            "ERROR_TEXT: usize = 96;",
        ),
        ("Container id", "96 bytes", "core/src/turn/mod.rs", "Container = heapless::String<96>;"),
        (
            "Id of a reply on a message thread",
            "40 bytes",
            "core/src/run/thread.rs",
            "type Id = heapless::String<40, u8>;",
        ),
        ("Request id", "64 bytes", "core/src/transport.rs", "REQUEST_ID_LEN: usize = 64;"),
        (
            "Body of an API error",
            "64 KiB, or what is free",
            "core/src/run/exchange.rs",
            "ERROR_BODY: usize = 64 * 1024;",
        ),
        (
            "The wait that a server asks for (`retry-after`)",
            "60 s",
            "core/src/policy.rs",
            "retry_after_cap: Duration::from_secs(60),",
        ),
        (
            "Time in which a reply makes no progress, on a server: pings, comments, unknown events and empty pieces do not count",
            "600 s",
            "transport-std/src/http/mod.rs",
            "progress_timeout: Duration::from_secs(600),",
        ),
        (
            "Time that the body of an error takes, on a server",
            "2 s",
            "transport-std/src/http/links.rs",
            "ERROR_BODY_TIME: Duration = Duration::from_secs(2);",
        ),
        (
            "Age of an idle connection, on a server",
            "90 s",
            "transport-std/src/http/mod.rs",
            "idle_timeout: Duration::from_secs(90),",
        ),
        (
            "Idle connections, on a server",
            "1024 a server, 64 servers",
            "transport-std/src/http/links.rs",
            "MAX_HOSTS: usize = 64;",
        ),
        (
            "An image of a computer or a browser",
            "3,932,160 bytes (5 MiB as base64); 8000 pixels per side of a PNG or JPEG image, which the API refuses beyond that",
            "transport-std/src/builtin/screen.rs",
            "MAX_BYTES: usize = (5 << 20) / 4 * 3;",
        ),
        (
            "A field that a page supplies: its title, its URL, a line of an action",
            "4096 characters, the API's limit",
            "transport-std/src/builtin/toolset.rs",
            "FIELD: usize = 4096;",
        ),
        (
            "Connection buffer, on a chip",
            "1 KiB",
            "transport-embassy/src/resources.rs",
            "const BUFFER: usize = 1024",
        ),
    ];
    for (name, figure, file, code) in rows {
        let row = format!("| {name} | {figure} |");
        assert!(limits.contains(&row), "{LIMITS} has no {row}");
        assert!(read(file).contains(code), "{file} has no {code}");
    }
}

/// Returns the cells of the first row of a Markdown table whose first cell is `first`.
fn row(file: &str, first: &str) -> Vec<String> {
    let text = read(file);
    let cells = |line: &str| {
        line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()
    };
    text.lines()
        .map(cells)
        .find(|cells| cells[0] == first)
        .unwrap_or_else(|| panic!("{file} has no row {first}"))
}

#[test]
fn figures_are_those_that_were_measured() {
    let (figures, benches, sizes) =
        (read("tests/FIGURES.md"), "tests/benches/README.md", read("examples/firmware/sizes.txt"));
    let kilobytes = |figure: &str| {
        let line = sizes
            .lines()
            .find(|line| line.starts_with(figure))
            .unwrap_or_else(|| panic!("no {figure}"));
        let bytes = line.rsplit(' ').next().and_then(|last| last.parse::<u32>().ok()).unwrap();
        (bytes + 500) / 1000
    };
    // Both tables have this row: the first is the table of instructions, the second that of times.
    let deltas = "| sse, 12-byte deltas |";
    let timed =
        read(benches).lines().filter(|line| line.starts_with(deltas)).nth(1).unwrap().to_owned();
    let times_memchr = timed.trim_matches('|').split('|').nth(2).unwrap().trim().to_owned();
    for figure in [
        format!("| {} × in JSON, {} × streamed |", row(benches, "JSON")[1], row(benches, "SSE")[1]),
        format!("| {times_memchr} × |"),
        format!(
            "| {} and {}, *held* |",
            row(benches, "sse, 12-byte deltas")[3],
            row(benches, "whole JSON")[3]
        ),
        format!(
            "| {} KB of flash, {} KB of memory ({} KB with records of 4 KiB), *held* |",
            kilobytes("agent-tls flash"),
            kilobytes("agent-tls memory"),
            kilobytes("agent-tls-4k memory")
        ),
        format!(
            "| {} KB of flash, {} KB of memory, *held* |",
            kilobytes("agent-http flash"),
            kilobytes("agent-http memory")
        ),
    ] {
        assert!(figures.contains(&figure), "tests/FIGURES.md has no {figure}");
    }
}

/// Each row of "What runs where" names an example or a test that exists, and a part of
/// `tests/ci.sh` that runs by default. Each board has a row.
#[test]
fn what_runs_where_exists_and_is_checked() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let (readme, ci) = (read("README.md"), read("tests/ci.sh"));
    let section = readme.split("\n## What runs where\n").nth(1).expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let (_, parts) = ci.split_once("\nPARTS=(").expect("the parts");
    let (parts, _) = parts.split_once(')').expect("the end of the parts");
    let parts: Vec<&str> = parts.split_whitespace().collect();
    let rows: Vec<Vec<&str>> = section
        .lines()
        .filter(|line| line.starts_with("| "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .skip(1)
        .collect();
    assert!(rows.len() > 8, "{section}");
    let mut shown = Vec::new();
    for row in &rows {
        let [place, far, by, part] = row[..] else { panic!("{row:?}") };
        assert!(["run", "run in QEMU", "built", "type-checked"].contains(&far), "{place}: {far}");
        let path = by.split_once("](").and_then(|(_, path)| path.strip_suffix(')'));
        let path = path.unwrap_or_else(|| panic!("{place}: {by} is no link"));
        assert!(root.join(path).exists(), "{place}: there is no {path}");
        let part = part.trim_matches('`');
        assert!(parts.contains(&part), "{place}: tests/ci.sh has no part {part}");
        assert!(ci.contains(&format!("\npart_{part}() {{\n")), "{place}: no part_{part}");
        shown.push(path);
    }
    for board in std::fs::read_dir(root.join("examples/boards")).expect("the boards").flatten() {
        let name = board.file_name().into_string().expect("a name in UTF-8");
        if board.path().join("src/main.rs").exists() {
            let path = format!("examples/boards/{name}");
            assert!(shown.contains(&path.as_str()), "README has no row for {path}");
            assert!(ci.contains(&name), "tests/ci.sh does not build {path}");
        }
    }
}

/// Each page of the guide is in the README's table, and each relative link of the README leads to a
/// file.
#[test]
fn the_readme_links_every_page_of_the_guide_and_only_what_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let readme = read("README.md");
    let links: Vec<&str> = readme
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split_once(')').map(|(link, _)| link))
        .filter(|link| !link.starts_with("http"))
        .collect();
    assert!(links.len() > 20, "{links:?}");
    for link in &links {
        assert!(root.join(link).exists(), "README links to {link}");
    }
    let pages = "transport-std/src/guide";
    for page in std::fs::read_dir(root.join(pages)).expect("the guide").flatten() {
        let name = page.file_name().into_string().expect("a name in UTF-8");
        if name != "mod.rs" {
            let page = format!("{pages}/{name}");
            assert!(links.contains(&page.as_str()), "README does not link to {page}");
        }
    }
}

/// Each row of `tests/SEEDS.md` names tests that exist.
#[test]
fn each_official_example_is_a_test_that_exists() {
    let table = read("tests/SEEDS.md");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| Example "))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(rows.len() > 20, "{rows:?}");
    for row in rows {
        let [example, _sources, place] = row[..] else { panic!("{row:?}") };
        let mut places = 0;
        for place in place.split(", ") {
            let place = place.trim_matches('`');
            let (file, name) = place
                .split_once("::")
                .unwrap_or_else(|| panic!("{example}: {place} names no file and test"));
            let text = read(file);
            let is_test = text
                .split("#[test]")
                .skip(1)
                .chain(text.split("#[tokio::test]").skip(1))
                .any(|behind| {
                    let line = behind.trim_start().lines().next().unwrap_or_default();
                    line.strip_prefix("async ").unwrap_or(line).starts_with(&format!("fn {name}("))
                });
            assert!(is_test, "{example}: {file} has no test {name}");
            places += 1;
        }
        assert!(places > 0, "{example} has no test");
    }
}
