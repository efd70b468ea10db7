//! Checks statements of CONTRIBUTING.md and of the board guide that no other test covers.

use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    let path = root().join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Appends the folders below `folder` that have a lock file, relative to the root.
fn with_lock_file(folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        if path.is_dir() && name != "target" && !name.to_string_lossy().starts_with('.') {
            if path.join("Cargo.lock").exists() {
                let relative = path.strip_prefix(root()).unwrap();
                found.push(relative.to_string_lossy().into_owned());
            }
            with_lock_file(&path, found);
        }
    }
}

#[test]
fn contributing_says_who_checks_advisories_and_updates_each_lock_file() {
    let text = read("CONTRIBUTING.md");
    let section = text.split("## Dependencies").nth(1).unwrap().split("\n## ").next().unwrap();
    assert!(section.contains("`cargo deny check advisories`"));
    assert!(section.contains("a maintainer must run"));
    let mut folders = Vec::new();
    with_lock_file(&root(), &mut folders);
    assert!(!folders.is_empty());
    for folder in folders {
        assert!(section.contains(&format!("`{folder}`")), "CONTRIBUTING does not list {folder}");
    }
}

/// A reader who copies the firmware and forgets a part must not get a board that does nothing, or
/// one whose randomness is a constant.
#[test]
fn each_function_of_the_board_guide_that_has_no_hardware_panics() {
    let guide = read("transport-embassy/README.md");
    let program = guide.split("```rust,no_run").nth(1).unwrap().split("```").next().unwrap();
    for (marker, function) in [
        ("struct Trng;", "fn fill("),
        ("struct Rtc;", "fn unix_seconds("),
        ("// board: defmt, RTT or a serial port.", "fn say("),
    ] {
        let behind = program.split(marker).nth(1).unwrap_or_else(|| panic!("no {marker}"));
        let body = behind.split(function).nth(1).and_then(|body| body.split("}\n").next());
        let body = body.unwrap_or_else(|| panic!("no {function} after {marker}"));
        assert!(body.contains("panic!(\"board: "), "{function} does not panic: {body}");
    }
}
