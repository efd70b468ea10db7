//! Agents whose runs use message threads.

use toolrunner_std::MessageThread;
use toolrunner_std::machine::testing::ThreadSupport;

use super::*;

/// An agent whose runs keep message threads on the server.
fn threaded(thread: MessageThread) -> (ScriptedServer, Api) {
    /// Deletes something.
    #[tool(requires_approval)]
    fn dangerous() -> &'static str {
        "deleted"
    }
    let script = Script::new()
        .reply(ScriptedReply::default().tool_use("call_1", "dangerous", "{}"))
        .reply(ScriptedReply::text("Deleted."))
        .reply(ScriptedReply::text("You are welcome."));
    let model = ScriptedModel::new(script).threads(ThreadSupport::Keep);
    let scripted = ScriptedServer::new(model);
    let agent = Agent::new(scripted.client(), "m").tools(dangerous);
    let agent = agent.configure(move |builder| builder.message_thread(thread));
    let api = Api(Server::new(agent, Arc::new(MemoryStore::new()), Options::default()));
    (scripted, api)
}

#[tokio::test]
async fn a_message_thread_shortens_the_requests_of_a_turn() {
    let (scripted, api) = threaded(MessageThread::Keep);
    let session = api.interrupted().await;
    let id = api.get(&session).await.json()["interrupts"][0]["interrupt_id"].clone();
    let approval = json!({"interrupt_id": id, "value": {"approved": true}}).to_string();
    api.post(&format!("{session}/resume"), &approval).await.is(200);
    let now = api.get(&format!("{session}?wait=true")).await.json();
    assert_eq!(now["response"]["content"], "Deleted.", "{now}");
    let next = api.say(&session, "Thanks.").await.is(200).json();
    assert_eq!(next["response"]["content"], "You are welcome.", "{next}");
    let model = scripted.model();
    assert_eq!(model.complaints(), [] as [String; 0]);
    let counts: Vec<usize> = model
        .requests()
        .iter()
        .map(|request| request.json().member("messages").unwrap().elements().count())
        .collect();
    // The second request continues the thread. The next turn starts another one.
    assert_eq!(counts, [1, 1, 5]);
}

#[tokio::test]
async fn a_thread_that_frees_messages_is_refused_because_the_session_keeps_them() {
    let (scripted, api) = threaded(MessageThread::Free);
    let session = api.session().await;
    let failed = api.say(&session, "Delete it.").await.json();
    assert_eq!(failed["status"], "error", "{failed}");
    assert!(failed["error"].to_string().contains("MessageThread::Keep"), "{failed}");
    assert!(scripted.model().requests().is_empty());
}
