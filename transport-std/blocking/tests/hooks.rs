//! The gate, the hook on results, calls that start while their reply is streamed, and what stays of
//! a reply that breaks off.

mod common;

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;

use common::serve;
use toolrunner_blocking::{
    Decision, Event, GatedCall, MakeRoom, OnBreak, Outcome, RetryPolicy, ToolContext, WhenFull,
    tool, toolbox,
};
use toolrunner_core::testing::{Answer, Chunk, Script, ScriptedReply};

/// Longer than any test takes, so that one that waits for it fails.
const LONG: Duration = Duration::from_secs(60);

/// Double a number.
#[tool]
fn double(n: i64) -> i64 {
    n * 2
}

/// Send a message.
#[tool(requires_approval)]
fn send_message(text: String) -> String {
    format!("sent: {text}")
}

fn call_of(name: &str, input: &str) -> Script {
    Script::new()
        .reply(ScriptedReply::new().tool_use("t1", name, input))
        .reply(ScriptedReply::text("Done."))
}

#[test]
fn a_gate_decides_about_each_call() {
    type Gate = fn(GatedCall) -> Decision;
    let cases: [(Gate, &str); 6] = [
        (|_| Decision::Allow, r#""content":"42""#),
        (|_| Decision::deny("not today"), r#""content":"not today","is_error":true"#),
        (|_| Decision::deny(""), r#""content":"Error: not allowed","is_error":true"#),
        (|_| Decision::answer("seven"), r#""content":"seven""#),
        (|call| Decision::Input(call.input.replace("21", "4")), r#""content":"8""#),
        (|_| panic!("the gate fell over"), r#""content":"Error: not run","is_error":true"#),
    ];
    for (gate, expected) in cases {
        let server = serve(call_of("double", r#"{"n":21}"#));
        let mut run = server.client().run("m").tools(double).gate(gate).user("Double 21.");
        assert_eq!(run.until_done().unwrap().text(), "Done.");
        let messages = run.messages();
        assert!(messages.contains(expected), "{expected}: {messages}");
        // The conversation keeps the model's own input.
        assert!(messages.contains(r#""input":{"n":21}"#), "{messages}");
        server.assert_valid(&run);
    }
}

#[test]
fn what_a_gate_cannot_mean_does_not_run_the_tool() {
    let mistakes = [
        Decision::Input("[]".to_owned()),
        Decision::Input("{".to_owned()),
        Decision::Answer { content: "7".to_owned(), is_error: false },
        Decision::Answer { content: "\"\"".to_owned(), is_error: true },
    ];
    for mistake in mistakes {
        let server = serve(call_of("double", r#"{"n":21}"#));
        let decision = mistake.clone();
        let gate = move |_| decision.clone();
        let mut run = server.client().run("m").tools(double).gate(gate).user("Double 21.");
        assert_eq!(run.until_done().unwrap().text(), "Done.");
        let messages = run.messages();
        assert!(messages.contains("Error: not run"), "{mistake:?}: {messages}");
        server.assert_valid(&run);
    }
}

#[test]
fn a_gate_knows_the_call() {
    let server = serve(call_of("send_message", r#"{"text":"Hi"}"#));
    let seen = Arc::new(Mutex::new(None));
    let own = Arc::clone(&seen);
    let gate = move |call: GatedCall| {
        *own.lock().unwrap() = Some(call);
        Decision::Allow
    };
    let mut run = server.client().run("m").tools(send_message).gate(gate).user("Greet.");
    run.until_done().unwrap();
    let call = seen.lock().unwrap().take().unwrap();
    assert_eq!((call.id.as_str(), call.name.as_str()), ("t1", "send_message"));
    assert_eq!((call.input.as_str(), call.turn), (r#"{"text":"Hi"}"#, 1));
    assert!(call.requires_approval);
}

#[test]
fn a_suspended_call_runs_when_it_is_allowed_and_the_gate_is_not_asked_again() {
    let server = serve(call_of("double", r#"{"n":21}"#));
    let client = server.client();
    let suspend = |_| Decision::Suspend;
    let mut run = client.run("m").tools(double).gate(suspend).user("Double 21.");
    assert_eq!(run.until_done().unwrap().outcome, Outcome::NeedsAnswer);
    assert!(run.allow("t2").is_err());
    // A snapshot has the call too.
    let mut other = client.run("m").tools(double).gate(suspend).resume(&run.snapshot().unwrap());
    assert_eq!(other.until_done().unwrap().outcome, Outcome::NeedsAnswer);
    run.allow("t1").unwrap();
    assert!(matches!(run.next_event().unwrap(), Some(Event::ToolStart { .. })));
    assert_eq!(run.until_done().unwrap().text(), "Done.");
    assert!(run.messages().contains(r#""content":"42""#), "{}", run.messages());
    server.assert_valid(&run);
    other.answer("t1", "forty-two").unwrap();
    assert!(other.messages().contains("forty-two"), "{}", other.messages());
}

#[test]
fn a_run_that_waits_for_its_gate_can_be_cancelled() {
    let server = serve(call_of("double", r#"{"n":21}"#));
    let (asked, waits) = channel();
    let asked = Mutex::new(asked);
    let gate = move |_| {
        asked.lock().unwrap().send(()).unwrap();
        thread::sleep(LONG);
        Decision::Allow
    };
    let builder = server.client().run("m").tools(double).gate(gate).grace(Duration::ZERO);
    let mut run = builder.user("Double 21.");
    let cancellation = run.cancellation();
    let other = thread::spawn(move || {
        waits.recv_timeout(LONG).unwrap();
        cancellation.cancel();
    });
    assert_eq!(run.until_done().unwrap().outcome, Outcome::Stopped);
    other.join().unwrap();
    server.assert_valid(&run);
}

#[test]
fn a_hook_changes_results_and_a_panic_leaves_them() {
    let run_with = |change: fn(&mut toolrunner_blocking::ResultDraft)| {
        let server = serve(call_of("double", r#"{"n":21}"#));
        let mut run = server.client().run("m").tools(double).on_result(change).user("Double 21.");
        run.until_done().unwrap();
        server.assert_valid(&run);
        run.messages()
    };
    let messages = run_with(|draft| {
        let text = format!("{} is {}", draft.name, draft.text());
        draft.replace(&text);
    });
    assert!(messages.contains("double is 42"), "{messages}");
    let messages = run_with(|_| panic!("the hook fell over"));
    assert!(messages.contains(r#""content":"42""#), "{messages}");
}

#[test]
fn a_long_result_is_cut_with_a_note() {
    let input = format!(r#"{{"text":"{}"}}"#, "x".repeat(500));
    let server = serve(call_of("send_message", &input));
    let builder = server.client().run("m").tools(send_message).result_cap(100);
    let mut run = builder.user("Greet.");
    run.until_done().unwrap();
    assert!(run.messages().contains("bytes cut"), "{}", run.messages());
    server.assert_valid(&run);
}

struct Reporter(Mutex<Sender<&'static str>>);

#[toolbox]
impl Reporter {
    /// Report that the call runs, and end when it is cancelled.
    #[tool]
    async fn report(&self, context: &ToolContext<'_>) -> &'static str {
        self.0.lock().unwrap().send("started").unwrap();
        context.cancelled().await;
        "reported"
    }
}

/// The events of a reply with a call up to `end`.
fn cut_reply(end: &str, then: Chunk) -> Answer {
    let events = [
        r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"model":"m","stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":"One moment."}}"#,
        r#"{"type":"content_block_stop","index":0}"#,
        r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t1","name":"report","input":{}}}"#,
        r#"{"type":"content_block_stop","index":1}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}"#,
    ];
    let last = events.iter().position(|event| event.contains(end)).unwrap();
    let body: String = events[..=last].iter().map(|event| format!("data: {event}\n\n")).collect();
    Answer::chunks(200, vec![Chunk::Data(body.into_bytes()), then])
        .header("content-type", "text/event-stream")
}

#[test]
fn an_eager_call_starts_before_its_reply_ends_and_its_result_stays() {
    let stalls = cut_reply(r#""index":2"#, Chunk::Wait(LONG));
    let server = serve(Script::new().answer(stalls).reply(ScriptedReply::text("Done.")));
    let (started, seen) = channel();
    let builder = server.client().run("m").eager(true).grace(LONG);
    let mut run = builder.tools(Reporter(Mutex::new(started))).user("Report.");
    let cancellation = run.cancellation();
    let other = thread::spawn(move || {
        // The reply has not ended, and never will.
        seen.recv_timeout(LONG).unwrap();
        cancellation.cancel();
    });
    let finished = run.until_done().unwrap();
    assert_eq!((finished.text(), finished.outcome), ("One moment.".to_owned(), Outcome::Stopped));
    other.join().unwrap();
    let messages = run.messages();
    assert!(messages.contains("One moment.") && messages.contains("reported"), "{messages}");
    assert_eq!(run.resume().until_done().unwrap().text(), "Done.");
    server.assert_valid(&run);
}

#[test]
fn the_whole_blocks_of_a_broken_reply_stay_if_that_is_set() {
    for (on_break, stays) in [(OnBreak::Drop, false), (OnBreak::KeepBlocks, true)] {
        let broken = cut_reply(r#""index":0}"#, Chunk::Reset);
        let server = serve(Script::new().answer(broken));
        let builder = server.client().run("m").on_break(on_break);
        let mut run =
            builder.retry_policy(RetryPolicy { retries: 0, ..RetryPolicy::DEFAULT }).user("Go.");
        run.until_done().unwrap_err();
        assert_eq!(run.messages().contains("One moment."), stays, "{}", run.messages());
        assert_eq!(run.outcome(), stays.then_some(Outcome::Broken));
        assert_eq!(
            run.message().map(|message| message.text()),
            stays.then(|| "One moment.".into())
        );
        server.assert_valid(&run);
    }
}

#[test]
fn the_oldest_turns_make_room() {
    let reply = || ScriptedReply::text(&"x".repeat(300));
    let script = (0..6).fold(Script::new(), |script, _| script.reply(reply()));
    let server = serve(script);
    let policy = WhenFull { room: 500, then: MakeRoom::DropOldest };
    let mut run = server.client().run("m").capacity(1500).when_full(policy).user("First.");
    for _ in 0..5 {
        run.until_done().unwrap();
        run.user("More.").unwrap();
    }
    assert_eq!(run.until_done().unwrap().text().len(), 300);
    assert!(!run.messages().contains("First."), "{}", run.messages());
    server.assert_valid(&run);
}

struct Press;

static NOW: AtomicUsize = AtomicUsize::new(0);
static MOST: AtomicUsize = AtomicUsize::new(0);

#[toolbox]
impl Press {
    /// Prints.
    #[tool(serial)]
    fn print(&self) -> &'static str {
        MOST.fetch_max(NOW.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        thread::sleep(Duration::from_millis(50));
        NOW.fetch_sub(1, Ordering::SeqCst);
        "printed"
    }
}

/// Calls that the caller allows start by the same rules as all others.
#[test]
fn allowed_calls_of_a_serial_tool_run_one_after_another() {
    let calls = ["t1", "t2", "t3"]
        .iter()
        .fold(ScriptedReply::new(), |reply, id| reply.tool_use(id, "print", "{}"));
    let server = serve(Script::new().reply(calls).reply(ScriptedReply::text("Done.")));
    let mut run = server.client().run("m").tools(Press).gate(|_| Decision::Suspend).user("Go.");
    assert_eq!(run.until_done().unwrap().outcome, Outcome::NeedsAnswer);
    for id in ["t1", "t2", "t3"] {
        run.allow(id).unwrap();
    }
    assert_eq!(run.until_done().unwrap().text(), "Done.");
    assert_eq!(MOST.load(Ordering::SeqCst), 1);
    assert_eq!(run.messages().matches("printed").count(), 3);
}
