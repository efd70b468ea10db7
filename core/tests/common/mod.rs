//! Shared by the loop's suites: a run fed by hand, its events as text, tools that count, and a
//! check after every step.
#![allow(dead_code, unreachable_pub, reason = "each suite is a program of its own and uses a part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::std_instead_of_core,
    clippy::std_instead_of_alloc,
    reason = "a test fails by panicking"
)]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use serde_json::{Value as Json, json};
use toolrunner_core::drive::Driver;
use toolrunner_core::error::Error;
use toolrunner_core::json::Text;
use toolrunner_core::message::StopReason;
use toolrunner_core::observe::{Event, Observer};
use toolrunner_core::run::{Outcome, Run, Step};
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::testing::{
    Request, Script, ScriptedModel, ScriptedReply, ScriptedTransport, Style, VirtualClock,
};
use toolrunner_core::time::Instant;
use toolrunner_core::tool::{Definition, Output, ToolCall, ToolError, Toolbox};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::ReplyHead;
use toolrunner_core::wire::Config;

/// The part of a hand-written body before the messages.
pub const BEFORE: &[&[u8]] = &[b"{\"model\":\"m\",\"max_tokens\":9,\"messages\":["];

/// Polls `future` to its end. Whatever it waits for must wake at once, as the virtual clock does.
pub fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..10_000_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    panic!("the future does not end");
}

/// Polls `future` at most `polls` times. Returns `None` if it was dropped before its end.
pub fn poll_at_most<F: Future>(future: F, polls: usize) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
    }
    None
}

/// Returns the body that the scripted model sends in reply to a first request.
pub fn rendered(reply: ScriptedReply, style: Style, stream: bool) -> Vec<u8> {
    let mut model = ScriptedModel::new(Script::new().reply(reply)).style(style).lenient();
    let request = format!(
        r#"{{"model":"m","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"Hi"}}]}}"#
    );
    model.respond(Request::new("/v1/messages", request)).bytes()
}

/// Returns everything that an event lends, as text.
pub fn words(event: &Event<'_>) -> String {
    format!("{event:?}")
}

/// Feeds one piece and appends the events, as text.
pub fn feed(run: &mut Run<'_>, piece: &[u8], events: &mut Vec<String>) -> Result<(), Error> {
    let mut rest = piece;
    while let Some(stream_event) = run.feed(&mut rest)? {
        events.push(words(&run.mark_shown(stream_event)));
    }
    assert!(rest.is_empty(), "a piece is taken whole");
    Ok(())
}

/// Ends the body.
pub fn end(run: &mut Run<'_>, events: &mut Vec<String>) -> Result<(), Error> {
    while let Some(stream_event) = run.end_of_body()? {
        events.push(words(&run.mark_shown(stream_event)));
    }
    Ok(())
}

/// Does one exchange by hand: `Send`, then a reply of this status in these pieces. Checks the run
/// before and after.
pub fn exchange<'p>(
    run: &mut Run<'_>,
    status: u16,
    pieces: impl IntoIterator<Item = &'p [u8]>,
) -> (Vec<String>, Result<(), Error>) {
    assert_eq!(run.step(Instant::ZERO), Ok(Step::Send));
    assert_request(run);
    run.head_arrived(&ReplyHead::new(status));
    let mut events = Vec::new();
    for piece in pieces {
        if let Err(error) = feed(run, piece, &mut events) {
            return (events, Err(error));
        }
    }
    let ended = end(run, &mut events);
    if ended.is_ok() {
        assert_valid(run);
    }
    (events, ended)
}

/// Does an [`exchange`] with a reply that is complete and valid.
pub fn say(run: &mut Run<'_>, reply: ScriptedReply) -> Vec<String> {
    let body = rendered(reply, Style::default(), true);
    let (events, ended) = exchange(run, 200, [body.as_slice()]);
    assert_eq!(ended, Ok(()));
    events
}

/// Returns the outcome of a run that is over.
pub fn outcome(run: &mut Run<'_>) -> Outcome {
    match run.step(Instant::ZERO) {
        Ok(Step::Done(outcome)) => outcome,
        other => panic!("not over: {other:?}"),
    }
}

/// Asserts that the request that would be sent now is valid.
pub fn assert_request(run: &mut Run<'_>) {
    let body: Vec<u8> = run.body(BEFORE).pieces().flatten().copied().collect();
    let body: Json = serde_json::from_slice(&body).expect("the body is JSON");
    assert!(body["messages"].as_array().is_some_and(|messages| !messages.is_empty()));
}

