//! Changes of the conversation at unusual times: while a summary is pending, after an error, in a
//! snapshot, and in memory that is nearly full. The conversation stays valid.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]
#![cfg(feature = "alloc")]

use toolrunner_core::error::Error;
use toolrunner_core::json::Value;
use toolrunner_core::run::{Run, Step, ToolAnswer};
use toolrunner_core::time::Instant;
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;
use toolrunner_core::wire::MessageThread;

fn feed(run: &mut Run<'_>, status: u16, mut reply: &[u8]) -> Result<(), Error> {
    assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Send);
    run.head_arrived(&ReplyHead::new(status));
    while run.feed(&mut reply)?.is_some() {}
    while run.end_of_body()?.is_some() {}
    Ok(())
}

fn calls(ids: &[&str]) -> String {
    let blocks: Vec<String> = ids
        .iter()
        .map(|id| format!(r#"{{"type":"tool_use","id":"{id}","name":"a","input":{{}}}}"#))
        .collect();
    format!(r#"{{"content":[{}],"stop_reason":"tool_use"}}"#, blocks.join(","))
}

fn valid(run: &Run<'_>) {
    let text = core::str::from_utf8(run.messages()).unwrap().to_owned();
    let mut other = Run::new(Transcript::growing());
    assert_eq!(other.replace_history(&text), Ok(()), "{text}");
}

/// An error's body is in the tail, which a change overwrites.
#[test]
fn error_body_after_a_replacement() {
    let mut run = Run::new(Transcript::growing());
    run.user("Go.").unwrap();
    feed(&mut run, 200, calls(&["t1"]).as_bytes()).unwrap();
    assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Call);
    run.answer(0.into(), ToolAnswer::ok(&"x".repeat(300))).unwrap();
    feed(&mut run, 200, calls(&["t2"]).as_bytes()).unwrap();
    assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Call);
    run.answer(0.into(), ToolAnswer::ok("y")).unwrap();
    let body =
        br#"{"type":"error","error":{"type":"invalid_request_error","message":"too large"}}"#;
    let error = feed(&mut run, 400, body).unwrap_err();
    run.failed(error, Instant::ZERO, 0).unwrap_err();
    assert_eq!(run.error_body(), body);
    run.replace_result_of("t1", ToolAnswer::ok("short")).unwrap();
    assert_eq!(run.error_body(), b"");
}

/// Another result goes directly before the brackets that close the message.
#[test]
fn a_snapshot_with_more_behind_the_results_is_refused() {
    for (from, to) in [("a\"}]}", "a\"}] }"), ("a\"}]}", "a\"}],\"x\":1}")] {
        let mut run = Run::new(Transcript::growing());
        run.user("Go.").unwrap();
        feed(&mut run, 200, calls(&["t1", "t2"]).as_bytes()).unwrap();
        assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Call);
        run.answer(0.into(), ToolAnswer::ok("a")).unwrap();
        let mut snapshot = Vec::new();
        run.snapshot(&mut snapshot).unwrap();
        let text = String::from_utf8(snapshot).unwrap();
        let end = run.messages().len();
        let at = text.find(",\"sum\"").unwrap();
        let text = format!("{}}}", text.split_at(at).0);
        assert!(text.contains(from));
        let text = text
            .replace(from, to)
            .replace(&format!("{end}"), &format!("{}", end + to.len() - from.len()));
        let Ok(mut run) = Run::from_snapshot(text.as_bytes(), Transcript::growing()) else {
            continue;
        };
        run.answer(1.into(), ToolAnswer::ok("b")).unwrap();
        valid(&run);
    }
}

