//! The validity checker, with valid transcripts and with at least one that breaks each rule.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use toolrunner_core::testing::validity::{Rule, Tail, check};

const USER: &str = r#"{"role":"user","content":"Hi"}"#;

/// Returns an assistant message with these calls.
fn calls(ids: &[&str]) -> String {
    let blocks: Vec<_> = ids
        .iter()
        .map(|id| format!(r#"{{"type":"tool_use","id":"{id}","name":"f","input":{{}}}}"#))
        .collect();
    format!(r#"{{"role":"assistant","content":[{}]}}"#, blocks.join(","))
}

/// Returns a user message with these blocks, each a result's id or a whole block.
fn results(ids: &[&str]) -> String {
    let block = |id: &&str| {
        if id.starts_with('{') {
            (*id).to_string()
        } else {
            format!(r#"{{"type":"tool_result","tool_use_id":"{id}","content":"42"}}"#)
        }
    };
    format!(
        r#"{{"role":"user","content":[{}]}}"#,
        ids.iter().map(block).collect::<Vec<_>>().join(",")
    )
}

fn assistant(content: &str) -> String {
    format!(r#"{{"role":"assistant","content":{content}}}"#)
}

fn verdict(messages: &[&str], tail: Tail) -> Result<(), String> {
    check(messages.join(",").as_bytes(), tail).map_err(|e| e.to_string())
}

#[track_caller]
fn valid(messages: &[&str]) {
    assert_eq!(verdict(messages, Tail::Closed), Ok(()));
    assert_eq!(verdict(messages, Tail::Open), Ok(()));
}

#[track_caller]
fn invalid(messages: &[&str], text: &str) {
    assert_eq!(verdict(messages, Tail::Closed), Err(text.to_string()));
    assert_eq!(verdict(messages, Tail::Open), Err(text.to_string()));
}

const TEXT: &str = r#"{"type":"text","text":"and?"}"#;

#[test]
fn valid_transcripts() {
    valid(&[]);
    valid(&[USER]);
    valid(&[USER, &assistant(r#""Hello""#), USER]);
    // Parallel calls, results in any order, then text.
    valid(&[USER, &calls(&["a", "b"]), &results(&["b", "a", TEXT])]);
    // Two user messages in a row, before and after results.
    valid(&[USER, USER, &calls(&["a"]), &results(&["a"]), USER, &assistant(r#""Hello""#)]);
    // The same id in another turn.
    valid(&[USER, &calls(&["a"]), &results(&["a"]), &calls(&["a"]), &results(&["a"])]);
    // A server's calls need no answer from the client.
    valid(&[
        USER,
        &assistant(r#"[{"type":"server_tool_use","id":"s","name":"web_search","input":{}}]"#),
        USER,
    ]);
    // A change of tools.
    valid(&[
        USER,
        r#"{"role":"system","content":[{"type":"tool_removal","tool":{"type":"tool_reference","name":"f"}}]}"#,
    ]);
    // An error of text blocks; a result with a picture; an escaped id is the same id.
    valid(&[
        USER,
        &calls(&["a", "b"]),
        &results(&[
            r#"{"type":"tool_result","tool_use_id":"\u0061","is_error":true,"content":[{"type":"text","text":"no"}]}"#,
            r#"{"type":"tool_result","tool_use_id":"b","content":[{"type":"image","source":{}}]}"#,
        ]),
    ]);
    // Unknown blocks and fields, white space between and beside blocks.
    valid(&[
        USER,
        &assistant("[ {\"type\":\"new\",\"x\":[1]} ,\n{\"type\":\"text\",\"text\":\" \\n\"}]"),
        USER,
    ]);
    // The first message may be the assistant's, and a system message may follow.
    valid(&[&assistant(r#""Hello""#), USER, r#"{"role":"system","content":"Briefly."}"#]);
}

#[test]
fn what_is_open_or_exempt() {
    let pending = calls(&["a", "b"]);
    let unanswered =
        Err("messages.1.content.0: this call has no result in the next message".to_string());
    assert_eq!(verdict(&[USER, &pending], Tail::Open), Ok(()));
    assert_eq!(verdict(&[USER, &pending], Tail::Closed), unanswered);
    // Partly answered.
    assert_eq!(verdict(&[USER, &pending, &results(&["b"])], Tail::Open), Ok(()));
    assert_eq!(verdict(&[USER, &pending, &results(&["b"])], Tail::Closed), unanswered);
    // Other blocks may follow the existing results, but not the model's next message; and not after
    // a call without any result.
    assert_eq!(verdict(&[USER, &pending, &results(&["b", TEXT])], Tail::Open), Ok(()));
    assert_eq!(verdict(&[USER, &pending, &results(&["b"]), USER], Tail::Open), Ok(()));
    assert_eq!(verdict(&[USER, &pending, &results(&["b", TEXT])], Tail::Closed), unanswered);
    assert_eq!(verdict(&[USER, &pending, USER], Tail::Open), unanswered);
    assert_eq!(
        verdict(&[USER, &pending, &results(&["b"]), &assistant(r#""x""#)], Tail::Open),
        unanswered
    );
    // A paused turn continues.
    valid(&[USER, &calls(&["a"]), &calls(&["b"]), &results(&["b"])]);
    // Before a `fallback` block calls may be answered or not; after it they must be.
    let both = assistant(
        r#"[{"type":"tool_use","id":"a","name":"f","input":{}},{"type":"fallback","from":{},"to":{}},{"type":"tool_use","id":"b","name":"f","input":{}}]"#,
    );
    valid(&[USER, &both, &results(&["b"])]);
    valid(&[USER, &both, &results(&["a", "b"])]);
    let missing =
        Err("messages.1.content.2: this call has no result in the next message".to_string());
    assert_eq!(verdict(&[USER, &both, &results(&["a"]), USER], Tail::Closed), missing);
}

#[test]
fn broken_json() {
    invalid(
        &[USER, r#"{"role":"user","content":"Hi""#],
        "messages.1: expected a JSON object, with commas between objects",
    );
    invalid(&[USER, ""], "messages.1: expected a JSON object, with commas between objects");
    invalid(
        &[r#"{"role":"user","content":"a"}],[{"role":"user","content":"b"}"#],
        "messages.1: expected a JSON object, with commas between objects",
    );
    let deep = format!(
        r#"{{"role":"user","content":[{{"type":"x","y":{}{}}}]}}"#,
        "[".repeat(200),
        "]".repeat(200)
    );
    assert!(matches!(check(deep.as_bytes(), Tail::Closed).unwrap_err().rule, Rule::Json));
    assert!(matches!(
        check(b"{\"role\":\"user\",\"content\":\"\xff\"}", Tail::Closed).unwrap_err().rule,
        Rule::Json
    ));
    invalid(
        &[USER, r#"{"role":"user","content":"\ud83d"}"#],
        "messages.1: unpaired surrogate in a string",
    );
    valid(&[r#"{"role":"user","content":"\ud83d\ude00"}"#]);
}

#[test]
fn broken_shape() {
    invalid(&["1"], "messages.0: expected an object");
    invalid(&[USER, r#"["x"]"#], "messages.1: expected an object");
    invalid(&[r#"{"content":"Hi"}"#], "messages.0: the role must be user, assistant or system");
    invalid(
        &[r#"{"role":"tool","content":"Hi"}"#],
        "messages.0: the role must be user, assistant or system",
    );
    invalid(&[r#"{"role":"user"}"#], "messages.0: the content must be a string or an array");
    invalid(
        &[r#"{"role":"user","content":{}}"#],
        "messages.0: the content must be a string or an array",
    );
    invalid(&[r#"{"role":"user","content":""}"#], "messages.0: the content must not be empty");
    invalid(
        &[USER, r#"{"role":"assistant","content":[]}"#],
        "messages.1: the content must not be empty",
    );
    invalid(
        &[r#"{"role":"user","content":["x"]}"#],
        "messages.0.content.0: expected an object with a type",
    );
    invalid(
        &[r#"{"role":"user","content":[{"text":"x"}]}"#],
        "messages.0.content.0: expected an object with a type",
    );
    invalid(
        &[r#"{"role":"user","content":[{"type":"text","text":""}]}"#],
        "messages.0.content.0: a text block must not be empty",
    );
}

#[test]
fn broken_placement() {
    let call = r#"{"type":"tool_use","id":"a","name":"f","input":{}}"#;
    invalid(
        &[&results(&[call])],
        "messages.0.content.0: a message of this role must not contain this block",
    );
    let thinking = r#"{"type":"thinking","thinking":"x","signature":"y"}"#;
    invalid(
        &[&results(&[TEXT, thinking])],
        "messages.0.content.1: a message of this role must not contain this block",
    );
    let result = r#"[{"type":"tool_result","tool_use_id":"a","content":"x"}]"#;
    invalid(
        &[USER, &assistant(result)],
        "messages.1.content.0: a message of this role must not contain this block",
    );
    let addition = r#"{"type":"tool_addition","tool":{}}"#;
    invalid(
        &[&results(&[addition])],
        "messages.0.content.0: a message of this role must not contain this block",
    );
}

#[test]
fn broken_calls() {
    let call =
        |call: &str| verdict(&[USER, &assistant(&format!("[{call}]"))], Tail::Open).unwrap_err();
    let input = "messages.1.content.0: the input of a call must be an object";
    assert_eq!(call(r#"{"type":"tool_use","id":"a","name":"f","input":"{}"}"#), input);
    assert_eq!(call(r#"{"type":"tool_use","id":"a","name":"f","input":[1]}"#), input);
    assert_eq!(call(r#"{"type":"tool_use","id":"a","name":"f"}"#), input);
    assert_eq!(call(r#"{"type":"server_tool_use","id":"a","name":"f","input":null}"#), input);
    let nameless = "messages.1.content.0: a call must have an id and a name";
    assert_eq!(call(r#"{"type":"tool_use","name":"f","input":{}}"#), nameless);
    assert_eq!(call(r#"{"type":"tool_use","id":"a","name":"","input":{}}"#), nameless);
    invalid(
        &[USER, &calls(&["a", "a"]), &results(&["a"])],
        "messages.1.content.1: another call has this id",
    );
}

#[test]
fn broken_answers() {
    let two = calls(&["a", "b"]);
    let missing = "messages.1.content.1: this call has no result in the next message";
    assert_eq!(
        verdict(&[USER, &two, &results(&["a"]), USER], Tail::Closed),
        Err(missing.to_string())
    );
    // Split over two messages, or after a system message.
    assert_eq!(
        verdict(&[USER, &two, &results(&["a"]), &results(&["b"])], Tail::Closed),
        Err(missing.to_string())
    );
    let orphan = "messages.3.content.0: this result has no call in the previous message";
    assert_eq!(
        verdict(&[USER, &two, &results(&["a"]), &results(&["b"])], Tail::Open),
        Err(orphan.to_string())
    );
    let system = r#"{"role":"system","content":"x"}"#;
    invalid(
        &[USER, &two, system, &results(&["a", "b"])],
        "messages.1.content.0: this call has no result in the next message",
    );
    invalid(
        &[USER, &two, USER, USER],
        "messages.1.content.0: this call has no result in the next message",
    );
    invalid(
        &[USER, &two, &results(&["a", "b", "a"])],
        "messages.2.content.2: this call already has a result",
    );
    invalid(
        &[USER, &two, &results(&["a", "b", "c"])],
        "messages.2.content.2: this result has no call in the previous message",
    );
    invalid(
        &[USER, &results(&["a"])],
        "messages.1.content.0: this result has no call in the previous message",
    );
    let late = [USER, &calls(&["a"]), &results(&["a"]), &assistant(r#""x""#), &results(&["a"])];
    invalid(&late, "messages.4.content.0: this result has no call in the previous message");
    invalid(
        &[USER, &two, &results(&["a", TEXT, "b"])],
        "messages.2.content.2: results must come before other blocks",
    );
}

#[test]
fn broken_results() {
    let result = |fields: &str| {
        let block = format!(r#"{{"type":"tool_result","tool_use_id":"a"{fields}}}"#);
        verdict(&[USER, &calls(&["a"]), &results(&[&block])], Tail::Closed).unwrap_err()
    };
    let empty = "messages.2.content.0: the result must not be empty";
    for nothing in ["", r#","content":"""#, r#","content":[]"#, r#","content":null"#] {
        assert_eq!(result(&format!(r#"{nothing},"is_error":true"#)), empty);
        let block = format!(r#"{{"type":"tool_result","tool_use_id":"a"{nothing}}}"#);
        assert_eq!(
            verdict(&[USER, &calls(&["a"]), &results(&[&block])], Tail::Closed),
            Ok(()),
            "a success may say nothing"
        );
    }
    assert_eq!(result(r#","content":[{"type":"text","text":""}]"#), empty);
    assert_eq!(result(r#","content":"","is_error":true"#), empty);
    assert_eq!(
        result(
            r#","content":[{"type":"text","text":"x"},{"type":"image","source":{}}],"is_error":true"#
        ),
        "messages.2.content.0: the result of a failed call must be text only"
    );
}

/// Text inside strings, or depth, must not mislead a view.
#[test]
fn hostile_input_never_panics() {
    let good = [USER, &calls(&["a", "b"]), &results(&["b", "a", TEXT])].join(",");
    for end in 0..good.len() {
        let _ = check(&good.as_bytes()[..end], Tail::Closed);
        for byte in [b'{', b'"', b'\\', b',', b']', 0xff] {
            let mut bad = good.clone().into_bytes();
            bad[end] = byte;
            let _ = check(&bad, Tail::Open);
        }
    }
    assert!(check(&b"[".repeat(100_000), Tail::Closed).is_err());
}