/// Returns the conversation as values.
pub fn messages(run: &Run<'_>) -> Vec<Json> {
    let text = format!("[{}]", std::str::from_utf8(run.transcript().bytes()).expect("UTF-8"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

/// Asserts that the conversation is valid. If calls are open, their results are pending and cannot
/// be checked, so each gets the shortest answer before the check.
pub fn assert_valid(run: &Run<'_>) {
    let mut messages = messages(run);
    let open: Vec<String> = run
        .calls()
        .filter_map(|i| run.call(i))
        .filter(|call| !call.is_answered)
        .map(|call| call.id.to_string())
        .collect();
    let last = messages.iter().rposition(|message| message["role"] == "assistant");
    if let Some(last) = last.filter(|_| !open.is_empty()) {
        let results: Vec<Json> = open
            .iter()
            .map(|id| json!({"type":"tool_result","tool_use_id":id,"content":"x","is_error":true}))
            .collect();
        let answered =
            messages.get(last + 1).is_some_and(|next| next["content"][0]["type"] == "tool_result");
        if answered {
            messages[last + 1]["content"].as_array_mut().unwrap().extend(results);
        } else {
            messages.insert(last + 1, json!({"role":"user","content":results}));
        }
    }
    let texts: Vec<String> = messages.iter().map(ToString::to_string).collect();
    if let Err(invalid) = validity::check(texts.join(",").as_bytes(), Tail::Closed) {
        panic!("invalid: {invalid}\n{}", texts.join("\n"));
    }
}

/// What a [`Counting`] toolbox does with a call.
pub type Act = fn(&ToolCall<'_>, &mut Output<'_>) -> Result<(), ToolError>;

/// One tool of a [`Counting`] toolbox.
pub struct Tool {
    pub name: &'static str,
    pub json: &'static str,
    pub act: Act,
    /// How many times it yields before it acts.
    pub yields: usize,
    pub timeout: Option<core::time::Duration>,
    pub runnable: bool,
}

pub const PLAIN: &str = r#"{"name":"plain","description":"","input_schema":{"type":"object"}}"#;
pub const FAILING: &str = r#"{"name":"failing","description":"","input_schema":{"type":"object"}}"#;
pub const SLOW: &str = r#"{"name":"slow","description":"","input_schema":{"type":"object"}}"#;
pub const ASKS: &str = r#"{"name":"asks","description":"","input_schema":{"type":"object"}}"#;

impl Tool {
    /// Answers `ok`.
    pub fn plain() -> Self {
        Self {
            name: "plain",
            json: PLAIN,
            act: |_, out| Ok(out.text("ok")?),
            yields: 0,
            timeout: None,
            runnable: true,
        }
    }

    /// Fails with a text.
    pub fn failing() -> Self {
        Self {
            name: "failing",
            json: FAILING,
            act: |_, _| Err(ToolError::new("no luck")),
            ..Self::plain()
        }
    }

    /// Answers `late` after some polls.
    pub fn slow(yields: usize) -> Self {
        Self {
            name: "slow",
            json: SLOW,
            act: |_, out| Ok(out.text("late")?),
            yields,
            ..Self::plain()
        }
    }

    /// The caller answers it.
    pub fn asks() -> Self {
        Self { name: "asks", json: ASKS, runnable: false, ..Self::plain() }
    }

    pub fn acting(mut self, act: Act) -> Self {
        self.act = act;
        self
    }
}

/// Tools that record the ids of the calls that began and of those that ended, in order.
pub struct Counting {
    pub tools: Vec<Tool>,
    pub began: std::cell::RefCell<Vec<String>>,
    pub ended: std::cell::RefCell<Vec<String>>,
}

impl Counting {
    pub fn new(tools: impl IntoIterator<Item = Tool>) -> Self {
        Self {
            tools: tools.into_iter().collect(),
            began: Vec::new().into(),
            ended: Vec::new().into(),
        }
    }

    /// Returns a plain tool, one that fails, and one that takes three polls.
    pub fn usual() -> Self {
        Self::new([Tool::plain(), Tool::failing(), Tool::slow(3)])
    }

    pub fn began(&self) -> Vec<String> {
        self.began.borrow().clone()
    }
}

impl Toolbox for Counting {
    fn count(&self) -> usize {
        self.tools.len()
    }

    fn definition(&self, i: usize) -> Option<Definition<'_>> {
        self.tools.get(i).map(|tool| {
            let definition = Definition::new(tool.name, tool.json);
            let definition = if tool.runnable { definition } else { definition.declared() };
            tool.timeout.map_or(definition, |limit| definition.timeout(limit))
        })
    }

    async fn call(
        &self,
        i: usize,
        call: ToolCall<'_>,
        out: &mut Output<'_>,
    ) -> Result<(), ToolError> {
        let tool = &self.tools[i];
        self.began.borrow_mut().push(call.id.to_string());
        yields(tool.yields).await;
        let result = (tool.act)(&call, out);
        self.ended.borrow_mut().push(call.id.to_string());
        result
    }
}

/// Is pending this many times.
pub async fn yields(mut times: usize) {
    std::future::poll_fn(|cx| {
        if times == 0 {
            return Poll::Ready(());
        }
        times -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Records events as text.
#[derive(Default)]
pub struct Seen {
    pub events: Vec<String>,
    pub forgets: bool,
}

impl Observer for Seen {
    fn see(&mut self, event: &Event<'_>) {
        self.events.push(words(event));
    }

    fn hands_on(&self) -> bool {
        !self.forgets
    }
}

/// Returns the unescaped text.
pub fn plain(text: Text<'_>) -> String {
    text.to_string()
}

/// A driver with a script.
pub type Drive<'d> = Driver<'d, ScriptedTransport, Counting, &'d VirtualClock>;

pub fn drive<'d>(script: Script, tools: &'d Counting, clock: &'d VirtualClock) -> Drive<'d> {
    drive_over(ScriptedTransport::new(ScriptedModel::new(script)), tools, clock)
}

pub fn drive_over<'d>(
    transport: ScriptedTransport,
    tools: &'d Counting,
    clock: &'d VirtualClock,
) -> Drive<'d> {
    Driver::new(Config::new("m", 64), transport, tools, clock).unwrap()
}

/// Drives the run to its end, and checks the conversation and every request that was sent.
pub fn until_done(driver: &mut Drive<'_>, run: &mut Run<'_>) -> Result<Outcome, Error> {
    let outcome = block_on(driver.until_done(run, &mut ())).map_err(|failed| failed.error);
    assert_valid(run);
    assert_eq!(driver.transport_mut().model().complaints(), [""; 0]);
    outcome
}

/// Drives one turn, and checks the conversation.
pub fn next_turn(driver: &mut Drive<'_>, run: &mut Run<'_>) -> Result<Option<Outcome>, Error> {
    let outcome = block_on(driver.next_turn(run, &mut ())).map_err(|failed| failed.error);
    assert_valid(run);
    assert_eq!(driver.transport_mut().model().complaints(), [""; 0]);
    outcome
}

/// Returns how many requests reached the model.
pub fn requests(driver: &mut Drive<'_>) -> usize {
    driver.transport_mut().model().requests().len()
}

/// Returns the messages of the last request.
pub fn last_request(driver: &mut Drive<'_>) -> Vec<Json> {
    let body = driver.transport_mut().model().requests().last().unwrap().body.clone();
    serde_json::from_slice::<Json>(&body).unwrap()["messages"].as_array().unwrap().clone()
}

/// Returns a run with one prompt, in memory that grows.
pub fn run() -> Run<'static> {
    let mut run = Run::new(Transcript::growing());
    run.user("Hi").unwrap();
    run
}

/// The end of a run whose model ended its turn.
pub const ENDED: Result<Outcome, Error> = Ok(Outcome::Ended(Some(StopReason::EndTurn)));

/// Returns a reply with one call of the usual tool.
pub fn called() -> ScriptedReply {
    ScriptedReply::text("Let me see.").tool_use("toolu_1", "plain", r#"{"a":1}"#)
}

/// Returns a result as it is sent.
pub fn result(id: &str, content: &str) -> Json {
    json!({"type":"tool_result","tool_use_id":id,"content":content})
}

/// Returns the result of a failed call as it is sent.
pub fn failure(id: &str, content: &str) -> Json {
    json!({"type":"tool_result","tool_use_id":id,"content":content,"is_error":true})
}

/// Runs one turn with this reply and a second one that ends, and returns the results that were
/// sent.
pub fn results_of(reply: ScriptedReply, tools: &Counting) -> Json {
    let clock = VirtualClock::new(0);
    let mut driver =
        drive(Script::new().reply(reply).reply(ScriptedReply::text("Done.")), tools, &clock);
    let mut run = run();
    assert_eq!(until_done(&mut driver, &mut run), ENDED);
    let sent = last_request(&mut driver);
    assert_eq!(sent.len(), 3);
    assert_eq!(sent[2]["role"], "user");
    sent[2]["content"].clone()
}
