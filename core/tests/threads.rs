//! Message threads: what each request contains, and what happens if the server loses, refuses or
//! ignores the thread. `tests/scenarios/thread-*` and `sdk-thread-*` show whole conversations.
#![cfg(feature = "testing")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
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
use serde_json::Value as Json;
use toolrunner_core::__private::{Decimal, Front};
use toolrunner_core::drive::Driver;
use toolrunner_core::error::{CapacityKind, Error, Misuse, Protocol, TransportKind};
use toolrunner_core::message::Usage;
use toolrunner_core::observe::{Event, FnObserver};
use toolrunner_core::run::{
    Compaction, MakeRoom, OnBreak, Outcome, Run, Step, ToolAnswer, WhenFull,
};
use toolrunner_core::testing::{
    Answer, Fault, Request, Script, ScriptedModel, ScriptedReply, ScriptedTransport, ThreadSupport,
    VirtualClock,
};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::{Config, MessageThread};

const LOST: Result<Outcome, Error> = Ok(Outcome::ThreadLost);

fn config(thread: MessageThread) -> Config<'static> {
    Config::new("m", 64).system("Be brief.").message_thread(thread)
}

fn over<'d>(
    transport: ScriptedTransport,
    thread: MessageThread,
    tools: &'d Counting,
    clock: &'d VirtualClock,
) -> Drive<'d> {
    Driver::new(config(thread), transport, tools, clock).unwrap()
}

/// Returns a reply with a call of this id.
fn calls(id: &str) -> ScriptedReply {
    ScriptedReply::new().tool_use(id, "plain", "{}")
}

/// Returns replies with `count` calls, and a last one without.
fn long(count: usize) -> Script {
    let script = (0..count).fold(Script::new(), |script, i| script.reply(calls(&format!("t{i}"))));
    script.reply(ScriptedReply::text("Done."))
}

/// Describes a request: what its thread does, how many messages it contains, and `+` if it contains
/// the members that a thread keeps.
fn shape(request: &Request) -> String {
    let body: Json = serde_json::from_slice(&request.body).unwrap();
    let kind = body["thread"]["type"].as_str().unwrap_or("whole");
    let count = body["messages"].as_array().unwrap().len();
    let kept = match (body.get("system").is_some(), body.get("tools").is_some()) {
        (true, true) => "+",
        (false, false) => "",
        _ => "?",
    };
    format!("{kind} {count}{kept}")
}

fn shapes(driver: &mut Drive<'_>) -> Vec<String> {
    driver.transport_mut().model().requests().iter().map(shape).collect()
}

/// Drives a run to its end without the check of the conversation: a freed one has no beginning.
fn go(driver: &mut Drive<'_>, run: &mut Run<'_>) -> Result<Outcome, Error> {
    let outcome = block_on(driver.until_done(run, &mut ())).map_err(|failed| failed.error);
    assert_eq!(driver.transport_mut().model().complaints(), [""; 0]);
    outcome
}

/// Drives `turns` turns.
fn go_turns(driver: &mut Drive<'_>, run: &mut Run<'_>, turns: usize) {
    for _ in 0..turns {
        assert_eq!(block_on(driver.next_turn(run, &mut ())).unwrap(), None);
    }
}

fn scripted(script: Script) -> ScriptedTransport {
    ScriptedTransport::new(ScriptedModel::new(script))
}

/// Returns a run in the third of its turns, whose messages were freed.
fn freed<'d>(tools: &'d Counting, clock: &'d VirtualClock) -> (Drive<'d>, Run<'static>) {
    let mut driver = over(scripted(long(3)), MessageThread::Free, tools, clock);
    let mut run = run();
    go_turns(&mut driver, &mut run, 3);
    assert!(run.has_freed_messages());
    (driver, run)
}

