//! The figures in README's table of capacities are those of the code.

use std::path::Path;

fn read(file: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file);
    std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}

#[test]
fn capacities_are_those_of_the_code() {
    let readme = read("README.md");
    // The row's first cell, what stands in its second, the file and what stands in that.
    let rows = [
        ("Transcript, on a server", "32 MiB", "core/src/transcript.rs", "GROWING_LIMIT: usize = 32 * 1024 * 1024;"),
        ("Calls of one turn", "128", "core/src/run/state.rs", "const COUNT: usize = 128;"),
        (
            "Calls of one turn whose input is no JSON object, and the model is told why",
            "4",
            "core/src/turn/input.rs",
            "MAX_FAULTS: usize = 4;",
        ),
        ("Blocks open at once in a stream", "8", "core/src/turn/mod.rs", "MAX_OPEN_BLOCKS: usize = 8;"),
        ("Depth of JSON", "127", "core/src/json/check.rs", "MAX_DEPTH: usize = 127;"),
        ("Depth of a raw schema", "32", "core/src/schema/raw.rs", "RAW_DEPTH: usize = 32;"),
        ("Depth of a tool's input type, in arrays, objects and maps", "16", "core/src/schema/check.rs", "SCHEMA_DEPTH: usize = 16;"),
        ("Tool definitions, on a chip", "24", "core/src/wire/request.rs", "MAX_TOOLS: usize = 24;"),
        ("Header fields, on a chip", "12, of which 6 are ours", "core/src/wire/request.rs", "MAX_HEADERS: usize = 12;"),
        ("Text of a `ToolError` made by `format`, without `alloc`", "96 bytes", "core/src/tool/error.rs", "ERROR_TEXT: usize = 96;"),
        ("Container id", "96 bytes", "core/src/turn/mod.rs", "Container = heapless::String<96>;"),
        ("Request id", "64 bytes", "core/src/transport.rs", "REQUEST_ID_LEN: usize = 64;"),
        ("Body of an API error", "64 KiB, or what is free", "core/src/run/mod.rs", "ERROR_BODY: usize = 64 * 1024;"),
        ("Connection buffer, on a chip", "1 KiB", "transport-embassy/src/resources.rs", "const BUFFER: usize = 1024"),
    ];
    for (name, figure, file, code) in rows {
        let row = format!("| {name} | {figure} |");
        assert!(readme.contains(&row), "README has no {row}");
        assert!(read(file).contains(code), "{file} has no {code}");
    }
}
