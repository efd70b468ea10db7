//! Message threads of a run: its requests, their betas, copies, and a thread that is lost.

mod common;

use common::{assert_valid, calls, echo, scripted};
use toolrunner_core::testing::{Request, Script, ScriptedModel, ScriptedReply, ThreadSupport};
use toolrunner_std::fallback::Fallbacks;
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Event, MessageThread, Outcome, Run};

const BETA: &str = "message-threads-2026-08-12";

/// Returns replies with `count` calls, and a last one without.
fn long(count: usize) -> Script {
    let script = (0..count)
        .fold(Script::new(), |script, i| script.reply(calls(&[&format!("t{i}")], "echo")));
    script.reply(ScriptedReply::text("Done.")).reply(ScriptedReply::text("And more."))
}

fn start(scripted: &ScriptedServer, thread: MessageThread) -> Run {
    let client = scripted.builder().beta("one").build().unwrap();
    client.run("m").system("Be brief.").tools(echo("echo")).message_thread(thread).user("Go.")
}

/// Describes a request: what its thread does, how many messages it contains, whether it has the
/// members that a thread keeps, and its betas.
fn shape(request: &Request) -> (String, String) {
    let json = request.json();
    let thread = json.member("thread").and_then(|thread| thread.member("type"));
    let kind = thread.and_then(|kind| kind.as_text()).map(|kind| kind.to_string());
    let kept = ["system", "tools"].map(|name| json.member(name).is_some());
    let kept = match kept {
        [true, true] => "+",
        [false, false] => "",
        _ => "?",
    };
    let betas: Vec<&str> = request
        .headers
        .iter()
        .filter(|(name, _)| name == "anthropic-beta")
        .map(|(_, value)| value.as_str())
        .collect();
    let kind = kind.unwrap_or_else(|| "whole".to_owned());
    (format!("{kind} {}{kept}", request.messages().count()), betas.join(";"))
}

fn shapes(scripted: &ScriptedServer) -> Vec<String> {
    scripted.requests().iter().map(|request| shape(request).0).collect()
}

#[tokio::test]
async fn the_beta_joins_the_others_while_there_is_a_thread() {
    for stream in [false, true] {
        let kept = scripted(long(2));
        let mut run = start(&kept, MessageThread::Keep);
        run.params_mut().set("metadata", 1).unwrap();
        run.until_done().await.unwrap();
        assert_valid(&run, &kept);
        let both = format!("one,{BETA}");
        let expected = ["create 1+", "continue 1", "continue 1"];
        let expected = expected.map(|shape| (shape.to_owned(), both.clone()));
        assert_eq!(kept.requests().iter().map(shape).collect::<Vec<_>>(), expected);

        let model = ScriptedModel::new(long(1)).threads(ThreadSupport::Refuse);
        let refused = ScriptedServer::new(model);
        let client = refused.client();
        let builder = client.run("m").tools(echo("echo")).stream(stream);
        let mut run = builder.message_thread(MessageThread::Keep).user("Go.");
        run.until_done().await.unwrap();
        let betas: Vec<_> =
            refused.requests().iter().map(|request| shape(request).1.clone()).collect();
        assert_eq!(betas, [BETA, "", ""]);
    }
}

#[tokio::test]
async fn a_copy_starts_a_thread_of_its_own() {
    let scripted = scripted(long(1));
    let mut run = start(&scripted, MessageThread::Keep);
    run.next_turn().await.unwrap().unwrap().results().await.unwrap();
    let mut copy = run.fork().unwrap();
    run.until_done().await.unwrap();
    copy.until_done().await.unwrap();
    assert_eq!(shapes(&scripted), ["create 1+", "continue 1", "create 3+"]);
    assert_valid(&copy, &scripted);
}

#[tokio::test]
async fn other_tools_start_a_new_thread() {
    let scripted = scripted(long(3));
    let mut run = start(&scripted, MessageThread::Keep);
    for turn in 1..=3 {
        run.next_turn().await.unwrap().unwrap().results().await.unwrap();
        if turn == 2 {
            run.set_tools((echo("echo"), echo("other"))).unwrap();
        }
    }
    run.params_mut().max_tokens(9);
    run.until_done().await.unwrap();
    assert_eq!(shapes(&scripted), ["create 1+", "continue 1", "create 5+", "continue 1"]);
}