#[test]
fn only_requests_with_a_thread_have_the_beta() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    for (support, expected) in [
        (
            ThreadSupport::Keep,
            vec![("create 1+", true), ("continue 1", true), ("continue 1", true)],
        ),
        (
            ThreadSupport::Refuse,
            vec![
                ("create 1+", true),
                ("whole 1+", false),
                ("whole 3+", false),
                ("whole 5+", false),
            ],
        ),
    ] {
        let model = ScriptedModel::new(long(2)).threads(support);
        let config = config(MessageThread::Keep).betas("one,two");
        let mut driver =
            Driver::new(config, ScriptedTransport::new(model), &tools, &clock).unwrap();
        assert_eq!(until_done(&mut driver, &mut run()), ENDED);
        let requests = driver.transport_mut().model().requests();
        let betas = |request: &Request| {
            let values = request.headers.iter().filter(|(name, _)| name == "anthropic-beta");
            values.map(|(_, value)| value.clone()).collect::<Vec<_>>()
        };
        let own = ["one,two".to_owned()];
        let with_thread = [own[0].clone(), "message-threads-2026-08-12".to_owned()];
        let got: Vec<_> = requests.iter().map(|request| (shape(request), betas(request))).collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(shape, has_beta)| {
                (shape.to_owned(), if has_beta { with_thread.to_vec() } else { own.to_vec() })
            })
            .collect();
        assert_eq!(got, expected, "{support:?}");
    }
}

#[test]
fn a_gateway_that_ignores_threads_gets_the_whole_conversation() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let script = Script::new()
        .reply(calls("t0"))
        .reply(ScriptedReply::text("What is this about?"))
        .reply(calls("t1"))
        .reply(ScriptedReply::text("Done."));
    let model = ScriptedModel::new(script).threads(ThreadSupport::Ignore);
    let mut driver = over(ScriptedTransport::new(model), MessageThread::Keep, &tools, &clock);
    let mut run = run();
    let mut seen = Vec::new();
    let mut observer = FnObserver(|event: &Event<'_>| match event {
        Event::Retry { error, .. } => seen.push(error.to_string()),
        Event::Text { text, .. } => seen.push(text.to_string()),
        _ => {}
    });
    assert_eq!(block_on(driver.until_done(&mut run, &mut observer)).unwrap(), ENDED.unwrap());
    let ignored = "protocol error: the server ignored the message thread: it reported fewer input tokens than the thread contains";
    assert_eq!(seen, [ignored, "Done."], "no text of the discarded reply was passed on");
    assert_eq!(shapes(&mut driver), ["create 1+", "continue 1", "whole 3+", "whole 5+"]);
    assert_eq!(tools.began(), ["t0", "t1"]);
}

