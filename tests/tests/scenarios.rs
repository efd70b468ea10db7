//! Plays every scenario in each configuration, with bodies whole and cut. `SCENARIOS=DIR` adds
//! others.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use toolrunner_tests::engine::{Client, Embassy, Embedded, Ending, Engine, Server};
use toolrunner_tests::play;
use toolrunner_tests::replay::{Cuts, Replay};
use toolrunner_tests::scenario::{Scenario, files};

fn scenarios() -> Vec<Arc<Scenario>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut from = vec![root.join("tests/scenarios")];
    // Relative to the project's root, from which the caller runs; a test runs in the folder of its
    // package.
    from.extend(std::env::var_os("SCENARIOS").map(|others| root.join(others)));
    let read = |file: &PathBuf| {
        Scenario::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    files(&from).unwrap().iter().map(read).map(Arc::new).collect()
}

fn one(name: &str) -> Arc<Scenario> {
    scenarios().into_iter().find(|scenario| scenario.name == name).unwrap()
}

fn play_all(engine: &dyn Engine) {
    let scenarios = scenarios();
    assert!(scenarios.len() >= 60, "{} scenarios", scenarios.len());
    let cuts = [
        None,
        Some(Cuts { longest: 1, seed: 0 }),
        Some(Cuts { longest: 7, seed: 1 }),
        Some(Cuts { longest: 90, seed: 2 }),
    ];
    let mut failed = Vec::new();
    for scenario in &scenarios {
        for cut in cuts {
            let verdict = play(engine, scenario, cut);
            if !verdict.differences.is_empty() || verdict.note.is_some() {
                failed.push(format!("{} {cut:?}: {:?}", scenario.name, verdict));
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn on_a_server() {
    play_all(&Server);
}

#[test]
fn without_a_heap() {
    play_all(&Embedded { capacity: 64 * 1024 });
}

#[test]
fn over_a_boards_transport() {
    for client in [Client::Own, Client::KeepAlive, Client::PerRequest] {
        play_all(&Embassy { client, capacity: 64 * 1024 });
    }
}

/// At every capacity, a scenario either passes or ends with a capacity error, and all requests up
/// to that point are correct.
#[test]
fn in_any_capacity() {
    for name in
        ["parallel-calls-sse", "citations-json", "thinking-redacted-sse", "input-not-an-object-sse"]
    {
        let scenario = one(name);
        let mut fits = false;
        for capacity in (0..6000).step_by(41) {
            let replay = Arc::new(Replay::new(Arc::clone(&scenario), None));
            match (Embedded { capacity }).run(&scenario, &replay) {
                Ending::Capacity(full) => {
                    assert!(full.needed > full.free, "{name} in {capacity}: {full}");
                    assert!(!fits, "{name}: fitted in less than {capacity}");
                }
                Ending::Message { .. } => {
                    fits |= replay.differences().is_empty() && replay.missing().is_none()
                }
                other => panic!("{name} in {capacity}: {other:?}"),
            }
        }
        assert!(fits, "{name}");
    }
}

/// The verdict as well: a scenario that does not fit never fails.
#[test]
fn what_does_not_fit_passes() {
    // Appended messages additionally need room for the answers, so the last scenario fits only in
    // more memory than its bodies suggest.
    for (name, most) in [
        ("six-turns-json", 3000),
        ("parallel-calls-sse", 3000),
        ("append-and-max-tokens-json", 600),
    ] {
        let scenario = one(name);
        for capacity in (0..most).step_by(7) {
            let verdict = play(&Embedded { capacity }, &scenario, None);
            assert!(
                verdict.differences.is_empty(),
                "{name} in {capacity}: {:?}",
                verdict.differences
            );
        }
    }
}

/// The runner must detect each kind of difference.
#[test]
fn differences_are_seen() {
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/parallel-calls-sse.json"),
    )
    .unwrap();
    let seen = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let scenario = Arc::new(Scenario::parse(&text.replacen(from, to, 1)).unwrap());
        [play(&Server, &scenario, None), play(&Embedded { capacity: 64 * 1024 }, &scenario, None)]
            .map(|verdict| verdict.differences)
    };
    for (from, to, difference) in [
        (
            "\"stop_reason\": \"end_turn\"",
            "\"stop_reason\": \"refusal\"",
            "final.stop_reason: expected \"refusal\", got \"end_turn\"",
        ),
        (
            "\"text\": \"3, nothing, noted.\"",
            "\"text\": \"4\"",
            "final.text: expected \"4\", got \"3, nothing, noted.\"",
        ),
        (
            "\"max_tokens\": 512",
            "\"max_tokens\": 513",
            "request 1: max_tokens: expected 512, got 513",
        ),
        (
            "\"content\": \"3\"",
            "\"content\": \"5\"",
            "request 2: messages[2].content[0].content: expected \"3\", got \"5\"",
        ),
    ] {
        for differences in seen(from, to) {
            assert!(
                differences.iter().any(|seen| seen == difference),
                "{difference}: {differences:?}"
            );
        }
    }
    // One request more than in the scenario, and one fewer.
    let mut shorter = Scenario::parse(&text).unwrap();
    shorter.exchanges.pop();
    assert!(
        play(&Server, &Arc::new(shorter), None)
            .differences
            .iter()
            .any(|seen| seen.starts_with("request 2: expected none"))
    );
    let mut longer = Scenario::parse(&text).unwrap();
    longer.exchanges.extend(Scenario::parse(&text).unwrap().exchanges.pop());
    assert!(
        play(&Server, &Arc::new(longer), None)
            .differences
            .contains(&"requests: expected 3, got 2".to_owned())
    );
}

/// Unknown fields are reported, and a field that is `null` is treated like an absent one.
#[test]
fn fields_that_are_not_known() {
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/refusal-details-json.json"),
    )
    .unwrap();
    let note = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        let verdict =
            play(&Server, &Arc::new(Scenario::parse(&text.replacen(from, to, 1)).unwrap()), None);
        assert!(verdict.differences.is_empty(), "{:?}", verdict.differences);
        verdict.note
    };
    assert_eq!(
        note("\"source\"", "\"of_tomorrow\": 1, \"source\"").as_deref(),
        Some("not looked at: of_tomorrow")
    );
    assert_eq!(
        note("\"final\": {", "\"final\": {\"usage\": 1,").as_deref(),
        Some("not looked at: final.usage")
    );
    assert_eq!(
        note("\"status\": 200", "\"status\": 200, \"path\": \"/\"").as_deref(),
        Some("not looked at: exchanges[].path")
    );
    assert_eq!(note("\"status\": 200", "\"status\": 200, \"headers\": null"), None);
    assert!(
        Scenario::parse(&text.replacen("\"stream\"", "\"threads\": true, \"stream\"", 1))
            .unwrap_err()
            .contains("`threads`")
    );
}

/// If the body is not an error of the API, the error has only its status.
#[test]
fn an_error_without_a_type() {
    let text = std::fs::read_to_string(
        Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/too-large-json.json"),
    )
    .unwrap();
    let mut scenario = Scenario::parse(&text).unwrap();
    for exchange in &mut scenario.exchanges {
        exchange.body = "<html>".to_owned();
    }
    scenario.ending.api_error = None;
    assert_eq!(play(&Server, &Arc::new(scenario), None).differences, Vec::<String>::new());
}
