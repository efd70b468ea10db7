//! Checks that each top-level module ("room") of core uses only the rooms before it. A reader can
//! therefore read the rooms in order, and the state machine never sees a transport's bytes or a
//! driver's future. Checks also that adapters name nothing that only core decides by, and that
//! their owned events know every event.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The rooms in order. `transport`, `policy` and `observe` come before the state machine because it
/// needs their types: the head of a reply, what may be retried, and the reported events. Only
/// `drive`, near the end, moves bytes and waits. `testing` may use all rooms.
const ROOMS: [&str; 19] = [
    "error",
    "time",
    "json",
    "message",
    "history",
    "schema",
    "tool",
    "transcript",
    "transport",
    "policy",
    "wire",
    "turn",
    "observe",
    "run",
    "serialize",
    "drive",
    "client",
    "structured",
    "testing",
];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src")
}

fn rust_files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// Returns the first names of all paths that begin at the crate's root.
fn roots(code: &str, prefix: &str) -> Vec<String> {
    let name = |text: &str| {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>()
    };
    let mut found = Vec::new();
    for (at, _) in code.match_indices(prefix) {
        // Skips the end of another name or of a longer path.
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$') {
            continue;
        }
        let rest = &code[at + prefix.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.push(name(rest));
            continue;
        };
        let (mut depth, mut starts) = (0, true);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => starts = true,
                c if starts && !c.is_whitespace() => {
                    found.push(name(&group[i..]));
                    starts = false;
                }
                _ => {}
            }
        }
    }
    found
}

