//! The official tool runners' own synchronous examples, one test each: the code that their users
//! write, and what is sent for it. The tests compare the complete body of every request.

mod common;

use common::serve;
use toolrunner_blocking::{Event, Limit, Outcome, Run, StopReason, ToolError, ToolInput, tool};
use toolrunner_core::testing::{Script, ScriptedReply};

#[derive(Clone, Copy, Debug, PartialEq, ToolInput)]
#[tool(rename_all = "lowercase")]
enum Unit {
    Celsius,
    Fahrenheit,
}

/// Get the current weather in a given location.
#[tool]
fn get_weather(
    /// The city and state, e.g. San Francisco, CA
    location: &str,
    /// Temperature unit
    #[tool(default = Unit::Fahrenheit)]
    unit: Unit,
) -> String {
    match unit {
        Unit::Celsius => format!("{location}: 20°C, sunny"),
        Unit::Fahrenheit => format!("{location}: 68°F, sunny"),
    }
}

/// Add two numbers together.
#[tool]
fn calculate_sum(
    /// First number
    a: i64,
    /// Second number
    b: i64,
) -> String {
    (a + b).to_string()
}

const WEATHER: &str = r#"{"name":"get_weather","description":"Get the current weather in a given location.","input_schema":{"type":"object","properties":{"location":{"type":"string","description":"The city and state, e.g. San Francisco, CA"},"unit":{"type":"string","description":"Temperature unit","enum":["celsius","fahrenheit"],"default":"fahrenheit"}},"required":["location"],"additionalProperties":false}}"#;
const SUM: &str = r#"{"name":"calculate_sum","description":"Add two numbers together.","input_schema":{"type":"object","properties":{"a":{"type":"integer","description":"First number"},"b":{"type":"integer","description":"Second number"}},"required":["a","b"],"additionalProperties":false}}"#;

/// Builds a request's body.
fn body(max_tokens: u32, tools: &[&str], messages: &[&str]) -> String {
    format!(
        r#"{{"model":"claude-opus-4-7","max_tokens":{max_tokens},"stream":true,"tools":[{}],"messages":[{}]}}"#,
        tools.join(","),
        messages.join(",")
    )
}

