//! The official tool runners' own examples in fixed memory: the same conversations as on a server,
//! in a slice, one test each. The corresponding code of a server's user is in toolrunner-std's
//! suite of the same name.
#![cfg(all(feature = "testing", feature = "macros"))]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod common;

use common::{assert_valid, block_on};
use toolrunner_core::drive::Driver;
use toolrunner_core::message::{StopReason, Usage};
use toolrunner_core::observe::{Event, FnObserver};
use toolrunner_core::policy::{Limit, Limits};
use toolrunner_core::run::{Compaction, Outcome, Run, ToolAnswer};
use toolrunner_core::testing::{
    Script, ScriptedModel, ScriptedReply, ScriptedTransport, VirtualClock,
};
use toolrunner_core::tool::{ToolError, Toolbox};
use toolrunner_core::transcript::Transcript;
use toolrunner_core::wire::Config;
use toolrunner_core::{ToolInput, tool};

#[derive(Clone, Copy, Debug, PartialEq, ToolInput)]
#[tool(rename_all = "lowercase")]
enum Unit {
    Celsius,
    Fahrenheit,
}

/// Get the current weather in a given location.
#[tool]
fn get_weather(location: &str, #[tool(default = Unit::Fahrenheit)] unit: Unit) -> &'static str {
    match (location.is_empty(), unit) {
        (true, _) => "where?",
        (false, Unit::Celsius) => "20 degrees, sunny",
        (false, Unit::Fahrenheit) => "68 degrees, sunny",
    }
}

/// Add two numbers together.
#[tool]
fn calculate_sum(a: i64, b: i64) -> i64 {
    a + b
}

/// A sample tool.
#[tool]
fn my_tool(query: &str) -> Result<(), ToolError> {
    Err(ToolError::format(format_args!("no index for {query}")))
}

/// Get data by ID.
#[tool]
fn get_data(id: i64) -> i64 {
    id * 100
}

type Drive<'d, B> = Driver<'d, ScriptedTransport, B, &'d VirtualClock>;

/// Runs `play` in 8 KiB.
fn over<B: Toolbox>(
    script: Script,
    tools: &B,
    prompt: &str,
    play: impl FnOnce(&mut Drive<'_, B>, &mut Run<'_>),
) -> Vec<String> {
    let (clock, mut memory) = (VirtualClock::default(), [0; 8192]);
    let transport = ScriptedTransport::new(ScriptedModel::new(script));
    let mut driver =
        Driver::new(Config::new("claude-opus-4-7", 1024), transport, tools, &clock).unwrap();
    let mut run = Run::new(Transcript::new(&mut memory));
    run.user(prompt).unwrap();
    play(&mut driver, &mut run);
    assert_valid(&run);
    let model = driver.transport_mut().model();
    assert_eq!(model.complaints(), &[] as &[String]);
    model.requests().iter().map(|request| request.json().to_string()).collect()
}

fn until_done<B: Toolbox>(driver: &mut Drive<'_, B>, run: &mut Run<'_>) -> Outcome {
    block_on(driver.until_done(run, &mut ())).unwrap()
}

fn next_turn<B: Toolbox>(driver: &mut Drive<'_, B>, run: &mut Run<'_>) -> Option<Outcome> {
    block_on(driver.next_turn(run, &mut ())).unwrap()
}

fn weather() -> Script {
    Script::new()
        .reply(ScriptedReply::new().tool_use("t1", "get_weather", r#"{"location":"SF"}"#))
        .reply(ScriptedReply::text("Sunny."))
}

const CALLED: &str = r#"{"role":"assistant","content":[{"type":"tool_use","id":"t1","name":"get_weather","input":{"location":"SF"}}]}"#;

#[test]
fn weather_and_sum() {
    let calls = ScriptedReply::new()
        .tool_use("t1", "get_weather", r#"{"location":"Paris"}"#)
        .tool_use("t2", "calculate_sum", r#"{"a":15,"b":27}"#);
    let script = Script::new().reply(calls).reply(ScriptedReply::text("Sunny, and 42."));
    let bodies = over(
        script,
        &(get_weather, calculate_sum),
        "What's the weather like in Paris? Also, what's 15 + 27?",
        |driver, run| {
            assert_eq!(until_done(driver, run), Outcome::Ended(Some(StopReason::EndTurn)));
        },
    );
    assert_eq!(bodies.len(), 2);
    let results = r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"68 degrees, sunny"},{"type":"tool_result","tool_use_id":"t2","content":"42"}]}]}"#;
    assert!(bodies[1].ends_with(results), "{}", bodies[1]);
}

