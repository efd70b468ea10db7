//! The blocking front end: `toolrunner_blocking`, over HTTP on loopback.

use core::time::Duration;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use toolrunner_blocking::{
    Client, Error, Outcome, RetryPolicy, Run, RunBuilder, StopReason, ToolAnswer,
};
use toolrunner_core::testing::validity::{self, Tail};

use super::embassy::Connection;
use super::{Ending, Engine};
use crate::replay::Replay;
use crate::scenario::{Scenario, ScenarioTools};

/// The engine with `toolrunner_blocking::Client` over ureq.
#[derive(Clone, Copy, Debug)]
pub struct Blocking;

/// Answers the requests of one connection from the replay.
fn serve(mut socket: TcpStream, replay: &Replay) -> io::Result<()> {
    let (mut connection, mut buffer) = (Connection::new(replay), [0; 4096]);
    while !connection.is_closed {
        let length = socket.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        connection.received.extend_from_slice(&buffer[..length]);
        connection.respond();
        for piece in connection.to_send.drain(..) {
            socket.write_all(&piece)?;
        }
    }
    Ok(())
}

/// Starts a server for the replay, and returns its base URL.
fn start(replay: &Arc<Replay>) -> io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let base_url = format!("http://{}", listener.local_addr()?);
    let replay = Arc::clone(replay);
    // It waits for the next connection until the process ends.
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let replay = Arc::clone(&replay);
            // A client may close its connection at any time.
            thread::spawn(move || serve(socket, &replay).ok());
        }
    });
    Ok(base_url)
}

impl Engine for Blocking {
    fn name(&self) -> &'static str {
        "blocking"
    }

    fn lacks(&self, scenario: &Scenario) -> Option<&'static str> {
        let needs = scenario.config.after_turn.values().any(|actions| {
            !actions.add_tools.is_empty()
                || !actions.remove_tools.is_empty()
                || actions.compact.is_some()
        });
        needs.then_some(
            "the blocking front end has no add_tools, remove_tools and compaction by the server",
        )
    }

    fn run(&self, scenario: &Scenario, replay: &Arc<Replay>) -> Ending {
        let client = start(replay).map_err(|error| error.to_string()).and_then(|base_url| {
            let builder = Client::builder().base_url(base_url).api_key("test-key");
            builder.build().map_err(|error| error.to_string())
        });
        let client = match client {
            Ok(client) => client,
            Err(error) => return Ending::Error(error),
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
        let ended = drive(&mut run, &client, scenario, &tools);
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
    // Time is real here, so waits are short.
    let retry = RetryPolicy {
        first_wait: Duration::from_millis(1),
        retry_after_cap: Duration::ZERO,
        ..RetryPolicy::DEFAULT
    };
    let builder = client
        .run("")
        .stream(scenario.config.stream)
        .unique_ids(scenario.config.unique_ids)
        .message_thread(scenario.config.message_thread.setting())
        .retry_policy(retry)
        .tools(tools.clone());
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

fn drive(
    run: &mut Run,
    client: &Client,
    scenario: &Scenario,
    tools: &ScenarioTools,
) -> Result<(), Error> {
    let config = &scenario.config;
    loop {
        let Some(mut turn) = run.next_turn()? else {
            if answer_declared(run, tools)? {
                continue;
            }
            return Ok(());
        };
        if let Some(cache_control) = &config.result_cache_control {
            turn.results()?;
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
            turn.results()?.edit(|result| result.cache_control(cache_control.get()).map(|_| ()))?;
        }
        if let Some(actions) = config.after_turn.get(&turn.number()) {
            if let Some(most) = actions.set_max_tokens {
                turn.params_mut().max_tokens(most);
            }
            for message in &actions.append_after_results {
                turn.append(message.get())?;
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
