//! The chip's configuration of the loop: the core's driver in memory of fixed size, with tools in a
//! `Toolbox`.

use std::collections::BTreeMap;
use std::sync::Arc;

use embedded_io_async::{BufRead, ErrorKind, ErrorType, Read};
use toolrunner_core::drive::{DriveError, Driver};
use toolrunner_core::error::{Error, TransportKind};
use toolrunner_core::json::Value;
use toolrunner_core::message::StopReason;
use toolrunner_core::observe::{Event, Observer};
use toolrunner_core::run::{Outcome, Run, ToolAnswer};
use toolrunner_core::testing::VirtualClock;
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::transport::{Body, Head, Reply, Transport, TransportError};
use toolrunner_core::wire::Config;

use super::{Ending, Engine, block_on};
use crate::replay::{Answer, Replay};
use crate::scenario::{Scenario, ScenarioTools};

/// The engine with the core's `Driver` and a transcript of fixed size.
#[derive(Clone, Copy, Debug)]
pub struct Embedded {
    /// The size of the transcript in bytes.
    pub capacity: usize,
}

impl Engine for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn capacity(&self) -> Option<usize> {
        Some(self.capacity)
    }

    fn run(&self, scenario: &Scenario, replay: &Arc<Replay>) -> Ending {
        run_over(InMemory(replay), self.capacity, scenario)
    }
}

/// Drives a run with a transcript of `capacity` bytes through the scenario, over any transport.
pub(super) fn run_over(transport: impl Transport, capacity: usize, scenario: &Scenario) -> Ending {
    let mut memory = vec![0; capacity];
    let mut run = Run::new(Transcript::new(&mut memory));
    let mut reason = Reason(None);
    run.limits_mut().turns = scenario.config.max_iterations;
    let ended = block_on(drive(&mut run, scenario, transport, &mut reason));
    // Pending calls are not compared. If messages follow them, the validity check cannot tell that
    // they are pending, so they are closed, as they are when another message is appended.
    if run.next_call().is_some()
        && let Err(error) = run.close_open_calls()
    {
        return Ending::Error(format!("open calls could not be closed: {error}"));
    }
    if let Err(invalid) = validity::check(run.transcript().bytes(), Tail::Open) {
        return Ending::Error(invalid.to_string());
    }
    match ended {
        Ok(Outcome::ThreadLost) => Ending::ThreadLost,
        Ok(_) => ending(&run, reason),
        Err(Error::Api(api)) => {
            Ending::api(run.api_error().map(|text| text.kind.to_string()).unwrap_or_default(), api)
        }
        Err(Error::Capacity(full)) => Ending::Capacity(full),
        Err(error) => Ending::Error(error.to_string()),
    }
}