/// A summary on the server is repeated without a thread; before that, a result changes.
#[test]
fn a_result_changes_while_a_summary_is_pending() {
    for change in 0..4 {
        let mut run = Run::new(Transcript::growing());
        run.set_message_thread(MessageThread::Keep);
        run.user("Hello.").unwrap();
        let reply = br#"{"id":"msg_0","content":[{"type":"text","text":"Hello."}],"stop_reason":"end_turn","usage":{"input_tokens":40,"output_tokens":5}}"#;
        feed(&mut run, 200, reply).unwrap();
        run.user("Go.").unwrap();
        let reply = calls(&["t1"]).replacen(
            '{',
            r#"{"id":"msg_1","usage":{"input_tokens":50,"output_tokens":5},"#,
            1,
        );
        feed(&mut run, 200, reply.as_bytes()).unwrap();
        assert_eq!(run.step(Instant::ZERO).unwrap(), Step::Call);
        run.answer(0.into(), ToolAnswer::ok("a long result")).unwrap();
        run.compact_on_server();
        let body = br#"{"type":"error","error":{"type":"invalid_request_error","message":"thread: unknown member"}}"#;
        let error = feed(&mut run, 400, body).unwrap_err();
        run.failed(error, Instant::ZERO, 0).unwrap();
        assert!(run.is_compacting());
        match change {
            0 => run.add_to_result(0.into(), r#""cache_control":{"type":"ephemeral"}"#).unwrap(),
            1 => run.replace_result(0.into(), ToolAnswer::ok("longer than before")).unwrap(),
            2 => run.cap_result(0.into(), 3).unwrap(),
            _ => assert!(run.drop_oldest_turn()),
        }
        let reply = br#"{"content":[{"type":"text","text":"No."}],"stop_reason":"end_turn"}"#;
        feed(&mut run, 200, reply).unwrap();
        valid(&run);
    }
}

/// Every call gets an answer in any memory in which the calls may start.
#[test]
fn results_of_any_size_in_any_memory() {
    let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
    let mut started = [0; 2];
    let sizes = (500..1100).step_by(3);
    for (size, order) in sizes.flat_map(|size| orders.map(|order| (size, order))) {
        for (appended, len) in
            [false, true].into_iter().flat_map(|a| [1, 5, 40, 1000].map(|l| (a, l)))
        {
            let mut memory = vec![0; size];
            let mut run = Run::new(Transcript::new(&mut memory));
            run.user("Go.").unwrap();
            let may_start = feed(&mut run, 200, calls(&["t1", "t2", "t3"]).as_bytes()).is_ok()
                && run.step(Instant::ZERO) == Ok(Step::Call)
                && (!appended || run.append(r#"{"role":"user","content":"More."}"#).is_ok());
            started[usize::from(may_start)] += 1;
            for i in order.into_iter().filter(|_| may_start) {
                let text = "x".repeat(len);
                run.answer(i.into(), ToolAnswer::error(&text)).unwrap();
                let text = format!("[{}]", core::str::from_utf8(run.messages()).unwrap());
                assert!(Value::parse(text.as_bytes()).is_ok(), "{text}");
            }
        }
    }
    assert!(started[0] > 0 && started[1] > 0, "{started:?}");
}

/// A summary that fails does not change what is known about the last reply.
#[test]
fn a_reply_is_requested_again_after_a_failed_summary() {
    let mut run = Run::new(Transcript::growing());
    run.user("Go.").unwrap();
    let reply = br#"{"content":[{"type":"text","text":"Bad."}],"stop_reason":"end_turn"}"#;
    feed(&mut run, 200, reply).unwrap();
    run.compact_on_server();
    let body = br#"{"type":"error","error":{"type":"overloaded_error","message":"o"}}"#;
    let error = feed(&mut run, 529, body).unwrap_err();
    run.failed(error, Instant::ZERO, 0).unwrap();
    run.ask_again().unwrap();
    assert_eq!(run.messages(), br#"{"role":"user","content":"Go."}"#);
}

#[test]
fn error_body_after_a_dropped_turn() {
    let mut run = Run::new(Transcript::growing());
    for _ in 0..2 {
        run.user("Something that is longer than the message below.").unwrap();
        feed(
            &mut run,
            200,
            br#"{"content":[{"type":"text","text":"Yes."}],"stop_reason":"end_turn"}"#,
        )
        .unwrap();
    }
    run.user("Go.").unwrap();
    let body =
        br#"{"type":"error","error":{"type":"invalid_request_error","message":"too large"}}"#;
    let error = feed(&mut run, 400, body).unwrap_err();
    run.failed(error, Instant::ZERO, 0).unwrap_err();
    run.append(r#"{"role":"user","content":"More."}"#).unwrap();
    assert_eq!(run.error_body(), b"");
    assert!(run.drop_oldest_turn());
    assert_eq!(run.error_body(), b"");
}
