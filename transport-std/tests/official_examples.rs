//! The examples of the official SDKs' documentation that `seeds.rs` does not have: tools as types
//! and as data, the reference's steps and streams, and several asynchronous tools. See
//! `tests/SEEDS.md` for the whole list.

mod common;

use core::time::Duration;

use common::{assert_valid, bodies, scripted};
use toolrunner_core::message::Block;
use toolrunner_core::testing::{Script, ScriptedReply};
use toolrunner_std::testing::ScriptedServer;
use toolrunner_std::{Event, Outcome, RawTool, Run, StopReason, ToolError, ToolInput, Tools, tool};

/// The model calls one tool and then answers.
fn one_call(name: &str, input: &str, answer: &str) -> ScriptedServer {
    scripted(
        Script::new()
            .reply(ScriptedReply::new().tool_use("t1", name, input))
            .reply(ScriptedReply::text(answer)),
    )
}

fn start(scripted: &ScriptedServer, tools: impl Tools, prompt: &str) -> Run {
    scripted.client().run("claude-opus-4-7").max_tokens(1024).tools(tools).user(prompt)
}

/// Checks that the second request has a result with this text, and that it is valid.
fn assert_result(run: &Run, scripted: &ScriptedServer, text: &str) {
    let second = &bodies(scripted)[1];
    assert!(second.contains(&format!(r#""content":"{text}""#)), "{second}");
    assert_valid(run, scripted);
}

#[derive(ToolInput)]
struct CalculateSum {
    /// First number
    a: f64,
    /// Second number
    b: f64,
}

/// Add two numbers together
#[tool(input)]
fn calculate_sum(input: CalculateSum) -> String {
    (input.a + input.b).to_string()
}

const SUM: &str = r#"{"a":15,"b":27}"#;

/// In Java and Ruby a type is the tool. Here it is the whole input, and the function has its name.
#[tokio::test]
async fn a_type_is_the_whole_input() {
    let scripted = one_call("calculate_sum", SUM, "42.");
    let mut run = start(&scripted, calculate_sum, "What is 15 + 27?");
    assert_eq!(run.until_done().await.unwrap().text(), "42.");
    assert_result(&run, &scripted, "42");
    let definition = r#"{"name":"calculate_sum","description":"Add two numbers together","input_schema":{"type":"object","properties":{"a":{"type":"number","description":"First number"},"b":{"type":"number","description":"Second number"}},"required":["a","b"],"additionalProperties":false}}"#;
    assert!(bodies(&scripted)[0].contains(definition), "{}", bodies(&scripted)[0]);
}

struct GetWeather {
    service: Option<&'static str>,
}

#[toolrunner_std::toolbox]
impl GetWeather {
    /// Get the current weather in a given location
    #[tool]
    async fn get_weather(&self, location: &str) -> Result<String, ToolError> {
        let service = self.service.ok_or(ToolError::new("Weather service unavailable"))?;
        Ok(format!("{service}: 20°C, Sunny in {location}"))
    }
}

/// In C#, the tool throws an error with the text for the model.
#[tokio::test]
async fn an_object_is_the_tool_and_its_error_is_for_the_model() {
    for (service, text) in
        [(Some("A"), "A: 20°C, Sunny in Paris"), (None, "Weather service unavailable")]
    {
        let scripted = one_call("get_weather", r#"{"location":"Paris"}"#, "Done.");
        let mut run = start(&scripted, GetWeather { service }, "What's the weather like in Paris?");
        run.until_done().await.unwrap();
        assert_result(&run, &scripted, text);
        assert_eq!(bodies(&scripted)[1].contains(r#""is_error":true"#), service.is_none());
    }
}

/// A schema as data, as for `betaTool` in TypeScript and the definitions in C# and PHP.
#[tokio::test]
async fn a_schema_as_data() {
    let schema = r#"{"type":"object","properties":{"a":{"type":"number","description":"First number"},"b":{"type":"number","description":"Second number"}},"required":["a","b"]}"#;
    let sum =
        RawTool::new("calculate_sum", "Add two numbers together", schema, |input| async move {
            let input: serde_json::Value = serde_json::from_str(input.json())?;
            let sum =
                input["a"].as_f64().zip(input["b"].as_f64()).map(|(a, b)| (a + b).to_string());
            Ok::<_, serde_json::Error>(sum.unwrap_or_default())
        })
        .unwrap();
    let scripted = one_call("calculate_sum", SUM, "42.");
    let mut run = start(&scripted, sum, "What's 15 + 27?");
    let message = run.until_done().await.unwrap().message.unwrap();
    let texts: Vec<String> = message
        .blocks()
        .filter_map(|block| match block {
            Block::Text(text) => Some(text.text().to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(texts, ["42."]);
    assert!(bodies(&scripted)[0].contains(schema));
    assert_result(&run, &scripted, "42");
}

/// Get current temperature for a city.
#[tool]
fn get_temperature(
    /// The city name
    city: &str,
) -> &'static str {
    match city {
        "Tokyo" => "18°C",
        "London" => "12°C",
        _ => "Unknown",
    }
}

#[tokio::test]
async fn the_temperature_in_tokyo() {
    let answer = "The current temperature in Tokyo is 18°C.";
    let scripted = one_call("get_temperature", r#"{"city":"Tokyo"}"#, answer);
    let mut run = start(&scripted, get_temperature, "What's the temperature in Tokyo?");
    assert_eq!(run.until_done().await.unwrap().text(), answer);
    assert_result(&run, &scripted, "18°C");
}

/// Add two numbers.
#[tool]
fn add(x: f64, y: f64) -> String {
    (x + y).to_string()
}

/// Multiply two numbers.
#[tool]
fn multiply(x: f64, y: f64) -> String {
    (x * y).to_string()
}

#[tokio::test]
async fn add_then_multiply() {
    let script = Script::new()
        .reply(ScriptedReply::new().tool_use("t1", "add", r#"{"x":5,"y":3}"#))
        .reply(ScriptedReply::new().tool_use("t2", "multiply", r#"{"x":8,"y":4}"#))
        .reply(ScriptedReply::text("32"));
    let scripted = scripted(script);
    let mut run = start(&scripted, (add, multiply), "What is (5 + 3) * 4?");
    assert_eq!(run.until_done().await.unwrap().text(), "32");
    assert_result(&run, &scripted, "8");
    assert!(bodies(&scripted)[2].contains(r#""content":"32""#));
}

/// Search for information.
#[tool]
async fn search(
    /// Search query
    query: String,
) -> String {
    tokio::time::sleep(Duration::from_millis(1)).await;
    format!("Results for: {query}")
}

/// The stop reason and the blocks of each turn, with its number.
#[tokio::test]
async fn each_step_with_its_round() {
    let scripted = one_call("search", r#"{"query":"Python"}"#, "A language.");
    let mut run = start(&scripted, search, "Find info about Python");
    let mut log = Vec::new();
    while let Some(mut turn) = run.next_turn().await.unwrap() {
        let round = turn.run().turns();
        log.push(format!("Round {round}: {:?}", turn.stop_reason().unwrap()));
        for block in turn.message().unwrap().blocks() {
            match block {
                Block::Text(text) => log.push(format!("Text: {}", text.text())),
                Block::ToolUse(call) => log.push(format!("{}({})", call.name(), call.input())),
                other => panic!("{}", other.kind()),
            }
        }
    }
    let expected = [
        "Round 1: ToolUse",
        r#"search({"query":"Python"})"#,
        "Round 2: EndTurn",
        "Text: A language.",
    ];
    assert_eq!(log, expected);
    assert_result(&run, &scripted, "Results for: Python");
}

/// Check system status.
#[tool]
fn check_status() -> &'static str {
    "System OK"
}

/// One step, then a message and another parameter, then the rest: `next(runner)` with
/// `append_messages` in Python, `next_message` with `feed_messages` in Ruby.
#[tokio::test]
async fn one_step_then_a_message_then_the_rest() {
    let scripted = one_call("check_status", "{}", "All fine.");
    let mut run = start(&scripted, check_status, "Check status");
    let mut first = run.next_turn().await.unwrap().unwrap();
    assert_eq!(first.stop_reason(), Some(StopReason::ToolUse));
    assert_eq!(first.params_mut().json("max_tokens"), Some("1024"));
    first.append_user("Also check the database").unwrap();
    first.params_mut().max_tokens(2048);
    assert_eq!(run.until_done().await.unwrap().text(), "All fine.");
    assert_result(&run, &scripted, "System OK");
    let second = &bodies(&scripted)[1];
    let (result, message) = (second.find("System OK"), second.find("Also check the database"));
    assert!(result.unwrap() < message.unwrap(), "{second}");
    assert!(second.contains(r#""max_tokens":2048"#));
}

/// Search documents for relevant information.
#[tool]
fn search_documents(query: &str) -> String {
    format!("Found 3 documents matching: {query}")
}

#[tokio::test]
async fn documents_in_the_cache() {
    let scripted = one_call("search_documents", r#"{"query":"fog"}"#, "Mild.");
    let mut run = start(&scripted, search_documents, "Search for the climate of San Francisco");
    while let Some(mut turn) = run.next_turn().await.unwrap() {
        let mut results = turn.results().await.unwrap();
        results.edit(|result| result.cache_control(r#"{"type":"ephemeral"}"#).map(|_| ())).unwrap();
    }
    assert_result(&run, &scripted, "Found 3 documents matching: fog");
    assert!(bodies(&scripted)[1].contains(r#""cache_control":{"type":"ephemeral"}"#));
}

/// Turns, starts of tools and text while a reply is streamed; and the pieces of an input.
#[tokio::test]
async fn a_stream_with_its_progress() {
    let scripted = one_call("search", r#"{"query":"sales"}"#, "Sales rose.");
    let mut run = start(&scripted, search, "Analyze the sales data");
    let (mut log, mut text, mut input) = (Vec::new(), String::new(), String::new());
    while let Some(event) = run.next_event().await.unwrap() {
        match event {
            Event::Request { turn, .. } => log.push(format!("=== Turn {turn} ===")),
            Event::BlockStart { block, .. } => {
                if let Block::ToolUse(call) = Block::new(block) {
                    log.push(format!("Calling tool: {}", call.name()));
                }
            }
            Event::Input { json, .. } => input.push_str(json),
            Event::Text { text: piece, .. } => text.push_str(&piece.to_string()),
            Event::MessageStop => log.push("---Turn complete---".to_owned()),
            _ => {}
        }
    }
    assert_eq!(
        log,
        [
            "=== Turn 1 ===",
            "Calling tool: search",
            "---Turn complete---",
            "=== Turn 2 ===",
            "---Turn complete---"
        ]
    );
    assert_eq!((text.as_str(), input.as_str()), ("Sales rose.", r#"{"query":"sales"}"#));
    assert_eq!(run.message().unwrap().text(), "Sales rose.");
    assert_result(&run, &scripted, "Results for: sales");
}

/// Get weather for a city.
#[tool]
async fn weather_of(city: String) -> String {
    tokio::task::yield_now().await;
    format!("Rain in {city}")
}

/// Get news about a topic.
#[tool]
async fn get_news(topic: String) -> String {
    tokio::task::yield_now().await;
    format!("No news about {topic}")
}

#[tokio::test]
async fn several_asynchronous_tools_in_one_turn() {
    let reply = ScriptedReply::new().tool_use("t1", "weather_of", r#"{"city":"Tokyo"}"#).tool_use(
        "t2",
        "get_news",
        r#"{"topic":"Japan"}"#,
    );
    let scripted = scripted(Script::new().reply(reply).reply(ScriptedReply::text("Rain.")));
    let prompt = "What's the weather in Tokyo and any news about Japan?";
    let mut run = start(&scripted, (weather_of, get_news), prompt);
    let finished = run.until_done().await.unwrap();
    assert_eq!(finished.outcome, Outcome::Ended(Some(StopReason::EndTurn)));
    assert_result(&run, &scripted, "Rain in Tokyo");
    assert_result(&run, &scripted, "No news about Japan");
}

/// The type `GetWeather`, which is a tool of that name. In Java it implements `Supplier`, and in
/// Ruby it is a subclass of `BaseTool`.
mod typed {
    use toolrunner_std::{ToolContext, ToolError, ToolInput, tool};

    #[derive(Clone, Copy, ToolInput)]
    #[tool(rename_all = "lowercase")]
    pub(crate) enum Unit {
        Celsius,
        Fahrenheit,
    }

    /// Get the current weather in a given location
    #[derive(ToolInput)]
    pub(crate) struct GetWeather {
        /// The city and state, e.g. San Francisco, CA
        location: String,
        /// Temperature unit
        unit: Option<Unit>,
    }

    #[tool]
    impl GetWeather {
        pub(crate) async fn run(self) -> Result<String, ToolError> {
            tokio::task::yield_now().await;
            if self.location.is_empty() {
                return Err(ToolError::new("Weather service unavailable"));
            }
            Ok(format!("{}: {}, Sunny", self.location, self.temperature()))
        }

        const fn temperature(&self) -> &'static str {
            if let Some(Unit::Celsius) = self.unit { "20°C" } else { "68°F" }
        }
    }

    /// Add two numbers together
    #[derive(ToolInput)]
    pub(crate) struct CalculateSum {
        /// First number
        a: i64,
        /// Second number
        b: i64,
    }

    #[tool(timeout_ms = 1000, strict)]
    impl CalculateSum {
        pub(crate) fn run(&self, context: &ToolContext<'_>) -> String {
            assert_eq!(context.name, "calculate_sum");
            (self.a + self.b).to_string()
        }
    }
}

#[tokio::test]
async fn types_are_tools_named_after_them() {
    let reply = ScriptedReply::new()
        .tool_use("t1", "get_weather", r#"{"location":"Paris","unit":"celsius"}"#)
        .tool_use("t2", "calculate_sum", SUM);
    let scripted =
        scripted(
            Script::new()
                .reply(reply)
                .reply(
                    ScriptedReply::new()
                        .tool_use("t3", "get_weather", r#"{"location":""}"#)
                        .tool_use("t4", "get_weather", r#"{"place":"Paris"}"#),
                )
                .reply(ScriptedReply::text("20°C, and 42.")),
        );
    let tools = (typed::GetWeather::tool(), typed::CalculateSum::tool);
    let mut run =
        start(&scripted, tools, "What's the weather like in Paris? Also, what's 15 + 27?");
    assert_eq!(run.until_done().await.unwrap().text(), "20°C, and 42.");
    assert_result(&run, &scripted, "Paris: 20°C, Sunny");
    assert_result(&run, &scripted, "42");
    let bodies = bodies(&scripted);
    let definition = r#"{"name":"get_weather","description":"Get the current weather in a given location","input_schema":{"type":"object","properties":{"location":{"type":"string","description":"The city and state, e.g. San Francisco, CA"},"unit":{"type":["string","null"],"description":"Temperature unit","enum":["celsius","fahrenheit",null]}},"required":["location"],"additionalProperties":false}}"#;
    assert!(bodies[0].contains(definition), "{}", bodies[0]);
    let definition = r#"{"name":"calculate_sum","description":"Add two numbers together","input_schema":{"type":"object","properties":{"a":{"type":"integer","description":"First number"},"b":{"type":"integer","description":"Second number"}},"required":["a","b"],"additionalProperties":false},"strict":true}"#;
    assert!(bodies[0].contains(definition), "{}", bodies[0]);
    assert!(bodies[2].contains(r#""content":"Weather service unavailable""#), "{}", bodies[2]);
    assert!(bodies[2].contains("invalid input for tool 'get_weather': "), "{}", bodies[2]);
}
