//! Thousands of runs that wait for an answer are small. This is a program of its own, because it
//! counts the allocations of the process.

use allocation_counter::measure;
use bytes::Bytes;
use toolrunner_core::testing::{Request, Script, ScriptedModel, ScriptedReply};
use toolrunner_core::transport::{Body, Head, Reply, ReplyHead};
use toolrunner_std::http::{DynTransport, HttpBody, HttpTransport, SendFuture};
use toolrunner_std::run::GatedCall;
use toolrunner_std::{Client, Decision, Outcome, Run, tool};

const RUNS: usize = 10_000;
/// The maximum size of each run besides its conversation: 41 MB for all.
const MOST_EACH: usize = 4_100;

/// Get the current weather in a given location.
#[tool]
fn get_weather(
    /// The city and state, e.g. San Francisco, CA
    location: &str,
) -> String {
    format!("{location}: sunny")
}

/// Add two numbers together.
#[tool]
fn calculate_sum(
    /// First number
    a: i64,
    /// Second number
    b: i64,
) -> i64 {
    a.saturating_add(b)
}

/// Answers every request with the same bytes, and keeps nothing.
struct Same(Bytes);

impl DynTransport for Same {
    fn send<'a>(&'a self, _: &'a Head<'_>, _: &'a Body<'_>) -> SendFuture<'a> {
        Box::pin(async {
            Ok(Reply { head: ReplyHead::new(200), body: HttpBody::from_pieces([self.0.clone()]) })
        })
    }
}

/// Returns a client whose model answers every request with a tool call.
fn client() -> Client {
    let reply = ScriptedReply::text("Let me look.").tool_use(
        "toolu_1",
        "get_weather",
        r#"{"location":"Paris"}"#,
    );
    let request =
        r#"{"model":"m","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"Hi"}]}"#;
    let mut model = ScriptedModel::new(Script::new().reply(reply)).lenient();
    let same = Same(model.respond(Request::new("/v1/messages", request)).bytes().into());
    let builder = Client::builder().base_url("http://scripted").api_key("k");
    builder.transport(HttpTransport::from_dyn(same)).build().unwrap()
}

/// Returns a run that waits for permission for its call.
async fn suspended(client: &Client) -> Run {
    let gate = |_: GatedCall| async { Decision::Suspend };
    let run = client.run("claude-opus-4-7").tools((get_weather, calculate_sum)).gate(gate);
    let mut run = run.system("You know the weather.").user("What's the weather like in Paris?");
    assert_eq!(run.until_done().await.unwrap().outcome, Outcome::NeedsAnswer);
    run
}

#[test]
fn ten_thousand_that_wait_for_an_answer_are_small() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let client = client();
    // Shared data that the first run sets up is not counted for each run.
    runtime.block_on(suspended(&client));
    let mut runs = Vec::new();
    let held = measure(|| {
        runs = Vec::with_capacity(RUNS);
        for _ in 0..RUNS {
            runs.push(runtime.block_on(suspended(&client)));
        }
    });
    assert!(runs.iter().all(|run| run.waiting_calls() == ["toolu_1"]));
    let said: usize = runs.iter().map(|run| run.machine().transcript().len()).sum();
    let held = usize::try_from(held.bytes_current).unwrap();
    let each = (held - said) / RUNS;
    println!("{RUNS} suspended runs: {each} bytes each beside {} of conversation", said / RUNS);
    assert!(each <= MOST_EACH, "{each} bytes each");
}