#[test]
fn enum_unit_with_a_default() {
    let calls = ScriptedReply::new()
        .tool_use("t1", "get_weather", r#"{"location":"Paris","unit":"celsius"}"#)
        .tool_use("t2", "get_weather", r#"{"location":"Paris"}"#)
        .tool_use("t3", "get_weather", r#"{"location":"Paris","unit":"kelvin"}"#);
    let bodies = over(
        Script::new().reply(calls).reply(ScriptedReply::text("20.")),
        &get_weather,
        "Weather?",
        |driver, run| {
            until_done(driver, run);
        },
    );
    for answer in [
        "20 degrees, sunny",
        "68 degrees, sunny",
        r#"unit: expected one of \"celsius\", \"fahrenheit\", got \"kelvin\""#,
    ] {
        assert!(bodies[1].contains(answer), "{}", bodies[1]);
    }
    assert!(
        bodies[0].contains(r#""enum":["celsius","fahrenheit"],"default":"fahrenheit""#),
        "{}",
        bodies[0]
    );
}

#[test]
fn all_messages() {
    let mut seen = Vec::new();
    let bodies = over(weather(), &get_weather, "Weather?", |driver, run| {
        while next_turn(driver, run).is_none() {
            let text: String =
                run.last_message().unwrap().texts().map(|text| text.to_string()).collect();
            seen.push(format!("{}: {text}", run.stop_reason().unwrap()));
        }
    });
    assert_eq!(seen, ["tool_use: ", "end_turn: Sunny."]);
    assert_eq!(bodies.len(), 2);
}

#[test]
fn a_concise_follow_up_by_append() {
    let bodies = over(weather(), &get_weather, "Weather?", |driver, run| {
        assert_eq!(next_turn(driver, run), None);
        run.append(r#"{"role":"user","content":"Please be concise."}"#).unwrap();
        until_done(driver, run);
    });
    let behind = r#"{"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"68 degrees, sunny"}]},{"role":"user","content":"Please be concise."}]}"#;
    assert!(bodies[1].contains(CALLED) && bodies[1].ends_with(behind), "{}", bodies[1]);
}

#[test]
fn max_tokens_raised_to_2048() {
    let bodies = over(weather(), &get_weather, "Weather?", |driver, run| {
        assert_eq!(next_turn(driver, run), None);
        driver.config_mut().max_tokens = 2048;
        until_done(driver, run);
    });
    assert!(
        bodies[0].contains(r#""max_tokens":1024"#)
            && bodies[1].contains(r#""max_tokens":2048"#)
            && bodies[1].contains(CALLED)
    );
}

#[test]
fn a_turn_cut_at_max_tokens_is_retried_with_the_budget_doubled_up_to_8192() {
    let cut = || {
        ScriptedReply::text("Boston is")
            .tool_use_cut("t9", "get_weather", r#"{"location":"Bo"#)
            .stop("max_tokens")
    };
    let script = Script::new().reply(cut()).reply(cut()).reply(cut()).reply(cut());
    let bodies = over(script, &get_weather, "A report.", |driver, run| {
        while next_turn(driver, run).is_none() && driver.config_mut().max_tokens < 8192 {
            assert_eq!(run.stop_reason(), Some(StopReason::MaxTokens));
            driver.config_mut().max_tokens *= 2;
            run.ask_again().unwrap();
        }
    });
    let budgets: Vec<bool> = bodies
        .iter()
        .zip([1024, 2048, 4096, 8192])
        .map(|(body, most)| body.contains(&format!(":{most},")))
        .collect();
    assert_eq!(budgets, [true; 4]);
    assert!(bodies.iter().all(|body| !body.contains("Boston")), "a dropped reply is not sent");
}

#[test]
fn raise_on_is_error() {
    let script = Script::new()
        .reply(ScriptedReply::new().tool_use("t1", "my_tool", r#"{"query":"x"}"#))
        .reply(ScriptedReply::text("never"));
    let bodies = over(script, &my_tool, "Run the tool", |driver, run| {
        assert_eq!(next_turn(driver, run), None);
        block_on(driver.results(run, &mut ())).unwrap();
        let result = run.results().next().unwrap();
        assert_eq!(
            result.to_string(),
            r#"{"type":"tool_result","tool_use_id":"t1","content":"no index for x","is_error":true}"#
        );
        run.stop();
        assert_eq!(until_done(driver, run), Outcome::Stopped);
    });
    assert_eq!(bodies.len(), 1);
}

#[test]
fn cache_control_on_results() {
    let bodies = over(weather(), &get_weather, "Weather?", |driver, run| {
        assert_eq!(next_turn(driver, run), None);
        block_on(driver.results(run, &mut ())).unwrap();
        for call in run.calls() {
            run.add_to_result(call, r#""cache_control":{"type":"ephemeral"}"#).unwrap();
        }
        until_done(driver, run);
    });
    assert!(
        bodies[1].ends_with(
            r#""content":"68 degrees, sunny","cache_control":{"type":"ephemeral"}}]}]}"#
        ),
        "{}",
        bodies[1]
    );
}

#[test]
fn a_stream_with_its_final_message() {
    let mut text = String::new();
    over(weather(), &get_weather, "Weather?", |driver, run| {
        let mut observer = FnObserver(|event: &Event<'_>| {
            if let Event::Text { text: piece, .. } = event {
                text += &piece.to_string();
            }
        });
        block_on(driver.until_done(run, &mut observer)).unwrap();
        assert_eq!(run.last_message().unwrap().texts().next().unwrap().to_string(), "Sunny.");
    });
    assert_eq!(text, "Sunny.");
}

#[test]
fn at_most_5_turns() {
    let mut n = 0;
    let script = Script::new().then(move |_| {
        n += 1;
        ScriptedReply::new()
            .tool_use(&format!("t{n}"), "get_data", &format!("{{\"id\":{n}}}"))
            .into()
    });
    let bodies = over(script, &get_data, "Keep calling the tool", |driver, run| {
        *run.limits_mut() = Limits { turns: Some(5), ..Limits::NONE };
        assert_eq!(until_done(driver, run), Outcome::Limit(Limit::Turns));
        assert_eq!(
            run.calls().filter(|&call| run.result(call).is_none()).count(),
            1,
            "the last call is pending"
        );
    });
    assert_eq!(bodies.len(), 5);
}

#[test]
fn results_by_hand_get_data() {
    let script = Script::new()
        .reply(ScriptedReply::new().tool_use("t1", "get_data", r#"{"id":7}"#))
        .reply(ScriptedReply::text("700."));
    let bodies = over(script, &get_data, "Data?", |driver, run| {
        assert_eq!(next_turn(driver, run), None);
        let call = run.next_call().unwrap();
        run.answer(call, ToolAnswer::ok("by hand")).unwrap();
        until_done(driver, run);
    });
    assert!(bodies[1].contains(r#""content":"by hand"}"#), "{}", bodies[1]);
}

#[test]
fn compaction_at_80_000_tokens() {
    let long = Usage { input_tokens: 90_000, ..Usage::default() };
    let script = Script::new()
        .reply(
            ScriptedReply::text("Let me look.")
                .tool_use("t1", "get_data", r#"{"id":7}"#)
                .usage(long),
        )
        .reply(ScriptedReply::text("We looked."))
        .reply(ScriptedReply::text("700."));
    let bodies = over(script, &get_data, "Data?", |driver, run| {
        *run.compaction_mut() = Some(Compaction { threshold: 80_000, ..Compaction::DEFAULT });
        until_done(driver, run);
        assert_eq!((run.compactions(), run.turns()), (1, 2));
    });
    assert!(
        bodies[1].contains(r#"[{"type":"text","text":"Let me look."}]"#)
            && !bodies[1].contains("tool_use\""),
        "{}",
        bodies[1]
    );
    assert!(
        bodies[2].ends_with(r#""messages":[{"role":"user","content":"We looked."}]}"#),
        "{}",
        bodies[2]
    );
}

/// Get the current weather in a given location
#[derive(ToolInput)]
struct GetWeather<'a> {
    /// The city and state, e.g. San Francisco, CA
    location: &'a str,
}

#[tool]
impl GetWeather<'_> {
    async fn run(&self) -> Result<&'static str, ToolError> {
        if self.location == "Paris" { Ok("Sunny") } else { Err(ToolError::new("where?")) }
    }
}

/// A type is the tool, named after it: `@JsonClassDescription` in Java, `BaseTool` in Ruby.
#[test]
fn a_type_is_a_tool_named_after_it() {
    let call = |id: &str, input: &str| ScriptedReply::new().tool_use(id, "get_weather", input);
    let script = Script::new()
        .reply(call("t1", r#"{"location":"Paris"}"#))
        .reply(call("t2", r#"{"location":"\u0050au"}"#))
        .reply(call("t3", "{}"))
        .reply(ScriptedReply::text("Sunny."));
    let requests = over(script, &GetWeather::tool(), "Weather?", |driver, run| {
        block_on(driver.until_done(run, &mut ())).unwrap();
    });
    let definition = r#""tools":[{"name":"get_weather","description":"Get the current weather in a given location","input_schema":{"type":"object","properties":{"location":{"type":"string","description":"The city and state, e.g. San Francisco, CA"}},"required":["location"],"additionalProperties":false}}]"#;
    assert!(requests[0].contains(definition), "{}", requests[0]);
    assert!(requests[1].contains(r#""content":"Sunny""#), "{}", requests[1]);
    assert!(requests[2].contains(r#""content":"where?""#), "{}", requests[2]);
    assert!(requests[3].contains("location: expected string"), "{}", requests[3]);
}

/// The number of the round, its stop reason and its blocks (`runner._iteration_count`).
#[test]
fn each_step_with_its_round() {
    let script = Script::new()
        .reply(ScriptedReply::new().tool_use("t1", "get_data", r#"{"id":1}"#))
        .reply(ScriptedReply::text("100"));
    let mut log = Vec::new();
    over(script, &get_data, "Get record 1", |driver, run| {
        while next_turn(driver, run).is_none() {
            let blocks: Vec<String> = run
                .last_message()
                .unwrap()
                .blocks()
                .map(|block| block.kind().to_string())
                .collect();
            let stop = run.stop_reason().unwrap();
            log.push(format!("Round {}: {stop}: {}", run.turns(), blocks.join(", ")));
        }
    });
    assert_eq!(log, ["Round 1: tool_use: tool_use", "Round 2: end_turn: text"]);
}