/// A gateway may report the tokens only at the end of the reply, when its text was passed on.
#[test]
fn an_ignored_thread_that_shows_only_at_the_end() {
    let late = |id: &str, text: &str, tokens: u64| {
        format!(
            "event: message_start\ndata: {{\"type\":\"message_start\",\"message\":{{\"id\":\"{id}\",\"role\":\"assistant\",\"content\":[],\"usage\":{{\"input_tokens\":0}}}}}}\n\n\
             event: content_block_start\ndata: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{{\"type\":\"text\",\"text\":\"{text}\"}}}}\n\n\
             event: content_block_stop\ndata: {{\"type\":\"content_block_stop\",\"index\":0}}\n\n\
             event: message_delta\ndata: {{\"type\":\"message_delta\",\"delta\":{{\"stop_reason\":\"end_turn\"}},\"usage\":{{\"input_tokens\":{tokens},\"output_tokens\":3}}}}\n\n\
             event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n"
        )
    };
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    for hands_on in [false, true] {
        let script = Script::new()
            .raw(200, &[], late("msg_1", "Hello.", 100))
            .raw(200, &[], late("msg_2", "Who?", 20))
            .raw(200, &[], late("msg_3", "Done.", 130));
        let transport = ScriptedTransport::new(ScriptedModel::new(script).lenient());
        let mut driver = over(transport, MessageThread::Keep, &tools, &clock);
        let mut run = run();
        run.set_on_break(OnBreak::KeepBlocks);
        assert_eq!(go(&mut driver, &mut run), ENDED);
        assert_eq!(run.thread_id(), Some("msg_1"));
        run.user("More.").unwrap();
        let mut observer = FnObserver(|_: &Event<'_>| {});
        let ended = match hands_on {
            true => block_on(driver.until_done(&mut run, &mut observer)),
            false => block_on(driver.until_done(&mut run, &mut ())),
        };
        if hands_on {
            assert_eq!(ended.unwrap_err().error, Error::Protocol(Protocol::ThreadIgnored));
            assert_eq!(messages(&run).len(), 3, "nothing of the reply is kept");
            assert_eq!(go(&mut driver, &mut run), ENDED);
        } else {
            assert_eq!(ended.unwrap(), ENDED.unwrap());
        }
        assert_eq!(shapes(&mut driver), ["create 1+", "continue 1", "whole 3+"]);
        assert!(run.messages().ends_with(br#"[{"type":"text","text":"Done."}]}"#));
    }
}

/// The input tokens of a reply in one JSON object are a sum if the server ran tools of its own.
#[test]
fn tokens_count_for_a_thread_only_if_they_are_those_of_one_request() {
    let whole = |id: &str, blocks: &str, tokens: u64, more: &str| {
        format!(
            r#"{{"id":"{id}","type":"message","role":"assistant","content":[{blocks}{{"type":"text","text":"So."}}],"stop_reason":"end_turn","usage":{{"input_tokens":{tokens},"output_tokens":3{more}}}}}"#
        )
    };
    let counts = r#","server_tool_use":{"web_search_requests":0,"web_fetch_requests":0}"#;
    let ran = |kind: &str, result: &str| {
        format!(
            r#"{{"type":"{kind}","id":"s1","name":"x","input":{{}}}},{{"type":"{result}","tool_use_id":"s1","content":[]}},"#
        )
    };
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    for (blocks, tokens, more, second) in [
        (String::new(), 100, counts, "continue 1"),
        (ran("server_tool_use", "code_execution_tool_result"), 1000, "", "create 3+"),
        (ran("server_tool_use", "code_execution_tool_result"), 1000, counts, "create 3+"),
        (ran("mcp_tool_use", "mcp_tool_result"), 1000, counts, "create 3+"),
        (ran("tool_use_of_tomorrow", "note"), 100, "", "continue 1"),
    ] {
        let script = Script::new().raw(200, &[], whole("msg_1", &blocks, tokens, more)).raw(
            200,
            &[],
            whole("msg_2", "", 120, ""),
        );
        let transport = ScriptedTransport::new(ScriptedModel::new(script).lenient());
        let mut driver = over(transport, MessageThread::Keep, &tools, &clock);
        let mut run = run();
        assert_eq!(go(&mut driver, &mut run), ENDED);
        run.user("And?").unwrap();
        assert_eq!(go(&mut driver, &mut run), ENDED, "{blocks}");
        assert_eq!(shapes(&mut driver), ["create 1+", second], "{blocks}");
    }
}

#[test]
fn after_a_broken_reply_a_new_thread_starts() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    for fault in [Fault::ResetAt(600), Fault::EndAt(600)] {
        let transport = scripted(long(3)).faults(&[Fault::Clean, fault]);
        let mut driver = over(transport, MessageThread::Keep, &tools, &clock);
        assert_eq!(until_done(&mut driver, &mut run()), ENDED);
        let expected = ["create 1+", "continue 1", "create 3+", "continue 1", "continue 1"];
        assert_eq!(shapes(&mut driver), expected, "{fault:?}");
    }
}

/// The server has kept the reply: it refuses to continue the one before it twice.
#[test]
fn a_reply_that_the_server_has_kept_although_it_did_not_arrive() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let transport = scripted(long(3)).faults(&[Fault::Clean, Fault::NoHead(TransportKind::Closed)]);
    let mut driver = over(transport, MessageThread::Keep, &tools, &clock);
    assert_eq!(until_done(&mut driver, &mut run()), ENDED);
    let expected = ["create 1+", "continue 1", "continue 1", "continue 1", "continue 1"];
    assert_eq!(shapes(&mut driver), expected);
}

#[test]
fn a_conversation_larger_than_the_transcript_fits_if_it_is_freed() {
    let act: Act = |_, out| Ok(out.text(&"x".repeat(300))?);
    let (tools, clock) = (Counting::new([Tool::plain().acting(act)]), VirtualClock::new(0));
    let mut sent = Vec::new();
    for thread in [MessageThread::Keep, MessageThread::Free] {
        let mut memory = [0; 3000];
        let mut run = Run::new(Transcript::new(&mut memory));
        run.user("Hi").unwrap();
        let mut driver = over(scripted(long(50)), thread, &tools, &clock);
        let ended = go(&mut driver, &mut run);
        sent.push(shapes(&mut driver));
        if thread == MessageThread::Free {
            assert_eq!(ended, ENDED);
            let bodies = driver.transport_mut().model().requests().iter();
            assert!(bodies.map(|request| request.body.len()).all(|length| length < 600));
        } else {
            let Err(Error::Capacity(full)) = ended else { panic!("{ended:?}") };
            assert_eq!(full.what, CapacityKind::Transcript);
        }
    }
    assert_eq!(sent[1].len(), 51);
    assert_eq!((&*sent[1][0], &*sent[1][50]), ("create 1+", "continue 1"));
    assert_eq!(tools.began().len(), 50 + sent[0].len() - 1);
}

#[test]
fn a_freed_thread_that_is_lost_ends_the_run() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let (mut driver, mut run) = freed(&tools, &clock);
    driver.transport_mut().model_mut().lose_threads();
    assert_eq!(go(&mut driver, &mut run), LOST);
    assert_eq!(run.outcome(), Some(Outcome::ThreadLost));
    // The last reply and its results are still here.
    let last = messages(&run);
    assert_eq!(
        (&last[0]["role"], &last[0]["content"][0]["id"]),
        (&"assistant".into(), &"t2".into())
    );
    assert_eq!(last[1]["content"][0], result("t2", "ok"));
    // Nothing but another conversation helps.
    run.resume();
    assert_eq!(go(&mut driver, &mut run), LOST);
    run.user("Hello?").unwrap();
    assert_eq!(go(&mut driver, &mut run), LOST);
    let before = requests(&mut driver);
    run.replace_history(r#"{"role":"user","content":"Once more."}"#).unwrap();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert_eq!(shapes(&mut driver)[before..], ["create 1+"]);
    assert_eq!(tools.began(), ["t0", "t1", "t2"]);
}

/// The thread exists, so the words are about something else.
#[test]
fn an_error_that_happens_to_mention_a_thread_ends_no_freed_run() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let words = "messages.0.content.0: a picture of a thread is too large";
    let script = (0..3)
        .fold(Script::new(), |script, i| script.reply(calls(&format!("t{i}"))))
        .answer(Answer::error(400, "invalid_request_error", words))
        .reply(ScriptedReply::text("Done."));
    let mut driver = over(scripted(script), MessageThread::Free, &tools, &clock);
    let mut run = run();
    go_turns(&mut driver, &mut run, 3);
    assert!(run.has_freed_messages());
    let Err(Error::Api(error)) = go(&mut driver, &mut run) else { panic!("no error") };
    assert_eq!(error.status, 400);
    let last = run.calls().next().unwrap();
    run.replace_result(last, ToolAnswer::ok("no picture")).unwrap();
    assert_eq!(go(&mut driver, &mut run), ENDED);
    assert_eq!(shapes(&mut driver)[3..], ["continue 1", "continue 1"]);
}

