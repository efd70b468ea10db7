//! Ids that a gateway repeats, made unique: in replies of every form, in histories, and in
//! snapshots.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![allow(
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a test runs on a server"
)]

mod common;

use common::*;
use serde_json::{Value as Json, json};
use toolrunner_core::error::{Capacity, CapacityKind, Error};
use toolrunner_core::run::{Run, Step, ToolAnswer};
use toolrunner_core::testing::{
    Script, ScriptedModel, ScriptedReply, ScriptedTransport, Style, VirtualClock,
};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;

/// Returns a run with the option enabled.
fn unique() -> Run<'static> {
    let mut run = run();
    run.set_unique_ids(true).unwrap();
    run
}

/// Returns the ids of calls and results, message by message.
fn ids(messages: &[Json]) -> String {
    let id = |block: &Json| {
        block["id"].as_str().or_else(|| block["tool_use_id"].as_str()).map(str::to_owned)
    };
    let of = |message: &Json| {
        message["content"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(id)
            .collect::<Vec<_>>()
            .join(" ")
    };
    messages.iter().map(of).filter(|ids| !ids.is_empty()).collect::<Vec<_>>().join(" | ")
}

fn turn(ids: &[&str]) -> ScriptedReply {
    ids.iter().fold(ScriptedReply::text("Let me see."), |reply, id| {
        reply.tool_use(id, "plain", r#"{"a":1}"#)
    })
}

#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn a_repeated_id_is_renamed_for_call_tool_and_result_in_every_style() {
    let clock = VirtualClock::new(0);
    for i in 0..32 {
        let style = Style {
            delta: 1 + i,
            interleaved: i & 1 == 1,
            pings: i & 2 == 2,
            event_lines: i & 4 == 4,
            split: (i & 8 == 8).then_some(1 + i),
            ascii: i & 16 == 16,
            ..Style::default()
        };
        let tools = Counting::usual();
        let script = Script::new()
            .reply(turn(&["call_0", "call_1"]))
            .reply(turn(&["call_0", "call_1"]))
            .reply(turn(&["call_0"]))
            .reply(ScriptedReply::text("Done."));
        let mut driver = drive_over(
            ScriptedTransport::new(ScriptedModel::new(script).style(style)),
            &tools,
            &clock,
        );
        let mut run = unique();
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
        let all = "call_0 call_1 | call_0 call_1 | call_0-2 call_1-2 | call_0-2 call_1-2 | call_0-3 | call_0-3";
        assert_eq!(ids(&last_request(&mut driver)), all, "style {i}");
        assert_eq!(tools.began(), ["call_0", "call_1", "call_0-2", "call_1-2", "call_0-3"]);
    }
}

#[test]
fn without_the_option_ids_stay() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let script = || {
        Script::new()
            .reply(turn(&["call_0"]))
            .reply(turn(&["call_0"]))
            .reply(ScriptedReply::text("Done."))
    };
    let mut driver = drive(script(), &tools, &clock);
    let mut run = run();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert_eq!(ids(&messages(&run)), "call_0 | call_0 | call_0 | call_0");
    // If enabled later, the option also applies to the existing conversation; the last call keeps
    // its id.
    run.set_unique_ids(true).unwrap();
    assert_eq!(ids(&messages(&run)), "call_0-2 | call_0-2 | call_0 | call_0");
    run.user("Again.").unwrap();
    let mut driver = drive(script(), &tools, &clock);
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert_eq!(
        ids(&messages(&run)),
        "call_0-2 | call_0-2 | call_0 | call_0 | call_0-3 | call_0-3 | call_0-4 | call_0-4"
    );
    run.set_unique_ids(false).unwrap();
    run.user("Again.").unwrap();
    let mut driver = drive(script(), &tools, &clock);
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert!(ids(&messages(&run)).ends_with("call_0-4 | call_0 | call_0 | call_0 | call_0"));
}