async fn drive(
    run: &mut Run<'_>,
    scenario: &Scenario,
    transport: impl Transport,
    reason: &mut Reason,
) -> Result<Outcome, Error> {
    run.set_unique_ids(scenario.config.unique_ids)?;
    let (mut model, mut max_tokens, mut params) = (String::new(), 0, Vec::new());
    for (name, value) in scenario.params() {
        match name.as_str() {
            "model" => model = serde_json::from_str(value).unwrap_or_default(),
            "max_tokens" => max_tokens = value.parse().unwrap_or_default(),
            "messages" => run.replace_history(value)?,
            _ => {
                params.push(format!("{}:{value}", serde_json::to_string(&name).unwrap_or_default()))
            }
        }
    }
    if scenario.has_empty_tools() {
        params.push(r#""tools":[]"#.to_owned());
    }
    let params = params.join(",");
    let tools = scenario.all_tools();
    let compactions = compactions(scenario);
    // The changes of the tools that wait for a paused turn to end.
    let mut changes = Vec::new();
    let clock = VirtualClock::new(0);
    let config = Config::new(&model, max_tokens)
        .base_url("http://api.test")
        .params(&params)
        .message_thread(scenario.config.message_thread.setting())
        .stream(scenario.config.stream);
    let mut driver = Driver::new(config, transport, &tools, &clock)?;
    loop {
        let ended = driver.next_turn(run, reason).await.map_err(plain)?;
        match ended {
            Some(Outcome::NeedsAnswer) if answer_declared(run, &tools)? => continue,
            Some(outcome) => return Ok(outcome),
            None => {}
        }
        if let Some(cache_control) = &scenario.config.result_cache_control {
            driver.results(run, reason).await.map_err(plain)?;
            answer_declared(run, &tools)?;
            for i in run.calls() {
                if run.result(i).is_some() {
                    run.add_to_result(i, &format!("\"cache_control\":{}", cache_control.get()))?;
                }
            }
        }
        if let Some(actions) = scenario.config.after_turn.get(&run.turns()) {
            if let Some(most) = actions.set_max_tokens {
                driver.config_mut().max_tokens = most;
            }
            for message in &actions.append_after_results {
                run.append(message.get())?;
            }
            changes.extend(actions.tool_changes());
            if actions.restore {
                restore(run)?;
            }
        }
        // A chip has no `add_tools`: it appends the message.
        let is_held = run.outcome().is_some() || run.stop_reason() == Some(StopReason::PauseTurn);
        if !changes.is_empty() && !is_held {
            let blocks = core::mem::take(&mut changes).join(",");
            run.append(&format!(r#"{{"role":"system","content":[{blocks}]}}"#))?;
        }
        if let Some(parameter) = compactions.get(&run.turns()) {
            driver.config_mut().compaction = parameter;
            run.compact_on_server();
        }
    }
}

/// Continues from a snapshot, in other memory.
fn restore(run: &mut Run<'_>) -> Result<(), Error> {
    let mut snapshot = Vec::new();
    run.snapshot(&mut snapshot)?;
    let limits = *run.limits();
    *run = Run::from_snapshot(&snapshot, Transcript::growing_to(run.transcript().capacity()))?;
    *run.limits_mut() = limits;
    Ok(())
}

/// Returns the parameters of the compactions that the scenario requests, by turn.
fn compactions(scenario: &Scenario) -> BTreeMap<u32, String> {
    let actions = scenario.config.after_turn.iter();
    actions
        .filter_map(|(turn, actions)| Some((*turn, actions.compact.as_ref()?.parameter())))
        .collect()
}

fn plain<E>(error: DriveError<E>) -> Error {
    error.error
}

/// Answers calls of tools that are only declared. Returns whether there were any.
fn answer_declared(run: &mut Run<'_>, tools: &ScenarioTools) -> Result<bool, Error> {
    let mut any = false;
    while let Some(i) = run.call_for_caller() {
        let id = run.call(i).map(|call| call.id.to_string()).unwrap_or_default();
        let Some((content, is_error)) = tools.outcome(&id) else { break };
        run.answer(i, ToolAnswer::ok_json(content.as_bytes()).with_error(is_error))?;
        any = true;
    }
    Ok(any)
}

fn ending(run: &Run<'_>, Reason(stop_reason): Reason) -> Ending {
    let message = run.last_message();
    Ending::Message {
        stop_reason,
        text: message
            .into_iter()
            .flat_map(|message| message.texts())
            .map(|text| text.to_string())
            .collect(),
        tool_use: message
            .into_iter()
            .flat_map(|message| message.tool_uses())
            .map(|call| call.name().to_string())
            .collect(),
    }
}

/// An observer that keeps the last stop reason as the server spells it; the run itself keeps only
/// known reasons.
struct Reason(Option<String>);

impl Observer for Reason {
    fn see(&mut self, event: &Event<'_>) {
        let named =
            |from: Option<Value<'_>>| Some(from?.member("stop_reason")?.as_text()?.to_string());
        match event {
            Event::MessageStart { message } => self.0 = named(Some(*message)),
            Event::Stop { raw, .. } => {
                if let Some(reason) = named(raw.and_then(|raw| raw.member("delta"))) {
                    self.0 = Some(reason);
                }
            }
            _ => {}
        }
    }

    fn hands_on(&self) -> bool {
        false
    }
}

/// A transport that passes each request to the replay.
struct InMemory<'s>(&'s Replay);

/// A reply's body, in pieces.
struct Pieces {
    pieces: std::vec::IntoIter<Vec<u8>>,
    piece: Vec<u8>,
    read: usize,
}

/// The error of a transport that cannot fail.
#[derive(Clone, Copy, Debug)]
enum Never {}

impl core::fmt::Display for Never {
    fn fmt(&self, _: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match *self {}
    }
}

impl core::error::Error for Never {}

impl embedded_io_async::Error for Never {
    fn kind(&self) -> ErrorKind {
        match *self {}
    }
}

impl TransportError for Never {
    fn kind(&self) -> TransportKind {
        match *self {}
    }
}

impl Transport for InMemory<'_> {
    type Error = Never;
    type Body<'t>
        = Pieces
    where
        Self: 't;

    async fn send(&mut self, _: &Head<'_>, body: &Body<'_>) -> Result<Reply<Pieces>, Never> {
        let Answer { head, pieces, .. } =
            self.0.answer(&body.pieces().collect::<Vec<_>>().concat());
        Ok(Reply { head, body: Pieces { pieces: pieces.into_iter(), piece: Vec::new(), read: 0 } })
    }
}

impl ErrorType for Pieces {
    type Error = Never;
}

impl BufRead for Pieces {
    async fn fill_buf(&mut self) -> Result<&[u8], Never> {
        if self.read == self.piece.len()
            && let Some(piece) = self.pieces.next()
        {
            (self.piece, self.read) = (piece, 0);
        }
        Ok(&self.piece[self.read..])
    }

    fn consume(&mut self, amount: usize) {
        self.read = (self.read + amount).min(self.piece.len());
    }
}

impl Read for Pieces {
    async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Never> {
        let piece = self.fill_buf().await?;
        let count = piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&piece[..count]);
        self.consume(count);
        Ok(count)
    }
}