/// A driver may notice only after the choice of the request that the thread was left.
#[test]
fn a_freed_thread_that_is_left_while_its_request_begins_is_not_sent_in_part() {
    type Leave = fn(&mut Run<'_>);
    let leaves: [Leave; 2] =
        [|run| run.leave_message_thread(), |run| run.set_message_thread(MessageThread::Off)];
    for leave in leaves {
        let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
        let (_, mut run) = freed(&tools, &clock);
        let config = config(MessageThread::Free);
        let max_tokens = Decimal::new(64);
        while run.step(Instant::ZERO).unwrap() == Step::Call {
            let call = run.next_call().unwrap();
            run.answer(call, ToolAnswer::ok("by hand")).unwrap();
        }
        leave(&mut run);
        let noted = run.note_thread_front(Front::new(&config, &max_tokens), [].into_iter());
        assert!(matches!(noted, Err(Error::Misuse(Misuse::State(_)))), "{noted:?}");
        let noted = run.note_thread_front(Front::new(&config, &max_tokens), [].into_iter());
        assert!(noted.is_err(), "still");
        run.abandoned();
        assert_eq!(run.step(Instant::ZERO), Ok(Step::Done(Outcome::ThreadLost)));
    }
}

/// The server has all of a broken reply or nothing: only one of the two is lost.
#[test]
fn a_broken_reply_of_a_freed_thread_is_requested_again() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    for fault in [Fault::ResetAt(600), Fault::EndAt(600), Fault::NoHead(TransportKind::Closed)] {
        let faults = [Fault::Clean, Fault::Clean, Fault::Clean, fault];
        let transport = scripted(long(4)).faults(&faults);
        let mut driver = over(transport, MessageThread::Free, &tools, &clock);
        let mut run = run();
        run.set_on_break(OnBreak::KeepBlocks);
        assert_eq!(go(&mut driver, &mut run), ENDED);
        assert_eq!(shapes(&mut driver)[3..], ["continue 1", "continue 1", "continue 1"]);
    }
}

