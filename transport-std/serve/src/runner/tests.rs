//! Tests what a reply stores.

use toolrunner_std::machine::testing::{Script, ScriptedModel, ScriptedReply};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::tool;

use super::*;

struct Nobody;

impl Watcher for Nobody {
    fn preview(&self, _: Preview) {}
    fn model_request(&self) {}
    fn tool_call(&self, _: &str, _: bool) {}
}

/// Returns the run of a turn with this conversation, whose model calls a tool.
fn run_of(transcript: &str) -> Box<Loop> {
    /// Reads a file.
    #[tool]
    fn read() -> &'static str {
        "a file"
    }
    let script = Script::new().reply(ScriptedReply::default().tool_use("call_1", "read", "{}"));
    let client = ScriptedServer::new(ScriptedModel::new(script)).client();
    let agent = Agent::new(client, "m").tools(read);
    let session =
        Session { id: Uuid::now_v7(), owner: String::new(), metadata: Default::default() };
    let document = Document { active: Some(Default::default()), ..Document::default() };
    let (transcript, results) = (transcript.to_owned(), Results::new());
    let runner =
        Runner::new(&agent, &session, transcript, &document, &results, Arc::new(Nobody), None);
    match runner {
        Runner::Loop(this) => this,
        _ => panic!("the agent has a model"),
    }
}

fn conversation(run: &Loop) -> &str {
    core::str::from_utf8(run.run.machine().messages()).unwrap()
}

#[tokio::test]
async fn a_reply_stores_its_own_messages_and_the_start_of_a_snapshot() {
    let mut stored = json!({"role": "user", "content": "é ".repeat(10_000)}).to_string();
    let mut run = run_of(&stored);
    let before = stored.len();
    run.phase = Phase::Goes;
    let Fact::Reply(reply) = run.next().await else { panic!("a reply is first") };
    let snapshot = run.run.snapshot().unwrap();
    assert!(snapshot.starts_with(&format!("{},\"messages\":[", reply.frame)), "{}", reply.frame);
    let patch = reply.patch.unwrap();
    assert_eq!(patch.from, before as u64);
    assert!(Patch::apply(&patch.to_bytes(), &mut stored));
    assert_eq!(stored, conversation(&run));
    assert_eq!(run.transcript, stored);
}

#[tokio::test]
async fn a_change_begins_with_a_whole_character() {
    let mut run = run_of(r#"{"role":"user","content":"a è b"}"#);
    assert_eq!(run.patch(""), None);
    // The two characters have the same first byte.
    let mut stored = conversation(&run).replace('è', "é");
    run.transcript = stored.clone();
    let patch = run.patch(",{}").unwrap();
    assert_eq!(patch.from, stored.find('é').unwrap() as u64);
    assert!(Patch::apply(&patch.to_bytes(), &mut stored));
    assert_eq!(stored, format!("{},{{}}", conversation(&run)));
    assert_eq!(run.transcript, stored);
}

#[test]
fn the_common_prefix_is_found_at_every_distance_from_a_block() {
    let old: Vec<u8> = (0..10_000_usize).map(|i| (i % 251) as u8).collect();
    for at in [0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 9999] {
        let mut new = old.clone();
        new[at] ^= 1;
        assert_eq!(common_prefix(&old, &new), at);
        assert_eq!(common_prefix(&old, &old[..at]), at);
        assert_eq!(common_prefix(&old[..at], &old), at);
    }
    assert_eq!(common_prefix(&old, &old), old.len());
}