#[tokio::test]
async fn other_tools_are_an_error_once_messages_were_freed() {
    let scripted = scripted(long(3));
    let mut run = start(&scripted, MessageThread::Free);
    for _ in 0..3 {
        run.next_turn().await.unwrap().unwrap().results().await.unwrap();
    }
    run.set_tools(echo("other")).unwrap();
    let error = run.until_done().await.unwrap_err().to_string();
    assert!(error.contains("the system prompt and the tools cannot change"), "{error}");
    assert_eq!(shapes(&scripted).len(), 3);
    run.set_tools(echo("echo")).unwrap();
    assert_eq!(run.until_done().await.unwrap().text(), "Done.");
}

#[tokio::test]
async fn a_lost_thread_is_an_outcome_once_messages_were_freed() {
    let scripted = scripted(long(3));
    let mut run = start(&scripted, MessageThread::Free);
    for _ in 0..3 {
        run.next_turn().await.unwrap().unwrap().results().await.unwrap();
    }
    scripted.model().lose_threads();
    let finished = run.until_done().await.unwrap();
    assert_eq!(finished.outcome, Outcome::ThreadLost);
    assert_eq!(finished.outcome.to_string(), "the server lost the message thread");
    assert_eq!(run.messages().matches("\"role\"").count(), 2, "the last reply and its results");
    // The builder of another program restores it.
    let snapshot = run.snapshot().unwrap();
    let client = scripted.client();
    let mut run = client.run("m").message_thread(MessageThread::Free).resume(&snapshot);
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::ThreadLost);
}

/// Its calls would be made without knowledge of the conversation.
#[tokio::test]
async fn no_call_of_an_ignored_thread_starts_early() {
    let script = Script::new()
        .reply(calls(&["t0"], "echo"))
        .reply(calls(&["wrong"], "echo").and_text("Hm."))
        .reply(calls(&["t1"], "echo"))
        .reply(ScriptedReply::text("Done."));
    let scripted = ScriptedServer::new(ScriptedModel::new(script).threads(ThreadSupport::Ignore));
    let tool = echo("echo");
    let client = scripted.client();
    let builder = client.run("m").tools(tool.clone()).eager(true);
    let mut run = builder.message_thread(MessageThread::Keep).user("Go.");
    let mut retries = 0;
    while let Some(event) = run.next_event().await.unwrap() {
        retries += usize::from(matches!(event, Event::Retry { .. }));
    }
    assert_eq!((tool.ran(), retries), (vec!["t0".to_owned(), "t1".to_owned()], 1));
    assert_eq!(run.message().unwrap().text(), "Done.");
}

#[tokio::test]
async fn a_parameter_of_the_same_name_is_an_error() {
    let scripted = scripted(long(0));
    let client = scripted.client();
    let thread = serde_json::json!({"type": "create"});
    let builder = client.run("m").param("thread", thread).message_thread(MessageThread::Keep);
    let error = builder.user("Go.").until_done().await.unwrap_err().to_string();
    assert!(error.contains("the parameter \"thread\" is set beside a message thread"), "{error}");
    assert_eq!(scripted.requests().len(), 0);
}

#[tokio::test]
async fn fallbacks_of_the_client_are_refused() {
    let scripted = ScriptedServer::new(ScriptedModel::new(long(1)));
    let fallbacks = Fallbacks::new().model("other");
    let client = scripted.builder().fallbacks(fallbacks).build().unwrap();
    let mut run = client.run("m").message_thread(MessageThread::Keep).user("Hello");
    let error = run.until_done().await.unwrap_err();
    assert!(error.to_string().contains("cannot be combined with fallbacks"), "{error}");
    assert!(scripted.requests().is_empty());
    // Without a thread, the same client works.
    assert!(client.run("m").user("Hello").until_done().await.is_ok());
}

#[tokio::test]
async fn fallbacks_that_come_later_end_the_thread() {
    let scripted = scripted(long(1));
    let mut run = start(&scripted, MessageThread::Keep);
    let first = run.next_turn().await.unwrap().unwrap();
    drop(first);
    let fallbacks = Fallbacks::new().model("other");
    run.change_settings(|client| client.fallbacks(fallbacks)).unwrap();
    assert!(run.until_done().await.is_ok());
    let requests = scripted.requests();
    let threads = requests.iter().map(|request| request.json().member("thread").is_some());
    assert_eq!(threads.collect::<Vec<_>>(), [true, false]);
    let messages = requests[1].json().member("messages").unwrap();
    assert_eq!(messages.elements().count(), 3, "the whole conversation");
    assert_valid(&run, &scripted);
}