#[test]
fn a_change_of_the_conversation_starts_a_new_thread() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    type Change = fn(&mut Run<'_>);
    let changes: [(Change, &str); 5] = [
        (|run| run.ask_again().unwrap(), "create 3+"),
        (|run| assert!(run.drop_oldest_turn()), "create 3+"),
        (
            |run| {
                run.replace_result_of("t0", ToolAnswer::ok("changed, and longer than before"))
                    .unwrap()
            },
            "create 5+",
        ),
        (|run| run.leave_message_thread(), "create 5+"),
        (|_| {}, "continue 1"),
    ];
    for (i, (change, expected)) in changes.into_iter().enumerate() {
        let mut driver = over(scripted(long(4)), MessageThread::Keep, &tools, &clock);
        let mut run = run();
        go_turns(&mut driver, &mut run, 2);
        change(&mut run);
        assert_eq!(until_done(&mut driver, &mut run), ENDED, "{i}");
        let shapes = shapes(&mut driver);
        assert_eq!(shapes[2], expected, "{i}");
        assert_eq!(shapes[3], "continue 1", "{i}");
    }
}

#[test]
fn another_system_prompt_starts_a_new_thread() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver = over(scripted(long(3)), MessageThread::Keep, &tools, &clock);
    let mut run = run();
    go_turns(&mut driver, &mut run, 2);
    driver.config_mut().max_tokens = 65;
    go_turns(&mut driver, &mut run, 1);
    driver.config_mut().system = Some("Be verbose.");
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert_eq!(shapes(&mut driver), ["create 1+", "continue 1", "continue 1", "create 7+"]);
}

#[test]
fn another_system_prompt_is_an_error_once_messages_were_freed() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let (mut driver, mut run) = freed(&tools, &clock);
    driver.config_mut().system = Some("Be verbose.");
    let error = go(&mut driver, &mut run).unwrap_err();
    assert!(
        matches!(error, Error::Misuse(Misuse::State(why)) if why.contains("system prompt")),
        "{error}"
    );
    assert_eq!(requests(&mut driver), 3);
    driver.config_mut().system = Some("Be brief.");
    assert_eq!(go(&mut driver, &mut run), ENDED);
}

