//! Compaction on the client: after a long turn, the model's summary replaces the conversation.

use toolrunner_core::testing::validity::{Tail, check};
use toolrunner_core::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Compaction, Event, Outcome, StopReason, Usage, tool};

/// Add two numbers together.
#[tool]
fn calculate_sum(a: i64, b: i64) -> i64 {
    a + b
}

fn usage(input: u64) -> Usage {
    Usage { input_tokens: input, output_tokens: 10, ..Usage::default() }
}

fn call(id: &str, input: u64) -> ScriptedReply {
    ScriptedReply::text("Let me add.")
        .tool_use(id, "calculate_sum", r#"{"a":1,"b":2}"#)
        .stop("tool_use")
        .usage(usage(input))
}

const FROM_80_000: Compaction = Compaction { threshold: 80_000, ..Compaction::DEFAULT };

/// The official runners' example: compaction from 80 000 tokens on.
#[tokio::test]
async fn compaction_at_80_000_tokens() {
    for stream in [true, false] {
        let script = Script::new()
            .reply(call("t1", 100))
            .reply(call("t2", 90_000))
            .reply(ScriptedReply::text("We \"added\" 1 and 2.\nNext: say so."))
            .reply(ScriptedReply::text("3"));
        let scripted = ScriptedServer::new(ScriptedModel::new(script));
        let mut run = scripted
            .client()
            .run("m")
            .stream(stream)
            .tools(calculate_sum)
            .compaction(FROM_80_000)
            .user("What is 1 + 2?");
        let (mut texts, mut compacted) = (Vec::new(), 0);
        while let Some(event) = run.next_event().await.unwrap() {
            match event {
                Event::Text { text, .. } => texts.push(text.to_string()),
                Event::Compacted { before, after } => {
                    assert!(before > after);
                    compacted += 1;
                }
                _ => {}
            }
        }
        assert_eq!(compacted, 1);
        // The summary is internal: it is not reported as text, and is not a turn.
        assert!(!texts.concat().contains("Next: say so."), "{texts:?}");
        assert_eq!(run.turns(), 3);
        assert_eq!(
            run.messages(),
            r#"[{"role":"user","content":"We \"added\" 1 and 2.\nNext: say so."},{"role":"assistant","content":[{"type":"text","text":"3"}]}]"#
        );
        let model = scripted.model();
        assert_eq!(model.complaints(), &[] as &[String]);
        let requests = model.requests();
        assert_eq!(requests.len(), 4);
        // The request for the summary has the last reply without its call, which never ran, and the
        // question.
        let asked = core::str::from_utf8(requests[2].transcript()).unwrap().to_owned();
        assert!(asked.contains(r#""tool_use_id":"t1""#) && !asked.contains("t2"), "{asked}");
        assert!(
            asked.contains(r#"{"role":"assistant","content":[{"type":"text","text":"Let me add."}]},{"role":"user","content":"Summarize"#),
            "{asked}"
        );
        assert_eq!(
            requests[3].transcript(),
            br#"{"role":"user","content":"We \"added\" 1 and 2.\nNext: say so."}"#
        );
    }
}

/// The call of the last reply is left out of the request for a summary. The API refuses a message
/// that ends in thinking, so the thinking before the call is left out too.
#[tokio::test]
async fn a_reply_of_thinking_and_a_call_can_be_summarised() {
    for (stream, text) in [(true, ""), (false, ""), (true, "I add."), (false, "I add.")] {
        let begins = if text.is_empty() { ScriptedReply::new() } else { ScriptedReply::text(text) };
        let thinks = begins
            .thinking("Let me think.", "c2ln")
            .tool_use("t2", "calculate_sum", r#"{"a":1,"b":2}"#)
            .stop("tool_use")
            .usage(usage(90_000));
        let script = Script::new()
            .reply(call("t1", 100))
            .reply(thinks)
            .reply(ScriptedReply::text("We added 1 and 2."))
            .reply(ScriptedReply::text("3"));
        let scripted = ScriptedServer::new(ScriptedModel::new(script));
        let mut run = scripted
            .client()
            .run("m")
            .stream(stream)
            .tools(calculate_sum)
            .compaction(FROM_80_000)
            .user("What is 1 + 2?");
        assert_eq!(run.until_done().await.unwrap().text(), "3");
        let model = scripted.model();
        assert_eq!(model.complaints(), &[] as &[String]);
        let asked = String::from_utf8(model.requests()[2].transcript().to_vec()).unwrap();
        assert!(asked.contains("Summarize") && asked.contains(text), "{asked}");
        assert!(!asked.contains("think"), "{asked}");
        assert!(run.messages().starts_with(r#"[{"role":"user","content":"We added 1 and 2."}"#));
    }
}

/// No compaction happens after the last turn, however long it was.
#[tokio::test]
async fn not_after_the_last_turn() {
    let scripted = ScriptedServer::new(ScriptedModel::new(
        Script::new().reply(ScriptedReply::text("3").usage(usage(90_000))),
    ));
    let mut run = scripted.client().run("m").compaction(FROM_80_000).user("What is 1 + 2?");
    assert_eq!(run.until_done().await.unwrap().text(), "3");
    assert_eq!(scripted.model().requests().len(), 1);
}

/// If the summary is empty or fails, the history stays: the call runs and the run continues.
#[tokio::test]
async fn a_failed_summary_keeps_the_history() {
    for failure in [
        Script::new().reply(call("t1", 90_000)).reply(ScriptedReply::new()),
        Script::new().reply(call("t1", 90_000)).error(400, "invalid_request_error", "no"),
    ] {
        let scripted =
            ScriptedServer::new(ScriptedModel::new(failure.reply(ScriptedReply::text("3"))));
        let mut run = scripted
            .client()
            .run("m")
            .tools(calculate_sum)
            .compaction(FROM_80_000)
            .user("What is 1 + 2?");
        assert_eq!(run.until_done().await.unwrap().text(), "3");
        let messages = run.messages();
        check(&messages.as_bytes()[1..messages.len() - 1], Tail::Closed).unwrap();
        assert!(
            messages.contains(r#"{"type":"tool_result","tool_use_id":"t1","content":"3"}"#),
            "{messages}"
        );
    }
}

/// Another model may write the summary.
#[tokio::test]
async fn by_another_model() {
    let script = Script::new()
        .reply(call("t1", 90_000))
        .reply(ScriptedReply::text("Summary."))
        .reply(ScriptedReply::text("3"));
    let scripted = ScriptedServer::new(ScriptedModel::new(script));
    let mut run = scripted
        .client()
        .run("big")
        .tools(calculate_sum)
        .compaction(FROM_80_000)
        .summary_model("small")
        .user("What is 1 + 2?");
    run.until_done().await.unwrap();
    let model = scripted.model();
    let models: Vec<String> = model
        .requests()
        .iter()
        .map(|request| request.json().member("model").unwrap().to_string())
        .collect();
    assert_eq!(models, [r#""big""#, r#""small""#, r#""big""#]);
}

fn server_summary() -> ScriptedReply {
    ScriptedReply::new()
        .block(r#"{"type":"compaction","content":"Summary.","encrypted_content":"zz"}"#)
        .stop("compaction")
}

/// The newer way: the server makes the summary, in a separate request with the same parameters,
/// except those that shape a reply.
#[tokio::test]
async fn by_the_server() {
    for stream in [true, false] {
        let script = Script::new()
            .reply(call("t1", 100))
            .reply(server_summary())
            .reply(ScriptedReply::text("3"));
        let scripted = ScriptedServer::new(ScriptedModel::new(script).lenient());
        let mut run = scripted
            .client()
            .run("m")
            .stream(stream)
            .tools(calculate_sum)
            .param_json("stop_sequences", r#"["END"]"#)
            .param_json("context_management", "{}")
            .param_json("output_config", r#"{"effort":"low","format":{"type":"json_schema"}}"#)
            .param_json("tool_choice", r#"{"type":"any"}"#)
            .user("What is 1 + 2?");
        let _turn = run.next_turn().await.unwrap().unwrap();
        run.compact_on_server(Some("Keep the numbers."));
        assert_eq!(run.until_done().await.unwrap().text(), "3");
        assert_eq!(run.turns(), 2, "a compaction is not a turn");
        let model = scripted.model();
        let [_, asked, next] = model.requests() else { panic!("{:?}", model.requests().len()) };
        let has = |name: &str| asked.json().member(name).map(|value| value.to_string());
        assert_eq!(
            has("compaction").as_deref(),
            Some(r#"{"type":"summarize","instructions":"Keep the numbers."}"#)
        );
        assert_eq!(
            (has("stop_sequences"), has("context_management"), has("tool_choice")),
            (None, None, None)
        );
        assert_eq!(has("output_config").as_deref(), Some(r#"{"effort":"low"}"#));
        assert!(
            asked.json().to_string().contains(r#""tool_use_id":"t1""#),
            "the results go with it"
        );
        assert_eq!(
            core::str::from_utf8(next.transcript()).unwrap(),
            r#"{"role":"assistant","content":[{"type":"compaction","content":"Summary.","encrypted_content":"zz"}]}"#
        );
        assert!(next.json().member("stop_sequences").is_some());
    }
}

/// Whatever the caller's parameters, a request for a compaction has each member once, and a
/// container as in any other request.
#[tokio::test]
async fn a_compaction_has_no_member_twice() {
    // A parameter and its value, and the value of that member in the request for a compaction.
    const CASES: [(&str, &str, Option<&str>); 8] = [
        ("compaction", r#"{"type":"mine"}"#, Some(r#"{"type":"summarize"}"#)),
        ("output_config", "null", Some("null")),
        ("fallbacks", "[7]", Some("[7]")),
        ("tool_choice", r#"{"type":"tool","name":"calculate_sum"}"#, None),
        ("container", r#""mine""#, Some(r#""mine""#)),
        ("container", "null", Some(r#""c1""#)),
        ("container", "{}", Some(r#"{"id":"c1"}"#)),
        ("container", r#"{"skills":[],"id":null}"#, Some(r#"{"skills":[],"id":"c1"}"#)),
    ];
    for (name, json, expected) in CASES {
        let script = Script::new()
            .reply(call("t1", 100).container("c1"))
            .reply(server_summary())
            .reply(ScriptedReply::text("3"));
        let scripted = ScriptedServer::new(ScriptedModel::new(script).lenient());
        let builder = scripted.client().run("m").tools(calculate_sum).param_json(name, json);
        let mut run = builder.user("What is 1 + 2?");
        let _turn = run.next_turn().await.unwrap().unwrap();
        run.compact_on_server(None);
        assert_eq!(run.until_done().await.unwrap().text(), "3");
        let model = scripted.model();
        let asked = model.requests()[1].json();
        let names: Vec<String> = asked.members().map(|(name, _)| name.to_string()).collect();
        let mut once = names.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), names.len(), "a member twice: {names:?}");
        assert_eq!(asked.member(name).map(|value| value.as_json()), expected, "{name}: {json}");
        let container = asked.member("container").map(|value| value.as_json());
        assert!(container.is_some(), "no container beside {name}: {json}");
    }
}

/// After the last turn it happens at once, and the last message is still available.
#[tokio::test]
async fn by_the_server_after_the_last_turn() {
    let script = Script::new().reply(ScriptedReply::text("3")).reply(server_summary());
    let scripted = ScriptedServer::new(ScriptedModel::new(script).lenient());
    let mut run = scripted.client().run("m").user("What is 1 + 2?");
    let _turn = run.next_turn().await.unwrap().unwrap();
    run.compact_on_server(None);
    let finished = run.until_done().await.unwrap();
    assert_eq!(finished.text(), "3");
    assert_eq!(finished.outcome, Outcome::Ended(Some(StopReason::EndTurn)));
    assert_eq!(scripted.model().requests().len(), 2);
    assert!(run.messages().starts_with(r#"[{"role":"assistant","content":[{"type":"compaction""#));
}

/// Without a summary in the answer, or after an error, the conversation stays, and there is no
/// retry.
#[tokio::test]
async fn by_the_server_without_a_summary() {
    for answer in [
        Script::new().reply(call("t1", 100)).reply(ScriptedReply::text("no")),
        Script::new().reply(call("t1", 100)).error(529, "overloaded_error", "no"),
    ] {
        let scripted = ScriptedServer::new(
            ScriptedModel::new(answer.reply(ScriptedReply::text("3"))).lenient(),
        );
        let mut run = scripted.client().run("m").tools(calculate_sum).user("What is 1 + 2?");
        let _turn = run.next_turn().await.unwrap().unwrap();
        run.compact_on_server(None);
        assert_eq!(run.until_done().await.unwrap().text(), "3");
        assert!(run.messages().contains("What is 1 + 2?"));
        assert_eq!(scripted.model().requests().len(), 3);
    }
}

/// The tokens of a summary are counted, whether the client or the server makes it; a compaction is
/// not a turn.
#[tokio::test]
async fn its_tokens_are_counted() {
    // By the client: 90 000 in the turn, 100 for the summary, 50 in the last turn; `usage` reports
    // 10 output tokens of each.
    let script = Script::new()
        .reply(call("t1", 90_000))
        .reply(ScriptedReply::text("Summary.").usage(usage(100)))
        .reply(ScriptedReply::text("3").usage(usage(50)));
    let scripted = ScriptedServer::new(ScriptedModel::new(script));
    let mut run = scripted
        .client()
        .run("m")
        .tools(calculate_sum)
        .compaction(FROM_80_000)
        .user("What is 1 + 2?");
    let finished = run.until_done().await.unwrap();
    assert_eq!((run.turns(), scripted.requests().len()), (2, 3));
    assert_eq!(
        finished.usage.input_total(),
        usage(90_000).input_total() + usage(100).input_total() + usage(50).input_total()
    );
    assert_eq!(finished.usage.output_tokens, 3 * usage(1).output_tokens);
    assert_eq!(run.machine().turn_usage(), usage(50), "the last turn's own");

    // By the server.
    let script = Script::new()
        .reply(call("t1", 100))
        .reply(server_summary().usage(usage(200)))
        .reply(ScriptedReply::text("3").usage(usage(50)));
    let scripted = ScriptedServer::new(ScriptedModel::new(script).lenient());
    let mut run = scripted.client().run("m").tools(calculate_sum).user("What is 1 + 2?");
    let _turn = run.next_turn().await.unwrap().unwrap();
    run.compact_on_server(None);
    let finished = run.until_done().await.unwrap();
    assert_eq!(
        finished.usage.input_total(),
        usage(100).input_total() + usage(200).input_total() + usage(50).input_total()
    );
    assert_eq!(run.turns(), 2);
}