/// Builds a reply of these frames, or as one object.
fn body(blocks: &str, stream: bool) -> Vec<u8> {
    if !stream {
        return format!(r#"{{"content":[{blocks}],"stop_reason":"tool_use"}}"#).into_bytes();
    }
    let mut body = "data: {\"type\":\"message_start\",\"message\":{\"role\":\"assistant\",\"content\":[]}}\n\n".to_owned();
    let blocks: Vec<Box<serde_json::value::RawValue>> =
        serde_json::from_str(&format!("[{blocks}]")).unwrap();
    for (i, block) in blocks.iter().enumerate() {
        body += &format!(
            "data: {{\"type\":\"content_block_start\",\"index\":{i},\"content_block\":{}}}\n\n",
            block.get()
        );
    }
    for i in 0..blocks.len() {
        body += &format!("data: {{\"type\":\"content_block_stop\",\"index\":{i}}}\n\n");
    }
    body += "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n";
    body.into_bytes()
}

/// Receives two replies, one after the other, in pieces of this size. Returns the ids and the
/// events of the second.
fn two(
    first: &str,
    second: &str,
    stream: bool,
    piece: usize,
) -> Result<(String, Vec<String>), Error> {
    let mut run = unique();
    exchange(&mut run, 200, body(first, stream).chunks(piece)).1?;
    while let Some(i) = run.next_call() {
        run.answer(i, ToolAnswer::ok("ok")).unwrap();
    }
    let (events, ended) = exchange(&mut run, 200, body(second, stream).chunks(piece));
    ended?;
    while let Some(i) = run.next_call() {
        run.answer(i, ToolAnswer::ok("ok")).unwrap();
    }
    assert_valid(&run);
    Ok((ids(&messages(&run)), events))
}

#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn ids_are_compared_by_their_meaning_and_events_have_the_new_one() {
    let call = |members: &str| format!(r#"{{"type":"tool_use",{members}}}"#);
    let first = [
        call(r#""id":"t1","name":"plain","input":{}"#),
        call(r#""id":"t1-2","name":"plain","input":{}"#),
        call(r#""id":"t10","name":"plain","input":{}"#),
    ]
    .join(",");
    let second = [
        // With another spelling, its members in any order, a member twice, and beside open blocks.
        call(r#""input":{"id":"t1"},"name":"plain","id":"\u00741""#),
        call(r#""id":"x","id":"t10","input":{"a":[1]},"name":"plain""#),
        call(r#""id":"new","name":"plain","input":{}"#),
    ]
    .join(",");
    for stream in [true, false] {
        for piece in [1, 7, 10_000] {
            let (ids, events) = two(&first, &second, stream, piece).unwrap();
            assert_eq!(ids, "t1 t1-2 t10 | t1 t1-2 t10 | t1-3 t10-2 new | t1-3 t10-2 new");
            let told = events
                .iter()
                .filter(|event| event.contains("BlockSt") && event.contains("t1-3"))
                .count();
            assert!(told == 0 || told == 2, "{events:?}");
            let raw = events
                .iter()
                .filter(|event| event.contains("BlockSt") && event.contains("741-3"))
                .count();
            assert_eq!(told + raw, 2, "{events:?}");
        }
    }
}

#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn the_same_id_twice_in_a_reply_stays_an_error() {
    let call =
        |id: &str| format!(r#"{{"type":"tool_use","id":"{id}","name":"plain","input":{{}}}}"#);
    for stream in [true, false] {
        for second in ["t1", "\\u00741"] {
            let error = two(&call("t1"), &[call("t1"), call(second)].join(","), stream, 10_000)
                .unwrap_err();
            assert!(error.to_string().contains("calls with a name and a unique id"), "{error}");
        }
    }
}

#[test]
fn a_full_transcript_says_so() {
    let mut memory = [0; 400];
    for capacity in 0..400 {
        let mut run = Run::new(Transcript::new(&mut memory[..capacity]));
        run.set_unique_ids(true).unwrap();
        if run.user("Hi").is_err() {
            continue;
        }
        let reply = body(r#"{"type":"tool_use","id":"t1","name":"plain","input":{}}"#, true);
        for _ in 0..2 {
            let before = run.messages().to_vec();
            assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
            run.head_arrived(&toolrunner_core::transport::ReplyHead::new(200));
            let mut events = Vec::new();
            let ended =
                feed(&mut run, &reply, &mut events).and_then(|()| end(&mut run, &mut events));
            if let Err(error) = ended {
                assert!(
                    matches!(
                        error,
                        Error::Capacity(Capacity { what: CapacityKind::Transcript, .. })
                    ),
                    "{error}"
                );
                assert!(run.failed(error, Instant::ZERO, 0).is_err());
                assert_eq!(run.messages(), before);
                break;
            }
            if run.step(Instant::ZERO) != Ok(Step::Call) {
                break;
            }
            run.answer(0.into(), ToolAnswer::ok("ok")).unwrap();
            assert_valid(&run);
        }
    }
}

fn said(turns: &[&[&str]]) -> String {
    let mut text = r#"{"role":"user","content":"Hi"}"#.to_owned();
    for turn in turns {
        let calls: Vec<Json> = turn
            .iter()
            .map(|id| json!({"type":"tool_use","id":id,"name":"plain","input":{}}))
            .collect();
        let results: Vec<Json> = turn.iter().map(|id| result(id, "ok")).collect();
        let [calls, results] = [calls, results].map(Json::from);
        text += &format!(
            r#",{{"role":"assistant","content":{calls}}},{{"role":"user","content":{results}}}"#
        );
    }
    text
}

#[test]
fn a_history_is_made_unique_too() {
    let history = said(&[&["a", "b"], &["b", "a"], &["a-2"], &["a"]]);
    let mut run = unique();
    run.replace_history(&history).unwrap();
    assert_eq!(ids(&messages(&run)), "a-3 b-2 | a-3 b-2 | b a-4 | b a-4 | a-2 | a-2 | a | a");
    assert_valid(&run);
    // The last turn may be open.
    let open = history.rsplit_once(",{\"role\":\"user\"").unwrap().0;
    run.replace_history(open).unwrap();
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    assert!(ids(&messages(&run)).ends_with("| a-2 | a-2 | a | a"));
    run.stop();
    // A conversation whose ids are unique stays as it is, byte for byte.
    let spaced = said(&[&["a"], &["b"]])
        .replace(",{\"role\":\"assistant\"", "\n ,  {\"role\":\"assistant\"");
    run.replace_history(&spaced).unwrap();
    assert_eq!(run.messages(), spaced.as_bytes());
}

#[test]
#[cfg_attr(not(feature = "gateways"), ignore = "reads forms of other servers")]
fn a_run_that_was_restored_goes_on_with_unique_ids() {
    let mut before = run();
    before.replace_history(&said(&[&["t1"], &["t1"]])).unwrap();
    let reply = body(
        r#"{"type":"tool_use","id":"t1","name":"plain","input":{}},{"type":"tool_use","id":"t2","name":"plain","input":{}}"#,
        true,
    );
    exchange(&mut before, 200, [reply.as_slice()]).1.unwrap();
    before.answer(0.into(), ToolAnswer::ok("one")).unwrap();
    before.append(r#"{"role":"user","content":"And?"}"#).unwrap();
    let mut snapshot = Vec::new();
    before.snapshot(&mut snapshot).unwrap();

    let mut run = Run::from_snapshot(&snapshot, Transcript::growing()).unwrap();
    run.set_unique_ids(true).unwrap();
    assert_eq!(ids(&messages(&run)), "t1-2 | t1-2 | t1-3 | t1-3 | t1 t2 | t1");
    assert_eq!((run.step(Instant::ZERO).unwrap(), run.next_call()), (Step::Call, Some(1.into())));
    run.answer(1.into(), ToolAnswer::ok("two")).unwrap();
    assert_eq!(messages(&run).last().unwrap(), &json!({"role":"user","content":"And?"}));
    assert_valid(&run);
    // The result can be saved and restored again.
    let mut again = Vec::new();
    run.snapshot(&mut again).unwrap();
    assert_eq!(
        Run::from_snapshot(&again, Transcript::growing()).unwrap().messages(),
        run.messages()
    );
    // Without room for the new ids, nothing changes.
    let mut memory = vec![0; before.messages().len()];
    let mut run = Run::from_snapshot(&snapshot, Transcript::new(&mut memory)).unwrap();
    assert!(matches!(
        run.set_unique_ids(true),
        Err(Error::Capacity(Capacity { what: CapacityKind::Transcript, .. }))
    ));
    assert_eq!(run.messages(), before.messages());
}

#[test]
fn many_turns_of_the_same_ids() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut script = Script::new();
    for _ in 0..30 {
        script = script.reply(turn(&["0", "1"]));
    }
    let mut driver = drive(script.reply(ScriptedReply::text("Done.")), &tools, &clock);
    let mut run = unique();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    let began = tools.began();
    let distinct: std::collections::BTreeSet<&String> = began.iter().collect();
    assert_eq!((began.len(), distinct.len()), (60, 60));
    assert_eq!(began.last().unwrap(), "1-30");
}