#[test]
fn what_a_freed_conversation_cannot_do() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let (mut driver, mut run) = freed(&tools, &clock);
    let why = run.ask_again().unwrap_err().to_string();
    assert_eq!(
        why,
        "misuse: the reply cannot be requested again, because messages before it were freed"
    );
    assert!(!run.drop_oldest_turn());
    run.replace_result_of("t0", ToolAnswer::ok("changed")).unwrap_err();
    *run.compaction_mut() = Some(Compaction { threshold: 1, ..Compaction::DEFAULT });
    run.compact_on_server();
    *run.when_full_mut() = WhenFull { room: 10, then: MakeRoom::DropOldest };
    assert_eq!(go(&mut driver, &mut run), ENDED);
    assert_eq!(shapes(&mut driver), ["create 1+", "continue 1", "continue 1", "continue 1"]);
}

#[test]
fn a_summary_contains_the_whole_conversation_and_starts_a_new_thread() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let script = Script::new()
        .reply(calls("t0"))
        .reply(calls("t1").usage(Usage { input_tokens: 5000, ..Usage::default() }))
        .reply(ScriptedReply::text("The summary."))
        .reply(calls("t2"))
        .reply(ScriptedReply::text("Done."));
    let mut driver = over(scripted(script), MessageThread::Keep, &tools, &clock);
    let mut run = run();
    *run.compaction_mut() = Some(Compaction { threshold: 4000, ..Compaction::DEFAULT });
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    let expected = ["create 1+", "continue 1", "whole 4+", "create 1+", "continue 1"];
    assert_eq!(shapes(&mut driver), expected);
}

/// The server keeps the calls under their own ids.
#[test]
fn renamed_calls_are_sent_with_the_whole_conversation() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let script = Script::new()
        .reply(calls("same"))
        .reply(calls("same"))
        .reply(calls("other"))
        .reply(ScriptedReply::text("Done."));
    let mut driver = over(scripted(script), MessageThread::Free, &tools, &clock);
    let mut run = run();
    run.set_unique_ids(true).unwrap();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert_eq!(shapes(&mut driver), ["create 1+", "continue 1", "create 5+", "continue 1"]);
    assert!(!run.has_freed_messages());
}

#[test]
fn removed_tools_stay_removed() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    let mut driver = over(scripted(long(3)), MessageThread::Free, &tools, &clock);
    let mut run = run();
    go_turns(&mut driver, &mut run, 1);
    run.append(r#"{"role":"system","content":[{"type":"tool_removal","tool":{"type":"tool_reference","name":"plain"}}]}"#).unwrap();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    assert!(!run.has_freed_messages());
    let results =
        messages(&run).into_iter().filter(|message| message["content"][0]["is_error"] == true);
    assert_eq!(results.count(), 3, "no call had started before the removal");
}

fn saved(run: &Run<'_>) -> String {
    let mut snapshot = Vec::new();
    run.snapshot(&mut snapshot).unwrap();
    String::from_utf8(snapshot).unwrap()
}

/// Removes the sum, so that a change is not noticed by it.
fn changed(snapshot: &str, from: &str, to: &str) -> String {
    assert!(snapshot.contains(from), "{from}: {snapshot}");
    let (content, _) = snapshot.rsplit_once(",\"sum\":").unwrap();
    format!("{}}}", content.replacen(from, to, 1))
}

#[test]
fn a_snapshot_whose_thread_does_not_match_continues_with_the_whole_conversation() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    for (from, to, expected) in [
        (
            "\"thread_id\":\"msg_scripted_0002\"",
            "\"thread_id\":\"msg_scripted_0002\"",
            "continue 1",
        ),
        ("\"thread_id\":\"msg_scripted_0002\"", "\"thread_id\":\"\"", "create 5+"),
        ("\"thread_id\":\"msg_scripted_0002\"", "\"of_tomorrow\":1", "create 5+"),
        ("\"thread\":[", "\"thread\":[1", "create 5+"),
        ("\"thread\":[", "\"thread\":[1,", "create 5+"),
        ("\"thread\":[", "\"other\":[", "create 5+"),
    ] {
        let mut driver = over(scripted(long(3)), MessageThread::Keep, &tools, &clock);
        let mut run = run();
        go_turns(&mut driver, &mut run, 2);
        let snapshot = saved(&run);
        assert!(snapshot.starts_with("{\"toolrunner_snapshot\":1,"));
        let snapshot = changed(&snapshot, from, to);
        let mut restored = Run::from_snapshot(snapshot.as_bytes(), Transcript::growing()).unwrap();
        assert_eq!(until_done(&mut driver, &mut restored), ENDED);
        assert_eq!(shapes(&mut driver)[2], expected, "{to}");
    }
}

