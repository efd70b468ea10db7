//! The server's configuration of the loop: `Client` and `Run`, over a transport in memory.

use std::sync::Arc;

use toolrunner_core::testing::VirtualClock;
use toolrunner_core::testing::validity::{self, Tail};
use toolrunner_core::transport::{Body, Head, Reply};
use toolrunner_std::http::{DynTransport, SendFuture};
use toolrunner_std::{
    Client, Error, HttpBody, HttpTransport, Outcome, Run, RunBuilder, StopReason, ToolAnswer,
};

use super::{Ending, Engine, block_on};
use crate::replay::Replay;
use crate::scenario::{Scenario, ScenarioTools};

/// The engine with `toolrunner_std::Client` over a transport in memory.
#[derive(Clone, Copy, Debug)]
pub struct Server;

/// A transport that passes each request to the replay.
struct InMemory(Arc<Replay>);

impl DynTransport for InMemory {
    fn send<'a>(&'a self, _: &'a Head<'_>, body: &'a Body<'_>) -> SendFuture<'a> {
        let answer = self.0.answer(&body.pieces().collect::<Vec<_>>().concat());
        Box::pin(async move {
            Ok(Reply { head: answer.head, body: HttpBody::from_pieces(answer.pieces) })
        })
    }
}

impl Engine for Server {
    fn name(&self) -> &'static str {
        "std"
    }

    fn run(&self, scenario: &Scenario, replay: &Arc<Replay>) -> Ending {
        let transport = HttpTransport::from_dyn(InMemory(Arc::clone(replay)));
        let client = Client::builder()
            .base_url("http://scenario.test")
            .api_key("test-key")
            .transport(transport)
            .build();
        let client = match client {
            Ok(client) => client,
            Err(error) => return Ending::Error(error.to_string()),
        };
        let tools = scenario.tools();
        let builder = configured(&client, scenario, &tools);
        let params = scenario.params.get();
        let mut run = match params.strip_prefix('{') {
            Some(params) if scenario.has_empty_tools() => {
                builder.body(&format!(r#"{{"tools":[],{params}"#))
            }
            _ => builder.body(params),
        };
        let ended = block_on(drive(&mut run, &client, scenario, &tools));
        // Pending calls are not compared, so they are closed, as the engine without a heap does.
        if run.machine().next_call().is_some()
            && let Err(error) = run.close_open_calls()
        {
            return Ending::Error(format!("open calls could not be closed: {error}"));
        }
        if let Err(invalid) = validity::check(run.machine().transcript().bytes(), Tail::Open) {
            return Ending::Error(invalid.to_string());
        }
        match ended {
            Ok(()) if run.machine().outcome() == Some(Outcome::ThreadLost) => Ending::ThreadLost,
            Ok(()) => ending(&run),
            Err(Error::Api(failure)) => Ending::api(failure.kind, failure.error),
            Err(Error::Capacity(full)) => Ending::Capacity(full),
            Err(error) => Ending::Error(error.to_string()),
        }
    }
}

fn configured(client: &Client, scenario: &Scenario, tools: &ScenarioTools) -> RunBuilder {
    let builder = client
        .run("")
        .stream(scenario.config.stream)
        .unique_ids(scenario.config.unique_ids)
        .message_thread(scenario.config.message_thread.setting())
        .tools(tools.clone())
        .clock(VirtualClock::new(0));
    match scenario.config.max_iterations {
        Some(most) => builder.max_turns(most),
        None => builder,
    }
}

/// Continues from a snapshot, in another run.
fn restored(
    run: &Run,
    client: &Client,
    scenario: &Scenario,
    tools: &ScenarioTools,
) -> Result<Run, Error> {
    let snapshot = run.snapshot()?;
    let parameters = scenario.params().into_iter().filter(|(name, _)| name != "messages");
    let builder = parameters.fold(configured(client, scenario, tools), |builder, (name, value)| {
        builder.param_json(&name, value)
    });
    Ok(builder.resume(&snapshot))
}

async fn drive(
    run: &mut Run,
    client: &Client,
    scenario: &Scenario,
    tools: &ScenarioTools,
) -> Result<(), Error> {
    let config = &scenario.config;
    loop {
        let Some(mut turn) = run.next_turn().await? else {
            if answer_declared(run, tools)? {
                continue;
            }
            return Ok(());
        };
        if let Some(cache_control) = &config.result_cache_control {
            turn.results().await?;
            if turn.stop_reason() == Some(StopReason::ToolUse) {
                let waiting =
                    turn.calls().filter(|call| !call.is_answered && tools.is_declared(call.name));
                for id in waiting.map(|call| call.id.to_string()).collect::<Vec<_>>() {
                    if let Some((content, is_error)) = tools.outcome(&id) {
                        turn.answer_with(
                            &id,
                            ToolAnswer::ok_json(content.as_bytes()).with_error(is_error),
                        )?;
                    }
                }
            }
            turn.results()
                .await?
                .edit(|result| result.cache_control(cache_control.get()).map(|_| ()))?;
        }
        if let Some(actions) = config.after_turn.get(&turn.number()) {
            if let Some(most) = actions.set_max_tokens {
                turn.params_mut().max_tokens(most);
            }
            for message in &actions.append_after_results {
                turn.append(message.get())?;
            }
            if !actions.remove_tools.is_empty() {
                turn.remove_tools(actions.remove_tools.iter().map(String::as_str))?;
            }
            if !actions.add_tools.is_empty() {
                turn.add_tools(scenario.added_tools(actions))?;
            }
            if let Some(compact) = &actions.compact {
                turn.run().compact_on_server(compact.instructions.as_deref());
            }
            if actions.restore {
                *run = restored(run, client, scenario, tools)?;
            }
        }
    }
}

/// Answers calls of tools that are only declared. Returns whether there were any.
fn answer_declared(run: &mut Run, tools: &ScenarioTools) -> Result<bool, Error> {
    let mut any = false;
    while let Some(i) = run.machine().call_for_caller() {
        let id = run.machine().call(i).map(|call| call.id.to_string()).unwrap_or_default();
        let Some((content, is_error)) = tools.outcome(&id) else { break };
        run.answer_with(&id, ToolAnswer::ok_json(content.as_bytes()).with_error(is_error))?;
        any = true;
    }
    Ok(any)
}

fn ending(run: &Run) -> Ending {
    let message = run.message();
    let message = message.as_ref();
    Ending::Message {
        stop_reason: message
            .and_then(|message| message.stop_reason_text())
            .map(|reason| reason.to_string()),
        text: message.map(|message| message.text()).unwrap_or_default(),
        tool_use: message
            .map(|message| message.tool_uses().map(|call| call.name().to_string()).collect())
            .unwrap_or_default(),
    }
}
