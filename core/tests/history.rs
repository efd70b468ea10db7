//! What a caller may add, and what stays of a reply: nothing is sent or kept that the API would
//! refuse.
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
use toolrunner_core::drive::Driver;
use toolrunner_core::error::{Error, TransportKind};
use toolrunner_core::run::{Outcome, Run, Step, ToolAnswer};
use toolrunner_core::testing::validity::{Tail, check};
use toolrunner_core::testing::{
    Rng, Script, ScriptedModel, ScriptedReply, ScriptedTransport, VirtualClock,
};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;
use toolrunner_core::wire::Config;

const HI: &str = r#"{"role":"user","content":"Hi"}"#;

fn assistant(blocks: &str) -> String {
    format!(r#"{{"role":"assistant","content":[{blocks}]}}"#)
}

fn call(id: &str) -> String {
    format!(r#"{{"type":"tool_use","id":"{id}","name":"plain","input":{{}}}}"#)
}

fn answer(id: &str) -> String {
    format!(r#"{{"type":"tool_result","tool_use_id":"{id}","content":"ok"}}"#)
}

fn said(blocks: &str) -> String {
    format!(r#"{{"role":"user","content":[{blocks}]}}"#)
}

#[test]
fn what_the_api_refuses_is_refused_with_message_and_block() {
    let text = r#"{"type":"text","text":"x"}"#;
    let empty = r#"{"type":"text","text":""}"#;
    let cases = [
        (
            said(&answer("nope")),
            "messages.0.content.0: this result has no call in the previous message",
        ),
        (
            said(&format!("{text},{}", answer("t1"))),
            "messages.0.content.1: results must come before other blocks",
        ),
        (said("1,2"), "messages.0.content.0: expected an object with a type"),
        (said("{}"), "messages.0.content.0: expected an object with a type"),
        (said(&format!("{text},{empty}")), "messages.0.content.1: a text block must not be empty"),
        (assistant(empty), "messages.0.content.0: a text block must not be empty"),
        (
            assistant(&call("z")),
            "messages.0.content.0: this call has no result in the next message",
        ),
        (
            format!("{},{HI}", assistant(&call("z"))),
            "messages.0.content.0: this call has no result in the next message",
        ),
        (
            said(&call("z")),
            "messages.0.content.0: a message of this role must not contain this block",
        ),
        (
            format!("{},{}", assistant(&call("toolu_1")), said(&answer("toolu_1"))),
            "messages.0.content.0: another call has this id",
        ),
        (
            r#"{"role":"user","content":" \n\u2003\u001f"}"#.to_owned(),
            "messages.0: the text must not be only white space",
        ),
        (
            said(r#"{"type":"text","text":"\t"},{"type":"text","text":" "}"#),
            "messages.0.content.0: the text must not be only white space",
        ),
        (
            said(r#"{"type":"text","text":"\ud800"}"#),
            "messages.0.content.0: unpaired surrogate in a string",
        ),
        (
            format!("{HI},{}", assistant(r#"{"type":"thinking","thinking":"x","signature":"y"}"#)),
            "messages.1.content.0: an assistant message must not end in thinking",
        ),
    ];
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    for (message, wrong) in &cases {
        let mut driver = drive(
            Script::new().reply(called()).reply(ScriptedReply::text("Done.")),
            &tools,
            &clock,
        );
        let mut run = run();
        assert_eq!(next_turn(&mut driver, &mut run), Ok(None));
        let before = run.messages().to_vec();
        let error = run.append(message).unwrap_err().to_string();
        assert_eq!(error, format!("misuse: {wrong}"), "{message}");
        assert_eq!(run.messages(), before, "nothing was appended");
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
    }
    let mut run = run();
    assert_eq!(
        run.user("\u{2003}\n").unwrap_err().to_string(),
        "misuse: a message must not be only white space"
    );
}

#[test]
fn a_history_that_is_answered_in_part_is_completed_once() {
    let text = r#"{"type":"text","text":"Go on."}"#;
    for (blocks, behind, white_space) in [
        (answer("a"), false, ""),
        (answer("a"), false, "\r"),
        (format!("{},{}", answer("c"), answer("a")), false, " "),
        (format!("{},{text}", answer("b")), true, ""),
    ] {
        // The caller's white space may lie where this crate writes none.
        let history = format!(
            "[{HI} , {} ,{}]",
            assistant(&[call("a"), call("b"), call("c")].join(",")),
            said(&blocks)
        )
        .replace(r#""content":["#, &format!(r#""content":{white_space}["#));
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let mut driver = drive(Script::new().reply(ScriptedReply::text("Done.")), &tools, &clock);
        let mut run = run();
        run.replace_history(&history).unwrap();
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
        let sent = last_request(&mut driver);
        let ids: Vec<&str> = sent[2]["content"]
            .as_array()
            .unwrap()
            .iter()
            .map(|block| block["tool_use_id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, ["a", "b", "c"], "{history}");
        assert_eq!(sent.len(), if behind { 4 } else { 3 });
        assert!(tools.began().is_empty(), "a call of a history does not run");
    }
}

#[test]
fn the_fifth_breakpoint_is_refused_where_it_is_added() {
    let marked = said(r#"{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}"#);
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver =
        drive(Script::new().reply(called()).reply(ScriptedReply::text("Done.")), &tools, &clock);
    driver.config_mut().params =
        r#""cache_control":{"type":"ephemeral"},"metadata":{"cache_control":"x"}"#;
    let mut run = run();
    assert_eq!(next_turn(&mut driver, &mut run), Ok(None));
    run.answer(0.into(), ToolAnswer::ok("x")).unwrap();
    run.append(&marked).unwrap();
    run.append(&marked).unwrap();
    run.add_to_result(0.into(), r#""cache_control":{"type":"ephemeral"}"#).unwrap();
    let error = run.append(&marked).unwrap_err().to_string();
    assert!(error.starts_with("misuse: 5 cache breakpoints exceed the limit of 4"), "{error}");
    run.append(&marked.replace(r#"{"type":"ephemeral"}"#, "null")).unwrap();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
}

/// The search for breakpoints first looks for bytes that every spelling of the name contains.
#[test]
fn a_breakpoint_counts_in_any_place_and_spelling() {
    let front = br#"{"cache_control":{"type":"ephemeral"},"messages":["#;
    let spellings = [
        "cache_control",
        r"cache\u005fcontrol",
        r"\u0063ache_control",
        r"cache_c\u006fntrol",
        r"cache_contro\u006C",
    ];
    for (name, pad) in spellings.into_iter().flat_map(|name| (0..100).map(move |pad| (name, pad))) {
        let text = format!(r#"{{"type":"text","text":"x{}"}}"#, "_c\\\\u".repeat(pad));
        let marked = format!(r#"{{"type":"text","text":"x","{name}":{{"type":"ephemeral"}}}}"#);
        let mut run = run();
        run.replace_history(&said(&[&*text, &marked, &marked, &marked, &text].join(","))).unwrap();
        run.note_front(&[front]).unwrap();
        run.replace_history(&said(&[&*text, &marked, &marked, &marked].join(","))).unwrap();
        run.append(&said(&text)).unwrap();
        let error = run.append(&said(&[&*marked, &text].join(","))).unwrap_err().to_string();
        assert!(error.starts_with("misuse: 5 cache breakpoints"), "{name} {pad}: {error}");
    }
}

/// The search for changes of the tools first looks for bytes that every spelling of them contains.
#[test]
fn a_tool_is_removed_in_any_place_and_spelling() {
    let removal =
        r#"{"type":"tool_removal","tool":{"type":"tool_reference","name":"plain"}}"#.to_owned();
    let system = |name: &str| format!(r#"{{"role":"{name}","content":[{removal}]}}"#);
    let compaction = |name: &str| {
        let block = format!(r#"{{"type":"compaction","content":"x","{name}":[{removal}]}}"#);
        assistant(&block)
    };
    let messages = [
        system("system"),
        system(r"\u0073ystem"),
        system(r"syst\u0065m"),
        compaction("tool_changes"),
        compaction(r"tool\u005fchanges"),
        compaction(r"tool_change\u0073"),
    ];
    for (message, pad) in messages.iter().flat_map(|message| (0..70).map(move |pad| (message, pad)))
    {
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let mut driver = drive(
            Script::new().reply(called()).reply(ScriptedReply::text("Done.")),
            &tools,
            &clock,
        );
        let mut run = run();
        let text = |pad| said(&format!(r#"{{"type":"text","text":"{}x"}}"#, "\\\"s".repeat(pad)));
        run.replace_history(&[text(pad), message.clone(), text(70 - pad)].join(",")).unwrap();
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
        assert!(tools.began.borrow().is_empty(), "{message} {pad}");
    }
}

#[test]
fn a_prefill_that_ends_in_white_space_is_reported() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver = drive(Script::new().reply(ScriptedReply::text("Done.")), &tools, &clock);
    let mut run = run();
    run.append(r#"{"role":"assistant","content":"Sure: "}"#).unwrap();
    let error = until_done(&mut driver, &mut run).unwrap_err().to_string();
    assert!(
        error.ends_with("messages.1: the model cannot continue a text that ends in white space"),
        "{error}"
    );
    // Another message may follow it.
    run.user("And?").unwrap();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
}

#[test]
fn of_a_reply_what_says_nothing_does_not_stay() {
    let thinking = |reply: ScriptedReply| reply.thinking("Hm.", "sig");
    let cases = [
        (ScriptedReply::text(""), json!(null), ""),
        (ScriptedReply::text(" \n"), json!(null), " \n"),
        (thinking(ScriptedReply::new()).stop("max_tokens"), json!(null), ""),
        (thinking(ScriptedReply::new()).and_text(" "), json!(null), " "),
        (
            thinking(ScriptedReply::text("a").and_text("")).and_text("").stop("max_tokens"),
            json!([{"type":"text","text":"a"}]),
            "a",
        ),
        (
            ScriptedReply::text("").and_text("a").and_text(" "),
            json!([{"type":"text","text":"a"},{"type":"text","text":" "}]),
            "a ",
        ),
    ];
    for (reply, kept, shown) in cases {
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let mut driver =
            drive(Script::new().reply(reply).reply(ScriptedReply::text("Done.")), &tools, &clock);
        let mut run = run();
        assert!(until_done(&mut driver, &mut run).is_ok());
        let message = run.last_message().unwrap();
        assert_eq!(
            message.texts().map(|text| text.to_string()).collect::<String>(),
            shown,
            "what was said is shown"
        );
        run.user("More.").unwrap();
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
        let sent = last_request(&mut driver);
        assert_eq!(sent.len(), if kept.is_null() { 2 } else { 3 });
        if !kept.is_null() {
            assert_eq!(sent[1]["content"], kept);
        }
    }
}

/// A separate validity check with a common JSON library: it uses the rules in the API's error
/// messages, and no code of the crate.
fn judge(messages: &[Json]) -> bool {
    let blocks = |message: &Json| match &message["content"] {
        Json::String(text) => vec![json!({"type":"text","text":text})],
        Json::Array(blocks) => blocks.clone(),
        _ => Vec::new(),
    };
    let mut open: Vec<String> = Vec::new();
    for (i, message) in messages.iter().enumerate() {
        let blocks = blocks(message);
        let of = |kind: &str| {
            blocks.iter().filter(|block| block["type"] == kind).cloned().collect::<Vec<_>>()
        };
        let texts = of("text");
        let blank = |block: &Json| block["text"].as_str().unwrap_or_default().trim().is_empty();
        if blocks.is_empty()
            || blocks.iter().any(|block| !block["type"].is_string())
            || texts.iter().any(|text| text["text"] == "")
        {
            return false;
        }
        // Thinking and white space alone are not enough: this is stricter than the known rules of
        // the API.
        let thinks = of("thinking").len();
        if texts.len() + thinks == blocks.len() && texts.iter().all(blank) {
            return false;
        }
        let answered: Vec<String> = of("tool_result")
            .iter()
            .map(|block| block["tool_use_id"].as_str().unwrap_or_default().to_owned())
            .collect();
        if message["role"] == "assistant" {
            let ids: Vec<String> = of("tool_use")
                .iter()
                .map(|block| block["id"].as_str().unwrap_or_default().to_owned())
                .collect();
            let unique =
                ids.iter().enumerate().all(|(i, id)| !id.is_empty() && !ids[..i].contains(id));
            if !answered.is_empty()
                || !unique
                || blocks.last().is_some_and(|block| block["type"] == "thinking")
            {
                return false;
            }
            open = ids;
        } else {
            let first_other = blocks
                .iter()
                .position(|block| block["type"] != "tool_result")
                .unwrap_or(blocks.len());
            let each = answered
                .iter()
                .enumerate()
                .all(|(i, id)| open.contains(id) && !answered[..i].contains(id));
            if !each
                || first_other < answered.len()
                || answered.len() != open.len()
                || !of("tool_use").is_empty()
                || !of("thinking").is_empty()
            {
                return false;
            }
            open.clear();
        }
        if i + 1 == messages.len() && !open.is_empty() {
            return false;
        }
    }
    true
}

#[test]
fn random_histories_are_judged_as_by_another_judge() {
    let mut rng = Rng::new(11);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..5_000 {
        let mut pick = |n: usize| rng.below(n);
        let mut messages = Vec::new();
        for _ in 0..1 + pick(5) {
            let mut block = |of_user: bool| {
                let id = ["a", "\\u0061", "b", "c"][pick(4)];
                match (pick(12), of_user) {
                    (0, _) => r#"{"type":"text","text":""}"#.to_owned(),
                    (1, _) => r#"{"type":"text","text":" \u00a0"}"#.to_owned(),
                    (2, _) => r#"{"type":"thinking","thinking":"x","signature":"y"}"#.to_owned(),
                    (3..=6, true) | (3, false) => answer(id),
                    (4..=7, false) | (7, true) => call(id),
                    _ => r#"{"type":"text","text":"x"}"#.to_owned(),
                }
            };
            let of_user = messages.len() % 2 == 0;
            let blocks: Vec<String> = (0..1 + messages.len() % 3).map(|_| block(of_user)).collect();
            messages.push(if of_user {
                said(&blocks.join(","))
            } else {
                assistant(&blocks.join(","))
            });
        }
        let history = messages.join(",");
        let parsed: Vec<Json> = serde_json::from_str(&format!("[{history}]")).unwrap();
        assert_eq!(check(history.as_bytes(), Tail::Closed).is_ok(), judge(&parsed), "{history}");
        // An accepted history, open or not, is closed and valid when it is sent.
        let mut run = Run::new(Transcript::growing());
        if run.replace_history(&history).is_ok() {
            taken += 1;
            run.user("More.").unwrap();
            let sent: Vec<Json> = serde_json::from_str(&format!(
                "[{}]",
                std::str::from_utf8(run.messages()).unwrap()
            ))
            .unwrap();
            // The API reads two user messages in a row as one.
            assert!(check(run.messages(), Tail::Sent).is_ok(), "{history}\n{sent:?}");
        } else {
            refused += 1;
        }
    }
    assert!(taken > 100 && refused > 100, "{taken} taken, {refused} refused");
}

#[test]
fn what_was_appended_behind_open_calls_is_accepted_elsewhere() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let reply = || called().tool_use("toolu_2", "plain", "{}");
    for answered in [false, true] {
        let mut driver = drive(Script::new().reply(reply()), &tools, &clock);
        let mut run = run();
        assert_eq!(next_turn(&mut driver, &mut run), Ok(None));
        if answered {
            run.answer(0.into(), ToolAnswer::ok("one")).unwrap();
        }
        assert!(run.mark_started(1.into()) && !run.mark_started(1.into()), "a call begins once");
        run.append(r#"{"role":"user","content":"By the way."}"#).unwrap();
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).unwrap().to_owned();
        let mut other = common::run();
        if !answered {
            // In the stored form, the calls in the middle are unanswered.
            assert!(other.replace_history(&text(run.messages())).is_err());
        }
        let before = run.messages().to_vec();
        other.replace_history(&text(&run.conversation())).unwrap();
        assert_eq!(run.messages(), before, "the run itself stays as it is");
        assert_eq!(other.step(Instant::ZERO), Ok(Step::Send));
        let first =
            if answered { result("toolu_1", "one") } else { failure("toolu_1", "Error: not run") };
        assert_eq!(
            messages(&other)[2]["content"],
            json!([first, failure("toolu_2", "Error: cancelled")])
        );
        assert_eq!(messages(&other)[3]["content"], "By the way.");
    }
}

#[test]
fn the_question_for_a_summary_is_not_part_of_the_messages() {
    let mut run = run();
    run.compaction_mut()
        .replace(toolrunner_core::run::Compaction { threshold: 0, prompt: "Summarise." });
    say(&mut run, called());
    let before = run.messages().to_vec();
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    assert!(run.is_compacting());
    assert_eq!(run.messages(), before);
    run.head_arrived(&ReplyHead::new(200));
    assert_eq!(run.messages(), before);
}

/// Tools whose results have one cache breakpoint each.
fn caching() -> Counting {
    Counting::new([Tool::plain().acting(|_, out| {
        Ok(out.content(r#"[{"type":"text","text":"long","cache_control":{"type":"ephemeral"}}]"#)?)
    })])
}

#[test]
fn a_tools_own_output_does_not_bring_the_fifth_breakpoint() {
    let (tools, clock) = (caching(), VirtualClock::new(0));
    let calls = (0..6).fold(ScriptedReply::text("Let me see."), |reply, i| {
        reply.tool_use(&format!("t{i}"), "plain", "{}")
    });
    let script = Script::new().reply(calls).reply(called()).reply(ScriptedReply::text("Done."));
    let mut driver = drive(script, &tools, &clock);
    driver.config_mut().params = r#""cache_control":{"type":"ephemeral"}"#;
    let mut run = run();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    let messages = messages(&run);
    let results =
        messages.iter().flat_map(|message| message["content"].as_array().into_iter().flatten());
    let results: Vec<&Json> = results.filter(|block| block["type"] == "tool_result").collect();
    assert_eq!(results.len(), 7);
    for (i, result) in results.iter().enumerate() {
        let refused = "Error: the request would have 5 cache breakpoints, at most 4 are allowed";
        // The request's own breakpoint is the fourth.
        assert_eq!(result["content"] == refused, i >= 3, "{result}");
        assert_eq!(result["is_error"] == true, i >= 3, "{result}");
    }
}

#[test]
fn a_servers_summary_is_kept_by_the_same_rules() {
    let empty = r#"{"type":"text","text":""}"#;
    let summary = r#"{"type":"compaction","content":"What was said."}"#;
    for (blocks, stays) in [
        (format!("{summary},{empty}"), Some(summary.to_owned())),
        (format!("{empty},{summary}"), Some(summary.to_owned())),
        (
            format!("{summary},{}", r#"{"type":"thinking","thinking":"Hm.","signature":"s"}"#),
            Some(summary.to_owned()),
        ),
        (r#"{"type":"compaction","content":" \n"}"#.to_owned(), None),
        (r#"{"type":"compaction","content":null}"#.to_owned(), None),
        (empty.to_owned(), None),
    ] {
        let mut run = run();
        say(&mut run, ScriptedReply::text("Hello."));
        let before = run.messages().to_vec();
        run.compact_on_server();
        run.user("More.").unwrap();
        let reply = format!(r#"{{"content":[{blocks}],"stop_reason":"compaction"}}"#);
        exchange(&mut run, 200, [reply.as_bytes()]).1.unwrap();
        match &stays {
            Some(summary) => assert_eq!(run.messages(), assistant(summary).as_bytes()),
            None => assert!(run.messages().starts_with(&before), "{blocks}"),
        }
        assert_eq!(run.rejected_summary().is_some(), stays.is_none());
        assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
        assert_eq!(check(run.messages(), Tail::Sent), Ok(()));
    }
}

#[test]
fn an_open_call_at_the_end_of_a_history_is_closed_before_sending() {
    let history = format!("{HI},{}", assistant(&[call("a"), call("b")].join(",")));
    for answers in ["", "a", "b"] {
        let tools = Counting::usual();
        let clock = VirtualClock::new(0);
        let mut driver = drive(Script::new().reply(ScriptedReply::text("Done.")), &tools, &clock);
        let mut run = run();
        let more =
            if answers.is_empty() { String::new() } else { format!(",{}", said(&answer(answers))) };
        run.replace_history(&format!("{history}{more}")).unwrap();
        assert_eq!(until_done(&mut driver, &mut run), ENDED);
        let of =
            |id: &str| if id == answers { result(id, "ok") } else { failure(id, "Error: not run") };
        assert_eq!(last_request(&mut driver)[2]["content"], json!([of("a"), of("b")]));
        assert_eq!(tools.began(), [""; 0]);
    }
}

#[test]
fn half_of_a_surrogate_pair_is_refused_in_parameters_and_tool_definitions() {
    let clock = VirtualClock::new(0);
    let model = || {
        ScriptedTransport::new(ScriptedModel::new(
            Script::new().reply(ScriptedReply::text("Done.")),
        ))
    };
    let tools = Counting::usual();
    for params in [r#""system":[{"type":"text","text":"\udc00"}]"#, r#""metadata":{"\udc00":1}"#] {
        let config = Config::new("m", 9).params(params);
        let wrong = match Driver::new(config, model(), &tools, &clock) {
            Ok(mut driver) => block_on(driver.until_done(&mut run(), &mut ())).unwrap_err().error,
            Err(misuse) => Error::Misuse(misuse),
        };
        assert!(wrong.to_string().contains("unpaired surrogate"), "{wrong}");
    }
    let tools = Counting::new([Tool {
        json: r#"{"name":"plain","description":"\ud800","input_schema":{"type":"object"}}"#,
        ..Tool::plain()
    }]);
    let wrong = match Driver::new(Config::new("m", 9), model(), &tools, &clock) {
        Ok(mut driver) => block_on(driver.until_done(&mut run(), &mut ())).unwrap_err().error,
        Err(misuse) => Error::Misuse(misuse),
    };
    assert!(matches!(wrong, Error::Misuse(_)), "{wrong}");
}

#[test]
fn one_id_twice_in_a_reply_is_an_error_in_any_spelling_and_form() {
    let both = [call("t1"), call("\\u0074\\u0031")].join(",");
    let whole = format!(r#"{{"content":[{both}],"stop_reason":"tool_use"}}"#);
    let mut stream = "data: {\"type\":\"message_start\",\"message\":{\"role\":\"assistant\",\"content\":[]}}\n\n".to_owned();
    for (i, block) in [call("t1"), call("\\u0074\\u0031")].iter().enumerate() {
        stream += &format!(
            "data: {{\"type\":\"content_block_start\",\"index\":{i},\"content_block\":{block}}}\n\n"
        );
        stream += &format!("data: {{\"type\":\"content_block_stop\",\"index\":{i}}}\n\n");
    }
    stream += "data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"}}\n\ndata: {\"type\":\"message_stop\"}\n\n";
    for body in [whole, stream.clone()] {
        let error = exchange(&mut run(), 200, [body.as_bytes()]).1.unwrap_err();
        assert!(matches!(error, Error::Protocol(_)), "{error}");
    }
    // The first call has started: it stays, and the second is not part of the conversation.
    let mut eager = run();
    assert_eq!(eager.step(Instant::ZERO), Ok(Step::Send));
    eager.head_arrived(&ReplyHead::new(200));
    let (mut rest, mut failed, mut started) = (stream.as_bytes(), None, 0);
    loop {
        match eager.feed(&mut rest) {
            Ok(Some(_)) => {
                started +=
                    (0..2).filter(|&i| eager.mark_started_early(i.into(), Instant::ZERO)).count()
            }
            Ok(None) => break,
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    assert!(matches!(failed, Some(Error::Protocol(_))), "{failed:?}");
    assert_eq!(started, 1);
    eager.failed(failed.unwrap(), Instant::ZERO, 0).unwrap();
    eager.answer(0.into(), ToolAnswer::ok("ok")).unwrap();
    assert_eq!(messages(&eager)[1]["content"].as_array().unwrap().len(), 1);
    assert_valid(&eager);
}

#[test]
fn white_space_at_the_end_of_a_kept_text_is_removed_when_the_model_continues_it() {
    for (text, kept) in [
        ("Let me see. \\n\\u2003", "Let me see."),
        ("a\\u0020\\u0009", "a"),
        ("\\u0041 ", "\\u0041"),
        ("end\\n\\n", "end"),
        ("\\ud83d\\ude00 ", "\\ud83d\\ude00"),
    ] {
        let mut run = run();
        run.set_on_break(toolrunner_core::run::OnBreak::KeepBlocks);
        run.retry_policy_mut().retries = 0;
        let frames = format!(
            "data: {{\"type\":\"message_start\",\"message\":{{\"role\":\"assistant\",\"content\":[]}}}}\n\n\
             data: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"text\",\"text\":\"{text}\"}}}}\n\n\
             data: {{\"type\":\"content_block_stop\",\"index\":0}}\n\n"
        );
        let error = exchange(&mut run, 200, [frames.as_bytes()]).1.unwrap_err();
        assert!(run.failed(error, Instant::ZERO, 0).is_err());
        assert_eq!(outcome(&mut run), Outcome::Broken);
        run.resume();
        assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
        let expected = assistant(&format!(r#"{{"type":"text","text":"{kept}"}}"#));
        assert!(
            run.messages().ends_with(expected.as_bytes()),
            "{}",
            String::from_utf8_lossy(run.messages())
        );
        assert_eq!(check(run.messages(), Tail::Sent), Ok(()));
    }
}

/// Feeds a whole reply to a run that waits for one.
fn receive(run: &mut Run<'_>, json: &str) {
    assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Send);
    run.head_arrived(&ReplyHead::new(200));
    let mut bytes = json.as_bytes();
    while run.feed(&mut bytes).unwrap().is_some() {}
    while run.end_of_body().unwrap().is_some() {}
}

fn refuses_to_send(run: &mut Run<'_>) {
    let error = run.step(Instant::ZERO).unwrap_err().to_string();
    assert!(error.contains("white space"), "{error}");
}

/// What is inserted before it moves the message that the model cannot continue.
#[test]
fn a_prefill_that_ends_in_white_space_is_reported_wherever_it_moves() {
    let prefill = r#"{"role":"assistant","content":"So: "}"#;
    let reply = format!(r#"{{"content":[{}],"stop_reason":"tool_use"}}"#, call("t1"));
    let mut memory = [0; 2048];
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user("Hi").unwrap();
    receive(&mut run, &reply);
    run.append(prefill).unwrap();
    let first = run.next_call().unwrap();
    run.answer(first, ToolAnswer::ok("42")).unwrap();
    refuses_to_send(&mut run);
    run.append(HI).unwrap();
    assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Send);
    assert_eq!(check(run.messages(), Tail::Sent), Ok(()));

    let mut memory = [0; 2048];
    let mut run = Run::new(Transcript::new(&mut memory));
    let result =
        r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"x"}]}"#;
    run.replace_history(&format!("[{HI},{},{result},{prefill}]", assistant(&call("t1")))).unwrap();
    refuses_to_send(&mut run);
    run.replace_result_of("t1", ToolAnswer::ok("longer")).unwrap();
    refuses_to_send(&mut run);
}

/// The reply that continues a turn may fail, and the run may be stored then.
#[test]
fn a_turn_that_is_sent_back_stays_so_in_a_snapshot() {
    for stop in ["pause_turn", "compaction"] {
        let (mut memory, mut bytes, mut other) = ([0; 2048], [0; 4096], [0; 2048]);
        let mut run = Run::new(Transcript::new(&mut memory));
        run.user("Hi").unwrap();
        receive(
            &mut run,
            &format!(
                r#"{{"content":[{{"type":"server_tool_use","id":"s1","name":"web_search","input":{{}}}},{{"type":"text","text":"Hm. "}}],"stop_reason":"{stop}"}}"#
            ),
        );
        assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Send);
        let closed = Error::Transport(TransportKind::Closed);
        run.failed(closed, Instant::ZERO, 0).unwrap();
        let len = run.snapshot_into(&mut bytes).unwrap();
        let stored = &bytes[..len];
        let mut restored = Run::from_snapshot(stored, Transcript::new(&mut other)).unwrap();
        assert_eq!(restored.step(Instant::ZERO), Ok(Step::Send), "{stop}");
        assert_eq!(restored.messages(), run.messages(), "{stop}");
    }
}