/// An id is stored and sent as the server wrote it.
#[test]
fn an_id_with_escapes_survives_a_snapshot() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    for id in [r"msg\/1", r#"msg\"1"#, r"msg\u00e9", "msgé"] {
        let reply = |id: &str| {
            format!(
                r#"{{"id":"{id}","role":"assistant","content":[{{"type":"text","text":"So."}}],"stop_reason":"end_turn","usage":{{"input_tokens":100,"output_tokens":3}}}}"#
            )
        };
        let script = Script::new().raw(200, &[], reply(id)).raw(200, &[], reply("msg_2"));
        let transport = ScriptedTransport::new(ScriptedModel::new(script).lenient());
        let mut driver = over(transport, MessageThread::Keep, &tools, &clock);
        let mut run = run();
        assert_eq!(go(&mut driver, &mut run), ENDED);
        let mut restored =
            Run::from_snapshot(saved(&run).as_bytes(), Transcript::growing()).unwrap();
        restored.user("And?").unwrap();
        assert_eq!(go(&mut driver, &mut restored), ENDED);
        let body = &driver.transport_mut().model().requests()[1].body;
        let body: Json = serde_json::from_slice(body).unwrap();
        let sent: Json = serde_json::from_str(&format!("\"{id}\"")).unwrap();
        assert_eq!(body["thread"]["previous_message_id"], sent, "{id}");
    }
}

#[test]
fn a_snapshot_of_a_freed_conversation_is_never_sent_as_a_whole_one() {
    let (tools, clock) = (Counting::usual(), VirtualClock::new(0));
    for (from, to, thread, expected) in [
        ("\"thread\":[", "\"thread\":[", MessageThread::Free, ENDED),
        ("\"thread\":[", "\"thread\":[", MessageThread::Keep, ENDED),
        ("\"thread\":[", "\"thread\":[", MessageThread::Off, LOST),
        ("\"thread\":[", "\"thread\":[1", MessageThread::Free, LOST),
        ("\"thread\":[", "\"other\":[", MessageThread::Free, LOST),
    ] {
        let (mut driver, run) = freed(&tools, &clock);
        let snapshot = saved(&run);
        assert!(snapshot.starts_with("{\"toolrunner_snapshot\":2,"), "{snapshot}");
        let snapshot = changed(&snapshot, from, to);
        let mut restored = Run::from_snapshot(snapshot.as_bytes(), Transcript::growing()).unwrap();
        assert!(saved(&restored).starts_with("{\"toolrunner_snapshot\":2,"));
        let transport = core::mem::replace(driver.transport_mut(), scripted(Script::new()));
        let mut driver = over(transport, thread, &tools, &clock);
        assert_eq!(go(&mut driver, &mut restored), expected, "{to} {thread:?}");
        assert_eq!(requests(&mut driver), if expected == LOST { 3 } else { 4 });
    }
}

#[test]
fn a_configuration_with_a_thread_of_its_own_is_refused() {
    let params = r#""thread":{"type":"create"}"#;
    config(MessageThread::Off).params(params).check().unwrap();
    config(MessageThread::Keep).params(params).check().unwrap_err();
    let headers = [("a", "b"); 6];
    config(MessageThread::Off).headers(&headers).check().unwrap();
    config(MessageThread::Keep).headers(&headers).check().unwrap_err();
}