fn user(text: &str) -> String {
    format!(r#"{{"role":"user","content":"{text}"}}"#)
}

fn assistant(blocks: &str) -> String {
    format!(r#"{{"role":"assistant","content":[{blocks}]}}"#)
}

fn call(id: &str, name: &str, input: &str) -> String {
    format!(r#"{{"type":"tool_use","id":"{id}","name":"{name}","input":{input}}}"#)
}

fn results(blocks: &str) -> String {
    format!(r#"{{"role":"user","content":[{blocks}]}}"#)
}

fn result(id: &str, text: &str) -> String {
    format!(r#"{{"type":"tool_result","tool_use_id":"{id}","content":"{text}"}}"#)
}

const PARIS: &str = r#"{"location":"Paris"}"#;
const SF: &str = r#"{"location":"San Francisco, CA"}"#;
const ASK_SF: &str = "What's the weather in San Francisco?";

/// The model calls the weather tool for San Francisco and then answers.
fn weather_script() -> Script {
    Script::new()
        .reply(ScriptedReply::new().tool_use("t1", "get_weather", SF))
        .reply(ScriptedReply::text("Sunny."))
}

#[test]
fn weather_and_sum() {
    let reply = ScriptedReply::new().tool_use("t1", "get_weather", PARIS).tool_use(
        "t2",
        "calculate_sum",
        r#"{"a":15,"b":27}"#,
    );
    let server = serve(Script::new().reply(reply).reply(ScriptedReply::text("Sunny, and 42.")));
    let ask = "What's the weather like in Paris? Also, what's 15 + 27?";
    let mut run = server
        .client()
        .run("claude-opus-4-7")
        .max_tokens(1024)
        .tools((get_weather, calculate_sum))
        .user(ask);
    let finished = run.until_done().unwrap();
    assert_eq!(finished.text(), "Sunny, and 42.");
    assert_eq!(finished.outcome, Outcome::Ended(Some(StopReason::EndTurn)));
    let calls =
        [call("t1", "get_weather", PARIS), call("t2", "calculate_sum", r#"{"a":15,"b":27}"#)]
            .join(",");
    let answers = [result("t1", "Paris: 68°F, sunny"), result("t2", "42")].join(",");
    assert_eq!(
        server.bodies(),
        [
            body(1024, &[WEATHER, SUM], &[&user(ask)]),
            body(1024, &[WEATHER, SUM], &[&user(ask), &assistant(&calls), &results(&answers)])
        ]
    );
    server.assert_valid(&run);
}

#[test]
fn enum_unit_with_a_default() {
    let celsius = r#"{"location":"Paris","unit":"celsius"}"#;
    let kelvin = r#"{"location":"Paris","unit":"kelvin"}"#;
    let reply = ScriptedReply::new().tool_use("t1", "get_weather", celsius).tool_use(
        "t2",
        "get_weather",
        PARIS,
    );
    let server = serve(
        Script::new()
            .reply(reply.tool_use("t3", "get_weather", kelvin))
            .reply(ScriptedReply::text("20 °C.")),
    );
    let mut run = server.client().run("claude-opus-4-7").tools(get_weather).user("Weather?");
    run.until_done().unwrap();
    let calls = [
        call("t1", "get_weather", celsius),
        call("t2", "get_weather", PARIS),
        call("t3", "get_weather", kelvin),
    ]
    .join(",");
    let wrong = r#"{"type":"tool_result","tool_use_id":"t3","content":"Error: invalid input for tool 'get_weather': unit: expected one of \"celsius\", \"fahrenheit\", got \"kelvin\"","is_error":true}"#;
    let answers =
        [&result("t1", "Paris: 20°C, sunny"), &result("t2", "Paris: 68°F, sunny"), wrong].join(",");
    let bodies = server.bodies();
    assert_eq!(
        bodies[1],
        body(4096, &[WEATHER], &[&user("Weather?"), &assistant(&calls), &results(&answers)])
    );
    assert_eq!(bodies.len(), 2);
    server.assert_valid(&run);
}

#[test]
fn all_messages() {
    let server = serve(weather_script());
    let mut run =
        server.client().run("claude-opus-4-7").max_tokens(1024).tools(get_weather).user(ASK_SF);
    let mut seen = Vec::new();
    while let Some(turn) = run.next_turn().unwrap() {
        let message = turn.message().unwrap();
        seen.push(format!("{:?}: {}", turn.stop_reason().unwrap(), message.text()));
    }
    assert_eq!(seen, ["ToolUse: ", "EndTurn: Sunny."]);
    assert_eq!(server.bodies(), weather_bodies([1024, 1024], &[]));
    server.assert_valid(&run);
}

/// Builds the two requests about the weather in San Francisco, with the `max_tokens` of each and
/// the messages after the result.
fn weather_bodies(max_tokens: [u32; 2], appended: &[&str]) -> [String; 2] {
    let (ask, reply) = (user(ASK_SF), assistant(&call("t1", "get_weather", SF)));
    let answer = results(&result("t1", "San Francisco, CA: 68°F, sunny"));
    let second: Vec<&str> =
        [ask.as_str(), &reply, &answer].into_iter().chain(appended.iter().copied()).collect();
    [body(max_tokens[0], &[WEATHER], &[&ask]), body(max_tokens[1], &[WEATHER], &second)]
}

#[test]
fn a_concise_follow_up_by_append() {
    let server = serve(weather_script());
    let mut run = server
        .client()
        .run("claude-opus-4-7")
        .max_tokens(1024)
        .max_turns(10)
        .tools(get_weather)
        .user(ASK_SF);
    while let Some(mut turn) = run.next_turn().unwrap() {
        // Reply and results stay, whatever is appended; there are no separate rules for a
        // conversation that was changed.
        if turn.calls().next().is_some() {
            turn.append_user("Please be concise.").unwrap();
        }
    }
    assert_eq!(server.bodies(), weather_bodies([1024, 1024], &[&user("Please be concise.")]));
    server.assert_valid(&run);
}

#[test]
fn max_tokens_raised_to_2048() {
    let server = serve(weather_script());
    let mut run =
        server.client().run("claude-opus-4-7").max_tokens(1024).tools(get_weather).user(ASK_SF);
    while let Some(mut turn) = run.next_turn().unwrap() {
        turn.params_mut().max_tokens(2048);
    }
    assert_eq!(server.bodies(), weather_bodies([1024, 2048], &[]));
    server.assert_valid(&run);
}

#[test]
fn a_turn_cut_at_max_tokens_is_retried_with_the_budget_doubled_up_to_8192() {
    const CEILING: u32 = 8192;
    let ask = "Give me a detailed weather report for every major US city.";
    let cut = || {
        ScriptedReply::text("Boston is")
            .tool_use_cut("t9", "get_weather", r#"{"location":"Bo"#)
            .stop("max_tokens")
    };
    let server = serve(Script::new().reply(cut()).reply(cut()).reply(cut()).reply(cut()));
    let mut run = server
        .client()
        .run("claude-opus-4-7")
        .max_tokens(1024)
        .max_turns(10)
        .tools(get_weather)
        .user(ask);
    let (mut budget, mut log) = (1024, Vec::new());
    while let Some(mut turn) = run.next_turn().unwrap() {
        if turn.stop_reason() == Some(StopReason::MaxTokens) {
            if budget >= CEILING {
                log.push("ceiling".to_owned());
                break;
            }
            budget = (budget * 2).min(CEILING);
            log.push(budget.to_string());
            turn.params_mut().max_tokens(budget);
            turn.ask_again().unwrap();
        }
    }
    assert_eq!(log, ["2048", "4096", "8192", "ceiling"]);
    assert_eq!(
        server.bodies(),
        [1024, 2048, 4096, 8192].map(|most| body(most, &[WEATHER], &[&user(ask)]))
    );
    // The call that was cut is repaired, so that the stored message is valid; it does not run.
    let mended = call("t9", "get_weather", r#"{"INVALID_JSON":"{\"location\":\"Bo"}"#);
    assert_eq!(
        run.messages(),
        format!(
            "[{},{}]",
            user(ask),
            assistant(&format!(r#"{{"type":"text","text":"Boston is"}},{mended}"#))
        )
    );
    server.assert_valid(&run);
}

/// A sample tool.
#[tool]
fn my_tool(query: &str) -> Result<String, ToolError> {
    Err(ToolError::text(format!("no index for {query}")))
}

const MY_TOOL: &str = r#"{"name":"my_tool","description":"A sample tool.","input_schema":{"type":"object","properties":{"query":{"type":"string"}},"required":["query"],"additionalProperties":false}}"#;

#[test]
fn raise_on_is_error() {
    let script = Script::new()
        .reply(ScriptedReply::new().tool_use("t1", "my_tool", r#"{"query":"x"}"#))
        .reply(ScriptedReply::text("never"));
    let server = serve(script);
    let mut run =
        server.client().run("claude-opus-4-7").max_tokens(1024).tools(my_tool).user("Run the tool");
    fn failing(run: &mut Run) -> Result<(), String> {
        while let Some(mut turn) = run.next_turn().map_err(|error| error.to_string())? {
            let results = turn.results().map_err(|error| error.to_string())?;
            if let Some(text) = results.first_error() {
                turn.stop();
                return Err(format!("Tool failed: {text}"));
            }
        }
        Ok(())
    }
    assert_eq!(failing(&mut run).unwrap_err(), "Tool failed: no index for x");
    assert_eq!(run.until_done().unwrap().outcome, Outcome::Stopped);
    assert_eq!(server.bodies(), [body(1024, &[MY_TOOL], &[&user("Run the tool")])]);
    server.assert_valid(&run);
}

#[test]
fn cache_control_on_results() {
    let server = serve(weather_script());
    let mut run =
        server.client().run("claude-opus-4-7").max_tokens(1024).tools(get_weather).user(ASK_SF);
    while let Some(mut turn) = run.next_turn().unwrap() {
        let edited = turn
            .results()
            .unwrap()
            .edit(|result| result.cache_control(r#"{"type":"ephemeral"}"#).map(|_| ()));
        edited.unwrap();
    }
    let mut expected = weather_bodies([1024, 1024], &[]);
    expected[1] = expected[1]
        .replace(r#"68°F, sunny"}"#, r#"68°F, sunny","cache_control":{"type":"ephemeral"}}"#);
    assert_eq!(server.bodies(), expected);
    server.assert_valid(&run);
}

#[test]
fn a_stream_with_its_final_message() {
    let server = serve(weather_script());
    let mut run =
        server.client().run("claude-opus-4-7").max_tokens(1024).tools(get_weather).user(ASK_SF);
    let (mut text, mut finals) = (String::new(), Vec::new());
    loop {
        let is_whole = match run.next_event().unwrap() {
            None => break,
            Some(Event::Text { text: piece, .. }) => {
                text.push_str(&piece.to_string());
                false
            }
            Some(event) => matches!(event, Event::MessageStop),
        };
        if is_whole {
            finals.push(run.message().unwrap());
        }
    }
    assert_eq!(text, "Sunny.");
    let reasons: Vec<_> = finals.iter().map(|message| message.stop_reason()).collect();
    assert_eq!(reasons, [Some(StopReason::ToolUse), Some(StopReason::EndTurn)]);
    assert_eq!(finals[1].text(), "Sunny.");
    assert_eq!(server.bodies(), weather_bodies([1024, 1024], &[]));
    server.assert_valid(&run);
}

#[test]
fn stop_a_stream_after_100_words() {
    let long = "word ".repeat(500);
    let server =
        serve(Script::new().reply(ScriptedReply::text(&long)).reply(ScriptedReply::text("Done.")));
    let mut run = server
        .client()
        .run("claude-opus-4-7")
        .max_tokens(1024)
        .tools(get_weather)
        .user("Do something");
    let mut words = 0;
    while let Some(event) = run.next_event().unwrap() {
        if let Event::Text { text, .. } = event {
            words += text.to_string().split_whitespace().count();
        }
        if words > 100 {
            break;
        }
    }
    assert!(words < 500, "{words}");
    run.stop();
    // A partial reply is not kept, because it has no end.
    assert_eq!(run.messages(), format!("[{}]", user("Do something")));
    server.assert_valid(&run);
    assert_eq!(run.user("Shorter, please.").unwrap().until_done().unwrap().text(), "Done.");
    let (ask, again) = (user("Do something"), user("Shorter, please."));
    assert_eq!(
        server.bodies(),
        [body(1024, &[WEATHER], &[&ask]), body(1024, &[WEATHER], &[&ask, &again])]
    );
}

/// A tool that might cause infinite loops.
#[tool]
fn recursive_tool(
    /// Input number
    n: i64,
) -> String {
    format!("Called with {n}")
}

const RECURSIVE: &str = r#"{"name":"recursive_tool","description":"A tool that might cause infinite loops.","input_schema":{"type":"object","properties":{"n":{"type":"integer","description":"Input number"}},"required":["n"],"additionalProperties":false}}"#;

#[test]
fn at_most_5_turns() {
    let mut n = 0;
    let server = serve(Script::new().then(move |_| {
        n += 1;
        ScriptedReply::new()
            .tool_use(&format!("t{n}"), "recursive_tool", &format!("{{\"n\":{n}}}"))
            .into()
    }));
    let mut run = server
        .client()
        .run("claude-opus-4-7")
        .max_tokens(1024)
        .max_turns(5)
        .tools(recursive_tool)
        .user("Keep calling the tool");
    let finished = run.until_done().unwrap();
    assert_eq!(finished.outcome, Outcome::Limit(Limit::Turns));
    assert_eq!(finished.message.unwrap().stop_reason(), Some(StopReason::ToolUse));
    let mut messages = vec![user("Keep calling the tool")];
    let mut expected = Vec::new();
    for n in 1..=5 {
        expected.push(body(
            1024,
            &[RECURSIVE],
            &messages.iter().map(String::as_str).collect::<Vec<_>>(),
        ));
        messages.push(assistant(&call(
            &format!("t{n}"),
            "recursive_tool",
            &format!("{{\"n\":{n}}}"),
        )));
        messages.push(results(&result(&format!("t{n}"), &format!("Called with {n}"))));
    }
    assert_eq!(server.bodies(), expected);
    server.assert_valid(&run);
}

/// Get data by ID.
#[tool]
fn get_data(
    /// Record ID
    id: i64,
) -> String {
    format!("Data for ID {id}")
}

const GET_DATA: &str = r#"{"name":"get_data","description":"Get data by ID.","input_schema":{"type":"object","properties":{"id":{"type":"integer","description":"Record ID"}},"required":["id"],"additionalProperties":false}}"#;

#[test]
fn results_by_hand_get_data() {
    let input = r#"{"id":123}"#;
    let server = serve(
        Script::new()
            .reply(ScriptedReply::new().tool_use("t1", "get_data", input))
            .reply(ScriptedReply::text("It is data.")),
    );
    let mut run = server
        .client()
        .run("claude-opus-4-7")
        .max_tokens(1024)
        .tools(get_data)
        .user("Get record 123");
    let mut first = run.next_turn().unwrap().unwrap();
    assert_eq!(first.stop_reason(), Some(StopReason::ToolUse));
    let made = first.results().unwrap().message_json().unwrap();
    assert_eq!(made, results(&result("t1", "Data for ID 123")));
    // Reading the results twice runs nothing twice.
    assert_eq!(first.results().unwrap().message_json().unwrap(), made);
    let mut texts = Vec::new();
    while let Some(turn) = run.next_turn().unwrap() {
        texts.push(turn.text());
    }
    assert_eq!(texts, ["It is data."]);
    let (ask, reply) = (user("Get record 123"), assistant(&call("t1", "get_data", input)));
    assert_eq!(
        server.bodies(),
        [body(1024, &[GET_DATA], &[&ask]), body(1024, &[GET_DATA], &[&ask, &reply, &made])]
    );
    server.assert_valid(&run);
}

/// Get the current weather in a given location
#[derive(ToolInput)]
struct GetWeather {
    /// The city and state, e.g. San Francisco, CA
    location: String,
}

#[tool]
impl GetWeather {
    fn run(self) -> Result<String, ToolError> {
        match self.location.as_str() {
            "" => Err(ToolError::new("Which location?")),
            place => Ok(format!("Weather in {place}: 20°C, Sunny")),
        }
    }
}

/// A type is the tool, named after it: `@JsonClassDescription` in Java, `BaseTool` in Ruby.
#[test]
fn a_type_is_a_tool_named_after_it() {
    let script = Script::new()
        .reply(ScriptedReply::new().tool_use("t1", "get_weather", PARIS))
        .reply(ScriptedReply::text("Sunny."));
    let server = serve(script);
    let mut run = server.client().run("claude-opus-4-7").tools(GetWeather::tool()).user("Weather?");
    assert_eq!(run.until_done().unwrap().text(), "Sunny.");
    let weather = r#"{"name":"get_weather","description":"Get the current weather in a given location","input_schema":{"type":"object","properties":{"location":{"type":"string","description":"The city and state, e.g. San Francisco, CA"}},"required":["location"],"additionalProperties":false}}"#;
    let reply = assistant(&call("t1", "get_weather", PARIS));
    let answer = results(&result("t1", "Weather in Paris: 20°C, Sunny"));
    let expected = body(4096, &[weather], &[&user("Weather?"), &reply, &answer]);
    assert_eq!(server.bodies()[1], expected);
    server.assert_valid(&run);
}

/// The number of the round, its stop reason and its blocks (`runner._iteration_count`).
#[test]
fn each_step_with_its_round() {
    let server = serve(weather_script());
    let mut run = server.client().run("claude-opus-4-7").tools(get_weather).user(ASK_SF);
    let mut log = Vec::new();
    while let Some(turn) = run.next_turn().unwrap() {
        let (round, stop) = (turn.number(), turn.stop_reason().unwrap());
        log.push(format!("Round {round}: {stop:?}"));
    }
    assert_eq!(log, ["Round 1: ToolUse", "Round 2: EndTurn"]);
    server.assert_valid(&run);
}