/// Returns the code of a file without comments and tests.
fn code(file: &Path) -> String {
    let text = std::fs::read_to_string(file).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    text.lines()
        .map(|line| line.split("//").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join("\n")
}

/// Returns which rooms each room uses, and the file in which it does so.
fn uses() -> BTreeMap<(String, String), PathBuf> {
    let mut files = Vec::new();
    rust_files(&source(), &mut files);
    let mut uses = BTreeMap::new();
    for file in files {
        let inside = file.strip_prefix(source()).unwrap();
        let parts: Vec<&str> = inside.iter().filter_map(|part| part.to_str()).collect();
        let room = parts[0].trim_end_matches(".rs");
        if room == "lib" {
            continue;
        }
        // The room's own file is a child of the crate's root; the files in its folder are children
        // of that file.
        let is_own = parts.len() == 1 || parts[1] == "mod.rs";
        let code = code(&file);
        let mut used = roots(&code, "crate::");
        // `super::super::Name` also occurs in a module within a file, where it is not a room.
        let above = roots(&code, if is_own { "super::" } else { "super::super::" });
        used.extend(above.into_iter().filter(|name| name.starts_with(char::is_lowercase)));
        for other in used {
            uses.entry((room.to_owned(), other)).or_insert_with(|| file.clone());
        }
    }
    uses
}

#[test]
fn each_room_uses_only_those_before_it() {
    let place = |room: &str| ROOMS.iter().position(|known| *known == room);
    let mut wrong = Vec::new();
    for ((room, other), file) in uses() {
        let Some(own) = place(&room) else {
            wrong.push(format!("{room} has no place in the order: {}", file.display()));
            continue;
        };
        // Other names at the crate's root (macros, re-exports) are for users, not for the rooms.
        if place(&other).is_none_or(|other| other > own) {
            wrong.push(format!("{room} uses {other}: {}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What core alone decides by, as code: an adapter that named one of these would decide too.
const DECISIONS: [(&str, &[&str]); 3] = [
    (
        "a stop reason",
        &[
            "StopReason::",
            "Outcome::Ended(",
            "\"end_turn\"",
            "\"pause_turn\"",
            "\"refusal\"",
            "\"stop_sequence\"",
        ],
    ),
    (
        "the order of refusals",
        &[
            "Step::",
            ".step(",
            ".next_call(",
            ".is_withdrawn",
            ".refuse_bad_input(",
            ".answer_not_found(",
            ".answer_notice(",
            ".leave_to_caller(",
            ".mark_started(",
            ".mark_started_early(",
            ".start_in_place(",
            ".end_in_place(",
            ".is_within_limits(",
            "\"Error: not ",
            "\"Error: cancelled",
        ],
    ),
    (
        "a parameter of the request",
        &[
            "\"compaction\"",
            "\"container\"",
            "\"context_management\"",
            "\"fallbacks\"",
            "\"max_tokens\"",
            "\"mcp_servers\"",
            "\"messages\"",
            "\"model\"",
            "\"output_config\"",
            "\"output_format\"",
            "\"speed\"",
            "\"stop_sequences\"",
            "\"stream\"",
            "\"system\"",
            "\"thread\"",
            "\"tool_choice\"",
            "\"tools\"",
        ],
    ),
];

/// What a front end takes from its caller. Each parameter has a setter or is a part of a body that
/// the caller passes as a whole, or is an attribute of a span. Nothing is decided by them but the
/// model of a summary.
const TAKEN: [(&str, &[&str]); 13] = [
    // Of toolrunner-c: the caller's answers, and the next step.
    (
        "calls.rs",
        &[".answer_not_found(", ".end_in_place(", ".leave_to_caller(", ".start_in_place("],
    ),
    ("request.rs", &["Step::", ".step("]),
    // It names each outcome of the run for its caller.
    ("state.rs", &["Outcome::Ended("]),
    // Of toolrunner-blocking, in its `Debug`.
    ("run.rs", &["\"tools\""]),
    ("params.rs", &["\"max_tokens\"", "\"model\"", "\"system\""]),
    ("run/body.rs", &["\"model\""]),
    ("run/build.rs", &["\"max_tokens\"", "\"messages\"", "\"stream\"", "\"tools\""]),
    // It reports to the caller whether the limits are reached.
    ("run/mod.rs", &["\"tools\"", ".is_within_limits("]),
    ("run/output.rs", &["\"output_config\""]),
    ("run/strict.rs", &["\"mcp_servers\"", "\"tool_choice\"", "\"tools\""]),
    // In the reply.
    ("run/tokens.rs", &["\"context_management\""]),
    // In an error message.
    ("run/tools.rs", &["\"tools\""]),
    ("run/trace.rs", &["\"max_tokens\"", "\"model\""]),
];

/// Returns what an adapter's file decides that only core may decide.
fn decisions(file: &str, code: &str) -> Vec<String> {
    let taken = TAKEN.iter().find(|(own, _)| *own == file).map_or(&[][..], |(_, words)| words);
    let mut found = Vec::new();
    // In a string of JSON the quotes are escaped.
    let code = code.replace('\\', "");
    for (what, words) in DECISIONS {
        for word in words.iter().filter(|word| !taken.contains(word) && code.contains(**word)) {
            found.push(format!("{file} names {what}: {word}"));
        }
    }
    found
}

#[test]
fn adapters_decide_nothing() {
    let mut found = Vec::new();
    for adapter in
        ["core/c/src", "transport-std/src", "transport-std/blocking/src", "transport-embassy/src"]
    {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(adapter);
        let mut files = Vec::new();
        rust_files(&folder, &mut files);
        assert!(files.len() > 5, "{adapter}");
        for file in files.iter().filter(|file| !file.ends_with("tests.rs")) {
            // Other endpoints, and a middleware that asks another model, drive no run.
            if ["api", "fallback"].iter().any(|other| file.starts_with(folder.join(other))) {
                continue;
            }
            let name = file.strip_prefix(&folder).unwrap().to_str().unwrap();
            found.extend(decisions(name, &code(file)));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn decisions_are_seen() {
    let code =
        "if stop == StopReason::ToolUse { run.answer_not_found(i)?; params.json(\"container\") }";
    let found = decisions("run/body.rs", code);
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(decisions("run/body.rs", "name == \"model\"").is_empty());
    assert_eq!(decisions("run/calls.rs", "name == \"model\"").len(), 1);
}

/// The most fields of a `Run`. With more, related fields belong in a type of their own.
const MOST_FIELDS: usize = 14;

/// Returns the names of the fields of `pub struct Run`.
fn fields(code: &str) -> Vec<&str> {
    let body = code.split("pub struct Run").nth(1).unwrap().split("\n}\n").next().unwrap();
    body.lines()
        .filter_map(|line| line.strip_prefix("    "))
        .filter_map(|line| line.split_once(": "))
        .map(|(name, _)| name.trim_start_matches("pub(super) ").trim_start_matches("pub(crate) "))
        .filter(|name| name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect()
}

#[test]
fn no_run_has_many_fields() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for file in
        ["core/src/run/mod.rs", "transport-std/src/run/mod.rs", "transport-std/blocking/src/run.rs"]
    {
        let code = code(&root.join(file));
        let fields = fields(&code);
        assert!(fields.contains(&"machine"), "{file}: {fields:?}");
        assert!(fields.len() <= MOST_FIELDS, "{file} has {}: {fields:?}", fields.len());
    }
}

/// The files that document a `Run`, each with the folder of its impl blocks.
const RUNS: [(&str, &str); 3] = [
    ("core/src/run/mod.rs", "core/src"),
    ("transport-std/src/run/mod.rs", "transport-std/src"),
    ("transport-std/blocking/src/run.rs", "transport-std/blocking/src"),
];

/// Returns the names of the public, not hidden methods in the `impl Run` blocks of a file.
fn run_methods(text: &str) -> Vec<String> {
    let (mut found, mut is_inside, mut is_hidden) = (Vec::new(), false, false);
    for line in text.lines() {
        if line.starts_with("impl") {
            let name = line.trim_start_matches("impl").trim_start_matches("<'b>");
            is_inside = name.starts_with(" Run<") || name.starts_with(" Run {");
        } else if line.starts_with('}') {
            is_inside = false;
        }
        let Some(code) = line.strip_prefix("    ").filter(|_| is_inside) else { continue };
        is_hidden |= code == "#[doc(hidden)]";
        if let Some(declaration) = code.strip_prefix("pub ") {
            let (is_fn, rest) = declaration.split_once("fn ").unwrap_or_default();
            let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
            if ["", "const ", "async "].contains(&is_fn) && !name.is_empty() && !is_hidden {
                found.push(name.to_owned());
            }
        }
        // An attribute belongs to the next item.
        is_hidden &= code.starts_with(['#', '/']);
    }
    found
}

/// Returns the documentation of `pub struct Run`.
fn run_documentation(text: &str) -> String {
    let before = text.split("\npub struct Run").next().unwrap();
    let lines = before.lines().rev().take_while(|line| line.starts_with(['/', '#']));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn each_run_names_all_its_methods() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut missing = Vec::new();
    for (file, folder) in RUNS {
        let documentation = run_documentation(&std::fs::read_to_string(root.join(file)).unwrap());
        let mut files = Vec::new();
        rust_files(&root.join(folder), &mut files);
        let texts = files.iter().map(|file| std::fs::read_to_string(file).unwrap());
        let methods: Vec<String> = texts.flat_map(|text| run_methods(&text)).collect();
        assert!(methods.len() > 20, "{file}: {methods:?}");
        // A link, or a method that not every build has.
        let is_named = |name: &String| {
            documentation.contains(&format!("(Self::{name})"))
                || documentation.contains(&format!("`{name}`"))
        };
        let unnamed = methods.iter().filter(|name| !is_named(name));
        missing.extend(unnamed.map(|name| format!("{file} does not name `{name}`")));
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn run_methods_are_seen() {
    let text = "impl<'b> Run<'b> {\n    pub const fn a(&self) {}\n    #[doc(hidden)]\n    /// B.\n    pub fn b() {}\n    \
                pub async fn c<T>() {}\n    pub(crate) fn d() {}\n    pub const E: u8 = 0;\n}\n\
                impl RunBuilder {\n    pub fn f() {}\n}\nimpl Drop for Run {\n    pub fn g() {}\n}\n";
    assert_eq!(run_methods(text), ["a", "c"]);
    let text = "/// Other.\npub struct Other;\n\n/// One.\n#[derive(Debug)]\npub struct Run {}\n";
    assert_eq!(run_documentation(text), "#[derive(Debug)]\n/// One.");
}

/// Returns the names of the variants of core's `Event`.
fn events() -> Vec<String> {
    let text = std::fs::read_to_string(source().join("observe.rs")).unwrap();
    let body = text.split("pub enum Event<").nth(1).unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let is_variant = |line: &&str| line.starts_with(|c: char| c.is_ascii_uppercase());
    let names = body.lines().filter_map(|line| line.strip_prefix("    ")).filter(is_variant);
    names
        .map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned())
        .collect()
}

/// Returns the events in core's table of deltas.
fn events_of_deltas() -> Vec<String> {
    let text = std::fs::read_to_string(source().join("wire/kinds.rs")).unwrap();
    let rows = text.lines().filter(|line| line.contains("_delta\"") && line.ends_with(';'));
    rows.filter_map(|row| row.split_whitespace().nth(6).map(str::to_owned)).collect()
}

/// The compiler does not check this: `Event` is not exhaustive outside of core. Events of deltas
/// are converted by code that is made from core's table.
#[test]
fn owned_events_know_every_event() {
    let events = events();
    let of_deltas = events_of_deltas();
    assert!(events.len() > 10 && of_deltas.len() > 5, "{events:?} {of_deltas:?}");
    for file in ["transport-std/src/run/events.rs", "transport-std/blocking/src/run/iterators.rs"] {
        let code = code(&Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file));
        assert!(code.contains("\ndeltas!("), "{file}");
        for event in events.iter().filter(|event| !of_deltas.contains(event)) {
            let converts = ["{", ",", " ", ")"]
                .iter()
                .any(|end| code.contains(&format!("            Event::{event}{end}")));
            assert!(converts, "{file} does not convert Event::{event}");
        }
    }
}

#[test]
fn uses_are_seen() {
    let code = "use crate::json::Value;\nuse crate::{error::{Error, What}, tool};\nlet x: crate::run::Run = self::a::crate::b; $crate::c";
    assert_eq!(roots(code, "crate::"), ["json", "error", "tool", "run"]);
    let uses = uses();
    assert!(uses.contains_key(&("run".to_owned(), "transcript".to_owned())));
    assert!(uses.contains_key(&("drive".to_owned(), "run".to_owned())));
}
/// Function words and irregular participles, which name no type. Regular participles are found by
/// their ends.
const NOT_NOUNS: [&str; 53] = [
    "Again", "Apart", "Around", "Before", "Begun", "Both", "Bought", "Brought", "Built", "Caught",
    "Chosen", "Cut", "Done", "Drawn", "Each", "Else", "For", "Found", "Given", "Gone", "Got",
    "Grown", "Heard", "Held", "Hidden", "How", "Inside", "Kept", "Known", "Late", "Later", "Left",
    "Lost", "Made", "Meant", "Met", "Next", "Once", "Rest", "Seen", "Sent", "Shown", "Spent",
    "Split", "Taken", "Then", "Told", "Torn", "When", "Which", "Why", "Woken", "Written",
];

/// Names that end like participles, and why they may stay.
const NOUNS: [(&str, &str); 6] = [
    ("Ending", "a noun: the way in which a reply ended"),
    ("Feed", "a noun: a source of events"),
    ("Fixed", "an adjective: an executor of `drive`, as `Serial` and `Concurrent` are"),
    ("Framing", "a noun: how HTTP marks the end of a body"),
    ("Meaning", "a noun: what a request says"),
    ("Nothing", "a pronoun: the input of an action without arguments"),
];

/// Returns the names of the types that `code` declares.
fn types(code: &str) -> Vec<&str> {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let mut names = Vec::new();
    for keyword in ["struct ", "enum ", "trait ", "type ", "union "] {
        for (at, _) in code.match_indices(keyword) {
            if code[..at].ends_with(is_name) {
                continue;
            }
            let name = code[at + keyword.len()..].split(|c| !is_name(c)).next().unwrap_or_default();
            if name.starts_with(|c: char| c.is_ascii_uppercase()) {
                names.push(name);
            }
        }
    }
    names
}

/// Returns whether a name is a single word that is a participle or a function word.
fn is_no_noun(name: &str) -> bool {
    let is_one_word = !name[1..].contains(|c: char| c.is_ascii_uppercase());
    is_one_word && (NOT_NOUNS.contains(&name) || name.ends_with("ed") || name.ends_with("ing"))
}

#[test]
fn types_have_nouns_as_names() {
    let (mut number, mut wrong) = (0, Vec::new());
    let mut unused: Vec<&str> = NOUNS.iter().map(|(name, _)| *name).collect();
    // The TLS of transport-embassy/tls keeps the names of the package from which it was forked.
    for folder in [
        "core/src",
        "core/c/src",
        "core/macros/src",
        "transport-std/src",
        "transport-std/bedrock/src",
        "transport-std/blocking/src",
        "transport-std/mcp/src",
        "transport-std/serve/src",
        "transport-std/serve/dynamodb/src",
        "transport-std/vertex/src",
        "transport-embassy/src",
    ] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
        let mut files = Vec::new();
        rust_files(&folder, &mut files);
        assert!(!files.is_empty(), "{}", folder.display());
        for file in files {
            let code = code(&file);
            for name in types(&code) {
                number += 1;
                unused.retain(|noun| *noun != name);
                if is_no_noun(name) && !NOUNS.iter().any(|(noun, _)| *noun == name) {
                    wrong.push(format!("{name} is not a noun: {}", file.display()));
                }
            }
        }
    }
    assert!(number > 500, "{number} types");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(unused.is_empty(), "no type has these names: {unused:?}");
}

#[test]
fn names_that_are_no_nouns_are_seen() {
    let code = "pub struct Told {}\npub(crate) enum Called<'a> { Held }\ntype Sending = u8;\nuse a::b;\n\
        trait Which {}\nstruct ToldStory; struct Bed2; let prototype = Heard;";
    let mut found: Vec<&str> = types(code).into_iter().filter(|name| is_no_noun(name)).collect();
    found.sort_unstable();
    assert_eq!(found, ["Called", "Sending", "Told", "Which"]);
}
